//! The director's thread: the loop around the engine, which has no peers here.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::notify::{CheckRun, Queue, Subject, Transition, Word};
use super::rounds::Rounds;
use super::{Command, DirectorError, Healthy, Options, STOP_PATIENCE, Services, Use};
use crate::config::{Config, Probe, Workers};
use crate::driver::event::Event;
use crate::driver::notice::{self, Subjects};
use crate::driver::pool::{Report, RunProbe};
use crate::driver::pools::{Pools, runs};
use crate::driver::probe::Prober;
use crate::driver::{clock, load, wall_clock};
use crate::engine::drain::Drain;
use crate::engine::{Engine, Input, Notice, Output};
use crate::health::{HealthEvent, ProbeOutcome, Ticket};
use crate::prefix::Prefix;

/// A deadline that is due although it was just handled would keep the loop turning: the next one is this much later.
const BREATH: Duration = Duration::from_millis(1);
/// Without one, somebody looks all the same.
const IDLE: Duration = Duration::from_secs(3600);

/// Services that can be checked: what they name has been read.
pub(super) struct Prepared {
    config: Arc<Config>,
    run: RunProbe,
}

impl Prepared {
    /// May block on a slow disk.
    pub(super) fn new(services: Services, options: &Options) -> Result<Prepared, DirectorError> {
        let mut config = services.into_config();
        config.daemon.startup_deadline = options.startup_deadline;
        config.daemon.drain_time = options.drain_time;
        if let Some(workers) = options.workers {
            config.daemon.workers = Workers::Fixed(workers.clamp(1, crate::config::MAX_WORKERS));
        }
        if let Some(prober) = options.prober.clone() {
            let uses = uses(&config);
            let run: RunProbe = Arc::new(move |request| {
                prober.probe(request, uses.get(&request.probe).map(Vec::as_slice).unwrap_or_default())
            });
            return Ok(Prepared { config: Arc::new(config), run });
        }
        let config = load::supply(config).map_err(DirectorError::Refused)?;
        let prober = Prober::new(&config).map_err(DirectorError::Refused)?;
        Ok(Prepared { config: Arc::new(config), run: runs(Arc::new(prober)) })
    }
}

/// What each probe is for.
fn uses(config: &Config) -> BTreeMap<Arc<Probe>, Vec<Use>> {
    let mut uses: BTreeMap<Arc<Probe>, Vec<Use>> = BTreeMap::new();
    for service in &config.services {
        let vips: Arc<[Prefix]> = service.vips.clone().into();
        for backend in &service.backends {
            for check in backend.checks.iter().filter_map(|used| config.checks.get(used.check)) {
                let (name, vips, backend) = (service.name.clone(), vips.clone(), backend.address);
                let (protocol, port) = (service.protocol, service.port);
                let of_probe = uses.entry(check.probe.clone()).or_default();
                of_probe.push(Use { service: name, vips, protocol, port, backend });
            }
        }
    }
    uses
}

/// Everything that the thread works with.
pub(super) struct Work {
    engine: Engine,
    pools: Pools,
    subjects: Arc<Subjects>,
    commands: Receiver<Command>,
    /// A worker has something to say.
    woken: Receiver<()>,
    changes: Sender<()>,
    healthy: Healthy,
    notifications: Option<Queue>,
    rounds: Rounds,
    breath: Option<Instant>,
    /// Something is different since the last word of it.
    is_changed: bool,
}

impl Work {
    /// Checks begin at once; to be run on a thread.
    pub(super) fn new(
        prepared: Prepared,
        commands: Receiver<Command>,
        changes: Sender<()>,
        healthy: Healthy,
        notifications: Option<Queue>,
    ) -> io::Result<Work> {
        let (wake, woken) = bounded(1);
        // One that is there already does for both.
        let waking = move || {
            let _pending = wake.try_send(());
        };
        let pools = Pools::start(&prepared.config, prepared.run, waking)?;
        let mut work = Work {
            engine: Engine::new(clock(), crate::driver::daemon::seed()),
            pools,
            subjects: Arc::new(Subjects::new(prepared.config.clone())),
            commands,
            woken,
            changes,
            healthy,
            notifications,
            rounds: Rounds::default(),
            breath: None,
            is_changed: false,
        };
        work.take_on(prepared.config);
        Ok(work)
    }

    /// Until it is stopped, or its handle is gone.
    pub(super) fn run(mut self) {
        while self.turn() {}
        let _hanging = self.pools.stop();
        if let Some(queue) = self.notifications {
            queue.stop(STOP_PATIENCE);
        }
    }

    /// Whether there is another one.
    fn turn(&mut self) -> bool {
        let wait = self.deadline().map_or(IDLE, |at| at.saturating_duration_since(clock()));
        let command = select! {
            recv(self.commands) -> command => match command {
                Ok(command) => Some(command),
                Err(_) => return false,
            },
            recv(self.woken) -> _ => None,
            default(wait) => None,
        };
        self.take_reports();
        let now = clock();
        if self.timeout_at().is_some_and(|at| at <= now) {
            self.feed(now, Input::Timeout);
            self.breath = self.engine.poll_timeout().is_some_and(|at| at <= now).then(|| now + BREATH);
        }
        self.pools.watch(now, &self.engine.schedule());
        for hanging in self.pools.look(now) {
            log::warn!("{} has not come back from {}", hanging.worker, hanging.probe.place());
        }
        let goes_on = command.is_none_or(|command| self.obey(command));
        if std::mem::take(&mut self.is_changed) {
            // One that nobody has taken yet does for both.
            let _pending = self.changes.try_send(());
        }
        goes_on
    }

