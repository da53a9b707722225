//! RFC 4271 §8.2.2: every event of §8.1 in every state that it can come in, and what must follow.
//!
//! Events are numbered as there. Where Herald chooses among what the RFC leaves open, the row says so:
//! - an attempt that fails passes through Idle and begins again by itself (DampPeerOscillations, §8.1.1), where the RFC
//!   without that option goes to Active to wait for the peer;
//! - a NOTIFICATION is never answered by one (§6), though "any other event" of §8.2.2 taken literally would.

use std::time::Duration;

use herald::bgp::error::Notification;
use herald::bgp::peer::{Event, State};

use crate::bench::{Bench, SECOND, good_open, header, hex, keepalive, notification, open, refresh, update};

use State::{Connect, Established, Idle, OpenConfirm, OpenSent};

/// What happens.
type Happen = fn(&mut Bench);

struct Row {
    state: State,
    /// Its number in RFC 4271 §8.1; 29 is SendHoldTimer_Expires of RFC 9687.
    number: u8,
    name: &'static str,
    happen: Happen,
    next: State,
    /// All that is sent.
    sent: Vec<u8>,
    /// Whether TCP is closed.
    closes: bool,
}

fn row(
    state: State,
    number: u8,
    name: &'static str,
    happen: Happen,
    next: State,
    sent: &[Vec<u8>],
    closes: bool,
) -> Row {
    Row { state, number, name, happen, next, sent: sent.concat(), closes }
}

fn stop(bench: &mut Bench) {
    bench.peer.stop(bench.now, &Notification::administrative_shutdown("maintenance"));
    bench.collect();
}

fn remove(bench: &mut Bench) {
    bench.peer.stop(bench.now, &Notification::peer_deconfigured());
    bench.collect();
}

fn peer_closes(bench: &mut Bench) {
    bench.event(Event::Closed(None));
}

/// Until the timer that `when` is about has run; the peer says nothing meanwhile.
fn silence(bench: &mut Bench, time: Duration) {
    bench.advance(time);
}

fn shutdown() -> Vec<u8> {
    notification(6, 2, b"\x0bmaintenance")
}

/// The states with TCP up, in which much is the same.
fn with_tcp(state: State, subcode: u8) -> Vec<Row> {
    let fsm = |kind: u8| notification(5, subcode, &[kind]);
    let mut rows = vec![
        row(state, 2, "ManualStop", stop, Idle, &[shutdown()], true),
        row(state, 8, "AutomaticStop", remove, Idle, &[notification(6, 3, &[])], true),
        row(state, 18, "TcpConnectionFails", peer_closes, Idle, &[], false),
        row(state, 21, "BGPHeaderErr", |b| b.bytes(&header(18, 4)), Idle, &[notification(1, 2, &[0, 18])], true),
        row(state, 24, "NotifMsgVerErr", |b| b.bytes(&notification(2, 1, &[0, 4])), Idle, &[], true),
        row(state, 25, "NotifMsg", |b| b.bytes(&notification(6, 4, &[])), Idle, &[], true),
    ];
    if state != OpenSent {
        rows.push(row(state, 19, "BGPOpen", |b| b.bytes(&good_open()), Idle, &[fsm(1)], true));
    }
    if state != Established {
        rows.push(row(state, 27, "UpdateMsg", |b| b.bytes(&update()), Idle, &[fsm(2)], true));
        rows.push(row(state, 27, "RouteRefresh (RFC 2918)", |b| b.bytes(&refresh()), Idle, &[fsm(5)], true));
    }
    rows
}

