//! All checks: starts them when they are due, gives up those that are not back in time, and finds verdicts.
//!
//! Each check has exactly one armed deadline. No event costs more than O(log n) of the number of checks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::check::{CheckState, Run, Statement, Verdict, Vote};
use super::lag::Lag;
use super::schedule::{Pace, Phases};
use super::{Finding, ProbeOutcome, ProbeRequest, Restored, ScheduleStatus, Ticket};
use crate::config::{self, FailureKind, Probe};
use crate::timers::Deadlines;

/// What a run may take beyond its timeout before it is given up. A worker keeps the timeout itself and says more
/// about it, so it goes first; but it is a thread at low priority, so it may be late.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// How many runs in a row follow at once after something has happened to a target, as long as they pass: what has
/// happened may be half done when the first one comes.
const ALERT: u8 = 3;
/// Between them.
const ALERT_PAUSE: Duration = Duration::from_millis(25);

/// What a check says changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) check: usize,
    pub(super) before: Statement,
    pub(super) after: Statement,
    pub(super) news: News,
}

/// What happened to a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Its verdict changed: runs in a row that said so.
    pub(super) verdict: Option<u32>,
    /// Its verdict has become old, or is no longer.
    pub(super) staleness: bool,
    /// What it warns of is another thing.
    pub(super) warning: bool,
    /// It was asked, and its run passed or failed.
    pub(super) answer: Option<bool>,
}

impl Change {
    /// Whether it matters to those who use the check.
    pub(super) fn is_told(&self) -> bool {
        self.before != self.after
    }
}

/// The state of all checks, by their index in the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    /// Of all ticks and grids: the first configuration.
    origin: Option<Instant>,
    states: Vec<CheckState>,
    /// Where the check of a key is now.
    by_key: Vec<Option<usize>>,
    deadlines: Deadlines<usize>,
    phases: Phases,
    /// Runs to hand out, in order.
    ready: VecDeque<Ticket>,
    /// Of the latest run of any check.
    generation: u64,
    running: usize,
    queued: usize,
    overdue: u64,
    lag: Lag,
    /// Checks looked at, to see that cost follows the change.
    #[cfg(test)]
    pub(super) touched: usize,
}

