//! From checks' verdicts to backends up and down, and from those to services up and down.
//!
//! A check knows the backends that use it and a backend its service, and services keep counts: a verdict costs as
//! much as there are users of its check.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::checks::Change;
use super::{BackendStatus, HealthEvent, ServiceState, ServiceStatus};
use crate::config::{self, Config};
use crate::prefix::Prefix;

#[derive(Clone, Debug)]
struct Backend {
    service: usize,
    /// Enabled, with a weight: the operator lets it count.
    eligible: bool,
    /// Its checks that are failing.
    failing: usize,
    /// Its checks without a verdict.
    undecided: usize,
    up: bool,
    since: Instant,
    /// An operator drains it.
    drained: bool,
}

impl Backend {
    /// A failing check settles it; else all must have a verdict.
    fn is_decided(&self) -> bool {
        self.failing > 0 || self.undecided == 0
    }

    /// What the checks say; as long as they do not say, it stays what it was.
    fn judge(&self) -> bool {
        if self.is_decided() { self.failing == 0 } else { self.up }
    }

    /// Whether it counts now, or would if it were not drained.
    fn counts(&self) -> bool {
        self.eligible && self.up
    }

    /// Whether it would count if it were not drained.
    fn is_spare(&self) -> bool {
        self.drained && self.counts()
    }

    /// Whether its checks may yet find that it counts.
    fn may_count(&self) -> bool {
        self.eligible && !self.up && !self.is_decided()
    }
}

#[derive(Clone, Debug)]
struct Service {
    /// Its part of [`Services::backends`].
    backends: Range<usize>,
    required: usize,
    /// Backends that count, with those that would if they were not drained.
    available: usize,
    /// Of these, the drained ones.
    spare: usize,
    /// Backends that may yet count.
    open: usize,
    /// As if nothing were drained.
    health: ServiceState,
    /// An operator drains it.
    drained: bool,
    /// What is told of it.
    state: ServiceState,
    since: Instant,
}

impl Service {
    /// The state that the counts make. `lost` says that a backend just stopped counting because of its checks.
    ///
    /// In between, when it takes backends that have no verdict yet to know, a service keeps its state: one that was up
    /// before a reload brought new backends stays up. But not past the loss of a backend that it had: then it is down.
    fn judge(&self, lost: bool) -> ServiceState {
        let out_of_reach = self.available + self.open < self.required;
        if self.available >= self.required {
            ServiceState::Up
        } else if out_of_reach || (lost && self.health == ServiceState::Up) {
            ServiceState::Down
        } else {
            self.health
        }
    }

    /// The state with what is drained taken out. A service whose last other backend fails is down at once: what is drained
    /// does not stand in for what is dead.
    fn told(&self, lost: bool) -> ServiceState {
        let needs_spare = self.spare > 0 && self.counting() < self.required;
        match (self.health, self.state) {
            (ServiceState::Up, _) if self.drained => ServiceState::Drained,
            (ServiceState::Up, ServiceState::Down) if needs_spare => ServiceState::Down,
            (ServiceState::Up, ServiceState::Up) if needs_spare && lost => ServiceState::Down,
            (ServiceState::Up, _) if needs_spare => ServiceState::Drained,
            (health, _) => health,
        }
    }

    /// Backends that count.
    fn counting(&self) -> usize {
        self.available - self.spare
    }
}

/// The state of all services and backends, by their index in the configuration.
#[derive(Debug, Default)]
pub(super) struct Services {
    services: Vec<Service>,
    /// Of all services, one after another.
    backends: Vec<Backend>,
    /// For each check the backends that use it, in order.
    users: Vec<Vec<usize>>,
    /// What an operator drains, whether it is configured or not: services, and backends of them.
    drained: BTreeSet<(Arc<str>, Option<SocketAddr>)>,
    /// Backends and services looked at, to see that cost follows the change.
    #[cfg(test)]
    pub(super) touched: usize,
}

