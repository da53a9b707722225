//! What operators drain: which targets there are, what is drained now, until when, and what follows for the cores.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::status::Count;
use super::{Engine, Notice, Output};
use crate::announce::DrainedBy;
use crate::config::Config;
use crate::config::gobgp::PEER_NAME;
use crate::prefix::Prefix;
use crate::wall::{Timestamp, WallClock};

/// Drains at a time. Who needs more wants `all`.
const DRAINS: usize = 1000;
/// Names that are compared at most to find what was meant.
const COMPARISONS: usize = 20_000;

/// What can be drained. As text: `all`, `192.0.2.1/32`, `web`, `web/10.1.0.11:8080`, `peer/tor-a`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Every VIP and aggregate.
    All,
    /// A VIP or an aggregate.
    Prefix(Prefix),
    /// A service: every VIP that it is on.
    Service(String),
    /// A backend of a service: it does not count.
    Backend(String, SocketAddr),
    /// What a peer is told.
    Peer(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::All => f.write_str("all"),
            Target::Prefix(prefix) => prefix.fmt(f),
            Target::Service(name) => f.write_str(name),
            Target::Backend(service, address) => write!(f, "{service}/{address}"),
            Target::Peer(name) => write!(f, "peer/{name}"),
        }
    }
}

impl FromStr for Target {
    type Err = std::convert::Infallible;

    /// Every text means something; whether there is such a thing is another question.
    fn from_str(text: &str) -> Result<Target, Self::Err> {
        if text == "all" {
            return Ok(Target::All);
        }
        if let Ok(prefix) = text.parse() {
            return Ok(Target::Prefix(prefix));
        }
        Ok(match text.split_once('/') {
            Some(("peer", name)) => Target::Peer(name.to_owned()),
            Some((service, address)) => match address.parse() {
                Ok(address) => Target::Backend(service.to_owned(), address),
                Err(_) => Target::Service(text.to_owned()),
            },
            None => Target::Service(text.to_owned()),
        })
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One drain, in times that mean the same after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// In the operator's words.
    pub reason: Option<String>,
    /// Who has asked for it, as far as is known.
    #[serde(default)]
    pub by: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// Everything that is drained, by target: a map from texts when serialised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Drains(BTreeMap<Target, Drain>);

impl Drains {
    /// The drain of this target.
    pub fn get(&self, target: &Target) -> Option<&Drain> {
        self.0.get(target)
    }

    /// All, in the order of their targets.
    pub fn iter(&self) -> impl Iterator<Item = (&Target, &Drain)> {
        self.0.iter()
    }
}

/// One drain, as `status` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DrainLine {
    /// What is drained.
    pub target: String,
    /// Whether it is configured: a drain waits for its target to come back.
    pub configured: bool,
    /// In the operator's words.
    pub reason: Option<String>,
    /// Who has asked for it, as far as is known: `alice (uid 1000)`.
    pub by: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; `null` for never.
    pub until: Option<Timestamp>,
}

/// What a drain, or its end, did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DrainAnswer {
    /// What it was about.
    pub target: String,
    /// Whether anything is different now.
    pub changed: bool,
    /// For people.
    pub text: String,
}

/// What operators hear of drains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrainNotice {
    /// An operator began it, or gave it another end or reason.
    Begun(Target, Drain),
    /// An operator ended it; who that was, as far as is known.
    Ended(Target, Option<String>),
    /// Its time has passed.
    Expired(Target),
}

impl Engine {
    /// What is drained.
    pub fn drains(&self) -> &Drains {
        &self.drains
    }

    /// Drains a target: from now on until it is undone, or until its end. One that is drained already keeps the time since
    /// when it is, and gets another end and reason.
    ///
    /// # Errors
    /// When there is no such target, or no room for more; in words, with what was perhaps meant.
    pub fn drain(
        &mut self,
        now: Instant,
        clock: &WallClock,
        target: &Target,
        drain: Drain,
    ) -> Result<DrainAnswer, String> {
        self.now = now;
        self.refuse_while_stopping()?;
        if !self.is_configured(target) {
            return Err(self.no_such(target));
        }
        let known = self.drains.0.get(target).cloned();
        if known.is_none() && self.drains.0.len() >= DRAINS {
            return Err(format!(
                "{DRAINS} drains are in force, and there is no room for more; `drain all` drains everything"
            ));
        }
        let drain = Drain { since: known.as_ref().map_or(drain.since, |known| known.since), ..drain };
        let changed = known.as_ref().is_none_or(|known| (&known.reason, known.until) != (&drain.reason, drain.until));
        let what = self.describe(target);
        let mut text = match &known {
            Some(known) if !changed => format!("{what} is drained already, since {}", known.since),
            Some(known) => {
                let end = if known.until.is_some() && drain.until.is_none() { ", and there is no end" } else { "" };
                format!("{what} is drained already, since {}; its reason and end are new{end}", known.since)
            }
            None => format!("{what} is drained: {}", self.consequence(target)),
        };
        text += &drain.until.map(|until| format!("; until {until}")).unwrap_or_default();
        if changed {
            self.enforce(now, clock, target, drain);
        }
        Ok(DrainAnswer { target: target.to_string(), changed, text })
    }

