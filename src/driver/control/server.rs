//! The thread behind the control socket.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::net::UnixListener;
use mio::{Events, Interest, Poll, Token, Waker};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::access::{Access, Caller, Rank};
use super::client::{Client, REQUEST, Request};
use super::large::Large;
use super::socket::{self, Socket};
use super::{Answer, Ask, Audience, Change, Order, Refusal, Reply, Task, VERSION};
use crate::driver::clock;
use crate::driver::status::Status;
use crate::driver::unread;

const LISTENER: Token = Token(0);
const WAKE: Token = Token(1);
const FIRST_CLIENT: usize = 2;
/// Clients at a time; further ones are turned away.
const CLIENTS: usize = 64;
/// Of these, those who may only look: they do not keep out who may act.
const LOOKERS: usize = 48;
/// So many are let in, or turned away, before anything else is done.
const ARRIVALS: usize = 64;
/// Of an unknown command so many letters are repeated.
const REPEATED: usize = 64;
/// How long a client may take over a request or a reply without any progress.
const PATIENCE: Duration = Duration::from_secs(10);
/// After the system had no descriptor to spare.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The loop's time is worth so many times what a snapshot takes of it.
const REST: u32 = 10;

/// Clients that watch at a time, ...
const WATCHERS: usize = 16;
/// ... and of these those who may only look.
const LOOKING_ON: usize = 12;

/// A request, as far as it is looked into before its command is known.
#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    command: Cow<'a, str>,
    #[serde(default = "first_version")]
    version: u32,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

fn first_version() -> u32 {
    1
}

/// What a command does for the client that sent it, with its arguments in JSON.
type Handler = fn(&mut Server, Instant, Asker, &str);
type Asker = (usize, Caller);

/// Everything that can be asked for.
const COMMANDS: &[(&str, Rank, Handler)] = &[
    ("status", Rank::Look, Server::status),
    ("why", Rank::Look, Server::why),
    ("watch", Rank::Look, Server::watch),
    ("diff", Rank::Look, Server::diff),
    ("probe", Rank::Act, Server::probe),
    ("drain", Rank::Act, Server::drain),
    ("undrain", Rank::Act, Server::undrain),
    ("reload", Rank::Act, Server::reload),
];

/// Snapshots are shared: one serves everybody who asked before it was taken.
#[derive(Default)]
struct Snapshot {
    /// Who gets the one that is being taken.
    current: Option<BTreeSet<usize>>,
    /// Who asked after that.
    next: BTreeSet<usize>,
}

/// One change at a time.
#[derive(Default)]
struct Changes {
    /// One is being made.
    is_busy: bool,
    /// In the order in which they were asked for; one for a client.
    next: VecDeque<(usize, Order)>,
}

pub(super) struct Server {
    poll: Poll,
    listener: UnixListener,
    path: PathBuf,
    access: Access,
    inbox: Receiver<Answer>,
    ask: Box<dyn Fn(Ask) + Send>,
    clients: BTreeMap<usize, Client>,
    next_client: usize,
    ready: BTreeSet<usize>,
    accept_at: Option<Instant>,
    snapshot: Snapshot,
    changes: Changes,
    large: Large,
    audience: Audience,
    /// When the loop may be bothered again.
    not_before: Option<Instant>,
}

