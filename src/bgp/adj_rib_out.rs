//! Adj-RIB-Out (RFC 4271 §3.2): what one peer has been told, and what it is still to be told.
//!
//! Level, not edge: [`want`](AdjRibOut::want) says what a prefix shall be, and what is pending is the difference to what
//! the peer has been told: at most one entry per prefix, however often it changed meanwhile. Pending routes wait in
//! groups that share their attributes, so that they leave in shared messages; withdrawals leave first.

mod queue;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::Bound;
use std::sync::Arc;

use queue::Queue;

use super::attribute::PathAttributes;
use super::update::{self, Encoding};
use crate::prefix::{Family, Prefix};

/// What one peer has been told, and what is pending.
#[derive(Debug, Default)]
pub struct AdjRibOut {
    told: BTreeMap<Prefix, Arc<PathAttributes>>,
    told_count: [usize; 2],
    pending: BTreeMap<Prefix, Pending>,
    pending_count: [usize; 2],
    /// The pending prefixes again, by what they share; no group is empty.
    groups: BTreeMap<Group, Queue>,
    /// What the peer may hold of an earlier life of ours (RFC 4724 §4.2: stale routes), and has not heard of since.
    stale: BTreeSet<Prefix>,
}

#[derive(Clone, Debug)]
struct Pending {
    group: Group,
    /// To be sent even if the peer has been told the same (RFC 2918).
    again: bool,
}

/// Routes that may share an UPDATE, in the order in which groups are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Group {
    Withdraw(Family),
    Announce(Family, Arc<PathAttributes>),
}

