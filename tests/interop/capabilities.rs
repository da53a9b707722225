//! What two routers must both know to use it: roles, extended messages, enhanced refresh, confederations; and a router
//! that refuses a session for what it does not know.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::harness::bird::{self, Bird};
use crate::harness::capture::{Capture, Captured};
use crate::harness::frr::Frr;
use crate::harness::herald::Herald;
use crate::harness::plan::Plan;
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// The attribute as BIRD shows it.
fn only_to_customer(bird: &Bird) -> Result<Vec<String>, String> {
    let text = bird.ask("show route all")?;
    Ok(text.lines().filter_map(|line| line.trim().strip_prefix("BGP.otc: ")).map(str::to_owned).collect())
}

/// What Herald's status says of its last failure.
fn last_error(herald: &Herald) -> Result<String, String> {
    Ok(herald.peer("router")?["last_error"].as_str().unwrap_or_default().to_owned())
}

fn with_role(neighbour: &Neighbour, role: &str) -> String {
    bird::session(neighbour, &format!("hold time 90; {role}"), &["ipv4", "ipv6"])
}

#[test]
fn roles_that_go_together_mark_what_goes_down() {
    for (bird_role, ours, marked) in [
        ("customer", "provider", true),
        ("peer", "peer", true),
        ("rs_client", "rs", true),
        ("provider", "customer", false),
        ("rs_server", "rs-client", false),
    ] {
        let site = Site::new();
        let neighbour = site::neighbour(false, 65000, 65001);
        let session = with_role(&neighbour, &format!("local role {bird_role}; require roles yes;"));
        let bird = Bird::start(&site.router, "10.99.1.1", &session);
        let capture = Capture::start(&site.herald, "to-router");
        let _server = site.server(0);
        let role = format!("role = \"{ours}\"\nrole_strict = true");
        let herald = Herald::start(&site.herald, &site::config(&neighbour, &role));
        wait::until_equal("the routes", &site::plain_table(&neighbour, &bird, &site::VIPS), || bird.table());
        let marks = if marked { vec!["65001".to_owned(); 2] } else { vec![] };
        assert_eq!(only_to_customer(&bird), Ok(marks), "{ours}");
        let peer = herald.peer("router").unwrap();
        let capabilities = peer["capabilities"].as_array().unwrap();
        let theirs = bird_role.replace("rs_client", "rs-client").replace("rs_server", "rs");
        assert!(capabilities.contains(&json!(format!("role {theirs}"))), "{peer}");
        assert_eq!(capture.finish().complaints(), Vec::<String>::new());
    }
}

#[test]
fn roles_that_do_not_go_together_are_no_session() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &with_role(&neighbour, "local role customer;"));
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
    assert!(bird.session().is_err());

    // With the other end of it they go together.
    herald.reload_good(&site::config(&neighbour, "role = \"provider\""));
    wait::until_equal("the routes", &site::plain_table(&neighbour, &bird, &site::VIPS), || bird.table());
}

#[test]
fn a_strict_role_asks_for_the_other() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, "role = \"provider\"\nrole_strict = true"));
    let why = "peer does not say its role, which must be customer because ours is provider (role_strict) \
               (sent OPEN Message Error/Role Mismatch)";
    wait::until_equal("the refusal", &why.to_owned(), || last_error(&herald));
    assert!(bird.session().is_err());
    // Not strict, it is a session, and what goes down is marked all the same (RFC 9234 §4.2).
    herald.reload_good(&site::config(&neighbour, "role = \"provider\""));
    wait::until_equal("the routes", &site::plain_table(&neighbour, &bird, &site::VIPS), || bird.table());
    assert_eq!(only_to_customer(&bird), Ok(vec!["65001".to_owned(); 2]));
    // And the other way round: BIRD asks for ours.
    bird.configure(&with_role(&neighbour, "local role customer; require roles yes;"));
    herald.reload_good(&site::config(&neighbour, ""));
    let refused = "peer sent OPEN Message Error/Role Mismatch";
    wait::until("the refusal", || match last_error(&herald)? {
        error if error.starts_with(refused) => Ok(()),
        error => Err(error),
    });
}

/// Lengths of the BGP messages that Herald sent, by type.
fn lengths(captured: &Captured, kind: &str) -> Vec<usize> {
    let lines = captured.fields("bgp && ip.src == 10.99.1.2", &["bgp.type", "bgp.length"]);
    let pairs = lines.iter().filter_map(|line| line.split_once('\t'));
    let messages = pairs.flat_map(|(types, lengths)| types.split(',').zip(lengths.split(',')));
    messages.filter(|(of, _)| *of == kind).filter_map(|(_, length)| length.parse().ok()).collect()
}

