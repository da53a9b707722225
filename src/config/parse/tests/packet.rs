//! The keys of `dns`, `udp` and `ntp`.

use std::time::Duration;

use super::*;
use crate::config::{DnsProbe, DnsTransport, NtpProbe, Rcode, RecordType, UdpProbe};

fn dns(lines: &str) -> DnsProbe {
    match kind(&format!("type = 'dns'\n{lines}")) {
        ProbeKind::Dns(dns) => dns,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(kind: &str, lines: &str, expected: &[&str]) {
    expect_errors(&with_check(&format!("type = '{kind}'\n{lines}")), expected);
}

#[test]
fn a_dns_check_needs_a_name_only() {
    let expected = DnsProbe {
        name: "www.example.net".to_owned(),
        record_type: RecordType::A,
        transport: DnsTransport::Udp,
        recursion: true,
        rcodes: vec![Rcode::NOERROR],
        answers: Vec::new(),
    };
    assert_eq!(dns("query = 'WWW.Example.net.'"), expected);
    assert_eq!(dns("query = '.'\nquery_type = 'NS'").name, ".");
    let all = dns("query = '_sip._tcp.x'\nquery_type = 'srv'\ntransport = 'tcp'\nrecursion = false\n\
                   rcode = ['NXDOMAIN', 'noerror', 'RCODE15']\nanswer = ['1 2 443 H.x.', '0 0 0 .']");
    let expected = DnsProbe {
        name: "_sip._tcp.x".to_owned(),
        record_type: RecordType::SRV,
        transport: DnsTransport::Tcp,
        recursion: false,
        rcodes: vec![Rcode::NOERROR, Rcode::NXDOMAIN, Rcode(15)],
        answers: vec!["0 0 0 .".to_owned(), "1 2 443 h.x".to_owned()],
    };
    assert_eq!(all, expected);
}

#[test]
fn names_are_validated() {
    let longest = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "x".repeat(61));
    assert_eq!(dns(&format!("query = '{longest}.'")).name, longest);
    const LABELS: &str = "is not a domain name: it is made of labels of 1 to 63 letters, digits, `-` and `_`";
    for (name, fault) in [
        ("", LABELS),
        ("..", LABELS),
        ("a..b", LABELS),
        ("a b", LABELS),
        ("*.example.net", LABELS),
        (&"x".repeat(64), LABELS),
        (&format!("{longest}x"), "is not a domain name: it has more than 253 characters"),
        ("bücher.example", "is not a domain name: write it in ASCII, as in xn--… (RFC 5890)"),
        ("192.0.2.1", "is an address: the name of one is asked for with `query_type = \"PTR\"`"),
        ("2001:db8::1", "is an address: the name of one is asked for with `query_type = \"PTR\"`"),
    ] {
        let errors = errors_of(&[source("f", &with_check(&format!("type = 'dns'\nquery = '{name}'")))]);
        let [error] = errors.as_slice() else { panic!("{errors:?}") };
        assert!(error.starts_with("f:10:9: `query`: ") && error.ends_with(fault), "{error}");
    }
    refused("dns", "", &["8:1: a check needs `query`"]);
}

#[test]
fn addresses_are_turned_round() {
    assert_eq!(dns("query = '192.0.2.1'\nquery_type = 'PTR'").name, "1.2.0.192.in-addr.arpa");
    let ipv6 = dns("query = '2001:db8::1'\nquery_type = 'PTR'").name;
    assert_eq!(ipv6, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    assert_eq!(dns("query = '1.2.0.192.in-addr.arpa'\nquery_type = 'PTR'").name, "1.2.0.192.in-addr.arpa");
}

#[test]
fn answers_are_what_records_of_the_type_look_like() {
    for (record_type, given, kept) in [
        ("AAAA", "2001:DB8:0::1", "2001:db8::1"),
        ("NS", "NS1.Example.net.", "ns1.example.net"),
        ("MX", "10  Mail.example.net.", "10 mail.example.net"),
        ("TXT", "v=spf1 \\ -ALL", "v=spf1 \\\\ -ALL"),
        ("SOA", "NS.example.net.", "ns.example.net"),
        ("SOA", "ns.x. admin.x. 1 2 3 4 5", "ns.x admin.x 1 2 3 4 5"),
        ("CAA", "0 ISSUE \"ca.example.net\"", "0 issue ca.example.net"),
        ("CAA", "128 issue ;", "128 issue ;"),
        ("TLSA", "\\# 3 0A 0b0C", "\\# 3 0a0b0c"),
        ("TYPE65280", "\\# 0", "\\# 0"),
    ] {
        let dns = dns(&format!("query = 'x'\nquery_type = '{record_type}'\nanswer = '{given}'"));
        assert_eq!(dns.answers, [kept], "{record_type}");
    }
    for (record_type, given, shape) in [
        ("A", "2001:db8::1", "an IPv4 address"),
        ("AAAA", "192.0.2.1", "an IPv6 address"),
        ("CNAME", "a b", "a domain name"),
        ("MX", "mail.example.net", "such as \"10 mail.example.net\""),
        ("MX", "70000 x", "such as \"10 mail.example.net\""),
        ("SRV", "1 2 x", "such as \"10 20 443 host.example.net\" (priority, weight, port, target)"),
        ("CAA", "0 issue", "such as \"0 issue ca.example.net\""),
        (
            "TYPE65",
            "\\# 2 00",
            "such as \"\\\\# 4 c0000201\": the number of its octets, and these in hexadecimal (RFC 3597)",
        ),
    ] {
        let text =
            with_check(&format!("type = 'dns'\nquery = 'x'\nquery_type = '{record_type}'\nanswer = ['{given}']"));
        let record_type = RecordType::named(record_type).unwrap();
        let expected = format!("12:11: `answer`: a record of type {record_type} is {shape}, not `{given}`");
        expect_errors(&text, &[&expected]);
    }
}

#[test]
fn keys_of_dns_that_are_wrong_say_so() {
    refused(
        "dns",
        "query = 'x'\nquery_type = 'AAAAA'",
        &[
            "11:14: `query_type` must be a type of DNS records such as \"AAAA\", or its number as in \"TYPE65\", not `AAAAA`; did you mean `AAAA`?",
        ],
    );
    refused(
        "dns",
        "query = 'x'\nquery_type = 'TYPE252'",
        &["11:14: `query_type`: there are no records of type TYPE252 in an answer"],
    );
    refused("dns", "query = 'x'\ntransport = 'tls'", &["11:13: `transport` must be \"udp\" or \"tcp\", not `tls`"]);
    refused(
        "dns",
        "query = 'x'\nrcode = 'NXDOMIAN'",
        &["11:9: `rcode` must be a code such as \"NXDOMAIN\", not `NXDOMIAN`; did you mean `NXDOMAIN`?"],
    );
    refused("dns", "query = 'x'\nrcode = []", &["11:9: `rcode` must have 1 to 64 entries"]);
    refused("dns", "query = 'x'\nrcode = 3", &["11:9: `rcode` must be a string, not the integer 3"]);
    refused("dns", "query = 'x'\nrecursion = 1", &["11:13: `recursion` must be true or false, not the integer 1"]);
    refused(
        "dns",
        "query = 'x'\nrcode = 'NXDOMAIN'\nanswer = '192.0.2.1'",
        &["12:1: `answer` does nothing where `rcode` does not have NOERROR"],
    );
    refused(
        "dns",
        "query = 'x'\nquery_type = 'ANY'\nanswer = '192.0.2.1'",
        &["12:1: `answer` needs a `query_type` other than ANY, which is answered as one likes"],
    );
    refused("http", "query = 'x'", &["10:1: `query` does not apply to a check of type http, only to dns"]);
}

#[test]
fn a_datagram_is_sent_and_its_answer_judged() {
    let ProbeKind::Udp(udp) = kind("type = 'udp'") else { panic!("not udp") };
    assert_eq!(udp, UdpProbe { send: Vec::new(), expect: None, wait: Duration::from_millis(200) });
    let ProbeKind::Udp(udp) = kind("type = 'udp'\nsend_hex = '00 ff'\nexpect = { hex = '0a' }") else {
        panic!("not udp")
    };
    assert_eq!((udp.send, udp.expect), (vec![0, 255], Some(Pattern::Contains(vec![10]))));
    let ProbeKind::Udp(udp) = kind("type = 'udp'\nsend = 'x'\nwait = '50ms'") else { panic!("not udp") };
    assert_eq!((udp.send, udp.wait), (b"x".to_vec(), Duration::from_millis(50)));
    refused(
        "udp",
        "expect = 'x'\nwait = '1s'",
        &["11:1: `wait` does nothing with `expect`: the answer ends the check"],
    );
    refused("udp", "send = 'x'\nsend_hex = '00'", &["11:1: `send` and `send_hex` exclude each other"]);
}

#[test]
fn a_clock_has_bounds() {
    let ProbeKind::Ntp(ntp) = kind("type = 'ntp'") else { panic!("not ntp") };
    assert_eq!(ntp, NtpProbe { max_stratum: 15, max_offset: None });
    let ProbeKind::Ntp(ntp) = kind("type = 'ntp'\nmax_stratum = 3\nmax_offset = '100ms'") else { panic!("not ntp") };
    assert_eq!(ntp, NtpProbe { max_stratum: 3, max_offset: Some(Duration::from_millis(100)) });
    refused("ntp", "max_stratum = 16", &["10:15: `max_stratum` must be from 1 to 15, not 16"]);
    refused("ntp", "max_offset = '0s'", &["10:14: `max_offset` must be from 1ms to 86400s, not `0s`"]);
}
