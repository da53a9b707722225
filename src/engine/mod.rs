//! The whole daemon without the world: owns every core and routes between them.
//!
//! Driven by `driver::reactor` in production and by `tests/sim` in virtual time. [`Engine::handle`] one [`Input`],
//! then drain [`Engine::poll_output`], then ask [`Engine::poll_timeout`].

pub mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::announce::{Announce, ServiceHealth, VipEvent};
use crate::bgp::error::Notification;
use crate::bgp::peer::{self, Action, ConnId, Event, Peer};
use crate::config::{self, Config};
use crate::health::{Health, HealthEvent, ProbeOutcome, ProbeRequest, ServiceState, Ticket};
use crate::prefix::Prefix;
use crate::rib::Rib;
use crate::rng::Rng;
use crate::timers::Deadlines;

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
    /// A VIP changed.
    Vip(VipEvent),
    /// A peer changed.
    Peer(Arc<config::Peer>, peer::Notice),
    /// What a reload did to a peer; a reset is told before it happens.
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
