//! The routes that all peers shall have, whatever they have been told so far.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::sync::Arc;

use crate::config::Attributes;
use crate::prefix::Prefix;

/// The wanted routes. Level, not edge: whoever writes says what shall be, and [`take_changed`](Self::take_changed)
/// names the prefixes that may now differ from before, so that the cost of a change does not depend on the size.
#[derive(Debug, Default)]
pub struct Rib {
    wanted: BTreeMap<Prefix, Arc<Attributes>>,
    changed: BTreeSet<Prefix>,
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
            self.changed.insert(prefix);
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

    /// The prefixes that changed since the last call.
    pub fn take_changed(&mut self) -> BTreeSet<Prefix> {
        std::mem::take(&mut self.changed)
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
        assert_eq!(rib.take_changed(), [prefix].into());
        rib.set(prefix, Some(Arc::default()));
        assert_eq!(rib.take_changed(), [].into());
        rib.set(prefix, Some(Arc::new(Attributes { med: Some(1), ..Attributes::default() })));
        assert_eq!(rib.take_changed(), [prefix].into());
        rib.set(prefix, None);
        rib.set(prefix, None);
        assert_eq!(rib.take_changed(), [prefix].into());
        rib.leave_undecided(prefix);
        assert!(!rib.is_decided(&prefix) && rib.take_changed().is_empty());
        rib.set(prefix, None);
        assert_eq!(
            (rib.is_decided(&prefix), rib.take_changed()),
            (true, [prefix].into()),
            "that it is not wanted is news"
        );
    }
}
