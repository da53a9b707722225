//! Which backends a run of a check is of, and when each of their checks has run once more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::notify::Round;
use crate::config::{Config, ProbeKind};
use crate::wall::Timestamp;

/// Backends in progress.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// By check: the backends that it is a check of, by their places below, and their names.
    users: Vec<(Vec<usize>, Arc<[Name]>)>,
    backends: Vec<Progress>,
}

type Name = (Arc<str>, SocketAddr);

#[derive(Debug)]
struct Progress {
    name: Name,
    /// The checks that are run, and whether each counts.
    checks: BTreeMap<usize, bool>,
    /// Those that have run in this round, and what the latest run said.
    seen: BTreeMap<usize, bool>,
    /// Rounds so far.
    number: u64,
}

impl Rounds {
    /// Begins every round anew; their numbers go on.
    pub(super) fn configure(&mut self, config: &Config) {
        let numbers: BTreeMap<Name, u64> =
            self.backends.drain(..).map(|progress| (progress.name, progress.number)).collect();
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); config.checks.len()];
        let is_run = |check: &usize| {
            config.checks.get(*check).is_some_and(|check| !matches!(check.probe.kind, ProbeKind::Alias(_)))
        };
        for (service, backend) in
            config.services.iter().flat_map(|service| service.backends.iter().map(move |it| (service, it)))
        {
            let mut checks = BTreeMap::new();
            for used in backend.checks.iter().filter(|used| is_run(&used.check)) {
                *checks.entry(used.check).or_default() |= !used.advisory;
            }
            checks.keys().for_each(|check| users[*check].push(self.backends.len()));
            let name = (service.name.clone(), backend.address);
            let number = numbers.get(&name).copied().unwrap_or_default();
            self.backends.push(Progress { name, checks, seen: BTreeMap::new(), number });
        }
        let named = |places: Vec<usize>| {
            let names = places.iter().map(|place| self.backends[*place].name.clone()).collect();
            (places, names)
        };
        self.users = users.into_iter().map(named).collect();
    }

    /// The backends that a check is of.
    pub(super) fn users(&self, check: usize) -> Arc<[Name]> {
        self.users.get(check).map_or_else(|| Arc::from([]), |(_, names)| names.clone())
    }

    /// A check has run: the rounds that are complete with it.
    pub(super) fn ran(&mut self, at: Timestamp, check: usize, passed: bool) -> Vec<Round> {
        let Some((places, _)) = self.users.get(check) else { return Vec::new() };
        let complete = places.iter().filter_map(|place| {
            let progress = self.backends.get_mut(*place)?;
            progress.seen.insert(check, passed);
            if progress.seen.len() < progress.checks.len() {
                return None;
            }
            let seen = std::mem::take(&mut progress.seen);
            progress.number += 1;
            let failed = |(check, passed): (&usize, &bool)| !passed && progress.checks.get(check) == Some(&true);
            Some(Round {
                at,
                service: progress.name.0.clone(),
                address: progress.name.1,
                number: progress.number,
                passed: !seen.iter().any(failed),
            })
        });
        complete.collect()
    }
}
