//! Servers of datagrams that follow a script.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::millis;

/// A UDP socket and what is done with each datagram; ends when dropped.
pub(crate) struct Datagrams {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One datagram that came, and the way back.
pub(crate) struct Letter<'l> {
    pub(crate) octets: &'l [u8],
    pub(crate) from: SocketAddr,
    socket: &'l UdpSocket,
    stop: &'l AtomicBool,
}

impl Letter<'_> {
    /// Answers, as the server.
    pub(crate) fn answer(&self, octets: impl AsRef<[u8]>) {
        self.socket.send_to(octets.as_ref(), self.from).unwrap();
    }

    /// Answers from another port.
    pub(crate) fn answer_by(&self, socket: &UdpSocket, octets: impl AsRef<[u8]>) {
        socket.send_to(octets.as_ref(), self.from).unwrap();
    }

    /// False when the server shall stop.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        thread::park_timeout(time);
        !self.stop.load(Ordering::SeqCst)
    }
}

impl Datagrams {
    pub(crate) fn start(bind: &str, mut script: impl FnMut(&Letter<'_>) + Send + 'static) -> Datagrams {
        let socket = UdpSocket::bind(bind).unwrap();
        socket.set_read_timeout(Some(millis(20))).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while !stopped.load(Ordering::SeqCst) {
                if let Ok((count, from)) = socket.recv_from(&mut buffer) {
                    script(&Letter { octets: &buffer[..count], from, socket: &socket, stop: &stopped });
                }
            }
        });
        Datagrams { address, stop, thread: Some(thread) }
    }

    /// On 127.0.0.1.
    pub(crate) fn v4(script: impl FnMut(&Letter<'_>) + Send + 'static) -> Datagrams {
        Datagrams::start("127.0.0.1:0", script)
    }

    /// Takes what comes, and says nothing.
    pub(crate) fn silent() -> Datagrams {
        Datagrams::v4(|_| {})
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let failed = thread.join().is_err();
            assert!(!failed || thread::panicking(), "the scripted server panicked");
        }
    }
}

/// A port of UDP where nobody listens: it is ours, but connected elsewhere, so that what comes is refused.
pub(crate) fn closed_port(bind: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(bind).unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(SocketAddr::new(address.ip(), 9)).unwrap();
    (socket, address)
}
