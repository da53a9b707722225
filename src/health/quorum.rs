//! What a service's backends bring together, and whether that is enough.

use super::ServiceState;
use super::backend::Backend;
use crate::config::{self, Measure};

/// How much of a service is healthy: what its regular backends count, and all that they could, in the measure of its quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Of those that count, and of those that may as far as anybody knows: new ones do not make a service less healthy.
    /// What is drained does not count.
    pub counting: u64,
    /// Of all.
    pub total: u64,
}

/// What several backends bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    /// Those that count, with those that would if they were not drained.
    available: u64,
    /// Of these, the drained ones.
    spare: u64,
    /// Those that may yet count.
    open: u64,
    /// Of these, those that nobody drains.
    hoped: u64,
}

impl Sums {
    fn counting(&self) -> u64 {
        self.available - self.spare
    }
}

/// The backends of one service against its quorum.
#[derive(Clone, Debug)]
pub(super) struct Quorum {
    measure: Measure,
    up: u64,
    down: u64,
    total: u64,
    sorry_total: u64,
    regular: Sums,
    sorry: Sums,
}

impl Quorum {
    /// Of a service whose backends are still to be [added](Self::add).
    pub(super) fn new(service: &config::Service) -> Quorum {
        let measure = service.required.measure;
        let of = |backend: &config::Backend| match measure {
            Measure::Backends => 1,
            Measure::Weight => u64::from(backend.weight),
        };
        let sum = |sorry| service.backends.iter().filter(|backend| backend.sorry == sorry).map(of).sum();
        let total = sum(false);
        let (up, down) = (service.required.up.of_total(total), service.required.down.of_total(total));
        let (regular, sorry) = (Sums::default(), Sums::default());
        Quorum { measure, up, down: down.min(up), total, sorry_total: sum(true), regular, sorry }
    }

    /// Counts a backend.
    pub(super) fn add(&mut self, backend: &Backend) {
        self.count(backend, u64::saturating_add);
    }

    /// Takes back what it brought when it was added, as it was then.
    pub(super) fn take(&mut self, backend: &Backend) {
        self.count(backend, u64::saturating_sub);
    }

    fn count(&mut self, backend: &Backend, change: fn(u64, u64) -> u64) {
        let amount = match self.measure {
            Measure::Backends => 1,
            Measure::Weight => u64::from(backend.full_weight()),
        };
        let sums = if backend.sorry { &mut self.sorry } else { &mut self.regular };
        if backend.counts() {
            sums.available = change(sums.available, amount);
        }
        if backend.is_spare() {
            sums.spare = change(sums.spare, amount);
        }
        if backend.may_count() {
            sums.open = change(sums.open, amount);
        }
        if backend.may_count() && !backend.drained {
            sums.hoped = change(sums.hoped, amount);
        }
    }

    /// The mark that applies to a service that is up, or is not.
    pub(super) fn mark(&self, is_up: bool) -> u64 {
        if is_up { self.down } else { self.up }
    }

    pub(super) fn marks(&self) -> (u64, u64) {
        (self.up, self.down)
    }

    pub(super) fn measure(&self) -> Measure {
        self.measure
    }

    /// What counts now: regular backends, or those that stand in for them.
    pub(super) fn counting(&self) -> u64 {
        if self.is_sorry() { self.sorry.counting() } else { self.regular.counting() }
    }

    pub(super) fn share(&self) -> Share {
        Share { counting: self.regular.counting() + self.regular.hoped, total: self.total }
    }

    /// Whether sorry backends stand in: no regular one counts.
    pub(super) fn is_sorry(&self) -> bool {
        self.regular.counting() == 0 && self.sorry.counting() > 0
    }

    /// What those that stand in have to bring: as much as the regular ones, as far as that is in them.
    fn sorry_mark(&self, is_up: bool) -> u64 {
        self.mark(is_up).min(self.sorry_total).max(1)
    }

    /// The state that the counts make as if nothing were drained. `lost` says that a backend just stopped counting because
    /// of its checks.
    ///
    /// In between, when it takes backends that have no verdict yet to know, a service keeps its state: one that was up
    /// before a reload brought new backends stays up. But not past the loss of a backend that it had: then it is down.
    pub(super) fn judge(&self, health: ServiceState, lost: bool) -> ServiceState {
        let is_up = health == ServiceState::Up;
        let (mark, sorry_mark) = (self.mark(is_up), self.sorry_mark(is_up));
        let Sums { available, open, .. } = self.regular;
        // Who may yet turn out to count is not gone, unless there is nothing else to keep a service up.
        let is_gone = available == 0 && (open == 0 || is_up);
        if available >= mark || (is_gone && self.sorry.available >= sorry_mark) {
            return ServiceState::Up;
        }
        let sorry_in_reach = available == 0 && self.sorry.available + self.sorry.open >= sorry_mark;
        let in_reach = available + open >= mark || sorry_in_reach;
        if !in_reach || (lost && is_up) { ServiceState::Down } else { health }
    }

    /// Whether it takes what is drained for enough to count.
    pub(super) fn needs_spare(&self, is_up: bool) -> bool {
        let enough = self.regular.counting() >= self.mark(is_up);
        let stood_in = self.regular.counting() == 0 && self.sorry.counting() >= self.sorry_mark(is_up);
        self.regular.spare + self.sorry.spare > 0 && !enough && !stood_in
    }
}
