//! `herald watch`: events as they happen.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use serde_json::Value;

use super::client;
use crate::config::EventKind;

/// What `--help` says at the end.
pub(super) const HELP: &str = "\
Kinds of events: check, backend, service, vip, aggregate, routes (what a peer has
just been told), peer, guard, self_check, drain, reload, daemon.

With --json each line is an object: {\"at\", \"event\", what it is about, \"from\",
\"to\", \"reason\", \"cause\", \"text\"}; hooks and webhooks get the same. `cause` is the
chain from the result of a check upwards. The first line is
{\"event\":\"watching\"}: nothing is missed from then on. A reader that is too slow is told of
what it has missed: {\"event\":\"dropped\",\"count\":N}.

Exit codes: 0 interrupted, or the daemon has ended; 2 the daemon cannot be
reached, or there is no such kind of event.

Examples:
  herald watch
  herald watch --event vip --event peer
  herald watch --json | jq 'select(.event == \"vip\" and .to == \"withdrawn\")'";

/// Those that hooks may ask for, and two that only those hear who watch.
fn kinds() -> impl Iterator<Item = &'static str> {
    EventKind::ALL.into_iter().map(EventKind::name).chain(["routes", "daemon"])
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Only events of this kind; may be given several times
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(kinds()), hide_possible_values = true)]
    event: Vec<String>,
}

pub(super) fn run(args: &Args, socket: &Path) -> ExitCode {
    let stream = match client::open(socket, "watch") {
        Ok(stream) => stream,
        Err(error) => {
            super::complain(&format!("herald: {error}"));
            return ExitCode::from(2);
        }
    };
    let colour = super::terminal::coloured();
    let mut out = io::stdout().lock();
    if args.json && writeln!(out, "{{\"event\":\"watching\"}}").and_then(|()| out.flush()).is_err() {
        return ExitCode::SUCCESS;
    }
    for line in stream.lines() {
        // The daemon has ended.
        let Ok(line) = line else { break };
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        let kind = event["event"].as_str().unwrap_or_default();
        let is_wanted = args.event.is_empty() || kind == "dropped" || args.event.iter().any(|wanted| wanted == kind);
        if !is_wanted {
            continue;
        }
        let text = if args.json { line } else { as_text(&event, colour) };
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            // Nobody reads any more.
            break;
        }
    }
    ExitCode::SUCCESS
}

/// `12:34:56.789  vip         vip 192.0.2.1/32 withdrawn: …`.
fn as_text(event: &Value, colour: bool) -> String {
    let kind = event["event"].as_str().unwrap_or_default();
    // Of 2026-01-01T12:34:56.789Z the time of day.
    let at = event["at"].as_str().and_then(|at| at.get(11..23)).unwrap_or("            ");
    let text = match kind {
        "dropped" => format!("{} events missed: this reader is too slow", event["count"]),
        "routes" => routes(event),
        _ => event["text"].as_str().or(event["reason"].as_str()).unwrap_or_default().to_owned(),
    };
    let line = format!("{at}  {kind:<10}  {text}");
    match severity(event) {
        Some(code) if colour => format!("\x1b[{code}m{line}\x1b[0m"),
        _ => line,
    }
}

fn routes(event: &Value) -> String {
    let names: Vec<&str> = event["prefixes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let count = |name: &str| event[name].as_u64().unwrap_or_default();
    let all = count("announced") + count("withdrawn");
    let more = if all > names.len() as u64 { ", ..." } else { "" };
    let peer = event["peer"].as_str().unwrap_or_default();
    let (announced, withdrawn) = (count("announced"), count("withdrawn"));
    format!("peer {peer} told: {announced} announced, {withdrawn} withdrawn: {}{more}", names.join(", "))
}

/// Red for what is bad, green for what is well again, yellow for what is in between.
fn severity(event: &Value) -> Option<u8> {
    match event["to"].as_str()? {
        "down" | "failing" | "withdrawn" | "refused" => Some(31),
        "degraded" | "frozen" | "suppressed" | "holding" | "drained" => Some(33),
        "up" | "passing" | "announced" | "established" => Some(32),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_line_for_each() {
        let vip = json!({"at": "2026-01-01T12:34:56.789Z", "event": "vip", "to": "withdrawn", "text": "vip x withdrawn: why"});
        assert_eq!(as_text(&vip, false), "12:34:56.789  vip         vip x withdrawn: why");
        assert_eq!(as_text(&vip, true), "\x1b[31m12:34:56.789  vip         vip x withdrawn: why\x1b[0m");
        let routes = json!({"at": "2026-01-01T12:34:56.789Z", "event": "routes", "peer": "tor-a", "announced": 11,
                            "withdrawn": 1, "prefixes": ["192.0.2.1/32"]});
        let told = "12:34:56.789  routes      peer tor-a told: 11 announced, 1 withdrawn: 192.0.2.1/32, ...";
        assert_eq!(as_text(&routes, true), told);
        let dropped = json!({"event": "dropped", "count": 7});
        assert_eq!(as_text(&dropped, false), "              dropped     7 events missed: this reader is too slow");
    }
}
