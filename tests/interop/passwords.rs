//! TCP-MD5 (RFC 2385): with the router's password there is a session, without there never is, and the operator can see
//! why.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::harness::bird::{self, Bird};
use crate::harness::capture::Capture;
use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const BOTH: [&str; 2] = ["ipv4", "ipv6"];
/// FRR takes none with a space.
const SECRET: &str = "correct-horse";
const OTHER: &str = "battery staple";

/// Herald's configuration with this password.
fn with_password(site: &Site, neighbour: &Neighbour, secret: &str) -> String {
    let file = site::secret(site, "router", secret);
    site::config(neighbour, &format!("password_file = \"{}\"", file.display()))
}

fn bird_session(neighbour: &Neighbour, secret: &str) -> String {
    bird::session(neighbour, &format!("password \"{secret}\";"), &BOTH)
}

/// A session with the router's password: the routes are there, signed on the wire, and the password is shown nowhere.
fn comes_up(site: &Site, neighbour: &Neighbour, router: &dyn Router, config: &str) {
    let capture = Capture::start(&site.herald, "to-router");
    let server = site.server(0);
    let mut herald = Herald::start(&site.herald, config);
    let table = site::plain_table(neighbour, router, &site::VIPS);
    wait::until_equal("the routes", &table, || router.table());
    drop(server);
    wait::until_equal("the withdrawal", &Table::new(), || router.table());
    let (_, checked) = herald.check_config();
    let shown = [herald.status().unwrap().to_string(), herald.log(), checked].concat();
    assert!(!shown.contains(SECRET), "the password is shown:\n{shown}");
    herald.terminate();
    assert_eq!(herald.wait().code(), Some(0));

    let captured = capture.finish();
    assert!(!captured.fields("tcp.flags.syn == 1 && tcp.options.md5", &["frame.number"]).is_empty());
    let unsigned = captured.fields("tcp.flags.reset == 0 && !tcp.options.md5", &["frame.number"]);
    assert_eq!(unsigned, Vec::<String>::new(), "unsigned segments");
}

fn signed(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, if ipv6 { 65001 } else { 65000 }, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).password(SECRET));
    comes_up(&site, &neighbour, &*router, &with_password(&site, &neighbour, SECRET));
}

with_routers!(over_ipv4, |kind| signed(kind, false));
with_routers!(over_ipv6, |kind| signed(kind, true));

#[test]
fn bird_over_link_local_addresses() {
    let site = Site::new();
    site.herald.add_address("fe80::2/64", "to-router");
    site.router.add_address("fe80::1/64", "to-herald");
    let mut neighbour = site::neighbour(true, 65000, 65001);
    neighbour.local_address = "fe80::1".parse().unwrap();
    neighbour.address = "fe80::2".parse().unwrap();
    let options = format!("interface \"to-herald\"; password \"{SECRET}\";");
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::session(&neighbour, &options, &BOTH));
    let config = with_password(&site, &neighbour, SECRET);
    let config = config.replace("\"fe80::1\"", "\"fe80::1%to-router\"\nsource = \"fe80::2\"");
    let config = config.replace("next_hop_ipv6 = \"self\"", "next_hop_ipv6 = \"fd00:99:1::2\"");
    comes_up(&site, &neighbour, &bird, &config);
}

/// Waits until the status gives this reason, while there is no session.
fn wait_for_reason(herald: &Herald, word: &str) {
    wait::until("the reason", || {
        let peer = herald.peer("router")?;
        assert_eq!(peer["established_count"], 0, "{peer}");
        let reason = peer["last_error"].as_str().unwrap_or_default();
        if reason.contains("no answer") && reason.contains(word) { Ok(()) } else { Err(peer.to_string()) }
    });
}

fn another_password_never_gives_a_session_and_a_reload_mends_it(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(kind == Kind::GoBgp, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).password(SECRET));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &with_password(&site, &neighbour, OTHER));
    wait_for_reason(&herald, "(TCP-MD5 is on: the router may have another password, or none)");
    site::wait_for_log(&herald, "another password");
    assert!(router.session().is_err());

    herald.reload_good(&with_password(&site, &neighbour, SECRET));
    site::wait_for_routes(&neighbour, &*router);
}

with_routers!(another_password, another_password_never_gives_a_session_and_a_reload_mends_it);

/// What Herald signs is not for a router without a password, and what it does not sign not for one with.
fn a_password_on_one_side_only(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(kind == Kind::Frr, 65000, 65001);
    let mut router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).password(SECRET));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    wait_for_reason(&herald, "wants TCP-MD5 and there is no password_file");
    assert!(router.session().is_err());
    drop(herald);

    router.stop();
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let herald = Herald::start(&site.herald, &with_password(&site, &neighbour, SECRET));
    wait_for_reason(&herald, "or none");
    assert!(router.session().is_err());
    herald.reload_good(&site::config(&neighbour, ""));
    site::wait_for_routes(&neighbour, &*router);
}

with_routers!(one_side_only, a_password_on_one_side_only, frr gobgp);

#[test]
fn a_password_on_one_side_only_never_gives_a_session() {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird_session(&neighbour, SECRET));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    wait_for_reason(&herald, "wants TCP-MD5 and there is no password_file");

    bird.configure(&bird::receiver(&neighbour));
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("the routes", &table, || bird.table());
    drop(herald);

    let herald = Herald::start(&site.herald, &with_password(&site, &neighbour, SECRET));
    wait_for_reason(&herald, "or none");
}

#[test]
fn a_password_changes_on_both_sides_by_reload() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird_session(&neighbour, SECRET));
    let _server = site.server(0);
    let config = with_password(&site, &neighbour, SECRET);
    let herald = Herald::start(&site.herald, &config);
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("the routes", &table, || bird.table());
    let session = bird.session().unwrap();

    // The same password, written anew.
    assert_eq!(with_password(&site, &neighbour, SECRET), config);
    herald.reload_good(&config);
    wait::stays("the session", Duration::from_secs(1), &session, || bird.session());

    // A file that others may read is refused, and what is in force stays.
    let file = site::secret(&site, "router", OTHER);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    herald.reload(&config);
    wait::until("the refusal", || {
        let log = herald.log();
        if log.contains("is open to others than its owner (mode 0644)") { Ok(()) } else { Err(log) }
    });
    assert_eq!(bird.session(), Ok(session));

    site::secret(&site, "router", OTHER);
    herald.reload_good(&config);
    wait::until("the end of the old session", || match bird.session() {
        Ok(_) => Err("it is still there".to_owned()),
        Err(_) => Ok(()),
    });
    bird.configure(&bird_session(&neighbour, OTHER));
    wait::until_equal("the routes", &table, || bird.table());
    site::wait_for_log(&herald, "peer router is reset, because of password_file");
    let log = herald.log();
    assert!(!log.contains(OTHER) && !log.contains(SECRET), "{log}");

    // And without.
    bird.configure(&bird::receiver(&neighbour));
    herald.reload_good(&site::config(&neighbour, ""));
    wait::until_equal("the routes", &table, || bird.table());
    wait::until("the log", || match herald.log() {
        log if log.matches("because of password_file").count() == 2 => Ok(()),
        log => Err(log),
    });
}
