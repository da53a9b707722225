use super::*;
use crate::config::Egress;
use crate::rng::Rng;
use crate::timers::origin;

const MS: Duration = Duration::from_millis(1);

/// A kernel of few words: routes by prefix, the longest counts.
struct World {
    now: Instant,
    suspects: Suspects,
    routes: BTreeMap<Prefix, Vec<Leg>>,
    /// The numbers of the interfaces that there are.
    interfaces: BTreeMap<String, u32>,
    asked: usize,
}

fn via(interface: u32) -> Vec<Leg> {
    vec![Leg { interface, gateway: None }]
}

const UNREACHABLE: Vec<Leg> = Vec::new();

fn path(address: &str) -> Path {
    Path { address: address.parse().unwrap(), egress: Egress::default() }
}

fn link(index: u32, up: bool) -> Event {
    Event::Link(Link { index, name: format!("eth{index}"), up })
}

impl World {
    /// These targets, all links up, and these routes by interfaces.
    fn new(targets: &[&str], routes: &[(&str, u32)]) -> World {
        let now = origin();
        let interfaces = (1..4).map(|index| (format!("eth{index}"), index)).collect();
        let mut world = World { now, suspects: Suspects::new(now), routes: BTreeMap::new(), interfaces, asked: 0 };
        for (prefix, interface) in routes {
            world.routes.insert(prefix.parse().unwrap(), via(*interface));
        }
        let up = |index| Link { index, name: format!("eth{index}"), up: true };
        world.suspects.handle(now, Event::Links((1..4).map(up).collect()));
        world.suspects.set_targets(now, targets.iter().map(|target| path(target)).collect());
        assert_eq!(world.run(5 * MS), []);
        assert_eq!(world.asked, targets.len());
        world
    }

    fn hear(&mut self, event: Event) {
        self.suspects.handle(self.now, event);
    }

    /// Changes the routes, without a word.
    fn set(&mut self, prefix: &str, way: Option<Vec<Leg>>) {
        let prefix = prefix.parse().unwrap();
        match way {
            Some(way) => self.routes.insert(prefix, way),
            None => self.routes.remove(&prefix),
        };
    }

    /// Changes the routes and says so.
    fn change(&mut self, prefix: &str, way: Option<Vec<Leg>>, change: Change) {
        self.set(prefix, way);
        self.hear(Event::Route(prefix.parse().unwrap(), change));
    }

    /// Lets time pass: what is told, when, of whom (without what they have in common) and why.
    fn run(&mut self, time: Duration) -> Vec<(u128, Vec<String>, String)> {
        let (begin, end) = (self.now, self.now + time);
        let mut told = Vec::new();
        let mut turns = 0;
        while let Some(at) = self.suspects.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            if let Some(suspicion) = self.suspects.poll_suspicion(self.now) {
                let names = suspicion.paths.iter().map(|path| path.address.to_string()).collect();
                told.push(((self.now - begin).as_millis(), names, suspicion.cause));
            }
            let (routes, interfaces, asked) = (&self.routes, &self.interfaces, &mut self.asked);
            self.suspects.work(self.now, &mut |path| {
                *asked += 1;
                let bound_to = path.egress.interface.as_ref().map(|name| interfaces.get(name).copied());
                if bound_to == Some(None) {
                    return Some(Found { legs: UNREACHABLE, bound_to: None });
                }
                let target = Prefix::host(path.address);
                let by = |(_, legs): &(&Prefix, &Vec<Leg>)| {
                    bound_to.flatten().is_none_or(|bound_to| legs.iter().all(|leg| leg.interface == bound_to))
                };
                let fitting = routes.iter().filter(|(prefix, _)| prefix.contains(&target)).filter(by);
                let legs = fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, legs)| legs.clone());
                Some(Found { legs: legs.unwrap_or_default(), bound_to: bound_to.flatten() })
            });
            turns += 1;
            assert!(turns < 10_000, "it does not come to rest");
        }
        self.now = end;
        told
    }
}

