//! How far starts are behind: a small histogram over the last half to whole minute.

use std::time::{Duration, Instant};

/// Two windows of this length: the one being filled, and the one before it.
const WINDOW: Duration = Duration::from_secs(30);

/// Buckets per power of two: a value is known to 12.5 %.
const SUB: u64 = 8;

/// Enough for 2^34 µs (over four hours); longer lags land in the last one.
const BUCKETS: usize = 256;

/// Lags of late, in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Lag {
    began: Option<Instant>,
    current: Window,
    previous: Window,
}

#[derive(Clone, Debug)]
struct Window {
    counts: Box<[u32; BUCKETS]>,
    total: u64,
}

impl Default for Window {
    fn default() -> Window {
        Window { counts: Box::new([0; BUCKETS]), total: 0 }
    }
}

impl Window {
    fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }
}

impl Lag {
    /// One more start, so far behind its time.
    pub(super) fn record(&mut self, now: Instant, behind: Duration) {
        self.advance(now);
        let micros = u64::try_from(behind.as_micros()).unwrap_or(u64::MAX);
        let count = &mut self.current.counts[bucket(micros)];
        *count = count.saturating_add(1);
        self.current.total += 1;
    }

    /// Lets old values go.
    pub(super) fn advance(&mut self, now: Instant) {
        let age = match self.began {
            Some(began) => now.saturating_duration_since(began),
            None => WINDOW,
        };
        if age < WINDOW {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.clear();
        if age >= 2 * WINDOW {
            self.previous.clear();
        }
        self.began = Some(now);
    }

    /// What 99 % of the starts were not behind by more than; zero when there were none.
    pub(super) fn p99(&self) -> Duration {
        let total = self.current.total + self.previous.total;
        let rank = (total * 99).div_ceil(100);
        let mut seen = 0;
        for (bucket, (now, before)) in self.current.counts.iter().zip(self.previous.counts.iter()).enumerate() {
            seen += u64::from(*now) + u64::from(*before);
            if seen >= rank && seen > 0 {
                return Duration::from_micros(ceiling(bucket));
            }
        }
        Duration::ZERO
    }
}

/// Values below [`SUB`] have a bucket each; above, each power of two is cut in [`SUB`] parts.
fn bucket(micros: u64) -> usize {
    if micros < SUB {
        return micros as usize;
    }
    let exponent = u64::from(micros.ilog2()) - u64::from(SUB.ilog2());
    let bucket = exponent * SUB + (micros >> exponent);
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn ceiling(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let exponent = bucket / SUB - 1;
    ((bucket % SUB + SUB + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timers::origin;

    #[test]
    fn every_value_is_in_its_bucket() {
        let mut floor = 0;
        for b in 0..BUCKETS - 1 {
            assert_eq!((bucket(floor), bucket(ceiling(b))), (b, b));
            floor = ceiling(b) + 1;
        }
        assert!(floor > 1 << 33);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_percentile_and_forgetting() {
        let start = origin();
        let mut lag = Lag::default();
        assert_eq!(lag.p99(), Duration::ZERO);
        for n in 0..1000u64 {
            lag.record(start, Duration::from_micros(if n < 985 { 100 } else { 50_000 }));
        }
        let p99 = lag.p99().as_micros();
        assert!((50_000..57_000).contains(&p99), "{p99}");
        lag.record(start + WINDOW, Duration::ZERO);
        assert!(lag.p99().as_micros() >= 50_000);
        lag.advance(start + 2 * WINDOW);
        assert_eq!(lag.p99(), Duration::ZERO);
        lag.record(start + 3 * WINDOW, Duration::from_millis(7));
        lag.advance(start + 5 * WINDOW);
        assert_eq!(lag.p99(), Duration::ZERO);
    }
}
