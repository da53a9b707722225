//! The whole daemon without the world: owns every core and routes between them.
//!
//! Driven by `driver::reactor` in production and by `tests/sim` in virtual time: [`Engine::handle`] the [`Input`]s at hand,
//! drain [`Engine::poll_output`], then ask [`Engine::poll_timeout`]. Decisions are made with each input; routes go out when
//! outputs are drained, so that whatever changed in one turn shares UPDATEs.
//!
//! Changes run downhill only: health → announce → RIB → peers → outputs; and announce → gobgp → outputs. No core calls another.

pub mod aggregate;
pub mod data_plane_job;
mod decide;
pub mod drain;
pub mod foresee;
pub mod frontends;
pub mod glb;
pub mod ground;
mod outputs;
pub mod restart;
pub mod saved;
pub mod simulate;
pub mod status;
#[cfg(test)]
mod tests;
mod ways;
pub mod why;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::announce::{AddressNews, AggregateEvent, Announce, GuardEvent, Knowledge, VipEvent, VipState};
use crate::bgp::error::Notification;
use crate::bgp::peer::{self, ArrivalId, ConnId, Event, Peer, PeerStatus};
use crate::bgp::speaker::{self, Speaker};
use crate::config::{self, Config};
use crate::discovery::{self, Discovery};
use crate::glb::{self as tables, Glb};
use crate::gobgp::{self, Announcer};
use crate::health::{Health, HealthEvent, ProbeOutcome, ProbeRequest, ScheduleStatus, Ticket, WireAction};
use crate::prefix::Prefix;
use crate::timers::Deadlines;
use crate::wall::WallClock;
use aggregate::AggregateReason;
use data_plane_job::{DataPlaneJob, DataPlaneOutcome};
use drain::{DrainNotice, Drains, Target};
use ground::AddressAction;
use outputs::Outputs;
use status::Reason;

