//! The wait for first verdicts after a start.

use super::*;

#[test]
fn nothing_before_the_first_verdicts_then_all_at_once() {
    let mut world = World::new(&plain(&[&[0], &[1, 2], &[3]], 4), "?+??");
    assert_eq!(world.vip(0), (Holding, VipCause::ServiceUndecided(0)));
    assert_eq!(world.vip(1), (Holding, VipCause::ServiceUndecided(2)));
    world.service(0, '+');
    assert_eq!(world.vip(0), (Holding, VipCause::StartUp));
    world.service(3, '-');
    assert_eq!(world.vip(2), (Withdrawn, VipCause::ServiceDown(3)));
    assert!(!world.core.is_released() && world.told == 0);
    world.service(2, '+');
    assert!(world.core.is_released());
    assert_eq!(world.routes.keys().copied().collect::<Vec<_>>(), [prefix(0), prefix(1)]);
    assert_eq!(world.vip(1), (Announced, VipCause::AllUp));
    assert_eq!(world.told, 2, "nothing is withdrawn that was not announced");
    assert_eq!(world.core.poll_timeout(), None, "nothing is left of the wait");
}

#[test]
fn a_service_down_decides_its_vip() {
    let world = World::new(&plain(&[&[0, 1]], 2), "-?");
    assert!(world.core.is_released());
    assert_eq!(world.vip(0), (Withdrawn, VipCause::ServiceDown(0)));
}

#[test]
fn nothing_to_wait_for() {
    for marks in ["+", "-"] {
        assert!(World::new(&plain(&[&[0]], 1), marks).core.is_released());
    }
    assert!(World::new(&Config::default(), "").core.is_released());
    assert!(!Announce::new().is_released());
}

#[test]
fn the_deadline_ends_the_wait_and_late_ones_join() {
    let mut world = World::new(&plain(&[&[0], &[1]], 2), "+?");
    world.run(20 * SECOND);
    // A reload does not begin the wait anew.
    world.configure(&plain(&[&[0], &[1]], 2), "+?");
    world.run(10 * SECOND - MS);
    assert_eq!(world.told, 0);
    world.run(MS);
    assert!(world.core.is_released());
    assert_eq!((world.med(0), world.med(1)), (Some(1), None));
    assert_eq!(world.vip(1), (Holding, VipCause::ServiceUndecided(1)));
    world.run(3600 * SECOND);
    world.service(1, '+');
    assert_eq!(world.med(1), Some(1));
}

#[test]
fn a_reload_during_the_wait() {
    let mut world = World::new(&plain(&[&[0], &[1]], 2), "+?");
    // The VIP that everyone waited for is taken away.
    world.configure(&plain(&[&[0]], 2), "+?");
    assert!(world.core.is_released());
    assert_eq!(world.med(0), Some(1));
    // After the release, a new VIP makes no one wait again.
    world.configure(&plain(&[&[0], &[1]], 2), "+?");
    assert!(world.core.is_released());
    assert_eq!((world.med(0), world.vip(1).0), (Some(1), Holding));
}