#[test]
fn extended_messages_carry_a_table_in_few_pieces() {
    for (bird_option, extended) in [("enable extended messages on;", true), ("", false)] {
        let site = Site::new();
        let neighbour = site::neighbour(false, 65000, 65001);
        let bird = Bird::start(&site.router, "10.99.1.1", &with_role(&neighbour, bird_option));
        let capture = Capture::start(&site.herald, "to-router");
        let mut server = site.server(0);
        let vips: Vec<String> = (0..6000_u32).map(|n| format!("{}/32", Ipv4Addr::from(0xc612_0000 + n))).collect();
        let list: Vec<String> = vips.iter().map(|vip| format!("\"{vip}\"")).collect();
        let peer = site::bgp(&neighbour, "extended_messages = true");
        let config = peer + site::CHECK + &site::service("many", &list.join(", "));
        let _herald = Herald::start(&site.herald, &config);
        let prefixes: Vec<&str> = vips.iter().map(String::as_str).collect();
        wait::until_equal("every route", &site::plain_table(&neighbour, &bird, &prefixes), || bird.table());
        server.kill();
        wait::until_equal("every withdrawal", &Table::new(), || bird.table());
        let captured = capture.finish();
        assert_eq!(captured.complaints(), Vec::<String>::new());
        let updates = lengths(&captured, "2");
        assert_eq!(updates.iter().any(|length| *length > 4096), extended, "{updates:?}");
        assert!(updates.len() <= if extended { 12 } else { 40 }, "{updates:?}");
        assert!([lengths(&captured, "1"), lengths(&captured, "4")].concat().iter().all(|length| *length < 4096));
    }
}

#[test]
fn a_refresh_is_framed_and_flushes_nothing_that_is_there() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let _herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    wait::until_equal("the routes", &table, || bird.table());
    let updates = |channel| bird.counter(channel, "Import updates:");
    let before = [updates("ipv4").unwrap(), updates("ipv6").unwrap()];
    bird.ask("reload in dut").unwrap();
    wait::until_equal("the routes again", &[before[0] + 1, before[1] + 1], || Ok([updates("ipv4")?, updates("ipv6")?]));
    wait::stays("the routes", Duration::from_millis(500), &table, || bird.table());
    let captured = capture.finish();
    assert_eq!(captured.complaints(), Vec::<String>::new());
    // Each family: BoRR, the routes, EoRR (RFC 7313 §4).
    let fields = ["bgp.type", "bgp.route_refresh.afi", "bgp.route_refresh.subtype"];
    let lines = captured.fields("bgp.type == 5 && ip.src == 10.99.1.2", &fields);
    let text = lines.join("\n");
    for afi in ["1", "2"] {
        let of = |subtype: &str| {
            lines
                .iter()
                .flat_map(|line| {
                    let parts: Vec<Vec<&str>> = line.split('\t').map(|part| part.split(',').collect()).collect();
                    parts[1].clone().into_iter().zip(parts[2].clone()).collect::<Vec<_>>()
                })
                .filter(|(a, s)| *a == afi && *s == subtype)
                .count()
        };
        assert_eq!((of("1"), of("2")), (1, 1), "{text}");
    }
    assert_eq!(bird.complaints(), Vec::<String>::new());
}

/// BIRD in another AS of the confederation, and outside of it.
#[test]
fn a_confederation_is_one_to_others_and_many_within() {
    const WHOLE: &str = "local_as  = 65010\nconfederation = 65500\nconfederation_members = [65011]\n";
    let config = |neighbour: &Neighbour, options: &str| {
        let config = site::config(neighbour, options);
        let line = format!("local_as  = {}\n", neighbour.asn);
        assert!(config.contains(&line));
        config.replacen(&line, WHOLE, 1)
    };
    // Within: BIRD is AS 65011 of the same confederation.
    let site = Site::new();
    let neighbour = site::neighbour(false, 65011, 65010);
    let options = "hold time 90; confederation 65500; confederation member yes;";
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::session(&neighbour, options, &["ipv4", "ipv6"]));
    let capture = Capture::start(&site.herald, "to-router");
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(&neighbour, "local_pref = 300\nmed = 7"));
    wait::until("both routes", || match bird.ask("show route all")? {
        text if text.matches("BGP.as_path: (65010)\n").count() == 2
            && text.matches("BGP.local_pref: 300\n").count() == 2
            && text.matches("BGP.med: 7\n").count() == 2 =>
        {
            Ok(())
        }
        text => Err(text),
    });
    assert_eq!(herald.peer("router").unwrap()["local_as"], json!(65010));
    assert_eq!(capture.finish().complaints(), Vec::<String>::new());

    // Outside: AS 64999 knows AS 65500 only.
    let site = Site::new();
    let neighbour = site::neighbour(false, 64999, 65500);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &config(&neighbour, "as_path_prepend = 1"));
    let mut table = site::plain_table(&neighbour, &bird, &site::VIPS);
    table.values_mut().for_each(|route| route.as_path = vec![65500; 2]);
    wait::until_equal("the routes", &table, || bird.table());
    assert_eq!(herald.peer("router").unwrap()["local_as"], json!(65500));
}

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
    let log = herald.log();
    assert!(log.contains("peer router refuses what we can do: trying without software-version"), "{log}");
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
