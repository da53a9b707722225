//! Capabilities: those that a peer refuses, and what the others change.

use super::*;
use crate::bgp::capability::Capability;
use crate::config::{Confederation, Role};

const ENHANCED: &[u8] = &[70, 0];
const EXTENDED_MESSAGE: &[u8] = &[6, 0];

/// The codes in the last message, an OPEN.
fn offered(lab: &Lab) -> Vec<u8> {
    let (kind, body) = lab.router.last();
    assert_eq!(kind, OPEN);
    router::capabilities(body).into_iter().map(|(code, _)| code).collect()
}

fn refuse(lab: &mut Lab, subcode: u8, data: &[u8]) {
    lab.bytes(&router::message(NOTIFICATION, &[&[2, subcode], data].concat()));
}

/// After a refusal the next attempt comes at once.
fn again(lab: &mut Lab) {
    lab.advance(SECOND);
    lab.connected();
}

fn with_role(role: Role, strict: bool) -> config::Peer {
    altered(config(), |session, _| {
        session.capabilities.role = Some(role);
        session.capabilities.role_strict = strict;
    })
}

/// Notices of capabilities that are left out, in words.
fn told(lab: &Lab) -> Vec<String> {
    let words = |left_out: &Vec<Capability>| left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let told = lab.notices.iter().filter_map(|notice| match notice {
        Notice::LeftOut(left_out) => Some(words(left_out)),
        _ => None,
    });
    told.collect()
}

fn answer(lab: &mut Lab, capabilities: &[&[u8]]) {
    lab.bytes(&router::open(65000, 90, [10, 0, 0, 1], capabilities));
}

#[test]
fn a_peer_that_knows_no_capabilities_gets_an_open_without() {
    for subcode in [4, 7] {
        let mut lab = Lab::new(config());
        lab.release();
        lab.set("192.0.2.1", with_med(1));
        lab.connected();
        assert_eq!(offered(&lab), [1, 1, 2, 70, 65]);
        refuse(&mut lab, subcode, &[]);
        again(&mut lab);
        assert_eq!(offered(&lab), [1, 1, 2, 65], "first without what is optional");
        refuse(&mut lab, subcode, &[]);
        again(&mut lab);
        assert_eq!(lab.router.last().1.len(), 10, "no optional parameters");
        let theirs: [&[u8]; 5] = [MP_IPV4, MP_IPV6, ROUTE_REFRESH, ENHANCED, &four_octets(65000)];
        answer(&mut lab, &theirs);
        lab.bytes(&keepalive());
        assert_eq!(lab.state(), State::Established);
        assert_eq!(lab.peer.status().families, [Family::Ipv4], "what we did not offer is not in use");
        assert_eq!(lab.route("192.0.2.1").unwrap()[&2], [2, 1, 0xfd, 0xe9]);
        assert_eq!(lab.peer.status().left_out.len(), 5);
        // The next session goes without them again, until somebody reloads.
        lab.event(Event::Closed(None));
        again(&mut lab);
        assert_eq!(lab.router.last().1.len(), 10);
        lab.event(Event::Closed(None));
        lab.configure(config());
        again(&mut lab);
        assert_eq!(offered(&lab), [1, 1, 2, 70, 65]);
        let all = "multiprotocol ipv4, multiprotocol ipv6, route-refresh, enhanced-route-refresh, four-octet-as 65001";
        assert_eq!(told(&lab), ["enhanced-route-refresh", all]);
    }
}

