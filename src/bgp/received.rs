//! Path attributes as received: each checked for itself, and what an error in it costs (RFC 7606).
//!
//! A malformed attribute costs itself, or the routes of its message, but not the session; that goes only when the routes
//! themselves cannot be read.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::as_path::{self, Malformed, Segment};
use super::attribute::{
    AGGREGATOR, AS_PATH, AS4_AGGREGATOR, AS4_PATH, ATOMIC_AGGREGATE, CLUSTER_LIST, COMMUNITIES, EXTENDED_COMMUNITIES,
    EXTENDED_LENGTH, IPV6_EXTENDED_COMMUNITIES, LARGE_COMMUNITY, LOCAL_PREF, MP_REACH_NLRI, MP_UNREACH_NLRI,
    MULTI_EXIT_DISC, NEXT_HOP, NextHop, ONLY_TO_CUSTOMER, OPTIONAL, ORIGIN, ORIGINATOR_ID, PathAttributes, TRANSITIVE,
    flags_of,
};
use super::error::Notification;
use super::message::family_of;
use super::nlri;
use super::wire::{Reader, Short};
use crate::config::{Asn, Community, ExtendedCommunity, LargeCommunity, Origin};
use crate::prefix::{Family, Prefix};

/// What an error in an UPDATE costs, the least first (RFC 7606 §2). A session reset, the worst, is an `Err` instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// The attribute is as if it were not there.
    AttributeDiscard,
    /// All routes that the message announces are withdrawn.
    TreatAsWithdraw,
}

impl Treatment {
    /// As RFC 7606 §2 writes it.
    pub fn name(self) -> &'static str {
        match self {
            Treatment::AttributeDiscard => "attribute-discard",
            Treatment::TreatAsWithdraw => "treat-as-withdraw",
        }
    }
}

/// What was wrong with an UPDATE that did not cost the session: the first of the worst errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was done.
    pub treatment: Treatment,
    /// The NOTIFICATION that it would have been before RFC 7606. It is not sent.
    pub error: Notification,
}

/// The attributes of one UPDATE, each checked for itself.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// How many attributes there are, those that we ignore among them.
    pub(super) count: usize,
    /// There is something else than MP_UNREACH_NLRI.
    pub(super) has_other_than_unreach: bool,
    /// NEXT_HOP.
    pub(super) next_hop: Option<Ipv4Addr>,
    /// MP_REACH_NLRI, if it is of one of our families.
    pub(super) reach: Option<Reach>,
    /// There is an MP_REACH_NLRI of a family that is not ours.
    pub(super) reaches_other_family: bool,
    /// MP_UNREACH_NLRI, if it is of one of our families.
    pub(super) unreach: Option<(Family, Vec<Prefix>)>,
    /// The worst of what was wrong.
    pub(super) fault: Option<Fault>,
    origin: Option<Origin>,
    as_path: Option<Vec<Segment>>,
    as4_path: Option<Vec<Segment>>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<Community>,
    large_communities: Vec<LargeCommunity>,
    extended_communities: Vec<ExtendedCommunity>,
    only_to_customer: Option<Asn>,
    /// The AS of AGGREGATOR.
    aggregator: Option<Asn>,
    has_as4_aggregator: bool,
}

/// MP_REACH_NLRI.
#[derive(Debug)]
pub(super) struct Reach {
    /// `None` when it is not the address of a host.
    pub(super) next_hop: Option<NextHop>,
    pub(super) prefixes: Vec<Prefix>,
}

