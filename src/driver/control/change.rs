//! What clients of the control socket want done, read from their requests.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::access::{Caller, Rank};
use crate::engine::drain::Target;

/// The most files that a configuration may have here.
const FILES: usize = 10_000;
/// The longest reason, in characters: it stands in one line of the log.
const REASON: usize = 200;
/// The longest name of who wants something, in characters.
const NAME: usize = 64;
/// The longest drain with an end; a longer one is one without.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A change that a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::driver) enum Change {
    /// Drain this.
    Drain(Target, Terms),
    /// Undo that, for whom it may concern.
    Undrain(Target, String),
    /// Nothing: say why this VIP is as it is.
    Why(String),
}

/// How something is to be drained.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::driver) struct Terms {
    /// How long, if not until it is undone.
    pub(in crate::driver) time: Option<Duration>,
    /// In the operator's words.
    pub(in crate::driver) reason: Option<String>,
    /// Who wants it.
    pub(in crate::driver) by: String,
}

/// What a client wants of the loop: at once, or when it is done.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::driver) enum Order {
    /// The loop does it.
    Change(Change),
    /// The loop has it done.
    Task(Task),
}

/// What takes longer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::driver) enum Task {
    /// As SIGHUP, for whom it may concern; answered when it is in force, or refused.
    Reload(String),
    /// What a reload would change, with these texts or with the files; and who wants to know.
    Diff(Option<Vec<Text>>, Rank),
    /// Run the checks of this service, or of one backend of it, now.
    Probe(String),
}

/// A file of a configuration, read by the client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::driver) struct Text {
    /// As it is called in findings.
    pub(in crate::driver) name: String,
    /// Its content.
    pub(in crate::driver) text: String,
}

/// Of `diff`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    #[serde(deserialize_with = "some_files")]
    files: Vec<Text>,
}

/// A list, as long as one may be: what is small as text is less so in memory.
fn some_files<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<Text>, D::Error> {
    struct Listed;
    impl<'de> Visitor<'de> for Listed {
        type Value = Vec<Text>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of files")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Text>, A::Error> {
            let mut files = Vec::new();
            while let Some(file) = list.next_element()? {
                if files.len() == FILES {
                    return Err(A::Error::custom(format_args!("more than {FILES} files")));
                }
                files.push(file);
            }
            Ok(files)
        }
    }
    list.deserialize_seq(Listed)
}

/// Of `reload`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    by: Option<String>,
}

impl Task {
    pub(super) fn reload(arguments: &str, caller: Caller) -> Result<Task, String> {
        let arguments = serde_json::from_str::<Option<Name>>(arguments);
        let by = arguments.map_err(|error| format!("arguments: {error}"))?.and_then(|Name { by }| by);
        Ok(Task::Reload(who(caller, by)))
    }

    pub(super) fn diff(arguments: &str, rank: Rank) -> Result<Task, String> {
        if arguments == "null" {
            return Ok(Task::Diff(None, rank));
        }
        let Files { files } = serde_json::from_str(arguments).map_err(|error| format!("arguments: {error}"))?;
        if files.is_empty() {
            return Err("diff needs one file at least".to_owned());
        }
        let files = files.into_iter().map(|Text { name, text }| Text { name: one_line(&name), text });
        Ok(Task::Diff(Some(files.collect()), rank))
    }

    pub(super) fn probe(arguments: &str) -> Result<Task, String> {
        Arguments::target(arguments, "probe").map(Task::Probe)
    }
}

/// Arguments that this version does not know may be what the client relies on: they are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    target: String,
    for_ms: Option<u64>,
    reason: Option<String>,
    by: Option<String>,
}

impl Arguments {
    /// Those of a command that takes a target and nothing else.
    fn target(arguments: &str, command: &str) -> Result<String, String> {
        match read(arguments)? {
            Arguments { target, for_ms: None, reason: None, by: None } => Ok(target),
            _ => Err(format!("{command} takes a target and nothing else")),
        }
    }
}

