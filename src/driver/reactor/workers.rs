//! What workers report, and whether the checks keep their times and the workers their wits.

use std::time::{Duration, Instant};

use super::Reactor;
use super::census::Census;
use crate::config::Config;
use crate::driver::clock;
use crate::driver::notice::Notice;
use crate::driver::notice::workers::Workers;
use crate::driver::pool::Report;
use crate::driver::pools::LagWatch;
use crate::driver::watchdog::Watchdog;
use crate::engine::Input;

/// What is kept to see it.
pub(super) struct Oversight {
    lag: LagWatch,
    pub(super) watchdog: Watchdog,
    pub(super) census: Census,
    /// The shortest interval and the longest timeout of all checks.
    shortest: Duration,
    longest: Duration,
}

impl Oversight {
    pub(super) fn new(now: Instant, config: &Config) -> Oversight {
        let (lag, watchdog) = (LagWatch::default(), Watchdog::new(now));
        let mut oversight =
            Oversight { lag, watchdog, census: Census::new(now), shortest: Duration::MAX, longest: Duration::ZERO };
        oversight.configure(config);
        oversight
    }

    /// After a reload.
    pub(super) fn configure(&mut self, config: &Config) {
        let timings = || config.checks.iter().filter(|check| check.probe.kind.is_run()).map(|check| &check.timing);
        self.shortest = timings().map(|timing| timing.interval).min().unwrap_or(Duration::MAX);
        self.longest = timings().map(|timing| timing.timeout).max().unwrap_or_default();
    }
}

impl Reactor {
    /// Results of checks, all that are there: what they change goes out together.
    pub(super) fn take_reports(&mut self) {
        let now = clock();
        let (mut any, mut returned) = (false, false);
        for report in self.pools.drain() {
            any = true;
            let input = match report {
                Report::Started(ticket, at) => Input::ProbeStarted(ticket, at),
                Report::Finished(ticket, outcome) => {
                    self.oversight.watchdog.completed(now);
                    Input::ProbeFinished(ticket, outcome)
                }
                Report::Returned(worker, after) => {
                    self.scribe.note(Notice::Workers(Workers::Returned { worker, after }));
                    returned = true;
                    continue;
                }
            };
            self.engine.handle(now, input);
        }
        if returned {
            self.pools.returned(now);
        }
        if any {
            self.drain(now);
        }
    }

    /// After each time that checks were started or given up.
    pub(super) fn watch_checks(&mut self, now: Instant) {
        let schedule = self.engine.schedule();
        self.pools.watch(now, &schedule);
        if let Some(news) = self.oversight.lag.look(now, schedule.lag_p99, self.oversight.shortest) {
            let (workers, demand) = (self.pools.network().workers(), self.config.worker_demand());
            self.scribe.note(Notice::Workers(Workers::Lag { news, workers, demand }));
        }
    }

    /// Puts others in the places of workers that hang, and tells systemd that all is well if it is.
    pub(super) fn look_at_workers(&mut self, now: Instant) {
        for hanging in self.pools.look(now) {
            let hung = now.saturating_duration_since(hanging.since);
            self.scribe.note(Notice::Workers(Workers::Hangs { hanging, hung }));
        }
        if self.oversight.watchdog.deadline().is_some_and(|at| at <= now) {
            let schedule = self.engine.schedule();
            let beat = self.oversight.watchdog.feed(now, schedule.running + schedule.queued, self.oversight.longest);
            if let Some(beat) = beat {
                self.scribe.note(Notice::Workers(Workers::Watchdog(beat)));
            }
        }
    }
}
