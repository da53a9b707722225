//! Ladders, holds, damping, drains and doubts, under servers that fail one by one and all at once: a second mind follows
//! what is told of services and VIPs, and what a router has, and knows what may not be. And what `herald simulate` makes of
//! the same story is what the live engine has made of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald::announce::{GuardEvent, VipCause, VipEvent, VipState};
use herald::config::{Config, Vip, VipPolicy};
use herald::engine::Notice;
use herald::engine::drain::{Drain, Target};
use herald::engine::simulate::{Scenario, Simulation};
use herald::health::{HealthEvent, ServiceState};
use herald::prefix::Prefix;
use herald::rng::Rng;
use herald::wall::WallClock;

use crate::backend::Server;
use crate::cases::{HEAD, SECOND};
use crate::plan::{HOSTS, Plan, pick, read};
use crate::rules::Rules;
use crate::wire::Route;
use crate::world::World;

const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
/// Until a router has what was sent.
const SOON: Duration = Duration::from_millis(150);
/// Of the simulation: what happens in one moment may take the live engine a turn or two.
const TOLERANCE: Duration = Duration::from_millis(2);
/// The hosts of backends, and that of the self-check.
const BACKENDS: [&str; 5] = [HOSTS[0], HOSTS[1], HOSTS[2], HOSTS[3], HOSTS[4]];
const OWN: &str = HOSTS[5];
const VIPS: usize = 5;

fn config(rng: &mut Rng) -> String {
    let mut text = format!("[daemon]\ndrain_time = \"3s\"\n{HEAD}rise = 2\nfall = 2\nfast_interval = \"300ms\"\n");
    for n in 0..VIPS {
        let required = pick(rng, &["1", "2", "{ up = 2, down = 1 }", "0"]);
        let also = if n == 4 { ", \"192.0.2.1\"" } else { "" };
        write!(
            text,
            "[[service]]\nname = \"s{n}\"\nvips = [\"192.0.2.{}\"{also}]\nport = {}\nrequired = {required}\n",
            n + 1,
            80 + n
        )
        .unwrap();
        text += "checks = [\"plain\"]\n";
        for at in 0..3 {
            writeln!(text, "[[service.backend]]\naddress = \"{}\"", BACKENDS[(n + at) % 5]).unwrap();
        }
    }
    for n in 0..VIPS {
        writeln!(text, "[[vip]]\naddress = \"192.0.2.{}\"\nmed = 1", n + 1).unwrap();
        for choices in [
            ["", "hold_up = \"4s\"\n", "hold_up = { initial = \"2s\", max = \"8s\" }\n"],
            ["", "hold_down = \"6s\"\n", "hold_down = { initial = \"3s\", max = \"12s\" }\n"],
            [
                "",
                "damping = true\n",
                "damping = { penalty = 1000, suppress = 1200, reuse = 400, half_life = \"30s\" }\n",
            ],
            ["", "on_down = \"degrade\"\ndegraded = { med = 100 }\n", ""],
            ["", "vip_policy = \"any\"\n", ""],
            [
                "",
                "[[vip.step]]\nbelow = \"90%\"\nmed = 11\n[[vip.step]]\nbelow = \"50%\"\nmed = 12\n",
                "[[vip.step]]\nbelow = \"70%\"\nmed = 11\n[[vip.step]]\nbelow = \"20%\"\nwithdraw = true\n",
            ],
        ] {
            text += pick(rng, &choices);
        }
    }
    text += pick(
        rng,
        &[
            "",
            "[fail_static]\nshare = \"40%\"\nlimit = \"40s\"\n",
            "[fail_static]\nof = \"backends\"\nshare = \"70%\"\nlimit = \"30s\"\nwindow = \"4s\"\n",
        ],
    );
    let policy = pick(rng, &["", "hold", "hold", "withdraw"]);
    if !policy.is_empty() {
        write!(text, "[[self_check]]\nname = \"own\"\naddress = \"{OWN}\"\nport = 7\nchecks = [\"plain\"]\non_failure = \"{policy}\"\n").unwrap();
    }
    text
}

