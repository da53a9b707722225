//! From news of links and routes to the targets that may be out of reach. Pure: it is given the time, the news, and what
//! the kernel answers.
//!
//! News only says whom to ask about: the targets within a route's prefix, or those behind a link. What counts is what the
//! kernel then says of their way. So it does not matter in what order news comes, nor that some is lost, nor that IPv4
//! drops routes in silence when a link is switched off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::{Change, Event, Leg, Link};
use super::{Path, Suspicion};
use crate::prefix::Prefix;

/// From the first sign to looking and telling: what belongs together comes within this time.
const GATHER: Duration = Duration::from_millis(2);
/// While much is being looked up, what was found waits so long for more.
const GATHER_LONG: Duration = Duration::from_millis(20);
/// The kernel tells that a link is down before it drops its routes: when all of them are looked at again.
const AGAIN: Duration = Duration::from_millis(100);
/// Between two suspicions of one target.
const HOLD: Duration = Duration::from_secs(1);
/// Look-ups in one go.
const SLICE: usize = 256;
/// Between two look-ups, on the whole: some tenth of one processor at the very worst.
const PER_LOOK_UP: Duration = Duration::from_micros(50);
/// Look-ups that may be saved up when there are few targets.
const LEAST_CREDIT: u64 = 2_000;
/// Changes whose targets are told apart; beyond it, all are looked at.
const MOST_CHANGES: usize = 4_096;
/// Causes that one suspicion names.
const MOST_CAUSES: usize = 3;

/// What the kernel says of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The ways that packets may go; none when it cannot be reached.
    pub(super) legs: Vec<Leg>,
    /// The number of the interface that the check is bound to, when there is such an interface.
    pub(super) bound_to: Option<u32>,
}

/// The targets, the links, and what is not certain at the moment.
pub(super) struct Suspects {
    /// In order, so that those within a prefix are neighbours.
    targets: Vec<Target>,
    links: BTreeMap<u32, Link>,
    /// By how many targets they may concern, fewest first, and the first of these: the most specific names the cause.
    changes: BTreeMap<(usize, usize), Doubt>,
    /// Changes so far.
    count: u64,
    /// When looking up begins.
    begin: Option<Instant>,
    /// When all are looked up once more.
    again: Option<Instant>,
    suspected: BTreeSet<usize>,
    /// When suspicions are told.
    tell: Option<Instant>,
    /// How many look-ups may be made, as of when.
    credit: u64,
    credit_at: Instant,
}

struct Target {
    path: Path,
    /// By which it is reached, without those by links that are down; none, too, as long as it is not known.
    legs: Vec<Leg>,
    bound_to: Option<u32>,
    /// How many changes there had been when it was looked up.
    looked: u64,
    /// Why it is suspected.
    cause: Option<Arc<str>>,
    told: Option<Instant>,
}

/// Targets in a row that are to be looked up.
#[derive(Default)]
struct Doubt {
    cause: Arc<str>,
    /// Which change it was: who was looked up since then need not be again.
    number: u64,
    /// The next of them, and how many are left: when it is renewed it goes on where it was.
    next: usize,
    left: usize,
}

impl Suspects {
    pub(super) fn new(now: Instant) -> Suspects {
        Suspects {
            targets: Vec::new(),
            links: BTreeMap::new(),
            changes: BTreeMap::new(),
            count: 0,
            begin: None,
            again: None,
            suspected: BTreeSet::new(),
            tell: None,
            credit: 0,
            credit_at: now,
        }
    }

    /// From now on these, and what is known of those that stay is kept. All are looked up; the first time is no suspicion.
    pub(super) fn set_targets(&mut self, now: Instant, mut paths: Vec<Path>) {
        paths.sort_unstable();
        paths.dedup();
        let known = std::mem::take(&mut self.targets);
        let mut known: BTreeMap<Path, Target> = known.into_iter().map(|target| (target.path.clone(), target)).collect();
        let fresh = |path| Target { path, legs: Vec::new(), bound_to: None, looked: 0, cause: None, told: None };
        self.targets = paths.into_iter().map(|path| known.remove(&path).unwrap_or_else(|| fresh(path))).collect();
        let suspected = self.targets.iter().enumerate().filter(|(_, target)| target.cause.is_some());
        self.suspected = suspected.map(|(at, _)| at).collect();
        self.credit = self.most_credit();
        // They go by the old order.
        self.changes.clear();
        self.doubt_all(now, "routing has changed");
        self.begin = Some(now);
    }

