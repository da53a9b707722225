//! `herald why`: the causal chain of one VIP.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::age::age;
use super::client::{self, AskError};
use super::status::share;
use super::terminal;
use crate::engine::status::{BackendLine, CheckLine, ServiceLine};
use crate::engine::why::{Why, WhyPeer};
use crate::wall::Timestamp;

/// What `--help` says at the end.
pub(super) const HELP: &str = "\
From the top: what the VIP is doing and why, what holds it, the services on it,
their backends and checks with what they last found (+ passed, - failed, the
latest last), and which peers have its route, with which attributes, or why not.

Of an aggregate: its members, and which of them do not count.

Exit codes: 0 it is announced, 1 it is not, 2 there is no such VIP or aggregate, or
the daemon cannot be reached.

Examples:
  herald why 192.0.2.1
  herald why 192.0.2.0/24
  herald why 2001:db8::1 --json | jq .peers";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A VIP or an aggregate: its address, with its length where that is not a host's
    vip: String,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, socket: &Path) -> ExitCode {
    let answer = client::ask_with(socket, "why", json!({ "target": args.vip })).and_then(|value| {
        let why = Why::deserialize(&value).map_err(|error| AskError::NotUnderstood(error.to_string()))?;
        Ok((value, why))
    });
    let (value, why) = match answer {
        Ok(both) => both,
        Err(error) => {
            super::complain(&format!("herald: {error}"));
            return ExitCode::from(2);
        }
    };
    let text = if args.json { format!("{value}\n") } else { text(&why, terminal::width()) };
    // Whoever does not read has the exit code.
    let _read_or_not = io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(!matches!(&*why.vip.state, "announced" | "degraded" | "frozen")))
}

/// A tree, to be read from the top.
fn text(why: &Why, width: Option<usize>) -> String {
    let mut page = Page { at: why.at, width, text: String::new() };
    let vip = &why.vip;
    // The reason of a suppression has it in its words.
    let until = vip
        .until
        .filter(|_| vip.state != "suppressed")
        .map(|at| format!("; for {} more", page.left(at)))
        .unwrap_or_default();
    page.line(
        0,
        &format!(
            "{} is {} since {} ({}): {}{until}",
            vip.address,
            vip.state,
            vip.since,
            page.since(vip.since),
            vip.reason
        ),
    );
    if let Some(route) = why.route.as_ref().filter(|route| !route.is_empty()) {
        page.line(1, &format!("announced with {route}"));
    }
    if let Some(doubt) = &why.doubt {
        page.line(1, &format!("guard: what has just turned unhealthy is doubted: {doubt}"));
    }
    if let Some(penalty) = why.penalty.filter(|penalty| *penalty >= 1.0) {
        page.line(1, &format!("penalty for its falls: {penalty:.0}"));
    }
    if let Some(healthy) = &why.healthy {
        page.line(1, &format!("healthy: {healthy}"));
    }
    for drain in &why.drains {
        let reason = drain.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let until = drain.until.map(|until| format!(", for {} more", page.left(until))).unwrap_or_default();
        let by = drain.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let age = page.since(drain.since);
        page.line(1, &format!("drain {} since {} ({age}){until}{by}{reason}", drain.target, drain.since));
    }
    for on in &why.depends_on {
        page.line(1, &format!("depends on {}: {}", on.on, on.state));
    }
    if why.vip_policy == "any" && why.services.len() > 1 {
        page.line(1, "any of these services will do");
    }
    why.services.iter().for_each(|service| page.service(service));
    if !why.members.is_empty() {
        page.line(1, "members");
    }
    for member in &why.members {
        let reason = member.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        page.line(2, &format!("{}: {}{reason}", member.address, member.state));
    }
    page.line(1, "peers");
    if why.peers.is_empty() {
        page.line(2, "none");
    }
    why.peers.iter().for_each(|peer| page.peer(peer));
    page.text
}

struct Page {
    at: Timestamp,
    width: Option<usize>,
    text: String,
}

impl Page {
    fn line(&mut self, depth: usize, text: &str) {
        // Nothing fails to be written to a String.
        let line = format!("{:width$}{text}", "", width = depth * 2);
        let _written = writeln!(self.text, "{}", terminal::fold(&line, self.width));
    }

    fn since(&self, at: Timestamp) -> String {
        age(self.at.since_epoch().saturating_sub(at.since_epoch()))
    }

    fn left(&self, at: Timestamp) -> String {
        age(at.since_epoch().saturating_sub(self.at.since_epoch()))
    }

    fn service(&mut self, service: &ServiceLine) {
        let ServiceLine { name, state, since, .. } = service;
        let since = self.since(*since);
        self.line(1, &format!("service {name}: {state} for {since}, {}", share(service)));
        let mut backends: Vec<&BackendLine> = service.backends.iter().collect();
        backends.sort_by_key(|backend| backend.state == "up");
        for backend in backends {
            let sorry = if backend.sorry { " (sorry)" } else { "" };
            let since = self.since(backend.since);
            self.line(2, &format!("{}{sorry}: {} for {since}", backend.address, backend.state));
            let mut checks: Vec<&CheckLine> = backend.checks.iter().collect();
            checks.sort_by_key(|check| check.verdict == "passing");
            checks.into_iter().for_each(|check| self.check(check));
        }
    }

    fn check(&mut self, check: &CheckLine) {
        let mut text = format!("{} ({} {}): {}", check.name, check.kind, check.target, check.verdict);
        let mut add = |words: String| text += &words;
        check.since.iter().for_each(|since| add(format!(" for {}", self.since(*since))));
        if !check.detail.is_empty() {
            add(format!(", {}", check.detail));
        }
        check.failure.iter().for_each(|kind| add(format!(" [{kind}]")));
        if !check.runs.is_empty() {
            add(format!("; runs {}", check.runs));
        }
        let flags = [(check.advisory, "advisory"), (check.stale, "stale"), (check.restored, "from before the restart")];
        flags.iter().filter(|(is, _)| *is).for_each(|(_, word)| add(format!(", {word}")));
        const LATE: Duration = Duration::from_secs(1);
        if Duration::from_micros(check.lag_us) > LATE {
            add(format!(", {:.1}s late", check.lag_us as f64 / 1e6));
        }
        self.line(3, &text);
    }

    fn peer(&mut self, peer: &WhyPeer) {
        let text = match (&peer.attributes, &peer.reason) {
            (Some(attributes), _) => format!("{} has the route: {attributes}", peer.name),
            (None, _) if peer.has_route => format!("{} has the route", peer.name),
            (None, Some(reason)) => format!("{} does not have the route: {reason}", peer.name),
            (None, None) => format!("{} does not have the route", peer.name),
        };
        self.line(2, &text);
    }
}
