//! Where routers connect to us: listening sockets, with the passwords of those who may come.
//!
//! A socket that cannot be had is tried again and again; those that can work meanwhile. None listens with less
//! protection than was asked for: when a password cannot be set, its socket is closed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::dial::{describe, name, prepare_listener};
use super::status::ListenLine;
use super::sys;
use crate::config::{Bgp, Peer, Secret};
use crate::prefix::{Family, Prefix};

/// Connections taken from one socket in one turn: a flood of them must not keep sessions or timers waiting.
const ACCEPT_SHARE: usize = 16;
/// Handshakes that wait for a turn.
const BACKLOG: i32 = 128;
/// Between two attempts at a socket that cannot be had, and when the system has nothing left for one more connection.
const RETRY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// What changed, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It listens.
    Opened(SocketAddr),
    /// It does not, or takes no connections at the moment, and why.
    Failed(SocketAddr, String),
    /// It is no longer wanted.
    Closed(SocketAddr),
}

/// What is asked of those who come to one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    /// TCP-MD5 (RFC 2385).
    secrets: BTreeMap<Prefix, Secret>,
    /// TTL security (RFC 5082), as far as it is asked of everybody; 0 for none. The rest is the connection's own.
    least_ttl: u8,
}

struct Door {
    rules: Rules,
    open: Option<Open>,
    /// Why it is not open, or takes nobody in.
    error: Option<String>,
}

struct Open {
    listener: TcpListener,
    token: usize,
    /// Readiness is told once: it holds until there is nobody left.
    ready: bool,
    paused_until: Option<Instant>,
}

/// All listening sockets.
pub(super) struct Doors {
    registry: Registry,
    doors: BTreeMap<SocketAddr, Door>,
    next_token: usize,
    retry_at: Option<Instant>,
    changes: Vec<Change>,
}

impl Doors {
    /// Tokens count down from the largest and are never used twice.
    pub(super) fn new(registry: Registry) -> Doors {
        let next_token = usize::MAX - 1;
        Doors { registry, doors: BTreeMap::new(), next_token, retry_at: None, changes: Vec::new() }
    }

    /// Opens and closes what a configuration asks for. Connections that are made already are not touched.
    pub(super) fn configure(&mut self, now: Instant, bgp: Option<&Bgp>) {
        let wanted: Vec<SocketAddr> = bgp.map(|bgp| bgp.listen.clone()).unwrap_or_default();
        let unwanted: Vec<SocketAddr> = self.doors.keys().filter(|at| !wanted.contains(at)).copied().collect();
        for address in unwanted {
            self.close(address);
            self.doors.remove(&address);
            self.changes.push(Change::Closed(address));
        }
        for address in wanted {
            let rules = bgp.map(|bgp| Rules::new(bgp, address)).unwrap_or_default();
            let door =
                self.doors.entry(address).or_insert_with(|| Door { rules: rules.clone(), open: None, error: None });
            let before = std::mem::replace(&mut door.rules, rules);
            let Some(open) = &mut door.open else {
                self.open(address);
                continue;
            };
            if before != door.rules {
                match apply(open, address, &before, &door.rules) {
                    Ok(()) => open.turn_all_away(),
                    Err(error) => {
                        self.close(address);
                        self.fail(address, error);
                    }
                }
            }
        }
        self.plan_retry(now);
    }

    /// Tries again what could not be had.
    pub(super) fn retry(&mut self, now: Instant) {
        if self.retry_at.is_none_or(|at| at > now) {
            return;
        }
        let closed: Vec<SocketAddr> =
            self.doors.iter().filter(|(_, door)| door.open.is_none()).map(|(at, _)| *at).collect();
        closed.into_iter().for_each(|address| self.open(address));
        self.retry_at = None;
        self.plan_retry(now);
    }

    /// Closes all.
    pub(super) fn close_all(&mut self) {
        let all: Vec<SocketAddr> = self.doors.keys().copied().collect();
        all.into_iter().for_each(|address| self.close(address));
        self.doors.clear();
        self.retry_at = None;
    }

    /// What changed since this was last asked.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// The kernel says that somebody is at a door; false when this token is none of ours.
    pub(super) fn notify(&mut self, Token(token): Token) -> bool {
        let open = self.doors.values_mut().filter_map(|door| door.open.as_mut()).find(|open| open.token == token);
        open.map(|open| open.ready = true).is_some() || token > self.next_token
    }

    /// Whether there is somebody to let in without waiting.
    pub(super) fn has_work(&self) -> bool {
        self.doors.values().filter_map(|door| door.open.as_ref()).any(|open| open.ready && open.paused_until.is_none())
    }

