//! Connections that routers make to us: whose they are, and the peers that come and go with them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Output, PeerId, PeerReload, Speaker};
use crate::bgp::cause::Cause;
use crate::bgp::error::Notification;
use crate::bgp::message::Message;
use crate::bgp::peer::{ArrivalId, Notice, Peer, State};
use crate::config::PeerRange;

/// A connection that somebody made to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The driver's number for it.
    pub id: ArrivalId,
    /// Our end.
    pub local: SocketAddr,
    /// Theirs, from whatever port.
    pub remote: SocketAddr,
    /// The interface that a link-local address belongs to.
    pub zone: Option<String>,
}

/// Connections that came to nothing since the operator was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where the last one came from, with its zone.
    pub remote: String,
    /// Why it came to nothing.
    pub reason: RefusalReason,
    /// How many there were.
    pub count: u64,
}

/// Why a connection came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// No peer and no range has this address.
    Stranger,
    /// There is a peer with this address, but we connect to it.
    Active(Arc<str>),
    /// There is a peer with this address, but it is to connect to this one of ours.
    OtherLocal(Arc<str>, IpAddr),
    /// The range has as many peers as it may.
    Full(Arc<str>, usize),
    /// It was one of a range, and there was no session.
    NotEstablished(Arc<str>, Cause),
}

/// The operator is told of what comes to nothing at most so often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Keeps what comes from strangers from flooding the log.
#[derive(Debug, Default)]
pub(super) struct Restraint {
    told_at: Option<Instant>,
    waiting: Option<Refusal>,
}

impl Restraint {
    /// When to tell what waits.
    pub(super) fn tell_at(&self) -> Option<Instant> {
        self.waiting.as_ref().and(self.told_at).map(|at| at + TELL_EVERY)
    }

    fn note(&mut self, remote: String, reason: RefusalReason) {
        let count = self.waiting.as_ref().map_or(1, |waiting| waiting.count.saturating_add(1));
        self.waiting = Some(Refusal { remote, reason, count });
    }
}

/// Whose a connection is.
enum Owner {
    Peer(PeerId),
    Range(Arc<PeerRange>),
    Nobody(RefusalReason),
}

