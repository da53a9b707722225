//! BGP-4 as an announcer speaks it: bytes in and events in, bytes out and actions out. No sockets, no clock.
//!
//! [`wire`] reads and writes octets, [`message`] frames them, [`open`], [`capability`], [`attribute`], [`as_path`], [`nlri`] and
//! [`update`] are what the messages hold, [`error`] is what a NOTIFICATION says. [`fsm`] is one connection, and [`cause`]
//! why it ended. [`peer`] is one neighbour that we announce to: [`export`] is how a route looks to it, [`adj_rib_out`]
//! what it has been told. [`speaker`] is all of them, with the routes that they shall have. [`receiver`] is one that announces to us. [`restart`] is what
//! routers that keep our routes over a restart need to know.
//!
//! A program that wants to announce routes and has no wish for sockets takes [`crate::Speaker`]; one with a loop of its own
//! begins at [`speaker`].
//!
//! RFC 4271 (BGP-4), 4760 (multiprotocol), 2545 (IPv6 next hops), 5492 (capabilities), 6793 (4-octet AS numbers),
//! 2918 (route refresh), 1997 and 8092 (communities), 4724 (graceful restart, as the restarting side), 8538 (the same with
//! NOTIFICATIONs), 4486, 6608, 9003 and 9384 (NOTIFICATIONs), 6286 (identifiers), 7606 (errors in UPDATEs), 7607 (AS 0), 8326
//! (GRACEFUL_SHUTDOWN), 8950 (IPv6 next hops of IPv4 routes), 9687 (send hold timer), 5065 (confederations), 7313 (enhanced
//! route refresh), 8654 (extended messages), 9072 (long OPENs), 9234 (roles); draft-ietf-idr-software-version,
//! draft-walton-bgp-hostname-capability.

pub mod adj_rib_out;
pub mod as_path;
pub mod attribute;
pub mod capability;
pub mod cause;
pub mod drain;
pub mod error;
pub mod export;
pub mod fsm;
pub mod message;
pub mod nlri;
pub mod omission;
pub mod open;
pub mod peer;
mod received;
pub mod receiver;
pub mod restart;
pub mod speaker;
pub mod tally;
pub mod terms;
pub mod update;
pub mod wire;
