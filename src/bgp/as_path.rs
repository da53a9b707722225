//! AS_PATH, and AS4_PATH beside it when the neighbour knows 2-octet AS numbers only (RFC 4271 §4.3 b, RFC 6793).

use super::wire::{Reader, Short};
use crate::config::Asn;

/// A segment of an AS_PATH.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// AS_SET.
    Set(Vec<Asn>),
    /// AS_SEQUENCE.
    Sequence(Vec<Asn>),
    /// AS_CONFED_SEQUENCE (RFC 5065 §3).
    ConfedSequence(Vec<Asn>),
    /// AS_CONFED_SET (RFC 5065 §3).
    ConfedSet(Vec<Asn>),
}

const AS_SET: u8 = 1;
const AS_SEQUENCE: u8 = 2;
const AS_CONFED_SEQUENCE: u8 = 3;
const AS_CONFED_SET: u8 = 4;

/// The most AS numbers that one segment holds: their count has one octet.
const SEGMENT_MAX: usize = 255;

/// The AS_PATH is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl From<Short> for Malformed {
    fn from(_: Short) -> Malformed {
        Malformed
    }
}

impl Segment {
    /// The AS numbers, in order.
    pub fn asns(&self) -> &[Asn] {
        match self {
            Segment::Set(asns) | Segment::Sequence(asns) | Segment::ConfedSequence(asns) | Segment::ConfedSet(asns) => {
                asns
            }
        }
    }

    /// Whether it lists ASes within a confederation.
    fn is_confed(&self) -> bool {
        matches!(self, Segment::ConfedSequence(_) | Segment::ConfedSet(_))
    }

    /// What it adds to the length of a path: a set counts as one (RFC 4271 §9.1.2.2 a), and a confederation's nothing
    /// (RFC 5065 §5.3).
    fn count(&self) -> usize {
        match self {
            Segment::Set(_) => 1,
            Segment::Sequence(asns) => asns.len(),
            Segment::ConfedSequence(_) | Segment::ConfedSet(_) => 0,
        }
    }
}

/// Appends `path`. A long segment becomes several, an empty one none; with two octets, a number that needs four is
/// AS_TRANS (RFC 6793 §4.2.2).
pub(super) fn encode(path: &[Segment], four_octet: bool, out: &mut Vec<u8>) {
    for segment in path {
        let kind = match segment {
            Segment::Set(_) => AS_SET,
            Segment::Sequence(_) => AS_SEQUENCE,
            Segment::ConfedSequence(_) => AS_CONFED_SEQUENCE,
            Segment::ConfedSet(_) => AS_CONFED_SET,
        };
        for chunk in segment.asns().chunks(SEGMENT_MAX) {
            out.extend([kind, u8::try_from(chunk.len()).unwrap_or(u8::MAX)]);
            for asn in chunk {
                if four_octet {
                    out.extend(asn.0.to_be_bytes());
                } else {
                    out.extend(asn.as_u16().to_be_bytes());
                }
            }
        }
    }
}

/// The AS4_PATH that must go with a 2-octet AS_PATH, which would lose a number (RFC 6793 §4.2.2). What is within a
/// confederation has no place in it (§3).
pub(super) fn as4_path(path: &[Segment]) -> Option<Vec<Segment>> {
    let path: Vec<_> = path.iter().filter(|segment| !segment.is_confed()).cloned().collect();
    let is_lossy = path.iter().flat_map(Segment::asns).any(|asn| !asn.is_two_octet());
    is_lossy.then_some(path)
}

/// Decodes an AS_PATH or AS4_PATH. Sequences that follow each other are one, so equal paths compare equal however they
/// were cut.
pub(super) fn decode(value: &[u8], four_octet: bool) -> Result<Vec<Segment>, Malformed> {
    let mut reader = Reader::new(value);
    let mut path = Vec::new();
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let count = reader.u8()?;
        let mut asns = Vec::with_capacity(count.into());
        for _ in 0..count {
            let asn = if four_octet { reader.u32()? } else { reader.u16()?.into() };
            // AS 0 is nobody's (RFC 7607 §2).
            asns.push(if asn == 0 { return Err(Malformed) } else { Asn(asn) });
        }
        // A segment without a number is malformed (RFC 7606 §7.2).
        let segment = match kind {
            _ if asns.is_empty() => return Err(Malformed),
            AS_SET => Segment::Set(asns),
            AS_SEQUENCE => Segment::Sequence(asns),
            AS_CONFED_SEQUENCE => Segment::ConfedSequence(asns),
            AS_CONFED_SET => Segment::ConfedSet(asns),
            _ => return Err(Malformed),
        };
        append(&mut path, segment);
    }
    Ok(path)
}

