use super::*;

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn event_of(hex: &str) -> Option<Event> {
    let bytes = bytes(hex);
    for end in 0..bytes.len() {
        assert_eq!(events(&bytes[..end]).count(), 0, "cut at {end}");
    }
    let mut events = events(&bytes);
    let event = events.next();
    assert!(events.next().is_none());
    event
}

fn route(prefix: &str, change: Change) -> Option<Event> {
    Some(Event::Route(prefix.parse().unwrap(), change))
}

// What a kernel of the 6.18 series said (little-endian), with links cut to their first attributes.
#[cfg(target_endian = "little")]
mod golden {
    use super::*;

    #[test]
    fn links() {
        let link = |flags: &str| {
            format!("28000000 10000000 00000000 00000000 00000100 03000000 {flags} 00000000 07000300 76300000")
        };
        let state = |up| Some(Event::Link(Link { index: 3, name: "v0".to_owned(), up }));
        assert_eq!(event_of(&link("43100100")), state(true));
        // No carrier, switched off, dormant.
        for flags in ["03100000", "02100000", "03100100"] {
            assert_eq!(event_of(&link(flags)), state(false), "{flags}");
        }
        let gone = "28000000 11000000 00000000 00000000 00000100 03000000 02100000 ffffffff 07000300 76300000";
        assert_eq!(event_of(gone), Some(Event::LinkGone(3)));
        // A port has left its bridge.
        assert_eq!(event_of(&gone.replace("00000100 03", "07000100 03")), None);
    }

    #[test]
    fn routes() {
        let unreachable = "2c000000 18000006 624f086b 57350000 02100000 fe030007 00000000
            08000f00 fe000000 08000100 0a020000";
        assert_eq!(event_of(unreachable), route("10.2.0.0/16", Change::Unreachable));
        let new = "3c000000 18000006 634f086b 59350000 02100000 fe030001 00000000
            08000f00 fe000000 08000100 0a030000 08000500 0a010002 08000400 03000000";
        assert_eq!(event_of(new), route("10.3.0.0/16", Change::New));
        assert_eq!(event_of(&new.replace("18000006", "18000001")), route("10.3.0.0/16", Change::Replaced));
        assert_eq!(event_of(&new.replace("18000006", "19000000")), route("10.3.0.0/16", Change::Gone));
        // Of the kernel's own; multicast's.
        assert_eq!(event_of(&new.replace("00000000\n", "00020000\n")), None);
        assert_eq!(event_of(&new.replace("02100000", "80100000")), None);
        let blackhole = "74000000 18000001 654f086b 66350000 0a200000 fe030006 00000000
            08000f00 fe000000 14000100 fd010000000000000000000000000000 08000600 00040000 08000400 01000000
            24000c00 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 05001400 00000000";
        assert_eq!(event_of(blackhole), route("fd01::/32", Change::Blackhole));
        let default = "48000000 18000006 654f086b 77350000 0a000000 fe030001 00000000
            08000f00 fe000000 08000600 00040000 14000500 fd000000000000000000000000000002 08000400 03000000";
        assert_eq!(event_of(default), route("::/0", Change::New));
    }

    #[test]
    fn the_rest() {
        let address = "4c000000 15000000 684f086b 85350000 02188000 03000000 08000100 0a010001 08000200 0a010001
            07000300 76300000 08000800 80000000 14000600 ffffffff ffffffff 49642800 49642800";
        let gone = Event::AddressGone { address: "10.1.0.1".parse().unwrap(), interface: 3 };
        assert_eq!(event_of(address), Some(gone));
        let next_hop = |kind| {
            format!(
                "30000000 {kind} 674f086b 7e350000 02fd0000 00000000 08000100 01000000 08000500 03000000 08000600 0a010003"
            )
        };
        assert_eq!(event_of(&next_hop("68000505")), Some(Event::NextHop));
        assert_eq!(event_of(&next_hop("69000500")), Some(Event::NextHop));
        assert_eq!(event_of(&next_hop("68000004")), None, "new");
    }

