//! `herald gobgp`: what gobgpd has from us, and its withdrawal, whether the daemon runs or not.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use super::complain;
use crate::config::ApiAddress;
use crate::config::gobgp::{Gobgp, parse_api_address};
use crate::driver::errand;
use crate::driver::load::{find_gobgp, load, may_name_gobgp};
use crate::gobgp::errand::{Found, Report, Task};

/// The end of `herald gobgp --help`.
pub(super) const HELP: &str = "\
Routes are told from those of others by [gobgp] `identifier`; none but ours are
ever listed or touched. A daemon that runs announces again what it wants, at its
next connection or reload: to take routes out of service, use `herald drain`.

Exit codes: 0 done (also when there is no [gobgp] in the configuration), 1 some
routes are left, 2 gobgpd cannot be reached.

Examples:
  herald gobgp list
  herald gobgp flush --unless-graceful    # ExecStopPost= of herald.service
  herald gobgp list --api 127.0.0.1:50051 --json";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the routes that gobgpd has from us
    List(Where),
    /// Withdraw them, such as those of a daemon that was killed
    Flush(Flush),
}

#[derive(Debug, Parser)]
struct Where {
    /// The configuration with [gobgp] in it
    #[arg(long, value_name = "FILE", default_value = "/etc/herald/herald.toml")]
    config: PathBuf,
    /// gobgpd's API, such as 127.0.0.1:50051 or unix:///run/gobgpd.sock; the configuration is not read then
    #[arg(long, value_name = "ADDRESS", value_parser = api)]
    api: Option<ApiAddress>,
    /// With --api: the mark of our routes
    #[arg(long, value_name = "N", requires = "api")]
    identifier: Option<NonZeroU32>,
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Parser)]
struct Flush {
    #[command(flatten)]
    at: Where,
    /// Not where the configuration says graceful_restart: then they stay until the daemon is back
    #[arg(long)]
    unless_graceful: bool,
}

fn api(text: &str) -> Result<ApiAddress, String> {
    parse_api_address(text).ok_or_else(|| format!("{text:?} is not as 127.0.0.1:50051 or unix:///run/gobgpd.sock"))
}

/// Carries it out.
pub(super) fn run(args: &Args) -> ExitCode {
    let (task, at, unless_graceful) = match &args.what {
        What::List(at) => (Task::List, at, false),
        What::Flush(flush) => (Task::Flush, &flush.at, flush.unless_graceful),
    };
    let gobgp = match whom(at) {
        Ok(Some(gobgp)) => gobgp,
        // The unit asks so at every end: not worth a line in the journal each.
        Ok(None) if unless_graceful => return ExitCode::SUCCESS,
        Ok(None) => {
            say(&format!("there is no [gobgp] in {}: nothing is announced by it\n", at.config.display()));
            return ExitCode::SUCCESS;
        }
        Err(code) => return code,
    };
    if unless_graceful && gobgp.graceful_restart {
        say("graceful_restart is on: what gobgpd has from us stays\n");
        return ExitCode::SUCCESS;
    }
    match errand::run(task, &gobgp) {
        Ok(report) => {
            say(&if at.json { as_json(&report) } else { text(task, &gobgp, &report) });
            let left = report.routes.iter().any(|route| route.error.is_some());
            if left || !report.unlisted.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(cause) => {
            complain(&format!("herald gobgp: {}: {cause}", gobgp.api));
            ExitCode::from(2)
        }
    }
}

fn whom(at: &Where) -> Result<Option<Gobgp>, ExitCode> {
    if let Some(api) = &at.api {
        let plain = Gobgp::new(api.clone());
        return Ok(Some(Gobgp { identifier: at.identifier.unwrap_or(plain.identifier), ..plain }));
    }
    let errors = match load(&at.config) {
        Ok(config) => return Ok(config.gobgp.as_deref().cloned()),
        Err(errors) => errors,
    };
    // Routes of a dead daemon must not stay because something else is wrong with its file by now.
    if let Some(gobgp) = find_gobgp(&at.config) {
        complain(&format!("herald gobgp: {} is not valid, but its [gobgp] is", at.config.display()));
        return Ok(Some(Gobgp::clone(&gobgp)));
    }
    if !may_name_gobgp(&at.config) {
        return Ok(None);
    }
    errors.iter().for_each(|error| complain(&error.to_string()));
    complain("herald gobgp: the configuration is not valid; name gobgpd with --api");
    Err(ExitCode::from(2))
}

fn text(task: Task, gobgp: &Gobgp, report: &Report) -> String {
    let Report { api, asn, routes, unlisted } = report;
    let mut text = String::new();
    for Found { prefix, attributes, error } in routes {
        let done = match (task, error) {
            (Task::List, _) => attributes.join(", "),
            (Task::Flush, None) => "withdrawn".to_owned(),
            (Task::Flush, Some(error)) => format!("not withdrawn: {error}"),
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{prefix}  {done}");
    }
    for (family, cause) in unlisted {
        let _infallible = writeln!(text, "{family} routes cannot be listed: {cause}");
    }
    let count = if routes.len() == 1 { "1 route".to_owned() } else { format!("{} routes", routes.len()) };
    let _infallible =
        writeln!(text, "{count} under identifier {} at {} (GoBGP {api}, AS {asn})", gobgp.identifier, gobgp.api);
    text
}

fn as_json(report: &Report) -> String {
    let route = |Found { prefix, attributes, error }: &Found| json!({ "prefix": prefix.to_string(), "attributes": attributes, "error": error.as_ref().map(ToString::to_string) });
    let routes: Vec<_> = report.routes.iter().map(route).collect();
    let unlisted: Vec<_> =
        report.unlisted.iter().map(|(family, cause)| json!({ "family": family, "error": cause.to_string() })).collect();
    let object = json!({ "api": report.api.to_string(), "as": report.asn, "routes": routes, "unlisted": unlisted });
    format!("{object}\n")
}

fn say(text: &str) {
    // A reader that has gone away does not change what was done.
    let _read_or_not = io::stdout().lock().write_all(text.as_bytes());
}
