//! Aggregates from the outside, in virtual time.

use super::*;
use crate::config::Aggregate;

const MED: u32 = 50;

pub(super) fn covering() -> Prefix {
    "192.0.2.0/24".parse().unwrap()
}

/// The aggregate 192.0.2.0/24 over these VIPs of a configuration.
pub(super) fn with_aggregate(mut config: Config, members: &[usize], required: Required) -> Config {
    let members = members.iter().map(|n| prefix(*n)).collect();
    config.aggregates.insert(covering(), Aggregate { members, required, attributes: med(MED), via: Via::BGP });
    config
}

pub(super) fn three(required: Required) -> Config {
    with_aggregate(plain(&[&[0], &[1], &[2]], 3), &[0, 1, 2], required)
}

impl World {
    fn covered(&self) -> bool {
        self.routes.get(&covering()).is_some_and(|route| route.med == Some(MED))
    }

    pub(super) fn tally(&self) -> (AggregateState, AggregateCause, usize) {
        let status = self.core.aggregate(&covering()).unwrap();
        (status.state, status.cause, status.tally.healthy)
    }

    /// What the last event says, and which member it names.
    fn last_event(&self) -> (Option<AggregateState>, Option<Prefix>) {
        self.aggregate_events.last().map(|event| (event.to, event.tipped_by)).unwrap()
    }
}

#[test]
fn announced_while_enough_members_are() {
    let mut world = World::new(&three(Required::Backends(2)), "+??");
    assert_eq!(world.tally(), (AggregateState::Holding, AggregateCause::StartUp, 0));
    world.service(1, '-');
    world.service(2, '+');
    assert_eq!((world.covered(), world.tally().2), (true, 2));
    let told = world.told;
    world.service(1, '+');
    assert_eq!((world.covered(), world.told - told), (true, 1), "only the member's own route is news");
    world.service(0, '-');
    assert!(world.covered());
    world.service(2, '-');
    assert_eq!((world.covered(), world.tally()), (false, (AggregateState::Withdrawn, AggregateCause::TooFew, 1)));
    assert_eq!(world.last_event(), (Some(AggregateState::Withdrawn), Some(prefix(2))));
    world.service(0, '+');
    assert_eq!((world.covered(), world.last_event()), (true, (Some(AggregateState::Announced), Some(prefix(0)))));
}

#[test]
fn shares_are_rounded_up_and_zero_is_always() {
    let covered = |required, marks: &str| World::new(&three(required), marks).covered();
    assert_eq!([covered(Required::Percent(50), "+--"), covered(Required::Percent(50), "++-")], [false, true]);
    assert_eq!([covered(Required::Percent(34), "+--"), covered(Required::Percent(33), "+--")], [false, true]);
    assert_eq!([covered(Required::Percent(100), "++-"), covered(Required::Percent(100), "+++")], [false, true]);
    assert!(covered(Required::Backends(0), "---"));
    assert!(!covered(Required::Backends(4), "+++"));
}

#[test]
fn degraded_members_do_not_count_and_holding_ones_do_when_they_are_announced() {
    let vips: [(&[usize], Duration, OnDown); 2] = [(&[0], NO_HOLD, degrade()), (&[1], SECOND, OnDown::Withdraw)];
    let mut world = World::new(&with_aggregate(config(2, &vips), &[0, 1], Required::Backends(1)), "-+");
    assert_eq!((world.med(0), world.covered()), (Some(1000), false));
    world.run(SECOND);
    assert!(world.covered());
    world.service(0, '+');
    world.service(1, '-');
    assert!(world.covered());
    world.service(0, '-');
    assert_eq!((world.med(0), world.covered()), (Some(1000), false));
}

#[test]
fn a_service_under_all_members_makes_one_change() {
    let config = with_aggregate(plain(&[&[0], &[0], &[0]], 1), &[0, 1, 2], Required::Backends(2));
    let mut world = World::new(&config, "+");
    world.aggregate_events.clear();
    world.service(0, '-');
    assert_eq!(world.last_event(), (Some(AggregateState::Withdrawn), Some(prefix(1))));
    assert_eq!(world.aggregate_events.len(), 1);
}

#[test]
fn a_reload_keeps_what_is_announced() {
    let mut world = World::new(&three(Required::Percent(100)), "+++");
    assert!(world.covered());
    let (told, events) = (world.told, world.aggregate_events.len());
    world.configure(&three(Required::Percent(100)), "+++");
    assert_eq!((world.told, world.aggregate_events.len()), (told, events), "nothing changed");
    // A member more that is not decided yet: kept until it is, but not past a loss.
    let four = with_aggregate(plain(&[&[0], &[1], &[2], &[3]], 4), &[0, 1, 2, 3], Required::Percent(100));
    for (service, kept) in [(3, '-'), (0, '-')] {
        let mut world = World::new(&three(Required::Percent(100)), "+++");
        world.configure(&four, "+++?");
        assert_eq!((world.vip(3).0, world.covered()), (Holding, true));
        world.service(service, kept);
        assert!(!world.covered());
    }
    world.configure(&four, "+++?");
    world.service(3, '+');
    assert_eq!((world.covered(), world.tally().2), (true, 4));
    // Other attributes, and gone.
    let mut other = four.clone();
    other.aggregates.get_mut(&covering()).unwrap().attributes = med(7);
    world.configure(&other, "++++");
    assert_eq!(world.routes[&covering()].med, Some(7));
    other.aggregates.clear();
    world.configure(&other, "++++");
    assert_eq!((world.routes.contains_key(&covering()), world.last_event().0), (false, None));
    assert!(world.core.aggregate(&covering()).is_none());
}

