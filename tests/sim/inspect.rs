//! The rules that look at the whole: tables against what they must be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use herald::config::{Attributes, Config, Vip};
use herald::prefix::Family;

use crate::backend::Servers;
use crate::router::Router;
use crate::rules::{DOWN, UP, detection_limit, families, route};
use crate::wire::Route;
use crate::world::World;

/// After so long without trouble everything must be as it should be: retries after errors wait up to a minute.
const CALM: Duration = Duration::from_secs(80);

impl Router {
    /// Its session is up, it reads, and everything that Herald had to say at first has come.
    pub(crate) fn is_in_step(&self) -> bool {
        let reads = |link: &&crate::link::Link| {
            link.established && !link.stalled && link.unreported == 0 && link.queue.is_empty() && link.cause.is_none()
        };
        let Some(link) = self.link().filter(reads) else { return false };
        families(self).all(|family| link.ends_of_rib[family as usize] == 1)
    }
}

/// Why a VIP should be down: the service, the backend's place, and its failing check. A service without failing checks
/// stands for itself: too few of its backends are allowed to count.
pub(crate) type Wrong = BTreeSet<(usize, usize, Option<usize>)>;

fn what_is_wrong(config: &Config, servers: &Servers, vip: &Vip) -> Wrong {
    let mut wrong = Wrong::new();
    for at in &vip.services {
        let service = &config.services[*at];
        let mut failing = Wrong::new();
        let mut good = 0;
        for (place, backend) in service.backends.iter().enumerate() {
            let checks = backend.checks.iter().map(|used| used.check);
            let passes = |check: &usize| {
                let check = &config.checks[*check];
                servers.passes(&check.probe, check.timing.timeout)
            };
            let failed: Vec<usize> = checks.filter(|check| !passes(check)).collect();
            let eligible = backend.enabled && backend.weight > 0;
            good += usize::from(eligible && failed.is_empty());
            failing.extend(failed.into_iter().filter(|_| eligible).map(|check| (*at, place, Some(check))));
        }
        if good < service.required.up.of(service.backends.len()) {
            wrong.extend(failing);
            wrong.insert((*at, usize::MAX, None));
        }
    }
    wrong
}

/// When it has been found at the latest: the first service to be down decides, in it the last backend, and of that the
/// first check.
fn limit(config: &Config, wrong: &Wrong) -> Duration {
    let mut services: BTreeMap<usize, BTreeMap<usize, Duration>> = BTreeMap::new();
    for (service, place, check) in wrong {
        let backends = services.entry(*service).or_default();
        if let Some(check) = check {
            let limit = detection_limit(&config.checks[*check]);
            let first = backends.entry(*place).or_insert(limit);
            *first = limit.min(*first);
        }
    }
    let last = |backends: BTreeMap<usize, Duration>| backends.into_values().max().unwrap_or_default();
    services.into_values().map(last).min().unwrap_or_default()
}

impl World {
    /// Keeps, for each VIP that should be down, since when and why.
    pub(crate) fn note_truth(&mut self, reloaded: bool) {
        let mut dead = std::mem::take(&mut self.dead);
        for (prefix, vip) in &self.config.vips {
            let wrong = what_is_wrong(&self.config, &self.servers, vip);
            if wrong.is_empty() {
                dead.remove(prefix);
            } else if reloaded || dead.get(prefix).is_none_or(|(before, _)| *before != wrong) {
                dead.insert(*prefix, (wrong, self.now));
            }
        }
        dead.retain(|prefix, _| self.config.vips.contains_key(prefix));
        self.dead = dead;
        self.calm_since = self.now;
    }

    /// After every step.
    pub(crate) fn check(&mut self) {
        if !self.rules.may_send {
            let deadline = self.start + self.config.daemon.startup_deadline;
            self.rules.may_send = self.now >= deadline || self.oracle.may_all_be_decided();
        }
        if std::mem::take(&mut self.oracle.stale) | std::mem::take(&mut self.dirty) {
            self.compare_tables();
        }
    }

