//! UPDATE (RFC 4271 §4.3): packed on the way out, validated and decoded on the way in.
//!
//! ```text
//! +-------------+-----------------------+-------------+---------------------+---------
//! |  Length, 2  |  Withdrawn Routes …   |  Length, 2  |  Path Attributes …  |  NLRI …
//! +-------------+-----------------------+-------------+---------------------+---------
//! ```

use super::attribute::{self, Attributes, NextHop, PathAttributes};
use super::error::Notification;
use super::message::{HEADER_LEN, frame_update};
use super::nlri;
use super::wire::{Reader, Short, TooLong, prefixed_u16};
use crate::prefix::{Family, Prefix};

/// What the session settled that shapes UPDATEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// AS numbers have 4 octets (RFC 6793).
    pub four_octet_as: bool,
    /// The longest message, header included. Taken as 64 if below, so that any one withdrawal fits.
    pub max_len: usize,
}

impl Encoding {
    /// What an UPDATE may hold beside its header and its two lengths.
    fn capacity(self) -> usize {
        self.max_len.clamp(64, usize::from(u16::MAX)) - HEADER_LEN - 4
    }
}

/// Why routes cannot be announced like this. Nothing has been encoded then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// The attributes leave no room for a prefix in a message.
    #[error("the path attributes do not fit a BGP message")]
    TooLarge,
    /// An IPv6 route cannot have an IPv4 next hop.
    #[error("IPv6 routes need an IPv6 next hop")]
    NextHop,
}

impl From<TooLong> for Unencodable {
    fn from(_: TooLong) -> Unencodable {
        Unencodable::TooLarge
    }
}

/// Appends UPDATEs that announce `prefixes`, all of `family`, with `attributes`: as few messages as hold them.
/// IPv4 with an IPv4 next hop goes into the classic fields, everything else into MP_REACH_NLRI.
///
/// # Errors
/// `out` is as before.
pub fn encode_announcements(
    attributes: &PathAttributes,
    family: Family,
    prefixes: &[Prefix],
    encoding: Encoding,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    let start = out.len();
    let result = match (family, attributes.next_hop) {
        (Family::Ipv4, NextHop::Ipv4(next_hop)) => announce_classic(attributes, next_hop, prefixes, encoding, out),
        (Family::Ipv6, NextHop::Ipv4(_)) => Err(Unencodable::NextHop),
        (_, NextHop::Ipv6(_) | NextHop::Ipv6Pair(..)) => announce_mp(attributes, family, prefixes, encoding, out),
    };
    result.inspect_err(|_| out.truncate(start))
}

fn announce_classic(
    attributes: &PathAttributes,
    next_hop: std::net::Ipv4Addr,
    prefixes: &[Prefix],
    encoding: Encoding,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    let mut shared = Vec::new();
    attribute::encode(attributes, Some(next_hop), encoding.four_octet_as, &mut shared)?;
    let room = encoding.capacity().saturating_sub(shared.len());
    pack(Family::Ipv4, prefixes, room, |nlri| {
        frame_update(out, |out| {
            out.extend([0, 0]);
            prefixed_u16(out, |out| out.extend_from_slice(&shared))?;
            out.extend_from_slice(nlri);
            Ok(())
        })
    })
}

fn announce_mp(
    attributes: &PathAttributes,
    family: Family,
    prefixes: &[Prefix],
    encoding: Encoding,
    out: &mut Vec<u8>,
) -> Result<(), Unencodable> {
    let mut shared = Vec::new();
    attribute::encode(attributes, None, encoding.four_octet_as, &mut shared)?;
    let overhead = attribute::mp_reach_overhead(attributes.next_hop);
    let room = encoding.capacity().saturating_sub(shared.len() + overhead);
    pack(family, prefixes, room, |nlri| {
        // First of all attributes, so that a receiver that cannot read on knows what to withdraw (RFC 7606 §5.1).
        let mut reach = Vec::with_capacity(overhead + nlri.len());
        attribute::encode_mp_reach(family, attributes.next_hop, nlri, &mut reach)?;
        frame_mp(&reach, &shared, out)
    })
}

/// Appends UPDATEs that withdraw `prefixes`, all of `family`. IPv4 goes into the classic field.
pub fn encode_withdrawals(family: Family, prefixes: &[Prefix], encoding: Encoding, out: &mut Vec<u8>) {
    let result = match family {
        Family::Ipv4 => pack(family, prefixes, encoding.capacity(), |nlri| {
            frame_update(out, |out| {
                prefixed_u16(out, |out| out.extend_from_slice(nlri))?;
                out.extend([0, 0]);
                Ok(())
            })
        }),
        Family::Ipv6 => {
            let room = encoding.capacity().saturating_sub(attribute::MP_UNREACH_OVERHEAD);
            pack(family, prefixes, room, |nlri| {
                let mut unreach = Vec::with_capacity(attribute::MP_UNREACH_OVERHEAD + nlri.len());
                attribute::encode_mp_unreach(family, nlri, &mut unreach)?;
                frame_mp(&unreach, &[], out)
            })
        }
    };
    debug_assert!(result.is_ok(), "the least capacity holds any prefix");
}

