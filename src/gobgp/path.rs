//! A route as gobgpd has it: the NLRI and each attribute in the octets of BGP, from the encoder of our own sessions.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::message;
use crate::bgp::attribute::{self, AS_PATH, MP_REACH_NLRI, NEXT_HOP, NextHop, PathAttributes, Segment};
use crate::bgp::export::join;
use crate::bgp::message::{UNICAST, afi};
use crate::bgp::nlri;
use crate::bgp::update::{Unencodable, Update, encode_separately};
use crate::config::{Asn, Attributes, LiveParameters, NextHop4, NextHop6};
use crate::prefix::{Family, Prefix};

/// Below this many entries the memo is never swept.
const SWEEP_ABOVE: usize = 1024;
/// Octets of attributes of one listed path that are looked at; a BGP message has less.
const ATTRIBUTES_MAX: usize = 65_535;

/// How routes look to gobgpd.
#[derive(Debug)]
pub struct Exporter {
    live: LiveParameters,
    own_as: Asn,
    /// Routes share their attributes; `None` for those that fit no message.
    memo: [BTreeMap<Arc<Attributes>, Option<Arc<PathAttributes>>>; 2],
    sweep_above: usize,
}

/// What becomes of a wanted route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exported {
    /// It is announced like this.
    Route(Arc<PathAttributes>),
    /// The operator keeps it from gobgpd.
    Filtered,
    /// Its attributes fit no BGP message.
    TooLarge,
}

impl Exporter {
    /// For a gobgpd of this AS.
    pub fn new(live: LiveParameters, own_as: Asn) -> Exporter {
        Exporter { live, own_as, memo: Default::default(), sweep_above: SWEEP_ABOVE }
    }

    /// The route as gobgpd shall have it.
    pub fn route(&mut self, prefix: &Prefix, attributes: &Arc<Attributes>) -> Exported {
        if !self.live.export.allows(prefix) {
            return Exported::Filtered;
        }
        let family = prefix.family();
        if let Some(known) = self.memo[family as usize].get(attributes) {
            return known.clone().map_or(Exported::TooLarge, Exported::Route);
        }
        let made = path_attributes(&self.live, self.own_as, family, attributes);
        // The longest prefix: what is made for one route is for all.
        let fits = encode_separately(&made, &longest(family)).is_ok();
        let made = fits.then(|| Arc::new(made));
        let memo = &mut self.memo[family as usize];
        memo.insert(attributes.clone(), made.clone());
        if memo.len() > self.sweep_above {
            memo.retain(|_, made| made.as_ref().is_some_and(|made| Arc::strong_count(made) > 1));
            self.sweep_above = SWEEP_ABOVE.max(2 * memo.len());
        }
        made.map_or(Exported::TooLarge, Exported::Route)
    }
}

fn longest(family: Family) -> Prefix {
    match family {
        Family::Ipv4 => Prefix::host(Ipv4Addr::BROADCAST.into()),
        Family::Ipv6 => Prefix::host(Ipv6Addr::from_bits(u128::MAX).into()),
    }
}

/// The VIP's word goes before that of `[gobgp]`. What BGP adds on the way to a peer is gobgpd's to add: its own AS, a
/// LOCAL_PREF, and that some communities stay within the AS.
fn path_attributes(live: &LiveParameters, own_as: Asn, family: Family, vip: &Attributes) -> PathAttributes {
    let ours = &live.attributes;
    let prepend = usize::from(vip.as_path_prepend.or(ours.as_path_prepend).unwrap_or(0));
    let as_path = if prepend == 0 { Vec::new() } else { vec![Segment::Sequence(vec![own_as; prepend])] };
    PathAttributes {
        origin: vip.origin.or(ours.origin).unwrap_or_default(),
        as_path,
        next_hop: next_hop(live, family),
        med: vip.med.or(ours.med),
        local_pref: vip.local_pref.or(ours.local_pref),
        communities: join(&vip.communities, &ours.communities),
        large_communities: join(&vip.large_communities, &ours.large_communities),
        extended_communities: join(&vip.extended_communities, &ours.extended_communities),
        only_to_customer: None,
    }
}

/// In the place of the unspecified address gobgpd puts its own towards each peer.
fn next_hop(live: &LiveParameters, family: Family) -> NextHop {
    match family {
        Family::Ipv4 => NextHop::Ipv4(match live.next_hop_ipv4 {
            NextHop4::SelfAddress => Ipv4Addr::UNSPECIFIED,
            NextHop4::Address(address) => address,
        }),
        Family::Ipv6 => NextHop::Ipv6(match live.next_hop_ipv6 {
            NextHop6::SelfAddress => Ipv6Addr::UNSPECIFIED,
            NextHop6::Address(address) | NextHop6::Pair(address, _) => address,
        }),
    }
}

/// A route in octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// A length in bits, and the octets that these need.
    pub nlri: Vec<u8>,
    /// Complete attributes.
    pub attributes: Vec<Vec<u8>>,
}

/// The octets of a route.
///
/// # Errors
/// When its attributes fit no BGP message.
pub fn encode(prefix: &Prefix, attributes: &PathAttributes) -> Result<Encoded, Unencodable> {
    Ok(Encoded { nlri: encode_nlri(prefix), attributes: encode_separately(attributes, prefix)? })
}

/// The octets of a prefix. Never empty.
pub fn encode_nlri(prefix: &Prefix) -> Vec<u8> {
    let mut octets = Vec::with_capacity(nlri::encoded_len(prefix));
    nlri::write(prefix, &mut octets);
    octets
}

/// A route that gobgpd lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is about.
    pub prefix: Prefix,
    /// Its attributes, by type: the value of each, without what can be written in more than one way.
    canonical: BTreeMap<u8, Vec<u8>>,
    octets: Vec<u8>,
}

