//! The pool.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use herald::config::{Config, ExecProbe, ProbeKind, TcpProbe};
use herald::driver::clock;
use herald::driver::pool::{HANGING, Hanging, Pool, Report, RunProbe};
use herald::driver::probe::Prober;
use herald::health::{Finding, ProbeOutcome, ProbeRequest, Ticket};

use crate::support::{BlackHole, PLENTY, Server, Talk, eventually, http, millis, request, threads};

fn job(number: usize, expected: Option<bool>) -> ProbeRequest {
    let request = request("127.0.0.1:1".parse().unwrap(), ProbeKind::Tcp(TcpProbe::CONNECT), PLENTY);
    ProbeRequest { ticket: Ticket::new(number, 0), expected: expected.map(Finding::plain), ..request }
}

fn outcome(passed: bool) -> ProbeOutcome {
    ProbeOutcome::new(passed, "", millis(0))
}

fn passing() -> RunProbe {
    Arc::new(|_| outcome(true))
}

fn real() -> RunProbe {
    let prober = Prober::new(&Config::default()).unwrap();
    Arc::new(move |request| prober.run(request))
}

/// The results, in order; every one has a start before it.
fn take(pool: &Pool, count: usize) -> Vec<(Ticket, ProbeOutcome)> {
    let mut started = Vec::new();
    let mut finished = Vec::new();
    eventually("all results are there", || {
        for report in pool.drain() {
            match report {
                Report::Started(ticket, at) => {
                    assert!(at <= clock());
                    started.push(ticket);
                }
                Report::Finished(ticket, outcome) => {
                    assert!(started.contains(&ticket));
                    finished.push((ticket, outcome));
                }
                Report::Returned(worker, after) => panic!("{worker} hung for {after:?}"),
            }
        }
        finished.len() >= count
    });
    assert_eq!((started.len(), finished.len()), (count, count));
    finished
}

#[test]
fn a_panic_is_a_failed_check_and_the_worker_lives() {
    let run: RunProbe = Arc::new(|request| {
        assert!(request.ticket != Ticket::new(1, 0), "no number {}", 1);
        outcome(true)
    });
    let pool = Pool::start("check", 1, run, || {}).unwrap();
    for number in [0, 1, 2] {
        pool.submit(job(number, None));
    }
    let results = take(&pool, 3);
    let told: Vec<_> = results.iter().map(|(_, outcome)| (outcome.passed, &*outcome.detail)).collect();
    assert_eq!(told, [(true, ""), (false, "internal error: no number 1"), (true, "")]);
    eventually("nobody is busy", || pool.busy() == 0);
    assert_eq!(pool.stop(), 0);
}

#[test]
fn only_what_differs_wakes_and_only_once() {
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = wakes.clone();
    let pool = Pool::start("check", 2, passing(), move || {
        counted.fetch_add(1, Ordering::SeqCst);
    })
    .unwrap();
    (0..50).for_each(|number| pool.submit(job(number, Some(true))));
    take(&pool, 50);
    assert_eq!(wakes.load(Ordering::SeqCst), 0);
    for expected in [None, Some(false)] {
        wakes.store(0, Ordering::SeqCst);
        (0..50).for_each(|number| pool.submit(job(number, expected)));
        // Not drained in between: one wake says it all.
        eventually("the reports are there", || pool.reports().len() == 100);
        eventually("the loop is woken", || wakes.load(Ordering::SeqCst) == 1);
        take(&pool, 50);
        assert_eq!(wakes.load(Ordering::SeqCst), 1);
    }
}

/// What the protocol of wakes rests on: a report is there before its wake, and the flag is down before reports are taken.
#[test]
fn a_wake_follows_its_report_and_comes_again_once_a_drain_has_begun() {
    let (wake, woken) = mpsc::channel();
    let (go_on, held) = mpsc::channel();
    let (wake, held) = (Mutex::new(wake), Mutex::new(held));
    let pool = Pool::start("check", 1, passing(), move || {
        let _ = wake.lock().unwrap().send(());
        let _ = held.lock().unwrap().recv_timeout(PLENTY);
    })
    .unwrap();
    pool.submit(job(0, None));
    woken.recv_timeout(PLENTY).unwrap();
    // The worker is still in `wake`.
    let drain = pool.drain();
    go_on.send(()).unwrap();
    pool.submit(job(1, None));
    woken.recv_timeout(PLENTY).expect("a result after the beginning of a drain wakes anew");
    assert_eq!(drain.filter(|report| matches!(report, Report::Finished(..))).count(), 1);
    go_on.send(()).unwrap();
    assert_eq!(take(&pool, 1)[0].0, Ticket::new(1, 0));
}

