//! A peer against a scripted router, in virtual time.

mod capabilities;
mod meeting;
mod restart;
mod router;

use std::time::Duration;

use router::{KEEPALIVE, MP_IPV4, MP_IPV6, NOTIFICATION, OPEN, REFRESH, ROUTE_REFRESH, Router, UPDATE, four_octets};

use super::attempt::UNSENT_HIGH;
use super::*;
use crate::config::{
    Asn, Attributes, Community, ExportFilter, HoldTime, LiveParameters, NextHop6, PeerAs, SessionParameters,
};

const SECOND: Duration = Duration::from_secs(1);

fn config() -> config::Peer {
    let asn = PeerAs::Number(Asn(65000));
    let session = SessionParameters::new([10, 0, 0, 1].into(), asn, Asn(65001), [10, 0, 0, 2].into());
    let next_hop_ipv6 = NextHop6::Address("fd00::2".parse().unwrap());
    config::Peer {
        live: LiveParameters { next_hop_ipv6, ..LiveParameters::default() },
        ..config::Peer::new("tor", session)
    }
}

/// A peer with something else configured.
fn altered(base: config::Peer, alter: impl FnOnce(&mut SessionParameters, &mut LiveParameters)) -> config::Peer {
    let mut peer = base;
    alter(&mut peer.session, &mut peer.live);
    peer
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn with_med(med: u32) -> Option<Arc<Attributes>> {
    Some(Arc::new(Attributes { med: Some(med), ..Attributes::default() }))
}

fn their_open() -> Vec<u8> {
    router::open(65000, 90, [10, 0, 0, 1], &[MP_IPV4, MP_IPV6, ROUTE_REFRESH, &four_octets(65000)])
}

fn keepalive() -> Vec<u8> {
    router::message(KEEPALIVE, &[])
}

/// A peer, its driver and its router.
struct Lab {
    start: Instant,
    now: Instant,
    peer: Peer,
    rib: Rib,
    conn: Option<ConnId>,
    dialled: Vec<(ConnId, Duration)>,
    local: SocketAddr,
    router: Router,
    notices: Vec<Notice>,
    /// Whether TCP takes what is sent.
    reads: bool,
    /// Octets that TCP has not taken.
    queued: usize,
    queued_max: usize,
}

impl Lab {
    #[expect(clippy::disallowed_methods, reason = "a test needs some origin for virtual time")]
    fn new(config: config::Peer) -> Lab {
        let now = Instant::now();
        let mut lab = Lab {
            start: now,
            now,
            peer: Peer::new(now, Arc::new(config), 7),
            rib: Rib::default(),
            conn: None,
            dialled: Vec::new(),
            local: "10.0.0.2:40000".parse().unwrap(),
            router: Router::default(),
            notices: Vec::new(),
            reads: true,
            queued: 0,
            queued_max: 0,
        };
        assert_eq!(lab.peer.poll_timeout(), Some(now));
        lab.advance(Duration::ZERO);
        lab
    }

    /// Established and released, with the default router.
    fn up(config: config::Peer) -> Lab {
        let mut lab = Lab::new(config);
        lab.release();
        lab.establish();
        lab
    }

    fn release(&mut self) {
        self.peer.release(self.now, &self.rib);
        self.run();
    }

    fn establish(&mut self) {
        self.connected();
        self.bytes(&their_open());
        self.bytes(&keepalive());
        assert_eq!(self.state(), State::Established);
    }

    /// Waits until the peer dials.
    fn dial(&mut self) {
        while self.conn.is_none() {
            let at = self.peer.poll_timeout().unwrap();
            self.advance(at - self.now);
        }
    }

    fn connected(&mut self) {
        self.router = Router::default();
        self.queued = 0;
        let remote = SocketAddr::new(self.peer.config().session.address, 179);
        self.event(Event::Connected { local: self.local, remote });
        assert_eq!(self.state(), State::OpenSent);
    }

    fn event(&mut self, event: Event<'_>) {
        let conn = self.conn.expect("there is a connection in this test");
        if matches!(event, Event::Closed(_) | Event::ConnectFailed(_)) {
            self.conn = None;
        }
        self.peer.handle(self.now, conn, event, &self.rib);
        self.run();
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.event(Event::Bytes(bytes));
    }

    /// TCP takes so many of the queued octets.
    fn take(&mut self, octets: usize) {
        self.queued -= octets;
        self.event(Event::Sent(octets));
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.peer.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.peer.handle_timeout(self.now, &self.rib);
            assert!(self.peer.poll_timeout().is_none_or(|next| next > self.now));
            self.run();
        }
        self.now = end;
    }

    fn set(&mut self, text: &str, wanted: Option<Arc<Attributes>>) {
        self.rib.set(prefix(text), wanted);
        self.changed();
    }

    fn changed(&mut self) {
        let changed = self.rib.take_changed();
        self.peer.rib_changed(self.now, &changed, &self.rib);
        self.run();
    }

    fn configure(&mut self, config: config::Peer) {
        self.peer.configure(self.now, Arc::new(config), &self.rib);
        self.run();
    }

    fn run(&mut self) {
        while let Some(action) = self.peer.poll_action() {
            match action {
                Action::Connect(conn) => {
                    assert_eq!(self.conn, None, "two connections");
                    assert!(self.dialled.iter().all(|(old, _)| *old != conn), "{conn:?} is used twice");
                    self.conn = Some(conn);
                    self.dialled.push((conn, self.now - self.start));
                }
                Action::Accept(..) => panic!("nobody connects in these tests"),
                Action::Send(conn, bytes) => {
                    assert_eq!(Some(conn), self.conn);
                    self.router.receive(&bytes);
                    if self.reads {
                        self.peer.handle(self.now, conn, Event::Sent(bytes.len()), &self.rib);
                    } else {
                        self.queued += bytes.len();
                        self.queued_max = self.queued_max.max(self.queued);
                    }
                }
                Action::Close(conn) => {
                    assert_eq!(Some(conn), self.conn.take(), "closes what is not open");
                }
                Action::Notice(notice) => self.notices.push(notice),
            }
        }
        if let Some(feed) = self.peer.feed()
            && self.rib.prefixes().take(100).count() < 100
        {
            feed.check_all();
        }
    }

    fn state(&self) -> State {
        self.peer.status().state
    }

    fn last_error(&self) -> Cause {
        self.peer.status().last_error.unwrap()
    }

    /// Ended by our NOTIFICATION, which the router has.
    fn assert_sent(&self, code: u8, subcode: u8) {
        let (kind, body) = self.router.last();
        assert_eq!((kind, body[0], body[1]), (NOTIFICATION, code, subcode), "{}", self.last_error());
        assert_eq!((self.state(), self.conn), (State::Idle, None));
        assert!(matches!(self.last_error(), Cause::Sent(n, _) if n.code == code && n.subcode == subcode));
    }

    fn route(&self, text: &str) -> Option<&std::collections::BTreeMap<u8, Vec<u8>>> {
        self.router.table.get(&prefix(text))
    }
}

