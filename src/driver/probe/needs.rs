//! What checks and VIPs need that the system may refuse: looked at before a configuration is taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socket2::{Domain, Protocol, Socket, Type};

use super::{icmp, syn, text, tunnel};
use crate::config::{Config, Diagnostic, Need};
use crate::driver::netlink::addresses;

/// Whether the system lets us do all of it. Nothing stays open.
///
/// # Errors
/// What it does not, each at the first place that asks for it.
pub(in crate::driver) fn look(config: &Config) -> Vec<Diagnostic> {
    let faults = config.needs.iter().filter_map(|(need, position)| {
        let of_it = || config.checks.iter().map(|check| &*check.probe).filter(|probe| need.is_of(probe));
        // A family that nobody uses may not even be there.
        let ipv4 = of_it().any(|probe| probe.target.is_ipv4()).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let ipv6 = of_it().any(|probe| probe.target.is_ipv6()).then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let families = || ipv4.into_iter().chain(ipv6);
        let (result, what) = match need {
            // It says more about it.
            Need::Tunnel => return tunnel::look(config).err(),
            Need::Icmp => (
                families().try_for_each(icmp::look),
                "a check of type icmp needs our group in net.ipv4.ping_group_range, or CAP_NET_RAW",
            ),
            Need::Syn => (families().try_for_each(syn::look), "a check of type syn needs CAP_NET_RAW"),
            Need::Mark => (mark(), "`mark` needs CAP_NET_ADMIN or CAP_NET_RAW"),
            Need::Address => (addresses::look(), "`bind` needs CAP_NET_ADMIN"),
        };
        let error = result.err()?;
        let message = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => format!("{what} (see herald.service)"),
            _ => format!("{what}, but that fails: {}", text::words(&error)),
        };
        Some(Diagnostic { position: position.clone(), message })
    });
    faults.collect()
}

fn mark() -> io::Result<()> {
    let any = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).or_else(|error| {
        // A host without IPv4.
        Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).map_err(|_| error)
    });
    any?.set_mark(1)
}
