//! A fixed set of threads that run blocking probes.
//!
//! The loop submits and never waits. Workers put their reports into a channel that never fills, and wake the loop only
//! for a result that differs from what was expected: handing over costs more than checking. The rest is found when the
//! loop turns next.
//!
//! No wake is lost: a worker first sends its report, then raises the flag, and wakes if the flag was down; the loop
//! first lowers the flag, then takes reports ([`Pool::drain`]). So a report that a drain does not see was sent after the
//! flag was lowered, and its worker wakes anew.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::clock;
use super::probe::limit;
use super::queue::{Lane, Queue};
use crate::config::{FailureKind, Probe};
use crate::health::{ProbeOutcome, ProbeRequest, Ticket};

/// Runs one probe in the calling thread.
pub type RunProbe = Arc<dyn Fn(&ProbeRequest) -> ProbeOutcome + Send + Sync>;

/// What a worker tells.
#[derive(Debug)]
pub enum Report {
    /// A worker took the probe at that time.
    Started(Ticket, Instant),
    /// The run is over.
    Finished(Ticket, ProbeOutcome),
    /// A worker of this name that was replaced has come back after so long, and ended.
    Returned(String, Duration),
}

/// Enough for a TLS handshake in a debug build twice over; only what is touched takes memory.
const STACK: usize = 256 * 1024;
/// Workers yield to the loop: its timers are worth more than a check that starts a little later.
const NICE: i32 = 10;
/// How long [`Pool::stop`] waits for the workers.
const STOPPING: Duration = Duration::from_secs(1);
/// A run that is so much over its time hangs in the system: another worker takes the place of the one that is at it.
pub const HANGING: Duration = Duration::from_secs(1);
/// So many workers are replaced at most at a time, and never more than there are.
const REPLACEMENTS: usize = 256;
/// Of so many workers one is kept free of runs that are known to take long, up to a number.
const RESERVE_SHARE: usize = 8;
const RESERVE_MOST: usize = 64;

/// The threads, and the channels to and from them.
pub struct Pool {
    name: &'static str,
    prober: RunProbe,
    reports: Receiver<Report>,
    workers: Vec<Thread>,
    worker: Worker,
    started: usize,
    /// Threads begun since the start, for their names.
    numbered: usize,
    /// Disconnected when the last worker has ended: each holds a sender.
    ended: Receiver<()>,
}

/// A worker that hangs in the system, as operators hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hanging {
    /// The thread's name.
    pub worker: String,
    /// What it runs.
    pub probe: Arc<Probe>,
    /// Since when.
    pub since: Instant,
    /// Whether another one has taken its place; not once too many hang.
    pub replaced: bool,
}

struct Thread {
    name: String,
    handle: JoinHandle<()>,
    slot: Arc<Mutex<Slot>>,
}

/// What one worker is at.
#[derive(Default)]
struct Slot {
    run: Option<Current>,
    /// Another one has its place: it ends when it is back.
    is_replaced: bool,
    /// Somebody has been told that it hangs.
    is_told: bool,
}

impl Slot {
    /// What it has hung in, since when, if it has and nobody has its place.
    fn hanging(&self, now: Instant) -> Option<(Arc<Probe>, Instant, Lane)> {
        let run = self.run.as_ref().filter(|_| !self.is_replaced)?;
        let limit = run.since.checked_add(run.timeout)?.checked_add(HANGING)?;
        (limit <= now).then(|| (run.probe.clone(), run.since, run.lane))
    }
}

struct Current {
    probe: Arc<Probe>,
    since: Instant,
    timeout: Duration,
    lane: Lane,
}

enum Job {
    Run(ProbeRequest, RunProbe),
    /// The worker that takes this one ends.
    Retire,
}

/// What every worker shares.
#[derive(Clone)]
struct Worker {
    jobs: Arc<Queue<Job>>,
    reports: Sender<Report>,
    shared: Arc<Shared>,
    alive: Option<Sender<()>>,
}

struct Shared {
    wake: Box<dyn Fn() + Send + Sync>,
    woken: AtomicBool,
    busy: AtomicUsize,
    /// Workers that hang and have been replaced.
    hanging: AtomicUsize,
    stopping: Arc<AtomicBool>,
}

