//! `file`.

use std::fs;

use herald::config::{FileProbe, ProbeKind, Weight};
use herald::health::ProbeOutcome;

use crate::support::{PLENTY, fails, passes, run};

fn look(path: &std::path::Path, absent: bool, weight: bool) -> ProbeOutcome {
    let probe = FileProbe { path: path.to_owned(), absent, weight };
    run("0.0.0.0:0".parse().unwrap(), ProbeKind::File(probe), PLENTY)
}

#[test]
fn it_is_there_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("maintenance");
    fails(&look(&path, false, false), "it does not exist");
    passes(&look(&path, true, false), "it does not exist");
    fs::write(&path, "").unwrap();
    passes(&look(&path, false, false), "it exists");
    fails(&look(&path, true, false), "it exists");
    // A way that leads through a file leads nowhere, and a link to nothing is nothing.
    passes(&look(&path.join("deeper"), true, false), "it does not exist");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/no/such/place", &link).unwrap();
    passes(&look(&link, true, false), "it does not exist");
}

#[test]
fn its_content_is_a_weight() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weight");
    for (text, weight) in [("7\n", Weight::Absolute(7)), (" 0 ", Weight::Absolute(0)), ("75%\n", Weight::Percent(75))] {
        fs::write(&path, text).unwrap();
        let outcome = look(&path, false, true);
        assert_eq!((outcome.passed, outcome.weight), (true, Some(weight)), "{outcome:?}");
    }
    for text in ["", "many", "-1", "7 8", "99999999999"] {
        fs::write(&path, text).unwrap();
        let outcome = look(&path, false, true);
        fails(&outcome, &format!("it holds no weight, but \"{text}\""));
    }
    fs::write(&path, "1".repeat(100_000)).unwrap();
    assert!(look(&path, false, true).detail.starts_with("it holds no weight"));
}

/// What would wait for a writer must not hold a worker up.
#[test]
fn pipes_and_directories_hold_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    passes(&look(&path, false, false), "it exists");
    fails(&look(&path, false, true), "it is not a file");
    fails(&look(directory.path(), false, true), "it is not a file");
}

#[test]
fn what_cannot_be_looked_at_is_neither() {
    let directory = tempfile::tempdir().unwrap();
    for absent in [false, true] {
        let outcome = look(&directory.path().join("x".repeat(300)), absent, false);
        assert!(
            !outcome.passed && outcome.detail.starts_with("cannot be looked at: File name too long"),
            "{outcome:?}"
        );
    }
}
