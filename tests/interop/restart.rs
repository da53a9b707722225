//! Graceful restart (RFC 4724): what a router with helper mode keeps over a restart of Herald, and what it does not.
//!
//! Witness is a record of every route that the router removes, not a look at its table now and then.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Router};
use crate::harness::site::{self, Site};
use crate::harness::wait;
use crate::harness::watch::Watch;

/// A router that keeps routes, and the record of those that it drops.
fn helper(kind: Kind, site: &Site, neighbour: &Neighbour) -> (Box<dyn Router>, Watch) {
    let plan = Plan::new(neighbour);
    let plan = match kind {
        Kind::Bird => plan.with("graceful restart aware;"),
        Kind::Frr => plan.with("graceful-restart-helper"),
        Kind::GoBgp => {
            let restart = "  [neighbors.graceful-restart.config]\n    enabled = true\n    helper-only = true\n    \
                           restart-time = 60";
            plan.with(restart).with_family("    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true")
        }
    };
    Watch::router(kind, &site.router, "10.99.1.1", &plan)
}

/// VIPs of services of their own. The check of each is a file: it passes, fails, or hangs.
const SERVICES: [(&str, &str, &str); 4] = [
    ("stays", "192.0.2.1", "2001:db8::1"),
    ("dies", "192.0.2.2", "2001:db8::2"),
    ("hangs", "192.0.2.3", "2001:db8::3"),
    ("removed", "192.0.2.4", "2001:db8::4"),
];

fn vips(service: &str) -> [String; 2] {
    let (_, ipv4, ipv6) = SERVICES.into_iter().find(|(name, ..)| *name == service).unwrap();
    [format!("{ipv4}/32"), format!("{ipv6}/128")]
}

fn file(site: &Site, service: &str) -> String {
    site.lab().dir().join(service).to_str().unwrap().to_owned()
}

/// The file of a service says what its check does.
fn script(site: &Site, service: &str, text: &str) {
    fs::write(file(site, service), text).unwrap();
}

fn config(site: &Site, neighbour: &Neighbour, services: &[&str]) -> String {
    let service = |(name, ipv4, ipv6): &(&str, &str, &str)| {
        let command = format!("\"/bin/sh\", \"{}\"", file(site, name));
        let timing = "interval = \"500ms\", timeout = \"60s\", rise = 2, fast_interval = \"100ms\"";
        format!(
            "\n[[service]]\nname = \"{name}\"\nvips = [\"{ipv4}\", \"{ipv6}\"]\nport = 80\n\
             check = [{{ type = \"exec\", command = [{command}], {timing} }}]\n\
             [[service.backend]]\naddress = \"10.98.0.11\"\n"
        )
    };
    let services: String = SERVICES.iter().filter(|(name, ..)| services.contains(name)).map(service).collect();
    // Healthy for so long before the first announcement: no router would wait for that twice.
    let hold_up = SERVICES[..1].iter().flat_map(|(_, ipv4, ipv6)| [ipv4, ipv6]);
    let hold_up: String = hold_up.map(|vip| format!("\n[[vip]]\naddress = \"{vip}\"\nhold_up = \"2s\"\n")).collect();
    let graceful_restart = "[bgp.graceful_restart]\nrestart_time = \"60s\"\n";
    "startup_deadline = \"12s\"\n".to_owned() + &site::bgp(neighbour, "") + graceful_restart + &services + &hold_up
}

/// Running, with all VIPs of these services in the router's table.
fn announced(site: &Site, neighbour: &Neighbour, router: &dyn Router, services: &[&str]) -> Herald {
    services.iter().for_each(|service| script(site, service, "exit 0"));
    let herald = Herald::start(&site.herald, &config(site, neighbour, services));
    holds(router, neighbour, services);
    herald
}

fn holds(router: &dyn Router, neighbour: &Neighbour, services: &[&str]) {
    let vips: Vec<String> = services.iter().flat_map(|service| vips(service)).collect();
    let vips: Vec<&str> = vips.iter().map(String::as_str).collect();
    let table = site::plain_table(neighbour, router, &vips);
    wait::until_equal("the routes", &table, || router.table());
}

/// What its status says that End-of-RIB waits for.
fn waits(herald: &Herald) -> Result<bool, String> {
    Ok(!herald.status()?["wait"].is_null())
}

/// Waits for the session of this life of Herald and for its End-of-RIBs.
fn synchronised(herald: &Herald, before: usize) {
    const MARK: &str = "peer router has all ";
    wait::until("End-of-RIB of both families", || match herald.log().matches(MARK).count() - before {
        2 => Ok(()),
        count => Err(format!("{count} families")),
    });
}

