//! When the router connects to us, and when there are two connections with it.
//!
//! One of two connections wins (RFC 4271 §6.8). Both sides must choose the same one, although each sees the messages of
//! two connections in an order of its own. So on a connection that the router made while there is another nothing is
//! said before its OPEN has come and the choice is made: it is a visitor until then. A router that has no OPEN of ours
//! cannot choose that connection against us.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Action, ArrivalId, ConnId, Event, Peer, State, Timer};
use crate::bgp::error::Notification;
use crate::bgp::message::{Inbox, Message};
use crate::bgp::restart::can_restart;
use crate::rib::Rib;

/// A visitor has so long to send its OPEN. Then it gets ours: the router may be waiting for that. Beside a session it
/// has to go.
const VISIT: Duration = Duration::from_secs(3);
/// A visitor that comes so soon after the session was established was under way before: the router did not restart.
const OVERLAP: Duration = Duration::from_secs(1);
/// The old session has so long to turn out dead.
const PROBE: Duration = Duration::from_secs(1);
/// On a connection that the router made its OPEN has to come within this: it need not be waited for as long as RFC 4271
/// §8.2.2 suggests, because it is the router that wanted to talk.
const OPEN_TIME: Duration = Duration::from_secs(30);

/// A message has at most so many octets before the OPENs (RFC 4271 §4).
const MESSAGE_MAX: usize = 4096;

/// A connection that the router made while there was another.
#[derive(Debug)]
pub(super) struct Visitor {
    id: ConnId,
    local: SocketAddr,
    remote: SocketAddr,
    since: Instant,
    /// Received so far.
    octets: Vec<u8>,
    /// Its OPEN is good, and the old session is asked for a sign of life.
    waits_for_probe: bool,
}

/// How a visitor began.
enum Opening {
    Incomplete,
    Good,
    /// Nothing that a session can be made of.
    Bad,
}

impl Visitor {
    pub(super) fn id(&self) -> ConnId {
        self.id
    }
}

impl Peer {
    /// Takes a connection that the router made to us. The newest counts: a router makes one at a time, and one that was
    /// reset knows nothing of those before.
    pub fn accept(&mut self, now: Instant, arrival: ArrivalId, local: SocketAddr, remote: SocketAddr, rib: &Rib) {
        let id = self.new_id();
        self.actions.push_back(Action::Accept(id, arrival));
        self.turn_away(&Notification::connection_collision());
        self.visitor = Some(Visitor { id, local, remote, since: now, octets: Vec::new(), waits_for_probe: false });
        self.timers.set(Timer::Visitor, Some(now + VISIT));
        let older = self.links.iter().find(|link| !link.dialled && link.state < State::Established);
        if let Some(older) = older.map(|link| link.id) {
            self.lose(now, older);
        }
        self.settle(now, rib);
    }

    pub(super) fn visitor_event(&mut self, now: Instant, event: &Event<'_>) {
        match event {
            Event::Bytes(bytes) => {
                if let Some(visitor) = &mut self.visitor {
                    let room = (2 * MESSAGE_MAX).saturating_sub(visitor.octets.len());
                    if bytes.len() > room {
                        // More than an OPEN and what may follow it unanswered.
                        self.turn_away(&Notification::connection_collision());
                    } else {
                        visitor.octets.extend(*bytes);
                        self.judge(now);
                    }
                }
            }
            Event::Closed(_) | Event::ConnectFailed(_) => self.forget_visitor(),
            Event::Sent(_) | Event::Connected { .. } => {}
        }
    }

    /// With no other connection left, the visitor is the one.
    pub(super) fn welcome(&mut self, now: Instant) {
        if self.visitor.is_some() && self.dial.is_none() && self.links.is_empty() {
            self.promote(now);
            self.drain(now);
        }
    }

    /// The visitor has had its time.
    pub(super) fn visit_over(&mut self, now: Instant) {
        // Taken by its expiry, and armed for as long as there is a visitor.
        self.timers.set(Timer::Visitor, Some(now + VISIT));
        if self.state == State::Established {
            self.turn_away(&Notification::connection_collision());
        } else {
            self.promote(now);
        }
    }

    /// The router connected, and then said nothing.
    pub(super) fn open_overdue(&mut self, now: Instant) {
        if let Some(link) = self.links.iter_mut().find(|link| !link.dialled && link.state == State::OpenSent) {
            let why = format!("peer connected and sent no OPEN within {} seconds", OPEN_TIME.as_secs());
            link.connection.stop(now, Notification::hold_timer_expired(), &why);
        }
    }

    /// The visitor says goodbye before it has said anything else.
    pub(super) fn turn_away(&mut self, notification: &Notification) {
        if let Some(visitor) = &self.visitor {
            let mut octets = Vec::new();
            Message::Notification(notification.clone()).encode(&mut octets);
            self.actions.push_back(Action::Send(visitor.id, octets));
            self.actions.push_back(Action::Close(visitor.id));
        }
        self.forget_visitor();
    }

    fn forget_visitor(&mut self) {
        self.visitor = None;
        self.timers.set(Timer::Visitor, None);
    }

