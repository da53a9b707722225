//! `[bgp.graceful_restart]`: how long routers are asked to keep our routes while we are away.

use std::time::Duration;

/// The Restart Time of RFC 4724 §3: whole seconds, as many as its 12 bits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RestartTime(u16);

impl RestartTime {
    /// Unless set: long enough for a restart that meets trouble, short enough for a daemon that does not come back.
    pub const DEFAULT: RestartTime = RestartTime(120);
    /// The longest that the capability can say.
    pub const MAX_SECS: u16 = 0x0fff;

    /// `None` for 0, which would ask for nothing, and for what the capability cannot say.
    pub fn from_secs(seconds: u64) -> Option<RestartTime> {
        let seconds = u16::try_from(seconds).ok()?;
        (1..=RestartTime::MAX_SECS).contains(&seconds).then_some(RestartTime(seconds))
    }

    /// As in the capability.
    pub fn as_secs(self) -> u16 {
        self.0
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_bits_and_not_zero() {
        for (seconds, valid) in [(0, false), (1, true), (4095, true), (4096, false), (65_536 + 1, false)] {
            assert_eq!(RestartTime::from_secs(seconds).map(|time| u64::from(time.as_secs())), valid.then_some(seconds));
        }
    }
}
