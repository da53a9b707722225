//! The announcer: from one connection to the next, and what flows on it.
//!
//! `life` goes from connecting to Established and back, `flow` makes orders of the ledger into calls and takes their answers,
//! `parting` ends what has been, before something else begins or for good.

mod flow;
mod life;
mod parting;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::cause::Cause;
use super::grpc::CallId;
use super::ledger::{Ledger, Order};
use super::link::Link;
use super::request::Adding;
use super::{Calls, Conn, Event, Output, State, Status};
use crate::bgp::drain::Telling;
use crate::config::{self, Asn, Attributes};
use crate::prefix::{Family, Prefix};
use crate::rng::Rng;
use crate::timers::{TimerKind, Timers};
use crate::wall::WallClock;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a gobgpd that is not configured is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long withdrawing may take when we leave.
const PARTING: Duration = Duration::from_secs(2);
/// How long a gobgpd that was stopped may take, once it goes on, to do what it was told before it was given up.
const DOUBT: Duration = Duration::from_secs(5);
/// After this, what was refused is tried again ...
const REFUSED_FIRST: Duration = Duration::from_secs(30);
/// ... and then after twice the time, up to this.
const REFUSED_LAST: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Time for the next attempt.
    Retry,
    /// The connection has had its time to open.
    Connect,
    /// gobgpd is asked again whether it is configured.
    Ask,
    /// What is refused is tried again.
    Refused,
    /// Withdrawing has had its time.
    Parting,
    /// What was under way when a connection was given up has been done by now, or never will be.
    Doubt,
}

impl TimerKind for Timer {
    const ALL: &'static [Timer] =
        &[Timer::Retry, Timer::Connect, Timer::Ask, Timer::Refused, Timer::Parting, Timer::Doubt];

    fn index(self) -> usize {
        self as usize
    }
}

/// Announces routes through one gobgpd.
#[derive(Debug)]
pub struct Announcer {
    rng: Rng,
    clock: Option<WallClock>,
    /// What is in force; `None` when there is nothing to do.
    config: Option<Arc<config::Gobgp>>,
    /// What comes into force when everything is withdrawn.
    next: Option<Option<Arc<config::Gobgp>>>,
    stopped: bool,
    state: State,
    since: Option<Instant>,
    dial: Option<Conn>,
    link: Option<Link>,
    next_conn: u64,
    /// What gobgpd said of itself.
    identity: Option<(Asn, Ipv4Addr)>,
    ledger: Ledger,
    /// Calls that carry orders.
    flights: BTreeMap<CallId, Flight>,
    /// On this connection.
    adding: Adding,
    /// Calls that list a family.
    lists: [Option<CallId>; 2],
    /// A list is wanted when the one under way has ended.
    list_again: bool,
    /// A connection was given up with calls under way: gobgpd may do them yet, after it has said what it has.
    in_doubt: bool,
    timers: Timers<Timer, 6>,
    backoff: Backoff,
    refused_wait: Duration,
    refusal_told: bool,
    told_causes: VecDeque<Cause>,
    established_count: u64,
    established_at: Option<Instant>,
    calls: Calls,
    last_error: Option<(Cause, Instant)>,
    outputs: VecDeque<Output>,
}

/// The orders of one call.
#[derive(Debug)]
struct Flight {
    method: &'static str,
    orders: Vec<Order>,
}

impl Announcer {
    /// Does nothing before it is [configured](Self::configure). `seed` is for jitter.
    pub fn new(seed: u64) -> Announcer {
        Announcer {
            rng: Rng::new(seed),
            clock: None,
            config: None,
            next: None,
            stopped: false,
            state: State::Idle,
            since: None,
            dial: None,
            link: None,
            next_conn: 0,
            identity: None,
            ledger: Ledger::default(),
            flights: BTreeMap::new(),
            adding: Adding::default(),
            lists: [None; 2],
            list_again: false,
            in_doubt: false,
            timers: Timers::new(),
            backoff: Backoff::default(),
            refused_wait: REFUSED_FIRST,
            refusal_told: false,
            told_causes: VecDeque::new(),
            established_count: 0,
            established_at: None,
            calls: Calls::default(),
            last_error: None,
            outputs: VecDeque::new(),
        }
    }

