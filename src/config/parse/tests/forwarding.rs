//! Files of forwarding tables: what they become, and what is wrong with them.

use std::time::Duration;

use super::glb::{TABLE, with_texts};
use super::*;
use crate::config::{Encapsulation, Protocol, TcpProbe};

/// `TABLE` has backends with these checks, states and so on.
const FULL: &str = r#"{
  "healthchecks": { "interval_ms": 500, "timeout_ms": 200, "trigger": 2 },
  "tables": [
    {
      "name": "web",
      "binds": [
        { "ip": "192.0.2.1", "proto": "tcp", "port": 80 },
        { "ip": "192.0.2.1", "proto": "udp", "port_start": 5000, "port_end": 5999 },
        { "ip": "2001:db8::1", "proto": "tcp", "port": 80 },
        { "ip": "198.51.100.0/24", "proto": "tcp", "port": 443 }
      ],
      "backends": [
        { "ip": "10.0.0.1", "state": "active", "healthchecks": { "http": 8080, "http_uri": "/ok", "tcp": 22 } },
        { "ip": "10.0.0.2", "state": "filling", "healthchecks": { "gue": 19523, "fou": 19522, "http": null } },
        { "ip": "10.0.0.3", "state": "draining", "healthchecks": null },
        { "ip": "10.0.0.4", "state": "inactive", "healthchecks": { "tcp": 22 } }
      ]
    },
    {
      "binds": [{ "ip": "192.0.2.1", "proto": "tcp", "port": 443 }],
      "backends": [{ "ip": "10.0.0.1", "state": "active", "healthchecks": { "tcp": 22, "http": 8080 } }]
    }
  ]
}"#;

