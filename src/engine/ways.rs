//! Which routes go which way: to the peers of `[bgp]`, through the gobgpd of `[gobgp]`, or both (`via`).

use std::sync::Arc;
use std::time::Instant;

use super::{Engine, Notice, Output};
use crate::announce::{AggregateState, VipState};
use crate::bgp::drain::Telling;
use crate::config::{Attributes, Config, Via};
use crate::gobgp;
use crate::prefix::Prefix;

impl Engine {
    /// A route shall be announced like this, or not at all, to whom it is for.
    pub(super) fn want(&mut self, prefix: Prefix, wanted: Option<Arc<Attributes>>) {
        let via = via(&self.config, &prefix);
        self.gobgp.set(prefix, wanted.clone().filter(|_| via.gobgp));
        self.speaker.set(prefix, wanted.filter(|_| via.bgp));
    }

    /// A VIP is decided upon, and not for a route: gobgpd need not keep what it has of an earlier life.
    pub(super) fn vip_decided(&mut self, prefix: Prefix, state: Option<VipState>) {
        if let (false, None | Some(VipState::Withdrawn | VipState::Drained)) = (self.released, state) {
            self.gobgp.set(prefix, None);
        }
    }

    /// The same of an aggregate.
    pub(super) fn aggregate_decided(&mut self, prefix: Prefix, state: Option<AggregateState>) {
        if let (false, None | Some(AggregateState::Withdrawn | AggregateState::Drained)) = (self.released, state) {
            self.gobgp.set(prefix, None);
        }
    }

    /// A new configuration is in force, in place of `before`.
    pub(super) fn change_ways(&mut self, now: Instant, before: &Config) {
        let (config, is_first) = (self.config.clone(), !self.has_ways);
        self.has_ways = true;
        self.gobgp.configure(now, config.gobgp.clone());
        let prefixes = || config.vips.keys().chain(config.aggregates.keys()).copied();
        if is_first && config.gobgp.as_ref().is_some_and(|gobgp| gobgp.graceful_restart) {
            for prefix in prefixes().filter(|prefix| via(&config, prefix).gobgp) {
                self.gobgp.leave_undecided(prefix);
            }
        }
        for prefix in prefixes().filter(|prefix| via(&config, prefix) != via(before, prefix)) {
            // What is new is told when it is decided upon.
            if let Some(wanted) = self.announce.wanted(&prefix) {
                self.want(prefix, Some(wanted));
            }
        }
    }

    /// What the announcer wants done goes to the outputs.
    pub(super) fn collect_gobgp(&mut self, now: Instant) {
        self.gobgp.flush(now);
        while let Some(output) = self.gobgp.poll_output() {
            self.outputs.push(match output {
                gobgp::Output::Notice(notice) => Output::Notice(Notice::Gobgp(notice)),
                output => Output::Gobgp(output),
            });
        }
    }

    /// Ends what an operator drains for gobgpd in two steps, as for any peer.
    pub(super) fn expire_gobgp_drain(&mut self, now: Instant) {
        if self.gobgp_drained_at.take_if(|at| *at <= now).is_some() {
            self.gobgp.tell(now, Telling::Nothing);
        }
    }

    pub(super) fn drain_gobgp(&mut self, now: Instant, until: Option<Instant>) {
        self.gobgp_drained_at = until.filter(|until| *until > now);
        let telling = match until {
            None => Telling::Everything,
            Some(until) if until > now => Telling::Graceful,
            Some(_) => Telling::Nothing,
        };
        self.gobgp.tell(now, telling);
    }

    /// Whether some router hears what we say, by whatever way.
    pub(super) fn is_heard(&self) -> bool {
        self.speaker.is_heard() || self.gobgp.is_heard()
    }
}

fn via(config: &Config, prefix: &Prefix) -> Via {
    let vip = config.vips.get(prefix).map(|vip| vip.via);
    let aggregate = || config.aggregates.get(prefix).map(|aggregate| aggregate.via);
    vip.or_else(aggregate).unwrap_or(Via { bgp: false, gobgp: false })
}
