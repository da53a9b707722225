//! From one attempt to the next: dialling, what a connection's actions mean for the peer, and what the operator hears.
//!
//! It also keeps the measure: UPDATEs are made only as long as few octets wait for TCP, so that a router that does not
//! read costs no memory, and a table of any size never holds up the loop.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::feed::Feed;
use super::refusal::Refusals;
use super::{Action, Cause, ConnId, Link, Notice, Peer, State, Suspects, Timer, retry};
use crate::bgp::adj_rib_out::Written;
use crate::bgp::drain::Telling;
use crate::bgp::error::Notification;
use crate::bgp::fsm::{self, Connection, Terms};
use crate::bgp::tally::Counts;
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
        self.welcome(now);
        self.fill(now, rib);
        self.drain(now);
        self.welcome(now);
        self.enter(now, self.most_advanced(), None);
        self.check_invariants();
    }

    /// Sends all routes again, as if the peer had asked for them. Without a session there is nothing to repeat.
    pub fn refresh(&mut self, now: Instant, rib: &Rib) {
        if let Some(feed) = self.feed_mut() {
            feed.refresh_all();
        }
        self.settle(now, rib);
    }

    pub(super) fn connect(&mut self, now: Instant) {
        if self.config.session.address_is_unknown() {
            return;
        }
        let id = self.new_id();
        self.attempt_at = now;
        self.dial = Some(id);
        let timeout = self.config.live.connect_retry.clamp(CONNECT_TIMEOUT_MIN, CONNECT_TIMEOUT_MAX);
        self.timers.set(Timer::Connect, Some(now + timeout));
        self.actions.push_back(Action::Connect(id));
        self.enter(now, self.most_advanced(), None);
    }

    pub(super) fn new_id(&mut self) -> ConnId {
        let id = ConnId(self.next_conn);
        self.next_conn += 1;
        id
    }

    pub(super) fn connected(&mut self, now: Instant, id: ConnId, local: SocketAddr, remote: SocketAddr) {
        self.dial = None;
        self.timers.set(Timer::Connect, None);
        self.link(now, id, true, local, remote);
    }

    /// TCP is up: here a connection begins.
    pub(super) fn link(&mut self, now: Instant, id: ConnId, dialled: bool, local: SocketAddr, remote: SocketAddr) {
        let restart = self.offered();
        let terms = Terms { restart, ..self.refusals.terms(now, &self.config.session) };
        let connection = Connection::new(now, terms, self.rng.bits());
        self.links.push(Link {
            id,
            dialled,
            lost: false,
            connection,
            state: State::Active,
            local: local.ip(),
            remote: remote.ip(),
            feed: None,
            heard: Counts::default(),
            paused: false,
        });
    }

    /// TCP did not come up.
    pub(super) fn dial_failed(&mut self, now: Instant, cause: Cause) {
        self.dial = None;
        self.timers.set(Timer::Connect, None);
        self.rest(now, cause);
    }

    /// The attempt under way has become pointless.
    pub(super) fn give_up_dial(&mut self) {
        self.timers.set(Timer::Retry, None);
        self.timers.set(Timer::Connect, None);
        self.actions.extend(self.dial.take().map(Action::Close));
    }

    /// Ends what there is: sessions with a NOTIFICATION, an attempt without a word.
    pub(super) fn end_attempt(&mut self, now: Instant, notification: &Notification, why: &str) {
        self.turn_away(notification);
        for link in self.links.iter_mut().filter(|link| !link.lost) {
            link.connection.stop(now, notification.clone(), why);
        }
        self.drain(now);
        if let Some(id) = self.dial {
            self.actions.push_back(Action::Close(id));
            self.dial_failed(now, Cause::GivenUp(why.to_owned()));
        }
        if self.stopped {
            self.timers.clear();
            self.enter(now, State::Idle, None);
        }
    }

    /// Forgets all failures: what comes next is another session.
    pub(super) fn start_over(&mut self, now: Instant) {
        self.refusals = Refusals::default();
        self.backoff.reset();
        self.told_causes.clear();
        if !self.stopped {
            // The router first has to see the end of the old session, or it may turn the new one away.
            let dials = self.config.session.mode.dials();
            self.timers.set(Timer::Retry, dials.then_some(now + retry::SHORTEST));
        }
    }

    /// Cuts the wait for the next attempt short.
    pub(super) fn hurry(&mut self, now: Instant) {
        let soon = now + retry::SHORTEST;
        if self.timers.at(Timer::Retry).is_some_and(|at| at > soon) {
            self.timers.set(Timer::Retry, Some(soon));
        }
    }

    pub(super) fn drain(&mut self, now: Instant) {
        for link in &mut self.links {
            self.tally.received.add_counts(link.connection.take_received());
        }
        let next = |link: &mut Link| link.connection.poll_action().map(|action| (link.id, link.lost, action));
        while let Some((id, lost, action)) = self.links.iter_mut().find_map(next) {
            match action {
                fsm::Action::Send(octets) => {
                    self.tally.sent.add_all(&octets);
                    self.actions.push_back(Action::Send(id, octets));
                }
                fsm::Action::Down(cause) => self.down(now, id, cause),
                _ if lost => {}
                // `Down` follows, and knows why.
                fsm::Action::Entered(State::Idle) => {}
                fsm::Action::Entered(state) => self.entered(now, id, state),
                // We take no routes: the framing is checked, and that is all.
                fsm::Action::Update(_) => {}
                fsm::Action::Refresh(family) => {
                    if let Some(feed) = self.feed_mut() {
                        feed.refresh(family);
                    }
                }
            }
        }
    }

    fn entered(&mut self, now: Instant, id: ConnId, state: State) {
        let Some(link) = self.links.iter_mut().find(|link| link.id == id) else { return };
        link.state = state;
        match state {
            State::OpenConfirm => self.confirmed(now, id),
            State::Established => self.established(now, id),
            State::Idle | State::Connect | State::Active | State::OpenSent => {}
        }
        self.enter(now, self.most_advanced(), None);
    }

    fn established(&mut self, now: Instant, id: ConnId) {
        self.lose_others(now, id);
        let Some(link) = self.links.iter_mut().find(|link| link.id == id) else { return };
        let Some(session) = link.connection.session() else { return };
        let mut feed = Feed::new(self.config.clone(), session, link.local, link.remote);
        match &self.kept {
            Some(kept) if session.restart.is_some() => feed.resume(kept),
            _ => {}
        }
        if self.telling != Telling::Everything {
            // What is about to go is not announced first.
            feed.set_telling(Telling::Nothing);
        }
        if self.released {
            feed.start();
        }
        let missing = self.config.session.families.iter().filter(|family| !session.families.contains(family));
        let mut notices: Vec<_> = missing.map(|family| Notice::FamilyNotNegotiated(*family)).collect();
        notices.extend(feed.without_next_hop().map(Notice::NoNextHop));
        (link.feed, link.heard) = (Some((now, feed)), self.tally.received);
        self.established_count += 1;
        self.enter(now, State::Established, None);
        self.actions.extend(notices.into_iter().map(Action::Notice));
    }

    fn down(&mut self, now: Instant, id: ConnId, cause: Cause) {
        let Some(at) = self.links.iter().position(|link| link.id == id) else { return };
        let link = self.links.remove(at);
        if !link.dialled {
            self.timers.set(Timer::Open, None);
        }
        // What is lost is closed whatever its end was: the driver may not know of it.
        if link.lost || !matches!(cause, Cause::Closed(_)) {
            self.actions.push_back(Action::Close(link.id));
        }
        let cause = self.explained(&link, cause);
        if let Some((established, feed)) = &link.feed {
            if now >= *established + retry::STABLE {
                self.backoff.reset();
            }
            self.note_loss(feed);
        }
        if link.lost && !self.is_vacant() {
            // No failure: the other one goes on.
            if self.timers.at(Timer::Retry).is_none() {
                self.plan_retry(now, &cause);
            }
            self.enter(now, self.most_advanced(), None);
            return;
        }
        let retry = match &cause {
            Cause::Received(notification) => self.refusals.answered(now, link.connection.terms(), notification),
            _ => None,
        };
        self.rest(now, cause);
        if let Some(retry) = retry
            && !self.stopped
        {
            self.actions.extend(retry.news.map(|left_out| Action::Notice(Notice::LeftOut(left_out))));
            if self.timers.at(Timer::Retry).is_some() {
                self.timers.set(Timer::Retry, Some(now + retry::shortest(self.config.live.connect_retry)));
            }
        }
    }

    /// Something has failed: notes the cause, and when to try again.
    fn rest(&mut self, now: Instant, cause: Cause) {
        self.plan_retry(now, &cause);
        self.last_error = Some((cause.clone(), now));
        if matches!(cause, Cause::Received(_) | Cause::Sent(..)) {
            self.last_notification = Some((cause.clone(), now));
        }
        self.enter(now, self.most_advanced(), self.links.is_empty().then_some(cause));
    }

    /// Says when to dial again, unless there is no need.
    fn plan_retry(&mut self, now: Instant, cause: &Cause) {
        if !self.wants_to_dial() {
            return;
        }
        let wait = self.backoff.after(cause, self.config.live.connect_retry);
        // Jittered (RFC 4271 §10), so that the peers of one router do not come back as one.
        let from_attempt = self.attempt_at + self.rng.jitter(wait.from_attempt);
        let from_now = now + self.rng.jitter(wait.from_now);
        self.timers.set(Timer::Retry, Some(from_attempt.max(from_now)));
    }

    /// Whether nothing is under way that would make an attempt pointless.
    pub(super) fn wants_to_dial(&self) -> bool {
        self.config.session.mode.dials() && !self.stopped && self.dial.is_none() && !self.is_under_way()
    }

    /// Whether some connection is ours already, or has come so far that another is of no use.
    fn is_under_way(&self) -> bool {
        self.links.iter().any(|link| link.dialled || link.state >= State::OpenConfirm)
    }

    /// The state of the whole: of the connection that has come the furthest.
    pub(super) fn most_advanced(&self) -> State {
        let connections = self.links.iter().filter(|link| !link.lost).map(|link| link.state);
        let visitor = self.visitor.as_ref().map(|_| State::Active);
        let dial = self.dial.map(|_| State::Connect);
        // RFC 4271 §8.2.2: who can be connected to waits in Active.
        let none = if self.config.session.mode.accepts() && !self.stopped { State::Active } else { State::Idle };
        connections.chain(visitor).chain(dial).max().unwrap_or(none)
    }

    /// The one writer of the state. What is only one more try with the same end is not told.
    pub(super) fn enter(&mut self, now: Instant, to: State, cause: Option<Cause>) {
        let from = std::mem::replace(&mut self.state, to);
        if from == to && cause.is_none() {
            return;
        }
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
            (self.last_error, self.last_notification) = (None, None);
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
        let Some(link) = self.links.iter_mut().find(|link| link.feed.is_some() && !link.lost) else { return };
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
        let Written { announced, withdrawn, first } = filling.written;
        if announced + withdrawn > 0 {
            self.actions.push_back(Action::Notice(Notice::Told { announced, withdrawn, first }));
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
        let armed = |timer| self.timers.at(timer).is_some();
        assert_eq!(self.state, self.most_advanced());
        assert_eq!(armed(Timer::Connect), self.dial.is_some());
        assert_eq!(armed(Timer::Visitor), self.visitor.is_some());
        assert!(!self.stopped || (self.is_vacant() && self.timers.earliest().is_none()));
        assert!(self.config.session.mode.dials() || !armed(Timer::Retry) && self.dial.is_none());
        let is_due = self.wants_to_dial();
        let is_waiting = is_due && self.config.session.address_is_unknown();
        assert!(armed(Timer::Retry) == is_due || is_waiting, "when to dial");
        assert!(self.visitor.is_none() || self.dial.is_some() || !self.links.is_empty(), "a visitor of nobody");
        let dialled = self.links.iter().filter(|link| link.dialled).count();
        assert!(dialled <= 1 && self.links.len() - dialled <= 1, "two connections of one kind");
        for link in &self.links {
            assert!(!link.lost && link.state == link.connection.state() && link.state >= State::OpenSent);
            assert!(link.id.0 < self.next_conn);
            assert_eq!(link.feed.is_some(), link.state == State::Established);
            assert!(link.state != State::Established || self.links.len() == 1, "a session, and another connection");
            let idle = link.feed.as_ref().is_none_or(|(_, feed)| feed.is_idle());
            assert!(idle || link.paused, "something is to be told, and nothing would tell it");
        }
    }

    /// With what is likely, for operators, where a connection ended without a word.
    fn explained(&self, link: &Link, cause: Cause) -> Cause {
        let ours = &self.config.session.transport;
        match (cause, link.connection.session()) {
            // Not even an OPEN came.
            (Cause::Sent(last @ Notification { code: 4, .. }, why), None) => {
                Cause::Sent(last, format!("{why}{}", Suspects::of(ours)))
            }
            (Cause::Sent(last @ Notification { code: 4, .. }, why), Some(_))
                if link.feed.is_none() || link.heard == self.tally.received =>
            {
                let what = if link.feed.is_some() { "first KEEPALIVE" } else { "OPEN" };
                let hint = if ours.reach.ttl_security().is_none() { ": it may want ttl_security" } else { "" };
                let text = format!("{why}, nothing came after the {what} (the router may not get what we send{hint})");
                Cause::Sent(last, text)
            }
            (Cause::Closed(error), None) if link.dialled && error.as_deref().is_none_or(is_the_peers) => {
                Cause::TurnedAway(link.local)
            }
            (cause, _) => cause,
        }
    }
}

/// Whether the peer has ended a connection, by the system's words: a close with octets of ours unread is a reset.
fn is_the_peers(error: &str) -> bool {
    matches!(error, "connection reset by peer" | "broken pipe")
}
