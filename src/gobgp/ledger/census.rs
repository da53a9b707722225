//! What gobgpd lists of ours, against what is known. Changes go on meanwhile: of a route that was under way at any time of
//! the census the list may tell what was before, so it tells nothing of that one.

use std::collections::BTreeSet;

use super::{Desired, Ledger, Session, Told};
use crate::gobgp::cause::Cause;
use crate::gobgp::path::Listed;
use crate::prefix::{Family, Prefix};

/// More routes than anybody has under one identifier.
const OWN_MAX: usize = 1_000_000;

/// A list that is being read.
#[derive(Debug, Default)]
pub(super) struct Census {
    seen: BTreeSet<Prefix>,
    touched: BTreeSet<Prefix>,
    /// Families that gobgpd does not list.
    unlisted: [bool; 2],
    found: usize,
    kept: usize,
}

impl Census {
    pub(super) fn touch(&mut self, prefix: Prefix) {
        self.touched.insert(prefix);
    }
}

impl Ledger {
    /// A list begins.
    pub(in crate::gobgp) fn begin_census(&mut self) {
        if let Some(session) = &mut self.session {
            session.census = Some(Census { touched: session.flying.clone(), ..Census::default() });
        }
    }

    /// A route of ours is in the list.
    pub(in crate::gobgp) fn listed(&mut self, listed: Listed) -> Result<(), Cause> {
        let prefix = listed.prefix;
        let desired = self.desired(&prefix);
        let is_undecided = self.undecided.contains(&prefix);
        let Some(session) = &mut self.session else { return Ok(()) };
        let Some(census) = &mut session.census else { return Ok(()) };
        census.found += 1;
        if census.found > OWN_MAX {
            return Err(Cause::TooManyRoutes(OWN_MAX));
        }
        if census.touched.contains(&prefix) {
            return Ok(());
        }
        // There is one route under a prefix and an identifier. Should there be two, neither is as it shall be.
        let is_first = census.seen.insert(prefix);
        let told = match desired {
            _ if !is_first => Told::Other,
            Desired::Is(Some(route)) if listed.is(&route) => {
                census.kept += 1;
                Told::Known(route)
            }
            Desired::Left if is_undecided => {
                census.kept += 1;
                Told::Listed(Box::new(listed))
            }
            Desired::Left => {
                census.kept += 1;
                Told::Other
            }
            Desired::Is(_) | Desired::TooLarge => Told::Other,
        };
        session.put(prefix, told);
        session.pending.insert(prefix);
        Ok(())
    }

    /// gobgpd has no list of this family: what is known of it stays.
    pub(in crate::gobgp) fn unlisted(&mut self, family: Family) {
        if let Some(census) = self.session.as_mut().and_then(|session| session.census.as_mut()) {
            census.unlisted[family as usize] = true;
        }
    }

    /// The list is complete: what is not in it is not there. Returns how many were found, and how many of them are as they
    /// shall be. O(routes).
    pub(in crate::gobgp) fn end_census(&mut self) -> (usize, usize) {
        let Some(session) = &mut self.session else { return (0, 0) };
        let Some(census) = session.census.take() else { return (0, 0) };
        let Session { told, told_count, pending, .. } = session;
        told.retain(|prefix, _| {
            let is_there = census.seen.contains(prefix)
                || census.touched.contains(prefix)
                || census.unlisted[prefix.family() as usize];
            if !is_there {
                told_count[prefix.family() as usize] -= 1;
            }
            is_there
        });
        pending.extend(self.wanted.keys());
        (census.found, census.kept)
    }
}
