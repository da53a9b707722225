//! A router: the far end of a session, with moods. It judges every message that it gets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald::bgp::peer::ConnId;
use herald::config::{self, NextHop4, NextHop6, PeerAs};
use herald::engine::PeerId;
use herald::prefix::{Family, Prefix};
use herald::rng::Rng;

use crate::plan::{BIG_AS, one_in};
use crate::rules::Rules;
use crate::wire::{self, Expectation, Route};

/// What a router is, whatever the session.
#[derive(Debug)]
pub(crate) struct Traits {
    pub(crate) asn: u32,
    /// What it says when it lies.
    wrong_asn: u16,
    /// `None`: no multiprotocol capability at all, which means IPv4.
    pub(crate) families: Option<[bool; 2]>,
    pub(crate) four_octet_as: bool,
    pub(crate) refresh: bool,
    enhanced_refresh: bool,
    extended_messages: bool,
    pub(crate) hold: u16,
    /// How much the connection takes in while the router does not read.
    pub(crate) window: usize,
}

/// How a router spoils an OPEN, and what it must be told then.
pub(crate) const BAD_OPENS: [(&str, &[(u8, u8)]); 7] = [
    ("version 3", &[(2, 1)]),
    ("another AS", &[(2, 2)]),
    ("identifier 0.0.0.0", &[(2, 3)]),
    ("hold time 2", &[(2, 6)]),
    ("KEEPALIVE before OPEN", &[(5, 1)]),
    ("UPDATE before KEEPALIVE", &[(5, 2)]),
    ("no KEEPALIVE", &[(4, 0)]),
];

/// How a router spoils an established session.
pub(crate) const GARBAGE: [(&str, &[(u8, u8)]); 7] = [
    ("marker", &[(1, 1)]),
    ("length 18", &[(1, 2)]),
    ("length 4097", &[(1, 2)]),
    ("long KEEPALIVE", &[(1, 2)]),
    ("type 9", &[(1, 3)]),
    ("UPDATE beyond its end", &[(3, 1)]),
    ("a second OPEN", &[(5, 3)]),
];

/// One connection, seen from the router.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    /// TCP is up.
    pub(crate) up: bool,
    pub(crate) dialled: Instant,
    /// What Herald wants sent and the kernel has not taken.
    pub(crate) queue: VecDeque<u8>,
    /// What the kernel has taken and the router has not read.
    pipe: VecDeque<u8>,
    inbox: Vec<u8>,
    pub(crate) stalled: bool,
    pub(crate) open: Option<wire::Open>,
    /// OPEN and KEEPALIVE have come: the router takes routes.
    pub(crate) established: bool,
    /// Since when it takes routes, or reads again.
    pub(crate) since: Instant,
    /// Our OPEN and KEEPALIVE are on their way, so Herald may call it established.
    pub(crate) answered: bool,
    pub(crate) silent: bool,
    pub(crate) routes: BTreeMap<Prefix, Arc<Route>>,
    /// Prefixes that must come again, for the router has asked, and until when.
    pub(crate) owed: BTreeSet<Prefix>,
    pub(crate) refresh_by: Option<Instant>,
    /// Prefixes that came after it asked: they may come again.
    doubled: BTreeSet<Prefix>,
    /// By family, what has not come again since the answer to a request began (RFC 7313 §4).
    stale: [Option<BTreeSet<Prefix>>; 2],
    pub(crate) ends_of_rib: [u32; 2],
    /// Routes held when the last of these came.
    pub(crate) initial_routes: usize,
    last_heard: Instant,
    /// On its way to Herald.
    pub(crate) inflight: VecDeque<u8>,
    /// Taken by the kernel, which Herald has not been told yet.
    pub(crate) unreported: usize,
    /// Why the session may fall.
    pub(crate) cause: Option<&'static str>,
    /// What Herald must say before it closes.
    pub(crate) expected: &'static [(u8, u8)],
    pub(crate) told: Option<(u8, u8)>,
    pub(crate) spoilt: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) peer: PeerId,
    pub(crate) config: Arc<config::Peer>,
    pub(crate) traits: Traits,
    pub(crate) link: Option<Link>,
    /// The last connection is over, and it is known why.
    pub(crate) excused: bool,
    /// A connection that the router has just ended; what the engine had in hand for it is of no use.
    pub(crate) lost: Option<ConnId>,
}

/// What a router does in answer to what it read.
#[derive(Debug)]
pub(crate) enum Answer {
    Say(Vec<u8>),
    /// The session is up; keepalives begin.
    Established,
}

