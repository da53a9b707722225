//! One neighbour that we announce to: when to connect, what it has been told, what to tell it next.
//!
//! What happens on a connection is [`fsm`](super::fsm)'s. Here, `attempt` goes from one connection to the next, `retry`
//! knows when, `feed` is what flows on an Established one, and `restart` what the peer shall keep when it ends.

mod attempt;
mod feed;
mod restart;
mod retry;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use feed::Feed;
use retry::Backoff;

use super::error::Notification;
use super::fsm::{Connection, Session};
use super::restart::GracefulRestart;
use super::update::Encoding;
use crate::config;
use crate::prefix::{Family, Prefix};
use crate::rib::Rib;
use crate::rng::Rng;
use crate::timers::{TimerKind, Timers};

pub use super::cause::{Cause, Suspects};
pub use super::fsm::State;

/// A connection attempt of one peer. Never used twice, so what comes late from an old connection matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

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
    /// The attributes of so many routes, this one among them, do not fit a message: the peer does not get them.
    TooLarge(Prefix, usize),
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

/// A peer at a glance.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Of the FSM.
    pub state: State,
    /// Since when it is Established, or since when it is not: each attempt passes other states for a moment.
    pub since: Instant,
    /// Routes that the peer has been told of, per family in the order of [`Family::ALL`].
    pub advertised: [usize; 2],
    /// Families in use on the session; empty unless Established.
    pub families: Vec<Family>,
    /// Whether IPv4 routes may have an IPv6 next hop on the session (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer keeps our routes over a restart, and what it said of that (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Idle: time for the next attempt (IdleHoldTimer).
    Retry,
    /// Connect: TCP has had its time (ConnectRetryTimer).
    Connect,
}

impl TimerKind for Timer {
    const ALL: &'static [Timer] = &[Timer::Retry, Timer::Connect];

    fn index(self) -> usize {
        self as usize
    }
}

/// One neighbour.
#[derive(Debug)]
pub struct Peer {
    config: Arc<config::Peer>,
    rng: Rng,
    phase: Phase,
    /// As last told: where `phase` was after the last event.
    state: State,
    timers: Timers<Timer, 2>,
    backoff: Backoff,
    /// The next attempt goes without capabilities.
    plain_open: bool,
    /// After a restart of ours, until the peer has had End-of-RIB: what it may still hold of before.
    kept: Option<Arc<BTreeSet<Prefix>>>,
    released: bool,
    stopped: bool,
    /// Of the next attempt.
    next_conn: u64,
    attempt_at: Instant,
    since: Instant,
    established_count: u64,
    last_error: Option<(Cause, Instant)>,
    /// What the operator has heard since the last session, or since the start.
    told_causes: VecDeque<Cause>,
    actions: VecDeque<Action>,
}

/// Where the peer is, with what belongs to it there.
#[derive(Debug)]
enum Phase {
    Idle,
    Connect(ConnId),
    Up(Box<Link>),
}

/// A connection with TCP up.
#[derive(Debug)]
struct Link {
    id: ConnId,
    connection: Connection,
    local: IpAddr,
    remote: IpAddr,
    /// Since when Established, and what flows.
    feed: Option<(Instant, Feed)>,
    /// Too much waits for TCP.
    paused: bool,
}

