//! The octets: what goes into the UDP datagram of a check, and which run an echo reply belongs to. No IO.
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------+---------------+---------------+---------------+
//! | 0 |0|hlen = 1 | protocol 4/41 |           flags = 0           |  gue: a header without options, and four octets
//! |                 GLB's private data, all zero                  |  in which GLB's director lists next hops: none
//! +---------------------------------------------------------------+
//! | K, version 0: 0x2000          |    protocol 0x0800/0x86dd     |  fou: GRE (RFC 2784) with a key (RFC 2890),
//! |                            key = 0                            |  which is 0
//! +---------------------------------------------------------------+
//! ```
//!
//! Either one is followed by a whole IP packet: from our address to the target's, an ICMP echo request (RFC 792,
//! RFC 4443 §4.1) with identifier and sequence number 0. Its payload tells the runs apart.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Encapsulation;
use crate::driver::probe::checksum::checksum;

/// Before the token in a payload, so that somebody who looks at the wire knows what this is.
const MARK: &str = "glbhc_";
/// A mark and a token in hexadecimal.
const PAYLOAD: usize = MARK.len() + 2 * Token::LEN;

/// Protocol numbers.
const ICMP: u8 = 1;
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const ICMPV6: u8 = 58;

/// Types of ICMP messages: request and reply.
const ECHO: (u8, u8) = (8, 0);
const ECHO6: (u8, u8) = (128, 129);

/// Of the inner packet: as far as it goes.
const TTL: u8 = 255;

/// The types of ICMP messages that [`reply_in_ipv4`] can make something of.
pub(super) const REPLY: u8 = ECHO.1;
/// The same for [`reply_in_icmpv6`].
pub(super) const REPLY6: u8 = ECHO6.1;

/// What tells a run's echo from everybody else's. Nobody but the target can know it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token(pub(super) [u8; Token::LEN]);

impl Token {
    /// In octets: more than anybody can guess in the time of a check.
    pub(super) const LEN: usize = 16;

    fn payload(self) -> Vec<u8> {
        format!("{MARK}{self:?}").into_bytes()
    }

    fn of_payload(payload: &[u8]) -> Option<Token> {
        let digits = payload.strip_prefix(MARK.as_bytes())?;
        let mut token = [0; Token::LEN];
        if digits.len() != 2 * Token::LEN {
            return None;
        }
        for (octet, digits) in token.iter_mut().zip(digits.chunks_exact(2)) {
            // Only what we write ourselves: `from_str_radix` would take a sign and capitals, too.
            let known = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
            let digits = std::str::from_utf8(digits).ok().filter(|_| known)?;
            *octet = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Token(token))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The payload of the UDP datagram; `None` when the addresses are of different families.
pub(super) fn request(encapsulation: Encapsulation, from: IpAddr, to: IpAddr, token: Token) -> Option<Vec<u8>> {
    let inner = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, token),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(from, to, token),
        _ => return None,
    };
    let header: [u8; 8] = match (encapsulation, to) {
        (Encapsulation::Gue, IpAddr::V4(_)) => [0x01, IPV4_IN_IP, 0, 0, 0, 0, 0, 0],
        (Encapsulation::Gue, IpAddr::V6(_)) => [0x01, IPV6_IN_IP, 0, 0, 0, 0, 0, 0],
        (Encapsulation::Fou, IpAddr::V4(_)) => [0x20, 0x00, 0x08, 0x00, 0, 0, 0, 0],
        (Encapsulation::Fou, IpAddr::V6(_)) => [0x20, 0x00, 0x86, 0xdd, 0, 0, 0, 0],
    };
    Some([&header[..], &inner].concat())
}

/// The token of an echo reply, as a raw IPv4 socket gives it: with its IP header, which the kernel has checked.
///
/// The ICMP checksum needs no look: what carries the whole token has come as it was sent.
pub(super) fn reply_in_ipv4(packet: &[u8]) -> Option<Token> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    reply(packet.get(header..)?, REPLY)
}

/// The token of an echo reply, as a raw ICMPv6 socket gives it: without an IP header.
pub(super) fn reply_in_icmpv6(message: &[u8]) -> Option<Token> {
    reply(message, REPLY6)
}

fn reply(message: &[u8], kind: u8) -> Option<Token> {
    match message.split_at_checked(8)? {
        ([first, 0, _, _, rest @ ..], payload) if *first == kind && *rest == [0; 4] => Token::of_payload(payload),
        _ => None,
    }
}

