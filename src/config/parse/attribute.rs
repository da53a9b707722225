//! Path attributes, as peers, VIPs and `degraded` have them.

use std::collections::BTreeSet;

use super::findings::{Findings, quote};
use super::table::{Item, Section};
use crate::config::{Asn, Attributes, Community, LargeCommunity, Origin};

/// How many communities one list may hold: the VIP's and the peer's together, with the longest AS path, fit a message
/// (RFC 4271 §4.1: 4096 octets).
const MAX_COMMUNITIES: usize = 64;
/// The longest prepending. Many networks drop a path of more than 50 to 100.
const MAX_PREPEND: u8 = 100;

pub(super) fn attributes(table: &Section, findings: &mut Findings) -> Attributes {
    let mut attributes = Attributes::default();
    if let Some(item) = table.get("origin") {
        attributes.origin =
            item.choice(&[Origin::Igp, Origin::Egp, Origin::Incomplete].map(|o| (o.name(), o)), findings);
    }
    attributes.med = table.get("med").and_then(|item| item.integer(0..=u32::MAX, findings));
    attributes.local_pref = table.get("local_pref").and_then(|item| item.integer(0..=u32::MAX, findings));
    attributes.as_path_prepend = table.get("as_path_prepend").and_then(|item| item.integer(0..=MAX_PREPEND, findings));
    if let Some(item) = table.get("communities") {
        (attributes.communities, attributes.large_communities) = communities(&item, findings);
    }
    attributes
}

/// What `table` sets, and the rest from `base`.
pub(super) fn overridden(base: &Attributes, table: &Section, findings: &mut Findings) -> Attributes {
    let own = attributes(table, findings);
    let replaces = table.has("communities");
    let (communities, large_communities) = if replaces {
        (own.communities, own.large_communities)
    } else {
        (base.communities.clone(), base.large_communities.clone())
    };
    Attributes {
        origin: own.origin.or(base.origin),
        as_path_prepend: own.as_path_prepend.or(base.as_path_prepend),
        med: own.med.or(base.med),
        local_pref: own.local_pref.or(base.local_pref),
        communities,
        large_communities,
    }
}

/// Standard and large communities, told apart by their colons.
fn communities(item: &Item, findings: &mut Findings) -> (Vec<Community>, Vec<LargeCommunity>) {
    let (mut standard, mut large) = (BTreeSet::new(), BTreeSet::new());
    for item in item.list(findings).unwrap_or_default() {
        let Some(text) = item.string(findings) else { continue };
        let known = match text.matches(':').count() {
            2 => text.parse().map(|community| large.insert(community)),
            _ => text.parse().map(|community| standard.insert(community)),
        };
        if known.is_ok() {
            continue;
        }
        let why = match text.matches(':').count() {
            0 => {
                let hint = findings.did_you_mean(text, Community::names());
                format!("is neither a well-known community nor of the form `65000:100` or `65000:1:2`{hint}")
            }
            1 => "is not a community: two numbers from 0 to 65535".to_owned(),
            2 => "is not a large community: three numbers from 0 to 4294967295".to_owned(),
            _ => "has too many colons for a community".to_owned(),
        };
        findings.error(item.place, format!("{} {why}", quote(text)));
    }
    if standard.len() + large.len() > MAX_COMMUNITIES {
        findings.error(item.place, format!("`communities` may hold at most {MAX_COMMUNITIES}"));
    }
    (standard.into_iter().collect(), large.into_iter().collect())
}

/// An AS number that a speaker may have: neither 0 (RFC 7607) nor AS_TRANS (RFC 6793 §9).
pub(super) fn asn(item: &Item, findings: &mut Findings) -> Option<Asn> {
    let number = item.integer(1..=u32::MAX, findings)?;
    if number == u32::from(Asn::TRANS) {
        let message = format!("`{}`: {number} is AS_TRANS, which is nobody's AS (RFC 6793)", item.name);
        findings.error(item.place, message);
        return None;
    }
    Some(Asn(number))
}
