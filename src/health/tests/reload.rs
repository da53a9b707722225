//! How services, backends and checks start, and what a reload keeps.

use ServiceState::{Down, Undecided, Up};

use std::borrow::Cow;

use super::*;

/// Checks 0, 1 and 2 by the ports 1, 2 and 3; services as given.
fn with(services: Vec<Service>) -> Arc<Config> {
    config((1..=3).map(|port| check(port, at_once())).collect(), services)
}

fn web(required: Required, backends: Vec<Backend>) -> Arc<Config> {
    with(vec![service("web", &["192.0.2.1"], required, backends)])
}

/// A core whose checks 0 to 2 have these verdicts (`+`, `-`, `?`).
fn decided(config: &Arc<Config>, announced: bool, verdicts: &str) -> Health {
    let mut health = Health::new();
    health.configure(origin(), config.clone(), &|_| announced);
    tell(&mut health, verdicts);
    health
}

/// Gives each check its verdict, in order.
fn tell(health: &mut Health, verdicts: &str) {
    let now = health.poll_timeout().unwrap() + 10 * SECOND;
    health.handle_timeout(now);
    for (index, verdict) in verdicts.chars().enumerate().filter(|(_, verdict)| *verdict != '?') {
        let states = (0..).map_while(|check| health.checks.state(check));
        let state = states.into_iter().find(|state| state.check.probe.target == address(index as u16 + 1)).unwrap();
        let ticket = Ticket { check: state.key, generation: state.generation };
        health.probe_finished(now, ticket, outcome(verdict == '+'));
    }
}

fn events(health: &mut Health) -> Vec<HealthEvent> {
    std::iter::from_fn(|| health.poll_event()).filter(|event| !matches!(event, HealthEvent::Share { .. })).collect()
}

fn ups(health: &Health, service: usize) -> String {
    let mark = |up: bool, decided: bool| match (up, decided) {
        (true, true) => '+',
        (false, true) => '-',
        (true, false) => 'u',
        (false, false) => 'd',
    };
    health.service(service).backends.iter().map(|backend| mark(backend.up, backend.decided)).collect()
}

