//! The speaker's thread: the loop around [`bgp::speaker`](crate::bgp::speaker).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll, Token, Waker};

use super::{Command, Event, Goodbye, PeerEvent, PeerStatus};
use crate::bgp::error::Notification;
use crate::bgp::peer::{self, Peer, State};
use crate::bgp::speaker::{Output, Speaker};
use crate::driver::connection::{Connections, READ_SHARE, Share};
use crate::driver::timer::Timer;
use crate::driver::{clock, wall_clock};

const WAKE: Token = Token(0);
const TIMER: Token = Token(1);
const FIRST_CONNECTION: usize = 2;

/// Commands that are taken in one turn: a program that has many keeps neither routers nor timers waiting.
const COMMANDS: usize = 4096;
/// How long a stop waits for the routers to take their withdrawals.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// A deadline that is due although it was just handled would keep the loop turning: the next one is this much later.
const BREATH: Duration = Duration::from_millis(1);

/// How far a stop is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stop {
    /// There is none.
    No,
    /// Withdrawals are on their way; then the sessions end with this text. Cut short at this time.
    Withdrawing(Instant, String),
    /// The last words are on their way.
    Flushing(Goodbye),
}

/// Everything that the thread works with.
pub(super) struct Work {
    poll: Poll,
    timer: Timer,
    commands: Receiver<Command>,
    speaker: Speaker,
    connections: Connections,
    /// The set of routes has been given.
    has_routes: bool,
    events: Sender<Event>,
    /// Events that did not fit.
    lost: u64,
    stop: Stop,
    breath: Option<Instant>,
    buffer: Vec<u8>,
}

impl Work {
    /// To be run on a thread, and what wakes it.
    pub(super) fn new(commands: Receiver<Command>, events: Sender<Event>) -> io::Result<(Work, Waker)> {
        let poll = Poll::new()?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let connections = Connections::new(poll.registry().try_clone()?, FIRST_CONNECTION);
        let (speaker, buffer) = (Speaker::new(crate::driver::daemon::seed()), vec![0; READ_SHARE]);
        let work = Work {
            poll,
            timer,
            commands,
            speaker,
            connections,
            has_routes: false,
            events,
            lost: 0,
            stop: Stop::No,
            breath: None,
            buffer,
        };
        Ok((work, waker))
    }