    /// Ends a drain, for whom it may concern.
    ///
    /// # Errors
    /// When there is no such target, in words.
    pub fn undrain(&mut self, now: Instant, target: &Target, by: Option<String>) -> Result<DrainAnswer, String> {
        self.now = now;
        self.refuse_while_stopping()?;
        let changed = self.drains.0.contains_key(target);
        if !changed && !self.is_configured(target) {
            return Err(self.no_such(target));
        }
        let what = self.describe(target);
        if changed {
            self.lift(now, target);
            self.outputs.push(Output::Notice(Notice::Drain(DrainNotice::Ended(target.clone(), by))));
            self.decide(now);
        }
        let mut text = match (changed, target) {
            (true, _) => format!("{what} is no longer drained"),
            (false, Target::All) => "`drain all` was not in force".to_owned(),
            (false, _) => format!("{what} was not drained"),
        };
        let others: Vec<String> = self.drains.0.keys().take(5).map(Target::to_string).collect();
        if !others.is_empty() {
            let more = self.drains.0.len() - others.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            text += &format!("; still drained: {}{more}", others.join(", "));
        }
        Ok(DrainAnswer { target: target.to_string(), changed, text })
    }

    /// Takes up what was drained before a restart, whether it is configured now or not. What has ended meanwhile is left.
    pub fn restore_drains(&mut self, now: Instant, clock: &WallClock, drains: Drains) {
        self.now = now;
        for (target, drain) in drains.0.into_iter().take(DRAINS) {
            if drain.until.is_none_or(|until| until > clock.timestamp(now)) {
                self.enforce(now, clock, &target, drain);
            }
        }
    }

    pub(super) fn drain_lines(&self) -> Vec<DrainLine> {
        let line = |(target, drain): (&Target, &Drain)| DrainLine {
            target: target.to_string(),
            configured: self.is_configured(target),
            reason: drain.reason.clone(),
            by: drain.by.clone(),
            since: drain.since,
            until: drain.until,
        };
        self.drains.iter().map(line).collect()
    }

    /// Ends the drains whose time has passed.
    pub(super) fn expire_drains(&mut self, now: Instant) {
        while let Some(target) = self.drain_ends.expire(now) {
            self.lift(now, &target);
            self.outputs.push(Output::Notice(Notice::Drain(DrainNotice::Expired(target))));
        }
    }

    fn enforce(&mut self, now: Instant, clock: &WallClock, target: &Target, drain: Drain) {
        self.drain_ends.set(target.clone(), drain.until.map(|until| clock.instant(until).max(now)));
        self.outputs.push(Output::Notice(Notice::Drain(DrainNotice::Begun(target.clone(), drain.clone()))));
        let is_new = self.drains.0.insert(target.clone(), drain).is_none();
        if is_new {
            self.apply_drain(now, target, true);
        }
        self.decide(now);
    }

    fn lift(&mut self, now: Instant, target: &Target) {
        self.drain_ends.set(target.clone(), None);
        if self.drains.0.remove(target).is_some() {
            self.apply_drain(now, target, false);
        }
    }

    fn apply_drain(&mut self, now: Instant, target: &Target, drained: bool) {
        match target {
            Target::All => self.announce.drain_all(now, drained),
            Target::Prefix(prefix) => self.announce.drain(now, *prefix, drained),
            Target::Service(name) => self.health.drain(now, name, None, drained),
            Target::Backend(service, address) => self.health.drain(now, service, Some(*address), drained),
            Target::Peer(name) => {
                let until = drained.then(|| now + self.config.daemon.drain_time);
                if **name == *PEER_NAME {
                    self.drain_gobgp(now, until);
                }
                self.speaker.drain(now, name, until);
            }
        }
    }

    fn refuse_while_stopping(&self) -> Result<(), String> {
        if self.stopping.is_some() { Err("herald is stopping".to_owned()) } else { Ok(()) }
    }

