//! When GLB's forwarding tables are written with the health of their backends, and with which.
//!
//! Pure: verdicts and the time come in, [`Job`]s and [`Notice`]s go out. Nothing is told that is only half true:
//! - Before every target of a text has its first verdict, that text is not written. At a start nothing is; after a reload
//!   the text that was written last goes on, with what is known of its backends. Whoever has no verdict after so long a
//!   time as a start may take counts by his last result.
//! - What is checked no more keeps its last verdict, as long as its text goes on.
//!
//! The first change is written at once, further ones after `min_write_interval`, together. One job runs at a time; one
//! that fails is repeated with growing pauses. Once a minute, and at every reload, the destination is looked at: what
//! somebody else has made of it is put right. `document` is one text and its health.

mod document;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{self, Check, ForwardingTable};
use document::Document;

/// After the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// So often the destination is looked at although nothing has changed: somebody may have removed or damaged it.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What is known of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `None` before the first.
    pub verdict: Option<bool>,
    /// Whether the last run passed, if there was one.
    pub last: Option<bool>,
}

/// Something for a thread to do: have the destination hold this text with this health, and run the command if that took
/// writing it.
#[derive(Clone, Debug)]
pub struct Job {
    /// To be returned with the outcome.
    pub id: u64,
    /// Where to, and the command.
    pub config: Arc<config::Glb>,
    /// The text.
    pub table: Arc<ForwardingTable>,
    /// In the order of its backends.
    pub healthy: Vec<bool>,
    /// Run the command also when the destination is as it shall be already.
    pub run_anyway: bool,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of the job.
    pub id: u64,
    /// Whether the destination had to be written, or why it could not be.
    pub written: Result<bool, String>,
    /// How the command ended; `None` when it did not run.
    pub command: Option<Result<(), String>>,
}

/// What operators hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Another text is in force.
    Read {
        /// Where it was read.
        source: PathBuf,
        /// Tables in it.
        tables: usize,
        /// Backends in these, without the inactive ones.
        backends: usize,
    },
    /// So many targets have no verdict, and are not waited for any longer.
    Presumed(usize),
    /// The destination was written, or was right already.
    Written {
        /// Where.
        destination: PathBuf,
        /// Whether it was not right already.
        changed: bool,
        /// Backends that are healthy.
        healthy: usize,
        /// Of so many; both without the inactive ones.
        backends: usize,
    },
    /// It could not be; told once until the reason is another.
    WriteFailed(PathBuf, String),
    /// The command failed, and why; likewise.
    CommandFailed(String),
    /// It has succeeded again.
    CommandSucceeded,
}

/// At a glance.
#[derive(Clone, Debug)]
pub struct Status {
    /// As configured.
    pub config: Arc<config::Glb>,
    /// How far it is.
    pub state: State,
    /// Targets of the newest text without a verdict.
    pub undecided: usize,
    /// Backends that are healthy.
    pub healthy: usize,
    /// Of so many; both without the inactive ones.
    pub backends: usize,
    /// When the destination was last made, or found, right.
    pub written: Option<Instant>,
    /// Why it last could not be; `None` when it could.
    pub error: Option<(Instant, String)>,
    /// The last run of the command.
    pub command: Option<(Instant, Result<(), String>)>,
}

/// How far the destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none.
    NotWritten,
    /// First verdicts are missing.
    Waiting,
    /// It is being written, or about to be.
    Writing,
    /// It is right.
    Written,
    /// It, or the command, is tried again.
    Failing,
}

/// A job under way.
#[derive(Debug)]
struct Flight {
    id: u64,
    table: Arc<ForwardingTable>,
    healthy: Vec<bool>,
    counts: (usize, usize),
    /// A reload has changed where it goes: its outcome says nothing any more.
    stale: bool,
    /// Nothing has changed: it looks whether the destination is as it was.
    is_look: bool,
}

/// The tables in force, and what has become of them.
#[derive(Debug, Default)]
pub struct Glb {
    config: Option<Arc<config::Glb>>,
    /// What is written.
    shown: Option<Document>,
    /// What will be, once enough is known of it.
    next: Option<Document>,
    /// When it will be in any case.
    next_at: Option<Instant>,
    /// A reload wants the destination to be looked at.
    look_due: bool,
    /// What the destination holds.
    held: Option<(Arc<ForwardingTable>, Vec<bool>)>,
    flight: Option<Flight>,
    last_id: u64,
    /// Since when something may differ from what was last written.
    changed: Option<Instant>,
    /// The next job not before this.
    pause: Option<Instant>,
    /// When what has failed is tried again, and the pause after that.
    retry: Option<Instant>,
    backoff: Duration,
    /// The command has to run: for the first time, or because it has failed.
    command_due: bool,
    stopped: bool,
    written: Option<Instant>,
    error: Option<(Instant, String)>,
    command: Option<(Instant, Result<(), String>)>,
    notices: VecDeque<Notice>,
}

