//! Two peers who may both connect to each other, on a network that delays what it likes.
//!
//! Whatever happens in whatever order: in the end there is one session, both have it on the same connection, and nothing
//! is left over.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::config::Mode;

/// One end of a connection: whose, and its name there. `None` until accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Dialler,
    Acceptor,
}

/// What is on its way.
#[derive(Debug)]
enum Packet {
    /// A SYN, which becomes an arrival.
    Syn,
    /// The answer to it.
    SynAck,
    Data(Vec<u8>),
    Fin,
    Reset,
}

struct Wire {
    dialler: usize,
    ids: [Option<ConnId>; 2],
    open: [bool; 2],
    /// Towards each side.
    queues: [VecDeque<Packet>; 2],
}

struct Net {
    now: Instant,
    peers: Vec<Peer>,
    rib: Rib,
    wires: BTreeMap<u64, Wire>,
    next: u64,
    /// In the order of sending: wire and side, for a network that keeps it.
    order: VecDeque<(u64, usize)>,
    notices: [Vec<Notice>; 2],
    /// NOTIFICATIONs with their code and subcode, by sender.
    sent: [Vec<(u8, u8)>; 2],
    in_order: bool,
    /// How much goes wrong from now on.
    refuses: bool,
    rng: Rng,
}

fn pair(ids: [u8; 2], asns: [u32; 2], modes: [Mode; 2]) -> [config::Peer; 2] {
    [0, 1].map(|index| {
        let other = 1 - index;
        let address = [10, 0, 0, u8::try_from(other).unwrap() + 1];
        let (asn, local_as) = (PeerAs::Number(Asn(asns[other])), Asn(asns[index]));
        let mut session = SessionParameters::new(address.into(), asn, local_as, [1, 1, 1, ids[index]].into());
        session.mode = modes[index];
        config::Peer::new(["left", "right"][index], session)
    })
}

impl Net {
    fn new(configs: [config::Peer; 2], seed: u64, in_order: bool) -> Net {
        let now = crate::timers::origin();
        let peers = configs.into_iter().enumerate().map(|(index, config)| {
            let mut peer = Peer::new(now, Arc::new(config), seed ^ index as u64);
            peer.release(now, &Rib::default());
            peer
        });
        Net {
            now,
            peers: peers.collect(),
            rib: Rib::default(),
            wires: BTreeMap::new(),
            next: 0,
            order: VecDeque::new(),
            notices: Default::default(),
            sent: Default::default(),
            in_order,
            refuses: false,
            rng: Rng::new(seed),
        }
    }

    fn push(&mut self, wire: u64, to: Side, packet: Packet) {
        if let Some(it) = self.wires.get_mut(&wire) {
            it.queues[to as usize].push_back(packet);
            self.order.push_back((wire, to as usize));
        }
    }

    fn collect(&mut self) {
        for index in 0..2 {
            while let Some(action) = self.peers[index].poll_action() {
                self.perform(index, action);
            }
        }
    }

    fn find(&self, index: usize, id: ConnId) -> Option<(u64, Side)> {
        self.wires.iter().find_map(|(wire, it)| {
            let side = if it.dialler == index { Side::Dialler } else { Side::Acceptor };
            (it.ids[side as usize] == Some(id)).then_some((*wire, side))
        })
    }

    fn perform(&mut self, index: usize, action: Action) {
        match action {
            Action::Connect(id) => {
                let wire = self.next;
                self.next += 1;
                let it =
                    Wire { dialler: index, ids: [Some(id), None], open: [true, false], queues: Default::default() };
                self.wires.insert(wire, it);
                self.push(wire, Side::Acceptor, Packet::Syn);
            }
            Action::Accept(id, ArrivalId(wire)) => {
                let it = self.wires.get_mut(&wire).expect("what arrived is there");
                assert!(it.ids[1].replace(id).is_none() && it.dialler != index);
                it.open[1] = true;
            }
            Action::Send(id, octets) => {
                if octets.get(18) == Some(&3) {
                    self.sent[index].push((octets[19], octets[20]));
                }
                let (wire, side) = self.find(index, id).expect("sent on a connection that is not there");
                assert!(self.wires[&wire].open[side as usize], "sent on a closed one");
                let len = octets.len();
                self.push(wire, side.other(), Packet::Data(octets));
                self.peers[index].handle(self.now, id, Event::Sent(len), &self.rib);
            }
            Action::Close(id) => {
                if let Some((wire, side)) = self.find(index, id) {
                    let it = self.wires.get_mut(&wire).expect("just found");
                    if std::mem::replace(&mut it.open[side as usize], false) {
                        self.push(wire, side.other(), Packet::Fin);
                    }
                }
            }
            Action::Notice(notice) => self.notices[index].push(notice),
        }
    }

