//! Decides per VIP, from the state of its services, whether and how it is announced.
//!
//! Pure: services' states come in, wanted routes go out through [`Announce::poll_route`].
//!
//! A VIP is healthy when the services on it are up, as many as its policy asks for, and what it depends on. `vip` holds the
//! rules for one VIP, with `needs` for what it stands on, `hold` for what keeps it back, and `ladder` for what becomes of it
//! when only a part of it is healthy. `guard` doubts what all VIPs find at once. `aggregate` has the rules for prefixes that
//! cover VIPs. This file holds all of them, the start-up wait, and the end; `configure` replaces them, and `review` brings
//! them to what they should be doing. `cause` says why, and `view` is what others may look at.

mod aggregate;
mod cause;
mod configure;
mod decision;
mod ground;
mod guard;
mod hold;
mod ladder;
mod needs;
mod review;
#[cfg(test)]
mod tests;
mod view;
mod vip;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Attributes, Dependency, GracefulShutdown};
use crate::prefix::Prefix;
use crate::timers::Deadlines;
use aggregate::Aggregates;
use decision::{Stage, later};
use ground::Grounds;
use guard::{Guard, Ruling};
use vip::Vip;

pub use aggregate::{AggregateCause, AggregateEvent, AggregateState, AggregateStatus, Tally};
pub use cause::{Doubt, DrainedBy, Fault, VipCause, VipEvent, VipState, VipStatus};
pub use configure::Knowledge;
pub use ground::{AddressNews, GroundAction, GroundCause};
pub use guard::{DoubtEnd, DoubtStatus, GuardEvent};
pub use hold::Memory;

/// An empty queue of events keeps the room of so many, and gives the rest back: storms are rare.
const EVENTS_KEPT: usize = 1024;

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

/// How much of a service, or of all of a VIP, is healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// So many backends, or so much of their weight, ...
    pub counting: u64,
    /// ... of so much.
    pub total: u64,
}

impl Share {
    /// Whether it is less than so many percent. Of nothing, all is healthy.
    pub fn is_below(&self, percent: u8) -> bool {
        self.total > 0 && u128::from(self.counting) * 100 < u128::from(self.total) * u128::from(percent)
    }

    /// Which of two is the smaller part.
    fn is_less_than(&self, other: &Share) -> bool {
        match (self.total, other.total) {
            (0, _) => false,
            (_, 0) => true,
            _ => {
                u128::from(self.counting) * u128::from(other.total)
                    < u128::from(other.counting) * u128::from(self.total)
            }
        }
    }
}

