//! What must hold, and how often it was put to the test: a second, slower mind about health that knows from the runs
//! of the checks what each backend, service and VIP can be. Where Herald has a choice, so has it: it keeps sets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald::config::{Aggregate, Attributes, Check, Config, OnDown, Origin, Probe, Vip};
use herald::health::Ticket;
use herald::prefix::{Family, Prefix};

use crate::router::Router;
use crate::wire::Route;

/// Counts how often each rule was really tested.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// The first verdicts are in, or the start-up deadline has passed.
    pub(crate) may_send: bool,
    pub(crate) updates: u64,
}

impl Rules {
    pub(crate) fn count(&mut self, rule: &'static str) {
        *self.counts.entry(rule).or_default() += 1;
    }
}

/// What something may be: a set, for the outside does not always tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct May {
    pub(crate) up: bool,
    pub(crate) down: bool,
    pub(crate) undecided: bool,
}

pub(crate) const UP: May = May { up: true, down: false, undecided: false };
pub(crate) const DOWN: May = May { up: false, down: true, undecided: false };
pub(crate) const UNDECIDED: May = May { up: false, down: false, undecided: true };

impl May {
    fn or(self, other: May) -> May {
        May { up: self.up || other.up, down: self.down || other.down, undecided: self.undecided || other.undecided }
    }
}

/// One check's runs.
#[derive(Debug)]
struct Runs {
    may: May,
    /// Passes and failures in a row: the fewest and the most that it can be.
    passes: (u32, u32),
    failures: (u32, u32),
    current: Option<Ticket>,
    /// The current run outlasts its limit, so it may count as a failure from its start on.
    doubtful: bool,
}

/// The second mind.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) config: Arc<Config>,
    checks: BTreeMap<Arc<Probe>, Runs>,
    tickets: BTreeMap<Ticket, Arc<Probe>>,
    backends: BTreeMap<(Arc<str>, SocketAddr), May>,
    services: BTreeMap<Arc<str>, May>,
    /// Since when a VIP has surely been healthy, and since when it may have been.
    surely_up: BTreeMap<Prefix, Instant>,
    maybe_up: BTreeMap<Prefix, Instant>,
    /// VIPs that Herald says it announces.
    pub(crate) announced: BTreeSet<Prefix>,
    /// Something may have changed since the tables were last compared.
    pub(crate) stale: bool,
}

impl Runs {
    fn record(&mut self, check: &Check, passed: bool) {
        let timing = &check.timing;
        if passed {
            self.failures = (0, 0);
            self.passes = (self.passes.0 + 1, self.passes.1 + 1);
        } else {
            self.passes = (0, 0);
            self.failures = (self.failures.0 + 1, self.failures.1 + 1);
        }
        self.judge(timing.rise, timing.fall);
    }

    /// The run may count as a failure by now.
    fn doubt(&mut self, check: &Check) {
        self.doubtful = true;
        self.passes.0 = 0;
        self.failures.1 += 1;
        self.judge(check.timing.rise, check.timing.fall);
    }

    /// It has counted as a failure.
    fn settle_doubt(&mut self, check: &Check) {
        if std::mem::take(&mut self.doubtful) {
            self.failures.0 += 1;
            self.passes = (0, 0);
            self.judge(check.timing.rise, check.timing.fall);
        }
    }

    fn judge(&mut self, rise: u32, fall: u32) {
        if self.passes.0 >= rise {
            self.may = UP;
        } else if self.failures.0 >= fall {
            self.may = DOWN;
        } else {
            self.may.up |= self.passes.1 >= rise;
            self.may.down |= self.failures.1 >= fall;
        }
    }
}

impl Oracle {
    fn check_of(&self, probe: &Probe) -> Option<Check> {
        self.config.checks.iter().find(|check| *check.probe == *probe).cloned()
    }

