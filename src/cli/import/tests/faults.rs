//! What is wrong, missing or unknown in sources of ExaBGP: it is told, never repeated where it may be secret, and takes no more
//! with it than it must.

use super::exabgp::{CONF, conf, exabgp, known, only_vip, own};
use super::*;
use crate::config::OnDown;

/// Neither in the translation nor on stderr, whatever is wrong around it.
#[test]
fn passwords_are_never_repeated() {
    const SECRET: &str = "s3cr3t";
    for more in [
        "md5-password \"s3cr3t\";",
        "md5-password s3cr3t;\nmd5-base64 true;",
        "md5-pasword s3cr3t;",
        "s3cr3t-S md5-password;",
        "md5-password s3cr3t",
        "md5-password 's3cr3t;",
        "md5-password s3cr3t#;",
        "capability { md5-password s3cr3t; }",
        "md5-base64 s3cr3t;",
        "api { md5-password s3cr3t; }",
    ] {
        let said = match conf(more) {
            Ok(translation) => format!("{translation:?}"),
            Err(errors) => format!("{errors:?}"),
        };
        assert!(!said.contains(SECRET), "{more}: {said}");
    }
    let translation = conf("description tor;\nmd5-password s3cr3t;").unwrap();
    let config = config(&translation.toml);
    let password = config.bgp.unwrap().peers[0].session.transport.password.clone().unwrap();
    assert_eq!(password.file.to_str(), Some("/etc/herald/secrets/tor"));
    assert!(
        translation.toml.contains("md5-password of exabgp.conf:9 into /etc/herald/secrets/tor"),
        "{}",
        translation.toml
    );
}

/// Nothing is left, and so nothing is printed.
#[test]
fn faults_have_their_place() {
    const NONE: &str = "web.conf:1: no health check in these files can be translated";
    for (text, expected) in [
        ("ip = 192.0.2.1/24\n", "web.conf:1: `--ip`: 192.0.2.1/24 has bits set beyond its length, so web is left out"),
        ("name = x\nip = x\n", "web.conf:2: `--ip` is neither an address nor a network, so web is left out"),
        ("ip\n", "web.conf:1: `--ip` needs a value, so web is left out"),
        (
            "ip = 10.0.0.0/8\ndeaggregate-networks\n",
            "web.conf:1: `--ip`: 10.0.0.0/8 holds too many addresses, so web is left out",
        ),
        ("ip = ::1\ncommand = x\nrise = x\n", "web.conf:3: `--rise` is not a whole number, so web is left out"),
        (
            "ip = ::1\ncommand = x\ninterval = x\n",
            "web.conf:3: `--interval` is not a number of seconds, so web is left out",
        ),
        ("ip = ::1\nup-metric = -1\n", "web.conf:1: a metric is not a number from 0 to 4294967295, so web is left out"),
        ("ip = ::1\nnext-hop = x\n", "web.conf:2: `--next-hop` is not an address, so web is left out"),
        (
            "ip = ::1\nip-ifname = x\n",
            "web.conf:2: `--ip-ifname` is not of the form ADDRESS%INTERFACE, so web is left out",
        ),
        ("process x {\nrun healthcheck;\n", "web.conf:1: this block has no end, so web.conf is left out"),
        (
            "process x { run healthcheck --ip y; }\n",
            "web.conf:1: `--ip` is neither an address nor a network, so x is left out",
        ),
        (
            "process x { run /bin/true; }\n",
            "web.conf:1: process x does not run the health check: Herald has no processes",
        ),
    ] {
        assert_eq!(exabgp(&[file("web.conf", text)], &known()).unwrap_err(), [expected, NONE], "{text}");
    }
    let nothing = exabgp(&[file("web.conf", "neighbor 10.0.0.1 {\n}\n")], &known()).unwrap_err();
    assert_eq!(nothing, ["web.conf:1: there is no health check in these files"]);
}

