//! The fail-static guard and the self-checks.

use VipState::Frozen;

use super::*;
use crate::config::{FailStatic, OnFailure, Population, SelfCheck};

fn guard() -> FailStatic {
    let limit = Some(60 * SECOND);
    FailStatic { of: Population::Vips, share: 50, minimum: 2, window: 10 * SECOND, limit }
}

/// So many VIPs, each on a service of its own.
fn world_of(vips: usize, edit: impl FnOnce(&mut Config)) -> World {
    let services: Vec<[usize; 1]> = (0..vips).map(|n| [n]).collect();
    let list: Vec<(&[usize], Duration, OnDown)> =
        services.iter().map(|services| (services.as_slice(), NO_HOLD, OnDown::Withdraw)).collect();
    let mut config = config(vips, &list);
    config.fail_static = Some(guard());
    edit(&mut config);
    World::new(&config, &"+".repeat(vips))
}

fn own(check: usize, on_failure: OnFailure) -> SelfCheck {
    SelfCheck { name: format!("own{check}").into(), checks: vec![check], on_failure }
}

impl World {
    fn states(&self, vips: usize) -> Vec<VipState> {
        (0..vips).map(|n| self.vip(n).0).collect()
    }

    fn fall(&mut self, services: std::ops::Range<usize>) {
        services.for_each(|service| self.service(service, '-'));
    }

    fn ends(&self) -> Vec<DoubtEnd> {
        let end = |event: &GuardEvent| if let GuardEvent::Ended { why, .. } = event { Some(*why) } else { None };
        self.guard_events.iter().filter_map(end).collect()
    }
}

#[test]
fn what_turns_bad_at_once_is_doubted_with_what_came_just_before() {
    let mut world = world_of(4, |_| {});
    world.fall(0..2);
    assert_eq!(world.states(4), [Withdrawn, Withdrawn, Announced, Announced], "half of them is not more than half");
    world.run(9 * SECOND);
    world.fall(2..3);
    assert_eq!(world.states(4), [Frozen, Frozen, Frozen, Announced]);
    assert_eq!(world.routes.len(), 4, "as before it all began");
    let doubt = Doubt::Vips { bad: 3, of: 4 };
    assert_eq!(world.guard_events, [GuardEvent::Began { doubt, until: Some(world.now + 60 * SECOND) }]);
    assert_eq!(world.vip(0).1, VipCause::Doubted(doubt, Fault::Service(0)));
    assert_eq!(world.core.doubt().map(|status| status.doubted), Some(3));
    // What turns bad while there is a doubt is doubted, too.
    world.run(30 * SECOND);
    world.fall(3..4);
    assert_eq!(world.states(4), [Frozen; 4]);
    let told = world.told;
    world.run(29 * SECOND);
    assert_eq!(world.told, told, "what is frozen does not change");
    world.run(SECOND);
    assert_eq!((world.states(4), world.ends()), (vec![Withdrawn; 4], vec![DoubtEnd::Limit]));
    world.run(300 * SECOND);
    assert_eq!(world.guard_events.len(), 2, "the end is not the beginning of another doubt");
}

#[test]
fn what_turns_bad_slowly_is_not_doubted() {
    let mut world = world_of(4, |_| {});
    for service in 0..4 {
        world.fall(service..service + 1);
        world.run(10 * SECOND);
    }
    // One of four, of three, of two, and the last.
    assert_eq!((world.states(4), world.guard_events.len()), (vec![Withdrawn; 4], 0));
    // Two of the two that are healthy: long-standing faults do not water it down.
    let mut world = world_of(20, |_| {});
    for service in 0..18 {
        world.fall(service..service + 1);
        world.run(10 * SECOND);
    }
    world.fall(18..20);
    assert_eq!(world.states(20)[17..], [Withdrawn, Frozen, Frozen]);
}

#[test]
fn what_recovers_was_never_away() {
    let mut world =
        world_of(4, |config| config.vips.values_mut().for_each(|vip| vip.hold_up = Hold::constant(5 * SECOND)));
    world.run(5 * SECOND);
    world.fall(0..4);
    assert_eq!(world.states(4), [Frozen; 4]);
    world.run(20 * SECOND);
    (0..3).for_each(|service| world.service(service, '+'));
    assert_eq!(world.states(4), [Announced, Announced, Announced, Frozen], "no hold_up for what did not fall");
    world.run(9 * SECOND);
    assert_eq!(world.vip(3).0, Frozen, "the others had some time, and so has it");
    world.run(SECOND);
    assert_eq!((world.vip(3).0, world.ends()), (Withdrawn, vec![DoubtEnd::Recovered]));
    assert!(world.routes.len() == 3 && world.core.doubt().is_none());
    // And it has fallen now.
    world.service(3, '+');
    assert_eq!(world.vip(3), (Holding, VipCause::HoldUp(world.now + 5 * SECOND)));
}

