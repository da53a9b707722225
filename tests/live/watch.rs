//! What is told of events: to those who watch, and to hooks.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use super::daemon::{Backend, Daemon, herald};
use super::router::{PATIENCE, Router, Seen};
use super::{ONE, VIP, announce, config, withdraw};

/// `herald watch --json`.
struct Watch {
    child: Child,
    events: Receiver<Value>,
}

impl Watch {
    fn start(daemon: &Daemon, arguments: &[&str]) -> Watch {
        let mut command = herald();
        command.arg("watch").args(arguments).arg("--json").arg("--socket").arg(daemon.socket());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (tell, events) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        thread::spawn(move || {
            let events = lines.map_while(Result::ok).map(|line| serde_json::from_str(&line).unwrap());
            events.for_each(|event| tell.send(event).unwrap_or_default());
        });
        let watch = Watch { child, events };
        watch.next("watching");
        watch
    }

    /// The next event of this kind.
    fn next(&self, kind: &str) -> Value {
        self.next_with(kind, "event", kind)
    }

    /// The next event of this kind with this in it: on a busy machine there are others, of checks that could not run in time.
    fn next_with(&self, kind: &str, key: &str, value: impl Into<Value>) -> Value {
        let value = value.into();
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {kind}"));
            if event["event"] == kind && event[key] == value {
                return event;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended with the daemon.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// From the result of a check up to what the router is told; the log, the status and the events say the same.
#[test]
fn the_chain_from_a_check_to_the_routes() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let port = backend.port;
    let mut daemon = Daemon::new(&config(&router, port, ONE, "0s"));
    daemon.start();
    router.wait_for(&announce(VIP));
    let page = daemon.ask(&["why", "192.0.2.1"]);
    let text = String::from_utf8(page.stdout).unwrap();
    let has = "tor-a has the route: next hop 127.0.0.1, AS path 65001";
    assert!(page.status.success() && text.contains(has), "{text}");
    let (all, vips) = (Watch::start(&daemon, &[]), Watch::start(&daemon, &["--event", "vip"]));
    daemon.ask(&["drain", "peer/tor-a"]);
    assert_eq!(all.next("drain")["target"], "peer/tor-a");
    daemon.ask(&["undrain", "peer/tor-a"]);
    assert_eq!(all.next("drain")["to"], "undrained");
    drop(backend);
    router.wait_for(&withdraw(VIP));
    let name = format!("web/127.0.0.1:{port}");
    let check = all.next_with("check", "to", "failing");
    assert_eq!(check["backends"][0], name, "{check}");
    assert_eq!(check["reason"], "connection refused");
    assert_eq!(all.next_with("backend", "to", "down")["backend"], name);
    assert_eq!(all.next_with("service", "to", "down")["service"], "web");
    let vip = all.next("vip");
    assert_eq!((&vip["vip"], &vip["from"], &vip["to"]), (&VIP.into(), &"announced".into(), &"withdrawn".into()));
    let failing = &vip["cause"]["failing"];
    assert_eq!(
        (&vip["cause"]["kind"], &failing["detail"]),
        (&"service_down".into(), &"connection refused".into()),
        "{vip}"
    );
    let routes = all.next_with("routes", "withdrawn", 1);
    assert_eq!((&routes["peer"], &routes["prefixes"][0]), (&"tor-a".into(), &VIP.into()));
    assert_eq!(vips.events.recv_timeout(PATIENCE).unwrap(), vip, "the others are not for it");
    let status = daemon.status().unwrap();
    assert_eq!(status["vips"][0]["reason"], vip["reason"]);
    let why = daemon.ask(&["why", "192.0.2.1", "--json"]);
    assert_eq!(why.status.code(), Some(1), "{why:?}");
    let why: Value = serde_json::from_slice(&why.stdout).unwrap();
    assert_eq!(why["vip"]["reason"], vip["reason"]);
    let check = &why["services"][0]["backends"][0]["checks"][0];
    assert_eq!((&check["detail"], &check["failure"]), (&"connection refused".into(), &"refused".into()), "{why}");
    assert!(check["runs"].as_str().unwrap().ends_with("--"), "{check}");
    let page = String::from_utf8(daemon.ask(&["why", "192.0.2.1"]).stdout).unwrap();
    for words in [
        "192.0.2.1/32 is withdrawn since",
        "service web: down for",
        "connection refused [refused]; runs ",
        "tor-a does not have the route",
    ] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
    let unknown = daemon.ask(&["why", "192.0.2.3"]);
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert!(unknown.status.code() == Some(2) && error.contains("did you mean `192.0.2.1/32`?"), "{error}");
    daemon.wait_for_log(vip["text"].as_str().unwrap());

    daemon.signal(Signal::TERM);
    assert_eq!(all.next("daemon")["to"], "stopping");
    assert_eq!(all.next("daemon")["to"], "stopped");
    drop(vips);
    let mut all = all;
    assert_eq!(all.child.wait().unwrap().code(), Some(0), "the stream has ended");
}

/// One that does not read, and one that talks in between, are nobody's business.
#[test]
fn watchers_that_behave_badly() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let mut daemon = Daemon::new(&config(&router, backend.port, ONE, "0s"));
    daemon.start();
    router.wait_for(&announce(VIP));
    let mut watchers: Vec<UnixStream> = (0..16)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.socket()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"{\"command\":\"watch\"}\n").unwrap();
            let mut answer = [0; 32];
            stream.read_exact(&mut answer).unwrap();
            stream.write_all(&[0xff; 4096]).unwrap();
            stream
        })
        .collect();
    let typo = daemon.ask(&["watch", "--event", "vipp"]);
    assert!(typo.status.code() == Some(2) && String::from_utf8_lossy(&typo.stderr).contains("'vip'"), "{typo:?}");
    let refused = herald().arg("watch").arg("--socket").arg(daemon.socket()).output().unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && error.contains("16 watch already"), "{error}");
    daemon.ask(&["drain", VIP]);
    for stream in &mut watchers {
        // There may be others on a busy machine.
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("\"event\":\"drain\"")));
    }
    drop(watchers);
    daemon.wait_for_status("room", |_| {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.write_all(b"{\"command\":\"watch\"}\n").unwrap();
        let mut first = String::new();
        BufReader::new(stream).read_line(&mut first).unwrap();
        first.contains("\"ok\":true")
    });
}