impl Change {
    pub(super) fn drain(arguments: &str, caller: Caller) -> Result<Change, String> {
        let Arguments { target, for_ms, reason, by } = read(arguments)?;
        let time = for_ms.map(Duration::from_millis);
        if time.is_some_and(|time| time.is_zero() || time > LONGEST) {
            return Err("a drain lasts at least a millisecond and at most 366 days, or until it is undone".to_owned());
        }
        let reason = reason.map(|reason| one_line(&reason)).filter(|reason| !reason.is_empty());
        Ok(Change::Drain(parse(&target), Terms { time, reason, by: who(caller, by) }))
    }

    pub(super) fn why(arguments: &str) -> Result<Change, String> {
        Arguments::target(arguments, "why").map(Change::Why)
    }

    pub(super) fn undrain(arguments: &str, caller: Caller) -> Result<Change, String> {
        match read(arguments)? {
            Arguments { target, for_ms: None, reason: None, by } => {
                Ok(Change::Undrain(parse(&target), who(caller, by)))
            }
            _ => Err("undrain takes a target and nothing else".to_owned()),
        }
    }
}

fn read(arguments: &str) -> Result<Arguments, String> {
    serde_json::from_str(arguments).map_err(|error| format!("arguments: {error}"))
}

/// Who wants something, in a few words.
fn who(caller: Caller, name: Option<String>) -> String {
    let name = name.map(|name| one_line(&name).chars().take(NAME).collect::<String>());
    caller.called(name.as_deref())
}

fn parse(target: &str) -> Target {
    let Ok(target) = target.trim().parse();
    target
}

/// An operator's words, without what would break the lines that they stand in.
fn one_line(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON).collect();
    visible.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_strictly() {
        let drain = |text: &str| Change::drain(text, Caller::looker());
        let terms = |time, reason: Option<&str>, by: &str| {
            let (reason, by) = (reason.map(str::to_owned), by.to_owned());
            Terms { time, reason, by }
        };
        let minute = Some(Duration::from_secs(60));
        let all = Change::Drain(Target::All, terms(minute, Some("new kernel [31m"), "uid 1000"));
        assert_eq!(drain(r#"{"target":"all","for_ms":60000,"reason":" new kernel\u001b[31m\n"}"#), Ok(all));
        let web = Target::Backend("web".to_owned(), "[fd00::1]:80".parse().unwrap());
        assert_eq!(drain(r#"{"target":"web/[fd00::1]:80"}"#), Ok(Change::Drain(web, terms(None, None, "uid 1000"))));
        // A name is the caller's own affair, the number is not.
        let named = drain(r#"{"target":"all","by":"alice\n(uid 0)"}"#);
        assert_eq!(named, Ok(Change::Drain(Target::All, terms(None, None, "alice (uid 0) (uid 1000)"))));
        for text in [
            "null",
            "{}",
            r#"{"target":1}"#,
            r#"{"target":"all","for_ms":0}"#,
            r#"{"target":"all","for_ms":-1}"#,
            r#"{"target":"all","for_ms":99999999999999}"#,
            r#"{"target":"all","until":"tomorrow"}"#,
        ] {
            assert!(drain(text).is_err(), "{text}");
        }
        let undrain = |text: &str| Change::undrain(text, Caller::looker());
        let back = Change::Undrain(Target::Peer("tor-a".to_owned()), "bob (uid 1000)".to_owned());
        assert_eq!(undrain(r#"{"target":"peer/tor-a","by":"bob"}"#), Ok(back));
        assert!(undrain(r#"{"target":"all","reason":"x"}"#).is_err());
        let long = format!(r#"{{"target":"all","reason":"{}"}}"#, "x".repeat(1000));
        let long_name = format!(r#"{{"by":"{}"}}"#, "x".repeat(1000));
        let reload = |text: &str| Task::reload(text, Caller::looker());
        assert_eq!(reload(&long_name), Ok(Task::Reload(format!("{} (uid 1000)", "x".repeat(NAME)))));
        assert_eq!(reload("null"), Ok(Task::Reload("uid 1000".to_owned())));
        assert!(reload("7").is_err() && reload(r#"{"target":"all"}"#).is_err());
        assert!(
            matches!(drain(&long), Ok(Change::Drain(_, Terms { reason: Some(reason), .. })) if reason.len() == REASON)
        );
    }
}