#[test]
fn what_is_named_is_left_out_alone() {
    let mut lab = Lab::up(with_role(Role::Customer, false));
    lab.event(Event::Closed(None));
    again(&mut lab);
    assert_eq!(offered(&lab), [1, 1, 2, 70, 65, 9]);
    refuse(&mut lab, 7, &[9, 1, 3]);
    assert_eq!(lab.peer.status().left_out, [Capability::role(Role::Customer)]);
    again(&mut lab);
    assert_eq!(offered(&lab), [1, 1, 2, 70, 65]);
    lab.bytes(&their_open());
    lab.bytes(&keepalive());
    assert_eq!(lab.state(), State::Established);
    assert_eq!(lab.peer.status().left_out, [Capability::role(Role::Customer)]);
    assert_eq!(told(&lab), ["role customer"]);

    // An hour later all is offered again, and refused again, and that is no news.
    lab.event(Event::Closed(None));
    lab.dial();
    lab.event(Event::ConnectFailed("unreachable".into()));
    let end = lab.now + 3600 * SECOND;
    while lab.now < end {
        lab.dial();
        lab.event(Event::ConnectFailed("unreachable".into()));
    }
    lab.dial();
    lab.connected();
    assert_eq!(offered(&lab), [1, 1, 2, 70, 65, 9]);
    refuse(&mut lab, 7, &[9, 1, 3]);
    again(&mut lab);
    assert_eq!(offered(&lab), [1, 1, 2, 70, 65]);
    assert_eq!(told(&lab), ["role customer"]);
}

/// Neither what the peer misses, nor a family that is all there is; and a refusal without end is not retried without end.
#[test]
fn what_cannot_be_left_out_is_waited_for() {
    let mut lab = Lab::new(altered(config(), |session, _| session.families = vec![Family::Ipv6]));
    lab.connected();
    refuse(&mut lab, 7, MP_IPV6);
    lab.advance(SECOND);
    assert_eq!(lab.conn, None);
    lab.dial();
    lab.connected();
    assert_eq!(offered(&lab), [1, 2, 70, 65]);

    let mut lab = Lab::new(config());
    lab.connected();
    refuse(&mut lab, 7, &[64, 2, 0, 120]);
    lab.advance(SECOND);
    assert_eq!(lab.conn, None);
    for _ in 0..50 {
        lab.dial();
        lab.connected();
        refuse(&mut lab, 7, &[]);
    }
    let minutes = lab.dialled.last().unwrap().1.as_secs() / 60;
    assert!(minutes >= 10, "50 attempts in {minutes} minutes");
    assert_eq!(told(&lab).len(), 2, "{:?}", told(&lab));
    // A peer that only closes the connection has refused nothing.
    let mut lab = Lab::new(config());
    for _ in 0..20 {
        lab.dial();
        lab.connected();
        assert_eq!(offered(&lab), [1, 1, 2, 70, 65]);
        lab.event(Event::Closed(None));
    }
}

#[test]
fn without_four_octets_a_wide_as_is_as_trans() {
    let mut lab = Lab::new(altered(config(), |session, _| session.local_as = Asn(70_000)));
    lab.release();
    lab.set("192.0.2.1", with_med(1));
    lab.connected();
    refuse(&mut lab, 7, &four_octets(70_000));
    again(&mut lab);
    assert_eq!(offered(&lab), [1, 1, 2, 70]);
    assert_eq!(lab.router.last().1[1..3], [0x5b, 0xa0]);
    lab.bytes(&their_open());
    lab.bytes(&keepalive());
    let route = lab.route("192.0.2.1").unwrap();
    assert_eq!((&route[&2], &route[&17]), (&vec![2, 1, 0x5b, 0xa0], &vec![2, 1, 0, 1, 0x11, 0x70]));
}

