//! An HTTP server that answers `/N` with 200 or 503 as told, and remembers when it gave a 503.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

pub struct Web {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    answered: AtomicUsize,
    healthy: Vec<AtomicBool>,
    refused_at: Vec<Mutex<Option<Instant>>>,
}

impl Web {
    pub fn start(paths: usize) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            answered: AtomicUsize::new(0),
            healthy: (0..paths).map(|_| AtomicBool::new(true)).collect(),
            refused_at: (0..paths).map(|_| Mutex::new(None)).collect(),
        });
        for _ in 0..4 {
            let (listener, state) = (listener.try_clone().unwrap(), state.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let _ = state.answer(stream);
                }
            });
        }
        Web { address, state }
    }

    pub fn set_healthy(&self, path: usize, healthy: bool) {
        *self.state.refused_at[path].lock().unwrap() = None;
        self.state.healthy[path].store(healthy, Ordering::SeqCst);
    }

    /// How many requests there have been.
    pub fn answered(&self) -> usize {
        self.state.answered.load(Ordering::SeqCst)
    }

    /// When the last answer of 503 was written.
    pub fn refused_at(&self, path: usize) -> Option<Instant> {
        *self.state.refused_at[path].lock().unwrap()
    }
}

impl State {
    fn answer(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer)?;
        self.answered.fetch_add(1, Ordering::SeqCst);
        let request = String::from_utf8_lossy(&buffer[..read]);
        let path = request.split(['/', ' ', '?']).nth(2).and_then(|path| path.parse::<usize>().ok()).unwrap_or(0);
        if self.healthy[path].load(Ordering::SeqCst) {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        // The check ends when this answer is there: the clock starts now.
        *self.refused_at[path].lock().unwrap() = Some(Instant::now());
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }
}