/// A listed path of `family` with this `identifier` that did not come from a peer. `None` for all others, and for one whose
/// prefix cannot be read: it is nothing that we have announced.
pub(super) fn own(path: &message::Path, family: Family, identifier: u32) -> Option<Listed> {
    let is_local = matches!(path.neighbor_ip.as_str(), "" | "<nil>");
    if path.identifier != identifier || !is_local || path.is_withdraw {
        return None;
    }
    Listed::read(family, &path.nlri_binary, &path.pattrs_binary)
}

impl Listed {
    /// Reads the octets of a route; `None` when they are not of exactly one prefix of this family.
    pub fn read(family: Family, nlri: &[u8], attributes: &[Vec<u8>]) -> Option<Listed> {
        let [prefix] = nlri::read(family, nlri).ok()?[..] else { return None };
        let mut octets = Vec::new();
        for attribute in attributes {
            if octets.len() + attribute.len() > ATTRIBUTES_MAX {
                break;
            }
            octets.extend_from_slice(attribute);
        }
        Some(Listed { prefix, canonical: canonical(&octets), octets })
    }

    /// Whether the route is as it would be announced with these attributes.
    pub fn is(&self, wanted: &PathAttributes) -> bool {
        let wanted = encode_separately(wanted, &self.prefix).map(|pieces| canonical(&pieces.concat()));
        wanted.is_ok_and(|wanted| wanted == self.canonical)
    }

    /// Its attributes; `None` when they cannot be read.
    pub fn attributes(&self) -> Option<PathAttributes> {
        let family = self.prefix.family();
        let next_hop = self.next_hop()?;
        // "Self" is the address of no host, which no router may send: another stands in for it.
        let mut body = vec![0, 0];
        let pieces = attribute::separate(&self.octets);
        let kept = pieces.iter().filter(|piece| !matches!(piece.kind, NEXT_HOP | MP_REACH_NLRI));
        let mut attributes: Vec<u8> = kept.flat_map(|piece| piece.whole).copied().collect();
        attributes.extend(stand_in(family, &self.prefix));
        if !pieces.iter().any(|piece| piece.kind == AS_PATH) {
            attributes.extend([0x40, AS_PATH, 0]);
        }
        body.extend(u16::try_from(attributes.len()).ok()?.to_be_bytes());
        body.extend(attributes);
        if family == Family::Ipv4 {
            body.extend(encode_nlri(&self.prefix));
        }
        let update = Update::decode(&body, true, true).ok()?;
        let (attributes, _) = update.announced.into_iter().next()?;
        Some(PathAttributes { next_hop, ..attributes })
    }

    fn next_hop(&self) -> Option<NextHop> {
        let octets = self.canonical.get(&NEXT_HOP)?;
        match (<[u8; 4]>::try_from(&octets[..]), <[u8; 16]>::try_from(octets.get(..16).unwrap_or_default())) {
            (Ok(octets), _) => Some(NextHop::Ipv4(octets.into())),
            (_, Ok(octets)) => Some(NextHop::Ipv6(octets.into())),
            _ => None,
        }
    }
}

/// A next hop of some host, as an attribute with the prefix where it holds that.
fn stand_in(family: Family, prefix: &Prefix) -> Vec<u8> {
    match family {
        Family::Ipv4 => vec![0x40, NEXT_HOP, 4, 192, 0, 2, 1],
        Family::Ipv6 => {
            let mut value = mp_reach_head(Family::Ipv6);
            value.push(16);
            value.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
            value.push(0);
            value.extend(encode_nlri(prefix));
            let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
            [vec![0x80, MP_REACH_NLRI, length], value].concat()
        }
    }
}

fn mp_reach_head(family: Family) -> Vec<u8> {
    let mut head = afi(family).to_be_bytes().to_vec();
    head.push(UNICAST);
    head
}

/// What attributes say, whatever the flags and the order: an AS_PATH without an AS is none, and the next hop is the same
/// thing in NEXT_HOP and in MP_REACH_NLRI, whose prefix is known.
fn canonical(octets: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut canonical = BTreeMap::new();
    for piece in attribute::separate(octets) {
        match piece.kind {
            AS_PATH if piece.value.is_empty() => {}
            MP_REACH_NLRI => {
                let length = piece.value.get(3).copied().unwrap_or(0);
                let next_hop = piece.value.get(4..4 + usize::from(length)).unwrap_or_default();
                canonical.insert(NEXT_HOP, next_hop.to_vec());
            }
            kind => {
                canonical.insert(kind, piece.value.to_vec());
            }
        }
    }
    canonical
}

/// In words, for an operator.
pub fn describe(attributes: &PathAttributes) -> Vec<String> {
    let list = |name: &str, items: Vec<String>| (!items.is_empty()).then(|| format!("{name} {}", items.join(" ")));
    let next_hop = match attributes.next_hop.addresses().first() {
        Some(address) if address.is_unspecified() => "next-hop self".to_owned(),
        Some(address) => format!("next-hop {}", IpAddr::to_canonical(address)),
        None => String::new(),
    };
    let path = attributes.as_path.iter().flat_map(Segment::asns).map(ToString::to_string).collect();
    let number = |name: &str, value: Option<u32>| value.map(|value| format!("{name} {value}"));
    let texts = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>();
    [
        Some(next_hop),
        Some(format!("origin {}", attributes.origin.name())),
        list("as-path", path),
        number("med", attributes.med),
        number("local-pref", attributes.local_pref),
        list("communities", texts(&mut attributes.communities.iter().map(ToString::to_string))),
        list("large-communities", texts(&mut attributes.large_communities.iter().map(ToString::to_string))),
        list("extended-communities", texts(&mut attributes.extended_communities.iter().map(ToString::to_string))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests;
