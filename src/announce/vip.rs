//! The rules for one VIP.

use std::sync::Arc;
use std::time::Instant;

use super::decision::{Circumstances, Decision, Route, Stage, later};
use super::guard::Ruling;
use super::hold::{Falls, Memory};
use super::ladder::{self, Place};
use super::needs::{Drained, Need, Needs, Verdict};
use super::{DrainedBy, Fault, Remembered, ServiceHealth, Share, VipCause, VipEvent, VipState, VipStatus};
use crate::config::{self, Attributes, Dependency, OnDown, RungAction};
use crate::prefix::Prefix;

/// A VIP that has turned bad and was announced as healthy until then.
#[derive(Clone, Copy, Debug)]
struct Fallen {
    /// How it was announced.
    route: Route,
    /// Before it fell: if that is doubted later on, it has not fallen.
    falls: Falls,
}

/// One VIP.
#[derive(Clone, Debug)]
pub(super) struct Vip {
    pub(super) prefix: Prefix,
    /// What was last told of it; `None` before the first [`show`](Self::show).
    pub(super) shown: Option<VipStatus>,
    /// How it is announced.
    pub(super) route: Option<Route>,
    /// The route that was last asked for.
    pub(super) wanted: Option<Arc<Attributes>>,
    config: config::Vip,
    pub(super) needs: Needs,
    /// The operator drains it, or everything.
    pub(super) drains: Drains,
    healthy_since: Option<Instant>,
    /// Since when it is bad: healthy no more, after it was.
    pub(super) bad_since: Option<Instant>,
    fallen: Option<Fallen>,
    falls: Falls,
    place: Place,
    climbs_at: Option<Instant>,
    /// In doubt it is kept on its rung; this is the one that it deserves.
    kept_from: Option<usize>,
    /// Of its services, by its policy.
    share: Share,
    /// Since when it is drained, whoever says so.
    drained_since: Option<Instant>,
    /// How it was announced before a restart; `None` once that is decided anew.
    pub(super) remembered: Option<Remembered>,
    /// VIPs that depend on this one, by their index.
    pub(super) dependents: Vec<usize>,
    /// Above that of every VIP that it depends on.
    pub(super) rank: u32,
    /// What these were last told.
    pub(super) said: ServiceHealth,
    /// It waits for its ground, after a restart.
    pub(super) waits: bool,
    /// The guard counts it among the healthy.
    pub(super) counts_as_healthy: bool,
}

/// What an operator may drain something with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drains {
    /// Itself.
    pub(super) own: bool,
    /// With everything.
    pub(super) all: bool,
}

/// What [`Vip::note`] found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It is as healthy as it was.
    None,
    /// It was healthy, and is not.
    TurnedBad,
    /// It was bad since then, and is no more.
    Recovered(Instant),
}

impl Vip {
    /// As configured, going on from what it was `before` under another configuration.
    pub(super) fn new(prefix: Prefix, config: &config::Vip, before: Option<Vip>, drains: Drains) -> Vip {
        let needs = Needs::new(config.policy, config.services.len(), config.depends_on.len());
        let (config, dependents) = (config.clone(), Vec::new());
        match before {
            Some(vip) => Vip { config, needs, drains, dependents, rank: 0, ..vip },
            None => Vip {
                prefix,
                shown: None,
                route: None,
                wanted: None,
                config,
                needs,
                drains,
                healthy_since: None,
                bad_since: None,
                fallen: None,
                falls: Falls::default(),
                place: Place::default(),
                climbs_at: None,
                kept_from: None,
                share: Share::default(),
                drained_since: None,
                remembered: None,
                dependents,
                rank: 0,
                said: ServiceHealth::Undecided,
                waits: false,
                counts_as_healthy: false,
            },
        }
    }

    /// Goes on from before a restart.
    pub(super) fn recall(&mut self, memory: &Memory) {
        self.falls = Falls::remembered(memory);
        self.healthy_since = memory.healthy_since;
    }

    /// What a restart has to know to go on; `None` when nothing holds it back, nor ever has.
    pub(super) fn memory(&self) -> Option<Memory> {
        let holds = self.shown.is_some_and(|shown| shown.state == VipState::Holding);
        (holds || self.falls.last.is_some()).then(|| self.falls.memory(self.healthy_since))
    }

