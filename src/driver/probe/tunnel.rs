//! `gue` and `fou`: an ICMP echo inside UDP encapsulation, answered directly by the target.

use std::net::SocketAddr;

use super::Verdict;
use super::limit::Limit;
use crate::config::Encapsulation;

pub(super) fn run(_target: SocketAddr, _encapsulation: Encapsulation, _limit: Limit) -> Verdict {
    Err("tunnel checks are not there yet".into())
}
