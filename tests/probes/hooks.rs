//! Hooks that are programs.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use herald::config::{BearerToken, Config, FileRole, Source, parse};
use herald::driver::hook::{Document, DropReason, Hooks, News, Plan};
use herald::driver::status::HookLine;
use herald::driver::{clock, wall_clock};
use serde_json::{Value, json};

use crate::support::{LATE, PLENTY, Turn, eventually, millis, threads};

/// A directory with programs, and hooks that run them.
pub(crate) struct Stage {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) hooks: Hooks,
    pub(crate) news: mpsc::Receiver<News>,
    _turn: Turn,
}

impl Stage {
    /// With programs of these names and contents. DIR is the directory, there and in the configuration.
    pub(crate) fn new(programs: &[(&str, &str)], config: &str) -> Stage {
        Stage::in_turn(Turn::shared(), programs, config)
    }

    /// The only one, whose threads can be counted.
    fn alone(programs: &[(&str, &str)], config: &str) -> Stage {
        Stage::in_turn(Turn::alone(), programs, config)
    }

    fn in_turn(turn: Turn, programs: &[(&str, &str)], config: &str) -> Stage {
        let (tell, news) = mpsc::channel();
        let hooks = Hooks::new(move |news| drop(tell.send(news)));
        let stage = Stage { directory: tempfile::tempdir().unwrap(), hooks, news, _turn: turn };
        for (name, text) in programs {
            stage.program(name, text);
        }
        stage.configure(config);
        stage
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let text = format!("#!/bin/sh\n{}\n", text.replace("DIR", self.directory.path().to_str().unwrap()));
        // Another test's child may hold a file open for writing that was just made here: nobody can run it then.
        let script = self.at(&format!("{name}.sh"));
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(script, self.at(name)).unwrap();
    }

    pub(crate) fn configure(&self, config: &str) {
        self.hooks.configure(&self.plan(config)).unwrap();
    }

    pub(crate) fn plan(&self, config: &str) -> Plan {
        Plan::load(&hooks_of(&config.replace("DIR", self.directory.path().to_str().unwrap()))).unwrap()
    }

    pub(crate) fn offer(&self, vip: &str, from: &str, to: &str) {
        let event = json!({"event": "vip", "vip": vip, "from": from, "to": to, "cause": {"service": "web"}});
        self.hooks.offer(&Document::new(vip, &event));
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    fn touch(&self, name: &str) {
        std::fs::write(self.at(name), "").unwrap();
    }

    pub(crate) fn line(&self) -> HookLine {
        self.hooks.lines(&wall_clock()).remove(0)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.hooks.lines(&wall_clock()).iter().all(|line| line.queued + line.running == 0)
    }

    #[track_caller]
    pub(crate) fn heard(&self) -> News {
        self.news.recv_timeout(PLENTY).unwrap()
    }

    #[track_caller]
    pub(crate) fn gives_up(&self, words: &str) {
        match self.heard() {
            News::GivenUp { error, .. } => assert_eq!(error, words),
            other => panic!("{other:?}"),
        }
    }
}

/// What the daemon makes of this configuration, secrets included.
fn hooks_of(text: &str) -> Config {
    let text = format!("[bgp]\nlocal_as = 65001\nrouter_id = '10.0.0.1'\n{text}");
    let mut config = parse(&[Source { name: "f".into(), text }]).unwrap();
    let files = config.references.iter().filter(|named| named.role == FileRole::BearerToken);
    let token = |path: &PathBuf| BearerToken::from_file(&std::fs::read(path).unwrap()).unwrap();
    let tokens = files.map(|named| (named.path.clone(), token(&named.path))).collect();
    config.give_tokens(&tokens);
    config
}

/// The hook `tell`.
fn one(more: &str) -> String {
    format!("[[hooks.notify]]\ncommand = ['DIR/tell']\n{more}")
}

/// Says when it begins, and goes on when it is let.
const GATED: &str = "read -r text; echo \"begin $HERALD_VIP\" >> DIR/log; while [ ! -e DIR/go ]; do sleep 0.01; done
                     echo \"$text\" >> DIR/told; echo \"end $HERALD_VIP\" >> DIR/log";

#[test]
fn a_program_reads_the_document_and_finds_its_facts_around_it() {
    let stage = Stage::new(
        &[("tell", "cat > DIR/in; echo $# \"$1\" > DIR/words; env > DIR/env.new; mv DIR/env.new DIR/env")],
        "",
    );
    stage.configure("[[hooks.notify]]\ncommand = ['DIR/tell', '$HOME; *']\n");
    stage.offer("192.0.2.1/32", "holding", "announced");
    eventually("the hook is told", || stage.line().delivered == 1);
    let text = stage.read("in");
    let event: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({"event": "vip", "vip": "192.0.2.1/32", "from": "holding", "to": "announced", "cause": {"service": "web"}});
    assert_eq!((event, text.matches('\n').count(), text.ends_with('\n')), (expected, 1, true));
    assert_eq!(stage.read("words"), "1 $HOME; *\n");
    let environment = stage.read("env");
    let mut lines: Vec<&str> = environment.lines().collect();
    lines.retain(|line| !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|own| line.starts_with(own)));
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "HERALD_CAUSE_SERVICE=web",
            "HERALD_EVENT=vip",
            "HERALD_FROM=holding",
            "HERALD_TO=announced",
            "HERALD_VIP=192.0.2.1/32",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ]
    );
}

