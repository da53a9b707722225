//! UPDATE (RFC 4271 §4.3): packed on the way out, validated and decoded on the way in.
//!
//! ```text
//! +-------------+-----------------------+-------------+---------------------+---------
//! |  Length, 2  |  Withdrawn Routes …   |  Length, 2  |  Path Attributes …  |  NLRI …
//! +-------------+-----------------------+-------------+---------------------+---------
//! ```

use super::attribute::{self, NextHop, PathAttributes};
use super::error::Notification;
use super::message::{HEADER_LEN, MAX_LEN, frame_update};
use super::nlri;
use super::received::Attributes;
pub use super::received::{Fault, Treatment};
use super::wire::{Reader, Short, TooLong, prefixed_u16};
use crate::prefix::{Family, Prefix};

/// What the session settled that shapes UPDATEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// AS numbers have 4 octets (RFC 6793).
    pub four_octet_as: bool,
    /// IPv4 routes are withdrawn in MP_UNREACH_NLRI: the session takes them with IPv6 next hops, so in MP_REACH_NLRI
    /// (RFC 8950). The two withdraw the same routes, but not every reader of the one looks into the other.
    pub mp_ipv4: bool,
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

/// The attributes of the announcement of one prefix, each for itself and complete, as an UPDATE with 4-octet AS numbers
/// would hold them. Their flags, types and lengths are in them.
///
/// # Errors
/// When no UPDATE of 4096 octets holds them and the prefix.
pub fn encode_separately(attributes: &PathAttributes, prefix: &Prefix) -> Result<Vec<Vec<u8>>, Unencodable> {
    let encoding = Encoding { four_octet_as: true, mp_ipv4: false, max_len: MAX_LEN };
    let mut message = Vec::new();
    encode_announcements(attributes, prefix.family(), &[*prefix], encoding, &mut message)?;
    let body = message.get(HEADER_LEN..).unwrap_or_default();
    let sections = Sections::split(body).map_err(|_| Unencodable::TooLarge)?;
    Ok(attribute::separate(sections.attributes).into_iter().map(|piece| piece.whole.to_vec()).collect())
}

