//! What would happen: a configuration against results of checks that a file tells, in virtual time, with the same engine
//! as in the daemon. It has no peers; what it would announce is what it wants.

mod scenario;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::data_plane_job::DataPlaneOutcome;
use super::drain::Drain;
use super::ground::AddressAction;
use super::{Engine, Input, Notice, Output};
use crate::announce::{AddressNews, AggregateState};
use crate::config::{Attributes, Config};
use crate::health::{ProbeOutcome, Ticket};
use crate::prefix::Prefix;
use crate::wall::WallClock;

pub use scenario::{Action, Answer, Scenario, Step};

/// After the last event the story goes on until nothing is about to happen by itself, but not for longer than this.
const PATIENCE: Duration = Duration::from_secs(86_400);
/// And for at least so long: checks have to find what is so.
const LINGER: Duration = Duration::from_secs(60);
/// What a run takes.
const RUN: Duration = Duration::from_millis(1);

/// Something that would have happened.
#[derive(Clone, Debug)]
pub struct Told {
    /// When, from the beginning.
    pub at: Duration,
    /// What.
    pub notice: Notice,
    /// How the VIP or aggregate that it is about is announced from then on; `None` for not at all, or for other notices.
    pub route: Option<Arc<Attributes>>,
}

/// A run of a configuration through a scenario.
pub struct Simulation {
    engine: Engine,
    config: Arc<Config>,
    scenario: VecDeque<Step>,
    start: Instant,
    now: Instant,
    clock: WallClock,
    /// What each check finds from now on.
    answers: Vec<Answer>,
    /// What its next run finds instead.
    once: BTreeMap<usize, Answer>,
    /// Runs that are under way.
    runs: BTreeMap<(Instant, u64), (Ticket, ProbeOutcome)>,
    serial: u64,
    /// Addresses of VIPs that cannot be had.
    addresses_gone: BTreeSet<Prefix>,
    /// What the data plane says of VIPs that not all is well with.
    data_plane: BTreeMap<Prefix, Result<(), String>>,
    last: Duration,
    ends: Option<Duration>,
    told: VecDeque<Told>,
}

impl Simulation {
    /// From an instant on; which one it is does not matter. Peers are left out of the configuration.
    pub fn new(start: Instant, config: Config, scenario: Scenario) -> Simulation {
        let config = Arc::new(Config { bgp: None, gobgp: None, glb: None, ..config });
        let answers = vec![Answer { passed: scenario.passes_by_default, ..Answer::default() }; config.checks.len()];
        let last = scenario.steps.last().map(|step| step.at).unwrap_or_default();
        let ends = scenario.steps.iter().find(|step| matches!(step.action, Action::End)).map(|step| step.at);
        let mut simulation = Simulation {
            engine: Engine::new(start, 1),
            config: config.clone(),
            scenario: scenario.steps.into(),
            start,
            now: start,
            clock: WallClock::new(start, Duration::ZERO),
            answers,
            once: BTreeMap::new(),
            runs: BTreeMap::new(),
            serial: 0,
            addresses_gone: BTreeSet::new(),
            data_plane: BTreeMap::new(),
            last,
            ends,
            told: VecDeque::new(),
        };
        simulation.act_until_now();
        simulation.engine.handle(start, Input::Configure(config.clone()));
        // What is to be there without our doing is there, unless the story says otherwise.
        let required = config.vips.iter().filter(|(prefix, vip)| {
            vip.require_address && vip.bind.is_none() && !simulation.addresses_gone.contains(prefix)
        });
        let news: Vec<_> = required.map(|(prefix, _)| (*prefix, AddressNews::Present)).collect();
        simulation.engine.handle(start, Input::Addresses(news));
        simulation.drain();
        simulation
    }

    /// The configuration without its peers.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// How far the story is, from its beginning.
    pub fn age(&self) -> Duration {
        self.now - self.start
    }

    /// How each VIP and aggregate is announced now.
    pub fn routes(&self) -> BTreeMap<Prefix, Arc<Attributes>> {
        let prefixes = self.config.vips.keys().chain(self.config.aggregates.keys());
        prefixes.filter_map(|prefix| Some((*prefix, self.engine.announce.wanted(prefix)?))).collect()
    }