    /// When [`retry`](Self::retry) or [`accept`](Self::accept) has work without a sign from the kernel.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let pauses = self.doors.values().filter_map(|door| door.open.as_ref()?.paused_until);
        self.retry_at.into_iter().chain(pauses).min()
    }

    /// Everybody who may come in this turn.
    pub(super) fn accept(&mut self, now: Instant) -> Vec<(TcpStream, SocketAddr)> {
        let mut arrived = Vec::new();
        for (address, door) in &mut self.doors {
            let Some(open) = &mut door.open else { continue };
            open.paused_until = open.paused_until.filter(|at| *at > now);
            let mut share = if open.paused_until.is_some() { 0 } else { ACCEPT_SHARE };
            while open.ready && share > 0 {
                share -= 1;
                match open.listener.accept() {
                    Ok(one) => {
                        door.error = None;
                        arrived.push(one);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => open.ready = false,
                    Err(error) if is_want(&error) => {
                        open.paused_until = Some(now + PAUSE);
                        let error = format!("takes no connections: {}", describe(&error));
                        if door.error.as_ref() != Some(&error) {
                            self.changes.push(Change::Failed(*address, error.clone()));
                            door.error = Some(error);
                        }
                        break;
                    }
                    // Of that one connection, which is gone.
                    Err(_) => {}
                }
            }
        }
        arrived
    }

    /// How each is, for `herald status`.
    pub(super) fn lines(&self) -> Vec<ListenLine> {
        let line = |(address, door): (&SocketAddr, &Door)| ListenLine {
            address: address.to_string(),
            ok: door.error.is_none(),
            error: door.error.clone(),
        };
        self.doors.iter().map(line).collect()
    }

    fn open(&mut self, address: SocketAddr) {
        let Some(door) = self.doors.get_mut(&address) else { return };
        let token = self.next_token;
        let opened = listen(address, &door.rules).and_then(|mut listener| {
            self.registry
                .register(&mut listener, Token(token), Interest::READABLE)
                .map_err(|error| describe(&error))?;
            Ok(listener)
        });
        match opened {
            Ok(listener) => {
                self.next_token -= 1;
                door.open = Some(Open { listener, token, ready: false, paused_until: None });
                door.error = None;
                self.changes.push(Change::Opened(address));
            }
            Err(error) => self.fail(address, error),
        }
    }

    /// Told when it is new.
    fn fail(&mut self, address: SocketAddr, error: String) {
        let Some(door) = self.doors.get_mut(&address) else { return };
        if door.error.as_ref() != Some(&error) {
            self.changes.push(Change::Failed(address, error.clone()));
        }
        door.error = Some(error);
    }

    fn close(&mut self, address: SocketAddr) {
        if let Some(mut open) = self.doors.get_mut(&address).and_then(|door| door.open.take()) {
            // The descriptor is closed right after: a failure leaves nothing behind.
            let _gone_anyway = self.registry.deregister(&mut open.listener);
        }
    }

    fn plan_retry(&mut self, now: Instant) {
        let is_missing = self.doors.values().any(|door| door.open.is_none());
        self.retry_at = is_missing.then(|| self.retry_at.unwrap_or(now + RETRY));
    }
}

impl Rules {
    /// Those of everybody who may come to this address.
    fn new(bgp: &Bgp, address: SocketAddr) -> Rules {
        let one = |peer: &Peer| (Prefix::host(peer.session.address), peer.session.clone());
        let exact = bgp.peers.iter().map(|peer| one(peer));
        let ranges = bgp.ranges.iter().map(|range| (range.prefix, range.template.session.clone()));
        let here = exact.chain(ranges).filter(|(prefix, session)| {
            let is_for = |source| address.ip().is_unspecified() || source == address.ip();
            let family = Family::of(address.ip());
            session.mode.accepts() && prefix.family() == family && session.source.is_none_or(is_for)
        });
        let mut rules = Rules::default();
        let mut least = None;
        for (prefix, session) in here {
            let ttl = session.transport.reach.least_received_ttl().unwrap_or(0);
            least = Some(least.map_or(ttl, |least: u8| least.min(ttl)));
            let secret = session.transport.password.and_then(|password| password.secret);
            rules.secrets.extend(secret.map(|secret| (prefix, secret)));
        }
        rules.least_ttl = least.unwrap_or(0);
        rules
    }
}

impl Open {
    /// Who came in before the rules changed has not been held to them.
    fn turn_all_away(&mut self) {
        let mut left = BACKLOG + 1;
        while left > 0 && self.listener.accept().is_ok() {
            left -= 1;
        }
        self.ready = true;
    }
}

/// A socket that listens, or why there is none.
fn listen(address: SocketAddr, rules: &Rules) -> Result<TcpListener, String> {
    let plain = |error: io::Error| describe(&error);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))
        .map_err(plain)?;
    if address.is_ipv6() {
        socket.set_only_v6(true).map_err(plain)?;
    }
    // Connections of a daemon that was here before may linger.
    socket.set_reuse_address(true).map_err(plain)?;
    prepare_listener(&socket, address).map_err(plain)?;
    hold_to(&socket, address, &Rules::default(), rules).map_err(plain)?;
    socket.bind(&SockAddr::from(address)).map_err(|error| explain(address, &error))?;
    socket.listen(BACKLOG).map_err(|error| explain(address, &error))?;
    Ok(TcpListener::from_std(socket.into()))
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    let words = describe(error);
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "{words}: for port {} the daemon needs CAP_NET_BIND_SERVICE (AmbientCapabilities= of its unit)",
            address.port()
        ),
        io::ErrorKind::AddrInUse => format!("{words}: another program, perhaps another BGP daemon, listens there"),
        _ => words,
    }
}

