//! A connected UDP socket that keeps a deadline. Only the target's datagrams come by it, and all ICMP errors about ours.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::rand::{GetRandomFlags, getrandom};
use socket2::{Domain, Protocol, Type};

use super::limit::Limit;
use super::{Fault, Run, egress, text, trace};
use crate::config::FailureKind;

/// The largest datagram.
const LARGEST: usize = 65_535;
/// When the system says that there is something, and then there is nothing.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// A socket towards a target, from a port that the system has drawn.
#[derive(Debug)]
pub(super) struct Datagram {
    inner: socket2::Socket,
    limit: Limit,
}

impl Datagram {
    /// For UDP.
    pub(super) fn connect(at: &Run<'_>) -> io::Result<Datagram> {
        let socket = Datagram::open(at, Type::DGRAM, Protocol::UDP)?;
        // With nobody there, a port of our own host may be given to us as the source port: we would hear ourselves.
        if at.target.port() >= 1024 && socket.inner.local_addr()?.as_socket() == Some(at.target) {
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        }
        Ok(socket)
    }

    /// For any protocol of single packets.
    pub(super) fn open(at: &Run<'_>, kind: Type, protocol: Protocol) -> io::Result<Datagram> {
        let Run { target, egress, limit } = *at;
        let inner = socket2::Socket::new(Domain::for_address(target), kind, Some(protocol))?;
        // Without this only a closed port is told, and not that a router knows no way (ip(7)).
        match target {
            SocketAddr::V4(_) => setsockopt(&inner, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&inner, sockopt::Ipv6RecvErr, &true)?,
        }
        egress::apply(&inner, target, egress)?;
        inner.connect(&target.into())?;
        Ok(Datagram { inner, limit })
    }

    /// Our own end.
    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The socket itself, to set something.
    pub(super) fn socket(&self) -> &socket2::Socket {
        &self.inner
    }

    /// One datagram. It does not wait: the socket's buffer has room for any.
    pub(super) fn send(&self, octets: &[u8]) -> io::Result<()> {
        self.inner.send(octets).map(|count| trace::sent(self.limit, count))
    }

    /// The next datagram.
    pub(super) fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        let count = self.next(None, |socket| receive(socket, buffer))?.unwrap_or_default();
        Ok(buffer.get(..count).unwrap_or_default())
    }

    /// The next datagram within some time, if one comes.
    pub(super) fn receive_within<'b>(&self, time: Duration, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        let count = self.next(Some(time), |socket| receive(socket, buffer))?;
        Ok(count.map(|count| buffer.get(..count).unwrap_or_default()))
    }

    /// What `take` takes from the socket, without waiting, as soon as there is something; `None` when there was not within
    /// the time, if one is given. An error when the network has one, or the run's time is up.
    pub(super) fn next<T>(
        &self,
        time: Option<Duration>,
        mut take: impl FnMut(&socket2::Socket) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let until = time.map(|time| self.limit.spent().saturating_add(time));
        loop {
            let mut wait = self.limit.slice()?;
            if let Some(until) = until {
                match until.checked_sub(self.limit.spent()) {
                    Some(left) if !left.is_zero() => wait = wait.min(left),
                    _ => return Ok(None),
                }
            }
            let wait = Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?;
            match poll(&mut [PollFd::new(&self.inner, PollFlags::IN)], Some(&wait)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match take(&self.inner) {
                // What came has a wrong checksum, or an error is about to be told: no reason to ask without pause.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => drop(poll(&mut [], Some(&PAUSE))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(taken) => {
                    trace::note(self.limit, || "received a packet".to_owned());
                    return Ok(Some(taken));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Datagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

fn receive(socket: &socket2::Socket, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, rustix::net::RecvFlags::DONTWAIT)?.0)
}

/// For any datagram.
pub(super) fn buffer() -> Vec<u8> {
    vec![0; LARGEST]
}

/// Octets that nobody can guess.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    // So few come all at once (getrandom(2)).
    if getrandom(&mut octets, GetRandomFlags::empty())? != N {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(octets)
}

/// An error of the system, or what an ICMP message said, met while `doing` something.
pub(super) fn failure(error: &io::Error, limit: Limit, doing: &str) -> Fault {
    match error.raw_os_error() {
        // RFC 792, RFC 4443 §3.1: the target itself says so.
        Some(libc::ECONNREFUSED) => Fault::new(FailureKind::Refused, "port unreachable"),
        Some(libc::ENOPROTOOPT) => Fault::new(FailureKind::Refused, "protocol unreachable"),
        // RFC 4443 §3.1, codes 1, 5 and 6, and a route of ours that prohibits it.
        Some(libc::EACCES) => Fault::new(FailureKind::Unreachable, "administratively prohibited"),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH) => text::failure(error, limit, text::CONNECTING),
        _ => text::failure(error, limit, doing),
    }
}
