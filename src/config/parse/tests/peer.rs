//! `[bgp]` and `[[bgp.peer]]`.

use super::*;

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
fn bgp_errors() {
    for (text, expected) in [
        (changed("local_as = 65001\n", ""), "1:1: [bgp] needs `local_as`"),
        (changed("65001", "0"), "2:12: `local_as` must be from 1 to 4294967295, not 0"),
        (changed("65001", "-1"), "2:12: `local_as` must be from 1 to 4294967295, not -1"),
        (changed("65001", "23456"), "2:12: `local_as`: 23456 is AS_TRANS, which is nobody's AS (RFC 6793)"),
        (changed("65001", "4294967296"), "2:12: `local_as` must be from 1 to 4294967295, not 4294967296"),
        (changed("65001", "\"65001\""), "2:12: `local_as` must be an integer, not text; 65001 without quotes is one"),
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
fn an_extended_next_hop_needs_no_ipv4_address() {
    let over_ipv6 = |options: &str| with("peer_as", options).replace("10.0.0.2", "fd00::1");
    let loaded = config(&over_ipv6("extended_next_hop = true"));
    assert!(loaded.bgp.unwrap().peers[0].session.extended_next_hop);
    assert!(loaded.warnings.is_empty());
    assert!(!config(BASE).bgp.unwrap().peers[0].session.extended_next_hop);
}