/// What is wrong takes no more with it than it must.
#[test]
fn the_rest_is_translated() {
    let good = CONF.replace("MORE", "");
    for (odd, expected) in [
        (
            "neighbor fe80::1%eth0 {\n}\n",
            "`neighbor` is followed by neither an address nor a prefix, so it is left out",
        ),
        ("process c { run healthcheck --ip 192.0.2.1; }\n", "a announces 192.0.2.1/32, too (f:1), so c is left out"),
        (
            "process c { run healthcheck --cmd x --ip 192.0.2.7 --rise x; }\n",
            "`--rise` is not a whole number, so c is left out",
        ),
        (
            "process c { run healthcheck --ip 192.0.2.7/24; }\n",
            "`--ip`: 192.0.2.7/24 has bits set beyond its length, so c is left out",
        ),
        ("neighbor 10.0.0.9 { inherit x; }\n", "there is no template x"),
    ] {
        let line = good.lines().count() + 1;
        let translation = exabgp(&[file("f", &(good.clone() + odd))], &Facts::default()).unwrap();
        assert_eq!(translation.refused, [format!("f:{line}: {expected}")], "{odd}");
        let config = config(&translation.toml);
        assert_eq!((config.services.len(), config.bgp.unwrap().peers.len()), (2, 1), "{}", translation.toml);
    }
    let files = [file("f", &good), file("g", "process x {\n")];
    let translation = exabgp(&files, &Facts::default()).unwrap();
    assert_eq!(translation.refused, ["g:1: this block has no end, so g is left out"]);
    assert_eq!(config(&translation.toml).services.len(), 2);
    // A statement of a neighbour is no more than that.
    let translation = conf("hold-time x;").unwrap();
    assert_eq!(translation.refused, ["exabgp.conf:8: `hold-time` has no such value"]);
    assert_eq!(config(&translation.toml).bgp.unwrap().peers.len(), 1);
}

/// The others stay, with the metrics that they had.
#[test]
fn an_address_of_two_checks_is_that_of_the_first() {
    let files = [
        file("a.conf", "ip = 192.0.2.1\nip = 192.0.2.1\n"),
        file("b.conf", "ip = 192.0.2.1\nip = 192.0.2.2\nincrease = 5\n"),
    ];
    let translation = exabgp(&files, &known()).unwrap();
    assert_eq!(
        translation.refused,
        [
            "a.conf:1: a announces 192.0.2.1/32, too (a.conf:1), so that address of a is left out",
            "b.conf:1: a announces 192.0.2.1/32, too (a.conf:1), so that address of b is left out"
        ]
    );
    let config = config(&translation.toml);
    let metrics: Vec<Option<u32>> = config.vips.values().map(|vip| vip.attributes.med).collect();
    assert_eq!((config.services.len(), metrics), (2, vec![Some(100), Some(105)]));
}

#[test]
fn what_has_no_counterpart_is_told() {
    for (more, expected) in [
        (
            "as-path = 65001 65002\n",
            "web.conf:3: `--as-path` holds other AS numbers than our own, which Herald does not announce",
        ),
        (
            "community = 1:2 x no-export y\n",
            "web.conf:3: `--community`: \"x\" \"y\" have no counterpart and are left out: without them the route may go further than it did",
        ),
        (
            "extended-community = l2info:1:2:3:4 1:2\n",
            "web.conf:3: `--extended-community`: \"l2info:1:2:3:4\" has no counterpart and is left out: without it the route may go further than it did",
        ),
        ("comunity = 1:2\n", "web.conf:3: `--comunity` is no option of the health check"),
        (
            "interval = 0\n",
            "web.conf:3: `--interval` 0 announces once and ends; Herald goes on checking, as if it were 5",
        ),
    ] {
        let translation = own(more).unwrap();
        assert_eq!(translation.refused, [expected], "{more}");
        assert!(
            translation.toml.replace("\n# ", " ").contains(&format!(" NOT TRANSLATED: {expected}\n")),
            "{}",
            translation.toml
        );
        config(&translation.toml);
    }
    for (more, expected) in [
        (
            "static { route 192.0.2.0/24 next-hop self; }",
            "exabgp.conf:8: `static` and what is in it: Herald announces VIPs",
        ),
        ("md5-ip 10.0.0.7;", "exabgp.conf:8: `md5-ip`"),
        ("role customer;", "exabgp.conf:8: `role` is not known within neighbor"),
        ("family { ipv4 flow; }", "exabgp.conf:8: `ipv4` `flow` is a family that Herald does not have"),
        ("capability { add-path send; }", "exabgp.conf:8: `add-path`"),
        ("capability { asn4 disable; }", "exabgp.conf:8: `asn4 disable`"),
        ("api { processes-match [ '(?=x)' ]; }", "exabgp.conf:8: `processes-match`"),
        ("}\nprocess c { run /bin/x;", "exabgp.conf:9: process c does not run the health check"),
    ] {
        let translation = conf(more).unwrap();
        assert!(
            translation.refused.len() == 1 && translation.refused[0].starts_with(expected),
            "{:?}",
            translation.refused
        );
        config(&translation.toml);
    }
}

