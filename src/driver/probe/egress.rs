//! How a check's sockets leave this host: source address, interface or VRF, firewall mark, DSCP.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;

use crate::config::Egress;

/// What could not be set, and why.
#[derive(Debug)]
pub(super) struct Unsettable {
    what: String,
    code: i32,
}

impl fmt::Display for Unsettable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unsettable { what, code } = self;
        match *code {
            libc::ENODEV => write!(f, "{what}: no such interface"),
            libc::EADDRNOTAVAIL => write!(f, "{what}: not an address of this host"),
            libc::EPERM | libc::EACCES => write!(f, "{what}: not permitted (see herald.service)"),
            code => write!(f, "{what}: {}", super::text::words(&io::Error::from_raw_os_error(code))),
        }
    }
}

impl std::error::Error for Unsettable {}

/// Sets all that is asked for on a socket that has not sent anything, for a target of the family.
pub(in crate::driver) fn apply(socket: &Socket, target: SocketAddr, egress: &Egress) -> io::Result<()> {
    if *egress == Egress::default() {
        return Ok(());
    }
    if let Some(interface) = &egress.interface {
        socket.bind_device(Some(interface.as_bytes())).map_err(named(|| format!("interface {interface}")))?;
    }
    if let Some(mark) = egress.mark {
        socket.set_mark(mark).map_err(named(|| format!("firewall mark {mark}")))?;
    }
    if let Some(class) = egress.traffic_class() {
        let set =
            if target.is_ipv4() { socket.set_tos_v4(u32::from(class)) } else { socket.set_tclass_v6(u32::from(class)) };
        set.map_err(named(|| format!("DSCP {}", class >> 2)))?;
    }
    if let Some(source) = egress.bind_address() {
        // The port is chosen when it is known where to: as many connections per source as without one.
        if socket.r#type()? == socket2::Type::STREAM {
            setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
        }
        socket.bind(&source.into()).map_err(named(|| format!("source {}", source.ip())))?;
    }
    Ok(())
}

fn named(what: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> io::Error {
    move |error| {
        let code = error.raw_os_error().unwrap_or_default();
        io::Error::other(Unsettable { what: what(), code })
    }
}
