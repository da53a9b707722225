//! What two routers must both know to use it: roles, extended messages, enhanced refresh, confederations; and a router
//! that refuses a session for what it does not know.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::harness::capture::{Capture, Captured};
use crate::harness::frr::Frr;
use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// What Herald's status says of its last failure.
fn last_error(herald: &Herald) -> Result<String, String> {
    Ok(herald.peer("router")?["last_error"].as_str().unwrap_or_default().to_owned())
}

/// A router that has this role; a strict one asks for ours.
fn with_role(kind: Kind, neighbour: &Neighbour, role: &str, strict: bool) -> Plan {
    let line = match (kind, strict) {
        (Kind::Bird, true) => format!("local role {}; require roles yes;", role.replace('-', "_")),
        (Kind::Bird, false) => format!("local role {};", role.replace('-', "_")),
        (_, true) => format!("local-role {role} strict-mode"),
        (_, false) => format!("local-role {role}"),
    };
    Plan::new(neighbour).with(&line)
}

fn roles_that_go_together_mark_what_goes_down(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let _server = site.server(0);
    let config = |ours: &str| site::config(&neighbour, &format!("role = \"{ours}\"\nrole_strict = true"));
    let herald = Herald::start(&site.herald, &config("provider"));
    for (theirs, ours, marked) in [
        ("customer", "provider", true),
        ("peer", "peer", true),
        ("rs-client", "rs", true),
        ("provider", "customer", false),
        ("rs-server", "rs-client", false),
    ] {
        herald.reload_good(&config(ours));
        let mut router = kind.start(&site.router, "10.99.1.1", &with_role(kind, &neighbour, theirs, true));
        site::wait_for_routes(&neighbour, &*router);
        let marks = if marked { vec!["65001".to_owned(); 2] } else { vec![] };
        assert_eq!(router.only_to_customer(), Ok(marks), "{ours}");
        let peer = herald.peer("router").unwrap();
        let capabilities = peer["capabilities"].as_array().unwrap();
        let theirs = theirs.replace("rs-server", "rs");
        assert!(capabilities.contains(&json!(format!("role {theirs}"))), "{peer}");
        assert_eq!(router.complaints(), Vec::<String>::new());
        router.stop();
    }
}

with_routers!(roles_together, roles_that_go_together_mark_what_goes_down, bird frr);

fn roles_that_do_not_go_together_are_no_session(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &with_role(kind, &neighbour, "customer", false));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, "role = \"customer\""));
    let why = "peer says role customer, which must be provider because ours is customer";
    // Whoever reads the other's OPEN first says so; both say it in the same numbers.
    wait::until("the refusal", || match last_error(&herald)? {
        error if error.contains("Role Mismatch") => Ok(()),
        error => Err(error),
    });
    wait::until("both to have been first once", || match herald.log() {
        log if log.contains(why) || log.contains("peer sent OPEN Message Error/Role Mismatch") => Ok(()),
        log => Err(log),
    });
    assert!(router.session().is_err());

    // With the other end of it they go together.
    herald.reload_good(&site::config(&neighbour, "role = \"provider\""));
    site::wait_for_routes(&neighbour, &*router);
}

with_routers!(roles_apart, roles_that_do_not_go_together_are_no_session, bird frr);

/// GoBGP has no roles, and what it knows nothing of it must bear.
fn a_strict_role_asks_for_the_other(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, "role = \"provider\"\nrole_strict = true"));
    let why = "peer does not say its role, which must be customer because ours is provider (role_strict) \
               (sent OPEN Message Error/Role Mismatch)";
    wait::until_equal("the refusal", &why.to_owned(), || last_error(&herald));
    let told = "bgp.notify.major_error == 2 && bgp.notify.minor_error_open == 11 && ip.src == 10.99.1.2";
    assert!(!capture.finish().fields(told, &["frame.number"]).is_empty());
    assert!(router.session().is_err());
    // Not strict, it is a session, and what goes down is marked all the same (RFC 9234 §4.2).
    herald.reload_good(&site::config(&neighbour, "role = \"provider\""));
    site::wait_for_routes(&neighbour, &*router);
    if kind == Kind::GoBgp {
        return;
    }
    assert_eq!(router.only_to_customer(), Ok(vec!["65001".to_owned(); 2]));
    // And the other way round: the router asks for ours.
    router.stop();
    herald.reload_good(&site::config(&neighbour, ""));
    let router = kind.start(&site.router, "10.99.1.1", &with_role(kind, &neighbour, "customer", true));
    let refused = "peer sent OPEN Message Error/Role Mismatch";
    wait::until("the refusal", || match last_error(&herald)? {
        error if error.starts_with(refused) => Ok(()),
        error => Err(error),
    });
    assert!(router.session().is_err());
}

