//! `herald diff`, `reload` and `probe` as an operator types them.

use std::fmt::Write as _;

use rustix::process::Signal;
use serde_json::json;

use super::*;

impl Daemon {
    /// A command's exit code, and all that it says.
    fn run_command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.ask(arguments);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
        })
    }
}

/// What is foretold happens, and nothing happens before.
#[test]
fn a_reload_does_what_diff_has_said() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let text = config(&router, backend.port, TWO, "0s");
    let mut herald = Daemon::new(&text);
    herald.start();
    for wanted in [Seen::Established, announce(VIP), announce("192.0.2.2/32"), Seen::EndOfRib] {
        router.expect(&wanted);
    }
    let (code, same) = herald.run_command(&["diff"]);
    assert_eq!((code, &*same), (Some(0), "Nothing is different; every session is kept.\n"));

    // One VIP goes, one comes, one has another route; and what is needed is more than there is.
    let next = text.replace(TWO, r#""192.0.2.1", "192.0.2.3""#) + "[[vip]]\naddress = \"192.0.2.1\"\nmed = 7\n";
    herald.configure(&next);
    let said = herald.json(&["diff"]);
    let fates = json!([
        {"prefix": "192.0.2.1/32", "from": "announced", "to": "announced", "reason": null, "route_before": "", "route_after": "med 7"},
        {"prefix": "192.0.2.2/32", "from": "announced", "to": null, "reason": null, "route_before": "", "route_after": null},
        {"prefix": "192.0.2.3/32", "from": null, "to": "announced", "reason": "all services are up", "route_before": null, "route_after": ""},
    ]);
    assert_eq!((&said["valid"], &said["announcements"]), (&json!(true), &fates), "{said:#}");
    assert_eq!(said["peers"], json!([{"name": "tor-a", "change": "kept", "details": []}]));
    assert_eq!(router.rest(), [], "nothing has changed yet");
    assert_eq!(herald.json(&["reload"]), said);
    for wanted in [withdraw("192.0.2.2/32"), announce("192.0.2.3/32"), announce(VIP)] {
        router.expect(&wanted);
    }
    herald.wait_for_log("herald reload by ");
    herald.wait_for_log("; 1 VIP removed, 1 VIP added, 1 service changed, 1 VIP changed");

    // Too much is required: the withdrawal is foretold, with its reason.
    let starved = next.replace("port = 80\n", "port = 80\nrequired = 2\n");
    herald.configure(&starved);
    let said = herald.json(&["diff"]);
    for fate in said["announcements"].as_array().unwrap() {
        let reason = fate["reason"].as_str().unwrap();
        assert!(reason.starts_with("service web is down: 1 of 1 backends available, 2 required"), "{reason}");
        assert_eq!((&fate["from"], &fate["to"]), (&json!("announced"), &json!("withdrawn")));
    }
    let (code, page) = herald.run_command(&["diff"]);
    assert!(code == Some(0) && page.contains("2 routes are withdrawn. Nothing has changed yet."), "{page}");
    assert_eq!(herald.json(&["reload"]), said);
    router.expect(&withdraw(VIP));
    router.expect(&withdraw("192.0.2.3/32"));

    // A session that has to be made anew.
    herald.configure(&next.replace("families = [\"ipv4\"]", "families = [\"ipv4\"]\nhold_time = \"30s\""));
    let (code, page) = herald.run_command(&["reload"]);
    assert!(code == Some(0) && page.contains("  tor-a  reset          hold_time\n"), "{page}");
    assert!(
        page.contains("Reloaded: 1 peer reset,") && page.contains("0 of 1 sessions are kept as they are"),
        "{page}"
    );
}

