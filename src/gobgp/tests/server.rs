//! A gobgpd as far as its API goes, of 3.10 or of 4.8. Its behaviour is written from notes of what those two were seen to do,
//! not recorded. HTTP/2 frames are `ringline_h2`'s; protobuf it reads and writes by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringline_h2::frame::{Frame, decode_frame};
use ringline_h2::hpack::{Decoder, Encoder};
use ringline_h2::{HeaderField, Settings};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A route's place in the table: AFI, NLRI, identifier, and the peer that it is from.
pub(super) type Key = (u64, Vec<u8>, u64, Option<String>);

/// The daemon, and its table, which a restart empties.
pub(super) struct Server {
    pub(super) is_v4: bool,
    /// 0: not configured.
    pub(super) asn: u64,
    pub(super) table: BTreeMap<Key, Vec<Vec<u8>>>,
    /// NLRI that it will not have.
    pub(super) refuses: BTreeSet<Vec<u8>>,
    /// AFI whose tables it does not have.
    pub(super) lacks: BTreeSet<u64>,
    /// It has no AddPathStream.
    pub(super) lacks_streams: bool,
    /// Methods that were called, in order.
    pub(super) calls: Vec<String>,
    /// How often somebody asked to withdraw everything.
    pub(super) deleted_all: usize,
    /// Lists are made at once and sent only when [`send_lists`](Self::send_lists) says so.
    pub(super) holds_lists: bool,
    held: Vec<(u32, Answer)>,
    /// Reads, and does nothing.
    pub(super) is_stopped: bool,
    pub(super) settings: Settings,
    pub(super) wire: Option<Wire>,
}

/// The server's side of a connection.
pub(super) struct Wire {
    input: Vec<u8>,
    greeted: bool,
    decoder: Decoder,
    encoder: Encoder,
    streams: BTreeMap<u32, Stream>,
    window: i64,
    initial_window: i64,
    /// Answers that wait for the client's windows: octets of a message, or the end.
    queue: VecDeque<Queued>,
    pub(super) out: Vec<u8>,
    pub(super) most_streams: usize,
}

/// Octets of a message, or the end.
struct Queued {
    stream_id: u32,
    data: Vec<u8>,
    status: Option<(u32, String)>,
}

#[derive(Default)]
struct Stream {
    method: String,
    body: Vec<u8>,
    window: i64,
    has_headers: bool,
}

/// Messages, and how it ended.
type Answer = (Vec<Vec<u8>>, (u32, String));

impl Server {
    pub(super) fn new(is_v4: bool) -> Server {
        Server {
            is_v4,
            asn: 65000,
            table: BTreeMap::new(),
            refuses: BTreeSet::new(),
            lacks: BTreeSet::new(),
            lacks_streams: false,
            calls: Vec::new(),
            deleted_all: 0,
            holds_lists: false,
            held: Vec::new(),
            is_stopped: false,
            settings: Settings::default(),
            wire: None,
        }
    }

    pub(super) fn accept(&mut self) {
        let mut out = Vec::new();
        Frame::Settings { ack: false, settings: self.settings.clone() }.encode(&mut out);
        // Windows grow on a fast connection; that of the whole needs a word of its own.
        let increment = self.settings.initial_window_size.saturating_sub(65535);
        if increment > 0 {
            Frame::WindowUpdate { stream_id: 0, increment }.encode(&mut out);
        }
        self.held.clear();
        self.wire = Some(Wire {
            input: Vec::new(),
            greeted: false,
            decoder: Decoder::new(4096),
            encoder: Encoder::new(4096),
            streams: BTreeMap::new(),
            window: 65535,
            initial_window: 65535,
            queue: VecDeque::new(),
            out,
            most_streams: 0,
        });
    }

    pub(super) fn receive(&mut self, octets: &[u8]) {
        if let Some(wire) = &mut self.wire {
            wire.input.extend_from_slice(octets);
        }
        self.run();
    }

