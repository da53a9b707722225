//! What makes a check run before its time, and what a verdict is worth when it does not run at all.

use super::*;
use crate::config::{FailureKind, FailureKinds, OnStale};

fn refused() -> ProbeOutcome {
    ProbeOutcome::failed(FailureKind::Refused, "connection refused", MS)
}

/// Runs what is due at once, with this outcome, and says how many runs that were.
fn answer(health: &mut Health, now: Instant, outcome: &ProbeOutcome) -> usize {
    let requests: Vec<ProbeRequest> = std::iter::from_fn(|| health.poll_probe()).collect();
    for request in &requests {
        health.probe_started(request.ticket, now);
        health.probe_finished(now, request.ticket, outcome.clone());
    }
    requests.len()
}

/// Passing, half a second before its next run.
fn passing(timing: Timing) -> (Health, Instant) {
    let mut health = Health::new();
    let mut now = origin();
    health.configure(now, simple(1, timing), &|_| false);
    while health.service_state(0) != ServiceState::Up {
        now = now.max(health.poll_timeout().unwrap());
        health.handle_timeout(now);
        answer(&mut health, now, &outcome(true));
    }
    (health, now + SECOND / 2)
}

#[test]
fn an_alert_runs_the_check_at_once_and_again_as_long_as_it_passes() {
    let (mut health, now) = passing(Timing::default());
    health.path_changed(now, address(1).ip());
    assert_eq!(answer(&mut health, now, &outcome(true)), 1);
    // What happened may not be over when the first run comes.
    let mut runs = Vec::new();
    let mut at = now;
    while at < now + SECOND / 3 {
        at = health.poll_timeout().unwrap();
        health.handle_timeout(at);
        runs.extend((answer(&mut health, at, &outcome(true)) > 0).then_some(at - now));
    }
    assert_eq!(runs[..2], [25 * MS, 50 * MS]);
    assert!(runs[2..].iter().all(|run| *run > SECOND / 3), "{runs:?}");
    assert_eq!(health.service_state(0), ServiceState::Up);
}

#[test]
fn an_alert_is_no_verdict_but_a_conclusive_failure_is() {
    for (conclusive, state) in
        [(FailureKinds::NONE, ServiceState::Up), (FailureKinds::NONE.with(FailureKind::Refused), ServiceState::Down)]
    {
        let (mut health, now) = passing(Timing { fall: 3, conclusive, ..Timing::default() });
        health.path_changed(now, address(1).ip());
        assert_eq!(health.service_state(0), ServiceState::Up);
        answer(&mut health, now, &refused());
        assert_eq!(health.service_state(0), state);
        // Failures of other kinds count one by one.
        let (mut health, now) = passing(Timing { fall: 3, conclusive, ..Timing::default() });
        health.path_changed(now, address(1).ip());
        answer(&mut health, now, &outcome(false));
        assert_eq!(health.service_state(0), ServiceState::Up);
    }
}

#[test]
fn an_alert_during_a_run_has_another_one_follow() {
    let (mut health, now) = passing(Timing::default());
    let due = health.poll_timeout().unwrap();
    health.handle_timeout(due);
    let request = health.poll_probe().unwrap();
    health.probe_started(request.ticket, due);
    health.path_changed(due + MS, address(1).ip());
    assert!(health.poll_probe().is_none(), "never two runs of one check");
    health.probe_finished(due + 2 * MS, request.ticket, outcome(true));
    assert_eq!(health.poll_timeout().map(|at| at <= due + 40 * MS), Some(true));
    assert!(due > now);
}