/// With the errors, wherever the files are; and what was in force stays, and is seen to be stale until it is mended.
#[test]
fn what_cannot_be_taken_changes_nothing() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let text = config(&router, backend.port, ONE, "0s");
    let herald = announcing(&text, &mut router);

    let elsewhere = herald.path("candidate.toml");
    fs::write(&elsewhere, "[[service]]\nnme = 1\n").unwrap();
    let elsewhere = elsewhere.to_str().unwrap();
    let (code, page) = herald.run_command(&["diff", "--config", elsewhere]);
    assert!(code == Some(1) && page.contains("candidate.toml:2:1: unknown key `nme`"), "{page}");
    assert!(page.contains("a reload would be refused"), "{page}");
    let (code, page) = herald.run_command(&["diff", "--config", "/nowhere/herald.toml"]);
    assert!(code == Some(1) && page.contains("/nowhere/herald.toml:1:1: does not exist"), "{page}");
    // Of a good candidate, and not of the daemon's own file, which is as it was.
    fs::write(elsewhere, herald_text(&herald, &text.replace("port = 80\n", "port = 81\n"))).unwrap();
    let (code, page) = herald.run_command(&["diff", "--config", elsewhere]);
    assert!(code == Some(0) && page.contains("port tcp/80 -> tcp/81"), "{page}");
    let (code, page) = herald.run_command(&["reload"]);
    assert_eq!((code, &*page), (Some(0), "Reloaded: nothing is different; every session is kept.\n"));

    herald.configure("x = 1\n");
    let (code, page) = herald.run_command(&["reload"]);
    assert!(code == Some(1) && page.contains("herald.toml:1:1: unknown key `x`"), "{page}");
    assert!(page.contains("herald: not reloaded: 2 errors; the configuration in force stays"), "{page}");
    let refused = herald.json(&["reload"]);
    assert_eq!((&refused["valid"], refused["errors"].as_array().unwrap().len()), (&json!(false), 2));
    assert_eq!(herald.status().unwrap()["config"]["stale"], true);
    herald.configure(&text);
    assert_eq!(herald.run_command(&["reload"]).0, Some(0));
    assert_eq!(herald.status().unwrap()["config"]["stale"], false);
    assert_eq!(router.rest(), []);
}

/// Many at once, among signals: every one gets the answer of a reload that began after it asked.
#[test]
fn everybody_who_waits_for_a_reload_is_answered() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let text = config(&router, backend.port, ONE, "0s");
    let herald = announcing(&text, &mut router);
    let herald = &herald;
    for round in 0..5 {
        herald.configure(&text.replace("port = 80\n", &format!("port = {}\n", 81 + round)));
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| herald.json(&["reload"]))).collect();
            herald.signal(Signal::HUP);
            for client in clients {
                assert_eq!(client.join().unwrap()["valid"], true);
            }
        });
        // All of them have read what was there before they asked.
        assert_eq!(herald.json(&["diff"])["services"], json!([]));
    }
}

/// A program that a probe has begun ends with the daemon.
#[test]
fn a_stop_waits_for_no_probe() {
    let router = Router::start();
    let text = config(&router, 9, ONE, "0s").replace("checks = [\"alive\"]", "checks = [\"alive\", \"slow\"]");
    let slow = "[checks.slow]\ntype = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"echo $$ >> PIDS; exec sleep 300\"]\ninterval = \"1h\"\ntimeout = \"10m\"\n";
    let mut herald = Daemon::new("");
    let pids = herald.path("pids");
    let slow = slow.replace("PIDS", pids.to_str().unwrap());
    herald.configure(&format!("{text}{slow}"));
    herald.start();
    let begun = |count: usize| {
        herald.wait("programs", || {
            let text = fs::read_to_string(&pids).ok()?;
            let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
            (pids.len() == count).then_some(pids)
        })
    };
    // The daemon's own run, and that of the probe.
    begun(1);
    std::thread::scope(|scope| {
        let probe = scope.spawn(|| herald.ask(&["probe", "web"]));
        let programs = begun(2);
        herald.signal(Signal::TERM);
        probe.join().unwrap();
        for pid in programs {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            herald.wait("its end", || rustix::process::test_kill_process(pid).is_err().then_some(()));
        }
    });
    assert!(herald.wait_for_end(PATIENCE).success());
}

/// As the unit runs it whenever the daemon has ended, also for want of a good configuration.
#[test]
fn a_flush_says_nothing_of_files_that_do_not_name_gobgpd() {
    let daemon = Daemon::new("x = 1\n");
    let config = daemon.config();
    let flush = ["gobgp", "flush", "--unless-graceful", "--config", config.to_str().unwrap()];
    let flush = || {
        let output = herald().args(flush).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, text) = flush();
    assert_eq!((code, &*text), (Some(0), ""));
    daemon.configure("[gobgp]\napi = 1\n");
    let (code, text) = flush();
    assert!(code == Some(2) && text.contains("the configuration is not valid; name gobgpd with --api"), "{text}");
}

