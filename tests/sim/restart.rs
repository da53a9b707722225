//! Graceful restart (RFC 4724): the daemon goes and comes back, with what it remembers or without, and routers help.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use herald::config::Config;
use herald::engine::saved::Saved;
use herald::engine::{Engine, Input};
use herald::prefix::Prefix;
use herald::rng::Rng;
use herald::wall::WallClock;

use crate::backend::{Pool, Server};
use crate::cases::{HEAD, SECOND, service};
use crate::plan::read;
use crate::rules::Oracle;
use crate::world::{Happening, World};

const VIPS: [(&str, &str); 3] = [("192.0.2.1", "10.1.0.1"), ("192.0.2.2", "10.1.0.2"), ("2001:db8::1", "10.1.0.3")];
/// By name: whether it helps, and after NOTIFICATIONs too.
const ROUTERS: [(&str, Option<bool>); 3] = [("tor", Some(false)), ("other", Some(true)), ("plain", None)];

/// With the services of these VIPs.
fn config(vips: &[usize]) -> Arc<Config> {
    let mut head = HEAD.replace("[[bgp.peer]]", "graceful_restart = { restart_time = \"60s\" }\n[[bgp.peer]]");
    for (name, address) in [("other", 2), ("plain", 3)] {
        let rest = "peer_as = 65000\nhold_time = \"9s\"\nnext_hop_ipv6 = \"fd00:99:1::2\"\n";
        let peer = format!("[[bgp.peer]]\nname = \"{name}\"\naddress = \"10.0.0.{address}\"\n{rest}[checks");
        head = head.replace("[checks", &peer);
    }
    let services = vips
        .iter()
        .map(|at| service(&format!("s{at}"), &format!("[\"{}\"]", VIPS[*at].0), 80 + *at as u16, VIPS[*at].1));
    read(format!("[daemon]\nstartup_deadline = \"8s\"\n{head}{}", services.collect::<String>()))
}

/// How the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// As after SIGUSR2.
    Leave,
    /// Without a word to anybody; the kernel closes its connections.
    Crash,
}

impl World {
    fn wall(&self) -> WallClock {
        WallClock::new(self.start, Duration::from_secs(1_767_225_600))
    }

    fn end(&mut self, how: End) -> Saved {
        let saved = self.engine.saved(&self.wall(), "boot");
        self.tell(format_args!("the daemon ends: {how:?}"));
        self.leaving = true;
        if how == End::Leave {
            self.input_plain(Input::Leave);
            self.drain();
            assert!(self.stopped.take().is_some(), "it leaves at once");
        }
        for router in self.routers.values_mut() {
            while let Some(conn) = router.links.first().map(|link| link.conn) {
                assert!(how == End::Crash, "{} still has a connection", router.config.name);
                router.keep(conn, self.now);
                router.links.remove(0);
            }
            (router.peer, router.excused) = (None, None);
            router.lost.clear();
        }
        self.queue.clear();
        self.runs.clear();
        saved
    }

    fn begin(&mut self, saved: Option<&Saved>, config: &Arc<Config>) {
        let clock = self.wall();
        let seed = self.rng.bits();
        self.engine = match saved {
            Some(saved) => Engine::resume(self.now, seed, saved.remembered(&clock)),
            None => Engine::new(self.now, seed),
        };
        (self.oracle, self.pool, self.config) = (Oracle::default(), Pool::new(config), config.clone());
        self.leaving = false;
        // With what it remembers every verdict counts at once.
        self.rules.may_send = saved.is_some();
        self.start = self.now;
        self.oracle.configure(self.now, config);
        if let Some(saved) = saved {
            let known = saved.vips.iter().map(|vip| vip.address).filter(|vip| config.vips.contains_key(vip));
            self.oracle.announced.extend(known);
        }
        self.note_truth(true);
        self.engine.handle(self.now, Input::Configure(config.clone()));
        self.drain();
        self.at(Duration::from_millis(500), Happening::Inspect);
    }

    fn well(&self) -> BTreeSet<Prefix> {
        let prefixes = self.config.vips.keys().copied();
        prefixes.filter(|vip| !self.dead.contains_key(vip)).collect()
    }

