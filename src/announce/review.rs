//! Brings VIPs and aggregates to what they should be doing now. Only what was touched is looked at.

use std::time::Instant;

use super::decision::{Circumstances, Decision, Stage};
use super::vip::{News, Vip};
use super::{Announce, VipCause, VipEvent, VipState};
use crate::config::{Dependency, VipPolicy};
use crate::prefix::Prefix;

impl Announce {
    /// A VIP that is no longer configured.
    pub(super) fn remove(&mut self, vip: &Vip) {
        if vip.wanted.is_some() || vip.remembered.is_some() {
            self.announced -= usize::from(vip.wanted.is_some());
            self.routes.insert(vip.prefix, None);
        }
        if let Some(shown) = vip.shown {
            let event = VipEvent { vip: vip.prefix, from: Some(shown.state), to: None, cause: shown.cause };
            self.events.push_back(event);
        }
    }

    /// Ends the start-up wait when nothing is left to wait for.
    fn release_if_ready(&mut self) {
        // Who keeps a route over our restart shall not be told that this is all while one is being readied, or while it is not
        // known yet whether it has to be.
        let ready = self.stage == Stage::StartUp || (self.waiting == 0 && self.touched_vips.is_empty());
        if !self.is_released() && self.began.is_some() && self.undecided == 0 && ready {
            self.stage = Stage::Released;
            self.stage_ends = None;
            self.touch_all();
        }
    }

    /// Something that concerns every VIP and aggregate has changed.
    pub(super) fn touch_all(&mut self) {
        self.touched_vips = self.vips.iter().enumerate().map(|(index, vip)| (vip.rank, index)).collect();
        self.all_touched = true;
    }

    /// Something that concerns a VIP has changed.
    pub(super) fn touch(&mut self, index: usize) {
        self.touched_vips.extend(self.vips.get(index).map(|vip| (vip.rank, index)));
    }

    pub(super) fn touch_prefix(&mut self, prefix: &Prefix) {
        if let Ok(index) = self.vips.binary_search_by_key(prefix, |vip| vip.prefix) {
            self.touch(index);
        }
    }

    /// Something that a VIP stands on has changed.
    pub(super) fn set_health(&mut self, index: usize, set: impl FnOnce(&mut super::needs::Needs)) {
        let vip = &mut self.vips[index];
        let was_decided = vip.is_decided();
        set(&mut vip.needs);
        self.undecided = self.undecided + usize::from(was_decided) - usize::from(vip.is_decided());
        self.touch(index);
    }

    pub(super) fn has_ladder(&self, index: usize) -> bool {
        self.vips.get(index).is_some_and(|vip| !vip.config().ladder.is_empty())
    }

    /// How much of a VIP with a ladder is healthy: as much as of the worst of its services, or of the best where any will do.
    pub(super) fn weigh(&mut self, index: usize) {
        if !self.has_ladder(index) {
            return;
        }
        let config = self.vips[index].config();
        let mut shares = config.services.iter().filter_map(|service| Some(self.services.get(*service)?.share));
        let share = shares.next().map(|first| {
            shares.fold(first, |one, other| match config.policy {
                VipPolicy::All if other.is_less_than(&one) => other,
                VipPolicy::Any if one.is_less_than(&other) => other,
                VipPolicy::All | VipPolicy::Any => one,
            })
        });
        self.vips[index].set_share(share.unwrap_or_default());
    }

    /// Takes what has changed to its end: to those that depend on it, to what is doubted because of it, to aggregates.
    pub fn settle(&mut self, now: Instant) {
        loop {
            self.release_if_ready();
            let ruling = self.guard.ruling();
            let before = std::mem::replace(&mut self.ruling, ruling);
            if before.broken != ruling.broken {
                self.touch_all();
            } else if before != ruling {
                self.guard.concerned().into_iter().for_each(|index| self.touch(index));
            }
            let Some((_, index)) = self.touched_vips.pop_first() else { break };
            self.review(now, index);
        }
        if std::mem::take(&mut self.all_touched) {
            self.aggregates.touch_all();
        }
        self.review_aggregates(now);
    }