    /// Every router that is in step holds exactly what the second mind says.
    fn compare_tables(&mut self) {
        if self.stopping.is_some() || !self.drained.is_empty() || self.judged_elsewhere {
            return;
        }
        for (name, router) in self.routers.iter().filter(|(_, router)| router.is_in_step()) {
            let held = &router.link().expect("it is in step").routes;
            for prefix in held.keys() {
                let known = self.config.vips.contains_key(prefix) || self.config.aggregates.contains_key(prefix);
                assert!(known, "{name} holds {prefix}, which is no VIP and covers none");
            }
            // Neighbours in the table mostly share their attributes.
            let mut last: Option<(Arc<Attributes>, Family, Option<Arc<Route>>)> = None;
            for prefix in self.config.vips.keys() {
                let Ok(wanted) = self.oracle.wanted(self.now, prefix) else { continue };
                let wanted = wanted.filter(|_| router.config.live.export.allows(prefix)).and_then(|attributes| {
                    let known = last.take().filter(|(a, f, _)| Arc::ptr_eq(a, &attributes) && *f == prefix.family());
                    let route = known.map_or_else(|| route(router, prefix, &attributes), |(_, _, route)| route);
                    last = Some((attributes, prefix.family(), route.clone()));
                    route
                });
                assert_eq!(held.get(prefix), wanted.as_ref(), "{name} and {prefix}");
                self.rules.count("table");
                if self.pool.is_starved() && wanted.is_some() {
                    self.rules.count("announced while starved");
                }
            }
            for (prefix, aggregate) in &self.config.aggregates {
                let Some(enough) = self.oracle.covers(self.now, aggregate) else { continue };
                let wanted = enough && router.config.live.export.allows(prefix);
                let wanted = wanted.then(|| route(router, prefix, &aggregate.attributes)).flatten();
                assert_eq!(held.get(prefix), wanted.as_ref(), "{name} and {prefix}");
                self.rules.count("aggregate");
            }
        }
    }

    /// Once a second: what only time brings about.
    pub(crate) fn inspect(&mut self) {
        self.dirty = true;
        for router in self.routers.values_mut() {
            router.check_silence(self.now, &mut self.rules);
            if let Some(link) = router.link_mut().filter(|link| link.cause.is_none()) {
                link.check_refresh(self.now, &mut self.rules);
            }
        }
        if self.stopping.is_none() && self.drained.is_empty() && !self.judged_elsewhere {
            self.check_dead();
            self.check_start();
            self.check_calm();
        }
    }

    /// A dead service is announced nowhere beyond its detection limit.
    fn check_dead(&mut self) {
        if self.pool.is_starved() {
            self.starved_until = self.now;
        }
        for (prefix, (wrong, since)) in &self.dead {
            let limit = limit(&self.config, wrong) + Duration::from_millis(20);
            if self.now <= (*since).max(self.starved_until) + limit {
                continue;
            }
            for (name, router) in self.routers.iter().filter(|(_, router)| router.is_in_step()) {
                let held = router.link().and_then(|link| link.routes.get(prefix));
                let healthy = route(router, prefix, &self.config.vips[prefix].attributes);
                self.rules.count("dead is gone");
                assert!(
                    held.is_none() || *held.unwrap() != healthy.unwrap(),
                    "{name} holds {prefix}, dead for {:?}, limit {limit:?}: {wrong:?}",
                    self.now - *since
                );
            }
        }
    }

    /// Routes come once the start-up wait is over, and End-of-RIB with them.
    fn check_start(&mut self) {
        let deadline = self.start + self.config.daemon.startup_deadline;
        if self.now <= deadline {
            return;
        }
        for (name, router) in &self.routers {
            let Some(link) = router.link().filter(|link| link.established && !link.stalled) else { continue };
            // The router may know a moment earlier than Herald that the session is up.
            let settled = self.now > link.since + Duration::from_millis(200 + 4 * router.traits.lag);
            if settled && link.cause.is_none() && link.queue.is_empty() {
                self.rules.count("synchronised");
                assert!(families(router).all(|f: Family| link.ends_of_rib[f as usize] == 1), "{name}: no End-of-RIB");
            }
        }
    }

    /// After a quiet minute, and the longest wait before a retry, there is nothing left to excuse.
    fn check_calm(&mut self) {
        if self.chaos || self.now < self.calm_since.max(self.starved_until) + CALM {
            return;
        }
        self.rules.count("quiet");
        for (prefix, vip) in &self.config.vips {
            let healthy = !self.dead.contains_key(prefix);
            let may = self.oracle.vip(vip);
            assert!(
                may == if healthy { UP } else { DOWN } || !healthy && may.down,
                "{prefix}: {may:?}, healthy: {healthy}"
            );
            assert!(self.oracle.wanted(self.now, prefix).is_ok(), "{prefix} is not settled");
        }
        for (name, router) in &self.routers {
            let hopeless = router.traits.is_hopeless(&router.config);
            let excused =
                hopeless || !router.families().contains(&true) || router.link().is_some_and(|l| l.cause.is_some());
            assert!(excused || router.is_in_step(), "{name} is not in step after a quiet time: {:?}", router.links);
        }
        self.compare_tables();
    }
}
