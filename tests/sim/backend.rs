//! The servers that are checked, and the pool that checks them.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald::config::{self, Probe};
use herald::health::{ProbeOutcome, ProbeRequest, Ticket};
use herald::rng::Rng;

use crate::plan::{HOSTS, one_in};

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Within so many milliseconds.
    Answers(u64),
    /// With an error, at once.
    Refuses,
    /// With an error, within so many milliseconds.
    Fails(u64),
    /// Never.
    Hangs,
}

/// All servers.
#[derive(Debug)]
pub(crate) struct Servers(BTreeMap<IpAddr, Server>);

impl Servers {
    pub(crate) fn new(rng: &mut Rng) -> Servers {
        let mut servers = Servers::well();
        if one_in(rng, 2) {
            servers.flip(rng);
        }
        servers
    }

    /// All of them.
    pub(crate) fn well() -> Servers {
        Servers(HOSTS.iter().map(|host| (host.parse().unwrap(), Server::Answers(1))).collect())
    }

    /// From now on `host` answers like this.
    pub(crate) fn set(&mut self, host: &str, server: Server) {
        self.0.insert(host.parse().unwrap(), server);
    }

    /// Changes one server.
    pub(crate) fn flip(&mut self, rng: &mut Rng) -> (IpAddr, Server) {
        let host: IpAddr = HOSTS[rng.below(HOSTS.len() as u64) as usize].parse().unwrap();
        let server = match (self.0[&host], rng.below(4)) {
            (Server::Answers(..200), 0) => Server::Answers(450 + 10 * rng.below(20)), // too slow for some checks
            (Server::Answers(_), 1) => Server::Hangs,
            (Server::Answers(_), _) => Server::Refuses,
            (_, _) => Server::Answers(1 + rng.below(100)),
        };
        self.0.insert(host, server);
        (host, server)
    }

    /// Whether a check passes as things stand.
    pub(crate) fn passes(&self, probe: &Probe, timeout: Duration) -> bool {
        matches!(self.0.get(&probe.target.ip()), Some(Server::Answers(ms)) if Duration::from_millis(*ms) < timeout)
    }

    /// What a run that begins now will find, and after what time.
    fn run(&self, request: &ProbeRequest) -> ProbeOutcome {
        let passed = self.passes(&request.probe, request.timeout);
        let (took, detail) = match self.0.get(&request.probe.target.ip()) {
            Some(Server::Answers(ms)) if passed => (Duration::from_millis(*ms), "fine"),
            Some(Server::Fails(ms)) => (Duration::from_millis(*ms), "connection refused"),
            Some(Server::Refuses) => (Duration::from_micros(300), "connection refused"),
            _ => (request.timeout, "timed out"),
        };
        ProbeOutcome::new(passed, detail, took)
    }
}

/// What a worker tells the loop.
#[derive(Debug)]
pub(crate) enum Report {
    Started(Ticket, Instant),
    /// With the outcome, and whether it came before its limit.
    Finished(Ticket, ProbeOutcome, bool),
}

/// A worker's doing: it has taken a probe.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) request: ProbeRequest,
    pub(crate) outcome: ProbeOutcome,
    /// When the worker is free again and reports.
    pub(crate) ends: Instant,
    /// It outlasts its limit, whatever it reports then.
    pub(crate) stuck: bool,
}

/// The workers.
#[derive(Debug)]
pub(crate) struct Pool {
    workers: usize,
    busy: usize,
    queue: VecDeque<ProbeRequest>,
    /// Reports that the loop has not read yet.
    pub(crate) mailbox: Vec<Report>,
}

impl Pool {
    pub(crate) fn new(config: &config::Config) -> Pool {
        Pool { workers: config.worker_count(), busy: 0, queue: VecDeque::new(), mailbox: Vec::new() }
    }

    pub(crate) fn submit(&mut self, request: ProbeRequest) {
        self.queue.push_back(request);
    }

    /// No worker is free, and work waits.
    pub(crate) fn is_starved(&self) -> bool {
        self.busy >= self.workers && !self.queue.is_empty()
    }

    /// A free worker takes a probe. In `chaos` one may get stuck.
    pub(crate) fn take(&mut self, now: Instant, servers: &Servers, rng: &mut Rng, chaos: bool) -> Option<Run> {
        if self.busy >= self.workers {
            return None;
        }
        let request = self.queue.pop_front()?;
        self.busy += 1;
        self.mailbox.push(Report::Started(request.ticket, now));
        let outcome = servers.run(&request);
        let stuck = chaos && one_in(rng, 60);
        let mut ends = now + outcome.took;
        if stuck {
            ends = now + request.timeout + Duration::from_secs(6 + rng.below(20));
        }
        Some(Run { request, outcome, ends, stuck })
    }

    /// A worker has ended; says whether the loop must be woken.
    pub(crate) fn end(&mut self, run: &Run) -> bool {
        self.busy -= 1;
        self.mailbox.push(Report::Finished(run.request.ticket, run.outcome.clone(), !run.stuck));
        run.request.expected != Some(run.outcome.finding())
    }

    /// Takes workers away, or gives them back.
    pub(crate) fn seize(&mut self, workers: usize) {
        self.busy += workers;
    }

    pub(crate) fn give_back(&mut self, workers: usize) {
        self.busy -= workers;
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }
}
