//! A few threads that take work off a desk, and what happens when the daemon stops.
//!
//! Who puts work onto the desk waits for nobody but a thread that looks at it, which takes microseconds: what takes longer
//! is done away from it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::driver::clock;
use crate::driver::probe::limit;

/// How long what is under way or waiting has at a stop.
pub(super) const LAST: Duration = Duration::from_millis(1400);
/// And after that, until what is broken off has ended: more than a slice of [`limit::Limit`].
const DYING: Duration = Duration::from_millis(600);
/// Enough for a TLS handshake in a debug build twice over; only what is touched takes memory.
const STACK: usize = 256 * 1024;
/// Hooks yield to the loop, and so do the programs that they run.
const NICE: i32 = 10;

/// What is to be done, and what has become of it. None of this may block but [`run`](Desk::run).
pub(super) trait Desk: Send + 'static {
    /// One piece of work.
    type Task: Send;
    /// What it came to.
    type Done: Send;
    /// What somebody else is told then.
    type News: Send;

    /// The next piece whose time has come, if there is room for it.
    fn take(&mut self, now: Instant) -> Option<Self::Task>;
    /// When [`take`](Desk::take) has something to give, unless something happens before.
    fn due(&self, now: Instant) -> Option<Instant>;
    /// Does it; away from the desk.
    fn run(task: &Self::Task) -> Self::Done;
    /// What it comes to if that panics.
    fn broken() -> Self::Done;
    /// It is done.
    fn finish(&mut self, now: Instant, task: Self::Task, done: Self::Done) -> Option<Self::News>;
    /// The end is near: nothing is put off any more.
    fn hurry(&mut self);
    /// Forgets what has not been begun; how much is not done, with what is under way.
    fn clear(&mut self) -> usize;
    /// Whether there is nothing to do and nothing being done.
    fn is_idle(&self) -> bool;
}

pub(super) struct Crew<D: Desk> {
    shared: Arc<Shared<D>>,
    name: &'static str,
    /// Whether its threads yield to others.
    nice: bool,
}

struct Shared<D: Desk> {
    state: Mutex<State<D>>,
    /// Those who wait for work.
    work: Condvar,
    /// Who waits for the end.
    end: Condvar,
    stopping: Arc<AtomicBool>,
    tell: Box<dyn Fn(D::News) + Send + Sync>,
}

struct State<D> {
    desk: D,
    wanted: usize,
    threads: usize,
    idle: usize,
    numbered: usize,
    closed: Option<Instant>,
}

