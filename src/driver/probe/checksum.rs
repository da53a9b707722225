//! The Internet checksum (RFC 1071), and the pseudo headers under those of TCP (RFC 9293 §3.1, RFC 8200 §8.1).

use std::net::IpAddr;

/// Of these octets, as they follow each other; every part but the last has an even number of them.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum = words.map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or_default()])));
    let mut sum: u32 = sum.fold(0, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// What comes before a segment of TCP between these, of so many octets.
pub(super) fn pseudo_header(source: IpAddr, target: IpAddr, length: u16) -> Vec<u8> {
    const TCP: u8 = 6;
    let mut header = Vec::with_capacity(40);
    for address in [source, target] {
        match address {
            IpAddr::V4(address) => header.extend(address.octets()),
            IpAddr::V6(address) => header.extend(address.octets()),
        }
    }
    if target.is_ipv4() {
        header.extend([0, TCP]);
        header.extend(length.to_be_bytes());
    } else {
        header.extend(u32::from(length).to_be_bytes());
        header.extend([0, 0, 0, TCP]);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_its_checksum_sums_up_to_zero() {
        // RFC 1071 §3.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(checksum(&[&[0x00, 0x01], &[0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(checksum(&[&[0xff]]), 0x00ff);
    }
}
