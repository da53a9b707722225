//! The real daemon on loopback, against a router and a backend that a test scripts.

mod daemon;
mod drain;
mod flood;
mod glb;
mod http;
mod operator;
mod restart;
mod router;
mod service;
mod tripwire;
mod watch;

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use daemon::{Backend, Daemon, herald, read_to_end};
use herald::driver::clock;
use router::{Manner, PATIENCE, Router, Seen};
use rustix::process::Signal;
use serde_json::Value;

fn config(router: &Router, backend_port: u16, vips: &str, drain: &str) -> String {
    let router_port = router.port;
    format!(
        r#"
[daemon]
control_socket = "SOCKET"
state_file = "STATE"
shutdown_drain = "{drain}"
[bgp]
local_as = 65001
router_id = "10.0.0.1"
[[bgp.peer]]
name = "tor-a"
address = "127.0.0.1"
port = {router_port}
peer_as = 65000
families = ["ipv4"]
connect_retry = "1s"
[checks.alive]
type = "tcp"
interval = "50ms"
[[service]]
name = "web"
vips = [{vips}]
port = 80
protocol = "tcp"
checks = ["alive"]
[[service.backend]]
address = "127.0.0.1"
port = {backend_port}
"#
    )
}

fn announce(prefix: &str) -> Seen {
    Seen::Announce(prefix.to_owned())
}

fn withdraw(prefix: &str) -> Seen {
    Seen::Withdraw(prefix.to_owned())
}

const VIP: &str = "192.0.2.1/32";
const ONE: &str = r#""192.0.2.1""#;
const TWO: &str = r#""192.0.2.1", "192.0.2.2""#;

/// A daemon that runs with this configuration, whose backend is not there.
fn answering(text: &str) -> Daemon {
    let mut herald = Daemon::new(text);
    herald.start();
    herald.wait_for_status("answer", |_| true);
    herald
}

/// One that has announced all it has.
fn announcing(text: &str, router: &mut Router) -> Daemon {
    let mut herald = Daemon::new(text);
    herald.start();
    router.wait_for(&Seen::EndOfRib);
    herald
}

#[test]
fn from_start_to_stop() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let port = backend.port;
    let mut herald = Daemon::new(&config(&router, port, ONE, "0s"));
    herald.start();
    for wanted in [Seen::Established, announce(VIP), Seen::EndOfRib] {
        router.expect(&wanted);
    }
    let typo = herald.ask(&["status", "wbe"]);
    assert!(
        typo.status.code() == Some(2) && String::from_utf8_lossy(&typo.stderr).contains("nothing has this"),
        "{typo:?}"
    );
    assert_eq!(herald.ask(&["status", "web", "--trouble"]).status.code(), Some(0), "there may be none");
    let announced = herald.ask(&["status"]);
    assert!(announced.status.success(), "{announced:?}");
    assert!(String::from_utf8_lossy(&announced.stdout).contains("VIPs: 1 of 1 announced"), "{announced:?}");

    drop(backend);
    router.expect(&withdraw(VIP));
    assert_eq!(herald.ask(&["status"]).status.code(), Some(1));
    let backend = Backend::start(port);
    router.expect(&announce(VIP));

    herald.configure(&config(&router, port, TWO, "0s"));
    herald.signal(Signal::HUP);
    router.expect(&announce("192.0.2.2/32"));

    herald.configure(&config(&router, port, "1", "0s"));
    herald.signal(Signal::HUP);
    let stale = herald.wait_for_status("stale configuration", |status| status["config"]["stale"] == true);
    let error = stale["config"]["errors"][0].as_str().unwrap();
    assert!(error.starts_with(&format!("{}:21:9: ", herald.config().display())), "{error}");
    herald.wait_for_log(error);
    assert_eq!(stale["vips"].as_array().unwrap().len(), 2);
    herald.configure(&config(&router, port, TWO, "0s"));
    herald.signal(Signal::HUP);
    herald.wait_for_status("fresh configuration", |status| status["config"]["stale"] == false);
    assert_eq!(router.rest(), [], "neither reload was the router's business");

    let begun = clock();
    herald.signal(Signal::TERM);
    let mut last = vec![router.next(), router.next()];
    last.sort_by_key(|seen| format!("{seen:?}"));
    assert_eq!(last, [withdraw(VIP), withdraw("192.0.2.2/32")]);
    let text = "herald stopped by SIGTERM";
    let data = [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    router.expect(&Seen::Notification(6, 2, data));
    assert!(clock() - begun < Duration::from_secs(2), "a peer that reads is not given up on, nor waited for");
    router.expect(&Seen::Closed);
    assert_eq!(herald.wait_for_end(PATIENCE).code(), Some(0));
    assert!(!herald.socket().exists());
    assert!(herald.log().ends_with("stopped\n"), "{}", herald.log());
    drop(backend);
}

