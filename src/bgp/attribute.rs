//! Path attributes on the wire (RFC 4271 §4.3, §5).
//!
//! ```text
//! +-------+-------+--------------------------+----------
//! | Flags | Type  | Length, 1 or 2 octets    | Value …
//! +-------+-------+--------------------------+----------
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use super::as_path::Segment;
use super::as_path::{self, Malformed};
use super::error::Notification;
use super::message::{UNICAST, afi, family_of};
use super::nlri;
use super::wire::{Reader, Short, TooLong, prefixed_u8, prefixed_u16};
use crate::config::{Asn, Community, LargeCommunity, Origin};
use crate::prefix::{Family, Prefix};

/// The attributes of a route as they stand in an UPDATE to one peer, next hop and all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathAttributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH; as received from a 2-octet speaker merged with AS4_PATH (RFC 6793 §4.2.3).
    pub as_path: Vec<Segment>,
    /// NEXT_HOP, or the next hop of MP_REACH_NLRI.
    pub next_hop: NextHop,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// COMMUNITIES.
    pub communities: Vec<Community>,
    /// LARGE_COMMUNITY.
    pub large_communities: Vec<LargeCommunity>,
}

/// A next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextHop {
    /// For IPv4 routes.
    Ipv4(Ipv4Addr),
    /// One global address (RFC 2545 §3).
    Ipv6(Ipv6Addr),
    /// A global and a link-local address (RFC 2545 §3).
    Ipv6Pair(Ipv6Addr, Ipv6Addr),
}

impl NextHop {
    /// The addresses, the global one first.
    pub fn addresses(self) -> Vec<IpAddr> {
        match self {
            NextHop::Ipv4(address) => vec![address.into()],
            NextHop::Ipv6(address) => vec![address.into()],
            NextHop::Ipv6Pair(global, local) => vec![global.into(), local.into()],
        }
    }

    /// As in MP_REACH_NLRI.
    fn octets(self) -> Vec<u8> {
        match self {
            NextHop::Ipv4(address) => address.octets().to_vec(),
            NextHop::Ipv6(address) => address.octets().to_vec(),
            NextHop::Ipv6Pair(global, local) => [global.octets(), local.octets()].concat(),
        }
    }
}

// IANA, "BGP Path Attributes".
const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const MULTI_EXIT_DISC: u8 = 4;
const LOCAL_PREF: u8 = 5;
const ATOMIC_AGGREGATE: u8 = 6;
const AGGREGATOR: u8 = 7;
const COMMUNITIES: u8 = 8;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;
const MP_REACH_NLRI: u8 = 14;
const MP_UNREACH_NLRI: u8 = 15;
const EXTENDED_COMMUNITIES: u8 = 16;
const AS4_PATH: u8 = 17;
const AS4_AGGREGATOR: u8 = 18;
const LARGE_COMMUNITY: u8 = 32;

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

/// The Optional and Transitive bits of a type; `None` for a type that we do not know.
fn flags_of(kind: u8) -> Option<u8> {
    match kind {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => Some(TRANSITIVE),
        MULTI_EXIT_DISC | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH_NLRI | MP_UNREACH_NLRI => Some(OPTIONAL),
        AGGREGATOR | COMMUNITIES | EXTENDED_COMMUNITIES | AS4_PATH | AS4_AGGREGATOR | LARGE_COMMUNITY => {
            Some(OPTIONAL | TRANSITIVE)
        }
        _ => None,
    }
}

/// Appends one attribute. Two octets of length only where one does not do (RFC 4271 §4.3).
fn write(kind: u8, value: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let start = out.len();
    let flags = flags_of(kind).unwrap_or(OPTIONAL | TRANSITIVE);
    out.extend([flags, kind]);
    if prefixed_u8(out, |out| out.extend_from_slice(value)).is_ok() {
        return Ok(());
    }
    out.truncate(start);
    out.extend([flags | EXTENDED_LENGTH, kind]);
    prefixed_u16(out, |out| out.extend_from_slice(value)).inspect_err(|_| out.truncate(start))
}

