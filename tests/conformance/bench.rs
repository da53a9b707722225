//! One peer of Herald's on a test bench: brought to a state, given an event, and looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald::bgp::peer::{Action, ArrivalId, ConnId, Event, Peer, State};
use herald::config::{self, Source};
use herald::rib::Rib;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A session as the tests' configuration has it: AS 65001 and 10.0.0.2 against AS 65000 and 10.0.0.1.
pub(crate) const OURS: &str = "10.0.0.2:40000";
pub(crate) const THEIRS: &str = "10.0.0.1:179";

/// A message: marker, length, type, body.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// A header that says what it likes.
pub(crate) fn header(length: u16, kind: u8) -> Vec<u8> {
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind]].concat()
}

pub(crate) fn notification(code: u8, subcode: u8, data: &[u8]) -> Vec<u8> {
    message(3, &[&[code, subcode][..], data].concat())
}

pub(crate) fn keepalive() -> Vec<u8> {
    message(4, &[])
}

/// An UPDATE that says nothing: End-of-RIB of IPv4.
pub(crate) fn update() -> Vec<u8> {
    message(2, &[0; 4])
}

/// A ROUTE-REFRESH of IPv4.
pub(crate) fn refresh() -> Vec<u8> {
    message(5, &[0, 1, 0, 1])
}

/// Version, AS, hold time, identifier; then optional parameters as they are.
pub(crate) fn open(version: u8, asn: u16, hold: u16, id: [u8; 4], parameters: &[u8]) -> Vec<u8> {
    let length = u8::try_from(parameters.len()).unwrap();
    let [asn, hold] = [asn, hold].map(u16::to_be_bytes);
    message(1, &[&[version][..], &asn, &hold, &id, &[length], parameters].concat())
}

/// Multiprotocol IPv4 and 4-octet AS 65000, in one parameter.
pub(crate) const CAPABILITIES: [u8; 14] = [2, 12, 1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfd, 0xe8];

pub(crate) fn good_open() -> Vec<u8> {
    open(4, 65000, 90, [10, 0, 0, 1], &CAPABILITIES)
}

/// A peer, and what it has asked of its driver.
pub(crate) struct Bench {
    pub(crate) now: Instant,
    pub(crate) peer: Peer,
    pub(crate) rib: Rib,
    /// The connection that was last asked for or handed over.
    pub(crate) conn: Option<ConnId>,
    /// Octets sent since the last look, on any connection.
    sent: Vec<u8>,
    pub(crate) connects: usize,
    pub(crate) closed: Vec<ConnId>,
    /// TCP takes nothing any more.
    pub(crate) deaf: bool,
}

impl Bench {
    /// Idle, before its first attempt; `keys` are further ones of the peer.
    #[expect(clippy::disallowed_methods, reason = "a test needs some origin for virtual time")]
    pub(crate) fn idle(keys: &str) -> Bench {
        let now = Instant::now();
        let peer = Peer::new(now, peer(keys), 7);
        let (rib, sent, closed) = (Rib::default(), Vec::new(), Vec::new());
        Bench { now, peer, rib, conn: None, sent, connects: 0, closed, deaf: false }
    }

    /// In this state, by the ordinary way, with nothing left to look at.
    pub(crate) fn at(state: State, keys: &str) -> Bench {
        let mut bench = Bench::idle(keys);
        if state == State::Idle {
            return bench;
        }
        bench.timeout();
        if state >= State::OpenSent {
            bench.connected();
        }
        if state >= State::OpenConfirm {
            bench.bytes(&good_open());
        }
        if state >= State::Established {
            bench.bytes(&keepalive());
        }
        assert_eq!(bench.state(), state);
        bench.take_sent();
        bench
    }

    pub(crate) fn state(&self) -> State {
        self.peer.status().state
    }

    /// Runs the timers that are due now.
    pub(crate) fn timeout(&mut self) {
        self.peer.handle_timeout(self.now, &self.rib);
        self.collect();
    }

    /// Time passes, and every timer runs when it is due.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.peer.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.timeout();
        }
        self.now = end;
    }

    /// TCP is up.
    pub(crate) fn connected(&mut self) {
        let [local, remote] = [OURS, THEIRS].map(|text| text.parse::<SocketAddr>().unwrap());
        self.event(Event::Connected { local, remote });
    }

    /// The router connects.
    pub(crate) fn arrive(&mut self) {
        let [local, remote] = ["10.0.0.2:179", "10.0.0.1:50000"].map(|text| text.parse::<SocketAddr>().unwrap());
        self.peer.accept(self.now, ArrivalId(0), local, remote, &self.rib);
        self.collect();
    }

    /// Octets arrive, in one piece.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.event(Event::Bytes(bytes));
    }

    pub(crate) fn event(&mut self, event: Event<'_>) {
        let conn = self.conn.expect("there is a connection");
        self.peer.handle(self.now, conn, event, &self.rib);
        self.collect();
    }

    /// What was sent since the last look.
    pub(crate) fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    pub(crate) fn collect(&mut self) {
        while let Some(action) = self.peer.poll_action() {
            match action {
                Action::Accept(conn, _) => self.conn = Some(conn),
                Action::Connect(conn) => {
                    self.conn = Some(conn);
                    self.connects += 1;
                }
                Action::Send(conn, bytes) => {
                    self.sent.extend(&bytes);
                    if !self.deaf {
                        self.peer.handle(self.now, conn, Event::Sent(bytes.len()), &self.rib);
                    }
                }
                Action::Close(conn) => self.closed.push(conn),
                Action::Notice(_) => {}
            }
        }
    }
}

/// The peer that an operator would configure, and no other way to make one.
pub(crate) fn peer(keys: &str) -> Arc<config::Peer> {
    let asn = if keys.contains("peer_as") { "" } else { "peer_as = 65000\n" };
    let text = format!(
        "[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.2\"\nhold_time = \"90s\"\n\
         [[bgp.peer]]\nname = \"router\"\naddress = \"10.0.0.1\"\n{asn}{keys}\n"
    );
    let config = config::parse(&[Source { name: "test".into(), text }]).unwrap();
    config.bgp.unwrap().peers[0].clone()
}

/// Octets for people.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