    pub(super) fn config(&self) -> &config::Vip {
        &self.config
    }

    /// Whether it is kept on its rung, because what it deserves is doubted.
    pub(super) fn is_kept(&self) -> bool {
        self.kept_from.is_some()
    }

    /// How much of it is healthy, where it has a ladder.
    pub(super) fn share(&self) -> Share {
        self.share
    }

    pub(super) fn set_share(&mut self, share: Share) {
        self.share = share;
    }

    /// As a restart is to remember it: what is doubted was healthy.
    pub(super) fn stands(&self) -> VipState {
        match self.route {
            Some(Route::Healthy(0) | Route::Doubtful) => VipState::Announced,
            Some(Route::Healthy(_) | Route::Unhealthy) => VipState::Degraded,
            None => VipState::Withdrawn,
        }
    }

    /// The rung that it deserves, and whether that withdraws.
    fn deserved(&self) -> (usize, bool) {
        let rung = ladder::rung(&self.config.ladder, self.share);
        (rung, self.withdraws(rung))
    }

    fn withdraws(&self, rung: usize) -> bool {
        let rung = rung.checked_sub(1).and_then(|index| self.config.ladder.get(index));
        rung.is_some_and(|rung| rung.action == RungAction::Withdraw)
    }

    /// What makes it unhealthy.
    pub(super) fn fault(&self) -> Option<Fault> {
        match (self.needs.verdict(), self.deserved()) {
            (Verdict::Down(fault), _) => Some(fault),
            (Verdict::Up(_), (rung, true)) => Some(Fault::Rung(rung - 1)),
            (Verdict::Up(_) | Verdict::Undecided(_), _) => None,
        }
    }

    /// Whether it is known to be healthy. A drained service is as good as up: when it is back, nobody has to wait for
    /// `hold_up`.
    pub(super) fn is_healthy(&self) -> bool {
        matches!(self.needs.verdict(), Verdict::Up(_)) && self.fault().is_none()
    }

    /// Whether it is known to be healthy or not.
    pub(super) fn is_decided(&self) -> bool {
        !matches!(self.needs.verdict(), Verdict::Undecided(_))
    }

    /// Keeps the times since when it is healthy or bad, and since when it is drained.
    pub(super) fn note(&mut self, now: Instant, circumstances: &Circumstances) -> News {
        self.drained_since = self.drained_by().and(self.drained_since.or(Some(now)));
        let is_broken = circumstances.ruling.broken.is_some();
        let before = self.bad_since;
        let news = match (self.fault(), self.is_healthy()) {
            (Some(_), _) => {
                let was_healthy = self.healthy_since.is_some() || self.stands_healthy();
                if self.bad_since.is_none() && was_healthy {
                    self.bad_since = Some(now);
                    let falls = self.falls;
                    let fallen = |route| Fallen { route, falls };
                    self.fallen = self.announced_as().filter(|route| *route != Route::Unhealthy).map(fallen);
                }
                if before.is_none() && self.bad_since.is_some() { News::TurnedBad } else { News::None }
            }
            (None, _) => {
                (self.bad_since, self.fallen) = (None, None);
                before.map_or(News::None, News::Recovered)
            }
        };
        self.healthy_since = match self.is_healthy() && !is_broken {
            true => self.healthy_since.or(Some(now)),
            false => None,
        };
        self.keep_place(now, circumstances.ruling.doubt.is_some());
        news
    }

    /// Keeps where it stands on its ladder.
    fn keep_place(&mut self, now: Instant, in_doubt: bool) {
        (self.climbs_at, self.kept_from) = (None, None);
        // A reload may have made the ladder shorter.
        if self.place.rung > self.config.ladder.len() {
            self.place.begin(self.config.ladder.len());
        }
        if self.is_healthy() {
            let (rung, hold_up) = (self.deserved().0, self.falls.hold_up(&self.config.hold_up));
            match self.announced_as() {
                Some(Route::Healthy(_)) if in_doubt && rung > self.place.rung => self.kept_from = Some(rung),
                Some(Route::Healthy(_)) => self.climbs_at = self.place.deserve(now, rung, hold_up),
                _ => self.place.begin(rung),
            }
        }
    }