with_routers!(strict_roles, a_strict_role_asks_for_the_other);

/// The length of the shortest message.
const KEEPALIVE: usize = 19;

/// With this line in the router's configuration and this of ours, and whether that makes them extended.
fn a_table_in_pieces(kind: Kind, line: Option<&str>, ours: bool, extended: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let mut plan = Plan::new(&neighbour);
    plan.lines.extend(line.map(str::to_owned));
    let router = kind.start(&site.router, "10.99.1.1", &plan);
    let capture = Capture::start(&site.herald, "to-router");
    let mut server = site.server(0);
    let vips: Vec<String> = (0..2000_u32).map(|n| format!("{}/32", Ipv4Addr::from(0xc612_0000 + n))).collect();
    let list: Vec<String> = vips.iter().map(|vip| format!("\"{vip}\"")).collect();
    let peer = site::bgp(&neighbour, &format!("extended_messages = {ours}"));
    let config = peer + site::CHECK + &site::service("many", &list.join(", "));
    let _herald = Herald::start(&site.herald, &config);
    let prefixes: Vec<&str> = vips.iter().map(String::as_str).collect();
    wait::until_equal("every route", &site::plain_table(&neighbour, &*router, &prefixes), || router.table());
    server.kill();
    wait::until_equal("every withdrawal", &Table::new(), || router.table());
    // The dissector does not know of them: of such a message it tells the length only.
    let lines = capture.finish().fields("bgp && ip.src == 10.99.1.2", &["bgp.length"]);
    let lengths = lines.iter().flat_map(|line| line.split(',')).map(|length| length.parse().unwrap());
    let lengths: Vec<usize> = lengths.filter(|length| *length > KEEPALIVE).collect();
    assert_eq!(lengths[1..].iter().any(|length| *length > 4096), extended, "{lengths:?}");
    assert!(lengths.len() <= if extended { 8 } else { 14 }, "{lengths:?}");
    // RFC 8654 §4: no OPEN is.
    assert!(lengths[0] < 4096, "{lengths:?}");
    assert_eq!(router.complaints(), Vec::<String>::new());
}

/// BIRD says that it can when it is told to, FRR always.
fn extended_messages_carry_a_table_in_few_pieces(kind: Kind) {
    let line = (kind == Kind::Bird).then_some("enable extended messages on;");
    a_table_in_pieces(kind, line, true, true);
}

/// BIRD says nothing of them by default, GoBGP never; to FRR it is we who say nothing.
fn one_side_alone_has_no_extended_messages(kind: Kind) {
    a_table_in_pieces(kind, None, kind != Kind::Frr, false);
}

with_routers!(extended_messages, extended_messages_carry_a_table_in_few_pieces, bird frr);
with_routers!(extended_messages_on_one_side, one_side_alone_has_no_extended_messages);

fn a_refresh_is_framed_and_flushes_nothing_that_is_there(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let _herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::wait_for_routes(&neighbour, &*router);
    router.refresh();
    // Each family: BoRR, the routes, EoRR (RFC 7313 §4); and the routes once before.
    let seen = |captured: &Captured| {
        let routes = ["bgp.nlri_prefix", "bgp.mp_reach_nlri_ipv6_prefix"];
        let fields = [&["bgp.route_refresh.afi", "bgp.route_refresh.subtype"], &routes[..]].concat();
        let lines = captured.fields("bgp && ip.src == 10.99.1.2", &fields);
        let (mut marks, mut routes) = (Vec::new(), [0, 0]);
        for line in lines {
            let values: Vec<Vec<&str>> = line.split('\t').map(|values| values.split(',').collect()).collect();
            let both = values[0].iter().zip(&values[1]).filter(|(afi, _)| !afi.is_empty());
            marks.extend(both.map(|(afi, of)| format!("{afi} {of}")));
            for (count, prefixes) in routes.iter_mut().zip(&values[2..]) {
                *count += prefixes.iter().filter(|prefix| !prefix.is_empty()).count();
            }
        }
        marks.sort();
        (marks, routes)
    };
    let expected = (["1 1", "1 2", "2 1", "2 2"].map(str::to_owned).to_vec(), [2, 2]);
    wait::until_equal("both frames", &expected, || Ok(seen(&capture.so_far())));
    wait::stays("the routes", Duration::from_millis(500), &table, || router.table());
    assert_eq!(seen(&capture.finish()), expected);
    assert_eq!(router.complaints(), Vec::<String>::new());
}

