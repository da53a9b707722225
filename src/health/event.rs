//! What health concludes.

use std::borrow::Cow;
use std::time::Duration;

use super::{ServiceState, Share};
#[cfg(doc)]
use crate::config::Config;

/// What health concluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    /// A check's verdict changed.
    Check {
        /// Index into [`Config::checks`].
        check: usize,
        /// The new verdict.
        passing: bool,
        /// Of the run that made the difference.
        detail: Cow<'static, str>,
        /// How many runs in a row said so.
        streak: u32,
    },
    /// A backend went up or down.
    Backend {
        /// Index into [`Config::services`].
        service: usize,
        /// Index into the service's backends.
        backend: usize,
        /// Whether it passes its checks now. It counts if it is enabled and has a weight besides.
        up: bool,
    },
    /// What is left of a backend's weight changed. One of 0 is treated as drained.
    Weight {
        /// Index into [`Config::services`].
        service: usize,
        /// Index into the service's backends.
        backend: usize,
        /// What it has now; as configured when no check asks for less.
        weight: u32,
        /// Whether a check asks for less than what is configured, even where rounding leaves all of it.
        degraded: bool,
    },
    /// A check has not run for so long that its verdict is old, or it has run again.
    Stale {
        /// Index into [`Config::checks`].
        check: usize,
        /// Whether it is old now.
        stale: bool,
        /// How far behind its time the run is or was.
        behind: Duration,
    },
    /// A check that passes warns of something else than before.
    Warning {
        /// Index into [`Config::checks`].
        check: usize,
        /// Of what; `None` when the reason has gone.
        warning: Option<Box<str>>,
    },
    /// A run of a check that was [asked](super::Health::ask) is over.
    Answer {
        /// Index into [`Config::checks`].
        check: usize,
        /// Whether it passed.
        passed: bool,
    },
    /// A service's state changed, or sorry backends have stepped in or back while it is up.
    Service {
        /// Index into [`Config::services`].
        service: usize,
        /// The new state.
        state: ServiceState,
        /// What counts, in the measure of the service's quorum.
        available: u64,
        /// What must count.
        required: u64,
        /// Sorry backends have stepped in for the regular ones.
        on_sorry: bool,
    },
    /// How much of a service is healthy changed; told before what follows for its state.
    Share {
        /// Index into [`Config::services`].
        service: usize,
        /// How much it is now.
        share: Share,
    },
}
