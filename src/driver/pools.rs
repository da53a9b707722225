//! The two pools: checks that talk to others, and those of this host, programs and files. Neither can starve the other: a
//! thousand programs are another burden than a thousand dead backends, and a file may lie on a disk that hangs.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::http::Meters;
use super::pool::{HANGING, Hanging, Pool, Report, RunProbe};
use super::probe::Prober;
use crate::config::Config;
use crate::health::{ProbeRequest, ScheduleStatus};

/// Both.
pub(super) struct Pools {
    network: Pool,
    local: Pool,
    /// Runs that had not come back when somebody last looked for workers that hang.
    overdue: u64,
    look_at: Option<Instant>,
}

impl Pools {
    /// Starts what the configuration wants. `wake` as for [`Pool::start`].
    ///
    /// # Errors
    /// Not a single thread could be started for one of them.
    pub(super) fn start(
        config: &Config,
        prober: RunProbe,
        wake: impl Fn() + Clone + Send + Sync + 'static,
    ) -> io::Result<Pools> {
        let network = Pool::start("check", config.worker_count(), prober.clone(), wake.clone())?;
        let local = Pool::start("exec", config.exec_worker_count(), prober, wake)?;
        Ok(Pools { network, local, overdue: 0, look_at: None })
    }

    pub(super) fn submit(&self, request: ProbeRequest) {
        let pool = if request.probe.kind.is_local() { &self.local } else { &self.network };
        pool.submit(request);
    }

    /// After a reload.
    ///
    /// # Errors
    /// As [`Pool::resize`], of the first of them.
    pub(super) fn configure(&mut self, config: &Config, prober: RunProbe) -> io::Result<()> {
        self.network.set_prober(prober.clone());
        self.local.set_prober(prober);
        let network = self.network.resize(config.worker_count());
        network.and(self.local.resize(config.exec_worker_count()))
    }

    /// As [`Pool::drain`], of both.
    pub(super) fn drain(&self) -> impl Iterator<Item = Report> + '_ {
        self.network.drain().chain(self.local.drain())
    }

    /// A run that has not come back is the sign of a worker that may hang: somebody looks a little later.
    pub(super) fn watch(&mut self, now: Instant, schedule: &ScheduleStatus) {
        if schedule.overdue > self.overdue {
            self.overdue = schedule.overdue;
            self.look_at = self.look_at.or(now.checked_add(HANGING));
        }
    }

    /// A worker that hung has come back: there is room for the place of another one to be taken.
    pub(super) fn returned(&mut self, now: Instant) {
        self.look_at = Some(now);
    }

    /// When somebody should look.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// Looks, if it is time, and replaces what hangs.
    pub(super) fn look(&mut self, now: Instant) -> Vec<Hanging> {
        if self.look_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.look_at = None;
        let mut found = self.network.replace_hanging(now);
        found.extend(self.local.replace_hanging(now));
        found
    }

    /// Those for the network.
    pub(super) fn network(&self) -> &Pool {
        &self.network
    }

    /// Those for programs and files.
    pub(super) fn local(&self) -> &Pool {
        &self.local
    }

    /// Ends both; as [`Pool::stop`].
    pub(super) fn stop(self) -> usize {
        self.network.stop() + self.local.stop()
    }
}

/// The work of a prober, for the pools.
pub(super) fn runs(prober: Arc<Prober>) -> RunProbe {
    Arc::new(move |request| prober.run(request))
}

/// The same, and every run is counted.
pub(super) fn counted(prober: Arc<Prober>, meters: Arc<Meters>) -> RunProbe {
    Arc::new(move |request| {
        let outcome = prober.run(request);
        meters.ran(request.probe.kind.name(), &outcome);
        outcome
    })
}

/// How late starts may be before people hear of it: at least this, or a tenth of the shortest interval.
const LATE: Duration = Duration::from_millis(100);
/// How often at most.
const PAUSE: Duration = Duration::from_secs(60);

/// Notices when starts are late for long.
#[derive(Debug, Default)]
pub(super) struct LagWatch {
    is_late: bool,
    told_at: Option<Instant>,
}

/// What operators hear of lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LagNews {
    /// Checks start late: so late are the latest of a hundred.
    Late(Duration),
    /// They keep their times again.
    Over,
}

impl LagWatch {
    /// Looks at how the checks keep their times. News of the same kind comes once a minute at most.
    pub(super) fn look(&mut self, now: Instant, lag: Duration, shortest: Duration) -> Option<LagNews> {
        let most = LATE.max(shortest / 10);
        let is_recent = self.told_at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE);
        match (lag > most, self.is_late) {
            (true, _) if !is_recent => {
                (self.is_late, self.told_at) = (true, Some(now));
                Some(LagNews::Late(lag))
            }
            (false, true) if !is_recent && lag <= most / 2 => {
                (self.is_late, self.told_at) = (false, Some(now));
                Some(LagNews::Over)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timers::origin;

    #[test]
    fn lag_is_told_once_a_minute_and_when_it_is_over() {
        let (start, ms) = (origin(), Duration::from_millis(1));
        let mut watch = LagWatch::default();
        let mut at =
            |second: u64, lag: u64| watch.look(start + Duration::from_secs(second), ms * lag as u32, ms * 1000);
        assert_eq!(at(0, 90), None);
        assert_eq!(at(1, 200), Some(LagNews::Late(ms * 200)));
        assert_eq!(at(2, 900), None);
        assert_eq!(at(3, 0), None, "it may come back");
        assert_eq!(at(62, 300), Some(LagNews::Late(ms * 300)));
        assert_eq!(at(123, 90), None, "not clearly over");
        assert_eq!(at(124, 40), Some(LagNews::Over));
        assert_eq!(at(300, 40), None);
    }
}
