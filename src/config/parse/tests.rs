mod aggregate;
mod group;
mod unnumbered;

use super::*;
use crate::config::{BodyMatch, HoldTime, NextHop6, OnDown, PeerAs, ProbeKind, Required, StatusRange, Workers};
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

#[track_caller]
fn expect_errors(text: &str, expected: &[&str]) {
    let errors = errors_of(&[source("f", text)]);
    let expected: Vec<String> = expected.iter().map(|error| format!("f:{error}")).collect();
    assert_eq!(errors, expected, "in:\n{text}");
}

#[test]
fn the_example_is_valid_and_without_warnings() {
    assert_eq!(warnings(EXAMPLE), [""; 0]);
    assert_eq!(warnings(BASE), [""; 0]);
}

#[test]
fn the_example_shows_every_key() {
    for schema in schema::ALL {
        for key in schema.keys {
            let is_key = |rest: &str| rest.trim_start().starts_with(['=', '.', ']']);
            let shown = EXAMPLE.match_indices(key).any(|(at, _)| {
                let before = EXAMPLE[..at].chars().next_back().unwrap();
                !before.is_alphanumeric() && before != '_' && is_key(&EXAMPLE[at + key.len()..])
            });
            assert!(shown, "`{key}` of {} is not in the example", schema.title);
        }
    }
}

#[test]
fn graceful_restart_is_for_all_or_for_some() {
    let (tables, peers) = (["", "graceful_restart = { restart_time = '60s' }"], ["", "true", "false"]);
    let expected = [[None, Some(120), None], [Some(60), Some(60), None]];
    for (table, expected) in tables.into_iter().zip(expected) {
        for (peer, expected) in peers.into_iter().zip(expected) {
            let text = with("router_id", table);
            let text = match peer {
                "" => text,
                peer => text.replace("peer_as = 65000", &format!("peer_as = 65000\ngraceful_restart = {peer}")),
            };
            let config = config(&text);
            let time = config.bgp.as_ref().unwrap().peers[0].session.graceful_restart;
            assert_eq!((time, config.restart_time()), (time, time));
            assert_eq!(time.map(crate::config::RestartTime::as_secs), expected, "{table} {peer}");
        }
    }
    // End-of-RIB may come as late as the start-up deadline.
    let asked = |time| with("router_id", &format!("graceful_restart = {{ restart_time = '{time}' }}"));
    let warning = "f:1:1: `startup_deadline` (30s) is not below `restart_time` (30s): routers may drop the routes that they \
                   keep over a restart before all VIPs have their first verdicts";
    assert_eq!(warnings(&asked("30s")), [warning]);
    assert_eq!(warnings(&asked("31s")), [""; 0]);
}

#[test]
fn the_example_states_the_defaults() {
    let (shown, plain) = (config(EXAMPLE), config(BASE));
    assert_eq!(shown.daemon, plain.daemon);
    let (shown_bgp, plain_bgp) = (shown.bgp.unwrap(), plain.bgp.unwrap());
    let (shown_peer, plain_peer) = (&shown_bgp.peers[0], &plain_bgp.peers[0]);
    assert_eq!(shown_peer.session.hold_time, plain_peer.session.hold_time);
    assert_eq!(
        (shown_peer.session.port, shown_peer.live.connect_retry),
        (plain_peer.session.port, plain_peer.live.connect_retry)
    );
    assert_eq!(shown_peer.session.extended_next_hop, plain_peer.session.extended_next_hop);
    assert_eq!(
        (&shown_peer.session.families, shown_peer.live.next_hop_ipv4),
        (&plain_peer.session.families, plain_peer.live.next_hop_ipv4)
    );
    assert_eq!(shown.services[0].required, plain.services[0].required);
    let timing = shown.checks[0].timing;
    assert_eq!((timing.interval, timing.timeout, timing.rise, timing.fall), {
        let timing = plain.checks[0].timing;
        (timing.interval, timing.timeout, timing.rise, timing.fall)
    });
}

#[test]
fn the_installed_file_asks_to_be_filled_in() {
    let errors = errors_of(&[source("f", INSTALLED)]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("f:1:1: nothing is configured: "), "{errors:?}");
    let uncommented: String = INSTALLED
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(warnings(&uncommented), [""; 0]);
    assert_eq!(config(&uncommented).services[0].backends.len(), 2);
}

