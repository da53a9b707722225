//! What we bring to a connection, and what both OPENs come to.
//!
//! RFC 4271 §6.2, 4724 §3, 4760 §8, 5065 §4, 5492, 6286, 6793, 7313 §3.1, 7607, 8538 §2, 8654 §4, 8950 §4, 9234 §4.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::capability::{Capability, ENHANCED_ROUTE_REFRESH, EXTENDED_MESSAGE, ROLE, role_of};
use super::error::Notification;
use super::message::{EXTENDED_MAX_LEN, MAX_LEN};
use super::omission::Omissions;
use super::open::Open;
use super::restart::{self, GracefulRestart};
use super::update::Encoding;
use crate::config::{Asn, Capabilities, Confederation, HoldTime, PeerAs, Role, SessionParameters};
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
    /// The confederation that we are in: its members are not external.
    pub confederation: Option<Confederation>,
    /// Whether IPv4 routes may have an IPv6 next hop (RFC 8950); [`Offer::Mirror`] takes the peer's word.
    pub extended_next_hop: bool,
    /// What we offer of graceful restart (RFC 4724).
    pub restart: Option<restart::Offered>,
    /// What else we offer; [`Offer::Mirror`] takes the peer's word for messages and roles.
    pub capabilities: Capabilities,
    /// What is left out of all that. Without any capability the session can only be IPv4, with AS numbers of 2 octets.
    pub omissions: Omissions,
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
    /// An answer to a ROUTE-REFRESH has a beginning and an end (RFC 7313).
    pub enhanced_refresh: bool,
    /// The peer keeps our routes over a restart: we have asked for it, and the peer knows of it (RFC 4724 §4).
    pub restart: Option<GracefulRestart>,
    /// The peer is in our AS.
    pub internal: bool,
}

impl Terms {
    /// For a peer with this configuration, with nothing left out.
    pub fn new(session: &SessionParameters) -> Terms {
        Terms {
            local_as: session.local_as,
            router_id: session.router_id,
            hold_time: session.hold_time,
            families: Offer::Families(session.families.clone()),
            peer_as: Some(session.peer_as),
            confederation: session.confederation.clone(),
            extended_next_hop: session.extended_next_hop,
            restart: None,
            capabilities: session.capabilities.clone(),
            omissions: Omissions::default(),
        }
    }

    /// All that we would offer with `families`.
    fn wanted(&self, families: &[Family]) -> Vec<Capability> {
        let optional = &self.capabilities;
        let mut wanted: Vec<_> = families.iter().copied().map(Capability::Multiprotocol).collect();
        let extended_next_hop = self.extended_next_hop && families.contains(&Family::Ipv4);
        wanted.extend(extended_next_hop.then(Capability::extended_next_hop));
        wanted.extend(self.restart.map(|offered| offered.capability(families)));
        wanted.extend([Capability::RouteRefresh, Capability::enhanced_route_refresh()]);
        wanted.push(Capability::FourOctetAs(self.local_as));
        wanted.extend(optional.extended_messages.then(Capability::extended_message));
        wanted.extend(optional.role.map(Capability::role));
        let host_name = optional.hostname.as_deref().filter(|name| !name.is_empty());
        wanted.extend(host_name.map(Capability::fqdn));
        wanted.extend(optional.software_version.as_deref().map(Capability::software_version));
        wanted
    }

    /// Our OPEN, offering `families`.
    pub(super) fn open(&self, families: &[Family]) -> Open {
        let mut capabilities = self.wanted(families);
        capabilities.retain(|capability| self.omissions.allow(capability));
        Open { asn: self.local_as, hold_time: self.hold_time, router_id: self.router_id, capabilities }
    }

    /// What is left out of our OPEN because the peer refuses it.
    pub(super) fn left_out(&self) -> Vec<Capability> {
        let Offer::Families(families) = &self.families else { return Vec::new() };
        let mut capabilities = self.wanted(families);
        capabilities.retain(|capability| !self.omissions.allow(capability));
        capabilities
    }

