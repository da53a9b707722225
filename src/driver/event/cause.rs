//! Why, as a chain of names and numbers: from a VIP down to the check that made the difference.

use serde_json::{Map, Value, json};

use crate::announce::{AggregateCause, AggregateEvent, Doubt, DrainedBy, Fault, GroundCause, VipCause};
use crate::config::{Config, Dependency};
use crate::engine::status::{Reason, ServiceReason};

pub(super) fn of_vip(config: &Config, reason: &Reason) -> Value {
    let service = || reason.service.as_ref().map(of_service);
    match reason.cause {
        VipCause::AllUp => json!({ "kind": "all_up" }),
        VipCause::ServiceDown(_) => with("service_down", service()),
        VipCause::ServiceUndecided(_) => with("service_undecided", service()),
        VipCause::DependencyDown(on) => {
            json!({ "kind": "dependency_down", "on": dependency(config, on), "about": reason.about })
        }
        VipCause::DependencyUndecided(on) => json!({ "kind": "dependency_undecided", "on": dependency(config, on) }),
        VipCause::Rung(rung) => json!({ "kind": "step", "step": rung + 1, "about": reason.about }),
        VipCause::Climb(rung, _) => json!({ "kind": "climb", "step": rung + 1, "about": reason.about }),
        VipCause::StartUp => json!({ "kind": "start_up" }),
        VipCause::HoldUp(_) => json!({ "kind": "hold_up" }),
        VipCause::HoldDown(_) => json!({ "kind": "hold_down" }),
        VipCause::Suppressed(_) => json!({ "kind": "suppressed", "about": reason.about }),
        VipCause::Doubted(doubt, fault) => {
            json!({ "kind": "doubted", "doubt": of_doubt(config, doubt), "fault": of_fault(config, fault, service()) })
        }
        VipCause::Ground(ground) => json!({ "kind": of_ground(ground), "about": reason.about }),
        VipCause::SelfCheck(index) => {
            json!({ "kind": "self_check", "self_check": self_check(config, index), "about": reason.about })
        }
        VipCause::Draining(by, _) => json!({ "kind": "draining", "by": of_drain(config, by), "about": reason.drain }),
        VipCause::Drained(by) => json!({ "kind": "drained", "by": of_drain(config, by), "about": reason.drain }),
        VipCause::Stopping => json!({ "kind": "stopping" }),
    }
}

pub(super) fn of_aggregate(event: &AggregateEvent) -> Value {
    let kind = match event.cause {
        AggregateCause::Enough => "enough",
        AggregateCause::TooFew => "too_few",
        AggregateCause::StartUp => "start_up",
        AggregateCause::MembersLeave => "members_leave",
        AggregateCause::Draining(..) => "draining",
        AggregateCause::Drained(_) => "drained",
        AggregateCause::Stopping => "stopping",
    };
    let tally = event.tally;
    let tipped_by = event.tipped_by.map(|vip| vip.to_string());
    json!({ "kind": kind, "healthy": tally.healthy, "members": tally.members, "required": tally.required, "tipped_by": tipped_by })
}

pub(super) fn of_doubt(config: &Config, doubt: Doubt) -> Value {
    match doubt {
        Doubt::Vips { bad, of } => json!({ "kind": "vips", "bad": bad, "of": of }),
        Doubt::Backends { bad, of } => json!({ "kind": "backends", "bad": bad, "of": of }),
        Doubt::SelfCheck(index) => json!({ "kind": "self_check", "self_check": self_check(config, index) }),
    }
}

fn of_fault(config: &Config, fault: Fault, service: Option<Map<String, Value>>) -> Value {
    match fault {
        Fault::Service(_) => with("service_down", service),
        Fault::Dependency(on) => json!({ "kind": "dependency_down", "on": dependency(config, on) }),
        Fault::Rung(rung) => json!({ "kind": "step", "step": rung + 1 }),
    }
}

fn of_ground(ground: GroundCause) -> &'static str {
    match ground {
        GroundCause::Address => "address_awaited",
        GroundCause::AddressFailed(_) => "address_failed",
        GroundCause::AddressMissing => "address_missing",
        GroundCause::DataPlane => "data_plane_awaited",
        GroundCause::DataPlaneFailed(_) => "data_plane_failed",
    }
}

fn of_drain(config: &Config, by: DrainedBy) -> String {
    match by {
        DrainedBy::Itself => "itself".to_owned(),
        DrainedBy::All => "all".to_owned(),
        DrainedBy::Service(service) => dependency(config, Dependency::Service(service)),
        DrainedBy::Dependency(on) => dependency(config, on),
    }
}

fn dependency(config: &Config, on: Dependency) -> String {
    match on {
        Dependency::Vip(prefix) => format!("vip {prefix}"),
        Dependency::Service(index) => {
            format!("service {}", config.services.get(index).map(|service| &*service.name).unwrap_or_default())
        }
    }
}

fn self_check(config: &Config, index: usize) -> String {
    config.self_checks.get(index).map(|own| own.name.to_string()).unwrap_or_default()
}

/// Down to the check that fails, and what it found.
fn of_service(service: &ServiceReason) -> Map<String, Value> {
    let mut fields = Map::new();
    let (available, of, required) = service.count.numbers();
    let failing = service
        .failing
        .as_ref()
        .map(|(address, check, detail)| json!({ "backend": address.to_string(), "check": check, "detail": detail }));
    let all = [
        ("service", json!(service.name)),
        ("available", json!(available)),
        ("of", json!(of)),
        ("required", json!(required)),
        ("failing", json!(failing)),
    ];
    fields.extend(all.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)));
    fields
}

fn with(kind: &str, fields: Option<Map<String, Value>>) -> Value {
    let mut all = fields.unwrap_or_default();
    all.insert("kind".to_owned(), json!(kind));
    Value::Object(all)
}
