//! `grpc`, against servers that speak HTTP/2 octet by octet.

use std::io::Read;

use herald::config::{GrpcProbe, ProbeKind};
use herald::health::ProbeOutcome;

use crate::support::{PLENTY, SHORT, Server, Talk, fails, nobody, passes, run};

fn check(server: &Server, service: &str) -> ProbeOutcome {
    let probe = GrpcProbe { tls: None, host: Some("health.example.net".into()), service: service.into() };
    run(server.address, ProbeKind::Grpc(probe), PLENTY)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field without compression, by its own name (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

const SETTINGS: u8 = 4;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

/// Settings, and an acknowledgement of ours; done when the whole request is there.
fn greet(talk: &mut Talk) {
    talk.say(frame(SETTINGS, 0, 0, &[]));
    talk.say(frame(SETTINGS, 1, 0, &[]));
    // The preface comes first (RFC 9113 §3.4).
    talk.stream.read_exact(&mut [0; 24]).unwrap();
    loop {
        let mut header = [0; 9];
        talk.stream.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        talk.stream.read_exact(&mut vec![0; length]).unwrap();
        if (header[3], header[4] & END_STREAM) == (DATA, END_STREAM) {
            return;
        }
    }
}

fn answers(message: &'static [u8], status: &'static str, text: &'static str) -> Server {
    Server::v4(move |talk| {
        greet(talk);
        let head = [field(":status", "200"), field("content-type", "application/grpc")].concat();
        talk.say(frame(HEADERS, END_HEADERS, 1, &head));
        if !message.is_empty() {
            talk.say(frame(0, 0, 1, &[&[0, 0, 0, 0, message.len() as u8], message].concat()));
        }
        let trailers = [field("grpc-status", status), field("grpc-message", text)].concat();
        talk.say(frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
        talk.linger();
    })
}

#[test]
fn a_server_says_how_it_is() {
    passes(&check(&answers(&[8, 1], "0", ""), ""), "SERVING");
    fails(&check(&answers(&[8, 2], "0", ""), ""), "NOT_SERVING");
    fails(&check(&answers(&[8, 3], "0", ""), ""), "SERVICE_UNKNOWN");
    fails(&check(&answers(&[8, 0], "0", ""), ""), "UNKNOWN");
    fails(&check(&answers(&[8, 9], "0", ""), ""), "status 9, expected SERVING");
    fails(&check(&answers(&[], "5", "no such service"), "x"), "the server does not know the service");
    fails(&check(&answers(&[], "12", ""), ""), "the server has no health service");
    fails(&check(&answers(&[], "14", "not%20now%0A"), ""), "not now\\n (gRPC status 14)");
    fails(&check(&answers(&[], "0", ""), ""), "the answer is not one of the health service");
    fails(&check(&answers(&[0xff, 0xff], "0", ""), ""), "the answer is not one of the health service");
}

#[test]
fn what_is_not_grpc_is_told() {
    let web = Server::v4(|talk| {
        talk.say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        talk.linger();
    });
    fails(&check(&web, ""), "the server does not speak HTTP/2");
    let html = Server::v4(|talk| {
        greet(talk);
        let head = [field(":status", "404"), field("content-type", "text/html")].concat();
        talk.say(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
        talk.linger();
    });
    fails(&check(&html, ""), "the server does not speak gRPC: HTTP status 404");
    let away = Server::v4(|talk| {
        greet(talk);
        talk.say(frame(7, 0, 0, &[&[0, 0, 0, 0, 0, 0, 0, 11], &b"calm down"[..]].concat()));
        talk.linger();
    });
    let outcome = check(&away, "");
    assert!(outcome.detail.starts_with("the server ended the connection: EnhanceYourCalm"), "{outcome:?}");
    let reset = Server::v4(|talk| {
        greet(talk);
        talk.say(frame(3, 0, 1, &[0, 0, 0, 7]));
        talk.linger();
    });
    let outcome = check(&reset, "");
    assert!(outcome.detail.contains("stream reset: RefusedStream"), "{outcome:?}");
    let closed = Server::v4(|talk| drop(talk.stream.shutdown(std::net::Shutdown::Both)));
    assert!(check(&closed, "").detail.starts_with("connection "));
    let huge = Server::v4(|talk| {
        greet(talk);
        talk.say(frame(0, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff]));
        talk.linger();
    });
    let outcome = check(&huge, "");
    assert!(!outcome.passed, "{outcome:?}");
}

#[test]
fn silence_ends_with_the_time() {
    let probe = || ProbeKind::Grpc(GrpcProbe { tls: None, host: None, service: String::new() });
    let silent = Server::v4(Talk::linger);
    fails(&run(silent.address, probe(), SHORT), "timed out after 200 ms while waiting for the answer");
    let pings = Server::v4(|talk| {
        greet(talk);
        while talk.say(frame(6, 0, 0, &[0; 8])) && talk.pause(crate::support::millis(5)) {}
    });
    fails(&run(pings.address, probe(), SHORT), "timed out after 200 ms while waiting for the answer");
    let (_held, address) = nobody();
    fails(&run(address, probe(), PLENTY), "connection refused");
}