/// What [`Services::configure`] needs to know.
pub(super) struct Reload<'a> {
    pub(super) now: Instant,
    /// In force until now.
    pub(super) old: &'a Config,
    /// In force from now.
    pub(super) new: &'a Config,
    /// Whether a VIP is announced now.
    pub(super) announced: &'a dyn Fn(&Prefix) -> bool,
    /// Of a check of the new configuration.
    pub(super) verdict: &'a dyn Fn(usize) -> Option<bool>,
}

impl Services {
    /// Replaces the services. A service is known again by its name, a backend by its address within the service.
    pub(super) fn configure(&mut self, reload: &Reload<'_>, events: &mut VecDeque<HealthEvent>) {
        let mut before = std::mem::take(self);
        self.drained = std::mem::take(&mut before.drained);
        self.users = vec![Vec::new(); reload.new.checks.len()];
        let names = |(index, service): (usize, &config::Service)| (service.name.clone(), index);
        let by_name: BTreeMap<_, usize> = reload.old.services.iter().enumerate().map(names).collect();
        for (index, service) in reload.new.services.iter().enumerate() {
            let old = by_name.get(&service.name).and_then(|old| Some((*old, before.services.get(*old)?)));
            self.add_service(reload, index, &before, old, events);
        }
    }

    fn add_service(
        &mut self,
        reload: &Reload<'_>,
        index: usize,
        before: &Services,
        old: Option<(usize, &Service)>,
        events: &mut VecDeque<HealthEvent>,
    ) {
        let now = reload.now;
        let service = &reload.new.services[index];
        let backends_before: BTreeMap<SocketAddr, &Backend> = match old {
            Some((old, state)) => {
                let addresses = reload.old.services[old].backends.iter().map(|backend| backend.address);
                addresses.zip(&before.backends[state.backends.clone()]).collect()
            }
            None => BTreeMap::new(),
        };
        // On VIPs that are announced a new service is presumed up, or adding it would withdraw them. With a VIP among
        // them that is not, it has to prove itself: announcing that one on a presumption would be worse.
        let presumed = old.is_none() && service.vips.iter().all(reload.announced);
        let first = self.backends.len();
        let mut lost = false;
        for (position, config) in service.backends.iter().enumerate() {
            let known = backends_before.get(&config.address).copied();
            let mut backend = self.new_backend(reload, index, config);
            (backend.up, backend.since) = known.map_or((presumed, now), |known| (known.up, known.since));
            let up = backend.judge();
            if let Some(known) = known.filter(|known| known.up != up) {
                lost |= known.counts() && backend.eligible;
                backend.since = now;
                events.push_back(HealthEvent::Backend { service: index, backend: position, up });
            }
            backend.up = up;
            self.backends.push(backend);
        }
        let mine = first..self.backends.len();
        let undecided = ServiceState::Undecided;
        let (health, state, since) =
            old.map_or((undecided, undecided, now), |(_, old)| (old.health, old.state, old.since));
        self.services.push(Service {
            required: service.required.of(service.backends.len()),
            available: self.backends[mine.clone()].iter().filter(|backend| backend.counts()).count(),
            spare: self.backends[mine.clone()].iter().filter(|backend| backend.is_spare()).count(),
            open: self.backends[mine.clone()].iter().filter(|backend| backend.may_count()).count(),
            backends: mine,
            health,
            drained: self.drained.contains(&(service.name.clone(), None)),
            state,
            since,
        });
        self.settle(now, index, lost, events);
    }

    fn new_backend(&mut self, reload: &Reload<'_>, service: usize, config: &config::Backend) -> Backend {
        let checks: BTreeSet<usize> = config.checks.iter().map(|reference| reference.check).collect();
        let mut backend = Backend {
            service,
            eligible: config.enabled && config.weight > 0,
            failing: 0,
            undecided: 0,
            up: false,
            since: reload.now,
            drained: self.drained.contains(&(reload.new.services[service].name.clone(), Some(config.address))),
        };
        for check in checks {
            if let Some(users) = self.users.get_mut(check) {
                users.push(self.backends.len());
                match (reload.verdict)(check) {
                    None => backend.undecided += 1,
                    Some(false) => backend.failing += 1,
                    Some(true) => {}
                }
            }
        }
        backend
    }

