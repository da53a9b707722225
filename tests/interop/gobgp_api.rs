//! Announcing through a local gobgpd's API: what counts is the table of the router behind it.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::hub::{self, ASN, Hub};
use crate::harness::nginx::Nginx;
use crate::harness::plan::Plan;
use crate::harness::router::{Neighbour, Route, Router, Table};
use crate::harness::site::{self, HERALD, Site, VIPS};
use crate::harness::wait;
use crate::harness::watch::Watch;

/// Somebody else's route.
const FOREIGN: &str = "203.0.113.7/32";

/// Herald, gobgpd beside it, and BIRD behind that.
struct Stage {
    servers: [Nginx; 2],
    hub: Hub,
    upstream: Bird,
    herald: Herald,
    site: Site,
}

/// Both VIPs, with attributes, and no session of Herald's own.
fn config(gobgp: &str, more: &str) -> String {
    let services = site::service("web", r#""192.0.2.1", "2001:db8::1""#);
    format!("shutdown_drain = \"0s\"\n[gobgp]\napi = \"{}\"\n{gobgp}\n{}{services}{more}", hub::API, site::CHECK)
}

/// As the upstream router shall have it: with gobgpd's own addresses on the link, once in its AS.
fn route(prefix: &str) -> Route {
    Route {
        next_hop: HERALD[usize::from(prefix.contains(':'))].to_owned(),
        as_path: vec![ASN],
        // What its operator injects has the other.
        origin: if prefix == FOREIGN { "incomplete" } else { "igp" }.to_owned(),
        med: None,
        local_pref: Some(100),
        communities: Vec::new(),
        large_communities: Vec::new(),
        extended_communities: Vec::new(),
    }
}

fn table(prefixes: &[&str]) -> Table {
    prefixes.iter().map(|prefix| ((*prefix).to_owned(), route(prefix))).collect()
}

impl Stage {
    fn new(config: &str) -> Stage {
        let site = Site::new();
        let servers = [site.server(0), site.server(1)];
        let hub = Hub::start(&site.herald);
        let upstream = Bird::start(&site.router, "10.99.1.1", &hub::upstream());
        let herald = Herald::start(&site.herald, config);
        Stage { servers, hub, upstream, herald, site }
    }

    #[track_caller]
    fn until(&self, what: &str, table: &Table) -> Duration {
        wait::until_equal(what, table, || self.upstream.table())
    }

    /// gobgpd as Herald sees it.
    fn peer(&self) -> Result<serde_json::Value, String> {
        self.herald.peer("gobgp")
    }

    #[track_caller]
    fn until_established(&self) {
        wait::until("the API", || {
            let peer = self.peer()?;
            if peer["state"] == "established" { Ok(()) } else { Err(peer.to_string()) }
        });
    }
}

#[test]
fn vips_come_and_go_with_their_attributes() {
    let vip = r#"
[[vip]]
address = "192.0.2.1"
med = 50
as_path_prepend = 1
communities = ["65001:100", "65001:1:2", "rt:65001:7"]
on_down = "degrade"
degraded = { med = 1000, as_path_prepend = 3, communities = ["graceful-shutdown"] }
"#;
    let gobgp = "communities = [\"65001:9\"]\n";
    let mut stage = Stage::new(&config(gobgp, vip));
    // Somebody else's.
    stage.hub.operator(&["global", "rib", "add", FOREIGN]);
    let mut expected = table(&[VIPS[0], VIPS[1], FOREIGN]);
    let first = expected.get_mut(VIPS[0]).unwrap();
    first.med = Some(50);
    first.as_path = vec![ASN; 2];
    first.communities = vec!["65001:100".to_owned(), "65001:9".to_owned()];
    first.large_communities = vec!["65001:1:2".to_owned()];
    first.extended_communities = vec!["rt:65001:7".to_owned()];
    expected.get_mut(VIPS[1]).unwrap().communities = vec!["65001:9".to_owned()];
    let came = stage.until("the routes upstream", &expected);
    println!("announced upstream after {} ms", came.as_millis());
    let peer = stage.peer().unwrap();
    assert_eq!((&peer["advertised"]["ipv4"], &peer["advertised"]["ipv6"]), (&json!(1), &json!(1)), "{peer}");
    let status = stage.herald.status().unwrap();
    assert!(status["vips"].as_array().unwrap().iter().all(|vip| vip["peers"] == json!(["gobgp"])), "{status}");

    site::wait_for_backends(&stage.herald);
    stage.servers.iter_mut().for_each(Nginx::kill);
    let mut down = expected.clone();
    down.remove(VIPS[1]);
    let first = down.get_mut(VIPS[0]).unwrap();
    (first.med, first.as_path) = (Some(1000), vec![ASN; 4]);
    first.communities = vec!["65001:9".to_owned(), "65535:0".to_owned()];
    (first.large_communities, first.extended_communities) = (Vec::new(), Vec::new());
    stage.until("one degraded, the other gone", &down);
    stage.servers.iter_mut().for_each(Nginx::restart);
    stage.until("both back", &expected);

    // Drained for a while, by name.
    let (code, text) = stage.herald.says(&["drain", "peer/gobgp"]);
    assert_eq!(code, Some(0), "{text}");
    wait::until("GRACEFUL_SHUTDOWN", || {
        let table = stage.upstream.table()?;
        let graceful =
            |prefix| table.get(prefix).is_some_and(|route| route.communities.contains(&"65535:0".to_owned()));
        if graceful(VIPS[0]) && graceful(VIPS[1]) { Ok(()) } else { Err(format!("{table:?}")) }
    });
    stage.herald.says(&["undrain", "peer/gobgp"]);
    stage.until("as before", &expected);

    // A VIP that is configured no more; then a clean stop.
    let fewer = config(gobgp, vip).replace(", \"2001:db8::1\"", "");
    stage.herald.reload_good(&fewer);
    expected.remove(VIPS[1]);
    stage.until("the VIP that was taken out", &expected);
    stage.herald.terminate();
    stage.until("what is not ours alone", &table(&[FOREIGN]));
}

#[test]
fn a_restarted_gobgpd_gets_everything_again() {
    let mut stage = Stage::new(&config("", ""));
    let both = table(&VIPS);
    stage.until("the routes", &both);
    stage.hub.kill();
    stage.until("nothing left", &Table::new());
    wait::until("Herald to notice", || {
        let peer = stage.peer()?;
        if peer["state"] == "established" { Err(peer.to_string()) } else { Ok(()) }
    });
    let status = stage.herald.status().unwrap();
    assert!(status["vips"].as_array().unwrap().iter().all(|vip| vip["peers"] == json!([])), "{status}");
    stage.hub.run();
    let back = stage.until("the routes again", &both);
    println!("gobgpd restarted: back upstream after {} ms", back.as_millis());
}

#[test]
fn a_stopped_gobgpd_costs_nothing_else() {
    // A session of Herald's own, with a BIRD in the servers' namespace, goes on meanwhile.
    let native = Neighbour {
        local_address: "10.98.0.11".parse().unwrap(),
        local_as: 65010,
        address: "10.98.0.1".parse().unwrap(),
        asn: 65001,
    };
    let bgp = site::bgp(&native, "").replace("[\"ipv4\", \"ipv6\"]", "[\"ipv4\"]");
    let gobgp = format!("[gobgp]\napi = \"{}\"\n", hub::API);
    let text =
        bgp.replace("[bgp]\n", &format!("{gobgp}[bgp]\n")) + site::CHECK + &site::service("web", "\"192.0.2.1\"");
    let mut stage = Stage::new(&text);
    let plan = Plan::new(&native).families(&["ipv4"]);
    let router = Bird::start(&stage.site.servers, "10.98.0.11", &bird::protocol(&plan));
    let vip = [VIPS[0]];
    stage.until("the route upstream", &table(&vip));
    let session = site::established(&router);

    stage.hub.signal(Signal::STOP);
    site::wait_for_backends(&stage.herald);
    stage.servers.iter_mut().for_each(Nginx::kill);
    let gone = wait::until_equal("the withdrawal by the own session", &Table::new(), || router.table());
    println!("gobgpd stopped: withdrawn by the own session after {} ms", gone.as_millis());
    wait::until("the deadline of the call", || {
        let peer = stage.peer()?;
        let said = peer["last_error"].as_str().unwrap_or_default().to_owned();
        if peer["state"] != "established" && !said.is_empty() { Ok(said) } else { Err(peer.to_string()) }
    });
    // For as long as operators do such things, with something new to tell in between.
    stage.servers.iter_mut().for_each(Nginx::restart);
    wait::until("the route by the own session", || {
        let table = router.table()?;
        if table.len() == 1 { Ok(()) } else { Err(format!("{table:?}")) }
    });
    wait::stays("the own session", Duration::from_secs(25), &session, || router.session());
    stage.servers.iter_mut().for_each(Nginx::kill);
    wait::until_equal("the withdrawal again", &Table::new(), || router.table());
    stage.hub.signal(Signal::CONT);
    let gone = stage.until("the withdrawal upstream", &Table::new());
    println!("gobgpd goes on: withdrawn upstream after {} ms", gone.as_millis());
    assert_eq!(router.session().as_ref(), Ok(&session));
}

#[test]
fn strays_of_an_earlier_life_are_withdrawn() {
    let mut stage = Stage::new(&config("", ""));
    stage.until("the routes", &table(&VIPS));
    stage.herald.kill();
    wait::stays("what nobody withdraws", Duration::from_millis(500), &table(&VIPS), || stage.upstream.table());
    // Back with one VIP fewer, one more, and dead servers.
    stage.hub.operator(&["global", "rib", "add", FOREIGN, "identifier", "7"]);
    stage.servers.iter_mut().for_each(Nginx::kill);
    stage.herald.write(&config("", "").replace("\"192.0.2.1\"", "\"192.0.2.9\""));
    stage.herald.run();
    stage.until("strays gone", &table(&[FOREIGN]));
    stage.servers.iter_mut().for_each(Nginx::restart);
    stage.until("what is healthy now", &table(&["192.0.2.9/32", VIPS[1], FOREIGN]));
}

#[test]
fn with_graceful_restart_what_is_healthy_never_goes() {
    let gobgp = "graceful_restart = true\n";
    let mut stage = Stage::new(&config(
        gobgp,
        &site::service("other", "\"192.0.2.2\"").replace("port     = 80\n", "port     = 81\n"),
    ));
    let three = table(&[VIPS[0], "192.0.2.2/32", VIPS[1]]);
    stage.until("the routes", &three);
    let watch = Watch::gobgp(&stage.site.herald);
    stage.herald.kill();
    // One VIP is configured no more.
    stage.herald.write(&config(gobgp, ""));
    stage.herald.run();
    stage.until("the stray gone", &table(&VIPS));
    stage.until_established();
    site::wait_for_backends(&stage.herald);
    watch.wait_for("192.0.2.2/32");
    assert_eq!(VIPS.map(|vip| watch.gone(vip)), [0, 0], "routes of healthy VIPs went");
}

#[test]
fn list_and_flush_touch_nobody_elses() {
    let mut stage = Stage::new(&config("", ""));
    stage.until("the routes", &table(&VIPS));
    stage.hub.operator(&["global", "rib", "add", FOREIGN]);
    stage.herald.kill();
    let file = stage.herald.config_file();
    let errand = |what: &str| stage.herald.says(&["gobgp", what, "--config", file.to_str().unwrap()]);
    let (code, text) = errand("list");
    assert_eq!(code, Some(0), "{text}");
    assert!(VIPS.iter().all(|vip| text.contains(vip)) && !text.contains("203.0.113.7"), "{text}");
    // Whatever else may be wrong with the file by now.
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("[checks.web]", "[checks.wbe]")).unwrap();
    let (code, text) = errand("flush");
    assert_eq!(code, Some(0), "{text}");
    stage.until("the operator's own alone", &table(&[FOREIGN]));
    let (code, text) = errand("flush");
    assert!(code == Some(0) && text.contains("0 routes under identifier"), "nothing is left to flush: {text}");
    stage.hub.kill();
    let (code, text) = errand("list");
    assert_eq!(code, Some(2), "{text}");
}