    pub(crate) fn configure(&mut self, now: Instant, config: &Arc<Config>) {
        let old = std::mem::replace(&mut self.config, config.clone());
        let used: BTreeSet<_> = config.checks.iter().map(|check| check.probe.clone()).collect();
        assert_eq!(used.len(), config.checks.len(), "every probe has one timing: {:#?}", config.checks);
        self.checks.retain(|probe, _| used.contains(probe));
        self.tickets.retain(|_, probe| used.contains(probe));
        for probe in used {
            self.checks.entry(probe).or_insert(Runs {
                may: UNDECIDED,
                passes: (0, 0),
                failures: (0, 0),
                current: None,
                doubtful: false,
            });
        }
        let before = (std::mem::take(&mut self.backends), std::mem::take(&mut self.services));
        for service in &config.services {
            let known = old.services.iter().any(|other| other.name == service.name);
            let presumed = !known && service.vips.iter().all(|vip| self.announced.contains(vip));
            let backend_start = if presumed { UP } else { DOWN };
            for backend in &service.backends {
                let key = (service.name.clone(), backend.address);
                let may = before.0.get(&key).copied().unwrap_or(backend_start);
                self.backends.insert(key, may);
            }
            let may = before.1.get(&service.name).copied().unwrap_or(UNDECIDED);
            self.services.insert(service.name.clone(), may);
        }
        self.announced.retain(|vip| config.vips.contains_key(vip));
        self.derive(now, true);
    }

    pub(crate) fn requested(&mut self, now: Instant, ticket: Ticket, probe: &Arc<Probe>) {
        let check = self.check_of(probe).expect("only configured checks run");
        let runs = self.checks.get_mut(probe).expect("kept in step with the configuration");
        runs.settle_doubt(&check); // the next run begins when the last is judged
        runs.current = Some(ticket);
        self.tickets.retain(|_, other| other != probe);
        self.tickets.insert(ticket, probe.clone());
        self.derive(now, false);
    }

    /// A worker is stuck with this run.
    pub(crate) fn doubt(&mut self, now: Instant, ticket: Ticket) {
        if let Some((runs, check)) = self.runs(ticket) {
            runs.doubt(&check);
            self.derive(now, false);
        }
    }

    /// Herald gets a result; `timely` when it cannot have been given up yet.
    pub(crate) fn result(&mut self, now: Instant, ticket: Ticket, passed: bool, timely: bool) {
        if let Some((runs, check)) = self.runs(ticket) {
            if !timely {
                runs.settle_doubt(&check);
            } else {
                runs.record(&check, passed);
                runs.current = None;
            }
            self.derive(now, false);
        }
    }

    /// Whether this result, if it comes now, surely makes a new verdict.
    pub(crate) fn decides(&self, ticket: Ticket, passed: bool) -> bool {
        let Some(probe) = self.tickets.get(&ticket) else { return false };
        let (Some(runs), Some(check)) = (self.checks.get(probe), self.check_of(probe)) else { return false };
        match passed {
            true => !runs.may.up && runs.passes.0 + 1 >= check.timing.rise,
            false => !runs.may.down && runs.failures.0 + 1 >= check.timing.fall,
        }
    }

    fn runs(&mut self, ticket: Ticket) -> Option<(&mut Runs, Check)> {
        let probe = self.tickets.get(&ticket)?.clone();
        let check = self.check_of(&probe)?;
        let runs = self.checks.get_mut(&probe)?;
        (runs.current == Some(ticket)).then_some((runs, check))
    }

    /// From checks to backends, services and VIPs.
    fn derive(&mut self, now: Instant, reloaded: bool) {
        let config = self.config.clone();
        let mut changed = false;
        for service in &config.services {
            let (mut least, mut most, mut open, mut failing) = (0, 0, 0, false);
            for backend in &service.backends {
                let key = (service.name.clone(), backend.address);
                let checks = backend.checks.iter().map(|used| self.checks[&config.checks[used.check].probe].may);
                let may = backend_may(checks, self.backends[&key]);
                self.backends.insert(key, may.0);
                if backend.enabled && backend.weight > 0 {
                    least += usize::from(may.0 == UP);
                    most += usize::from(may.0.up);
                    open += usize::from(may.0.down && may.1);
                    failing |= may.0.down;
                }
            }
            let required = service.required.up.of(service.backends.len());
            let before = self.services[&service.name];
            let may = if least >= required {
                UP
            } else if most + open < required {
                DOWN
            } else {
                let up = May { up: most >= required, down: false, undecided: false };
                // A loss brings it down, and so does knowing enough.
                before.or(up).or(May { up: false, down: failing, undecided: false })
            };
            changed |= may != before;
            self.services.insert(service.name.clone(), may);
        }
        self.stale |= changed;
        if changed || reloaded {
            self.note_times(now);
        }
    }

