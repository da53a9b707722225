//! What operators drain, as routers see it (RFC 8326).

use std::time::Duration;

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const DRAIN: Duration = Duration::from_secs(4);

fn config(config: &str) -> String {
    format!("drain_time = \"4s\"\n{config}")
}

/// With the community, and to an internal peer with the lowest LOCAL_PREF, which FRR gives it by itself.
fn graceful(mut table: Table, least: bool, prefixes: &[&str]) -> Table {
    for prefix in prefixes {
        let route = table.get_mut(*prefix).unwrap();
        route.communities.push("65535:0".to_owned());
        if least {
            route.local_pref = Some(0);
        }
    }
    table
}

fn drained(herald: &Herald, arguments: &[&str]) {
    let (code, text) = herald.says(arguments);
    assert_eq!(code, Some(0), "{text}");
}

fn a_vip_goes_gently_and_comes_back(kind: Kind, internal: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(false, if internal { 65001 } else { 65000 }, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(&site::config(&neighbour, "")));
    let table = site::plain_table(&neighbour, &*router, &site::VIPS);
    wait::until_equal("the routes", &table, || router.table());
    let session = router.session();
    let least = internal || kind == Kind::Frr;

    let begun = wait::now();
    drained(&herald, &["drain", "192.0.2.1", "--reason", "works"]);
    let going = graceful(table.clone(), least, &["192.0.2.1/32"]);
    wait::until_equal("GRACEFUL_SHUTDOWN on one route", &going, || router.table());
    let other = site::plain_table(&neighbour, &*router, &["2001:db8::1/128"]);
    wait::until_equal("its withdrawal", &other, || router.table());
    assert!(begun.elapsed() >= DRAIN, "withdrawn after {:?}", begun.elapsed());
    drained(&herald, &["undrain", "192.0.2.1"]);
    wait::until_equal("both routes", &table, || router.table());

    // Everything, undone before it is gone.
    drained(&herald, &["drain", "all"]);
    let going = graceful(table.clone(), least, &site::VIPS);
    wait::until_equal("GRACEFUL_SHUTDOWN on all", &going, || router.table());
    drained(&herald, &["undrain", "all"]);
    wait::until_equal("both routes", &table, || router.table());
    // A service takes its VIPs along.
    drained(&herald, &["drain", "web"]);
    wait::until_equal("GRACEFUL_SHUTDOWN on all", &going, || router.table());
    wait::until_equal("nothing", &Table::new(), || router.table());
    assert_eq!(router.session(), session, "no drain is the session's business");
}

fn to_an_external_router(kind: Kind) {
    a_vip_goes_gently_and_comes_back(kind, false);
}

fn to_an_internal_router(kind: Kind) {
    a_vip_goes_gently_and_comes_back(kind, true);
}

with_routers!(external, to_an_external_router);
with_routers!(internal, to_an_internal_router);

/// The other router is a BIRD that counts what it gets.
fn a_drained_peer_alone(kind: Kind) {
    let site = Site::new();
    let second = site.lab().namespace("second");
    site.herald.link(&["10.99.2.2/24"], &second, &["10.99.2.1/24", "fd00:99:1::1/64"]);
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut other = site::neighbour(false, 65001, 65001);
    other.local_address = "10.99.2.1".parse().unwrap();
    other.address = "10.99.2.2".parse().unwrap();
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let mut drained_router = kind.start(&second, "10.99.2.1", &Plan::new(&other));
    let _server = site.server(0);
    let peer = "[[bgp.peer]]\nname = \"second\"\naddress = \"10.99.2.1\"\npeer_as = \"internal\"\n\
                next_hop_ipv6 = \"fd00:99:1::2\"\nconnect_retry = \"500ms\"\n";
    let herald = Herald::start(&site.herald, &config(&site::config(&neighbour, peer)));
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    let mut there = site::plain_table(&other, &*drained_router, &site::VIPS);
    there.get_mut("192.0.2.1/32").unwrap().next_hop = "10.99.2.2".to_owned();
    wait::until_equal("the routes", &table, || bird.table());
    wait::until_equal("the routes of the second", &there, || drained_router.table());
    let sessions = (bird.session(), drained_router.session());
    let updates = || bird.counter("ipv4", "Import updates:").unwrap();
    let before = updates();

    drained(&herald, &["drain", "peer/second"]);
    wait::until_equal("GRACEFUL_SHUTDOWN", &graceful(there.clone(), true, &site::VIPS), || drained_router.table());
    wait::until_equal("the withdrawal", &Table::new(), || drained_router.table());
    assert_eq!((bird.session(), drained_router.session()), sessions);

    // A new session with it begins with nothing, and says that this is all.
    drained_router.kill();
    drained_router.start();
    site::established(&*drained_router);
    wait::until("End-of-RIB", || match herald.log().matches("peer second has all ipv4 routes: 0 routes").count() {
        0 => Err(herald.log()),
        _ => Ok(()),
    });
    wait::stays("nothing", Duration::from_secs(1), &Table::new(), || drained_router.table());
    drained(&herald, &["undrain", "peer/second"]);
    wait::until_equal("the routes of the second", &there, || drained_router.table());
    assert_eq!((bird.table(), bird.session(), updates()), (Ok(table), sessions.0, before), "the other peer");
}

with_routers!(a_peer, a_drained_peer_alone);
