//! The messages of rtnetlink(7): what is asked of the kernel, and what is read of its answers and news.
//!
//! By hand, as Herald needs five fixed headers and nine attributes of them: a library for all of rtnetlink reads each
//! message to its last attribute, into memory of its own, has words for the log where a newer kernel says more than it
//! knows, and knows nothing of next hops. Numbers are in the order of the host.

pub(super) mod address;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Egress;
use crate::prefix::Prefix;

/// News, as far as they can matter to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A link is there, and this is its state.
    Link(Link),
    /// There is no such link any more.
    LinkGone(u32),
    /// All links that there are.
    Links(Vec<Link>),
    /// A route came, went or changed, in whatever table.
    Route(Prefix, Change),
    /// An own address went, and with it, unsaid, the routes that need it.
    AddressGone { address: IpAddr, interface: u32 },
    /// A rule that says which table counts came or went.
    Rules,
    /// A next hop that routes share changed or went.
    NextHop,
    /// There was more news than room.
    Missed,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The kernel's number for it.
    pub(super) index: u32,
    pub(super) name: String,
    /// It is switched on, has a carrier and works.
    pub(super) up: bool,
}

/// What became of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Gone,
    New,
    Replaced,
    /// Packets are refused (unreachable) from now on.
    Unreachable,
    /// They are dropped without a word.
    Blackhole,
    /// They are refused by decision of an administrator.
    Prohibited,
}

/// One way that packets may go: by this interface, to a router or (without one) to the target itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) interface: u32,
    pub(super) gateway: Option<IpAddr>,
}

/// What came in answer to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// By all of these, of which each packet takes one; by none that can be told from this when there is none.
    Way(Vec<Leg>),
    Link(Link),
    /// The last of many has come.
    Done,
    /// The kernel's error number, above 0.
    Refused(i32),
}

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_DUMP: u16 = 0x300;

const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_MARK: u16 = 16;
const RTA_VIA: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// A route that the kernel keeps for itself, for one destination.
const RTM_F_CLONED: u32 = 0x200;
/// The whole route is asked for, not what it comes to for one packet.
const RTM_F_FIB_MATCH: u32 = 0x2000;
/// No packet takes this leg.
const RTNH_F_DEAD: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTN_PROHIBIT: u8 = 8;

/// As `<linux/if.h>` has it; switched on, works, has a carrier.
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 1 << 6;
const IFF_LOWER_UP: u32 = 1 << 16;

/// The number that `lo` has in every network namespace.
const LOOPBACK: Leg = Leg { interface: 1, gateway: None };

const AF_INET: u8 = libc::AF_INET as u8;
const AF_INET6: u8 = libc::AF_INET6 as u8;

/// Which of the legs of a route are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// All: not every packet need take the same.
    AllLegs,
    /// The one that the kernel would take now.
    OneLeg,
    /// The one that it would take for who is bound to the interface or VRF of this number.
    By(u32),
}

/// Asks which way packets go to an address, sent as `egress` says.
pub(super) fn route_question(sequence: u32, target: IpAddr, egress: &Egress, ask: Ask) -> Vec<u8> {
    let family = if target.is_ipv4() { AF_INET } else { AF_INET6 };
    let bits = |address: Option<IpAddr>| address.map_or(0, |it| if it.is_ipv4() { 32 } else { 128 });
    let mut body = vec![family, bits(Some(target)), bits(egress.source), egress.traffic_class().unwrap_or(0)];
    // Table, protocol, scope, type: the kernel's choice.
    body.extend([0; 4]);
    body.extend(if ask == Ask::AllLegs { RTM_F_FIB_MATCH } else { 0 }.to_ne_bytes());
    put_address(&mut body, RTA_DST, target);
    if let Some(source) = egress.source {
        put_address(&mut body, RTA_SRC, source);
    }
    if let Ask::By(interface) = ask {
        put(&mut body, RTA_OIF, &interface.to_ne_bytes());
    }
    if let Some(mark) = egress.mark {
        put(&mut body, RTA_MARK, &mark.to_ne_bytes());
    }
    message(RTM_GETROUTE, NLM_F_REQUEST, sequence, &body)
}

/// Asks for all links.
pub(super) fn links_question(sequence: u32) -> Vec<u8> {
    message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, sequence, &[0; 16])
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

fn put_address(body: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => put(body, kind, &address.octets()),
        IpAddr::V6(address) => put(body, kind, &address.octets()),
    }
}

/// The values here are multiples of four octets, so nothing is padded.
fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

/// Octets before the body of a message.
const HEADER: usize = 16;

/// One message.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The news in what was read at once. What cannot be read, or is of no interest, is left out.
pub(super) fn events(bytes: &[u8]) -> impl Iterator<Item = Event> + '_ {
    messages(bytes).filter_map(|message| event(&message))
}

/// The answers to the question of this number.
pub(super) fn answers(bytes: &[u8], sequence: u32) -> impl Iterator<Item = Answer> + '_ {
    messages(bytes).filter(move |message| message.sequence == sequence).filter_map(|message| answer(&message))
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = number(bytes, 0)? as usize;
        let message = bytes.get(..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: short(message, 4)?,
            flags: short(message, 6)?,
            sequence: number(message, 8)?,
            body: message.get(HEADER..)?,
        })
    })
}

