//! Another configuration.

use std::collections::BTreeMap;
use std::time::Instant;

use super::decision::later;
use super::vip::{self, Drains, Vip};
use super::{Announce, Service, ServiceHealth, Share};
use crate::config::{Config, Dependency};
use crate::prefix::Prefix;

/// What is known of the things that a new configuration speaks of, by their index in it.
pub struct Knowledge<'k> {
    /// The present health of a service.
    pub service: &'k dyn Fn(usize) -> ServiceHealth,
    /// How much of it is healthy.
    pub share: &'k dyn Fn(usize) -> Share,
    /// What a check says, if it says anything.
    pub passing: &'k dyn Fn(usize) -> Option<bool>,
    /// Backends that are up, of all services.
    pub backends_up: usize,
}

impl Announce {
    /// Replaces the configuration.
    ///
    /// Events from before that were not polled are dropped: their indexes no longer mean anything.
    pub fn configure(&mut self, now: Instant, config: &Config, known: &Knowledge<'_>) {
        self.events.clear();
        self.aggregate_events.clear();
        self.touched_vips.clear();
        self.graceful.forget();
        self.drain_time = config.daemon.drain_time;
        let began = *self.began.get_or_insert(now);
        if !self.is_released() {
            self.stage_ends = Some(later(began, config.daemon.startup_deadline));
        }
        let service = |index| Service { health: (known.service)(index), share: (known.share)(index), vips: Vec::new() };
        self.services = (0..config.services.len()).map(service).collect();
        self.guard.configure(now, config, known.passing, known.backends_up);
        self.grounds.configure(now, config);
        self.configure_vips(config);
        self.configure_aggregates(now, config);
        self.touch_all();
        self.settle(now);
    }

    fn configure_vips(&mut self, config: &Config) {
        let mut before: BTreeMap<Prefix, Vip> =
            std::mem::take(&mut self.vips).into_iter().map(|vip| (vip.prefix, vip)).collect();
        self.undecided = 0;
        self.holds.clear();
        self.vips.reserve_exact(config.vips.len());
        for (index, (prefix, config)) in config.vips.iter().enumerate() {
            let drains = Drains { own: self.drained.contains(prefix), all: self.all_drained };
            let mut vip = Vip::new(*prefix, config, before.remove(prefix), drains);
            vip.remembered = vip.remembered.or(self.remembered.remove(prefix));
            if let Some(memory) = self.memories.remove(prefix) {
                vip.recall(&memory);
            }
            for service in &config.services {
                if let Some(known) = self.services.get_mut(*service) {
                    known.vips.push(index);
                    vip.needs.set_service(*service, known.health);
                }
            }
            self.vips.push(vip);
        }
        for index in 0..self.vips.len() {
            self.depend(index);
            self.weigh(index);
            let vip = &self.vips[index];
            self.guard.note(index, vip.counts_as_healthy, vip.bad_since);
        }
        self.rank();
        self.undecided = self.vips.iter().filter(|vip| !vip.is_decided()).count();
        self.waiting = self.vips.iter().filter(|vip| vip.waits).count();
        for vip in before.into_values() {
            self.remove(&vip);
        }
    }

    /// Ties a VIP to what it depends on.
    fn depend(&mut self, index: usize) {
        for dependency in vip::dependencies(self.vips[index].config()).collect::<Vec<Dependency>>() {
            let health = match dependency {
                Dependency::Service(service) => self.services.get_mut(service).map(|known| {
                    known.vips.push(index);
                    known.health
                }),
                Dependency::Vip(prefix) => {
                    let other = self.vips.binary_search_by_key(&prefix, |vip| vip.prefix).ok();
                    other.and_then(|other| {
                        let other = self.vips.get_mut(other)?;
                        other.dependents.push(index);
                        Some(other.said)
                    })
                }
            };
            self.vips[index].needs.set_dependency(dependency, health.unwrap_or(ServiceHealth::Down));
        }
    }

    /// Ranks those that depend on others above them. It ends: the configuration has no circles.
    fn rank(&mut self) {
        let mut risen: Vec<usize> =
            (0..self.vips.len()).filter(|index| !self.vips[*index].dependents.is_empty()).collect();
        while let Some(index) = risen.pop() {
            let above = self.vips[index].rank + 1;
            for dependent in self.vips[index].dependents.clone() {
                let rank = &mut self.vips[dependent].rank;
                if *rank < above {
                    *rank = above;
                    risen.push(dependent);
                }
            }
        }
    }

    fn configure_aggregates(&mut self, now: Instant, config: &Config) {
        let vips = &self.vips;
        let index = |vip: &Prefix| vips.binary_search_by_key(vip, |vip| vip.prefix).ok();
        let drained = |prefix: &Prefix| Drains { own: self.drained.contains(prefix), all: self.all_drained };
        for aggregate in self.aggregates.configure(now, config, &drained, &index) {
            self.aggregate_events.extend(aggregate.end());
            if aggregate.standing().is_some() {
                self.announced -= usize::from(aggregate.wanted.is_some());
                self.routes.insert(aggregate.prefix, None);
            }
        }
        for aggregate in &mut self.aggregates.list {
            aggregate.remembered = aggregate.remembered.or(self.remembered.remove(&aggregate.prefix));
        }
        // What is configured no more has been decided upon.
        self.remembered.clear();
        self.memories.clear();
    }
}
