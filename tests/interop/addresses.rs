//! Addresses of VIPs on this host, and its data plane: what is there before a router hears of the route, and what stays until
//! it has forgotten it.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::unbounded;
use herald::announce::AddressNews;
use herald::driver::netlink::addresses::{Addresses, News, Watched};
use herald::engine::ground::AddressAction;
use herald::prefix::Prefix;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::herald::Herald;
use crate::harness::lab::Namespace;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::process::Process;
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;
use crate::harness::watch::Watch;

const VIP: &str = "192.0.2.1";
const PREFIXES: [&str; 2] = site::VIPS;

/// A router that puts what it learns into its kernel's table, which can be watched.
struct Scene {
    site: Site,
    neighbour: Neighbour,
    router: Box<dyn Router>,
}

/// Everything that happens to addresses or routes of a namespace, with its time.
struct Record(Process);

impl Scene {
    fn new(kind: Kind) -> Scene {
        let site = Site::new();
        let neighbour = site::neighbour(false, 65000, 65001);
        let (router, _) = Watch::router(kind, &site.router, "10.99.1.1", &Plan::new(&neighbour));
        Scene { site, neighbour, router }
    }

    /// One service on an IPv4 and an IPv6 VIP, up while the file `down` is not there; and this for the VIPs.
    fn config(&self, defaults: &str, rest: &str) -> String {
        let down = self.down();
        format!(
            "{}[checks.up]\ntype = \"exec\"\ncommand = [\"/usr/bin/test\", \"!\", \"-e\", \"{}\"]\ninterval = \"100ms\"\n\
             timeout = \"5s\"\nrise = 1\nfall = 1\n[[service]]\nname = \"web\"\nvips = [\"{VIP}\", \"2001:db8::1\"]\n\
             port = 80\nchecks = [\"up\"]\n[[service.backend]]\naddress = \"10.98.0.11\"\n\
             [vip_defaults]\n{defaults}{rest}",
            site::bgp(&self.neighbour, ""),
            down.display()
        )
    }

    fn down(&self) -> PathBuf {
        self.site.herald.dir("switch").join("down")
    }

    fn fall(&self) {
        fs::write(self.down(), "").unwrap();
    }

    fn rise(&self) {
        fs::remove_file(self.down()).unwrap();
    }

    fn wait_for_routes(&self) {
        site::wait_for_routes(&self.neighbour, &*self.router);
    }

    fn wait_for_none(&self) {
        wait::until_equal("the withdrawal", &Table::new(), || self.router.table());
    }

    /// The VIPs that are on an interface.
    fn on(&self, interface: &str) -> Vec<String> {
        let text = self.site.herald.run("ip", &["-o", "address", "show", "dev", interface]);
        let words = text.lines().filter_map(|line| line.split_whitespace().nth(3));
        words.filter(|it| PREFIXES.contains(it)).map(str::to_owned).collect()
    }

    #[track_caller]
    fn wait_on(&self, interface: &str, vips: &[&str]) {
        let expected: Vec<String> = vips.iter().map(ToString::to_string).collect();
        wait::until_equal(&format!("addresses on {interface}"), &expected, || Ok(self.on(interface)));
    }
}

#[track_caller]
fn wait_for_reason(herald: &Herald, state: &str, reason: &str) {
    wait::until(&format!("{state}: {reason}"), || {
        let vip = herald.vip("192.0.2.1/32")?;
        if vip["state"] == state && vip["reason"] == reason { Ok(()) } else { Err(vip.to_string()) }
    });
}

impl Record {
    fn new(namespace: &Namespace, what: &str) -> Record {
        let log = namespace.dir("record").join(format!("{what}.log"));
        let record =
            Record(Process::start(namespace, Path::new(&log), "stdbuf", &["-oL", "ip", "-ts", "monitor", what]));
        // It is there when it has seen something.
        let mut count = 0;
        wait::until("the record to begin", || {
            count += 1;
            namespace.ip(&["address", "add", &format!("127.9.9.{count}/32"), "dev", "lo"]);
            if record.0.log().contains("127.9.9.") { Ok(()) } else { Err(record.0.log()) }
        });
        record
    }