impl Speaker {
    /// Takes a connection that somebody made: it becomes a peer's, or is turned away.
    pub fn accept(&mut self, now: Instant, arrival: &Arrival) {
        let id = match self.owner(arrival) {
            Owner::Peer(id) => Ok(id),
            Owner::Range(range) => self.new_member(now, range, arrival),
            Owner::Nobody(reason) => Err(reason),
        };
        match id {
            Ok(id) => {
                if let (Some(zone), IpAddr::V6(address)) = (&arrival.zone, arrival.remote.ip())
                    && self.peers.get(&id).is_some_and(|peer| peer.config().session.address_is_unknown())
                {
                    self.found(now, zone, address);
                }
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.accept(now, arrival.id, arrival.local, arrival.remote, &self.rib);
                    self.touched.insert(id);
                }
            }
            Err(reason) => self.refuse(arrival, reason),
        }
    }

    /// An exact peer goes before a range, and of those the most specific.
    fn owner(&self, arrival: &Arrival) -> Owner {
        let (local, remote) = (arrival.local.ip(), arrival.remote.ip());
        let mut unsuitable = None;
        let mut found: Option<(bool, PeerId)> = None;
        // An unnumbered peer that has not been found yet is wherever its interface leads to.
        let unknown = self.addresses.get(&Ipv6Addr::UNSPECIFIED.into()).filter(|_| arrival.zone.is_some());
        for id in self.addresses.get(&remote).into_iter().chain(unknown).flatten() {
            let Some(peer) = self.peers.get(id) else { continue };
            let (name, session) = (&peer.config().name, &peer.config().session);
            match session.source {
                _ if session.zone != arrival.zone => {}
                _ if !session.mode.accepts() => unsuitable = Some(RefusalReason::Active(name.clone())),
                Some(source) if source != local => {
                    unsuitable = Some(RefusalReason::OtherLocal(name.clone(), source));
                }
                // One that names our address goes before one that does not.
                source => found = found.max(Some((source.is_some(), *id))),
            }
        }
        if let Some((_, id)) = found {
            return Owner::Peer(id);
        }
        if let Some(reason) = unsuitable {
            return Owner::Nobody(reason);
        }
        let suits = |range: &&Arc<PeerRange>| {
            range.contains(remote, arrival.zone.as_deref())
                && range.template.session.source.is_none_or(|source| source == local)
        };
        match self.ranges.iter().find(suits) {
            Some(range) => Owner::Range(range.clone()),
            None => Owner::Nobody(RefusalReason::Stranger),
        }
    }

    /// The neighbour becomes a peer of its own, unless there are enough of them.
    fn new_member(&mut self, now: Instant, range: Arc<PeerRange>, arrival: &Arrival) -> Result<PeerId, RefusalReason> {
        let members = self.members.values().filter(|other| other.name() == range.name()).count();
        if members >= range.limit {
            return Err(RefusalReason::Full(range.name().clone(), range.limit));
        }
        let mut peer = Peer::new(now, Arc::new(range.peer(arrival.remote.ip())), self.rng.bits());
        let telling = self.drains.telling_of(&peer.config().name, Some(range.name()));
        peer.tell(now, telling, &self.rib);
        if self.released {
            peer.note_return();
        }
        let id = self.add(now, peer);
        self.members.insert(id, range);
        Ok(id)
    }

    fn refuse(&mut self, arrival: &Arrival, reason: RefusalReason) {
        let mut last_words = Vec::new();
        // A stranger gets none: it need not be a router. RFC 4486 §4 has them for one that may come back.
        if let RefusalReason::Full(..) = reason {
            Message::Notification(Notification::out_of_resources()).encode(&mut last_words);
        }
        self.outputs.push_back(Output::TurnAway(arrival.id, last_words));
        let remote = arrival.remote.ip();
        let remote = arrival.zone.as_ref().map_or(remote.to_string(), |zone| format!("{remote}%{zone}"));
        self.restraint.note(remote, reason);
    }

    /// Tells of what came to nothing, unless something like it was told a moment ago.
    pub(super) fn tell_refused(&mut self, now: Instant) {
        if self.restraint.told_at.is_none_or(|at| at + TELL_EVERY <= now)
            && let Some(refusal) = self.restraint.waiting.take()
        {
            self.restraint.told_at = Some(now);
            self.outputs.push_back(Output::Refused(refusal));
        }
    }

    /// What a peer has to say goes to the operator, but for the failure of a range's member before it had a session: it
    /// is gone with that and remembers nothing, so every further one would be news.
    pub(super) fn note(&mut self, id: PeerId, notice: Notice) {
        let Some(peer) = self.peers.get(&id).map(|peer| peer.config().clone()) else { return };
        match (notice, self.members.get(&id)) {
            (Notice::State { from, cause: Some(cause), .. }, Some(range)) if from != State::Established => {
                let reason = RefusalReason::NotEstablished(range.name().clone(), cause);
                self.restraint.note(peer.session.address.to_string(), reason);
            }
            (notice, _) => self.outputs.push_back(Output::Notice(peer, notice)),
        }
    }

    /// A member of a range is a peer for as long as it has a connection.
    pub(super) fn dismiss(&mut self, id: PeerId) {
        if self.members.contains_key(&id) && self.peers.get(&id).is_some_and(Peer::is_vacant) {
            self.forget(id);
        }
    }

    /// The peers that came out of ranges, in the order of ranges and addresses.
    pub fn members(&self) -> impl Iterator<Item = &Peer> {
        let mut members: Vec<(&Arc<str>, IpAddr, &Peer)> = Vec::new();
        for (id, range) in &self.members {
            members.extend(self.peers.get(id).map(|peer| (range.name(), peer.config().session.address, peer)));
        }
        members.sort_by_key(|(name, address, _)| ((*name).clone(), *address));
        members.into_iter().map(|(_, _, peer)| peer)
    }

    /// What [`configure_ranges`](Self::configure_ranges) with `next` would do to the ranges; those that it leaves alone
    /// are not listed.
    pub fn change_ranges(&self, next: &[Arc<PeerRange>]) -> Vec<(Arc<str>, PeerReload)> {
        let mut wanted: BTreeMap<_, _> = next.iter().map(|range| (range.name(), range)).collect();
        let mut changes = Vec::new();
        for range in &self.ranges {
            let change = match wanted.remove(range.name()) {
                None => PeerReload::Removed,
                Some(next) => {
                    let keys = range.template.session.changes(&next.template.session);
                    match (keys.is_empty(), range.template.live.same_routes(&next.template.live)) {
                        (false, _) => PeerReload::Reset(keys),
                        (true, false) => PeerReload::Readvertised,
                        (true, true) => continue,
                    }
                }
            };
            changes.push((range.name().clone(), change));
        }
        changes.extend(wanted.into_keys().map(|name| (name.clone(), PeerReload::Added)));
        changes
    }

    /// Takes a new list of ranges, after [`configure`](Self::configure). Who came out of one that is still there for its
    /// address is treated like any peer; the others have to go (Cease, Peer De-configured: RFC 4486).
    pub fn configure_ranges(&mut self, now: Instant, next: &[Arc<PeerRange>]) {
        self.ranges = next.to_vec();
        // The sort is stable, and of two of one length no address is in both.
        self.ranges.sort_by_key(|range| Reverse(range.prefix.len()));
        let members: Vec<(PeerId, Arc<str>)> =
            self.members.iter().map(|(id, range)| (*id, range.name().clone())).collect();
        for (id, name) in members {
            let range = self.range_for(id).filter(|range| *range.name() == name);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if let Some(range) = range {
                let address = peer.config().session.address;
                peer.configure(now, Arc::new(range.peer(address)), &self.rib);
                self.members.insert(id, range);
                self.touched.insert(id);
            } else {
                peer.stop(now, &Notification::peer_deconfigured());
                self.collect(id);
                self.forget(id);
            }
        }
    }

    /// The range that would take this member now; `None` too when there is an exact peer for it.
    fn range_for(&self, id: PeerId) -> Option<Arc<PeerRange>> {
        let session = &self.peers.get(&id)?.config().session;
        let namesakes = self.addresses.get(&session.address)?.iter().filter(|other| **other != id);
        let mut namesakes = namesakes.filter_map(|other| Some(&self.peers.get(other)?.config().session));
        if namesakes.any(|other| other.zone == session.zone) {
            return None;
        }
        self.ranges.iter().find(|range| range.contains(session.address, session.zone.as_deref())).cloned()
    }
}

