//! One neighbour that we announce to: when to connect, what it has been told, what to tell it next.
//!
//! What happens on a connection is [`fsm`](super::fsm)'s. Here, `attempt` goes from one connection to the next, `retry`
//! knows when, `meeting` takes the connections that the neighbour makes and chooses among several, `feed` is what flows on
//! an Established one, and `restart` what the peer shall keep when it ends.

mod attempt;
mod feed;
mod meeting;
mod notice;
mod refusal;
mod restart;
mod retry;
mod unnumbered;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use feed::Feed;
use meeting::Visitor;
use refusal::Refusals;
use retry::Backoff;

use super::attribute::PathAttributes;
use super::capability::Capability;
use super::drain::Telling;
use super::error::Notification;
use super::fsm::{Connection, Session};
use super::restart::GracefulRestart;
use super::tally::{Counts, Tally};
use super::update::Encoding;
use crate::config;
use crate::prefix::{Family, Prefix};
use crate::rib::Rib;
use crate::rng::Rng;
use crate::timers::{TimerKind, Timers};

pub use super::cause::{Cause, Suspects};
pub use super::fsm::State;
pub use notice::Notice;

/// A connection attempt of one peer. Never used twice, so what comes late from an old connection matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// A connection that somebody made to us and that is nobody's yet: the driver's number for it, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArrivalId(pub u64);

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
    /// Take this connection, which the peer made, as the peer's configuration says. It is open already: only its end is
    /// an event.
    Accept(ConnId, ArrivalId),
    /// Queue octets, and report with [`Event::Sent`] as they go.
    Send(ConnId, Vec<u8>),
    /// Send what is queued, as far as it goes in a second, then close. No more events of this connection are wanted.
    Close(ConnId),
    /// Tell the operator.
    Notice(Notice),
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
    /// Whether an operator has drained it.
    pub drained: bool,
    /// Families in use on the session; empty unless Established.
    pub families: Vec<Family>,
    /// Whether IPv4 routes may have an IPv6 next hop on the session (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer keeps our routes over a restart, and what it said of that (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
    /// Families of ours that the peer did not offer, or refuses; empty unless Established.
    pub not_offered: Vec<Family>,
    /// Families that are not announced for want of a next hop.
    pub without_next_hop: Vec<Family>,
    /// Why the last session ended or the last attempt failed; kept until the next session is up.
    pub last_error: Option<Cause>,
    /// When that was.
    pub last_error_at: Option<Instant>,
    /// The last NOTIFICATION, whoever sent it. Attempts that fail after it do not hide what it said; the next session does.
    pub last_notification: Option<Cause>,
    /// When that was.
    pub last_notification_at: Option<Instant>,
    /// How often Established was reached.
    pub established_count: u64,
    /// Messages and connections since the peer was configured.
    pub tally: Tally,
    /// When the next attempt to connect is due, when Idle.
    pub retry_at: Option<Instant>,
    /// The AS that the peer said it is, when there is a session.
    pub remote_as: Option<config::Asn>,
    /// The peer's BGP Identifier, when there is a session.
    pub remote_id: Option<std::net::Ipv4Addr>,
    /// What the peer says that it can do, when there is a session.
    pub capabilities: Vec<Capability>,
    /// What is left out of our OPEN because the peer refuses it.
    pub left_out: Vec<Capability>,
    /// What the peer says that it is, safe to show.
    pub remote_software: Option<String>,
    /// What the peer says that it is called, safe to show.
    pub remote_hostname: Option<String>,
    /// Negotiated, when there is a session.
    pub hold_time: Option<config::HoldTime>,
    /// Our address on the session.
    pub local_address: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Time for the next attempt (IdleHoldTimer).
    Retry,
    /// TCP has had its time (ConnectRetryTimer).
    Connect,
    /// The visitor has had its time (DelayOpenTimer).
    Visitor,
    /// On a connection that the router made its OPEN is overdue.
    Open,
}

impl TimerKind for Timer {
    const ALL: &'static [Timer] = &[Timer::Retry, Timer::Connect, Timer::Visitor, Timer::Open];

    fn index(self) -> usize {
        self as usize
    }
}

/// One neighbour.
#[derive(Debug)]
pub struct Peer {
    config: Arc<config::Peer>,
    rng: Rng,
    /// The attempt under way, until TCP is up.
    dial: Option<ConnId>,
    /// Connections with TCP up: for a moment two, one that we made and one that the router made, until one of them wins.
    links: Vec<Link>,
    /// A connection that the router made while there was another.
    visitor: Option<Visitor>,
    /// As last told: the most advanced after the last event.
    state: State,
    timers: Timers<Timer, 4>,
    backoff: Backoff,
    refusals: Refusals,
    /// After a restart of ours, until the peer has had End-of-RIB: what it may still hold of before.
    kept: Option<Arc<BTreeSet<Prefix>>>,
    /// It may have had a session in this life of ours that nobody remembers.
    returns: bool,
    released: bool,
    telling: Telling,
    stopped: bool,
    /// Of the next attempt.
    next_conn: u64,
    attempt_at: Instant,
    since: Instant,
    established_count: u64,
    tally: Tally,
    last_error: Option<(Cause, Instant)>,
    last_notification: Option<(Cause, Instant)>,
    /// What the operator has heard since the last session, or since the start.
    told_causes: VecDeque<Cause>,
    actions: VecDeque<Action>,
}

