//! The page, and what of it is shown.

use super::*;

const JSON: &str = r#"{
    "version": "1.2.3", "at": "2026-01-01T01:00:00.000Z", "started_at": "2026-01-01T00:00:00.000Z",
    "vips": [
        {"address": "192.0.2.1/32", "state": "announced", "since": "2026-01-01T00:56:48.000Z",
         "reason": "all services are up", "services": ["web"], "peers": ["tor-a", "tor-b"]},
        {"address": "192.0.2.20/32", "state": "withdrawn", "since": "2026-01-01T00:59:18.000Z",
         "reason": "service mail is down: 0 of 1 backends available, 1 required", "services": ["mail"], "peers": []},
        {"address": "2001:db8::1/128", "state": "announced", "since": "2026-01-01T00:56:48.000Z",
         "reason": "all services are up", "services": ["web"], "peers": []}
    ],
    "aggregates": [
        {"prefix": "192.0.2.0/24", "state": "withdrawn", "since": "2026-01-01T00:59:18.000Z",
         "reason": "1 of 2 members healthy, 2 required", "healthy": 1, "members": 2, "required": 2, "peers": []},
        {"prefix": "2001:db8::/48", "state": "announced", "since": "2026-01-01T00:56:48.000Z",
         "reason": "1 of 1 member healthy, 1 required", "healthy": 1, "members": 1, "required": 1, "peers": ["tor-a"]}
    ],
    "services": [
        {"name": "web", "up": true, "state": "up", "since": "2026-01-01T00:56:48.000Z", "available": 1, "required": 1,
         "backends": [{"address": "10.1.0.11:8080", "state": "up", "since": "2026-01-01T00:56:48.000Z", "weight": 1,
             "checks": [{"name": "web", "verdict": "passing", "since": null, "detail": "200 OK", "took_us": 812,
                         "streak": 0}]}]},
        {"name": "mail", "up": false, "state": "down", "since": "2026-01-01T00:59:18.000Z", "available": 0,
         "required": 1,
         "backends": [{"address": "10.1.0.12:25", "state": "down", "since": "2026-01-01T00:59:18.000Z", "weight": 1,
             "checks": [{"name": "tcp", "verdict": "failing", "since": null, "detail": "connection refused",
                         "took_us": 90, "streak": 0}]}]}
    ],
    "peers": [
        {"name": "tor-a", "address": "10.99.1.1", "port": 179, "mode": "active", "state": "established", "drained": true,
         "reason": null, "since": "2026-01-01T00:56:47.000Z", "advertised": {"ipv4": 1, "ipv6": 0}, "families": ["ipv4", "ipv6"],
         "extended_next_hop": true, "not_offered": [], "without_next_hop": ["ipv6"], "last_error": null, "last_error_at": null,
          "last_notification": null, "last_notification_at": null, "retry_at": null,
         "established_count": 1, "local_as": 65001, "remote_as": 65000, "remote_id": "10.0.0.9",
         "capabilities": ["multiprotocol ipv4"], "left_out": ["role customer"], "remote_software": null, "remote_hostname": null, "hold_time_s": 9,
         "local_address": "10.99.1.2"},
        {"name": "tor-b", "address": "10.99.1.3", "port": 179, "mode": "both", "state": "active", "drained": false,
         "reason": "waiting for the router to connect", "since": "2026-01-01T00:00:00.000Z", "advertised": {"ipv4": 0, "ipv6": 0}, "families": [],
         "extended_next_hop": false, "without_next_hop": [], "last_error": "cannot connect: connection refused", "last_error_at": null,
          "last_notification": "peer sent Cease/Administrative Shutdown: \"card swap\"", "last_notification_at": null,
         "retry_at": "2026-01-01T01:00:41.500Z", "established_count": 0, "local_as": 65001, "remote_as": null, "remote_id": null,
         "capabilities": [], "left_out": [], "remote_software": null, "remote_hostname": null,
         "hold_time_s": null, "local_address": null}
    ],
    "drains": [
        {"target": "peer/tor-a", "configured": true, "reason": null, "by": null, "since": "2026-01-01T00:56:47.000Z", "until": null},
        {"target": "old", "configured": false, "reason": "new kernel", "by": "alice (uid 0)", "since": "2026-01-01T00:59:18.000Z",
         "until": "2026-01-01T01:30:00.000Z"}
    ],
    "glb": {"source": "/etc/glb/s.json", "destination": "/etc/glb/d.json", "tables": 1, "backends": 3, "healthy": 2,
            "state": "failing", "undecided": 0, "last_written": "2026-01-01T00:59:18.000Z", "last_error": null,
            "last_error_at": null, "last_command": "2026-01-01T00:59:18.000Z", "last_command_error": "exit status 1"},
    "hooks": [
        {"name": "pager", "kind": "command", "failing": false, "queued": 0, "running": 0, "delivered": 3, "failed": 1,
         "coalesced": 0, "dropped": 0, "last_error": "exit status 1", "last_error_at": "2026-01-01T00:30:00.000Z"},
        {"name": "alerts", "kind": "url", "failing": true, "queued": 7, "running": 1, "delivered": 12, "failed": 2,
         "coalesced": 5, "dropped": 1, "last_error": "connection refused", "last_error_at": "2026-01-01T00:59:18.000Z"}
    ],
    "http": [{"address": "127.0.0.1:9179", "ok": true, "error": null},
             {"address": "10.0.0.1:80", "ok": false, "error": "permission denied"}],
    "listen": [{"address": "0.0.0.0:179", "ok": true, "error": null},
               {"address": "[::]:179", "ok": false, "error": "address already in use"}],
    "pool": {"workers": 2, "demand": 2, "busy": 0, "queued": 0, "lag_p99_us": 100, "overdue": 0},
    "config": {"path": "/etc/herald/herald.toml", "loaded_at": "2026-01-01T00:00:00.000Z", "stale": true,
               "failed_at": "2026-01-01T00:59:00.000Z", "errors": ["f:1:2: wrong"], "warnings": []}
}"#;

