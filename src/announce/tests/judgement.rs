//! Policies, dependencies, holds, damping and ladders.

use VipState::Suppressed;

use super::*;
use crate::config::{Damping, Dependency, Rung, RungAction, VipPolicy};

/// One VIP on one service, changed by `edit`.
fn one(edit: impl FnOnce(&mut VipConfig)) -> Config {
    let mut config = plain(&[&[0]], 1);
    let vip = config.vips.get_mut(&prefix(0)).unwrap();
    edit(vip);
    config
}

fn ladder(rungs: &[(u8, Option<u32>)]) -> Vec<Rung> {
    let action = |to: Option<u32>| to.map_or(RungAction::Withdraw, |to| RungAction::Announce(med(to)));
    rungs.iter().map(|(below, to)| Rung { below: *below, action: action(*to) }).collect()
}

fn growing(initial: u64, max: u64) -> Hold {
    Hold { initial: initial as u32 * SECOND, max: max as u32 * SECOND, reset_after: max as u32 * SECOND }
}

#[test]
fn any_of_its_services_will_do() {
    let mut config = plain(&[&[0, 1]], 2);
    config.vips.get_mut(&prefix(0)).unwrap().policy = VipPolicy::Any;
    let mut world = World::new(&config, "-+");
    assert_eq!(world.vip(0), (Announced, VipCause::AllUp));
    world.service(1, '-');
    assert_eq!((world.vip(0), world.med(0)), ((Withdrawn, VipCause::ServiceDown(0)), None));
    world.service(0, '+');
    assert_eq!(world.med(0), Some(1));
    // What is drained is not needed as long as another is up.
    world.service(0, 'd');
    world.run(10 * SECOND);
    assert_eq!(world.vip(0).0, Drained);
    world.service(1, '+');
    assert_eq!(world.vip(0), (Announced, VipCause::AllUp));
}

#[test]
fn what_a_vip_depends_on_goes_before_it() {
    let mut config = plain(&[&[0], &[1]], 3);
    let (on_vip, on_service) = (Dependency::Vip(prefix(1)), Dependency::Service(2));
    config.vips.get_mut(&prefix(0)).unwrap().depends_on = vec![on_service, on_vip];
    let mut world = World::new(&config, "+?+");
    assert_eq!(world.vip(0), (Holding, VipCause::DependencyUndecided(on_vip)));
    assert!(!world.core.is_released());
    world.service(1, '+');
    assert!(world.core.is_released(), "what waits for another does not wait for itself");
    assert_eq!((world.med(0), world.med(1)), (Some(1), Some(1)));
    world.service(1, '-');
    assert_eq!((world.vip(0), world.med(0)), ((Withdrawn, VipCause::DependencyDown(on_vip)), None));
    world.service(1, '+');
    assert_eq!(world.med(0), Some(1));
    world.service(2, '-');
    assert_eq!((world.vip(0), world.med(1)), ((Withdrawn, VipCause::DependencyDown(on_service)), Some(1)));
    world.service(2, '+');
    // A drain goes on to those that depend on what is drained, and so does its grace.
    world.core.drain(world.now, prefix(1), true);
    world.drain();
    assert!(world.routes.values().all(|route| route.communities.contains(&Community::GRACEFUL_SHUTDOWN)));
    world.run(10 * SECOND);
    let drained = VipCause::Drained(DrainedBy::Dependency(on_vip));
    assert_eq!((world.vip(0), world.vip(1).0), ((Drained, drained), Drained));
    world.core.drain(world.now, prefix(1), false);
    world.drain();
    assert_eq!((world.vip(0).0, world.vip(1).0), (Announced, Announced));
    // It is known by its prefix, wherever a reload puts it.
    world.configure(&config, "+-+");
    assert_eq!(world.vip(0), (Withdrawn, VipCause::DependencyDown(on_vip)));
}

#[test]
fn a_vip_waits_for_the_hold_of_what_it_depends_on() {
    let mut config = plain(&[&[0], &[0]], 1);
    config.vips.get_mut(&prefix(0)).unwrap().depends_on = vec![Dependency::Vip(prefix(1))];
    config.vips.get_mut(&prefix(1)).unwrap().hold_up = Hold::constant(5 * SECOND);
    let mut world = World::new(&config, "+");
    assert_eq!(world.vip(0), (Holding, VipCause::DependencyUndecided(Dependency::Vip(prefix(1)))));
    world.run(5 * SECOND);
    assert_eq!((world.med(0), world.med(1)), (Some(1), Some(1)));
    assert_eq!(world.events.iter().filter(|event| event.to == Some(Withdrawn)).count(), 0);
}

