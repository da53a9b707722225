//! Those of ExaBGP's health check.

use super::*;
use crate::cli::import::exabgp as source;
use crate::config::{HoldTime, Mode, NextHop4, OnDown, Reach, Vip};

pub(super) fn exabgp(files: &[File], facts: &Facts) -> Result<Translation, Vec<String>> {
    let named = source::wanted(files)
        .into_iter()
        .map(|wanted| {
            let own = file(&wanted.name, "# its own file\nname = other\ninterval = 7\nrise = 4\n");
            ((wanted.place.file, wanted.name), own)
        })
        .collect();
    translate("ExaBGP", files, |draft| source::translate(files, &named, facts, draft))
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// With a file of the health check's own, after a command and an address.
pub(super) fn own(more: &str) -> Result<Translation, Vec<String>> {
    exabgp(&[file("web.conf", &format!("command = true\nip = 192.0.2.1\n{more}"))], &known())
}

/// Facts of a session with a router of another AS.
pub(super) fn known() -> Facts {
    Facts { peer: vec!["10.99.1.1".parse().unwrap()], peer_as: Some("65000".to_owned()), ..facts() }
}

pub(super) fn only_vip(config: &Config) -> Vip {
    assert_eq!(config.vips.len(), 1);
    config.vips.values().next().unwrap().clone()
}

#[test]
fn defaults_are_those_of_the_program() {
    let translation = own("").unwrap();
    assert_eq!((&translation.refused[..], &translation.errors[..], translation.gaps.len()), (&[][..], &[][..], 0));
    let config = config(&translation.toml);
    assert_eq!(&*config.services[0].name, "web");
    let timing = config.checks[0].timing;
    let times = [timing.interval, timing.fast_interval, timing.timeout].map(|time| time.as_secs());
    assert_eq!((times, timing.rise, timing.fall), ([5, 1, 5], 3, 3));
    let ProbeKind::Exec(exec) = &config.checks[0].probe.kind else { panic!("{:?}", config.checks) };
    assert_eq!(exec.command, ["/bin/sh", "-c", "true"]);
    let vip = only_vip(&config);
    // It puts the address onto the loopback interface, and its routes stay with another metric.
    assert!(vip.bind.is_some() && !vip.require_address);
    assert_eq!(vip.attributes.med, Some(100));
    let OnDown::Degrade(degraded) = &vip.on_down else { panic!("{vip:?}") };
    assert_eq!(degraded.med, Some(1000));
}

#[test]
fn attributes_come_out_as_meant() {
    let text = "withdraw-on-down\nno-ip-setup\nup-metric = 7\ncommunity = 65000:100 no-export\n\
                large-community = 65000:1:2\nextended-community = target:65000:5\nas-path = 65001 65001\n";
    let vip = only_vip(&config(&own(text).unwrap().toml));
    assert!(vip.bind.is_none() && matches!(vip.on_down, OnDown::Withdraw));
    assert_eq!(
        vip.attributes.to_string(),
        "med 7, as_path_prepend 1, communities 65000:100 no-export 65000:1:2 rt:65000:5"
    );

    let text = "community = 65000:1\ndisabled-community = 65000:2\nlarge-community = 65000:1:2\n\
                up-as-path = 65001\ndown-as-path = 65001 65001 65001 65001\ndown-metric = 9\n";
    let vip = only_vip(&config(&own(text).unwrap().toml));
    let OnDown::Degrade(degraded) = &vip.on_down else { panic!("{vip:?}") };
    assert_eq!(vip.attributes.to_string(), "med 100, communities 65000:1 65000:1:2");
    assert_eq!(degraded.to_string(), "med 9, as_path_prepend 3, communities 65000:2 65000:1:2");

    // Metrics go up from one address to the next, beginning with that of --start-ip.
    let text = "ip = 192.0.2.2\nip = 192.0.2.4/31\nstart-ip = 1\nincrease = 10\ndeaggregate-networks\n\
                ip-ifname = 192.0.2.2%eth7\n";
    let config = config(&own(text).unwrap().toml);
    let all: Vec<String> = config
        .vips
        .iter()
        .map(|(vip, its)| {
            format!(
                "{} {} {:?}",
                vip.address(),
                its.attributes.med.unwrap(),
                its.bind.as_ref().map(|bind| bind.interface.to_string())
            )
        })
        .collect();
    let expected = ["1 130 lo", "2 100 eth7", "4 110 lo", "5 120 lo"];
    let expected = expected.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        format!("192.0.2.{} {} Some({:?})", words[0], words[1], words[2])
    });
    assert_eq!(all, expected);
}

