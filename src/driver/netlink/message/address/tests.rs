use super::*;
use crate::driver::netlink::message::tests::bytes;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn usable(address: &str, length: u8, interface: u32) -> Address {
    Address { address: address.parse().unwrap(), length, interface, state: AddressState::Usable }
}

/// The one event in this; none when it is cut anywhere.
fn event_of(hex: &str) -> Option<AddressEvent> {
    let bytes = bytes(hex);
    for end in 0..bytes.len() {
        assert_eq!(address_events(&bytes[..end]).count(), 0, "cut at {end}");
    }
    let mut events = address_events(&bytes);
    let event = events.next();
    assert!(events.next().is_none());
    event
}

// What `ip address` sent, and what a kernel of the 6.18 series said (little-endian).
#[cfg(target_endian = "little")]
mod golden {
    use super::*;

    const NEW: &str = "4c000000 14000000 a199086b 923f0000 02208000 01000000 08000100 c0000207 08000200 c0000207
        07000300 6c6f0000 08000800 80000000 14000600 ffffffff ffffffff 5bc80d00 5bc80d00";
    const NEW_6: &str = "48000000 14000000 00000000 00000000 0a808200 01000000
        14000100 20010db8 00000000 00000000 00000007 14000600 ffffffff ffffffff 24c90d00 24c90d00 08000800 82000000";

    #[test]
    fn requests() {
        let add = add_request(7, &prefix("192.0.2.1"), 1);
        assert_eq!(
            add,
            bytes("28000000 1400 0506 07000000 00000000 02200000 01000000 08000200 c0000201 08000100 c0000201")
        );
        let remove = remove_request(8, &prefix("192.0.2.1"), 3);
        let expected = "28000000 1500 0500 08000000 00000000 02200000 03000000 08000200 c0000201 08000100 c0000201";
        assert_eq!(remove, bytes(expected));
        let add = add_request(9, &prefix("2001:db8::7"), 1);
        let address = "20010db8 00000000 00000000 00000007";
        let expected =
            format!("40000000 1400 0506 09000000 00000000 0a800200 01000000 14000200{address} 14000100{address}");
        assert_eq!(add, bytes(&expected));
        assert_eq!(addresses_question(5), bytes("18000000 1600 0103 05000000 00000000 00000000 00000000"));
    }

    #[test]
    fn news() {
        assert_eq!(event_of(NEW), Some(AddressEvent::There(usable("192.0.2.7", 32, 1))));
        assert_eq!(event_of(&NEW.replacen("14", "15", 1)), Some(AddressEvent::Gone(usable("192.0.2.7", 32, 1))));
        assert_eq!(event_of(NEW_6), Some(AddressEvent::There(usable("2001:db8::7", 128, 1))));
        // On a point-to-point link IFA_ADDRESS is the far end.
        let far = NEW.replacen("c0000207", "0a000001", 1);
        assert_eq!(event_of(&far), Some(AddressEvent::There(usable("192.0.2.7", 32, 1))));
        let link = "28000000 10000000 00000000 00000000 00000100 03000000 43100100 00000000 07000300 76300000";
        let up = Link { index: 3, name: "v0".to_owned(), up: true };
        assert_eq!(event_of(link), Some(AddressEvent::Link(up)));
        assert_eq!(event_of(&link.replacen("10000000", "11000000", 1)), Some(AddressEvent::LinkGone(3)));
        // A port has left its bridge.
        let port = link.replacen("10000000", "11000000", 1).replace("00000100 03", "07000100 03");
        assert_eq!(event_of(&port), None);
    }

    #[test]
    fn states() {
        for (flags, state) in [
            ("82000000", AddressState::Usable),
            ("c0000000", AddressState::Tentative),
            // Optimistic (RFC 4429): it may be used meanwhile.
            ("c4000000", AddressState::Usable),
            ("88000000", AddressState::Duplicate),
            ("c8000000", AddressState::Duplicate),
            // Beyond those that fit the header.
            ("40010000", AddressState::Tentative),
        ] {
            let text = NEW_6.replace("08000800 82000000", &format!("08000800 {flags}"));
            let Some(AddressEvent::There(address)) = event_of(&text) else { panic!("{text}") };
            assert_eq!(address.state, state, "{flags}");
        }
        // An old kernel has them in the header only.
        let old = NEW_6.replace("08000800 82000000", "08000900 00000000");
        for (flags, state) in [("0a808200", AddressState::Usable), ("0a80c000", AddressState::Tentative)] {
            let Some(AddressEvent::There(address)) = event_of(&old.replace("0a808200", flags)) else {
                panic!("{flags}")
            };
            assert_eq!(address.state, state);
        }
    }

    #[test]
    fn results() {
        let of = |hex: &str| address_answers(&bytes(hex), |sequence| sequence == 7).collect::<Vec<_>>();
        let result = |number: &str, sequence: &str| {
            format!("24000000 02000001 {sequence} 673f0000 {number} 28000000 14000506 {sequence} 00000000")
        };
        assert_eq!(of(&result("00000000", "07000000")), [AddressAnswer::Result(7, 0)]);
        assert_eq!(of(&result("efffffff", "07000000")), [AddressAnswer::Result(7, 17)]);
        assert_eq!(of(&result("00000080", "07000000")), [AddressAnswer::Result(7, i32::MAX)]);
        assert_eq!(of(&result("00000000", "08000000")), [], "of another");
        assert_eq!(of("14000000 03000200 07000000 673f0000 00000000"), [AddressAnswer::Done { interrupted: false }]);
        assert_eq!(of("14000000 03001200 07000000 673f0000 00000000"), [AddressAnswer::Done { interrupted: true }]);
        let two = result("00000000", "07000000") + &result("ffffffff", "07000000");
        assert_eq!(of(&two), [AddressAnswer::Result(7, 0), AddressAnswer::Result(7, 1)]);
    }

    /// Any octet may be any other: nothing panics, nothing runs on.
    #[test]
    fn hostile_octets() {
        for text in [NEW, NEW_6] {
            let good = bytes(text);
            for at in 0..good.len() {
                for value in [0, 1, 3, 4, 5, 7, 0x7f, 0x80, 0xff] {
                    let mut bad = good.clone();
                    bad[at] = value;
                    assert!(address_events(&bad).count() <= 1);
                    assert!(address_answers(&bad, |_| true).count() <= 1);
                }
            }
        }
        // An IPv4 address in an IPv6 message, and the other way round; no address at all.
        assert_eq!(event_of(&NEW.replace("02208000", "0a208000")), None);
        assert_eq!(event_of(&NEW_6.replace("0a808200", "02808200")), None);
        assert_eq!(event_of("18000000 14000000 00000000 00000000 02208000 01000000"), None);
    }
}
