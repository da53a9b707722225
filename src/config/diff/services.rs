//! Services, their backends and checks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Entry, compare_maps, values};
use crate::config::{Backend, Check, Combine, Config, Measure, Quorum, Required, Service};

/// So many backends of a service are named; further ones are counted.
const NAMED: usize = 8;

pub(super) fn compare(before: &Config, after: &Config) -> Vec<Entry> {
    fn named(config: &Config) -> BTreeMap<Arc<str>, &Service> {
        config.services.iter().map(|service| (service.name.clone(), service)).collect()
    }
    compare_maps(&named(before), &named(after), |name, old, new| {
        Entry::changed(name, details(&Side { config: before, service: old }, &Side { config: after, service: new }))
    })
}

struct Side<'c> {
    config: &'c Config,
    service: &'c Service,
}

impl Side<'_> {
    fn check(&self, index: usize) -> Option<&Check> {
        self.config.checks.get(index)
    }
}

fn details(before: &Side<'_>, after: &Side<'_>) -> Vec<String> {
    let (old, new) = (before.service, after.service);
    let port = |service: &Service| match service.port == service.last_port {
        true => format!("{}/{}", service.protocol, service.port),
        false => format!("{}/{}-{}", service.protocol, service.port, service.last_port),
    };
    let disable = |side: &Side<'_>| {
        let check = side.service.disable.and_then(|index| side.check(index));
        check.map_or_else(|| "none".to_owned(), |check| check.probe.place())
    };
    let mut details: Vec<String> = [
        values("port", &port(old), &port(new), Clone::clone),
        values("required", &old.required, &new.required, quorum),
        values("disable_file", &disable(before), &disable(after), Clone::clone),
    ]
    .into_iter()
    .flatten()
    .collect();
    let (vips, next) = (old.vips.iter().collect::<BTreeSet<_>>(), new.vips.iter().collect::<BTreeSet<_>>());
    listed(&mut details, "VIP removed", vips.difference(&next));
    listed(&mut details, "VIP added", next.difference(&vips));
    backends(before, after, &mut details);
    details
}

fn quorum(quorum: &Quorum) -> String {
    let mark = |required: Required| match required {
        Required::Backends(count) => count.to_string(),
        Required::Percent(percent) => format!("{percent}%"),
    };
    let of = if quorum.measure == Measure::Weight { " of weight" } else { "" };
    if quorum.up == quorum.down {
        format!("{}{of}", mark(quorum.up))
    } else {
        format!("{} up, {} down{of}", mark(quorum.up), mark(quorum.down))
    }
}

fn backends(before: &Side<'_>, after: &Side<'_>, details: &mut Vec<String>) {
    fn named<'s>(side: &Side<'s>) -> BTreeMap<SocketAddr, &'s Backend> {
        side.service.backends.iter().map(|backend| (backend.address, backend)).collect()
    }
    let (old, new) = (named(before), named(after));
    listed(details, "backend removed", old.keys().filter(|address| !new.contains_key(*address)));
    listed(details, "backend added", new.keys().filter(|address| !old.contains_key(*address)));
    // What many backends have in common is said once.
    let mut common: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
    for (address, backend) in &old {
        let Some(next) = new.get(address) else { continue };
        let own = [
            values("weight", &backend.weight, &next.weight, ToString::to_string),
            values("enabled", &backend.enabled, &next.enabled, ToString::to_string),
            values("sorry", &backend.sorry, &next.sorry, ToString::to_string),
            values("combine", &backend.combine, &next.combine, combine),
        ];
        for detail in own.into_iter().flatten().chain(checks((before, backend), (after, next))) {
            common.entry(detail).or_default().push(*address);
        }
    }
    let count = old.keys().filter(|address| new.contains_key(*address)).count();
    for (detail, addresses) in common {
        if addresses.len() == count && count > 1 {
            details.push(format!("{detail} (all backends)"));
        } else {
            listed(details, &format!("{detail}:"), addresses.iter());
        }
    }
}

fn combine(combine: &Combine) -> String {
    combine.to_string()
}

/// What is different about the checks of a backend.
fn checks(before: (&Side<'_>, &Backend), after: (&Side<'_>, &Backend)) -> Vec<String> {
    fn named<'s>(side: &'s Side<'s>, backend: &'s Backend) -> BTreeMap<&'s str, (bool, Option<&'s Check>)> {
        backend.checks.iter().map(|used| (&*used.name, (used.advisory, side.check(used.check)))).collect()
    }
    let (old, new) = (named(before.0, before.1), named(after.0, after.1));
    let names: BTreeSet<&&str> = old.keys().chain(new.keys()).collect();
    let detail = |name: &&str| match (old.get(name), new.get(name)) {
        (Some((advisory, check)), Some((next_advisory, next))) => {
            let probe = |check: &Option<&Check>| check.map(|check| check.probe.clone());
            let timing = |check: &Option<&Check>| check.map(|check| check.timing);
            let mut what = Vec::new();
            what.extend((probe(check) != probe(next)).then_some("what it does"));
            what.extend((timing(check) != timing(next)).then_some("timing"));
            what.extend((advisory != next_advisory).then_some("advisory"));
            (!what.is_empty()).then(|| format!("check {name} changed ({})", what.join(", ")))
        }
        (Some(_), None) => Some(format!("check {name} removed")),
        _ => Some(format!("check {name} added")),
    };
    names.into_iter().filter_map(detail).collect()
}

/// `head a, b and 3 more`.
fn listed(details: &mut Vec<String>, head: &str, what: impl Iterator<Item: ToString>) {
    let words: Vec<String> = what.map(|one| one.to_string()).collect();
    let more = words.len().saturating_sub(NAMED);
    if let Some(shown) = words.get(..words.len() - more).filter(|shown| !shown.is_empty()) {
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        details.push(format!("{head} {}{more}", shown.join(", ")));
    }
}
