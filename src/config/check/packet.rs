//! Probes of single packets.

use std::time::Duration;

use super::Pattern;

/// `udp`: a datagram, and what comes back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UdpProbe {
    /// Its octets; may be empty.
    pub send: Vec<u8>,
    /// What the answer must hold; `None` wants no answer, but no ICMP error either within `wait`.
    pub expect: Option<Pattern>,
    /// How long an ICMP error is waited for, when there is nothing to expect.
    pub wait: Duration,
}

/// `icmp`: echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IcmpProbe {
    /// How many, at least 1; spread over the timeout.
    pub count: u8,
    /// How many of them may be lost, in percent, below 100.
    pub max_loss: u8,
    /// Octets of payload.
    pub size: u16,
}

/// `ntp`: a client query (RFC 5905).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NtpProbe {
    /// The largest stratum that passes, 1 to 15.
    pub max_stratum: u8,
    /// How far its clock may be from ours; `None` for any distance.
    pub max_offset: Option<Duration>,
}

/// What carries a ping inside UDP to a backend, which takes it out and answers it directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encapsulation {
    /// Generic UDP Encapsulation, with the header of GLB's director.
    Gue,
    /// Foo over UDP: GRE inside.
    Fou,
}

impl Encapsulation {
    /// The UDP port where backends take it, unless the check says otherwise: that of GLB's director.
    pub fn default_port(self) -> u16 {
        match self {
            Encapsulation::Gue => 19523,
            Encapsulation::Fou => 19522,
        }
    }
}
