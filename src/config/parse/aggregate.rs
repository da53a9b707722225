//! `[[aggregate]]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attribute::attributes;
use super::findings::{Findings, Place};
use super::gobgp::{self, Ways};
use super::table::{Item, Section};
use super::{address, is_new, schema, service, vip};
use crate::config::{Aggregate, Required, Vip};
use crate::prefix::Prefix;

/// Where warnings about aggregates point: their tables.
#[derive(Default)]
pub(super) struct Places {
    /// Their tables.
    pub(super) aggregates: BTreeMap<Prefix, Place>,
    /// What only internal peers are told.
    pub(super) told_internally: vip::ToldInternally,
}

pub(super) fn read(
    roots: &[Section],
    vips: &BTreeMap<Prefix, Vip>,
    services: &service::Places,
    ways: Ways,
    findings: &mut Findings,
) -> (BTreeMap<Prefix, Aggregate>, Places) {
    let (mut aggregates, mut places, mut seen) = (BTreeMap::new(), Places::default(), BTreeMap::new());
    for root in roots {
        for table in root.sections("aggregate", &schema::AGGREGATE, findings) {
            let item = table.need("prefix", findings);
            let prefix = item.and_then(|item| address::vip(&item, findings));
            let required =
                table.get("required").map(|item| service::required(&item, "members", findings).map(|r| (item, r)));
            let via = gobgp::via(&table, ways, findings);
            let attributes = attributes(&table, findings);
            places.told_internally.note(&attributes, &table);
            let (Some(item), Some(prefix)) = (item, prefix) else { continue };
            let is_new = is_new(&mut seen, prefix, item.place, findings, || format!("aggregate `{prefix}` is there"));
            if let Some(place) = services.vips.get(&prefix) {
                let message = format!("`{prefix}` is a VIP, and announced as such; a service has it at");
                findings.conflict(item.place, message, *place);
                continue;
            }
            let Some(members) = members(&table, &item, prefix, vips, findings) else { continue };
            if !is_new || members.is_empty() {
                continue;
            }
            let required = required.flatten();
            if let Some((item, required)) = required.filter(|(_, required)| required.of(members.len()) > members.len())
            {
                let (required, all) = (required.of(members.len()), members.len());
                let message =
                    format!("aggregate `{prefix}` requires {required} members and has {all}: it is never announced");
                findings.warning(item.place, message);
            }
            let required = required.map_or(Required::Backends(1), |(_, required)| required);
            places.aggregates.insert(prefix, table.place);
            aggregates.insert(prefix, Aggregate { members, required, attributes: Arc::new(attributes), via });
        }
    }
    (aggregates, places)
}

/// The VIPs that count for it; what is wrong has been reported.
fn members(
    table: &Section,
    item: &Item,
    prefix: Prefix,
    vips: &BTreeMap<Prefix, Vip>,
    findings: &mut Findings,
) -> Option<Vec<Prefix>> {
    let Some(list) = table.get("members") else {
        let members: Vec<Prefix> = within(prefix, vips).collect();
        if members.is_empty() && !findings.is_incomplete() {
            findings.error(item.place, format!("no VIP is within `{prefix}`"));
        }
        return Some(members);
    };
    let mut members = Vec::new();
    let items = list.list(findings)?;
    if items.is_empty() {
        findings.error(list.place, "`members` must not be empty; without it, every VIP within the prefix is a member");
    }
    for item in items {
        let Some(filter) = address::vip(&item, findings) else { continue };
        if !prefix.contains(&filter) {
            findings.error(item.place, format!("`members`: `{filter}` is not within `{prefix}`"));
            continue;
        }
        let before = members.len();
        members.extend(within(filter, vips));
        if members.len() == before && !findings.is_incomplete() {
            findings.error(item.place, format!("`members`: no VIP is within `{filter}`"));
        }
    }
    members.sort_unstable();
    members.dedup();
    Some(members)
}

/// In the order of prefixes, those within one follow it without a gap.
fn within(prefix: Prefix, vips: &BTreeMap<Prefix, Vip>) -> impl Iterator<Item = Prefix> {
    vips.range(prefix..).map(|(vip, _)| *vip).take_while(move |vip| prefix.contains(vip))
}
