//! Drains: routes say that they will go (RFC 8326), go in time, and come back; sessions stay.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use herald::engine::drain::{Drain, Target};
use herald::rng::Rng;
use herald::wall::WallClock;

use crate::cases::{HEAD, SECOND, service};
use crate::plan::read;
use crate::world::World;

const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
const DRAIN_TIME: Duration = Duration::from_secs(3);
/// Until a router has what was sent.
const SOON: Duration = Duration::from_millis(100);

/// What can be drained here, and the VIPs that it takes along; a peer takes all of its own.
const TARGETS: [(&str, &[&str]); 6] = [
    ("all", &["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
    ("192.0.2.1/32", &["192.0.2.1"]),
    ("web", &["192.0.2.1", "192.0.2.2"]),
    ("web/10.1.0.1:80", &["192.0.2.1", "192.0.2.2"]),
    ("mail", &["2001:db8::1"]),
    ("peer/tor", &["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
];

fn config() -> String {
    let inner = "[[bgp.peer]]\nname = \"inner\"\naddress = \"10.0.0.3\"\npeer_as = \"internal\"\nhold_time = \"9s\"\n\
                 next_hop_ipv6 = \"fd00:99:1::2\"\n";
    let head = HEAD.replace("[checks", &format!("{inner}[checks"));
    let services = service("web", "[\"192.0.2.1\", \"192.0.2.2\"]", 1, "10.1.0.1")
        + &service("mail", "[\"2001:db8::1\"]", 2, "10.1.0.2");
    format!("[daemon]\ndrain_time = \"3s\"\n{head}{services}")
}

/// What a router has of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    Plain,
    Leaving,
    Nothing,
}

fn has(world: &World, name: &str, vip: &str) -> Has {
    let router = &world.routers[name];
    let link = router.link().filter(|link| link.established).unwrap_or_else(|| panic!("{name} has no session"));
    let Some(route) = link.routes.get(&vip.parse().unwrap()) else { return Has::Nothing };
    let marked = route.communities.contains(&GRACEFUL_SHUTDOWN);
    // RFC 8326 §4.1: the least preferred, where that can be said.
    let least = route.local_pref.is_none_or(|preference| preference == 0);
    assert_eq!(marked && least, marked, "{name} and {vip}: {route:?}");
    if marked { Has::Leaving } else { Has::Plain }
}

/// Since when each VIP, or each peer's VIP, is drained without a break, whatever it is that drains it.
type Since = BTreeMap<(&'static str, &'static str), Instant>;

fn note(since: &mut Since, now: Instant, drained: &BTreeSet<usize>) {
    for vip in TARGETS[0].1 {
        for scope in ["", "peer/tor"] {
            let is_peer = |target: &str| target.starts_with("peer/");
            let covers = |at: &&usize| {
                let (target, vips) = TARGETS[**at];
                vips.contains(vip) && if is_peer(scope) { target == scope } else { !is_peer(target) }
            };
            match drained.iter().any(|at| covers(&at)) {
                true => drop(since.entry((scope, vip)).or_insert(now)),
                false => drop(since.remove(&(scope, vip))),
            }
        }
    }
}

/// Every router has of every VIP what it should.
fn judge(world: &mut World, since: &Since) {
    for name in ["tor", "inner"] {
        for vip in TARGETS[0].1 {
            let peer = since.get(&("peer/tor", vip)).filter(|_| name == "tor");
            let begins = [since.get(&("", vip)), peer].into_iter().flatten().min();
            let age = begins.map(|begins| world.now - *begins);
            let is = has(world, name, vip);
            let (rule, right) = match age {
                None => ("not drained", is == Has::Plain),
                Some(age) if age < DRAIN_TIME => ("leaving", is == Has::Leaving),
                Some(age) if age < DRAIN_TIME + SOON => ("about to go", is != Has::Plain),
                Some(_) => ("drained is gone", is == Has::Nothing),
            };
            world.rules.count(rule);
            assert!(right, "{name} has {is:?} of {vip}, drained for {age:?}");
        }
    }
}

fn story(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let mut world = crate::cases::world(seed, read(config()));
    for router in world.routers.values_mut() {
        (router.traits.hold, router.traits.families, router.traits.refuses) = (9, Some([true, true]), None);
    }
    world.run(10 * SECOND);
    let clock = WallClock::new(world.start, Duration::from_secs(1_767_225_600));
    let (mut drained, mut since) = (BTreeSet::new(), Since::new());
    for _ in 0..12 {
        let at = rng.below(TARGETS.len() as u64) as usize;
        let target: Target = TARGETS[at].0.parse().unwrap();
        if drained.remove(&at) {
            world.engine.undrain(world.now, &target, None).unwrap();
            world.drained.remove(&target);
        } else {
            world.drained.insert(target.clone());
            let drain = Drain { reason: None, by: None, since: clock.timestamp(world.now), until: None };
            world.engine.drain(world.now, &clock, &target, drain).unwrap();
            drained.insert(at);
        }
        note(&mut since, world.now, &drained);
        world.drain();
        world.run(SOON);
        for _ in 0..1 + rng.below(20) {
            judge(&mut world, &since);
            world.run(Duration::from_millis(250));
        }
    }
    for router in world.routers.values() {
        assert_eq!(router.losses, 0, "a drain cost {} its session", router.config.name);
    }
    world
}

#[test]
fn what_is_drained_says_so_and_goes() {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..crate::number("SIM_SEEDS").unwrap_or(6) {
        for (rule, count) in story(seed).rules.counts {
            *counts.entry(rule).or_default() += count;
        }
    }
    println!("{counts:#?}");
    for rule in ["leaving", "not drained", "drained is gone"] {
        assert!(counts.contains_key(rule), "no seed reaches: {rule}");
    }
}
