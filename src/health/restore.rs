//! Verdicts from before a restart: they stand until the checks have found better ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::{CheckState, Verdict};
use super::{Health, ProbeOutcome};
use crate::config::Weight;

/// What a check said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its verdict.
    pub passing: bool,
    /// Since when.
    pub since: Option<Instant>,
    /// The weight that it asked for.
    pub weight: Option<Weight>,
    /// Of its last run.
    pub detail: String,
}

impl Health {
    /// Before the first [`configure`](Self::configure): what the checks said, by their identities
    /// ([`Config::identities`](crate::config::Config::identities)). Those that it brings start with that, and their own runs
    /// count as ever: to turn a restored verdict takes `rise` or `fall` of them.
    pub fn restore(&mut self, verdicts: BTreeMap<Arc<str>, Restored>) {
        self.restored = verdicts;
    }

    /// What the checks say now that workers run. O(all).
    pub fn verdicts(&self) -> impl Iterator<Item = (&Arc<str>, Restored)> {
        self.config.identities.iter().enumerate().filter_map(|(check, identity)| {
            let state = self.checks.state(check).filter(|state| state.is_run())?;
            let detail = state.last.as_ref().map(|last| last.detail.to_string()).unwrap_or_default();
            let passing = state.verdict.passing?;
            Some((identity, Restored { passing, since: state.verdict.since, weight: state.weight, detail }))
        })
    }

    /// How many checks say what they said before the restart, and have not run since.
    pub fn restored(&self) -> usize {
        (0..self.config.checks.len()).filter_map(|check| self.checks.state(check)).filter(|it| it.is_restored).count()
    }
}

impl CheckState {
    /// It starts with this verdict.
    pub(super) fn restore(&mut self, restored: &Restored) {
        self.verdict = Verdict::restored(restored.passing, restored.since);
        self.weight = restored.weight.filter(|_| restored.passing);
        self.last = Some(ProbeOutcome::new(restored.passing, restored.detail.clone(), Duration::ZERO));
        self.is_restored = true;
    }
}
