//! `[[vip.step]]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ToldInternally;
use crate::config::parse::attribute::overridden;
use crate::config::parse::findings::Findings;
use crate::config::parse::table::Section;
use crate::config::parse::{is_new, schema};
use crate::config::{Attributes, Rung, RungAction};

/// The rungs from the top. `healthy` is what the VIP is announced with while all is well.
pub(super) fn rungs(
    table: &Section,
    healthy: &Attributes,
    told: &mut ToldInternally,
    findings: &mut Findings,
) -> Vec<Rung> {
    let mut rungs = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for table in table.sections("step", &schema::STEP_OF_VIP, findings) {
        let below = table.need("below", findings);
        let percent = below.and_then(|item| item.percent(1..=100, findings));
        let withdraw = table.get("withdraw").and_then(|item| item.boolean(findings)).unwrap_or(false);
        let attributes = schema::DEGRADED.keys.iter().find_map(|key| table.get(key));
        let action = match (withdraw, attributes) {
            (true, Some(item)) => {
                let message = format!("`{}` does nothing in a step that withdraws", item.name);
                findings.error(item.key_place, message);
                RungAction::Withdraw
            }
            (true, None) => RungAction::Withdraw,
            (false, None) => {
                let message = "a step needs `withdraw = true`, or what the route shall have then, such as `med`";
                findings.error(table.place, message);
                continue;
            }
            (false, Some(_)) => {
                let attributes = overridden(healthy, &table, findings);
                told.note(&attributes, &table);
                RungAction::Announce(Arc::new(attributes))
            }
        };
        let (Some(below), Some(percent)) = (below, percent) else { continue };
        if is_new(&mut seen, percent, below.place, findings, || format!("a step below {percent}% is there")) {
            rungs.insert(percent, Rung { below: percent, action });
        }
    }
    if let Some((above, rung)) = rungs.iter().find(|(_, rung)| rung.action == RungAction::Withdraw)
        && let Some((below, _)) = rungs.range(..rung.below).next()
    {
        let message = format!("the step below {below}% is never reached: that below {above}% withdraws first");
        findings.warning(seen.get(below).copied().unwrap_or(table.place), message);
    }
    rungs.into_values().rev().collect()
}
