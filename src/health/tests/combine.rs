//! Several checks of a backend, weights, files that disable, and services that depend on others.

use super::*;
use crate::config::Weight;

/// One backend with the checks on ports 1, 2, …
fn one_backend(checks: u16, combine: Combine, advisory: &[usize]) -> Arc<Config> {
    let mut only = backend(80, &(0..usize::from(checks)).collect::<Vec<_>>());
    only.combine = combine;
    advisory.iter().for_each(|index| only.checks[*index].advisory = true);
    let checks = (1..=checks).map(|port| check(port, at_once())).collect();
    config(checks, vec![service("web", &["192.0.2.1"], Required::Backends(1), vec![only])])
}

/// Runs every check once, with these outcomes by port.
fn round(health: &mut Health, now: &mut Instant, outcomes: &[ProbeOutcome]) {
    *now += SECOND * 10;
    health.check_all_now(*now);
    while let Some(request) = health.poll_probe() {
        health.probe_started(request.ticket, *now);
        let outcome = outcomes[usize::from(request.probe.target.port()) - 1].clone();
        health.probe_finished(*now, request.ticket, outcome);
    }
}

fn said(word: char) -> ProbeOutcome {
    outcome(word == '+')
}

#[test]
fn so_many_checks_as_the_operator_wants() {
    for (combine, advisory, words, up) in [
        (Combine::All, &[][..], "+++", true),
        (Combine::All, &[], "++-", false),
        (Combine::AtLeast(1), &[], "--+", true),
        (Combine::AtLeast(1), &[], "---", false),
        (Combine::AtLeast(2), &[], "+-+", true),
        (Combine::AtLeast(2), &[], "+--", false),
        (Combine::Percent(67), &[], "++-", false), // 67 % of three is more than two
        (Combine::Percent(66), &[], "++-", true),
        (Combine::All, &[1], "+-+", true),
        (Combine::All, &[0, 1, 2], "---", true),
        (Combine::AtLeast(1), &[2], "--+", false),
    ] {
        let mut health = Health::new();
        let mut now = origin();
        health.configure(now, one_backend(3, combine, advisory), &|_| false);
        round(&mut health, &mut now, &words.chars().map(said).collect::<Vec<_>>());
        let status = health.service(0);
        assert_eq!((status.backends[0].up, status.backends[0].decided), (up, true), "{combine:?} {advisory:?} {words}");
        assert_eq!(status.state, if up { ServiceState::Up } else { ServiceState::Down });
        // What it turns to comes out the same as what it begins with.
        for before in ["+++", "---"] {
            round(&mut health, &mut now, &before.chars().map(said).collect::<Vec<_>>());
            round(&mut health, &mut now, &words.chars().map(said).collect::<Vec<_>>());
            assert_eq!(health.service(0).backends[0].up, up, "{combine:?} {advisory:?} {before} {words}");
        }
    }
}

#[test]
fn what_is_open_decides_nothing_early_and_holds_nothing_up() {
    // One of two that pass is enough for any, and one that fails for all, whatever the other finds.
    for (combine, passed, state) in [
        (Combine::AtLeast(1), true, ServiceState::Up),
        (Combine::AtLeast(1), false, ServiceState::Undecided),
        (Combine::All, true, ServiceState::Undecided),
        (Combine::All, false, ServiceState::Down),
    ] {
        let mut health = Health::new();
        let now = origin();
        health.configure(now, one_backend(2, combine, &[]), &|_| false);
        health.check_all_now(now);
        let request = health.poll_probe().unwrap();
        health.probe_started(request.ticket, now);
        health.probe_finished(now, request.ticket, outcome(passed));
        assert_eq!(health.service_state(0), state, "{combine:?} {passed}");
    }
}

fn weighs(weight: Weight) -> ProbeOutcome {
    ProbeOutcome { weight: Some(weight), ..outcome(true) }
}

