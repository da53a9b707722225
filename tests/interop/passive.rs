//! Routers that connect to Herald: who may, how it is protected, and one session when both sides connect.

use std::time::Duration;

use serde_json::json;

use crate::harness::bird::{self, Bird};
use crate::harness::capture::Capture;
use crate::harness::herald::Herald;
use crate::harness::lab::Namespace;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Router};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const BOTH: [&str; 2] = ["ipv4", "ipv6"];
/// FRR takes none with a space.
const SECRET: &str = "correct-horse";
const OTHER: &str = "battery-staple";

/// A configuration, and everybody may connect to both families' port 179.
pub(crate) fn listening(config: &str) -> String {
    config.replace("hold_time = \"9s\"\n", "hold_time = \"9s\"\nlisten = [\"0.0.0.0:179\", \"[::]:179\"]\n")
}

fn config(neighbour: &Neighbour, options: &str) -> String {
    listening(&site::config(neighbour, options))
}

/// TCP connections of BGP in this namespace that are up.
fn connections(namespace: &Namespace) -> Vec<String> {
    let text = namespace.run("ss", &["-Htn", "state", "established", "( sport = :179 or dport = :179 )"]);
    text.lines().map(str::to_owned).collect()
}

/// Waits until there is one connection, and sees that it stays so: that which has lost may be there for a moment yet.
#[track_caller]
fn has_one_connection(site: &Site) {
    let count = || Ok(connections(&site.herald).len());
    wait::until_equal("one connection", &1, count);
    wait::stays("one connection", Duration::from_millis(300), &1, count);
}

/// A router that connects gets the routes, and gets them again after it was killed.
fn comes_up(site: &Site, neighbour: &Neighbour, router: &mut dyn Router, config: &str) {
    let _server = site.server(0);
    let mut herald = Herald::start(&site.herald, config);
    site::wait_for_routes(neighbour, router);
    has_one_connection(site);
    let peer = herald.peer("router").unwrap();
    assert_eq!((&peer["state"], &peer["established_count"]), (&json!("established"), &json!(1)));

    router.kill();
    wait::until("Herald to notice", || match &herald.peer("router")?["state"] {
        state if state == "established" => Err(state.to_string()),
        _ => Ok(()),
    });
    router.start();
    site::wait_for_routes(neighbour, router);
    has_one_connection(site);
    herald.terminate();
    assert_eq!(herald.wait().code(), Some(0));
    herald.assert_nothing_left();
    assert_eq!(router.complaints(), Vec::<String>::new());
}

fn connects(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, if ipv6 { 65001 } else { 65000 }, 65001);
    let mut router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).dials());
    comes_up(&site, &neighbour, &mut *router, &config(&neighbour, "mode = \"passive\""));
}

with_routers!(over_ipv4, |kind| connects(kind, false));
with_routers!(over_ipv6, |kind| connects(kind, true));

#[test]
fn bird_connects_over_link_local_addresses() {
    let site = Site::new();
    site.herald.add_address("fe80::2/64", "to-router");
    site.router.add_address("fe80::1/64", "to-herald");
    let mut neighbour = site::neighbour(true, 65000, 65001);
    neighbour.local_address = "fe80::1".parse().unwrap();
    neighbour.address = "fe80::2".parse().unwrap();
    let mut bird =
        Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, "interface \"to-herald\";", &BOTH));
    let config = config(&neighbour, "mode = \"passive\"").replace("\"fe80::1\"", "\"fe80::1%to-router\"");
    let config = config.replace("next_hop_ipv6 = \"self\"", "next_hop_ipv6 = \"fd00:99:1::2\"");
    comes_up(&site, &neighbour, &mut bird, &config);
}

/// Both connect, again and again: in the end there is one connection.
fn both_connect(kind: Kind, ipv6: bool, router_id: &str) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, 65000, 65001);
    let mut router = kind.start(&site.router, router_id, &Plan::new(&neighbour).dials());
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(&neighbour, "mode = \"both\""));
    for _ in 0..4 {
        site::wait_for_routes(&neighbour, &*router);
        has_one_connection(&site);
        let session = site::established(&*router);
        wait::stays("the session", Duration::from_secs(2), &session, || router.session());
        router.kill();
        router.start();
    }
    site::wait_for_routes(&neighbour, &*router);
    assert_eq!(herald.peer("router").unwrap()["state"], "established");
}

// RFC 4271 §6.8: Herald's identifier is 10.99.1.2.
with_routers!(both_connect_with_a_lower_id, |kind| both_connect(kind, false, "10.99.1.1"));
with_routers!(both_connect_with_a_higher_id, |kind| both_connect(kind, true, "10.99.1.3"));

