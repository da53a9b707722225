//! One open connection: what waits to be sent on it, and which API is served at its other end.

use std::net::Ipv4Addr;
use std::time::Instant;

use prost::Message;

use super::cause::Cause;
use super::grpc::{Call, CallId, Client, Event, Failure, Status};
use super::message::GetBgpResponse;
use super::version::Api;
use super::{Conn, Output, request};
use crate::config::Asn;

/// Calls are made until so many octets wait to be sent.
const UNSENT_HIGH: usize = 192 * 1024;
/// What answers PINGs and the like may wait beside them; more is a server that sends and does not read.
const UNSENT_MAX: usize = 1024 * 1024;
/// How gobgpd says that it has not been given its AS. It has no code of its own for that.
const NOT_STARTED: &str = "hasn't started yet";

/// What has come over a connection.
#[derive(Debug)]
pub(super) enum News {
    /// gobgpd is there and configured.
    Served(Api, Asn, Ipv4Addr),
    /// It is there and not configured yet.
    NotConfigured,
    /// A message of an answer.
    Message(CallId, Vec<u8>),
    /// The end of an answer.
    Ended(CallId, Status),
}

#[derive(Debug)]
pub(super) struct Link {
    conn: Conn,
    client: Client,
    unsent: usize,
    api: Option<Api>,
    asking: Option<(CallId, Api)>,
    answer: Option<GetBgpResponse>,
}

impl Link {
    /// Open since now: asks who is there.
    pub(super) fn new(now: Instant, conn: Conn) -> Link {
        let mut link = Link { conn, client: Client::new(now), unsent: 0, api: None, asking: None, answer: None };
        link.ask(now);
        link
    }

    pub(super) fn conn(&self) -> Conn {
        self.conn
    }

    /// The API that is served, once that is known.
    pub(super) fn api(&self) -> Option<Api> {
        self.api
    }

    /// Asks for the AS, and with it for the API.
    pub(super) fn ask(&mut self, now: Instant) {
        self.ask_by(now, self.api.unwrap_or(Api::FIRST));
    }

    fn ask_by(&mut self, now: Instant, api: Api) {
        self.answer = None;
        self.asking = Some((self.client.call(now, &request::get_bgp(api)), api));
    }

    pub(super) fn call(&mut self, now: Instant, call: &Call) -> CallId {
        self.client.call(now, call)
    }

    pub(super) fn receive(&mut self, now: Instant, octets: &[u8]) -> Result<(), Cause> {
        Ok(self.client.receive(now, octets)?)
    }

    pub(super) fn sent(&mut self, octets: usize) {
        self.unsent = self.unsent.saturating_sub(octets);
    }

    /// Whether more calls may be made.
    pub(super) fn has_room(&self) -> bool {
        self.unsent + self.client.backlog() < UNSENT_HIGH
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    pub(super) fn check(&self, now: Instant) -> Result<(), Cause> {
        Ok(self.client.check(now)?)
    }

    /// What is next of what has come.
    pub(super) fn poll(&mut self, now: Instant) -> Result<Option<News>, Cause> {
        while let Some(event) = self.client.poll_event() {
            let is_ours = |id| self.asking.is_some_and(|(asking, _)| asking == id);
            match event {
                Event::Message(id, message) if is_ours(id) => {
                    let answer = GetBgpResponse::decode(&message[..]);
                    let unreadable = |_| Failure::NotGrpc("an answer that cannot be read".to_owned());
                    self.answer = Some(answer.map_err(unreadable)?);
                }
                Event::Ended(id, status) if is_ours(id) => {
                    if let Some(news) = self.asked(now, status)? {
                        return Ok(Some(news));
                    }
                }
                Event::Message(id, message) => return Ok(Some(News::Message(id, message))),
                Event::Ended(id, status) => return Ok(Some(News::Ended(id, status))),
            }
        }
        Ok(None)
    }

    /// Whoever does not know the service is asked by the other name.
    fn asked(&mut self, now: Instant, status: Status) -> Result<Option<News>, Cause> {
        let Some((_, api)) = self.asking.take() else { return Ok(None) };
        if status.code == Status::UNIMPLEMENTED && self.api.is_none() {
            self.ask_by(now, api.next().ok_or(Cause::NotGobgp)?);
            return Ok(None);
        }
        if is_not_started(&status) {
            self.api = Some(api);
            return Ok(Some(News::NotConfigured));
        }
        if !status.is_ok() {
            return Err(Cause::Call { method: "GetBgp", status });
        }
        self.api = Some(api);
        let global = self.answer.take().and_then(|answer| answer.global).unwrap_or_default();
        if global.asn == 0 {
            return Ok(Some(News::NotConfigured));
        }
        let router_id = global.router_id.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
        Ok(Some(News::Served(api, Asn(global.asn), router_id)))
    }

    /// What is to be sent now.
    pub(super) fn take_output(&mut self) -> Option<Output> {
        let octets = self.client.take_octets();
        self.unsent += octets.len();
        (!octets.is_empty()).then_some(Output::Send(self.conn, octets))
    }

    /// Whether the other side reads.
    pub(super) fn check_unsent(&self) -> Result<(), Cause> {
        if self.unsent > UNSENT_MAX { Err(Failure::NotReading.into()) } else { Ok(()) }
    }
}

/// Whether a call failed only because gobgpd has not been given its AS.
pub(super) fn is_not_started(status: &Status) -> bool {
    status.code == Status::UNKNOWN && status.message.contains(NOT_STARTED)
}
