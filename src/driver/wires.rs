//! Tripwires: idle connections to targets, held open on the loop. Nothing is sent on them, and what comes is dropped:
//! what counts is that they end.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::probe::egress;
use crate::config::Probe;
use crate::health::{Ticket, WireAction};

/// What a target may say before it is taken for one that does not idle.
const MOST: usize = 64 * 1024;
/// A host that has gone without a word is asked so often whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// What became of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireEvent {
    Opened(Ticket),
    Ended(Ticket),
}

/// The connections.
pub(super) struct Wires {
    registry: Registry,
    by_token: BTreeMap<usize, Wire>,
    by_ticket: BTreeMap<Ticket, usize>,
    next_token: usize,
    events: Vec<WireEvent>,
}

struct Wire {
    ticket: Ticket,
    stream: TcpStream,
    connected: bool,
    heard: usize,
}

impl Wires {
    /// Tokens count up from `first_token` and are never used twice.
    pub(super) fn new(registry: Registry, first_token: usize) -> Wires {
        let (by_token, by_ticket) = (BTreeMap::new(), BTreeMap::new());
        Wires { registry, by_token, by_ticket, next_token: first_token, events: Vec::new() }
    }

    /// Opens or closes one. What becomes of it is told by [`take_events`](Self::take_events).
    pub(super) fn apply(&mut self, action: WireAction) {
        match action {
            WireAction::Open(ticket, probe) => {
                if self.open(ticket, &probe).is_err() {
                    self.events.push(WireEvent::Ended(ticket));
                }
            }
            WireAction::Close(ticket) => self.close(ticket),
        }
    }

    /// Whether a token is of one of these.
    pub(super) fn has(&self, token: Token) -> bool {
        self.by_token.contains_key(&token.0)
    }

    /// Whether there is something to tell.
    pub(super) fn has_work(&self) -> bool {
        !self.events.is_empty()
    }

    /// What has become of wires since this was asked last.
    pub(super) fn take_events(&mut self) -> Vec<WireEvent> {
        std::mem::take(&mut self.events)
    }

    /// Something happened on the connection of this event's token.
    pub(super) fn notify(&mut self, event: &Event) {
        let Some(wire) = self.by_token.get_mut(&event.token().0) else { return };
        let ticket = wire.ticket;
        match wire.look() {
            Ok(true) => self.events.push(WireEvent::Opened(ticket)),
            Ok(false) => {}
            Err(_) => {
                self.close(ticket);
                self.events.push(WireEvent::Ended(ticket));
            }
        }
    }

    fn open(&mut self, ticket: Ticket, probe: &Probe) -> io::Result<()> {
        let mut stream = connect(probe.target, probe)?;
        let token = self.next_token;
        self.next_token += 1;
        self.registry.register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        self.by_token.insert(token, Wire { ticket, stream, connected: false, heard: 0 });
        self.by_ticket.insert(ticket, token);
        Ok(())
    }

    fn close(&mut self, ticket: Ticket) {
        if let Some(mut wire) = self.by_ticket.remove(&ticket).and_then(|token| self.by_token.remove(&token)) {
            // The descriptor is closed right after: a failure leaves nothing behind.
            let _gone_anyway = self.registry.deregister(&mut wire.stream);
        }
    }
}

impl Wire {
    /// Whether it is connected now and was not before; an error when it has ended.
    fn look(&mut self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        let is_news = !self.connected && self.stream.peer_addr().is_ok();
        self.connected |= is_news;
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.heard += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing there; or, before the connection is made, nothing that could be.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(is_news),
                Err(error) if error.kind() == io::ErrorKind::NotConnected && !self.connected => return Ok(false),
                Err(error) => return Err(error),
            }
            if self.heard > MOST {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

/// Begins to connect, as the check's own connections do.
fn connect(target: SocketAddr, probe: &Probe) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    egress::apply(&socket, target, &probe.egress)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
