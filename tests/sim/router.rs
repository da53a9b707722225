//! A router: the far end of sessions, with moods. It judges every message that it gets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald::bgp::peer::{ArrivalId, ConnId};
use herald::config::{self, NextHop4, NextHop6};
use herald::engine::PeerId;
use herald::prefix::{Family, Prefix};

use crate::link::Link;
use crate::rules::Rules;
use crate::traits::Traits;
use crate::wire::{self, Expectation, Restart, Route};

#[derive(Debug)]
pub(crate) struct Router {
    /// Known from the first connection on.
    pub(crate) peer: Option<PeerId>,
    pub(crate) config: Arc<config::Peer>,
    pub(crate) traits: Traits,
    /// All connections that there are, the oldest first.
    pub(crate) links: Vec<Link>,
    /// A connection that it makes, and of which it does not know yet what becomes of it.
    pub(crate) calling: Option<ArrivalId>,
    /// Since when it is known why the last session is over.
    pub(crate) excused: Option<Instant>,
    /// Connections that the router has ended; what the engine had in hand for them is of no use.
    pub(crate) lost: BTreeSet<ConnId>,
    /// Connections that Herald gave up for another one since the last session came up.
    pub(crate) collisions: u32,
    /// How many connections have come to nothing, and what Herald said at the end of the last one.
    pub(crate) losses: u32,
    pub(crate) last_words: Option<(u8, u8)>,
    /// Routes of a session that was lost, and until when they are kept.
    pub(crate) kept: (BTreeMap<Prefix, Arc<Route>>, Option<Instant>),
    /// When the last connection ended, and whether the router had made it.
    pub(crate) fell: Option<(Instant, bool)>,
    /// OPENs that it has refused since Herald last forgot about it.
    pub(crate) refusals: u32,
    has_refused: bool,
}

/// What a router does in answer to what it read.
#[derive(Debug)]
pub(crate) enum Answer {
    Say(Vec<u8>),
    /// It takes Herald's OPEN, having said its own.
    Confirm,
    /// The session is up; keepalives begin.
    Established,
    /// Another connection has won (RFC 4271 §6.8).
    GiveUp(ConnId),
    /// It does not take this OPEN: the data of the NOTIFICATION.
    Refuse(Vec<u8>),
}

impl Router {
    pub(crate) fn new(config: &Arc<config::Peer>, traits: Traits) -> Router {
        Router {
            peer: None,
            config: config.clone(),
            traits,
            links: Vec::new(),
            calling: None,
            excused: None,
            lost: BTreeSet::new(),
            collisions: 0,
            losses: 0,
            last_words: None,
            kept: (BTreeMap::new(), None),
            fell: None,
            refusals: 0,
            has_refused: false,
        }
    }