fn apply(open: &Open, address: SocketAddr, before: &Rules, rules: &Rules) -> Result<(), String> {
    hold_to(&open.listener, address, before, rules).map_err(|error| describe(&error))
}

/// Makes the kernel hold those who come to other rules than before.
fn hold_to(socket: &impl std::os::fd::AsFd, address: SocketAddr, before: &Rules, rules: &Rules) -> io::Result<()> {
    for prefix in before.secrets.keys().filter(|prefix| !rules.secrets.contains_key(prefix)) {
        sys::set_tcp_md5(socket, prefix, None).map_err(|error| name(format_args!("TCP-MD5 of {prefix}"), &error))?;
    }
    for (prefix, secret) in rules.secrets.iter().filter(|(prefix, secret)| before.secrets.get(prefix) != Some(secret)) {
        sys::set_tcp_md5(socket, prefix, Some(secret))
            .map_err(|error| name(format_args!("TCP-MD5 of {prefix}"), &error))?;
    }
    if before.least_ttl != rules.least_ttl {
        sys::set_least_received_ttl(socket, address.ip(), rules.least_ttl)
            .map_err(|error| name("TTL security", &error))?;
    }
    Ok(())
}

/// Whether the system has run out of something, which it may have again later.
fn is_want(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// At the start an address that cannot be listened on is an error: somebody is there to see it.
pub(super) fn refuse_failed(listen: &[ListenLine]) -> io::Result<()> {
    let failed =
        listen.iter().filter_map(|line| Some(format!("cannot listen on {}: {}", line.address, line.error.as_ref()?)));
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("; "))) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as Tcp;

    use mio::{Events, Poll};

    use super::*;
    use crate::config::Asn;

    fn bgp(listen: &[SocketAddr]) -> Bgp {
        let router_id = [10, 0, 0, 1].into();
        Bgp { local_as: Asn(65001), router_id, peers: Vec::new(), ranges: Vec::new(), listen: listen.to_vec() }
    }

    /// An address that nothing listens on.
    fn free() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn what_cannot_be_had_is_tried_again_and_the_rest_works() {
        let mut poll = Poll::new().unwrap();
        let mut doors = Doors::new(poll.registry().try_clone().unwrap());
        let squatter = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (taken, good) = (squatter.local_addr().unwrap(), free());
        let now = crate::driver::clock();
        doors.configure(now, Some(&bgp(&[taken, good])));
        let why = "address already in use: another program, perhaps another BGP daemon, listens there".to_owned();
        let mut changes = doors.take_changes();
        changes.sort_by_key(|change| matches!(change, Change::Opened(_)));
        assert_eq!(changes, [Change::Failed(taken, why.clone()), Change::Opened(good)]);
        assert_eq!(doors.lines().iter().filter(|line| line.ok).count(), 1);

        let _caller = Tcp::connect(good).unwrap();
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
        assert!(events.iter().all(|event| doors.notify(event.token())) && doors.has_work());
        assert_eq!(doors.accept(now).len(), 1);
        assert!(!doors.has_work() && !doors.notify(Token(3)));

        // Told once, and tried until it can be had.
        let later = doors.deadline().unwrap();
        assert_eq!(later, now + RETRY);
        doors.retry(later);
        assert_eq!((doors.take_changes(), doors.deadline()), (vec![], Some(later + RETRY)));
        drop(squatter);
        doors.retry(later + RETRY);
        assert_eq!((doors.take_changes(), doors.deadline()), (vec![Change::Opened(taken)], None));
        doors.configure(now, Some(&bgp(&[taken])));
        assert_eq!(doors.take_changes(), [Change::Closed(good)]);
        Tcp::connect(good).unwrap_err();
        doors.close_all();
        Tcp::connect(taken).unwrap_err();
    }

    #[test]
    fn a_flood_takes_turns() {
        let poll = Poll::new().unwrap();
        let mut doors = Doors::new(poll.registry().try_clone().unwrap());
        let (address, now) = (free(), crate::driver::clock());
        doors.configure(now, Some(&bgp(&[address])));
        let callers: Vec<Tcp> = (0..ACCEPT_SHARE + 3).map(|_| Tcp::connect(address).unwrap()).collect();
        doors.notify(Token(usize::MAX - 1));
        assert_eq!((doors.accept(now).len(), doors.has_work()), (ACCEPT_SHARE, true));
        assert_eq!((doors.accept(now).len(), doors.has_work()), (3, false));
        drop(callers);
    }
}
