//! When a check runs: its own grid in steady state, `fast_interval` while its verdict is open, `first_interval` before
//! there is one, all rounded up to ticks so that checks due at about the same time start in one turn of the loop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::Timing;
use crate::rng::Rng;

/// First runs are spread over at most this much, so that first verdicts come soon.
const FIRST_SPREAD: Duration = Duration::from_secs(1);

/// The longest tick. Shorter ones cost a turn of the loop each, longer ones add to the time to detect a failure.
const MAX_TICK: Duration = Duration::from_millis(10);

/// A tick is at most this part of the interval, so that rounding moves no start by more than 5 %.
const TICKS_PER_INTERVAL: u64 = 20;

/// Where in its interval a check runs, as a fraction of 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase(u64);

impl Phase {
    /// The `n`th of a sequence whose every stretch lies evenly over the interval: multiples of the golden ratio.
    fn nth(n: u64) -> Phase {
        Phase(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// This part of `span`.
    fn of(self, span: u64) -> u64 {
        ((u128::from(self.0) * u128::from(span)) >> 64) as u64
    }
}

/// Gives out phases. Each interval has a sequence of its own: checks of other intervals do not leave gaps in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Phases {
    next: BTreeMap<Duration, u64>,
}

impl Phases {
    /// For one more check of this interval.
    pub(super) fn assign(&mut self, interval: Duration) -> Phase {
        let next = self.next.entry(interval).or_default();
        let phase = Phase::nth(*next);
        *next = next.wrapping_add(1);
        phase
    }

    /// Forgets the sequences of intervals that nothing uses any more.
    pub(super) fn retain(&mut self, used: impl Fn(&Duration) -> bool) {
        self.next.retain(|interval, _| used(interval));
    }
}

/// The times at which one check runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Of all ticks and grids. All arithmetic is on nanoseconds since, saturating: no duration makes it panic.
    origin: Instant,
    phase: Phase,
    interval: u64,
    fast: u64,
    /// Before the first verdict.
    first: u64,
    /// While a failing verdict stands.
    down: u64,
    jitter: u64,
}

impl Pace {
    /// `origin` is the same for all checks, and does not change.
    pub(super) fn new(origin: Instant, phase: Phase, timing: &Timing) -> Pace {
        let mut pace = Pace { origin, phase, interval: 0, fast: 0, first: 0, down: 0, jitter: 0 };
        pace.set_timing(timing);
        pace
    }

    /// Other intervals, the same phase.
    pub(super) fn set_timing(&mut self, timing: &Timing) {
        // A zero would never let time pass.
        self.interval = nanos(timing.interval).max(1_000_000);
        self.fast = nanos(timing.fast_interval).clamp(1_000_000, self.interval);
        self.first = nanos(timing.first_interval).clamp(1_000_000, self.fast);
        self.down = nanos(timing.down_interval).max(1_000_000);
        self.jitter = nanos(timing.jitter).min(self.interval.min(self.down) - 1);
    }

    /// The first start of a check that is new at `now`.
    pub(super) fn first(&self, now: Instant) -> Instant {
        let spread = self.phase.of(self.interval.min(nanos(FIRST_SPREAD)));
        self.instant(round_up(self.since_origin(now).saturating_add(spread), tick(self.interval)))
    }

    /// The first start on the grid that is later than `after`: that of `down_interval` if it is `down`.
    pub(super) fn regular(&self, after: Instant, down: bool) -> Instant {
        let after = self.since_origin(after);
        let interval = if down { self.down } else { self.interval };
        let tick = tick(interval);
        let offset = self.phase.of(interval);
        // A start is its grid point, jitter, and what rounding adds: that of an earlier point may lie ahead.
        let from = after.saturating_sub(tick).saturating_sub(self.jitter);
        let mut run = from.checked_sub(offset).map_or(0, |past| past / interval + 1);
        loop {
            let grid = offset.saturating_add(run.saturating_mul(interval));
            let start = round_up(grid.saturating_add(self.jitter_of(run)), tick);
            if start > after || start == u64::MAX {
                return self.instant(start);
            }
            run += 1;
        }
    }

    /// The same for the same run of the same check, and as good as random for others.
    fn jitter_of(&self, run: u64) -> u64 {
        match self.jitter {
            0 => 0,
            jitter => Rng::new(self.phase.0 ^ run).below(jitter),
        }
    }

    /// The start that follows one at `last` in haste; not before `now`.
    pub(super) fn fast(&self, last: Instant, now: Instant) -> Instant {
        self.soon(self.fast, last, now)
    }

    /// The same before the first verdict.
    pub(super) fn early(&self, last: Instant, now: Instant) -> Instant {
        self.soon(self.first, last, now)
    }

    fn soon(&self, interval: u64, last: Instant, now: Instant) -> Instant {
        let tick = tick(interval);
        let last = self.since_origin(last);
        // The last start was a little after its tick; without this each run would lose another tick.
        let next = (last - last % tick).saturating_add(interval);
        self.instant(round_up(next.max(self.since_origin(now)), tick))
    }

    fn since_origin(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.origin))
    }

    fn instant(&self, since_origin: u64) -> Instant {
        self.origin.checked_add(Duration::from_nanos(since_origin)).unwrap_or(self.origin)
    }
}

fn tick(interval: u64) -> u64 {
    (interval / TICKS_PER_INTERVAL).clamp(1, nanos(MAX_TICK))
}

