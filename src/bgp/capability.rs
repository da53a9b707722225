//! Capabilities (RFC 5492): what one side of a session can do, one by one.
//!
//! ```text
//! +---------+---------+----------
//! |  Code   | Length  | Value …
//! +---------+---------+----------
//! ```

use super::error::Notification;
use super::message::{UNICAST, afi, family_of};
use super::wire::{Reader, prefixed_u8};
use crate::config::{Asn, Role};
use crate::prefix::Family;

// IANA, "Capability Codes".
pub(super) const MULTIPROTOCOL: u8 = 1;
pub(super) const ROUTE_REFRESH: u8 = 2;
/// RFC 8950 §4.
pub(super) const EXTENDED_NEXT_HOP: u8 = 5;
/// RFC 8654 §3.
pub(super) const EXTENDED_MESSAGE: u8 = 6;
/// RFC 9234 §4.1.
pub(super) const ROLE: u8 = 9;
pub(super) const FOUR_OCTET_AS: u8 = 65;
/// RFC 7313 §3.1.
pub(super) const ENHANCED_ROUTE_REFRESH: u8 = 70;
/// draft-walton-bgp-hostname-capability.
pub(super) const FQDN: u8 = 73;
/// draft-ietf-idr-software-version.
pub(super) const SOFTWARE_VERSION: u8 = 75;

/// AFI and SAFI of the routes, AFI of the next hop (RFC 8950 §4): IPv4 unicast with an IPv6 next hop.
pub(super) const IPV4_OVER_IPV6: [u8; 6] = [0, 1, 0, UNICAST, 0, 2];

/// The longest name or version that we send. The drafts leave room for 64 octets.
const TEXT_MAX: usize = 64;

/// A capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Code 1 (RFC 4760 §8), one of our families.
    Multiprotocol(Family),
    /// Code 2 (RFC 2918).
    RouteRefresh,
    /// Code 65 (RFC 6793).
    FourOctetAs(Asn),
    /// Any other: code and value.
    Other(u8, Vec<u8>),
}

impl Capability {
    /// Code 5: IPv4 unicast routes may have an IPv6 next hop (RFC 8950 §4).
    pub fn extended_next_hop() -> Capability {
        Capability::Other(EXTENDED_NEXT_HOP, IPV4_OVER_IPV6.to_vec())
    }

    /// Code 6: messages of more than 4,096 octets (RFC 8654 §3).
    pub fn extended_message() -> Capability {
        Capability::Other(EXTENDED_MESSAGE, Vec::new())
    }

    /// Code 9: what the sender is to the receiver (RFC 9234 §4.1).
    pub fn role(role: Role) -> Capability {
        Capability::Other(ROLE, vec![role_number(role)])
    }

    /// Code 70: answers to a ROUTE-REFRESH have a beginning and an end (RFC 7313 §3.1).
    pub fn enhanced_route_refresh() -> Capability {
        Capability::Other(ENHANCED_ROUTE_REFRESH, Vec::new())
    }

    /// Code 73: the sender's name and, after the first dot, its domain.
    pub fn fqdn(name: &str) -> Capability {
        let (host, domain) = name.split_once('.').unwrap_or((name, ""));
        Capability::Other(FQDN, [text(host), text(domain)].concat())
    }

    /// Code 75: what the sender is.
    pub fn software_version(version: &str) -> Capability {
        Capability::Other(SOFTWARE_VERSION, text(version))
    }

    /// The code (IANA, "Capability Codes").
    pub fn code(&self) -> u8 {
        match self {
            Capability::Multiprotocol(_) => MULTIPROTOCOL,
            Capability::RouteRefresh => ROUTE_REFRESH,
            Capability::FourOctetAs(_) => FOUR_OCTET_AS,
            Capability::Other(code, _) => *code,
        }
    }

