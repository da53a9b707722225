//! The hold timer and KEEPALIVEs.

use super::*;

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

/// Such as one that drops what we send, since it wants TTL security: all that it says was in its hands before it did so.
#[test]
fn a_router_that_says_nothing_once_it_is_up_may_not_hear_us() {
    let mut lab = Lab::new(config());
    lab.connected();
    lab.bytes(&router::open(65000, 90, [10, 0, 0, 1], &[MP_IPV4]));
    lab.bytes(&keepalive());
    assert_eq!(lab.state(), State::Established);
    lab.advance(9 * SECOND);
    let words = lab.last_error().to_string();
    assert!(
        words.starts_with("hold timer expired, nothing came after the first KEEPALIVE")
            && words.contains("ttl_security"),
        "{words}"
    );
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
