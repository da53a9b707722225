//! The options of ExaBGP's health check, from its command line and its own file, as Python's `argparse` takes them.

use super::super::draft::{Fault, Place};

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// A value, or nothing.
    Maybe,
}

use Takes::{Maybe, Nothing, Value};

/// Every option of ExaBGP 4.2 and 5.0: its first long name, its short one, another long one.
const OPTIONS: [(&str, &str, &str, Takes); 49] = [
    ("silent", "s", "", Nothing),
    ("syslog-facility", "sF", "", Maybe),
    ("no-syslog", "", "", Nothing),
    ("debug", "d", "", Nothing),
    ("no-ack", "a", "", Nothing),
    ("sudo", "", "", Nothing),
    ("name", "n", "", Value),
    ("config", "F", "", Value),
    ("pid", "p", "", Value),
    ("user", "", "", Value),
    ("group", "", "", Value),
    ("interval", "i", "", Value),
    ("fast-interval", "f", "", Value),
    ("timeout", "t", "", Value),
    ("rise", "", "", Value),
    ("fall", "", "", Value),
    ("disable", "", "", Value),
    ("command", "c", "cmd", Value),
    ("next-hop", "N", "", Value),
    ("ip", "", "", Value),
    ("ip-ifname", "", "", Value),
    ("local-preference", "", "", Value),
    ("deaggregate-networks", "", "", Nothing),
    ("no-ip-setup", "", "", Nothing),
    ("dynamic-ip-setup", "", "", Nothing),
    ("label", "", "", Value),
    ("label-exact-match", "", "", Nothing),
    ("start-ip", "", "", Value),
    ("up-metric", "", "", Value),
    ("down-metric", "", "", Value),
    ("disabled-metric", "", "", Value),
    ("increase", "", "", Value),
    ("community", "", "", Value),
    ("extended-community", "", "", Value),
    ("large-community", "", "", Value),
    ("disabled-community", "", "", Value),
    ("as-path", "", "", Value),
    ("up-as-path", "", "", Value),
    ("down-as-path", "", "", Value),
    ("disabled-as-path", "", "", Value),
    ("withdraw-on-down", "", "", Nothing),
    ("path-id", "", "", Value),
    ("neighbor", "", "", Value),
    ("debounce", "", "", Nothing),
    ("execute", "", "", Value),
    ("up-execute", "", "", Value),
    ("down-execute", "", "", Value),
    ("disabled-execute", "", "", Value),
    ("help", "h", "", Nothing),
];

/// A word of a command line, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) place: Place,
}

/// An option with its value.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) name: &'static str,
    /// Empty for one that takes nothing.
    pub(super) value: String,
    pub(super) place: Place,
}

/// All that are given, in their order, and what is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) given: Vec<Given>,
    /// What is to be said of words that are no options.
    pub(super) unknown: Vec<(Place, String)>,
}

/// The words that a line of the health check's own file stands for: `option = value`, or `option`.
pub(super) fn of_file(file: &str, text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = Place { file: file.to_owned(), line: number + 1 };
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        words.push(Word { text: format!("--{}", name.trim()), place: place.clone() });
        words.extend(value.map(|value| Word { text: value.trim().to_owned(), place }));
    }
    words
}

/// Understands a command line. What is no option is told as such; a value that is missing is a fault.
pub(super) fn parse(words: &[Word]) -> Result<Options, Fault> {
    let mut options = Options::default();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let unknown = |what: String| (word.place.clone(), what);
        let found = match recognise(&word.text) {
            Ok(found) => found,
            Err(what) => {
                options.unknown.push(unknown(what));
                // Its value, if that is what follows, is nobody's either, and may be a secret.
                while words.next_if(|next| !is_option(&next.text)).is_some() {}
                continue;
            }
        };
        if found.is_empty() {
            let what = format!("{} is a word that belongs to no option of the health check", named(&word.text));
            options.unknown.push(unknown(what));
        }
        for Named { name, takes, attached } in found {
            let value = match (takes, attached) {
                (Nothing, Some(_)) => {
                    return Err(Fault::new(&word.place, format!("`--{name}` takes no value")));
                }
                (Nothing, None) => String::new(),
                (_, Some(value)) => value,
                (_, None) => match words.next_if(|next| !is_option(&next.text)) {
                    Some(next) => next.text.clone(),
                    None if takes == Maybe => String::new(),
                    None => return Err(Fault::new(&word.place, format!("`--{name}` needs a value"))),
                },
            };
            options.given.push(Given { name, value, place: word.place.clone() });
        }
    }
    Ok(options)
}

