//! `herald drain` and `herald undrain`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::caller;
use super::client::{self, AskError};
use crate::engine::drain::DrainAnswer;

/// What `--help` says at the end.
pub(super) const HELP: &str = "\
TARGET is a VIP or aggregate, `all`, `peer/NAME`, the name of a service, or a
backend as `service/address:port`. Routes get GRACEFUL_SHUTDOWN (RFC 8326;
towards our own AS also LOCAL_PREF 0) for daemon.drain_time, then they are
withdrawn. Sessions stay up. A drain survives reloads and restarts. A drained
backend does not count; when its service needs it, the VIPs of the service are
drained. What is drained already gets this reason and this end, or none.

Exit codes: 0 done, 1 refused (there is no such target), 2 the daemon cannot be
reached.

Examples:
  herald drain 192.0.2.1 --for 30m --reason \"new certificates\"
  herald drain web/10.1.0.11:8080
  herald drain peer/tor-a --reason \"line card swap\"
  herald status --json | jq .drains";

/// The same of the other one.
pub(super) const HELP_BACK: &str = "\
TARGET is what has been drained, as it was named then: `all` undoes `drain all`,
and no drain of a single thing. `herald status` lists what is drained. Routes
come back as the checks have it, without GRACEFUL_SHUTDOWN.

Exit codes: 0 done, 1 refused (there is no such target), 2 the daemon cannot be
reached.

Examples:
  herald undrain 192.0.2.1
  herald undrain web/10.1.0.11:8080
  herald undrain peer/tor-a";

#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// What to take out of service
    target: String,
    /// Undo it by itself after so long, such as 30m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,
    /// Why: for status and the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct UndrainArgs {
    /// What to bring back
    target: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("{text:?} is not a duration such as 30m or 2h"))
}

pub(super) fn drain(args: &DrainArgs, socket: &Path) -> ExitCode {
    let time = args.time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    change(
        socket,
        "drain",
        json!({ "target": args.target, "for_ms": time, "reason": args.reason, "by": caller::name() }),
    )
}

pub(super) fn undrain(args: &UndrainArgs, socket: &Path) -> ExitCode {
    change(socket, "undrain", json!({ "target": args.target, "by": caller::name() }))
}

fn change(socket: &Path, command: &str, arguments: Value) -> ExitCode {
    let answer = client::ask_with(socket, command, arguments)
        .and_then(|value| DrainAnswer::deserialize(value).map_err(|error| AskError::NotUnderstood(error.to_string())));
    match answer {
        Ok(answer) => {
            // Done is done, whether anybody reads of it or not.
            let _read_or_not = writeln!(io::stdout(), "{}", answer.text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            super::complain(&format!("herald: {error}"));
            ExitCode::from(if matches!(error, AskError::Refused(_)) { 1 } else { 2 })
        }
    }
}
