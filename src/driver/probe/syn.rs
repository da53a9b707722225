//! `syn`: half of a TCP handshake (RFC 9293 §3.5) by a raw socket. The target's kernel answers the SYN, ours the answer: with
//! a reset, for it knows of no connection. No process of the target sees anything.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::checksum::{checksum, pseudo_header};
use super::datagram::{self, Datagram};
use super::{Fault, Run, Verdict, egress, text};
use crate::config::{Egress, FailureKind};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// The header, and the option that most servers want to see: the largest segment.
const LENGTH: usize = 24;
/// Of the largest segment of any path with Ethernet.
const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];
/// What Linux offers.
const WINDOW: u16 = 64_240;
/// An IP header with all options there can be, and a TCP header with all of its.
const PACKET_MOST: usize = 120;

/// Sends a SYN, once more after a third of the time, and waits for what the target says to it.
pub(super) fn run(at: &Run<'_>) -> Verdict {
    let fault = |error: io::Error| match error.raw_os_error() {
        Some(libc::EPERM) => Fault::new(FailureKind::Internal, "not permitted: needs CAP_NET_RAW"),
        _ => datagram::failure(&error, at.limit, "waiting for a SYN-ACK"),
    };
    let half = Half::open(at).map_err(fault)?;
    let again = at.limit.timeout() / 3;
    half.send().map_err(fault)?;
    match half.wait(Some(again)).map_err(fault)? {
        Some(answer) => return judge(answer),
        None => half.send().map_err(fault)?,
    }
    match half.wait(None).map_err(fault)? {
        Some(answer) => judge(answer),
        // Without a limit of its own the wait ends with the run's.
        None => Err(Fault::new(FailureKind::Timeout, text::timed_out(at.limit.timeout(), "waiting for a SYN-ACK"))),
    }
}

fn judge(answer: Answer) -> Verdict {
    match answer {
        Answer::SynAck => Ok("SYN-ACK".into()),
        Answer::Reset => Err(Fault::new(FailureKind::Refused, "connection refused")),
    }
}

/// Whether the system gives us such a socket.
///
/// # Errors
/// The system's word.
pub(super) fn look(family: IpAddr) -> io::Result<()> {
    Socket::new(Domain::for_address((family, 0).into()), Type::RAW, Some(Protocol::TCP)).map(drop)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    SynAck,
    Reset,
}

/// A connection that will never be.
struct Half {
    socket: Datagram,
    /// Holds our port: nobody else gets it as long as it is open, and the kernel resets what comes there.
    _port: Socket,
    source: SocketAddr,
    target: SocketAddr,
    sequence: u32,
}

impl Half {
    fn open(at: &Run<'_>) -> io::Result<Half> {
        let target = at.target;
        // A raw socket has no ports; connected, it has the packets of this target alone, and the address that leads there.
        let raw = Run { target: (target.ip(), 0).into(), ..*at };
        let socket = Datagram::open(&raw, Type::RAW, Protocol::TCP)?;
        let port = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
        egress::apply(&port, target, &Egress { source: None, ..at.egress.clone() })?;
        let address = at.egress.source.map_or_else(|| socket.local().map(|local| local.ip()), Ok)?;
        port.bind(&SocketAddr::new(address, 0).into())?;
        let source = port.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        socket.socket().attach_filter(&filter(target, source.port()))?;
        let sequence = u32::from_be_bytes(datagram::random()?);
        Ok(Half { socket, _port: port, source, target, sequence })
    }

    fn send(&self) -> io::Result<()> {
        self.socket.send(&segment(self.source, self.target, self.sequence))
    }

    /// What the target says, within some time if one is given.
    fn wait(&self, time: Option<Duration>) -> io::Result<Option<Answer>> {
        let begun = crate::driver::clock();
        let mut buffer = [0; PACKET_MOST];
        loop {
            let packet = match time {
                None => self.socket.receive(&mut buffer)?,
                Some(time) => {
                    let left = time.saturating_sub(crate::driver::clock().saturating_duration_since(begun));
                    match self.socket.receive_within(left, &mut buffer)? {
                        Some(packet) => packet,
                        None => return Ok(None),
                    }
                }
            };
            if let Some(answer) = answer(packet, self.source, self.target, self.sequence) {
                return Ok(Some(answer));
            }
        }
    }
}

/// What a packet says, if it answers the SYN of this sequence number from `source` to `target`.
fn answer(packet: &[u8], source: SocketAddr, target: SocketAddr, sequence: u32) -> Option<Answer> {
    // Raw IPv4 sockets give the header of IP too.
    let segment = match target.is_ipv4() {
        true => packet.get(4 * usize::from(packet.first()? & 0x0f)..)?,
        false => packet,
    };
    let word = |at: usize| Some(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?]));
    let acknowledged = u32::from_be_bytes(segment.get(8..12)?.try_into().ok()?);
    let is_ours = word(0)? == target.port() && word(2)? == source.port() && acknowledged == sequence.wrapping_add(1);
    let flags = *segment.get(13)? & (FIN | SYN | RST | ACK);
    match flags {
        _ if !is_ours => None,
        flags if flags == SYN | ACK => Some(Answer::SynAck),
        flags if flags == RST | ACK => Some(Answer::Reset),
        _ => None,
    }
}