/// What `bind` would make impossible: a check that asks an address that is only there once the check has passed.
#[test]
fn checks_of_the_address_itself() {
    let asked = |more: &str| {
        let text = format!("ip = 192.0.2.1\ncommand = curl -f http://192.0.2.1/\n{more}");
        only_vip(&config(&exabgp(&[file("f", &text)], &known()).unwrap().toml)).bind.is_some()
    };
    assert!(asked(""), "a degraded VIP is there all the time");
    assert!(!asked("withdraw-on-down\n"));
}

/// The check that is offered, taken as it is said, is taken by our own parser, too.
#[test]
fn offered_checks_take_the_place_of_programs() {
    for command in
        ["curl -fm 1 -H 'Host: a.b' http://127.0.0.1:8080/", "wget -qO- localhost", "dig @::1 -x ::1 +time=1"]
    {
        let text = format!("ip = 192.0.2.1\nuser = nobody\ntimeout = 4\ncommand = {command}\n");
        let toml = exabgp(&[file("f", &text)], &known()).unwrap().toml;
        let (before, after) = toml.split_once("# The same without").unwrap_or_else(|| panic!("{toml}"));
        let replaced = &after[..after.find(" costs").unwrap()];
        assert!(replaced.contains("user"), "{after}");
        let stays = |line: &&str| {
            let key = line.split(' ').next().unwrap();
            !["type", "command", "user", "timeout"].contains(&key) || !replaced.contains(key)
        };
        let before: Vec<&str> = before.lines().filter(stays).collect();
        let offered: String =
            after.lines().map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line))).collect();
        let offered = offered.split_once("type = ").unwrap().1;
        let config = config(&format!("{}\ntype = {offered}", before.join("\n")));
        assert!(!matches!(config.checks[0].probe.kind, ProbeKind::Exec(_)), "{command}");
    }
}

/// Nothing that is given is passed over in silence: each option changes what is printed.
#[test]
fn options_all_count() {
    const NETWORK: &str = "ip = 192.0.2.4/31\ndisable = /x\n";
    let plain = own(NETWORK).unwrap();
    for (name, value) in source::examples() {
        let line = if value.is_empty() { name.to_owned() } else { format!("{name} = {value}") };
        let translation = own(&format!("{NETWORK}{line}\n")).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        assert_ne!(translation.toml, plain.toml, "{name}");
        assert_eq!(translation.errors, [""; 0], "{name}: {}", translation.toml);
        if translation.gaps.is_empty() {
            config(&translation.toml);
        }
    }
}

pub(super) const CONF: &str = "process a { run exabgp healthcheck --cmd true --ip 192.0.2.1; }\n\
                    process b { run python3 -m exabgp healthcheck --config own --cmd false --ip 192.0.2.2 --rise 5; }\n\
                    neighbor 10.0.0.2 {\nlocal-address 10.0.0.1;\nlocal-as 65001;\npeer-as 65000;\n\
                    api { processes [ a, b ]; }\nMORE\n}\n";

pub(super) fn conf(more: &str) -> Result<Translation, Vec<String>> {
    exabgp(&[file("exabgp.conf", &CONF.replace("MORE", more))], &Facts::default())
}

#[test]
fn conf_has_all_facts() {
    let translation = conf("").unwrap();
    assert_eq!((&translation.refused[..], &translation.errors[..], translation.gaps.len()), (&[][..], &[][..], 0));
    let config = config(&translation.toml);
    // The command line goes before the file that it names.
    let names: Vec<&str> = config.services.iter().map(|service| &*service.name).collect();
    assert_eq!(names, ["a", "other"]);
    let of = |service: usize| config.checks[config.services[service].backends[0].checks[0].check].timing;
    assert_eq!((of(0).rise, of(0).interval.as_secs()), (3, 5));
    assert_eq!((of(1).rise, of(1).interval.as_secs()), (5, 7));
    let bgp = config.bgp.unwrap();
    assert_eq!((bgp.local_as.0, bgp.router_id.to_string().as_str()), (65001, "10.0.0.1"));
    assert_eq!(bgp.peers[0].session.source, Some("10.0.0.1".parse().unwrap()));
    assert!(!bgp.peers[0].is_internal());
}

