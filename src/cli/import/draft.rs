//! The translation as it grows: lines of TOML, what is to be said beside them, and what was left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// How wide comments are.
const WIDTH: usize = 110;
/// How much of a text that others wrote is quoted in a comment.
const QUOTED: usize = 200;

/// A place in a source, as `FILE:LINE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// As it was named on the command line.
    pub(super) file: String,
    /// From 1.
    pub(super) line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why something in a source, or all of it, cannot be translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(place: &Place, message: impl Into<String>) -> Fault {
        Fault { place: place.clone(), message: message.into() }
    }

    /// With what is left out on account of it.
    pub(super) fn without(self, what: &str) -> Fault {
        Fault { message: format!("{}, so {} is left out", self.message, cut(what)), ..self }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A line `key = value`, with a remark behind it; `ask` is for one that the operator has to fill in.
struct Pair {
    key: String,
    value: String,
    remark: String,
    gap: bool,
}

/// A configuration in the making.
pub(super) struct Draft {
    text: String,
    /// Of the table that is being written: they are aligned when all are there.
    pairs: Vec<Pair>,
    /// Whether gaps are filled with stand-ins, to see whether the rest is valid.
    trial: bool,
    /// What the operator has to fill in.
    pub(super) gaps: Vec<String>,
    /// What the source says and the translation does not.
    pub(super) refused: Vec<String>,
}

impl Draft {
    pub(super) fn new(trial: bool) -> Draft {
        Draft { text: String::new(), pairs: Vec::new(), trial, gaps: Vec::new(), refused: Vec::new() }
    }

    /// The TOML.
    pub(super) fn finish(mut self) -> (String, Vec<String>, Vec<String>) {
        self.flush();
        (self.text, self.gaps, self.refused)
    }

    /// An empty line, but not two.
    pub(super) fn blank(&mut self) {
        self.flush();
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// `[table]` or `[[table]]`.
    pub(super) fn table(&mut self, header: &str) {
        self.flush();
        self.text += header;
        self.text.push('\n');
    }

    /// A comment, broken into lines.
    pub(super) fn comment(&mut self, text: &str) {
        self.flush();
        let mut line = String::from("#");
        for word in printable(text).split(' ').filter(|word| !word.is_empty()) {
            if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.text += &line;
                self.text.push('\n');
                line = String::from("#");
            }
            line.push(' ');
            line += word;
        }
        self.text += &line;
        self.text.push('\n');
    }

    /// A line that is not in force, to be taken as it is.
    pub(super) fn sample(&mut self, text: &str) {
        self.flush();
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.text, "#{}", printable(text));
    }

    /// `key = value`; the value is TOML.
    pub(super) fn key(&mut self, key: &str, value: impl ToString) {
        self.noted(key, value, "");
    }

    /// The same with a remark on its line.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike, at every call")]
    pub(super) fn noted(&mut self, key: &str, value: impl ToString, remark: &str) {
        let remark = printable(remark);
        self.pairs.push(Pair { key: key.to_owned(), value: value.to_string(), remark, gap: false });
    }

    /// A fact that the source may not have. `stand_in` shows what it looks like, and `ask` says what it is.
    pub(super) fn fact(&mut self, key: &str, value: Option<String>, stand_in: &str, ask: &str) {
        match value {
            Some(value) => self.key(key, value),
            None if self.trial => self.key(key, stand_in),
            None => {
                self.gaps.push(format!("`{key}`: {ask}"));
                let remark = format!("FILL IN: {ask}");
                self.pairs.push(Pair { key: key.to_owned(), value: stand_in.to_owned(), remark, gap: true });
            }
        }
    }

    /// Something that is not translated, and that somebody has to look at. `text` must not hold what may be secret.
    pub(super) fn refuse(&mut self, place: &Place, text: &str) {
        let text = printable(&format!("{place}: {text}"));
        self.comment(&format!("NOT TRANSLATED: {text}"));
        self.refused.push(text);
    }

    /// The same of several, at the end.
    pub(super) fn refuse_all(&mut self, faults: &[Fault]) {
        if !faults.is_empty() {
            self.blank();
        }
        faults.iter().for_each(|fault| self.refuse(&fault.place, &fault.message));
    }

    fn flush(&mut self) {
        let start = |pair: &Pair| if pair.gap { format!("#{}", pair.key) } else { pair.key.clone() };
        let width = self.pairs.iter().map(|pair| start(pair).chars().count()).max().unwrap_or(0);
        for pair in std::mem::take(&mut self.pairs) {
            let _infallible = write!(self.text, "{:width$} = {}", start(&pair), pair.value);
            if !pair.remark.is_empty() {
                let _infallible = write!(self.text, " # {}", pair.remark);
            }
            self.text.push('\n');
        }
    }
}