#[test]
fn first_states() {
    use Required::{Backends, Percent};
    let two = || vec![backend(80, &[0]), backend(81, &[1])];
    let both = || vec![backend(80, &[0, 1])];
    let weightless = || vec![Backend { weight: 0, ..backend(80, &[0]) }, backend(81, &[1])];
    let disabled = || vec![Backend { enabled: false, ..backend(80, &[0]) }, backend(81, &[1])];
    type Case = (&'static str, Required, Vec<Backend>, bool, &'static str, ServiceState, &'static str);
    let table: Vec<Case> = vec![
        ("a new VIP waits", Backends(1), two(), false, "??", Undecided, "dd"),
        ("one is enough", Backends(1), two(), false, "+?", Up, "+d"),
        ("one may still come", Backends(1), two(), false, "-?", Undecided, "-d"),
        ("none can come", Backends(1), two(), false, "--", Down, "--"),
        ("not enough yet", Backends(2), two(), false, "+?", Undecided, "+d"),
        ("not enough ever", Backends(2), two(), false, "-?", Down, "-d"),
        ("more than there are", Backends(3), two(), false, "??", Down, "dd"),
        ("none required", Backends(0), two(), false, "??", Up, "dd"),
        ("none required, all failing", Backends(0), two(), false, "--", Up, "--"),
        ("no backends, none required", Backends(0), vec![], false, "", Up, ""),
        ("no backends", Backends(1), vec![], false, "", Down, ""),
        ("no backends, half of them", Percent(50), vec![], false, "", Up, ""),
        ("half", Percent(50), two(), false, "+?", Up, "+d"),
        ("more than half", Percent(51), two(), false, "+?", Undecided, "+d"),
        ("all checks must pass", Backends(1), both(), false, "+?", Undecided, "d"),
        ("all checks pass", Backends(1), both(), false, "++", Up, "+"),
        ("one failing check will do", Backends(1), both(), false, "-?", Down, "-"),
        ("nothing to check", Backends(1), vec![backend(80, &[])], false, "", Up, "+"),
        ("weight 0 does not count", Backends(1), weightless(), false, "+?", Undecided, "+d"),
        ("weight 0 has no say", Backends(1), weightless(), false, "?-", Down, "d-"),
        ("disabled does not count", Backends(1), disabled(), false, "+-", Down, "+-"),
        ("disabled counts among all", Percent(100), disabled(), false, "++", Down, "++"),
        ("a check named twice", Backends(1), vec![backend(80, &[0, 0])], false, "-", Down, "-"),
        ("a live VIP: presumed up", Backends(2), two(), true, "??", Up, "uu"),
        ("a live VIP: presumption ends", Backends(2), two(), true, "-?", Down, "-u"),
        ("a live VIP: confirmed", Backends(2), two(), true, "++", Up, "++"),
        ("a live VIP: too few to be up", Backends(3), two(), true, "??", Down, "uu"),
        ("a live VIP: disabled is not up", Backends(2), disabled(), true, "??", Down, "uu"),
    ];
    for (what, required, backends, announced, verdicts, state, marks) in table {
        let health = decided(&web(required, backends), announced, verdicts);
        assert_eq!((health.service_state(0), ups(&health, 0).as_str()), (state, marks), "{what}");
    }
}

#[test]
fn a_new_service_starts_up_only_where_all_its_vips_are_announced() {
    let live: Prefix = "192.0.2.1".parse().unwrap();
    for (vips, state) in
        [(vec!["192.0.2.1"], Up), (vec!["192.0.2.2"], Undecided), (vec!["192.0.2.1", "192.0.2.2"], Undecided)]
    {
        let mut health = Health::new();
        let web = service("web", &["192.0.2.1"], Required::Backends(0), vec![backend(80, &[0])]);
        health.configure(origin(), with(vec![web.clone()]), &|_| false);
        let new = service("new", &vips, Required::Backends(1), vec![backend(80, &[1])]);
        health.configure(origin(), with(vec![web, new]), &|vip| *vip == live);
        assert_eq!(health.service_state(1), state, "{vips:?}");
    }
}

#[test]
fn what_a_reload_makes_of_a_service() {
    use Required::{Backends, Percent};
    let one = || vec![backend(80, &[0])];
    let two = || vec![backend(80, &[0]), backend(81, &[1])];
    let three = || vec![backend(80, &[0]), backend(81, &[1]), backend(82, &[2])];
    let off = || vec![Backend { enabled: false, ..backend(80, &[0]) }, backend(81, &[1])];
    type Before = (Required, Vec<Backend>, &'static str);
    type After = (Required, Vec<Backend>);
    type Case = (&'static str, Before, After, ServiceState, &'static str);
    let table: Vec<Case> = vec![
        ("nothing", (Backends(1), two(), "+-"), (Backends(1), two()), Up, "+-"),
        ("a backend more", (Backends(1), one(), "+??"), (Backends(1), two()), Up, "+d"),
        ("a backend more, all required", (Percent(100), one(), "+??"), (Percent(100), two()), Up, "+d"),
        ("a backend more while down", (Backends(1), one(), "-??"), (Backends(1), two()), Down, "-d"),
        ("a backend more while undecided", (Backends(1), one(), "???"), (Backends(1), two()), Undecided, "dd"),
        ("its check is known", (Backends(1), one(), "-+?"), (Backends(1), two()), Up, "-+"),
        ("its check is known to fail", (Percent(100), one(), "+-?"), (Percent(100), two()), Down, "+-"),
        ("the only backend replaced", (Backends(1), one(), "+??"), (Backends(1), vec![backend(81, &[1])]), Up, "d"),
        ("a backend without checks", (Backends(1), one(), "-??"), (Backends(1), vec![backend(81, &[])]), Up, "+"),
        ("a backend less", (Backends(2), two(), "++?"), (Backends(2), one()), Down, "+"),
        ("a new check", (Backends(1), one(), "+??"), (Backends(1), vec![backend(80, &[0, 1])]), Up, "u"),
        ("another check", (Backends(1), one(), "+??"), (Backends(1), vec![backend(80, &[1])]), Up, "u"),
        ("a new check while down", (Backends(1), one(), "-??"), (Backends(1), vec![backend(80, &[1])]), Down, "d"),
        ("a new check that fails", (Backends(1), one(), "+-?"), (Backends(1), vec![backend(80, &[0, 1])]), Down, "-"),
        (
            "lost by a new check, another untried",
            (Backends(1), one(), "+-?"),
            (Backends(1), vec![backend(80, &[0, 1]), backend(81, &[2])]),
            Down,
            "-d",
        ),
        ("failing check taken away", (Backends(1), one(), "-??"), (Backends(1), vec![backend(80, &[])]), Up, "+"),
        ("more required", (Backends(1), two(), "+-?"), (Backends(2), two()), Down, "+-"),
        ("less required", (Backends(2), two(), "+-?"), (Backends(1), two()), Up, "+-"),
        ("switched off", (Backends(1), two(), "+-?"), (Backends(1), off()), Down, "+-"),
        ("switched off, another untried", (Backends(1), two(), "+??"), (Backends(1), off()), Up, "+d"),
        (
            "one fails as another comes",
            (Backends(2), two(), "++-"),
            (Backends(2), vec![backend(80, &[0, 2]), backend(81, &[1]), backend(83, &[])]),
            Up,
            "-++",
        ),
        ("two more, one known", (Backends(3), three(), "+++"), (Backends(3), three()), Up, "+++"),
    ];
    for (what, (required, backends, verdicts), (then_required, then_backends), state, marks) in table {
        let before = web(required, backends);
        let mut health = decided(&before, false, verdicts);
        events(&mut health);
        let old_state = health.service_state(0);
        let now = health.poll_timeout().unwrap();
        // Whatever is announced does not matter to a service that is known.
        health.configure(now, web(then_required, then_backends), &|_| true);
        assert_eq!((health.service_state(0), ups(&health, 0).as_str()), (state, marks), "{what}");
        let told = events(&mut health).into_iter().filter(|event| matches!(event, HealthEvent::Service { .. }));
        assert_eq!(told.count(), usize::from(state != old_state), "{what}");
    }
}

#[test]
fn a_presumption_ends_with_the_loss_of_a_backend() {
    let one = web(Required::Percent(50), vec![backend(80, &[0]), backend(81, &[1])]);
    let more = web(Required::Percent(100), vec![backend(80, &[0]), backend(81, &[1]), backend(82, &[2])]);
    for (verdicts, state) in [("???", Up), ("++?", Up), ("+++", Up), ("-??", Down), ("++-", Down)] {
        let mut health = decided(&one, false, "++");
        health.configure(health.poll_timeout().unwrap(), more.clone(), &|_| true);
        assert_eq!((health.service_state(0), ups(&health, 0).as_str()), (Up, "++d"));
        tell(&mut health, verdicts);
        assert_eq!(health.service_state(0), state, "{verdicts}");
    }
    // Two untried backends in place of two: enough could come, but the one that it had is lost.
    let swapped = web(Required::Backends(1), vec![backend(80, &[0]), backend(83, &[2])]);
    let mut health = decided(&one, false, "++");
    health.configure(health.poll_timeout().unwrap(), swapped, &|_| true);
    tell(&mut health, "-");
    assert_eq!((health.service_state(0), ups(&health, 0).as_str()), (Down, "-d"));
    tell(&mut health, "??+");
    assert_eq!(health.service_state(0), Up);
}

#[test]
fn services_and_backends_move_and_events_use_the_new_indexes() {
    let a = service("a", &["192.0.2.1"], Required::Backends(1), vec![backend(80, &[0]), backend(81, &[1])]);
    let b = service("b", &["192.0.2.2"], Required::Backends(1), vec![backend(80, &[2])]);
    let mut health = decided(&with(vec![a.clone(), b.clone()]), false, "+-+");
    // Left undrained: none of it may show later.
    let mut checks: Vec<Check> = (1..=3).rev().map(|port| check(port, at_once())).collect();
    checks.remove(1);
    let a = Service { backends: vec![backend(81, &[1]), backend(80, &[1])], ..a };
    let b = Service { backends: vec![backend(80, &[0])], ..b };
    let now = health.poll_timeout().unwrap();
    health.configure(now, config(checks, vec![b, a]), &|_| false);
    // The backend on port 81 is up now by another check.
    assert_eq!(events(&mut health), [HealthEvent::Backend { service: 1, backend: 0, up: true }]);
    assert_eq!((health.service_state(0), health.service_state(1)), (Up, Up));
    assert_eq!(
        (health.check(0).passing, health.check(1).passing, health.check(2).passing),
        (Some(true), Some(true), None)
    );
    tell(&mut health, "-");
    let refused = Cow::Borrowed("refused");
    assert_eq!(
        events(&mut health),
        [
            HealthEvent::Check { check: 1, passing: false, detail: refused, streak: 1 },
            HealthEvent::Backend { service: 1, backend: 0, up: false },
            HealthEvent::Backend { service: 1, backend: 1, up: false },
            HealthEvent::Service { service: 1, state: Down, available: 0, required: 1, on_sorry: false },
        ]
    );
}

#[test]
fn a_shared_check_tells_causes_before_effects() {
    let shared =
        |name| service(name, &["192.0.2.1"], Required::Backends(1), vec![backend(80, &[0]), backend(81, &[0])]);
    let mut health = decided(&with(vec![shared("a"), shared("b")]), false, "+");
    let kinds: Vec<(u8, usize)> = events(&mut health)
        .iter()
        .map(|event| match event {
            HealthEvent::Check { check, .. } => (0, *check),
            HealthEvent::Backend { service, .. } => (1, *service),
            HealthEvent::Service { service, .. } => (2, *service),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [(0, 0), (1, 0), (1, 0), (2, 0), (1, 1), (1, 1), (2, 1)]);
}

#[test]
fn a_run_survives_a_reload_that_keeps_its_check() {
    for (timing, kept) in [(at_once(), true), (Timing { interval: 5 * SECOND, ..at_once() }, true)] {
        let mut health = Health::new();
        let start = origin();
        health.configure(start, simple(1, at_once()), &|_| false);
        health.handle_timeout(start);
        let request = health.poll_probe().unwrap();
        // It moves from index 0 to 1.
        let checks = vec![check(9, at_once()), check(1, timing)];
        let web = service("web", &["192.0.2.1"], Required::Backends(1), vec![backend(1, &[1])]);
        health.configure(start + MS, config(checks, vec![web]), &|_| false);
        health.probe_finished(start + 2 * MS, request.ticket, outcome(true));
        assert_eq!(health.check(1).passing == Some(true), kept);
        assert_eq!(health.check(0).passing, None);
    }
    // Dropped, and the same probe again later: its old run means nothing.
    let mut health = Health::new();
    let start = origin();
    health.configure(start, simple(1, at_once()), &|_| false);
    health.handle_timeout(start);
    health.configure(start, config(vec![], vec![]), &|_| false);
    assert_eq!(health.poll_timeout(), None);
    health.configure(start, simple(1, at_once()), &|_| false);
    assert!(health.poll_probe().is_none(), "handed out for a check that is gone");
    assert_eq!(health.schedule().queued, 0);
}

#[test]
fn timing_changes_keep_verdicts_and_phases() {
    let mut world = World::new(&simple(100, at_once()));
    world.run(5 * SECOND);
    let phase = |world: &World, check: usize| world.health.checks.state(check).unwrap().pace;
    let before: Vec<_> = (0..100).map(|check| phase(&world, check).regular(world.now, false)).collect();
    // As it was, but for a few new ones in front: the others go on as before.
    let mut checks: Vec<Check> = (101..=110).chain(1..=100).map(|port| check(port, at_once())).collect();
    let backends: Vec<Backend> = (0..110).map(|check| backend(check as u16 + 1, &[check])).collect();
    let web = |backends: &[Backend]| service("web", &["192.0.2.1"], Required::Backends(1), backends.to_vec());
    world.configure(&config(checks.clone(), vec![web(&backends)]), true);
    let after: Vec<_> = (10..110).map(|check| phase(&world, check).regular(world.now, false)).collect();
    assert_eq!(before, after);
    assert!((10..110).all(|check| world.passing(check) == Some(true)));
    assert!((0..10).all(|check| world.passing(check).is_none()));
    let starts = world.starts.len();
    world.run(SECOND);
    assert!((110..=112).contains(&(world.starts.len() - starts)), "{}", world.starts.len() - starts);

    // Ten times as often: verdicts and history stay, and the pace is the new one at once.
    let often = Timing { interval: 100 * MS, fast_interval: 100 * MS, ..at_once() };
    for check in &mut checks {
        check.timing = often;
    }
    let since = world.health.check(50).since;
    world.configure(&config(checks, vec![web(&backends)]), true);
    assert_eq!((world.health.check(50).since, world.health.check(50).last.is_some()), (since, true));
    let starts = world.starts.len();
    world.run(SECOND);
    assert!((1090..=1210).contains(&(world.starts.len() - starts)), "{}", world.starts.len() - starts);
}

#[test]
fn one_probe_with_two_timings_is_two_checks() {
    let slow = Timing { interval: 7 * SECOND, ..at_once() };
    let both = config(
        vec![check(1, at_once()), check(1, slow)],
        vec![service("web", &["192.0.2.1"], Required::Backends(1), vec![backend(80, &[0, 1])])],
    );
    let mut health = Health::new();
    let start = origin();
    health.configure(start, both.clone(), &|_| false);
    health.handle_timeout(start + SECOND);
    let requests: Vec<_> = std::iter::from_fn(|| health.poll_probe()).collect();
    assert_eq!(requests.len(), 2);
    health.probe_finished(start + SECOND, requests[0].ticket, outcome(true));
    health.probe_finished(start + SECOND, requests[1].ticket, outcome(false));
    let verdicts = |health: &Health| (health.check(0).passing, health.check(1).passing);
    let first = verdicts(&health);
    assert!(first == (Some(true), Some(false)) || first == (Some(false), Some(true)));
    // Equal ones go first, however the others look: swapped, each keeps its own.
    let swapped = config(vec![check(1, slow), check(1, at_once())], both.services.clone());
    health.configure(start + SECOND, swapped, &|_| false);
    assert_eq!(verdicts(&health), (first.1, first.0));
}
