//! Reloads.

use super::*;

#[test]
fn a_reload_keeps_readvertises_or_resets() {
    let mut lab = Lab::up(config());
    lab.set("192.0.2.1", None);
    lab.set("192.0.2.1", with_med(1));
    lab.set("192.0.2.2", Some(Arc::default()));
    let changes = lab.router.changes;

    let patient = altered(config(), |_, live| live.connect_retry = 9 * SECOND);
    assert_eq!(lab.peer.change(&patient), Change::Keep);
    lab.configure(patient.clone());
    assert_eq!(lab.router.changes, changes);

    let attributes = Attributes { med: Some(7), communities: vec![Community(1)], ..Attributes::default() };
    let tagged = altered(patient, |_, live| live.attributes = attributes);
    assert_eq!(lab.peer.change(&tagged), Change::Readvertise);
    lab.configure(tagged.clone());
    assert_eq!(lab.router.changes, changes + 2);
    let route = lab.route("192.0.2.1").unwrap();
    assert_eq!((&route[&4][..], &route[&8][..]), (&[0, 0, 0, 1][..], &[0, 0, 0, 1][..]), "the VIP's MED goes first");
    assert_eq!(lab.route("192.0.2.2").unwrap()[&4], [0, 0, 0, 7]);

    let export = ExportFilter::from_lists(None, vec![prefix("192.0.2.1/32").into()]);
    let picky = altered(tagged, |_, live| live.export = export);
    assert_eq!(lab.peer.change(&picky), Change::Readvertise);
    lab.configure(picky.clone());
    assert_eq!((lab.route("192.0.2.1"), lab.router.table.len(), lab.router.changes), (None, 1, changes + 3));
    assert_eq!(lab.peer.status().established_count, 1);

    let secret = |text: &str| config::Secret::from_file(text.as_bytes()).ok();
    let with = |file: &str, text| {
        let password = Some(config::Password { file: file.into(), secret: secret(text) });
        altered(picky.clone(), |session, _| {
            session.transport = config::Transport { password, ..config::Transport::default() }
        })
    };
    assert_eq!(lab.peer.change(&with("/a", "x")), Change::Reset(vec!["password_file"]));
    let signed = Peer::new(lab.now, Arc::new(with("/a", "x")), 0);
    assert_eq!(signed.change(&with("/b", "x\n")), Change::Keep);
    assert_eq!(signed.change(&with("/a", "y")), Change::Reset(vec!["password_file"]));
    let reaching = |reach| {
        altered(picky.clone(), |session, _| {
            session.transport = config::Transport { reach, ..config::Transport::default() }
        })
    };
    let far = Peer::new(lab.now, Arc::new(reaching(config::Reach::Multihop(2))), 0);
    for (reach, keys) in [
        (config::Reach::Usual, vec!["multihop"]),
        (config::Reach::Multihop(3), vec!["multihop"]),
        (config::Reach::TtlSecurity(2), vec!["ttl_security", "multihop"]),
    ] {
        assert_eq!(far.change(&reaching(reach)), Change::Reset(keys));
    }
    let transport = config::Transport { interface: Some("eth0".into()), ..config::Transport::default() };
    let bound = altered(picky.clone(), |session, _| session.transport = transport);
    assert_eq!(lab.peer.change(&bound), Change::Reset(vec!["interface"]));

    let moved = altered(picky, |session, _| {
        session.port = 1179;
        session.hold_time = HoldTime::OFF;
    });
    assert_eq!(lab.peer.change(&moved), Change::Reset(vec!["port", "hold_time"]));
    let dialled = lab.dialled.len();
    lab.configure(moved);
    lab.assert_sent(6, 6);
    assert!(lab.last_error().to_string().contains("port, hold_time"), "{}", lab.last_error());
    lab.advance(SECOND / 2);
    assert_eq!((lab.dialled.len(), lab.state()), (dialled + 1, State::Connect));
    lab.establish();
    assert_eq!(lab.router.table.len(), 1);
}

#[test]
fn a_reload_that_takes_the_next_hop_withdraws_and_says_so() {
    let mut lab = Lab::up(config());
    lab.set("2001:db8::1", with_med(1));
    assert_eq!(lab.router.table.len(), 1);
    let without = altered(config(), |_, live| live.next_hop_ipv6 = NextHop6::SelfAddress);
    lab.configure(without);
    assert_eq!(lab.router.table.len(), 0);
    let told = Notice::Told { announced: 0, withdrawn: 1, first: vec![prefix("2001:db8::1")] };
    assert!(lab.notices.ends_with(&[Notice::NoNextHop(Family::Ipv6), told]), "{:?}", lab.notices);
    lab.configure(config());
    assert_eq!(lab.router.table.len(), 1);
}
