//! Prefixes on the wire (RFC 4271 §4.3, RFC 4760 §5): a length in bits, then as many octets as these need.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::Notification;
use super::wire::{Reader, Short};
use crate::prefix::{Family, Prefix};

/// Appends one prefix.
pub fn write(prefix: &Prefix, out: &mut Vec<u8>) {
    let octets = usize::from(prefix.len().div_ceil(8));
    out.push(prefix.len());
    match prefix.address() {
        IpAddr::V4(address) => out.extend(address.octets().into_iter().take(octets)),
        IpAddr::V6(address) => out.extend(address.octets().into_iter().take(octets)),
    }
}

/// How many octets [`write()`] appends.
pub fn encoded_len(prefix: &Prefix) -> usize {
    1 + usize::from(prefix.len().div_ceil(8))
}

/// Reads prefixes of one family to the end. Bits beyond a prefix's length are of no meaning (RFC 4271 §4.3) and dropped.
///
/// # Errors
/// Invalid Network Field for a length that the family does not have and for a prefix cut short (RFC 4271 §6.3).
pub fn read(family: Family, bytes: &[u8]) -> Result<Vec<Prefix>, Notification> {
    let mut reader = Reader::new(bytes);
    let mut prefixes = Vec::new();
    while !reader.is_empty() {
        prefixes.push(read_one(family, &mut reader).map_err(|_| Notification::invalid_network_field())?);
    }
    Ok(prefixes)
}

fn read_one(family: Family, reader: &mut Reader<'_>) -> Result<Prefix, Short> {
    let len = reader.u8()?;
    let octets = reader.take(usize::from(len.div_ceil(8)))?;
    let address = match family {
        Family::Ipv4 => IpAddr::from(Ipv4Addr::from(padded::<4>(octets)?)),
        Family::Ipv6 => IpAddr::from(Ipv6Addr::from(padded::<16>(octets)?)),
    };
    Ok(Prefix::covering(address, len))
}

/// `octets` and zeros; more than `N` of them is a length that the family does not have.
fn padded<const N: usize>(octets: &[u8]) -> Result<[u8; N], Short> {
    let mut address = [0; N];
    address.get_mut(..octets.len()).ok_or(Short)?.copy_from_slice(octets);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (text, bytes) in [
            ("0.0.0.0/0", &[0][..]),
            ("192.0.2.0/23", &[23, 192, 0, 2]),
            ("192.0.2.1/32", &[32, 192, 0, 2, 1]),
            ("128.0.0.0/1", &[1, 128]),
            ("::/0", &[0]),
            ("2001:db8::/32", &[32, 0x20, 1, 0x0d, 0xb8]),
            ("2001:db8::1/128", &[128, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ] {
            let prefix: Prefix = text.parse().unwrap();
            let mut out = vec![];
            write(&prefix, &mut out);
            assert_eq!((out.as_slice(), out.len()), (bytes, encoded_len(&prefix)));
            assert_eq!(read(prefix.family(), bytes), Ok(vec![prefix]));
        }
    }

    #[test]
    fn host_bits_are_dropped_and_wrong_lengths_refused() {
        assert_eq!(read(Family::Ipv4, &[23, 192, 0, 255]), Ok(vec!["192.0.254.0/23".parse().unwrap()]));
        assert_eq!(read(Family::Ipv6, &[33, 0x20, 1, 0x0d, 0xb8, 0xff]).unwrap()[0].to_string(), "2001:db8:8000::/33");
        let error = Err(Notification::new(3, 10, []));
        for (family, bytes) in [
            (Family::Ipv4, &[33, 192, 0, 2, 1, 0][..]),
            (Family::Ipv4, &[32, 192, 0, 2]),
            (Family::Ipv4, &[255]),
            (Family::Ipv4, &[8, 10, 24]),
            (Family::Ipv6, &[129, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(read(family, bytes), error, "{bytes:?}");
        }
    }
}
