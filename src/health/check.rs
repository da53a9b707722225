//! One check: its verdict (`rise` and `fall`), and where its present run is.

use std::time::{Duration, Instant};

use super::ProbeOutcome;
use super::schedule::Pace;
use crate::config::{Check, Timing};

/// What the runs so far say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `None` before the first verdict.
    pub(super) passing: Option<bool>,
    /// Since when.
    pub(super) since: Option<Instant>,
    /// Last runs in a row that contradict the verdict; before the first verdict: that agree with each other.
    pub(super) streak: u32,
    /// What the runs of the streak said.
    leaning: bool,
}

impl Verdict {
    /// Takes one run's result. When it changes the verdict: how many runs in a row said so.
    pub(super) fn record(&mut self, now: Instant, timing: &Timing, passed: bool) -> Option<u32> {
        if self.passing == Some(passed) {
            self.streak = 0;
            return None;
        }
        if self.leaning != passed {
            self.leaning = passed;
            self.streak = 0;
        }
        self.streak = self.streak.saturating_add(1);
        if self.streak < if passed { timing.rise } else { timing.fall } {
            return None;
        }
        self.passing = Some(passed);
        self.since = Some(now);
        Some(std::mem::take(&mut self.streak))
    }

    /// Whether there is a verdict and nothing speaks against it: no haste.
    pub(super) fn is_settled(&self) -> bool {
        self.passing.is_some() && self.streak == 0
    }
}

/// Where the present run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// There is none.
    Waiting,
    /// No worker has said that it took it. The pool is short, or word of it has not reached us: not the backend's fault.
    Queued {
        /// When to look again: word of a start does not wake the loop.
        look: Instant,
    },
    /// A worker is at it.
    Running {
        /// When it took it.
        started: Instant,
        /// When it has failed if nothing is heard by then.
        limit: Instant,
    },
}

/// A check and everything known of it.
#[derive(Debug)]
pub(super) struct CheckState {
    /// As configured.
    pub(super) check: Check,
    /// What tickets call it; survives reloads.
    pub(super) key: usize,
    pub(super) pace: Pace,
    pub(super) verdict: Verdict,
    /// The last run's outcome.
    pub(super) last: Option<ProbeOutcome>,
    pub(super) run: Run,
    /// Of the present run.
    pub(super) generation: u64,
    /// When the present run should have started.
    pub(super) due: Instant,
    /// When the last run was handed out.
    pub(super) handed_out: Option<Instant>,
    /// How long the present run may take before it is given up.
    pub(super) patience: Duration,
    /// When the next run starts, if the present one is back by then.
    pub(super) next: Instant,
}

impl CheckState {
    /// Not run yet, and due at the first start of its pace.
    pub(super) fn new(now: Instant, key: usize, check: Check, pace: Pace) -> CheckState {
        let first = pace.first(now);
        CheckState {
            check,
            key,
            pace,
            verdict: Verdict::default(),
            last: None,
            run: Run::Waiting,
            generation: 0,
            due: first,
            handed_out: None,
            patience: Duration::ZERO,
            next: first,
        }
    }

    /// The same probe with another timing: history stays, times to come change.
    pub(super) fn retime(&mut self, now: Instant, check: Check) {
        if self.check.timing != check.timing {
            self.pace.set_timing(&check.timing);
            self.next = match self.handed_out {
                None => self.next.min(self.pace.first(now)).max(now),
                Some(last) if !self.verdict.is_settled() => self.hasty(last, now),
                Some(_) => self.pace.regular(now),
            };
        }
        self.check = check;
    }

    /// The start to aim for after one at `now`, as long as no result says otherwise.
    pub(super) fn following(&self, now: Instant) -> Instant {
        if self.verdict.is_settled() { self.pace.regular(now) } else { self.hasty(now, now) }
    }

    /// The start that follows one at `last` while the verdict is open; not before `now`.
    pub(super) fn hasty(&self, last: Instant, now: Instant) -> Instant {
        match self.verdict.passing {
            None => self.pace.early(last, now),
            Some(_) => self.pace.fast(last, now),
        }
    }

    /// When this check next needs attention.
    pub(super) fn deadline(&self) -> Instant {
        match self.run {
            Run::Waiting => self.next,
            Run::Queued { look } => self.next.min(look),
            Run::Running { limit, .. } => self.next.min(limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rise_and_fall() {
        let now = crate::timers::origin();
        // Results (P passes, f fails), and after each what is known: ? nothing, + passing, - failing.
        for (rise, fall, results, known) in [
            (1, 1, "PfPf", "+-+-"),
            (2, 3, "PP", "?+"),
            (2, 3, "ff", "??"),
            (2, 3, "fff", "??-"),
            (2, 3, "PfPfPP", "?????+"),
            (2, 3, "ffPfff", "?????-"),
            (2, 3, "PPffPfffPfPP", "?++++++----+"),
            (3, 1, "PPfPPPf", "??---+-"),
        ] {
            let timing = Timing { rise, fall, ..Timing::default() };
            let mut verdict = Verdict::default();
            let mut seen = String::new();
            for result in results.chars() {
                let before = verdict.passing;
                let changed = verdict.record(now, &timing, result == 'P');
                assert_eq!(changed.is_some(), before != verdict.passing);
                let needed = if result == 'P' { rise } else { fall };
                assert!(changed.is_none_or(|streak| streak == needed && verdict.is_settled()));
                seen.push(verdict.passing.map_or('?', |passing| if passing { '+' } else { '-' }));
            }
            assert_eq!(seen, known, "rise {rise} fall {fall} {results}");
        }
    }

    #[test]
    fn only_a_quiet_verdict_is_settled() {
        let (now, timing) = (crate::timers::origin(), Timing { rise: 2, fall: 2, ..Timing::default() });
        let mut verdict = Verdict::default();
        let settled: Vec<bool> = [true, true, true, false, true, false, false]
            .into_iter()
            .map(|passed| {
                verdict.record(now, &timing, passed);
                verdict.is_settled()
            })
            .collect();
        assert_eq!(settled, [false, true, true, false, true, false, true]);
    }
}