#[test]
fn a_fall_that_was_doubted_afterwards_is_none() {
    let hold = Hold { initial: 5 * SECOND, max: 60 * SECOND, reset_after: 3600 * SECOND };
    let mut world = world_of(4, |config| config.vips.values_mut().for_each(|vip| vip.hold_down = hold));
    world.fall(0..1);
    assert_eq!(world.vip(0).0, Withdrawn);
    world.fall(1..4);
    assert_eq!(world.states(4), [Frozen; 4]);
    (0..4).for_each(|service| world.service(service, '+'));
    world.run(20 * SECOND);
    assert_eq!(world.states(4), [Announced; 4]);
    world.fall(0..1);
    world.service(0, '+');
    assert_eq!(world.vip(0), (Holding, VipCause::HoldDown(world.now + 5 * SECOND)), "the first one");
}

#[test]
fn a_recovery_that_does_not_last_prolongs_the_doubt() {
    let mut world = world_of(4, |config| config.fail_static.as_mut().unwrap().limit = None);
    world.fall(0..4);
    for _ in 0..50 {
        (0..3).for_each(|service| world.service(service, '+'));
        world.run(9 * SECOND);
        world.fall(0..3);
        world.run(SECOND);
        assert_eq!((world.states(4), world.ends().len()), (vec![Frozen; 4], 0));
    }
}

#[test]
fn self_checks_that_pass_say_that_it_is_them() {
    let mut world =
        world_of(4, |config| config.self_checks = vec![own(7, OnFailure::Hold), own(8, OnFailure::Withdraw)]);
    world.fall(0..4);
    assert_eq!((world.states(4), world.asked.len()), (vec![Frozen; 4], 2), "in doubt for as long as it takes to ask");
    world.run(SECOND);
    world.answer(7, true);
    assert_eq!(world.states(4), [Frozen; 4]);
    world.answer(8, true);
    assert_eq!((world.states(4), world.ends()), (vec![Withdrawn; 4], vec![DoubtEnd::SelfChecksPass]));
    world.fall(0..4);
    world.run(60 * SECOND);
    assert_eq!(world.guard_events.len(), 2);
}

#[test]
fn self_checks_that_fail_are_asked_again_later() {
    let mut world = world_of(4, |config| config.self_checks = vec![own(7, OnFailure::Hold)]);
    world.fall(0..4);
    world.answer(7, false);
    world.answer(7, true);
    assert_eq!(world.states(4), [Frozen; 4], "nobody had asked");
    world.run(10 * SECOND);
    assert_eq!(world.asked, [7, 7]);
    world.answer(7, true);
    // It was us: others have to be found healthy again, which takes a while.
    world.run(9 * SECOND);
    world.service(0, '+');
    assert_eq!(world.states(4), [Announced, Frozen, Frozen, Frozen]);
    world.run(SECOND);
    assert_eq!(world.states(4), [Announced, Withdrawn, Withdrawn, Withdrawn]);
    assert_eq!(world.ends(), [DoubtEnd::SelfCheckRecovered]);
}

/// Seen in a simulated cut of the uplink: the gateway answers before the backends have been found healthy.
#[test]
fn a_self_check_that_fails_in_doubt_makes_the_fault_ours() {
    let mut world = world_of(4, |config| config.self_checks = vec![own(7, OnFailure::Hold)]);
    world.fall(0..4);
    let told = world.told;
    world.check(7, false);
    world.run(10 * SECOND);
    world.answer(7, true);
    assert_eq!(world.states(4), [Frozen; 4], "its verdict is still that it fails");
    world.check(7, true);
    world.run(10 * SECOND);
    assert_eq!(world.asked.len(), 3);
    world.answer(7, true);
    world.run(5 * SECOND);
    world.check(7, false);
    world.run(9 * SECOND);
    assert_eq!(world.states(4), [Frozen; 4], "it has failed again");
    world.check(7, true);
    (0..4).for_each(|service| world.service(service, '+'));
    assert_eq!((world.states(4), world.told), (vec![Announced; 4], told), "nobody has been told anything");
}

