//! From one attempt to the next.

use super::*;

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
    // Whether the router closes or resets is chance, and no news.
    let mut resets = [None, Some("connection reset by peer".to_owned())].into_iter().cycle();
    let mut closed = move |lab: &mut Lab| {
        lab.connected();
        lab.event(Event::Closed(resets.next().unwrap()));
    };
    let mut lab = Lab::new(config());
    for _ in 0..10 {
        waits(&mut lab, 2, &mut { refused });
        waits(&mut lab, 2, &mut closed);
    }
    let causes: Vec<_> = lab
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::State { to: State::Idle, cause, .. } => cause.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(causes, [Cause::ConnectFailed("Connection refused".into()), Cause::TurnedAway([10, 0, 0, 2].into())]);
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
