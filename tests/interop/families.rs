//! Which families a router gets, and when IPv6 cannot be announced at all.

use std::time::Duration;

use serde_json::json;

use crate::harness::bird::{self, Bird};
use crate::harness::capture::Capture;
use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

fn a_router_that_takes_ipv4_only_is_sent_no_ipv6(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).families(&["ipv4"]));
    let capture = Capture::start(&site.herald, "to-router");
    let server = site.server(0);
    let mut herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &*router, &["192.0.2.1/32"]);
    wait::until_equal("the IPv4 route", &table, || router.table());
    wait::stays("IPv4 alone", Duration::from_millis(300), &table, || router.table());
    // It is told of where trouble is looked for.
    assert_eq!(herald.peer("router").unwrap()["not_offered"], json!(["ipv6"]));
    let (_, text) = herald.says(&["status", "--trouble", "router"]);
    assert!(text.contains("the router did not offer ipv6"), "{text}");
    let (_, text) = herald.says(&["why", "2001:db8::1"]);
    assert!(text.contains("router does not have the route: the router did not offer ipv6"), "{text}");
    drop(server);
    wait::until_equal("the withdrawal", &Default::default(), || router.table());
    herald.terminate();
    herald.wait();

    let captured = capture.finish();
    let updates = captured.fields("bgp.type == 2 && ip.src == 10.99.1.2", &["frame.number"]);
    assert!(!updates.is_empty(), "no UPDATE captured");
    // MP_REACH_NLRI and MP_UNREACH_NLRI.
    let filter = "ip.src == 10.99.1.2 && bgp.update.path_attribute.type_code in {14, 15}";
    assert_eq!(captured.fields(filter, &["frame.number"]), Vec::<String>::new(), "IPv6 on the wire");
}

with_routers!(ipv4_only, a_router_that_takes_ipv4_only_is_sent_no_ipv6);

#[test]
fn ipv6_without_a_next_hop_is_not_announced_and_that_is_said() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let config = site::config(&neighbour, "").replace("next_hop_ipv6 = \"fd00:99:1::2\"\n", "");
    let herald = Herald::new(&site.herald, &config);

    let (code, text) = herald.check_config();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("next_hop_ipv6") && text.contains("herald.toml:"), "check-config says nothing:\n{text}");

    let mut herald = herald;
    herald.run();
    let table = site::plain_table(&neighbour, &bird, &["192.0.2.1/32"]);
    wait::until_equal("the IPv4 route", &table, || bird.table());
    wait::stays("IPv4 alone", Duration::from_millis(300), &table, || bird.table());

    let peer = herald.peer("router").unwrap();
    assert_eq!(peer["advertised"], json!({"ipv4": 1, "ipv6": 0}));
    assert_eq!(peer["without_next_hop"], json!(["ipv6"]), "{peer}");
    wait::until("the log", || match herald.log() {
        log if log.lines().any(|line| line.contains("next hop") && line.contains("router")) => Ok(()),
        log => Err(log),
    });

    // Configured by a reload, it is announced.
    herald.reload_good(&site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("both families", &table, || bird.table());
}

