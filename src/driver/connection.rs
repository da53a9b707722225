//! TCP connections to peers: non-blocking, edge-triggered, with a bounded share of work per connection and turn.
//!
//! A connection lives here until the engine closes it, or until it is gone and the engine has been told. A closed one
//! stays for at most [`LINGER`], so that the last words (a NOTIFICATION) reach the peer: closing a socket that holds
//! unread data would reset the connection and take them away.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dial::{connect, describe, explain, limit_silence, prepare_accepted};
use crate::bgp::peer::{ArrivalId, ConnId, Event};
use crate::config::Peer;
use crate::engine::PeerId;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// Octets read from one connection in one turn: a flooding peer must not keep the others or the timers waiting.
pub(super) const READ_SHARE: usize = 32 * 1024;
/// Octets written to one connection in one turn.
const WRITE_SHARE: usize = 256 * 1024;
/// How long a closed connection may take to send what is queued and to see the peer's end.
const LINGER: Duration = Duration::from_secs(1);

enum Phase {
    /// The handshake is under way.
    Connecting,
    /// The engine's.
    Open,
    /// The engine has forgotten it; nobody is told of anything any more.
    Closing {
        /// When it is dropped whatever is left.
        deadline: Instant,
        /// Our end of the stream is closed.
        shut: bool,
    },
}

struct Connection {
    peer: PeerId,
    id: ConnId,
    stream: TcpStream,
    phase: Phase,
    queue: VecDeque<u8>,
    /// Readiness is told once: it holds until the socket would block.
    readable: bool,
    writable: bool,
    /// Why writing failed. The read side goes first: it may hold the peer's last words.
    broken: Option<String>,
    /// What it was made with.
    config: Arc<Peer>,
    /// Something has been received.
    heard: bool,
}

/// What is left of a connection's share of a turn.
pub(super) struct Share {
    pub(super) read: usize,
    pub(super) write: usize,
}

impl Default for Share {
    fn default() -> Share {
        Share { read: READ_SHARE, write: WRITE_SHARE }
    }
}

/// All connections.
pub(super) struct Connections {
    registry: Registry,
    by_token: BTreeMap<usize, Connection>,
    tokens: BTreeMap<(PeerId, ConnId), usize>,
    /// Connections with work that needs no further readiness.
    ready: BTreeSet<usize>,
    closing: BTreeSet<(Instant, usize)>,
    /// Made by others, and nobody's yet.
    arrivals: BTreeMap<ArrivalId, TcpStream>,
    next_arrival: u64,
    /// Attempts that failed at once.
    refused: VecDeque<(PeerId, ConnId, String)>,
    next_token: usize,
}

impl Connections {
    /// Tokens count up from `first_token` and are never used twice.
    pub(super) fn new(registry: Registry, first_token: usize) -> Connections {
        Connections {
            registry,
            by_token: BTreeMap::new(),
            tokens: BTreeMap::new(),
            ready: BTreeSet::new(),
            closing: BTreeSet::new(),
            arrivals: BTreeMap::new(),
            next_arrival: 0,
            refused: VecDeque::new(),
            next_token: first_token,
        }
    }

    /// Starts to connect. A failure is told by [`refused`](Self::refused).
    pub(super) fn open(&mut self, peer: PeerId, id: ConnId, config: Arc<Peer>) {
        let opened = connect(&config);
        self.add(peer, id, config, Phase::Connecting, opened);
    }

    /// Keeps a connection that somebody made, until it is known whose it is.
    pub(super) fn arrive(&mut self, stream: TcpStream) -> ArrivalId {
        let id = ArrivalId(self.next_arrival);
        self.next_arrival += 1;
        self.arrivals.insert(id, stream);
        id
    }

    /// It is this peer's. A failure is told by [`refused`](Self::refused).
    pub(super) fn accept(&mut self, arrival: ArrivalId, peer: PeerId, id: ConnId, config: Arc<Peer>) {
        let Some(stream) = self.arrivals.remove(&arrival) else { return };
        let prepared = prepare_accepted(&stream, &config).map(|()| stream);
        self.add(peer, id, config, Phase::Open, prepared);
    }

    /// It is nobody's. The last words go as far as they go at once: nobody waits for a stranger.
    pub(super) fn turn_away(&mut self, arrival: ArrivalId, last_words: &[u8]) {
        if let Some(mut stream) = self.arrivals.remove(&arrival)
            && !last_words.is_empty()
        {
            let _said_or_not = stream.write(last_words);
        }
    }

