//! `herald reload`: as SIGHUP, but it waits, and tells what came of it.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{caller, diff};

/// What `--help` says at the end.
pub(super) const HELP: &str = "\
As SIGHUP: the files are read and checked whole before anything changes, and a bad
one changes nothing. Waits until the new configuration is in force, and prints what
was kept, re-advertised, reset, added and removed, or the errors.

Exit codes: 0 it is in force, 1 it was refused, 2 the daemon cannot be reached, or
does not let you.

Examples:
  herald diff && herald reload
  herald reload --json | jq '.peers[] | select(.change == \"reset\")'";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, socket: &Path) -> ExitCode {
    diff::tell("reload", json!({ "by": caller::name() }), args.json, socket)
}