/// What limits how far a route goes stays when its neighbour in the list cannot.
#[test]
fn communities_stay_without_those_that_are_unknown() {
    let of = |more: &str| only_vip(&config(&own(more).unwrap().toml));
    let text = "community = 65000:1 x no-export graceful-shutdown\nextended-community = target:65010:99 l2info:1:2:3:4\n\
                disabled-community = y no-advertise\n";
    let vip = of(text);
    assert_eq!(
        vip.attributes.to_string(),
        "med 100, communities 65000:1 graceful-shutdown no-export rt:65010:99",
        "sorted by their numbers"
    );
    let OnDown::Degrade(degraded) = &vip.on_down else { panic!("{vip:?}") };
    assert_eq!(degraded.to_string(), "med 1000, communities no-advertise rt:65010:99");
    let refused = own(text).unwrap().refused;
    assert_eq!(refused.len(), 3, "{refused:?}");
    let vip = of("extended-community = redirect:65010:1\n");
    assert_eq!(vip.attributes.to_string(), "med 100, communities generic:0x8008fdf2:0x1");
}

/// Whatever is on its first line.
#[test]
fn what_a_file_was_taken_for_is_said() {
    let line = "process a { run python3 -m exabgp healthcheck -c true --ip=203.0.113.1; }\n";
    let conf = format!(
        "{line}neighbor 10.0.0.1 {{ local-address 10.0.0.2; local-as 65001; peer-as 65000; api {{ processes [ a ]; }} }}\n"
    );
    let translation = exabgp(&[file("f", &conf), file("web", "ip = ::1\n")], &Facts::default()).unwrap();
    assert_eq!((&translation.refused[..], translation.gaps.len()), (&[][..], 1), "{}", translation.toml);
    for said in [
        "# f is taken for a configuration of ExaBGP.\n",
        "# web is taken for options of the health check (`healthcheck --config`).\n",
    ] {
        assert!(translation.toml.contains(said), "{}", translation.toml);
    }
    let odd = exabgp(&[file("f", &conf), file("odd", "hello: world\n")], &Facts::default()).unwrap();
    let what = "odd:1: neither a block of exabgp.conf nor an option of the health check is in it, so odd is left out";
    assert_eq!(odd.refused, [what]);
}

/// What is printed stays within limits.
#[test]
fn has_limits() {
    let many = |count: usize| {
        (0..count).map(|n| format!("process p{n} {{ run healthcheck --ip fd00::{n:x}; }}\n")).collect::<String>()
    };
    let refused = exabgp(&[file("f", &many(1100))], &known()).unwrap().refused;
    assert!(refused.len() == 1 && refused[0].starts_with("f:1025: more than 1024 health checks"), "{refused:?}");
    let names =
        "process p { run healthcheck --name x --ip fd00::1; }\nprocess q { run healthcheck --name x --ip fd00::2; }\n";
    let translation = exabgp(&[file("f", names)], &known()).unwrap();
    assert!(translation.toml.contains("name   = \"x-2\""), "{}", translation.toml);
    let inherit = format!("neighbor ::1 {{\ninherit [ {} ];\n}}\ntemplate {{ neighbor a {{ }} }}\n", "a ".repeat(20));
    let translation = exabgp(&[file("f", &(inherit + names))], &known()).unwrap();
    assert_eq!(translation.refused, ["f:2: there are too many templates"]);
}

/// Where the source has no peer and no address, they are asked for, and nothing else is wrong.
#[test]
fn asks_for_what_is_missing() {
    let translation = exabgp(&[file("f", "command = true\nlabel = web\n")], &Facts::default()).unwrap();
    let keys: Vec<&str> = translation.gaps.iter().map(|gap| gap.split('`').nth(1).unwrap()).collect();
    assert_eq!(keys, ["local_as", "router_id", "address", "peer_as", "vips"]);
    assert_eq!(translation.errors, [""; 0]);
}

#[test]
fn no_source_makes_it_panic() {
    let mut rng = Rng::new(8);
    let sources = [
        CONF.replace("MORE", "md5-password 'x y';\nfamily { ipv4 unicast; }\ncapability { graceful-restart 60; }\nhold-time 9;"),
        "command = curl http://[::1]:80/\nip = 192.0.2.0/30\nstart-ip = -1\ncommunity = 1:2\nexecute = x\nincrease = 2\n\
         as-path = 1.1 65537\nextended-community = 0x0002fde800000064\nip-ifname = 192.0.2.1%lo\n"
            .to_owned(),
    ];
    for turn in 0..4_000 {
        let text = mangled(&sources[turn % 2], &mut rng);
        if let Ok(translation) = exabgp(&[file("f", &text)], &Facts::default()) {
            toml::from_str::<toml::Table>(&translation.toml).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        }
    }
}