#[test]
fn a_self_check_that_fails_holds_what_it_is_configured_to_hold() {
    let mut world = world_of(4, |config| {
        config.fail_static = None;
        config.self_checks = vec![own(7, OnFailure::Hold)];
    });
    // What fell shortly before our own fault was seen is part of it.
    world.fall(0..1);
    world.run(2 * SECOND);
    world.check(7, false);
    world.fall(1..3);
    assert_eq!(world.states(4), [Frozen, Frozen, Frozen, Announced]);
    assert_eq!(world.vip(1).1, VipCause::Doubted(Doubt::SelfCheck(0), Fault::Service(1)));
    world.run(100 * SECOND);
    world.check(7, true);
    world.run(5 * SECOND);
    // It has not recovered for good.
    world.check(7, false);
    world.run(20 * SECOND);
    assert_eq!(world.states(4), [Frozen, Frozen, Frozen, Announced]);
    world.check(7, true);
    // The others have to be found healthy again, which takes a while.
    world.run(9 * SECOND);
    world.service(0, '+');
    assert_eq!(world.states(4), [Announced, Frozen, Frozen, Announced]);
    world.run(SECOND);
    assert_eq!(world.states(4), [Announced, Withdrawn, Withdrawn, Announced]);
    let told: Vec<bool> = world.guard_events.iter().map(|event| matches!(event, GuardEvent::Ended { .. })).collect();
    assert_eq!(told, [false, false, false, false, false, true], "{:?}", world.guard_events);
    // It may not hold for ever.
    world.check(7, false);
    world.fall(0..4);
    world.run(FailStatic::LIMIT);
    assert_eq!((world.states(4), world.routes.len()), (vec![Withdrawn; 4], 0));
    world.run(FailStatic::LIMIT);
    assert_eq!(world.guard_events.iter().filter(|event| matches!(event, GuardEvent::Began { .. })).count(), 2);
}

#[test]
fn a_self_check_that_withdraws_takes_everything_and_gives_it_back_after_hold_up() {
    let mut world = world_of(2, |config| {
        config.self_checks = vec![own(7, OnFailure::Withdraw)];
        config.vips.values_mut().for_each(|vip| (vip.hold_up, vip.on_down) = (Hold::constant(5 * SECOND), degrade()));
    });
    world.run(5 * SECOND);
    assert_eq!(world.routes.len(), 2);
    world.check(7, false);
    assert_eq!((world.vip(0), world.routes.len()), ((Withdrawn, VipCause::SelfCheck(0)), 0));
    world.fall(0..1);
    assert_eq!(world.vip(0), (Withdrawn, VipCause::SelfCheck(0)));
    world.run(20 * SECOND);
    world.check(7, true);
    assert_eq!((world.vip(0).0, world.vip(1)), (Degraded, (Holding, VipCause::HoldUp(world.now + 5 * SECOND))));
}

/// Whatever looks at it again, and although the other self-check holds.
#[test]
fn what_was_down_long_before_is_no_part_of_it() {
    let mut world = world_of(4, |config| {
        config.self_checks = vec![own(7, OnFailure::Hold), own(8, OnFailure::Withdraw)];
    });
    world.fall(0..1);
    world.run(20 * SECOND);
    world.fall(1..4);
    assert_eq!(world.states(4), [Withdrawn, Frozen, Frozen, Frozen]);
    world.check(8, false);
    assert_eq!((world.states(4), world.routes.len()), (vec![Withdrawn; 4], 0));
    world.check(8, true);
    assert_eq!(world.states(4), [Withdrawn, Frozen, Frozen, Frozen]);
}

#[test]
fn backends_can_be_what_is_counted() {
    let mut world = world_of(2, |config| config.fail_static.as_mut().unwrap().of = Population::Backends);
    for backend in 0..4 {
        world.core.backend_changed(world.now, 0, backend, true);
    }
    world.fall(0..2);
    assert_eq!(world.states(2), [Withdrawn, Withdrawn], "VIPs are not counted");
    world.service(0, '+');
    for backend in 0..2 {
        world.core.backend_changed(world.now, 0, backend, false);
    }
    world.core.backend_changed(world.now, 0, 1, true);
    world.core.backend_changed(world.now, 0, 2, false);
    world.drain();
    assert!(world.core.doubt().is_none());
    world.core.backend_changed(world.now, 0, 3, false);
    world.drain();
    assert_eq!(world.core.doubt().map(|status| status.doubt), Some(Doubt::Backends { bad: 3, of: 4 }));
    world.fall(0..1);
    assert_eq!(world.states(2), [Frozen, Frozen], "what fell shortly before is doubted");
    world.core.backend_changed(world.now, 0, 0, true);
    world.run(10 * SECOND);
    assert_eq!((world.states(2), world.ends()), (vec![Withdrawn, Withdrawn], vec![DoubtEnd::Recovered]));
}

