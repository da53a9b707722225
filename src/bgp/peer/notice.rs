//! What operators hear of a peer.

use super::{Cause, State};
use crate::bgp::capability::Capability;
use crate::prefix::{Family, Prefix};

/// What operators hear of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The state changed.
    State {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why; `None` for the ordinary way up.
        cause: Option<Cause>,
    },
    /// The peer is passive: nothing happens before the router connects.
    Waiting,
    /// Routes of this family are not announced to this peer for want of a next hop.
    NoNextHop(Family),
    /// The peer did not offer this family.
    FamilyNotNegotiated(Family),
    /// The peer refuses some of our capabilities: they are left out from now on, these in all.
    LeftOut(Vec<Capability>),
    /// The initial routes of this family are out, and so is End-of-RIB.
    Synchronised(Family, usize),
    /// The peer has been told of so many routes and withdrawals; the first few of these.
    Told {
        /// Routes.
        announced: usize,
        /// Withdrawals.
        withdrawn: usize,
        /// Some of them.
        first: Vec<Prefix>,
    },
    /// The attributes of so many routes, this one among them, do not fit a message: the peer does not get them.
    TooLarge(Prefix, usize),
}