impl Pool {
    /// Starts `workers` threads, called `name` and a number. If the system gives fewer the pool goes on with those, and says
    /// so in the log.
    ///
    /// `wake` is called from a worker when a result wants prompt attention: it must make the loop [`drain`](Self::drain)
    /// soon. It is not called again before the loop has.
    ///
    /// # Errors
    ///
    /// Not a single thread could be started.
    pub fn start(
        name: &'static str,
        workers: usize,
        prober: RunProbe,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Pool> {
        let (reports_sent, reports) = unbounded();
        let (alive, ended) = unbounded();
        let shared = Arc::new(Shared {
            wake: Box::new(wake),
            woken: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            hanging: AtomicUsize::new(0),
            stopping: Arc::new(AtomicBool::new(false)),
        });
        let worker = Worker { jobs: Arc::new(Queue::new()), reports: reports_sent, shared, alive: Some(alive) };
        let mut pool = Pool { name, prober, reports, workers: Vec::new(), worker, started: 0, numbered: 0, ended };
        match pool.resize(workers.max(1)) {
            Err(error) if pool.started == 0 => Err(error),
            Err(error) => {
                log::warn!("only {} of {workers} workers could be started: {error}", pool.started);
                Ok(pool)
            }
            Ok(()) => Ok(pool),
        }
    }

    /// Hands a probe to the next free worker, with the prober of this moment. Never blocks.
    pub fn submit(&self, request: ProbeRequest) {
        let lane = if request.slow { Lane::Slow } else { Lane::Fast };
        self.worker.jobs.push(Job::Run(request, self.prober.clone()), lane);
    }

    /// What later submissions run; after a reload. What was submitted keeps the prober it was submitted with.
    pub fn set_prober(&mut self, prober: RunProbe) {
        self.prober = prober;
    }

    /// Takes the reports that are there, the oldest first, and lets the next one that matters wake the loop again.
    ///
    /// Take all that it yields. What comes in meanwhile is left for the next turn, so a turn is bounded.
    pub fn drain(&self) -> impl Iterator<Item = Report> + '_ {
        self.worker.shared.woken.swap(false, Ordering::SeqCst);
        self.reports.try_iter().take(self.reports.len())
    }

    /// The channel under [`drain`](Self::drain). Taking from it without a drain leaves the loop unwoken.
    pub fn reports(&self) -> &Receiver<Report> {
        &self.reports
    }

    /// After a reload. Grows at once; shrinks as workers become free, never ending a run.
    ///
    /// # Errors
    ///
    /// Not every thread could be started; those that could are at work.
    pub fn resize(&mut self, workers: usize) -> io::Result<()> {
        self.workers.retain(|worker| !worker.handle.is_finished());
        while self.started < workers {
            self.add()?;
            self.started += 1;
        }
        while self.started > workers.max(1) {
            self.worker.jobs.push(Job::Retire, Lane::Fast);
            self.started -= 1;
        }
        let reserve = (self.started / RESERVE_SHARE).clamp(1, RESERVE_MOST);
        self.worker.jobs.set_slow_most(self.started.saturating_sub(reserve));
        Ok(())
    }

    fn add(&mut self) -> io::Result<()> {
        let (worker, slot) = (self.worker.clone(), Arc::new(Mutex::new(Slot::default())));
        let name = format!("{}-{}", self.name, self.numbered);
        let (own_slot, own_name) = (slot.clone(), name.clone());
        let named = thread::Builder::new().name(name.clone()).stack_size(STACK);
        let handle = named.spawn(move || worker.work(&own_name, &own_slot))?;
        self.workers.push(Thread { name, handle, slot });
        self.numbered += 1;
        Ok(())
    }

