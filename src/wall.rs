//! Turns the monotonic instants that cores work with into the wall-clock times that people read.

use std::fmt;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A pair of readings of both clocks, taken together by the driver.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    instant: Instant,
    since_epoch: Duration,
}

impl WallClock {
    /// `since_epoch` is the time since 1970-01-01 UTC that the wall clock showed at `instant`.
    pub fn new(instant: Instant, since_epoch: Duration) -> WallClock {
        WallClock { instant, since_epoch }
    }

    /// The wall-clock time of `at`.
    pub fn timestamp(&self, at: Instant) -> Timestamp {
        let since_epoch = if at >= self.instant {
            self.since_epoch.saturating_add(at - self.instant)
        } else {
            self.since_epoch.saturating_sub(self.instant - at)
        };
        Timestamp(since_epoch.min(LAST))
    }

    /// When the wall clock shows `at`; the earliest or latest time that can be told when it is further away than that.
    pub fn instant(&self, at: Timestamp) -> Instant {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
        if at.0 >= self.since_epoch {
            let after = (at.0 - self.since_epoch).min(CENTURY);
            self.instant.checked_add(after).unwrap_or(self.instant)
        } else {
            self.instant.checked_sub(self.since_epoch - at.0).unwrap_or(self.instant)
        }
    }
}

/// The last second of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// A wall-clock time; displays and serialises as RFC 3339 UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// Time since 1970-01-01 UTC.
    pub fn since_epoch(self) -> Duration {
        self.0
    }

    /// So much later; the end of the year 9999 at the latest, which is what RFC 3339 can write.
    pub fn after(self, time: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(time).min(LAST))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(UNIX_EPOCH + self.0).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(de::Error::custom)?;
        time.duration_since(UNIX_EPOCH).map(Timestamp).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_both_ways() {
        let now = crate::timers::origin();
        let clock = WallClock::new(now, Duration::from_millis(1_767_225_600_123));
        let stamp = clock.timestamp(now + Duration::from_secs(1));
        assert_eq!(stamp.to_string(), "2026-01-01T00:00:01.123Z");
        let json = serde_json::to_string(&stamp).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), stamp);
        for offset in [0, 1, 100_000] {
            let at = now + Duration::from_secs(offset);
            assert_eq!(clock.instant(clock.timestamp(at)), at);
        }
        assert_eq!(clock.instant(clock.timestamp(now - Duration::from_secs(5))), now - Duration::from_secs(5));
        assert!(clock.instant(stamp.after(Duration::MAX)) > now);
        assert_eq!(stamp.after(Duration::MAX).to_string(), "9999-12-31T23:59:59.000Z");
        assert_eq!(clock.timestamp(now - Duration::from_secs(1)).to_string(), "2025-12-31T23:59:59.123Z");
    }
}
