//! The rules that look at the whole: tables against what they must be.

use std::collections::BTreeSet;
use std::time::Duration;

use herald::config::{Config, Vip};
use herald::prefix::Family;

use crate::backend::Servers;
use crate::router::Router;
use crate::rules::{DOWN, UP, detection_limit, families, route};
use crate::world::World;

/// After so long without trouble everything must be as it should be: retries after errors wait up to a minute.
const CALM: Duration = Duration::from_secs(80);

impl Router {
    /// Its session is up, it reads, and everything that Herald had to say at first has come.
    pub(crate) fn is_in_step(&self) -> bool {
        let reads = |link: &&crate::router::Link| {
            link.established && !link.stalled && link.unreported == 0 && link.queue.is_empty() && link.cause.is_none()
        };
        let Some(link) = self.link.as_ref().filter(reads) else { return false };
        families(self).all(|family| link.ends_of_rib[family as usize] == 1)
    }
}

/// Backends that should count and do not, by service and place; a service is down when too few are left.
fn bad_backends(config: &Config, servers: &Servers, vip: &Vip) -> BTreeSet<(usize, usize)> {
    let mut bad = BTreeSet::new();
    for at in &vip.services {
        let service = &config.services[*at];
        let fails = |place: &usize| {
            let backend = &service.backends[*place];
            let mut checks = backend.checks.iter().map(|used| &config.checks[used.check]);
            !backend.enabled
                || backend.weight == 0
                || checks.any(|check| !servers.passes(&check.probe, check.timing.timeout))
        };
        let failing: Vec<usize> = (0..service.backends.len()).filter(fails).collect();
        if service.backends.len() - failing.len() < service.required.of(service.backends.len()) {
            // A place beyond the end stands for the service itself: it may be down with all its backends up.
            bad.extend(failing.into_iter().chain([usize::MAX]).map(|place| (*at, place)));
        }
    }
    bad
}

/// When each of these has been found failing at the latest: the sooner of the services decides.
fn limit(config: &Config, servers: &Servers, bad: &BTreeSet<(usize, usize)>) -> Duration {
    let services: BTreeSet<usize> = bad.iter().map(|(service, _)| *service).collect();
    let of_backend = |(service, place): &(usize, usize)| {
        let backend = config.services[*service].backends.get(*place)?;
        let checks = backend.checks.iter().map(|used| &config.checks[used.check]);
        let failing = checks.filter(|check| !servers.passes(&check.probe, check.timing.timeout));
        if backend.enabled && backend.weight > 0 { failing.map(detection_limit).min() } else { None }
    };
    let of_service = |service: usize| bad.iter().filter(|entry| entry.0 == service).filter_map(of_backend).max();
    services.into_iter().map(|service| of_service(service).unwrap_or_default()).min().unwrap_or_default()
}

impl World {
    /// Keeps, for each VIP that should be down, since when and why.
    pub(crate) fn note_truth(&mut self) {
        let mut dead = std::mem::take(&mut self.dead);
        for (prefix, vip) in &self.config.vips {
            let bad = bad_backends(&self.config, &self.servers, vip);
            if bad.is_empty() {
                dead.remove(prefix);
            } else if dead.get(prefix).is_none_or(|(before, _)| *before != bad) {
                dead.insert(*prefix, (bad, self.now));
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
        if self.stopping.is_some() {
            return;
        }
        for (name, router) in self.routers.iter().filter(|(_, router)| router.is_in_step()) {
            let held = &router.link.as_ref().expect("it is in step").routes;
            for prefix in held.keys() {
                assert!(self.config.vips.contains_key(prefix), "{name} holds {prefix}, which is no VIP");
            }
            for prefix in self.config.vips.keys() {
                let Ok(wanted) = self.oracle.wanted(self.now, prefix) else { continue };
                let wanted = wanted.and_then(|attributes| route(router, prefix, &attributes));
                assert_eq!(held.get(prefix), wanted.as_ref(), "{name} and {prefix}");
                self.rules.count("table");
                if self.pool.is_starved() && wanted.is_some() {
                    self.rules.count("announced while starved");
                }
            }
        }
    }

    /// Once a second: what only time brings about.
    pub(crate) fn inspect(&mut self) {
        self.dirty = true;
        for router in self.routers.values_mut() {
            router.check_silence(self.now, &mut self.rules);
            if let Some(link) = router.link.as_mut().filter(|link| link.cause.is_none()) {
                link.check_refresh(self.now, &mut self.rules);
            }
        }
        if self.stopping.is_none() {
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
        for (prefix, (bad, since)) in &self.dead {
            let limit = limit(&self.config, &self.servers, bad) + Duration::from_millis(20);
            if self.now <= (*since).max(self.starved_until) + limit {
                continue;
            }
            for (name, router) in self.routers.iter().filter(|(_, router)| router.is_in_step()) {
                let held = router.link.as_ref().and_then(|link| link.routes.get(prefix));
                let healthy = route(router, prefix, &self.config.vips[prefix].attributes);
                self.rules.count("dead is gone");
                assert!(
                    held.is_none() || *held.unwrap() != healthy.unwrap(),
                    "{name} holds {prefix}, dead since {since:?}"
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
            let Some(link) = router.link.as_ref().filter(|link| link.established && !link.stalled) else { continue };
            // The router may know a moment earlier than Herald that the session is up.
            let settled = self.now > link.since + Duration::from_millis(100);
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
            let excused = !router.families().contains(&true) || router.link.as_ref().is_some_and(|l| l.cause.is_some());
            assert!(excused || router.is_in_step(), "{name} is not in step after a quiet time: {:?}", router.link);
        }
        self.compare_tables();
    }
}