fn event(message: &Message<'_>) -> Option<Event> {
    let body = message.body;
    match message.kind {
        RTM_NEWLINK => link(body).map(Event::Link),
        RTM_DELLINK => {
            // Of a bridge's port that leaves it, too, and then it is the bridge who says so.
            let by_its_bridge = *body.first()? != 0;
            (!by_its_bridge).then_some(Event::LinkGone(number(body, 4)?))
        }
        RTM_DELADDR => {
            let interface = number(body, 4)?;
            let of = |wanted| attributes(body, 8).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| ip(value));
            // On a point-to-point link the other one is the far end.
            let address = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS))?;
            Some(Event::AddressGone { address, interface })
        }
        RTM_NEWROUTE | RTM_DELROUTE => route(message),
        RTM_NEWRULE | RTM_DELRULE => Some(Event::Rules),
        // Nothing uses one that is new.
        RTM_NEWNEXTHOP => (message.flags & NLM_F_REPLACE != 0).then_some(Event::NextHop),
        RTM_DELNEXTHOP => Some(Event::NextHop),
        _ => None,
    }
}

fn answer(message: &Message<'_>) -> Option<Answer> {
    match message.kind {
        RTM_NEWROUTE => legs(message.body).map(Answer::Way),
        RTM_NEWLINK => link(message.body).map(Answer::Link),
        NLMSG_DONE => Some(Answer::Done),
        NLMSG_ERROR => Some(Answer::Refused(number(message.body, 0)?.cast_signed().saturating_neg())),
        _ => None,
    }
}

/// `struct ifinfomsg`, and the name.
fn link(body: &[u8]) -> Option<Link> {
    const WORKING: u32 = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
    // A bridge tells of its ports in its own family: their state as its ports.
    if *body.first()? != 0 {
        return None;
    }
    let name = attributes(body, 16).find(|(kind, _)| *kind == IFLA_IFNAME)?.1;
    let name = name.split(|octet| *octet == 0).next().unwrap_or_default();
    Some(Link {
        index: number(body, 4)?,
        name: String::from_utf8_lossy(name).into_owned(),
        up: number(body, 8)? & WORKING == WORKING,
    })
}

/// `struct rtmsg`, and the destination, which a default route has none of.
fn route(message: &Message<'_>) -> Option<Event> {
    let body = message.body;
    let (family, length, kind, flags) = (*body.first()?, *body.get(1)?, *body.get(7)?, number(body, 8)?);
    if flags & RTM_F_CLONED != 0 {
        return None;
    }
    let unspecified = match family {
        AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        // Multicast, MPLS.
        _ => return None,
    };
    let destination = attributes(body, 12).find(|(kind, _)| *kind == RTA_DST).and_then(|(_, value)| ip(value));
    let change = match (message.kind, kind) {
        (RTM_DELROUTE, _) => Change::Gone,
        (_, RTN_UNREACHABLE) => Change::Unreachable,
        (_, RTN_BLACKHOLE) => Change::Blackhole,
        (_, RTN_PROHIBIT) => Change::Prohibited,
        _ if message.flags & NLM_F_REPLACE != 0 => Change::Replaced,
        _ => Change::New,
    };
    Some(Event::Route(Prefix::covering(destination.unwrap_or(unspecified), length), change))
}

/// The legs of a route in an answer.
fn legs(body: &[u8]) -> Option<Vec<Leg>> {
    match *body.get(7)? {
        // The kernel says so by an error: this is for when it should ever not.
        RTN_BLACKHOLE | RTN_UNREACHABLE | RTN_PROHIBIT => return Some(Vec::new()),
        // An own address, which is there whatever becomes of its interface.
        RTN_LOCAL => return Some(vec![LOOPBACK]),
        _ => {}
    }
    let mut legs = Vec::new();
    if let Some((_, mut rest)) = attributes(body, 12).find(|(kind, _)| *kind == RTA_MULTIPATH) {
        // `struct rtnexthop`, and attributes of each.
        while let Some(length) = short(rest, 0).map(usize::from)
            && let Some(hop) = rest.get(..length)
            && let (Some(flags), Some(interface)) = (hop.get(2), number(hop, 4))
        {
            if flags & RTNH_F_DEAD == 0 {
                legs.push(Leg { interface, gateway: gateway(hop, 8) });
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    let interface = attributes(body, 12).find(|(kind, _)| *kind == RTA_OIF).and_then(|(_, value)| number(value, 0));
    if let Some(interface) = interface
        && number(body, 8)? & u32::from(RTNH_F_DEAD) == 0
    {
        legs.push(Leg { interface, gateway: gateway(body, 12) });
    }
    Some(legs)
}

fn gateway(body: &[u8], header: usize) -> Option<IpAddr> {
    attributes(body, header).find_map(|(kind, value)| match kind {
        RTA_GATEWAY => ip(value),
        // A router of the other family, after the number of that family.
        RTA_VIA => ip(value.get(2..)?),
        _ => None,
    })
}

/// Kind and value of each, after a header of so many octets.
fn attributes(body: &[u8], header: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(header..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(short(rest, 0)?);
        // The two highest bits say how the value is to be read.
        let attribute = (short(rest, 2)? & 0x3fff, rest.get(4..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