#[test]
fn the_way_up_the_routes_and_the_end() {
    let mut lab = Lab::new(config());
    assert_eq!(lab.state(), State::Connect);
    lab.set("192.0.2.1", with_med(5));
    lab.set("2001:db8::1", with_med(6));
    lab.release();
    lab.connected();
    let (kind, body) = lab.router.last();
    assert_eq!((kind, &body[..10]), (OPEN, [4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 2, body[9]].as_slice()));
    for capability in [MP_IPV4, MP_IPV6, ROUTE_REFRESH, &four_octets(65001)] {
        assert!(body[10..].windows(capability.len()).any(|part| part == capability), "{capability:?}");
    }
    lab.bytes(&their_open());
    assert_eq!((lab.state(), lab.router.last().0), (State::OpenConfirm, KEEPALIVE));
    assert_eq!(lab.router.updates, 0, "not before their KEEPALIVE");
    lab.bytes(&keepalive());
    assert_eq!(lab.state(), State::Established);
    assert_eq!(lab.router.end_of_rib, [(1, 1), (2, 1)]);
    let route = &lab.router.table[&prefix("192.0.2.1")];
    assert_eq!(route[&1], [0]);
    assert_eq!(route[&2], [2, 1, 0, 0, 0xfd, 0xe9]);
    assert_eq!(route[&3], [10, 0, 0, 2]);
    assert_eq!(route[&4], [0, 0, 0, 5]);
    assert!(!route.contains_key(&5), "LOCAL_PREF is for iBGP");
    let next_hop: std::net::Ipv6Addr = "fd00::2".parse().unwrap();
    assert_eq!(lab.route("2001:db8::1").unwrap()[&14], next_hop.octets());
    assert!(lab.peer.has_advertised(&prefix("192.0.2.1")) && lab.peer.is_synchronised());
    let status = lab.peer.status();
    assert_eq!((status.advertised, status.established_count), ([1, 1], 1));
    assert_eq!((status.remote_as, status.hold_time), (Some(Asn(65000)), HoldTime::from_secs(9)));
    assert_eq!(
        lab.notices,
        [
            Notice::State { from: State::Idle, to: State::Connect, cause: None },
            Notice::State { from: State::Connect, to: State::OpenSent, cause: None },
            Notice::State { from: State::OpenSent, to: State::OpenConfirm, cause: None },
            Notice::State { from: State::OpenConfirm, to: State::Established, cause: None },
            Notice::Synchronised(Family::Ipv4, 1),
            Notice::Synchronised(Family::Ipv6, 1),
        ]
    );

    lab.set("192.0.2.1", None);
    assert_eq!((lab.route("192.0.2.1"), lab.router.table.len()), (None, 1));
    assert!(!lab.peer.has_advertised(&prefix("192.0.2.1")));

    lab.peer.stop(lab.now, &Notification::administrative_shutdown("bye"));
    lab.run();
    lab.assert_sent(6, 2);
    assert_eq!(lab.router.last().1[2..], *b"\x03bye");
    assert_eq!(lab.peer.poll_timeout(), None);
    let told = Notice::State { from: State::Established, to: State::Idle, cause: Some(lab.last_error()) };
    assert_eq!(lab.notices.last(), Some(&told));
}

#[test]
fn a_stream_may_be_split_anywhere() {
    let refresh = router::message(REFRESH, &[0, 1, 0, 1]);
    let stream = [their_open(), keepalive(), router::message(UPDATE, &[0; 4]), refresh, keepalive()].concat();
    for cut in 0..stream.len() {
        let mut lab = Lab::new(config());
        lab.set("192.0.2.1", with_med(5));
        lab.release();
        lab.connected();
        lab.bytes(&stream[..cut]);
        lab.bytes(&stream[cut..]);
        assert_eq!((lab.state(), lab.router.table.len()), (State::Established, 1), "cut at {cut}");
    }
    let mut lab = Lab::new(config());
    lab.connected();
    for byte in stream {
        lab.bytes(&[byte]);
    }
    assert_eq!(lab.state(), State::Established);
}

#[test]
fn an_open_that_will_not_do_gets_its_notification() {
    let four = four_octets(65000);
    let good: &[&[u8]] = &[MP_IPV4, &four];
    let id = [10, 0, 0, 1];
    let mut version = their_open();
    version[19] = 3;
    for (open, subcode) in [
        (version, 1),
        (router::open(65002, 90, id, &[MP_IPV4]), 2),
        (router::open(65000, 90, id, &[MP_IPV4, &four_octets(65002)]), 2),
        (router::open(23456, 90, id, &[MP_IPV4]), 2),
        (router::open(65000, 90, [0; 4], good), 3),
        (router::open(65000, 1, id, good), 6),
        (router::open(65000, 2, id, good), 6),
    ] {
        let mut lab = Lab::new(config());
        lab.connected();
        lab.bytes(&open);
        lab.assert_sent(2, subcode);
    }
    let mut lab = Lab::new(altered(config(), |session, _| session.families = vec![Family::Ipv6]));
    lab.connected();
    lab.bytes(&router::open(65000, 90, id, good));
    lab.assert_sent(2, 7);
    assert_eq!(lab.router.last().1[2..], *MP_IPV6, "says what is missing");
}