    /// When this prefix came or went last, in seconds of the day.
    fn last(&self, prefix: &str, goes: bool) -> Option<f64> {
        let bare = prefix.trim_end_matches("/32").trim_end_matches("/128");
        let log = self.0.log();
        let of_it = |line: &&str| {
            let rest = line.split_once("] ").map(|(_, rest)| rest).unwrap_or_default();
            let mut words = rest.split_whitespace();
            rest.starts_with("Deleted ") == goes && words.any(|word| word == prefix || word == bare)
        };
        let line = log.lines().rfind(of_it)?;
        let (_, time) = line.trim_start_matches('[').split_once(']')?.0.split_once('T')?;
        let mut parts = time.split(':').map(|part| part.parse::<f64>().unwrap());
        Some(parts.next()? * 3600.0 + parts.next()? * 60.0 + parts.next()?)
    }

    #[track_caller]
    fn time(&self, prefix: &str, goes: bool) -> f64 {
        wait::until(&format!("{prefix} goes: {goes}"), || self.last(prefix, goes).ok_or(self.0.log())).0
    }
}

fn an_address_is_there_before_the_route_and_stays_after_it(kind: Kind) {
    let scene = Scene::new(kind);
    let (addresses, routes) = (Record::new(&scene.site.herald, "address"), Record::new(&scene.site.router, "route"));
    scene.fall();
    let text = scene.config("bind = \"lo\"\nunbind_delay = \"5s\"\n", "");
    let mut herald = Herald::start(&scene.site.herald, &text);
    site::established(&*scene.router);
    assert_eq!(scene.on("lo"), Vec::<String>::new());
    scene.rise();
    scene.wait_for_routes();
    assert_eq!(scene.on("lo"), PREFIXES);
    for prefix in PREFIXES {
        let (address, route) = (addresses.time(prefix, false), routes.time(prefix, false));
        assert!(address < route, "{prefix}: address at {address}, route at {route}");
    }
    scene.fall();
    scene.wait_for_none();
    assert_eq!(scene.on("lo"), PREFIXES, "for what is still on its way");
    scene.wait_on("lo", &[]);
    for prefix in PREFIXES {
        let (route, address) = (routes.time(prefix, true), addresses.time(prefix, true));
        // From the withdrawal's departure, which is a little before the router's kernel has it and its record tells of it.
        assert!(address > route + 3.0, "{prefix}: route gone at {route}, address at {address}");
    }
    // A clean stop does the same.
    scene.rise();
    scene.wait_for_routes();
    herald.terminate();
    scene.wait_for_none();
    assert_eq!(scene.on("lo"), PREFIXES);
    assert!(herald.wait().success(), "{}", herald.log());
    assert_eq!(scene.on("lo"), Vec::<String>::new());
    let log = herald.log();
    for words in ["address 192.0.2.1/32 added to lo", "address 2001:db8::1/128 removed from lo"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(!log.contains("somebody else") && !log.contains("although"), "{log}");
    assert_eq!(log.matches("address 192.0.2.1/32 removed from lo").count(), 2, "{log}");
    drop(addresses);
    herald.assert_nothing_left();
}

with_routers!(bound, an_address_is_there_before_the_route_and_stays_after_it, bird frr);

/// Longer than a stop may take otherwise.
#[test]
fn a_stop_waits_for_a_long_delay() {
    let scene = Scene::new(Kind::Bird);
    let mut herald = Herald::start(&scene.site.herald, &scene.config("bind = \"lo\"\nunbind_delay = \"7s\"\n", ""));
    scene.wait_for_routes();
    herald.terminate();
    scene.wait_for_none();
    assert!(herald.wait().success(), "{}", herald.log());
    assert_eq!(scene.on("lo"), Vec::<String>::new());
    assert!(!herald.log().contains("although"), "{}", herald.log());
}

#[test]
fn somebody_removes_an_address() {
    let scene = Scene::new(Kind::Bird);
    let required = scene.config("bind = \"lo\"\nunbind_delay = \"0s\"\nrequire_address = true\n", "");
    let herald = Herald::start(&scene.site.herald, &required);
    scene.wait_for_routes();
    scene.site.herald.ip(&["address", "delete", "192.0.2.1/32", "dev", "lo"]);
    let other = site::plain_table(&scene.neighbour, &*scene.router, &PREFIXES[1..]);
    wait::until_equal("the withdrawal", &other, || scene.router.table());
    wait_for_reason(&herald, "withdrawn", "its address is not on lo");
    // It is not put back.
    wait::stays("the withdrawal", Duration::from_secs(3), &other, || scene.router.table());
    assert_eq!(scene.on("lo"), PREFIXES[1..]);
    site::wait_for_log(&herald, "address 192.0.2.1/32 is gone from lo: somebody else has removed it");
    scene.site.herald.add_address("192.0.2.1/32", "lo");
    scene.wait_for_routes();

    // Without that word it is put back.
    herald.reload_good(&scene.config("bind = \"lo\"\n", ""));
    scene.wait_for_routes();
    scene.site.herald.ip(&["address", "delete", "2001:db8::1/128", "dev", "lo"]);
    scene.wait_on("lo", &PREFIXES);
    scene.wait_for_routes();

    // One that is somebody else's alone.
    herald.reload_good(&scene.config("require_address = true\n", ""));
    scene.wait_for_routes();
    scene.site.herald.ip(&["address", "delete", "192.0.2.1/32", "dev", "lo"]);
    wait::until_equal("the withdrawal", &other, || scene.router.table());
    wait_for_reason(&herald, "withdrawn", "its address is not on this host");
    scene.site.herald.add_address("192.0.2.1/24", "to-servers");
    scene.wait_for_routes();
}

#[test]
fn an_interface_that_is_not_there() {
    let scene = Scene::new(Kind::Bird);
    let herald = Herald::start(&scene.site.herald, &scene.config("bind = \"vips\"\n", ""));
    let reason = "healthy, but its address cannot be put on vips: no such interface vips";
    wait_for_reason(&herald, "holding", reason);
    assert_eq!(scene.router.table().unwrap(), Table::new());
    scene.site.herald.ip(&["link", "add", "vips", "type", "veth", "peer", "name", "far"]);
    scene.site.herald.ip(&["link", "set", "vips", "up"]);
    scene.wait_for_routes();
    assert_eq!(scene.on("vips"), PREFIXES);
    site::wait_for_log(&herald, "address 192.0.2.1/32 cannot be used on vips");
    let count = herald.log().matches("address 192.0.2.1/32 cannot be used on vips").count();
    assert_eq!(count, 1, "said once: {}", herald.log());
    // It takes its addresses with it, and has them when it is back.
    scene.site.herald.ip(&["link", "delete", "vips"]);
    scene.wait_for_none();
    scene.site.herald.ip(&["link", "add", "vips", "type", "veth", "peer", "name", "far"]);
    scene.wait_for_routes();
    assert_eq!(scene.on("vips"), PREFIXES);
}

/// SIGUSR2, and a second SIGTERM.
#[test]
fn a_restart_leaves_the_addresses_and_a_stop_at_once_does_not() {
    let scene = Scene::new(Kind::Bird);
    let mut herald = Herald::start(&scene.site.herald, &scene.config("bind = \"lo\"\nunbind_delay = \"1m\"\n", ""));
    scene.wait_for_routes();
    herald.leave();
    assert_eq!(scene.on("lo"), PREFIXES);
    herald.run();
    scene.wait_for_routes();
    assert_eq!(scene.on("lo"), PREFIXES);
    herald.terminate();
    scene.wait_for_none();
    herald.terminate();
    herald.wait();
    assert_eq!(scene.on("lo"), Vec::<String>::new());
    // One that was killed has left them: whoever comes next has them, and removes them.
    herald.run();
    scene.wait_for_routes();
    herald.kill();
    assert_eq!(scene.on("lo"), PREFIXES);
    scene.fall();
    herald.write(&scene.config("bind = \"lo\"\nunbind_delay = \"0s\"\n", ""));
    herald.run();
    scene.wait_on("lo", &[]);
}

#[test]
fn what_it_needs_is_looked_at_first() {
    let scene = Scene::new(Kind::Bird);
    let privileges = ["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    let herald = Herald::new(&scene.site.herald, &scene.config("bind = \"lo\"\n", ""));
    let (code, said) = herald.check_config_with(&privileges);
    assert!(code == Some(1) && said.contains("`bind` needs CAP_NET_ADMIN (see herald.service)"), "{said}");
    // To look takes none.
    let mut herald = Herald::new(&scene.site.herald, &scene.config("require_address = true\n", ""));
    herald.run_with(&privileges);
    wait_for_reason(&herald, "withdrawn", "its address is not on this host");
    PREFIXES.iter().for_each(|prefix| scene.site.herald.add_address(prefix, "lo"));
    scene.wait_for_routes();
}