#[test]
fn a_verdict_is_stale_when_nobody_runs_the_check() {
    for (on_stale, state) in [(OnStale::Keep, ServiceState::Up), (OnStale::Fail, ServiceState::Down)] {
        let (mut health, _) = passing(Timing { on_stale, ..Timing::default() });
        std::iter::from_fn(|| health.poll_event()).for_each(drop);
        let due = health.poll_timeout().unwrap();
        let mut now = due;
        let mut events = Vec::new();
        while now < due + 10 * SECOND {
            health.handle_timeout(now);
            events.extend(std::iter::from_fn(|| health.poll_event()));
            now = now.max(health.poll_timeout().unwrap());
        }
        let stale: Vec<_> = events.iter().filter(|event| matches!(event, HealthEvent::Stale { .. })).collect();
        assert!(matches!(stale[..], [HealthEvent::Stale { stale: true, .. }]), "told once: {stale:?}");
        let check = health.check(0);
        assert!(check.stale && check.passing == Some(true) && check.lag >= SECOND);
        assert_eq!(health.service_state(0), state);
        // At last a worker takes it.
        assert_eq!(answer(&mut health, now, &outcome(true)), 1);
        assert!(!health.check(0).stale);
        assert_eq!(health.service_state(0), ServiceState::Up);
        let news = std::iter::from_fn(|| health.poll_event()).next();
        assert!(matches!(news, Some(HealthEvent::Stale { stale: false, .. })), "{news:?}");
    }
}

#[test]
fn a_failing_check_that_stands_has_its_own_interval() {
    let timing = Timing { down_interval: 7 * SECOND, ..at_once() };
    let mut world = World::new(&simple(1, timing));
    world.targets.insert(1, Target::Fails(MS));
    world.run(60 * SECOND);
    assert!((8..=10).contains(&world.starts.len()), "{}", world.starts.len());
    world.targets.insert(1, Target::Passes(MS));
    world.starts.clear();
    world.run(60 * SECOND);
    assert!((50..=61).contains(&world.starts.len()), "{}", world.starts.len());
}

fn wired(timing: Timing) -> (Health, Instant, Ticket) {
    let (mut health, now) = passing(Timing { tripwire: true, ..timing });
    let opened: Vec<WireAction> = std::iter::from_fn(|| health.poll_wire()).collect();
    let [WireAction::Open(ticket, _)] = opened[..] else { panic!("{opened:?}") };
    health.wire_opened(now, ticket);
    (health, now, ticket)
}

#[test]
fn the_end_of_a_tripwire_runs_its_check() {
    let (mut health, now, wire) = wired(Timing::default());
    assert_eq!(health.wire(0).map(|wire| wire.state), Some(WireState::Open));
    health.wire_ended(now, wire);
    assert_eq!(health.service_state(0), ServiceState::Up, "no verdict by itself");
    assert_eq!(answer(&mut health, now, &outcome(true)), 1);
    // It rests, and comes back with a run that passes.
    let mut at = now;
    while health.poll_wire().is_none() {
        at = at.max(health.poll_timeout().unwrap());
        assert!(at < now + 3 * SECOND);
        health.handle_timeout(at);
        answer(&mut health, at, &outcome(true));
    }
    assert!(at >= now + SECOND);
    assert_eq!(health.wire(0).map(|wire| (wire.state, wire.ended)), Some((WireState::Opening, 1)));
}

#[test]
fn a_crash_is_known_as_soon_as_its_tripwire_ends() {
    let conclusive = FailureKinds::NONE.with(FailureKind::Refused);
    let (mut health, now, wire) = wired(Timing { conclusive, ..Timing::default() });
    health.wire_ended(now, wire);
    answer(&mut health, now, &refused());
    assert_eq!(health.service_state(0), ServiceState::Down);
    // Nobody connects to what fails.
    let mut at = now;
    while at < now + 20 * SECOND {
        at = health.poll_timeout().unwrap();
        health.handle_timeout(at);
        answer(&mut health, at, &refused());
    }
    assert!(health.poll_wire().is_none());
}

#[test]
fn a_changed_path_runs_all_checks_that_take_it() {
    let (mut health, now) = passing(Timing::default());
    health.path_changed(now, "10.0.0.2".parse().unwrap());
    assert!(health.poll_probe().is_none());
    health.path_changed(now, "10.0.0.1".parse().unwrap());
    assert_eq!(answer(&mut health, now, &outcome(true)), 1);
}
