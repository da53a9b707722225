//! From one connection to the next.

use super::*;

const BOTH: [bool; 2] = [false, true];

fn some() -> [(Prefix, u32); 3] {
    [(prefix("192.0.2.1"), 10), (prefix("192.0.2.0/24"), 20), (prefix("2001:db8::1"), 30)]
}

#[test]
fn both_versions_are_told_apart_and_told_everything() {
    for is_v4 in BOTH {
        let mut lab = Lab::up(is_v4, &some());
        lab.expect(&some());
        let asked = if is_v4 { 1 } else { 2 };
        let calls = lab.take_calls();
        assert_eq!(calls[..asked], vec!["GetBgp"; asked]);
        assert_eq!(calls[asked..], ["ListPath", "ListPath", "AddPathStream"]);
        let status = lab.announcer.status();
        assert_eq!(status.api, Some(if is_v4 { Api::V4 } else { Api::V3 }));
        assert_eq!((status.asn, status.router_id), (Some(Asn(65000)), Some([10, 77, 0, 1].into())));
        assert_eq!((status.advertised, status.established_count, status.pending), ([2, 1], 1, 0));
        assert!(lab.announcer.is_heard() && lab.announcer.has_advertised(&prefix("2001:db8::1")));
        lab.want(&[(prefix("192.0.2.1"), 11)]);
        lab.announcer.set(prefix("2001:db8::1"), None);
        lab.announcer.flush(lab.now);
        lab.run();
        lab.check();
        lab.expect(&[(prefix("192.0.2.1"), 11), (prefix("192.0.2.0/24"), 20)]);
        let mut calls = lab.take_calls();
        calls.sort();
        assert_eq!(calls, ["AddPathStream", "DeletePath"]);
    }
}

#[test]
fn a_restart_of_gobgpd_is_noticed_and_everything_announced_again() {
    for is_v4 in BOTH {
        let mut lab = Lab::up(is_v4, &some());
        lab.wait(5 * SECOND);
        lab.kill();
        assert_eq!(lab.announcer.state(), State::Idle);
        assert!(!lab.announcer.is_heard() && !lab.announcer.has_advertised(&prefix("192.0.2.1")));
        lab.wait(3 * SECOND);
        assert!(!lab.announcer.is_synchronised());
        assert_eq!(lab.last_cause(), "cannot connect: Connection refused");
        assert!(lab.connects[1] <= lab.start + 5 * SECOND + 100 * MILLISECOND, "at once");
        let causes = lab.notices.iter().filter(|notice| matches!(notice, Notice::State { cause: Some(_), .. })).count();
        assert_eq!(causes, 2, "each cause is told once: {:?}", lab.notices);
        // It is another version now, and there before it is configured.
        lab.server.is_v4 = !is_v4;
        lab.server.asn = 0;
        lab.listens = true;
        lab.wait(SECOND);
        assert_eq!(lab.announcer.state(), State::Waiting);
        assert!(lab.take_calls().iter().filter(|call| *call == "GetBgp").count() > 2);
        lab.server.asn = 65000;
        lab.wait(500 * MILLISECOND);
        lab.check();
        lab.expect(&some());
        assert_eq!(lab.announcer.status().established_count, 2);
        assert_eq!(lab.last_cause(), "");
    }
}

#[test]
fn waits_grow_with_what_needs_a_person_only() {
    let mut lab = Lab::idle(true);
    lab.listens = false;
    lab.announcer.configure(lab.now, Some(Arc::new(config())));
    lab.run();
    lab.wait(60 * SECOND);
    assert!((60..=100).contains(&lab.connects.len()), "{}", lab.connects.len());
    let retry = lab.announcer.status().retry_at.unwrap();
    assert!(retry > lab.now && retry <= lab.now + SECOND);
    // Whoever reloads may have mended it.
    lab.configure(|config| config.live.connect_retry = 10 * SECOND);
    assert!(lab.announcer.status().retry_at.unwrap() <= lab.now + 100 * MILLISECOND);
}

/// Stopped (SIGSTOP): the kernel accepts, and nobody answers.
#[test]
fn a_call_that_is_not_answered_ends_the_connection() {
    let mut lab = Lab::up(false, &some());
    lab.wait(5 * SECOND);
    lab.server.is_stopped = true;
    lab.wait(60 * SECOND);
    assert!(lab.announcer.is_heard(), "nothing was asked");
    lab.want(&[(prefix("192.0.2.1"), 77)]);
    lab.run();
    lab.wait(1999 * MILLISECOND);
    assert!(lab.announcer.is_heard());
    lab.wait(MILLISECOND);
    assert!(!lab.announcer.is_heard());
    assert_eq!(lab.last_cause(), "no answer to AddPathStream within 2 s");
    lab.wait(60 * SECOND);
    assert_eq!(lab.last_cause(), "no answer to HTTP/2 within 2 s");
    assert!(lab.connects.len() < 40);
    // It goes on as if nothing had been, with the routes of before.
    lab.server.is_stopped = false;
    lab.take_calls();
    lab.wait(4 * SECOND);
    lab.check();
    lab.expect(&[(prefix("192.0.2.1"), 77), (prefix("192.0.2.0/24"), 20), (prefix("2001:db8::1"), 30)]);
    assert_eq!(lab.announcer.status().calls.announced, 4, "only what differs");
}