#[test]
fn router_ids_must_differ_within_an_as_only() {
    // RFC 6286 §2.2.
    let ours = [10, 0, 0, 2];
    let mut lab = Lab::new(config());
    lab.connected();
    lab.bytes(&router::open(65000, 90, ours, &[MP_IPV4]));
    assert_eq!(lab.state(), State::OpenConfirm);
    let mut lab = Lab::new(altered(config(), |session, _| session.peer_as = PeerAs::Internal));
    lab.connected();
    lab.bytes(&router::open(65001, 90, ours, &[MP_IPV4]));
    lab.assert_sent(2, 3);
}

#[test]
fn internal_and_external_are_held_to() {
    for (rule, asn, good) in [
        (PeerAs::Internal, 65001, true),
        (PeerAs::Internal, 65000, false),
        (PeerAs::External, 65001, false),
        (PeerAs::External, 65000, true),
        (PeerAs::Number(Asn(65000)), 65000, true),
    ] {
        let mut lab = Lab::new(altered(config(), |session, _| session.peer_as = rule));
        lab.connected();
        lab.bytes(&router::open(asn, 90, [10, 0, 0, 1], &[MP_IPV4]));
        assert_eq!(lab.state() == State::OpenConfirm, good, "{rule:?} {asn}");
    }
}

#[test]
fn what_is_unexpected_is_told_by_state() {
    let update = router::message(UPDATE, &[0; 4]);
    let refresh = router::message(REFRESH, &[0, 1, 0, 1]);
    let (open_sent, open_confirm) = (vec![], vec![their_open()]);
    let established = vec![their_open(), keepalive()];
    for (before, message, subcode) in [
        (&open_sent, keepalive(), 1),
        (&open_sent, update.clone(), 1),
        (&open_sent, refresh.clone(), 1),
        (&open_confirm, their_open(), 2),
        (&open_confirm, update, 2),
        (&open_confirm, refresh, 2),
        (&established, their_open(), 3),
    ] {
        let mut lab = Lab::new(config());
        lab.connected();
        lab.bytes(&before.concat());
        lab.bytes(&message);
        lab.assert_sent(5, subcode);
        assert_eq!(lab.router.last().1[2], message[18], "RFC 6608 §3: the type");
    }
}

/// RFC 7606, and an announcer imports nothing anyway: whatever an UPDATE of the router says, the session stays.
#[test]
fn a_strange_update_costs_nothing() {
    let mut lab = Lab::up(config());
    let established = lab.peer.status().established_count;
    for body in [
        &[0, 0, 0, 4, 0x40, 1, 1, 9][..],                       // an ORIGIN that there is not
        &[0, 0, 0, 4, 0x40, 1, 9, 9],                           // an attribute that runs over the end
        &[0, 0, 0, 7, 0x80, 14, 4, 0, 2, 1, 9],                 // MP_REACH_NLRI, the same
        &[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1, 33, 1, 2, 3, 4, 5], // a prefix that IPv4 has not
        &[0, 2, 129, 1, 0, 0],                                  // the same, withdrawn
        &[0, 0, 0, 4, 0x40, 99, 1, 7],                          // well-known, it says
    ] {
        lab.bytes(&router::message(UPDATE, body));
    }
    lab.set("192.0.2.1", with_med(1));
    assert_eq!((lab.state(), lab.router.table.len()), (State::Established, 1));
    assert_eq!(lab.peer.status().established_count, established);
}

#[test]
fn garbage_gets_its_notification() {
    let mut marker = keepalive();
    marker[3] = 0;
    for (bytes, code, subcode) in [
        (marker, 1, 1),
        (router::message(KEEPALIVE, &[0]), 1, 2),
        (router::message(9, &[]), 1, 3),
        (router::message(UPDATE, &[0, 9, 0, 0]), 3, 1),
    ] {
        let mut lab = Lab::up(config());
        lab.bytes(&bytes);
        lab.assert_sent(code, subcode);
        assert_eq!(lab.peer.status().established_count, 1);
    }
}

#[test]
fn their_notification_ends_it_in_every_state() {
    let cease = router::message(NOTIFICATION, b"\x06\x02\x04bye!");
    for before in [vec![], vec![their_open()], vec![their_open(), keepalive()]] {
        let mut lab = Lab::new(config());
        lab.connected();
        lab.bytes(&before.concat());
        let sent = lab.router.messages.len();
        lab.bytes(&cease);
        assert_eq!((lab.state(), lab.conn, lab.router.messages.len()), (State::Idle, None, sent));
        assert_eq!(lab.last_error().to_string(), "peer sent Cease/Administrative Shutdown: \"bye!\"");
    }
}

#[test]
fn hold_time_and_keepalives() {
    for (theirs, hold) in [(90, 9), (3, 3)] {
        let mut lab = Lab::new(config());
        lab.release();
        lab.connected();
        lab.bytes(&router::open(65000, theirs, [10, 0, 0, 1], &[MP_IPV4]));
        lab.bytes(&keepalive());
        for i in 0..20 {
            let before = lab.router.messages.len();
            lab.advance(Duration::from_secs(hold) - SECOND / 1000);
            // A third, less up to a quarter, each (RFC 4271 §10).
            let sent = lab.router.messages.len() - before;
            assert!((2..=4).contains(&sent), "{sent} within {hold} s");
            let alive = if i % 2 == 0 { keepalive() } else { router::message(UPDATE, &[0; 4]) };
            lab.bytes(&alive);
        }
        lab.advance(Duration::from_secs(hold) - SECOND / 1000);
        assert_eq!(lab.state(), State::Established);
        lab.advance(SECOND / 1000);
        lab.assert_sent(4, 0);
        assert_eq!(lab.last_error().to_string(), "hold timer expired");
    }
}

