//! VIPs and aggregates: which there are, and how each is announced.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Entry, compare_maps, key, values};
use crate::config::{Aggregate, Attributes, Config, Dependency, Hold, OnDown, Via, Vip};

pub(super) fn compare(before: &Config, after: &Config) -> Vec<Entry> {
    compare_maps(&before.vips, &after.vips, |address, old, new| {
        Entry::changed(address, vip((before, old), (after, new)))
    })
}

pub(super) fn compare_aggregates(before: &Config, after: &Config) -> Vec<Entry> {
    compare_maps(&before.aggregates, &after.aggregates, |prefix, old: &Aggregate, new| {
        let details = [
            key("members", &old.members, &new.members),
            key("required", &old.required, &new.required),
            values("route", &old.attributes, &new.attributes, route),
            values("via", &old.via, &new.via, via),
        ];
        Entry::changed(prefix, details.into_iter().flatten().collect())
    })
}

fn vip((old_config, old): (&Config, &Vip), (new_config, new): (&Config, &Vip)) -> Vec<String> {
    let policy = |vip: &Vip| vip.policy.name().to_owned();
    let on_down = |on_down: &OnDown| match on_down {
        OnDown::Withdraw => "withdraw".to_owned(),
        OnDown::Degrade(attributes) => format!("degrade ({})", route(attributes)),
    };
    let bind = |vip: &Vip| vip.bind.as_ref().map_or("nowhere".to_owned(), |bind| bind.interface.to_string());
    let delay = |vip: &Vip| vip.bind.as_ref().map(|bind| bind.delay);
    let details = [
        values("route", &old.attributes, &new.attributes, route),
        values("on_down", &old.on_down, &new.on_down, on_down),
        values("vip_policy", &policy(old), &policy(new), Clone::clone),
        values("hold_up", &old.hold_up, &new.hold_up, hold),
        values("hold_down", &old.hold_down, &new.hold_down, hold),
        key("damping", &old.damping, &new.damping),
        key("step", &old.ladder, &new.ladder),
        key("depends_on", &dependencies(old_config, old), &dependencies(new_config, new)),
        values("bind", &bind(old), &bind(new), Clone::clone),
        key("unbind_delay", &delay(old), &delay(new)),
        values("require_address", &old.require_address, &new.require_address, ToString::to_string),
        key("doubtful", &old.doubtful, &new.doubtful),
        values("via", &old.via, &new.via, via),
    ];
    details.into_iter().flatten().collect()
}

fn route(attributes: &Arc<Attributes>) -> String {
    let text = attributes.to_string();
    if text.is_empty() { "plain".to_owned() } else { text }
}

fn hold(hold: &Hold) -> String {
    let text = |time: Duration| humantime::format_duration(time).to_string();
    if hold.initial == hold.max { text(hold.initial) } else { format!("{} to {}", text(hold.initial), text(hold.max)) }
}

fn via(via: &Via) -> String {
    let ways = [(via.bgp, "bgp"), (via.gobgp, "gobgp")];
    let ways: Vec<&str> = ways.into_iter().filter_map(|(is, way)| is.then_some(way)).collect();
    ways.join(" and ")
}

/// By names: indexes are of one configuration.
fn dependencies(config: &Config, vip: &Vip) -> BTreeSet<String> {
    let name = |on: &Dependency| match on {
        Dependency::Vip(prefix) => Some(prefix.to_string()),
        Dependency::Service(index) => Some(config.services.get(*index)?.name.to_string()),
    };
    vip.depends_on.iter().filter_map(name).collect()
}
