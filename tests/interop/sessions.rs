//! What keeps a session up, what keeps it down, and what it survives.

use std::time::Duration;

use crate::harness::bird::{self, Bird};
use crate::harness::capture::Capture;
use crate::harness::gobgp::GoBgp;
use crate::harness::herald::Herald;
use crate::harness::nginx::Nginx;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// A session whose router offers this hold time, over more than twice the shortest one.
fn stays_up(kind: Kind, hold_time: u16) {
    let site = Site::new();
    let neighbour = site::neighbour(hold_time == 0, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).hold_time(hold_time));
    let server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::wait_for_routes(&neighbour, &*router);
    let session = site::established(&*router);
    assert_eq!(herald.peer("router").unwrap()["hold_time_s"], hold_time);
    wait::stays("the session", Duration::from_secs(7), &session, || router.session());
    assert_eq!(router.table(), Ok(table));

    // It still carries routes.
    drop(server);
    wait::until_equal("the withdrawal", &Table::new(), || router.table());
    assert_eq!(router.session(), Ok(session));
}

with_routers!(hold_time_3_stays_up, |kind| stays_up(kind, 3));
// GoBGP cannot be told to offer none.
with_routers!(hold_time_0_stays_up, |kind| stays_up(kind, 0), bird frr);

fn a_router_of_the_wrong_as_never_gets_a_session(kind: Kind) {
    let site = Site::new();
    let mut neighbour = site::neighbour(false, 65009, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    neighbour.local_as = 65000;
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    // GoBGP's log knows nothing of how a session ends that was never established.
    if kind != Kind::GoBgp {
        site::wait_for_notification(&*router, 2, 2);
    }
    // Both AS numbers, please.
    site::wait_for_reason(&herald, &["65009", "65000"]);
    let established = || herald.peer("router").map(|peer| peer["established_count"].clone());
    wait::stays("never established", Duration::from_secs(2), &serde_json::json!(0), established);
    assert_eq!(router.table(), Ok(Table::new()));
    assert!(router.session().is_err());
}

with_routers!(wrong_as_of_the_router, a_router_of_the_wrong_as_never_gets_a_session);

fn a_router_that_expects_another_as_says_so_and_status_shows_it(kind: Kind) {
    let site = Site::new();
    let mut neighbour = site::neighbour(true, 65000, 65009);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    neighbour.asn = 65001;
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    site::wait_for_reason(&herald, &["OPEN Message Error/Bad Peer AS"]);
    assert_eq!(router.table(), Ok(Table::new()));
}

with_routers!(wrong_as_of_herald, a_router_that_expects_another_as_says_so_and_status_shows_it);

/// RFC 2918 §4: asked for, and all routes once more.
fn a_route_refresh_is_answered(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let _herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::wait_for_routes(&neighbour, &*router);
    let session = router.session().unwrap();
    router.refresh();
    let frames = |filter: String| capture.so_far().fields(&filter, &["frame.number"]);
    let asked = || frames(format!("bgp.type == 5 && ip.src == {}", neighbour.local_address));
    let (asked, _) = wait::until("the router to ask", || asked().first().cloned().ok_or("not yet".to_owned()));
    let again = format!("frame.number > {asked} && bgp.type == 2 && ip.src == {}", neighbour.address);
    for prefix in ["bgp.nlri_prefix", "bgp.mp_reach_nlri_ipv6_prefix"] {
        wait::until("the routes of both families once more", || {
            if frames(format!("{again} && {prefix}")).is_empty() { Err(format!("no {prefix}")) } else { Ok(()) }
        });
    }
    assert_eq!((router.table(), router.session()), (Ok(table), Ok(session)));
}

with_routers!(route_refresh, a_route_refresh_is_answered, bird frr);

/// Both hold timers end it, each for itself.
fn a_silent_cut_ends_by_the_hold_timer_and_heals(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(kind == Kind::Frr, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).hold_time(3));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::wait_for_routes(&neighbour, &*router);

    site.herald.cut("to-router");
    site::wait_for_reason(&herald, &["hold timer expired"]);
    wait::until_equal("the routes gone", &Table::new(), || router.table());
    let (log, mark) = (router.log(), router.hold_timer_mark());
    assert!(log.contains(mark), "no {mark:?} in\n{log}");
    site.herald.heal();
    let back = wait::until_equal("the routes back", &table, || router.table());
    println!("cable back: routes back after {} ms", back.as_millis());
}

