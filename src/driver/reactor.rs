//! The event loop: readiness in, [`Input`]s to the engine, [`Output`]s to sockets and threads. It decides nothing, and
//! nothing that it does can block: no name is resolved, no file is read, no line is written here.
//!
//! A turn does a bounded amount of work, in this order: results of checks and what follows from them on the wire, what
//! other threads and signals ask for, connections, and timers last. A result or a KEEPALIVE that has arrived is so never
//! outrun by the deadline that it is for, however late the loop is.

mod census;
mod ground;
mod http;
mod listeners;
mod mail;
mod requests;
mod tables;
mod tasks;
mod ways;
mod workers;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::{Events, Poll, Token, Waker};

use super::connection::{Connections, READ_SHARE, Share};
use super::control::Control;
use super::dial::zone_of;
use super::doors::{self, Doors};
use super::glb::Writer;
use super::gobgp::ApiLink;
use super::hook::Hooks;
use super::http::{Http, Meters};
use super::keeper::{self, Keeper};
use super::links::{Links, Packet};
use super::load::Origin;
use super::netlink;
use super::notice::restart::Restart;
use super::notice::workers::Workers;
use super::notice::{Notice, Subjects};
use super::pools::{Pools, counted};
use super::probe::Prober;
use super::reload::{Loaded, Loader};
use super::scribe::Scribe;
use super::signal::Signals;
use super::state::ConfigState;
use super::timer::Timer;
use super::watch::Watcher;
use super::wires::{WireEvent, Wires};
use super::{clock, wall_clock};
use crate::bgp::peer::{self, State};
use crate::config::Config;
use crate::engine::saved::Saved;
use crate::engine::{self, Engine, Input, Output};
use crate::health::HealthEvent;
use crate::wall::Timestamp;
pub(crate) use http::Doorways;

use ground::Ground;
use mail::{Mail, poster, waking};
use tasks::Tasks;
use workers::Oversight;

const WAKE: Token = Token(0);
const TIMER: Token = Token(1);
const SIGNALS: Token = Token(2);
const GOBGP: Token = Token(3);
const WATCH: Token = Token(4);
const FIRST_CONNECTION: usize = 5;
/// No connection ever gets so far.
const FIRST_WIRE: usize = usize::MAX / 4;
/// And no tripwire.
const FIRST_LINK: usize = usize::MAX / 2;

/// The engine's next deadline is always later than the timeout that it has just handled. Should that ever be untrue, the
/// next one comes this much later: being late is better than a loop that takes a whole core.
const BREATH: Duration = Duration::from_millis(1);
/// How much longer than `shutdown_drain` and the longest `unbind_delay` a stop may take before it is cut short.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How far a stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// There is none.
    No,
    /// The engine withdraws; cut short at this time.
    Withdrawing(Instant),
    /// The engine is done; connections flush what is queued.
    Flushing,
    /// Now.
    Done,
}

/// Everything that the loop works with.
pub(crate) struct Reactor {
    poll: Poll,
    timer: Timer,
    signals: Signals,
    mailbox: Receiver<Mail>,
    mail: Sender<Mail>,
    waker: Arc<Waker>,
    engine: Engine,
    pools: Pools,
    hooks: Hooks,
    ground: Ground,
    oversight: Oversight,
    connections: Connections,
    gobgp: ApiLink,
    links: Links,
    wires: Wires,
    /// Tells of ways that change; `None` where the system does not let us hear of them.
    ways: Option<netlink::Watcher>,
    doors: Doors,
    control: Control,
    http: Http,
    meters: Arc<Meters>,
    loader: Loader,
    tasks: Tasks,
    prober: Arc<Prober>,
    scribe: Scribe,
    keeper: Keeper,
    writer: Writer,
    watcher: Watcher,
    /// What stays as it is when only GLB's tables are read again.
    origin: Option<Arc<Origin>>,
    /// What the state file shall say in the end, if not what is true then.
    legacy: Option<Saved>,
    subjects: Arc<Subjects>,
    config: Arc<Config>,
    state: ConfigState,
    started_at: Timestamp,
    reloaded: bool,
    stop: Stop,
    /// No [`Input::Timeout`] before this: see [`BREATH`].
    breath: Option<Instant>,
    buffer: Vec<u8>,
}

