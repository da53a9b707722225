//! Checks of type `gue` and `fou`, end to end: a backend that takes packets out of UDP, its kernel that answers them
//! directly, and the router's table.

use std::fs;
use std::path::PathBuf;

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::lab::Namespace;
use crate::harness::process::Process;
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;
use crate::resolvers::tell_all_errors;

/// The addresses of the first server.
const BACKENDS: [&str; 2] = ["10.98.0.11", "fd00:98::11"];

/// Takes packets out of UDP in a namespace, for both types and both families.
struct Decapsulator(Process);

impl Decapsulator {
    fn start(namespace: &Namespace) -> Decapsulator {
        let log = namespace.dir("decapsulator").join("decapsulator.log");
        let _ = fs::remove_file(&log);
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/decapsulator.py");
        let mut process = Process::start(namespace, &log, "python3", &[script.to_str().unwrap()]);
        wait::until("the decapsulator", || {
            process.assert_running();
            if process.log().contains("ready\n") { Ok(()) } else { Err(process.log()) }
        });
        Decapsulator(process)
    }

    fn stop(mut self) {
        assert_eq!(self.0.log(), "ready\n", "something came that is not as it must be");
        self.0.stop();
    }
}

/// A service on one VIP of each family, behind one backend of this family.
fn config(neighbour: &Neighbour, check: &str, ipv6: bool) -> String {
    let timing = "interval = \"500ms\"\ntimeout = \"400ms\"\nfast_interval = \"100ms\"\n";
    let service = format!(
        "[[service]]\nname = \"one\"\nvips = [\"192.0.2.1\", \"2001:db8::1\"]\nport = 443\nchecks = [\"tunnel\"]\n\n\
         [[service.backend]]\naddress = \"{}\"\n",
        BACKENDS[usize::from(ipv6)]
    );
    format!("{}\n[checks.tunnel]\n{check}\n{timing}\n{service}", site::bgp(neighbour, ""))
}

fn site_with_bird() -> (Site, Neighbour, Bird, Table) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let table = site::plain_table(&neighbour, &bird, &site::VIPS);
    (site, neighbour, bird, table)
}

/// Waits until Herald says this of the check: what has changed the routes may not have been its last run.
#[track_caller]
fn wait_for_detail(herald: &Herald, detail: &str) {
    wait::until_equal("what the check says", &serde_json::json!(detail), || {
        Ok(herald.status()?["services"][0]["backends"][0]["checks"][0]["detail"].clone())
    });
}

fn comes_and_goes(kind: &str, ipv6: bool) {
    let (site, neighbour, bird, table) = site_with_bird();
    tell_all_errors(&site.servers);
    let decapsulator = Decapsulator::start(&site.servers);
    let check = format!("type = \"{kind}\"");
    let herald = Herald::start(&site.herald, &config(&neighbour, &check, ipv6));
    wait::until_equal("the routes", &table, || bird.table());
    wait_for_detail(&herald, "echo reply");

    // The host itself is well, and says that the port is closed.
    decapsulator.stop();
    let gone = wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    println!("decapsulation stopped: withdrawn after {} ms", gone.as_millis());
    wait_for_detail(&herald, "port unreachable: nothing there takes packets out of UDP");

    let decapsulator = Decapsulator::start(&site.servers);
    wait::until_equal("the routes again", &table, || bird.table());
    // Decapsulation alone is not enough: somebody must answer. And nobody tells us that nobody does.
    site.servers
        .run("nft", &[&format!("table inet mute {{ chain input {{ type filter hook input priority 0; {MUTE} }}; }};")]);
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    wait_for_detail(&herald, "no echo reply within 400 ms");
    site.servers.run("nft", &["delete table inet mute"]);
    wait::until_equal("the routes once more", &table, || bird.table());
    decapsulator.stop();
}

/// What comes out of the tunnel is not for the kernel.
const MUTE: &str = "iifname \"decap\" drop;";

#[test]
fn gue_over_ipv4() {
    comes_and_goes("gue", false);
}

