//! The fail-static guard and the self-checks: when Herald doubts what its own checks find.
//!
//! Where very much turns bad at once, the fault is more likely our own. Then what has just turned bad is doubted: it stays
//! announced until it is known better, or for `limit`. What turned bad shortly before the doubt began is doubted as well,
//! for it was the beginning of the same thing.
//!
//! The doubt ends when all self-checks pass in runs that begin after it: then the fault is theirs. Where one does not, it is
//! ours, and they are asked again and again: the doubt ends a `window` after all of them pass. It ends when no more is bad than may be, and stays so for `window`; and at `limit`,
//! whatever is the case then. A doubt that a failing self-check raises ends a `window` after its recovery: others have to
//! have the time to be found healthy again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Doubt;
use super::decision::later;
use crate::config::{Config, FailStatic, OnFailure, Population};

/// What the guard tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardEvent {
    /// What has just turned bad is doubted.
    Began {
        /// Why.
        doubt: Doubt,
        /// When it ends at the latest.
        until: Option<Instant>,
    },
    /// It is doubted no more.
    Ended {
        /// Why.
        why: DoubtEnd,
        /// So many VIPs that were doubted are still unhealthy.
        unhealthy: usize,
    },
    /// A self-check fails.
    SelfCheckFailed(usize),
    /// It passes again, or for the first time.
    SelfCheckPassed(usize),
}

/// Why a doubt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubtEnd {
    /// Enough has recovered.
    Recovered,
    /// Every self-check passes: the fault is not ours.
    SelfChecksPass,
    /// The self-checks that failed pass again.
    SelfCheckRecovered,
    /// It has lasted for as long as it may.
    Limit,
    /// It is no longer configured.
    Unconfigured,
}

/// What the guard and the self-checks say to the decisions on VIPs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ruling {
    /// What turned bad at this time or later is doubted.
    pub(super) doubt: Option<(Doubt, Instant)>,
    /// This self-check says that everything is to be withdrawn.
    pub(super) broken: Option<usize>,
}

/// A doubt at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoubtStatus {
    /// Why.
    pub doubt: Doubt,
    /// Since when.
    pub since: Instant,
    /// When it ends at the latest.
    pub until: Option<Instant>,
    /// VIPs that are doubted to be unhealthy.
    pub doubted: usize,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    doubt: Doubt,
    since: Instant,
    /// What turned bad before this is not doubted.
    from: Instant,
    until: Option<Instant>,
    /// No more is bad than may be: it ends at this time if that stays so.
    settles: Option<Instant>,
    /// When self-checks are asked again.
    asks: Option<Instant>,
    /// A self-check has failed meanwhile: the fault is, or was, ours.
    ours: bool,
    /// All self-checks pass again: it ends at this time if that stays so.
    exonerates: Option<Instant>,
}

impl Active {
    fn is_of_self_checks(&self) -> bool {
        matches!(self.doubt, Doubt::SelfCheck(_))
    }
}

#[derive(Clone, Debug)]
struct SelfCheck {
    on_failure: OnFailure,
    failing: BTreeSet<usize>,
    /// Its failure has been doubted for as long as it may be.
    spent: bool,
}

/// The guard.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    config: Option<FailStatic>,
    /// VIPs that are healthy.
    healthy: usize,
    /// VIPs that turned bad of late and still are, with the time.
    bad: BTreeSet<(Instant, usize)>,
    backends_up: usize,
    /// Backends that went down of late and still are: index of the service, of the backend within it.
    backends_down: BTreeMap<(usize, usize), Instant>,
    backends_by_time: BTreeSet<(Instant, (usize, usize))>,
    active: Option<Active>,
    /// VIPs that are doubted.
    doubted: BTreeSet<usize>,
    /// VIPs that would stand on a lower rung of their ladder if that were not doubted.
    kept: BTreeSet<usize>,
    self_checks: Vec<SelfCheck>,
    /// Which self-check each check is of.
    by_check: BTreeMap<usize, Vec<usize>>,
    /// Checks that have been asked, and have not answered.
    unconfirmed: BTreeSet<usize>,
    /// Checks that have to run anew.
    asks: Vec<usize>,
    ruling: Ruling,
    events: Vec<GuardEvent>,
}