pub use crate::bgp::speaker::{Arrival, PeerId, PeerReload, Refusal, RefusalReason};

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
    /// The connection of a tripwire is made.
    WireOpened(Ticket),
    /// It has ended, or could not be made.
    WireEnded(Ticket),
    /// The ways to these addresses are others than they were, or gone.
    PathsChanged(Vec<IpAddr>),
    /// Somebody connected: [`Output::Accept`] or [`Output::TurnAway`] says what becomes of it.
    Arrival(Arrival),
    /// Something happened on a peer's connection.
    Peer(PeerId, ConnId, Event<'a>),
    /// Something happened on the connection to gobgpd's API.
    Gobgp(gobgp::Conn, gobgp::Event<'a>),
    /// An interface with unnumbered peers can be used, or cannot, and why; answers [`discovery::Action::Open`].
    LinkOpened(Arc<str>, Result<(), String>),
    /// Something came by such an interface.
    LinkReceived {
        /// The interface.
        interface: Arc<str>,
        /// Where it came from.
        source: IpAddr,
        /// The hop limit that it came with.
        hop_limit: Option<u8>,
        /// The ICMPv6 message.
        bytes: &'a [u8],
    },
    /// A job of GLB's tables is over.
    GlbDone(tables::Outcome),
    /// What is known of the addresses of VIPs, in order; answers [`Output::Address`].
    Addresses(Vec<(Prefix, AddressNews)>),
    /// A run of the data plane's hook is over; answers [`Output::DataPlane`].
    DataPlaneDone(DataPlaneOutcome),
    /// Run every check now.
    CheckNow,
    /// Stop for good; the text goes to the peers (RFC 9003).
    Stop(String),
    /// The same, without waiting for anything.
    StopAtOnce(String),
    /// Stop for a restart: nothing is withdrawn, and peers with graceful restart keep what they have (RFC 4724).
    Leave,
}

/// What the driver must do.
#[derive(Debug)]
pub enum Output {
    /// Run a probe.
    Probe(ProbeRequest),
    /// Open or close the connection of a tripwire.
    Wire(WireAction),
    /// Open a TCP connection to this peer.
    Connect(PeerId, ConnId, Arc<config::Peer>),
    /// See [`peer::Action::Accept`]; the peer's configuration says how.
    Accept(ArrivalId, PeerId, ConnId, Arc<config::Peer>),
    /// Nobody's connection: to be closed, after these octets.
    TurnAway(ArrivalId, Vec<u8>),
    /// See [`peer::Action::Send`].
    Send(PeerId, ConnId, Vec<u8>),
    /// See [`peer::Action::Close`].
    Close(PeerId, ConnId),
    /// Connect to gobgpd's API, send to it, or close that connection.
    Gobgp(gobgp::Output),
    /// Open, close or use an interface with unnumbered peers.
    Link(discovery::Action),
    /// Write GLB's tables; answered by [`Input::GlbDone`].
    Glb(tables::Job),
    /// Add or remove the address of a VIP; one after the other.
    Address(AddressAction),
    /// Run the hook that readies the data plane.
    DataPlane(DataPlaneJob),
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
    Vip(VipEvent, Arc<Reason>),
    /// The guard or a self-check, and what that means in words.
    Guard(GuardEvent, String),
    /// An aggregate changed, and why.
    Aggregate(AggregateEvent, AggregateReason),
    /// What operators drain changed.
    Drain(DrainNotice),
    /// A peer changed.
    Peer(Arc<config::Peer>, peer::Notice),
    /// The gobgpd of `[gobgp]`.
    Gobgp(gobgp::Notice),
    /// An interface with unnumbered peers.
    Discovery(discovery::Notice),
    /// GLB's tables.
    Glb(tables::Notice),
    /// Connections that routers made came to nothing.
    Refused(Refusal),
    /// What a reload does to a peer or range; told before it happens.
    PeerReload(Arc<str>, PeerReload),
}

/// After the withdrawal, how long a stopping daemon waits for slow peers to take it.
const STOP_FLUSH: Duration = Duration::from_secs(2);

/// A clean stop under way.
#[derive(Debug)]
struct Stopping {
    text: String,
    /// Not for a restart.
    for_good: bool,
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
    speaker: Speaker,
    gobgp: Announcer,
    /// When gobgpd, drained by an operator, is told of the withdrawal.
    gobgp_drained_at: Option<Instant>,
    /// There has been a configuration.
    has_ways: bool,
    discovery: Discovery,
    glb: Glb,
    /// What was announced before a restart, until the first configuration.
    remembered: BTreeSet<Prefix>,
    released: bool,
    drains: Drains,
    drain_ends: Deadlines<Target>,
    stopping: Option<Stopping>,
    outputs: Outputs,
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
            speaker: Speaker::new(seed),
            gobgp: Announcer::new(seed),
            gobgp_drained_at: None,
            has_ways: false,
            discovery: Discovery::new(seed),
            glb: Glb::new(),
            remembered: BTreeSet::new(),
            released: false,
            drains: Drains::default(),
            drain_ends: Deadlines::new(),
            stopping: None,
            outputs: Outputs::default(),
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
            Input::WireOpened(ticket) => self.health.wire_opened(now, ticket),
            Input::WireEnded(ticket) => self.health.wire_ended(now, ticket),
            Input::PathsChanged(paths) => paths.into_iter().for_each(|path| self.health.path_changed(now, path)),
            Input::Arrival(arrival) => self.speaker.accept(now, &arrival),
            Input::Peer(id, conn, event) => self.speaker.handle(now, id, conn, event),
            Input::Gobgp(conn, event) => self.gobgp.handle(now, conn, event),
            Input::LinkOpened(interface, Ok(())) => self.discovery.opened(now, &interface),
            Input::LinkOpened(interface, Err(error)) => self.discovery.failed(now, &interface, error),
            Input::LinkReceived { interface, source, hop_limit, bytes } => {
                self.discovery.received(now, &interface, source, hop_limit, bytes);
            }
            Input::GlbDone(outcome) => self.glb.done(now, outcome),
            Input::Addresses(news) => self.announce.address_news(now, news),
            Input::DataPlaneDone(done) => self.announce.prepared(now, &done.vip, done.id, done.result),
            Input::CheckNow => self.health.check_all_now(now),
            Input::Stop(text) => self.stop(now, text),
            Input::StopAtOnce(text) => self.stop_at_once(now, &text),
            Input::Leave => self.leave(now),
        }
        self.decide(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.tell_peers(self.now);
            self.finish_stop(self.now);
        }
        self.outputs.pop()
    }

    /// When [`Input::Timeout`] is next due; asked after outputs were drained. After a timeout handled at `t` always later
    /// than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref().and_then(|stopping| stopping.give_up_at);
        [
            self.health.poll_timeout(),
            self.announce.poll_timeout(),
            self.speaker.poll_timeout(),
            self.gobgp.poll_timeout(),
            self.gobgp_drained_at,
            self.discovery.poll_timeout(),
            self.glb.poll_timeout(),
            self.drain_ends.earliest(),
            stop,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What the wall clock shows; to be said again when it may have been set.
    pub fn set_clock(&mut self, clock: WallClock) {
        self.gobgp.set_clock(clock);
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// A peer at a glance, by its name.
    pub fn peer_status(&self, name: &str) -> Option<PeerStatus> {
        self.speaker.peer_named(name).map(Peer::status)
    }

    /// How many sessions with configured peers are up, and how many there are to be.
    pub fn sessions(&self) -> (usize, usize) {
        let all = self.speaker.peers().map(|(_, peer)| peer.state() == peer::State::Established);
        all.fold((0, 0), |(up, all), is_up| (up + usize::from(is_up), all + 1))
    }

    /// Whether the guard holds routes that would be withdrawn.
    pub fn is_doubting(&self) -> bool {
        self.announce.doubt().is_some()
    }

    /// How the checks keep their times.
    pub fn schedule(&self) -> ScheduleStatus {
        self.health.schedule()
    }

    /// What a reload with `next` would do to the peers; peers that it leaves alone are not listed.
    pub fn change(&self, next: &Config) -> Vec<(Arc<str>, PeerReload)> {
        let (peers, ranges) = peers(next);
        [self.speaker.change(peers), self.speaker.change_ranges(ranges)].concat()
    }

    fn configure(&mut self, now: Instant, config: Arc<Config>) {
        if self.stopping.is_some() {
            return; // nothing is begun any more
        }
        let announce = &self.announce;
        // Not `Degraded`: a service without a verdict leaves that route as it is, and one presumed up would mend it.
        let announced = |vip: &Prefix| announce.vip(vip).is_some_and(|vip| vip.state == VipState::Announced);
        self.health.configure(now, config.clone(), &announced);
        self.configure_glb(now, &config);
        let health = &self.health;
        let backends_up = |service| health.service(service).backends.iter().filter(|backend| backend.up).count();
        let known = Knowledge {
            service: &|service| decide::service_health(health.service_state(service)),
            share: &|service| decide::announced_share(health.service(service).share),
            passing: &|check| health.check(check).passing,
            backends_up: (0..config.services.len()).map(backends_up).sum(),
        };
        self.announce.configure(now, &config, &known);
        for (name, change) in self.change(&config) {
            self.outputs.push(Output::Notice(Notice::PeerReload(name, change)));
        }
        let before = std::mem::replace(&mut self.config, config);
        self.change_ways(now, &before);
        for prefix in std::mem::take(&mut self.remembered) {
            // What is configured no more is decided upon: nobody shall have it.
            if self.config.vips.contains_key(&prefix) || self.config.aggregates.contains_key(&prefix) {
                self.speaker.leave_undecided(prefix);
            }
        }
        // Routes first: a kept peer then compares what it told its router with what is wanted now, once.
        self.decide(now);
        let (peers, ranges) = peers(&self.config);
        self.speaker.configure(now, peers);
        self.speaker.configure_ranges(now, ranges);
        let unnumbered = peers.iter().filter_map(|peer| peer.session.unnumbered_interface());
        self.discovery.configure(&unnumbered.map(Arc::from).collect());
    }

    fn timeout(&mut self, now: Instant) {
        self.expire_drains(now);
        if self.health.poll_timeout().is_some_and(|at| at <= now) {
            self.health.handle_timeout(now);
        }
        if self.announce.poll_timeout().is_some_and(|at| at <= now) {
            self.announce.handle_timeout(now);
        }
        self.speaker.handle_timeout(now);
        self.expire_gobgp_drain(now);
        self.gobgp.handle_timeout(now);
        self.discovery.handle_timeout(now);
        self.expire_glb(now);
    }

    fn stop(&mut self, now: Instant, text: String) {
        if self.stopping.is_some() {
            return;
        }
        // GRACEFUL_SHUTDOWN is for routers to see: without a session nobody would, and nobody waits.
        let drain = if self.is_heard() { self.config.daemon.shutdown_drain } else { Duration::ZERO };
        self.announce.stop(now, drain);
        self.stopping = Some(Stopping { text, for_good: true, give_up_at: None, done: false });
    }

    /// Tells the peers what neighbours were found.
    fn discover(&mut self, now: Instant) {
        while let Some(action) = self.discovery.poll_action() {
            match action {
                discovery::Action::Found(interface, address) => self.speaker.found(now, &interface, address),
                discovery::Action::Notice(notice) => self.outputs.push(Output::Notice(Notice::Discovery(notice))),
                action => self.outputs.push(Output::Link(action)),
            }
        }
    }

    /// Hands what changed to the peers, and what the peers want done to the driver.
    fn tell_peers(&mut self, now: Instant) {
        // A stop ends the start-up wait too, but by then there is nothing to tell, not even that this is all.
        if !self.released && self.stopping.is_none() && self.announce.is_released() {
            self.released = true;
            self.speaker.release(now);
            self.gobgp.release(now);
        }
        self.discover(now);
        self.speaker.flush(now);
        self.collect();
        self.collect_gobgp(now);
        // A withdrawal first, and then what follows it.
        self.collect_ground();
        self.write_tables(now);
    }

    /// Moves what the speaker wants done to the outputs.
    fn collect(&mut self) {
        while let Some(output) = self.speaker.poll_output() {
            self.outputs.push(match output {
                speaker::Output::Connect(id, conn, peer) => Output::Connect(id, conn, peer),
                speaker::Output::Accept(arrival, id, conn, peer) => Output::Accept(arrival, id, conn, peer),
                speaker::Output::TurnAway(arrival, last_words) => Output::TurnAway(arrival, last_words),
                speaker::Output::Refused(refusal) => Output::Notice(Notice::Refused(refusal)),
                speaker::Output::Send(id, conn, bytes) => Output::Send(id, conn, bytes),
                speaker::Output::Close(id, conn) => Output::Close(id, conn),
                speaker::Output::Notice(
                    _,
                    peer::Notice::NoNextHop(family) | peer::Notice::FamilyNotNegotiated(family),
                ) if !self.has_routes_of(family) => {
                    continue;
                }
                speaker::Output::Notice(peer, notice) => Output::Notice(Notice::Peer(peer, notice)),
            });
        }
    }

    /// Once all is withdrawn and the peers have it, or have had their time: says goodbye.
    fn finish_stop(&mut self, now: Instant) {
        if self.stopping.as_ref().is_none_or(|stopping| stopping.done) {
            return;
        }
        if !self.announce.is_stopped() && !self.is_heard() {
            // The last session ended during the drain.
            self.announce.stop(now, Duration::ZERO);
            self.decide(now);
            self.tell_peers(now);
        }
        if !self.announce.is_stopped() {
            return;
        }
        let Some(stopping) = &mut self.stopping else { return };
        let give_up_at = stopping.give_up_at.unwrap_or(now + STOP_FLUSH);
        if stopping.give_up_at.replace(give_up_at).is_none() {
            // Withdraws what is left, and closes.
            self.gobgp.stop(now);
            self.collect_gobgp(now);
        }
        if now < give_up_at && !(self.speaker.is_synchronised() && self.gobgp.is_vacant()) {
            return;
        }
        let Some(stopping) = &mut self.stopping else { return };
        stopping.done = true;
        stopping.give_up_at = None;
        let notification = Notification::administrative_shutdown(&stopping.text);
        self.speaker.stop(now, &notification);
        self.collect();
        self.outputs.push(Output::Stopped);
    }
}

fn peers(config: &Config) -> (&[Arc<config::Peer>], &[Arc<config::PeerRange>]) {
    config.bgp.as_ref().map_or((&[], &[]), |bgp| (&bgp.peers, &bgp.ranges))
}