    /// With this, routes carry the time at which they were announced, which `gobgp global rib` shows as their age. It may be
    /// set anew whenever the wall clock was.
    pub fn set_clock(&mut self, clock: WallClock) {
        self.clock = Some(clock);
    }

    /// What is in force; `None` when there is nothing to do.
    pub fn config(&self) -> Option<&Arc<config::Gobgp>> {
        self.config.as_ref()
    }

    /// Takes a configuration; `None` withdraws everything and ends. With another address or identifier everything is
    /// withdrawn where it was, as far as that goes in two seconds, before it is announced where it shall be. With other
    /// attributes, next hops or filters the difference is sent. In any case gobgpd is asked again what it has, and a wait
    /// for the next attempt is cut short: whoever reloads may have mended something. After [`stop`](Self::stop) or
    /// [`leave`](Self::leave) nothing is taken any more.
    pub fn configure(&mut self, now: Instant, next: Option<Arc<config::Gobgp>>) {
        if self.stopped {
            return;
        }
        match (&self.config, next) {
            (None, None) => {}
            (None, Some(next)) => self.begin(now, next),
            (Some(_), next) if self.next.is_some() => self.next = Some(next),
            (Some(config), Some(next)) if config.api == next.api && config.identifier == next.identifier => {
                self.reconfigure(now, next);
            }
            (Some(_), next) => {
                let why = if next.is_some() { "reconfigured" } else { "removed" };
                self.next = Some(next);
                self.part(now, why);
            }
        }
        self.settle(now);
    }

    /// Wants `prefix` with these attributes, or not at all. Sent by [`flush`](Self::flush), or sooner.
    pub fn set(&mut self, prefix: Prefix, wanted: Option<Arc<Attributes>>) {
        self.ledger.set(prefix, wanted);
    }

    /// A route of ours under this prefix stays as it is, until it is [`set`](Self::set), or until [`release`](Self::release).
    pub fn leave_undecided(&mut self, prefix: Prefix) {
        self.ledger.leave_undecided(prefix);
    }

    /// Everything is decided: what is not wanted now, and what is undecided, is withdrawn. Before, with `graceful_restart`,
    /// routes that nobody has decided upon stay; without it, what is not wanted goes as soon as gobgpd lists it.
    pub fn release(&mut self, now: Instant) {
        self.ledger.release();
        self.settle(now);
    }

    /// What gobgpd is told of the routes from now on. While they are to go, none is announced that it does not have.
    pub fn tell(&mut self, now: Instant, telling: Telling) {
        self.ledger.tell(telling);
        self.settle(now);
    }

    /// Turns differences into calls, as many as may be under way.
    pub fn flush(&mut self, now: Instant) {
        self.settle(now);
    }

    /// Takes one event. An event of a connection that is not the announcer's any more is ignored.
    pub fn handle(&mut self, now: Instant, conn: Conn, event: Event<'_>) {
        if self.dial == Some(conn) {
            match event {
                Event::Connected => self.connected(now, conn),
                Event::ConnectFailed(error) => self.down(now, Cause::ConnectFailed(error), false),
                Event::Closed(error) => self.down(now, Cause::Closed(error), false),
                Event::Bytes(_) | Event::Sent(_) => {}
            }
        } else if let Some(link) = self.link.as_mut().filter(|link| link.conn() == conn) {
            match event {
                Event::Bytes(octets) => {
                    let result = link.receive(now, octets);
                    // What came before the fault still counts.
                    self.take_news(now);
                    if let Err(cause) = result
                        && self.link.is_some()
                    {
                        self.down(now, cause, true);
                    }
                }
                Event::Sent(octets) => link.sent(octets),
                Event::Closed(error) => self.down(now, Cause::Closed(error), false),
                Event::ConnectFailed(error) => self.down(now, Cause::ConnectFailed(error), false),
                Event::Connected => {}
            }
        }
        self.settle(now);
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expire(now) {
            match timer {
                Timer::Retry => self.connect(now),
                Timer::Connect => self.down(now, Cause::ConnectTimeout, true),
                Timer::Ask => {
                    if let Some(link) = &mut self.link {
                        link.ask(now);
                    }
                }
                Timer::Refused => self.ledger.retry_refused(),
                Timer::Parting => self.parted(now),
                Timer::Doubt => self.list_again = true,
            }
        }
        if let Some(Err(cause)) = self.link.as_ref().map(|link| link.check(now)) {
            self.down(now, cause, true);
        }
        self.settle(now);
        debug_assert!(self.poll_timeout().is_none_or(|at| at > now), "a timer that is due was left");
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let link = self.link.as_ref().and_then(Link::poll_timeout);
        self.timers.earliest().into_iter().chain(link).min()
    }

