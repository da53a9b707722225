//! RFC 4271 §6: what a bad message must cause, with the octets of the NOTIFICATION.

use herald::bgp::peer::State;

use crate::bench::{
    Bench, CAPABILITIES, good_open, header, hex, keepalive, message, notification, open, refresh, update,
};

const UP: [State; 3] = [State::OpenSent, State::OpenConfirm, State::Established];

/// In every state with a connection, `bytes` must cause this NOTIFICATION and the end.
fn must(bench: &str, states: &[State], keys: &str, bytes: &[u8], expected: &[u8]) {
    for state in states {
        // In one piece, octet by octet, and with more behind it that must not matter.
        for variant in 0..3 {
            let mut lab = Bench::at(*state, keys);
            match variant {
                0 => lab.bytes(bytes),
                1 => bytes.iter().for_each(|byte| {
                    if lab.state() != State::Idle {
                        lab.bytes(&[*byte]);
                    }
                }),
                _ => lab.bytes(&[bytes, &keepalive(), &[0; 40]].concat()),
            }
            let sent = lab.take_sent();
            assert!(sent == expected, "{bench} in {}: {}, not {}", state.name(), hex(&sent), hex(expected));
            assert_eq!((lab.state(), lab.closed.len()), (State::Idle, 1), "{bench} in {}", state.name());
        }
    }
}

#[test]
fn message_header_errors() {
    let mut marker = keepalive();
    marker[15] = 0xfe;
    must("a marker that is not all ones", &UP, "", &marker, &notification(1, 1, &[]));
    must("another protocol", &UP, "", b"GET / HTTP/1.1\r\n\r\n", &notification(1, 1, &[]));
    // §6.1: "the erroneous Length field" is the data.
    for (length, kind) in [
        (0u16, 4),
        (18, 4),
        (18, 2),
        (4097, 2),
        (65535, 2),
        (28, 1),
        (22, 2),
        (20, 3),
        (20, 4),
        (4096, 4),
        // RFC 8654 §3: never for these two.
        (4097, 1),
        (4097, 4),
    ] {
        let expected = notification(1, 2, &length.to_be_bytes());
        must(&format!("length {length} of type {kind}"), &UP, "", &header(length, kind), &expected);
    }
    for kind in [0, 6, 7, 128, 255] {
        must(&format!("type {kind}"), &UP, "", &header(19, kind), &notification(1, 3, &[kind]));
    }
}

#[test]
fn open_message_errors() {
    let id = [10, 0, 0, 1];
    let wide = |asn: u32| [&[2, 6, 65, 4][..], &asn.to_be_bytes()].concat();
    let twelve = |parameters: &[u8]| open(4, 65000, 90, id, parameters);
    let rows: Vec<(&str, &str, Vec<u8>, Vec<u8>)> = vec![
        // Unsupported Version Number: the data is the largest that we have.
        ("version 3", "", open(3, 65000, 90, id, &CAPABILITIES), notification(2, 1, &[0, 4])),
        ("version 5", "", open(5, 65000, 90, id, &CAPABILITIES), notification(2, 1, &[0, 4])),
        ("version 0", "", open(0, 65000, 90, id, &CAPABILITIES), notification(2, 1, &[0, 4])),
        // Bad Peer AS; AS 0 is nobody's (RFC 7607 §2), and the 4-octet number counts (RFC 6793 §4.1).
        ("another AS", "", open(4, 65002, 90, id, &[]), notification(2, 2, &[])),
        ("AS 0", "", open(4, 0, 90, id, &[]), notification(2, 2, &[])),
        ("4-octet AS 0", "", open(4, 65000, 90, id, &wide(0)), notification(2, 2, &[])),
        ("another 4-octet AS", "", open(4, 65000, 90, id, &wide(65002)), notification(2, 2, &[])),
        ("AS_TRANS for another", "", open(4, 23456, 90, id, &wide(4_200_000_000)), notification(2, 2, &[])),
        ("external that is internal", "peer_as = \"external\"", open(4, 65001, 90, id, &[]), notification(2, 2, &[])),
        ("internal that is external", "peer_as = \"internal\"", good_open(), notification(2, 2, &[])),
        // Bad BGP Identifier (RFC 6286 §2.2).
        ("identifier 0.0.0.0", "", open(4, 65000, 90, [0; 4], &CAPABILITIES), notification(2, 3, &[])),
        (
            "our identifier in our AS",
            "peer_as = \"internal\"",
            open(4, 65001, 90, [10, 0, 0, 2], &[]),
            notification(2, 3, &[]),
        ),
        // Unsupported Optional Parameter.
        ("parameter 1", "", twelve(&[1, 1, 0]), notification(2, 4, &[])),
        ("parameter 254", "", twelve(&[254, 0]), notification(2, 4, &[])),
        // Unacceptable Hold Time.
        ("hold time 1", "", open(4, 65000, 1, id, &CAPABILITIES), notification(2, 6, &[])),
        ("hold time 2", "", open(4, 65000, 2, id, &CAPABILITIES), notification(2, 6, &[])),
        // Unsupported Capability (RFC 5492 §5): the data is the capabilities that are missed.
        (
            "only VPNv4",
            "",
            twelve(&[2, 6, 1, 4, 0, 1, 0, 128]),
            notification(2, 7, &[1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]),
        ),
        ("IPv4 for one that wants IPv6", "families = [\"ipv6\"]", good_open(), notification(2, 7, &[1, 4, 0, 2, 0, 1])),
        // What is recognised and malformed: subcode 0.
        ("parameters beyond the end", "", twelve(&[2, 12, 1, 4]), notification(2, 0, &[])),
        ("half a parameter", "", twelve(&[2]), notification(2, 0, &[])),
        ("a capability beyond its parameter", "", twelve(&[2, 2, 1, 4]), notification(2, 0, &[])),
        ("half a capability", "", twelve(&[2, 1, 1]), notification(2, 0, &[])),
        ("a multiprotocol capability of 3 octets", "", twelve(&[2, 5, 1, 3, 0, 1, 0]), notification(2, 0, &[])),
        ("a 4-octet AS of 2", "", twelve(&[2, 4, 65, 2, 0xfd, 0xe8]), notification(2, 0, &[])),
        (
            "octets behind the parameters",
            "",
            message(1, &[4, 0xfd, 0xe8, 0, 90, 10, 0, 0, 1, 0, 0]),
            notification(2, 0, &[]),
        ),
        // RFC 9072 §2.
        ("extended parameters beyond the end", "", twelve(&[255, 0, 9, 2, 0, 0]), notification(2, 0, &[])),
    ];
    for (name, keys, bytes, expected) in rows {
        must(name, &[State::OpenSent], keys, &bytes, &expected);
    }
}

