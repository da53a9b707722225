//! Services, their backends and checks, at a glance.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::Engine;
use super::super::drain::Target;
use crate::config::{self, Backend, Probe, ProbeKind};
use crate::health::{BackendStatus, CheckStatus, ServiceState, WireState, WireStatus};
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
    /// What counts, in the measure of its quorum.
    pub available: u64,
    /// What must count for it to come up, or, while it is up, to stay so.
    pub required: u64,
    /// What must count for it to come up; only an older daemon does not say, here and below.
    #[serde(default)]
    pub required_up: Option<u64>,
    /// What must count for it to stay up.
    #[serde(default)]
    pub required_down: Option<u64>,
    /// `backends` or `weight`.
    #[serde(default)]
    pub measure: Option<String>,
    /// What its regular backends count of [`total`](Self::total): what ladders go by.
    #[serde(default)]
    pub counting: Option<u64>,
    /// What they could count at most.
    #[serde(default)]
    pub total: Option<u64>,
    /// No regular backend counts, and sorry backends have stepped in.
    #[serde(default)]
    pub on_sorry: bool,
    /// The `disable_file` that takes it out of use, when it is there.
    #[serde(default)]
    pub disabled_by: Option<PathBuf>,
    /// In the order of the configuration.
    pub backends: Vec<BackendLine>,
}

/// One backend of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendLine {
    /// Address and port.
    pub address: String,
    /// `up`, `degraded` when a check leaves it less than its weight, `down`, `undecided`, `drained` (also by its own checks,
    /// with a weight of 0), or `disabled`.
    pub state: String,
    /// Since when it passes or fails its checks, or is drained by an operator.
    pub since: Timestamp,
    /// It counts only when no regular backend does.
    #[serde(default)]
    pub sorry: bool,
    /// As configured. A backend of weight 0 does not count.
    pub weight: u32,
    /// What its checks leave of it; only an older daemon does not say.
    pub effective_weight: Option<u32>,
    /// How many of its checks must pass: `all`, `any`, a number or a share.
    #[serde(default)]
    pub combine: String,
    /// In the order of the configuration.
    pub checks: Vec<CheckLine>,
}

/// One check of a backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckLine {
    /// Its name under `[checks]`, or its type.
    pub name: String,
    /// Its type.
    #[serde(default)]
    pub kind: String,
    /// What it dials; the file or service that it looks at.
    #[serde(default)]
    pub target: String,
    /// It does not count.
    #[serde(default)]
    pub advisory: bool,
    /// `passing`, `failing` or `undecided`.
    pub verdict: String,
    /// Since when; `null` while undecided.
    pub since: Option<Timestamp>,
    /// What the last run found, in words; empty before the first.
    pub detail: String,
    /// Why the last run failed, by kind: `refused`, `timeout` and the like; `null` when it passed.
    #[serde(default)]
    pub failure: Option<String>,
    /// What a program said in its last run, when that is more than `detail`.
    #[serde(default)]
    pub output: Option<String>,
    /// What the last run that passed warned of.
    #[serde(default)]
    pub warning: Option<String>,
    /// Its last runs, ten at most: `+` passed, `-` failed, the latest last.
    #[serde(default)]
    pub runs: String,
    /// The verdict is from before a restart, and no run has ended since.
    #[serde(default)]
    pub restored: bool,
    /// It has not run for so long that its verdict is old.
    #[serde(default)]
    pub stale: bool,
    /// How far behind its time the last run started, in microseconds.
    #[serde(default)]
    pub lag_us: u64,
    /// How long the last run took, in microseconds.
    pub took_us: u64,
    /// Last runs in a row that contradict the verdict.
    pub streak: u32,
    /// Its tripwire; `null` when it has none.
    pub tripwire: Option<TripwireLine>,
}

/// The tripwire of a check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TripwireLine {
    /// `open`, `opening`, `resting` after its end, or `off` until the check passes.
    pub state: String,
    /// How often it has ended: by the target's habit, or because something had happened.
    pub ended: u64,
    /// When it is opened again at the soonest, while it rests.
    pub rests_until: Option<Timestamp>,
}