impl Guard {
    /// Replaces the configuration. VIPs are to be noted anew. `passing` tells what a check says.
    pub(super) fn configure(
        &mut self,
        now: Instant,
        config: &Config,
        passing: &dyn Fn(usize) -> Option<bool>,
        backends_up: usize,
    ) {
        self.config.clone_from(&config.fail_static);
        (self.healthy, self.backends_up) = (0, backends_up);
        self.bad.clear();
        self.doubted.clear();
        self.kept.clear();
        self.backends_down.clear();
        self.backends_by_time.clear();
        self.by_check.clear();
        self.self_checks.clear();
        for (index, own) in config.self_checks.iter().enumerate() {
            own.checks.iter().for_each(|check| self.by_check.entry(*check).or_default().push(index));
            let failing = own.checks.iter().copied().filter(|check| passing(*check) == Some(false)).collect();
            self.self_checks.push(SelfCheck { on_failure: own.on_failure, failing, spent: false });
        }
        let by_check = &self.by_check;
        self.unconfirmed.retain(|check| by_check.contains_key(check));
        match self.active.map(|active| active.doubt) {
            // Which one it was may be another now.
            Some(Doubt::SelfCheck(_)) if self.self_checks.iter().all(|own| !own.holds()) => {
                self.end(now, DoubtEnd::Unconfigured);
            }
            Some(Doubt::Vips { .. } | Doubt::Backends { .. }) if self.config.is_none() => {
                self.end(now, DoubtEnd::Unconfigured);
            }
            Some(Doubt::SelfCheck(_)) => {
                let index = self.self_checks.iter().position(SelfCheck::holds).unwrap_or_default();
                self.active = self.active.map(|active| Active { doubt: Doubt::SelfCheck(index), ..active });
            }
            _ => {}
        }
        self.look_at_self_checks(now);
        self.rule();
    }

    fn window(&self) -> Duration {
        self.config.as_ref().map_or(FailStatic::WINDOW, |config| config.window)
    }

    /// A VIP is healthy, or no more.
    pub(super) fn set_healthy(&mut self, was: bool, is: bool) {
        self.healthy = self.healthy + usize::from(is) - usize::from(was);
    }

    /// A VIP that was healthy turned bad.
    pub(super) fn turned_bad(&mut self, now: Instant, vip: usize) {
        self.bad.insert((now, vip));
        self.review(now);
    }

    /// What was bad since then is so no longer.
    pub(super) fn recovered(&mut self, now: Instant, since: Instant, vip: usize) {
        self.bad.remove(&(since, vip));
        self.doubted.remove(&vip);
        self.review(now);
    }

    /// A backend went up or down.
    pub(super) fn backend_changed(&mut self, now: Instant, backend: (usize, usize), up: bool) {
        if up {
            self.backends_up += 1;
            if let Some(since) = self.backends_down.remove(&backend) {
                self.backends_by_time.remove(&(since, backend));
            }
        } else {
            self.backends_up = self.backends_up.saturating_sub(1);
            self.backends_down.insert(backend, now);
            self.backends_by_time.insert((now, backend));
        }
        self.review(now);
    }

    /// A VIP is doubted, or no more.
    pub(super) fn set_doubted(&mut self, vip: usize, is: bool) {
        let _changed = if is { self.doubted.insert(vip) } else { self.doubted.remove(&vip) };
    }

    /// A VIP is kept on its rung, or no more.
    pub(super) fn set_kept(&mut self, vip: usize, is: bool) {
        let _changed = if is { self.kept.insert(vip) } else { self.kept.remove(&vip) };
    }