impl Traits {
    pub(crate) fn new(rng: &mut Rng, config: &config::Peer, asn: u32) -> Traits {
        let both = config.session.families.len() == 2;
        let only_v6 = config.session.families == [Family::Ipv6];
        let families = match rng.below(5) {
            0 if both => None,
            1 if both => Some([true, false]),
            2 if both => Some([false, true]),
            _ if only_v6 => Some([one_in(rng, 2), true]),
            _ => Some([true, one_in(rng, 2) || both]),
        };
        let four_octet_as = asn > 65535 || (asn == config.session.local_as.0 && asn == BIG_AS) || !one_in(rng, 3);
        Traits {
            asn,
            // Nobody's (RFC 7607) where anybody's would do.
            wrong_asn: if config.session.peer_as == PeerAs::External { 0 } else { 64999 },
            families,
            four_octet_as,
            refresh: !one_in(rng, 4),
            enhanced_refresh: one_in(rng, 2),
            extended_messages: one_in(rng, 2),
            hold: [0, 3, 9, 9, 90, 180][rng.below(6) as usize],
            window: 64 << rng.below(11),
        }
    }

    pub(crate) fn open(&self, spoil: Option<usize>) -> Vec<u8> {
        let mut capabilities = Vec::new();
        for (family, offered) in [1, 2].into_iter().zip(self.families.unwrap_or_default()) {
            if offered {
                capabilities.extend([1, 4, 0, family, 0, 1]);
            }
        }
        if self.refresh {
            capabilities.extend([2, 0]);
        }
        if self.enhanced_refresh {
            capabilities.extend([70, 0]);
        }
        if self.extended_messages {
            capabilities.extend([6, 0]);
        }
        if self.four_octet_as {
            capabilities.extend([65, 4]);
            capabilities.extend(self.asn.to_be_bytes());
        }
        capabilities.extend([64, 2, 0x40, 120, 73, 3, 2, b'r', b'1', 200, 0]); // restart, name, and one of no meaning
        let spoilt = |n: usize| spoil == Some(n);
        let my_as = if spoilt(1) { self.wrong_asn } else { u16::try_from(self.asn).unwrap_or(wire::AS_TRANS) };
        if spoilt(1) && self.four_octet_as {
            let at = capabilities.windows(2).position(|pair| pair == [65, 4]).unwrap();
            capabilities[at + 2..at + 6].copy_from_slice(&u32::from(self.wrong_asn).to_be_bytes());
        }
        let hold = if spoilt(3) { 2 } else { self.hold };
        let mut body = vec![if spoilt(0) { 3 } else { 4 }];
        body.extend(my_as.to_be_bytes());
        body.extend(hold.to_be_bytes());
        body.extend(if spoilt(2) { [0; 4] } else { [10, 0, 0, 77] });
        body.extend([capabilities.len() as u8 + 2, 2, capabilities.len() as u8]);
        body.extend(capabilities);
        let open = wire::message(wire::OPEN, &body);
        let keepalive = wire::message(wire::KEEPALIVE, &[]);
        match spoil {
            Some(4) => [keepalive, open].concat(),
            Some(5) => [open, wire::message(wire::UPDATE, &[0; 4])].concat(),
            Some(6) => open,
            _ => [open, keepalive].concat(),
        }
    }

    pub(crate) fn garbage(&self, kind: usize) -> Vec<u8> {
        let mut keepalive = wire::message(wire::KEEPALIVE, &[]);
        match kind {
            0 => keepalive[3] = 0xfe,
            1 => keepalive[17] = 18,
            2 => keepalive[16..19].copy_from_slice(&[16, 1, 4]),
            3 => return wire::message(wire::KEEPALIVE, &[0]),
            4 => keepalive[18] = 9,
            5 => return wire::message(wire::UPDATE, &[0, 9, 0, 0]),
            _ => return self.open(Some(6)),
        }
        keepalive
    }

    /// Well-formed and of no interest: it must not cost the session.
    pub(crate) fn strange(&self, rng: &mut Rng) -> Vec<u8> {
        let path: &[u8] = if self.four_octet_as { &[2, 1, 0, 0, 0xfa, 0] } else { &[2, 1, 0xfa, 0] };
        let basic = [&[0x40, 1, 1, 0, 0x40, 2, path.len() as u8], path, &[0x40, 3, 4, 10, 0, 0, 1]].concat();
        let update = |attributes: &[u8], nlri: &[u8]| {
            let length = (attributes.len() as u16).to_be_bytes();
            wire::message(wire::UPDATE, &[&[0, 0], &length[..], attributes, nlri].concat())
        };
        match rng.below(9) {
            0 => update(&[], &[]),
            1 => update(&basic, &[24, 203, 0, 113]),
            2 => update(&[&basic[..], &[0xc0, 250, 3, 1, 2, 3]].concat(), &[0]),
            3 => wire::message(wire::UPDATE, &[0, 4, 24, 198, 51, 100, 0, 0]),
            4 => update(&[0x80, 15, 3, 0, 25, 70], &[]), // End-of-RIB of another family
            5 => update(&[&basic[..], &[0x80, 14, 5, 0, 1, 128, 0, 0]].concat(), &[32, 192, 0, 2, 1]),
            6 => update(&[&basic[..], &[0xd0, 32, 1, 44], &[7; 300]].concat(), &[32, 192, 0, 2, 9]),
            7 => wire::message(5, &[0, 25, 0, 70]), // refresh of a family that nobody has
            _ => update(&[&basic[..], &[0x80, 4, 4, 0, 0, 0, 1], &[0xc0, 8, 4, 255, 255, 255, 1]].concat(), &[8, 10]),
        }
    }
}

