//! A peer without an address of its own: whoever is at the other end of an interface.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use super::{Peer, Timer};
use crate::config;
use crate::rib::Rib;

impl Peer {
    /// The neighbour on an unnumbered peer's interface has this link-local address. A session with another one goes on for
    /// as long as it lives: the next attempt is for this one.
    pub fn found(&mut self, now: Instant, address: Ipv6Addr, rib: &Rib) {
        let address = IpAddr::from(address);
        if !self.config.session.unnumbered || self.config.session.address == address {
            return;
        }
        let was_unknown = self.config.session.address_is_unknown();
        Arc::make_mut(&mut self.config).session.address = address;
        if was_unknown && self.wants_to_dial() {
            self.timers.set(Timer::Retry, Some(now));
        } else {
            self.hurry(now);
        }
        self.settle(now, rib);
    }

    /// A new configuration, with the address that has been found out.
    pub(super) fn with_known_address(&self, mut next: Arc<config::Peer>) -> Arc<config::Peer> {
        let (ours, theirs) = (&self.config.session, &next.session);
        if ours.unnumbered && theirs.unnumbered && ours.zone == theirs.zone && ours.address != theirs.address {
            Arc::make_mut(&mut next).session.address = ours.address;
        }
        next
    }
}
