//! Stops for a restart, crashes, and the state file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use super::daemon::{Backend, Daemon};
use super::router::{PATIENCE, Router, Seen};
use super::{ONE, TWO, VIP, announce, announcing, config, withdraw};

fn graceful(router: &Router, port: u16, vips: &str) -> String {
    config(router, port, vips, "0s")
        .replace("[[bgp.peer]]", "graceful_restart = { restart_time = \"60s\" }\n[[bgp.peer]]")
}

#[test]
fn sigusr2_leaves_the_routes_and_the_next_start_goes_on() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let port = backend.port;
    let mut herald = announcing(&graceful(&router, port, TWO), &mut router);
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
    herald.wait_for_log("2 VIPs were announced, to tor-a");

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
    // The check takes its time, so that the session is up before.
    let slow = graceful(&router, port, ONE).replace("interval = \"50ms\"", "interval = \"500ms\"\nfall = 5");
    herald.configure(&slow);
    herald.start();
    // What it last knew counts until the check has found otherwise.
    for wanted in [Seen::Established, announce(VIP), Seen::EndOfRib, withdraw(VIP)] {
        router.expect(&wanted);
    }
    herald.wait_for_log("taken over, until the checks have run again");
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
    let mut herald = announcing(&config(&router, backend.port, ONE, "0s"), &mut router);
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

/// Ages the state file: the daemon was last alive so long ago.
fn set_age(path: &std::path::Path, seconds: u64) {
    let text = fs::read_to_string(path).unwrap();
    let year = text.split("\"written\": \"").nth(1).unwrap()[..4].to_owned();
    fs::write(path, text.replace(&format!("\"written\": \"{year}"), "\"written\": \"2001")).unwrap();
    let at = fs::metadata(path).unwrap().modified().unwrap() - std::time::Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

/// Without graceful restart. A check that takes a minute to pass tells who has waited for it.
#[test]
fn a_crash_costs_no_wait_as_long_as_the_state_is_fresh() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let slow = |text: String| text.replace("interval = \"50ms\"", "interval = \"50ms\"\nrise = 1000");
    let quick = config(&router, backend.port, ONE, "0s");
    let mut herald = Daemon::new(&quick);
    herald.start();
    router.wait_for(&announce(VIP));
    let state = herald.state();
    herald.wait_for_status("state file", |_| {
        let saved = fs::read(&state).ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        saved.is_some_and(|saved| saved["checks"][0]["passing"] == true && saved["vips"][0]["address"] == VIP)
    });
    herald.configure(&slow(quick.clone()));
    for signal in [Signal::KILL, Signal::TERM] {
        herald.signal(signal);
        herald.wait_for_end(PATIENCE);
        router.wait_for(&Seen::Closed);
        herald.start();
        for wanted in [Seen::Established, announce(VIP), Seen::EndOfRib] {
            router.expect(&wanted);
        }
    }
    // Too old, corrupt, from the future: everything takes its time, and the log says why.
    herald.signal(Signal::KILL);
    herald.wait_for_end(PATIENCE);
    router.wait_for(&Seen::Closed);
    let whole = fs::read_to_string(&state).unwrap();
    let spoil: [(&str, &dyn Fn()); 3] = [
        ("ago are older than state_max_age", &|| set_age(&state, 301)),
        ("is not used, and is now", &|| fs::write(&state, &whole[..whole.len() / 2]).unwrap()),
        ("a later version wrote it", &|| fs::write(&state, whole.replace("\"major\": 1", "\"major\": 9")).unwrap()),
    ];
    for (word, spoil) in spoil {
        fs::write(&state, &whole).unwrap();
        spoil();
        herald.start();
        router.expect(&Seen::Established);
        let status = herald.wait_for_status("peer", |status| status["peers"][0]["state"] == "established");
        assert_eq!(status["vips"][0]["state"], "holding", "{word}");
        herald.wait_for_log(word);
        herald.signal(Signal::KILL);
        herald.wait_for_end(PATIENCE);
        router.expect(&Seen::Closed);
    }
}