    fn next_moment(&self) -> Option<Instant> {
        let step = self.scenario.front().map(|step| self.start + step.at);
        let run = self.runs.first_key_value().map(|((at, _), _)| *at);
        let next = [step, run, self.engine.poll_timeout()].into_iter().flatten().min()?;
        let age = next.saturating_duration_since(self.start);
        let quiet = self.scenario.is_empty() && self.engine.announce.poll_timeout().is_none();
        let over = match self.ends {
            Some(ends) => age > ends,
            None => (quiet && age > self.last + LINGER) || age > self.last + PATIENCE,
        };
        (!over).then_some(next)
    }

    fn act_until_now(&mut self) {
        while self.scenario.front().is_some_and(|step| self.start + step.at <= self.now) {
            let Some(step) = self.scenario.pop_front() else { return };
            self.act(step.action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Answer { checks, answer, once } => {
                for check in checks {
                    if once {
                        self.once.insert(check, answer.clone());
                    } else if let Some(known) = self.answers.get_mut(check) {
                        known.clone_from(&answer);
                    }
                }
            }
            Action::Drain { target, time, reason } => {
                let since = self.clock.timestamp(self.now);
                let until = time.map(|time| since.after(time));
                // That there is such a target has been seen when the scenario was read.
                let _drained =
                    self.engine.drain(self.now, &self.clock, &target, Drain { reason, by: None, since, until });
            }
            Action::Undrain(target) => {
                let _undrained = self.engine.undrain(self.now, &target, None);
            }
            Action::Address { vip, present } => {
                let _changed = if present { self.addresses_gone.remove(&vip) } else { self.addresses_gone.insert(vip) };
                let news = if present { AddressNews::Present } else { AddressNews::Absent };
                self.engine.handle(self.now, Input::Addresses(vec![(vip, news)]));
            }
            Action::DataPlane { vip, result } => drop(self.data_plane.insert(vip, result)),
            Action::End => {}
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Probe(request) => {
                    self.engine.handle(self.now, Input::ProbeStarted(request.ticket, self.now));
                    let outcome = self.outcome(request.ticket);
                    self.serial += 1;
                    self.runs.insert((self.now + RUN, self.serial), (request.ticket, outcome));
                }
                Output::Notice(notice) => self.tell(notice),
                Output::Address(action) => self.change_address(&action),
                Output::DataPlane(job) => {
                    let result = self.data_plane.get(&job.vip).cloned().unwrap_or(Ok(()));
                    let outcome = DataPlaneOutcome { id: job.id, vip: job.vip, result, took: RUN };
                    self.engine.handle(self.now, Input::DataPlaneDone(outcome));
                }
                // Nobody is connected.
                _ => {}
            }
        }
    }

    fn change_address(&mut self, action: &AddressAction) {
        let news = match action {
            AddressAction::Add { prefix, .. } if self.addresses_gone.contains(prefix) => {
                (*prefix, AddressNews::Failed("it is not there in this story".to_owned()))
            }
            AddressAction::Add { prefix, .. } => (*prefix, AddressNews::Present),
            AddressAction::Remove { prefix, .. } => (*prefix, AddressNews::Absent),
        };
        self.engine.handle(self.now, Input::Addresses(vec![news]));
    }

    fn outcome(&mut self, ticket: Ticket) -> ProbeOutcome {
        let check = self.engine.health.check_of(ticket).unwrap_or(usize::MAX);
        let answer = self.once.remove(&check).or_else(|| self.answers.get(check).cloned()).unwrap_or_default();
        ProbeOutcome { weight: answer.weight, ..ProbeOutcome::new(answer.passed, answer.detail, RUN) }
    }

    fn tell(&mut self, notice: Notice) {
        let prefix = match &notice {
            Notice::Vip(event, _) => Some(event.vip),
            Notice::Aggregate(event, _) if event.to == Some(AggregateState::Announced) => Some(event.aggregate),
            _ => None,
        };
        let route = prefix.and_then(|prefix| self.engine.announce.wanted(&prefix));
        self.told.push_back(Told { at: self.age(), notice, route });
    }
}

impl Iterator for Simulation {
    type Item = Told;

    /// The next thing that would have happened; `None` when the story is over.
    fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            let next = self.next_moment()?;
            self.now = self.now.max(next);
            self.act_until_now();
            while let Some(run) = self.runs.first_entry().filter(|run| run.key().0 <= self.now) {
                let (ticket, outcome) = run.remove();
                self.engine.handle(self.now, Input::ProbeFinished(ticket, outcome));
            }
            if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
                self.engine.handle(self.now, Input::Timeout);
            }
            self.drain();
        }
    }
}
