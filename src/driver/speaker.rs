//! A BGP speaker for other programs: any number of peers, and a set of routes that they shall have.
//!
//! [`Speaker`] is a handle; the work is done by a thread of its own, with the same sockets, timers and state machines as
//! the daemon's. What a program says is a level: which peers there are ([`Speaker::configure`]) and which routes
//! they shall have ([`Speaker::set_routes`], then [`Speaker::announce`] and [`Speaker::withdraw`]). Sessions come and go
//! by themselves, and each is sent what its router does not have yet. What happens is told as [`Event`]s.
//!
//! What of a peer may change while its session is up is a type of its own:
//! [`LiveParameters`](crate::config::LiveParameters). A change of its [`SessionParameters`](crate::config::SessionParameters)
//! needs another session, and [`Speaker::configure`] says when it makes one, and why.

mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::Waker;

use crate::bgp::peer::{self, Notice};
use crate::config::{self, Attributes};
use crate::prefix::Prefix;
use crate::wall::Timestamp;

pub use crate::bgp::speaker::PeerReload;

/// So many events may wait for [`Speaker::events`] to be read.
const EVENTS: usize = 4096;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// To a peer.
    Peer(Box<PeerEvent>),
    /// So many events were dropped, because nobody took those before them.
    Lost(u64),
}

/// What happened to a peer.
#[derive(Clone, Debug)]
pub struct PeerEvent {
    /// When.
    pub at: Timestamp,
    /// Which peer.
    pub peer: Arc<config::Peer>,
    /// What.
    pub notice: Notice,
    /// How the peer is after that; `None` once it has been removed.
    pub status: Option<peer::PeerStatus>,
}

/// A peer at a glance.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its configuration, and so its name.
    pub config: Arc<config::Peer>,
    /// How it is.
    pub status: peer::PeerStatus,
    /// It has a session, and everything that it shall be told has been handed to the kernel, End-of-RIB too.
    pub is_synchronised: bool,
}

/// Why a call did nothing.
#[derive(Debug, thiserror::Error)]
pub enum SpeakerError {
    /// It has been stopped.
    #[error("the speaker has stopped")]
    Stopped,
    /// The system did not let it go on, and it has stopped.
    #[error("the speaker has stopped: {0}")]
    System(io::Error),
    /// It has stopped, and a session was ended before its router had taken all withdrawals.
    #[error("a session was ended before its router had taken all withdrawals")]
    CutShort,
    /// There is no peer of this name.
    #[error("there is no peer {0:?}")]
    NoSuchPeer(String),
    /// Two peers have this name, or this address, zone, port and interface.
    #[error("peer {0:?} is there twice")]
    Duplicate(Arc<str>),
    /// No session can come of what this peer is configured with, and why.
    #[error("peer {0:?} {1}")]
    Invalid(Arc<str>, &'static str),
    /// There is no set of routes to change: [`Speaker::set_routes`] comes first.
    #[error("no routes have been set yet: set_routes comes before announce and withdraw")]
    NoRoutes,
}

/// What the handle asks its thread to do.
enum Command {
    Configure(Vec<Arc<config::Peer>>, Sender<Vec<(Arc<str>, PeerReload)>>),
    SetRoutes(BTreeMap<Prefix, Arc<Attributes>>),
    Set(Prefix, Option<Arc<Attributes>>),
    Refresh(Arc<str>, Sender<bool>),
    Advertised(Arc<str>, Sender<Option<Vec<Prefix>>>),
    Status(Sender<Vec<PeerStatus>>),
    /// `None` does not wait until the withdrawals are out.
    Stop(Option<String>),
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goodbye {
    /// Every router with a session had been told everything.
    Complete,
    /// Some had not.
    CutShort,
}

/// A running BGP speaker. May be shared between threads; no call waits for a router, but for [`stop`](Self::stop).
///
/// ```
/// use std::collections::BTreeMap;
/// use std::net::Ipv4Addr;
/// use std::sync::{Arc, mpsc};
/// use std::time::Duration;
///
/// use herald::Speaker;
/// use herald::bgp::receiver::{self, Options};
/// use herald::config::{Asn, Attributes, Peer, PeerAs, SessionParameters};
/// use herald::driver::listen::Listener;
/// use herald::driver::speaker::PeerReload;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A router for this example; yours is elsewhere, and on port 179.
/// let (tell, heard) = mpsc::channel();
/// let options = Options { local_as: Some(Asn(65000)), ..Options::default() };
/// let router = Listener::start("127.0.0.1:0".parse()?, options, move |report| drop(tell.send(report.event)))?;
///
/// let speaker = Speaker::start()?;
/// let session = SessionParameters {
///     port: router.local_addr().port(),
///     ..SessionParameters::new(router.local_addr().ip(), PeerAs::External, Asn(65001), Ipv4Addr::new(10, 0, 0, 1))
/// };
/// let mut peer = Peer::new("router", session);
/// speaker.configure(vec![peer.clone()])?;
/// speaker.set_routes(BTreeMap::from([("192.0.2.1/32".parse()?, Arc::default())]))?;
///
/// // The router has the route, then End-of-RIB, then what changes.
/// let mut next = || loop {
///     match heard.recv_timeout(Duration::from_secs(10)) {
///         Ok(receiver::Event::Announce(prefix, attributes)) => break Ok((prefix.to_string(), attributes.med)),
///         Ok(_) => {}
///         Err(error) => break Err(error),
///     }
/// };
/// assert_eq!(next()?, ("192.0.2.1/32".to_owned(), None));
/// speaker.announce("192.0.2.2/32".parse()?, Attributes { med: Some(10), ..Attributes::default() })?;
/// assert_eq!(next()?, ("192.0.2.2/32".to_owned(), Some(10)));
///
/// // What is live goes out on the session that there is; what is not needs another one.
/// peer.live.attributes.med = Some(5);
/// assert_eq!(speaker.configure(vec![peer])?, [("router".into(), PeerReload::Readvertised)]);
/// assert_eq!(next()?, ("192.0.2.1/32".to_owned(), Some(5)));
/// assert_eq!(speaker.status()?[0].status.established_count, 1);
///
/// speaker.stop("maintenance")?; // withdraws, and tells the router why
/// assert!(speaker.status().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Speaker {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    events: Receiver<Event>,
    /// The first [`set_routes`](Self::set_routes) has been called.
    has_routes: AtomicBool,
    thread: Mutex<Option<JoinHandle<io::Result<Goodbye>>>>,
}

impl Speaker {
    /// Starts one, with no peers and no routes.
    ///
    /// # Errors
    /// When the system has no thread or descriptor to spare.
    pub fn start() -> io::Result<Speaker> {
        let (commands, asked) = unbounded();
        let (tell, events) = bounded(EVENTS);
        let (work, waker) = work::Work::new(asked, tell)?;
        let thread = std::thread::Builder::new().name("speaker".to_owned()).spawn(move || work.run())?;
        let (has_routes, thread) = (AtomicBool::new(false), Mutex::new(Some(thread)));
        Ok(Speaker { commands, waker: Arc::new(waker), events, has_routes, thread })
    }

