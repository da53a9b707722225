//! What the fuzzers (see `run`) are seeded with, and whatever once made one of them fail, goes through the same
//! functions here, whole and cut at every point.

use std::fs;
use std::path::Path;

#[path = "targets/answer.rs"]
mod answer;
#[path = "targets/config.rs"]
mod config;
#[path = "targets/gobgp.rs"]
mod gobgp;
#[path = "targets/inbox.rs"]
mod inbox;
#[path = "targets/session.rs"]
mod session;
#[path = "targets/table.rs"]
mod table;
#[path = "targets/update.rs"]
mod update;

#[test]
fn inbox_seeds() {
    feed("inbox", inbox::run);
}

#[test]
fn gobgp_seeds() {
    feed("gobgp", gobgp::run);
}

#[test]
fn update_seeds() {
    feed("update", update::run);
}

#[test]
fn session_seeds() {
    feed("session", session::run);
}

#[test]
fn config_seeds() {
    feed("config", config::run);
    for file in ["etc/herald.toml", "etc/herald.example.toml"] {
        config::run(&fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap());
    }
}

#[test]
fn table_seeds() {
    feed("table", table::run);
}

#[test]
fn answer_seeds() {
    feed("answer", answer::run);
}

fn feed(target: &str, run: fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let mut count = 0;
    for entry in fs::read_dir(seeds).unwrap() {
        let data = fs::read(entry.unwrap().path()).unwrap();
        (0..=data.len()).for_each(|end| run(&data[..end]));
        count += 1;
    }
    assert!(count > 0, "{target} has no seeds");
}
