//! One run of a check: what a worker is asked, and what it found.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{FailureKind, Probe, Weight};

/// Ties a result to the run that asked for it: a late or stale result matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub(super) check: usize,
    pub(super) generation: u64,
}

impl Ticket {
    /// For runs that [`Health`] did not ask for: a probe by hand, a test of the pool.
    pub fn new(check: usize, generation: u64) -> Ticket {
        Ticket { check, generation }
    }
}

/// Work for the pool.
#[derive(Clone, Debug)]
pub struct ProbeRequest {
    /// Return it with the result.
    pub ticket: Ticket,
    /// What to do.
    pub probe: Arc<Probe>,
    /// For the whole run, from the moment a worker takes it.
    pub timeout: Duration,
    /// When the run should have started: what a worker is behind this is lag.
    pub due: Instant,
    /// The last run took all its time: this one may, too.
    pub slow: bool,
    /// A result that says this changes nothing and needs no prompt attention; `None`: any result does.
    pub expected: Option<Finding>,
}

/// What a result says, for decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// The verdict of this one run.
    pub passed: bool,
    /// What the backend's weight shall be; `None` leaves what is configured.
    pub weight: Option<Weight>,
}

/// What a run of a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// The verdict of this one run.
    pub passed: bool,
    /// Why it failed, by kind; `None` when it passed.
    pub failure: Option<FailureKind>,
    /// What the backend's weight shall be; `None` leaves what is configured.
    pub weight: Option<Weight>,
    /// What people should know although it passed: a certificate that ends soon.
    pub warning: Option<Box<str>>,
    /// The backend itself has said so: it counts as `rise` or `fall` at once.
    pub is_final: bool,
    /// It found nothing that counts: verdict and weight stay as they were, and where there is none it passed.
    pub is_silent: bool,
    /// What a program said, when there is more of it than `detail`: its end, a few KiB at most.
    pub output: Option<Box<str>>,
    /// For people: `200 OK`, `connection refused`, the last line of a program's output.
    pub detail: Cow<'static, str>,
    /// From the worker's start to its end.
    pub took: Duration,
}

impl Finding {
    /// Without a word about weights.
    pub fn plain(passed: bool) -> Finding {
        Finding { passed, weight: None }
    }
}

impl ProbeOutcome {
    /// A run that passed, or whose answer was wrong.
    pub fn new(passed: bool, detail: impl Into<Cow<'static, str>>, took: Duration) -> ProbeOutcome {
        if passed {
            ProbeOutcome::passed(detail, took)
        } else {
            ProbeOutcome::failed(FailureKind::Answer, detail, took)
        }
    }

    /// A run that passed.
    pub fn passed(detail: impl Into<Cow<'static, str>>, took: Duration) -> ProbeOutcome {
        ProbeOutcome {
            passed: true,
            failure: None,
            weight: None,
            warning: None,
            is_final: false,
            is_silent: false,
            output: None,
            detail: detail.into(),
            took,
        }
    }

    /// A run that failed.
    pub fn failed(kind: FailureKind, detail: impl Into<Cow<'static, str>>, took: Duration) -> ProbeOutcome {
        ProbeOutcome { passed: false, failure: Some(kind), ..ProbeOutcome::passed(detail, took) }
    }

    /// For decisions.
    pub fn finding(&self) -> Finding {
        Finding { passed: self.passed, weight: self.weight }
    }
}
