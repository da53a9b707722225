//! What all checks have in common: targets, ways out, thresholds, and how a backend combines them.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::config::{CheckRef, Combine, Egress, FailureKind, OnStale, ProbeKind, Timing, Window};

/// A configuration with two services of a backend each; these lines are in the check, the first service and its backend.
fn text(check: &str, service: &str, backend: &str) -> String {
    format!(
        "[checks.web]\ntype = 'tcp'\n{check}\n[[service]]\nname = 'web'\nvips = ['192.0.2.1', '2001:db8::1']\nport = 443\n\
         checks = ['web']\n{service}\n[[service.backend]]\naddress = '10.1.0.1'\nport = 8443\n{backend}\n\
         [[service]]\nname = 'other'\nvips = ['192.0.2.2']\nport = 80\nchecks = []\n"
    )
}

fn read(text: &str) -> Config {
    parse(&[Source { name: "f".into(), text: text.to_owned() }]).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"))
}

fn timing(lines: &str) -> Timing {
    read(&text(lines, "", "")).checks[0].timing
}

#[test]
fn thresholds_and_intervals() {
    let second = Duration::from_secs(1);
    let found = timing(
        "interval = '2s'\ndown_interval = '10s'\njitter = '100ms'\nwindow = '4 of 5'\nconclusive = ['refused', 'tls']\n\
         tripwire = true\non_stale = 'fail'",
    );
    assert_eq!((found.down_interval, found.jitter), (10 * second, second / 10));
    assert_eq!(found.window, Some(Window { passes: 4, of: 5 }));
    assert!(found.tripwire && found.on_stale == OnStale::Fail);
    let kinds = FailureKind::ALL.map(|kind| found.conclusive.contains(kind));
    assert_eq!(kinds, [true, false, false, false, false, true, false, false]);
    assert_eq!(timing("interval = '2s'").down_interval, 2 * second);
    for (lines, fault) in [
        ("window = '5 of 4'", "`window` must be such as \"4 of 5\", of at most 64, not `5 of 4`"),
        ("window = '0 of 4'", "`window` must be such as \"4 of 5\", of at most 64, not `0 of 4`"),
        ("window = '4 of 65'", "`window` must be such as \"4 of 5\", of at most 64, not `4 of 65`"),
        ("window = '4 of 5'\nrise = 2", "`rise` and `window` exclude each other"),
        ("jitter = '1s'", "`jitter` must be shorter than `interval`"),
        ("conclusive = ['refuse']", "did you mean `refused`?"),
        ("on_stale = 'drop'", "`on_stale` must be \"keep\" or \"fail\", not `drop`"),
    ] {
        let errors = parse(&[Source { name: "f".into(), text: text(lines, "", "") }]).unwrap_err();
        assert!(errors.len() == 1 && errors[0].message.contains(fault), "{lines}: {errors:?}");
    }
}

/// What is dialled, and how.
fn probes(text: &str) -> Vec<(SocketAddr, Egress)> {
    read(text).checks.iter().map(|check| (check.probe.target, check.probe.egress.clone())).collect()
}

#[test]
fn the_target_is_the_backend_the_vip_or_an_address() {
    let plain = Egress::default();
    let at = |address: &str| (address.parse::<SocketAddr>().unwrap(), plain.clone());
    assert_eq!(probes(&text("", "", "")), [at("10.1.0.1:8443")]);
    assert_eq!(probes(&text("port = 9", "", "")), [at("10.1.0.1:9")]);
    assert_eq!(probes(&text("target = '10.9.9.9'", "", "")), [at("10.9.9.9:8443")]);
    let marked = Egress { mark: Some(7), ..plain.clone() };
    let vip = |address: &str| (address.parse::<SocketAddr>().unwrap(), marked.clone());
    assert_eq!(
        probes(&text("target = 'vip'", "", "mark = 7")),
        [vip("192.0.2.1:443"), vip("[2001:db8::1]:443")],
        "every VIP, at the service's port"
    );
    for (lines, fault) in [
        ("target = 'www.example.net'", "Herald does not resolve names"),
        ("target = 'vips'", "did you mean `vip`?"),
        ("target = '224.0.0.1'", "multicast"),
    ] {
        let errors = parse(&[Source { name: "f".into(), text: text(lines, "", "") }]).unwrap_err();
        assert!(errors.len() == 1 && errors[0].message.contains(fault), "{lines}: {errors:?}");
    }
    let warnings =
        |text: &str| read(text).warnings.iter().filter(|warning| warning.message.contains("perhaps this host")).count();
    assert_eq!(warnings(&text("target = 'vip'", "", "")), 1);
    assert_eq!(warnings(&text("target = 'vip'\ninterface = 'vrf-a'", "", "")), 0);
    assert_eq!(warnings(&text("target = 'vip'", "", "mark = 7")), 0);
    let wide = text("target = 'vip'", "", "").replace("'2001:db8::1'", "'2001:db8::/64'");
    expect_place(&wide, "`2001:db8::/64` is not one address");
}