    fn is_configured(&self, target: &Target) -> bool {
        let Config { vips, aggregates, services, .. } = &*self.config;
        match target {
            Target::All => true,
            Target::Prefix(prefix) => vips.contains_key(prefix) || aggregates.contains_key(prefix),
            Target::Service(name) => services.iter().any(|service| *service.name == **name),
            Target::Backend(name, address) => services.iter().any(|service| {
                *service.name == **name && service.backends.iter().any(|backend| backend.address == *address)
            }),
            // One that came out of a range is there as long as it is connected.
            Target::Peer(name) => {
                self.peer_names().any(|known| *known == **name) || self.speaker.peer_named(name).is_some()
            }
        }
    }

    /// Those of peers, of ranges of peers, and gobgpd's.
    fn peer_names(&self) -> impl Iterator<Item = &str> {
        let (peers, ranges) = super::peers(&self.config);
        let gobgp = self.config.gobgp.iter().map(|_| PEER_NAME);
        peers.iter().map(|peer| &*peer.name).chain(ranges.iter().map(|range| &**range.name())).chain(gobgp)
    }

    /// `vip 192.0.2.1/32`.
    fn describe(&self, target: &Target) -> String {
        match target {
            Target::All => "everything".to_owned(),
            Target::Prefix(prefix) if self.config.aggregates.contains_key(prefix) => format!("aggregate {prefix}"),
            Target::Prefix(prefix) => format!("vip {prefix}"),
            Target::Service(name) => format!("service {name}"),
            Target::Backend(service, address) => format!("backend {service}/{address}"),
            Target::Peer(name) => format!("peer {name}"),
        }
    }

    /// What follows when a target is drained.
    fn consequence(&self, target: &Target) -> String {
        let whose = match target {
            Target::Backend(service, _) => return format!("it does not count for service {service} any more"),
            Target::All => "all routes",
            Target::Prefix(_) => "its route",
            Target::Service(_) => "the routes of the VIPs that need it",
            Target::Peer(_) => "the routes that it has",
        };
        match self.config.daemon.drain_time {
            time if time.is_zero() => format!("withdrawing {whose}"),
            time => {
                format!("GRACEFUL_SHUTDOWN on {whose} for {}, then withdrawn", humantime::format_duration(time))
            }
        }
    }

    fn no_such(&self, target: &Target) -> String {
        let word = target.to_string();
        let Config { vips, aggregates, services, .. } = &*self.config;
        let prefixes = vips.keys().chain(aggregates.keys()).map(|prefix| Target::Prefix(*prefix));
        let own = services.iter().map(|service| Target::Service(service.name.to_string()));
        let backends = services.iter().flat_map(|service| {
            service.backends.iter().map(|backend| Target::Backend(service.name.to_string(), backend.address))
        });
        let peers = self.peer_names().map(|name| Target::Peer(name.to_string()));
        let all = std::iter::once(Target::All).chain(peers).chain(own).chain(backends).chain(prefixes);
        let near = (word.chars().count() / 3).clamp(1, 8);
        let distances = all.take(COMPARISONS).map(|target| target.to_string()).filter_map(|name| {
            let close = name.len().abs_diff(word.len()) <= near * 4 && word.len() <= 256;
            let distance = close.then(|| strsim::osa_distance(&word, &name)).filter(|distance| *distance <= near)?;
            Some((distance, name))
        });
        // What was written `tor-a` may be meant as `peer/tor-a`.
        let as_peer = Target::Peer(word.clone());
        let hint = if self.is_configured(&as_peer) {
            format!("; did you mean `{as_peer}`?")
        } else {
            distances.min().map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
        };
        let shown: String = word.chars().filter(|c| !c.is_control()).take(64).collect();
        format!("there is nothing called `{shown}` to drain{hint}")
    }

    /// What an operator has drained, in words that follow a name.
    pub(super) fn drain_reason(&self, by: DrainedBy, prefix: &Prefix) -> String {
        let said = |target: &Target| {
            let drain = self.drains.get(target)?;
            Some(drain.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())
        };
        match by {
            DrainedBy::Itself => format!("drained{}", said(&Target::Prefix(*prefix)).unwrap_or_default()),
            DrainedBy::All => format!("everything is drained{}", said(&Target::All).unwrap_or_default()),
            DrainedBy::Dependency(dependency) => {
                format!("it depends on {}, which is drained", self.dependency_name(dependency))
            }
            DrainedBy::Service(index) => {
                let Some(service) = self.config.services.get(index) else { return "drained".to_owned() };
                let name = service.name.to_string();
                if let Some(file) = self.service_disabled_by(index) {
                    return format!("service {name} is disabled: {} is there", file.display());
                }
                match said(&Target::Service(name.clone())) {
                    Some(reason) => format!("service {name} is drained{reason}"),
                    None => {
                        let status = self.health.service(index);
                        let count = Count::new(service, status.available, status.required, status.on_sorry);
                        format!("service {name} is drained: without what is drained, {count}")
                    }
                }
            }
        }
    }
}
