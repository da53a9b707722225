//! What an operator asks of a gobgpd by hand, whether the daemon runs or not: what it has under our identifier, and to
//! withdraw that.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use prost::Message;

use super::cause::Cause;
use super::grpc::{CallId, Failure, Status};
use super::link::{Link, News};
use super::message::{ListPathResponse, Path};
use super::path::{self, Listed};
use super::version::Api;
use super::{Conn, Event, Output, request};
use crate::config::{ApiAddress, Asn, Gobgp};
use crate::prefix::{Family, Prefix};

/// How long the connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More routes than anybody has under one identifier.
const FOUND_MAX: usize = 1_000_000;
/// Withdrawals under way at a time.
const FLIGHTS_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// What gobgpd has under our identifier.
    List,
    /// The same, and then it is withdrawn.
    Flush,
}

/// A route that gobgpd has under our identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is about.
    pub prefix: Prefix,
    /// Its attributes, in words; empty when they cannot be read.
    pub attributes: Vec<String>,
    /// Why it could not be withdrawn.
    pub error: Option<Cause>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which API gobgpd serves.
    pub api: Api,
    /// Its AS.
    pub asn: Asn,
    /// The routes, in order. Of [`Task::Flush`] those without an error are withdrawn.
    pub routes: Vec<Found>,
    /// Families that gobgpd does not list, and why.
    pub unlisted: Vec<(Family, Cause)>,
}

/// One such task on one connection. Begins with [`Output::Connect`], ends with [`Output::Close`], and says in between the
/// same as an [`Announcer`](super::Announcer), but no notices.
#[derive(Debug)]
pub struct Errand {
    task: Task,
    identifier: u32,
    connect_by: Instant,
    link: Option<Link>,
    served: Option<(Api, Asn)>,
    lists: [Option<CallId>; 2],
    found: BTreeMap<Prefix, Found>,
    unlisted: Vec<(Family, Cause)>,
    /// To be withdrawn.
    due: VecDeque<Prefix>,
    flights: BTreeMap<CallId, Prefix>,
    outputs: VecDeque<Output>,
    outcome: Option<Result<Report, Cause>>,
}

/// The only connection.
const CONN: Conn = Conn(0);

impl Errand {
    /// At the address and for the identifier of `[gobgp]`.
    pub fn new(now: Instant, task: Task, config: &Gobgp) -> Errand {
        let address: ApiAddress = config.api.clone();
        Errand {
            task,
            identifier: config.identifier.get(),
            connect_by: now + CONNECT_TIMEOUT,
            link: None,
            served: None,
            lists: [None; 2],
            found: BTreeMap::new(),
            unlisted: Vec::new(),
            due: VecDeque::new(),
            flights: BTreeMap::new(),
            outputs: VecDeque::from([Output::Connect(CONN, address)]),
            outcome: None,
        }
    }

