//! A server that lies, floods, or speaks another language.

use ringline_h2::frame::Frame;
use ringline_h2::hpack::Encoder;
use ringline_h2::{ErrorCode, HeaderField, Settings};

use super::*;

/// Connected; the server's octets are the test's.
fn connected() -> (Lab, Conn) {
    let mut lab = Lab::idle(true);
    lab.announcer.configure(lab.now, Some(Arc::new(config())));
    lab.outputs();
    let conn = lab.dial.take().unwrap();
    lab.conn = Some(conn);
    lab.announcer.handle(lab.now, conn, Event::Connected);
    lab.outputs();
    (lab, conn)
}

fn frames(frames: &[Frame]) -> Vec<u8> {
    let mut octets = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut octets));
    octets
}

fn greeting() -> Vec<Frame> {
    let settings = |ack| Frame::Settings { ack, settings: Settings::default() };
    vec![settings(false), settings(true)]
}

/// Feeds it until the connection ends, and says why it did.
fn end(octets: &[u8]) -> String {
    let (mut lab, conn) = connected();
    lab.takes = false;
    lab.announcer.handle(lab.now, conn, Event::Bytes(&frames(&greeting())));
    lab.outputs();
    for _ in 0..10_000 {
        if lab.announcer.state() == State::Idle {
            return lab.last_cause();
        }
        lab.announcer.handle(lab.now, conn, Event::Bytes(octets));
        lab.outputs();
        assert!(lab.unsent_max < 3 * 1024 * 1024);
    }
    panic!("it takes everything");
}

fn headers(fields: &[(&str, &str)], end_stream: bool) -> Frame {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| HeaderField::new(name.as_bytes(), value.as_bytes())).collect();
    let mut encoded = Vec::new();
    Encoder::new(0).encode(&fields, &mut encoded);
    Frame::Headers { stream_id: 1, encoded, end_stream, end_headers: true, priority: None }
}

fn answer(payload: &[u8]) -> Vec<u8> {
    let ok = headers(&[(":status", "200"), ("content-type", "application/grpc")], false);
    frames(&[ok, Frame::Data { stream_id: 1, payload: payload.to_vec(), end_stream: false }])
}

#[test]
fn floods_end_the_connection() {
    let ping = Frame::Ping { ack: false, opaque_data: [0; 8] };
    let settings = Frame::Settings { ack: false, settings: Settings::default() };
    let update = Frame::WindowUpdate { stream_id: 99, increment: 1 };
    let unknown = Frame::Unknown { frame_type: 0xee, flags: 0, stream_id: 0, payload: vec![0; 16000] };
    let data = Frame::Data { stream_id: 77, payload: vec![0; 16000], end_stream: false };
    for frame in [ping, settings, update, unknown, data] {
        let cause = end(&frames(&[frame]).repeat(50));
        assert!(cause.starts_with("gobgpd "), "{cause}");
    }
}

#[test]
fn a_ping_now_and_then_is_no_flood() {
    let mut lab = Lab::up(true, &[(prefix("192.0.2.1"), 1)]);
    let ping = frames(&[Frame::Ping { ack: false, opaque_data: [7; 8] }]);
    for _ in 0..100_000 {
        lab.now += 10 * SECOND;
        lab.announcer.handle(lab.now, lab.conn.unwrap(), Event::Bytes(&ping));
        lab.run();
    }
    lab.check();
    assert_eq!(lab.connects.len(), 1);
}

/// `ringline_h2` keeps all of a block of headers, however long it gets.
#[test]
fn a_block_of_headers_without_end_ends_the_connection() {
    let (mut lab, conn) = connected();
    lab.announcer.handle(lab.now, conn, Event::Bytes(&frames(&greeting())));
    let first =
        Frame::Headers { stream_id: 1, encoded: vec![0; 16], end_stream: false, end_headers: false, priority: None };
    lab.announcer.handle(lab.now, conn, Event::Bytes(&frames(&[first])));
    let more = frames(&[Frame::Continuation { stream_id: 1, encoded: vec![0; 16000], end_headers: false }]);
    let mut count = 0;
    while lab.announcer.state() != State::Idle {
        lab.announcer.handle(lab.now, conn, Event::Bytes(&more));
        count += 1;
        assert!(count < 100);
    }
    assert_eq!(lab.last_cause(), "gobgpd floods us with what is no answer");
}

