//! Peers without an address.

use super::*;
use crate::config::Mode;

/// [`BASE`] with a peer that has these keys in place of its address.
fn with_peer(keys: &str) -> String {
    changed("address = \"10.0.0.2\"\n", keys)
}

#[test]
fn a_peer_without_address_is_at_the_other_end_of_its_interface() {
    let peer = |keys: &str| config(&with_peer(keys)).bgp.unwrap().peers[0].clone();
    let plain = peer("interface = 'eth0'\n");
    let session = &plain.session;
    assert_eq!((session.unnumbered_interface(), session.address_is_unknown()), (Some("eth0"), true));
    assert_eq!((&session.transport.interface, session.mode, session.extended_next_hop), (&None, Mode::Active, true));
    assert!(!peer("interface = 'eth0'\nextended_next_hop = false\n").session.extended_next_hop);
    assert_eq!(peer("interface = 'eth0'\nmode = 'both'\n").session.mode, Mode::Both);
    // What was found out about it is none of the configuration's business; its interface is.
    let mut found = session.clone();
    found.address = "fe80::1".parse().unwrap();
    assert_eq!(session.changes(&found), Vec::<&str>::new());
    assert_eq!(session.changes(&peer("interface = 'eth1'\n").session), ["interface"]);
    assert_eq!(
        session.changes(&peer("address = 'fe80::1%eth0'\nextended_next_hop = true\n").session),
        ["address", "interface"]
    );
    // With an address the interface is what it connects by.
    let numbered = peer("address = '10.0.0.2'\ninterface = 'eth0'\n").session.clone();
    assert_eq!((numbered.unnumbered_interface(), numbered.transport.interface.as_deref()), (None, Some("eth0")));
    let named = config(&with_peer("interface = 'eth0'\n").replace("name = \"tor\"\n", "")).bgp.unwrap();
    assert_eq!(&*named.peers[0].name, "eth0");
    assert!(
        warnings(&with_peer("interface = 'eth0'\n").replace("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"2001:db8::1\"]"))
            .is_empty(),
        "both families have a next hop"
    );
}

#[test]
fn what_does_not_go_without_an_address() {
    let second = "[[bgp.peer]]\nname = 'other'\ninterface = 'eth0'\npeer_as = 65000\n[checks.web]";
    for (text, expected) in [
        (with_peer(""), "4:1: [[bgp.peer]] needs `address`, or `interface` alone if it is unnumbered"),
        (with_peer("interface = 'a/b'\n"), "6:13: `interface`: `a/b` is not the name of an interface"),
        (
            with_peer("interface = 'eth0'\nlimit = 3\n"),
            "7:1: `limit` is for peers by range: the router at the other end of an interface is one",
        ),
        (
            with_peer("interface = 'eth0'\n").replace("[checks.web]", second),
            "10:13: another peer has this interface, already at f:6:13",
        ),
        (
            with_peer("interface = 'eth0'\nmode = 'both'\npassword_file = '/x'\n"),
            "6:13: `password_file` of a peer without `address` needs `mode = \"active\"`: the kernel must know from where a \
             signed connection comes",
        ),
        (
            with_peer("interface = 'eth0'\nsource = '10.0.0.1'\n"),
            "7:10: `source`: `10.0.0.1` is not of IPv6, over which sessions with unnumbered peers run",
        ),
    ] {
        let errors = errors_of(&[source("f", &text)]);
        assert!(errors.iter().any(|error| error == &format!("f:{expected}")), "{expected}: {errors:#?}");
    }
}
