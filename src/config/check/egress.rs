//! How what a check sends leaves this host.

use std::net::{IpAddr, SocketAddr};

/// What is set on a check's sockets before anything is sent. By default the system decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Egress {
    /// `source`: an own address of the target's family, to send from.
    pub source: Option<IpAddr>,
    /// `interface`: an interface or VRF, and no other (SO_BINDTODEVICE).
    pub interface: Option<String>,
    /// `mark`: the firewall mark (SO_MARK), for rules of routing and filters; it needs CAP_NET_ADMIN or CAP_NET_RAW.
    pub mark: Option<u32>,
    /// `dscp`: 0 to 63 (RFC 2474 §3).
    pub dscp: Option<u8>,
}

impl Egress {
    /// The DSCP as the octet that IP calls type of service or traffic class: ECN is left to the system, as 0.
    pub fn traffic_class(&self) -> Option<u8> {
        self.dscp.map(|dscp| dscp << 2)
    }

    /// Where to bind to, if anywhere: the port is the system's choice.
    pub fn bind_address(&self) -> Option<SocketAddr> {
        self.source.map(|source| SocketAddr::new(source, 0))
    }
}
