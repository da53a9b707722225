//! All neighbours that we announce to, and the routes that they shall have: a BGP speaker without its sockets.
//!
//! [`Speaker::handle`] what happens on connections, say with [`Speaker::set`] what shall be announced, then drain
//! [`Speaker::poll_output`]: that is when routes go out, so that whatever changed in one turn shares UPDATEs. Routes are a
//! level, not an edge: each peer is sent the difference between what shall be and what it has been told.
//!
//! This is for programs with sockets and a loop of their own; [`crate::Speaker`] is the same on a thread. Such a loop does
//! three things, in any order and as often as it likes:
//!
//! 1. What happened on a connection goes in: [`Speaker::handle`], with the ids that came with [`Output::Connect`]. What
//!    comes of a connection after it was closed, by either side, is ignored.
//! 2. What is to be done comes out: [`Speaker::flush`], then [`Speaker::poll_output`] until it is empty. Octets of
//!    [`Output::Send`] that the kernel has taken are reported ([`Event::Sent`]): more are made only as they go, so that a
//!    router that does not read costs little memory.
//! 3. Time passes: [`Speaker::handle_timeout`] at [`Speaker::poll_timeout`].
//!
//! Here the router is a [`Receiver`](super::receiver::Receiver) in the same program, and the loop a function:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use herald::bgp::peer::{Event, Notice};
//! use herald::bgp::receiver::{self, Options, Receiver};
//! use herald::bgp::speaker::{Output, Speaker};
//! use herald::config::{Asn, Attributes, Peer, PeerAs, SessionParameters};
//! use herald::prefix::Family;
//!
//! /// Carries octets both ways until nobody has anything to say; what the router saw, and what the speaker says of it.
//! fn run(now: Instant, speaker: &mut Speaker, router: &mut Receiver) -> (Vec<receiver::Event>, Vec<Notice>) {
//!     let (mut seen, mut notices, mut connection) = (vec![], vec![], None);
//!     loop {
//!         speaker.handle_timeout(now);
//!         speaker.flush(now);
//!         let mut is_idle = true;
//!         while let Some(output) = speaker.poll_output() {
//!             is_idle = false;
//!             match output {
//!                 Output::Connect(peer, id, _) => {
//!                     connection = Some((peer, id));
//!                     let (local, remote) = ("10.0.0.1:40000".parse().unwrap(), "10.0.0.9:179".parse().unwrap());
//!                     speaker.handle(now, peer, id, Event::Connected { local, remote });
//!                 }
//!                 Output::Send(peer, id, octets) => {
//!                     connection = Some((peer, id));
//!                     router.receive(now, &octets);
//!                     speaker.handle(now, peer, id, Event::Sent(octets.len()));
//!                 }
//!                 Output::Close(..) => {}
//!                 // Nobody connects to us here: nobody is handed to `accept`.
//!                 Output::Accept(..) | Output::TurnAway(..) | Output::Refused(_) => {}
//!                 Output::Notice(_, notice) => notices.push(notice),
//!             }
//!         }
//!         while let Some(action) = router.poll_action() {
//!             is_idle = false;
//!             match (action, connection) {
//!                 (receiver::Action::Send(octets), Some((peer, id))) => {
//!                     router.sent(now, octets.len());
//!                     speaker.handle(now, peer, id, Event::Bytes(&octets));
//!                 }
//!                 (receiver::Action::Send(_), None) => {}
//!                 (receiver::Action::Report(event), _) => seen.push(event),
//!             }
//!         }
//!         if is_idle && speaker.poll_timeout().is_none_or(|at| at > now) {
//!             return (seen, notices);
//!         }
//!     }
//! }
//!
//! let now = Instant::now();
//! let mut router = Receiver::new(now, &Options { local_as: Some(Asn(65000)), ..Options::default() }, 1);
//! let mut speaker = Speaker::new(2);
//! let (router_address, router_id) = ([10, 0, 0, 9].into(), [10, 0, 0, 1].into());
//! let session = SessionParameters::new(router_address, PeerAs::Number(Asn(65000)), Asn(65001), router_id);
//! speaker.configure(now, &[Arc::new(Peer::new("router", session))]);
//! speaker.set("192.0.2.1/32".parse().unwrap(), Some(Arc::default()));
//! speaker.release(now);
//!
//! let (seen, notices) = run(now, &mut speaker, &mut router);
//! assert!(matches!(&seen[1], receiver::Event::Announce(prefix, _) if prefix.to_string() == "192.0.2.1/32"));
//! assert!(seen.contains(&receiver::Event::EndOfRib(Family::Ipv4)));
//! assert!(notices.contains(&Notice::Synchronised(Family::Ipv4, 1)));
//!
//! // Only what changes is sent.
//! let attributes = Attributes { med: Some(10), ..Attributes::default() };
//! speaker.set("192.0.2.2/32".parse().unwrap(), Some(Arc::new(attributes)));
//! let (seen, _) = run(now, &mut speaker, &mut router);
//! assert!(matches!(&seen[..], [receiver::Event::Announce(_, attributes)] if attributes.med == Some(10)));
//! ```

