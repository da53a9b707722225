//! gRPC calls over one HTTP/2 connection: octets in, octets out. Each call sends one message; one or many come back.
//!
//! HTTP/2 is `ringline_h2`'s. Here are the bounds that it leaves to us: whatever comes is worth something to a call, or
//! there is not much of it; messages are not long; a call that is not answered in time ends the connection.

mod framing;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use ringline_h2::{H2Connection, H2Error, H2Event, HeaderField, Settings};

use super::cause::seconds;
use framing::Inbox;
pub use status::Status;
use status::printable;

/// What is fed to HTTP/2 at a time, so that no frame is refused for coming with others.
const PIECE: usize = 16 * 1024;
/// Octets that may come without being part of an answer ...
const WORTHLESS_MAX: usize = 1024 * 1024;
/// ... beyond so many a second, which are PINGs that keep a connection alive on which nothing is called for months.
const WORTHLESS_A_SECOND: usize = 1024;
/// How much may be on its way to us: lists come in one go.
const WINDOW: u32 = 1024 * 1024;
/// Octets of a block of headers.
const HEADERS_MAX: u32 = 64 * 1024;
/// How long the other side has to say that it speaks HTTP/2.
const GREETING: Duration = Duration::from_secs(2);

/// How long a call may take, and how long its messages may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The connection ends when nothing at all is answered for so long.
    pub silence: Duration,
    /// It ends when the call takes so long.
    pub total: Duration,
    /// Octets of a message.
    pub message: usize,
}

impl Limits {
    /// For what is answered at once.
    pub const SHORT: Limits =
        Limits { silence: Duration::from_secs(2), total: Duration::from_secs(10), message: 64 * 1024 };
    /// For lists, of which nothing comes before gobgpd has found the whole: with a full table that takes seconds.
    pub const LIST: Limits =
        Limits { silence: Duration::from_secs(10), total: Duration::from_secs(60), message: 1024 * 1024 };
}

/// What is called.
#[derive(Clone, Debug)]
pub struct Call {
    /// The service.
    pub service: &'static str,
    /// Its method.
    pub method: &'static str,
    /// What it may take.
    pub limits: Limits,
    /// The message.
    pub request: Vec<u8>,
}

/// A call of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u64);

/// What has come of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Message(CallId, Vec<u8>),
    /// The end: nothing more comes of this call.
    Ended(CallId, Status),
}

/// Why a connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The other side breaks HTTP/2, or does not speak it.
    Http2(String),
    /// It speaks HTTP/2, but not gRPC.
    NotGrpc(String),
    /// It sends without end what is no answer.
    Flood,
    /// It does not read what we answer to what it sends.
    NotReading,
    /// A message longer than any that we expect.
    TooLong(usize),
    /// It has ended the connection, and what it said.
    GoAway(String),
    /// No answer to this, for so long.
    Timeout(&'static str, Duration),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Http2(error) => write!(f, "not HTTP/2 as it should be: {error}"),
            Failure::NotGrpc(error) => write!(f, "not gRPC as it should be: {error}"),
            Failure::Flood => f.write_str("gobgpd floods us with what is no answer"),
            Failure::NotReading => f.write_str("gobgpd does not read our answers"),
            Failure::TooLong(length) => write!(f, "gobgpd sends a message of {length} octets"),
            Failure::GoAway(text) => write!(f, "gobgpd ended the connection: {text}"),
            Failure::Timeout(what, time) => write!(f, "no answer to {what} within {}", seconds(*time)),
        }
    }
}

#[derive(Debug)]
struct Active {
    service: &'static str,
    method: &'static str,
    limits: Limits,
    started: Instant,
    stream: Option<u32>,
    /// Of the framed request, what is sent.
    outbox: Vec<u8>,
    sent: usize,
    inbox: Inbox,
    has_headers: bool,
}

/// The client's side of a connection.
pub struct Client {
    http: H2Connection,
    /// The other side has said that it speaks HTTP/2.
    is_ready: bool,
    greeting_by: Instant,
    calls: BTreeMap<CallId, Active>,
    streams: BTreeMap<u32, CallId>,
    next_call: u64,
    /// When something was last answered.
    progress: Instant,
    /// Octets that came since, and are of no use.
    worthless: usize,
    /// Until when those are forgiven.
    forgiven: Instant,
    events: VecDeque<Event>,
    out: Vec<u8>,
    authority: String,
    scheme: &'static str,
}

impl Client {
    /// On a connection within this host that is open since `now`.
    pub fn new(now: Instant) -> Client {
        Client::to(now, "localhost", false)
    }

