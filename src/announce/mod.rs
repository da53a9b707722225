//! Decides per VIP, from the state of its services, whether and how it is announced.
//!
//! Pure: services' states come in, wanted routes go out through [`Announce::poll_route`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Attributes, Config};
use crate::prefix::Prefix;

/// What a VIP is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipState {
    /// Announced with its healthy attributes.
    Announced,
    /// Unhealthy, and announced with its degraded attributes.
    Degraded,
    /// Unhealthy, and not announced.
    Withdrawn,
    /// Not announced yet: waiting for first verdicts or for `hold_up`.
    Holding,
}

/// Why a VIP is doing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipCause {
    /// Every service on it is up.
    AllUp,
    /// This service (an index into the configuration) is down.
    ServiceDown(usize),
    /// This service has no verdict yet.
    ServiceUndecided(usize),
    /// The daemon has just started, and other VIPs still wait for their first verdicts.
    StartUp,
    /// Healthy, but not yet for `hold_up`; announced at this time.
    HoldUp(Instant),
    /// The daemon is stopping.
    Stopping,
}

/// A service's health, as this core needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceHealth {
    /// No verdict yet.
    Undecided,
    /// Up.
    Up,
    /// Down.
    Down,
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

/// The state of all VIPs.
#[derive(Debug)]
pub struct Announce {
    // private
}

impl Announce {
    /// Nothing configured, nothing released: no VIP is announced before the first verdicts are in or
    /// `startup_deadline`, counted from the first [`configure`](Self::configure), has passed.
    pub fn new() -> Announce {
        todo!()
    }

    /// Replaces the configuration. `health` gives the present health of a service by its index in it.
    pub fn configure(&mut self, now: Instant, config: Arc<Config>, health: &dyn Fn(usize) -> ServiceHealth) {
        let _ = (now, config, health);
        todo!()
    }

    /// A service's health changed.
    pub fn service_changed(&mut self, now: Instant, service: usize, health: ServiceHealth) {
        let _ = (now, service, health);
        todo!()
    }

    /// Ends holds and the start-up wait that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// The next route that is wanted with these attributes, or no more.
    pub fn poll_route(&mut self) -> Option<(Prefix, Option<Arc<Attributes>>)> {
        todo!()
    }

    /// The next change to tell of.
    pub fn poll_event(&mut self) -> Option<VipEvent> {
        todo!()
    }

    /// Whether the start-up wait is over: peers may be sent routes.
    pub fn is_released(&self) -> bool {
        todo!()
    }

    /// The daemon is stopping. Adds GRACEFUL_SHUTDOWN (RFC 8326) to every announced route when `drain` is not zero,
    /// and withdraws everything when that has passed. Nothing is announced anew from now on; a VIP that turns unhealthy
    /// meanwhile is withdrawn at once.
    pub fn stop(&mut self, now: Instant, drain: Duration) {
        let _ = (now, drain);
        todo!()
    }

    /// Whether everything has been withdrawn after [`stop`](Self::stop).
    pub fn is_stopped(&self) -> bool {
        todo!()
    }

    /// A VIP at a glance.
    pub fn vip(&self, vip: &Prefix) -> Option<VipStatus> {
        let _ = vip;
        todo!()
    }
}

impl Default for Announce {
    fn default() -> Announce {
        Announce::new()
    }
}
