//! GLB's files: a `healthcheck.conf` and a forwarding table, with a form feed between them; or one text, which is each.

use herald::config::{Config, Diagnostic, Source, Texts, parse_with, wanted_files};
use serde_json::Value;

/// One is told, the rest is counted, and that takes one more.
const DIAGNOSTICS: usize = 1001;
/// Octets.
const LONGEST_MESSAGE: usize = 4096;

const TABLE: &str = "[glb]\nsource = '/table'\ndestination = '/checked'\n";
const BOTH: &str = "[glb]\nconfig = '/conf'\nsource = '/table'\n";

/// Each finding has its place, and what is good comes out as it went in, but for the health of its backends.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (conf, table) = text.split_once('\x0c').unwrap_or((text, text));
    let source = |name: &str, text: &str| Source { name: name.into(), text: text.to_owned() };
    let texts =
        Texts::from([("/conf".into(), Ok(source("/conf", conf))), ("/table".into(), Ok(source("/table", table)))]);
    for main in [TABLE, BOTH] {
        let sources = [source("main", main)];
        assert!(wanted_files(&sources, &texts).contains(std::path::Path::new("/table")));
        let known = [&sources[..], &[source("/conf", conf), source("/table", table)]].concat();
        match parse_with(&sources, &texts) {
            Ok(config) => {
                check(&known, &config.warnings);
                render(&config, table);
            }
            Err(errors) => {
                assert!(!errors.is_empty());
                check(&known, &errors);
            }
        }
    }
}

fn check(sources: &[Source], diagnostics: &[Diagnostic]) {
    assert!(diagnostics.len() <= DIAGNOSTICS);
    for diagnostic in diagnostics {
        let position = &diagnostic.position;
        let source = sources.iter().find(|source| source.name == position.file).unwrap();
        let line = source.text.split('\n').nth(position.line.checked_sub(1).unwrap());
        let length = line.unwrap_or_else(|| panic!("{diagnostic} is beyond the end")).chars().count();
        assert!((1..=length + 1).contains(&position.column), "{diagnostic} is beyond its line");
        let message = &diagnostic.message;
        assert!(!message.is_empty() && message.len() <= LONGEST_MESSAGE, "{message}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

fn render(config: &Config, text: &str) {
    let table = &config.glb.as_ref().expect("it is configured").table;
    let healthy: Vec<bool> = (0..table.backends.len()).map(|nth| nth % 3 != 1).collect();
    let rendered = table.render(&healthy);
    // A number may be beyond what can be compared, here and there.
    let (before, after) = (serde_json::from_str::<Value>(text), serde_json::from_str::<Value>(&rendered));
    assert_eq!(before.is_ok(), after.is_ok(), "{rendered}");
    let (Ok(mut before), Ok(after)) = (before, after) else { return };
    let mut backends = 0;
    for table in before["tables"].as_array_mut().unwrap() {
        for backend in table["backends"].as_array_mut().unwrap() {
            backend["healthy"] = healthy[backends].into();
            backends += 1;
        }
    }
    assert_eq!((before, backends), (after, healthy.len()), "{rendered}");
}
