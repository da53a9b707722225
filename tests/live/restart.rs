//! Stops for a restart, crashes, and the state file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use super::daemon::{Backend, Daemon};
use super::router::{PATIENCE, Router, Seen};
use super::{ONE, TWO, VIP, announce, config, withdraw};

fn graceful(router: &Router, port: u16, vips: &str) -> String {
    config(router, port, vips, "0s")
        .replace("[[bgp.peer]]", "graceful_restart = { restart_time = \"60s\" }\n[[bgp.peer]]")
}

#[test]
fn sigusr2_leaves_the_routes_and_the_next_start_goes_on() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let port = backend.port;
    let mut herald = Daemon::new(&graceful(&router, port, TWO));
    herald.start();
    router.wait_for(&Seen::EndOfRib);
    let peer =
        herald.wait_for_status("peer", |status| status["peers"][0]["state"] == "established")["peers"][0].clone();
    assert_eq!(peer["graceful_restart"]["notification"], false, "{peer}");
    let page = String::from_utf8(herald.ask(&["status"]).stdout).unwrap();
    assert!(page.contains("keeps routes for 60s"), "{page}");

    herald.signal(Signal::USR2);
    router.expect(&Seen::Closed);
    assert_eq!(herald.wait_for_end(PATIENCE).code(), Some(0));
    let log = herald.log();
    assert!(log.contains("SIGUSR2: stopping for a restart, the routes stay with tor-a"), "{log}");
    let state: serde_json::Value = serde_json::from_slice(&fs::read(herald.state()).unwrap()).unwrap();
    assert_eq!(state["vips"][0]["address"], VIP, "{state}");
    assert_eq!((&state["vips"][1]["state"], &state["peers"][0]["name"]), (&"announced".into(), &"tor-a".into()));

    // One VIP is configured no more: that is told at once; the other when its check has passed.
    herald.configure(&graceful(&router, port, ONE));
    herald.start();
    for wanted in [Seen::Established, withdraw("192.0.2.2/32"), announce(VIP), Seen::EndOfRib] {
        router.expect(&wanted);
    }
    assert!(herald.log().contains("2 VIPs were announced, to tor-a"), "{}", herald.log());

    // A crash, and a backend that dies meanwhile.
    herald.wait_for_status("VIP", |status| status["vips"][0]["state"] == "announced");
    let state = herald.state();
    herald.wait_for_status("state file", |_| {
        let saved = fs::read(&state).ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        saved.is_some_and(|saved| saved["vips"].as_array().is_some_and(|vips| vips.len() == 1))
    });
    herald.signal(Signal::KILL);
    herald.wait_for_end(PATIENCE);
    router.expect(&Seen::Closed);
    drop(backend);
    herald.start();
    for wanted in [Seen::Established, withdraw(VIP), Seen::EndOfRib] {
        router.expect(&wanted);
    }
    // Stopped for good, there is nothing to go on from.
    herald.signal(Signal::TERM);
    herald.wait_for_end(PATIENCE);
    herald.start();
    herald.wait_for_status("peer", |status| status["peers"][0]["state"] == "established");
    assert!(!herald.log().contains("restarted after"), "{}", herald.log());
}

#[test]
fn who_keeps_nothing_is_named_and_a_second_signal_ends_it_at_once() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let mut herald = Daemon::new(&config(&router, backend.port, ONE, "0s"));
    herald.start();
    router.wait_for(&Seen::EndOfRib);
    herald.signal(Signal::USR2);
    router.expect(&Seen::Closed);
    assert_eq!(herald.wait_for_end(PATIENCE).code(), Some(0));
    let log = herald.log();
    assert!(log.contains("peer tor-a drops all routes now: graceful restart is not negotiated"), "{log}");

    herald.configure(&config(&router, backend.port, ONE, "60s"));
    herald.start();
    router.wait_for(&announce(VIP));
    herald.signal(Signal::TERM);
    // With GRACEFUL_SHUTDOWN: the drain has begun.
    router.wait_for(&announce(VIP));
    herald.signal(Signal::USR2);
    let text = "herald stopped by SIGUSR2";
    router.wait_for(&Seen::Notification(6, 2, [&[25], text.as_bytes()].concat()));
    assert_eq!(herald.wait_for_end(PATIENCE).code(), Some(0));
}

#[test]
fn a_state_file_that_cannot_be_had_stops_nothing() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let mut herald = Daemon::new(&graceful(&router, backend.port, ONE));
    fs::write(herald.state(), "not JSON").unwrap();
    herald.start();
    router.wait_for(&Seen::EndOfRib);
    herald.wait_for_log("is not used, and is now ");
    herald.signal(Signal::KILL);
    herald.wait_for_end(PATIENCE);
    // A directory in its place; root is not stopped by permissions, but by this.
    fs::remove_file(herald.state()).unwrap();
    fs::create_dir(herald.state()).unwrap();
    fs::set_permissions(herald.state(), fs::Permissions::from_mode(0o500)).unwrap();
    herald.start();
    router.wait_for(&Seen::EndOfRib);
    herald.wait_for_log("cannot be read: ");
    herald.wait_for_log("cannot be written: ");
    herald.signal(Signal::TERM);
    assert_eq!(herald.wait_for_end(PATIENCE).code(), Some(0));
}

#[test]
fn a_crash_at_any_time_leaves_a_state_file_that_is_whole() {
    let router = Router::start();
    let backend = Backend::start(0);
    let vips: Vec<String> = (0..2000).map(|n| format!("\"10.0.{}.{}\"", n / 250, n % 250)).collect();
    let mut herald = Daemon::new(&graceful(&router, backend.port, &vips.join(", ")));
    for round in 0..12 {
        herald.start();
        // Writing begins with the start, and goes on when VIPs are announced.
        if round % 2 == 0 {
            herald.wait_for_log("vip 10.0.0.0/32 announced");
        } else {
            herald.wait_for_log("started with");
        }
        std::thread::park_timeout(std::time::Duration::from_millis(round * 7));
        herald.signal(Signal::KILL);
        herald.wait_for_end(PATIENCE);
        assert!(!herald.log().contains("is not used"), "round {round}: {}", herald.log());
        if let Ok(text) = fs::read(herald.state()) {
            let state: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(state["format"], "herald-state");
        }
    }
}
