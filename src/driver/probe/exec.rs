//! `exec`: a program whose exit status is the verdict.

use std::process::ExitStatus;

use super::user::Identity;
use super::{Fault, Pass, Run, Verdict};
use crate::config::{ExecProbe, ExitCodes, FailureKind, Weight};
use crate::driver::program::{self, Tail, describe, execute};

/// Runs the program to its end, or to the end of its time; whatever it has begun ends with it.
pub(super) fn run(at: &Run<'_>, probe: &ExecProbe, user: Option<Identity>) -> Verdict {
    let Run { target, limit, .. } = *at;
    let Some(mut command) = program::command(&probe.command, user) else {
        return Err(Fault::new(FailureKind::Internal, "internal error: no command"));
    };
    command
        .env("HERALD_ADDRESS", target.ip().to_string())
        .env("HERALD_PORT", target.port().to_string())
        .env("HERALD_FAMILY", if target.is_ipv4() { "ipv4" } else { "ipv6" });
    let (end, mut tail) = execute(command, None, limit, true);
    let output = tail.several_lines();
    match end {
        Ok(status) => match judge(status, probe.exit_codes, &mut tail) {
            Ok(pass) => Ok(Pass { output, ..pass }),
            Err(fault) => Err(Fault { output, ..fault }),
        },
        Err(fault) => Err(Fault { output, ..fault }),
    }
}

/// What an exit status means.
fn judge(status: ExitStatus, codes: ExitCodes, tail: &mut Tail) -> Verdict {
    let line = if let ExitCodes::Nagios(_) = codes { tail.status_line() } else { tail.last_line() };
    let words = line.unwrap_or_else(|| describe(status));
    let weight = match (codes, status.code()) {
        (_, Some(0)) => None,
        (ExitCodes::Nagios(percent), Some(1)) => Some(Weight::Percent(percent)),
        (ExitCodes::Weight, Some(code @ 2..)) => u32::try_from(code - 2).ok().map(Weight::Absolute),
        _ => return Err(words.into()),
    };
    Ok(Pass { weight, ..words.into() })
}