/// The router has a session with Herald and, as its second, hears of gobgpd's routes.
#[test]
fn via_says_who_is_told_and_a_reload_may_change_it() {
    let native = Neighbour {
        local_address: "10.98.0.11".parse().unwrap(),
        local_as: 65010,
        address: "10.98.0.1".parse().unwrap(),
        asn: ASN,
    };
    let site = Site::new();
    let _servers = [site.server(0), site.server(1)];
    let hub = Hub::start(&site.herald);
    let upstream = Bird::start(&site.router, "10.99.1.1", &hub::upstream());
    let router = Bird::start(&site.servers, "10.98.0.11", &bird::protocol(&Plan::new(&native).families(&["ipv4"])));
    let config = |first: &str, second: &str| {
        let vip = |address, via| format!("[[vip]]\naddress = \"{address}\"\nvia = [{via}]\n");
        let gobgp = format!("[gobgp]\napi = \"unix://{}\"\n[bgp]\n", hub.socket().display());
        let bgp = site::bgp(&native, "").replace("[\"ipv4\", \"ipv6\"]", "[\"ipv4\"]").replace("[bgp]\n", &gobgp);
        let service = site::service("web", "\"192.0.2.1\", \"192.0.2.2\"");
        bgp + site::CHECK + &service + &vip("192.0.2.1", first) + &vip("192.0.2.2", second)
    };
    let seen = |what: &str, by_session: &[&str], by_gobgp: &[&str]| {
        for (router, expected) in [(&router, by_session), (&upstream, by_gobgp)] {
            wait::until_equal(what, &expected.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(), || {
                Ok(router.table()?.into_keys().collect::<Vec<_>>())
            });
        }
    };
    let herald = Herald::start(&site.herald, &config("\"bgp\"", "\"gobgp\""));
    let (one, two) = ("192.0.2.1/32", "192.0.2.2/32");
    seen("one each", &[one], &[two]);
    let session = site::established(&router);
    herald.reload_good(&config("\"gobgp\"", "\"bgp\", \"gobgp\""));
    seen("what the reload says", &[two], &[one, two]);
    herald.reload_good(&config("\"bgp\"", "\"bgp\""));
    seen("nothing by gobgpd", &[one, two], &[]);
    assert_eq!(router.session().as_ref(), Ok(&session));
}