#[test]
fn sessions_come_out_as_meant() {
    let peer = |more: &str| {
        let translation = conf(more).unwrap();
        assert_eq!((&translation.refused[..], &translation.errors[..]), (&[][..], &[][..]), "{more}");
        config(&translation.toml).bgp.unwrap()
    };
    assert_eq!(peer("hold-time 30;").peers[0].session.hold_time, HoldTime::from_secs(30).unwrap());
    assert_eq!(peer("outgoing-ttl 3;").peers[0].session.transport.reach, Reach::Multihop(3));
    assert_eq!(peer("incoming-ttl 254;").peers[0].session.transport.reach, Reach::TtlSecurity(2));
    assert_eq!(peer("connect 1179;").peers[0].session.port, 1179);
    let passive = peer("passive;\nlisten 1790;");
    assert_eq!(
        (passive.peers[0].session.mode, passive.listen[0].to_string().as_str()),
        (Mode::Passive, "10.0.0.1:1790")
    );
    assert_eq!(peer("listen 179;").peers[0].session.mode, Mode::Both);
    assert_eq!(peer("family { ipv4 unicast; }").peers[0].session.families.len(), 1);
    assert_eq!(peer("capability { graceful-restart 90; }").peers[0].session.graceful_restart.unwrap().as_secs(), 90);
    assert!(peer("nexthop { ipv4 unicast ipv6; }").peers[0].session.extended_next_hop);
    assert_eq!(&*peer("description 'the router';").peers[0].name, "the router");
    assert!(peer("peer-as 65001;").peers[0].is_internal());
    let dotted = peer("local-as 1.1;\nrouter-id 9.9.9.9;");
    assert_eq!((dotted.local_as.0, dotted.router_id.to_string().as_str()), (65_537, "9.9.9.9"));
}

#[test]
fn processes_speak_to_whom_they_may() {
    let two = CONF.replace("MORE", "")
        + "neighbor 10.0.0.3 { peer-as 65000; api { processes-match [ '^b' ]; } }\n\
                                         neighbor 10.0.0.4 { peer-as 65000; }\n";
    let translation = exabgp(&[file("f", &two)], &Facts::default()).unwrap();
    let bgp = config(&translation.toml).bgp.unwrap();
    let names: Vec<&str> = bgp.peers.iter().map(|peer| &*peer.name).collect();
    assert_eq!(names, ["10.0.0.2", "10.0.0.3"]);
    let takes = |peer: usize, vip: &str| bgp.peers[peer].live.export.allows(&vip.parse().unwrap());
    assert!(takes(0, "192.0.2.1/32") && takes(0, "192.0.2.2/32"));
    assert!(!takes(1, "192.0.2.1/32") && takes(1, "192.0.2.2/32"));
    assert!(translation.toml.contains("neighbor 10.0.0.4 is left out"));
}

/// Where nobody who may connect is in the translation, nothing listens.
#[test]
fn listens_for_peers_that_are_there() {
    let text = CONF.replace("MORE", "") + "neighbor 10.0.0.0/24 { passive true; local-address 10.0.0.9; }\n";
    let translation = exabgp(&[file("f", &text)], &Facts::default()).unwrap();
    assert!(translation.toml.contains("# neighbor 10.0.0.0/24 is left out"), "{}", translation.toml);
    assert_eq!(config(&translation.toml).bgp.unwrap().listen, []);
}

/// The one time that both have by default is not the same, and not passed over.
#[test]
fn hold_times_by_default_are_told() {
    let told = |more: &str| {
        let toml = conf(more).unwrap().toml;
        let session = config(&toml).bgp.unwrap().peers[0].session.clone();
        (
            toml.contains(
                "ExaBGP's hold time is 180 s where none is said, Herald's 9 s with keepalives every 3 s (hold_time).\n",
            ),
            session.hold_time.as_secs(),
        )
    };
    assert_eq!([told(""), told("hold-time 180;")], [(true, 9), (false, 180)]);
    assert!(!own("").unwrap().toml.contains("180 s"), "nobody knows of that session");
}