#[test]
fn a_hold_time_of_zero_is_neither_timer_nor_keepalives() {
    let ours = HoldTime::OFF;
    for (ours, theirs) in [(ours, 90), (config().session.hold_time, 0)] {
        let mut lab = Lab::new(altered(config(), |session, _| session.hold_time = ours));
        lab.connected();
        lab.bytes(&router::open(65000, theirs, [10, 0, 0, 1], &[MP_IPV4]));
        lab.bytes(&keepalive());
        let sent = lab.router.messages.len();
        lab.advance(100_000 * SECOND);
        assert_eq!((lab.state(), lab.router.messages.len()), (State::Established, sent));
        assert_eq!(lab.peer.poll_timeout(), None);
    }
}

#[test]
fn a_silent_router_is_not_waited_for_forever() {
    let mut lab = Lab::new(config());
    lab.connected();
    lab.advance(239 * SECOND);
    assert_eq!(lab.state(), State::OpenSent);
    lab.advance(SECOND);
    assert_eq!(lab.router.last(), (NOTIFICATION, [4, 0].as_slice()));
    for theirs in [90, 0] {
        let mut lab = Lab::new(config());
        lab.connected();
        lab.bytes(&router::open(65000, theirs, [10, 0, 0, 1], &[MP_IPV4]));
        lab.advance(if theirs == 0 { 240 * SECOND } else { 9 * SECOND });
        assert_eq!(lab.router.last(), (NOTIFICATION, [4, 0].as_slice()), "OpenConfirm is no place to stay");
    }
}

#[test]
fn only_the_families_of_both_are_announced() {
    for (capabilities, families) in [
        (vec![], vec![Family::Ipv4]),
        (vec![ROUTE_REFRESH], vec![Family::Ipv4]),
        (vec![MP_IPV6], vec![Family::Ipv6]),
        (vec![MP_IPV4], vec![Family::Ipv4]),
        (vec![MP_IPV4, MP_IPV6], Family::ALL.to_vec()),
    ] {
        let mut lab = Lab::new(config());
        lab.release();
        lab.set("192.0.2.1", with_med(1));
        lab.set("2001:db8::1", with_med(1));
        lab.connected();
        lab.bytes(&router::open(65000, 90, [10, 0, 0, 1], &capabilities));
        lab.bytes(&keepalive());
        assert_eq!(lab.peer.status().families, families, "{capabilities:?}");
        assert_eq!(lab.router.table.len(), families.len());
        assert_eq!(lab.router.end_of_rib.len(), families.len());
        for family in Family::ALL {
            let text = if family == Family::Ipv4 { "192.0.2.1" } else { "2001:db8::1" };
            let taken = families.contains(&family);
            assert_eq!(lab.route(text).is_some(), taken);
            assert_eq!(lab.notices.contains(&Notice::FamilyNotNegotiated(family)), !taken);
        }
        // Also later, and also when asked.
        lab.set("2001:db8::2", with_med(1));
        lab.set("192.0.2.2", with_med(1));
        lab.bytes(&router::message(REFRESH, &[0, 2, 0, 1]));
        lab.bytes(&router::message(REFRESH, &[0, 1, 0, 1]));
        lab.bytes(&router::message(REFRESH, &[0, 9, 0, 9]));
        assert_eq!(lab.router.table.len(), 2 * families.len());
        assert_eq!(lab.router.changes, 4 * families.len(), "two told, and told again");
        assert!(lab.peer.is_synchronised());
    }
}

#[test]
fn as_numbers_in_two_octets() {
    let big = altered(config(), |session, _| session.local_as = Asn(4_200_000_000));
    let mut lab = Lab::new(big.clone());
    lab.release();
    lab.set("192.0.2.1", with_med(1));
    lab.connected();
    assert_eq!(lab.router.last().1[1..3], 23456u16.to_be_bytes());
    lab.bytes(&router::open(65000, 90, [10, 0, 0, 1], &[MP_IPV4]));
    lab.bytes(&keepalive());
    let route = lab.route("192.0.2.1").unwrap();
    assert_eq!(route[&2], [2, 1, 0x5b, 0xa0], "AS_TRANS");
    assert_eq!(route[&17], [2, 1, 0xfa, 0x56, 0xea, 0x00], "AS4_PATH");
    assert_eq!(lab.peer.encoding().map(|encoding| encoding.four_octet_as), Some(false));

    let mut lab = Lab::new(altered(big, |session, _| session.peer_as = PeerAs::Number(Asn(4_200_000_001))));
    lab.release();
    lab.set("192.0.2.1", with_med(1));
    lab.connected();
    lab.bytes(&router::open(23456, 90, [10, 0, 0, 1], &[&four_octets(4_200_000_001)]));
    lab.bytes(&keepalive());
    assert_eq!(lab.route("192.0.2.1").unwrap()[&2], [2, 1, 0xfa, 0x56, 0xea, 0x00]);
}