impl Glb {
    /// Nothing configured.
    pub fn new() -> Glb {
        Glb::default()
    }

    /// Replaces the configuration. `patience` is how long first verdicts are waited for; `known` is asked by indexes of the
    /// new `checks`.
    pub fn configure(
        &mut self,
        now: Instant,
        config: Option<&Arc<config::Glb>>,
        checks: &[Check],
        patience: Duration,
        known: &dyn Fn(usize) -> Known,
    ) {
        let place = |config: &Arc<config::Glb>| (config.source.clone(), config.destination.clone());
        if self.config.as_ref().map(place) != config.map(place) {
            self.forget();
        }
        let is_new = |old: &Arc<config::Glb>, new: &Arc<config::Glb>| old.table.text != new.table.text;
        let read = match (&self.config, config) {
            (Some(old), Some(new)) => is_new(old, new),
            (None, new) => new.is_some(),
            (Some(_), None) => false,
        };
        let command = |config: &Arc<config::Glb>| config.reload_command.clone();
        if self.config.as_ref().and_then(command) != config.and_then(command) {
            self.command = None; // how another has ended says nothing of this one
        }
        self.config = config.cloned();
        // Who reloads may have seen that something is wrong with the destination.
        self.look_due = true;
        let Some(config) = config else { return };
        let (shown, next) = (self.shown.take(), self.next.take());
        let predecessors: Vec<&Document> = shown.iter().chain(&next).collect();
        let document = Document::new(now, config.table.clone(), checks, patience, known, &predecessors);
        if read {
            let (source, tables, backends) = (config.source.clone(), config.table.tables, document.size());
            self.notices.push_back(Notice::Read { source, tables, backends });
        }
        self.shown = shown.map(|mut shown| {
            shown.rebind(&document.checks(), known);
            shown
        });
        self.next_at = document.until();
        self.next = Some(document);
        self.changed.get_or_insert(now);
        self.promote(now);
    }

    /// A check has another verdict, or its first.
    pub fn verdict_changed(&mut self, now: Instant, check: usize, passing: bool) {
        if let Some(shown) = &mut self.shown
            && shown.set(check, passing)
        {
            self.changed.get_or_insert(now);
        }
        if let Some(next) = &mut self.next {
            next.set(check, passing);
        }
        self.promote(now);
    }