    /// Delivers one packet; false when none is on its way.
    fn deliver(&mut self) -> bool {
        self.order.retain(|(wire, side)| self.wires.get(wire).is_some_and(|it| !it.queues[*side].is_empty()));
        if self.order.is_empty() {
            return false;
        }
        let at = if self.in_order { 0 } else { self.rng.bits() as usize % self.order.len() };
        let (wire, side) = self.order.remove(at).expect("within");
        let it = self.wires.get_mut(&wire).expect("retained above");
        let packet = it.queues[side].pop_front().expect("retained above");
        let index = if side == 0 { it.dialler } else { 1 - it.dialler };
        self.arrive(wire, side, index, packet);
        self.collect();
        self.wires.retain(|_, it| it.open[0] || it.open[1] || it.queues.iter().any(|queue| !queue.is_empty()));
        true
    }

    fn arrive(&mut self, wire: u64, side: usize, index: usize, packet: Packet) {
        let end = |index: usize, port| SocketAddr::new([10, 0, 0, index as u8 + 1].into(), port);
        let (dialler, open, id) = {
            let it = &self.wires[&wire];
            (it.dialler, it.open[side], it.ids[side])
        };
        let event = match packet {
            Packet::Syn => {
                if !self.peers[index].config().session.mode.accepts() || self.refuses {
                    return self.push(wire, Side::Dialler, Packet::Reset);
                }
                self.push(wire, Side::Dialler, Packet::SynAck);
                let (local, remote) = (end(index, 179), end(dialler, 40_000));
                return self.peers[index].accept(self.now, ArrivalId(wire), local, remote, &self.rib);
            }
            _ if !open => return,
            Packet::SynAck => Event::Connected { local: end(index, 40_000), remote: end(1 - index, 179) },
            Packet::Data(octets) => {
                let id = id.expect("open");
                // Split anywhere.
                let at = self.rng.bits() as usize % (octets.len() + 1);
                for part in [&octets[..at], &octets[at..]] {
                    self.peers[index].handle(self.now, id, Event::Bytes(part), &self.rib);
                    self.collect();
                }
                return;
            }
            Packet::Fin | Packet::Reset => {
                self.wires.get_mut(&wire).expect("just looked at").open[side] = false;
                let is_reset = matches!(packet, Packet::Reset);
                if is_reset && self.peers[index].dial == id {
                    Event::ConnectFailed("refused".into())
                } else {
                    Event::Closed(is_reset.then(|| "reset".into()))
                }
            }
        };
        self.peers[index].handle(self.now, id.expect("open"), event, &self.rib);
    }

    /// Everything that is due at this moment, in an order of the network's choice.
    fn settle(&mut self) {
        self.collect();
        while self.deliver() {}
    }

    fn tick(&mut self, limit: Duration) {
        let end = self.now + limit;
        loop {
            self.settle();
            let Some(at) = self.peers.iter().filter_map(Peer::poll_timeout).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            // Timers and packets of one moment may come in any order.
            let mut order = [0, 1];
            if self.rng.bits() & 1 == 0 {
                order.swap(0, 1);
            }
            for index in order {
                if self.peers[index].poll_timeout().is_some_and(|at| at <= self.now) {
                    self.peers[index].handle_timeout(self.now, &self.rib);
                    self.collect();
                }
                if self.rng.bits() & 1 == 0 {
                    self.deliver();
                }
            }
        }
        self.now = end;
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|index| self.peers[index].status().state)
    }

    /// One session on one connection, and nothing else anywhere.
    fn assert_one_session(&self) {
        assert_eq!(self.states(), [State::Established; 2], "{:?} {:?}", self.notices, self.sent);
        assert_eq!(self.wires.len(), 1, "connections left over");
        let wire = self.wires.values().next().expect("one");
        assert_eq!(wire.open, [true; 2]);
        for (index, peer) in self.peers.iter().enumerate() {
            let [link] = peer.links.as_slice() else { panic!("{} links", peer.links.len()) };
            let side = usize::from(wire.dialler != index);
            assert!(wire.ids[side] == Some(link.id) && link.dialled == (side == 0));
            assert!(peer.visitor.is_none() && peer.dial.is_none());
            assert_eq!(peer.timers.earliest(), None, "timers left over");
        }
    }

    fn dialler(&self) -> usize {
        self.wires.values().next().expect("a connection").dialler
    }
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Dialler => Side::Acceptor,
            Side::Acceptor => Side::Dialler,
        }
    }
}

const BOTH: [Mode; 2] = [Mode::Both; 2];

#[test]
fn one_connects_and_the_other_waits() {
    for modes in [[Mode::Active, Mode::Passive], [Mode::Passive, Mode::Active], [Mode::Both, Mode::Passive]] {
        for seed in 0..50 {
            let mut net = Net::new(pair([1, 2], [65_001, 65_002], modes), seed, false);
            let passive = modes.iter().position(|mode| *mode == Mode::Passive).unwrap();
            assert_eq!(net.peers[passive].status().state, State::Active);
            assert_eq!(net.peers[passive].poll_timeout(), None, "a passive peer has nothing to do");
            net.tick(SECOND);
            net.assert_one_session();
            assert_eq!(net.dialler(), 1 - passive);
            assert_eq!(net.sent, [vec![], vec![]]);
        }
    }
}

