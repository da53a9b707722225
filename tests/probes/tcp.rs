//! `tcp`.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use herald::config::{Config, ExecProbe, ProbeKind, TcpProbe};
use herald::driver::probe::Prober;

use crate::support::{
    BlackHole, LATE, PLENTY, SHORT, Server, Talk, eventually, fails, http, millis, nobody, passes, request, run,
};

#[test]
fn a_listener_passes_over_either_family() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let outcome = run(listener.local_addr().unwrap(), ProbeKind::Tcp(TcpProbe::CONNECT), PLENTY);
        passes(&outcome, "connected");
    }
}

#[test]
fn nobody_listening_is_refused_at_once() {
    let (_held, address) = nobody();
    let outcome = run(address, ProbeKind::Tcp(TcpProbe::CONNECT), PLENTY);
    fails(&outcome, "connection refused");
    assert!(outcome.took < LATE);
}

#[test]
fn a_full_queue_times_out_at_the_deadline() {
    let hole = BlackHole::open();
    let outcome = run(hole.address, ProbeKind::Tcp(TcpProbe::CONNECT), SHORT);
    fails(&outcome, "timed out after 200 ms while connecting");
    assert!(outcome.took >= SHORT);
}

/// Each of them, that is, unless the machine is busy; so the best of a few counts.
#[test]
fn deadlines_are_kept_within_a_few_milliseconds() {
    let hole = BlackHole::open();
    let silent = Server::v4(Talk::linger);
    // Unless the machine is busy; so one of many counts.
    let on_time = |target, kind: &ProbeKind| (0..40).any(|_| run(target, kind.clone(), millis(30)).took < millis(45));
    let sleep = ExecProbe::new(vec!["/bin/sleep".into(), "1000".into()]);
    for kind in [ProbeKind::Tcp(TcpProbe::CONNECT), ProbeKind::Http(http()), ProbeKind::Exec(sleep)] {
        assert!(on_time(hole.address, &kind), "{kind:?}");
    }
    assert!(on_time(silent.address, &ProbeKind::Http(http())));
}

/// A wait longer than a slice is several calls of connect.
#[test]
fn a_long_wait_ends_at_the_deadline_too() {
    let hole = BlackHole::open();
    let outcome = run(hole.address, ProbeKind::Tcp(TcpProbe::CONNECT), SHORT * 5);
    fails(&outcome, "timed out after 1 s while connecting");
    assert!(outcome.took >= SHORT * 5);
}

/// The server's queue fills and then empties: the kernel sends the SYN again after a second.
#[test]
fn a_connection_that_comes_late_passes() {
    let hole = BlackHole::open();
    let request = request(hole.address, ProbeKind::Tcp(TcpProbe::CONNECT), PLENTY);
    let running = thread::spawn(move || Prober::new(&Config::default()).unwrap().run(&request));
    eventually("the first SYN is sent and dropped", || hole.is_knocked_at());
    let _room = hole.accept();
    passes(&running.join().unwrap(), "connected");
}

/// The last ACK of the handshake is held back and the reset comes instead: `accept` never returns. Unless this thread
/// is kept off its processor for so long that the kernel sends the ACK after all, so once in five will do.
#[test]
fn the_server_application_sees_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let unseen = (0..5).filter(|_| {
        run(listener.local_addr().unwrap(), ProbeKind::Tcp(TcpProbe::CONNECT), PLENTY);
        match listener.accept() {
            Err(error) => error.kind() == ErrorKind::WouldBlock,
            Ok((mut stream, _)) => {
                let error = stream.read(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                false
            }
        }
    });
    assert!(unseen.count() > 0);
}

/// With nobody listening on a port of the ephemeral range, one connect in thousands meets itself.
#[test]
fn a_connection_to_itself_is_refused() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let low: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let high: u16 = range.split_whitespace().last().unwrap().parse().unwrap();
    // The kernel gives the ports of the lowest's parity first, one after the other.
    let target = SocketAddr::from(([127, 0, 0, 1], low + 2 * ((high - low) / 4)));
    let request = request(target, ProbeKind::Tcp(TcpProbe::CONNECT), PLENTY);
    let prober = Prober::new(&Config::default()).unwrap();
    for _ in low..high {
        fails(&prober.run(&request), "connection refused");
    }
}

#[test]
fn an_unroutable_address_is_told_so() {
    // The broadcast address, because it never leaves the machine.
    let outcome = run("255.255.255.255:80".parse().unwrap(), ProbeKind::Tcp(TcpProbe::CONNECT), PLENTY);
    assert!(!outcome.passed);
    assert!(["network is unreachable", "not permitted"].contains(&&*outcome.detail), "{outcome:?}");
}