/// What the second mind knows of a VIP.
#[derive(Default)]
struct Known {
    state: Option<VipState>,
    cause: Option<VipCause>,
    /// It is announced as healthy, by whichever rung, or was when it was frozen.
    stands: bool,
    falls: Vec<Instant>,
    /// What the router had when it was first seen frozen.
    frozen: Option<Option<Arc<Route>>>,
    changed: Option<Instant>,
}

struct Mind {
    config: Arc<Config>,
    services: BTreeMap<usize, (ServiceState, Instant)>,
    vips: BTreeMap<Prefix, Known>,
    doubt_since: Option<Instant>,
    /// Everything was withdrawn by a self-check until then.
    broken_until: Option<Instant>,
    drained: BTreeMap<Prefix, Instant>,
    /// So much of the log.
    heard: usize,
}

impl Mind {
    /// Since when everything that this VIP stands on is up, by its policy.
    fn healthy_since(&self, vip: &Vip) -> Option<Instant> {
        let since = |at: &usize| {
            let (state, since) = self.services.get(at)?;
            matches!(state, ServiceState::Up | ServiceState::Drained).then_some(*since)
        };
        let services: Vec<Option<Instant>> = vip.services.iter().map(since).collect();
        match vip.policy {
            VipPolicy::All => services.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max(),
            VipPolicy::Any => services.into_iter().flatten().min(),
        }
    }

    fn hear(&mut self, at: Instant, notice: &Notice, rules: &mut Rules) {
        match notice {
            Notice::Health(HealthEvent::Service { service, state, .. }) => {
                let up = |state: ServiceState| matches!(state, ServiceState::Up | ServiceState::Drained);
                let known = self.services.entry(*service).or_insert((*state, at));
                *known = (*state, if up(known.0) && up(*state) { known.1 } else { at });
            }
            Notice::Guard(GuardEvent::Began { .. }, _) => self.doubt_since = Some(at),
            Notice::Guard(GuardEvent::Ended { .. }, _) => self.doubt_since = None,
            Notice::Vip(event, _) => self.judge(at, event, rules),
            _ => {}
        }
    }

    fn judge(&mut self, at: Instant, event: &VipEvent, rules: &mut Rules) {
        let config = self.config.clone();
        let vip = &config.vips[&event.vip];
        let healthy_since = self.healthy_since(vip);
        let (doubt_since, broken_until, services) = (self.doubt_since, self.broken_until, self.services.clone());
        let known = self.vips.entry(event.vip).or_default();
        let to = event.to.expect("nobody reloads");
        let name = event.vip;
        let by_health =
            matches!(event.cause, VipCause::AllUp | VipCause::Rung(_) | VipCause::Climb(..) | VipCause::Doubted(..));
        let stands = match to {
            VipState::Announced | VipState::Degraded if by_health => true,
            VipState::Frozen => true,
            // A drain, a stop or a wait changes nothing about it.
            VipState::Announced | VipState::Degraded if !matches!(event.cause, VipCause::ServiceDown(_)) => {
                known.stands
            }
            _ => false,
        };
        if to == VipState::Frozen && !known.stands {
            rules.count("a fall is taken back");
            assert!(known.falls.pop().is_some(), "{name} is frozen and had not fallen");
        } else if stands && !known.stands {
            rules.count("stands up");
            let since = healthy_since.unwrap_or_else(|| panic!("{name} stands up while it is down"));
            let hold = vip.hold_up.initial;
            if !hold.is_zero() {
                rules.count("hold_up honoured");
                assert!(at - since >= hold, "{name}: hold_up of {hold:?} cut short: {:?}", at - since);
                assert!(broken_until.is_none_or(|until| at - until >= hold), "{name}: hold_up after a self-check");
            }
            if let (false, Some(fell)) = (vip.hold_down.initial.is_zero(), known.falls.last()) {
                rules.count("hold_down honoured");
                assert!(at - *fell >= vip.hold_down.initial, "{name}: hold_down cut short: {:?}", at - *fell);
            }
            if let Some(damping) = &vip.damping {
                // All falls anew, without a running sum.
                let penalty = |at: Instant, falls: &[Instant]| -> f64 {
                    let one = |fell: &Instant| (-(at - *fell).as_secs_f64() / damping.half_life.as_secs_f64()).exp2();
                    falls.iter().map(one).sum::<f64>() * f64::from(damping.penalty)
                };
                let tips = |(n, fell): (usize, &Instant)| {
                    (penalty(*fell, &known.falls[..=n]) > f64::from(damping.suppress)).then_some(n)
                };
                if let Some(last) = known.falls.iter().enumerate().filter_map(tips).next_back() {
                    rules.count("suppression honoured");
                    let left = penalty(at, &known.falls[..=last]);
                    assert!(left <= f64::from(damping.reuse) * 1.01, "{name} flaps, with a penalty of {left}");
                }
            }
        } else if known.stands && !stands {
            match event.cause {
                VipCause::ServiceDown(service) => {
                    assert_eq!(services[&service].0, ServiceState::Down, "{name} is withdrawn for what is up");
                    // Of one moment, what came before the doubt is told with it.
                    assert!(doubt_since.is_none_or(|since| since == at), "{name} is withdrawn in doubt");
                    known.falls.push(at);
                    rules.count("falls");
                }
                VipCause::Rung(_) => {
                    assert!(doubt_since.is_none_or(|since| since == at), "{name} is withdrawn in doubt");
                    known.falls.push(at);
                }
                _ => {}
            }
        }
        known.stands = stands;
        (known.state, known.cause, known.changed, known.frozen) = (Some(to), Some(event.cause), Some(at), None);
    }

