//! `herald diff`: what a reload would change.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::{changes, client, terminal};
use crate::driver::load;

/// What `--help` says at the end.
pub(super) const HELP: &str = "\
Against the running daemon: which sessions are kept, re-advertised or reset, which
services, VIPs and settings change, and what becomes of every announcement, as
things are now. Nothing changes.

Without --config the daemon reads its own files; with it, FILE and conf.d/*.toml
beside it are read here, as you, and the daemon looks at what they name.

Exit codes: 0 the files can be taken, 1 they cannot, 2 the daemon cannot be
reached.

Examples:
  herald diff
  herald diff --config ./herald.toml
  herald diff --json | jq '.announcements[] | select(.route_after == null)'";

/// A large configuration takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files to compare with what is in force, in the place of the daemon's own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, socket: &Path) -> ExitCode {
    let files = match args.config.as_deref().map(read).transpose() {
        Ok(files) => files.unwrap_or_default(),
        Err(code) => return code,
    };
    tell("diff", files, args.json, socket)
}

/// Asks, prints the answer, and exits with what it says.
pub(super) fn tell(command: &str, arguments: Value, as_json: bool, socket: &Path) -> ExitCode {
    let answer = client::ask_for(socket, command, arguments, PATIENCE)
        .and_then(|value| changes::read(&value).map(|changes| (value, changes)));
    let (value, changes) = match answer {
        Ok(both) => both,
        Err(error) => {
            super::complain(&format!("herald: {error}"));
            return ExitCode::from(2);
        }
    };
    let done = command == "reload";
    let text = match as_json {
        true => format!("{value}\n"),
        false => changes::text(&changes, done, terminal::coloured(), terminal::width()),
    };
    // Whoever does not read has the exit code.
    let _read_or_not = io::stdout().lock().write_all(text.as_bytes());
    if changes.valid {
        return ExitCode::SUCCESS;
    }
    if !as_json {
        let count = changes.errors.len();
        let s = if count == 1 { "" } else { "s" };
        let what = if done { "not reloaded" } else { "a reload would be refused" };
        super::complain(&format!("herald: {what}: {count} error{s}; the configuration in force stays"));
    }
    ExitCode::FAILURE
}

/// The files, as the daemon wants them.
fn read(path: &Path) -> Result<Value, ExitCode> {
    let mut errors = Vec::new();
    let sources = load::read_sources(path, &mut errors);
    if !errors.is_empty() {
        errors.iter().for_each(|error| super::complain(&error.to_string()));
        return Err(ExitCode::FAILURE);
    }
    let files: Vec<Value> =
        sources.iter().map(|source| json!({ "name": &*source.name, "text": source.text })).collect();
    Ok(json!({ "files": files }))
}
