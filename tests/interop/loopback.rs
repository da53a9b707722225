//! The loopback recipe: Herald speaks iBGP to a BIRD on its own host, and that BIRD speaks to the network, with all
//! that it can do there (BFD, MD5, filters). The network sees the host's BIRD as the next hop.

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, CHECK, Site};
use crate::harness::wait;

/// The local BIRD. It takes host routes from Herald and nothing else, and passes them on with itself as next hop.
const LOCAL: &str = r#"
protocol direct { ipv4; ipv6; }

filter vips4 { if net ~ [ 0.0.0.0/0{32,32} ] then accept; reject; }
filter vips6 { if net ~ [ ::/0{128,128} ] then accept; reject; }

protocol bgp dut {
  local 127.0.0.1 port PORT as 65001;
  neighbor 127.0.0.1 as 65001;
  multihop;
  passive;
  error wait time 1, 2;
  ipv4 { import filter vips4; export none; gateway recursive; };
  ipv6 { import filter vips6; export none; gateway recursive; };
}

protocol bgp upstream {
  local 10.99.1.2 as 65001;
  neighbor 10.99.1.1 as 65000;
  direct;
  connect delay time 1;
  error wait time 1, 2;
  ipv4 { import none; export filter { if proto = "dut" then accept; reject; }; next hop self; };
  ipv6 { import none; export filter { if proto = "dut" then accept; reject; }; next hop address fd00:99:1::2; };
}
"#;

fn config(port: u16) -> String {
    let bgp = format!(
        r#"shutdown_drain = "0s"

[bgp]
local_as  = 65001
router_id = "10.99.1.3"

[[bgp.peer]]
name          = "bird"
address       = "127.0.0.1"
port          = {port}
peer_as       = "internal"
families      = ["ipv4", "ipv6"]
next_hop_ipv6 = "fd00:99:1::2"
connect_retry = "500ms"
communities   = ["65001:7"]
"#
    );
    bgp + CHECK + &site::service("web", r#""192.0.2.1", "2001:db8::1""#)
}

fn recipe(port: u16) {
    let site = Site::new();
    let upstream = Neighbour {
        local_address: site::ROUTER[0].parse().unwrap(),
        local_as: 65000,
        address: site::HERALD[0].parse().unwrap(),
        asn: 65001,
    };
    let router = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&upstream));
    let mut local = Bird::start(&site.herald, "10.99.1.2", &LOCAL.replace("PORT", &port.to_string()));
    let mut server = site.server(0);
    let mut herald = Herald::start(&site.herald, &config(port));

    let mut table = site::plain_table(&upstream, &router, &site::VIPS);
    for route in table.values_mut() {
        route.communities = vec!["65001:7".to_owned()];
    }
    wait::until_equal("the routes upstream", &table, || router.table());
    let inside = local.table().unwrap();
    assert_eq!(inside["192.0.2.1/32"].as_path, Vec::<u32>::new());

    server.kill();
    let gone = wait::until_equal("the withdrawal upstream", &Table::new(), || router.table());
    println!("server dead: withdrawn upstream after {} ms", gone.as_millis());
    server.restart();
    wait::until_equal("the routes upstream again", &table, || router.table());

    local.kill();
    Router::start(&mut local);
    wait::until_equal("the routes upstream after the local BIRD crashed", &table, || router.table());

    let session = router.session().unwrap();
    herald.terminate();
    wait::until_equal("nothing upstream after the stop", &Table::new(), || router.table());
    assert_eq!(herald.wait().code(), Some(0));
    assert_eq!(router.session(), Ok(session), "the upstream session is BIRD's own");
}

#[test]
fn a_local_bird_on_a_high_port() {
    recipe(1790);
}

#[test]
fn a_local_bird_on_port_179() {
    recipe(179);
}