fn rows() -> Vec<Row> {
    let hold = || notification(4, 0, &[]);
    let mut rows = vec![
        // Idle.
        row(Idle, 1, "ManualStart", Bench::timeout, Connect, &[], false),
        row(Idle, 2, "ManualStop", stop, Idle, &[], false),
        row(Idle, 8, "AutomaticStop", remove, Idle, &[], false),
        // Connect.
        row(Connect, 2, "ManualStop", stop, Idle, &[], true),
        row(Connect, 8, "AutomaticStop", remove, Idle, &[], true),
        row(Connect, 9, "ConnectRetryTimer_Expires", |b| silence(b, 5 * SECOND), Idle, &[], true),
        row(Connect, 16, "Tcp_CR_Acked", Bench::connected, OpenSent, &[], false),
        row(Connect, 18, "TcpConnectionFails", |b| b.event(Event::ConnectFailed("refused".into())), Idle, &[], false),
        // OpenSent: "a large value" for the hold timer, 4 minutes suggested.
        row(OpenSent, 10, "HoldTimer_Expires", |b| silence(b, 240 * SECOND), Idle, &[hold()], true),
        row(OpenSent, 19, "BGPOpen", |b| b.bytes(&good_open()), OpenConfirm, &[keepalive()], false),
        row(
            OpenSent,
            22,
            "BGPOpenMsgErr",
            |b| b.bytes(&open(4, 65000, 1, [10, 0, 0, 1], &[])),
            Idle,
            &[notification(2, 6, &[])],
            true,
        ),
        row(OpenSent, 26, "KeepAliveMsg", |b| b.bytes(&keepalive()), Idle, &[notification(5, 1, &[4])], true),
        // OpenConfirm.
        row(OpenConfirm, 11, "KeepaliveTimer_Expires", |b| silence(b, 30 * SECOND), OpenConfirm, &[keepalive()], false),
        row(OpenConfirm, 26, "KeepAliveMsg", |b| b.bytes(&keepalive()), Established, &[], false),
        // Established.
        row(Established, 11, "KeepaliveTimer_Expires", |b| silence(b, 30 * SECOND), Established, &[keepalive()], false),
        row(Established, 26, "KeepAliveMsg", |b| b.bytes(&keepalive()), Established, &[], false),
        row(Established, 27, "UpdateMsg", |b| b.bytes(&update()), Established, &[], false),
        row(
            Established,
            28,
            "UpdateMsgErr",
            |b| b.bytes(&crate::bench::message(2, &[0, 9, 0, 0])),
            Idle,
            &[notification(3, 1, &[])],
            true,
        ),
    ];
    rows.extend(with_tcp(OpenSent, 1));
    rows.extend(with_tcp(OpenConfirm, 2));
    rows.extend(with_tcp(Established, 3));
    rows
}

#[test]
fn every_event_in_every_state() {
    for row in rows() {
        let mut bench = Bench::at(row.state, "");
        (row.happen)(&mut bench);
        let at = format!("{} ({}) in {}", row.name, row.number, row.state.name());
        let sent = bench.take_sent();
        if row.next == OpenSent {
            assert_eq!(
                (sent[18], sent[19..24].to_vec()),
                (1, vec![4, 0xfd, 0xe9, 0, 90]),
                "{at}: an OPEN, and only that"
            );
            assert_eq!(usize::from(u16::from_be_bytes([sent[16], sent[17]])), sent.len(), "{at}");
        } else {
            assert_eq!(hex(&sent), hex(&row.sent), "{at}");
        }
        assert_eq!(bench.state(), row.next, "{at}");
        assert_eq!(!bench.closed.is_empty(), row.closes, "{at}: TCP");
        if row.next == Idle {
            // DampPeerOscillations: it begins again by itself, unless it was stopped.
            let stopped = matches!(row.number, 2 | 8);
            assert_eq!(bench.peer.poll_timeout().is_none(), stopped, "{at}");
            let before = bench.connects;
            bench.advance(90 * SECOND);
            assert_eq!(bench.connects > before, !stopped, "{at}");
        }
    }
}

/// What comes late, of a connection that is over, changes nothing in any state.
#[test]
fn events_of_an_old_connection_are_ignored() {
    for state in [Idle, Connect, OpenSent, OpenConfirm, Established] {
        let mut bench = Bench::at(OpenSent, "");
        let old = bench.conn;
        bench.event(Event::Closed(None));
        while bench.state() < state {
            match bench.state() {
                Idle => {
                    let at = bench.peer.poll_timeout().unwrap();
                    bench.advance(at - bench.now);
                }
                Connect => bench.connected(),
                OpenSent => bench.bytes(&good_open()),
                _ => bench.bytes(&keepalive()),
            }
        }
        bench.take_sent();
        let new = std::mem::replace(&mut bench.conn, old);
        bench.bytes(&[0; 19]);
        bench.event(Event::Closed(Some("reset".into())));
        bench.event(Event::ConnectFailed("refused".into()));
        bench.connected();
        bench.event(Event::Sent(99));
        bench.conn = new;
        assert_eq!((bench.state(), bench.take_sent()), (state, vec![]), "{}", state.name());
    }
}

