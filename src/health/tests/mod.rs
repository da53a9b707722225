//! Health from the outside, in virtual time.

mod alert;
mod combine;
mod drain;
mod quorum;
mod reload;
mod restore;
mod runs;
mod soak;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::config::{
    Backend, Check, CheckRef, Combine, Egress, ProbeKind, Protocol, Required, Service, TcpProbe, Timing,
};
use crate::timers::origin;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// One result makes a verdict, once a second.
fn at_once() -> Timing {
    Timing { rise: 1, fall: 1, ..Timing::default() }
}

fn check(port: u16, timing: Timing) -> Check {
    Check {
        probe: Arc::new(Probe {
            target: address(port),
            egress: Egress::default(),
            kind: ProbeKind::Tcp(TcpProbe::CONNECT),
        }),
        timing,
    }
}

/// A backend on this port with these checks, by index.
fn backend(port: u16, checks: &[usize]) -> Backend {
    let checks = checks.iter().map(|check| CheckRef { name: "tcp".into(), check: *check, advisory: false }).collect();
    Backend { address: address(port), weight: 1, enabled: true, sorry: false, checks, combine: Combine::All }
}

fn service(name: &str, vips: &[&str], required: Required, backends: Vec<Backend>) -> Service {
    let vips = vips.iter().map(|vip| vip.parse().unwrap()).collect();
    Service {
        name: name.into(),
        vips,
        protocol: Protocol::Tcp,
        port: 80,
        last_port: 80,
        required: required.into(),
        backends,
        disable: None,
    }
}

fn config(checks: Vec<Check>, services: Vec<Service>) -> Arc<Config> {
    Arc::new(Config { checks, services, ..Config::default() })
}

/// A service of one backend per check, all on ports of their own.
fn simple(checks: usize, timing: Timing) -> Arc<Config> {
    let ports = 1..=checks as u16;
    let backends = ports.clone().map(|port| backend(port, &[usize::from(port) - 1])).collect();
    let service = service("web", &["192.0.2.1"], Required::Backends(1), backends);
    config(ports.map(|port| check(port, timing)).collect(), vec![service])
}

fn outcome(passed: bool) -> ProbeOutcome {
    ProbeOutcome::new(passed, if passed { "fine" } else { "refused" }, MS)
}

/// What a target does with a probe.
#[derive(Clone, Copy, Debug)]
enum Target {
    Passes(Duration),
    Fails(Duration),
    /// The worker never comes back.
    Hangs,
    /// No worker takes it.
    Queues,
}

/// Plays the driver: workers, their results, and a loop that only wakes when it must.
struct World {
    now: Instant,
    health: Health,
    /// By port; targets not named pass after a millisecond.
    targets: BTreeMap<u16, Target>,
    /// Starts that no one has told of yet.
    started: Vec<(Ticket, Instant)>,
    /// Results by the time they are there, whether they wake the loop, and to be told of.
    results: BTreeMap<(Instant, u64), (Ticket, ProbeOutcome, bool)>,
    /// When each port's probe was handed out, and when it was due.
    starts: Vec<(u16, Instant, Instant)>,
    events: Vec<HealthEvent>,
    /// How much of which service was healthy, as told.
    shares: Vec<(usize, Share)>,
    wakes: usize,
}

impl World {
    fn new(config: &Arc<Config>) -> World {
        let now = origin();
        let mut world = World {
            now,
            health: Health::new(),
            targets: BTreeMap::new(),
            started: Vec::new(),
            results: BTreeMap::new(),
            starts: Vec::new(),
            events: Vec::new(),
            shares: Vec::new(),
            wakes: 0,
        };
        world.configure(config, false);
        world
    }

    fn configure(&mut self, config: &Arc<Config>, announced: bool) {
        self.health.configure(self.now, config.clone(), &|_| announced);
        self.turn();
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let prompt = self.results.iter().find(|(_, (.., wakes))| *wakes).map(|((at, _), _)| *at);
            let next = [prompt, self.health.poll_timeout()].into_iter().flatten().min();
            match next.filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
            self.wakes += 1;
            self.turn();
        }
        self.now = end;
    }

    /// One turn of the loop: what has arrived first, then the timeout.
    fn turn(&mut self) {
        for (ticket, at) in std::mem::take(&mut self.started) {
            self.health.probe_started(ticket, at);
        }
        let later = self.results.split_off(&(self.now + Duration::from_nanos(1), 0));
        for (ticket, outcome, _) in std::mem::replace(&mut self.results, later).into_values() {
            self.health.probe_finished(self.now, ticket, outcome);
        }
        if self.health.poll_timeout().is_some_and(|at| at <= self.now) {
            self.health.handle_timeout(self.now);
            assert!(self.health.poll_timeout().is_none_or(|at| at > self.now), "a busy loop");
        }
        while let Some(request) = self.health.poll_probe() {
            self.take(&request);
        }
        while let Some(event) = self.health.poll_event() {
            match event {
                HealthEvent::Share { service, share } => self.shares.push((service, share)),
                event => self.events.push(event),
            }
        }
        self.health.checks.check_invariants();
    }

    fn take(&mut self, request: &ProbeRequest) {
        let port = request.probe.target.port();
        self.starts.push((port, self.now, request.due));
        let (passed, took) = match self.targets.get(&port).copied().unwrap_or(Target::Passes(MS)) {
            Target::Passes(took) => (true, took),
            Target::Fails(took) => (false, took),
            Target::Hangs => return self.started.push((request.ticket, self.now)),
            Target::Queues => return,
        };
        self.started.push((request.ticket, self.now));
        let outcome = ProbeOutcome { took, ..outcome(passed) };
        let wakes = request.expected != Some(Finding::plain(passed));
        self.results.insert((self.now + took, request.ticket.generation), (request.ticket, outcome, wakes));
    }

    /// When this port's probe was handed out, from the beginning of virtual time.
    fn starts_of(&self, port: u16) -> Vec<Duration> {
        let first = self.starts[0].1;
        self.starts.iter().filter(|(of, ..)| *of == port).map(|(_, at, _)| *at - first).collect()
    }

    fn state(&self) -> ServiceState {
        self.health.service_state(0)
    }

    fn passing(&self, check: usize) -> Option<bool> {
        self.health.check(check).passing
    }
}
