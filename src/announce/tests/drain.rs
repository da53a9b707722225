//! Drains from the outside, in virtual time.

use super::aggregate::{covering, three, with_aggregate};
use super::*;

const DRAIN: Duration = Duration::from_secs(10);

fn draining(mut config: Config) -> Config {
    config.daemon.drain_time = DRAIN;
    config
}

/// RFC 8326: the community, and the lowest LOCAL_PREF.
fn is_graceful(route: &Attributes) -> bool {
    route.communities.contains(&Community::GRACEFUL_SHUTDOWN) && route.local_pref == Some(0)
}

/// How a peer holds a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Plain,
    Graceful,
    Not,
}

impl World {
    fn drain_vip(&mut self, n: usize, drained: bool) {
        self.core.drain(self.now, prefix(n), drained);
        self.drain();
    }

    fn drain_all(&mut self, drained: bool) {
        self.core.drain_all(self.now, drained);
        self.drain();
    }

    fn held(&self, prefix: Prefix) -> Held {
        match self.routes.get(&prefix) {
            Some(route) if is_graceful(route) => Held::Graceful,
            Some(_) => Held::Plain,
            None => Held::Not,
        }
    }

    fn all_held(&self) -> Vec<Held> {
        (0..3).map(|n| self.held(prefix(n))).collect()
    }
}

#[test]
fn a_drained_vip_says_so_then_goes_and_comes_back_at_once() {
    let vips: [(&[usize], Duration, OnDown); 3] =
        [(&[0], 5 * SECOND, OnDown::Withdraw), (&[1], NO_HOLD, degrade()), (&[2], NO_HOLD, OnDown::Withdraw)];
    let config = draining(config(3, &vips));
    let mut world = World::new(&config, "++?");
    world.run(60 * SECOND);
    world.drain_vip(0, true);
    let until = world.now + DRAIN;
    assert_eq!(
        (world.held(prefix(0)), world.vip(0)),
        (Held::Graceful, (Announced, VipCause::Draining(DrainedBy::Itself, until)))
    );
    assert_eq!(world.core.poll_timeout(), Some(until));
    // Again is no news, and a reload neither ends nor prolongs it.
    let told = world.told;
    world.run(4 * SECOND);
    world.drain_vip(0, true);
    world.configure(&config, "++?");
    assert_eq!((world.told, world.core.poll_timeout()), (told, Some(until)));
    world.run(6 * SECOND - MS);
    assert_eq!(world.held(prefix(0)), Held::Graceful);
    world.run(MS);
    assert_eq!((world.held(prefix(0)), world.vip(0)), (Held::Not, (Drained, VipCause::Drained(DrainedBy::Itself))));
    world.configure(&config, "++?");
    assert_eq!(world.vip(0).0, Drained);
    // It was healthy all the time: nobody waits for `hold_up`.
    world.drain_vip(0, false);
    assert_eq!((world.held(prefix(0)), world.vip(0)), (Held::Plain, (Announced, VipCause::AllUp)));
    // Undone before its time.
    world.drain_vip(0, true);
    world.run(SECOND);
    world.drain_vip(0, false);
    assert_eq!((world.held(prefix(0)), world.core.poll_timeout()), (Held::Plain, None));
    world.drain_vip(0, true);
    assert_eq!(world.core.poll_timeout(), Some(world.now + DRAIN), "a new drain has its whole time");
}

#[test]
fn the_unhealthy_do_not_wait() {
    let vips: [(&[usize], Duration, OnDown); 3] =
        [(&[0], 5 * SECOND, OnDown::Withdraw), (&[1], NO_HOLD, degrade()), (&[2], NO_HOLD, degrade())];
    let mut world = World::new(&draining(config(3, &vips)), "++-");
    world.run(5 * SECOND);
    world.drain_all(true);
    assert_eq!(world.all_held(), [Held::Graceful; 3]);
    world.service(0, '-');
    world.service(1, '-');
    assert_eq!(world.all_held(), [Held::Not, Held::Not, Held::Graceful], "degraded it was before");
    assert_eq!(world.vip(1).0, Drained);
    // Not back before the drain ends.
    world.service(0, '+');
    assert_eq!(world.held(prefix(0)), Held::Not);
    world.run(DRAIN);
    assert_eq!(world.all_held(), [Held::Not; 3]);
    world.service(0, '-');
    world.service(0, '+');
    // It has not been healthy for long: `hold_up` holds.
    world.drain_all(false);
    assert_eq!(world.vip(0), (Holding, VipCause::HoldUp(world.now + 5 * SECOND)));
    assert_eq!((world.med(1), world.med(2)), (Some(1000), Some(1000)));
}

