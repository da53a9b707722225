//! `herald drain` and `herald undrain` as an operator types them.

use rustix::process::Signal;
use serde_json::Value;

use super::*;

const ONE_SECOND: &str = "[daemon]\ndrain_time = \"1s\"";

impl Daemon {
    /// What a command says, and its exit code; nothing on stderr when it is done.
    fn says(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.ask(arguments);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).trim().to_owned())
    }
}

#[test]
fn the_commands_and_what_they_say() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let text = config(&router, backend.port, TWO, "0s").replace("[daemon]", ONE_SECOND);
    let herald = announcing(&text, &mut router);

    let drain = ["drain", "192.0.2.1", "--reason", "new certificates"];
    let done = "vip 192.0.2.1/32 is drained: GRACEFUL_SHUTDOWN on its route for 1s, then withdrawn";
    assert_eq!(herald.says(&drain), (Some(0), done.to_owned()));
    // Announced once more, with the community; then gone, on the same session.
    router.expect(&announce(VIP));
    router.expect(&withdraw(VIP));
    let uid = format!("(uid {})", nix::unistd::getuid());
    herald.wait_for_log(&format!("{uid}: new certificates"));
    herald.wait_for_log("vip 192.0.2.1/32 announced with GRACEFUL_SHUTDOWN: drained: new certificates");
    herald.wait_for_log("vip 192.0.2.1/32 not announced: drained: new certificates");
    let status = herald.wait_for_status("the drained VIP", |status| status["vips"][0]["state"] == "drained");
    assert_eq!(status["vips"][0]["reason"], "drained: new certificates");
    assert_eq!(status["drains"][0]["target"], VIP);
    let by = status["drains"][0]["by"].as_str().unwrap().to_owned();
    assert!(by.ends_with(&uid), "{by}");
    herald.wait_for_log(&format!("drain 192.0.2.1/32 by {by}: new certificates"));
    assert!(herald.says(&["why", "192.0.2.1"]).1.contains(&format!(" by {by}: new certificates")));
    assert_eq!((&status["drains"][0]["until"], &status["drains"][0]["configured"]), (&Value::Null, &true.into()));
    let (code, page) = herald.says(&["status"]);
    assert!(
        code == Some(1) && page.contains("Drains:") && page.contains(&format!("by {by}, new certificates")),
        "{page}"
    );
    let (code, again) = herald.says(&drain);
    assert!(code == Some(0) && again.starts_with("vip 192.0.2.1/32 is drained already, since 20"), "{again}");
    herald.says(&["drain", "192.0.2.1", "--for", "1h"]);
    let (_, again) = herald.says(&drain);
    assert!(again.ends_with("; its reason and end are new, and there is no end"), "{again}");
    let (_, others) = herald.says(&["undrain", "all"]);
    assert_eq!(others, "`drain all` was not in force; still drained: 192.0.2.1/32");

    // It survives a reload, and one that takes its VIP away.
    herald.configure(&text.replace(TWO, r#""192.0.2.2""#));
    herald.signal(Signal::HUP);
    let status = herald.wait_for_status("the reload", |status| status["vips"].as_array().unwrap().len() == 1);
    assert_eq!(status["drains"][0]["configured"], false);
    herald.configure(&text);
    herald.signal(Signal::HUP);
    let status = herald.wait_for_status("the VIP back", |status| status["vips"].as_array().unwrap().len() == 2);
    assert_eq!(status["vips"][0]["state"], "drained");
    assert_eq!(router.rest(), [], "none of that was the router's business");

    assert_eq!(herald.says(&["undrain", "192.0.2.1"]), (Some(0), "vip 192.0.2.1/32 is no longer drained".to_owned()));
    herald.wait_for_log(&format!("undrain 192.0.2.1/32 by {by}"));
    router.expect(&announce(VIP));
    assert_eq!(herald.says(&["undrain", "192.0.2.1"]), (Some(0), "vip 192.0.2.1/32 was not drained".to_owned()));
    assert_eq!(router.rest(), []);
    assert_eq!(herald.ask(&["status"]).status.code(), Some(0));
    drop(backend);
}

/// However it ends, and without graceful restart.
#[test]
fn drains_outlive_the_daemon() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let mut herald = announcing(&config(&router, backend.port, TWO, "0s").replace("[daemon]", ONE_SECOND), &mut router);
    assert_eq!(herald.says(&["drain", "192.0.2.1", "--reason", "new certificates"]).0, Some(0));
    let drain = herald.status().unwrap()["drains"][0].clone();
    // The file is written by another thread.
    let state = herald.state();
    herald.wait_for_status("state file", |_| {
        let saved = fs::read(&state).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        saved.is_some_and(|saved| saved["drains"].as_object().is_some_and(|drains| drains.len() == 1))
    });
    for signal in [Signal::KILL, Signal::KILL, Signal::TERM, Signal::TERM, Signal::USR2] {
        herald.signal(signal);
        herald.wait_for_end(PATIENCE);
        router.wait_for(&Seen::Closed);
        herald.start();
        let status = herald.wait_for_status("the other VIP", |status| status["vips"][1]["state"] == "announced");
        let drains = status["drains"].as_array().unwrap();
        assert_eq!((drains.len(), &drains[0]), (1, &drain), "{signal:?}");
        assert_eq!(status["vips"][0]["state"], "drained", "{signal:?}");
        // Never announced, with GRACEFUL_SHUTDOWN or without.
        let told = [Seen::Established, announce("192.0.2.2/32"), Seen::EndOfRib];
        told.iter().for_each(|seen| router.expect(seen));
    }
    assert_eq!(herald.says(&["undrain", "192.0.2.1"]).0, Some(0));
    router.expect(&announce(VIP));
}