/// Who asks while the files are being read may have changed them since.
#[test]
fn who_asks_during_a_reload_waits_for_the_next() {
    let router = Router::start();
    let text = config(&router, 9, ONE, "0s");
    let herald = answering(&text);
    let large = |port: u16| {
        let service = |number: u32| {
            let (high, low) = (number / 250, number % 250);
            format!(
                "[[service]]\nname = \"s{number}\"\nvips = [\"198.18.{high}.{low}\"]\nport = {port}\nrequired = 0\n"
            )
        };
        (0..10_000).map(service).fold(text.clone(), |text, service| text + &service)
    };
    herald.configure(&large(1));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| herald.json(&["reload"]));
        herald.wait_for_log("herald reload by ");
        herald.configure(&large(2));
        let second = herald.json(&["reload"]);
        let of = |said: &Value| {
            let services = said["services"].as_array().unwrap();
            (services.len(), services.first().map(|service| service["change"].clone()))
        };
        assert_eq!(of(&first.join().unwrap()), (10_000, Some("added".into())));
        // From one port to the other; or the first has taken so long to begin that it has read what there is now.
        let all = (10_000, Some("changed".into()));
        assert!([all, (0, None)].contains(&of(&second)), "{:?}", of(&second));
    });
}

/// Larger than any other request, and as much as a large site has.
#[test]
fn a_large_configuration_is_compared() {
    let router = Router::start();
    let text = config(&router, 9, ONE, "0s");
    let herald = answering(&text);
    let mut large = herald_text(&herald, &text);
    for number in 0..5_000 {
        let (high, low) = (number / 250, number % 250);
        let _infallible = write!(
            large,
            "[[service]]\nname = \"s{number}\"\nvips = [\"198.18.{high}.{low}\"]\nport = 80\nchecks = [\"alive\"]\n\
             backend = [{{ address = \"10.1.{high}.{low}\" }}]\n"
        );
    }
    let file = herald.path("large.toml");
    fs::write(&file, &large).unwrap();
    let said = herald.json(&["diff", "--config", file.to_str().unwrap()]);
    assert_eq!(said["services"].as_array().unwrap().len(), 5_000);
    assert_eq!(said["announcements"].as_array().unwrap().len(), 5_000);
    let (_, page) = herald.run_command(&["diff", "--config", file.to_str().unwrap()]);
    assert!(page.lines().count() < 200 && page.contains("... and 4950 more (--json has them all)"), "{page}");
    assert!(page.contains("5000 services added, 5000 VIPs added"), "{page}");
}

/// As a file of this daemon would be.
fn herald_text(herald: &Daemon, text: &str) -> String {
    let (socket, state) = (herald.socket(), herald.state());
    text.replace("SOCKET", socket.to_str().unwrap()).replace("STATE", state.to_str().unwrap())
}