    /// Something came from the visitor. Once its OPEN is whole: which connection is it to be?
    fn judge(&mut self, now: Instant) {
        let Some(visitor) = &self.visitor else { return };
        if visitor.waits_for_probe {
            return;
        }
        let (since, opening) = (visitor.since, self.opening(&visitor.octets));
        let rival = self.links.iter().max_by_key(|link| link.state);
        let rival = rival.map(|link| (link.id, link.state, link.feed.as_ref().map(|(at, _)| *at)));
        match (opening, rival) {
            (Opening::Incomplete, _) => {}
            (Opening::Good, Some((id, State::Established, established))) => {
                self.judge_beside_session(now, since, id, established);
            }
            (Opening::Bad, Some((_, State::Established, _))) => self.turn_away(&Notification::connection_collision()),
            (Opening::Good, Some((id, State::OpenConfirm, _))) => {
                if self.ours_wins() {
                    self.turn_away(&Notification::connection_collision());
                } else {
                    // In this order: the router shall know of the end of the one before our OPEN tempts it to end the other.
                    self.lose(now, id);
                    self.drain(now);
                    self.promote(now);
                }
            }
            // Its OPEN is the first; or it is bad, and its own connection will say so.
            (Opening::Good | Opening::Bad, _) => self.promote(now),
        }
    }

    /// RFC 4271 §6.8: beside a session there is no other connection, but for a router that has lost its end of it.
    fn judge_beside_session(&mut self, now: Instant, since: Instant, session: ConnId, established: Option<Instant>) {
        let Some(link) = self.links.iter_mut().find(|link| link.id == session) else { return };
        let restarts = link.connection.session().is_some_and(|session| can_restart(&session.open));
        if established.is_some_and(|established| since < established + OVERLAP) {
            self.turn_away(&Notification::connection_collision());
        } else if restarts {
            // RFC 4724 §5: taken for the end of the old one, and without a NOTIFICATION.
            let why = "the router has restarted and connected again (RFC 4724)".to_owned();
            link.connection.closed(now, Some(why));
            self.actions.push_back(Action::Close(session));
        } else {
            // A router that was reset knows nothing of the session, and its kernel says so when something comes for it.
            // RFC 4271 §4.4: KEEPALIVEs at most once a second, and there is one visitor in that time.
            let mut octets = Vec::new();
            Message::Keepalive.encode(&mut octets);
            link.connection.send_updates(now, octets);
            self.timers.set(Timer::Visitor, Some(now + PROBE));
            if let Some(visitor) = &mut self.visitor {
                visitor.waits_for_probe = true;
            }
        }
    }

    fn opening(&self, octets: &[u8]) -> Opening {
        let mut inbox = Inbox::default();
        inbox.push(octets);
        match inbox.next() {
            Ok(None) => Opening::Incomplete,
            Ok(Some(Message::Open(open))) => match self.refusals.next_terms(&self.config.session).settle(open) {
                Ok(_) => Opening::Good,
                Err(_) => Opening::Bad,
            },
            Ok(Some(_)) | Err(_) => Opening::Bad,
        }
    }

    /// The visitor becomes a connection like any other.
    fn promote(&mut self, now: Instant) {
        let Some(visitor) = self.visitor.take() else { return };
        self.timers.set(Timer::Visitor, None);
        self.timers.set(Timer::Open, Some(now + OPEN_TIME));
        // Less reason to make one of our own, but it may come to nothing.
        let retry = now + self.config.live.connect_retry;
        self.timers.set(Timer::Retry, self.timers.at(Timer::Retry).map(|at| at.max(retry)));
        self.link(now, visitor.id, false, visitor.local, visitor.remote);
        if let Some(link) = self.links.last_mut() {
            link.connection.receive(now, &visitor.octets);
        }
    }

    /// The router's OPEN on this connection is good. RFC 4271 §6.8: it is looked for another one that is as far.
    pub(super) fn confirmed(&mut self, now: Instant, id: ConnId) {
        let dialled = self.links.iter().any(|link| link.id == id && link.dialled);
        if !dialled {
            self.timers.set(Timer::Open, None);
        }
        let other = self.links.iter().find(|link| link.id != id && !link.lost && link.state >= State::OpenConfirm);
        let loser = match other {
            Some(other) if other.state == State::Established || self.ours_wins() != dialled => Some(id),
            Some(other) => Some(other.id),
            None => None,
        };
        if let Some(loser) = loser {
            self.lose(now, loser);
        }
        if loser != Some(id) {
            self.give_up_dial();
        }
    }

    /// This connection is the session: there is no other.
    pub(super) fn lose_others(&mut self, now: Instant, id: ConnId) {
        self.give_up_dial();
        self.turn_away(&Notification::connection_collision());
        let others: Vec<ConnId> = self.links.iter().map(|link| link.id).filter(|other| *other != id).collect();
        for other in others {
            self.lose(now, other);
        }
    }

    /// RFC 4271 §6.8: Cease/Connection Collision Resolution for the one that has lost.
    fn lose(&mut self, now: Instant, id: ConnId) {
        let Some(link) = self.links.iter_mut().find(|link| link.id == id && !link.lost) else { return };
        link.lost = true;
        let why = "another connection with the peer goes on";
        link.connection.stop(now, Notification::connection_collision(), why);
    }

    /// RFC 4271 §6.8: the connection wins that the side with the higher BGP Identifier has made; of two with the same
    /// one, the side with the higher AS (RFC 6286 §2.3).
    fn ours_wins(&self) -> bool {
        let theirs = self.links.iter().filter(|link| !link.lost).find_map(|link| link.connection.session());
        let config = &self.config.session;
        theirs.is_some_and(|session| (config.router_id, config.local_as) > (session.open.router_id, session.open.asn))
    }
}