    /// On a connection that is open since `now`, to a server of this name, over TLS or not.
    pub fn to(now: Instant, authority: &str, is_tls: bool) -> Client {
        let settings = Settings {
            enable_push: false,
            initial_window_size: WINDOW,
            max_header_list_size: Some(HEADERS_MAX),
            ..Settings::default()
        };
        let mut client = Client {
            http: H2Connection::new(settings),
            is_ready: false,
            greeting_by: now + GREETING,
            calls: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_call: 0,
            progress: now,
            worthless: 0,
            forgiven: now,
            events: VecDeque::new(),
            out: Vec::new(),
            authority: authority.to_owned(),
            scheme: if is_tls { "https" } else { "http" },
        };
        client.collect();
        client
    }

    /// Begins a call. It waits for its turn when the other side takes no more at a time.
    pub fn call(&mut self, now: Instant, call: &Call) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let mut outbox = Vec::with_capacity(call.request.len() + 5);
        framing::frame(&call.request, &mut outbox);
        let inbox = Inbox::new(call.limits.message);
        let Call { service, method, limits, request: _ } = *call;
        self.calls.insert(
            id,
            Active { service, method, limits, started: now, stream: None, outbox, sent: 0, inbox, has_headers: false },
        );
        self.pump();
        id
    }

    /// Takes octets from the other side.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub fn receive(&mut self, now: Instant, octets: &[u8]) -> Result<(), Failure> {
        self.forgive(now);
        for piece in octets.chunks(PIECE) {
            self.worthless += piece.len();
            self.http.recv(piece).map_err(|error| http_failure(&error))?;
            while let Some(event) = self.http.poll_event() {
                self.take(now, event)?;
            }
            if self.worthless > WORTHLESS_MAX {
                return Err(Failure::Flood);
            }
        }
        self.pump();
        Ok(())
    }

    /// What is to be sent.
    pub fn take_octets(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Octets of calls that wait for the other side to take them, and what waits to be taken from here.
    pub fn backlog(&self) -> usize {
        let waiting: usize = self.calls.values().map(|active| active.outbox.len() - active.sent).sum();
        waiting + self.out.len()
    }

    /// Calls that have not ended.
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// What has come of calls.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`check`](Self::check) fails unless something comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let greeting = (!self.is_ready).then_some(self.greeting_by);
        self.calls.values().map(|active| self.deadline(active).0).chain(greeting).min()
    }

    /// Whether everything has come in time.
    ///
    /// # Errors
    /// What has not.
    pub fn check(&self, now: Instant) -> Result<(), Failure> {
        if !self.is_ready && now >= self.greeting_by {
            return Err(Failure::Timeout("HTTP/2", GREETING));
        }
        for active in self.calls.values() {
            let (deadline, time) = self.deadline(active);
            if now >= deadline {
                return Err(Failure::Timeout(active.method, time));
            }
        }
        Ok(())
    }

    fn deadline(&self, active: &Active) -> (Instant, Duration) {
        let Limits { silence, total, .. } = active.limits;
        let silent = (active.started.max(self.progress) + silence, silence);
        silent.min((active.started + total, total))
    }

    /// Sends what can be sent: streams are opened in order, as many as the other side takes.
    fn pump(&mut self) {
        if !self.is_ready {
            return;
        }
        for (id, active) in &mut self.calls {
            if active.stream.is_none() {
                // Refused: too many at a time, or no more at all, and then an event says so.
                let Ok(stream) = self.http.send_request(&headers(active, &self.authority, self.scheme), false) else {
                    break;
                };
                active.stream = Some(stream);
                self.streams.insert(stream, *id);
            }
            push(&mut self.http, active);
        }
        self.collect();
    }

    fn collect(&mut self) {
        let mut octets = self.http.take_pending_send();
        if self.out.is_empty() {
            self.out = octets;
        } else {
            self.out.append(&mut octets);
        }
    }

    fn take(&mut self, now: Instant, event: H2Event) -> Result<(), Failure> {
        match event {
            H2Event::Response { stream_id, headers, end_stream } => self.answered(now, stream_id, &headers, end_stream),
            H2Event::Data { stream_id, data, end_stream } => self.data(now, stream_id, &data, end_stream),
            H2Event::Trailers { stream_id, headers } => self.ended(now, stream_id, &headers),
            H2Event::StreamReset { stream_id, error_code } => {
                let code = match error_code {
                    ringline_h2::ErrorCode::RefusedStream => Status::UNAVAILABLE,
                    ringline_h2::ErrorCode::Cancel => Status::CANCELLED,
                    ringline_h2::ErrorCode::EnhanceYourCalm => Status::RESOURCE_EXHAUSTED,
                    _ => Status::INTERNAL,
                };
                self.end(now, stream_id, Status { code, message: format!("stream reset: {error_code:?}") });
                Ok(())
            }
            H2Event::GoAway { error_code, debug_data, .. } => {
                Err(Failure::GoAway(format!("{error_code:?} {}", printable(&debug_data)).trim_end().to_owned()))
            }
            H2Event::SettingsAcknowledged => {
                self.is_ready = true;
                Ok(())
            }
            H2Event::Error(error) => Err(http_failure(&error)),
            // No PING of ours is under way.
            _ => Ok(()),
        }
    }

    fn active(&mut self, stream: u32) -> Option<(CallId, &mut Active)> {
        let id = *self.streams.get(&stream)?;
        Some((id, self.calls.get_mut(&id)?))
    }

    /// The first headers: those of the answer, or with its end all in one.
    fn answered(&mut self, now: Instant, stream: u32, headers: &[HeaderField], end: bool) -> Result<(), Failure> {
        let Some((_, active)) = self.active(stream) else { return Ok(()) };
        active.has_headers = true;
        let status = value(headers, b":status").unwrap_or_default();
        if status != b"200" {
            return Err(Failure::NotGrpc(format!("HTTP status {}", printable(status))));
        }
        let kind = value(headers, b"content-type").unwrap_or_default();
        if !kind.starts_with(b"application/grpc") {
            return Err(Failure::NotGrpc(format!("content of type \"{}\"", printable(kind))));
        }
        if end { self.ended(now, stream, headers) } else { Ok(()) }
    }

    fn data(&mut self, now: Instant, stream: u32, data: &[u8], end: bool) -> Result<(), Failure> {
        let Some((id, active)) = self.active(stream) else { return Ok(()) };
        let messages = active.inbox.push(data)?;
        // What fills a message is worth as much as that may be long.
        self.worthless = self.worthless.saturating_sub(data.len());
        if !messages.is_empty() {
            self.progress(now);
        }
        self.events.extend(messages.into_iter().map(|message| Event::Message(id, message)));
        if end { Err(Failure::NotGrpc("an answer without a status".to_owned())) } else { Ok(()) }
    }

    fn ended(&mut self, now: Instant, stream: u32, headers: &[HeaderField]) -> Result<(), Failure> {
        let Some((_, active)) = self.active(stream) else { return Ok(()) };
        let code = value(headers, b"grpc-status").and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        let Some(code) = code else { return Err(Failure::NotGrpc("an answer without a status".to_owned())) };
        if code == Status::OK && !active.inbox.is_empty() {
            return Err(Failure::NotGrpc("a message that is cut short".to_owned()));
        }
        let message = value(headers, b"grpc-message").unwrap_or_default();
        self.end(now, stream, Status::received(code, message));
        Ok(())
    }

    fn end(&mut self, now: Instant, stream: u32, status: Status) {
        let Some(id) = self.streams.remove(&stream) else { return };
        self.calls.remove(&id);
        self.progress(now);
        self.events.push_back(Event::Ended(id, status));
    }

    fn forgive(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.forgiven).as_secs();
        if seconds > 0 {
            let seconds = usize::try_from(seconds).unwrap_or(usize::MAX);
            self.worthless = self.worthless.saturating_sub(seconds.saturating_mul(WORTHLESS_A_SECOND));
            self.forgiven = now;
        }
    }

    fn progress(&mut self, now: Instant) {
        self.progress = now;
        self.worthless = 0;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("is_ready", &self.is_ready).field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What of the request the other side's windows take. How wide they are is not told: less is tried until it goes.
fn push(http: &mut H2Connection, active: &mut Active) {
    let Some(stream) = active.stream else { return };
    let mut size = PIECE;
    while size > 0
        && let Some(rest) = active.outbox.get(active.sent..).filter(|rest| !rest.is_empty())
    {
        let piece = rest.get(..size).unwrap_or(rest);
        let is_last = piece.len() == rest.len();
        match http.send_data(stream, piece, is_last) {
            Ok(()) => active.sent += piece.len(),
            Err(H2Error::FlowControlError) => size = piece.len() / 2,
            // The other side has reset the stream: an event says so.
            Err(_) => break,
        }
    }
}

fn headers(call: &Active, authority: &str, scheme: &str) -> [HeaderField; 8] {
    let field = |name: &str, value: &str| HeaderField::new(name.as_bytes(), value.as_bytes());
    let timeout = format!("{}m", call.limits.total.as_millis());
    [
        field(":method", "POST"),
        field(":scheme", scheme),
        field(":path", &format!("/{}/{}", call.service, call.method)),
        field(":authority", authority),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
        field("grpc-timeout", &timeout),
        field("user-agent", "herald"),
    ]
}

fn value<'a>(headers: &'a [HeaderField], name: &[u8]) -> Option<&'a [u8]> {
    headers.iter().find(|field| field.name == name).map(|field| &field.value[..])
}

fn http_failure(error: &H2Error) -> Failure {
    Failure::Http2(printable(error.to_string().as_bytes()))
}

#[cfg(test)]
mod tests;
