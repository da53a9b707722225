//! Programs that run another one: `timeout 2 curl …`, `env A=b curl …`, `sudo -u nobody curl …`.

use super::unequal;

/// The programs that are understood.
const WELL_KNOWN: [&str; 3] = ["curl", "wget", "dig"];
/// Those that run another one in a way that a check has not, and how.
const OTHERS: [(&str, &str); 24] = [
    ("sudo", "as another user"),
    ("doas", "as another user"),
    ("su", "as another user"),
    ("runuser", "as another user"),
    ("gosu", "as another user"),
    ("su-exec", "as another user"),
    ("setuidgid", "as another user"),
    ("chpst", "as another user"),
    ("setpriv", "with other privileges"),
    ("capsh", "with other privileges"),
    ("chroot", "elsewhere"),
    ("ip", "elsewhere"),
    ("nsenter", "elsewhere"),
    ("unshare", "elsewhere"),
    ("docker", "elsewhere"),
    ("podman", "elsewhere"),
    ("ssh", "elsewhere"),
    ("nice", "with another priority"),
    ("ionice", "with another priority"),
    ("chrt", "with another priority"),
    ("taskset", "with another priority"),
    ("flock", "one at a time"),
    ("xargs", "with further arguments"),
    ("torsocks", "by another way"),
];
/// How far in front of a well-known program those may stand.
const FURTHEST: usize = 16;
/// Variables that change nothing but what is printed, or keep proxies away, of which Herald has none.
const HARMLESS: [&str; 7] = ["LANG", "LANGUAGE", "TZ", "PATH", "TERM", "no_proxy", "NO_PROXY"];

/// A well-known program, and what is before it.
#[derive(Debug)]
pub(super) struct Run<'w> {
    pub(super) program: &'w str,
    pub(super) arguments: &'w [String],
    /// The seconds that `timeout` leaves it.
    pub(super) limit: Option<f64>,
    /// Why it is not the same as the program alone.
    pub(super) kept: Option<String>,
}

/// `None` when no well-known program is run.
pub(super) fn unwrap(words: &[String]) -> Option<Run<'_>> {
    let (mut rest, mut limit, mut kept): (&[String], Option<f64>, Option<String>) = (words, None, None);
    loop {
        let (first, more) = rest.split_first()?;
        let name = first.rsplit('/').next().unwrap_or_default();
        if WELL_KNOWN.contains(&name) {
            return Some(Run { program: name, arguments: more, limit, kept });
        }
        let taken = match name {
            "timeout" => timeout(more).map(|(seconds, length)| {
                limit = [limit, seconds].into_iter().flatten().reduce(f64::min);
                length
            }),
            "env" => environment(more),
            // The shell's own.
            "command" | "exec" if !first.contains('/') => Ok(0),
            _ if is_assignment(first) => environment(rest).map(|length| length - 1),
            _ => {
                let (_, how) = OTHERS.iter().find(|(other, _)| *other == name)?;
                let run = later(more)?;
                let kept = kept.or(Some(format!("{name} runs {} {how}", run.program)));
                return Some(Run { kept, limit, ..run });
            }
        };
        match taken {
            Ok(length) => rest = &more[length..],
            Err(why) => {
                kept = kept.or(Some(why));
                return Some(Run { kept, limit, ..later(more)? });
            }
        }
    }
}

/// The first well-known program among words that are not understood.
fn later(words: &[String]) -> Option<Run<'_>> {
    let name = |word: &String| WELL_KNOWN.into_iter().find(|known| word.rsplit('/').next() == Some(known));
    let (at, program) = words.iter().take(FURTHEST).enumerate().find_map(|(at, word)| Some((at, name(word)?)))?;
    Some(Run { program, arguments: &words[at + 1..], limit: None, kept: None })
}

/// The time that it leaves, and the number of its words. It ends with a status of its own, which is no 0 either.
fn timeout(words: &[String]) -> Result<(Option<f64>, usize), String> {
    let mut at = 0;
    loop {
        let word = words.get(at).map_or("", String::as_str);
        let (option, value) = word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
        at += match (option, value) {
            ("-v" | "--verbose" | "--foreground" | "--preserve-status", None) => 1,
            ("-k" | "-s" | "--kill-after" | "--signal", None) => 2,
            ("--kill-after" | "--signal", Some(_)) => 1,
            _ if ["-k", "-s"].iter().any(|letter| word.starts_with(letter)) => 1,
            _ if word.starts_with('-') => return Err(unequal("timeout", option)),
            _ => break,
        };
    }
    let text = words.get(at).map_or("", String::as_str);
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let factor = [("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)].into_iter().find(|(it, _)| *it == unit);
    let seconds = number.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    let (Some(seconds), Some((_, factor))) = (seconds, factor) else {
        return Err("the time of timeout is not understood".to_owned());
    };
    // 0 is none.
    Ok((Some(seconds * factor).filter(|seconds| *seconds > 0.0), at + 1))
}

fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && is_name(name) && !name.starts_with(|c: char| c.is_ascii_digit()))
}

