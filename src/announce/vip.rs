//! The rules for one VIP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{DrainedBy, Remembered, ServiceHealth, VipCause, VipEvent, VipState, VipStatus};
use crate::config::{self, Attributes, OnDown};
use crate::prefix::Prefix;

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// First verdicts are awaited; nothing is announced.
    StartUp,
    /// Likewise, but routers keep what was announced before a restart: VIPs are announced as they deserve once they have
    /// their own verdicts.
    Restart,
    /// VIPs are announced as they deserve.
    Released,
    /// What is announced stays so a little longer, as long as it is healthy; nothing is announced anew.
    Draining,
    /// Nothing is announced ever again.
    Stopped,
}

/// One VIP.
#[derive(Debug)]
pub(super) struct Vip {
    pub(super) prefix: Prefix,
    /// What was last told of it; `None` before the first [`show`](Self::show).
    pub(super) shown: Option<VipStatus>,
    /// The route that was last asked for.
    pub(super) wanted: Option<Arc<Attributes>>,
    attributes: Arc<Attributes>,
    on_down: OnDown,
    hold_up: Duration,
    /// Its services that are down.
    down: BTreeSet<usize>,
    /// Its services without a verdict.
    undecided: BTreeSet<usize>,
    /// Its services that are drained.
    drained: BTreeSet<usize>,
    /// The operator drains it, or everything.
    pub(super) drains: Drains,
    healthy_since: Option<Instant>,
    /// Since when it is drained, whoever says so.
    drained_since: Option<Instant>,
    /// How it was announced before a restart; `None` once that is decided anew.
    pub(super) remembered: Option<Remembered>,
}

/// What an operator may drain something with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drains {
    /// Itself.
    pub(super) own: bool,
    /// With everything.
    pub(super) all: bool,
}

impl Vip {
    /// As configured, going on from what it was `before` under another configuration.
    pub(super) fn new(
        now: Instant,
        prefix: Prefix,
        config: &config::Vip,
        before: Option<Vip>,
        drains: Drains,
        health: &dyn Fn(usize) -> ServiceHealth,
    ) -> Vip {
        let (shown, wanted, healthy_since, drained_since, remembered) = match before {
            Some(vip) => (vip.shown, vip.wanted, vip.healthy_since, vip.drained_since, vip.remembered),
            None => (None, None, None, None, None),
        };
        let mut vip = Vip {
            prefix,
            shown,
            wanted,
            attributes: config.attributes.clone(),
            on_down: config.on_down.clone(),
            hold_up: config.hold_up,
            down: BTreeSet::new(),
            undecided: BTreeSet::new(),
            drained: BTreeSet::new(),
            drains,
            healthy_since,
            drained_since,
            remembered,
        };
        for service in &config.services {
            vip.set_service(*service, health(*service));
        }
        vip.note(now);
        vip
    }

    /// One of its services is now like this.
    pub(super) fn set_service(&mut self, service: usize, health: ServiceHealth) {
        self.down.remove(&service);
        self.undecided.remove(&service);
        self.drained.remove(&service);
        match health {
            ServiceHealth::Undecided => self.undecided.insert(service),
            ServiceHealth::Down => self.down.insert(service),
            ServiceHealth::Drained => self.drained.insert(service),
            ServiceHealth::Up => false,
        };
    }

    /// Keeps the times since when every service is up, and since when it is drained. A drained service is as good as up:
    /// when it is back, nobody has to wait for `hold_up`.
    pub(super) fn note(&mut self, now: Instant) {
        let healthy = self.down.is_empty() && self.undecided.is_empty();
        self.healthy_since = if healthy { self.healthy_since.or(Some(now)) } else { None };
        self.drained_since = self.drained_by().and(self.drained_since.or(Some(now)));
    }

    /// What drains it, if anything does; the most particular word for it.
    fn drained_by(&self) -> Option<DrainedBy> {
        match (self.drains, self.drained.first()) {
            (Drains { own: true, .. }, _) => Some(DrainedBy::Itself),
            (_, Some(service)) => Some(DrainedBy::Service(*service)),
            (Drains { all: true, .. }, None) => Some(DrainedBy::All),
            (Drains { own: false, all: false }, None) => None,
        }
    }

    /// One service down decides, whatever the others find; else all must be up.
    pub(super) fn is_decided(&self) -> bool {
        !self.down.is_empty() || self.undecided.is_empty()
    }

    /// What it should be doing, and why.
    pub(super) fn decide(&self, now: Instant, stage: Stage, drain_time: Duration) -> (VipState, VipCause) {
        match (stage, self.drained_by()) {
            (Stage::StartUp | Stage::Restart | Stage::Released, Some(by)) => self.decide_drained(now, by, drain_time),
            (Stage::StartUp, None) => self.decide_at_start(),
            (Stage::Restart | Stage::Released, None) => self.decide_in_service(now),
            (Stage::Draining, _) => self.decide_in_drain(),
            (Stage::Stopped, _) => (VipState::Withdrawn, VipCause::Stopping),
        }
    }