#[test]
fn bgp_errors() {
    for (text, expected) in [
        (changed("local_as = 65001\n", ""), "1:1: [bgp] needs `local_as`"),
        (changed("65001", "0"), "2:12: `local_as` must be from 1 to 4294967295, not 0"),
        (changed("65001", "-1"), "2:12: `local_as` must be from 1 to 4294967295, not -1"),
        (changed("65001", "23456"), "2:12: `local_as`: 23456 is AS_TRANS, which is nobody's AS (RFC 6793)"),
        (changed("65001", "4294967296"), "2:12: `local_as` must be from 1 to 4294967295, not 4294967296"),
        (changed("65001", "\"65001\""), "2:12: `local_as` must be an integer, not `65001`"),
        (changed("65001", "1.5"), "2:12: `local_as` must be an integer, not a fraction"),
        (changed("10.0.0.1", "0.0.0.0"), "3:13: `router_id` must not be 0.0.0.0 (RFC 6286)"),
        (changed("10.0.0.1", "10.0.0"), "3:13: `router_id`: `10.0.0` is not of the form of an IPv4 address"),
        (
            with("router_id", "graceful_restart = { restart_time = '4096s' }"),
            "4:37: `restart_time` must be from 1s to 4095s, not `4096s`",
        ),
        (
            with("router_id", "graceful_restart = { restart_time = '0s' }"),
            "4:37: `restart_time` must be from 1s to 4095s, not `0s`",
        ),
        (
            with("router_id", "graceful_restart = { restart_time = '1500ms' }"),
            "4:37: `restart_time` must be whole seconds from 1s to 4095s (RFC 4724 §3)",
        ),
        (with("router_id", "graceful_restart = true"), "4:20: `graceful_restart` must be a table, not true"),
        (with("peer_as", "graceful_restart = 1"), "8:20: `graceful_restart` must be true or false, not the integer 1"),
        (with("router_id", "hold_tme = '9s'"), "4:1: unknown key `hold_tme` in [bgp]; did you mean `hold_time`?"),
        (
            with("router_id", "hold_time = 9"),
            "4:13: `hold_time` must be a duration such as \"500ms\" or \"2s\", not the integer 9",
        ),
        (
            with("router_id", "hold_time = '1s'"),
            "4:13: `hold_time` must be 0s or whole seconds from 3s (RFC 4271 §4.2)",
        ),
        (
            with("router_id", "hold_time = '3500ms'"),
            "4:13: `hold_time` must be 0s or whole seconds from 3s (RFC 4271 §4.2)",
        ),
        (with("router_id", "hold_time = '65536s'"), "4:13: `hold_time` must be from 0s to 65535s, not `65536s`"),
        (with("router_id", "vips = []"), "4:1: unknown key `vips` in [bgp]; it belongs in [[service]]"),
        (with("router_id", "port = 0"), "4:8: `port` must be from 1 to 65535, not 0"),
    ] {
        expect_errors(&text, &[expected]);
    }
}