#[test]
fn an_export_filter_keeps_a_vip_from_a_router() {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let filtered = site::config(&neighbour, r#"export = { accept = ["2001:db8::/32"] }"#);
    let herald = Herald::start(&site.herald, &filtered);
    let ipv6 = site::plain_table(&neighbour, &bird, &["2001:db8::1/128"]);
    wait::until_equal("the IPv6 route", &ipv6, || bird.table());
    wait::stays("the IPv6 route alone", Duration::from_millis(300), &ipv6, || bird.table());
    let session = bird.session().unwrap();

    herald.reload_good(&site::config(&neighbour, ""));
    let both = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("both routes without the filter", &both, || bird.table());
    herald.reload_good(&filtered);
    wait::until_equal("the IPv6 route alone again", &ipv6, || bird.table());
    assert_eq!(bird.session(), Ok(session), "a filter must not disturb the session");
}

fn prefixes_of_any_length_and_filters_by_length(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let _server = site.server(0);
    let vips = r#""198.51.100.0/22", "198.51.101.0/24", "198.51.101.7", "2001:db8::/32", "2001:db8:0:100::/56", "2001:db8::1""#;
    let config = |peer: &str| site::bgp(&neighbour, peer) + site::CHECK + &site::service("web", vips);
    let herald = Herald::start(&site.herald, &config(""));
    let table = |prefixes: &[&str]| site::plain_table(&neighbour, &*router, prefixes);
    let all = [
        "198.51.100.0/22",
        "198.51.101.0/24",
        "198.51.101.7/32",
        "2001:db8::/32",
        "2001:db8:0:100::/56",
        "2001:db8::1/128",
    ];
    wait::until_equal("every length", &table(&all), || router.table());
    let session = router.session().unwrap();

    for (export, kept) in [
        (
            r#"{ accept = [{ prefix = "198.51.100.0/22", ge = 24, le = 32 }, { prefix = "2001:db8::/32", ge = 56, le = 56 }] }"#,
            vec![all[1], all[2], all[4]],
        ),
        (
            r#"[{ accept = "198.51.101.7" }, { reject = "198.51.100.0/22", ge = 24 }, { accept = "0.0.0.0/0" }]"#,
            vec![all[0], all[2]],
        ),
        (
            r#"[{ reject = "198.51.100.0/22", le = 24 }, { reject = "2001:db8::/32", ge = 64 }]"#,
            vec![all[2], all[3], all[4]],
        ),
    ] {
        herald.reload_good(&config(&format!("export = {export}")));
        wait::until_equal(export, &table(&kept), || router.table());
        wait::stays(export, Duration::from_millis(300), &table(&kept), || router.table());
    }
    assert_eq!(router.session(), Ok(session), "a filter must not disturb the session");
}

with_routers!(any_length, prefixes_of_any_length_and_filters_by_length);

/// RFC 2545 §3: the global address, then the link-local one.
fn a_link_local_session_with_a_pair_of_next_hops(kind: Kind) {
    let site = Site::new();
    site.herald.add_address("fe80::2/64", "to-router");
    site.router.add_address("fe80::1/64", "to-herald");
    let mut neighbour = site::neighbour(true, 65000, 65001);
    neighbour.local_address = "fe80::1".parse().unwrap();
    neighbour.address = "fe80::2".parse().unwrap();
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).interface("to-herald"));
    let _server = site.server(0);
    let config = site::config(&neighbour, "");
    let config = config.replace("\"fe80::1\"", "\"fe80::1%to-router\"\nsource = \"fe80::2\"");
    let pair = config.replace("next_hop_ipv6 = \"self\"", "next_hop_ipv6 = [\"fd00:99:1::2\", \"fe80::2\"]");
    let herald = Herald::start(&site.herald, &pair);
    site::wait_for_routes(&neighbour, &*router);
    assert_eq!(router.next_hops("2001:db8::1/128"), Ok(pair_shown_by(kind)));

    // Without a global one it is the address of the session.
    herald.reload_good(&config);
    let session = [if kind == Kind::Bird { "::" } else { "fe80::2" }, "fe80::2"];
    let shown = if kind == Kind::GoBgp { 1 } else { 2 };
    let expected: Vec<String> = session[..shown].iter().map(|address| (*address).to_owned()).collect();
    wait::until_equal("the address of the session", &expected, || router.next_hops("2001:db8::1/128"));
}

with_routers!(link_local, a_link_local_session_with_a_pair_of_next_hops);

/// The pair `["fd00:99:1::2", "fe80::2"]`. GoBGP takes it, and shows the first.
fn pair_shown_by(kind: Kind) -> Vec<String> {
    let shown = if kind == Kind::GoBgp { 1 } else { 2 };
    ["fd00:99:1::2", "fe80::2"][..shown].iter().map(|address| (*address).to_owned()).collect()
}

