//! `hold_up`, `hold_down` and `damping`.

use std::time::Duration;

use crate::config::parse::findings::Findings;
use crate::config::parse::schema;
use crate::config::parse::table::Item;
use crate::config::{Damping, Hold};

const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);

/// A duration, or a table with one that grows.
pub(super) fn hold(item: &Item, findings: &mut Findings) -> Option<Hold> {
    if !item.is_table() {
        return item.duration(Duration::ZERO..=DAY, findings).map(Hold::constant);
    }
    let table = item.section(&schema::HOLD, findings)?;
    let initial = table.need("initial", findings).and_then(|item| item.duration(Duration::ZERO..=DAY, findings))?;
    let max = match table.get("max") {
        Some(item) => item.duration(initial..=DAY.max(initial), findings)?,
        None => initial,
    };
    let reset_after = match table.get("reset_after") {
        Some(item) => item.duration(Duration::ZERO..=DAY, findings)?,
        None => max,
    };
    Some(Hold { initial, max, reset_after })
}

/// `true`, or a table with what is to be other than usual.
pub(super) fn damping(item: &Item, findings: &mut Findings) -> Option<Damping> {
    let usual = Damping::default();
    if item.is_boolean() {
        return item.boolean(findings)?.then_some(usual);
    }
    let table = item.section(&schema::DAMPING, findings)?;
    let number = |key, usual, findings: &mut Findings| match table.get(key) {
        Some(item) => item.integer(1..=1_000_000, findings),
        None => Some(usual),
    };
    let time = |key, usual, findings: &mut Findings| match table.get(key) {
        Some(item) => item.duration(SECOND..=DAY, findings),
        None => Some(usual),
    };
    let damping = Damping {
        penalty: number("penalty", usual.penalty, findings)?,
        suppress: number("suppress", usual.suppress, findings)?,
        reuse: number("reuse", usual.reuse, findings)?,
        half_life: time("half_life", usual.half_life, findings)?,
        max_suppress: time("max_suppress", usual.max_suppress, findings)?,
    };
    if damping.reuse >= damping.suppress {
        let (reuse, suppress) = (damping.reuse, damping.suppress);
        findings.error(item.place, format!("`reuse` ({reuse}) must be below `suppress` ({suppress})"));
        return None;
    }
    if damping.ceiling() < f64::from(damping.suppress) {
        let message = "`max_suppress` is so short beside `half_life` that no penalty ever gets to `suppress` (RFC 2439 4.2): \
                       make it longer, or `suppress` smaller";
        findings.error(item.place, message);
        return None;
    }
    Some(damping)
}