    /// A check says something else; it need not be one of a self-check.
    pub(super) fn check_changed(&mut self, now: Instant, check: usize, passing: bool) {
        let Some(indexes) = self.by_check.get(&check).cloned() else { return };
        for index in indexes {
            let Some(own) = self.self_checks.get_mut(index) else { continue };
            let failed = !own.failing.is_empty();
            let _changed = if passing { own.failing.remove(&check) } else { own.failing.insert(check) };
            match (failed, !own.failing.is_empty()) {
                (false, true) => {
                    self.events.push(GuardEvent::SelfCheckFailed(index));
                    self.blame_ourselves(now);
                }
                (true, false) => {
                    own.spent = false;
                    self.events.push(GuardEvent::SelfCheckPassed(index));
                }
                _ => {}
            }
        }
        self.look_at_self_checks(now);
        self.review(now);
    }

    /// A check that was [asked](Self::poll_ask) has passed or failed in a run that began after that.
    pub(super) fn answered(&mut self, now: Instant, check: usize, passed: bool) {
        let (window, holds) = (self.window(), self.holds());
        let Some(active) = self.active.as_mut().filter(|active| !active.is_of_self_checks()) else { return };
        if !self.unconfirmed.remove(&check) {
            return;
        }
        if !passed {
            self.unconfirmed.clear();
            (active.ours, active.exonerates, active.asks) = (true, None, Some(later(now, window)));
        } else if self.unconfirmed.is_empty() {
            match (holds, active.ours) {
                (true, _) => active.asks = Some(later(now, window)),
                (false, true) => active.exonerates = Some(later(now, window)),
                (false, false) => {
                    self.end(now, DoubtEnd::SelfChecksPass);
                    self.rule();
                }
            }
        }
    }

    /// The next check that shall run at once, for an [answer](Self::answered).
    pub(super) fn poll_ask(&mut self) -> Option<usize> {
        self.asks.pop()
    }

