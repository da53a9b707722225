//! One client of the control socket.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UnixStream;

/// The longest request.
const REQUEST: usize = 64 * 1024;

/// What came of a client's turn.
pub(super) enum Request {
    /// Nothing yet.
    None,
    /// A request, without its line feed.
    Line(Vec<u8>),
    /// More than a request may have.
    TooLong,
    /// The client, or its turn on earth.
    Gone,
}

/// A connection that asks one thing at a time.
pub(super) struct Client {
    stream: UnixStream,
    inbox: Vec<u8>,
    reply: Option<(Arc<[u8]>, usize)>,
    /// A request is being carried out; until it is answered, time is not the client's.
    waiting: bool,
    readable: bool,
    writable: bool,
    /// It will not ask any more.
    ended: bool,
    progress: Instant,
}

impl Client {
    pub(super) fn new(stream: UnixStream, now: Instant) -> Client {
        Client {
            stream,
            inbox: Vec::new(),
            reply: None,
            waiting: false,
            readable: false,
            writable: false,
            ended: false,
            progress: now,
        }
    }

    pub(super) fn notify(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// The request that was taken will be answered by [`reply`](Self::reply).
    pub(super) fn wait_for_answer(&mut self) {
        self.waiting = true;
    }

    /// Queues the answer; `last` hangs up after it.
    pub(super) fn reply(&mut self, now: Instant, line: Arc<[u8]>, last: bool) {
        self.waiting = false;
        self.ended |= last;
        self.progress = now;
        self.reply = Some((line, 0));
        if last {
            self.inbox.clear();
        }
    }

    /// Whether a turn would do something without further readiness.
    pub(super) fn has_work(&self) -> bool {
        match &self.reply {
            Some(_) => self.writable,
            None => !self.waiting && (self.readable || self.ended || self.inbox.contains(&b'\n')),
        }
    }

    /// When patience with this client ends.
    pub(super) fn stuck_at(&self, patience: Duration) -> Option<Instant> {
        if self.waiting { None } else { Some(self.progress + patience) }
    }

    pub(super) fn is_stuck(&self, now: Instant, patience: Duration) -> bool {
        self.stuck_at(patience).is_some_and(|at| at <= now)
    }

    /// Sends, or takes one request.
    pub(super) fn turn(&mut self, now: Instant) -> Request {
        if self.reply.is_some() {
            return self.send(now);
        }
        if self.waiting {
            return Request::None;
        }
        if let Some(line) = self.take_line() {
            return Request::Line(line);
        }
        if self.ended {
            return Request::Gone;
        }
        self.receive(now)
    }

    fn send(&mut self, now: Instant) -> Request {
        while let Some((bytes, at)) = &mut self.reply {
            let rest = bytes.get(*at..).unwrap_or_default();
            if rest.is_empty() {
                self.reply = None;
                break;
            }
            if !self.writable {
                break;
            }
            match self.stream.write(rest) {
                Ok(count) => {
                    *at += count;
                    self.progress = now;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => return Request::Gone,
            }
        }
        Request::None
    }

    fn receive(&mut self, now: Instant) -> Request {
        let mut buffer = [0; 4096];
        while self.readable {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Request::Gone;
                }
                Ok(count) => {
                    // A request that drips in has no more time than one that does not come.
                    if self.inbox.is_empty() {
                        self.progress = now;
                    }
                    self.inbox.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    if let Some(line) = self.take_line() {
                        return Request::Line(line);
                    }
                    if self.inbox.len() > REQUEST {
                        return Request::TooLong;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return Request::Gone,
            }
        }
        Request::None
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.inbox.iter().position(|octet| *octet == b'\n')?;
        let rest = self.inbox.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.inbox, rest);
        line.pop();
        Some(line)
    }
}
