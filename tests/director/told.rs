//! Who is told: the notifier of a director, well and unwell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use herald::Director;
use herald::announce::VipState;
use herald::driver::director::{CheckRun, DirectorError, Notifier, Options, Round, Services, Subject, Transition};
use herald::health::ServiceState;

use crate::{Answer, CHECK, PATIENCE, Script, service, services, wait_for, wait_for_vips};

/// A notifier that passes everything on.
struct Tape {
    transitions: Sender<Transition>,
    rounds: Sender<Round>,
    runs: Sender<CheckRun>,
}

struct Heard {
    transitions: Receiver<Transition>,
    rounds: Receiver<Round>,
    runs: Receiver<CheckRun>,
}

impl Tape {
    fn new() -> (Arc<Tape>, Heard) {
        let ((transitions, t), (rounds, r), (runs, c)) = (unbounded(), unbounded(), unbounded());
        (Arc::new(Tape { transitions, rounds, runs }), Heard { transitions: t, rounds: r, runs: c })
    }
}

impl Notifier for Tape {
    fn transition(&self, transition: &Transition) {
        let _over = self.transitions.send(transition.clone());
    }

    fn round(&self, round: &Round) {
        let _over = self.rounds.send(round.clone());
    }

    fn check(&self, run: &CheckRun) {
        let _over = self.runs.send(run.clone());
    }
}

