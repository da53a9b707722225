//! Decides which checks are due, what their results mean, and which services are up.
//!
//! Pure: time comes in as `now`, probes go out through [`Health::poll_probe`], conclusions through
//! [`Health::poll_event`].
//!
//! What a driver has to keep to:
//! - It delivers the results and starts that it has before it calls [`Health::handle_timeout`]: a result that was as
//!   expected, and word of a start, need not wake the loop. Both are due by the next [`Health::poll_timeout`] only.
//! - It tells of a start with the time at which the worker took the probe. From then, and only then, the probe's time
//!   runs: a probe that no worker takes says nothing about the backend. It waits, and shows as lag.
//! - A probe that is not back within its timeout and a quarter of a second has failed, whatever its thread does; what
//!   it brings later is ignored.
//!
//! The parts: `schedule` says when, `check` holds one check, `checks` runs them all, `service` draws the conclusions,
//! `lag` measures.

mod backend;
mod check;
mod checks;
mod event;
mod lag;
mod quorum;
mod restore;
mod run;
mod schedule;
mod service;
mod status;
#[cfg(test)]
mod tests;
mod tripwire;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::config::{Config, Probe, ProbeKind};
use crate::prefix::Prefix;
use checks::{Change, Checks};
use service::{Reload, Services};
use tripwire::Wires;

pub use event::HealthEvent;
pub use quorum::Share;
pub use restore::Restored;
pub use run::{Finding, ProbeOutcome, ProbeRequest, Ticket};
pub use status::{BackendStatus, CheckStatus, ScheduleStatus, ServiceState, ServiceStatus};
pub use tripwire::{WireAction, WireState, WireStatus};

/// The state of all checks, backends and services.
#[derive(Clone, Debug, Default)]
pub struct Health {
    config: Arc<Config>,
    checks: Checks,
    services: Services,
    /// The checks that are the state of each service.
    aliases: BTreeMap<usize, Vec<usize>>,
    wires: Wires,
    /// The checks that dial an address.
    by_address: BTreeMap<IpAddr, Vec<usize>>,
    events: VecDeque<HealthEvent>,
    /// What checks said before a restart, by their identities, until the first configuration.
    restored: BTreeMap<Arc<str>, Restored>,
}

impl Health {
    /// Nothing configured.
    pub fn new() -> Health {
        Health::default()
    }

    /// Replaces the configuration. Unchanged checks keep their history, unchanged backends their state.
    /// `announced` tells whether a VIP is announced now: a new service on such a VIP starts up.
    ///
    /// Events from before are dropped, for their indexes no longer mean anything; then there is one for each backend
    /// and service that is not what it was, and for each new service that needs no checks to know.
    pub fn configure(&mut self, now: Instant, config: Arc<Config>, announced: &dyn Fn(&Prefix) -> bool) {
        self.events.clear();
        let restored = std::mem::take(&mut self.restored);
        let of = |check: usize| restored.get(config.identities.get(check)?);
        self.checks.configure(now, &config.checks, &of);
        let checks = &self.checks;
        let statement = |check| checks.statement(check);
        let reload = Reload { now, old: &self.config, new: &config, announced, statement: &statement };
        self.services.configure(&reload, &mut self.events);
        self.aliases = aliases(&config);
        self.wires.configure(wires(&config, &self.checks));
        self.by_address = by_address(&config);
        self.config = config;
        for service in self.aliases.keys().copied().collect::<Vec<usize>>() {
            self.follow(now, service);
        }
        self.propagate(now);
    }

    /// A worker took the probe at `at`: from then its time runs.
    pub fn probe_started(&mut self, ticket: Ticket, at: Instant) {
        self.checks.started(ticket, at);
    }

    /// Takes a result; one whose ticket is no longer held is ignored.
    pub fn probe_finished(&mut self, now: Instant, ticket: Ticket, outcome: ProbeOutcome) {
        if self.checks.find(ticket).is_some() {
            match outcome.passed {
                true => self.wires.passed(ticket.check),
                false => self.wires.failed(ticket.check),
            }
        }
        if let Some(change) = self.checks.finished(now, ticket, outcome) {
            self.apply(now, &change);
        }
    }

