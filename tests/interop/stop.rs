//! How Herald ends, and what its end leaves in the router.

use std::time::Duration;

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

#[test]
fn a_drained_stop_shows_graceful_shutdown_first() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let config = site::config(&neighbour, "").replace("shutdown_drain = \"0s\"", "shutdown_drain = \"1s\"");
    let mut herald = Herald::start(&site.herald, &config);
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("the routes", &table, || bird.table());

    herald.terminate();
    let stop = wait::now();
    let mut draining = table;
    for route in draining.values_mut() {
        route.communities.push("65535:0".to_owned());
    }
    wait::until_equal("GRACEFUL_SHUTDOWN (RFC 8326)", &draining, || bird.table());
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    let took = stop.elapsed();
    assert!(took >= Duration::from_secs(1), "withdrawn after {took:?}, before the drain was over");
    assert_eq!(herald.wait().code(), Some(0));
    herald.assert_nothing_left();
}

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

#[test]
fn a_crash_takes_the_routes_along_and_a_restart_brings_them_back() {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let server = site.server(0);
    let mut herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("the routes", &table, || bird.table());

    herald.kill();
    wait::until_equal("the routes gone", &Table::new(), || bird.table());
    // The socket file of the dead daemon is still there, and must not matter.
    herald.run();
    wait::until_equal("the routes back", &table, || bird.table());

    // Started while every server is dead, it announces nothing, however good its session.
    herald.kill();
    drop(server);
    herald.run();
    site::established(&bird);
    wait::until("a verdict", || herald.backend_is(site::BACKENDS[0], "down"));
    wait::stays("nothing announced", Duration::from_secs(1), &Table::new(), || bird.table());
}
