//! Octets: a [`Reader`] that cannot run over its end, and length prefixes that cannot be wrong.

/// The input ended before the field did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the input ends within a field")]
pub struct Short;

/// The body is longer than its length prefix can say; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too long for its length field")]
pub struct TooLong;

/// Reads octets from the front. Every read is checked, and nothing is ever indexed.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// The next `count` octets.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Short> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(Short)?;
        self.0 = tail;
        Ok(head)
    }

    /// The next `N` octets, by value.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Short)?;
        self.0 = tail;
        Ok(*head)
    }

    /// One octet.
    pub fn u8(&mut self) -> Result<u8, Short> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two octets, in network order.
    pub fn u16(&mut self) -> Result<u16, Short> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four octets, in network order.
    pub fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_be_bytes)
    }

    /// A reader over the next `count` octets.
    pub fn sub(&mut self, count: usize) -> Result<Reader<'a>, Short> {
        self.take(count).map(Reader)
    }

    /// A reader over the octets that follow a length of one octet.
    pub fn sub_u8(&mut self) -> Result<Reader<'a>, Short> {
        let count = self.u8()?;
        self.sub(count.into())
    }

    /// A reader over the octets that follow a length of two octets.
    pub fn sub_u16(&mut self) -> Result<Reader<'a>, Short> {
        let count = self.u16()?;
        self.sub(count.into())
    }

    /// What has not been read yet, without reading it.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// How many octets have not been read yet.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes a one-octet length and the body that `write` appends.
///
/// # Errors
/// A body above 255 octets: `out` is as before.
pub fn prefixed_u8(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLong> {
    prefixed(out, write, |length| u8::try_from(length).ok().map(u8::to_be_bytes))
}

/// Writes a two-octet length and the body that `write` appends.
///
/// # Errors
/// A body above 65,535 octets: `out` is as before.
pub fn prefixed_u16(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLong> {
    prefixed(out, write, |length| u16::try_from(length).ok().map(u16::to_be_bytes))
}

/// The length is measured after the body is written, and put where `N` octets were kept free for it.
fn prefixed<const N: usize>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
    octets: impl FnOnce(usize) -> Option<[u8; N]>,
) -> Result<(), TooLong> {
    let start = out.len();
    out.extend_from_slice(&[0; N]);
    write(out);
    let length = out.len().saturating_sub(start + N);
    let slot = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<N>);
    match (octets(length), slot) {
        (Some(octets), Some(slot)) => {
            *slot = octets;
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(TooLong)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_to_the_end_and_not_beyond() {
        let mut reader = Reader::new(&[1, 0, 2, 0, 0, 0, 3, 2, 9, 8, 0, 1, 7, 5]);
        assert_eq!((reader.u8(), reader.u16(), reader.u32()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(reader.sub_u8().unwrap().rest(), [9, 8]);
        assert_eq!(reader.sub_u16().unwrap().rest(), [7]);
        assert_eq!(reader.take(2), Err(Short));
        assert_eq!((reader.len(), reader.take(1)), (1, Ok(&[5][..])));
        assert!(reader.is_empty());
        assert_eq!((reader.u8(), reader.array::<4>(), reader.take(0)), (Err(Short), Err(Short), Ok(&[][..])));
        assert!(Reader::new(&[2, 0]).sub_u8().is_err() && Reader::new(&[0, 1]).sub_u16().is_err());
    }

    #[test]
    fn a_length_is_the_bodys_or_nothing_is_written() {
        let mut out = vec![9];
        prefixed_u8(&mut out, |out| prefixed_u16(out, |out| out.extend([7; 3])).unwrap()).unwrap();
        assert_eq!(out, [9, 5, 0, 3, 7, 7, 7]);
        for (length, fits) in [(0, true), (255, true), (256, false)] {
            let mut out = vec![9];
            assert_eq!(prefixed_u8(&mut out, |out| out.extend(vec![1; length])).is_ok(), fits);
            assert_eq!(out.len(), if fits { 2 + length } else { 1 });
        }
        let mut out = vec![];
        assert_eq!(prefixed_u16(&mut out, |out| out.extend(vec![1; 65_536])), Err(TooLong));
        assert!(out.is_empty());
    }
}
