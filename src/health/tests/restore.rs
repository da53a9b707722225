//! Verdicts from before a restart.

use ServiceState::{Down, Undecided, Up};

use super::*;
use crate::config::{OnStale, Weight};

/// Three checks with identities, one backend each; one backend must count.
fn three(timing: Timing) -> Arc<Config> {
    let config = simple(3, timing);
    let identities = config.checks.iter().map(|check| check.probe.identity()).collect();
    Arc::new(Config { identities, ..Config::clone(&config) })
}

fn slow() -> Timing {
    let (interval, fast_interval) = (10 * SECOND, SECOND);
    Timing { rise: 3, fall: 2, interval, fast_interval, first_interval: interval, ..Timing::default() }
}

fn said(passing: bool, now: Instant) -> Restored {
    let since = now.checked_sub(100 * SECOND);
    Restored { passing, since, weight: None, detail: "as it was".to_owned() }
}

/// After a restart with these verdicts, `+`, `-`, and `.` for none, to targets that are like that now, or do not answer.
fn restarted(config: &Arc<Config>, marks: &str, found: &str) -> World {
    let mut world = World::new(&Arc::default());
    for (mark, port) in found.chars().zip(1..) {
        let target = if mark == '+' { Target::Passes(MS) } else { Target::Fails(MS) };
        world.targets.insert(port, if mark == '.' { Target::Queues } else { target });
    }
    let mut health = Health::new();
    let marks = config.identities.iter().zip(marks.chars()).filter(|(_, mark)| *mark != '.');
    health.restore(marks.map(|(identity, mark)| (identity.clone(), said(mark == '+', world.now))).collect());
    world.health = health;
    world.configure(config, false);
    world
}

#[test]
fn what_was_said_stands_until_it_is_found_otherwise() {
    let config = three(slow());
    let mut world = restarted(&config, "+--", "---");
    assert_eq!(world.state(), Up, "at once, without a run");
    let restored = (0..3).find(|check| world.health.check(*check).restored).unwrap();
    let status = world.health.check(restored);
    assert!(status.since.is_some_and(|since| world.now - since == 100 * SECOND));
    assert_eq!(status.last.unwrap().detail, "as it was");
    // It has died meanwhile: that takes as many failures as ever.
    world.run(10 * SECOND);
    let fails = world.health.check(0);
    assert!(!fails.restored && (fails.passing == Some(false) || fails.streak == 1), "{fails:?}");
    assert_eq!(world.health.restored(), 0, "every check has run within its interval");
    world.run(2 * SECOND);
    assert_eq!(world.state(), Down);
    // And to come back, as many passes.
    let mut world = restarted(&config, "---", "+++");
    assert_eq!(world.state(), Down);
    world.run(1500 * MS);
    assert_eq!(world.state(), Down, "two passes are not three");
    world.run(15 * SECOND);
    assert_eq!(world.state(), Up);
}

#[test]
fn what_nothing_was_said_of_is_awaited() {
    let mut world = restarted(&three(slow()), "-.-", "+-+");
    assert_eq!((world.state(), world.health.restored()), (Undecided, 2));
    world.run(15 * SECOND);
    assert_eq!(world.state(), Up, "the others pass, whatever was said of them");
}

/// Another thing by the same name is another thing.
#[test]
fn only_the_same_probe_is_known_again() {
    let config = three(slow());
    let mut other = Config::clone(&config);
    let port = "10.0.0.1:99".parse().unwrap();
    other.checks[0].probe = Arc::new(Probe { target: port, ..Probe::clone(&config.checks[0].probe) });
    other.checks[1].timing.rise = 9;
    other.identities = other.checks.iter().map(|check| check.probe.identity()).collect();
    assert_ne!(other.identities[0], config.identities[0]);
    let mut health = Health::new();
    let now = origin();
    health.restore(config.identities.iter().map(|identity| (identity.clone(), said(true, now))).collect());
    health.configure(now, Arc::new(other), &|_| false);
    assert_eq!([0, 1, 2].map(|check| health.check(check).passing), [None, Some(true), Some(true)]);
}

#[test]
fn a_reload_restores_nothing() {
    let config = three(slow());
    let mut world = restarted(&config, "+..", "...");
    let one = Config {
        checks: vec![config.checks[1].clone()],
        identities: vec![config.identities[1].clone()],
        ..Config::default()
    };
    world.configure(&Arc::new(one), false);
    world.configure(&config, false);
    assert_eq!(world.passing(0), None, "it is new, and knows nothing");
}

/// A pool that is stuck does not make it true for ever.
#[test]
fn what_cannot_be_run_becomes_stale() {
    let timing = Timing { on_stale: OnStale::Fail, ..slow() };
    let mut world = restarted(&three(timing), "+++", "...");
    world.run(60 * SECOND);
    assert!(world.health.check(0).stale);
    assert_eq!(world.state(), Down);
}

#[test]
fn what_is_said_now_can_be_said_again() {
    let config = three(at_once());
    let mut world = World::new(&config);
    world.targets.insert(2, Target::Fails(MS));
    world.run(5 * SECOND);
    let now: BTreeMap<Arc<str>, Restored> =
        world.health.verdicts().map(|(identity, said)| (identity.clone(), said)).collect();
    assert_eq!(now.values().filter(|said| said.passing).count(), 2);
    let mut again = Health::new();
    again.restore(now.clone());
    again.configure(world.now, config.clone(), &|_| false);
    assert_eq!(again.verdicts().map(|(identity, said)| (identity.clone(), said)).collect::<BTreeMap<_, _>>(), now);
    // Weights, too.
    let weight = Some(Weight::Absolute(0));
    let mut drained = Health::new();
    drained.restore(now.into_iter().map(|(identity, said)| (identity, Restored { weight, ..said })).collect());
    drained.configure(world.now, config, &|_| false);
    assert_eq!(drained.service_state(0), ServiceState::Drained);
}
