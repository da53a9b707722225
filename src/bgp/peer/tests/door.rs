//! A peer alone, and connections that are made to it.

use std::collections::VecDeque;

use super::*;
use crate::config::Mode;

/// A peer alone, and connections that are made to it.
struct Door {
    lab: Lab,
    next: u64,
}

impl Door {
    fn new(alter: impl FnOnce(&mut SessionParameters, &mut LiveParameters)) -> Door {
        let passive = altered(config(), |session, live| {
            session.mode = Mode::Passive;
            alter(session, live);
        });
        let now = crate::timers::origin();
        let mut lab = Lab {
            start: now,
            now,
            peer: Peer::new(now, Arc::new(passive), 7),
            rib: Rib::default(),
            conn: None,
            dialled: Vec::new(),
            local: "10.0.0.2:179".parse().unwrap(),
            router: Router::default(),
            notices: Vec::new(),
            reads: true,
            queued: 0,
            queued_max: 0,
        };
        lab.release();
        Door { lab, next: 0 }
    }

    fn knock(&mut self) -> ConnId {
        let (local, remote) = (self.lab.local, "10.0.0.1:50000".parse().unwrap());
        let arrival = ArrivalId(self.next);
        self.next += 1;
        self.lab.peer.accept(self.lab.now, arrival, local, remote, &self.lab.rib);
        let mut accepted = None;
        let mut rest = VecDeque::new();
        while let Some(action) = self.lab.peer.poll_action() {
            match action {
                Action::Accept(id, at) if at == arrival => accepted = Some(id),
                action => rest.push_back(action),
            }
        }
        self.lab.router = Router::default();
        self.lab.conn = accepted;
        // What concerned an older connection is not this router's.
        rest.retain(|action| match action {
            Action::Send(id, _) | Action::Close(id) => Some(*id) == accepted,
            _ => true,
        });
        self.lab.peer.actions = rest;
        self.lab.run();
        accepted.expect("accepted")
    }
}

#[test]
fn a_passive_peer_takes_its_router_and_is_back_in_active_when_it_goes() {
    let mut door = Door::new(|_, _| {});
    for round in 1..4 {
        door.knock();
        assert_eq!((door.lab.state(), door.lab.router.last().0), (State::OpenSent, OPEN));
        door.lab.bytes(&their_open());
        door.lab.bytes(&keepalive());
        let status = door.lab.peer.status();
        assert_eq!((status.state, status.established_count), (State::Established, round));
        door.lab.event(Event::Closed(None));
        let status = door.lab.peer.status();
        assert_eq!((status.state, status.retry_at, door.lab.peer.poll_timeout()), (State::Active, None, None));
        assert_eq!(status.last_error, Some(Cause::Closed(None)));
    }
    assert_eq!(door.lab.dialled, []);
}

#[test]
fn the_newest_connection_counts_and_an_open_must_come() {
    let mut door = Door::new(|_, _| {});
    let first = door.knock();
    let second = door.knock();
    assert_ne!(first, second);
    assert_eq!((door.lab.peer.links.len(), door.lab.state()), (1, State::OpenSent));
    door.lab.advance(31 * SECOND);
    assert_eq!((door.lab.router.last().0, door.lab.state()), (NOTIFICATION, State::Active));
    let why = door.lab.last_error().to_string();
    assert_eq!(why, "peer connected and sent no OPEN within 30 seconds");
    // The same again is not told again.
    let told = door.lab.notices.len();
    door.knock();
    door.lab.advance(31 * SECOND);
    let news = door.lab.notices[told..].iter().filter(|notice| matches!(notice, Notice::State { cause: Some(_), .. }));
    assert_eq!(news.count(), 0);
}

#[test]
fn a_change_of_mode_is_a_new_session() {
    let mut door = Door::new(|_, _| {});
    door.knock();
    door.lab.bytes(&their_open());
    door.lab.bytes(&keepalive());
    let mut active = config::Peer::clone(door.lab.peer.config());
    active.session.mode = Mode::Active;
    door.lab.configure(active.clone());
    assert_eq!((door.lab.router.last().0, door.lab.state()), (NOTIFICATION, State::Idle));
    door.lab.advance(SECOND);
    assert_eq!((door.lab.state(), door.lab.dialled.len()), (State::Connect, 1));
    active.session.mode = Mode::Passive;
    door.lab.configure(active);
    assert_eq!((door.lab.state(), door.lab.peer.poll_timeout()), (State::Active, None));
    door.lab.peer.stop(door.lab.now, &Notification::peer_deconfigured());
    assert_eq!(door.lab.state(), State::Idle);
}

/// What a peer does, in short: `!` and the connection for an end, and the types of messages.
fn deeds(peer: &mut Peer) -> Vec<String> {
    let mut deeds = Vec::new();
    while let Some(action) = peer.poll_action() {
        deeds.push(match action {
            Action::Accept(id, _) => format!("+{}", id.0),
            Action::Close(id) => format!("!{}", id.0),
            Action::Send(id, octets) if octets[18] == NOTIFICATION => format!("{}:{}/{}", id.0, octets[19], octets[20]),
            Action::Send(id, octets) => format!("{}:{}", id.0, octets[18]),
            Action::Connect(id) => format!("?{}", id.0),
            Action::Notice(_) => continue,
        });
    }
    deeds
}

