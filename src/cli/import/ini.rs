//! INI files as Python's `configparser` reads them: defaults, values over several lines, `%(name)s`.
//!
//! Of the crates for INI files none tells the line of a value, and none has all three.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Fault, Place};

/// As deep as Python goes.
const DEEPEST: usize = 10;
/// What names within names may make of a value.
const LONGEST: usize = 8_192;
/// The section whose values all others have.
const DEFAULT: &str = "DEFAULT";

/// A value, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) place: Place,
}

/// A section's own values, by their names in lower case.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) values: BTreeMap<String, Value>,
}

/// Several files, each of which goes before those ahead of it.
#[derive(Debug, Default)]
pub(super) struct Ini {
    pub(super) defaults: BTreeMap<String, Value>,
    /// In the order in which they were first seen.
    pub(super) sections: Vec<Section>,
}

impl Ini {
    /// Adds a file, but for the lines that Python would refuse it for.
    pub(super) fn read(&mut self, file: &str, text: &str) -> Vec<Fault> {
        let mut reader = Reader { file, ini: self, seen: BTreeSet::new(), at: At::Nowhere, value: None };
        let mut faults = Vec::new();
        // Python opens files with universal newlines.
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            faults.extend(reader.line(line, &Place { file: file.to_owned(), line: number + 1 }).err());
        }
        reader.finish();
        faults
    }

    /// What a section says, or the defaults, with the names in it replaced.
    pub(super) fn get(&self, section: &Section, key: &str) -> Result<Option<Value>, Fault> {
        let found = section.values.get(key).or_else(|| self.defaults.get(key)).cloned();
        let Some(mut value) = found else { return Ok(None) };
        let mut text = String::new();
        self.replace(section, &value.text.clone(), &value.place, 0, &mut text)?;
        value.text = text;
        Ok(Some(value))
    }

    /// Whether some value has this name in it.
    pub(super) fn is_used(&self, key: &str) -> bool {
        let name = format!("%({key})s");
        let all = self.sections.iter().map(|section| &section.values).chain([&self.defaults]);
        all.flat_map(|values| values.values()).any(|value| value.text.to_lowercase().contains(&name))
    }

    fn replace(
        &self,
        section: &Section,
        text: &str,
        place: &Place,
        depth: usize,
        out: &mut String,
    ) -> Result<(), Fault> {
        if depth > DEEPEST {
            return Err(Fault::new(place, "names within names go too deep"));
        }
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                out.push('%');
                rest = after;
            } else if let Some((key, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(")s")) {
                let key = key.to_lowercase();
                let inner = section.values.get(&key).or_else(|| self.defaults.get(&key));
                let Some(inner) = inner else {
                    return Err(Fault::new(place, format!("there is no `{key}` for `%({key})s`")));
                };
                self.replace(section, &inner.text, place, depth + 1, out)?;
                rest = after;
            } else {
                return Err(Fault::new(place, "`%` must be followed by `%` or `(name)s`"));
            }
            if out.len() > LONGEST {
                return Err(Fault::new(place, "the value becomes too long"));
            }
        }
        out.push_str(rest);
        Ok(())
    }
}

/// One file, line by line.
struct Reader<'r> {
    file: &'r str,
    ini: &'r mut Ini,
    /// Sections and values of this file: none may be there twice.
    seen: BTreeSet<(Option<String>, Option<String>)>,
    at: At,
    value: Option<Open>,
}

/// Where a line belongs.
#[derive(Clone, Copy)]
enum At {
    Nowhere,
    /// A section that is not taken; nor is what is in it.
    Refused,
    Defaults,
    /// By its index.
    Section(usize),
}