/// Role Mismatch (RFC 9234 §4.2): ours must have its counterpart, and with role_strict there must be one.
#[test]
fn role_mismatches() {
    let says = |role: u8| open(4, 65000, 90, [10, 0, 0, 1], &[2, 3, 9, 1, role]);
    // 0 provider, 1 route server, 2 its client, 3 customer, 4 peer.
    for (ours, theirs) in [("provider", 3), ("customer", 0), ("rs", 2), ("rs-client", 1), ("peer", 4)] {
        let keys = format!("role = \"{ours}\"");
        for role in 0..6 {
            let mut lab = Bench::at(State::OpenSent, &keys);
            lab.bytes(&says(role));
            let sent = if role == theirs { keepalive() } else { notification(2, 11, &[]) };
            assert_eq!(hex(&lab.take_sent()), hex(&sent), "{ours} and {role}");
        }
        must("no role", &[State::OpenSent], &(keys + "\nrole_strict = true"), &good_open(), &notification(2, 11, &[]));
    }
}

/// RFC 8654 §3 and §4: with the capability on both sides all but OPEN and KEEPALIVE may be as long as their length field says.
#[test]
fn extended_messages() {
    let long = message(2, &[&[0, 0, 0xff, 0][..], &[0; 0xff00]].concat());
    for (keys, parameters, takes) in [
        ("extended_messages = true", &[2, 2, 6, 0][..], true),
        ("extended_messages = true", &[], false),
        ("", &[2, 2, 6, 0], false),
    ] {
        let mut lab = Bench::at(State::OpenSent, keys);
        lab.bytes(&open(4, 65000, 90, [10, 0, 0, 1], parameters));
        lab.bytes(&keepalive());
        lab.take_sent();
        lab.bytes(&long);
        // RFC 8654 §4: who has offered it takes them even from a peer that has not.
        let takes = takes || !keys.is_empty();
        let sent = if takes { vec![] } else { notification(1, 2, &long[16..18]) };
        assert_eq!(
            (lab.state() == State::Established, hex(&lab.take_sent())),
            (takes, hex(&sent)),
            "{keys} {parameters:?}"
        );
        if takes {
            lab.bytes(&header(4097, 4));
            assert_eq!(hex(&lab.take_sent()), hex(&notification(1, 2, &[0x10, 1])), "a long KEEPALIVE");
        }
    }
}

