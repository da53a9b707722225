//! What is wanted, what gobgpd has of it, and what is under way. Level, not edge: an order is the difference of the two, at
//! most one at a time for each prefix, however often it changed meanwhile.

mod census;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cause::Cause;
use super::path::{Exported, Exporter, Listed};
use crate::bgp::attribute::PathAttributes;
use crate::bgp::drain::Telling;
use crate::config::{Asn, Attributes, GracefulShutdown, LiveParameters};
use crate::prefix::Prefix;
use census::Census;

/// One route to be announced like this, or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) prefix: Prefix,
    pub(super) route: Option<Arc<PathAttributes>>,
    /// To be sent by itself, so that its answer is its own.
    pub(super) is_alone: bool,
}

/// What is wanted, whether gobgpd is there or not.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    wanted: BTreeMap<Prefix, Arc<Attributes>>,
    undecided: BTreeSet<Prefix>,
    /// Decided against before all is decided.
    denied: BTreeSet<Prefix>,
    released: bool,
    /// Until then, what nobody has decided upon stays.
    keeps: bool,
    telling: Telling,
    graceful: GracefulShutdown,
    /// Everything is to be withdrawn.
    ending: bool,
    session: Option<Session>,
}

/// What gobgpd has of us, on a connection.
#[derive(Debug)]
struct Session {
    exporter: Exporter,
    told: BTreeMap<Prefix, Told>,
    told_count: [usize; 2],
    /// To be looked at again.
    pending: BTreeSet<Prefix>,
    /// Under way.
    flying: BTreeSet<Prefix>,
    /// Was in a call of many that failed.
    alone: BTreeSet<Prefix>,
    refused: BTreeMap<Prefix, Refusal>,
    census: Option<Census>,
}

/// How gobgpd has a route.
#[derive(Debug)]
enum Told {
    /// Like this.
    Known(Arc<PathAttributes>),
    /// As it was listed.
    Listed(Box<Listed>),
    /// In a way that was not wanted when it was listed.
    Other,
}

impl Told {
    fn is(&self, wanted: &PathAttributes) -> bool {
        match self {
            Told::Known(told) => **told == *wanted,
            Told::Listed(listed) => listed.is(wanted),
            Told::Other => false,
        }
    }
}

#[derive(Debug)]
struct Refusal {
    route: Option<Arc<PathAttributes>>,
    cause: Cause,
}

impl Refusal {
    /// It is not gobgpd that refuses.
    fn is_ours(&self) -> bool {
        self.cause == Cause::TooLarge
    }
}

/// What a prefix shall be.
#[derive(Debug)]
enum Desired {
    /// As it is, whatever that is.
    Left,
    Is(Option<Arc<PathAttributes>>),
    /// Not there, because it cannot be as it should.
    TooLarge,
}

impl Ledger {
    /// Wants `prefix` with these attributes, or not at all.
    pub(super) fn set(&mut self, prefix: Prefix, wanted: Option<Arc<Attributes>>) {
        self.undecided.remove(&prefix);
        match wanted {
            Some(attributes) => {
                self.denied.remove(&prefix);
                self.wanted.insert(prefix, attributes);
            }
            None => {
                self.wanted.remove(&prefix);
                if !self.released {
                    self.denied.insert(prefix);
                }
            }
        }
        self.look_at(prefix);
    }

    pub(super) fn leave_undecided(&mut self, prefix: Prefix) {
        self.undecided.insert(prefix);
        self.denied.remove(&prefix);
    }

    /// What is undecided is not wanted from now on.
    pub(super) fn release(&mut self) {
        self.released = true;
        self.undecided.clear();
        self.denied.clear();
        self.look_at_all();
    }

    /// Whether routes of before stay until it is decided about them.
    pub(super) fn set_keeps(&mut self, keeps: bool) {
        self.keeps = keeps;
    }

    pub(super) fn tell(&mut self, telling: Telling) {
        if std::mem::replace(&mut self.telling, telling) != telling {
            self.graceful.forget();
            self.look_at_all();
        }
    }

    pub(super) fn telling(&self) -> Telling {
        self.telling
    }

    /// From now on nothing is wanted; or all that is, again.
    pub(super) fn end(&mut self, ending: bool) {
        self.ending = ending;
        self.look_at_all();
    }

    /// gobgpd is there, and of this AS. What it has is not known yet.
    pub(super) fn begin_session(&mut self, live: LiveParameters, own_as: Asn) {
        self.session = Some(Session {
            exporter: Exporter::new(live, own_as),
            told: BTreeMap::new(),
            told_count: [0; 2],
            pending: BTreeSet::new(),
            flying: BTreeSet::new(),
            alone: BTreeSet::new(),
            refused: BTreeMap::new(),
            census: None,
        });
    }

    /// It is gone, and what it had of us with it, as far as anybody knows.
    pub(super) fn end_session(&mut self) {
        self.session = None;
    }

    /// Routes look different from now on.
    pub(super) fn configure(&mut self, live: LiveParameters, own_as: Asn) {
        if let Some(session) = &mut self.session {
            session.exporter = Exporter::new(live, own_as);
            self.look_at_all();
        }
    }

    fn look_at(&mut self, prefix: Prefix) {
        if let Some(session) = &mut self.session {
            session.pending.insert(prefix);
        }
    }

    /// O(routes).
    fn look_at_all(&mut self) {
        let Some(session) = &mut self.session else { return };
        session.pending.extend(session.told.keys());
        // What a census has not reached yet is looked at when it ends.
        if session.census.is_none() {
            session.pending.extend(self.wanted.keys());
        }
    }