impl<D: Desk> Crew<D> {
    /// Without anybody yet.
    pub(super) fn new(
        name: &'static str,
        nice: bool,
        desk: D,
        tell: impl Fn(D::News) + Send + Sync + 'static,
    ) -> Crew<D> {
        let state = State { desk, wanted: 0, threads: 0, idle: 0, numbered: 0, closed: None };
        let shared = Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            end: Condvar::new(),
            stopping: Arc::default(),
            tell: Box::new(tell),
        };
        Crew { shared: Arc::new(shared), name, nice }
    }

    /// Looks at the desk.
    pub(super) fn look<R>(&self, with: impl FnOnce(&D) -> R) -> R {
        with(&self.shared.lock().desk)
    }

    /// Puts something onto the desk.
    pub(super) fn put<R>(&self, with: impl FnOnce(&mut D) -> R) -> R {
        let mut state = self.shared.lock();
        let result = with(&mut state.desk);
        if state.idle > 0 && state.desk.due(clock()).is_some() {
            self.shared.work.notify_one();
        }
        result
    }

    /// Puts things onto the desk from elsewhere, and tells the news of that, as long as there is a crew.
    pub(super) fn clerk<T: 'static>(&self, with: fn(&mut D, &T) -> Vec<D::News>) -> impl Fn(&T) + Send + 'static
    where
        D: Send + 'static,
    {
        let shared = self.shared.clone();
        move |what| {
            let mut state = shared.lock();
            let news = with(&mut state.desk, what);
            if state.idle > 0 && state.desk.due(clock()).is_some() {
                shared.work.notify_one();
            }
            drop(state);
            news.into_iter().for_each(|news| (shared.tell)(news));
        }
    }

    /// Tells news that did not come from work.
    pub(super) fn tell(&self, news: D::News) {
        (self.shared.tell)(news);
    }

    /// How many threads there shall be. It grows at once, and shrinks as they become free.
    ///
    /// # Errors
    /// When the system has fewer to spare; those that could be started are at work.
    pub(super) fn staff(&self, wanted: usize) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.wanted = wanted;
        let mut result = Ok(());
        while state.threads < wanted && result.is_ok() {
            let (shared, nice) = (self.shared.clone(), self.nice);
            let named = thread::Builder::new().name(format!("{}-{}", self.name, state.numbered)).stack_size(STACK);
            result = named.spawn(move || shared.work(nice)).map(drop);
            state.threads += usize::from(result.is_ok());
            state.numbered += 1;
        }
        drop(state);
        self.shared.work.notify_all();
        result
    }

    /// From now on it is known that there is not much time left.
    pub(super) fn close(&self) {
        let mut state = self.shared.lock();
        if state.closed.is_none() {
            state.closed = Some(clock());
            state.desk.hurry();
        }
        drop(state);
        self.shared.work.notify_all();
    }

    /// Waits until all is done, but no longer than [`LAST`] after [`close`](Self::close): then what has not been begun is
    /// dropped, and what is under way broken off. Returns how much that was.
    pub(super) fn stop(self) -> usize {
        self.close();
        let shared = &self.shared;
        let mut state = shared.lock();
        let last = state.closed.unwrap_or_else(clock) + LAST;
        while state.threads > 0 && !state.desk.is_idle() && clock() < last {
            state = shared.wait_for_end(state, last);
        }
        // What follows from that is waited for when we are dropped.
        shared.dismiss(&mut state)
    }
}

impl<D: Desk> Drop for Crew<D> {
    /// Nobody is left behind but who hangs in the system.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        self.shared.dismiss(&mut state);
        let last = clock() + DYING;
        while state.threads > 0 && clock() < last {
            state = self.shared.wait_for_end(state, last);
        }
    }
}

impl<D: Desk> Shared<D> {
    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends everybody home; how much is left undone.
    fn dismiss(&self, state: &mut State<D>) -> usize {
        state.wanted = 0;
        self.stopping.store(true, Ordering::SeqCst);
        self.work.notify_all();
        state.desk.clear()
    }

    fn wait_for_end<'s>(&self, state: MutexGuard<'s, State<D>>, at: Instant) -> MutexGuard<'s, State<D>> {
        let left = at.saturating_duration_since(clock());
        self.end.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    fn work(&self, nice: bool) {
        if nice {
            // Where even this is forbidden, hooks run at the loop's priority.
            let _ = rustix::process::setpriority_process(None, NICE);
        }
        limit::cancel_on(self.stopping.clone());
        while let Some(task) = self.next() {
            let done = catch_unwind(AssertUnwindSafe(|| D::run(&task))).unwrap_or_else(|_| D::broken());
            let mut state = self.lock();
            let news = state.desk.finish(clock(), task, done);
            if state.closed.is_some() && state.desk.is_idle() {
                self.end.notify_all();
            }
            drop(state);
            if let Some(news) = news {
                (self.tell)(news);
            }
        }
        self.end.notify_all();
    }

    /// Waits for a task; `None` when there are too many of us.
    fn next(&self) -> Option<D::Task> {
        let mut state = self.lock();
        loop {
            if state.threads > state.wanted {
                state.threads -= 1;
                return None;
            }
            let now = clock();
            if let Some(task) = state.desk.take(now) {
                // Somebody else must know when there is more.
                if state.idle > 0 && state.desk.due(now).is_some() {
                    self.work.notify_one();
                }
                return Some(task);
            }
            let due = state.desk.due(now);
            state.idle += 1;
            state = match due {
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(now);
                    self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.idle -= 1;
        }
    }
}