impl Peer {
    /// Idle, and due to connect at once. `seed` is for jitter.
    pub fn new(now: Instant, config: Arc<config::Peer>, seed: u64) -> Peer {
        let mut timers = Timers::new();
        timers.set(Timer::Retry, Some(now));
        Peer {
            config,
            rng: Rng::new(seed),
            phase: Phase::Idle,
            state: State::Idle,
            timers,
            backoff: Backoff::default(),
            plain_open: false,
            kept: None,
            released: false,
            stopped: false,
            next_conn: 0,
            attempt_at: now,
            since: now,
            established_count: 0,
            last_error: None,
            told_causes: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// Another peer had this router until now: it first has to see the end of that one's session.
    pub fn follow(&mut self, now: Instant) {
        self.start_over(now);
    }

    /// The peer's configuration.
    pub fn config(&self) -> &Arc<config::Peer> {
        &self.config
    }

    /// What [`configure`](Self::configure) with `next` would do.
    pub fn change(&self, next: &config::Peer) -> Change {
        let keys = self.config.session.changes(&next.session);
        match (keys.is_empty(), self.config.live.same_routes(&next.live)) {
            (false, _) => Change::Reset(keys),
            (true, false) => Change::Readvertise,
            (true, true) => Change::Keep,
        }
    }

    /// Takes a new configuration: resets the session when it must (Cease, Other Configuration Change: RFC 4486),
    /// else announces again what differs. A peer that waits for its next attempt makes it now: whoever reloads may have
    /// mended something, and a person waits less gladly than a daemon.
    pub fn configure(&mut self, now: Instant, next: Arc<config::Peer>, rib: &Rib) {
        let change = self.change(&next);
        self.config = next;
        match change {
            Change::Keep => {}
            Change::Readvertise => {
                if let Phase::Up(link) = &mut self.phase
                    && let Some((_, feed)) = &mut link.feed
                {
                    let before: Vec<_> = feed.without_next_hop().collect();
                    feed.configure(self.config.clone());
                    let now_without = feed.without_next_hop().filter(|family| !before.contains(family));
                    self.actions.extend(now_without.map(|family| Action::Notice(Notice::NoNextHop(family))));
                }
            }
            Change::Reset(keys) => {
                self.reset(now, &keys);
                self.start_over(now);
            }
        }
        self.hurry(now);
        self.settle(now, rib);
    }

    /// Takes one event to completion. An event of a connection that is not this peer's is ignored.
    pub fn handle(&mut self, now: Instant, conn: ConnId, event: Event<'_>, rib: &Rib) {
        match (&mut self.phase, event) {
            (Phase::Connect(id), event) if *id == conn => match event {
                Event::Connected { local, remote } => self.connected(now, conn, local, remote),
                Event::ConnectFailed(error) => self.failed(now, Cause::ConnectFailed(error)),
                Event::Closed(error) => self.failed(now, Cause::Closed(error)),
                Event::Bytes(_) | Event::Sent(_) => {}
            },
            (Phase::Up(link), event) if link.id == conn => match event {
                Event::Bytes(bytes) => link.connection.receive(now, bytes),
                Event::Sent(octets) => link.connection.sent(now, octets),
                Event::Closed(error) => link.connection.closed(now, error),
                Event::Connected { .. } | Event::ConnectFailed(_) => {}
            },
            (Phase::Idle | Phase::Connect(_) | Phase::Up(_), _) => {}
        }
        self.settle(now, rib);
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant, rib: &Rib) {
        while let Some(timer) = self.timers.expire(now) {
            match (timer, &self.phase) {
                (Timer::Retry, Phase::Idle) => self.connect(now),
                (Timer::Connect, Phase::Connect(id)) => {
                    self.actions.push_back(Action::Close(*id));
                    self.failed(now, Cause::ConnectTimeout(Suspects::of(&self.config.session.transport)));
                }
                // Each is armed in its own phase only.
                (Timer::Retry | Timer::Connect, _) => {}
            }
        }
        if let Phase::Up(link) = &mut self.phase {
            link.connection.handle_timeout(now);
        }
        self.settle(now, rib);
        debug_assert!(self.poll_timeout().is_none_or(|at| at > now), "a timer that is due was left");
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connection = match &self.phase {
            Phase::Up(link) => link.connection.poll_timeout(),
            Phase::Idle | Phase::Connect(_) => None,
        };
        [self.timers.earliest(), connection].into_iter().flatten().min()
    }

    /// The next thing for the driver to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// These prefixes of the RIB may have changed: sends what differs, as far as the connection takes it now;
    /// the rest goes as [`Event::Sent`] reports room.
    pub fn rib_changed(&mut self, now: Instant, changed: &BTreeSet<Prefix>, rib: &Rib) {
        if let Some(feed) = self.feed_mut() {
            feed.rib_changed(changed, rib);
        }
        self.settle(now, rib);
    }

    /// Routes may flow from now on (the first verdicts are in). Before, a session comes up but no End-of-RIB is sent, and
    /// UPDATEs only to a peer that keeps routes over a restart of ours.
    pub fn release(&mut self, now: Instant, rib: &Rib) {
        if !std::mem::replace(&mut self.released, true)
            && let Some(feed) = self.feed_mut()
        {
            feed.start();
        }
        self.settle(now, rib);
    }

    /// Ends the session with this NOTIFICATION, and for good: no further attempt, and the peer drops our routes.
    pub fn stop(&mut self, now: Instant, notification: Notification) {
        self.stopped = true;
        let why = if notification.code == 6 && notification.subcode == 3 { "peer removed" } else { "stopped" };
        self.end_attempt(now, self.for_good(notification), why);
        self.check_invariants();
    }

    /// Whether everything that shall be told has been handed to the kernel, or there is no session to tell it on.
    pub fn is_synchronised(&self) -> bool {
        match &self.phase {
            Phase::Idle | Phase::Connect(_) => true,
            Phase::Up(link) => {
                link.feed.as_ref().is_none_or(|(_, feed)| feed.is_idle() && link.connection.unsent() == 0)
            }
        }
    }

    /// Where its session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether this peer has been told of `prefix` and not of its withdrawal.
    pub fn has_advertised(&self, prefix: &Prefix) -> bool {
        self.feed().is_some_and(|feed| feed.told().has_told(prefix))
    }

    /// At a glance.
    pub fn status(&self) -> PeerStatus {
        let session = self.session();
        let feed = self.feed();
        PeerStatus {
            state: self.state,
            since: self.since,
            advertised: Family::ALL.map(|family| feed.map_or(0, |feed| feed.told().told_count(family))),
            families: session.filter(|_| feed.is_some()).map(|session| session.families.clone()).unwrap_or_default(),
            extended_next_hop: session.is_some_and(|session| session.extended_next_hop),
            graceful_restart: self.restart().cloned(),
            without_next_hop: feed.map(|feed| feed.without_next_hop().collect()).unwrap_or_default(),
            last_error: self.last_error.as_ref().map(|(cause, _)| cause.clone()),
            last_error_at: self.last_error.as_ref().map(|(_, at)| *at),
            established_count: self.established_count,
            retry_at: self.timers.at(Timer::Retry),
            remote_as: session.map(|session| session.open.asn),
            remote_id: session.map(|session| session.open.router_id),
            hold_time: session.map(|session| session.hold_time),
            local_address: match &self.phase {
                Phase::Up(link) => Some(link.local),
                Phase::Idle | Phase::Connect(_) => None,
            },
        }
    }

    /// What the session settled that shapes UPDATEs, while Established.
    pub fn encoding(&self) -> Option<Encoding> {
        self.feed().and(self.session()).map(|session| session.encoding)
    }

    fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Up(link) => link.connection.session(),
            Phase::Idle | Phase::Connect(_) => None,
        }
    }

    fn feed(&self) -> Option<&Feed> {
        match &self.phase {
            Phase::Up(link) => link.feed.as_ref().map(|(_, feed)| feed),
            Phase::Idle | Phase::Connect(_) => None,
        }
    }

    fn feed_mut(&mut self) -> Option<&mut Feed> {
        match &mut self.phase {
            Phase::Up(link) => link.feed.as_mut().map(|(_, feed)| feed),
            Phase::Idle | Phase::Connect(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
