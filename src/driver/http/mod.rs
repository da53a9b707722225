//! The HTTP server for people and for Prometheus: read only, on a thread and a poll of its own.
//!
//! It never touches the event loop but to ask for a snapshot, which serves everybody who asks within a moment, and takes no
//! more than a tenth of the loop's time; until there is a newer one, the last one will do. Connections are bounded in number,
//! time and memory. Where there are too many, those that have rested longest go.

mod client;
mod doors;
mod metrics;
mod route;
mod server;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use mio::Waker;
use serde_json::Value;

use super::status::{ListenLine, Status};

pub(crate) use metrics::Meters;

/// Octets of events that may wait for this thread.
const BACKLOG: usize = 16 << 20;
/// As that of the workers.
const NICE: i32 = 10;

/// What the HTTP thread wants of the event loop.
#[derive(Debug)]
pub(super) enum Ask {
    /// A snapshot, by [`Http::status`].
    Status,
    /// Why this VIP is as it is, by [`Http::why`].
    Why(usize, String),
    /// Nothing: an address can be connected to, or cannot, and why.
    Door(SocketAddr, Option<String>),
    /// Nothing any more: the thread has ended because of this.
    Broken(String),
}

/// What the thread is told.
enum Word {
    Status(Box<Status>, Duration),
    Why(usize, Result<Value, String>, Duration),
    Event(Arc<[u8]>),
    Listen(Vec<SocketAddr>),
    Stop,
}

/// Those who are told events.
#[derive(Clone, Default)]
struct Audience {
    watchers: Arc<AtomicUsize>,
    waiting: Arc<AtomicUsize>,
}

/// The running server.
pub(super) struct Http {
    words: Sender<Word>,
    waker: Arc<Waker>,
    audience: Audience,
    lines: Arc<Mutex<Vec<ListenLine>>>,
    thread: JoinHandle<()>,
}

/// Binds what shall be served at.
///
/// # Errors
/// The first address that cannot be had, with the system's word.
pub(super) fn bind(addresses: &[SocketAddr]) -> Result<Vec<(SocketAddr, TcpListener)>, (SocketAddr, String)> {
    let bind = |address: &SocketAddr| {
        let listener = doors::bind(*address).map_err(|error| (*address, doors::words(&error)))?;
        Ok((*address, listener))
    };
    addresses.iter().map(bind).collect()
}

impl Http {
    /// Starts to serve, at addresses that have been bound. `ask` is called on the server's thread and must not block.
    ///
    /// # Errors
    /// When the system has no thread or descriptor to spare.
    pub(super) fn start<F: Fn(Ask) + Send + 'static>(
        bound: Vec<(SocketAddr, TcpListener)>,
        meters: Arc<Meters>,
        ask: F,
    ) -> io::Result<Http> {
        let (words, inbox) = unbounded();
        let (audience, lines) = (Audience::default(), Arc::<Mutex<Vec<ListenLine>>>::default());
        let (mut server, waker) =
            server::Server::new(bound, inbox, audience.clone(), lines.clone(), meters, Box::new(ask))?;
        let thread = thread::Builder::new().name("http".to_owned()).stack_size(512 * 1024).spawn(move || {
            // Whatever browsers ask for, the event loop goes first.
            let _as_well_without = rustix::process::setpriority_process(None, NICE);
            server.run_to_its_end();
        })?;
        Ok(Http { words, waker, audience, lines, thread })
    }

    /// Answers [`Ask::Status`]; `took` is what the snapshot cost the loop.
    pub(super) fn status(&self, status: Box<Status>, took: Duration) {
        self.tell(Word::Status(status, took));
    }

    /// Answers [`Ask::Why`]; `took` is what it cost the loop.
    pub(super) fn why(&self, client: usize, result: Result<Value, String>, took: Duration) {
        self.tell(Word::Why(client, result, took));
    }

    /// Serves at these addresses from now on.
    pub(super) fn listen(&self, addresses: &[SocketAddr]) {
        self.tell(Word::Listen(addresses.to_vec()));
    }

    /// Where it serves.
    pub(super) fn lines(&self) -> Vec<ListenLine> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many are told events, to be asked by whoever might tell them something.
    pub(super) fn watchers(&self) -> Arc<AtomicUsize> {
        self.audience.watchers.clone()
    }

    /// Tells them; for another thread. Never waits: what finds no room is missing.
    pub(super) fn teller(&self) -> impl Fn(&str) + Send + 'static {
        let (words, waker, audience) = (self.words.clone(), self.waker.clone(), self.audience.clone());
        move |line| {
            let is_heard = audience.watchers.load(Ordering::Relaxed) > 0;
            if !is_heard || audience.waiting.load(Ordering::Relaxed) > BACKLOG {
                return;
            }
            let event: Arc<[u8]> = format!("data: {line}\n\n").into_bytes().into();
            audience.waiting.fetch_add(event.len(), Ordering::Relaxed);
            if words.send(Word::Event(event)).is_ok() {
                let _woken = waker.wake();
            }
        }
    }

    /// Ends the thread.
    pub(super) fn stop(self) {
        self.tell(Word::Stop);
        // A panic in it has been told by the panic handler.
        let _ended = self.thread.join();
    }

    fn tell(&self, word: Word) {
        // Fails only when the thread is gone, and then nobody waits.
        if self.words.send(word).is_ok() {
            let _woken = self.waker.wake();
        }
    }
}