/// One attribute, with the octets that an error quotes.
struct Raw<'a> {
    flags: u8,
    kind: u8,
    value: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Raw<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Raw<'a>, Short> {
        let all = reader.rest();
        let flags = reader.u8()?;
        let kind = reader.u8()?;
        let value = if flags & EXTENDED_LENGTH == 0 { reader.sub_u8()? } else { reader.sub_u16()? }.rest();
        let whole = all.get(..all.len() - reader.len()).ok_or(Short)?;
        Ok(Raw { flags, kind, value, whole })
    }

    /// RFC 4271 §6.3: the flags are those of the type, and what claims to be well-known is known.
    fn check_flags(&self) -> Result<(), Notification> {
        match flags_of(self.kind) {
            Some(flags) if flags != self.flags & (OPTIONAL | TRANSITIVE) => {
                Err(Notification::attribute_flags(self.whole))
            }
            None if self.flags & OPTIONAL == 0 => Err(Notification::unrecognized_well_known_attribute(self.whole)),
            _ => Ok(()),
        }
    }

    /// The value, when it has exactly `N` octets.
    fn exactly<const N: usize>(&self) -> Result<[u8; N], Notification> {
        self.value.try_into().map_err(|_| Notification::attribute_length(self.whole))
    }

    /// The value in pieces of `N` octets, at least one.
    fn pieces<const N: usize>(&self) -> Result<&'a [[u8; N]], Notification> {
        match self.value.as_chunks() {
            (pieces, []) if !pieces.is_empty() => Ok(pieces),
            _ => Err(Notification::attribute_length(self.whole)),
        }
    }
}

/// The two that hold routes: what is wrong with their lengths costs the session (RFC 7606 §3 g and j, §7.11, §7.12).
fn holds_routes(kind: u8) -> bool {
    matches!(kind, MP_REACH_NLRI | MP_UNREACH_NLRI)
}

/// What an error in this attribute costs.
fn treatment(kind: u8) -> Treatment {
    match kind {
        // They decide nothing (RFC 7606 §3 f, §7.6, §7.7), or stand beside others that do (RFC 6793 §6).
        ATOMIC_AGGREGATE | AGGREGATOR | AS4_PATH | AS4_AGGREGATOR => Treatment::AttributeDiscard,
        // RFC 7606 §3 c and e, §7. An unknown one that claims to be well-known is not in RFC 7606; as long as the routes
        // are told apart, it is worth no more than they.
        _ => Treatment::TreatAsWithdraw,
    }
}

