//! `herald simulate`, as an operator runs it, on the event files that are shipped.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/examples/simulate");

fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command.arg("simulate").args(arguments).current_dir(EXAMPLES).stdin(Stdio::null());
    command.output().expect("the binary that was built")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Each file of events has beside it what is documented to come of it.
#[test]
fn the_shipped_stories_are_as_documented() {
    let mut stories = 0;
    for entry in fs::read_dir(EXAMPLES).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let output = simulate(&[path.to_str().unwrap(), "--config", "herald.toml"]);
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output), expected, "{}", path.display());
        stories += 1;
    }
    assert_eq!(stories, 5);
}

#[test]
fn as_json_it_is_the_same_story() {
    for story in ["ladder", "uplink", "theirs", "flapping", "drain"] {
        let events = format!("{story}.jsonl");
        let output = simulate(&[&events, "--config", "herald.toml", "--json", "--verbose"]);
        let lines: Vec<serde_json::Value> =
            text(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (end, told) = lines.split_last().unwrap();
        assert_eq!(end["event"], "end");
        assert!(told.is_sorted_by_key(|line| line["at_ms"].as_u64().unwrap()));
        // What each VIP was last told to be is what the end says.
        let mut announced = std::collections::BTreeMap::new();
        for line in told.iter().filter(|line| line["event"] == "vip") {
            announced.insert(line["vip"].as_str().unwrap().to_owned(), line["route"].clone());
        }
        announced.retain(|_, route| !route.is_null());
        let end: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_value(end["routes"].clone()).unwrap();
        assert_eq!(announced, end, "{story}");
        let documented = fs::read_to_string(Path::new(EXAMPLES).join(format!("{story}.txt"))).unwrap();
        let vips = told.iter().filter(|line| line["event"] == "vip");
        for line in vips.map(|line| line["text"].as_str().unwrap()).filter(|text| !text.contains("first verdicts")) {
            assert!(documented.contains(line), "{story}: {line}");
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("events.jsonl");
    let say = |content: &str| {
        fs::write(&events, content).unwrap();
        let output = simulate(&[events.to_str().unwrap(), "--config", "herald.toml"]);
        let error = String::from_utf8(output.stderr).unwrap().replace(&format!("{}: ", events.display()), "");
        (output.status.code(), error.trim().to_owned())
    };
    for (content, expected) in [
        ("{", "line 1: EOF while parsing an object at line 1 column 1"),
        ("# a comment\n\n{\"at\": \"1s\"}", "line 3: it takes one of `passed`, `drain`, `undrain` and `end`"),
        ("{\"passed\": true}", "line 1: `at` is missing: when it happens, such as \"10s\""),
        (
            "{\"at\": \"1\", \"end\": true}",
            "line 1: \"1\" is not a duration such as \"250ms\", \"10s\" or \"1h 30m\", of a year at most",
        ),
        (
            "{\"at\": \"1s\", \"service\": \"wbe\", \"passed\": true}",
            "line 1: no check of the configuration is of \"wbe\"",
        ),
        ("{\"at\": \"1s\", \"self_check\": \"x\", \"passed\": true}", "line 1: there is no self-check \"x\""),
        ("{\"at\": \"1s\", \"drain\": \"x\"}", "line 1: there is nothing called \"x\" to drain"),
        ("{\"at\": \"1s\", \"drain\": \"peer/tor\"}", "line 1: a simulation has no peers"),
        (
            "{\"at\": \"1s\", \"passed\": true, \"weight\": \"half\"}",
            "line 1: \"half\" is not a weight such as 5 or \"50%\"",
        ),
        (
            "{\"at\": \"2s\", \"end\": true}\n{\"at\": \"1s\", \"end\": true}",
            "line 2: 1s is before 2s: events stand in the order of their times",
        ),
        ("{\"default\": \"maybe\"}", "line 1: `default` is \"pass\" or \"fail\", not \"maybe\""),
    ] {
        assert_eq!(say(content), (Some(1), expected.to_owned()));
    }
    let (code, error) = say("{\"at\": \"1s\", \"pased\": true}");
    assert!(code == Some(1) && error.starts_with("line 1: unknown field `pased`, expected one of `at`, "), "{error}");
    let many = say(&"x\n".repeat(1000)).1;
    assert_eq!((many.lines().count(), many.lines().last()), (21, Some("and more")));
    assert_eq!(simulate(&["nowhere.jsonl", "--config", "herald.toml"]).status.code(), Some(2));
    assert_eq!(simulate(&["ladder.jsonl", "--config", "ladder.jsonl"]).status.code(), Some(1));
}

/// One run alone, what fails by default, and an end that is said.
#[test]
fn single_runs_defaults_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("events.jsonl");
    let tell = |content: &str| {
        fs::write(&events, content).unwrap();
        text(&simulate(&[events.to_str().unwrap(), "--config", "herald.toml"]))
    };
    let one =
        "{\"at\": \"10s\", \"service\": \"mail\", \"passed\": false, \"once\": true}\n{\"at\": \"1m\", \"end\": true}";
    let told = tell(one);
    assert!(!told.contains("mail down"), "one failure is not two: {told}");
    assert!(told.lines().any(|line| line.contains("end: 4 of 4 announced")), "{told}");
    let told = tell("{\"default\": \"fail\"}\n{\"at\": \"20s\", \"service\": \"mail\", \"passed\": true}");
    assert!(told.contains("end: 1 of 4 announced"), "{told}");
    assert!(told.contains("vip 192.0.2.25/32 announced"), "{told}");
    let told = tell("");
    assert!(told.contains("end: 4 of 4 announced"), "a story without events is a start: {told}");
}

/// Addresses and data planes are there unless the story says otherwise.
#[test]
fn the_ground_of_vips() {
    let dir = tempfile::tempdir().unwrap();
    let (config, events) = (dir.path().join("herald.toml"), dir.path().join("events.jsonl"));
    let service = "[[service]]\nname = \"a\"\nvips = [\"192.0.2.1\"]\nport = 1\nrequired = 0\n";
    let vip = "[[vip]]\naddress = \"192.0.2.1\"\nrequire_address = true\n[hooks]\ndata_plane = \"/bin/true\"\n";
    fs::write(&config, format!("{service}{vip}")).unwrap();
    let tell = |content: &str| {
        fs::write(&events, content).unwrap();
        let output = simulate(&[events.to_str().unwrap(), "--config", config.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        text(&output)
    };
    assert!(tell("").contains("end: 1 of 1 announced"));
    let told = tell(
        "{\"at\": \"5s\", \"address\": \"192.0.2.1\", \"passed\": false}\n{\"at\": \"9s\", \"address\": \"192.0.2.1\", \"passed\": true}",
    );
    assert!(told.contains("vip 192.0.2.1/32 withdrawn: its address is not on this host"), "{told}");
    assert!(told.contains("end: 1 of 1 announced"), "{told}");
    let told = tell(
        "{\"at\": \"0s\", \"data_plane\": \"192.0.2.1\", \"passed\": false, \"detail\": \"no rules\"}\n{\"at\": \"9s\", \"end\": true}",
    );
    assert!(told.contains("the data plane is not ready: no rules") && told.contains("end: 0 of 1 announced"), "{told}");
}
