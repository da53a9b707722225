//! UPDATE (RFC 4271 §4.3): packed on the way out, validated and decoded on the way in.

use super::attribute::PathAttributes;
use super::error::Notification;
use crate::prefix::{Family, Prefix};

/// What the session settled that shapes UPDATEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// AS numbers have 4 octets (RFC 6793).
    pub four_octet_as: bool,
    /// The longest message, header included.
    pub max_len: usize,
}

/// Appends UPDATEs that announce `prefixes`, all of `family`, with `attributes`: as few messages as hold them.
/// IPv4 with an IPv4 next hop goes into the classic fields, everything else into MP_REACH_NLRI.
pub fn encode_announcements(
    attributes: &PathAttributes,
    family: Family,
    prefixes: &[Prefix],
    encoding: Encoding,
    out: &mut Vec<u8>,
) {
    let _ = (attributes, family, prefixes, encoding, out);
    todo!()
}

/// Appends UPDATEs that withdraw `prefixes`, all of `family`.
pub fn encode_withdrawals(family: Family, prefixes: &[Prefix], encoding: Encoding, out: &mut Vec<u8>) {
    let _ = (family, prefixes, encoding, out);
    todo!()
}

/// Appends the End-of-RIB marker (RFC 4724 §2).
pub fn encode_end_of_rib(family: Family, out: &mut Vec<u8>) {
    let _ = (family, out);
    todo!()
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
        let _ = (body, four_octet_as);
        todo!()
    }
}
