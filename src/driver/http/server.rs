//! The loop of the HTTP thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::{Events, Interest, Poll, Token, Waker};
use serde_json::{Value, json};
use socket2::SockRef;

use super::client::{Client, Turn};
use super::doors::Doors;
use super::metrics::{self, Meters};
use super::route::{Refusal, Request, Route};
use super::{Ask, Audience, Word};
use crate::driver::clock;
use crate::driver::status::{ListenLine, Status};
use crate::driver::unread;

const WAKE: Token = Token(0);
const FIRST_DOOR: usize = 1;
/// Doors may be opened anew with every reload.
const FIRST_CLIENT: usize = 1 << 32;
/// Connections at a time.
const CLIENTS: usize = 1024;
/// Of these, those that are told events.
const STREAMS: usize = 64;
/// A snapshot that is not older serves everybody.
const FRESH: Duration = Duration::from_millis(250);
/// The loop's time is worth so many times what a snapshot takes of it.
const REST: u32 = 10;
/// Within this the loop answers, or is not well.
const ANSWERS: Duration = Duration::from_secs(5);
/// What the system may hold for a connection, in octets.
const SEND_BUFFER: usize = 128 * 1024;
/// So many are let in before anything else is done.
const ARRIVALS: usize = 64;
/// After the system had no descriptor to spare.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const JSON: &str = "Content-Type: application/json\r\n";
const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
const PAGE: &str = include_str!("page.html");
/// Nothing of the page comes from elsewhere, and nobody puts it into a frame.
const PAGE_HEADERS: &str = "Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: default-src 'none'; \
                            style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
                            frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\nReferrer-Policy: no-referrer\r\n";

/// What the loop last said.
struct Snapshot {
    at: Instant,
    status: Arc<Status>,
    /// As JSON, and as metrics of either format, once somebody has asked for that.
    json: Option<Arc<[u8]>>,
    metrics: BTreeMap<bool, Arc<[u8]>>,
}

pub(super) struct Server {
    poll: Poll,
    doors: Doors,
    inbox: Receiver<Word>,
    audience: Audience,
    lines: Arc<Mutex<Vec<ListenLine>>>,
    meters: Arc<Meters>,
    ask: Box<dyn Fn(Ask) + Send>,
    clients: BTreeMap<usize, Client>,
    next_client: usize,
    ready: BTreeSet<usize>,
    accept_at: Option<Instant>,
    snapshot: Option<Snapshot>,
    /// Since when one is awaited.
    asked: Option<Instant>,
    /// Who waits for it, and for what.
    waiting: BTreeMap<usize, Route>,
    /// Which VIPs are asked about, by whom; and in which order.
    questions: BTreeMap<usize, String>,
    turns: VecDeque<usize>,
    /// When the loop may be bothered again.
    not_before: Option<Instant>,
}

impl Server {
    pub(super) fn new(
        bound: Vec<(SocketAddr, TcpListener)>,
        inbox: Receiver<Word>,
        audience: Audience,
        lines: Arc<Mutex<Vec<ListenLine>>>,
        meters: Arc<Meters>,
        ask: Box<dyn Fn(Ask) + Send>,
    ) -> io::Result<(Server, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let mut doors = Doors::new(poll.registry().try_clone()?, FIRST_DOOR);
        for (address, listener) in bound {
            doors.open(address, listener)?;
        }
        let server = Server {
            poll,
            doors,
            inbox,
            audience,
            lines,
            meters,
            ask,
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            ready: BTreeSet::new(),
            accept_at: None,
            snapshot: None,
            asked: None,
            waiting: BTreeMap::new(),
            questions: BTreeMap::new(),
            turns: VecDeque::new(),
            not_before: None,
        };
        server.show_doors();
        Ok((server, waker))
    }