#[test]
fn peer_errors() {
    let peer_v6 =
        |address: &str, lines: &str| with("peer_as", lines).replace("\"10.0.0.2\"", &format!("\"{address}\""));
    for (text, expected) in [
        (
            changed("address = \"10.0.0.2\"\n", ""),
            "4:1: [[bgp.peer]] needs `address`, or `interface` alone if it is unnumbered",
        ),
        (changed("peer_as = 65000\n", ""), "4:1: [[bgp.peer]] needs `peer_as`"),
        (changed("10.0.0.2", "10.0.0.256"), "6:11: `address`: `10.0.0.256` is not an IP address"),
        (
            changed("10.0.0.2", "10.0.0.2/32"),
            "6:11: `address` is a prefix: such peers connect to us, and need `mode = \"passive\"`",
        ),
        (
            changed("10.0.0.2", "tor.example"),
            "6:11: `address`: `tor.example` is not an IP address; Herald does not resolve names",
        ),
        (changed("10.0.0.2", "224.0.0.1"), "6:11: `address`: `224.0.0.1` is a multicast address"),
        (
            changed("10.0.0.2", "fe80::1"),
            "6:11: `address`: `fe80::1` is link-local and needs its interface: `fe80::1%eth0`",
        ),
        (
            changed("10.0.0.2", "fd00::1%eth0"),
            "6:11: `address`: `fd00::1` is not link-local and takes no zone (`eth0`)",
        ),
        (
            changed("10.0.0.2", "10.0.0.2%eth0"),
            "6:11: `address`: `10.0.0.2` is not link-local and takes no zone (`eth0`)",
        ),
        (changed("10.0.0.2", "fe80::1%"), "6:11: `address`: `` is not the name of an interface"),
        (
            changed("10.0.0.2", "::ffff:10.0.0.2"),
            "6:11: `address`: `::ffff:10.0.0.2` is an IPv4 address mapped into IPv6; write the IPv4 address",
        ),
        (
            changed("65000", "\"extern\""),
            "7:11: `peer_as` must be \"internal\" or \"external\", not `extern`; did you mean `external`?",
        ),
        (changed("65000", "23456"), "7:11: `peer_as`: 23456 is AS_TRANS, which is nobody's AS (RFC 6793)"),
        (with("peer_as", "source = 'fd00::2'"), "8:10: `source`: `fd00::2` is not of the family of `10.0.0.2`"),
        (
            with("peer_as", "local_pref = 100"),
            "8:1: `local_pref` is not sent to external peers (RFC 4271 §5.1.5), and this one is external: use `med`, `as_path_prepend` or `communities`",
        ),
        (with("peer_as", "families = []"), "8:12: `families` must not be empty"),
        (
            with("peer_as", "families = ['ipv7']"),
            "8:13: `families` must be \"ipv4\" or \"ipv6\", not `ipv7`; did you mean `ipv4`?",
        ),
        (with("peer_as", "next_hop_ipv4 = 'fd00::1'"), "8:17: `next_hop_ipv4`: `fd00::1` is not an IPv4 address"),
        (with("peer_as", "next_hop_ipv6 = '::'"), "8:17: `next_hop_ipv6`: `::` is the unspecified address"),
        (with("peer_as", "next_hop_ipv6 = 'ff02::1'"), "8:17: `next_hop_ipv6`: `ff02::1` is a multicast address"),
        (
            with("peer_as", "next_hop_ipv6 = '::ffff:1.2.3.4'"),
            "8:17: `next_hop_ipv6`: `::ffff:1.2.3.4` is an IPv4 address mapped into IPv6; write the IPv4 address",
        ),
        (
            with("peer_as", "next_hop_ipv6 = ['fd00::1']"),
            "8:17: `next_hop_ipv6` as a list must be a global and a link-local address",
        ),
        (
            with("peer_as", "next_hop_ipv6 = ['fe80::1', 'fe80::2']"),
            "8:18: `next_hop_ipv6`: `fe80::1`, the first, must not be link-local",
        ),
        (
            with("peer_as", "next_hop_ipv6 = ['fd00::1', 'fd00::2']"),
            "8:29: `next_hop_ipv6`: `fd00::2`, the second, must be link-local",
        ),
        (with("peer_as", "med = 4294967296"), "8:7: `med` must be from 0 to 4294967295, not 4294967296"),
        (with("peer_as", "as_path_prepend = 101"), "8:19: `as_path_prepend` must be from 0 to 100, not 101"),
        (with("peer_as", "communities = 'no-export'"), "8:15: `communities` must be a list, not `no-export`"),
        (
            with("peer_as", "communities = ['no-exprot']"),
            "8:16: `no-exprot` is neither a well-known community nor of the form `65000:100` or `65000:1:2`; did you mean `no-export`?",
        ),
        (
            with("peer_as", "communities = ['65536:1']"),
            "8:16: `65536:1` is not a community: two numbers from 0 to 65535",
        ),
        (
            with("peer_as", "communities = ['1:2:4294967296']"),
            "8:16: `1:2:4294967296` is not a large community: three numbers from 0 to 4294967295",
        ),
        (
            with("peer_as", "communities = ['rt:65000:100', 'rt:65536:65536']"),
            "8:32: `rt:65536:65536` is not an extended community, such as `rt:65000:100`, `soo:65000:1`, `rt:192.0.2.1:5`, `rt:4200000001:7` (the last number to 65535 in these two) or `generic:0x43000000:0x1`",
        ),
        (
            with("peer_as", "communities = ['65000:1', 'generic:0x43000000:0x1']"),
            "8:1: `generic:0x43000000:0x1` is not transitive: it is not sent to external peers (RFC 4360 §6)",
        ),
        (with("peer_as", "communities = ['1:2:3:4']"), "8:16: `1:2:3:4` has too many colons for a community"),
        (with("peer_as", "export = { acept = [] }"), "8:12: unknown key `acept` in `export`; did you mean `accept`?"),
        (
            with("peer_as", "export = { accept = ['192.0.2.1/24'] }"),
            "8:22: `accept`: `192.0.2.1/24` has host bits set; the network is `192.0.2.0/24`",
        ),
        (
            with("peer_as", "export = { accept = [{ prefix = '192.0.2.0/24', ge = 33 }] }"),
            "8:54: `ge` must be from 24 to 32 here, not 33",
        ),
        (
            with("peer_as", "export = { accept = [{ prefix = '192.0.2.0/24', ge = 28, le = 27 }] }"),
            "8:63: `le` must be from 28 to 32 here, not 27",
        ),
        (with("peer_as", "export = { accept = [{ ge = 28 }] }"), "8:22: a prefix in `export` needs `prefix`"),
        (
            with("peer_as", "export = [{ accept = '2001:db8::/32', le = 129 }]"),
            "8:44: `le` must be from 0 to 128, not 129",
        ),
        (
            with("peer_as", "export = [{ reject = '192.0.2.1' }, { ge = 24 }]"),
            "8:37: a rule of `export` needs either `accept` or `reject`",
        ),
        (
            with("peer_as", "export = [{ accept = '192.0.2.1', reject = '192.0.2.2' }]"),
            "8:11: a rule of `export` needs either `accept` or `reject`",
        ),
        (
            with("peer_as", "export = []"),
            "8:10: `export` has no rules: leave it out to announce everything, or accept nothing with `{ accept = [] }`",
        ),
        (with("peer_as", "export = ['192.0.2.1']"), "8:11: `export` must be a table, not `192.0.2.1`"),
        (
            with("peer_as", "mode = 'activ'"),
            "8:8: `mode` must be \"active\" or \"passive\" or \"both\", not `activ`; did you mean `active`?",
        ),
        (with("peer_as", "password_file = 'secret'"), "8:17: `password_file` must be an absolute path"),
        (with("peer_as", "ttl_security = 0"), "8:16: `ttl_security` must be from 1 to 254, not 0"),
        (with("peer_as", "ttl_security = 255"), "8:16: `ttl_security` must be from 1 to 254, not 255"),
        (with("peer_as", "ttl_security = true"), "8:16: `ttl_security` must be an integer, not true"),
        (with("peer_as", "multihop = 256"), "8:12: `multihop` must be from 1 to 255, not 256"),
        (
            with("peer_as", "ttl_security = 2\nmultihop = 2"),
            "9:1: `multihop` and `ttl_security` exclude each other: `ttl_security` says how many hops away the peer is, too; it is set at f:8:1",
        ),
        (with("peer_as", "interface = 'eth 0'"), "8:13: `interface`: `eth 0` is not the name of an interface"),
        (with("peer_as", "interface = ''"), "8:13: `interface`: `` is not the name of an interface"),
        (with("peer_as", "bfd = true"), "8:1: `bfd` in [[bgp.peer]] is not supported by this version"),
        (
            with("peer_as", "[[bgp.peer]]\nname = 'tor'\naddress = '10.0.0.3'\npeer_as = 1"),
            "9:8: peer name `tor` is taken, already at f:5:8",
        ),
        (
            with("peer_as", "[[bgp.peer]]\naddress = '10.0.0.2'\npeer_as = 1"),
            "9:11: another peer has this address, already at f:6:11",
        ),
        (
            changed("name = \"tor\"", "name = 'a/b'"),
            "5:8: `name` must not hold slashes or control characters, nor begin or end with a space",
        ),
        (changed("name = \"tor\"", "name = ''"), "5:8: `name` must not be empty"),
        (
            peer_v6("fe80::1%eth0", "source = '10.0.0.1'"),
            "8:10: `source`: `10.0.0.1` is not of the family of `fe80::1`",
        ),
        (
            BASE.replace("[[bgp.peer]]", "[bgp.peer]"),
            "4:1: write [[bgp.peer]] in double brackets: there may be several",
        ),
    ] {
        expect_errors(&text, &[expected]);
    }
}

