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
        self.hooks.iter_mut().map(|hook| hook.queue.clear() + hook.queue.running()).sum()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::crew::Desk as _;
    use super::*;
    use crate::config::{EventKind, Notify};
    use crate::driver::clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn runner(name: &str, attempts: u32) -> Arc<Runner> {
        let target = NotifyTarget::Program { command: vec!["/bin/true".into()], user: None };
        let (events, timeout) = (EventKind::DEFAULT.into(), SECOND);
        let config = Notify { name: name.into(), target, events, timeout, attempts };
        Arc::new(Runner { config: Arc::new(config), tls: None, user: Ok(None) })
    }

    fn desk(hooks: &[(&str, u32)]) -> Desk {
        let mut desk = Desk::new();
        let runners: Vec<_> = hooks.iter().map(|(name, attempts)| runner(name, *attempts)).collect();
        desk.configure(&runners);
        desk
    }

    fn vip(key: &str) -> Document {
        Document::new(key, &json!({"event": "vip", "vip": key}))
    }

    /// Offers one thing to one hook, which fails or not.
    fn tell(desk: &mut Desk, now: Instant, key: &str, done: Result<(), String>) -> Option<News> {
        desk.offer(&vip(key));
        let task = desk.take(now).unwrap();
        desk.finish(now, task, done)
    }

    #[test]
    fn threads_are_shared_out_and_taken_in_turns() {
        let (mut desk, now) = (desk(&[("a", 1), ("b", 1), ("c", 1)]), clock());
        for number in 0..10 {
            desk.offer(&vip(&number.to_string()));
        }
        let tasks: Vec<Task> = std::iter::from_fn(|| desk.take(now)).collect();
        let names: String = tasks.iter().map(|task| &*task.runner.config.name).collect();
        assert_eq!(names, "abcabc", "eight threads for three");
        assert_eq!(desk.due(now), None);
        let task = tasks.into_iter().nth(1).unwrap();
        desk.finish(now, task, Ok(()));
        assert_eq!(desk.due(now), Some(now));
        assert_eq!(&*desk.take(now).unwrap().runner.config.name, "b");
    }

    #[test]
    fn a_hook_that_fails_now_and_then_does_not_flood_the_log() {
        let (mut desk, mut now) = (desk(&[("a", 1)]), clock());
        let failed = || Err("no".to_owned());
        let mut news = Vec::new();
        for _ in 0..100 {
            news.extend(tell(&mut desk, now, "x", failed()));
            news.extend(tell(&mut desk, now, "x", Ok(())));
            now += SECOND / 10;
        }
        assert!(matches!(news[..], [News::GivenUp { others: 0, .. }, News::Recovered { given_up: 0, .. }]), "{news:?}");
        // What was not said is made up for.
        let said = tell(&mut desk, now, "x", failed());
        assert!(matches!(said, Some(News::GivenUp { others: 99, .. })), "{said:?}");
        assert_eq!(tell(&mut desk, now, "x", failed()), None);
        assert_eq!(tell(&mut desk, now, "x", Ok(())), Some(News::Recovered { hook: "a".into(), given_up: 1 }));
    }

    #[test]
    fn while_something_is_tried_again_not_all_is_well() {
        let (mut desk, now) = (desk(&[("a", 2)]), clock());
        let failed = tell(&mut desk, now, "x", Err("no".to_owned()));
        assert!(matches!(failed, Some(News::Failed { wait: SECOND, .. })), "{failed:?}");
        assert_eq!(tell(&mut desk, now, "y", Ok(())), None);
        let task = desk.take(now + SECOND).unwrap();
        let given_up = desk.finish(now + SECOND, task, Err("no".to_owned()));
        assert!(matches!(given_up, Some(News::GivenUp { attempts: 2, others: 0, .. })), "{given_up:?}");
        assert!(matches!(tell(&mut desk, now, "y", Ok(())), Some(News::Recovered { given_up: 0, .. })));
    }

    #[test]
    fn a_hook_that_is_gone_has_no_results_and_one_that_stays_keeps_all() {
        let (mut desk, now) = (desk(&[("a", 1), ("b", 1)]), clock());
        desk.offer(&vip("x"));
        desk.offer(&vip("y"));
        let tasks: Vec<Task> = std::iter::from_fn(|| desk.take(now)).collect();
        desk.offer(&vip("z"));
        let (workers, news) = desk.configure(&[runner("b", 1)]);
        assert_eq!(workers, WORKERS);
        assert_eq!(news, [News::Dropped { hook: "a".into(), count: 1, reason: DropReason::Removed }]);
        for task in tasks {
            desk.finish(now, task, Ok(()));
        }
        let line = desk.lines(&crate::driver::wall_clock()).remove(0);
        assert_eq!((&*line.name, line.delivered, line.queued, line.running), ("b", 2, 1, 0));
        assert_eq!(desk.configure(&[]).0, 0);
    }

    #[test]
    fn too_much_is_dropped_and_said_once() {
        let mut desk = desk(&[("a", 1)]);
        let mut news = Vec::new();
        for number in 0..WAITING + 10 {
            news.extend(desk.offer(&vip(&number.to_string())));
        }
        assert_eq!(news, [News::Full { hook: "a".into(), waiting: WAITING }]);
        let line = desk.lines(&crate::driver::wall_clock()).remove(0);
        assert_eq!((line.queued, line.dropped), (WAITING, 10));
    }
}