#[test]
fn extended_messages_are_for_two() {
    for (ours, theirs, extended) in [(true, true, true), (true, false, false), (false, true, false)] {
        let mut lab = Lab::new(altered(config(), |session, _| session.capabilities.extended_messages = ours));
        lab.release();
        for n in 0..20_000_u32 {
            lab.rib.set(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), with_med(1));
        }
        lab.changed();
        let communities = (0..1200).map(Community).collect();
        lab.set("192.0.2.1", Some(Arc::new(Attributes { communities, ..Attributes::default() })));
        lab.connected();
        lab.router.extended = true;
        assert_eq!(offered(&lab).contains(&6), ours);
        let message: &[u8] = if theirs { EXTENDED_MESSAGE } else { ROUTE_REFRESH };
        answer(&mut lab, &[MP_IPV4, &four_octets(65000), message]);
        lab.bytes(&keepalive());
        assert_eq!((lab.router.longest > 4096, lab.state()), (extended, State::Established));
        // What fits an extended message only is for those who take one.
        assert_eq!((lab.route("192.0.2.1").is_some(), lab.router.table.len() >= 20_000), (extended, true));
        assert_eq!(lab.notices.contains(&Notice::TooLarge(prefix("192.0.2.1"), 1)), !extended);
        // RFC 8654 §4: we take them as soon as we have said so, and KEEPALIVEs never get longer.
        let update = router::message(UPDATE, &[&[0, 0, 0x20, 0][..], &[0xff; 0x2000]].concat());
        lab.bytes(&update);
        if ours {
            assert_eq!(lab.state(), State::Established);
            lab.bytes(&router::message(KEEPALIVE, &[0; 5000]));
        }
        lab.assert_sent(1, 2);
    }
}

/// RFC 7313 §4: what the router sees between BoRR and EoRR is all there is.
#[test]
fn an_enhanced_refresh_has_a_beginning_and_an_end() {
    let enhanced: [&[u8]; 4] = [MP_IPV4, MP_IPV6, ROUTE_REFRESH, ENHANCED];
    let ask = router::message(REFRESH, &[0, 1, 0, 1]);
    let mut lab = Lab::new(config());
    lab.connected();
    answer(&mut lab, &enhanced);
    lab.bytes(&keepalive());
    for last in 1..=9 {
        lab.set(&format!("192.0.2.{last}"), with_med(1));
    }
    // Before the first routes: they come first, with their End-of-RIB.
    lab.bytes(&ask);
    assert_eq!((lab.router.refreshes.len(), lab.router.changes), (0, 0));
    lab.release();
    assert_eq!(lab.router.refreshes, [(1, 1, (9, 2)), (1, 2, (18, 2))]);
    assert!(lab.peer.is_synchronised());
    // Another.
    lab.bytes(&ask);
    assert_eq!(lab.router.refreshes[2..], [(1, 1, (18, 2)), (1, 2, (27, 2))]);
    lab.bytes(&router::message(REFRESH, &[0, 2, 0, 1]));
    assert_eq!(lab.router.refreshes[4..], [(2, 1, (27, 2)), (2, 2, (27, 2))], "of nothing");
    // What frames an answer that we never asked for is nothing to us.
    for subtype in [1, 2, 3, 255] {
        lab.bytes(&router::message(REFRESH, &[0, 1, subtype, 1]));
    }
    assert_eq!((lab.router.refreshes.len(), lab.state()), (6, State::Established));
    // Between two that do not both know it there is neither.
    let mut lab = Lab::up(config());
    lab.set("192.0.2.1", with_med(1));
    lab.bytes(&ask);
    assert_eq!((lab.router.refreshes.len(), lab.router.changes), (0, 2));
}

#[test]
fn a_refresh_during_a_refresh_begins_anew() {
    let ask = router::message(REFRESH, &[0, 1, 0, 1]);
    let mut lab = Lab::new(config());
    for n in 0..100_000_u32 {
        lab.rib.set(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), with_med(1));
    }
    lab.changed();
    lab.release();
    lab.connected();
    lab.reads = false;
    answer(&mut lab, &[MP_IPV4, ROUTE_REFRESH, ENHANCED]);
    lab.bytes(&keepalive());
    // During the initial routes, and often: the answer waits for their end.
    for _ in 0..100 {
        lab.bytes(&ask);
    }
    assert_eq!(lab.router.refreshes, []);
    let take_some = |lab: &mut Lab| lab.take(lab.queued.min(70_000));
    while lab.router.refreshes.is_empty() {
        take_some(&mut lab);
    }
    assert_eq!(lab.router.refreshes, [(1, 1, (100_000, 1))]);
    take_some(&mut lab);
    for _ in 0..100 {
        lab.bytes(&ask);
    }
    while !lab.peer.is_synchronised() {
        take_some(&mut lab);
    }
    let [_, (1, 1, (begun, 1)), (1, 2, (ended, 1))] = lab.router.refreshes[..] else {
        panic!("{:?}", lab.router.refreshes)
    };
    assert!(ended - begun >= 100_000, "{begun} to {ended}");
    assert!(lab.queued_max < 2 * UNSENT_HIGH, "{}", lab.queued_max);
}

