//! The only part, besides `cli`, that touches the world: sockets, threads, files, the clock.

mod atomic;
pub(crate) mod changes;
mod connection;
mod control;
pub mod daemon;
mod dial;
pub mod director;
mod doors;
pub(crate) mod errand;
mod event;
mod glb;
mod gobgp;
pub mod hook;
mod http;
pub mod keeper;
mod links;
pub mod listen;
pub mod load;
mod log;
pub mod netlink;
pub(crate) mod notice;
pub mod pool;
mod pools;
pub mod probe;
mod program;
mod queue;
mod reactor;
mod reload;
mod scribe;
mod secret;
mod signal;
pub mod speaker;
mod state;
pub mod status;
mod sys;
mod timer;
pub(crate) mod trial;
mod unread;
mod watch;
mod watchdog;
mod wires;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::wall::WallClock;

pub(crate) use control::{Command, VERSION};

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
