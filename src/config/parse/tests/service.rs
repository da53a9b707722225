//! Checks, services, backends and VIPs.

use super::*;
use crate::config::Need;

#[test]
fn check_errors() {
    let https = |lines: &str| with("type", lines).replace("\"http\"", "\"https\"");
    let exec = |lines: &str| with("type", lines).replace("\"http\"", "\"exec\"");
    for (text, expected) in [
        (changed("type = \"http\"\n", ""), "8:1: a check needs `type`"),
        (
            changed("\"http\"", "\"htp\""),
            "9:8: `type` must be one of tcp, http, https, grpc, tls, dns, udp, icmp, syn, ntp, smtp, redis, mysql, postgres, ldap, exec, file, agent, alias, gue, fou, not `htp`; did you mean `http`?",
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
        (
            with("type", "verify = false"),
            "10:1: `verify` does not apply to a check of type http, only to https, tls, tcp, grpc, smtp, redis, ldap",
        ),
        (
            changed("\"http\"", "\"tcp\"\npath = '/'"),
            "10:1: `path` does not apply to a check of type tcp, only to http, https, file",
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
        (changed("port = 80", "port = '80'"), "13:8: `port` must be an integer, not text; 80 without quotes is one"),
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
fn the_same_check_of_the_same_target_is_one() {
    let again = "[[service]]\nname = 'b'\nvips = ['192.0.2.1']\nport = 81\ncheck = [{ type = 'http' }]\n\
                 [[service.backend]]\naddress = '10.1.0.1'\nport = 80\n\
                 [[service.backend]]\naddress = '10.1.0.1'\nport = 81\ncheck = [{ type = 'http', port = 80 }, { type = 'http', port = 80 }]\n\
                 [[service.backend]]\naddress = '10.1.0.2'\ncheck = [{ type = 'http', interval = '2s' }]\n";
    let config = config(&format!("{BASE}{again}"));
    assert_eq!(config.checks.len(), 2);
    assert_eq!(config.services[1].backends[1].checks.len(), 1);
}

#[test]
fn a_tunnel_has_a_port_of_its_own() {
    let tunnels = "[{ type = 'gue' }, { type = 'fou' }, { type = 'gue', port = 6080 }, { type = 'tcp' }]";
    let text = with("checks =", &format!("check = {tunnels}"));
    let config = config(&text);
    let ports: Vec<(&str, u16)> =
        config.checks.iter().map(|check| (check.probe.kind.name(), check.probe.target.port())).collect();
    assert_eq!(ports, [("http", 80), ("gue", 19523), ("fou", 19522), ("gue", 6080), ("tcp", 80)]);
    assert_eq!(config.needs[&Need::Tunnel].to_string(), "f:15:19");
    assert_eq!(warnings(&text), [""; 0]);
}

/// The first place counts, whatever is read first; a check that nobody uses is no reason to ask for anything.
#[test]
fn where_the_first_tunnel_is() {
    let place = |text: &str| config(text).needs.get(&Need::Tunnel).map(ToString::to_string);
    assert_eq!(place(BASE), None);
    let in_place = with("checks =", "check = [{ type = 'fou' }]");
    let named = in_place.replace("[\"web\"]", "[\"web\", \"a\"]") + "[checks.a]\ntype = 'gue'\n";
    assert_eq!(place(&named).as_deref(), Some("f:15:19"));
    let without_backends = in_place.replace("[[service.backend]]\naddress = \"10.1.0.1\"\n", "");
    assert_eq!(place(&without_backends), None);
    let exec = with("type", "path = '/'").replace("\"http\"", "\"gue\"");
    expect_errors(&exec, &["10:1: `path` does not apply to a check of type gue, only to http, https, file"]);
}