/// A session with a router, and the same router at the door again, so long after.
fn again_after(time: Duration, capabilities: &[&[u8]]) -> (Peer, Instant, Vec<u8>) {
    let passive = altered(config(), |session, _| session.mode = Mode::Passive);
    let now = crate::timers::origin();
    let (mut peer, rib) = (Peer::new(now, Arc::new(passive), 7), Rib::default());
    let (local, remote) = ("10.0.0.2:179".parse().unwrap(), "10.0.0.1:50000".parse().unwrap());
    let open = router::open(65000, 90, [10, 0, 0, 1], &[&[MP_IPV4, MP_IPV6], capabilities].concat());
    peer.accept(now, ArrivalId(0), local, remote, &rib);
    peer.handle(now, ConnId(0), Event::Bytes(&open), &rib);
    peer.handle(now, ConnId(0), Event::Bytes(&keepalive()), &rib);
    assert_eq!(
        (peer.status().state, deeds(&mut peer)),
        (State::Established, vec!["+0".into(), "0:1".into(), "0:4".into()])
    );
    let now = now + time;
    peer.accept(now, ArrivalId(1), local, remote, &rib);
    assert_eq!(deeds(&mut peer), ["+1"], "nothing is said before its OPEN");
    (peer, now, open)
}

#[test]
fn a_router_that_restarts_gracefully_is_taken_at_its_word() {
    const RESTARTS: &[u8] = &[64, 6, 0, 120, 0, 1, 1, 0];
    let (mut peer, now, open) = again_after(2 * SECOND, &[RESTARTS]);
    let (first, rest) = open.split_at(18);
    peer.handle(now, ConnId(1), Event::Bytes(first), &Rib::default());
    assert_eq!(deeds(&mut peer), [""; 0]);
    peer.handle(now, ConnId(1), Event::Bytes(rest), &Rib::default());
    assert_eq!(deeds(&mut peer), ["!0", "1:1", "1:4"], "RFC 4724 §5: without a NOTIFICATION");
    let why = "connection lost: the router has restarted and connected again (RFC 4724)";
    assert_eq!(peer.status().last_error.map(|cause| cause.to_string()).as_deref(), Some(why));
    peer.handle(now, ConnId(1), Event::Bytes(&keepalive()), &Rib::default());
    assert_eq!((peer.status().state, peer.status().established_count), (State::Established, 2));

    // But who was at the door before the session was up has not restarted since.
    let (mut peer, now, open) = again_after(SECOND / 2, &[RESTARTS]);
    peer.handle(now, ConnId(1), Event::Bytes(&open), &Rib::default());
    assert_eq!(deeds(&mut peer), ["1:6/7", "!1"]);
    // Nor has one that has no routes to keep.
    let (mut peer, now, open) = again_after(2 * SECOND, &[&[64, 2, 0, 120]]);
    peer.handle(now, ConnId(1), Event::Bytes(&open), &Rib::default());
    assert_eq!(deeds(&mut peer), ["0:4"]);
    peer.handle_timeout(now + SECOND, &Rib::default());
    assert_eq!(deeds(&mut peer), ["1:6/7", "!1"]);
    assert_eq!(peer.status().state, State::Established);
}

#[test]
fn who_says_nothing_good_beside_a_session_has_to_go() {
    let garbage = [0; 19];
    let mut wrong_as = router::open(65_123, 90, [10, 0, 0, 1], &[MP_IPV4]);
    wrong_as.extend(keepalive());
    for octets in [garbage.as_slice(), &wrong_as, &keepalive(), &[0xff; 9000]] {
        let (mut peer, now, _) = again_after(2 * SECOND, &[]);
        peer.handle(now, ConnId(1), Event::Bytes(octets), &Rib::default());
        assert_eq!(deeds(&mut peer), ["1:6/7", "!1"]);
    }
    let (mut peer, now, open) = again_after(2 * SECOND, &[]);
    peer.handle(now, ConnId(1), Event::Bytes(&open[..30]), &Rib::default());
    peer.handle_timeout(now + 3 * SECOND, &Rib::default());
    assert_eq!(deeds(&mut peer)[..2], ["1:6/7", "!1"]);
}

/// A router that has an OPEN of ours on both could choose the one that we drop.
#[test]
fn nothing_is_said_to_a_visitor_before_the_choice() {
    for (id, choice) in [(3, vec!["0:6/7", "!0", "1:1", "1:4"]), (1, vec!["1:6/7", "!1"])] {
        let both = altered(config(), |session, _| session.mode = Mode::Both);
        let now = crate::timers::origin();
        let (mut peer, rib) = (Peer::new(now, Arc::new(both), 7), Rib::default());
        let (local, remote) = ("10.0.0.2:179".parse().unwrap(), "10.0.0.1:50000".parse().unwrap());
        let open = router::open(65000, 90, [10, 0, 0, id], &[MP_IPV4, MP_IPV6]);
        peer.handle_timeout(now, &rib);
        peer.handle(now, ConnId(0), Event::Connected { local, remote }, &rib);
        assert_eq!(deeds(&mut peer), ["?0", "0:1"]);
        peer.accept(now, ArrivalId(0), local, remote, &rib);
        assert_eq!(deeds(&mut peer), ["+1"]);
        peer.handle(now, ConnId(0), Event::Bytes(&open), &rib);
        assert_eq!(deeds(&mut peer), ["0:4"]);
        peer.handle(now, ConnId(1), Event::Bytes(&open), &rib);
        assert_eq!(deeds(&mut peer), choice);
    }
}
