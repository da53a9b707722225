//! `herald speak` as a user runs it, against `herald listen` on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use herald::driver::clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take. Passing tests take much less.
const LIMIT: Duration = Duration::from_secs(20);

fn herald() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command.env_remove("HERALD_SOCKET").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Lines, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line with these words; those before it are in the message when there is none.
fn find(lines: &Receiver<String>, words: &str) -> String {
    let deadline = clock() + LIMIT;
    let mut others = Vec::new();
    loop {
        let line = lines.recv_timeout(deadline.saturating_duration_since(clock()));
        match line.unwrap_or_else(|_| panic!("no {words:?} in {others:#?}")) {
            line if line.contains(words) => return line,
            line => others.push(line),
        }
    }
}

/// Waits for lines with each of these words, in any order.
fn find_all(lines: &Receiver<String>, words: &[&str]) {
    let deadline = clock() + LIMIT;
    let mut missing = words.to_vec();
    while !missing.is_empty() {
        let line = lines.recv_timeout(deadline.saturating_duration_since(clock()));
        let line = line.unwrap_or_else(|_| panic!("no {missing:?}"));
        missing.retain(|words| !line.contains(words));
    }
}

/// A process that ends with the test.
struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Running { child, out, err }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = clock() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(clock() < deadline, "still there");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Its exit code, and all that it has still to say.
    fn end(mut self) -> (Option<i32>, Vec<String>, Vec<String>) {
        let code = self.wait().code();
        (code, self.out.iter().collect(), self.err.iter().collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// `herald listen` as AS 65000, and its port.
fn router() -> (Running, String) {
    let router = Running::start(herald().args(["listen", "--listen", "127.0.0.1:0", "--local-as", "65000", "--json"]));
    let listening = find(&router.err, "listening on");
    let port = listening.rsplit(':').next().unwrap().to_owned();
    (router, port)
}

/// `herald speak` to it, with these arguments besides.
fn speak(port: &str, arguments: &[&str]) -> Command {
    let mut command = herald();
    command.args(["speak", "--local-as", "65001", "--router-id", "10.0.0.1", "--peer-as", "65000"]);
    command.args(["127.0.0.1", "--port", port]).args(arguments);
    command
}

/// Started with an open standard input.
fn typed(command: &mut Command) -> (Running, ChildStdin) {
    let mut speaker = Running::start(command.stdin(Stdio::piped()));
    let stdin = speaker.child.stdin.take().unwrap();
    (speaker, stdin)
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn announces_changes_and_withdraws_by_commands() {
    let (router, port) = router();
    let (mut speaker, mut commands) = typed(&mut speak(
        &port,
        &[
            "--next-hop-ipv6",
            "2001:db8:1::1",
            "--announce",
            "192.0.2.1/32",
            "--announce",
            "2001:db8::1 med 7",
            "--med",
            "10",
            "--community",
            "65000:1",
        ],
    ));
    let mut say = |line: &str| writeln!(commands, "{line}").unwrap();
    let seen = |words: &str| json(&find(&router.out, words));

    assert_eq!(seen("established")["as"], 65001);
    let route = seen("announce");
    assert_eq!(
        (&route["prefix"], &route["med"], &route["communities"][0]),
        (&"192.0.2.1/32".into(), &10.into(), &"65000:1".into())
    );
    let route = seen("2001:db8::1/128");
    assert_eq!((&route["med"], &route["next_hop"][0]), (&7.into(), &"2001:db8:1::1".into()), "its own word goes first");
    assert_eq!(seen("end_of_rib")["family"], "ipv4");
    find(&speaker.out, "synchronised  ipv6: 1 route");

    say("announce 192.0.2.1/32 med 20 prepend 1 origin egp community no-export");
    let route = seen("announce");
    assert_eq!((&route["med"], &route["origin"]), (&20.into(), &"egp".into()));
    assert_eq!(route["as_path"], serde_json::json!([65001, 65001]));
    assert_eq!(route["communities"], serde_json::json!(["65000:1", "no-export"]));
    find(&speaker.out, "announce      192.0.2.1/32, origin egp, prepend 1, med 20, community no-export");

    say("announce 198.51.100.0/24 count 2");
    assert_eq!(seen("announce")["prefix"], "198.51.100.0/24");
    assert_eq!(seen("announce")["prefix"], "198.51.101.0/24");
    say("withdraw 198.51.100.0/24");
    assert_eq!(seen("withdraw")["prefix"], "198.51.100.0/24");

    // A wrong line is an error and nothing else.
    say("withdrw 192.0.2.1");
    assert_eq!(find(&speaker.err, "no command"), "no command is called \"withdrw\"; did you mean withdraw?; try help");
    say("set med x");
    assert_eq!(find(&speaker.err, "integer"), "`--med` must be an integer, not `x`");

    say("status");
    find(&speaker.out, "AS 65000, ipv4 2, ipv6 1, 3 routes wanted");
    say("help");
    find(&speaker.err, "Attributes are origin");
    say("quit back at noon");
    assert_eq!(speaker.wait().code(), Some(0));
    for prefix in ["192.0.2.1/32", "198.51.101.0/24", "2001:db8::1/128"] {
        assert_eq!(seen("withdraw")["prefix"], prefix);
    }
    assert_eq!(seen("closed")["reason"], "peer sent Cease/Administrative Shutdown: \"back at noon\"");
}

#[test]
fn options_change_while_it_runs() {
    let (router, port) = router();
    let routes = ["--announce", "192.0.2.1", "--announce", "198.51.101.0/24"];
    let (mut speaker, mut commands) = typed(&mut speak(&port, &routes));
    let mut say = |line: &str| writeln!(commands, "{line}").unwrap();
    let seen = |words: &str| json(&find(&router.out, words));
    assert_eq!(seen("end_of_rib")["family"], "ipv4");
    find(&speaker.out, "synchronised  ipv6: 0 routes");

    say("set reject 198.51.100.0/22");
    find(&speaker.out, "reject: the session is kept, and what differs announced again");
    assert_eq!(seen("withdraw")["prefix"], "198.51.101.0/24");
    say("refresh");
    assert_eq!(seen("announce")["prefix"], "192.0.2.1/32");
    say("status");
    find(&speaker.out, "AS 65000, ipv4 1, ipv6 0, 2 routes wanted");
    // What cannot be announced is said when it is asked for.
    say("announce 2001:db8::1");
    find(&speaker.out, "no-next-hop   ipv6 routes are not announced; set --next-hop-ipv6");
    say("set next-hop-ipv6 2001:db8:1::1");
    assert_eq!(seen("announce")["next_hop"][0], "2001:db8:1::1");

    say("set local-as 65002");
    // What the command did and what came of it: either may be said first.
    find_all(&speaker.out, &["closed        ", "local-as: the session is reset"]);
    assert_eq!(seen("established")["as"], 65002);
    find(&speaker.out, "synchronised  ipv6: 1 route");

    say("unset reject");
    assert_eq!(seen("198.51.101.0/24")["event"], "announce");
    say("withdraw all");
    say("quit");
    assert_eq!(speaker.wait().code(), Some(0));
    for prefix in ["192.0.2.1/32", "198.51.101.0/24", "2001:db8::1/128"] {
        assert_eq!(seen("withdraw")["prefix"], prefix);
    }
    assert_eq!(seen("closed")["reason"], "peer sent Cease/Administrative Shutdown: \"herald speak ended\"");
}

#[test]
fn a_script_runs_to_its_end_and_prints_json() {
    let (router, port) = router();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, "wait established 10s\nwait synchronised\nstatus\n\n# a change\nannounce 192.0.2.9 med 1\nsleep 50ms\nrefresh\nset med 3\nwithdraw all\nset connect-retry 1s\n").unwrap();
    let arguments = ["--announce", "192.0.2.0/31", "--count", "3", "--script", script.to_str().unwrap(), "--json"];
    let (code, out, err) = Running::start(&mut speak(&port, &arguments)).end();
    assert_eq!((code, err), (Some(0), vec![]), "{out:#?}");
    let objects: Vec<Value> = out.iter().map(|line| json(line)).collect();
    let of = |event: &str| objects.iter().filter(|object| object["event"] == event).collect::<Vec<_>>();
    for object in &objects {
        assert_eq!(object["peer"], "127.0.0.1");
        assert!(object["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{object}");
    }
    let established = of("established")[0];
    for (key, value) in
        [("as", 65000.into()), ("hold_time_s", 9.into()), ("families", serde_json::json!(["ipv4", "ipv6"]))]
    {
        assert_eq!(established[key], value, "{established}");
    }
    assert!(of("synchronised").iter().any(|object| object["family"] == "ipv4" && object["routes"] == 3));
    let status = of("status")[0];
    assert_eq!((&status["routes"], &status["peers"][0]["state"]), (&3.into(), &"established".into()));
    assert_eq!(status["peers"][0]["advertised"], serde_json::json!({"ipv4": 3, "ipv6": 0}));
    assert_eq!((&of("announce")[0]["prefix"], &of("announce")[0]["med"]), (&"192.0.2.9/32".into(), &1.into()));
    assert_eq!(of("refresh").len(), 1);
    let effects: Vec<_> = of("set").iter().map(|object| object["session"].clone()).collect();
    assert_eq!(effects, ["readvertised", "kept"]);
    assert_eq!(of("withdraw")[0]["count"], 4);
    assert!(of("closed")[0]["reason"].as_str().unwrap().contains("herald speak ended"));
    for prefix in ["192.0.2.0/31", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.9/32"] {
        assert_eq!(json(&find(&router.out, "\"announce\""))["prefix"], prefix);
    }
    find(&router.out, "herald speak ended");
}

#[test]
fn a_signal_withdraws_and_says_goodbye() {
    for signal in [Signal::INT, Signal::TERM] {
        let (router, port) = router();
        // Nothing to read is no reason to end.
        let speaker = Running::start(&mut speak(&port, &["--announce", "192.0.2.1/32"]));
        find(&router.out, "\"end_of_rib\",\"family\":\"ipv6\"");
        speaker.signal(signal);
        let (code, _, err) = speaker.end();
        assert_eq!((code, err), (Some(0), vec![]));
        find(&router.out, "withdraw");
        find(&router.out, "Cease/Administrative Shutdown: \\\"herald speak was interrupted\\\"");
    }
}

#[test]
fn no_session_is_exit_code_1_with_the_reason() {
    let (router, port) = router();
    let said = |arguments: &[&str], port: &str| {
        let (code, _, err) = Running::start(&mut speak(port, arguments)).end();
        (code, err.join("\n"))
    };
    let refused = "herald speak: there is no session: cannot connect: connection refused".to_owned();
    assert_eq!(said(&["--patience", "300ms"], "1"), (Some(1), refused));
    let gone = "herald speak: there is no session at the end: cannot connect: connection refused".to_owned();
    assert_eq!(said(&["--duration", "300ms"], "1"), (Some(1), gone));
    // At once: the router will not change its mind.
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, "wait established 200ms\n").unwrap();
    let late = "herald speak: not established within 200ms: cannot connect: connection refused".to_owned();
    assert_eq!(said(&["--script", script.to_str().unwrap()], "1"), (Some(1), late));

    let mut command = herald();
    command.args(["speak", "--local-as", "65001", "--router-id", "10.0.0.1", "--peer-as", "65009"]);
    let (code, _, err) = Running::start(command.args(["127.0.0.1", "--port", &port])).end();
    assert_eq!(err, ["herald speak: peer AS is 65000, expected 65009 (sent OPEN Message Error/Bad Peer AS)"]);
    assert_eq!(code, Some(1));
    // The router's own router ID, in its own AS: it is the router that refuses.
    let mut command = herald();
    command.args(["speak", "--local-as", "65000", "--router-id", "192.0.0.8", "--peer-as", "internal"]);
    let (code, _, err) = Running::start(command.args(["127.0.0.1", "--port", &port])).end();
    assert_eq!(code, Some(1));
    assert!(err[0].contains("OPEN Message Error/Bad BGP Identifier"), "{err:?}");
    drop(router);
}

#[test]
fn usage_is_exit_code_2_with_every_mistake() {
    let said = |arguments: &[&str]| {
        let (code, out, err) = Running::start(&mut speak("1", arguments)).end();
        assert_eq!((code, out), (Some(2), vec![]));
        err.join("\n")
    };
    assert_eq!(
        said(&["--med", "x", "--families", "ipv5"]),
        "herald speak: `--families` must be \"ipv4\" or \"ipv6\", not `ipv5`; did you mean `ipv4`?\nherald speak: `--med` must be an integer, not `x`"
    );
    assert_eq!(
        said(&["--announce", "192.0.2.1 mde 1"]),
        "herald speak: --announce \"192.0.2.1 mde 1\": no attribute is called \"mde\"; did you mean med?"
    );
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, "announce 192.0.2.1\nwiat established\nsleep\n").unwrap();
    let name = script.to_str().unwrap();
    assert_eq!(
        said(&["--script", name]),
        format!(
            "herald speak: {name}:2: no command is called \"wiat\"; did you mean wait?; try help\n\
                 herald speak: {name}:3: sleep takes a duration, such as 2s or 250ms"
        )
    );
    assert!(said(&["--count", "0"]).contains("--count"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    let (router, port) = router();
    let mut child =
        speak(&port, &["--announce", "192.0.2.1/32"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut commands = child.stdin.take().unwrap();
    drop(child.stdout.take());
    find(&router.out, "established");
    // Whichever line is the first that cannot be printed; the process may end before this one.
    let _unread = writeln!(commands, "status");
    find(&router.out, "Cease/Administrative Shutdown");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