#[test]
fn who_connects_to_us() {
    let text = "listen = ['0.0.0.0:179', '[::]:1179']";
    let lines = "mode = 'both'\n[[bgp.peer]]\nname = 'edge'\naddress = '10.1.0.0/24'\nmode = 'passive'\npeer_as = 'external'\n\
                 limit = 7\n[[bgp.peer]]\nname = 'ring'\naddress = 'fe80::/64%eth0'\nmode = 'passive'\npeer_as = 65009\n\
                 next_hop_ipv4 = '10.0.0.1'";
    let text = with("peer_as", lines)
        .replace("[[bgp.peer]]\nname = \"tor\"", &format!("{text}\n[[bgp.peer]]\nname = \"tor\""));
    assert_eq!(warnings(&text), [""; 0]);
    let bgp = config(&text).bgp.unwrap();
    assert_eq!(bgp.listen, ["0.0.0.0:179", "[::]:1179"].map(|at| at.parse().unwrap()));
    assert_eq!(bgp.peers.iter().map(|peer| peer.session.mode).collect::<Vec<_>>(), [crate::config::Mode::Both]);
    let [edge, ring] = bgp.ranges.as_slice() else { panic!("{:?}", bgp.ranges) };
    assert_eq!((&**edge.name(), edge.limit, ring.limit), ("edge", 7, 100));
    assert!(edge.contains([10, 1, 0, 7].into(), None) && !edge.contains([10, 2, 0, 7].into(), None));
    let link_local = "fe80::7".parse().unwrap();
    assert!(ring.contains(link_local, Some("eth0")) && !ring.contains(link_local, Some("eth1")));
    assert_eq!(
        (&*edge.peer([10, 1, 0, 7].into()).name, &*ring.peer(link_local).name),
        ("edge@10.1.0.7", "ring@fe80::7%eth0")
    );
}

#[test]
fn who_cannot_connect_to_us() {
    let range = |lines: &str| with("peer_as", &format!("[[bgp.peer]]\n{lines}\npeer_as = 65000"));
    let listen = |value: &str| with("router_id", &format!("listen = {value}"));
    for (text, expected) in [
        (listen("'0.0.0.0:179'"), "4:10: `listen` must be a list, not `0.0.0.0:179`"),
        (
            listen("['10.0.0.1']"),
            "4:11: `listen`: `10.0.0.1` is not of the form `192.0.2.1:179` or `[::]:179`: the port is missing",
        ),
        (listen("['[::]:0']"), "4:11: `listen`: `[::]:0` needs a port other than 0"),
        (
            listen("['[fe80::1]:179']"),
            "4:11: `listen`: `[fe80::1]:179` is not an address of ours that a router can connect to; for link-local ones \
             listen on `[::]`",
        ),
        (listen("['0.0.0.0:179', '10.0.0.1:179']"), "4:26: `listen`: `10.0.0.1:179` overlaps with `0.0.0.0:179`"),
        (
            with("peer_as", "mode = 'pasive'"),
            "8:8: `mode` must be \"active\" or \"passive\" or \"both\", not `pasive`; did you mean `passive`?",
        ),
        (
            with("peer_as", "mode = 'both'\ninterface = 'eth0'"),
            "9:1: `interface` needs `mode = \"active\"`: a connection that the router makes comes by whatever interface it \
             comes by",
        ),
        (with("peer_as", "limit = 3"), "8:1: `limit` is for peers by range: `address` is one address, not a prefix"),
        (
            range("address = '10.1.0.0/24'\nmode = 'passive'"),
            "9:11: `address` is a prefix: such peers need a `name`, to be called NAME@ADDRESS",
        ),
        (
            range("name = 'x'\naddress = '10.1.0.1/24'\nmode = 'passive'"),
            "10:11: `address`: `10.1.0.1/24` has host bits set; the network is `10.1.0.0/24`",
        ),
        (
            range("name = 'x'\naddress = 'fe80::/64'\nmode = 'passive'"),
            "10:11: `address`: `fe80::/64` is link-local and needs its interface: `fe80::/64%eth0`",
        ),
        (
            range("address = '10.0.0.2'\nport = 1179\nmode = 'passive'")
                .replace("peer_as = 65000\n[[", "peer_as = 65000\nmode = 'both'\n[["),
            "10:11: another peer that connects to us has this address (the port does not tell them apart), already at f:6:11",
        ),
        (
            range("name = 'x'\naddress = '10.0.0.0/24'\nmode = 'passive'\npassword_file = '/x'")
                .replace("peer_as = 65000\n[[", "peer_as = 65000\nmode = 'both'\n[["),
            "6:11: peer `tor` lies within `x`, which has a `password_file`, and needs one too: the kernel asks every \
             neighbour in there for a signature",
        ),
    ] {
        expect_errors(&text, &[expected]);
    }
}

