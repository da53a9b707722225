//! Restarts of ours, as a router sees them.

use super::*;
use crate::config::RestartTime;

/// A router that keeps our routes, with RFC 8538 or without.
const HELPER: &[u8] = &[64, 2, 0, 120];
const HELPER_N: &[u8] = &[64, 2, 0x40, 120];

const END_OF_RIBS: [(u16, usize); 2] = [(1, 1), (2, 0)];

fn asking() -> config::Peer {
    altered(config(), |session, _| session.graceful_restart = RestartTime::from_secs(0x123))
}

/// A daemon that has restarted, with these routes announced before and nothing decided about them.
fn resumed(kept: &[&str]) -> Lab {
    let kept: BTreeSet<Prefix> = kept.iter().map(|text| prefix(text)).collect();
    let mut lab = Lab::new(asking());
    kept.iter().for_each(|prefix| lab.rib.leave_undecided(*prefix));
    lab.peer.resume(Arc::new(kept));
    lab
}

/// Established with a router that has these routes of before, and says this of graceful restart.
fn establish(lab: &mut Lab, capability: &[u8], has: &[&str]) {
    lab.dial();
    lab.connected();
    lab.router.table = has.iter().map(|text| (prefix(text), std::collections::BTreeMap::new())).collect();
    let capabilities = [MP_IPV4, MP_IPV6, ROUTE_REFRESH, &four_octets(65000), capability];
    lab.bytes(&router::open(65000, 90, [10, 0, 0, 1], &capabilities));
    lab.bytes(&keepalive());
    assert_eq!(lab.state(), State::Established);
}

/// The value of the capability in our last OPEN.
fn offered(lab: &Lab) -> Option<[u8; 10]> {
    let (_, body) = lab.router.messages.iter().rfind(|(kind, _)| *kind == OPEN).unwrap();
    let at = body.windows(2).position(|window| window == [64, 10])?;
    body[at + 2..at + 12].try_into().ok()
}

fn bits(restarting: bool, preserved: bool) -> Option<[u8; 10]> {
    let (r, f) = (if restarting { 0x80 } else { 0 }, if preserved { 0x80 } else { 0 });
    Some([0x41 | r, 0x23, 0, 1, 1, f, 0, 2, 1, f])
}

#[test]
fn bits_of_a_first_start_of_a_new_session_and_of_a_restart() {
    let mut lab = Lab::up(config());
    assert_eq!(offered(&lab), None, "not asked for");
    lab = Lab::new(asking());
    lab.release();
    establish(&mut lab, HELPER, &[]);
    assert_eq!(offered(&lab), bits(false, false), "who knows what is being forwarded");
    lab.event(Event::Closed(None));
    establish(&mut lab, HELPER, &[]);
    assert_eq!(offered(&lab), bits(false, true), "forwarding went on meanwhile");

    let mut lab = resumed(&["192.0.2.1"]);
    for _ in 0..2 {
        establish(&mut lab, HELPER, &["192.0.2.1"]);
        assert_eq!(offered(&lab), bits(true, true));
        lab.event(Event::Closed(None));
    }
    lab.rib.decide_all();
    lab.release();
    establish(&mut lab, HELPER, &["192.0.2.1"]);
    assert_eq!((offered(&lab), &lab.router.end_of_rib[..]), (bits(true, true), &[(1, 0), (2, 0)][..]));
    lab.event(Event::Closed(None));
    establish(&mut lab, HELPER, &[]);
    assert_eq!(offered(&lab), bits(false, true), "the restart was over with End-of-RIB");
}

#[test]
fn after_a_restart_each_verdict_is_told_at_once_and_end_of_rib_last() {
    let all = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    let mut lab = resumed(&all);
    establish(&mut lab, HELPER, &all);
    assert_eq!(lab.router.updates, 0, "nothing is known yet");
    lab.set("192.0.2.1", with_med(1));
    assert_eq!(lab.route("192.0.2.1").unwrap()[&4], [0, 0, 0, 1]);
    lab.set("192.0.2.2", None);
    assert_eq!((lab.route("192.0.2.2"), lab.router.changes), (None, 2));
    // A refresh, and a session that is lost: what is undecided stays so.
    lab.bytes(&router::message(REFRESH, &[0, 1, 0, 1]));
    assert_eq!((lab.router.table.len(), lab.router.changes), (3, 3));
    lab.event(Event::Closed(None));
    establish(&mut lab, HELPER, &all);
    assert_eq!((lab.router.table.len(), lab.router.changes), (3, 2), "the session is new to what is decided");
    assert!(lab.route("192.0.2.2").is_none() && lab.router.end_of_rib.is_empty());
    lab.set("192.0.2.3", with_med(3));
    lab.set("192.0.2.3", None);
    assert_eq!((lab.router.table.len(), &lab.router.end_of_rib[..]), (2, &[][..]));
    // What is undecided at the end is not wanted, and the router is told so before End-of-RIB.
    lab.rib.decide_all();
    lab.release();
    assert_eq!((lab.router.table.len(), &lab.router.end_of_rib[..]), (1, &END_OF_RIBS[..]));
    assert!(lab.peer.kept.is_none());
}