#[test]
fn roles_go_together_or_not_at_all() {
    let role = |number: u8| vec![9, 1, number];
    // Ours, strict, theirs, and whether that is a session.
    for (ours, strict, theirs, good) in [
        (Role::Customer, false, vec![role(0)], true),
        (Role::Customer, false, vec![role(0), role(0)], true),
        (Role::Customer, false, vec![role(0), role(4)], false),
        (Role::Customer, false, vec![role(3)], false),
        (Role::Customer, false, vec![role(99)], false),
        (Role::Customer, false, vec![vec![9, 2, 0, 0]], false),
        (Role::Customer, false, vec![], true),
        (Role::Customer, true, vec![], false),
        (Role::Customer, true, vec![role(0)], true),
        (Role::Provider, false, vec![role(3)], true),
        (Role::Provider, false, vec![role(0)], false),
        (Role::RouteServer, false, vec![role(2)], true),
        (Role::RouteServerClient, false, vec![role(1)], true),
        (Role::RouteServerClient, false, vec![role(2)], false),
        (Role::Peer, false, vec![role(4)], true),
        (Role::Peer, false, vec![role(3)], false),
    ] {
        let mut lab = Lab::new(with_role(ours, strict));
        lab.connected();
        let sent = router::capabilities(lab.router.last().1);
        assert!(sent.contains(&(9, vec![Role::ALL.iter().position(|role| *role == ours).unwrap() as u8])));
        let mut theirs: Vec<&[u8]> = theirs.iter().map(Vec::as_slice).collect();
        theirs.extend([MP_IPV4, ROUTE_REFRESH]);
        answer(&mut lab, &theirs);
        if good {
            assert_eq!(lab.state(), State::OpenConfirm, "{ours} {theirs:?}");
        } else {
            lab.assert_sent(2, 11);
        }
    }
    let words = |role: Role, strict, theirs: &[&[u8]]| {
        let mut lab = Lab::new(with_role(role, strict));
        lab.connected();
        answer(&mut lab, theirs);
        lab.last_error().to_string()
    };
    let sent = "(sent OPEN Message Error/Role Mismatch)";
    let peer = "peer says role peer, which must be provider because ours is customer";
    assert_eq!(words(Role::Customer, false, &[MP_IPV4, &role(4)]), format!("{peer} {sent}"));
    let silent = "peer does not say its role, which must be customer because ours is provider (role_strict)";
    assert_eq!(words(Role::Provider, true, &[MP_IPV4]), format!("{silent} {sent}"));
    let several = "peer gives itself several roles";
    assert_eq!(words(Role::Provider, false, &[MP_IPV4, &role(3), &role(4)]), format!("{several} {sent}"));
}

/// RFC 9234 §5: what goes down or sideways is marked, whatever the peer says of its role.
#[test]
fn only_to_customer_goes_down_and_sideways() {
    for (role, marked) in [
        (Some(Role::Provider), true),
        (Some(Role::RouteServer), true),
        (Some(Role::Peer), true),
        (Some(Role::Customer), false),
        (Some(Role::RouteServerClient), false),
        (None, false),
    ] {
        let mut lab = Lab::up(altered(config(), |session, _| session.capabilities.role = role));
        lab.set("192.0.2.1", with_med(1));
        lab.set("2001:db8::1", with_med(1));
        for vip in ["192.0.2.1", "2001:db8::1"] {
            let expected = marked.then(|| vec![0, 0, 0xfd, 0xe9]);
            assert_eq!(lab.route(vip).unwrap().get(&35), expected.as_ref(), "{role:?}");
        }
    }
}