impl Attributes {
    /// Decodes the attributes of an UPDATE. What is wrong ends up in `fault`.
    ///
    /// # Errors
    /// The routes within cannot be read, or are there twice (RFC 7606 §3 g and j).
    pub(super) fn decode(bytes: &[u8], four_octet_as: bool, internal: bool) -> Result<Attributes, Notification> {
        let mut attributes = Attributes::default();
        let mut seen = BTreeSet::new();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let kind = reader.rest().get(1).copied();
            let Ok(raw) = Raw::read(&mut reader) else {
                let error = Notification::malformed_attribute_list();
                if kind.is_some_and(holds_routes) {
                    return Err(error);
                }
                // The list ends where its length says, and what is left of it is no attribute (RFC 7606 §4).
                attributes.has_other_than_unreach = true;
                attributes.blame(Treatment::TreatAsWithdraw, error);
                break;
            };
            attributes.count += 1;
            attributes.has_other_than_unreach |= raw.kind != MP_UNREACH_NLRI;
            if seen.insert(raw.kind) {
                attributes.take(&raw, four_octet_as, internal)?;
            } else if holds_routes(raw.kind) {
                return Err(Notification::malformed_attribute_list());
            } else {
                // The first counts (RFC 7606 §3 g).
                attributes.blame(Treatment::AttributeDiscard, Notification::malformed_attribute_list());
            }
        }
        Ok(attributes)
    }

    /// Something is wrong. Of errors that cost the same, the first is told; a worse one goes before (RFC 7606 §3 h).
    pub(super) fn blame(&mut self, treatment: Treatment, error: Notification) {
        if self.fault.as_ref().is_none_or(|fault| fault.treatment < treatment) {
            self.fault = Some(Fault { treatment, error });
        }
    }

    fn take(&mut self, raw: &Raw<'_>, four_octet_as: bool, internal: bool) -> Result<(), Notification> {
        // Of no meaning from another AS, right or wrong (RFC 7606 §7.5, §7.9, §7.10).
        if !internal && matches!(raw.kind, LOCAL_PREF | ORIGINATOR_ID | CLUSTER_LIST) {
            return Ok(());
        }
        if let Err(error) = raw.check_flags() {
            self.blame(treatment(raw.kind), error);
            // Which routes are to be withdrawn is within these, whatever their flags.
            if !holds_routes(raw.kind) {
                return Ok(());
            }
        }
        match raw.kind {
            MP_REACH_NLRI => self.take_mp_reach(raw)?,
            MP_UNREACH_NLRI => self.unreach = decode_mp_unreach(raw)?,
            _ => {
                if let Err(error) = self.take_value(raw, four_octet_as) {
                    self.blame(treatment(raw.kind), error);
                }
            }
        }
        Ok(())
    }

    /// RFC 4760 §3. A next hop of a wrong length hides where the routes begin; one that is no host's does not
    /// (RFC 7606 §7.11, §7.3).
    fn take_mp_reach(&mut self, raw: &Raw<'_>) -> Result<(), Notification> {
        let malformed = |_: Short| Notification::optional_attribute(raw.whole);
        let mut reader = Reader::new(raw.value);
        let afi = reader.u16().map_err(malformed)?;
        let safi = reader.u8().map_err(malformed)?;
        let next_hop = reader.sub_u8().map_err(malformed)?;
        let _reserved = reader.u8().map_err(malformed)?;
        let Some(family) = family_of(afi, safi) else {
            self.reaches_other_family = true;
            return Ok(());
        };
        let next_hop = decode_next_hop(family, next_hop.rest()).map_err(malformed)?;
        let next_hop = Some(next_hop).filter(|next_hop| is_host(*next_hop));
        if next_hop.is_none() {
            self.blame(Treatment::TreatAsWithdraw, Notification::optional_attribute(raw.whole));
        }
        self.reach = Some(Reach { next_hop, prefixes: nlri::read(family, reader.rest())? });
        Ok(())
    }

    fn take_value(&mut self, raw: &Raw<'_>, four_octet_as: bool) -> Result<(), Notification> {
        match raw.kind {
            ORIGIN => {
                self.origin = Some(match raw.exactly()? {
                    [0] => Origin::Igp,
                    [1] => Origin::Egp,
                    [2] => Origin::Incomplete,
                    _ => return Err(Notification::invalid_origin(raw.whole)),
                });
            }
            AS_PATH => {
                let path = as_path::decode(raw.value, four_octet_as);
                self.as_path = Some(path.map_err(|Malformed| Notification::malformed_as_path())?);
            }
            NEXT_HOP => {
                let next_hop = Ipv4Addr::from(raw.exactly::<4>()?);
                if !is_host_v4(next_hop) {
                    return Err(Notification::invalid_next_hop(raw.whole));
                }
                self.next_hop = Some(next_hop);
            }
            MULTI_EXIT_DISC => self.med = Some(u32::from_be_bytes(raw.exactly()?)),
            LOCAL_PREF => self.local_pref = Some(u32::from_be_bytes(raw.exactly()?)),
            ATOMIC_AGGREGATE => drop(raw.exactly::<0>()?),
            AGGREGATOR if four_octet_as => drop(raw.exactly::<8>()?),
            AGGREGATOR => {
                let [high, low, ..] = raw.exactly::<6>()?;
                self.aggregator = Some(Asn(u16::from_be_bytes([high, low]).into()));
            }
            COMMUNITIES => {
                self.communities = raw.pieces()?.iter().map(|piece| Community(u32::from_be_bytes(*piece))).collect();
            }
            // Between 4-octet speakers these two must not be, and are ignored if they are (RFC 6793 §4.1).
            AS4_PATH | AS4_AGGREGATOR if four_octet_as => {}
            AS4_PATH => {
                let path = as_path::decode(raw.value, true);
                self.as4_path = Some(path.map_err(|Malformed| Notification::optional_attribute(raw.whole))?);
            }
            AS4_AGGREGATOR => {
                raw.exactly::<8>()?;
                self.has_as4_aggregator = true;
            }
            EXTENDED_COMMUNITIES => {
                self.extended_communities = raw.pieces()?.iter().copied().map(ExtendedCommunity).collect();
            }
            LARGE_COMMUNITY => self.large_communities = decode_large_communities(raw)?,
            ONLY_TO_CUSTOMER => self.only_to_customer = Some(Asn(u32::from_be_bytes(raw.exactly()?))),
            // Nothing to a speaker that imports nothing, but a wrong one is wrong: RFC 7606 §7.9, §7.10, §7.14, §7.15.
            ORIGINATOR_ID => drop(raw.exactly::<4>()?),
            CLUSTER_LIST => drop(raw.pieces::<4>()?),
            IPV6_EXTENDED_COMMUNITIES => drop(raw.pieces::<20>()?),
            _ => {}
        }
        Ok(())
    }

    /// The attributes of routes with this next hop; missing what every route must have, an error (RFC 4271 §5, §6.3).
    pub(super) fn of_routes(&self, next_hop: Option<NextHop>) -> Result<PathAttributes, Notification> {
        let missing = |kind| move || Notification::missing_well_known_attribute(kind);
        let origin = self.origin.ok_or_else(missing(ORIGIN))?;
        let as_path = self.as_path.clone().ok_or_else(missing(AS_PATH))?;
        let next_hop = next_hop.ok_or_else(missing(NEXT_HOP))?;
        // An AGGREGATOR that is not AS_TRANS beside an AS4_AGGREGATOR was written by a 2-octet speaker later on the way:
        // then both AS4 attributes are stale (RFC 6793 §4.2.3).
        let aggregated_since =
            self.has_as4_aggregator && self.aggregator.is_some_and(|asn| asn != Asn(Asn::TRANS.into()));
        let as_path = match &self.as4_path {
            Some(as4_path) if !aggregated_since => as_path::merge(as_path, as4_path.clone()),
            _ => as_path,
        };
        Ok(PathAttributes {
            origin,
            as_path,
            next_hop,
            med: self.med,
            local_pref: self.local_pref,
            communities: self.communities.clone(),
            large_communities: self.large_communities.clone(),
            extended_communities: self.extended_communities.clone(),
            only_to_customer: self.only_to_customer,
        })
    }
}