    /// These are the peers from now on, told apart by their names: new ones are added, those that are not among them
    /// end, and of the others the session is kept unless it cannot be. Says what happened to whom; who is not in the
    /// list was left alone.
    ///
    /// # Errors
    /// [`Duplicate`](SpeakerError::Duplicate) and [`Invalid`](SpeakerError::Invalid), and then nothing changes;
    /// [`Stopped`](SpeakerError::Stopped).
    pub fn configure(&self, peers: Vec<config::Peer>) -> Result<Vec<(Arc<str>, PeerReload)>, SpeakerError> {
        let (mut names, mut endpoints) = (BTreeSet::new(), BTreeSet::new());
        let mut taken = Vec::with_capacity(peers.len());
        for mut peer in peers {
            if !(names.insert(peer.name.clone()) && endpoints.insert(peer.endpoint())) {
                return Err(SpeakerError::Duplicate(peer.name));
            }
            if let Some(fault) = fault(&peer) {
                return Err(SpeakerError::Invalid(peer.name, fault));
            }
            peer.session.families.sort_unstable();
            peer.session.families.dedup();
            taken.push(Arc::new(peer));
        }
        self.ask(|reply| Command::Configure(taken, reply))
    }

    /// These are the routes from now on, and there are no others; each router is sent the difference. Routes flow after
    /// the first call and not before: it says that the set is complete, with which every session begins and which its
    /// End-of-RIB then ends, so that a router that held routes of an earlier life of the program (RFC 4724) drops just
    /// those that are not among them. A program that begins with no routes says so with an empty set.
    ///
    /// # Errors
    /// [`Stopped`](SpeakerError::Stopped).
    pub fn set_routes(&self, routes: BTreeMap<Prefix, Arc<Attributes>>) -> Result<(), SpeakerError> {
        self.send(Command::SetRoutes(routes))?;
        self.has_routes.store(true, Ordering::Release);
        Ok(())
    }

    /// This route shall be announced, with these attributes in the place of any before.
    ///
    /// # Errors
    /// [`NoRoutes`](SpeakerError::NoRoutes) before the first [`set_routes`](Self::set_routes);
    /// [`Stopped`](SpeakerError::Stopped).
    pub fn announce(&self, prefix: Prefix, attributes: impl Into<Arc<Attributes>>) -> Result<(), SpeakerError> {
        self.set(prefix, Some(attributes.into()))
    }

    /// This route shall not be announced.
    ///
    /// # Errors
    /// As [`announce`](Self::announce).
    pub fn withdraw(&self, prefix: Prefix) -> Result<(), SpeakerError> {
        self.set(prefix, None)
    }

