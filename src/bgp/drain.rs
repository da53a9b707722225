//! Peers that an operator drains (RFC 8326): their routes say that they will go, and then they go. Sessions stay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::timers::Deadlines;

/// What a peer is told of the routes that it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Telling {
    /// All, as they are.
    #[default]
    Everything,
    /// All, with GRACEFUL_SHUTDOWN.
    Graceful,
    /// None.
    Nothing,
}

/// The drained peers, by name, whether they are configured or not.
#[derive(Debug, Default)]
pub(super) struct Drains {
    peers: BTreeMap<Arc<str>, Telling>,
    /// Until when routes say that they will go.
    ends: Deadlines<Arc<str>>,
}

impl Drains {
    /// What a peer is told now.
    pub(super) fn telling(&self, name: &str) -> Telling {
        self.peers.get(name).copied().unwrap_or_default()
    }

    /// What a peer is told now that may have come out of a range, which is drained with all that come out of it.
    pub(super) fn telling_of(&self, name: &str, range: Option<&Arc<str>>) -> Telling {
        range.map_or(Telling::Everything, |range| self.telling(range)).max(self.telling(name))
    }

    /// Begins to drain a peer, which is told nothing any more from `until`; `None` ends it.
    pub(super) fn set(&mut self, now: Instant, name: &str, until: Option<Instant>) {
        let name: Arc<str> = name.into();
        self.ends.set(name.clone(), until.filter(|until| *until > now));
        match until {
            Some(until) if until > now => self.peers.insert(name, Telling::Graceful),
            Some(_) => self.peers.insert(name, Telling::Nothing),
            None => self.peers.remove(&name),
        };
    }

    /// The next peer that has been told for long enough that its routes will go.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Arc<str>> {
        let name = self.ends.expire(now)?;
        self.peers.insert(name.clone(), Telling::Nothing);
        Some(name)
    }

    /// When [`expire`](Self::expire) has one.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ends.earliest()
    }
}
