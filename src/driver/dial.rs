//! Starts TCP connections to peers, and takes those that peers make, with every option that their configuration asks for. What the system refuses is an
//! error with the option's name: no connection is made with less protection than was asked for.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::sys;
use crate::bgp::peer::Suspects;
use crate::config::Peer;
use crate::prefix::Prefix;

/// Class selector 6, which RFC 4271 Appendix E and common practice ask for: BGP must survive a full link.
const CS6: u32 = 0xc0;

/// Starts a non-blocking connection as the peer's configuration says.
pub(super) fn connect(peer: &Peer) -> io::Result<TcpStream> {
    let domain = Domain::for_address(SocketAddr::new(peer.session.address, peer.session.port));
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    set_options(&socket, peer)?;
    let scope = match &peer.session.zone {
        Some(zone) => rustix::net::netdevice::name_to_index(&socket, zone)
            .map_err(|error| name(format_args!("interface {zone}"), &error.into()))?,
        None => 0,
    };
    let address = |ip: IpAddr, port: u16| match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    };
    if let Some(source) = peer.session.source {
        let bound = socket.bind(&SockAddr::from(address(source, 0)));
        bound.map_err(|error| name(format_args!("source {source}"), &error))?;
    }
    match socket.connect(&SockAddr::from(address(peer.session.address, peer.session.port))) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) && error.kind() != io::ErrorKind::WouldBlock => {
            return Err(error);
        }
        _ => {}
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// What must be set before the first segment of a connection that we make.
fn set_options(socket: &Socket, peer: &Peer) -> io::Result<()> {
    let transport = &peer.session.transport;
    socket.set_tcp_nodelay(true)?;
    mark(&SockRef::from(socket), peer.session.address);
    if let Some(interface) = &transport.interface {
        let bound = socket.bind_device(Some(interface.as_bytes()));
        bound.map_err(|error| name(format_args!("interface {interface}"), &error))?;
    }
    if let Some(ttl) = peer.sent_ttl() {
        let set = match peer.session.address {
            IpAddr::V4(_) => socket.set_ttl_v4(ttl.into()),
            IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl.into()),
        };
        set.map_err(|error| name(format_args!("TTL {ttl}"), &error))?;
    }
    if let Some(least) = transport.reach.least_received_ttl() {
        let set = sys::set_least_received_ttl(socket, peer.session.address, least);
        set.map_err(|error| name("TTL security", &error))?;
    }
    if let Some(password) = &transport.password {
        let secret = password.secret.as_ref().ok_or_else(|| io::Error::other("TCP-MD5: the password was not read"))?;
        sys::set_tcp_md5(socket, &Prefix::host(peer.session.address), Some(secret))
            .map_err(|error| name("TCP-MD5", &error))?;
    }
    Ok(())
}

/// Of a connection that the peer made. Its password came with it from the listening socket, which holds everybody with
/// this address to it.
pub(super) fn prepare_accepted(stream: &TcpStream, peer: &Peer) -> io::Result<()> {
    let (socket, address) = (SockRef::from(stream), peer.session.address);
    socket.set_tcp_nodelay(true)?;
    mark(&socket, address);
    // The listening socket's is the largest; -1, or here its two's complement, is the system's choice.
    let ttl = peer.sent_ttl().map_or(u32::MAX, u32::from);
    let set = match address {
        IpAddr::V4(_) => socket.set_ttl_v4(ttl),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl),
    };
    set.map_err(|error| name("TTL", &error))?;
    if let Some(least) = peer.session.transport.reach.least_received_ttl() {
        let set = sys::set_least_received_ttl(stream, address, least);
        set.map_err(|error| name("TTL security", &error))?;
    }
    limit_silence(stream, peer).map_err(|error| name("TCP user timeout", &error))
}

/// Of a socket that listens, before it does.
pub(super) fn prepare_listener(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    mark(&SockRef::from(socket), address.ip());
    // RFC 5082 §3: a router with TTL security drops an answer with less. What the peer's own is comes later.
    // An address that is not there yet, or moves between machines, can be listened on all the same.
    match address {
        SocketAddr::V4(_) => {
            socket.set_ttl_v4(u8::MAX.into())?;
            socket.set_freebind_v4(true)
        }
        SocketAddr::V6(_) => {
            socket.set_unicast_hops_v6(u8::MAX.into())?;
            socket.set_freebind_v6(true)
        }
    }
}

/// USER TIMEOUT (RFC 9293 §3.10.8): what is not acknowledged for the hold time will not be.
pub(super) fn limit_silence(stream: &TcpStream, peer: &Peer) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(peer.session.hold_time.duration())
}

/// A wish: without it a session works as well, but for a full link.
fn mark(socket: &SockRef<'_>, address: IpAddr) {
    let _wish = match address {
        IpAddr::V4(_) => socket.set_tos_v4(CS6),
        IpAddr::V6(_) => socket.set_tclass_v6(CS6),
    };
}

/// The interface that a link-local address belongs to; `None` for other addresses.
pub(super) fn zone_of(stream: &TcpStream, remote: SocketAddr) -> Option<String> {
    match remote {
        SocketAddr::V6(remote) if remote.ip().is_unicast_link_local() => {
            rustix::net::netdevice::index_to_name(stream, remote.scope_id()).ok()
        }
        _ => None,
    }
}

/// Why nothing was ever heard on a connection, with what of the configuration may be the reason.
pub(super) fn explain(error: &io::Error, peer: &Peer) -> String {
    let words = describe(error);
    match (error.raw_os_error(), peer.sent_ttl()) {
        // A router on the way that has a packet with no hops left says so, and the system calls that unreachable.
        (Some(libc::EHOSTUNREACH), Some(ttl @ 1..=254)) => {
            format!(
                "{words} (nobody on the link has this address, or the router is further away than a TTL of {ttl}: multihop)"
            )
        }
        (Some(libc::ETIMEDOUT), _) => format!("{words}{}", Suspects::of(&peer.session.transport)),
        _ => words,
    }
}

/// An error of the system's, with what it is about.
pub(super) fn name(what: impl Display, error: &io::Error) -> io::Error {
    io::Error::other(format!("{what}: {}", describe(error)))
}

/// A system error in the system's own words, without the number that the standard library appends.
pub(super) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    // An abbreviation at the beginning stays one.
    if words.chars().take(2).all(char::is_uppercase) {
        return words.to_owned();
    }
    let mut letters = words.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