#[test]
fn ibgp_has_an_empty_path_and_a_local_pref() {
    let mut lab = Lab::new(altered(config(), |session, live| {
        session.peer_as = PeerAs::Internal;
        session.address = "127.0.0.1".parse().unwrap();
        live.next_hop_ipv6 = NextHop6::SelfAddress;
        live.attributes = Attributes { as_path_prepend: Some(3), ..Attributes::default() };
    }));
    lab.local = "127.0.0.1:40000".parse().unwrap();
    lab.release();
    lab.set("192.0.2.1", with_med(1));
    lab.set("2001:db8::1", with_med(1));
    lab.connected();
    lab.bytes(&router::open(65001, 90, [10, 0, 0, 1], &[MP_IPV4, MP_IPV6]));
    lab.bytes(&keepalive());
    let route = lab.route("192.0.2.1").unwrap();
    assert_eq!((route[&2].as_slice(), route[&5].as_slice()), ([].as_slice(), [0, 0, 0, 100].as_slice()));
    assert_eq!(route[&3], [127, 0, 0, 1], "the loopback recipe");
    // An IPv4 session has no IPv6 address of its own: never `::`, nothing instead.
    assert_eq!(lab.router.table.len(), 1);
    assert_eq!(lab.router.end_of_rib, [(1, 1), (2, 0)]);
    assert_eq!(lab.peer.status().without_next_hop, [Family::Ipv6]);
    assert_eq!(lab.notices.iter().filter(|notice| **notice == Notice::NoNextHop(Family::Ipv6)).count(), 1);
    assert!(lab.peer.is_synchronised());
}

/// RFC 8950: IPv4 over an IPv6 session, when both sides take it, and else not at all.
#[test]
fn an_ipv6_next_hop_for_ipv4_needs_both_sides() {
    const EXTENDED: &[u8] = &[5, 6, 0, 1, 0, 1, 0, 2];
    let willing = altered(config(), |session, live| {
        session.address = "fd00::1".parse().unwrap();
        live.next_hop_ipv6 = NextHop6::SelfAddress;
        session.extended_next_hop = true;
    });
    for (config, theirs, agreed) in [
        (willing.clone(), true, true),
        (willing.clone(), false, false),
        (altered(willing, |session, _| session.extended_next_hop = false), true, false),
    ] {
        let offered = config.session.extended_next_hop;
        let mut lab = Lab::new(config);
        lab.local = "[fd00::2]:40000".parse().unwrap();
        lab.release();
        lab.connected();
        let open = lab.router.last().1;
        assert_eq!(open.windows(EXTENDED.len()).any(|octets| octets == EXTENDED), offered);
        let four_octets = four_octets(65000);
        let capabilities = [MP_IPV4, MP_IPV6, &four_octets, EXTENDED];
        let theirs = if theirs { &capabilities[..] } else { &capabilities[..3] };
        lab.bytes(&router::open(65000, 90, [10, 0, 0, 1], theirs));
        lab.bytes(&keepalive());
        lab.set("192.0.2.1", with_med(1));
        lab.set("2001:db8::1", with_med(1));
        let own = &"fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets()[..];
        let next_hop = lab.route("192.0.2.1").map(|route| (route[&14].clone(), route.contains_key(&3)));
        assert_eq!(next_hop, agreed.then(|| (own.to_vec(), false)));
        assert_eq!(lab.route("2001:db8::1").unwrap()[&14], own);
        let status = lab.peer.status();
        assert_eq!((status.extended_next_hop, status.without_next_hop.is_empty()), (agreed, agreed));
        assert_eq!(lab.notices.contains(&Notice::NoNextHop(Family::Ipv4)), !agreed);
        lab.set("192.0.2.1", None);
        assert_eq!(lab.router.table.len(), 1);
        let classic = altered((**lab.peer.config()).clone(), |session, _| session.extended_next_hop = !offered);
        assert_eq!(lab.peer.change(&classic), Change::Reset(vec!["extended_next_hop"]));
    }
}

#[test]
fn nothing_flows_before_the_release() {
    let mut lab = Lab::new(config());
    lab.set("192.0.2.1", with_med(1));
    lab.establish();
    lab.set("192.0.2.2", with_med(1));
    lab.bytes(&router::message(REFRESH, &[0, 1, 0, 1]));
    lab.advance(5 * SECOND);
    assert_eq!((lab.router.updates, lab.state()), (0, State::Established));
    assert!(lab.peer.is_synchronised());
    lab.release();
    assert_eq!((lab.router.table.len(), lab.router.changes), (2, 2));
    assert_eq!(lab.router.end_of_rib, [(1, 2), (2, 0)]);
    lab.release();
    assert_eq!((lab.router.changes, lab.router.end_of_rib.len()), (2, 2), "once");
}

#[test]
fn only_differences_are_told() {
    let mut lab = Lab::up(config());
    assert_eq!(lab.router.end_of_rib, [(1, 0), (2, 0)], "also without routes");
    lab.set("192.0.2.1", with_med(1));
    lab.set("192.0.2.2", with_med(1));
    assert_eq!(lab.router.changes, 2);
    // There and back between two looks is no change, and neither is what never was.
    lab.rib.set(prefix("192.0.2.1"), None);
    lab.rib.set(prefix("192.0.2.1"), with_med(1));
    lab.rib.set(prefix("192.0.2.9"), with_med(1));
    lab.rib.set(prefix("192.0.2.9"), None);
    lab.changed();
    assert_eq!(lab.router.changes, 2);
    lab.set("192.0.2.1", with_med(2));
    assert_eq!((lab.router.changes, &lab.route("192.0.2.1").unwrap()[&4][..]), (3, &[0, 0, 0, 2][..]));
    assert_eq!(lab.router.end_of_rib.len(), 2, "End-of-RIB is said once");
}

#[test]
fn a_refresh_sends_the_family_again() {
    let mut lab = Lab::up(config());
    for text in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        lab.set(text, with_med(1));
    }
    lab.bytes(&router::message(REFRESH, &[0, 1, 0, 1]));
    assert_eq!(lab.router.changes, 5);
    lab.bytes(&router::message(REFRESH, &[0, 2, 0, 1]));
    assert_eq!(lab.router.changes, 6);
    assert_eq!(lab.router.table.len(), 3);
}