#[test]
fn a_notifier_hears_of_transitions_rounds_and_runs() {
    let (script, (tape, heard)) = (Arc::new(Script::default()), Tape::new());
    let side = "[checks.side]\ntype = \"tcp\"\nport = 9000\ninterval = \"20ms\"\ntimeout = \"1m\"\nadvisory = true\n";
    let both = service("web", "192.0.2.1", "", &["10.0.0.1"]).replace("[\"up\"]", "[\"up\", \"side\"]");
    let parsed = services(&(side.to_owned() + &both));
    // What is advisory runs, and makes no difference.
    script.set("10.0.0.1:9000", Answer::Fail);
    let options = Options { prober: Some(script.clone()), notifier: Some(tape), ..Options::default() };
    let director = Director::start(parsed, options).unwrap();
    wait_for_vips(&director, &["192.0.2.1"]);
    let next = |matches: &dyn Fn(&Transition) -> bool| loop {
        let transition = heard.transitions.recv_timeout(PATIENCE).expect("a transition");
        if matches(&transition) {
            return transition;
        }
    };
    next(&|it| matches!(&it.subject, Subject::Check { passing: true, .. }));
    next(&|it| matches!(&it.subject, Subject::Backend { up: true, .. }));
    next(&|it| matches!(&it.subject, Subject::Service { state: ServiceState::Up, available: 1, required: 1, .. }));
    let vip = next(&|it| matches!(&it.subject, Subject::Vip { to: Some(VipState::Announced), .. }));
    assert_eq!(vip.text, "vip 192.0.2.1/32 announced: all services are up");
    let document: serde_json::Value = serde_json::from_str(&vip.document).unwrap();
    assert_eq!((&document["event"], &document["to"]), (&"vip".into(), &"announced".into()));
    // Rounds are numbered, and take a run of each of both checks.
    let rounds: Vec<Round> = (0..3).map(|_| heard.rounds.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(
        rounds.iter().map(|round| (round.number, round.passed)).collect::<Vec<_>>(),
        [(1, true), (2, true), (3, true)]
    );
    let runs: Vec<u16> = heard.runs.try_iter().map(|run| run.probe.target.port()).collect();
    for port in [80, 9000] {
        let count = runs.iter().filter(|run| **run == port).count();
        assert!(count >= 3, "each of both has run once in each round: {runs:?}");
    }
    script.set("10.0.0.1:80", Answer::Fail);
    let failed = loop {
        let run = heard.runs.recv_timeout(PATIENCE).unwrap();
        if !run.passed {
            break run;
        }
    };
    assert_eq!((&*failed.detail, failed.backends.len()), ("ill", 1));
    assert_eq!((&*failed.backends[0].0, failed.backends[0].1.to_string()), ("web", "10.0.0.1:80".to_owned()));
    loop {
        let round = heard.rounds.recv_timeout(PATIENCE).unwrap();
        if !round.passed {
            break assert!(round.number > 3);
        }
    }
    let down = next(&|it| matches!(&it.subject, Subject::Vip { to: Some(VipState::Withdrawn), .. }));
    assert!(down.text.contains("service web is down"), "{}", down.text);
    // The numbers go on over a new configuration.
    let before = heard.rounds.try_iter().last().map_or(4, |round| round.number);
    director.configure(services(&service("web", "192.0.2.1", "", &["10.0.0.1"]))).unwrap();
    let last = loop {
        match heard.rounds.recv_timeout(PATIENCE).unwrap() {
            round if round.number > before => break round.number,
            round => assert!(round.number > 4),
        }
    };
    assert!(last > before);
}

/// Does not return until the test is over.
struct Deaf(Receiver<()>, Sender<u64>);

/// Hears of nothing but runs, and cannot bear the first.
struct Nervous(Sender<()>, AtomicBool);

impl Notifier for Nervous {
    fn check(&self, _: &CheckRun) {
        assert!(self.1.swap(true, Ordering::Relaxed), "the first");
        let _over = self.0.send(());
    }
}

#[test]
fn a_notifier_that_panics_hears_of_what_comes_then() {
    let (tell, heard) = unbounded();
    let options = Options {
        prober: Some(Arc::new(Script::default())),
        notifier: Some(Arc::new(Nervous(tell, false.into()))),
        ..Options::default()
    };
    // Runs are told when they are over, though they are as expected and the next is far away.
    let rare = CHECK.replace("20ms", "1h") + &service("web", "192.0.2.1", "", &["10.0.0.1"]);
    let director = Director::start(Services::parse(&rare).unwrap(), options).unwrap();
    wait_for_vips(&director, &["192.0.2.1"]);
    director.check_now().unwrap();
    heard.recv_timeout(Duration::from_secs(10)).expect("it hears of the second");
}

impl Notifier for Deaf {
    fn check(&self, _: &CheckRun) {
        let _over = self.0.recv();
    }

    fn lost(&self, count: u64) {
        let _over = self.1.send(count);
    }
}

#[test]
fn a_prober_and_a_notifier_that_hang_keep_nobody_from_stopping() {
    let script = Arc::new(Script::default());
    let (over, deaf) = unbounded();
    let (tell, _lost) = unbounded();
    let options = Options {
        prober: Some(script.clone()),
        notifier: Some(Arc::new(Deaf(deaf, tell))),
        workers: Some(4),
        ..Options::default()
    };
    let director =
        Director::start(services(&service("web", "192.0.2.1", "", &["10.0.0.1", "10.0.0.2"])), options).unwrap();
    wait_for_vips(&director, &["192.0.2.1"]);
    script.set("10.0.0.2:80", Answer::Hang);
    let changes = director.changes().clone();
    let begun = Instant::now();
    director.stop();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(matches!(director.status(), Err(DirectorError::Stopped)));
    assert!(matches!(director.configure(services("")), Err(DirectorError::Stopped)));
    while changes.try_recv().is_ok() {}
    assert_eq!(changes.try_recv(), Err(TryRecvError::Disconnected));
    script.set("10.0.0.2:80", Answer::Pass);
    drop(over);
}

#[test]
fn a_slow_notifier_delays_nobody_and_is_told_what_it_missed() {
    let script = Arc::new(Script::default());
    let (over, deaf) = unbounded();
    let (tell, lost) = unbounded();
    let names: Vec<String> = (0..200).map(|n| format!("10.1.0.{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let options =
        Options { prober: Some(script.clone()), notifier: Some(Arc::new(Deaf(deaf, tell))), ..Options::default() };
    let director = Director::start(services(&service("web", "192.0.2.1", "", &names)), options).unwrap();
    // Thousands of runs, none of which it takes; verdicts come all the same.
    for answer in [Answer::Fail, Answer::Pass].repeat(15) {
        let up = if answer == Answer::Fail { 0 } else { names.len() as u64 };
        names.iter().for_each(|name| script.set(&format!("{name}:80"), answer));
        wait_for(&director, "all", |it| it.status().unwrap().services[0].available == up);
    }
    drop(over);
    assert!(lost.recv_timeout(PATIENCE).expect("it hears that it has missed something") > 0);
}