/// §8.2.2: a KEEPALIVE or UPDATE restarts the hold timer, nothing else does; with hold time 0 there is none.
#[test]
fn the_hold_timer() {
    let hold = notification(4, 0, &[]);
    for (name, bytes, restarts) in [
        ("KEEPALIVE", keepalive(), true),
        ("UPDATE", update(), true),
        ("half a KEEPALIVE", keepalive()[..10].to_vec(), false),
    ] {
        let mut bench = Bench::at(Established, "");
        bench.advance(60 * SECOND);
        bench.bytes(&bytes);
        bench.advance(60 * SECOND);
        assert_eq!(bench.state() == Established, restarts, "{name}");
        bench.advance(30 * SECOND);
        assert_ne!(bench.state(), Established, "{name}");
        assert!(bench.take_sent().ends_with(&hold), "{name}");
    }
    let mut bench = Bench::at(OpenSent, "");
    bench.bytes(&open(4, 65000, 0, [10, 0, 0, 1], &crate::bench::CAPABILITIES));
    bench.bytes(&keepalive());
    bench.take_sent();
    bench.advance(1_000_000 * SECOND);
    assert_eq!((bench.state(), bench.take_sent()), (Established, vec![]), "neither timer nor KEEPALIVE");
}

/// RFC 9687 §3.2: a peer that takes nothing for the send hold time is given up.
#[test]
fn the_send_hold_timer() {
    let mut bench = Bench::at(Established, "");
    bench.deaf = true;
    let mut spent = Duration::ZERO;
    while bench.state() == Established && spent < 1000 * SECOND {
        bench.bytes(&keepalive());
        bench.advance(SECOND);
        spent += SECOND;
    }
    // The greater of 8 minutes and twice the hold time, from the first octet that was not taken (§3.3).
    assert!((480 * SECOND..=515 * SECOND).contains(&spent), "{spent:?}");
    assert!(bench.take_sent().ends_with(&notification(8, 0, &[])));
}

/// Events 4 and 5 begin in Active, and 17 is a connection that the router made. What ends it leads back to Active: to wait
/// there is what a passive peer does (§8.2.2).
#[test]
fn a_passive_peer_waits_in_active() {
    let open_sent = |bench: &mut Bench| {
        bench.arrive();
        assert_eq!(bench.state(), OpenSent);
        assert_eq!(bench.take_sent()[18], 1, "event 17: an OPEN");
    };
    let ends: [(&str, Happen, Vec<u8>); 5] = [
        ("TcpConnectionFails (18)", peer_closes, vec![]),
        ("NotifMsg (25)", |b| b.bytes(&notification(6, 5, &[])), vec![]),
        ("KeepAliveMsg (26)", |b| b.bytes(&keepalive()), notification(5, 1, &[4])),
        ("BGPHeaderErr (21)", |b| b.bytes(&header(18, 4)), notification(1, 2, &[0, 18])),
        ("BGPOpenMsgErr (22)", |b| b.bytes(&open(4, 65000, 1, [10, 0, 0, 1], &[])), notification(2, 6, &[])),
    ];
    for (name, happen, sent) in ends {
        let mut bench = Bench::idle("mode = \"passive\"");
        bench.advance(1000 * SECOND);
        assert_eq!((bench.state(), bench.connects), (State::Active, 0), "it never dials");
        open_sent(&mut bench);
        happen(&mut bench);
        assert_eq!((bench.state(), hex(&bench.take_sent())), (State::Active, hex(&sent)), "{name}");
        // And takes the next one.
        open_sent(&mut bench);
        bench.bytes(&good_open());
        bench.bytes(&keepalive());
        assert_eq!(bench.state(), Established, "{name}");
        stop(&mut bench);
        assert_eq!((bench.state(), bench.peer.poll_timeout()), (Idle, None), "ManualStop (2)");
    }
}

/// Event 23, OpenCollisionDump (§6.8): of two connections the one wins that the side with the higher BGP Identifier has
/// made. The loser hears Cease/Connection Collision Resolution (RFC 4486 §3).
#[test]
fn of_two_connections_one_goes() {
    let collision = notification(6, 7, &[]);
    for (theirs, ours_goes) in [([10, 0, 0, 1], false), ([10, 0, 0, 3], true)] {
        let their_open = open(4, 65000, 90, theirs, &crate::bench::CAPABILITIES);
        let mut bench = Bench::at(OpenSent, "mode = \"both\"");
        bench.bytes(&their_open);
        assert_eq!(bench.state(), OpenConfirm);
        bench.take_sent();
        let dialled = bench.conn;
        bench.arrive();
        assert_eq!(hex(&bench.take_sent()), "", "nothing is said on it before its OPEN has come");
        let arrived = bench.conn;
        bench.bytes(&their_open);
        let sent = bench.take_sent();
        assert_eq!(bench.closed, [if ours_goes { dialled } else { arrived }.unwrap()], "{theirs:?}");
        assert!(sent.starts_with(&collision), "{theirs:?}: {}", hex(&sent));
        bench.conn = if ours_goes { arrived } else { dialled };
        bench.bytes(&keepalive());
        assert_eq!(bench.state(), Established, "{theirs:?}");
    }
}
