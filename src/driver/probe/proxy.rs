//! The PROXY header, as HAProxy has defined it: who speaks to whom, at the beginning of a connection.

use std::net::{IpAddr, SocketAddr};

use crate::config::ProxyHeader;

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and that the connection is proxied.
const VERSION_AND_COMMAND: u8 = 0x21;

/// The header for a TCP connection between these; both are of one family.
pub(super) fn header(version: ProxyHeader, source: SocketAddr, target: SocketAddr) -> Vec<u8> {
    match version {
        ProxyHeader::V1 => {
            let family = if target.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), target.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), target.port()).into_bytes()
        }
        ProxyHeader::V2 => {
            let mut body = Vec::with_capacity(36);
            for address in [source.ip(), target.ip()] {
                match address {
                    IpAddr::V4(address) => body.extend(address.octets()),
                    IpAddr::V6(address) => body.extend(address.octets()),
                }
            }
            body.extend(source.port().to_be_bytes());
            body.extend(target.port().to_be_bytes());
            let family = if target.is_ipv4() { 0x11 } else { 0x21 };
            let mut header = SIGNATURE.to_vec();
            header.extend([VERSION_AND_COMMAND, family, 0, u8::try_from(body.len()).unwrap_or_default()]);
            header.extend(body);
            header
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_specification_has_it() {
        let v4 = ("192.0.2.9:1234".parse().unwrap(), "198.51.100.7:443".parse().unwrap());
        let v6 = ("[2001:db8::9]:1234".parse().unwrap(), "[2001:db8::7]:443".parse().unwrap());
        assert_eq!(header(ProxyHeader::V1, v4.0, v4.1), b"PROXY TCP4 192.0.2.9 198.51.100.7 1234 443\r\n");
        assert_eq!(header(ProxyHeader::V1, v6.0, v6.1), b"PROXY TCP6 2001:db8::9 2001:db8::7 1234 443\r\n");
        let hex = |octets: Vec<u8>| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        assert_eq!(
            hex(header(ProxyHeader::V2, v4.0, v4.1)),
            "0d0a0d0a000d0a515549540a2111000cc0000209c633640704d201bb"
        );
        assert_eq!(
            hex(header(ProxyHeader::V2, v6.0, v6.1)),
            "0d0a0d0a000d0a515549540a2121002420010db800000000000000000000000920010db800000000000000000000000704d201bb"
        );
    }
}
