//! What clients of the control socket have done for them on threads of their own: reloads, differences, runs of checks.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::mail::{Mail, poster};
use super::{Reactor, Stop};
use crate::config::Source;
use crate::config::diff::Diff;
use crate::driver::changes::Changes;
use crate::driver::control::{Rank, Refusal, Task, Text};
use crate::driver::load::Audience;
use crate::driver::notice::Notice;
use crate::driver::reload::{self, Loaded, What};
use crate::driver::{clock, trial};

/// So many run checks for clients at a time.
const PROBES: usize = 8;
/// And so many compare configurations, for those who may only look, and for all: the former keep out no one who may act.
const DIFFS: [usize; 2] = [2, 4];
/// As that of the workers.
const NICE: i32 = 10;
const STOPPING: &str = "the daemon is stopping";

/// What is under way for clients.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Threads that run checks.
    probes: usize,
    /// Threads that compare configurations.
    diffs: usize,
    /// Runs of checks end when it turns true.
    cancel: Arc<AtomicBool>,
    /// Clients that wait for the reload that is under way.
    now: Vec<usize>,
    /// And for one that begins after it: the files may have changed since that has read them.
    next: Vec<usize>,
}

impl Tasks {
    /// A load is over, and another begins, or not: who has waited for this one.
    fn over(&mut self) -> Vec<usize> {
        std::mem::replace(&mut self.now, std::mem::take(&mut self.next))
    }

    fn running(&mut self, errand: Errand) -> &mut usize {
        match errand {
            Errand::Probe => &mut self.probes,
            Errand::Diff => &mut self.diffs,
        }
    }

    /// Whether somebody wants to hear of the reload that is under way.
    pub(super) fn is_reload_heard(&self) -> bool {
        !self.now.is_empty()
    }
}

/// What a thread does for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    Probe,
    Diff,
}

impl Reactor {
    pub(super) fn begin_task(&mut self, client: usize, task: Task) {
        let begun = clock();
        let refusal = match task {
            Task::Reload(by) => self.reload_for(client, &by),
            Task::Diff(files, rank) => self.differ(client, files, rank),
            Task::Probe(target) => self.try_out(client, &target),
        };
        match refusal {
            Ok(()) => self.control.begun(client, clock() - begun),
            Err(refusal) => self.control.changed(client, Err(refusal), clock() - begun),
        }
    }

    fn reload_for(&mut self, client: usize, by: &str) -> Result<(), Refusal> {
        if self.stop != Stop::No {
            return Err(Refusal::busy(STOPPING));
        }
        let waits = if self.loader.is_busy() { &mut self.tasks.next } else { &mut self.tasks.now };
        waits.push(client);
        self.begin_reload(&format!("herald reload by {by}"));
        Ok(())
    }

    fn differ(&mut self, client: usize, files: Option<Vec<Text>>, rank: Rank) -> Result<(), Refusal> {
        let [lookers, all] = DIFFS;
        let (most, audience) = if rank == Rank::Act { (all, Audience::Owner) } else { (lookers, Audience::Anybody) };
        look_for_room(self.tasks.diffs, most)?;
        let now = clock();
        let path = self.loader.path().to_owned();
        let (config, mut double) = (self.config.clone(), self.engine.double());
        self.errand(client, Errand::Diff, move || {
            // A large configuration takes a while: checks and sessions go first.
            let _as_well_without = rustix::process::setpriority_process(None, NICE);
            let loaded = match files {
                Some(files) => reload::load_texts(files.into_iter().map(source).collect(), audience),
                None => reload::load(&path),
            };
            match loaded {
                Ok(Loaded { config: next, .. }) => {
                    // As things were when it was made: the double knows of no run since, and has not missed any.
                    let announcements = double.foresee(now, &next);
                    Changes::taken(&next, Diff::new(&config, &next), announcements).value()
                }
                Err(errors) => Changes::refused(&errors).value(),
            }
        })
    }

    fn try_out(&mut self, client: usize, target: &str) -> Result<(), Refusal> {
        look_for_room(self.tasks.probes, PROBES)?;
        let runs = trial::plan(&self.config, target)?;
        let (prober, cancel) = (self.prober.clone(), self.tasks.cancel.clone());
        self.errand(client, Errand::Probe, move || trial::run(&prober, runs, &cancel))
    }

    /// Has something done on a thread of its own.
    fn errand<F>(&mut self, client: usize, errand: Errand, work: F) -> Result<(), Refusal>
    where
        F: FnOnce() -> Value + Send + 'static,
    {
        let post = poster(&self.mail, &self.waker);
        let work = move || {
            let result = panic::catch_unwind(AssertUnwindSafe(work));
            let result = result.map_err(|_| Refusal::busy("internal error while it was done"));
            post(Mail::Errand(client, errand, result));
        };
        let name = if errand == Errand::Probe { "probe" } else { "diff" };
        let begun = thread::Builder::new().name(name.to_owned()).spawn(work);
        begun.map_err(|error| Refusal::busy(format!("the system has no thread to spare: {error}")))?;
        *self.tasks.running(errand) += 1;
        Ok(())
    }

    /// The daemon ends: gives those who run checks for clients the time to end their programs.
    pub(super) fn cancel_errands(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        self.turn_down_waiting();
        self.tasks.cancel.store(true, Ordering::Relaxed);
        let until = clock() + PATIENCE;
        let mut others = Vec::new();
        while self.tasks.probes > 0 {
            match self.mailbox.recv_deadline(until) {
                Ok(Mail::Errand(client, errand, result)) => self.end_errand(client, errand, result),
                Ok(mail) => others.push(mail),
                Err(_) => break,
            }
        }
        // They are for whoever ends next.
        others.into_iter().for_each(|mail| drop(self.mail.send(mail)));
    }

    pub(super) fn end_errand(&mut self, client: usize, errand: Errand, result: Result<Value, Refusal>) {
        *self.tasks.running(errand) -= 1;
        self.control.done(client, result);
    }

    /// The daemon ends before a load was of any use.
    pub(super) fn turn_down_waiting(&mut self) {
        for client in [self.tasks.over(), self.tasks.over()].concat() {
            self.control.done(client, Err(Refusal::busy(STOPPING)));
        }
    }

    /// Tells those who waited for a load what came of it; `what` is asked for only when somebody did.
    pub(super) fn tell_waiting(&mut self, what: impl FnOnce() -> Changes) {
        let waiting = self.tasks.over();
        if waiting.is_empty() {
            return;
        }
        let value = what().value();
        for client in waiting {
            self.control.done(client, Ok(value.clone()));
        }
    }

    pub(super) fn begin_reload(&mut self, cause: &str) {
        self.scribe.note(Notice::Reloading(cause.to_owned(), self.loader.path().to_owned()));
        self.oversight.watchdog.messenger.reloading();
        self.reload(What::All);
        self.tell_reloaded();
    }

    /// Tells systemd when no reload is under way any more.
    pub(super) fn tell_reloaded(&self) {
        if !self.loader.is_busy() && self.stop == Stop::No {
            self.oversight.watchdog.messenger.ready();
        }
    }
}

fn look_for_room(running: usize, most: usize) -> Result<(), Refusal> {
    if running < most {
        return Ok(());
    }
    Err(Refusal::busy(format!("{running} such requests are being carried out already; try again")))
}

fn source(file: Text) -> Source {
    Source { name: Arc::from(file.name), text: file.text }
}
