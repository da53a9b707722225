//! The prefixes of one group, in the order in which they joined it.
//!
//! Most of them leave from the front, as they are told; who leaves earlier is only counted, and skipped when its turn
//! comes. Whether a prefix is still in the group is for the owner to know. A list is several times cheaper than a set, and
//! prefixes come in order already when there are many of them.

use std::collections::VecDeque;

use crate::prefix::Prefix;

/// A queue is swept when it is longer than twice its members and this.
const SLACK: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// All members, and some that have left; some more than once.
    prefixes: VecDeque<Prefix>,
    members: usize,
}

impl Queue {
    /// One that was no member is one now.
    pub(super) fn join(&mut self, prefix: Prefix) {
        self.prefixes.push_back(prefix);
        self.members += 1;
    }

    /// One that was a member is one no more; `is_member` tells of all others.
    pub(super) fn leave(&mut self, is_member: impl Fn(&Prefix) -> bool) {
        self.members -= 1;
        if self.prefixes.len() > 2 * self.members + SLACK {
            self.prefixes.retain(is_member);
            let prefixes = self.prefixes.make_contiguous();
            prefixes.sort_unstable();
            let mut sorted = Vec::from(std::mem::take(&mut self.prefixes));
            sorted.dedup();
            self.prefixes = sorted.into();
        }
    }

    /// The first in the queue, which may have left the group. A member is to be [`took`](Self::took).
    pub(super) fn next(&mut self) -> Option<Prefix> {
        self.prefixes.pop_front()
    }

    /// What [`next`](Self::next) gave was a member.
    pub(super) fn took(&mut self) {
        self.members -= 1;
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.members
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.members == 0
    }

    #[cfg(test)]
    pub(super) fn contains(&self, prefix: &Prefix) -> bool {
        self.prefixes.contains(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn who_comes_and_goes_takes_no_room() {
        let prefix = |i: u8| Prefix::from(std::net::Ipv4Addr::from([192, 0, 2, i]));
        let (mut queue, mut members) = (Queue::default(), BTreeSet::new());
        for i in 0..10 {
            queue.join(prefix(i));
            members.insert(prefix(i));
        }
        for i in (5..10).cycle().take(10_000) {
            members.remove(&prefix(i));
            queue.leave(|prefix| members.contains(prefix));
            queue.join(prefix(i));
            members.insert(prefix(i));
            assert!(queue.prefixes.len() <= 2 * members.len() + SLACK, "{}", queue.prefixes.len());
        }
        let mut seen = BTreeSet::new();
        while let Some(prefix) = queue.next() {
            if seen.insert(prefix) {
                queue.took();
            }
        }
        assert_eq!(seen, members);
        assert!(queue.is_empty());
    }
}
