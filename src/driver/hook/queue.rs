//! What one hook still has to be told: of each subject one document, the latest; which of them is next, and when one that
//! could not be told is tried again.
//!
//! Every operation costs O(log n), whatever is waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::document::Latest;

/// The wait after the first attempt that failed; it doubles after each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Of one hook.
#[derive(Debug)]
pub(super) struct Queue {
    /// How often one thing is tried.
    attempts: u32,
    /// Nothing is put off any more.
    hurried: bool,
    /// Subjects that may wait.
    most: usize,
    subjects: BTreeMap<Arc<str>, Subject>,
    /// Those that can be told now, by when they came.
    ready: BTreeMap<u64, Arc<str>>,
    /// Those that are tried again later.
    delayed: BTreeSet<(Instant, u64, Arc<str>)>,
    next: u64,
    running: usize,
}

/// Where the telling about one subject is.
#[derive(Debug)]
struct Subject {
    /// It is being told; else it is ready or delayed.
    running: bool,
    /// What is waiting to be told; while one is being told only what has come since.
    latest: Option<Latest>,
    /// Attempts at it that have failed.
    failed: u32,
}

/// What is to be told now.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) key: Arc<str>,
    pub(super) latest: Latest,
    /// From 1.
    pub(super) attempt: u32,
}

/// What becomes of an attempt that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It is tried again after so long.
    Again(Duration),
    /// What it was about has changed meanwhile: that is told after so long.
    Newer(Duration),
    /// That was the last attempt.
    GivenUp,
}

impl Queue {
    pub(super) fn new(attempts: u32, most: usize) -> Queue {
        Queue {
            attempts,
            hurried: false,
            most,
            subjects: BTreeMap::new(),
            ready: BTreeMap::new(),
            delayed: BTreeSet::new(),
            next: 0,
            running: 0,
        }
    }

    /// Subjects that wait.
    pub(super) fn waiting(&self) -> usize {
        let during = self.subjects.len() - self.ready.len() - self.delayed.len();
        debug_assert_eq!(during, self.running);
        self.ready.len() + self.delayed.len()
    }

    /// Attempts under way.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn is_idle(&self) -> bool {
        self.subjects.is_empty()
    }

    /// Whether something has failed that is still to be told.
    pub(super) fn is_retrying(&self) -> bool {
        !self.delayed.is_empty()
    }

    /// Takes one more document; true when another was dropped for it: the one that has waited longest.
    pub(super) fn push(&mut self, key: &str, latest: Latest) -> bool {
        if let Some(subject) = self.subjects.get_mut(key) {
            // Something else than what failed: that gets all its attempts.
            subject.failed = 0;
            match &mut subject.latest {
                Some(waiting) => waiting.then(latest),
                None => subject.latest = Some(latest),
            }
            return false;
        }
        let full = self.waiting() >= self.most;
        if full {
            self.drop_oldest();
        }
        let key: Arc<str> = key.into();
        let number = self.number();
        self.ready.insert(number, key.clone());
        self.subjects.insert(key, Subject { running: false, latest: Some(latest), failed: 0 });
        full
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn drop_oldest(&mut self) {
        let oldest = self.ready.pop_first().map(|(_, key)| key);
        if let Some(key) = oldest.or_else(|| self.delayed.pop_first().map(|(_, _, key)| key)) {
            self.subjects.remove(&key);
        }
    }

    /// What is next, if its time has come: what is to be tried again goes before what has not been tried.
    pub(super) fn take(&mut self, now: Instant) -> Option<Turn> {
        let key = match self.delayed.first() {
            Some((due, ..)) if *due <= now => self.delayed.pop_first().map(|(_, _, key)| key),
            _ => self.ready.pop_first().map(|(_, key)| key),
        }?;
        let subject = self.subjects.get_mut(&key)?;
        subject.running = true;
        let latest = subject.latest.take()?;
        self.running += 1;
        Some(Turn { key, latest, attempt: subject.failed + 1 })
    }

    /// When [`take`](Self::take) has something to give.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.ready.is_empty() { self.delayed.first().map(|(due, ..)| *due) } else { Some(now) }
    }

    /// It was told.
    pub(super) fn succeeded(&mut self, turn: &Turn) {
        self.running -= 1;
        let number = self.number();
        let Some(subject) = self.subjects.get_mut(&turn.key) else { return };
        if subject.latest.is_none() {
            self.subjects.remove(&turn.key);
            return;
        }
        (subject.running, subject.failed) = (false, 0);
        self.ready.insert(number, turn.key.clone());
    }

    /// It was not.
    pub(super) fn failed(&mut self, now: Instant, turn: Turn) -> After {
        self.running -= 1;
        let number = self.number();
        let wait = if self.hurried { Duration::ZERO } else { wait(turn.attempt) };
        let Some(subject) = self.subjects.get_mut(&turn.key) else { return After::GivenUp };
        let after = match subject.latest.take() {
            None if self.hurried || turn.attempt >= self.attempts => {
                self.subjects.remove(&turn.key);
                return After::GivenUp;
            }
            None => {
                subject.latest = Some(turn.latest);
                subject.failed = turn.attempt;
                After::Again(wait)
            }
            Some(newer) => {
                let mut all = turn.latest;
                all.then(newer);
                subject.latest = Some(all);
                subject.failed = 0;
                After::Newer(wait)
            }
        };
        let due = now + wait;
        subject.running = false;
        self.delayed.insert((due, number, turn.key));
        after
    }

    /// What waits to be tried again is tried at once, once more, and nothing is tried again after that.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
        let delayed = std::mem::take(&mut self.delayed);
        self.ready.extend(delayed.into_iter().map(|(_, number, key)| (number, key)));
    }

    /// Forgets all that waits; how much that was. What is under way is not touched.
    pub(super) fn clear(&mut self) -> usize {
        let waiting = self.waiting();
        self.ready.clear();
        self.delayed.clear();
        self.subjects.retain(|_, subject| subject.running);
        let newer = self.subjects.values_mut().filter_map(|subject| subject.latest.take()).count();
        waiting + newer
    }
}

