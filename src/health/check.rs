//! One check: its verdict (`rise` and `fall`), and where its present run is.

use std::time::{Duration, Instant};

use super::ProbeOutcome;
use super::schedule::Pace;
use crate::config::{Check, OnStale, Timing, Weight, Window};

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
    /// The last results, the latest in the lowest bit; set for a pass.
    results: u64,
    /// How many of them there are, up to 64.
    seen: u8,
}

/// What one run says for or against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    pub(super) passed: bool,
    /// It needs no others to be believed.
    pub(super) is_final: bool,
}

impl Verdict {
    /// One that no runs have found.
    pub(super) fn of(passing: Option<bool>, now: Instant) -> Verdict {
        Verdict { passing, since: passing.map(|_| now), ..Verdict::default() }
    }

    /// One from before a restart.
    pub(super) fn restored(passing: bool, since: Option<Instant>) -> Verdict {
        let mut verdict = Verdict { passing: Some(passing), since, ..Verdict::default() };
        verdict.remember(Vote { passed: passing, is_final: true });
        verdict
    }

    /// Takes one run's result. When it changes the verdict: how many runs in a row said so.
    pub(super) fn record(&mut self, now: Instant, timing: &Timing, vote: Vote) -> Option<u32> {
        let Vote { passed, is_final } = vote;
        self.remember(vote);
        if self.passing == Some(passed) {
            self.streak = 0;
            return None;
        }
        if self.leaning != passed {
            self.leaning = passed;
            self.streak = 0;
        }
        self.streak = self.streak.saturating_add(1);
        let enough = match timing.window {
            _ if is_final => true,
            None => self.streak >= if passed { timing.rise } else { timing.fall },
            Some(window) => self.judge(window) == Some(passed),
        };
        if !enough {
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

    /// A final result stands for as many as are remembered.
    fn remember(&mut self, vote: Vote) {
        (self.results, self.seen) = match vote {
            Vote { passed: true, is_final: true } => (u64::MAX, 64),
            Vote { passed: false, is_final: true } => (0, 64),
            Vote { passed, is_final: false } => {
                (self.results << 1 | u64::from(passed), self.seen.saturating_add(1).min(64))
            }
        };
    }

    /// What the window says; nothing as long as results to come may still decide either way.
    fn judge(&self, window: Window) -> Option<bool> {
        let seen = u32::from(self.seen.min(window.of));
        let latest = if seen >= 64 { self.results } else { self.results & ((1 << seen) - 1) };
        let passes = latest.count_ones();
        if passes >= u32::from(window.passes) {
            return Some(true);
        }
        let failures = seen - passes;
        (failures > u32::from(window.of - window.passes)).then_some(false)
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
#[derive(Clone, Debug)]
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
    /// The weight that the last passing run asked for.
    pub(super) weight: Option<Weight>,
    /// What the last passing run warned of.
    pub(super) warning: Option<Box<str>>,
    /// The run that is due has not been started within its time: the verdict is old.
    pub(super) is_stale: bool,
    /// How far the last start was behind its time.
    pub(super) lag: Duration,
    /// Runs that shall follow at once because something has happened to the target, as long as they pass.
    pub(super) alert: u8,
    /// What the last runs found, the latest in the lowest bit, and how many there are, up to ten.
    pub(super) history: (u16, u8),
    /// Its verdict is from before a restart, and no run of its own has ended yet.
    pub(super) is_restored: bool,
    /// Somebody waits for the result of a run of this generation or a later one.
    pub(super) asked: Option<u64>,
}

/// What a check says to those who use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statement {
    /// `None` before the first verdict.
    pub(super) passing: Option<bool>,
    /// What the backend's weight shall be.
    pub(super) weight: Option<Weight>,
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
            weight: None,
            warning: None,
            is_stale: false,
            lag: Duration::ZERO,
            alert: 0,
            history: (0, 0),
            is_restored: false,
            asked: None,
        }
    }

