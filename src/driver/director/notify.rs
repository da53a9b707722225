//! Who is told of everything, on a thread of its own: a notifier that is slow keeps nobody waiting.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::announce::VipState;
use crate::config::{FailureKind, Probe};
use crate::engine::drain::DrainNotice;
use crate::health::ServiceState;
use crate::prefix::Prefix;
use crate::wall::Timestamp;

/// So much may wait for a notifier.
const WAITING: usize = 4096;

/// Is told what happens, in order, one thing at a time, on a thread of its own. Each method does nothing unless it is written;
/// one that panics has not heard that one thing.
pub trait Notifier: Send + Sync + 'static {
    /// Something is in another state than it was.
    fn transition(&self, transition: &Transition) {
        let _ = transition;
    }

    /// Every check of a backend has run once more.
    fn round(&self, round: &Round) {
        let _ = round;
    }

    /// A check has run.
    fn check(&self, run: &CheckRun) {
        let _ = run;
    }

    /// So many things were not told, because those before them had not been taken in time.
    fn lost(&self, count: u64) {
        let _ = count;
    }
}

/// Something is in another state than it was.
#[derive(Clone, Debug)]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// What.
    pub subject: Subject,
    /// In words, as in the daemon's log; empty for what it does not log.
    pub text: String,
    /// As `herald watch --json` tells it, with its cause: a JSON object on one line.
    pub document: String,
}

/// What is in another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A VIP.
    Vip {
        /// Which.
        vip: Prefix,
        /// Before; `None` for a new one.
        from: Option<VipState>,
        /// Now; `None` for one that is no longer there.
        to: Option<VipState>,
        /// Why, in words.
        reason: String,
    },
    /// A service, or what it stands on.
    Service {
        /// Its name.
        service: Arc<str>,
        /// Now.
        state: ServiceState,
        /// What counts, in the measure of its `required`.
        available: u64,
        /// What must count.
        required: u64,
        /// Sorry backends stand in for the others.
        on_sorry: bool,
    },
    /// A backend of a service.
    Backend {
        /// The service's name.
        service: Arc<str>,
        /// Which.
        address: SocketAddr,
        /// Whether it passes its checks.
        up: bool,
    },
    /// What a check says.
    Check {
        /// What it does.
        probe: Arc<Probe>,
        /// Whether it passes.
        passing: bool,
        /// What the run found that made the difference.
        detail: Cow<'static, str>,
    },
    /// The fail-static guard or a self-check; see the text.
    Guard,
    /// A drain.
    Drain(DrainNotice),
}

/// Every check of a backend has run once more, but for aliases, which are not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// When the last of them ended.
    pub at: Timestamp,
    /// The service's name.
    pub service: Arc<str>,
    /// The backend.
    pub address: SocketAddr,
    /// Which round of the backend it is, from 1.
    pub number: u64,
    /// Whether the latest run of each of them passed that is not advisory. Verdicts take `rise` and `fall` of these.
    pub passed: bool,
}

/// A run of a check that came back in time.
#[derive(Clone, Debug)]
pub struct CheckRun {
    /// When it ended.
    pub at: Timestamp,
    /// What it did.
    pub probe: Arc<Probe>,
    /// The backends that it is a check of: service and address.
    pub backends: Arc<[(Arc<str>, SocketAddr)]>,
    /// Whether it passed.
    pub passed: bool,
    /// Why it failed, by kind.
    pub failure: Option<FailureKind>,
    /// What it found, in words.
    pub detail: Cow<'static, str>,
    /// How long it took.
    pub took: Duration,
}

/// What waits for a notifier.
pub(super) enum Word {
    Transition(Box<Transition>),
    Round(Round),
    Check(CheckRun),
}

fn say(notifier: &dyn Notifier, missed: u64, word: &Word) {
    if missed > 0 {
        notifier.lost(missed);
    }
    match word {
        Word::Transition(transition) => notifier.transition(transition),
        Word::Round(round) => notifier.round(round),
        Word::Check(run) => notifier.check(run),
    }
}

/// What waits, and the thread that takes it.
pub(super) struct Queue {
    words: Sender<Word>,
    lost: Arc<AtomicU64>,
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Queue {
    pub(super) fn start(notifier: Arc<dyn Notifier>) -> io::Result<Queue> {
        let (words, told) = bounded::<Word>(WAITING);
        let (living, ended) = bounded::<()>(0);
        let lost = Arc::new(AtomicU64::new(0));
        let not_told = lost.clone();
        let thread = std::thread::Builder::new().name("notifier".to_owned()).spawn(move || {
            let _living = living;
            for word in told {
                let missed = not_told.swap(0, Ordering::Relaxed);
                if catch_unwind(AssertUnwindSafe(|| say(&*notifier, missed, &word))).is_err() {
                    log::error!("the notifier of a director has panicked");
                }
            }
        })?;
        Ok(Queue { words, lost, ended, thread })
    }

    /// Never waits.
    pub(super) fn tell(&self, word: Word) {
        match self.words.try_send(word) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
            // There is nobody.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Lets it take what waits, for so long.
    pub(super) fn stop(self, patience: Duration) {
        drop(self.words);
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected) {
            let _panicked = self.thread.join();
        }
    }
}
