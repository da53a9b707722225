//! Prefixes that cover VIPs: announced while enough of their members are.
//!
//! An aggregate keeps counts. A VIP that changes what it is to its aggregates touches those, and nothing is scanned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decision::{Decision, Route, Stage, later};
use super::vip::Drains;
use super::{DrainedBy, Remembered, VipState};
use crate::config::{self, Attributes, Config};
use crate::prefix::Prefix;
use crate::timers::Deadlines;

/// What an aggregate is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateState {
    /// Announced.
    Announced,
    /// Not announced.
    Withdrawn,
    /// Not announced yet: waiting for first verdicts.
    Holding,
    /// Not announced, because an operator wants it so.
    Drained,
}

/// Why an aggregate is doing it. The numbers are in its [`Tally`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateCause {
    /// Enough members are healthy, or were, and whether they still are is not known yet.
    Enough,
    /// Too few members are healthy.
    TooFew,
    /// The daemon has just started, and waits for first verdicts.
    StartUp,
    /// Too few members would be healthy without those that are being drained: it says that it will go (RFC 8326), as they do.
    MembersLeave,
    /// An operator drains it; its route says so (RFC 8326) until it is withdrawn at this time.
    Draining(DrainedBy, Instant),
    /// An operator has drained it.
    Drained(DrainedBy),
    /// The daemon is stopping.
    Stopping,
}

/// The members of an aggregate, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Announced with their healthy attributes, and not being drained.
    pub healthy: usize,
    /// All.
    pub members: usize,
    /// How many must be healthy.
    pub required: usize,
}

/// An aggregate changed its state or the reason for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregateEvent {
    /// Which.
    pub aggregate: Prefix,
    /// Before; `None` for a new one.
    pub from: Option<AggregateState>,
    /// Now; `None` for one that is no longer configured.
    pub to: Option<AggregateState>,
    /// Why.
    pub cause: AggregateCause,
    /// How many members are healthy, and how many must be.
    pub tally: Tally,
    /// The member that made the difference, when it was one.
    pub tipped_by: Option<Prefix>,
}

/// An aggregate at a glance.
#[derive(Clone, Copy, Debug)]
pub struct AggregateStatus {
    /// What it is doing.
    pub state: AggregateState,
    /// Why.
    pub cause: AggregateCause,
    /// Since when it is in this state.
    pub since: Instant,
    /// How many members are healthy, and how many must be.
    pub tally: Tally,
}

/// What a VIP is to the aggregates that it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// It does not count.
    #[default]
    Out,
    /// It may count once it is decided, or its `hold_up` has passed.
    Open,
    /// It is healthy, and announced for a while longer: it is being drained.
    Leaving,
    /// It counts.
    Healthy,
}

impl Standing {
    /// A member that is degraded because it is unhealthy is announced, but not healthy. Where that is doubted, it is.
    fn of(decision: &Decision) -> Standing {
        match decision.route {
            Some(Route::Healthy(_) | Route::Doubtful) if decision.is_leaving() => Standing::Leaving,
            Some(Route::Healthy(_) | Route::Doubtful) => Standing::Healthy,
            None if decision.state == VipState::Holding => Standing::Open,
            Some(Route::Unhealthy) | None => Standing::Out,
        }
    }

    fn is_announced(self) -> bool {
        matches!(self, Standing::Healthy | Standing::Leaving)
    }
}

/// All aggregates.
#[derive(Clone, Debug, Default)]
pub(super) struct Aggregates {
    /// In the order of their prefixes.
    pub(super) list: Vec<Aggregate>,
    /// For each VIP, by its index, what it is to these aggregates.
    members: Vec<(Standing, Vec<usize>)>,
    /// Aggregates with a member that changed.
    touched: BTreeSet<usize>,
    /// Ends of drains.
    ends: Deadlines<Prefix>,
}

/// One aggregate.
#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    pub(super) prefix: Prefix,
    attributes: Arc<Attributes>,
    tally: Tally,
    /// Members that may yet count.
    open: usize,
    /// Members that are being drained.
    leaving: usize,
    /// A healthy member was lost since the last review.
    lost: bool,
    drains: Drains,
    drained_since: Option<Instant>,
    tipped_by: Option<Prefix>,
    shown: Option<(AggregateState, AggregateCause, Instant)>,
    /// It was announced before a restart; `None` once that is decided anew.
    pub(super) remembered: Option<Remembered>,
    /// The route that was last asked for.
    pub(super) wanted: Option<Arc<Attributes>>,
}