fn told(at: u128, names: &[&str], cause: &str) -> (u128, Vec<String>, String) {
    (at, names.iter().map(|name| (*name).to_owned()).collect(), cause.to_owned())
}

const TARGETS: [&str; 5] = ["10.1.0.11", "10.1.0.12", "10.2.0.11", "fd00:1::11", "fd00:2::11"];
const ROUTES: [(&str, u32); 4] = [("10.1.0.0/16", 1), ("10.2.0.0/16", 2), ("fd00:1::/32", 1), ("fd00:2::/32", 2)];

#[test]
fn a_link_goes_down() {
    for event in [link(1, false), Event::LinkGone(1)] {
        let mut world = World::new(&TARGETS, &ROUTES);
        let cause = if event == Event::LinkGone(1) { "link eth1 is gone" } else { "link eth1 is down" };
        world.hear(event.clone());
        world.hear(event);
        // The routes go, those of one family without a word; that is nothing new.
        world.set("10.1.0.0/16", None);
        world.change("fd00:1::/32", None, Change::Gone);
        assert_eq!(world.run(3000 * MS), [told(2, &["10.1.0.11", "10.1.0.12", "fd00:1::11"], cause)]);
        // As they cannot be reached, they have nothing to lose.
        world.hear(link(1, false));
        world.hear(Event::Route("0.0.0.0/0".parse().unwrap(), Change::Gone));
        assert_eq!(world.run(3000 * MS), []);
        // It comes back, without a word of the routes.
        world.hear(link(1, true));
        world.set("10.1.0.0/16", Some(via(1)));
        world.set("fd00:1::/32", Some(via(1)));
        assert_eq!(world.run(3000 * MS), []);
        world.hear(link(1, false));
        assert_eq!(world.run(3000 * MS), [told(2, &["10.1.0.11", "10.1.0.12", "fd00:1::11"], "link eth1 is down")]);
    }
}

/// Without a carrier routes stay, and so does what the kernel says of them.
#[test]
fn a_link_without_a_carrier() {
    let mut world = World::new(&TARGETS, &ROUTES);
    world.hear(link(2, false));
    assert_eq!(world.run(3000 * MS), [told(2, &["10.2.0.11", "fd00:2::11"], "link eth2 is down")]);
    // A route that now leads there leads nowhere.
    world.change("10.1.0.0/24", Some(via(2)), Change::New);
    assert_eq!(world.run(3000 * MS), [told(2, &["10.1.0.11", "10.1.0.12"], "route to 10.1.0.0/24 is new")]);
    world.change("10.1.0.0/24", None, Change::Gone);
    assert_eq!(world.run(3000 * MS), []);
    // Unless news of it is lost.
    world.hear(Event::Links([1, 3].map(|index| Link { index, name: format!("eth{index}"), up: index != 1 }).into()));
    assert_eq!(world.run(3000 * MS), [told(2, &["10.1.0.11", "10.1.0.12", "fd00:1::11"], "link eth1 is down")]);
}

#[test]
fn routes_change() {
    let mut world = World::new(&TARGETS, &ROUTES);
    world.change("10.1.0.11/32", Some(UNREACHABLE), Change::Unreachable);
    assert_eq!(world.run(50 * MS), [told(2, &["10.1.0.11"], "route to 10.1.0.11 is unreachable")]);
    world.change("10.2.0.0/16", None, Change::Gone);
    assert_eq!(world.run(50 * MS), [told(2, &["10.2.0.11"], "route to 10.2.0.0/16 is gone")]);
    world.change("fd00:2::/48", Some(via(3)), Change::New);
    assert_eq!(world.run(50 * MS), [told(2, &["fd00:2::11"], "route to fd00:2::/48 is new")]);
    // One more with the same result, and one that does not count beside a longer one.
    let asked = world.asked;
    world.change("fd00:1::/48", Some(via(1)), Change::New);
    world.change("10.0.0.0/8", Some(via(3)), Change::New);
    assert_eq!(world.run(3000 * MS), []);
    assert_eq!(world.asked - asked, 4);
    // 10.2.0.11 has come back with it, and has something to lose again.
    world.change("10.0.0.0/8", Some(UNREACHABLE), Change::Blackhole);
    assert_eq!(world.run(50 * MS), [told(2, &["10.2.0.11"], "route to 10.0.0.0/8 is a blackhole")]);
    // Gone and back in a moment.
    world.change("fd00:1::/48", None, Change::Gone);
    world.change("fd00:1::/48", Some(via(1)), Change::New);
    assert_eq!(world.run(3000 * MS), []);
}

