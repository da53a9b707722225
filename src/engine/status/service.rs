//! Services, their backends and checks, at a glance.

use serde::{Deserialize, Serialize};

use super::super::Engine;
use crate::config::{self, Backend};
use crate::health::{BackendStatus, ServiceState};
use crate::wall::{Timestamp, WallClock};

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceLine {
    /// As configured.
    pub name: String,
    /// Whether enough backends count.
    pub up: bool,
    /// `up`, `down`, `drained`, or `undecided` before the first verdicts.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
    /// Backends that count.
    pub available: usize,
    /// Backends that must count.
    pub required: usize,
    /// In the order of the configuration.
    pub backends: Vec<BackendLine>,
}

/// One backend of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendLine {
    /// Address and port.
    pub address: String,
    /// `up`, `down`, `undecided`, `drained` or `disabled`.
    pub state: String,
    /// Since when it passes or fails its checks.
    pub since: Timestamp,
    /// A backend of weight 0 does not count.
    pub weight: u32,
    /// In the order of the configuration.
    pub checks: Vec<CheckLine>,
}

/// One check of a backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckLine {
    /// Its name under `[checks]`, or its type.
    pub name: String,
    /// `passing`, `failing` or `undecided`.
    pub verdict: String,
    /// Since when; `null` while undecided.
    pub since: Option<Timestamp>,
    /// What the last run found, in words; empty before the first.
    pub detail: String,
    /// How long the last run took, in microseconds.
    pub took_us: u64,
    /// Last runs in a row that contradict the verdict.
    pub streak: u32,
}

impl Engine {
    pub(super) fn service_line(&self, index: usize, clock: &WallClock) -> ServiceLine {
        let service = &self.config.services[index];
        let status = self.health.service(index);
        let backends = service.backends.iter().zip(&status.backends);
        ServiceLine {
            name: service.name.to_string(),
            up: status.state == ServiceState::Up,
            state: service_state(status.state).to_owned(),
            since: clock.timestamp(status.since),
            available: status.available,
            required: status.required,
            backends: backends.map(|(backend, status)| self.backend_line(backend, status, clock)).collect(),
        }
    }

    fn backend_line(&self, backend: &Backend, status: &BackendStatus, clock: &WallClock) -> BackendLine {
        let state = match status {
            _ if !backend.enabled => "disabled",
            BackendStatus { drained: true, .. } => "drained",
            BackendStatus { up: true, .. } => "up",
            BackendStatus { decided: false, .. } => "undecided",
            BackendStatus { .. } => "down",
        };
        BackendLine {
            address: backend.address.to_string(),
            state: state.to_owned(),
            since: clock.timestamp(status.since),
            weight: backend.weight,
            checks: backend.checks.iter().map(|check| self.check_line(check, clock)).collect(),
        }
    }

    fn check_line(&self, check: &config::CheckRef, clock: &WallClock) -> CheckLine {
        let status = self.health.check(check.check);
        let verdict = match status.passing {
            Some(true) => "passing",
            Some(false) => "failing",
            None => "undecided",
        };
        let took = status.last.as_ref().map(|last| last.took).unwrap_or_default();
        CheckLine {
            name: check.name.to_string(),
            verdict: verdict.to_owned(),
            since: status.since.map(|at| clock.timestamp(at)),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            detail: status.last.map(|last| last.detail.into_owned()).unwrap_or_default(),
            streak: status.streak,
        }
    }
}

/// As `status --json` spells it.
pub fn service_state(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Undecided => "undecided",
        ServiceState::Up => "up",
        ServiceState::Down => "down",
        ServiceState::Drained => "drained",
    }
}
