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
}

impl Rib {
    /// Wants `prefix` with these attributes, or not at all.
    pub fn set(&mut self, prefix: Prefix, wanted: Option<Arc<Attributes>>) {
        let changed = match wanted {
            Some(attributes) => self.wanted.insert(prefix, attributes.clone()) != Some(attributes),
            None => self.wanted.remove(&prefix).is_some(),
        };
        if changed {
            self.changed.insert(prefix);
        }
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
    }
}
