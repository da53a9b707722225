//! What others see of the VIPs and aggregates.

use std::sync::Arc;
use std::time::Instant;

use super::decision::Stage;
use super::vip::Vip;
use super::{AggregateStatus, Announce, DoubtStatus, GroundCause, Memory, Remembered, Share, VipStatus, Wait};
use crate::config::Attributes;
use crate::prefix::Prefix;

impl Announce {
    /// Whether it is the start-up wait after a [`resume`](Self::resume).
    pub fn has_restarted(&self) -> bool {
        self.stage == Stage::Restart
    }

    /// The start-up wait, while it lasts.
    pub fn wait(&self) -> Option<Wait> {
        (!self.is_released()).then_some(Wait { until: self.stage_ends, undecided: self.undecided })
    }

    /// VIPs without a verdict. O(all).
    pub fn undecided(&self) -> impl Iterator<Item = Prefix> {
        self.vips.iter().filter(|vip| !vip.is_decided()).map(|vip| vip.prefix)
    }

    /// Aggregates that are announced, or kept by routers until they are decided upon after a restart. O(all).
    pub fn standing_aggregates(&self) -> impl Iterator<Item = (Prefix, Remembered)> {
        self.aggregates.list.iter().filter_map(|aggregate| Some((aggregate.prefix, aggregate.standing()?)))
    }

    /// The same of VIPs.
    pub fn standing_vips(&self) -> impl Iterator<Item = (Prefix, Remembered)> {
        self.vips.iter().filter_map(|vip| {
            let shown = vip.shown.filter(|_| vip.wanted.is_some());
            let standing = shown.map(|shown| Remembered { state: vip.stands(), since: Some(shown.since) });
            Some((vip.prefix, standing.or(vip.remembered)?))
        })
    }

    /// A VIP at a glance.
    pub fn vip(&self, vip: &Prefix) -> Option<VipStatus> {
        let index = self.vips.binary_search_by_key(vip, |vip| vip.prefix).ok()?;
        self.vips.get(index)?.shown
    }

    /// The route of a VIP or aggregate that is wanted now.
    pub fn wanted(&self, prefix: &Prefix) -> Option<Arc<Attributes>> {
        let vip = self.vips.binary_search_by_key(prefix, |vip| vip.prefix).ok().and_then(|index| self.vips.get(index));
        vip.map_or_else(|| self.aggregates.wanted(prefix), |vip| vip.wanted.clone())
    }

    /// Why the ground of a VIP is not ready, in the words of those who tried.
    pub fn ground_error(&self, vip: &Prefix, cause: GroundCause) -> Option<&str> {
        self.grounds.error(vip, cause)
    }

    /// What a restart has to know of VIPs that something holds back, or has. O(all).
    pub fn memories(&self) -> impl Iterator<Item = (Prefix, Memory)> {
        self.vips.iter().filter_map(|vip| Some((vip.prefix, vip.memory()?)))
    }

    /// How much of a VIP with a ladder is healthy.
    pub fn share(&self, vip: &Prefix) -> Option<Share> {
        let index = self.vips.binary_search_by_key(vip, |vip| vip.prefix).ok()?;
        self.vips.get(index).map(Vip::share)
    }

    /// The doubt that is in force, if there is one.
    pub fn doubt(&self) -> Option<DoubtStatus> {
        self.guard.status()
    }

    /// The penalty of a VIP for its falls, and until when it is suppressed; `None` where there is no damping.
    pub fn damping(&self, now: Instant, vip: &Prefix) -> Option<(f64, Option<Instant>)> {
        let index = self.vips.binary_search_by_key(vip, |vip| vip.prefix).ok()?;
        self.vips.get(index)?.damping(now)
    }

    /// An aggregate at a glance.
    pub fn aggregate(&self, prefix: &Prefix) -> Option<AggregateStatus> {
        self.aggregates.status(prefix)
    }
}
