//! What flows on one Established session: from the RIB, by way of [`Export`] and [`AdjRibOut`], into UPDATEs.
//!
//! Everything is told by the same code: single changes go straight to the Adj-RIB-Out; what touches all routes of a
//! family (a new session, a reload, a refresh) is a scan that walks RIB and Adj-RIB-Out together, a stretch at a time,
//! as fast as the peer reads. Neither memory nor the work of one call grows with the size of the table.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::bgp::adj_rib_out::{AdjRibOut, Written, family_range};
use crate::bgp::drain::Telling;
use crate::bgp::export::Export;
use crate::bgp::fsm::Session;
use crate::bgp::message::{Message, Refresh};
use crate::bgp::update;
use crate::config::{self, GracefulShutdown};
use crate::prefix::{Family, Prefix};
use crate::rib::Rib;

/// Prefixes that a scan looks at in one stretch.
const STRETCH: usize = 4096;
/// A scan pauses while this many prefixes are pending: more than one filling takes, so that messages are full.
const PENDING_MAX: usize = 32_768;

/// The feed of one session.
#[derive(Debug)]
pub(super) struct Feed {
    families: Vec<Family>,
    session: Session,
    local: IpAddr,
    remote: IpAddr,
    export: Export,
    told: AdjRibOut,
    scans: [Option<Scan>; 2],
    /// Families whose initial routes are not all out: they are owed an End-of-RIB.
    initial: Vec<Family>,
    /// Requests that are answered with a beginning and an end (RFC 7313).
    answers: [Option<Answer>; 2],
    /// Routes flow ...
    started: bool,
    /// ... and End-of-RIB may follow.
    complete: bool,
    telling: Telling,
    graceful: GracefulShutdown,
}

/// How far the answer to a ROUTE-REFRESH is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It waits for its beginning.
    Due,
    /// BoRR is out, and EoRR is owed.
    Begun,
}

/// A walk over all routes of a family.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    /// The last prefix seen.
    after: Option<Prefix>,
    /// The peer is told even what it knows (RFC 2918).
    again: bool,
}

/// What a filling gave.
#[derive(Debug, Default)]
pub(super) struct Filling {
    /// UPDATEs.
    pub(super) octets: Vec<u8>,
    /// Families whose End-of-RIB is among them, with the number of routes told.
    pub(super) synchronised: Vec<(Family, usize)>,
    /// Routes whose attributes fit no message.
    pub(super) too_large: Vec<Prefix>,
    /// What they tell.
    pub(super) written: Written,
}

impl Feed {
    /// Nothing flows before [`start`](Self::start).
    pub(super) fn new(config: Arc<config::Peer>, session: &Session, local: IpAddr, remote: IpAddr) -> Feed {
        Feed {
            families: session.families.clone(),
            session: session.clone(),
            local,
            remote,
            export: Export::new(config, session, local, remote),
            told: AdjRibOut::new(),
            scans: [None; 2],
            initial: session.families.clone(),
            answers: [None; 2],
            started: false,
            telling: Telling::Everything,
            graceful: GracefulShutdown::default(),
            complete: false,
        }
    }

    /// Lets routes flow: all of them, then End-of-RIB.
    pub(super) fn start(&mut self) {
        self.started = true;
        self.complete = true;
        self.rescan();
    }

    /// After a restart of ours, to a peer that keeps these routes: lets routes flow as they are decided. What the peer
    /// keeps and shall not have is withdrawn as soon as that is known. End-of-RIB, at which the peer drops what it has
    /// not heard of (RFC 4724 §4.2), waits for [`start`](Self::start).
    pub(super) fn resume(&mut self, kept: &BTreeSet<Prefix>) {
        let in_use = |prefix: &&Prefix| self.families.contains(&prefix.family());
        self.told.suspect(kept.iter().filter(in_use).copied());
        self.started = true;
        self.rescan();
    }

    /// Takes another configuration of the peer.
    pub(super) fn configure(&mut self, config: Arc<config::Peer>) {
        self.export = Export::new(config, &self.session, self.local, self.remote);
        if self.started {
            self.rescan();
        }
    }

    /// What the peer is told from now on.
    pub(super) fn set_telling(&mut self, telling: Telling) {
        if std::mem::replace(&mut self.telling, telling) == telling {
            return;
        }
        self.graceful.forget();
        if self.started {
            self.rescan();
        }
    }

    /// The peer wants all routes of this family again.
    pub(super) fn refresh(&mut self, family: Family) {
        // A scan under way begins again: what it has sent may be from before the request. The peer cannot make us work
        // with this: a scan advances as the peer reads.
        if self.session.enhanced_refresh {
            self.answers[family as usize] = Some(Answer::Due);
        } else if self.started {
            // Before the start there is nothing to repeat.
            self.scans[family as usize] = Some(Scan { after: None, again: true });
        }
    }

    /// [`refresh`](Self::refresh) of every family in use.
    pub(super) fn refresh_all(&mut self) {
        for family in self.families.clone() {
            self.refresh(family);
        }
    }

    /// These prefixes of the RIB may have changed.
    pub(super) fn rib_changed(&mut self, changed: &[Prefix], rib: &Rib) {
        if !self.started {
            return;
        }
        for prefix in changed {
            if self.families.contains(&prefix.family()) {
                self.want(*prefix, rib, false);
            }
        }
    }

