//! Durations as people read them.

use std::time::Duration;

/// The two largest units that say something: `42s`, `3m12s`, `5h03m`, `2d04h`.
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if days > 0 => format!("{days}d{:02}h", hours % 24),
        () if hours > 0 => format!("{hours}h{:02}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{:02}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_at_most() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m00s"), (192, "3m12s"), (18_180, "5h03m"), (187_200, "2d04h")]
        {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
