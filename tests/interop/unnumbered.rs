//! Peers without addresses: whoever is at the other end of an interface (RFC 4861), IPv4 over IPv6 (RFC 8950).

use serde_json::json;

use crate::harness::bird::{self, Bird};
use crate::harness::frr::Frr;
use crate::harness::gobgp::GoBgp;
use crate::harness::herald::Herald;
use crate::harness::plan::Plan;
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// A site with one link-local address on each end of the link that the tests know.
fn site() -> (Site, Neighbour) {
    let site = Site::new();
    for (namespace, address, interface) in
        [(&site.herald, "fe80::2/64", "to-router"), (&site.router, "fe80::1/64", "to-herald")]
    {
        namespace.ip(&["-6", "address", "flush", "dev", interface, "scope", "link"]);
        namespace.add_address(address, interface);
    }
    let mut neighbour = site::neighbour(true, 65000, 65001);
    neighbour.local_address = "fe80::1".parse().unwrap();
    neighbour.address = "fe80::2".parse().unwrap();
    (site, neighbour)
}

/// A peer that has an interface and no address.
fn config(neighbour: &Neighbour, options: &str) -> String {
    let config = site::config(neighbour, options);
    let config = config.replace("address       = \"fe80::1\"", "interface     = \"to-router\"");
    config.replace("next_hop_ipv4 = \"10.99.1.2\"\nnext_hop_ipv6 = \"self\"\n", "")
}

/// Both routes, with our link-local address as next hop.
fn table(neighbour: &Neighbour, router: &dyn Router) -> Table {
    let mut table = site::plain_table(neighbour, router, &site::VIPS);
    for route in table.values_mut() {
        route.next_hop = "fe80::2".to_owned();
    }
    table
}

/// Each finds the other by its advertisements, and again after the router has died.
#[test]
fn frr_is_found_and_finds() {
    let (site, neighbour) = site();
    let mut frr = Frr::start(&site.router, "10.99.1.1", &Plan::new(&neighbour).unnumbered("to-herald"));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(&neighbour, ""));
    let table = table(&neighbour, &frr);
    wait::until_equal("the routes", &table, || frr.table());
    let peer = herald.peer("router").unwrap();
    assert_eq!((&peer["address"], &peer["extended_next_hop"]), (&json!("fe80::1%to-router"), &json!(true)));
    frr.kill();
    frr.start();
    wait::until_equal("the routes again", &table, || frr.table());
}

/// Herald waits, and says for what, until BIRD begins to advertise itself; a reload leaves the session alone.
#[test]
fn bird_is_found_once_it_advertises_itself() {
    let (site, neighbour) = site();
    let plan = Plan::new(&neighbour).interface("to-herald").extended_next_hop();
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::protocol(&plan));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(&neighbour, ""));
    let waiting = || Ok(herald.peer("router")?["reason"].clone());
    let reason = json!("waiting for a router to advertise itself on to-router");
    wait::until_equal("Herald to say what it waits for", &reason, waiting);
    let advertising = "protocol radv { interface \"to-herald\" { max ra interval 5; default lifetime 0; }; }\n";
    bird.configure(&(advertising.to_owned() + &bird::protocol(&plan)));
    let mut table = table(&neighbour, &bird);
    for route in table.values_mut() {
        // A next hop without a global address is this to BIRD, and the link-local one besides.
        route.next_hop = "::".to_owned();
    }
    wait::until_equal("the routes", &table, || bird.table());
    for vip in site::VIPS {
        assert_eq!(bird.next_hops(vip), Ok(vec!["::".to_owned(), "fe80::2".to_owned()]));
        let route = bird.ask(&format!("show route {vip}")).unwrap();
        assert!(route.contains("via fe80::2 on to-herald"), "it is used: {route}");
    }
    let session = site::established(&bird);
    herald.reload_good(&config(&neighbour, "med = 7"));
    let with_med = table.into_iter().map(|(prefix, mut route)| {
        route.med = Some(7);
        (prefix, route)
    });
    wait::until_equal("the routes with another MED", &with_med.collect(), || bird.table());
    assert_eq!(bird.session(), Ok(session), "the session is the same");
}

/// A router that does not advertise itself is known once it connects.
#[test]
fn gobgp_is_found_by_its_connection() {
    let (site, neighbour) = site();
    let _server = site.server(0);
    let config = config(&neighbour, "mode = \"both\"");
    let herald = Herald::start(&site.herald, &config.replace("[bgp]\n", "[bgp]\nlisten = [\"[::]:179\"]\n"));
    let plan = Plan::new(&neighbour).interface("to-herald").dials();
    let gobgp = GoBgp::start_plan(&site.router, "10.99.1.1", &plan);
    let table = table(&neighbour, &gobgp);
    wait::until_equal("the routes", &table, || gobgp.table());
    assert_eq!(herald.peer("router").unwrap()["address"], "fe80::1%to-router");
}

/// Without CAP_NET_RAW nobody can be found, and the operator hears why.
#[test]
fn what_the_daemon_may_not_do_is_told() {
    let (site, neighbour) = site();
    let config = config(&neighbour, "").replace("to-router", "no-such0");
    let herald = Herald::start(&site.herald, &config);
    wait::until("a word about the interface", || {
        let log = herald.log();
        let told = log.contains("interface no-such0: no such device; unnumbered peers on it do not find their router");
        if told { Ok(()) } else { Err(log) }
    });
    assert_eq!(herald.peer("router").unwrap()["reason"], "interface no-such0: no such device");
}