#[test]
fn several_next_hops() {
    let mut world = World::new(&TARGETS, &ROUTES);
    let both = || Some([via(2), via(3)].concat());
    let target = ["10.2.0.11"];
    // One more is no loss.
    world.change("10.2.0.0/16", both(), Change::Replaced);
    assert_eq!(world.run(3000 * MS), []);
    world.hear(link(3, false));
    assert_eq!(world.run(3000 * MS), [told(2, &target, "link eth3 is down")]);
    // Somebody takes it out of the route, which is no news, nor is that it comes back.
    world.change("10.2.0.0/16", Some(via(2)), Change::Replaced);
    assert_eq!(world.run(3000 * MS), []);
    world.change("10.2.0.0/16", both(), Change::Replaced);
    world.hear(link(3, true));
    assert_eq!(world.run(3000 * MS), []);
    world.change("10.2.0.0/16", Some(via(3)), Change::Replaced);
    assert_eq!(world.run(3000 * MS), [told(2, &target, "route to 10.2.0.0/16 has changed")]);
    world.hear(link(2, false));
    assert_eq!(world.run(3000 * MS), [told(2, &["fd00:2::11"], "link eth2 is down")]);
}

/// Of several that may be the cause it is the most specific.
#[test]
fn the_cause_is_the_nearest() {
    let mut world = World::new(&TARGETS, &ROUTES);
    world.hear(Event::Rules);
    world.hear(Event::Route("0.0.0.0/0".parse().unwrap(), Change::Replaced));
    world.change("10.1.0.12/32", Some(UNREACHABLE), Change::Prohibited);
    world.change("10.1.0.0/16", None, Change::Gone);
    world.set("fd00:2::/32", None);
    let names = ["10.1.0.11", "10.1.0.12", "fd00:2::11"];
    let cause = "route to 10.1.0.0/16 is gone, route to 10.1.0.12 is prohibited, routing rules have changed";
    assert_eq!(world.run(50 * MS), [told(2, &names, cause)]);
}

#[test]
fn what_goes_without_a_word() {
    let mut world = World::new(&TARGETS, &ROUTES);
    let address = "10.2.0.1".parse().unwrap();
    world.hear(Event::AddressGone { address, interface: 2 });
    // The kernel says it before it does it.
    assert_eq!(world.run(50 * MS), []);
    world.set("10.2.0.0/16", None);
    assert_eq!(world.run(3000 * MS), [told(52, &["10.2.0.11"], "routing has changed")]);
    world.hear(Event::NextHop);
    world.set("10.1.0.0/16", Some(via(3)));
    assert_eq!(world.run(3000 * MS), [told(2, &["10.1.0.11", "10.1.0.12"], "a next hop has changed")]);
    world.hear(Event::Missed);
    world.set("fd00:2::/32", None);
    assert_eq!(world.run(3000 * MS), [told(2, &["fd00:2::11"], "routing has changed")]);
}

#[test]
fn a_source_address_goes() {
    let mut world = World::new(&[], &ROUTES);
    let source = "10.9.0.1".parse().unwrap();
    let mut from = path("10.1.0.11");
    from.egress.source = Some(source);
    world.suspects.set_targets(world.now, vec![from, path("10.1.0.11")]);
    assert_eq!(world.run(50 * MS), []);
    world.hear(Event::AddressGone { address: source, interface: 3 });
    world.run(50 * MS);
    assert_eq!(world.asked, 3);
}