    /// Takes news.
    pub(super) fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Link(link) => self.link(now, &link),
            Event::LinkGone(index) => self.link_gone(now, index),
            Event::Links(links) => {
                let there: BTreeSet<u32> = links.iter().map(|link| link.index).collect();
                let gone: Vec<u32> = self.links.keys().copied().filter(|index| !there.contains(index)).collect();
                gone.into_iter().for_each(|index| self.link_gone(now, index));
                links.iter().for_each(|link| self.link(now, link));
            }
            Event::Route(prefix, change) => {
                self.doubt(now, self.within(&prefix), || words(&prefix, change));
            }
            Event::AddressGone { address, interface } => self.address_gone(now, address, interface),
            Event::Rules => self.doubt_all(now, "routing rules have changed"),
            Event::NextHop => {
                self.doubt_all(now, "a next hop has changed");
                self.again.get_or_insert(now + AGAIN);
            }
            Event::Missed => self.doubt_all(now, "routing has changed"),
        }
    }

    /// Looks up a slice of those in doubt, if it is time. `ask` gives nothing when it got no answer.
    pub(super) fn work(&mut self, now: Instant, ask: &mut dyn FnMut(&Path) -> Option<Found>) {
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
            self.doubt_all(now, "routing has changed");
        }
        if self.begin.is_none_or(|at| at > now) {
            return;
        }
        self.earn(now);
        for _ in 0..SLICE {
            if self.credit == 0 {
                break;
            }
            let Some((at, cause)) = self.next_in_doubt() else { break };
            self.credit -= 1;
            if !self.look_up(now, at, &cause, ask) {
                // It has waited in vain: others are to have their turn, and all are asked for again.
                self.again.get_or_insert(now + HOLD);
                break;
            }
        }
        if self.changes.is_empty() {
            self.begin = None;
            self.tell_by(now);
        }
    }

    /// Those who are suspected, once it is time to tell.
    pub(super) fn poll_suspicion(&mut self, now: Instant) -> Option<Suspicion> {
        if self.tell.is_none_or(|at| at > now) {
            return None;
        }
        self.tell = None;
        let (mut paths, mut causes, mut held) = (Vec::new(), Vec::new(), BTreeSet::new());
        for at in std::mem::take(&mut self.suspected) {
            let Some(target) = self.targets.get_mut(at) else { continue };
            if let Some(until) = target.told.map(|told| told + HOLD).filter(|until| *until > now) {
                held.insert(at);
                self.tell = Some(self.tell.map_or(until, |tell| tell.min(until)));
                continue;
            }
            target.told = Some(now);
            if let Some(cause) = target.cause.take().filter(|cause| !causes.contains(cause)) {
                causes.push(cause);
            }
            paths.push(target.path.clone());
        }
        self.suspected = held;
        (!paths.is_empty()).then(|| Suspicion { paths, cause: together(&causes) })
    }

    /// When there is next something to do; in the past when there is now.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let paid = if self.credit == 0 { self.credit_at + PER_LOOK_UP * SLICE as u32 } else { self.credit_at };
        [self.begin.map(|at| at.max(paid)), self.again, self.tell].into_iter().flatten().min()
    }

    fn link(&mut self, now: Instant, link: &Link) {
        let (index, up) = (link.index, link.up);
        let before = self.links.insert(index, link.clone());
        if !up && before.as_ref().is_none_or(|before| before.up) {
            self.lost(now, index, &format!("link {} is down", link.name));
        }
        if up && before.as_ref().is_some_and(|before| !before.up) {
            self.doubt_all(now, &format!("link {} is up", link.name));
            self.again.get_or_insert(now + AGAIN);
        }
        // Who is bound to an interface by its name means another one now, or one at last.
        let renamed = before.is_none_or(|before| before.name != link.name);
        let concerns = |target: &Target| {
            target.path.egress.interface.is_some() && target.bound_to.is_none_or(|bound_to| bound_to == index)
        };
        if renamed && self.targets.iter().any(concerns) {
            self.doubt_all(now, &format!("link {} is new", link.name));
        }
    }

    fn link_gone(&mut self, now: Instant, index: u32) {
        let name = self.links.remove(&index).map_or_else(|| format!("number {index}"), |link| link.name);
        self.lost(now, index, &format!("link {name} is gone"));
    }

    /// All behind a link are suspected, at once and whatever the kernel says: without a carrier, routes stay.
    fn lost(&mut self, now: Instant, index: u32, cause: &str) {
        let cause: Arc<str> = cause.into();
        let mut any = false;
        for at in 0..self.targets.len() {
            let Some(target) = self.targets.get_mut(at) else { continue };
            let before = target.legs.len();
            let is_bound = target.bound_to == Some(index);
            target.legs.retain(|leg| leg.interface != index && !is_bound);
            if target.legs.len() < before {
                self.suspect(at, &cause);
                any = true;
            }
        }
        if any {
            self.tell_by(now + GATHER);
            self.again.get_or_insert(now + AGAIN);
        }
    }

    fn address_gone(&mut self, now: Instant, address: IpAddr, interface: u32) {
        let concerns = |target: &Target| {
            target.legs.iter().any(|leg| leg.interface == interface) || target.path.egress.source == Some(address)
        };
        let concerned: Vec<usize> = (0..).zip(&self.targets).filter(|(_, it)| concerns(it)).map(|(at, _)| at).collect();
        let cause = format!("address {address} is gone");
        if concerned.len() > MOST_CHANGES / 4 {
            self.doubt_all(now, &cause);
        } else {
            concerned.iter().for_each(|at| self.doubt(now, *at..*at + 1, || cause.clone()));
        }
        if !concerned.is_empty() {
            self.again.get_or_insert(now + AGAIN);
        }
    }

    /// The targets within a prefix.
    fn within(&self, prefix: &Prefix) -> Range<usize> {
        let (first, last) = (prefix.address(), last(prefix));
        let start = self.targets.partition_point(|target| target.path.address < first);
        let end = self.targets.partition_point(|target| target.path.address <= last);
        start..end
    }

    fn doubt_all(&mut self, now: Instant, cause: &str) {
        self.doubt(now, 0..self.targets.len(), || cause.to_owned());
    }

    fn doubt(&mut self, now: Instant, mut range: Range<usize>, cause: impl FnOnce() -> String) {
        if range.is_empty() {
            return;
        }
        let mut cause: Arc<str> = cause().into();
        let all = 0..self.targets.len();
        if self.changes.len() >= MOST_CHANGES {
            self.changes.retain(|key, _| *key == (all.len(), 0));
            (range, cause) = (all, "routing has changed".into());
        }
        self.count += 1;
        let doubt = self.changes.entry((range.len(), range.start)).or_default();
        *doubt = Doubt { cause, number: self.count, next: doubt.next, left: range.len() };
        self.begin.get_or_insert(now + GATHER);
    }

    /// The next to be looked up, and what made it necessary.
    fn next_in_doubt(&mut self) -> Option<(usize, Arc<str>)> {
        while let Some(mut entry) = self.changes.first_entry() {
            let (length, start) = *entry.key();
            let doubt = entry.get_mut();
            while doubt.left > 0 {
                let at = start + doubt.next;
                doubt.left -= 1;
                doubt.next = (doubt.next + 1) % length.max(1);
                if self.targets.get(at).is_some_and(|target| target.looked < doubt.number) {
                    return Some((at, doubt.cause.clone()));
                }
            }
            entry.remove();
        }
        None
    }

    /// Whether there was an answer.
    fn look_up(
        &mut self,
        now: Instant,
        at: usize,
        cause: &Arc<str>,
        ask: &mut dyn FnMut(&Path) -> Option<Found>,
    ) -> bool {
        let Some(target) = self.targets.get_mut(at) else { return true };
        target.looked = self.count;
        let Some(found) = ask(&target.path) else { return false };
        let is_up = |index: u32| self.links.get(&index).is_none_or(|link| link.up);
        let mut legs = found.legs;
        legs.retain(|leg| is_up(leg.interface) && found.bound_to.is_none_or(is_up));
        target.bound_to = found.bound_to;
        let before = std::mem::replace(&mut target.legs, legs);
        // More of them are no loss; and who could not be reached before has nothing to lose.
        if !before.iter().all(|leg| target.legs.contains(leg)) {
            self.suspect(at, cause);
            self.tell_by(now + GATHER_LONG);
        }
        true
    }

    fn suspect(&mut self, at: usize, cause: &Arc<str>) {
        if let Some(target) = self.targets.get_mut(at) {
            target.cause.get_or_insert_with(|| cause.clone());
            self.suspected.insert(at);
        }
    }

    fn tell_by(&mut self, time: Instant) {
        if !self.suspected.is_empty() {
            self.tell = Some(self.tell.map_or(time, |tell| tell.min(time)));
        }
    }

    fn earn(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.credit_at);
        let earned = u64::try_from(time.as_micros() / PER_LOOK_UP.as_micros()).unwrap_or(u64::MAX);
        self.credit = self.credit.saturating_add(earned).min(self.most_credit());
        if earned > 0 {
            self.credit_at = now;
        }
    }

    /// Enough to look everybody up at once, and once more when the kernel has done what it announced.
    fn most_credit(&self) -> u64 {
        LEAST_CREDIT.max(2 * self.targets.len() as u64)
    }
}

/// The last address of a prefix.
fn last(prefix: &Prefix) -> IpAddr {
    match prefix.address() {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() | host).into()
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() | host).into()
        }
    }
}

fn words(prefix: &Prefix, change: Change) -> String {
    let what = match change {
        Change::Gone => "is gone",
        Change::New => "is new",
        Change::Replaced => "has changed",
        Change::Unreachable => "is unreachable",
        Change::Blackhole => "is a blackhole",
        Change::Prohibited => "is prohibited",
    };
    match prefix.is_host() {
        true => format!("route to {} {what}", prefix.address()),
        false => format!("route to {prefix} {what}"),
    }
}

fn together(causes: &[Arc<str>]) -> String {
    let named: Vec<&str> = causes.iter().take(MOST_CAUSES).map(|cause| &**cause).collect();
    match causes.len().saturating_sub(MOST_CAUSES) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests;
