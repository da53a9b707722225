//! The files that are shipped.

use std::collections::BTreeSet;

use super::*;

#[test]
fn the_example_is_valid_and_without_warnings() {
    assert_eq!(warnings(EXAMPLE), [""; 0]);
    assert_eq!(warnings(BASE), [""; 0]);
}

/// Its half of a Herald beside gobgpd; the interop tests run both halves.
#[test]
fn the_example_beside_gobgpd_is_valid() {
    const BESIDE: &str = include_str!("../../../../etc/examples/gobgp/herald.toml");
    assert_eq!(warnings(BESIDE), [""; 0]);
    let bgp = config(BESIDE).bgp.unwrap();
    let [peer] = bgp.peers.as_slice() else { panic!("{:?}", bgp.peers) };
    assert!(peer.is_internal() && peer.session.graceful_restart.is_none());
}

/// The commented check of the example is one, and its port is the default.
#[test]
fn the_tunnel_of_the_example_states_the_default() {
    let commented = "#[checks.tunnel]\n#type = \"gue\"\n#port = 19523\n";
    assert_eq!(EXAMPLE.matches(commented).count(), 1);
    let shown = EXAMPLE.replace(commented, &commented.replace('#', ""));
    let used = |text: &str| {
        let config = config(&text.replace("checks   = [\"script\"]", "checks   = [\"script\", \"tunnel\"]"));
        config.checks.iter().find(|check| check.probe.kind.name() == "gue").unwrap().probe.target
    };
    assert_eq!(used(&shown), used(&shown.replace("port = 19523\n", "")));
}

