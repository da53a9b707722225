//! Herald beside its peers, measured. Run by `tests/bench/run`, never by `cargo test`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and waits")]
#![allow(unreachable_pub, missing_docs, reason = "a benchmark has no outside")]

mod checks;
mod crash;
mod decide;
mod flap;
mod gobgp;
mod lag;
mod latency;
mod options;
mod process;
mod proxy;
mod rack;
mod router;
mod routes;
mod web;

use options::Options;

/// A benchmark's name and what runs it.
type Bench = (&'static str, fn(&Options));

const BENCHES: [Bench; 9] = [
    ("latency", |_| latency::run()),
    ("crash", |_| crash::run()),
    ("rack", |_| rack::run()),
    ("routes", routes::run),
    ("flap", flap::run),
    ("gobgp", gobgp::run),
    ("checks", |_| checks::run()),
    ("lag", |_| lag::run()),
    ("decide", decide::run),
];

fn main() {
    let options = Options::parse(std::env::args().skip(1));
    if let Some(unknown) = options.benches.iter().find(|name| BENCHES.iter().all(|(known, _)| known != name)) {
        options::refuse(unknown);
    }
    for (name, run) in BENCHES {
        if options.benches.is_empty() || options.benches.iter().any(|one| one == name) {
            run(&options);
        }
    }
}

/// The value below which `share` of the sorted values lie.
fn percentile<T: Copy>(sorted: &[T], share: f64) -> T {
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[index]
}

/// Middle, lowest and highest, for people.
fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let digits = if sorted[sorted.len() - 1] < 0.1 { 3 } else { 2 };
    format!("{:.digits$} [{:.digits$}-{:.digits$}]", percentile(&sorted, 0.5), sorted[0], sorted[sorted.len() - 1])
}
