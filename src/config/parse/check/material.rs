//! What checks share: compiled expressions, and the files that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::config::parse::daemon;
use crate::config::parse::findings::{Findings, Place, quote};
use crate::config::parse::schema;
use crate::config::parse::table::{Item, Section, optional};
use crate::config::{FileReference, FileRole, Pattern};

/// For a compiled expression, in bytes.
const MAX_REGEX: usize = 1 << 20;
/// What is larger than this is a large one, ...
const LARGE_REGEX: usize = 128 * 1024;
/// ... and there are not so many of these.
const MAX_LARGE: usize = 256;
/// Different expressions in one configuration: compiling them takes time and memory.
const MAX_REGEXES: usize = 4096;
/// The longest text that is sent or expected, in octets.
const MAX_OCTETS: usize = 65_536;

/// Compiled expressions: many checks may share one text, and compiling takes time.
#[derive(Default)]
pub(super) struct Material {
    regexes: BTreeMap<String, Result<regex::bytes::Regex, String>>,
    large: usize,
    references: BTreeSet<(FileRole, PathBuf, Place)>,
}

impl Material {
    /// A file that the driver looks at before the configuration is taken.
    pub(super) fn name_file(&mut self, role: FileRole, item: &Item, findings: &mut Findings) -> Option<PathBuf> {
        let path = daemon::absolute_path(item, findings)?;
        self.references.insert((role, path.clone(), item.place));
        Some(path)
    }

    /// A user that the driver looks up before the configuration is taken.
    pub(super) fn name_user(&mut self, name: &str, item: &Item) {
        self.references.insert((FileRole::User, PathBuf::from(name), item.place));
    }

    /// The files, each where it is named first.
    pub(super) fn finish(self, findings: &Findings) -> Vec<FileReference> {
        let mut references: Vec<_> = self.references.into_iter().collect();
        references.dedup_by(|(role, path, _), (other_role, other_path, _)| (role, path) == (other_role, other_path));
        references.sort_by_key(|(_, _, place)| *place);
        let reference = |(role, path, place)| FileReference { position: findings.position(place), path, role };
        references.into_iter().map(reference).collect()
    }

    /// A regular expression, of octets.
    pub(super) fn regex(&mut self, item: &Item, findings: &mut Findings) -> Option<Pattern> {
        let text = item.string(findings)?;
        if text.is_empty() {
            findings.error(item.place, format!("`{}` must not be empty", item.name));
            return None;
        }
        if !self.regexes.contains_key(text) && (self.regexes.len() >= MAX_REGEXES || findings.is_full()) {
            findings.error(item.place, format!("there are more than {MAX_REGEXES} different expressions"));
            return None;
        }
        let large = &mut self.large;
        match self.regexes.entry(text.to_owned()).or_insert_with(|| compile(text, large)) {
            Ok(regex) => Some(Pattern::Regex(regex.clone())),
            Err(error) => {
                findings.error(item.place, format!("`{}` is not a regular expression: {error}", item.name));
                None
            }
        }
    }

    /// A text, or a table of `text`, `hex` or `regex`.
    pub(super) fn pattern(&mut self, item: &Item, findings: &mut Findings) -> Option<Pattern> {
        if item.is_string() {
            return text(item, findings);
        }
        let table = item.section(&schema::PATTERN, findings)?;
        let keys = ["text", "hex", "regex"].map(|key| table.get(key));
        match keys {
            [Some(item), None, None] => text(&item, findings),
            [None, Some(digits), None] => hex(&digits, findings).map(Pattern::Contains),
            [None, None, Some(regex)] => self.regex(&regex, findings),
            _ => {
                findings.error(item.place, format!("`{}` takes one of `text`, `hex` and `regex`", item.name));
                None
            }
        }
    }
}

/// `large` counts those that are.
fn compile(text: &str, large: &mut usize) -> Result<regex::bytes::Regex, String> {
    let within = |size| regex::bytes::RegexBuilder::new(text).size_limit(size).build();
    let compiled = match within(LARGE_REGEX) {
        Err(regex::Error::CompiledTooBig(_)) if *large >= MAX_LARGE => {
            return Err(format!("it takes more than {LARGE_REGEX} bytes, and {MAX_LARGE} others do"));
        }
        Err(regex::Error::CompiledTooBig(_)) => {
            *large += 1;
            within(MAX_REGEX)
        }
        compiled => compiled,
    };
    // The last line of the message says what is wrong; those before draw it.
    compiled
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
}

/// A text that is found anywhere.
pub(super) fn text(item: &Item, findings: &mut Findings) -> Option<Pattern> {
    octets(item, findings).map(Pattern::Contains)
}

/// What is sent: `send` or `send_hex`; nothing when neither is there.
pub(super) fn sent(table: &Section, findings: &mut Findings) -> Option<Option<Vec<u8>>> {
    if let (Some(item), true) = (table.get("send_hex"), table.has("send")) {
        findings.error(item.key_place, "`send` and `send_hex` exclude each other");
        return None;
    }
    let text = table.get("send").map(|item| octets(&item, findings));
    optional(text.or_else(|| table.get("send_hex").map(|item| hex(&item, findings))))
}

/// The octets of a text that is not empty.
pub(super) fn octets(item: &Item, findings: &mut Findings) -> Option<Vec<u8>> {
    let text = item.string(findings)?;
    sane(item, text.as_bytes().to_vec(), findings)
}

/// Pairs of hexadecimal digits; spaces between them do not matter.
pub(super) fn hex(item: &Item, findings: &mut Findings) -> Option<Vec<u8>> {
    let text = item.string(findings)?;
    let octets = hex_octets(text.chars().filter(|c| !c.is_ascii_whitespace()));
    if octets.is_none() {
        findings.error(item.place, format!("`{}` must be pairs of hexadecimal digits, not {}", item.name, quote(text)));
    }
    sane(item, octets?, findings)
}

/// What pairs of hexadecimal digits mean.
pub(super) fn hex_octets(digits: impl Iterator<Item = char>) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = digits.map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect())
}

fn sane(item: &Item, octets: Vec<u8>, findings: &mut Findings) -> Option<Vec<u8>> {
    let fault = match octets.len() {
        0 => format!("`{}` must not be empty", item.name),
        1..=MAX_OCTETS => return Some(octets),
        _ => format!("`{}` must not have more than {MAX_OCTETS} octets", item.name),
    };
    findings.error(item.place, fault);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_expressions_are_few() {
        let mut large = MAX_LARGE - 1;
        assert!(compile("^[a-z]+$", &mut large).is_ok() && large == MAX_LARGE - 1);
        let text = "[a-z]{3000}";
        assert!(compile(text, &mut large).is_ok() && large == MAX_LARGE);
        assert_eq!(compile(text, &mut large).unwrap_err(), "it takes more than 131072 bytes, and 256 others do");
        assert!(compile("^[a-z]+$", &mut large).is_ok(), "others are not concerned");
    }
}