    fn timeout_at(&self) -> Option<Instant> {
        self.engine.poll_timeout().map(|at| self.breath.map_or(at, |breath| at.max(breath)))
    }

    fn deadline(&self) -> Option<Instant> {
        [self.timeout_at(), self.pools.deadline()].into_iter().flatten().min()
    }

    fn take_reports(&mut self) {
        let reports: Vec<Report> = self.pools.drain().collect();
        for report in reports {
            let now = clock();
            match report {
                Report::Started(ticket, at) => self.feed(now, Input::ProbeStarted(ticket, at)),
                Report::Finished(ticket, outcome) => {
                    self.tell_run(ticket, &outcome);
                    self.feed(now, Input::ProbeFinished(ticket, outcome));
                }
                Report::Returned(..) => self.pools.returned(now),
            }
        }
    }

    /// One input and what it causes.
    fn feed(&mut self, now: Instant, input: Input<'_>) {
        self.engine.handle(now, input);
        self.drain_outputs();
    }

    fn drain_outputs(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Probe(mut request) => {
                    if self.notifications.is_some() {
                        // Somebody wants to hear of every run when it is over, and not when the loop turns next.
                        request.expected = None;
                    }
                    self.pools.submit(request);
                }
                Output::Notice(notice) => self.notice(notice),
                // There are no peers, nothing is done to this host, and tripwires are not held.
                _ => {}
            }
        }
    }

    fn take_on(&mut self, config: Arc<Config>) {
        self.subjects = Arc::new(Subjects::new(config.clone()));
        if self.notifications.is_some() {
            self.rounds.configure(&config);
        }
        self.is_changed = true;
        self.feed(clock(), Input::Configure(config));
    }

    /// Whether it goes on.
    fn obey(&mut self, command: Command) -> bool {
        let (now, wall) = (clock(), wall_clock());
        // Who has gone away needs no answer.
        match command {
            Command::Configure(prepared, reply) => {
                if let Err(error) = self.pools.configure(&prepared.config, prepared.run) {
                    log::warn!("not every worker could be started: {error}");
                }
                self.take_on(prepared.config);
                let _gone = reply.send(());
            }
            Command::Status(reply) => drop(reply.send(self.engine.status(&wall))),
            Command::Frontends(reply) => drop(reply.send(self.engine.frontends())),
            Command::Drain(target, time, reason, reply) => {
                let since = wall.timestamp(now);
                let drain = Drain { reason, by: None, since, until: time.map(|time| since.after(time)) };
                let answer = self.engine.drain(now, &wall, &target, drain);
                self.drain_outputs();
                let _gone = reply.send(answer);
            }
            Command::Undrain(target, reply) => {
                let answer = self.engine.undrain(now, &target, None);
                self.drain_outputs();
                let _gone = reply.send(answer);
            }
            Command::CheckNow => self.feed(now, Input::CheckNow),
            Command::Stop => return false,
        }
        true
    }

    fn tell_run(&mut self, ticket: Ticket, outcome: &ProbeOutcome) {
        let Some(queue) = &self.notifications else { return };
        let Some(check) = self.engine.check_of(ticket) else { return };
        let Some(probe) = self.engine.config().checks.get(check).map(|check| check.probe.clone()) else { return };
        let at = wall_clock().timestamp(clock());
        queue.tell(Word::Check(CheckRun {
            at,
            probe,
            backends: self.rounds.users(check),
            passed: outcome.passed,
            failure: outcome.failure,
            detail: outcome.detail.clone(),
            took: outcome.took,
        }));
        self.rounds.ran(at, check, outcome.passed).into_iter().for_each(|round| queue.tell(Word::Round(round)));
    }

    fn notice(&mut self, notice: Notice) {
        self.is_changed = true;
        if let Notice::Vip(event, _) = &notice {
            let mut healthy = self.healthy.lock().unwrap_or_else(PoisonError::into_inner);
            let _changed = match self.engine.is_wanted(&event.vip) {
                true => healthy.insert(event.vip),
                false => healthy.remove(&event.vip),
            };
        }
        let Some(queue) = &self.notifications else { return };
        let Some(subject) = self.subject(&notice) else { return };
        let at = wall_clock().timestamp(clock());
        let notice = notice::Notice::Engine(self.subjects.clone(), notice);
        let mut text = Vec::new();
        notice::word(&notice, &mut |_, line| text.push(line));
        let document = Event::new(at, &notice).map(|event| event.line()).unwrap_or_default();
        queue.tell(Word::Transition(Box::new(Transition { at, subject, text: text.join("; "), document })));
    }

    fn subject(&self, notice: &Notice) -> Option<Subject> {
        let config = self.engine.config();
        Some(match notice {
            Notice::Vip(event, reason) => {
                Subject::Vip { vip: event.vip, from: event.from, to: event.to, reason: reason.to_string() }
            }
            Notice::Health(HealthEvent::Service { service, state, available, required, on_sorry }) => {
                let service = config.services.get(*service)?.name.clone();
                let (available, required) = (*available, *required);
                Subject::Service { service, state: *state, available, required, on_sorry: *on_sorry }
            }
            Notice::Health(HealthEvent::Backend { service, backend, up }) => {
                let service = config.services.get(*service)?;
                let address = service.backends.get(*backend)?.address;
                Subject::Backend { service: service.name.clone(), address, up: *up }
            }
            Notice::Health(HealthEvent::Check { check, passing, detail, .. }) => {
                let probe = config.checks.get(*check)?.probe.clone();
                Subject::Check { probe, passing: *passing, detail: detail.clone() }
            }
            Notice::Guard(..) => Subject::Guard,
            Notice::Drain(drain) => Subject::Drain(drain.clone()),
            _ => return None,
        })
    }
}