    /// Leaves out what this NOTIFICATION in answer to our OPEN refuses; false if it refuses nothing that can be left out
    /// and leave a family to speak of.
    pub(super) fn leave_out(&mut self, notification: &Notification) -> bool {
        let Offer::Families(families) = self.families.clone() else { return false };
        let Some(next) = self.omissions.after(&self.open(&families).capabilities, notification) else { return false };
        let before = std::mem::replace(&mut self.omissions, next);
        let open = self.open(&families);
        let is_of_use = families.iter().any(|family| open.offers(*family));
        if !is_of_use {
            self.omissions = before;
        }
        is_of_use
    }

    /// Takes from the peer's OPEN what [`Offer::Mirror`] leaves to it.
    pub(super) fn mirror(&mut self, open: &Open) {
        if self.families == (Offer::Mirror { asn: true }) {
            self.local_as = open.asn;
        }
        self.extended_next_hop = open.takes_extended_next_hop();
        self.capabilities.extended_messages = open.has(EXTENDED_MESSAGE);
        let mut roles = open.roles().map(|value| if let [number] = value { role_of(*number) } else { None });
        self.capabilities.role = roles.next().flatten().map(Role::counterpart);
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
        self.check_role(&open).map_err(|why| (Notification::role_mismatch(), why))?;
        let wanted = match &self.families {
            Offer::Families(families) => families.as_slice(),
            Offer::Mirror { .. } => &Family::ALL,
        };
        let ours = self.open(wanted);
        let offered = |family: &Family| wanted.contains(family) && ours.offers(*family);
        let families: Vec<_> =
            Family::ALL.into_iter().filter(|family| offered(family) && open.offers(*family)).collect();
        if families.is_empty() {
            let wanted: Vec<u8> = Family::ALL.into_iter().filter(offered).flat_map(multiprotocol).collect();
            let why = "no address family in common".to_owned();
            return Err((Notification::unsupported_capability(&wanted), why));
        }
        let both = |code| ours.has(code) && open.has(code);
        let extended_next_hop =
            families.contains(&Family::Ipv4) && ours.takes_extended_next_hop() && open.takes_extended_next_hop();
        let encoding = Encoding {
            four_octet_as: ours.has_four_octet_as() && open.has_four_octet_as(),
            mp_ipv4: extended_next_hop,
            max_len: if both(EXTENDED_MESSAGE) { EXTENDED_MAX_LEN } else { MAX_LEN },
        };
        let hold_time = self.hold_time.negotiate(open.hold_time);
        let enhanced_refresh = both(ENHANCED_ROUTE_REFRESH);
        let restart = if ours.has(restart::CODE) { GracefulRestart::of(&open) } else { None };
        Ok(Session { open, families, hold_time, encoding, extended_next_hop, enhanced_refresh, restart, internal })
    }

    /// RFC 9234 §4.2. A role that the peer does not know of us is no mismatch.
    fn check_role(&self, open: &Open) -> Result<(), String> {
        let Some(ours) = self.capabilities.role else { return Ok(()) };
        let theirs: BTreeSet<&[u8]> = open.roles().collect();
        let must_be = ours.counterpart();
        match Vec::from_iter(theirs).as_slice() {
            [] if self.capabilities.role_strict => {
                Err(format!("peer does not say its role, which must be {must_be} because ours is {ours} (role_strict)"))
            }
            [] => Ok(()),
            [value] => match value {
                [number] if role_of(*number) == Some(must_be) => Ok(()),
                value => {
                    let theirs = Capability::Other(ROLE, value.to_vec());
                    Err(format!("peer says {theirs}, which must be {must_be} because ours is {ours}"))
                }
            },
            [_, _, ..] => Err("peer gives itself several roles".to_owned()),
        }
    }

    fn check_as(&self, asn: Asn) -> Result<(), String> {
        // RFC 7607: 0 is nobody's.
        let (good, expected) = match self.peer_as {
            _ if asn == Asn(0) => (false, "another".to_owned()),
            None => (true, String::new()),
            Some(PeerAs::Number(number)) => (asn == number, number.to_string()),
            Some(PeerAs::Internal) => (asn == self.local_as, format!("{} (internal)", self.local_as)),
            Some(PeerAs::External) if self.confederation.as_ref().is_some_and(|whole| whole.contains(asn)) => {
                (false, "one outside of our confederation (external)".to_owned())
            }
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