#[test]
fn lies_about_lengths_end_the_connection() {
    for (payload, cause) in [
        (&[0, 0xff, 0xff, 0xff, 0xff][..], "gobgpd sends a message of 4294967295 octets"),
        (&[0, 0, 1, 0, 1], "gobgpd sends a message of 65537 octets"),
        (&[1, 0, 0, 0, 0], "not gRPC as it should be: a compressed message, which we did not ask for"),
        (&[0, 0, 0, 0, 3, 0x0a, 0x7f, 0], "not gRPC as it should be: an answer that cannot be read"),
    ] {
        assert_eq!(end(&answer(payload)), cause);
    }
    // A frame longer than it may be, of which the beginning is all that comes.
    let cause = end(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1].repeat(1000));
    assert!(cause.starts_with("not HTTP/2 as it should be"), "{cause}");
}

#[test]
fn other_languages_are_named() {
    for (frame, cause) in [
        (headers(&[(":status", "404")], true), "not gRPC as it should be: HTTP status 404"),
        (headers(&[(":status", "200")], true), "not gRPC as it should be: content of type \"\""),
        (
            headers(&[(":status", "200"), ("content-type", "text/html\u{1b}[2J")], true),
            "not gRPC as it should be: content of type \"text/html\\u{1b}[2J\"",
        ),
        (
            headers(&[(":status", "200"), ("content-type", "application/grpc")], true),
            "not gRPC as it should be: an answer without a status",
        ),
        (
            Frame::GoAway {
                last_stream_id: 0,
                error_code: ErrorCode::EnhanceYourCalm,
                debug_data: b"too\nmuch".to_vec(),
            },
            "gobgpd ended the connection: EnhanceYourCalm too\\nmuch",
        ),
    ] {
        assert_eq!(end(&frames(&[frame])), cause);
    }
    let (mut lab, conn) = connected();
    lab.announcer.handle(lab.now, conn, Event::Bytes(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
    assert!(lab.last_cause().is_empty(), "the frame that it could be is not complete");
    lab.wait(2 * SECOND);
    assert_eq!(lab.last_cause(), "no answer to HTTP/2 within 2 s");
    let (mut lab, conn) = connected();
    lab.announcer.handle(lab.now, conn, Event::Bytes(&[b'x'; 4 << 20]));
    assert!(lab.last_cause().starts_with("not HTTP/2"), "{}", lab.last_cause());
}

#[test]
fn a_server_that_knows_neither_service_is_no_gobgpd() {
    let (mut lab, conn) = connected();
    lab.announcer.handle(lab.now, conn, Event::Bytes(&frames(&greeting())));
    let unknown = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")];
    for stream in [1, 3] {
        let Frame::Headers { encoded, .. } = headers(&unknown, true) else { panic!() };
        let frame = Frame::Headers { stream_id: stream, encoded, end_stream: true, end_headers: true, priority: None };
        lab.announcer.handle(lab.now, conn, Event::Bytes(&frames(&[frame])));
    }
    assert_eq!(lab.last_cause(), Cause::NotGobgp.to_string());
    let wait = lab.announcer.status().retry_at.unwrap() - lab.now;
    assert!(wait >= 750 * MILLISECOND, "it needs a person: {wait:?}");
}

/// What comes late, or of another connection, is nothing.
#[test]
fn late_events_are_ignored() {
    let mut lab = Lab::up(true, &[(prefix("192.0.2.1"), 1)]);
    for event in [Event::Closed(None), Event::Connected, Event::Bytes(b"x"), Event::Sent(9)] {
        lab.announcer.handle(lab.now, Conn(4711), event);
    }
    lab.check();
}
