//! `herald status`: everything at a glance, what needs attention first.

mod guard;
mod hooks;
mod services;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;

use super::age::age;
use super::client;
use super::terminal::{self, Mood};
use crate::driver::status::Status;
use crate::engine::aggregate::AggregateLine;
use crate::engine::status::{PeerLine, VipLine};
use crate::wall::Timestamp;

pub(super) use services::share;

/// What `--help` says at its end.
pub(super) const HELP: &str = "\
Exit codes: 0 every VIP is announced, 1 one is not (or no peer has it), 2 the daemon cannot be reached.

Examples:
  herald status
  herald status --json | jq '.vips[] | select(.state != \"announced\")'";

/// Above, lag is shown, in microseconds.
const LAG_SHOWN_US: u64 = 100_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
}

/// Asks the daemon and prints the answer.
pub(super) fn run(args: &Args, socket: &Path) -> ExitCode {
    let answer = client::ask(socket, "status").and_then(|value| {
        let status = Status::deserialize(&value).map_err(|error| client::AskError::NotUnderstood(error.to_string()))?;
        Ok((value, status))
    });
    let (value, status) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            super::complain(&format!("herald: {error}"));
            return ExitCode::from(2);
        }
    };
    let text = if args.json {
        format!("{value}\n")
    } else {
        Page::new(&status, terminal::coloured(), terminal::width()).text()
    };
    // A reader that has gone away (`| head`) does not change the answer.
    let _read_or_not = io::stdout().lock().write_all(text.as_bytes());
    if status.engine.vips.iter().all(is_announced) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Announced in fact: a route that no peer has been told of attracts nobody.
fn is_announced(vip: &VipLine) -> bool {
    vip.state == "announced" && !vip.peers.is_empty()
}

impl Mood {
    fn of(state: &str) -> Mood {
        match state {
            "announced" | "up" | "established" | "passing" => Mood::Good,
            "holding" | "drained" | "undecided" | "disabled" | "connect" | "active" | "opensent" | "openconfirm" => {
                Mood::Unsure
            }
            _ => Mood::Bad,
        }
    }
}

/// The page as it is written.
struct Page<'a> {
    status: &'a Status,
    coloured: bool,
    /// Columns that there are, if somebody looks.
    width: Option<usize>,
    text: String,
}

