//! OPEN (RFC 4271 §4.2) and capabilities (RFC 5492).
//!
//! ```text
//! +---------+-------------------+-------------------+----------------------------+--------+-------------
//! | Version |  My AS, 2 octets  | Hold Time, 2      | BGP Identifier, 4 octets   | Length | Parameters …
//! +---------+-------------------+-------------------+----------------------------+--------+-------------
//! ```

use std::net::Ipv4Addr;

pub use super::capability::Capability;
use super::capability::{self, EXTENDED_NEXT_HOP, FQDN, IPV4_OVER_IPV6, MULTIPROTOCOL, ROLE, SOFTWARE_VERSION};
use super::error::Notification;
use super::wire::{Reader, Short, prefixed_u8, prefixed_u16};
use crate::config::{Asn, HoldTime};
use crate::prefix::Family;

const VERSION: u8 = 4;

/// The optional parameter that holds capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// In place of a first parameter's type: lengths of two octets follow (RFC 9072 §2).
const EXTENDED_LENGTH: u8 = 255;

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

    /// Whether the sender takes IPv4 routes with an IPv6 next hop (RFC 8950 §4). They come in MP_REACH_NLRI, which it must
    /// have said that it takes for IPv4.
    pub fn takes_extended_next_hop(&self) -> bool {
        let says_so = |capability: &Capability| match capability {
            Capability::Other(EXTENDED_NEXT_HOP, value) => value.as_chunks().0.contains(&IPV4_OVER_IPV6),
            _ => false,
        };
        self.capabilities.contains(&Capability::Multiprotocol(Family::Ipv4)) && self.capabilities.iter().any(says_so)
    }

    /// Whether a capability of this code is there.
    pub(super) fn has(&self, code: u8) -> bool {
        self.capabilities.iter().any(|capability| capability.code() == code)
    }

    /// The values of all capabilities of this code that have no form of their own here.
    fn values(&self, code: u8) -> impl Iterator<Item = &[u8]> {
        self.capabilities.iter().filter_map(move |capability| match capability {
            Capability::Other(other, value) if *other == code => Some(value.as_slice()),
            _ => None,
        })
    }

    /// What the sender says that it is to us, as values of the capability (RFC 9234 §4.1).
    pub(super) fn roles(&self) -> impl Iterator<Item = &[u8]> {
        self.values(ROLE)
    }

    /// What the sender says that it is, safe to show.
    pub fn software_version(&self) -> Option<String> {
        let version = Reader::new(self.values(SOFTWARE_VERSION).next()?).sub_u8().ok()?;
        capability::shown(version.rest())
    }

    /// The sender's name with its domain, safe to show.
    pub fn host_name(&self) -> Option<String> {
        let mut reader = Reader::new(self.values(FQDN).next()?);
        let host = capability::shown(reader.sub_u8().ok()?.rest())?;
        let domain = reader.sub_u8().ok().and_then(|domain| capability::shown(domain.rest()));
        Some(domain.map_or_else(|| host.clone(), |domain| format!("{host}.{domain}")))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Version to BGP Identifier, and then what comes.
    fn body(parameters: &[u8]) -> Vec<u8> {
        [&[4, 0xfd, 0xe9, 0, 90, 10, 0, 0, 1][..], parameters].concat()
    }

    fn open(capabilities: Vec<Capability>) -> Open {
        let hold_time = HoldTime::from_secs(90).unwrap();
        Open { asn: Asn(65001), hold_time, router_id: Ipv4Addr::new(10, 0, 0, 1), capabilities }
    }

    fn error(subcode: u8) -> Result<Open, Notification> {
        Err(Notification::new(2, subcode, []))
    }

    #[test]
    fn capabilities_come_in_one_parameter_or_in_many() {
        // GoBGP 3.10: all in one, `fqdn` and the extended next hop among them.
        let gobgp = [
            0x24, 0x02, 0x22, 0x02, 0x00, 0x49, 0x04, 0x02, 0x76, 0x6d, 0x00, 0x01, 0x04, 0x00, 0x01, 0x00, 0x01, 0x01,
            0x04, 0x00, 0x02, 0x00, 0x01, 0x41, 0x04, 0x00, 0x00, 0xfd, 0xf2, 0x05, 0x06, 0x00, 0x01, 0x00, 0x01, 0x00,
            0x02,
        ];
        let [ipv4, ipv6] = Family::ALL.map(Capability::Multiprotocol);
        let gobgp = Open::decode(&body(&gobgp)).unwrap();
        assert_eq!(gobgp.asn, Asn(65010));
        assert_eq!(
            gobgp.capabilities,
            [
                Capability::RouteRefresh,
                Capability::Other(73, vec![2, 0x76, 0x6d, 0]),
                ipv4.clone(),
                ipv6.clone(),
                Capability::FourOctetAs(Asn(65010)),
                Capability::Other(5, vec![0, 1, 0, 1, 0, 2]),
            ]
        );
        let many = [16, 2, 6, 1, 4, 0, 1, 0, 1, 2, 0, 2, 4, 2, 0, 131, 0];
        let expected = vec![ipv4, Capability::RouteRefresh, Capability::Other(131, vec![])];
        assert_eq!(Open::decode(&body(&many)), Ok(open(expected)));
        assert_eq!(Open::decode(&body(&[0])), Ok(open(vec![])));
        // A family that is not ours is kept as it is.
        let other = Open::decode(&body(&[8, 2, 6, 1, 4, 0, 25, 0, 70])).unwrap();
        assert_eq!(other.capabilities, [Capability::Other(1, vec![0, 25, 0, 70])]);
        assert!(!other.offers(Family::Ipv4) && open(vec![]).offers(Family::Ipv4) && !open(vec![]).offers(Family::Ipv6));
        assert!(gobgp.offers(Family::Ipv6) && gobgp.has_four_octet_as());
        assert!(gobgp.takes_extended_next_hop());
        let extended =
            |value: &[u8]| open(vec![Capability::Multiprotocol(Family::Ipv4), Capability::Other(5, value.to_vec())]);
        // Labelled IPv4 beside it; that alone; the octets astride; cut short.
        for (value, takes) in [
            (&[0, 1, 0, 4, 0, 2, 0, 1, 0, 1, 0, 2][..], true),
            (&[0, 1, 0, 4, 0, 2], false),
            (&[0, 0, 1, 0, 1, 0, 2, 0, 0, 0, 0, 0], false),
            (&[0, 1, 0, 1, 0], false),
            (&[], false),
        ] {
            assert_eq!(extended(value).takes_extended_next_hop(), takes, "{value:?}");
        }
        assert!(!open(vec![Capability::extended_next_hop()]).takes_extended_next_hop(), "without multiprotocol IPv4");
    }

    /// FRR 8.4.4, in as many parameters.
    #[test]
    fn golden_bytes_from_frr() {
        let parameters = [
            0x48, 2, 6, 1, 4, 0, 1, 0, 1, 2, 2, 0x80, 0, 2, 2, 2, 0, 2, 2, 0x46, 0, 2, 6, 0x41, 4, 0, 0, 0xfd, 0xe8, 2,
            2, 6, 0, 2, 3, 9, 1, 0, 2, 6, 0x45, 4, 0, 1, 1, 1, 2, 8, 0x49, 6, 4, b'f', b'r', b'r', b'1', 0, 2, 4, 0x40,
            2, 0xc0, 0x78, 2, 9, 0x47, 7, 0, 1, 1, 0x80, 0, 0, 0,
        ];
        let frr = Open::decode(&body(&parameters)).unwrap();
        let names: Vec<_> = frr.capabilities.iter().map(ToString::to_string).collect();
        let expected = [
            "multiprotocol ipv4",
            "prestandard-route-refresh",
            "route-refresh",
            "enhanced-route-refresh",
            "four-octet-as 65000",
            "extended-message",
            "role provider",
            "add-path",
            "fqdn",
            "graceful-restart",
            "long-lived-graceful-restart",
        ];
        assert_eq!(names, expected);
        assert_eq!((frr.host_name().as_deref(), frr.software_version()), (Some("frr1"), None));
        assert_eq!(frr.roles().collect::<Vec<_>>(), [[0]]);
    }

    #[test]
    fn extended_lengths() {
        // RFC 9072: the one-octet length means nothing then, unless it is 0.
        for length in [255, 1, 77] {
            let parameters = [length, 255, 0, 5, 2, 0, 2, 2, 0];
            assert_eq!(Open::decode(&body(&parameters)), Ok(open(vec![Capability::RouteRefresh])));
        }
        assert_eq!(Open::decode(&body(&[255, 255, 0, 6, 2, 0, 2, 2, 0])), error(0));
        assert_eq!(Open::decode(&body(&[0, 255, 0, 0])), error(0));
        // Many capabilities need them, both ways.
        let mut rng = Rng::new(9);
        for count in 0..40 {
            let other = |_| Capability::Other(200, (0..rng.below(100)).map(|octet| octet as u8).collect());
            let message = open((0..count).map(other).collect());
            let mut out = vec![];
            message.encode(&mut out);
            assert_eq!(Open::decode(&out), Ok(message));
        }
        // What has no encoding is left out, and the message stays one.
        let mut out = vec![];
        let unencodable = Capability::Other(201, vec![0; 256]);
        let excess = vec![Capability::Other(202, vec![0; 200]); 30];
        open([vec![unencodable, Capability::RouteRefresh], excess].concat()).encode(&mut out);
        assert!(out.len() < 4077);
        assert_eq!(Open::decode(&out).unwrap().capabilities.len(), 20);
    }

    #[test]
    fn a_wide_as_is_as_trans_in_the_narrow_field() {
        let wide = Open { asn: Asn(70_000), ..open(vec![Capability::FourOctetAs(Asn(70_000))]) };
        let mut out = vec![];
        wide.encode(&mut out);
        assert_eq!(out[1..3], Asn::TRANS.to_be_bytes());
        assert_eq!(Open::decode(&out), Ok(wide));
    }

    #[test]
    fn malformed_opens_get_the_notification_of_the_rfc() {
        for version in [0, 3, 5] {
            let mut body = body(&[0]);
            body[0] = version;
            assert_eq!(Open::decode(&body), Err(Notification::new(2, 1, [0, 4])));
        }
        let with = |at: usize, octets: &[u8]| {
            let mut body = body(&[0]);
            body[at..at + octets.len()].copy_from_slice(octets);
            Open::decode(&body)
        };
        assert_eq!(with(1, &[0, 0]), error(2));
        assert_eq!(with(3, &[0, 1]), error(6));
        assert_eq!(with(3, &[0, 2]), error(6));
        assert_eq!(with(3, &[0, 0]).unwrap().hold_time, HoldTime::OFF);
        assert_eq!(with(5, &[0, 0, 0, 0]), error(3));
        for (subcode, parameters) in [
            (2, &[8, 2, 6, 65, 4, 0, 0, 0, 0][..]), // a 4-octet AS that is 0
            (4, &[3, 1, 1, 0]),                     // Authentication
            (4, &[2, 77, 0]),
            (0, &[]),                        // no length
            (0, &[1]),                       // shorter than it says
            (0, &[0, 0]),                    // longer
            (0, &[2, 2, 1]),                 // a parameter that runs over
            (0, &[4, 2, 2, 65, 4]),          // a capability that runs over
            (0, &[3, 2, 1, 2]),              // ... without a length
            (0, &[7, 2, 5, 65, 3, 0, 0, 1]), // a 4-octet AS of three octets
            (0, &[7, 2, 5, 1, 3, 0, 1, 0]),  // a family of three
            (0, &[5, 2, 3, 2, 1, 0]),        // route refresh with a value
        ] {
            assert_eq!(Open::decode(&body(parameters)), error(subcode), "{parameters:?}");
        }
    }
}
