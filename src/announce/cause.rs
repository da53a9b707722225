//! What VIPs do, and why: what this core tells others.

use std::time::Instant;

use super::GroundCause;
use crate::config::Dependency;
use crate::prefix::Prefix;

/// What a VIP is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VipState {
    /// Announced with its healthy attributes.
    Announced,
    /// Announced with other attributes: those for the unhealthy, or those of a rung of its ladder.
    Degraded,
    /// Unhealthy, and not announced.
    Withdrawn,
    /// Not announced yet: waiting for first verdicts, or for a hold or something else that goes before.
    Holding,
    /// Healthy, and not announced because it flaps.
    Suppressed,
    /// Unhealthy by its checks, which are doubted: announced as it was.
    Frozen,
    /// Not announced, because an operator wants it so.
    Drained,
}

/// Why a VIP is doing it. Indexes are those of the configuration in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipCause {
    /// As many services on it are up as must be, and what it depends on.
    AllUp,
    /// This service is down; where several are, the first.
    ServiceDown(usize),
    /// This service has no verdict yet. A VIP that is announced stays so meanwhile.
    ServiceUndecided(usize),
    /// What it depends on is down.
    DependencyDown(Dependency),
    /// What it depends on is not decided yet, or is about to be announced.
    DependencyUndecided(Dependency),
    /// Too little of it is healthy: this rung of its ladder (an index, 0 the highest) says what becomes of it.
    Rung(usize),
    /// Enough of it is healthy for a higher rung than this: it climbs at this time.
    Climb(usize, Instant),
    /// The daemon has just started, and other VIPs still wait for their first verdicts.
    StartUp,
    /// Healthy, but not yet for `hold_up`; announced (with its healthy attributes) at this time.
    HoldUp(Instant),
    /// Healthy, but it has fallen, and stays down until this time.
    HoldDown(Instant),
    /// Healthy, but it has fallen too often; announced at this time if it stays so.
    Suppressed(Instant),
    /// It would be unhealthy for this reason, but that is doubted.
    Doubted(Doubt, Fault),
    /// Its address or the data plane is not ready.
    Ground(GroundCause),
    /// This self-check fails: everything is withdrawn.
    SelfCheck(usize),
    /// An operator drains it; its route says so (RFC 8326) until it is withdrawn at this time.
    Draining(DrainedBy, Instant),
    /// An operator has drained it.
    Drained(DrainedBy),
    /// The daemon is stopping.
    Stopping,
}

impl VipCause {
    /// Whether a change to it is worth telling: which of several services it is that makes a VIP wait or stay down, and
    /// when a hold ends, is for those who ask.
    pub(super) fn is_news_after(&self, before: &VipCause) -> bool {
        let rung = |cause: &VipCause| match cause {
            VipCause::Rung(rung) | VipCause::Climb(rung, _) => Some(*rung),
            _ => None,
        };
        match (rung(before), rung(self)) {
            (None, None) if let (VipCause::Ground(before), VipCause::Ground(now)) = (before, self) => {
                std::mem::discriminant(before) != std::mem::discriminant(now)
            }
            (None, None) => std::mem::discriminant(before) != std::mem::discriminant(self),
            (before, now) => before != now,
        }
    }

    /// When the VIP is to be looked at again.
    pub fn until(&self) -> Option<Instant> {
        match self {
            VipCause::HoldUp(until)
            | VipCause::HoldDown(until)
            | VipCause::Suppressed(until)
            | VipCause::Climb(_, until)
            | VipCause::Draining(_, until) => Some(*until),
            _ => None,
        }
    }
}

/// What makes a VIP unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This service is down.
    Service(usize),
    /// What it depends on is down.
    Dependency(Dependency),
    /// So little of it is healthy that this rung withdraws it.
    Rung(usize),
}

impl Fault {
    /// As a reason of its own.
    pub fn cause(self) -> VipCause {
        match self {
            Fault::Service(service) => VipCause::ServiceDown(service),
            Fault::Dependency(dependency) => VipCause::DependencyDown(dependency),
            Fault::Rung(rung) => VipCause::Rung(rung),
        }
    }
}

/// Why it is doubted that what is unhealthy is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Too many VIPs turned unhealthy at once.
    Vips {
        /// So many.
        bad: usize,
        /// Of so many that were healthy.
        of: usize,
    },
    /// Too many backends went down at once.
    Backends {
        /// So many.
        bad: usize,
        /// Of so many that were up.
        of: usize,
    },
    /// This self-check fails.
    SelfCheck(usize),
}

/// What it is that an operator drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainedBy {
    /// The VIP or aggregate itself.
    Itself,
    /// This service, or as many of its backends as it needs (an index into the configuration).
    Service(usize),
    /// What it depends on.
    Dependency(Dependency),
    /// Everything.
    All,
}

/// A VIP changed its state or the reason for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VipEvent {
    /// Which.
    pub vip: Prefix,
    /// Before; `None` for a new VIP.
    pub from: Option<VipState>,
    /// Now; `None` for a VIP that is no longer configured.
    pub to: Option<VipState>,
    /// Why.
    pub cause: VipCause,
}

/// A VIP at a glance.
#[derive(Clone, Copy, Debug)]
pub struct VipStatus {
    /// What it is doing.
    pub state: VipState,
    /// Why.
    pub cause: VipCause,
    /// Since when it is in this state.
    pub since: Instant,
}
