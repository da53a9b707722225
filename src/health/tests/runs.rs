//! When checks run, and what results, late ones and missing ones mean.

use super::*;

#[test]
fn starts_are_spread_and_meet_on_ticks() {
    let mut world = World::new(&simple(1000, Timing::default()));
    world.run(SECOND);
    let ports: std::collections::BTreeSet<u16> = world.starts.iter().map(|(port, ..)| *port).collect();
    assert_eq!(ports.len(), 1000, "every check has run within the first second");
    world.run(9 * SECOND);
    let mut buckets = vec![0; 1001];
    for (_, at, due) in &world.starts {
        assert!(at >= due && *at - *due < MS);
        buckets[(*at - world.starts[0].1).as_millis() as usize / 10] += 1;
    }
    assert!(buckets[1..990].iter().all(|starts| (6..=14).contains(starts)), "{buckets:?}");
    let before = world.wakes;
    world.run(10 * SECOND);
    assert!(world.wakes - before <= 1001, "{} turns in ten seconds", world.wakes - before);
    assert_eq!(world.state(), ServiceState::Up);
}

#[test]
fn no_drift_though_results_ride_along() {
    // Nothing wakes the loop but the check's own next start; each result is there then.
    let mut world = World::new(&simple(1, Timing::default()));
    world.run(10_000 * SECOND + MS);
    let starts = world.starts_of(1);
    assert_eq!(starts.len(), 10_001);
    for (run, at) in starts.iter().enumerate().skip(2) {
        assert_eq!(*at, SECOND * run as u32);
    }
    assert!(world.wakes <= 10_010, "{}", world.wakes);
    assert!(world.events.len() == 3);
}

#[test]
fn haste_while_the_verdict_is_open() {
    let timing = Timing { rise: 3, fall: 3, fast_interval: 100 * MS, ..Timing::default() };
    let mut world = World::new(&simple(1, timing));
    world.run(4500 * MS);
    let ms = |starts: Vec<Duration>| starts.iter().map(Duration::as_millis).collect::<Vec<_>>();
    assert_eq!(ms(world.starts_of(1)), [0, 100, 200, 1000, 2000, 3000, 4000]);
    world.targets.insert(1, Target::Fails(MS));
    world.run(SECOND);
    assert_eq!(ms(world.starts_of(1))[7..], [5000, 5100, 5200]);
    assert_eq!((world.passing(0), world.state()), (Some(false), ServiceState::Down));
    world.run(SECOND);
    assert_eq!(ms(world.starts_of(1))[10..], [6000]);
    // One pass amid failures: haste until it is settled again.
    world.targets.insert(1, Target::Passes(MS));
    world.run(550 * MS);
    world.targets.insert(1, Target::Fails(MS));
    world.run(400 * MS);
    assert_eq!(ms(world.starts_of(1))[11..], [7000, 7100]);
    world.run(2 * SECOND);
    assert_eq!(ms(world.starts_of(1))[13..], [8000, 9000]);
}

#[test]
fn a_dead_target_is_found_within_three_seconds_by_default() {
    // Whatever the moment of death, with probes that end in their timeout a little after the next start was due.
    for died in [0, 1, 500, 990, 999] {
        let mut world = World::new(&simple(1, Timing::default()));
        world.run(10 * SECOND + died * MS);
        assert_eq!(world.state(), ServiceState::Up);
        world.targets.insert(1, Target::Fails(SECOND + 2 * MS));
        let death = world.now;
        while world.state() == ServiceState::Up {
            world.run(MS);
        }
        assert!(world.now - death <= 3 * SECOND + 20 * MS, "{:?}", world.now - death);
    }
}

#[test]
fn a_run_never_meets_its_predecessor() {
    let timing = Timing { interval: 100 * MS, fast_interval: 100 * MS, timeout: SECOND, ..at_once() };
    let mut world = World::new(&simple(1, timing));
    world.run(SECOND);
    world.targets.insert(1, Target::Passes(250 * MS));
    let before = world.starts.len();
    world.run(3 * SECOND);
    let starts = &world.starts_of(1)[before..];
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == 300 * MS), "{starts:?}");
    assert_eq!(world.health.schedule().overdue, 0);
}

#[test]
fn the_clock_outranks_the_worker() {
    let timing = Timing { timeout: 500 * MS, fast_interval: 200 * MS, ..Timing::default() };
    let mut world = World::new(&simple(1, timing));
    world.run(5 * SECOND + 10 * MS);
    assert_eq!(world.passing(0), Some(true));
    world.targets.insert(1, Target::Hangs);
    world.events.clear();
    let begin = world.now;
    while world.state() == ServiceState::Up {
        world.run(10 * MS);
    }
    // One interval until it is asked, then twice timeout and grace (the second at once).
    assert!(world.now - begin <= SECOND + 2 * 760 * MS, "{:?}", world.now - begin);
    let HealthEvent::Check { passing: false, detail, streak: 2, .. } = &world.events[0] else {
        panic!("{:?}", world.events)
    };
    assert_eq!(detail, "no result within 750ms");
    assert_eq!(world.health.schedule().overdue, 2);
    assert!(world.health.schedule().running <= 1, "given up is not running");
}