impl Checks {
    /// Replaces the checks. An equal one goes on as if nothing had happened; failing that, one with the same probe keeps
    /// its verdict, history and run. `restored` tells what a new one said before a restart.
    pub(super) fn configure<'r>(
        &mut self,
        now: Instant,
        checks: &[config::Check],
        restored: &dyn Fn(usize) -> Option<&'r Restored>,
    ) {
        let origin = *self.origin.get_or_insert(now);
        let mut kept = self.take_kept(checks);
        let survivors: BTreeSet<usize> = kept.iter().flatten().map(|state| state.key).collect();
        let mut free: Vec<usize> = (0..self.by_key.len()).rev().filter(|key| !survivors.contains(key)).collect();
        let intervals: BTreeSet<Duration> = checks.iter().map(|check| check.timing.interval).collect();
        self.phases.retain(|interval| intervals.contains(interval));

        for (index, (check, kept)) in checks.iter().zip(&mut kept).enumerate() {
            let state = match kept.take() {
                Some(mut state) => {
                    state.retime(now, check.clone());
                    state
                }
                None => {
                    let key = free.pop().unwrap_or_else(|| {
                        self.by_key.push(None);
                        self.by_key.len() - 1
                    });
                    let pace = Pace::new(origin, self.phases.assign(check.timing.interval), &check.timing);
                    let mut state = CheckState::new(now, key, check.clone(), pace);
                    if let Some(restored) = restored(index).filter(|_| check.probe.kind.is_run()) {
                        state.restore(restored);
                    }
                    state
                }
            };
            self.states.push(state);
        }
        self.reindex();
    }

    /// The present states in the order of the new checks that they belong to. Those that belong to none are dropped, and
    /// with them their runs.
    fn take_kept(&mut self, checks: &[config::Check]) -> Vec<Option<CheckState>> {
        let mut old: Vec<Option<CheckState>> = std::mem::take(&mut self.states).into_iter().map(Some).collect();
        let mut equal: BTreeMap<&config::Check, usize> = BTreeMap::new();
        let checks_before: Vec<config::Check> = old.iter().flatten().map(|state| state.check.clone()).collect();
        for (index, check) in checks_before.iter().enumerate() {
            equal.insert(check, index);
        }
        let mut kept: Vec<Option<CheckState>> = Vec::with_capacity(checks.len());
        for check in checks {
            kept.push(equal.remove(check).and_then(|index| old[index].take()));
        }
        let mut same_probe: BTreeMap<&Probe, Vec<usize>> = BTreeMap::new();
        for index in equal.into_values().collect::<BTreeSet<usize>>().into_iter().rev() {
            same_probe.entry(&checks_before[index].probe).or_default().push(index);
        }
        for (check, kept) in checks.iter().zip(&mut kept) {
            if kept.is_none() {
                let index = same_probe.get_mut(&*check.probe).and_then(Vec::pop);
                *kept = index.and_then(|index| old[index].take());
            }
        }
        kept
    }

    fn reindex(&mut self) {
        self.by_key.fill(None);
        self.deadlines.clear();
        (self.running, self.queued) = (0, 0);
        for (index, state) in self.states.iter().enumerate() {
            self.by_key[state.key] = Some(index);
            self.deadlines.set(index, state.deadline());
            match state.run {
                Run::Waiting => {}
                Run::Queued { .. } => self.queued += 1,
                Run::Running { .. } => self.running += 1,
            }
        }
    }

    /// A worker took the run at `at`.
    pub(super) fn started(&mut self, ticket: Ticket, at: Instant) {
        let Some(index) = self.find(ticket) else { return };
        let state = &mut self.states[index];
        if let Run::Queued { .. } = state.run {
            let limit = at.checked_add(state.patience).unwrap_or(at);
            state.run = Run::Running { started: at, limit };
            state.lag = at.saturating_duration_since(state.due);
            self.lag.record(at, state.lag);
            self.queued -= 1;
            self.running += 1;
            self.arm(index);
        }
    }

    /// Takes a result, if its run is the present one.
    pub(super) fn finished(&mut self, now: Instant, ticket: Ticket, outcome: ProbeOutcome) -> Option<Change> {
        let index = self.find(ticket)?;
        self.conclude(now, index, outcome)
    }

    /// Does what is due for one check; `None` when nothing more is due at all.
    pub(super) fn step(&mut self, now: Instant) -> Option<Option<Change>> {
        let index = self.deadlines.expire(now)?;
        let mut change = None;
        let state = &mut self.states[index];
        match state.run {
            Run::Waiting => {
                let due = state.next;
                self.start(now, index, due);
                return Some(None);
            }
            Run::Running { started, limit } if limit <= now => {
                self.overdue += 1;
                let detail = format!("no result within {:?}", state.patience);
                let took = now.saturating_duration_since(started);
                return Some(self.conclude(now, index, ProbeOutcome::failed(FailureKind::Timeout, detail, took)));
            }
            Run::Queued { look } if look <= now => {
                // So that the lag of a pool that is stuck shows before it moves again.
                state.lag = now.saturating_duration_since(state.due);
                self.lag.record(now, state.lag);
                state.run = Run::Queued { look: now.checked_add(state.patience).unwrap_or(now) };
                let before = state.statement();
                // A pool that is a little short is lag; a verdict that missed its turn is old.
                if !state.is_stale && state.lag >= state.check.timing.interval {
                    state.is_stale = true;
                    let news = News { staleness: true, ..News::default() };
                    change = Some(Change { check: index, before, after: state.statement(), news });
                }
            }
            Run::Queued { .. } | Run::Running { .. } => {}
        }
        // A start that meets its predecessor is left out; a run never waits behind another.
        if state.next <= now {
            state.next = state.following(now);
        }
        self.arm(index);
        Some(change)
    }

    /// Once nothing more is due.
    pub(super) fn rest(&mut self, now: Instant) {
        self.lag.advance(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.earliest()
    }

    pub(super) fn poll_probe(&mut self) -> Option<ProbeRequest> {
        while let Some(ticket) = self.ready.pop_front() {
            // A reload may have dropped the check since.
            let Some(index) = self.find(ticket) else { continue };
            let state = &self.states[index];
            let is_quiet = state.verdict.is_settled() && !state.is_stale && state.asked.is_none();
            let settled = state.verdict.passing.filter(|_| is_quiet);
            return Some(ProbeRequest {
                ticket,
                probe: state.check.probe.clone(),
                timeout: state.check.timing.timeout,
                due: state.due,
                slow: state.last.as_ref().is_some_and(|last| last.failure == Some(FailureKind::Timeout)),
                expected: settled.map(|passed| Finding { passed, weight: state.weight.filter(|_| passed) }),
            });
        }
        None
    }

    /// Starts every check that has no run.
    pub(super) fn start_all(&mut self, now: Instant) {
        for index in 0..self.states.len() {
            self.start_now(now, index);
        }
    }

    /// Something has happened to the target of this check: it runs at once, and again if it is running or passes, for what
    /// has happened may not be all that happens.
    pub(super) fn alert(&mut self, now: Instant, index: usize) {
        if let Some(state) = self.states.get_mut(index) {
            state.alert = ALERT;
            self.start_now(now, index);
        }
    }

    /// Runs one as soon as possible, for an answer; tells whether there will be one.
    pub(super) fn ask(&mut self, now: Instant, index: usize) -> bool {
        let next = self.generation + 1;
        let Some(state) = self.states.get_mut(index).filter(|state| state.is_run()) else { return false };
        state.asked = Some(next);
        self.start_now(now, index);
        true
    }

    fn start_now(&mut self, now: Instant, index: usize) {
        let state = &self.states[index];
        if state.run == Run::Waiting && state.is_run() {
            self.start(now, index, now);
        }
    }

    /// Sets what no worker finds out: the state of another service.
    pub(super) fn set(&mut self, now: Instant, index: usize, passing: Option<bool>) -> Option<Change> {
        let state = self.states.get_mut(index)?;
        if state.verdict.passing == passing {
            return None;
        }
        let before = state.statement();
        state.verdict = Verdict::of(passing, now);
        let news = News { verdict: passing.map(|_| 1), ..News::default() };
        Some(Change { check: index, before, after: state.statement(), news })
    }

    /// What a check says to those who use it.
    pub(super) fn statement(&self, index: usize) -> Statement {
        self.states.get(index).map(CheckState::statement).unwrap_or_default()
    }

    /// Where the check with this key is now.
    pub(super) fn index(&self, key: usize) -> Option<usize> {
        *self.by_key.get(key)?
    }

    /// The check at this index, if there is one.
    pub(super) fn state(&self, check: usize) -> Option<&CheckState> {
        self.states.get(check)
    }

    pub(super) fn schedule(&self) -> ScheduleStatus {
        ScheduleStatus { running: self.running, queued: self.queued, lag_p99: self.lag.p99(), overdue: self.overdue }
    }

    /// The check whose present run has this ticket.
    pub(super) fn find(&self, ticket: Ticket) -> Option<usize> {
        let index = (*self.by_key.get(ticket.check)?)?;
        let state = &self.states[index];
        (state.run != Run::Waiting && state.generation == ticket.generation).then_some(index)
    }

    fn start(&mut self, now: Instant, index: usize, due: Instant) {
        self.generation += 1;
        self.queued += 1;
        let state = &mut self.states[index];
        state.generation = self.generation;
        state.due = due;
        state.handed_out = Some(now);
        state.patience = state.check.timing.timeout.saturating_add(GRACE);
        state.run = Run::Queued { look: now.checked_add(state.patience).unwrap_or(now) };
        state.next = state.following(now);
        self.ready.push_back(Ticket { check: state.key, generation: state.generation });
        self.arm(index);
    }

    fn conclude(&mut self, now: Instant, index: usize, outcome: ProbeOutcome) -> Option<Change> {
        let state = &mut self.states[index];
        match state.run {
            Run::Waiting => return None,
            Run::Queued { .. } => self.queued -= 1,
            Run::Running { .. } => self.running -= 1,
        }
        state.run = Run::Waiting;
        state.is_restored = false;
        state.history = (state.history.0 << 1 | u16::from(outcome.passed), (state.history.1 + 1).min(10));
        let (before, was_settled) = (state.statement(), state.verdict.is_settled());
        let is_final =
            outcome.is_final || outcome.failure.is_some_and(|kind| state.check.timing.conclusive.contains(kind));
        let counts = !outcome.is_silent || state.verdict.passing.is_none();
        let passed = outcome.passed;
        let verdict =
            if counts { state.verdict.record(now, &state.check.timing, Vote { passed, is_final }) } else { None };
        if passed && !outcome.is_silent {
            state.weight = outcome.weight;
        }
        // One that fails says nothing about what it would warn of.
        let warns_anew = passed && state.warning != outcome.warning;
        if warns_anew {
            state.warning.clone_from(&outcome.warning);
        }
        let is_answer = state.asked.take_if(|from| *from <= state.generation).is_some();
        let news = News {
            verdict,
            staleness: std::mem::take(&mut state.is_stale),
            warning: warns_anew,
            answer: is_answer.then_some(passed),
        };
        state.last = Some(outcome);
        match (was_settled, state.verdict.is_settled()) {
            // The result may have been on its way for long: the grid's next point stands, even if it is now.
            (true, true) if verdict.is_none() => {}
            (_, true) => state.next = state.regular(now),
            (_, false) => state.next = state.hasty(state.handed_out.unwrap_or(now), now),
        }
        state.alert = if passed { state.alert.saturating_sub(1) } else { 0 };
        if state.alert > 0 {
            state.next = state.next.min(now.checked_add(ALERT_PAUSE).unwrap_or(now));
        }
        if state.asked.is_some() {
            state.next = now;
        }
        let change = Change { check: index, before, after: state.statement(), news };
        self.arm(index);
        (change.is_told() || news != News::default()).then_some(change)
    }

    fn arm(&mut self, index: usize) {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        self.deadlines.set(index, self.states[index].deadline());
    }
}

#[cfg(test)]
impl Checks {
    /// Recounts what is kept in step.
    pub(super) fn check_invariants(&self) {
        let count = |f: fn(&Run) -> bool| self.states.iter().filter(|state| f(&state.run)).count();
        assert_eq!(self.running, count(|run| matches!(run, Run::Running { .. })));
        assert_eq!(self.queued, count(|run| matches!(run, Run::Queued { .. })));
        assert_eq!(self.by_key.iter().flatten().count(), self.states.len());
        assert_eq!(self.deadlines.earliest(), self.states.iter().filter_map(CheckState::deadline).min());
        for (index, state) in self.states.iter().enumerate() {
            assert_eq!(self.by_key[state.key], Some(index));
        }
    }
}
