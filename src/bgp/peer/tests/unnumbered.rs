//! A peer without an address of its own.

use super::*;

fn unnumbered() -> config::Peer {
    altered(config(), |session, _| {
        session.address = std::net::Ipv6Addr::UNSPECIFIED.into();
        session.zone = Some("eth0".to_owned());
        session.unnumbered = true;
    })
}

fn address(lab: &Lab) -> String {
    lab.peer.config().session.address.to_string()
}

#[test]
fn it_waits_until_its_neighbour_is_found() {
    let mut lab = Lab::new(unnumbered());
    lab.advance(1000 * SECOND);
    assert_eq!((lab.dialled.len(), lab.state(), lab.peer.poll_timeout()), (0, State::Idle, None));
    lab.peer.found(lab.now, "fe80::1".parse().unwrap(), &lab.rib);
    lab.advance(Duration::ZERO);
    assert_eq!((lab.dialled.len(), address(&lab).as_str()), (1, "fe80::1"));
    lab.release();
    lab.establish();
    // A reload knows nothing of the address, and changes nothing.
    assert_eq!(lab.peer.change(&unnumbered()), Change::Keep);
    lab.configure(unnumbered());
    assert_eq!((lab.state(), address(&lab).as_str()), (State::Established, "fe80::1"));
    // Another neighbour, while the session lives: it is for the next one.
    lab.peer.found(lab.now, "fe80::2".parse().unwrap(), &lab.rib);
    assert_eq!((lab.state(), address(&lab).as_str()), (State::Established, "fe80::2"));
    // On another interface nothing is known.
    let moved = altered(unnumbered(), |session, _| session.zone = Some("eth1".to_owned()));
    assert_eq!(lab.peer.change(&moved), Change::Reset(vec!["interface"]));
    lab.configure(moved);
    lab.assert_sent(6, 6);
    let dialled = lab.dialled.len();
    lab.advance(1000 * SECOND);
    assert_eq!((lab.dialled.len(), address(&lab).as_str()), (dialled, "::"));
}

#[test]
fn a_new_neighbour_is_tried_soon() {
    let mut lab = Lab::new(unnumbered());
    lab.peer.found(lab.now, "fe80::1".parse().unwrap(), &lab.rib);
    lab.advance(Duration::ZERO);
    for _ in 0..10 {
        lab.dial();
        lab.event(Event::ConnectFailed("no route to host".to_owned()));
    }
    let before = lab.dialled.len();
    lab.peer.found(lab.now, "fe80::2".parse().unwrap(), &lab.rib);
    lab.advance(SECOND / 4);
    assert_eq!(lab.dialled.len(), before + 1);
    // Peers that have an address are not concerned.
    let mut other = Lab::new(config());
    other.peer.found(other.now, "fe80::2".parse().unwrap(), &other.rib);
    assert_eq!(address(&other), "10.0.0.1");
}