impl Server {
    pub(super) fn new(
        socket: &mut Socket,
        access: Access,
        inbox: Receiver<Answer>,
        audience: Audience,
        ask: Box<dyn Fn(Ask) + Send>,
    ) -> io::Result<(Server, Arc<Waker>)> {
        let poll = Poll::new()?;
        let mut listener = UnixListener::from_std(socket.take_listener()?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let server = Server {
            poll,
            listener,
            path: socket.path().to_owned(),
            access,
            inbox,
            ask,
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            ready: BTreeSet::new(),
            accept_at: None,
            snapshot: Snapshot::default(),
            changes: Changes::default(),
            large: Large::default(),
            audience,
            not_before: None,
        };
        Ok((server, waker))
    }

    /// Until it is told to stop.
    pub(super) fn run(&mut self) {
        if let Err(error) = self.serve_all() {
            (self.ask)(Ask::Broken(error.to_string()));
        }
    }

    fn serve_all(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(CLIENTS + 2);
        loop {
            let wait = if self.ready.is_empty() { self.wait(clock()) } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) => continue,
                Ok(()) => {}
            }
            let now = clock();
            let mut accept = self.accept_at.is_some_and(|at| at <= now);
            for event in &events {
                match event.token() {
                    LISTENER => accept = true,
                    WAKE => {}
                    Token(token) => {
                        if let Some(client) = self.clients.get_mut(&token) {
                            client.notify(event);
                            self.ready.insert(token);
                        }
                    }
                }
            }
            if accept {
                self.accept(now);
            }
            while let Ok(answer) = self.inbox.try_recv() {
                match answer {
                    Answer::Status(status, took) => self.publish(now, &status, took),
                    Answer::Changed(token, result, took) => self.report(now, token, result, took),
                    Answer::Done(token, result) => self.answer(now, token, result),
                    Answer::Access(access) => self.change_access(access),
                    Answer::Event(line) => self.tell_watchers(&line),
                    Answer::Stop => {
                        self.clients.values_mut().for_each(|client| client.finish(now));
                        return Ok(());
                    }
                }
            }
            for token in std::mem::take(&mut self.ready) {
                self.serve(now, token);
            }
            self.clients.retain(|_, client| !client.is_stuck(now, PATIENCE));
            self.large.review(&self.clients);
            let watchers = self.clients.values().filter(|client| client.is_watching()).count();
            self.audience.watchers.store(watchers, Ordering::Relaxed);
            self.ask_for_snapshot(now);
            self.ask_for_change(now);
        }
    }

    /// How long nothing has to be done without a reason from outside.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let patience = self.clients.values().filter_map(|client| client.stuck_at(PATIENCE)).min();
        let snapshot = !self.snapshot.next.is_empty() && self.snapshot.current.is_none();
        let change = !self.changes.next.is_empty() && !self.changes.is_busy;
        let ask = self.not_before.filter(|_| snapshot || change);
        let next = [patience, ask, self.accept_at].into_iter().flatten().min()?;
        // mio rounds up to whole milliseconds; one more keeps a deadline between two of them from spinning.
        Some(next.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn accept(&mut self, now: Instant) {
        self.accept_at = None;
        for _ in 0..ARRIVALS {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            };
            let caller = match self.access.caller(&stream) {
                Ok(caller) if self.clients.len() < if caller.rank == Rank::Act { CLIENTS } else { LOOKERS } => caller,
                turned_away => {
                    let reply = match turned_away {
                        Ok(_) => error(Refusal::busy("too many clients at a time; try again")),
                        Err(reason) => denied(reason),
                    };
                    // What its empty buffer takes; it is closed at once, and holds no place.
                    let _told_or_not = stream.write(&line(&reply));
                    continue;
                }
            };
            let token = self.next_client;
            self.next_client += 1;
            if self.poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE).is_ok()
            {
                self.clients.insert(token, Client::new(stream, caller, now));
            }
        }
        // More may be waiting: after the others.
        self.accept_at = Some(now);
    }

    /// One request of one client at most, so that all get their turn.
    fn serve(&mut self, now: Instant, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let caller = client.caller();
        let most = self.large.room(token, caller.rank);
        let request = client.turn(now, most);
        let length = if let Request::Line(line) = &request { line.len() } else { client.pending() };
        if length > REQUEST && most > REQUEST {
            self.large.take(token, caller.rank);
        }
        match request {
            Request::None => {}
            // All at once, and there was no room.
            Request::Line(line) if line.len() > most => self.turn_down(now, token, most),
            Request::Line(line) => self.dispatch(now, token, caller, &line),
            Request::TooLong => self.turn_down(now, token, most),
            Request::Gone => {
                self.clients.remove(&token);
            }
        }
        if self.clients.get(&token).is_some_and(Client::has_work) {
            self.ready.insert(token);
        }
    }

    fn turn_down(&mut self, now: Instant, token: usize, most: usize) {
        let reply = match most {
            REQUEST => error(Refusal::busy("another large request is being carried out; try again")),
            _ => error("the request is too long".to_owned().into()),
        };
        self.hang_up(now, token, &reply);
    }

    fn dispatch(&mut self, now: Instant, token: usize, caller: Caller, line: &[u8]) {
        let asked = match serde_json::from_slice::<Asked<'_>>(line) {
            Ok(asked) if asked.version == VERSION => asked,
            Ok(asked) => {
                let error = format!("version {} of the protocol is not known here, only {VERSION}", asked.version);
                return self.refuse(now, token, &error);
            }
            Err(error) => return self.refuse(now, token, &format!("not a request: {error}")),
        };
        let Asked { command, arguments, .. } = asked;
        match COMMANDS.iter().find(|(name, ..)| *name == command) {
            Some((_, needed, _)) if caller.rank < *needed => {
                let reply = denied(self.access.too_low());
                self.hang_up(now, token, &reply);
            }
            Some((name, ..)) if *name != "diff" && line.len() > REQUEST => {
                self.refuse(now, token, "the request is too long");
            }
            Some((.., handler)) => handler(self, now, (token, caller), arguments.map_or("null", RawValue::get)),
            None => {
                let known: Vec<_> = COMMANDS.iter().map(|(name, ..)| *name).collect();
                let command: String = command.chars().take(REPEATED).collect();
                let text = format!("unknown command {command:?}; known: {}", known.join(", "));
                self.hang_up(now, token, &error(Refusal { text, code: Some("unknown_command") }));
            }
        }
    }

    fn status(&mut self, _now: Instant, (token, _): Asker, _arguments: &str) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.wait_for_answer();
            self.snapshot.next.insert(token);
        }
    }

    /// From now on this client is told events, and is asked nothing any more.
    fn watch(&mut self, now: Instant, (token, caller): Asker, _arguments: &str) {
        let watching = self.clients.values().filter(|client| client.is_watching()).count();
        if watching >= if caller.rank == Rank::Act { WATCHERS } else { LOOKING_ON } {
            return self.hang_up(now, token, &error(Refusal::busy(format!("{watching} watch already"))));
        }
        if let Some(client) = self.clients.get_mut(&token) {
            client.watch(&line(&Reply::Result { ok: true, result: "watching" }));
            self.ready.insert(token);
        }
    }

    fn tell_watchers(&mut self, line: &Arc<[u8]>) {
        self.audience.waiting.fetch_sub(line.len(), Ordering::Relaxed);
        let missed = self.audience.missed.swap(0, Ordering::Relaxed);
        for (token, client) in self.clients.iter_mut().filter(|(_, client)| client.is_watching()) {
            client.miss(missed as u64);
            client.tell(line);
            self.ready.insert(*token);
        }
    }

    fn ask_for_snapshot(&mut self, now: Instant) {
        let due = self.not_before.is_none_or(|at| at <= now);
        let snapshot = &mut self.snapshot;
        if due && snapshot.current.is_none() && !snapshot.next.is_empty() {
            snapshot.current = Some(std::mem::take(&mut snapshot.next));
            (self.ask)(Ask::Status);
        }
    }

    fn publish(&mut self, now: Instant, status: &Status, took: Duration) {
        self.not_before = Some(now + took * REST);
        let reply = line(&Reply::Result { ok: true, result: status });
        self.make_room(&reply);
        for token in self.snapshot.current.take().unwrap_or_default() {
            if let Some(client) = self.clients.get_mut(&token) {
                client.reply(now, reply.clone(), false);
                self.ready.insert(token);
            }
        }
    }

    fn drain(&mut self, now: Instant, (token, caller): Asker, arguments: &str) {
        self.order(now, token, Change::drain(arguments, caller).map(Order::Change));
    }

    fn undrain(&mut self, now: Instant, (token, caller): Asker, arguments: &str) {
        self.order(now, token, Change::undrain(arguments, caller).map(Order::Change));
    }

    fn why(&mut self, now: Instant, (token, _): Asker, arguments: &str) {
        self.order(now, token, Change::why(arguments).map(Order::Change));
    }

    fn reload(&mut self, now: Instant, (token, caller): Asker, arguments: &str) {
        self.order(now, token, Task::reload(arguments, caller).map(Order::Task));
    }

    fn diff(&mut self, now: Instant, (token, caller): Asker, arguments: &str) {
        self.order(now, token, Task::diff(arguments, caller.rank).map(Order::Task));
    }

    fn probe(&mut self, now: Instant, (token, _): Asker, arguments: &str) {
        self.order(now, token, Task::probe(arguments).map(Order::Task));
    }

    fn order(&mut self, now: Instant, token: usize, order: Result<Order, String>) {
        match order {
            Err(error) => self.refuse(now, token, &error),
            Ok(order) => {
                if let Some(client) = self.clients.get_mut(&token) {
                    client.wait_for_answer();
                    self.changes.next.push_back((token, order));
                }
            }
        }
    }

    fn ask_for_change(&mut self, now: Instant) {
        let due = self.not_before.is_none_or(|at| at <= now);
        if due
            && !self.changes.is_busy
            && let Some((token, order)) = self.changes.next.pop_front()
        {
            self.changes.is_busy = true;
            (self.ask)(Ask::Order(token, order));
        }
    }

    fn report(&mut self, now: Instant, token: usize, result: Option<Result<Value, Refusal>>, took: Duration) {
        self.changes.is_busy = false;
        self.not_before = Some(now + took * REST);
        if let Some(result) = result {
            self.answer(now, token, result);
        }
    }

    fn answer(&mut self, now: Instant, token: usize, result: Result<Value, Refusal>) {
        match result {
            Err(refusal) => self.hang_up(now, token, &error(refusal)),
            Ok(answer) => {
                let reply = line(&Reply::Result { ok: true, result: answer });
                self.make_room(&reply);
                if let Some(client) = self.clients.get_mut(&token) {
                    client.reply(now, reply, false);
                    self.ready.insert(token);
                }
            }
        }
    }

    /// Gives up those who have not taken theirs for longest.
    fn make_room(&mut self, reply: &Arc<[u8]>) {
        for given_up in unread::too_old(reply, self.clients.values().filter_map(Client::held)) {
            self.clients.retain(|_, client| client.held().is_none_or(|(_, held)| !Arc::ptr_eq(held, &given_up)));
        }
    }

    /// Answers with an error, and hangs up after it: who cannot ask is not worth a second try.
    fn refuse(&mut self, now: Instant, token: usize, text: &str) {
        self.hang_up(now, token, &error(text.to_owned().into()));
    }

    fn hang_up(&mut self, now: Instant, token: usize, last_words: &Reply<()>) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.reply(now, line(last_words), true);
            self.ready.insert(token);
        }
    }

    /// Who is connected keeps what it may do.
    fn change_access(&mut self, access: Access) {
        if self.access != access {
            // What the system refuses is to be seen at the file.
            let _changed = socket::open_to(&self.path, &access);
            self.access = access;
        }
    }
}

fn denied(text: String) -> Reply<()> {
    error(Refusal { text, code: Some("denied") })
}

fn error(refusal: Refusal) -> Reply<()> {
    Reply::Error { ok: false, error: refusal.text, code: refusal.code.map(str::to_owned) }
}

fn line<T: Serialize>(reply: &Reply<T>) -> Arc<[u8]> {
    // Fails only for maps with keys that are no strings, and there are none.
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