    pub(super) fn run_to_its_end(&mut self) {
        if let Err(error) = self.run() {
            (self.ask)(Ask::Broken(error.to_string()));
        }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        self.doors.addresses().for_each(|address| (self.ask)(Ask::Door(address, None)));
        loop {
            let wait = if self.ready.is_empty() { self.wait(clock()) } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) => continue,
                Ok(()) => {}
            }
            let now = clock();
            let mut at_doors: BTreeSet<Token> = BTreeSet::new();
            if self.accept_at.take_if(|at| *at <= now).is_some() {
                at_doors.extend(self.doors.tokens());
            }
            for event in &events {
                match event.token() {
                    WAKE => {}
                    token if self.doors.has(token) => drop(at_doors.insert(token)),
                    Token(token) => {
                        if let Some(client) = self.clients.get_mut(&token) {
                            client.notify(event);
                            self.ready.insert(token);
                        }
                    }
                }
            }
            at_doors.into_iter().for_each(|token| self.accept(now, token));
            while let Ok(word) = self.inbox.try_recv() {
                if !self.hear(now, word) {
                    return Ok(());
                }
            }
            for token in std::mem::take(&mut self.ready) {
                self.serve(now, token);
            }
            self.clean_up(now);
        }
    }

    /// False at the end.
    fn hear(&mut self, now: Instant, word: Word) -> bool {
        match word {
            Word::Status(status, took) => self.publish(now, status, took),
            Word::Why(token, result, took) => {
                self.not_before = Some(now + took * REST);
                match result {
                    Ok(why) => self.answer(now, token, "200 OK", JSON, body(&why)),
                    Err(error) => self.answer(now, token, "404 Not Found", JSON, body(&json!({ "error": error }))),
                }
            }
            Word::Event(event) => {
                self.audience.waiting.fetch_sub(event.len(), Ordering::Relaxed);
                for (token, client) in self.clients.iter_mut().filter(|(_, client)| client.is_streaming()) {
                    client.tell(now, &event);
                    self.ready.insert(*token);
                }
            }
            Word::Listen(addresses) => {
                let news = self.doors.configure(now, &addresses);
                self.tell_of_doors(news);
            }
            Word::Stop => return false,
        }
        true
    }

    fn tell_of_doors(&self, news: Vec<(SocketAddr, Option<String>)>) {
        news.into_iter().for_each(|(address, error)| (self.ask)(Ask::Door(address, error)));
        self.show_doors();
    }

    fn show_doors(&self) {
        *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = self.doors.lines();
    }

    /// What time does: those who are too slow go, doors are tried again, and a loop that does not answer is told of.
    fn clean_up(&mut self, now: Instant) {
        let mut told = BTreeSet::new();
        self.clients.retain(|token, client| {
            let stays = client.expire(now);
            if client.has_work() {
                told.insert(*token);
            }
            stays
        });
        self.ready.extend(told.into_iter().filter(|token| self.clients.contains_key(token)));
        self.questions.retain(|token, _| self.clients.contains_key(token));
        let streams = self.clients.values().filter(|client| client.is_streaming()).count();
        self.audience.watchers.store(streams, Ordering::Relaxed);
        if self.doors.deadline().is_some_and(|at| at <= now) {
            let news = self.doors.try_again(now);
            self.tell_of_doors(news);
        }
        self.ask_why(now);
        if self.asked.is_some_and(|asked| now >= asked + ANSWERS) {
            for (token, _) in std::mem::take(&mut self.waiting) {
                let words = Arc::from(&b"the event loop does not answer\n"[..]);
                self.answer(now, token, "503 Service Unavailable", TEXT, words);
            }
        }
    }

    /// How long nothing has to be done without a reason from outside.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let clients = self.clients.values().filter_map(Client::deadline).min();
        let answer = self.asked.filter(|_| !self.waiting.is_empty()).map(|asked| asked + ANSWERS);
        let question = self.not_before.filter(|_| !self.questions.is_empty());
        let next = [clients, answer, question, self.doors.deadline(), self.accept_at].into_iter().flatten().min()?;
        // mio rounds up to whole milliseconds; one more keeps a deadline between two of them from spinning.
        Some(next.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn accept(&mut self, now: Instant, door: Token) {
        for _ in 0..ARRIVALS {
            let mut stream = match self.doors.accept(door) {
                Ok(stream) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => {
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            };
            if self.clients.len() >= CLIENTS && !self.make_room(now) {
                continue; // dropped, and thereby closed
            }
            // Answers are short, and wait for nothing.
            let _as_well_without = stream.set_nodelay(true);
            // Those who do not take their answers hold the system's memory, too.
            let _as_well_without = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
            let token = self.next_client;
            self.next_client += 1;
            if self.poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE).is_ok()
            {
                self.clients.insert(token, Client::new(stream, now));
                self.ready.insert(token);
            }
        }
        // More may be waiting: after the others.
        self.accept_at = Some(now);
    }

    /// Who can be spared goes.
    fn make_room(&mut self, now: Instant) -> bool {
        let spare = self.clients.iter().filter_map(|(token, client)| Some((client.spare(now)?, *token)));
        spare.min().is_some_and(|(_, token)| self.clients.remove(&token).is_some())
    }

    /// One request of one client at most, so that all get their turn.
    fn serve(&mut self, now: Instant, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        match client.turn(now) {
            Turn::None => {}
            Turn::Asked(request) => self.carry_out(now, token, request),
            Turn::Refused(refusal) => self.refuse(now, token, refusal),
            Turn::Gone => {
                self.clients.remove(&token);
                self.waiting.remove(&token);
            }
        }
        if self.clients.get(&token).is_some_and(Client::has_work) {
            self.ready.insert(token);
        }
    }

    fn refuse(&mut self, now: Instant, token: usize, refusal: Refusal) {
        let status = refusal.status();
        let headers = if refusal == Refusal::Method { format!("{TEXT}Allow: GET, HEAD\r\n") } else { TEXT.to_owned() };
        self.answer(now, token, status, &headers, format!("{status}\n").into_bytes().into());
    }

    fn carry_out(&mut self, now: Instant, token: usize, request: Request) {
        match request.route {
            Route::Page => self.answer(now, token, "200 OK", PAGE_HEADERS, Arc::from(PAGE.as_bytes())),
            Route::Missing => {
                let words = Arc::from(&b"there is no such thing here\n"[..]);
                self.answer(now, token, "404 Not Found", TEXT, words);
            }
            Route::Events => self.stream(now, token),
            Route::Why(vip) => {
                self.questions.insert(token, vip);
                self.turns.push_back(token);
                self.ask_why(now);
            }
            route => self.wants(now, token, route),
        }
    }

    /// Asks the loop the next question, if it may be bothered.
    fn ask_why(&mut self, now: Instant) {
        while self.not_before.is_none_or(|at| at <= now)
            && let Some(token) = self.turns.pop_front()
        {
            if let Some(vip) = self.questions.remove(&token) {
                // Until its answer is there, and says when the next one may be asked.
                self.not_before = Some(now + ANSWERS);
                (self.ask)(Ask::Why(token, vip));
            }
        }
    }

    fn stream(&mut self, now: Instant, token: usize) {
        if self.clients.values().filter(|client| client.is_streaming()).count() >= STREAMS {
            let words = format!("{STREAMS} are told events already\n");
            return self.answer(now, token, "503 Service Unavailable", TEXT, words.into_bytes().into());
        }
        if let Some(client) = self.clients.get_mut(&token) {
            client.stream(now);
            self.ready.insert(token);
        }
    }

    /// Something that a snapshot answers: the last one, if it is fresh or there must be no other now.
    fn wants(&mut self, now: Instant, token: usize, route: Route) {
        let is_early = self.not_before.is_some_and(|at| at > now);
        match &self.snapshot {
            // Whether the loop is well only the loop can say.
            Some(snapshot) if route != Route::Health && now < snapshot.at + FRESH => self.show(now, token, &route),
            Some(snapshot) if is_early && now < snapshot.at + ANSWERS => self.show(now, token, &route),
            _ => {
                self.waiting.insert(token, route);
                if self.asked.is_none() {
                    self.asked = Some(now);
                    (self.ask)(Ask::Status);
                }
            }
        }
    }

    fn publish(&mut self, now: Instant, status: Box<Status>, took: Duration) {
        self.asked = None;
        self.not_before = Some(now + took * REST);
        self.snapshot = Some(Snapshot { at: now, status: Arc::from(status), json: None, metrics: BTreeMap::new() });
        for (token, route) in std::mem::take(&mut self.waiting) {
            self.show(now, token, &route);
        }
    }

    fn show(&mut self, now: Instant, token: usize, route: &Route) {
        let Some(snapshot) = &mut self.snapshot else { return };
        let (code, headers, content): (&str, &str, Arc<[u8]>) = match route {
            Route::Health => ("200 OK", TEXT, Arc::from(&b"ok\n"[..])),
            Route::Ready => match not_ready(&snapshot.status) {
                None => ("200 OK", TEXT, Arc::from(&b"ready\n"[..])),
                Some(why) => ("503 Service Unavailable", TEXT, format!("{why}\n").into_bytes().into()),
            },
            Route::Metrics { open } => {
                let text = || metrics::text(&snapshot.status, &self.meters, *open).into_bytes().into();
                let text = snapshot.metrics.entry(*open).or_insert_with(text);
                ("200 OK", metrics::content_type(*open), text.clone())
            }
            _ => ("200 OK", JSON, snapshot.json.get_or_insert_with(|| body(&snapshot.status)).clone()),
        };
        self.answer(now, token, code, headers, content);
    }

    fn answer(&mut self, now: Instant, token: usize, status: &str, headers: &str, content: Arc<[u8]>) {
        for given_up in unread::too_old(&content, self.clients.values().filter_map(Client::held)) {
            self.clients.retain(|_, client| client.held().is_none_or(|(_, held)| !Arc::ptr_eq(held, &given_up)));
        }
        // It may have gone.
        if let Some(client) = self.clients.get_mut(&token) {
            client.answer(now, status, headers, content);
            self.ready.insert(token);
        }
    }
}

/// What there is still to be waited for after a start, or that it ends.
fn not_ready(status: &Status) -> Option<String> {
    if status.engine.stopping {
        return Some("not ready: herald is stopping".to_owned());
    }
    let wait = status.engine.wait.as_ref()?;
    Some(format!("not ready: {} VIPs have no first verdict yet", wait.undecided))
}

fn body(value: &impl serde::Serialize) -> Arc<[u8]> {
    // Nothing in it can fail: no maps with strange keys.
    let mut text = serde_json::to_vec(value).unwrap_or_else(|_| Value::Null.to_string().into_bytes());
    text.push(b'\n');
    text.into()
}