    /// Starts due checks and fails overdue ones.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(change) = self.checks.step(now) {
            if let Some(change) = change {
                self.apply(now, &change);
            }
        }
        self.checks.rest(now);
        self.wires.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.checks.poll_timeout(), self.wires.poll_timeout()].into_iter().flatten().min()
    }

    /// The next probe to hand to the pool.
    pub fn poll_probe(&mut self) -> Option<ProbeRequest> {
        self.checks.poll_probe()
    }

    /// The next thing to do with a tripwire.
    pub fn poll_wire(&mut self) -> Option<WireAction> {
        self.wires.poll_action()
    }

    /// The next conclusion. Of one result first the check, then backends, each followed by what it did to its service.
    pub fn poll_event(&mut self) -> Option<HealthEvent> {
        self.events.pop_front()
    }

    /// Runs every check as soon as possible: all but those that are at it.
    pub fn check_all_now(&mut self, now: Instant) {
        self.checks.start_all(now);
    }

    /// An operator drains this service, or this backend of it, from now on, or no more. What is not configured is
    /// remembered.
    pub fn drain(&mut self, now: Instant, service: &str, backend: Option<SocketAddr>, drained: bool) {
        self.services.drain(now, &self.config, (service, backend), drained, &mut self.events);
        self.propagate(now);
    }

    /// The connection of a tripwire is made.
    pub fn wire_opened(&mut self, now: Instant, ticket: Ticket) {
        self.wires.opened(now, ticket);
    }

    /// The connection of a tripwire has ended, or could not be made, which is no verdict: its check runs at once, and again
    /// as long as it passes, a few times.
    pub fn wire_ended(&mut self, now: Instant, ticket: Ticket) {
        if let Some(check) = self.wires.ended(now, ticket).and_then(|key| self.checks.index(key)) {
            self.checks.alert(now, check);
        }
    }

    /// The way to this address is another one than it was, or there is none any more: the same for all that dial it.
    pub fn path_changed(&mut self, now: Instant, address: IpAddr) {
        for check in self.by_address.get(&address).cloned().unwrap_or_default() {
            self.checks.alert(now, check);
        }
    }

    /// Runs a check as soon as possible, whatever it said before, and tells by [`HealthEvent::Answer`] what that run found.
    /// A run that is on its way is not the answer.
    pub fn ask(&mut self, now: Instant, check: usize) {
        if !self.checks.ask(now, check) {
            let passed = self.checks.statement(check).passing == Some(true);
            self.events.push_back(HealthEvent::Answer { check, passed });
        }
    }

    /// The state of a service, by its index in the configuration; one that there is not is undecided.
    pub fn service_state(&self, service: usize) -> ServiceState {
        self.services.state(service).unwrap_or(ServiceState::Undecided)
    }

    /// Whether sorry backends stand in for those of a service.
    pub fn is_on_sorry(&self, service: usize) -> bool {
        self.services.is_on_sorry(service)
    }

    /// A service at a glance, by its index in the configuration.
    ///
    /// # Panics
    ///
    /// When there is no such service.
    pub fn service(&self, service: usize) -> ServiceStatus {
        self.services.status(service).expect("an index into the configuration in force")
    }

    /// A check at a glance, by its index in the configuration; one that there is not has never run.
    pub fn check(&self, check: usize) -> CheckStatus {
        let state = self.checks.state(check);
        let verdict = state.map(|state| state.verdict).unwrap_or_default();
        CheckStatus {
            passing: verdict.passing,
            since: verdict.since,
            last: state.and_then(|state| state.last.clone()),
            streak: verdict.streak,
            history: state.map(|state| history(state.history)).unwrap_or_default(),
            restored: state.is_some_and(|state| state.is_restored),
            stale: state.is_some_and(|state| state.is_stale),
            lag: state.map(|state| state.lag).unwrap_or_default(),
            warning: state.and_then(|state| state.warning.clone()),
        }
    }

    /// The check that a run is of, by its index in the configuration, as long as the run is awaited.
    pub fn check_of(&self, ticket: Ticket) -> Option<usize> {
        self.checks.find(ticket)
    }

    /// The tripwire of a check, by its index in the configuration, if it has one.
    pub fn wire(&self, check: usize) -> Option<WireStatus> {
        self.wires.status(self.checks.state(check)?.key)
    }

    /// How the checks keep their times.
    pub fn schedule(&self) -> ScheduleStatus {
        self.checks.schedule()
    }

    /// Takes what a check says now to its conclusions.
    fn apply(&mut self, now: Instant, change: &Change) {
        self.tell(change);
        self.conclude(now, change);
        self.propagate(now);
    }

    fn tell(&mut self, change: &Change) {
        let Some(state) = self.checks.state(change.check) else { return };
        let (check, news) = (change.check, change.news);
        if let (Some(streak), Some(passing)) = (news.verdict, state.verdict.passing) {
            let detail = state.last.as_ref().map(|last| last.detail.clone()).unwrap_or_default();
            self.events.push_back(HealthEvent::Check { check, passing, detail, streak });
        }
        if let Some(passed) = news.answer {
            self.events.push_back(HealthEvent::Answer { check, passed });
        }
        if news.staleness {
            self.events.push_back(HealthEvent::Stale { check, stale: state.is_stale, behind: state.lag });
        }
        if news.warning {
            self.events.push_back(HealthEvent::Warning { check, warning: state.warning.clone() });
        }
    }

    fn conclude(&mut self, now: Instant, change: &Change) {
        if change.is_told() {
            let checks = &self.checks;
            self.services.apply(now, change, &|check| checks.statement(check), &mut self.events);
        }
    }

    /// Takes services that have turned to those that depend on them. It ends: the configuration has no circles.
    fn propagate(&mut self, now: Instant) {
        while let Some(service) = self.services.next_turned() {
            self.follow(now, service);
        }
    }

    /// Sets the checks that are the state of a service.
    fn follow(&mut self, now: Instant, service: usize) {
        let passing = match self.services.health(service) {
            ServiceState::Undecided => None,
            ServiceState::Up | ServiceState::Drained => Some(true),
            ServiceState::Down => Some(false),
        };
        for check in self.aliases.get(&service).cloned().unwrap_or_default() {
            if let Some(change) = self.checks.set(now, check, passing) {
                self.tell(&change);
                self.conclude(now, &change);
            }
        }
    }
}

