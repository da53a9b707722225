//! Routers that connect to Herald: who may, how it is protected, and one session when both sides connect.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::harness::bird::{self, Bird};
use crate::harness::capture::Capture;
use crate::harness::frr::Frr;
use crate::harness::gobgp::GoBgp;
use crate::harness::herald::Herald;
use crate::harness::lab::Namespace;
use crate::harness::plan::Plan;
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const BOTH: [&str; 2] = ["ipv4", "ipv6"];
const SECRET: &str = "correct horse";
const OTHER: &str = "battery staple";

/// A configuration, and everybody may connect to both families' port 179.
fn listening(config: &str) -> String {
    config.replace("hold_time = \"9s\"\n", "hold_time = \"9s\"\nlisten = [\"0.0.0.0:179\", \"[::]:179\"]\n")
}

fn config(neighbour: &Neighbour, options: &str) -> String {
    listening(&site::config(neighbour, options))
}

fn wait_for_routes(neighbour: &Neighbour, router: &dyn Router) {
    let table = site::plain_table(neighbour, router, &site::VIPS);
    wait::until_equal("the routes", &table, || router.table());
}

/// TCP connections of BGP in this namespace that are up.
fn connections(namespace: &Namespace) -> Vec<String> {
    let text = namespace.run("ss", &["-Htn", "state", "established", "( sport = :179 or dport = :179 )"]);
    text.lines().map(str::to_owned).collect()
}

/// A router that connects gets the routes, and gets them again after it was killed.
fn comes_up(site: &Site, neighbour: &Neighbour, router: &mut dyn Router, config: &str) {
    let _server = site.server(0);
    let mut herald = Herald::start(&site.herald, config);
    wait_for_routes(neighbour, router);
    assert_eq!(connections(&site.herald).len(), 1);
    let peer = herald.peer("router").unwrap();
    assert_eq!((&peer["state"], &peer["established_count"]), (&json!("established"), &json!(1)));

    router.kill();
    wait::until("Herald to notice", || match &herald.peer("router")?["state"] {
        state if state == "established" => Err(state.to_string()),
        _ => Ok(()),
    });
    router.start();
    wait_for_routes(neighbour, router);
    assert_eq!(connections(&site.herald).len(), 1);
    herald.terminate();
    assert_eq!(herald.wait().code(), Some(0));
    herald.assert_nothing_left();
    assert_eq!(router.complaints(), Vec::<String>::new());
}

#[test]
fn bird_connects_over_ipv4() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut bird = Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, "", &BOTH));
    comes_up(&site, &neighbour, &mut bird, &config(&neighbour, "mode = \"passive\""));
}

#[test]
fn bird_connects_over_ipv6() {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let mut bird = Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, "", &BOTH));
    comes_up(&site, &neighbour, &mut bird, &config(&neighbour, "mode = \"passive\""));
}

#[test]
fn gobgp_connects() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65001, 65001);
    let mut gobgp = GoBgp::start_plan(&site.router, "10.99.1.1", &Plan::new(&neighbour).dials());
    comes_up(&site, &neighbour, &mut gobgp, &config(&neighbour, "mode = \"passive\""));
}

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
fn both_connect(site: &Site, neighbour: &Neighbour, router: &mut dyn Router) {
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(neighbour, "mode = \"both\""));
    for _ in 0..4 {
        wait_for_routes(neighbour, router);
        assert_eq!(connections(&site.herald).len(), 1);
        let session = site::established(router);
        wait::stays("the session", Duration::from_secs(2), &session, || router.session());
        router.kill();
        router.start();
    }
    wait_for_routes(neighbour, router);
    assert_eq!(herald.peer("router").unwrap()["state"], "established");
}

#[test]
fn both_connect_with_bird() {
    for router_id in ["10.99.1.1", "10.99.1.3"] {
        let site = Site::new();
        let neighbour = site::neighbour(false, 65000, 65001);
        let mut bird = Bird::start(&site.router, router_id, &bird::dialling(&neighbour, "", &BOTH));
        both_connect(&site, &neighbour, &mut bird);
    }
}

#[test]
fn frr_connects() {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let mut frr = Frr::start(&site.router, "10.99.1.1", &Plan::new(&neighbour).dials());
    comes_up(&site, &neighbour, &mut frr, &config(&neighbour, "mode = \"passive\""));
}

#[test]
fn both_connect_with_frr() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut frr = Frr::start(&site.router, "10.99.1.3", &Plan::new(&neighbour).dials());
    both_connect(&site, &neighbour, &mut frr);
}

#[test]
fn both_connect_with_gobgp() {
    for router_id in ["10.99.1.1", "10.99.1.3"] {
        let site = Site::new();
        let neighbour = site::neighbour(true, 65000, 65001);
        let mut gobgp = GoBgp::start_plan(&site.router, router_id, &Plan::new(&neighbour).dials());
        both_connect(&site, &neighbour, &mut gobgp);
    }
}

