//! How Herald ends, and what its end leaves in the router.

use std::time::Duration;

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

fn a_drained_stop_shows_graceful_shutdown_first(kind: Kind) {
    a_drained_stop(kind, 65000);
}

fn to_internal_routers_with_the_lowest_preference(kind: Kind) {
    a_drained_stop(kind, 65001);
}

fn a_drained_stop(kind: Kind, router_as: u32) {
    let site = Site::new();
    let neighbour = site::neighbour(false, router_as, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let _server = site.server(0);
    let config = site::config(&neighbour, "").replace("shutdown_drain = \"0s\"", "shutdown_drain = \"4s\"");
    let mut herald = Herald::start(&site.herald, &config);
    let table = site::plain_table(&neighbour, &*router, &site::VIPS);
    wait::until_equal("the routes", &table, || router.table());

    herald.terminate();
    let stop = wait::now();
    let mut draining = table;
    for route in draining.values_mut() {
        route.communities.push("65535:0".to_owned());
        // RFC 8326 §4.3: the least preferred. FRR needs no policy for that.
        let least = kind == Kind::Frr || neighbour.is_internal();
        route.local_pref = if least { Some(0) } else { route.local_pref };
    }
    wait::until_equal("GRACEFUL_SHUTDOWN (RFC 8326)", &draining, || router.table());
    wait::until_equal("the withdrawal", &Table::new(), || router.table());
    let took = stop.elapsed();
    assert!(took >= Duration::from_secs(4), "withdrawn after {took:?}, before the drain was over");
    assert_eq!(herald.wait().code(), Some(0));
    herald.assert_nothing_left();
}

with_routers!(drained_stop, a_drained_stop_shows_graceful_shutdown_first);
with_routers!(drained_stop_inside, to_internal_routers_with_the_lowest_preference);

#[test]
fn a_second_signal_stops_at_once() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let config = site::config(&neighbour, "").replace("shutdown_drain = \"0s\"", "shutdown_drain = \"60s\"");
    let mut herald = Herald::start(&site.herald, &config);
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("the routes", &table, || bird.table());
    herald.terminate();
    wait::until("the drain", || match bird.table()?["192.0.2.1/32"].communities.is_empty() {
        true => Err("no community yet".to_owned()),
        false => Ok(()),
    });
    herald.terminate();
    herald.wait();
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
}

fn a_crash_takes_the_routes_along_and_a_restart_brings_them_back(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let server = site.server(0);
    let mut herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &*router, &site::VIPS);
    wait::until_equal("the routes", &table, || router.table());

    herald.kill();
    wait::until_equal("the routes gone", &Table::new(), || router.table());
    // The socket file of the dead daemon is still there, and must not matter.
    herald.run();
    wait::until_equal("the routes back", &table, || router.table());

    // Started while every server is dead, it announces nothing, however good its session.
    herald.kill();
    drop(server);
    herald.run();
    site::established(&*router);
    wait::until("a verdict", || herald.backend_is(site::BACKENDS[0], "down"));
    wait::stays("nothing announced", Duration::from_secs(1), &Table::new(), || router.table());
}

with_routers!(crash_and_restart, a_crash_takes_the_routes_along_and_a_restart_brings_them_back);
