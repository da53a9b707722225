//! One client of the control socket.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UnixStream;

use super::access::Caller;

/// What every request may have; for a longer one there is room for few.
pub(super) const REQUEST: usize = 64 * 1024;
/// What is read in one turn, so that all get theirs.
const TURN: usize = 1 << 20;
/// Octets of events that may wait for a client that watches and does not read; what comes then, it misses.
const UNREAD: usize = 4 << 20;

/// So many times the patience with one that makes no progress is that with one that takes a whole reply.
const SLOWEST: u32 = 6;

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

/// What a client that watches is still to be told.
#[derive(Default)]
struct Watch {
    lines: VecDeque<Arc<[u8]>>,
    octets: usize,
    /// Lines that found no room, of which it has not been told yet.
    missed: u64,
}

/// A connection that asks one thing at a time, or watches.
pub(super) struct Client {
    stream: UnixStream,
    caller: Caller,
    inbox: Vec<u8>,
    /// So much of it has no line feed.
    looked_at: usize,
    reply: Option<(Arc<[u8]>, usize)>,
    /// A request is being carried out; until it is answered, time is not the client's.
    waiting: bool,
    readable: bool,
    writable: bool,
    /// It will not ask any more.
    ended: bool,
    /// It is told events, these next.
    watch: Option<Watch>,
    progress: Instant,
    /// When the reply was there to be taken.
    replied: Instant,
}

impl Client {
    pub(super) fn new(stream: UnixStream, caller: Caller, now: Instant) -> Client {
        Client {
            stream,
            caller,
            inbox: Vec::new(),
            looked_at: 0,
            reply: None,
            waiting: false,
            readable: false,
            writable: false,
            ended: false,
            watch: None,
            progress: now,
            replied: now,
        }
    }

