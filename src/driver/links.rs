//! Raw ICMPv6 sockets, one for each interface with an unnumbered peer: what [`discovery`](crate::discovery) says and hears.
//!
//! They need CAP_NET_RAW. They receive Router Solicitations and Advertisements and nothing else, a bounded number in a
//! turn.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::dial::describe;
use super::sys;
use crate::discovery::Action;
use crate::discovery::message::{HOP_LIMIT, TYPES};

/// The link-local scope (RFC 4291 §2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Packets read from one interface in one turn.
const PACKETS: usize = 32;
/// What is read of one: more than any option that anybody sends there.
const PACKET_MAX: usize = 1500;

/// A packet that came.
pub(super) struct Packet {
    pub(super) interface: Arc<str>,
    pub(super) source: IpAddr,
    pub(super) hop_limit: Option<u8>,
    pub(super) bytes: Vec<u8>,
}

/// The sockets.
pub(super) struct Links {
    registry: Registry,
    by_token: BTreeMap<usize, Link>,
    next_token: usize,
    answers: VecDeque<(Arc<str>, Result<(), String>)>,
}

struct Link {
    interface: Arc<str>,
    index: u32,
    socket: Socket,
}

impl Links {
    /// Tokens count up from `first_token` and are never used twice.
    pub(super) fn new(registry: Registry, first_token: usize) -> Links {
        Links { registry, by_token: BTreeMap::new(), next_token: first_token, answers: VecDeque::new() }
    }

    /// Opens, closes and sends. What came of it is told by [`answer`](Self::answer).
    pub(super) fn apply(&mut self, action: Action) {
        let (interface, result) = match action {
            Action::Open(interface) => {
                let result = self.open(&interface);
                return self.answers.push_back((interface, result));
            }
            Action::Close(interface) => return self.close(&interface),
            Action::Solicit(interface, bytes) => (interface.clone(), self.send(&interface, ALL_ROUTERS, &bytes)),
            Action::Advertise(interface, bytes) => (interface.clone(), self.send(&interface, ALL_NODES, &bytes)),
            // Not for the driver.
            Action::Found(..) | Action::Notice(_) => return,
        };
        if result.is_err() {
            self.close(&interface);
            self.answers.push_back((interface, result));
        }
    }

    /// The next interface that was opened, or that cannot be used and why.
    pub(super) fn answer(&mut self) -> Option<(Arc<str>, Result<(), String>)> {
        self.answers.pop_front()
    }

    /// Whether there is an answer.
    pub(super) fn has_work(&self) -> bool {
        !self.answers.is_empty()
    }

    fn open(&mut self, interface: &Arc<str>) -> Result<(), String> {
        self.close(interface);
        let link = Link::open(interface).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => format!("{}: unnumbered peers need CAP_NET_RAW", describe(&error)),
            _ => describe(&error),
        })?;
        let token = self.next_token;
        self.next_token += 1;
        let registered =
            self.registry.register(&mut SourceFd(&link.socket.as_raw_fd()), Token(token), Interest::READABLE);
        registered.map_err(|error| describe(&error))?;
        self.by_token.insert(token, link);
        Ok(())
    }

    fn close(&mut self, interface: &str) {
        let token = self.by_token.iter().find(|(_, link)| &*link.interface == interface).map(|(token, _)| *token);
        if let Some(link) = token.and_then(|token| self.by_token.remove(&token)) {
            // The descriptor is closed right after: a failure leaves nothing behind.
            let _gone_anyway = self.registry.deregister(&mut SourceFd(&link.socket.as_raw_fd()));
        }
    }

    /// Whether a token is of one of these.
    pub(super) fn has(&self, token: Token) -> bool {
        self.by_token.contains_key(&token.0)
    }

    /// What has come by the interface of a token, at most a turn's worth. Readiness is told once for each packet that comes:
    /// what is left is read with the next.
    pub(super) fn receive(&self, token: Token) -> Vec<Packet> {
        let Some(link) = self.by_token.get(&token.0) else { return Vec::new() };
        let mut packets = Vec::new();
        let mut buffer = [0; PACKET_MAX];
        while packets.len() < PACKETS
            && let Some((source, hop_limit, count)) = link.read(&mut buffer)
        {
            let bytes = buffer.get(..count).unwrap_or_default().to_vec();
            packets.push(Packet { interface: link.interface.clone(), source, hop_limit, bytes });
        }
        packets
    }

    fn send(&self, interface: &str, to: Ipv6Addr, bytes: &[u8]) -> Result<(), String> {
        let Some(link) = self.by_token.values().find(|link| &*link.interface == interface) else { return Ok(()) };
        let to = SockAddr::from(SocketAddrV6::new(to, 0, 0, link.index));
        match link.socket.send_to(bytes, &to) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(describe(&error)),
            // A full queue drops it, as the wire might have: it is said again.
            _ => Ok(()),
        }
    }
}

impl Link {
    fn open(interface: &Arc<str>) -> io::Result<Link> {
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(Domain::IPV6, kind, Some(Protocol::ICMPV6))?;
        let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
        sys::set_icmp6_types(&socket, &TYPES)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_recv_hoplimit_v6(true)?;
        // Solicitations go to all routers; what goes to all nodes comes anyway.
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        Ok(Link { interface: interface.clone(), index, socket })
    }

    /// The next packet: its source, its hop limit and how many octets it has.
    fn read(&self, buffer: &mut [u8]) -> Option<(IpAddr, Option<u8>, usize)> {
        let mut control = nix::cmsg_space!(libc::c_int);
        loop {
            let mut parts = [IoSliceMut::new(buffer)];
            let received =
                recvmsg::<SockaddrIn6>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT);
            match received {
                Err(nix::errno::Errno::EINTR) => {}
                // An error that the socket carries, such as a network that is down, is told and gone; sending tells it too.
                Err(_) => return None,
                Ok(message) => {
                    let source = message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
                    let mut control = message.cmsgs().ok()?;
                    let hop_limit = control.find_map(|message| match message {
                        ControlMessageOwned::Ipv6HopLimit(hops) => u8::try_from(hops).ok(),
                        _ => None,
                    });
                    return Some((source.into(), hop_limit, message.bytes));
                }
            }
        }
    }
}