    /// Works on what it has.
    pub(super) fn run(&mut self) {
        if self.is_stopped {
            return;
        }
        while let Some(frame) = self.wire.as_mut().and_then(Wire::next_frame) {
            let wire = self.wire.as_mut().unwrap();
            if let Some((stream, method, body)) = wire.take(frame) {
                self.calls.push(method.rsplit('/').next().unwrap().to_owned());
                let answer = self.answer(&method, &body);
                if self.holds_lists && method.ends_with("/ListPath") {
                    self.held.push((stream, answer));
                } else {
                    self.wire.as_mut().unwrap().send(stream, answer);
                }
            }
            self.wire.as_mut().unwrap().flush();
        }
    }

    /// Sends the lists that it has made.
    pub(super) fn send_lists(&mut self) {
        for (stream, answer) in std::mem::take(&mut self.held) {
            if let Some(wire) = &mut self.wire {
                wire.send(stream, answer);
                wire.flush();
            }
        }
    }

    fn answer(&mut self, path: &str, body: &[u8]) -> Answer {
        let service = if self.is_v4 { "api.GoBgpService" } else { "apipb.GobgpApi" };
        let Some(method) = path.strip_prefix(&format!("/{service}/")) else {
            let asked = path.trim_start_matches('/').split('/').next().unwrap();
            return (vec![], (12, format!("unknown service {asked}")));
        };
        let mut messages = Vec::new();
        let mut rest = body;
        while let Some((header, tail)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
            messages.push(fields(&tail[..length]));
            rest = &tail[length..];
        }
        assert_eq!(messages.len(), 1, "every call of ours has one message");
        let request = &messages[0];
        if method == "GetBgp" {
            let mut global = Vec::new();
            if self.asn != 0 {
                number(1, self.asn, &mut global);
                bytes(2, b"10.77.0.1", &mut global);
            }
            let mut message = Vec::new();
            bytes(1, &global, &mut message);
            return (vec![message], ok());
        }
        if self.asn == 0 {
            return (vec![], (2, "bgp server hasn't started yet".to_owned()));
        }
        let table = u64::from(self.is_v4);
        if one(request, 1).map_or(0, Field::number) != table {
            return (vec![], (2, "unsupported resource".to_owned()));
        }
        match method {
            "ListPath" => self.list(request),
            "AddPathStream" if self.lacks_streams => (vec![], (12, format!("unknown method {method}"))),
            "AddPathStream" | "AddPath" => self.add(request),
            "DeletePath" => self.delete(request),
            _ => (vec![], (12, format!("unknown method {method}"))),
        }
    }

    fn list(&self, request: &[(u64, Field)]) -> Answer {
        assert_eq!(one(request, 9).unwrap().number(), 1, "only the binary form");
        let afi = afi(one(request, 3).unwrap().bytes());
        if self.lacks.contains(&afi) {
            return (vec![], (2, "address family is not supported".to_owned()));
        }
        let mut destinations: BTreeMap<&[u8], Vec<Vec<u8>>> = BTreeMap::new();
        for ((_, nlri, identifier, peer), attributes) in self.table.iter().filter(|((of, ..), _)| *of == afi) {
            let mut path = Vec::new();
            let nobody = if self.is_v4 { "" } else { "<nil>" };
            bytes(15, peer.as_deref().unwrap_or(nobody).as_bytes(), &mut path);
            number(18, *identifier, &mut path);
            bytes(20, nlri, &mut path);
            attributes.iter().for_each(|attribute| bytes(21, attribute, &mut path));
            destinations.entry(nlri).or_default().push(path);
        }
        let message = |paths: Vec<Vec<u8>>| {
            let mut destination = Vec::new();
            bytes(1, b"a prefix", &mut destination);
            paths.iter().for_each(|path| bytes(2, path, &mut destination));
            let mut message = Vec::new();
            bytes(1, &destination, &mut message);
            message
        };
        (destinations.into_values().map(message).collect(), ok())
    }