/// RFC 7313 §4: no BoRR before End-of-RIB, which waits for the last verdict. Until then there is nothing to do.
#[test]
fn a_refresh_with_a_frame_waits_for_end_of_rib() {
    let helper_with_frames = [HELPER, &[70, 0]].concat();
    let mut lab = resumed(&["192.0.2.1", "192.0.2.2"]);
    establish(&mut lab, &helper_with_frames, &["192.0.2.1", "192.0.2.2"]);
    lab.bytes(&router::message(REFRESH, &[0, 1, 0, 1]));
    lab.set("192.0.2.1", with_med(1));
    assert_eq!((lab.router.refreshes.len(), lab.router.changes, lab.router.table.len()), (0, 1, 2));
    assert!(lab.peer.is_synchronised());
    lab.rib.decide_all();
    lab.release();
    assert_eq!((lab.router.table.len(), &lab.router.end_of_rib[..]), (1, &END_OF_RIBS[..]));
    assert_eq!(lab.router.refreshes.iter().map(|seen| (seen.0, seen.1)).collect::<Vec<_>>(), [(1, 1), (1, 2)]);
}

/// RFC 4724 §4.2: what the router keeps then is of this life as well as of the one before.
#[test]
fn what_was_told_since_the_restart_is_kept_too_when_the_session_is_lost() {
    let mut lab = resumed(&["192.0.2.1"]);
    establish(&mut lab, HELPER, &["192.0.2.1"]);
    lab.set("192.0.2.9", with_med(1));
    assert_eq!(lab.router.table.len(), 2);
    lab.event(Event::Closed(None));
    lab.set("192.0.2.9", None);
    establish(&mut lab, HELPER, &["192.0.2.1", "192.0.2.9"]);
    assert_eq!((lab.route("192.0.2.9"), lab.router.table.len(), lab.router.end_of_rib.len()), (None, 1, 0));
}

#[test]
fn who_keeps_nothing_waits_for_all() {
    let mut lab = resumed(&["192.0.2.1"]);
    establish(&mut lab, &[], &[]);
    lab.set("192.0.2.1", with_med(1));
    assert_eq!(lab.router.updates, 0);
    lab.rib.decide_all();
    lab.release();
    assert_eq!((lab.router.table.len(), &lab.router.end_of_rib[..]), (1, &END_OF_RIBS[..]));
}

#[test]
fn large_tables_are_kept_and_told_in_stretches() {
    let vips: Vec<String> = (0..20_000u32).map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string()).collect();
    let vips: Vec<&str> = vips.iter().map(String::as_str).collect();
    let mut lab = resumed(&vips);
    for (n, vip) in vips.iter().enumerate().filter(|(n, _)| n % 3 != 0) {
        lab.rib.set(prefix(vip), with_med(1).filter(|_| n % 3 == 1));
    }
    establish(&mut lab, HELPER, &vips);
    assert_eq!((lab.router.changes, lab.router.end_of_rib.len()), (13_333, 0));
    lab.rib.decide_all();
    lab.release();
    assert_eq!(lab.router.end_of_rib[0], (1, 6667));
    assert_eq!(lab.router.changes, 20_000, "each is told once");
}

/// What a router heard last, and whether TCP was closed.
fn last_words(lab: &Lab) -> Option<(u8, u8, &[u8])> {
    assert_eq!((lab.state(), lab.conn), (State::Idle, None));
    match lab.router.last() {
        (NOTIFICATION, body) => Some((body[0], body[1], &body[2..])),
        _ => None,
    }
}

#[test]
fn a_stop_for_a_restart_is_silent_and_one_for_good_is_plain() {
    for capability in [HELPER, HELPER_N, &[]] {
        let up = || {
            let mut lab = Lab::new(asking());
            lab.release();
            establish(&mut lab, capability, &[]);
            lab.set("192.0.2.1", with_med(1));
            lab
        };
        let mut lab = up();
        assert_eq!(lab.peer.is_helper(), !capability.is_empty());
        lab.peer.leave(lab.now);
        lab.run();
        assert_eq!((last_words(&lab), lab.router.table.len()), (None, 1));
        lab.advance(1000 * SECOND);
        assert_eq!(lab.dialled.len(), 1, "it does not come back in this life");

        let mut lab = up();
        lab.peer.stop(lab.now, &Notification::administrative_shutdown("bye"));
        lab.run();
        let shutdown = if capability == HELPER_N { (6, 9, &b"\x06\x02\x03bye"[..]) } else { (6, 2, &b"\x03bye"[..]) };
        assert_eq!(last_words(&lab), Some(shutdown));
    }
}

#[test]
fn a_reset_by_a_reload_keeps_routes_where_the_router_will_know_us_again() {
    let longer = |base| altered(base, |session, _| session.hold_time = HoldTime::OFF);
    let moved = |base| altered(base, |session, _| session.router_id = [10, 0, 0, 3].into());
    let ceased = |base| altered(base, |session, _| session.graceful_restart = None);
    let shorter = |base| altered(base, |session, _| session.graceful_restart = RestartTime::from_secs(7));
    let (plain, hard) = (Some((6, 6, &[][..])), Some((6, 9, &[6, 6][..])));
    for (capability, reload, expected) in [
        (HELPER, longer as fn(config::Peer) -> config::Peer, None),
        (HELPER_N, longer, plain),
        (HELPER, shorter, None),
        (HELPER, moved, plain),
        (HELPER_N, moved, hard),
        (HELPER, ceased, plain),
        (HELPER_N, ceased, hard),
        (&[], longer, plain),
    ] {
        let mut lab = Lab::new(asking());
        lab.release();
        establish(&mut lab, capability, &[]);
        lab.configure(reload(asking()));
        assert_eq!(last_words(&lab), expected, "{capability:?}");
        establish(&mut lab, capability, &[]);
    }
}
