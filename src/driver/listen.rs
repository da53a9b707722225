//! A passive BGP speaker on sockets: accepts sessions and reports what the neighbours announce.
//!
//! One thread with a loop of its own, for any number of neighbours; a process may run several listeners. The protocol is
//! [`bgp::receiver`](crate::bgp::receiver)'s.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use super::{clock, wall_clock};
use crate::bgp::error::Notification;
use crate::bgp::receiver::{Action, Event, Options, Receiver};
use crate::timers::Deadlines;
use crate::wall::Timestamp;

/// What a neighbour did, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it was received.
    pub at: Timestamp,
    /// The neighbour's address.
    pub peer: IpAddr,
    /// The connection: counts from 1 in the order of acceptance.
    pub connection: u64,
    /// What it did.
    pub event: Event,
}

/// A running listener. Dropping it stops it.
#[derive(Debug)]
pub struct Listener {
    local_addr: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on `address` (port 0 picks one; `[::]` takes IPv4 as well) and hands every report to `sink`, on the
    /// listener's thread: while `sink` blocks, nothing else is done. It is dropped when the listener has stopped.
    ///
    /// # Errors
    /// The address cannot be bound, or the system lacks descriptors or threads.
    pub fn start(
        address: SocketAddr,
        options: Options,
        sink: impl FnMut(Report) + Send + 'static,
    ) -> io::Result<Listener> {
        let listener = bind(address)?;
        let local_addr = listener.local_addr()?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut turn = Loop {
            poll,
            listener: Some(listener),
            options,
            sink: Box::new(sink),
            neighbours: BTreeMap::new(),
            deadlines: Deadlines::new(),
            unread: BTreeSet::new(),
            accepted: 0,
        };
        let stopping = stop.clone();
        let thread = std::thread::Builder::new().name("listen".to_owned()).spawn(move || turn.run(&stopping))?;
        Ok(Listener { local_addr, stop, waker, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Asks it to end all sessions with Cease/Administrative Shutdown and to stop. Does not wait: dropping does.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // A waker fails only if its loop is gone, and then there is nothing to wake.
        let _ = self.waker.wake();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic in the sink has been printed already.
            let _ = thread.join();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        // A kernel without IPv6 has only one meaning for "any address".
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
            return bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())));
        }
        socket => socket?,
    };
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

const LISTENER: Token = Token(0);
const WAKER: Token = Token(usize::MAX);

/// So many connections at once; more are closed at the door.
const MAX_NEIGHBOURS: usize = 1024;
/// What one neighbour may have read in one turn.
const READ_PER_TURN: usize = 256 * 1024;
/// A peer that has been told goodbye gets so long to read it.
const LINGER: Duration = Duration::from_secs(1);

struct Loop {
    poll: Poll,
    /// `None` once stopping.
    listener: Option<TcpListener>,
    options: Options,
    sink: Box<dyn FnMut(Report) + Send>,
    neighbours: BTreeMap<u64, Neighbour>,
    deadlines: Deadlines<u64>,
    /// Neighbours with more to read than one turn allows.
    unread: BTreeSet<u64>,
    accepted: u64,
}

struct Neighbour {
    stream: TcpStream,
    peer: IpAddr,
    receiver: Receiver,
    /// Not with the kernel yet. A few messages at most: nobody sends routes here.
    unsent: Vec<u8>,
    /// The session is over; the socket goes when the peer closes its end too, or then.
    closing: Option<Instant>,
    gone: bool,
}