impl Reactor {
    /// Takes the first configuration; [`run`](Self::run) begins to work.
    ///
    /// # Errors
    /// When the system has no thread or descriptor to spare.
    pub(crate) fn new(
        first: Loaded,
        loader: Loader,
        mut signals: Signals,
        doorways: Doorways,
        scribe: Scribe,
        seed: u64,
    ) -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        signals.register(poll.registry(), SIGNALS)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (mail, mailbox) = unbounded();
        let Loaded { config, subjects, prober, hooks: plan, access, watched, .. } = first;
        let (control, http, meters) = doorways.open(access, &mail, &waker)?;
        let pools = Pools::start(&config, counted(prober.clone(), meters.clone()), waking(&waker))?;
        let hooks = ground::hooks(poster(&mail, &waker), &plan)?;
        let ground = Ground::new(poster(&mail, &waker), &plan)?;
        let connections = Connections::new(poll.registry().try_clone()?, FIRST_CONNECTION);
        let mut doors = Doors::new(poll.registry().try_clone()?);
        doors.configure(clock(), config.bgp.as_ref());
        doors::refuse_failed(&doors.lines())?;
        let started_at = wall_clock().timestamp(clock());
        let boot_id = keeper::boot_id();
        let (engine, restart) = keeper::engine(clock(), seed, &config, &boot_id);
        let post = poster(&mail, &waker);
        let keeper = Keeper::start(&config.daemon.state_file, boot_id, move |outcome| post(Mail::Written(outcome)))?;
        let mut reactor = Reactor {
            gobgp: ApiLink::new(poll.registry().try_clone()?, GOBGP),
            links: Links::new(poll.registry().try_clone()?, FIRST_LINK),
            wires: Wires::new(poll.registry().try_clone()?, FIRST_WIRE),
            poll,
            timer,
            signals,
            mailbox,
            mail,
            waker,
            engine,
            pools,
            hooks,
            ground,
            oversight: Oversight::new(clock(), &config),
            connections,
            ways: None,
            doors,
            control,
            http,
            meters,
            state: ConfigState::new(loader.path(), started_at, &config),
            loader,
            tasks: Tasks::default(),
            prober,
            scribe,
            keeper,
            writer: Writer::new(),
            watcher: Watcher::default(),
            origin: None,
            legacy: None,
            subjects,
            config: config.clone(),
            started_at,
            reloaded: false,
            stop: Stop::No,
            breath: None,
            buffer: vec![0; READ_SHARE],
        };
        reactor.watch(&config, watched);
        reactor.begin(config, restart);
        Ok(reactor)
    }

    /// Puts the first configuration in force.
    fn begin(&mut self, config: Arc<Config>, restarts: Vec<Restart>) {
        self.engine.set_clock(wall_clock());
        self.attach_listeners();
        let path = self.loader.path().to_owned();
        self.scribe.note(Notice::Started { config: config.clone(), path });
        restarts.into_iter().for_each(|restart| self.scribe.note(Notice::Restart(restart)));
        self.note_findings(&config);
        self.keeper.changed(clock());
        self.watch_ways(&config);
        self.watch_addresses(&config);
        self.feed(clock(), Input::Configure(config));
        self.tell_of_blindness();
    }

    /// Runs until it is told to stop, and has stopped: every thread of the daemon has ended and its socket is removed.
    ///
    /// # Errors
    /// When the system does not let the loop wait for events.
    pub(crate) fn run(mut self) -> io::Result<()> {
        self.oversight.watchdog.messenger.ready();
        let mut events = Events::with_capacity(256);
        let mut result = Ok(());
        while self.stop != Stop::Done {
            result = self.turn(&mut events);
            if result.is_err() {
                break;
            }
        }
        self.scribe.settle();
        self.cancel_errands();
        self.hooks.close();
        self.ground.data_plane.close();
        drop(self.connections);
        let path = self.keeper.path().to_owned();
        let saved = self.legacy.unwrap_or_else(|| self.engine.saved(&wall_clock(), self.keeper.boot_id()));
        if let Err(error) = self.keeper.finish(saved) {
            self.scribe.note(Notice::Restart(Restart::Writing { path, outcome: Err(error) }));
        }
        self.writer.finish();
        if let Some(ways) = self.ways {
            ways.stop();
        }
        let unprepared = self.ground.stop(&self.mailbox, &mut self.scribe);
        let hanging = self.pools.stop();
        if hanging > 0 {
            self.scribe.note(Notice::Workers(Workers::Left(hanging)));
        }
        let untold = self.hooks.stop() + unprepared;
        if untold > 0 {
            self.scribe.note(Notice::Untold(untold));
        }
        self.scribe.note(Notice::Stopped);
        self.scribe.settle();
        self.control.stop();
        self.http.stop();
        self.scribe.finish();
        result
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let now = clock();
        self.timer.arm(now, self.deadline())?;
        let connected = self.connections.has_work() || self.gobgp.has_work();
        let has_work = connected || self.doors.has_work() || self.links.has_work() || self.wires.has_work();
        let wait = has_work.then_some(Duration::ZERO);
        match self.poll.poll(events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            // Interrupted: no event was fetched, so none is lost.
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        let mut signalled = false;
        let mut heard = Vec::new();
        for event in &*events {
            match event.token() {
                WAKE => {}
                TIMER => self.timer.clear(),
                SIGNALS => signalled = true,
                GOBGP => self.gobgp.notify(event),
                WATCH => self.watcher.notify(now),
                token if self.links.has(token) => heard.extend(self.links.receive(token)),
                token if self.wires.has(token) => self.wires.notify(event),
                token if self.doors.notify(token) => {}
                Token(_) => self.connections.notify(event),
            }
        }
        self.take_reports();
        while let Ok(mail) = self.mailbox.try_recv() {
            self.take_mail(mail);
        }
        if signalled {
            for request in self.signals.pending() {
                self.obey(request);
            }
        }
        for Packet { interface, source, hop_limit, bytes } in heard {
            self.feed(clock(), Input::LinkReceived { interface, source, hop_limit, bytes: &bytes });
        }
        self.serve_wires();
        self.serve_connections();
        self.serve_gobgp();
        self.serve_doors();
        let now = clock();
        self.connections.expire(now);
        if self.timeout_at().is_some_and(|at| at <= now) {
            self.take_reports();
            self.feed(now, Input::Timeout);
            self.watch_checks(now);
            let overdue = self.engine.poll_timeout().is_some_and(|at| at <= now);
            self.breath = overdue.then(|| now + BREATH);
        }
        self.look_at_workers(now);
        self.go_on_stopping(now);
        self.look_at_tables(now);
        self.tell_census(now);
        if self.keeper.deadline().is_some_and(|at| at <= now) {
            let saved = self.engine.saved(&wall_clock(), self.keeper.boot_id());
            self.keeper.save(now, saved, &self.config);
        }
        self.scribe.hand_over();
        Ok(())
    }

    /// When the engine wants its next timeout.
    fn timeout_at(&self) -> Option<Instant> {
        self.engine.poll_timeout().map(|at| self.breath.map_or(at, |breath| at.max(breath)))
    }

    /// When the loop must turn without a reason from outside.
    fn deadline(&self) -> Option<Instant> {
        let stop = if let Stop::Withdrawing(at) = self.stop { Some(at) } else { None };
        let own = [self.connections.deadline(), self.doors.deadline(), self.keeper.deadline(), self.watcher.deadline()];
        let checks = [self.pools.deadline(), self.oversight.watchdog.deadline(), self.timeout_at()];
        own.into_iter().chain(checks).chain([stop, self.census_deadline()]).flatten().min()
    }

    /// One input and what it causes.
    fn feed(&mut self, now: Instant, input: Input<'_>) {
        self.engine.handle(now, input);
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Probe(request) => self.pools.submit(request),
                Output::Wire(action) => self.wires.apply(action),
                Output::Connect(peer, id, config) => self.connections.open(peer, id, config),
                Output::Accept(arrival, peer, id, config) => self.connections.accept(arrival, peer, id, config),
                Output::TurnAway(arrival, last_words) => self.connections.turn_away(arrival, &last_words),
                Output::Send(peer, id, bytes) => self.connections.send(peer, id, &bytes),
                Output::Close(peer, id) => self.connections.close(now, peer, id),
                Output::Gobgp(output) => self.gobgp.apply(output),
                Output::Link(action) => self.links.apply(action),
                Output::Glb(job) => self.write_tables(now, job),
                Output::Address(action) => self.change_address(now, action),
                // One that this supersedes has no answer, and nobody waits for it any more.
                Output::DataPlane(job) => drop(self.ground.data_plane.submit(job)),
                Output::Notice(notice) => self.note(notice),
                Output::Stopped => {
                    self.connections.close_all(now);
                    self.stop = Stop::Flushing;
                }
            }
        }
    }

    fn note(&mut self, notice: engine::Notice) {
        self.oversight.census.note(&notice);
        if let engine::Notice::Health(HealthEvent::Check { .. })
        | engine::Notice::Vip(..)
        | engine::Notice::Aggregate(..)
        | engine::Notice::Drain(_)
        | engine::Notice::Peer(
            _,
            peer::Notice::State { from: State::Established, .. } | peer::Notice::State { to: State::Established, .. },
        ) = notice
        {
            self.keeper.changed(clock());
        }
        let notice = match notice {
            // Everything is new at the start, and that has been said.
            engine::Notice::PeerReload(..) if !self.reloaded => return,
            engine::Notice::Peer(peer, peer::Notice::State { to: State::Established, .. }) => {
                let status = self.engine.peer_status(&peer.name);
                Notice::Established(peer, status.map(Box::new))
            }
            notice => Notice::Engine(self.subjects.clone(), notice),
        };
        self.scribe.note(notice);
    }

    /// A share of work for every connection that has some.
    fn serve_connections(&mut self) {
        while let Some((interface, result)) = self.links.answer() {
            self.feed(clock(), Input::LinkOpened(interface, result));
        }
        while let Some((peer, id, error)) = self.connections.refused() {
            self.feed(clock(), Input::Peer(peer, id, peer::Event::ConnectFailed(error)));
        }
        let ready: BTreeSet<usize> = self.connections.take_ready();
        let mut buffer = std::mem::take(&mut self.buffer);
        for token in ready {
            let mut share = Share::default();
            while let Some((peer, id, event)) = self.connections.step(token, &mut share, &mut buffer) {
                self.feed(clock(), Input::Peer(peer, id, event));
            }
        }
        self.buffer = buffer;
    }

    /// What has become of tripwires.
    fn serve_wires(&mut self) {
        let now = clock();
        for event in self.wires.take_events() {
            let input = match event {
                WireEvent::Opened(ticket) => Input::WireOpened(ticket),
                WireEvent::Ended(ticket) => Input::WireEnded(ticket),
            };
            self.engine.handle(now, input);
        }
        self.drain(now);
    }

    /// A share of work for the connection to gobgpd's API.
    fn serve_gobgp(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut share = Share::default();
        while let Some((conn, event)) = self.gobgp.step(&mut share, &mut buffer) {
            self.feed(clock(), Input::Gobgp(conn, event));
        }
        self.buffer = buffer;
    }

    /// Lets in who is at the doors.
    fn serve_doors(&mut self) {
        let now = clock();
        self.doors.retry(now);
        for (stream, remote) in self.doors.accept(now) {
            // Without one it has ended already.
            let Ok(local) = stream.local_addr() else { continue };
            let zone = zone_of(&stream, remote);
            let id = self.connections.arrive(stream);
            self.feed(now, Input::Arrival(engine::Arrival { id, local, remote, zone }));
        }
        self.note_doors();
    }

    fn note_doors(&mut self) {
        for change in self.doors.take_changes() {
            self.scribe.note(match change {
                doors::Change::Opened(address) => Notice::Listening(address),
                doors::Change::Failed(address, error) => Notice::ListenFailed(address, error),
                doors::Change::Closed(address) => Notice::ListenClosed(address),
            });
        }
    }
}
