//! What a reload does to sessions and routes, as the router sees it. The story has the reloads that no session notices.

use std::time::Duration;

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

#[test]
fn a_peer_comes_and_goes() {
    let site = Site::new();
    let second = site.lab().namespace("second");
    site.herald.link(&["10.99.2.2/24"], &second, &["10.99.2.1/24"]);
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut other = neighbour.clone();
    other.local_address = "10.99.2.1".parse().unwrap();
    other.address = "10.99.2.2".parse().unwrap();
    let first = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let added = Bird::start(&second, "10.99.2.1", &bird::session(&other, "", &["ipv4"]));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &first, &site::VIPS);
    wait::until_equal("the routes", &table, || first.table());
    let session = first.session().unwrap();

    let peer =
        "[[bgp.peer]]\nname = \"second\"\naddress = \"10.99.2.1\"\npeer_as = \"external\"\nfamilies = [\"ipv4\"]\n";
    herald.reload_good(&site::config(&neighbour, peer));
    let mut there = site::plain_table(&other, &added, &["192.0.2.1/32"]);
    there.values_mut().for_each(|route| route.next_hop = "10.99.2.2".to_owned());
    wait::until_equal("the added peer's routes", &there, || added.table());

    herald.reload_good(&site::config(&neighbour, ""));
    wait::until_equal("nothing with the removed peer", &Table::new(), || added.table());
    // Cease/Peer De-configured (RFC 4486).
    wait::until("the reason in its log", || {
        let log = added.log();
        if log.contains("dut: Received: Peer de-configured") { Ok(()) } else { Err(log) }
    });
    wait::stays("no further attempt", Duration::from_secs(2), &true, || Ok(added.session().is_err()));
    assert_eq!((first.table(), first.session()), (Ok(table), Ok(session)), "the other peer");
}

fn what_needs_a_reset_is_named_and_the_routes_come_back(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let _server = site.server(0);
    let config = site::config(&neighbour, "");
    let herald = Herald::start(&site.herald, &config);
    let table = site::plain_table(&neighbour, &*router, &site::VIPS);
    wait::until_equal("the routes", &table, || router.table());
    let session = router.session().unwrap();

    herald.reload_good(&config.replace("hold_time = \"9s\"", "hold_time = \"30s\""));
    wait::until("a new session", || match router.session()? {
        same if same == session => Err("the old session".to_owned()),
        _ => Ok(()),
    });
    wait::until_equal("the routes", &table, || router.table());
    // Cease/Other Configuration Change (RFC 4486).
    site::wait_for_notification(&*router, 6, 6);
    assert_eq!(herald.peer("router").unwrap()["hold_time_s"], 30);
    let names = |log: &str| log.lines().position(|line| line.contains("hold_time") && line.contains("router"));
    wait::until("the log", || match herald.log() {
        log if names(&log).is_some() => Ok(()),
        log => Err(log),
    });
    let log = herald.log();
    let named = names(&log);
    let happened = log.lines().position(|line| line.contains("peer router") && line.contains("configuration change"));
    assert!(named.is_some() && happened.is_none_or(|at| named.unwrap() <= at), "named before it happens:\n{log}");
}

with_routers!(reset, what_needs_a_reset_is_named_and_the_routes_come_back);

#[test]
fn what_is_removed_is_withdrawn_and_what_stays_is_left_alone() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let one = site::config(&neighbour, "");
    let two = one.clone() + &site::service("second", r#""192.0.2.2", "2001:db8::2""#);
    let herald = Herald::start(&site.herald, &two);
    let four = ["192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128", "2001:db8::2/128"];
    wait::until_equal("four routes", &site::plain_table(&neighbour, &bird, &four), || bird.table());
    let session = bird.session().unwrap();
    let updates = || bird.counter("ipv4", "Import updates:").unwrap();
    let before = updates();

    herald.reload_good(&one);
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("two routes", &table, || bird.table());
    // The same file again is no news to anybody.
    herald.reload_good(&one);
    wait::stays("two routes", Duration::from_millis(300), &table, || bird.table());
    assert_eq!((updates(), bird.session()), (before, Ok(session)), "what stays was sent again");
}
