//! Decides per VIP, from the state of its services, whether and how it is announced.
//!
//! Pure: services' states come in, wanted routes go out through [`Announce::poll_route`].
//!
//! A VIP is healthy when every service on it is up. `vip` holds the rules for one VIP, `aggregate` those for prefixes that
//! cover VIPs; this file holds all of them, the start-up wait, and the end. `view` is what others may look at.

mod aggregate;
#[cfg(test)]
mod tests;
mod view;
mod vip;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Attributes, Config, GracefulShutdown};
use crate::prefix::Prefix;
use crate::timers::Deadlines;
use aggregate::Aggregates;
use vip::{Drains, Stage, Vip};

pub use aggregate::{AggregateCause, AggregateEvent, AggregateState, AggregateStatus, Tally};

/// An empty queue of events keeps the room of so many, and gives the rest back: storms are rare.
const EVENTS_KEPT: usize = 1024;

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
    /// Not announced, because an operator wants it so.
    Drained,
}

/// Why a VIP is doing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VipCause {
    /// Every service on it is up.
    AllUp,
    /// This service (an index into the configuration) is down; where several are, the first.
    ServiceDown(usize),
    /// This service has no verdict yet. A VIP that is announced stays so meanwhile.
    ServiceUndecided(usize),
    /// The daemon has just started, and other VIPs still wait for their first verdicts.
    StartUp,
    /// Healthy, but not yet for `hold_up`; announced (with its healthy attributes) at this time.
    HoldUp(Instant),
    /// An operator drains it; its route says so (RFC 8326) until it is withdrawn at this time.
    Draining(DrainedBy, Instant),
    /// An operator has drained it.
    Drained(DrainedBy),
    /// The daemon is stopping.
    Stopping,
}

/// What it is that an operator drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainedBy {
    /// The VIP or aggregate itself.
    Itself,
    /// This service, or as many of its backends as it needs (an index into the configuration).
    Service(usize),
    /// Everything.
    All,
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
    /// It would be up, but for what an operator drains.
    Drained,
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

/// How a VIP or an aggregate was announced before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// [`VipState::Announced`] or [`VipState::Degraded`].
    pub state: VipState,
    /// Since when, as far back as the clock goes.
    pub since: Option<Instant>,
}

/// The wait for first verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When it ends, whatever is undecided then.
    pub until: Option<Instant>,
    /// How many VIPs are.
    pub undecided: usize,
}

/// The state of all VIPs and aggregates.
#[derive(Debug)]
pub struct Announce {
    stage: Stage,
    /// When the first configuration came.
    began: Option<Instant>,
    /// End of the start-up wait, or of the drain.
    stage_ends: Option<Instant>,
    /// In the order of their prefixes.
    vips: Vec<Vip>,
    /// For each service its health and the VIPs that it stands on.
    services: Vec<(ServiceHealth, Vec<usize>)>,
    /// VIPs with no service down and one undecided.
    undecided: usize,
    aggregates: Aggregates,
    /// VIPs and aggregates whose route is wanted.
    announced: usize,
    holds: Deadlines<usize>,
    /// The latest word on each route that changed.
    routes: BTreeMap<Prefix, Option<Arc<Attributes>>>,
    events: VecDeque<VipEvent>,
    aggregate_events: VecDeque<AggregateEvent>,
    graceful: GracefulShutdown,
    /// VIPs and aggregates that an operator drains, whether they are configured or not.
    drained: BTreeSet<Prefix>,
    /// An operator drains everything.
    all_drained: bool,
    drain_time: Duration,
    /// What was announced before a restart, of VIPs and aggregates that the first configuration is still to bring.
    remembered: BTreeMap<Prefix, Remembered>,
    /// VIPs looked at, to see that cost follows the change.
    #[cfg(test)]
    touched: usize,
}

impl Announce {
    /// Nothing configured, nothing released: no VIP is announced before the first verdicts are in or
    /// `startup_deadline`, counted from the first [`configure`](Self::configure), has passed.
    pub fn new() -> Announce {
        Announce {
            stage: Stage::StartUp,
            began: None,
            stage_ends: None,
            vips: Vec::new(),
            services: Vec::new(),
            undecided: 0,
            aggregates: Aggregates::default(),
            announced: 0,
            holds: Deadlines::new(),
            routes: BTreeMap::new(),
            events: VecDeque::new(),
            aggregate_events: VecDeque::new(),
            graceful: GracefulShutdown::default(),
            drained: BTreeSet::new(),
            all_drained: false,
            drain_time: Duration::ZERO,
            remembered: BTreeMap::new(),
            #[cfg(test)]
            touched: 0,
        }
    }

    /// The daemon has restarted, and routers may still keep the routes of these VIPs and aggregates. Then none waits for the
    /// others, and every one of these is spoken of by [`poll_route`](Self::poll_route) as soon as it has its verdict, even
    /// if that is no. What has none when the start-up wait is over is not announced, and is new when its verdict comes.
    pub fn resume(remembered: BTreeMap<Prefix, Remembered>) -> Announce {
        Announce { stage: Stage::Restart, remembered, ..Announce::new() }
    }

