//! `icmp` and `syn` on loopback, by the sockets that root has.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use herald::config::{Egress, FailureKind, IcmpProbe, Probe, ProbeKind};
use herald::driver::probe::Prober;
use herald::health::{ProbeOutcome, ProbeRequest};

use crate::support::{BlackHole, LATE, PLENTY, SHORT, config, echoes, fails, millis, nobody, passes, request, run};

const ONE: IcmpProbe = IcmpProbe { count: 1, max_loss: 0, size: 56 };

fn ping(address: &str, probe: IcmpProbe, timeout: Duration) -> ProbeOutcome {
    run(SocketAddr::new(address.parse().unwrap(), 80), ProbeKind::Icmp(probe), timeout)
}

#[test]
fn our_own_host_answers_over_either_family_and_size() {
    let _few = echoes(false);
    for address in ["127.0.0.1", "127.9.9.9", "::1"] {
        passes(&ping(address, ONE, PLENTY), "echo reply");
        passes(&ping(address, IcmpProbe { size: 0, ..ONE }, PLENTY), "echo reply");
        passes(&ping(address, IcmpProbe { size: 1400, ..ONE }, PLENTY), "echo reply");
        let several = ping(address, IcmpProbe { count: 20, ..ONE }, PLENTY);
        passes(&several, "enough echo replies");
        // If each of them had its share of the time, all but the last would take nearly all of it.
        assert!(several.took < millis(1000), "the next goes when the last is back: {:?}", several.took);
    }
}

/// Class E leads nowhere, and whoever says so on the way says it in words of its own.
#[test]
fn what_does_not_answer_fails_in_time_and_says_why() {
    let outcome = ping("240.0.0.1", ONE, SHORT);
    assert!(!outcome.passed && outcome.took < SHORT + LATE && !outcome.detail.is_empty(), "{outcome:?}");
    let outcome = ping("240.0.0.1", IcmpProbe { count: 4, max_loss: 50, size: 8 }, SHORT);
    assert!(!outcome.passed && outcome.detail.starts_with("0 of 4 echo replies, 2 needed"), "{outcome:?}");
}

#[test]
fn half_a_handshake_is_enough_and_nobody_sees_it() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(bind).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..20 {
            passes(&run(address, ProbeKind::Syn, PLENTY), "SYN-ACK");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "{bind}");
    }
}

#[test]
fn a_closed_port_resets_it() {
    let (_held, address) = nobody();
    let outcome = run(address, ProbeKind::Syn, PLENTY);
    fails(&outcome, "connection refused");
    assert_eq!(outcome.failure, Some(FailureKind::Refused));
    assert!(outcome.took < LATE);
}

#[test]
fn a_full_queue_says_nothing() {
    let hole = BlackHole::open();
    let outcome = run(hole.address, ProbeKind::Syn, SHORT);
    fails(&outcome, "timed out after 200 ms while waiting for a SYN-ACK");
    assert_eq!(outcome.failure, Some(FailureKind::Timeout));
}

/// Many at a time, each with the answer to its own.
#[test]
fn every_run_has_its_own_answer() {
    let _few = echoes(false);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (open, (_held, closed)) = (listener.local_addr().unwrap(), nobody());
    std::thread::scope(|scope| {
        for number in 0..16 {
            scope.spawn(move || {
                for _ in 0..25 {
                    let address = if number % 2 == 0 { open } else { closed };
                    let outcome = run(address, ProbeKind::Syn, PLENTY);
                    assert_eq!(outcome.passed, number % 2 == 0, "{outcome:?}");
                    // A busy machine loses packets even on loopback.
                    let several = IcmpProbe { count: 5, max_loss: 80, ..ONE };
                    let outcome = run("127.0.0.1:80".parse().unwrap(), ProbeKind::Icmp(several), PLENTY);
                    passes(&outcome, "enough echo replies");
                }
            });
        }
    });
}

fn leaving(kind: ProbeKind, target: SocketAddr, egress: Egress) -> ProbeOutcome {
    let plain = request(target, kind, PLENTY);
    let probe = Probe { egress, ..(*plain.probe).clone() };
    let request = ProbeRequest { probe: probe.into(), ..plain };
    Prober::new(&config(&request)).unwrap().run(&request)
}

/// Of every kind of socket: from the source that it shall have, by the interface that there is, and not by one that is not.
#[test]
fn every_socket_leaves_as_it_shall() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let tcp = ProbeKind::Tcp(herald::config::TcpProbe::CONNECT);
    for kind in [tcp, ProbeKind::Syn, ProbeKind::Icmp(ONE)] {
        let all = Egress {
            source: Some("127.0.0.77".parse().unwrap()),
            interface: Some("lo".into()),
            mark: Some(7),
            dscp: Some(46),
        };
        let outcome = leaving(kind.clone(), target, all);
        assert!(outcome.passed, "{kind:?}: {outcome:?}");
        let outcome = leaving(kind.clone(), target, Egress { interface: Some("nowhere0".into()), ..Egress::default() });
        fails(&outcome, "interface nowhere0: no such interface");
        assert_eq!(outcome.failure, Some(FailureKind::Internal));
        let outcome =
            leaving(kind, target, Egress { source: Some("192.0.2.77".parse().unwrap()), ..Egress::default() });
        fails(&outcome, "source 192.0.2.77: not an address of this host");
    }
}
