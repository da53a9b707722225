//! The receiver: what it reports comes to what it holds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use herald::bgp::error::Notification;
use herald::bgp::message::Inbox;
use herald::bgp::receiver::{Action, Event, Options, Receiver};
use herald::config::{Asn, HoldTime};
use herald::driver::clock;
use herald::prefix::Prefix;

use super::tape::Tape;

const MAX_ROUTES: usize = 20;
/// Of prefixes in one message.
const MESSAGE_ROUTES: usize = 4096;

struct Scene {
    now: Instant,
    receiver: Receiver,
    unsent: usize,
    /// What we say, as a router would read it.
    ears: Inbox,
    held: BTreeSet<Prefix>,
    established: bool,
    /// The hold time is 0.
    untimed: bool,
    closed: bool,
}

pub(super) fn run(choice: u8, tape: &mut Tape<'_>) {
    let options = Options {
        local_as: [None, Some(Asn(65_001))][usize::from(choice % 2)],
        router_id: [10, 0, 0, 2].into(),
        hold_time: HoldTime::from_secs([90, 0, 3, 9][usize::from(choice / 2 % 4)]).unwrap(),
        max_routes: MAX_ROUTES,
    };
    let now = clock();
    let mut scene = Scene {
        now,
        receiver: Receiver::new(now, &options, choice.into()),
        unsent: 0,
        ears: Inbox::default(),
        held: BTreeSet::new(),
        established: false,
        untimed: false,
        closed: false,
    };
    scene.drain();
    while let Some(kind) = tape.octet() {
        scene.happen(kind, tape);
        scene.drain();
    }
    scene.receiver.closed(scene.now, None);
    scene.drain();
    assert!(scene.closed && scene.receiver.poll_timeout().is_none());
}

impl Scene {
    fn happen(&mut self, kind: u8, tape: &mut Tape<'_>) {
        match kind % 8 {
            0..=2 => {
                let bytes = tape.message();
                let (head, tail) = bytes.split_at(usize::from(kind / 8).min(bytes.len()));
                self.receiver.receive(self.now, head);
                self.receiver.receive(self.now, tail);
            }
            3 => self.wait(tape.time()),
            4 => {
                let octets = std::mem::take(&mut self.unsent);
                self.receiver.sent(self.now, octets);
            }
            5 => {
                let octets = self.unsent.min(tape.number().into());
                self.unsent -= octets;
                self.receiver.sent(self.now, octets);
            }
            6 => self.receiver.closed(self.now, [None, Some("reset".to_owned())][usize::from(kind / 8 % 2)].clone()),
            _ => self.receiver.stop(self.now, Notification::administrative_shutdown("fuzzed"), "fuzzed"),
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut timeouts = 0;
        while let Some(at) = self.receiver.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.receiver.handle_timeout(self.now);
            assert!(self.receiver.poll_timeout().is_none_or(|at| at > self.now), "due again");
            self.drain();
            timeouts += 1;
        }
        assert!(timeouts <= 10 + 4 * time.as_secs(), "{timeouts} timeouts in {time:?}");
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(action) = self.receiver.poll_action() {
            assert!(!self.closed, "nothing follows the end: {action:?}");
            match action {
                Action::Send(bytes) => {
                    self.unsent += bytes.len();
                    self.ears.push(&bytes);
                    while self.ears.next().unwrap().is_some() {}
                }
                Action::Report(event) => self.report(event),
            }
        }
        assert!(self.unsent <= 64 * 1024, "a router that does not read costs memory");
        assert!(self.closed || self.held.len() <= MAX_ROUTES + MESSAGE_ROUTES);
        assert!(self.receiver.routes().eq(&self.held));
        // Without a hold time, an idle session has nothing to wait for.
        let timeless = self.established && self.untimed && self.unsent == 0;
        assert!(self.receiver.poll_timeout().is_some() != self.closed || timeless, "an end would not be noticed");
    }

    fn report(&mut self, event: Event) {
        assert!(self.established || matches!(event, Event::Established(_) | Event::Closed { .. }), "{event:?}");
        match event {
            Event::Established(session) => {
                assert!(!std::mem::replace(&mut self.established, true));
                self.untimed = session.hold_time == HoldTime::OFF;
            }
            Event::Announce(prefix, _) => drop(self.held.insert(prefix)),
            Event::Withdraw(prefix) => drop(self.held.remove(&prefix)),
            Event::Malformed(fault) => assert!(!fault.error.to_string().contains(char::is_control)),
            Event::EndOfRib(_) => {}
            Event::Closed { cause, routes } => {
                assert_eq!(routes, std::mem::take(&mut self.held).len());
                assert!(!cause.to_string().contains(char::is_control), "{cause}");
                self.closed = true;
            }
        }
    }
}
