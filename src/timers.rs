//! Deadlines: [`Timers`], a small fixed table for one state machine, and [`Deadlines`], a queue over many of them.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::time::Instant;

/// The timers of one state machine: an enum whose variants say what expiry means.
pub trait TimerKind: Copy + 'static {
    /// Every variant once, in the order in which timers that expire together are handled.
    const ALL: &'static [Self];

    /// The variant's place in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

/// `N` deadlines, one per kind; an unarmed timer is `None`, never a zero duration.
#[derive(Clone, Debug)]
pub struct Timers<K, const N: usize> {
    at: [Option<Instant>; N],
    kinds: PhantomData<K>,
}

impl<K: TimerKind, const N: usize> Timers<K, N> {
    /// All unarmed.
    pub fn new() -> Self {
        const { assert!(K::ALL.len() == N) };
        Timers { at: [None; N], kinds: PhantomData }
    }

    /// Arms or re-arms one timer; `None` stops it.
    pub fn set(&mut self, kind: K, at: Option<Instant>) {
        self.at[kind.index()] = at;
    }

    /// When this timer expires, if it is armed.
    pub fn at(&self, kind: K) -> Option<Instant> {
        self.at[kind.index()]
    }

    /// The earliest deadline.
    pub fn earliest(&self) -> Option<Instant> {
        self.at.iter().flatten().min().copied()
    }

    /// Takes one expired timer, stopping it.
    pub fn expire(&mut self, now: Instant) -> Option<K> {
        let hit = self.at.iter().position(|at| at.is_some_and(|at| at <= now))?;
        self.at[hit] = None;
        Some(K::ALL[hit])
    }

    /// Stops all.
    pub fn clear(&mut self) {
        self.at = [None; N];
    }
}

impl<K: TimerKind, const N: usize> Default for Timers<K, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// One deadline per key, the earliest always at hand. Every operation costs O(log n).
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    by_key: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K: Ord + Clone> Deadlines<K> {
    /// None armed.
    pub fn new() -> Self {
        Deadlines { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// Arms or re-arms the key's deadline; `None` removes it.
    pub fn set(&mut self, key: K, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.by_key.insert(key.clone(), at),
            None => self.by_key.remove(&key),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.by_time.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            self.by_time.insert((at, key));
        }
    }

    /// The earliest deadline.
    pub fn earliest(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one expired key, the earliest first, disarming it.
    pub fn expire(&mut self, now: Instant) -> Option<K> {
        if self.earliest()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// Disarms all.
    pub fn clear(&mut self) {
        self.by_key.clear();
        self.by_time.clear();
    }
}

impl<K: Ord + Clone> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(crate) use tests::origin;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Some origin for the virtual time of tests: the only one that there is outside of the driver.
    #[expect(clippy::disallowed_methods, reason = "a test needs some origin for virtual time")]
    pub(crate) fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn deadlines_expire_in_order_and_rearm() {
        let start = origin();
        let at = |s| start + Duration::from_secs(s);
        let mut deadlines = Deadlines::new();
        deadlines.set("a", Some(at(3)));
        deadlines.set("b", Some(at(1)));
        deadlines.set("c", Some(at(2)));
        deadlines.set("a", Some(at(0)));
        deadlines.set("c", None);
        assert_eq!(deadlines.earliest(), Some(at(0)));
        assert_eq!(deadlines.expire(at(1)), Some("a"));
        assert_eq!(deadlines.expire(at(0)), None);
        assert_eq!(deadlines.expire(at(1)), Some("b"));
        assert_eq!(deadlines.earliest(), None);
    }
}
