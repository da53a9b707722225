//! The Graceful Restart capability (RFC 4724 §3) with notification support (RFC 8538 §2).
//!
//! ```text
//! +-+-+---+--------------------+  then per family:  +--------------+---------+-+-------+
//! |R|N|   | Restart Time, 12   |                    | AFI, 2 octets|  SAFI   |F|       |
//! +-+-+---+--------------------+                    +--------------+---------+-+-------+
//! ```
//!
//! We are the Restarting Speaker only. As a Receiving Speaker there is nothing that we could keep: we take no routes. For
//! the same reason nothing waits for a restarting peer's End-of-RIB (RFC 4724 §4.1 and §4.2): we select no routes that
//! might change when its routes have come.

use super::capability::Capability;
use super::message::{UNICAST, afi, family_of};
use super::open::Open;
use super::wire::Reader;
use crate::config::RestartTime;
use crate::prefix::Family;

pub(super) const CODE: u8 = 64;

/// R: the sender has restarted.
const RESTARTING: u16 = 0x8000;
/// N: the sender keeps routes after a NOTIFICATION too, unless it is a Hard Reset (RFC 8538 §2).
const NOTIFICATION: u16 = 0x4000;
/// F: the sender has kept its forwarding state for this family.
const PRESERVED: u8 = 0x80;

/// What we offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// How long the peer shall keep our routes when the session is lost.
    pub restart_time: RestartTime,
    /// We have restarted, and the peer has not had our End-of-RIB since.
    pub restarting: bool,
    /// What we announced before is still being forwarded.
    pub preserved: bool,
}

impl Offered {
    /// The capability for these families.
    pub(super) fn capability(self, families: &[Family]) -> Capability {
        // N always: a NOTIFICATION of ours that is not to keep routes is a Hard Reset.
        let mut head = NOTIFICATION | self.restart_time.as_secs();
        if self.restarting {
            head |= RESTARTING;
        }
        let mut value = head.to_be_bytes().to_vec();
        for family in families {
            value.extend(afi(*family).to_be_bytes());
            value.extend([UNICAST, if self.preserved { PRESERVED } else { 0 }]);
        }
        Capability::Other(CODE, value)
    }
}

/// What the capability of an OPEN carries. Of several the last counts (RFC 4724 §3).
fn value_of(open: &Open) -> Option<&[u8]> {
    open.capabilities.iter().rev().find_map(|capability| match capability {
        Capability::Other(CODE, value) => Some(value.as_slice()),
        _ => None,
    })
}

/// Whether a peer can itself restart: it names a family at least, be it none of ours (RFC 4724 §5).
pub(super) fn can_restart(open: &Open) -> bool {
    value_of(open).is_some_and(|value| value.len() >= 6)
}

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// It has restarted.
    pub restarting: bool,
    /// It takes part in RFC 8538: after a NOTIFICATION it keeps our routes, unless that is a Hard Reset.
    pub notification: bool,
    /// How long we should keep its routes, in seconds.
    pub restart_time: u16,
    /// The families of ours for which it can itself restart, and whether it has kept its forwarding state. A peer that
    /// names none still keeps our routes: it can do so, and no more (RFC 4724 §3).
    pub families: Vec<(Family, bool)>,
}

impl GracefulRestart {
    /// What an OPEN says of it. One that is cut short is as none: not worth the session, and routes that are not kept are
    /// the safe side.
    pub fn of(open: &Open) -> Option<GracefulRestart> {
        let mut reader = Reader::new(value_of(open)?);
        let head = reader.u16().ok()?;
        let mut families = Vec::new();
        while !reader.is_empty() {
            let (afi, safi, flags) = (reader.u16().ok()?, reader.u8().ok()?, reader.u8().ok()?);
            families.extend(family_of(afi, safi).map(|family| (family, flags & PRESERVED != 0)));
        }
        Some(GracefulRestart {
            restarting: head & RESTARTING != 0,
            notification: head & NOTIFICATION != 0,
            restart_time: head & RestartTime::MAX_SECS,
            families,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Asn, HoldTime};

    fn open(values: &[&[u8]]) -> Open {
        let capabilities = values.iter().map(|value| Capability::Other(CODE, value.to_vec())).collect();
        Open { asn: Asn(65000), hold_time: HoldTime::OFF, router_id: [10, 0, 0, 1].into(), capabilities }
    }

    #[test]
    fn bits_are_where_the_rfcs_put_them() {
        let restart_time = RestartTime::from_secs(0x123).unwrap();
        for (restarting, preserved, families, expected) in [
            (false, false, &Family::ALL[..], &[0x41, 0x23, 0, 1, 1, 0, 0, 2, 1, 0][..]),
            (true, true, &Family::ALL[..], &[0xc1, 0x23, 0, 1, 1, 0x80, 0, 2, 1, 0x80]),
            (false, true, &[Family::Ipv6], &[0x41, 0x23, 0, 2, 1, 0x80]),
        ] {
            let offered = Offered { restart_time, restarting, preserved };
            assert_eq!(offered.capability(families), Capability::Other(CODE, expected.to_vec()));
            let read = GracefulRestart::of(&open(&[expected])).unwrap();
            assert_eq!((read.restarting, read.notification, read.restart_time), (restarting, true, 0x123));
            assert_eq!(read.families, families.iter().map(|family| (*family, preserved)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_routers_say() {
        let said = |values: &[&[u8]]| GracefulRestart::of(&open(values));
        // BIRD 2.0.12 with `graceful restart aware`, FRR 8.4.4 as a helper: no families.
        let helper = |restart_time| {
            Some(GracefulRestart { restarting: false, notification: false, restart_time, families: Vec::new() })
        };
        assert_eq!(said(&[&[0, 120]]), helper(120));
        assert_eq!(said(&[&[0, 60], &[0, 120]]), helper(120), "the last counts");
        // A family that is not ours is passed over.
        assert_eq!(said(&[&[0, 120, 0, 25, 70, 0x80]]), helper(120));
        assert_eq!(said(&[]), None);
        for cut in 1..6 {
            let whole = [0xc0, 0x78, 0, 1, 1, 0x80];
            assert_eq!(said(&[&whole[..cut]]).is_some(), cut == 2, "cut at {cut}");
        }
    }
}
