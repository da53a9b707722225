//! Everything that Herald sends, as Wireshark's dissector reads it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::harness::capture::{Capture, Captured};
use crate::harness::herald::Herald;
use crate::harness::nginx::Nginx;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// A session with every message in it: announced with every attribute, changed, withdrawn, announced again, ended.
fn session(site: &Site, neighbour: &Neighbour, router: &dyn Router) -> Captured {
    let capture = Capture::start(&site.herald, "to-router");
    let mut server = site.server(0);
    let config = |med: u32| {
        let peer = "communities = [\"65000:100\", \"no-export\", \"65000:1:2\", \"rt:65000:100\", \"soo:4200000001:7\"]\nas_path_prepend = 2";
        let vip = |address: &str| format!("\n[[vip]]\naddress = \"{address}\"\nmed = {med}\nlocal_pref = 200\n");
        site::config(neighbour, peer) + &vip("192.0.2.1") + &vip("2001:db8::1")
    };
    let mut herald = Herald::start(&site.herald, &config(50));
    let prefixes = |table: Table| table.into_keys().collect::<Vec<_>>();
    let vips = site::VIPS.map(str::to_owned).to_vec();
    wait::until_equal("the routes", &vips, || router.table().map(prefixes));
    herald.reload_good(&config(70));
    wait::until("the changed MED", || match router.table()?.values().all(|route| route.med == Some(70)) {
        true => Ok(()),
        false => Err("not yet".to_owned()),
    });
    server.kill();
    wait::until_equal("the withdrawal", &Table::new(), || router.table());
    server.restart();
    wait::until_equal("the routes", &vips, || router.table().map(prefixes));
    herald.terminate();
    herald.wait();
    capture.finish()
}

/// Of every frame with BGP in it: who sent it, its messages' types, and what else is looked at.
const FIELDS: [&str; 10] = [
    "ip.src",
    "ipv6.src",
    "bgp.type",
    "bgp.update.path_attribute.mp_reach_nlri.next_hop",
    "bgp.notify.major_error",
    "bgp.notify.minor_error_cease",
    "bgp.notify.communication",
    "_ws.malformed",
    "bgp.update.withdrawn_routes.length",
    "bgp.update.path_attribute.type_code",
];

fn judge(captured: &Captured, neighbour: &Neighbour) {
    let (source, router) = (neighbour.address.to_string(), neighbour.local_address.to_string());
    let frames = captured.fields("bgp", &FIELDS);
    let sent = frames.iter().map(|line| line.split('\t').collect::<Vec<_>>());
    let sent: Vec<Vec<&str>> = sent.filter(|frame| frame[0] == source || frame[1] == source).collect();
    assert!(sent.len() < frames.len(), "{router} said nothing");

    // OPEN, UPDATE, NOTIFICATION, KEEPALIVE: all were sent and read, so silence about them means something.
    let kinds: Vec<&str> = sent.iter().flat_map(|frame| frame[2].split(',')).collect();
    let count = |kind: &str| kinds.iter().filter(|it| **it == kind).count();
    assert_eq!((count("1"), count("3")), (1, 1), "one OPEN, one NOTIFICATION: {kinds:?}");
    assert!(count("2") >= 4 && count("4") >= 1, "UPDATEs and KEEPALIVEs: {kinds:?}");
    assert_eq!(captured.complaints(), Vec::<String>::new(), "Wireshark complains");
    assert!(sent.iter().all(|frame| frame[7].is_empty()), "malformed: {sent:?}");

    // Cease/Administrative Shutdown with a text (RFC 9003).
    let end = sent.iter().find(|frame| !frame[4].is_empty()).unwrap();
    assert_eq!(end[4..6], ["6", "2"], "{end:?}");
    assert!(!end[6].is_empty(), "no text: {end:?}");

    // Withdrawn when the server died, and before the end of the session; LOCAL_PREF to internal peers only.
    let values = |field: usize| sent.iter().flat_map(move |frame| frame[field].split(',')).filter(|it| !it.is_empty());
    let code = |code: &str| values(9).filter(|it| *it == code).count();
    assert_eq!(values(8).filter(|length| *length != "0").count(), 2, "IPv4 withdrawn twice: {sent:?}");
    assert_eq!(code("15"), 3, "IPv6 withdrawn twice, and one End-of-RIB: {sent:?}");
    assert_eq!(code("5") > 0, neighbour.is_internal(), "LOCAL_PREF: {sent:?}");

    // Every IPv6 route has the one next hop, in 16 octets.
    let next_hops: Vec<&str> = sent.iter().map(|frame| frame[3]).filter(|hop| !hop.is_empty()).collect();
    assert!(next_hops.len() >= 2, "{sent:?}");
    for next_hop in next_hops.iter().flat_map(|frame| frame.split(',')) {
        assert_eq!(next_hop.trim_start_matches("10"), "fd000099000100000000000000000002");
    }
}

