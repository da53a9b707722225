//! How many threads run checks.

use super::{Check, Config};

/// `workers` and `exec_workers`: how many threads run checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// Enough that every check may time out at once, see [`Config::worker_demand`] and [`Config::exec_demand`].
    Auto,
    /// So many; from 1.
    Fixed(usize),
}

/// The largest pool. A thread that waits takes some ten KiB, and four of the 65,530 mappings that the kernel grants a process.
pub const MAX_WORKERS: usize = 12_288;
/// The largest one for programs: each is a process besides.
pub const MAX_EXEC_WORKERS: usize = 1024;
/// As many as are chosen without being told.
const MAX_AUTO_EXEC_WORKERS: usize = 64;

impl Config {
    /// How many workers every check timing out at once would keep busy: the sum of timeout over the shortest of its
    /// intervals, where a check that may outlast that counts as one, rounded up. Without programs and files.
    pub fn worker_demand(&self) -> usize {
        self.demand(false)
    }

    /// The same of programs and files.
    pub fn exec_demand(&self) -> usize {
        self.demand(true)
    }

    fn demand(&self, local: bool) -> usize {
        let share = |check: &Check| {
            let timing = &check.timing;
            // While its verdict is open, as all are when a rack dies, and while it is down, it may run more often.
            let interval = timing.interval.min(timing.fast_interval).min(timing.down_interval);
            (timing.timeout.as_secs_f64() / interval.as_secs_f64()).min(1.0)
        };
        self.run_checks(local).map(share).sum::<f64>().ceil() as usize
    }

    /// Those that a worker runs.
    fn run_checks(&self, local: bool) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.probe.kind.is_run() && check.probe.kind.is_local() == local)
    }

    /// The size of the pool: fixed, or the demand; at least 8, at most [`MAX_WORKERS`], never more than checks.
    pub fn worker_count(&self) -> usize {
        match self.daemon.workers {
            Workers::Fixed(count) => count,
            Workers::Auto => self.worker_demand().clamp(8, MAX_WORKERS).min(self.run_checks(false).count().max(1)),
        }
    }

    /// The size of the pool for programs and files: fixed, or the demand; at least 4, at most 64, never more than checks.
    pub fn exec_worker_count(&self) -> usize {
        match self.daemon.exec_workers {
            Workers::Fixed(count) => count,
            Workers::Auto => {
                self.exec_demand().clamp(4, MAX_AUTO_EXEC_WORKERS).min(self.run_checks(true).count().max(1))
            }
        }
    }
}
