//! Addresses of this host: how they are added, removed and asked for, and news of them.

use std::net::IpAddr;

use super::{
    AF_INET, AF_INET6, IFA_ADDRESS, IFA_LOCAL, Link, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, RTM_DELADDR,
    RTM_DELLINK, RTM_NEWLINK, attributes, ip, link, message, messages, number, put_address,
};
use crate::prefix::Prefix;

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;

const NLM_F_ACK: u16 = 4;
/// Something changed while the kernel was still telling.
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

const IFA_FLAGS: u16 = 8;

/// Octets of `struct ifaddrmsg`.
const FIXED: usize = 8;

/// Nobody is asked whether he has the address as well (duplicate address detection): that others have it is what anycast is.
const IFA_F_NODAD: u8 = 2;
const IFA_F_OPTIMISTIC: u32 = 4;
const IFA_F_DADFAILED: u32 = 8;
const IFA_F_TENTATIVE: u32 = 0x40;

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Address {
    pub(in super::super) address: IpAddr,
    /// Of its prefix.
    pub(in super::super) length: u8,
    /// The kernel's number of it.
    pub(in super::super) interface: u32,
    pub(in super::super) state: AddressState,
}

/// What can be done with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum AddressState {
    /// Everything.
    Usable,
    /// Nothing yet: it is being looked whether somebody else has it.
    Tentative,
    /// Nothing: somebody else has it.
    Duplicate,
}

/// News, or a part of the answer to [`addresses_question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum AddressEvent {
    /// It is there, and this is its state.
    There(Address),
    /// It is gone, whatever its state was.
    Gone(Address),
    Link(Link),
    LinkGone(u32),
}

/// What came in answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum AddressAnswer {
    There(Address),
    Link(Link),
    /// The last of many has come; what changed meanwhile may be missing.
    Done {
        interrupted: bool,
    },
    /// The request of this number was carried out (0), or why not: the kernel's error number.
    Result(u32, i32),
}

/// Adds a VIP's address, as `ip address add` does (to IPv6 with `nodad`).
pub(in super::super) fn add_request(sequence: u32, prefix: &Prefix, interface: u32) -> Vec<u8> {
    let flags = if prefix.address().is_ipv4() { 0 } else { IFA_F_NODAD };
    let how = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    message(RTM_NEWADDR, how, sequence, &body(prefix, flags, interface))
}

/// Removes it.
pub(in super::super) fn remove_request(sequence: u32, prefix: &Prefix, interface: u32) -> Vec<u8> {
    message(RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, sequence, &body(prefix, 0, interface))
}

/// Asks for all addresses.
pub(in super::super) fn addresses_question(sequence: u32) -> Vec<u8> {
    message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, sequence, &[0; 8])
}

/// `struct ifaddrmsg`, and the address twice: here and, as on any link but a point-to-point one, there. Without the second
/// IPv4 does not compare the length of the prefix when it removes one.
fn body(prefix: &Prefix, flags: u8, interface: u32) -> Vec<u8> {
    const GLOBAL: u8 = 0;
    let family = if prefix.address().is_ipv4() { AF_INET } else { AF_INET6 };
    let mut body = vec![family, prefix.len(), flags, GLOBAL];
    body.extend(interface.to_ne_bytes());
    put_address(&mut body, IFA_LOCAL, prefix.address());
    put_address(&mut body, IFA_ADDRESS, prefix.address());
    body
}

/// The news in what was read at once. What cannot be read, or is of no interest, is left out.
pub(in super::super) fn address_events(bytes: &[u8]) -> impl Iterator<Item = AddressEvent> + '_ {
    messages(bytes).filter_map(|message| match message.kind {
        RTM_NEWADDR => address(message.body).map(AddressEvent::There),
        RTM_DELADDR => address(message.body).map(AddressEvent::Gone),
        RTM_NEWLINK => link(message.body).map(AddressEvent::Link),
        // Of a bridge's port that leaves it, too.
        RTM_DELLINK if message.body.first() == Some(&0) => number(message.body, 4).map(AddressEvent::LinkGone),
        _ => None,
    })
}

/// The answers to what was asked with these numbers.
pub(in super::super) fn address_answers(
    bytes: &[u8],
    sequences: impl Fn(u32) -> bool,
) -> impl Iterator<Item = AddressAnswer> {
    messages(bytes).filter(move |message| sequences(message.sequence)).filter_map(|message| match message.kind {
        RTM_NEWADDR => address(message.body).map(AddressAnswer::There),
        RTM_NEWLINK => link(message.body).map(AddressAnswer::Link),
        NLMSG_DONE => Some(AddressAnswer::Done { interrupted: message.flags & NLM_F_DUMP_INTR != 0 }),
        NLMSG_ERROR => {
            let error = number(message.body, 0)?.cast_signed().saturating_neg();
            Some(AddressAnswer::Result(message.sequence, error))
        }
        _ => None,
    })
}

/// `struct ifaddrmsg`, the address, and flags that do not fit there.
fn address(body: &[u8]) -> Option<Address> {
    let (family, length, flags, interface) = (*body.first()?, *body.get(1)?, *body.get(2)?, number(body, 4)?);
    let of = |wanted| attributes(body, FIXED).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    // On a point-to-point link the other one is the far end.
    let address = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS)).and_then(ip)?;
    if (family == AF_INET) != address.is_ipv4() {
        return None;
    }
    let flags = of(IFA_FLAGS).and_then(|value| number(value, 0)).unwrap_or(u32::from(flags));
    let state = match flags {
        _ if flags & IFA_F_DADFAILED != 0 => AddressState::Duplicate,
        _ if flags & IFA_F_TENTATIVE != 0 && flags & IFA_F_OPTIMISTIC == 0 => AddressState::Tentative,
        _ => AddressState::Usable,
    };
    Some(Address { address, length, interface, state })
}

#[cfg(test)]
mod tests;
