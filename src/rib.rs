//! The routes that all peers shall have, whatever they have been told so far.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::sync::Arc;

use crate::config::Attributes;
use crate::prefix::Prefix;

/// Room for changes, to begin with.
const ROOM: usize = 16;

/// The wanted routes. Level, not edge: whoever writes says what shall be, and [`take_changed`](Self::take_changed)
/// names the prefixes that may now differ from before, so that the cost of a change does not depend on the size.
#[derive(Debug, Default)]
pub struct Rib {
    wanted: BTreeMap<Prefix, Arc<Attributes>>,
    /// In the order in which they changed, some more than once.
    changed: Vec<Prefix>,
    /// Announced before a restart, and not decided upon since: peers are to be told nothing of these.
    undecided: BTreeSet<Prefix>,
}

impl Rib {
    /// Wants `prefix` with these attributes, or not at all.
    pub fn set(&mut self, prefix: Prefix, wanted: Option<Arc<Attributes>>) {
        let changed = match wanted {
            Some(attributes) => self.wanted.insert(prefix, attributes.clone()) != Some(attributes),
            None => self.wanted.remove(&prefix).is_some(),
        };
        if self.undecided.remove(&prefix) || changed {
            self.note_changed(prefix);
        }
    }

    /// Nothing is decided about `prefix`, until it is [`set`](Self::set): who has it shall keep it.
    pub fn leave_undecided(&mut self, prefix: Prefix) {
        self.undecided.insert(prefix);
    }

    /// What is undecided is not wanted.
    pub fn decide_all(&mut self) {
        self.undecided.clear();
    }

    /// Whether it is known if `prefix` is wanted.
    pub fn is_decided(&self, prefix: &Prefix) -> bool {
        !self.undecided.contains(prefix)
    }

    /// The wanted attributes of `prefix`.
    pub fn get(&self, prefix: &Prefix) -> Option<&Arc<Attributes>> {
        self.wanted.get(prefix)
    }

    /// All wanted prefixes, in order.
    pub fn prefixes(&self) -> impl Iterator<Item = &Prefix> {
        self.wanted.keys()
    }

    /// The wanted prefixes within `range`, in order.
    pub fn range(&self, range: impl RangeBounds<Prefix>) -> impl Iterator<Item = &Prefix> {
        self.wanted.range(range).map(|(prefix, _)| prefix)
    }

    /// The prefixes that changed since the last call, in order, each once.
    pub fn take_changed(&mut self) -> Vec<Prefix> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// What changes most often changes with its neighbours, and in order: a list is then cheaper than a set. What changes
    /// again and again has no more room in it than its due.
    fn note_changed(&mut self, prefix: Prefix) {
        if self.changed.len() == self.changed.capacity() {
            self.changed.sort_unstable();
            self.changed.dedup();
            self.changed.reserve(self.changed.len().max(ROOM));
        }
        self.changed.push(prefix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_changes_are_changes() {
        let mut rib = Rib::default();
        let prefix: Prefix = "192.0.2.1".parse().unwrap();
        rib.set(prefix, Some(Arc::default()));
        assert_eq!(rib.take_changed(), [prefix]);
        rib.set(prefix, Some(Arc::default()));
        assert_eq!(rib.take_changed(), []);
        rib.set(prefix, Some(Arc::new(Attributes { med: Some(1), ..Attributes::default() })));
        assert_eq!(rib.take_changed(), [prefix]);
        rib.set(prefix, None);
        rib.set(prefix, None);
        assert_eq!(rib.take_changed(), vec![prefix]);
        rib.leave_undecided(prefix);
        assert!(!rib.is_decided(&prefix) && rib.take_changed().is_empty());
        rib.set(prefix, None);
        assert_eq!(
            (rib.is_decided(&prefix), rib.take_changed()),
            (true, vec![prefix]),
            "that it is not wanted is news"
        );
    }

    #[test]
    fn what_changes_often_is_one_change() {
        let mut rib = Rib::default();
        let prefix = |i: u8| Prefix::from(std::net::Ipv4Addr::from([192, 0, 2, i]));
        for round in 0..1000 {
            for i in (0..3).rev() {
                rib.set(prefix(i), (round % 2 == 0).then(Arc::default));
            }
            assert!(rib.changed.len() <= 2 * ROOM, "{}", rib.changed.len());
        }
        assert_eq!(rib.take_changed(), [prefix(0), prefix(1), prefix(2)]);
        assert_eq!(rib.take_changed(), []);
    }
}
