//! What is counted where it happens, since the start.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::health::ProbeOutcome;

/// In seconds: from a local file to a patient resolver.
const BUCKETS: [f64; 15] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    r#type: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    result: &'static str,
}

/// Whether a configuration was taken.
const RESULTS: [&str; 2] = ["accepted", "refused"];

/// For all threads.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    durations: Family<Kind, Histogram, fn() -> Histogram>,
    failures: Family<Failure, Counter>,
    lost: Counter,
    reloads: Family<Reload, Counter>,
}

impl Default for Meters {
    fn default() -> Meters {
        Meters {
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            failures: Family::default(),
            lost: Counter::default(),
            // Both are there before the first of either.
            reloads: RESULTS.into_iter().fold(Family::default(), |family, result| {
                drop(family.get_or_create(&Reload { result }));
                family
            }),
        }
    }
}

impl Meters {
    /// A check of this type has run.
    pub(crate) fn ran(&self, kind: &'static str, outcome: &ProbeOutcome) {
        self.durations.get_or_create(&Kind { r#type: kind }).observe(outcome.took.as_secs_f64());
        if let Some(failure) = outcome.failure {
            self.failures.get_or_create(&Failure { r#type: kind, kind: failure.name() }).inc();
        }
    }

    /// So many lines of the log were dropped.
    pub(crate) fn lost(&self, lines: u64) {
        self.lost.inc_by(lines);
    }

    /// A configuration was read again, and taken or not.
    pub(crate) fn reloaded(&self, taken: bool) {
        let [accepted, refused] = RESULTS;
        self.reloads.get_or_create(&Reload { result: if taken { accepted } else { refused } }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "How long runs of checks took, by type";
        registry.register("check_duration_seconds", help, self.durations.clone());
        let help = "Runs of checks that failed, by type and by kind of failure";
        registry.register("check_failures", help, self.failures.clone());
        registry.register(
            "log_lines_dropped",
            "Changes that were not logged because there were too many",
            self.lost.clone(),
        );
        registry.register("config_reloads", "Reloads, by what came of them", self.reloads.clone());
    }
}