with_routers!(silent_cut, a_silent_cut_ends_by_the_hold_timer_and_heals);

/// A router that loses power and comes back: no FIN, no RST, and nothing is left of its side of the connection.
fn a_router_that_dies_without_a_word_and_comes_back(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(kind != Kind::Frr, 65000, 65001);
    let mut router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).hold_time(3));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::wait_for_routes(&neighbour, &*router);

    site.router.cut("to-herald");
    router.kill();
    site::wait_for_reason(&herald, &["hold timer expired"]);
    router.start();
    site.router.heal();
    let back = wait::until_equal("the routes back", &table, || router.table());
    println!("power back: routes back after {} ms", back.as_millis());

    // And so quickly that no timer has run out.
    site.router.cut("to-herald");
    router.kill();
    router.start();
    site.router.heal();
    let back = wait::until_equal("the routes back", &table, || router.table());
    println!("power back at once: routes back after {} ms", back.as_millis());
}

with_routers!(power_loss, a_router_that_dies_without_a_word_and_comes_back);

/// The hold timer of OpenSent takes four minutes (RFC 4271 §8.2.2), TCP's own patience a quarter of an hour.
#[test]
fn what_is_not_acknowledged_for_the_hold_time_ends_the_connection() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    // Something that accepts connections, and gets nothing of what is sent.
    let _listener = Nginx::start(&site.router, "router", &["10.99.1.1:179"]);
    let rule = "tcp dport 179 tcp flags & psh == psh drop;";
    site.herald.run(
        "nft",
        &[&format!("table inet lossy {{ chain output {{ type filter hook output priority 0; {rule} }}; }};")],
    );
    let config = site::config(&neighbour, "").replace("hold_time = \"9s\"", "hold_time = \"3s\"");
    let herald = Herald::start(&site.herald, &config);
    wait::until("the end of the connection", || match herald.peer("router")?["last_error"].as_str() {
        Some("connection lost: connection timed out") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn each_of_two_routers_has_its_own_session() {
    let site = Site::new();
    let second = site.lab().namespace("second");
    site.herald.link(&["10.99.2.2/24", "fd00:99:2::2/64"], &second, &["10.99.2.1/24", "fd00:99:2::1/64"]);
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut other = neighbour.clone();
    other.local_address = "fd00:99:2::1".parse().unwrap();
    other.address = "fd00:99:2::2".parse().unwrap();
    other.local_as = 65001;
    let mut bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let gobgp = GoBgp::start(&second, "10.99.2.1", &other);
    let _server = site.server(0);
    let peer = r#"
[[bgp.peer]]
name          = "second"
address       = "fd00:99:2::1"
peer_as       = "internal"
families      = ["ipv4", "ipv6"]
next_hop_ipv4 = "10.99.2.2"
med           = 7
"#;
    let _herald = Herald::start(&site.herald, &site::config(&neighbour, peer));

    let first = site::plain_table(&neighbour, &bird, &site::VIPS);
    let mut table = site::plain_table(&other, &gobgp, &site::VIPS);
    for route in table.values_mut() {
        route.next_hop = route.next_hop.replace("99.1.2", "99.2.2").replace("99:1::2", "99:2::2");
        route.med = Some(7);
    }
    wait::until_equal("the first router's routes", &first, || bird.table());
    wait::until_equal("the second router's routes", &table, || gobgp.table());
    let session = gobgp.session().unwrap();

    bird.kill();
    wait::stays("the other router", Duration::from_millis(500), &table, || gobgp.table());
    Router::start(&mut bird);
    wait::until_equal("the first router's routes again", &first, || bird.table());
    assert_eq!(gobgp.session(), Ok(session));
}