/// What a stopped gobgpd was told before it was given up, it may do after it has told the next connection what it has.
#[test]
fn what_was_under_way_is_looked_for_once_more() {
    let mut lab = Lab::up(true, &some());
    lab.server.is_stopped = true;
    lab.want(&[(prefix("198.51.100.1"), 77)]);
    lab.run();
    lab.wait(3 * SECOND);
    lab.announcer.set(prefix("198.51.100.1"), None);
    lab.server.is_stopped = false;
    lab.wait(4 * SECOND);
    lab.check();
    lab.expect(&some());
    let own = config().identifier.get();
    lab.server.table.insert(key(&prefix("198.51.100.1"), own), vec![vec![0x40, 1, 1, 0]]);
    lab.wait(5 * SECOND);
    lab.check();
    lab.expect(&some());
    lab.take_calls();
    lab.wait(3600 * SECOND);
    assert!(lab.take_calls().is_empty(), "once");
}

#[test]
fn stop_withdraws_and_leave_does_not() {
    for is_v4 in BOTH {
        let mut lab = Lab::up(is_v4, &some());
        lab.announcer.stop(lab.now);
        assert!(!lab.announcer.is_vacant());
        lab.run();
        assert!(lab.announcer.is_vacant() && lab.server.table.is_empty());
        assert_eq!(lab.announcer.poll_timeout(), None);
        lab.announcer.configure(lab.now, Some(Arc::new(config())));
        lab.run();
        assert!(lab.announcer.is_vacant());

        let mut lab = Lab::up(is_v4, &some());
        lab.announcer.leave(lab.now);
        lab.run();
        assert!(lab.announcer.is_vacant());
        lab.expect(&some());
    }
    // One that does not answer is not waited for.
    let mut lab = Lab::up(true, &some());
    lab.server.is_stopped = true;
    lab.announcer.stop(lab.now);
    lab.run();
    lab.wait(2 * SECOND);
    assert!(lab.announcer.is_vacant() && lab.announcer.poll_timeout().is_none());
    let mut lab = Lab::idle(true);
    lab.announcer.stop(lab.now);
    assert!(lab.announcer.is_vacant());
}

#[test]
fn another_identifier_or_address_moves_the_routes() {
    let mut lab = Lab::up(true, &some());
    lab.configure(|config| config.identifier = std::num::NonZeroU32::new(5).unwrap());
    lab.check();
    assert!(lab.table().is_empty());
    assert!(lab.server.table.keys().all(|(_, _, identifier, _)| *identifier == 5));
    assert_eq!(lab.server.table.len(), 3);
    lab.configure(|config| config.api = ApiAddress::Unix("/run/gobgpd.sock".into()));
    lab.check();
    assert_eq!((lab.connects.len(), lab.server.table.len()), (3, 3));
    lab.announcer.configure(lab.now, None);
    lab.run();
    assert!(lab.announcer.is_vacant() && lab.server.table.is_empty() && lab.announcer.config().is_none());
    assert!(lab.announcer.poll_timeout().is_none());
    lab.configure(|_| {});
    lab.check();
    lab.expect(&some());
}

#[test]
fn a_reload_while_one_is_under_way_counts() {
    let mut lab = Lab::up(true, &some());
    let to = |identifier: u32| Some(Arc::new(Gobgp { identifier: identifier.try_into().unwrap(), ..config() }));
    lab.announcer.configure(lab.now, to(5));
    lab.announcer.configure(lab.now, None);
    lab.announcer.configure(lab.now, to(6));
    lab.run();
    lab.check();
    assert!(lab.server.table.keys().all(|(_, _, identifier, _)| *identifier == 6));
}

#[test]
fn a_gobgpd_that_loses_its_configuration_is_waited_for() {
    let mut lab = Lab::up(false, &some());
    lab.server.asn = 0;
    lab.server.table.clear();
    lab.want(&[(prefix("192.0.2.1"), 11)]);
    lab.run();
    assert_eq!(lab.announcer.state(), State::Waiting);
    lab.server.asn = 65001;
    lab.wait(SECOND);
    lab.check();
    assert_eq!(lab.announcer.status().asn, Some(Asn(65001)));
    assert_eq!((lab.connects.len(), lab.server.table.len()), (1, 3));
}

#[test]
fn few_streams_at_a_time_and_small_windows_are_waited_for() {
    let mut lab = Lab::idle(true);
    lab.server.settings.max_concurrent_streams = Some(2);
    lab.server.settings.initial_window_size = 1000;
    lab.announcer.configure(lab.now, Some(Arc::new(config())));
    let routes: Vec<_> = (0..3000).map(|i| (numbered(i), i)).collect();
    lab.want(&routes);
    lab.announcer.release(lab.now);
    lab.run();
    lab.check();
    lab.expect(&routes);
    (0..500).for_each(|i| lab.announcer.set(numbered(i), None));
    lab.announcer.flush(lab.now);
    lab.run();
    lab.check();
    lab.expect(&routes[500..]);
    assert!(lab.server.wire.unwrap().most_streams <= 2);
}
