//! `herald run`: the daemon.

use std::path::Path;
use std::process::ExitCode;

use crate::driver::daemon::{self, Failure, LogFormat};

/// What `--help` says at its end.
pub(super) const HELP: &str = "\
Signals:
  SIGHUP             reload the configuration; a bad one changes nothing
  SIGTERM, SIGINT    withdraw everything and stop; a second one stops at once
  SIGUSR1            run every check now
  SIGUSR2            stop, but let routers with graceful restart keep the routes

RUST_LOG chooses what is logged: error, warn, info (the default), debug or trace. It
goes before log of [daemon]. Towards systemd's journal lines have priorities and no
time of their own.

Example:
  herald run --config ./herald.toml --socket /tmp/herald.sock";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: super::ConfigFile,
    /// What lines of the log look like: json is one object a line, with at, level and message
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// 0 after a clean stop, 1 when the configuration is not valid, 2 when the daemon could not be started.
pub(super) fn run(args: &Args, socket: Option<&Path>) -> ExitCode {
    let format = match args.log_format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    match daemon::run(&args.file.config, socket, format) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            super::complain(&failure.told(format));
            if matches!(failure, Failure::Config(_)) { ExitCode::FAILURE } else { ExitCode::from(2) }
        }
    }
}