/// Joins what a 2-octet speaker sent (RFC 6793 §4.2.3): the AS4_PATH, before it as many ASes from the front of the
/// AS_PATH as have passed the route on without knowing AS4_PATH. What of a confederation stands among those stays; in
/// the AS4_PATH it has no place and is discarded (§6).
pub(super) fn merge(path: Vec<Segment>, as4_path: Vec<Segment>) -> Vec<Segment> {
    let length = |path: &[Segment]| path.iter().map(Segment::count).sum::<usize>();
    let Some(mut missing) = length(&path).checked_sub(length(&as4_path)) else { return path };
    let mut merged = Vec::new();
    for segment in path {
        if missing == 0 && !segment.is_confed() {
            break;
        }
        let segment = match segment {
            Segment::Sequence(mut asns) => {
                asns.truncate(missing);
                Segment::Sequence(asns)
            }
            whole @ (Segment::Set(_) | Segment::ConfedSequence(_) | Segment::ConfedSet(_)) => whole,
        };
        missing -= segment.count().min(missing);
        append(&mut merged, segment);
    }
    for segment in as4_path.into_iter().filter(|segment| !segment.is_confed()) {
        append(&mut merged, segment);
    }
    merged
}

fn append(path: &mut Vec<Segment>, segment: Segment) {
    match (path.last_mut(), segment) {
        (Some(Segment::Sequence(last)), Segment::Sequence(asns))
        | (Some(Segment::ConfedSequence(last)), Segment::ConfedSequence(asns)) => last.extend(asns),
        (_, segment) => path.push(segment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(asns: &[u32]) -> Segment {
        Segment::Sequence(asns.iter().copied().map(Asn).collect())
    }

    fn set(asns: &[u32]) -> Segment {
        Segment::Set(asns.iter().copied().map(Asn).collect())
    }

    fn confed(asns: &[u32]) -> Segment {
        Segment::ConfedSequence(asns.iter().copied().map(Asn).collect())
    }

    #[test]
    fn confederations_have_their_own_segments() {
        let path = vec![confed(&[65_010, 65_011]), Segment::ConfedSet(vec![Asn(9)]), sequence(&[70_000])];
        let mut out = vec![];
        encode(&path[..2], false, &mut out);
        assert_eq!(out, [3, 2, 0xfd, 0xf2, 0xfd, 0xf3, 4, 1, 0, 9]);
        out.clear();
        encode(&path, true, &mut out);
        assert_eq!(decode(&out, true), Ok(path.clone()));
        assert_eq!(as4_path(&path), Some(path[2..].to_vec()));
        assert_eq!(as4_path(&[confed(&[70_000])]), None);
    }

    #[test]
    fn long_paths_are_cut_and_joined() {
        let path = vec![sequence(&(1..=600).collect::<Vec<_>>())];
        for four_octet in [false, true] {
            let mut out = vec![];
            encode(&path, four_octet, &mut out);
            let width = if four_octet { 4 } else { 2 };
            assert_eq!(out.len(), 3 * 2 + 600 * width);
            assert_eq!(out[..2], [2, 255]);
            assert_eq!(out[2 + 255 * width..][..2], [2, 255]);
            assert_eq!(decode(&out, four_octet), Ok(path.clone()));
        }
        let mut out = vec![];
        encode(&[sequence(&[])], true, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn malformed_paths() {
        for value in [
            &[2][..],         // no count
            &[2, 2, 0, 1],    // cut short
            &[2, 0],          // an empty segment
            &[5, 1, 0, 1],    // no such type
            &[0, 1, 0, 1],    // no such type
            &[2, 1, 0, 0],    // AS 0
            &[2, 1, 0, 1, 2], // a trailing octet
        ] {
            assert_eq!(decode(value, false), Err(Malformed), "{value:?}");
        }
    }

    #[test]
    fn merged_as_rfc_6793_says() {
        let trans = u32::from(Asn::TRANS);
        for (path, as4_path, merged) in [
            // The neighbour only wrote AS_TRANS.
            (vec![sequence(&[trans, 2])], vec![sequence(&[70_000, 2])], vec![sequence(&[70_000, 2])]),
            // Two 2-octet speakers passed it on.
            (vec![sequence(&[8, 9, trans, 2])], vec![sequence(&[70_000, 2])], vec![sequence(&[8, 9, 70_000, 2])]),
            // A set counts as one.
            (
                vec![set(&[8, 9]), sequence(&[trans])],
                vec![sequence(&[70_000])],
                vec![set(&[8, 9]), sequence(&[70_000])],
            ),
            (
                vec![sequence(&[8, trans]), set(&[4, 5])],
                vec![set(&[70_000, 5])],
                vec![sequence(&[8, trans]), set(&[70_000, 5])],
            ),
            // Within a confederation, whose ASes do not count, are not in the AS4_PATH, and stay in front.
            (
                vec![confed(&[7, 6]), sequence(&[8, trans])],
                vec![confed(&[5]), sequence(&[70_000])],
                vec![confed(&[7, 6]), sequence(&[8, 70_000])],
            ),
            (
                vec![confed(&[7]), sequence(&[trans])],
                vec![sequence(&[70_000])],
                vec![confed(&[7]), sequence(&[70_000])],
            ),
            // Longer than the AS_PATH: someone shortened that, so AS4_PATH is not of this route any more.
            (vec![sequence(&[8])], vec![sequence(&[70_000, 2])], vec![sequence(&[8])]),
        ] {
            assert_eq!(merge(path, as4_path), merged);
        }
    }
}
