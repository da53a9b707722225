//! `herald probe`: checks by hand.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::client::{self, AskError};
use super::terminal::{self, Mood};
use crate::driver::trial::{CheckTrial, Trial};

/// What `--help` says at the end.
pub(super) const HELP: &str = "\
Runs the checks of a service, or of one of its backends, once, now, from the
daemon: with its addresses, interfaces, rights and certificates. What they find is
for you alone, and changes no verdict. Each step has its time from the start of
the run.

Exit codes: 0 all passed that count, 1 one failed, or there is no such service, 2
the daemon cannot be reached, or does not let you.

Examples:
  herald probe web
  herald probe web/10.1.0.11:8080
  herald probe web --json | jq '.backends[].checks[] | select(.passed == false)'";

/// The longest time-out of a check, a few times over.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A service, or a backend as `service/address:port`
    #[arg(value_name = "SERVICE[/BACKEND]")]
    target: String,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, socket: &Path) -> ExitCode {
    let answer = client::ask_for(socket, "probe", json!({ "target": args.target }), PATIENCE);
    let answer = answer.and_then(|value| {
        let trial = Trial::deserialize(&value).map_err(|error| AskError::NotUnderstood(error.to_string()))?;
        Ok((value, trial))
    });
    let (value, trial) = match answer {
        Ok(both) => both,
        Err(error) => {
            super::complain(&format!("herald: {error}"));
            return ExitCode::from(if matches!(error, AskError::Refused(_)) { 1 } else { 2 });
        }
    };
    let text = match args.json {
        true => format!("{value}\n"),
        false => text(&trial, terminal::coloured(), terminal::width()),
    };
    // Whoever does not read has the exit code.
    let _read_or_not = io::stdout().lock().write_all(text.as_bytes());
    let mut checks = trial.backends.iter().flat_map(|backend| &backend.checks);
    let failed = checks.any(|check| check.passed == Some(false) && !check.advisory);
    ExitCode::from(u8::from(failed))
}

fn text(trial: &Trial, coloured: bool, width: Option<usize>) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{}", terminal::fold(line, width));
    };
    for backend in &trial.backends {
        line(&format!("{}/{}", trial.service, backend.address));
        if backend.checks.is_empty() {
            line("  no checks: it always counts");
        }
        for check in &backend.checks {
            head(check, coloured).iter().for_each(|text| line(text));
            for step in &check.steps {
                line(&format!("    {:>10}  {}", millis(step.at_us), step.what));
            }
            let output = check.output.iter().flat_map(|output| output.lines());
            output.for_each(|said| line(&format!("    {:>10}  {said}", "|")));
        }
    }
    if trial.backends.is_empty() {
        line(&format!("{} has no backends", trial.service));
    }
    text
}

/// What came of a check, and what there is to know besides.
fn head(check: &CheckTrial, coloured: bool) -> Vec<String> {
    let (mood, word) = match check.passed {
        Some(true) => (Mood::Good, "passed"),
        Some(false) if check.advisory => (Mood::Unsure, "failed"),
        Some(false) => (Mood::Bad, "failed"),
        None => (Mood::Unsure, "not run"),
    };
    let CheckTrial { name, kind, target, detail, .. } = check;
    let advisory = if check.advisory { ", advisory" } else { "" };
    let failure = check.failure.as_ref().map(|kind| format!(" [{kind}]")).unwrap_or_default();
    let times = match check.passed {
        Some(_) => format!(" in {} of {}", millis(check.took_us), millis(check.timeout_us)),
        None => String::new(),
    };
    let word = terminal::paint(coloured, mood, word);
    let mut lines = vec![format!("  {name} ({kind} {target}{advisory}): {word}{times}: {detail}{failure}")];
    lines.extend(check.warning.as_ref().map(|warning| format!("    warning: {warning}")));
    lines
}

fn millis(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}
