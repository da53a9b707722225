//! How a call ended: the code and the text of its trailers.

use std::fmt;

use crate::bgp::capability::shown;

/// Characters of a message that are shown.
const MESSAGE_MAX: usize = 200;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `grpc-status`; 0 is OK.
    pub code: u32,
    /// `grpc-message`, decoded and safe to show.
    pub message: String,
}

impl Status {
    /// OK.
    pub const OK: u32 = 0;
    /// CANCELLED.
    pub const CANCELLED: u32 = 1;
    /// UNKNOWN: what gobgpd says of almost everything.
    pub const UNKNOWN: u32 = 2;
    /// DEADLINE_EXCEEDED.
    pub const DEADLINE_EXCEEDED: u32 = 4;
    /// NOT_FOUND.
    pub const NOT_FOUND: u32 = 5;
    /// RESOURCE_EXHAUSTED.
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    /// UNIMPLEMENTED: no such method, or no such service.
    pub const UNIMPLEMENTED: u32 = 12;
    /// INTERNAL.
    pub const INTERNAL: u32 = 13;
    /// UNAVAILABLE.
    pub const UNAVAILABLE: u32 = 14;

    /// Whether the call succeeded.
    pub fn is_ok(&self) -> bool {
        self.code == Status::OK
    }

    /// Whether it says nothing about the call, but that this is no time for it.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.code,
            Status::CANCELLED | Status::DEADLINE_EXCEEDED | Status::RESOURCE_EXHAUSTED | Status::UNAVAILABLE
        )
    }

    /// From what the trailers say.
    pub(super) fn received(code: u32, message: &[u8]) -> Status {
        Status { code, message: printable(&percent_decoded(message)) }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.as_str() {
            "" => write!(f, "gRPC status {}", self.code),
            message => write!(f, "{message} (gRPC status {})", self.code),
        }
    }
}

/// A text from outside, on one line and not too long.
pub(super) fn printable(octets: &[u8]) -> String {
    let octets = octets.get(..4 * MESSAGE_MAX).unwrap_or(octets);
    let text = shown(octets).unwrap_or_default();
    match text.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => text.get(..end).map(|text| format!("{text}…")).unwrap_or_default(),
        None => text,
    }
}

/// What is no `%` and two digits stays as it is.
fn percent_decoded(octets: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((first, tail)) = rest.split_first() {
        let hex = |octet: &u8| char::from(*octet).to_digit(16);
        let pair = match tail {
            [high, low, ..] if *first == b'%' => hex(high).zip(hex(low)),
            _ => None,
        };
        match pair {
            Some((high, low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_decoded_and_made_safe() {
        for (received, message) in [
            (&b"unknown service apipb.GobgpApi"[..], "unknown service apipb.GobgpApi"),
            (b"bgp server hasn%27t started yet", "bgp server hasn't started yet"),
            (b"100%25%2", "100%%2"),
            (b"%zz%", "%zz%"),
            (b"a%0ab%1b[31m", "a\\nb\\u{1b}[31m"),
            (b"%ff", "\u{fffd}"),
            (b"", ""),
        ] {
            assert_eq!(Status::received(2, received).message, message);
        }
        let long = Status::received(2, &[b'x'; 100_000]).message;
        assert_eq!(long.chars().count(), MESSAGE_MAX + 1);
        assert_eq!(Status::received(5, b"").to_string(), "gRPC status 5");
        assert_eq!(Status::received(5, b"no").to_string(), "no (gRPC status 5)");
    }
}
