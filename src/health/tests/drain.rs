//! Drained services and backends.

use ServiceState::{Down, Drained, Up};

use super::*;

fn world() -> (World, Arc<Config>) {
    let config = simple(2, at_once());
    let mut world = World::new(&config);
    world.run(10 * SECOND);
    assert_eq!(world.state(), Up);
    world.events.clear();
    (world, config)
}

impl World {
    /// The service, or the backend of this port.
    fn drain(&mut self, port: Option<u16>, drained: bool) {
        self.health.drain(self.now, "web", port.map(address), drained);
        self.turn();
    }

    fn available(&self) -> u64 {
        self.health.service(0).available
    }
}

#[test]
fn a_drained_backend_does_not_count_and_a_service_that_needs_it_is_drained() {
    let (mut world, config) = world();
    world.drain(Some(1), true);
    assert_eq!((world.state(), world.available(), world.events.len()), (Up, 1, 0));
    world.drain(Some(2), true);
    assert_eq!((world.state(), world.available()), (Drained, 0));
    let drained = HealthEvent::Service { service: 0, state: Drained, available: 0, required: 1, on_sorry: false };
    assert_eq!(world.events, [drained]);
    world.configure(&config, true);
    world.run(10 * SECOND);
    assert_eq!((world.state(), world.events.len()), (Drained, 1), "a reload changes nothing");
    // It is checked all the time.
    world.targets.insert(1, Target::Fails(MS));
    world.run(10 * SECOND);
    assert_eq!(world.state(), Drained, "the other one would do");
    world.drain(Some(1), false);
    assert_eq!(world.state(), Drained);
    world.drain(Some(2), false);
    assert_eq!((world.state(), world.available()), (Up, 1));
}

#[test]
fn what_is_drained_does_not_stand_in_for_what_is_dead() {
    let (mut world, config) = world();
    world.drain(Some(1), true);
    world.targets.insert(2, Target::Fails(MS));
    world.run(10 * SECOND);
    assert_eq!((world.state(), world.available()), (Down, 0));
    world.configure(&config, true);
    assert_eq!(world.state(), Down);
    world.drain(Some(1), false);
    assert_eq!((world.state(), world.available()), (Up, 1));
}

#[test]
fn a_drained_service_is_up_underneath() {
    let (mut world, config) = world();
    world.drain(None, true);
    assert_eq!((world.state(), world.available()), (Drained, 2));
    world.configure(&config, true);
    assert_eq!(world.state(), Drained);
    for port in [1, 2] {
        world.targets.insert(port, Target::Fails(MS));
    }
    world.run(10 * SECOND);
    assert_eq!(world.state(), Down);
    world.targets.clear();
    world.run(10 * SECOND);
    assert_eq!(world.state(), Drained);
    world.drain(None, false);
    assert_eq!(world.state(), Up);
}

#[test]
fn a_drain_waits_for_what_is_not_there() {
    let mut world = World::new(&Arc::default());
    world.drain(None, true);
    world.drain(Some(1), true);
    world.configure(&simple(2, at_once()), true);
    world.run(10 * SECOND);
    assert_eq!((world.state(), world.available()), (Drained, 1));
    world.drain(None, false);
    assert_eq!(world.state(), Up);
}