/// More than the socket for news holds, at the start, and all gone at once.
#[test]
fn very_many() {
    const VIPS: usize = 4_000;
    let scene = Scene::new(Kind::Bird);
    let vips: Vec<String> = (0..VIPS).map(|vip| format!("\"10.{}.{}.1\"", vip / 250, vip % 250)).collect();
    let text = format!(
        "{}[[service]]\nname = \"web\"\nvips = [{}]\nport = 80\nchecks = []\n[[service.backend]]\naddress = \"10.98.0.11\"\n\
         [vip_defaults]\nbind = \"lo\"\nunbind_delay = \"0s\"\n",
        site::bgp(&scene.neighbour, ""),
        vips.join(", ")
    );
    let mut herald = Herald::start(&scene.site.herald, &text);
    let count = || scene.site.herald.run("ip", &["-o", "address", "show", "dev", "lo"]).matches("/32 scope").count();
    let time = wait::until_equal("all routes", &VIPS, || Ok(scene.router.table()?.len())).as_secs_f64();
    assert_eq!(count(), VIPS);
    println!("{VIPS} addresses and routes after {time:.1} s");
    let deletes = |vip: &String| format!("address delete {}/32 dev lo\n", vip.trim_matches('"'));
    batch(&scene.site.herald, &vips.iter().map(deletes).collect::<String>());
    wait::until_equal("all to be back", &VIPS, || Ok(count()));
    herald.terminate();
    assert!(herald.wait().success());
    assert_eq!(count(), 0);
    let log = herald.log();
    assert!(log.contains("more addresses added within a second"), "they are summed up");
}

