//! `herald demo`, as a newcomer runs it.
#![expect(clippy::disallowed_methods, reason = "a test waits for a process")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn herald(arguments: &[&str], dir: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command.args(arguments).env("TMPDIR", dir).env_remove("HERALD_SOCKET").stdin(Stdio::null());
    command
}

#[test]
fn tells_the_whole_story_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = herald(&["demo"], dir.path()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let mut rest = told.as_str();
    for line in [
        "session with herald (AS 65001) is up",
        "192.0.2.1/32 announced: next hop 127.0.0.1, path 65001",
        "2001:db8::1/128 announced: next hop 2001:db8:ffff::1, path 65001",
        "kill web-1",
        "connection refused",
        "both VIPs are still announced",
        "kill web-2",
        "192.0.2.1/32 withdrawn",
        "after the last backend died",
        "start web-1 again",
        "announced",
        "graceful-shutdown",
        "withdrawn",
        "peer sent Cease/Administrative Shutdown",
        "exit status 0",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("no {line:?} in its place in:\n{told}"));
        rest = &rest[at + line.len()..];
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files are left");
}

/// Ends the demo even when an assertion fails.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn stays_until_it_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Demo(herald(&["demo", "--stay"], dir.path()).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let invitation = lines.find(|line| line.ends_with(" status")).expect("it says how to look around");
    let words: Vec<&str> = invitation.split_whitespace().collect();

    // The command as printed works; web-1 and then web-2 are found up again.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let output = Command::new(words[0]).args(&words[1..]).arg("--json").output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        if status["services"][0]["available"] == 2 {
            assert!(output.status.success(), "every VIP is announced: {status}");
            assert_eq!(status["vips"][0]["peers"][0], "router");
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
        std::thread::sleep(Duration::from_millis(20));
    }

    let pid = rustix::process::Pid::from_child(&demo.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(demo.0.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files are left");
}