#[test]
fn a_stop_drains_aggregates_too() {
    let mut world = World::new(&three(Required::Backends(2)), "+++");
    world.core.stop(world.now, 2 * SECOND);
    world.drain();
    assert_eq!(world.routes.len(), 4);
    assert!(world.routes.values().all(|route| route.communities == [Community::GRACEFUL_SHUTDOWN]));
    world.service(0, '-');
    assert!(world.covered());
    world.service(1, '-');
    assert!(!world.covered());
    world.service(1, '+');
    assert_eq!((world.covered(), world.routes.len()), (false, 1));
    world.run(2 * SECOND);
    assert!(world.core.is_stopped() && world.routes.is_empty());
    assert_eq!(world.tally().0, AggregateState::Withdrawn);

    let mut world = World::new(&three(Required::Backends(0)), "---");
    assert!(world.covered());
    world.core.stop(world.now, SECOND);
    world.drain();
    assert!(world.covered() && !world.core.is_stopped());
    world.run(SECOND);
    assert!(world.core.is_stopped());
}

#[test]
fn cost_follows_the_change() {
    let services: Vec<Vec<usize>> = (0..10_000).map(|n| vec![n]).collect();
    let vips: Vec<(&[usize], Duration, OnDown)> =
        services.iter().map(|services| (&services[..], NO_HOLD, OnDown::Withdraw)).collect();
    let members: Vec<usize> = (0..10_000).collect();
    let config = with_aggregate(config(10_000, &vips), &members, Required::Percent(50));
    let mut world = World::new(&config, &"+".repeat(10_000));
    let before = world.core.touched;
    for service in 0..100 {
        world.service(service * 7, '-');
    }
    assert_eq!(world.core.touched - before, 200, "each time a VIP and its aggregate");
}

#[test]
fn soak_against_a_full_count() {
    let mut checked = [0; 2];
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let services = 6;
        let random_config = |rng: &mut Rng| {
            let on: Vec<Vec<usize>> = (0..1 + rng.below(6)).map(|_| vec![rng.below(services) as usize]).collect();
            let vips: Vec<(&[usize], Duration, OnDown)> = on
                .iter()
                .map(|on| {
                    (
                        &on[..],
                        SECOND * rng.below(2) as u32,
                        if rng.below(3) == 0 { degrade() } else { OnDown::Withdraw },
                    )
                })
                .collect();
            let members: Vec<usize> = (0..vips.len()).filter(|_| rng.below(3) > 0).collect();
            let members = if members.is_empty() { vec![0] } else { members };
            let required = match rng.below(2) {
                0 => Required::Backends(rng.below(4) as u32),
                _ => Required::Percent(rng.below(101) as u8),
            };
            with_aggregate(config(services as usize, &vips), &members, required)
        };
        let mut marks = vec![b'?'; services as usize];
        let mut present = random_config(&mut rng);
        let mut world = World::new(&present, std::str::from_utf8(&marks).unwrap());
        for _ in 0..300 {
            match rng.below(30) {
                0 => {
                    present = random_config(&mut rng);
                    world.configure(&present, std::str::from_utf8(&marks).unwrap());
                }
                1..=8 => world.run(MS * rng.below(1500) as u32),
                _ => {
                    let service = rng.below(services) as usize;
                    marks[service] = if rng.below(2) == 0 { b'+' } else { b'-' };
                    world.service(service, char::from(marks[service]));
                }
            }
            // From the routes that a peer holds, not from what the core says of them.
            let aggregate = &present.aggregates[&covering()];
            let members = || aggregate.members.iter();
            let healthy = members().filter(|vip| world.routes.get(vip).is_some_and(|r| r.med == Some(1))).count();
            let open = members().filter(|vip| world.core.vip(vip).unwrap().state == Holding).count();
            let required = aggregate.required.of(aggregate.members.len());
            let must = match (world.core.is_released(), healthy) {
                (false, _) => Some(false),
                (true, healthy) if healthy >= required => Some(true),
                (true, healthy) if healthy + open < required => Some(false),
                _ => None,
            };
            if let Some(must) = must {
                assert_eq!(world.covered(), must, "seed {seed}: {:?}", world.core.aggregate(&covering()));
                checked[usize::from(must)] += 1;
            }
            assert_eq!(world.core.announced, world.routes.len());
        }
    }
    assert!(checked.iter().all(|n| *n > 1000), "{checked:?}");
}
