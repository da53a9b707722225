//! When enough of a service counts: marks, weights, and backends that stand in for others.

use ServiceState::{Down, Drained, Undecided, Up};

use super::*;
use crate::config::{Measure, Quorum, Weight};

/// A backend for each letter on ports 1, 2, …: digits are weights, `s` and `t` stand in with weights 1 and 2.
fn service_of(letters: &str, required: Quorum) -> Arc<Config> {
    let ports = || 1..=letters.len() as u16;
    let backends = letters.chars().zip(ports()).map(|(letter, port)| {
        let weight = letter.to_digit(10).unwrap_or(1 + u32::from(letter == 't'));
        Backend { weight, sorry: "st".contains(letter), ..backend(port, &[usize::from(port) - 1]) }
    });
    let any = Required::Backends(1);
    let service = Service { required, ..service("web", &["192.0.2.1"], any, backends.collect()) };
    config(ports().map(|port| check(port, at_once())).collect(), vec![service])
}

fn marks(up: u32, down: u32, measure: Measure) -> Quorum {
    Quorum { up: Required::Backends(up), down: Required::Backends(down), measure }
}

fn shares(up: u8, down: u8, measure: Measure) -> Quorum {
    Quorum { up: Required::Percent(up), down: Required::Percent(down), measure }
}

impl World {
    /// What the backends are found to be: `+` or `-`, `.` for one that nobody finds out about.
    fn find(&mut self, marks: &str) -> ServiceState {
        for (mark, port) in marks.chars().zip(1..) {
            let target = match mark {
                '+' => Target::Passes(MS),
                '-' => Target::Fails(MS),
                _ => Target::Queues,
            };
            self.targets.insert(port, target);
        }
        self.health.check_all_now(self.now);
        self.turn();
        self.run(10 * SECOND);
        self.state()
    }

    fn is_sorry(&self) -> bool {
        self.health.service(0).on_sorry
    }
}

fn world_of(letters: &str, required: Quorum) -> World {
    let mut world = World::new(&service_of(letters, required));
    world.targets.extend((1..=letters.len() as u16).map(|port| (port, Target::Queues)));
    world
}

/// A world in which nothing has been found out yet: checks are not even handed out before the targets are set.
fn fresh(letters: &str, required: Quorum, found: &str) -> World {
    let config = service_of(letters, required);
    let mut world = World {
        now: origin(),
        health: Health::new(),
        targets: BTreeMap::new(),
        started: Vec::new(),
        results: BTreeMap::new(),
        starts: Vec::new(),
        events: Vec::new(),
        shares: Vec::new(),
        wakes: 0,
    };
    for (mark, port) in found.chars().zip(1..) {
        let target = if mark == '+' { Target::Passes(MS) } else { Target::Fails(MS) };
        world.targets.insert(port, if mark == '.' { Target::Queues } else { target });
    }
    world.configure(&config, false);
    world.run(10 * SECOND);
    world
}

#[test]
fn it_takes_more_to_come_up_than_to_stay_up() {
    for measure in [Measure::Backends, Measure::Weight] {
        let mut world = fresh("11111", shares(60, 40, measure), "++---");
        assert_eq!(world.state(), Down, "two of five are not enough to come up");
        assert_eq!(world.find("+++--"), Up);
        assert_eq!(world.find("++---"), Up, "but enough to stay so");
        assert_eq!(world.find("+----"), Down);
        assert_eq!(world.find("++---"), Down);
        assert_eq!(world.find("+++--"), Up);
    }
    let mut world = fresh("111", marks(3, 0, Measure::Backends), "---");
    assert_eq!(world.state(), Down);
    assert_eq!((world.find("+++"), world.find("---")), (Up, Up), "what takes nothing to stay up stays up");
}

#[test]
fn weights_count_where_the_operator_wants_them_to() {
    let mut world = fresh("5311", marks(6, 5, Measure::Weight), "-+++");
    assert_eq!(world.state(), Down, "5 of 10");
    assert_eq!((world.find("+--+"), world.find("+---"), world.find("-+++")), (Up, Up, Up));
    assert_eq!((world.find("-++-"), world.find("-+++")), (Down, Down));
    let status = world.health.service(0);
    assert_eq!((status.available, status.required, status.marks), (5, 6, (6, 5)));
    assert_eq!(status.share, Share { counting: 5, total: 10 });
}

#[test]
fn what_checks_leave_of_weights_counts() {
    let config = service_of("44", marks(5, 5, Measure::Weight));
    let (mut health, now) = (Health::new(), origin());
    health.configure(now, config, &|_| false);
    let mut say = |weights: [u32; 2], now: Instant| {
        health.check_all_now(now);
        while let Some(request) = health.poll_probe() {
            health.probe_started(request.ticket, now);
            let weight = weights[usize::from(request.probe.target.port()) - 1];
            let outcome = ProbeOutcome { weight: Some(Weight::Percent(weight)), ..outcome(true) };
            health.probe_finished(now, request.ticket, outcome);
        }
        let status = health.service(0);
        (status.state, status.share.counting)
    };
    assert_eq!(say([100, 100], now), (Up, 8));
    assert_eq!(say([100, 25], now + SECOND), (Up, 5));
    assert_eq!(say([75, 25], now + 2 * SECOND), (Down, 4));
    // One that drains itself is not dead: the service is drained, as if an operator had said so.
    assert_eq!(say([100, 50], now + 3 * SECOND), (Up, 6));
    assert_eq!(say([100, 0], now + 4 * SECOND), (Drained, 4));
    assert_eq!(say([100, 100], now + 5 * SECOND), (Up, 8));
}