    /// The connection that counts for the router: the one that has come the furthest.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.links.iter().filter(|link| !link.loser && !link.ghost).max_by_key(|link| link.progress())
    }

    pub(crate) fn link_mut(&mut self) -> Option<&mut Link> {
        self.links.iter_mut().filter(|link| !link.loser && !link.ghost).max_by_key(|link| link.progress())
    }

    pub(crate) fn find(&mut self, conn: ConnId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.conn == conn)
    }

    /// The hold time that both sides take.
    pub(crate) fn hold(&self) -> Duration {
        let (ours, theirs) = (self.config.session.hold_time.as_secs(), self.traits.hold);
        Duration::from_secs(ours.min(theirs).into())
    }

    /// Families that may be used on the session that there is.
    pub(crate) fn families(&self) -> [bool; 2] {
        self.families_with(self.link().and_then(|link| link.open.as_ref()))
    }

    /// Families that both sides offer; of Herald's OPEN there is none yet, or this one.
    pub(crate) fn families_with(&self, open: Option<&wire::Open>) -> [bool; 2] {
        let offered = self.traits.families.unwrap_or([true, false]);
        [Family::Ipv4, Family::Ipv6].map(|family| {
            let theirs = open.map_or_else(|| self.config.session.families.contains(&family), |open| open.takes(family));
            offered[family as usize] && theirs
        })
    }

    /// Our end of the connection.
    pub(crate) fn local(&self) -> IpAddr {
        if self.config.session.address.is_ipv4() {
            "10.0.0.100".parse().unwrap()
        } else {
            "fd00:99::100".parse().unwrap()
        }
    }

    /// The next hop that routes of this family must have; none, and they must not come.
    pub(crate) fn next_hop(&self, family: Family) -> Option<Vec<IpAddr>> {
        let own = Some(vec![self.local()]).filter(|own| Family::of(own[0]) == family);
        match (family, self.config.live.next_hop_ipv4, self.config.live.next_hop_ipv6) {
            (Family::Ipv4, NextHop4::SelfAddress, _) | (Family::Ipv6, _, NextHop6::SelfAddress) => own,
            (Family::Ipv4, NextHop4::Address(address), _) => Some(vec![address.into()]),
            (Family::Ipv6, _, NextHop6::Address(address)) => Some(vec![address.into()]),
            (Family::Ipv6, _, NextHop6::Pair(global, local)) => Some(vec![global.into(), local.into()]),
        }
    }

    /// RFC 4271 §6.8: whether the connection that Herald made goes before the one that the router made.
    pub(crate) fn herald_wins(&self) -> bool {
        let session = &self.config.session;
        (session.router_id, session.local_as.0) > (Ipv4Addr::from(self.traits.id), self.traits.asn)
    }

    /// Moves bytes on, as far as they go; how many the kernel took, and what the router answers.
    pub(crate) fn pump(&mut self, conn: ConnId, now: Instant, rules: &mut Rules) -> (usize, Vec<Answer>) {
        let (mut taken, mut answers) = (0, Vec::new());
        let window = self.traits.window;
        while let Some(link) = self.find(conn) {
            taken += link.take_in(window);
            let read = link.read();
            if read == 0 {
                break;
            }
            while let Some(link) = self.find(conn).filter(|link| link.is_alive()) {
                let longest = if link.open.as_ref().is_some_and(|open| open.extended_messages) { 65_535 } else { 4096 };
                let longest = if self.traits.extended_messages { longest } else { 4096 };
                let link = self.find(conn).expect("just found");
                let message = wire::split(&mut link.inbox, longest).unwrap_or_else(|error| panic!("{error}"));
                let Some((kind, body)) = message else { break };
                self.read(conn, now, kind, &body, &mut answers, rules);
            }
            if self.find(conn).is_none_or(|link| link.queue.is_empty()) {
                break;
            }
        }
        (taken, answers)
    }

    fn read(
        &mut self,
        conn: ConnId,
        now: Instant,
        kind: u8,
        body: &[u8],
        answers: &mut Vec<Answer>,
        rules: &mut Rules,
    ) {
        let (hold, name) = (self.hold(), self.config.name.clone());
        if kind == wire::OPEN {
            return self.read_open(conn, now, body, answers, rules);
        }
        let open = self.find(conn).and_then(|link| link.open.take());
        let expectation = Expectation {
            families: self.families_with(open.as_ref()),
            four_octet_as: self.traits.four_octet_as && open.as_ref().is_some_and(|open| open.four_octet_as.is_some()),
            internal: self.traits.asn == self.config.session.local_as.0,
            sender_as: self.config.session.local_as.0,
        };
        let framed = self.traits.enhanced_refresh && open.as_ref().is_some_and(|open| open.enhanced_refresh);
        let link = self.find(conn).expect("somebody sent this");
        link.open = open;
        link.heard(&name, now, hold, rules);
        match kind {
            wire::KEEPALIVE => {
                assert!(link.open.is_some(), "{name}: KEEPALIVE before OPEN");
                assert!(!link.established || !hold.is_zero(), "{name}: KEEPALIVE although the hold time is 0");
                if !link.established {
                    link.established = true;
                    link.since = now;
                    answers.push(Answer::Established);
                }
            }
            wire::NOTIFICATION => {
                link.told = Some((body[0], body[1]));
                if (body[0], body[1]) == (6, 2) || body.starts_with(&[6, 9, 6, 2]) {
                    assert!(link.routes.is_empty(), "{name}: goodbye before {:?} were withdrawn", link.routes.keys());
                    rules.count("withdrawn before goodbye");
                }
            }
            wire::REFRESH => {
                assert!(framed, "{name}: an answer with a frame, and nobody takes such");
                let frame = wire::frame(body).unwrap_or_else(|error| panic!("{name}: {error}"));
                link.frame(&name, frame, rules);
            }
            _ => {
                assert!(link.established, "{name}: UPDATE before the session is up");
                let update = wire::update(body, expectation)
                    .unwrap_or_else(|error| panic!("{name}: {error} in UPDATE {body:?}"));
                link.update(&name, update, rules);
            }
        }
    }

    fn read_open(&mut self, conn: ConnId, now: Instant, body: &[u8], answers: &mut Vec<Answer>, rules: &mut Rules) {
        let name = self.config.name.clone();
        let open = wire::open(body).unwrap_or_else(|error| panic!("{name}: OPEN: {error}"));
        self.judge_open(&open, rules);
        if self.traits.mute {
            return;
        }
        if let Some(words) = self.traits.refuse(&open) {
            self.refusals += 1;
            self.has_refused = true;
            rules.count("refusal");
            let hopeless = self.traits.is_hopeless(&self.config) || !self.families_with(None).contains(&true);
            assert!(self.refusals <= 6 || hopeless, "{name}: {} OPENs with what it refuses", self.refusals);
            return answers.push(Answer::Refuse(words));
        }
        let loser = self.collide(conn);
        let kept = self.take_kept(now);
        answers.extend(loser.map(Answer::GiveUp));
        let link = self.find(conn).expect("somebody sent this");
        assert!(link.open.is_none(), "{name}: a second OPEN");
        link.heard(&name, now, Duration::ZERO, rules);
        link.kept = kept;
        if let Some(Restart { preserved, .. }) = &open.restart {
            // RFC 4724 §4.2: without F they go at once.
            link.kept.retain(|prefix, _| preserved[prefix.family() as usize]);
        } else {
            link.kept.clear();
        }
        link.open = Some(open);
        if loser == Some(conn) {
            return;
        }
        let (opened, spoilt) = (std::mem::replace(&mut link.opened, true), link.spoilt);
        if opened {
            return answers.push(Answer::Confirm);
        }
        link.answered = true;
        answers.push(Answer::Say(self.traits.open(spoilt)));
    }

    /// An OPEN has come: RFC 4271 §6.8, as the router sees it. Which connection has to go?
    fn collide(&mut self, conn: ConnId) -> Option<ConnId> {
        let herald_wins = self.herald_wins();
        let called = self.find(conn)?.called;
        let other = self
            .links
            .iter()
            .find(|link| link.conn != conn && link.is_alive() && link.open.is_some() && link.spoilt.is_none())?;
        if other.established || called == herald_wins { Some(conn) } else { Some(other.conn) }
    }

    fn take_kept(&mut self, now: Instant) -> BTreeMap<Prefix, Arc<Route>> {
        let (routes, until) = std::mem::take(&mut self.kept);
        if until.is_some_and(|until| now < until) { routes } else { BTreeMap::new() }
    }

    /// The connection is lost: keeps its routes if both have agreed on that, and Herald did not say otherwise.
    pub(crate) fn keep(&mut self, conn: ConnId, now: Instant) {
        let helper = self.traits.helper;
        let Some(link) = self.find(conn) else { return };
        let Some(restart) = link.open.as_ref().and_then(|open| open.restart.as_ref()) else { return };
        // RFC 4724 §4.2; RFC 8538 §3: no NOTIFICATION, or one that is no Hard Reset.
        let keeps = match link.told {
            None => helper.is_some(),
            Some(told) => helper == Some(true) && told != (6, 9),
        };
        let until = now + Duration::from_secs(restart.time.into());
        let mut routes = std::mem::take(&mut link.kept);
        routes.append(&mut link.routes);
        if keeps {
            self.kept = (routes, Some(until));
        }
    }

    /// What the router forwards by.
    pub(crate) fn table(&self, now: Instant) -> BTreeMap<Prefix, Arc<Route>> {
        let mut table = self.kept.0.clone();
        if self.kept.1.is_none_or(|until| now >= until) {
            table.clear();
        }
        if let Some(link) = self.link() {
            table.extend(link.kept.iter().chain(&link.routes).map(|(prefix, route)| (*prefix, route.clone())));
        }
        table
    }

    /// It has all that is configured, but for what the router refuses.
    fn judge_open(&self, open: &wire::Open, rules: &mut Rules) {
        let (config, name) = (&self.config.session, &self.config.name);
        let my_as = u16::try_from(config.local_as.0).unwrap_or(wire::AS_TRANS);
        assert_eq!((open.my_as, open.hold, open.id), (my_as, config.hold_time.as_secs(), config.router_id), "{name}");
        assert!(open.four_octet_as.is_none_or(|asn| asn == config.local_as.0), "{name}: {open:?}");
        let families = config.families.iter().map(|family| (1, Some(*family)));
        let extended = config.capabilities.extended_messages.then_some((6, None));
        let restart = config.graceful_restart.map(|_| (64, None));
        let all: BTreeSet<_> =
            families.chain([(2, None), (70, None), (65, None)]).chain(extended).chain(restart).collect();
        assert!(open.keys.is_subset(&all), "{name}: {:?} is not configured", open.keys);
        let left_out: BTreeSet<_> = all.difference(&open.keys).copied().collect();
        if !left_out.is_empty() {
            rules.count("left out");
            let may = self.traits.may_be_left_out(&all);
            assert!(may.contains(&left_out), "{name}: {left_out:?} are left out, {:?}", self.traits.refuses);
            // A reload makes Herald forget, but the router's last word may still be on its way.
            assert!(self.has_refused, "{name}: {left_out:?} are left out, and nothing was refused");
        }
    }

    /// That Herald is not late with a message, without waiting for one.
    pub(crate) fn check_silence(&self, now: Instant, rules: &mut Rules) {
        let hears = |link: &&Link| link.established && !link.stalled && link.cause.is_none();
        let Some(link) = self.link().filter(hears) else { return };
        let hold = self.hold();
        if !hold.is_zero() {
            rules.count("keepalive");
            assert!(now - link.last_heard <= hold / 2, "{} heard nothing for {hold:?} / 2", self.config.name);
        }
    }
}
