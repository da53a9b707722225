//! Messages: framing (RFC 4271 §4.1, §6.1) and the five types.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |                    Marker: 16 octets of ones                  |
//! +-------------------------------+---------------+---------------+
//! |            Length             |     Type      |    Body …
//! +-------------------------------+---------------+
//! ```

use super::error::Notification;
use super::open::Open;
use super::update::Sections;
use super::wire::Reader;
use crate::prefix::Family;

/// The fixed header: marker, length, type.
pub const HEADER_LEN: usize = 19;
/// The longest message (RFC 4271 §4.1).
pub const MAX_LEN: usize = 4096;

const MARKER: [u8; 16] = [0xff; 16];

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;
const ROUTE_REFRESH: u8 = 5;

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
    /// Type 5 (RFC 2918); `None` for a family that we do not know, and for what is no request (RFC 7313 §4).
    RouteRefresh(Option<Family>),
}

/// Collects received bytes and splits messages off. Holds at most one message and what was pushed last, if
/// [`next`](Self::next) is called until it has no more.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// So many octets at the front have been taken.
    taken: usize,
    failed: Option<Notification>,
}

impl Inbox {
    /// Adds what was received. After an error nothing more is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        // Moving the rest only when it is the smaller part keeps the cost per octet constant.
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next complete message, `None` until there is one. An error is found as soon as the octets that show it
    /// are there, and stays.
    ///
    /// # Errors
    /// The NOTIFICATION to send; the connection is beyond repair.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Message>, Notification> {
        if let Some(notification) = &self.failed {
            return Err(notification.clone());
        }
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        match decode(rest) {
            Ok(None) => Ok(None),
            Ok(Some((message, length))) => {
                self.taken += length;
                Ok(Some(message))
            }
            Err(notification) => {
                self.clear();
                self.failed = Some(notification.clone());
                Err(notification)
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Inbox::default();
    }
}

/// The message at the front of `bytes` and its length, `None` while it is incomplete.
fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>, Notification> {
    // A stranger that speaks HTTP or TLS shows by its first octet; it may never send a header's worth.
    if bytes.iter().zip(MARKER).any(|(octet, one)| *octet != one) {
        return Err(Notification::connection_not_synchronized());
    }
    let mut reader = Reader::new(bytes);
    let Ok([_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, high, low, kind]) = reader.array::<HEADER_LEN>() else {
        return Ok(None);
    };
    let length = u16::from_be_bytes([high, low]);
    check_header(length, kind)?;
    let length = usize::from(length);
    let Ok(message) = Reader::new(bytes).take(length) else { return Ok(None) };
    let Ok(body) = reader.take(length.saturating_sub(HEADER_LEN)) else { return Ok(None) };
    Ok(Some((decode_body(kind, body, message)?, length)))
}

/// RFC 4271 §6.1.
fn check_header(length: u16, kind: u8) -> Result<(), Notification> {
    let length_error = Err(Notification::bad_message_length(length));
    let octets = usize::from(length);
    if !(HEADER_LEN..=MAX_LEN).contains(&octets) {
        return length_error;
    }
    match kind {
        OPEN if octets < HEADER_LEN + 10 => length_error,
        UPDATE if octets < HEADER_LEN + 4 => length_error,
        NOTIFICATION if octets < HEADER_LEN + 2 => length_error,
        KEEPALIVE if octets != HEADER_LEN => length_error,
        // A ROUTE-REFRESH of a wrong length has an error of its own, which quotes the message: RFC 7313 §5.
        OPEN | UPDATE | NOTIFICATION | KEEPALIVE | ROUTE_REFRESH => Ok(()),
        _ => Err(Notification::bad_message_type(kind)),
    }
}

fn decode_body(kind: u8, body: &[u8], message: &[u8]) -> Result<Message, Notification> {
    match (kind, body) {
        (OPEN, _) => Open::decode(body).map(Message::Open),
        (UPDATE, _) => {
            Sections::split(body)?;
            Ok(Message::Update(body.to_vec()))
        }
        (NOTIFICATION, [code, subcode, data @ ..]) => {
            Ok(Message::Notification(Notification::new(*code, *subcode, data)))
        }
        (KEEPALIVE, []) => Ok(Message::Keepalive),
        (ROUTE_REFRESH, [afi_high, afi_low, subtype, safi]) => {
            // Subtype 0 asks for routes, 1 and 2 frame an answer that we never asked for, others are to be ignored
            // (RFC 7313 §3.2, §5).
            let family = family_of(u16::from_be_bytes([*afi_high, *afi_low]), *safi);
            Ok(Message::RouteRefresh(family.filter(|_| *subtype == 0)))
        }
        (ROUTE_REFRESH, _) => {
            // Longer ones carry ORF entries (RFC 5291), which we do not offer. What the error quotes must fit a message itself.
            let quoted = message.get(..MAX_LEN - HEADER_LEN - 2).unwrap_or(message);
            Err(Notification::invalid_route_refresh_length(quoted))
        }
        // The header check leaves none of these.
        _ => Err(Notification::bad_message_length(u16::try_from(message.len()).unwrap_or(u16::MAX))),
    }
}

impl Message {
    /// The type octet.
    pub fn kind(&self) -> u8 {
        match self {
            Message::Open(_) => OPEN,
            Message::Update(_) => UPDATE,
            Message::Notification(_) => NOTIFICATION,
            Message::Keepalive => KEEPALIVE,
            Message::RouteRefresh(_) => ROUTE_REFRESH,
        }
    }

    /// The name of the type, as RFCs write it.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Open(_) => "OPEN",
            Message::Update(_) => "UPDATE",
            Message::Notification(_) => "NOTIFICATION",
            Message::Keepalive => "KEEPALIVE",
            Message::RouteRefresh(_) => "ROUTE-REFRESH",
        }
    }

    /// Appends the encoded message to `out`. The data of a NOTIFICATION is cut to what a message holds.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame(self.kind(), out, |out| match self {
            Message::Open(open) => open.encode(out),
            Message::Update(body) => out.extend_from_slice(body),
            Message::Notification(Notification { code, subcode, data }) => {
                out.extend([code, subcode]);
                out.extend(data.iter().take(MAX_LEN - HEADER_LEN - 2));
            }
            Message::Keepalive => {}
            Message::RouteRefresh(family) => {
                let [high, low] = family.map_or(0, afi).to_be_bytes();
                out.extend([high, low, 0, UNICAST]);
            }
        });
    }
}

/// Appends an UPDATE with the body that `write` appends, and returns what `write` does.
pub(super) fn frame_update<R>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    frame(UPDATE, out, write)
}

/// Appends a header and the body that `write` appends. The length counts the header too.
fn frame<R>(kind: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    let length_at = out.len();
    out.extend([0, 0, kind]);
    let result = write(out);
    let length = u16::try_from(out.len() - start);
    debug_assert!(length.is_ok(), "no body is that long");
    if let (Ok(length), Some(slot)) = (length, out.get_mut(length_at..).and_then(<[u8]>::first_chunk_mut)) {
        *slot = length.to_be_bytes();
    }
    result
}

/// The SAFI of all our routes (RFC 4760 §6).
pub(super) const UNICAST: u8 = 1;

/// IANA, "Address Family Numbers".
pub(super) fn afi(family: Family) -> u16 {
    match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 2,
    }
}

/// The family of an AFI and SAFI, if it is one of ours.
pub(super) fn family_of(afi: u16, safi: u8) -> Option<Family> {
    match (afi, safi) {
        (1, UNICAST) => Some(Family::Ipv4),
        (2, UNICAST) => Some(Family::Ipv6),
        _ => None,
    }
}
