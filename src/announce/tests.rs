//! Announce from the outside, in virtual time.

mod aggregate;
mod drain;
mod guard;
mod judgement;
mod start;
mod stop;

use VipState::{Announced, Degraded, Drained, Holding, Withdrawn};

use super::*;
use crate::config::{Community, Config, Hold, OnDown, Protocol, Required, Service, Via, Vip as VipConfig};
use crate::rng::Rng;
use crate::timers::origin;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const NO_HOLD: Duration = Duration::ZERO;

fn prefix(n: usize) -> Prefix {
    Prefix::host(std::net::Ipv4Addr::from(0xc000_0200 + n as u32).into())
}

fn med(med: u32) -> Arc<Attributes> {
    Arc::new(Attributes { med: Some(med), ..Attributes::default() })
}

fn degrade() -> OnDown {
    OnDown::Degrade(med(1000))
}

/// VIPs 0, 1, … with the services on each, `hold_up` and `on_down`.
fn config(services: usize, vips: &[(&[usize], Duration, OnDown)]) -> Config {
    let service = |n: usize| Service {
        name: format!("s{n}").into(),
        vips: Vec::new(),
        protocol: Protocol::Tcp,
        port: 80,
        last_port: 80,
        required: Required::Backends(1).into(),
        backends: Vec::new(),
        disable: None,
    };
    let vip = |(n, (services, hold_up, on_down)): (usize, &(&[usize], Duration, OnDown))| {
        let (services, on_down) = (services.to_vec(), on_down.clone());
        let hold_up = Hold::constant(*hold_up);
        (prefix(n), VipConfig { hold_up, on_down, ..VipConfig::plain(services, med(1), Via::BGP) })
    };
    let vips = vips.iter().enumerate().map(vip).collect();
    Config { services: (0..services).map(service).collect(), vips, ..Config::default() }
}

/// `+` up, `-` down, `d` drained, `?` undecided.
fn health(mark: u8) -> ServiceHealth {
    match mark {
        b'+' => ServiceHealth::Up,
        b'-' => ServiceHealth::Down,
        b'd' => ServiceHealth::Drained,
        _ => ServiceHealth::Undecided,
    }
}

struct World {
    now: Instant,
    core: Announce,
    /// What a peer would hold.
    routes: BTreeMap<Prefix, Arc<Attributes>>,
    /// How often it was told something.
    told: usize,
    events: Vec<VipEvent>,
    aggregate_events: Vec<AggregateEvent>,
    guard_events: Vec<GuardEvent>,
    /// Checks that were asked.
    asked: Vec<usize>,
}