#[test]
fn a_reload_keeps_readvertises_or_resets() {
    let mut lab = Lab::up(config());
    lab.set("192.0.2.1", None);
    lab.set("192.0.2.1", with_med(1));
    lab.set("192.0.2.2", Some(Arc::default()));
    let changes = lab.router.changes;

    let patient = altered(config(), |_, live| live.connect_retry = 9 * SECOND);
    assert_eq!(lab.peer.change(&patient), Change::Keep);
    lab.configure(patient.clone());
    assert_eq!(lab.router.changes, changes);

    let attributes = Attributes { med: Some(7), communities: vec![Community(1)], ..Attributes::default() };
    let tagged = altered(patient, |_, live| live.attributes = attributes);
    assert_eq!(lab.peer.change(&tagged), Change::Readvertise);
    lab.configure(tagged.clone());
    assert_eq!(lab.router.changes, changes + 2);
    let route = lab.route("192.0.2.1").unwrap();
    assert_eq!((&route[&4][..], &route[&8][..]), (&[0, 0, 0, 1][..], &[0, 0, 0, 1][..]), "the VIP's MED goes first");
    assert_eq!(lab.route("192.0.2.2").unwrap()[&4], [0, 0, 0, 7]);

    let export = ExportFilter::from_lists(None, vec![prefix("192.0.2.1/32").into()]);
    let picky = altered(tagged, |_, live| live.export = export);
    assert_eq!(lab.peer.change(&picky), Change::Readvertise);
    lab.configure(picky.clone());
    assert_eq!((lab.route("192.0.2.1"), lab.router.table.len(), lab.router.changes), (None, 1, changes + 3));
    assert_eq!(lab.peer.status().established_count, 1);

    let secret = |text: &str| config::Secret::from_file(text.as_bytes()).ok();
    let with = |file: &str, text| {
        let password = Some(config::Password { file: file.into(), secret: secret(text) });
        altered(picky.clone(), |session, _| {
            session.transport = config::Transport { password, ..config::Transport::default() }
        })
    };
    assert_eq!(lab.peer.change(&with("/a", "x")), Change::Reset(vec!["password_file"]));
    let signed = Peer::new(lab.now, Arc::new(with("/a", "x")), 0);
    assert_eq!(signed.change(&with("/b", "x\n")), Change::Keep);
    assert_eq!(signed.change(&with("/a", "y")), Change::Reset(vec!["password_file"]));
    let reaching = |reach| {
        altered(picky.clone(), |session, _| {
            session.transport = config::Transport { reach, ..config::Transport::default() }
        })
    };
    let far = Peer::new(lab.now, Arc::new(reaching(config::Reach::Multihop(2))), 0);
    for (reach, keys) in [
        (config::Reach::Usual, vec!["multihop"]),
        (config::Reach::Multihop(3), vec!["multihop"]),
        (config::Reach::TtlSecurity(2), vec!["ttl_security", "multihop"]),
    ] {
        assert_eq!(far.change(&reaching(reach)), Change::Reset(keys));
    }
    let transport = config::Transport { interface: Some("eth0".into()), ..config::Transport::default() };
    let bound = altered(picky.clone(), |session, _| session.transport = transport);
    assert_eq!(lab.peer.change(&bound), Change::Reset(vec!["interface"]));

    let moved = altered(picky, |session, _| {
        session.port = 1179;
        session.hold_time = HoldTime::OFF;
    });
    assert_eq!(lab.peer.change(&moved), Change::Reset(vec!["port", "hold_time"]));
    let dialled = lab.dialled.len();
    lab.configure(moved);
    lab.assert_sent(6, 6);
    assert!(lab.last_error().to_string().contains("port, hold_time"), "{}", lab.last_error());
    lab.advance(SECOND / 2);
    assert_eq!((lab.dialled.len(), lab.state()), (dialled + 1, State::Connect));
    lab.establish();
    assert_eq!(lab.router.table.len(), 1);
}

#[test]
fn a_reload_that_takes_the_next_hop_withdraws_and_says_so() {
    let mut lab = Lab::up(config());
    lab.set("2001:db8::1", with_med(1));
    assert_eq!(lab.router.table.len(), 1);
    let without = altered(config(), |_, live| live.next_hop_ipv6 = NextHop6::SelfAddress);
    lab.configure(without);
    assert_eq!(lab.router.table.len(), 0);
    assert_eq!(lab.notices.last(), Some(&Notice::NoNextHop(Family::Ipv6)));
    lab.configure(config());
    assert_eq!(lab.router.table.len(), 1);
}

#[test]
fn stop_ends_whatever_there_is() {
    let shutdown = || Notification::administrative_shutdown("");
    let mut lab = Lab::new(config());
    lab.peer.stop(lab.now, &shutdown());
    lab.run();
    assert_eq!((lab.state(), lab.conn, lab.peer.poll_timeout()), (State::Idle, None, None));

    let mut lab = Lab::new(config());
    lab.event(Event::ConnectFailed("Connection refused".into()));
    lab.peer.stop(lab.now, &shutdown());
    lab.run();
    lab.advance(1000 * SECOND);
    assert_eq!((lab.state(), lab.dialled.len()), (State::Idle, 1));

    // Nobody was told, so nobody shall read that.
    let mut lab = Lab::new(config());
    lab.dial();
    lab.peer.stop(lab.now, &shutdown());
    lab.run();
    assert_eq!((lab.state(), lab.last_error().to_string()), (State::Idle, "stopped".to_owned()));

    let mut lab = Lab::new(config());
    lab.connected();
    lab.peer.stop(lab.now, &shutdown());
    lab.run();
    lab.assert_sent(6, 2);
    assert!(lab.last_error().to_string().starts_with("stopped (sent Cease/"));
    lab.configure(altered(config(), |session, _| session.port = 1));
    lab.advance(1000 * SECOND);
    assert_eq!(lab.dialled.len(), 1);
}

