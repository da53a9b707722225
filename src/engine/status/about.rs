//! What causes mean, with the names and numbers that people need.

use std::fmt::Write;
use std::time::Duration;

use super::super::Engine;
use super::{ALL_UP, vip_state};
use crate::announce::{Doubt, DoubtEnd, Fault, GroundCause, GuardEvent, VipCause};
use crate::config::{Dependency, Rung, Vip};
use crate::health::ServiceState;
use crate::prefix::Prefix;

impl Engine {
    /// What there is to say of a cause besides its service and its drain.
    pub(super) fn about(&self, cause: VipCause, vip: &Prefix) -> String {
        match cause {
            VipCause::DependencyDown(dependency) => self.dependency_fault(dependency),
            VipCause::DependencyUndecided(dependency) => {
                format!("waiting for {}, on which it depends", self.dependency_name(dependency))
            }
            VipCause::Rung(rung) => self.healthy_share(vip, rung),
            VipCause::Climb(rung, _) => {
                let below = self.rung(vip, rung).map(|rung| rung.below).unwrap_or_default();
                format!("at least {below}% healthy again; waiting for hold_up to pass")
            }
            VipCause::Suppressed(until) => {
                let penalty = self.announce.damping(self.now, vip).map(|(penalty, _)| penalty).unwrap_or_default();
                let left = until.saturating_duration_since(self.now).as_secs() + 1;
                let left = humantime::format_duration(Duration::from_secs(left));
                format!("healthy; it flaps, with a penalty of {penalty:.0}, and has to be quiet for {left} more")
            }
            VipCause::Doubted(doubt, fault) => {
                let mut text = match fault {
                    Fault::Service(_) => String::new(),
                    Fault::Dependency(dependency) => self.dependency_fault(dependency) + "; ",
                    Fault::Rung(rung) => self.healthy_share(vip, rung) + "; ",
                };
                // Nothing fails to be written to a String.
                let _written = write!(text, "this is doubted: {}", self.doubt_words(doubt));
                text
            }
            VipCause::SelfCheck(index) => self.self_check_fault(index),
            VipCause::Ground(ground) => self.ground_fault(ground, vip),
            _ => String::new(),
        }
    }

    /// Why a VIP is announced: also where it is by one service of several, or by sorry backends.
    pub(super) fn all_up(&self, vip: &Vip) -> String {
        let up = vip.services.iter().filter(|index| self.health.service_state(**index) == ServiceState::Up).count();
        let (all, sorry) = (vip.services.len(), vip.services.iter().filter(|index| self.health.is_on_sorry(**index)));
        let sorry: Vec<&str> =
            sorry.filter_map(|index| self.config.services.get(*index)).map(|service| &*service.name).collect();
        let mut text = match up == all {
            true => ALL_UP.to_owned(),
            false => format!("{up} of {all} services are up, and any will do"),
        };
        if !sorry.is_empty() {
            // Nothing fails to be written to a String.
            let _written = write!(text, "; on sorry backends: {}", sorry.join(", "));
        }
        text
    }

    /// `vip 192.0.2.2/32` or `service dns`.
    pub(in crate::engine) fn dependency_name(&self, dependency: Dependency) -> String {
        match dependency {
            Dependency::Vip(prefix) => format!("vip {prefix}"),
            Dependency::Service(index) => {
                let name = self.config.services.get(index).map(|service| &*service.name).unwrap_or_default();
                format!("service {name}")
            }
        }
    }

    fn dependency_fault(&self, dependency: Dependency) -> String {
        let name = self.dependency_name(dependency);
        let state = match dependency {
            Dependency::Vip(prefix) => self.announce.vip(&prefix).map_or("gone", |status| vip_state(status.state)),
            Dependency::Service(index) => match self.health.service_state(index) {
                ServiceState::Up => "up",
                ServiceState::Undecided => "undecided",
                ServiceState::Down => "down",
                ServiceState::Drained => "drained",
            },
        };
        format!("it depends on {name}, which is {state}")
    }

    fn ground_fault(&self, ground: GroundCause, vip: &Prefix) -> String {
        let bind = self.config.vips.get(vip).and_then(|vip| vip.bind.as_ref());
        let place = bind.map_or("this host", |bind| &*bind.interface);
        let error = self.announce.ground_error(vip, ground).map(|error| format!(": {error}")).unwrap_or_default();
        match ground {
            GroundCause::Address => format!("healthy; waiting for its address on {place}{error}"),
            GroundCause::AddressFailed(_) => format!("healthy, but its address cannot be put on {place}{error}"),
            GroundCause::AddressMissing => format!("its address is not on {place}"),
            GroundCause::DataPlane => format!("healthy; waiting for the data plane{error}"),
            GroundCause::DataPlaneFailed(_) => format!("healthy, but the data plane is not ready{error}"),
        }
    }

    fn healthy_share(&self, vip: &Prefix, rung: usize) -> String {
        let share = self.announce.share(vip).unwrap_or_default();
        let below = self.rung(vip, rung).map(|rung| rung.below).unwrap_or_default();
        format!("{} of {} healthy, which is below {below}%", share.counting, share.total)
    }

    fn rung(&self, vip: &Prefix, rung: usize) -> Option<&Rung> {
        self.config.vips.get(vip)?.ladder.get(rung)
    }

    /// Why Herald doubts its checks.
    pub fn doubt_words(&self, doubt: Doubt) -> String {
        match doubt {
            Doubt::Vips { bad, of } => format!("{bad} of {of} VIPs turned unhealthy at once"),
            Doubt::Backends { bad, of } => format!("{bad} of {of} backends went down at once"),
            Doubt::SelfCheck(index) => self.self_check_fault(index),
        }
    }

    /// What the guard or a self-check has to say.
    pub(in crate::engine) fn guard_words(&self, event: GuardEvent) -> String {
        let name = |index: usize| self.config.self_checks.get(index).map(|own| &*own.name).unwrap_or_default();
        match event {
            GuardEvent::Began { doubt, .. } => {
                format!("what has just turned unhealthy is doubted: {}", self.doubt_words(doubt))
            }
            GuardEvent::Ended { why, unhealthy } => {
                let why = match why {
                    DoubtEnd::Recovered => "enough has recovered",
                    DoubtEnd::SelfChecksPass => "all self-checks pass, so the fault is not ours",
                    DoubtEnd::SelfCheckRecovered => "the self-checks that were the reason pass again",
                    DoubtEnd::Limit => "it has lasted for its limit",
                    DoubtEnd::Unconfigured => "it is no longer configured",
                };
                let s = if unhealthy == 1 { "" } else { "s" };
                format!("nothing is doubted any more: {why}; {unhealthy} VIP{s} still unhealthy")
            }
            GuardEvent::SelfCheckFailed(index) => self.self_check_fault(index),
            GuardEvent::SelfCheckPassed(index) => format!("self-check {} passes", name(index)),
        }
    }

    pub(in crate::engine) fn self_check_fault(&self, index: usize) -> String {
        let Some(own) = self.config.self_checks.get(index) else { return "a self-check fails".to_owned() };
        let failing = own.checks.iter().find(|check| self.health.check(**check).passing == Some(false));
        if failing.is_none() {
            return format!("self-check {} has failed, and passes again", own.name);
        }
        let detail = failing.and_then(|check| self.health.check(*check).last).map(|last| last.detail);
        match detail {
            Some(detail) if !detail.is_empty() => format!("self-check {} fails: {detail}", own.name),
            _ => format!("self-check {} fails", own.name),
        }
    }
}
