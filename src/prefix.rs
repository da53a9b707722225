//! IP prefixes without host bits, and the two address families.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// An address family; all of Herald's routes are unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl Family {
    /// Both, in the order in which they are announced.
    pub const ALL: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// As written in configuration and output.
    pub fn name(self) -> &'static str {
        match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A prefix. It cannot have host bits, so two equal prefixes are the same route.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix(IpNet);

/// IPv4 first, then by address, then the shorter first. As [`IpNet`] has it, but by numbers: half the work of many changes
/// is to find prefixes in maps, and octet by octet it takes several times as long.
impl Ord for Prefix {
    fn cmp(&self, other: &Prefix) -> Ordering {
        match (&self.0, &other.0) {
            (IpNet::V4(one), IpNet::V4(other)) => {
                let number = |net: &Ipv4Net| (u64::from(net.addr().to_bits()) << 8) | u64::from(net.prefix_len());
                number(one).cmp(&number(other))
            }
            (IpNet::V6(one), IpNet::V6(other)) => {
                let number = |net: &Ipv6Net| (net.addr().to_bits(), net.prefix_len());
                number(one).cmp(&number(other))
            }
            (IpNet::V4(_), IpNet::V6(_)) => Ordering::Less,
            (IpNet::V6(_), IpNet::V4(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Prefix) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Prefix {
    /// Fails when `len` is too long for the address or bits are set beyond it.
    pub fn new(address: IpAddr, len: u8) -> Result<Prefix, PrefixError> {
        let net = IpNet::new(address, len).map_err(|_| PrefixError::Length { len, max: max_len(address) })?;
        if net.addr() != net.network() {
            return Err(PrefixError::HostBits { given: net.to_string(), network: net.trunc().to_string() });
        }
        Ok(Prefix(net))
    }

    /// The /32 or /128 of one address.
    pub fn host(address: IpAddr) -> Prefix {
        Prefix(IpNet::from(address))
    }

    /// The prefix of `len` bits that covers `address`; bits beyond `len` are dropped, and a `len` too long is cut.
    pub fn covering(address: IpAddr, len: u8) -> Prefix {
        let len = len.min(max_len(address));
        Prefix(IpNet::new(address, len).map_or_else(|_| IpNet::from(address), |net| net.trunc()))
    }

    /// The network address.
    pub fn address(&self) -> IpAddr {
        self.0.addr()
    }

    /// The length in bits.
    #[expect(clippy::len_without_is_empty, reason = "a prefix length, not a count")]
    pub fn len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether it is one address.
    pub fn is_host(&self) -> bool {
        self.len() == max_len(self.address())
    }

    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        Family::of(self.address())
    }

    /// Whether `other` lies within this prefix (or is it).
    pub fn contains(&self, other: &Prefix) -> bool {
        self.0.contains(&other.0)
    }
}

fn max_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Why a text or a pair is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address, or not `address/length`.
    #[error("`{0}` is not an IP address or prefix")]
    Syntax(String),
    /// Longer than the family allows.
    #[error("prefix length {len} is longer than {max}")]
    Length {
        /// As given.
        len: u8,
        /// 32 or 128.
        max: u8,
    },
    /// Bits beyond the length.
    #[error("`{given}` has host bits set; the network is `{network}`")]
    HostBits {
        /// As given.
        given: String,
        /// What was probably meant.
        network: String,
    },
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `192.0.2.0/24`, or a bare address for a host prefix.
    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let syntax = || PrefixError::Syntax(text.to_owned());
        let (address, len) = match text.split_once('/') {
            None => (text, None),
            Some((address, len)) => (address, Some(len)),
        };
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        match len {
            None => Ok(Prefix::host(address)),
            // `u8::from_str` takes a leading plus sign; a prefix length has none.
            Some(len) if len.bytes().all(|b| b.is_ascii_digit()) => {
                Prefix::new(address, len.parse().map_err(|_| syntax())?)
            }
            Some(_) => Err(syntax()),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Ipv4Addr> for Prefix {
    fn from(address: Ipv4Addr) -> Prefix {
        Prefix::host(address.into())
    }
}

impl From<Ipv6Addr> for Prefix {
    fn from(address: Ipv6Addr) -> Prefix {
        Prefix::host(address.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_prints_and_refuses() {
        for (text, printed) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), printed);
        }
        for text in ["", "x", "192.0.2.1/", "192.0.2.1/+8", "192.0.2.0/999", "fe80::1%eth0", "192.0.2"] {
            assert!(matches!(text.parse::<Prefix>(), Err(PrefixError::Syntax(_))), "{text}");
        }
        assert!(matches!("192.0.2.0/33".parse::<Prefix>(), Err(PrefixError::Length { len: 33, max: 32 })));
        let error = "192.0.2.1/24".parse::<Prefix>().unwrap_err();
        assert_eq!(error.to_string(), "`192.0.2.1/24` has host bits set; the network is `192.0.2.0/24`");
    }

    #[test]
    fn the_order_is_that_of_the_library() {
        let nets = [
            "0.0.0.0/0",
            "0.0.0.0/32",
            "10.0.0.0/8",
            "10.0.0.0/32",
            "10.0.0.255/32",
            "10.0.1.0/24",
            "127.255.255.255/32",
            "128.0.0.0/1",
            "255.255.255.255/32",
            "::/0",
            "::/128",
            "::1/128",
            "::1:0:0:0/64",
            "2001:db8::/32",
            "2001:db8::/128",
            "8000::/1",
            "ffff::/16",
        ];
        let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
        assert!(nets.is_sorted());
        for (a, b) in nets.iter().flat_map(|a| nets.iter().map(move |b| (*a, *b))) {
            assert_eq!(Prefix(a).cmp(&Prefix(b)), a.cmp(&b), "{a} {b}");
        }
    }

    #[test]
    fn containment() {
        let wide: Prefix = "192.0.2.0/24".parse().unwrap();
        assert!(wide.contains(&"192.0.2.9".parse().unwrap()) && wide.contains(&wide));
        assert!(!wide.contains(&"192.0.0.0/16".parse().unwrap()));
        assert!(!wide.contains(&"2001:db8::".parse().unwrap()));
    }
}
