//! Checks, backends and services at a glance.

use std::time::{Duration, Instant};

use super::{ProbeOutcome, Share};
use crate::config::Measure;

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
    /// Whether its last runs passed, ten at most, the latest last.
    pub history: Vec<bool>,
    /// The verdict is from before a restart, and no run has ended since.
    pub restored: bool,
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
    /// Whether a check asks for less than that, even where rounding leaves all of it.
    pub degraded: bool,
    /// Whether an operator drains it: then it does not count.
    pub drained: bool,
    /// Whether it stands in for others.
    pub sorry: bool,
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
    /// What counts, in the measure of its quorum.
    pub available: u64,
    /// What must count for it to be up, or to stay so.
    pub required: u64,
    /// What must count for it to come up, and to stay up.
    pub marks: (u64, u64),
    /// What is counted.
    pub measure: Measure,
    /// How much of it is healthy.
    pub share: Share,
    /// Sorry backends have stepped in for the regular ones.
    pub on_sorry: bool,
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
