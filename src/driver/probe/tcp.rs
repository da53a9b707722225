//! `tcp`: the target accepts the connection.

use std::net::SocketAddr;

use super::Verdict;
use super::limit::Limit;
use super::socket::Socket;
use super::text;

/// Connects, and resets the connection before the server is bothered with it.
pub(super) fn run(target: SocketAddr, limit: Limit) -> Verdict {
    match Socket::connect(target, limit) {
        Ok(_) => Ok("connected".into()),
        Err(error) => Err(text::failure(&error, limit, text::CONNECTING)),
    }
}
