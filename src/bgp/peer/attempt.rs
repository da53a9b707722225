//! From one attempt to the next: dialling, what a connection's actions mean for the peer, and what the operator hears.
//!
//! It also keeps the measure: UPDATEs are made only as long as few octets wait for TCP, so that a router that does not
//! read costs no memory, and a table of any size never holds up the loop.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::feed::Feed;
use super::{Action, Cause, ConnId, Link, Notice, Peer, Phase, State, Suspects, Timer, retry};
use crate::bgp::error::Notification;
use crate::bgp::fsm::{self, Connection, Offer, Terms};
use crate::prefix::Family;
use crate::rib::Rib;

/// UPDATEs are made until so many octets wait for TCP ...
pub(super) const UNSENT_HIGH: usize = 128 * 1024;
/// ... and again when no more than these are left.
const UNSENT_LOW: usize = 64 * 1024;

/// TCP has this long to come up: at least three SYNs, and no gaps so long that a router that is back waits for the next.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(15);

/// Causes remembered so as not to tell them again.
const TOLD_CAUSES: usize = 8;

impl Peer {
    /// After every event: the connection's actions, then what may be sent.
    pub(super) fn settle(&mut self, now: Instant, rib: &Rib) {
        self.drain(now);
        self.fill(now, rib);
        self.drain(now);
        self.check_invariants();
    }

    pub(super) fn connect(&mut self, now: Instant) {
        let id = ConnId(self.next_conn);
        self.next_conn += 1;
        self.attempt_at = now;
        self.phase = Phase::Connect(id);
        let timeout = self.config.live.connect_retry.clamp(CONNECT_TIMEOUT_MIN, CONNECT_TIMEOUT_MAX);
        self.timers.set(Timer::Connect, Some(now + timeout));
        self.actions.push_back(Action::Connect(id));
        self.enter(now, State::Connect, None);
    }

    pub(super) fn connected(&mut self, now: Instant, id: ConnId, local: SocketAddr, remote: SocketAddr) {
        self.timers.clear();
        let terms = Terms {
            local_as: self.config.session.local_as,
            router_id: self.config.session.router_id,
            hold_time: self.config.session.hold_time,
            families: Offer::Families(self.config.session.families.clone()),
            peer_as: Some(self.config.session.peer_as),
            restart: self.offered(),
            extended_next_hop: self.config.session.extended_next_hop,
            capabilities: !self.plain_open,
        };
        let connection = Connection::new(now, terms, self.rng.bits());
        let (local, remote) = (local.ip(), remote.ip());
        self.phase = Phase::Up(Box::new(Link { id, connection, local, remote, feed: None, paused: false }));
    }

    /// TCP did not come up.
    pub(super) fn failed(&mut self, now: Instant, cause: Cause) {
        self.phase = Phase::Idle;
        self.idle(now, cause);
    }

    /// Ends what there is: a session with a NOTIFICATION, an attempt without a word.
    pub(super) fn end_attempt(&mut self, now: Instant, notification: Notification, why: &str) {
        match &mut self.phase {
            Phase::Idle => {}
            Phase::Connect(id) => {
                self.actions.push_back(Action::Close(*id));
                self.failed(now, Cause::GivenUp(why.to_owned()));
            }
            Phase::Up(link) => {
                link.connection.stop(now, notification, why);
                self.drain(now);
            }
        }
        if self.stopped {
            self.timers.clear();
        }
    }

    /// Forgets all failures: what comes next is another session.
    pub(super) fn start_over(&mut self, now: Instant) {
        self.plain_open = false;
        self.backoff.reset();
        self.told_causes.clear();
        if !self.stopped {
            // The router first has to see the end of the old session, or it may turn the new one away.
            self.timers.set(Timer::Retry, Some(now + retry::SHORTEST));
        }
    }

