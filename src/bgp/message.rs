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
/// The longest where both sides take more (RFC 8654 §4).
pub const EXTENDED_MAX_LEN: usize = 65_535;

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
    /// Type 5 (RFC 2918).
    RouteRefresh(Refresh),
}

/// What a ROUTE-REFRESH says, of one of our families (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Subtype 0: all routes are asked for again.
    Request(Family),
    /// Subtype 1, BoRR: all routes follow.
    Begin(Family),
    /// Subtype 2, EoRR: those were all.
    End(Family),
    /// Another subtype, or a family that we do not know: to be ignored (RFC 2918 §4, RFC 7313 §5).
    Other,
}

/// Collects received bytes and splits messages off. Holds at most one message and what was pushed last, if
/// [`next`](Self::next) is called until it has no more.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// The longest message that is taken.
    longest: usize,
    /// So many octets at the front have been taken.
    taken: usize,
    failed: Option<Notification>,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox { bytes: Vec::new(), longest: MAX_LEN, taken: 0, failed: None }
    }
}

impl Inbox {
    /// Takes messages of up to 65,535 octets from now on: we have said that we do (RFC 8654 §4).
    pub fn take_extended(&mut self) {
        self.longest = EXTENDED_MAX_LEN;
    }

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
        match decode(rest, self.longest) {
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

    /// Forgets everything but how long messages may be.
    pub fn clear(&mut self) {
        *self = Inbox { longest: self.longest, ..Inbox::default() };
    }
}

/// The message at the front of `bytes` and its length, `None` while it is incomplete.
fn decode(bytes: &[u8], longest: usize) -> Result<Option<(Message, usize)>, Notification> {
    // A stranger that speaks HTTP or TLS shows by its first octet; it may never send a header's worth.
    if bytes.iter().zip(MARKER).any(|(octet, one)| *octet != one) {
        return Err(Notification::connection_not_synchronized());
    }
    let mut reader = Reader::new(bytes);
    let Ok([_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, high, low, kind]) = reader.array::<HEADER_LEN>() else {
        return Ok(None);
    };
    let length = u16::from_be_bytes([high, low]);
    check_header(length, kind, longest)?;
    let length = usize::from(length);
    let Ok(message) = Reader::new(bytes).take(length) else { return Ok(None) };
    let Ok(body) = reader.take(length.saturating_sub(HEADER_LEN)) else { return Ok(None) };
    Ok(Some((decode_body(kind, body, message)?, length)))
}

/// RFC 4271 §6.1; OPEN and KEEPALIVE never get longer (RFC 8654 §4).
fn check_header(length: u16, kind: u8, longest: usize) -> Result<(), Notification> {
    let length_error = Err(Notification::bad_message_length(length));
    let octets = usize::from(length);
    let longest = if matches!(kind, OPEN | KEEPALIVE) { MAX_LEN } else { longest };
    if !(HEADER_LEN..=longest).contains(&octets) {
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
            let family = family_of(u16::from_be_bytes([*afi_high, *afi_low]), *safi);
            Ok(Message::RouteRefresh(match (family, *subtype) {
                (Some(family), 0) => Refresh::Request(family),
                (Some(family), 1) => Refresh::Begin(family),
                (Some(family), 2) => Refresh::End(family),
                (None, _) | (_, 3..) => Refresh::Other,
            }))
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
            Message::RouteRefresh(refresh) => {
                let (afi, subtype) = match refresh {
                    Refresh::Request(family) => (afi(*family), 0),
                    Refresh::Begin(family) => (afi(*family), 1),
                    Refresh::End(family) => (afi(*family), 2),
                    // AFI 0 is reserved.
                    Refresh::Other => (0, 0),
                };
                let [high, low] = afi.to_be_bytes();
                out.extend([high, low, subtype, UNICAST]);
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
pub(crate) const UNICAST: u8 = 1;

/// IANA, "Address Family Numbers".
pub(crate) fn afi(family: Family) -> u16 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::open::Capability;
    use crate::config::{Asn, HoldTime, Role};
    use crate::rng::Rng;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
    }

    /// A message from its length on.
    fn framed(text: &str) -> Vec<u8> {
        [&MARKER[..], &hex(text)].concat()
    }

    fn open(asn: u32, router_id: [u8; 4], hold_time: u16, capabilities: Vec<Capability>) -> Message {
        let hold_time = HoldTime::from_secs(hold_time).unwrap();
        Message::Open(Open { asn: Asn(asn), hold_time, router_id: router_id.into(), capabilities })
    }

    /// Octets and what they say. Where a router is named, it sent exactly these.
    fn golden() -> Vec<(Vec<u8>, Message)> {
        let both = || Family::ALL.map(Capability::Multiprotocol).to_vec();
        let bird = [
            both(),
            vec![
                Capability::RouteRefresh,
                Capability::Other(64, vec![0, 120]),
                Capability::FourOctetAs(Asn(4_200_000_000)),
                Capability::Other(70, vec![]),
                Capability::Other(71, vec![]),
            ],
        ];
        let ours = [both(), vec![Capability::RouteRefresh, Capability::FourOctetAs(Asn(65001))]];
        vec![
            // BIRD 2.0.12, AS 4200000000.
            (
                framed(
                    "003b01 04 5ba0 00f0 0a630101 1e 021c 010400010001 010400020001 0200 40020078 4104fa56ea00 4600 4700",
                ),
                open(4_200_000_000, [10, 99, 1, 1], 240, bird.concat()),
            ),
            // The same, with a role and extended messages.
            (
                framed(
                    "003a01 04 fde8 005a 0a000009 1d 021b 010400010001 010400020001 0200 0600 090100 41040000fde8 4600",
                ),
                {
                    let [refresh, more] = [Capability::RouteRefresh, Capability::extended_message()];
                    let (role, asn) = (Capability::role(Role::Provider), Capability::FourOctetAs(Asn(65000)));
                    let last = vec![refresh, more, role, asn, Capability::enhanced_route_refresh()];
                    open(65000, [10, 0, 0, 9], 90, [both(), last].concat())
                },
            ),
            // BIRD 2.0.12: an UPDATE with AS_TRANS and AS4_PATH, requests for both families, a shutdown with a text.
            (
                framed("003602 0000 001b 40010100 40020402015ba0 4003047f000009 c011060201fa56ea00 18c00002"),
                Message::Update(hex("0000001b4001010040020402015ba04003047f000009c011060201fa56ea0018c00002")),
            ),
            (framed("001705 00010001"), Message::RouteRefresh(Refresh::Request(Family::Ipv4))),
            (framed("001705 00020001"), Message::RouteRefresh(Refresh::Request(Family::Ipv6))),
            // BIRD 2.0.12, around the answer to a request.
            (framed("001705 00010101"), Message::RouteRefresh(Refresh::Begin(Family::Ipv4))),
            (framed("001705 00020201"), Message::RouteRefresh(Refresh::End(Family::Ipv6))),
            (framed("002103 0602 0b 6d61696e74656e616e6365"), {
                Message::Notification(Notification::administrative_shutdown("maintenance"))
            }),
            (framed("001304"), Message::Keepalive),
            (framed("001702 00000000"), Message::Update(vec![0; 4])),
            // What we send ourselves.
            (
                framed("003301 04 fde9 0009 0a630102 16 0214 010400010001 010400020001 0200 41040000fde9"),
                open(65001, [10, 99, 1, 2], 9, ours.concat()),
            ),
        ]
    }

    #[test]
    fn golden_bytes_both_ways() {
        for (bytes, message) in golden() {
            let mut inbox = Inbox::default();
            inbox.push(&bytes);
            assert_eq!(inbox.next(), Ok(Some(message.clone())));
            assert_eq!(inbox.next(), Ok(None));
            let mut out = vec![];
            message.encode(&mut out);
            assert_eq!(out, bytes, "{message:?}");
        }
    }

    #[test]
    fn messages_survive_any_cut() {
        let mut rng = Rng::new(11);
        let (bytes, messages): (Vec<_>, Vec<_>) = golden().into_iter().unzip();
        let stream = bytes.concat();
        let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut inbox = Inbox::default();
            let mut read = vec![];
            for piece in pieces {
                inbox.push(piece);
                while let Some(message) = inbox.next().unwrap() {
                    read.push(message);
                }
            }
            assert_eq!(inbox.bytes.len(), inbox.taken);
            read
        };
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(read(&mut [head, tail].into_iter()), messages);
        }
        assert_eq!(read(&mut stream.chunks(1)), messages);
        for _ in 0..100 {
            let size = 1 + rng.below(90) as usize;
            assert_eq!(read(&mut stream.chunks(size)), messages);
        }
    }

