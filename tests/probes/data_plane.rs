//! The hook that readies the data plane.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use herald::config::{DataPlaneHook, DataPlanePolicy};
use herald::driver::hook::DataPlane;
use herald::driver::{clock, wall_clock};
use herald::engine::data_plane_job::{DataPlaneAction, DataPlaneJob, DataPlaneOutcome, DataPlaneService};
use serde_json::{Value, json};

use crate::support::{LATE, PLENTY, Turn, eventually, threads};

struct Stage {
    directory: tempfile::TempDir,
    hook: DataPlane,
    outcomes: mpsc::Receiver<DataPlaneOutcome>,
    _turn: Turn,
}

impl Stage {
    fn new(program: &str, timeout: Duration) -> Stage {
        Stage::in_turn(Turn::shared(), program, timeout)
    }

    fn in_turn(turn: Turn, program: &str, timeout: Duration) -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let (tell, outcomes) = mpsc::channel();
        let hook = DataPlane::new(move |outcome| drop(tell.send(outcome)));
        let stage = Stage { directory, hook, outcomes, _turn: turn };
        stage.configure(program, timeout);
        stage
    }

    fn configure(&self, program: &str, timeout: Duration) {
        let directory = self.directory.path();
        let text = format!("#!/bin/sh\n{}\n", program.replace("DIR", directory.to_str().unwrap()));
        std::fs::write(directory.join("new"), text).unwrap();
        std::fs::set_permissions(directory.join("new"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(directory.join("new"), directory.join("hook")).unwrap();
        let command = vec![directory.join("hook").to_str().unwrap().to_owned(), "argument".to_owned()];
        let policy = DataPlanePolicy::Hold;
        self.hook.configure(Some(Arc::new(DataPlaneHook { command, timeout, policy }))).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    fn touch(&self, name: &str) {
        std::fs::write(self.directory.path().join(name), "").unwrap();
    }

    #[track_caller]
    fn outcome(&self) -> (u64, Result<(), String>) {
        let outcome = self.outcomes.recv_timeout(PLENTY).unwrap();
        (outcome.id, outcome.result)
    }
}

fn job(id: u64, vip: &str, action: DataPlaneAction) -> DataPlaneJob {
    DataPlaneJob { id, vip: vip.parse().unwrap(), action, services: Vec::new() }
}

fn up(id: u64, vip: &str) -> DataPlaneJob {
    job(id, vip, DataPlaneAction::Up)
}

const GATED: &str = "echo begin $HERALD_VIP $HERALD_ACTION >> DIR/log
                     while [ ! -e DIR/go ]; do sleep 0.01; done; echo end $HERALD_VIP >> DIR/log";

#[test]
fn it_reads_what_to_do_and_its_last_words_are_the_reason() {
    let stage = Stage::new("cat > DIR/in; echo $1 $HERALD_EVENT $HERALD_VIP $HERALD_ACTION > DIR/env", PLENTY);
    let service = DataPlaneService {
        name: "web".into(),
        port: 443,
        last_port: 443,
        protocol: "tcp".into(),
        backends: Vec::new(),
    };
    let job = DataPlaneJob { services: vec![service.into()], ..up(7, "192.0.2.1") };
    assert_eq!(stage.hook.submit(job.clone()), None);
    let outcome = stage.outcomes.recv_timeout(PLENTY).unwrap();
    assert_eq!((outcome.id, outcome.vip, outcome.result), (7, job.vip, Ok(())));
    assert!(outcome.took > Duration::ZERO);
    assert_eq!(stage.read("env"), "argument data_plane 192.0.2.1/32 up\n");
    let text = stage.read("in");
    let service = json!({"name": "web", "port": 443, "last_port": 443, "protocol": "tcp", "backends": []});
    let expected = json!({"event": "data_plane", "action": "up", "vip": "192.0.2.1/32", "services": [service]});
    assert_eq!((serde_json::from_str::<Value>(&text).unwrap(), text.lines().count()), (expected, 1));
    stage.configure("echo one; echo no such interface >&2; exit 2", PLENTY);
    stage.hook.submit(up(8, "192.0.2.1"));
    assert_eq!(stage.outcome(), (8, Err("exit status 2: no such interface".to_owned())));
    let line = stage.hook.line(&wall_clock()).unwrap();
    assert_eq!((line.failing, line.delivered, line.failed), (true, 1, 1));
    assert_eq!(line.last_error.as_deref(), Some("exit status 2: no such interface"));
}

#[test]
fn of_one_vip_one_at_a_time_and_the_newest_next() {
    let stage = Stage::new(GATED, PLENTY);
    assert_eq!(stage.hook.submit(up(1, "192.0.2.1")), None);
    eventually("the first run", || stage.read("log") == "begin 192.0.2.1/32 up\n");
    assert_eq!(stage.hook.submit(job(2, "192.0.2.1", DataPlaneAction::Down)), None);
    assert_eq!(stage.hook.submit(up(3, "192.0.2.1")), Some(2));
    assert_eq!(stage.hook.submit(job(4, "192.0.2.1", DataPlaneAction::Down)), Some(3));
    assert_eq!(stage.hook.submit(up(5, "192.0.2.2")), None);
    eventually("the other VIP's run", || stage.read("log").ends_with("begin 192.0.2.2/32 up\n"));
    stage.touch("go");
    let mut done: Vec<u64> = (0..3).map(|_| stage.outcome().0).collect();
    done.sort_unstable();
    assert_eq!(done, [1, 4, 5]);
    let log = stage.read("log");
    let own: Vec<&str> = log.lines().filter(|line| line.contains("192.0.2.1/")).collect();
    assert_eq!(own, ["begin 192.0.2.1/32 up", "end 192.0.2.1/32", "begin 192.0.2.1/32 down", "end 192.0.2.1/32"]);
    assert!(stage.outcomes.try_recv().is_err(), "what is superseded has no outcome");
}

#[test]
fn its_time_is_limited() {
    let stage = Stage::new("sleep 1000 & echo $! > DIR/pid; wait", Duration::from_secs(2));
    stage.hook.submit(up(1, "192.0.2.1"));
    assert_eq!(stage.outcome(), (1, Err("timed out after 2 s while the program ran".to_owned())));
    let pid = stage.read("pid");
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    eventually("what it has begun is dead", || stat().is_empty() || stat().contains(") Z "));
}

#[test]
fn ten_thousand_vips_take_eight_threads_and_their_turns() {
    let stage = Stage::in_turn(Turn::alone(), GATED, PLENTY);
    let address = |number: u64| format!("10.0.{}.{}", number / 256, number % 256);
    let begun = clock();
    for number in 0..10_000 {
        assert_eq!(stage.hook.submit(up(number, &address(number))), None);
    }
    assert!(clock() - begun < PLENTY, "{:?}", clock() - begun);
    eventually("all are at work", || stage.read("log").lines().count() == 8);
    let line = stage.hook.line(&wall_clock()).unwrap();
    assert_eq!((line.queued, line.running, threads("data-plane")), (9992, 8, 8));
    stage.touch("go");
    let mut first: Vec<u64> = (0..100).map(|_| stage.outcome().0).collect();
    first.sort_unstable();
    assert!(first.iter().all(|id| *id < 108), "first come, first served: {first:?}");
    // Without a hook, what waits has failed.
    stage.hook.configure(None).unwrap();
    let rest: Vec<_> = (100..10_000).map(|_| stage.outcome().1).collect();
    assert!(rest.iter().filter(|result| result.is_ok()).count() < 500);
    assert_eq!(
        rest.iter().filter_map(|result| result.as_ref().err()).max().unwrap(),
        "there is no `data_plane` in the configuration"
    );
    assert!(stage.hook.line(&wall_clock()).is_none());
    stage.hook.submit(up(1, "192.0.2.1"));
    assert!(stage.outcome().1.is_err());
}

#[test]
fn a_stop_waits_for_it_but_not_for_long() {
    {
        let stage = Stage::new("sleep 0.1; echo >> DIR/done", PLENTY);
        // Few enough for a busy machine to run them in the time of a stop.
        for number in 0..4 {
            stage.hook.submit(up(number, &format!("192.0.2.{number}")));
        }
        let Stage { directory, hook, .. } = stage;
        assert_eq!(hook.stop(), 0);
        assert_eq!(std::fs::read_to_string(directory.path().join("done")).unwrap().lines().count(), 4);
    }
    let stage = Stage::new("exec sleep 1000", PLENTY);
    for number in 0..20 {
        stage.hook.submit(up(number, &format!("192.0.2.{number}")));
    }
    eventually("all are at work", || stage.hook.line(&wall_clock()).unwrap().running == 8);
    let begun = clock();
    assert_eq!(stage.hook.stop(), 20);
    assert!(clock() - begun < Duration::from_secs(2) + 3 * LATE, "{:?}", clock() - begun);
}