#[test]
fn bound_to_an_interface() {
    let mut world = World::new(&[], &[("0.0.0.0/0", 1), ("10.0.0.0/8", 2)]);
    let mut bound = path("10.1.0.11");
    let bind = |path: &mut Path, name: &str| path.egress.interface = Some(name.to_owned());
    bind(&mut bound, "eth1");
    let mut later = path("10.1.0.12");
    bind(&mut later, "eth9");
    world.suspects.set_targets(world.now, vec![bound, path("10.1.0.11"), later]);
    assert_eq!(world.run(50 * MS), []);
    world.change("10.0.0.0/8", None, Change::Gone);
    let told_of = |world: &mut World| -> Vec<usize> { world.run(3000 * MS).iter().map(|told| told.1.len()).collect() };
    assert_eq!(told_of(&mut world), [1], "the one that is not bound");
    // An interface comes up under that name, and goes.
    world.interfaces.insert("eth9".to_owned(), 9);
    world.routes.insert("10.1.0.12/32".parse().unwrap(), via(9));
    world.hear(link(9, true));
    assert_eq!(world.run(3000 * MS), []);
    world.hear(Event::LinkGone(9));
    world.interfaces.remove("eth9");
    assert_eq!(world.run(3000 * MS), [told(2, &["10.1.0.12"], "link eth9 is gone")]);
}

/// A VRF is switched off: what leaves by a member of it is lost.
#[test]
fn behind_a_vrf() {
    let mut world = World::new(&[], &[("0.0.0.0/0", 1)]);
    let mut inside = path("10.1.0.11");
    inside.egress.interface = Some("eth1".to_owned());
    world.suspects.set_targets(world.now, vec![inside, path("10.1.0.12")]);
    world.run(50 * MS);
    // As the kernel has it: bound to the one, out by the other.
    world.suspects.targets[0].bound_to = Some(2);
    world.hear(link(2, false));
    assert_eq!(world.run(50 * MS), [told(2, &["10.1.0.11"], "link eth2 is down")]);
}

#[test]
fn flaps_are_told_once_a_second() {
    let mut world = World::new(&TARGETS, &ROUTES);
    let mut all = Vec::new();
    for round in 0..300 {
        world.hear(link(2, round % 2 == 1));
        let start = u128::from(round * 10u32);
        all.extend(world.run(10 * MS).into_iter().map(|(at, names, cause)| (start + at, names, cause)));
    }
    let names = ["10.2.0.11", "fd00:2::11"];
    let expected = [2, 1002, 2002].map(|at| told(at, &names, "link eth2 is down"));
    assert_eq!(all, expected);
    assert_eq!(world.run(3000 * MS).len(), 1, "the last ones are not forgotten");
}

#[test]
fn a_reload_keeps_what_is_known() {
    let mut world = World::new(&TARGETS, &ROUTES);
    world.hear(link(1, false));
    world.suspects.set_targets(world.now, ["10.1.0.12", "10.2.0.11", "10.2.0.11", "10.2.0.12"].map(path).to_vec());
    assert_eq!(world.run(500 * MS), [told(0, &["10.1.0.12"], "link eth1 is down")]);
    world.set("10.2.0.0/16", None);
    world.suspects.set_targets(world.now, ["10.1.0.12", "10.2.0.12"].map(path).to_vec());
    assert_eq!(world.run(500 * MS), [told(0, &["10.2.0.12"], "routing has changed")]);
    world.suspects.set_targets(world.now, Vec::new());
    for event in [link(2, false), Event::Rules, Event::Missed, Event::LinkGone(1)] {
        world.hear(event);
    }
    assert_eq!(world.run(5000 * MS), []);
    assert_eq!(world.suspects.poll_timeout(), None);
}