    /// Cuts the wait for the next attempt short.
    pub(super) fn hurry(&mut self, now: Instant) {
        let soon = now + retry::SHORTEST;
        if self.timers.at(Timer::Retry).is_some_and(|at| at > soon) {
            self.timers.set(Timer::Retry, Some(soon));
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Phase::Up(link) = &mut self.phase
            && let Some(action) = link.connection.poll_action()
        {
            match action {
                fsm::Action::Send(octets) => self.actions.push_back(Action::Send(link.id, octets)),
                // `Down` follows, and knows why.
                fsm::Action::Entered(State::Idle) => {}
                fsm::Action::Entered(State::Established) => self.established(now),
                fsm::Action::Entered(state) => self.enter(now, state, None),
                // We take no routes: the framing is checked, and that is all.
                fsm::Action::Update(_) => {}
                fsm::Action::Refresh(family) => {
                    if let Some((_, feed)) = &mut link.feed {
                        feed.refresh(family);
                    }
                }
                fsm::Action::Down(cause) => self.down(now, cause),
            }
        }
    }

    fn established(&mut self, now: Instant) {
        let Phase::Up(link) = &mut self.phase else { return };
        let Some(session) = link.connection.session() else { return };
        let mut feed = Feed::new(self.config.clone(), session, link.local, link.remote);
        match &self.kept {
            Some(kept) if session.restart.is_some() => feed.resume(kept),
            _ => {}
        }
        if self.released {
            feed.start();
        }
        let missing = self.config.session.families.iter().filter(|family| !session.families.contains(family));
        let mut notices: Vec<_> = missing.map(|family| Notice::FamilyNotNegotiated(*family)).collect();
        notices.extend(feed.without_next_hop().map(Notice::NoNextHop));
        link.feed = Some((now, feed));
        self.established_count += 1;
        self.enter(now, State::Established, None);
        self.actions.extend(notices.into_iter().map(Action::Notice));
    }

    fn down(&mut self, now: Instant, mut cause: Cause) {
        let Phase::Up(link) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        if let (Cause::Sent(Notification { code: 4, .. }, why), None) = (&mut cause, link.connection.session()) {
            // Not even an OPEN came.
            why.push_str(&Suspects::of(&self.config.session.transport).to_string());
        }
        if !matches!(cause, Cause::Closed(_)) {
            self.actions.push_back(Action::Close(link.id));
        }
        if link.feed.is_some_and(|(established, _)| now >= established + retry::STABLE) {
            self.backoff.reset();
        }
        let was_plain = std::mem::replace(&mut self.plain_open, false);
        // RFC 5492 §3: a peer that cannot take capabilities may take an OPEN without. Some say so with the subcode that
        // is meant for a capability that they miss. The attempt after that has them again: it may have been replaced.
        let refused = matches!(cause, Cause::Received(Notification { code: 2, subcode: 4 | 7, .. }));
        let try_plain = refused && !was_plain && self.config.session.families.contains(&Family::Ipv4);
        self.idle(now, cause);
        if try_plain && !self.stopped {
            self.plain_open = true;
            self.timers.set(Timer::Retry, Some(now + retry::shortest(self.config.live.connect_retry)));
        }
    }

    /// The one way to Idle: notes the cause, and when to try again.
    fn idle(&mut self, now: Instant, cause: Cause) {
        self.timers.clear();
        if !self.stopped {
            let wait = self.backoff.after(&cause, self.config.live.connect_retry);
            // Jittered (RFC 4271 §10), so that the peers of one router do not come back as one.
            let from_attempt = self.attempt_at + self.rng.jitter(wait.from_attempt);
            let from_now = now + self.rng.jitter(wait.from_now);
            self.timers.set(Timer::Retry, Some(from_attempt.max(from_now)));
        }
        self.last_error = Some((cause.clone(), now));
        self.enter(now, State::Idle, Some(cause));
    }

    /// The one writer of the state. What is only one more try with the same end is not told.
    fn enter(&mut self, now: Instant, to: State, cause: Option<Cause>) {
        let from = std::mem::replace(&mut self.state, to);
        if from == State::Established || to == State::Established {
            self.since = now;
        }
        let news = match &cause {
            _ if from == State::Established || to == State::Established => true,
            Some(cause) => !self.told_causes.contains(cause),
            None => self.told_causes.is_empty(),
        };
        if to == State::Established {
            self.told_causes.clear();
            self.last_error = None;
        }
        if let Some(cause) = &cause
            && news
        {
            self.told_causes.push_back(cause.clone());
            if self.told_causes.len() > TOLD_CAUSES {
                self.told_causes.pop_front();
            }
        }
        if news {
            self.actions.push_back(Action::Notice(Notice::State { from, to, cause }));
        }
    }

    /// Makes UPDATEs, unless enough of them wait.
    fn fill(&mut self, now: Instant, rib: &Rib) {
        let Phase::Up(link) = &mut self.phase else { return };
        let Some((_, feed)) = &mut link.feed else { return };
        let unsent = link.connection.unsent();
        if link.paused && unsent > UNSENT_LOW {
            return;
        }
        let filling = feed.fill(rib, UNSENT_HIGH.saturating_sub(unsent));
        link.connection.send_updates(now, filling.octets);
        link.paused = link.connection.unsent() >= UNSENT_HIGH;
        if let Some(first) = filling.too_large.first() {
            self.actions.push_back(Action::Notice(Notice::TooLarge(*first, filling.too_large.len())));
        }
        let notices = filling.synchronised.into_iter().map(|(family, routes)| Notice::Synchronised(family, routes));
        self.actions.extend(notices.map(Action::Notice));
        self.note_end_of_rib();
    }

    /// In debug builds, after every call: what must hold whatever happened.
    pub(super) fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let (retry, connect) = (self.timers.at(Timer::Retry), self.timers.at(Timer::Connect));
        match &self.phase {
            Phase::Idle => {
                assert_eq!(self.state, State::Idle);
                assert!(retry.is_some() != self.stopped && connect.is_none(), "idle, and nothing would end it");
            }
            Phase::Connect(id) => {
                assert_eq!(self.state, State::Connect);
                assert!(connect.is_some() && retry.is_none() && id.0 < self.next_conn && !self.stopped);
            }
            Phase::Up(link) => {
                assert_eq!(self.state, link.connection.state());
                assert!(self.state >= State::OpenSent && self.timers.earliest().is_none() && !self.stopped);
                assert_eq!(link.feed.is_some(), self.state == State::Established);
                let idle = link.feed.as_ref().is_none_or(|(_, feed)| feed.is_idle());
                assert!(idle || link.paused, "something is to be told, and nothing would tell it");
            }
        }
    }
}
