//! What operators do wrong at first on either side, and the words that lead to the cause.

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::Neighbour;
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// Waits until the status gives a reason with these words, be it the latest or that of the last NOTIFICATION.
fn wait_for_reason(herald: &Herald, words: &str) {
    wait::until("the reason", || {
        let peer = herald.peer("router")?;
        let mut reasons = ["last_error", "last_notification"].iter().filter_map(|key| peer[key].as_str());
        if reasons.any(|reason| reason.contains(words)) { Ok(()) } else { Err(peer.to_string()) }
    });
}

fn a_router_that_has_another_neighbour(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let other = Neighbour { address: "10.99.1.77".parse().unwrap(), ..neighbour.clone() };
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&other));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    wait_for_reason(&herald, "(it may not have 10.99.1.2 as a neighbor,");
    assert!(router.session().is_err());
    // Whether it closes or resets is chance, and told once.
    site::wait_for_log(&herald, "as a neighbor, or");
    let told = |herald: &Herald| herald.log().matches("as a neighbor, or").count();
    wait::stays("told once", std::time::Duration::from_secs(3), &1, || Ok::<_, String>(told(&herald)));
}

with_routers!(unknown, a_router_that_has_another_neighbour);

#[test]
fn a_router_that_wants_a_longer_hold_time() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let plan = Plan::new(&neighbour).with_router("bgp minimum-holdtime 60");
    let router = Kind::Frr.start(&site.router, "10.99.1.1", &plan);
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, "hold_time = \"30s\""));
    wait_for_reason(&herald, "Unacceptable Hold Time (the router wants a longer hold_time)");
    herald.reload_good(&site::config(&neighbour, "hold_time = \"90s\""));
    site::wait_for_routes(&neighbour, &*router);
}

/// BIRD sets the TTL that it wants on a connection that it has taken: Herald's OPEN and KEEPALIVE may be there by then.
#[test]
fn a_router_that_wants_ttl_security() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let _bird = Kind::Bird.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).ttl_security(1));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, "hold_time = \"3s\""));
    wait_for_reason(&herald, "may want ttl_security)");
}

/// What the router has said last is the cause, whatever comes after it.
#[test]
fn a_router_that_is_closed_for_works() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    site::wait_for_routes(&neighbour, &bird);
    bird.ask("disable dut \"works until nine\"").unwrap();
    wait::until("the cause", || {
        let (_, text) = herald.says(&["why", "192.0.2.1"]);
        let is_down = herald.peer("router")?["retry_at"].is_string();
        if is_down && text.contains("before: peer sent Cease/Administrative Shutdown: \"works until nine\"") {
            Ok(())
        } else {
            Err(text)
        }
    });
    assert_eq!(herald.says(&["status", "--only", "peers"]).0, Some(1));
}
