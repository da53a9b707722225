//! The whole daemon without the world: owns every core and routes between them.
//!
//! Driven by `driver::reactor` in production and by `tests/sim` in virtual time: [`Engine::handle`] the [`Input`]s at hand,
//! drain [`Engine::poll_output`], then ask [`Engine::poll_timeout`]. Decisions are made with each input; routes go out when
//! outputs are drained, so that whatever changed in one turn shares UPDATEs.
//!
//! Changes run downhill only: health → announce → RIB → peers → outputs. No core calls another.

pub mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::announce::{Announce, ServiceHealth, VipEvent, VipState};
use crate::bgp::error::Notification;
use crate::bgp::peer::{self, Action, Change, ConnId, Event, Peer, PeerStatus, State};
use crate::config::{self, Config};
use crate::health::{Health, HealthEvent, ProbeOutcome, ProbeRequest, ScheduleStatus, ServiceState, Ticket};
use crate::prefix::Prefix;
use crate::rib::Rib;
use crate::rng::Rng;
use crate::timers::Deadlines;
use status::Reason;

/// A peer. Never used twice: one that a reload brings back is a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// What the driver tells the engine.
#[derive(Debug)]
pub enum Input<'a> {
    /// Start, or reload.
    Configure(Arc<Config>),
    /// [`Engine::poll_timeout`] is due.
    Timeout,
    /// A worker took a probe.
    ProbeStarted(Ticket, Instant),
    /// A worker finished a probe.
    ProbeFinished(Ticket, ProbeOutcome),
    /// Something happened on a peer's connection.
    Peer(PeerId, ConnId, Event<'a>),
    /// Run every check now.
    CheckNow,
    /// Stop for good; the text goes to the peers (RFC 9003).
    Stop(String),
}

/// What the driver must do.
#[derive(Debug)]
pub enum Output {
    /// Run a probe.
    Probe(ProbeRequest),
    /// Open a TCP connection to this peer.
    Connect(PeerId, ConnId, Arc<config::Peer>),
    /// See [`Action::Send`].
    Send(PeerId, ConnId, Vec<u8>),
    /// See [`Action::Close`].
    Close(PeerId, ConnId),
    /// Tell the operator.
    Notice(Notice),
    /// Everything is withdrawn and said: the daemon may end once what is queued is sent.
    Stopped,
}

/// What operators hear. The indexes are those of the configuration in force.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A check, backend or service changed.
    Health(HealthEvent),
    /// A VIP changed, and why.
    Vip(VipEvent, Reason),
    /// A peer changed.
    Peer(Arc<config::Peer>, peer::Notice),
    /// What a reload does to a peer; told before it happens.
    PeerReload(Arc<str>, PeerReload),
}

/// What a reload does to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerReload {
    /// New.
    Added,
    /// Its session is closed (Cease, Peer De-configured: RFC 4486).
    Removed,
    /// Its session is kept and its routes are announced again where they differ.
    Readvertised,
    /// Its session is closed and opened again because of these keys.
    Reset(Vec<&'static str>),
}

/// After the withdrawal, how long a stopping daemon waits for slow peers to take it.
const STOP_FLUSH: Duration = Duration::from_secs(2);

/// A clean stop under way.
#[derive(Debug)]
struct Stopping {
    text: String,
    /// Set once everything is withdrawn: when not to wait for slow peers any longer.
    give_up_at: Option<Instant>,
    done: bool,
}

/// All state of the daemon.
#[derive(Debug)]
pub struct Engine {
    config: Arc<Config>,
    health: Health,
    announce: Announce,
    rib: Rib,
    peers: BTreeMap<PeerId, Peer>,
    next_peer: u64,
    peer_deadlines: Deadlines<PeerId>,
    /// Peers that were handed something since outputs were last drained.
    touched: BTreeSet<PeerId>,
    released: bool,
    stopping: Option<Stopping>,
    outputs: VecDeque<Output>,
    rng: Rng,
    /// The time of the last input: outputs happen then.
    now: Instant,
}

impl Engine {
    /// Does nothing until it is configured. `seed` is for jitter.
    pub fn new(now: Instant, seed: u64) -> Engine {
        Engine {
            config: Arc::default(),
            health: Health::new(),
            announce: Announce::new(),
            rib: Rib::default(),
            peers: BTreeMap::new(),
            next_peer: 0,
            peer_deadlines: Deadlines::new(),
            touched: BTreeSet::new(),
            released: false,
            stopping: None,
            outputs: VecDeque::new(),
            rng: Rng::new(seed),
            now,
        }
    }

