//! Herald beside its peers, measured. Run by `tests/bench/run`, never by `cargo test`.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and waits")]
#![allow(unreachable_pub, missing_docs, reason = "a benchmark has no outside")]

mod checks;
mod lag;
mod latency;
mod process;
mod proxy;
mod router;
mod routes;
mod web;

/// A benchmark's name and what runs it.
type Bench = (&'static str, fn());

const BENCHES: [Bench; 4] =
    [("latency", latency::run), ("routes", routes::run), ("checks", checks::run), ("lag", lag::run)];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for name in &wanted {
        assert!(
            BENCHES.iter().any(|(known, _)| known == name),
            "no benchmark {name}; there are latency routes checks lag"
        );
    }
    for (name, run) in BENCHES {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            run();
        }
    }
}

/// The value below which `share` of the sorted values lie.
fn percentile<T: Copy>(sorted: &[T], share: f64) -> T {
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[index]
}

/// Lowest, middle and highest, for people.
fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    format!("{:.2} [{:.2}-{:.2}]", percentile(&sorted, 0.5), sorted[0], sorted[sorted.len() - 1])
}