#[test]
fn the_least_weight_that_a_passing_check_asks_for() {
    let mut config = (*one_backend(3, Combine::AtLeast(1), &[2])).clone();
    config.services[0].backends[0].weight = 10;
    let mut health = Health::new();
    let mut now = origin();
    health.configure(now, Arc::new(config), &|_| false);
    for (outcomes, weight) in [
        ([outcome(true), outcome(true), outcome(true)], 10),
        ([weighs(Weight::Percent(75)), outcome(true), outcome(true)], 8),
        ([weighs(Weight::Percent(75)), weighs(Weight::Absolute(3)), outcome(true)], 3),
        ([weighs(Weight::Percent(200)), outcome(true), outcome(true)], 20),
        // One that fails asks for nothing, and one that is advisory neither.
        (
            [weighs(Weight::Percent(75)), ProbeOutcome { passed: false, ..weighs(Weight::Absolute(1)) }, outcome(true)],
            8,
        ),
        ([outcome(true), outcome(true), weighs(Weight::Absolute(1))], 10),
    ] {
        round(&mut health, &mut now, &outcomes);
        assert_eq!(health.service(0).backends[0].weight, weight, "{outcomes:?}");
    }
    let last = std::iter::from_fn(|| health.poll_event()).filter(|event| matches!(event, HealthEvent::Weight { .. }));
    let weights: Vec<_> = last.collect();
    assert_eq!(weights.len(), 5, "{weights:?}");
}

/// With a weight of 1 there is nothing between all and nothing, but people shall see that it is not well.
#[test]
fn degraded_is_told_even_where_there_is_no_less() {
    let mut health = Health::new();
    let mut now = origin();
    health.configure(now, one_backend(1, Combine::All, &[]), &|_| false);
    for (outcome, degraded) in [
        (outcome(true), false),
        (weighs(Weight::Percent(50)), true),
        (weighs(Weight::Percent(50)), true),
        (weighs(Weight::Percent(100)), false),
    ] {
        round(&mut health, &mut now, &[outcome]);
        let backend = &health.service(0).backends[0];
        assert_eq!((backend.weight, backend.degraded), (1, degraded));
    }
    let told = std::iter::from_fn(|| health.poll_event()).filter(|event| matches!(event, HealthEvent::Weight { .. }));
    assert_eq!(told.count(), 2);
}

/// A backend that says so of itself is drained, not dead: routes go gently.
#[test]
fn no_weight_is_a_drain() {
    let mut health = Health::new();
    let mut now = origin();
    health.configure(now, one_backend(1, Combine::All, &[]), &|_| false);
    for (outcome, state) in [
        (outcome(true), ServiceState::Up),
        (weighs(Weight::Percent(0)), ServiceState::Drained),
        (outcome(true), ServiceState::Up),
        (weighs(Weight::Absolute(0)), ServiceState::Drained),
        (outcome(false), ServiceState::Down),
        (weighs(Weight::Absolute(0)), ServiceState::Down),
        (outcome(true), ServiceState::Up),
    ] {
        round(&mut health, &mut now, std::slice::from_ref(&outcome));
        assert_eq!(health.service_state(0), state, "{outcome:?}");
    }
}

#[test]
fn a_file_takes_a_service_out_of_use_and_only_when_it_is_known_to_be_there() {
    let mut config = (*one_backend(2, Combine::All, &[])).clone();
    config.services[0].backends[0].checks.pop();
    config.services[0].disable = Some(1);
    let config = Arc::new(config);
    let mut health = Health::new();
    let now = origin();
    health.configure(now, config.clone(), &|_| false);
    health.check_all_now(now);
    let mut requests: Vec<ProbeRequest> = std::iter::from_fn(|| health.poll_probe()).collect();
    requests.sort_by_key(|request| request.probe.target.port());
    let finish = |health: &mut Health, index: usize, passed: bool| {
        health.probe_started(requests[index].ticket, now);
        health.probe_finished(now, requests[index].ticket, outcome(passed));
    };
    // Nothing is announced before somebody has looked whether the file is there.
    finish(&mut health, 0, true);
    assert_eq!(health.service_state(0), ServiceState::Undecided);
    finish(&mut health, 1, true);
    let status = health.service(0);
    assert_eq!((status.state, status.disabled), (ServiceState::Drained, true));
    let mut now = now;
    for (words, state) in [
        ("+-", ServiceState::Up),
        ("++", ServiceState::Drained),
        ("-+", ServiceState::Down),
        ("--", ServiceState::Down),
        ("+-", ServiceState::Up),
    ] {
        round(&mut health, &mut now, &words.chars().map(said).collect::<Vec<_>>());
        assert_eq!(health.service_state(0), state, "{words}");
    }
    // It stays so over a reload.
    round(&mut health, &mut now, &[said('+'), said('+')]);
    health.configure(now, config, &|_| true);
    assert_eq!(health.service_state(0), ServiceState::Drained);
}

