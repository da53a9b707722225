//! `alias`: the state of another service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::parse::findings::{Findings, Place, quote};
use crate::config::parse::name;
use crate::config::parse::table::Section;
use crate::config::{Check, ProbeKind, Service};

/// The service, and where it is named.
pub(super) fn service(table: &Section, findings: &mut Findings) -> Option<(Arc<str>, Place)> {
    let item = table.need("service", findings)?;
    Some((name(&item, findings)?.into(), item.place))
}

/// Reports aliases of services that there are not, and services that depend on themselves.
pub(super) fn look(
    aliases: &[(Arc<str>, Place)],
    checks: &[Check],
    services: &[Service],
    names: &BTreeMap<Arc<str>, Place>,
    findings: &mut Findings,
) {
    for (service, place) in aliases {
        if !names.contains_key(service) && !findings.is_incomplete() {
            let hint = findings.did_you_mean(service, names.keys().map(|name| &**name));
            findings.error(*place, format!("there is no service {}{hint}", quote(service)));
        }
    }
    if aliases.is_empty() {
        return;
    }
    let mut depends: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for service in services {
        let uses = service.backends.iter().flat_map(|backend| &backend.checks);
        let on = uses.filter_map(|used| match &checks.get(used.check)?.probe.kind {
            ProbeKind::Alias(other) => Some(&**other),
            _ => None,
        });
        depends.entry(&service.name).or_default().extend(on);
    }
    // What depends on nothing cannot be part of a circle, nor what depends on such alone: what is left is one, or leads there.
    loop {
        let free: Vec<&str> = depends
            .iter()
            .filter(|(_, on)| on.iter().all(|name| !depends.contains_key(name)))
            .map(|(name, _)| *name)
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|name| drop(depends.remove(name)));
    }
    let Some((first, _)) = depends.first_key_value() else { return };
    let circle = circle(first, &depends);
    let place = aliases.iter().find(|(name, _)| circle.contains(&&**name)).map(|(_, place)| *place);
    let chain: Vec<String> = circle.iter().chain(circle.first()).map(|name| quote(name)).collect();
    findings
        .error(place.unwrap_or(aliases[0].1), format!("a service must not depend on itself: {}", chain.join(" on ")));
}

/// Follows what is left from one on until it comes back to where it was.
fn circle<'n>(from: &'n str, depends: &BTreeMap<&'n str, BTreeSet<&'n str>>) -> Vec<&'n str> {
    let mut path = vec![from];
    loop {
        let on = path.last().and_then(|last| depends.get(last)?.iter().find(|name| depends.contains_key(*name)));
        match on {
            None => return path,
            Some(next) => match path.iter().position(|known| known == next) {
                Some(begin) => return path.split_off(begin),
                None => path.push(next),
            },
        }
    }
}