impl Link {
    pub(crate) fn new(now: Instant, conn: ConnId) -> Link {
        Link {
            conn,
            up: false,
            dialled: now,
            queue: VecDeque::new(),
            pipe: VecDeque::new(),
            inbox: Vec::new(),
            stalled: false,
            open: None,
            established: false,
            since: now,
            answered: false,
            silent: false,
            routes: BTreeMap::new(),
            owed: BTreeSet::new(),
            refresh_by: None,
            doubled: BTreeSet::new(),
            stale: [None, None],
            ends_of_rib: [0; 2],
            initial_routes: 0,
            last_heard: now,
            inflight: VecDeque::new(),
            unreported: 0,
            cause: None,
            expected: &[],
            told: None,
            spoilt: None,
        }
    }

    /// Asks for a family again.
    pub(crate) fn ask_refresh(&mut self, now: Instant, family: Family) {
        self.owed.extend(self.routes.keys().filter(|prefix| prefix.family() == family).copied());
        self.refresh_by = Some(now + Duration::from_secs(2));
    }

    /// Everything that was asked for has come, or its time is up.
    pub(crate) fn check_refresh(&mut self, now: Instant, rules: &mut Rules) {
        if self.refresh_by.is_some_and(|by| by <= now) && !self.stalled {
            self.refresh_by = None;
            self.doubled.clear();
            rules.count("refresh");
            assert!(self.owed.is_empty(), "refresh not answered: {:?}", self.owed);
            assert_eq!(self.stale, [None, None], "an answer without an end");
        }
    }

    pub(crate) fn start_reading(&mut self, now: Instant) {
        self.stalled = false;
        self.since = now;
        self.last_heard = now;
        self.refresh_by = self.refresh_by.map(|by| by.max(now + Duration::from_secs(2)));
    }
}

impl Router {
    /// The hold time that both sides take.
    pub(crate) fn hold(&self) -> Duration {
        let (ours, theirs) = (self.config.session.hold_time.as_secs(), self.traits.hold);
        Duration::from_secs(ours.min(theirs).into())
    }

