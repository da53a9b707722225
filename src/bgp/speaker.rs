//! All neighbours that we announce to, and the routes that they shall have: a BGP speaker without its sockets.
//!
//! [`Speaker::handle`] what happens on connections, say with [`Speaker::set`] what shall be announced, then drain
//! [`Speaker::poll_output`]: that is when routes go out, so that whatever changed in one turn shares UPDATEs. Routes are a
//! level, not an edge: each peer is sent the difference between what shall be and what it has been told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::error::Notification;
use super::peer::{Action, Change, ConnId, Event, Notice, Peer, State};
use crate::config::{self, Attributes};
use crate::prefix::Prefix;
use crate::rib::Rib;
use crate::rng::Rng;
use crate::timers::Deadlines;

/// A peer. Never used twice: one that a reload brings back is a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// What the driver must do.
#[derive(Debug)]
pub enum Output {
    /// Open a TCP connection to this peer.
    Connect(PeerId, ConnId, Arc<config::Peer>),
    /// See [`Action::Send`].
    Send(PeerId, ConnId, Vec<u8>),
    /// See [`Action::Close`].
    Close(PeerId, ConnId),
    /// Tell the operator.
    Notice(Arc<config::Peer>, Notice),
}

/// What a reload does to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerReload {
    /// New.
    Added,
    /// Its session is closed (Cease, Peer De-configured: RFC 4486).
    Removed,
    /// Its session is kept and its routes are announced again where they differ.
    Readvertised,
    /// Its session is closed and opened again because of these keys.
    Reset(Vec<&'static str>),
}

/// All peers, and the routes that they shall have.
#[derive(Debug)]
pub struct Speaker {
    rib: Rib,
    peers: BTreeMap<PeerId, Peer>,
    next_peer: u64,
    deadlines: Deadlines<PeerId>,
    /// Peers that were handed something since outputs were last drained.
    touched: BTreeSet<PeerId>,
    /// After a restart, until routes flow: what the peers may still hold of before.
    kept: Option<Arc<BTreeSet<Prefix>>>,
    released: bool,
    outputs: VecDeque<Output>,
    rng: Rng,
}

impl Speaker {
    /// Nobody to speak to, and nothing to say. `seed` is for jitter.
    pub fn new(seed: u64) -> Speaker {
        Speaker {
            rib: Rib::default(),
            peers: BTreeMap::new(),
            next_peer: 0,
            deadlines: Deadlines::new(),
            touched: BTreeSet::new(),
            kept: None,
            released: false,
            outputs: VecDeque::new(),
            rng: Rng::new(seed),
        }
    }

    /// The daemon has restarted, and peers may still hold these routes (RFC 4724). Before the first
    /// [`configure`](Self::configure).
    pub fn resume(&mut self, kept: BTreeSet<Prefix>) {
        self.kept = Some(Arc::new(kept));
    }

    /// Nothing is decided about `prefix` yet, until it is [`set`](Self::set): a peer that still holds it keeps it.
    pub fn leave_undecided(&mut self, prefix: Prefix) {
        self.rib.leave_undecided(prefix);
    }

    /// `prefix` shall be announced with these attributes, or not at all. Goes out with [`flush`](Self::flush).
    pub fn set(&mut self, prefix: Prefix, wanted: Option<Arc<Attributes>>) {
        self.rib.set(prefix, wanted);
    }

    /// The routes that all peers shall have.
    pub fn rib(&self) -> &Rib {
        &self.rib
    }

    /// The peers, those that were added first in front.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    /// A peer.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    /// A peer, by its name. O(peers).
    pub fn peer_named(&self, name: &str) -> Option<&Peer> {
        self.peers.values().find(|peer| &*peer.config().name == name)
    }

    /// What [`configure`](Self::configure) with `next` would do to the peers; those that it leaves alone are not listed.
    pub fn change(&self, next: &[Arc<config::Peer>]) -> Vec<(Arc<str>, PeerReload)> {
        let mut wanted = by_name(next);
        let mut changes = Vec::new();
        for peer in self.peers.values() {
            let name = peer.config().name.clone();
            let change = match wanted.remove(&name) {
                None => PeerReload::Removed,
                Some(next) => match peer.change(next) {
                    Change::Keep => continue,
                    Change::Readvertise => PeerReload::Readvertised,
                    Change::Reset(keys) => PeerReload::Reset(keys),
                },
            };
            changes.push((name, change));
        }
        changes.extend(wanted.into_keys().map(|name| (name.clone(), PeerReload::Added)));
        changes
    }

