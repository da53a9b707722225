//! How a route looks to one peer: what the operator chose, and what the session makes of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::attribute::{NextHop, PathAttributes, Segment};
use super::fsm::Session;
use crate::config::{self, Attributes, NextHop4, NextHop6, Relation};
use crate::prefix::{Family, Prefix};

/// Sent to iBGP peers unless the operator chose another (RFC 4271 §5.1.5 wants one; 100 is what routers assume).
const DEFAULT_LOCAL_PREF: u32 = 100;
/// What one AS_PATH segment holds (RFC 4271 §4.3).
const SEGMENT_MAX: usize = 255;
/// Below this many entries the memo is never swept.
const SWEEP_ABOVE: usize = 1024;

/// The export side of one session.
#[derive(Debug)]
pub struct Export {
    config: Arc<config::Peer>,
    relation: Relation,
    next_hops: [Option<NextHop>; 2],
    /// Routes share their attributes, on the way in and on the way out: a hundred thousand of them have a few of these.
    memo: [BTreeMap<Arc<Attributes>, Arc<PathAttributes>>; 2],
    sweep_above: usize,
}

impl Export {
    /// For `session`, from `local` to `remote`.
    pub fn new(config: Arc<config::Peer>, session: &Session, local: IpAddr, remote: IpAddr) -> Export {
        let ipv6 = next_hop_ipv6(&config, session.internal, local, remote);
        // RFC 8950 §3: an IPv4 route may have the next hop of an IPv6 one, where both sides have said so.
        let instead = ipv6.filter(|_| session.extended_next_hop);
        let next_hops = [next_hop_ipv4(&config, local, remote).or(instead), ipv6];
        let relation = match config.relation() {
            _ if session.internal => Relation::Internal,
            Relation::Confederation => Relation::Confederation,
            Relation::Internal | Relation::External => Relation::External,
        };
        Export { config, relation, next_hops, memo: Default::default(), sweep_above: SWEEP_ABOVE }
    }

    /// The next hop for this family; without one, no route of it can be announced to this peer.
    pub fn next_hop(&self, family: Family) -> Option<NextHop> {
        self.next_hops[family as usize]
    }

    /// The route as the peer shall have it; `None` when it shall not have it.
    pub fn route(&mut self, prefix: &Prefix, attributes: &Arc<Attributes>) -> Option<Arc<PathAttributes>> {
        let family = prefix.family();
        let next_hop = self.next_hop(family)?;
        if !self.config.live.export.allows(prefix) {
            return None;
        }
        let memo = &mut self.memo[family as usize];
        if let Some(known) = memo.get(attributes) {
            return Some(known.clone());
        }
        let made = Arc::new(path_attributes(&self.config, self.relation, next_hop, attributes));
        memo.insert(attributes.clone(), made.clone());
        if memo.len() > self.sweep_above {
            // Only what some route still has, or is to have.
            memo.retain(|_, made| Arc::strong_count(made) > 1);
            self.sweep_above = SWEEP_ABOVE.max(2 * memo.len());
        }
        Some(made)
    }
}

fn path_attributes(config: &config::Peer, relation: Relation, next_hop: NextHop, vip: &Attributes) -> PathAttributes {
    let peer = &config.live.attributes;
    let prepend = vip.as_path_prepend.or(peer.as_path_prepend).unwrap_or(0);
    let local_as = config.session.local_as;
    let as_path = match relation {
        // RFC 4271 §5.1.2: empty to our own AS, and so without prepends: the peer would find its own AS in the path and
        // drop the route as a loop (§9.1.2).
        Relation::Internal => Vec::new(),
        // RFC 5065 §4.1. Its length counts for nothing (§5.3), so prepends would do nothing.
        Relation::Confederation => vec![Segment::ConfedSequence(vec![local_as])],
        Relation::External => {
            let path = vec![local_as; 1 + usize::from(prepend)];
            path.chunks(SEGMENT_MAX).map(|part| Segment::Sequence(part.to_vec())).collect()
        }
    };
    // RFC 9234 §5, egress 1: what we originate has no such mark yet. In a confederation it is that of the whole.
    let is_marked = config.session.capabilities.role.is_some_and(config::Role::marks_only_to_customer);
    let only_to_customer = (is_marked && relation == Relation::External).then_some(local_as);
    let mut extended_communities = join(&vip.extended_communities, &peer.extended_communities);
    // RFC 4360 §6: what is not transitive does not cross the border of the AS, or of the confederation.
    extended_communities.retain(|community| relation.is_within() || community.is_transitive());
    PathAttributes {
        origin: vip.origin.or(peer.origin).unwrap_or_default(),
        as_path,
        next_hop,
        med: vip.med.or(peer.med),
        // RFC 4271 §5.1.5: to our own AS always, to others never; in a confederation to all of it (RFC 5065 §5.2).
        local_pref: relation.is_within().then(|| vip.local_pref.or(peer.local_pref).unwrap_or(DEFAULT_LOCAL_PREF)),
        communities: join(&vip.communities, &peer.communities),
        large_communities: join(&vip.large_communities, &peer.large_communities),
        extended_communities,
        only_to_customer,
    }
}

