//! `depends_on`.

use std::collections::{BTreeMap, BTreeSet};

use super::short;
use crate::config::parse::circle;
use crate::config::parse::findings::{Findings, Place, quote};
use crate::config::parse::table::Item;
use crate::config::{Dependency, Service, Vip};
use crate::prefix::Prefix;

/// Finds what these VIPs name, and refuses circles.
pub(super) fn resolve(
    dependents: &[(Prefix, Item)],
    services: &[Service],
    vips: &mut BTreeMap<Prefix, Vip>,
    findings: &mut Findings,
) {
    let by_name: BTreeMap<&str, usize> =
        services.iter().enumerate().map(|(index, service)| (&*service.name, index)).collect();
    let mut places: BTreeMap<Prefix, Place> = BTreeMap::new();
    for (vip, list) in dependents {
        places.insert(*vip, list.place);
        let mut found = BTreeSet::new();
        for item in list.one_or_more(findings).unwrap_or_default() {
            let Some(text) = item.string(findings) else { continue };
            let Some(dependency) = find(text, &item, &by_name, vips, findings) else { continue };
            let is_own = match dependency {
                Dependency::Vip(other) => other == *vip,
                Dependency::Service(service) => vips.get(vip).is_some_and(|vip| vip.services.contains(&service)),
            };
            if is_own {
                let message = match dependency {
                    Dependency::Vip(_) => format!("VIP `{vip}` cannot depend on itself"),
                    Dependency::Service(_) => format!("service {} is on VIP `{vip}` anyway", quote(text)),
                };
                findings.error(item.place, message);
            } else if !found.insert(dependency) {
                findings.error(item.place, format!("{} is listed twice", quote(text)));
            }
        }
        if let Some(vip) = vips.get_mut(vip) {
            vip.depends_on = found.into_iter().collect();
        }
    }
    refuse_circles(&places, vips, findings);
}

fn find(
    text: &str,
    item: &Item,
    by_name: &BTreeMap<&str, usize>,
    vips: &BTreeMap<Prefix, Vip>,
    findings: &mut Findings,
) -> Option<Dependency> {
    if let Some(service) = by_name.get(text) {
        return Some(Dependency::Service(*service));
    }
    if let Some(prefix) = text.parse().ok().filter(|prefix| vips.contains_key(prefix)) {
        return Some(Dependency::Vip(prefix));
    }
    if !findings.is_incomplete() {
        let names: Vec<String> = vips.keys().map(short).chain(by_name.keys().map(ToString::to_string)).collect();
        let hint = findings.did_you_mean(text, names.iter().map(String::as_str));
        let message = format!("`{}`: there is neither a VIP nor a service {}{hint}", item.name, quote(text));
        findings.error(item.place, message);
    }
    None
}

fn refuse_circles(places: &BTreeMap<Prefix, Place>, vips: &BTreeMap<Prefix, Vip>, findings: &mut Findings) {
    let on = |vip: &Prefix| {
        let dependencies = vips.get(vip).map(|vip| &vip.depends_on).into_iter().flatten();
        dependencies.filter_map(|on| if let Dependency::Vip(other) = on { Some(*other) } else { None }).collect()
    };
    let Some(circle) = circle::find(places.keys().map(|vip| (*vip, on(vip))).collect()) else { return };
    let Some(place) = circle.iter().find_map(|vip| places.get(vip)) else { return };
    let chain: Vec<String> = circle.iter().chain(circle.first()).map(|vip| format!("`{}`", short(vip))).collect();
    findings.error(*place, format!("a VIP must not depend on itself: {}", chain.join(" on ")));
}
