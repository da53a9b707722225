//! OPEN (RFC 4271 §4.2) and capabilities (RFC 5492).
//!
//! ```text
//! +---------+-------------------+-------------------+----------------------------+--------+-------------
//! | Version |  My AS, 2 octets  | Hold Time, 2      | BGP Identifier, 4 octets   | Length | Parameters …
//! +---------+-------------------+-------------------+----------------------------+--------+-------------
//! ```

use std::net::Ipv4Addr;

use super::error::Notification;
use super::message::{UNICAST, afi, family_of};
use super::wire::{Reader, Short, prefixed_u8, prefixed_u16};
use crate::config::{Asn, HoldTime};
use crate::prefix::Family;

const VERSION: u8 = 4;

/// The optional parameter that holds capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// In place of a first parameter's type: lengths of two octets follow (RFC 9072 §2).
const EXTENDED_LENGTH: u8 = 255;

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const FOUR_OCTET_AS: u8 = 65;

/// The capabilities of one message end here, so that it stays within 4,096 octets. Only a caller's `Other` can get there.
const CAPABILITIES_MAX: usize = 4000;

/// An OPEN. As received, `asn` is the one of the 4-octet capability where there is one (RFC 6793 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS.
    pub asn: Asn,
    /// What the sender offers.
    pub hold_time: HoldTime,
    /// The sender's BGP Identifier.
    pub router_id: Ipv4Addr,
    /// In the order sent.
    pub capabilities: Vec<Capability>,
}

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

impl Open {
    /// Decodes the body of an OPEN.
    ///
    /// # Errors
    /// The NOTIFICATION of RFC 4271 §6.2.
    pub fn decode(body: &[u8]) -> Result<Open, Notification> {
        let mut reader = Reader::new(body);
        let short = |_: Short| Notification::malformed_open();
        if reader.u8().map_err(short)? != VERSION {
            return Err(Notification::unsupported_version());
        }
        let two_octet_as = reader.u16().map_err(short)?;
        let hold_time = reader.u16().map_err(short)?;
        let router_id = Ipv4Addr::from(reader.u32().map_err(short)?);
        let capabilities = decode_parameters(reader)?;
        let four_octet_as = capabilities.iter().rev().find_map(|capability| match capability {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        let asn = four_octet_as.unwrap_or(Asn(two_octet_as.into()));
        // AS 0 is nobody's, in either field (RFC 7607 §2).
        if two_octet_as == 0 || asn == Asn(0) {
            return Err(Notification::bad_peer_as());
        }
        let hold_time = HoldTime::from_secs(hold_time).ok_or_else(Notification::unacceptable_hold_time)?;
        // Any other value will do: it need not be an address (RFC 6286 §2.1).
        if router_id.is_unspecified() {
            return Err(Notification::bad_bgp_identifier());
        }
        Ok(Open { asn, hold_time, router_id, capabilities })
    }

    /// Appends the encoded body to `out`. Capabilities go into one parameter; if they exceed 253 octets, with extended
    /// lengths (RFC 9072). One whose value exceeds 255 octets has no encoding, and is left out.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend(self.asn.as_u16().to_be_bytes());
        out.extend(self.hold_time.as_secs().to_be_bytes());
        out.extend(self.router_id.octets());
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            let start = capabilities.len();
            let written = capability.encode(&mut capabilities);
            if !written || capabilities.len() > CAPABILITIES_MAX {
                capabilities.truncate(start);
            }
        }
        if capabilities.is_empty() {
            out.push(0);
            return;
        }
        let mut parameter = vec![CAPABILITIES];
        let fits = prefixed_u8(&mut parameter, |out| out.extend_from_slice(&capabilities)).is_ok()
            && prefixed_u8(out, |out| out.extend_from_slice(&parameter)).is_ok();
        if !fits {
            out.extend([EXTENDED_LENGTH, EXTENDED_LENGTH]);
            let extended = prefixed_u16(out, |out| {
                out.push(CAPABILITIES);
                let inner = prefixed_u16(out, |out| out.extend_from_slice(&capabilities));
                debug_assert!(inner.is_ok(), "cut above");
            });
            debug_assert!(extended.is_ok(), "cut above");
        }
    }

    /// Whether the sender can do `family`. Without any multiprotocol capability that is IPv4 alone (RFC 4760 §8).
    pub fn offers(&self, family: Family) -> bool {
        let is_multiprotocol = |capability: &Capability| match capability {
            Capability::Multiprotocol(_) => true,
            Capability::Other(code, _) => *code == MULTIPROTOCOL,
            _ => false,
        };
        if self.capabilities.iter().any(is_multiprotocol) {
            self.capabilities.contains(&Capability::Multiprotocol(family))
        } else {
            family == Family::Ipv4
        }
    }

    /// Whether the sender writes AS numbers with 4 octets (RFC 6793 §3).
    pub fn has_four_octet_as(&self) -> bool {
        self.capabilities.iter().any(|capability| matches!(capability, Capability::FourOctetAs(_)))
    }
}

/// The capabilities of all parameters; a sender may spread them (RFC 5492 §4).
fn decode_parameters(mut reader: Reader<'_>) -> Result<Vec<Capability>, Notification> {
    let malformed = |_: Short| Notification::malformed_open();
    let extended = matches!(reader.rest(), [1..=u8::MAX, EXTENDED_LENGTH, ..]);
    let mut parameters = if extended {
        // The one-octet length then means nothing (RFC 9072 §2).
        reader.take(2).map_err(malformed)?;
        reader.sub_u16().map_err(malformed)?
    } else {
        reader.sub_u8().map_err(malformed)?
    };
    if !reader.is_empty() {
        return Err(Notification::malformed_open());
    }
    let mut capabilities = Vec::new();
    while !parameters.is_empty() {
        let kind = parameters.u8().map_err(malformed)?;
        let value = if extended { parameters.sub_u16() } else { parameters.sub_u8() };
        let mut value = value.map_err(malformed)?;
        if kind != CAPABILITIES {
            return Err(Notification::unsupported_optional_parameter());
        }
        while !value.is_empty() {
            let code = value.u8().map_err(malformed)?;
            let content = value.sub_u8().map_err(malformed)?;
            capabilities.push(Capability::decode(code, content.rest())?);
        }
    }
    Ok(capabilities)
}

impl Capability {
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
    fn decode(code: u8, value: &[u8]) -> Result<Capability, Notification> {
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
    fn encode(&self, out: &mut Vec<u8>) -> bool {
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
            Capability::Other(5, _) => "extended-next-hop", // RFC 8950
            Capability::Other(6, _) => "extended-message",  // RFC 8654
            Capability::Other(9, _) => "role",              // RFC 9234
            Capability::Other(64, _) => "graceful-restart", // RFC 4724
            Capability::Other(69, _) => "add-path",         // RFC 7911
            Capability::Other(70, _) => "enhanced-route-refresh", // RFC 7313
            Capability::Other(71, _) => "long-lived-graceful-restart", // RFC 9494
            Capability::Other(73, _) => "fqdn",
            Capability::Other(75, _) => "software-version",
            Capability::Other(code, _) => return write!(f, "{code}"),
        };
        f.write_str(name)
    }
}
