//! The announcer: the octets are a script of what gobgpd, the connection and the clock do. Half of what gobgpd sends is
//! frames that fit what has been called, the other half whatever the script says.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald::bgp::drain::Telling;
use herald::config::{ApiAddress, Attributes, Gobgp};
use herald::driver::clock;
use herald::gobgp::errand::{Errand, Task};
use herald::gobgp::{Announcer, Conn, Event, Output};
use herald::prefix::Prefix;

/// More octets than this never wait to be sent: what we say, and what we answer to what we are told.
const MAX_UNSENT: usize = 2 * 1024 * 1024;

struct Scene<'a> {
    tape: &'a [u8],
    now: Instant,
    announcer: Announcer,
    conn: Option<(Conn, bool)>,
    unsent: usize,
    stopped: bool,
}

/// No script makes it panic, forget a timer, spin, or keep more than its measure.
pub(crate) fn run(data: &[u8]) {
    errand(data);
    let Some((seed, tape)) = data.split_first() else { return };
    let announcer = Announcer::new((*seed).into());
    let mut scene = Scene { tape, now: clock(), announcer, conn: None, unsent: 0, stopped: false };
    scene.announcer.configure(scene.now, Some(configuration(*seed)));
    for number in 0..*seed {
        scene.announcer.set(prefix(number), Some(Arc::default()));
    }
    if *seed % 2 == 0 {
        scene.announcer.release(scene.now);
    }
    scene.drain();
    while let Some(kind) = scene.octet() {
        scene.happen(kind);
        scene.drain();
    }
    scene.announcer.stop(scene.now);
    scene.drain();
    scene.wait(Duration::from_secs(3));
    scene.drain();
    assert!(scene.announcer.is_vacant() && scene.announcer.poll_timeout().is_none());
}

/// The same octets, all at once, for what an operator does by hand.
fn errand(data: &[u8]) {
    let now = clock();
    let mut errand = Errand::new(now, Task::Flush, &configuration(0));
    errand.handle(now, Event::Connected);
    errand.handle(now, Event::Bytes(&greeting()));
    errand.handle(now, Event::Bytes(data));
    while errand.poll_output().is_some() {}
    if let Some(at) = errand.poll_timeout() {
        errand.handle_timeout(at);
        assert!(errand.poll_timeout().is_none_or(|next| next > at));
    }
}