const PAGE: &str = "\
herald 1.2.3, up 1h00m, /etc/herald/herald.toml
configuration is STALE: the reload 1m00s ago failed; in force is that of 1h00m ago
  f:1:2: wrong
listening on 0.0.0.0:179
not listening on [::]:179: address already in use
no status page on 10.0.0.1:80: permission denied

VIPs: 1 of 3 announced
  192.0.2.20/32    withdrawn     42s  service mail is down: 0 of 1 backends available, 1 required
  2001:db8::1/128  announced   3m12s  no peer has it
  192.0.2.1/32     announced   3m12s  to tor-a, tor-b

Aggregates: 1 of 2 announced
  192.0.2.0/24   withdrawn     42s  1 of 2 members healthy, 2 required
  2001:db8::/48  announced   3m12s  1 of 1 healthy, 1 required; to tor-a

Services: 1 of 2 up
  mail  down          42s  0 of 1 available, 1 required
    10.1.0.12:25  down          42s  tcp: connection refused
  web   up          3m12s  1 of 1 available, 1 required
    10.1.0.11:8080  up          3m12s  web: 200 OK

Peers: 1 of 2 established
  tor-b  10.99.1.3  active        1h00m  both, waiting for the router to connect, cannot connect: connection refused, before: peer sent Cease/Administrative Shutdown: \"card swap\", next attempt in 41s
  tor-a  10.99.1.1  established   3m13s  AS 65000, ipv4 1, ipv6 0, extended next hop, drained, refuses role customer, ipv6 has no next hop: set next_hop_ipv6

Forwarding tables: 2 of 3 backends healthy
  /etc/glb/d.json  failing  written 42s ago
    reload_command failed: exit status 1

Drains:
  peer/tor-a   3m13s
  old            42s  for 30m00s more, not configured, by alice (uid 0), new kernel

Hooks: 1 of 2 working
  alerts     42s  connection refused; 7 waiting, 12 told, 2 given up, 1 dropped
";

