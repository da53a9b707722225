//! The fail-static guard and the self-checks.

use serde::{Deserialize, Serialize};

use super::super::Engine;
use super::service;
use crate::config::{Population, SelfCheck};
use crate::wall::{Timestamp, WallClock};

/// Whether what the checks find is doubted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GuardLine {
    /// What has just turned unhealthy is doubted, and stays announced.
    pub active: bool,
    /// Why, in words.
    pub reason: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When that is over at the latest; `null` where it has no limit.
    pub until: Option<Timestamp>,
    /// VIPs that are announced for that reason alone.
    pub doubted: usize,
    /// What `[fail_static]` counts, `vips` or `backends`; `null` without it.
    pub of: Option<String>,
}

/// Whether it is this host that is broken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelfCheckLine {
    /// As configured.
    pub name: String,
    /// `passing`, `failing` or `undecided`.
    pub state: String,
    /// Since when; `null` while undecided.
    pub since: Option<Timestamp>,
    /// What is done while it fails: `hold` or `withdraw`.
    pub on_failure: String,
    /// What the last run found that decides on its state, in words.
    pub detail: String,
}

impl Engine {
    /// `None` where nothing can raise a doubt.
    pub(super) fn guard_line(&self, clock: &WallClock) -> Option<GuardLine> {
        let of = self.config.fail_static.as_ref().map(|config| match config.of {
            Population::Vips => "vips".to_owned(),
            Population::Backends => "backends".to_owned(),
        });
        let doubt = self.announce.doubt();
        if of.is_none() && doubt.is_none() && self.config.self_checks.is_empty() {
            return None;
        }
        Some(GuardLine {
            active: doubt.is_some(),
            reason: doubt.map(|status| self.doubt_words(status.doubt)),
            since: doubt.map(|status| clock.timestamp(status.since)),
            until: doubt.and_then(|status| status.until).map(|at| clock.timestamp(at)),
            doubted: doubt.map_or(0, |status| status.doubted),
            of,
        })
    }

    pub(super) fn self_check_line(&self, own: &SelfCheck, clock: &WallClock) -> SelfCheckLine {
        let checks = || own.checks.iter().map(|index| (*index, self.health.check(*index)));
        // It is as its worst check.
        let failing = checks().filter(|(_, check)| check.passing == Some(false)).min_by_key(|(_, check)| check.since);
        let undecided = || checks().find(|(_, check)| check.passing.is_none());
        let (state, by) = match (failing, undecided()) {
            (Some(check), _) => ("failing", Some(check)),
            (None, Some(check)) => ("undecided", Some(check)),
            (None, None) => ("passing", checks().max_by_key(|(_, check)| check.since)),
        };
        let since = by.as_ref().and_then(|(_, check)| check.since);
        let probe = |index: usize| self.config.checks.get(index).map(|check| &*check.probe);
        SelfCheckLine {
            name: own.name.to_string(),
            state: state.to_owned(),
            since: since.map(|at| clock.timestamp(at)),
            on_failure: own.on_failure.name().to_owned(),
            detail: by.map(|(index, check)| service::detail(probe(index), &check)).unwrap_or_default(),
        }
    }
}