#[test]
fn status_has_the_promised_shape() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let herald = announcing(&config(&router, backend.port, ONE, "0s"), &mut router);
    let status = herald.wait_for_status("VIP with its peer", |status| status["vips"][0]["peers"][0] == "tor-a");
    let is = |path: &str, wanted: Value| assert_eq!(status.pointer(path), Some(&wanted), "{path} of {status}");
    is("/vips/0/address", VIP.into());
    is("/vips/0/state", "announced".into());
    is("/services/0/name", "web".into());
    is("/services/0/up", true.into());
    is("/services/0/available", 1.into());
    is("/services/0/required", 1.into());
    is("/services/0/backends/0/address", format!("127.0.0.1:{}", backend.port).into());
    is("/services/0/backends/0/state", "up".into());
    is("/services/0/backends/0/checks/0/name", "alive".into());
    is("/services/0/backends/0/checks/0/verdict", "passing".into());
    is("/peers/0/name", "tor-a".into());
    is("/peers/0/address", "127.0.0.1".into());
    is("/peers/0/state", "established".into());
    is("/peers/0/advertised/ipv4", 1.into());
    is("/peers/0/last_error", Value::Null);
    is("/config/stale", false.into());
    is("/pool/workers", 1.into());
    is("/pool/demand", 1.into());
    for path in [
        "/vips/0/since",
        "/vips/0/reason",
        "/services/0/backends/0/checks/0/detail",
        "/services/0/backends/0/checks/0/took_us",
        "/peers/0/advertised/ipv6",
        "/pool/busy",
        "/pool/lag_p99_us",
        "/config/loaded_at",
    ] {
        assert!(status.pointer(path).is_some(), "{path} of {status}");
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let mut herald = Daemon::new(&config(&router, backend.port, ONE, "0s"));
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while (&writer).write(&[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    herald.start_with(Stdio::from(writer));
    router.wait_for(&announce(VIP));
    drop(backend);
    router.wait_for(&withdraw(VIP));
    herald.signal(Signal::TERM);
    router.wait_for(&Seen::Closed);
    assert_eq!(herald.wait_for_end(PATIENCE).code(), Some(0));
    drop(reader);
}

#[test]
fn one_bad_router_does_not_keep_the_others_waiting() {
    for manner in [Manner::Floods, Manner::Deaf] {
        let mut bad = Router::with_manner("127.0.0.2", manner);
        let mut good = Router::start();
        let backend = Backend::start(0);
        let bad_peer = format!(
            "[[bgp.peer]]\nname = \"a-bad\"\naddress = \"127.0.0.2\"\nport = {}\npeer_as = 65000\n[checks.",
            bad.port
        );
        let text = config(&good, backend.port, ONE, "0s").replace("[checks.", &bad_peer);
        let mut herald = Daemon::new(&text);
        herald.start();
        bad.wait_for(&Seen::Established);
        good.wait_for(&announce(VIP));
        let begun = clock();
        drop(backend);
        good.wait_for(&withdraw(VIP));
        assert!(clock() - begun < Duration::from_secs(8), "{:?}", clock() - begun);
        assert!(herald.status().is_some());
        herald.signal(Signal::TERM);
        good.wait_for(&Seen::Closed);
        assert_eq!(herald.wait_for_end(PATIENCE).code(), Some(0));
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_drain() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let mut herald = announcing(&config(&router, backend.port, ONE, "1h"), &mut router);
    herald.signal(Signal::TERM);
    // The route is announced once more, with GRACEFUL_SHUTDOWN.
    router.expect(&announce(VIP));
    herald.signal(Signal::INT);
    assert_eq!(herald.wait_for_end(PATIENCE).code(), Some(0));
    assert!(!herald.socket().exists());
    router.wait_for(&Seen::Closed);
}

#[test]
fn signals_that_do_not_stop() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let herald = announcing(&config(&router, backend.port, ONE, "0s"), &mut router);
    herald.signal(Signal::USR1);
    herald.wait_for_log("SIGUSR1: running every check now");
    assert!(herald.status().is_some());
    assert_eq!(router.rest(), []);
}

#[test]
fn a_journal_gets_priorities_instead_of_times() {
    let router = Router::start();
    let mut herald = Daemon::new(&config(&router, 9, ONE, "0s"));
    herald.start();
    herald.wait_for_log("started");
    assert!(herald.log().starts_with("20"), "{}", herald.log());
    let mut journaled = Daemon::new(&config(&router, 9, ONE, "0s"));
    journaled.start_in_journal();
    journaled.wait_for_log("started");
    assert!(journaled.log().starts_with("<6>herald "), "{}", journaled.log());
}

#[test]
fn what_cannot_start_says_why() {
    let router = Router::start();
    let mut herald = Daemon::new(&config(&router, 9, "1, true", "2"));
    let output = herald.run().output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(":5:18: ") && text.contains(":21:9: ") && text.contains("error"), "{text}");
    assert!(!herald.socket().exists());

    herald.configure(&config(&router, 9, ONE, "0s"));
    fs::write(herald.socket(), "not a socket").unwrap();
    let output = herald.run().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not a socket"), "{output:?}");
    fs::remove_file(herald.socket()).unwrap();

    herald.start();
    herald.wait_for_status("answer", |_| true);
    let output = herald.run().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another herald is running"), "{output:?}");
    assert!(herald.status().is_some(), "the first one is untouched");
}

#[test]
fn without_a_daemon_status_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let output = herald().arg("status").env("HERALD_SOCKET", directory.path().join("none")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("Is herald running?") && text.contains("none"), "{text}");
    assert_eq!(herald().arg("no-such-command").output().unwrap().status.code(), Some(2));
}