fn expect_place(text: &str, fault: &str) {
    let errors = parse(&[Source { name: "f".into(), text: text.to_owned() }]).unwrap_err();
    assert!(errors.len() == 1 && errors[0].message.contains(fault), "{errors:?}");
}

#[test]
fn the_way_out_is_the_backends_before_the_checks() {
    let check = "source = ['10.0.0.9', 'fd00::9']\ninterface = 'eth1'\nmark = 1\ndscp = 46";
    let of = |backend: &str| probes(&text(check, "", backend)).remove(0).1;
    let egress = Egress {
        source: Some("10.0.0.9".parse().unwrap()),
        interface: Some("eth1".into()),
        mark: Some(1),
        dscp: Some(46),
    };
    assert_eq!(of(""), egress);
    assert_eq!(
        of("mark = 2\ninterface = 'vrf-a'"),
        Egress { mark: Some(2), interface: Some("vrf-a".into()), ..egress.clone() }
    );
    // An address of the other family says nothing about this one.
    assert_eq!(of("source = 'fd00::8'"), egress);
    assert_eq!(egress.traffic_class(), Some(0xb8));
    expect_place(&text("dscp = 64", "", ""), "`dscp` must be");
    expect_place(&text("source = ['10.0.0.9', '10.0.0.8']", "", ""), "one address per family");
}

#[test]
fn how_checks_combine() {
    let with =
        |service: &str, backend: &str| text("", &format!("check = [{{ type = 'tcp', port = 1 }}]\n{service}"), backend);
    let combine = |text: &str| read(text).services[0].backends[0].combine;
    assert_eq!(combine(&with("", "")), Combine::All);
    assert_eq!(combine(&with("combine = 'any'", "")), Combine::AtLeast(1));
    assert_eq!(combine(&with("combine = 'any'", "combine = '2 of 2'")), Combine::AtLeast(2));
    assert_eq!(combine(&with("combine = '67%'", "")), Combine::Percent(67));
    expect_place(&with("combine = '2 of 3'", ""), "`combine` speaks of 3 checks, but 2 of this backend's count");
    for wrong in ["most", "0%", "101%", "3 of 2", "2/3"] {
        expect_place(&with(&format!("combine = '{wrong}'"), ""), "`combine` must be");
    }
    let advisory = with("combine = '1 of 1'", "").replace("port = 1 }", "port = 1, advisory = true }");
    let checks = read(&advisory).services[0].backends[0].checks.clone();
    assert_eq!(checks.iter().map(|CheckRef { advisory, .. }| *advisory).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn aliases_name_services_and_never_go_in_circles() {
    let alias =
        |of: &str| text(&format!("[checks.dep]\ntype = 'alias'\nservice = '{of}'"), "", "checks = ['web', 'dep']");
    let config = read(&alias("other"));
    assert!(matches!(&config.checks[1].probe.kind, ProbeKind::Alias(name) if &**name == "other"));
    expect_place(&alias("othr"), "there is no service `othr`; did you mean `other`?");
    expect_place(&alias("web"), "a service must not depend on itself: `web` on `web`");
    let both = alias("other").replace(
        "checks = []\n",
        "check = [{ type = 'alias', service = 'web' }]\n[[service.backend]]\naddress = '10.1.0.2'\n",
    );
    expect_place(&both, "a service must not depend on itself: `other` on `web` on `other`");
    expect_place(
        &alias("other").replace("service = 'other'", "service = 'other'\ninterval = '1s'"),
        "`interval` does not apply",
    );
}

#[test]
fn a_file_that_disables_a_service() {
    let config = read(&text("", "disable_file = '/run/herald/web.disabled'", ""));
    let check = config.services[0].disable.unwrap();
    assert!(matches!(&config.checks[check].probe.kind, ProbeKind::File(file) if !file.absent));
    assert_eq!(config.services[1].disable, None);
    expect_place(&text("", "disable_file = 'web.disabled'", ""), "`disable_file` must be an absolute path");
}

#[test]
fn bfd_is_known_and_not_there_yet() {
    expect_place(&text("", "", "check = [{ type = 'bfd' }]"), "checks of type bfd are not supported by this version");
}