/// The number of its assignments, if they do not matter. Their values may be secret.
fn environment(words: &[String]) -> Result<usize, String> {
    let assignments: Vec<&String> = words.iter().take_while(|word| is_assignment(word)).collect();
    for word in &assignments {
        let name = word.split('=').next().unwrap_or_default();
        if !HARMLESS.contains(&name) && !name.starts_with("LC_") {
            return Err(format!("`{name}` in the environment may change what is asked"));
        }
    }
    match words.get(assignments.len()) {
        Some(option) if option.starts_with('-') => Err(unequal("env", option.split('=').next().unwrap_or_default())),
        _ => Ok(assignments.len()),
    }
}

/// Who `sudo` runs it as, if that is how it is run.
pub(super) fn sudo_user(words: &[String]) -> Option<&str> {
    let is_sudo = |word: &String| word.rsplit('/').next() == Some("sudo");
    let at = words.iter().take(FURTHEST).position(is_sudo)?;
    let before = |word: &String| ["env", "timeout"].contains(&word.rsplit('/').next().unwrap_or_default());
    if at > 0 && !before(&words[0]) {
        return None;
    }
    let options = words[at + 1..].iter().take_while(|word| word.starts_with('-')).count();
    let mut all = words[at + 1..].iter().take(options + 1);
    while let Some(word) = all.next() {
        if let Some(user) = word.strip_prefix("--user=") {
            return Some(user);
        }
        if ["-u", "--user"].contains(&word.as_str()) {
            return all.next().map(String::as_str);
        }
        if let Some(user) = word.strip_prefix("-u") {
            return Some(user);
        }
        if word.starts_with('-') && !word.starts_with("--") && word.ends_with('u') {
            return all.next().map(String::as_str);
        }
    }
    Some("root")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn programs_are_found_behind_others() {
        for (text, program, limit, kept) in [
            ("curl x", "curl", None, None),
            ("/usr/bin/env /usr/bin/curl x", "curl", None, None),
            ("env LC_ALL=C LANG=C dig x", "dig", None, None),
            ("LC_ALL=C dig x", "dig", None, None),
            ("timeout 2 curl x", "curl", Some(2.0), None),
            ("/usr/bin/timeout -k 1 --signal=KILL -sTERM 1.5s timeout 3m wget x", "wget", Some(1.5), None),
            ("timeout 0 curl x", "curl", None, None),
            ("exec timeout 1 curl x", "curl", Some(1.0), None),
            ("timeout -t 2 curl x", "curl", None, Some("`-t` of timeout has no equal here")),
            ("timeout soon curl x", "curl", None, Some("the time of timeout is not understood")),
            ("env A=b curl x", "curl", None, Some("`A` in the environment may change what is asked")),
            ("http_proxy=y curl x", "curl", None, Some("`http_proxy` in the environment may change what is asked")),
            ("env -i curl x", "curl", None, Some("`-i` of env has no equal here")),
            ("sudo -n -u nobody curl x", "curl", None, Some("sudo runs curl as another user")),
            ("timeout 2 sudo curl x", "curl", Some(2.0), Some("sudo runs curl as another user")),
            ("ip netns exec blue dig x", "dig", None, Some("ip runs dig elsewhere")),
            ("nice -n 19 wget x", "wget", None, Some("nice runs wget with another priority")),
        ] {
            let words = words(text);
            let run = unwrap(&words).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((run.program, run.limit, run.kept.as_deref()), (program, limit, kept), "{text}");
            assert_eq!(run.arguments, ["x"], "{text}");
        }
        for other in ["/bin/true", "sudo /bin/true", "timeout 2", "env A=b", "test curl", "sudo", "my-check curl"] {
            assert!(unwrap(&words(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn sudo_has_a_user() {
        for (text, expected) in [
            ("sudo curl x", Some("root")),
            ("/usr/bin/sudo -n -u nobody curl x", Some("nobody")),
            ("sudo -nu nobody curl x", Some("nobody")),
            ("env timeout 2 sudo --user=www curl x", Some("www")),
            ("sudo -uwww curl x", Some("www")),
            ("curl sudo", None),
            ("curl -u x", None),
        ] {
            assert_eq!(sudo_user(&words(text)), expected, "{text}");
        }
    }
}