/// RFC 5065: what a member, our own AS and an outsider see of us.
#[test]
fn a_confederation_has_two_sides() {
    let whole = Confederation { identifier: Asn(65000), members: vec![Asn(65010), Asn(65011)] };
    let confed: &[u8] = &[3, 1, 0, 0, 0xfd, 0xf2];
    let (outside, empty): (&[u8], &[u8]) = (&[2, 3, 0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xe8], &[]);
    for (local_as, peer_as, theirs, path, local_pref) in [
        (65010, PeerAs::Number(Asn(65011)), 65011, confed, true),
        (65010, PeerAs::Internal, 65010, empty, true),
        (65000, PeerAs::Number(Asn(64512)), 64512, outside, false),
        (65000, PeerAs::External, 64512, outside, false),
    ] {
        let mut lab = Lab::new(altered(config(), |session, live| {
            session.local_as = Asn(local_as);
            session.peer_as = peer_as;
            session.confederation = Some(whole.clone());
            live.attributes.as_path_prepend = Some(2);
            live.attributes.med = Some(7);
            live.attributes.local_pref = local_pref.then_some(300);
            let community = "generic:0x43000000:0x1".parse().unwrap();
            live.attributes.extended_communities = vec![community];
        }));
        lab.release();
        lab.connected();
        assert_eq!(lab.router.last().1[1..3], u16::try_from(local_as).unwrap().to_be_bytes());
        lab.bytes(&router::open(theirs, 90, [10, 0, 0, 1], &[MP_IPV4, &four_octets(theirs.into())]));
        lab.bytes(&keepalive());
        lab.set("192.0.2.1", Some(Arc::default()));
        let route = lab.route("192.0.2.1").unwrap();
        assert_eq!(route[&2], path, "{peer_as:?}");
        assert_eq!(route[&4], [0, 0, 0, 7]);
        assert_eq!(route.get(&5), local_pref.then(|| vec![0, 0, 1, 44]).as_ref(), "{peer_as:?}");
        assert_eq!(route.contains_key(&16), local_pref, "what is not transitive");
    }
    // A member is not external.
    let mut lab = Lab::new(altered(config(), |session, _| {
        session.peer_as = PeerAs::External;
        session.confederation = Some(whole.clone());
    }));
    lab.connected();
    lab.bytes(&router::open(65011, 90, [10, 0, 0, 1], &[MP_IPV4]));
    lab.assert_sent(2, 2);
}

#[test]
fn what_the_peer_says_of_itself_is_shown() {
    let mut lab = Lab::new(altered(config(), |session, _| {
        session.capabilities.software_version = Some("Herald/1.2.3".into());
        session.capabilities.hostname = Some("vm1.example.net".into());
    }));
    lab.connected();
    let sent = router::capabilities(lab.router.last().1);
    assert!(sent.contains(&(75, b"\x0cHerald/1.2.3".to_vec())), "{sent:?}");
    assert!(sent.contains(&(73, b"\x03vm1\x0bexample.net".to_vec())), "{sent:?}");
    answer(&mut lab, &[MP_IPV4, b"\x49\x09\x03r\x1b1\x04corp", b"\x4b\x05\x04FRR\n", &[200, 0]]);
    lab.bytes(&keepalive());
    let status = lab.peer.status();
    assert_eq!(status.remote_hostname.as_deref(), Some("r\\u{1b}1.corp"));
    assert_eq!(status.remote_software.as_deref(), Some("FRR\\n"));
    let words: Vec<_> = status.capabilities.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["multiprotocol ipv4", "fqdn", "software-version", "200"]);
    // Cut short, or of a length that is a lie.
    for (name, shown) in [
        (&b"\x49\x00"[..], None),
        (b"\x49\x01\x00", None),
        (b"\x49\x02\x09r", None),
        (b"\x49\x03\x02r1", Some("r1")),
        (b"\x49\x04\x02r1\x09", Some("r1")),
    ] {
        let mut lab = Lab::new(config());
        lab.connected();
        answer(&mut lab, &[MP_IPV4, name]);
        let status = lab.peer.status();
        assert_eq!((status.state, status.remote_hostname.as_deref()), (State::OpenConfirm, shown), "{name:?}");
    }
}