/// A program is given the same document as those who watch, and the same facts in its environment.
#[test]
fn a_hook_is_told_the_same() {
    let mut router = Router::start();
    let backend = Backend::start(0);
    let dir = tempfile::tempdir().unwrap();
    let (program, told) = (dir.path().join("notify"), dir.path().join("told"));
    let script = format!(
        "#!/bin/sh\n{{ cat; echo \"$HERALD_EVENT $HERALD_VIP $HERALD_FROM $HERALD_TO\"; }} >> {}\n",
        told.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let hooks = format!("[[hooks.notify]]\ncommand = \"{}\"\nevents = [\"vip\"]\n", program.display());
    let mut daemon = Daemon::new(&(config(&router, backend.port, ONE, "0s") + &hooks));
    daemon.start();
    router.wait_for(&announce(VIP));
    let watch = Watch::start(&daemon, &["--event", "vip"]);
    let words = || fs::read_to_string(&told).unwrap_or_default();
    // That it is holding may be told first.
    daemon.wait_for_status("a hook", |_| words().contains("vip 192.0.2.1/32 holding announced"));
    drop(backend);
    let withdrawn = watch.next("vip");
    assert_eq!(withdrawn["to"], "withdrawn", "{withdrawn}");
    daemon.wait_for_status("the hook", |_| words().contains("vip 192.0.2.1/32 announced withdrawn"));
    let told: Vec<String> = words().lines().map(str::to_owned).collect();
    let mut documents = told.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert_eq!(documents.next_back().unwrap(), withdrawn);
    router.wait_for(&Seen::Withdraw(VIP.to_owned()));
    // What happens in the end is told, too.
    drop(watch);
    daemon.signal(Signal::TERM);
    daemon.wait_for_end(PATIENCE);
}