    /// Whoever has no verdict by now has had his time. `known` as for [`configure`](Self::configure).
    pub fn handle_timeout(&mut self, now: Instant, known: &dyn Fn(usize) -> Known) {
        if self.next_at.is_none_or(|at| at > now) {
            return;
        }
        self.next_at = None;
        let presumed = self.next.as_mut().map_or(0, |next| next.presume(known));
        if presumed > 0 {
            self.notices.push_back(Notice::Presumed(presumed));
        }
        self.promote(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work, or [`poll_job`](Self::poll_job) a job.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_at.into_iter().chain(self.due()).min()
    }

    /// The next thing to do. Until its outcome is in, there is no other.
    pub fn poll_job(&mut self, now: Instant) -> Option<Job> {
        if self.due().is_none_or(|at| at > now) {
            return None;
        }
        let (config, shown) = (self.config.clone()?, self.shown.as_ref()?);
        let (table, healthy, counts) = (shown.table.clone(), shown.health(), (shown.healthy, shown.size()));
        (self.changed, self.retry) = (None, None);
        let is_held = |(held, health): &(Arc<ForwardingTable>, Vec<bool>)| {
            (Arc::ptr_eq(held, &table) || held.text == table.text) && *health == healthy
        };
        let is_look = !self.command_due && self.held.as_ref().is_some_and(is_held);
        let is_due = std::mem::take(&mut self.look_due) || self.next_look().is_some_and(|at| at <= now);
        if is_look && !is_due {
            return None; // what had changed has changed back
        }
        self.last_id += 1;
        let id = self.last_id;
        if !is_look {
            self.pause = now.checked_add(config.min_write_interval);
        }
        self.flight =
            Some(Flight { id, table: table.clone(), healthy: healthy.clone(), counts, stale: false, is_look });
        Some(Job { id, config, table, healthy, run_anyway: self.command_due })
    }

    /// A job is over.
    pub fn done(&mut self, now: Instant, outcome: Outcome) {
        let Some(flight) = self.flight.take_if(|flight| flight.id == outcome.id) else { return };
        let Some(destination) = self.config.as_ref().and_then(|config| config.destination.clone()) else { return };
        if flight.stale {
            return;
        }
        let mut failed = false;
        match outcome.written {
            Ok(changed) => {
                if changed || self.written.is_none() || self.error.is_some() {
                    let (healthy, backends) = flight.counts;
                    self.notices.push_back(Notice::Written { destination, changed, healthy, backends });
                }
                self.held = Some((flight.table, flight.healthy));
                (self.written, self.error) = (Some(now), None);
                self.command_due = false;
            }
            Err(error) => {
                failed = true;
                if self.error.as_ref().is_none_or(|(_, told)| *told != error) {
                    self.notices.push_back(Notice::WriteFailed(destination, error.clone()));
                }
                // It may hold anything now.
                self.held = None;
                self.error = Some((now, error));
            }
        }
        if let Some(result) = outcome.command {
            let told = self.command.as_ref().map(|(_, told)| told);
            match (&result, told) {
                (Err(error), told) if told.and_then(|told| told.as_ref().err()) != Some(error) => {
                    self.notices.push_back(Notice::CommandFailed(error.clone()));
                }
                (Ok(()), Some(Err(_))) => self.notices.push_back(Notice::CommandSucceeded),
                _ => {}
            }
            self.command_due |= result.is_err();
            failed |= result.is_err();
            self.command = Some((now, result));
        }
        self.retry = failed.then(|| now + self.backoff);
        self.backoff = if failed { (2 * self.backoff).min(LAST_RETRY) } else { FIRST_RETRY };
    }

    /// The next thing for operators to hear.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Nothing is begun any more.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// At a glance; `None` without a configuration.
    pub fn status(&self) -> Option<Status> {
        let config = self.config.clone()?;
        let document = self.shown.as_ref().or(self.next.as_ref());
        let (healthy, backends) = document.map_or((0, 0), |document| (document.healthy, document.size()));
        let command_fails = self.command.as_ref().is_some_and(|(_, result)| result.is_err());
        let state = if config.destination.is_none() {
            State::NotWritten
        } else if self.error.is_some() || command_fails {
            State::Failing
        } else if self.next.is_some() {
            State::Waiting
        } else if self.flight.as_ref().is_some_and(|flight| !flight.is_look) || self.changed.is_some() {
            State::Writing
        } else {
            State::Written
        };
        Some(Status {
            config,
            state,
            undecided: self.next.as_ref().map_or(0, |next| next.open),
            healthy,
            backends,
            written: self.written,
            error: self.error.clone(),
            command: self.command.clone(),
        })
    }

    /// What is written somewhere else begins anew.
    fn forget(&mut self) {
        let flight = self.flight.take().map(|flight| Flight { stale: true, ..flight });
        let notices = std::mem::take(&mut self.notices);
        let (last_id, stopped) = (self.last_id, self.stopped);
        let (command_due, backoff) = (true, FIRST_RETRY);
        *self = Glb { flight, notices, last_id, stopped, command_due, backoff, ..Glb::default() };
    }

    /// Once enough is known of the next text, it is the one.
    fn promote(&mut self, now: Instant) {
        if let Some(next) = self.next.take_if(|next| next.open == 0) {
            self.shown = Some(next);
            self.next_at = None;
            self.changed.get_or_insert(now);
        }
    }

    /// When the next job is due.
    fn due(&self) -> Option<Instant> {
        let idle = self.flight.is_none() && self.shown.is_some() && !self.stopped;
        self.config.as_ref().filter(|config| idle && config.destination.is_some())?;
        match self.changed {
            Some(since) => Some(self.pause.map_or(since, |pause| pause.max(since))),
            None => self.retry.or(self.next_look()),
        }
    }

    /// When the destination is looked at again.
    fn next_look(&self) -> Option<Instant> {
        self.written.and_then(|at| at.checked_add(LOOK_EVERY))
    }
}