/// What an OPEN may have, however odd.
#[test]
fn opens_that_are_fine() {
    let id = [10, 0, 0, 1];
    for (name, keys, bytes) in [
        ("no parameters", "", open(4, 65000, 90, id, &[])),
        ("hold time 0", "", open(4, 65000, 0, id, &CAPABILITIES)),
        ("hold time 3", "", open(4, 65000, 3, id, &CAPABILITIES)),
        ("hold time 65535", "", open(4, 65000, 65535, id, &CAPABILITIES)),
        ("a capability that nobody knows", "", open(4, 65000, 90, id, &[2, 4, 250, 2, 1, 2])),
        ("one of each parameter", "", open(4, 65000, 90, id, &[2, 6, 1, 4, 0, 1, 0, 1, 2, 2, 2, 0])),
        ("an empty parameter", "", open(4, 65000, 90, id, &[2, 0])),
        ("the same twice", "", open(4, 65000, 90, id, &[2, 12, 1, 4, 0, 1, 0, 1, 1, 4, 0, 1, 0, 1])),
        ("an identifier that is no host's", "", open(4, 65000, 90, [255; 4], &CAPABILITIES)),
        ("our identifier from another AS", "", open(4, 65000, 90, [10, 0, 0, 2], &CAPABILITIES)),
        (
            "lengths of two octets (RFC 9072)",
            "",
            message(
                1,
                &[&[4, 0xfd, 0xe8, 0, 90, 10, 0, 0, 1, 255, 255, 0, 9, 2, 0, 6][..], &[1, 4, 0, 1, 0, 1]].concat(),
            ),
        ),
        (
            "the same, with a first length that is a lie",
            "",
            message(
                1,
                &[&[4, 0xfd, 0xe8, 0, 90, 10, 0, 0, 1, 4, 255, 0, 9, 2, 0, 6][..], &[1, 4, 0, 1, 0, 1]].concat(),
            ),
        ),
        ("AS_TRANS and the number", "peer_as = 4200000000", {
            open(4, 23456, 90, id, &[&[2, 6, 65, 4][..], &4_200_000_000u32.to_be_bytes()].concat())
        }),
    ] {
        let mut lab = Bench::at(State::OpenSent, keys);
        lab.bytes(&bytes);
        assert_eq!((lab.state(), hex(&lab.take_sent())), (State::OpenConfirm, hex(&keepalive())), "{name}");
    }
}

/// RFC 6608 §3: the data is the type of the message that was not expected.
#[test]
fn finite_state_machine_errors() {
    let opened = good_open();
    for (state, subcode, bytes) in [
        (State::OpenSent, 1, keepalive()),
        (State::OpenSent, 1, update()),
        (State::OpenSent, 1, refresh()),
        (State::OpenConfirm, 2, opened.clone()),
        (State::OpenConfirm, 2, update()),
        (State::OpenConfirm, 2, refresh()),
        (State::Established, 3, opened),
    ] {
        let kind = bytes[18];
        must(&format!("type {kind}"), &[state], "", &bytes, &notification(5, subcode, &[kind]));
    }
}

/// RFC 7313 §5: the data is the whole message.
#[test]
fn route_refresh_errors() {
    for body in [&[][..], &[0], &[0, 1, 0], &[0, 1, 0, 1, 0], &[0; 100]] {
        let bytes = message(5, body);
        must("a ROUTE-REFRESH", &[State::Established], "", &bytes, &notification(7, 1, &bytes));
    }
    // A family that we do not know, and subtypes: RFC 2918 §4, RFC 7313 §3.2 and §5.
    for body in [[0, 1, 0, 128], [0, 3, 0, 1], [0, 1, 1, 1], [0, 1, 2, 1], [0, 1, 200, 1]] {
        let mut lab = Bench::at(State::Established, "");
        lab.bytes(&message(5, &body));
        assert_eq!((lab.state(), lab.take_sent()), (State::Established, vec![]), "{body:?}");
    }
}

/// RFC 4271 §6.3 with RFC 7606: lengths that do not add up hide where the routes are. Everything else costs no session.
#[test]
fn update_message_errors() {
    for (name, body) in [
        ("withdrawn routes beyond the end", vec![0, 1, 0, 0]),
        ("attributes beyond the end", vec![0, 0, 0, 1]),
        ("withdrawn routes that swallow the next length", vec![0, 2, 0, 0]),
        ("attributes longer than any message", vec![0, 0, 255, 255]),
    ] {
        must(name, &[State::Established], "", &message(2, &body), &notification(3, 1, &[]));
    }
    let odd: [&[u8]; 6] = [
        // An attribute without an end, twice the same, an unknown well-known one, wrong flags, a route without attributes,
        // 64 octets of anything.
        &[0, 0, 0, 3, 0x40, 1, 5],
        &[0, 0, 0, 8, 0x40, 1, 1, 0, 0x40, 1, 1, 0],
        &[0, 0, 0, 3, 0x40, 99, 0],
        &[0, 0, 0, 4, 0xc0, 1, 1, 0],
        &[0, 0, 0, 0, 32, 192, 0, 2, 1],
        &[
            0, 0, 0, 60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
            27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53,
            54, 55, 56, 57, 58, 59, 60,
        ],
    ];
    for body in odd {
        let mut lab = Bench::at(State::Established, "");
        lab.bytes(&message(2, body));
        assert_eq!((lab.state(), lab.take_sent()), (State::Established, vec![]), "{}", hex(body));
    }
}

/// No NOTIFICATION is answered, whatever is in it (RFC 4271 §6).
#[test]
fn a_notification_ends_it_without_a_word() {
    let long = vec![7; 4096 - 21];
    for state in UP {
        for (code, subcode, data) in
            [(6, 2, &b"\x05hello"[..]), (6, 2, b"\xffhello"), (0, 0, &[]), (255, 255, &long), (6, 9, &[6, 9, 6, 9])]
        {
            let mut lab = Bench::at(state, "");
            lab.bytes(&notification(code, subcode, data));
            assert_eq!((lab.state(), lab.take_sent(), lab.closed.len()), (State::Idle, vec![], 1), "{code}/{subcode}");
            assert!(lab.peer.status().last_error.is_some());
        }
    }
}