impl Loop {
    fn run(&mut self, stop: &AtomicBool) {
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if stop.load(Ordering::Acquire) && self.listener.take().is_some() {
                self.goodbye();
            }
            if self.listener.is_none() && self.neighbours.is_empty() {
                return;
            }
            if let Err(error) = self.poll.poll(&mut events, self.timeout()) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                // No loop without its poll; what is lost is a listener whose system is out of order.
                return;
            }
            let mut ready = std::mem::take(&mut self.unread);
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    Token(id) => drop(ready.insert(id as u64)),
                }
            }
            for id in ready {
                self.with(id, |neighbour, now| {
                    neighbour.flush(now);
                    neighbour.read(now, &mut buffer)
                });
            }
            let now = clock();
            while let Some(id) = self.deadlines.expire(now) {
                self.with(id, |neighbour, now| {
                    neighbour.receiver.handle_timeout(now);
                    neighbour.gone |= neighbour.closing.is_some_and(|at| at <= now);
                    false
                });
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        // Waking early would mean turning until the deadline: up to the next millisecond, which is what poll counts in.
        self.deadlines.earliest().map(|at| at.saturating_duration_since(clock()) + Duration::from_millis(1))
    }

    fn accept(&mut self) {
        while let Some(listener) = &self.listener {
            // Would block, or an error of that one connection, or out of descriptors: the next arrival, or the next
            // departure, comes back here.
            let (mut stream, remote) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => return,
            };
            if self.neighbours.len() >= MAX_NEIGHBOURS {
                continue;
            }
            self.accepted += 1;
            let id = self.accepted;
            let Ok(token) = usize::try_from(id) else { return };
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, Token(token), interest).is_err() {
                continue;
            }
            let _ = stream.set_nodelay(true);
            let receiver = Receiver::new(clock(), &self.options, id);
            let peer = remote.ip().to_canonical();
            let neighbour = Neighbour { stream, peer, receiver, unsent: Vec::new(), closing: None, gone: false };
            self.neighbours.insert(id, neighbour);
            self.with(id, |_, _| false);
        }
    }

    fn goodbye(&mut self) {
        let ids: Vec<_> = self.neighbours.keys().copied().collect();
        for id in ids {
            self.with(id, |neighbour, now| {
                let notification = Notification::administrative_shutdown("listener stopped");
                neighbour.receiver.stop(now, notification, "listener stopped");
                false
            });
        }
    }

    /// Does something with one neighbour, and then all that follows from it. `act` says whether there is more to read.
    fn with(&mut self, id: u64, act: impl FnOnce(&mut Neighbour, Instant) -> bool) {
        let Some(neighbour) = self.neighbours.get_mut(&id) else { return };
        let clocks = (clock(), wall_clock());
        let now = clocks.0;
        if act(neighbour, now) {
            self.unread.insert(id);
        }
        while let Some(action) = neighbour.receiver.poll_action() {
            match action {
                Action::Send(bytes) => {
                    neighbour.unsent.extend(bytes);
                    neighbour.flush(now);
                }
                Action::Report(event) => {
                    if matches!(event, Event::Closed { .. }) {
                        neighbour.closing = Some(now + LINGER);
                        neighbour.flush(now);
                    }
                    (self.sink)(Report { at: clocks.1.timestamp(now), peer: neighbour.peer, connection: id, event });
                }
            }
        }
        if neighbour.gone {
            self.neighbours.remove(&id);
            self.deadlines.set(id, None);
            self.accept();
        } else {
            self.deadlines.set(id, neighbour.closing.or_else(|| neighbour.receiver.poll_timeout()));
        }
    }
}

