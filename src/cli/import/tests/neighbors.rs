//! Neighbours of ExaBGP, and what becomes of them: templates, groups, capabilities.

use super::exabgp::{CONF, conf, exabgp};
use super::*;
use crate::config::{Bgp, Mode, Reach, RestartTime};

/// Two processes, and these neighbours.
fn with(neighbors: &str) -> Translation {
    let processes: String = CONF.lines().take(2).map(|line| format!("{line}\n")).collect();
    exabgp(&[file("f", &(processes + neighbors))], &Facts::default()).unwrap()
}

fn bgp(translation: &Translation) -> Bgp {
    config(&translation.toml).bgp.unwrap()
}

const OWN: &str = "local-as 65001; peer-as 65000; api { processes [ a, b ]; }";

/// What one router is asked for is not asked of all.
#[test]
fn graceful_restart_is_that_of_each_neighbor() {
    let both = |first: &str, second: &str| {
        with(&format!(
            "neighbor 10.0.0.2 {{ local-address 10.0.0.1; {OWN} {first} }}\n\
             neighbor 10.0.0.3 {{ local-address 10.0.0.1; {OWN} hold-time 40; {second} }}\n"
        ))
    };
    let times = |translation: &Translation| {
        let peers = bgp(translation).peers;
        peers.iter().map(|peer| peer.session.graceful_restart.map(RestartTime::as_secs)).collect::<Vec<_>>()
    };
    let one = both("", "capability { graceful-restart 120; }");
    assert_eq!(times(&one), [None, Some(120)], "{}", one.toml);
    assert!(one.toml.contains("graceful_restart = false # as in ExaBGP"), "{}", one.toml);
    assert_eq!(times(&both("", "")), [None, None]);
    assert!(!both("", "").toml.contains("graceful_restart"));
    let two = both("capability { graceful-restart 60; }", "capability { graceful-restart 120; }");
    assert_eq!(times(&two), [Some(120), Some(120)]);
    assert!(
        two.toml.contains("graceful_restart = true # for 60 s in ExaBGP; Herald has one restart_time"),
        "{}",
        two.toml
    );
    assert!(two.toml.contains("restart_time = \"120s\" # the longest of ExaBGP's\n"), "{}", two.toml);
    // Without a time, and with 0, it is the hold time; a hold time of 0 is none.
    for (said, expected) in [("", Some(40)), (" 0", Some(40)), (" disable", None)] {
        assert_eq!(times(&both("", &format!("capability {{ graceful-restart{said}; }}")))[1], expected, "{said}");
    }
    assert_eq!(times(&both("hold-time 0; capability { graceful-restart; }", "")), [None, None]);
    let short = both("", "capability { graceful-restart 5; }");
    assert!(short.toml.contains("restart_time = \"31s\" # 5 s in ExaBGP; it must be longer than"), "{}", short.toml);
}

/// As ExaBGP 4.2 and 5.0 have it: their own word is not what neighbours go by.
#[test]
fn templates_go_before_neighbors() {
    let translation = with(&format!(
        "template {{\n neighbor t {{\n hold-time 180;\n capability {{ graceful-restart 120; }}\n family {{ ipv4 unicast; }}\n }}\n}}\n\
         neighbor 10.0.0.2 {{\n inherit t;\n local-address 10.0.0.1;\n {OWN}\n hold-time 9;\n \
         capability {{ graceful-restart disable; route-refresh; }}\n family {{ ipv6 unicast; }}\n}}\n"
    ));
    let peer = &bgp(&translation).peers[0];
    let session = &peer.session;
    assert_eq!((session.hold_time.as_secs(), session.families.len()), (180, 2), "{}", translation.toml);
    assert_eq!(session.graceful_restart.unwrap().as_secs(), 120);
    for said in [
        "f:14: `hold-time` does not count: in ExaBGP that of the template goes before it (f:5).",
        "f:15: `graceful-restart` does not count: in ExaBGP that of the template goes before it (f:6).",
    ] {
        assert!(translation.toml.replace("\n# ", " ").contains(said), "{}", translation.toml);
    }
    assert_eq!(translation.toml.matches("does not count").count(), 2, "{}", translation.toml);
    assert_eq!(translation.refused, [""; 0]);
}

#[test]
fn router_ids_that_differ_are_told() {
    let two = |first: &str, second: &str| {
        let text = format!("neighbor 10.0.0.2 {{ {OWN} {first} }}\nneighbor 10.0.0.3 {{ {OWN} {second} }}\n");
        let translation = with(&text);
        (bgp(&translation).router_id.to_string(), translation.toml)
    };
    let (id, toml) = two("router-id 10.9.9.1;", "router-id 10.9.9.2;");
    assert_eq!(id, "10.9.9.1");
    let said = "ExaBGP's router-id towards it is 10.9.9.2; Herald has one for all peers, router_id in [bgp].\n";
    assert!(toml.contains(said) && toml.matches("router-id").count() == 1, "{toml}");
    // Without one it is the address of the session.
    let (_, toml) = two("local-address 10.0.0.1;", "local-address 10.0.1.1;");
    assert!(toml.contains("towards it is 10.0.1.1"), "{toml}");
    let (_, toml) = two("local-address 10.0.0.1;", "local-address 10.0.1.1; router-id 10.0.0.1;");
    assert!(!toml.contains("router-id"), "{toml}");
}

