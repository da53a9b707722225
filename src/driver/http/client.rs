//! One connection: it asks one thing at a time, or is told events.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::route::{self, Refusal, Request};

/// How long the head of a request may take, and a connection may rest between two.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long an answer may go without any progress, ...
const STUCK: Duration = Duration::from_secs(10);
/// ... and how long it may take altogether.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Who has had an answer for so long, and not all of it, makes room for others.
const TAKEN: Duration = Duration::from_secs(1);
/// An event loop that has said nothing for so long does not answer this one any more.
const LOST: Duration = Duration::from_secs(15);
/// How long its end is waited for.
const LINGER: Duration = Duration::from_secs(1);
/// Octets of events that may wait for one who does not read; what comes then, it misses.
const UNREAD: usize = 1 << 20;
/// How often one who is told events hears something, so that it is found out when it has gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What is read at a time.
const READ: usize = 8 * 1024;

/// What came of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing to be answered.
    None,
    /// A request.
    Asked(Request),
    /// What is none: to be answered, and the connection ends.
    Refused(Refusal),
    /// The connection has ended.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// For a request, since then.
    Reading(Instant),
    /// For what the request asks for, since then; that is not the client's doing.
    Waiting(Instant),
    /// An answer, since then.
    Answering(Instant),
    /// It is told events.
    Streaming,
    /// For its end, since then: what it still sends is read, or its system would drop the answer that it has not read.
    Lingering(Instant),
}

/// A connection.
pub(super) struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: VecDeque<Arc<[u8]>>,
    /// Octets of the first one that are out, and of all that wait.
    sent: usize,
    waiting: usize,
    phase: Phase,
    /// The request that is answered.
    keep: bool,
    head_only: bool,
    readable: bool,
    writable: bool,
    /// Its other end sends nothing any more.
    ended: bool,
    progress: Instant,
    /// Events that found no room.
    missed: u64,
}

impl Client {
    pub(super) fn new(stream: TcpStream, now: Instant) -> Client {
        Client {
            stream,
            inbox: Vec::new(),
            outbox: VecDeque::new(),
            sent: 0,
            waiting: 0,
            phase: Phase::Reading(now),
            keep: false,
            head_only: false,
            readable: true,
            writable: true,
            ended: false,
            progress: now,
            missed: 0,
        }
    }

