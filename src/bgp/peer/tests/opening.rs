//! What the two OPENs come to.

use super::*;

#[test]
fn an_open_that_will_not_do_gets_its_notification() {
    let four = four_octets(65000);
    let good: &[&[u8]] = &[MP_IPV4, &four];
    let id = [10, 0, 0, 1];
    let mut version = their_open();
    version[19] = 3;
    for (open, subcode) in [
        (version, 1),
        (router::open(65002, 90, id, &[MP_IPV4]), 2),
        (router::open(65000, 90, id, &[MP_IPV4, &four_octets(65002)]), 2),
        (router::open(23456, 90, id, &[MP_IPV4]), 2),
        (router::open(65000, 90, [0; 4], good), 3),
        (router::open(65000, 1, id, good), 6),
        (router::open(65000, 2, id, good), 6),
    ] {
        let mut lab = Lab::new(config());
        lab.connected();
        lab.bytes(&open);
        lab.assert_sent(2, subcode);
    }
    let mut lab = Lab::new(altered(config(), |session, _| session.families = vec![Family::Ipv6]));
    lab.connected();
    lab.bytes(&router::open(65000, 90, id, good));
    lab.assert_sent(2, 7);
    assert_eq!(lab.router.last().1[2..], *MP_IPV6, "says what is missing");
}

#[test]
fn router_ids_must_differ_within_an_as_only() {
    // RFC 6286 §2.2.
    let ours = [10, 0, 0, 2];
    let mut lab = Lab::new(config());
    lab.connected();
    lab.bytes(&router::open(65000, 90, ours, &[MP_IPV4]));
    assert_eq!(lab.state(), State::OpenConfirm);
    let mut lab = Lab::new(altered(config(), |session, _| session.peer_as = PeerAs::Internal));
    lab.connected();
    lab.bytes(&router::open(65001, 90, ours, &[MP_IPV4]));
    lab.assert_sent(2, 3);
}

#[test]
fn internal_and_external_are_held_to() {
    for (rule, asn, good) in [
        (PeerAs::Internal, 65001, true),
        (PeerAs::Internal, 65000, false),
        (PeerAs::External, 65001, false),
        (PeerAs::External, 65000, true),
        (PeerAs::Number(Asn(65000)), 65000, true),
    ] {
        let mut lab = Lab::new(altered(config(), |session, _| session.peer_as = rule));
        lab.connected();
        lab.bytes(&router::open(asn, 90, [10, 0, 0, 1], &[MP_IPV4]));
        assert_eq!(lab.state() == State::OpenConfirm, good, "{rule:?} {asn}");
    }
}

#[test]
fn only_the_families_of_both_are_announced() {
    for (capabilities, families) in [
        (vec![], vec![Family::Ipv4]),
        (vec![ROUTE_REFRESH], vec![Family::Ipv4]),
        (vec![MP_IPV6], vec![Family::Ipv6]),
        (vec![MP_IPV4], vec![Family::Ipv4]),
        (vec![MP_IPV4, MP_IPV6], Family::ALL.to_vec()),
    ] {
        let mut lab = Lab::new(config());
        lab.release();
        lab.set("192.0.2.1", with_med(1));
        lab.set("2001:db8::1", with_med(1));
        lab.connected();
        lab.bytes(&router::open(65000, 90, [10, 0, 0, 1], &capabilities));
        lab.bytes(&keepalive());
        assert_eq!(lab.peer.status().families, families, "{capabilities:?}");
        assert_eq!(lab.router.table.len(), families.len());
        assert_eq!(lab.router.end_of_rib.len(), families.len());
        for family in Family::ALL {
            let text = if family == Family::Ipv4 { "192.0.2.1" } else { "2001:db8::1" };
            let taken = families.contains(&family);
            assert_eq!(lab.route(text).is_some(), taken);
            assert_eq!(lab.notices.contains(&Notice::FamilyNotNegotiated(family)), !taken);
            assert_eq!(lab.peer.status().not_offered.contains(&family), !taken);
        }
        // Also later, and also when asked.
        lab.set("2001:db8::2", with_med(1));
        lab.set("192.0.2.2", with_med(1));
        lab.bytes(&router::message(REFRESH, &[0, 2, 0, 1]));
        lab.bytes(&router::message(REFRESH, &[0, 1, 0, 1]));
        lab.bytes(&router::message(REFRESH, &[0, 9, 0, 9]));
        assert_eq!(lab.router.table.len(), 2 * families.len());
        assert_eq!(lab.router.changes, 4 * families.len(), "two told, and told again");
        assert!(lab.peer.is_synchronised());
    }
}