fn table_config(json: &str) -> Config {
    with_texts(TABLE, &[("/t", json)]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[track_caller]
fn expect_table_errors(json: &str, expected: &[&str]) {
    let errors = with_texts(TABLE, &[("/t", json)]).map(|_| ()).unwrap_err();
    let expected: Vec<String> = expected.iter().map(|error| format!("/t:{error}")).collect();
    assert_eq!(errors, expected, "in:\n{json}");
}

/// A table whose bind and backend hold these members, each on a line of its own: 1 and 2.
fn small(bind: &str, backend: &str) -> String {
    format!("{{\"tables\":[{{\"binds\":[{{{bind}}}],\n\"backends\":[{{{backend}}}]}}]}}")
}

const BIND: &str = r#""ip":"192.0.2.1","proto":"tcp","port":80"#;
const BACKEND: &str = r#""ip":"10.0.0.1","state":"active""#;

#[test]
fn binds_are_services_and_targets_are_checked_once() {
    let config = table_config(FULL);
    let services: Vec<(&str, String, Protocol, u16, u16)> = config
        .services
        .iter()
        .map(|it| (&*it.name, it.vips[0].to_string(), it.protocol, it.port, it.last_port))
        .collect();
    assert_eq!(
        services,
        [
            ("web:tcp:192.0.2.1:80", "192.0.2.1/32".to_owned(), Protocol::Tcp, 80, 80),
            ("web:udp:192.0.2.1:5000-5999", "192.0.2.1/32".to_owned(), Protocol::Udp, 5000, 5999),
            ("web:tcp:[2001:db8::1]:80", "2001:db8::1/128".to_owned(), Protocol::Tcp, 80, 80),
            ("web:tcp:198.51.100.0_24:443", "198.51.100.0/24".to_owned(), Protocol::Tcp, 443, 443),
            ("table2:tcp:192.0.2.1:443", "192.0.2.1/32".to_owned(), Protocol::Tcp, 443, 443),
        ]
    );
    let vips: Vec<String> = config.vips.keys().map(ToString::to_string).collect();
    assert_eq!(vips, ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128"]);
    assert!(config.services.iter().all(|service| service.required == Required::Backends(1).into()));

    let glb = config.glb.as_ref().unwrap();
    let backends: Vec<(&[usize], bool)> =
        glb.table.backends.iter().map(|backend| (&*backend.checks, backend.inactive)).collect();
    let none: &[usize] = &[];
    // The same target in both tables is one check, but "/ok" and "/" are two.
    assert_eq!(
        backends,
        [(&[0, 1][..], false), (&[2, 3][..], false), (none, false), (none, true), (&[4, 1][..], false)]
    );
    let targets: Vec<String> = config.checks.iter().map(|check| check.probe.target.to_string()).collect();
    assert_eq!(targets, ["10.0.0.1:8080", "10.0.0.1:22", "10.0.0.2:19523", "10.0.0.2:19522", "10.0.0.1:8080"]);
    let kinds: Vec<&ProbeKind> = config.checks.iter().map(|check| &check.probe.kind).collect();
    let ProbeKind::Http(http) = kinds[0] else { panic!() };
    assert_eq!((&*http.path, &*http.status), ("/ok", &[StatusRange { first: 200, last: 200 }][..]));
    let ProbeKind::Http(http) = kinds[4] else { panic!() };
    assert_eq!((&*http.path, http.redirects), ("/", 10));
    assert_eq!(*kinds[1], ProbeKind::Tcp(TcpProbe::CONNECT));
    assert_eq!(*kinds[2], ProbeKind::Tunnel(Encapsulation::Gue));
    assert_eq!(*kinds[3], ProbeKind::Tunnel(Encapsulation::Fou));

    let enabled: Vec<bool> = config.services[0].backends.iter().map(|backend| backend.enabled).collect();
    assert_eq!(enabled, [true, true, true, false]);
    assert!(config.services[0].backends[3].checks.is_empty());
    let addresses: Vec<String> =
        config.services[1].backends.iter().map(|backend| backend.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.1:5000", "10.0.0.2:5000", "10.0.0.3:5000", "10.0.0.4:5000"]);
}

#[test]
fn timing_and_its_defaults() {
    let ms = Duration::from_millis;
    let timing = |healthchecks: &str| {
        let backend = format!("{BACKEND},\"healthchecks\":{{\"tcp\":1}}");
        let json = small(BIND, &backend).replacen('{', &format!("{{\"healthchecks\":{healthchecks},"), 1);
        let timing = table_config(&json).checks[0].timing;
        assert_eq!((timing.rise, timing.fast_interval), (timing.fall, timing.interval));
        (timing.interval, timing.timeout, timing.rise, timing.first_interval)
    };
    let default = (ms(2000), ms(1000), 3, ms(200));
    assert_eq!(timing("null"), default);
    assert_eq!(timing("{}"), default);
    assert_eq!(timing(r#"{"interval_ms":0,"timeout_ms":0,"trigger":0}"#), default);
    assert_eq!(timing(r#"{"interval_ms":null,"timeout_ms":null,"trigger":null}"#), default);
    assert_eq!(timing(r#"{"interval_ms":300,"timeout_ms":20,"trigger":1}"#), (ms(300), ms(20), 1, ms(50)));
    assert_eq!(timing(r#"{"interval_ms":20,"timeout_ms":20}"#), (ms(20), ms(20), 3, ms(20)));
}

#[test]
fn errors_of_the_whole_file() {
    for (json, expected) in [
        ("", "1:1: not valid JSON: EOF while parsing a value"),
        ("{\n  \"tables\": [,]\n}", "2:14: not valid JSON: expected value"),
        ("[]", "1:1: `the file` must be an object, not a list"),
        ("{\n}", "1:1: a forwarding table needs `tables`"),
        ("{\"tables\": null}", "1:1: a forwarding table needs `tables`"),
        ("{\"tables\": {}}", "1:12: `tables` must be a list, not an object"),
        ("{\"tables\": [],\n \"tables\": []}", "2:2: `tables` is given twice"),
        ("{\"tables\":[{\"backends\":[]}]}", "1:12: a table needs `binds`"),
        ("{\"tables\":[{\"binds\":[]}]}", "1:12: a table needs `backends`"),
        (
            "{\"tables\":[],\n\"healthchecks\":{\"interval_ms\":9}}",
            "2:31: `interval_ms` must be from 10 to 86400000, or 0 for 2000",
        ),
        (
            "{\"tables\":[],\n\"healthchecks\":{\"trigger\":10001}}",
            "2:27: `trigger` must be from 0 to 10000, not `10001`",
        ),
        ("{\"tables\":[],\n\"healthchecks\":{\"timeout_ms\":1.5}}", "2:30: `timeout_ms` must be an integer, not `1.5`"),
    ] {
        expect_table_errors(json, &[expected]);
    }
}

#[test]
fn errors_of_binds() {
    for (bind, expected) in [
        (r#""ip":"192.0.2.1","proto":"tcp","port":0"#, "1:61: `port` must be from 1 to 65535, not `0`"),
        (r#""ip":"192.0.2.1","proto":"tcp","port":70000"#, "1:61: `port` must be from 1 to 65535, not `70000`"),
        (r#""ip":"192.0.2.1","proto":"tcp","port":-1"#, "1:61: `port` must be from 1 to 65535, not `-1`"),
        (r#""ip":"192.0.2.1","proto":"tcp","port":"80""#, "1:61: `port` must be an integer, not `\"80\"`"),
        (r#""ip":"192.0.2.1","proto":"tcp""#, "1:22: a bind needs `port`, or `port_start` and `port_end`"),
        (
            r#""ip":"192.0.2.1","proto":"tcp","port_start":1"#,
            "1:22: a bind needs `port`, or `port_start` and `port_end`",
        ),
        (r#""ip":"192.0.2.1","proto":"tcp","port":1,"port_end":2"#, "1:74: `port` and `port_end` exclude each other"),
        (
            r#""ip":"192.0.2.1","proto":"tcp","port_start":9,"port_end":8"#,
            "1:80: `port_end` must not be below `port_start`, 9",
        ),
        (r#""ip":"192.0.2.1","proto":"icmp","port":1"#, "1:48: `proto` must be \"tcp\" or \"udp\", not `icmp`"),
        (r#""proto":"tcp","port":1"#, "1:22: a bind needs `ip`"),
        (r#""ip":"192.0.2.1","port":1"#, "1:22: a bind needs `proto`"),
        (r#""ip":"nowhere","proto":"tcp","port":1"#, "1:28: `ip`: `nowhere` is not an IP address or prefix"),
        (
            r#""ip":"192.0.2.1/24","proto":"tcp","port":1"#,
            "1:28: `ip`: `192.0.2.1/24` has host bits set; the network is `192.0.2.0/24`",
        ),
        (r#""ip":"224.0.0.1","proto":"tcp","port":1"#, "1:28: `ip`: `224.0.0.1/32` is a multicast address"),
    ] {
        expect_table_errors(&small(bind, BACKEND), &[expected]);
    }
}

#[test]
fn errors_of_backends() {
    for (backend, expected) in [
        (
            r#""ip":"10.0.0.1","state":"actve""#,
            "2:38: `state` must be \"active\" or \"filling\" or \"draining\" or \"inactive\", not `actve`; did you mean `active`?",
        ),
        (r#""ip":"10.0.0.1""#, "2:13: a backend needs `state`"),
        (r#""state":"active""#, "2:13: a backend needs `ip`"),
        (r#""ip":"10.0.0.0/8","state":"active""#, "2:19: `ip`: `10.0.0.0/8` is not an IP address"),
        (r#""ip":"::","state":"active""#, "2:19: `ip`: `::` is the unspecified address"),
        (
            r#""ip":"fe80::1","state":"active""#,
            "2:19: `ip`: `fe80::1` is link-local; a backend needs an address with a wider scope",
        ),
        (
            r#""ip":"10.0.0.1","state":"active","healthchecks":{"tcp":0}"#,
            "2:69: `tcp` must be from 1 to 65535, not `0`",
        ),
        (r#""ip":"10.0.0.1","state":"active","healthchecks":[]"#, "2:62: `healthchecks` must be an object, not a list"),
        (
            r#""ip":"10.0.0.1","state":"active"},{"ip":"10.0.0.1","state":"active""#,
            "2:54: backend `10.0.0.1` is in this table, already at /t:2:19",
        ),
        (r#""ip":"10.0.0.1","state":"active","healthy":true,"healthy":false"#, "2:62: `healthy` is given twice"),
    ] {
        expect_table_errors(&small(BIND, backend), &[expected]);
    }
}

#[test]
fn a_native_service_keeps_its_port() {
    let main = format!(
        "{TABLE}[[service]]\nname = 'own'\nvips = ['192.0.2.1']\nport = 80\nchecks = []\n[[service.backend]]\naddress = '10.9.0.1'\n"
    );
    let json = |port: &str| small(&format!(r#""ip":"192.0.2.1","proto":"tcp",{port}"#), BACKEND);
    let errors = with_texts(&main, &[("/t", &json("\"port\":80"))]).unwrap_err();
    assert_eq!(errors, ["/t:1:22: another service has tcp port 80 of VIP `192.0.2.1/32`, already at f:5:9"]);
    let errors = with_texts(&main, &[("/t", &json("\"port_start\":70,\"port_end\":90"))]).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let config = with_texts(&main, &[("/t", &json("\"port\":81"))]).unwrap();
    assert_eq!((config.services.len(), config.vips.len()), (2, 1));
}

#[test]
fn every_bind_has_a_name_of_its_own() {
    let bind = format!("{{{BIND}}}");
    let table = format!("{{\"name\":\" a/b \",\"binds\":[{bind},{bind}],\"backends\":[{{{BACKEND}}}]}}");
    let config = table_config(&format!("{{\"tables\":[{table},{table}]}}"));
    let names: Vec<&str> = config.services.iter().map(|service| &*service.name).collect();
    let name = "a_b:tcp:192.0.2.1:80";
    assert_eq!(names, [name, &format!("{name}#2"), &format!("{name}#3"), &format!("{name}#4")]);
    let bound = config.warnings.iter().filter(|it| it.message.contains("is bound before")).count();
    assert_eq!(bound, 3, "{:?}", config.warnings);
}