mod arrivals;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use arrivals::Restraint;
pub use arrivals::{Arrival, Refusal, RefusalReason};

use super::drain::Drains;
use super::error::Notification;
use super::peer::{Action, ArrivalId, Change, ConnId, Event, Notice, Peer, State};
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
    /// See [`Action::Accept`]; the peer's configuration says how.
    Accept(ArrivalId, PeerId, ConnId, Arc<config::Peer>),
    /// Nobody's connection: to be closed, after these octets.
    TurnAway(ArrivalId, Vec<u8>),
    /// Tell the operator of connections that were turned away.
    Refused(Refusal),
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
    /// Where each of them is.
    addresses: BTreeMap<IpAddr, BTreeSet<PeerId>>,
    /// The most specific first.
    ranges: Vec<Arc<config::PeerRange>>,
    /// The peers that came out of a range.
    members: BTreeMap<PeerId, Arc<config::PeerRange>>,
    restraint: Restraint,
    next_peer: u64,
    deadlines: Deadlines<PeerId>,
    drains: Drains,
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
            addresses: BTreeMap::new(),
            ranges: Vec::new(),
            members: BTreeMap::new(),
            restraint: Restraint::default(),
            next_peer: 0,
            deadlines: Deadlines::new(),
            drains: Drains::default(),
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

    /// These routes and no others shall be announced. O(routes), but what goes out is the difference.
    pub fn replace(&mut self, routes: BTreeMap<Prefix, Arc<Attributes>>) {
        let gone: Vec<_> = self.rib.prefixes().filter(|prefix| !routes.contains_key(prefix)).copied().collect();
        for prefix in gone {
            self.rib.set(prefix, None);
        }
        for (prefix, attributes) in routes {
            self.rib.set(prefix, Some(attributes));
        }
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
        for (_, peer) in self.peers.iter().filter(|(id, _)| !self.members.contains_key(id)) {
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
        for (id, peer) in self.peers.iter_mut().filter(|(id, _)| !self.members.contains_key(id)) {
            let before = peer.config().session.address;
            match wanted.remove(&peer.config().name) {
                Some(next) => {
                    peer.configure(now, next.clone(), &self.rib);
                    arrivals::moved(&mut self.addresses, *id, Some(before), Some(peer.config().session.address));
                }
                None => {
                    peer.stop(now, &Notification::peer_deconfigured());
                    removed.push(*id);
                }
            }
            self.touched.insert(*id);
        }
        let mut left = BTreeSet::new();
        for id in removed {
            self.collect(id);
            left.extend(self.forget(id).map(|peer| peer.config().endpoint()));
        }
        let added: BTreeSet<_> = wanted.into_keys().collect();
        // In the order of the configuration, so that the operator's first peer is dialled first.
        for next in next.iter().filter(|peer| added.contains(&peer.name)) {
            let mut peer = Peer::new(now, next.clone(), self.rng.bits());
            peer.tell(now, self.drains.telling(&next.name), &self.rib);
            if left.contains(&next.endpoint()) {
                peer.follow(now);
            }
            if next.session.mode == config::Mode::Passive {
                self.outputs.push_back(Output::Notice(next.clone(), Notice::Waiting));
            }
            self.add(now, peer);
        }
    }

    fn add(&mut self, now: Instant, mut peer: Peer) -> PeerId {
        let id = PeerId(self.next_peer);
        self.next_peer += 1;
        if let Some(kept) = &self.kept {
            peer.resume(kept.clone());
        }
        if self.released {
            peer.release(now, &self.rib);
        }
        arrivals::moved(&mut self.addresses, id, None, Some(peer.config().session.address));
        self.peers.insert(id, peer);
        self.touched.insert(id);
        id
    }

    /// Removes a peer from everywhere.
    fn forget(&mut self, id: PeerId) -> Option<Peer> {
        let peer = self.peers.remove(&id)?;
        arrivals::moved(&mut self.addresses, id, Some(peer.config().session.address), None);
        self.members.remove(&id);
        self.deadlines.set(id, None);
        self.touched.remove(&id);
        Some(peer)
    }

    /// The neighbour on this interface has this link-local address. O(peers).
    pub fn found(&mut self, now: Instant, interface: &str, address: Ipv6Addr) {
        for (id, peer) in &mut self.peers {
            if peer.config().session.unnumbered_interface() == Some(interface) {
                let before = peer.config().session.address;
                peer.found(now, address, &self.rib);
                arrivals::moved(&mut self.addresses, *id, Some(before), Some(peer.config().session.address));
                self.touched.insert(*id);
            }
        }
    }

    /// Something happened on a peer's connection. Of a peer that is no more it is ignored.
    pub fn handle(&mut self, now: Instant, id: PeerId, conn: ConnId, event: Event<'_>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.handle(now, conn, event, &self.rib);
            self.touched.insert(id);
        }
    }

    /// Sends this peer all of its routes again; false when there is no such peer. O(peers).
    pub fn refresh(&mut self, now: Instant, name: &str) -> bool {
        let named = self.peers.iter_mut().find(|(_, peer)| &*peer.config().name == name);
        let Some((id, peer)) = named else { return false };
        peer.refresh(now, &self.rib);
        self.touched.insert(*id);
        true
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(name) = self.drains.expire(now) {
            self.tell(now, &name);
        }
        self.tell_refused(now);
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
        let timeouts = [self.deadlines.earliest(), self.drains.poll_timeout(), self.restraint.tell_at()];
        timeouts.into_iter().flatten().min()
    }

    /// An operator drains a peer: its routes get GRACEFUL_SHUTDOWN (RFC 8326), and are withdrawn at `until`; `None` ends
    /// that. One that is not configured is remembered.
    pub fn drain(&mut self, now: Instant, name: &str, until: Option<Instant>) {
        self.drains.set(now, name, until);
        self.tell(now, name);
    }

    /// Whoever has this name, or came out of the range of this name, is told what its drain says. O(peers).
    fn tell(&mut self, now: Instant, name: &str) {
        for (id, peer) in &mut self.peers {
            let range = self.members.get(id).map(|range| range.name());
            let own = peer.config().name.clone();
            if *own == *name || range.is_some_and(|range| **range == *name) {
                peer.tell(now, self.drains.telling_of(&own, range), &self.rib);
                self.touched.insert(*id);
            }
        }
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
            self.dismiss(id);
        }
        self.tell_refused(now);
    }

    /// The next thing to do; after [`flush`](Self::flush).
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether some router hears what we say.
    pub fn is_heard(&self) -> bool {
        self.peers.values().any(|peer| peer.state() == State::Established)
    }

    /// Whether all that shall be told has been handed to the kernel, to every peer with a session.
    pub fn is_synchronised(&self) -> bool {
        self.peers.values().all(Peer::is_synchronised)
    }

    /// Ends every session with this NOTIFICATION, for good: nobody is left to speak to.
    pub fn stop(&mut self, now: Instant, notification: &Notification) {
        self.end(|peer| peer.stop(now, notification));
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
        self.addresses.clear();
        self.ranges.clear();
        self.members.clear();
        self.restraint = Restraint::default();
        self.deadlines.clear();
        self.touched.clear();
    }

    /// Moves a peer's actions to the outputs and keeps its deadline.
    fn collect(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let mut notices = Vec::new();
        while let Some(action) = peer.poll_action() {
            self.outputs.push_back(match action {
                Action::Connect(conn) => Output::Connect(id, conn, peer.config().clone()),
                Action::Accept(conn, arrival) => Output::Accept(arrival, id, conn, peer.config().clone()),
                Action::Send(conn, bytes) => Output::Send(id, conn, bytes),
                Action::Close(conn) => Output::Close(id, conn),
                Action::Notice(notice) if self.members.contains_key(&id) => {
                    notices.push(notice);
                    continue;
                }
                Action::Notice(notice) => Output::Notice(peer.config().clone(), notice),
            });
        }
        self.deadlines.set(id, peer.poll_timeout());
        notices.into_iter().for_each(|notice| self.note(id, notice));
    }
}

fn by_name(peers: &[Arc<config::Peer>]) -> BTreeMap<&Arc<str>, &Arc<config::Peer>> {
    peers.iter().map(|peer| (&peer.name, peer)).collect()
}