    fn add(&mut self, peer: PeerId, id: ConnId, config: Arc<Peer>, phase: Phase, stream: io::Result<TcpStream>) {
        let token = self.next_token;
        self.next_token += 1;
        let stream = stream.and_then(|mut stream| {
            self.registry.register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        });
        match stream {
            Ok(stream) => {
                let queue = VecDeque::new();
                let connection = Connection {
                    peer,
                    id,
                    stream,
                    phase,
                    queue,
                    readable: false,
                    writable: false,
                    broken: None,
                    config,
                    heard: false,
                };
                self.by_token.insert(token, connection);
                self.tokens.insert((peer, id), token);
            }
            Err(error) => self.refused.push_back((peer, id, describe(&error))),
        }
    }

    /// The next attempt that failed before there was a connection.
    pub(super) fn refused(&mut self) -> Option<(PeerId, ConnId, String)> {
        self.refused.pop_front()
    }

    /// Queues octets; of a connection that is gone they are dropped.
    pub(super) fn send(&mut self, peer: PeerId, id: ConnId, bytes: &[u8]) {
        let Some(token) = self.tokens.get(&(peer, id)) else {
            return;
        };
        let Some(connection) = self.by_token.get_mut(token) else {
            return;
        };
        if connection.broken.is_none() {
            connection.queue.extend(bytes);
        }
        if connection.writable {
            self.ready.insert(*token);
        }
    }

    /// Ends a connection: what is queued goes out for at most [`LINGER`].
    pub(super) fn close(&mut self, now: Instant, peer: PeerId, id: ConnId) {
        let Some(token) = self.tokens.remove(&(peer, id)) else {
            return;
        };
        let Some(connection) = self.by_token.get_mut(&token) else {
            return;
        };
        if matches!(connection.phase, Phase::Connecting) {
            self.forget(token);
            return;
        }
        let deadline = now + LINGER;
        connection.phase = Phase::Closing { deadline, shut: false };
        self.closing.insert((deadline, token));
        self.ready.insert(token);
    }

    /// Ends all connections.
    pub(super) fn close_all(&mut self, now: Instant) {
        for (peer, id) in self.tokens.keys().copied().collect::<Vec<_>>() {
            self.close(now, peer, id);
        }
    }

    /// Whether no connection is left.
    pub(super) fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }

    /// Whether something can be done without waiting.
    pub(super) fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.refused.is_empty()
    }

    /// When a closing connection's time is up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.closing.first().map(|(at, _)| *at)
    }

    /// Drops the closing connections whose time is up.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, token)) = self.closing.first().copied() {
            if at > now {
                return;
            }
            self.forget(token);
        }
    }

    /// The kernel says that something can be done.
    pub(super) fn notify(&mut self, event: &mio::event::Event) {
        let Token(token) = event.token();
        // A token that is gone: the event was fetched before its connection ended.
        if let Some(connection) = self.by_token.get_mut(&token) {
            connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            connection.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
            self.ready.insert(token);
        }
    }

    /// The connections that have work, to [`step`](Self::step) each in turn until its share is used up.
    pub(super) fn take_ready(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.ready)
    }

    /// Works on one connection up to the next thing that the engine must hear of; `None` when nothing is left to do for
    /// now. Not to be called again for this connection in the same turn after that.
    pub(super) fn step<'b>(
        &mut self,
        token: usize,
        share: &mut Share,
        buffer: &'b mut [u8],
    ) -> Option<(PeerId, ConnId, Event<'b>)> {
        let connection = self.by_token.get_mut(&token)?;
        let (peer, id) = (connection.peer, connection.id);
        let event = match connection.phase {
            Phase::Connecting => connection.establish(),
            Phase::Open => connection.exchange(share, buffer),
            Phase::Closing { .. } => {
                if connection.finish(share, buffer) {
                    self.forget(token);
                    return None;
                }
                None
            }
        };
        match &event {
            Some(Event::ConnectFailed(_) | Event::Closed(_)) => self.forget(token),
            Some(_) => {}
            None if connection.has_work() => drop(self.ready.insert(token)),
            None => {}
        }
        event.map(|event| (peer, id, event))
    }

    fn forget(&mut self, token: usize) {
        if let Some(mut connection) = self.by_token.remove(&token) {
            if let Phase::Closing { deadline, .. } = connection.phase {
                self.closing.remove(&(deadline, token));
            }
            let key = (connection.peer, connection.id);
            if self.tokens.get(&key) == Some(&token) {
                self.tokens.remove(&key);
            }
            self.ready.remove(&token);
            // The descriptor is closed right after: a failure leaves nothing behind.
            let _gone_anyway = self.registry.deregister(&mut connection.stream);
        }
    }
}

