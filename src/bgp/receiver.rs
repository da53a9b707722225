//! The passive side that only listens: what a neighbour announces to us, decoded.
//!
//! A [`Receiver`] is one connection that was accepted. It takes any peer, offers the families that the peer offers, keeps
//! the session alive, and reports what it receives; a malformed UPDATE ends the session with the NOTIFICATION that
//! RFC 4271 §6.3 asks for. Nothing is imported anywhere.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use super::attribute::PathAttributes;
use super::cause::Cause;
use super::error::Notification;
use super::fsm::{self, Connection, Offer, Session, State, Terms};
use super::update::Update;
use crate::config::{Asn, HoldTime};
use crate::prefix::{Family, Prefix};

/// What a receiver says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Our AS; `None` takes the peer's own, so that the session is iBGP.
    pub local_as: Option<Asn>,
    /// Our BGP Identifier. A peer in the same AS must have another.
    pub router_id: Ipv4Addr,
    /// What we offer.
    pub hold_time: HoldTime,
    /// The most routes that one peer may have announced; above, the session ends (RFC 4486 §4, subcode 1).
    pub max_routes: usize,
}

impl Default for Options {
    /// The peer's AS, 90 seconds (RFC 4271 §10), twice the Internet, and as router ID the address that RFC 7600 keeps
    /// free for such.
    fn default() -> Options {
        Options {
            local_as: None,
            router_id: Ipv4Addr::new(192, 0, 0, 8),
            hold_time: HoldTime::from_secs(90).unwrap_or(HoldTime::OFF),
            max_routes: 2_500_000,
        }
    }
}

/// Stands in when there is no AS to take: the peer waits for our OPEN before it sends its own.
const FALLBACK_AS: Asn = Asn(65_000);

/// What the neighbour did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The session is up.
    Established(Box<Session>),
    /// It announced a route. Prefixes from one message share their attributes.
    Announce(Prefix, Arc<PathAttributes>),
    /// It withdrew a route.
    Withdraw(Prefix),
    /// It has sent all that it has of this family (RFC 4724 §2).
    EndOfRib(Family),
    /// The connection is over. That withdraws all that is still announced.
    Closed {
        /// Why.
        cause: Cause,
        /// So many routes went with it.
        routes: usize,
    },
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand these octets to TCP, and report with [`Receiver::sent`] as they go.
    Send(Vec<u8>),
    /// Tell whoever listens. After [`Event::Closed`] send what is queued and close; nothing follows.
    Report(Event),
}

/// One accepted connection.
#[derive(Debug)]
pub struct Receiver {
    connection: Connection,
    max_routes: usize,
    held: BTreeSet<Prefix>,
    /// The session has been ended; UPDATEs that came with what ended it do not count any more.
    stopped: bool,
    actions: VecDeque<Action>,
}

impl Receiver {
    /// TCP has been accepted: waits for the peer's OPEN. `seed` is for jitter.
    pub fn new(now: Instant, options: &Options, seed: u64) -> Receiver {
        let terms = Terms {
            local_as: options.local_as.unwrap_or(FALLBACK_AS),
            router_id: options.router_id,
            hold_time: options.hold_time,
            families: Offer::Mirror { asn: options.local_as.is_none() },
            peer_as: None,
            capabilities: true,
        };
        let mut receiver = Receiver {
            connection: Connection::new(now, terms, seed),
            max_routes: options.max_routes,
            held: BTreeSet::new(),
            stopped: false,
            actions: VecDeque::new(),
        };
        receiver.settle(now);
        receiver
    }

    /// Takes received octets, split anywhere.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.connection.receive(now, bytes);
        self.settle(now);
    }

    /// TCP took so many octets of what was handed out.
    pub fn sent(&mut self, now: Instant, octets: usize) {
        self.connection.sent(now, octets);
        self.settle(now);
    }

    /// TCP is gone: in order, or with the system's words.
    pub fn closed(&mut self, now: Instant, error: Option<String>) {
        self.connection.closed(now, error);
        self.settle(now);
    }

    /// Ends the session with this NOTIFICATION; `why` is for people.
    pub fn stop(&mut self, now: Instant, notification: Notification, why: &str) {
        self.connection.stop(now, notification, why);
        self.settle(now);
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The routes that the neighbour has announced and not withdrawn.
    pub fn routes(&self) -> impl Iterator<Item = &Prefix> {
        self.held.iter()
    }

    fn settle(&mut self, now: Instant) {
        while let Some(action) = self.connection.poll_action() {
            match action {
                fsm::Action::Send(bytes) => self.actions.push_back(Action::Send(bytes)),
                fsm::Action::Entered(State::Established) => {
                    let session = self.connection.session().cloned();
                    self.actions.extend(session.map(|s| Action::Report(Event::Established(Box::new(s)))));
                }
                // Routes are asked for again by those who think that we have some to give.
                fsm::Action::Entered(_) | fsm::Action::Refresh(_) => {}
                fsm::Action::Update(_) if self.stopped => {}
                fsm::Action::Update(body) => self.update(now, &body),
                fsm::Action::Down(cause) => {
                    let routes = std::mem::take(&mut self.held).len();
                    self.actions.push_back(Action::Report(Event::Closed { cause, routes }));
                }
            }
        }
    }

    fn update(&mut self, now: Instant, body: &[u8]) {
        let four_octet_as = self.connection.session().is_some_and(|session| session.encoding.four_octet_as);
        let update = match Update::decode(body, four_octet_as) {
            Ok(update) => update,
            Err(notification) => return self.end(now, notification, "malformed UPDATE"),
        };
        let announced: BTreeSet<_> = update.announced.iter().flat_map(|(_, prefixes)| prefixes).copied().collect();
        for prefix in update.withdrawn {
            // In both lists is as good as in the second alone (RFC 4271 §4.3).
            if !announced.contains(&prefix) {
                self.held.remove(&prefix);
                self.actions.push_back(Action::Report(Event::Withdraw(prefix)));
            }
        }
        for (attributes, prefixes) in update.announced {
            let attributes = Arc::new(attributes);
            for prefix in prefixes {
                self.held.insert(prefix);
                self.actions.push_back(Action::Report(Event::Announce(prefix, attributes.clone())));
            }
        }
        if let Some(family) = update.end_of_rib {
            self.actions.push_back(Action::Report(Event::EndOfRib(family)));
        }
        if self.held.len() > self.max_routes {
            let why = format!("peer announced more than {} routes", self.max_routes);
            self.end(now, Notification::maximum_prefixes_reached(), &why);
        }
    }

    fn end(&mut self, now: Instant, notification: Notification, why: &str) {
        self.stopped = true;
        self.connection.stop(now, notification, why);
    }
}
