//! `dns`: a query, and its answer. One query a run, over UDP or TCP, and none is repeated: a check that shall survive a lost
//! packet has `fall`.
//!
//! Whoever can send us datagrams in the target's name must guess our port and the id. What does not fit decides nothing,
//! and waiting goes on; a timeout tells how much of it came.

mod judge;
mod message;

use std::fmt;
use std::io::{self, Read, Write};

use super::datagram::{self, Datagram};
use super::socket::Socket;
use super::{Fault, Run, Verdict, text};
use crate::config::{DnsProbe, DnsTransport, FailureKind};

use judge::hear;
use message::{Strange, query};

const DOING: &str = "waiting for the answer";

/// What came, but is no answer to our query.
#[derive(Debug, Default)]
struct Ignored {
    wrong_id: usize,
    wrong_question: usize,
    no_answer: usize,
}

impl Ignored {
    fn count(&mut self, strange: Strange) {
        let count = match strange {
            Strange::Id => &mut self.wrong_id,
            Strange::Question => &mut self.wrong_question,
            Strange::NoAnswer => &mut self.no_answer,
        };
        *count += 1;
    }
}

/// "; ignored 3 with a wrong id", or nothing.
impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.wrong_id, "with a wrong id"),
            (self.wrong_question, "with another question"),
            (self.no_answer, "that were no answers"),
        ];
        let words: Vec<String> =
            kinds.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if words.is_empty() { Ok(()) } else { write!(f, "; ignored {}", words.join(", ")) }
    }
}

pub(super) fn run(at: &Run<'_>, probe: &DnsProbe) -> Verdict {
    let id = match datagram::random().map(u16::from_be_bytes) {
        Ok(id) => id,
        Err(error) => return Err(text::failure(&error, at.limit, text::CONNECTING)),
    };
    let mut ignored = Ignored::default();
    let verdict = match probe.transport {
        DnsTransport::Udp => by_udp(at, probe, id, &mut ignored),
        DnsTransport::Tcp => by_tcp(at, probe, id, &mut ignored),
    };
    verdict.unwrap_or_else(|fault| match fault.kind {
        FailureKind::Internal => Err(fault),
        kind => Err(Fault::new(kind, format!("{}{ignored}", fault.words))),
    })
}

fn by_udp(at: &Run<'_>, probe: &DnsProbe, id: u16, ignored: &mut Ignored) -> Result<Verdict, Fault> {
    let fault = |error| datagram::failure(&error, at.limit, DOING);
    let socket = Datagram::connect(at).map_err(fault)?;
    socket.send(&query(probe, id)).map_err(fault)?;
    let mut buffer = datagram::buffer();
    loop {
        let message = socket.receive(&mut buffer).map_err(fault)?;
        match hear(probe, id, message) {
            Ok(verdict) => return Ok(verdict),
            Err(strange) => ignored.count(strange),
        }
    }
}

fn by_tcp(at: &Run<'_>, probe: &DnsProbe, id: u16, ignored: &mut Ignored) -> Result<Verdict, Fault> {
    let mut socket = Socket::connect(at).map_err(|error| text::failure(&error, at.limit, text::CONNECTING))?;
    let query = query(probe, id);
    // In one segment with its length (RFC 7766 §8); it is a few hundred octets at most.
    let length = u16::try_from(query.len()).unwrap_or(u16::MAX);
    let framed = [&length.to_be_bytes()[..], &query].concat();
    socket.write_all(&framed).map_err(|error| text::failure(&error, at.limit, "sending the query"))?;
    loop {
        let message = next(&mut socket).map_err(|error| text::failure(&error, at.limit, DOING))?;
        match hear(probe, id, &message) {
            Ok(verdict) => return Ok(verdict),
            Err(strange) => ignored.count(strange),
        }
    }
}

/// A message after its length, which takes memory as it comes.
fn next(socket: &mut Socket) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    socket.read_exact(&mut length)?;
    let length = u16::from_be_bytes(length);
    let mut message = Vec::new();
    socket.take(length.into()).read_to_end(&mut message)?;
    if message.len() < length.into() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(message) }
}

/// Reads a message as if it were what came after our query with this id, for those who test that nothing upsets that: what
/// would be said if it decides, and whether the check would pass.
pub fn try_message(probe: &DnsProbe, id: u16, message: &[u8]) -> Option<(String, bool)> {
    match hear(probe, id, message).ok()? {
        Ok(pass) => Some((pass.words.into_owned(), true)),
        Err(fault) => Some((fault.words.into_owned(), false)),
    }
}
