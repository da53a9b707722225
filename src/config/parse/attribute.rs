//! Path attributes, as peers, VIPs and `degraded` have them.

use std::collections::BTreeSet;

use super::findings::{Findings, quote};
use super::table::{Item, Section};
use crate::config::{Asn, Attributes, Community, ExtendedCommunity, Origin};

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
        communities(&item, &mut attributes, findings);
    }
    attributes
}

/// What `table` sets, and the rest from `base`.
pub(super) fn overridden(base: &Attributes, table: &Section, findings: &mut Findings) -> Attributes {
    Overlay::read(table, findings).on(base)
}

/// What a table sets, to be laid over other attributes.
pub(super) struct Overlay {
    own: Attributes,
    has_communities: bool,
}

impl Overlay {
    pub(super) fn read(table: &Section, findings: &mut Findings) -> Overlay {
        Overlay { own: attributes(table, findings), has_communities: table.has("communities") }
    }

    /// The rest from `base`.
    pub(super) fn on(&self, base: &Attributes) -> Attributes {
        let own = &self.own;
        let communities = if self.has_communities { own.clone() } else { base.clone() };
        Attributes {
            origin: own.origin.or(base.origin),
            as_path_prepend: own.as_path_prepend.or(base.as_path_prepend),
            med: own.med.or(base.med),
            local_pref: own.local_pref.or(base.local_pref),
            ..communities
        }
    }
}

/// Reads standard, large and extended communities. Extended ones begin with a word; the others are told apart by their
/// colons.
fn communities(item: &Item, attributes: &mut Attributes, findings: &mut Findings) {
    let (mut standard, mut large, mut extended) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for item in item.list(findings).unwrap_or_default() {
        let Some(text) = item.string(findings) else { continue };
        let is_new = match text.matches(':').count() {
            _ if ExtendedCommunity::is_meant_by(text) => text.parse().map(|community| extended.insert(community)),
            2 => text.parse().map(|community| large.insert(community)),
            _ => text.parse().map(|community| standard.insert(community)),
        };
        if is_new.is_err() {
            let why = why_none(text, findings);
            findings.error(item.place, format!("{} {why}", quote(text)));
        }
    }
    if standard.len() + large.len() + extended.len() > MAX_COMMUNITIES {
        findings.error(item.place, format!("`communities` may hold at most {MAX_COMMUNITIES}"));
    }
    attributes.communities = standard.into_iter().collect();
    attributes.large_communities = large.into_iter().collect();
    attributes.extended_communities = extended.into_iter().collect();
}

/// Why a text is no community.
fn why_none(text: &str, findings: &mut Findings) -> String {
    if ExtendedCommunity::is_meant_by(text) {
        return "is not an extended community, such as `rt:65000:100`, `soo:65000:1`, `rt:192.0.2.1:5`, \
                `rt:4200000001:7` (the last number to 65535 in these two) or `generic:0x43000000:0x1`"
            .to_owned();
    }
    match text.matches(':').count() {
        0 => {
            let hint = findings.did_you_mean(text, Community::names());
            format!("is neither a well-known community nor of the form `65000:100` or `65000:1:2`{hint}")
        }
        1 => "is not a community: two numbers from 0 to 65535".to_owned(),
        2 => "is not a large community: three numbers from 0 to 4294967295".to_owned(),
        _ => "has too many colons for a community".to_owned(),
    }
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
