//! From checks' verdicts to backends up and down, and from those to services up and down.
//!
//! A check knows the backends that use it and a backend its service, and services keep counts: a verdict costs as
//! much as there are users of its check.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::backend::Backend;
use super::check::Statement;
use super::checks::Change;
use super::quorum::{Quorum, Share};
use super::{BackendStatus, HealthEvent, ServiceState, ServiceStatus};
use crate::config::{self, Config};
use crate::prefix::Prefix;

#[derive(Clone, Debug)]
struct Service {
    /// Its part of [`Services::backends`].
    backends: Range<usize>,
    quorum: Quorum,
    /// As it was told last.
    share: Share,
    /// It was told that sorry backends keep it up.
    on_sorry: bool,
    /// As if nothing were drained.
    health: ServiceState,
    /// An operator drains it.
    drained: bool,
    /// Whether its `disable_file` is there; `None` as long as nobody has looked. Without such a file it is not.
    disabled: Option<bool>,
    /// What is told of it.
    state: ServiceState,
    since: Instant,
}

impl Service {
    /// The state with what is drained taken out. A service whose last other backend fails is down at once: what is drained
    /// does not stand in for what is dead.
    fn told(&self, lost: bool) -> ServiceState {
        let needs_spare = self.quorum.needs_spare(self.state == ServiceState::Up);
        match (self.health, self.state) {
            (ServiceState::Up, _) if self.drained || self.disabled == Some(true) => ServiceState::Drained,
            (ServiceState::Up, ServiceState::Undecided) if self.disabled.is_none() => ServiceState::Undecided,
            (ServiceState::Up, ServiceState::Down) if needs_spare => ServiceState::Down,
            (ServiceState::Up, ServiceState::Up) if needs_spare && lost => ServiceState::Down,
            (ServiceState::Up, _) if needs_spare => ServiceState::Drained,
            (health, _) => health,
        }
    }
}

