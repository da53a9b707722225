//! `gue` and `fou`: an ICMP echo inside UDP encapsulation. The target takes the echo request out, its kernel answers,
//! and the reply comes back directly (direct server return), as what it is and by none of the tunnel.
//!
//! So it takes the whole way that traffic takes: the target has the decapsulation, the inner address, and a route back.
//! One request a run, none is repeated: a check that shall survive a lost packet has `fall`.

mod ears;
mod packet;

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::limit::{Limit, Over};
use super::text;
use super::{Fault, Run, Verdict, egress};
use crate::config::{Config, Diagnostic, Encapsulation, FailureKind, Need, Position, ProbeKind};

pub(super) use self::ears::Ears;
use self::ears::{Families, Waiting};

/// Whether the system lets us listen for replies, if a check of the configuration needs that. Nothing stays open.
pub(in crate::driver::probe) fn look(config: &Config) -> Result<(), Diagnostic> {
    load(config).map(drop)
}

/// Begins to listen for replies, if a check of the configuration needs that.
pub(super) fn load(config: &Config) -> Result<Option<Ears>, Diagnostic> {
    let is_tunnel = |kind: &ProbeKind| matches!(kind, ProbeKind::Tunnel(_));
    let mut families = Families::default();
    for check in config.checks.iter().filter(|check| is_tunnel(&check.probe.kind)) {
        families.ipv4 |= check.probe.target.is_ipv4();
        families.ipv6 |= check.probe.target.is_ipv6();
    }
    if families == Families::default() {
        return Ok(None);
    }
    Ears::open(families).map(Some).map_err(|error| {
        let nowhere = || Position { file: "tunnel".into(), line: 1, column: 1 };
        let position = config.needs.get(&Need::Tunnel).cloned().unwrap_or_else(nowhere);
        Diagnostic { position, message: cannot_listen(&error) }
    })
}

fn cannot_listen(error: &io::Error) -> String {
    const WHAT: &str = "a check of type gue or fou";
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            format!("{WHAT} needs CAP_NET_RAW, which listening for echo replies takes (see herald.service)")
        }
        _ => format!("{WHAT} cannot listen for echo replies: {}", text::words(error)),
    }
}

/// Sends one echo request, and waits for its reply.
pub(super) fn run(at: &Run<'_>, encapsulation: Encapsulation, ears: Option<&Ears>) -> Verdict {
    let Some(ears) = ears else {
        return Err(Fault::new(FailureKind::Internal, "internal error: nobody listens for echo replies"));
    };
    match ping(at, encapsulation, ears) {
        Ok(()) => Ok("echo reply".into()),
        Err(error) => Err(failure(&error, at.limit)),
    }
}

fn failure(error: &io::Error, limit: Limit) -> Fault {
    match (error.raw_os_error(), error.get_ref().and_then(|inner| inner.downcast_ref::<Over>())) {
        (_, Some(Over::Expired)) => {
            Fault::new(FailureKind::Timeout, format!("no echo reply within {}", text::duration(limit.timeout())))
        }
        // RFC 792 and RFC 4443 §3.1: what is refused is the UDP port, and that by the target itself.
        (Some(libc::ECONNREFUSED), _) => {
            Fault::new(FailureKind::Refused, "port unreachable: nothing there takes packets out of UDP")
        }
        _ => text::failure(error, limit, text::CONNECTING),
    }
}

fn ping(at: &Run<'_>, encapsulation: Encapsulation, ears: &Ears) -> io::Result<()> {
    let Run { target, egress, limit } = *at;
    let socket = Socket::new(Domain::for_address(target), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // Connected, it has the address that the target shall answer, and ICMP errors come to it: all of them.
    match target {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    egress::apply(&socket, target, egress)?;
    socket.connect(&target.into())?;
    let own = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    let waiting = ears.wait_for(target.ip())?;
    let request = packet::request(encapsulation, own.ip(), target.ip(), waiting.token());
    socket.send(&request.ok_or(io::ErrorKind::InvalidData)?)?;
    wait(&socket, &waiting, limit)
}

/// Returns when the reply is there; an error when the network has one, or the time is up.
fn wait(socket: &Socket, waiting: &Waiting<'_>, limit: Limit) -> io::Result<()> {
    let mut tells_errors = true;
    loop {
        let slice = Timespec::try_from(limit.slice()?).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut fds = vec![PollFd::from_borrowed_fd(waiting.bell(), PollFlags::IN)];
        // Errors are told unasked. What the port may answer besides is left where it is.
        fds.extend(tells_errors.then(|| PollFd::new(socket, PollFlags::empty())));
        match poll(&mut fds, Some(&slice)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let (replied, failed) = (ready.next() == Some(true), ready.next() == Some(true));
        if replied {
            return Ok(());
        }
        if failed {
            match socket.take_error()? {
                Some(error) => return Err(error),
                // It has one in its queue that cannot be had: asking on would not wait.
                None => tells_errors = false,
            }
        }
    }
}