    /// Brings one VIP to what it should be doing now.
    fn review(&mut self, now: Instant, index: usize) {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        let mut circumstances = Circumstances {
            stage: self.stage,
            drain_time: self.drain_time,
            ruling: self.guard.ruling(),
            kept: self.kept,
        };
        let vip = &mut self.vips[index];
        let was_healthy = vip.counts_as_healthy;
        let news = vip.note(now, &circumstances);
        vip.counts_as_healthy = vip.is_healthy();
        self.guard.set_healthy(was_healthy, vip.counts_as_healthy);
        match news {
            News::None => {}
            News::TurnedBad => self.guard.turned_bad(now, index),
            News::Recovered(since) => self.guard.recovered(now, since, index),
        }
        circumstances.ruling = self.guard.ruling();
        let decision = vip.decide(now, &circumstances);
        // What is drained is not announced, whatever its checks will say; nor is anything while we are broken.
        let is_broken = circumstances.ruling.broken.is_some();
        let is_settled = vip.is_decided() || decision.state == VipState::Drained || is_broken;
        let (decision, is_settled) = self.found(now, index, decision, is_settled);
        let (is_bad, is_kept) = (self.vips[index].bad_since.is_some(), self.vips[index].is_kept());
        self.guard.set_doubted(index, is_bad && matches!(decision.cause, VipCause::Doubted(..)));
        self.guard.set_kept(index, is_kept);
        self.holds.set(index, decision.cause.until());
        self.take_on(now, index, &decision, is_settled);
    }

    /// Sees to the ground of a VIP: what is decided when that is taken into account, and whether that is settled.
    fn found(&mut self, now: Instant, index: usize, decision: Decision, is_settled: bool) -> (Decision, bool) {
        let vip = &mut self.vips[index];
        let mut decision = decision;
        if decision.route.is_some() {
            let footing = self.grounds.want(now, &vip.prefix);
            decision = decision.on(footing, vip.wanted.is_some());
        } else if self.stage != Stage::StartUp && (self.stage != Stage::Restart || is_settled) {
            self.grounds.release(now, &vip.prefix);
        }
        let lacks_ground = matches!(decision.cause, VipCause::Ground(_));
        let waits = self.stage == Stage::Restart && lacks_ground;
        let waited = std::mem::replace(&mut vip.waits, waits);
        self.waiting = self.waiting + usize::from(waits) - usize::from(waited);
        (decision, is_settled && !waits)
    }

    /// Shows what was decided, and wants the route that follows.
    fn take_on(&mut self, now: Instant, index: usize, decision: &Decision, is_settled: bool) {
        let vip = &mut self.vips[index];
        self.events.extend(vip.show(now, decision));
        self.aggregates.note(index, vip.prefix, decision);
        let mut wanted = vip.attributes(decision.route);
        if decision.is_leaving() || self.stage == Stage::Draining {
            wanted = wanted.map(|attributes| self.graceful.on(attributes));
        }
        if wanted != vip.wanted {
            self.announced = self.announced + usize::from(wanted.is_some()) - usize::from(vip.wanted.is_some());
            vip.wanted.clone_from(&wanted);
            self.routes.insert(vip.prefix, wanted);
        } else if vip.remembered.is_some() && is_settled && self.stage != Stage::StartUp {
            self.routes.insert(vip.prefix, wanted);
        }
        let is_decided_anew = match self.stage {
            Stage::StartUp => decision.state == VipState::Drained,
            Stage::Restart => is_settled,
            Stage::Released | Stage::Draining | Stage::Stopped => true,
        };
        if is_decided_anew {
            vip.remembered = None;
        }
        let said = vip.health_for_dependents(decision, self.stage);
        if std::mem::replace(&mut vip.said, said) != said {
            self.tell_dependents(index);
        }
    }

    fn tell_dependents(&mut self, index: usize) {
        let (on, said) = (Dependency::Vip(self.vips[index].prefix), self.vips[index].said);
        let dependents = std::mem::take(&mut self.vips[index].dependents);
        for dependent in &dependents {
            self.set_health(*dependent, |needs| needs.set_dependency(on, said));
        }
        self.vips[index].dependents = dependents;
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
