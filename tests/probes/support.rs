//! Servers that follow a script, and probes by hand.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use herald::config::{Check, Config, Egress, HttpProbe, Probe, ProbeKind, Timing};
use herald::driver::clock;
use herald::driver::probe::Prober;
use herald::health::{ProbeOutcome, ProbeRequest, Ticket};

/// Long enough for anything that is expected to work, on a busy machine too.
pub(crate) const PLENTY: Duration = Duration::from_secs(10);
/// For what is expected to time out.
pub(crate) const SHORT: Duration = Duration::from_millis(200);
/// How late any run may come back on a machine with other things to do. See `tcp` for how late one usually does.
pub(crate) const LATE: Duration = Duration::from_secs(2);

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// One connection to a scripted server.
pub(crate) struct Talk {
    pub(crate) stream: TcpStream,
    stop: Arc<AtomicBool>,
}

impl Talk {
    /// Reads a request up to its empty line.
    pub(crate) fn request(&mut self) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r\n") && matches!(self.stream.read(&mut byte), Ok(1)) {
            text.push(byte[0]);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// False when the client has gone.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// False when the server shall stop.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        thread::park_timeout(time);
        !self.stop.load(Ordering::SeqCst)
    }

    /// Says nothing until the client has gone or the server stops.
    pub(crate) fn linger(&mut self) {
        self.stream.set_read_timeout(Some(millis(10))).unwrap();
        let mut bytes = [0; 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ if self.stop.load(Ordering::SeqCst) => return,
                _ => {}
            }
        }
    }
}

/// Follows a script, connection after connection.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(bind: &str, script: impl Fn(&mut Talk) + Send + 'static) -> Server {
        let listener = TcpListener::bind(bind).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A check may have reset the connection before it was accepted.
                if let Ok(stream) = stream {
                    script(&mut Talk { stream, stop: stopped.clone() });
                }
            }
        });
        Server { address, stop, thread: Some(thread) }
    }

    /// On 127.0.0.1.
    pub(crate) fn v4(script: impl Fn(&mut Talk) + Send + 'static) -> Server {
        Server::start("127.0.0.1:0", script)
    }

    /// Reads a request, says this, closes.
    pub(crate) fn answers(answer: impl Into<Vec<u8>>) -> Server {
        let answer = answer.into();
        Server::v4(move |talk| {
            talk.request();
            talk.say(&answer);
        })
    }

    /// Like `answers`, and hands over each request.
    pub(crate) fn hears(answer: &'static str) -> (Server, mpsc::Receiver<String>) {
        let (heard, requests) = mpsc::channel();
        let server = Server::v4(move |talk| {
            let _ = heard.send(talk.request());
            talk.say(answer);
        });
        (server, requests)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Ok(stream) = TcpStream::connect(self.address) {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        if let Some(thread) = self.thread.take() {
            let failed = thread.join().is_err();
            assert!(!failed || thread::panicking(), "the scripted server panicked");
        }
    }
}

/// An address where nobody listens, for as long as the socket that holds it lives.
pub(crate) fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A black hole: a listener whose queue is full, so that the kernel drops what comes.
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    listener: socket2::Socket,
    _held: Vec<socket2::Socket>,
}

impl BlackHole {
    pub(crate) fn open() -> BlackHole {
        let (listener, address) = nobody();
        listener.listen(0).unwrap();
        let mut held = Vec::new();
        loop {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            if filler.connect_timeout(&address.into(), millis(100)).is_err() {
                return BlackHole { address, listener, _held: held };
            }
            held.push(filler);
            assert!(held.len() < 20, "the queue of a listener does not fill");
        }
    }

    /// Whether somebody waits for a connection.
    pub(crate) fn is_knocked_at(&self) -> bool {
        let peer = format!("0100007F:{:04X} 02", self.address.port()); // 02: SYN_SENT
        std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&peer)
    }

    /// Makes room for one.
    pub(crate) fn accept(&self) -> socket2::Socket {
        self.listener.accept().unwrap().0
    }
}

/// A plain `GET /` that expects 200 to 299.
pub(crate) fn http() -> HttpProbe {
    HttpProbe::get()
}

pub(crate) fn request(target: SocketAddr, kind: ProbeKind, timeout: Duration) -> ProbeRequest {
    ProbeRequest {
        ticket: Ticket::new(0, 0),
        probe: Arc::new(Probe { target, egress: Egress::default(), kind }),
        timeout,
        due: clock(),
        slow: false,
        expected: None,
    }
}

pub(crate) fn config(request: &ProbeRequest) -> Config {
    let timing = Timing { timeout: request.timeout, ..Timing::default() };
    Config { checks: vec![Check { probe: request.probe.clone(), timing }], ..Config::default() }
}

/// One run in this thread. Panics if the run comes back later than its time allows.
pub(crate) fn run(target: SocketAddr, kind: ProbeKind, timeout: Duration) -> ProbeOutcome {
    let request = request(target, kind, timeout);
    let prober = Prober::new(&config(&request)).unwrap_or_else(|faults| panic!("{faults:?}"));
    let begun = clock();
    let outcome = prober.run(&request);
    let took = begun.elapsed();
    assert!(took <= timeout + LATE, "{took:?} for a run of {timeout:?}: {outcome:?}");
    outcome
}

#[track_caller]
pub(crate) fn passes(outcome: &ProbeOutcome, detail: &str) {
    assert!(outcome.passed, "{outcome:?}");
    assert_eq!(outcome.detail, detail);
}

#[track_caller]
pub(crate) fn fails(outcome: &ProbeOutcome, detail: &str) {
    assert!(!outcome.passed, "{outcome:?}");
    assert_eq!(outcome.detail, detail);
}

/// Holds for a test what others would suffer from: all tests that look for echo replies get those of every other one.
/// Alone for one that has very many of them. Tests may be processes of their own.
pub(crate) fn echoes(alone: bool) -> File {
    let file = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("echoes")).unwrap();
    if alone { file.lock() } else { file.lock_shared() }.unwrap();
    file
}

/// The threads of hooks have the same names in all tests, which may be of one process: who counts them has the stage alone.
pub(crate) enum Turn {
    Shared { _held: RwLockReadGuard<'static, ()> },
    Alone { _held: RwLockWriteGuard<'static, ()> },
}

static STAGE: RwLock<()> = RwLock::new(());

impl Turn {
    pub(crate) fn shared() -> Turn {
        Turn::Shared { _held: STAGE.read().unwrap_or_else(PoisonError::into_inner) }
    }

    pub(crate) fn alone() -> Turn {
        let held = STAGE.write().unwrap_or_else(PoisonError::into_inner);
        eventually("the others' threads are gone", || threads("hook-") + threads("data-plane") == 0);
        Turn::Alone { _held: held }
    }
}

/// Threads of this process, by the beginning of their names.
pub(crate) fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default().starts_with(name)).count()
}

/// Waits for something to become true.
#[track_caller]
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline: Instant = clock() + PLENTY;
    while !done() {
        assert!(clock() < deadline, "never: {what}");
        thread::park_timeout(millis(2));
    }
}
