//! Path attributes on the wire (RFC 4271 §4.3, §5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Asn, Community, LargeCommunity, Origin};

/// The attributes of a route as they stand in an UPDATE to one peer, next hop and all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathAttributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH; as received from a 2-octet speaker merged with AS4_PATH (RFC 6793 §4.2.3).
    pub as_path: Vec<Segment>,
    /// NEXT_HOP, or the next hop of MP_REACH_NLRI.
    pub next_hop: NextHop,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// COMMUNITIES.
    pub communities: Vec<Community>,
    /// LARGE_COMMUNITY.
    pub large_communities: Vec<LargeCommunity>,
}

/// A segment of an AS_PATH.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// AS_SET.
    Set(Vec<Asn>),
    /// AS_SEQUENCE.
    Sequence(Vec<Asn>),
}

/// A next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextHop {
    /// For IPv4 routes.
    Ipv4(Ipv4Addr),
    /// One global address (RFC 2545 §3).
    Ipv6(Ipv6Addr),
    /// A global and a link-local address (RFC 2545 §3).
    Ipv6Pair(Ipv6Addr, Ipv6Addr),
}

impl NextHop {
    /// The addresses, the global one first.
    pub fn addresses(self) -> Vec<IpAddr> {
        match self {
            NextHop::Ipv4(address) => vec![address.into()],
            NextHop::Ipv6(address) => vec![address.into()],
            NextHop::Ipv6Pair(global, local) => vec![global.into(), local.into()],
        }
    }
}
