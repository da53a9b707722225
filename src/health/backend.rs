//! One backend: from what its checks say to whether it counts, and with which weight.

use std::time::Instant;

use super::HealthEvent;
use super::check::Statement;
use crate::config;

/// A backend of one service.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) service: usize,
    /// Enabled, with a weight: the operator lets it count.
    eligible: bool,
    /// It stands in for others.
    pub(super) sorry: bool,
    /// As configured.
    configured_weight: u32,
    /// The checks that count, each once, by their index.
    checks: Box<[usize]>,
    /// How many of them must pass.
    needed: usize,
    /// Those that are failing.
    failing: usize,
    /// Those without a verdict.
    undecided: usize,
    pub(super) up: bool,
    /// What is left of the configured weight after what its passing checks ask for.
    pub(super) weight: u32,
    /// A passing check asks for less than what is configured.
    pub(super) is_degraded: bool,
    pub(super) since: Instant,
    /// An operator drains it.
    pub(super) drained: bool,
}

impl Backend {
    /// Not up, and as its checks are.
    pub(super) fn new(
        now: Instant,
        service: usize,
        config: &config::Backend,
        drained: bool,
        statement: &dyn Fn(usize) -> Statement,
    ) -> Backend {
        let mut checks: Vec<usize> =
            config.checks.iter().filter(|used| !used.advisory).map(|used| used.check).collect();
        checks.sort_unstable();
        checks.dedup();
        let count = |passing: Option<bool>| checks.iter().filter(|check| statement(**check).passing == passing).count();
        let mut backend = Backend {
            service,
            eligible: config.enabled && config.weight > 0,
            sorry: config.sorry,
            configured_weight: config.weight,
            needed: config.combine.of(checks.len()),
            failing: count(Some(false)),
            undecided: count(None),
            checks: checks.into(),
            up: false,
            weight: config.weight,
            is_degraded: false,
            since: now,
            drained,
        };
        backend.weigh(statement);
        backend
    }

    /// The checks that count.
    pub(super) fn checks(&self) -> &[usize] {
        &self.checks
    }

    /// One of them says something else.
    pub(super) fn apply(&mut self, before: Statement, after: Statement, statement: &dyn Fn(usize) -> Statement) {
        for (said, times) in [(before, -1), (after, 1)] {
            let count = match said.passing {
                None => &mut self.undecided,
                Some(false) => &mut self.failing,
                Some(true) => continue,
            };
            *count = count.saturating_add_signed(times);
        }
        if before.weight != after.weight || before.passing != after.passing {
            self.weigh(statement);
        }
    }

    /// The least that a passing check leaves it.
    fn weigh(&mut self, statement: &dyn Fn(usize) -> Statement) {
        let asked = self.checks.iter().map(|check| statement(*check)).filter(|said| said.passing == Some(true));
        let configured = self.configured_weight;
        let (mut least, mut less) = (None, false);
        for weight in asked.filter_map(|said| said.weight) {
            let left = weight.of(configured);
            least = Some(least.map_or(left, |least: u32| least.min(left)));
            less |= weight.is_less_than(configured);
        }
        (self.weight, self.is_degraded) = (least.unwrap_or(configured), less);
    }

    /// What is told of its weight.
    pub(super) fn weighs(&self, position: usize) -> HealthEvent {
        let (service, weight, degraded) = (self.service, self.weight, self.is_degraded);
        HealthEvent::Weight { service, backend: position, weight, degraded }
    }

    /// Whether what has no verdict yet could not change anything.
    pub(super) fn is_decided(&self) -> bool {
        let passing = self.checks.len() - self.failing - self.undecided;
        passing >= self.needed || passing + self.undecided < self.needed
    }

    /// What the checks say; as long as they do not say, it stays what it was.
    pub(super) fn judge(&self) -> bool {
        if self.is_decided() { self.checks.len() - self.failing - self.undecided >= self.needed } else { self.up }
    }

    /// Its weight as if its checks did not drain it: what it has or may get.
    pub(super) fn full_weight(&self) -> u32 {
        if self.weight == 0 { self.configured_weight } else { self.weight }
    }

    /// Whether the operator lets it count.
    pub(super) fn is_eligible(&self) -> bool {
        self.eligible
    }

    /// Whether it counts now, or would if it were not drained.
    pub(super) fn counts(&self) -> bool {
        self.eligible && self.up
    }

    /// Whether it would count if it were not drained: by an operator, or by itself.
    pub(super) fn is_spare(&self) -> bool {
        (self.drained || self.weight == 0) && self.counts()
    }

    /// Whether its checks may yet find that it counts.
    pub(super) fn may_count(&self) -> bool {
        self.eligible && !self.up && !self.is_decided()
    }
}
