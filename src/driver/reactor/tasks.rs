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
use crate::driver::control::{Task, Text};
use crate::driver::notice::Notice;
use crate::driver::reload::{self, Loaded, What};
use crate::driver::{clock, trial};

/// So many threads of clients at a time.
const MOST: usize = 8;
/// As that of the workers.
const NICE: i32 = 10;

/// What is under way for clients.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Threads.
    running: usize,
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

    /// Whether somebody wants to hear of the reload that is under way.
    pub(super) fn is_reload_heard(&self) -> bool {
        !self.now.is_empty()
    }
}

impl Reactor {
    pub(super) fn begin_task(&mut self, client: usize, task: Task) {
        let begun = clock();
        let refusal = match task {
            Task::Reload => self.reload_for(client),
            Task::Diff(files) => self.differ(client, files),
            Task::Probe(target) => self.try_out(client, &target),
        };
        match refusal {
            Ok(()) => self.control.begun(client, clock() - begun),
            Err(error) => self.control.changed(client, Err(error), clock() - begun),
        }
    }

    fn reload_for(&mut self, client: usize) -> Result<(), String> {
        if self.stop != Stop::No {
            return Err("the daemon is stopping".to_owned());
        }
        let waits = if self.loader.is_busy() { &mut self.tasks.next } else { &mut self.tasks.now };
        waits.push(client);
        self.begin_reload("herald reload");
        Ok(())
    }

    fn differ(&mut self, client: usize, files: Option<Vec<Text>>) -> Result<(), String> {
        self.look_for_room()?;
        let path = self.loader.path().to_owned();
        let (config, mut double) = (self.config.clone(), self.engine.double());
        self.errand(client, "diff", move || {
            // A large configuration takes a while: checks and sessions go first.
            let _as_well_without = rustix::process::setpriority_process(None, NICE);
            let loaded = match files {
                Some(files) => reload::load_texts(files.into_iter().map(source).collect()),
                None => reload::load(&path),
            };
            match loaded {
                Ok(Loaded { config: next, .. }) => {
                    let announcements = double.foresee(clock(), &next);
                    Ok(Changes::taken(&next, Diff::new(&config, &next), announcements).value())
                }
                Err(errors) => Ok(Changes::refused(&errors).value()),
            }
        })
    }

    fn try_out(&mut self, client: usize, target: &str) -> Result<(), String> {
        let runs = trial::plan(&self.config, target)?;
        let (prober, cancel) = (self.prober.clone(), self.tasks.cancel.clone());
        self.errand(client, "probe", move || Ok(trial::run(&prober, runs, &cancel)))
    }

    fn look_for_room(&self) -> Result<(), String> {
        match self.tasks.running {
            0..MOST => Ok(()),
            _ => Err(format!("{MOST} such requests are being carried out already; try again")),
        }
    }

    /// Has something done on a thread of its own, if there are not too many.
    fn errand<F>(&mut self, client: usize, name: &str, work: F) -> Result<(), String>
    where
        F: FnOnce() -> Result<Value, String> + Send + 'static,
    {
        self.look_for_room()?;
        let post = poster(&self.mail, &self.waker);
        let work = move || {
            let result = panic::catch_unwind(AssertUnwindSafe(work));
            post(Mail::Errand(client, result.unwrap_or_else(|_| Err("internal error while it was done".to_owned()))));
        };
        let begun = thread::Builder::new().name(name.to_owned()).spawn(work);
        begun.map_err(|error| format!("the system has no thread to spare: {error}"))?;
        self.tasks.running += 1;
        Ok(())
    }

    /// The daemon ends: gives those who run checks for clients the time to end their programs.
    pub(super) fn cancel_errands(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        self.tasks.cancel.store(true, Ordering::Relaxed);
        let until = clock() + PATIENCE;
        let mut others = Vec::new();
        while self.tasks.running > 0 {
            match self.mailbox.recv_deadline(until) {
                Ok(Mail::Errand(client, result)) => self.end_errand(client, result),
                Ok(mail) => others.push(mail),
                Err(_) => break,
            }
        }
        // They are for whoever ends next.
        others.into_iter().for_each(|mail| drop(self.mail.send(mail)));
    }

    pub(super) fn end_errand(&mut self, client: usize, result: Result<Value, String>) {
        self.tasks.running -= 1;
        self.control.done(client, result);
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

    pub(super) fn begin_reload(&mut self, cause: &'static str) {
        self.scribe.note(Notice::Reloading(cause, self.loader.path().to_owned()));
        self.oversight.watchdog.messenger.reloading();
        self.reload(What::All);
        self.tell_reloaded();
    }

    /// Tells systemd when no reload is under way any more.
    pub(super) fn tell_reloaded(&self) {
        if !self.loader.is_busy() {
            self.oversight.watchdog.messenger.ready();
        }
    }
}

fn source(file: Text) -> Source {
    Source { name: Arc::from(file.name), text: file.text }
}
