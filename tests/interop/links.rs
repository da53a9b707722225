//! The watcher of links and routes by itself, in a namespace with two links of its own: whom the kernel's news makes it
//! suspect, and how soon.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use herald::config::Egress;
use herald::driver::netlink::{Path, Suspicion, Watcher};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::lab::{Lab, Namespace};
use crate::harness::wait::{self, PATIENCE, now};

/// From the kernel's news to the suspicion, unless the machine is busy with others.
const SOON: Duration = Duration::from_millis(50);
/// On a busy one; less than suspicions are held back.
const LATE: Duration = Duration::from_millis(500);
/// Longer than suspicions are held back.
const QUIET: Duration = Duration::from_millis(1300);
/// Looked up last, and not behind a link that any test is about.
const SENTINEL: &str = "fdff::99";

/// `eth1` and `eth2` in the namespace `here`, to `far1` and `far2` in `there`.
struct Scene {
    here: Namespace,
    there: Namespace,
}

struct Watch {
    watcher: Watcher,
    told: Receiver<(Instant, Suspicion)>,
    /// While it is taken the watcher's thread hangs in what it is given to call.
    gate: Arc<Mutex<()>>,
    /// How late it was told of what was done.
    lateness: Mutex<Vec<Duration>>,
}

fn path(target: &str) -> Path {
    Path { address: target.parse().unwrap(), egress: Egress::default() }
}

fn bound(target: &str, interface: &str) -> Path {
    let egress = Egress { interface: Some(interface.to_owned()), ..Egress::default() };
    Path { address: target.parse().unwrap(), egress }
}

fn marked(target: &str, mark: u32) -> Path {
    Path { address: target.parse().unwrap(), egress: Egress { mark: Some(mark), ..Egress::default() } }
}

impl Scene {
    fn new() -> Scene {
        let lab = Lab::new();
        let scene = Scene { here: lab.namespace("here"), there: lab.namespace("there") };
        for number in ["1", "2"] {
            let (near, far) = (format!("eth{number}"), format!("far{number}"));
            // The kernel is slow to tell of a link whose two ends have the same number: it takes it for a real one.
            let (near_index, far_index) = (format!("10{number}"), format!("20{number}"));
            let there = ["type", "veth", "peer", "name", &far, "index", &far_index, "netns", &scene.there.name()];
            scene.here.ip(&[&["link", "add", near.as_str(), "index", &near_index], &there[..]].concat());
            scene.here.add_address(&format!("10.{number}.0.1/24"), &near);
            scene.here.add_address(&format!("fd00:{number}::1/64"), &near);
            scene.here.ip(&["link", "set", &near, "up"]);
            scene.there.ip(&["link", "set", &far, "up"]);
        }
        scene.ip("link add sentry1 type veth peer name sentry2");
        scene.ip("link set sentry1 up");
        scene.ip("link set sentry2 up");
        for link in ["eth1", "eth2", "sentry1", "sentry2"] {
            wait::until("a carrier", || match scene.here.run("ip", &["link", "show", link]).contains("state UP") {
                true => Ok(()),
                false => Err("none".to_owned()),
            });
        }
        scene
    }

    /// `ip` with these words, here.
    fn ip(&self, words: &str) {
        self.here.ip(&words.split(' ').collect::<Vec<_>>());
    }

    fn watch(&self, paths: &[Path]) -> Watch {
        let watch = Watch::start(&self.here, None);
        watch.set(self, paths);
        watch
    }
}

