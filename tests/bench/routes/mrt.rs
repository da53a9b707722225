//! A routing table as a file in MRT's TABLE_DUMP_V2 format (RFC 6396 §4.3), for `gobgp mrt inject`.

use super::{NEXT_HOP, route};

const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;

/// The dump of `prefixes` routes of one peer, with ORIGIN, an empty AS_PATH and the next hop.
pub fn dump(prefixes: u32) -> Vec<u8> {
    let mut out = Vec::new();
    // The collector's ID, a view without name, one peer: AS of 4 octets, IPv4; its ID, address and AS.
    record(PEER_INDEX_TABLE, &[10, 0, 0, 1, 0, 0, 0, 1, 2, 10, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0xfd, 0xe9], &mut out);
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4];
    attributes.extend(NEXT_HOP.octets());
    for index in 0..prefixes {
        let mut body = index.to_be_bytes().to_vec();
        body.push(32);
        body.extend(route(index).octets());
        // One entry, of the first peer, at no time in particular.
        body.extend([0, 1, 0, 0, 0, 0, 0, 0, 0, attributes.len() as u8]);
        body.extend(&attributes);
        record(RIB_IPV4_UNICAST, &body, &mut out);
    }
    out
}

fn record(subtype: u16, body: &[u8], out: &mut Vec<u8>) {
    out.extend([0, 0, 0, 0, 0, 13]);
    out.extend(subtype.to_be_bytes());
    out.extend((body.len() as u32).to_be_bytes());
    out.extend(body);
}