impl Neighbour {
    /// Reads what there is, up to a turn's worth; true when there may be more. Of a session that is over nothing is
    /// heeded, but it must be read: closing with octets unread would reset the connection and take our NOTIFICATION along.
    fn read(&mut self, now: Instant, buffer: &mut [u8]) -> bool {
        let mut left = READ_PER_TURN;
        while left > 0 && !self.gone {
            match self.stream.read(buffer) {
                Ok(0) => self.lost(now, None),
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.receiver.receive(now, buffer.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.lost(now, Some(error.to_string())),
            }
        }
        !self.gone
    }

    fn flush(&mut self, now: Instant) {
        while !self.unsent.is_empty() && !self.gone {
            match self.stream.write(&self.unsent) {
                Ok(count) => {
                    self.unsent.drain(..count);
                    self.receiver.sent(now, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Reading tells why, and whether a NOTIFICATION came before.
                Err(_) => return self.unsent.clear(),
            }
        }
        if self.closing.is_some() {
            // Fails only when the connection is gone already.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    fn lost(&mut self, now: Instant, error: Option<String>) {
        self.gone = true;
        self.receiver.closed(now, error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::cause::Cause;
    use crate::bgp::message::{Inbox, Message};
    use crate::bgp::open::{Capability, Open};
    use crate::config::{Asn, HoldTime};
    use crate::prefix::Family;
    use crossbeam_channel::{Receiver as Reports, unbounded};
    use std::net::TcpStream as Tcp;

    const LIMIT: Duration = Duration::from_secs(20);

    fn start(address: &str) -> (Listener, Reports<Report>) {
        let (sink, reports) = unbounded();
        let listener = Listener::start(address.parse().unwrap(), Options::default(), move |report| {
            sink.send(report).unwrap();
        });
        (listener.unwrap(), reports)
    }

    /// A neighbour up to Established, and what it received after the OPENs.
    fn neighbour(address: SocketAddr, router_id: u8) -> (Tcp, Inbox) {
        let mut tcp = Tcp::connect(address).unwrap();
        tcp.set_read_timeout(Some(LIMIT)).unwrap();
        let mut bytes = vec![];
        let open = Open {
            asn: Asn(65_001),
            hold_time: HoldTime::OFF,
            router_id: Ipv4Addr::new(10, 0, 0, router_id),
            capabilities: vec![Capability::Multiprotocol(Family::Ipv4), Capability::FourOctetAs(Asn(65_001))],
        };
        Message::Open(open).encode(&mut bytes);
        Message::Keepalive.encode(&mut bytes);
        tcp.write_all(&bytes).unwrap();
        let mut inbox = Inbox::default();
        assert!(matches!(next(&mut tcp, &mut inbox), Some(Message::Open(_))));
        assert_eq!(next(&mut tcp, &mut inbox), Some(Message::Keepalive));
        (tcp, inbox)
    }

    /// The next message, `None` at the end of the connection.
    fn next(tcp: &mut Tcp, inbox: &mut Inbox) -> Option<Message> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = inbox.next().unwrap() {
                return Some(message);
            }
            match tcp.read(&mut buffer).unwrap() {
                0 => return None,
                count => inbox.push(&buffer[..count]),
            }
        }
    }

    #[test]
    fn many_neighbours_of_both_families_on_one_socket() {
        let (listener, reports) = start("[::]:0");
        let port = listener.local_addr().port();
        let mut neighbours = vec![];
        for (id, address) in [(1, "127.0.0.1"), (2, "::1"), (3, "127.0.0.1")] {
            neighbours.push(neighbour(SocketAddr::new(address.parse().unwrap(), port), id));
            let report = reports.recv_timeout(LIMIT).unwrap();
            assert!(matches!(report.event, Event::Established(_)));
            assert_eq!((report.peer.to_string().as_str(), report.connection), (address, id.into()));
        }
        // One goes, the others stay.
        drop(neighbours.pop());
        let report = reports.recv_timeout(LIMIT).unwrap();
        assert_eq!((report.connection, report.event), (3, Event::Closed { cause: Cause::Closed(None), routes: 0 }));
        drop(listener);
        for (mut tcp, mut inbox) in neighbours {
            let Some(Message::Notification(cease)) = next(&mut tcp, &mut inbox) else { panic!("no NOTIFICATION") };
            assert_eq!(cease, Notification::administrative_shutdown("listener stopped"));
            assert_eq!(next(&mut tcp, &mut inbox), None);
        }
        assert_eq!(reports.iter().map(|report| report.connection).collect::<Vec<_>>(), [1, 2]);
        Tcp::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    }

    #[test]
    fn a_notification_arrives_although_octets_are_still_coming() {
        let (listener, _reports) = start("127.0.0.1:0");
        let (mut tcp, mut inbox) = neighbour(listener.local_addr(), 1);
        let mut bytes = vec![];
        Message::Update(vec![0, 0, 0, 0, 33, 1, 2, 3, 4, 5]).encode(&mut bytes);
        // More than one turn reads: a socket closed with these unread is reset, and the reset may swallow the NOTIFICATION.
        // No more than a busy machine reads while a connection lingers.
        let mut keepalive = vec![];
        Message::Keepalive.encode(&mut keepalive);
        bytes.extend(keepalive.repeat(40_000));
        tcp.write_all(&bytes).unwrap();
        let notification = Message::Notification(Notification::invalid_network_field());
        assert_eq!(next(&mut tcp, &mut inbox), Some(notification));
        assert_eq!(next(&mut tcp, &mut inbox), None);
    }

    #[test]
    fn two_listeners_do_not_share_an_address() {
        let (listener, _reports) = start("127.0.0.1:0");
        let error = Listener::start(listener.local_addr(), Options::default(), |_| {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
