//! What keeps a session up, what keeps it down, and what it survives.

use std::time::Duration;

use crate::harness::bird::{self, Bird};
use crate::harness::gobgp::GoBgp;
use crate::harness::herald::Herald;
use crate::harness::nginx::Nginx;
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// A session whose router offers this hold time, over more than twice the shortest one.
fn stays_up(hold_time: u16) {
    let site = Site::new();
    let neighbour = site::neighbour(hold_time == 0, 65000, 65001);
    let session = bird::session(&neighbour, &format!("hold time {hold_time};"), &["ipv4", "ipv6"]);
    let bird = Bird::start(&site.router, "10.99.1.1", &session);
    let server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("the routes", &table, || bird.table());
    let session = site::established(&bird);
    assert_eq!(herald.peer("router").unwrap()["hold_time_s"], hold_time);
    wait::stays("the session", Duration::from_secs(7), &session, || bird.session());
    assert_eq!(bird.table(), Ok(table));

    // It still carries routes.
    drop(server);
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    assert_eq!(bird.session(), Ok(session));
}

#[test]
fn hold_time_3_stays_up() {
    stays_up(3);
}

#[test]
fn hold_time_0_stays_up() {
    stays_up(0);
}

#[test]
fn a_router_of_the_wrong_as_never_gets_a_session() {
    let site = Site::new();
    let mut neighbour = site::neighbour(false, 65009, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    neighbour.local_as = 65000;
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    wait::until("BIRD to be told", || {
        let log = bird.log();
        if log.contains("Received: Bad peer AS") { Ok(()) } else { Err(log) }
    });
    let (reason, _) = wait::until("status to show the reason", || {
        let peer = herald.peer("router")?;
        peer["last_error"].as_str().map(str::to_owned).ok_or(peer.to_string())
    });
    assert!(reason.contains("65009") && reason.contains("65000"), "both AS numbers, please: {reason}");
    let established = || herald.peer("router").map(|peer| peer["established_count"].clone());
    wait::stays("never established", Duration::from_secs(2), &serde_json::json!(0), established);
    assert_eq!(bird.table(), Ok(Table::new()));
    assert!(!bird.log().contains("session established"), "{}", bird.log());
}

#[test]
fn a_router_that_expects_another_as_says_so_and_status_shows_it() {
    let site = Site::new();
    let mut neighbour = site::neighbour(true, 65000, 65009);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    neighbour.asn = 65001;
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let (reason, _) = wait::until("status to show the reason", || {
        let peer = herald.peer("router")?;
        peer["last_error"].as_str().map(str::to_owned).ok_or(peer.to_string())
    });
    assert!(reason.to_lowercase().contains("bad peer as"), "{reason}");
    assert_eq!(bird.table(), Ok(Table::new()));
}

#[test]
fn a_route_refresh_is_answered() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let _herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("the routes", &table, || bird.table());
    let session = bird.session().unwrap();
    let updates = || -> Result<Vec<u64>, String> {
        ["ipv4", "ipv6"].iter().map(|family| bird.counter(family, "Import updates:")).collect()
    };
    let before = updates().unwrap();
    bird.ask("reload in dut").unwrap();
    wait::until("the routes of both families once more", || {
        let now = updates()?;
        if now.iter().zip(&before).all(|(now, before)| now > before) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    assert_eq!((bird.table(), bird.session()), (Ok(table), Ok(session)));
}

#[test]
fn a_silent_cut_ends_by_the_hold_timer_and_heals() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let session = bird::session(&neighbour, "hold time 3;", &["ipv4", "ipv6"]);
    let bird = Bird::start(&site.router, "10.99.1.1", &session);
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("the routes", &table, || bird.table());

    site.herald.cut("to-router");
    wait::until("Herald's hold timer", || match herald.peer("router")?["last_error"].as_str() {
        Some(text) if text.to_lowercase().contains("hold timer expired") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    wait::until_equal("the routes gone", &Table::new(), || bird.table());
    site.herald.heal();
    let back = wait::until_equal("the routes back", &table, || bird.table());
    println!("cable back: routes back after {} ms", back.as_millis());
}

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
