//! `[fail_static]` and `[[self_check]]`: when Herald is to doubt itself.

use std::sync::Arc;
use std::time::Duration;

/// `[fail_static]`: what turns bad all at once is doubted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailStatic {
    /// What is counted.
    pub of: Population,
    /// More than so many percent (0 to 99) of what was good must turn bad ...
    pub share: u8,
    /// ... and at least so many, not 0, ...
    pub minimum: usize,
    /// ... within this time. Not zero.
    pub window: Duration,
    /// The longest doubt; `None` has no end but the end of its reason.
    pub limit: Option<Duration>,
}

impl FailStatic {
    /// Doubt that self-checks raise, where there is no `[fail_static]`, goes back so far.
    pub const WINDOW: Duration = Duration::from_secs(10);
    /// And lasts at most so long.
    pub const LIMIT: Duration = Duration::from_secs(600);
}

/// What the guard counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Population {
    /// VIPs that turn unhealthy.
    Vips,
    /// Backends that go down.
    Backends,
}

/// `[[self_check]]`: whether it is this host that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfCheck {
    /// Unique among them.
    pub name: Arc<str>,
    /// Indexes into [`Config::checks`](super::Config::checks); all must pass. Never empty.
    pub checks: Vec<usize>,
    /// What is done while it fails.
    pub on_failure: OnFailure,
}

/// `on_failure`: what is done while a self-check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// What its checks find of others is doubted: routes stay as they are.
    Hold,
    /// Everything is withdrawn.
    Withdraw,
}

impl OnFailure {
    /// As written in configuration.
    pub fn name(self) -> &'static str {
        match self {
            OnFailure::Hold => "hold",
            OnFailure::Withdraw => "withdraw",
        }
    }
}
