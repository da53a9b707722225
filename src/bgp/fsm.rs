//! One connection, from TCP to Established (RFC 4271 §8).
//!
//! Octets and the time in, [`Action`]s out. Who dials, and when, is the [`peer`](super::peer)'s business, and so is what
//! flows once the session is up: this machine begins when TCP is up and ends when it is not. It knows nothing of which
//! side connected, so that two connections with one neighbour can be two machines until one of them wins
//! (RFC 4271 §6.8).
//!
//! RFC 4271 §8 and §10, 4760 §8, 5492, 6286, 6608, 6793, 8950 §4, 9687.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::capability::EXTENDED_MESSAGE;
use super::cause::Cause;
use super::error::Notification;
use super::message::{Inbox, Message, Refresh};
use super::open::Open;
use super::tally::Counts;
pub use super::terms::{Offer, Session, Terms};
use crate::prefix::Family;
use crate::rng::Rng;
use crate::timers::{TimerKind, Timers};

/// RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Waiting before the next attempt; of a connection: it is over.
    Idle,
    /// Connecting.
    Connect,
    /// Waiting for the peer to connect or, on a connection with [`Offer::Mirror`], for its OPEN (DelayOpen).
    Active,
    /// Our OPEN is out.
    OpenSent,
    /// Both OPENs are good.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl State {
    /// As written in status and logs: RFC 4271's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Connect => "connect",
            State::Active => "active",
            State::OpenSent => "opensent",
            State::OpenConfirm => "openconfirm",
            State::Established => "established",
        }
    }
}

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand these octets to TCP, and report with [`Connection::sent`] as they go.
    Send(Vec<u8>),
    /// The connection is in this state now.
    Entered(State),
    /// The body of an UPDATE, in Established. Its lengths are checked, its attributes are not.
    Update(Vec<u8>),
    /// The peer asks for all routes of this family again (RFC 2918), in Established. The family is in use.
    Refresh(Family),
    /// The end, after a NOTIFICATION if there is one to send: close TCP. Nothing follows.
    Down(Cause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    SendHold,
    Hold,
    Keepalive,
    DelayOpen,
}

impl TimerKind for Timer {
    const ALL: &'static [Timer] = &[Timer::SendHold, Timer::Hold, Timer::Keepalive, Timer::DelayOpen];

    fn index(self) -> usize {
        self as usize
    }
}

/// Until the hold time is negotiated (RFC 4271 §8.2.2: "a large value", 4 minutes suggested).
const OPEN_HOLD: Duration = Duration::from_secs(240);
/// With so many octets waiting for TCP no KEEPALIVE joins them: they are a sign of life as well (RFC 4271 §4.4).
const KEEPALIVE_UNSENT: usize = 4096;
/// RFC 9687 §3.3: the greater of 8 minutes and twice the hold time.
const SEND_HOLD: Duration = Duration::from_secs(480);
/// Peers send their OPEN at once; one that waits for ours gets it after this.
const DELAY_OPEN: Duration = Duration::from_secs(2);

/// The events of RFC 4271 §8.1 that a connection with TCP up can see; those of [`Message`] are events 19 and 24 to 27.
enum Event {
    Message(Message),
    /// Events 21, 22 and 28.
    Malformed(Notification),
    /// Events 10 to 12, and 29 (RFC 9687 §3.1).
    Expired(Timer),
    /// Event 18, TcpConnectionFails.
    Closed(Option<String>),
    /// Events 2 and 8, and whatever else makes us end it.
    Stop(Notification, String),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    terms: Terms,
    state: State,
    timers: Timers<Timer, 4>,
    rng: Rng,
    inbox: Inbox,
    /// Since they were last taken.
    received: Counts,
    /// Octets handed out and not yet taken by TCP.
    unsent: usize,
    session: Option<Session>,
    actions: VecDeque<Action>,
}

impl Connection {
    /// TCP is up: sends OPEN, or waits for the peer's. `seed` is for jitter.
    pub fn new(now: Instant, terms: Terms, seed: u64) -> Connection {
        let mut connection = Connection {
            terms,
            state: State::Idle,
            timers: Timers::new(),
            rng: Rng::new(seed),
            inbox: Inbox::default(),
            received: Counts::default(),
            unsent: 0,
            session: None,
            actions: VecDeque::new(),
        };
        connection.timers.set(Timer::Hold, Some(now + OPEN_HOLD));
        match connection.terms.families.clone() {
            Offer::Families(families) => {
                connection.send_open(now, &families);
                connection.enter(State::OpenSent);
            }
            Offer::Mirror { .. } => {
                connection.timers.set(Timer::DelayOpen, Some(now + DELAY_OPEN));
                connection.enter(State::Active);
            }
        }
        connection
    }