    /// A capability that we know, of a length that it cannot have, is a recognised parameter that is malformed: subcode
    /// 0 (RFC 4271 §6.2). Guessing on would risk a session that both sides read differently.
    pub(super) fn decode(code: u8, value: &[u8]) -> Result<Capability, Notification> {
        match (code, value) {
            (MULTIPROTOCOL, [afi_high, afi_low, _, safi]) => {
                let family = family_of(u16::from_be_bytes([*afi_high, *afi_low]), *safi);
                Ok(family.map_or_else(|| Capability::Other(code, value.to_vec()), Capability::Multiprotocol))
            }
            (ROUTE_REFRESH, []) => Ok(Capability::RouteRefresh),
            (FOUR_OCTET_AS, [a, b, c, d]) => Ok(Capability::FourOctetAs(Asn(u32::from_be_bytes([*a, *b, *c, *d])))),
            (MULTIPROTOCOL | ROUTE_REFRESH | FOUR_OCTET_AS, _) => Err(Notification::malformed_open()),
            _ => Ok(Capability::Other(code, value.to_vec())),
        }
    }

    /// Appends code, length and value; false, and nothing appended, if the value is too long.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.push(self.code());
        let written = prefixed_u8(out, |out| match self {
            Capability::Multiprotocol(family) => {
                out.extend(afi(*family).to_be_bytes());
                out.extend([0, UNICAST]);
            }
            Capability::RouteRefresh => {}
            Capability::FourOctetAs(asn) => out.extend(asn.0.to_be_bytes()),
            Capability::Other(_, value) => out.extend_from_slice(value),
        });
        if written.is_err() {
            out.truncate(start);
        }
        written.is_ok()
    }
}

impl std::fmt::Display for Capability {
    /// As `listen` prints it: `multiprotocol ipv4`, `four-octet-as 65001`, `graceful-restart`, `128`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Capability::Multiprotocol(family) => return write!(f, "multiprotocol {family}"),
            Capability::FourOctetAs(asn) => return write!(f, "four-octet-as {asn}"),
            Capability::Other(MULTIPROTOCOL, value) => {
                let mut reader = Reader::new(value);
                let (Ok(afi), Ok(_), Ok(safi)) = (reader.u16(), reader.u8(), reader.u8()) else {
                    return f.write_str("multiprotocol");
                };
                return write!(f, "multiprotocol {afi}/{safi}");
            }
            Capability::RouteRefresh => "route-refresh",
            Capability::Other(ROLE, value) => {
                return match value.as_slice() {
                    [number] => match role_of(*number) {
                        Some(role) => write!(f, "role {role}"),
                        None => write!(f, "role {number}"),
                    },
                    _ => f.write_str("role"),
                };
            }
            Capability::Other(code, _) => match name_of(*code) {
                Some(name) => name,
                None => return write!(f, "{code}"),
            },
        };
        f.write_str(name)
    }
}

/// IANA, "Capability Codes", without those whose name says more with their value.
fn name_of(code: u8) -> Option<&'static str> {
    Some(match code {
        3 => "outbound-route-filtering", // RFC 5291
        4 => "multiple-routes",          // RFC 8277, deprecated
        EXTENDED_NEXT_HOP => "extended-next-hop",
        EXTENDED_MESSAGE => "extended-message",
        7 => "bgpsec",            // RFC 8205
        8 => "multiple-labels",   // RFC 8277
        64 => "graceful-restart", // RFC 4724
        67 => "dynamic-capability",
        68 => "multisession",
        69 => "add-path", // RFC 7911
        ENHANCED_ROUTE_REFRESH => "enhanced-route-refresh",
        71 => "long-lived-graceful-restart", // RFC 9494
        72 => "routing-policy-distribution",
        FQDN => "fqdn",
        74 => "bfd-strict-mode",
        SOFTWARE_VERSION => "software-version",
        76 => "paths-limit",
        128 => "prestandard-route-refresh",
        129 => "prestandard-routing-policy-distribution",
        130 => "prestandard-outbound-route-filtering",
        131 => "prestandard-multisession",
        184 => "prestandard-fqdn",
        185 => "prestandard-operational-message",
        _ => return None,
    })
}

