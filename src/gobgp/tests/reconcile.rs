//! What is there already: of an earlier life, of others, of a connection that broke.

use super::*;

/// As the server has a route that was announced with this MED.
fn put(lab: &mut Lab, prefix: &Prefix, value: u32, identifier: u32, peer: Option<&str>) {
    let live = config().live;
    let mut exporter = path::Exporter::new(live, Asn(65000));
    let path::Exported::Route(route) = exporter.route(prefix, &med(value).unwrap()) else { panic!() };
    let mut attributes = path::encode(prefix, &route).unwrap().attributes;
    attributes.sort_by_key(|attribute| attribute[1]);
    let (afi, nlri, identifier, _) = key(prefix, identifier);
    lab.server.table.insert((afi, nlri, identifier, peer.map(str::to_owned)), attributes);
}

/// Another operator's route, a route from a peer with our number, and routes of an earlier life.
fn used(is_v4: bool) -> Lab {
    let own = config().identifier.get();
    let mut lab = Lab::idle(is_v4);
    for text in ["192.0.2.1", "2001:db8::1"] {
        put(&mut lab, &prefix(text), 1, 0, None);
        put(&mut lab, &prefix(text), 2, own, Some("10.0.0.1"));
    }
    put(&mut lab, &prefix("192.0.2.1"), 3, own, None);
    put(&mut lab, &prefix("192.0.2.2"), 4, own, None);
    put(&mut lab, &prefix("2001:db8::3"), 5, own, None);
    lab
}

fn foreign(lab: &Lab) -> Vec<(server::Key, Vec<Vec<u8>>)> {
    let own = u64::from(config().identifier.get());
    let is_foreign = |key: &server::Key| key.2 != own || key.3.is_some();
    let all = lab.server.table.iter().filter(|(key, _)| is_foreign(key));
    all.map(|(key, attributes)| (key.clone(), attributes.clone())).collect()
}

#[test]
fn strays_go_and_what_is_right_is_left_alone() {
    for is_v4 in [false, true] {
        let mut lab = used(is_v4);
        let before = foreign(&lab);
        assert_eq!(before.len(), 4);
        lab.announcer.configure(lab.now, Some(Arc::new(config())));
        lab.want(&[(prefix("192.0.2.1"), 3), (prefix("2001:db8::3"), 6)]);
        lab.run();
        lab.check();
        lab.expect(&[(prefix("192.0.2.1"), 3), (prefix("2001:db8::3"), 6)]);
        assert_eq!(foreign(&lab), before);
        let calls = lab.announcer.status().calls;
        assert_eq!((calls.announced, calls.withdrawn), (1, 1));
        let api = lab.announcer.status().api.unwrap();
        assert!(lab.notices.contains(&Notice::Listed { api, found: 3, kept: 1 }));
        lab.announcer.stop(lab.now);
        lab.run();
        assert_eq!(foreign(&lab), before);
        assert_eq!((lab.table().len(), lab.server.deleted_all), (0, 0));
    }
}

#[test]
fn after_a_graceful_restart_routes_stay_until_it_is_decided() {
    let mut lab = used(false);
    lab.announcer.leave_undecided(prefix("192.0.2.1"));
    lab.announcer.leave_undecided(prefix("2001:db8::3"));
    lab.configure(|config| config.graceful_restart = true);
    lab.check();
    assert_eq!((lab.table().len(), lab.announcer.status().advertised), (3, [2, 1]));
    // As it was: nothing is sent.
    lab.want(&[(prefix("192.0.2.1"), 3)]);
    lab.run();
    assert_eq!(lab.announcer.status().calls.announced, 0);
    // Decided against.
    lab.announcer.set(prefix("192.0.2.2"), None);
    lab.announcer.flush(lab.now);
    lab.run();
    assert_eq!(lab.table().len(), 2);
    lab.announcer.release(lab.now);
    lab.run();
    lab.check();
    lab.expect(&[(prefix("192.0.2.1"), 3)]);
}

#[test]
fn without_it_only_the_undecided_stay() {
    let mut lab = used(true);
    lab.announcer.leave_undecided(prefix("192.0.2.1"));
    lab.configure(|_| {});
    lab.check();
    lab.expect(&[(prefix("192.0.2.1"), 3)]);
    lab.announcer.release(lab.now);
    lab.run();
    lab.expect(&[]);
}

#[test]
fn a_reload_looks_again_and_mends() {
    let routes = [(prefix("192.0.2.1"), 1), (prefix("192.0.2.2"), 2), (prefix("2001:db8::3"), 3)];
    let mut lab = Lab::up(true, &routes);
    let own = config().identifier.get();
    // Somebody has meddled.
    lab.server.table.remove(&key(&prefix("192.0.2.1"), own));
    put(&mut lab, &prefix("192.0.2.2"), 99, own, None);
    put(&mut lab, &prefix("198.51.100.1"), 9, own, None);
    lab.take_calls();
    lab.configure(|_| {});
    lab.check();
    lab.expect(&routes);
    let mut calls = lab.take_calls();
    calls.sort();
    assert_eq!(calls, ["AddPathStream", "DeletePath", "ListPath", "ListPath"]);
    assert_eq!(lab.announcer.state(), State::Established);
    // Other attributes, and a filter: the difference alone.
    lab.configure(|config| config.live.attributes.local_pref = Some(7));
    lab.check();
    let announced = lab.announcer.status().calls.announced;
    assert_eq!(announced, 3 + 2 + 3);
    let filter = vec![config::PrefixPattern::from(prefix("192.0.2.0/24"))];
    lab.configure(|config| config.live.export = config::ExportFilter::from_lists(None, filter));
    lab.check();
    lab.expect(&routes[2..]);
    assert_eq!(lab.announcer.status().calls.announced, announced);
}

