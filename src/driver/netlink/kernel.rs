//! The sockets to the kernel: two that hear news, one that asks.
//!
//! News of routes has a socket of its own: a router that takes in a full table may make it overflow, and a link that goes
//! down meanwhile is heard of all the same.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto, socket_with,
    sockopt,
};

use super::Path;
use super::message::{self, Answer, Ask, Event, Leg, Link};
use super::suspects::Found;

/// The groups of `<linux/rtnetlink.h>`, by their number.
pub(super) const LINK: u32 = group(1);
pub(super) const IPV4_ADDRESS: u32 = group(5);
const IPV4_ROUTE: u32 = group(7);
const IPV4_RULE: u32 = group(8);
pub(super) const IPV6_ADDRESS: u32 = group(9);
const IPV6_ROUTE: u32 = group(11);
const IPV6_RULE: u32 = group(19);
const NEXT_HOP: u32 = group(32);

const fn group(number: u32) -> u32 {
    1 << (number - 1)
}

/// What is asked for; without CAP_NET_ADMIN the system gives `net.core.rmem_max` at most.
const ROOM: usize = 4 << 20;
/// As much as the kernel puts into one answer (NLMSG_GOODSIZE, and 32 KiB for those of many parts).
pub(super) const BUFFER: usize = 64 * 1024;
/// How long an answer may take. The kernel has it ready when the question is asked, but for links it may have to wait.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Datagrams read from one socket in one go.
pub(super) const TURN: usize = 256;

/// The sockets.
pub(super) struct Kernel {
    news: OwnedFd,
    routes: OwnedFd,
    questions: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Kernel {
    /// From here on nothing is missed.
    pub(super) fn open() -> io::Result<Kernel> {
        let news = LINK | IPV4_ADDRESS | IPV4_RULE | IPV6_ADDRESS | IPV6_RULE | NEXT_HOP;
        let kernel = Kernel {
            news: socket(news)?,
            routes: socket(IPV4_ROUTE | IPV6_ROUTE)?,
            questions: socket(0)?,
            sequence: 0,
            buffer: vec![0; BUFFER],
        };
        make_room(&kernel.news)?;
        make_room(&kernel.routes)?;
        sockopt::set_socket_timeout(&kernel.questions, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(kernel)
    }

    /// Readable when there is news of links, addresses, rules and next hops, and when there is of routes.
    pub(super) fn ears(&self) -> [&OwnedFd; 2] {
        [&self.news, &self.routes]
    }

    /// Takes a bounded amount of the news that is not of routes. Whether some was lost.
    ///
    /// # Errors
    /// When nothing will ever come.
    pub(super) fn hear_news(&mut self, tell: &mut dyn FnMut(Event)) -> io::Result<bool> {
        hear(&self.news, &mut self.buffer, tell)
    }

    /// The same of routes.
    pub(super) fn hear_routes(&mut self, tell: &mut dyn FnMut(Event)) -> io::Result<bool> {
        hear(&self.routes, &mut self.buffer, tell)
    }

    /// All links.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        self.sequence = self.sequence.wrapping_add(1);
        self.ask(&message::links_question(self.sequence))?;
        let mut links = Vec::new();
        loop {
            for answer in self.answers()? {
                match answer {
                    Answer::Link(link) => links.push(link),
                    Answer::Done => return Ok(links),
                    Answer::Refused(number) => return Err(io::Error::from_raw_os_error(number)),
                    Answer::Way(_) => {}
                }
            }
        }
    }

    /// The way to a target.
    pub(super) fn find(&mut self, path: &Path) -> io::Result<Found> {
        let Some(name) = &path.egress.interface else {
            let legs = match self.legs(path, Ask::AllLegs)? {
                // Of next hops that routes share, not every kernel tells what they are (net.ipv4.nexthop_compat_mode).
                Some(legs) if legs.is_empty() => self.legs(path, Ask::OneLeg)?,
                legs => legs,
            };
            return Ok(Found { legs: legs.unwrap_or_default(), bound_to: None });
        };
        match self.index_of(name) {
            Ok(index) => {
                let legs = self.legs(path, Ask::By(index))?;
                Ok(Found { legs: legs.unwrap_or_default(), bound_to: Some(index) })
            }
            // Nor does anything leave by an interface that is not there.
            Err(Errno::NODEV) => Ok(Found { legs: Vec::new(), bound_to: None }),
            Err(error) => Err(error.into()),
        }
    }

    /// Nothing when there is no route, an unreachable one, or a source address that is none of this host.
    fn legs(&mut self, path: &Path, ask: Ask) -> io::Result<Option<Vec<Leg>>> {
        self.sequence = self.sequence.wrapping_add(1);
        self.ask(&message::route_question(self.sequence, path.address, &path.egress, ask))?;
        loop {
            for answer in self.answers()? {
                match answer {
                    Answer::Way(legs) => return Ok(Some(legs)),
                    Answer::Refused(_) => return Ok(None),
                    Answer::Link(_) | Answer::Done => {}
                }
            }
        }
    }

    fn index_of(&self, name: &str) -> Result<u32, Errno> {
        // Any socket will do.
        rustix::net::netdevice::name_to_index(&self.questions, name)
    }

    fn ask(&self, question: &[u8]) -> io::Result<()> {
        send(&self.questions, question)
    }

    /// What is there in answer to the last question, and nothing of those before.
    fn answers(&mut self) -> io::Result<Vec<Answer>> {
        loop {
            match receive(&self.questions, &mut self.buffer, RecvFlags::empty()) {
                Ok(bytes) => return Ok(message::answers(bytes, self.sequence).collect()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn hear(ear: &OwnedFd, buffer: &mut [u8], tell: &mut dyn FnMut(Event)) -> io::Result<bool> {
    let mut lost = false;
    for _ in 0..TURN {
        match receive(ear, buffer, RecvFlags::DONTWAIT) {
            Ok(bytes) => message::events(bytes).for_each(&mut *tell),
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(Errno::NOBUFS) => {
                lost = true;
                tell(Event::Missed);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(lost)
}

/// Makes room for as much as it may have.
pub(super) fn make_room(socket: &OwnedFd) -> io::Result<()> {
    if sockopt::set_socket_recv_buffer_size_force(socket, ROOM).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, ROOM)?;
    }
    Ok(())
}

/// To the kernel.
pub(super) fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    sendto(socket, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    Ok(())
}

/// One datagram of the kernel's; those of anybody else are empty.
pub(super) fn receive<'a>(socket: &impl AsFd, buffer: &'a mut [u8], flags: RecvFlags) -> Result<&'a [u8], Errno> {
    let (count, _, from) = recvfrom(socket, &mut *buffer, flags)?;
    let is_kernel = from.and_then(|from| SocketAddrNetlink::try_from(from).ok()).is_some_and(|from| from.pid() == 0);
    Ok(if is_kernel { buffer.get(..count).unwrap_or_default() } else { &[] })
}

pub(super) fn socket(groups: u32) -> io::Result<OwnedFd> {
    // Which is protocol 0, that of who names none.
    const NETLINK_ROUTE: Option<Protocol> = None;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, NETLINK_ROUTE)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}