/// RFC 9234 §4.1, table 1.
fn role_number(role: Role) -> u8 {
    match role {
        Role::Provider => 0,
        Role::RouteServer => 1,
        Role::RouteServerClient => 2,
        Role::Customer => 3,
        Role::Peer => 4,
    }
}

/// The role of a number; `None` for one that is not assigned.
pub(super) fn role_of(number: u8) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role_number(*role) == number)
}

/// A length of one octet and a text, cut at a character to what there is room for.
fn text(text: &str) -> Vec<u8> {
    let longest = text.len().min(TEXT_MAX);
    let text = (0..=longest).rev().find_map(|end| text.get(..end)).unwrap_or_default();
    let mut out = Vec::new();
    let written = prefixed_u8(&mut out, |out| out.extend_from_slice(text.as_bytes()));
    debug_assert!(written.is_ok(), "cut above");
    out
}

/// A text from outside that is safe to show: on one line, without control characters or what turns a line around.
pub(crate) fn shown(octets: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(octets)
        .chars()
        .flat_map(|c| {
            let plain = matches!(c, '"' | '\'' | '\\');
            let escaped = c.escape_debug().filter(move |_| !plain);
            escaped.chain(Some(c).filter(|_| plain))
        })
        .collect();
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As FRR and BIRD write them, where they do.
    #[test]
    fn golden_bytes() {
        for (capability, octets) in [
            (Capability::extended_message(), &[6, 0][..]),
            (Capability::enhanced_route_refresh(), &[70, 0]),
            (Capability::role(Role::Customer), &[9, 1, 3]),
            (Capability::fqdn("vm"), b"\x49\x04\x02vm\x00"),
            (Capability::fqdn("a.example.net"), b"\x49\x0e\x01a\x0bexample.net"),
            (Capability::software_version("Herald/0.1.0"), b"\x4b\x0d\x0cHerald/0.1.0"),
        ] {
            let mut out = vec![];
            assert!(capability.encode(&mut out));
            assert_eq!(out, octets);
            assert_eq!(Capability::decode(octets[0], &octets[2..]), Ok(capability));
        }
        let long = Capability::fqdn(&format!("{}.{}", "é".repeat(99), "x".repeat(300)));
        assert_eq!(long, Capability::Other(73, [&[64][..], "é".repeat(32).as_bytes(), &[64], &[b'x'; 64]].concat()));
        for role in Role::ALL {
            assert_eq!(role_of(role_number(role)), Some(role));
        }
        assert_eq!(role_of(5), None);
    }

    #[test]
    fn texts_from_outside_are_safe_to_show() {
        for (octets, text) in [
            (&b"FRRouting/8.4.4"[..], Some("FRRouting/8.4.4")),
            ("it's \"újra\" \\".as_bytes(), Some("it's \"újra\" \\")),
            (b"\x1b[2J\n\0", Some("\\u{1b}[2J\\n\\0")),
            ("\u{202e}x".as_bytes(), Some("\\u{202e}x")),
            (b"\xff", Some("\u{fffd}")),
            (b"", None),
        ] {
            assert_eq!(shown(octets).as_deref(), text);
        }
    }

    #[test]
    fn named_for_people() {
        for (capability, text) in [
            (Capability::Multiprotocol(Family::Ipv6), "multiprotocol ipv6"),
            (Capability::FourOctetAs(Asn(70_000)), "four-octet-as 70000"),
            (Capability::Other(1, vec![0, 25, 0, 70]), "multiprotocol 25/70"),
            (Capability::Other(64, vec![]), "graceful-restart"),
            (Capability::role(Role::RouteServerClient), "role rs-client"),
            (Capability::Other(9, vec![77]), "role 77"),
            (Capability::Other(9, vec![]), "role"),
            (Capability::Other(250, vec![1]), "250"),
        ] {
            assert_eq!(capability.to_string(), text);
        }
    }
}
