//! Collects everything that is wrong with a configuration, each finding with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::config::{Diagnostic, Position, Source};

/// Findings beyond this many are only counted: who has made a thousand mistakes has made one mistake.
const SHOWN: usize = 1000;
/// How many pairs of words are compared at most to find near names, over all findings.
const COMPARISONS: usize = 500_000;
/// Words longer than this, in characters, are nobody's typing mistake.
const LONGEST_WORD: usize = 64;

/// A place in one of the sources, by index and byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) offset: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    place: Place,
    message: String,
    /// Where the other half of a contradiction stands.
    other: Option<Place>,
}

/// Everything found so far.
pub(super) struct Findings<'s> {
    sources: Vec<&'s Source>,
    lines: Vec<Vec<usize>>,
    /// Each once, however many peers share the table that it is in, with its number in the order in which they came.
    errors: BTreeMap<Finding, usize>,
    not_shown: usize,
    warnings: Vec<Finding>,
    /// Lines (by file and number from 0) with a syntax error: whatever else is found there is its consequence.
    broken_lines: BTreeSet<(usize, usize)>,
    incomplete: bool,
    comparisons: usize,
}

impl<'s> Findings<'s> {
    pub(super) fn new(sources: impl IntoIterator<Item = &'s Source>) -> Findings<'s> {
        let sources: Vec<&Source> = sources.into_iter().collect();
        let starts = |text: &str| {
            std::iter::once(0)
                .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1))
                .collect()
        };
        Findings {
            lines: sources.iter().map(|source| starts(&source.text)).collect(),
            sources,
            errors: BTreeMap::new(),
            not_shown: 0,
            warnings: Vec::new(),
            broken_lines: BTreeSet::new(),
            incomplete: false,
            comparisons: COMPARISONS,
        }
    }

    pub(super) fn error(&mut self, place: Place, message: impl Into<String>) {
        self.push_error(Finding { place, message: message.into(), other: None });
    }

    /// An error because of something elsewhere: `message` ends where the position of `other` follows.
    pub(super) fn conflict(&mut self, place: Place, message: impl Into<String>, other: Place) {
        self.push_error(Finding { place, message: message.into(), other: Some(other) });
    }

    pub(super) fn warning(&mut self, place: Place, message: impl Into<String>) {
        if self.warnings.len() < SHOWN {
            self.warnings.push(Finding { place, message: message.into(), other: None });
        }
    }

    /// A syntax error over these bytes of a file.
    pub(super) fn syntax(&mut self, file: usize, span: Range<usize>, message: impl Into<String>) {
        let place = Place { file, offset: span.start };
        self.error(place, message);
        self.incomplete = true;
        self.broken_lines.insert((file, self.line(place)));
        self.broken_lines.insert((file, self.line(Place { file, offset: span.end })));
    }

    /// Not everything could be read: see [`is_incomplete`](Self::is_incomplete).
    pub(super) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Whether part of a file could not be read or understood: then nothing can be said about what is missing.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// `; did you mean …?` when one of `names` is near to `word`, else nothing.
    pub(super) fn did_you_mean<'n>(&mut self, word: &str, names: impl IntoIterator<Item = &'n str>) -> String {
        match self.nearest(word, names) {
            Some(name) => format!("; did you mean `{name}`?"),
            None => String::new(),
        }
    }

    fn nearest<'n>(&mut self, word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
        let length = word.chars().count();
        if length > LONGEST_WORD {
            return None;
        }
        let near = (length / 3).max(1);
        let mut best: Option<((usize, bool, usize), &str)> = None;
        for name in names {
            if self.comparisons == 0 {
                break;
            }
            self.comparisons -= 1;
            if name.len().abs_diff(word.len()) > near * 4 || name.len() > LONGEST_WORD * 4 {
                continue;
            }
            let distance = strsim::osa_distance(&word.to_lowercase(), &name.to_lowercase());
            // Of two as near, the one that begins alike: that letter is seldom wrong. Then the one of the same length: letters
            // are swapped more often than left out.
            let rank = (distance, name.chars().next() != word.chars().next(), name.len().abs_diff(word.len()));
            if distance <= near && best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, name));
            }
        }
        best.map(|(_, name)| name)
    }

    /// Warnings when there is no error, else all errors; both in the order of the files.
    pub(super) fn finish(mut self) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        if self.errors.is_empty() {
            self.warnings.sort_by_key(|finding| finding.place);
            return Ok(self.warnings.iter().map(|finding| self.diagnostic(finding)).collect());
        }
        let mut errors: Vec<_> = self.errors.iter().collect();
        errors.sort_by_key(|(finding, number)| (finding.place, **number));
        let mut shown: Vec<Diagnostic> = errors.iter().map(|(finding, _)| self.diagnostic(finding)).collect();
        if let (Some(last), 1..) = (shown.last(), self.not_shown) {
            let message = format!("{} more errors are not shown", self.not_shown);
            shown.push(Diagnostic { position: last.position.clone(), message });
        }
        Err(shown)
    }

    /// Errors so far.
    pub(super) fn count(&self) -> usize {
        self.errors.len() + self.not_shown
    }

    /// Whether further errors are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.errors.len() >= SHOWN
    }

    fn push_error(&mut self, finding: Finding) {
        if !self.broken_lines.is_empty() && self.broken_lines.contains(&(finding.place.file, self.line(finding.place)))
        {
            return;
        }
        if !self.is_full() {
            let number = self.errors.len();
            self.errors.entry(finding).or_insert(number);
        } else if !self.errors.contains_key(&finding) {
            self.not_shown += 1;
        }
    }

    fn diagnostic(&self, finding: &Finding) -> Diagnostic {
        let message = match finding.other {
            Some(other) => format!("{} {}", finding.message, self.position(other)),
            None => finding.message.clone(),
        };
        Diagnostic { position: self.position(finding.place), message }
    }

    pub(super) fn position(&self, place: Place) -> Position {
        let line = self.line(place);
        let start = self.lines.get(place.file).and_then(|lines| lines.get(line)).copied().unwrap_or(0);
        let source = self.sources.get(place.file);
        let before = source.and_then(|source| source.text.get(start..place.offset)).unwrap_or("");
        Position {
            file: source.map_or_else(|| "".into(), |source| source.name.clone()),
            line: line + 1,
            column: before.chars().filter(|c| *c != '\u{feff}').count() + 1,
        }
    }

    /// The line of a place, from 0.
    fn line(&self, place: Place) -> usize {
        self.lines.get(place.file).map_or(0, |lines| lines.partition_point(|start| *start <= place.offset).max(1) - 1)
    }
}

/// A word of the operator's as it stands in a message: short and on one line, whatever it is.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for (at, c) in text.chars().enumerate() {
        if at == LONGEST_WORD {
            quoted.push('…');
            break;
        }
        if c.is_control() { quoted.extend(c.escape_default()) } else { quoted.push(c) }
    }
    quoted.push('`');
    quoted
}
