//! A router of a few lines: its own reading of RFC 4271, so that a mistake of the codec cannot hide.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use herald::driver::clock;

/// How long anything may take in these tests. Passing tests take much less.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the router has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Established,
    Announce(String),
    Withdraw(String),
    EndOfRib,
    Notification(u8, u8, Vec<u8>),
    Closed,
}

/// How a router behaves once the session is up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Proper,
    /// Sends KEEPALIVEs as fast as they go.
    Floods,
    /// Reads nothing more.
    Deaf,
}

/// AS 65000 on a port of its own; takes one session after the other.
pub(crate) struct Router {
    pub(crate) port: u16,
    seen: Receiver<Seen>,
    /// Everything so far, for the message when a test fails.
    history: VecDeque<Seen>,
}

impl Router {
    pub(crate) fn start() -> Router {
        Router::with_manner("127.0.0.1", Manner::Proper)
    }

    pub(crate) fn with_manner(address: &str, manner: Manner) -> Router {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, seen) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                // A session that breaks ends here; the test sees that it is closed.
                let _ended = session(stream, &tell, manner);
                if tell.send(Seen::Closed).is_err() {
                    return;
                }
            }
        });
        Router { port, seen, history: VecDeque::new() }
    }

    /// The next thing seen.
    pub(crate) fn next(&mut self) -> Seen {
        let seen = self.seen.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing more after {:?}", self.history));
        self.history.push_back(seen.clone());
        seen
    }

    /// Waits for this, whatever comes before it.
    pub(crate) fn wait_for(&mut self, wanted: &Seen) {
        let deadline = clock() + PATIENCE;
        while clock() < deadline {
            if self.next() == *wanted {
                return;
            }
        }
        panic!("no {wanted:?} in {:?}", self.history);
    }

    /// What comes next is this and nothing else.
    pub(crate) fn expect(&mut self, wanted: &Seen) {
        assert_eq!(self.next(), *wanted, "after {:?}", self.history);
    }

    /// What has come and was not yet looked at, without waiting.
    pub(crate) fn rest(&mut self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    message.push(kind);
    message.extend(body);
    message
}

fn session(mut stream: TcpStream, tell: &Sender<Seen>, manner: Manner) -> io::Result<()> {
    // Multiprotocol IPv4 unicast, 4-octet AS 65000 and graceful restart as a helper, in one optional parameter.
    let capabilities = [1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfd, 0xe8, 64, 2, 0, 120];
    let mut open = vec![4, 0xfd, 0xe8, 0, 9, 10, 0, 0, 9, 18, 2, 16];
    open.extend(capabilities);
    stream.write_all(&message(1, &open))?;
    stream.write_all(&message(4, &[]))?;
    let mut established = false;
    loop {
        let mut header = [0; 19];
        stream.read_exact(&mut header)?;
        assert_eq!(header[..16], [0xff; 16], "marker");
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        assert!((19..=4096).contains(&length), "length {length}");
        let mut body = vec![0; length - 19];
        stream.read_exact(&mut body)?;
        match header[18] {
            1 => {}
            2 => update(&body, tell),
            3 => drop(tell.send(Seen::Notification(body[0], body[1], body[2..].to_vec()))),
            4 => {
                stream.write_all(&message(4, &[]))?;
                if !std::mem::replace(&mut established, true) {
                    let _gone = tell.send(Seen::Established);
                    misbehave(&stream, manner)?;
                }
            }
            kind => panic!("message type {kind}"),
        }
    }
}

fn misbehave(stream: &TcpStream, manner: Manner) -> io::Result<()> {
    let mut flood = stream.try_clone()?;
    match manner {
        Manner::Proper => {}
        Manner::Floods => {
            let keepalives = message(4, &[]).repeat(1000);
            thread::spawn(move || while flood.write_all(&keepalives).is_ok() {});
        }
        Manner::Deaf => loop {
            thread::park();
        },
    }
    Ok(())
}

fn update(body: &[u8], tell: &Sender<Seen>) {
    let length = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let withdrawn = length(0);
    let attributes = length(2 + withdrawn);
    let routes = &body[4 + withdrawn + attributes..];
    for prefix in prefixes(&body[2..2 + withdrawn]) {
        let _gone = tell.send(Seen::Withdraw(prefix));
    }
    for prefix in prefixes(routes) {
        let _gone = tell.send(Seen::Announce(prefix));
    }
    if withdrawn == 0 && attributes == 0 && routes.is_empty() {
        let _gone = tell.send(Seen::EndOfRib);
    }
}

fn prefixes(mut octets: &[u8]) -> Vec<String> {
    let mut prefixes = Vec::new();
    while let Some((bits, rest)) = octets.split_first() {
        let (address, rest) = rest.split_at(usize::from(bits.div_ceil(8)));
        let mut full = [0; 4];
        full[..address.len()].copy_from_slice(address);
        prefixes.push(format!("{}/{bits}", Ipv4Addr::from(full)));
        octets = rest;
    }
    prefixes
}
