//! A router in a few lines, with its own reading of the octets: an oracle must not share the codec.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::prefix::Prefix;

pub(super) const OPEN: u8 = 1;
pub(super) const UPDATE: u8 = 2;
pub(super) const NOTIFICATION: u8 = 3;
pub(super) const KEEPALIVE: u8 = 4;
pub(super) const REFRESH: u8 = 5;

/// Capabilities, encoded.
pub(super) const MP_IPV4: &[u8] = &[1, 4, 0, 1, 0, 1];
pub(super) const MP_IPV6: &[u8] = &[1, 4, 0, 2, 0, 1];
pub(super) const ROUTE_REFRESH: &[u8] = &[2, 0];

/// What the router has received.
#[derive(Debug, Default)]
pub(super) struct Router {
    buffer: Vec<u8>,
    /// Types and bodies, in order, without UPDATEs.
    pub(super) messages: Vec<(u8, Vec<u8>)>,
    pub(super) updates: usize,
    /// How often a prefix was announced or withdrawn.
    pub(super) changes: usize,
    /// Takes messages of up to 65,535 octets.
    pub(super) extended: bool,
    /// The longest UPDATE.
    pub(super) longest: usize,
    /// What it would have: attributes by type, with those of the MP_REACH_NLRI's next hop under 14.
    pub(super) table: BTreeMap<Prefix, BTreeMap<u8, Vec<u8>>>,
    /// End-of-RIB markers, as address family numbers, each with the size of the table then.
    pub(super) end_of_rib: Vec<(u16, usize)>,
    /// ROUTE-REFRESHes: family and subtype, with the changes and End-of-RIBs before it.
    pub(super) refreshes: Vec<(u8, u8, (usize, usize))>,
}

/// The capabilities in the body of an OPEN: codes and values.
pub(super) fn capabilities(body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut left = body.get(12..).unwrap_or_default();
    let mut found = Vec::new();
    while let [code, len, rest @ ..] = left {
        let (value, rest) = rest.split_at(usize::from(*len));
        left = rest;
        found.push((*code, value.to_vec()));
    }
    found
}

pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff; 16];
    out.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    out.push(kind);
    out.extend(body);
    out
}

pub(super) fn open(asn: u16, hold: u16, id: [u8; 4], capabilities: &[&[u8]]) -> Vec<u8> {
    let capabilities = capabilities.concat();
    let mut body = vec![4];
    body.extend(asn.to_be_bytes());
    body.extend(hold.to_be_bytes());
    body.extend(id);
    if capabilities.is_empty() {
        body.push(0);
    } else {
        let len = u8::try_from(capabilities.len()).unwrap();
        body.extend([len + 2, 2, len]);
        body.extend(capabilities);
    }
    message(OPEN, &body)
}

/// The 4-octet AS capability.
pub(super) fn four_octets(asn: u32) -> Vec<u8> {
    [&[65, 4], asn.to_be_bytes().as_slice()].concat()
}

impl Router {
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
        while self.buffer.len() >= 19 {
            assert_eq!(self.buffer[..16], [0xff; 16]);
            let len = usize::from(u16::from_be_bytes([self.buffer[16], self.buffer[17]]));
            let longest = if self.extended { 65_535 } else { 4096 };
            assert!((19..=longest).contains(&len), "{len}");
            if self.buffer.len() < len {
                return;
            }
            let rest = self.buffer.split_off(len);
            let message = std::mem::replace(&mut self.buffer, rest);
            match message[18] {
                UPDATE => {
                    self.longest = self.longest.max(len);
                    self.update(&message[19..]);
                }
                REFRESH => {
                    let before = (self.changes, self.end_of_rib.len());
                    self.refreshes.push((message[20], message[21], before));
                }
                kind => self.messages.push((kind, message[19..].to_vec())),
            }
        }
    }

    /// The last message that was no UPDATE.
    pub(super) fn last(&self) -> (u8, &[u8]) {
        self.messages.last().map(|(kind, body)| (*kind, body.as_slice())).unwrap()
    }

    fn update(&mut self, body: &[u8]) {
        self.updates += 1;
        let (withdrawn, rest) = prefixed(body);
        let (attributes, nlri) = prefixed(rest);
        let mut changed = prefixes(withdrawn, 1);
        let mut announced = prefixes(nlri, 1);
        let mut route = BTreeMap::new();
        let mut last_family = 1;
        let mut left = attributes;
        while let [flags, kind, rest @ ..] = left {
            let (len, rest) = if flags & 0x10 == 0 {
                (usize::from(rest[0]), &rest[1..])
            } else {
                (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..])
            };
            let (value, rest) = rest.split_at(len);
            left = rest;
            match kind {
                14 => {
                    assert_eq!(value[2], 1);
                    let (next_hop, nlri) = value[4..].split_at(value[3].into());
                    announced.extend(prefixes(&nlri[1..], value[1]));
                    route.insert(14, next_hop.to_vec());
                }
                15 => {
                    assert_eq!(value[2], 1);
                    last_family = value[1];
                    changed.extend(prefixes(&value[3..], value[1]));
                }
                kind => assert!(route.insert(*kind, value.to_vec()).is_none(), "twice"),
            }
        }
        if changed.is_empty() && announced.is_empty() {
            let of_family = |prefix: &&Prefix| prefix.address().is_ipv4() == (last_family == 1);
            self.end_of_rib.push((last_family.into(), self.table.keys().filter(of_family).count()));
        }
        self.changes += changed.len() + announced.len();
        for prefix in changed {
            assert!(self.table.remove(&prefix).is_some(), "{prefix} withdrawn, and never announced");
        }
        for prefix in announced {
            self.table.insert(prefix, route.clone());
        }
    }
}

fn prefixed(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes[2..].split_at(u16::from_be_bytes([bytes[0], bytes[1]]).into())
}

fn prefixes(mut bytes: &[u8], family: u8) -> Vec<Prefix> {
    let mut found = Vec::new();
    while let [len, rest @ ..] = bytes {
        let (value, rest) = rest.split_at(usize::from(len.div_ceil(8)));
        bytes = rest;
        let mut octets = [0; 16];
        octets[..value.len()].copy_from_slice(value);
        let address: IpAddr = match family {
            1 => <[u8; 4]>::try_from(&octets[..4]).unwrap().into(),
            _ => Ipv6Addr::from(octets).into(),
        };
        found.push(Prefix::new(address, *len).unwrap());
    }
    found
}
