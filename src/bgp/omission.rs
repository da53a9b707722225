//! What is left out of our OPEN because the peer refuses it (RFC 5492 §3, §5).
//!
//! A peer that does not know a capability is to ignore it, but some refuse the session: with the capability in the
//! NOTIFICATION, or without a word about what disturbs them. What they name is left out; where they name nothing, first
//! all that a session can well do without, then everything.

use std::collections::BTreeSet;

use super::capability::{Capability, ENHANCED_ROUTE_REFRESH, FOUR_OCTET_AS, MULTIPROTOCOL, ROUTE_REFRESH};
use super::error::Notification;
use super::wire::Reader;
use crate::prefix::Family;

/// What is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omissions {
    /// Codes that were named; of multiprotocol, the family.
    named: BTreeSet<(u8, Option<Family>)>,
    depth: Depth,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    /// Only what was named.
    #[default]
    Named,
    /// All but the basic ones.
    Optional,
    /// All.
    All,
}

impl Omissions {
    /// Whether nothing is.
    pub fn is_none(&self) -> bool {
        *self == Omissions::default()
    }

    /// Whether this capability is offered all the same.
    pub(super) fn allow(&self, capability: &Capability) -> bool {
        let code = capability.code();
        let is_deep = match self.depth {
            Depth::Named => false,
            Depth::Optional => !is_basic(code),
            Depth::All => true,
        };
        // One without the other would mean nothing (RFC 7313 §3.1).
        let needs = if code == ENHANCED_ROUTE_REFRESH { Some((ROUTE_REFRESH, None)) } else { None };
        !is_deep && !self.named.contains(&key(capability)) && !needs.is_some_and(|key| self.named.contains(&key))
    }

    /// What to leave out next, after an OPEN with the capabilities `offered` was answered with this NOTIFICATION; `None`
    /// when it refuses no capability, or when nothing is left to leave out.
    pub(super) fn after(&self, offered: &[Capability], notification: &Notification) -> Option<Omissions> {
        let named = match notification {
            Notification { code: 2, subcode: 7, data } if !data.is_empty() => read(data),
            Notification { code: 2, subcode: 4 | 7, .. } => None,
            _ => return None,
        };
        let mut next = self.clone();
        if let Some(named) = named {
            // What it names and we did not offer is not what it refuses, but what it misses (RFC 5492 §5).
            let refused = offered.iter().map(key).filter(|key| named.contains(key));
            next.named.extend(refused);
        } else if offered.iter().any(|capability| !is_basic(capability.code())) {
            next.depth = Depth::Optional;
        } else if !offered.is_empty() {
            next.depth = Depth::All;
        }
        Some(next).filter(|next| next != self)
    }

    /// Whether all that is left out of the other is left out here too.
    pub(super) fn cover(&self, other: &Omissions) -> bool {
        self.depth >= other.depth && (self.depth == Depth::All || self.named.is_superset(&other.named))
    }
}

/// What hardly any session can do without.
fn is_basic(code: u8) -> bool {
    matches!(code, MULTIPROTOCOL | ROUTE_REFRESH | FOUR_OCTET_AS)
}

fn key(capability: &Capability) -> (u8, Option<Family>) {
    let family = if let Capability::Multiprotocol(family) = capability { Some(*family) } else { None };
    (capability.code(), family)
}

/// The data of Unsupported Capability: capabilities, encoded as in an OPEN. `None` when it is something else.
fn read(data: &[u8]) -> Option<BTreeSet<(u8, Option<Family>)>> {
    let mut reader = Reader::new(data);
    let mut keys = BTreeSet::new();
    while !reader.is_empty() {
        let code = reader.u8().ok()?;
        let value = reader.sub_u8().ok()?;
        // A length that the code cannot have does not hide which one is meant.
        keys.insert(Capability::decode(code, value.rest()).map_or((code, None), |capability| key(&capability)));
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Asn, Role};

    fn all() -> Vec<Capability> {
        let [ipv4, ipv6] = Family::ALL.map(Capability::Multiprotocol);
        let role = Capability::role(Role::Customer);
        let [refresh, enhanced] = [Capability::RouteRefresh, Capability::enhanced_route_refresh()];
        vec![ipv4, ipv6, refresh, enhanced, Capability::FourOctetAs(Asn(65001)), role]
    }

    fn codes(omissions: &Omissions) -> Vec<u8> {
        all().iter().filter(|capability| omissions.allow(capability)).map(Capability::code).collect()
    }

    /// What is offered after these refusals, the data of each.
    fn after(refusals: &[&[u8]]) -> Option<Vec<u8>> {
        let mut omissions = Omissions::default();
        for data in refusals {
            let offered: Vec<_> = all().into_iter().filter(|capability| omissions.allow(capability)).collect();
            let next = omissions.after(&offered, &Notification::new(2, 7, *data))?;
            assert!(next.cover(&omissions) && !omissions.cover(&next));
            omissions = next;
        }
        Some(codes(&omissions))
    }

    #[test]
    fn what_is_named_goes_and_nothing_else() {
        assert_eq!(after(&[&[9, 1, 3]]), Some(vec![1, 1, 2, 70, 65]));
        assert_eq!(after(&[&[9, 1, 3], &[65, 4, 0, 0, 0xfd, 0xe9]]), Some(vec![1, 1, 2, 70]));
        assert_eq!(after(&[&[9, 0, 65, 0]]), Some(vec![1, 1, 2, 70]), "by the code alone");
        assert_eq!(after(&[&[1, 4, 0, 2, 0, 1]]), Some(vec![1, 2, 70, 65, 9]), "one family");
        assert_eq!(after(&[&[2, 0]]), Some(vec![1, 1, 65, 9]), "with what needs it");
    }

    #[test]
    fn what_is_missed_is_not_what_is_refused() {
        assert_eq!(after(&[&[64, 2, 0, 120]]), None);
        assert_eq!(after(&[&[1, 4, 0, 25, 0, 70]]), None);
        assert_eq!(after(&[&[9, 1, 3], &[9, 1, 3]]), None, "we did not offer it any more");
    }

    #[test]
    fn unnamed_it_is_first_the_optional_ones_and_then_all() {
        assert_eq!(after(&[&[]]), Some(vec![1, 1, 2, 65]));
        assert_eq!(after(&[&[], &[]]), Some(vec![]));
        assert_eq!(after(&[&[], &[], &[]]), None);
        assert_eq!(after(&[&[9]]), Some(vec![1, 1, 2, 65]), "data that is none");
        assert_eq!(after(&[&[9, 1, 3], &[70, 0], &[]]), Some(vec![]), "no optional one was left");
        let others = [(2, 2), (2, 11), (6, 7)].map(|(code, subcode)| Notification::new(code, subcode, []));
        for notification in others {
            assert_eq!(Omissions::default().after(&all(), &notification), None, "{notification}");
        }
    }
}