impl Watch {
    /// In a namespace, and as this user, who may nothing there.
    fn start(namespace: &Namespace, user: Option<u32>) -> Watch {
        let (tell, told) = unbounded();
        let gate = Arc::new(Mutex::new(()));
        let at_gate = gate.clone();
        let place = File::open(format!("/run/netns/{}", namespace.name())).unwrap();
        let start = move || {
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            if let Some(user) = user {
                rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(user)).unwrap();
            }
            let post = move |suspicion| {
                let _ = tell.send((now(), suspicion));
                drop(at_gate.lock().unwrap());
            };
            Watcher::start(post).unwrap()
        };
        Watch { watcher: thread::spawn(start).join().unwrap(), told, gate, lateness: Mutex::default() }
    }

    /// Watches these from now on, and comes back when it knows them.
    fn set(&self, scene: &Scene, paths: &[Path]) {
        self.watcher.set_targets([paths, &[path(SENTINEL)]].concat());
        let mut moves = 0;
        wait::until("the watcher to know its targets", || {
            scene.ip(&format!("route replace {SENTINEL} dev {}", ["sentry1", "sentry2"][moves % 2]));
            moves += 1;
            match self.told.recv_timeout(Duration::from_millis(100)) {
                Ok((_, suspicion)) if suspicion.paths == [path(SENTINEL)] => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        // A move that came too soon after another is told a second later.
        while moves > 1 && self.told.recv_timeout(QUIET).is_ok() {}
    }

    /// Does something, and is told of these, soon after, for this reason; and of no more.
    #[track_caller]
    fn suspects(&self, what: impl FnOnce(), paths: &[Path], cause: &str) {
        let mut paths = paths.to_vec();
        paths.sort();
        what();
        let done = now();
        let (at, suspicion) = self.told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing of {cause}"));
        assert_eq!(suspicion, Suspicion { paths, cause: cause.to_owned() });
        let late = at.saturating_duration_since(done);
        println!("{cause}: told {late:?} after it was done");
        assert!(late < LATE, "{cause}: after {late:?}");
        self.lateness.lock().unwrap().push(late);
        self.is_quiet();
    }

    #[track_caller]
    fn is_quiet(&self) {
        assert_eq!(self.told.recv_timeout(QUIET).ok(), None, "no more");
    }
}

impl Drop for Watch {
    /// Of what was told, most was told soon.
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let lateness = self.lateness.lock().unwrap();
        let soon = lateness.iter().filter(|late| **late < SOON).count();
        assert!(lateness.len() < 3 || 2 * soon >= lateness.len(), "{lateness:?}");
    }
}

#[test]
fn a_peer_goes_down() {
    let scene = Scene::new();
    scene.ip("route add 10.9.0.0/16 via 10.1.0.2");
    scene.ip("route add 10.8.0.0/16 via 10.2.0.2");
    let behind = ["10.1.0.11", "10.1.0.12", "10.9.0.11", "fd00:1::11"].map(path);
    let others = ["10.2.0.11", "10.8.0.11", "fd00:2::11", "127.0.0.1", "10.1.0.1"].map(path);
    let watch = scene.watch(&[&behind[..], &others].concat());
    // The carrier goes.
    watch.suspects(|| scene.there.ip(&["link", "set", "far1", "down"]), &behind, "link eth1 is down");
    scene.there.ip(&["link", "set", "far1", "up"]);
    watch.is_quiet();
    watch.suspects(|| scene.ip("link set eth1 down"), &behind, "link eth1 is down");
    scene.ip("link set eth1 up");
    scene.ip("route add 10.9.0.0/16 via 10.1.0.2");
    watch.is_quiet();
    // Its routes, and all of the other side.
    let remote = ["10.2.0.11", "10.8.0.11", "fd00:2::11"].map(path);
    watch.suspects(|| scene.there.ip(&["link", "delete", "far2"]), &remote, "link eth2 is down");
    let told = watch.told.clone();
    drop(watch);
    assert!(told.recv_timeout(PATIENCE).is_err(), "the thread has let go of it");
}

#[test]
fn routes_come_and_go() {
    let scene = Scene::new();
    scene.ip("route add 10.9.0.0/16 via 10.1.0.2");
    scene.ip("route add fd09::/32 via fd00:1::2");
    let paths = ["10.1.0.11", "10.2.0.11", "10.9.0.11", "10.9.0.12", "fd09::11", "fd09::12"].map(path);
    let watch = scene.watch(&paths);
    let suspects = |words: &str, targets: &[&str], cause: &str| {
        let targets: Vec<Path> = targets.iter().map(|target| path(target)).collect();
        watch.suspects(|| scene.ip(words), &targets, cause);
    };
    suspects("route add unreachable 10.9.0.11", &["10.9.0.11"], "route to 10.9.0.11 is unreachable");
    suspects("route add blackhole fd09::11", &["fd09::11"], "route to fd09::11 is a blackhole");
    // Back again is no loss; nor is what leads the same way.
    scene.ip("route delete unreachable 10.9.0.11");
    scene.ip("route delete blackhole fd09::11");
    scene.ip("route add 10.9.0.0/24 via 10.1.0.2");
    scene.ip("route add unreachable 10.0.0.0/8");
    watch.is_quiet();
    suspects("route add 10.9.0.8/29 via 10.2.0.2", &["10.9.0.11", "10.9.0.12"], "route to 10.9.0.8/29 is new");
    suspects("route replace fd09::/32 via fd00:1::3", &["fd09::11", "fd09::12"], "route to fd09::/32 has changed");
    scene.ip("route delete 10.9.0.0/24");
    scene.ip("route delete 10.9.0.0/16");
    watch.is_quiet();
    suspects("route delete 10.9.0.8/29", &["10.9.0.11", "10.9.0.12"], "route to 10.9.0.8/29 is gone");
    suspects("route delete fd09::/32", &["fd09::11", "fd09::12"], "route to fd09::/32 is gone");
}

/// A target is behind each leg of its route, and behind one at last.
#[test]
fn routes_with_several_next_hops() {
    let scene = Scene::new();
    let legs = |net: &str, one: &str, two: &str| format!("route replace {net} nexthop via {one} nexthop via {two}");
    let both = || {
        scene.ip(&legs("10.9.0.0/16", "10.1.0.2", "10.2.0.2"));
        scene.ip(&legs("fd09::/32", "fd00:1::2", "fd00:2::2"));
    };
    both();
    let paths = ["10.9.0.11", "10.9.0.12", "fd09::11", "fd09::12"].map(path);
    let watch = scene.watch(&paths);
    watch.suspects(|| scene.there.ip(&["link", "set", "far1", "down"]), &paths, "link eth1 is down");
    // As a routing daemon does; it takes nothing away that was not lost.
    scene.ip("route replace 10.9.0.0/16 via 10.2.0.2");
    scene.ip("route replace fd09::/32 via fd00:2::2");
    watch.is_quiet();
    scene.there.ip(&["link", "set", "far1", "up"]);
    wait::until("a carrier", || match scene.here.run("ip", &["link", "show", "eth1"]).contains("state UP") {
        true => Ok(()),
        false => Err("none".to_owned()),
    });
    both();
    watch.is_quiet();
    let changed = "route to 10.9.0.0/16 has changed";
    watch.suspects(|| scene.ip("route replace 10.9.0.0/16 via 10.1.0.2"), &paths[..2], changed);
    watch.suspects(|| scene.there.ip(&["link", "set", "far1", "down"]), &paths, "link eth1 is down");
    watch.suspects(|| scene.there.ip(&["link", "set", "far2", "down"]), &paths[2..], "link eth2 is down");
}

/// IPv4 drops routes with an address or a shared next hop, and tells nobody.
#[test]
fn what_goes_without_a_word() {
    let scene = Scene::new();
    scene.ip("nexthop add id 7 via 10.1.0.2 dev eth1");
    scene.ip("route add 10.9.0.0/16 nhid 7");
    scene.ip("route add 10.8.0.0/16 via 10.2.0.2");
    let watch = scene.watch(&["10.9.0.11", "10.8.0.11", "10.1.0.11"].map(path));
    // This is said, unless net.ipv4.nexthop_compat_mode is off.
    let changed = "route to 10.9.0.0/16 has changed";
    watch.suspects(|| scene.ip("nexthop replace id 7 via 10.1.0.3 dev eth1"), &[path("10.9.0.11")], changed);
    let changed = "a next hop has changed";
    watch.suspects(|| scene.ip("nexthop delete id 7"), &[path("10.9.0.11")], changed);
    let gone = "address 10.2.0.1 is gone";
    watch.suspects(|| scene.ip("address delete 10.2.0.1/24 dev eth2"), &[path("10.8.0.11")], gone);
}

#[test]
fn marks_have_routes_of_their_own() {
    let scene = Scene::new();
    scene.ip("route add 10.9.0.0/16 via 10.1.0.2");
    scene.ip("route add 10.9.0.0/16 via 10.2.0.2 table 77");
    scene.ip("rule add fwmark 7 table 77");
    let source = Egress { source: Some(IpAddr::from([10, 2, 0, 1])), ..Egress::default() };
    let from = Path { address: "10.9.0.11".parse().unwrap(), egress: source };
    let watch = scene.watch(&[path("10.9.0.11"), marked("10.9.0.11", 7), marked("10.9.0.11", 8), from.clone()]);
    let gone = "route to 10.9.0.0/16 is gone";
    watch.suspects(|| scene.ip("route delete 10.9.0.0/16 table 77"), &[marked("10.9.0.11", 7)], gone);
    let rules = "routing rules have changed";
    watch.suspects(|| scene.ip("rule add fwmark 8 unreachable"), &[marked("10.9.0.11", 8)], rules);
    watch.suspects(|| scene.ip("rule add from 10.2.0.1 blackhole"), &[from], rules);
    let all = [path("10.9.0.11"), marked("10.9.0.11", 7)];
    watch.suspects(|| scene.ip("route delete 10.9.0.0/16"), &all, gone);
}

#[test]
#[ignore = "needs a kernel with VRFs: `tests/run` runs it where there is one"]
fn a_vrf_has_routes_of_its_own() {
    let scene = Scene::new();
    scene.ip("link add blue type vrf table 77");
    scene.ip("link set blue up");
    scene.ip("link set eth2 master blue");
    // Without it the kernel goes on to the main table.
    scene.ip("route add unreachable default metric 4278198272 table 77");
    scene.ip("route add 10.9.0.0/16 via 10.2.0.2 table 77");
    scene.ip("route add 10.9.0.0/16 via 10.1.0.2");
    let inside = [bound("10.2.0.11", "blue"), bound("10.9.0.11", "blue")];
    let outside = [path("10.9.0.11"), path("10.1.0.11"), bound("10.9.0.11", "eth1"), bound("10.9.0.11", "none")];
    let watch = scene.watch(&[&inside[..], &outside].concat());
    let gone = "route to 10.9.0.0/16 is gone";
    watch.suspects(|| scene.ip("route delete 10.9.0.0/16 table 77"), &inside[1..], gone);
    watch.suspects(|| scene.there.ip(&["link", "set", "far2", "down"]), &inside[..1], "link eth2 is down");
    scene.there.ip(&["link", "set", "far2", "up"]);
    scene.ip("route add 10.9.0.0/16 via 10.2.0.2 table 77");
    watch.is_quiet();
    watch.suspects(|| scene.ip("link set blue down"), &inside, "link blue is down");
}

/// A macvlan (as a VLAN) follows the link under it, and a bridge the last of its ports.
#[test]
fn links_on_top_of_links() {
    let scene = Scene::new();
    scene.ip("link add link eth1 name upper type macvlan");
    scene.ip("address add 10.5.0.1/24 dev upper");
    scene.ip("link set upper up");
    scene.ip("link add br0 type bridge");
    scene.ip("address add 10.6.0.1/24 dev br0");
    scene.ip("link set br0 up");
    scene.ip("link set eth2 master br0");
    wait::until("the bridge", || match scene.here.run("ip", &["link", "show", "br0"]).contains("state UP") {
        true => Ok(()),
        false => Err("it has no carrier".to_owned()),
    });
    let watch = scene.watch(&["10.5.0.11", "10.6.0.11"].map(path));
    let down = "link upper is down";
    watch.suspects(|| scene.there.ip(&["link", "set", "far1", "down"]), &[path("10.5.0.11")], down);
    let (_, suspicion) = {
        scene.there.ip(&["link", "set", "far2", "down"]);
        watch.told.recv_timeout(PATIENCE).unwrap()
    };
    assert_eq!(suspicion, Suspicion { paths: vec![path("10.6.0.11")], cause: "link br0 is down".to_owned() });
}

/// More news than the sockets hold, of routes and of links: what has changed meanwhile is found all the same.
#[test]
fn news_is_lost() {
    let scene = Scene::new();
    scene.ip("route add 10.9.0.0/16 via 10.2.0.2");
    let watch = Watch::start(&scene.here, Some(65534));
    watch.set(&scene, &["10.1.0.11", "10.2.0.11", "10.9.0.11", "10.2.0.12"].map(path));
    let batch = |name: &str, lines: String| {
        let file = scene.here.dir("batches").join(name);
        std::fs::write(&file, lines).unwrap();
        scene.here.ip(&["-batch", file.to_str().unwrap()]);
    };
    let closed = watch.gate.lock().unwrap();
    scene.ip("route add unreachable 10.2.0.12");
    let (_, suspicion) = watch.told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(suspicion.paths, [path("10.2.0.12")]);
    batch("routes", (0..30_000).map(|n| format!("route add 20.{}.{}.0/24 via 10.2.0.2\n", n >> 8, n & 255)).collect());
    batch("links", (0..8_000).map(|n| format!("link set sentry1 mtu {}\n", 1400 + n % 2)).collect());
    scene.there.ip(&["link", "set", "far1", "down"]);
    scene.ip("route delete 10.9.0.0/16");
    let link = |state: &str| match scene.here.run("ip", &["link", "show", "eth1"]).contains(state) {
        true => Ok(()),
        false => Err(format!("not {state}")),
    };
    wait::until("the carrier to go", || link("state DOWN"));
    drop(closed);
    let mut told: Vec<Suspicion> = Vec::new();
    while told.iter().map(|told| told.paths.len()).sum::<usize>() < 2 {
        told.push(watch.told.recv_timeout(PATIENCE).unwrap().1);
    }
    println!("{told:?}");
    let by = |cause: &str| -> Vec<Path> {
        told.iter().filter(|told| told.cause.contains(cause)).flat_map(|told| told.paths.clone()).collect()
    };
    assert!(by("link eth1 is down").contains(&path("10.1.0.11")));
    assert!(by("routing has changed").contains(&path("10.9.0.11")));
    watch.is_quiet();
}

/// A router takes in and drops routes by the ten thousand, more than the socket holds: a link that goes down is heard of,
/// and whose route went with the rest is found.
#[test]
fn without_privileges_in_a_storm() {
    let scene = Scene::new();
    scene.ip("route add 10.9.0.0/16 via 10.2.0.2");
    let watch = Watch::start(&scene.here, Some(65534));
    let paths = ["10.1.0.11", "10.9.0.11"].map(path);
    watch.set(&scene, &paths);
    let file = scene.here.dir("storm").join("routes");
    let lines = |verb: &str| -> String {
        let line = |number: u32| format!("route {verb} 20.{}.{}.0/24 via 10.2.0.2\n", number >> 8, number & 255);
        (0..30_000).map(line).collect()
    };
    std::fs::write(&file, lines("add") + "route delete 10.9.0.0/16\n" + &lines("delete")).unwrap();
    let storm = {
        let (here, file) = (scene.here.name(), file.to_str().unwrap().to_owned());
        thread::spawn(move || crate::harness::lab::run("ip", &["-n", &here, "-batch", &file]))
    };
    wait::until("the storm", || match scene.here.run("ip", &["route", "show", "20.20.0.0/24"]).is_empty() {
        true => Err("no route".to_owned()),
        false => Ok(()),
    });
    scene.there.ip(&["link", "set", "far1", "down"]);
    let done = now();
    let mut told = Vec::new();
    while told.len() < 2 {
        let (at, suspicion) = watch.told.recv_timeout(PATIENCE).unwrap();
        let late = at.saturating_duration_since(done);
        println!("{} in a storm: told {late:?} after it was done", suspicion.cause);
        assert!(suspicion.paths != paths[..1] || suspicion.cause == "link eth1 is down" && late < LATE, "{late:?}");
        told.extend(suspicion.paths);
    }
    storm.join().unwrap();
    told.sort();
    assert_eq!(told, paths);
    watch.is_quiet();
}