fn batch(namespace: &Namespace, lines: &str) {
    let file = namespace.dir("batches").join("lines");
    fs::write(&file, lines).unwrap();
    namespace.ip(&["-batch", file.to_str().unwrap()]);
}

/// What is done already is done; what was ordered is done in the end.
#[test]
fn by_itself() {
    let site = Site::new();
    let (tell, told) = unbounded();
    let place = fs::File::open(format!("/run/netns/{}", site.herald.name())).unwrap();
    let start = move || {
        move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        Addresses::start(move |news| drop(tell.send(news))).unwrap()
    };
    let addresses = std::thread::spawn(start).join().unwrap();
    let next = || match told.recv_timeout(wait::PATIENCE).unwrap() {
        News::Report(report) => report.news,
        News::Broken(error) => panic!("{error}"),
    };
    let vip: Prefix = VIP.parse().unwrap();
    let add = |interface: &str| AddressAction::Add { prefix: vip, interface: interface.into() };
    let remove = || AddressAction::Remove { prefix: vip, interface: "lo".into() };
    addresses.watch(vec![Watched { prefix: vip, interface: Some("lo".into()) }]);
    assert_eq!(next(), [(vip, AddressNews::Absent)]);
    addresses.submit(remove());
    addresses.submit(add("lo9"));
    assert_eq!(next(), [(vip, AddressNews::Failed("no such interface lo9".to_owned()))]);
    for _ in 0..2 {
        addresses.submit(add("lo"));
        assert_eq!(next(), [(vip, AddressNews::Present)]);
    }
    // It is another one, and stays.
    site.herald.add_address("192.0.2.1/24", "to-servers");
    (0..3).for_each(|_| addresses.submit(remove()));
    addresses.stop();
    assert!(told.try_iter().any(|news| matches!(news, News::Report(it) if it.news == [(vip, AddressNews::Absent)])));
    let left = site.herald.run("ip", &["-o", "address", "show", "to", "192.0.2.1"]);
    assert!(left.contains("to-servers") && left.lines().count() == 1, "{left}");
}

