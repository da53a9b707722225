//! Jobs for threads that mostly wait: a queue that calls as few of them as it can.
//!
//! A channel wakes one thread per job, the one that has slept longest. Most jobs here take less time than that. So only
//! one thread is being roused at any time; when it is up it takes a job, and has the next one roused if there is more.
//! Until then, those that are awake already may have taken it all. Who lay down last is called first: its stack is
//! still in the cache.
//!
//! Jobs that are known to take long have a lane of their own: only so many of them are at work at a time, and others go
//! before them. However many wait, somebody is free for the rest; and however much of that there is, their turn comes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// So many jobs go before one that takes long and could begin.
const OVERTAKING: u32 = 32;

/// First in, first out; any number of threads on either side.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
}

/// Which way a job takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Fast,
    Slow,
}

struct State<T> {
    items: VecDeque<T>,
    slow: VecDeque<T>,
    /// Slow jobs at work, and how many may be.
    slow_running: usize,
    slow_most: usize,
    /// Jobs that went before a slow one that could have begun.
    overtaken: u32,
    /// Threads that lie down; the last is called first.
    idle: Vec<Arc<Sleeper>>,
    /// Somebody was called and is not up yet. While jobs wait and threads lie down, this is true.
    rousing: bool,
    closed: bool,
}

struct Sleeper {
    thread: Thread,
    called: AtomicBool,
}