/// Appends all attributes but MP_REACH_NLRI, in ascending order. NEXT_HOP is among them only for classic IPv4 NLRI.
pub(super) fn encode(
    attributes: &PathAttributes,
    classic_next_hop: Option<Ipv4Addr>,
    four_octet_as: bool,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let origin = match attributes.origin {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    };
    write(ORIGIN, &[origin], out)?;
    let mut path = Vec::new();
    as_path::encode(&attributes.as_path, four_octet_as, &mut path);
    write(AS_PATH, &path, out)?;
    if let Some(next_hop) = classic_next_hop {
        write(NEXT_HOP, &next_hop.octets(), out)?;
    }
    if let Some(med) = attributes.med {
        write(MULTI_EXIT_DISC, &med.to_be_bytes(), out)?;
    }
    if let Some(local_pref) = attributes.local_pref {
        write(LOCAL_PREF, &local_pref.to_be_bytes(), out)?;
    }
    if !attributes.communities.is_empty() {
        let value: Vec<u8> = attributes.communities.iter().flat_map(|community| community.0.to_be_bytes()).collect();
        write(COMMUNITIES, &value, out)?;
    }
    if !four_octet_as && as_path::needs_as4_path(&attributes.as_path) {
        let mut path = Vec::new();
        as_path::encode(&attributes.as_path, true, &mut path);
        write(AS4_PATH, &path, out)?;
    }
    if !attributes.large_communities.is_empty() {
        let parts = attributes.large_communities.iter().flat_map(|LargeCommunity(a, b, c)| [a, b, c]);
        let value: Vec<u8> = parts.flat_map(|part| part.to_be_bytes()).collect();
        write(LARGE_COMMUNITY, &value, out)?;
    }
    Ok(())
}

/// The octets of an MP_REACH_NLRI beside its prefixes, at most: header, AFI, SAFI, next hop and its length, reserved.
pub(super) fn mp_reach_overhead(next_hop: NextHop) -> usize {
    4 + 2 + 1 + 1 + next_hop.octets().len() + 1
}

/// Appends MP_REACH_NLRI (RFC 4760 §3) with prefixes that are encoded already.
pub(super) fn encode_mp_reach(
    family: Family,
    next_hop: NextHop,
    prefixes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let mut value = afi(family).to_be_bytes().to_vec();
    value.push(UNICAST);
    prefixed_u8(&mut value, |out| out.extend(next_hop.octets()))?;
    value.push(0);
    value.extend_from_slice(prefixes);
    write(MP_REACH_NLRI, &value, out)
}

/// The octets of an MP_UNREACH_NLRI beside its prefixes, at most: header, AFI, SAFI.
pub(super) const MP_UNREACH_OVERHEAD: usize = 4 + 2 + 1;

/// Appends MP_UNREACH_NLRI (RFC 4760 §4) with prefixes that are encoded already.
pub(super) fn encode_mp_unreach(family: Family, prefixes: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let mut value = afi(family).to_be_bytes().to_vec();
    value.push(UNICAST);
    value.extend_from_slice(prefixes);
    write(MP_UNREACH_NLRI, &value, out)
}

/// The attributes of one UPDATE, each checked for itself.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// How many attributes there are, those that we ignore among them.
    pub(super) count: usize,
    /// NEXT_HOP.
    pub(super) next_hop: Option<Ipv4Addr>,
    /// MP_REACH_NLRI, if it is of one of our families.
    pub(super) reach: Option<Reach>,
    /// MP_UNREACH_NLRI, if it is of one of our families.
    pub(super) unreach: Option<(Family, Vec<Prefix>)>,
    origin: Option<Origin>,
    as_path: Option<Vec<Segment>>,
    as4_path: Option<Vec<Segment>>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<Community>,
    large_communities: Vec<LargeCommunity>,
    /// The AS of AGGREGATOR.
    aggregator: Option<Asn>,
    has_as4_aggregator: bool,
}