impl Connection {
    fn has_work(&self) -> bool {
        match self.phase {
            Phase::Connecting => false,
            Phase::Open => self.readable || (self.writable && !self.queue.is_empty()),
            Phase::Closing { shut, .. } => self.readable || (self.writable && !shut),
        }
    }

    /// Finds out how the handshake went, in the order that mio asks for.
    fn establish(&mut self) -> Option<Event<'static>> {
        let config = self.config.clone();
        let failed = |error: io::Error| Some(Event::ConnectFailed(explain(&error, &config)));
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return failed(error),
        }
        let remote = match self.stream.peer_addr() {
            Ok(remote) => remote,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return None,
            Err(error) => return failed(error),
        };
        let local = match self.stream.local_addr() {
            Ok(local) => local,
            Err(error) => return failed(error),
        };
        if local == remote {
            // TCP allows a simultaneous open with oneself when the port is in the ephemeral range.
            return Some(Event::ConnectFailed("connected to itself: nobody listens there".to_owned()));
        }
        if let Err(error) = limit_silence(&self.stream, &self.config) {
            return Some(Event::ConnectFailed(format!("TCP user timeout: {}", describe(&error))));
        }
        self.phase = Phase::Open;
        Some(Event::Connected { local, remote })
    }

    fn exchange<'b>(&mut self, share: &mut Share, buffer: &'b mut [u8]) -> Option<Event<'b>> {
        let sent = self.write(share);
        if sent > 0 {
            return Some(Event::Sent(sent));
        }
        match self.read(share, buffer) {
            Received::Nothing if self.readable => None, // its share is used up
            Received::Nothing => self.broken.take().map(|error| Event::Closed(Some(error))),
            Received::Octets(count) => Some(Event::Bytes(buffer.get(..count)?)),
            Received::End => Some(Event::Closed(self.broken.take())),
            Received::Failed(error) => Some(Event::Closed(Some(error))),
        }
    }

    /// Goes on closing; whether it is done.
    fn finish(&mut self, share: &mut Share, buffer: &mut [u8]) -> bool {
        while self.write(share) > 0 {}
        let Phase::Closing { shut, .. } = &mut self.phase else {
            return true;
        };
        if !*shut && self.queue.is_empty() {
            *shut = true;
            if self.stream.shutdown(Shutdown::Write).is_err() {
                return true;
            }
        }
        loop {
            match self.read(share, buffer) {
                Received::Nothing => return false,
                Received::Octets(_) => {}
                Received::End | Received::Failed(_) => return true,
            }
        }
    }

    /// Writes once; how much went. An error empties the queue and leaves the word to the read side.
    fn write(&mut self, share: &mut Share) -> usize {
        while self.writable && !self.queue.is_empty() && share.write > 0 {
            let (front, back) = self.queue.as_slices();
            let front = front.get(..share.write).unwrap_or(front);
            let rest = share.write - front.len();
            let back = back.get(..rest).unwrap_or(back);
            match self.stream.write_vectored(&[IoSlice::new(front), IoSlice::new(back)]) {
                Ok(count) => {
                    self.queue.drain(..count);
                    share.write = share.write.saturating_sub(count);
                    return count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => {
                    self.queue.clear();
                    self.broken = Some(describe(&error));
                    self.readable = true;
                }
            }
        }
        0
    }

    fn read(&mut self, share: &mut Share, buffer: &mut [u8]) -> Received {
        let room = share.read.min(buffer.len());
        while self.readable && room > 0 {
            let Some(buffer) = buffer.get_mut(..room) else {
                break;
            };
            match self.stream.read(buffer) {
                Ok(0) => return Received::End,
                Ok(count) => {
                    self.heard = true;
                    share.read -= count.min(share.read);
                    return Received::Octets(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if self.heard => return Received::Failed(describe(&error)),
                Err(error) => return Received::Failed(explain(&error, &self.config)),
            }
        }
        Received::Nothing
    }
}

enum Received {
    Nothing,
    Octets(usize),
    End,
    Failed(String),
}