#[test]
fn all_is_what_comes_too() {
    let mut world = World::new(&draining(plain(&[&[0]], 3)), "+++");
    world.drain_all(true);
    world.configure(&draining(plain(&[&[0], &[1], &[2]], 3)), "+++");
    assert_eq!(world.all_held(), [Held::Graceful, Held::Not, Held::Not], "a new VIP is not announced first");
    assert_eq!(world.vip(1), (Drained, VipCause::Drained(DrainedBy::All)));
    // Each of two drains is enough.
    world.drain_vip(1, true);
    world.drain_all(false);
    assert_eq!(world.all_held(), [Held::Plain, Held::Not, Held::Plain]);
    assert_eq!(world.vip(1).1, VipCause::Drained(DrainedBy::Itself));
    // Gone and back: the drain has waited.
    world.configure(&draining(plain(&[&[0]], 3)), "+++");
    world.configure(&draining(plain(&[&[0], &[1], &[2]], 3)), "+++");
    assert_eq!(world.all_held(), [Held::Plain, Held::Not, Held::Plain]);
}

#[test]
fn no_time_is_at_once_and_before_the_start_nothing_is_said() {
    let mut now = draining(plain(&[&[0], &[1], &[2]], 3));
    now.daemon.drain_time = Duration::ZERO;
    let mut world = World::new(&now, "+++");
    world.drain_vip(1, true);
    assert_eq!(world.all_held(), [Held::Plain, Held::Not, Held::Plain]);
    assert_eq!(world.core.poll_timeout(), None);

    let mut world = World::new(&draining(plain(&[&[0], &[1], &[2]], 3)), "++?");
    world.drain_vip(0, true);
    world.service(2, '+');
    assert_eq!((world.all_held(), world.vip(0).0), (vec![Held::Not, Held::Plain, Held::Plain], Drained));
}

#[test]
fn a_drained_service_drains_its_vips() {
    let mut world = World::new(&draining(plain(&[&[0], &[0, 1], &[1]], 2)), "++");
    world.service(0, 'd');
    assert_eq!(world.all_held(), [Held::Graceful, Held::Graceful, Held::Plain]);
    let until = world.now + DRAIN;
    assert_eq!(world.vip(1), (Announced, VipCause::Draining(DrainedBy::Service(0), until)));
    world.run(DRAIN);
    assert_eq!(world.all_held(), [Held::Not, Held::Not, Held::Plain]);
    world.service(0, '+');
    assert_eq!(world.all_held(), [Held::Plain; 3]);
}

#[test]
fn a_stop_takes_drains_along() {
    let mut world = World::new(&draining(plain(&[&[0], &[1], &[2]], 3)), "+++");
    world.drain_vip(0, true);
    world.run(DRAIN);
    world.drain_vip(1, true);
    world.core.stop(world.now, 2 * SECOND);
    world.drain();
    assert_eq!(world.all_held(), [Held::Not, Held::Graceful, Held::Graceful]);
    world.drain_vip(0, false);
    assert_eq!(world.held(prefix(0)), Held::Not);
    world.run(2 * SECOND);
    assert!(world.core.is_stopped() && world.routes.is_empty());
}

