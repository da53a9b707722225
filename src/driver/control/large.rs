//! Requests that are larger than most: whole configurations. There is room for one at a time, from its first octets until its answer
//! is taken, of those who may only look, and for one of those who may act: the former do not keep out the latter.

use std::collections::BTreeMap;

use super::access::Rank;
use super::client::{Client, REQUEST};

/// How much such a request may have: a configuration as large as it may be, written as JSON.
pub(super) const MOST: usize = 48 << 20;

/// Who has the room.
#[derive(Debug, Default)]
pub(super) struct Large(BTreeMap<Rank, usize>);

impl Large {
    /// How much this client's request may have now.
    pub(super) fn room(&self, token: usize, rank: Rank) -> usize {
        match self.0.get(&rank) {
            Some(holder) if *holder != token => REQUEST,
            _ => MOST,
        }
    }

    /// A client has made use of it.
    pub(super) fn take(&mut self, token: usize, rank: Rank) {
        self.0.insert(rank, token);
    }

    /// Gives back what nobody needs any more.
    pub(super) fn review(&mut self, clients: &BTreeMap<usize, Client>) {
        self.0.retain(|_, token| clients.get(token).is_some_and(Client::is_occupied));
    }
}