/// RFC 8092 §4: a community given twice is one.
fn decode_large_communities(raw: &Raw<'_>) -> Result<Vec<LargeCommunity>, Notification> {
    let mut seen = BTreeSet::new();
    let mut communities = Vec::new();
    for piece in raw.pieces::<12>()? {
        let mut parts = Reader::new(piece);
        if let (Ok(a), Ok(b), Ok(c)) = (parts.u32(), parts.u32(), parts.u32()) {
            let community = LargeCommunity(a, b, c);
            if seen.insert(community) {
                communities.push(community);
            }
        }
    }
    Ok(communities)
}

/// RFC 4760 §4.
fn decode_mp_unreach(raw: &Raw<'_>) -> Result<Option<(Family, Vec<Prefix>)>, Notification> {
    let malformed = |_: Short| Notification::optional_attribute(raw.whole);
    let mut reader = Reader::new(raw.value);
    let afi = reader.u16().map_err(malformed)?;
    let safi = reader.u8().map_err(malformed)?;
    let Some(family) = family_of(afi, safi) else { return Ok(None) };
    Ok(Some((family, nlri::read(family, reader.rest())?)))
}

/// 4 octets only for IPv4; 16 or 32 for either family (RFC 2545 §3, RFC 8950 §3).
fn decode_next_hop(family: Family, octets: &[u8]) -> Result<NextHop, Short> {
    let mut reader = Reader::new(octets);
    Ok(match (family, octets.len()) {
        (Family::Ipv4, 4) => NextHop::Ipv4(Ipv4Addr::from(reader.u32()?)),
        (_, 16) => NextHop::Ipv6(Ipv6Addr::from(reader.array::<16>()?)),
        (_, 32) => NextHop::Ipv6Pair(reader.array::<16>()?.into(), reader.array::<16>()?.into()),
        _ => return Err(Short),
    })
}

/// "A valid IP host address" (RFC 4271 §6.3).
fn is_host(next_hop: NextHop) -> bool {
    match next_hop {
        NextHop::Ipv4(address) => is_host_v4(address),
        NextHop::Ipv6(address) => is_host_v6(address),
        // A router without a global address on the link leaves that half unspecified.
        NextHop::Ipv6Pair(global, local) => {
            is_host_v6(global) || (global.is_unspecified() && local.is_unicast_link_local())
        }
    }
}

/// Neither unspecified, multicast nor reserved.
fn is_host_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    !address.is_unspecified() && first < 224
}

fn is_host_v6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}
