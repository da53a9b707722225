//! `grpc`: `grpc.health.v1.Health/Check`, the gRPC health protocol, over HTTP/2.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use prost::Message;

use super::socket::Socket;
use super::stream::{Stream, Tls};
use super::text::printable;
use super::{Fault, Pass, Run, Verdict, text, tls};
use crate::config::{FailureKind, GrpcProbe};
use crate::driver::clock;
use crate::gobgp::grpc::{Call, Client, Event, Failure, Limits, Status};

/// The longest answer: it is a number.
const MOST: usize = 1024;

/// Where the type of a frame is, and that of one of settings (RFC 9113 §4.1, §6.5).
const TYPE_AT: usize = 3;
const SETTINGS: u8 = 4;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// One call, on a connection of its own.
pub(super) fn run(at: &Run<'_>, probe: &GrpcProbe, tls: Option<&tls::Client>) -> Verdict {
    let tls = tls.map(|client| with_http2(client, probe.host.as_deref(), at.target)).transpose()?;
    let is_tls = tls.is_some();
    let socket = Socket::connect(at).map_err(|error| text::failure(&error, at.limit, text::CONNECTING))?;
    let stream = Stream::new(socket, tls);
    let mut stream = stream.map_err(|error| text::failure(&error, at.limit, "negotiating TLS"))?;
    if stream.session().is_some_and(|session| session.alpn_protocol() != Some(b"h2")) {
        return Err("the server does not offer HTTP/2 over TLS (ALPN)".into());
    }
    let authority = probe.host.clone().unwrap_or_else(|| at.target.to_string());
    let mut client = Client::to(clock(), &authority, is_tls);
    let request = Request { service: probe.service.clone() }.encode_to_vec();
    let left = at.limit.remaining().unwrap_or_default();
    let limits = Limits { silence: left, total: left, message: MOST };
    client.call(clock(), &Call { service: "grpc.health.v1.Health", method: "Check", limits, request });
    let pass = judge(converse(at, &mut client, &mut stream)?)?;
    Ok(Pass { warning: tls::warning(&stream, probe.tls.as_ref()), ..pass })
}

/// The profile's client, which asks for HTTP/2 besides.
fn with_http2(client: &tls::Client, host: Option<&str>, target: SocketAddr) -> Result<Tls, Fault> {
    let mut config = (*client.config).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((Arc::new(config), client.name(host, target)?))
}

/// Sends and receives until the call has ended: its message, if there was one, and how it ended.
fn converse(at: &Run<'_>, client: &mut Client, stream: &mut Stream) -> Result<(Option<Vec<u8>>, Status), Fault> {
    let mut message = None;
    let mut begin: Vec<u8> = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let octets = client.take_octets();
        let sent = stream.write_all(&octets).and_then(|()| stream.flush());
        sent.map_err(|error| text::failure(&error, at.limit, "sending the request"))?;
        let count = match stream.read(&mut piece) {
            Ok(0) if !begin.is_empty() => {
                return Err(Fault::new(FailureKind::Closed, "connection closed before the answer"));
            }
            Ok(0) => return Err(Fault::new(FailureKind::Closed, "connection closed: the server speaks no HTTP/2?")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(text::failure(&error, at.limit, "waiting for the answer")),
        };
        let octets = piece.get(..count).unwrap_or_default();
        begin.extend(octets.iter().take(TYPE_AT + 1 - begin.len().min(TYPE_AT + 1)));
        // The first frame of a server is one of settings (RFC 9113 §3.4). Anything else might look like one without end.
        if begin.get(TYPE_AT).is_some_and(|kind| *kind != SETTINGS) {
            return Err("the server does not speak HTTP/2".into());
        }
        client.receive(clock(), octets).map_err(|failure| broken(&failure))?;
        while let Some(event) = client.poll_event() {
            match event {
                Event::Message(_, octets) => message = Some(octets),
                Event::Ended(_, status) => return Ok((message, status)),
            }
        }
    }
}

fn broken(failure: &Failure) -> Fault {
    match failure {
        Failure::Http2(error) => format!("the server does not speak HTTP/2: {error}"),
        Failure::NotGrpc(error) => format!("the server does not speak gRPC: {error}"),
        Failure::GoAway(said) => format!("the server ended the connection: {said}"),
        Failure::TooLong(length) => format!("an answer of {length} octets"),
        Failure::Flood | Failure::NotReading => "the server sends without end what is no answer".to_owned(),
        // The run's own limit goes before.
        Failure::Timeout(what, _) => format!("no answer to {what}"),
    }
    .into()
}

fn judge((message, status): (Option<Vec<u8>>, Status)) -> Verdict {
    match status.code {
        Status::OK => {}
        Status::NOT_FOUND => return Err("the server does not know the service".into()),
        Status::UNIMPLEMENTED => return Err("the server has no health service".into()),
        _ => return Err(printable(status.to_string().as_bytes()).into()),
    }
    let answer = message.and_then(|octets| Answer::decode(octets.as_slice()).ok());
    let Some(answer) = answer else { return Err("the answer is not one of the health service".into()) };
    match answer.status {
        1 => Ok("SERVING".into()),
        0 => Err("UNKNOWN".into()),
        2 => Err("NOT_SERVING".into()),
        3 => Err("SERVICE_UNKNOWN".into()),
        other => Err(format!("status {other}, expected SERVING").into()),
    }
}
