//! One connection, as the router sees it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald::bgp::peer::ConnId;
use herald::prefix::{Family, Prefix};

use crate::rules::Rules;
use crate::wire::{self, Route};

/// One connection, seen from the router.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    /// The router made it.
    pub(crate) called: bool,
    /// The router has forgotten it without a word: it was reset.
    pub(crate) ghost: bool,
    /// The router has given it up and waits for the end.
    pub(crate) loser: bool,
    /// The router's OPEN is on its way.
    pub(crate) opened: bool,
    /// It reads an octet a second; how many it may read now.
    pub(crate) sips: Option<usize>,
    /// TCP is up.
    pub(crate) up: bool,
    pub(crate) dialled: Instant,
    /// What Herald wants sent and the kernel has not taken.
    pub(crate) queue: VecDeque<u8>,
    /// What the kernel has taken and the router has not read.
    pipe: VecDeque<u8>,
    pub(crate) inbox: Vec<u8>,
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
    /// Routes of the session before, kept until they come again or End-of-RIB does (RFC 4724 §4.2).
    pub(crate) kept: BTreeMap<Prefix, Arc<Route>>,
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
    pub(crate) last_heard: Instant,
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

impl Link {
    pub(crate) fn new(now: Instant, conn: ConnId, called: bool) -> Link {
        Link {
            conn,
            called,
            ghost: false,
            loser: false,
            opened: false,
            sips: None,
            up: called,
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
            kept: BTreeMap::new(),
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

    /// The router takes it for a connection.
    pub(crate) fn is_alive(&self) -> bool {
        self.up && !self.ghost && !self.loser
    }

    /// To compare connections by how far they have come.
    pub(crate) fn progress(&self) -> (bool, bool, bool) {
        (self.established, self.answered, self.up)
    }

    /// The kernel takes what has room.
    pub(crate) fn take_in(&mut self, window: usize) -> usize {
        let room = window.saturating_sub(self.pipe.len()).min(self.queue.len());
        self.pipe.extend(self.queue.drain(..room));
        room
    }

    /// The router reads what the kernel has; how much that was.
    pub(crate) fn read(&mut self) -> usize {
        if !self.up || self.ghost || self.stalled {
            return 0;
        }
        let count = self.sips.unwrap_or(usize::MAX).min(self.pipe.len());
        if let Some(sips) = &mut self.sips {
            *sips -= count;
        }
        let read = self.pipe.drain(..count);
        if self.loser {
            drop(read);
        } else {
            self.inbox.extend(read);
        }
        count
    }

    /// A message has come.
    pub(crate) fn heard(&mut self, name: &str, now: Instant, hold: Duration, rules: &mut Rules) {
        if self.established && !hold.is_zero() && self.sips.is_none() {
            rules.count("keepalive");
            let gap = now - self.last_heard;
            assert!(gap <= hold / 2, "{name} heard nothing for {gap:?}, hold time {hold:?}");
        }
        self.last_heard = now;
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

impl Link {
    /// A beginning or an end of the answer to a request.
    pub(crate) fn frame(&mut self, name: &str, (family, begins): (Family, bool), rules: &mut Rules) {
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

    pub(crate) fn update(&mut self, name: &str, update: wire::Update, rules: &mut Rules) {
        rules.updates += 1;
        assert!(rules.may_send, "{name}: UPDATE before the first verdicts");
        if let Some(family) = update.end_of_rib {
            self.ends_of_rib[family as usize] += 1;
            self.kept.retain(|prefix, _| prefix.family() != family);
            self.initial_routes = self.routes.len();
            rules.count("end of rib");
            assert_eq!(self.ends_of_rib[family as usize], 1, "{name}: {family} End-of-RIB again");
        }
        for prefix in update.withdrawn {
            rules.count("withdraw");
            let kept = self.kept.remove(&prefix).is_some();
            assert!(
                self.routes.remove(&prefix).is_some() || kept,
                "{name}: {prefix} withdrawn, but it was not announced"
            );
            self.owed.remove(&prefix);
            self.renew(&prefix);
        }
        let route = Arc::new(update.route);
        for prefix in update.announced {
            rules.count("announce");
            self.renew(&prefix);
            self.kept.remove(&prefix);
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
