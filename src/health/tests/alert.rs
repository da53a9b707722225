//! What makes a check run before its time, and what a verdict is worth when it does not run at all.

use super::*;
use crate::config::{FailureKinds, OnStale};

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
    health.alert(now, 0);
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
        health.alert(now, 0);
        assert_eq!(health.service_state(0), ServiceState::Up);
        answer(&mut health, now, &refused());
        assert_eq!(health.service_state(0), state);
        // Failures of other kinds count one by one.
        let (mut health, now) = passing(Timing { fall: 3, conclusive, ..Timing::default() });
        health.alert(now, 0);
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
    health.alert(due + MS, 0);
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
