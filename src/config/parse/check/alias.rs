//! `alias`: the state of another service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::parse::findings::{Findings, Place, quote};
use crate::config::parse::table::Section;
use crate::config::parse::{circle, name};
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
    let Some(circle) = circle::find(depends) else { return };
    let place = aliases.iter().find(|(name, _)| circle.contains(&&**name)).map(|(_, place)| *place);
    let chain: Vec<String> = circle.iter().chain(circle.first()).map(|name| quote(name)).collect();
    findings
        .error(place.unwrap_or(aliases[0].1), format!("a service must not depend on itself: {}", chain.join(" on ")));
}
