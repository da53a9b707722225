//! `required` of a service: a number, a share, or a table with marks for either way, of backends or of weight.

use super::findings::Findings;
use super::schema;
use super::service::required;
use super::table::{Item, Section};
use crate::config::{Measure, Quorum, Required};

pub(super) fn quorum(item: &Item, findings: &mut Findings) -> Option<Quorum> {
    if !item.is_table() {
        return required(item, "backends", findings).map(Quorum::from);
    }
    let table = item.section(&schema::REQUIRED, findings)?;
    let Some(weight) = table.get("weight") else { return marks(&table, Measure::Backends, findings) };
    if let Some(mark) = table.get("up").or(table.get("down")) {
        let message =
            format!("`{}` is of backends, and `weight` of weight: `weight` takes both marks itself", mark.name);
        findings.error(mark.key_place, message);
        return None;
    }
    if weight.is_table() {
        let table = weight.section(&schema::REQUIRED_WEIGHT, findings)?;
        return marks(&table, Measure::Weight, findings);
    }
    let mark = required(&weight, "weight", findings)?;
    Some(Quorum { measure: Measure::Weight, ..Quorum::from(mark) })
}

fn marks(table: &Section, measure: Measure, findings: &mut Findings) -> Option<Quorum> {
    let of = measure.to_string();
    let up_item = table.need("up", findings);
    let up = up_item.and_then(|item| required(&item, &of, findings))?;
    let Some(item) = table.get("down") else { return Some(Quorum { measure, ..Quorum::from(up) }) };
    let down = required(&item, &of, findings)?;
    let is_above = match (up, down) {
        (Required::Backends(up), Required::Backends(down)) => down > up,
        (Required::Percent(up), Required::Percent(down)) => down > up,
        // Which of these is more depends on the backends: where `down` is, it is taken for `up`.
        (Required::Backends(_), Required::Percent(_)) | (Required::Percent(_), Required::Backends(_)) => false,
    };
    if is_above {
        findings.error(item.place, "`down` must not be above `up`: a service would come up only to go down");
        return None;
    }
    Some(Quorum { up, down, measure })
}