    /// Replaces the configuration. `health` gives the present health of a service by its index in it.
    ///
    /// Events from before that were not polled are dropped: their indexes no longer mean anything.
    pub fn configure(&mut self, now: Instant, config: &Config, health: &dyn Fn(usize) -> ServiceHealth) {
        self.events.clear();
        self.aggregate_events.clear();
        self.graceful.forget();
        self.drain_time = config.daemon.drain_time;
        let began = *self.began.get_or_insert(now);
        if !self.is_released() {
            self.stage_ends = Some(vip::later(began, config.daemon.startup_deadline));
        }
        self.services = (0..config.services.len()).map(|service| (health(service), Vec::new())).collect();
        let mut before: BTreeMap<Prefix, Vip> =
            std::mem::take(&mut self.vips).into_iter().map(|vip| (vip.prefix, vip)).collect();
        let mut remembered = std::mem::take(&mut self.remembered);
        self.undecided = 0;
        self.holds.clear();
        self.vips.reserve_exact(config.vips.len());
        for (index, (prefix, config)) in config.vips.iter().enumerate() {
            for service in &config.services {
                if let Some((_, vips)) = self.services.get_mut(*service) {
                    vips.push(index);
                }
            }
            let health =
                |service: usize| self.services.get(service).map_or(ServiceHealth::Undecided, |(health, _)| *health);
            let drains = Drains { own: self.drained.contains(prefix), all: self.all_drained };
            let mut vip = Vip::new(now, *prefix, config, before.remove(prefix), drains, &health);
            vip.remembered = vip.remembered.or(remembered.remove(prefix));
            self.undecided += usize::from(!vip.is_decided());
            self.vips.push(vip);
        }
        for vip in before.into_values() {
            self.remove(&vip);
        }
        let vips = &self.vips;
        let index = |vip: &Prefix| vips.binary_search_by_key(vip, |vip| vip.prefix).ok();
        let drained = |prefix: &Prefix| Drains { own: self.drained.contains(prefix), all: self.all_drained };
        for aggregate in self.aggregates.configure(now, config, &drained, &index) {
            self.aggregate_events.extend(aggregate.end());
            if aggregate.standing().is_some() {
                self.announced -= usize::from(aggregate.wanted.is_some());
                self.routes.insert(aggregate.prefix, None);
            }
        }
        for aggregate in &mut self.aggregates.list {
            aggregate.remembered = aggregate.remembered.or(remembered.remove(&aggregate.prefix));
        }
        self.release_if_ready();
        self.review_all(now);
    }

    /// A VIP that is no longer configured.
    fn remove(&mut self, vip: &Vip) {
        if vip.wanted.is_some() || vip.remembered.is_some() {
            self.announced -= usize::from(vip.wanted.is_some());
            self.routes.insert(vip.prefix, None);
        }
        if let Some(shown) = vip.shown {
            let event = VipEvent { vip: vip.prefix, from: Some(shown.state), to: None, cause: shown.cause };
            self.events.push_back(event);
        }
    }

    /// A service's health changed.
    pub fn service_changed(&mut self, now: Instant, service: usize, health: ServiceHealth) {
        let Some((known, vips)) = self.services.get_mut(service) else { return };
        if *known == health {
            return;
        }
        *known = health;
        let vips = std::mem::take(vips);
        for index in &vips {
            let vip = &mut self.vips[*index];
            let was_decided = vip.is_decided();
            vip.set_service(service, health);
            self.undecided = self.undecided + usize::from(was_decided) - usize::from(vip.is_decided());
        }
        if self.release_if_ready() {
            self.review_all(now);
        } else {
            for index in &vips {
                self.review(now, *index);
            }
            self.review_aggregates(now);
        }
        self.services[service].1 = vips;
    }