/// The machine is gone without a word and comes back: no FIN, no reset, and a hold time that nobody wants to wait for.
fn a_router_that_was_reset_does_not_wait_for_the_hold_time(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).dials());
    let _server = site.server(0);
    let config = config(&neighbour, "mode = \"passive\"").replace("hold_time = \"9s\"", "hold_time = \"240s\"");
    let herald = Herald::start(&site.herald, &config);
    site::wait_for_routes(&neighbour, &*router);
    // More than a moment ago, or it would be taken for two connections at once.
    let session = site::established(&*router);
    wait::stays("the session", Duration::from_millis(1500), &session, || router.session());
    // A kernel says goodbye for a killed process, but not for itself.
    let chain = "chain output { type filter hook output priority 0; tcp flags & fin == fin drop; };";
    site.router.run("nft", &[&format!("table inet quiet {{ {chain} }};")]);
    router.kill();
    router.start();
    site::wait_for_routes(&neighbour, &*router);
    has_one_connection(&site);
    assert_eq!(herald.peer("router").unwrap()["established_count"], 2);
}

with_routers!(reset, a_router_that_was_reset_does_not_wait_for_the_hold_time);

#[test]
fn a_stranger_is_closed_and_told_of_once() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    site.router.add_address("10.99.1.66/24", "to-herald");
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, "", &BOTH));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(&neighbour, "mode = \"passive\""));
    site::wait_for_routes(&neighbour, &bird);
    let session = site::established(&bird);
    let knock = "for n in $(seq 50); do timeout 5 bash -c 'exec 3<>/dev/tcp/10.99.1.2/179; cat <&3' 2>/dev/null; done";
    // From another address of the same machine.
    site.router.ip(&["route", "replace", "10.99.1.2/32", "dev", "to-herald", "src", "10.99.1.66"]);
    site.router.run("bash", &["-c", knock]);
    site::wait_for_log(&herald, "connection from 10.99.1.66 refused");
    let log = herald.log();
    let told = log.matches("connection from 10.99.1.66 refused: no peer has this address").count();
    assert_eq!(told, 1, "{log}");
    assert_eq!(bird.session(), Ok(session));
}

/// The password file, with this in it.
fn password(site: &Site, secret: &str) -> String {
    format!("mode = \"passive\"\npassword_file = \"{}\"", site::secret(site, "router", secret).display())
}

/// The router tries and tries, and there is no session.
fn stays_down(site: &Site, herald: &Herald, router: &dyn Router) {
    site.wait_for_drops(|| {
        let peer = herald.peer("router").unwrap();
        assert_eq!((&peer["state"], &peer["reason"]), (&json!("active"), &json!("waiting for the router to connect")));
        assert!(router.session().is_err());
    });
}

fn no_session(router: &dyn Router) {
    wait::until("the end of the session", || router.session().map_or(Ok(()), |_| Err("it is up".to_owned())));
}

/// A password of this peer alone, which comes, changes and goes.
fn a_password_holds(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, 65000, 65001);
    let start = |secret: Option<&str>| {
        let plan = Plan { password: secret.map(str::to_owned), ..Plan::new(&neighbour).dials() };
        kind.start(&site.router, "10.99.1.1", &plan)
    };
    let mut router = start(Some(SECRET));
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);

    // Another router, whose session has to stay whatever happens to this one's password.
    let bystander = site.lab().namespace("bystander");
    site.herald.link(&["10.99.5.2/24"], &bystander, &["10.99.5.1/24"]);
    let far = Neighbour {
        local_address: "10.99.5.1".parse().unwrap(),
        local_as: 65000,
        address: "10.99.5.2".parse().unwrap(),
        asn: 65001,
    };
    let second = Bird::start(&bystander, "10.99.5.1", &bird::dialling(&far, "", &["ipv4"]));
    let peer = "[[bgp.peer]]\nname = \"second\"\naddress = \"10.99.5.1\"\npeer_as = 65000\nmode = \"passive\"\n\
                families = [\"ipv4\"]\n";
    let config = |options: &str| config(&neighbour, &format!("{options}\n{peer}"));

    let herald = Herald::start(&site.herald, &config(&password(&site, SECRET)));
    site::wait_for_routes(&neighbour, &*router);
    let session = site::established(&second);
    let unsigned = capture.finish().fields("tcp.flags.reset == 0 && !tcp.options.md5", &["frame.number"]);
    assert_eq!(unsigned, Vec::<String>::new(), "unsigned segments");

    // Ours is another, and the same again.
    herald.reload_good(&config(&password(&site, OTHER)));
    no_session(&*router);
    stays_down(&site, &herald, &*router);
    herald.reload_good(&config(&password(&site, SECRET)));
    site::wait_for_routes(&neighbour, &*router);

    // Theirs is none, and then ours.
    router.kill();
    let router = start(None);
    stays_down(&site, &herald, &*router);
    herald.reload_good(&config("mode = \"passive\""));
    site::wait_for_routes(&neighbour, &*router);
    assert_eq!(second.session(), Ok(session));
    assert!(!herald.log().contains(SECRET) && !herald.log().contains(OTHER));
}