fn table(lab: &mut Lab, count: u32) {
    let shared = with_med(1);
    for i in 0..count {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + i);
        lab.rib.set(address.into(), shared.clone());
    }
    lab.rib.take_changed();
}

#[test]
fn a_large_table_goes_in_full_messages() {
    let mut lab = Lab::new(config());
    table(&mut lab, 100_000);
    lab.release();
    lab.connected();
    lab.bytes(&their_open());
    lab.bytes(&keepalive());
    assert_eq!(lab.router.end_of_rib, [(1, 100_000), (2, 0)]);
    assert_eq!(lab.router.changes, 100_000);
    assert!(lab.router.updates < 150, "{} messages", lab.router.updates);
    assert_eq!(lab.peer.status().advertised, [100_000, 0]);
}

#[test]
fn a_filter_that_opens_lets_every_route_through() {
    // What has been told lies far from what is wanted first: neither walk may run ahead of the other.
    let narrow = ExportFilter::from_lists(Some(vec![prefix("10.0.32.0/19").into()]), Vec::new());
    let mut lab = Lab::new(altered(config(), |_, live| live.export = narrow.clone()));
    table(&mut lab, 20_000);
    lab.release();
    lab.establish();
    assert_eq!(lab.router.table.len(), 8192);
    lab.configure(config());
    assert_eq!((lab.router.table.len(), lab.router.changes), (20_000, 20_000));
    lab.configure(altered(config(), |_, live| live.export = narrow));
    assert_eq!(lab.router.table.len(), 8192);
}

#[test]
fn a_router_that_does_not_read_costs_little_and_is_dropped() {
    let mut lab = Lab::new(config());
    table(&mut lab, 100_000);
    lab.release();
    lab.reads = false;
    lab.establish();
    let handed_out = lab.queued;
    assert!((UNSENT_HIGH..UNSENT_HIGH + 32 * 1024).contains(&handed_out), "{handed_out}");
    assert!(!lab.peer.is_synchronised());
    // It talks, it asks for more, and things change.
    for i in 0..200u32 {
        lab.advance(2 * SECOND);
        lab.bytes(&[keepalive(), router::message(REFRESH, &[0, 1, 0, 1])].concat());
        let victim = std::net::Ipv4Addr::from(0x0a00_0000 + i * 100).to_string();
        lab.set(&victim, None);
    }
    assert!(lab.queued_max < handed_out + 200 * 19, "KEEPALIVEs only: {}", lab.queued_max);
    assert_eq!(lab.state(), State::Established);
    // Progress counts from the last octet that went.
    lab.take(1000);
    for _ in 0..239 {
        lab.advance(2 * SECOND);
        lab.bytes(&keepalive());
    }
    assert_eq!(lab.state(), State::Established);
    lab.advance(2 * SECOND);
    lab.assert_sent(8, 0);
}

#[test]
fn a_slow_router_gets_everything_in_the_end() {
    let mut lab = Lab::new(config());
    table(&mut lab, 40_000);
    lab.release();
    lab.reads = false;
    lab.establish();
    let mut withdrawn = 0;
    while lab.queued > 0 {
        lab.take(lab.queued.min(10_000));
        lab.bytes(&keepalive());
        assert!(lab.queued <= UNSENT_HIGH + 32 * 1024);
        if withdrawn < 20 {
            let victim = std::net::Ipv4Addr::from(0x0a00_0000 + withdrawn * 1500).to_string();
            lab.set(&victim, None);
            withdrawn += 1;
        }
    }
    assert!(lab.peer.is_synchronised());
    assert_eq!(lab.router.table.len(), 40_000 - 20);
    assert_eq!(lab.router.end_of_rib.len(), 2);
    let (told, count) = (lab.peer.status().advertised, lab.router.table.len());
    assert_eq!(told, [count, 0]);
}

#[test]
fn what_comes_late_from_an_old_connection_is_nothing() {
    let mut lab = Lab::new(config());
    lab.release();
    lab.connected();
    let old = lab.conn.unwrap();
    lab.event(Event::Closed(None));
    lab.dial();
    assert_ne!(lab.conn, Some(old));
    for event in [Event::Closed(None), Event::Connected { local: lab.local, remote: lab.local }] {
        lab.peer.handle(lab.now, old, event, &lab.rib);
        lab.run();
        assert_eq!(lab.state(), State::Connect);
    }
    lab.establish();
    lab.reads = false;
    lab.set("192.0.2.1", with_med(1));
    let messages = lab.router.messages.len();
    for event in [
        Event::Closed(None),
        Event::ConnectFailed(String::new()),
        Event::Bytes(&[0; 99]),
        Event::Sent(1 << 20),
        Event::Connected { local: lab.local, remote: lab.local },
    ] {
        lab.peer.handle(lab.now, old, event, &lab.rib);
        lab.run();
    }
    assert_eq!((lab.state(), lab.router.messages.len()), (State::Established, messages));
    assert!(!lab.peer.is_synchronised());
}

/// The waits from the end of each attempt to the next, with each attempt ended by `end`.
fn waits(lab: &mut Lab, count: usize, end: &mut dyn FnMut(&mut Lab)) -> Vec<f64> {
    (0..count)
        .map(|_| {
            lab.dial();
            end(lab);
            let next = lab.peer.status().retry_at.unwrap();
            (next - lab.now).as_secs_f64()
        })
        .collect()
}

fn assert_near(waits: &[f64], expected: &[f64]) {
    assert_eq!(waits.len(), expected.len());
    for (wait, expected) in waits.iter().zip(expected) {
        assert!((0.75 * expected..=*expected).contains(wait), "{waits:?}");
    }
}