impl<'a> Page<'a> {
    fn new(status: &'a Status, coloured: bool, width: Option<usize>) -> Page<'a> {
        Page { status, coloured, width, text: String::new() }
    }

    fn text(mut self) -> String {
        self.head();
        self.guard();
        self.vips();
        self.aggregates();
        self.services();
        self.peers();
        self.tables();
        self.drains();
        self.hooks();
        self.text
    }

    fn head(&mut self) {
        let Status { version, started_at, config, pool, .. } = self.status;
        let line = format!("herald {version}, up {}, {}", self.since(*started_at), config.path.display());
        self.line(&line);
        if config.stale {
            let when = config.failed_at.map(|at| format!(" {} ago", self.since(at))).unwrap_or_default();
            let head = self.paint(Mood::Bad, "configuration is STALE");
            self.line(&format!(
                "{head}: the reload{when} failed; in force is that of {} ago",
                self.since(config.loaded_at)
            ));
            for error in config.errors.iter() {
                self.line(&format!("  {error}"));
            }
        }
        for line in &self.status.listen {
            match &line.error {
                None => self.line(&format!("listening on {}", line.address)),
                Some(error) => {
                    let head = self.paint(Mood::Bad, &format!("not listening on {}", line.address));
                    self.line(&format!("{head}: {error}"));
                }
            }
        }
        for line in &self.status.http {
            if let Some(error) = &line.error {
                let head = self.paint(Mood::Bad, &format!("no status page on {}", line.address));
                self.line(&format!("{head}: {error}"));
            }
        }
        if let Some(wait) = self.status.engine.wait.as_ref().filter(|wait| wait.after_restart) {
            let head = self.paint(Mood::Unsure, "restarted");
            let left = wait.until.map(|at| format!(", {} at most", self.left(at))).unwrap_or_default();
            let more = if wait.undecided > wait.vips.len() { ", ..." } else { "" };
            self.line(&format!(
                "{head}: routers keep what they have until {} VIPs have their first verdicts{left}: {}{more}",
                wait.undecided,
                wait.vips.join(", ")
            ));
        }
        if pool.workers < pool.demand {
            let head = self.paint(Mood::Unsure, "pool is small");
            self.line(&format!("{head}: {} workers, {} in the worst case", pool.workers, pool.demand));
        }
        if pool.exec_workers < pool.exec_demand {
            let head = self.paint(Mood::Unsure, "pool for programs is small");
            self.line(&format!("{head}: {} workers, {} in the worst case", pool.exec_workers, pool.exec_demand));
        }
        if pool.hung > 0 {
            let head = self.paint(Mood::Bad, "workers hang");
            self.line(&format!("{head}: {} in the system, replaced by others", pool.hung));
        }
        if pool.lag_p99_us > LAG_SHOWN_US {
            let head = self.paint(Mood::Unsure, "checks are late");
            self.line(&format!("{head}: one in a hundred starts {} ms or more after its time", pool.lag_p99_us / 1000));
        }
    }

    fn vips(&mut self) {
        let mut vips: Vec<&VipLine> = self.status.engine.vips.iter().collect();
        vips.sort_by_key(|vip| (is_announced(vip), Mood::of(&vip.state)));
        let good = vips.iter().filter(|vip| is_announced(vip)).count();
        self.heading("VIPs", good, vips.len(), "announced");
        let width = widest(vips.iter().map(|vip| vip.address.as_str()));
        for vip in vips {
            let mood = if is_announced(vip) { Mood::Good } else { Mood::of(&vip.state).min(Mood::Unsure) };
            let state = self.paint(mood, &format!("{:<9}", vip.state));
            let why = match (vip.state.as_str(), vip.peers.as_slice()) {
                ("announced" | "degraded" | "frozen", []) => "no peer has it".to_owned(),
                ("announced", peers) => format!("to {}", peers.join(", ")),
                ("degraded" | "frozen", peers) => format!("to {}: {}", peers.join(", "), vip.reason),
                _ => vip.reason.clone(),
            };
            // The reason of a suppression has it in its words.
            let until = vip.until.filter(|_| vip.state != "suppressed");
            let until = until.map(|until| format!("; for {} more", self.left(until))).unwrap_or_default();
            let age = self.since(vip.since);
            self.line(&format!("  {:<width$}  {state}  {age:>6}  {why}{until}", vip.address));
        }
    }

    /// Not at all where there are none: few have any.
    fn aggregates(&mut self) {
        let mut aggregates: Vec<&AggregateLine> = self.status.engine.aggregates.iter().collect();
        if aggregates.is_empty() {
            return;
        }
        let is_told = |line: &AggregateLine| line.state == "announced" && !line.peers.is_empty();
        aggregates.sort_by_key(|line| (is_told(line), Mood::of(&line.state)));
        let good = aggregates.iter().filter(|line| is_told(line)).count();
        self.heading("Aggregates", good, aggregates.len(), "announced");
        let width = widest(aggregates.iter().map(|line| line.prefix.as_str()));
        for line in aggregates {
            let mood = if is_told(line) { Mood::Good } else { Mood::of(&line.state).min(Mood::Unsure) };
            let state = self.paint(mood, &format!("{:<9}", line.state));
            let AggregateLine { prefix, healthy, members, required, .. } = line;
            let count = format!("{healthy} of {members} healthy, {required} required");
            let why = match (line.state.as_str(), line.peers.as_slice()) {
                ("announced", []) => format!("{count}; no peer has it"),
                ("announced", peers) => format!("{count}; to {}", peers.join(", ")),
                ("holding", _) => format!("{count}; {}", line.reason),
                _ => line.reason.clone(),
            };
            let age = self.since(line.since);
            self.line(&format!("  {prefix:<width$}  {state}  {age:>6}  {why}"));
        }
    }

    fn peers(&mut self) {
        let mut peers: Vec<&PeerLine> = self.status.engine.peers.iter().collect();
        peers.sort_by_key(|peer| (Mood::of(&peer.state), peer.without_next_hop.is_empty()));
        let good = peers.iter().filter(|peer| peer.state == "established").count();
        self.heading("Peers", good, peers.len(), "established");
        let width = widest(peers.iter().map(|peer| peer.name.as_str()));
        let address_width = widest(peers.iter().map(|peer| peer.address.as_str()));
        for peer in peers {
            let state = self.paint(Mood::of(&peer.state), &format!("{:<11}", peer.state));
            let mut words: Vec<String> = Vec::new();
            words.extend((peer.mode != "active").then(|| peer.mode.clone()));
            if peer.state == "established" {
                words.extend(peer.remote_as.map(|asn| format!("AS {asn}")));
                let told = peer.families.iter();
                words.extend(told.map(|family| format!("{family} {}", peer.advertised.get(family).unwrap_or(&0))));
                words.extend(peer.extended_next_hop.then(|| "extended next hop".to_owned()));
                words.extend(peer.graceful_restart.as_ref().map(|restart| {
                    let notification = if restart.notification { ", also after NOTIFICATIONs" } else { "" };
                    format!("keeps routes for {}s{notification}", restart.restart_time_s)
                }));
            } else {
                words.extend(peer.reason.clone());
                words.extend(peer.last_error.clone());
                // What the router said before it stopped answering is what the operator has to know.
                let said = peer.last_notification.as_ref().filter(|said| peer.last_error.as_ref() != Some(said));
                words.extend(said.map(|said| format!("before: {said}")));
                words.extend(peer.retry_at.map(|at| format!("next attempt in {}", self.left(at))));
            }
            words.extend(peer.drained.then(|| "drained".to_owned()));
            if !peer.left_out.is_empty() {
                words.push(format!("refuses {}", peer.left_out.join(", ")));
            }
            words.extend(
                peer.without_next_hop.iter().map(|family| format!("{family} has no next hop: set next_hop_{family}")),
            );
            let age = self.since(peer.since);
            let (name, address) = (&peer.name, &peer.address);
            self.line(&format!("  {name:<width$}  {address:<address_width$}  {state}  {age:>6}  {}", words.join(", ")));
        }
    }

    /// GLB's; not at all where there are none.
    fn tables(&mut self) {
        let Some(glb) = &self.status.engine.glb else { return };
        self.heading("Forwarding tables", glb.healthy, glb.backends, "backends healthy");
        let mood = match glb.state.as_str() {
            "failing" => Mood::Bad,
            "waiting" | "writing" => Mood::Unsure,
            _ => Mood::Good,
        };
        let state = self.paint(mood, &glb.state);
        let place = glb.destination.as_ref().unwrap_or(&glb.source).display();
        let written = match glb.last_written {
            Some(at) => format!("written {} ago", self.since(at)),
            None if glb.destination.is_some() => "never written".to_owned(),
            None => String::new(),
        };
        self.line(&format!("  {place}  {state}  {written}"));
        // Paths are long, and so are the words of commands.
        let targets = if glb.undecided == 1 { "target" } else { "targets" };
        let undecided = (glb.undecided > 0).then(|| format!("no first verdict yet of {} {targets}", glb.undecided));
        let unwritten = glb.last_error.as_ref().map(|error| format!("cannot be written: {error}"));
        let command = glb.last_command_error.as_ref().map(|error| format!("reload_command failed: {error}"));
        for line in [undecided, unwritten, command].into_iter().flatten() {
            self.line(&format!("    {line}"));
        }
    }

    /// Not at all where there are none.
    fn drains(&mut self) {
        let drains = &self.status.engine.drains;
        if drains.is_empty() {
            return;
        }
        self.line("");
        self.line("Drains:");
        let width = widest(drains.iter().map(|drain| drain.target.as_str()));
        for drain in drains {
            let mut words: Vec<String> = Vec::new();
            words.extend(drain.until.map(|until| format!("for {} more", self.left(until))));
            words.extend((!drain.configured).then(|| "not configured".to_owned()));
            words.extend(drain.reason.clone());
            let age = self.since(drain.since);
            self.line(&format!("  {:<width$}  {age:>6}  {}", drain.target, words.join(", ")));
        }
    }

    fn heading(&mut self, what: &str, good: usize, all: usize, state: &str) {
        let mood = if good == all { Mood::Good } else { Mood::Bad };
        let count = self.paint(mood, &format!("{good} of {all} {state}"));
        self.line("");
        self.line(&format!("{what}: {count}"));
    }

    /// How long ago, by the daemon's clock.
    fn since(&self, at: Timestamp) -> String {
        age(self.status.at.since_epoch().saturating_sub(at.since_epoch()))
    }

    /// How long still, by the daemon's clock.
    fn left(&self, until: Timestamp) -> String {
        age(until.since_epoch().saturating_sub(self.status.at.since_epoch()))
    }

    fn paint(&self, mood: Mood, text: &str) -> String {
        terminal::paint(self.coloured, mood, text)
    }

    fn line(&mut self, text: &str) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.text, "{}", terminal::fold(text, self.width));
    }
}

fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
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
             "extended_next_hop": true, "without_next_hop": ["ipv6"], "last_error": null, "last_error_at": null,
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
            {"target": "peer/tor-a", "configured": true, "reason": null, "since": "2026-01-01T00:56:47.000Z", "until": null},
            {"target": "old", "configured": false, "reason": "new kernel", "since": "2026-01-01T00:59:18.000Z",
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
  old            42s  for 30m00s more, not configured, new kernel

Hooks: 1 of 2 working
  alerts     42s  connection refused; 7 waiting, 12 told, 2 given up, 1 dropped
";

    #[test]
    fn a_restart_says_what_it_waits_for() {
        let wait = r#"{"wait": {"after_restart": true, "until": "2026-01-01T01:00:12.000Z", "undecided": 11,
                       "vips": ["192.0.2.1/32", "192.0.2.2/32"]}, "#;
        let page = |json: &str| Page::new(&serde_json::from_str(json).unwrap(), false, None).text();
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
        let page = Page::new(&status, false, None).text();
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

    #[test]
    fn aligned_with_what_needs_attention_first() {
        let status: Status = serde_json::from_str(JSON).unwrap();
        assert_eq!(Page::new(&status, false, None).text(), PAGE);
        let coloured = Page::new(&status, true, None).text();
        assert!(
            coloured.contains("\x1b[31mwithdrawn\x1b[0m  ") && coloured.contains("\x1b[33mannounced"),
            "{coloured}"
        );
    }
}