#[test]
fn check_errors() {
    let https = |lines: &str| with("type", lines).replace("\"http\"", "\"https\"");
    let exec = |lines: &str| with("type", lines).replace("\"http\"", "\"exec\"");
    for (text, expected) in [
        (changed("type = \"http\"\n", ""), "8:1: a check needs `type`"),
        (
            changed("\"http\"", "\"htp\""),
            "9:8: `type` must be \"tcp\" or \"http\" or \"https\" or \"exec\", not `htp`; did you mean `http`?",
        ),
        (with("type", "intervall = '1s'"), "10:1: unknown key `intervall` in a check; did you mean `interval`?"),
        (with("type", "interval = '9ms'"), "10:12: `interval` must be from 10ms to 86400s, not `9ms`"),
        (with("type", "interval = '1'"), "10:12: `interval` must be a duration such as \"500ms\" or \"2s\", not `1`"),
        (
            with("type", "interval = '99999999999999999999years'"),
            "10:12: `interval` must be a duration such as \"500ms\" or \"2s\", not `99999999999999999999years`",
        ),
        (with("type", "timeout = '0s'"), "10:11: `timeout` must be from 1ms to 86400s, not `0s`"),
        (with("type", "rise = 0"), "10:8: `rise` must be from 1 to 10000, not 0"),
        (
            with("type", "fall = 99999999999999999999999999999999999999999999999999999"),
            "10:8: `fall` must be from 1 to 10000, not 9999999999999999999999999999999999999999",
        ),
        (with("type", "fast_interval = '2s'"), "10:17: `fast_interval` must not be longer than `interval`"),
        (with("type", "port = 65536"), "10:8: `port` must be from 1 to 65535, not 65536"),
        (with("type", "path = 'healthz'"), "10:8: `path` must begin with a slash"),
        (with("type", "path = '/a b'"), "10:8: `path` must not hold ` `: write it percent-encoded (RFC 3986 §2.1)"),
        (with("type", "method = 'get'"), "10:10: `method` is case-sensitive; did you mean `GET`?"),
        (with("type", "method = 'G T'"), "10:10: `method`: `G T` is not an HTTP method"),
        (
            with("type", "host = 'www.example.net:80'"),
            "10:8: `host`: `www.example.net:80` is not a host name: it takes no port",
        ),
        (with("type", "host = 'www..net'"), "10:8: `host`: `www..net` is not a host name"),
        (with("type", "headers = { 'a b' = 'x' }"), "10:13: `a b` is not the name of an HTTP header"),
        (with("type", "headers = { Host = 'x' }"), "10:13: set `host` of the check in place of the header"),
        (with("type", "headers = { Connection = 'close' }"), "10:13: header `Connection` is not for a check to set"),
        (
            with("type", "headers = { x = \"a\\r\\nb\" }"),
            "10:17: the value of header `x` must be printable ASCII, without spaces around it",
        ),
        (with("type", "headers = { x = 1 }"), "10:17: `x` must be a string, not the integer 1"),
        (with("type", "headers = { x = 'a', X = 'b' }"), "10:22: header `X` is given twice"),
        (with("type", "expect = { status = [] }"), "10:21: `status` must not be empty"),
        (
            with("type", "expect = { status = ['299-200'] }"),
            "10:22: `status`: `299-200` is not a status or range from 100 to 599, such as \"200-299\"",
        ),
        (with("type", "expect = { status = [99] }"), "10:22: `status` must be from 100 to 599, not 99"),
        (
            with("type", "expect = { body_regex = '(' }"),
            "10:25: `body_regex` is not a regular expression: unclosed group",
        ),
        (
            with("type", "expect = { body = 'a', body_regex = 'b' }"),
            "10:24: `body` and `body_regex` exclude each other",
        ),
        (
            with("type", "expect = { body = 'a' }\nmethod = 'HEAD'"),
            "10:10: the answer to HEAD has no body to expect anything of (RFC 9110 §9.3.2)",
        ),
        (with("type", "max_body = 0"), "10:12: `max_body` must be from 1 to 16777216, not 0"),
        (with("type", "verify = false"), "10:1: `verify` does not apply to a check of type http, only to https"),
        (
            changed("\"http\"", "\"tcp\"\npath = '/'"),
            "10:1: `path` does not apply to a check of type tcp, only to http and https",
        ),
        (with("type", "command = ['/x']"), "10:1: `command` does not apply to a check of type http, only to exec"),
        (https("ca_file = 'ca.pem'"), "10:11: `ca_file` must be an absolute path"),
        (https("ca_file = '/ca.pem'\nverify = false"), "10:1: `ca_file` does nothing with `verify = false`"),
        (https("verify = 'no'"), "10:10: `verify` must be true or false, not `no`"),
        (exec(""), "8:1: a check needs `command`"),
        (exec("command = []"), "10:11: `command` must not be empty"),
        (exec("command = '/bin/true'"), "10:11: `command` must be a list, not `/bin/true`"),
        (exec("command = ['true']"), "10:12: `command` must be an absolute path"),
        (exec("command = ['/bin/true', 1]"), "10:25: `command` must be a string, not the integer 1"),
        (exec("command = ['/bin/true', \"a\\u0000\"]"), "10:25: `command` must not hold a zero byte"),
        (with("type", "[checks.unused]\ntype = 'tcp'"), "10:9: no service or backend uses check `unused`"),
        (changed("[\"web\"]", "[\"web\", \"web\"]"), "14:18: check `web` is listed twice"),
        (changed("[\"web\"]", "[\"web\", \"wbe\"]"), "14:18: there is no check `wbe`; did you mean `web`?"),
        (changed("[\"web\"]", "[\"web\", \"something\"]"), "14:18: there is no check `something`"),
        (
            with("checks =", "check = [{ type = 'tcp', prt = 1 }]"),
            "15:26: unknown key `prt` in a check; did you mean `port`?",
        ),
        (with("checks =", "check = ['web']"), "15:10: `check` must be a table, not `web`"),
    ] {
        expect_errors(&text, &[expected]);
    }
}