    /// What the router has of every VIP, some time after the last word.
    fn look(&mut self, now: Instant, routes: &BTreeMap<Prefix, Arc<Route>>, shares: &[(u64, u64)], rules: &mut Rules) {
        if let (Some(since), Some(guard)) = (self.doubt_since, &self.config.fail_static) {
            rules.count("doubt");
            assert!(guard.limit.is_none_or(|limit| now - since <= limit + SOON), "a doubt without end");
        }
        let config = self.config.clone();
        for (prefix, known) in &mut self.vips {
            let route = routes.get(prefix).cloned();
            if known.changed.is_some_and(|at| now - at < SOON) {
                continue;
            }
            if let Some(since) = self.drained.get(prefix).filter(|since| now - **since >= SOON) {
                rules.count("drained is marked or gone");
                let marked = route.as_ref().is_none_or(|it| it.communities.contains(&GRACEFUL_SHUTDOWN));
                assert!(marked, "{prefix}, drained for {:?}, is announced without a word: {route:?}", now - *since);
            }
            match (known.state, known.cause) {
                (Some(VipState::Frozen), _) => {
                    rules.count("frozen never changes");
                    let first = known.frozen.get_or_insert_with(|| route.clone());
                    assert_eq!(*first, route, "{prefix} is frozen");
                    assert!(route.is_some(), "{prefix} is frozen, and gone");
                }
                (Some(VipState::Announced), Some(VipCause::AllUp)) => {
                    let vip = &config.vips[prefix];
                    let share = share_of(vip, shares);
                    for rung in &vip.ladder {
                        rules.count("not above its rung");
                        let (counting, total) = share;
                        let below = counting * 100 < total * u64::from(rung.below);
                        assert!(!below, "{prefix} is announced as healthy with {counting} of {total}");
                    }
                    assert_eq!(route.and_then(|it| it.med), Some(1), "{prefix}");
                }
                (Some(VipState::Withdrawn | VipState::Holding | VipState::Drained), _) => {
                    rules.count("not announced is gone");
                    assert!(
                        route.is_none(),
                        "{prefix} is {:?} for {:?}, and the router has {route:?}",
                        known.state,
                        known.cause
                    );
                }
                _ => {}
            }
        }
    }
}

/// The worst of its services, or the best.
fn share_of(vip: &Vip, shares: &[(u64, u64)]) -> (u64, u64) {
    let all = vip.services.iter().map(|at| shares[*at]);
    let by_share = |(counting, total): &(u64, u64)| counting * 1000 / (*total).max(1);
    match vip.policy {
        VipPolicy::All => all.min_by_key(by_share).unwrap(),
        VipPolicy::Any => all.max_by_key(by_share).unwrap(),
    }
}