/// Sorted, without duplicates.
pub(crate) fn join<T: Ord + Copy>(a: &[T], b: &[T]) -> Vec<T> {
    let mut joined = [a, b].concat();
    joined.sort_unstable();
    joined.dedup();
    joined
}

fn next_hop_ipv4(config: &config::Peer, local: IpAddr, remote: IpAddr) -> Option<NextHop> {
    let address = match config.live.next_hop_ipv4 {
        NextHop4::Address(address) => address,
        NextHop4::SelfAddress => match local.to_canonical() {
            IpAddr::V4(own) if usable_ipv4(own, remote) => own,
            _ => return None,
        },
    };
    Some(NextHop::Ipv4(address))
}

fn next_hop_ipv6(config: &config::Peer, internal: bool, local: IpAddr, remote: IpAddr) -> Option<NextHop> {
    match config.live.next_hop_ipv6 {
        NextHop6::Address(address) => Some(NextHop::Ipv6(address)),
        NextHop6::Pair(global, link_local) => Some(NextHop::Ipv6Pair(global, link_local)),
        NextHop6::SelfAddress => match local.to_canonical() {
            IpAddr::V6(own) if usable_ipv6(own, remote) => Some(NextHop::Ipv6(own)),
            // RFC 2545 §3 wants a global address, which such a link need not have: routers send and take it like this. A peer
            // of our own AS would tell it on, to others for whom it means nothing.
            IpAddr::V6(own) if own.is_unicast_link_local() && !internal => Some(NextHop::Ipv6Pair(own, own)),
            _ => None,
        },
    }
}

/// Whether the peer can send packets there. A loopback address is for a router on this machine, which replaces it.
fn usable_ipv4(own: Ipv4Addr, remote: IpAddr) -> bool {
    let loopback_fits = !own.is_loopback() || remote.to_canonical().is_loopback();
    !own.is_unspecified() && !own.is_multicast() && !own.is_broadcast() && loopback_fits
}