    /// What it says to those who use it.
    pub(super) fn statement(&self) -> Statement {
        let is_void = self.is_stale && self.check.timing.on_stale == OnStale::Fail;
        let passing = if is_void { Some(false) } else { self.verdict.passing };
        Statement { passing, weight: self.weight }
    }

    /// Whether workers run it.
    pub(super) fn is_run(&self) -> bool {
        self.check.probe.kind.is_run()
    }

    /// The same probe with another timing: history stays, times to come change.
    pub(super) fn retime(&mut self, now: Instant, check: Check) {
        if self.check.timing != check.timing {
            self.pace.set_timing(&check.timing);
            self.next = match self.handed_out {
                None => self.next.min(self.pace.first(now)).max(now),
                Some(last) if !self.verdict.is_settled() => self.hasty(last, now),
                Some(_) => self.regular(now),
            };
        }
        self.check = check;
    }

    /// The start to aim for after one at `now`, as long as no result says otherwise.
    pub(super) fn following(&self, now: Instant) -> Instant {
        if self.verdict.is_settled() { self.regular(now) } else { self.hasty(now, now) }
    }

    /// The next start while the verdict stands.
    pub(super) fn regular(&self, now: Instant) -> Instant {
        self.pace.regular(now, self.verdict.passing == Some(false))
    }

    /// The start that follows one at `last` while the verdict is open; not before `now`.
    pub(super) fn hasty(&self, last: Instant, now: Instant) -> Instant {
        match self.verdict.passing {
            None => self.pace.early(last, now),
            Some(_) => self.pace.fast(last, now),
        }
    }

    /// When this check next needs attention, if ever.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.is_run().then(|| match self.run {
            Run::Waiting => self.next,
            Run::Queued { look } => self.next.min(look),
            Run::Running { limit, .. } => self.next.min(limit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(passed: bool) -> Vote {
        Vote { passed, is_final: false }
    }

    #[test]
    fn windows() {
        let now = crate::timers::origin();
        for (passes, of, results, known) in [
            (4, 5, "PPPPfPf", "???+++-"),
            (4, 5, "ff", "?-"),
            (4, 5, "PPPPPfPPPPfPPf", "???++++++++++-"),
            // Back up only when four of the last five passed again.
            (4, 5, "ffPPPP", "?----+"),
            (4, 5, "PPPPffPPPfPPPP", "???++-----++++"),
            (1, 3, "fffPfff", "??-+++-"),
            (5, 5, "PPPPPfPPPPP", "????+-----+"),
            (1, 1, "PfP", "+-+"),
        ] {
            let timing = Timing { window: Some(Window { passes, of }), ..Timing::default() };
            let mut verdict = Verdict::default();
            let mut seen = String::new();
            for result in results.chars() {
                verdict.record(now, &timing, said(result == 'P'));
                seen.push(verdict.passing.map_or('?', |passing| if passing { '+' } else { '-' }));
            }
            assert_eq!(seen, known, "{passes} of {of}: {results}");
        }
    }

    #[test]
    fn a_final_result_decides_alone() {
        let now = crate::timers::origin();
        for window in [None, Some(Window { passes: 4, of: 5 }), Some(Window { passes: 64, of: 64 })] {
            let timing = Timing { rise: 9, fall: 9, window, ..Timing::default() };
            let mut verdict = Verdict::default();
            for passed in [true, false, true] {
                let changed = verdict.record(now, &timing, Vote { passed, is_final: true });
                assert_eq!((changed, verdict.passing, verdict.is_settled()), (Some(1), Some(passed), true));
            }
            // What came before does not count against it.
            assert_eq!(verdict.record(now, &timing, said(true)), None);
            if window.is_none_or(|window| window.passes < window.of) {
                assert_eq!(verdict.record(now, &timing, said(false)), None);
            }
        }
    }

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
                let changed = verdict.record(now, &timing, said(result == 'P'));
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
                verdict.record(now, &timing, said(passed));
                verdict.is_settled()
            })
            .collect();
        assert_eq!(settled, [false, true, true, false, true, false, true]);
    }
}