fn round_up(at: u64, tick: u64) -> u64 {
    at.checked_next_multiple_of(tick).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timers::origin;

    const MS: Duration = Duration::from_millis(1);

    fn timing(interval: Duration, fast_interval: Duration) -> Timing {
        Timing { interval, fast_interval, ..Timing::default() }
    }

    #[test]
    fn starts_lie_evenly_over_the_interval() {
        let origin = origin();
        for (checks, interval) in [(1000, 1000 * MS), (5000, 5000 * MS), (777, 1000 * MS), (20_000, 10_000 * MS)] {
            let mut phases = Phases::default();
            let buckets = interval.as_millis() as usize / 10;
            let mut first = vec![0; 101];
            let mut steady = vec![0; buckets + 1];
            for _ in 0..checks {
                let pace = Pace::new(origin, phases.assign(interval), &timing(interval, interval));
                first[(pace.first(origin) - origin).as_millis() as usize / 10] += 1;
                let start = pace.regular(origin + interval * 7, false) - origin - interval * 7;
                steady[start.as_millis() as usize / 10] += 1;
            }
            // A low-discrepancy sequence strays from the mean by a few, however many there are.
            let even = |bins: &[i32], mean: i32| bins.iter().all(|n| (n - mean).abs() <= 4);
            assert!(even(&steady[1..buckets], checks / buckets as i32), "{checks}: {steady:?}");
            assert!(even(&first[1..100], checks / 100), "{checks}: {first:?}");
        }
    }

    #[test]
    fn other_intervals_leave_no_gaps() {
        let mut phases = Phases::default();
        let mut alone = Phases::default();
        for _ in 0..100 {
            let phase = phases.assign(1000 * MS);
            phases.assign(5000 * MS);
            assert_eq!(phase, alone.assign(1000 * MS));
        }
        phases.retain(|interval| *interval == 5000 * MS);
        assert_eq!(phases.next.len(), 1);
    }

    #[test]
    fn the_grid_does_not_drift() {
        let origin = origin();
        for (interval, late) in [(1000 * MS, 3 * MS), (1003 * MS, 9 * MS), (10 * MS, MS / 4), (77 * MS, MS)] {
            let mut phases = Phases::default();
            phases.assign(interval);
            let pace = Pace::new(origin, phases.assign(interval), &timing(interval, interval));
            let begin = pace.regular(origin, false);
            let mut at = begin;
            for run in 1..=10_000u32 {
                let next = pace.regular(at + late, false);
                assert!(next > at + late);
                at = next;
                let ideal = begin + interval * run;
                let off = at.max(ideal) - at.min(ideal);
                assert!(off <= (interval / 20).min(10 * MS), "{interval:?}: {off:?} off after {run} runs");
            }
        }
    }

    #[test]
    fn while_down_it_has_a_grid_of_its_own() {
        let origin = origin();
        let slow = Timing { down_interval: 5000 * MS, ..timing(1000 * MS, 1000 * MS) };
        let pace = Pace::new(origin, Phase::nth(3), &slow);
        let mut at = origin;
        for _ in 0..100 {
            let next = pace.regular(at, true);
            assert!(at == origin || next - at == 5000 * MS);
            at = next;
        }
        let next = pace.regular(at, false);
        assert!(next > at && next - at <= 1000 * MS);
    }

    #[test]
    fn jitter_delays_each_start_anew_and_never_adds_up() {
        let origin = origin();
        let jittery = Timing { jitter: 300 * MS, ..timing(1000 * MS, 1000 * MS) };
        let (plain, pace) = (Timing { jitter: Duration::ZERO, ..jittery }, jittery);
        let [plain, pace] = [plain, pace].map(|timing| Pace::new(origin, Phase::nth(5), &timing));
        let (mut ideal, mut at) = (origin, origin);
        let mut delays = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            (ideal, at) = (plain.regular(ideal, false), pace.regular(at, false));
            let delay = at.checked_duration_since(ideal).unwrap();
            assert!(delay <= 310 * MS, "{delay:?}");
            delays.insert(delay);
        }
        assert!(delays.len() > 20 && *delays.first().unwrap() < 20 * MS && *delays.last().unwrap() > 280 * MS);
    }

    #[test]
    fn haste_keeps_its_pace_and_never_looks_back() {
        let origin = origin();
        let pace = Pace::new(origin, Phase::nth(1), &timing(1000 * MS, 200 * MS));
        let mut at = pace.first(origin);
        let begin = at;
        for run in 1..=1000u32 {
            at = pace.fast(at + MS * 3, at + MS * 4);
            assert_eq!(at, begin + 200 * MS * run);
        }
        // The last run took longer than that: at once, on a tick.
        let now = at + 503 * MS;
        let next = pace.fast(at, now);
        assert!(next >= now && next < now + 10 * MS);
    }

    #[test]
    fn starts_meet_on_ticks() {
        let origin = origin();
        let mut phases = Phases::default();
        for (interval, tick) in [(1000, 10_000), (100, 5000), (10, 500)] {
            for _ in 0..100 {
                let pace = Pace::new(origin, phases.assign(interval * MS), &timing(interval * MS, interval * MS));
                for at in [pace.first(origin), pace.regular(origin, false), pace.fast(origin, origin)] {
                    assert_eq!((at - origin).as_micros() % tick, 0);
                }
            }
        }
    }

    #[test]
    fn absurd_times_do_not_panic() {
        let origin = origin();
        for (interval, fast) in [(Duration::MAX, Duration::MAX), (Duration::ZERO, Duration::ZERO), (Duration::MAX, MS)]
        {
            let pace = Pace::new(origin, Phase::nth(3), &timing(interval, fast));
            for at in [origin, origin + Duration::from_secs(1 << 33)] {
                assert!(pace.regular(at, false) > at || interval == Duration::MAX);
                let _ = (pace.first(at), pace.fast(at, at));
            }
        }
    }
}
