//! `herald run`: the daemon.

use std::path::Path;
use std::process::ExitCode;

use crate::driver::daemon::{self, Failure};

/// What `--help` says at its end.
pub(super) const HELP: &str = "\
Signals:
  SIGHUP             reload the configuration; a bad one changes nothing
  SIGTERM, SIGINT    withdraw everything and stop; a second one stops at once
  SIGUSR1            run every check now
  SIGUSR2            stop, but let routers with graceful restart keep the routes

RUST_LOG chooses what is logged: error, warn, info (the default) or debug.

Example:
  herald run --config ./herald.toml --socket /tmp/herald.sock";

/// 0 after a clean stop, 1 when the configuration is not valid, 2 when the daemon could not be started.
pub(super) fn run(config: &Path, socket: Option<&Path>) -> ExitCode {
    match daemon::run(config, socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            super::complain(&failure.to_string());
            if matches!(failure, Failure::Config(_)) { ExitCode::FAILURE } else { ExitCode::from(2) }
        }
    }
}