/// Whether `argparse` takes it for an option: not a negative number, and no text with a space in it.
fn is_option(text: &str) -> bool {
    let negative = text.parse::<f64>().is_ok();
    text.len() > 1 && text.starts_with('-') && !negative && !text.contains(' ')
}

/// An option as a word names it, and the value within the word.
struct Named {
    name: &'static str,
    takes: Takes,
    attached: Option<String>,
}

/// The options that a word names: none, one, or several letters.
fn recognise(text: &str) -> Result<Vec<Named>, String> {
    if let Some(long) = text.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
        let exact = OPTIONS.iter().find(|(first, _, other, _)| *first == name || (!other.is_empty() && *other == name));
        let mut beginning = OPTIONS
            .iter()
            .filter(|(first, _, other, _)| !name.is_empty() && (first.starts_with(name) || other.starts_with(name)));
        // The beginning of a name will do when it is that of no other.
        let found = exact.or_else(|| beginning.next().filter(|_| beginning.next().is_none()));
        let (name, .., takes) = found.ok_or_else(|| format!("`--{}` is no option of the health check", shown(name)))?;
        return Ok(vec![Named { name, takes: *takes, attached: value }]);
    }
    if !is_option(text) {
        return Ok(Vec::new());
    }
    let mut rest = &text[1..];
    let mut all = Vec::new();
    while !rest.is_empty() {
        let exact = OPTIONS.iter().find(|(_, short, ..)| all.is_empty() && *short == rest);
        let letter = |short: &&str| short.chars().count() == 1 && rest.starts_with(*short);
        let found = exact.or_else(|| OPTIONS.iter().find(|(_, short, ..)| letter(short)));
        let Some((name, short, _, takes)) = found else {
            return Err("an option by a letter that the health check does not know".to_owned());
        };
        let after = &rest[short.len()..];
        // What follows letters that take nothing are further ones.
        let value = Some(after).filter(|after| *takes != Nothing && !after.is_empty());
        rest = if value.is_some() { "" } else { after };
        let attached = value.map(|value| value.strip_prefix('=').unwrap_or(value).to_owned());
        all.push(Named { name, takes: *takes, attached });
    }
    Ok(all)
}

/// A word, unless there may be a password in it.
fn named(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,".contains(c);
    if word.len() <= 80 && word.chars().all(plain) { format!("`{word}`") } else { "this".to_owned() }
}

/// A name that somebody mistyped; what is not a name may be a secret.
fn shown(name: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.len() <= 40 && name.chars().all(plain) { name } else { "…" }
}

impl Options {
    /// The last of that name: it goes before others.
    pub(super) fn last(&self, name: &str) -> Option<&Given> {
        debug_assert!(is_known(name), "{name}");
        self.given.iter().rev().find(|given| given.name == name)
    }

