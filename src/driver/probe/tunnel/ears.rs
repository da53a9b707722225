//! The receiving side: one raw ICMP socket for each family in use, one thread that reads them, and the runs that wait.
//!
//! An echo reply comes by no socket of the run that asked for it, and every raw socket gets every reply that comes to
//! this host: one for all, so that a reply is read once and not once for each run. A reply is for the run whose token
//! it carries, if it comes from the run's target. All others, whoever pings whomever, cost nothing but their reading.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recvfrom};
use rustix::rand::{GetRandomFlags, getrandom};
use socket2::{Domain, Protocol, Socket, Type};

use super::packet::{self, Token};
use crate::driver::sys;

/// Room for a burst of replies; the system may give less.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Packets read from one family before the other's turn.
const PACKETS: usize = 256;
/// What is read of one: more than any reply to us, with all IP options that there can be.
const PACKET_MAX: usize = 128;
/// As the workers: a flood of pings must not keep the loop from its timers.
const NICE: i32 = 10;

/// Open ears. Dropped, they are closed, and the thread ends.
pub(in crate::driver::probe) struct Ears {
    families: Families,
    shared: Arc<Shared>,
}

/// What is listened to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Families {
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
}

/// What the thread shares with the runs.
struct Shared {
    waiting: Mutex<BTreeMap<Token, Waiter>>,
    /// Readable when the thread shall end.
    end: OwnedFd,
}

struct Waiter {
    target: IpAddr,
    bell: Arc<OwnedFd>,
}

/// A run that waits; until this is dropped.
pub(super) struct Waiting<'e> {
    shared: &'e Shared,
    token: Token,
    bell: Arc<OwnedFd>,
}

impl Ears {
    /// Opens what is listened to.
    ///
    /// # Errors
    /// The system's word: EPERM without CAP_NET_RAW.
    pub(super) fn open(families: Families) -> io::Result<Ears> {
        let mut sockets = Vec::new();
        if families.ipv4 {
            let socket = socket(Domain::IPV4, Protocol::ICMPV4)?;
            sys::set_icmp_types(&socket, &[packet::REPLY])?;
            sockets.push(socket);
        }
        if families.ipv6 {
            let socket = socket(Domain::IPV6, Protocol::ICMPV6)?;
            sys::set_icmp6_types(&socket, &[packet::REPLY6])?;
            sockets.push(socket);
        }
        let shared = Arc::new(Shared { waiting: Mutex::default(), end: bell()? });
        let for_thread = shared.clone();
        // Nobody waits for its end: it holds nothing but these sockets.
        thread::Builder::new().name("tunnel-replies".to_owned()).spawn(move || for_thread.listen(&sockets))?;
        Ok(Ears { families, shared })
    }

    /// From now on an echo reply from this address with the token of what is returned is heard.
    ///
    /// # Errors
    /// The system's word, or that nobody listens to this family.
    pub(super) fn wait_for(&self, target: IpAddr) -> io::Result<Waiting<'_>> {
        let heard = if target.is_ipv4() { self.families.ipv4 } else { self.families.ipv6 };
        if !heard {
            return Err(io::Error::other("internal error: nobody listens for its reply"));
        }
        let bell = Arc::new(bell()?);
        let token = token()?;
        self.shared.waiting().insert(token, Waiter { target, bell: bell.clone() });
        Ok(Waiting { shared: &self.shared, token, bell })
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        ring(&self.shared.end);
    }
}

impl Waiting<'_> {
    /// What the echo request must carry.
    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// Readable once the reply is there.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.token);
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Token, Waiter>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn listen(&self, sockets: &[Socket]) {
        // Where even this is forbidden, it listens at the loop's priority.
        let _ = rustix::process::setpriority_process(None, NICE);
        while self.is_wanted(sockets, None) {
            let broken = sockets.iter().filter(|socket| self.read(socket).is_err()).count();
            // A system that cannot give a packet now (no memory, a network that goes down) is not asked without pause.
            if broken > 0 && !self.is_wanted(&[], Some(Timespec { tv_sec: 0, tv_nsec: 100_000_000 })) {
                return;
            }
        }
    }

    /// Waits until one of the sockets is readable, or for so long. False when the ears are closed.
    fn is_wanted(&self, sockets: &[Socket], time: Option<Timespec>) -> bool {
        let mut fds = vec![PollFd::new(&self.end, PollFlags::IN)];
        fds.extend(sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        // Interrupted or out of memory: reading tells whether there is something.
        let _ = poll(&mut fds, time.as_ref());
        fds.first().is_none_or(|end| end.revents().is_empty())
    }

    /// What has come by one socket, a turn's worth.
    fn read(&self, socket: &Socket) -> Result<(), Errno> {
        let mut buffer = [0; PACKET_MAX];
        for _ in 0..PACKETS {
            let (source, packet) = match recvfrom(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((count, _, source)) => (source, buffer.get(..count).unwrap_or_default()),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            let Some(source) = source.and_then(|source| SocketAddr::try_from(source).ok()) else { continue };
            let token = match source.ip() {
                IpAddr::V4(_) => packet::reply_in_ipv4(packet),
                IpAddr::V6(_) => packet::reply_in_icmpv6(packet),
            };
            if let Some(token) = token {
                self.hear(token, source.ip());
            }
        }
        Ok(())
    }

    fn hear(&self, token: Token, source: IpAddr) {
        if let Some(waiter) = self.waiting().get(&token).filter(|waiter| waiter.target == source) {
            ring(&waiter.bell);
        }
    }
}

fn socket(domain: Domain, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    Ok(socket)
}

fn bell() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

fn ring(bell: &OwnedFd) {
    // It can only fail when it has been rung 2^64 times already.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}

fn token() -> io::Result<Token> {
    let mut octets = [0; Token::LEN];
    // So few come all at once (getrandom(2)).
    if getrandom(&mut octets, GetRandomFlags::empty())? != octets.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Token(octets))
}