    /// Sends a peer all of its routes once more, as if it had asked for them (RFC 2918). The speaker takes no routes, so
    /// it has none to ask for.
    ///
    /// # Errors
    /// [`NoSuchPeer`](SpeakerError::NoSuchPeer); [`Stopped`](SpeakerError::Stopped).
    pub fn refresh(&self, peer: &str) -> Result<(), SpeakerError> {
        let known = self.ask(|reply| Command::Refresh(peer.into(), reply))?;
        if known { Ok(()) } else { Err(SpeakerError::NoSuchPeer(peer.to_owned())) }
    }

    /// Every peer at a glance, after everything that was asked for before.
    ///
    /// # Errors
    /// [`Stopped`](SpeakerError::Stopped).
    pub fn status(&self) -> Result<Vec<PeerStatus>, SpeakerError> {
        self.ask(Command::Status)
    }

    /// The routes that a peer has been told of, and not of their withdrawal.
    ///
    /// # Errors
    /// [`NoSuchPeer`](SpeakerError::NoSuchPeer); [`Stopped`](SpeakerError::Stopped).
    pub fn advertised(&self, peer: &str) -> Result<Vec<Prefix>, SpeakerError> {
        let routes = self.ask(|reply| Command::Advertised(peer.into(), reply))?;
        routes.ok_or_else(|| SpeakerError::NoSuchPeer(peer.to_owned()))
    }

    /// What happens, in order. Nobody needs to read it: what does not fit any more is counted ([`Event::Lost`]) and
    /// dropped. Disconnected once the speaker has stopped and everything was read. Clones share what comes.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Withdraws all routes, waits until the routers have that (for some seconds at most), ends all sessions with
    /// Cease/Administrative Shutdown and this text (RFC 9003), and waits for the end of the thread.
    ///
    /// # Errors
    /// [`Stopped`](SpeakerError::Stopped) when it was stopped before, [`System`](SpeakerError::System) when it had ended by
    /// itself, and [`CutShort`](SpeakerError::CutShort) when a router was too slow: the end of its session must do.
    pub fn stop(&self, reason: &str) -> Result<(), SpeakerError> {
        self.end(Some(reason.to_owned()))
    }

    /// Does not wait for the withdrawals any more that [`stop`](Self::stop), on another thread, waits for.
    pub fn hurry(&self) {
        // When nobody takes it there is nothing to cut short.
        let _stopped = self.send(Command::Stop(None));
    }

    fn end(&self, reason: Option<String>) -> Result<(), SpeakerError> {
        // A thread that has ended by itself does not take it, and says why below.
        let _taken = self.send(Command::Stop(reason));
        // Not under the lock: another thread that stops it, too, gets its answer at once.
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread.ok_or(SpeakerError::Stopped)?.join() {
            Ok(Ok(Goodbye::Complete)) => Ok(()),
            Ok(Ok(Goodbye::CutShort)) => Err(SpeakerError::CutShort),
            Ok(Err(error)) => Err(SpeakerError::System(error)),
            Err(_panicked) => Err(SpeakerError::Stopped),
        }
    }

    fn set(&self, prefix: Prefix, wanted: Option<Arc<Attributes>>) -> Result<(), SpeakerError> {
        if !self.has_routes.load(Ordering::Acquire) {
            return Err(SpeakerError::NoRoutes);
        }
        self.send(Command::Set(prefix, wanted))
    }

    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, SpeakerError> {
        let (reply, answer) = bounded(1);
        self.send(command(reply))?;
        answer.recv().map_err(|_| SpeakerError::Stopped)
    }

    fn send(&self, command: Command) -> Result<(), SpeakerError> {
        self.commands.send(command).map_err(|_| SpeakerError::Stopped)?;
        // The eventfd of a waker can only be full of wakes.
        let _woken = self.waker.wake();
        Ok(())
    }
}

impl Drop for Speaker {
    /// Ends all sessions without a wait for withdrawals, which the end of a session is as well.
    fn drop(&mut self) {
        let _stopped_before_or_now = self.end(None);
    }
}

/// What no session can come of, and the types do not rule out.
fn fault(peer: &config::Peer) -> Option<&'static str> {
    let session = &peer.session;
    match () {
        () if session.families.is_empty() => Some("has no family"),
        () if session.router_id.is_unspecified() => Some("has the router ID 0.0.0.0 (RFC 6286 §2.1)"),
        () if session.local_as.0 == 0 => Some("has the local AS 0 (RFC 7607)"),
        // It connects, to an address: it neither listens nor looks for neighbours.
        () if session.mode.accepts() => Some("is to connect to us, and this speaker does not listen"),
        () if session.unnumbered => Some("has no address, and this speaker does not look for neighbours"),
        () => None,
    }
}

#[cfg(test)]
mod tests;