    fn note_times(&mut self, now: Instant) {
        let config = self.config.clone();
        for (prefix, vip) in &config.vips {
            let may = self.vip(vip);
            let note = |since: &mut BTreeMap<Prefix, Instant>, holds: bool| match holds {
                true => drop(since.entry(*prefix).or_insert(now)),
                false => drop(since.remove(prefix)),
            };
            note(&mut self.surely_up, may == UP);
            note(&mut self.maybe_up, may.up);
        }
        self.surely_up.retain(|prefix, _| config.vips.contains_key(prefix));
        self.maybe_up.retain(|prefix, _| config.vips.contains_key(prefix));
    }

    /// All of its services must be up.
    pub(crate) fn vip(&self, vip: &Vip) -> May {
        let mays: Vec<May> = vip.services.iter().map(|at| self.services[&self.config.services[*at].name]).collect();
        May {
            up: mays.iter().all(|may| may.up),
            down: mays.iter().any(|may| may.down),
            undecided: mays.iter().any(|may| may.undecided),
        }
    }

    /// Every VIP's first verdict may be in: none is surely undecided.
    pub(crate) fn may_all_be_decided(&self) -> bool {
        self.config.vips.values().all(|vip| {
            let mays: Vec<May> = vip.services.iter().map(|at| self.services[&self.config.services[*at].name]).collect();
            mays.iter().any(|may| may.down) || mays.iter().all(|may| may.up)
        })
    }

    /// How a VIP must be announced now; `Err` when that is not certain.
    pub(crate) fn wanted(&self, now: Instant, prefix: &Prefix) -> Result<Option<Arc<Attributes>>, &'static str> {
        let vip = &self.config.vips[prefix];
        let may = self.vip(vip);
        if may == UP {
            let healthy = now - self.surely_up[prefix];
            let waits = !self.announced.contains(prefix) && healthy <= vip.hold_up.initial;
            return if waits && !vip.hold_up.initial.is_zero() {
                Err("hold-up")
            } else {
                Ok(Some(vip.attributes.clone()))
            };
        }
        // One service down decides, whatever the others are.
        let services = vip.services.iter().map(|at| self.services[&self.config.services[*at].name]);
        if services.into_iter().any(|may| may == DOWN) {
            return Ok(match &vip.on_down {
                OnDown::Withdraw => None,
                OnDown::Degrade(attributes) => Some(attributes.clone()),
            });
        }
        Err("undecided")
    }

    /// Whether enough members of an aggregate are healthy now; `None` when that is not certain.
    pub(crate) fn covers(&self, now: Instant, aggregate: &Aggregate) -> Option<bool> {
        let (mut healthy, mut open) = (0, 0);
        for member in &aggregate.members {
            match self.wanted(now, member) {
                Ok(wanted) => {
                    healthy +=
                        usize::from(wanted.is_some_and(|it| Arc::ptr_eq(&it, &self.config.vips[member].attributes)));
                }
                Err(_) => open += 1,
            }
        }
        let required = aggregate.required.of(aggregate.members.len());
        match (healthy >= required, healthy + open >= required) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        }
    }

    /// Herald says that it begins to announce this VIP as healthy.
    pub(crate) fn judge_announcement(&self, now: Instant, prefix: &Prefix, rules: &mut Rules) {
        let vip = &self.config.vips[prefix];
        let since = self.maybe_up.get(prefix);
        rules.count("announced with a reason");
        assert!(since.is_some(), "{prefix} is announced, but is {:?}", self.vip(vip));
        if !vip.hold_up.initial.is_zero() {
            rules.count("hold-up");
            assert!(since.is_some_and(|since| now - *since >= vip.hold_up.initial), "{prefix}: hold_up cut short");
        }
    }

    /// Herald says that it no longer announces this VIP as healthy.
    pub(crate) fn judge_withdrawal(&self, prefix: &Prefix, rules: &mut Rules) {
        rules.count("withdrawn with a reason");
        let may = self.vip(&self.config.vips[prefix]);
        assert!(may.down, "{prefix} is withdrawn, but is {may:?}");
    }
}

