//! How a route looks to one peer: what the operator chose, and what the session makes of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::attribute::{NextHop, PathAttributes, Segment};
use crate::config::{self, Attributes, NextHop4, NextHop6};
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
    internal: bool,
    next_hops: [Option<NextHop>; 2],
    /// Routes share their attributes, on the way in and on the way out: a hundred thousand of them have a few of these.
    memo: [BTreeMap<Arc<Attributes>, Arc<PathAttributes>>; 2],
    sweep_above: usize,
}

impl Export {
    /// For a session from `local` to `remote`, with a peer in our own AS if `internal`.
    pub fn new(config: Arc<config::Peer>, internal: bool, local: IpAddr, remote: IpAddr) -> Export {
        let next_hops = [next_hop_ipv4(&config, local, remote), next_hop_ipv6(&config, local, remote)];
        Export { config, internal, next_hops, memo: Default::default(), sweep_above: SWEEP_ABOVE }
    }

    /// The next hop for this family; without one, no route of it can be announced to this peer.
    pub fn next_hop(&self, family: Family) -> Option<NextHop> {
        self.next_hops[family as usize]
    }

    /// The route as the peer shall have it; `None` when it shall not have it.
    pub fn route(&mut self, prefix: &Prefix, attributes: &Arc<Attributes>) -> Option<Arc<PathAttributes>> {
        let family = prefix.family();
        let next_hop = self.next_hop(family)?;
        if !self.config.export.allows(prefix) {
            return None;
        }
        let memo = &mut self.memo[family as usize];
        if let Some(known) = memo.get(attributes) {
            return Some(known.clone());
        }
        let made = Arc::new(path_attributes(&self.config, self.internal, next_hop, attributes));
        memo.insert(attributes.clone(), made.clone());
        if memo.len() > self.sweep_above {
            // Only what some route still has, or is to have.
            memo.retain(|_, made| Arc::strong_count(made) > 1);
            self.sweep_above = SWEEP_ABOVE.max(2 * memo.len());
        }
        Some(made)
    }
}

fn path_attributes(config: &config::Peer, internal: bool, next_hop: NextHop, vip: &Attributes) -> PathAttributes {
    let peer = &config.attributes;
    let prepend = vip.as_path_prepend.or(peer.as_path_prepend).unwrap_or(0);
    // RFC 4271 §5.1.2: empty to our own AS, and so without prepends: the peer would find its own AS in the path and
    // drop the route as a loop (§9.1.2).
    let as_path = if internal { Vec::new() } else { vec![config.local_as; 1 + usize::from(prepend)] };
    PathAttributes {
        origin: vip.origin.or(peer.origin).unwrap_or_default(),
        as_path: as_path.chunks(SEGMENT_MAX).map(|part| Segment::Sequence(part.to_vec())).collect(),
        next_hop,
        med: vip.med.or(peer.med),
        // RFC 4271 §5.1.5: to our own AS always, to others never.
        local_pref: internal.then(|| vip.local_pref.or(peer.local_pref).unwrap_or(DEFAULT_LOCAL_PREF)),
        communities: join(&vip.communities, &peer.communities),
        large_communities: join(&vip.large_communities, &peer.large_communities),
    }
}

/// Sorted, without duplicates.
fn join<T: Ord + Copy>(a: &[T], b: &[T]) -> Vec<T> {
    let mut joined = [a, b].concat();
    joined.sort_unstable();
    joined.dedup();
    joined
}

fn next_hop_ipv4(config: &config::Peer, local: IpAddr, remote: IpAddr) -> Option<NextHop> {
    let address = match config.next_hop_ipv4 {
        NextHop4::Address(address) => address,
        NextHop4::SelfAddress => match local.to_canonical() {
            IpAddr::V4(own) if usable_ipv4(own, remote) => own,
            _ => return None,
        },
    };
    Some(NextHop::Ipv4(address))
}

fn next_hop_ipv6(config: &config::Peer, local: IpAddr, remote: IpAddr) -> Option<NextHop> {
    match config.next_hop_ipv6 {
        NextHop6::Address(address) => Some(NextHop::Ipv6(address)),
        NextHop6::Pair(global, link_local) => Some(NextHop::Ipv6Pair(global, link_local)),
        NextHop6::SelfAddress => match local.to_canonical() {
            IpAddr::V6(own) if usable_ipv6(own, remote) => Some(NextHop::Ipv6(own)),
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