    /// Takes one input to its conclusions. Any number may follow each other before outputs are drained.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Configure(config) => self.configure(now, config),
            Input::Timeout => self.timeout(now),
            Input::ProbeStarted(ticket, at) => self.health.probe_started(ticket, at),
            Input::ProbeFinished(ticket, outcome) => self.health.probe_finished(now, ticket, outcome),
            Input::Peer(id, conn, event) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.handle(now, conn, event, &self.rib);
                    self.touched.insert(id);
                }
            }
            Input::CheckNow => self.health.check_all_now(now),
            Input::Stop(text) => self.stop(now, text),
        }
        self.decide(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.tell_peers(self.now);
            self.finish_stop(self.now);
        }
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is next due; asked after outputs were drained. After a timeout handled at `t` always later
    /// than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref().and_then(|stopping| stopping.give_up_at);
        [self.health.poll_timeout(), self.announce.poll_timeout(), self.peer_deadlines.earliest(), stop]
            .into_iter()
            .flatten()
            .min()
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// A peer at a glance, by its name.
    pub fn peer_status(&self, name: &str) -> Option<PeerStatus> {
        self.peers.values().find(|peer| &*peer.config().name == name).map(Peer::status)
    }

    /// How the checks keep their times.
    pub fn schedule(&self) -> ScheduleStatus {
        self.health.schedule()
    }

    /// What a reload with `next` would do to the peers; peers that it leaves alone are not listed.
    pub fn change(&self, next: &Config) -> Vec<(Arc<str>, PeerReload)> {
        let mut wanted = wanted_peers(next);
        let mut changes = Vec::new();
        for peer in self.peers.values() {
            let name = peer.config().name.clone();
            let change = match wanted.remove(&name) {
                None => PeerReload::Removed,
                Some(next) => match peer.change(next) {
                    Change::Keep => continue,
                    Change::Readvertise => PeerReload::Readvertised,
                    Change::Reset(keys) => PeerReload::Reset(keys),
                },
            };
            changes.push((name, change));
        }
        changes.extend(wanted.into_keys().map(|name| (name.clone(), PeerReload::Added)));
        changes
    }

    fn configure(&mut self, now: Instant, config: Arc<Config>) {
        if self.stopping.is_some() {
            return; // nothing is begun any more
        }
        let announce = &self.announce;
        // Not `Degraded`: a service without a verdict leaves that route as it is, and one presumed up would mend it.
        let announced = |vip: &Prefix| announce.vip(vip).is_some_and(|vip| vip.state == VipState::Announced);
        self.health.configure(now, config.clone(), &announced);
        let health = &self.health;
        self.announce.configure(now, &config, &|service| service_health(health.service_state(service)));
        for (name, change) in self.change(&config) {
            self.outputs.push_back(Output::Notice(Notice::PeerReload(name, change)));
        }
        self.config = config;
        // Routes first: a kept peer then compares what it told its router with what is wanted now, once.
        self.decide(now);
        self.configure_peers(now);
    }

    fn configure_peers(&mut self, now: Instant) {
        let config = self.config.clone();
        let mut wanted = wanted_peers(&config);
        let mut removed = Vec::new();
        for (id, peer) in &mut self.peers {
            match wanted.remove(&peer.config().name) {
                Some(next) => peer.configure(now, next.clone(), &self.rib),
                None => {
                    peer.stop(now, Notification::peer_deconfigured());
                    removed.push(*id);
                }
            }
            self.touched.insert(*id);
        }
        let mut left = BTreeSet::new();
        for id in removed {
            self.collect(id);
            left.extend(self.peers.remove(&id).map(|peer| peer.config().endpoint()));
            self.peer_deadlines.set(id, None);
            self.touched.remove(&id);
        }
        let added: BTreeSet<_> = wanted.into_keys().collect();
        // In the order of the configuration, so that the operator's first peer is dialled first.
        for next in config.bgp.iter().flat_map(|bgp| &bgp.peers).filter(|peer| added.contains(&peer.name)) {
            let id = PeerId(self.next_peer);
            self.next_peer += 1;
            let mut peer = Peer::new(now, next.clone(), self.rng.bits());
            if left.contains(&next.endpoint()) {
                peer.follow(now);
            }
            if self.released {
                peer.release(now, &self.rib);
            }
            self.peers.insert(id, peer);
            self.touched.insert(id);
        }
    }

    fn timeout(&mut self, now: Instant) {
        if self.health.poll_timeout().is_some_and(|at| at <= now) {
            self.health.handle_timeout(now);
        }
        if self.announce.poll_timeout().is_some_and(|at| at <= now) {
            self.announce.handle_timeout(now);
        }
        while let Some(id) = self.peer_deadlines.expire(now) {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.handle_timeout(now, &self.rib);
                self.touched.insert(id);
            }
        }
    }

    fn stop(&mut self, now: Instant, text: String) {
        if self.stopping.is_some() {
            return;
        }
        // GRACEFUL_SHUTDOWN is for routers to see: without a session nobody would, and nobody waits.
        let drain = if self.is_heard() { self.config.daemon.shutdown_drain } else { Duration::ZERO };
        self.announce.stop(now, drain);
        self.stopping = Some(Stopping { text, give_up_at: None, done: false });
    }

    /// Lets conclusions run from the checks down to the RIB.
    fn decide(&mut self, now: Instant) {
        while let Some(probe) = self.health.poll_probe() {
            self.outputs.push_back(Output::Probe(probe));
        }
        while let Some(event) = self.health.poll_event() {
            if let HealthEvent::Service { service, state, .. } = &event {
                self.announce.service_changed(now, *service, service_health(*state));
            }
            self.outputs.push_back(Output::Notice(Notice::Health(event)));
        }
        // A service may stand on very many VIPs: what there is to say of it is looked up once.
        let mut known: Option<Reason> = None;
        while let Some(event) = self.announce.poll_event() {
            let reason = match known.take() {
                Some(reason) if reason.cause == event.cause => reason,
                _ => Reason::new(event.cause, &self.config, &self.health),
            };
            known = Some(reason.clone());
            self.outputs.push_back(Output::Notice(Notice::Vip(event, reason)));
        }
        while let Some((vip, wanted)) = self.announce.poll_route() {
            self.rib.set(vip, wanted);
        }
    }

    /// Hands what changed in the RIB to the peers, and what the peers want done to the driver.
    fn tell_peers(&mut self, now: Instant) {
        let changed = self.rib.take_changed();
        if !changed.is_empty() {
            for (id, peer) in &mut self.peers {
                peer.rib_changed(now, &changed, &self.rib);
                self.touched.insert(*id);
            }
        }
        // A stop ends the start-up wait too, but by then there is nothing to tell, not even that this is all.
        if !self.released && self.stopping.is_none() && self.announce.is_released() {
            self.released = true;
            for (id, peer) in &mut self.peers {
                peer.release(now, &self.rib);
                self.touched.insert(*id);
            }
        }
        for id in std::mem::take(&mut self.touched) {
            self.collect(id);
        }
    }

    /// Moves a peer's actions to the outputs and keeps its deadline.
    fn collect(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        while let Some(action) = peer.poll_action() {
            self.outputs.push_back(match action {
                Action::Connect(conn) => Output::Connect(id, conn, peer.config().clone()),
                Action::Send(conn, bytes) => Output::Send(id, conn, bytes),
                Action::Close(conn) => Output::Close(id, conn),
                Action::Notice(notice) => Output::Notice(Notice::Peer(peer.config().clone(), notice)),
            });
        }
        self.peer_deadlines.set(id, peer.poll_timeout());
    }

    /// Whether some router hears what we say.
    fn is_heard(&self) -> bool {
        self.peers.values().any(|peer| peer.status().state == State::Established)
    }

    /// Once all is withdrawn and the peers have it, or have had their time: says goodbye.
    fn finish_stop(&mut self, now: Instant) {
        if self.stopping.is_some() && !self.announce.is_stopped() && !self.is_heard() {
            // The last session ended during the drain.
            self.announce.stop(now, Duration::ZERO);
            self.decide(now);
            self.tell_peers(now);
        }
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        if stopping.done || !self.announce.is_stopped() {
            return;
        }
        let give_up_at = *stopping.give_up_at.get_or_insert(now + STOP_FLUSH);
        if now < give_up_at && !self.peers.values().all(Peer::is_synchronised) {
            return;
        }
        stopping.done = true;
        stopping.give_up_at = None;
        let notification = Notification::administrative_shutdown(&stopping.text);
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.stop(now, notification.clone());
            }
            self.collect(id);
        }
        self.peers.clear();
        self.peer_deadlines.clear();
        self.outputs.push_back(Output::Stopped);
    }
}

fn wanted_peers(config: &Config) -> BTreeMap<&Arc<str>, &Arc<config::Peer>> {
    config.bgp.iter().flat_map(|bgp| &bgp.peers).map(|peer| (&peer.name, peer)).collect()
}

fn service_health(state: ServiceState) -> ServiceHealth {
    match state {
        ServiceState::Undecided => ServiceHealth::Undecided,
        ServiceState::Up => ServiceHealth::Up,
        ServiceState::Down => ServiceHealth::Down,
    }
}
