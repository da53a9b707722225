//! The keys of checks that talk over TCP.

use super::*;
use crate::config::{AgentProbe, ProxyHeader, Step, TcpProbe};

fn tcp(check: &str) -> TcpProbe {
    match kind(check) {
        ProbeKind::Tcp(tcp) => tcp,
        other => panic!("{other:?}"),
    }
}

fn expect(text: &str) -> Step {
    Step::Expect { pattern: Pattern::Contains(text.into()), refusal: None, enough: None }
}

#[test]
fn one_step_or_many() {
    assert_eq!(tcp("type = 'tcp'"), TcpProbe::CONNECT);
    let one = tcp("type = 'tcp'\nsend = \"PING\\r\\n\"\nexpect = '+PONG'\nmax_reply = 100\nproxy_protocol = 'v2'");
    assert_eq!(one.steps, [Step::Send(b"PING\r\n".to_vec()), expect("+PONG")]);
    assert_eq!((one.max_reply, one.proxy), (100, Some(ProxyHeader::V2)));
    let many = tcp(
        "type = 'tcp'\nsteps = [{ expect = '220 ' }, { send_hex = '51 0a', expect = { hex = '0aff' } }, { send = 'x' }]",
    );
    let binary = Step::Expect { pattern: Pattern::Contains(vec![0x0a, 0xff]), refusal: None, enough: None };
    assert_eq!(many.steps, [expect("220 "), Step::Send(vec![0x51, 0x0a]), binary, Step::Send(b"x".to_vec())]);
    let tls = tcp("type = 'tcp'\ntls = true\nverify = false");
    assert!(tls.tls.is_some_and(|profile| !profile.verify));
}

#[test]
fn what_makes_no_conversation() {
    for (check, fault) in [
        ("type = 'tcp'\nsteps = []", "`steps` must have 1 to 32 entries"),
        ("type = 'tcp'\nsteps = [{}]", "a step needs `send`, `send_hex` or `expect`"),
        ("type = 'tcp'\nsteps = [{ expect = 'x' }]\nsend = 'y'", "`send` and `steps` exclude each other"),
        ("type = 'tcp'\nsend = 'x'\nsend_hex = '00'", "`send` and `send_hex` exclude each other"),
        ("type = 'tcp'\nsend_hex = '0'", "`send_hex` must be pairs of hexadecimal digits, not `0`"),
        ("type = 'tcp'\nsend = ''", "`send` must not be empty"),
        ("type = 'tcp'\nexpect = { text = 'x', hex = '00' }", "`expect` takes one of `text`, `hex` and `regex`"),
        ("type = 'tcp'\nexpect = { regex = '(' }", "`regex` is not a regular expression: "),
        ("type = 'tcp'\nmax_reply = 0", "`max_reply` must be from 1 to 1048576, not 0"),
        ("type = 'tcp'\nproxy_protocol = 'v3'", "`proxy_protocol` must be \"v1\" or \"v2\""),
        ("type = 'tcp'\nverify = false", "`verify` does nothing without `tls = true`"),
        ("type = 'redis'\nexpect = 'x'", "`expect` does not apply to a check of type redis"),
        ("type = 'mysql'\ntls = true", "`tls` does not apply to a check of type mysql"),
        ("type = 'agent'\nunreachable = 'pass'", "`unreachable` must be \"fail\" or \"ignore\""),
    ] {
        let errors = errors_of(&[source("f", &with_check(check))]);
        assert!(errors.len() == 1 && errors[0].contains(fault), "{check}: {errors:?}");
    }
}

#[test]
fn presets_and_agents() {
    for name in ["smtp", "redis", "mysql", "postgres", "ldap"] {
        let probe = tcp(&format!("type = '{name}'\nproxy_protocol = 'v1'"));
        assert!(probe.name == name && probe.steps.len() >= 2 && probe.proxy == Some(ProxyHeader::V1));
    }
    let agent = AgentProbe { send: b"hi\n".to_vec(), ignore_unreachable: true };
    assert_eq!(kind("type = 'agent'\nsend = \"hi\\n\"\nunreachable = 'ignore'"), ProbeKind::Agent(agent));
}