/// The machine is gone without a word and comes back: no FIN, no reset, and a hold time that nobody wants to wait for.
#[test]
fn a_router_that_was_reset_does_not_wait_for_the_hold_time() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut bird = Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, "", &BOTH));
    let _server = site.server(0);
    let config = config(&neighbour, "mode = \"passive\"").replace("hold_time = \"9s\"", "hold_time = \"240s\"");
    let herald = Herald::start(&site.herald, &config);
    wait_for_routes(&neighbour, &bird);
    // More than a moment ago, or it would be taken for two connections at once.
    let session = site::established(&bird);
    wait::stays("the session", Duration::from_millis(1500), &session, || bird.session());
    // A kernel says goodbye for a killed process, but not for itself.
    let chain = "chain output { type filter hook output priority 0; tcp flags & fin == fin drop; };";
    site.router.run("nft", &[&format!("table inet quiet {{ {chain} }};")]);
    bird.kill();
    Router::start(&mut bird);
    wait_for_routes(&neighbour, &bird);
    assert_eq!(connections(&site.herald).len(), 1);
    assert_eq!(herald.peer("router").unwrap()["established_count"], 2);
}

#[test]
fn a_stranger_is_closed_and_told_of_once() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    site.router.add_address("10.99.1.66/24", "to-herald");
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, "", &BOTH));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(&neighbour, "mode = \"passive\""));
    wait_for_routes(&neighbour, &bird);
    let session = site::established(&bird);
    let knock = "for n in $(seq 300); do timeout 5 bash -c 'exec 3<>/dev/tcp/10.99.1.2/179; cat <&3' 2>/dev/null; done";
    // From another address of the same machine.
    site.router.ip(&["route", "replace", "10.99.1.2/32", "dev", "to-herald", "src", "10.99.1.66"]);
    site.router.run("bash", &["-c", knock]);
    let log = herald.log();
    let told = log.matches("connection from 10.99.1.66 refused: no peer has this address").count();
    assert_eq!(told, 1, "{log}");
    assert_eq!(bird.session(), Ok(session));
}

/// The password file, with this in it.
fn password(site: &Site, secret: &str) -> String {
    let path = site.herald.dir("secrets").join("router");
    fs::write(&path, format!("{secret}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("mode = \"passive\"\npassword_file = \"{}\"", path.display())
}

/// For so long there is no session, whoever tries.
fn stays_down(herald: &Herald, router: &dyn Router) {
    wait::stays("no session", Duration::from_secs(4), &json!("active"), || {
        let peer = herald.peer("router")?;
        assert_eq!(peer["reason"], "waiting for the router to connect");
        Ok(peer["state"].clone())
    });
    assert!(router.session().is_err());
}

#[test]
fn a_password_holds_for_those_who_connect() {
    for ipv6 in [false, true] {
        let site = Site::new();
        let neighbour = site::neighbour(ipv6, 65000, 65001);
        let with = |secret: &str| bird::dialling(&neighbour, &format!("password \"{secret}\";"), &BOTH);
        let without = bird::dialling(&neighbour, "", &BOTH);
        let bird = Bird::start(&site.router, "10.99.1.1", &with(SECRET));
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
        wait_for_routes(&neighbour, &bird);
        let session = site::established(&second);

        herald.reload_good(&config(&password(&site, OTHER)));
        stays_down(&herald, &bird);
        bird.configure(&with(OTHER));
        wait_for_routes(&neighbour, &bird);

        bird.configure(&without);
        wait::until("the end of the session", || bird.session().map_or(Ok(()), |_| Err("it is up".to_owned())));
        stays_down(&herald, &bird);
        herald.reload_good(&config("mode = \"passive\""));
        wait_for_routes(&neighbour, &bird);

        bird.configure(&with(SECRET));
        wait::until("the end of the session", || bird.session().map_or(Ok(()), |_| Err("it is up".to_owned())));
        stays_down(&herald, &bird);
        assert_eq!(second.session(), Ok(session));
        assert!(!herald.log().contains(SECRET) && !herald.log().contains(OTHER));
    }
}

#[test]
fn ttl_security_with_a_router_that_connects() {
    for ipv6 in [false, true] {
        let site = Site::new();
        let neighbour = site::neighbour(ipv6, 65000, 65001);
        let options = "ttl security on;";
        let bird = Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, options, &BOTH));
        let capture = Capture::start(&site.herald, "to-router");
        let _server = site.server(0);
        let herald = Herald::start(&site.herald, &config(&neighbour, "mode = \"passive\"\nttl_security = 1"));
        wait_for_routes(&neighbour, &bird);
        let (filter, field) = match ipv6 {
            false => ("ip.src == 10.99.1.2 && tcp.flags.reset == 0", "ip.ttl"),
            true => ("ipv6.src == fd00:99:1::2 && tcp.flags.reset == 0", "ipv6.hlim"),
        };
        let mut ttls = capture.finish().fields(filter, &[field]);
        ttls.sort();
        ttls.dedup();
        assert_eq!(ttls, ["255"]);

        // A router that sends with 64, or for all that is known is far away.
        bird.configure(&bird::dialling(&neighbour, "multihop 64;", &BOTH).replace("  direct;\n", ""));
        wait::until("the end of the session", || bird.session().map_or(Ok(()), |_| Err("it is up".to_owned())));
        stays_down(&herald, &bird);
    }
}