    /// Until it is stopped, and everything is said.
    pub(super) fn run(mut self) -> io::Result<Goodbye> {
        let mut events = Events::with_capacity(256);
        loop {
            match self.stop {
                Stop::Flushing(goodbye) if self.connections.is_empty() => return Ok(goodbye),
                _ => self.turn(&mut events)?,
            }
        }
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        self.timer.arm(clock(), self.deadline())?;
        let has_work = self.connections.has_work() || !self.commands.is_empty();
        match self.poll.poll(events, has_work.then_some(Duration::ZERO)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        for event in &*events {
            match event.token() {
                WAKE => {}
                TIMER => self.timer.clear(),
                Token(_) => self.connections.notify(event),
            }
        }
        for command in self.commands.clone().try_iter().take(COMMANDS) {
            self.obey(clock(), command);
        }
        self.drain(clock());
        self.serve_connections();
        let now = clock();
        self.connections.expire(now);
        if self.timeout_at().is_some_and(|at| at <= now) {
            self.speaker.handle_timeout(now);
            self.drain(now);
            self.breath = self.speaker.poll_timeout().is_some_and(|at| at <= now).then(|| now + BREATH);
        }
        self.go_on_stopping(now);
        Ok(())
    }

    fn timeout_at(&self) -> Option<Instant> {
        self.speaker.poll_timeout().map(|at| self.breath.map_or(at, |breath| at.max(breath)))
    }

    fn deadline(&self) -> Option<Instant> {
        let stop = if let Stop::Withdrawing(at, _) = self.stop { Some(at) } else { None };
        [self.timeout_at(), self.connections.deadline(), stop].into_iter().flatten().min()
    }

    fn obey(&mut self, now: Instant, command: Command) {
        match command {
            Command::Stop(Some(reason)) if self.stop == Stop::No => {
                self.speaker.replace(BTreeMap::new());
                self.stop = Stop::Withdrawing(now + STOP_PATIENCE, reason);
            }
            Command::Stop(None) if !matches!(self.stop, Stop::Flushing(_)) => {
                let stop = std::mem::replace(&mut self.stop, Stop::No);
                self.say_goodbye(now, if let Stop::Withdrawing(_, reason) = &stop { reason } else { "" });
            }
            // Who asks while it stops is told that it has stopped: the reply is dropped.
            _ if self.stop != Stop::No => {}
            Command::Stop(_) => {}
            Command::Configure(next, reply) => {
                let change = self.speaker.change(&next);
                self.speaker.configure(now, &next);
                answer(&reply, change);
            }
            Command::SetRoutes(routes) => {
                self.speaker.replace(routes);
                self.speaker.release(now);
                self.has_routes = true;
            }
            Command::Set(prefix, wanted) => self.speaker.set(prefix, wanted),
            Command::Refresh(name, reply) => answer(&reply, self.speaker.refresh(now, &name)),
            Command::Advertised(name, reply) => {
                self.drain(now);
                answer(&reply, self.speaker.peer_named(&name).map(|peer| peer.advertised().copied().collect()));
            }
            Command::Status(reply) => {
                // What was asked for before is on its way, and counts.
                self.drain(now);
                answer(&reply, self.speaker.peers().map(|(_, peer)| self.status(peer)).collect());
            }
        }
    }

    /// Hands what changed to the peers, and does what they want done.
    fn drain(&mut self, now: Instant) {
        self.speaker.flush(now);
        while let Some(output) = self.speaker.poll_output() {
            match output {
                Output::Connect(peer, id, config) => self.connections.open(peer, id, config),
                Output::Send(peer, id, bytes) => self.connections.send(peer, id, &bytes),
                Output::Close(peer, id) => self.connections.close(now, peer, id),
                // Nobody listens, so nobody arrives.
                Output::Accept(..) | Output::TurnAway(..) | Output::Refused(_) => {}
                Output::Notice(peer, notice) => {
                    let at = wall_clock().timestamp(now);
                    let status = self.speaker.peer_named(&peer.name).map(Peer::status);
                    self.tell(Event::Peer(Box::new(PeerEvent { at, peer, notice, status })));
                }
            }
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.lost > 0 && self.events.try_send(Event::Lost(self.lost)).is_ok() {
            self.lost = 0;
        }
        if self.lost > 0 || self.events.try_send(event).is_err() {
            self.lost += 1;
        }
    }

    fn status(&self, peer: &Peer) -> PeerStatus {
        let status = peer.status();
        let is_synchronised = self.has_routes && status.state == State::Established && peer.is_synchronised();
        PeerStatus { config: peer.config().clone(), status, is_synchronised }
    }

    /// A share of work for every connection that has some.
    fn serve_connections(&mut self) {
        while let Some((peer, id, error)) = self.connections.refused() {
            self.speaker.handle(clock(), peer, id, peer::Event::ConnectFailed(error));
        }
        let ready: BTreeSet<usize> = self.connections.take_ready();
        let mut buffer = std::mem::take(&mut self.buffer);
        for token in ready {
            let mut share = Share::default();
            while let Some((peer, id, event)) = self.connections.step(token, &mut share, &mut buffer) {
                let now = clock();
                self.speaker.handle(now, peer, id, event);
                self.drain(now);
            }
        }
        self.buffer = buffer;
        self.drain(clock());
    }

    fn go_on_stopping(&mut self, now: Instant) {
        if let Stop::Withdrawing(deadline, reason) = &self.stop
            && (*deadline <= now || self.speaker.is_synchronised())
        {
            let reason = reason.clone();
            self.say_goodbye(now, &reason);
        }
    }

    fn say_goodbye(&mut self, now: Instant, reason: &str) {
        let is_complete = self.speaker.is_synchronised();
        self.speaker.stop(now, &Notification::administrative_shutdown(reason));
        self.drain(now);
        self.connections.close_all(now);
        self.stop = Stop::Flushing(if is_complete { Goodbye::Complete } else { Goodbye::CutShort });
    }
}

/// Whoever asked may have gone.
fn answer<T>(reply: &Sender<T>, value: T) {
    let _wanted_or_not = reply.send(value);
}