#[test]
fn a_restart_says_what_it_waits_for() {
    let wait = r#"{"wait": {"after_restart": true, "until": "2026-01-01T01:00:12.000Z", "undecided": 11,
                   "vips": ["192.0.2.1/32", "192.0.2.2/32"]}, "#;
    let page = |json: &str| Page::new(&serde_json::from_str(json).unwrap(), &Filter::default(), false, None).text();
    let restarted = page(&JSON.replacen('{', wait, 1));
    let line = "restarted: routers keep what they have until 11 VIPs have their first verdicts, 12s at most: \
                192.0.2.1/32, 192.0.2.2/32, ...";
    assert_eq!(restarted.lines().find(|line| line.starts_with("restarted")), Some(line), "{restarted}");
    // A first start waits, too, but no router has anything to keep.
    let first = JSON.replacen('{', &wait.replace("true", "false"), 1);
    assert_eq!(page(&first), PAGE);
    let keeps = "\"graceful_restart\": {\"restart_time_s\": 60, \"notification\": true, \"peer_restarted\": false, \
                 \"peer_restart_time_s\": 120}, \"established_count\": 1";
    let keeps = page(&JSON.replace("\"established_count\": 1", keeps));
    assert!(keeps.contains(", extended next hop, keeps routes for 60s, also after NOTIFICATIONs, "), "{keeps}");
}

#[test]
fn doubts_and_holds_are_in_plain_sight() {
    let more = r#"{
        "guard": {"active": true, "reason": "4 of 5 VIPs turned unhealthy at once", "since": "2026-01-01T00:59:18.000Z",
                  "until": "2026-01-01T01:09:18.000Z", "doubted": 4, "of": "vips"},
        "self_checks": [
            {"name": "loopback", "state": "passing", "since": "2026-01-01T00:56:48.000Z", "on_failure": "withdraw",
             "detail": "connected"},
            {"name": "uplink", "state": "failing", "since": "2026-01-01T00:59:18.000Z", "on_failure": "hold",
             "detail": "timeout"}], "#;
    let json = JSON.replacen('{', more, 1);
    let json = json.replacen(
        r#""state": "announced", "since": "2026-01-01T00:56:48.000Z","#,
        r#""state": "holding", "since": "2026-01-01T00:56:48.000Z", "until": "2026-01-01T01:00:05.000Z","#,
        1,
    );
    let web = r#""available": 1, "required": 1,"#;
    let json = json.replacen(
        web,
        r#""available": 10, "required": 40, "required_up": 60, "required_down": 40, "measure": "weight",
           "counting": 10, "total": 100, "on_sorry": true,"#,
        1,
    );
    let status: Status = serde_json::from_str(&json).unwrap();
    let page = Page::new(&status, &Filter::default(), false, None).text();
    for line in [
        "GUARD: 4 of 5 VIPs turned unhealthy at once; doubted for 42s, 9m18s more at most: 4 VIPs stay announced",
        "Self-checks: 1 of 2 passing",
        "  uplink    failing       42s  timeout (hold while it fails)",
        "  loopback  passing     3m12s  connected",
        "  192.0.2.1/32     holding     3m12s  all services are up; for 5s more",
        "  web   up          3m12s  weight 10 of 100 available, 40 required (to come up: 60); on its sorry backends",
    ] {
        assert!(page.lines().any(|it| it == line), "no {line:?} in\n{page}");
    }
}

/// The well are left out, and not counted either.
#[test]
fn of_trouble_no_share_is_told() {
    let mut status: Status = serde_json::from_str(JSON).unwrap();
    let line = <Line as clap::Parser>::parse_from(["status", "--trouble"]);
    line.args.filter.apply(&mut status);
    let page = Page::new(&status, &line.args.filter, false, None).text();
    assert!(page.contains("\nServices: 1 in need of attention\n  mail  down"), "{page}");
    assert!(!page.contains(" of 2 up"), "{page}");
}

/// One that is still announced and will not be says why.
#[test]
fn what_will_go_says_why() {
    let json = JSON.replacen(
        r#""state": "announced", "since": "2026-01-01T00:56:48.000Z","#,
        r#""state": "announced", "since": "2026-01-01T00:56:48.000Z", "until": "2026-01-01T01:00:05.000Z","#,
        1,
    );
    let json = json.replacen("all services are up", "drained: new kernel", 1);
    let status: Status = serde_json::from_str(&json).unwrap();
    let page = Page::new(&status, &Filter::default(), false, None).text();
    assert!(
        page.contains("  192.0.2.1/32     announced   3m12s  to tor-a, tor-b: drained: new kernel; for 5s more\n"),
        "{page}"
    );
}