fn is_clean(kind: Kind, internal: bool, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, if internal { 65001 } else { 65000 }, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    judge(&session(&site, &neighbour, &*router), &neighbour);
}

with_routers!(external_over_ipv4_is_clean, |kind| is_clean(kind, false, false));
with_routers!(internal_over_ipv6_is_clean, |kind| is_clean(kind, true, true));

/// What every test relies on: a message that is wrong fails the test that sent it, whatever it is about. Here an UPDATE
/// whose ORIGIN is longer than the message.
#[test]
#[should_panic(expected = "Wireshark has something against what was sent")]
fn a_malformed_message_fails_its_test() {
    let site = Site::new();
    let _listener = Nginx::start(&site.router, "router", &["10.99.1.1:179"]);
    let update = format!("{}\\x00\\x1b\\x02\\x00\\x00\\x00\\x04\\x40\\x01\\xff\\x00", "\\xff".repeat(16));
    let send = format!("exec 3<>/dev/tcp/10.99.1.1/179 && printf '{update}' >&3");
    site.herald.run("bash", &["-c", &send]);
    site.judge.wait_for_bgp();
}

/// Messages filled to the limit of 4,096 octets, announced and withdrawn: a router must find every prefix in them.
fn many_routes(site: &Site, neighbour: &Neighbour, router: &dyn Router, each: u16) {
    let vips = (0..each).flat_map(|bytes| {
        let ipv4 = Ipv4Addr::from(0xc612_0000 | u32::from(bytes)); // 198.18.0.0/15
        let ipv6 = Ipv6Addr::new(0x2001, 0xdb8, bytes, 0, 0, 0, bytes, 1);
        [format!("{ipv4}/32"), format!("{ipv6}/128")]
    });
    let vips: Vec<String> = vips.collect();
    let list: Vec<String> = vips.iter().map(|vip| format!("\"{vip}\"")).collect();
    let config = site::bgp(neighbour, "") + site::CHECK + &site::service("many", &list.join(", "));
    let capture = Capture::start(&site.herald, "to-router");
    let mut server = site.server(0);
    let _herald = Herald::start(&site.herald, &config);

    let prefixes: Vec<&str> = vips.iter().map(String::as_str).collect();
    let table = site::plain_table(neighbour, router, &prefixes);
    let there = wait::until_equal("every route", &table, || router.table());
    server.kill();
    let gone = wait::until_equal("every route withdrawn", &Table::new(), || router.table());
    println!("{} routes: there after {} ms, gone after {} ms", 2 * each, there.as_millis(), gone.as_millis());
    let captured = capture.finish();
    assert_eq!(captured.complaints(), Vec::<String>::new(), "Wireshark complains");
    // 5 octets an IPv4 prefix, 17 an IPv6 prefix, at least 4,000 of them in a full message; there and back, and
    // End-of-RIB. Half as many again, because they need not be handed over in one piece.
    let full = |octets: u16| (usize::from(each) * usize::from(octets)).div_ceil(4000);
    let types = captured.fields("bgp && tcp.dstport == 179", &["bgp.type"]);
    let updates = types.iter().flat_map(|line| line.split(',')).filter(|kind| *kind == "2").count();
    assert!(updates <= 3 * (full(5) + full(17) + 1), "{updates} UPDATEs");
}

fn thousands_of_routes(kind: Kind) {
    let site = Site::new();
    // GoBGP's JSON repeats all prefixes of a message with each of them, so not as many.
    let (ipv6, local_as, each) = match kind {
        Kind::Bird => (false, 65000, 2000),
        Kind::Frr => (true, 65000, 2000),
        Kind::GoBgp => (true, 65001, 400),
    };
    let neighbour = site::neighbour(ipv6, local_as, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    many_routes(&site, &neighbour, &*router, each);
}

with_routers!(full_messages, thousands_of_routes);