    /// Whether it is announced as healthy, or was before a restart.
    fn stands_healthy(&self) -> bool {
        matches!(self.announced_as(), Some(Route::Healthy(_) | Route::Doubtful))
    }

    /// What drains it, if anything does; the most particular word for it.
    fn drained_by(&self) -> Option<DrainedBy> {
        match (self.drains, self.needs.drained()) {
            (Drains { own: true, .. }, _) => Some(DrainedBy::Itself),
            (_, Some(Drained::Service(service))) => Some(DrainedBy::Service(service)),
            (_, Some(Drained::Dependency(dependency))) => Some(DrainedBy::Dependency(dependency)),
            (Drains { all: true, .. }, None) => Some(DrainedBy::All),
            (Drains { own: false, all: false }, None) => None,
        }
    }

    /// What it should be doing, and why.
    pub(super) fn decide(&self, now: Instant, circumstances: &Circumstances) -> Decision {
        let Circumstances { stage, ruling, .. } = *circumstances;
        match (stage, ruling.broken, self.drained_by()) {
            (Stage::Stopped, ..) => Decision::not(VipState::Withdrawn, VipCause::Stopping),
            (Stage::Draining, ..) => self.decide_in_drain(circumstances),
            (_, _, Some(by)) => self.decide_drained(now, by, circumstances),
            (_, Some(check), None) => Decision::not(VipState::Withdrawn, VipCause::SelfCheck(check)),
            (Stage::StartUp, None, None) => self.decide_at_start(),
            (Stage::Restart | Stage::Released, None, None) => self.decide_in_service(now, &ruling),
        }
    }

    fn decide_at_start(&self) -> Decision {
        let holding = |cause| Decision::not(VipState::Holding, cause);
        match (self.fault(), self.needs.verdict(), &self.config.on_down) {
            (Some(fault @ Fault::Rung(_)), ..) => Decision::not(VipState::Withdrawn, fault.cause()),
            (Some(fault), _, OnDown::Withdraw) => Decision::not(VipState::Withdrawn, fault.cause()),
            (None, Verdict::Undecided(need), _) => holding(undecided(need)),
            // Its route is decided, degraded or not, and goes out with the others.
            (Some(_), _, OnDown::Degrade(_)) | (None, ..) => holding(VipCause::StartUp),
        }
    }

    fn decide_in_service(&self, now: Instant, ruling: &Ruling) -> Decision {
        if let Some(fault) = self.fault() {
            return self.doubted(fault, ruling).unwrap_or_else(|| self.decide_unhealthy(fault));
        }
        let standing = self.announced_as();
        // While it waits for a verdict or for a hold, an announced route stays as it is.
        let waiting = |cause| match standing {
            Some(route) => Decision::announce(route, cause),
            None => Decision::not(VipState::Holding, cause),
        };
        if let Verdict::Undecided(need) = self.needs.verdict() {
            return waiting(undecided(need));
        }
        if !self.stands_healthy() {
            if let Some(until) = self.suppressed_until(now) {
                let route = standing.filter(|_| matches!(self.config.on_down, OnDown::Degrade(_)));
                return Decision { state: VipState::Suppressed, cause: VipCause::Suppressed(until), route };
            }
            if let Some(until) = self.falls.down_until(now, &self.config.hold_down) {
                return waiting(VipCause::HoldDown(until));
            }
            let hold_up = self.falls.hold_up(&self.config.hold_up);
            let until = later(self.healthy_since.unwrap_or(now), hold_up);
            if until > now {
                return waiting(VipCause::HoldUp(until));
            }
        }
        self.decide_healthy(ruling)
    }

