//! When something is written, in virtual time.

mod document;

use std::collections::BTreeMap;

use super::*;
use crate::config::{Source, Texts, parse_with};
use crate::timers::origin;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// One table with backends of these last octets, each checked on port 80.
fn table(backends: &[u8]) -> String {
    let backend = |octet: &u8| format!(r#"{{"ip":"10.0.0.{octet}","state":"active","healthchecks":{{"tcp":80}}}}"#);
    let backends: Vec<String> = backends.iter().map(backend).collect();
    let bind = r#"{"ip":"192.0.2.1","proto":"tcp","port":80}"#;
    format!(r#"{{"tables":[{{"binds":[{bind}],"backends":[{}]}}]}}"#, backends.join(","))
}

fn parsed(main: &str, json: &str) -> config::Config {
    let source = |name: &str, text: &str| Source { name: name.into(), text: text.to_owned() };
    let texts = Texts::from([("/t".into(), Ok(source("/t", json)))]);
    parse_with(&[source("f", main)], &texts).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// Between two looks at a destination that is as it shall be.
const LOOK: Duration = Duration::from_secs(60);
const MAIN: &str = "[glb]\nsource = '/t'\ndestination = '/d'\nreload_command = 'true'\n";

/// The core, with what the health core and the driver would tell it.
struct World {
    glb: Glb,
    now: Instant,
    config: config::Config,
    /// Of backends by last octet.
    verdicts: BTreeMap<u8, bool>,
    last: BTreeMap<u8, bool>,
    notices: Vec<Notice>,
}

impl World {
    fn new(backends: &[u8]) -> World {
        let config = parsed(MAIN, &table(backends));
        let (verdicts, last) = (BTreeMap::new(), BTreeMap::new());
        let mut world = World { glb: Glb::new(), now: origin(), config, verdicts, last, notices: Vec::new() };
        world.configure();
        world
    }

    /// With verdicts that all pass, and written.
    fn settled(backends: &[u8]) -> World {
        let mut world = World::new(backends);
        for backend in backends {
            world.verdict(*backend, true);
        }
        let job = world.job().unwrap();
        world.succeed(&job);
        world.pass(5 * SECOND);
        assert!(world.job().is_none());
        world
    }

    fn reload(&mut self, main: &str, json: &str) {
        self.config = parsed(main, json);
        self.configure();
    }

    fn configure(&mut self) {
        let targets = self.targets();
        let (verdicts, last) = (self.verdicts.clone(), self.last.clone());
        let known = |check: usize| Known {
            verdict: verdicts.get(&targets[check]).copied(),
            last: last.get(&targets[check]).copied(),
        };
        let config = self.config.glb.clone();
        self.glb.configure(self.now, config.as_ref(), &self.config.checks, PATIENCE, &known);
    }

    /// Last octets by check.
    fn targets(&self) -> Vec<u8> {
        let octet = |check: &Check| match check.probe.target.ip() {
            std::net::IpAddr::V4(address) => address.octets()[3],
            std::net::IpAddr::V6(_) => panic!(),
        };
        self.config.checks.iter().map(octet).collect()
    }

    fn verdict(&mut self, backend: u8, passing: bool) {
        self.verdicts.insert(backend, passing);
        if let Some(check) = self.targets().iter().position(|octet| *octet == backend) {
            self.glb.verdict_changed(self.now, check, passing);
        }
    }

    /// Lets time pass; the core must not ask to be woken for what is over.
    fn pass(&mut self, span: Duration) {
        self.now += span;
        let targets = self.targets();
        let last = self.last.clone();
        let known = |check: usize| Known { verdict: None, last: last.get(&targets[check]).copied() };
        self.glb.handle_timeout(self.now, &known);
    }

    fn job(&mut self) -> Option<Job> {
        let job = self.glb.poll_job(self.now);
        assert!(self.glb.poll_timeout().is_none_or(|at| at > self.now), "a timer that spins");
        self.notices.extend(std::iter::from_fn(|| self.glb.poll_notice()));
        job
    }

    fn succeed(&mut self, job: &Job) {
        let command = job.config.reload_command.as_ref().map(|_| Ok(()));
        self.end(job, Ok(true), command);
    }

    fn end(&mut self, job: &Job, written: Result<bool, &str>, command: Option<Result<(), String>>) {
        let written = written.map_err(str::to_owned);
        self.glb.done(self.now, Outcome { id: job.id, written, command });
        self.notices.extend(std::iter::from_fn(|| self.glb.poll_notice()));
    }

    fn state(&self) -> State {
        self.glb.status().unwrap().state
    }
}

#[test]
fn nothing_is_written_before_all_first_verdicts() {
    let mut world = World::new(&[1, 2]);
    world.verdict(1, false);
    world.pass(5 * SECOND);
    assert!(world.job().is_none());
    assert_eq!((world.state(), world.glb.status().unwrap().undecided), (State::Waiting, 1));
    world.verdict(2, true);
    let job = world.job().unwrap();
    assert_eq!((&*job.healthy, job.run_anyway), (&[false, true][..], true));
    assert!(world.job().is_none(), "one at a time");
    assert_eq!(world.state(), State::Writing);
    world.succeed(&job);
    assert_eq!((world.state(), world.job().is_none()), (State::Written, true));
    assert_eq!(world.glb.poll_timeout(), Some(world.now + LOOK));
}

/// Whatever somebody else has made of the destination.
#[test]
fn the_destination_is_looked_at_once_a_minute_and_at_a_reload() {
    let mut world = World::settled(&[1, 2]);
    let told = world.notices.len();
    world.pass(LOOK);
    let look = world.job().unwrap();
    assert_eq!((&*look.healthy, look.run_anyway, world.state()), (&[true, true][..], false, State::Written));
    world.end(&look, Ok(false), None);
    assert!(world.job().is_none() && world.notices.len() == told, "what is right is no news");
    world.reload(MAIN, &table(&[1, 2]));
    let look = world.job().unwrap();
    assert!(!look.run_anyway);
    // A change is not held up by it, and what had to be written once more is told.
    world.succeed(&look);
    assert!(matches!(world.notices.last(), Some(Notice::Written { changed: true, .. })), "{:?}", world.notices);
    world.verdict(1, false);
    assert!(world.job().is_some());
}

#[test]
fn whoever_is_silent_for_too_long_counts_by_his_last_result() {
    let mut world = World::new(&[1, 2, 3]);
    world.verdict(1, true);
    world.last.insert(2, true);
    assert_eq!(world.glb.poll_timeout(), Some(world.now + PATIENCE));
    world.pass(PATIENCE - Duration::from_nanos(1));
    assert!(world.job().is_none());
    world.pass(Duration::from_nanos(1));
    assert_eq!(world.job().unwrap().healthy, [true, true, false]);
    assert!(world.notices.contains(&Notice::Presumed(2)), "{:?}", world.notices);
}

#[test]
fn the_first_change_goes_at_once_and_further_ones_together() {
    let mut world = World::settled(&[1, 2, 3]);
    world.verdict(1, false);
    let job = world.job().unwrap();
    assert_eq!((&*job.healthy, job.run_anyway), (&[false, true, true][..], false));
    world.succeed(&job);
    world.pass(SECOND / 10);
    world.verdict(2, false);
    assert!(world.job().is_none());
    world.pass(SECOND / 10);
    world.verdict(3, false);
    assert!(world.job().is_none());
    assert_eq!(world.glb.poll_timeout(), Some(world.now + SECOND * 8 / 10));
    world.pass(SECOND * 8 / 10);
    let job = world.job().unwrap();
    assert_eq!(job.healthy, [false; 3]);
    world.succeed(&job);
    // What has changed back is not written.
    world.verdict(1, true);
    world.verdict(1, false);
    world.pass(2 * SECOND);
    assert!(world.job().is_none());
}

#[test]
fn a_change_during_a_write_is_written_after_it() {
    let mut world = World::settled(&[1, 2]);
    world.verdict(1, false);
    let job = world.job().unwrap();
    world.verdict(2, false);
    world.pass(3 * SECOND);
    assert!(world.job().is_none());
    world.succeed(&job);
    assert_eq!(world.job().unwrap().healthy, [false, false]);
}

#[test]
fn a_new_backend_is_never_unhealthy_for_being_new() {
    let mut world = World::settled(&[1, 2]);
    world.reload(MAIN, &table(&[1, 2, 3]));
    let look = world.job().unwrap();
    assert_eq!(&*look.table.text, &*table(&[1, 2]), "there is no verdict on the new one");
    world.end(&look, Ok(false), None);
    assert!(world.job().is_none());
    // Meanwhile the old ones are kept in step, in the old text.
    world.verdict(2, false);
    let job = world.job().unwrap();
    assert_eq!((&*job.table.text, &*job.healthy), (&*table(&[1, 2]), &[true, false][..]));
    world.succeed(&job);
    world.pass(2 * SECOND);
    world.verdict(3, true);
    let job = world.job().unwrap();
    assert_eq!((&*job.table.text, &*job.healthy), (&*table(&[1, 2, 3]), &[true, false, true][..]));
    world.succeed(&job);
    assert_eq!(world.state(), State::Written);
}

#[test]
fn a_backend_that_leaves_keeps_its_verdict_in_the_old_text() {
    let mut world = World::settled(&[1, 2]);
    world.verdict(1, false);
    let job = world.job().unwrap();
    world.succeed(&job);
    world.pass(2 * SECOND);
    // The numbers of the checks move: 2 was the second and is the first.
    world.reload(MAIN, &table(&[2, 3]));
    world.verdict(2, false);
    assert_eq!(world.job().unwrap().healthy, [false, false]);
}

#[test]
fn a_failed_write_is_repeated_with_growing_pauses() {
    let mut world = World::settled(&[1]);
    world.verdict(1, false);
    let mut pause = SECOND;
    for _ in 0..8 {
        let job = world.job().unwrap();
        world.end(&job, Err("no space"), None);
        assert_eq!(world.state(), State::Failing);
        assert!(world.job().is_none());
        assert_eq!(world.glb.poll_timeout(), Some(world.now + pause));
        world.pass(pause);
        pause = (2 * pause).min(60 * SECOND);
    }
    let job = world.job().unwrap();
    world.succeed(&job);
    assert_eq!((world.state(), world.glb.poll_timeout()), (State::Written, Some(world.now + LOOK)));
    let told = world.notices.iter().filter(|notice| matches!(notice, Notice::WriteFailed(..))).count();
    assert_eq!(told, 1, "{:?}", world.notices);
    world.pass(100 * SECOND);
    world.verdict(1, true);
    let job = world.job().unwrap();
    world.end(&job, Err("again"), None);
    assert_eq!(world.glb.poll_timeout(), Some(world.now + SECOND), "the pauses begin anew");
}

#[test]
fn a_failed_command_runs_again_by_itself() {
    let mut world = World::settled(&[1]);
    world.verdict(1, false);
    let job = world.job().unwrap();
    world.end(&job, Ok(true), Some(Err("exit status 1".to_owned())));
    assert!(world.job().is_none() && world.state() == State::Failing);
    world.pass(SECOND);
    let job = world.job().unwrap();
    assert!(job.run_anyway);
    world.end(&job, Ok(false), Some(Err("exit status 1".to_owned())));
    world.pass(2 * SECOND);
    let job = world.job().unwrap();
    world.end(&job, Ok(false), Some(Ok(())));
    assert_eq!((world.state(), world.glb.poll_timeout()), (State::Written, Some(world.now + LOOK)));
    let heard = |wanted: &Notice| world.notices.iter().filter(|notice| *notice == wanted).count();
    assert_eq!(heard(&Notice::CommandFailed("exit status 1".to_owned())), 1);
    assert_eq!(heard(&Notice::CommandSucceeded), 1);
}

#[test]
fn a_command_that_is_configured_no_more_does_not_fail_any_more() {
    let mut world = World::settled(&[1]);
    world.verdict(1, false);
    let job = world.job().unwrap();
    world.end(&job, Ok(true), Some(Err("exit status 1".to_owned())));
    world.pass(SECOND);
    world.reload("[glb]\nsource = '/t'\ndestination = '/d'\n", &table(&[1]));
    while let Some(job) = world.job() {
        world.end(&job, Ok(false), None);
        world.pass(SECOND);
    }
    assert_eq!(world.state(), State::Written);
}

#[test]
fn a_reload_without_tables_ends_it() {
    let mut world = World::settled(&[1]);
    world.verdict(1, false);
    let job = world.job().unwrap();
    world.reload("[[service]]\nname='a'\nvips=['192.0.2.7']\nport=1\nchecks=[]\n", "{}");
    assert!(world.glb.status().is_none() && world.glb.poll_timeout().is_none());
    // It comes back while the old write is still under way: there is one at a time.
    world.verdicts.insert(1, false);
    world.reload(MAIN, &table(&[1]));
    assert!(world.job().is_none());
    world.end(&job, Ok(true), Some(Ok(())));
    let job = world.job().unwrap();
    assert_eq!((&*job.healthy, job.run_anyway), (&[false][..], true));
}

#[test]
fn another_destination_is_written_anew_and_none_is_not() {
    let mut world = World::settled(&[1]);
    world.reload(&MAIN.replace("'/d'", "'/e'"), &table(&[1]));
    let job = world.job().unwrap();
    assert!(job.run_anyway);
    world.succeed(&job);
    world.reload(TABLE_ONLY, &table(&[1]));
    assert_eq!((world.job().is_none(), world.state()), (true, State::NotWritten));
    world.verdict(1, false);
    assert!(world.job().is_none() && world.glb.poll_timeout().is_none());
}

const TABLE_ONLY: &str = "[glb]\nsource = '/t'\n";

#[test]
fn after_a_stop_nothing_is_begun() {
    let mut world = World::settled(&[1]);
    world.glb.stop();
    world.verdict(1, false);
    world.pass(9 * SECOND);
    assert!(world.job().is_none() && world.glb.poll_timeout().is_none());
}
