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
mod lag;
mod schedule;
mod service;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, FailureKind, Probe, ProbeKind, Weight};
use crate::prefix::Prefix;
use checks::{Change, Checks};
use service::{Reload, Services};

/// Ties a result to the run that asked for it: a late or stale result matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    check: usize,
    generation: u64,
}

impl Ticket {
    /// For runs that [`Health`] did not ask for: a probe by hand, a test of the pool.
    pub fn new(check: usize, generation: u64) -> Ticket {
        Ticket { check, generation }
    }
}

/// Work for the pool.
#[derive(Clone, Debug)]
pub struct ProbeRequest {
    /// Return it with the result.
    pub ticket: Ticket,
    /// What to do.
    pub probe: Arc<Probe>,
    /// For the whole run, from the moment a worker takes it.
    pub timeout: Duration,
    /// When the run should have started: what a worker is behind this is lag.
    pub due: Instant,
    /// A result that says this changes nothing and needs no prompt attention; `None`: any result does.
    pub expected: Option<Finding>,
}

/// What a result says, for decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// The verdict of this one run.
    pub passed: bool,
    /// What the backend's weight shall be; `None` leaves what is configured.
    pub weight: Option<Weight>,
}

/// What a run of a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// The verdict of this one run.
    pub passed: bool,
    /// Why it failed, by kind; `None` when it passed.
    pub failure: Option<FailureKind>,
    /// What the backend's weight shall be; `None` leaves what is configured.
    pub weight: Option<Weight>,
    /// What people should know although it passed: a certificate that ends soon.
    pub warning: Option<Box<str>>,
    /// The backend itself has said so: it counts as `rise` or `fall` at once.
    pub is_final: bool,
    /// It found nothing that counts: verdict and weight stay as they were, and where there is none it passed.
    pub is_silent: bool,
    /// For people: `200 OK`, `connection refused`, the last line of a program's output.
    pub detail: Cow<'static, str>,
    /// From the worker's start to its end.
    pub took: Duration,
}

impl Finding {
    /// Without a word about weights.
    pub fn plain(passed: bool) -> Finding {
        Finding { passed, weight: None }
    }
}

impl ProbeOutcome {
    /// A run that passed, or whose answer was wrong.
    pub fn new(passed: bool, detail: impl Into<Cow<'static, str>>, took: Duration) -> ProbeOutcome {
        if passed {
            ProbeOutcome::passed(detail, took)
        } else {
            ProbeOutcome::failed(FailureKind::Answer, detail, took)
        }
    }

    /// A run that passed.
    pub fn passed(detail: impl Into<Cow<'static, str>>, took: Duration) -> ProbeOutcome {
        ProbeOutcome {
            passed: true,
            failure: None,
            weight: None,
            warning: None,
            is_final: false,
            is_silent: false,
            detail: detail.into(),
            took,
        }
    }

    /// A run that failed.
    pub fn failed(kind: FailureKind, detail: impl Into<Cow<'static, str>>, took: Duration) -> ProbeOutcome {
        ProbeOutcome { passed: false, failure: Some(kind), ..ProbeOutcome::passed(detail, took) }
    }

    /// For decisions.
    pub fn finding(&self) -> Finding {
        Finding { passed: self.passed, weight: self.weight }
    }
}

/// A service's state as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// Not enough checks have found a verdict.
    Undecided,
    /// Enough backends count.
    Up,
    /// Too few backends count.
    Down,
    /// It would be up, but an operator drains it, or backends that it needs.
    Drained,
}