/// A SYN with its checksum.
fn segment(source: SocketAddr, target: SocketAddr, sequence: u32) -> Vec<u8> {
    let mut segment = Vec::with_capacity(LENGTH);
    segment.extend(source.port().to_be_bytes());
    segment.extend(target.port().to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(0u32.to_be_bytes());
    segment.extend([((LENGTH / 4) << 4) as u8, SYN]);
    segment.extend(WINDOW.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend(MSS);
    let sum = checksum(&[&pseudo_header(source.ip(), target.ip(), LENGTH as u16), &segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// Lets through what comes from the target's port to ours. Otherwise every packet that the target sends to this host, for
/// whatever connection, would be copied for us.
fn filter(target: SocketAddr, port: u16) -> Vec<SockFilter> {
    // linux/bpf_common.h: loads, a jump, and an end.
    const LOAD_HEADER_LENGTH: u16 = 0xb1; // X = 4 * (octet[k] & 0xf)
    const LOAD_WORD_AT_X: u16 = 0x40; // A = the four octets at X + k
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let ports = u32::from(target.port()) << 16 | u32::from(port);
    let load = match target.is_ipv4() {
        true => vec![SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0), SockFilter::new(LOAD_WORD_AT_X, 0, 0, 0)],
        // Raw IPv6 sockets begin behind the header of IP.
        false => vec![SockFilter::new(LOAD_WORD, 0, 0, 0)],
    };
    let rest = [
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, ports),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ];
    load.into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segment_is_as_the_rfc_draws_it() {
        for (source, target) in [("192.0.2.9:40000", "198.51.100.7:443"), ("[2001:db8::9]:40000", "[2001:db8::7]:443")]
        {
            let (source, target): (SocketAddr, SocketAddr) = (source.parse().unwrap(), target.parse().unwrap());
            let segment = segment(source, target, 0x0102_0304);
            assert_eq!(segment[..16], [0x9c, 0x40, 0x01, 0xbb, 1, 2, 3, 4, 0, 0, 0, 0, 0x60, 0x02, 0xfa, 0xf0]);
            assert_eq!(segment[18..], [0, 0, 2, 4, 5, 0xb4]);
            // With its own checksum in place, the sum is nothing.
            assert_eq!(checksum(&[&pseudo_header(source.ip(), target.ip(), 24), &segment]), 0);
        }
    }

    /// What is no answer to this very SYN says nothing: who guesses has one chance in four thousand million.
    #[test]
    fn only_the_answer_to_ours_counts() {
        let (ours, theirs): (SocketAddr, SocketAddr) =
            ("[2001:db8::9]:40000".parse().unwrap(), "[2001:db8::7]:443".parse().unwrap());
        let reply = |from: u16, to: u16, acknowledged: u32, flags: u8| {
            let mut packet = segment(SocketAddr::new(theirs.ip(), from), SocketAddr::new(ours.ip(), to), 7);
            packet[8..12].copy_from_slice(&acknowledged.to_be_bytes());
            packet[13] = flags;
            answer(&packet, ours, theirs, u32::MAX)
        };
        assert_eq!(reply(443, 40000, 0, SYN | ACK), Some(Answer::SynAck));
        assert_eq!(reply(443, 40000, 0, RST | ACK), Some(Answer::Reset));
        for (from, to, acknowledged, flags) in [
            (443, 40000, 1, SYN | ACK),
            (443, 40000, u32::MAX, RST | ACK),
            (444, 40000, 0, SYN | ACK),
            (443, 40001, 0, SYN | ACK),
            (443, 40000, 0, SYN),
            (443, 40000, 0, ACK),
            (443, 40000, 0, SYN | ACK | RST),
        ] {
            assert_eq!(reply(from, to, acknowledged, flags), None, "{from} {to} {acknowledged} {flags}");
        }
        // Cut anywhere, and with the header of IPv4 before it.
        let whole = segment(theirs, ours, 7);
        assert!((0..14).all(|end| answer(&whole[..end], ours, theirs, 0).is_none()));
        let (ours, theirs) = (([192, 0, 2, 9], 40000).into(), ([192, 0, 2, 7], 443).into());
        let mut packet = vec![0x46; 24];
        packet.extend(segment(theirs, ours, 7));
        packet[24 + 11] = 1;
        packet[24 + 13] = SYN | ACK;
        assert_eq!(answer(&packet, ours, theirs, 0), Some(Answer::SynAck));
        assert!((0..packet.len()).all(|end| answer(&packet[..end.min(37)], ours, theirs, 0).is_none()));
    }
}
