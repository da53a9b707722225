//! Differences in the words of operators.

use super::*;
use crate::config::{Source, parse};

const BASE: &str = r#"
[bgp]
local_as = 65001
router_id = "10.0.0.1"

[[bgp.peer]]
name = "a"
address = "10.0.0.2"
peer_as = 65000

[[bgp.peer]]
name = "b"
address = "10.0.0.3"
peer_as = 65000

[checks.web]
type = "tcp"

[[service]]
name = "web"
vips = ["192.0.2.1"]
port = 80
checks = ["web"]
backend = [{ address = "10.1.0.1" }, { address = "10.1.0.2" }]

[[vip]]
address = "192.0.2.1"
med = 50
"#;

fn config(text: &str) -> Config {
    let source = Source { name: "f".into(), text: text.to_owned() };
    parse(&[source]).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"))
}

/// `what name change: details` of all that is not kept.
fn lines(before: &str, after: &str) -> Vec<String> {
    let diff = Diff::new(&config(before), &config(after));
    let all = [
        ("peer", &diff.peers),
        ("service", &diff.services),
        ("vip", &diff.vips),
        ("aggregate", &diff.aggregates),
        ("setting", &diff.settings),
    ];
    let lines = all.iter().flat_map(|(what, entries)| {
        entries
            .iter()
            .filter(|entry| entry.change != Kind::Kept)
            .map(move |entry| format!("{what} {} {}: {}", entry.name, entry.change.name(), entry.details.join("; ")))
    });
    let lines: Vec<String> = lines.collect();
    assert_eq!(lines.is_empty(), diff.is_empty());
    lines
}

#[test]
fn the_same_is_no_difference_and_every_session_is_kept() {
    assert!(lines(BASE, BASE).is_empty());
    let diff = Diff::new(&config(BASE), &config(&format!("# a word\n{BASE}")));
    assert_eq!(
        diff.peers.iter().map(|peer| (&*peer.name, peer.change)).collect::<Vec<_>>(),
        [("a", Kind::Kept), ("b", Kind::Kept)]
    );
}

#[test]
fn each_change_is_named_where_it_is() {
    let with = |from: &str, to: &str| {
        assert!(BASE.contains(from), "{from}");
        BASE.replacen(from, to, 1)
    };
    let peer_a = "address = \"10.0.0.2\"";
    for (after, expected) in [
        (with(peer_a, "address = \"10.0.0.2\"\nhold_time = \"30s\""), "peer a reset: hold_time"),
        (with(peer_a, "address = \"10.0.0.2\"\nmed = 7"), "peer a re-advertised: med"),
        (with(peer_a, "address = \"10.0.0.2\"\ncommunities = [\"65000:1\"]"), "peer a re-advertised: communities"),
        (with("name = \"a\"", "name = \"c\""), "peer a removed: "),
        (with("name = \"a\"", "name = \"c\""), "peer c added: "),
        (
            with("port = 80", "port = 81"),
            "service web changed: port tcp/80 -> tcp/81; backend removed 10.1.0.1:80, 10.1.0.2:80; backend added 10.1.0.1:81, 10.1.0.2:81",
        ),
        (with("port = 80", "port = 80\nrequired = 2"), "service web changed: required 1 -> 2"),
        (with("port = 80", "port = 80\nrequired = \"50%\""), "service web changed: required 1 -> 50%"),
        (with(", { address = \"10.1.0.2\" }", ""), "service web changed: backend removed 10.1.0.2:80"),
        (
            with("{ address = \"10.1.0.2\" }", "{ address = \"10.1.0.2\", weight = 5 }, { address = \"10.1.0.3\" }"),
            "service web changed: backend added 10.1.0.3:80; weight 1 -> 5: 10.1.0.2:80",
        ),
        (
            with("type = \"tcp\"", "type = \"tcp\"\ninterval = \"3s\""),
            "service web changed: check web changed (timing) (all backends)",
        ),
        (
            with("type = \"tcp\"", "type = \"tcp\"\nport = 9000"),
            "service web changed: check web changed (what it does) (all backends)",
        ),
        (with("name = \"web\"", "name = \"www\""), "service web removed: "),
        (with("name = \"web\"", "name = \"www\""), "service www added: "),
        (with("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"192.0.2.2\"]"), "service web changed: VIP added 192.0.2.2/32"),
        (with("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"192.0.2.2\"]"), "vip 192.0.2.2/32 added: "),
        (with("med = 50", "med = 60"), "vip 192.0.2.1/32 changed: route med 50 -> med 60"),
        (with("med = 50", ""), "vip 192.0.2.1/32 changed: route med 50 -> plain"),
        (with("med = 50", "med = 50\nhold_up = \"5s\""), "vip 192.0.2.1/32 changed: hold_up 0s -> 5s"),
        (
            with("med = 50", "med = 50\non_down = \"degrade\"\ndegraded = { med = 900 }"),
            "vip 192.0.2.1/32 changed: on_down withdraw -> degrade (med 900)",
        ),
        (format!("{BASE}[[aggregate]]\nprefix = \"192.0.2.0/24\"\nrequired = 1\n"), "aggregate 192.0.2.0/24 added: "),
        (format!("{BASE}[daemon]\nlog = \"debug\"\n"), "setting daemon changed: log info -> debug"),
        (
            format!("{BASE}[daemon]\nhttp_listen = \"127.0.0.1:9179\"\n"),
            "setting daemon changed: http_listen nowhere -> 127.0.0.1:9179",
        ),
        (
            format!("{BASE}[daemon]\nstate_file = \"/tmp/x\"\n"),
            "setting daemon needs restart: state_file /var/lib/herald/state.json -> /tmp/x",
        ),
        (format!("{BASE}[fail_static]\nshare = \"50%\"\n"), "setting fail_static added: "),
        (
            format!(
                "{BASE}[[self_check]]\nname = \"up\"\naddress = \"10.9.9.9\"\ncheck = [{{ type = \"icmp\" }}]\non_failure = \"hold\"\n"
            ),
            "setting self_check up added: ",
        ),
    ] {
        let found = lines(BASE, &after);
        assert!(found.iter().any(|line| line == expected), "{expected}\n{found:#?}");
    }
}

/// Positions in lists are of one configuration: what moves is the same.
#[test]
fn the_order_of_the_file_is_no_difference() {
    let second = "[[service]]\nname = \"mail\"\nvips = [\"192.0.2.9\"]\nport = 25\nbackend = [{ address = \"10.1.0.9\" }]\ncheck = [{ type = \"smtp\" }]\n";
    let depends = "[[vip]]\naddress = \"192.0.2.9\"\ndepends_on = [\"web\"]\n";
    let last = format!("{BASE}{depends}{second}");
    let first = BASE.replacen("[[service]]", &format!("{second}[[service]]"), 1) + depends;
    assert!(lines(&last, &first).is_empty(), "{:?}", lines(&last, &first));
}

#[test]
fn many_backends_are_counted() {
    let list =
        |count: usize| (1..=count).map(|n| format!("{{ address = \"10.1.0.{n}\" }}")).collect::<Vec<_>>().join(", ");
    let after = BASE.replace("{ address = \"10.1.0.1\" }, { address = \"10.1.0.2\" }", &list(50));
    let found = lines(BASE, &after);
    assert!(found[0].ends_with("10.1.0.10:80 and 40 more"), "{found:?}");
    assert_eq!(Diff::new(&config(BASE), &config(&after)).count(), ["1 service changed"]);
}
