//! From connecting to Established and back.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ASK_AGAIN, Announcer, CONNECT_TIMEOUT, DOUBT, REFUSED_FIRST, Timer};
use crate::config::{self, Asn};
use crate::gobgp::cause::Cause;
use crate::gobgp::link::{Link, News};
use crate::gobgp::request::Adding;
use crate::gobgp::{Api, Conn, Notice, Output, State, request};
use crate::prefix::Family;

/// Causes remembered so as not to tell them again.
const TOLD_CAUSES: usize = 8;
/// A wait that a person has cut short.
const HURRIED: Duration = Duration::from_millis(50);

impl Announcer {
    /// Something to do, where there was nothing.
    pub(super) fn begin(&mut self, now: Instant, config: Arc<config::Gobgp>) {
        self.ledger.set_keeps(config.graceful_restart);
        self.ledger.end(false);
        self.config = Some(config);
        self.backoff.reset();
        self.told_causes.clear();
        self.connect(now);
    }

    /// The same gobgpd and the same identifier.
    pub(super) fn reconfigure(&mut self, now: Instant, next: Arc<config::Gobgp>) {
        let same = self.config.as_ref().is_some_and(|config| config.live.same_routes(&next.live));
        self.ledger.set_keeps(next.graceful_restart);
        if let Some((asn, _)) = self.identity.filter(|_| !same) {
            self.ledger.configure(next.live.clone(), asn);
        }
        self.config = Some(next);
        let soon = now + HURRIED;
        if self.timers.at(Timer::Retry).is_some_and(|at| at > soon) {
            self.timers.set(Timer::Retry, Some(soon));
        }
        self.list_again = self.state >= State::Listing;
    }

    pub(super) fn connect(&mut self, now: Instant) {
        let Some(config) = &self.config else { return };
        let conn = Conn(self.next_conn);
        self.next_conn += 1;
        self.dial = Some(conn);
        self.timers.set(Timer::Retry, None);
        self.timers.set(Timer::Connect, Some(now + CONNECT_TIMEOUT));
        self.outputs.push_back(Output::Connect(conn, config.api.clone()));
        self.enter(now, State::Connect, None);
    }

    pub(super) fn connected(&mut self, now: Instant, conn: Conn) {
        self.dial = None;
        self.timers.set(Timer::Connect, None);
        self.link = Some(Link::new(now, conn));
        self.adding = Adding::default();
        self.calls.made += 1;
        self.enter(now, State::Asking, None);
    }

    /// What has come over the connection.
    pub(super) fn take_news(&mut self, now: Instant) {
        while let Some(link) = &mut self.link {
            match link.poll(now) {
                Ok(None) => return,
                Ok(Some(News::Served(api, asn, router_id))) => self.served(now, api, asn, router_id),
                Ok(Some(News::NotConfigured)) => self.not_configured(now),
                Ok(Some(News::Message(call, message))) => self.message(now, call, &message),
                Ok(Some(News::Ended(call, status))) => self.ended(now, call, status),
                Err(cause) => self.down(now, cause, true),
            }
        }
    }

    /// gobgpd runs without an AS: it has no routes, and is asked again.
    pub(super) fn not_configured(&mut self, now: Instant) {
        self.forget_session();
        self.timers.set(Timer::Ask, Some(now + ASK_AGAIN));
        let cause = (self.state != State::Waiting).then_some(Cause::NotConfigured);
        self.last_error = Some((Cause::NotConfigured, now));
        self.enter(now, State::Waiting, cause);
    }

    fn served(&mut self, now: Instant, api: Api, asn: Asn, router_id: Ipv4Addr) {
        let Some(config) = &self.config else { return };
        self.identity = Some((asn, router_id));
        self.ledger.begin_session(config.live.clone(), asn);
        self.enter(now, State::Listing, None);
        self.list(now, api);
    }

    /// Asks what is there.
    pub(super) fn list(&mut self, now: Instant, api: Api) {
        let Some(link) = &mut self.link else { return };
        self.list_again = false;
        self.ledger.begin_census();
        self.lists = Family::ALL.map(|family| Some(link.call(now, &request::list(api, family))));
        self.calls.made += 2;
    }

    /// The lists are complete.
    pub(super) fn listed(&mut self, now: Instant) {
        let (found, kept) = self.ledger.end_census();
        let api = self.link.as_ref().and_then(Link::api);
        if self.state != State::Established {
            self.established_count += 1;
            self.established_at = Some(now);
            self.enter(now, State::Established, None);
            if std::mem::take(&mut self.in_doubt) {
                self.timers.set(Timer::Doubt, Some(now + DOUBT));
            }
        }
        if let Some(api) = api {
            self.outputs.push_back(Output::Notice(Notice::Listed { api, found, kept }));
        }
    }

    /// The connection has ended or must, or did not come up: notes why, and when to try again.
    pub(super) fn down(&mut self, now: Instant, cause: Cause, must_close: bool) {
        let link = self.link.take().map(|link| link.conn());
        let dial = self.dial.take();
        if must_close {
            self.outputs.extend(link.or(dial).map(Output::Close));
        }
        self.timers.set(Timer::Connect, None);
        self.timers.set(Timer::Ask, None);
        self.in_doubt |= !self.flights.is_empty();
        self.forget_session();
        if self.next.is_some() {
            self.enter(now, State::Idle, Some(cause));
            self.change_over(now);
            return;
        }
        let established = self.established_at.take().map(|at| now.saturating_duration_since(at));
        if let Some(config) = &self.config {
            let retry = config.live.connect_retry;
            let wait = self.backoff.after(&cause, established, retry, &mut self.rng);
            self.timers.set(Timer::Retry, Some(now + wait));
        }
        self.last_error = Some((cause.clone(), now));
        self.enter(now, State::Idle, Some(cause));
    }

    /// What gobgpd has of us is not known any more.
    pub(super) fn forget_session(&mut self) {
        self.ledger.end_session();
        self.flights.clear();
        self.lists = [None; 2];
        self.list_again = false;
        self.identity = None;
        self.timers.set(Timer::Refused, None);
        self.timers.set(Timer::Doubt, None);
        self.refused_wait = REFUSED_FIRST;
    }

    /// The one writer of the state. What is only one more try with the same end is not told.
    pub(super) fn enter(&mut self, now: Instant, to: State, cause: Option<Cause>) {
        let from = std::mem::replace(&mut self.state, to);
        if from == to && cause.is_none() {
            return;
        }
        let is_turn = from == State::Established || to == State::Established;
        if is_turn || self.since.is_none() {
            self.since = Some(now);
        }
        let is_news = match &cause {
            _ if is_turn => true,
            Some(cause) => !self.told_causes.contains(cause),
            None => self.told_causes.is_empty(),
        };
        if to == State::Established {
            self.told_causes.clear();
            self.last_error = None;
        }
        if !is_news {
            return;
        }
        if let Some(cause) = &cause {
            self.told_causes.push_back(cause.clone());
            if self.told_causes.len() > TOLD_CAUSES {
                self.told_causes.pop_front();
            }
        }
        self.outputs.push_back(Output::Notice(Notice::State { from, to, cause }));
    }
}
