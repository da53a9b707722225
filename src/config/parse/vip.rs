//! `[[vip]]`, and the VIPs that have no such table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::address;
use super::attribute::{attributes, overridden};
use super::findings::{Findings, Place};
use super::gobgp::{self, Ways};
use super::table::Section;
use super::{is_new, schema, service};
use crate::config::{Attributes, OnDown, Via, Vip};
use crate::prefix::Prefix;

/// Where warnings about VIPs point.
#[derive(Default)]
pub(super) struct Places {
    /// The `[[vip]]`, or the first service that names the VIP.
    pub(super) vips: BTreeMap<Prefix, Place>,
    /// What only internal peers are told.
    pub(super) told_internally: ToldInternally,
    /// The `degraded` of a `[[vip]]`.
    pub(super) degraded: BTreeMap<Prefix, Place>,
}

/// Where tables say what only internal peers are told.
#[derive(Default)]
pub(super) struct ToldInternally {
    /// Every `local_pref`.
    pub(super) local_prefs: Vec<Place>,
    /// Every `communities` in which one is not transitive.
    pub(super) non_transitive: Vec<Place>,
}

impl ToldInternally {
    /// Looks at one table.
    pub(super) fn note(&mut self, attributes: &Attributes, table: &Section) {
        self.local_prefs.extend(table.get("local_pref").map(|item| item.key_place));
        if attributes.has_non_transitive() {
            self.non_transitive.extend(table.get("communities").map(|item| item.key_place));
        }
    }
}

#[derive(Clone, Copy)]
enum OnDownWord {
    Withdraw,
    Degrade,
}

pub(super) fn read(
    roots: &[Section],
    services: &service::Places,
    ways: Ways,
    findings: &mut Findings,
) -> (BTreeMap<Prefix, Vip>, Places) {
    let mut places = Places { vips: services.vips.clone(), ..Places::default() };
    let default_attributes = Arc::new(Attributes::default());
    let plain = |services: &Vec<usize>| Vip {
        services: services.clone(),
        attributes: default_attributes.clone(),
        hold_up: Duration::ZERO,
        on_down: OnDown::Withdraw,
        via: Via { bgp: true, gobgp: ways.gobgp },
    };
    let mut vips: BTreeMap<Prefix, Vip> =
        services.services_by_vip.iter().map(|(vip, services)| (*vip, plain(services))).collect();
    let mut seen = BTreeMap::new();
    for root in roots {
        for table in root.sections("vip", &schema::VIP, findings) {
            let address = table.need("address", findings);
            let prefix = address.and_then(|item| address::vip(&item, findings));
            let settings = read_vip(&table, ways, &mut places, findings);
            let (Some(address), Some(prefix)) = (address, prefix) else { continue };
            is_new(&mut seen, prefix, address.place, findings, || format!("VIP `{prefix}` has a [[vip]]"));
            if !services.vips.contains_key(&prefix) && !findings.is_incomplete() {
                let names: Vec<String> = services.vips.keys().map(short).collect();
                let hint = findings.did_you_mean(&short(&prefix), names.iter().map(String::as_str));
                findings.error(address.place, format!("no service is on VIP `{prefix}`{hint}"));
            }
            places.vips.insert(prefix, table.place);
            places.degraded.extend(table.get("degraded").map(|item| (prefix, item.key_place)));
            if let Some(vip) = vips.get_mut(&prefix) {
                *vip = Vip { services: std::mem::take(&mut vip.services), ..settings };
            }
        }
    }
    (vips, places)
}

/// Everything but the services; what is wrong has been reported and is as if not there.
fn read_vip(table: &Section, ways: Ways, places: &mut Places, findings: &mut Findings) -> Vip {
    let via = gobgp::via(table, ways, findings);
    let attributes = attributes(table, findings);
    let day = Duration::from_secs(86_400);
    let hold_up = table.get("hold_up").and_then(|item| item.duration(Duration::ZERO..=day, findings));
    let words = [("withdraw", OnDownWord::Withdraw), ("degrade", OnDownWord::Degrade)];
    let on_down = table.get("on_down").map(|item| item.choice(&words, findings));
    let degraded = table.get("degraded");
    let degraded_attributes = degraded.and_then(|item| {
        let table = item.section(&schema::DEGRADED, findings)?;
        if schema::DEGRADED.keys.iter().all(|key| !table.has(key)) {
            findings.error(item.place, "`degraded` is empty: the VIP would be announced as if it were healthy");
        }
        let degraded = overridden(&attributes, &table, findings);
        places.told_internally.note(&degraded, &table);
        Some(degraded)
    });
    places.told_internally.note(&attributes, table);
    match (on_down, degraded) {
        (None, Some(item)) => {
            findings.error(item.key_place, "`degraded` does nothing without `on_down = \"degrade\"`");
        }
        // Said in so many words: the attributes may wait there for the day when the word changes.
        (Some(Some(OnDownWord::Withdraw)), Some(item)) => {
            findings.warning(item.key_place, "`degraded` does nothing while `on_down = \"withdraw\"`");
        }
        (Some(Some(OnDownWord::Degrade)), None) => {
            let place = table.get("on_down").map_or(table.place, |item| item.place);
            findings.error(place, "`on_down = \"degrade\"` needs `degraded` with the attributes to announce then");
        }
        _ => {}
    }
    Vip {
        services: Vec::new(),
        attributes: Arc::new(attributes),
        hold_up: hold_up.unwrap_or_default(),
        on_down: match (on_down, degraded_attributes) {
            (Some(Some(OnDownWord::Degrade)), Some(attributes)) => OnDown::Degrade(Arc::new(attributes)),
            _ => OnDown::Withdraw,
        },
        via,
    }
}

/// As an operator writes it: without the length of a host prefix.
fn short(prefix: &Prefix) -> String {
    if *prefix == Prefix::host(prefix.address()) { prefix.address().to_string() } else { prefix.to_string() }
}