    #[test]
    fn the_inbox_keeps_one_message_and_what_was_pushed_last() {
        let (bytes, messages): (Vec<_>, Vec<_>) = golden().into_iter().unzip();
        let stream = bytes.concat().repeat(200);
        let mut inbox = Inbox::default();
        let mut count = 0;
        for piece in stream.chunks(100) {
            inbox.push(piece);
            while inbox.next().unwrap().is_some() {
                count += 1;
            }
            assert!(inbox.bytes.len() <= 2 * MAX_LEN, "{}", inbox.bytes.len());
        }
        assert_eq!(count, messages.len() * 200);
        // After an error nothing is kept, and the error stays.
        inbox.push(b"GET / HTTP/1.1");
        let error = Err(Notification::new(1, 1, []));
        assert_eq!(inbox.next(), error);
        inbox.push(&stream);
        assert_eq!((inbox.next(), inbox.bytes.len()), (error, 0));
        inbox.clear();
        inbox.push(&stream);
        assert_eq!(inbox.next(), Ok(messages.first().cloned()));
    }

    /// RFC 8654 §4: only what both sides may expect, and only where it is of use.
    #[test]
    fn extended_messages() {
        let header = |length: u16, kind: u8| [&MARKER[..], &length.to_be_bytes(), &[kind]].concat();
        let first = |bytes: &[u8]| {
            let mut inbox = Inbox::default();
            inbox.take_extended();
            inbox.push(bytes);
            inbox.next()
        };
        for (length, kind) in [(4097, UPDATE), (65_535, UPDATE), (65_535, NOTIFICATION), (65_535, ROUTE_REFRESH)] {
            assert_eq!(first(&header(length, kind)), Ok(None), "{length} {kind}");
        }
        for (length, kind) in [(4097, OPEN), (65_535, OPEN), (4097, KEEPALIVE)] {
            assert_eq!(first(&header(length, kind)), Err(Notification::new(1, 2, length.to_be_bytes())));
        }
        // One of the longest, in pieces, costs itself and the last piece.
        let body = [&[0, 0, 0xff, 0xe8][..], &[7; 0xffe8]].concat();
        let whole = [header(65_535, UPDATE), body.clone()].concat();
        let mut inbox = Inbox::default();
        inbox.take_extended();
        let mut read = 0;
        for piece in whole.repeat(3).chunks(1000) {
            inbox.push(piece);
            while let Some(message) = inbox.next().unwrap() {
                assert_eq!(message, Message::Update(body.clone()));
                read += 1;
            }
            assert!(inbox.bytes.len() <= 2 * EXTENDED_MAX_LEN + 1000, "{}", inbox.bytes.len());
        }
        assert_eq!(read, 3);
        inbox.clear();
        inbox.push(&header(65_535, UPDATE));
        assert_eq!(inbox.next(), Ok(None), "what was said stays said");
    }

