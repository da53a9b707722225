//! Typed access to the values of a JSON text. Each knows its place in the text. What does not fit becomes a finding, and
//! reading goes on.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::findings::{Findings, Place, quote};

/// A value, whose syntax is known to be right, and the text that it stands in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'t> {
    text: &'t str,
    file: usize,
    /// Without space around it.
    raw: &'t str,
}

/// One member of an object.
#[derive(Clone, Debug)]
pub(super) struct Member<'t> {
    key: String,
    /// The key as it stands in the text.
    pub(super) raw_key: Value<'t>,
    pub(super) value: Value<'t>,
}

/// An object, in the order of the text.
#[derive(Clone, Debug)]
pub(super) struct Object<'t> {
    pub(super) members: Vec<Member<'t>>,
    /// Of its opening brace.
    pub(super) place: Place,
}

impl<'t> Value<'t> {
    /// All of a text; `None`, which has been reported, when it is no JSON.
    pub(super) fn read(text: &'t str, file: usize, findings: &mut Findings) -> Option<Value<'t>> {
        match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => Some(Value { text, file, raw: raw.get() }),
            Err(error) => {
                let offset = offset_of(text, error.line(), error.column());
                let message = error.to_string();
                let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
                findings.error(Place { file, offset }, format!("not valid JSON: {message}"));
                None
            }
        }
    }

    fn part(&self, raw: &'t RawValue) -> Value<'t> {
        Value { raw: raw.get(), ..*self }
    }

    /// In octets from the beginning of the text.
    pub(super) fn start(&self) -> usize {
        (self.raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    /// In octets from the beginning of the text; the first that is no longer part of it.
    pub(super) fn end(&self) -> usize {
        self.start() + self.raw.len()
    }

    pub(super) fn place(&self) -> Place {
        Place { file: self.file, offset: self.start() }
    }

    /// Behind the first comma from `offset` on: that between a member's value and the next key.
    pub(super) fn text_after_comma(&self, offset: usize) -> usize {
        let rest = self.text.get(offset..).unwrap_or_default();
        offset + rest.find(',').map_or(0, |at| at + 1)
    }

    pub(super) fn is_empty_string(&self) -> bool {
        self.raw == "\"\""
    }

    pub(super) fn is_null(&self) -> bool {
        self.raw == "null"
    }

    pub(super) fn object(&self, name: &str, findings: &mut Findings) -> Option<Object<'t>> {
        let Some(Members(members)) = self.take_as('{') else { return self.wrong_type(name, "an object", findings) };
        let member = |(key, value): (&'t RawValue, &'t RawValue)| Member {
            key: serde_json::from_str(key.get()).unwrap_or_default(),
            raw_key: self.part(key),
            value: self.part(value),
        };
        Some(Object { members: members.into_iter().map(member).collect(), place: self.place() })
    }

    pub(super) fn list(&self, name: &str, findings: &mut Findings) -> Option<Vec<Value<'t>>> {
        let Some(Items(items)) = self.take_as('[') else { return self.wrong_type(name, "a list", findings) };
        Some(items.into_iter().map(|item| self.part(item)).collect())
    }

    pub(super) fn string(&self, name: &str, findings: &mut Findings) -> Option<String> {
        self.take_as('"').or_else(|| self.wrong_type(name, "a string", findings))
    }

    /// An integer within a range.
    pub(super) fn integer(&self, name: &str, range: RangeInclusive<u64>, findings: &mut Findings) -> Option<u64> {
        let digits = self.raw.strip_prefix('-').unwrap_or(self.raw);
        if digits.is_empty() || digits.bytes().any(|b| !b.is_ascii_digit()) {
            return self.wrong_type(name, "an integer", findings);
        }
        let given = self.raw.parse::<u64>().ok().filter(|given| range.contains(given));
        if given.is_none() {
            let (first, last) = (range.start(), range.end());
            let message = format!("`{name}` must be from {first} to {last}, not {}", quote(self.raw));
            findings.error(self.place(), message);
        }
        given
    }

    /// Reports that the value is not what it must be.
    fn wrong_type<T>(&self, name: &str, must_be: &str, findings: &mut Findings) -> Option<T> {
        let is = match self.raw.as_bytes().first() {
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "a list".to_owned(),
            _ => quote(self.raw),
        };
        findings.error(self.place(), format!("`{name}` must be {must_be}, not {is}"));
        None
    }

    /// Reads it, if it begins as such a value does.
    fn take_as<T: Deserialize<'t>>(&self, first: char) -> Option<T> {
        let raw = Some(self.raw).filter(|raw| raw.starts_with(first));
        raw.and_then(|raw| serde_json::from_str(raw).ok())
    }
}

impl<'t> Object<'t> {
    /// Reports what stands there twice of these keys: others may read one, or the other.
    pub(super) fn refuse_twins(&self, keys: &[&'static str], findings: &mut Findings) {
        for key in keys {
            let twin = self.members.iter().filter(|member| member.key == *key).nth(1);
            if let Some(twin) = twin {
                findings.error(twin.raw_key.place(), format!("`{key}` is given twice"));
            }
        }
    }

    /// The value of a key, also one that is `null`.
    pub(super) fn member(&self, key: &str) -> Option<&Member<'t>> {
        self.members.iter().find(|member| member.key == key)
    }

    /// The value of a key, unless that is `null`.
    pub(super) fn get(&self, key: &str) -> Option<Value<'t>> {
        self.member(key).map(|member| member.value).filter(|value| !value.is_null())
    }

    /// The value of a key that must be there; `title` is what the object is.
    pub(super) fn need(&self, key: &str, title: &str, findings: &mut Findings) -> Option<Value<'t>> {
        let value = self.get(key);
        if value.is_none() {
            findings.error(self.place, format!("{title} needs `{key}`"));
        }
        value
    }
}

/// serde_json counts lines from 1, and octets of them from 1, or 0 at their beginning.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let begins = |(at, byte): (usize, u8)| (byte == b'\n').then_some(at + 1);
    let start = match line.checked_sub(2) {
        None => 0,
        Some(nth) => text.bytes().enumerate().filter_map(begins).nth(nth).unwrap_or(0),
    };
    let offset = start.saturating_add(column.saturating_sub(1)).min(text.len());
    (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

struct Members<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

struct Items<'t>(Vec<&'t RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Items<'de>, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}