    /// Up to about `limit` octets of UPDATEs.
    pub(super) fn fill(&mut self, rib: &Rib, limit: usize) -> Filling {
        let mut filling = Filling::default();
        while self.started && filling.octets.len() < limit {
            self.begin_answers(&mut filling);
            while self.pending() < PENDING_MAX && self.scan(rib) {}
            let refused = self.told.write(self.session.encoding, limit, &mut filling.octets, &mut filling.written);
            filling.too_large.extend(refused);
            self.end_initial(&mut filling);
            self.end_answers(&mut filling);
            if self.is_idle() {
                break;
            }
        }
        filling
    }

    /// Whether everything that shall be told is in UPDATEs.
    pub(super) fn is_idle(&self) -> bool {
        let has_scanned = self.scans.iter().all(Option::is_none);
        // An answer waits for End-of-RIB: before that may follow, none of them is work.
        let has_ended = !self.complete || (self.initial.is_empty() && self.answers.iter().all(Option::is_none));
        !self.started || (self.told.is_settled() && has_scanned && has_ended)
    }

    /// Whether all families have had their End-of-RIB.
    pub(super) fn is_complete(&self) -> bool {
        self.complete && self.initial.is_empty()
    }

    /// Families in use for which there is no next hop.
    pub(super) fn without_next_hop(&self) -> impl Iterator<Item = Family> {
        self.families.iter().copied().filter(|family| self.export.next_hop(*family).is_none())
    }

    /// What the peer has been told.
    pub(super) fn told(&self) -> &AdjRibOut {
        &self.told
    }

    fn pending(&self) -> usize {
        Family::ALL.into_iter().map(|family| self.told.pending_count(family)).sum()
    }

    fn rescan(&mut self) {
        for family in &self.families {
            let scan = &mut self.scans[*family as usize];
            *scan = Some(Scan { after: None, again: scan.is_some_and(|scan| scan.again) });
        }
    }

    /// One stretch of the first scan there is; false when there is none.
    fn scan(&mut self, rib: &Rib) -> bool {
        let next = Family::ALL.into_iter().find_map(|family| Some((family, self.scans[family as usize]?)));
        let Some((family, scan)) = next else { return false };
        let wanted: Vec<_> = rib.range(family_range(family, scan.after)).take(STRETCH).copied().collect();
        let told: Vec<_> = self.told.told_after(family, scan.after).take(STRETCH).copied().collect();
        let stale: Vec<_> = self.told.stale_after(family, scan.after).take(STRETCH).copied().collect();
        // Where a list was cut, the others may know nothing of what lies beyond.
        let cut = |list: &[Prefix]| list.last().copied().filter(|_| list.len() == STRETCH);
        let end = [cut(&wanted), cut(&told), cut(&stale)].into_iter().flatten().min();
        let within = |prefix: &Prefix| end.is_none_or(|end| *prefix <= end);
        let mut stretch: Vec<_> = wanted.into_iter().chain(told).chain(stale).filter(within).collect();
        stretch.sort_unstable();
        stretch.dedup();
        for prefix in stretch {
            self.want(prefix, rib, scan.again);
        }
        self.scans[family as usize] = end.map(|end| Scan { after: Some(end), again: scan.again });
        true
    }

    fn want(&mut self, prefix: Prefix, rib: &Rib, again: bool) {
        if !rib.is_decided(&prefix) {
            return;
        }
        let wanted = rib.get(&prefix).and_then(|attributes| match self.telling {
            Telling::Everything => self.export.route(&prefix, attributes),
            Telling::Graceful => self.export.route(&prefix, &self.graceful.on(attributes.clone())),
            Telling::Nothing => None,
        });
        self.told.want(prefix, wanted, again);
    }

    /// BoRR, and everything again after it. Not before End-of-RIB: until then a peer that restarts gracefully ignores it
    /// (RFC 7313 §4), and so would know no beginning. A second request makes a second beginning of one answer: the peer
    /// counts from the last.
    fn begin_answers(&mut self, filling: &mut Filling) {
        for family in Family::ALL {
            let answer = &mut self.answers[family as usize];
            if *answer == Some(Answer::Due) && !self.initial.contains(&family) {
                *answer = Some(Answer::Begun);
                Message::RouteRefresh(Refresh::Begin(family)).encode(&mut filling.octets);
                self.scans[family as usize] = Some(Scan { after: None, again: true });
            }
        }
    }

    /// EoRR for what has been told in full since BoRR.
    fn end_answers(&mut self, filling: &mut Filling) {
        for family in Family::ALL {
            let is_done = self.scans[family as usize].is_none() && self.told.pending_count(family) == 0;
            let answer = &mut self.answers[family as usize];
            if *answer == Some(Answer::Begun) && is_done {
                *answer = None;
                Message::RouteRefresh(Refresh::End(family)).encode(&mut filling.octets);
            }
        }
    }

    /// End-of-RIB for what has just been told in full. RFC 4724 §2: also without graceful restart, also without routes.
    fn end_initial(&mut self, filling: &mut Filling) {
        if !self.complete {
            return;
        }
        let Feed { initial, told, scans, .. } = self;
        initial.retain(|family| {
            let done = scans[*family as usize].is_none() && told.pending_count(*family) == 0;
            if done {
                update::encode_end_of_rib(*family, &mut filling.octets);
                filling.synchronised.push((*family, told.told_count(*family)));
            }
            !done
        });
    }

    #[cfg(test)]
    pub(super) fn check_all(&self) {
        self.told.check_all();
    }
}
