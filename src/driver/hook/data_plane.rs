//! Runs the data-plane hook: one run at a time for each VIP, a few at a time for all, first come first served.
//!
//! One attempt per job: whether to try again is not decided here.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crew::{self, Crew};
use super::document::{Document, environment};
use super::runner::run_program;
use crate::config::DataPlaneHook;
use crate::driver::clock;
use crate::driver::probe::limit::Limit;
use crate::driver::status::HookLine;
use crate::engine::data_plane_job::{DataPlaneJob, DataPlaneOutcome};
use crate::prefix::Prefix;
use crate::wall::WallClock;

/// Runs at a time.
const WORKERS: usize = 8;

/// The event loop's end.
pub struct DataPlane {
    crew: Crew<Desk>,
}

impl DataPlane {
    /// Without a hook yet, and without threads. `tell` gets the outcome of each job, mostly on another thread.
    pub fn new(tell: impl Fn(DataPlaneOutcome) + Send + Sync + 'static) -> DataPlane {
        // What keeps a VIP from being announced does not yield to others.
        DataPlane { crew: Crew::new("data-plane", false, Desk::default(), tell) }
    }

    /// After a reload. What waits is run by the new program; without one it has failed.
    ///
    /// # Errors
    /// When the system has no threads to spare.
    pub fn configure(&self, hook: Option<Arc<DataPlaneHook>>) -> io::Result<()> {
        let workers = if hook.is_some() { WORKERS } else { 0 };
        let lost = self.crew.put(|desk| {
            desk.hook = hook;
            if desk.hook.is_some() { Vec::new() } else { desk.drain() }
        });
        lost.into_iter().for_each(|job| self.lose(&job));
        self.crew.staff(workers)
    }

    /// Takes a job; never waits. One for the same VIP that has not been begun is superseded: its id is returned, and it has no
    /// outcome. Every other job has one, unless the daemon stops.
    pub fn submit(&self, job: DataPlaneJob) -> Option<u64> {
        match self.crew.put(|desk| desk.submit(job)) {
            Ok(superseded) => superseded.map(|job| job.id),
            Err(job) => {
                self.lose(&job);
                None
            }
        }
    }

    /// How it is, for `status`; `None` without a hook.
    pub fn line(&self, wall: &WallClock) -> Option<HookLine> {
        self.crew.look(|desk| desk.line(wall))
    }

    /// The time that [`stop`](Self::stop) allows begins now.
    pub fn close(&self) {
        self.crew.close();
    }

    /// Ends within two seconds of [`close`](Self::close): what has not been begun by then is dropped, what runs is killed.
    /// Returns how many those were.
    pub fn stop(self) -> usize {
        self.crew.stop()
    }

    fn lose(&self, job: &DataPlaneJob) {
        let result = Err("there is no `data_plane` in the configuration".to_owned());
        self.crew.tell(DataPlaneOutcome { id: job.id, vip: job.vip, result, took: Duration::ZERO });
    }
}

#[derive(Default)]
struct Desk {
    hook: Option<Arc<DataPlaneHook>>,
    vips: BTreeMap<Prefix, Vip>,
    /// Those with a job to begin, in the order in which they came.
    ready: VecDeque<Prefix>,
    running: usize,
    delivered: u64,
    failed: u64,
    superseded: u64,
    last_error: Option<(Instant, String)>,
    /// By the last run.
    failing: bool,
}

#[derive(Default)]
struct Vip {
    running: bool,
    waiting: Option<DataPlaneJob>,
}

struct Task {
    hook: Arc<DataPlaneHook>,
    job: DataPlaneJob,
    begun: Instant,
}

impl Desk {
    /// What it supersedes; the job itself where there is no hook for it.
    fn submit(&mut self, job: DataPlaneJob) -> Result<Option<DataPlaneJob>, DataPlaneJob> {
        if self.hook.is_none() {
            return Err(job);
        }
        let vip = self.vips.entry(job.vip).or_default();
        if !vip.running && vip.waiting.is_none() {
            self.ready.push_back(job.vip);
        }
        let superseded = vip.waiting.replace(job);
        self.superseded += u64::from(superseded.is_some());
        Ok(superseded)
    }

    /// Takes away all that has not been begun.
    fn drain(&mut self) -> Vec<DataPlaneJob> {
        self.ready.clear();
        let jobs = self.vips.values_mut().filter_map(|vip| vip.waiting.take()).collect();
        self.vips.retain(|_, vip| vip.running);
        jobs
    }

    fn line(&self, wall: &WallClock) -> Option<HookLine> {
        self.hook.as_ref()?;
        Some(HookLine {
            name: "data_plane".to_owned(),
            kind: "data_plane".to_owned(),
            failing: self.failing,
            queued: self.vips.values().filter(|vip| vip.waiting.is_some()).count(),
            running: self.running,
            delivered: self.delivered,
            failed: self.failed,
            coalesced: self.superseded,
            dropped: 0,
            last_error: self.last_error.as_ref().map(|(_, error)| error.clone()),
            last_error_at: self.last_error.as_ref().map(|(at, _)| wall.timestamp(*at)),
        })
    }
}

impl crew::Desk for Desk {
    type Task = Task;
    type Done = Result<(), String>;
    type News = DataPlaneOutcome;

    fn take(&mut self, now: Instant) -> Option<Task> {
        let hook = self.hook.clone()?;
        let vip = self.vips.get_mut(&self.ready.pop_front()?)?;
        vip.running = true;
        self.running += 1;
        vip.waiting.take().map(|job| Task { hook, job, begun: now })
    }

    fn due(&self, now: Instant) -> Option<Instant> {
        (!self.ready.is_empty()).then_some(now)
    }

    fn run(task: &Task) -> Result<(), String> {
        let json = task.job.json();
        let facts = environment(&serde_json::from_str(&json).unwrap_or_default());
        let key = task.job.vip.to_string();
        let document = Document { kind: "data_plane".to_owned(), key, json: json.into(), environment: facts };
        run_program(&task.hook.command, None, &document, Limit::new(task.hook.timeout))
    }

    fn broken() -> Result<(), String> {
        Err("internal error".to_owned())
    }

    fn finish(&mut self, now: Instant, task: Task, done: Result<(), String>) -> Option<DataPlaneOutcome> {
        let vip = task.job.vip;
        self.running -= 1;
        if let Some(entry) = self.vips.get_mut(&vip) {
            entry.running = false;
            if entry.waiting.is_some() {
                self.ready.push_back(vip);
            } else {
                self.vips.remove(&vip);
            }
        }
        self.failing = done.is_err();
        match &done {
            Ok(()) => self.delivered += 1,
            Err(error) => {
                self.failed += 1;
                self.last_error = Some((now, error.clone()));
            }
        }
        let took = clock().saturating_duration_since(task.begun);
        Some(DataPlaneOutcome { id: task.job.id, vip, result: done, took })
    }

    /// Nothing is ever put off.
    fn hurry(&mut self) {}

    fn clear(&mut self) -> usize {
        self.drain().len() + self.running
    }

    fn is_idle(&self) -> bool {
        self.vips.is_empty()
    }
}