    /// Ends holds and the start-up wait that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stage_ends.is_some_and(|end| end <= now) {
            self.stage_ends = None;
            self.stage = match self.stage {
                Stage::StartUp | Stage::Restart | Stage::Released => Stage::Released,
                Stage::Draining | Stage::Stopped => Stage::Stopped,
            };
            self.review_all(now);
        }
        while let Some(index) = self.holds.expire(now) {
            self.review(now, index);
        }
        self.aggregates.expire(now);
        self.review_aggregates(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.stage_ends, self.holds.earliest(), self.aggregates.poll_timeout()].into_iter().flatten().min()
    }

    /// The next route that is wanted with these attributes, or no more. Only the latest word on each route.
    pub fn poll_route(&mut self) -> Option<(Prefix, Option<Arc<Attributes>>)> {
        self.routes.pop_first()
    }

    /// The next change to tell of.
    pub fn poll_event(&mut self) -> Option<VipEvent> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events.shrink_to(EVENTS_KEPT);
        }
        event
    }

    /// The next change of an aggregate to tell of; after those of VIPs.
    pub fn poll_aggregate_event(&mut self) -> Option<AggregateEvent> {
        self.aggregate_events.pop_front()
    }

    /// Whether the start-up wait is over: peers may be sent routes.
    pub fn is_released(&self) -> bool {
        !matches!(self.stage, Stage::StartUp | Stage::Restart)
    }

    /// The daemon is stopping. Adds GRACEFUL_SHUTDOWN (RFC 8326) to every announced route when `drain` is not zero,
    /// and withdraws everything when that has passed. Nothing is announced anew from now on; a VIP that turns unhealthy
    /// meanwhile is withdrawn at once. Asked again, the earlier end counts.
    pub fn stop(&mut self, now: Instant, drain: Duration) {
        if self.stage == Stage::Stopped {
            return;
        }
        let mut end = vip::later(now, drain);
        if self.stage == Stage::Draining {
            end = self.stage_ends.map_or(end, |before| before.min(end));
        }
        let drains = end > now && self.announced > 0;
        self.stage = if drains { Stage::Draining } else { Stage::Stopped };
        self.stage_ends = drains.then_some(end);
        self.holds.clear();
        self.review_all(now);
    }

    /// An operator drains this VIP or aggregate from now on, or no more: its route gets GRACEFUL_SHUTDOWN (RFC 8326), and is
    /// withdrawn `drain_time` later. One that is not configured is remembered.
    pub fn drain(&mut self, now: Instant, prefix: Prefix, drained: bool) {
        if drained {
            self.drained.insert(prefix);
        } else {
            self.drained.remove(&prefix);
        }
        if let Ok(index) = self.vips.binary_search_by_key(&prefix, |vip| vip.prefix) {
            self.vips[index].drains.own = drained;
            self.review(now, index);
        }
        self.aggregates.drain(now, &prefix, drained);
        self.review_aggregates(now);
    }

    /// An operator drains every VIP and aggregate, those to come as well, or no more.
    pub fn drain_all(&mut self, now: Instant, drained: bool) {
        self.all_drained = drained;
        for vip in &mut self.vips {
            vip.drains.all = drained;
        }
        self.aggregates.drain_all(now, drained);
        self.review_all(now);
    }

    /// Whether everything has been withdrawn after [`stop`](Self::stop).
    pub fn is_stopped(&self) -> bool {
        matches!(self.stage, Stage::Draining | Stage::Stopped) && self.announced == 0
    }

    /// Ends the start-up wait when nothing is left to wait for; tells whether it did.
    fn release_if_ready(&mut self) -> bool {
        if self.is_released() || self.undecided > 0 {
            return false;
        }
        self.stage = Stage::Released;
        self.stage_ends = None;
        true
    }

    fn review_all(&mut self, now: Instant) {
        for index in 0..self.vips.len() {
            self.review(now, index);
        }
        self.aggregates.touch_all();
        self.review_aggregates(now);
    }

    /// Brings one VIP to what it should be doing now.
    fn review(&mut self, now: Instant, index: usize) {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        let vip = &mut self.vips[index];
        vip.note(now);
        let (state, cause) = vip.decide(now, self.stage, self.drain_time);
        let (hold, drains) = match cause {
            VipCause::HoldUp(until) => (Some(until), false),
            VipCause::Draining(_, until) => (Some(until), true),
            _ => (None, false),
        };
        self.holds.set(index, hold);
        self.events.extend(vip.show(now, state, cause));
        self.aggregates.note(index, vip.prefix, state, drains);

        // What is drained is not announced, whatever its checks will say.
        let is_decided = vip.is_decided() || state == VipState::Drained;
        let mut wanted = vip.attributes(state);
        if drains || self.stage == Stage::Draining {
            wanted = wanted.map(|attributes| self.graceful.on(attributes));
        }
        if wanted != vip.wanted {
            self.announced = self.announced + usize::from(wanted.is_some()) - usize::from(vip.wanted.is_some());
            vip.wanted.clone_from(&wanted);
            self.routes.insert(vip.prefix, wanted);
        } else if vip.remembered.is_some() && is_decided {
            self.routes.insert(vip.prefix, wanted);
        }
        if is_decided || self.stage != Stage::Restart {
            vip.remembered = None;
        }
    }

    /// Brings the aggregates whose members have changed to what they should be doing now.
    fn review_aggregates(&mut self, now: Instant) {
        while let Some((aggregate, ends)) = self.aggregates.next_touched() {
            #[cfg(test)]
            {
                self.touched += 1;
            }
            self.aggregate_events.extend(aggregate.review(now, self.stage, self.drain_time));
            ends.set(aggregate.prefix, aggregate.leaves_at());
            let mut wanted = aggregate.attributes();
            if aggregate.is_leaving() || self.stage == Stage::Draining {
                wanted = wanted.map(|attributes| self.graceful.on(attributes));
            }
            if wanted != aggregate.wanted {
                let (is, was) = (usize::from(wanted.is_some()), usize::from(aggregate.wanted.is_some()));
                self.announced = self.announced + is - was;
                aggregate.wanted.clone_from(&wanted);
                self.routes.insert(aggregate.prefix, wanted);
            } else if aggregate.remembered.is_some() && aggregate.is_decided() {
                self.routes.insert(aggregate.prefix, wanted);
            }
            if aggregate.is_decided() {
                aggregate.remembered = None;
            }
        }
    }
}

impl Default for Announce {
    fn default() -> Announce {
        Announce::new()
    }
}