    /// Takes one event of the connection.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        if self.outcome.is_some() {
            return;
        }
        match (event, &mut self.link) {
            (Event::Connected, None) => {
                self.link = Some(Link::new(now, CONN));
            }
            (Event::ConnectFailed(error), _) => self.finish(Err(Cause::ConnectFailed(error))),
            (Event::Closed(error), _) => self.finish(Err(Cause::Closed(error))),
            (Event::Bytes(octets), Some(link)) => {
                if let Err(cause) = link.receive(now, octets) {
                    self.finish(Err(cause));
                }
            }
            (Event::Sent(octets), Some(link)) => link.sent(octets),
            (Event::Connected | Event::Bytes(_) | Event::Sent(_), _) => {}
        }
        self.settle(now);
    }

    /// Runs the deadlines that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.outcome.is_some() {
            return;
        }
        match &self.link {
            None if now >= self.connect_by => self.finish(Err(Cause::ConnectTimeout)),
            None => {}
            Some(link) => {
                if let Err(cause) = link.check(now) {
                    self.finish(Err(cause));
                }
            }
        }
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work. After a timeout handled at `t` always later than `t`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.link {
            _ if self.outcome.is_some() => None,
            None => Some(self.connect_by),
            Some(link) => link.poll_timeout(),
        }
    }

    /// The next thing for the driver to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What came of it, once it is over.
    pub fn outcome(&self) -> Option<&Result<Report, Cause>> {
        self.outcome.as_ref()
    }

    fn finish(&mut self, outcome: Result<Report, Cause>) {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
            self.outputs.push_back(Output::Close(CONN));
        }
    }

    fn settle(&mut self, now: Instant) {
        while self.outcome.is_none()
            && let Some(link) = &mut self.link
        {
            match link.poll(now) {
                Ok(None) => break,
                Ok(Some(news)) => self.take(now, news),
                Err(cause) => self.finish(Err(cause)),
            }
        }
        if self.outcome.is_none() {
            self.withdraw(now);
        }
        if self.outcome.is_none()
            && let Some(link) = &mut self.link
        {
            self.outputs.extend(link.take_output());
            if let Err(cause) = link.check_unsent() {
                self.finish(Err(cause));
            }
        }
    }

    fn take(&mut self, now: Instant, news: News) {
        match news {
            News::Served(api, asn, _) => {
                self.served = Some((api, asn));
                if let Some(link) = &mut self.link {
                    self.lists = Family::ALL.map(|family| Some(link.call(now, &request::list(api, family))));
                }
            }
            News::NotConfigured => self.finish(Err(Cause::NotConfigured)),
            News::Message(call, message) => {
                if let Some(family) = self.list_of(call)
                    && let Err(cause) = self.message(family, &message)
                {
                    self.finish(Err(cause));
                }
            }
            News::Ended(call, status) => self.ended(call, status),
        }
    }

    fn list_of(&self, call: CallId) -> Option<Family> {
        Family::ALL.into_iter().find(|family| self.lists[*family as usize] == Some(call))
    }

    fn message(&mut self, family: Family, message: &[u8]) -> Result<(), Cause> {
        let unreadable = |_| Failure::NotGrpc("a list that cannot be read".to_owned());
        let response = ListPathResponse::decode(message).map_err(unreadable)?;
        for octets in response.destination.map(|destination| destination.paths).unwrap_or_default() {
            let path = Path::decode(&octets[..]).map_err(unreadable)?;
            if let Some(listed) = path::own(&path, family, self.identifier) {
                self.found.insert(listed.prefix, found(&listed));
            }
        }
        if self.found.len() > FOUND_MAX { Err(Cause::TooManyRoutes(FOUND_MAX)) } else { Ok(()) }
    }

    fn ended(&mut self, call: CallId, status: Status) {
        let list = self.list_of(call);
        let method = if list.is_some() { "ListPath" } else { "DeletePath" };
        let is_ok = status.is_ok();
        let cause = Cause::Call { method, status };
        if let Some(family) = list {
            self.lists[family as usize] = None;
            if !is_ok {
                self.unlisted.push((family, cause));
            }
            if self.lists == [None; 2] {
                match self.task {
                    Task::Flush => self.due.extend(self.found.keys()),
                    Task::List => {}
                }
            }
        } else if let Some(found) = self.flights.remove(&call).and_then(|prefix| self.found.get_mut(&prefix))
            && !is_ok
        {
            found.error = Some(cause);
        }
    }

    /// Withdraws what is due, and ends when nothing is.
    fn withdraw(&mut self, now: Instant) {
        let Some((api, asn)) = self.served else { return };
        let Some(link) = &mut self.link else { return };
        while self.flights.len() < FLIGHTS_MAX
            && link.has_room()
            && let Some(prefix) = self.due.pop_front()
        {
            let call = request::withdraw(api, &prefix, self.identifier);
            self.flights.insert(link.call(now, &call), prefix);
        }
        if self.lists != [None; 2] || !self.flights.is_empty() || !self.due.is_empty() {
            return;
        }
        let routes = std::mem::take(&mut self.found).into_values().collect();
        let unlisted = std::mem::take(&mut self.unlisted);
        self.finish(if unlisted.len() == Family::ALL.len() {
            Err(unlisted.into_iter().next().map_or(Cause::NotGobgp, |(_, cause)| cause))
        } else {
            Ok(Report { api, asn, routes, unlisted })
        });
    }
}

fn found(listed: &Listed) -> Found {
    let attributes = listed.attributes().map(|attributes| path::describe(&attributes)).unwrap_or_default();
    Found { prefix: listed.prefix, attributes, error: None }
}