#[test]
fn aligned_with_what_needs_attention_first() {
    let status: Status = serde_json::from_str(JSON).unwrap();
    assert_eq!(Page::new(&status, &Filter::default(), false, None).text(), PAGE);
    let coloured = Page::new(&status, &Filter::default(), true, None).text();
    assert!(coloured.contains("\x1b[31mwithdrawn\x1b[0m  ") && coloured.contains("\x1b[33mannounced"), "{coloured}");
}

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// The page that these arguments give, without its head.
fn part(arguments: &[&str]) -> String {
    let line: Line = clap::Parser::parse_from([&["status"], arguments].concat());
    let mut status: Status = serde_json::from_str(JSON).unwrap();
    line.args.filter.apply(&mut status);
    let page = Page::new(&status, &line.args.filter, false, None).text();
    page.split_once("\n\n").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}

#[test]
fn the_exit_code_is_of_vips_or_else_of_peers() {
    for (arguments, expected) in [
        (&[][..], false),
        (&["192.0.2.1"], true),
        (&["192.0.2.20"], false),
        (&["--only", "peers"], false),
        (&["tor-a"], true),
        (&["tor-b"], false),
        (&["tor-b", "--trouble"], false),
        (&["--only", "peers", "tor-a"], true),
        (&["--only", "drains"], true),
        // Every VIP that is shown is announced: what else is down is no outage yet.
        (&["192.0.2.1", "tor-b"], true),
    ] {
        let line: Line = clap::Parser::parse_from([&["status"], arguments].concat());
        let mut status: Status = serde_json::from_str(JSON).unwrap();
        line.args.filter.apply(&mut status);
        assert_eq!(is_well(&status, &line.args.filter), expected, "{arguments:?}");
    }
}

#[test]
fn what_a_router_did_not_offer_is_trouble() {
    let line: Line = clap::Parser::parse_from(["status", "--trouble"]);
    let refused = JSON
        .replace("\"not_offered\": []", "\"not_offered\": [\"ipv6\"]")
        .replace("[\"ipv6\"], \"last_error\"", "[], \"last_error\"");
    let well = refused.replace("\"not_offered\": [\"ipv6\"]", "\"not_offered\": []");
    for (text, is_shown) in [(refused, true), (well, false)] {
        let text = text.replace("\"drained\": true", "\"drained\": false");
        let mut status: Status = serde_json::from_str(&text).unwrap();
        line.args.filter.apply(&mut status);
        let page = Page::new(&status, &line.args.filter, false, None).text();
        assert_eq!(page.contains("the router did not offer ipv6"), is_shown, "{page}");
        assert_eq!(page.lines().any(|line| line.starts_with("  tor-a")), is_shown, "{page}");
    }
}

#[test]
fn a_part_of_it_by_name_by_section_and_by_need() {
    let sections = |page: &str| -> Vec<String> {
        page.lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(head, _)| !head.starts_with(' '))
            .map(|(head, _)| head.to_owned())
            .collect()
    };
    // A service by its name, with the VIPs that it is on.
    let page = part(&["mail"]);
    assert_eq!(sections(&page), ["VIPs", "Services"], "{page}");
    assert!(page.contains("192.0.2.20/32") && page.contains("10.1.0.12:25") && !page.contains("web"), "{page}");
    // A backend alone, by a part of its address.
    let page = part(&["10.1.0.11"]);
    assert_eq!(sections(&page), ["Services"], "{page}");
    assert!(page.contains("10.1.0.11:8080") && !page.contains("10.1.0.12"), "{page}");
    let page = part(&["tor-a", "2001:db8::1"]);
    assert_eq!(sections(&page), ["VIPs", "Peers", "Drains"], "{page}");
    // Sections.
    assert_eq!(sections(&part(&["--only", "peers,drains"])), ["Peers", "Drains"]);
    assert_eq!(part(&["--only", "services", "192.0.2.1"]), "None\n");
    assert_eq!(part(&["--only", "services", "--trouble", "web"]), "None in need of attention\n");
    // What is well is left out.
    let page = part(&["--trouble"]);
    assert_eq!(sections(&page), ["VIPs", "Aggregates", "Services", "Peers", "Drains", "Hooks"], "{page}");
    for well in ["192.0.2.1/32", "2001:db8::/48", "10.1.0.11"] {
        assert!(!page.contains(well), "{well}: {page}");
    }
    for ill in ["192.0.2.20/32", "2001:db8::1/128", "10.1.0.12:25", "tor-b", "tor-a", "alerts"] {
        assert!(page.contains(ill), "{ill}: {page}");
    }
}