    /// All of that name.
    pub(super) fn all(&self, name: &str) -> Vec<&Given> {
        debug_assert!(is_known(name), "{name}");
        self.given.iter().filter(|given| given.name == name).collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// A whole number.
    pub(super) fn integer(&self, name: &str, default: i64) -> Result<i64, Fault> {
        let Some(given) = self.last(name) else { return Ok(default) };
        let number = super::super::words::integer(&given.value);
        number.ok_or_else(|| Fault::new(&given.place, format!("`--{name}` is not a whole number")))
    }

    /// A time in seconds.
    pub(super) fn seconds(&self, name: &str, default: f64) -> Result<f64, Fault> {
        let Some(given) = self.last(name) else { return Ok(default) };
        let number = super::super::words::number(&given.value).filter(|number| *number >= 0.0);
        number.ok_or_else(|| Fault::new(&given.place, format!("`--{name}` is not a number of seconds")))
    }
}

fn is_known(name: &str) -> bool {
    OPTIONS.iter().any(|(known, ..)| *known == name)
}

/// Each option with a value that says something.
#[cfg(test)]
pub(super) fn examples() -> Vec<(&'static str, &'static str)> {
    let value = |name: &str| match name {
        "interval" => "9",
        "fast-interval" => "2",
        "timeout" | "rise" | "fall" | "increase" | "path-id" => "2",
        "start-ip" => "1",
        "up-metric" | "down-metric" | "disabled-metric" | "local-preference" => "7",
        "next-hop" => "10.99.1.7",
        "ip" => "192.0.2.9",
        "ip-ifname" => "192.0.2.1%eth7",
        "neighbor" => "10.99.1.9",
        "community" | "disabled-community" => "65000:7",
        "extended-community" => "target:65000:7",
        "large-community" => "65000:7:7",
        "as-path" | "up-as-path" | "down-as-path" | "disabled-as-path" => "65001 65001",
        "user" => "nobody",
        _ => "/value",
    };
    let all = OPTIONS.iter().map(|(name, .., takes)| (*name, if *takes == Nothing { "" } else { value(name) }));
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        let place = Place { file: "f".to_owned(), line: 1 };
        let words: Vec<Word> =
            text.split('|').map(|text| Word { text: text.to_owned(), place: place.clone() }).collect();
        let options = parse(&words).map_err(|fault| fault.to_string())?;
        let given = options.given.iter().map(|given| format!("{}={}", given.name, given.value));
        Ok(given.chain(options.unknown.into_iter().map(|(_, what)| what)).collect::<Vec<_>>().join(" "))
    }

    /// Each as the `argparse` of Python 3.11 has it.
    #[test]
    fn options_as_python_takes_them() {
        for (text, expected) in [
            ("--cmd|curl -sf x|--ip|192.0.2.1|--ip=192.0.2.2", "command=curl -sf x ip=192.0.2.1 ip=192.0.2.2"),
            ("-c|x|-i5|-t=3|-s|-d", "command=x interval=5 timeout=3 silent= debug="),
            (
                "-sF|local0|-sF|--no-ack|-sdi3|-sFx",
                "syslog-facility=local0 syslog-facility= no-ack= silent= debug= interval=3 silent= config=x",
            ),
            ("--withdraw|--local|-1|--comm|x", "withdraw-on-down= local-preference=-1"),
            ("--command|-x y", "command=-x y"),
            ("--disable|/x", "disable=/x"),
        ] {
            let parsed = parsed(text).unwrap();
            assert!(parsed.starts_with(expected), "{text}: {parsed}");
        }
        // `--comm` is the beginning of two.
        assert!(parsed("--comm|x").unwrap().contains("`--comm` is no option"));
    }

    #[test]
    fn what_is_none_is_told_without_its_value() {
        let said = parsed("--pasword|s3cret|-Z|--ip|192.0.2.1|word|--s3 cret").unwrap();
        assert!(!said.contains("s3cret") && !said.contains("cret"), "{said}");
        assert_eq!(said.matches("no option of the health check").count(), 3, "{said}");
        // A command without its quotes, which argparse does not take either.
        let said = parsed("-c|curl|http://10.0.0.1/x|http://u:s3cret@x").unwrap();
        assert!(said.contains("`http://10.0.0.1/x` is a word that belongs to no option"), "{said}");
        assert!(said.ends_with("this is a word that belongs to no option of the health check"), "{said}");
        assert_eq!(parsed("--ip|--name|x").unwrap_err(), "f:1: `--ip` needs a value");
        assert_eq!(parsed("--sudo=1").unwrap_err(), "f:1: `--sudo` takes no value");
    }

    #[test]
    fn lines_of_its_own_file_are_options() {
        let words = of_file("f", "# x\n debug\nname = haproxy\n\ncommand = curl -H 'a=b' x\n");
        let shown: Vec<String> = words.iter().map(|word| format!("{}:{}", word.place.line, word.text)).collect();
        assert_eq!(shown, ["2:--debug", "3:--name", "3:haproxy", "5:--command", "5:curl -H 'a=b' x"]);
    }
}