/// RFC 2545 §3: a global address. A link-local one alone means nothing to whom the peer tells the route.
fn usable_ipv6(own: Ipv6Addr, remote: IpAddr) -> bool {
    let loopback_fits = !own.is_loopback() || remote.is_loopback();
    !own.is_unspecified() && !own.is_multicast() && !own.is_unicast_link_local() && loopback_fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::open::Open;
    use crate::bgp::update::Encoding;
    use crate::config::{
        Asn, Community, ExtendedCommunity, HoldTime, LargeCommunity, LiveParameters, Origin, PeerAs, SessionParameters,
    };

    fn config(attributes: Attributes) -> config::Peer {
        let session = SessionParameters::new([10, 0, 0, 1].into(), PeerAs::External, Asn(65001), [10, 0, 0, 2].into());
        config::Peer {
            live: LiveParameters { attributes, ..LiveParameters::default() },
            ..config::Peer::new("x", session)
        }
    }

    fn altered(base: config::Peer, alter: impl FnOnce(&mut LiveParameters)) -> config::Peer {
        let mut peer = base;
        alter(&mut peer.live);
        peer
    }

    fn session(internal: bool, extended_next_hop: bool) -> Session {
        let (asn, router_id) = (Asn(65000), [10, 0, 0, 1].into());
        Session {
            open: Open { asn, hold_time: HoldTime::OFF, router_id, capabilities: vec![] },
            families: Family::ALL.to_vec(),
            hold_time: HoldTime::OFF,
            encoding: Encoding { four_octet_as: true, mp_ipv4: extended_next_hop, max_len: 4096 },
            extended_next_hop,
            enhanced_refresh: false,
            restart: None,
            internal,
        }
    }

    /// RFC 8950: only what "self" does not give over IPv4 comes from IPv6.
    #[test]
    fn extended_next_hops() {
        let (a4, b4): (IpAddr, IpAddr) = ([10, 0, 0, 2].into(), [10, 0, 0, 1].into());
        let (a6, b6): (IpAddr, IpAddr) = ("fd00::2".parse().unwrap(), "fd00::1".parse().unwrap());
        let (local, other): (IpAddr, IpAddr) = ("fe80::2".parse().unwrap(), "fe80::1".parse().unwrap());
        let global: Ipv6Addr = "fd00::9".parse().unwrap();
        let given = NextHop4::Address([192, 0, 2, 7].into());
        let of = |next_hop_ipv4, next_hop_ipv6, local: IpAddr, remote: IpAddr, extended| {
            let peer = altered(config(Attributes::default()), |live| {
                live.next_hop_ipv4 = next_hop_ipv4;
                live.next_hop_ipv6 = next_hop_ipv6;
            });
            let export = Export::new(Arc::new(peer), &session(false, extended), local, remote);
            export.next_hop(Family::Ipv4).map(NextHop::addresses)
        };
        let (own4, own6) = (NextHop4::SelfAddress, NextHop6::SelfAddress);
        assert_eq!(of(own4, own6, a6, b6, true), Some(vec![a6]));
        assert_eq!(of(own4, own6, a6, b6, false), None);
        assert_eq!(of(own4, own6, a4, b4, true), Some(vec![a4]));
        assert_eq!(of(given, own6, a6, b6, true), Some(vec![[192, 0, 2, 7].into()]));
        assert_eq!(of(own4, NextHop6::Address(global), a6, b6, true), Some(vec![global.into()]));
        assert_eq!(of(own4, own6, local, other, true), Some(vec![local, local]), "what an unnumbered session has");
        let pair = NextHop6::Pair(global, "fe80::2".parse().unwrap());
        assert_eq!(of(own4, pair, local, other, true), Some(vec![global.into(), local]));
    }

    fn made(peer: Attributes, vip: Attributes, internal: bool) -> PathAttributes {
        let here: IpAddr = [10, 0, 0, 2].into();
        let mut export = Export::new(Arc::new(config(peer)), &session(internal, false), here, [10, 0, 0, 1].into());
        let route = export.route(&"192.0.2.1".parse().unwrap(), &Arc::new(vip)).unwrap();
        Arc::unwrap_or_clone(route)
    }

    fn extended(texts: &[&str]) -> Vec<ExtendedCommunity> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_vips_word_goes_before_the_peers_and_communities_join() {
        let peer = Attributes {
            origin: Some(Origin::Egp),
            as_path_prepend: Some(1),
            med: Some(10),
            local_pref: Some(20),
            communities: vec![Community(2), Community(3)],
            large_communities: vec![LargeCommunity(1, 1, 1)],
            extended_communities: extended(&["rt:65000:2", "generic:0x43000000:0x1"]),
        };
        let vip = Attributes {
            origin: Some(Origin::Incomplete),
            as_path_prepend: Some(2),
            med: Some(0),
            local_pref: Some(200),
            communities: vec![Community(1), Community(3)],
            large_communities: vec![],
            extended_communities: extended(&["rt:65000:1", "rt:65000:2", "generic:0x40040000:0x0"]),
        };
        let us = Asn(65001);
        let route = made(peer.clone(), vip.clone(), false);
        assert_eq!(route.as_path, [Segment::Sequence(vec![us; 3])]);
        assert_eq!((route.origin, route.med, route.local_pref), (Origin::Incomplete, Some(0), None));
        assert_eq!(route.communities, [Community(1), Community(2), Community(3)]);
        assert_eq!(route.large_communities, [LargeCommunity(1, 1, 1)]);
        assert_eq!(route.extended_communities, extended(&["rt:65000:1", "rt:65000:2"]));
        let route = made(peer.clone(), vip, true);
        assert_eq!((route.as_path, route.local_pref), (vec![], Some(200)));
        let all = ["rt:65000:1", "rt:65000:2", "generic:0x40040000:0x0", "generic:0x43000000:0x1"];
        assert_eq!(route.extended_communities, extended(&all));
        let route = made(peer, Attributes::default(), true);
        assert_eq!((route.origin, route.med, route.local_pref), (Origin::Egp, Some(10), Some(20)));
        let route = made(Attributes::default(), Attributes::default(), true);
        assert_eq!((route.origin, route.med, route.local_pref), (Origin::Igp, None, Some(100)));
        let long = Attributes { as_path_prepend: Some(255), ..Attributes::default() };
        let route = made(Attributes::default(), long, false);
        assert_eq!(route.as_path, [Segment::Sequence(vec![us; 255]), Segment::Sequence(vec![us])]);
    }

    #[test]
    fn self_is_an_address_that_the_peer_can_use_or_none() {
        let export = |internal: bool, local: &str, remote: &str| {
            let peer = Arc::new(config(Attributes::default()));
            let export = Export::new(peer, &session(internal, false), local.parse().unwrap(), remote.parse().unwrap());
            Family::ALL.map(|family| export.next_hop(family).map(|hop| hop.addresses()[0].to_string()))
        };
        let text = |text: &str| Some(text.to_owned());
        for (local, remote, ipv4, ipv6) in [
            ("10.0.0.2", "10.0.0.1", text("10.0.0.2"), None),
            ("127.0.0.1", "127.0.0.1", text("127.0.0.1"), None),
            ("127.0.0.1", "10.0.0.1", None, None),
            ("0.0.0.0", "10.0.0.1", None, None),
            ("::ffff:10.0.0.2", "::ffff:10.0.0.1", text("10.0.0.2"), None),
            ("2001:db8::2", "2001:db8::1", None, text("2001:db8::2")),
            ("fd00::2", "fd00::1", None, text("fd00::2")),
            ("::1", "::1", None, text("::1")),
            ("::1", "fd00::1", None, None),
            ("::", "fd00::1", None, None),
            ("ff02::1", "fd00::1", None, None),
        ] {
            for internal in [true, false] {
                assert_eq!(export(internal, local, remote), [ipv4.clone(), ipv6.clone()], "{local} to {remote}");
            }
        }
        // Of use to whoever is on the link, and to nobody that the peer would tell of it.
        assert_eq!(export(false, "fe80::2", "fe80::1"), [None, text("fe80::2")]);
        assert_eq!(export(true, "fe80::2", "fe80::1"), [None, None]);
    }

    #[test]
    fn configured_next_hops_are_taken_as_they_are() {
        let (global, link_local) = ("fd00::2".parse().unwrap(), "fe80::2".parse().unwrap());
        let peer = altered(config(Attributes::default()), |live| {
            live.next_hop_ipv4 = NextHop4::Address([10, 9, 9, 9].into());
            live.next_hop_ipv6 = NextHop6::Pair(global, link_local);
        });
        let export = Export::new(Arc::new(peer), &session(false, false), [127, 0, 0, 1].into(), [10, 0, 0, 1].into());
        assert_eq!(export.next_hop(Family::Ipv4), Some(NextHop::Ipv4([10, 9, 9, 9].into())));
        assert_eq!(export.next_hop(Family::Ipv6), Some(NextHop::Ipv6Pair(global, link_local)));
    }

    #[test]
    fn equal_attributes_are_one_and_forgotten_ones_are_let_go() {
        let peer = Arc::new(config(Attributes::default()));
        let mut export = Export::new(peer, &session(false, false), [10, 0, 0, 2].into(), [10, 0, 0, 1].into());
        let prefix = "192.0.2.1".parse().unwrap();
        let with_med = |med| Arc::new(Attributes { med: Some(med), ..Attributes::default() });
        let kept = export.route(&prefix, &with_med(0)).unwrap();
        for med in 0..100_000 {
            export.route(&prefix, &with_med(med));
        }
        assert!(export.memo[0].len() <= SWEEP_ABOVE);
        assert!(Arc::ptr_eq(&kept, &export.route(&prefix, &with_med(0)).unwrap()));
    }
}
