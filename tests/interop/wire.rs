//! Everything that Herald sends, as Wireshark's dissector reads it.

use crate::harness::bird::{self, Bird};
use crate::harness::capture::{Capture, Captured};
use crate::harness::gobgp::GoBgp;
use crate::harness::herald::Herald;
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// A session with every message in it: announced with every attribute, changed, withdrawn, announced again, ended.
fn session(site: &Site, neighbour: &Neighbour, router: &dyn Router) -> Captured {
    let capture = Capture::start(&site.herald, "to-router");
    let mut server = site.server(0);
    let attributes = r#"communities = ["65000:100", "no-export", "65000:1:2"]
med = 50
local_pref = 200
as_path_prepend = 2"#;
    let mut herald = Herald::start(&site.herald, &site::config(neighbour, attributes));
    let prefixes = |table: Table| table.into_keys().collect::<Vec<_>>();
    let vips = site::VIPS.map(str::to_owned).to_vec();
    wait::until_equal("the routes", &vips, || router.table().map(prefixes));
    herald.reload_good(&site::config(neighbour, &attributes.replace("50", "70")));
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

fn judge(captured: &Captured, neighbour: &Neighbour) {
    let source = match neighbour.address.is_ipv4() {
        true => format!("ip.src == {}", neighbour.address),
        false => format!("ipv6.src == {}", neighbour.address),
    };
    let kind = |kind: u8| captured.fields(&format!("{source} && bgp.type == {kind}"), &["frame.number"]).len();
    // OPEN, UPDATE, NOTIFICATION, KEEPALIVE: all were sent and read, so silence about them means something.
    assert_eq!((kind(1), kind(3)), (1, 1), "one OPEN, one NOTIFICATION");
    assert!(kind(2) >= 4 && kind(4) >= 1, "{} UPDATE, {} KEEPALIVE", kind(2), kind(4));
    assert_eq!(captured.complaints(), Vec::<String>::new(), "Wireshark complains");
    let malformed = captured.fields(&format!("{source} && _ws.malformed"), &["frame.number"]);
    assert_eq!(malformed, Vec::<String>::new(), "malformed frames");

    // Cease/Administrative Shutdown with a text (RFC 9003).
    let fields = ["bgp.notify.major_error", "bgp.notify.minor_error_cease", "bgp.notify.communication"];
    let end = captured.fields(&format!("{source} && bgp.type == 3"), &fields);
    let parts: Vec<&str> = end[0].split('\t').collect();
    assert_eq!(parts[..2], ["6", "2"], "{end:?}");
    assert!(!parts[2].is_empty(), "no text: {end:?}");

    // Nothing of IPv6 has an unspecified next hop.
    let next_hops =
        captured.fields(&format!("{source} && bgp.type == 2"), &["bgp.update.path_attribute.mp_reach_nlri.next_hop"]);
    assert!(next_hops.iter().any(|line| line.contains("fd00:99:1::2")), "{next_hops:?}");
}

#[test]
fn external_to_bird_over_ipv4_is_clean() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    judge(&session(&site, &neighbour, &bird), &neighbour);
}

#[test]
fn internal_to_gobgp_over_ipv6_is_clean() {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65001, 65001);
    let gobgp = GoBgp::start(&site.router, "10.99.1.1", &neighbour);
    judge(&session(&site, &neighbour, &gobgp), &neighbour);
}
