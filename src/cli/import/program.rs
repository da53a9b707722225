//! Check commands: as Herald runs them, and what would do the same without a program.

use std::net::IpAddr;

use super::draft::{Draft, string};

/// The argument vector with a program that Herald takes: one by its absolute path. `None` for one in a directory that
/// only the other program knows.
pub(super) fn with_path(mut words: Vec<String>) -> Option<Vec<String>> {
    let program = words.first().filter(|program| !program.is_empty())?;
    if program.starts_with('/') {
        return Some(words);
    }
    if program.contains('/') {
        return None;
    }
    words.insert(0, "/usr/bin/env".to_owned());
    Some(words)
}

/// What a check of our own type would say in the place of a well-known program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Native {
    /// Keys of the check, as TOML.
    keys: Vec<(&'static str, String)>,
    /// The port that it goes to.
    pub(super) port: Option<u16>,
}

/// What `words` asks, if that is plain to see.
pub(super) fn native(words: &[String]) -> Option<Native> {
    let at = words.iter().position(|word| word != "/usr/bin/env")?;
    let program = words[at].rsplit('/').next()?;
    let arguments = &words[at + 1..];
    match program {
        "curl" | "wget" => arguments.iter().find_map(|word| url(word)),
        "dig" => dig(arguments),
        _ => None,
    }
}

fn url(word: &str) -> Option<Native> {
    let (kind, default, rest) = match word.split_once("://")? {
        ("http", rest) => ("http", 80, rest),
        ("https", rest) => ("https", 443, rest),
        _ => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // Who is named with a password is not repeated.
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    let path = path.split('#').next().filter(|path| path.starts_with('/'));
    let mut keys = vec![("type", string(kind)), ("port", port.to_string())];
    match host.parse::<IpAddr>() {
        Ok(address) => keys.push(("target", string(&address.to_string()))),
        Err(_) if host == "localhost" => keys.push(("target", string("127.0.0.1"))),
        Err(_) => keys.push(("host", string(host))),
    }
    keys.extend(path.filter(|path| *path != "/").map(|path| ("path", string(path))));
    Some(Native { keys, port: Some(port) })
}

/// The types of records that somebody asks for to see whether a server answers.
const TYPES: [&str; 7] = ["A", "AAAA", "NS", "SOA", "MX", "TXT", "SRV"];

fn dig(arguments: &[String]) -> Option<Native> {
    let server = arguments.iter().find_map(|word| word.strip_prefix('@')?.parse::<IpAddr>().ok())?;
    let takes = |flag: &str| arguments.iter().position(|word| word == flag).and_then(|at| arguments.get(at + 1));
    let port = takes("-p").map_or(Some(53), |port| port.parse().ok())?;
    let is_name = |word: &&String| !word.starts_with(['@', '+', '-']) && word.contains('.');
    let query = takes("-q").or_else(|| arguments.iter().find(is_name))?;
    let mut keys = vec![
        ("type", string("dns")),
        ("port", port.to_string()),
        ("target", string(&server.to_string())),
        ("query", string(query.trim_end_matches('.'))),
    ];
    let kind = takes("-t").or_else(|| arguments.iter().find(|word| TYPES.contains(&word.as_str())));
    keys.extend(kind.filter(|kind| *kind != "A").map(|kind| ("query_type", string(kind))));
    Some(Native { keys, port: Some(port) })
}

/// What is to be said of a command that stays as it was.
pub(super) fn remarks(words: &[String], native: Option<&Native>, draft: &mut Draft) {
    if words.iter().take(3).any(|word| word.rsplit('/').next() == Some("sudo")) {
        draft.comment("sudo has no effect in the sandbox of herald.service: say `user = …` in its place.");
    }
    let Some(native) = native else { return };
    draft.comment(
        "The same without a program, in the place of type and command, costs less and says what is wrong. It may be \
         stricter: curl without --fail takes any status, and dig any answer.",
    );
    for (key, value) in &native.keys {
        draft.sample(&format!("{key} = {value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn programs_have_absolute_paths() {
        assert_eq!(with_path(words("/bin/x -a")), Some(words("/bin/x -a")));
        assert_eq!(with_path(words("curl -f x")), Some(words("/usr/bin/env curl -f x")));
        assert_eq!(with_path(words("./x")), None);
        assert_eq!(with_path(Vec::new()), None);
    }

    #[test]
    fn well_known_programs_are_understood() {
        for (text, port, expected) in [
            ("/usr/bin/curl -sf http://10.52.12.1/", 80, "type=\"http\" port=80 target=\"10.52.12.1\""),
            (
                "/usr/bin/env curl https://u:secret@[fd12::1]:8443/a?b#c",
                8443,
                "type=\"https\" port=8443 target=\"fd12::1\" path=\"/a?b\"",
            ),
            ("wget -q http://www.example.net:81/x", 81, "type=\"http\" port=81 host=\"www.example.net\" path=\"/x\""),
            (
                "dig @127.0.0.1 -p 5353 www.example.net. A +short",
                5353,
                "type=\"dns\" port=5353 target=\"127.0.0.1\" query=\"www.example.net\"",
            ),
        ] {
            let native = native(&words(text)).unwrap();
            let keys: Vec<String> = native.keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert_eq!((keys.join(" ").as_str(), native.port), (expected, Some(port)), "{text}");
        }
        for text in [
            "/bin/true",
            "curl",
            "curl ftp://x",
            "curl http://[::1",
            "curl http://x:y/",
            "dig www.example.net",
            "/usr/bin/env",
        ] {
            assert_eq!(native(&words(text)), None, "{text}");
        }
    }
}