/// GoBGP turns connections away for some seconds after each session, and says so.
fn content(router: &dyn Router) {
    let complaints = router.complaints();
    let complaints: Vec<&String> =
        complaints.iter().filter(|line| !line.contains("Closed an accepted connection")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn a_restart_moves_no_traffic(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, 65000, 65001);
    let (router, watch) = helper(kind, &site, &neighbour);
    let services = ["stays", "dies"];
    let mut herald = announced(&site, &neighbour, &*router, &services);
    let end = |herald: &mut Herald, round: usize| if round == 1 { herald.kill() } else { herald.leave() };
    for round in 0..3 {
        let session = site::established(&*router);
        synchronised(&herald, 2 * round);
        end(&mut herald, round);
        wait::until("the router to miss the session", || match router.session() {
            Ok(same) if same == session => Err("it is still there".to_owned()),
            _ => Ok(()),
        });
        herald.run();
        synchronised(&herald, 2 * (round + 1));
        holds(&*router, &neighbour, &services);
        let peer = herald.peer("router").unwrap();
        assert_eq!(peer["graceful_restart"]["restart_time_s"], 60, "{peer}");
        assert_eq!(herald.log().matches("restarted after").count(), round + 1);
    }
    wait::stays("the routes", Duration::from_secs(1), &true, || Ok(router.table()?.len() == 4));
    for vip in services.iter().flat_map(|service| vips(service)) {
        assert_eq!(watch.gone(&vip), 0, "{vip} left the router, if only for a moment");
    }
    // The record is worth something: it sees a route that goes.
    script(&site, "dies", "exit 1");
    vips("dies").iter().for_each(|vip| watch.wait_for(vip));
    // And a stop for good takes everything away at once, helper or not.
    herald.terminate();
    assert_eq!(herald.wait().code(), Some(0));
    let took = wait::until_equal("the withdrawal", &0, || Ok(router.table()?.len()));
    assert!(took < Duration::from_secs(6), "{took:?}");
    // Nor does a start after that go on from anything.
    herald.run();
    holds(&*router, &neighbour, &["stays"]);
    assert_eq!(herald.log().matches("restarted after").count(), 3, "{}", herald.log());
    content(&*router);
}

with_routers!(a_restart_over_ipv4, |kind| a_restart_moves_no_traffic(kind, false));
with_routers!(a_restart_over_ipv6, |kind| a_restart_moves_no_traffic(kind, true));

fn what_is_dead_leaves_before_end_of_rib(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let (router, watch) = helper(kind, &site, &neighbour);
    let mut herald = announced(&site, &neighbour, &*router, &["stays", "dies", "hangs", "removed"]);
    herald.leave();
    script(&site, "dies", "exit 1");
    script(&site, "hangs", "sleep 60");
    // Verdicts of the life before would do for a while.
    let config = config(&site, &neighbour, &["stays", "dies", "hangs"]);
    herald.write(&format!("state_max_age = \"0s\"\n{config}"));
    herald.run();
    // Long before the deadline: one VIP has no verdict yet, and the router keeps its routes.
    for vip in ["dies", "removed"].into_iter().flat_map(vips) {
        watch.wait_for(&vip);
    }
    assert_eq!(waits(&herald), Ok(true), "withdrawn only when all was decided");
    holds(&*router, &neighbour, &["stays", "hangs"]);
    let status = herald.status().unwrap();
    assert_eq!(status["wait"]["vips"], serde_json::json!(vips("hangs")), "{}", status["wait"]);
    // What has no verdict at the deadline is not announced.
    wait::until_equal("the end of the wait", &false, || waits(&herald));
    vips("hangs").iter().for_each(|vip| watch.wait_for(vip));
    holds(&*router, &neighbour, &["stays"]);
    vips("stays").iter().for_each(|vip| assert_eq!(watch.gone(vip), 0, "{vip} left the router"));
    content(&*router);
}

with_routers!(the_dead, what_is_dead_leaves_before_end_of_rib);

fn a_session_reset_by_a_reload_moves_no_traffic(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let (router, watch) = helper(kind, &site, &neighbour);
    let herald = announced(&site, &neighbour, &*router, &["stays"]);
    let session = site::established(&*router);
    let config = config(&site, &neighbour, &["stays"]);
    herald.reload_good(&config.replace("hold_time = \"9s\"", "hold_time = \"12s\""));
    wait::until("another session", || match router.session()? {
        same if same == session => Err("the same".to_owned()),
        _ => Ok(()),
    });
    synchronised(&herald, 2);
    vips("stays").iter().for_each(|vip| assert_eq!(watch.gone(vip), 0, "{vip} left the router"));
    // Another router ID is another speaker: nobody is to keep what it had.
    herald.reload(&config.replace("router_id = \"10.99.1.2\"", "router_id = \"10.99.1.3\""));
    vips("stays").iter().for_each(|vip| watch.wait_for(vip));
    holds(&*router, &neighbour, &["stays"]);
}

with_routers!(a_reset, a_session_reset_by_a_reload_moves_no_traffic);

/// Routers keep what the data plane is being readied for, and what depends on it.
fn a_data_plane_that_takes_its_time_moves_no_traffic(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let (router, watch) = helper(kind, &site, &neighbour);
    let services = ["stays", "dies"];
    services.iter().for_each(|service| script(&site, service, "exit 0"));
    let program = site.lab().dir().join("ready");
    fs::write(&program, "#!/bin/sh\nexec sleep 1\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let hook = format!("[hooks]\ndata_plane = \"{}\"\n", program.display());
    // The last verdict that is waited for is theirs, and then they have to be readied, too.
    let on = |vip: &&str| format!("[[vip]]\naddress = \"{vip}\"\ndepends_on = [\"192.0.2.1\", \"2001:db8::1\"]\n");
    let dependent: String = ["192.0.2.2", "2001:db8::2"].iter().map(on).collect();
    let config = config(&site, &neighbour, &services) + &dependent + &hook;
    let mut herald = Herald::start(&site.herald, &config);
    holds(&*router, &neighbour, &services);
    for round in 0..2 {
        synchronised(&herald, 2 * round);
        let end = if round == 0 { Herald::kill } else { Herald::leave };
        end(&mut herald);
        herald.run();
        synchronised(&herald, 2 * (round + 1));
        holds(&*router, &neighbour, &services);
    }
    for vip in services.iter().flat_map(|service| vips(service)) {
        assert_eq!(watch.gone(&vip), 0, "{vip} left the router, if only for a moment");
    }
    content(&*router);
}

with_routers!(slow_data_plane, a_data_plane_that_takes_its_time_moves_no_traffic);