#[test]
fn service_and_vip_errors() {
    let second = "[[service]]\nname = 'b'\nvips = ['192.0.2.1']\nport = 80\nchecks = ['web']";
    for (text, expected) in [
        (changed("port = 80\n", ""), "10:1: [[service]] needs `port`"),
        (changed("name = \"web\"\n", ""), "10:1: [[service]] needs `name`"),
        (
            changed("port = 80", "port = 80\nrequired = '101%'"),
            "14:12: `required` must be a number of backends or a share from \"0%\" to \"100%\", not `101%`",
        ),
        (changed("port = 80", "port = 80\nrequired = -1"), "14:12: `required` must be from 0 to 4294967295, not -1"),
        (
            changed("port = 80", "port = 80\nprotocol = 'tpc'"),
            "14:12: `protocol` must be \"tcp\" or \"udp\", not `tpc`; did you mean `tcp`?",
        ),
        (changed("port = 80", "port = true"), "13:8: `port` must be an integer, not true"),
        (
            changed("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"10.0.0.1/8\"]"),
            "12:22: `vips`: `10.0.0.1/8` has host bits set; the network is `10.0.0.0/8`",
        ),
        (
            changed("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"10.0.0.0/33\"]"),
            "12:22: `vips`: prefix length 33 is longer than 32",
        ),
        (changed("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"x\"]"), "12:22: `vips`: `x` is not an IP address or prefix"),
        (
            changed("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"192.0.2.1/32\"]"),
            "12:22: VIP `192.0.2.1/32` is listed twice, already at f:12:9",
        ),
        (
            changed("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"fe80::1\"]"),
            "12:22: `vips`: `fe80::1/128` is link-local and cannot be announced",
        ),
        (
            changed("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"ff00::/8\"]"),
            "12:22: `vips`: `ff00::/8` is a multicast address",
        ),
        (
            changed("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"0.0.0.0\"]"),
            "12:22: `vips`: `0.0.0.0/32` is the unspecified address",
        ),
        (
            changed("10.1.0.1", "db.example"),
            "16:11: `address`: `db.example` is not an IP address; Herald does not resolve names",
        ),
        (
            changed("10.1.0.1", "fe80::1"),
            "16:11: `address`: `fe80::1` is link-local; a backend needs an address with a wider scope",
        ),
        (
            changed("\"10.1.0.1\"", "\"10.1.0.1\"\nwieght = 1"),
            "17:1: unknown key `wieght` in [[service.backend]]; did you mean `weight`?",
        ),
        (
            changed("\"10.1.0.1\"", "\"10.1.0.1\"\nenabled = 1"),
            "17:11: `enabled` must be true or false, not the integer 1",
        ),
        (
            changed("\"10.1.0.1\"", "\"10.1.0.1\"\n[[service.backend]]\naddress = '10.1.0.1'\nport = 80"),
            "17:1: backend 10.1.0.1:80 is listed twice, already at f:15:1",
        ),
        (
            changed("[[vip]]", &format!("{second}\n[[vip]]")),
            "19:9: another service has tcp port 80 of VIP `192.0.2.1/32`, already at f:12:9",
        ),
        (
            changed("[[vip]]", &format!("{}\n[[vip]]", second.replace("80", "81").replace("'b'", "'web'"))),
            "18:8: service name `web` is taken, already at f:11:8",
        ),
        (
            changed("address = \"192.0.2.1\"", "address = '192.0.2.2'"),
            "18:11: no service is on VIP `192.0.2.2/32`; did you mean `192.0.2.1`?",
        ),
        (
            changed("address = \"192.0.2.1\"", "address = '192.0.2.1'\n[[vip]]\naddress = '192.0.2.1'"),
            "20:11: VIP `192.0.2.1/32` has a [[vip]], already at f:18:11",
        ),
        (
            changed("address = \"192.0.2.1\"", "address = '192.0.2.1'\non_down = 'degrade'"),
            "19:11: `on_down = \"degrade\"` needs `degraded` with the attributes to announce then",
        ),
        (
            changed("address = \"192.0.2.1\"", "address = '192.0.2.1'\ndegraded = { med = 1 }"),
            "19:1: `degraded` does nothing without `on_down = \"degrade\"`",
        ),
        (
            changed("address = \"192.0.2.1\"", "address = '192.0.2.1'\non_down = 'degrade'\ndegraded = {}"),
            "20:12: `degraded` is empty: the VIP would be announced as if it were healthy",
        ),
        (
            changed("address = \"192.0.2.1\"", "address = '192.0.2.1'\norigin = 'ibgp'"),
            "19:10: `origin` must be \"igp\" or \"egp\" or \"incomplete\", not `ibgp`; did you mean `igp`?",
        ),
        (
            changed("address = \"192.0.2.1\"", "address = '192.0.2.1'\nhold_up = '2d'"),
            "19:11: `hold_up` must be from 0s to 86400s, not `2d`",
        ),
    ] {
        expect_errors(&text, &[expected]);
    }
    expect_errors(
        &changed("[\"192.0.2.1\"]", "[]"),
        &["12:8: `vips` must not be empty", "18:11: no service is on VIP `192.0.2.1/32`"],
    );
}

