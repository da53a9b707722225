//! What is decided about a VIP, and by what.

use std::time::{Duration, Instant};

use super::ground::Footing;
use super::guard::Ruling;
use super::{VipCause, VipState};

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// First verdicts are awaited; nothing is announced.
    StartUp,
    /// Likewise, but routers keep what was announced before a restart: VIPs are announced as they deserve once they have
    /// their own verdicts.
    Restart,
    /// VIPs are announced as they deserve.
    Released,
    /// What is announced stays so a little longer, as long as it is healthy; nothing is announced anew.
    Draining,
    /// Nothing is announced ever again.
    Stopped,
}

/// How a route is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// As healthy, by this rung of the ladder; 0 is the top.
    Healthy(usize),
    /// As the guard wants it in doubt.
    Doubtful,
    /// As unhealthy.
    Unhealthy,
}

/// What becomes of a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) state: VipState,
    pub(super) cause: VipCause,
    /// `None`: it is not announced.
    pub(super) route: Option<Route>,
}

impl Decision {
    pub(super) fn not(state: VipState, cause: VipCause) -> Decision {
        Decision { state, cause, route: None }
    }

    pub(super) fn announce(route: Route, cause: VipCause) -> Decision {
        let state = match route {
            Route::Healthy(0) => VipState::Announced,
            Route::Healthy(_) | Route::Doubtful | Route::Unhealthy => VipState::Degraded,
        };
        Decision { state, cause, route: Some(route) }
    }

    /// The same on this footing; `announced` tells whether it is announced now.
    pub(super) fn on(self, footing: Footing, announced: bool) -> Decision {
        match footing {
            Footing::Firm => self,
            Footing::Waiting(_) if announced => self,
            Footing::Waiting(cause) => Decision::not(VipState::Holding, VipCause::Ground(cause)),
            Footing::Lost(cause) => Decision::not(VipState::Withdrawn, VipCause::Ground(cause)),
        }
    }

    /// Its route says that it will go (RFC 8326).
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.cause, VipCause::Draining(..))
    }
}

/// What decisions on all VIPs have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    pub(super) stage: Stage,
    pub(super) drain_time: Duration,
    pub(super) ruling: Ruling,
    /// Routers may keep what was announced before a restart.
    pub(super) kept: bool,
}

/// `after` beyond `at`; without end, for this purpose, from a century on.
pub(super) fn later(at: Instant, after: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    at.checked_add(after.min(CENTURY)).unwrap_or(at)
}