#[test]
fn hooks_hear_of_what_they_want_only() {
    let hook =
        |name: &str, events: &str| format!("[[hooks.notify]]\nname = '{name}'\ncommand = ['DIR/tell']\n{events}\n");
    let config = hook("all", "") + &hook("peers", "events = ['peer', 'backend']");
    let stage = Stage::new(&[("tell", "")], &config);
    for kind in ["vip", "service", "peer", "backend", "check", "nonsense", ""] {
        stage.hooks.offer(&Document::new("x", &json!({"event": kind})));
    }
    eventually("all is told", || stage.is_done());
    let delivered: Vec<u64> = stage.hooks.lines(&wall_clock()).iter().map(|line| line.delivered).collect();
    assert_eq!(delivered, [2, 2]);
}

#[test]
fn of_one_subject_one_at_a_time_and_the_latest_only() {
    let stage = Stage::new(&[("tell", GATED)], &one(""));
    stage.offer("a", "holding", "announced");
    eventually("the first run", || stage.read("log") == "begin a\n");
    for (from, to) in [("announced", "withdrawn"), ("withdrawn", "holding"), ("holding", "degraded")] {
        stage.offer("a", from, to);
    }
    // Another subject does not wait for it.
    stage.offer("b", "x", "y");
    eventually("the other subject's run", || stage.read("log") == "begin a\nbegin b\n");
    assert_eq!((stage.line().queued, stage.line().running), (0, 2));
    stage.touch("go");
    eventually("all is told", || stage.is_done());
    let log = stage.read("log");
    let of_a: Vec<&str> = log.lines().filter(|line| line.ends_with(" a")).collect();
    assert_eq!(of_a, ["begin a", "end a", "begin a", "end a"]);
    let told = stage.read("told");
    let last = told.lines().rfind(|line| line.contains("\"vip\":\"a\"")).unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["from"], &last["to"], &last["coalesced"]), (&json!("announced"), &json!("degraded"), &json!(2)));
    assert_eq!((stage.line().delivered, stage.line().coalesced), (3, 2));
}

fn is_dead(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) else { return true };
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[test]
fn at_the_deadline_all_that_it_has_begun_is_killed() {
    let program = "sleep 1000 & echo $! > DIR/pid; echo going >&2; wait";
    let stage = Stage::new(&[("tell", program)], &one("timeout = '2s'\nattempts = 1\n"));
    stage.offer("a", "x", "y");
    stage.gives_up("timed out after 2 s while the program ran; its last words: going");
    let pid = stage.read("pid");
    assert!(!pid.is_empty());
    eventually("the grandchild is dead", || is_dead(&pid));
}

#[test]
fn what_fails_is_tried_again_and_trouble_is_told_from_its_beginning_to_its_end() {
    let program = "cat >> DIR/in; [ -e DIR/again ] || { touch DIR/again; echo no; echo route; exit 3; }";
    let stage = Stage::new(&[("tell", program)], &one(""));
    let begun = clock();
    stage.offer("192.0.2.1/32", "x", "y");
    let (hook, subject) = ("tell".into(), "vip 192.0.2.1/32".to_owned());
    let error = "exit status 3: route".to_owned();
    assert_eq!(stage.heard(), News::Failed { hook, subject, error: error.clone(), wait: millis(1000) });
    let line = stage.line();
    assert_eq!((line.failing, line.queued, line.last_error), (true, 1, Some(error)));
    assert_eq!(stage.heard(), News::Recovered { hook: "tell".into(), given_up: 0 });
    assert!(clock() - begun >= millis(1000));
    let line = stage.line();
    assert_eq!((line.failing, line.delivered, line.failed, line.queued), (false, 1, 0, 0));
    assert_eq!(stage.read("in").lines().count(), 2);
}