impl Default for Share {
    /// All of nothing.
    fn default() -> Share {
        Share { counting: 0, total: 0 }
    }
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

/// A service, as this core knows it.
#[derive(Clone, Debug)]
struct Service {
    health: ServiceHealth,
    share: Share,
    /// The VIPs that stand on it, or depend on it.
    vips: Vec<usize>,
}

/// The state of all VIPs and aggregates.
#[derive(Clone, Debug)]
pub struct Announce {
    stage: Stage,
    /// When the first configuration came.
    began: Option<Instant>,
    /// End of the start-up wait, or of the drain.
    stage_ends: Option<Instant>,
    /// In the order of their prefixes.
    vips: Vec<Vip>,
    services: Vec<Service>,
    /// VIPs without a verdict.
    undecided: usize,
    guard: Guard,
    grounds: Grounds,
    /// VIPs that wait for their ground, after a restart.
    waiting: usize,
    /// VIPs that are to be looked at, by their rank and index: none before what it depends on.
    touched_vips: BTreeSet<(u32, usize)>,
    /// What the guard last ruled, as far as VIPs have been told.
    ruling: Ruling,
    all_touched: bool,
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
    memories: BTreeMap<Prefix, Memory>,
    /// Routers may keep what is remembered.
    kept: bool,
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
            guard: Guard::default(),
            grounds: Grounds::default(),
            waiting: 0,
            touched_vips: BTreeSet::new(),
            ruling: Ruling::default(),
            all_touched: false,
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
            memories: BTreeMap::new(),
            kept: false,
            #[cfg(test)]
            touched: 0,
        }
    }

    /// The daemon has restarted, and routers may still keep the routes of these VIPs and aggregates. Then none waits for the
    /// others, and every one of these is spoken of by [`poll_route`](Self::poll_route) as soon as it has its verdict, even
    /// if that is no. What has none when the start-up wait is over is not announced, and is new when its verdict comes.
    pub fn resume(remembered: BTreeMap<Prefix, Remembered>) -> Announce {
        Announce { stage: Stage::Restart, remembered, kept: true, ..Announce::new() }
    }

    /// Before the first [`configure`](Self::configure): how things stood shortly ago. A VIP that was announced, and is
    /// healthy by its first verdicts, has nothing to wait for once the start-up wait is over; holds and penalties go on.
    pub fn inform(&mut self, remembered: BTreeMap<Prefix, Remembered>, memories: BTreeMap<Prefix, Memory>) {
        if self.stage == Stage::StartUp {
            self.remembered = remembered;
        }
        self.memories = memories;
    }

    /// A service's health changed.
    pub fn service_changed(&mut self, now: Instant, service: usize, health: ServiceHealth) {
        let Some(known) = self.services.get_mut(service) else { return };
        if std::mem::replace(&mut known.health, health) == health {
            return;
        }
        let vips = std::mem::take(&mut known.vips);
        for index in &vips {
            let own = self.vips[*index].config().services.contains(&service);
            self.set_health(*index, |needs| match own {
                true => needs.set_service(service, health),
                false => needs.set_dependency(Dependency::Service(service), health),
            });
        }
        self.services[service].vips = vips;
        self.settle(now);
    }

    /// How much of a service is healthy changed. What follows is decided with the next word on something, or by
    /// [`settle`](Self::settle): with what it does to the service itself, if anything.
    pub fn share_changed(&mut self, service: usize, share: Share) {
        let Some(known) = self.services.get_mut(service) else { return };
        if std::mem::replace(&mut known.share, share) == share {
            return;
        }
        let vips = std::mem::take(&mut known.vips);
        for index in &vips {
            if self.has_ladder(*index) {
                self.weigh(*index);
                self.touch(*index);
            }
        }
        self.services[service].vips = vips;
    }

    /// A backend (an index into the backends of a service, by its index) went up or down.
    pub fn backend_changed(&mut self, now: Instant, service: usize, backend: usize, up: bool) {
        self.guard.backend_changed(now, (service, backend), up);
        self.settle(now);
    }

    /// A check's verdict changed. It need not be one of a self-check.
    pub fn check_changed(&mut self, now: Instant, check: usize, passing: bool) {
        self.guard.check_changed(now, check, passing);
        self.settle(now);
    }

    /// A check that was [asked](Self::poll_ask) has passed or failed, in a run that began after that.
    pub fn check_answered(&mut self, now: Instant, check: usize, passed: bool) {
        self.guard.answered(now, check, passed);
        self.settle(now);
    }

    /// The next check that shall run at once, for a [`check_answered`](Self::check_answered) of its own.
    pub fn poll_ask(&mut self) -> Option<usize> {
        self.guard.poll_ask()
    }

    /// Something is known of the addresses of VIPs on this host: for those with `bind` or `require_address`.
    pub fn address_news(&mut self, now: Instant, news: impl IntoIterator<Item = (Prefix, AddressNews)>) {
        for (prefix, news) in news {
            if self.grounds.address_news(now, &prefix, news) {
                self.touch_prefix(&prefix);
            }
        }
        self.settle(now);
    }

    /// The data plane has been readied for a VIP, or has not, and why: answers [`GroundAction::Prepare`] of this number.
    pub fn prepared(&mut self, now: Instant, vip: &Prefix, job: u64, result: Result<(), String>) {
        if self.grounds.prepared(now, vip, job, result) {
            self.touch_prefix(vip);
        }
        self.settle(now);
    }

    /// What is to be done for the ground of VIPs, in order; what goes out in the same moment goes before.
    pub fn take_ground_actions(&mut self) -> Vec<GroundAction> {
        self.grounds.take_actions()
    }

    /// The daemon stops at once: addresses and the data plane are cleared away without a delay.
    pub fn abandon_ground(&mut self) {
        self.grounds.abandon();
    }

    /// Ends holds, doubts and the start-up wait that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stage_ends.is_some_and(|end| end <= now) {
            self.stage_ends = None;
            self.stage = match self.stage {
                Stage::StartUp | Stage::Restart | Stage::Released => Stage::Released,
                Stage::Draining | Stage::Stopped => Stage::Stopped,
            };
            self.touch_all();
        }
        if self.guard.poll_timeout().is_some_and(|at| at <= now) {
            self.guard.handle_timeout(now);
        }
        while let Some(index) = self.holds.expire(now) {
            self.touch(index);
        }
        while let Some(prefix) = self.grounds.expire(now) {
            self.touch_prefix(&prefix);
        }
        self.aggregates.expire(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = [self.stage_ends, self.holds.earliest()];
        let others = [self.aggregates.poll_timeout(), self.guard.poll_timeout(), self.grounds.poll_timeout()];
        own.into_iter().chain(others).flatten().min()
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

    /// The next word of the guard or the self-checks; before those of VIPs.
    pub fn poll_guard_event(&mut self) -> Option<GuardEvent> {
        self.guard.poll_event()
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
        let mut end = later(now, drain);
        if self.stage == Stage::Draining {
            end = self.stage_ends.map_or(end, |before| before.min(end));
        }
        let drains = end > now && self.announced > 0;
        self.stage = if drains { Stage::Draining } else { Stage::Stopped };
        self.stage_ends = drains.then_some(end);
        self.holds.clear();
        self.touch_all();
        self.settle(now);
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
            self.touch(index);
        }
        self.aggregates.drain(now, &prefix, drained);
        self.settle(now);
    }

    /// An operator drains every VIP and aggregate, those to come as well, or no more.
    pub fn drain_all(&mut self, now: Instant, drained: bool) {
        self.all_drained = drained;
        for vip in &mut self.vips {
            vip.drains.all = drained;
        }
        self.aggregates.drain_all(now, drained);
        self.touch_all();
        self.settle(now);
    }

    /// Whether everything has been withdrawn after [`stop`](Self::stop), and every address of ours removed.
    pub fn is_stopped(&self) -> bool {
        matches!(self.stage, Stage::Draining | Stage::Stopped) && self.announced == 0 && self.grounds.is_clear()
    }
}

impl Default for Announce {
    fn default() -> Announce {
        Announce::new()
    }
}