/// Keeps the index of peers by address.
pub(super) fn moved(
    addresses: &mut BTreeMap<IpAddr, BTreeSet<PeerId>>,
    id: PeerId,
    from: Option<IpAddr>,
    to: Option<IpAddr>,
) {
    if let Some(from) = from
        && let Some(here) = addresses.get_mut(&from)
    {
        here.remove(&id);
        if here.is_empty() {
            addresses.remove(&from);
        }
    }
    if let Some(to) = to {
        addresses.entry(to).or_default().insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::peer::{ConnId, Event};
    use crate::bgp::speaker::Output;
    use crate::config::{self, Asn, Mode, PeerAs, SessionParameters};

    struct World {
        now: Instant,
        speaker: Speaker,
        next: u64,
        /// What was done with each arrival: a peer's name, or the octets that it was turned away with.
        fates: Vec<Result<(String, PeerId, ConnId), usize>>,
        refusals: Vec<Refusal>,
        notices: Vec<(String, Notice)>,
        sent: Vec<u8>,
    }

    fn peer(name: &str, address: &str, mode: Mode) -> config::Peer {
        let asn = PeerAs::External;
        let mut session = SessionParameters::new(address.parse().unwrap(), asn, Asn(65001), [1, 1, 1, 1].into());
        session.mode = mode;
        config::Peer::new(name, session)
    }

    fn range(name: &str, prefix: &str, limit: usize) -> Arc<PeerRange> {
        let prefix: crate::prefix::Prefix = prefix.parse().unwrap();
        let template = Arc::new(peer(name, &prefix.address().to_string(), Mode::Passive));
        Arc::new(PeerRange { prefix, limit, template })
    }

    impl World {
        fn new(peers: &[config::Peer], ranges: &[Arc<PeerRange>]) -> World {
            let now = crate::timers::origin();
            let (speaker, fates) = (Speaker::new(1), Vec::new());
            let (refusals, notices, sent) = (Vec::new(), Vec::new(), Vec::new());
            let mut world = World { now, speaker, next: 0, fates, refusals, notices, sent };
            world.configure(peers, ranges);
            world
        }

        fn configure(&mut self, peers: &[config::Peer], ranges: &[Arc<PeerRange>]) {
            let peers: Vec<_> = peers.iter().cloned().map(Arc::new).collect();
            self.speaker.configure(self.now, &peers);
            self.speaker.configure_ranges(self.now, ranges);
            self.run();
        }

        fn run(&mut self) {
            self.speaker.flush(self.now);
            while let Some(output) = self.speaker.poll_output() {
                match output {
                    Output::Accept(_, id, conn, peer) => self.fates.push(Ok((peer.name.to_string(), id, conn))),
                    Output::TurnAway(_, words) => self.fates.push(Err(words.len())),
                    Output::Refused(refusal) => self.refusals.push(refusal),
                    Output::Notice(peer, notice) => self.notices.push((peer.name.to_string(), notice)),
                    Output::Send(_, _, octets) => self.sent.extend(octets),
                    Output::Connect(..) | Output::Close(..) => {}
                }
            }
        }

        /// What becomes of a connection from there.
        fn knock(&mut self, from: &str) -> Result<(String, PeerId, ConnId), usize> {
            let (address, zone) = from.split_once('%').map_or((from, None), |(it, zone)| (it, Some(zone.to_owned())));
            let remote = SocketAddr::new(address.parse().unwrap(), 40_000);
            let local = if remote.is_ipv4() { "10.9.9.9:179" } else { "[fd00::9]:179" }.parse().unwrap();
            self.next += 1;
            self.speaker.accept(self.now, &Arrival { id: ArrivalId(self.next), local, remote, zone });
            self.run();
            self.fates.pop().unwrap()
        }

        fn owner(&mut self, from: &str) -> String {
            self.knock(from).map_or_else(|words| format!("nobody, {words}"), |(name, ..)| name)
        }

        fn names(&self) -> Vec<String> {
            self.speaker.members().map(|peer| peer.config().name.to_string()).collect()
        }
    }

    #[test]
    fn whose_a_connection_is() {
        let mut named = peer("named", "10.1.0.3", Mode::Passive);
        named.session.source = Some([10, 9, 9, 9].into());
        let mut elsewhere = peer("elsewhere", "10.1.0.4", Mode::Passive);
        elsewhere.session.source = Some([10, 9, 9, 8].into());
        let mut local = peer("local", "fe80::1", Mode::Passive);
        local.session.zone = Some("eth0".into());
        let peers = [
            peer("passive", "10.1.0.1", Mode::Passive),
            peer("active", "10.1.0.2", Mode::Active),
            peer("any", "10.1.0.3", Mode::Both),
            named,
            elsewhere,
            local,
        ];
        let ranges = [range("wide", "10.0.0.0/8", 9), range("narrow", "10.1.0.0/24", 9), range("six", "fd00::/16", 9)];
        let mut world = World::new(&peers, &ranges);
        for (from, owner) in [
            ("10.1.0.1", "passive"),
            ("10.1.0.2", "nobody, 0"),
            ("10.1.0.3", "named"),
            ("10.1.0.4", "nobody, 0"),
            ("10.1.0.5", "narrow@10.1.0.5"),
            ("10.1.1.5", "wide@10.1.1.5"),
            ("11.1.1.5", "nobody, 0"),
            ("fe80::1%eth0", "local"),
            ("fe80::1%eth1", "nobody, 0"),
            ("fd00::7", "six@fd00::7"),
        ] {
            assert_eq!(world.owner(from), owner, "{from}");
        }
        assert_eq!(world.names(), ["narrow@10.1.0.5", "six@fd00::7", "wide@10.1.1.5"]);
        // The same neighbour again is the same peer.
        assert_eq!(world.owner("10.1.1.5"), "wide@10.1.1.5");
        assert_eq!(world.names().len(), 3);
        let waiting =
            world.notices.iter().filter(|(_, notice)| *notice == Notice::Waiting).map(|(name, _)| name.as_str());
        assert_eq!(waiting.collect::<Vec<_>>(), ["passive", "named", "elsewhere", "local"]);
    }

    #[test]
    fn a_member_is_there_for_as_long_as_its_connection() {
        let mut world = World::new(&[], &[range("edge", "10.1.0.0/24", 2)]);
        let (_, id, conn) = world.knock("10.1.0.1").unwrap();
        world.knock("10.1.0.2").unwrap();
        assert_eq!(world.knock("10.1.0.3"), Err(21), "Cease/Out of Resources");
        world.speaker.handle(world.now, id, conn, Event::Closed(None));
        world.run();
        assert_eq!(world.names(), ["edge@10.1.0.2"]);
        assert!(world.knock("10.1.0.3").is_ok());
        world.speaker.stop(world.now, &Notification::administrative_shutdown(""));
        assert_eq!((world.names().len(), world.speaker.poll_timeout()), (0, None));
        assert_eq!(world.owner("10.1.0.1"), "nobody, 0");
    }

    /// RFC 4724 §4.2: without the F bit the router drops what it kept of us.
    #[test]
    fn a_member_that_is_back_hears_that_forwarding_went_on() {
        let mut edge = PeerRange::clone(&range("edge", "10.1.0.0/24", 2));
        Arc::make_mut(&mut edge.template).session.graceful_restart = config::RestartTime::from_secs(120);
        let ranges = [Arc::new(edge)];
        let offered = |world: &mut World| {
            world.sent.clear();
            let (_, id, conn) = world.knock("10.1.0.1").unwrap();
            let at = world.sent.windows(2).position(|window| window == [64, 10]).unwrap() + 2;
            let (head, flags) = (world.sent[at] & 0x80, world.sent[at + 5]);
            world.speaker.handle(world.now, id, conn, Event::Closed(None));
            world.run();
            (head, flags)
        };
        let mut world = World::new(&[], &ranges);
        assert_eq!(offered(&mut world), (0, 0), "a first start");
        world.speaker.release(world.now);
        assert_eq!(offered(&mut world), (0, 0x80));
        // After a restart, before the last verdict and after it.
        let mut world = World::new(&[], &ranges);
        world.speaker.resume(std::collections::BTreeSet::new());
        assert_eq!(offered(&mut world), (0x80, 0x80));
        world.speaker.release(world.now);
        assert_eq!(offered(&mut world), (0, 0x80));
    }

    #[test]
    fn a_thousand_strangers_are_told_of_in_two_lines() {
        let mut world = World::new(&[], &[range("edge", "10.1.0.0/24", 1)]);
        for number in 0..1000 {
            world.owner(&format!("11.0.{}.{}", number / 250, number % 250));
        }
        // And a neighbour that never gets anywhere.
        for _ in 0..100 {
            let (_, id, conn) = world.knock("10.1.0.1").unwrap();
            world.speaker.handle(world.now, id, conn, Event::Closed(None));
            world.run();
        }
        assert_eq!(world.refusals.iter().map(|refusal| refusal.count).collect::<Vec<_>>(), [1]);
        let at = world.speaker.poll_timeout().unwrap();
        assert_eq!(at, world.now + TELL_EVERY);
        world.now = at;
        world.speaker.handle_timeout(at);
        world.run();
        assert_eq!((world.refusals[1].count, world.refusals[1].remote.as_str()), (1099, "10.1.0.1"));
        assert_eq!(world.speaker.poll_timeout(), None);
        assert!(world.notices.iter().all(|(_, notice)| !matches!(notice, Notice::State { cause: Some(_), .. })));
    }

    #[test]
    fn a_reload_keeps_those_whose_range_is_the_same() {
        let ranges = [range("wide", "10.0.0.0/8", 9), range("narrow", "10.1.0.0/24", 9)];
        let mut world = World::new(&[], &ranges);
        for from in ["10.1.0.1", "10.1.0.2", "10.2.0.1"] {
            world.knock(from).unwrap();
        }
        let all = ["narrow@10.1.0.1", "narrow@10.1.0.2", "wide@10.2.0.1"];
        world.configure(&[], &ranges);
        assert_eq!((world.names(), world.speaker.change_ranges(&ranges)), (all.map(str::to_owned).to_vec(), vec![]));
        // One has a peer of its own now.
        world.configure(&[peer("own", "10.1.0.2", Mode::Passive)], &ranges);
        assert_eq!(world.names(), ["narrow@10.1.0.1", "wide@10.2.0.1"]);
        assert_eq!(world.owner("10.1.0.2"), "own");
        // Another range is the more specific.
        let split = [ranges[0].clone(), ranges[1].clone(), range("two", "10.2.0.0/16", 9)];
        assert_eq!(world.speaker.change_ranges(&split), [("two".into(), PeerReload::Added)]);
        world.configure(&[], &split);
        assert_eq!(world.names(), ["narrow@10.1.0.1"]);
        // A key that needs a new session ends the old one, and with it the member.
        let mut other = PeerRange::clone(&ranges[1]);
        Arc::make_mut(&mut other.template).session.hold_time = config::HoldTime::OFF;
        let changed = [ranges[0].clone(), Arc::new(other)];
        let expected = [("two".into(), PeerReload::Removed), ("narrow".into(), PeerReload::Reset(vec!["hold_time"]))];
        let mut changes = world.speaker.change_ranges(&changed);
        changes.sort_by_key(|(name, _)| Reverse(name.clone()));
        assert_eq!(changes, expected);
        world.configure(&[], &changed);
        assert_eq!(world.names(), [""; 0]);
    }
}
