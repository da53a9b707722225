//! Whole sources, and what Herald makes of their translation. Here those of anycast-healthchecker.

mod exabgp;
mod faults;
mod neighbors;

use super::*;
use crate::config::{Config, ProbeKind, Quorum, Required};
use crate::rng::Rng;

fn file(name: &str, text: &str) -> File {
    File { name: name.to_owned(), text: text.to_owned() }
}

fn facts() -> Facts {
    Facts {
        local_as: Some(65001),
        router_id: Some([10, 99, 1, 3].into()),
        next_hop_ipv6: Some("fd00:99:1::2".parse().unwrap()),
        ..Facts::default()
    }
}

fn config(toml: &str) -> Config {
    config::parse(&[Source { name: "f".into(), text: toml.to_owned() }])
        .unwrap_or_else(|errors| panic!("{errors:#?}\n{toml}"))
}

fn anycast(text: &str, facts: &Facts) -> Result<Translation, Vec<String>> {
    let files = [file("f", text)];
    translate("anycast-healthchecker", &files, |draft| anycast::translate(&files, facts, draft))
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// A service that says no more than it must.
const SERVICE: &str = "[web]\ncheck_cmd = /bin/true\nip_prefix = 192.0.2.1\n";

#[test]
fn defaults_are_those_of_the_program() {
    let translation = anycast(SERVICE, &facts()).unwrap();
    assert_eq!((translation.refused.len(), translation.errors.len(), translation.gaps.len()), (0, 0, 0));
    let config = config(&translation.toml);
    let check = &config.checks[0];
    let timing = check.timing;
    assert_eq!((timing.interval.as_secs(), timing.timeout.as_secs(), timing.rise, timing.fall), (10, 2, 2, 2));
    let ProbeKind::Exec(exec) = &check.probe.kind else { panic!("{check:?}") };
    assert_eq!(exec.command, ["/bin/true"]);
    let vip = config.vips.values().next().unwrap();
    assert!(vip.require_address && vip.bind.is_none());
    // A check is disabled where nobody says otherwise, and its address is not announced.
    assert!(!config.services[0].backends[0].enabled);
}

#[test]
fn services_come_out_as_meant() {
    let read = |more: &str| config(&anycast(&format!("{SERVICE}{more}"), &facts()).unwrap().toml);
    let on =
        read("check_disabled = false\ncheck_interval = 0.5\ncheck_timeout = .25\ncheck_rise = 5\ncheck_fail = 1\n");
    assert!(on.services[0].backends[0].enabled);
    let timing = on.checks[0].timing;
    assert_eq!((timing.interval.as_millis(), timing.timeout.as_millis(), timing.rise, timing.fall), (500, 250, 5, 1));
    let always = read("on_disabled = advertise\n");
    assert_eq!(always.services[0].required, Quorum::from(Required::Backends(0)));
    assert!(always.checks.is_empty() && !always.vips.values().next().unwrap().require_address);
    assert!(!read("ip_check_disabled = yes\n").vips.values().next().unwrap().require_address);
    let network = config(&anycast("[a]\ncheck_cmd = x\nip_prefix = 192.0.2.0/25\n", &facts()).unwrap().toml);
    assert_eq!(network.vips.keys().next().unwrap().to_string(), "192.0.2.0/25");
    let ProbeKind::Exec(exec) = &network.checks[0].probe.kind else { panic!("{:?}", network.checks) };
    assert_eq!(exec.command, ["/usr/bin/env", "x"]);
}

#[test]
fn faults_have_their_place() {
    for (text, expected) in [
        (
            "[daemon]\nipv4 = true\n",
            "f:1: there is no service in these files: name those of anycast-healthchecker.d, too",
        ),
        ("[a]\nip_prefix = 192.0.2.1\n", "f:1: [a] has no `check_cmd`"),
        ("[a]\ncheck_cmd = x\n", "f:1: [a] has no `ip_prefix`"),
        ("[a]\ncheck_cmd = 'x\nip_prefix = ::1\n", "f:2: `check_cmd`: a quotation has no end"),
        ("[a]\ncheck_cmd = ./x\nip_prefix = ::1\n", "f:2: `check_cmd`: name the program by its absolute path"),
        ("[a]\ncheck_cmd =\nip_prefix = ::1\n", "f:2: `check_cmd` is empty"),
        (
            "[a]\ncheck_cmd = x\nip_prefix = 192.0.2.1/24\n",
            "f:3: `ip_prefix`: 192.0.2.1/24 has bits set beyond its length",
        ),
        ("[a]\ncheck_cmd = x\nip_prefix = web\n", "f:3: `ip_prefix` is neither an address nor a prefix"),
        (
            "[a]\ncheck_cmd = x\nip_prefix = ::1\ncheck_interval = 1s\n",
            "f:4: `check_interval` is not a number of seconds",
        ),
        ("[a]\ncheck_cmd = x\nip_prefix = ::1\ncheck_rise = 0\n", "f:4: `check_rise` is not a number from 1"),
        (
            "[a]\ncheck_cmd = x\nip_prefix = ::1\non_disabled = stay\n",
            "f:4: `on_disabled` is neither \"withdraw\" nor \"advertise\"",
        ),
        (
            "[a]\ncheck_cmd = x\nip_prefix = ::1\ncheck_disabled = maybe\n",
            "f:4: `check_disabled` is neither true nor false",
        ),
        ("a = 1\n", "f:1: this is in no section: [DEFAULT], [daemon] or that of a service"),
    ] {
        let left_out = if text.contains("[a]") { ", so [a] is left out" } else { "" };
        assert_eq!(anycast(text, &facts()).unwrap_err(), [format!("{expected}{left_out}")], "{text}");
    }
}

/// What is wrong takes no more with it than it must.
#[test]
fn the_rest_is_translated() {
    for (odd, expected) in [
        (
            "[b]\ncheck_cmd = x\nip_prefix = 192.0.2.1/32\n",
            "f:4: 192.0.2.1/32 is the address of [web], too (f:1), so [b] is left out",
        ),
        ("[b]\ncheck_cmd = x\n", "f:4: [b] has no `ip_prefix`, so [b] is left out"),
        ("[daemon]\nloglevel = loud\n", "f:5: `loglevel` is not a level: debug, info, warning, error or critical"),
        ("[daemon]\nprometheus_exporter = maybe\n", "f:5: `prometheus_exporter` is neither true nor false"),
        ("odd\n", "f:4: this is neither a section nor `key = value`"),
        ("ip_prefix = ::1\n", "f:4: `ip_prefix` is twice in this section"),
    ] {
        let translation = anycast(&format!("{SERVICE}{odd}"), &facts()).unwrap();
        assert_eq!(translation.refused, [expected], "{odd}");
        assert!(translation.toml.contains(&format!("# NOT TRANSLATED: {expected}\n")), "{}", translation.toml);
        let config = config(&translation.toml);
        assert_eq!(config.vips.keys().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1/32"], "{odd}");
    }
}

#[test]
fn keys_that_nobody_knows_are_told() {
    let text = format!(
        "[DEFAULT]\nhome = /x\nodd = 1\n[daemon]\nbird_config = /x\n{SERVICE}check_fall = 2\nbird_conf = %(home)s\n"
    );
    let translation = anycast(&text, &facts()).unwrap();
    let expected = ["f:3: `odd`", "f:5: `bird_config`", "f:9: `check_fall`", "f:10: `bird_conf`"];
    let expected = expected.map(|start| format!("{start} is no key of anycast-healthchecker"));
    assert_eq!(translation.refused, expected);
    for line in expected {
        assert!(translation.toml.contains(&format!("# NOT TRANSLATED: {line}\n")), "{}", translation.toml);
    }
    config(&translation.toml);
}

#[test]
fn what_is_missing_is_asked_for() {
    let translation = anycast(SERVICE, &Facts::default()).unwrap();
    assert_eq!(translation.gaps.len(), 2, "{:?}", translation.gaps);
    assert_eq!(translation.errors, [""; 0]);
    let source = Source { name: "f".into(), text: translation.toml };
    let errors: Vec<String> = config::parse(&[source]).unwrap_err().iter().map(ToString::to_string).collect();
    assert!(
        errors.iter().all(|error| error.contains("needs `local_as`") || error.contains("needs `router_id`")),
        "{errors:?}"
    );
}

/// What our parser does not take is said.
#[test]
fn what_herald_does_not_take_is_told() {
    let translation = anycast(&format!("{SERVICE}check_interval = 0.001\n"), &facts()).unwrap();
    assert_eq!(translation.errors.len(), 1, "{:?}", translation.errors);
}

/// Sources with bytes changed, lines lost and lines twice: a fault or a translation, and never a panic; and what is
/// printed is always TOML.
#[test]
fn no_source_makes_it_panic() {
    let mut rng = Rng::new(7);
    let good =
        format!("[DEFAULT]\nx = 5\n[daemon]\nloglevel = info\n{SERVICE}check_timeout = %(x)s\nother = 'a \"b\\c\n");
    for _ in 0..2_000 {
        let text = mangled(&good, &mut rng);
        if let Ok(translation) = anycast(&text, &Facts::default()) {
            toml::from_str::<toml::Table>(&translation.toml).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        }
    }
}

fn mangled(good: &str, rng: &mut Rng) -> String {
    const ODD: &[char] =
        &['\n', ' ', '[', ']', '=', '%', '(', ')', '"', '\'', '\\', '#', '{', '}', ';', '\u{0}', 'é', '0', '-', '/'];
    let mut characters: Vec<char> = good.chars().collect();
    for _ in 0..1 + rng.below(6) {
        let at = rng.below(characters.len() as u64) as usize;
        match rng.below(3) {
            0 => characters[at] = ODD[rng.below(ODD.len() as u64) as usize],
            1 => characters.insert(at, ODD[rng.below(ODD.len() as u64) as usize]),
            _ => drop(characters.drain(at..(at + 1 + rng.below(20) as usize).min(characters.len()))),
        }
        if characters.is_empty() {
            characters.push('x');
        }
    }
    characters.into_iter().collect()
}
