//! When Herald doubts itself: the fail-static guard and self-checks, with a link that is cut and with servers that die.
//!
//! The servers are real, and so is the check of them; what they are reached by is a link of its own.

use std::time::Duration;

use crate::harness::herald::Herald;
use crate::harness::nginx::Nginx;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Route, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::switches::Switches;
use crate::harness::wait;
use crate::harness::watch::Watch;

/// Each with a service of its own, on the same two servers.
const VIPS: [&str; 4] = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];

struct Scene {
    site: Site,
    neighbour: Neighbour,
    router: Box<dyn Router>,
    watch: Watch,
    servers: Vec<Nginx>,
}

impl Scene {
    fn new(kind: Kind) -> Scene {
        let site = Site::new();
        let neighbour = site::neighbour(false, 65000, 65001);
        let (router, watch) = Watch::router(kind, &site.router, "10.99.1.1", &Plan::new(&neighbour));
        let servers = vec![site.server(0), site.server(1)];
        Scene { site, neighbour, router, watch, servers }
    }

    fn config(&self, rest: &str) -> String {
        let check = "[checks.web]\ntype = \"http\"\npath = \"/healthz\"\ninterval = \"300ms\"\ntimeout = \"300ms\"\n\
                     rise = 1\nfall = 2\nfast_interval = \"100ms\"\n";
        let service = |vip: &&str| {
            let name = vip.replace('.', "-");
            format!(
                "[[service]]\nname = \"s{name}\"\nvips = [\"{vip}\"]\nport = 80\nchecks = [\"web\"]\n\
                 [[service.backend]]\naddress = \"10.98.0.11\"\nport = 8080\n\
                 [[service.backend]]\naddress = \"10.98.0.12\"\nport = 8080\n"
            )
        };
        site::bgp(&self.neighbour, "") + check + &VIPS.iter().map(service).collect::<String>() + rest
    }

    /// Announced, on all routers.
    fn start(&self, rest: &str) -> Herald {
        let herald = Herald::start(&self.site.herald, &self.config(rest));
        self.wait("the routes", &self.table(|_| {}));
        herald
    }

    fn table(&self, change: impl Fn(&mut Route)) -> Table {
        let prefixes = VIPS.map(|vip| format!("{vip}/32"));
        let mut table = site::plain_table(&self.neighbour, &*self.router, &prefixes.each_ref().map(String::as_str));
        table.values_mut().for_each(change);
        table
    }

    #[track_caller]
    fn wait(&self, what: &str, table: &Table) -> Duration {
        wait::until_equal(what, table, || self.router.table())
    }

    fn gone(&self) -> usize {
        VIPS.iter().map(|vip| self.watch.gone(vip)).sum()
    }

    /// Cuts the way to the servers and nothing else, without a sign of it on the link.
    fn cut(&self) {
        self.site.herald.cut("to-servers");
    }

    fn heal(&self) {
        self.site.herald.heal();
    }
}

/// All VIPs are in this state.
#[track_caller]
fn wait_for_state(herald: &Herald, state: &str) {
    wait::until(&format!("all {state}"), || {
        let status = herald.status()?;
        let vips = status["vips"].as_array().cloned().unwrap_or_default();
        if vips.iter().all(|vip| vip["state"] == state) { Ok(()) } else { Err(status["vips"].to_string()) }
    });
}

#[track_caller]
fn wait_for_guard(herald: &Herald, active: bool) {
    wait::until(&format!("the guard, {active}"), || {
        let guard = herald.status()?["guard"].clone();
        if guard["active"] == active { Ok(()) } else { Err(guard.to_string()) }
    });
}

const GUARD: &str = "[fail_static]\nshare = \"50%\"\nwindow = \"5s\"\n";
/// What answers as long as the link is whole, whatever becomes of the web servers.
const UPLINK: &str = "[[self_check]]\nname = \"uplink\"\naddress = \"10.98.0.12\"\non_failure = \"hold\"\n\
                      check = [{ type = \"icmp\", interval = \"300ms\", timeout = \"300ms\", fall = 2, rise = 1 }]\n";