/// However much fails, there are two lines.
#[test]
fn giving_up_is_said_once_until_it_works_again() {
    let stage = Stage::new(&[("tell", "exit 1")], &one("attempts = 1\n"));
    for number in 0..20 {
        stage.offer(&format!("v{number}"), "x", "y");
    }
    eventually("all is given up", || stage.line().failed == 20);
    assert!(stage.line().failing);
    stage.program("tell", "exit 0");
    stage.offer("v", "x", "y");
    stage.gives_up("exit status 1");
    assert_eq!(stage.heard(), News::Recovered { hook: "tell".into(), given_up: 19 });
    assert!(stage.news.try_recv().is_err() && !stage.line().failing);
    // And at once again, without another line.
    stage.program("tell", "exit 1");
    stage.offer("v", "x", "y");
    eventually("it is given up", || stage.line().failed == 21);
    assert!(stage.news.try_recv().is_err() && stage.line().failing);
}

fn large() -> Document {
    Document::new("large", &json!({"event": "vip", "text": "x".repeat(1_000_000)}))
}

#[test]
fn a_program_need_not_read() {
    let stage = Stage::new(&[("tell", "exit 0")], &one(""));
    stage.hooks.offer(&large());
    eventually("it is told", || stage.line().delivered == 1);
    // Nor close what it does not read.
    stage.program("tell", "exec sleep 1000");
    stage.configure(&one("timeout = '300ms'\nattempts = 1\n"));
    stage.hooks.offer(&large());
    stage.gives_up("timed out after 300 ms while the program ran");
    // Closing it is no end.
    stage.program("tell", "exec <&-; sleep 0.1; exit 4");
    stage.configure(&one("attempts = 1\n"));
    stage.hooks.offer(&large());
    stage.gives_up("exit status 4");
    // And who does read gets all of it.
    stage.program("tell", "sleep 0.1; wc -c > DIR/count");
    stage.configure(&one(""));
    stage.hooks.offer(&large());
    eventually("it is told", || stage.line().delivered == 1);
    assert_eq!(stage.read("count").trim(), (large().json.len() + 1).to_string());
}

#[test]
fn a_flood_of_output_is_drained_and_its_end_is_told() {
    let program = "head -c 5000000 /dev/zero | tr '\\0' x; echo; printf 'the \\033[31mend'; exit 1";
    let stage = Stage::new(&[("tell", program)], &one("attempts = 1\n"));
    stage.offer("a", "x", "y");
    stage.gives_up("exit status 1: the \\u{1b}[31mend");
}

#[test]
fn a_reload_drops_what_waits_for_those_that_change_only() {
    let hook = |name: &str, more: &str| {
        format!("[[hooks.notify]]\nname = '{name}'\ncommand = ['DIR/tell', '{name}']\n{more}\n")
    };
    let gated = "echo $1 >> DIR/begun; while [ ! -e DIR/go ]; do sleep 0.01; done; echo $1 >> DIR/ended";
    let before = hook("gone", "") + &hook("kept", "") + &hook("other", "");
    let stage = Stage::alone(&[("tell", gated)], &before);
    for number in 0..20 {
        stage.offer(&format!("v{number}"), "x", "y");
    }
    // Eight threads for three hooks: two each.
    eventually("all are at work", || stage.read("begun").lines().count() == 6);
    stage.configure(&(hook("kept", "") + &hook("other", "timeout = '9s'")));
    let mut dropped = [stage.heard(), stage.heard()];
    dropped.sort_by_key(|news| format!("{news:?}"));
    let news = |hook: &str, reason| News::Dropped { hook: hook.into(), count: 18, reason };
    assert_eq!(dropped, [news("gone", DropReason::Removed), news("other", DropReason::Changed)]);
    stage.touch("go");
    eventually("the rest is told", || stage.is_done());
    let delivered: Vec<u64> = stage.hooks.lines(&wall_clock()).iter().map(|line| line.delivered).collect();
    assert_eq!(delivered, [20, 0]);
    eventually("what had begun has ended", || stage.read("ended").lines().count() == 24);
    assert!(stage.news.try_recv().is_err());
    stage.configure("");
    eventually("no thread is left", || threads("hook-") == 0);
}