    fn add(&mut self, request: &[(u64, Field)]) -> Answer {
        let mut routes = Vec::new();
        for (_, path) in request.iter().filter(|(number, _)| *number == 3) {
            let path = fields(path.bytes());
            assert!(one(&path, 5).is_none(), "an announcement is no withdrawal");
            let Some(family) = one(&path, 9) else { return (vec![], (2, "family is nil".to_owned())) };
            let nlri = one(&path, 20).unwrap().bytes().to_vec();
            let all = path.iter().filter(|(number, _)| *number == 21);
            let mut attributes: Vec<_> = all.map(|(_, attribute)| attribute.bytes().to_vec()).collect();
            let has = |kind| attributes.iter().any(|attribute| attribute[1] == kind);
            if self.refuses.contains(&nlri) || !has(1) {
                return (vec![], (2, "no origin path attr".to_owned()));
            }
            if !has(3) && !has(14) {
                return (vec![], (2, "nexthop not found".to_owned()));
            }
            attributes.sort_by_key(|attribute| attribute[1]);
            let key = (afi(family.bytes()), nlri, one(&path, 18).map_or(0, Field::number), None);
            routes.push((key, attributes));
        }
        self.table.extend(routes);
        (vec![vec![]], ok())
    }

    fn delete(&mut self, request: &[(u64, Field)]) -> Answer {
        let path = one(request, 4).map(|path| fields(path.bytes())).unwrap_or_default();
        let Some(nlri) = one(&path, 20).map(|nlri| nlri.bytes().to_vec()) else {
            self.deleted_all += 1;
            self.table.clear();
            return (vec![vec![]], ok());
        };
        if one(&path, 5).map_or(0, Field::number) != 1 {
            return (vec![], (2, "nexthop not found".to_owned()));
        }
        let afi = afi(one(&path, 9).unwrap().bytes());
        self.table.remove(&(afi, nlri, one(&path, 18).map_or(0, Field::number), None));
        (vec![vec![]], ok())
    }
}

impl Wire {
    fn next_frame(&mut self) -> Option<Frame> {
        if !self.greeted {
            if self.input.len() < PREFACE.len() {
                return None;
            }
            assert!(self.input.starts_with(PREFACE));
            self.input.drain(..PREFACE.len());
            self.greeted = true;
        }
        let (frame, length) = decode_frame(&self.input, 16384).unwrap()?;
        self.input.drain(..length);
        Some(frame)
    }

    /// A call that is complete.
    fn take(&mut self, frame: Frame) -> Option<(u32, String, Vec<u8>)> {
        match frame {
            Frame::Settings { ack: false, settings } => {
                self.initial_window = settings.initial_window_size.into();
                Frame::Settings { ack: true, settings: Settings::default() }.encode(&mut self.out);
            }
            Frame::Headers { stream_id, encoded, end_headers, end_stream, .. } => {
                assert!(end_headers && !end_stream);
                let headers = self.decoder.decode(&encoded).unwrap();
                let value = |name: &[u8]| {
                    let field = headers.iter().find(|field| field.name == name);
                    String::from_utf8(field.unwrap().value.clone()).unwrap()
                };
                assert_eq!((value(b":method"), value(b"te")), ("POST".into(), "trailers".into()));
                assert_eq!(
                    (value(b"content-type"), value(b":authority")),
                    ("application/grpc".into(), "localhost".into())
                );
                assert!(value(b"grpc-timeout").ends_with('m'));
                let stream = Stream { method: value(b":path"), window: self.initial_window, ..Stream::default() };
                self.streams.insert(stream_id, stream);
                self.most_streams = self.most_streams.max(self.streams.len());
            }
            Frame::Data { stream_id, payload, end_stream } => {
                let increment = payload.len() as u32;
                Frame::WindowUpdate { stream_id: 0, increment }.encode(&mut self.out);
                let stream = self.streams.get_mut(&stream_id)?;
                stream.body.extend(&payload);
                if end_stream {
                    return Some((stream_id, stream.method.clone(), std::mem::take(&mut stream.body)));
                }
                Frame::WindowUpdate { stream_id, increment }.encode(&mut self.out);
            }
            Frame::WindowUpdate { stream_id: 0, increment } => self.window += i64::from(increment),
            Frame::WindowUpdate { stream_id, increment } => {
                self.streams.entry(stream_id).and_modify(|stream| stream.window += i64::from(increment));
            }
            Frame::GoAway { .. } => {}
            Frame::Settings { .. } | Frame::Ping { .. } | Frame::RstStream { .. } => {}
            other => panic!("{other:?}"),
        }
        None
    }

