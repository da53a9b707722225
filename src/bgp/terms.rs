//! What we bring to a connection, and what both OPENs come to.
//!
//! RFC 4271 §6.2, 4724 §3, 4760 §8, 5492, 6286, 6793, 7607, 8538 §2, 8950 §4.

use std::net::Ipv4Addr;

use super::error::Notification;
use super::message::MAX_LEN;
use super::open::{Capability, Open};
use super::restart::{self, GracefulRestart};
use super::update::Encoding;
use crate::config::{Asn, HoldTime, PeerAs};
use crate::prefix::Family;

/// What we bring to a connection, and what we ask of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Our AS.
    pub local_as: Asn,
    /// Our BGP Identifier.
    pub router_id: Ipv4Addr,
    /// What we offer.
    pub hold_time: HoldTime,
    /// Which families.
    pub families: Offer,
    /// The AS that the peer must have; `None` takes any.
    pub peer_as: Option<PeerAs>,
    /// Whether IPv4 routes may have an IPv6 next hop (RFC 8950); [`Offer::Mirror`] takes the peer's word.
    pub extended_next_hop: bool,
    /// What we offer of graceful restart (RFC 4724).
    pub restart: Option<restart::Offered>,
    /// Whether our OPEN has capabilities. Without them the session can only be IPv4, with AS numbers of 2 octets.
    pub capabilities: bool,
}

/// The families that our OPEN offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// These.
    Families(Vec<Family>),
    /// Those of the peer's OPEN, for which we wait before we send ours: the DelayOpen of RFC 4271 §8.1.1. If it does not
    /// come in time, all.
    Mirror {
        /// Our AS, too, is that of the peer's OPEN.
        asn: bool,
    },
}

/// What both OPENs settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The peer's OPEN.
    pub open: Open,
    /// In use: offered by both, in the order of [`Family::ALL`].
    pub families: Vec<Family>,
    /// The smaller of both.
    pub hold_time: HoldTime,
    /// How UPDATEs are written.
    pub encoding: Encoding,
    /// Both take IPv4 routes with an IPv6 next hop (RFC 8950 §4).
    pub extended_next_hop: bool,
    /// The peer keeps our routes over a restart: we have asked for it, and the peer knows of it (RFC 4724 §4).
    pub restart: Option<GracefulRestart>,
    /// The peer is in our AS.
    pub internal: bool,
}

impl Terms {
    /// Our OPEN, offering `families`.
    pub(super) fn open(&self, families: &[Family]) -> Open {
        let mut capabilities = Vec::new();
        if self.capabilities {
            capabilities.extend(families.iter().copied().map(Capability::Multiprotocol));
            if self.extended_next_hop && families.contains(&Family::Ipv4) {
                capabilities.push(Capability::extended_next_hop());
            }
            capabilities.extend(self.restart.map(|offered| offered.capability(families)));
            capabilities.extend([Capability::RouteRefresh, Capability::FourOctetAs(self.local_as)]);
        }
        Open { asn: self.local_as, hold_time: self.hold_time, router_id: self.router_id, capabilities }
    }

    /// What our OPEN and the peer's come to.
    ///
    /// # Errors
    /// The NOTIFICATION that refuses the peer's, and why, for people.
    pub(super) fn settle(&self, open: Open) -> Result<Session, (Notification, String)> {
        self.check_as(open.asn).map_err(|why| (Notification::bad_peer_as(), why))?;
        let internal = open.asn == self.local_as;
        if open.router_id.is_unspecified() {
            return Err((Notification::bad_bgp_identifier(), "peer's router ID is 0.0.0.0".to_owned()));
        }
        // RFC 6286 §2.2: identifiers must differ within an AS only.
        if internal && open.router_id == self.router_id {
            return Err((Notification::bad_bgp_identifier(), format!("peer has our router ID {}", self.router_id)));
        }
        let offered = |family: &Family| match &self.families {
            Offer::Families(ours) if self.capabilities => ours.contains(family),
            // RFC 4760 §8: without the capability IPv4 unicast is all there is.
            Offer::Families(ours) => *family == Family::Ipv4 && ours.contains(family),
            Offer::Mirror { .. } => true,
        };
        let families: Vec<_> =
            Family::ALL.into_iter().filter(|family| offered(family) && open.offers(*family)).collect();
        if families.is_empty() {
            let wanted: Vec<u8> = Family::ALL.into_iter().filter(offered).flat_map(multiprotocol).collect();
            let why = "no address family in common".to_owned();
            return Err((Notification::unsupported_capability(&wanted), why));
        }
        let hold_time = self.hold_time.negotiate(open.hold_time);
        let four_octet_as = self.capabilities && open.has_four_octet_as();
        let extended_next_hop = self.capabilities
            && self.extended_next_hop
            && families.contains(&Family::Ipv4)
            && open.takes_extended_next_hop();
        let restart = self.restart.filter(|_| self.capabilities).and_then(|_| GracefulRestart::of(&open));
        let encoding = Encoding { four_octet_as, mp_ipv4: extended_next_hop, max_len: MAX_LEN };
        Ok(Session { open, families, hold_time, encoding, extended_next_hop, restart, internal })
    }

    fn check_as(&self, asn: Asn) -> Result<(), String> {
        // RFC 7607: 0 is nobody's.
        let (good, expected) = match self.peer_as {
            _ if asn == Asn(0) => (false, "another".to_owned()),
            None => (true, String::new()),
            Some(PeerAs::Number(number)) => (asn == number, number.to_string()),
            Some(PeerAs::Internal) => (asn == self.local_as, format!("{} (internal)", self.local_as)),
            Some(PeerAs::External) => (asn != self.local_as, "another than ours (external)".to_owned()),
        };
        if good { Ok(()) } else { Err(format!("peer AS is {asn}, expected {expected}")) }
    }
}

/// The capability of one family, as RFC 5492 §5 wants it in the data of Unsupported Capability.
fn multiprotocol(family: Family) -> [u8; 6] {
    let afi = match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 2,
    };
    [1, 4, 0, afi, 0, 1]
}
