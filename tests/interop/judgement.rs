//! How a VIP is announced by what is left of it, and when again: quorum, ladder, holds, damping, dependencies.

use std::time::Duration;

use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Route, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::switches::Switches;
use crate::harness::wait;
use crate::harness::watch::Watch;

const BOTH: &str = "\"192.0.2.1\", \"2001:db8::1\"";
const FOUR: [&str; 4] = ["a", "b", "c", "d"];

/// A router whose every removal of a route is on record, and switches for what Herald checks.
struct Scene {
    site: Site,
    neighbour: Neighbour,
    router: Box<dyn Router>,
    watch: Watch,
    switches: Switches,
}

impl Scene {
    fn new(kind: Kind, internal: bool) -> Scene {
        let site = Site::new();
        let neighbour = site::neighbour(false, if internal { 65001 } else { 65000 }, 65001);
        let (router, watch) = Watch::router(kind, &site.router, "10.99.1.1", &Plan::new(&neighbour));
        let switches = Switches::new(&site);
        Scene { site, neighbour, router, watch, switches }
    }

    /// This service, and this for its VIPs.
    fn start(&self, service: &str, rest: &str) -> Herald {
        Herald::start(&self.site.herald, &(site::bgp(&self.neighbour, "") + service + rest))
    }

    /// The routes of both VIPs, each of them changed like this.
    fn table(&self, change: impl Fn(&mut Route)) -> Table {
        let mut table = site::plain_table(&self.neighbour, &*self.router, &site::VIPS);
        table.values_mut().for_each(change);
        table
    }

    #[track_caller]
    fn wait(&self, what: &str, table: &Table) -> Duration {
        wait::until_equal(what, table, || self.router.table())
    }

    #[track_caller]
    fn wait_for_none(&self) {
        self.wait("nothing", &Table::new());
    }

    #[track_caller]
    fn stays(&self, what: &str, table: &Table) {
        wait::stays(what, Duration::from_millis(500), table, || self.router.table());
    }

    /// How often the IPv4 route has left the router. FRR changes an IPv6 route in the kernel by removing it first.
    fn gone(&self) -> usize {
        self.watch.gone("192.0.2.1/32")
    }