#[test]
fn aggregates_go_as_their_members_do() {
    let mut world = World::new(&draining(three(Required::Backends(2))), "+++");
    world.drain_vip(0, true);
    assert_eq!(world.held(covering()), Held::Plain, "two are enough");
    world.drain_vip(1, true);
    assert_eq!(world.held(covering()), Held::Graceful);
    world.drain_vip(1, false);
    assert_eq!(world.held(covering()), Held::Plain);
    world.drain_vip(1, true);
    world.run(DRAIN);
    assert_eq!((world.held(covering()), world.tally().0), (Held::Not, AggregateState::Withdrawn));
    world.drain_vip(0, false);
    assert_eq!(world.held(covering()), Held::Plain);
    // A member that fails takes away what the drained ones had lent.
    world.drain_vip(0, true);
    assert_eq!(world.held(covering()), Held::Graceful);
    world.service(2, '-');
    assert_eq!(world.held(covering()), Held::Not);

    // Itself, and with everything; also one that needs no member.
    for required in [Required::Backends(2), Required::Backends(0)] {
        let mut world = World::new(&draining(three(required)), "+++");
        world.core.drain(world.now, covering(), true);
        world.drain();
        assert_eq!((world.held(covering()), world.all_held()), (Held::Graceful, vec![Held::Plain; 3]));
        world.run(DRAIN);
        assert_eq!((world.held(covering()), world.tally().0), (Held::Not, AggregateState::Drained));
        world.core.drain(world.now, covering(), false);
        world.drain();
        assert_eq!(world.held(covering()), Held::Plain);
        world.drain_all(true);
        assert_eq!((world.held(covering()), world.all_held()), (Held::Graceful, vec![Held::Graceful; 3]));
        world.run(DRAIN);
        assert!(world.routes.is_empty());
    }
}

/// Drains of before the restart are known before the first configuration; others come while verdicts are awaited.
#[test]
fn after_a_restart_what_is_drained_goes_before_all_verdicts_are_in() {
    let kept = Remembered { state: Announced, since: None };
    let resumed = |drained: &[Prefix], all: bool| {
        let mut world = World::new(&Config::default(), "");
        let prefixes = (0..3).map(prefix).chain([covering()]);
        world.core = Announce::resume(prefixes.clone().map(|prefix| (prefix, kept)).collect());
        world.routes = prefixes.map(|prefix| (prefix, med(1))).collect();
        drained.iter().for_each(|prefix| world.core.drain(world.now, *prefix, true));
        world.core.drain_all(world.now, all);
        world.configure(&draining(three(Required::Backends(2))), "++?");
        assert!(world.core.has_restarted());
        world
    };
    let mut world = resumed(&[covering()], false);
    assert_eq!((world.held(covering()), world.tally().0), (Held::Not, AggregateState::Drained));
    assert_eq!(world.all_held(), [Held::Plain; 3]);
    world.core.drain(world.now, covering(), false);
    world.drain();
    assert_eq!(world.held(covering()), Held::Plain);
    // With its members, and after them.
    world.drain_vip(0, true);
    assert_eq!((world.held(prefix(0)), world.held(covering())), (Held::Graceful, Held::Graceful));
    world.run(DRAIN);
    assert_eq!((world.held(prefix(0)), world.held(covering())), (Held::Not, Held::Not));

    let world = resumed(&[], true);
    assert_eq!((world.held(covering()), world.tally().0), (Held::Not, AggregateState::Drained));
}

/// From scratch, with all that an operator has ever said.
#[derive(Default)]
struct Truth {
    own: BTreeMap<Prefix, bool>,
    all: bool,
    /// Since when each prefix is drained, and whether it was announced as healthy when that began, and has been since.
    since: BTreeMap<Prefix, (Instant, bool)>,
}

impl Truth {
    fn is_drained(&self, prefix: &Prefix, services: &[usize], marks: &[u8]) -> bool {
        let own = self.own.get(prefix).copied().unwrap_or(false);
        own || self.all || services.iter().any(|service| marks[*service] == b'd')
    }

    /// After something has happened; `before` is what the peer held.
    fn note(&mut self, now: Instant, config: &Config, marks: &[u8], before: &BTreeMap<Prefix, Arc<Attributes>>) {
        for (prefix, vip) in &config.vips {
            if !self.is_drained(prefix, &vip.services, marks) {
                self.since.remove(prefix);
                continue;
            }
            let healthy = !vip.services.iter().any(|service| marks[*service] == b'-');
            let was_announced = before.get(prefix).is_some_and(|route| route.med == Some(1));
            let (_, gentle) = self.since.entry(*prefix).or_insert((now, was_announced));
            *gentle &= healthy;
        }
        self.since.retain(|prefix, _| config.vips.contains_key(prefix));
    }
}

