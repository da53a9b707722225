//! Routes that gobgpd will not have.

use super::*;

#[test]
fn one_bad_route_costs_the_others_nothing() {
    for is_v4 in [false, true] {
        let mut lab = Lab::up(is_v4, &[]);
        let bad = numbered(500);
        lab.server.refuses.insert(path::encode_nlri(&bad));
        let routes: Vec<_> = (0..1000).map(|i| (numbered(i), i)).collect();
        lab.want(&routes);
        lab.run();
        lab.check();
        let good: Vec<_> = routes.iter().copied().filter(|(prefix, _)| *prefix != bad).collect();
        lab.expect(&good);
        let status = lab.announcer.status();
        assert_eq!((status.refused, status.advertised), (1, [499, 500]));
        let (prefix, cause) = status.first_refused.unwrap();
        assert_eq!((prefix, cause.to_string()), (bad, "AddPathStream: no origin path attr (gRPC status 2)".to_owned()));
        let refused = |lab: &Lab| lab.notices.iter().filter(|notice| matches!(notice, Notice::Refused { .. })).count();
        assert_eq!(refused(&lab), 1);
        // Tried again now and then, and not told again.
        lab.take_calls();
        lab.wait(600 * SECOND);
        let tries = lab.take_calls().len();
        assert!((3..=6).contains(&tries), "{tries}");
        assert_eq!(refused(&lab), 1);
        // Something else may go.
        lab.want(&[(bad, 5)]);
        lab.run();
        assert_eq!(lab.take_calls().len(), 1);
        lab.server.refuses.clear();
        lab.wait(600 * SECOND);
        lab.check();
        assert_eq!((lab.announcer.status().refused, lab.table().len()), (0, 1000));
        lab.server.refuses.insert(path::encode_nlri(&bad));
        lab.want(&[(bad, 6)]);
        lab.run();
        assert_eq!(refused(&lab), 2, "it is news again");
        // What it has of the route, it still has, and gives back.
        assert!(lab.announcer.has_advertised(&bad));
        lab.announcer.set(bad, None);
        lab.announcer.flush(lab.now);
        lab.run();
        lab.check();
        assert_eq!((lab.announcer.status().refused, lab.table().len()), (0, 999));
    }
}

#[test]
fn attributes_that_fit_no_message_are_refused_here() {
    let mut lab = Lab::up(true, &[(prefix("192.0.2.1"), 1)]);
    let communities = (0..2000).map(config::Community).collect();
    let huge = Arc::new(Attributes { communities, ..Attributes::default() });
    for text in ["192.0.2.1", "192.0.2.2"] {
        lab.announcer.set(prefix(text), Some(huge.clone()));
    }
    lab.announcer.flush(lab.now);
    lab.run();
    lab.check();
    lab.expect(&[]);
    assert_eq!(lab.announcer.status().refused, 2);
    assert_eq!(lab.announcer.status().first_refused.unwrap().1, Cause::TooLarge);
    lab.want(&[(prefix("192.0.2.1"), 1)]);
    lab.announcer.set(prefix("192.0.2.2"), None);
    lab.announcer.flush(lab.now);
    lab.run();
    assert_eq!(lab.announcer.status().refused, 0);
    lab.expect(&[(prefix("192.0.2.1"), 1)]);
}

/// Another server of this API, with the methods that everybody knows.
#[test]
fn who_has_no_streams_is_told_one_by_one() {
    for is_v4 in [false, true] {
        let mut lab = Lab::up(is_v4, &[]);
        lab.server.lacks_streams = true;
        let routes: Vec<_> = (0..300).map(|i| (numbered(i), i)).collect();
        lab.want(&routes);
        lab.run();
        lab.check();
        lab.expect(&routes);
        assert_eq!(lab.announcer.status().refused, 0);
        lab.take_calls();
        lab.want(&[(numbered(7), 1)]);
        lab.run();
        assert_eq!(lab.take_calls(), ["AddPath"]);
    }
}