    /// The router holds nothing against what it was told.
    #[track_caller]
    fn content(&self) {
        let complaints = self.router.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

fn switches(names: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    names.iter().map(|name| (*name, "")).collect()
}

/// The LOCAL_PREF of a route with one to an internal router, and with GRACEFUL_SHUTDOWN at FRR.
fn set_local_pref(scene: &Scene, route: &mut Route, wanted: u32) {
    let sent = scene.neighbour.is_internal().then_some(wanted);
    route.local_pref = scene.router.shown_local_pref(sent);
}

const LADDER: &str = "
[vip_defaults]
hold_up = \"1s\"
med     = 10

[[vip_defaults.step]]
below      = \"100%\"
med        = 200
local_pref = 90

[[vip_defaults.step]]
below           = \"75%\"
med             = 300
local_pref      = 80
as_path_prepend = 2
communities     = [\"65000:50\", \"65000:1:2\"]

[[vip_defaults.step]]
below    = \"50%\"
withdraw = true
";

/// Down at once, up again a rung at a time, each after `hold_up`.
fn every_rung_and_back(kind: Kind, internal: bool) {
    let scene = Scene::new(kind, internal);
    let herald = scene.start(&scene.switches.service("web", BOTH, "required = 1\n", &switches(&FOUR)), LADDER);
    let whole = scene.table(|route| {
        route.med = Some(10);
        set_local_pref(&scene, route, 100);
    });
    let first = scene.table(|route| {
        route.med = Some(200);
        set_local_pref(&scene, route, 90);
    });
    let second = scene.table(|route| {
        route.med = Some(300);
        set_local_pref(&scene, route, 80);
        route.communities = vec!["65000:50".to_owned()];
        route.large_communities = vec!["65000:1:2".to_owned()];
        // A prepend is for those who choose by the path's length: external ones.
        if !internal {
            route.as_path = vec![65001; 3];
        }
    });
    scene.wait("all four", &whole);
    let session = site::established(&*scene.router);
    scene.switches.off("a");
    scene.wait("three of four", &first);
    scene.switches.off("b");
    scene.wait("two of four", &second);
    assert_eq!(scene.gone(), 0, "a rung is no withdrawal");
    scene.switches.off("c");
    scene.wait_for_none();
    let status = herald.vip("192.0.2.1/32").unwrap();
    assert_eq!(status["reason"], "1 of 4 healthy, which is below 50%", "{status}");
    // The service is up all the time: it is the ladder that decides.
    assert_eq!(herald.status().unwrap()["services"][0]["state"], "up");

    let hold = Duration::from_secs(1);
    for (switch, what, table) in [("c", "two of four", &second), ("b", "three of four", &first), ("a", "all", &whole)] {
        let begun = wait::now();
        scene.switches.on(switch);
        scene.wait(what, table);
        assert!(begun.elapsed() >= hold, "{what} after {:?}", begun.elapsed());
    }
    assert_eq!(scene.gone(), 1);
    assert_eq!(scene.router.session(), Ok(session));
    scene.content();
}

with_routers!(rungs_to_an_external, |kind| every_rung_and_back(kind, false));
with_routers!(rungs_to_an_internal, |kind| every_rung_and_back(kind, true));

/// Down two rungs at once and up two at once: nothing in between is told.
fn rungs_are_skipped(kind: Kind) {
    let scene = Scene::new(kind, false);
    let _herald = scene.start(&scene.switches.service("web", BOTH, "", &switches(&FOUR)), LADDER);
    let whole = scene.table(|route| route.med = Some(10));
    scene.wait("all four", &whole);
    // The record is of the kernel's table, which FRR is slower with than with its own.
    wait::until("the kernel's route", || {
        let route = scene.site.router.output("ip", &["route", "show", "192.0.2.1"]).stdout;
        if route.is_empty() { Err("there is none".to_owned()) } else { Ok(()) }
    });
    // It falls, is back before `hold_up` is over, and falls again: the hold begins anew.
    FOUR.iter().for_each(|switch| scene.switches.off(switch));
    scene.wait_for_none();
    FOUR.iter().for_each(|switch| scene.switches.on(switch));
    scene.stays("nothing", &Table::new());
    FOUR.iter().for_each(|switch| scene.switches.off(switch));
    scene.stays("nothing", &Table::new());
    let begun = wait::now();
    FOUR.iter().for_each(|switch| scene.switches.on(switch));
    scene.wait("all four", &whole);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(scene.gone(), 1);
}

with_routers!(skipped, rungs_are_skipped, bird frr);

/// `on_down = "degrade"`: the route gets worse and never goes, whatever is left of it.
fn degrades_in_place_of_a_withdrawal(kind: Kind) {
    let scene = Scene::new(kind, false);
    let options = "[vip_defaults]\non_down = \"degrade\"\nmed = 10\ncommunities = [\"65000:1\"]\n\
                   degraded = { origin = \"incomplete\", med = 1000, as_path_prepend = 3, communities = [\"65000:666\"] }\n";
    let herald = scene.start(&scene.switches.service("web", BOTH, "", &switches(&["a", "b"])), options);
    let healthy = scene.table(|route| {
        route.med = Some(10);
        route.communities = vec!["65000:1".to_owned()];
    });
    let degraded = scene.table(|route| {
        route.origin = "incomplete".to_owned();
        route.med = Some(1000);
        route.as_path = vec![65001; 4];
        route.communities = vec!["65000:666".to_owned()];
    });
    scene.wait("healthy", &healthy);
    let session = site::established(&*scene.router);
    for _ in 0..2 {
        scene.switches.off("a");
        scene.stays("one of two is enough", &healthy);
        scene.switches.off("b");
        scene.wait("degraded", &degraded);
        scene.stays("degraded", &degraded);
        assert_eq!(herald.vip("192.0.2.1/32").unwrap()["state"], "degraded");
        ["a", "b"].iter().for_each(|switch| scene.switches.on(switch));
        scene.wait("healthy", &healthy);
    }
    assert_eq!(scene.gone(), 0, "it never goes");
    assert_eq!(scene.router.session(), Ok(session));
    scene.content();
}

with_routers!(degraded, degrades_in_place_of_a_withdrawal);

/// Marks of their own for coming up and for staying up, and sorry backends.
fn quorum(kind: Kind) {
    let scene = Scene::new(kind, false);
    let options = "required = { weight = { up = \"60%\", down = \"40%\" } }\n";
    let backends = [("a", "weight = 2\n"), ("b", "weight = 2\n"), ("c", ""), ("sorry", "sorry = true\n")];
    ["a", "b", "c", "sorry"].iter().for_each(|switch| scene.switches.off(switch));
    let herald = scene.start(&scene.switches.service("web", BOTH, options, &backends), "");
    let up = scene.table(|_| {});
    site::established(&*scene.router);
    // 2 of 5 is below 60%, 3 of 5 is not.
    scene.switches.on("a");
    wait::until("two", || herald.backend_is("10.98.0.11:80", "up"));
    scene.stays("two of five are too few to come up", &Table::new());
    scene.switches.on("c");
    scene.wait("three of five", &up);
    // 2 of 5 is enough to stay.
    scene.switches.off("c");
    wait::until("two again", || herald.backend_is("10.98.0.13:80", "down"));
    scene.stays("two of five are enough to stay up", &up);
    let (_, page) = herald.says(&["status"]);
    assert!(page.contains("weight 2 of 5 available, 2 required (to come up: 3)"), "{page}");
    scene.switches.off("a");
    scene.wait_for_none();
    // Sorry backends stand in when none of the others is left, and only then.
    scene.switches.on("sorry");
    scene.wait("the sorry backend", &up);
    let (_, page) = herald.says(&["status"]);
    assert!(page.contains("on its sorry backends"), "{page}");
    assert!(page.contains("all services are up; on sorry backends: "), "{page}");
    scene.switches.on("c");
    scene.wait_for_none();
    scene.switches.off("c");
    scene.wait("the sorry backend again", &up);
    scene.content();
}

with_routers!(marks, quorum, bird frr);

/// One VIP hangs on another, and on services in two ways.
fn policies_and_dependencies(kind: Kind) {
    let scene = Scene::new(kind, false);
    let services = scene.switches.service("first", "\"192.0.2.1\"", "", &[("a", "")])
        + &scene.switches.service("second", "\"192.0.2.1\"", "", &[("b", "")]).replace("port = 80", "port = 443")
        + &scene.switches.service("third", "\"2001:db8::1\"", "", &[("c", "")])
        + &scene.switches.service("behind", "\"10.20.0.1\"", "", &[("d", "")]);
    let vips = "[[vip]]\naddress = \"192.0.2.1\"\nvip_policy = \"any\"\n\
                [[vip]]\naddress = \"2001:db8::1\"\ndepends_on = [\"192.0.2.1\", \"behind\"]\n\
                [[vip]]\naddress = \"10.20.0.1\"\nmed = 7\n";
    let herald = scene.start(&services, vips);
    let table = |prefixes: &[&str]| {
        let mut table = site::plain_table(&scene.neighbour, &*scene.router, prefixes);
        table.iter_mut().filter(|(prefix, _)| *prefix == "10.20.0.1/32").for_each(|(_, route)| route.med = Some(7));
        table
    };
    let all = table(&["192.0.2.1/32", "2001:db8::1/128", "10.20.0.1/32"]);
    scene.wait("all", &all);
    scene.switches.off("a");
    wait::until("one of two services", || match &herald.status()?["services"][0] {
        first if first["state"] == "down" => Ok(()),
        first => Err(first.to_string()),
    });
    scene.stays("any service will do", &all);
    let reason = herald.vip("192.0.2.1/32").unwrap()["reason"].clone();
    assert_eq!(reason, "1 of 2 services are up, and any will do");
    scene.switches.off("b");
    scene.wait("what hangs on it goes with it", &table(&["10.20.0.1/32"]));
    let reason = herald.vip("2001:db8::1/128").unwrap()["reason"].clone();
    assert_eq!(reason, "it depends on vip 192.0.2.1/32, which is withdrawn");
    scene.switches.on("b");
    scene.wait("all", &all);
    scene.switches.off("d");
    scene.wait("a service that it depends on", &table(&["192.0.2.1/32"]));
    scene.switches.on("d");
    scene.wait("all", &all);
    scene.content();
}

with_routers!(dependencies, policies_and_dependencies, bird frr);

/// `hold_down` grows with every fall, and a VIP that is healthy waits for its end.
fn hold_down_grows(kind: Kind) {
    let scene = Scene::new(kind, false);
    let options = "[vip_defaults]\nhold_down = { initial = \"3s\", max = \"5s\", reset_after = \"1h\" }\n";
    let herald = scene.start(&scene.switches.service("web", BOTH, "", &[("a", "")]), options);
    let up = scene.table(|_| {});
    scene.wait("healthy", &up);
    for seconds in [3, 5, 5] {
        let begun = wait::now();
        scene.switches.off("a");
        scene.wait_for_none();
        scene.switches.on("a");
        wait::until("the hold", || {
            let vip = herald.vip("192.0.2.1/32")?;
            let is_held = vip["state"] == "holding" && vip["until"].is_string();
            if is_held { Ok(()) } else { Err(vip.to_string()) }
        });
        scene.wait("healthy", &up);
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(seconds), "{took:?} in place of {seconds} s");
        // Not for ever, either: what is above is the router's and this machine's.
        assert!(took < Duration::from_secs(seconds) + Duration::from_secs(12), "{took:?} in place of {seconds} s");
    }
    scene.content();
}

with_routers!(held_down, hold_down_grows, bird frr);

/// Too many falls: suppressed, visibly so, until the time that was announced, and then announced again.
fn flaps_are_damped(kind: Kind) {
    let scene = Scene::new(kind, false);
    let damping = "{ penalty = 1000, suppress = 1800, reuse = 1000, half_life = \"4s\", max_suppress = \"1m\" }";
    let options = format!("[vip_defaults]\ndamping = {damping}\n");
    let herald = scene.start(&scene.switches.service("web", BOTH, "", &[("a", "")]), &options);
    let up = scene.table(|_| {});
    scene.wait("healthy", &up);
    let mut falls = 0;
    let until = loop {
        scene.switches.off("a");
        scene.wait_for_none();
        scene.switches.on("a");
        falls += 1;
        let (vip, _) = wait::until("healthy or suppressed", || {
            let vip = herald.vip("192.0.2.1/32")?;
            if ["announced", "suppressed"].iter().any(|state| vip["state"] == *state) {
                Ok(vip)
            } else {
                Err(vip.to_string())
            }
        });
        if vip["state"] == "suppressed" {
            break vip["until"].as_str().expect("when it ends").to_owned();
        }
        scene.wait("healthy", &up);
    };
    // The second on a quick machine; on a slow one the penalty of the first has decayed more.
    assert!((2..=4).contains(&falls), "{falls} falls");
    let (_, page) = herald.says(&["status"]);
    assert!(page.contains("suppressed") && page.contains("it flaps, with a penalty of"), "{page}");
    let (code, why) = herald.says(&["why", "192.0.2.1"]);
    assert!(code == Some(1) && why.contains("penalty for its falls"), "{why}");
    scene.stays("quiet, and still suppressed", &Table::new());
    scene.wait("healthy", &up);
    let since = herald.vip("192.0.2.1/32").unwrap()["since"].as_str().unwrap().to_owned();
    let seconds = |text: &str| humantime::parse_rfc3339(text).unwrap();
    let late = seconds(&since).duration_since(seconds(&until)).unwrap_or_default();
    assert!(since >= until && late < Duration::from_secs(1), "announced at {since}, to end at {until}");
    scene.content();
}

with_routers!(damped, flaps_are_damped, bird frr);

/// A drained backend is as a lost one to the ladder, but goes gently; a drained service takes its VIPs along.
fn drains_of_backends(kind: Kind) {
    let scene = Scene::new(kind, false);
    let options = "[vip_defaults]\nmed = 10\n[[vip_defaults.step]]\nbelow = \"100%\"\nmed = 200\n";
    let text = site::bgp(&scene.neighbour, "") + &scene.switches.service("web", BOTH, "", &switches(&["a", "b"]));
    let herald = Herald::start(&scene.site.herald, &format!("drain_time = \"4s\"\n{text}{options}"));
    let whole = scene.table(|route| route.med = Some(10));
    let half = scene.table(|route| route.med = Some(200));
    let leaving = |med: u32| {
        scene.table(|route| {
            route.med = Some(med);
            route.communities = vec!["65535:0".to_owned()];
            if kind == Kind::Frr {
                route.local_pref = Some(0);
            }
        })
    };
    scene.wait("both", &whole);
    let session = site::established(&*scene.router);
    let says = |arguments: &[&str]| assert_eq!(herald.says(arguments).0, Some(0), "{arguments:?}");
    says(&["drain", "web/10.98.0.11:80"]);
    scene.wait("one of two", &half);
    says(&["drain", "web/10.98.0.12:80", "--reason", "the last one"]);
    scene.wait("it goes gently", &leaving(200));
    scene.wait_for_none();
    says(&["undrain", "web/10.98.0.12:80"]);
    scene.wait("one of two", &half);
    says(&["undrain", "web/10.98.0.11:80"]);
    scene.wait("both", &whole);
    assert_eq!(scene.router.session(), Ok(session));
    scene.content();
}

with_routers!(drained_backends, drains_of_backends, bird frr);
