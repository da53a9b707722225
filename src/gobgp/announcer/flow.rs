//! What flows on a connection: orders of the ledger become calls, a bounded number at a time, and their answers go back.

use std::time::Instant;

use prost::Message;

use super::{Announcer, Flight, REFUSED_LAST, Timer};
use crate::gobgp::cause::Cause;
use crate::gobgp::grpc::{Call, CallId, Failure, Status};
use crate::gobgp::ledger::Order;
use crate::gobgp::link::{Link, is_not_started};
use crate::gobgp::message::{ListPathResponse, Path};
use crate::gobgp::request::{self, Adding, Batch};
use crate::gobgp::{Api, Notice, Output, State, path};

/// Calls that are under way at a time.
const FLIGHTS_MAX: usize = 64;

impl Announcer {
    /// Makes calls of what differs, unless enough are under way.
    pub(super) fn fill(&mut self, now: Instant) {
        let Some(api) = self.link.as_ref().and_then(Link::api) else { return };
        if self.list_again && self.lists == [None; 2] && self.state >= State::Listing {
            self.list(now, api);
        }
        while self.may_call() && self.fill_one(now, api) {}
    }

    fn may_call(&self) -> bool {
        let most = match self.adding {
            Adding::Streamed => FLIGHTS_MAX,
            Adding::Single => 1,
        };
        self.flights.len() < most && self.link.as_ref().is_some_and(Link::has_room)
    }

    /// One call of announcements, and on the way to it as many of withdrawals as come first; false when there is no order.
    fn fill_one(&mut self, now: Instant, api: Api) -> bool {
        let Some(identifier) = self.config.as_ref().map(|config| config.identifier.get()) else { return false };
        let age = self.clock.map(|clock| clock.timestamp(now).since_epoch().as_secs());
        let mut batch = Batch::new(api);
        let mut orders = Vec::new();
        let mut has_any = false;
        while !batch.is_full()
            && self.may_call()
            && let Some(order) = self.ledger.next()
        {
            has_any = true;
            let Some(route) = &order.route else {
                self.fly(now, &request::withdraw(api, &order.prefix, identifier), vec![order]);
                continue;
            };
            match path::encode(&order.prefix, route) {
                // The longest prefix of the family was tried: it does not happen.
                Err(_) => drop(self.ledger.failed(order, &Cause::TooLarge, false)),
                Ok(encoded) if order.is_alone || self.adding == Adding::Single => {
                    let mut batch = Batch::new(api);
                    batch.add(&order.prefix, encoded, identifier, age);
                    self.fly(now, &request::announce(api, self.adding, &batch), vec![order]);
                }
                Ok(encoded) => {
                    batch.add(&order.prefix, encoded, identifier, age);
                    orders.push(order);
                }
            }
        }
        if !orders.is_empty() {
            self.fly(now, &request::announce(api, self.adding, &batch), orders);
        }
        has_any
    }

    fn fly(&mut self, now: Instant, call: &Call, orders: Vec<Order>) {
        let Some(link) = &mut self.link else { return };
        let method = call.method;
        self.flights.insert(link.call(now, call), Flight { method, orders });
        self.calls.made += 1;
    }

    /// A message of an answer. Only lists have any that matter.
    pub(super) fn message(&mut self, now: Instant, call: CallId, message: &[u8]) {
        let Some((family, config)) = self.list_of(call).zip(self.config.as_ref()) else { return };
        let identifier = config.identifier.get();
        let unreadable = || Failure::NotGrpc("a list that cannot be read".to_owned());
        let Ok(response) = ListPathResponse::decode(message) else {
            self.down(now, unreadable().into(), true);
            return;
        };
        for octets in response.destination.map(|destination| destination.paths).unwrap_or_default() {
            let result = match Path::decode(&octets[..]) {
                Ok(path) => path::own(&path, family, identifier).map_or(Ok(()), |own| self.ledger.listed(own)),
                Err(_) => Err(unreadable().into()),
            };
            if let Err(cause) = result {
                self.down(now, cause, true);
                return;
            }
        }
    }

    /// The end of a call.
    pub(super) fn ended(&mut self, now: Instant, call: CallId, status: Status) {
        self.calls.failed += u64::from(!status.is_ok());
        let list = self.list_of(call);
        let flight = self.flights.remove(&call);
        let method = flight.as_ref().map_or("ListPath", |flight| flight.method);
        if is_not_started(&status) {
            self.not_configured(now);
            return;
        }
        if status.is_passing() {
            self.down(now, Cause::Call { method, status }, true);
            return;
        }
        let cause = (!status.is_ok()).then_some(Cause::Call { method, status });
        if let Some(family) = list {
            self.lists[family as usize] = None;
            if let Some(cause) = cause {
                self.ledger.unlisted(family);
                self.outputs.push_back(Output::Notice(Notice::Unlisted(family, cause)));
            }
            if self.lists == [None; 2] {
                self.listed(now);
            }
        } else if let Some(flight) = flight {
            self.land(now, flight, cause.as_ref());
        }
    }

    fn land(&mut self, now: Instant, flight: Flight, cause: Option<&Cause>) {
        let is_unserved = flight.method == "AddPathStream"
            && matches!(cause, Some(Cause::Call { status, .. }) if status.code == Status::UNIMPLEMENTED);
        if is_unserved {
            self.adding = Adding::Single;
        }
        // Either way the routes themselves may be fine.
        let is_one_of_many = flight.orders.len() > 1 || is_unserved;
        for order in flight.orders {
            match cause {
                None => {
                    let counter =
                        if order.route.is_some() { &mut self.calls.announced } else { &mut self.calls.withdrawn };
                    *counter += 1;
                    self.ledger.landed(order);
                }
                Some(cause) => {
                    if self.ledger.failed(order, cause, is_one_of_many) && self.timers.at(Timer::Refused).is_none() {
                        self.timers.set(Timer::Refused, Some(now + self.refused_wait));
                        self.refused_wait = (self.refused_wait * 2).min(REFUSED_LAST);
                    }
                }
            }
        }
    }

    /// Says once that something is refused, when all has been tried.
    pub(super) fn tell_refusals(&mut self) {
        if !self.ledger.is_settled() {
            return;
        }
        match self.ledger.first_refused() {
            None => {
                self.refusal_told = false;
                self.refused_wait = super::REFUSED_FIRST;
            }
            Some((prefix, cause)) if !std::mem::replace(&mut self.refusal_told, true) => {
                let count = self.ledger.refused_count();
                self.outputs.push_back(Output::Notice(Notice::Refused { prefix, count, cause }));
            }
            Some(_) => {}
        }
    }

    /// Hands over what is to be sent.
    pub(super) fn collect(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let output = link.take_output();
        let result = link.check_unsent();
        self.outputs.extend(output);
        if let Err(cause) = result {
            self.down(now, cause, true);
        }
    }
}