    pub(super) fn notify(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// What it may do.
    pub(super) fn caller(&self) -> Caller {
        self.caller
    }

    /// Octets of requests that have come and are not taken.
    pub(super) fn pending(&self) -> usize {
        self.inbox.len()
    }

    /// What it has been replied and has not taken, and since when.
    pub(super) fn held(&self) -> Option<(Instant, &Arc<[u8]>)> {
        self.reply.as_ref().map(|(reply, _)| (self.replied, reply))
    }

    /// A large request of it is on its way, or what came of one.
    pub(super) fn is_occupied(&self) -> bool {
        self.waiting || self.reply.is_some() || self.inbox.len() > REQUEST
    }

    /// The request that was taken will be answered by [`reply`](Self::reply).
    pub(super) fn wait_for_answer(&mut self) {
        self.waiting = true;
    }

    /// Queues the answer; `last` hangs up after it.
    pub(super) fn reply(&mut self, now: Instant, line: Arc<[u8]>, last: bool) {
        self.waiting = false;
        self.ended |= last;
        (self.progress, self.replied) = (now, now);
        self.reply = Some((line, 0));
        if last {
            self.inbox.clear();
            self.looked_at = 0;
        }
    }

    /// It watches from now on, after this first line.
    pub(super) fn watch(&mut self, first: &Arc<[u8]>) {
        self.watch = Some(Watch::default());
        self.tell(first);
    }

    pub(super) fn is_watching(&self) -> bool {
        self.watch.is_some() && !self.ended
    }

    /// It has missed so many events before the next.
    pub(super) fn miss(&mut self, count: u64) {
        if let Some(watch) = &mut self.watch {
            watch.missed += count;
        }
    }

    /// Queues an event, if there is room.
    pub(super) fn tell(&mut self, line: &Arc<[u8]>) {
        let Some(watch) = &mut self.watch else { return };
        if watch.octets + line.len() > UNREAD {
            watch.missed += 1;
            return;
        }
        if watch.missed > 0 {
            let word = format!("{{\"event\":\"dropped\",\"count\":{}}}\n", std::mem::take(&mut watch.missed));
            watch.octets += word.len();
            watch.lines.push_back(word.into_bytes().into());
        }
        watch.octets += line.len();
        watch.lines.push_back(line.clone());
    }

    /// The daemon ends: what the system still takes of what is to be told.
    pub(super) fn finish(&mut self, now: Instant) {
        self.writable = true;
        while self.writable && self.has_work() {
            // What it still says, it says to nobody.
            self.readable = false;
            if !matches!(self.turn(now, 0), Request::None) {
                return;
            }
        }
    }

    /// The next of what is to be told.
    fn take_event(&mut self) {
        if self.reply.is_none()
            && let Some(watch) = &mut self.watch
            && let Some(line) = watch.lines.pop_front()
        {
            watch.octets -= line.len();
            self.reply = Some((line, 0));
        }
    }

    /// One that watches has nothing more to say; what it says is passed over.
    fn look_for_the_end(&mut self) -> Request {
        // So much in one turn: it may say more than anybody can pass over.
        const READS: usize = 16;
        let mut buffer = [0; 1024];
        for _ in 0..READS {
            if !self.readable {
                break;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Request::Gone;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return Request::Gone,
            }
        }
        Request::None
    }

    /// Whether a turn would do something without further readiness.
    pub(super) fn has_work(&self) -> bool {
        if let Some(watch) = &self.watch {
            return self.readable || (self.writable && (self.reply.is_some() || !watch.lines.is_empty()));
        }
        match &self.reply {
            Some(_) => self.writable,
            None => !self.waiting && (self.readable || self.ended || self.holds_line()),
        }
    }

    /// When patience with this client ends.
    pub(super) fn stuck_at(&self, patience: Duration) -> Option<Instant> {
        if self.waiting || self.watch.is_some() {
            return None;
        }
        // Who takes a reply octet by octet makes progress, and holds all of it.
        let reply = self.reply.as_ref().map(|_| self.replied + patience * SLOWEST);
        let progress = self.progress + patience;
        Some(reply.map_or(progress, |reply| reply.min(progress)))
    }

    pub(super) fn is_stuck(&self, now: Instant, patience: Duration) -> bool {
        self.stuck_at(patience).is_some_and(|at| at <= now)
    }

    /// Sends, or takes one request, which may have so many octets.
    pub(super) fn turn(&mut self, now: Instant, most: usize) -> Request {
        if self.watch.is_some() {
            if let gone @ (Request::Gone | Request::Line(_) | Request::TooLong) = self.look_for_the_end() {
                return gone;
            }
            // A share for each, so that all get their turn.
            const SHARE: usize = 64;
            for _ in 0..SHARE {
                self.take_event();
                if self.reply.is_none() || !self.writable {
                    break;
                }
                if let gone @ (Request::Gone | Request::Line(_) | Request::TooLong) = self.send(now) {
                    return gone;
                }
            }
            return Request::None;
        }
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
        self.receive(now, most)
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

    fn receive(&mut self, now: Instant, most: usize) -> Request {
        let begun_with = self.inbox.len();
        let mut buffer = [0; 4096];
        while self.readable && self.inbox.len() < begun_with + TURN {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    // The end ends a line, too.
                    self.looked_at = 0;
                    let rest = std::mem::take(&mut self.inbox);
                    return if rest.is_empty() { Request::Gone } else { Request::Line(rest) };
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
                    if self.inbox.len() > most {
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
        let new = self.inbox.get(self.looked_at..).unwrap_or_default();
        let Some(end) = new.iter().position(|octet| *octet == b'\n') else {
            self.looked_at = self.inbox.len();
            return None;
        };
        let rest = self.inbox.split_off(self.looked_at + end + 1);
        let mut line = std::mem::replace(&mut self.inbox, rest);
        self.looked_at = 0;
        line.pop();
        Some(line)
    }

    fn holds_line(&self) -> bool {
        self.inbox.get(self.looked_at..).unwrap_or_default().contains(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;
    use crate::driver::clock;

    /// What a watcher says is passed over in shares, and not at all at the end.
    #[test]
    fn a_watcher_that_talks() {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut client = Client::new(UnixStream::from_std(near), Caller::looker(), clock());
        client.watch(&b"first\n"[..].into());
        far.write_all(&[b'x'; 100 << 10]).unwrap();
        client.readable = true;
        let mut turns = 0;
        while client.readable {
            assert!(matches!(client.turn(clock(), 0), Request::None));
            turns += 1;
        }
        assert!(turns > 5, "all of it in {turns} turns");
        far.write_all(&[b'x'; 100 << 10]).unwrap();
        client.readable = true;
        client.finish(clock());
        assert!(client.stream.read(&mut [0]).is_ok(), "left unread");
        far.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        BufReader::new(far).read_line(&mut said).unwrap();
        assert_eq!(said, "first\n");
    }

    /// Who takes its reply octet by octet has its time, too.
    #[test]
    fn a_reply_is_not_kept_for_ever() {
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (now, patience) = (clock(), Duration::from_secs(10));
        let mut client = Client::new(UnixStream::from_std(near), Caller::looker(), now);
        client.wait_for_answer();
        assert_eq!(client.stuck_at(patience), None, "time is not the client's");
        client.reply(now, b"{}\n"[..].into(), false);
        client.progress = now + patience * (SLOWEST - 1);
        assert!(!client.is_stuck(now + patience * SLOWEST - Duration::from_millis(1), patience));
        client.progress = now + patience * SLOWEST;
        assert!(client.is_stuck(now + patience * SLOWEST, patience));
    }

    /// One that does not read costs so much memory and no more, and is told what it has missed.
    #[test]
    fn a_watcher_that_does_not_read() {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut client = Client::new(UnixStream::from_std(near), Caller::looker(), clock());
        let line: Arc<[u8]> = format!("{}\n", "x".repeat(999)).into_bytes().into();
        client.watch(&line);
        client.writable = true;
        let lines = 3 * UNREAD / 1000;
        for _ in 0..lines {
            client.tell(&line);
            assert!(matches!(client.turn(clock(), 0), Request::None));
        }
        let watch = client.watch.as_ref().unwrap();
        assert!(watch.octets <= UNREAD && watch.missed > 1000, "{} {}", watch.octets, watch.missed);
        assert!(!client.is_stuck(clock() + Duration::from_secs(3600), Duration::from_secs(10)), "it may take its time");
        // It reads on.
        let missed = watch.missed;
        let reader = std::thread::spawn(move || {
            let words = BufReader::new(far).lines().map_while(Result::ok);
            words.map(|word| if word.starts_with('x') { 1 } else { u64::MAX }).take_while(|one| *one == 1).sum::<u64>()
        });
        while !client.watch.as_ref().unwrap().lines.is_empty() {
            client.writable = true;
            client.turn(clock(), 0);
        }
        client.tell(&line);
        client.finish(clock());
        assert_eq!(reader.join().unwrap() + missed, lines as u64 + 1, "every line has come, or is counted");
    }
}