/// RFC 791 §3.1.
fn ipv4(from: Ipv4Addr, to: Ipv4Addr, token: Token) -> Vec<u8> {
    const DO_NOT_FRAGMENT: [u8; 2] = [0x40, 0x00];
    const LENGTH: u16 = 20 + 8 + PAYLOAD as u16;
    let [high, low] = LENGTH.to_be_bytes();
    // Version and length of the header; no differentiated services; length; identification.
    let mut header = vec![0x45, 0, high, low, 0, 0];
    header.extend(DO_NOT_FRAGMENT);
    header.extend([TTL, ICMP, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    put_checksum(&mut header, 10, &[]);
    header.extend(echo(ECHO.0, &[], token));
    header
}

/// RFC 8200 §3.
fn ipv6(from: Ipv6Addr, to: Ipv6Addr, token: Token) -> Vec<u8> {
    const LENGTH: u16 = 8 + PAYLOAD as u16;
    let [high, low] = LENGTH.to_be_bytes();
    let addresses = [from.octets(), to.octets()].concat();
    // RFC 8200 §8.1: what the checksum covers besides.
    let pseudo_header = [&addresses[..], &[0, 0, high, low], &[0, 0, 0, ICMPV6]].concat();
    let mut packet = vec![0x60, 0, 0, 0, high, low, ICMPV6, TTL];
    packet.extend(addresses);
    packet.extend(echo(ECHO6.0, &pseudo_header, token));
    packet
}

/// Type, code, checksum, identifier, sequence number, payload.
fn echo(kind: u8, pseudo_header: &[u8], token: Token) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(token.payload());
    put_checksum(&mut message, 2, pseudo_header);
    message
}

/// Writes the checksum of these octets, and of those before them, at `place`, where there are zeros.
fn put_checksum(octets: &mut [u8], place: usize, before: &[u8]) {
    let sum = checksum(&[before, octets]).to_be_bytes();
    if let Some(field) = octets.get_mut(place..place + 2) {
        field.copy_from_slice(&sum);
    }
}

const _: () = assert!(PAYLOAD.is_multiple_of(2));

#[cfg(test)]
mod tests {
    use super::*;

    /// `000102…0f`.
    fn token() -> Token {
        Token(std::array::from_fn(|at| u8::try_from(at).unwrap()))
    }

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn built(encapsulation: Encapsulation, from: &str, to: &str) -> Vec<u8> {
        request(encapsulation, from.parse().unwrap(), to.parse().unwrap(), token()).unwrap()
    }

    /// Made by another program, in another language.
    const PAYLOAD_HEX: &str = "676c6268635f3030303130323033303430353036303730383039306130623063306430653066";

    #[test]
    fn every_octet_is_as_it_must_be() {
        let ipv4 = "4500004200004000ff0166eb0a6200010a62000b0800c66600000000";
        let ipv6 = "60000000002e3afffd000098000000000000000000000001fd000098000000000000000000000011800052ba00000000";
        for (encapsulation, header, header6) in [
            (Encapsulation::Gue, "0104000000000000", "0129000000000000"),
            (Encapsulation::Fou, "2000080000000000", "200086dd00000000"),
        ] {
            let packet = built(encapsulation, "10.98.0.1", "10.98.0.11");
            assert_eq!(hex(&packet), format!("{header}{ipv4}{PAYLOAD_HEX}"));
            let packet = built(encapsulation, "fd00:98::1", "fd00:98::11");
            assert_eq!(hex(&packet), format!("{header6}{ipv6}{PAYLOAD_HEX}"));
        }
    }

    /// As a receiver checks them: with its checksum in it, the sum of all is all ones.
    #[test]
    fn checksums_hold_whatever_the_addresses_and_the_token() {
        fn sum(octets: &[u8]) -> u64 {
            let sum: u64 = octets.chunks(2).map(|pair| u64::from(pair[0]) * 256 + u64::from(pair[1])).sum();
            // Ones' complement: a carry comes in again at the bottom.
            (sum - 1) % 0xffff + 1
        }
        let mut rng = crate::rng::Rng::new(7);
        for round in 0..500 {
            let octets: Vec<u8> = (0..48).map(|_| if round == 0 { 0xff } else { rng.bits() as u8 }).collect();
            let part = |from: usize| <[u8; 16]>::try_from(&octets[from..from + 16]).unwrap();
            let token = Token(part(0));
            let four = |of: [u8; 16]| Ipv4Addr::new(of[0], of[1], of[2], of[3]);
            let packet = ipv4(four(part(16)), four(part(32)), token);
            assert_eq!((sum(&packet[..20]), sum(&packet[20..])), (0xffff, 0xffff), "{octets:?}");
            let packet = ipv6(part(16).into(), part(32).into(), token);
            let pseudo = [&packet[8..40], &[0, 0, 0, packet[5]], &[0, 0, 0, packet[6]], &packet[40..]].concat();
            assert_eq!(sum(&pseudo), 0xffff, "{octets:?}");
        }
    }

    #[test]
    fn families_do_not_mix() {
        let (four, six) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert_eq!(request(Encapsulation::Gue, four, six, token()), None);
        assert_eq!(request(Encapsulation::Fou, six, four, token()), None);
    }

    #[test]
    fn a_reply_is_told_by_type_code_and_payload() {
        let mut packet = ipv4([10, 98, 0, 11].into(), [10, 98, 0, 1].into(), token());
        assert_eq!(reply_in_ipv4(&packet), None, "a request");
        packet[20] = 0;
        assert_eq!(reply_in_ipv4(&packet), Some(token()));
        assert_eq!(reply_in_icmpv6(&packet[20..]), None, "the other family's type");
        let with_options = [&[0x47][..], &packet[1..20], &[1; 8], &packet[20..]].concat();
        assert_eq!(reply_in_ipv4(&with_options), Some(token()));

        let mut message = packet[20..].to_vec();
        message[0] = 129;
        assert_eq!(reply_in_icmpv6(&message), Some(token()));
        for (at, octet) in [(1, 1), (5, 1), (7, 1), (8, b'G'), (13, b'-'), (14, b'+'), (20, b'A'), (45, b' ')] {
            let mut other = message.clone();
            other[at] = octet;
            assert_eq!(reply_in_icmpv6(&other), None, "{octet} at {at}");
        }
        assert_eq!(reply_in_icmpv6(&[&message[..], b"0"].concat()), None);
    }

    #[test]
    fn no_length_is_too_short_to_be_looked_at() {
        let mut packet = ipv4([10, 98, 0, 11].into(), [10, 98, 0, 1].into(), token());
        packet[20] = 0;
        for length in 0..packet.len() {
            assert_eq!(reply_in_ipv4(&packet[..length]), None);
            assert_eq!(reply_in_icmpv6(&packet[..length]), None);
        }
        packet[0] = 0x4f;
        assert_eq!(reply_in_ipv4(&packet), None);
    }
}
