//! `[bgp.group.NAME]`.

use std::time::Duration;

use super::*;
use crate::config::{Asn, Peer, Reach};

const GROUP: &str = "[bgp.group.tor]\npeer_as = 65000\nhold_time = '30s'\nport = 1179\nmultihop = 3\n\
                     communities = ['1:1']\nmed = 7\nexport = { reject = ['192.0.2.0/25'] }\n\
                     password_file = '/etc/secret'\n";

/// [`BASE`] without its peer, with these tables instead.
fn with_bgp(tables: &str) -> String {
    changed("[[bgp.peer]]\nname = \"tor\"\naddress = \"10.0.0.2\"\npeer_as = 65000\n", tables)
}

fn peer(rest: &str) -> String {
    format!("[[bgp.peer]]\ngroup = 'tor'\n{rest}\n")
}

#[test]
fn the_peers_word_goes_before_the_groups_and_the_groups_before_that_of_bgp() {
    let second = "address = '10.0.0.3'\nhold_time = '3s'\ncommunities = ['2:2']\nexport = {}\nlocal_as = 65009";
    let text = with_bgp(&format!("{GROUP}{}{}", peer("address = '10.0.0.2'"), peer(second)));
    let config = config(&text.replace("[bgp]", "[bgp]\nport = 2179\nconnect_retry = '1s'"));
    let peers = config.bgp.unwrap().peers;
    let (first, second) = (&peers[0], &peers[1]);
    for peer in [first, second] {
        assert_eq!((peer.session.peer_as, peer.session.port), (PeerAs::Number(Asn(65000)), 1179));
        assert_eq!((peer.live.attributes.med, peer.live.connect_retry), (Some(7), Duration::from_secs(1)));
    }
    assert_eq!([first, second].map(|peer| peer.session.hold_time.as_secs()), [30, 3]);
    assert_eq!([first, second].map(|peer| peer.session.local_as), [65001, 65009].map(Asn));
    // Replaced, not joined.
    let communities =
        |peer: &Peer| peer.live.attributes.communities.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((communities(first), communities(second)), (vec!["1:1".to_owned()], vec!["2:2".to_owned()]));
    let vip = "192.0.2.1".parse().unwrap();
    assert_eq!([first, second].map(|peer| peer.live.export.allows(&vip)), [false, true]);
    assert_eq!(config.references.len(), 1, "the password file is named once");
}

#[test]
fn of_two_keys_that_exclude_each_other_the_peers_own_wins() {
    let reach = |rest: &str| {
        let text = with_bgp(&format!("{GROUP}{}", peer(&format!("address = '10.0.0.2'\n{rest}"))));
        config(&text).bgp.unwrap().peers[0].session.transport.reach
    };
    assert_eq!((reach(""), reach("multihop = 9")), (Reach::Multihop(3), Reach::Multihop(9)));
    assert_eq!(reach("ttl_security = 1"), Reach::TtlSecurity(1));
    for (group, own) in [("multihop = 1\nttl_security = 2", ""), ("", "multihop = 1\nttl_security = 2")] {
        let text = with_bgp(&format!(
            "[bgp.group.tor]\npeer_as = 1\n{group}\n{}",
            peer(&format!("address = '10.0.0.2'\n{own}"))
        ));
        let errors = errors_of(&[source("f", &text)]);
        assert!(errors.len() == 1 && errors[0].contains("exclude each other"), "{errors:?}");
    }
}

#[test]
fn faults_of_a_group_are_told_once_and_where_they_stand() {
    let ten: String = (2..12).map(|n| peer(&format!("address = '10.0.0.{n}'"))).collect();
    let group =
        "[bgp.group.tor]\npeer_as = 0\nhold_time = '1s'\nlocal_pref = 5\nname = 'x'\nhold_tmie = '3s'\nbfd = true\n";
    expect_errors(
        &with_bgp(&format!("{group}{ten}")),
        &[
            "5:11: `peer_as` must be from 1 to 4294967295, not 0",
            "6:13: `hold_time` must be 0s or whole seconds from 3s (RFC 4271 §4.2)",
            "8:1: `name` belongs to each peer, not to a group",
            "9:1: unknown key `hold_tmie` in [bgp.group.NAME]; did you mean `hold_time`?",
            "10:1: `bfd` in [bgp.group.NAME] is not supported by this version",
        ],
    );
    expect_errors(
        &with_bgp(&format!("[bgp.group.tor]\npeer_as = 1\nlocal_pref = 5\n{ten}")),
        &["6:1: `local_pref` is not sent to external peers (RFC 4271 §5.1.5), and this group has external peers: \
           use `med`, `as_path_prepend` or `communities`"],
    );
    expect_errors(
        &with_bgp(&format!("[bgp.group.tor]\nport = 1179\n{}", peer("address = '10.0.0.2'"))),
        &["6:1: [[bgp.peer]] needs `peer_as`"],
    );
    expect_errors(
        &with_bgp("[bgp.group.tors]\npeer_as = 1\n[[bgp.peer]]\naddress = '10.0.0.2'\ngroup = 'tor'\npeer_as = 1\n"),
        &["8:9: there is no group `tor`; did you mean `tors`?"],
    );
    expect_errors(&with("router_id", "group = 5"), &["4:9: `group` must be a table, not the integer 5"]);
    expect_errors(
        &with_bgp("[bgp.group.'a/b']\npeer_as = 1\n"),
        &["4:12: the name of a group must not hold slashes or control characters, nor begin or end with a space"],
    );
    let lonely = with("router_id", "[bgp.group.tor]\npeer_as = 1");
    assert_eq!(warnings(&lonely), ["f:4:1: no peer is in group `tor`"]);
}

#[test]
fn groups_stand_in_drop_ins_too_and_are_never_overridden() {
    let main = with_bgp(&peer("address = '10.0.0.2'"));
    let group = "[bgp.group.tor]\npeer_as = 65000\nhold_time = '30s'\n";
    let config = parse(&[source("main", &main), source("one", group)]).unwrap();
    assert_eq!(config.bgp.unwrap().peers[0].session.hold_time, HoldTime::from_secs(30).unwrap());
    assert_eq!(
        errors_of(&[source("main", &main), source("one", group), source("two", &group.replace("30s", "1s"))]),
        ["two:1:12: group `tor` is there, already at one:1:12"]
    );
    assert_eq!(
        errors_of(&[source("main", &main), source("one", &group.replace("30s", "1s"))]),
        ["one:3:13: `hold_time` must be 0s or whole seconds from 3s (RFC 4271 §4.2)"]
    );
}