/// A story, and what an operator would write down of it.
struct Story {
    world: World,
    config: Config,
    events: String,
}

fn story(seed: u64, with_drains: bool) -> Story {
    let mut rng = Rng::new(seed);
    let config = read(config(&mut rng));
    let mut plan = Plan::new(&mut Rng::new(0));
    plan.well = true;
    let mut world = World::with(seed, config.clone(), plan, false);
    world.judged_elsewhere = true;
    // As in a simulation.
    HOSTS.iter().for_each(|host| world.servers.set(host, Server::Answers(1)));
    while world.routers.is_empty() {
        world.step();
    }
    for router in world.routers.values_mut() {
        (router.traits.hold, router.traits.families, router.traits.refuses) = (9, Some([true, true]), None);
    }
    let clock = WallClock::new(world.start, Duration::ZERO);
    let (services, vips, drained) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut mind =
        Mind { config: config.clone(), services, vips, doubt_since: None, broken_until: None, drained, heard: 0 };
    let mut events = String::new();
    // What was up from the beginning, because nothing is required of it.
    let lines = world.engine.status(&clock).services;
    let up = lines.iter().enumerate().filter(|(_, line)| line.up).map(|(at, _)| (at, (ServiceState::Up, world.start)));
    mind.services.extend(up);
    follow(&mut world, &mut mind, &clock, 10 * SECOND);
    for _ in 0..40 {
        act(&mut world, &mut mind, &clock, &mut rng, &mut events, with_drains);
        let time = Duration::from_millis(300 + rng.below(9000));
        follow(&mut world, &mut mind, &clock, time);
    }
    for router in world.routers.values() {
        assert_eq!(router.losses, 0, "judgement cost {} its session", router.config.name);
    }
    Story { world, config: Config::clone(&config), events }
}

/// Something happens, and is written down: after all that happens in this moment, as here.
fn act(world: &mut World, mind: &mut Mind, clock: &WallClock, rng: &mut Rng, events: &mut String, with_drains: bool) {
    let at = format!("{}us", (world.now - world.start).as_micros() + 1);
    match rng.below(10) {
        // All at once, or all back.
        0 | 1 => {
            let passed = rng.below(2) == 0;
            for host in BACKENDS {
                let server = if passed { Server::Answers(1) } else { Server::Fails(1) };
                world.servers.set(host, server);
                writeln!(events, "{{\"at\": \"{at}\", \"backend\": \"{host}\", \"passed\": {passed}}}").unwrap();
            }
        }
        2 | 3 if world.config.self_checks.len() == 1 => {
            let passed = rng.below(3) > 0;
            world.servers.set(OWN, if passed { Server::Answers(1) } else { Server::Fails(1) });
            writeln!(events, "{{\"at\": \"{at}\", \"self_check\": \"own\", \"passed\": {passed}}}").unwrap();
        }
        4 if with_drains => {
            let prefix: Prefix = format!("192.0.2.{}", 1 + rng.below(VIPS as u64)).parse().unwrap();
            let target = Target::Prefix(prefix);
            if mind.drained.remove(&prefix).is_some() {
                world.engine.undrain(world.now, &target, None).unwrap();
                writeln!(events, "{{\"at\": \"{at}\", \"undrain\": \"{prefix}\"}}").unwrap();
            } else {
                let drain = Drain { reason: None, by: None, since: clock.timestamp(world.now), until: None };
                world.engine.drain(world.now, clock, &target, drain).unwrap();
                mind.drained.insert(prefix, world.now);
                writeln!(events, "{{\"at\": \"{at}\", \"drain\": \"{prefix}\"}}").unwrap();
            }
            world.drain();
        }
        _ => {
            let host = pick(rng, &BACKENDS);
            let passed = rng.below(2) == 0;
            world.servers.set(host, if passed { Server::Answers(1) } else { Server::Fails(1) });
            writeln!(events, "{{\"at\": \"{at}\", \"backend\": \"{host}\", \"passed\": {passed}}}").unwrap();
        }
    }
}

