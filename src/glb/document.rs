//! One text of forwarding tables with the health of its backends, kept in step with the checks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Known;
use crate::config::{Check, ForwardingTable, Probe};

/// A text, and what is known of its backends.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) table: Arc<ForwardingTable>,
    targets: Vec<Target>,
    /// Where the target of a check is.
    by_check: BTreeMap<usize, usize>,
    /// Failing targets of each backend.
    failing: Vec<u32>,
    /// Targets of which nothing is known.
    pub(super) open: usize,
    /// Backends that are healthy, without the inactive ones.
    pub(super) healthy: usize,
}

/// What backends are checked by.
#[derive(Debug)]
struct Target {
    probe: Arc<Probe>,
    passing: Option<bool>,
    /// When not to wait for its verdict any longer.
    until: Instant,
    /// The backends that need it.
    users: Vec<usize>,
}

impl Document {
    /// `predecessors` tell since when targets are waited for that they know already.
    pub(super) fn new(
        now: Instant,
        table: Arc<ForwardingTable>,
        checks: &[Check],
        patience: Duration,
        known: &dyn Fn(usize) -> Known,
        predecessors: &[&Document],
    ) -> Document {
        let waited = predecessors.iter().flat_map(|document| &document.targets);
        let waited: BTreeMap<&Probe, Instant> = waited.map(|target| (&*target.probe, target.until)).collect();
        let until = now.checked_add(patience).unwrap_or(now);
        let (mut targets, mut by_check) = (Vec::<Target>::new(), BTreeMap::new());
        for (backend, check) in
            table.backends.iter().enumerate().flat_map(|(n, it)| it.checks.iter().map(move |c| (n, *c)))
        {
            let Some(probe) = checks.get(check).map(|check| &check.probe) else { continue };
            let index = *by_check.entry(check).or_insert_with(|| {
                let until = waited.get(&**probe).copied().unwrap_or(until);
                targets.push(Target { probe: probe.clone(), passing: known(check).verdict, until, users: Vec::new() });
                targets.len() - 1
            });
            if let Some(target) = targets.get_mut(index) {
                target.users.push(backend);
            }
        }
        let failing = vec![0; table.backends.len()];
        let mut document = Document { table, targets, by_check, failing, open: 0, healthy: 0 };
        document.recount();
        document
    }

    /// The checks have other numbers now. What is checked no more stays as it was last known.
    pub(super) fn rebind(&mut self, checks: &BTreeMap<&Probe, usize>, known: &dyn Fn(usize) -> Known) {
        self.by_check.clear();
        for (index, target) in self.targets.iter_mut().enumerate() {
            let Some(check) = checks.get(&*target.probe) else { continue };
            self.by_check.insert(*check, index);
            target.passing = known(*check).verdict.or(target.passing);
        }
        self.recount();
    }

    /// The checks that it has, by what they do.
    pub(super) fn checks(&self) -> BTreeMap<&Probe, usize> {
        let probe = |(check, index): (&usize, &usize)| Some((&*self.targets.get(*index)?.probe, *check));
        self.by_check.iter().filter_map(probe).collect()
    }

    /// Takes a verdict; whether it makes a difference to a backend.
    pub(super) fn set(&mut self, check: usize, passing: bool) -> bool {
        let Some(target) = self.by_check.get(&check).and_then(|index| self.targets.get_mut(*index)) else {
            return false;
        };
        let was_failing = target.passing == Some(false);
        self.open -= usize::from(target.passing.is_none());
        target.passing = Some(passing);
        if was_failing != passing {
            return false; // it was not known to be failing, and is not, or was and is
        }
        let mut changed = false;
        for user in &target.users {
            let Some(failing) = self.failing.get_mut(*user) else { continue };
            let before = *failing;
            *failing = if passing { failing.saturating_sub(1) } else { *failing + 1 };
            if (before == 0) != (*failing == 0) {
                changed = true;
                self.healthy = if before == 0 { self.healthy.saturating_sub(1) } else { self.healthy + 1 };
            }
        }
        changed
    }

    /// When nothing is waited for any longer; `None` when all is known.
    pub(super) fn until(&self) -> Option<Instant> {
        self.targets.iter().filter(|target| target.passing.is_none()).map(|target| target.until).max()
    }

    /// What has no verdict counts by its last result, and has failed if there is none. How many there were.
    pub(super) fn presume(&mut self, known: &dyn Fn(usize) -> Known) -> usize {
        let presumed = self.open;
        for (check, index) in &self.by_check {
            if let Some(target) = self.targets.get_mut(*index) {
                target.passing = target.passing.or_else(|| known(*check).last);
            }
        }
        for target in &mut self.targets {
            target.passing.get_or_insert(false);
        }
        self.recount();
        presumed
    }

    /// In the order of the text.
    pub(super) fn health(&self) -> Vec<bool> {
        self.failing.iter().map(|failing| *failing == 0).collect()
    }

    /// Backends, without the inactive ones.
    pub(super) fn size(&self) -> usize {
        self.table.backends.iter().filter(|backend| !backend.inactive).count()
    }

    fn recount(&mut self) {
        self.open = self.targets.iter().filter(|target| target.passing.is_none()).count();
        self.failing.fill(0);
        for target in self.targets.iter().filter(|target| target.passing == Some(false)) {
            for user in &target.users {
                if let Some(failing) = self.failing.get_mut(*user) {
                    *failing += 1;
                }
            }
        }
        let healthy = self.table.backends.iter().zip(&self.failing);
        self.healthy = healthy.filter(|(backend, failing)| !backend.inactive && **failing == 0).count();
    }
}