    pub(super) fn notify(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    fn waits(&self) -> bool {
        matches!(self.phase, Phase::Waiting(_))
    }

    /// What it is answered and has not taken, and since when.
    pub(super) fn held(&self) -> Option<(Instant, &Arc<[u8]>)> {
        // Behind the head of the answer, while there is some left of that.
        let Phase::Answering(since) = self.phase else { return None };
        self.outbox.back().map(|body| (since, body))
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.phase == Phase::Streaming
    }

    /// Who goes first where there is no room, if anybody does: those who have asked for nothing yet, then those who have an
    /// answer and do not take it; of either the one that has had the longest time.
    pub(super) fn spare(&self, now: Instant) -> Option<(bool, Instant)> {
        match self.phase {
            Phase::Reading(since) | Phase::Lingering(since) => Some((false, since)),
            Phase::Answering(since) if now >= since + TAKEN => Some((true, since)),
            // It has nothing more to say, and is perhaps not there any more.
            Phase::Waiting(since) if self.ended && now >= since + TAKEN => Some((true, since)),
            Phase::Waiting(_) | Phase::Answering(_) | Phase::Streaming => None,
        }
    }

    /// It may do more without a word from the system.
    pub(super) fn has_work(&self) -> bool {
        let reads = matches!(self.phase, Phase::Reading(_) | Phase::Lingering(_));
        (self.writable && !self.outbox.is_empty()) || (self.readable && reads)
    }

    /// When its time is up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Reading(since) => Some(since + HEAD_TIME),
            Phase::Waiting(since) => Some(since + LOST),
            Phase::Lingering(since) => Some(since + LINGER),
            Phase::Answering(since) => Some((self.progress + STUCK).min(since + ANSWER_TIME)),
            Phase::Streaming if self.outbox.is_empty() => Some(self.progress + HEARTBEAT),
            Phase::Streaming => Some(self.progress + STUCK),
        }
    }

    /// False when it is to go.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if self.deadline().is_none_or(|at| at > now) {
            return true;
        }
        if self.phase == Phase::Streaming && self.outbox.is_empty() {
            self.progress = now;
            self.push(Arc::from(&b":\n\n"[..]));
            return true;
        }
        false
    }

    /// A share of work: an answer as far as it goes, and then one request at most.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        if self.write(now).is_err() {
            return Turn::Gone;
        }
        if matches!(self.phase, Phase::Answering(_)) && self.outbox.is_empty() {
            if self.ended && !self.keep {
                return Turn::Gone;
            }
            self.phase = if self.keep { Phase::Reading(now) } else { Phase::Lingering(now) };
            if !self.keep && self.stream.shutdown(Shutdown::Write).is_err() {
                return Turn::Gone;
            }
        }
        match self.phase {
            Phase::Reading(_) => self.read_request(now),
            // Who has gone is found out without an answer.
            Phase::Waiting(_) | Phase::Streaming | Phase::Lingering(_) if self.readable => match self.discard() {
                Ok(()) => Turn::None,
                Err(_) => Turn::Gone,
            },
            _ => Turn::None,
        }
    }

    fn read_request(&mut self, now: Instant) -> Turn {
        loop {
            match route::read(&self.inbox) {
                Err(refusal) => {
                    (self.keep, self.head_only, self.phase) = (false, false, Phase::Waiting(now));
                    return Turn::Refused(refusal);
                }
                Ok(Some(request)) => {
                    self.inbox.drain(..request.length);
                    (self.keep, self.head_only, self.phase) = (request.keep, request.head_only, Phase::Waiting(now));
                    return Turn::Asked(request);
                }
                Ok(None) if self.ended => return Turn::Gone,
                Ok(None) if !self.readable => return Turn::None,
                Ok(None) => {}
            }
            let mut buffer = [0; READ];
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    if self.inbox.is_empty() {
                        self.phase = Phase::Reading(now);
                    }
                    self.inbox.extend_from_slice(&buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Turn::Gone,
            }
        }
    }

    /// What is sent while an answer is awaited: a next request, for later, or the end of them.
    fn discard(&mut self) -> io::Result<()> {
        let mut buffer = [0; READ];
        loop {
            // More of them than this wait with the system.
            if self.waits() && (self.ended || self.inbox.len() >= route::HEAD) {
                return Ok(());
            }
            match self.stream.read(&mut buffer) {
                // It may still listen.
                Ok(0) if self.waits() => self.ended = true,
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) if self.waits() => self.inbox.extend_from_slice(&buffer[..count]),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers the request. `headers` end with a line end each.
    pub(super) fn answer(&mut self, now: Instant, status: &str, headers: &str, body: Arc<[u8]>) {
        let connection = if self.keep { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: {connection}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n\r\n",
            body.len()
        );
        self.push(head.into_bytes().into());
        if !self.head_only && !body.is_empty() {
            self.push(body);
        }
        (self.phase, self.progress) = (Phase::Answering(now), now);
    }

    /// From now on it is told events, until it goes.
    pub(super) fn stream(&mut self, now: Instant) {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nCache-Control: no-store\r\n\
                    X-Content-Type-Options: nosniff\r\n\r\n:\n\n";
        self.push(head.as_bytes().into());
        (self.phase, self.progress) = (Phase::Streaming, now);
        if self.head_only {
            (self.phase, self.keep) = (Phase::Answering(now), false);
        }
    }

    /// Tells it an event, if there is room.
    pub(super) fn tell(&mut self, now: Instant, event: &Arc<[u8]>) {
        if self.waiting + event.len() > UNREAD {
            self.missed += 1;
            return;
        }
        if self.outbox.is_empty() {
            self.progress = now;
        }
        if self.missed > 0 {
            let missed = std::mem::take(&mut self.missed);
            self.push(format!("event: missed\ndata: {missed}\n\n").into_bytes().into());
        }
        self.push(event.clone());
    }

    fn push(&mut self, octets: Arc<[u8]>) {
        self.waiting += octets.len();
        self.outbox.push_back(octets);
    }

    fn write(&mut self, now: Instant) -> io::Result<()> {
        while self.writable {
            let Some(first) = self.outbox.front() else { return Ok(()) };
            match self.stream.write(first.get(self.sent..).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    (self.sent, self.waiting, self.progress) = (self.sent + count, self.waiting - count, now);
                    if self.sent >= first.len() {
                        self.outbox.pop_front();
                        self.sent = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
