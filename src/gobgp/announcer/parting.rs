//! Ends what has been: everything is withdrawn, as far as that goes in a time, and then the connection is closed.

use std::time::Instant;

use super::{Announcer, PARTING, Timer};
use crate::gobgp::State;
use crate::gobgp::cause::Cause;
use crate::gobgp::link::Link;

impl Announcer {
    /// Begins to leave a gobgpd, or has nothing to leave. `next` says what comes then.
    pub(super) fn part(&mut self, now: Instant, why: &'static str) {
        self.ledger.end(true);
        if self.link.is_none() || self.state == State::Waiting {
            // Nobody there, or nobody who has routes.
            self.part_at_once(now, why);
        } else if self.timers.at(Timer::Parting).is_none() {
            self.timers.set(Timer::Parting, Some(now + PARTING));
        }
    }

    /// Closes when everything is withdrawn.
    pub(super) fn end_parting(&mut self, now: Instant) {
        let is_done = match self.state {
            State::Established => self.ledger.is_settled(),
            State::Waiting => true,
            State::Idle | State::Connect | State::Asking | State::Listing => false,
        };
        if self.next.is_some() && is_done {
            self.parted(now);
        }
    }

    /// Closes, whatever is there still.
    pub(super) fn parted(&mut self, now: Instant) {
        self.part_at_once(now, if self.stopped { "stopped" } else { "left" });
    }

    fn part_at_once(&mut self, now: Instant, why: &'static str) {
        self.ledger.end(true);
        // What is on its way is not cut off.
        self.collect(now);
        if self.next.is_none() {
            return;
        }
        let conn = self.link.take().as_ref().map(Link::conn).or(self.dial.take());
        self.outputs.extend(conn.map(crate::gobgp::Output::Close));
        self.forget_session();
        let cause = (self.state != State::Idle).then_some(Cause::GivenUp(why));
        self.enter(now, State::Idle, cause);
        self.change_over(now);
    }

    /// What was is over: what is next begins.
    pub(super) fn change_over(&mut self, now: Instant) {
        self.timers.clear();
        self.established_at = None;
        self.config = None;
        if let Some(Some(next)) = self.next.take() {
            self.begin(now, next);
        }
    }
}
