//! Routes for GoBGP's gRPC API, as the body of one call of AddPathStream.

use super::{NEXT_HOP, route};

/// Paths in one message of the stream.
const BATCH: usize = 1000;

/// The messages, each with its prefix of gRPC: not compressed, and its length.
pub fn add_path_stream(prefixes: u32) -> Vec<u8> {
    let mut body = Vec::new();
    for batch in (0..prefixes).collect::<Vec<_>>().chunks(BATCH) {
        // AddPathStreamRequest.paths
        let message: Vec<u8> = batch.iter().flat_map(|index| field(3, &path(*index))).collect();
        body.push(0);
        body.extend((message.len() as u32).to_be_bytes());
        body.extend(message);
    }
    body
}

/// A Path: its family (AFI 1, SAFI 1), its NLRI and its attributes ORIGIN and NEXT_HOP in the octets of BGP.
fn path(index: u32) -> Vec<u8> {
    let nlri = [&[32], &route(index).octets()[..]].concat();
    let next_hop = [&[0x40, 3, 4], &NEXT_HOP.octets()[..]].concat();
    [field(9, &[8, 1, 16, 1]), field(20, &nlri), field(21, &[0x40, 1, 1, 0]), field(21, &next_hop)].concat()
}

/// A length-delimited field of Protocol Buffers.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = varint(usize::from(number) << 3 | 2);
    out.extend(varint(value.len()));
    out.extend(value);
    out
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