    #[test]
    fn wrong_headers_are_found_at_once_with_what_the_rfc_asks_for() {
        let header = |length: u16, kind: u8| [&MARKER[..], &length.to_be_bytes(), &[kind]].concat();
        let length = |length: u16| Notification::new(1, 2, length.to_be_bytes());
        let mut cases = vec![
            (b"\x16\x03\x01".to_vec(), Notification::new(1, 1, [])),
            ([&[0xff; 15][..], &[0xfe]].concat(), Notification::new(1, 1, [])),
        ];
        for (octets, kind) in [
            (0, 4),
            (18, 4),
            (18, 9),
            (4097, 2),
            (65_535, 2), // whatever the type
            (28, 1),
            (22, 2),
            (20, 3),
            (20, 4),
            (4096, 4),
            (19, 2),
        ] {
            cases.push((header(octets, kind), length(octets)));
        }
        for kind in [0, 6, 255] {
            cases.push((header(19, kind), Notification::new(1, 3, [kind])));
        }
        for (bytes, notification) in cases {
            let mut inbox = Inbox::default();
            inbox.push(&bytes);
            assert_eq!(inbox.next(), Err(notification), "{bytes:?}");
        }
        for (octets, kind) in [(29, 1), (4096, 1), (23, 2), (4096, 2), (21, 3), (23, 5), (4096, 5)] {
            let mut inbox = Inbox::default();
            inbox.push(&header(octets, kind));
            assert_eq!(inbox.next(), Ok(None), "{octets} {kind}");
        }
        // ROUTE-REFRESH quotes the message (RFC 7313 §5), and so waits for it.
        for text in ["001605 000100", "001905 00010001 4000"] {
            let mut inbox = Inbox::default();
            let bytes = framed(text);
            let (last, head) = bytes.split_last().unwrap();
            inbox.push(head);
            assert_eq!(inbox.next(), Ok(None));
            inbox.push(&[*last]);
            assert_eq!(inbox.next(), Err(Notification::new(7, 1, bytes)));
        }
    }