with_routers!(password_over_ipv4, |kind| a_password_holds(kind, false));
with_routers!(password_over_ipv6, |kind| a_password_holds(kind, true));

fn ttl_security(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, 65000, 65001);
    let mut router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).dials().ttl_security(1));
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(&neighbour, "mode = \"passive\"\nttl_security = 1"));
    site::wait_for_routes(&neighbour, &*router);
    let (filter, field) = match ipv6 {
        false => ("ip.src == 10.99.1.2 && tcp.flags.reset == 0", "ip.ttl"),
        true => ("ipv6.src == fd00:99:1::2 && tcp.flags.reset == 0", "ipv6.hlim"),
    };
    let mut ttls = capture.finish().fields(filter, &[field]);
    ttls.sort();
    ttls.dedup();
    assert_eq!(ttls, ["255"]);

    // A router that sends with 64, or for all that is known is far away.
    router.kill();
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).dials().multihop(64));
    stays_down(&site, &herald, &*router);
}

with_routers!(ttl_security_over_ipv4, |kind| ttl_security(kind, false));
with_routers!(ttl_security_over_ipv6, |kind| ttl_security(kind, true));

/// An external router without TTL security gets a TTL of 1, but for the handshake.
fn the_usual_ttl(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).dials());
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let _herald = Herald::start(&site.herald, &config(&neighbour, "mode = \"passive\""));
    site::wait_for_routes(&neighbour, &*router);
    let captured = capture.finish();
    let mut ttls = captured.fields("ip.src == 10.99.1.2 && bgp.type == 2", &["ip.ttl", "ip.dsfield.dscp"]);
    ttls.dedup();
    assert_eq!(ttls, ["1\t48"]);
    let answers = captured.fields("ip.src == 10.99.1.2 && tcp.flags.syn == 1", &["ip.ttl", "ip.dsfield.dscp"]);
    assert!(answers.iter().all(|answer| answer == "255\t48"), "{answers:?}");
}

with_routers!(usual_ttl, the_usual_ttl);

#[test]
fn listen_changes_by_reload_and_what_is_taken_is_an_error() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, "", &BOTH));
    let _server = site.server(0);
    let good = config(&neighbour, "mode = \"passive\"");
    let herald = Herald::start(&site.herald, &good);
    site::wait_for_routes(&neighbour, &bird);
    let session = site::established(&bird);
    // Another Herald on the same addresses.
    let failure = herald.failure_of_another(&good);
    assert!(failure.contains("cannot listen on 0.0.0.0:179: address already in use"), "{failure}");

    herald.reload_good(&good.replace("\"[::]:179\"", "\"10.98.0.1:1179\""));
    let listen = || herald.status().map(|status| status["listen"].clone());
    let ok = |address: &str| json!({"address": address, "ok": true, "error": null});
    assert_eq!(listen().unwrap(), json!([ok("0.0.0.0:179"), ok("10.98.0.1:1179")]));
    assert_eq!(bird.session(), Ok(session));
}

/// The TCP port of BGP is for those who may bind low ports; everything else here needs no privilege.
fn a_daemon_without_privileges(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).dials().password(SECRET).ttl_security(1));
    let _server = site.server(0);
    let options = format!("{}\nttl_security = 1", password(&site, SECRET));
    let mut herald = Herald::new(&site.herald, &config(&neighbour, &options));
    let failure = herald.failure_with(&["--bounding-set", "-all"]);
    let why = "cannot listen on 0.0.0.0:179: permission denied: for port 179 the daemon needs CAP_NET_BIND_SERVICE";
    assert!(failure.contains(why), "{failure}");
    herald.run_with(&["--bounding-set", "-all,+net_bind_service"]);
    site::wait_for_routes(&neighbour, &*router);
}

with_routers!(without_privileges, a_daemon_without_privileges);