/// Appends UPDATEs that withdraw `prefixes`, all of `family`. IPv4 goes into the classic field, unless the encoding says
/// otherwise.
pub fn encode_withdrawals(family: Family, prefixes: &[Prefix], encoding: Encoding, out: &mut Vec<u8>) {
    let result = match family {
        Family::Ipv4 if !encoding.mp_ipv4 => pack(family, prefixes, encoding.capacity(), |nlri| {
            frame_update(out, |out| {
                prefixed_u16(out, |out| out.extend_from_slice(nlri))?;
                out.extend([0, 0]);
                Ok(())
            })
        }),
        Family::Ipv4 | Family::Ipv6 => {
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Withdrawn prefixes of both families, those that are only treated so among them.
    pub withdrawn: Vec<Prefix>,
    /// Announced prefixes, with their attributes. IPv4 and IPv6 in one message have different next hops: an entry each.
    pub announced: Vec<(PathAttributes, Vec<Prefix>)>,
    /// The message was an End-of-RIB marker.
    pub end_of_rib: Option<Family>,
    /// What was wrong with it.
    pub fault: Option<Fault>,
}

impl Update {
    /// Decodes the body of an UPDATE from a peer that writes AS numbers with 4 octets or not, in our AS or not.
    ///
    /// # Errors
    /// The NOTIFICATION of RFC 4271 §6.3, where RFC 7606 leaves the session reset: the routes cannot be told apart.
    pub fn decode(body: &[u8], four_octet_as: bool, internal: bool) -> Result<Update, Notification> {
        let sections = Sections::split(body)?;
        // Prefixes that cannot be read are beyond treat-as-withdraw (RFC 7606 §3 j, §5.3).
        let mut withdrawn = nlri::read(Family::Ipv4, sections.withdrawn)?;
        let mut attributes = Attributes::decode(sections.attributes, four_octet_as, internal)?;
        let prefixes = nlri::read(Family::Ipv4, sections.nlri)?;

        let end_of_rib = match &attributes.unreach {
            _ if !withdrawn.is_empty() || !prefixes.is_empty() || attributes.fault.is_some() => None,
            None if attributes.count == 0 => Some(Family::Ipv4),
            Some((family, prefixes)) if attributes.count == 1 && prefixes.is_empty() => Some(*family),
            _ => None,
        };

        let classic = (attributes.next_hop.map(NextHop::Ipv4), prefixes);
        let reach = attributes.reach.take().map(|reach| (reach.next_hop, reach.prefixes));
        let mut routes: Vec<_> = [Some(classic), reach].into_iter().flatten().collect();
        routes.retain(|(_, prefixes)| !prefixes.is_empty());
        let has_routes = !routes.is_empty() || attributes.reaches_other_family;

        let mut announced = Vec::new();
        for (next_hop, prefixes) in &mut routes {
            match attributes.of_routes(*next_hop) {
                Ok(attributes) => announced.push((attributes, std::mem::take(prefixes))),
                Err(missing) => attributes.blame(Treatment::TreatAsWithdraw, missing),
            }
        }
        if let Some(fault) = attributes.fault.take_if(|fault| fault.treatment == Treatment::TreatAsWithdraw) {
            // Without a route that the error could concern, the routes were probably not understood (RFC 7606 §5.2).
            if !has_routes && attributes.has_other_than_unreach {
                return Err(fault.error);
            }
            // The worst error decides for all routes of the message (RFC 7606 §3 h).
            let unannounced = announced.drain(..).map(|(_, prefixes)| prefixes);
            withdrawn.extend(unannounced.chain(routes.into_iter().map(|(_, prefixes)| prefixes)).flatten());
            attributes.fault = Some(fault);
        }
        if let Some((_, prefixes)) = attributes.unreach {
            withdrawn.extend(prefixes);
        }
        Ok(Update { withdrawn, announced, end_of_rib, fault: attributes.fault })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::attribute::Segment;
    use crate::bgp::message::{Inbox, MAX_LEN, Message};
    use crate::config::{Asn, Community, ExtendedCommunity, LargeCommunity, Origin};
    use crate::rng::Rng;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const WIDE: Encoding = Encoding { four_octet_as: true, mp_ipv4: false, max_len: MAX_LEN };
    const NARROW: Encoding = Encoding { four_octet_as: false, mp_ipv4: true, max_len: MAX_LEN };

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn attributes(next_hop: NextHop) -> PathAttributes {
        PathAttributes {
            origin: Origin::Igp,
            as_path: vec![Segment::Sequence(vec![Asn(65001)])],
            next_hop,
            med: None,
            local_pref: None,
            communities: vec![],
            large_communities: vec![],
            extended_communities: vec![],
            only_to_customer: None,
        }
    }

    fn v4(last: u8) -> NextHop {
        NextHop::Ipv4(Ipv4Addr::new(192, 0, 2, last))
    }

    /// The bodies of the UPDATEs in `bytes`, and nothing else is in there.
    fn bodies(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut inbox = Inbox::default();
        inbox.push(bytes);
        let mut bodies = vec![];
        while let Some(message) = inbox.next().unwrap() {
            let Message::Update(body) = message else { panic!("{message:?}") };
            bodies.push(body);
        }
        bodies
    }

    fn decode_all(bytes: &[u8], four_octet_as: bool) -> Vec<Update> {
        bodies(bytes).iter().map(|body| decode(body, four_octet_as).unwrap()).collect()
    }

    fn random_prefix(rng: &mut Rng, family: Family) -> Prefix {
        let address = u128::from(rng.bits()) << 64 | u128::from(rng.bits());
        match family {
            Family::Ipv4 => Prefix::covering(Ipv4Addr::from(address as u32).into(), rng.below(33) as u8),
            Family::Ipv6 => Prefix::covering(Ipv6Addr::from(address).into(), rng.below(129) as u8),
        }
    }

    fn random_asns(rng: &mut Rng, count: u64) -> Vec<Asn> {
        let bound = if rng.below(2) == 0 { 65_535 } else { u64::from(u32::MAX) };
        (0..count).map(|_| Asn(1 + rng.below(bound) as u32)).collect()
    }

    /// As decoding gives them back: no empty segment, no two sequences in a row, no set beyond what a segment holds.
    fn random_path(rng: &mut Rng) -> Vec<Segment> {
        let mut path = vec![];
        for _ in 0..rng.below(4) {
            // One at most, for all of it must fit a message.
            let long = if path.is_empty() && rng.below(8) == 0 { 300 } else { 5 };
            let segment = match path.last() {
                Some(Segment::Sequence(_)) => {
                    let count = 1 + rng.below(8);
                    Segment::Set(random_asns(rng, count))
                }
                _ => {
                    let count = 1 + rng.below(long);
                    Segment::Sequence(random_asns(rng, count))
                }
            };
            path.push(segment);
        }
        path
    }

    fn random_attributes(rng: &mut Rng, family: Family) -> PathAttributes {
        let v6 = |rng: &mut Rng, top: u16| {
            Ipv6Addr::from(u128::from(top) << 112 | u128::from(rng.bits()) << 32 | u128::from(rng.bits() >> 32))
        };
        let next_hop = match (family, rng.below(3)) {
            (Family::Ipv4, 0) => NextHop::Ipv4(Ipv4Addr::from(1 + rng.below(0xdfff_ffff) as u32)),
            (_, 1) => NextHop::Ipv6Pair(v6(rng, 0x2001), v6(rng, 0xfe80)),
            _ => NextHop::Ipv6(v6(rng, 0x2001)),
        };
        let optional = |rng: &mut Rng| (rng.below(2) == 0).then(|| rng.bits() as u32);
        let few = if rng.below(4) == 0 { 80 } else { 4 };
        PathAttributes {
            origin: [Origin::Igp, Origin::Egp, Origin::Incomplete][rng.below(3) as usize],
            as_path: random_path(rng),
            next_hop,
            med: optional(rng),
            local_pref: optional(rng),
            communities: (0..rng.below(few)).map(|_| Community(rng.bits() as u32)).collect(),
            large_communities: (0..rng.below(few))
                .map(|_| LargeCommunity(rng.bits() as u32, rng.bits() as u32, rng.bits() as u32))
                .collect(),
            extended_communities: (0..rng.below(few)).map(|_| ExtendedCommunity(rng.bits().to_be_bytes())).collect(),
            only_to_customer: optional(rng).map(Asn),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_in_both_as_widths() {
        let mut rng = Rng::new(2);
        for round in 0..600 {
            let family = Family::ALL[round % 2];
            let encoding = if round % 4 < 2 { WIDE } else { NARROW };
            let attributes = random_attributes(&mut rng, family);
            let count = if round % 10 == 0 { 3000 } else { 1 + rng.below(5) };
            let prefixes: Vec<_> = (0..count).map(|_| random_prefix(&mut rng, family)).collect();
            let mut out = vec![];
            encode_announcements(&attributes, family, &prefixes, encoding, &mut out).unwrap();
            let mut decoded: Vec<Prefix> = vec![];
            for update in decode_all(&out, encoding.four_octet_as) {
                let [(of, prefixes)] = &update.announced[..] else { panic!("{update:?}") };
                assert_eq!(*of, attributes);
                assert!(update.withdrawn.is_empty() && update.end_of_rib.is_none());
                decoded.extend(prefixes);
            }
            assert_eq!(decoded, prefixes);
        }
    }

    #[test]
    fn withdrawals_come_back_and_end_of_rib_is_told_apart() {
        let mut rng = Rng::new(3);
        for family in Family::ALL {
            let prefixes: Vec<_> = (0..5000).map(|_| random_prefix(&mut rng, family)).collect();
            let mut out = vec![];
            encode_withdrawals(family, &prefixes, WIDE, &mut out);
            encode_end_of_rib(family, &mut out);
            let mut updates = decode_all(&out, true);
            let marker = Update { withdrawn: vec![], announced: vec![], end_of_rib: Some(family), fault: None };
            assert_eq!(updates.pop(), Some(marker));
            assert!(updates.iter().all(|update| update.announced.is_empty() && update.end_of_rib.is_none()));
            assert_eq!(updates.into_iter().flat_map(|update| update.withdrawn).collect::<Vec<_>>(), prefixes);
        }
    }

    #[test]
    fn messages_are_full_and_never_too_long() {
        let hosts =
            |count: u32| -> Vec<Prefix> { (0..count).map(|n| Ipv4Addr::from(0x0a00_0000 + n).into()).collect() };
        let mut out = vec![];
        encode_announcements(&attributes(v4(1)), Family::Ipv4, &hosts(100_000), WIDE, &mut out).unwrap();
        let lens: Vec<_> = bodies(&out).iter().map(|body| body.len() + HEADER_LEN).collect();
        // 4096 - 23 octets, of which ORIGIN 4, AS_PATH 9, NEXT_HOP 7: room for 810 prefixes of 5 octets.
        assert_eq!(lens.len(), 100_000_usize.div_ceil(810));
        assert!(lens.iter().all(|len| *len <= MAX_LEN) && lens[0] > MAX_LEN - 5);

        let hosts6: Vec<Prefix> = (0..1000).map(|n| Ipv6Addr::from(0x2001_0db8 << 96 | n).into()).collect();
        for next_hop in
            [NextHop::Ipv6(Ipv6Addr::LOCALHOST), NextHop::Ipv6Pair(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST)]
        {
            let mut out = vec![];
            encode_announcements(&attributes(next_hop), Family::Ipv6, &hosts6, WIDE, &mut out).unwrap();
            let lens: Vec<_> = bodies(&out).iter().map(|body| body.len() + HEADER_LEN).collect();
            assert!(lens.iter().all(|len| *len <= MAX_LEN) && lens[0] > MAX_LEN - 17, "{lens:?}");
        }

        // Every limit, down to where nothing fits, is kept; a withdrawal always fits.
        for max_len in 0..200 {
            let encoding = Encoding { max_len, ..WIDE };
            let mut out = vec![];
            let fits = encode_announcements(&attributes(v4(1)), Family::Ipv4, &hosts(9), encoding, &mut out);
            assert_eq!(fits.is_ok(), max_len.max(64) >= 23 + 20 + 5);
            encode_withdrawals(Family::Ipv6, &hosts6[..9], encoding, &mut out);
            assert!(bodies(&out).iter().all(|body| body.len() + HEADER_LEN <= max_len.max(64)));
        }
    }

    #[test]
    fn attributes_that_fill_a_message_are_refused_and_leave_nothing() {
        let mut out = vec![1, 2, 3];
        for count in [1020, 20_000] {
            let huge = PathAttributes { communities: vec![Community(1); count], ..attributes(v4(1)) };
            let result = encode_announcements(&huge, Family::Ipv4, &[prefix("192.0.2.1")], WIDE, &mut out);
            assert_eq!(result, Err(Unencodable::TooLarge));
        }
        let result = encode_announcements(&attributes(v4(1)), Family::Ipv6, &[prefix("::1")], WIDE, &mut out);
        assert_eq!((result, out.as_slice()), (Err(Unencodable::NextHop), [1, 2, 3].as_slice()));
        // The first prefixes would fill a message, and then comes one that fits none: there are three octets of room.
        let mixed = [prefix("::/8"), prefix("100::/8"), prefix("::1")];
        let tight = Encoding { max_len: 64, ..WIDE };
        let attributes = attributes(NextHop::Ipv6(Ipv6Addr::LOCALHOST));
        encode_announcements(&attributes, Family::Ipv6, &mixed[..2], tight, &mut vec![]).unwrap();
        let result = encode_announcements(&attributes, Family::Ipv6, &mixed, tight, &mut out);
        assert_eq!((result, out), (Err(Unencodable::TooLarge), vec![1, 2, 3]));
    }

    /// Bodies that routers sent, the width of their AS numbers, and what they say.
    #[test]
    fn golden_bytes_from_routers() {
        let path = |asns: &[u32]| vec![Segment::Sequence(asns.iter().copied().map(Asn).collect())];
        let base = || attributes(NextHop::Ipv4(Ipv4Addr::new(127, 0, 0, 9)));
        let wide = path(&[4_200_000_000, 4_200_000_001]);
        let tagged = PathAttributes {
            as_path: wide,
            communities: vec!["65000:100".parse().unwrap()],
            large_communities: vec![LargeCommunity(65000, 1, 2)],
            ..base()
        };
        let gobgp = PathAttributes {
            origin: Origin::Incomplete,
            as_path: path(&[65010]),
            next_hop: NextHop::Ipv4(Ipv4Addr::new(192, 0, 2, 77)),
            med: Some(7),
            communities: vec!["65010:1".parse().unwrap()],
            ..base()
        };
        let extended = ["rt:65000:100", "soo:65000:1", "rt:192.0.2.1:5", "rt:4200000001:7", "generic:0x3060000:0x1"];
        let extended = PathAttributes {
            as_path: path(&[65009]),
            extended_communities: extended.map(|text| text.parse().unwrap()).to_vec(),
            ..base()
        };
        for (encoding, body, attributes, prefix) in [
            (
                WIDE,
                "0000003f4001010040020602010000fdf14003047f000009c010280002fde8000000640003fde8000000010102c00002010005\
                 0202fa56ea010007030600000000000120c6336401",
                extended,
                "198.51.100.1/32",
            ),
            // BIRD 2.0.12, a provider.
            (
                WIDE,
                "0000001b4001010040020602010000fde84003047f000001c023040000fde818c63364",
                PathAttributes {
                    as_path: path(&[65000]),
                    next_hop: NextHop::Ipv4(Ipv4Addr::LOCALHOST),
                    only_to_customer: Some(Asn(65000)),
                    ..base()
                },
                "198.51.100.0/24",
            ),
            // BIRD 2.0.12 to a 4-octet speaker, to a 2-octet speaker; GoBGP 3.10.
            (
                WIDE,
                "0000002e4001010040020a0202fa56ea00fa56ea014003047f000009c00804fde80064c0200c0000fde8000000010000000220c6336401",
                tagged.clone(),
                "198.51.100.1/32",
            ),
            (
                NARROW,
                "000000374001010040020602025ba05ba04003047f000009c00804fde80064c0110a0202fa56ea00fa56ea01\
                 c0200c0000fde8000000010000000220c6336401",
                tagged,
                "198.51.100.1/32",
            ),
            (
                WIDE,
                "000000224001010240020602010000fdf2400304c000024d80040400000007c00804fdf2000118cb0071",
                gobgp.clone(),
                "203.0.113.0/24",
            ),
        ] {
            let prefixes = vec![self::prefix(prefix)];
            let body = hex(body);
            let expected = Update {
                withdrawn: vec![],
                announced: vec![(attributes.clone(), prefixes.clone())],
                ..Update::default()
            };
            assert_eq!(decode(&body, encoding.four_octet_as), Ok(expected));
            let mut out = vec![];
            encode_announcements(&attributes, Family::Ipv4, &prefixes, encoding, &mut out).unwrap();
            assert_eq!(bodies(&out), [body]);
        }
        // IPv6: BIRD puts MP_REACH_NLRI first with an extended length, GoBGP last. Ours is first and short.
        let bird = "0000003c900e002b0002011020010db8ffff00000000000000000001002020010db88020010db80001000000000000000000014001010\
                    04002060201fa56ea00";
        let update = decode(&hex(bird), true).unwrap();
        let next_hop = NextHop::Ipv6("2001:db8:ffff::1".parse().unwrap());
        let attributes = PathAttributes { as_path: path(&[4_200_000_000]), next_hop, ..base() };
        let prefixes = vec![prefix("2001:db8::/32"), prefix("2001:db8:1::1")];
        assert_eq!(update.announced, [(attributes.clone(), prefixes.clone())]);
        let mut out = vec![];
        encode_announcements(&attributes, Family::Ipv6, &prefixes, WIDE, &mut out).unwrap();
        let ours = bird.replace("0000003c900e002b", "0000003b800e2b");
        assert_eq!(bodies(&out), [hex(&ours)]);
        let last = "0000002c4001010240020602010000fdf2800e1c0002011020010db8000000000000000000000077003020010db80007";
        let update = decode(&hex(last), true).unwrap();
        let next_hop = NextHop::Ipv6("2001:db8::77".parse().unwrap());
        let expected = PathAttributes { next_hop, med: None, communities: vec![], ..gobgp };
        assert_eq!(update.announced, [(expected, vec![prefix("2001:db8:7::/48")])]);
        // IPv4 with an IPv6 next hop (RFC 8950 §3), and its withdrawal.
        let next_hop = NextHop::Ipv6("2001:db8::77".parse().unwrap());
        let mut out = vec![];
        let mp = Encoding { mp_ipv4: true, ..WIDE };
        let vip = [prefix("192.0.2.1")];
        encode_announcements(&self::attributes(next_hop), Family::Ipv4, &vip, mp, &mut out).unwrap();
        encode_withdrawals(Family::Ipv4, &vip, mp, &mut out);
        let announced = "0000002a800e1a0001011020010db80000000000000000000000770020c0000201\
                         4001010040020602010000fde9";
        assert_eq!(bodies(&out), [hex(announced), hex("0000000b800f0800010120c0000201")]);
        // End-of-RIB, as BIRD sends it.
        for (family, body) in Family::ALL.into_iter().zip(["00000000", "00000006800f03000201"]) {
            let mut out = vec![];
            encode_end_of_rib(family, &mut out);
            assert_eq!(bodies(&out), [hex(body)]);
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
    }

    /// The attributes of the malformed ones below, as octets.
    const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
    const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9];
    const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
    const NLRI: &[u8] = &[32, 192, 0, 2, 9];

    fn body(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
        let attributes = attributes.concat();
        let mut body = (withdrawn.len() as u16).to_be_bytes().to_vec();
        body.extend_from_slice(withdrawn);
        body.extend((attributes.len() as u16).to_be_bytes());
        body.extend(attributes);
        body.extend_from_slice(nlri);
        body
    }

    /// From a 4-octet speaker in our AS, as routes that carry LOCAL_PREF are.
    fn decode(body: &[u8], four_octet_as: bool) -> Result<Update, Notification> {
        Update::decode(body, four_octet_as, true)
    }

    /// The routes of this body are as if withdrawn, for this error.
    fn assert_withdrawn(body: &[u8], four_octet_as: bool, subcode: u8, data: &[u8]) {
        let fault = Fault { treatment: Treatment::TreatAsWithdraw, error: Notification::new(3, subcode, data) };
        let expected = Update { withdrawn: vec![prefix("192.0.2.9")], fault: Some(fault), ..Update::default() };
        assert_eq!(decode(body, four_octet_as), Ok(expected), "{body:?}");
    }

    /// RFC 7606 §3 c to e, §7: the attribute is wrong, and quoted whole.
    #[test]
    fn errors_that_cost_the_routes_of_the_message() {
        let address = |first: u8, last: u8| [&[0x80, 14, 21, 0, 2, 1, 16, first][..], &[0; 14], &[last, 0]].concat();
        for (subcode, attribute) in [
            (2, &[0x40, 99, 1, 7][..]),                     // well-known, it says
            (4, &[0xc0, 4, 4, 0, 0, 0, 1]),                 // MED, transitive
            (4, &[0x40, 8, 4, 0, 0, 0, 1]),                 // COMMUNITIES, not optional
            (4, &[0x80, 5, 4, 0, 0, 0, 1]),                 // LOCAL_PREF, optional
            (4, &[0xc0, 14, 5, 0, 25, 65, 0, 0]),           // MP_REACH_NLRI, transitive
            (5, &[0x80, 4, 3, 0, 0, 1]),                    // MED of three octets
            (5, &[0x80, 4, 0]),                             // of none (§4)
            (5, &[0x40, 5, 5, 0, 0, 0, 1, 1]),              // LOCAL_PREF of five
            (5, &[0xc0, 8, 0]),                             // no community
            (5, &[0xc0, 8, 5, 0, 0, 0, 1, 0]),              // one and a quarter
            (5, &[0x80, 9, 3, 1, 1, 1]),                    // ORIGINATOR_ID of three
            (5, &[0x80, 10, 0]),                            // CLUSTER_LIST of none
            (5, &[0x80, 10, 5, 1, 1, 1, 1, 1]),             // and of five
            (5, &[0xc0, 16, 4, 0, 2, 0, 1]),                // half an extended community
            (5, &[0xc0, 25, 8, 0, 2, 0, 1, 0, 0, 0, 1]),    // IPv6 extended ones have 20
            (5, &[0xd0, 32, 0, 8, 0, 0, 0, 1, 0, 0, 0, 1]), // LARGE_COMMUNITY, two thirds
            (5, &[0xc0, 35, 2, 0xfd, 0xe9]),                // OTC (RFC 9234 §5)
            (9, &address(0, 0)),                            // MP_REACH_NLRI with next hop ::
            (9, &address(0xff, 1)),                         // and multicast
        ] {
            assert_withdrawn(&body(&[], &[ORIGIN, AS_PATH, NEXT_HOP, attribute], NLRI), true, subcode, attribute);
        }
        let quoting = |subcode: u8, attributes: &[&[u8]], wrong: &[u8]| {
            assert_withdrawn(&body(&[], attributes, NLRI), true, subcode, wrong);
        };
        quoting(6, &[&[0x40, 1, 1, 3], AS_PATH, NEXT_HOP], &[0x40, 1, 1, 3]);
        quoting(5, &[&[0x40, 1, 2, 0, 0], AS_PATH, NEXT_HOP], &[0x40, 1, 2, 0, 0]);
        for address in [[0, 0, 0, 0], [224, 0, 0, 5], [255, 255, 255, 255]] {
            let wrong = [&[0x40, 3, 4][..], &address].concat();
            quoting(8, &[ORIGIN, AS_PATH, &wrong], &wrong);
        }
        quoting(5, &[ORIGIN, AS_PATH, &[0x40, 3, 5, 1, 2, 3, 4, 5]], &[0x40, 3, 5, 1, 2, 3, 4, 5]);
        quoting(11, &[ORIGIN, &[0x40, 2, 2, 2, 0], NEXT_HOP], &[]);
        quoting(11, &[ORIGIN, &[0x40, 2, 4, 2, 1, 0xfd, 0xe9], NEXT_HOP], &[]);
        quoting(3, &[AS_PATH, NEXT_HOP], &[1]);
        quoting(3, &[ORIGIN, NEXT_HOP], &[2]);
        quoting(3, &[ORIGIN, AS_PATH], &[3]);
        quoting(3, &[], &[1]);
        // §4: an attribute runs over the end of the list, or what is left is too little for one.
        quoting(1, &[ORIGIN, AS_PATH, NEXT_HOP, &[0x80, 4, 5, 0, 0, 0, 1]], &[]);
        for rest in [&[0x40][..], &[0x40, 6], &[0x50, 6, 0]] {
            quoting(1, &[ORIGIN, AS_PATH, NEXT_HOP, rest], &[]);
        }
    }

    /// The routes of all fields go, those that another part of the message withdraws anyway among them.
    #[test]
    fn both_families_go_with_an_error_and_the_worst_is_told() {
        let reach =
            [&[0x80, 14, 26, 0, 2, 1, 16][..], &Ipv6Addr::LOCALHOST.octets(), &[0, 32, 0x20, 1, 0x0d, 0xb8]].concat();
        let unreach: &[u8] = &[0x80, 15, 5, 0, 2, 1, 8, 0x30];
        let origin: &[u8] = &[0x40, 1, 1, 9];
        let discarded: &[u8] = &[0x40, 6, 1, 0];
        for attributes in [
            &[&reach, discarded, origin, AS_PATH, NEXT_HOP, unreach][..],
            &[unreach, origin, AS_PATH, discarded, NEXT_HOP, &reach],
        ] {
            let update = decode(&body(&[8, 10], attributes, NLRI), true).unwrap();
            let error = Notification::new(3, 6, origin);
            assert_eq!(update.fault, Some(Fault { treatment: Treatment::TreatAsWithdraw, error }));
            let gone = ["10.0.0.0/8", "192.0.2.9/32", "2001:db8::/32", "3000::/8"].map(prefix);
            assert_eq!((update.announced, update.withdrawn.as_slice()), (vec![], &gone[..]));
        }
        // Without NEXT_HOP the IPv4 routes are incomplete; the IPv6 ones, complete in themselves, go with them.
        let update = decode(&body(&[], &[&reach, ORIGIN, AS_PATH], NLRI), true).unwrap();
        assert_eq!((update.announced.len(), update.withdrawn.len()), (0, 2));
    }

    /// RFC 7606 §3 f and g, §7.5 to §7.7, §7.9, §7.10, RFC 6793 §6: the routes stay.
    #[test]
    fn errors_that_cost_an_attribute() {
        let discard = |error: Notification| Some(Fault { treatment: Treatment::AttributeDiscard, error });
        let announced = |four_octet_as: bool, internal: bool, attributes: &[&[u8]]| {
            let path: &[u8] = if four_octet_as { AS_PATH } else { &[0x40, 2, 4, 2, 1, 0xfd, 0xe9] };
            let attributes = [&[ORIGIN, path, NEXT_HOP][..], attributes].concat();
            let update = Update::decode(&body(&[], &attributes, NLRI), four_octet_as, internal).unwrap();
            assert_eq!(update.announced, [(self::attributes(v4(1)), vec![prefix("192.0.2.9")])], "{attributes:?}");
            update.fault
        };
        for (four_octet_as, subcode, attribute) in [
            (true, 5, &[0x40, 6, 1, 0][..]),              // ATOMIC_AGGREGATE with a value
            (true, 4, &[0xc0, 6, 0]),                     // optional
            (true, 5, &[0xc0, 7, 6, 0, 1, 192, 0, 2, 1]), // AGGREGATOR of the other width
            (false, 5, &[0xc0, 7, 8, 0, 0, 0, 1, 192, 0, 2, 1]),
            (false, 9, &[0xc0, 17, 3, 2, 1, 0]),                // AS4_PATH cut short
            (false, 4, &[0x80, 17, 6, 2, 1, 0, 0, 0xfd, 0xe9]), // not transitive
            (false, 5, &[0xc0, 18, 4, 0, 0, 0, 1]),             // AS4_AGGREGATOR
        ] {
            let error = Notification::new(3, subcode, attribute);
            assert_eq!(announced(four_octet_as, true, &[attribute]), discard(error));
        }
        // Twice: the first counts, also when the second contradicts it or is wrong.
        let malformed_list = || discard(Notification::new(3, 1, []));
        assert_eq!(announced(true, true, &[ORIGIN]), malformed_list());
        assert_eq!(announced(true, true, &[&[0x40, 1, 1, 2]]), malformed_list());
        assert_eq!(announced(true, true, &[&[0x40, 3, 1, 2]]), malformed_list());
        assert_eq!(announced(true, true, &[&[0xe0, 99, 0], &[0xe0, 99, 0]]), malformed_list());
        // Of no meaning from another AS, right or wrong.
        for attribute in
            [&[0x40, 5, 4, 0, 0, 0, 1][..], &[0x40, 5, 1, 0], &[0xc0, 5, 0], &[0x80, 9, 1, 1], &[0x80, 10, 0]]
        {
            assert_eq!(announced(true, false, &[attribute]), None);
        }
    }

    /// RFC 7606 §3 b, g and j, §5.2, §5.3, §7.11, §7.12: the routes cannot be told.
    #[test]
    fn errors_that_cost_the_session() {
        let with = |attribute: &[u8]| body(&[], &[ORIGIN, AS_PATH, NEXT_HOP, attribute], NLRI);
        for (subcode, attribute) in [
            (9, &[0x80, 14, 0][..]),                          // nothing
            (9, &[0x80, 14, 3, 0, 2, 1]),                     // no next hop
            (9, &[0x80, 14, 9, 0, 2, 1, 4, 192, 0, 2, 1, 0]), // four octets for IPv6
            (9, &[0x80, 14, 5, 0, 2, 1, 255, 1]),             // a next hop cut short
            (9, &[0x80, 15, 2, 0, 2]),                        // no SAFI
        ] {
            assert_eq!(decode(&with(attribute), true), Err(Notification::new(3, subcode, attribute)));
        }
        // MP attributes twice, or running over the end.
        let malformed_list = Err(Notification::new(3, 1, []));
        let unreach: &[u8] = &[0x80, 15, 3, 0, 2, 1];
        let foreign: &[u8] = &[0x80, 14, 5, 0, 25, 65, 0, 0];
        for twice in [unreach, foreign] {
            assert_eq!(decode(&with(&twice.repeat(2)), true), malformed_list);
        }
        for cut in [&[0x80, 14, 9, 0, 2][..], &[0x80, 15, 4, 0, 2, 1], &[0x80, 14], &[0x90, 15, 0]] {
            assert_eq!(decode(&with(cut), true), malformed_list);
        }
        // The lists do not add up.
        for body in [&[][..], &[0, 0, 0], &[0, 1, 0, 0], &[0, 0, 0, 1]] {
            assert_eq!(decode(body, true), malformed_list, "{body:?}");
        }
        // Prefixes too long and cut short, wherever they are; errors that cost less are nothing beside them.
        let network = Err(Notification::new(3, 10, []));
        assert_eq!(decode(&body(&[33, 1, 2, 3, 4, 5], &[], &[]), true), network);
        assert_eq!(decode(&body(&[], &[ORIGIN, AS_PATH, NEXT_HOP], &[24, 10, 0]), true), network);
        assert_eq!(decode(&body(&[], &[&[0x40, 1, 1, 9]], &[33, 1, 2, 3, 4, 5]), true), network);
        assert_eq!(decode(&body(&[], &[&[0x80, 15, 4, 0, 2, 1, 129]], &[]), true), network);
        let reach = [&[0x80, 14, 24, 0, 2, 1, 16], &Ipv6Addr::LOCALHOST.octets()[..], &[0, 200, 1, 1]].concat();
        assert_eq!(decode(&body(&[], &[ORIGIN, AS_PATH, &reach], &[]), true), network);
        // Wrong attributes and no route that they could be of; one that is only discarded does no harm, and neither
        // does what comes beside routes of a family that is not ours.
        let origin: &[u8] = &[0x40, 1, 1, 9];
        let empty_reach = [&[0x80, 14, 21, 0, 2, 1, 16], &Ipv6Addr::LOCALHOST.octets()[..], &[0]].concat();
        for attributes in [&[origin][..], &[origin, unreach], &[origin, &empty_reach]] {
            assert_eq!(decode(&body(&[8, 10], attributes, &[]), true), Err(Notification::new(3, 6, origin)));
        }
        assert_eq!(decode(&body(&[], &[&[0x40]], &[]), true), malformed_list);
        assert!(decode(&body(&[8, 10], &[&[0x40, 6, 1, 0]], &[]), true).unwrap().fault.is_some());
        assert!(decode(&body(&[], &[origin, foreign], &[]), true).unwrap().fault.is_some());
        let flags = decode(&body(&[], &[&[0xc0, 15, 5, 0, 2, 1, 8, 0x20]], &[]), true).unwrap();
        assert_eq!((flags.withdrawn, flags.end_of_rib), (vec![prefix("2000::/8")], None));
    }

    #[test]
    fn what_we_do_not_use_is_tolerated() {
        let attributes: &[&[u8]] = &[
            &[0x80, 14, 5, 0, 25, 65, 0, 0], // MP_REACH_NLRI of L2VPN
            &[0x50, 1, 0, 1, 2],             // ORIGIN with an extended length, out of order
            AS_PATH,
            NEXT_HOP,
            &[0x40, 6, 0],                                 // ATOMIC_AGGREGATE
            &[0xc0, 7, 8, 0, 0, 0xfd, 0xe9, 192, 0, 2, 1], // AGGREGATOR
            &[0x80, 9, 4, 1, 1, 1, 1],                     // ORIGINATOR_ID
            &[0x80, 10, 4, 1, 1, 1, 1],                    // CLUSTER_LIST
            &[0xc0, 17, 3, 1, 2, 3],                       // AS4_PATH between 4-octet speakers, malformed
            &[0xe0, 128, 2, 9, 9],                         // unknown, with the Partial bit
        ];
        let update = decode(&body(&[], attributes, NLRI), true).unwrap();
        let expected = PathAttributes { origin: Origin::Incomplete, ..self::attributes(v4(1)) };
        assert_eq!(update.announced, [(expected, vec![prefix("192.0.2.9")])]);
        // Attributes without routes need not be complete.
        assert_eq!(decode(&body(&[32, 10, 0, 0, 1], &[AS_PATH], &[]), true).unwrap().withdrawn.len(), 1);
    }

    #[test]
    fn both_families_in_one_message() {
        let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let local: Ipv6Addr = "fe80::1".parse().unwrap();
        let pair = [&[0x80, 14, 42, 0, 2, 1, 32][..], &global.octets(), &local.octets(), &[0, 32, 0x20, 1, 0x0d, 0xb8]]
            .concat();
        let unreach = [0x80, 15, 5, 0, 2, 1, 8, 0x20];
        let update = decode(&body(&[8, 10], &[&pair, ORIGIN, AS_PATH, NEXT_HOP, &unreach], NLRI), true).unwrap();
        assert_eq!(update.withdrawn, [prefix("10.0.0.0/8"), prefix("2000::/8")]);
        assert_eq!(
            update.announced,
            [
                (attributes(v4(1)), vec![prefix("192.0.2.9")]),
                (attributes(NextHop::Ipv6Pair(global, local)), vec![prefix("2001:db8::/32")]),
            ]
        );
        assert_eq!(update.end_of_rib, None);
        // IPv4 with an IPv6 next hop (RFC 8950).
        let reach = [&[0x80, 14, 23, 0, 1, 1, 16][..], &global.octets(), &[0, 8, 10]].concat();
        let update = decode(&body(&[], &[&reach, ORIGIN, AS_PATH], &[]), true).unwrap();
        assert_eq!(update.announced, [(attributes(NextHop::Ipv6(global)), vec![prefix("10.0.0.0/8")])]);
    }

    #[test]
    fn stale_as4_attributes_are_ignored() {
        let path: &[u8] = &[0x40, 2, 4, 2, 1, 0x5b, 0xa0];
        let as4_path: &[u8] = &[0xc0, 17, 6, 2, 1, 0, 1, 0x11, 0x70];
        let as4_aggregator: &[u8] = &[0xc0, 18, 8, 0, 1, 0x11, 0x70, 1, 1, 1, 1];
        let path_of = |attributes: &[&[u8]]| {
            let attributes = [&[ORIGIN, path, NEXT_HOP, as4_path][..], attributes].concat();
            decode(&body(&[], &attributes, NLRI), false).unwrap().announced[0].0.as_path.clone()
        };
        let trans = vec![Segment::Sequence(vec![Asn(23456)])];
        let real = vec![Segment::Sequence(vec![Asn(70000)])];
        assert_eq!(path_of(&[]), real);
        assert_eq!(path_of(&[&[0xc0, 7, 6, 0x5b, 0xa0, 1, 1, 1, 1], as4_aggregator]), real);
        assert_eq!(path_of(&[&[0xc0, 7, 6, 0, 9, 1, 1, 1, 1], as4_aggregator]), trans);
        assert_eq!(path_of(&[&[0xc0, 7, 6, 0, 9, 1, 1, 1, 1]]), real);
    }

    #[test]
    fn nothing_that_arrives_makes_it_panic() {
        let mut rng = Rng::new(5);
        let mut good = 0;
        for _ in 0..20_000 {
            // A good message, then damage: random octets alone would never get past the first length.
            let family = Family::ALL[rng.below(2) as usize];
            let attributes = random_attributes(&mut rng, family);
            let mut out = vec![];
            let prefixes = [random_prefix(&mut rng, family), random_prefix(&mut rng, family)];
            encode_announcements(&attributes, family, &prefixes, NARROW, &mut out).unwrap();
            let mut body = out.split_off(HEADER_LEN);
            for _ in 0..rng.below(4) {
                let at = rng.below(body.len() as u64) as usize;
                body[at] = rng.bits() as u8;
            }
            body.truncate(body.len() - rng.below(3) as usize);
            match decode(&body, rng.below(2) == 0) {
                Ok(_) => good += 1,
                Err(notification) => assert_eq!(notification.code, 3),
            }
            let noise: Vec<u8> = (0..rng.below(60)).map(|_| rng.bits() as u8).collect();
            let _ = decode(&noise, true);
        }
        assert!((1000..19_000).contains(&good), "the damage is too little or too much to prove anything: {good}");
    }
}
