//! A peer against a scripted router, in virtual time.

mod capabilities;
mod door;
mod errors;
mod flow;
mod hold;
mod meeting;
mod opening;
mod reload;
mod restart;
mod retry;
mod router;
mod unnumbered;

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
    fn new(config: config::Peer) -> Lab {
        let now = crate::timers::origin();
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
            Notice::Told { announced: 2, withdrawn: 0, first: vec![prefix("192.0.2.1"), prefix("2001:db8::1")] },
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
