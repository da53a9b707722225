//! All hooks, each with what it still has to be told: who is next, and what people hear of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crew;
use super::document::{Document, Latest};
use super::queue::{After, Queue, Turn};
use super::runner::Runner;
use super::{DropReason, News};
use crate::config::NotifyTarget;
use crate::driver::status::HookLine;
use crate::wall::WallClock;

/// Threads for all hooks together, unless there are more hooks.
const WORKERS: usize = 8;
/// Subjects that may wait for one hook.
const WAITING: usize = 100_000;
/// After a hook has recovered its next trouble is not told before this has passed: whatever it does, it cannot flood the log.
const QUIET: Duration = Duration::from_secs(10);

pub(super) struct Desk {
    hooks: Vec<Hook>,
    /// Who is asked first, next time.
    first: usize,
    workers: usize,
    numbered: u64,
}

/// One hook.
struct Hook {
    number: u64,
    runner: Arc<Runner>,
    queue: Queue,
    delivered: u64,
    failed: u64,
    coalesced: u64,
    dropped: u64,
    last_error: Option<(Instant, Arc<str>)>,
    trouble: Trouble,
}

/// What has been said of a hook that fails, so that it is said once.
#[derive(Default)]
struct Trouble {
    /// Something has failed since the last time that all was well.
    failing: bool,
    /// That has been said.
    told: bool,
    /// And that something was given up.
    given_up_told: bool,
    /// Nothing is said before this.
    quiet_until: Option<Instant>,
    /// Given up, and not said.
    untold: u64,
    /// That there is no room has been said, and all that waited has not been told since.
    full_told: bool,
}

/// One attempt.
pub(super) struct Task {
    hook: u64,
    runner: Arc<Runner>,
    turn: Turn,
    document: Arc<Document>,
}

impl Desk {
    pub(super) fn new() -> Desk {
        Desk { hooks: Vec::new(), first: 0, workers: 0, numbered: 0 }
    }

    /// After a reload. Hooks that are as they were keep what waits for them. Returns how many threads it takes, and what was
    /// dropped with the others.
    pub(super) fn configure(&mut self, runners: &[Arc<Runner>]) -> (usize, Vec<News>) {
        let mut before = std::mem::take(&mut self.hooks);
        for runner in runners {
            let same = before.iter().position(|hook| hook.runner.config == runner.config);
            let hook = match same {
                Some(at) => Hook { runner: runner.clone(), ..before.swap_remove(at) },
                None => {
                    self.numbered += 1;
                    Hook::new(self.numbered, runner.clone())
                }
            };
            self.hooks.push(hook);
        }
        let news = before.into_iter().filter_map(|mut hook| {
            let (name, count) = (hook.runner.config.name.clone(), hook.queue.clear());
            let is_changed = runners.iter().any(|runner| runner.config.name == name);
            let reason = if is_changed { DropReason::Changed } else { DropReason::Removed };
            (count > 0).then_some(News::Dropped { hook: name, count, reason })
        });
        self.workers = if self.hooks.is_empty() { 0 } else { WORKERS.max(self.hooks.len()) };
        self.first = 0;
        (self.workers, news.collect())
    }

    /// Those hooks get it that want it.
    pub(super) fn offer(&mut self, document: &Document) -> Vec<News> {
        let mut shared: Option<Arc<Document>> = None;
        let mut news = Vec::new();
        for hook in &mut self.hooks {
            if hook.runner.config.events.iter().any(|kind| kind.name() == document.kind) {
                let document = shared.get_or_insert_with(|| Arc::new(document.clone())).clone();
                news.extend(hook.push(document));
            }
        }
        news
    }

    pub(super) fn lines(&self, wall: &WallClock) -> Vec<HookLine> {
        self.hooks.iter().map(|hook| hook.line(wall)).collect()
    }

    /// Threads that one hook may have at a time: so, none can take those of another, however slow it is.
    fn share(&self) -> usize {
        (self.workers / self.hooks.len().max(1)).max(1)
    }
}

impl crew::Desk for Desk {
    type Task = Task;
    type Done = Result<(), String>;
    type News = News;

    fn take(&mut self, now: Instant) -> Option<Task> {
        let (share, count) = (self.share(), self.hooks.len());
        for step in 0..count {
            let at = (self.first + step) % count;
            let Some(hook) = self.hooks.get_mut(at).filter(|hook| hook.queue.running() < share) else { continue };
            if let Some(turn) = hook.queue.take(now) {
                self.first = at + 1;
                let document = turn.latest.document();
                return Some(Task { hook: hook.number, runner: hook.runner.clone(), turn, document });
            }
        }
        None
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        let share = self.share();
        let free = self.hooks.iter().filter(|hook| hook.queue.running() < share);
        free.filter_map(|hook| hook.queue.due(now)).min()
    }

