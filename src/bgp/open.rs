//! OPEN (RFC 4271 §4.2) and capabilities (RFC 5492).

use std::net::Ipv4Addr;

use crate::config::{Asn, HoldTime};
use crate::prefix::Family;

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
