//! `udp`.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;

use herald::config::{FailureKind, Pattern, ProbeKind, UdpProbe};
use herald::driver::probe::Prober;
use regex::bytes::Regex;

use crate::datagrams::{Datagrams, Letter, closed_port};
use crate::support::{LATE, PLENTY, SHORT, config, fails, millis, passes, request, run};

fn asks(send: &[u8], expect: Pattern) -> ProbeKind {
    ProbeKind::Udp(UdpProbe { send: send.to_vec(), expect: Some(expect), wait: SHORT })
}

fn tells(send: &[u8], wait: std::time::Duration) -> ProbeKind {
    ProbeKind::Udp(UdpProbe { send: send.to_vec(), expect: None, wait })
}

fn text(octets: &[u8]) -> Pattern {
    Pattern::Contains(octets.to_vec())
}

#[test]
fn an_answer_must_hold_the_pattern() {
    let regex = Pattern::Regex(Regex::new("^you .*g$").unwrap());
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let server = Datagrams::start(bind, |letter| letter.answer([b"you said ", letter.octets].concat()));
        let outcome = run(server.address, asks(b"ping", text(b"said ping")), PLENTY);
        passes(&outcome, "answer of 13 octets with \"said ping\"");
        let regex = regex.clone();
        passes(&run(server.address, asks(b"ping", regex), PLENTY), "answer of 13 octets with /^you .*g$/");
        let outcome = run(server.address, asks(b"p\x00ng", text(b"ping")), PLENTY);
        fails(&outcome, "answer \"you said p\\0ng\", expected \"ping\"");
        assert!(outcome.took < LATE);
        assert_eq!(outcome.failure, Some(FailureKind::Answer));
    }
}

#[test]
fn datagrams_of_every_size() {
    let (heard, sizes) = mpsc::channel();
    let server = Datagrams::v4(move |letter| {
        heard.send(letter.octets.len()).unwrap();
        letter.answer(letter.octets);
    });
    let mut largest = vec![b'x'; 65_507];
    largest[65_506] = b'!';
    passes(&run(server.address, asks(&largest, text(b"!")), PLENTY), "answer of 65507 octets with \"!\"");
    fails(&run(server.address, asks(b"", text(b"x")), PLENTY), "empty answer, expected \"x\"");
    passes(&run(server.address, tells(b"", PLENTY), PLENTY), "answer of 0 octets");
    assert_eq!(sizes.iter().take(3).collect::<Vec<_>>(), [65_507, 0, 0]);
}

#[test]
fn no_answer_is_a_timeout_where_one_is_expected() {
    let server = Datagrams::silent();
    let outcome = run(server.address, asks(b"x", text(b"x")), SHORT);
    fails(&outcome, "timed out after 200 ms while waiting for the answer");
    assert!(outcome.took >= SHORT);
    assert_eq!(outcome.failure, Some(FailureKind::Timeout));
    // Longer than a slice; and on time, unless the machine is busy: one of many counts.
    let outcome = run(server.address, asks(b"x", text(b"x")), SHORT * 5);
    fails(&outcome, "timed out after 1 s while waiting for the answer");
    assert!((0..40).any(|_| run(server.address, asks(b"x", text(b"x")), millis(30)).took < millis(45)));
}

#[test]
fn silence_passes_where_nothing_is_expected() {
    let server = Datagrams::silent();
    let outcome = run(server.address, tells(b"x", SHORT), PLENTY);
    passes(&outcome, "no answer within 200 ms, and no error");
    assert!((SHORT..SHORT + LATE).contains(&outcome.took), "{outcome:?}");
    // The time for silence is over before that of the check.
    passes(&run(server.address, tells(b"x", SHORT), SHORT), "no answer within 175 ms, and no error");
}

#[test]
fn any_answer_ends_the_wait() {
    let server = Datagrams::v4(|letter| letter.answer("no"));
    let outcome = run(server.address, tells(b"x", PLENTY), PLENTY);
    passes(&outcome, "answer of 2 octets");
    assert!(outcome.took < LATE);
}

#[test]
fn a_closed_port_is_refused_at_once_over_either_family() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let (_held, address) = closed_port(bind);
        for kind in [tells(b"x", PLENTY), asks(b"x", text(b"x"))] {
            let outcome = run(address, kind, PLENTY);
            fails(&outcome, "port unreachable");
            assert_eq!(outcome.failure, Some(FailureKind::Refused));
            assert!(outcome.took < LATE);
        }
    }
}

/// What the target did not send is nobody's business.
#[test]
fn others_cannot_answer() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let spoof = move |letter: &Letter<'_>| letter.answer_by(&other, "pong");
    let server = Datagrams::v4(spoof);
    let outcome = run(server.address, asks(b"ping", text(b"pong")), SHORT);
    fails(&outcome, "timed out after 200 ms while waiting for the answer");
}

#[test]
fn an_answer_that_comes_late_counts() {
    let server = Datagrams::v4(|letter| {
        if letter.pause(millis(500)) {
            letter.answer("late");
        }
    });
    passes(&run(server.address, asks(b"x", text(b"late")), PLENTY), "answer of 4 octets with \"late\"");
}

/// With nobody on a port of the ephemeral range, the kernel may draw that very port for us.
#[test]
fn a_check_does_not_hear_itself() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let ports: Vec<u16> = range.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let target = SocketAddr::from(([127, 0, 0, 1], ports[0] + (ports[1] - ports[0]) / 2));
    let request = request(target, tells(b"x", PLENTY), PLENTY);
    let prober = Prober::new(&config(&request)).unwrap();
    for _ in 0..2 * (ports[1] - ports[0]) {
        fails(&prober.run(&request), "port unreachable");
    }
}