/// The loop sleeps until it is woken, drains, and sleeps again. If a wake is lost it sleeps for good.
#[test]
fn no_wake_is_lost() {
    const ROUNDS: usize = 20_000;
    let (wake, woken) = mpsc::channel();
    let wake = Mutex::new(wake);
    let pool = Pool::start("check", 4, passing(), move || {
        let _ = wake.lock().unwrap().send(());
    })
    .unwrap();
    let (mut submitted, mut finished) = (0, 0);
    while finished < ROUNDS {
        // A few in flight, so that results come in while the loop drains.
        while submitted < ROUNDS && submitted < finished + 3 {
            pool.submit(job(submitted, Some(false)));
            submitted += 1;
        }
        woken.recv_timeout(PLENTY).expect("a wake was lost");
        finished += pool.drain().filter(|report| matches!(report, Report::Finished(..))).count();
    }
    assert_eq!(finished, ROUNDS);
}

/// The nice value of the thread that asks: field 19 of proc(5)'s stat.
fn nice() -> String {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().to_owned()
}

#[test]
fn workers_are_named_and_yield_to_the_loop() {
    let run: RunProbe = Arc::new(|_| {
        let name = thread::current().name().unwrap_or_default().to_owned();
        ProbeOutcome::passed(format!("{name} {}", nice()), millis(0))
    });
    let before = nice();
    let pool = Pool::start("check", 1, run, || {}).unwrap();
    pool.submit(job(0, None));
    assert_eq!(take(&pool, 1)[0].1.detail, "check-0 10");
    assert_eq!(nice(), before);
}

#[test]
fn it_grows_and_shrinks_and_takes_a_new_prober() {
    let (gate, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let waiting = gate.clone();
    let run: RunProbe = Arc::new(move |_| {
        while !waiting.load(Ordering::SeqCst) {
            thread::park_timeout(millis(1));
        }
        outcome(false)
    });
    let mut pool = Pool::start("check", 1, run, || {}).unwrap();
    (0..3).for_each(|number| pool.submit(job(number, None)));
    eventually("one works", || pool.busy() == 1);
    pool.resize(3).unwrap();
    assert_eq!(pool.workers(), 3);
    eventually("three work", || pool.busy() == 3);
    pool.resize(1).unwrap();
    assert_eq!((pool.workers(), pool.busy()), (1, 3));
    pool.set_prober(passing());
    pool.submit(job(3, None));
    gate.store(true, Ordering::SeqCst);
    let results = take(&pool, 4);
    assert_eq!(results.iter().filter(|(_, outcome)| outcome.passed).count(), 1);
    opened.store(true, Ordering::SeqCst);
    pool.resize(0).unwrap();
    assert_eq!(pool.workers(), 1);
    pool.submit(job(4, None));
    take(&pool, 1);
}

#[test]
fn stopping_leaves_no_thread_whatever_they_do() {
    let hole = BlackHole::open();
    let silent = Server::v4(Talk::linger);
    // Unless the machine is busy: workers yield to all others.
    assert!((0..3).any(|_| stops_in_time(&hole, &silent)));
}

/// Whether runs of every kind are ended, and in time.
fn stops_in_time(hole: &BlackHole, silent: &Server) -> bool {
    let pid = tempfile::NamedTempFile::new().unwrap();
    let script = format!("echo $$ > {}; sleep 1000", pid.path().display());
    let exec = ExecProbe::new(vec!["/bin/sh".into(), "-c".into(), script]);
    let pool = Pool::start("check", 5, real(), || {}).unwrap();
    pool.submit(request(hole.address, ProbeKind::Tcp(TcpProbe::CONNECT), PLENTY * 6));
    pool.submit(request(silent.address, ProbeKind::Http(http()), PLENTY * 6));
    pool.submit(request(silent.address, ProbeKind::Exec(exec), PLENTY * 6));
    // Never to be begun: there are more than workers.
    eventually("three work", || pool.busy() == 3);
    eventually("the program runs", || std::fs::read_to_string(pid.path()).unwrap().ends_with('\n'));
    let begun = clock();
    let in_time = pool.stop() == 0 && begun.elapsed() <= millis(1000);
    let pid = std::fs::read_to_string(pid.path()).unwrap();
    eventually("the program is gone", || !std::path::Path::new("/proc").join(pid.trim()).exists());
    in_time
}

#[test]
fn what_waits_is_not_begun_once_it_stops() {
    let begun = Arc::new(AtomicUsize::new(0));
    let count = begun.clone();
    let run: RunProbe = Arc::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        thread::park_timeout(millis(100));
        outcome(true)
    });
    let pool = Pool::start("check", 1, run, || {}).unwrap();
    (0..100).for_each(|number| pool.submit(job(number, None)));
    eventually("the first runs", || pool.busy() == 1);
    pool.stop();
    assert!(begun.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_worker_that_hangs_is_left_after_a_second() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let run: RunProbe = Arc::new(move |_| {
        let _ = held.lock().unwrap().recv_timeout(PLENTY);
        outcome(true)
    });
    let pool = Pool::start("check", 3, run, || {}).unwrap();
    pool.submit(job(0, None));
    eventually("one hangs", || pool.busy() == 1);
    let begun = clock();
    assert_eq!(pool.stop(), 1);
    assert!(begun.elapsed() < PLENTY / 2, "{:?}", begun.elapsed());
    drop(release);
}

