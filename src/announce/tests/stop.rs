//! A clean stop: GRACEFUL_SHUTDOWN first, then the withdrawal.

use super::*;

#[test]
fn a_clean_stop_drains_then_withdraws() {
    let vips: [(&[usize], Duration, OnDown); 4] = [
        (&[0], NO_HOLD, OnDown::Withdraw),
        (&[1], NO_HOLD, degrade()),
        (&[2], SECOND, OnDown::Withdraw),
        (&[3], NO_HOLD, degrade()),
    ];
    let mut world = World::new(&config(4, &vips), "+++-");
    world.core.stop(world.now, 2 * SECOND);
    world.drain();
    assert_eq!(world.routes.len(), 3);
    assert!(world.routes.values().all(|a| a.communities == [Community::GRACEFUL_SHUTDOWN]));
    assert!(Arc::ptr_eq(&world.routes[&prefix(0)], &world.routes[&prefix(1)]), "what was shared is still shared");
    assert_eq!((world.vip(0), world.vip(2)), ((Announced, VipCause::Stopping), (Withdrawn, VipCause::Stopping)));
    assert_eq!((world.vip(3), world.med(3)), ((Degraded, VipCause::Stopping), Some(1000)));
    // Nothing new; what falls ill goes at once, though it could be degraded.
    world.run(SECOND + MS);
    world.service(1, '-');
    world.service(1, '+');
    assert_eq!((world.med(1), world.med(2)), (None, None));
    world.configure(&config(4, &vips), "++++");
    assert_eq!(world.routes.len(), 2);
    assert!(!world.core.is_stopped());
    world.run(SECOND - MS);
    assert!(world.core.is_stopped() && world.routes.is_empty());
    assert_eq!(world.vip(0), (Withdrawn, VipCause::Stopping));
    world.configure(&config(4, &vips), "++++");
    world.service(0, '-');
    world.service(0, '+');
    assert!(world.core.is_stopped() && world.routes.is_empty());
    assert_eq!(world.core.poll_timeout(), None);
}

#[test]
fn other_ends() {
    // No drain; nothing announced; a second, shorter drain; all ill before the end.
    let mut world = World::new(&plain(&[&[0]], 1), "+");
    world.core.stop(world.now, Duration::ZERO);
    world.drain();
    assert!(world.core.is_stopped() && world.routes.is_empty());

    let mut world = World::new(&plain(&[&[0]], 1), "?");
    world.core.stop(world.now, SECOND);
    assert!(world.core.is_stopped() && world.core.poll_timeout().is_none());
    world.service(0, '+');
    assert_eq!(world.told, 0);

    let mut world = World::new(&plain(&[&[0]], 1), "+");
    world.core.stop(world.now, 9 * SECOND);
    world.core.stop(world.now, 60 * SECOND);
    assert_eq!(world.core.poll_timeout(), Some(world.now + 9 * SECOND));
    world.core.stop(world.now, Duration::ZERO);
    world.drain();
    assert!(world.core.is_stopped() && world.routes.is_empty());

    let mut world = World::new(&plain(&[&[0]], 1), "+");
    world.core.stop(world.now, 9 * SECOND);
    world.service(0, '-');
    assert!(world.core.is_stopped() && world.routes.is_empty());
}