    /// The next order, if there is a difference. It is under way then, until [`landed`](Self::landed).
    pub(super) fn next(&mut self) -> Option<Order> {
        loop {
            let prefix = self.session.as_mut()?.pending.pop_first()?;
            if let Some(order) = self.examine(prefix) {
                let session = self.session.as_mut()?;
                session.flying.insert(prefix);
                if let Some(census) = &mut session.census {
                    census.touch(prefix);
                }
                return Some(order);
            }
        }
    }

    fn examine(&mut self, prefix: Prefix) -> Option<Order> {
        let desired = self.desired(&prefix);
        let session = self.session.as_mut()?;
        if session.flying.contains(&prefix) {
            // It is looked at again when that has landed.
            return None;
        }
        if session.refused.get(&prefix).is_some_and(Refusal::is_ours) {
            session.refused.remove(&prefix);
        }
        let route = match desired {
            Desired::Left => return None,
            Desired::Is(route) => route,
            Desired::TooLarge => {
                session.refused.insert(prefix, Refusal { route: None, cause: Cause::TooLarge });
                None
            }
        };
        let is_told = match (session.told.get(&prefix), &route) {
            (None, None) => true,
            (Some(told), Some(route)) => told.is(route),
            (Some(_), None) | (None, Some(_)) => false,
        };
        let is_refused =
            session.refused.get(&prefix).is_some_and(|refusal| refusal.route == route && !refusal.is_ours());
        if is_told || is_refused {
            if let (Some(Told::Listed(_)), Some(route)) = (session.told.get(&prefix), route) {
                session.told.insert(prefix, Told::Known(route));
            }
            return None;
        }
        Some(Order { prefix, route, is_alone: session.alone.contains(&prefix) })
    }

    fn desired(&mut self, prefix: &Prefix) -> Desired {
        let Some(session) = &mut self.session else { return Desired::Left };
        if self.ending {
            return Desired::Is(None);
        }
        if self.undecided.contains(prefix) {
            return Desired::Left;
        }
        let Some(attributes) = self.wanted.get(prefix) else {
            let is_open = self.keeps && !self.released && !self.denied.contains(prefix);
            return if is_open { Desired::Left } else { Desired::Is(None) };
        };
        let exported = match self.telling {
            Telling::Everything => session.exporter.route(prefix, attributes),
            // What is about to go is not announced first.
            Telling::Graceful if session.told.contains_key(prefix) => {
                session.exporter.route(prefix, &self.graceful.on(attributes.clone()))
            }
            Telling::Graceful | Telling::Nothing => Exported::Filtered,
        };
        match exported {
            Exported::Route(route) => Desired::Is(Some(route)),
            Exported::Filtered => Desired::Is(None),
            Exported::TooLarge => Desired::TooLarge,
        }
    }

    /// gobgpd has done as ordered.
    pub(super) fn landed(&mut self, order: Order) {
        let Some(session) = &mut self.session else { return };
        let prefix = order.prefix;
        session.flying.remove(&prefix);
        session.alone.remove(&prefix);
        if session.refused.get(&prefix).is_some_and(|refusal| !refusal.is_ours()) {
            session.refused.remove(&prefix);
        }
        match order.route {
            Some(route) => session.put(prefix, Told::Known(route)),
            None => session.take(&prefix),
        }
        session.pending.insert(prefix);
    }

    /// gobgpd has not. Of several orders of one call, any may be to blame: each is tried by itself. True when this one is.
    pub(super) fn failed(&mut self, order: Order, cause: &Cause, is_one_of_many: bool) -> bool {
        let Some(session) = &mut self.session else { return false };
        session.flying.remove(&order.prefix);
        session.pending.insert(order.prefix);
        if is_one_of_many {
            session.alone.insert(order.prefix);
            return false;
        }
        session.alone.remove(&order.prefix);
        session.refused.insert(order.prefix, Refusal { route: order.route, cause: cause.clone() });
        true
    }

    /// Tries again what was refused.
    pub(super) fn retry_refused(&mut self) {
        let Some(session) = &mut self.session else { return };
        let Session { refused, pending, .. } = session;
        refused.retain(|prefix, refusal| {
            if !refusal.is_ours() {
                pending.insert(*prefix);
            }
            refusal.is_ours()
        });
    }

    /// Whether there is no difference that is not refused, and nothing under way.
    pub(super) fn is_settled(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.pending.is_empty() && session.flying.is_empty() && session.census.is_none())
    }

    /// Whether nothing is wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.ending || self.wanted.is_empty() || self.telling == Telling::Nothing
    }

    pub(super) fn has_told(&self, prefix: &Prefix) -> bool {
        self.session.as_ref().is_some_and(|session| session.told.contains_key(prefix))
    }

    /// The routes that gobgpd has of us.
    pub(super) fn told(&self) -> impl Iterator<Item = &Prefix> {
        self.session.iter().flat_map(|session| session.told.keys())
    }

    pub(super) fn told_count(&self) -> [usize; 2] {
        self.session.as_ref().map_or([0; 2], |session| session.told_count)
    }

    pub(super) fn pending_count(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.pending.len() + session.flying.len())
    }

    pub(super) fn refused_count(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.refused.len())
    }

    pub(super) fn first_refused(&self) -> Option<(Prefix, Cause)> {
        let (prefix, refusal) = self.session.as_ref()?.refused.first_key_value()?;
        Some((*prefix, refusal.cause.clone()))
    }
}

impl Session {
    fn put(&mut self, prefix: Prefix, told: Told) {
        if self.told.insert(prefix, told).is_none() {
            self.told_count[prefix.family() as usize] += 1;
        }
    }

    fn take(&mut self, prefix: &Prefix) {
        if self.told.remove(prefix).is_some() {
            self.told_count[prefix.family() as usize] -= 1;
        }
    }
}