fn alias(of: &str) -> Check {
    let kind = ProbeKind::Alias(of.into());
    let target = "0.0.0.0:0".parse().unwrap();
    Check { probe: Arc::new(Probe { target, egress: Egress::default(), kind }), timing: Timing::default() }
}

/// A chain: c follows b follows a, and each has a check of its own besides.
#[test]
fn services_follow_others_as_far_as_it_goes() {
    let own = |port| check(port, at_once());
    let checks = vec![own(1), own(2), own(3), alias("a"), alias("b")];
    let chain =
        |name, checks: &[usize]| service(name, &["192.0.2.1"], Required::Backends(1), vec![backend(80, checks)]);
    let config = config(checks, vec![chain("c", &[2, 4]), chain("b", &[1, 3]), chain("a", &[0])]);
    let mut health = Health::new();
    let mut now = origin();
    health.configure(now, config.clone(), &|_| false);
    let states = |health: &Health| [0, 1, 2].map(|service| health.service_state(service));
    let (up, down) = (ServiceState::Up, ServiceState::Down);
    assert_eq!(states(&health), [ServiceState::Undecided; 3]);
    for (words, expected) in [
        ("+++", [up, up, up]),
        ("-++", [down, down, down]),
        ("+++", [up, up, up]),
        ("+-+", [down, down, up]),
        ("++-", [down, up, up]),
        ("+++", [up, up, up]),
    ] {
        round(&mut health, &mut now, &words.chars().map(said).collect::<Vec<_>>());
        assert_eq!(states(&health), expected, "{words}");
        health.configure(now, config.clone(), &|_| false);
        assert_eq!(states(&health), expected, "after a reload: {words}");
    }
    // No worker is asked, and a drain is no illness.
    assert!(std::iter::from_fn(|| health.poll_probe()).all(|request| request.probe.target.port() > 0));
    health.drain(now, "a", None, true);
    assert_eq!(states(&health), [up, up, ServiceState::Drained]);
}

#[test]
fn a_silent_result_changes_nothing_but_a_beginning() {
    let silent = ProbeOutcome { is_silent: true, ..outcome(true) };
    let mut health = Health::new();
    let mut now = origin();
    health.configure(now, one_backend(1, Combine::All, &[]), &|_| false);
    for (outcome, state, weight) in [
        (silent.clone(), ServiceState::Up, 1),
        (weighs(Weight::Absolute(7)), ServiceState::Up, 7),
        (silent.clone(), ServiceState::Up, 7),
        (outcome(false), ServiceState::Down, 1),
        (silent, ServiceState::Down, 1),
    ] {
        round(&mut health, &mut now, &[outcome]);
        assert_eq!((health.service_state(0), health.service(0).backends[0].weight), (state, weight));
    }
}

#[test]
fn warnings_are_told_once_each() {
    let warns = |text: &str| ProbeOutcome { warning: Some(text.into()), ..outcome(true) };
    let mut health = Health::new();
    let mut now = origin();
    health.configure(now, one_backend(1, Combine::All, &[]), &|_| false);
    let mut told = Vec::new();
    for outcome in [warns("9 days"), warns("9 days"), outcome(false), warns("9 days"), warns("8 days"), outcome(true)] {
        round(&mut health, &mut now, &[outcome]);
        told.extend(std::iter::from_fn(|| health.poll_event()).filter_map(|event| match event {
            HealthEvent::Warning { warning, .. } => Some(warning),
            _ => None,
        }));
    }
    assert_eq!(told, [Some("9 days".into()), Some("8 days".into()), None]);
}
