//! Probes of this host: programs and files.

use std::path::PathBuf;

/// A program whose exit status is the verdict. No shell is involved.
///
/// Its environment is `HERALD_ADDRESS`, `HERALD_PORT` and `HERALD_FAMILY` (`ipv4` or `ipv6`) of the target, and a `PATH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExecProbe {
    /// Program (an absolute path) and arguments; never empty.
    pub command: Vec<String>,
    /// What its exit status means.
    pub exit_codes: ExitCodes,
    /// Who it runs as: a name or number of a user of this host; `None` for the daemon's own.
    pub user: Option<String>,
}

impl ExecProbe {
    /// As the daemon's own user, and nothing but 0 passes.
    pub fn new(command: Vec<String>) -> ExecProbe {
        ExecProbe { command, exit_codes: ExitCodes::Plain, user: None }
    }
}

/// What a program's exit status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitCodes {
    /// 0 passes, all others fail.
    Plain,
    /// As for plugins of Nagios: 0 passes, 1 passes degraded, all others fail. The percentage is what is left of the weight
    /// then.
    Nagios(u32),
    /// As `misc_dynamic` of keepalived: 0 passes, 1 fails, 2 to 255 pass with a weight of 2 less.
    Weight,
}

/// `file`: whether a path exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProbe {
    /// Absolute.
    pub path: PathBuf,
    /// Whether it must not exist instead.
    pub absent: bool,
    /// Its content is a weight, from 0.
    pub weight: bool,
}