/// What Herald does is said, and nothing that it does not.
#[test]
fn capabilities_are_told_as_they_are() {
    for (capability, expected) in [
        ("route-refresh", "route-refresh: Herald always offers it"),
        ("route-refresh disable", "route-refresh: Herald offers it all the same"),
        ("multi-session", "multi-session: Herald has one session"),
        ("multi-session disable", "multi-session: Herald has none of it anyway"),
        ("operational enable", "operational: Herald neither offers nor sends"),
        ("aigp", "aigp: Herald has no AIGP"),
        ("asn4 enable", "asn4: Herald always offers"),
        ("add-path receive", "add-path: Herald does not offer it"),
        ("add-path disable", "add-path: Herald has none of it anyway"),
        ("extended-message disable", "extended-message: Herald offers it only with `extended_messages = true`"),
        ("nexthop", "nexthop: without a block `nexthop`"),
        ("software-version disable", "software-version: Herald offers it only with"),
        ("link-local-nexthop", "link-local-nexthop: Herald does not offer it"),
    ] {
        let translation = conf(&format!("capability {{ {capability}; }}")).unwrap();
        assert!(translation.toml.contains(&format!("# exabgp.conf:8: {expected}")), "{}", translation.toml);
        assert_eq!(translation.refused, [""; 0], "{capability}");
        config(&translation.toml);
    }
    let session = |more: &str| bgp(&conf(more).unwrap()).peers[0].session.clone();
    assert!(session("capability { extended-message; }").capabilities.extended_messages);
    assert!(session("capability { nexthop; } nexthop { ipv4 unicast ipv6; }").extended_next_hop);
    assert!(!session("capability { nexthop disable; } nexthop { ipv4 unicast ipv6; }").extended_next_hop);
    assert!(!session("capability { nexthop; }").extended_next_hop);
}

/// The address of the session is what ExaBGP takes anyway.
#[test]
fn the_address_of_a_password_is_that_of_the_session() {
    let refused = |more: &str| conf(&format!("md5-password x; {more}")).unwrap().refused;
    assert_eq!(refused("md5-ip 10.0.0.1;"), [""; 0]);
    assert_eq!(
        refused("md5-ip 10.0.0.7;"),
        ["exabgp.conf:8: `md5-ip`: the password is that of the neighbour's address"]
    );
}

/// Routes that ExaBGP announces itself are missed, whoever got them.
#[test]
fn routes_of_neighbors_that_are_left_out_are_told() {
    let translation = with(&format!(
        "neighbor 10.0.0.2 {{ local-address 10.0.0.1; {OWN} }}\n\
         neighbor 10.0.0.3 {{ local-address 10.0.0.1; hold-tim 3; static {{ route 192.0.2.0/24 next-hop self; }} }}\n"
    ));
    let [refused] = translation.refused.as_slice() else { panic!("{:?}", translation.refused) };
    assert!(refused.starts_with("f:4: `static` and what is in it"), "{refused}");
}

/// A router that connects to us may come by any interface.
#[test]
fn interfaces_are_for_connections_of_our_own() {
    let translation = conf("source-interface eth0;").unwrap();
    assert!(translation.toml.contains("interface = \"eth0\"") && translation.errors.is_empty(), "{}", translation.toml);
    for more in ["source-interface eth0; passive;", "source-interface eth0; listen 179;"] {
        let translation = conf(more).unwrap();
        assert_eq!(translation.errors, [""; 0], "{more}");
        assert!(translation.toml.contains("# source-interface eth0 is left out"), "{}", translation.toml);
    }
}

/// Processes within neighbours speak to these, and those of a group to all; a group is what neighbours have in common.
#[test]
fn exabgp_3_is_understood() {
    let text = "group g {\nlocal-as 65001;\npeer-as 65000;\nhold-time 90;\ngraceful-restart 60;\nmd5 'x y';\n\
                process every { run healthcheck.py --ip 192.0.2.1; receive { parsed; } peer-updates; }\n\
                neighbor 10.0.0.2 { local-address 10.0.0.1; hold-time 10; ttl-security 3; }\n\
                neighbor 10.0.0.3 { local-address 10.0.0.1; }\n}\n\
                neighbor 10.0.0.4 { local-address 10.0.0.1; local-as 65001; peer-as 65000;\n\
                process watch { run healthcheck.py --ip 192.0.2.4; }\n}\n\
                neighbor 10.0.0.5 { local-address 10.0.0.1; local-as 65001; peer-as 65000;\n\
                process watch { run healthcheck.py --ip 192.0.2.4; }\n}\n\
                neighbor 10.0.0.6 { local-address 10.0.0.1; local-as 65001; peer-as 65000;\n\
                process watch { run healthcheck.py --ip 192.0.2.4 --rise 5; }\n}\n";
    let translation = exabgp(&[file("f", text)], &Facts::default()).unwrap();
    assert_eq!(translation.refused, ["f:18: watch announces 192.0.2.4/32, too (f:12), so watch is left out"]);
    let config = config(&translation.toml);
    let names: Vec<&str> = config.services.iter().map(|service| &*service.name).collect();
    assert_eq!(names, ["every", "watch"]);
    let bgp = config.bgp.unwrap();
    let takes = |vip: &str| {
        let takes = bgp.peers.iter().filter(|peer| peer.live.export.allows(&vip.parse().unwrap()));
        takes.map(|peer| peer.name.rsplit('.').next().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!([takes("192.0.2.1/32"), takes("192.0.2.4/32")], ["23456", "45"], "{}", translation.toml);
    let first = &bgp.peers[0].session;
    assert_eq!((first.hold_time.as_secs(), first.mode), (10, Mode::Active));
    assert_eq!(first.transport.reach, Reach::Multihop(3));
    let second = &bgp.peers[1].session;
    assert_eq!((second.hold_time.as_secs(), second.graceful_restart.unwrap().as_secs()), (90, 60));
    assert!(second.transport.password.is_some() && !translation.toml.contains("x y"));
    assert!(bgp.peers[2].session.graceful_restart.is_none());
    assert!(translation.toml.contains("# f:15: the same check; here it is one, for the neighbors of both.\n"));
}
