//! Where connections come in.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::driver::status::ListenLine;

/// After a failure.
const AGAIN: Duration = Duration::from_secs(5);

/// One address.
struct Door {
    listener: Option<TcpListener>,
    token: Token,
    error: Option<String>,
}

/// All of them.
pub(super) struct Doors {
    registry: Registry,
    doors: BTreeMap<SocketAddr, Door>,
    next_token: usize,
    try_at: Option<Instant>,
}

/// A listener, or the system's word.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Doors {
    pub(super) fn new(registry: Registry, first_token: usize) -> Doors {
        Doors { registry, doors: BTreeMap::new(), next_token: first_token, try_at: None }
    }

    /// Opens what has been bound already.
    pub(super) fn open(&mut self, address: SocketAddr, listener: std::net::TcpListener) -> io::Result<()> {
        let mut listener = TcpListener::from_std(listener);
        let token = Token(self.next_token);
        self.next_token += 1;
        self.registry.register(&mut listener, token, Interest::READABLE)?;
        self.doors.insert(address, Door { listener: Some(listener), token, error: None });
        Ok(())
    }

    /// These and no others; says what failed and what has opened after a failure.
    pub(super) fn configure(&mut self, now: Instant, addresses: &[SocketAddr]) -> Vec<(SocketAddr, Option<String>)> {
        self.doors.retain(|address, _| addresses.contains(address));
        for address in addresses.iter().filter(|address| !self.doors.contains_key(address)).collect::<Vec<_>>() {
            self.doors.insert(*address, Door { listener: None, token: Token(0), error: None });
        }
        self.try_again(now)
    }

    /// When [`try_again`](Self::try_again) has work.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.try_at
    }

    pub(super) fn try_again(&mut self, now: Instant) -> Vec<(SocketAddr, Option<String>)> {
        let closed: Vec<SocketAddr> =
            self.doors.iter().filter(|(_, door)| door.listener.is_none()).map(|(address, _)| *address).collect();
        let mut news = Vec::new();
        self.try_at = None;
        for address in closed {
            match bind(address).and_then(|listener| self.open(address, listener)) {
                Ok(()) => news.push((address, None)),
                Err(error) => {
                    self.try_at = Some(now + AGAIN);
                    let error = words(&error);
                    if let Some(door) = self.doors.get_mut(&address)
                        && door.error.as_ref() != Some(&error)
                    {
                        door.error = Some(error.clone());
                        news.push((address, Some(error)));
                    }
                }
            }
        }
        news
    }

    /// Somebody who is at this door.
    pub(super) fn accept(&mut self, token: Token) -> io::Result<TcpStream> {
        let door = self.doors.values().find(|door| door.token == token);
        let listener = door.and_then(|door| door.listener.as_ref()).ok_or(io::ErrorKind::WouldBlock)?;
        listener.accept().map(|(stream, _)| stream)
    }

    pub(super) fn has(&self, token: Token) -> bool {
        self.doors.values().any(|door| door.token == token)
    }

    pub(super) fn tokens(&self) -> Vec<Token> {
        self.doors.values().map(|door| door.token).collect()
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.doors.keys().copied()
    }

    pub(super) fn lines(&self) -> Vec<ListenLine> {
        let line = |(address, door): (&SocketAddr, &Door)| ListenLine {
            address: address.to_string(),
            ok: door.listener.is_some(),
            error: door.error.clone(),
        };
        self.doors.iter().map(line).collect()
    }
}

/// The system's word.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