/// A TOML string.
pub(super) fn string(text: &str) -> String {
    // JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A TOML list of strings.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| string(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A key in a table's header.
pub(super) fn header_key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.chars().all(bare) { text.to_owned() } else { string(text) }
}

/// What may stand in a comment: one line, and no more of it than somebody reads.
pub(super) fn cut(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(QUOTED) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Names that are given already, and for each how often.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
    again: BTreeMap<String, usize>,
}

impl Names {
    /// A name as Herald takes it for services, checks and peers: `text` as far as possible, and unlike those before.
    pub(super) fn choose(&mut self, text: &str) -> String {
        let plain: String = text.chars().map(|c| if c.is_control() || c == '/' { '-' } else { c }).take(100).collect();
        let plain = match plain.trim() {
            "" => "unnamed",
            // `herald drain` takes it for everything.
            "all" => "all-of-it",
            plain => plain,
        };
        let mut name = plain.to_owned();
        while !self.taken.insert(name.clone()) {
            let number = self.again.entry(plain.to_owned()).or_insert(1);
            *number += 1;
            name = format!("{plain}-{number}");
        }
        name
    }
}

/// As Herald and people write it: a single address without its length.
pub(super) fn written(network: &ipnet::IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

/// Seconds as Herald writes them, to the millisecond.
pub(super) fn duration(seconds: f64) -> Option<String> {
    const LONGEST: f64 = 86_400.0 * 365.0;
    if !(0.0..=LONGEST).contains(&seconds) {
        return None;
    }
    let milliseconds = (seconds * 1000.0).round();
    let text = if milliseconds % 1000.0 == 0.0 {
        format!("\"{}s\"", milliseconds / 1000.0)
    } else {
        format!("\"{milliseconds}ms\"")
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_stay_within_their_line_and_quotes() {
        let mut draft = Draft::new(false);
        draft.comment("one\nname = \"x\"\rtwo\u{0}three");
        draft.sample("sample\n[bgp]");
        draft.key("key", string("a\"b\\c\nd\u{7f}\u{1}é"));
        draft.noted("other", 1, "remark\n[x]");
        let place = Place { file: "f\n[y]".to_owned(), line: 3 };
        draft.refuse(&place, "what\nelse");
        let (text, _, refused) = draft.finish();
        let table: toml::Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(table.len(), 2, "{text}");
        assert_eq!(table["key"].as_str(), Some("a\"b\\c\nd\u{7f}\u{1}é"));
        assert_eq!(refused, ["f [y]:3: what else"]);
    }

    #[test]
    fn gaps_are_comments_and_in_a_trial_they_are_filled() {
        for (trial, expected, gaps) in
            [(false, "a   = 1\n#as = 65001 # FILL IN: our AS\n", 1), (true, "a  = 1\nas = 65001\n", 0)]
        {
            let mut draft = Draft::new(trial);
            draft.key("a", 1);
            draft.fact("as", None, "65001", "our AS");
            let (text, asked, _) = draft.finish();
            assert_eq!((text.as_str(), asked.len()), (expected, gaps));
        }
    }

    #[test]
    fn names_and_durations() {
        let mut names = Names::default();
        let names = ["web", "web-3", "web", "web", "a/b\n", "", "all"].map(|text| names.choose(text));
        assert_eq!(names, ["web", "web-3", "web-2", "web-4", "a-b-", "unnamed", "all-of-it"]);
        let durations = [0.0, 1.0, 2.5, 0.25, 86_400.0].map(|seconds| duration(seconds).unwrap());
        assert_eq!(durations, ["\"0s\"", "\"1s\"", "\"2500ms\"", "\"250ms\"", "\"86400s\""]);
        assert_eq!([f64::NAN, f64::INFINITY, -1.0, 1e12].map(duration), [const { None }; 4]);
        assert_eq!([header_key("a-b_1"), header_key("a.b"), header_key("")], ["a-b_1", "\"a.b\"", "\"\""]);
    }
}
