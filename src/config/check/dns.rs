//! `dns`.

/// A DNS query and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsProbe {
    /// The name asked for, without the final dot; empty for the root.
    pub name: String,
    /// The record type's number (IANA), such as 1 for A.
    pub record_type: u16,
    /// UDP or TCP.
    pub transport: DnsTransport,
    /// Ask for recursion (RD).
    pub recursion: bool,
    /// The RCODEs that pass, by number; never empty.
    pub rcodes: Vec<u16>,
    /// What one of the answers of this type must be, as text; empty when any answer will do.
    pub answers: Vec<String>,
}

/// How the query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DnsTransport {
    /// A datagram each way; a truncated answer is an answer.
    Udp,
    /// With the two octets of length before each message (RFC 7766).
    Tcp,
}