/// Each step with its time; and no verdict changes by it.
#[test]
fn checks_by_hand() {
    let router = Router::start();
    let backend = Backend::start(0);
    let dead = {
        let gone = Backend::start(0);
        gone.port
    };
    let second = format!("[[service.backend]]\naddress = \"127.0.0.2\"\nport = {dead}\n");
    let asleep = "[checks.asleep]\ntype = \"tcp\"\ninterval = \"10m\"\nfast_interval = \"50ms\"\n";
    let text =
        config(&router, backend.port, ONE, "0s").replace("checks = [\"alive\"]", "checks = [\"alive\", \"asleep\"]");
    let mut herald = Daemon::new(&format!("{text}{second}{asleep}"));
    herald.start();
    herald.wait_for_status("up", |status| status["services"][0]["available"] == 1);
    let said = herald.json(&["probe", "web"]);
    let backends = said["backends"].as_array().unwrap();
    assert_eq!((backends.len(), &said["service"]), (2, &json!("web")));
    let good = &backends[0]["checks"][0];
    assert_eq!((&good["passed"], &good["detail"], &good["type"]), (&json!(true), &json!("connected"), &json!("tcp")));
    let first = good["steps"][0]["what"].as_str().unwrap();
    assert!(first.starts_with(&format!("connected to 127.0.0.1:{} from 127.0.0.1:", backend.port)), "{first}");
    assert!(good["took_us"].as_u64().unwrap() >= good["steps"][0]["at_us"].as_u64().unwrap());
    let bad = &backends[1]["checks"][0];
    let expected = (&json!(false), &json!("connection refused"), &json!("refused"));
    assert_eq!((&bad["passed"], &bad["detail"], &bad["failure"]), expected);

    let one = format!("web/127.0.0.1:{}", backend.port);
    let (code, page) = herald.run_command(&["probe", &one]);
    assert!(code == Some(0) && page.contains("passed in ") && !page.contains("127.0.0.2"), "{page}");
    assert_eq!(herald.run_command(&["probe", "web"]).0, Some(1));
    let (code, page) = herald.run_command(&["probe", "wbe"]);
    assert!(code == Some(1) && page.contains("there is no service \"wbe\"; is it web?"), "{page}");
    let (code, page) = herald.run_command(&["probe", "web/127.0.0.9:1"]);
    assert!(code == Some(1) && page.contains("has no backend 127.0.0.9:1; it has 127.0.0.1:"), "{page}");

    // The check that sleeps for minutes does not hear of what a probe finds.
    let port = backend.port;
    drop(backend);
    let said = herald.json(&["probe", &format!("web/127.0.0.1:{port}")]);
    assert_eq!(said["backends"][0]["checks"][1]["passed"], false);
    let status = herald.status().unwrap();
    let checks = status["services"][0]["backends"][0]["checks"].as_array().unwrap();
    let asleep = checks.iter().find(|check| check["name"] == "asleep").unwrap();
    assert_eq!(asleep["verdict"], "passing");
}

/// On a terminal of 80 columns, with addresses and reasons as long as they get: nothing runs over, and nothing is lost.
#[test]
fn pages_fit_a_terminal() {
    let router = Router::start();
    let vips = r#""192.0.2.1", "2001:db8:1234:5678:9abc:def0:1234:5678""#;
    let text = config(&router, 9, vips, "0s")
        .replace("families = [\"ipv4\"]\n", "")
        .replace("\"web\"", "\"a-service-with-a-long-name\"");
    let mut herald = Daemon::new(&text);
    herald.start();
    // What is still going on is told in other words each time.
    herald.wait_for_status("down", |status| {
        status["services"][0]["state"] == "down" && status["peers"][0]["state"] == "established"
    });
    let socket = herald.socket();
    let on_a_terminal = |command: &str, columns: usize| {
        let line = format!(
            "stty cols {columns} rows 60; {} --socket {} {command}",
            env!("CARGO_BIN_EXE_herald"),
            socket.display()
        );
        let output = std::process::Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().replace('\r', "")
    };
    let bare = |page: &str| {
        // Of each colour what is between escape and `m`.
        let mut parts = page.split("\x1b[");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + part.split_once('m').unwrap().1)
    };
    for command in [
        "status",
        "why 192.0.2.1",
        "why 2001:db8:1234:5678:9abc:def0:1234:5678",
        "diff",
        "probe a-service-with-a-long-name",
    ] {
        let page = on_a_terminal(command, 80);
        let (text, whole) = (bare(&page), bare(&on_a_terminal(command, 400)));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line:?}\n{text}");
        }
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .filter(|word| !word.ends_with("ms") && !word.contains('.'))
                .collect::<Vec<_>>()
        };
        if !command.starts_with("probe") {
            assert_eq!(words(&text).len(), words(&whole).len(), "{text}\n{whole}");
        }
    }
    assert!(on_a_terminal("status", 80).contains("\x1b[31mwithdrawn\x1b[0m"), "in colour by state");
    // Whole lines for programs.
    let (_, piped) = herald.run_command(&["status"]);
    assert!(!piped.contains('\x1b') && piped.lines().any(|line| line.chars().count() > 80), "{piped}");
}
