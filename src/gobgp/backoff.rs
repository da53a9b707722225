//! When to try again: soon after what passes by itself, slowly after what needs a person.

use std::time::Duration;

use super::cause::Cause;
use crate::rng::Rng;

/// At once, but for what a driver needs to take breath.
const AT_ONCE: Duration = Duration::from_millis(50);
/// No two attempts follow closer than this, but for the first after a connection that has served.
const SHORTEST: Duration = Duration::from_millis(200);
/// The longest wait after what needs a person, unless `connect_retry` is longer.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a connection must have been Established for its end to be no failure.
const SERVED: Duration = Duration::from_secs(1);
/// How long it must have been for failures that need a person to be forgotten.
const STABLE: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    passing: u32,
    lasting: u32,
}

impl Backoff {
    /// Counts an end or a failure, and says how long to wait after it. `established` is for how long the connection was.
    pub(super) fn after(
        &mut self,
        cause: &Cause,
        established: Option<Duration>,
        connect_retry: Duration,
        rng: &mut Rng,
    ) -> Duration {
        let served = |least| established.is_some_and(|time| time >= least);
        if served(SERVED) {
            self.passing = 0;
        }
        if served(STABLE) {
            self.lasting = 0;
        }
        let shortest = (connect_retry / 5).max(SHORTEST);
        if !cause.passes_by_itself() {
            let first = connect_retry.max(shortest);
            let wait = grow(first, self.lasting, LONGEST.max(first));
            self.lasting = self.lasting.saturating_add(1);
            return rng.jitter(wait);
        }
        if served(SERVED) {
            return AT_ONCE;
        }
        let wait = grow(shortest, self.passing, connect_retry.max(shortest));
        self.passing = self.passing.saturating_add(1);
        rng.jitter(wait)
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        *self = Backoff::default();
    }
}

fn grow(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soon_for_a_restart_and_ever_later_for_a_stranger() {
        let (second, mut rng, mut backoff) = (Duration::from_secs(1), Rng::new(1), Backoff::default());
        let refused = Cause::ConnectFailed("Connection refused".into());
        assert!(backoff.after(&Cause::Closed(None), Some(second), second, &mut rng) <= Duration::from_millis(100));
        let waits: Vec<_> = (0..20).map(|_| backoff.after(&refused, None, second, &mut rng)).collect();
        assert!(waits[0] <= SHORTEST && waits[19] <= second && waits[19] >= second * 3 / 4);
        let waits: Vec<_> = (0..20).map(|_| backoff.after(&Cause::NotGobgp, None, second, &mut rng)).collect();
        assert!(waits[0] <= second && waits[19] <= LONGEST && waits[19] >= LONGEST * 3 / 4);
        // Established for a moment is no success.
        let short = Duration::from_millis(5);
        let waits: Vec<_> =
            (0..9).map(|_| backoff.after(&Cause::Closed(None), Some(short), second, &mut rng)).collect();
        assert!(waits[8] >= second * 3 / 4);
    }
}