#[test]
fn sorry_backends_stand_in_when_all_others_are_gone() {
    let mut world = fresh("11s", marks(1, 1, Measure::Backends), "+++");
    assert!(world.state() == Up && !world.is_sorry());
    assert_eq!(world.health.service(0).share, Share { counting: 2, total: 2 });
    assert_eq!((world.find("--+"), world.is_sorry()), (Up, true));
    let service = |event: &&HealthEvent| matches!(event, HealthEvent::Service { .. });
    let ups = world.events.iter().filter(service).map(|event| match event {
        HealthEvent::Service { state, on_sorry, .. } => (*state, *on_sorry),
        _ => unreachable!("filtered"),
    });
    assert_eq!(ups.collect::<Vec<_>>(), [(Up, false), (Up, true)], "it has been up all the time, and that is told");
    assert_eq!(world.health.service(0).share, Share { counting: 0, total: 2 });
    assert_eq!((world.find("---"), world.find("--+"), world.is_sorry()), (Down, Up, true));
    let told = HealthEvent::Service { service: 0, state: Up, available: 1, required: 1, on_sorry: true };
    assert_eq!(world.events.last(), Some(&told));
    assert_eq!((world.find("+--"), world.is_sorry()), (Up, false));
}

#[test]
fn as_many_as_there_are_must_stand_in() {
    // One is enough where three are required and there is one; of two, both, or the weight that is in them.
    assert_eq!(fresh("111s", marks(3, 3, Measure::Backends), "---+").state(), Up);
    assert_eq!(fresh("111ss", marks(3, 3, Measure::Backends), "---+-").state(), Down);
    assert_eq!(fresh("111ss", marks(3, 3, Measure::Backends), "---++").state(), Up);
    assert_eq!(fresh("33st", marks(2, 2, Measure::Weight), "--+-").state(), Down);
    assert_eq!(fresh("33st", marks(2, 2, Measure::Weight), "---+").state(), Up);
    // Not while others are left, however few these are.
    assert_eq!(fresh("111s", marks(3, 3, Measure::Backends), "+--+").state(), Down);
    // Who may yet be found well is not gone.
    assert_eq!(fresh("11s", marks(1, 1, Measure::Backends), "-.+").state(), Undecided);
    assert_eq!(fresh("11s", marks(1, 1, Measure::Backends), "--.").state(), Undecided);
    assert_eq!(fresh("11s", marks(0, 0, Measure::Backends), "---").state(), Up);
}

#[test]
fn what_is_drained_gives_way_to_those_that_stand_in() {
    let mut world = fresh("1s", marks(1, 1, Measure::Backends), "++");
    let drain = |world: &mut World, port: u16, drained: bool| {
        world.health.drain(world.now, "web", Some(address(port)), drained);
        world.turn();
        (world.state(), world.is_sorry())
    };
    assert_eq!(drain(&mut world, 1, true), (Up, true));
    assert_eq!(drain(&mut world, 2, true), (Drained, false));
    assert_eq!(drain(&mut world, 2, false), (Up, true));
    assert_eq!(drain(&mut world, 1, false), (Up, false));
}

#[test]
fn a_reload_brings_other_marks() {
    let mut world = fresh("1111", marks(3, 1, Measure::Backends), "++++");
    assert_eq!(world.find("+---"), Up);
    world.configure(&service_of("1111", marks(4, 1, Measure::Backends)), true);
    assert_eq!(world.state(), Up, "it is up, and enough is there to stay so");
    world.configure(&service_of("1111", marks(4, 2, Measure::Backends)), true);
    assert_eq!(world.state(), Down);
    world.configure(&service_of("1111", marks(2, 1, Measure::Weight)), true);
    assert_eq!(world.state(), Down);
    world.configure(&service_of("1111", marks(1, 1, Measure::Weight)), true);
    assert_eq!(world.state(), Up);
}

#[test]
fn shares_are_told_once_and_before_what_they_lead_to() {
    let mut world = world_of("112", marks(2, 1, Measure::Weight));
    assert_eq!(world.shares, [(0, Share { counting: 4, total: 4 })], "nobody is known to be unhealthy");
    world.find("+++");
    assert_eq!(world.shares.len(), 1);
    world.find("-+-");
    let told: Vec<u64> = world.shares.iter().map(|(_, share)| share.counting).collect();
    assert!([[4, 3, 1], [4, 2, 1]].iter().any(|way| told == *way), "{told:?}");
    world.find("+++");
    world.configure(&service_of("1124", marks(2, 1, Measure::Weight)), true);
    assert_eq!(world.shares.last(), Some(&(0, Share { counting: 8, total: 8 })), "the new one may be well");
    // In the order in which they are polled.
    let (mut health, now) = (Health::new(), origin());
    health.configure(now, service_of("1", marks(1, 1, Measure::Backends)), &|_| false);
    while let Some(request) = {
        health.handle_timeout(now);
        health.poll_probe()
    } {
        health.probe_finished(now, request.ticket, outcome(true));
    }
    let events: Vec<HealthEvent> = std::iter::from_fn(|| health.poll_event()).collect();
    let place = |found: fn(&HealthEvent) -> bool| events.iter().rposition(found).unwrap();
    let share = place(|event| matches!(event, HealthEvent::Share { .. }));
    assert!(share < place(|event| matches!(event, HealthEvent::Service { .. })), "{events:?}");
}
