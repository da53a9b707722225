//! Workers that hang or are missing, checks that are late, and the watchdog.

use std::time::Duration;

use log::Level;

use super::{plural, whole_millis};
use crate::driver::pool::Hanging;
use crate::driver::pools::LagNews;
use crate::driver::watchdog::Beat;

/// What operators hear of workers.
#[derive(Clone, Debug)]
pub(crate) enum Workers {
    /// A larger pool was asked for than the system gives.
    Missing {
        /// Workers that there are.
        started: usize,
        /// The system's word.
        error: String,
    },
    /// One hangs in the system.
    Hangs {
        /// Which, and at what.
        hanging: Hanging,
        /// For how long.
        hung: Duration,
    },
    /// One that was replaced has come back.
    Returned {
        /// Which.
        worker: String,
        /// For how long it hung.
        after: Duration,
    },
    /// So many hang at the end and cannot be ended.
    Left(usize),
    /// Checks are late, or no longer.
    Lag {
        /// Which of the two.
        news: LagNews,
        /// That there are.
        workers: usize,
        /// That there should be.
        demand: usize,
    },
    /// The watchdog is not fed any more, or again.
    Watchdog(Beat),
}

/// Its line.
pub(super) fn line(notice: &Workers) -> (Level, String) {
    let say = |duration: &Duration| humantime::format_duration(whole_millis(*duration)).to_string();
    match notice {
        Workers::Missing { started, error } => {
            let count = plural(*started, "worker", "workers");
            (Level::Warn, format!("cannot start more than {count}: {error}"))
        }
        Workers::Hangs { hanging, hung } => {
            let (kind, target) = (hanging.probe.kind.name(), hanging.probe.place());
            let then = match hanging.replaced {
                true => "another has taken its place",
                false => "too many hang for another to take its place",
            };
            let text = format!(
                "worker {} hangs in a check of type {kind} of {target} for {}; {then}",
                hanging.worker,
                say(hung)
            );
            (Level::Warn, text)
        }
        Workers::Returned { worker, after } => {
            (Level::Info, format!("worker {worker} has come back after {} and ended", say(after)))
        }
        Workers::Left(count) => {
            let count = plural(*count, "worker hangs", "workers hang");
            (Level::Warn, format!("{count} in the system and cannot be ended; the process ends all the same"))
        }
        Workers::Lag { news: LagNews::Late(lag), workers, demand } => {
            let why = match workers < demand {
                true => format!(
                    "{workers} workers are fewer than the {demand} that dead backends can keep busy: raise `workers`"
                ),
                false => "the machine is too busy for its checks".to_owned(),
            };
            (Level::Warn, format!("checks start up to {} late: {why}", say(lag)))
        }
        Workers::Lag { news: LagNews::Over, .. } => (Level::Info, "checks keep their times again".to_owned()),
        Workers::Watchdog(Beat::Stuck(silent)) => {
            let text = format!("no check has been completed for {}: the watchdog is not fed any more", say(silent));
            (Level::Error, text)
        }
        Workers::Watchdog(Beat::Back) => (Level::Info, "checks are completed again: the watchdog is fed".to_owned()),
    }
}