impl Aggregates {
    /// Replaces the configuration: all members are out until they are [noted](Self::note). `vip` finds the index of a VIP.
    /// Returns the aggregates that are no longer configured.
    pub(super) fn configure(
        &mut self,
        now: Instant,
        config: &Config,
        drained: &dyn Fn(&Prefix) -> Drains,
        vip: &dyn Fn(&Prefix) -> Option<usize>,
    ) -> Vec<Aggregate> {
        let mut before: BTreeMap<Prefix, Aggregate> =
            std::mem::take(&mut self.list).into_iter().map(|aggregate| (aggregate.prefix, aggregate)).collect();
        // Few have any aggregates, and many VIPs.
        let vips = if config.aggregates.is_empty() { 0 } else { config.vips.len() };
        self.members = vec![Default::default(); vips];
        for (index, (prefix, config)) in config.aggregates.iter().enumerate() {
            for member in config.members.iter().filter_map(vip) {
                self.members[member].1.push(index);
            }
            let mut aggregate = Aggregate::new(*prefix, config, before.remove(prefix));
            aggregate.set_drains(now, drained(prefix));
            self.list.push(aggregate);
        }
        for prefix in before.keys() {
            self.ends.set(*prefix, None);
        }
        self.touch_all();
        before.into_values().collect()
    }

    /// An operator drains one of them, or no more.
    pub(super) fn drain(&mut self, now: Instant, prefix: &Prefix, drained: bool) {
        if let Some(index) = self.find(prefix) {
            let drains = Drains { own: drained, ..self.list[index].drains };
            self.list[index].set_drains(now, drains);
            self.touched.insert(index);
        }
    }

    /// An operator drains all of them, or no more.
    pub(super) fn drain_all(&mut self, now: Instant, drained: bool) {
        for aggregate in &mut self.list {
            aggregate.set_drains(now, Drains { all: drained, ..aggregate.drains });
        }
    }

    /// Those whose drain is due to end are to be reviewed.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(prefix) = self.ends.expire(now) {
            self.touched.extend(self.find(&prefix));
        }
    }

    /// When [`expire`](Self::expire) has work.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ends.earliest()
    }

    /// This is what becomes of a VIP.
    pub(super) fn note(&mut self, index: usize, vip: Prefix, decision: &Decision) {
        let Some((standing, aggregates)) = self.members.get_mut(index) else { return };
        let before = std::mem::replace(standing, Standing::of(decision));
        if before == *standing {
            return;
        }
        for index in aggregates {
            self.list[*index].count(vip, before, *standing);
            self.touched.insert(*index);
        }
    }

    /// All are to be reviewed; no single member is the reason for what that brings.
    pub(super) fn touch_all(&mut self) {
        self.touched.extend(0..self.list.len());
        for aggregate in &mut self.list {
            aggregate.tipped_by = None;
        }
    }

    /// The next one that is to be reviewed, and where to keep when its drain ends.
    pub(super) fn next_touched(&mut self) -> Option<(&mut Aggregate, &mut Deadlines<Prefix>)> {
        let index = self.touched.pop_first()?;
        Some((self.list.get_mut(index)?, &mut self.ends))
    }

    /// An aggregate at a glance.
    pub(super) fn status(&self, prefix: &Prefix) -> Option<AggregateStatus> {
        let aggregate = self.list.get(self.find(prefix)?)?;
        let (state, cause, since) = aggregate.shown?;
        Some(AggregateStatus { state, cause, since, tally: aggregate.tally })
    }

    /// The route that is wanted.
    pub(super) fn wanted(&self, prefix: &Prefix) -> Option<Arc<Attributes>> {
        self.list.get(self.find(prefix)?)?.wanted.clone()
    }

    fn find(&self, prefix: &Prefix) -> Option<usize> {
        self.list.binary_search_by_key(prefix, |aggregate| aggregate.prefix).ok()
    }
}

impl Aggregate {
    /// As configured, going on from what it was `before`.
    fn new(prefix: Prefix, config: &config::Aggregate, before: Option<Aggregate>) -> Aggregate {
        let members = config.members.len();
        let (shown, wanted, drained_since, remembered) = before.map_or((None, None, None, None), |before| {
            (before.shown, before.wanted, before.drained_since, before.remembered)
        });
        Aggregate {
            prefix,
            attributes: config.attributes.clone(),
            tally: Tally { healthy: 0, members, required: config.required.of(members) },
            open: 0,
            leaving: 0,
            lost: false,
            drains: Drains::default(),
            drained_since,
            tipped_by: None,
            shown,
            remembered,
            wanted,
        }
    }

    fn set_drains(&mut self, now: Instant, drains: Drains) {
        self.drains = drains;
        self.drained_since = self.drained_by().and(self.drained_since.or(Some(now)));
    }

    fn drained_by(&self) -> Option<DrainedBy> {
        match self.drains {
            Drains { own: true, .. } => Some(DrainedBy::Itself),
            Drains { all: true, .. } => Some(DrainedBy::All),
            Drains { own: false, all: false } => None,
        }
    }