#[test]
fn daemon_and_top_level_errors() {
    let daemon = |lines: &str| format!("{BASE}[daemon]\n{lines}\n");
    for (text, expected) in [
        (daemon("workers = 0"), "20:11: `workers` must be from 1 to 4096, not 0"),
        (daemon("workers = 'automatic'"), "20:11: `workers` must be \"auto\", not `automatic`"),
        (daemon("control_socket = 'x'"), "20:18: `control_socket` must be an absolute path"),
        (
            daemon(&format!("control_socket = '/{}'", "x".repeat(107))),
            "20:18: `control_socket` must have at most 107 bytes",
        ),
        (
            daemon("log = 'debg'"),
            "20:7: `log` must be \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\", not `debg`; did you mean `debug`?",
        ),
        (daemon("http_listen = ':80'"), "20:1: `http_listen` in [daemon] is not supported by this version"),
        (daemon("state_file = 'x'"), "20:14: `state_file` must be an absolute path"),
        (format!("{BASE}[glb]\n"), "19:2: `glb` in the file is not supported by this version"),
        (format!("{BASE}[servcie]\n"), "19:2: unknown key `servcie` in the file; did you mean `service`?"),
        (format!("{BASE}[daemon]\nport 1\n"), "20:6: key with no value, expected `=`"),
        (
            "daemon = 1\n[bgp]\nlocal_as = 1\nrouter_id = '1.1.1.1'".to_owned(),
            "1:10: `daemon` must be a table, not the integer 1",
        ),
        (
            "# nothing\n[daemon]\n".to_owned(),
            "1:1: nothing is configured: Herald needs a [[service]] with its VIPs and backends, and [bgp] with a [[bgp.peer]] to announce them to",
        ),
    ] {
        expect_errors(&text, &[expected]);
    }
}

#[test]
fn all_errors_at_once_in_the_order_of_the_files() {
    let main = changed("peer_as = 65000", "peer_as = 0\nmde = 1").replace("port = 80", "port = 'http'");
    let errors = errors_of(&[source("main", &main), source("drop-in", "[[vip]]\naddress = 'x'\n[cheks]\n")]);
    assert_eq!(
        errors,
        [
            "main:7:11: `peer_as` must be from 1 to 4294967295, not 0",
            "main:8:1: unknown key `mde` in [[bgp.peer]]; did you mean `med`?",
            "main:14:8: `port` must be an integer, not `http`",
            "drop-in:2:11: `address`: `x` is not an IP address or prefix",
            "drop-in:3:2: unknown key `cheks` in the file; did you mean `checks`?",
        ]
    );
}

#[test]
fn syntax_errors_do_not_hide_the_rest_nor_invent_any() {
    expect_errors(
        "[bgp]\nlocal_as = 65x1\nrouter_id = '10.0.0.1'\n[[service]\nname = 'a'\n[[service]]\nprt = 1\nname = \"a\nchecks = ['elsewhere']\n",
        &[
            "2:12: string values must be quoted, expected literal string",
            "4:11: unclosed array table, expected `]`",
            "7:1: unknown key `prt` in [[service]]; did you mean `port`?",
            "8:10: invalid basic string, expected `\"`",
        ],
    );
    expect_errors(&format!("{BASE}[checks.web]\n"), &["19:9: `web` is defined twice"]);
}