#[test]
fn gue_over_ipv6() {
    comes_and_goes("gue", true);
}

#[test]
fn fou_over_ipv4() {
    comes_and_goes("fou", false);
}

#[test]
fn fou_over_ipv6() {
    comes_and_goes("fou", true);
}

/// Nobody can be asked, and Herald says at once what is the matter.
#[test]
fn a_host_that_cannot_be_reached() {
    let (site, neighbour, bird, table) = site_with_bird();
    let _decapsulator = Decapsulator::start(&site.servers);
    let herald = Herald::start(&site.herald, &config(&neighbour, "type = \"gue\"", false));
    wait::until_equal("the routes", &table, || bird.table());
    site.herald.ip(&["route", "add", "unreachable", "10.98.0.11/32"]);
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    wait_for_detail(&herald, "no route to host");
    site.herald.ip(&["route", "delete", "unreachable", "10.98.0.11/32"]);
    wait::until_equal("the routes again", &table, || bird.table());
}

/// How many threads listen for replies.
fn listening(site: &Site) -> usize {
    let pids = site.herald.pids();
    let tasks = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten());
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name == "tunnel-replies\n").count()
}

/// One thread listens, whatever the reloads; none once no check needs it.
#[test]
fn who_needs_no_replies_does_not_listen() {
    let (site, neighbour, bird, table) = site_with_bird();
    let _decapsulator = Decapsulator::start(&site.servers);
    let tunnel = config(&neighbour, "type = \"gue\"", true);
    let herald = Herald::start(&site.herald, &tunnel);
    wait::until_equal("the routes", &table, || bird.table());
    let is_listening = |threads| wait::until_equal("the threads", &threads, || Ok(listening(&site)));
    is_listening(1);
    let raw = || site.herald.run("ss", &["-Hwan"]);
    assert_eq!(raw().lines().count(), 1, "{}", raw());
    let session = bird.session().unwrap();
    for options in ["type = \"fou\"", "type = \"gue\"\nport = 19523"] {
        herald.reload_good(&config(&neighbour, options, true));
        is_listening(1);
    }
    let exec = "type = \"exec\"\ncommand = [\"/usr/bin/true\"]";
    herald.reload_good(&config(&neighbour, exec, true));
    is_listening(0);
    assert_eq!(raw(), "");
    herald.reload_good(&tunnel);
    is_listening(1);
    wait::until_equal("the same routes", &table, || bird.table());
    assert_eq!(bird.session(), Ok(session));
}

/// A daemon that may not listen for replies does not start, nor take such a configuration, and says where and why.
#[test]
fn without_the_capability_it_is_an_error_at_load() {
    const PRIVILEGES: [&str; 2] = ["--bounding-set", "-net_raw"];
    const FAULT: &str = "a check of type gue or fou needs CAP_NET_RAW";
    let (site, neighbour, bird, table) = site_with_bird();
    let tunnel = config(&neighbour, "type = \"gue\"", false);
    // Three lines are written before it.
    let line = tunnel.lines().position(|line| line == "type = \"gue\"").unwrap() + 4;
    let place = format!("herald.toml:{line}:8: {FAULT}");

    let mut herald = Herald::new(&site.herald, &tunnel);
    let failure = herald.failure_with(&PRIVILEGES);
    assert!(failure.contains(&place), "{failure}");
    let (code, text) = herald.check_config_with(&PRIVILEGES);
    assert!(code == Some(1) && text.contains(&place) && text.contains("1 error\n"), "{code:?}: {text}");

    let server = site.server(0);
    herald.write(&config(&neighbour, "type = \"tcp\"\nport = 8080", false));
    herald.run_with(&PRIVILEGES);
    wait::until_equal("the routes", &table, || bird.table());
    herald.reload(&tunnel);
    site::wait_for_log(&herald, &place);
    wait::until_equal("status to say stale", &serde_json::json!(true), || {
        Ok(herald.status()?["config"]["stale"].clone())
    });
    assert_eq!(bird.table(), Ok(table), "what was in force still is");
    drop(server);
}