    /// Looks for workers whose run is over its time by [`HANGING`] and puts others in their places, as far as that goes. Each
    /// is told when it is first seen, and when it is replaced. O(workers): for when a run has not come back, or one that hung
    /// has, not for every turn.
    pub fn replace_hanging(&mut self, now: Instant) -> Vec<Hanging> {
        let mut found = Vec::new();
        let mut room = REPLACEMENTS.min(self.started).saturating_sub(self.hanging());
        let workers: Vec<_> = self.workers.iter().map(|worker| (worker.name.clone(), worker.slot.clone())).collect();
        for (worker, slot) in workers {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((probe, since, lane)) = slot.hanging(now) else { continue };
            let replaced = room > 0 && self.add().is_ok();
            if replaced {
                room -= 1;
                slot.is_replaced = true;
                self.worker.shared.hanging.fetch_add(1, Ordering::Relaxed);
                self.worker.shared.busy.fetch_sub(1, Ordering::Relaxed);
                self.worker.jobs.release(lane);
            }
            let was_told = std::mem::replace(&mut slot.is_told, true);
            if replaced || !was_told {
                found.push(Hanging { worker, probe, since, replaced });
            }
        }
        found
    }

    /// How many threads there are, without those told to end and those that have been replaced.
    pub fn workers(&self) -> usize {
        self.started
    }

    /// How many of them are running a probe now.
    pub fn busy(&self) -> usize {
        self.worker.shared.busy.load(Ordering::Relaxed)
    }

    /// How many threads hang in the system and have been replaced.
    pub fn hanging(&self) -> usize {
        self.worker.shared.hanging.load(Ordering::Relaxed)
    }

    /// Ends all workers: what waits is not begun, what runs is broken off, programs are killed. Takes a second at most;
    /// returns how many threads hang in the kernel and had to be left.
    pub fn stop(mut self) -> usize {
        self.end()
    }

    fn end(&mut self) -> usize {
        self.worker.shared.stopping.store(true, Ordering::SeqCst);
        self.worker.jobs.close();
        self.worker.alive = None;
        // Nobody sends here: it ends in time, or with the last worker.
        let _ = self.ended.recv_timeout(STOPPING);
        let everybody = self.ended.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected);
        let mut left = 0;
        for worker in self.workers.drain(..) {
            // A worker that has let go of its sender has nothing left to do but to end.
            if everybody || worker.handle.is_finished() {
                let _ = worker.handle.join();
            } else {
                left += 1;
            }
        }
        left
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.worker.alive.is_some() {
            self.end();
        }
    }
}

impl Worker {
    fn work(self, name: &str, slot: &Mutex<Slot>) {
        // Where even this is forbidden, checks run at the loop's priority.
        let _ = rustix::process::setpriority_process(None, NICE);
        limit::cancel_on(self.shared.stopping.clone());
        let slot = || slot.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((Job::Run(request, prober), lane)) = self.jobs.pop() {
            let since = clock();
            slot().run = Some(Current { probe: request.probe.clone(), since, timeout: request.timeout, lane });
            self.shared.busy.fetch_add(1, Ordering::Relaxed);
            self.run(since, &request, &prober);
            let Slot { is_replaced, .. } = std::mem::take(&mut *slot());
            if is_replaced {
                self.shared.hanging.fetch_sub(1, Ordering::Relaxed);
                let _ = self.reports.send(Report::Returned(name.to_owned(), clock().saturating_duration_since(since)));
                return;
            }
            self.shared.busy.fetch_sub(1, Ordering::Relaxed);
            self.jobs.release(lane);
        }
    }

    fn run(&self, started: Instant, request: &ProbeRequest, prober: &RunProbe) {
        // The channel has no bound, and its other end lives as long as the pool.
        let _ = self.reports.send(Report::Started(request.ticket, started));
        let outcome = catch_unwind(AssertUnwindSafe(|| prober(request))).unwrap_or_else(|panic| {
            let detail = format!("internal error: {}", message(&*panic));
            ProbeOutcome::failed(FailureKind::Internal, detail, clock().saturating_duration_since(started))
        });
        let surprising = request.expected != Some(outcome.finding());
        let _ = self.reports.send(Report::Finished(request.ticket, outcome));
        if surprising && !self.shared.woken.swap(true, Ordering::SeqCst) {
            (self.shared.wake)();
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        (None, None) => "panic",
    }
}
