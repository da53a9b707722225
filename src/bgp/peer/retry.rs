//! When to try again: quick after what passes by itself, slow after what needs a person.
//!
//! A router that restarts refuses connections, or accepts and closes them, for a few seconds, and shall be noticed
//! within `connect_retry`; so the time between two attempts grows from a fifth of it to all of it and no further. One
//! that answers with a NOTIFICATION, or gives us cause for one, will do so again: there the time doubles up to a
//! minute. This is the DampPeerOscillations of RFC 4271 §8.1.1.

use std::time::Duration;

use crate::bgp::cause::Cause;
use crate::bgp::error::Notification;

/// No two attempts follow closer than this.
pub(super) const SHORTEST: Duration = Duration::from_millis(200);
/// The longest wait after NOTIFICATIONs, unless `connect_retry` is longer.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a session must have been Established for its end to count as the first failure again.
pub(super) const STABLE: Duration = Duration::from_secs(30);

/// Failures in a row, by what they ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    passing: u32,
    lasting: u32,
}

/// The wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// At least this long from now.
    pub(super) from_now: Duration,
    /// At least this long from the start of the last attempt.
    pub(super) from_attempt: Duration,
}

impl Backoff {
    /// Counts a failure, and says how long to wait after it.
    pub(super) fn after(&mut self, cause: &Cause, connect_retry: Duration) -> Wait {
        let shortest = shortest(connect_retry);
        if passes_by_itself(cause) {
            let from_attempt = grow(shortest, self.passing, connect_retry.max(shortest));
            self.passing = self.passing.saturating_add(1);
            Wait { from_now: shortest, from_attempt }
        } else {
            let first = connect_retry.max(shortest);
            let from_now = grow(first, self.lasting, LONGEST.max(first));
            self.lasting = self.lasting.saturating_add(1);
            Wait { from_now, from_attempt: Duration::ZERO }
        }
    }

    /// Forgets all failures.
    pub(super) fn reset(&mut self) {
        *self = Backoff::default();
    }
}

/// The wait after a first failure.
pub(super) fn shortest(connect_retry: Duration) -> Duration {
    (connect_retry / 5).max(SHORTEST)
}

fn grow(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(longest)
}

/// TCP trouble and silence pass by themselves, and so does a router that is not ready or has not yet noticed that our
/// last session is gone: Connection Rejected and Connection Collision Resolution (RFC 4486 §3). After an Administrative
/// Reset or an Other Configuration Change the router is there again at once; §4 asks for damping after neither.
fn passes_by_itself(cause: &Cause) -> bool {
    match cause {
        Cause::ConnectFailed(_)
        | Cause::ConnectTimeout(_)
        | Cause::GivenUp(_)
        | Cause::Closed(_)
        | Cause::TurnedAway(_) => true,
        Cause::Received(Notification { code: 6, subcode: 4..=7, .. }) => true,
        Cause::Received(Notification { code, .. }) | Cause::Sent(Notification { code, .. }, _) => {
            matches!(code, 4 | 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::cause::Suspects;
    use crate::config::Transport;

    #[test]
    fn refusals_are_retried_soon_and_notifications_ever_later() {
        let retry = Duration::from_secs(5);
        let mut backoff = Backoff::default();
        let refused = Cause::ConnectFailed("Connection refused".into());
        let waits: Vec<_> = (0..40).map(|_| backoff.after(&refused, retry).from_attempt.as_secs()).collect();
        assert_eq!(waits[..5], [1, 2, 4, 5, 5]);
        assert_eq!(waits[39], 5);
        let refused = Cause::Received(Notification { code: 2, subcode: 2, data: Vec::new() });
        let waits: Vec<_> = (0..40).map(|_| backoff.after(&refused, retry).from_now.as_secs()).collect();
        assert_eq!(waits[..6], [5, 10, 20, 40, 60, 60]);
        assert_eq!(waits[39], 60);
        backoff.reset();
        assert_eq!(backoff.after(&refused, retry).from_now, retry);
    }

    #[test]
    fn a_router_that_is_worked_on_is_back_soon() {
        let retry = Duration::from_secs(5);
        let longest = |subcode| {
            let mut backoff = Backoff::default();
            let cease = Cause::Received(Notification { code: 6, subcode, data: Vec::new() });
            let waits = (0..10).map(|_| backoff.after(&cease, retry));
            waits.map(|wait| wait.from_now.max(wait.from_attempt).as_secs()).max()
        };
        // Prefixes, shutdown, removal, resources; reset, rejection, change, collision.
        for (subcode, seconds) in [(1, 60), (2, 60), (3, 60), (8, 60), (4, 5), (5, 5), (6, 5), (7, 5)] {
            assert_eq!(longest(subcode), Some(seconds), "Cease/{subcode}");
        }
    }

    #[test]
    fn odd_settings_keep_their_order() {
        for retry in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(3600)] {
            let mut backoff = Backoff::default();
            for cause in [
                Cause::ConnectTimeout(Suspects::of(&Transport::default())),
                Cause::Sent(Notification { code: 5, subcode: 1, data: vec![] }, String::new()),
            ] {
                for _ in 0..100 {
                    let wait = backoff.after(&cause, retry);
                    assert!(wait.from_now >= SHORTEST && wait.from_now.max(wait.from_attempt) <= LONGEST.max(retry));
                }
            }
        }
    }
}