#[test]
fn in_doubt_routes_may_be_degraded() {
    let mut world = world_of(2, |config| config.vips.values_mut().for_each(|vip| vip.doubtful = Some(med(77))));
    world.fall(0..2);
    assert_eq!((world.states(2), world.med(0)), (vec![Degraded; 2], Some(77)));
    assert!(matches!(world.vip(0).1, VipCause::Doubted(..)));
    world.service(0, '+');
    assert_eq!((world.vip(0).0, world.med(0)), (Announced, Some(1)));
    world.run(60 * SECOND);
    assert_eq!((world.vip(1).0, world.med(1)), (Withdrawn, None));
}

/// In doubt nobody steps down a ladder either.
#[test]
fn in_doubt_rungs_are_kept() {
    let rung = |below, to| crate::config::Rung { below, action: crate::config::RungAction::Announce(med(to)) };
    let mut world = world_of(3, |config| {
        config.vips.values_mut().for_each(|vip| vip.ladder = vec![rung(80, 80), rung(40, 40)]);
    });
    world.share(2, 7, 10);
    world.fall(0..2);
    let doubt = Doubt::Vips { bad: 2, of: 3 };
    world.share(2, 3, 10);
    assert_eq!((world.vip(2), world.med(2)), ((Degraded, VipCause::Doubted(doubt, Fault::Rung(1))), Some(80)));
    assert_eq!(world.core.doubt().map(|status| status.doubted), Some(2), "it is not unhealthy");
    world.share(2, 7, 10);
    assert_eq!(world.vip(2), (Degraded, VipCause::Rung(0)));
    world.share(2, 3, 10);
    // One that falls altogether keeps the route that it had.
    world.fall(2..3);
    assert_eq!((world.vip(2).0, world.med(2)), (Frozen, Some(80)));
    world.service(2, '+');
    world.run(60 * SECOND);
    assert_eq!((world.vip(2), world.med(2)), ((Degraded, VipCause::Rung(1)), Some(40)));
}

#[test]
fn what_is_drained_or_removed_goes_whatever_is_doubted() {
    let mut world = world_of(3, |_| {});
    world.fall(0..3);
    world.core.drain(world.now, prefix(0), true);
    world.drain();
    assert_eq!(world.states(3), [Announced, Frozen, Frozen], "it says that it will go");
    world.run(10 * SECOND);
    assert_eq!(world.states(3), [Drained, Frozen, Frozen]);
    // A reload keeps the doubt.
    let mut config = plain(&[&[0], &[1]], 2);
    config.fail_static = Some(guard());
    world.configure(&config, "--");
    assert_eq!(world.states(2), [Drained, Frozen]);
    assert_eq!(world.routes.len(), 1);
    config.fail_static = None;
    world.configure(&config, "--");
    assert_eq!((world.states(2), world.ends()), (vec![Drained, Withdrawn], vec![DoubtEnd::Unconfigured]));
}

/// A stop in doubt: what is frozen is left its grace like everything else.
#[test]
fn a_stop_in_doubt() {
    let mut world = world_of(2, |_| {});
    world.fall(0..2);
    world.core.stop(world.now, 2 * SECOND);
    world.drain();
    assert_eq!(world.routes.len(), 2);
    assert!(world.routes.values().all(|route| route.communities.contains(&Community::GRACEFUL_SHUTDOWN)));
    world.run(2 * SECOND);
    assert!(world.routes.is_empty() && world.core.is_stopped());
}

#[test]
fn cost_follows_the_change() {
    const VIPS: usize = 10_000;
    let mut world = world_of(VIPS, |_| {});
    world.core.touched = 0;
    world.fall(0..100);
    assert_eq!(world.core.touched, 100);
    world.fall(100..5001);
    assert!(world.core.touched < 3 * 5001, "{}", world.core.touched);
    assert!(world.core.doubt().is_some());
    world.core.touched = 0;
    world.service(0, '+');
    assert_eq!(world.core.touched, 1);
    world.run(60 * SECOND);
    assert!(world.core.touched < 2 * 5001, "{}", world.core.touched);
    assert_eq!(world.routes.len(), VIPS - 5000);
}