/// What a backend may be, and whether it may be without a verdict.
fn backend_may(checks: impl Iterator<Item = May>, before: May) -> (May, bool) {
    let (mut all_up, mut some_down, mut surely_down, mut open) = (true, false, false, false);
    for may in checks {
        all_up &= may.up;
        some_down |= may.down;
        surely_down |= may == DOWN;
        open |= may.undecided;
    }
    let open = open && !surely_down;
    let mut may = May { up: all_up, down: some_down, undecided: false };
    if open {
        may = may.or(before);
    }
    (may, open)
}

/// A route as this router must hold it; `None` when it must not.
pub(crate) fn route(router: &Router, prefix: &Prefix, attributes: &Attributes) -> Option<Arc<Route>> {
    let config = &router.config;
    let family = prefix.family();
    if !router.families()[family as usize] || !config.live.export.allows(prefix) {
        return None;
    }
    let internal = router.traits.asn == config.session.local_as.0;
    let own = &config.live.attributes;
    // To our own AS the path is empty, prepends and all: with our AS in it the router would see a loop.
    let prepends = attributes.as_path_prepend.or(own.as_path_prepend).unwrap_or(0);
    let communities = attributes.communities.iter().chain(&own.communities);
    let large_communities = attributes.large_communities.iter().chain(&own.large_communities);
    // The T bit: what has it does not leave the AS.
    let extended = attributes.extended_communities.iter().chain(&own.extended_communities);
    let extended = extended.map(|community| u64::from_be_bytes(community.0)).filter(|it| internal || it >> 62 & 1 == 0);
    Some(Arc::new(Route {
        origin: match attributes.origin.or(own.origin).unwrap_or_default() {
            Origin::Igp => 0,
            Origin::Egp => 1,
            Origin::Incomplete => 2,
        },
        as_path: vec![config.session.local_as.0; if internal { 0 } else { 1 + usize::from(prepends) }],
        next_hop: router.next_hop(family)?,
        med: attributes.med.or(own.med),
        local_pref: internal.then(|| attributes.local_pref.or(own.local_pref).unwrap_or(100)),
        communities: communities.map(|community| community.0).collect(),
        large_communities: large_communities.map(|community| (community.0, community.1, community.2)).collect(),
        extended_communities: extended.map(|it| ((it >> 32) as u32, it as u32)).collect(),
    }))
}

/// How long after its backend's death a check fails at the latest: the start that the death just missed, then `fall`
/// runs, each to its limit.
pub(crate) fn detection_limit(check: &Check) -> Duration {
    /// Given to a worker beyond the timeout before it is given up.
    const GRACE: Duration = Duration::from_millis(250);
    const TICK: Duration = Duration::from_millis(10);
    let timing = &check.timing;
    let run = timing.timeout + GRACE;
    let skipped = if timing.timeout > timing.interval { timing.timeout } else { Duration::ZERO };
    let first = timing.interval + skipped + TICK;
    first + (timing.fast_interval.max(run) + TICK) * (timing.fall - 1) + run
}

/// Everything that must be true of a family on a session once it is in step.
pub(crate) fn families(router: &Router) -> impl Iterator<Item = Family> + '_ {
    Family::ALL.into_iter().filter(|family| router.families()[*family as usize] && router.next_hop(*family).is_some())
}
