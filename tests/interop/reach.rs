//! How far away a router may be, and by which interface: TTL security (RFC 5082), multihop, interfaces.

use std::time::Duration;

use serde_json::json;

use crate::harness::bird::{self, Bird};
use crate::harness::capture::Capture;
use crate::harness::herald::Herald;
use crate::harness::lab::Namespace;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const BOTH: [&str; 2] = ["ipv4", "ipv6"];

/// A router one hop behind `router`, which routes; and its session with Herald.
fn far(site: &Site, ipv6: bool) -> (Namespace, Neighbour) {
    let far = site.lab().namespace("far");
    site.router.link(&["10.99.3.1/24", "fd00:99:3::1/64"], &far, &["10.99.3.2/24", "fd00:99:3::2/64"]);
    site.router.run("sysctl", &["-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    for (namespace, to, via) in [
        (&site.herald, "10.99.3.0/24", "10.99.1.1"),
        (&site.herald, "fd00:99:3::/64", "fd00:99:1::1"),
        (&far, "10.99.1.0/24", "10.99.3.1"),
        (&far, "fd00:99:1::/64", "fd00:99:3::1"),
    ] {
        namespace.ip(&["route", "add", to, "via", via]);
    }
    let mut neighbour = site::neighbour(ipv6, 65000, 65001);
    neighbour.local_address = if ipv6 { "fd00:99:3::2" } else { "10.99.3.2" }.parse().unwrap();
    (far, neighbour)
}

/// Waits until the status gives a reason with all these words, while there is no session.
fn wait_for_reason(herald: &Herald, words: &[&str]) {
    wait::until("the reason", || {
        let peer = herald.peer("router")?;
        assert_eq!(peer["established_count"], 0, "{peer}");
        let reason = peer["last_error"].as_str().unwrap_or_default();
        if words.iter().all(|word| reason.contains(word)) { Ok(()) } else { Err(peer.to_string()) }
    });
}

/// With a router that is directly connected. The wire must show this TTL on everything that Herald sends.
fn comes_up(site: &Site, neighbour: &Neighbour, router: &dyn Router, options: &str, ttl: &str) {
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let mut herald = Herald::start(&site.herald, &site::config(neighbour, options));
    site::wait_for_routes(neighbour, router);
    herald.terminate();
    herald.wait();
    let (filter, field) = match neighbour.address.is_ipv4() {
        true => ("ip.src == 10.99.1.2", "ip.ttl"),
        false => ("ipv6.src == fd00:99:1::2", "ipv6.hlim"),
    };
    let mut ttls = capture.finish().fields(filter, &[field]);
    ttls.sort();
    ttls.dedup();
    assert_eq!(ttls, [ttl]);
}

fn ttl_security(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).ttl_security(1));
    comes_up(&site, &neighbour, &*router, "ttl_security = 1", "255");
}

with_routers!(ttl_security_over_ipv4, |kind| ttl_security(kind, false));
with_routers!(ttl_security_over_ipv6, |kind| ttl_security(kind, true));

/// The router drops what it gets with another TTL than 255. Not one of them does so before it has accepted the
/// connection, so a quick OPEN and KEEPALIVE may still get through: but no route does.
fn ttl_security_of_the_router_alone_lets_no_route_through(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, 65000, 65001);
    let mut router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).ttl_security(1));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    wait::until("an attempt", || match herald.peer("router")?["state"].as_str() {
        Some("opensent" | "openconfirm" | "established") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    wait::stays("no route", Duration::from_secs(3), &Table::new(), || router.table());

    // It may hold on to the dead connection for four minutes (RFC 4271 §8.2.2), so not with the same process.
    router.kill();
    herald.reload_good(&site::config(&neighbour, "ttl_security = 1"));
    router.start();
    site::wait_for_routes(&neighbour, &*router);
}

with_routers!(the_router_alone_over_ipv4, |kind| ttl_security_of_the_router_alone_lets_no_route_through(kind, false));
with_routers!(the_router_alone_over_ipv6, |kind| ttl_security_of_the_router_alone_lets_no_route_through(kind, true));

#[test]
fn an_external_router_is_one_hop_away_and_an_internal_one_anywhere() {
    for (herald_as, ttl) in [(65001, "1"), (65000, "64")] {
        let site = Site::new();
        let neighbour = site::neighbour(true, 65000, herald_as);
        let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
        comes_up(&site, &neighbour, &bird, "", ttl);
    }
}

/// A router that sends with a TTL of 64, and for all that is known may be anywhere.
fn is_not_accepted(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, 65000, 65001);
    // Routers like to accept connections with a TTL of 255, whatever they send with afterwards.
    let rules = "meta l4proto tcp ip ttl set 64; meta l4proto tcp ip6 hoplimit set 64;";
    let chain = format!("chain output {{ type filter hook output priority 0; {rules} }};");
    site.router.run("nft", &[&format!("table inet far {{ {chain} }};")]);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).multihop(64));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, "ttl_security = 1"));
    wait_for_reason(&herald, &["no answer (ttl_security = 1 is on: the router may send with a TTL below 255"]);
    assert!(router.session().is_err());

    // As a peer that is so far away it will do.
    herald.reload_good(&site::config(&neighbour, "multihop = 64"));
    site::wait_for_routes(&neighbour, &*router);
    site::wait_for_log(&herald, "peer router is reset, because of ttl_security, multihop");
}