    /// Where it stands; [`State::Idle`] when it is over.
    pub fn state(&self) -> State {
        self.state
    }

    /// What the OPENs settled, from OpenConfirm on.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// What it was made with.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Octets handed out that TCP has not taken yet.
    pub fn unsent(&self) -> usize {
        self.unsent
    }

    /// Takes received octets, split anywhere.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        if self.state == State::Idle {
            return;
        }
        self.inbox.push(bytes);
        while self.state != State::Idle {
            match self.inbox.next() {
                Ok(Some(message)) => {
                    self.received.add(message.kind());
                    self.step(now, Event::Message(message));
                }
                Ok(None) => return,
                Err(notification) => self.step(now, Event::Malformed(notification)),
            }
        }
        self.inbox.clear();
    }

    /// Messages that were received since the last time that somebody asked.
    pub fn take_received(&mut self) -> Counts {
        std::mem::take(&mut self.received)
    }

    /// TCP took so many octets of what was handed out.
    pub fn sent(&mut self, now: Instant, octets: usize) {
        self.unsent = self.unsent.saturating_sub(octets);
        if self.state != State::Idle && octets > 0 {
            self.arm_send_hold(now);
        }
    }

    /// TCP is gone: in order, or with the system's words.
    pub fn closed(&mut self, now: Instant, error: Option<String>) {
        self.step(now, Event::Closed(error));
    }

    /// Ends it with this NOTIFICATION; `why` is for people.
    pub fn stop(&mut self, now: Instant, notification: Notification, why: &str) {
        self.step(now, Event::Stop(notification, why.to_owned()));
    }

    /// Ends it without a NOTIFICATION, so that the peer keeps our routes (RFC 4724 §4); `why` is for people.
    pub fn leave(&mut self, why: &str) {
        if self.state != State::Idle {
            self.end(Cause::GivenUp(why.to_owned()));
        }
    }

    /// Sends encoded UPDATEs; nothing unless Established.
    pub fn send_updates(&mut self, now: Instant, updates: Vec<u8>) {
        if self.state == State::Established && !updates.is_empty() {
            self.send(now, updates);
            // RFC 4271 §8.2.2: an UPDATE does for a KEEPALIVE.
            self.arm_keepalive(now);
        }
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expire(now) {
            self.step(now, Event::Expired(timer));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.earliest()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// RFC 4271 §8.2.2.
    fn step(&mut self, now: Instant, event: Event) {
        match (self.state, event) {
            (State::Idle | State::Connect, _) => {}

            (State::Active, Event::Message(Message::Open(open))) => {
                self.terms.mirror(&open);
                let families: Vec<_> = Family::ALL.into_iter().filter(|family| open.offers(*family)).collect();
                self.send_open(now, &families);
                self.take_open(now, open);
            }
            (State::Active, Event::Expired(Timer::DelayOpen)) => {
                self.send_open(now, &Family::ALL);
                self.enter(State::OpenSent);
            }
            (State::OpenSent, Event::Message(Message::Open(open))) => self.take_open(now, open),

            (State::OpenConfirm, Event::Message(Message::Keepalive)) => {
                self.arm_hold(now);
                self.enter(State::Established);
            }
            (State::OpenConfirm | State::Established, Event::Expired(Timer::Keepalive)) => {
                // Who reads more slowly than these come has enough to read.
                if self.unsent < KEEPALIVE_UNSENT {
                    self.send_message(now, &Message::Keepalive);
                }
                self.arm_keepalive(now);
            }

            (State::Established, Event::Message(Message::Keepalive)) => self.arm_hold(now),
            (State::Established, Event::Message(Message::Update(body))) => {
                self.arm_hold(now);
                self.actions.push_back(Action::Update(body));
            }
            (State::Established, Event::Message(Message::RouteRefresh(refresh))) => self.take_refresh(refresh),

            (_, Event::Message(Message::Notification(notification))) => self.end(Cause::Received(notification)),
            (
                state @ (State::Active | State::OpenSent),
                Event::Message(message @ (Message::Keepalive | Message::Update(_) | Message::RouteRefresh(_))),
            )
            | (
                state @ State::OpenConfirm,
                Event::Message(message @ (Message::Open(_) | Message::Update(_) | Message::RouteRefresh(_))),
            )
            | (state @ State::Established, Event::Message(message @ Message::Open(_))) => {
                let why = format!("unexpected {} in {}", message.name(), state.name());
                self.fail(now, unexpected(state, &message), why);
            }
            (_, Event::Malformed(notification)) => {
                let what = if notification.code == 2 { "unacceptable OPEN" } else { "malformed message" };
                self.fail(now, notification, what.to_owned());
            }
            (_, Event::Expired(Timer::Hold)) => {
                self.fail(now, Notification::hold_timer_expired(), "hold timer expired".to_owned());
            }
            (_, Event::Expired(Timer::SendHold)) => {
                let why = "peer does not read what we send: send hold timer expired".to_owned();
                self.fail(now, Notification::send_hold_timer_expired(), why);
            }
            // Armed in other states only.
            (_, Event::Expired(Timer::Keepalive | Timer::DelayOpen)) => {}
            (_, Event::Closed(error)) => self.end(Cause::Closed(error)),
            (_, Event::Stop(notification, why)) => self.fail(now, notification, why),
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.actions.push_back(Action::Entered(state));
    }

    fn send_open(&mut self, now: Instant, families: &[Family]) {
        self.timers.set(Timer::DelayOpen, None);
        self.terms.families = Offer::Families(families.to_vec());
        let open = self.terms.open(families);
        if open.has(EXTENDED_MESSAGE) {
            self.inbox.take_extended();
        }
        self.send_message(now, &Message::Open(open));
    }

    fn take_open(&mut self, now: Instant, open: Open) {
        match self.terms.settle(open) {
            Ok(session) => {
                self.session = Some(session);
                self.send_message(now, &Message::Keepalive);
                self.arm_keepalive(now);
                self.arm_hold(now);
                if self.timers.at(Timer::Hold).is_none() {
                    // Without a hold time too, a peer that never confirms is not waited for forever.
                    self.timers.set(Timer::Hold, Some(now + OPEN_HOLD));
                }
                self.enter(State::OpenConfirm);
            }
            Err((notification, why)) => self.fail(now, notification, why),
        }
    }

    fn take_refresh(&mut self, refresh: Refresh) {
        match refresh {
            // RFC 2918 §4: a family that is not in use is ignored.
            Refresh::Request(family) => {
                if self.session.as_ref().is_some_and(|session| session.families.contains(&family)) {
                    self.actions.push_back(Action::Refresh(family));
                }
            }
            // The frame of an answer that we never asked for (RFC 7313 §4), and what nobody has said yet.
            Refresh::Begin(_) | Refresh::End(_) | Refresh::Other => {}
        }
    }

    fn fail(&mut self, now: Instant, notification: Notification, why: String) {
        self.send_message(now, &Message::Notification(notification.clone()));
        self.end(Cause::Sent(notification, why));
    }

    fn end(&mut self, cause: Cause) {
        self.timers.clear();
        self.enter(State::Idle);
        self.actions.push_back(Action::Down(cause));
    }

    fn send_message(&mut self, now: Instant, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.send(now, bytes);
    }

    fn send(&mut self, now: Instant, bytes: Vec<u8>) {
        self.unsent += bytes.len();
        if self.timers.at(Timer::SendHold).is_none() {
            self.arm_send_hold(now);
        }
        self.actions.push_back(Action::Send(bytes));
    }

    fn hold_time(&self) -> Option<Duration> {
        self.session.as_ref().and_then(|session| session.hold_time.duration())
    }

    fn arm_hold(&mut self, now: Instant) {
        self.timers.set(Timer::Hold, self.hold_time().map(|time| now + time));
    }

    fn arm_keepalive(&mut self, now: Instant) {
        let interval = self.session.as_ref().and_then(|session| session.hold_time.keepalive());
        let at = interval.map(|interval| now + self.rng.jitter(interval));
        self.timers.set(Timer::Keepalive, at);
    }

    /// RFC 9687 §3.2, measured by what TCP takes: what matters is that it takes nothing, not that we write nothing.
    fn arm_send_hold(&mut self, now: Instant) {
        let time = self.hold_time().map_or(SEND_HOLD, |time| SEND_HOLD.max(2 * time));
        self.timers.set(Timer::SendHold, (self.unsent > 0).then(|| now + time));
    }
}

/// RFC 6608 §3: the subcode names the state that the message came in.
fn unexpected(state: State, message: &Message) -> Notification {
    match state {
        State::Idle | State::Connect | State::Active | State::OpenSent => {
            Notification::unexpected_in_open_sent(message.kind())
        }
        State::OpenConfirm => Notification::unexpected_in_open_confirm(message.kind()),
        State::Established => Notification::unexpected_in_established(message.kind()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::bgp::capability::Capability;
    use crate::bgp::omission::Omissions;
    use crate::config::{Asn, Capabilities, HoldTime, Role};

    fn terms(asn: u32, families: Offer) -> Terms {
        Terms {
            local_as: Asn(asn),
            router_id: Ipv4Addr::from(asn),
            hold_time: HoldTime::from_secs(9).unwrap_or(HoldTime::OFF),
            families,
            peer_as: None,
            confederation: None,
            extended_next_hop: false,
            capabilities: Capabilities::default(),
            omissions: Omissions::default(),
            restart: None,
        }
    }

    fn without(mut terms: Terms, capability: &Capability) -> Terms {
        let refused = Notification::unsupported_capability(&[capability.code(), 0]);
        assert!(terms.leave_out(&refused), "{capability}");
        terms
    }

    /// Two ends of one wire, in virtual time.
    struct Pair {
        now: Instant,
        ends: [Connection; 2],
        /// What became of each, without what was sent.
        seen: [Vec<Action>; 2],
    }

    impl Pair {
        fn new(terms: [Terms; 2]) -> Pair {
            let now = crate::timers::origin();
            let ends = terms.map(|terms| Connection::new(now, terms, 1));
            let mut pair = Pair { now, ends, seen: Default::default() };
            pair.run();
            pair
        }

        fn run(&mut self) {
            loop {
                let mut quiet = true;
                for (from, to) in [(0, 1), (1, 0)] {
                    while let Some(action) = self.ends[from].poll_action() {
                        quiet = false;
                        if let Action::Send(octets) = action {
                            self.ends[from].sent(self.now, octets.len());
                            self.ends[to].receive(self.now, &octets);
                        } else {
                            self.seen[from].push(action);
                        }
                    }
                }
                if quiet {
                    return;
                }
            }
        }

        fn advance(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(at) = self.ends.iter().filter_map(Connection::poll_timeout).min().filter(|at| *at <= end) {
                self.now = at;
                self.ends.iter_mut().for_each(|connection| connection.handle_timeout(at));
                self.run();
            }
            self.now = end;
        }

        fn states(&self) -> [State; 2] {
            [self.ends[0].state(), self.ends[1].state()]
        }
    }

    fn both() -> Offer {
        Offer::Families(Family::ALL.to_vec())
    }

    #[test]
    fn two_of_them_come_up_and_stay_up() {
        let mut pair = Pair::new([terms(1, both()), terms(2, Offer::Families(vec![Family::Ipv6]))]);
        assert_eq!(pair.states(), [State::Established; 2]);
        pair.advance(Duration::from_secs(1000));
        assert_eq!(pair.states(), [State::Established; 2]);
        for connection in &pair.ends {
            let session = connection.session().unwrap();
            assert_eq!((session.families.as_slice(), session.internal), ([Family::Ipv6].as_slice(), false));
        }
        pair.ends[0].stop(pair.now, Notification::peer_deconfigured(), "no longer wanted");
        pair.run();
        assert_eq!(pair.states(), [State::Idle; 2]);
        let received = Action::Down(Cause::Received(Notification::peer_deconfigured()));
        assert_eq!(pair.seen[1].last(), Some(&received));
        assert_eq!(pair.ends.iter().find_map(Connection::poll_timeout), None);
    }

    #[test]
    fn a_mirror_offers_what_it_is_offered() {
        for families in [vec![Family::Ipv4], vec![Family::Ipv6], Family::ALL.to_vec()] {
            let pair = Pair::new([terms(1, Offer::Families(families.clone())), terms(2, Offer::Mirror { asn: false })]);
            assert_eq!(pair.states(), [State::Established; 2]);
            assert_eq!(pair.ends[1].timers.at(Timer::DelayOpen), None);
            assert_eq!(pair.ends[0].session().map(|session| &session.families), Some(&families));
            let open = &pair.ends[0].session().unwrap().open;
            assert!(Family::ALL.into_iter().all(|family| open.offers(family) == families.contains(&family)));
            let ways = |pair: &Pair| pair.seen[1].clone();
            let states = [State::Active, State::OpenConfirm, State::Established].map(Action::Entered);
            assert_eq!(ways(&pair), states);
        }
    }

    /// RFC 8950 §4: only when both have said so, and for IPv4 in use.
    #[test]
    fn extended_next_hops_are_for_two() {
        let willing = |asn, families| Terms { extended_next_hop: true, ..terms(asn, families) };
        let ipv6 = || Offer::Families(vec![Family::Ipv6]);
        for (a, b, expected) in [
            (willing(1, both()), willing(2, both()), true),
            (willing(1, both()), terms(2, both()), false),
            (terms(1, both()), willing(2, both()), false),
            (willing(1, both()), willing(2, ipv6()), false),
            (willing(1, both()), without(willing(2, both()), &Capability::extended_next_hop()), false),
            (willing(1, both()), terms(2, Offer::Mirror { asn: false }), true),
            (terms(1, both()), terms(2, Offer::Mirror { asn: false }), false),
        ] {
            let pair = Pair::new([a, b]);
            for connection in &pair.ends {
                let session = connection.session().unwrap();
                assert_eq!((session.extended_next_hop, session.encoding.mp_ipv4), (expected, expected));
            }
        }
    }

    /// Whatever the peer is, a mirror is its counterpart, and takes its messages.
    #[test]
    fn a_mirror_takes_roles_and_messages_as_they_come() {
        for role in Role::ALL {
            let capabilities = Capabilities {
                role: Some(role),
                role_strict: true,
                extended_messages: true,
                ..Capabilities::default()
            };
            let pair = Pair::new([Terms { capabilities, ..terms(1, both()) }, terms(2, Offer::Mirror { asn: false })]);
            assert_eq!(pair.states(), [State::Established; 2], "{role}");
            let session = pair.ends[0].session().unwrap();
            assert!(session.open.capabilities.contains(&Capability::role(role.counterpart())));
            assert_eq!((session.encoding.max_len, session.enhanced_refresh), (65_535, true));
        }
        let pair = Pair::new([terms(1, both()), terms(2, Offer::Mirror { asn: false })]);
        let session = pair.ends[0].session().unwrap();
        assert_eq!((session.encoding.max_len, session.open.roles().count()), (4096, 0));
    }

    #[test]
    fn two_mirrors_do_not_wait_for_each_other_forever() {
        let mut pair = Pair::new([terms(1, Offer::Mirror { asn: false }), terms(2, Offer::Mirror { asn: false })]);
        assert_eq!(pair.states(), [State::Active; 2]);
        pair.advance(DELAY_OPEN);
        assert_eq!(pair.states(), [State::Established; 2]);
        assert_eq!(pair.ends[0].session().map(|session| session.families.len()), Some(2));
    }

    #[test]
    fn updates_go_out_in_established_only_and_come_in_whole() {
        let update = [[0xff; 16].as_slice(), &[0, 23, 2, 0, 0, 0, 0]].concat();
        let mut pair = Pair::new([terms(1, both()), terms(2, both())]);
        pair.ends[0].send_updates(pair.now, update.clone());
        assert_eq!(pair.ends[0].unsent(), 23);
        pair.run();
        assert_eq!((pair.ends[0].unsent(), pair.seen[1].last()), (0, Some(&Action::Update(vec![0; 4]))));
        pair.ends[0].closed(pair.now, None);
        pair.run();
        pair.ends[0].send_updates(pair.now, update);
        pair.ends[0].receive(pair.now, &[0; 99]);
        pair.ends[0].stop(pair.now, Notification::peer_deconfigured(), "again");
        assert_eq!(pair.ends[0].poll_action(), None, "what is over is over");
    }

    /// A router that reads an octet a second keeps its session, and must not cost ever more memory.
    #[test]
    fn keepalives_do_not_pile_up_for_who_hardly_reads() {
        let mut pair = Pair::new([terms(1, both()), terms(2, both())]);
        pair.run();
        let mut now = pair.now;
        let mut most = 0;
        for _ in 0..20_000 {
            now += Duration::from_secs(1);
            pair.ends[0].handle_timeout(now);
            pair.ends[0].sent(now, 1);
            pair.ends[0].receive(now, &[[0xff; 16].as_slice(), &[0, 19, 4]].concat());
            most = pair.ends[0].unsent().max(most);
            while pair.ends[0].poll_action().is_some() {}
        }
        assert_eq!(pair.ends[0].state(), State::Established);
        assert!((4096..4096 + 19).contains(&most), "{most} octets wait");
    }

    #[test]
    fn the_send_hold_time_is_eight_minutes_or_twice_the_hold_time() {
        for (hold, send_hold) in [(9, 480), (1000, 2000), (0, 480)] {
            let hold_time = HoldTime::from_secs(hold).unwrap();
            let ours = |asn| Terms { hold_time, ..terms(asn, both()) };
            let mut pair = Pair::new([ours(1), ours(2)]);
            pair.ends[0].send_updates(pair.now, vec![0; 100]);
            let armed = pair.ends[0].timers.at(Timer::SendHold);
            assert_eq!(armed, Some(pair.now + Duration::from_secs(send_hold)));
        }
    }
}
