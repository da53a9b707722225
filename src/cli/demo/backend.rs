//! A small HTTP server to be killed and started again.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Answers every request with `200 OK` on one loopback port, until it is killed.
#[derive(Debug)]
pub(super) struct Backend {
    address: SocketAddr,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// A client that says nothing for so long is not a health check.
const PATIENCE: Duration = Duration::from_millis(500);
/// Octets of a request that are read.
const LONGEST_REQUEST: u64 = 8192;

impl Backend {
    /// On a port of the system's choice.
    pub(super) fn start() -> io::Result<Backend> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut backend = Backend { address: listener.local_addr()?, running: None };
        backend.serve(listener)?;
        Ok(backend)
    }

    /// Where it listens, running or not.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Back again, on the same port.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.serve(TcpListener::bind(self.address)?)
    }

    fn serve(&mut self, listener: TcpListener) -> io::Result<()> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("demo-backend".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return; // and the port is closed: from now on the kernel refuses
                }
                // What goes wrong with one client is that client's problem.
                let _ = stream.and_then(answer);
            }
        })?;
        self.running = Some(Running { stop, thread });
        Ok(())
    }

    /// Dead at once: connections are refused from the moment this returns.
    pub(super) fn kill(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.stop.store(true, Ordering::Relaxed);
        // The thread sits in accept(); a last visitor lets it see the flag.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
        let _ = running.thread.join();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?.take(LONGEST_REQUEST));
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line != "\r\n" {
        line.clear();
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
}
