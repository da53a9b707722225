//! One neighbour that we announce to: when to connect, what it has been told, what to tell it next.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::error::Notification;
use super::update::Encoding;
use crate::config;
use crate::prefix::{Family, Prefix};
use crate::rib::Rib;

/// A connection attempt of one peer. Never used twice, so what comes late from an old connection matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Waiting before the next attempt.
    Idle,
    /// Connecting.
    Connect,
    /// Waiting for the peer to connect.
    Active,
    /// Our OPEN is out.
    OpenSent,
    /// Both OPENs are good.
    OpenConfirm,
    /// Routes flow.
    Established,
}

/// What can happen to a connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// TCP is up.
    Connected {
        /// Our end.
        local: SocketAddr,
        /// Theirs.
        remote: SocketAddr,
    },
    /// TCP did not come up; the text is the system's.
    ConnectFailed(String),
    /// The connection is gone. `None` is an orderly end by the peer, a text an error.
    Closed(Option<String>),
    /// Received.
    Bytes(&'a [u8]),
    /// So many octets of what was to be sent are with the kernel now.
    Sent(usize),
}

/// What the driver must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a TCP connection as the peer's configuration says.
    Connect(ConnId),
    /// Queue octets, and report with [`Event::Sent`] as they go.
    Send(ConnId, Vec<u8>),
    /// Send what is queued, as far as it goes in a second, then close. No more events of this connection are wanted.
    Close(ConnId),
    /// Tell the operator.
    Notice(Notice),
}

/// What operators hear of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The state changed.
    State {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why; `None` for the ordinary way up.
        cause: Option<Cause>,
    },
    /// Routes of this family are not announced to this peer for want of a next hop.
    NoNextHop(Family),
    /// The peer did not offer this family.
    FamilyNotNegotiated(Family),
    /// The initial routes of this family are out, and so is End-of-RIB.
    Synchronised(Family, usize),
}

/// Why a session ended or did not come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// TCP did not come up.
    ConnectFailed(String),
    /// TCP did not come up within the connect timeout.
    ConnectTimeout,
    /// The peer closed TCP, or TCP broke.
    Closed(Option<String>),
    /// The peer said so.
    Received(Notification),
    /// We said so: an error of the peer's, a timer, a stop, a reset by reload.
    Sent(Notification, String),
}

/// How a reload changes a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Routes are announced again where their attributes differ; the session stays.
    Readvertise,
    /// The session must be reset; the keys that say so.
    Reset(Vec<&'static str>),
}

/// One neighbour.
#[derive(Debug)]
pub struct Peer {
    // private
}

/// A peer at a glance.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Of the FSM.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Routes that the peer has been told of, per family in the order of [`Family::ALL`].
    pub advertised: [usize; 2],
    /// Families in use on the session; empty unless Established.
    pub families: Vec<Family>,
    /// Families that are not announced for want of a next hop.
    pub without_next_hop: Vec<Family>,
    /// Why the last session ended or the last attempt failed; kept until the next session is up.
    pub last_error: Option<Cause>,
    /// When that was.
    pub last_error_at: Option<Instant>,
    /// How often Established was reached.
    pub established_count: u64,
    /// When the next attempt to connect is due, when Idle.
    pub retry_at: Option<Instant>,
    /// The AS that the peer said it is, when there is a session.
    pub remote_as: Option<config::Asn>,
    /// The peer's BGP Identifier, when there is a session.
    pub remote_id: Option<std::net::Ipv4Addr>,
    /// Negotiated, when there is a session.
    pub hold_time: Option<config::HoldTime>,
    /// Our address on the session.
    pub local_address: Option<IpAddr>,
}

impl Peer {
    /// Idle, and due to connect at once. `seed` is for jitter.
    pub fn new(now: Instant, config: Arc<config::Peer>, seed: u64) -> Peer {
        let _ = (now, config, seed);
        todo!()
    }

    /// The peer's configuration.
    pub fn config(&self) -> &Arc<config::Peer> {
        todo!()
    }

    /// What [`configure`](Self::configure) with `next` would do.
    pub fn change(&self, next: &config::Peer) -> Change {
        let _ = next;
        todo!()
    }

    /// Takes a new configuration: resets the session when it must (Cease, Other Configuration Change: RFC 4486),
    /// else announces again what differs.
    pub fn configure(&mut self, now: Instant, next: Arc<config::Peer>, rib: &Rib) {
        let _ = (now, next, rib);
        todo!()
    }

    /// Takes one event to completion. An event of a connection that is not this peer's is ignored.
    pub fn handle(&mut self, now: Instant, conn: ConnId, event: Event<'_>, rib: &Rib) {
        let _ = (now, conn, event, rib);
        todo!()
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant, rib: &Rib) {
        let _ = (now, rib);
        todo!()
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// The next thing for the driver to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// These prefixes of the RIB may have changed: sends what differs, as far as the connection takes it now;
    /// the rest goes as [`Event::Sent`] reports room.
    pub fn rib_changed(&mut self, now: Instant, changed: &BTreeSet<Prefix>, rib: &Rib) {
        let _ = (now, changed, rib);
        todo!()
    }

    /// Routes may flow from now on (the first verdicts are in). Before, a session comes up but neither UPDATE nor
    /// End-of-RIB is sent.
    pub fn release(&mut self, now: Instant, rib: &Rib) {
        let _ = (now, rib);
        todo!()
    }

    /// Ends the session with this NOTIFICATION, and for good: no further attempt.
    pub fn stop(&mut self, now: Instant, notification: Notification) {
        let _ = (now, notification);
        todo!()
    }

    /// Whether everything that shall be told has been handed to the kernel, or there is no session to tell it on.
    pub fn is_synchronised(&self) -> bool {
        todo!()
    }

    /// Whether this peer has been told of `prefix` and not of its withdrawal.
    pub fn has_advertised(&self, prefix: &Prefix) -> bool {
        let _ = prefix;
        todo!()
    }

    /// At a glance.
    pub fn status(&self) -> PeerStatus {
        todo!()
    }

    /// What the session settled that shapes UPDATEs, while Established.
    pub fn encoding(&self) -> Option<Encoding> {
        todo!()
    }
}