/// What becomes of an address while its service is down.
#[test]
fn addresses_come_and_go_as_is_said() {
    for (more, remark, said) in [
        ("", "", ""),
        ("withdraw-on-down\n", " # goes after a withdrawal; ExaBGP leaves it there", ""),
        ("withdraw-on-down\ndynamic-ip-setup\n", "", "--dynamic-ip-setup: `bind` does so"),
        ("dynamic-ip-setup\n", "", "--dynamic-ip-setup: the address goes while the service is down; here it stays"),
    ] {
        let toml = own(more).unwrap().toml;
        let bind = toml.lines().find(|line| line.starts_with("bind")).unwrap();
        assert!(bind.ends_with(&format!("= \"lo\"{remark}")) && toml.contains(said), "{more}: {toml}");
    }
}

/// It is as if it were the default, and so is what goes with it.
#[test]
fn an_interval_of_0_is_the_default() {
    let timing = config(&own("interval = 0\n").unwrap().toml).checks[0].timing;
    assert_eq!((timing.interval.as_secs(), timing.fast_interval.as_secs()), (5, 1));
}

/// A shell that runs nothing else is no other program.
#[test]
fn health_checks_within_a_shell() {
    let run = |run: &str| {
        let neighbor = CONF.lines().skip(2).map(|line| format!("{line}\n")).collect::<String>().replace("MORE", "");
        exabgp(&[file("f", &format!("process a {{ run {run}; }}\n{neighbor}"))], &Facts::default())
    };
    let translation =
        run("/bin/sh -c \"exec python3 -m exabgp healthcheck --ip 192.0.2.1 --cmd 'test -e /x'\"").unwrap();
    assert!(translation.toml.contains("[\"/bin/sh\", \"-c\", \"test -e /x\"]"), "{}", translation.toml);
    assert_eq!(translation.refused, [""; 0]);
    assert!(run("/bin/sh -c \"python3 -m exabgp healthcheck --ip 192.0.2.1 | tee /x\"").is_err());
}

/// The address of the session is what it would be anyway; another one is said.
#[test]
fn next_hops_are_the_peers() {
    let with = |a: &str, b: &str| {
        let text = CONF.replace("MORE", "").replace("--ip 192.0.2.1", &format!("--ip 192.0.2.1 {a}"));
        exabgp(&[file("f", &text.replace("--ip 192.0.2.2", &format!("--ip 192.0.2.2 {b}")))], &Facts::default())
            .unwrap()
    };
    let next_hop = |translation: &Translation| config(&translation.toml).bgp.unwrap().peers[0].live.next_hop_ipv4;
    let own = with("--next-hop 10.0.0.1", "");
    assert_eq!((own.refused.len(), next_hop(&own)), (0, NextHop4::SelfAddress));
    let other = with("--next-hop 10.0.0.7", "--next-hop 10.0.0.7");
    assert_eq!((other.refused.len(), next_hop(&other)), (0, NextHop4::Address("10.0.0.7".parse().unwrap())));
    let differ = with("--next-hop 10.0.0.7", "");
    assert_eq!(differ.refused, ["f:1: `--next-hop` is not that of every check; Herald has one next hop for each peer"]);
    let odd = with("--next-hop fd00::1", "");
    assert_eq!(odd.refused, ["f:1: `--next-hop` of another family than the address that it is for"]);
}

/// Who may hear only one of two checks must not lose what nobody knows of it.
#[test]
fn addresses_that_nobody_says_are_missed() {
    let text = "process a { run healthcheck; }\nprocess b { run healthcheck --ip ::1; }\n\
                neighbor 10.0.0.2 { peer-as 65000; api { processes [ a ]; } }\n";
    let translation = exabgp(&[file("f", text)], &facts()).unwrap();
    assert_eq!(translation.refused, ["f:3: `export` of this neighbor lacks the addresses of a, which nobody says"]);
}