impl Ord for Group {
    fn cmp(&self, other: &Group) -> Ordering {
        match (self, other) {
            (Group::Withdraw(a), Group::Withdraw(b)) => a.cmp(b),
            (Group::Withdraw(_), Group::Announce(..)) => Ordering::Less,
            (Group::Announce(..), Group::Withdraw(_)) => Ordering::Greater,
            (Group::Announce(a, _), Group::Announce(b, _)) if a != b => a.cmp(b),
            // Most routes share the very same attributes: the pointer answers first.
            (Group::Announce(_, a), Group::Announce(_, b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
            (Group::Announce(_, a), Group::Announce(_, b)) => a.cmp(b),
        }
    }
}

impl PartialOrd for Group {
    fn partial_cmp(&self, other: &Group) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Prefixes of the first UPDATEs of a group; from their size follows how many more there is room for.
const PROBE: usize = 1024;

/// What was written: how much, and some of it.
#[derive(Debug, Default)]
pub struct Written {
    /// Routes.
    pub announced: usize,
    /// Withdrawals.
    pub withdrawn: usize,
    /// The first few of both.
    pub first: Vec<Prefix>,
}

impl Written {
    /// So many are named.
    const NAMED: usize = 10;

    fn note(&mut self, group: &Group, prefixes: &[Prefix]) {
        match group {
            Group::Withdraw(_) => self.withdrawn += prefixes.len(),
            Group::Announce(..) => self.announced += prefixes.len(),
        }
        let room = Written::NAMED.saturating_sub(self.first.len());
        self.first.extend(prefixes.iter().take(room));
    }
}

impl AdjRibOut {
    /// Nothing told, nothing pending.
    pub fn new() -> AdjRibOut {
        AdjRibOut::default()
    }

    /// The peer may hold these prefixes, with whatever attributes: it is told even of those that it shall not have.
    pub fn suspect(&mut self, stale: impl IntoIterator<Item = Prefix>) {
        self.stale.extend(stale);
    }

    /// The peer shall have `prefix` with these attributes, or not at all. With `again` it is told even what it knows.
    pub fn want(&mut self, prefix: Prefix, wanted: Option<Arc<PathAttributes>>, again: bool) {
        let family = prefix.family();
        let told = self.told.get(&prefix);
        let entry = self.pending.entry(prefix);
        let again = again || matches!(&entry, Entry::Occupied(old) if old.get().again);
        let group = match wanted {
            None => (told.is_some() || self.stale.contains(&prefix)).then_some(Group::Withdraw(family)),
            Some(attributes) if !again && told.is_some_and(|told| same(told, &attributes)) => None,
            Some(attributes) => Some(Group::Announce(family, attributes)),
        };
        let left = match (entry, group) {
            (Entry::Vacant(_), None) => return,
            (Entry::Vacant(entry), Some(group)) => {
                self.groups.entry(group.clone()).or_default().join(prefix);
                entry.insert(Pending { group, again });
                self.pending_count[index(family)] += 1;
                return;
            }
            (Entry::Occupied(mut entry), Some(group)) => {
                if entry.get().group == group {
                    entry.get_mut().again = again;
                    return;
                }
                self.groups.entry(group.clone()).or_default().join(prefix);
                entry.insert(Pending { group, again }).group
            }
            (Entry::Occupied(entry), None) => {
                self.pending_count[index(family)] -= 1;
                entry.remove().group
            }
        };
        self.leave(&left);
    }

    /// Appends UPDATEs of what is pending, withdrawals first, until nothing is or `out` holds about `limit` octets. What
    /// was appended counts as told. Returns the routes whose attributes fit no message: the peer does not get them, and
    /// loses what it had of them.
    pub fn write(&mut self, encoding: Encoding, limit: usize, out: &mut Vec<u8>, news: &mut Written) -> Vec<Prefix> {
        let mut refused = Vec::new();
        let mut written: Option<(Group, usize)> = None;
        while out.len() < limit
            && let Some(group) = self.groups.first_key_value().map(|(group, _)| group.clone())
        {
            let room = limit - out.len();
            let count = match &written {
                Some((last, octets_each)) if *last == group => (room / octets_each).max(1),
                _ => PROBE.min(room),
            };
            let prefixes = self.take_group(&group, count);
            let before = out.len();
            let result = match &group {
                Group::Withdraw(family) => {
                    update::encode_withdrawals(*family, &prefixes, encoding, out);
                    Ok(())
                }
                Group::Announce(family, attributes) => {
                    update::encode_announcements(attributes, *family, &prefixes, encoding, out)
                }
            };
            if result.is_ok() {
                self.note_told(&group, &prefixes);
                news.note(&group, &prefixes);
                let octets_each = (out.len() - before) / prefixes.len().max(1);
                written = Some((group, octets_each.max(1)));
            } else {
                prefixes.iter().for_each(|prefix| self.want(*prefix, None, false));
                refused.extend(prefixes);
            }
        }
        refused
    }

    /// How many routes of this family the peer has been told.
    pub fn told_count(&self, family: Family) -> usize {
        self.told_count[index(family)]
    }

    /// How many routes of this family are pending.
    pub fn pending_count(&self, family: Family) -> usize {
        self.pending_count[index(family)]
    }

    /// Whether nothing is pending.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether the peer has been told of `prefix`, and not of its withdrawal.
    pub fn has_told(&self, prefix: &Prefix) -> bool {
        self.told.contains_key(prefix)
    }

    /// With what the peer has been told of `prefix`.
    pub fn told(&self, prefix: &Prefix) -> Option<&Arc<PathAttributes>> {
        self.told.get(prefix)
    }

    /// The prefixes of one family that the peer has been told, in order, those after `after`.
    pub fn told_after(&self, family: Family, after: Option<Prefix>) -> impl Iterator<Item = &Prefix> {
        self.told.range(family_range(family, after)).map(|(prefix, _)| prefix)
    }

    /// The prefixes of one family that the peer may hold of an earlier life, in order, those after `after`.
    pub fn stale_after(&self, family: Family, after: Option<Prefix>) -> impl Iterator<Item = &Prefix> {
        self.stale.range(family_range(family, after))
    }

    /// A prefix is not in this group any more.
    fn leave(&mut self, group: &Group) {
        let Some(queue) = self.groups.get_mut(group) else { return };
        let pending = &self.pending;
        queue.leave(|prefix| pending.get(prefix).is_some_and(|pending| pending.group == *group));
        if queue.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Takes up to `count` prefixes of a group: they are pending no more.
    fn take_group(&mut self, group: &Group, count: usize) -> Vec<Prefix> {
        let Some(queue) = self.groups.get_mut(group) else { return Vec::new() };
        let mut taken = Vec::with_capacity(count.min(queue.len()));
        while taken.len() < count
            && let Some(prefix) = queue.next()
        {
            if let Entry::Occupied(entry) = self.pending.entry(prefix)
                && entry.get().group == *group
            {
                entry.remove();
                queue.took();
                self.pending_count[index(prefix.family())] -= 1;
                taken.push(prefix);
            }
        }
        if queue.is_empty() {
            self.groups.remove(group);
        }
        taken
    }

    fn note_told(&mut self, group: &Group, prefixes: &[Prefix]) {
        for prefix in prefixes {
            self.stale.remove(prefix);
            let count = &mut self.told_count[index(prefix.family())];
            match group {
                Group::Withdraw(_) => *count -= usize::from(self.told.remove(prefix).is_some()),
                Group::Announce(_, attributes) => {
                    *count += usize::from(self.told.insert(*prefix, attributes.clone()).is_none());
                }
            }
        }
    }

    /// Panics when the parts do not agree. Looks at everything: for tests.
    #[cfg(test)]
    pub(crate) fn check_all(&self) {
        let count = |family, keys: &mut dyn Iterator<Item = &Prefix>| keys.filter(|p| p.family() == family).count();
        for family in Family::ALL {
            assert_eq!(self.told_count(family), count(family, &mut self.told.keys()));
            assert_eq!(self.pending_count(family), count(family, &mut self.pending.keys()));
        }
        assert!(self.groups.values().all(|queue| !queue.is_empty()));
        assert_eq!(self.pending.len(), self.groups.values().map(Queue::len).sum::<usize>());
        for (prefix, pending) in &self.pending {
            assert!(self.groups[&pending.group].contains(prefix));
            match &pending.group {
                Group::Withdraw(_) => {
                    let may_have = self.told.contains_key(prefix) || self.stale.contains(prefix);
                    assert!(may_have, "withdraws what was not announced");
                }
                Group::Announce(_, wanted) => {
                    assert!(pending.again || self.told.get(prefix) != Some(wanted), "announces what is unchanged");
                }
            }
        }
    }
}

/// The keys of one family that come after `after`, in any map of prefixes.
pub fn family_range(family: Family, after: Option<Prefix>) -> (Bound<Prefix>, Bound<Prefix>) {
    let first_ipv6 = Prefix::covering(std::net::Ipv6Addr::UNSPECIFIED.into(), 0);
    let (first, end) = match family {
        Family::Ipv4 => (Bound::Unbounded, Bound::Excluded(first_ipv6)),
        Family::Ipv6 => (Bound::Included(first_ipv6), Bound::Unbounded),
    };
    (after.map_or(first, Bound::Excluded), end)
}

/// Most routes share the very same attributes: the pointer answers first.
fn same(a: &Arc<PathAttributes>, b: &Arc<PathAttributes>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn index(family: Family) -> usize {
    family as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::attribute::NextHop;
    use crate::bgp::message::{Inbox, Message};
    use crate::bgp::update::Update;
    use crate::rng::Rng;
    use std::collections::BTreeSet;

    const ENCODING: Encoding = Encoding { four_octet_as: true, mp_ipv4: false, max_len: 4096 };

    fn attributes(family: Family, med: u32) -> Arc<PathAttributes> {
        Arc::new(PathAttributes {
            origin: crate::config::Origin::Igp,
            as_path: Vec::new(),
            next_hop: match family {
                Family::Ipv4 => NextHop::Ipv4([10, 0, 0, 1].into()),
                Family::Ipv6 => NextHop::Ipv6("fd00::1".parse().unwrap()),
            },
            med: Some(med),
            local_pref: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
            extended_communities: Vec::new(),
            only_to_customer: None,
        })
    }

    fn some_prefix(rng: &mut Rng) -> Prefix {
        let host = rng.below(60) as u8;
        match rng.below(2) {
            0 => std::net::Ipv4Addr::from([192, 0, 2, host]).into(),
            _ => std::net::Ipv6Addr::from(u128::from(host)).into(),
        }
    }

    /// Applies UPDATEs to a table, and says how many routes they touched.
    fn apply(octets: &[u8], table: &mut BTreeMap<Prefix, Option<u32>>) -> usize {
        let mut inbox = Inbox::default();
        inbox.push(octets);
        let mut touched = 0;
        while let Some(Message::Update(body)) = inbox.next().unwrap() {
            let update = Update::decode(&body, true, true).unwrap();
            for prefix in update.withdrawn {
                assert!(table.remove(&prefix).is_some(), "withdraws what was not announced");
                touched += 1;
            }
            for (attributes, prefixes) in update.announced {
                touched += prefixes.len();
                table.extend(prefixes.into_iter().map(|prefix| (prefix, attributes.med)));
            }
        }
        touched
    }

    #[test]
    fn whatever_happens_the_peer_ends_with_what_is_wanted_and_hears_no_word_too_many() {
        for seed in 0..64 {
            let mut rng = Rng::new(seed);
            let mut out = AdjRibOut::new();
            let (mut wanted, mut theirs) = (BTreeMap::new(), BTreeMap::new());
            for _ in 0..300 {
                let prefix = some_prefix(&mut rng);
                if rng.below(3) == 0 {
                    wanted.remove(&prefix);
                    out.want(prefix, None, false);
                } else {
                    let med = rng.below(4) as u32;
                    wanted.insert(prefix, Some(med));
                    out.want(prefix, Some(attributes(prefix.family(), med)), false);
                }
                out.check_all();
                if rng.below(10) == 0 {
                    let differ = |prefix: &Prefix| wanted.get(prefix) != theirs.get(prefix);
                    let keys: BTreeSet<_> = wanted.keys().chain(theirs.keys()).copied().collect();
                    let differences = keys.into_iter().filter(differ).count();
                    let mut octets = Vec::new();
                    // Sometimes only a part goes.
                    let limit = if rng.below(2) == 0 { 1 } else { 100_000 };
                    assert_eq!(out.write(ENCODING, limit, &mut octets, &mut Written::default()), []);
                    let touched = apply(&octets, &mut theirs);
                    out.check_all();
                    assert!(if limit == 1 { touched <= differences } else { touched == differences });
                    assert!(theirs.keys().all(|prefix| out.has_told(prefix)));
                }
            }
            let mut octets = Vec::new();
            out.write(ENCODING, 100_000, &mut octets, &mut Written::default());
            apply(&octets, &mut theirs);
            assert!(out.is_settled());
            assert_eq!(theirs, wanted);
        }
    }

    #[test]
    fn withdrawals_leave_before_announcements_and_equal_attributes_share_messages() {
        let mut out = AdjRibOut::new();
        let prefix = |i: u8| Prefix::from(std::net::Ipv4Addr::from([192, 0, 2, i]));
        let mut octets = Vec::new();
        out.want(prefix(1), Some(attributes(Family::Ipv4, 1)), false);
        out.write(ENCODING, 4096, &mut octets, &mut Written::default());
        out.want(prefix(1), None, false);
        // Equal by value, not the same allocation.
        (2..=200).for_each(|i| out.want(prefix(i), Some(attributes(Family::Ipv4, u32::from(i) % 2)), false));
        let mut octets = Vec::new();
        out.write(ENCODING, 100_000, &mut octets, &mut Written::default());
        let mut inbox = Inbox::default();
        inbox.push(&octets);
        let mut updates = Vec::new();
        while let Some(Message::Update(body)) = inbox.next().unwrap() {
            updates.push(Update::decode(&body, true, true).unwrap());
        }
        assert_eq!(updates[0].withdrawn, [prefix(1)]);
        assert_eq!(updates.len(), 3);
    }

    #[test]
    fn what_is_stale_is_withdrawn_once() {
        let mut out = AdjRibOut::new();
        let [gone, back, silent, other] = [1, 2, 3, 4].map(|i| Prefix::from(std::net::Ipv4Addr::from([192, 0, 2, i])));
        out.suspect([gone, back, silent]);
        let mut octets = Vec::new();
        out.write(ENCODING, 4096, &mut octets, &mut Written::default());
        assert!(octets.is_empty(), "nothing is said of what nothing is decided about");
        out.want(gone, None, false);
        out.want(gone, None, false);
        out.want(back, None, false);
        out.want(back, Some(attributes(Family::Ipv4, 1)), false);
        out.want(other, None, false);
        out.check_all();
        out.write(ENCODING, 4096, &mut octets, &mut Written::default());
        let mut table = BTreeMap::from([gone, back, silent].map(|prefix| (prefix, None)));
        assert_eq!(apply(&octets, &mut table), 2);
        assert_eq!(table, BTreeMap::from([(back, Some(1)), (silent, None)]));
        octets.clear();
        out.want(gone, None, false);
        out.write(ENCODING, 4096, &mut octets, &mut Written::default());
        assert!(octets.is_empty(), "it has been told");
        assert!(out.stale_after(Family::Ipv4, None).eq([&silent]));
    }

    #[test]
    fn again_means_again_even_if_it_changes_meanwhile() {
        let mut out = AdjRibOut::new();
        let prefix: Prefix = "192.0.2.1".parse().unwrap();
        let route = attributes(Family::Ipv4, 1);
        let write = |out: &mut AdjRibOut| {
            let mut octets = Vec::new();
            out.write(ENCODING, 4096, &mut octets, &mut Written::default());
            !octets.is_empty()
        };
        out.want(prefix, Some(route.clone()), false);
        assert!(write(&mut out));
        out.want(prefix, Some(route.clone()), false);
        assert!(!write(&mut out));
        out.want(prefix, Some(route.clone()), true);
        out.want(prefix, None, false);
        out.want(prefix, Some(route.clone()), false);
        assert!(write(&mut out));
        out.want(prefix, Some(route), false);
        assert!(!write(&mut out));
        assert_eq!((out.told_count(Family::Ipv4), out.told_count(Family::Ipv6)), (1, 0));
    }
}
