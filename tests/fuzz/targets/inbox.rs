//! Framing and messages: the first octet says how the rest, a received stream, is cut.

use herald::bgp::error::Notification;
use herald::bgp::message::{Inbox, MAX_LEN, Message};
use herald::bgp::open::Capability;
use herald::rng::Rng;

/// RFC 5492: what a capability has beside its value; and what our encoder lets all of them have.
const CAPABILITY_HEADER: usize = 2;
const CAPABILITIES_MAX: usize = 4000;

/// However a stream is cut, the same messages and the same error come out; and a message is what its encoding says.
pub(crate) fn run(data: &[u8]) {
    let Some((seed, stream)) = data.split_first() else { return };
    let whole = read(std::iter::once(stream));
    assert_eq!(read(stream.chunks(1)), whole);
    assert_eq!(read(cut(*seed, stream).into_iter()), whole);

    let (messages, error) = whole;
    for message in messages.iter().filter(|message| fits(message)) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert!(bytes.len() <= MAX_LEN);
        assert_eq!(read(std::iter::once(&*bytes)), (vec![message.clone()], None));
        match message {
            Message::Open(open) => open.capabilities.iter().for_each(|capability| show(&capability.to_string())),
            Message::Notification(notification) => show(&notification.to_string()),
            Message::Update(_) | Message::Keepalive | Message::RouteRefresh(_) => {}
        }
    }
    // What answers an error must be a message itself.
    if let Some(notification) = error {
        show(&notification.to_string());
        let message = Message::Notification(notification);
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(read(std::iter::once(&*bytes)), (vec![message], None));
    }
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, Option<Notification>) {
    let mut inbox = Inbox::default();
    let mut messages = Vec::new();
    for piece in pieces {
        inbox.push(piece);
        loop {
            match inbox.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(notification) => {
                    assert_eq!(inbox.next(), Err(notification.clone()), "an error stays");
                    return (messages, Some(notification));
                }
            }
        }
    }
    (messages, None)
}

fn cut(seed: u8, mut stream: &[u8]) -> Vec<&[u8]> {
    let mut rng = Rng::new(seed.into());
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        let at = 1 + rng.below(40) as usize;
        let (piece, rest) = stream.split_at(at.min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

/// Whether our encoder would send it whole: nobody sends the OPEN of another.
fn fits(message: &Message) -> bool {
    let Message::Open(open) = message else { return true };
    let value = |capability: &Capability| match capability {
        Capability::Multiprotocol(_) | Capability::FourOctetAs(_) => 4,
        Capability::RouteRefresh => 0,
        Capability::Other(_, value) => value.len(),
    };
    let all: usize = open.capabilities.iter().map(|capability| CAPABILITY_HEADER + value(capability)).sum();
    all <= CAPABILITIES_MAX
}

/// What a router says may reach a terminal and a log.
fn show(text: &str) {
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
    assert!(text.len() < 8 * MAX_LEN);
}
