//! `herald status`: everything at a glance, what needs attention first.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;

use super::age::age;
use super::client;
use crate::driver::status::Status;
use crate::engine::status::{BackendLine, PeerLine, ServiceLine, VipLine};
use crate::wall::Timestamp;

/// What `--help` says at its end.
pub(super) const HELP: &str = "\
Exit codes: 0 every VIP is announced, 1 one is not (or no peer has it), 2 the daemon cannot be reached.

Examples:
  herald status
  herald status --json | jq '.vips[] | select(.state != \"announced\")'";

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
    let text = if args.json { format!("{value}\n") } else { Page::new(&status, coloured()).text() };
    // A reader that has gone away (`| head`) does not change the answer.
    let _read_or_not = io::stdout().lock().write_all(text.as_bytes());
    if status.engine.vips.iter().all(is_announced) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Announced in fact: a route that no peer has been told of attracts nobody.
fn is_announced(vip: &VipLine) -> bool {
    vip.state == "announced" && !vip.peers.is_empty()
}

/// How something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mood {
    Bad,
    Unsure,
    Good,
}

impl Mood {
    fn of(state: &str) -> Mood {
        match state {
            "announced" | "up" | "established" | "passing" => Mood::Good,
            "holding" | "undecided" | "disabled" | "connect" | "active" | "opensent" | "openconfirm" => Mood::Unsure,
            _ => Mood::Bad,
        }
    }
}

/// The page as it is written.
struct Page<'a> {
    status: &'a Status,
    coloured: bool,
    text: String,
}

impl<'a> Page<'a> {
    fn new(status: &'a Status, coloured: bool) -> Page<'a> {
        Page { status, coloured, text: String::new() }
    }

    fn text(mut self) -> String {
        self.head();
        self.vips();
        self.services();
        self.peers();
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
                "{head}: the reload{when} failed, what was read {} ago is in force",
                self.since(config.loaded_at)
            ));
            for error in config.errors.iter() {
                self.line(&format!("  {error}"));
            }
        }
        if pool.workers < pool.demand {
            let head = self.paint(Mood::Unsure, "pool is small");
            self.line(&format!("{head}: {} workers, {} in the worst case", pool.workers, pool.demand));
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
                ("announced" | "degraded", []) => "no peer has it".to_owned(),
                ("announced", peers) => format!("to {}", peers.join(", ")),
                ("degraded", peers) => format!("to {}: {}", peers.join(", "), vip.reason),
                _ => vip.reason.clone(),
            };
            let age = self.since(vip.since);
            self.line(&format!("  {:<width$}  {state}  {age:>6}  {why}", vip.address));
        }
    }

    fn services(&mut self) {
        let mut services: Vec<&ServiceLine> = self.status.engine.services.iter().collect();
        let troubled = |service: &ServiceLine| service.backends.iter().map(|backend| Mood::of(&backend.state)).min();
        services.sort_by_key(|service| (Mood::of(&service.state), troubled(service)));
        self.heading("Services", services.iter().filter(|service| service.up).count(), services.len(), "up");
        let width = widest(services.iter().map(|service| service.name.as_str()));
        for service in services {
            let ServiceLine { name, state, available, required, backends, since, .. } = service;
            let state = self.paint(Mood::of(state), &format!("{state:<9}"));
            let (age, of) = (self.since(*since), backends.len());
            self.line(&format!(
                "  {name:<width$}  {state}  {age:>6}  {available} of {of} available, {required} required"
            ));
            let mut backends: Vec<&BackendLine> = backends.iter().collect();
            backends.sort_by_key(|backend| Mood::of(&backend.state));
            let width = widest(backends.iter().map(|backend| backend.address.as_str()));
            for backend in backends {
                self.backend(backend, width);
            }
        }
    }

    fn backend(&mut self, backend: &BackendLine, width: usize) {
        let state = self.paint(Mood::of(&backend.state), &format!("{:<9}", backend.state));
        let mut checks: Vec<_> = backend.checks.iter().collect();
        checks.sort_by_key(|check| Mood::of(&check.verdict));
        let mut words: Vec<String> = Vec::new();
        if backend.weight == 0 {
            words.push("weight 0".to_owned());
        }
        for check in checks {
            words.push(match check.detail.as_str() {
                "" => format!("{}: {}", check.name, check.verdict),
                detail => format!("{}: {detail}", check.name),
            });
        }
        let age = self.since(backend.since);
        self.line(&format!("    {:<width$}  {state}  {age:>6}  {}", backend.address, words.join("; ")));
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
            if peer.state == "established" {
                words.extend(peer.remote_as.map(|asn| format!("AS {asn}")));
                let told = peer.families.iter();
                words.extend(told.map(|family| format!("{family} {}", peer.advertised.get(family).unwrap_or(&0))));
            } else {
                words.extend(peer.last_error.clone());
            }
            words.extend(
                peer.without_next_hop.iter().map(|family| format!("{family} has no next hop: set next_hop_{family}")),
            );
            let age = self.since(peer.since);
            let (name, address) = (&peer.name, &peer.address);
            self.line(&format!("  {name:<width$}  {address:<address_width$}  {state}  {age:>6}  {}", words.join(", ")));
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

    fn paint(&self, mood: Mood, text: &str) -> String {
        let colour = match mood {
            _ if !self.coloured => return text.to_owned(),
            Mood::Bad => 31,
            Mood::Unsure => 33,
            Mood::Good => 32,
        };
        format!("\x1b[{colour}m{text}\x1b[0m")
    }

    fn line(&mut self, text: &str) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.text, "{}", text.trim_end());
    }
}

fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0)
}
