//! Extended communities (RFC 4360, RFC 5668).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::attributes::number;

/// An extended community, as its eight octets: `Type | Sub-Type | Value` (RFC 4360 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtendedCommunity(pub [u8; 8]);

/// By what the first half of the value is (RFC 4360 §3.1, §3.2; RFC 5668 §2).
const TWO_OCTET_AS: u8 = 0x00;
const IPV4_ADDRESS: u8 = 0x01;
const FOUR_OCTET_AS: u8 = 0x02;

/// The sub-types that have a name, in all three types alike: Route Target and Route Origin (RFC 4360 §4, §5).
const SUB_TYPES: [(&str, u8); 2] = [("rt", 0x02), ("soo", 0x03)];
/// Names what has no other form.
const GENERIC: &str = "generic";
/// The T bit of the type.
const NON_TRANSITIVE: u8 = 0x40;

impl ExtendedCommunity {
    /// Whether it may cross the border of an AS (RFC 4360 §2).
    pub fn is_transitive(self) -> bool {
        let [kind, ..] = self.0;
        kind & NON_TRANSITIVE == 0
    }

    /// Whether a text wants to be one: it begins with a word and a colon.
    pub fn is_meant_by(text: &str) -> bool {
        text.split_once(':').is_some_and(|(word, _)| word.starts_with(|c: char| c.is_ascii_alphabetic()))
    }
}

fn two_and_four(kind: u8, sub: u8, first: u16, second: u32) -> ExtendedCommunity {
    let ([a, b], [c, d, e, f]) = (first.to_be_bytes(), second.to_be_bytes());
    ExtendedCommunity([kind, sub, a, b, c, d, e, f])
}

fn four_and_two(kind: u8, sub: u8, first: u32, second: u16) -> ExtendedCommunity {
    let ([a, b, c, d], [e, f]) = (first.to_be_bytes(), second.to_be_bytes());
    ExtendedCommunity([kind, sub, a, b, c, d, e, f])
}

/// One to eight hexadecimal digits after `0x`.
fn hexadecimal(text: &str) -> Result<u32, ()> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())).ok_or(())?;
    u32::from_str_radix(digits, 16).map_err(|_| ())
}

impl FromStr for ExtendedCommunity {
    type Err = ();

    /// `rt:65000:100`, `rt:192.0.2.1:5`, `rt:4200000001:7`, likewise `soo`; `rt:65000L:7` for a small AS number in the
    /// form of the large ones; `generic:0x43000000:0x1` for the octets of any.
    fn from_str(text: &str) -> Result<ExtendedCommunity, ()> {
        let mut parts = text.split(':');
        let (Some(name), Some(first), Some(second), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        if name == GENERIC {
            let octets = u64::from(hexadecimal(first)?) << 32 | u64::from(hexadecimal(second)?);
            return Ok(ExtendedCommunity(octets.to_be_bytes()));
        }
        let (_, sub) = SUB_TYPES.into_iter().find(|(known, _)| *known == name).ok_or(())?;
        if let Ok(address) = first.parse::<Ipv4Addr>() {
            return Ok(four_and_two(IPV4_ADDRESS, sub, address.into(), number(second)?));
        }
        if let Some(first) = first.strip_suffix('L') {
            return Ok(four_and_two(FOUR_OCTET_AS, sub, number(first)?, number(second)?));
        }
        let asn: u32 = number(first)?;
        match u16::try_from(asn) {
            Ok(asn) => Ok(two_and_four(TWO_OCTET_AS, sub, asn, number(second)?)),
            Err(_) => Ok(four_and_two(FOUR_OCTET_AS, sub, asn, number(second)?)),
        }
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, sub, a, b, c, d, e, g] = self.0;
        let name = SUB_TYPES.iter().find(|(_, known)| *known == sub).map(|(name, _)| *name);
        let (four, two) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, g]));
        match (name, kind) {
            (Some(name), TWO_OCTET_AS) => {
                write!(f, "{name}:{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, g]))
            }
            (Some(name), IPV4_ADDRESS) => write!(f, "{name}:{}:{two}", Ipv4Addr::from(four)),
            (Some(name), FOUR_OCTET_AS) => {
                let suffix = if u16::try_from(four).is_ok() { "L" } else { "" };
                write!(f, "{name}:{four}{suffix}:{two}")
            }
            _ => {
                let (high, low) = (u32::from_be_bytes([kind, sub, a, b]), u32::from_be_bytes([c, d, e, g]));
                write!(f, "{GENERIC}:{high:#x}:{low:#x}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (text, octets) in [
            ("rt:65000:100", 0x0002_fde8_0000_0064_u64),
            ("rt:65000:4294967295", 0x0002_fde8_ffff_ffff),
            ("soo:65000:1", 0x0003_fde8_0000_0001),
            ("rt:192.0.2.1:5", 0x0102_c000_0201_0005),
            ("rt:4200000001:7", 0x0202_fa56_ea01_0007),
            ("soo:65536:65535", 0x0203_0001_0000_ffff),
            ("rt:65000L:7", 0x0202_0000_fde8_0007),
            ("generic:0x43000000:0x1", 0x4300_0000_0000_0001),
            ("generic:0x0:0xffffffff", 0x0000_0000_ffff_ffff),
        ] {
            let community = ExtendedCommunity(octets.to_be_bytes());
            assert_eq!(text.parse(), Ok(community));
            assert_eq!(community.to_string(), text);
            assert_eq!(community.is_transitive(), !text.contains("0x43"));
            assert!(ExtendedCommunity::is_meant_by(text));
        }
        for text in [
            "rt",
            "rt:1",
            "rt:1:2:3",
            "rt:1:",
            "rt::1",
            "rt:-1:1",
            "rt:+1:1",
            "RT:1:1",
            "target:1:1",
            "rt:65536:65536",
            "rt:65000:4294967296",
            "rt:4294967296:1",
            "rt:192.0.2.1:65536",
            "rt:1L:65536",
            "rt:L:1",
            "rt:2001:db8::1:1",
            "generic:0x:0x1",
            "generic:0x+1:0x1",
            "generic:0x100000000:0x1",
            "generic:1:1",
        ] {
            assert_eq!(text.parse::<ExtendedCommunity>(), Err(()), "{text}");
        }
        assert!(!ExtendedCommunity::is_meant_by("65000:1:2") && !ExtendedCommunity::is_meant_by("no-export"));
    }
}