with_routers!(enhanced_refresh, a_refresh_is_framed_and_flushes_nothing_that_is_there, bird frr);

/// Herald in AS 65010 of confederation 65500.
fn in_a_confederation(neighbour: &Neighbour, options: &str) -> String {
    const WHOLE: &str = "local_as  = 65010\nconfederation = 65500\nconfederation_members = [65011]\n";
    let config = site::config(neighbour, options);
    let line = format!("local_as  = {}\n", neighbour.asn);
    assert!(config.contains(&line));
    config.replacen(&line, WHOLE, 1)
}

/// The router is AS 65011 of the same confederation.
fn a_confederation_is_many_within(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65011, 65010);
    let plan = Plan::new(&neighbour);
    let plan = match kind {
        Kind::Bird => plan.with("confederation 65500; confederation member yes;"),
        Kind::Frr => {
            plan.with_router("bgp confederation identifier 65500").with_router("bgp confederation peers 65010")
        }
        Kind::GoBgp => plan.with_router(
            "[global.confederation.config]\n  enabled = true\n  identifier = 65500\n  member-as-list = [65010]",
        ),
    };
    let router = kind.start(&site.router, "10.99.1.1", &plan);
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let config = in_a_confederation(&neighbour, "local_pref = 300\nmed = 7");
    let herald = Herald::start(&site.herald, &config);
    let mut table = site::plain_table(&neighbour, &*router, &site::VIPS);
    for route in table.values_mut() {
        (route.local_pref, route.med) = (Some(300), Some(7));
    }
    wait::until_equal("the routes", &table, || router.table());
    assert_eq!(herald.peer("router").unwrap()["local_as"], json!(65010));
    // In both families' messages: AS_CONFED_SEQUENCE (RFC 5065 §3).
    let of = ["bgp.update.path_attribute.as_path_segment.type", "bgp.update.path_attribute.as_path_segment.as4"];
    let lines = capture.finish().fields(&format!("{} && ip.src == 10.99.1.2", of[0]), &of);
    let expected = ["3\t65010", "3,3\t65010,65010"];
    assert!(!lines.is_empty() && lines.iter().all(|line| expected.contains(&line.as_str())), "{lines:?}");
    assert_eq!(router.complaints(), Vec::<String>::new());
}

with_routers!(within_a_confederation, a_confederation_is_many_within);

/// AS 64999 knows AS 65500 only.
fn a_confederation_is_one_to_others(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 64999, 65500);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &in_a_confederation(&neighbour, "as_path_prepend = 1"));
    let mut table = site::plain_table(&neighbour, &*router, &site::VIPS);
    table.values_mut().for_each(|route| route.as_path = vec![65500; 2]);
    wait::until_equal("the routes", &table, || router.table());
    assert_eq!(herald.peer("router").unwrap()["local_as"], json!(65500));
}

with_routers!(outside_of_a_confederation, a_confederation_is_one_to_others);

/// FRR that is told to be strict refuses what it does not know, and names it.
#[test]
fn frr_is_told_no_more_than_it_can_bear() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let plan = Plan {
        lines: vec!["strict-capability-match".to_owned(), "local-role provider".to_owned()],
        ..Plan::new(&neighbour)
    };
    let frr = Frr::start(&site.router, "10.99.1.1", &plan);
    let _server = site.server(0);
    let options = "role = \"customer\"\nadvertise_version = true\nadvertise_hostname = true\nextended_messages = true";
    let herald = Herald::start(&site.herald, &site::config(&neighbour, options));
    wait::until_equal("the routes", &site::plain_table(&neighbour, &frr, &site::VIPS), || frr.table());
    let peer = herald.peer("router").unwrap();
    assert_eq!(peer["left_out"], json!(["software-version"]), "{peer}");
    assert_eq!(peer["remote_hostname"], json!("frr"), "{peer}");
    site::wait_for_log(&herald, "peer router refuses what we can do: trying without software-version");
}