/// More news than the socket holds: what has changed meanwhile is found all the same.
#[test]
fn news_is_lost() {
    let site = Site::new();
    let (tell, told) = unbounded();
    let gate = Arc::new(Mutex::new(()));
    let (at_gate, place) = (gate.clone(), fs::File::open(format!("/run/netns/{}", site.herald.name())).unwrap());
    let start = move || {
        move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        // Who may do nothing there has no more room than others.
        rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(65534)).unwrap();
        let post = move |news| {
            let _ = tell.send(news);
            drop(at_gate.lock().unwrap());
        };
        Addresses::start(post).unwrap()
    };
    let addresses = std::thread::spawn(start).join().unwrap();
    let [one, two, three] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|text| text.parse::<Prefix>().unwrap());
    let next = || match told.recv_timeout(wait::PATIENCE).unwrap() {
        News::Report(report) => report.news,
        News::Broken(error) => panic!("{error}"),
    };
    site.herald.add_address("192.0.2.3/32", "lo");
    addresses.watch([one, two, three].map(|prefix| Watched { prefix, interface: None }).to_vec());
    assert_eq!(next(), [(one, AddressNews::Absent), (two, AddressNews::Absent), (three, AddressNews::Present)]);
    let closed = gate.lock().unwrap();
    site.herald.add_address("192.0.2.1/32", "lo");
    assert_eq!(next(), [(one, AddressNews::Present)]);
    // It hangs in what it is given to call, and more comes than there is room for.
    let storm = (0..12_000).map(|it| format!("address add 10.0.{}.{}/32 dev lo\n", it / 250, it % 250));
    batch(&site.herald, &storm.collect::<String>());
    site.herald.ip(&["address", "delete", "192.0.2.3/32", "dev", "lo"]);
    site.herald.add_address("192.0.2.2/32", "lo");
    drop(closed);
    assert_eq!(next(), [(two, AddressNews::Present), (three, AddressNews::Absent)]);
    // Nor is it permitted to change anything.
    addresses.submit(AddressAction::Add { prefix: one, interface: "lo".into() });
    assert_eq!(next(), [(one, AddressNews::Failed("operation not permitted".to_owned()))]);
    addresses.stop();
    assert!(told.recv_timeout(wait::PATIENCE).is_err(), "the thread has let go of it");
}

/// A program for `data_plane`, which logs what it is asked and then does this.
fn hook(scene: &Scene, body: &str) -> String {
    let dir = scene.site.herald.dir("hook");
    let (program, log) = (dir.join("data-plane"), dir.join("asked.log"));
    let script = format!("#!/bin/sh\necho \"$HERALD_ACTION $HERALD_VIP\" >>{}\n{body}\n", log.display());
    // The one that runs may be the one that is replaced.
    let fresh = dir.join("fresh");
    fs::write(&fresh, script).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&fresh, &program).unwrap();
    format!("[hooks]\ndata_plane = \"{}\"\ndata_plane_timeout = \"4s\"\n", program.display())
}

fn asked(scene: &Scene) -> Vec<String> {
    let text = fs::read_to_string(scene.site.herald.dir("hook").join("asked.log")).unwrap_or_default();
    text.lines().filter(|line| line.ends_with("192.0.2.1/32")).map(str::to_owned).collect()
}