    fn decide_healthy(&self, ruling: &Ruling) -> Decision {
        let rung = self.place.rung;
        if let (Some(deserved), Some((doubt, _))) = (self.kept_from, ruling.doubt) {
            let fault = Fault::Rung(deserved.saturating_sub(1));
            return Decision::announce(Route::Healthy(rung), VipCause::Doubted(doubt, fault));
        }
        let cause = match (rung.checked_sub(1), self.climbs_at) {
            (None, _) => VipCause::AllUp,
            (Some(index), Some(at)) => VipCause::Climb(index, at),
            (Some(index), None) => VipCause::Rung(index),
        };
        Decision::announce(Route::Healthy(rung), cause)
    }

    fn decide_unhealthy(&self, fault: Fault) -> Decision {
        match (&self.config.on_down, fault) {
            (OnDown::Degrade(_), Fault::Service(_) | Fault::Dependency(_)) => {
                Decision::announce(Route::Unhealthy, fault.cause())
            }
            _ => Decision::not(VipState::Withdrawn, fault.cause()),
        }
    }

    /// What becomes of it if it is doubted that it has this fault: it was announced as healthy until shortly before.
    fn doubted(&self, fault: Fault, ruling: &Ruling) -> Option<Decision> {
        let (doubt, from) = ruling.doubt?;
        let fallen = self.fallen.filter(|_| self.bad_since.is_some_and(|since| since >= from))?;
        let cause = VipCause::Doubted(doubt, fault);
        if self.config.doubtful.is_some() {
            return Some(Decision::announce(Route::Doubtful, cause));
        }
        Some(Decision { state: VipState::Frozen, cause, route: Some(fallen.route) })
    }

    /// RFC 8326: what is announced says so for a while before it goes, as long as it is healthy.
    fn decide_drained(&self, now: Instant, by: DrainedBy, circumstances: &Circumstances) -> Decision {
        let until = later(self.drained_since.unwrap_or(now), circumstances.drain_time);
        match self.still_announced(circumstances) {
            Some(route) if until > now => Decision::announce(route, VipCause::Draining(by, until)),
            _ => Decision::not(VipState::Drained, VipCause::Drained(by)),
        }
    }

    fn decide_in_drain(&self, circumstances: &Circumstances) -> Decision {
        match (self.still_announced(circumstances), self.fault()) {
            (Some(route), _) => Decision::announce(route, VipCause::Stopping),
            (None, Some(fault)) => Decision::not(VipState::Withdrawn, fault.cause()),
            (None, None) => Decision::not(VipState::Withdrawn, VipCause::Stopping),
        }
    }

    /// How it is announced, if it may stay so for a little longer. Degraded is for the unhealthy: being so is no news.
    fn still_announced(&self, circumstances: &Circumstances) -> Option<Route> {
        let Circumstances { ruling, kept, .. } = circumstances;
        // What was announced before a restart that nobody has seen is not announced for the sake of its end.
        let announced =
            if *kept { self.announced_as() } else { self.route.and_then(|route| self.as_configured(route)) };
        let route = announced.filter(|_| ruling.broken.is_none())?;
        let fault = self.fault().filter(|_| route != Route::Unhealthy);
        let doubted = fault.and_then(|fault| self.doubted(fault, ruling));
        match fault {
            Some(_) => doubted.and_then(|decision| decision.route),
            None => Some(route),
        }
    }

    /// How it is announced, or was before a restart, if it has such a route by its present configuration.
    fn announced_as(&self) -> Option<Route> {
        // After a restart the first verdict goes on from what was before: no `hold_up` again for a healthy VIP.
        let remembered = || self.remembered.filter(|_| self.is_decided()).map(|remembered| remembered.state);
        let route = self.route.or_else(|| match (remembered()?, &self.config.on_down) {
            (VipState::Degraded, OnDown::Degrade(_)) => Some(Route::Unhealthy),
            (VipState::Degraded, OnDown::Withdraw) if self.config.ladder.is_empty() => None,
            (VipState::Degraded, OnDown::Withdraw) => Some(Route::Healthy(self.config.ladder.len())),
            _ => Some(Route::Healthy(0)),
        })?;
        self.as_configured(route)
    }

    /// What becomes of a way to be announced by the present configuration.
    fn as_configured(&self, route: Route) -> Option<Route> {
        match route {
            Route::Healthy(rung) => Some(Route::Healthy(rung.min(self.config.ladder.len()))),
            Route::Unhealthy if self.config.on_down == OnDown::Withdraw => None,
            Route::Doubtful if self.config.doubtful.is_none() => Some(Route::Healthy(0)),
            route => Some(route),
        }
    }