/// What changes while the list is read is not undone by what the list says.
#[test]
fn changes_during_a_list_win() {
    let routes: Vec<_> = (0..50).map(|i| (numbered(i), 1)).collect();
    let mut lab = Lab::up(true, &routes);
    lab.server.holds_lists = true;
    lab.configure(|_| {});
    lab.announcer.set(numbered(0), None);
    lab.announcer.set(numbered(1), med(2));
    lab.announcer.set(numbered(99), med(3));
    lab.announcer.flush(lab.now);
    lab.run();
    assert!(!lab.announcer.is_synchronised(), "the list is owed");
    lab.server.send_lists();
    lab.run();
    lab.check();
    let calls = lab.announcer.status().calls;
    assert_eq!((calls.announced, calls.withdrawn), (50 + 2, 1));
    let mut wanted = routes[2..].to_vec();
    wanted.extend([(numbered(1), 2), (numbered(99), 3)]);
    lab.expect(&wanted);
}

#[test]
fn a_family_that_gobgpd_does_not_have_does_not_keep_the_other_waiting() {
    let mut lab = Lab::idle(false);
    lab.server.lacks.insert(2);
    lab.want(&[(prefix("192.0.2.1"), 1)]);
    lab.configure(|_| {});
    lab.check();
    lab.expect(&[(prefix("192.0.2.1"), 1)]);
    let unlisted = lab.notices.iter().any(|notice| matches!(notice, Notice::Unlisted(Family::Ipv6, _)));
    assert!(unlisted, "{:?}", lab.notices);
    lab.configure(|_| {});
    lab.check();
}

#[test]
fn one_change_among_ten_thousand_is_one_call() {
    let routes: Vec<_> = (0..10_000).map(|i| (numbered(i), i % 5)).collect();
    let mut lab = Lab::up(false, &routes);
    lab.expect(&routes);
    assert!(lab.take_calls().len() < 60, "in bulk");
    lab.want(&[(numbered(4711), 99)]);
    lab.run();
    lab.check();
    assert_eq!(lab.take_calls(), ["AddPathStream"]);
    lab.announcer.set(numbered(4711), None);
    lab.announcer.flush(lab.now);
    lab.run();
    assert_eq!(lab.take_calls(), ["DeletePath"]);
    // The connection breaks, and gobgpd keeps everything: nothing is to be said.
    lab.cut();
    lab.wait(SECOND);
    lab.check();
    assert_eq!(lab.take_calls(), ["GetBgp", "GetBgp", "ListPath", "ListPath"]);
}

/// There is one route under a prefix and an identifier; whoever says two is not believed.
#[test]
fn a_route_that_is_listed_twice_is_announced_again() {
    let own = config().identifier.get();
    let mut lab = Lab::idle(true);
    put(&mut lab, &prefix("192.0.2.1"), 1, own, None);
    put(&mut lab, &prefix("192.0.2.1"), 1, own, Some(""));
    lab.want(&[(prefix("192.0.2.1"), 1)]);
    lab.configure(|_| {});
    lab.check();
    assert_eq!((lab.announcer.status().calls.announced, lab.announcer.status().advertised), (1, [1, 0]));
}

/// While a call is under way the next change of its route waits, and only the last of them is sent.
#[test]
fn a_flap_during_a_call_is_told_when_it_has_ended() {
    let mut lab = Lab::up(true, &[(prefix("192.0.2.1"), 1)]);
    lab.take_calls();
    lab.want(&[(prefix("192.0.2.1"), 2)]);
    lab.outputs();
    for value in 3..20 {
        lab.announcer.set(prefix("192.0.2.1"), None);
        lab.announcer.flush(lab.now);
        lab.want(&[(prefix("192.0.2.1"), value)]);
    }
    lab.outputs();
    assert_eq!(lab.announcer.status().pending, 1);
    lab.run();
    lab.check();
    assert_eq!(lab.take_calls(), ["AddPathStream", "AddPathStream"]);
    lab.expect(&[(prefix("192.0.2.1"), 19)]);
}

/// A gobgpd that does not read costs little, however many routes there are and however much it has said that it takes.
#[test]
fn what_waits_to_be_sent_is_bounded() {
    for window in [65_535, 16 << 20] {
        let mut lab = Lab::idle(true);
        lab.server.settings.initial_window_size = window;
        lab.configure(|_| {});
        lab.takes = false;
        let routes: Vec<_> = (0..40_000).map(|i| (numbered(i), i)).collect();
        lab.want(&routes);
        lab.run();
        assert!(lab.unsent_max < 300 * 1024, "{}", lab.unsent_max);
        lab.takes = true;
        lab.run();
        lab.check();
        lab.expect(&routes);
        assert_eq!(lab.connects.len(), 1);
    }
}