impl Sleeper {
    fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.thread.unpark();
    }

    fn sleep(&self) {
        while !self.called.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

impl<T> State<T> {
    fn has_work(&self) -> bool {
        !self.items.is_empty() || self.may_be_slow()
    }

    fn may_be_slow(&self) -> bool {
        !self.slow.is_empty() && self.slow_running < self.slow_most
    }

    fn take(&mut self) -> Option<(T, Lane)> {
        let may_be_slow = self.may_be_slow();
        if may_be_slow && (self.items.is_empty() || self.overtaken >= OVERTAKING) {
            self.overtaken = 0;
            self.slow_running += 1;
            return self.slow.pop_front().map(|item| (item, Lane::Slow));
        }
        let item = self.items.pop_front()?;
        self.overtaken += u32::from(may_be_slow);
        Some((item, Lane::Fast))
    }

    /// Whom to call now, after the lock is released.
    fn next_to_call(&mut self) -> Option<Arc<Sleeper>> {
        if self.rousing || !self.has_work() {
            return None;
        }
        let sleeper = self.idle.pop()?;
        self.rousing = true;
        Some(sleeper)
    }
}

impl<T> Queue<T> {
    pub(super) fn new() -> Queue<T> {
        let state = State {
            items: VecDeque::new(),
            slow: VecDeque::new(),
            slow_running: 0,
            slow_most: usize::MAX,
            overtaken: 0,
            idle: Vec::new(),
            rousing: false,
            closed: false,
        };
        Queue { state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job at the end of its lane.
    pub(super) fn push(&self, item: T, lane: Lane) {
        self.change(|state| match lane {
            Lane::Fast => state.items.push_back(item),
            Lane::Slow => state.slow.push_back(item),
        });
    }

    /// How many slow jobs may be at work at a time; at least one.
    pub(super) fn set_slow_most(&self, most: usize) {
        self.change(|state| state.slow_most = most.max(1));
    }

    /// A job that was taken from this lane is done, or given up.
    pub(super) fn release(&self, lane: Lane) {
        if lane == Lane::Slow {
            self.change(|state| state.slow_running = state.slow_running.saturating_sub(1));
        }
    }

    /// After a change there may be work for somebody.
    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let mut state = self.lock();
        change(&mut state);
        let sleeper = state.next_to_call();
        drop(state);
        if let Some(sleeper) = sleeper {
            sleeper.call();
        }
    }

    /// Takes the first job, waiting for one; `None` once the queue is closed.
    pub(super) fn pop(&self) -> Option<(T, Lane)> {
        let mut sleeper = None;
        loop {
            let mut state = self.lock();
            if sleeper.is_some() {
                state.rousing = false;
            }
            if state.closed {
                return None;
            }
            if let Some(item) = state.take() {
                let next = state.next_to_call();
                drop(state);
                if let Some(next) = next {
                    next.call();
                }
                return Some(item);
            }
            let bed = sleeper
                .get_or_insert_with(|| Arc::new(Sleeper { thread: thread::current(), called: AtomicBool::new(false) }));
            state.idle.push(bed.clone());
            drop(state);
            bed.sleep();
        }
    }

    /// From now on there is nothing to take; what waits is dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let items = (std::mem::take(&mut state.items), std::mem::take(&mut state.slow));
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(items);
        idle.iter().for_each(|sleeper| sleeper.call());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Every job is taken exactly once and in turn, whoever sleeps when it comes.
    #[test]
    fn no_job_is_left_lying() {
        const JOBS: usize = 20_000;
        let queue = Queue::new();
        queue.set_slow_most(2);
        let sum = AtomicUsize::new(0);
        let left = AtomicUsize::new(JOBS);
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while let Some((job, lane)) = queue.pop() {
                        sum.fetch_add(job, Ordering::Relaxed);
                        queue.release(lane);
                        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                            queue.close();
                        }
                    }
                });
            }
            for job in 0..JOBS {
                queue.push(job, if job % 3 == 0 { Lane::Slow } else { Lane::Fast });
                if job % 7 == 0 {
                    thread::yield_now(); // lets them lie down
                }
            }
        });
        assert_eq!(sum.into_inner(), JOBS * (JOBS - 1) / 2);
    }

    /// A job that blocks holds nothing up: each of these waits until all are begun.
    #[test]
    fn as_many_are_called_as_there_are_jobs() {
        let queue = Queue::new();
        let begun = std::sync::Barrier::new(9);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while queue.pop().is_some() {
                        begun.wait();
                    }
                });
            }
            for _ in 0..200 {
                (0..8).for_each(|job| queue.push(job, Lane::Fast));
                begun.wait();
            }
            queue.close();
        });
    }

    /// When there is more to do than can be done, what takes long is done all the same.
    #[test]
    fn nobody_waits_for_ever() {
        let queue = Queue::new();
        queue.push(0, Lane::Slow);
        let mut taken = Vec::new();
        for job in 1..200 {
            queue.push(job, Lane::Fast);
            queue.push(job, Lane::Fast);
            let (job, lane) = queue.pop().unwrap();
            taken.push(job);
            queue.release(lane);
        }
        assert_eq!(taken.iter().position(|job| *job == 0), Some(OVERTAKING as usize));
    }

    /// Slow jobs that block leave the others a way, and go on when there is room again.
    #[test]
    fn slow_jobs_leave_room() {
        let queue = Queue::new();
        queue.set_slow_most(2);
        let (started, go) = (AtomicUsize::new(0), std::sync::Barrier::new(3));
        let quick = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some((_, lane)) = queue.pop() {
                        match lane {
                            Lane::Slow => {
                                started.fetch_add(1, Ordering::SeqCst);
                                go.wait();
                            }
                            Lane::Fast => drop(quick.fetch_add(1, Ordering::SeqCst)),
                        }
                        queue.release(lane);
                    }
                });
            }
            (0..4).for_each(|job| queue.push(job, Lane::Slow));
            let until = |done: &dyn Fn() -> bool| {
                while !done() {
                    thread::yield_now();
                }
            };
            until(&|| started.load(Ordering::SeqCst) == 2);
            (0..1000).for_each(|job| queue.push(job, Lane::Fast));
            until(&|| quick.load(Ordering::SeqCst) == 1000);
            assert_eq!(started.load(Ordering::SeqCst), 2, "no more than that");
            go.wait();
            until(&|| started.load(Ordering::SeqCst) == 4);
            go.wait();
            queue.close();
        });
    }
}