    fn send(&mut self, stream_id: u32, (messages, status): Answer) {
        for message in messages {
            let mut framed = vec![0];
            framed.extend((message.len() as u32).to_be_bytes());
            framed.extend(message);
            self.queue.push_back(Queued { stream_id, data: framed, status: None });
        }
        self.queue.push_back(Queued { stream_id, data: Vec::new(), status: Some(status) });
    }

    /// Sends what the client's windows take.
    fn flush(&mut self) {
        while let Some(Queued { stream_id, data, status }) = self.queue.pop_front() {
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            let is_first = !std::mem::replace(&mut stream.has_headers, true);
            if is_first {
                let kind = HeaderField::new(b"content-type", b"application/grpc");
                let mut headers = vec![HeaderField::new(b":status", b"200"), kind];
                // What fails before it has begun is answered all at once.
                if let Some((code, text)) = status.as_ref().filter(|(code, _)| *code != 0) {
                    headers.extend(trailers(*code, text));
                    self.headers(stream_id, &headers, true);
                    self.streams.remove(&stream_id);
                    continue;
                }
                self.headers(stream_id, &headers, false);
            }
            if let Some((code, text)) = status {
                self.headers(stream_id, &trailers(code, &text), true);
                self.streams.remove(&stream_id);
                continue;
            }
            let stream = self.streams.get_mut(&stream_id).unwrap();
            let room = usize::try_from(self.window.min(stream.window)).unwrap_or(0).min(16384);
            let (now, later) = data.split_at(room.min(data.len()));
            self.window -= now.len() as i64;
            stream.window -= now.len() as i64;
            Frame::Data { stream_id, payload: now.to_vec(), end_stream: false }.encode(&mut self.out);
            if !later.is_empty() {
                self.queue.push_front(Queued { stream_id, data: later.to_vec(), status: None });
                if room == 0 {
                    return;
                }
            }
        }
    }

    fn headers(&mut self, stream_id: u32, headers: &[HeaderField], end_stream: bool) {
        let mut encoded = Vec::new();
        self.encoder.encode(headers, &mut encoded);
        Frame::Headers { stream_id, encoded, end_stream, end_headers: true, priority: None }.encode(&mut self.out);
    }
}

fn ok() -> (u32, String) {
    (0, String::new())
}

fn trailers(code: u32, text: &str) -> Vec<HeaderField> {
    let message = text.replace('%', "%25").replace('\'', "%27");
    vec![
        HeaderField::new(b"grpc-status", code.to_string().into_bytes()),
        HeaderField::new(b"grpc-message", message.into_bytes()),
    ]
}

fn afi(family: &[u8]) -> u64 {
    let family = fields(family);
    assert_eq!(one(&family, 2).unwrap().number(), 1, "unicast");
    one(&family, 1).unwrap().number()
}

/// A protobuf field.
#[derive(Debug)]
pub(super) enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    fn number(&self) -> u64 {
        match self {
            Field::Number(number) => *number,
            Field::Bytes(_) => panic!("a number was expected"),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(_) => panic!("octets were expected"),
        }
    }
}

fn one(fields: &[(u64, Field)], number: u64) -> Option<&Field> {
    fields.iter().find(|(of, _)| *of == number).map(|(_, field)| field)
}

fn fields(mut message: &[u8]) -> Vec<(u64, Field)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)),
            2 => {
                let length = varint(&mut message) as usize;
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(bytes.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let octet = message[0];
        *message = &message[1..];
        value |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            break;
        }
    }
    value
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn number(tag: u64, value: u64, out: &mut Vec<u8>) {
    put_varint(tag << 3, out);
    put_varint(value, out);
}

pub(super) fn bytes(tag: u64, value: &[u8], out: &mut Vec<u8>) {
    put_varint(tag << 3 | 2, out);
    put_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}
