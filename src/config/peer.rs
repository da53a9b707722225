//! `[[bgp.peer]]`: what a session is made with, and what may change while it is up.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::attributes::{Asn, Attributes};
use super::bgp::{HoldTime, NextHop4, NextHop6, PeerAs};
use super::capabilities::{Capabilities, Confederation, Relation};
use super::export::ExportFilter;
use super::restart::RestartTime;
use super::transport::Transport;
use crate::prefix::{Family, Prefix};

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

/// `[[bgp.peer]]` whose `address` is a prefix: each neighbour in it that connects becomes a peer of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRange {
    /// Where neighbours may come from.
    pub prefix: Prefix,
    /// How many there may be at a time.
    pub limit: usize,
    /// What they have in common. Its name is the range's, its address that of `prefix`.
    pub template: Arc<Peer>,
}

impl PeerRange {
    /// Unique among peers and ranges.
    pub fn name(&self) -> &Arc<str> {
        &self.template.name
    }

    /// Whether a neighbour with this address, on a link with this name when it is link-local, is one of the range.
    pub fn contains(&self, address: IpAddr, zone: Option<&str>) -> bool {
        self.prefix.contains(&Prefix::host(address)) && self.template.session.zone.as_deref() == zone
    }

    /// The peer that the neighbour with this address becomes.
    pub fn peer(&self, address: IpAddr) -> Peer {
        let mut peer = Peer::clone(&self.template);
        peer.session.address = address;
        peer.name = match &peer.session.zone {
            Some(zone) => format!("{}@{address}%{zone}", self.name()).into(),
            None => format!("{}@{address}", self.name()).into(),
        };
        peer
    }
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
    /// Who connects.
    pub mode: Mode,
    /// What else the connection is made with.
    pub transport: Transport,
    /// Our AS, as the peer sees it: where we are in a confederation, one outside of it sees the confederation's.
    pub local_as: Asn,
    /// The confederation that we are in.
    pub confederation: Option<Confederation>,
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
    /// What else we offer.
    pub capabilities: Capabilities,
    /// How long the peer is asked to keep our routes over a restart (RFC 4724); `None` does not offer it.
    pub graceful_restart: Option<RestartTime>,
}

/// Which of the two connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// We do.
    #[default]
    Active,
    /// The router does.
    Passive,
    /// Whoever comes first.
    Both,
}

impl Mode {
    /// As written in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Active => "active",
            Mode::Passive => "passive",
            Mode::Both => "both",
        }
    }

    /// Whether we connect.
    pub fn dials(self) -> bool {
        self != Mode::Passive
    }

    /// Whether the router may connect.
    pub fn accepts(self) -> bool {
        self != Mode::Active
    }
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
/// See [`PeerRange::limit`].
pub const DEFAULT_LIMIT: usize = 100;
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
        self.relation() == Relation::Internal
    }

    /// What the peer is to us, as far as the configuration tells.
    pub fn relation(&self) -> Relation {
        self.session.relation()
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
            mode: Mode::default(),
            transport: Transport::default(),
            local_as,
            router_id,
            peer_as,
            families: Family::ALL.to_vec(),
            extended_next_hop: false,
            hold_time: DEFAULT_HOLD_TIME,
            confederation: None,
            capabilities: Capabilities::default(),
            graceful_restart: None,
        }
    }

    /// See [`Peer::relation`].
    pub fn relation(&self) -> Relation {
        match self.peer_as {
            PeerAs::Internal => Relation::Internal,
            PeerAs::Number(asn) if asn == self.local_as => Relation::Internal,
            PeerAs::Number(asn) if self.confederation.as_ref().is_some_and(|whole| whole.contains(asn)) => {
                Relation::Confederation
            }
            PeerAs::Number(_) | PeerAs::External => Relation::External,
        }
    }

    /// The keys, as in the configuration, in which `next` differs.
    pub fn changes(&self, next: &SessionParameters) -> Vec<&'static str> {
        let (ours, theirs) = (&self.transport, &next.transport);
        let (our, their) = (&self.capabilities, &next.capabilities);
        let whole = |session: &SessionParameters| session.confederation.as_ref().map(|whole| whole.identifier);
        let same_whole = whole(self) == whole(next);
        let changes = [
            ("address", (self.address, &self.zone) != (next.address, &next.zone)),
            ("port", self.port != next.port),
            ("mode", self.mode != next.mode),
            ("source", self.source != next.source),
            ("interface", ours.interface != theirs.interface),
            ("ttl_security", ours.reach.ttl_security() != theirs.reach.ttl_security()),
            ("multihop", ours.reach.multihop() != theirs.reach.multihop()),
            ("password_file", !ours.same_secret(theirs)),
            ("local_as", self.local_as != next.local_as && same_whole),
            ("confederation", self.local_as != next.local_as && !same_whole),
            ("router_id", self.router_id != next.router_id),
            ("peer_as", self.peer_as != next.peer_as),
            ("families", self.families != next.families),
            ("extended_next_hop", self.extended_next_hop != next.extended_next_hop),
            ("hold_time", self.hold_time != next.hold_time),
            ("extended_messages", our.extended_messages != their.extended_messages),
            ("role", our.role != their.role),
            ("role_strict", our.role_strict != their.role_strict),
            ("advertise_version", our.software_version != their.software_version),
            ("advertise_hostname", our.hostname != their.hostname),
            // That others have joined it changes nothing for this peer.
            ("confederation_members", self.relation() != next.relation() && self.peer_as == next.peer_as),
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