    #[test]
    fn refreshes_that_are_none_and_updates_that_do_not_add_up() {
        for text in ["001705 00010002", "001705 40040047", "001705 00010301", "001705 0001ff01"] {
            let mut inbox = Inbox::default();
            inbox.push(&framed(text));
            assert_eq!(inbox.next(), Ok(Some(Message::RouteRefresh(Refresh::Other))), "{text}");
        }
        for text in ["001702 00010000", "001702 00000001"] {
            let mut inbox = Inbox::default();
            inbox.push(&framed(text));
            assert_eq!(inbox.next(), Err(Notification::new(3, 1, [])), "{text}");
        }
    }

    #[test]
    fn nothing_that_arrives_makes_it_panic() {
        let mut rng = Rng::new(12);
        let golden = golden();
        let mut errors = 0;
        for _ in 0..20_000 {
            let (bytes, _) = &golden[rng.below(golden.len() as u64) as usize];
            let mut bytes = bytes.clone();
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.bits() as u8;
            }
            let mut inbox = Inbox::default();
            inbox.push(&bytes);
            match inbox.next() {
                Ok(Some(message)) => message.encode(&mut Vec::new()),
                Ok(None) => {}
                Err(notification) => {
                    errors += 1;
                    assert!(matches!(notification.code, 1 | 2 | 3 | 7), "{notification}");
                }
            }
        }
        assert!(errors > 1000);
    }

    #[test]
    fn a_notification_is_cut_to_a_message() {
        let mut out = vec![];
        Message::Notification(Notification::new(3, 5, vec![7; 9000])).encode(&mut out);
        assert_eq!(out.len(), MAX_LEN);
        let mut inbox = Inbox::default();
        inbox.push(&out);
        assert_eq!(inbox.next(), Ok(Some(Message::Notification(Notification::new(3, 5, vec![7; MAX_LEN - 21])))));
    }
}