    fn count(&mut self, vip: Prefix, before: Standing, now: Standing) {
        let was_enough = self.tally.healthy >= self.tally.required;
        match before {
            Standing::Healthy => self.tally.healthy -= 1,
            Standing::Leaving => self.leaving -= 1,
            Standing::Open => self.open -= 1,
            Standing::Out => {}
        }
        match now {
            Standing::Healthy => self.tally.healthy += 1,
            Standing::Leaving => self.leaving += 1,
            Standing::Open => self.open += 1,
            Standing::Out => {}
        }
        self.lost |= before.is_announced() && !now.is_announced();
        if was_enough != (self.tally.healthy >= self.tally.required) {
            self.tipped_by = Some(vip);
        }
    }

    /// As a service does: in between, when it takes members that are not decided yet to know, it keeps its state, but not
    /// past the loss of a member.
    fn is_enough(&self) -> bool {
        let announced = self.tally.healthy + self.leaving;
        let in_reach = announced + self.open >= self.tally.required && !self.lost;
        announced >= self.tally.required || (in_reach && self.wanted.is_some())
    }

    fn decide(&self, now: Instant, stage: Stage, drain_time: Duration) -> (AggregateState, AggregateCause) {
        let enough = self.is_enough();
        if let (Stage::StartUp | Stage::Restart | Stage::Released, Some(by)) = (stage, self.drained_by()) {
            let until = later(self.drained_since.unwrap_or(now), drain_time);
            if enough && self.wanted.is_some() && until > now {
                return (AggregateState::Announced, AggregateCause::Draining(by, until));
            }
            return (AggregateState::Drained, AggregateCause::Drained(by));
        }
        match stage {
            Stage::Restart | Stage::Released
                if enough && self.leaving > 0 && self.tally.healthy < self.tally.required =>
            {
                (AggregateState::Announced, AggregateCause::MembersLeave)
            }
            Stage::StartUp => (AggregateState::Holding, AggregateCause::StartUp),
            // Where it takes members that are not decided yet to know, routers keep what they have.
            Stage::Restart if !enough && self.tally.healthy + self.open >= self.tally.required => {
                (AggregateState::Holding, AggregateCause::StartUp)
            }
            Stage::Restart | Stage::Released if enough => (AggregateState::Announced, AggregateCause::Enough),
            Stage::Draining if enough && self.wanted.is_some() => (AggregateState::Announced, AggregateCause::Stopping),
            Stage::Restart | Stage::Released | Stage::Draining if !enough => {
                (AggregateState::Withdrawn, AggregateCause::TooFew)
            }
            Stage::Restart | Stage::Released | Stage::Draining | Stage::Stopped => {
                (AggregateState::Withdrawn, AggregateCause::Stopping)
            }
        }
    }

    /// Takes on the state that it should be in; what there is to tell of it.
    pub(super) fn review(&mut self, now: Instant, stage: Stage, drain_time: Duration) -> Option<AggregateEvent> {
        let (state, cause) = self.decide(now, stage, drain_time);
        self.lost = false;
        let tipped_by = self.tipped_by.take();
        let before = self.shown;
        let since = match (before, self.remembered.and_then(|remembered| remembered.since)) {
            (Some(before), _) if before.0 == state => before.2,
            (_, Some(since)) if state == AggregateState::Announced => since,
            _ => now,
        };
        self.shown = Some((state, cause, since));
        let same = before.is_some_and(|before| (before.0, before.1) == (state, cause));
        (!same).then_some(AggregateEvent {
            aggregate: self.prefix,
            from: before.map(|before| before.0),
            to: Some(state),
            cause,
            tally: self.tally,
            tipped_by,
        })
    }

    /// Whether its route is to say that it will go.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaves_at().is_some() || self.shown.is_some_and(|shown| shown.1 == AggregateCause::MembersLeave)
    }

    /// When its drain ends, while it waits for that.
    pub(super) fn leaves_at(&self) -> Option<Instant> {
        match self.shown?.1 {
            AggregateCause::Draining(_, until) => Some(until),
            _ => None,
        }
    }

    /// Whether it is known if it shall be announced.
    pub(super) fn is_decided(&self) -> bool {
        self.shown.is_some_and(|shown| shown.0 != AggregateState::Holding)
    }

    /// How it stands at routers.
    pub(super) fn standing(&self) -> Option<Remembered> {
        let shown = self.shown.filter(|_| self.wanted.is_some());
        let standing = shown.map(|shown| Remembered { state: VipState::Announced, since: Some(shown.2) });
        standing.or(self.remembered)
    }

    /// The attributes of its route in the state that it is in; `None` for no route.
    pub(super) fn attributes(&self) -> Option<Arc<Attributes>> {
        self.shown.filter(|shown| shown.0 == AggregateState::Announced).map(|_| self.attributes.clone())
    }

    /// It is no longer configured: what there is to tell of that.
    pub(super) fn end(&self) -> Option<AggregateEvent> {
        self.shown.map(|(state, cause, _)| AggregateEvent {
            aggregate: self.prefix,
            from: Some(state),
            to: None,
            cause,
            tally: self.tally,
            tipped_by: None,
        })
    }
}