    fn held(&self, name: &str) -> BTreeSet<Prefix> {
        self.routers[name].table(self.now).into_keys().collect()
    }
}

fn story(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let all = config(&[0, 1, 2]);
    let mut world = crate::cases::world(seed, all.clone());
    for (name, helper) in ROUTERS {
        let traits = &mut world.routers.get_mut(name).expect("it is configured").traits;
        (traits.hold, traits.families, traits.refuses, traits.helper) = (9, Some([true, true]), None, helper);
    }
    world.run(20 * SECOND);
    assert!(ROUTERS.iter().all(|(name, _)| world.held(name).len() == 3), "all is announced");
    for _ in 0..3 {
        let how = if rng.below(2) == 0 { End::Leave } else { End::Crash };
        let saved = world.end(how);
        let remembers = rng.below(4) > 0;
        // Meanwhile one may die, and another may be taken out of the configuration.
        let (dies, goes) = (rng.below(6) as usize, rng.below(6) as usize);
        let left: Vec<usize> = (0..3).filter(|at| *at != goes).collect();
        world.now += Duration::from_millis(200 + rng.below(20_000));
        if let Some((_, host)) = VIPS.get(dies) {
            world.servers.set(host, Server::Refuses);
        }
        world.begin(remembers.then_some(&saved), &if goes < 3 { config(&left) } else { all.clone() });
        watch(&mut world, remembers);
        for (_, host) in VIPS {
            world.servers.set(host, Server::Answers(5));
        }
        world.note_truth(false);
        world.reload_to(&all);
        world.run(20 * SECOND);
        assert!(ROUTERS.iter().all(|(name, _)| world.held(name).len() == 3), "all is announced again");
    }
    world
}

/// From the start on until all is settled.
fn watch(world: &mut World, remembers: bool) {
    let end = world.now + 15 * SECOND;
    let well = world.well();
    let mut opens = BTreeSet::new();
    while world.now < end {
        world.step();
        for (name, helper) in ROUTERS {
            let held = world.held(name);
            let Some(link) = world.routers[name].link() else { continue };
            if helper.is_some() && remembers {
                world.rules.count("a healthy route is never lost");
                assert!(held.is_superset(&well), "{name} holds {held:?} of {well:?} during a restart");
            }
            if link.ends_of_rib == [1, 1] {
                world.rules.count("gone by End-of-RIB");
                assert_eq!(held, well, "{name}: after End-of-RIB");
            }
            let link = world.routers[name].link().expect("just looked at");
            if let Some(restart) = link.open.as_ref().and_then(|open| open.restart.as_ref())
                && link.ends_of_rib == [0, 0]
                && opens.insert(name)
            {
                let right = wire_restart(remembers);
                assert_eq!((restart.restarted, restart.preserved, restart.time), right, "{name}");
                world.rules.count(if remembers { "F with state" } else { "F clear without state" });
            }
        }
    }
    assert_eq!(opens.len(), 3, "every router was asked to help");
    for (name, _) in ROUTERS {
        assert_eq!(world.routers[name].link().map(|link| link.ends_of_rib), Some([1, 1]), "{name}: End-of-RIB");
    }
}

/// R, F of both families, and the restart time.
fn wire_restart(remembers: bool) -> (bool, [bool; 2], u16) {
    (remembers, [remembers; 2], 60)
}

#[test]
fn a_restart_moves_no_traffic_and_keeps_nothing_dead() {
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..crate::number("SIM_SEEDS").unwrap_or(6) {
        let mut world = story(seed);
        // A stop for good: nothing is kept by anybody.
        crate::finish(&mut world);
        for (name, _) in ROUTERS {
            assert_eq!(world.held(name), BTreeSet::new(), "seed {seed}: {name} keeps what is gone for good");
            world.rules.count("after a stop for good nothing is kept");
        }
        for (rule, count) in world.rules.counts {
            *counts.entry(rule).or_insert(0) += count;
        }
    }
    println!("{counts:#?}");
    for rule in ["a healthy route is never lost", "gone by End-of-RIB", "F with state", "F clear without state"] {
        assert!(counts.contains_key(rule), "no seed reaches: {rule}");
    }
}
