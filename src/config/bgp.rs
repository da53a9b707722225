//! `[bgp]` and `[[bgp.peer]]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::attributes::{Asn, Attributes};
use super::export::ExportFilter;
use super::transport::Transport;
use crate::prefix::Family;

/// `[bgp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// Our AS; not 0, not AS_TRANS.
    pub local_as: Asn,
    /// Our BGP Identifier; not 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// `[[bgp.peer]]`, in the order of the files. Names are unique, and so are address, zone, port and
    /// interface together.
    pub peers: Vec<Arc<Peer>>,
}

/// `[[bgp.peer]]`, complete: what `[bgp]` sets for all is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Unique; the peer's identity across reloads.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: IpAddr,
    /// The interface of a link-local address (`fe80::1%eth0`).
    pub zone: Option<String>,
    /// 179 unless set.
    pub port: u16,
    /// The address that we connect from; the kernel's choice unless set. Of the same family as `address`.
    pub source: Option<IpAddr>,
    /// What else the connection is made with.
    pub transport: Transport,
    /// Our AS.
    pub local_as: Asn,
    /// Our BGP Identifier.
    pub router_id: Ipv4Addr,
    /// The AS that the peer must have.
    pub peer_as: PeerAs,
    /// Sorted, without duplicates, not empty.
    pub families: Vec<Family>,
    /// For IPv4 routes.
    pub next_hop_ipv4: NextHop4,
    /// For IPv6 routes.
    pub next_hop_ipv6: NextHop6,
    /// Whether IPv4 routes may have an IPv6 next hop, if the peer agrees (RFC 8950).
    pub extended_next_hop: bool,
    /// What we offer.
    pub hold_time: HoldTime,
    /// How soon a router that is back is noticed: attempts start at most so far apart, the first ones sooner. After
    /// NOTIFICATIONs the wait begins with this and doubles, up to a minute.
    pub connect_retry: Duration,
    /// For all routes to this peer; a VIP's own word goes first.
    pub attributes: Attributes,
    /// Which routes the peer gets.
    pub export: ExportFilter,
}

impl Peer {
    /// Where it listens, and by which interface it is reached: no two peers of one configuration share it.
    pub fn endpoint(&self) -> (IpAddr, Option<String>, u16, Option<String>) {
        (self.address, self.zone.clone(), self.port, self.transport.interface.clone())
    }

    /// The TTL or hop limit of what we send it; `None` is the system's choice.
    pub fn sent_ttl(&self) -> Option<u8> {
        self.transport.reach.sent_ttl(self.is_internal())
    }

    /// Whether the peer is in our own AS, as far as the configuration tells.
    pub fn is_internal(&self) -> bool {
        match self.peer_as {
            PeerAs::Number(asn) => asn == self.local_as,
            PeerAs::Internal => true,
            PeerAs::External => false,
        }
    }
}

/// `peer_as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAs {
    /// This one.
    Number(Asn),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// `next_hop_ipv4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop4 {
    /// Our address on the session when that is IPv4; when it is not, and the session takes extended next hops, that of
    /// IPv6 routes.
    SelfAddress,
    /// This one.
    Address(Ipv4Addr),
}

/// `next_hop_ipv6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop6 {
    /// Our address on the session, when that is a global IPv6 address.
    SelfAddress,
    /// This one (RFC 2545 §3: 16 octets).
    Address(Ipv6Addr),
    /// A global and a link-local one (RFC 2545 §3: 32 octets).
    Pair(Ipv6Addr, Ipv6Addr),
}

/// A hold time (RFC 4271 §4.2). 1 and 2 seconds cannot be built, and 0 is `None`: no keepalives, no timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTime(Option<Duration>);

impl HoldTime {
    /// Neither keepalives nor a hold timer.
    pub const OFF: HoldTime = HoldTime(None);

    /// `None` for 1 and 2, which RFC 4271 §4.2 forbids.
    pub fn from_secs(seconds: u16) -> Option<HoldTime> {
        match seconds {
            0 => Some(HoldTime::OFF),
            1 | 2 => None,
            _ => Some(HoldTime(Some(Duration::from_secs(seconds.into())))),
        }
    }

    /// As in an OPEN.
    pub fn as_secs(self) -> u16 {
        self.0.map_or(0, |time| u16::try_from(time.as_secs()).unwrap_or(u16::MAX))
    }

    /// The time, when there is one.
    pub fn duration(self) -> Option<Duration> {
        self.0
    }

    /// What two sides agree on: the smaller (RFC 4271 §4.2), so 0 with anything is 0.
    pub fn negotiate(self, other: HoldTime) -> HoldTime {
        HoldTime(self.0.zip(other.0).map(|(ours, theirs)| ours.min(theirs)))
    }

    /// Between KEEPALIVEs: a third (RFC 4271 §10).
    pub fn keepalive(self) -> Option<Duration> {
        self.0.map(|time| time / 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_times() {
        let hold = |seconds| HoldTime::from_secs(seconds).unwrap();
        assert_eq!((HoldTime::from_secs(1), HoldTime::from_secs(2)), (None, None));
        assert_eq!(hold(9).negotiate(hold(3)), hold(3));
        assert_eq!(hold(9).negotiate(HoldTime::OFF), HoldTime::OFF);
        assert_eq!(hold(9).keepalive(), Some(Duration::from_secs(3)));
        assert_eq!(HoldTime::OFF.keepalive(), None);
    }
}
