//! What is wrong on a connection, and what it costs.

use super::*;

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
fn attributes_that_fit_no_message_take_the_route_away() {
    let mut lab = Lab::up(config());
    lab.set("192.0.2.1", with_med(1));
    lab.set("192.0.2.2", with_med(1));
    let communities = (0..1200).map(Community).collect();
    lab.set("192.0.2.1", Some(Arc::new(Attributes { communities, ..Attributes::default() })));
    assert_eq!((lab.route("192.0.2.1"), lab.router.table.len()), (None, 1));
    let told = Notice::Told { announced: 0, withdrawn: 1, first: vec![prefix("192.0.2.1")] };
    assert!(lab.notices.ends_with(&[Notice::TooLarge(prefix("192.0.2.1"), 1), told]), "{:?}", lab.notices);
    assert!(lab.peer.is_synchronised());
    lab.set("192.0.2.1", with_med(1));
    assert_eq!(lab.router.table.len(), 2);
}