/// Appends the End-of-RIB marker (RFC 4724 §2).
pub fn encode_end_of_rib(family: Family, out: &mut Vec<u8>) {
    let mut unreach = Vec::new();
    let result = match family {
        Family::Ipv4 => Ok(()),
        Family::Ipv6 => attribute::encode_mp_unreach(family, &[], &mut unreach),
    };
    debug_assert!(result.is_ok(), "it is six octets long");
    let framed = frame_mp(&unreach, &[], out);
    debug_assert!(framed.is_ok(), "it is six octets long");
}

/// One UPDATE of attributes alone.
fn frame_mp(mp: &[u8], shared: &[u8], out: &mut Vec<u8>) -> Result<(), Unencodable> {
    frame_update(out, |out| {
        out.extend([0, 0]);
        prefixed_u16(out, |out| {
            out.extend_from_slice(mp);
            out.extend_from_slice(shared);
        })?;
        Ok(())
    })
}

/// Hands encoded prefixes to `emit` in lots of at most `room` octets. A prefix of another family has no place among
/// them, and is left out.
fn pack(
    family: Family,
    prefixes: &[Prefix],
    room: usize,
    mut emit: impl FnMut(&[u8]) -> Result<(), Unencodable>,
) -> Result<(), Unencodable> {
    let mut lot = Vec::with_capacity(room);
    for prefix in prefixes {
        debug_assert_eq!(prefix.family(), family, "{prefix}");
        if prefix.family() != family {
            continue;
        }
        let len = nlri::encoded_len(prefix);
        if len > room {
            return Err(Unencodable::TooLarge);
        }
        if lot.len() + len > room {
            emit(&lot)?;
            lot.clear();
        }
        nlri::write(prefix, &mut lot);
    }
    if lot.is_empty() { Ok(()) } else { emit(&lot) }
}

/// The three parts of an UPDATE, their lengths checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections<'a> {
    /// IPv4 prefixes.
    pub withdrawn: &'a [u8],
    /// Path attributes.
    pub attributes: &'a [u8],
    /// IPv4 prefixes.
    pub nlri: &'a [u8],
}

impl<'a> Sections<'a> {
    /// Splits the body of an UPDATE.
    ///
    /// # Errors
    /// Malformed Attribute List: the lengths exceed the message (RFC 4271 §6.3).
    pub fn split(body: &'a [u8]) -> Result<Sections<'a>, Notification> {
        let malformed = |_: Short| Notification::malformed_attribute_list();
        let mut reader = Reader::new(body);
        let withdrawn = reader.sub_u16().map_err(malformed)?.rest();
        let attributes = reader.sub_u16().map_err(malformed)?.rest();
        Ok(Sections { withdrawn, attributes, nlri: reader.rest() })
    }
}

/// A received UPDATE, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Withdrawn prefixes of both families.
    pub withdrawn: Vec<Prefix>,
    /// Announced prefixes, with their attributes. IPv4 and IPv6 in one message have different next hops: an entry each.
    pub announced: Vec<(PathAttributes, Vec<Prefix>)>,
    /// The message was an End-of-RIB marker.
    pub end_of_rib: Option<Family>,
}

impl Update {
    /// Decodes the body of an UPDATE.
    ///
    /// # Errors
    /// The NOTIFICATION of RFC 4271 §6.3.
    pub fn decode(body: &[u8], four_octet_as: bool) -> Result<Update, Notification> {
        let sections = Sections::split(body)?;
        let mut withdrawn = nlri::read(Family::Ipv4, sections.withdrawn)?;
        let mut attributes = Attributes::decode(sections.attributes, four_octet_as)?;
        let prefixes = nlri::read(Family::Ipv4, sections.nlri)?;

        let end_of_rib = match &attributes.unreach {
            _ if !withdrawn.is_empty() || !prefixes.is_empty() => None,
            None if attributes.count == 0 => Some(Family::Ipv4),
            Some((family, prefixes)) if attributes.count == 1 && prefixes.is_empty() => Some(*family),
            _ => None,
        };

        let mut announced = Vec::new();
        if !prefixes.is_empty() {
            announced.push((attributes.of_routes(attributes.next_hop.map(NextHop::Ipv4))?, prefixes));
        }
        if let Some(reach) = attributes.reach.take()
            && !reach.prefixes.is_empty()
        {
            announced.push((attributes.of_routes(Some(reach.next_hop))?, reach.prefixes));
        }
        if let Some((_, prefixes)) = attributes.unreach {
            withdrawn.extend(prefixes);
        }
        Ok(Update { withdrawn, announced, end_of_rib })
    }
}