#[test]
fn a_stuck_worker_is_found_though_nobody_told_of_its_start() {
    // The pool takes the probe, its word of that rides along, and there is no other check to wake the loop.
    let timing = Timing { interval: 60 * SECOND, fast_interval: 60 * SECOND, ..at_once() };
    let mut world = World::new(&simple(1, timing));
    world.run(SECOND);
    world.targets.insert(1, Target::Hangs);
    // Started at 60 s, given up at 61.25 s.
    world.run(60 * SECOND + 300 * MS);
    assert_eq!(world.state(), ServiceState::Down);
}

#[test]
fn late_and_repeated_results_match_nothing() {
    let mut health = Health::new();
    let (start, config) = (origin(), simple(1, at_once()));
    health.configure(start, config, &|_| false);
    health.handle_timeout(start);
    let first = health.poll_probe().unwrap();
    assert_eq!((first.due, first.expected, first.timeout), (start, None, SECOND));
    health.probe_started(first.ticket, start);
    let limit = start + SECOND + checks::GRACE;
    // A start that meets it is left out.
    assert_eq!(health.poll_timeout(), Some(start + SECOND));
    health.handle_timeout(start + SECOND);
    assert_eq!(health.poll_timeout(), Some(limit));
    assert!(health.poll_probe().is_none());
    health.handle_timeout(limit);
    assert_eq!(health.check(0).passing, Some(false));
    assert_eq!(health.schedule().overdue, 1);

    health.probe_finished(limit, first.ticket, outcome(true));
    health.probe_started(first.ticket, limit);
    assert_eq!((health.check(0).passing, health.check(0).streak), (Some(false), 0));
    let due = health.poll_timeout().unwrap();
    assert_eq!(due, start + 2 * SECOND);
    health.handle_timeout(due);
    let second = health.poll_probe().unwrap();
    assert_eq!(second.expected, Some(Finding::plain(false)));
    health.probe_finished(due, first.ticket, outcome(true));
    assert_eq!(health.check(0).passing, Some(false));
    health.probe_finished(due, second.ticket, outcome(true));
    assert_eq!(health.check(0).passing, Some(true));
    health.probe_finished(due, second.ticket, outcome(false));
    health.probe_finished(due, Ticket { check: 99, generation: 1 }, outcome(false));
    assert_eq!((health.check(0).passing, health.check(0).streak), (Some(true), 0));
    let schedule = health.schedule();
    assert_eq!((schedule.running, schedule.queued), (0, 0));
}

#[test]
fn a_result_just_in_time_counts_and_one_at_the_limit_does_not() {
    for (late, passing) in [(Duration::ZERO, true), (MS, false)] {
        let mut world = World::new(&simple(1, at_once()));
        world.run(3 * SECOND - MS);
        world.targets.insert(1, Target::Passes(SECOND + checks::GRACE + late));
        world.run(2 * SECOND);
        assert_eq!(world.passing(0), Some(passing), "{late:?}");
    }
}

#[test]
fn a_probe_that_no_worker_takes_is_not_the_backends_fault() {
    let timing = Timing { timeout: 100 * MS, ..at_once() };
    let mut world = World::new(&simple(2, timing));
    world.run(2 * SECOND);
    world.targets.insert(1, Target::Queues);
    world.events.clear();
    let wakes = world.wakes;
    world.run(60 * SECOND);
    // A whole interval late, its verdict is old; that is all.
    let stale = |event: &HealthEvent| matches!(event, HealthEvent::Stale { check: 0, stale: true, behind } if *behind >= SECOND);
    assert!(world.events.len() == 1 && world.events.iter().all(stale), "{:?}", world.events);
    assert_eq!((world.state(), world.health.service(0).available), (ServiceState::Up, 2));
    let schedule = world.health.schedule();
    assert_eq!((schedule.queued, schedule.overdue), (1, 0));
    assert!(schedule.lag_p99 > 50 * SECOND, "lag shows: {schedule:?}");
    assert!(world.wakes - wakes < 60 * 6, "{}", world.wakes - wakes);

    // Taken at last, its time runs from then.
    let ticket = Ticket { check: 0, generation: world.health.checks.state(0).unwrap().generation };
    world.health.probe_started(ticket, world.now);
    assert_eq!(world.health.schedule().running, 1);
    world.run(340 * MS);
    assert_eq!(world.passing(0), Some(true));
    world.run(20 * MS);
    assert_eq!(world.passing(0), Some(false));
}

