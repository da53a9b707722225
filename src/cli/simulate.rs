//! `herald simulate`: what a configuration would announce, and why, if checks found what a file says.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use log::Level;
use serde_json::{Value, json};

use crate::announce::{VipCause, VipEvent};
use crate::config::{Attributes, Config};
use crate::driver::notice::{self, Notice, Subjects};
use crate::driver::{clock, load};
use crate::engine;
use crate::engine::simulate::{Scenario, Simulation, Told};
use crate::engine::status::vip_state;
use crate::health::HealthEvent;

/// What `--help` says at the end.
pub(super) const HELP: &str = "\
The daemon's own decisions, in virtual time: nothing is checked, nothing is
announced to anybody, no daemon is needed.

EVENTS has one JSON object a line, in the order of their times. What checks find
holds until another line says otherwise; they run at their intervals, with rise
and fall. Checks that no line speaks of pass.

  {\"at\": \"10s\", \"backend\": \"web/10.1.0.11:8080\", \"passed\": false, \"detail\": \"refused\"}
  {\"at\": \"20s\", \"service\": \"web\", \"check\": \"agent\", \"passed\": true, \"weight\": \"50%\"}
  {\"at\": \"25s\", \"backend\": \"10.1.0.12\", \"passed\": false, \"once\": true}
  {\"at\": \"30s\", \"self_check\": \"uplink\", \"passed\": false}
  {\"at\": \"35s\", \"address\": \"192.0.2.1\", \"passed\": false}
  {\"at\": \"37s\", \"data_plane\": \"192.0.2.1\", \"passed\": false, \"detail\": \"no rules\"}
  {\"at\": \"40s\", \"drain\": \"192.0.2.1\", \"for\": \"5m\", \"reason\": \"new kernel\"}
  {\"at\": \"50s\", \"undrain\": \"192.0.2.1\"}
  {\"at\": \"10m\", \"end\": true}

Of `service`, `backend` (an address, with or without port, of one service or of
all) and `check` (a name) those count that are there; without any, all checks
are meant. `once` is one run alone. {\"default\": \"fail\"} as the first line makes
all other checks fail. Without `end` the story ends when nothing is about to
change any more. Lines that begin with # are comments.

Exit codes: 0 done, 1 the configuration or the events are wrong, 2 a file cannot
be read.

Examples:
  herald simulate ladder.jsonl --config /etc/herald/herald.toml
  herald simulate ladder.jsonl --json | jq 'select(.event == \"vip\")'";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What checks find, and when
    #[arg(value_name = "EVENTS")]
    events: PathBuf,
    /// The configuration; drop-ins are read from conf.d/*.toml beside it
    #[arg(long, value_name = "FILE", default_value = "/etc/herald/herald.toml")]
    config: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Checks and backends, too
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let (config, scenario) = match read(args) {
        Ok(both) => both,
        Err(code) => return code,
    };
    let mut simulation = Simulation::new(clock(), config, scenario);
    let subjects = Arc::new(Subjects::new(simulation.config().clone()));
    let mut out = io::BufWriter::new(io::stdout().lock());
    for told in simulation.by_ref() {
        if !args.verbose && is_detail(&told.notice) {
            continue;
        }
        let text = if args.json { as_json(&told, &subjects) } else { as_text(&told, &subjects) };
        if out.write_all(text.as_bytes()).is_err() {
            // Whoever read it has seen enough.
            return ExitCode::SUCCESS;
        }
    }
    let end = if args.json { end_json(&simulation) } else { end_text(&simulation) };
    let _read_or_not = out.write_all(end.as_bytes()).and_then(|()| out.flush());
    ExitCode::SUCCESS
}

fn read(args: &Args) -> Result<(Config, Scenario), ExitCode> {
    let complain = |lines: &[String], code| {
        lines.iter().for_each(|line| super::complain(line));
        Err(ExitCode::from(code))
    };
    let config = match load::load(&args.config) {
        Ok(config) => config,
        Err(errors) => return complain(&errors.iter().map(ToString::to_string).collect::<Vec<_>>(), 1),
    };
    let name = args.events.display();
    let text = match read_events(&args.events) {
        Ok(text) => text,
        Err(error) => return complain(&[format!("herald: {name}: {error}")], 2),
    };
    match Scenario::parse(&text, &config) {
        Ok(scenario) => Ok((config, scenario)),
        Err(errors) => complain(&errors.iter().map(|error| format!("{name}: {error}")).collect::<Vec<_>>(), 1),
    }
}

/// From standard input where it is called `-`.
fn read_events(path: &Path) -> io::Result<String> {
    if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) }
}

/// What leads to decisions without being one, and the wait for first verdicts.
fn is_detail(notice: &engine::Notice) -> bool {
    use VipCause::{DependencyUndecided, ServiceUndecided, StartUp};
    if let engine::Notice::Vip(VipEvent { cause, .. }, _) = notice {
        return matches!(cause, ServiceUndecided(_) | DependencyUndecided(_) | StartUp);
    }
    matches!(
        notice,
        engine::Notice::Health(
            HealthEvent::Check { .. }
                | HealthEvent::Backend { .. }
                | HealthEvent::Weight { .. }
                | HealthEvent::Stale { .. }
                | HealthEvent::Warning { .. }
        )
    )
}

/// As the daemon would log it, and what would be announced from then on.
fn as_text(told: &Told, subjects: &Arc<Subjects>) -> String {
    let mut text = String::new();
    notice::word(&Notice::Engine(subjects.clone(), told.notice.clone()), &mut |level, line| {
        let mark = if level <= Level::Warn { '!' } else { ' ' };
        text += &format!("{:>10} {mark} {line}\n", seconds(told.at));
    });
    if let (engine::Notice::Vip(..) | engine::Notice::Aggregate(..), Some(route)) = (&told.notice, &told.route) {
        let route = route.to_string();
        if !route.is_empty() {
            text += &format!("{:>10}     with {route}\n", "");
        }
    }
    text
}

fn as_json(told: &Told, subjects: &Arc<Subjects>) -> String {
    let (mut level, mut text) = (Level::Info, String::new());
    notice::word(&Notice::Engine(subjects.clone(), told.notice.clone()), &mut |its, line| (level, text) = (its, line));
    let mut line = json!({ "at": seconds(told.at), "at_ms": millis(told.at), "level": level.as_str().to_lowercase() });
    let fields: Value = match &told.notice {
        engine::Notice::Vip(event, reason) => vip_fields(event, &reason.to_string(), told.route.as_deref()),
        engine::Notice::Aggregate(event, reason) => json!({
            "event": "aggregate",
            "aggregate": event.aggregate.to_string(),
            "from": event.from.map(engine::aggregate::aggregate_state),
            "to": event.to.map(engine::aggregate::aggregate_state),
            "reason": reason.to_string(),
            "route": told.route.as_ref().map(ToString::to_string),
        }),
        engine::Notice::Health(HealthEvent::Service { .. }) => json!({ "event": "service" }),
        engine::Notice::Health(HealthEvent::Check { .. }) => json!({ "event": "check" }),
        engine::Notice::Health(_) => json!({ "event": "backend" }),
        engine::Notice::Guard(..) => json!({ "event": "guard" }),
        engine::Notice::Drain(_) => json!({ "event": "drain" }),
        _ => json!({ "event": "other" }),
    };
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields);
        line.insert("text".to_owned(), text.into());
    }
    format!("{line}\n")
}

fn vip_fields(event: &VipEvent, reason: &str, route: Option<&Attributes>) -> Value {
    let draining = matches!(event.cause, VipCause::Draining(..));
    json!({
        "event": "vip",
        "vip": event.vip.to_string(),
        "from": event.from.map(vip_state),
        "to": event.to.map(vip_state),
        "reason": reason,
        "draining": draining,
        "announced": route.is_some(),
        "route": route.map(ToString::to_string),
    })
}

fn end_text(simulation: &Simulation) -> String {
    let routes = simulation.routes();
    let all = simulation.config().vips.len() + simulation.config().aggregates.len();
    let mut text = format!("{:>10}   end: {} of {all} announced\n", seconds(simulation.age()), routes.len());
    for (prefix, route) in routes {
        let route = route.to_string();
        let with = if route.is_empty() { String::new() } else { format!(" with {route}") };
        text += &format!("{:>10}     {prefix}{with}\n", "");
    }
    text
}

fn end_json(simulation: &Simulation) -> String {
    let routes: serde_json::Map<String, Value> =
        simulation.routes().into_iter().map(|(prefix, route)| (prefix.to_string(), route.to_string().into())).collect();
    let age = simulation.age();
    let line = json!({ "at": seconds(age), "at_ms": millis(age), "event": "end", "routes": routes });
    format!("{line}\n")
}

fn seconds(at: Duration) -> String {
    format!("{:.3}s", at.as_secs_f64())
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}