#[test]
fn two_passive_ones_wait_for_each_other() {
    let mut net = Net::new(pair([1, 2], [65_001, 65_002], [Mode::Passive; 2]), 1, false);
    net.tick(600 * SECOND);
    assert_eq!((net.states(), net.next), ([State::Active; 2], 0));
}

/// As packets do on one path between two machines: all in the order of sending.
#[test]
fn of_two_connections_at_once_one_survives() {
    for (ids, asns) in [([1, 2], [65_001, 65_002]), ([2, 1], [65_001, 65_002]), ([1, 2], [65_001, 65_001])] {
        for seed in 0..500 {
            let mut net = Net::new(pair(ids, asns, BOTH), seed, true);
            net.tick(Duration::from_millis(150));
            net.assert_one_session();
            assert!(net.next <= 2, "no further attempt was needed");
        }
    }
}

/// Both connections are open before anything is said on either: then the identifiers decide (RFC 4271 §6.8), and of equal
/// ones the AS numbers (RFC 6286 §2.3).
#[test]
fn the_higher_side_wins() {
    for (ids, asns, winner) in [
        ([1, 2], [65_001, 65_002], 1),
        ([2, 1], [65_001, 65_002], 0),
        ([7, 7], [65_001, 65_002], 1),
        ([7, 7], [4_200_000_000, 65_002], 0),
    ] {
        for seed in 0..200 {
            let mut net = Net::new(pair(ids, asns, BOTH), seed, true);
            for peer in &mut net.peers {
                peer.handle_timeout(net.now, &net.rib);
            }
            net.tick(Duration::from_millis(150));
            net.assert_one_session();
            assert_eq!(net.dialler(), winner, "{ids:?} {asns:?}");
            for sent in &net.sent {
                assert!(sent.iter().all(|sent| *sent == (6, 7)), "{sent:?}");
            }
            for (notices, peer) in net.notices.iter().zip(&net.peers) {
                let told = |notice: &Notice| matches!(notice, Notice::State { cause: Some(_), .. });
                assert!(!notices.iter().any(told), "a collision is no failure: {notices:?}");
                assert_eq!((peer.status().established_count, peer.status().last_error), (1, None));
            }
        }
    }
}

/// A network that reorders as it likes may make both sides drop what the other one keeps: they try again, and get there.
#[test]
fn whatever_the_order_there_is_one_session_in_the_end() {
    let mut again = 0;
    for seed in 0..1000 {
        let mut net = Net::new(pair([1 + (seed % 2) as u8 * 2, 2], [65_001, 65_002], BOTH), seed, false);
        if seed % 3 == 0 {
            net.refuses = true;
            net.tick(Duration::from_millis(100 * (seed % 7)));
            net.refuses = false;
        }
        net.tick(20 * SECOND);
        net.assert_one_session();
        again += usize::from(net.peers.iter().any(|peer| peer.status().established_count > 1));
        // And it stays.
        let wire = net.next;
        net.tick(60 * SECOND);
        net.assert_one_session();
        assert_eq!(net.next, wire);
    }
    assert!(again < 100, "{again} of 1000 sessions were lost again");
}

/// One side is reset without a word, and connects again.
fn lose_and_return() -> Net {
    let mut configs = pair([1, 2], [65_001, 65_002], [Mode::Passive, Mode::Active]);
    for config in &mut configs {
        config.session.hold_time = HoldTime::from_secs(90).unwrap();
    }
    let router = configs[1].clone();
    let mut net = Net::new(configs, 1, true);
    net.tick(10 * SECOND);
    net.assert_one_session();
    // Its kernel knows nothing of the old connection.
    net.peers[1] = Peer::new(net.now, Arc::new(router), 1);
    net.peers[1].next_conn = 100;
    for wire in net.wires.values_mut() {
        wire.open[0] = false;
    }
    net
}

#[test]
fn a_router_that_was_reset_is_back_when_its_kernel_denies_the_session() {
    let mut net = lose_and_return();
    let old = *net.wires.keys().next().unwrap();
    net.peers[1].handle_timeout(net.now, &net.rib);
    net.settle();
    assert_eq!(net.states()[0], State::Established, "the old one is not given up on a stranger's word");
    assert!(net.peers[0].visitor.is_some());
    // The KEEPALIVE that asked gets a reset.
    let it = net.wires.get_mut(&old).unwrap();
    let id = it.ids[1].unwrap();
    it.open = [false; 2];
    net.peers[0].handle(net.now, id, Event::Closed(Some("reset".into())), &net.rib);
    net.tick(Duration::from_millis(100));
    net.assert_one_session();
}

#[test]
fn beside_a_live_session_there_is_no_other() {
    let mut net = lose_and_return();
    // A live router would not do that; whoever does gets nothing.
    net.tick(Duration::from_millis(1500));
    assert_eq!(net.states()[0], State::Established);
    assert!(net.peers[0].visitor.is_none());
    assert_eq!(net.sent[0], [(6, 7)]);
}