/// The next message: its type and body.
fn read_message(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 19];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - 19];
    stream.read_exact(&mut body).unwrap();
    (header[18], body)
}

fn write_message(stream: &mut TcpStream, kind: u8, body: &[u8]) {
    let length = u16::try_from(19 + body.len()).unwrap();
    let message = [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat();
    stream.write_all(&message).unwrap();
}

/// Ends with the test, however that ends.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A router that refuses one capability by name, and takes the session without.
#[test]
fn a_capability_that_is_refused_is_left_out() {
    const ROLE: [u8; 3] = [9, 1, 3];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let lab = crate::harness::lab::Lab::new();
    let dir = lab.dir().to_owned();
    let config = format!(
        "[daemon]\ncontrol_socket = \"{}\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.1\"\n[[bgp.peer]]\nname = \"router\"\n\
         address = \"127.0.0.1\"\nport = {port}\npeer_as = 65000\nrole = \"customer\"\nadvertise_version = true\n\
         advertise_hostname = true\nconnect_retry = \"500ms\"\n",
        dir.join("control.sock").display()
    );
    std::fs::write(dir.join("herald.toml"), config).unwrap();
    let log = std::fs::File::create(dir.join("herald.log")).unwrap();
    let mut daemon = std::process::Command::new(env!("CARGO_BIN_EXE_herald"));
    daemon.args(["run", "--config", dir.join("herald.toml").to_str().unwrap()]).stderr(log);
    let _daemon = Daemon(daemon.spawn().unwrap());
    let accept = || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    };
    let contains = |open: &[u8], part: &[u8]| open.windows(part.len()).any(|window| window == part);

    let mut stream = accept();
    let (kind, open) = read_message(&mut stream);
    let version = format!("Herald/{}", env!("CARGO_PKG_VERSION"));
    assert!(kind == 1 && contains(&open, &ROLE) && contains(&open, version.as_bytes()), "{open:?}");
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = name.trim().split('.').next().unwrap();
    assert!(contains(&open, host.as_bytes()), "{host} in {open:?}");
    write_message(&mut stream, 3, &[&[2, 7][..], &ROLE].concat());
    drop(stream);

    let mut stream = accept();
    let (kind, open) = read_message(&mut stream);
    assert!(kind == 1 && !contains(&open, &ROLE) && contains(&open, version.as_bytes()), "{open:?}");
    let capabilities = [&[1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfd, 0xe8][..], b"\x4b\x07\x06R 1.2\x1b"].concat();
    let length = u8::try_from(capabilities.len()).unwrap();
    let parameters = [&[length + 2, 2, length][..], &capabilities].concat();
    write_message(&mut stream, 1, &[&[4, 0xfd, 0xe8, 0, 90, 10, 0, 0, 9][..], &parameters].concat());
    write_message(&mut stream, 4, &[]);
    assert_eq!(read_message(&mut stream).0, 4);

    let socket = dir.join("control.sock");
    let status = |json: bool| {
        let mut arguments = vec!["status", "--socket", socket.to_str().unwrap()];
        arguments.extend(json.then_some("--json"));
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_herald")).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    wait::until("the session", || {
        let status: serde_json::Value = serde_json::from_str(&status(true)).map_err(|error| error.to_string())?;
        let peer = &status["peers"][0];
        if peer["state"] == "established" { Ok(()) } else { Err(peer.to_string()) }
    });
    let json: serde_json::Value = serde_json::from_str(&status(true)).unwrap();
    let peer = &json["peers"][0];
    assert_eq!(peer["left_out"], json!(["role customer"]), "{peer}");
    assert_eq!(peer["remote_software"], json!("R 1.2\\u{1b}"), "{peer}");
    assert_eq!(
        peer["capabilities"],
        json!(["multiprotocol ipv4", "four-octet-as 65000", "software-version"]),
        "{peer}"
    );
    assert!(status(false).contains("refuses role customer"), "{}", status(false));
    let log = std::fs::read_to_string(dir.join("herald.log")).unwrap();
    assert!(log.contains("peer router refuses what we can do: trying without role customer"), "{log}");
}