#[test]
fn as_numbers_in_two_octets() {
    let big = altered(config(), |session, _| session.local_as = Asn(4_200_000_000));
    let mut lab = Lab::new(big.clone());
    lab.release();
    lab.set("192.0.2.1", with_med(1));
    lab.connected();
    assert_eq!(lab.router.last().1[1..3], 23456u16.to_be_bytes());
    lab.bytes(&router::open(65000, 90, [10, 0, 0, 1], &[MP_IPV4]));
    lab.bytes(&keepalive());
    let route = lab.route("192.0.2.1").unwrap();
    assert_eq!(route[&2], [2, 1, 0x5b, 0xa0], "AS_TRANS");
    assert_eq!(route[&17], [2, 1, 0xfa, 0x56, 0xea, 0x00], "AS4_PATH");
    assert_eq!(lab.peer.encoding().map(|encoding| encoding.four_octet_as), Some(false));

    let mut lab = Lab::new(altered(big, |session, _| session.peer_as = PeerAs::Number(Asn(4_200_000_001))));
    lab.release();
    lab.set("192.0.2.1", with_med(1));
    lab.connected();
    lab.bytes(&router::open(23456, 90, [10, 0, 0, 1], &[&four_octets(4_200_000_001)]));
    lab.bytes(&keepalive());
    assert_eq!(lab.route("192.0.2.1").unwrap()[&2], [2, 1, 0xfa, 0x56, 0xea, 0x00]);
}

#[test]
fn ibgp_has_an_empty_path_and_a_local_pref() {
    let mut lab = Lab::new(altered(config(), |session, live| {
        session.peer_as = PeerAs::Internal;
        session.address = "127.0.0.1".parse().unwrap();
        live.next_hop_ipv6 = NextHop6::SelfAddress;
        live.attributes = Attributes { as_path_prepend: Some(3), ..Attributes::default() };
    }));
    lab.local = "127.0.0.1:40000".parse().unwrap();
    lab.release();
    lab.set("192.0.2.1", with_med(1));
    lab.set("2001:db8::1", with_med(1));
    lab.connected();
    lab.bytes(&router::open(65001, 90, [10, 0, 0, 1], &[MP_IPV4, MP_IPV6]));
    lab.bytes(&keepalive());
    let route = lab.route("192.0.2.1").unwrap();
    assert_eq!((route[&2].as_slice(), route[&5].as_slice()), ([].as_slice(), [0, 0, 0, 100].as_slice()));
    assert_eq!(route[&3], [127, 0, 0, 1], "the loopback recipe");
    // An IPv4 session has no IPv6 address of its own: never `::`, nothing instead.
    assert_eq!(lab.router.table.len(), 1);
    assert_eq!(lab.router.end_of_rib, [(1, 1), (2, 0)]);
    assert_eq!(lab.peer.status().without_next_hop, [Family::Ipv6]);
    assert_eq!(lab.notices.iter().filter(|notice| **notice == Notice::NoNextHop(Family::Ipv6)).count(), 1);
    assert!(lab.peer.is_synchronised());
}

/// RFC 8950: IPv4 over an IPv6 session, when both sides take it, and else not at all.
#[test]
fn an_ipv6_next_hop_for_ipv4_needs_both_sides() {
    const EXTENDED: &[u8] = &[5, 6, 0, 1, 0, 1, 0, 2];
    let willing = altered(config(), |session, live| {
        session.address = "fd00::1".parse().unwrap();
        live.next_hop_ipv6 = NextHop6::SelfAddress;
        session.extended_next_hop = true;
    });
    for (config, theirs, agreed) in [
        (willing.clone(), true, true),
        (willing.clone(), false, false),
        (altered(willing, |session, _| session.extended_next_hop = false), true, false),
    ] {
        let offered = config.session.extended_next_hop;
        let mut lab = Lab::new(config);
        lab.local = "[fd00::2]:40000".parse().unwrap();
        lab.release();
        lab.connected();
        let open = lab.router.last().1;
        assert_eq!(open.windows(EXTENDED.len()).any(|octets| octets == EXTENDED), offered);
        let four_octets = four_octets(65000);
        let capabilities = [MP_IPV4, MP_IPV6, &four_octets, EXTENDED];
        let theirs = if theirs { &capabilities[..] } else { &capabilities[..3] };
        lab.bytes(&router::open(65000, 90, [10, 0, 0, 1], theirs));
        lab.bytes(&keepalive());
        lab.set("192.0.2.1", with_med(1));
        lab.set("2001:db8::1", with_med(1));
        let own = &"fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets()[..];
        let next_hop = lab.route("192.0.2.1").map(|route| (route[&14].clone(), route.contains_key(&3)));
        assert_eq!(next_hop, agreed.then(|| (own.to_vec(), false)));
        assert_eq!(lab.route("2001:db8::1").unwrap()[&14], own);
        let status = lab.peer.status();
        assert_eq!((status.extended_next_hop, status.without_next_hop.is_empty()), (agreed, agreed));
        assert_eq!(lab.notices.contains(&Notice::NoNextHop(Family::Ipv4)), !agreed);
        lab.set("192.0.2.1", None);
        assert_eq!(lab.router.table.len(), 1);
        let classic = altered((**lab.peer.config()).clone(), |session, _| session.extended_next_hop = !offered);
        assert_eq!(lab.peer.change(&classic), Change::Reset(vec!["extended_next_hop"]));
    }
}
