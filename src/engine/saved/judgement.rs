//! What checks said and what holds VIPs back, as it is in the state file.
//!
//! An entry that cannot be read is passed over: it costs one verdict, and not the drains beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::announce::Memory;
use crate::config::Weight;
use crate::health::Restored;
use crate::prefix::Prefix;
use crate::wall::{Timestamp, WallClock};

/// So much of what a run found is kept, in characters.
const DETAIL: usize = 200;

/// What one check said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedCheck {
    /// Which: [`Config::identities`](crate::config::Config::identities).
    check: Arc<str>,
    passing: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<SavedWeight>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
}

/// The weight that it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedWeight {
    Percent(u32),
    Absolute(u32),
}

/// What holds one VIP back, or has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedVip {
    #[serde(serialize_with = "super::as_text", deserialize_with = "super::from_text")]
    address: Prefix,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    healthy_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    standing_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fell: Option<Timestamp>,
    /// For `hold_up` and for `hold_down`.
    #[serde(default)]
    falls: (u32, u32),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    penalty: Option<SavedPenalty>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct SavedPenalty {
    value: f64,
    at: Timestamp,
    suppressed: bool,
}

impl SavedCheck {
    /// As it goes into the file.
    pub fn new(check: &Arc<str>, said: Restored, clock: &WallClock) -> SavedCheck {
        let weight = said.weight.map(|weight| match weight {
            Weight::Percent(percent) => SavedWeight::Percent(percent),
            Weight::Absolute(weight) => SavedWeight::Absolute(weight),
        });
        let mut detail = said.detail;
        if let Some((end, _)) = detail.char_indices().nth(DETAIL) {
            detail.truncate(end);
        }
        let since = said.since.map(|since| clock.timestamp(since));
        SavedCheck { check: check.clone(), passing: said.passing, since, weight, detail }
    }

    fn restored(&self, now: Instant, clock: &WallClock) -> Restored {
        let weight = self.weight.map(|weight| match weight {
            SavedWeight::Percent(percent) => Weight::Percent(percent),
            SavedWeight::Absolute(weight) => Weight::Absolute(weight),
        });
        let since = self.since.map(|since| past(since, now, clock));
        Restored { passing: self.passing, since, weight, detail: self.detail.chars().take(DETAIL).collect() }
    }
}

impl SavedVip {
    /// As it goes into the file.
    pub fn new(address: Prefix, memory: &Memory, clock: &WallClock) -> SavedVip {
        let time = |at: Option<Instant>| at.map(|at| clock.timestamp(at));
        let penalty = |(value, at, suppressed)| SavedPenalty { value, at: clock.timestamp(at), suppressed };
        SavedVip {
            address,
            healthy_since: time(memory.healthy_since),
            standing_since: time(memory.standing_since),
            fell: time(memory.fell),
            falls: memory.falls,
            penalty: memory.penalty.map(penalty),
        }
    }

    fn memory(&self, now: Instant, clock: &WallClock) -> Memory {
        let time = |at: Option<Timestamp>| at.map(|at| past(at, now, clock));
        let penalty = self.penalty.filter(|penalty| penalty.value.is_finite() && penalty.value >= 0.0);
        Memory {
            healthy_since: time(self.healthy_since),
            standing_since: time(self.standing_since),
            fell: time(self.fell),
            falls: self.falls,
            penalty: penalty.map(|penalty| (penalty.value, past(penalty.at, now, clock), penalty.suppressed)),
        }
    }
}

/// What a restart goes on from. Of two entries for one thing the later counts.
pub(super) fn restored(checks: &[SavedCheck], now: Instant, clock: &WallClock) -> BTreeMap<Arc<str>, Restored> {
    checks.iter().map(|saved| (saved.check.clone(), saved.restored(now, clock))).collect()
}

/// The same of VIPs.
pub(super) fn memories(vips: &[SavedVip], now: Instant, clock: &WallClock) -> BTreeMap<Prefix, Memory> {
    vips.iter().map(|saved| (saved.address, saved.memory(now, clock))).collect()
}

/// A clock that was set back makes no future of the past.
fn past(at: Timestamp, now: Instant, clock: &WallClock) -> Instant {
    clock.instant(at).min(now)
}

/// Every entry that can be read.
pub(super) fn readable<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let entries = Value::deserialize(deserializer)?;
    let Value::Array(entries) = entries else { return Ok(Vec::new()) };
    Ok(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}