/// A full disk, as far as the daemon can see.
#[test]
fn a_drain_that_no_file_remembers_says_so() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let herald = announcing(&config(&router, backend.port, TWO, "0s").replace("[daemon]", ONE_SECOND), &mut router);
    let state = herald.state();
    herald.wait_for_status("the state file", |status| state.exists() && status["state_file"].is_null());
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    let (_, first) = herald.says(&["drain", "192.0.2.1"]);
    assert!(first.starts_with("vip 192.0.2.1/32 is drained: "), "{first}");
    let status = herald.wait_for_status("the fault", |status| status["state_file"].is_object());
    assert_eq!(status["state_file"]["error"], "it is no regular file", "{status}");
    assert_eq!(status["state_file"]["path"], state.to_str().unwrap());
    let (_, second) = herald.says(&["drain", "192.0.2.2"]);
    let warning = "; IT DOES NOT OUTLIVE A RESTART: the state file cannot be written: it is no regular file";
    assert!(second.ends_with(warning), "{second}");
    let (_, page) = herald.says(&["status", "--only", "peers"]);
    assert!(page.contains("state file NOT WRITTEN for ") && page.contains("it is no regular file"), "{page}");
    fs::remove_dir(&state).unwrap();
    herald.says(&["undrain", "192.0.2.2"]);
    herald.wait_for_status("the file again", |status| state.exists() && status["state_file"].is_null());
    let (_, third) = herald.says(&["drain", "192.0.2.2"]);
    assert!(!third.contains("RESTART"), "{third}");
}

#[test]
fn services_backends_peers_and_all() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let mut herald =
        Daemon::new(&config(&router, backend.port, ONE, "0s").replace("[daemon]", "[daemon]\ndrain_time = \"0s\""));
    herald.start();
    router.wait_for(&Seen::EndOfRib);
    let target = format!("web/127.0.0.1:{}", backend.port);
    for (target, said) in [
        ("web", "service web is drained: withdrawing the routes of the VIPs that need it".to_owned()),
        (&target, format!("backend {target} is drained: it does not count for service web any more")),
        ("peer/tor-a", "peer tor-a is drained: withdrawing the routes that it has".to_owned()),
        ("all", "everything is drained: withdrawing all routes".to_owned()),
    ] {
        assert_eq!(herald.says(&["drain", target]), (Some(0), said));
        router.expect(&withdraw(VIP));
        let status = herald.status().unwrap();
        let state = |path: &str| status.pointer(path).unwrap().clone();
        match target {
            "web" => {
                assert_eq!((state("/services/0/state"), state("/services/0/up")), ("drained".into(), false.into()));
            }
            "peer/tor-a" => {
                assert_eq!((state("/peers/0/drained"), state("/vips/0/state")), (true.into(), "announced".into()));
            }
            "all" => assert_eq!(state("/vips/0/reason"), "everything is drained"),
            _ => {
                assert_eq!(state("/services/0/backends/0/state"), "drained");
                assert_eq!(state("/services/0/backends/0/since"), state("/drains/0/since"));
            }
        }
        assert_eq!(state("/peers/0/state"), "established");
        assert_eq!(herald.says(&["undrain", target]).0, Some(0));
        router.expect(&announce(VIP));
    }
    // With an end, it ends by itself.
    let (code, text) = herald.says(&["drain", "all", "--for", "1s"]);
    assert!(code == Some(0) && text.contains("; until 20"), "{text}");
    router.expect(&withdraw(VIP));
    router.expect(&announce(VIP));
    herald.wait_for_log("undrain all: its time has passed");
    assert_eq!(herald.status().unwrap()["drains"], serde_json::json!([]));
}

#[test]
fn what_is_refused() {
    let router = Router::start();
    let mut herald = Daemon::new(&config(&router, 9, ONE, "0s"));
    assert_eq!(herald.says(&["drain", "all"]).0, Some(2), "no daemon");
    herald.start();
    herald.wait_for_status("answer", |_| true);
    for (target, meant) in [
        ("192.0.2.11", "`192.0.2.11/32` to drain; did you mean `192.0.2.1/32`?"),
        ("wbe", "`wbe` to drain; did you mean `web`?"),
        ("tor-a", "`tor-a` to drain; did you mean `peer/tor-a`?"),
        ("peer/tor-b", "`peer/tor-b` to drain; did you mean `peer/tor-a`?"),
        ("web/127.0.0.1:8", "`web/127.0.0.1:8` to drain; did you mean `web/127.0.0.1:9`?"),
        ("elsewhere", "`elsewhere` to drain"),
    ] {
        for command in ["drain", "undrain"] {
            let (code, text) = herald.says(&[command, target]);
            assert_eq!(code, Some(1), "{text}");
            assert!(text.ends_with(meant), "{text}");
        }
    }
    for bad in [&["drain"][..], &["drain", "all", "--for", "soon"], &["undrain"]] {
        assert_eq!(herald.says(bad).0, Some(2), "{bad:?}");
    }
    assert_eq!(herald.says(&["drain", "all", "--for", "0s"]).0, Some(1));
    let reply = |request: &str| {
        let mut stream = UnixStream::connect(herald.socket()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let octets = read_to_end(stream).recv_timeout(PATIENCE).expect("the daemon hangs up");
        String::from_utf8(octets).unwrap()
    };
    let newer = reply("{\"command\":\"drain\",\"version\":2,\"arguments\":{\"target\":\"all\"}}\n");
    assert!(newer.contains("version 2 of the protocol is not known here"), "{newer}");
    let unknown = reply("{\"command\":\"drain\",\"arguments\":{\"target\":\"all\",\"slowly\":true}}\n");
    assert!(unknown.contains("unknown field `slowly`"), "{unknown}");
    assert_eq!(herald.status().unwrap()["drains"], serde_json::json!([]), "nothing was done");
}
