//! AS numbers of four octets, and routers that know only two (RFC 6793).

use crate::harness::bird::{self, Bird};
use crate::harness::capture::Capture;
use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::Router;
use crate::harness::site::{self, Site};
use crate::harness::wait;

const BIG: u32 = 4_200_000_001;

/// Herald's alone over IPv4, both over IPv6.
fn of_four_octets(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, if ipv6 { BIG + 1 } else { 65000 }, BIG);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let _server = site.server(0);
    let _herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::wait_for_routes(&neighbour, &*router);
    assert_eq!(table["192.0.2.1/32"].as_path, [BIG]);
}

with_routers!(herald_has_four_octets, |kind| of_four_octets(kind, false));
with_routers!(both_have_four_octets, |kind| of_four_octets(kind, true));

#[test]
fn a_two_octet_router_gets_as_trans_and_the_true_path_beside_it() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, BIG);
    // Such a router is configured with AS_TRANS for a neighbour of a big number, or with any external AS.
    let session = bird::session(&neighbour, "enable as4 off;", &["ipv4", "ipv6"]);
    let session = session.replace(&format!("as {BIG};"), "external;");
    let bird = Bird::start(&site.router, "10.99.1.1", &session);
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let prepend = "as_path_prepend = 2";
    let _herald = Herald::start(&site.herald, &site::config(&neighbour, prepend));

    // BIRD merges AS4_PATH into AS_PATH (RFC 6793 §4.2.3) and shows what comes out.
    let mut table = site::plain_table(&neighbour, &bird, &site::VIPS);
    for route in table.values_mut() {
        route.as_path = vec![BIG; 3];
    }
    wait::until_equal("the merged path", &table, || bird.table());

    let sent = capture.finish().fields(
        "bgp.type == 2 && ip.src == 10.99.1.2 && bgp.update.path_attribute.as_path_segment",
        &["bgp.update.path_attribute.as_path_segment.as2", "bgp.update.path_attribute.as_path_segment.as4"],
    );
    assert!(!sent.is_empty(), "no UPDATE captured");
    for line in sent {
        let (two, four) = line.split_once('\t').unwrap();
        assert!(two.split(',').all(|asn| asn == "23456"), "AS_PATH: {line}");
        assert!(four.split(',').all(|asn| asn == BIG.to_string()), "AS4_PATH: {line}");
    }
}

/// FRR without capabilities reads two octets, but has heard of our four, and so takes no notice of AS4_PATH.
#[test]
fn frr_of_two_octets() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, BIG);
    let plan = Plan::new(&neighbour).families(&["ipv4"]).with("dont-capability-negotiate");
    let frr = Kind::Frr.start(&site.router, "10.99.1.1", &plan);
    let _server = site.server(0);
    let _herald = Herald::start(&site.herald, &site::config(&neighbour, "as_path_prepend = 2"));
    let mut table = site::plain_table(&neighbour, &*frr, &["192.0.2.1/32"]);
    table.values_mut().for_each(|route| route.as_path = vec![23456; 3]);
    wait::until_equal("the route", &table, || frr.table());
}

fn a_router_without_capabilities_gets_ipv4_only(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let option = if kind == Kind::Frr { "dont-capability-negotiate" } else { "capabilities off;" };
    let plan = Plan::new(&neighbour).families(&["ipv4"]).with(option);
    let router = kind.start(&site.router, "10.99.1.1", &plan);
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &*router, &["192.0.2.1/32"]);
    wait::until_equal("the IPv4 route", &table, || router.table());
    let told = || Ok(herald.peer("router")?["advertised"].clone());
    wait::until_equal("status to say so", &serde_json::json!({"ipv4": 1, "ipv6": 0}), told);
}

/// Two routers of one group, each of which knows us by another AS.
#[test]
fn each_router_sees_the_as_that_it_is_told() {
    let site = Site::new();
    let second = site.lab().namespace("second");
    site.herald.link(&["10.99.2.2/24"], &second, &["10.99.2.1/24", "fd00:99:1::1/64"]);
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut other = site::neighbour(false, 65000, 65009);
    other.local_address = "10.99.2.1".parse().unwrap();
    other.address = "10.99.2.2".parse().unwrap();
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let other_bird = Bird::start(&second, "10.99.2.1", &bird::receiver(&other));
    let _server = site.server(0);
    let group = "[bgp.group.tor]\npeer_as = 65000\nnext_hop_ipv6 = \"fd00:99:1::2\"\nconnect_retry = \"500ms\"\n\
                 communities = [\"65000:100\"]\n";
    let peers = "[[bgp.peer]]\nname = \"router\"\naddress = \"10.99.1.1\"\ngroup = \"tor\"\n\
                 [[bgp.peer]]\nname = \"second\"\naddress = \"10.99.2.1\"\ngroup = \"tor\"\nlocal_as = 65009\n";
    let config = site::config(&neighbour, "");
    let (before, rest) = config.split_once("[[bgp.peer]]").unwrap();
    let after = &rest[rest.find("[checks.web]").unwrap()..];
    let _herald = Herald::start(&site.herald, &format!("{before}{group}{peers}{after}"));
    for (neighbour, bird, next_hop) in [(&neighbour, &bird, "10.99.1.2"), (&other, &other_bird, "10.99.2.2")] {
        let mut table = site::plain_table(neighbour, bird, &site::VIPS);
        for (prefix, route) in &mut table {
            route.communities = vec!["65000:100".to_owned()];
            if !prefix.contains(':') {
                route.next_hop = next_hop.to_owned();
            }
        }
        assert_eq!(table["192.0.2.1/32"].as_path, [neighbour.asn]);
        wait::until_equal("the routes", &table, || bird.table());
    }
}
with_routers!(without_capabilities, a_router_without_capabilities_gets_ipv4_only, bird frr);