/// A connection with TCP up.
#[derive(Debug)]
struct Link {
    id: ConnId,
    /// We made it, not the router.
    dialled: bool,
    /// Another connection has won, or this one was stopped: nothing counts any more but its end.
    lost: bool,
    connection: Connection,
    /// As far as the connection's actions are taken.
    state: State,
    local: IpAddr,
    remote: IpAddr,
    /// Since when Established, and what flows.
    feed: Option<(Instant, Feed)>,
    /// What had been heard from the router by then.
    heard: Counts,
    /// Too much waits for TCP.
    paused: bool,
}

impl Peer {
    /// Due to connect at once, if it is ours to connect. `seed` is for jitter.
    pub fn new(now: Instant, config: Arc<config::Peer>, seed: u64) -> Peer {
        let mut timers = Timers::new();
        let mode = config.session.mode;
        timers.set(Timer::Retry, mode.dials().then_some(now));
        Peer {
            config,
            rng: Rng::new(seed),
            dial: None,
            links: Vec::new(),
            visitor: None,
            state: if mode.accepts() { State::Active } else { State::Idle },
            timers,
            backoff: Backoff::default(),
            refusals: Refusals::default(),
            kept: None,
            returns: false,
            released: false,
            telling: Telling::Everything,
            stopped: false,
            next_conn: 0,
            attempt_at: now,
            since: now,
            established_count: 0,
            tally: Tally::default(),
            last_error: None,
            last_notification: None,
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
        self.config = self.with_known_address(next);
        // Whoever reloads may have a router that takes everything.
        self.refusals = Refusals::default();
        match change {
            Change::Keep => {}
            Change::Readvertise => {
                if let Some((_, feed)) = self.links.iter_mut().find_map(|link| link.feed.as_mut()) {
                    let before: Vec<_> = feed.without_next_hop().collect();
                    feed.configure(self.config.clone());
                    let now_without = feed.without_next_hop().filter(|family| !before.contains(family));
                    self.actions.extend(now_without.map(|family| Action::Notice(Notice::NoNextHop(family))));
                }
            }
            Change::Reset(keys) => {
                self.reset(now, &keys);
                self.start_over(now);
                self.enter(now, self.most_advanced(), None);
            }
        }
        self.hurry(now);
        self.settle(now, rib);
    }

    /// Takes one event to completion. An event of a connection that is not this peer's is ignored.
    pub fn handle(&mut self, now: Instant, conn: ConnId, event: Event<'_>, rib: &Rib) {
        if self.dial == Some(conn) {
            match event {
                Event::Connected { local, remote } => self.connected(now, conn, local, remote),
                Event::ConnectFailed(error) => self.dial_failed(now, Cause::ConnectFailed(error)),
                Event::Closed(error) => self.dial_failed(now, Cause::Closed(error)),
                Event::Bytes(_) | Event::Sent(_) => {}
            }
        } else if self.visitor.as_ref().is_some_and(|visitor| visitor.id() == conn) {
            self.visitor_event(now, &event);
        } else if let Some(link) = self.links.iter_mut().find(|link| link.id == conn) {
            match event {
                Event::Bytes(bytes) => link.connection.receive(now, bytes),
                Event::Sent(octets) => link.connection.sent(now, octets),
                Event::Closed(error) => link.connection.closed(now, error),
                Event::ConnectFailed(error) => link.connection.closed(now, Some(error)),
                Event::Connected { .. } => {}
            }
        }
        self.settle(now, rib);
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant, rib: &Rib) {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Retry => self.connect(now),
                Timer::Connect => {
                    self.actions.extend(self.dial.map(Action::Close));
                    self.dial_failed(now, Cause::ConnectTimeout(Suspects::of(&self.config.session.transport)));
                }
                Timer::Visitor => self.visit_over(now),
                Timer::Open => self.open_overdue(now),
            }
        }
        for link in &mut self.links {
            link.connection.handle_timeout(now);
        }
        self.settle(now, rib);
        debug_assert!(self.poll_timeout().is_none_or(|at| at > now), "a timer that is due was left");
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connections = self.links.iter().filter_map(|link| link.connection.poll_timeout());
        self.timers.earliest().into_iter().chain(connections).min()
    }

    /// The next thing for the driver to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// These prefixes of the RIB may have changed: sends what differs, as far as the connection takes it now;
    /// the rest goes as [`Event::Sent`] reports room.
    pub fn rib_changed(&mut self, now: Instant, changed: &[Prefix], rib: &Rib) {
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

    /// What the peer is told of the routes from now on.
    pub fn tell(&mut self, now: Instant, telling: Telling, rib: &Rib) {
        self.telling = telling;
        if let Some(feed) = self.feed_mut() {
            feed.set_telling(telling);
        }
        self.settle(now, rib);
    }

    /// Ends the session with this NOTIFICATION, and for good: no further attempt, and the peer drops our routes.
    pub fn stop(&mut self, now: Instant, notification: &Notification) {
        self.stopped = true;
        let why = if notification.code == 6 && notification.subcode == 3 { "peer removed" } else { "stopped" };
        self.end_attempt(now, &self.for_good(notification.clone()), why);
        self.check_invariants();
    }

    /// Whether everything that shall be told has been handed to the kernel, or there is no session to tell it on.
    pub fn is_synchronised(&self) -> bool {
        let told =
            |link: &Link| link.feed.as_ref().is_none_or(|(_, feed)| feed.is_idle() && link.connection.unsent() == 0);
        self.links.iter().all(told)
    }

    /// Whether there is neither a connection nor an attempt.
    pub fn is_vacant(&self) -> bool {
        self.dial.is_none() && self.links.is_empty() && self.visitor.is_none()
    }

    /// Where its session is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether this peer has been told of `prefix` and not of its withdrawal.
    pub fn has_advertised(&self, prefix: &Prefix) -> bool {
        self.feed().is_some_and(|feed| feed.told().has_told(prefix))
    }

    /// With what this peer has been told of `prefix`.
    pub fn told(&self, prefix: &Prefix) -> Option<&PathAttributes> {
        self.feed()?.told().told(prefix).map(AsRef::as_ref)
    }

    /// The routes that this peer has been told of and not of their withdrawal.
    pub fn advertised(&self) -> impl Iterator<Item = &Prefix> {
        let told = self.feed().map(Feed::told);
        told.into_iter().flat_map(|told| Family::ALL.into_iter().flat_map(|family| told.told_after(family, None)))
    }

    /// At a glance.
    pub fn status(&self) -> PeerStatus {
        let session = self.session();
        let feed = self.feed();
        let families = session.filter(|_| feed.is_some()).map(|session| session.families.clone());
        let is_offered = |family: &Family| families.as_ref().is_none_or(|families| families.contains(family));
        PeerStatus {
            state: self.state,
            since: self.since,
            advertised: Family::ALL.map(|family| feed.map_or(0, |feed| feed.told().told_count(family))),
            drained: self.telling != Telling::Everything,
            not_offered: self.config.session.families.iter().copied().filter(|family| !is_offered(family)).collect(),
            families: families.unwrap_or_default(),
            extended_next_hop: session.is_some_and(|session| session.extended_next_hop),
            graceful_restart: self.restart().cloned(),
            without_next_hop: feed.map(|feed| feed.without_next_hop().collect()).unwrap_or_default(),
            last_error: self.last_error.as_ref().map(|(cause, _)| cause.clone()),
            last_error_at: self.last_error.as_ref().map(|(_, at)| *at),
            last_notification: self.last_notification.as_ref().map(|(cause, _)| cause.clone()),
            last_notification_at: self.last_notification.as_ref().map(|(_, at)| *at),
            established_count: self.established_count,
            tally: Tally { connects: self.next_conn, ..self.tally },
            retry_at: self.timers.at(Timer::Retry),
            remote_as: session.map(|session| session.open.asn),
            remote_id: session.map(|session| session.open.router_id),
            capabilities: session.map(|session| session.open.capabilities.clone()).unwrap_or_default(),
            left_out: self.leader().map_or_else(
                || self.refusals.left_out(&self.config.session),
                |link| link.connection.terms().left_out(),
            ),
            remote_software: session.and_then(|session| session.open.software_version()),
            remote_hostname: session.and_then(|session| session.open.host_name()),
            hold_time: session.map(|session| session.hold_time),
            local_address: self.leader().map(|link| link.local),
        }
    }

    /// What the session settled that shapes UPDATEs, while Established.
    pub fn encoding(&self) -> Option<Encoding> {
        self.feed().and(self.session()).map(|session| session.encoding)
    }

    /// The most advanced connection.
    fn leader(&self) -> Option<&Link> {
        self.links.iter().max_by_key(|link| link.state)
    }

    fn session(&self) -> Option<&Session> {
        self.leader().and_then(|link| link.connection.session())
    }

    fn feed(&self) -> Option<&Feed> {
        self.links.iter().find_map(|link| link.feed.as_ref().map(|(_, feed)| feed))
    }

    fn feed_mut(&mut self) -> Option<&mut Feed> {
        self.links.iter_mut().find_map(|link| link.feed.as_mut().map(|(_, feed)| feed))
    }
}

#[cfg(test)]
mod tests;
