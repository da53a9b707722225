//! `[[bgp.peer]]`: what a session is made with, and what may change while it is up.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::attributes::{Asn, Attributes};
use super::bgp::{HoldTime, NextHop4, NextHop6, PeerAs};
use super::export::ExportFilter;
use super::restart::RestartTime;
use super::transport::Transport;
use crate::prefix::Family;

/// `[[bgp.peer]]`, complete: what `[bgp]` sets for all is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Unique; the peer's identity across reloads.
    pub name: Arc<str>,
    /// What a session is made with: a change needs a new session.
    pub session: SessionParameters,
    /// What may change while the session is up.
    pub live: LiveParameters,
}

/// What a session is made with. A change of any of these needs a new session; [`changes`](Self::changes) names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionParameters {
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
    /// Whether IPv4 routes may have an IPv6 next hop, if the peer agrees (RFC 8950).
    pub extended_next_hop: bool,
    /// What we offer.
    pub hold_time: HoldTime,
    /// How long the peer is asked to keep our routes over a restart (RFC 4724); `None` does not offer it.
    pub graceful_restart: Option<RestartTime>,
}

/// What may change while a session is up: routes are announced again where they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveParameters {
    /// How soon a router that is back is noticed: attempts start at most so far apart, the first ones sooner. After
    /// NOTIFICATIONs the wait begins with this and doubles, up to a minute.
    pub connect_retry: Duration,
    /// For IPv4 routes.
    pub next_hop_ipv4: NextHop4,
    /// For IPv6 routes.
    pub next_hop_ipv6: NextHop6,
    /// For all routes to this peer; a VIP's own word goes first.
    pub attributes: Attributes,
    /// Which routes the peer gets.
    pub export: ExportFilter,
}

/// The port of BGP (RFC 4271 §8.2.1).
pub const PORT: u16 = 179;
/// Offered unless another is set: a dead router is noticed within three KEEPALIVEs of 3 seconds.
pub const DEFAULT_HOLD_TIME: HoldTime = HoldTime::from_whole_secs(9);
/// See [`LiveParameters::connect_retry`].
pub const DEFAULT_CONNECT_RETRY: Duration = Duration::from_secs(5);

impl Peer {
    /// With everything that may change as it is unless set.
    pub fn new(name: &str, session: SessionParameters) -> Peer {
        Peer { name: name.into(), session, live: LiveParameters::default() }
    }

    /// Where it listens, and by which interface it is reached: no two peers of one configuration share it.
    pub fn endpoint(&self) -> (IpAddr, Option<String>, u16, Option<String>) {
        let SessionParameters { address, zone, port, transport, .. } = &self.session;
        (*address, zone.clone(), *port, transport.interface.clone())
    }

    /// The TTL or hop limit of what we send it; `None` is the system's choice.
    pub fn sent_ttl(&self) -> Option<u8> {
        self.session.transport.reach.sent_ttl(self.is_internal())
    }

    /// Whether the peer is in our own AS, as far as the configuration tells.
    pub fn is_internal(&self) -> bool {
        match self.session.peer_as {
            PeerAs::Number(asn) => asn == self.session.local_as,
            PeerAs::Internal => true,
            PeerAs::External => false,
        }
    }
}

impl SessionParameters {
    /// Those that cannot be left out; the others are as they are unless set.
    pub fn new(address: IpAddr, peer_as: PeerAs, local_as: Asn, router_id: Ipv4Addr) -> SessionParameters {
        SessionParameters {
            address,
            zone: None,
            port: PORT,
            source: None,
            transport: Transport::default(),
            local_as,
            router_id,
            peer_as,
            families: Family::ALL.to_vec(),
            extended_next_hop: false,
            hold_time: DEFAULT_HOLD_TIME,
            graceful_restart: None,
        }
    }

    /// The keys, as in the configuration, in which `next` differs.
    pub fn changes(&self, next: &SessionParameters) -> Vec<&'static str> {
        let (ours, theirs) = (&self.transport, &next.transport);
        let changes = [
            ("address", (self.address, &self.zone) != (next.address, &next.zone)),
            ("port", self.port != next.port),
            ("source", self.source != next.source),
            ("interface", ours.interface != theirs.interface),
            ("ttl_security", ours.reach.ttl_security() != theirs.reach.ttl_security()),
            ("multihop", ours.reach.multihop() != theirs.reach.multihop()),
            ("password_file", !ours.same_secret(theirs)),
            ("local_as", self.local_as != next.local_as),
            ("router_id", self.router_id != next.router_id),
            ("peer_as", self.peer_as != next.peer_as),
            ("families", self.families != next.families),
            ("extended_next_hop", self.extended_next_hop != next.extended_next_hop),
            ("hold_time", self.hold_time != next.hold_time),
            ("graceful_restart", self.graceful_restart != next.graceful_restart),
        ];
        changes.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

impl LiveParameters {
    /// Whether routes look the same, or do not, with `next`.
    pub fn same_routes(&self, next: &LiveParameters) -> bool {
        let LiveParameters { connect_retry: _, next_hop_ipv4, next_hop_ipv6, attributes, export } = self;
        *next_hop_ipv4 == next.next_hop_ipv4
            && *next_hop_ipv6 == next.next_hop_ipv6
            && *attributes == next.attributes
            && *export == next.export
    }
}

impl Default for LiveParameters {
    fn default() -> LiveParameters {
        LiveParameters {
            connect_retry: DEFAULT_CONNECT_RETRY,
            next_hop_ipv4: NextHop4::default(),
            next_hop_ipv6: NextHop6::default(),
            attributes: Attributes::default(),
            export: ExportFilter::default(),
        }
    }
}
