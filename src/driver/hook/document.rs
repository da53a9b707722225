//! What hooks are told, and how several documents about one subject become one.

use std::sync::Arc;

use serde_json::Value;

/// The longest value in a program's environment, in octets: the system takes 128 KiB, and all of it together has a limit.
const LONGEST: usize = 4096;
/// The most variables that a document becomes.
const MOST: usize = 64;
const FROM: &str = "HERALD_FROM";

/// One event, as hooks get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The `event` in it: which hooks want it.
    pub kind: String,
    /// What it is about: a VIP's prefix, a service's name, `web/10.1.0.11:8080`. Of the same subject a hook is told one at a
    /// time, and only the latest.
    pub key: String,
    /// All of it, an object on one line.
    pub json: Arc<str>,
    /// Its facts once more, for a program's environment.
    pub environment: Vec<(String, String)>,
}

impl Document {
    /// From an event in the shape of `watch --json`. An event of no known kind is told to nobody.
    pub fn new(key: impl Into<String>, event: &Value) -> Document {
        let kind = event.get("event").and_then(Value::as_str).unwrap_or_default().to_owned();
        Document { kind, key: key.into(), json: event.to_string().into(), environment: environment(event) }
    }

    /// The subject as people say it: "vip 192.0.2.1/32".
    pub(super) fn subject(&self) -> String {
        format!("{} {}", self.kind, self.key)
    }

    fn from(&self) -> Option<&str> {
        self.environment.iter().find(|(name, _)| name == FROM).map(|(_, value)| value.as_str())
    }
}

/// The facts of an event as a program finds them in its environment: each text, number or truth value as `HERALD_` and its
/// name in capitals, those of its `cause` as `HERALD_CAUSE_` and theirs. Texts that are too long are cut.
pub fn environment(event: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect("HERALD", event, &mut found);
    if let Some(cause) = event.get("cause") {
        collect("HERALD_CAUSE", cause, &mut found);
    }
    found.truncate(MOST);
    found
}

fn collect(prefix: &str, object: &Value, found: &mut Vec<(String, String)>) {
    for (name, value) in object.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => cut(text),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        found.push((format!("{prefix}_{}", name.chars().map(letter).collect::<String>()), value));
    }
}

/// Without what no environment can hold, and not too long.
fn cut(text: &str) -> String {
    let mut text = text.replace('\0', "");
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The latest document about a subject, and what it stands for besides.
#[derive(Clone, Debug)]
pub(super) struct Latest {
    document: Arc<Document>,
    /// The first of those that it stands for, itself included.
    first: Arc<Document>,
    /// How many it stands for besides itself.
    coalesced: u64,
}

impl Latest {
    pub(super) fn new(document: Arc<Document>) -> Latest {
        Latest { first: document.clone(), document, coalesced: 0 }
    }

    /// Another one has come before this one was told.
    pub(super) fn then(&mut self, later: Latest) {
        self.document = later.document;
        self.coalesced += later.coalesced + 1;
    }

    /// The last.
    pub(super) fn document(&self) -> Arc<Document> {
        self.document.clone()
    }

    pub(super) fn coalesced(&self) -> u64 {
        self.coalesced
    }

    /// What is told: of several the last, with the first one's `from`, so that `from` and `to` span them all, and
    /// `coalesced`, how many came before it and are not told.
    pub(super) fn told(self) -> Arc<Document> {
        if self.coalesced == 0 {
            return self.document;
        }
        let mut told = (*self.document).clone();
        let from = self.first.from();
        if let Ok(Value::Object(mut event)) = serde_json::from_str(&told.json) {
            if event.contains_key("from") {
                event.insert("from".to_owned(), from.map_or(Value::Null, Value::from));
            }
            event.insert("coalesced".to_owned(), self.coalesced.into());
            told.json = Value::Object(event).to_string().into();
        }
        if told.from().is_some() || from.is_some() {
            told.environment.retain(|(name, _)| name != FROM);
            told.environment.extend(from.map(|from| (FROM.to_owned(), from.to_owned())));
        }
        told.environment.push(("HERALD_COALESCED".to_owned(), self.coalesced.to_string()));
        Arc::new(told)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_in_the_environment() {
        let event = json!({
            "event": "vip", "at": "2026-01-01T00:00:00.000Z", "vip": "192.0.2.1/32", "from": null, "to": "announced",
            "count": 3, "up": true, "peers": ["a"], "odd-näme": "x",
            "cause": {"kind": "service_down", "service": "web", "more": {"deep": 1}, "available": 0},
        });
        let mut found = environment(&event);
        found.sort();
        let found: Vec<String> = found.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            found,
            [
                "HERALD_AT=2026-01-01T00:00:00.000Z",
                "HERALD_CAUSE_AVAILABLE=0",
                "HERALD_CAUSE_KIND=service_down",
                "HERALD_CAUSE_SERVICE=web",
                "HERALD_COUNT=3",
                "HERALD_EVENT=vip",
                "HERALD_ODD_N_ME=x",
                "HERALD_TO=announced",
                "HERALD_UP=true",
                "HERALD_VIP=192.0.2.1/32",
            ]
        );
        assert_eq!(environment(&json!(["no object"])), []);
    }

    #[test]
    fn what_no_environment_holds_is_left_out_or_cut() {
        let long = format!("x{}", "ü".repeat(LONGEST));
        let found = environment(&json!({"a": "n\0u\0l", "b": long}));
        assert_eq!(found[0].1, "nul");
        assert_eq!((found[1].1.len(), found[1].1.ends_with("ü…")), (LONGEST - 1 + "…".len(), true));
        let many: serde_json::Map<_, _> = (0..1000).map(|n| (format!("k{n}"), json!(n))).collect();
        assert_eq!(environment(&Value::Object(many)).len(), MOST);
    }

    fn latest(from: Option<&str>, to: &str) -> Latest {
        let event = json!({"event": "vip", "from": from, "to": to, "vip": "192.0.2.1/32"});
        Latest::new(Arc::new(Document::new("192.0.2.1/32", &event)))
    }

    #[test]
    fn one_document_is_told_as_it_is() {
        let one = latest(Some("holding"), "announced");
        assert_eq!(one.clone().told(), one.document);
    }

    #[test]
    fn several_become_one_that_spans_them() {
        let mut all = latest(Some("holding"), "announced");
        all.then(latest(Some("announced"), "withdrawn"));
        let mut later = latest(Some("withdrawn"), "holding");
        later.then(latest(Some("holding"), "degraded"));
        all.then(later);
        let told = all.told();
        let expected =
            json!({"event": "vip", "from": "holding", "to": "degraded", "vip": "192.0.2.1/32", "coalesced": 3});
        assert_eq!(serde_json::from_str::<Value>(&told.json).unwrap(), expected);
        let value = |name: &str| {
            let found: Vec<&str> =
                told.environment.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value).collect();
            found.join("|")
        };
        assert_eq!([value("HERALD_FROM"), value("HERALD_TO"), value("HERALD_COALESCED")], ["holding", "degraded", "3"]);
    }

    #[test]
    fn there_may_be_nothing_before_the_first() {
        let mut all = latest(None, "holding");
        all.then(latest(Some("holding"), "announced"));
        let told = all.told();
        assert!(told.json.contains("\"from\":null") && told.from().is_none(), "{told:?}");
        let bare = |to: &str| Latest::new(Arc::new(Document::new("all", &json!({"event": "drain", "to": to}))));
        let mut all = bare("a");
        all.then(bare("b"));
        let told = all.told();
        assert_eq!(&*told.json, r#"{"coalesced":1,"event":"drain","to":"b"}"#);
    }
}