    fn run(task: &Task) -> Result<(), String> {
        task.runner.run(&task.turn.latest.clone().told(), task.turn.attempt)
    }

    fn broken() -> Result<(), String> {
        Err("internal error".to_owned())
    }

    fn finish(&mut self, now: Instant, task: Task, done: Result<(), String>) -> Option<News> {
        // A hook that is gone, or another by now, is told nothing more.
        let hook = self.hooks.iter_mut().find(|hook| hook.number == task.hook)?;
        match done {
            Ok(()) => hook.succeeded(now, &task.turn),
            Err(error) => hook.failed(now, task, error),
        }
    }

    fn hurry(&mut self) {
        self.hooks.iter_mut().for_each(|hook| hook.queue.hurry());
    }

    fn clear(&mut self) -> usize {
        self.hooks.iter_mut().map(|hook| hook.queue.clear()).sum()
    }

    fn is_idle(&self) -> bool {
        self.hooks.iter().all(|hook| hook.queue.is_idle())
    }
}

impl Hook {
    fn new(number: u64, runner: Arc<Runner>) -> Hook {
        Hook {
            number,
            queue: Queue::new(runner.config.attempts, WAITING),
            runner,
            delivered: 0,
            failed: 0,
            coalesced: 0,
            dropped: 0,
            last_error: None,
            trouble: Trouble::default(),
        }
    }

    fn name(&self) -> Arc<str> {
        self.runner.config.name.clone()
    }

    fn push(&mut self, document: Arc<Document>) -> Option<News> {
        // Of one name there may be a VIP and a service.
        let key = document.subject();
        if !self.queue.push(&key, Latest::new(document)) {
            return None;
        }
        self.dropped += 1;
        let was_told = std::mem::replace(&mut self.trouble.full_told, true);
        (!was_told).then(|| News::Full { hook: self.name(), waiting: WAITING })
    }

    fn succeeded(&mut self, now: Instant, turn: &Turn) -> Option<News> {
        self.queue.succeeded(turn);
        self.delivered += 1;
        self.coalesced += turn.latest.coalesced();
        self.trouble.full_told &= self.queue.waiting() > 0;
        // While something is still to be tried again not all is well.
        if !self.trouble.failing || self.queue.is_retrying() {
            return None;
        }
        self.trouble.failing = false;
        if !self.trouble.told {
            return None;
        }
        let full_told = self.trouble.full_told;
        let untold = self.trouble.untold;
        self.trouble = Trouble { quiet_until: Some(now + QUIET), full_told, ..Trouble::default() };
        Some(News::Recovered { hook: self.name(), given_up: untold })
    }

    fn failed(&mut self, now: Instant, task: Task, error: String) -> Option<News> {
        let Task { turn, document, .. } = task;
        let (attempt, coalesced) = (turn.attempt, turn.latest.coalesced());
        let after = self.queue.failed(now, turn);
        self.last_error = Some((now, error.as_str().into()));
        let (hook, subject, trouble) = (self.name(), document.subject(), &mut self.trouble);
        trouble.failing = true;
        if after == After::GivenUp {
            self.failed += 1;
            self.coalesced += coalesced;
            trouble.untold += 1;
        }
        if trouble.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        match after {
            After::GivenUp if !trouble.given_up_told => {
                (trouble.told, trouble.given_up_told) = (true, true);
                let others = std::mem::take(&mut trouble.untold) - 1;
                Some(News::GivenUp { hook, subject, error, attempts: attempt, others })
            }
            After::Again(wait) | After::Newer(wait) if !trouble.told => {
                trouble.told = true;
                Some(News::Failed { hook, subject, error, wait })
            }
            After::GivenUp | After::Again(_) | After::Newer(_) => None,
        }
    }

    fn line(&self, wall: &WallClock) -> HookLine {
        let kind = match self.runner.config.target {
            NotifyTarget::Program { .. } => "command",
            NotifyTarget::Webhook(_) => "url",
        };
        HookLine {
            name: self.runner.config.name.to_string(),
            kind: kind.to_owned(),
            failing: self.trouble.failing,
            queued: self.queue.waiting(),
            running: self.queue.running(),
            delivered: self.delivered,
            failed: self.failed,
            coalesced: self.coalesced,
            dropped: self.dropped,
            last_error: self.last_error.as_ref().map(|(_, error)| error.to_string()),
            last_error_at: self.last_error.as_ref().map(|(at, _)| wall.timestamp(*at)),
        }
    }
}