#[test]
fn bad_clients_of_the_control_socket_cost_nothing() {
    let router = Router::start();
    let herald = answering(&config(&router, 9, ONE, "0s"));
    let connect = || UnixStream::connect(herald.socket()).unwrap();
    let reply = |request: &[u8]| {
        let mut stream = connect();
        // The daemon may hang up before all of it is read.
        let _cut_off = stream.write_all(request);
        let octets = read_to_end(stream).recv_timeout(PATIENCE).expect("the daemon hangs up");
        String::from_utf8(octets).unwrap()
    };
    assert!(reply(b"\x00\xff nonsense\n").starts_with(r#"{"ok":false,"error":"not a request"#));
    let unknown = reply(b"{\"command\":\"dance\"}\n");
    assert!(unknown.contains("unknown command") && unknown.contains("status"), "{unknown}");
    assert!(reply(&vec![b'x'; 49 << 20]).contains("too long"));
    // The end ends a line, too.
    let mut last = connect();
    last.write_all(b"{\"command\":\"status\"}").unwrap();
    last.shutdown(std::net::Shutdown::Write).unwrap();
    let octets = read_to_end(last).recv_timeout(PATIENCE).expect("the daemon hangs up");
    assert!(octets.starts_with(b"{\"ok\":true,") && octets.ends_with(b"\n"));

    // Some only connect, some ask without reading, some ask for ever; the next one still gets its answer.
    let idle: Vec<_> = (0..30).map(|_| connect()).collect();
    let mut deaf = connect();
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while deaf.write_all(b"{\"command\":\"status\"}\n").is_ok() {}
    let begun = clock();
    assert!(herald.status().is_some());
    // Less than a client may take for its request.
    assert!(clock() - begun < Duration::from_secs(9));
    drop(idle);
    drop(deaf);
}
