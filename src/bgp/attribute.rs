//! Path attributes (RFC 4271 §4.3, §5), and how they are written; `received` reads them.
//!
//! ```text
//! +-------+-------+--------------------------+----------
//! | Flags | Type  | Length, 1 or 2 octets    | Value …
//! +-------+-------+--------------------------+----------
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::as_path;
pub use super::as_path::Segment;
use super::message::{UNICAST, afi};
use super::wire::{Reader, Short, TooLong, prefixed_u8, prefixed_u16};
use crate::config::{Asn, Community, ExtendedCommunity, LargeCommunity, Origin};
use crate::prefix::Family;

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
    /// EXTENDED COMMUNITIES (RFC 4360 §2).
    pub extended_communities: Vec<ExtendedCommunity>,
    /// ONLY_TO_CUSTOMER: the AS that has sent the route down or sideways (RFC 9234 §5).
    pub only_to_customer: Option<Asn>,
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
pub(super) const ORIGIN: u8 = 1;
pub(crate) const AS_PATH: u8 = 2;
pub(crate) const NEXT_HOP: u8 = 3;
pub(super) const MULTI_EXIT_DISC: u8 = 4;
pub(super) const LOCAL_PREF: u8 = 5;
pub(super) const ATOMIC_AGGREGATE: u8 = 6;
pub(super) const AGGREGATOR: u8 = 7;
pub(super) const COMMUNITIES: u8 = 8;
pub(super) const ORIGINATOR_ID: u8 = 9;
pub(super) const CLUSTER_LIST: u8 = 10;
pub(crate) const MP_REACH_NLRI: u8 = 14;
pub(super) const MP_UNREACH_NLRI: u8 = 15;
pub(super) const EXTENDED_COMMUNITIES: u8 = 16;
pub(super) const AS4_PATH: u8 = 17;
pub(super) const AS4_AGGREGATOR: u8 = 18;
pub(super) const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
pub(super) const LARGE_COMMUNITY: u8 = 32;
pub(super) const ONLY_TO_CUSTOMER: u8 = 35;

pub(super) const OPTIONAL: u8 = 0x80;
pub(super) const TRANSITIVE: u8 = 0x40;
pub(super) const EXTENDED_LENGTH: u8 = 0x10;

/// The Optional and Transitive bits of a type; `None` for a type that we do not know.
pub(super) fn flags_of(kind: u8) -> Option<u8> {
    match kind {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => Some(TRANSITIVE),
        MULTI_EXIT_DISC | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH_NLRI | MP_UNREACH_NLRI => Some(OPTIONAL),
        AGGREGATOR
        | COMMUNITIES
        | EXTENDED_COMMUNITIES
        | AS4_PATH
        | AS4_AGGREGATOR
        | IPV6_EXTENDED_COMMUNITIES
        | LARGE_COMMUNITY
        | ONLY_TO_CUSTOMER => Some(OPTIONAL | TRANSITIVE),
        _ => None,
    }
}

/// One attribute as it stands among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its type.
    pub kind: u8,
    /// What its length covers.
    pub value: &'a [u8],
    /// All of it, flags, type and length as well.
    pub whole: &'a [u8],
}

impl<'a> Piece<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Piece<'a>, Short> {
        let all = reader.rest();
        let flags = reader.u8()?;
        let kind = reader.u8()?;
        let value = if flags & EXTENDED_LENGTH == 0 { reader.sub_u8()? } else { reader.sub_u16()? }.rest();
        let whole = all.get(..all.len() - reader.len()).ok_or(Short)?;
        Ok(Piece { kind, value, whole })
    }
}

/// Cuts attributes between one and the next, as far as they can be cut.
pub fn separate(octets: &[u8]) -> Vec<Piece<'_>> {
    let mut reader = Reader::new(octets);
    std::iter::from_fn(|| Piece::read(&mut reader).ok()).collect()
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
    if !attributes.extended_communities.is_empty() {
        let value: Vec<u8> = attributes.extended_communities.iter().flat_map(|community| community.0).collect();
        write(EXTENDED_COMMUNITIES, &value, out)?;
    }
    if let Some(as4_path) = as_path::as4_path(&attributes.as_path).filter(|_| !four_octet_as) {
        let mut path = Vec::new();
        as_path::encode(&as4_path, true, &mut path);
        write(AS4_PATH, &path, out)?;
    }
    if !attributes.large_communities.is_empty() {
        let parts = attributes.large_communities.iter().flat_map(|LargeCommunity(a, b, c)| [a, b, c]);
        let value: Vec<u8> = parts.flat_map(|part| part.to_be_bytes()).collect();
        write(LARGE_COMMUNITY, &value, out)?;
    }
    if let Some(asn) = attributes.only_to_customer {
        write(ONLY_TO_CUSTOMER, &asn.0.to_be_bytes(), out)?;
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
