//! The control socket: JSON lines over a Unix stream socket, served by a thread of its own.
//!
//! A request is one line, `{"command":"status"}`, where needed with `"arguments":{…}`; so is the reply,
//! `{"ok":true,"result":…}` or `{"ok":false,"error":"…"}`. `"version":1` may be said; what a daemon does not know, it
//! refuses. Who may look and who may act is decided by what the system knows of the process at the other end; who may
//! do neither is told so and takes no place.
//!
//! Clients are not trusted to behave: requests, clients and patience are bounded, a client that does not read its reply
//! is not read from, and all clients together cannot take more than a tenth of the event loop's time.

pub(super) mod access;
mod change;
mod client;
mod large;
mod server;
mod socket;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use mio::Waker;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::status::Status;
pub(super) use access::{Access, Rank};
pub(super) use change::{Change, Order, Task, Terms, Text};
use server::Server;
pub(super) use socket::{Socket, SocketError};

/// As that of the workers.
const NICE: i32 = 10;
/// Octets of events that may wait for this thread.
const BACKLOG: usize = 16 << 20;

/// What the control thread wants of the event loop.
#[derive(Debug)]
pub(super) enum Ask {
    /// A snapshot, by [`Control::status`].
    Status,
    /// To carry this out for a client, by [`Control::changed`]; what takes longer by [`Control::begun`], and in the end
    /// [`Control::done`].
    Order(usize, Order),
    /// Nothing any more: the thread has ended because of this.
    Broken(String),
}

enum Answer {
    Status(Box<Status>, Duration),
    /// To an order, if there is one already.
    Changed(usize, Option<Result<Value, Refusal>>, Duration),
    /// To one that took longer.
    Done(usize, Result<Value, Refusal>),
    /// Other rules.
    Access(Access),
    /// A line for those who watch.
    Event(Arc<[u8]>),
    Stop,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// In words.
    text: String,
    /// What kind of reason that is, where it is not what was asked for: see [`Reply::Error`].
    code: Option<&'static str>,
}

impl Refusal {
    /// It could not be carried out, and may be another time.
    pub(super) fn busy(text: impl Into<String>) -> Refusal {
        Refusal { text: text.into(), code: Some("busy") }
    }
}

/// It cannot be done as it was asked for.
impl From<String> for Refusal {
    fn from(text: String) -> Refusal {
        Refusal { text, code: None }
    }
}

/// A request, as a line of JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Command {
    /// One of those that the server knows.
    pub(crate) command: String,
    /// Of the protocol: [`VERSION`].
    pub(crate) version: u32,
    /// Depends on the command.
    pub(crate) arguments: Value,
}

/// Of the protocol. It grows when a request would mean something else to an older daemon.
pub(crate) const VERSION: u32 = 1;

/// A reply, as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Reply<T> {
    /// The answer.
    Result {
        /// Always true.
        ok: bool,
        /// Depends on the command.
        result: T,
    },
    /// There is none.
    Error {
        /// Always false.
        ok: bool,
        /// Why, in words.
        error: String,
        /// `denied` for want of rights, `busy` where it may be done another time, `unknown_command` where it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
}

/// The running control thread. Its socket is removed when it is stopped.
pub(super) struct Control {
    answers: Sender<Answer>,
    waker: Arc<Waker>,
    audience: Audience,
    thread: JoinHandle<()>,
    socket: Socket,
}

/// Those who watch: how many there are, and how much waits for them to be told.
#[derive(Clone, Default)]
struct Audience {
    watchers: Arc<AtomicUsize>,
    waiting: Arc<AtomicUsize>,
    /// Lines that found no room.
    missed: Arc<AtomicUsize>,
}

impl Control {
    /// Starts to serve. `ask` is called on the control thread and must not block.
    ///
    /// # Errors
    /// When the system has no thread or descriptor to spare.
    pub(super) fn start<F: Fn(Ask) + Send + 'static>(
        mut socket: Socket,
        access: Access,
        ask: F,
    ) -> io::Result<Control> {
        let (answers, inbox) = unbounded();
        let audience = Audience::default();
        let (mut server, waker) = Server::new(&mut socket, access, inbox, audience.clone(), Box::new(ask))?;
        let thread = thread::Builder::new().name("control".to_owned()).stack_size(512 * 1024).spawn(move || {
            // Whatever clients ask for, the event loop goes first.
            let _as_well_without = rustix::process::setpriority_process(None, NICE);
            server.run();
        })?;
        Ok(Control { answers, waker, audience, thread, socket })
    }

    /// Answers [`Ask::Status`]; `took` is what the snapshot cost the loop.
    pub(super) fn status(&self, status: Box<Status>, took: Duration) {
        self.tell(Answer::Status(status, took));
    }

    /// Answers [`Ask::Order`]; `took` is what it cost the loop.
    pub(super) fn changed(&self, client: usize, result: Result<Value, Refusal>, took: Duration) {
        self.tell(Answer::Changed(client, Some(result), took));
    }

    /// Answers [`Ask::Order`] with what is yet to be done; `took` is what it cost the loop so far.
    pub(super) fn begun(&self, client: usize, took: Duration) {
        self.tell(Answer::Changed(client, None, took));
    }

    /// What was begun is done.
    pub(super) fn done(&self, client: usize, result: Result<Value, Refusal>) {
        self.tell(Answer::Done(client, result));
    }

    /// From now on these rules are in force.
    pub(super) fn set_access(&self, access: Access) {
        self.tell(Answer::Access(access));
    }

    /// How many watch, to be asked by whoever might tell them something.
    pub(super) fn watchers(&self) -> Arc<AtomicUsize> {
        self.audience.watchers.clone()
    }

    /// Tells those who watch; for another thread. Never waits.
    pub(super) fn teller(&self) -> impl Fn(&str) + Send + 'static {
        let (answers, waker, audience) = (self.answers.clone(), self.waker.clone(), self.audience.clone());
        move |line| {
            if audience.watchers.load(Ordering::Relaxed) == 0 {
                return;
            }
            if audience.waiting.load(Ordering::Relaxed) > BACKLOG {
                audience.missed.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let line: Arc<[u8]> = format!("{line}\n").into_bytes().into();
            audience.waiting.fetch_add(line.len(), Ordering::Relaxed);
            if answers.send(Answer::Event(line)).is_ok() {
                let _woken = waker.wake();
            }
        }
    }

    /// Ends the thread and removes the socket.
    pub(super) fn stop(self) {
        self.tell(Answer::Stop);
        // A panic in it has been told by the panic handler.
        let _ended = self.thread.join();
        drop(self.socket);
    }

    fn tell(&self, answer: Answer) {
        // Fails only when the thread is gone, and then nobody waits.
        if self.answers.send(answer).is_ok() {
            let _woken = self.waker.wake();
        }
    }
}