#[test]
fn expected_only_when_nothing_is_open() {
    let mut health = Health::new();
    let mut now = origin();
    health.configure(now, simple(1, Timing::default()), &|_| false);
    let mut expected = Vec::new();
    for passed in [true, true, true, false, true, true, false, false, false] {
        now = now.max(health.poll_timeout().unwrap());
        health.handle_timeout(now);
        let request = health.poll_probe().unwrap();
        expected.push(request.expected);
        health.probe_started(request.ticket, now);
        health.probe_finished(now, request.ticket, outcome(passed));
    }
    let (yes, no) = (Some(Finding::plain(true)), Some(Finding::plain(false)));
    assert_eq!(expected, [None, None, yes, yes, None, yes, yes, None, no]);
}

#[test]
fn all_at_once_when_asked() {
    let timing = Timing { interval: 10 * SECOND, fast_interval: 10 * SECOND, timeout: SECOND, ..at_once() };
    let mut world = World::new(&simple(50, timing));
    world.run(20 * SECOND + 5 * MS);
    world.turn();
    world.targets.extend((1..=50).map(|port| (port, Target::Fails(MS))));
    world.targets.insert(50, Target::Queues);
    let before = world.starts.len();
    world.health.check_all_now(world.now);
    world.turn();
    assert_eq!(world.starts.len() - before, 50);
    assert!(world.starts[before..].iter().all(|(_, at, due)| at == due));
    world.health.check_all_now(world.now);
    world.turn();
    assert_eq!(world.starts.len() - before, 50, "those that run are left alone");
    world.run(5 * MS);
    assert_eq!((0..49).filter(|check| world.passing(*check) == Some(false)).count(), 49);
    assert_eq!(world.passing(49), Some(true));
    // Back on their grids, spread as before.
    world.targets.clear();
    world.run(11 * SECOND);
    let before = world.starts.len();
    world.run(10 * SECOND);
    let mut times: Vec<Instant> = world.starts[before..].iter().map(|(_, at, _)| *at).collect();
    times.dedup();
    assert!(times.len() >= 45, "{}", times.len());
}

#[test]
fn cost_follows_the_change() {
    // 20,000 checks; a service each, but for one check that 50 services share.
    let mut checks: Vec<Check> = (0..20_000).map(|port| check(port, at_once())).collect();
    let mut services: Vec<Service> = (0..20_000usize)
        .map(|n| {
            let used: &[usize] = if n < 50 { &[n, 19_999] } else { &[n] };
            service(&format!("s{n}"), &["192.0.2.1"], Required::Backends(1), vec![backend(80, used)])
        })
        .collect();
    services.push(service("other", &["192.0.2.2"], Required::Backends(1), vec![backend(80, &[20_000])]));
    checks.push(check(20_000, Timing { interval: 60 * SECOND, fast_interval: 60 * SECOND, ..at_once() }));
    let mut health = Health::new();
    let mut now = origin();
    health.configure(now, config(checks, services), &|_| false);
    let mut tickets = BTreeMap::new();
    while tickets.len() < 20_001 {
        now = health.poll_timeout().unwrap();
        health.handle_timeout(now);
        while let Some(request) = health.poll_probe() {
            tickets.insert(request.probe.target.port(), request.ticket);
        }
    }
    let touched = |health: &Health| health.checks.touched + health.services.touched;
    let cost = |health: &mut Health, port: u16, passed: bool| {
        let before = touched(health);
        health.probe_finished(now, tickets[&port], outcome(passed));
        touched(health) - before
    };
    assert!(cost(&mut health, 100, true) <= 3);
    assert!(cost(&mut health, 20_000, false) <= 3);
    assert!(cost(&mut health, 19_999, false) <= 1 + 2 * 51);

    // A tick does what is due on it: every check once a second, a hundred ticks, two looks each.
    let (before, end) = (touched(&health), now + SECOND);
    while let Some(at) = health.poll_timeout().filter(|at| *at < end) {
        let before = touched(&health);
        health.handle_timeout(at);
        assert!(touched(&health) - before < 500, "{} at one tick", touched(&health) - before);
    }
    assert!(touched(&health) - before < 45_000, "{}", touched(&health) - before);
}

#[test]
fn a_loop_that_was_away_catches_up_at_once() {
    let mut health = Health::new();
    let start = origin();
    health.configure(start, simple(2, at_once()), &|_| false);
    health.handle_timeout(start + SECOND);
    let running = health.poll_probe().unwrap();
    assert!(health.poll_probe().is_some() && health.poll_probe().is_none());
    health.probe_finished(start + SECOND, running.ticket, outcome(true));
    let (before, now) = (health.checks.touched, start + 100_000 * SECOND);
    health.handle_timeout(now);
    assert!(health.checks.touched - before <= 2, "{}", health.checks.touched - before);
    assert_eq!((health.poll_probe().is_some(), health.poll_probe().is_none()), (true, true));
    assert!(health.poll_timeout().is_some_and(|at| at > now && at <= now + SECOND));
}
