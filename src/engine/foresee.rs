//! What a configuration would make of the announcements, tried out on a double of the engine that nobody hears.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::aggregate::aggregate_state;
use super::status::{ServiceReasons, vip_state};
use super::{Engine, Input};
use crate::config::{Attributes, Config};
use crate::prefix::Prefix;

/// What becomes of one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreseen {
    /// The VIP or aggregate.
    pub prefix: String,
    /// Its state before; `None` for one that is new.
    pub from: Option<String>,
    /// Its state after; `None` for one that goes.
    pub to: Option<String>,
    /// Why it changes state.
    pub reason: Option<String>,
    /// The attributes that it is announced with before, as they are written in configuration; `None` while it is not.
    pub route_before: Option<String>,
    /// The same after.
    pub route_after: Option<String>,
}

/// The states and routes of all VIPs and aggregates at one moment.
#[derive(Debug)]
pub struct Routes(BTreeMap<Prefix, (&'static str, Option<Arc<Attributes>>)>);

impl Engine {
    /// One that knows and judges what this one does, and tells nobody: it has no peers. It costs a copy of all checks and VIPs.
    pub fn double(&self) -> Engine {
        Engine {
            config: self.config.clone(),
            health: self.health.clone(),
            announce: self.announce.clone(),
            drains: self.drains.clone(),
            drain_ends: self.drain_ends.clone(),
            ..Engine::new(self.now, 1)
        }
    }

    /// What taking `next` changes at once about the announcements; for a [double](Self::double), which is of no use
    /// afterwards. What takes time, such as the first verdict of a new check, shows in the states.
    pub fn foresee(&mut self, now: Instant, next: &Config) -> Vec<Foreseen> {
        let before = self.routes();
        let next = Config { bgp: None, gobgp: None, glb: None, ..next.clone() };
        self.handle(now, Input::Configure(Arc::new(next)));
        self.changed_since(&before)
    }

    /// To be compared with what will be.
    pub fn routes(&self) -> Routes {
        let vips = self.config.vips.keys().filter_map(|vip| Some((*vip, vip_state(self.announce.vip(vip)?.state))));
        let aggregates = self.config.aggregates.keys();
        let aggregates =
            aggregates.filter_map(|prefix| Some((*prefix, aggregate_state(self.announce.aggregate(prefix)?.state))));
        let all = vips.chain(aggregates);
        Routes(all.map(|(prefix, state)| (prefix, (state, self.announce.wanted(&prefix)))).collect())
    }

    /// What is different from then, in the order of the prefixes.
    pub fn changed_since(&self, before: &Routes) -> Vec<Foreseen> {
        let (before, after) = (&before.0, &self.routes().0);
        let prefixes: BTreeSet<&Prefix> = before.keys().chain(after.keys()).collect();
        let differing = prefixes.into_iter().filter(|prefix| before.get(prefix) != after.get(prefix));
        let mut known = ServiceReasons::new();
        let foreseen = differing.map(|prefix| {
            let state = |routes: &BTreeMap<_, (&'static str, _)>| Some(routes.get(prefix)?.0.to_owned());
            let route =
                |routes: &BTreeMap<_, (_, Option<Arc<Attributes>>)>| Some(routes.get(prefix)?.1.as_ref()?.to_string());
            let (from, to) = (state(before), state(after));
            Foreseen {
                prefix: prefix.to_string(),
                reason: if from == to { None } else { self.why_so(prefix, &mut known) },
                from,
                to,
                route_before: route(before),
                route_after: route(after),
            }
        });
        foreseen.collect()
    }

    fn why_so(&self, prefix: &Prefix, known: &mut ServiceReasons) -> Option<String> {
        if let Some(status) = self.announce.vip(prefix) {
            return Some(self.reason(status.cause, prefix, known).to_string());
        }
        let status = self.announce.aggregate(prefix)?;
        Some(self.aggregate_reason(status.cause, status.tally, None, prefix).to_string())
    }
}