/// The state of all services and backends, by their index in the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    services: Vec<Service>,
    /// Of all services, one after another.
    backends: Vec<Backend>,
    /// For each check the backends that use it, in order.
    users: Vec<Vec<usize>>,
    /// The services that the checks of `disable_file` take out of use.
    disables: BTreeMap<usize, Vec<usize>>,
    /// Services whose health is another than it was: for those that depend on it.
    turned: Vec<usize>,
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
    pub(super) statement: &'a dyn Fn(usize) -> Statement,
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
                lost |= known.counts() && backend.is_eligible();
                backend.since = now;
                events.push_back(HealthEvent::Backend { service: index, backend: position, up });
            }
            backend.up = up;
            // What an operator has changed, nobody needs to be told.
            let asked = backend.weight != config.weight || backend.is_degraded;
            let is_known =
                known.is_some_and(|known| (known.weight, known.is_degraded) == (backend.weight, backend.is_degraded));
            if asked && !is_known {
                events.push_back(backend.weighs(position));
            }
            self.backends.push(backend);
        }
        let mine = first..self.backends.len();
        let mut quorum = Quorum::new(service);
        self.backends[mine.clone()].iter().for_each(|backend| quorum.add(backend));
        let undecided = ServiceState::Undecided;
        let disabled = service.disable.map_or(Some(false), |check| {
            self.disables.entry(check).or_default().push(index);
            (reload.statement)(check).passing
        });
        let (health, state, since) =
            old.map_or((undecided, undecided, now), |(_, old)| (old.health, old.state, old.since));
        self.services.push(Service {
            quorum,
            share: old.map(|(_, old)| old.share).unwrap_or_default(),
            on_sorry: old.is_some_and(|(_, old)| old.on_sorry),
            backends: mine,
            health,
            drained: self.drained.contains(&(service.name.clone(), None)),
            disabled,
            state,
            since,
        });
        self.settle(now, index, lost, events);
    }

    fn new_backend(&mut self, reload: &Reload<'_>, service: usize, config: &config::Backend) -> Backend {
        let key = (reload.new.services[service].name.clone(), Some(config.address));
        let backend = Backend::new(reload.now, service, config, self.drained.contains(&key), reload.statement);
        for check in backend.checks() {
            if let Some(users) = self.users.get_mut(*check) {
                users.push(self.backends.len());
            }
        }
        backend
    }

    /// Takes what a check says now. `statement` tells what others say.
    pub(super) fn apply(
        &mut self,
        now: Instant,
        change: &Change,
        statement: &dyn Fn(usize) -> Statement,
        events: &mut VecDeque<HealthEvent>,
    ) {
        // A service's backends lie together, so the users of a check come service by service: each is judged once,
        // after all of its backends.
        let users = std::mem::take(&mut self.users[change.check]);
        let mut current: Option<(usize, bool)> = None;
        for user in &users {
            let service = self.backends[*user].service;
            if let Some((before, lost)) = current.take_if(|(before, _)| *before != service) {
                self.settle(now, before, lost, events);
            }
            let lost = self.update_backend(now, *user, change, statement, events);
            current = Some((service, lost || current.is_some_and(|(_, lost)| lost)));
        }
        if let Some((last, lost)) = current {
            self.settle(now, last, lost, events);
        }
        self.users[change.check] = users;
        for service in self.disables.get(&change.check).cloned().unwrap_or_default() {
            self.services[service].disabled = change.after.passing;
            self.settle(now, service, false, events);
        }
    }

    /// Takes a changed statement of one of the backend's checks; tells whether the backend no longer counts for it.
    fn update_backend(
        &mut self,
        now: Instant,
        index: usize,
        change: &Change,
        statement: &dyn Fn(usize) -> Statement,
        events: &mut VecDeque<HealthEvent>,
    ) -> bool {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        let backend = &mut self.backends[index];
        let service = &mut self.services[backend.service];
        let counted = backend.counts();
        service.quorum.take(backend);
        let before = (backend.weight, backend.is_degraded);
        backend.apply(change.before, change.after, statement);
        let (position, up) = (index - service.backends.start, backend.judge());
        if up != backend.up {
            (backend.up, backend.since) = (up, now);
            events.push_back(HealthEvent::Backend { service: backend.service, backend: position, up });
        }
        if (backend.weight, backend.is_degraded) != before {
            events.push_back(backend.weighs(position));
        }
        service.quorum.add(backend);
        counted && !backend.counts()
    }

    /// A service whose health has turned since this was asked last.
    pub(super) fn next_turned(&mut self) -> Option<usize> {
        self.turned.pop()
    }

    /// The health of a service, as if nothing were drained.
    pub(super) fn health(&self, service: usize) -> ServiceState {
        self.services.get(service).map_or(ServiceState::Undecided, |service| service.health)
    }

    /// Judges a service by its counts.
    fn settle(&mut self, now: Instant, index: usize, lost: bool, events: &mut VecDeque<HealthEvent>) {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        let service = &mut self.services[index];
        let health = service.quorum.judge(service.health, lost);
        if std::mem::replace(&mut service.health, health) != health {
            self.turned.push(index);
        }
        let share = service.quorum.share();
        if std::mem::replace(&mut service.share, share) != share {
            events.push_back(HealthEvent::Share { service: index, share });
        }
        let state = service.told(lost);
        let is_up = state == ServiceState::Up;
        let on_sorry = is_up && service.quorum.is_sorry();
        let stood_in = std::mem::replace(&mut service.on_sorry, on_sorry);
        if state != service.state {
            service.since = now;
        } else if on_sorry == stood_in {
            return;
        }
        service.state = state;
        let (available, required) = (service.quorum.counting(), service.quorum.mark(is_up));
        events.push_back(HealthEvent::Service { service: index, state, available, required, on_sorry });
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
                service.quorum.take(backend);
                backend.drained = drained;
                service.quorum.add(backend);
            }
        }
        self.settle(now, index, false, events);
    }

    /// The state of a service, if there is one at this index.
    pub(super) fn state(&self, service: usize) -> Option<ServiceState> {
        Some(self.services.get(service)?.state)
    }

    pub(super) fn is_on_sorry(&self, service: usize) -> bool {
        self.services.get(service).is_some_and(|service| service.on_sorry)
    }

    /// A service at a glance, if there is one at this index.
    pub(super) fn status(&self, service: usize) -> Option<ServiceStatus> {
        let service = self.services.get(service)?;
        let backend = |backend: &Backend| BackendStatus {
            up: backend.up,
            weight: backend.weight,
            degraded: backend.is_degraded,
            drained: backend.drained,
            sorry: backend.sorry,
            decided: backend.is_decided(),
            since: backend.since,
        };
        Some(ServiceStatus {
            state: service.state,
            disabled: service.disabled == Some(true),
            since: service.since,
            available: service.quorum.counting(),
            required: service.quorum.mark(service.state == ServiceState::Up),
            marks: service.quorum.marks(),
            measure: service.quorum.measure(),
            share: service.quorum.share(),
            on_sorry: service.quorum.is_sorry(),
            backends: self.backends[service.backends.clone()].iter().map(backend).collect(),
        })
    }
}