    /// Takes a check's new verdict.
    pub(super) fn apply(&mut self, now: Instant, change: &Change, events: &mut VecDeque<HealthEvent>) {
        // A service's backends lie together, so the users of a check come service by service: each is judged once,
        // after all of its backends.
        let users = std::mem::take(&mut self.users[change.check]);
        let mut current: Option<(usize, bool)> = None;
        for user in &users {
            let service = self.backends[*user].service;
            if let Some((before, lost)) = current.take_if(|(before, _)| *before != service) {
                self.settle(now, before, lost, events);
            }
            let lost = self.update_backend(now, *user, change, events);
            current = Some((service, lost || current.is_some_and(|(_, lost)| lost)));
        }
        if let Some((last, lost)) = current {
            self.settle(now, last, lost, events);
        }
        self.users[change.check] = users;
    }

    /// Takes a changed verdict of one of the backend's checks; tells whether the backend no longer counts for it.
    fn update_backend(
        &mut self,
        now: Instant,
        index: usize,
        change: &Change,
        events: &mut VecDeque<HealthEvent>,
    ) -> bool {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        let backend = &mut self.backends[index];
        let service = &mut self.services[backend.service];
        let (counted, may_have, was_spare) = (backend.counts(), backend.may_count(), backend.is_spare());
        match change.before {
            None => backend.undecided -= 1,
            Some(false) => backend.failing -= 1,
            Some(true) => {}
        }
        backend.failing += usize::from(!change.passing);
        let up = backend.judge();
        if up != backend.up {
            (backend.up, backend.since) = (up, now);
            let position = index - service.backends.start;
            events.push_back(HealthEvent::Backend { service: backend.service, backend: position, up });
        }
        service.available = service.available + usize::from(backend.counts()) - usize::from(counted);
        service.spare = service.spare + usize::from(backend.is_spare()) - usize::from(was_spare);
        service.open = service.open + usize::from(backend.may_count()) - usize::from(may_have);
        counted && !backend.counts()
    }

    /// Judges a service by its counts.
    fn settle(&mut self, now: Instant, index: usize, lost: bool, events: &mut VecDeque<HealthEvent>) {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        let service = &mut self.services[index];
        service.health = service.judge(lost);
        let state = service.told(lost);
        if state != service.state {
            (service.state, service.since) = (state, now);
            let (available, required) = (service.counting(), service.required);
            events.push_back(HealthEvent::Service { service: index, state, available, required });
        }
    }

    /// See [`Health::drain`](super::Health::drain). O(all): it is rare.
    pub(super) fn drain(
        &mut self,
        now: Instant,
        config: &Config,
        (name, address): (&str, Option<SocketAddr>),
        drained: bool,
        events: &mut VecDeque<HealthEvent>,
    ) {
        let key = (name.into(), address);
        if drained {
            self.drained.insert(key);
        } else {
            self.drained.remove(&key);
        }
        let Some(index) = config.services.iter().position(|service| &*service.name == name) else { return };
        let Some(service) = self.services.get_mut(index) else { return };
        match address {
            None => service.drained = drained,
            Some(address) => {
                let place = config.services[index].backends.iter().position(|backend| backend.address == address);
                let Some(backend) = place.and_then(|place| self.backends.get_mut(service.backends.start + place))
                else {
                    return;
                };
                let was_spare = backend.is_spare();
                backend.drained = drained;
                service.spare = service.spare + usize::from(backend.is_spare()) - usize::from(was_spare);
            }
        }
        self.settle(now, index, false, events);
    }

    /// The state of a service, if there is one at this index.
    pub(super) fn state(&self, service: usize) -> Option<ServiceState> {
        Some(self.services.get(service)?.state)
    }

    /// A service at a glance, if there is one at this index.
    pub(super) fn status(&self, service: usize) -> Option<ServiceStatus> {
        let service = self.services.get(service)?;
        let backend = |backend: &Backend| BackendStatus {
            up: backend.up,
            drained: backend.drained,
            decided: backend.is_decided(),
            since: backend.since,
        };
        Some(ServiceStatus {
            state: service.state,
            since: service.since,
            available: service.counting(),
            required: service.required,
            backends: self.backends[service.backends.clone()].iter().map(backend).collect(),
        })
    }
}
