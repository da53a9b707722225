//! The only part, besides `cli`, that touches the world: sockets, threads, files, the clock.

pub mod load;
pub mod pool;
pub mod probe;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::wall::WallClock;

/// The one clock.
#[expect(clippy::disallowed_methods, reason = "the driver is where time enters")]
pub fn clock() -> Instant {
    Instant::now()
}

/// Both clocks, read together.
#[expect(clippy::disallowed_methods, reason = "the driver is where time enters")]
pub fn wall_clock() -> WallClock {
    WallClock::new(clock(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