    #[test]
    fn a_question() {
        let egress = Egress {
            source: Some("10.0.0.1".parse().unwrap()),
            interface: Some("vrf-a".to_owned()),
            mark: Some(7),
            dscp: Some(46),
        };
        let asked = route_question(5, "10.1.0.11".parse().unwrap(), &egress, Ask::By(9));
        let expected = "3c000000 1a000100 05000000 00000000 022020b8 00000000 00000000
            08000100 0a01000b 08000200 0a000001 08000400 09000000 08001000 07000000";
        assert_eq!(asked, bytes(expected));
        let asked = route_question(6, "fd00::1".parse().unwrap(), &Egress::default(), Ask::AllLegs);
        let expected = "30000000 1a000100 06000000 00000000 0a800000 00000000 00200000
            14000100 fd000000000000000000000000000001";
        assert_eq!(asked, bytes(expected));
    }

    #[test]
    fn answers_to_it() {
        let answer = |hex: &str| answers(&bytes(hex), 5).collect::<Vec<_>>();
        let found = "3c000000 18000000 05000000 57350000 02200000 fe000001 00020000
            08000f00 fe000000 08000100 0a030009 08000500 0a010002 08000400 03000000";
        let by = |gateway: &str| Answer::Way(vec![Leg { interface: 3, gateway: gateway.parse().ok() }]);
        assert_eq!(answer(found), [by("10.1.0.2")]);
        assert_eq!(answer(&found.replace("05000000 57", "04000000 57")), [], "to another question");
        let by_ipv6 = "40000000 18000000 05000000 57350000 02200000 fe000001 00020000
            08000400 03000000 18001200 0a000000 fd000000000000000000000000000002 00000000";
        // The attribute is 22 octets long and padded to 24.
        let by_ipv6 =
            by_ipv6.replace("18001200 0a000000 fd", "16001200 0a00fd").replace("02 00000000", "02 000000000000");
        assert_eq!(answer(&by_ipv6), [by("fd00::2")]);
        let direct = "24000000 18000000 05000000 57350000 02200000 fe000001 00020000 08000400 03000000";
        assert_eq!(answer(direct), [by("")]);
        assert_eq!(answer(&direct.replace("fe000001", "fe000007")), [Answer::Way(Vec::new())]);
        let several =
            "50000000 18000000 05000000 f9330000 02100000 fe030001 00000000 08000f00 fe000000 08000100 0a090000
            24000900 10000000 03000000 08000500 0a010002 10000000 05000000 08000500 0a020002";
        let leg = |interface, gateway: &str| Leg { interface, gateway: gateway.parse().ok() };
        assert_eq!(answer(several), [Answer::Way(vec![leg(3, "10.1.0.2"), leg(5, "10.2.0.2")])]);
        // One of them is dead.
        let less = several.replace("10000000 03", "10001100 03");
        assert_eq!(answer(&less), [Answer::Way(vec![leg(5, "10.2.0.2")])]);
        // An own address; and a leg that nothing takes.
        assert_eq!(answer(&direct.replace("fe000001", "ff000002")), [Answer::Way(vec![LOOPBACK])]);
        assert_eq!(answer(&direct.replace("00020000", "01020000")), [Answer::Way(Vec::new())]);
        // ENETUNREACH, as -101.
        let refused = "24000000 02000000 05000000 57350000 9bffffff 24000000 1a000100 05000000 00000000";
        assert_eq!(answer(refused), [Answer::Refused(101)]);
    }
}

/// Lengths that lie lead nowhere, and to no end of work.
#[test]
fn garbage() {
    let mut rng = crate::rng::Rng::new(7);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..rng.below(96)).map(|_| rng.below(256) as u8).collect();
        for (at, value) in [(0, rng.below(100)), (4, 16 + rng.below(18)), (16, rng.below(12)), (28, rng.below(40))] {
            if let Some(octet) = bytes.get_mut(at as usize) {
                *octet = value as u8;
            }
        }
        for at in 1..4 {
            if let Some(octet) = bytes.get_mut(at) {
                *octet = 0;
            }
        }
        let _ = (events(&bytes).count(), answers(&bytes, 0).count());
    }
}
