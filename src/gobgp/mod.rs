//! Announces routes through a gobgpd on this machine, over its gRPC API: octets and events in, octets and actions out. No
//! sockets, no clock.
//!
//! gobgpd keeps what it is told over this API until it is told otherwise or ends, so here routes are *state*: [`Announcer`]
//! knows what is wanted and what gobgpd has, and sends the difference when it arises. Each route carries our `identifier`
//! in gobgpd's key, and that is what makes it ours: routes with another, or learned from a peer, are never touched. The
//! connection is held; its end means that gobgpd has gone and its table with it.
//!
//! [`grpc`] is calls over HTTP/2, [`Api`] which of the two it is that gobgpd serves, `message` is what calls carry and `request` the only
//! place that makes them, [`path`] is a route as gobgpd has it: plain BGP octets, from the encoder of our own sessions.
//! `ledger` is what is wanted and what has been told. [`errand`] is what an operator asks for by hand.

mod announcer;
mod backoff;
mod cause;
pub mod errand;
pub mod grpc;
mod ledger;
mod link;
mod message;
pub mod path;
mod request;
mod version;

use crate::config::{ApiAddress, Asn};
use crate::prefix::{Family, Prefix};
use std::net::Ipv4Addr;
use std::time::Instant;

pub use announcer::Announcer;
pub use cause::Cause;
pub use version::Api;

/// A connection to gobgpd. Never used twice, so what comes late from an old connection matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conn(pub u64);

/// What can happen to a connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// It is open.
    Connected,
    /// It did not open; the text is the system's.
    ConnectFailed(String),
    /// Received.
    Bytes(&'a [u8]),
    /// So many octets of what was to be sent are with the kernel now.
    Sent(usize),
    /// It is gone. `None` is an orderly end by gobgpd, a text an error.
    Closed(Option<String>),
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to this address.
    Connect(Conn, ApiAddress),
    /// Queue octets, and report with [`Event::Sent`] as they go.
    Send(Conn, Vec<u8>),
    /// Send what is queued, as far as it goes in a second, then close; or give up opening. No more events of this
    /// connection are wanted.
    Close(Conn),
    /// Tell the operator.
    Notice(Notice),
}

/// What operators hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The state changed.
    State {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why; `None` for the ordinary way up.
        cause: Option<Cause>,
    },
    /// gobgpd has been asked what it has under our identifier.
    Listed {
        /// Which API it serves.
        api: Api,
        /// Routes that it has.
        found: usize,
        /// How many of those are as they shall be, and are left alone.
        kept: usize,
    },
    /// gobgpd does not list this family. Its routes are announced all the same, and what is there of before stays.
    Unlisted(Family, Cause),
    /// So many routes, this one among them, are not announced: gobgpd refuses them, or they fit no BGP message. Told once,
    /// until none is refused any more.
    Refused {
        /// One of them.
        prefix: Prefix,
        /// How many there are so far.
        count: usize,
        /// What is wrong with this one.
        cause: Cause,
    },
}

/// Where the announcer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Waits to try again, or has nothing to do.
    Idle,
    /// Opens a connection.
    Connect,
    /// Asks which API is served.
    Asking,
    /// gobgpd runs and is not configured yet: it is asked again until it is.
    Waiting,
    /// Asks what is there of ours.
    Listing,
    /// Routes flow.
    Established,
}

impl State {
    /// As in output.
    pub fn name(self) -> &'static str {
        match self {
            State::Idle => "Idle",
            State::Connect => "Connect",
            State::Asking => "Asking",
            State::Waiting => "Waiting",
            State::Listing => "Listing",
            State::Established => "Established",
        }
    }
}

/// Calls since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Made.
    pub made: u64,
    /// Answered with something else than OK.
    pub failed: u64,
    /// Routes announced, again and again counted each time, as far as acknowledged.
    pub announced: u64,
    /// Routes withdrawn, as far as acknowledged.
    pub withdrawn: u64,
}

/// The announcer at a glance.
#[derive(Clone, Debug)]
pub struct Status {
    /// Where it is.
    pub state: State,
    /// Since when it is Established, or since when it is not; `None` before the first attempt.
    pub since: Option<Instant>,
    /// Routes that gobgpd has under our identifier, per family in the order of [`Family::ALL`].
    pub advertised: [usize; 2],
    /// Routes whose announcement or withdrawal is still to be sent or acknowledged.
    pub pending: usize,
    /// Whether an operator has drained it.
    pub drained: bool,
    /// The API of the gobgpd that is connected.
    pub api: Option<Api>,
    /// Its AS, once it is configured.
    pub asn: Option<Asn>,
    /// Its router ID, once it is configured.
    pub router_id: Option<Ipv4Addr>,
    /// Why the last connection ended or the last attempt failed; kept until the next one is Established.
    pub last_error: Option<Cause>,
    /// When that was.
    pub last_error_at: Option<Instant>,
    /// When the next attempt is due, when Idle.
    pub retry_at: Option<Instant>,
    /// How often Established was reached.
    pub established_count: u64,
    /// What has been called.
    pub calls: Calls,
    /// Routes that gobgpd refuses.
    pub refused: usize,
    /// The first of them, and why.
    pub first_refused: Option<(Prefix, Cause)>,
}

#[cfg(test)]
mod tests;