with_routers!(ttl_security_refuses_a_ttl_of_64, |kind| is_not_accepted(kind, false));
with_routers!(ttl_security_refuses_a_hop_limit_of_64, |kind| is_not_accepted(kind, true));

/// BIRD accepts connections with a TTL of 255, and only then sets its own.
#[test]
fn ttl_security_refuses_what_follows_the_handshake_too() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::session(&neighbour, "multihop 64;", &BOTH));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, "ttl_security = 1"));
    wait::until("the handshake", || match &herald.peer("router")?["state"] {
        state if state == "opensent" => Ok(()),
        state => Err(state.to_string()),
    });
    wait::stays("no session", Duration::from_secs(3), &json!(0), || {
        herald.peer("router").map(|peer| peer["established_count"].clone())
    });
    assert!(!bird.log().contains("session established"), "{}", bird.log());
}

/// Two hops away: neither the TTL of 1 that is usual nor TTL security for one hop reaches the router, but for two hops
/// both ways do.
fn two_hops(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let (far, neighbour) = far(&site, ipv6);
    let mut router = kind.start(&far, "10.99.1.1", &Plan::new(&neighbour).multihop(2));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    wait_for_reason(&herald, &["a TTL of 1", "multihop"]);
    herald.reload_good(&site::config(&neighbour, "multihop = 2"));
    site::wait_for_routes(&neighbour, &*router);
    drop(herald);
    router.stop();

    let router = kind.start(&far, "10.99.1.1", &Plan::new(&neighbour).ttl_security(2));
    let herald = Herald::start(&site.herald, &site::config(&neighbour, "ttl_security = 1"));
    wait_for_reason(&herald, &["no answer (ttl_security = 1 is on", "further away"]);
    herald.reload_good(&site::config(&neighbour, "ttl_security = 2"));
    site::wait_for_routes(&neighbour, &*router);
}

with_routers!(two_hops_over_ipv4, |kind| two_hops(kind, false));
with_routers!(two_hops_over_ipv6, |kind| two_hops(kind, true));

#[test]
fn an_interface_tells_two_routers_with_one_address_apart() {
    let site = Site::new();
    let neighbour = Neighbour {
        local_address: "10.99.9.1".parse().unwrap(),
        local_as: 65000,
        address: "10.99.9.2".parse().unwrap(),
        asn: 65001,
    };
    let routers = ["left", "right"].map(|side| {
        let namespace = site.lab().namespace(side);
        site.herald.link(&["10.99.9.2/24"], &namespace, &["10.99.9.1/24"]);
        Bird::start(&namespace, "10.99.9.1", &bird::session(&neighbour, "", &["ipv4"]))
    });
    let _server = site.server(0);
    let peer = |side: &str, med: u32| {
        format!(
            "[[bgp.peer]]\nname = \"{side}\"\naddress = \"10.99.9.1\"\npeer_as = 65000\nfamilies = [\"ipv4\"]\n\
             interface = \"to-{side}\"\nmed = {med}\nconnect_retry = \"500ms\"\n"
        )
    };
    let direct = site::neighbour(false, 65000, 65001);
    let config = site::config(&direct, &(peer("left", 1) + &peer("right", 2)));
    let herald = Herald::start(&site.herald, &config);
    for (bird, med) in routers.iter().zip([1, 2]) {
        let mut table = site::plain_table(&direct, bird, &["192.0.2.1/32"]);
        for route in table.values_mut() {
            (route.next_hop, route.med) = ("10.99.9.2".to_owned(), Some(med));
        }
        wait::until_equal("the routes", &table, || bird.table());
    }

    // What the system refuses is said, and no connection is made without it.
    herald.reload_good(&config.replace("to-left", "nowhere"));
    wait::until("the reason", || {
        let peer = herald.peer("left")?;
        let reason = peer["last_error"].as_str().unwrap_or_default();
        if reason == "cannot connect: interface nowhere: no such device" { Ok(()) } else { Err(peer.to_string()) }
    });
    assert!(routers[0].session().is_err() && routers[1].session().is_ok());
}