#[test]
fn one_that_hangs_does_not_hold_up_another() {
    let hook = |name: &str| format!("[[hooks.notify]]\nname = '{name}'\ncommand = ['DIR/{name}']\ntimeout = '60s'\n");
    let stage = Stage::new(&[("slow", "sleep 1000"), ("fast", "")], &(hook("slow") + &hook("fast")));
    for number in 0..100 {
        stage.offer(&format!("v{number}"), "x", "y");
    }
    eventually("the other is told of all", || stage.hooks.lines(&wall_clock())[1].delivered == 100);
    assert_eq!(stage.line().running, 4);
}

#[test]
fn a_stop_gives_what_waits_a_last_chance() {
    let stage = Stage::new(&[("tell", "[ -e DIR/go ] && echo >> DIR/told; r=$?; echo >> DIR/ran; exit $r")], &one(""));
    stage.offer("again", "x", "y");
    // It fails a second time: the wait after that is longer than a stop may take.
    eventually("it is tried again", || stage.read("ran").lines().count() == 2 && stage.line().queued == 1);
    stage.touch("go");
    // Few enough for a busy machine to run them in the time of a stop.
    for number in 0..4 {
        stage.offer(&format!("v{number}"), "x", "y");
    }
    let Stage { directory, hooks, .. } = stage;
    let begun = clock();
    assert_eq!(hooks.stop(), 0);
    assert_eq!(std::fs::read_to_string(directory.path().join("told")).unwrap().lines().count(), 5);
    assert!(clock() - begun < millis(1400), "nobody waits for what is done");
}

#[test]
fn a_stop_waits_for_nobody_for_long() {
    let stage = Stage::alone(&[("tell", "echo $$ >> DIR/pids; exec sleep 1000")], &one("timeout = '60s'\n"));
    for number in 0..20 {
        stage.offer(&format!("v{number}"), "x", "y");
    }
    eventually("all are at work", || stage.read("pids").lines().count() == 8);
    let Stage { directory, hooks, .. } = stage;
    let begun = clock();
    assert_eq!(hooks.stop(), 20);
    let took = clock() - begun;
    assert!((millis(1400)..Duration::from_secs(2) + 3 * LATE).contains(&took), "{took:?}");
    eventually("the programs are dead", || {
        std::fs::read_to_string(directory.path().join("pids")).unwrap().lines().all(is_dead)
    });
    eventually("no thread is left", || threads("hook-") == 0);
}

#[test]
fn ten_thousand_subjects_wait_and_the_loop_does_not() {
    let stage = Stage::alone(&[("tell", "exec sleep 1000")], &one("timeout = '60s'\n"));
    let begun = clock();
    for round in 0..3 {
        for number in 0..10_000 {
            stage.offer(&format!("v{number}"), &round.to_string(), "y");
        }
    }
    let took = clock() - begun;
    assert!(took < PLENTY, "{took:?} for 30,000 documents");
    eventually("all are at work", || stage.line().running == 8);
    assert_eq!((stage.line().queued, threads("hook-"), stage.line().dropped), (10_000 - 8, 8, 0));
}

/// As root it becomes another; otherwise only ourselves will do.
#[test]
fn programs_run_as_the_user_that_they_shall() {
    let root = rustix::process::geteuid().is_root();
    let uid = if root { 65534 } else { rustix::process::geteuid().as_raw() };
    let user = if root { "nobody".to_owned() } else { uid.to_string() };
    let stage = Stage::new(&[("tell", "echo $(id -u); exit 1")], "");
    std::fs::set_permissions(stage.directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    stage.configure(&one(&format!("user = '{user}'\nattempts = 1\n")));
    stage.offer("a", "x", "y");
    stage.gives_up(&format!("exit status 1: {uid}"));
    stage.configure(&one("user = 'no-such-user'\nattempts = 1\n"));
    stage.offer("a", "x", "y");
    stage.gives_up("there is no user no-such-user on this host");
}
