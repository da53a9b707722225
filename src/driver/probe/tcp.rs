//! `tcp`: the target accepts the connection.

use super::socket::Socket;
use super::{Run, Verdict, text, tls};
use crate::config::TcpProbe;

/// Connects, and resets the connection before the server is bothered with it.
pub(super) fn run(at: &Run<'_>, _: &TcpProbe, _: Option<&tls::Client>) -> Verdict {
    match Socket::connect(at) {
        Ok(_) => Ok("connected".into()),
        Err(error) => Err(text::failure(&error, at.limit, text::CONNECTING)),
    }
}