    /// Families that may be used on the session.
    pub(crate) fn families(&self) -> [bool; 2] {
        let offered = self.traits.families.unwrap_or([true, false]);
        [Family::Ipv4, Family::Ipv6]
            .map(|family| offered[family as usize] && self.config.session.families.contains(&family))
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

    /// Moves bytes on, as far as they go; how many the kernel took, and what the router answers.
    pub(crate) fn pump(&mut self, now: Instant, rules: &mut Rules) -> (usize, Vec<Answer>) {
        let (mut taken, mut answers) = (0, Vec::new());
        let longest = if self.traits.extended_messages && self.config.session.capabilities.extended_messages {
            65_535
        } else {
            4096
        };
        while let Some(link) = &mut self.link {
            let room = self.traits.window.saturating_sub(link.pipe.len()).min(link.queue.len());
            link.pipe.extend(link.queue.drain(..room));
            taken += room;
            if link.stalled || !link.up {
                break;
            }
            link.inbox.extend(link.pipe.drain(..));
            while let Some((kind, body)) = self
                .link
                .as_mut()
                .and_then(|link| wire::split(&mut link.inbox, longest).unwrap_or_else(|error| panic!("{error}")))
            {
                self.read(now, kind, &body, &mut answers, rules);
            }
            if self.link.as_ref().is_none_or(|link| link.queue.is_empty()) {
                break;
            }
        }
        (taken, answers)
    }

    fn read(&mut self, now: Instant, kind: u8, body: &[u8], answers: &mut Vec<Answer>, rules: &mut Rules) {
        let hold = self.hold();
        let expectation = Expectation {
            families: self.families(),
            four_octet_as: self.traits.four_octet_as,
            internal: self.traits.asn == self.config.session.local_as.0,
            sender_as: self.config.session.local_as.0,
        };
        let name = self.config.name.clone();
        let link = self.link.as_mut().expect("somebody sent this");
        if link.established && !hold.is_zero() {
            rules.count("keepalive");
            let gap = now - link.last_heard;
            assert!(gap <= hold / 2, "{name} heard nothing for {gap:?}, hold time {hold:?}");
        }
        link.last_heard = now;
        match kind {
            wire::OPEN => {
                assert!(link.open.is_none(), "{name}: a second OPEN");
                let open = wire::open(body).unwrap_or_else(|error| panic!("{name}: OPEN: {error}"));
                self.judge_open(&open);
                let link = self.link.as_mut().expect("it was there above");
                link.open = Some(open);
                answers.push(Answer::Say(self.traits.open(link.spoilt)));
                link.answered = true;
            }
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
                if (body[0], body[1]) == (6, 2) {
                    assert!(link.routes.is_empty(), "{name}: goodbye before {:?} were withdrawn", link.routes.keys());
                    rules.count("withdrawn before goodbye");
                }
            }
            wire::REFRESH => {
                assert!(self.traits.enhanced_refresh, "{name}: an answer with a frame, and nobody takes such");
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

    fn judge_open(&self, open: &wire::Open) {
        let config = &self.config;
        let my_as = u16::try_from(config.session.local_as.0).unwrap_or(wire::AS_TRANS);
        let families = [Family::Ipv4, Family::Ipv6].map(|family| config.session.families.contains(&family));
        assert_eq!((open.my_as, open.four_octet_as), (my_as, Some(config.session.local_as.0)), "{}", config.name);
        assert_eq!(
            (open.hold, open.id),
            (config.session.hold_time.as_secs(), config.session.router_id),
            "{}",
            config.name
        );
        assert_eq!((open.families, open.refresh, open.enhanced_refresh), (families, true, true), "{}", config.name);
        assert_eq!(open.extended_messages, config.session.capabilities.extended_messages, "{}", config.name);
    }

    /// That Herald is not late with a message, without waiting for one.
    pub(crate) fn check_silence(&self, now: Instant, rules: &mut Rules) {
        let Some(link) = self.link.as_ref().filter(|link| link.established && !link.stalled && link.cause.is_none())
        else {
            return;
        };
        let hold = self.hold();
        if !hold.is_zero() {
            rules.count("keepalive");
            assert!(now - link.last_heard <= hold / 2, "{} heard nothing for {hold:?} / 2", self.config.name);
        }
    }
}

impl Link {
    /// A beginning or an end of the answer to a request.
    fn frame(&mut self, name: &str, (family, begins): (Family, bool), rules: &mut Rules) {
        assert!(self.ends_of_rib[family as usize] > 0, "{name}: {family} BoRR or EoRR before End-of-RIB");
        let stale = &mut self.stale[family as usize];
        if begins {
            let routes = self.routes.keys().filter(|prefix| prefix.family() == family);
            *stale = Some(routes.copied().collect());
            return;
        }
        let stale = stale.take().unwrap_or_else(|| panic!("{name}: {family} EoRR without BoRR"));
        assert!(stale.is_empty(), "{name}: not between BoRR and EoRR: {stale:?}");
        rules.count("enhanced refresh");
    }

    /// This prefix has come, or gone, since the answer began.
    fn renew(&mut self, prefix: &Prefix) {
        for stale in self.stale.iter_mut().flatten() {
            stale.remove(prefix);
        }
    }

    fn update(&mut self, name: &str, update: wire::Update, rules: &mut Rules) {
        rules.updates += 1;
        assert!(rules.may_send, "{name}: UPDATE before the first verdicts");
        if let Some(family) = update.end_of_rib {
            self.ends_of_rib[family as usize] += 1;
            self.initial_routes = self.routes.len();
            rules.count("end of rib");
            assert_eq!(self.ends_of_rib[family as usize], 1, "{name}: {family} End-of-RIB again");
        }
        for prefix in update.withdrawn {
            rules.count("withdraw");
            assert!(self.routes.remove(&prefix).is_some(), "{name}: {prefix} withdrawn, but it was not announced");
            self.owed.remove(&prefix);
            self.renew(&prefix);
        }
        let route = Arc::new(update.route);
        for prefix in update.announced {
            rules.count("announce");
            self.renew(&prefix);
            let old = self.routes.insert(prefix, route.clone());
            let again = old.as_ref() == Some(&route);
            let may_again = self.owed.remove(&prefix) || self.doubled.remove(&prefix);
            assert!(!again || may_again, "{name}: {prefix} announced twice");
            if !again && self.refresh_by.is_some() {
                self.doubled.insert(prefix);
            }
        }
    }
}
