//! Stops for a restart, stops at once, and what a restart goes on from.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::saved::{Saved, SavedCheck, SavedPeer, SavedRoute, SavedVip};
use super::status::peer_address;
use super::{Engine, Output, Stopping};
use crate::announce::{Announce, Remembered};
use crate::bgp::error::Notification;
use crate::bgp::peer::State;
use crate::config::gobgp::PEER_NAME;
use crate::prefix::Prefix;
use crate::wall::WallClock;

/// What becomes of our routes at the peers with a session, when it ends without a word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heirs {
    /// These peers keep them (RFC 4724), by name.
    pub keep: Vec<Arc<str>>,
    /// These drop them.
    pub drop: Vec<Arc<str>>,
}

impl Engine {
    /// As [`new`](Self::new), for a daemon that has restarted: routers may still hold what was announced before.
    pub fn resume(now: Instant, seed: u64, remembered: BTreeMap<Prefix, Remembered>) -> Engine {
        let mut engine = Engine::new(now, seed);
        engine.remembered = remembered.keys().copied().collect();
        engine.speaker.resume(engine.remembered.clone());
        engine.announce = Announce::resume(remembered);
        engine
    }

    /// Before the first configuration: goes on from what checks said and what held VIPs back shortly ago. What was
    /// announced is, again, as soon as its first verdicts are in, and most of these are.
    pub fn inform(&mut self, now: Instant, clock: &WallClock, saved: &Saved) {
        self.health.restore(saved.restored(now, clock));
        self.announce.inform(saved.remembered(clock), saved.memories(now, clock));
    }

    /// How many checks say what they said before a restart, and have not run since. O(all).
    pub fn restored(&self) -> usize {
        self.health.restored()
    }

    /// What a restart could go on from. O(all).
    pub fn saved(&self, clock: &WallClock, boot_id: &str) -> Saved {
        let written = clock.timestamp(self.now);
        let standing = |(prefix, it)| SavedRoute::new(prefix, it, clock, written);
        let established = self.speaker.peers().filter(|(_, peer)| peer.state() == State::Established);
        let peer =
            |config: &crate::config::Peer| SavedPeer { name: config.name.to_string(), address: peer_address(config) };
        let mut saved = Saved::new(written, boot_id);
        saved.stopped = self.stopping.as_ref().is_some_and(|stopping| stopping.for_good);
        saved.vips = self.announce.standing_vips().filter_map(standing).collect();
        saved.aggregates = self.announce.standing_aggregates().filter_map(standing).collect();
        saved.checks = self.health.verdicts().map(|(check, said)| SavedCheck::new(check, said, clock)).collect();
        saved.holds = self.announce.memories().map(|(vip, memory)| SavedVip::new(vip, &memory, clock)).collect();
        saved.drains = self.drains().clone();
        saved.peers = established.map(|(_, it)| peer(it.config())).collect();
        saved
    }

    /// What would become of our routes if we left now.
    pub fn heirs(&self) -> Heirs {
        let mut heirs = Heirs::default();
        for (_, peer) in self.speaker.peers().filter(|(_, peer)| peer.state() == State::Established) {
            let list = if peer.is_helper() { &mut heirs.keep } else { &mut heirs.drop };
            list.push(peer.config().name.clone());
        }
        if let (true, Some(gobgp)) = (self.gobgp.is_heard(), &self.config.gobgp) {
            let list = if gobgp.graceful_restart { &mut heirs.keep } else { &mut heirs.drop };
            list.push(PEER_NAME.into());
        }
        heirs
    }

    /// Leaves the routes where they are.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.stopping.is_none() {
            self.stopping = Some(Stopping { text: String::new(), for_good: false, give_up_at: None, done: true });
            self.speaker.leave(now);
            self.gobgp.leave(now);
            self.collect();
            self.collect_gobgp(now);
            self.outputs.push(Output::Stopped);
        }
    }

    /// Says goodbye without a withdrawal: a NOTIFICATION takes all routes away as well.
    pub(super) fn stop_at_once(&mut self, now: Instant, text: &str) {
        if !self.stopping.as_ref().is_some_and(|stopping| stopping.done) {
            self.stopping = Some(Stopping { text: text.to_owned(), for_good: true, give_up_at: None, done: true });
            self.speaker.stop(now, &Notification::administrative_shutdown(text));
            self.gobgp.stop(now);
            self.collect();
            self.collect_gobgp(now);
            self.announce.abandon_ground();
            self.collect_ground();
            self.outputs.push(Output::Stopped);
        }
    }
}