impl World {
    fn new(config: &Config, marks: &str) -> World {
        let (core, routes) = (Announce::new(), BTreeMap::new());
        let (events, aggregate_events, guard_events, asked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut world = World { now: origin(), core, routes, told: 0, events, aggregate_events, guard_events, asked };
        world.configure(config, marks);
        world
    }

    fn configure(&mut self, config: &Config, marks: &str) {
        let marks = marks.as_bytes();
        let known = Knowledge {
            service: &|service| health(marks[service]),
            share: &|_| Share::default(),
            passing: &|_| None,
            backends_up: 0,
        };
        self.core.configure(self.now, config, &known);
        self.drain();
    }

    fn service(&mut self, service: usize, mark: char) {
        self.core.service_changed(self.now, service, health(mark as u8));
        self.drain();
    }

    /// So much of a service is healthy.
    fn share(&mut self, service: usize, counting: u64, total: u64) {
        self.core.share_changed(service, Share { counting, total });
        self.core.settle(self.now);
        self.drain();
    }

    fn check(&mut self, check: usize, passing: bool) {
        self.core.check_changed(self.now, check, passing);
        self.drain();
    }

    fn answer(&mut self, check: usize, passed: bool) {
        self.core.check_answered(self.now, check, passed);
        self.drain();
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            assert!(self.core.poll_timeout().is_none_or(|at| at > self.now), "a busy loop");
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some((prefix, wanted)) = self.core.poll_route() {
            self.told += 1;
            match wanted {
                Some(attributes) => self.routes.insert(prefix, attributes),
                None => self.routes.remove(&prefix),
            };
        }
        self.asked.extend(std::iter::from_fn(|| self.core.poll_ask()));
        self.guard_events.extend(std::iter::from_fn(|| self.core.poll_guard_event()));
        self.events.extend(std::iter::from_fn(|| self.core.poll_event()));
        self.aggregate_events.extend(std::iter::from_fn(|| self.core.poll_aggregate_event()));
    }

    fn vip(&self, n: usize) -> (VipState, VipCause) {
        let status = self.core.vip(&prefix(n)).unwrap();
        (status.state, status.cause)
    }

    /// The MED of a VIP's route.
    fn med(&self, n: usize) -> Option<u32> {
        self.routes.get(&prefix(n))?.med
    }
}

fn plain(vips: &[&'static [usize]], services: usize) -> Config {
    let vips: Vec<(&[usize], Duration, OnDown)> =
        vips.iter().map(|services| (*services, NO_HOLD, OnDown::Withdraw)).collect();
    config(services, &vips)
}

#[test]
fn hold_up_counts_from_health_and_withdrawal_does_not_wait() {
    let mut world =
        World::new(&config(2, &[(&[0], 5 * SECOND, OnDown::Withdraw), (&[1], NO_HOLD, OnDown::Withdraw)]), "+?");
    world.run(3 * SECOND);
    world.service(1, '+');
    let until = world.now + 2 * SECOND;
    assert_eq!(world.vip(0), (Holding, VipCause::HoldUp(until)));
    assert_eq!((world.core.poll_timeout(), world.med(0), world.med(1)), (Some(until), None, Some(1)));
    world.run(2 * SECOND);
    assert_eq!(world.vip(0), (Announced, VipCause::AllUp));
    world.service(0, '-');
    assert_eq!((world.vip(0).0, world.med(0)), (Withdrawn, None));
    // Recovery waits again, and an interruption begins the wait anew.
    world.service(0, '+');
    world.run(4 * SECOND);
    world.service(0, '-');
    world.service(0, '+');
    world.run(5 * SECOND - MS);
    assert_eq!((world.vip(0).0, world.med(0)), (Holding, None));
    world.run(MS);
    assert_eq!((world.vip(0).0, world.med(0)), (Announced, Some(1)));
}

#[test]
fn degraded_stands_in_for_withdrawn() {
    let mut world = World::new(&config(3, &[(&[0], 5 * SECOND, degrade()), (&[1, 2], NO_HOLD, degrade())]), "-??");
    assert_eq!((world.vip(0), world.told), ((Holding, VipCause::StartUp), 0), "not before the release");
    world.service(1, '-');
    assert_eq!((world.med(0), world.med(1)), (Some(1000), Some(1000)));
    assert_eq!(world.vip(1), (Degraded, VipCause::ServiceDown(1)));
    // It recovers: degraded until `hold_up` has passed.
    world.service(0, '+');
    assert_eq!(world.vip(0), (Degraded, VipCause::HoldUp(world.now + 5 * SECOND)));
    world.run(5 * SECOND);
    assert_eq!((world.vip(0).0, world.med(0)), (Announced, Some(1)));
    // One service recovers, the other has yet to be heard: as it was.
    world.service(1, '+');
    assert_eq!((world.vip(1), world.med(1)), ((Degraded, VipCause::ServiceUndecided(2)), Some(1000)));
    world.service(2, '+');
    assert_eq!((world.vip(1).0, world.med(1)), (Announced, Some(1)));
    world.service(0, '-');
    assert_eq!((world.vip(0).0, world.med(0)), (Degraded, Some(1000)));
    // A new VIP is announced, degraded or not, only once it is decided.
    let three: [(&[usize], Duration, OnDown); 3] =
        [(&[0], NO_HOLD, degrade()), (&[1], NO_HOLD, degrade()), (&[2], NO_HOLD, degrade())];
    world.configure(&config(3, &three), "-+?");
    assert_eq!((world.vip(2).0, world.med(2)), (Holding, None));
    world.service(2, '-');
    assert_eq!((world.vip(2).0, world.med(2)), (Degraded, Some(1000)));
}

#[test]
fn the_first_service_down_is_named_and_all_must_recover() {
    let mut world = World::new(&plain(&[&[0, 1, 2]], 3), "+++");
    for (service, mark, named) in [(2, '-', 2), (1, '-', 1), (1, '+', 2), (0, '-', 0), (2, '+', 0)] {
        world.service(service, mark);
        assert_eq!(world.vip(0), (Withdrawn, VipCause::ServiceDown(named)));
    }
    let events = world.events.len();
    world.service(0, '+');
    assert_eq!(world.vip(0), (Announced, VipCause::AllUp));
    let back = VipEvent { vip: prefix(0), from: Some(Withdrawn), to: Some(Announced), cause: VipCause::AllUp };
    assert_eq!(world.events[events..], [back]);
    assert_eq!(events, 2, "new, and down once: {:?}", world.events);
}

#[test]
fn reloads() {
    let mut world = World::new(&plain(&[&[0], &[1]], 2), "++");
    let (told, events) = (world.told, world.events.len());
    world.configure(&plain(&[&[0], &[1]], 2), "++");
    assert_eq!((world.told, world.events.len()), (told, events), "nothing changed");

    // Other attributes for one.
    let mut other = plain(&[&[0], &[1]], 2);
    other.vips.get_mut(&prefix(1)).unwrap().attributes = med(7);
    world.configure(&other, "++");
    assert_eq!((world.told - told, world.med(0), world.med(1)), (1, Some(1), Some(7)));
    assert_eq!(world.events.len(), events, "its state is the same");

    // A new service on a VIP that is announced, whatever is known of it, and a VIP more.
    world.configure(&plain(&[&[0, 2], &[1, 3], &[2]], 4), "+++?");
    assert_eq!((world.vip(0).0, world.vip(1)), (Announced, (Announced, VipCause::ServiceUndecided(3))));
    assert_eq!(world.vip(2), (Announced, VipCause::AllUp), "its service is known");
    world.service(3, '-');
    assert_eq!((world.vip(1).0, world.med(1)), (Withdrawn, None));

    // The first VIP goes, and its services with it; `hold_up` now set does not take back what is announced.
    let mut fewer =
        config(1, &[(&[], NO_HOLD, OnDown::Withdraw), (&[], NO_HOLD, OnDown::Withdraw), (&[0], SECOND, degrade())]);
    fewer.vips.retain(|vip, _| *vip == prefix(2));
    world.events.clear();
    world.configure(&fewer, "+");
    assert_eq!(world.routes.keys().copied().collect::<Vec<_>>(), [prefix(2)]);
    assert_eq!(world.events.iter().filter(|event| event.to.is_none()).count(), 2);
    assert_eq!(world.vip(2), (Announced, VipCause::AllUp));
    assert!(world.core.vip(&prefix(0)).is_none());
    // Gone and back between two polls.
    let nothing =
        Knowledge { service: &|_| ServiceHealth::Up, share: &|_| Share::default(), passing: &|_| None, backends_up: 0 };
    world.core.configure(world.now, &Config::default(), &nothing);
    world.configure(&config(1, &[(&[0], SECOND, OnDown::Withdraw)]), "+");
    assert!(world.routes.is_empty());
    assert_eq!(world.vip(0), (Holding, VipCause::HoldUp(world.now + SECOND)));
    world.service(99, '-');
}

#[test]
fn since_is_of_the_state() {
    let mut world = World::new(&plain(&[&[0, 1]], 2), "++");
    let since = |world: &World| world.core.vip(&prefix(0)).unwrap().since;
    let start = world.now;
    world.run(SECOND);
    world.service(0, '-');
    world.run(SECOND);
    world.service(1, '-');
    assert_eq!(since(&world), start + SECOND);
    let mut endless = config(1, &[(&[0], Duration::MAX, OnDown::Withdraw)]);
    endless.daemon.startup_deadline = Duration::MAX;
    world.configure(&endless, "+");
    assert_eq!(since(&world), start + 2 * SECOND);
}

#[test]
fn cost_follows_the_change() {
    let vips: Vec<Vec<usize>> = (0..10_000).map(|n| vec![n]).collect();
    let vips: Vec<(&[usize], Duration, OnDown)> =
        vips.iter().map(|services| (&services[..], NO_HOLD, OnDown::Withdraw)).collect();
    let mut world = World::new(&config(10_000, &vips), &"+".repeat(10_000));
    let before = world.core.touched;
    for service in 0..100 {
        world.service(service * 7, '-');
        world.service(service * 7, '-');
    }
    assert_eq!(world.core.touched - before, 100);
    // While others are waited for, too, until the last.
    let mut world = World::new(&config(10_000, &vips), &"?".repeat(10_000));
    let before = world.core.touched;
    (0..9999).for_each(|service| world.service(service, '+'));
    assert_eq!((world.core.touched - before, world.told), (9999, 0));
    world.service(9999, '+');
    assert_eq!(world.told, 10_000);
}

/// The rules again, from scratch: from all services' marks, what a VIP's route must be, if that is certain.
fn must_be(config: &VipConfig, marks: &[u8], healthy_for: Duration) -> Option<Option<u32>> {
    let marks: Vec<u8> = config.services.iter().map(|service| marks[*service]).collect();
    if marks.contains(&b'-') {
        return Some(matches!(config.on_down, OnDown::Degrade(_)).then_some(1000));
    }
    (!marks.contains(&b'?') && healthy_for >= config.hold_up.initial).then_some(Some(1))
}

#[test]
fn soak_against_a_full_scan() {
    let mut checked = [0; 3];
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let services = 1 + rng.below(12) as usize;
        let random_config = |rng: &mut Rng| {
            let vips: Vec<Vec<usize>> = (0..1 + rng.below(8))
                .map(|_| (0..services).filter(|_| rng.below(4) == 0).collect::<Vec<_>>())
                .map(|on| if on.is_empty() { vec![0] } else { on })
                .collect();
            let vips: Vec<(&[usize], Duration, OnDown)> = vips
                .iter()
                .map(|on| {
                    (
                        &on[..],
                        SECOND * (rng.below(3) as u32),
                        if rng.below(2) == 0 { degrade() } else { OnDown::Withdraw },
                    )
                })
                .collect();
            config(services, &vips)
        };
        let mut marks = vec![b'?'; services];
        let mut present = random_config(&mut rng);
        let mut world = World::new(&present, std::str::from_utf8(&marks).unwrap());
        let mut released_at = None;
        // Since when each service has been as it is; a VIP is healthy from the last of its services, or its own begin.
        let mut changed = vec![world.now; services];
        let mut added: BTreeMap<Prefix, Instant> = present.vips.keys().map(|vip| (*vip, world.now)).collect();
        for _ in 0..400 {
            match rng.below(40) {
                0 => {
                    present = random_config(&mut rng);
                    added = present.vips.keys().map(|vip| (*vip, world.now)).collect();
                    world.configure(&present, std::str::from_utf8(&marks).unwrap());
                }
                1..=10 => world.run(MS * rng.below(1500) as u32),
                _ => {
                    let service = rng.below(services as u64) as usize;
                    let mark = if rng.below(2) == 0 { b'+' } else { b'-' };
                    if marks[service] != mark {
                        (marks[service], changed[service]) = (mark, world.now);
                    }
                    world.service(service, char::from(mark));
                }
            }
            if world.core.is_released() {
                released_at.get_or_insert(world.now);
            }
            let all_decided = present.vips.values().all(|vip| {
                let marks: Vec<u8> = vip.services.iter().map(|service| marks[*service]).collect();
                marks.contains(&b'-') || !marks.contains(&b'?')
            });
            assert!(!all_decided || released_at.is_some(), "seed {seed}: released late");
            assert!(released_at.is_some() || world.routes.is_empty(), "seed {seed}: announced early");
            assert!(world.routes.keys().all(|vip| present.vips.contains_key(vip)), "seed {seed}: left behind");
            for (vip, config) in present.vips.iter().filter(|_| released_at.is_some()) {
                let last = config.services.iter().map(|service| changed[*service]).max().unwrap().max(added[vip]);
                let med = world.routes.get(vip).and_then(|route| route.med);
                if let Some(must) = must_be(config, &marks, world.now - last) {
                    assert_eq!(med, must, "seed {seed}: {vip} {:?}", world.core.vip(vip));
                    checked[must.map_or(0, |med| if med == 1 { 1 } else { 2 })] += 1;
                }
            }
            assert_eq!(world.core.announced, world.routes.len());
        }
    }
    assert!(checked.iter().all(|n| *n > 1000), "{checked:?}");
}