/// The link of the checker is cut: nothing becomes of the routes, for as long as it takes.
fn our_own_link_is_cut(kind: Kind) {
    let scene = Scene::new(kind);
    let herald = scene.start(&format!("{GUARD}{UPLINK}"));
    let table = scene.table(|_| {});
    let session = site::established(&*scene.router);
    for round in 1..=2 {
        scene.cut();
        wait_for_state(&herald, "frozen");
        let (code, page) = herald.says(&["status"]);
        assert!(code == Some(1) && page.contains("GUARD: ") && page.contains("uplink  failing"), "{page}");
        let (_, why) = herald.says(&["why", VIPS[0]]);
        assert!(why.contains("is frozen since") && why.contains("guard: what has just turned unhealthy"), "{why}");
        // Longer than the window, and than any of the checks needs.
        wait::stays("what the router has", Duration::from_secs(6), &table, || scene.router.table());
        scene.heal();
        wait_for_state(&herald, "announced");
        wait_for_guard(&herald, false);
        wait::until("the log", || match herald.log() {
            log if log.matches("nothing is doubted any more").count() == round => Ok(()),
            log => Err(log),
        });
    }
    assert_eq!(scene.gone(), 0, "no route left the router, if only for a moment: {}", herald.log());
    assert_eq!(scene.router.table(), Ok(table));
    assert_eq!(scene.router.session(), Ok(session));
}

with_routers!(own_link, our_own_link_is_cut, bird frr);

/// The same with a policy that makes routes worse meanwhile: others are preferred if there are any.
fn our_own_link_is_cut_and_routes_get_worse(kind: Kind) {
    let scene = Scene::new(kind);
    let policy = "policy = \"degrade\"\ndegraded = { med = 2000, as_path_prepend = 2, communities = [\"65000:9\"] }\n";
    let herald = scene.start(&format!("{GUARD}{policy}{UPLINK}"));
    scene.cut();
    let worse = scene.table(|route| {
        route.med = Some(2000);
        route.as_path = vec![65001; 3];
        route.communities = vec!["65000:9".to_owned()];
    });
    scene.wait("worse routes", &worse);
    assert!(herald.vip("192.0.2.1/32").unwrap()["reason"].as_str().unwrap().contains("doubted"));
    scene.heal();
    scene.wait("the routes", &scene.table(|_| {}));
    assert_eq!(scene.gone(), 0, "{}", herald.log());
}

with_routers!(own_link_degraded, our_own_link_is_cut_and_routes_get_worse, bird frr);

/// Only the servers die, all of them at once: the self-check passes, and the doubt is over.
fn only_the_servers_die(kind: Kind) {
    let mut scene = Scene::new(kind);
    let herald = scene.start(&format!("{}{UPLINK}", GUARD.replace("5s", "15s")));
    let session = site::established(&*scene.router);
    // A black hole for as long as the window would be the guard's fault; it needs verdicts, and one run of the self-check.
    scene.servers.clear();
    let took = scene.wait("the withdrawal", &Table::new());
    assert!(took < Duration::from_secs(12), "{took:?}: {}", herald.log());
    site::wait_for_log(&herald, "all self-checks pass, so the fault is not ours");
    assert_eq!(scene.router.session(), Ok(session));
    scene.servers = vec![scene.site.server(0)];
    scene.wait("the routes", &scene.table(|_| {}));
}

with_routers!(servers, only_the_servers_die, bird frr);

/// Without self-checks nobody can tell: routes stay until the limit, and no longer.
fn a_doubt_has_its_limit(kind: Kind) {
    let mut scene = Scene::new(kind);
    let herald = scene.start(&format!("{GUARD}limit = \"4s\"\n"));
    let begun = wait::now();
    scene.servers.clear();
    wait_for_state(&herald, "frozen");
    let until = herald.status().unwrap()["guard"]["until"].clone();
    assert!(until.is_string(), "{until}");
    scene.wait("the withdrawal", &Table::new());
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    wait_for_state(&herald, "withdrawn");
    site::wait_for_log(&herald, "it has lasted for its limit");
    // What recovers is announced as ever.
    scene.servers = vec![scene.site.server(1)];
    scene.wait("the routes", &scene.table(|_| {}));
}

