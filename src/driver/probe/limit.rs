//! How long a run may still take, and whether it shall end at once.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::driver::clock;

/// A wait is cut into pieces of this length, and between two of them the run sees that the daemon stops.
const SLICE: Duration = Duration::from_millis(400);

thread_local! {
    static CANCEL: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// From now on, runs in this thread end soon after `flag` turns true.
pub(in crate::driver) fn cancel_on(flag: Arc<AtomicBool>) {
    CANCEL.with_borrow_mut(|cancel| *cancel = Some(flag));
}

fn cancelled() -> bool {
    CANCEL.with_borrow(|cancel| cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
}

/// The one deadline of a run.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct Limit {
    start: Instant,
    timeout: Duration,
}

/// Why a run may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) enum Over {
    /// Its time is up.
    Expired,
    /// The daemon stops.
    Cancelled,
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Over::Expired => "timed out",
            Over::Cancelled => "the daemon is stopping",
        })
    }
}

impl Error for Over {}

impl From<Over> for io::Error {
    fn from(over: Over) -> io::Error {
        io::Error::other(over)
    }
}

impl Limit {
    /// The time runs from now.
    pub(in crate::driver) fn new(timeout: Duration) -> Limit {
        Limit { start: clock(), timeout }
    }

    /// For what comes after the answer: this from now, but at most half of what is left. A run that has passed must not be
    /// late because of its goodbye.
    pub(super) fn for_goodbye(self, most: Duration) -> Limit {
        let spent = self.spent();
        let half = self.timeout.saturating_sub(spent) / 2;
        Limit { timeout: spent.saturating_add(most.min(half)), ..self }
    }

    /// For the whole run.
    pub(in crate::driver) fn timeout(self) -> Duration {
        self.timeout
    }

    /// Since the start.
    pub(in crate::driver) fn spent(self) -> Duration {
        clock().saturating_duration_since(self.start)
    }

    /// What is left; an error when nothing is.
    pub(in crate::driver) fn remaining(self) -> Result<Duration, Over> {
        match self.timeout.checked_sub(self.spent()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(Over::Expired),
        }
    }

    /// How long the next wait may last; after it, ask again. Never zero, which sockets take for "forever".
    pub(in crate::driver) fn slice(self) -> Result<Duration, Over> {
        if cancelled() {
            return Err(Over::Cancelled);
        }
        Ok(self.remaining()?.clamp(Duration::from_micros(1), SLICE))
    }
}