    fn decide_at_start(&self) -> (VipState, VipCause) {
        match (self.down.first(), self.undecided.first(), &self.on_down) {
            (Some(service), _, OnDown::Withdraw) => (VipState::Withdrawn, VipCause::ServiceDown(*service)),
            (None, Some(service), _) => (VipState::Holding, VipCause::ServiceUndecided(*service)),
            // Its route is decided, degraded or not, and goes out with the others.
            (Some(_), _, OnDown::Degrade(_)) | (None, None, _) => (VipState::Holding, VipCause::StartUp),
        }
    }

    fn decide_in_service(&self, now: Instant) -> (VipState, VipCause) {
        if let Some(service) = self.down.first() {
            let state = match self.on_down {
                OnDown::Withdraw => VipState::Withdrawn,
                OnDown::Degrade(_) => VipState::Degraded,
            };
            return (state, VipCause::ServiceDown(*service));
        }
        // While it waits for a verdict or for `hold_up`, an announced route stays as it is.
        let waiting = self.announced_as().unwrap_or(VipState::Holding);
        if let Some(service) = self.undecided.first() {
            return (waiting, VipCause::ServiceUndecided(*service));
        }
        let until = later(self.healthy_since.unwrap_or(now), self.hold_up);
        if waiting != VipState::Announced && until > now {
            return (waiting, VipCause::HoldUp(until));
        }
        (VipState::Announced, VipCause::AllUp)
    }

    /// RFC 8326: what is announced says so for a while before it goes, as long as it is healthy.
    fn decide_drained(&self, now: Instant, by: DrainedBy, drain_time: Duration) -> (VipState, VipCause) {
        let until = later(self.drained_since.unwrap_or(now), drain_time);
        match (self.announced_as(), self.down.first()) {
            (Some(VipState::Announced), Some(_)) | (None, _) => (VipState::Drained, VipCause::Drained(by)),
            // Degraded is for the unhealthy: being so is no news.
            (Some(state), _) if until > now => (state, VipCause::Draining(by, until)),
            (Some(_), _) => (VipState::Drained, VipCause::Drained(by)),
        }
    }

    fn decide_in_drain(&self) -> (VipState, VipCause) {
        match (self.announced_as(), self.down.first()) {
            // Degraded is for the unhealthy: being so is no news.
            (Some(VipState::Announced), Some(service)) => (VipState::Withdrawn, VipCause::ServiceDown(*service)),
            (Some(state), _) => (state, VipCause::Stopping),
            (None, Some(service)) => (VipState::Withdrawn, VipCause::ServiceDown(*service)),
            (None, None) => (VipState::Withdrawn, VipCause::Stopping),
        }
    }

    /// The state, if it is one in which a route is announced.
    fn announced_as(&self) -> Option<VipState> {
        let is_announced = |state| matches!(state, VipState::Announced | VipState::Degraded);
        // After a restart the first verdict goes on from what was before: no `hold_up` again for a healthy VIP.
        let remembered = self.remembered.filter(|_| self.is_decided()).map(|remembered| remembered.state);
        let state = self.shown.map(|shown| shown.state).filter(|state| is_announced(*state)).or(remembered)?;
        match (state, &self.on_down) {
            (VipState::Announced, _) => Some(VipState::Announced),
            (VipState::Degraded, OnDown::Degrade(_)) => Some(VipState::Degraded),
            _ => None,
        }
    }

    /// The route's attributes in this state; `None` for no route.
    pub(super) fn attributes(&self, state: VipState) -> Option<Arc<Attributes>> {
        match (state, &self.on_down) {
            (VipState::Announced, _) => Some(self.attributes.clone()),
            (VipState::Degraded, OnDown::Degrade(attributes)) => Some(attributes.clone()),
            _ => None,
        }
    }

    /// Takes on a state; what there is to tell of it.
    pub(super) fn show(&mut self, now: Instant, state: VipState, cause: VipCause) -> Option<VipEvent> {
        let before = self.shown;
        let since = match (before, self.remembered) {
            (Some(before), _) if before.state == state => before.since,
            (_, Some(remembered)) if remembered.state == state => remembered.since.unwrap_or(now),
            _ => now,
        };
        self.shown = Some(VipStatus { state, cause, since });
        // Which of several services it is that makes it wait or stay down is for those who ask, not news.
        let same = before.is_some_and(|before| {
            before.state == state && std::mem::discriminant(&before.cause) == std::mem::discriminant(&cause)
        });
        let from = before.map(|before| before.state);
        (!same).then_some(VipEvent { vip: self.prefix, from, to: Some(state), cause })
    }
}

/// `after` beyond `at`; without end, for this purpose, from a century on.
pub(super) fn later(at: Instant, after: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    at.checked_add(after.min(CENTURY)).unwrap_or(at)
}
