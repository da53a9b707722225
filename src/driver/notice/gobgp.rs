//! The words for the gobgpd of `[gobgp]`.

use log::Level;

use super::plural;
use crate::config::gobgp::PEER_NAME;
use crate::gobgp::{Notice, State};

/// A line, where there is something to tell.
pub(super) fn word(notice: &Notice) -> (Level, String) {
    match notice {
        Notice::State { to: State::Established, .. } => (Level::Info, format!("peer {PEER_NAME} established")),
        Notice::State { from: State::Established, cause, .. } => {
            let cause = cause.as_ref().map_or_else(|| "connection ended".to_owned(), ToString::to_string);
            (Level::Warn, format!("peer {PEER_NAME} down: {cause}"))
        }
        Notice::State { cause: Some(cause), .. } => (Level::Warn, format!("peer {PEER_NAME} not established: {cause}")),
        Notice::State { from, to, cause: None } => {
            (Level::Debug, format!("peer {PEER_NAME}: {} -> {}", from.name(), to.name()))
        }
        Notice::Listed { api, found, kept } => {
            let found = plural(*found, "route of ours is there", "routes of ours are there");
            (Level::Info, format!("peer {PEER_NAME} is GoBGP {api}: {found}, {kept} as wanted"))
        }
        Notice::Unlisted(family, cause) => (
            Level::Warn,
            format!("peer {PEER_NAME} does not list its {family} routes, and what is there of before stays: {cause}"),
        ),
        Notice::Refused { prefix, count, cause } => {
            let routes = plural(*count, "route", "routes");
            (
                Level::Error,
                format!("peer {PEER_NAME} refuses {routes}, {prefix} for one: {cause}; tried again now and then"),
            )
        }
    }
}