impl TripwireLine {
    fn new(wire: &WireStatus, clock: &WallClock) -> TripwireLine {
        let (state, until) = match wire.state {
            WireState::Off => ("off", None),
            WireState::Opening => ("opening", None),
            WireState::Open => ("open", None),
            WireState::Resting(until) => ("resting", Some(until)),
        };
        let rests_until = until.map(|at| clock.timestamp(at));
        TripwireLine { state: state.to_owned(), ended: wire.ended, rests_until }
    }
}

impl Engine {
    pub(in crate::engine) fn service_line(&self, index: usize, clock: &WallClock) -> ServiceLine {
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
            required_up: Some(status.marks.0),
            required_down: Some(status.marks.1),
            measure: Some(status.measure.to_string()),
            counting: Some(status.share.counting),
            total: Some(status.share.total),
            on_sorry: status.on_sorry,
            disabled_by: self.service_disabled_by(index),
            backends: backends
                .map(|(backend, status)| self.backend_line(&service.name, backend, status, clock))
                .collect(),
        }
    }

    fn backend_line(&self, service: &str, backend: &Backend, status: &BackendStatus, clock: &WallClock) -> BackendLine {
        let since = clock.timestamp(status.since);
        let target = || Target::Backend(service.to_owned(), backend.address);
        let drain = status.drained.then(|| self.drains.get(&target()).map(|drain| drain.since)).flatten();
        BackendLine {
            address: backend.address.to_string(),
            state: backend_state(backend, status).to_owned(),
            since: drain.map_or(since, |drain| drain.max(since)),
            sorry: backend.sorry,
            weight: backend.weight,
            effective_weight: Some(status.weight),
            combine: backend.combine.to_string(),
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
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let probe = self.config.checks.get(check.check).map(|check| &*check.probe);
        let target = probe.map(Probe::place);
        let failure = status.last.as_ref().and_then(|last| last.failure);
        CheckLine {
            name: check.name.to_string(),
            kind: probe.map(|probe| probe.kind.name()).unwrap_or_default().to_owned(),
            target: target.unwrap_or_default(),
            advisory: check.advisory,
            verdict: verdict.to_owned(),
            since: status.since.map(|at| clock.timestamp(at)),
            took_us: micros(status.last.as_ref().map(|last| last.took).unwrap_or_default()),
            detail: detail(probe, &status),
            failure: failure.map(|kind| kind.name().to_owned()),
            output: status.last.and_then(|last| last.output).map(String::from),
            warning: status.warning.map(String::from),
            runs: super::super::why::runs(&status.history),
            restored: status.restored,
            stale: status.stale,
            lag_us: micros(status.lag),
            streak: status.streak,
            tripwire: self.health.wire(check.check).map(|wire| TripwireLine::new(&wire, clock)),
        }
    }

    /// The `disable_file` that takes a service out of use, when it is there.
    pub(in crate::engine) fn service_disabled_by(&self, index: usize) -> Option<PathBuf> {
        let service = self.config.services.get(index)?;
        if self.health.service(index).disabled { self.disable_file(service) } else { None }
    }

    fn disable_file(&self, service: &config::Service) -> Option<PathBuf> {
        match &self.config.checks.get(service.disable?)?.probe.kind {
            ProbeKind::File(file) => Some(file.path.clone()),
            _ => None,
        }
    }
}

/// What the last run found, in words; of an alias, how its service is.
pub(super) fn detail(probe: Option<&Probe>, status: &CheckStatus) -> String {
    match (probe.map(|probe| &probe.kind), &status.last) {
        (Some(ProbeKind::Alias(service)), _) => match status.passing {
            Some(true) => format!("service {service} is up"),
            Some(false) => format!("service {service} is down"),
            None => format!("service {service} is undecided"),
        },
        (_, Some(last)) => last.detail.to_string(),
        (_, None) => String::new(),
    }
}

/// The state of a backend, as `status --json` spells it.
pub(in crate::engine) fn backend_state(backend: &Backend, status: &BackendStatus) -> &'static str {
    match status {
        _ if !backend.enabled => "disabled",
        BackendStatus { drained: true, .. } => "drained",
        BackendStatus { up: true, weight: 0, .. } if backend.weight > 0 => "drained",
        BackendStatus { up: true, degraded: true, .. } => "degraded",
        BackendStatus { up: true, .. } => "up",
        BackendStatus { decided: false, .. } => "undecided",
        BackendStatus { .. } => "down",
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
