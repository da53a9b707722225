//! `herald speak` with routers, in each of the cases in its help: a change and a withdrawal while the session stays.

use std::fs::File;
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::harness::bird::{self, Bird};
use crate::harness::lab::Namespace;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Route, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const ROUTES: [&str; 4] = ["--announce", "192.0.2.1/32", "--announce", "2001:db8::1/128"];

/// `herald speak` in a namespace, with its standard input.
struct Speak {
    child: Child,
    commands: ChildStdin,
    // Holds the lab until the process has ended.
    _namespace: Namespace,
}

impl Speak {
    fn start(namespace: &Namespace, arguments: &[&str]) -> Speak {
        let log = File::create(namespace.lab().dir().join("speak.log")).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace.name(), "setpriv", "--pdeathsig", "KILL"]);
        command.args([env!("CARGO_BIN_EXE_herald"), "speak"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        let commands = child.stdin.take().unwrap();
        Speak { child, commands, _namespace: namespace.clone() }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.commands, "{line}").unwrap();
    }

    fn quit(mut self) {
        self.say("quit tested");
        let status = wait::until("the end of herald speak", || self.child.try_wait().unwrap().ok_or(String::new())).0;
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Speak {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Who we are and who the router is.
fn arguments<'a>(peer: &'a str, router_id: &'a str, case: &[&'a str], routes: &[&'a str]) -> Vec<&'a str> {
    let who = ["--local-as", "65001", "--peer-as", "65000", "--router-id", router_id, "--connect-retry", "500ms", peer];
    [&who[..], case, routes].concat()
}

/// What an external router holds of a route without attributes of its own.
fn route(next_hop: &str) -> Route {
    Route {
        next_hop: next_hop.to_owned(),
        as_path: vec![65001],
        origin: "igp".to_owned(),
        med: None,
        local_pref: Some(100),
        communities: Vec::new(),
        large_communities: Vec::new(),
        extended_communities: Vec::new(),
    }
}

fn table(routes: &[(&str, Route)]) -> Table {
    routes.iter().map(|(prefix, route)| ((*prefix).to_owned(), route.clone())).collect()
}

/// The router gets these routes; a change of the first one's MED; its withdrawal; and nothing is left at the end. All
/// that on one session.
fn play(site: &Site, router: &dyn Router, arguments: &[&str], routes: &[(&str, Route)]) {
    let mut speak = Speak::start(&site.herald, arguments);
    let mut expected = table(routes);
    expected.values_mut().for_each(|route| route.local_pref = router.shown_local_pref(None));
    wait::until_equal("the routes", &expected, || router.table());
    let session = site::established(router);
    let (first, _) = routes[0];
    speak.say(&format!("announce {first} med 20"));
    expected.get_mut(first).unwrap().med = Some(20);
    wait::until_equal("the other MED", &expected, || router.table());
    speak.say("set med 30");
    expected.values_mut().filter(|route| route.med.is_none()).for_each(|route| route.med = Some(30));
    wait::until_equal("the MED of the peer on all others", &expected, || router.table());
    speak.say(&format!("withdraw {first}"));
    expected.remove(first);
    wait::until_equal("the withdrawal", &expected, || router.table());
    assert_eq!(router.session().as_ref(), Ok(&session), "the session is the same");
    speak.quit();
    wait::until_equal("nothing", &Table::new(), || router.table());
    site::wait_for_notification(router, 6, 2);
    assert_eq!(router.complaints(), Vec::<String>::new());
}

fn site_with_bird(ipv6: bool, families: &[&'static str]) -> (Site, Bird) {
    let site = Site::new();
    let session = bird::session(&site::neighbour(ipv6, 65000, 65001), "", families);
    let bird = Bird::start(&site.router, "10.99.1.1", &session);
    (site, bird)
}

/// The session over link-local addresses.
fn link_local_site(families: &[&'static str]) -> (Site, Bird) {
    let site = Site::new();
    site.herald.add_address("fe80::2/64", "to-router");
    site.router.add_address("fe80::1/64", "to-herald");
    let mut neighbour = site::neighbour(true, 65000, 65001);
    neighbour.local_address = "fe80::1".parse().unwrap();
    neighbour.address = "fe80::2".parse().unwrap();
    let session = bird::session(&neighbour, "interface \"to-herald\";", families);
    let bird = Bird::start(&site.router, "10.99.1.1", &session);
    (site, bird)
}

/// The zone, the address that BIRD expects us at, and both next hops of IPv6.
const PEER: &str = "fe80::1%to-router";
const PAIR: [&str; 4] = ["--source", "fe80::2", "--next-hop-ipv6", "fd00:99:1::2,fe80::2"];

#[test]
fn ipv4_over_ipv4() {
    let (site, bird) = site_with_bird(false, &["ipv4"]);
    let arguments = arguments("10.99.1.1", "10.99.1.2", &["--families", "ipv4"], &ROUTES[..2]);
    play(&site, &bird, &arguments, &[("192.0.2.1/32", route("10.99.1.2"))]);
}

fn both_families_over_ipv4(kind: Kind) {
    let site = Site::new();
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&site::neighbour(false, 65000, 65001)));
    let arguments = arguments("10.99.1.1", "10.99.1.2", &["--next-hop-ipv6", "fd00:99:1::2"], &ROUTES);
    let routes = [("192.0.2.1/32", route("10.99.1.2")), ("2001:db8::1/128", route("fd00:99:1::2"))];
    play(&site, &*router, &arguments, &routes);
}

with_routers!(both_families, both_families_over_ipv4);

#[test]
fn ipv6_over_ipv6_link_local() {
    let (site, bird) = link_local_site(&["ipv6"]);
    let case = [&PAIR[..], &["--families", "ipv6"]].concat();
    let arguments = arguments(PEER, "10.99.1.2", &case, &ROUTES[2..]);
    play(&site, &bird, &arguments, &[("2001:db8::1/128", route("fd00:99:1::2"))]);
}

#[test]
fn both_families_over_ipv6_with_the_router_id_as_next_hop() {
    let (site, bird) = link_local_site(&["ipv4", "ipv6"]);
    let case = [&PAIR[..], &["--next-hop-ipv4", "router-id"]].concat();
    let arguments = arguments(PEER, "10.99.1.2", &case, &ROUTES);
    let routes = [("192.0.2.1/32", route("10.99.1.2")), ("2001:db8::1/128", route("fd00:99:1::2"))];
    play(&site, &bird, &arguments, &routes);
}

#[test]
fn both_families_over_ipv6_with_a_given_next_hop() {
    let (site, bird) = link_local_site(&["ipv4", "ipv6"]);
    let case = [&PAIR[..], &["--next-hop-ipv4", "10.99.1.2"]].concat();
    let arguments = arguments(PEER, "10.99.99.99", &case, &ROUTES);
    let routes = [("192.0.2.1/32", route("10.99.1.2")), ("2001:db8::1/128", route("fd00:99:1::2"))];
    play(&site, &bird, &arguments, &routes);
}

/// To a BIRD on the same machine, in the same AS, which tells the network with next hops of its own.
#[test]
fn a_local_bird() {
    let site = Site::new();
    let upstream = Neighbour { asn: 65001, ..site::neighbour(false, 65000, 65001) };
    let router = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&upstream));
    let local = Bird::start(&site.herald, "10.99.1.2", LOCAL);
    let mut speak = Speak::start(
        &site.herald,
        &[
            &["--local-as", "65001", "--peer-as", "internal", "--router-id", "127.0.0.1", "127.0.0.1"],
            &["--connect-retry", "500ms", "--next-hop-ipv6", "::1", "--local-pref", "123"][..],
            &ROUTES,
        ]
        .concat(),
    );
    let internal = |next_hop| Route { as_path: Vec::new(), local_pref: Some(123), ..route(next_hop) };
    let inside = table(&[("192.0.2.1/32", internal("127.0.0.1")), ("2001:db8::1/128", internal("::1"))]);
    wait::until_equal("the routes inside", &inside, || {
        let mut table = local.table()?;
        // Those of its interfaces.
        table.retain(|prefix, _| inside.contains_key(prefix));
        Ok(table)
    });
    let mut outside = table(&[("192.0.2.1/32", route("10.99.1.2")), ("2001:db8::1/128", route("fd00:99:1::2"))]);
    wait::until_equal("the routes upstream", &outside, || router.table());
    speak.say("withdraw 2001:db8::1");
    outside.remove("2001:db8::1/128");
    wait::until_equal("the withdrawal upstream", &outside, || router.table());
    speak.quit();
    wait::until_equal("nothing upstream", &Table::new(), || router.table());
}

const LOCAL: &str = r#"
protocol direct { ipv4; ipv6; }

protocol bgp dut {
  local 127.0.0.1 as 65001;
  neighbor 127.0.0.1 as 65001;
  multihop;
  passive;
  error wait time 1, 2;
  ipv4 { import all; export none; gateway recursive; };
  ipv6 { import all; export none; gateway recursive; };
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

/// Ten thousand prefixes by one option, in the router's table.
#[test]
fn as_many_as_wanted() {
    let (site, bird) = site_with_bird(false, &["ipv4"]);
    let arguments = arguments("10.99.1.1", "10.99.1.2", &["--families", "ipv4", "--count", "10000"], &[]);
    let speak = Speak::start(&site.herald, &arguments);
    let count = || bird.counter("ipv4", "Routes:");
    wait::until_equal("all of them", &10_000, count);
    assert!(bird.ask("show route 198.18.39.15/32").unwrap().contains("198.18.39.15/32"));
    speak.quit();
    wait::until_equal("none of them", &Table::new(), || bird.table());
}