#[test]
fn drop_ins_add_and_never_override() {
    let drop_in = "[[bgp.peer]]\naddress = '10.0.0.9'\npeer_as = 'external'\n[checks.dns]\ntype = 'tcp'\n\
                   [[service]]\nname = 'dns'\nvips = ['192.0.2.53']\nport = 53\nchecks = ['dns', 'web']\n\
                   [[service.backend]]\naddress = '10.1.0.53'\n[[vip]]\naddress = '192.0.2.53'\nmed = 5\n";
    let config = parse(&[source("main", BASE), source("drop-in", drop_in)]).unwrap();
    assert_eq!((config.services.len(), config.bgp.unwrap().peers.len(), config.checks.len()), (2, 2, 3));

    for (text, expected) in [
        ("[checks.web]\ntype = 'tcp'", "drop-in:1:9: check name `web` is taken, already at main:8:9"),
        ("[[vip]]\naddress = '192.0.2.1'", "drop-in:2:11: VIP `192.0.2.1/32` has a [[vip]], already at main:18:11"),
        (
            "[daemon]\nworkers = 1",
            "drop-in:1:2: [daemon] belongs in the main file; a drop-in may hold [[service]], [[vip]], [[aggregate]], \
             [[bgp.peer]], [bgp.group.NAME] and [checks.NAME]",
        ),
        (
            "[bgp]\nlocal_as = 2",
            "drop-in:2:1: `local_as` of [bgp] belongs in the main file; a drop-in may hold [[service]], [[vip]], \
             [[aggregate]], [[bgp.peer]], [bgp.group.NAME] and [checks.NAME]",
        ),
    ] {
        assert_eq!(errors_of(&[source("main", BASE), source("drop-in", text)]), [expected]);
    }
    assert_eq!(
        errors_of(&[source("main", ""), source("drop-in", "[[bgp.peer]]\naddress = '10.0.0.9'\npeer_as = 1")]),
        ["drop-in:1:1: [[bgp.peer]] needs [bgp] with `local_as` and `router_id` in the main file"]
    );
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
    assert_eq!(config.services[1].required, Required::Percent(50));
    let names: Vec<&str> = config.services[0].backends[0].checks.iter().map(|check| &*check.name).collect();
    assert_eq!(names, ["alive", "web"]);
    let own = &config.services[0].backends[1].checks;
    let targets: Vec<String> = own.iter().map(|use_| config.checks[use_.check].probe.target.to_string()).collect();
    assert_eq!((targets, &*own[1].name), (vec!["10.1.0.12:8080".to_owned(), "10.1.0.12:9000".to_owned()], "tcp"));
    let ProbeKind::Http(web) = &config.checks[1].probe.kind else { panic!() };
    assert_eq!(web.status, [StatusRange { first: 200, last: 299 }, StatusRange { first: 301, last: 301 }]);
    assert!(matches!(&web.body, Some(BodyMatch::Contains(text)) if text == "OK"));

    let vip = &config.vips[&"192.0.2.1".parse().unwrap()];
    let OnDown::Degrade(degraded) = &vip.on_down else { panic!() };
    assert_eq!((vip.attributes.med, degraded.med, degraded.as_path_prepend), (Some(50), Some(1000), Some(3)));
    assert_eq!(vip.attributes.communities, ["65000:300".parse().unwrap()]);
    assert_eq!(degraded.communities, ["graceful-shutdown".parse().unwrap()]);
    assert_eq!(config.references.len(), 2);
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

#[test]
fn the_same_check_of_the_same_target_is_one() {
    let again = "[[service]]\nname = 'b'\nvips = ['192.0.2.1']\nport = 81\ncheck = [{ type = 'http' }]\n\
                 [[service.backend]]\naddress = '10.1.0.1'\nport = 80\n\
                 [[service.backend]]\naddress = '10.1.0.1'\nport = 81\ncheck = [{ type = 'http', port = 80 }, { type = 'http', port = 80 }]\n\
                 [[service.backend]]\naddress = '10.1.0.2'\ncheck = [{ type = 'http', interval = '2s' }]\n";
    let config = config(&format!("{BASE}{again}"));
    assert_eq!(config.checks.len(), 2);
    assert_eq!(config.services[1].backends[1].checks.len(), 1);
}

/// As some editors of other systems write them.
#[test]
fn byte_order_marks_and_carriage_returns() {
    let text = format!("\u{feff}{}", BASE.replace('\n', "\r\n"));
    assert_eq!(warnings(&text), [""; 0]);
    expect_errors(
        "\u{feff}x = 1\r\n[bgp]\r\n",
        &["1:1: unknown key `x` in the file", "2:1: [bgp] needs `local_as`", "2:1: [bgp] needs `router_id`"],
    );
}

#[test]
fn a_thousand_errors_are_enough() {
    let text = format!("{BASE}[daemon]\n{}", (0..5000).map(|n| format!("k{n} = 1\n")).collect::<String>());
    let errors = errors_of(&[source("f", &text)]);
    assert_eq!(errors.len(), 1001);
    assert_eq!(
        errors.last().unwrap(),
        &format!("{}: 4000 more errors are not shown", errors[999].split(": ").next().unwrap())
    );
}

/// Damaged files never do more than get errors, and every error has its place in the file.
#[test]
fn damage_is_only_ever_an_error() {
    let mut rng = Rng::new(20_261_121);
    let mut refused = 0;
    for _ in 0..2000 {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        for _ in 0..=rng.below(3) {
            damage(&mut bytes, &mut rng);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Err(errors) = parse(&[source("f", &text)]) else { continue };
        refused += 1;
        assert!(!errors.is_empty());
        let lines: Vec<&str> = text.split('\n').collect();
        for Diagnostic { position, message } in errors {
            let line = lines.get(position.line - 1).unwrap_or_else(|| panic!("{position}: {message}"));
            assert!((1..=line.chars().count() + 1).contains(&position.column), "{position}: {message}");
            assert!(!message.is_empty() && message.lines().count() == 1, "{message:?}");
        }
    }
    assert!(refused > 1000, "{refused}");
}

fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let length = bytes.len() as u64;
    let at = |rng: &mut Rng| usize::try_from(rng.below(length.max(1))).unwrap();
    match rng.below(6) {
        0 => bytes.truncate(at(rng)),
        1 | 2 => {
            let at = at(rng);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        3 => {
            let interesting = b"[]{}=\"'#.,\n0-9\0%";
            let byte = interesting[usize::try_from(rng.below(interesting.len() as u64)).unwrap()];
            bytes.insert(at(rng).min(bytes.len()), byte);
        }
        _ => {
            let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            let (from, to) = (at(rng) % lines.len(), at(rng) % lines.len());
            let line = lines[from].clone();
            lines.insert(to, line);
            *bytes = lines.join(&b'\n');
        }
    }
}

#[test]
fn an_extended_next_hop_needs_no_ipv4_address() {
    let over_ipv6 = |options: &str| with("peer_as", options).replace("10.0.0.2", "fd00::1");
    let loaded = config(&over_ipv6("extended_next_hop = true"));
    assert!(loaded.bgp.unwrap().peers[0].session.extended_next_hop);
    assert!(loaded.warnings.is_empty());
    assert!(!config(BASE).bgp.unwrap().peers[0].session.extended_next_hop);
}