/// Down and up again; how long until it is announced.
fn comeback(world: &mut World) -> Duration {
    world.service(0, '-');
    assert_eq!(world.med(0), None);
    world.service(0, '+');
    let start = world.now;
    while world.med(0).is_none() {
        let at = world.core.poll_timeout().expect("it comes back some time");
        world.run(at - world.now);
    }
    world.now - start
}

#[test]
fn hold_down_grows_with_every_fall_and_forgets_in_time() {
    let config = one(|vip| vip.hold_down = growing(10, 60));
    let mut world = World::new(&config, "+");
    assert_eq!(world.med(0), Some(1), "nothing has fallen yet");
    for expected in [10, 20, 40, 60, 60] {
        assert_eq!(comeback(&mut world), expected * SECOND);
    }
    world.service(0, '-');
    world.service(0, '+');
    assert_eq!(world.vip(0), (Holding, VipCause::HoldDown(world.now + 60 * SECOND)));
    // A reload does not cut it short.
    world.run(SECOND);
    world.configure(&config, "+");
    world.run(58 * SECOND);
    assert_eq!(world.vip(0).0, Holding);
    world.run(SECOND);
    assert_eq!(world.vip(0).0, Announced);
    world.run(60 * SECOND);
    assert_eq!(comeback(&mut world), 10 * SECOND, "it has stood for reset_after");
}

#[test]
fn hold_down_counts_from_the_fall_and_hold_up_from_the_recovery() {
    let config = one(|vip| (vip.hold_down, vip.hold_up) = (growing(10, 10), growing(4, 16)));
    let mut world = World::new(&config, "+");
    world.run(4 * SECOND);
    assert_eq!(world.med(0), Some(1));
    world.service(0, '-');
    world.run(8 * SECOND);
    world.service(0, '+');
    assert_eq!(world.vip(0), (Holding, VipCause::HoldDown(world.now + 2 * SECOND)));
    world.run(2 * SECOND);
    assert_eq!(world.vip(0), (Holding, VipCause::HoldUp(world.now + 2 * SECOND)));
    world.run(2 * SECOND);
    assert_eq!(world.med(0), Some(1));
    // The second fall in a row: twice as long. What is down before it was announced has not fallen.
    assert_eq!(comeback(&mut world), 10 * SECOND);
    world.service(0, '-');
    for _ in 0..10 {
        world.run(SECOND);
        world.service(0, '+');
        world.service(0, '-');
    }
    world.service(0, '+');
    assert_eq!(world.vip(0), (Holding, VipCause::HoldUp(world.now + 16 * SECOND)));
}

#[test]
fn what_flaps_is_suppressed_until_it_has_been_quiet() {
    let damping =
        Damping { penalty: 1000, suppress: 2500, reuse: 500, half_life: 10 * SECOND, max_suppress: 60 * SECOND };
    let config = one(|vip| vip.damping = Some(damping));
    let mut world = World::new(&config, "+");
    for _ in 0..2 {
        assert_eq!(comeback(&mut world), NO_HOLD);
    }
    world.service(0, '-');
    assert_eq!(world.vip(0).0, Withdrawn);
    world.service(0, '+');
    let (state, VipCause::Suppressed(until)) = world.vip(0) else { panic!("{:?}", world.vip(0)) };
    // 3000 becomes 500 in 2.58 half-lives.
    let wait = (until - world.now).as_secs_f64();
    assert!(state == Suppressed && (25.8..25.9).contains(&wait), "{wait}");
    // Falls that nobody sees do not count.
    world.run(10 * SECOND);
    world.service(0, '-');
    world.service(0, '+');
    assert_eq!(world.vip(0), (Suppressed, VipCause::Suppressed(until)));
    assert_eq!(world.core.damping(world.now, &prefix(0)).map(|(penalty, _)| penalty.round()), Some(1500.0));
    world.configure(&config, "+");
    world.run(until - world.now);
    assert_eq!((world.vip(0).0, world.med(0)), (Announced, Some(1)));
    // There is a longest suppression, however often it falls.
    let config = one(|vip| vip.damping = Some(Damping { penalty: 1_000_000, ..damping }));
    let mut world = World::new(&config, "+");
    world.service(0, '-');
    world.service(0, '+');
    world.run(60 * SECOND);
    assert_eq!(world.vip(0).0, Suppressed);
    world.run(SECOND);
    assert_eq!(world.vip(0).0, Announced);
}