    /// The next thing for the driver to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Withdraws everything, closes, and does nothing more: for good. It takes two seconds at most;
    /// [`is_vacant`](Self::is_vacant) says when it is done.
    pub fn stop(&mut self, now: Instant) {
        self.stopped = true;
        self.next = Some(None);
        self.part(now, "stopped");
        self.settle(now);
    }

    /// Closes without a word, for good: what gobgpd has stays.
    pub fn leave(&mut self, now: Instant) {
        self.stopped = true;
        self.next = Some(None);
        self.parted(now);
    }

    /// Whether everything that is wanted has been acknowledged, and nothing is there that is not wanted. What is refused
    /// does not count. Without a connection, only when nothing is wanted.
    pub fn is_synchronised(&self) -> bool {
        match self.state {
            State::Established => self.ledger.is_settled(),
            _ => self.link.is_none() && self.ledger.is_empty(),
        }
    }

    /// Whether gobgpd is connected and ready.
    pub fn is_heard(&self) -> bool {
        self.state == State::Established
    }

    /// Whether there is neither a connection nor an attempt.
    pub fn is_vacant(&self) -> bool {
        self.dial.is_none() && self.link.is_none()
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether gobgpd has this route from us.
    pub fn has_advertised(&self, prefix: &Prefix) -> bool {
        self.ledger.has_told(prefix)
    }

    /// The routes that gobgpd has from us.
    pub fn advertised(&self) -> impl Iterator<Item = &Prefix> {
        self.ledger.told()
    }

    /// At a glance.
    pub fn status(&self) -> Status {
        Status {
            state: self.state,
            since: self.since,
            advertised: self.ledger.told_count(),
            pending: self.ledger.pending_count(),
            drained: self.ledger.telling() != Telling::Everything,
            api: self.link.as_ref().and_then(Link::api),
            asn: self.identity.map(|(asn, _)| asn),
            router_id: self.identity.map(|(_, router_id)| router_id),
            last_error: self.last_error.as_ref().map(|(cause, _)| cause.clone()),
            last_error_at: self.last_error.as_ref().map(|(_, at)| *at),
            retry_at: self.timers.at(Timer::Retry),
            established_count: self.established_count,
            calls: self.calls,
            refused: self.ledger.refused_count(),
            first_refused: self.ledger.first_refused(),
        }
    }

    /// After every event: what came, what may be sent, and whether we are done.
    fn settle(&mut self, now: Instant) {
        self.take_news(now);
        self.fill(now);
        self.tell_refusals();
        self.end_parting(now);
        self.collect(now);
        self.check_invariants();
    }

    fn list_of(&self, call: CallId) -> Option<Family> {
        Family::ALL.into_iter().find(|family| self.lists[*family as usize] == Some(call))
    }

    /// In debug builds, after every call: what must hold whatever happened.
    fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let armed = |timer| self.timers.at(timer).is_some();
        assert!(self.dial.is_none() || self.link.is_none());
        assert_eq!(armed(Timer::Connect), self.dial.is_some());
        assert_eq!(self.dial.is_some(), self.state == State::Connect);
        assert_eq!(self.link.is_some(), self.state > State::Connect);
        assert_eq!(self.identity.is_some(), self.state >= State::Listing);
        assert!(self.state >= State::Listing || (self.flights.is_empty() && self.lists == [None; 2]));
        assert!(self.config.is_some() || (self.is_vacant() && self.timers.earliest().is_none()));
        let is_waiting = self.config.is_some() && self.is_vacant();
        assert_eq!(armed(Timer::Retry), is_waiting, "when to connect");
        assert_eq!(armed(Timer::Parting), self.next.is_some() && self.link.is_some());
    }
}