/// A value that may go on.
struct Open {
    key: String,
    indent: usize,
    lines: Vec<String>,
    place: Place,
    /// Where it is put, if anywhere.
    at: At,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, place: &Place) -> Result<(), Fault> {
        let text = line.trim();
        if text.starts_with(['#', ';']) {
            return Ok(());
        }
        if text.is_empty() {
            if let Some(open) = &mut self.value {
                open.lines.push(String::new());
            }
            return Ok(());
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if let Some(open) = self.value.as_mut().filter(|open| indent > open.indent) {
            open.lines.push(text.to_owned());
            return Ok(());
        }
        self.finish();
        if let Some(name) = text.strip_prefix('[').and_then(|rest| Some(&rest[..rest.rfind(']')?])) {
            self.at = At::Refused;
            self.at = self.enter(name, place)?;
            return Ok(());
        }
        if matches!(self.at, At::Nowhere) {
            return Err(Fault::new(place, "this is in no section: [DEFAULT], [daemon] or that of a service"));
        }
        let Some((key, value)) = text.split_once(['=', ':']) else {
            return Err(Fault::new(place, "this is neither a section nor `key = value`"));
        };
        let key = key.trim().to_lowercase();
        if key.is_empty() {
            return Err(Fault::new(place, "there is no name before the sign"));
        }
        let owner = match self.at {
            At::Section(index) => Some(self.ini.sections[index].name.clone()),
            _ => None,
        };
        let is_new = matches!(self.at, At::Refused) || self.seen.insert((owner, Some(key.clone())));
        let fault = Fault::new(place, format!("`{key}` is twice in this section"));
        // The lines that it goes on with are its own in any case.
        let at = if is_new { self.at } else { At::Refused };
        self.value = Some(Open { key, indent, lines: vec![value.trim().to_owned()], place: place.clone(), at });
        if is_new { Ok(()) } else { Err(fault) }
    }

    fn enter(&mut self, name: &str, place: &Place) -> Result<At, Fault> {
        if name.is_empty() {
            return Err(Fault::new(place, "the section has no name"));
        }
        if name == DEFAULT {
            return Ok(At::Defaults);
        }
        if !self.seen.insert((Some(name.to_owned()), None)) {
            return Err(Fault::new(place, format!("section [{name}] is twice in {}", self.file)));
        }
        let sections = &mut self.ini.sections;
        let index = sections.iter().position(|section| section.name == name).unwrap_or_else(|| {
            sections.push(Section { name: name.to_owned(), place: place.clone(), values: BTreeMap::new() });
            sections.len() - 1
        });
        Ok(At::Section(index))
    }

    /// Puts away the value that was open.
    fn finish(&mut self) {
        let Some(open) = self.value.take() else { return };
        let value = Value { text: open.lines.join("\n").trim_end().to_owned(), place: open.place };
        let values = match open.at {
            At::Section(index) => &mut self.ini.sections[index].values,
            At::Defaults => &mut self.ini.defaults,
            At::Nowhere | At::Refused => return,
        };
        values.insert(open.key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let mut ini = Ini::default();
        match ini.read("f", text).as_slice() {
            [fault, ..] => fault.to_string(),
            [] => {
                let section = ini.sections[0].clone();
                section.values.keys().find_map(|key| ini.get(&section, key).err()).unwrap().to_string()
            }
        }
    }

    /// Each as Python 3.11 reads it.
    #[test]
    fn values_as_python_reads_them() {
        let mut ini = Ini::default();
        let text = "# comment\n[DEFAULT]\nHome = /opt\n[a]\n; comment\ncmd: %(home)s/x\n  --more = 1\n# within\n\n  y\n\
                    Key =\nodd = 100%% # not a comment\n[b]\nhome=/b\nc = %(HOME)s\n";
        assert_eq!(ini.read("f", text), []);
        assert_eq!(ini.read("g", "[a]\nkey = 2\n[c]\n"), []);
        let names: Vec<&str> = ini.sections.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let (a, b) = (ini.sections[0].clone(), ini.sections[1].clone());
        let get = |section: &Section, key: &str| {
            ini.get(section, key).unwrap().map(|value| (value.text, value.place.to_string()))
        };
        assert_eq!(get(&a, "cmd"), Some(("/opt/x\n--more = 1\n\ny".to_owned(), "f:6".to_owned())));
        assert_eq!(get(&a, "key"), Some(("2".to_owned(), "g:2".to_owned())));
        assert_eq!(get(&a, "odd").unwrap().0, "100% # not a comment");
        assert_eq!(get(&b, "c").unwrap().0, "/b");
        assert_eq!(get(&b, "home").unwrap().0, "/b");
        assert_eq!(get(&b, "no"), None);
    }

    #[test]
    fn what_python_refuses() {
        for (text, expected) in [
            ("a = 1\n", "f:1: this is in no section: [DEFAULT], [daemon] or that of a service"),
            ("[a]\nb\n", "f:2: this is neither a section nor `key = value`"),
            ("[a]\n= b\n", "f:2: there is no name before the sign"),
            ("[a]\nb = 1\nB = 2\n", "f:3: `b` is twice in this section"),
            ("[a]\n[b]\n[a]\n", "f:3: section [a] is twice in f"),
            ("[]\n", "f:1: the section has no name"),
            ("[a]\nb = 5%\n", "f:2: `%` must be followed by `%` or `(name)s`"),
            ("[a]\nb = %(c)s\n", "f:2: there is no `c` for `%(c)s`"),
            ("[a]\nb = %(b)s\n", "f:2: names within names go too deep"),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    /// What is around a line that is refused is there, and what belongs to it is nowhere else.
    #[test]
    fn lines_that_are_refused_take_nothing_with_them() {
        let mut ini = Ini::default();
        let text = "[a]\nb = 1\nb = 2\n  more\nodd\nc = 3\n[a]\nb = 4\nd = 5\n[e]\nf = 6\n";
        let lines: Vec<usize> = ini.read("f", text).iter().map(|fault| fault.place.line).collect();
        assert_eq!(lines, [3, 5, 7]);
        let told = |section: &Section| {
            let values = section.values.iter().map(|(key, value)| format!("{key}={}", value.text));
            format!("{} {}", section.name, values.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(ini.sections.iter().map(told).collect::<Vec<_>>(), ["a b=1 c=3", "e f=6"]);
    }

    /// Nine levels of ten each would be a billion.
    #[test]
    fn a_value_does_not_explode() {
        let mut text = "[a]\nv0 = xxxxxxxxxx\n".to_owned();
        for level in 1..10 {
            text += &format!("v{level} = {}\n", format!("%(v{})s", level - 1).repeat(10));
        }
        assert!(fault(&text).ends_with("the value becomes too long"));
    }
}
