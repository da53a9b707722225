//! Deterministic simulation: the production engine in virtual time, between servers and routers that misbehave.
//!
//! Same seed, same run. `SIM_SEED=n` replays one with its story printed, `SIM_SEEDS=n` sweeps wider.

mod backend;
mod cases;
mod crossing;
mod drains;
mod inspect;
mod judgement;
mod link;
mod meeting;
mod outputs;
mod plan;
mod reload;
mod restart;
mod router;
mod rules;
mod stalls;
mod traits;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use herald::rng::Rng;
use plan::Plan;
use world::World;

/// Rules, and how often a sweep tests each at least.
const RULES: [&str; 31] = [
    "a verdict wakes the loop",
    "accepted",
    "aggregate",
    "announce",
    "announced while starved",
    "announced with a reason",
    "back after a reset",
    "bounded memory",
    "bounded wakes",
    "dead is gone",
    "end of rib",
    "enhanced refresh",
    "hold-up",
    "keepalive",
    "left out",
    "no busy loop",
    "notification before the end",
    "one session",
    "quiet",
    "refresh",
    "refusal",
    "reset named",
    "session",
    "session kept over a reload",
    "foreseen before a reload",
    "strange update",
    "stranger",
    "synchronised",
    "table",
    "withdrawn before goodbye",
    "withdrawn with a reason",
];

fn run(seed: u64, verbose: bool) -> World {
    let plan = Plan::new(&mut Rng::new(seed));
    let mut world = World::new(seed, plan, verbose);
    // Some come up in peace, some are troubled from the first moment.
    if seed.is_multiple_of(3) {
        world.turn();
    } else {
        world.at(Duration::from_secs(100), world::Happening::Turn);
    }
    let ends = Duration::from_secs(560);
    while world.now - world.start < ends {
        world.step();
    }
    if seed.is_multiple_of(2) {
        finish(&mut world);
    }
    world
}

/// A clean stop: everything is withdrawn, then said goodbye.
fn finish(world: &mut World) {
    world.stop();
    let limit = Duration::from_secs(world.plan.drain + 3);
    let begun = world.now;
    while world.stopped.is_none() {
        assert!(world.now - begun <= limit, "still not stopped after {limit:?}");
        world.step();
    }
    assert!(world.routers.values().all(|router| router.links.is_empty()), "a connection is left");
}

/// Runs a seed; a failure names it.
fn guarded(seed: u64, verbose: bool) -> World {
    catch_unwind(AssertUnwindSafe(|| run(seed, verbose))).unwrap_or_else(|panic| {
        eprintln!("replay with SIM_SEED={seed} cargo test --test sim sweep -- --nocapture");
        resume_unwind(panic)
    })
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tells how long the sweep took")]
fn sweep() {
    let began = Instant::now();
    let (seeds, verbose) = match number("SIM_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("SIM_SEEDS").unwrap_or(24), false),
    };
    let whole = !verbose;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut virtual_time = Duration::ZERO;
    for seed in seeds {
        let world = guarded(seed, verbose);
        virtual_time += world.now - world.start;
        for (rule, count) in &world.rules.counts {
            *counts.entry(rule).or_default() += count;
        }
    }
    println!("{virtual_time:?} in {:?}: {counts:#?}", began.elapsed());
    for rule in RULES {
        assert!(!whole || counts.contains_key(rule), "the sweep no longer reaches: {rule}");
    }
}

#[test]
fn same_seed_same_run() {
    let fingerprint = |seed| guarded(seed, false).fingerprint();
    assert_eq!(fingerprint(3), fingerprint(3));
    assert_ne!(fingerprint(3), fingerprint(4));
}
