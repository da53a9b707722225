//! Signals, as bytes on a pipe of the event loop.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals as Pipe;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// `SIGHUP`.
    Reload,
    /// `SIGTERM` or `SIGINT`; its name.
    Stop(&'static str),
    /// `SIGUSR1`.
    CheckNow,
    /// `SIGUSR2`.
    GracefulRestart,
}

/// The signals that the daemon listens to. SIGPIPE is ignored by Rust's runtime.
pub(crate) struct Signals(Pipe);

impl Signals {
    /// From here on these signals no longer end the process.
    pub(crate) fn catch() -> io::Result<Signals> {
        Pipe::new([SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2]).map(Signals)
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.0, token, Interest::READABLE)
    }

    /// What has arrived. Of equal signals at once, one.
    pub(super) fn pending(&mut self) -> Vec<Request> {
        let request = |signal| match signal {
            SIGHUP => Some(Request::Reload),
            SIGTERM => Some(Request::Stop("SIGTERM")),
            SIGINT => Some(Request::Stop("SIGINT")),
            SIGUSR1 => Some(Request::CheckNow),
            SIGUSR2 => Some(Request::GracefulRestart),
            _ => None,
        };
        self.0.pending().filter_map(request).collect()
    }
}