/// No storm takes more than its share of look-ups, and everybody is seen to in the end.
#[test]
fn storms() {
    let targets: Vec<String> =
        (0..20_000u32).map(|number| Ipv4Addr::from_bits(0x0a00_0000 + number).to_string()).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let mut world = World::new(&[], &[("0.0.0.0/0", 1)]);
    world.suspects.set_targets(world.now, targets.iter().map(|target| path(target)).collect());
    assert_eq!(world.run(500 * MS), []);
    assert_eq!(world.asked, targets.len());
    // A full table that touches none.
    for number in 0..100_000u32 {
        let prefix = Prefix::covering(Ipv4Addr::from_bits(0x1400_0000 + (number << 8)).into(), 24);
        world.hear(Event::Route(prefix, if number % 3 == 0 { Change::Gone } else { Change::New }));
    }
    assert_eq!(world.run(3000 * MS), []);
    assert_eq!(world.asked, targets.len());
    // Another that touches all, again and again, for two seconds.
    let before = world.asked;
    for round in 0..2_000u32 {
        for part in 0..5 {
            let prefix = Prefix::covering(Ipv4Addr::from_bits(0x0a00_0000 + ((round * 5 + part) << 2)).into(), 30);
            world.hear(Event::Route(prefix, Change::Replaced));
        }
        world.hear(Event::Route("0.0.0.0/0".parse().unwrap(), Change::Replaced));
        assert_eq!(world.run(MS), []);
    }
    let asked = world.asked - before;
    assert!((60_000..=80_500).contains(&asked), "{asked}: twice all at once, then 20,000 a second");
    // And then it is gone.
    world.change("0.0.0.0/0", None, Change::Gone);
    let mut told: Vec<String> = world.run(5000 * MS).into_iter().flat_map(|told| told.1).collect();
    assert_eq!(told.len(), targets.len());
    told.sort();
    told.dedup();
    assert_eq!(told.len(), targets.len(), "each once");
}

/// Whatever happens, in whatever order: it comes to rest, nobody is told of twice in a second, and in the end a loss is
/// told of everybody who has a way.
#[test]
fn anything_at_all() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut world = World::new(&TARGETS, &ROUTES);
        let mut last: BTreeMap<String, u128> = BTreeMap::new();
        let mut clock = 0;
        for _ in 0..60 {
            let prefixes =
                ["0.0.0.0/0", "10.1.0.0/16", "10.1.0.12/32", "10.2.0.0/24", "::/0", "fd00:1::/32", "fd00:2::11/128"];
            let prefix = prefixes[rng.below(7) as usize];
            let way =
                [None, Some(via(1)), Some(via(2)), Some(via(3)), Some(UNREACHABLE)][rng.below(5) as usize].clone();
            let index = 1 + rng.below(3) as u32;
            match rng.below(8) {
                0 => world.hear(link(index, rng.below(2) == 0)),
                1 => world.hear(Event::LinkGone(index)),
                2 => world.hear([Event::Rules, Event::NextHop, Event::Missed][rng.below(3) as usize].clone()),
                3 => world.set(prefix, way),
                4 => {
                    let some: Vec<Path> = TARGETS.iter().filter(|_| rng.below(4) > 0).map(|it| path(it)).collect();
                    // Who comes back is new.
                    last.retain(|name, _| some.contains(&path(name)));
                    world.suspects.set_targets(world.now, some);
                }
                _ => world.change(prefix, way, Change::Replaced),
            }
            let time = rng.below(400);
            for (at, names, cause) in world.run(MS * time as u32) {
                assert!(!cause.is_empty());
                for name in names {
                    let before = last.insert(name, clock + at);
                    assert!(
                        before.is_none_or(|before| clock + at >= before + 1000),
                        "seed {seed}: twice within a second"
                    );
                }
            }
            clock += u128::from(time);
        }
        // The end of the world: links up, a way for everybody, all is known; then no way at all.
        for index in 1..4 {
            world.hear(link(index, true));
        }
        world.routes = ["0.0.0.0/0", "::/0"].map(|prefix| (prefix.parse().unwrap(), via(3))).into();
        world.suspects.set_targets(world.now, TARGETS.map(path).to_vec());
        world.run(5000 * MS);
        world.routes.clear();
        world.hear(Event::Missed);
        assert_eq!(world.run(50 * MS), [told(2, &TARGETS, "routing has changed")], "seed {seed}");
    }
}