#[test]
fn refusals_are_retried_soon_notifications_slower_and_success_forgives() {
    let mut refuse = |lab: &mut Lab| lab.event(Event::ConnectFailed("Connection refused".into()));
    let mut lab = Lab::new(config());
    assert_near(&waits(&mut lab, 6, &mut refuse), &[1.0, 2.0, 4.0, 5.0, 5.0, 5.0]);
    // FRR accepts and closes while it starts.
    let mut accept_and_close = |lab: &mut Lab| {
        lab.connected();
        lab.event(Event::Closed(None));
    };
    assert_near(&waits(&mut lab, 2, &mut accept_and_close), &[5.0, 5.0]);
    let mut wrong_as = |lab: &mut Lab| {
        lab.connected();
        lab.bytes(&router::open(1, 90, [10, 0, 0, 1], &[MP_IPV4]));
    };
    assert_near(&waits(&mut lab, 6, &mut wrong_as), &[5.0, 10.0, 20.0, 40.0, 60.0, 60.0]);
    // A session too short to forgive, and one that is not.
    let session = |seconds: u32| {
        move |lab: &mut Lab| {
            lab.establish();
            for _ in 0..seconds {
                lab.advance(SECOND);
                lab.bytes(&keepalive());
            }
            lab.event(Event::Closed(None));
        }
    };
    waits(&mut lab, 1, &mut session(4));
    assert_near(&waits(&mut lab, 1, &mut wrong_as), &[60.0]);
    waits(&mut lab, 1, &mut session(31));
    assert_near(&waits(&mut lab, 1, &mut wrong_as), &[5.0]);
}

#[test]
fn a_reload_tries_at_once_and_status_says_since_when_it_is_down() {
    let mut lab = Lab::new(config());
    let down_since = lab.now;
    let mut wrong_as = |lab: &mut Lab| {
        lab.connected();
        lab.bytes(&router::open(1, 90, [10, 0, 0, 1], &[MP_IPV4]));
    };
    assert_near(&waits(&mut lab, 5, &mut wrong_as)[4..], &[60.0]);
    assert_eq!(lab.peer.status().since, down_since, "it has never been up");
    lab.peer.configure(lab.now, Arc::new(config()), &lab.rib);
    lab.run();
    assert_near(&[(lab.peer.status().retry_at.unwrap() - lab.now).as_secs_f64()], &[0.2]);
    // It was tried, not forgiven; and a session that is up is left alone.
    assert_near(&waits(&mut lab, 1, &mut wrong_as), &[60.0]);
    lab.dial();
    lab.establish();
    let up_since = lab.now;
    lab.advance(SECOND);
    lab.peer.configure(lab.now, Arc::new(config()), &lab.rib);
    lab.run();
    assert_eq!((lab.state(), lab.peer.status().since), (State::Established, up_since));
}

#[test]
fn silence_names_what_may_be_its_cause() {
    let password = Some(config::Password { file: "/x".into(), secret: config::Secret::from_file(b"x").ok() });
    let reach = config::Reach::TtlSecurity(2);
    let transport = config::Transport { password, reach, ..config::Transport::default() };
    let mut lab = Lab::new(altered(config(), |session, _| session.transport = transport.clone()));
    lab.advance(60 * SECOND);
    assert_eq!(lab.last_error(), Cause::ConnectTimeout(Suspects::of(&transport)));
    assert!(lab.last_error().to_string().contains("ttl_security = 2"), "{}", lab.last_error());

    lab.dial();
    lab.connected();
    lab.advance(241 * SECOND);
    let words = lab.last_error().to_string();
    assert!(words.starts_with("hold timer expired (TCP-MD5 is on"), "{words}");
}

#[test]
fn a_black_hole_is_left_and_tried_again() {
    let mut lab = Lab::new(config());
    lab.advance(60 * SECOND);
    assert!((7..=12).contains(&lab.dialled.len()), "{:?}", lab.dialled);
    assert_eq!(lab.last_error(), Cause::ConnectTimeout(Suspects::of(&config::Transport::default())));
    let told = lab.notices.iter().filter(|notice| matches!(notice, Notice::State { .. })).count();
    assert_eq!(told, 2, "the attempt and its end, once: {:?}", lab.notices);
}

#[test]
fn failures_are_told_once_until_they_differ() {
    let refused = |lab: &mut Lab| lab.event(Event::ConnectFailed("Connection refused".into()));
    let closed = |lab: &mut Lab| {
        lab.connected();
        lab.event(Event::Closed(None));
    };
    let mut lab = Lab::new(config());
    for _ in 0..10 {
        waits(&mut lab, 2, &mut { refused });
        waits(&mut lab, 2, &mut { closed });
    }
    let causes: Vec<_> = lab
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::State { to: State::Idle, cause, .. } => cause.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(causes, [Cause::ConnectFailed("Connection refused".into()), Cause::Closed(None)]);
    assert_eq!(lab.notices.len(), 3, "{:?}", lab.notices);
    // A session is news, and so is its end, and then the same failure again.
    lab.notices.clear();
    lab.dial();
    lab.establish();
    assert_eq!(lab.peer.status().last_error, None);
    lab.event(Event::Closed(None));
    lab.dial();
    refused(&mut lab);
    let states = lab.notices.iter().filter(|notice| matches!(notice, Notice::State { .. })).count();
    assert_eq!(states, 3, "{:?}", lab.notices);
}

#[test]
fn attributes_that_fit_no_message_take_the_route_away() {
    let mut lab = Lab::up(config());
    lab.set("192.0.2.1", with_med(1));
    lab.set("192.0.2.2", with_med(1));
    let communities = (0..1200).map(Community).collect();
    lab.set("192.0.2.1", Some(Arc::new(Attributes { communities, ..Attributes::default() })));
    assert_eq!((lab.route("192.0.2.1"), lab.router.table.len()), (None, 1));
    assert_eq!(lab.notices.last(), Some(&Notice::TooLarge(prefix("192.0.2.1"), 1)));
    assert!(lab.peer.is_synchronised());
    lab.set("192.0.2.1", with_med(1));
    assert_eq!(lab.router.table.len(), 2);
}