/// Lets time pass, and looks all the time.
fn follow(world: &mut World, mind: &mut Mind, clock: &WallClock, time: Duration) {
    let ends = world.now + time;
    while world.now < ends {
        world.run(Duration::from_millis(100).min(ends - world.now));
        for (at, notice) in &world.log[mind.heard..] {
            if crate::number("SIM_SEED").is_some() {
                println!("{:?} {notice:?}", *at - world.start);
            }
            mind.hear(*at, notice, &mut world.rules);
        }
        mind.heard = world.log.len();
        let broken = mind.vips.values().any(|known| matches!(known.cause, Some(VipCause::SelfCheck(_))));
        if broken {
            mind.broken_until = Some(world.log.iter().rev().map(|(at, _)| *at).next().unwrap_or(world.now));
        }
        let status = world.engine.status(clock);
        let shares: Vec<(u64, u64)> =
            status.services.iter().map(|line| (line.counting.unwrap(), line.total.unwrap())).collect();
        let Some(link) = world.routers["tor"].link().filter(|link| link.established) else { continue };
        mind.look(world.now, &link.routes, &shares, &mut world.rules);
    }
}

#[test]
fn what_is_judged_is_judged_right() {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let seeds = match crate::number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..crate::number("SIM_SEEDS").unwrap_or(16),
    };
    let whole = seeds.end - seeds.start > 8;
    for seed in seeds {
        println!("SIM_SEED={seed}");
        for (rule, count) in story(seed, true).world.rules.counts {
            *counts.entry(rule).or_default() += count;
        }
    }
    println!("{counts:#?}");
    for rule in [
        "a fall is taken back",
        "doubt",
        "drained is marked or gone",
        "falls",
        "frozen never changes",
        "hold_down honoured",
        "hold_up honoured",
        "not above its rung",
        "not announced is gone",
        "stands up",
        "suppression honoured",
    ] {
        assert!(!whole || counts.contains_key(rule), "no seed reaches: {rule}");
    }
}

type Told = (Duration, String);

/// What was told of each VIP, without the wait for first verdicts.
fn told<'n>(notices: impl Iterator<Item = (Duration, &'n Notice)>) -> BTreeMap<Prefix, Vec<Told>> {
    let mut told: BTreeMap<Prefix, Vec<Told>> = BTreeMap::new();
    for (at, notice) in notices {
        let Notice::Vip(event, _) = notice else { continue };
        if let VipCause::StartUp | VipCause::ServiceUndecided(_) = event.cause {
            continue;
        }
        let cause = format!("{:?}", event.cause);
        let kind = cause.split(['(', ' ']).next().unwrap().to_owned();
        told.entry(event.vip).or_default().push((at, format!("{:?} {kind}", event.to)));
    }
    told
}

#[test]
fn a_simulation_decides_as_the_live_engine_does() {
    let seeds = match crate::number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 100..100 + crate::number("SIM_SEEDS").unwrap_or(8),
    };
    for seed in seeds {
        println!("seed {seed}");
        let Story { world, config, events } = story(seed, true);
        let end = world.now - world.start;
        let live = told(world.log.iter().map(|(at, notice)| (*at - world.start, notice)));
        let text = format!("{events}{{\"at\": \"{}us\", \"end\": true}}\n", end.as_micros());
        let scenario = Scenario::parse(&text, &config).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        let simulation = Simulation::new(world.start, config, scenario);
        let simulated: Vec<_> = simulation.collect();
        let simulated = told(simulated.iter().map(|told| (told.at, &told.notice)));
        for (vip, live) in &live {
            let simulated = &simulated[vip];
            // What the live one has not quite reached at the end, the other may just have.
            let whole = |told: &Vec<Told>| told.iter().filter(|(at, _)| *at + SECOND < end).count();
            assert_eq!(whole(live), whole(simulated), "{vip}: {text}\n{live:?}\n{simulated:?}");
            let both = whole(live);
            for (one, other) in live.iter().zip(simulated).take(both) {
                let same = one.1 == other.1 && one.0.abs_diff(other.0) <= TOLERANCE;
                assert!(same, "{vip}: live {one:?}, simulated {other:?}\n{text}\n{live:?}\n{simulated:?}");
            }
        }
        assert!(live.values().map(Vec::len).sum::<usize>() > 20, "hardly a story");
    }
}