/// After the attempt of this number.
fn wait(attempt: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::driver::clock;
    use crate::driver::hook::document::Document;
    use crate::rng::Rng;

    const SECOND: Duration = Duration::from_secs(1);

    fn latest(to: &str) -> Latest {
        Latest::new(Arc::new(Document::new("k", &json!({"event": "vip", "from": "f", "to": to}))))
    }

    fn to(latest: Latest) -> String {
        let event: serde_json::Value = serde_json::from_str(&latest.told().json).unwrap();
        format!("{}+{}", event["to"].as_str().unwrap(), event["coalesced"].as_u64().unwrap_or_default())
    }

    fn keys(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.take(now)).map(|turn| turn.key.to_string()).collect()
    }

    #[test]
    fn first_come_first_served_and_only_the_latest() {
        let (mut queue, now) = (Queue::new(3, 100), clock());
        for (key, text) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("a", "3")] {
            assert!(!queue.push(key, latest(text)));
        }
        assert_eq!((queue.waiting(), queue.running()), (3, 0));
        let turn = queue.take(now).unwrap();
        assert_eq!((&*turn.key, to(turn.latest).as_str()), ("a", "3+2"));
        assert_eq!(keys(&mut queue, now), ["b", "c"]);
    }

    #[test]
    fn a_subject_is_told_one_thing_at_a_time() {
        let (mut queue, now) = (Queue::new(3, 100), clock());
        queue.push("a", latest("1"));
        let first = queue.take(now).unwrap();
        queue.push("a", latest("2"));
        queue.push("b", latest("1"));
        queue.push("a", latest("3"));
        assert_eq!(keys(&mut queue, now), ["b"], "a is being told");
        queue.succeeded(&first);
        let second = queue.take(now).unwrap();
        assert_eq!((to(second.latest.clone()).as_str(), second.attempt), ("3+1", 1));
        queue.succeeded(&second);
        assert_eq!(queue.due(now), None);
    }

    #[test]
    fn what_fails_is_tried_again_later_and_later_and_given_up() {
        let (mut queue, mut now) = (Queue::new(7, 100), clock());
        queue.push("a", latest("1"));
        for wait in [1, 2, 4, 8, 16, 30] {
            let turn = queue.take(now).unwrap();
            assert_eq!(queue.failed(now, turn), After::Again(SECOND * wait));
            assert!(queue.is_retrying() && queue.take(now + SECOND * wait - SECOND / 10).is_none());
            now += SECOND * wait;
            assert_eq!(queue.due(now), Some(now));
        }
        let turn = queue.take(now).unwrap();
        assert_eq!(turn.attempt, 7);
        assert_eq!(queue.failed(now, turn), After::GivenUp);
        assert!(queue.is_idle() && !queue.is_retrying());
    }

    #[test]
    fn something_newer_takes_the_place_of_what_failed() {
        let (mut queue, now) = (Queue::new(2, 100), clock());
        queue.push("a", latest("1"));
        let turn = queue.take(now).unwrap();
        queue.push("a", latest("2"));
        assert_eq!(queue.failed(now, turn), After::Newer(SECOND));
        // And again while that waits, which takes nothing away from its attempts.
        queue.push("a", latest("3"));
        assert!(queue.take(now).is_none(), "what has just failed has its wait");
        let turn = queue.take(now + SECOND).unwrap();
        assert_eq!((to(turn.latest.clone()).as_str(), turn.attempt), ("3+2", 1));
        assert_eq!(queue.failed(now, turn), After::Again(SECOND));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let (mut queue, now) = (Queue::new(3, 3), clock());
        for key in ["a", "b", "c"] {
            assert!(!queue.push(key, latest("1")));
        }
        assert!(queue.push("d", latest("1")) && !queue.push("d", latest("2")));
        assert_eq!(queue.waiting(), 3);
        assert_eq!(keys(&mut queue, now), ["b", "c", "d"]);
    }

    #[test]
    fn an_end_hurries_and_a_reload_clears() {
        let (mut queue, now) = (Queue::new(3, 100), clock());
        queue.push("a", latest("1"));
        let turn = queue.take(now).unwrap();
        queue.failed(now, turn);
        queue.push("b", latest("1"));
        queue.hurry();
        let turn = queue.take(now).unwrap();
        assert_eq!(&*turn.key, "a");
        assert_eq!(queue.failed(now, turn), After::GivenUp);
        let running = queue.take(now).unwrap();
        queue.push("b", latest("2"));
        queue.push("c", latest("1"));
        assert_eq!((queue.clear(), queue.running()), (2, 1));
        queue.succeeded(&running);
        assert!(queue.is_idle());
    }

    /// Whatever happens, no subject is told two things at once, none is lost, and the counts are right.
    #[test]
    fn any_order_of_events_keeps_the_rules() {
        for seed in 0..200 {
            let (mut rng, mut queue, mut now) = (Rng::new(seed), Queue::new(3, 1000), clock());
            let mut running: Vec<Turn> = Vec::new();
            let mut last: BTreeMap<String, u64> = BTreeMap::new();
            let mut told: BTreeMap<String, u64> = BTreeMap::new();
            for step in 0..300_u64 {
                match rng.below(4) {
                    0 | 1 => {
                        let key = format!("k{}", rng.below(5));
                        queue.push(&key, latest(&step.to_string()));
                        last.insert(key, step);
                    }
                    2 => running.extend(queue.take(now)),
                    _ if running.is_empty() => now += SECOND,
                    _ => {
                        let turn = running.swap_remove(usize::try_from(rng.below(running.len() as u64)).unwrap());
                        let number = to(turn.latest.clone()).split('+').next().unwrap().parse().unwrap();
                        let key = turn.key.to_string();
                        if rng.below(2) == 0 {
                            queue.succeeded(&turn);
                            told.insert(key, number);
                        } else if queue.failed(now, turn) == After::GivenUp {
                            told.insert(key, number);
                        }
                    }
                }
                let keys: BTreeSet<_> = running.iter().map(|turn| &turn.key).collect();
                assert_eq!((keys.len(), queue.running()), (running.len(), running.len()), "seed {seed}");
            }
            while !queue.is_idle() {
                now += LONGEST_WAIT;
                running.extend(queue.take(now));
                for turn in running.drain(..) {
                    told.insert(
                        turn.key.to_string(),
                        to(turn.latest.clone()).split('+').next().unwrap().parse().unwrap(),
                    );
                    queue.succeeded(&turn);
                }
            }
            assert_eq!(told, last, "seed {seed}");
        }
    }
}