/// The same pair over global addresses: of IPv6, and of IPv4.
fn a_pair_of_next_hops(kind: Kind, ipv6: bool) {
    let site = Site::new();
    site.herald.add_address("fe80::2/64", "to-router");
    site.router.add_address("fe80::1/64", "to-herald");
    let neighbour = site::neighbour(ipv6, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let config = site::config(&neighbour, "").replace("next_hop_ipv6 = \"self\"\n", "");
    let config = config.replace("next_hop_ipv6 = \"fd00:99:1::2\"\n", "");
    let families = "families      = [\"ipv4\", \"ipv6\"]\n";
    let pair = format!("{families}next_hop_ipv6 = [\"fd00:99:1::2\", \"fe80::2\"]\n");
    let _herald = Herald::start(&site.herald, &config.replace(families, &pair));
    site::wait_for_routes(&neighbour, &*router);
    assert_eq!(router.next_hops("2001:db8::1/128"), Ok(pair_shown_by(kind)));
    let field = "bgp.update.path_attribute.mp_reach_nlri.next_hop";
    let sent = capture.finish().fields(field, &[field]);
    let pair = "fd000099000100000000000000000002fe800000000000000000000000000002";
    assert!(!sent.is_empty() && sent.iter().all(|hop| hop.ends_with(pair)), "{sent:?}");
}

with_routers!(pair_over_ipv4, |kind| a_pair_of_next_hops(kind, false));
with_routers!(pair_over_ipv6, |kind| a_pair_of_next_hops(kind, true));

/// Both families over IPv6, without any IPv4 address of ours in what the router gets (RFC 8950).
fn extended(neighbour: &Neighbour) -> String {
    let config = site::config(neighbour, "");
    config.replace("next_hop_ipv4 = \"10.99.1.2\"", "extended_next_hop = true")
}

/// Both routes with our IPv6 address as next hop.
fn extended_table(neighbour: &Neighbour, router: &dyn Router) -> Table {
    let mut table = site::plain_table(neighbour, router, &site::VIPS);
    table.values_mut().for_each(|route| route.next_hop = site::HERALD[1].to_owned());
    table
}

/// The routes come, and go again when the last server does.
fn assert_extended(site: &Site, neighbour: &Neighbour, router: &dyn Router) {
    let capture = Capture::start(&site.herald, "to-router");
    let server = site.server(0);
    let mut herald = Herald::start(&site.herald, &extended(neighbour));
    wait::until_equal("both routes", &extended_table(neighbour, router), || router.table());
    let peer = herald.peer("router").unwrap();
    assert_eq!((&peer["extended_next_hop"], &peer["without_next_hop"]), (&json!(true), &json!([])), "{peer}");
    drop(server);
    wait::until_equal("the withdrawals", &Table::new(), || router.table());
    herald.terminate();
    herald.wait();
    let captured = capture.finish();
    // MP_REACH_NLRI and MP_UNREACH_NLRI of IPv4, and nothing of it in the classic fields.
    for kind in [14, 15] {
        let attribute = if kind == 14 { "mp_reach_nlri" } else { "mp_unreach_nlri" };
        let filter = format!("ipv6.src == {} && bgp.update.path_attribute.{attribute}.afi == 1", site::HERALD[1]);
        assert!(!captured.fields(&filter, &["frame.number"]).is_empty(), "no attribute {kind} of IPv4");
    }
    let classic = format!("ipv6.src == {} && bgp.update.path_attribute.type_code == 3", site::HERALD[1]);
    assert_eq!(captured.fields(&classic, &["frame.number"]), Vec::<String>::new(), "NEXT_HOP on the wire");
}

fn ipv4_with_an_ipv6_next_hop(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).extended_next_hop());
    assert_extended(&site, &neighbour, &*router);
}

with_routers!(extended_next_hop, ipv4_with_an_ipv6_next_hop);

fn a_router_without_extended_next_hop_gets_no_ipv4_and_that_is_said(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &extended(&neighbour));
    let ipv6 = site::plain_table(&neighbour, &*router, &["2001:db8::1/128"]);
    wait::until_equal("the IPv6 route", &ipv6, || router.table());
    wait::stays("IPv6 alone", Duration::from_millis(300), &ipv6, || router.table());
    let peer = herald.peer("router").unwrap();
    assert_eq!((&peer["extended_next_hop"], &peer["without_next_hop"]), (&json!(false), &json!(["ipv4"])), "{peer}");
}

// GoBGP always has it.
with_routers!(without_extended_next_hop, a_router_without_extended_next_hop_gets_no_ipv4_and_that_is_said, bird frr);