impl Scene<'_> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.tape.split_first()?;
        self.tape = rest;
        Some(*first)
    }

    fn number(&mut self) -> u8 {
        self.octet().unwrap_or(0)
    }

    fn octets(&mut self) -> Vec<u8> {
        let length = usize::from(self.number()).min(self.tape.len());
        let (taken, rest) = self.tape.split_at(length);
        self.tape = rest;
        taken.to_vec()
    }

    fn happen(&mut self, kind: u8) {
        let choice = kind / 16;
        match kind % 16 {
            0 => self.event(Event::Bytes(&greeting())),
            1..=3 => {
                let octets = self.frame();
                let repeated = octets.repeat(if choice == 15 { 500 } else { 1 });
                self.event(Event::Bytes(&repeated));
            }
            4 => {
                let octets = self.octets();
                self.event(Event::Bytes(&octets));
            }
            5 => {
                let octets = self.answer();
                self.event(Event::Bytes(&octets));
            }
            6 => {
                let time = Duration::from_millis(40 * u64::from(self.number()));
                self.wait(time);
            }
            7 => self.take_sent(usize::MAX),
            8 => {
                let octets = 16 * usize::from(self.number());
                self.take_sent(octets);
            }
            9 => self.connect(!choice.is_multiple_of(4)),
            10 if self.conn.is_some_and(|(_, is_up)| is_up) => {
                self.event(Event::Closed(None));
                self.conn = None;
            }
            11 => {
                let attributes =
                    (choice != 0).then(|| Attributes { med: Some(choice.into()), ..Attributes::default() });
                let number = self.number();
                self.announcer.set(prefix(number), attributes.map(Arc::new));
                self.announcer.flush(self.now);
            }
            12 => self.announcer.release(self.now),
            13 => {
                let telling = [Telling::Everything, Telling::Graceful, Telling::Nothing];
                self.announcer.tell(self.now, telling[usize::from(choice % 3)]);
            }
            14 => self.announcer.configure(self.now, (choice != 0).then(|| configuration(choice))),
            _ if choice == 0 => {
                self.stopped = true;
                self.announcer.stop(self.now);
            }
            _ => self.announcer.handle(self.now, Conn(u64::MAX), Event::Closed(None)),
        }
    }

    fn event(&mut self, event: Event<'_>) {
        if let Some((conn, true)) = self.conn {
            self.announcer.handle(self.now, conn, event);
        }
    }

    fn connect(&mut self, succeeds: bool) {
        let Some((conn, false)) = self.conn else { return };
        if succeeds {
            self.conn = Some((conn, true));
            self.announcer.handle(self.now, conn, Event::Connected);
        } else {
            self.conn = None;
            self.announcer.handle(self.now, conn, Event::ConnectFailed("refused".to_owned()));
        }
    }

    fn take_sent(&mut self, octets: usize) {
        let octets = octets.min(self.unsent);
        self.unsent -= octets;
        self.event(Event::Sent(octets));
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.announcer.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.announcer.handle_timeout(self.now);
            assert!(self.announcer.poll_timeout().is_none_or(|next| next > self.now), "a timer that spins");
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.announcer.poll_output() {
            match output {
                Output::Connect(conn, _) => {
                    assert!(self.conn.is_none() && !self.stopped);
                    (self.conn, self.unsent) = (Some((conn, false)), 0);
                }
                Output::Send(conn, octets) => {
                    assert_eq!(self.conn, Some((conn, true)));
                    self.unsent += octets.len();
                    assert!(self.unsent < MAX_UNSENT);
                }
                Output::Close(conn) => {
                    assert_eq!(self.conn.map(|(conn, _)| conn), Some(conn));
                    self.conn = None;
                }
                Output::Notice(notice) => assert!(!format!("{notice:?}").is_empty()),
            }
        }
        let status = self.announcer.status();
        assert_eq!(status.advertised.iter().sum::<usize>(), self.announcer.advertised().count());
        if let Some(cause) = status.last_error {
            let text = cause.to_string();
            assert!(!text.contains(char::is_control) && text.len() < 4000, "{text:?}");
        }
    }

    /// A frame of any type on any of the first streams.
    fn frame(&mut self) -> Vec<u8> {
        let (kind, flags, stream) = (self.number() % 12, self.number(), self.number());
        let payload = self.octets();
        frame(kind, flags, u32::from(stream), &payload)
    }

    /// What a gobgpd would answer on a stream: headers, a message, trailers.
    fn answer(&mut self) -> Vec<u8> {
        let stream = u32::from(self.number());
        let message = self.octets();
        let status = (self.number() % 17).to_string();
        let mut body = vec![0];
        body.extend((message.len() as u32).to_be_bytes());
        body.extend(&message);
        let head = fields(&[(b":status", b"200"), (b"content-type", b"application/grpc")]);
        let end = fields(&[(b"grpc-status", status.as_bytes()), (b"grpc-message", b"bgp server hasn%27t started yet")]);
        [frame(1, 4, stream, &head), frame(0, 0, stream, &body), frame(1, 5, stream, &end)].concat()
    }
}

/// Literal fields that are not indexed (RFC 7541 §6.2.2).
fn fields(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(*text);
        }
    }
    block
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags]);
    octets.extend(stream.to_be_bytes());
    octets.extend(payload);
    octets
}

/// SETTINGS, and the acknowledgement of ours.
fn greeting() -> Vec<u8> {
    [frame(4, 0, 0, &[]), frame(4, 1, 0, &[])].concat()
}

fn prefix(number: u8) -> Prefix {
    let octets = [192, 0, 2, number];
    if number.is_multiple_of(2) {
        Prefix::host(octets.into())
    } else {
        Prefix::host(std::net::Ipv4Addr::from(octets).to_ipv6_mapped().into())
    }
}

fn configuration(choice: u8) -> Arc<Gobgp> {
    let mut config = Gobgp::new(ApiAddress::Tcp(([127, 0, 0, 1], 50051).into()));
    config.graceful_restart = choice & 1 != 0;
    config.live.attributes.med = (choice & 2 != 0).then_some(1);
    if choice & 4 != 0 {
        config.identifier = NonZeroU32::MIN;
    }
    Arc::new(config)
}
