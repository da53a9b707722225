//! Checks, backends and services.

use log::Level;

use super::{Subjects, plural, whole_millis};
use crate::engine::status::Count;
use crate::health::{HealthEvent, ServiceState};

/// What an event has in common with others that may come by the thousand.
pub(super) fn kind(event: &HealthEvent) -> &'static str {
    match event {
        HealthEvent::Check { passing: true, .. } => "checks passing",
        HealthEvent::Check { passing: false, .. } => "checks failing",
        HealthEvent::Backend { up: true, .. } => "backends up",
        HealthEvent::Backend { up: false, .. } => "backends down",
        HealthEvent::Weight { .. } => "weights changed",
        HealthEvent::Stale { stale: true, .. } => "checks stale",
        HealthEvent::Stale { stale: false, .. } => "checks run again",
        HealthEvent::Warning { .. } => "warnings of checks",
        HealthEvent::Share { .. } => "shares changed",
        HealthEvent::Answer { .. } => "answers of checks",
        HealthEvent::Service { state: ServiceState::Up, .. } => "services up",
        HealthEvent::Service { state: ServiceState::Down, .. } => "services down",
        HealthEvent::Service { state: ServiceState::Undecided, .. } => "services undecided",
        HealthEvent::Service { state: ServiceState::Drained, .. } => "services drained",
    }
}

/// Its line; nothing for what is configured no more.
pub(super) fn line(subjects: &Subjects, event: &HealthEvent) -> Option<(Level, String)> {
    let line = match event {
        HealthEvent::Check { check, passing, detail, streak } => {
            let check = subjects.check(*check)?;
            let colon = if detail.is_empty() { "" } else { ": " };
            if *passing {
                let passes = plural(*streak as usize, "pass", "passes");
                (Level::Info, format!("check {check} passing after {passes}{colon}{detail}"))
            } else {
                let failures = plural(*streak as usize, "failure", "failures");
                (Level::Warn, format!("check {check} failing after {failures}{colon}{detail}"))
            }
        }
        HealthEvent::Backend { service, backend, up } => {
            let service = subjects.config.services.get(*service)?;
            let address = service.backends.get(*backend)?.address;
            let (level, state) = if *up { (Level::Info, "up") } else { (Level::Warn, "down") };
            (level, format!("backend {}/{address} {state}", service.name))
        }
        // For the ladder and the guard, which say what they make of it.
        HealthEvent::Share { .. } | HealthEvent::Answer { .. } => return None,
        HealthEvent::Weight { service, backend, weight, degraded } => {
            let service = subjects.config.services.get(*service)?;
            let backend = service.backends.get(*backend)?;
            let (name, address, full) = (&service.name, backend.address, backend.weight);
            let text = match weight {
                0 => format!("backend {name}/{address} drained by its checks: weight 0 of {full}"),
                _ if *degraded => format!("backend {name}/{address} degraded by its checks: weight {weight} of {full}"),
                _ => format!("backend {name}/{address} not degraded by its checks: weight {weight} of {full}"),
            };
            (if *degraded { Level::Warn } else { Level::Info }, text)
        }
        HealthEvent::Stale { check, stale, behind } => {
            let (check, behind) =
                (subjects.check(*check)?, humantime::format_duration(whole_millis(*behind)).to_string());
            if *stale {
                (Level::Warn, format!("check {check} is stale: it should have run {behind} ago, and no worker is free"))
            } else {
                (Level::Info, format!("check {check} has run again, {behind} late"))
            }
        }
        HealthEvent::Warning { check, warning } => {
            let check = subjects.check(*check)?;
            match warning {
                Some(warning) => (Level::Warn, format!("check {check} warns: {warning}")),
                None => (Level::Info, format!("check {check} no longer warns")),
            }
        }
        HealthEvent::Service { service, state, available, required, on_sorry } => {
            let service = subjects.config.services.get(*service)?;
            let (level, state) = match state {
                ServiceState::Up if *on_sorry => (Level::Warn, "up"),
                ServiceState::Up => (Level::Info, "up"),
                ServiceState::Down => (Level::Warn, "down"),
                ServiceState::Undecided => (Level::Info, "undecided"),
                ServiceState::Drained => (Level::Info, "drained"),
            };
            let count = Count::new(service, *available, *required, *on_sorry);
            (level, format!("service {} {state}: {count}", service.name))
        }
    };
    Some(line)
}
