//! The passive side that only listens: what a neighbour announces to us, decoded.
//!
//! A [`Receiver`] is one connection that was accepted. It takes any peer, offers the families that the peer offers, keeps
//! the session alive, and reports what it receives. A malformed UPDATE costs what RFC 7606 says, and that is seldom the
//! session. Nothing is imported anywhere.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use super::attribute::PathAttributes;
use super::cause::Cause;
use super::error::Notification;
use super::fsm::{self, Connection, Offer, Session, State, Terms};
use super::omission::Omissions;
use super::update::{Fault, Update};
use crate::config::{Asn, Capabilities, HoldTime};
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
    /// It sent an UPDATE that is wrong, and what follows is what is left of it (RFC 7606).
    Malformed(Fault),
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
            confederation: None,
            extended_next_hop: false,
            capabilities: Capabilities::default(),
            omissions: Omissions::default(),
            restart: None,
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
        let Some(session) = self.connection.session() else { return };
        let update = match Update::decode(body, session.encoding.four_octet_as, session.internal) {
            Ok(update) => update,
            Err(notification) => return self.end(now, notification, "malformed UPDATE"),
        };
        self.actions.extend(update.fault.map(|fault| Action::Report(Event::Malformed(fault))));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::attribute::{NextHop, Segment};
    use crate::bgp::message::{Inbox, MAX_LEN, Message};
    use crate::bgp::open::{Capability, Open};
    use crate::bgp::update::{Encoding, Treatment, encode_announcements, encode_end_of_rib, encode_withdrawals};
    use crate::config::Origin;
    use std::time::Duration;

    const ENCODING: Encoding = Encoding { four_octet_as: true, mp_ipv4: false, max_len: MAX_LEN };

    /// A receiver and the messages of a neighbour that is written down here.
    struct Scene {
        now: Instant,
        receiver: Receiver,
        sent: Vec<Message>,
        inbox: Inbox,
        events: Vec<Event>,
    }

    impl Scene {
        fn new(options: &Options) -> Scene {
            let now = crate::timers::origin();
            let receiver = Receiver::new(now, options, 1);
            Scene { now, receiver, sent: vec![], inbox: Inbox::default(), events: vec![] }
        }

        fn established(options: &Options, families: &[Family]) -> Scene {
            let mut scene = Scene::new(options);
            let mut capabilities: Vec<_> = families.iter().copied().map(Capability::Multiprotocol).collect();
            capabilities.push(Capability::FourOctetAs(Asn(70_000)));
            let hold_time = HoldTime::from_secs(9).unwrap();
            let open = Open { asn: Asn(70_000), hold_time, router_id: Ipv4Addr::LOCALHOST, capabilities };
            scene.message(&Message::Open(open));
            scene.message(&Message::Keepalive);
            assert!(matches!(scene.events.as_slice(), [Event::Established(_)]));
            scene.events.clear();
            scene
        }

        fn message(&mut self, message: &Message) {
            let mut bytes = vec![];
            message.encode(&mut bytes);
            self.bytes(&bytes);
        }

        fn bytes(&mut self, bytes: &[u8]) {
            self.receiver.receive(self.now, bytes);
            self.drain();
        }

        fn advance(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(at) = self.receiver.poll_timeout().filter(|at| *at <= end) {
                self.now = at;
                self.receiver.handle_timeout(at);
                self.drain();
            }
            self.now = end;
        }

        fn drain(&mut self) {
            while let Some(action) = self.receiver.poll_action() {
                match action {
                    Action::Report(event) => self.events.push(event),
                    Action::Send(bytes) => {
                        self.receiver.sent(self.now, bytes.len());
                        self.inbox.push(&bytes);
                    }
                }
            }
            while let Some(message) = self.inbox.next().unwrap() {
                self.sent.push(message);
            }
        }

        fn update(&mut self, attributes: &PathAttributes, prefixes: &[Prefix]) {
            let mut bytes = vec![];
            encode_announcements(attributes, prefixes[0].family(), prefixes, ENCODING, &mut bytes).unwrap();
            self.bytes(&bytes);
        }
    }

    fn attributes() -> PathAttributes {
        PathAttributes {
            origin: Origin::Igp,
            as_path: vec![Segment::Sequence(vec![Asn(70_000)])],
            next_hop: NextHop::Ipv4(Ipv4Addr::LOCALHOST),
            med: None,
            local_pref: None,
            communities: vec![],
            large_communities: vec![],
            extended_communities: vec![],
            only_to_customer: None,
        }
    }

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn mirrors_the_peer_and_waits_for_its_word() {
        for (local_as, said) in [(None, Asn(70_000)), (Some(Asn(65_000)), Asn(65_000))] {
            let scene = Scene::new(&Options { local_as, ..Options::default() });
            assert_eq!(scene.sent, []);
            let scene = Scene::established(&Options { local_as, ..Options::default() }, &[Family::Ipv6]);
            let Some(Message::Open(open)) = scene.sent.first() else { panic!("{:?}", scene.sent) };
            assert_eq!(open.asn, said);
            assert!(open.offers(Family::Ipv6) && !open.offers(Family::Ipv4));
        }
    }

    #[test]
    fn reports_routes_in_order_and_counts_what_closing_takes() {
        let mut scene = Scene::established(&Options::default(), &Family::ALL);
        let [a, b] = prefixes(&["192.0.2.1", "192.0.2.2"]).try_into().unwrap();
        scene.update(&attributes(), &[a, b]);
        let mut bytes = vec![];
        encode_withdrawals(Family::Ipv4, &[a], ENCODING, &mut bytes);
        encode_end_of_rib(Family::Ipv6, &mut bytes);
        scene.bytes(&bytes);
        scene.update(&attributes(), &[b]);
        let shared = Arc::new(attributes());
        let announce = |prefix| Event::Announce(prefix, shared.clone());
        let expected = [announce(a), announce(b), Event::Withdraw(a), Event::EndOfRib(Family::Ipv6), announce(b)];
        assert_eq!(scene.events, expected);
        assert_eq!(scene.receiver.routes().collect::<Vec<_>>(), [&b]);
        scene.receiver.closed(scene.now, None);
        scene.drain();
        assert_eq!(scene.events.last(), Some(&Event::Closed { cause: Cause::Closed(None), routes: 1 }));
        assert_eq!(scene.receiver.poll_timeout(), None);
    }

    #[test]
    fn a_prefix_both_withdrawn_and_announced_is_announced() {
        let mut scene = Scene::established(&Options::default(), &[Family::Ipv4]);
        let prefix = prefixes(&["10.0.0.0/8"])[0];
        let mut message = vec![];
        encode_announcements(&attributes(), Family::Ipv4, &[prefix], ENCODING, &mut message).unwrap();
        let body = [&[0, 2, 8, 10], &message[21..]].concat();
        scene.message(&Message::Update(body));
        assert_eq!(scene.events, [Event::Announce(prefix, Arc::new(attributes()))]);
    }

    #[test]
    fn keeps_the_session_alive_and_ends_it_when_the_peer_is_silent() {
        let mut scene = Scene::established(&Options::default(), &[Family::Ipv4]);
        let before = scene.sent.len();
        for _ in 0..4 {
            scene.advance(Duration::from_secs(8));
            scene.message(&Message::Keepalive);
        }
        assert!(scene.sent[before..].len() >= 10 && scene.sent[before..].iter().all(|m| *m == Message::Keepalive));
        assert_eq!(scene.events, []);
        scene.advance(Duration::from_secs(9));
        assert_eq!(scene.sent.last(), Some(&Message::Notification(Notification::hold_timer_expired())));
        assert!(matches!(scene.events.as_slice(), [Event::Closed { .. }]));
    }

    #[test]
    fn a_wrong_attribute_withdraws_the_routes_and_the_session_stays() {
        let mut scene = Scene::established(&Options::default(), &[Family::Ipv4]);
        let [a, b] = prefixes(&["10.0.0.0/8", "11.0.0.0/8"]).try_into().unwrap();
        scene.update(&attributes(), &[a, b]);
        scene.events.clear();
        let before = scene.sent.len();
        // Without NEXT_HOP, and for one of them.
        let path = [0x40, 2, 6, 2, 1, 0, 1, 0x11, 0x70];
        scene.message(&Message::Update([&[0, 0, 0, 13, 0x40, 1, 1, 0][..], &path, &[8, 10]].concat()));
        let fault =
            Fault { treatment: Treatment::TreatAsWithdraw, error: Notification::missing_well_known_attribute(3) };
        assert_eq!(scene.events, [Event::Malformed(fault), Event::Withdraw(a)]);
        assert_eq!((scene.receiver.routes().collect::<Vec<_>>(), scene.sent.len()), (vec![&b], before));
        // Discarded, and announced without.
        scene.message(&Message::Update(
            [&[0, 0, 0, 24, 0x40, 1, 1, 0][..], &path, &[0x40, 3, 4, 127, 0, 0, 1, 0x40, 6, 1, 0, 8, 10]].concat(),
        ));
        assert!(matches!(scene.events[2], Event::Malformed(Fault { treatment: Treatment::AttributeDiscard, .. })));
        assert_eq!(scene.events[3..], [Event::Announce(a, Arc::new(attributes()))]);
    }

    #[test]
    fn a_malformed_update_ends_it_and_what_came_behind_does_not_count() {
        let mut scene = Scene::established(&Options::default(), &[Family::Ipv4]);
        let mut bytes = vec![];
        Message::Update(vec![0, 0, 0, 0, 33, 1, 2, 3, 4, 5]).encode(&mut bytes);
        let good = prefixes(&["10.0.0.0/8"]);
        encode_announcements(&attributes(), Family::Ipv4, &good, ENCODING, &mut bytes).unwrap();
        scene.bytes(&bytes);
        let notification = Notification::invalid_network_field();
        assert_eq!(scene.sent.last(), Some(&Message::Notification(notification.clone())));
        let cause = Cause::Sent(notification, "malformed UPDATE".to_owned());
        assert_eq!(scene.events, [Event::Closed { cause, routes: 0 }]);
    }

    #[test]
    fn more_routes_than_it_will_hold_end_it() {
        let mut scene = Scene::established(&Options { max_routes: 2, ..Options::default() }, &[Family::Ipv4]);
        let all = prefixes(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        scene.update(&attributes(), &all[..2]);
        scene.update(&attributes(), &all[..2]);
        assert_eq!(scene.events.len(), 4);
        scene.update(&attributes(), &all[2..]);
        assert_eq!(scene.sent.last(), Some(&Message::Notification(Notification::maximum_prefixes_reached())));
        assert!(matches!(scene.events.last(), Some(Event::Closed { routes: 3, .. })));
    }
}