/// MP_REACH_NLRI.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) next_hop: NextHop,
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

impl Attributes {
    /// Decodes the attributes of an UPDATE (RFC 4271 §6.3).
    pub(super) fn decode(bytes: &[u8], four_octet_as: bool) -> Result<Attributes, Notification> {
        let mut attributes = Attributes::default();
        let mut seen = BTreeSet::new();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let raw = Raw::read(&mut reader).map_err(|_| Notification::malformed_attribute_list())?;
            if !seen.insert(raw.kind) {
                return Err(Notification::malformed_attribute_list());
            }
            match flags_of(raw.kind) {
                Some(flags) if flags != raw.flags & (OPTIONAL | TRANSITIVE) => {
                    return Err(Notification::attribute_flags(raw.whole));
                }
                None if raw.flags & OPTIONAL == 0 => {
                    return Err(Notification::unrecognized_well_known_attribute(raw.whole));
                }
                _ => attributes.take(&raw, four_octet_as)?,
            }
            attributes.count += 1;
        }
        Ok(attributes)
    }

    fn take(&mut self, raw: &Raw<'_>, four_octet_as: bool) -> Result<(), Notification> {
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
            MP_REACH_NLRI => self.reach = decode_mp_reach(raw)?,
            MP_UNREACH_NLRI => self.unreach = decode_mp_unreach(raw)?,
            // Between 4-octet speakers these two must not be, and are ignored if they are (RFC 6793 §4.1); a malformed one
            // is ignored as well (§6).
            AS4_PATH if !four_octet_as => self.as4_path = as_path::decode(raw.value, true).ok(),
            AS4_AGGREGATOR if !four_octet_as => self.has_as4_aggregator = raw.value.len() == 8,
            LARGE_COMMUNITY => self.large_communities = decode_large_communities(raw)?,
            // What is left is nothing to a speaker that imports nothing.
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

/// RFC 4760 §3; `None` for a family that is not ours and that nobody negotiated.
fn decode_mp_reach(raw: &Raw<'_>) -> Result<Option<Reach>, Notification> {
    let malformed = |_: Short| Notification::optional_attribute(raw.whole);
    let mut reader = Reader::new(raw.value);
    let afi = reader.u16().map_err(malformed)?;
    let safi = reader.u8().map_err(malformed)?;
    let next_hop = reader.sub_u8().map_err(malformed)?;
    let _reserved = reader.u8().map_err(malformed)?;
    let Some(family) = family_of(afi, safi) else { return Ok(None) };
    let next_hop = decode_next_hop(family, next_hop.rest()).map_err(malformed)?;
    Ok(Some(Reach { next_hop, prefixes: nlri::read(family, reader.rest())? }))
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
    let next_hop = match (family, octets.len()) {
        (Family::Ipv4, 4) => NextHop::Ipv4(Ipv4Addr::from(reader.u32()?)),
        (_, 16) => NextHop::Ipv6(Ipv6Addr::from(reader.array::<16>()?)),
        (_, 32) => NextHop::Ipv6Pair(reader.array::<16>()?.into(), reader.array::<16>()?.into()),
        _ => return Err(Short),
    };
    let is_host = match next_hop {
        NextHop::Ipv4(address) => is_host_v4(address),
        NextHop::Ipv6(address) => is_host_v6(address),
        // A router without a global address on the link leaves that half unspecified.
        NextHop::Ipv6Pair(global, local) => {
            is_host_v6(global) || (global.is_unspecified() && local.is_unicast_link_local())
        }
    };
    if is_host { Ok(next_hop) } else { Err(Short) }
}

/// "A valid IP host address" (RFC 4271 §6.3): neither unspecified, multicast nor reserved.
fn is_host_v4(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    !address.is_unspecified() && first < 224
}

fn is_host_v6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}