/// What health concluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    /// A check's verdict changed.
    Check {
        /// Index into [`Config::checks`].
        check: usize,
        /// The new verdict.
        passing: bool,
        /// Of the run that made the difference.
        detail: Cow<'static, str>,
        /// How many runs in a row said so.
        streak: u32,
    },
    /// A backend went up or down.
    Backend {
        /// Index into [`Config::services`].
        service: usize,
        /// Index into the service's backends.
        backend: usize,
        /// Whether it passes its checks now. It counts if it is enabled and has a weight besides.
        up: bool,
    },
    /// What is left of a backend's weight changed. One of 0 is treated as drained.
    Weight {
        /// Index into [`Config::services`].
        service: usize,
        /// Index into the service's backends.
        backend: usize,
        /// What it has now; as configured when no check asks for less.
        weight: u32,
    },
    /// A check has not run for so long that its verdict is old, or it has run again.
    Stale {
        /// Index into [`Config::checks`].
        check: usize,
        /// Whether it is old now.
        stale: bool,
        /// How far behind its time the run is or was.
        behind: Duration,
    },
    /// A check that passes warns of something else than before.
    Warning {
        /// Index into [`Config::checks`].
        check: usize,
        /// Of what; `None` when the reason has gone.
        warning: Option<Box<str>>,
    },
    /// A service's state changed.
    Service {
        /// Index into [`Config::services`].
        service: usize,
        /// The new state.
        state: ServiceState,
        /// Backends that count.
        available: usize,
        /// Backends that must count.
        required: usize,
    },
}

/// A check at a glance.
#[derive(Clone, Debug)]
pub struct CheckStatus {
    /// `None` before the first verdict.
    pub passing: Option<bool>,
    /// Since when the verdict stands.
    pub since: Option<Instant>,
    /// The last run's outcome, when there was one.
    pub last: Option<ProbeOutcome>,
    /// Last runs in a row that contradict the verdict; before the first verdict, that agree with each other.
    pub streak: u32,
    /// It has not run for so long that its verdict is old.
    pub stale: bool,
    /// How far behind its time the last run started.
    pub lag: Duration,
    /// What the last run that passed warned of.
    pub warning: Option<Box<str>>,
}

/// A backend at a glance.
#[derive(Clone, Debug)]
pub struct BackendStatus {
    /// Whether it passes its checks, as far as known.
    pub up: bool,
    /// What is left of its configured weight after what its checks ask for. One of 0 is treated as drained.
    pub weight: u32,
    /// Whether an operator drains it: then it does not count.
    pub drained: bool,
    /// Whether its checks have said so: one is failing, or all are passing. Else it is as it was, or as new ones start.
    pub decided: bool,
    /// Since when it is up or down.
    pub since: Instant,
}

/// A service at a glance.
#[derive(Clone, Debug)]
pub struct ServiceStatus {
    /// Up, down, or not known yet.
    pub state: ServiceState,
    /// Whether its `disable_file` takes it out of use.
    pub disabled: bool,
    /// Since when.
    pub since: Instant,
    /// Backends that count.
    pub available: usize,
    /// Backends that must count.
    pub required: usize,
    /// In the order of the configuration.
    pub backends: Vec<BackendStatus>,
}

/// How the checks keep their times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// Runs that a worker has taken and not finished.
    pub running: usize,
    /// Runs that no worker has taken yet.
    pub queued: usize,
    /// Start behind due, 99th percentile of the last minute or so.
    pub lag_p99: Duration,
    /// Runs that outlasted their limit since the start.
    pub overdue: u64,
}

/// The state of all checks, backends and services.
#[derive(Debug, Default)]
pub struct Health {
    config: Arc<Config>,
    checks: Checks,
    services: Services,
    /// The checks that are the state of each service.
    aliases: BTreeMap<usize, Vec<usize>>,
    events: VecDeque<HealthEvent>,
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
        self.checks.configure(now, &config.checks);
        let checks = &self.checks;
        let statement = |check| checks.statement(check);
        let reload = Reload { now, old: &self.config, new: &config, announced, statement: &statement };
        self.services.configure(&reload, &mut self.events);
        self.aliases = aliases(&config);
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
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.checks.poll_timeout()
    }

    /// The next probe to hand to the pool.
    pub fn poll_probe(&mut self) -> Option<ProbeRequest> {
        self.checks.poll_probe()
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

    /// Something has happened to the target of this check, which is no verdict: it runs at once, and once more if it passes.
    pub fn alert(&mut self, now: Instant, check: usize) {
        self.checks.alert(now, check);
    }

    /// The state of a service, by its index in the configuration; one that there is not is undecided.
    pub fn service_state(&self, service: usize) -> ServiceState {
        self.services.state(service).unwrap_or(ServiceState::Undecided)
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
            stale: state.is_some_and(|state| state.is_stale),
            lag: state.map(|state| state.lag).unwrap_or_default(),
            warning: state.and_then(|state| state.warning.clone()),
        }
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
