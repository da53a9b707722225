//! Messages: framing (RFC 4271 §4.1, §6.1) and the five types.

use super::error::Notification;
use super::open::Open;
use crate::prefix::Family;

/// The fixed header: marker, length, type.
pub const HEADER_LEN: usize = 19;
/// The longest message (RFC 4271 §4.1).
pub const MAX_LEN: usize = 4096;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 1.
    Open(Open),
    /// Type 2: the body, its three lengths already checked (see [`update::Sections`](super::update::Sections)).
    Update(Vec<u8>),
    /// Type 3.
    Notification(Notification),
    /// Type 4.
    Keepalive,
    /// Type 5 (RFC 2918); `None` for a family that we do not know.
    RouteRefresh(Option<Family>),
}

/// Collects received bytes and splits messages off. Holds at most one message and what was pushed last.
#[derive(Debug, Default)]
pub struct Inbox {
    // private
}

impl Inbox {
    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        let _ = bytes;
        todo!()
    }

    /// Takes the next complete message, `None` until there is one.
    ///
    /// # Errors
    /// The NOTIFICATION to send; the connection is beyond repair.
    pub fn next(&mut self) -> Result<Option<Message>, Notification> {
        todo!()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        todo!()
    }
}

impl Message {
    /// Appends the encoded message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
}