/// The commented hooks of the example are some, and state the defaults.
#[test]
fn the_hooks_of_the_example_state_the_defaults() {
    let (before, hooks) = EXAMPLE.split_once("[hooks]\n").unwrap();
    let is_key = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let uncommented: String = hooks.lines().filter(is_key).map(|line| format!("{}\n", &line[1..])).collect();
    let shown = format!("{before}[hooks]\n{uncommented}");
    assert_eq!(warnings(&shown), [""; 0]);
    let shown = config(&shown).hooks;
    let [program, server] = &shown.notify[..] else { panic!("{:?}", shown.notify) };
    let plain = "[hooks]\ndata_plane = '/x'\n[[hooks.notify]]\ncommand = '/x'\n";
    let plain = config(&format!("{BASE}{plain}")).hooks;
    for notify in [program, server] {
        let default = &plain.notify[0];
        assert_eq!(
            (&notify.events, notify.timeout, notify.attempts),
            (&default.events, default.timeout, default.attempts)
        );
    }
    let (shown, plain) = (shown.data_plane.unwrap(), plain.data_plane.unwrap());
    assert_eq!((shown.timeout, shown.policy), (plain.timeout, plain.policy));
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
fn the_example_states_the_defaults() {
    let (shown, plain) = (config(EXAMPLE), config(BASE));
    // But for the page, which is nowhere unless somebody says where.
    assert_eq!(shown.daemon.http_listen, ["127.0.0.1:9179".parse().unwrap()]);
    assert_eq!(crate::config::Daemon { http_listen: Vec::new(), ..shown.daemon }, plain.daemon);
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

/// Both ways into GLB's tables, with the tables.
#[test]
fn the_examples_of_glb_are_valid() {
    const TABLE: &str = include_str!("../../../../etc/examples/glb/forwarding_table.src.json");
    const LEGACY: &str = include_str!("../../../../etc/examples/glb/healthcheck.conf");
    const OWN: &str = include_str!("../../../../etc/examples/glb/herald.toml");
    let texts = Texts::from_iter(
        [("/etc/glb/forwarding_table.src.json", TABLE), ("/etc/glb/healthcheck.conf", LEGACY)]
            .map(|(path, text)| (path.into(), Ok(source(path, text)))),
    );
    for text in [OWN, "[glb]\nconfig = \"/etc/glb/healthcheck.conf\"\n"] {
        let config = parse_with(&[source("f", text)], &texts).unwrap();
        assert_eq!(config.warnings, []);
        assert_eq!((config.services.len(), config.vips.len()), (4, 3));
        let (glb, gobgp) = (config.glb.unwrap(), config.gobgp.unwrap());
        assert_eq!(glb.reload_command.as_deref(), Some("systemctl reload glb-director"));
        assert_eq!((gobgp.api.to_string().as_str(), gobgp.live.attributes.communities.len()), ("127.0.0.1:50051", 1));
    }
}

/// Sections of herald.toml(5), and the tables that each is of.
const MANUAL: [(&str, &[&schema::Schema]); 23] = [
    ("The file", &[&schema::ROOT]),
    ("[daemon]", &[&schema::DAEMON]),
    ("[bgp]", &[&schema::BGP]),
    ("[bgp.graceful_restart]", &[&schema::GRACEFUL_RESTART]),
    ("[[bgp.peer]] and [bgp.group.NAME]", &[&schema::PEER]),
    ("export of a peer and of [gobgp]", &[&schema::EXPORT, &schema::EXPORT_ENTRY, &schema::EXPORT_RULE]),
    ("[gobgp]", &[&schema::GOBGP]),
    ("[checks.NAME], and check = [{ ... }]", &[&schema::CHECK]),
    (
        "expect and degraded of http and https; patterns; steps",
        &[&schema::EXPECT, &schema::DEGRADING, &schema::PATTERN, &schema::STEP],
    ),
    ("[[service]]", &[&schema::SERVICE]),
    ("[[service.backend]]", &[&schema::BACKEND]),
    ("required of a service", &[&schema::REQUIRED, &schema::REQUIRED_WEIGHT]),
    ("[[vip]] and [vip_defaults]", &[&schema::VIP]),
    ("hold_up and hold_down", &[&schema::HOLD]),
    ("damping", &[&schema::DAMPING]),
    ("[[vip.step]]", &[&schema::STEP_OF_VIP]),
    ("degraded of [[vip]] and [fail_static]", &[&schema::DEGRADED]),
    ("[[aggregate]]", &[&schema::AGGREGATE]),
    ("[fail_static]", &[&schema::FAIL_STATIC]),
    ("[[self_check]]", &[&schema::SELF_CHECK]),
    ("[glb]", &[&schema::GLB]),
    ("[hooks]", &[&schema::HOOKS]),
    ("[[hooks.notify]]", &[&schema::NOTIFY]),
];

#[test]
fn the_manual_has_every_key_and_no_other() {
    const KEYS: &str = include_str!("../../../../packaging/man/herald.toml.keys");
    let mut told: Vec<(&str, BTreeSet<&str>)> = Vec::new();
    for line in KEYS.lines().filter(|line| !line.starts_with(['#', '!'])) {
        if let Some(title) = line.strip_prefix('@') {
            told.push((title, BTreeSet::new()));
            continue;
        }
        let fields: Vec<&str> = line.split('|').collect();
        assert!((4..=5).contains(&fields.len()) && fields.iter().all(|field| !field.is_empty()), "{line}");
        let (title, keys) = told.last_mut().unwrap();
        // Of `expect` and `degraded`, what is in both is told once.
        assert!(keys.insert(fields[0]), "{title}: {} is told twice", fields[0]);
    }
    let known = |schemas: &[&schema::Schema]| schemas.iter().flat_map(|schema| schema.keys).copied().collect();
    let known: Vec<(&str, BTreeSet<&str>)> = MANUAL.map(|(title, schemas)| (title, known(schemas))).into();
    assert_eq!(told, known);
    let of_all = MANUAL.iter().flat_map(|(_, schemas)| *schemas).map(|schema| schema.title);
    let of_all: BTreeSet<&str> = of_all.collect();
    assert_eq!(of_all, schema::ALL.iter().map(|schema| schema.title).collect(), "each table has a section");
}
