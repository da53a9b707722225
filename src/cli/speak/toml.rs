//! What is said on the command line or in a command, as the configuration's own TOML: what it means, which values it may
//! have and what is wrong with it is [`config`]'s to say. Here, a finding gets the name that the user knows.

use std::fmt::Write as _;

use crate::config::{Diagnostic, Source};

/// How the words for a key become its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One word, a string.
    Text,
    /// One word: a number, true or false where it is one.
    Bare,
    /// A path, from where the user stands.
    Path,
    /// True.
    Switch,
    /// Strings.
    List,
    /// One string, or a list of several.
    TextOrList,
}

/// What its source is called in positions. No word of a user's can hold it.
const SOURCE: &str = "\0words";

/// A text in the making: every line but headers is a key, and has the name that the user knows it by.
#[derive(Debug)]
pub(super) struct Toml {
    text: String,
    /// By line: the name.
    lines: Vec<&'static str>,
    /// Keys, and their names.
    known: Vec<(&'static str, &'static str)>,
}

impl Toml {
    /// Empty. `known` are the keys that findings may be about, with their names.
    pub(super) fn new(known: impl Iterator<Item = (&'static str, &'static str)>) -> Toml {
        Toml { text: String::new(), lines: Vec::new(), known: known.collect() }
    }

    /// The keys that follow belong to this table.
    pub(super) fn header(&mut self, header: &str) {
        self.line(header, "");
    }

    /// A key, which the user calls `name`.
    pub(super) fn key(&mut self, key: &'static str, name: &'static str, kind: Kind, words: &[String]) {
        let value = match (kind, words) {
            (Kind::Switch, _) => "true".to_owned(),
            (Kind::Bare, [word]) => bare(word).unwrap_or_else(|| quoted(word)),
            (Kind::Path, [word]) => {
                let path = std::path::absolute(word);
                quoted(path.ok().as_deref().and_then(|path| path.to_str()).unwrap_or(word))
            }
            (Kind::Text | Kind::TextOrList, [word]) => quoted(word),
            _ => format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ")),
        };
        self.line(&format!("{key} = {value}"), name);
    }

    /// To be parsed.
    pub(super) fn source(&self) -> Source {
        Source { name: SOURCE.into(), text: self.text.clone() }
    }

    /// Findings about the source, in the user's words.
    pub(super) fn explain(&self, findings: &[Diagnostic]) -> Vec<String> {
        findings.iter().map(|finding| self.explain_one(finding)).collect()
    }

    fn explain_one(&self, finding: &Diagnostic) -> String {
        let mut message = finding.message.clone();
        for (key, name) in &self.known {
            // The parser calls a key by the last part of its name.
            let key = key.rsplit('.').next().unwrap_or(key);
            message = message.replace(&format!("`{key}`"), &format!("`{name}`"));
        }
        // Where the other half of a contradiction stands.
        while let Some((before, after)) = message.split_once(&format!("{SOURCE}:")) {
            let place = after.find(|c: char| !(c.is_ascii_digit() || c == ':')).unwrap_or(after.len());
            let (place, rest) = after.split_at(place);
            let line = place.split(':').next().and_then(|line| line.parse().ok()).unwrap_or(0);
            message = format!("{before}{}{rest}", self.name(line));
        }
        match self.name(finding.position.line) {
            "" => message,
            name if message.contains(&format!("`{name}`")) => message,
            name => format!("{name}: {message}"),
        }
    }

    /// The name on a line, counted from 1.
    fn name(&self, line: usize) -> &'static str {
        self.lines.get(line.saturating_sub(1)).copied().unwrap_or("")
    }

    fn line(&mut self, line: &str, name: &'static str) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.text, "{line}");
        self.lines.push(name);
    }
}

/// Digits as TOML has them, without zeros in front, and what else stands there without quotes.
fn bare(word: &str) -> Option<String> {
    if matches!(word, "true" | "false") {
        return Some(word.to_owned());
    }
    let (sign, digits) = word.strip_prefix('-').map_or(("", word), |digits| ("-", digits));
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    Some(format!("{sign}{}", if significant.is_empty() { "0" } else { significant }))
}

/// A basic string of TOML.
fn quoted(word: &str) -> String {
    let mut text = String::from('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _infallible = write!(text, "\\u{:04X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_word_is_a_string() {
        for (word, toml) in [("a", "\"a\""), ("a\"b\\", "\"a\\\"b\\\\\""), ("\n\0\x7f", "\"\\u000A\\u0000\\u007F\"")] {
            assert_eq!(quoted(word), toml);
        }
    }

    #[test]
    fn digits_are_numbers_and_words_are_not() {
        for (word, toml) in [
            ("0", Some("0")),
            ("007", Some("7")),
            ("-1", Some("-1")),
            ("-", None),
            ("", None),
            ("1e3", None),
            ("true", Some("true")),
            ("yes", None),
        ] {
            assert_eq!(bare(word).as_deref(), toml, "{word}");
        }
    }
}