#[test]
fn what_never_withdraws_is_suppressed_with_its_degraded_attributes() {
    let damping = Damping { penalty: 3000, ..Damping::default() };
    let mut world = World::new(&one(|vip| (vip.damping, vip.on_down) = (Some(damping), degrade())), "+");
    world.service(0, '-');
    assert_eq!((world.vip(0).0, world.med(0)), (Degraded, Some(1000)));
    world.service(0, '+');
    assert_eq!((world.vip(0).0, world.med(0)), (Suppressed, Some(1000)));
    world.run(600 * SECOND);
    assert_eq!((world.vip(0).0, world.med(0)), (Announced, Some(1)));
}

#[test]
fn down_the_ladder_at_once_and_up_after_hold_up() {
    let rungs = ladder(&[(75, Some(75)), (50, Some(50)), (20, None)]);
    let mut world = World::new(&one(|vip| (vip.ladder, vip.hold_up) = (rungs, growing(5, 5))), "+");
    world.share(0, 10, 10);
    world.run(5 * SECOND);
    assert_eq!(world.vip(0), (Announced, VipCause::AllUp));
    world.share(0, 7, 10);
    assert_eq!((world.vip(0), world.med(0)), ((Degraded, VipCause::Rung(0)), Some(75)));
    world.share(0, 4, 10);
    assert_eq!((world.vip(0), world.med(0)), ((Degraded, VipCause::Rung(1)), Some(50)));
    let told = world.events.len();
    world.share(0, 3, 10);
    assert_eq!(world.events.len(), told, "the same rung is no news");
    world.share(0, 8, 10);
    assert_eq!((world.vip(0), world.med(0)), ((Degraded, VipCause::Climb(1, world.now + 5 * SECOND)), Some(50)));
    world.run(2 * SECOND);
    world.share(0, 6, 10);
    world.run(3 * SECOND);
    assert_eq!((world.vip(0), world.med(0)), ((Degraded, VipCause::Rung(0)), Some(75)), "as good as it has been");
    world.share(0, 10, 10);
    world.run(5 * SECOND);
    assert_eq!((world.vip(0), world.med(0)), ((Announced, VipCause::AllUp), Some(1)));
    // The last rung withdraws, and from there the way leads over hold_up.
    world.share(0, 1, 10);
    assert_eq!((world.vip(0), world.med(0)), ((Withdrawn, VipCause::Rung(2)), None));
    world.share(0, 6, 10);
    assert_eq!(world.vip(0), (Holding, VipCause::HoldUp(world.now + 5 * SECOND)));
    world.run(5 * SECOND);
    assert_eq!((world.vip(0), world.med(0)), ((Degraded, VipCause::Rung(0)), Some(75)));
    // Down is down, whatever the ladder says.
    world.service(0, '-');
    assert_eq!(world.vip(0), (Withdrawn, VipCause::ServiceDown(0)));
}

#[test]
fn the_worst_service_counts_or_the_best_where_any_will_do() {
    for (policy, expected) in [(VipPolicy::All, Some(50)), (VipPolicy::Any, Some(1))] {
        let mut config = plain(&[&[0, 1]], 2);
        let vip = config.vips.get_mut(&prefix(0)).unwrap();
        (vip.policy, vip.ladder) = (policy, ladder(&[(50, Some(50))]));
        let mut world = World::new(&config, "++");
        world.share(0, 4, 4);
        world.share(1, 1, 3);
        assert_eq!(world.med(0), expected, "{policy:?}");
        world.share(0, 1, 4);
        assert_eq!(world.med(0), Some(50));
    }
}

#[test]
fn a_shorter_ladder_and_none() {
    let config = one(|vip| vip.ladder = ladder(&[(75, Some(75)), (50, Some(50))]));
    let mut world = World::new(&config, "+");
    world.share(0, 1, 4);
    assert_eq!(world.med(0), Some(50));
    let shorter = one(|vip| vip.ladder = ladder(&[(75, Some(76))]));
    world.configure(&shorter, "+");
    world.share(0, 1, 4);
    assert_eq!((world.vip(0), world.med(0)), ((Degraded, VipCause::Rung(0)), Some(76)));
    world.configure(&one(|_| {}), "+");
    assert_eq!((world.vip(0), world.med(0)), ((Announced, VipCause::AllUp), Some(1)));
}

/// A member that is healthy enough to be up is healthy for its aggregate, whatever its rung.
#[test]
fn a_rung_is_healthy_for_aggregates() {
    let mut config = aggregate::with_aggregate(plain(&[&[0]], 1), &[0], Required::Backends(1));
    config.vips.get_mut(&prefix(0)).unwrap().ladder = ladder(&[(75, Some(75))]);
    let mut world = World::new(&config, "+");
    world.share(0, 1, 4);
    assert_eq!(world.vip(0).0, Degraded);
    assert_eq!(world.routes.len(), 2, "{:?}", world.routes);
}
