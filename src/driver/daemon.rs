//! The daemon from its start to its end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, process};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::control::{Socket, SocketError};
use super::http::{self, Meters};
use super::log::Log;
pub use super::log::LogFormat;
use super::reactor::{Doorways, Reactor};
use super::reload::{self, Loader};
use super::scribe::Scribe;
use super::signal::Signals;
use super::{sys, wall_clock};
use crate::config::Diagnostic;

/// How long the last lines of the log may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Why the daemon did not start, or could not go on.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is not valid: every finding.
    Config(Vec<Diagnostic>),
    /// There is no control socket to be had.
    Socket(SocketError),
    /// An address of `http_listen` cannot be had.
    Http(SocketAddr, String),
    /// The system refused what the daemon cannot do without.
    System(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Config(errors) => {
                for error in errors {
                    writeln!(f, "{error}")?;
                }
                let s = if errors.len() == 1 { "" } else { "s" };
                write!(f, "herald: not started: {} error{s} in the configuration", errors.len())
            }
            Failure::Socket(error) => write!(f, "herald: {error}"),
            Failure::Http(address, error) => write!(f, "herald: cannot serve HTTP on {address}: {error}"),
            Failure::System(error) => write!(f, "herald: {error}"),
        }
    }
}

impl Failure {
    /// In lines for stderr, which look as the log would.
    pub fn told(&self, format: LogFormat) -> String {
        Log::last_words(&self.to_string(), format)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::System(error)
    }
}

/// Runs until a signal ends it. `socket` goes before the configuration's `control_socket`; the log goes to stderr, one line each in
/// this format.
///
/// # Errors
/// See [`Failure`].
pub fn run(path: &Path, socket: Option<&Path>, format: LogFormat) -> Result<(), Failure> {
    sys::give_back_large_blocks();
    // Before any thread or file: a signal that comes early is obeyed later, not lost.
    let signals = Signals::catch()?;
    let first = reload::load(path).map_err(Failure::Config)?;
    let configured = first.config.daemon.control_socket.clone();
    let chosen = socket.unwrap_or(&configured);
    let socket = Socket::bind(chosen, &first.access).map_err(Failure::Socket)?;
    let pages =
        http::bind(&first.config.daemon.http_listen).map_err(|(address, error)| Failure::Http(address, error))?;
    let log = Log::start(first.config.daemon.log, format)?;
    if chosen != configured {
        let (chosen, configured) = (chosen.display(), configured.display());
        log::info!("the control socket is {chosen}, by --socket or HERALD_SOCKET; control_socket says {configured}");
    }
    raise_descriptor_limit();
    let meters = Arc::<Meters>::default();
    let scribe = Scribe::start(meters.clone())?;
    let reactor =
        Reactor::new(first, Loader::new(path.to_owned()), signals, Doorways { socket, pages, meters }, scribe, seed())?;
    let result = reactor.run();
    log.flush(LAST_LINES);
    Ok(result?)
}

/// Each peer and each running check needs a descriptor, and the usual soft limit of 1,024 is meant for `select`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        log::warn!("cannot raise the limit of open files from {:?}: {error}", limit.current);
    }
}

/// For jitter only: daemons that start together shall not stay in step.
pub(super) fn seed() -> u64 {
    let time = wall_clock().timestamp(super::clock()).since_epoch();
    u64::from(time.subsec_nanos()) << 32 ^ time.as_secs() ^ u64::from(process::id()) << 16
}
