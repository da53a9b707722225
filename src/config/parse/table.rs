//! Typed access to the keys of a TOML table. What does not fit becomes a finding, and reading goes on.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::findings::{Findings, Place, quote};
use super::schema::{self, Schema};

/// A table whose keys are all known; what is not has been reported.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    schema: &'static Schema,
    table: &'t DeTable<'t>,
    /// Of its header.
    pub(super) place: Place,
    base: Option<Base<'t>>,
}

/// Where the keys are that a table does not set itself.
#[derive(Clone, Copy)]
struct Base<'t> {
    table: &'t DeTable<'t>,
    file: usize,
    /// Keys that are not taken from there.
    but: &'static [&'static str],
}

/// A value, and the key that it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Item<'t> {
    /// The key, for messages; of a list for what is in it.
    pub(super) name: &'t str,
    value: &'t DeValue<'t>,
    /// Of the value.
    pub(super) place: Place,
    /// Of the key.
    pub(super) key_place: Place,
}

impl<'t> Section<'t> {
    /// Takes a table as one of this kind, and reports keys that it cannot have.
    pub(super) fn new(
        schema: &'static Schema,
        table: &'t DeTable<'t>,
        place: Place,
        findings: &mut Findings,
    ) -> Section<'t> {
        for (key, _) in table {
            let name: &str = key.get_ref();
            if schema.keys.contains(&name) {
                continue;
            }
            let place = Place { file: place.file, offset: key.span().start };
            let (title, quoted) = (schema.title, quote(name));
            if schema.is_unsupported(name) {
                findings.error(place, format!("{quoted} in {title} is not supported by this version"));
                continue;
            }
            let mut hint = findings.did_you_mean(name, schema.keys.iter().copied());
            if let (true, Some(home)) = (hint.is_empty(), schema::home(name)) {
                hint = format!("; it belongs in {}", home.title);
            }
            findings.error(place, format!("unknown key {quoted} in {title}{hint}"));
        }
        Section { schema, table, place, base: None }
    }

    /// The same, with the keys of `base`, `but` for these, where it has none of its own.
    pub(super) fn based_on(self, base: &Section<'t>, but: &'static [&'static str]) -> Section<'t> {
        Section { base: Some(Base { table: base.table, file: base.place.file, but }), ..self }
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &'static str) -> Option<Item<'t>> {
        debug_assert!(self.schema.keys.contains(&key), "{key} is not in the schema of {}", self.schema.title);
        let own = self.table.get_key_value(key).map(|entry| (entry, self.place.file));
        let base = self.base.filter(|base| !base.but.contains(&key));
        let inherited = || base.and_then(|base| Some((base.table.get_key_value(key)?, base.file)));
        let ((name, value), file) = own.or_else(inherited)?;
        let at = |offset| Place { file, offset };
        Some(Item {
            name: name.get_ref(),
            value: value.get_ref(),
            place: at(value.span().start),
            key_place: at(name.span().start),
        })
    }

    /// Whether the key is in the table itself.
    pub(super) fn is_own(&self, key: &'static str) -> bool {
        self.table.contains_key(key)
    }

    /// The values of two keys that exclude each other: one that is the table's own supersedes the other of its base.
    pub(super) fn rivals(&self, one: &'static str, other: &'static str) -> (Option<Item<'t>>, Option<Item<'t>>) {
        match (self.is_own(one), self.is_own(other)) {
            (true, false) => (self.get(one), None),
            (false, true) => (None, self.get(other)),
            (true, true) | (false, false) => (self.get(one), self.get(other)),
        }
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &'static str, findings: &mut Findings) -> Option<Item<'t>> {
        let item = self.get(key);
        if item.is_none() && !findings.is_incomplete() {
            findings.error(self.place, format!("{} needs `{key}`", self.schema.title));
        }
        item
    }

    /// The tables of a list of tables; none when the key is not there.
    pub(super) fn sections(
        &self,
        key: &'static str,
        schema: &'static Schema,
        findings: &mut Findings,
    ) -> Vec<Section<'t>> {
        let Some(item) = self.get(key) else { return Vec::new() };
        if item.value.is_table() {
            findings.error(item.place, format!("write {0} in double brackets: there may be several", schema.title));
            return Vec::new();
        }
        let items = item.list(findings).unwrap_or_default();
        items.iter().filter_map(|item| item.section(schema, findings)).collect()
    }
}

impl<'t> Item<'t> {
    pub(super) fn is_string(&self) -> bool {
        self.value.is_str()
    }

    pub(super) fn is_boolean(&self) -> bool {
        matches!(self.value, DeValue::Boolean(_))
    }

    /// A text, number or truth value as JSON.
    pub(super) fn json(&self, findings: &mut Findings) -> Option<String> {
        let value = match self.value {
            DeValue::String(text) => Some(serde_json::Value::from(text.as_ref())),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(serde_json::Value::from)
            }
            DeValue::Float(number) => {
                number.as_str().parse().ok().and_then(serde_json::Number::from_f64).map(Into::into)
            }
            DeValue::Boolean(value) => Some(serde_json::Value::from(*value)),
            _ => None,
        };
        match value {
            Some(value) => Some(value.to_string()),
            None => self.wrong_type("a text, a number or a truth value", findings),
        }
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// Whether it is a table with this key.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.value.as_table().is_some_and(|table| table.contains_key(key))
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(super) fn string(&self, findings: &mut Findings) -> Option<&'t str> {
        self.value.as_str().or_else(|| self.wrong_type("a string", findings))
    }

    pub(super) fn boolean(&self, findings: &mut Findings) -> Option<bool> {
        self.value.as_bool().or_else(|| self.wrong_type("true or false", findings))
    }

    /// An integer within a range.
    pub(super) fn integer<N: Into<u64> + TryFrom<u64> + Copy>(
        &self,
        range: RangeInclusive<N>,
        findings: &mut Findings,
    ) -> Option<N> {
        let Some(integer) = self.value.as_integer() else { return self.wrong_type("an integer", findings) };
        let (first, last): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
        // What does not even fit 128 bits is out of any range.
        let given = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let within = given.and_then(|n| u64::try_from(n).ok()).filter(|n| (first..=last).contains(n));
        if within.is_none() {
            let message = format!("`{}` must be from {first} to {last}, not {}", self.name, shown(integer.as_str()));
            findings.error(self.place, message);
        }
        within.and_then(|n| N::try_from(n).ok())
    }

    /// A share such as `"50%"`, within a range.
    pub(super) fn percent(&self, range: RangeInclusive<u8>, findings: &mut Findings) -> Option<u8> {
        let Some(text) = self.value.as_str() else { return self.wrong_type("a share such as \"50%\"", findings) };
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let percent = digits.and_then(|digits| digits.parse().ok()).filter(|percent| range.contains(percent));
        if percent.is_none() {
            let (first, last) = (range.start(), range.end());
            let message =
                format!("`{}` must be a share from \"{first}%\" to \"{last}%\", not {}", self.name, quote(text));
            findings.error(self.place, message);
        }
        percent
    }

    /// A duration within a range, such as `"250ms"`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>, findings: &mut Findings) -> Option<Duration> {
        let Some(text) = self.value.as_str() else {
            return self.wrong_type("a duration such as \"500ms\" or \"2s\"", findings);
        };
        let Some(duration) = duration(text) else {
            let message =
                format!("`{}` must be a duration such as \"500ms\" or \"2s\", not {}", self.name, quote(text));
            findings.error(self.place, message);
            return None;
        };
        if !range.contains(&duration) {
            let (first, last) = (spell(*range.start()), spell(*range.end()));
            let message = format!("`{}` must be from {first} to {last}, not {}", self.name, quote(text));
            findings.error(self.place, message);
            return None;
        }
        Some(duration)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)], findings: &mut Findings) -> Option<T> {
        let text = self.string(findings)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        /// More are a list to look things up in.
        const FEW: usize = 8;
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let words = if words.len() <= FEW {
            words.join(" or ")
        } else {
            format!("one of {}", words.join(", ").replace('"', ""))
        };
        let hint = findings.did_you_mean(text, choices.iter().map(|(word, _)| *word));
        let message = format!("`{}` must be {words}, not {}{hint}", self.name, quote(text));
        findings.error(self.place, message);
        None
    }

    pub(super) fn list(&self, findings: &mut Findings) -> Option<Vec<Item<'t>>> {
        let Some(array) = self.value.as_array() else { return self.wrong_type("a list", findings) };
        let item = |value: &'t toml::Spanned<DeValue<'t>>| {
            let place = Place { file: self.place.file, offset: value.span().start };
            Item { name: self.name, value: value.get_ref(), place, key_place: self.key_place }
        };
        Some(array.iter().map(item).collect())
    }

    /// One of something, or a list of them.
    pub(super) fn one_or_more(&self, findings: &mut Findings) -> Option<Vec<Item<'t>>> {
        if self.is_list() { self.list(findings) } else { Some(vec![*self]) }
    }

    pub(super) fn section(&self, schema: &'static Schema, findings: &mut Findings) -> Option<Section<'t>> {
        let Some(table) = self.value.as_table() else { return self.wrong_type("a table", findings) };
        Some(Section::new(schema, table, self.place, findings))
    }

    /// The entries of a table whose keys are the operator's choice, in the order of the file.
    pub(super) fn entries(&self, findings: &mut Findings) -> Option<Vec<Item<'t>>> {
        let Some(table) = self.value.as_table() else { return self.wrong_type("a table", findings) };
        let at = |offset| Place { file: self.place.file, offset };
        let entry = |(key, value): (&'t toml::Spanned<_>, &'t toml::Spanned<DeValue<'t>>)| {
            let name: &'t std::borrow::Cow<'t, str> = key.get_ref();
            let (place, key_place) = (at(value.span().start), at(key.span().start));
            Item { name, value: value.get_ref(), place, key_place }
        };
        let mut entries: Vec<Item> = table.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.key_place);
        Some(entries)
    }

    /// Reports that the value is not what it must be.
    pub(super) fn wrong_type<T>(&self, must_be: &str, findings: &mut Findings) -> Option<T> {
        let is = match self.value {
            DeValue::String(text) if must_be == "an integer" && text.parse::<i128>().is_ok() => {
                format!("text; {text} without quotes is one")
            }
            DeValue::String(text) if must_be == "true or false" && text.parse::<bool>().is_ok() => {
                format!("text; {text} without quotes is it")
            }
            DeValue::String(text) => quote(text),
            DeValue::Integer(integer) => format!("the integer {}", shown(integer.as_str())),
            DeValue::Float(_) => "a fraction".to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(_) => "a date or time".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        findings.error(self.place, format!("`{}` must be {must_be}, not {is}", self.name));
        None
    }
}

/// A key that may be left out, but not be wrong.
pub(super) fn optional<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}

/// A number of any length, cut.
fn shown(digits: &str) -> &str {
    match digits.char_indices().nth(40) {
        Some((end, _)) => digits.get(..end).unwrap_or(digits),
        None => digits,
    }
}

/// Numbers always with a unit, but for 0.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" { Some(Duration::ZERO) } else { humantime::parse_duration(text).ok() }
}

/// As an operator would write it.
pub(super) fn spell(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_nanos()) {
        (seconds, 0) => format!("{seconds}s"),
        _ if duration.subsec_nanos().is_multiple_of(1_000_000) => format!("{}ms", duration.as_millis()),
        _ => humantime::format_duration(duration).to_string(),
    }
}
