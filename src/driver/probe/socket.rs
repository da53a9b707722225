//! A TCP connection that keeps a deadline.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockAddr, Type};

use super::limit::Limit;
use super::{Run, egress, trace};

/// A connection to a target. Dropped, it is reset: neither side is left with a TIME_WAIT.
///
/// The socket is a blocking one whose timeouts are set anew before each wait. Of all ways to keep a deadline that
/// costs the fewest system calls; the price is that the kernel counts these timeouts in ticks (4 ms).
#[derive(Debug)]
pub(super) struct Socket {
    inner: socket2::Socket,
    limit: Limit,
}

impl Socket {
    /// Connects to exactly this address.
    ///
    /// The handshake's last ACK is held back: it travels with the first data, or, if there is none, the reset takes
    /// its place and the server's `accept` never sees the connection.
    pub(super) fn connect(at: &Run<'_>) -> io::Result<Socket> {
        let Run { target, egress, limit } = *at;
        let socket = socket2::Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_quickack(false)?;
        socket.set_linger(Some(Duration::ZERO))?;
        egress::apply(&socket, target, egress)?;
        let address = SockAddr::from(target);
        loop {
            socket.set_write_timeout(Some(limit.slice()?))?;
            match socket.connect(&address).map_err(|error| (error.raw_os_error(), error)) {
                Ok(()) => break,
                // A wait that ended before the handshake did: connecting again waits on.
                Err((Some(libc::EINPROGRESS | libc::EALREADY | libc::EINTR), _)) => {}
                Err((Some(libc::EISCONN), _)) => break,
                Err((_, error)) => return Err(error),
            }
        }
        // With nobody listening, a port of our own host may be given to us as the source port: TCP then connects
        // the socket to itself (RFC 9293, section 3.5, simultaneous open).
        if target.port() >= 1024 && socket.local_addr()?.as_socket() == Some(target) {
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        }
        let socket = Socket { inner: socket, limit };
        trace::note(limit, || match socket.local() {
            Ok(local) => format!("connected to {target} from {local}"),
            Err(_) => format!("connected to {target}"),
        });
        Ok(socket)
    }

    /// The other side may speak first, or in pieces: acknowledges the handshake and what comes without delay.
    pub(super) fn listen(&self) -> io::Result<()> {
        self.inner.set_tcp_quickack(true)
    }

    /// Whether a read would have to wait.
    pub(super) fn is_quiet(&self) -> bool {
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut [PollFd::new(&self.inner, PollFlags::IN)], Some(&nothing)), Ok(0))
    }

    /// Our own end.
    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Of its run.
    pub(super) fn limit(&self) -> Limit {
        self.limit
    }

    /// Gives what is left, which does not count any more, so much time at most.
    pub(super) fn hurry(&mut self, most: Duration) {
        self.limit = self.limit.for_goodbye(most);
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.inner.set_read_timeout(Some(self.limit.slice()?))?;
            match (&self.inner).read(buffer) {
                Err(error) if pauses(&error) => {}
                result => return result.inspect(|count| trace::received(self.limit, *count)),
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            // A request nearly always fits the socket's buffer, and then needs no timeout.
            match self.inner.send_with_flags(bytes, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) {
                Err(error) if pauses(&error) => {}
                result => return result.inspect(|count| trace::sent(self.limit, *count)),
            }
            self.inner.set_write_timeout(Some(self.limit.slice()?))?;
            match self.inner.send_with_flags(bytes, libc::MSG_NOSIGNAL) {
                Err(error) if pauses(&error) => {}
                result => return result.inspect(|count| trace::sent(self.limit, *count)),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pauses(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