#[test]
fn soak_a_drained_vip_never_goes_without_a_word_nor_stays() {
    let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..80 {
        let mut rng = Rng::new(seed);
        let services = 5usize;
        let random_config = |rng: &mut Rng| {
            let on: Vec<Vec<usize>> = (0..1 + rng.below(6))
                .map(|_| (0..services).filter(|_| rng.below(3) == 0).collect::<Vec<_>>())
                .map(|on| if on.is_empty() { vec![0] } else { on })
                .collect();
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
            let members: Vec<usize> = (0..vips.len()).collect();
            draining(with_aggregate(config(services, &vips), &members, Required::Percent(50)))
        };
        let mut marks = vec![b'+'; services];
        let mut present = random_config(&mut rng);
        let mut world = World::new(&present, std::str::from_utf8(&marks).unwrap());
        let mut truth = Truth::default();
        let mut changed = vec![world.now; services];
        let mut added: BTreeMap<Prefix, Instant> = present.vips.keys().map(|vip| (*vip, world.now)).collect();
        for _ in 0..400 {
            let before = world.routes.clone();
            match rng.below(40) {
                0 => {
                    present = random_config(&mut rng);
                    added.retain(|vip, _| present.vips.contains_key(vip));
                    // Which services a VIP is on may be new, too.
                    added.extend(present.vips.keys().map(|vip| (*vip, world.now)));
                    world.configure(&present, std::str::from_utf8(&marks).unwrap());
                }
                1..=10 => world.run(MS * rng.below(4000) as u32),
                11..=18 => {
                    let (n, drained) = (rng.below(6) as usize, rng.below(2) == 0);
                    truth.own.insert(prefix(n), drained);
                    world.drain_vip(n, drained);
                }
                19 => {
                    truth.all = rng.below(3) == 0;
                    world.drain_all(truth.all);
                }
                _ => {
                    let service = rng.below(services as u64) as usize;
                    let mark = [b'+', b'+', b'-', b'd'][rng.below(4) as usize];
                    if (marks[service] == b'-') != (mark == b'-') {
                        changed[service] = world.now;
                    }
                    marks[service] = mark;
                    world.service(service, char::from(mark));
                }
            }
            truth.note(world.now, &present, &marks, &before);
            for (vip, config) in &present.vips {
                let held = world.held(*vip);
                let context = || format!("seed {seed}: {vip} {held:?} {:?}", world.core.vip(vip));
                let Some((since, gentle)) = truth.since.get(vip) else {
                    assert_ne!(held, Held::Graceful, "{}", context());
                    let last = config.services.iter().map(|service| changed[*service]).max().unwrap().max(added[vip]);
                    if let Some(must) = must_be(config, &marks, world.now - last) {
                        assert_eq!(world.routes.get(vip).and_then(|route| route.med), must, "{}", context());
                        *checked.entry("as it deserves").or_default() += 1;
                    }
                    continue;
                };
                assert_ne!(held, Held::Plain, "{}", context());
                if world.now - *since >= DRAIN {
                    assert_eq!(held, Held::Not, "{}", context());
                    *checked.entry("gone").or_default() += 1;
                } else if *gentle {
                    assert_eq!(held, Held::Graceful, "{}", context());
                    *checked.entry("going").or_default() += 1;
                }
            }
            // Never an aggregate that says nothing while too few of its members are announced without a word.
            let plain =
                present.vips.keys().filter(|vip| world.held(**vip) == Held::Plain && world.routes[*vip].med == Some(1));
            let plain = plain.count() * 2 >= present.vips.len();
            let open = present.vips.keys().any(|vip| world.core.vip(vip).unwrap().state == Holding);
            assert!(
                world.held(covering()) != Held::Plain || plain || open,
                "seed {seed}: {:?}",
                world.core.aggregate(&covering())
            );
            assert!(!truth.all || world.held(covering()) != Held::Plain);
            assert_eq!(world.core.announced, world.routes.len());
        }
    }
    assert!(checked.len() == 3 && checked.values().all(|n| *n > 1000), "{checked:?}");
}