fn the_data_plane_goes_before_the_route_and_down_after_it(kind: Kind) {
    let scene = Scene::new(kind);
    // It notes the router's kernel's table as it is when it is asked. A router may take a while over a withdrawal.
    let seen = scene.site.herald.dir("hook").join("seen.log");
    let look = format!(
        "[ \"$HERALD_VIP\" = 192.0.2.1/32 ] || exit 0\necho \"$HERALD_ACTION\" >>{seen}\n\
         look() {{ nsenter --net=/run/netns/{} ip route show 192.0.2.1; }}\nn=0\n\
         while [ \"$HERALD_ACTION\" = down ] && [ -n \"$(look)\" ] && [ $n -lt 25 ]; do sleep 0.1; n=$((n+1)); done\n\
         look >>{seen}",
        scene.site.router.name(),
        seen = seen.display()
    );
    let herald = Herald::start(&scene.site.herald, &scene.config("", &hook(&scene, &look)));
    scene.wait_for_routes();
    assert_eq!(fs::read_to_string(&seen).unwrap(), "up\n", "there is no route yet");
    assert_eq!(asked(&scene), ["up 192.0.2.1/32"]);
    scene.fall();
    wait::until_equal("the word", &vec!["up 192.0.2.1/32".to_owned(), "down 192.0.2.1/32".to_owned()], || {
        Ok(asked(&scene))
    });
    scene.wait_for_none();
    // Nor is there one any more, although it is still at work.
    wait::until("the end of its work", || match herald.status()?["hooks"][0]["running"] == 0 {
        true => Ok(()),
        false => Err("at work".to_owned()),
    });
    assert_eq!(fs::read_to_string(&seen).unwrap(), "up\ndown\n");
    let status = herald.status().unwrap();
    let line = status["hooks"].as_array().unwrap().iter().find(|hook| hook["name"] == "data_plane").cloned().unwrap();
    assert_eq!(line["failing"], false, "{line}");
}

with_routers!(data_plane, the_data_plane_goes_before_the_route_and_down_after_it, bird frr);

fn a_data_plane_that_fails_hangs_or_is_slow(kind: Kind) {
    let scene = Scene::new(kind);
    let mut herald = Herald::start(&scene.site.herald, &scene.config("", &hook(&scene, "echo no table; exit 3")));
    let failed = "healthy, but the data plane is not ready: exit status 3: no table";
    wait_for_reason(&herald, "holding", failed);
    site::wait_for_log(&herald, "vip 192.0.2.1/32: the data_plane hook failed: exit status 3: no table");
    wait::until(
        "another attempt",
        || if asked(&scene).len() > 1 { Ok(()) } else { Err(format!("{:?}", asked(&scene))) },
    );
    assert_eq!(scene.router.table().unwrap(), Table::new());
    // It is slow, and works.
    hook(&scene, "sleep 0.3");
    scene.wait_for_routes();
    site::wait_for_log(&herald, "vip 192.0.2.1/32: the data_plane hook succeeds again");
    // It works no more, which is no reason to withdraw anything.
    let hangs = hook(&scene, "sleep 60");
    herald.reload_good(&scene.config("", &hangs));
    scene.wait_for_routes();
    scene.fall();
    scene.wait_for_none();
    scene.rise();
    wait::until("the reason", || {
        let vip = herald.vip("192.0.2.1/32")?;
        let reason = vip["reason"].as_str().unwrap_or_default().to_owned();
        if vip["state"] == "holding" && reason.contains("not ready: ") && reason.contains("timed out after 4 s") {
            Ok(())
        } else {
            Err(reason)
        }
    });
    assert_eq!(scene.router.table().unwrap(), Table::new());
    // Announced all the same, where that is wanted.
    herald.reload_good(&scene.config("", &(hangs + "data_plane_policy = \"announce\"\n")));
    scene.wait_for_routes();
    herald.terminate();
    assert!(herald.wait().success());
    herald.assert_nothing_left();
}

with_routers!(poor_data_plane, a_data_plane_that_fails_hangs_or_is_slow, bird frr);