/// Bits and their number as a list, the latest last.
fn history((bits, count): (u16, u8)) -> Vec<bool> {
    (0..count).rev().map(|place| bits >> place & 1 == 1).collect()
}

/// The checks with a tripwire, by their keys.
fn wires(config: &Config, checks: &Checks) -> BTreeMap<usize, Arc<Probe>> {
    let wired = config.checks.iter().enumerate().filter(|(_, check)| check.timing.tripwire);
    wired.filter_map(|(index, check)| Some((checks.state(index)?.key, check.probe.clone()))).collect()
}

fn by_address(config: &Config) -> BTreeMap<IpAddr, Vec<usize>> {
    let mut by_address: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
    for (index, check) in config.checks.iter().enumerate() {
        let address = check.probe.target.ip();
        if !address.is_unspecified() {
            by_address.entry(address).or_default().push(index);
        }
    }
    by_address
}

fn aliases(config: &Config) -> BTreeMap<usize, Vec<usize>> {
    let names = config.services.iter().enumerate().map(|(index, service)| (&service.name, index));
    let by_name: BTreeMap<_, usize> = names.collect();
    let mut aliases: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, check) in config.checks.iter().enumerate() {
        if let ProbeKind::Alias(name) = &check.probe.kind
            && let Some(service) = by_name.get(name)
        {
            aliases.entry(*service).or_default().push(index);
        }
    }
    aliases
}
