//! `[bgp]`, and the values that peers choose among.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::attributes::Asn;
use super::peer::{Peer, PeerRange};

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
    /// `[[bgp.peer]]` with a prefix for their address, in the order of the files. Names and prefixes are unique.
    pub ranges: Vec<Arc<PeerRange>>,
    /// `listen`: where peers that are not active connect to us.
    pub listen: Vec<SocketAddr>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextHop4 {
    /// Our address on the session when that is IPv4; when it is not, and the session takes extended next hops, that of
    /// IPv6 routes.
    #[default]
    SelfAddress,
    /// This one.
    Address(Ipv4Addr),
}

/// `next_hop_ipv6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextHop6 {
    /// Our address on the session, when that is a global IPv6 address.
    #[default]
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

    /// For constants, which are not 1 or 2.
    pub(super) const fn from_whole_secs(seconds: u64) -> HoldTime {
        assert!(seconds >= 3 && seconds <= u16::MAX as u64);
        HoldTime(Some(Duration::from_secs(seconds)))
    }

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