#[test]
fn a_thousand_workers_start_and_end() {
    let pool = Pool::start("thousand", 1000, passing(), || {}).unwrap();
    assert_eq!(pool.workers(), 1000);
    (0..2000).for_each(|number| pool.submit(job(number, Some(true))));
    take(&pool, 2000);
    assert!(threads("thousand-99") > 0);
    // A busy machine takes longer for so many than a stop waits.
    pool.stop();
    eventually("all end", || threads("thousand-") == 0);
}

/// A worker hangs in the system: its place is taken, and it goes when it is back.
#[test]
fn what_hangs_is_named_replaced_and_gone_when_it_is_back() {
    let (let_go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let run: RunProbe = Arc::new(move |request| {
        if request.ticket == Ticket::new(7, 0) {
            let _ = held.lock().unwrap().recv_timeout(PLENTY);
        }
        outcome(true)
    });
    let mut pool = Pool::start("check", 1, run, || {}).unwrap();
    pool.submit(ProbeRequest { timeout: millis(100), ..job(7, None) });
    pool.submit(job(8, None));
    eventually("one is busy", || pool.busy() == 1);
    let now = clock();
    assert_eq!(pool.replace_hanging(now), [], "its time is not up");
    let found = pool.replace_hanging(now + millis(100) + HANGING);
    let [Hanging { worker, replaced: true, .. }] = &found[..] else { panic!("{found:?}") };
    assert_eq!((worker.as_str(), pool.hanging(), pool.workers()), ("check-0", 1, 1));
    assert_eq!(pool.replace_hanging(now + millis(5000)), [], "told once");
    // The other one goes on with what waits.
    eventually("the next run is done", || {
        pool.drain().any(|report| matches!(report, Report::Finished(ticket, _) if ticket == Ticket::new(8, 0)))
    });
    let_go.send(()).unwrap();
    eventually("it comes back and goes", || {
        pool.drain().any(|report| matches!(&report, Report::Returned(worker, _) if worker == "check-0"))
    });
    assert_eq!((pool.hanging(), pool.busy()), (0, 0));
    pool.submit(job(9, None));
    take(&pool, 1);
    assert_eq!(pool.stop(), 0);
}

/// When all of them hang, and their places' takers too, that is said, and no more are started until one is back.
#[test]
fn there_is_an_end_to_replacing() {
    let (let_go, held): (Vec<_>, Vec<_>) = (0..6).map(|_| crossbeam_channel::bounded::<()>(1)).unzip();
    let run: RunProbe = Arc::new(move |request| {
        let own = held.iter().enumerate().find(|(number, _)| request.ticket == Ticket::new(*number, 0));
        let _ = own.map(|(_, held)| held.recv_timeout(PLENTY));
        outcome(true)
    });
    let mut pool = Pool::start("check", 2, run, || {}).unwrap();
    (0..6).for_each(|number| pool.submit(ProbeRequest { timeout: millis(1), ..job(number, None) }));
    eventually("both are busy", || pool.busy() == 2);
    let late = clock() + PLENTY;
    let replaced = |found: Vec<Hanging>| found.iter().map(|found| found.replaced).collect::<Vec<_>>();
    assert_eq!(replaced(pool.replace_hanging(late)), [true, true]);
    eventually("the others are busy", || pool.busy() == 2);
    assert_eq!(replaced(pool.replace_hanging(late + PLENTY)), [false, false]);
    assert_eq!(pool.replace_hanging(late + PLENTY), [], "told once");
    let_go[0].send(()).unwrap();
    eventually("one is back", || pool.hanging() == 1);
    assert_eq!(replaced(pool.replace_hanging(late + PLENTY)), [true], "there is room for one");
    eventually("who has the place is busy", || pool.busy() == 2);
    for let_go in &let_go {
        let _ = let_go.try_send(());
    }
    eventually("all is done", || pool.hanging() == 0 && pool.busy() == 0);
    assert_eq!(pool.stop(), 0);
}

/// Runs that are known to be slow leave a worker to the others.
#[test]
fn slow_runs_keep_to_their_lane() {
    let (let_go, held) = crossbeam_channel::unbounded::<()>();
    let run: RunProbe = Arc::new(move |request| {
        if request.slow {
            let _ = held.recv_timeout(PLENTY);
        }
        outcome(true)
    });
    let pool = Pool::start("check", 8, run, || {}).unwrap();
    (0..100).for_each(|number| pool.submit(ProbeRequest { slow: true, ..job(number, None) }));
    eventually("all but one are busy", || pool.busy() == 7);
    (100..200).for_each(|number| pool.submit(job(number, None)));
    let mut done = 0;
    eventually("the others are done", || {
        done += pool.drain().filter(|report| matches!(report, Report::Finished(..))).count();
        done == 100
    });
    (0..100).for_each(|_| let_go.send(()).unwrap());
    eventually("the slow ones too", || {
        done += pool.drain().filter(|report| matches!(report, Report::Finished(..))).count();
        done == 200
    });
}
