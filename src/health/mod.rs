//! Decides which checks are due, what their results mean, and which services are up.
//!
//! Pure: time comes in as `now`, probes go out through [`Health::poll_probe`], conclusions through
//! [`Health::poll_event`].

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, Probe};
use crate::prefix::Prefix;

/// Ties a result to the run that asked for it: a late or stale result matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    check: usize,
    generation: u64,
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
    /// A result that equals this changes nothing and needs no prompt attention; `None`: any result does.
    pub expected: Option<bool>,
}

/// What a run of a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// The verdict of this one run.
    pub passed: bool,
    /// For people: `200 OK`, `connection refused`, the last line of a program's output.
    pub detail: Cow<'static, str>,
    /// From the worker's start to its end.
    pub took: Duration,
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
        /// Whether it counts now.
        up: bool,
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
    /// Last runs in a row that contradict the verdict.
    pub streak: u32,
}

/// A backend at a glance.
#[derive(Clone, Debug)]
pub struct BackendStatus {
    /// Whether it passes its checks, as far as known.
    pub up: bool,
    /// Whether all its checks have a verdict.
    pub decided: bool,
    /// Since when it is up or down.
    pub since: Instant,
}

/// A service at a glance.
#[derive(Clone, Debug)]
pub struct ServiceStatus {
    /// Up, down, or not known yet.
    pub state: ServiceState,
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
    // private
}

impl Health {
    /// Nothing configured.
    pub fn new() -> Health {
        Health::default()
    }

    /// Replaces the configuration. Unchanged checks keep their history, unchanged backends their state.
    /// `announced` tells whether a VIP is announced now: a new service on such a VIP starts up.
    pub fn configure(&mut self, now: Instant, config: Arc<Config>, announced: &dyn Fn(&Prefix) -> bool) {
        let _ = (now, config, announced);
        todo!()
    }

    /// A worker took the probe at `at`: from then its time runs.
    pub fn probe_started(&mut self, ticket: Ticket, at: Instant) {
        let _ = (ticket, at);
        todo!()
    }

    /// Takes a result; one whose ticket is no longer held is ignored.
    pub fn probe_finished(&mut self, now: Instant, ticket: Ticket, outcome: ProbeOutcome) {
        let _ = (now, ticket, outcome);
        todo!()
    }

    /// Starts due checks and fails overdue ones.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// The next probe to hand to the pool.
    pub fn poll_probe(&mut self) -> Option<ProbeRequest> {
        todo!()
    }

    /// The next conclusion.
    pub fn poll_event(&mut self) -> Option<HealthEvent> {
        todo!()
    }

    /// Runs every check as soon as possible.
    pub fn check_all_now(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    /// The state of a service, by its index in the configuration.
    pub fn service_state(&self, service: usize) -> ServiceState {
        let _ = service;
        todo!()
    }

    /// A service at a glance, by its index in the configuration.
    pub fn service(&self, service: usize) -> ServiceStatus {
        let _ = service;
        todo!()
    }

    /// A check at a glance, by its index in the configuration.
    pub fn check(&self, check: usize) -> CheckStatus {
        let _ = check;
        todo!()
    }

    /// How the checks keep their times.
    pub fn schedule(&self) -> ScheduleStatus {
        todo!()
    }
}