    /// The route's attributes.
    pub(super) fn attributes(&self, route: Option<Route>) -> Option<Arc<Attributes>> {
        match (route?, &self.config.on_down) {
            (Route::Healthy(rung), _) => match rung.checked_sub(1).map(|index| self.config.ladder.get(index)) {
                Some(Some(config::Rung { action: RungAction::Announce(attributes), .. })) => Some(attributes.clone()),
                _ => Some(self.config.attributes.clone()),
            },
            (Route::Doubtful, _) => self.config.doubtful.clone(),
            (Route::Unhealthy, OnDown::Degrade(attributes)) => Some(attributes.clone()),
            (Route::Unhealthy, OnDown::Withdraw) => None,
        }
    }

    /// Takes on what was decided; what there is to tell of it.
    pub(super) fn show(&mut self, now: Instant, decision: &Decision) -> Option<VipEvent> {
        let Decision { state, cause, route } = *decision;
        self.keep_falls(now, decision);
        self.route = route;
        let before = self.shown;
        let since = match (before, self.remembered) {
            (Some(before), _) if before.state == state => before.since,
            (_, Some(remembered)) if remembered.state == state => remembered.since.unwrap_or(now),
            _ => now,
        };
        self.shown = Some(VipStatus { state, cause, since });
        let same = before.is_some_and(|before| before.state == state && !cause.is_news_after(&before.cause));
        let from = before.map(|before| before.state);
        (!same).then_some(VipEvent { vip: self.prefix, from, to: Some(state), cause })
    }

    fn keep_falls(&mut self, now: Instant, decision: &Decision) {
        let stood = self.stands_healthy();
        match decision.route {
            Some(Route::Healthy(_) | Route::Doubtful) => {
                // One whose fall is doubted has not fallen.
                if let (VipCause::Doubted(..), Some(fallen)) = (decision.cause, self.fallen) {
                    self.falls = fallen.falls;
                }
                self.falls.stand(now);
            }
            _ if stood && self.fault().is_some() => {
                let config::Vip { hold_up, hold_down, damping, .. } = &self.config;
                self.falls.fall(now, hold_up, hold_down, damping.as_ref());
            }
            _ => self.falls.leave(),
        }
    }

    fn suppressed_until(&self, now: Instant) -> Option<Instant> {
        self.config.damping.as_ref().and_then(|damping| self.falls.suppressed_until(now, damping))
    }

    /// The penalty for its falls now, and until when it is suppressed; `None` where there is no damping.
    pub(super) fn damping(&self, now: Instant) -> Option<(f64, Option<Instant>)> {
        let damping = self.config.damping.as_ref()?;
        Some((self.falls.penalty(now, damping), self.falls.suppressed_until(now, damping)))
    }

    /// What those that depend on it are to take it for.
    pub(super) fn health_for_dependents(&self, decision: &Decision, stage: Stage) -> ServiceHealth {
        use ServiceHealth::{Down, Drained, Undecided, Up};
        match (stage, decision.state) {
            (_, VipState::Drained) => Drained,
            _ if decision.is_leaving() => Drained,
            // Nothing is announced yet: it is taken for what it will be.
            (Stage::StartUp, _) => match self.needs.verdict() {
                Verdict::Undecided(_) => Undecided,
                _ if self.fault().is_some() => Down,
                _ => Up,
            },
            _ => match decision.route {
                Some(Route::Healthy(_) | Route::Doubtful) => Up,
                _ if decision.state == VipState::Holding => Undecided,
                _ => Down,
            },
        }
    }
}

fn undecided(need: Need) -> VipCause {
    match need {
        Need::Service(service) => VipCause::ServiceUndecided(service),
        Need::Dependency(dependency) => VipCause::DependencyUndecided(dependency),
    }
}

/// All that a VIP depends on.
pub(super) fn dependencies(config: &config::Vip) -> impl Iterator<Item = Dependency> {
    config.depends_on.iter().copied()
}