    /// Takes a new list of peers: keeps those that are in it, adds, resets, and ends those that are not.
    pub fn configure(&mut self, now: Instant, next: &[Arc<config::Peer>]) {
        let mut wanted = by_name(next);
        let mut removed = Vec::new();
        for (id, peer) in &mut self.peers {
            match wanted.remove(&peer.config().name) {
                Some(next) => peer.configure(now, next.clone(), &self.rib),
                None => {
                    peer.stop(now, Notification::peer_deconfigured());
                    removed.push(*id);
                }
            }
            self.touched.insert(*id);
        }
        let mut left = BTreeSet::new();
        for id in removed {
            self.collect(id);
            left.extend(self.peers.remove(&id).map(|peer| peer.config().endpoint()));
            self.deadlines.set(id, None);
            self.touched.remove(&id);
        }
        let added: BTreeSet<_> = wanted.into_keys().collect();
        // In the order of the configuration, so that the operator's first peer is dialled first.
        for next in next.iter().filter(|peer| added.contains(&peer.name)) {
            let id = PeerId(self.next_peer);
            self.next_peer += 1;
            let mut peer = Peer::new(now, next.clone(), self.rng.bits());
            if let Some(kept) = &self.kept {
                peer.resume(kept.clone());
            }
            if left.contains(&next.endpoint()) {
                peer.follow(now);
            }
            if self.released {
                peer.release(now, &self.rib);
            }
            self.peers.insert(id, peer);
            self.touched.insert(id);
        }
    }

    /// Something happened on a peer's connection. Of a peer that is no more it is ignored.
    pub fn handle(&mut self, now: Instant, id: PeerId, conn: ConnId, event: Event<'_>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.handle(now, conn, event, &self.rib);
            self.touched.insert(id);
        }
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.expire(now) {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.handle_timeout(now, &self.rib);
                self.touched.insert(id);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work; asked after outputs were drained. After a timeout
    /// handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.earliest()
    }

    /// Routes may flow from now on; see [`Peer::release`].
    pub fn release(&mut self, now: Instant) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        self.kept = None;
        self.rib.decide_all();
        for (id, peer) in &mut self.peers {
            peer.release(now, &self.rib);
            self.touched.insert(*id);
        }
    }

    /// Hands what changed in the RIB to the peers, and what the peers want done to [`poll_output`](Self::poll_output).
    /// Costs what changed, times peers.
    pub fn flush(&mut self, now: Instant) {
        let changed = self.rib.take_changed();
        if !changed.is_empty() {
            for (id, peer) in &mut self.peers {
                peer.rib_changed(now, &changed, &self.rib);
                self.touched.insert(*id);
            }
        }
        for id in std::mem::take(&mut self.touched) {
            self.collect(id);
        }
    }

    /// The next thing to do; after [`flush`](Self::flush).
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether some router hears what we say.
    pub fn is_heard(&self) -> bool {
        self.peers.values().any(|peer| peer.status().state == State::Established)
    }

    /// Whether all that shall be told has been handed to the kernel, to every peer with a session.
    pub fn is_synchronised(&self) -> bool {
        self.peers.values().all(Peer::is_synchronised)
    }

    /// Ends every session with this NOTIFICATION, for good: nobody is left to speak to.
    pub fn stop(&mut self, now: Instant, notification: &Notification) {
        self.end(|peer| peer.stop(now, notification.clone()));
    }

    /// Ends every session without a word, so that peers with graceful restart keep our routes (RFC 4724 §4).
    pub fn leave(&mut self, now: Instant) {
        self.end(|peer| peer.leave(now));
    }

    fn end(&mut self, mut end: impl FnMut(&mut Peer)) {
        let ids: Vec<_> = self.peers.keys().copied().collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                end(peer);
            }
            self.collect(id);
        }
        self.peers.clear();
        self.deadlines.clear();
        self.touched.clear();
    }

    /// Moves a peer's actions to the outputs and keeps its deadline.
    fn collect(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        while let Some(action) = peer.poll_action() {
            self.outputs.push_back(match action {
                Action::Connect(conn) => Output::Connect(id, conn, peer.config().clone()),
                Action::Send(conn, bytes) => Output::Send(id, conn, bytes),
                Action::Close(conn) => Output::Close(id, conn),
                Action::Notice(notice) => Output::Notice(peer.config().clone(), notice),
            });
        }
        self.deadlines.set(id, peer.poll_timeout());
    }
}

fn by_name(peers: &[Arc<config::Peer>]) -> BTreeMap<&Arc<str>, &Arc<config::Peer>> {
    peers.iter().map(|peer| (&peer.name, peer)).collect()
}
