mod aggregate;
mod callers;
mod check;
mod file;
mod forwarding;
mod glb;
mod gobgp;
mod ground;
mod group;
mod hooks;
mod judgement;
mod packet;
mod peer;
mod service;
mod shipped;
mod talk;
mod unnumbered;
mod web;

use super::*;
use crate::config::{HoldTime, NextHop6, OnDown, Pattern, PeerAs, ProbeKind, Required, StatusRange, Workers};
use crate::rng::Rng;

const EXAMPLE: &str = include_str!("../../../etc/herald.example.toml");
const INSTALLED: &str = include_str!("../../../etc/herald.toml");

const BASE: &str = r#"[bgp]
local_as = 65001
router_id = "10.0.0.1"
[[bgp.peer]]
name = "tor"
address = "10.0.0.2"
peer_as = 65000
[checks.web]
type = "http"
[[service]]
name = "web"
vips = ["192.0.2.1"]
port = 80
checks = ["web"]
[[service.backend]]
address = "10.1.0.1"
[[vip]]
address = "192.0.2.1"
"#;

fn source(name: &str, text: &str) -> Source {
    Source { name: name.into(), text: text.to_owned() }
}

fn errors_of(sources: &[Source]) -> Vec<String> {
    match parse(sources) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn config(text: &str) -> Config {
    parse(&[source("f", text)]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn warnings(text: &str) -> Vec<String> {
    config(text).warnings.iter().map(ToString::to_string).collect()
}

/// [`BASE`] with something replaced.
fn changed(from: &str, to: &str) -> String {
    assert_eq!(BASE.matches(from).count(), 1, "{from}");
    BASE.replace(from, to)
}

/// [`BASE`] with lines after the one that begins so.
fn with(after: &str, lines: &str) -> String {
    let line = BASE.lines().find(|line| line.starts_with(after)).unwrap();
    changed(&format!("{line}\n"), &format!("{line}\n{lines}\n"))
}

/// [`BASE`] with a check of these lines in the place of its own, which begins at line 9.
fn with_check(lines: &str) -> String {
    changed("type = \"http\"\n", &format!("{lines}\n"))
}

/// What a check of these lines does.
fn kind(lines: &str) -> ProbeKind {
    config(&with_check(lines)).checks[0].probe.kind.clone()
}

#[track_caller]
fn expect_errors(text: &str, expected: &[&str]) {
    let errors = errors_of(&[source("f", text)]);
    let expected: Vec<String> = expected.iter().map(|error| format!("f:{error}")).collect();
    assert_eq!(errors, expected, "in:\n{text}");
}

#[test]
fn warnings_say_what_is_probably_not_meant() {
    let v6 = |text: String| text.replace("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"2001:db8::1\"]");
    let to = |peer: &str| BASE.replace("10.0.0.2", peer);
    const NO_IPV6: &str = "f:4:1: warning: peer `tor`: IPv6 VIPs will not be announced to it, because the session";
    for (text, expected) in [
        (changed("\"web\"\nvips", "\"all\"\nvips"), "f:10:1: `herald drain` takes `all` for something else than this service: give it another name".to_owned()),
        (with("port", "required = 2"), "f:10:1: service `web` requires 2 backends, but only 1 can count: it is always down".to_owned()),
        (changed("\"10.1.0.1\"", "\"10.1.0.1\"\nweight = 0"), "f:10:1: service `web` requires 1 backends, but only 0 can count: it is always down".to_owned()),
        (changed("[[service.backend]]\naddress = \"10.1.0.1\"\n", ""), "f:10:1: service `web` has no backends: it is always down".to_owned()),
        (with("type", "[checks.unused]\ntype = 'tcp'"), "f:10:9: no service or backend uses check `unused`".to_owned()),
        (with("type", "timeout = '2s'"), "f:10:11: `timeout` is longer than `interval`: a check that times out delays the next run of its own".to_owned()),
        (v6(BASE.to_owned()), format!("{NO_IPV6} runs over IPv4 and `next_hop_ipv6` is not set to an address").replace("warning: ", "")),
        (v6(with("peer_as", "next_hop_ipv4 = '10.0.0.1'").replace("10.0.0.2", "fe80::1%eth0").replace("65000", "65001")), format!("{NO_IPV6} runs over link-local addresses and `next_hop_ipv6` is not set to an address").replace("warning: ", "")),
        (to("fe80::1%eth0").replace("65000", "65001\nextended_next_hop = true"), "f:4:1: peer `tor`: IPv4 VIPs will not be announced to it, because the session runs over IPv6 and `next_hop_ipv4` is not set to an address".to_owned()),
        (with("peer_as", "mode = 'passive'"), "f:4:1: peer `tor` is to connect to us (`mode = \"passive\"`), but no address in `listen` of [bgp] is there for it: it connects over ipv4".to_owned()),
        (with("router_id", "listen = ['[::]:179']").replace("peer_as = 65000", "peer_as = 65000\nmode = 'both'"), "f:5:1: peer `tor` is to connect to us (`mode = \"both\"`), but no address in `listen` of [bgp] is there for it: it connects over ipv4".to_owned()),
        (with("router_id", "listen = ['[::]:179']"), "f:1:1: `listen` is of no use: no peer has `mode = \"passive\"` or \"both\"".to_owned()),
        (to("fd00::1"), "f:4:1: peer `tor`: IPv4 VIPs will not be announced to it, because the session runs over IPv6 and `next_hop_ipv4` is not set to an address".to_owned()),
        (with("peer_as", "families = ['ipv6']"), "f:18:1: VIP `192.0.2.1/32` will not be announced: `export` or `families` of every peer rules it out".to_owned()),
        (with("peer_as", "export = { accept = ['192.0.3.0/24'] }"), "f:18:1: VIP `192.0.2.1/32` will not be announced: `export` or `families` of every peer rules it out".to_owned()),
        (
            format!("{}bind = 'lo'\n", changed("\"10.1.0.1\"", "\"192.0.2.1\"")),
            "f:17:1: VIP `192.0.2.1/32` has `bind`, and service `web` checks it at its own address 192.0.2.1:80, which is there only once the check has passed: check the server at another address, or leave out `bind`".to_owned(),
        ),
        (to("192.0.2.1"), "f:4:1: peer `tor`: its address 192.0.2.1 is a VIP, too".to_owned()),
        (with("peer_as", "next_hop_ipv4 = '127.0.0.1'"), "f:4:1: peer `tor`: the next hop 127.0.0.1 is a loopback address, which a router does not take".to_owned()),
        (with("peer_as", "next_hop_ipv6 = ['::1', 'fe80::2']"), "f:4:1: peer `tor`: the next hop ::1 is a loopback address, which a router does not take".to_owned()),
        (BASE.replace("192.0.2.1", "127.0.0.5"), "f:17:1: VIP `127.0.0.5/32` is of a loopback address, which routers do not take".to_owned()),
        (
            format!("{BASE}on_down = 'withdraw'\ndegraded = {{ med = 1 }}\n"),
            "f:20:1: `degraded` does nothing while `on_down = \"withdraw\"`".to_owned(),
        ),
        (format!("{BASE}local_pref = 7\n"), "f:19:1: `local_pref` is sent to internal peers only, and no peer is internal".to_owned()),
        (
            format!("{BASE}on_down = 'degrade'\ndegraded = {{ as_path_prepend = 3 }}\n").replace("peer_as = 65000", "peer_as = 65001"),
            "f:20:1: `degraded` changes nothing for `tor`: what it sets is told anyway, or is not told (`as_path_prepend` goes to external peers only, `local_pref` to internal ones)".to_owned(),
        ),
        (
            format!("{BASE}communities = ['1:1']\non_down = 'degrade'\ndegraded = {{ communities = [] }}\n").replace("peer_as = 65000", "peer_as = 65000\ncommunities = ['1:1']"),
            "f:22:1: `degraded` changes nothing for `tor`: what it sets is told anyway, or is not told (`as_path_prepend` goes to external peers only, `local_pref` to internal ones)".to_owned(),
        ),
        (format!("{BASE}communities = ['generic:0x43000000:0x1']\n"), "f:19:1: a community that is not transitive is sent to internal peers only, and no peer is internal".to_owned()),
        (changed("[[bgp.peer]]\nname = \"tor\"\naddress = \"10.0.0.2\"\npeer_as = 65000\n", ""), "f:1:1: there is no [[bgp.peer]]: nothing will be announced to anybody".to_owned()),
        (format!("{BASE}[daemon]\nworkers = 1\n").replace("type = \"http\"", "type = \"http\"\ninterval = '10ms'").replace("checks = [\"web\"]", "checks = [\"web\"]\ncheck = [{type='tcp'}, {type='tcp', port=1}]"), "f:22:11: 3 workers would be busy if every check timed out at once, but `workers` is 1: it covers 33 % of that, and beyond it checks run late".to_owned()),
        (BASE[BASE.find("[checks").unwrap()..].to_owned(), "f:1:1: there is no [bgp]: nothing will be announced to anybody".to_owned()),
        (BASE[..BASE.find("[checks").unwrap()].to_owned(), "f:1:1: there is no [[service]]: no VIP will be announced".to_owned()),
        (BASE.replace("checks = [\"web\"]\n", "").replace("[checks.web]\ntype = \"http\"\n", ""), "f:8:1: there is neither `checks` nor `check`: backends without a check always count; write `checks = []` if that is meant".to_owned()),
    ] {
        let found: Vec<String> = warnings(&text);
        assert_eq!(found, [expected], "in:\n{text}");
    }
    for quiet in [
        v6(with("peer_as", "next_hop_ipv6 = 'fd00::1'")),
        v6(with("peer_as", "families = ['ipv4']\n[[bgp.peer]]\naddress = 'fd00::1'\npeer_as = 1\nfamilies = ['ipv6']")),
        with("peer_as", "families = ['ipv4']"),
        with("peer_as", "next_hop_ipv4 = '127.0.0.9'").replace("10.0.0.2", "127.0.0.3"),
        with("port", "required = 0"),
        format!("{BASE}local_pref = 7\n").replace("peer_as = 65000", "peer_as = 65001"),
        format!("{BASE}on_down = 'degrade'\ndegraded = {{ as_path_prepend = 3 }}\n"),
        format!("{BASE}on_down = 'degrade'\ndegraded = {{ local_pref = 3 }}\n")
            .replace("peer_as = 65000", "peer_as = 65001"),
    ] {
        assert_eq!(warnings(&quiet), [""; 0], "in:\n{quiet}");
    }
}

#[test]
fn values_arrive() {
    let config = config(EXAMPLE);
    let bgp = config.bgp.as_ref().unwrap();
    let (tor, rr) = (&bgp.peers[0], &bgp.peers[1]);
    assert_eq!(
        (&*tor.name, tor.session.port, tor.session.peer_as),
        ("tor-a", 179, PeerAs::Number(crate::config::Asn(65000)))
    );
    assert_eq!(tor.session.hold_time, HoldTime::from_secs(9).unwrap());
    assert_eq!(tor.live.next_hop_ipv6, NextHop6::Address("fd00:99:1::2".parse().unwrap()));
    assert_eq!((tor.live.attributes.communities.len(), tor.live.attributes.large_communities.len()), (2, 1));
    let extended = ["rt:65000:100", "soo:192.0.2.1:1"].map(|text| text.parse().unwrap());
    assert_eq!(tor.live.attributes.extended_communities, extended);
    let allowed = ["192.0.2.1", "192.0.2.129", "192.0.3.1", "2001:db8::1", "2001:db8:1::/48", "2001:db8::/32"]
        .map(|text| tor.live.export.allows(&text.parse().unwrap()));
    assert_eq!(allowed, [true, false, false, true, true, false]);
    let allowed = ["2001:db8::/56", "2001:db8::/64", "2001:db8::53", "2001:db8:1::1"]
        .map(|text| rr.live.export.allows(&text.parse().unwrap()));
    assert_eq!(allowed, [false, false, true, false]);
    assert_eq!((rr.is_internal(), rr.live.attributes.local_pref), (true, Some(100)));

    assert_eq!(config.daemon.workers, Workers::Auto);
    assert_eq!(config.services[1].required.up, Required::Percent(60));
    let names: Vec<&str> = config.services[0].backends[0].checks.iter().map(|check| &*check.name).collect();
    assert_eq!(names, ["alive", "web"]);
    let own = &config.services[0].backends[1].checks;
    let targets: Vec<String> = own.iter().map(|use_| config.checks[use_.check].probe.target.to_string()).collect();
    assert_eq!((targets, &*own[1].name), (vec!["10.1.0.12:8080".to_owned(), "10.1.0.12:9000".to_owned()], "tcp"));
    let ProbeKind::Http(web) = &config.checks[1].probe.kind else { panic!() };
    assert_eq!(web.status, [StatusRange { first: 200, last: 299 }, StatusRange { first: 301, last: 301 }]);
    assert!(matches!(&web.body, Some(Pattern::Contains(text)) if text == b"OK"));

    let vip = &config.vips[&"192.0.2.1".parse().unwrap()];
    let OnDown::Degrade(degraded) = &vip.on_down else { panic!() };
    assert_eq!((vip.attributes.med, degraded.med, degraded.as_path_prepend), (Some(50), Some(1000), Some(3)));
    assert_eq!(vip.attributes.communities, ["65000:300".parse().unwrap()]);
    assert_eq!(degraded.communities, ["graceful-shutdown".parse().unwrap()]);
    let roles: Vec<crate::config::FileRole> = config.references.iter().map(|reference| reference.role).collect();
    // The groups of the package need not be there; others do.
    assert_eq!(roles.iter().filter(|role| **role == crate::config::FileRole::Group).count(), 0);
    assert_eq!(roles.len(), 3);
}

#[test]
fn defaults_that_depend_on_other_keys() {
    let timing = |lines: &str| config(&with("type", lines)).checks[0].timing;
    let ms = std::time::Duration::from_millis;
    assert_eq!(timing("interval = '200ms'").timeout, ms(200));
    assert_eq!(timing("interval = '5s'").timeout, ms(1000));
    assert_eq!(timing("interval = '5s'").fast_interval, ms(5000));
    let named = config(&BASE.replace("name = \"tor\"\n", "").replace("10.0.0.2", "fe80::1%eth0"));
    let peer = &named.bgp.unwrap().peers[0];
    assert_eq!((&*peer.name, peer.session.zone.as_deref()), ("fe80::1%eth0", Some("eth0")));
    let withdrawn = config(&format!("{BASE}on_down = 'withdraw'\ndegraded = {{ med = 1 }}\n")).vips;
    assert_eq!(withdrawn[&"192.0.2.1".parse().unwrap()].on_down, OnDown::Withdraw);
    // What is not replaced stays as it is when healthy.
    let text = format!("{BASE}med = 5\ncommunities = ['1:1']\non_down = 'degrade'\ndegraded = {{ local_pref = 1 }}\n");
    let vips = config(&text).vips;
    let OnDown::Degrade(degraded) = &vips[&"192.0.2.1".parse().unwrap()].on_down else { panic!() };
    assert_eq!((degraded.med, degraded.local_pref, degraded.communities.len()), (Some(5), Some(1), 1));
}
