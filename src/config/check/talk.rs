//! Probes that say something over a TCP connection, and wait for something.

use super::{Pattern, TlsProfile};

/// A TCP connection, and what is said over it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TcpProbe {
    /// The type as configured: `tcp`, or the preset that its steps come from.
    pub name: &'static str,
    /// `proxy`: the connection begins with a PROXY header.
    pub proxy: Option<ProxyHeader>,
    /// TLS from the start, after the PROXY header.
    pub tls: Option<TlsProfile>,
    /// In order; none at all is satisfied with the connection.
    pub steps: Vec<Step>,
    /// The longest answer to one step that is read, in octets.
    pub max_reply: usize,
}

impl TcpProbe {
    /// The connection is accepted: that is all.
    pub const CONNECT: TcpProbe =
        TcpProbe { name: "tcp", proxy: None, tls: None, steps: Vec::new(), max_reply: 16_384 };
}

/// One step of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Say these octets.
    Send(Vec<u8>),
    /// Wait until what was said since the last `Send` holds this.
    Expect {
        /// This.
        pattern: Pattern,
        /// What settles that it will not: then nothing more is waited for. The groups of a regular expression that are
        /// called `text` and `code` (an octet) say why.
        refusal: Option<Pattern>,
        /// What settles that all is well: then nothing more is said.
        enough: Option<Pattern>,
    },
    /// Say these octets, and let the other side hang up. Whether it does, and when, is of no account.
    Leave(Vec<u8>),
}

/// The version of the PROXY header that a connection begins with, as HAProxy has defined it: it names the two ends of the
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProxyHeader {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// HAProxy's agent protocol: a line that says how the backend is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentProbe {
    /// Said first; may be empty.
    pub send: Vec<u8>,
    /// An agent that cannot be reached, or says nothing that we know, changes nothing. Otherwise that is a failure.
    pub ignore_unreachable: bool,
}
