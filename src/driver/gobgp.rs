//! The connection to gobgpd's API: one at a time, non-blocking, with a bounded share of work in a turn.
//!
//! A gobgpd that does not read is not read from either once [`BACKLOG`] waits for it: what it makes us answer takes no more
//! memory than that.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::connection::Share;
use super::dial::describe;
use crate::config::ApiAddress;
use crate::gobgp::{Conn, Event, Output};

/// Octets that may wait to be written while we still read.
const BACKLOG: usize = 1 << 20;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The connection, if there is one.
pub(super) struct ApiLink {
    registry: Registry,
    token: Token,
    open: Option<Open>,
    /// Attempts that failed at once.
    refused: VecDeque<(Conn, String)>,
}

struct Open {
    conn: Conn,
    stream: Stream,
    connected: bool,
    queue: VecDeque<u8>,
    /// Readiness is told once: it holds until the socket would block.
    readable: bool,
    writable: bool,
}

impl ApiLink {
    pub(super) fn new(registry: Registry, token: Token) -> ApiLink {
        ApiLink { registry, token, open: None, refused: VecDeque::new() }
    }

    /// Does what the engine wants done.
    pub(super) fn apply(&mut self, output: Output) {
        match output {
            Output::Connect(conn, address) => self.connect(conn, &address),
            Output::Send(conn, bytes) => self.send(conn, &bytes),
            Output::Close(conn) => self.close(conn),
            // Not for the driver.
            Output::Notice(_) => {}
        }
    }

    /// Starts to connect; whatever there was before is gone.
    fn connect(&mut self, conn: Conn, address: &ApiAddress) {
        self.drop_open();
        match self.start(address) {
            Ok(stream) => {
                let queue = VecDeque::new();
                self.open = Some(Open { conn, stream, connected: false, queue, readable: false, writable: false });
            }
            Err(error) => self.refused.push_back((conn, describe(&error))),
        }
    }

    fn start(&self, address: &ApiAddress) -> io::Result<Stream> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        Ok(match address {
            ApiAddress::Tcp(address) => {
                let mut stream = TcpStream::connect(*address)?;
                stream.set_nodelay(true)?;
                self.registry.register(&mut stream, self.token, interest)?;
                Stream::Tcp(stream)
            }
            ApiAddress::Unix(path) => {
                let mut stream = UnixStream::connect(path)?;
                self.registry.register(&mut stream, self.token, interest)?;
                Stream::Unix(stream)
            }
        })
    }

    /// Queues octets; of a connection that is gone they are dropped.
    fn send(&mut self, conn: Conn, bytes: &[u8]) {
        if let Some(open) = self.of(conn) {
            open.queue.extend(bytes);
        }
    }

    /// Ends the connection.
    fn close(&mut self, conn: Conn) {
        if self.of(conn).is_some() {
            self.drop_open();
        }
    }

    fn of(&mut self, conn: Conn) -> Option<&mut Open> {
        self.open.as_mut().filter(|open| open.conn == conn)
    }

    fn drop_open(&mut self) {
        // The descriptor is closed right after: a failure leaves nothing behind.
        let _gone_anyway = match self.open.take().map(|open| open.stream) {
            Some(Stream::Tcp(mut stream)) => self.registry.deregister(&mut stream),
            Some(Stream::Unix(mut stream)) => self.registry.deregister(&mut stream),
            None => Ok(()),
        };
    }

    /// The kernel says that something can be done.
    pub(super) fn notify(&mut self, event: &mio::event::Event) {
        if let Some(open) = &mut self.open {
            open.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            open.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        }
    }

    /// Whether something can be done without waiting.
    pub(super) fn has_work(&self) -> bool {
        let is_ready = |open: &Open| match open.connected {
            false => open.writable,
            true => (open.writable && !open.queue.is_empty()) || (open.readable && open.queue.len() < BACKLOG),
        };
        !self.refused.is_empty() || self.open.as_ref().is_some_and(is_ready)
    }

    /// Works up to the next thing that the engine must hear of; `None` when nothing is left to do in this turn.
    pub(super) fn step<'b>(&mut self, share: &mut Share, buffer: &'b mut [u8]) -> Option<(Conn, Event<'b>)> {
        if let Some((conn, error)) = self.refused.pop_front() {
            return Some((conn, Event::ConnectFailed(error)));
        }
        let open = self.open.as_mut()?;
        let conn = open.conn;
        let event = if open.connected { open.exchange(share, buffer) } else { open.establish() };
        if let Some(Event::ConnectFailed(_) | Event::Closed(_)) = &event {
            self.drop_open();
        }
        event.map(|event| (conn, event))
    }
}

impl Open {
    /// Finds out how the handshake went, in the order that mio asks for.
    fn establish(&mut self) -> Option<Event<'static>> {
        if !std::mem::take(&mut self.writable) {
            return None;
        }
        let failed = |error: io::Error| Some(Event::ConnectFailed(describe(&error)));
        let stream = match &self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => {
                if let Ok(Some(error)) | Err(error) = stream.take_error() {
                    return failed(error);
                }
                (self.connected, self.writable) = (true, true);
                return Some(Event::Connected);
            }
        };
        if let Ok(Some(error)) | Err(error) = stream.take_error() {
            return failed(error);
        }
        let remote = match stream.peer_addr() {
            Ok(remote) => remote,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return None,
            Err(error) => return failed(error),
        };
        if stream.local_addr().is_ok_and(|local| local == remote) {
            // gobgpd's usual port is one that the system also gives to those who connect.
            return Some(Event::ConnectFailed("connected to itself: nobody listens there".to_owned()));
        }
        (self.connected, self.writable) = (true, true);
        Some(Event::Connected)
    }

    fn exchange<'b>(&mut self, share: &mut Share, buffer: &'b mut [u8]) -> Option<Event<'b>> {
        match self.write(share) {
            Ok(0) => {}
            Ok(count) => return Some(Event::Sent(count)),
            Err(error) => return Some(Event::Closed(Some(describe(&error)))),
        }
        let room = share.read.min(buffer.len());
        while self.readable && room > 0 && self.queue.len() < BACKLOG {
            match self.stream.read(buffer.get_mut(..room)?) {
                Ok(0) => return Some(Event::Closed(None)),
                Ok(count) => {
                    share.read -= count.min(share.read);
                    return Some(Event::Bytes(buffer.get(..count)?));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) => return Some(Event::Closed(Some(describe(&error)))),
            }
        }
        None
    }

    /// Writes once; how much went.
    fn write(&mut self, share: &mut Share) -> io::Result<usize> {
        while self.writable && !self.queue.is_empty() && share.write > 0 {
            let (front, _) = self.queue.as_slices();
            match self.stream.write(front.get(..share.write).unwrap_or(front)) {
                Ok(count) => {
                    self.queue.drain(..count);
                    share.write = share.write.saturating_sub(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
