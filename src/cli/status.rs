//! `herald status`: everything at a glance, what needs attention first.

mod filter;
mod guard;
mod hooks;
mod live;
mod services;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::age::age;
use super::client::{self, AskError};
use super::terminal::{self, Mood};
use crate::driver::status::Status;
use crate::engine::aggregate::AggregateLine;
use crate::engine::status::{ALL_UP, PeerLine, VipLine};
use crate::wall::Timestamp;

use filter::{Filter, Section};
pub(super) use services::share;

/// What `--help` says at its end.
pub(super) const HELP: &str = "\
Exit codes: 0 every VIP that is shown is announced, 1 one is not (or no peer has it), 2 the
daemon cannot be reached, or nothing has one of the NAMEs. Where only peers are shown: 0
every one is established, 1 one is not.

Examples:
  herald status
  herald status --trouble --watch
  herald status web 10.1.0.11 --only services
  herald status --json | jq '.vips[] | select(.state != \"announced\")'";

/// Above, lag is shown, in microseconds.
const LAG_SHOWN_US: u64 = 100_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
    /// Show it again and again, every second unless said otherwise, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
}

/// Asks the daemon and prints the answer.
pub(super) fn run(args: &Args, socket: &Path) -> ExitCode {
    if let Some(seconds) = args.watch {
        // It may be away for a while: who watches wants to see it come back.
        let page = || show(args, socket).map_or_else(|error| format!("herald: {error}\n"), |(text, _)| text);
        return live::run(Duration::from_secs(seconds), page);
    }
    let (text, status) = match show(args, socket) {
        Ok(shown) => shown,
        Err(error) => {
            super::complain(&format!("herald: {error}"));
            return ExitCode::from(2);
        }
    };
    if !args.filter.has_found(&status) {
        super::complain("herald: nothing has this in its name or address; see `herald status`");
        return ExitCode::from(2);
    }
    // A reader that has gone away (`| head`) does not change the answer.
    let _read_or_not = io::stdout().lock().write_all(text.as_bytes());
    if is_well(&status, &args.filter) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is to be shown, and of what it is the text.
fn show(args: &Args, socket: &Path) -> Result<(String, Status), AskError> {
    let value = client::ask(socket, "status")?;
    let mut status = Status::deserialize(&value).map_err(|error| AskError::NotUnderstood(error.to_string()))?;
    args.filter.apply(&mut status);
    let text = match (args.json, args.filter.is_open()) {
        // As it came: a daemon of another version may have said more.
        (true, true) => format!("{value}\n"),
        (true, false) => format!("{}\n", serde_json::to_value(&status).unwrap_or_default()),
        (false, _) => Page::new(&status, &args.filter, terminal::coloured(), terminal::width()).text(),
    };
    Ok((text, status))
}

/// Of what is shown the VIPs; or where none were asked for the sessions: one that is down is no news while every route has a way.
fn is_well(status: &Status, filter: &Filter) -> bool {
    let engine = &status.engine;
    if engine.vips.is_empty() && filter.may_be_of_peers() {
        return engine.peers.iter().all(|peer| peer.state == "established");
    }
    engine.vips.iter().all(is_announced)
}

/// Announced in fact: a route that no peer has been told of attracts nobody.
fn is_announced(vip: &VipLine) -> bool {
    vip.state == "announced" && !vip.peers.is_empty()
}

/// A session on which nothing is held back that is not meant to be.
fn gets_everything(peer: &PeerLine) -> bool {
    peer.state == "established" && peer.without_next_hop.is_empty() && peer.not_offered.is_empty()
}

/// Healthy or not: routers have its route.
fn has_route(vip: &VipLine) -> bool {
    ["announced", "degraded", "frozen"].contains(&vip.state.as_str()) && !vip.peers.is_empty()
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
    filter: &'a Filter,
    coloured: bool,
    /// Columns that there are, if somebody looks.
    width: Option<usize>,
    text: String,
}

impl<'a> Page<'a> {
    fn new(status: &'a Status, filter: &'a Filter, coloured: bool, width: Option<usize>) -> Page<'a> {
        Page { status, filter, coloured, width, text: String::new() }
    }

    fn text(mut self) -> String {
        let status = self.status;
        self.head();
        self.guard();
        let empty = self.text.len();
        let engine = &status.engine;
        if self.shows(Section::Vips, engine.vips.len()) {
            self.vips();
        }
        self.aggregates();
        if self.shows(Section::Services, engine.services.len()) {
            self.services();
        }
        if self.shows(Section::Peers, engine.peers.len()) {
            self.peers();
        }
        if self.filter.is_open() {
            self.tables();
        }
        self.drains();
        self.hooks();
        if self.text.len() == empty {
            self.line("");
            self.line(if self.filter.is_for_trouble() { "None in need of attention" } else { "None" });
        }
        self.text
    }

    /// Of a part of everything, what is empty is not worth a heading.
    fn shows(&self, section: Section, count: usize) -> bool {
        self.filter.is_open() || (self.filter.has(section) && count > 0)
    }

    fn head(&mut self) {
        let Status { version, started_at, config, pool, .. } = self.status;
        let line = format!("herald {version}, up {}, {}", self.since(*started_at), config.path.display());
        self.line(&line);
        if self.status.engine.stopping {
            let head = self.paint(Mood::Bad, "Herald is stopping");
            self.line(&format!("{head}: routes go, with GRACEFUL_SHUTDOWN first where shutdown_drain says so"));
        }
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
        if let Some(state_file) = &self.status.state_file {
            let head = self.paint(Mood::Bad, "state file NOT WRITTEN");
            let (age, error) = (self.since(state_file.since), &state_file.error);
            self.line(&format!("{head} for {age}: {error}; drains and holds do not outlive a restart"));
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
        // A route that stays although its service is down, or with worse attributes, is there all the same.
        let told = vips.iter().filter(|vip| has_route(vip)).count();
        let others = ["degraded", "frozen"].map(|state| (vips.iter().filter(|vip| vip.state == state).count(), state));
        let others: String =
            others.iter().filter(|it| it.0 > 0).map(|(count, state)| format!(", {count} {state}")).collect();
        self.heading("VIPs", told, vips.len(), &format!("announced{others}"));
        let peers = &self.status.engine.peers;
        let are_drained = !peers.is_empty() && peers.iter().all(|peer| peer.drained);
        let untold = if are_drained { "no peer has it: all are drained" } else { "no peer has it" };
        let width = widest(vips.iter().map(|vip| vip.address.as_str()));
        for vip in vips {
            let mood = if is_announced(vip) { Mood::Good } else { Mood::of(&vip.state).min(Mood::Unsure) };
            let state = self.paint(mood, &format!("{:<9}", vip.state));
            let why = match (vip.state.as_str(), vip.peers.as_slice()) {
                ("announced" | "degraded" | "frozen", []) => untold.to_owned(),
                // It will not stay so.
                ("announced", peers) if vip.until.is_none() && vip.reason == ALL_UP => {
                    format!("to {}", peers.join(", "))
                }
                ("announced" | "degraded" | "frozen", peers) => format!("to {}: {}", peers.join(", "), vip.reason),
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
        peers.sort_by_key(|peer| (Mood::of(&peer.state), gets_everything(peer)));
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
            words.extend(peer.not_offered.iter().map(|family| format!("the router did not offer {family}")));
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
            words.extend(drain.by.as_ref().map(|by| format!("by {by}")));
            words.extend(drain.reason.clone());
            let age = self.since(drain.since);
            self.line(&format!("  {:<width$}  {age:>6}  {}", drain.target, words.join(", ")));
        }
    }

    fn heading(&mut self, what: &str, good: usize, all: usize, state: &str) {
        let mood = if good == all { Mood::Good } else { Mood::Bad };
        let count = match self.filter.is_for_trouble() {
            // The others are not shown.
            true => self.paint(Mood::Bad, &format!("{all} in need of attention")),
            false => self.paint(mood, &format!("{good} of {all} {state}")),
        };
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
