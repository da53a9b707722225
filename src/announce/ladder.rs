//! Which rung of its ladder a VIP stands on: down at once, up after `hold_up`.

use std::time::{Duration, Instant};

use super::Share;
use super::decision::later;
use crate::config::Rung;

/// The rung that a share is for: 0 is the top, all is well; else one more than the index of the [`Rung`].
pub(super) fn rung(ladder: &[Rung], share: Share) -> usize {
    ladder.iter().rposition(|rung| share.is_below(rung.below)).map_or(0, |index| index + 1)
}

/// Where a VIP stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The rung; 0 is the top.
    pub(super) rung: usize,
    /// The highest rung that it has deserved all the time since then, when that is above the one it stands on.
    climb: Option<(usize, Instant)>,
}

impl Place {
    /// Not on the ladder so far: it begins where it belongs.
    pub(super) fn begin(&mut self, rung: usize) {
        *self = Place { rung, climb: None };
    }

    /// It deserves this rung now. Returns when it is to be looked at again.
    pub(super) fn deserve(&mut self, now: Instant, rung: usize, hold_up: Duration) -> Option<Instant> {
        loop {
            if rung >= self.rung {
                self.begin(rung);
                return None;
            }
            let (to, since) = self.climb.map_or((rung, now), |(to, since)| (to.max(rung), since));
            let due = later(since, hold_up);
            if due > now {
                self.climb = Some((to, since));
                return Some(due);
            }
            // What it has deserved for less long waits anew.
            *self = Place { rung: to, climb: None };
            if rung < to && !hold_up.is_zero() {
                self.climb = Some((rung, now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RungAction;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn shares_and_rungs() {
        let ladder = [90, 50, 20].map(|below| Rung { below, action: RungAction::Withdraw });
        let at = |counting, total| rung(&ladder, Share { counting, total });
        assert_eq!(
            [at(10, 10), at(9, 10), at(8, 10), at(5, 10), at(4, 10), at(2, 10), at(1, 10)],
            [0, 0, 1, 1, 2, 2, 3]
        );
        assert_eq!((at(0, 3), at(1, 3), at(2, 3), at(0, 0)), (3, 2, 1, 0), "of nothing, all is healthy");
        assert_eq!(rung(&[], Share { counting: 0, total: 3 }), 0);
    }

    #[test]
    fn down_at_once_and_up_after_a_while() {
        let start = crate::timers::origin();
        let at = |s: u32| start + s * SECOND;
        let mut place = Place::default();
        let hold = 5 * SECOND;
        assert_eq!((place.deserve(at(0), 2, hold), place.rung), (None, 2));
        assert_eq!((place.deserve(at(1), 0, hold), place.rung), (Some(at(6)), 2));
        // It has not been that good all the time.
        assert_eq!((place.deserve(at(3), 1, hold), place.rung), (Some(at(6)), 2));
        assert_eq!((place.deserve(at(4), 0, hold), place.rung), (Some(at(6)), 2));
        assert_eq!((place.deserve(at(6), 0, hold), place.rung), (Some(at(11)), 1));
        assert_eq!((place.deserve(at(7), 1, hold), place.rung), (None, 1));
        assert_eq!((place.deserve(at(8), 0, hold), place.rung), (Some(at(13)), 1));
        assert_eq!((place.deserve(at(9), 3, hold), place.rung), (None, 3));
        assert_eq!((place.deserve(at(10), 0, Duration::ZERO), place.rung), (None, 0));
    }
}