    pub(super) fn poll_event(&mut self) -> Option<GuardEvent> {
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    pub(super) fn ruling(&self) -> Ruling {
        self.ruling
    }

    pub(super) fn status(&self) -> Option<DoubtStatus> {
        let Active { doubt, since, until, .. } = self.active?;
        Some(DoubtStatus { doubt, since, until, doubted: self.doubted.len() })
    }

    /// After a new configuration: a VIP that is healthy, or since when it is bad.
    pub(super) fn note(&mut self, vip: usize, healthy: bool, bad_since: Option<Instant>) {
        self.healthy += usize::from(healthy);
        self.bad.extend(bad_since.map(|since| (since, vip)));
    }

    /// VIPs that a change of the [ruling](Self::ruling) may be of interest to, as far as it is about doubts.
    pub(super) fn concerned(&self) -> Vec<usize> {
        let bad = self.bad.iter().map(|(_, vip)| *vip);
        self.doubted.iter().chain(&self.kept).copied().chain(bad).collect()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let active = self.active?;
        [active.until, active.settles, active.asks, active.exonerates].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let Some(active) = &mut self.active else { return };
        if active.until.is_some_and(|until| until <= now) {
            self.self_checks.iter_mut().for_each(|own| own.spent |= !own.failing.is_empty());
            self.end(now, DoubtEnd::Limit);
        } else if active.settles.is_some_and(|at| at <= now) {
            let of_self_checks = active.is_of_self_checks();
            self.end(now, if of_self_checks { DoubtEnd::SelfCheckRecovered } else { DoubtEnd::Recovered });
        } else if active.exonerates.is_some_and(|at| at <= now) {
            self.end(now, DoubtEnd::SelfCheckRecovered);
        } else if active.asks.take_if(|at| *at <= now).is_some() {
            self.ask();
        }
        self.look_at_self_checks(now);
    }

    /// Whether a self-check fails that makes us doubt the others.
    fn holds(&self) -> bool {
        self.self_checks.iter().any(SelfCheck::holds)
    }

    fn look_at_self_checks(&mut self, now: Instant) {
        let holding = self.self_checks.iter().position(SelfCheck::holds);
        match (holding, self.active) {
            (Some(index), None) => self.begin(now, Doubt::SelfCheck(index)),
            (Some(_), Some(active)) if active.is_of_self_checks() => self.settle(None),
            (None, Some(active)) if active.is_of_self_checks() => {
                self.settle(active.settles.or(Some(later(now, self.window()))));
            }
            _ => {}
        }
        self.rule();
    }

    /// Begins a doubt when too much is bad, and sees whether one may end.
    fn review(&mut self, now: Instant) {
        self.forget(now);
        let Some(config) = &self.config else { return };
        let (doubt, excess) = match (config.of, self.active) {
            (Population::Vips, _) => {
                let bad = if self.active.is_some() { self.doubted.len() } else { self.bad.len() };
                let of = self.healthy + bad;
                (Doubt::Vips { bad, of }, exceeds(config, bad, of))
            }
            (Population::Backends, _) => {
                let bad = self.backends_by_time.len();
                let of = self.backends_up + bad;
                (Doubt::Backends { bad, of }, exceeds(config, bad, of))
            }
        };
        match &mut self.active {
            None if excess => self.begin(now, doubt),
            None => {}
            // It ends with theirs.
            Some(active) if active.is_of_self_checks() => {}
            Some(active) if excess => active.settles = None,
            Some(active) => active.settles = active.settles.or(Some(later(now, config.window))),
        }
    }

    /// What turned bad long ago is not part of what happens now. As long as there is a doubt, nothing is forgotten.
    fn forget(&mut self, now: Instant) {
        let window = self.window();
        let is_old = |since: Instant| later(since, window) <= now;
        if self.active.is_some() {
            return;
        }
        while let Some((since, _)) = self.bad.first().copied().filter(|(since, _)| is_old(*since)) {
            let _old = self.bad.pop_first();
            debug_assert!(is_old(since));
        }
        while let Some((since, backend)) = self.backends_by_time.first().copied().filter(|(since, _)| is_old(*since)) {
            self.backends_by_time.remove(&(since, backend));
            self.backends_down.remove(&backend);
        }
    }

    /// A self-check has failed while others were doubted.
    fn blame_ourselves(&mut self, now: Instant) {
        let again = later(now, self.window());
        if let Some(active) = self.active.as_mut().filter(|active| !active.is_of_self_checks()) {
            (active.ours, active.exonerates, active.asks) = (true, None, Some(again));
        }
    }

    fn settle(&mut self, at: Option<Instant>) {
        if let Some(active) = &mut self.active {
            active.settles = at;
        }
    }

    fn ask(&mut self) {
        self.unconfirmed = self.by_check.keys().copied().collect();
        self.asks.extend(&self.unconfirmed);
    }

    fn begin(&mut self, now: Instant, doubt: Doubt) {
        self.forget(now);
        let limit = self.config.as_ref().map_or(Some(FailStatic::LIMIT), |config| config.limit);
        let until = limit.map(|limit| later(now, limit));
        let from = now.checked_sub(self.window()).unwrap_or(now);
        self.active =
            Some(Active { doubt, since: now, from, until, settles: None, asks: None, ours: false, exonerates: None });
        self.events.push(GuardEvent::Began { doubt, until });
        if !matches!(doubt, Doubt::SelfCheck(_)) {
            self.ask();
        }
        self.rule();
    }

    fn end(&mut self, now: Instant, why: DoubtEnd) {
        self.active = None;
        self.unconfirmed.clear();
        self.asks.clear();
        self.events.push(GuardEvent::Ended { why, unhealthy: self.doubted.len() });
        if why == DoubtEnd::Limit || why == DoubtEnd::SelfChecksPass {
            // What was doubted has been decided upon: it is not the beginning of the next doubt.
            self.bad.clear();
            self.backends_by_time.clear();
            self.backends_down.clear();
        }
        self.forget(now);
    }

    fn rule(&mut self) {
        let failing = |own: &SelfCheck| own.on_failure == OnFailure::Withdraw && !own.failing.is_empty();
        self.ruling = Ruling {
            doubt: self.active.map(|active| (active.doubt, active.from)),
            broken: self.self_checks.iter().position(failing),
        };
    }
}

impl SelfCheck {
    fn holds(&self) -> bool {
        self.on_failure == OnFailure::Hold && !self.failing.is_empty() && !self.spent
    }
}

fn exceeds(config: &FailStatic, bad: usize, of: usize) -> bool {
    bad >= config.minimum && bad * 100 > of * usize::from(config.share)
}
