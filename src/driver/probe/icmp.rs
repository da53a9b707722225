//! `icmp`: echo requests (RFC 792, RFC 4443 §4). By a socket that anybody may have who is in `net.ipv4.ping_group_range`,
//! else by a raw one.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use socket2::{Protocol, Type};

use super::checksum::checksum;
use super::datagram::{self, Datagram};
use super::{Fault, Run, Verdict, text};
use crate::config::{FailureKind, IcmpProbe};
use crate::driver::sys;

/// Octets that tell a reply to us from others.
const TOKEN: usize = 8;
const HEADER: usize = 8;
/// An IP header with all options there can be.
const IP_MOST: usize = 60;

/// The types of a request and a reply.
const TYPES4: (u8, u8) = (8, 0);
const TYPES6: (u8, u8) = (128, 129);

/// Sends requests one after the other, and passes as soon as enough have been answered.
pub(super) fn run(at: &Run<'_>, probe: &IcmpProbe) -> Verdict {
    let at = &Run { target: (at.target.ip(), 0).into(), ..*at };
    let count = u32::from(probe.count);
    let needed = count - count * u32::from(probe.max_loss) / 100;
    let mut ping = Ping::open(at, probe.size).map_err(|error| failure(&error, at))?;
    let mut trouble = None;
    for number in 0..probe.count {
        let left = at.limit.timeout().saturating_sub(at.limit.spent());
        // The last one has all that is left.
        let share = left / (count - u32::from(number));
        match ping.ask(number, share, needed) {
            Ok(()) => {}
            Err(error) if is_over(&error) => break,
            // What the network says of one request may be untrue of the next.
            Err(error) => trouble = Some(failure(&error, at)),
        }
        if ping.answered() >= needed {
            return Ok(if count == 1 { "echo reply".into() } else { "enough echo replies".into() });
        }
    }
    let told = trouble.as_ref().map(|fault| format!(": {}", fault.words)).unwrap_or_default();
    let kind = trouble.map_or(FailureKind::Timeout, |fault| fault.kind);
    let words = match (count, ping.answered()) {
        (1, _) if told.is_empty() => format!("no echo reply within {}", text::duration(at.limit.timeout())),
        (1, _) => told.trim_start_matches(": ").to_owned(),
        (_, answered) => format!("{answered} of {count} echo replies, {needed} needed{told}"),
    };
    Err(Fault::new(kind, words))
}

fn is_over(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<super::limit::Over>())
}

fn failure(error: &io::Error, at: &Run<'_>) -> Fault {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            Fault::new(FailureKind::Internal, "not permitted: needs net.ipv4.ping_group_range or CAP_NET_RAW")
        }
        // Echo requests go to no port: it is a firewall that says so.
        Some(libc::ECONNREFUSED) => Fault::new(FailureKind::Unreachable, "refused on the way"),
        _ => datagram::failure(error, at.limit, "waiting for an echo reply"),
    }
}

/// Whether there is a socket for us.
///
/// # Errors
/// The system's word.
pub(super) fn look(family: IpAddr) -> io::Result<()> {
    let target = (family, 0).into();
    let limit = super::limit::Limit::new(Duration::from_secs(1));
    socket(&Run { target, egress: &Default::default(), limit }).map(drop)
}

/// A socket, and whether it is a raw one.
fn socket(at: &Run<'_>) -> io::Result<(Datagram, bool)> {
    let protocol = if at.target.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    match Datagram::open(at, Type::DGRAM, protocol) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPROTONOSUPPORT)) => {
            Ok((Datagram::open(at, Type::RAW, protocol)?, true))
        }
        opened => Ok((opened?, false)),
    }
}

struct Ping {
    socket: Datagram,
    is_raw: bool,
    is_ipv4: bool,
    id: [u8; 2],
    token: [u8; TOKEN],
    size: usize,
    /// A bit for each request that has been answered.
    answers: u32,
}

impl Ping {
    fn open(at: &Run<'_>, size: u16) -> io::Result<Ping> {
        let (socket, is_raw) = socket(at)?;
        let is_ipv4 = at.target.is_ipv4();
        match (is_raw, is_ipv4) {
            (false, _) => {}
            (true, true) => sys::set_icmp_types(socket.socket(), &[TYPES4.1])?,
            (true, false) => sys::set_icmp6_types(socket.socket(), &[TYPES6.1])?,
        }
        // A socket that is not raw has an id of its own, which the system puts in.
        Ok(Ping {
            socket,
            is_raw,
            is_ipv4,
            id: datagram::random()?,
            token: datagram::random()?,
            size: size.into(),
            answers: 0,
        })
    }

    fn answered(&self) -> u32 {
        self.answers.count_ones()
    }

    /// Sends one request, and takes replies for so long, or until there are enough.
    fn ask(&mut self, number: u8, time: Duration, needed: u32) -> io::Result<()> {
        self.socket.send(&self.request(number))?;
        let mut buffer = vec![0; IP_MOST + HEADER + self.size];
        let begun = crate::driver::clock();
        loop {
            let left = time.saturating_sub(crate::driver::clock().saturating_duration_since(begun));
            if left.is_zero() {
                return Ok(());
            }
            let Some(packet) = self.socket.receive_within(left, &mut buffer)? else { return Ok(()) };
            if let Some(answered) = self.reply(packet) {
                self.answers |= 1u32.checked_shl(answered.into()).unwrap_or_default();
                // The next one can go; or that was the last.
                if answered == number || self.answered() >= needed {
                    return Ok(());
                }
            }
        }
    }

    fn request(&self, number: u8) -> Vec<u8> {
        let kind = if self.is_ipv4 { TYPES4.0 } else { TYPES6.0 };
        let mut packet = vec![kind, 0, 0, 0, self.id[0], self.id[1], 0, number];
        packet.extend(self.token.iter().copied().chain(std::iter::repeat(0)).take(self.size));
        if self.is_ipv4 {
            // The system computes that of ICMPv6.
            let sum = checksum(&[&packet]);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// Which request a packet answers, if it is ours.
    fn reply(&self, packet: &[u8]) -> Option<u8> {
        let message = match self.is_raw && self.is_ipv4 {
            true => packet.get(4 * usize::from(packet.first()? & 0x0f)..)?,
            false => packet,
        };
        let kind = if self.is_ipv4 { TYPES4.1 } else { TYPES6.1 };
        let (header, payload) = message.split_at_checked(HEADER)?;
        let is_ours =
            header[0] == kind && header[1] == 0 && (!self.is_raw || header[4..6] == self.id) && header[6] == 0;
        let token = self.token.get(..self.size.min(TOKEN))?;
        (is_ours && payload.starts_with(token)).then_some(header[7])
    }
}