with_routers!(limit, a_doubt_has_its_limit, bird frr);

/// One of four VIPs is no reason to doubt anything.
fn few_are_withdrawn_as_ever(kind: Kind) {
    let scene = Scene::new(kind);
    let switches = Switches::new(&scene.site);
    let services: String = ["a", "b", "c", "d"]
        .iter()
        .zip(VIPS)
        .map(|(name, vip)| switches.service(name, &format!("\"{vip}\""), "", &[(name, "")]))
        .collect();
    let text = site::bgp(&scene.neighbour, "") + &services + &GUARD.replace("5s", "10s");
    let herald = Herald::start(&scene.site.herald, &text);
    let all = scene.table(|_| {});
    scene.wait("the routes", &all);
    let without = |gone: &[&str]| {
        let mut table = all.clone();
        table.retain(|prefix, _| !gone.iter().any(|vip| *prefix == format!("{vip}/32")));
        table
    };
    // Each after the other, every one of them alone within its window or half of all: not more than the share.
    switches.off("a");
    scene.wait("one withdrawal", &without(&VIPS[..1]));
    switches.off("b");
    scene.wait("two withdrawals", &without(&VIPS[..2]));
    // The third within the window is too much: the guard takes back what went since it began, and keeps this one.
    switches.off("c");
    scene.wait("all are kept", &all);
    wait_for_guard(&herald, true);
    let states = |herald: &Herald| {
        let vips = herald.status().unwrap()["vips"].as_array().cloned().unwrap();
        vips.iter().map(|vip| vip["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&herald), ["frozen", "frozen", "frozen", "announced"]);
    ["a", "b", "c"].iter().for_each(|name| switches.on(name));
    wait_for_guard(&herald, false);
    assert_eq!(states(&herald), ["announced"; 4]);
    scene.wait("all", &all);
}

with_routers!(few, few_are_withdrawn_as_ever, bird frr);

/// A self-check that says that this host is broken: everything goes, sessions stay, and everything comes back.
fn a_broken_host_withdraws_everything(kind: Kind) {
    let scene = Scene::new(kind);
    let switches = Switches::new(&scene.site);
    let own = format!("[[self_check]]\nname = \"host\"\non_failure = \"withdraw\"\n{}", switches.check("host"));
    let herald = scene.start(&own);
    let session = site::established(&*scene.router);
    switches.off("host");
    scene.wait("the withdrawal of everything", &Table::new());
    let vip = herald.vip("192.0.2.1/32").unwrap();
    assert!(vip["reason"].as_str().unwrap().starts_with("self-check host fails"), "{vip}");
    let (_, page) = herald.says(&["status"]);
    assert!(page.contains("host  failing") && page.contains("(withdraw while it fails)"), "{page}");
    switches.on("host");
    scene.wait("the routes", &scene.table(|_| {}));
    assert_eq!(scene.router.session(), Ok(session));
}

with_routers!(broken, a_broken_host_withdraws_everything, bird frr);

/// A self-check that holds, without `[fail_static]`: while it fails, nothing that turns bad is believed; what is bad a
/// window after its recovery is.
fn a_failing_self_check_holds(kind: Kind) {
    let mut scene = Scene::new(kind);
    let switches = Switches::new(&scene.site);
    let own = format!("[[self_check]]\nname = \"gateway\"\non_failure = \"hold\"\n{}", switches.check("gateway"));
    let herald = scene.start(&own);
    switches.off("gateway");
    wait_for_guard(&herald, true);
    scene.servers.clear();
    wait_for_state(&herald, "frozen");
    wait::stays("the routes", Duration::from_secs(2), &scene.table(|_| {}), || scene.router.table());
    switches.on("gateway");
    let took = scene.wait("the withdrawal", &Table::new());
    assert!(took > Duration::from_secs(8), "{took:?}: others must have the time to recover as well");
    wait_for_guard(&herald, false);
}

with_routers!(held, a_failing_self_check_holds, bird frr);