/// An external router without TTL security gets a TTL of 1, but for the handshake.
#[test]
fn the_usual_ttl_with_a_router_that_connects() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, "", &BOTH));
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let _herald = Herald::start(&site.herald, &config(&neighbour, "mode = \"passive\""));
    wait_for_routes(&neighbour, &bird);
    let captured = capture.finish();
    let mut ttls = captured.fields("ip.src == 10.99.1.2 && bgp.type == 2", &["ip.ttl", "ip.dsfield.dscp"]);
    ttls.dedup();
    assert_eq!(ttls, ["1\t48"]);
    let answers = captured.fields("ip.src == 10.99.1.2 && tcp.flags.syn == 1", &["ip.ttl", "ip.dsfield.dscp"]);
    assert!(answers.iter().all(|answer| answer == "255\t48"), "{answers:?}");
}

/// A range for two neighbours at a time.
fn range(prefix: &str, options: &str) -> String {
    let range = format!(
        "[[bgp.peer]]\nname = \"edge\"\naddress = \"{prefix}\"\nmode = \"passive\"\npeer_as = \"external\"\nlimit = 2\n\
         families = [\"ipv4\"]\n{options}\n"
    );
    config(&site::neighbour(false, 65000, 65001), &range)
}

#[test]
fn a_range_takes_its_neighbours_up_to_its_limit() {
    let site = Site::new();
    let _server = site.server(0);
    let direct = site::neighbour(false, 65000, 65001);
    let mut routers = Vec::new();
    for number in 1..4 {
        let (there, here) = (format!("10.97.{number}.1"), format!("10.97.{number}.2"));
        let namespace = site.lab().namespace(&format!("r{number}"));
        site.herald.link(&[&format!("{here}/24")], &namespace, &[&format!("{there}/24")]);
        let neighbour = Neighbour {
            local_address: there.parse().unwrap(),
            local_as: 65000 + number * 10,
            address: here.parse().unwrap(),
            asn: 65001,
        };
        routers.push((namespace, neighbour, there, here));
    }
    let herald = Herald::start(&site.herald, &range("10.97.0.0/16", ""));
    let start = |index: usize| {
        let (namespace, neighbour, there, _) = &routers[index];
        Bird::start(namespace, there, &bird::dialling(neighbour, "", &["ipv4"]))
    };
    let expected = |index: usize, bird: &Bird, med: Option<u32>| {
        let mut table = site::plain_table(&direct, bird, &["192.0.2.1/32"]);
        for route in table.values_mut() {
            (route.next_hop, route.med) = (routers[index].3.clone(), med);
        }
        table
    };
    let names = || -> Result<Vec<String>, String> {
        let status = herald.status()?;
        let peers = status["peers"].as_array().cloned().unwrap_or_default();
        let names = peers.iter().filter_map(|peer| peer["name"].as_str().map(str::to_owned));
        Ok(names.filter(|name| name.contains('@')).collect())
    };
    let (mut first, second) = (start(0), start(1));
    for (index, bird) in [&first, &second].into_iter().enumerate() {
        wait::until_equal("the routes", &expected(index, bird, None), || bird.table());
    }
    assert_eq!(names(), Ok(vec!["edge@10.97.1.1".to_owned(), "edge@10.97.2.1".to_owned()]));

    // The third has to wait until one goes.
    let third = start(2);
    wait::until("the refusal", || {
        let log = herald.log();
        let told = log.contains("connection from 10.97.3.1 refused: peer edge has 2 neighbours, which is its limit");
        if told { Ok(()) } else { Err(log) }
    });
    assert_eq!(third.table(), Ok(Table::new()));
    let session = site::established(&second);
    first.stop();
    wait::until_equal("the routes", &expected(2, &third, None), || third.table());
    wait::until_equal("the members", &vec!["edge@10.97.2.1".to_owned(), "edge@10.97.3.1".to_owned()], names);

    // What may change live does, and a member that the range leaves out has to go.
    herald.reload_good(&range("10.97.0.0/16", "med = 7"));
    wait::until_equal("the routes", &expected(1, &second, Some(7)), || second.table());
    assert_eq!(second.session(), Ok(session.clone()));
    herald.reload_good(&range("10.97.2.0/24", "med = 7"));
    wait::until_equal("the members", &vec!["edge@10.97.2.1".to_owned()], names);
    wait::until_equal("no routes", &Table::new(), || third.table());
    assert!(third.log().contains("Received: Peer de-configured"), "{}", third.log());
    assert_eq!(second.session(), Ok(session));
}

#[test]
fn listen_changes_by_reload_and_what_is_taken_is_an_error() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::dialling(&neighbour, "", &BOTH));
    let _server = site.server(0);
    let good = config(&neighbour, "mode = \"passive\"");
    let herald = Herald::start(&site.herald, &good);
    wait_for_routes(&neighbour, &bird);
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
