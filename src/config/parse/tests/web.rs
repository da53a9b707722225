//! The keys of `http`, `https`, `tls`, `grpc`, `exec` and `file` checks, beyond what the example has.

use std::time::Duration;

use super::*;
use crate::config::{ExitCodes, FileRole, HttpProbe, HttpVersion, Weight};

fn http(check: &str) -> HttpProbe {
    match kind(check) {
        ProbeKind::Http(http) => http,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_and_expectations() {
    assert_eq!(http("type = 'http'"), HttpProbe::get());
    let probe = http(
        "type = 'http'\nhttp_version = '1.0'\nmethod = 'POST'\nbody = 'x'\n\
         expect = { header = { X-A = 'b', X-C = true, X-D = { regex = '^e' } }, json = { '/f' = 1, '/g' = 1.5, '' = 'h', '/i' = false } }\n\
         degraded = { status = [429], header = { X-J = true }, weight = '25%' }",
    );
    assert_eq!((probe.version, probe.content.as_slice()), (HttpVersion::Http10, &b"x"[..]));
    let names: Vec<_> = probe.header.iter().map(|wanted| (wanted.name.as_str(), wanted.value.is_some())).collect();
    assert_eq!(names, [("x-a", true), ("x-c", false), ("x-d", true)]);
    let json: Vec<_> = probe.json.iter().map(|wanted| (wanted.pointer.as_str(), wanted.value.as_str())).collect();
    assert_eq!(json, [("/f", "1"), ("/g", "1.5"), ("", "\"h\""), ("/i", "false")]);
    let degraded = probe.degraded.unwrap();
    assert_eq!((degraded.status.len(), degraded.header.len(), degraded.weight), (1, 1, Weight::Percent(25)));
    let digest = http(&format!("type = 'http'\nexpect = {{ body_sha256 = '{}' }}", "0f".repeat(32))).digest.unwrap();
    assert_eq!(digest, [0x0f; 32]);
}

#[test]
fn certificates_of_both_sides() {
    let text = with_check(
        "type = 'tls'\nhost = 'www.example.net'\nmin_validity = '14days'\nclient_certificate = '/c'\nclient_key = '/k'",
    );
    let config = config(&text);
    let ProbeKind::Tls(profile) = &config.checks[0].probe.kind else { panic!() };
    assert_eq!(profile.server_name.as_deref(), Some("www.example.net"));
    assert_eq!(profile.min_validity, Some(Duration::from_secs(14 * 86_400)));
    let roles: Vec<_> = config.references.iter().map(|named| named.role).collect();
    assert_eq!(roles, [FileRole::ClientCertificate, FileRole::ClientKey]);
}

#[test]
fn programs_and_files() {
    let exec = |more: &str| match kind(&format!("type = 'exec'\ncommand = ['/bin/true']\n{more}")) {
        ProbeKind::Exec(exec) => exec,
        other => panic!("{other:?}"),
    };
    assert_eq!(exec("").exit_codes, ExitCodes::Plain);
    assert_eq!(exec("exit_codes = 'nagios'").exit_codes, ExitCodes::Nagios(50));
    assert_eq!(exec("exit_codes = 'nagios'\ndegraded_weight = '10%'").exit_codes, ExitCodes::Nagios(10));
    assert_eq!(exec("exit_codes = 'weight'\nuser = 'nobody'").user.as_deref(), Some("nobody"));
    let timing = config(&with_check("type = 'file'\npath = '/x'")).checks[0].timing;
    assert_eq!((timing.rise, timing.fall), (1, 1));
}

#[test]
fn what_is_wrong_with_them() {
    for (check, fault) in [
        ("type = 'http'\nhttp_version = '2'", "`http_version` must be \"1.0\" or \"1.1\""),
        ("type = 'http'\nexpect = { json = { status = 'ok' } }", "`status` is not a JSON pointer (RFC 6901)"),
        ("type = 'http'\nexpect = { json = { '/x' = [] } }", "must be a text, a number or a truth value, not a list"),
        ("type = 'http'\nexpect = { body_sha256 = 'abcd' }", "must be the 64 hexadecimal digits of a SHA-256"),
        ("type = 'http'\nexpect = { header = { 'a b' = true } }", "`a b` is not the name of an HTTP header"),
        ("type = 'http'\nexpect = { header = { A = false } }", "`A` must be a text, a pattern or true"),
        ("type = 'http'\ndegraded = {}", "`degraded` of a check needs `status` or `header`"),
        ("type = 'http'\nmethod = 'HEAD'\nexpect = { json = { '/x' = 1 } }", "the answer to HEAD has no body"),
        ("type = 'https'\nclient_key = '/k'", "`client_key` needs `client_certificate`"),
        ("type = 'tls'\nhost = 'a'\nserver_name = 'b'", "`host` and `server_name` are the same"),
        ("type = 'grpc'\nca_file = '/x'", "`ca_file` does nothing without `tls = true`"),
        ("type = 'exec'\ncommand = ['/x']\ndegraded_weight = '5%'", "`degraded_weight` does nothing without"),
        ("type = 'exec'\ncommand = ['/x']\nuser = 'a b'", "`a b` is not the name or number of a user"),
        ("type = 'file'", "a check needs `path`"),
        ("type = 'file'\npath = 'x'", "`path` must be an absolute path"),
        ("type = 'file'\npath = '/x'\nabsent = true\ncontent = 'weight'", "a file that must be absent has no content"),
        ("type = 'icmp'\nmax_loss = '100%'", "`max_loss` must be below \"100%\""),
    ] {
        let errors = errors_of(&[source("f", &with_check(check))]);
        assert!(errors.len() == 1 && errors[0].contains(fault), "{check}: {errors:?}");
    }
}
