//! `[[vip]]`, `[vip_defaults]`, and the VIPs that have no table.

mod dependency;
mod ground;
mod hold;
mod ladder;

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::DeTable;

use super::address;
use super::attribute::{attributes, overridden};
use super::findings::{Findings, Place};
use super::gobgp::{self, Ways};
use super::table::Section;
use super::{guard, is_new, schema, service};
use crate::config::{Attributes, OnDown, Service, Vip, VipPolicy};
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
    /// The first `bind`.
    pub(super) bind: Option<Place>,
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
    (configured, services): (&[Service], &service::Places),
    ways: Ways,
    guard: &guard::Reading,
    findings: &mut Findings,
) -> (BTreeMap<Prefix, Vip>, Places) {
    let mut places = Places { vips: services.vips.clone(), ..Places::default() };
    let nothing = DeTable::new();
    let top = Place { file: 0, offset: 0 };
    let defaults = roots.first().and_then(|root| root.get("vip_defaults"));
    let defaults = defaults.and_then(|item| item.section(&schema::VIP_DEFAULTS, findings));
    let mut reader = Reader { defaults, ways, guard };
    let plain = match &defaults {
        Some(defaults) => reader.read(defaults, &mut places, findings),
        None => reader.read(&Section::new(&schema::VIP, &nothing, top, findings), &mut places, findings),
    };
    let of_services = |prefix: &Prefix, services: &Vec<usize>| {
        ground::of_prefix(prefix, Vip { services: services.clone(), ..plain.clone() })
    };
    let mut vips: BTreeMap<Prefix, Vip> =
        services.services_by_vip.iter().map(|(vip, services)| (*vip, of_services(vip, services))).collect();
    let (mut seen, mut dependents) = (BTreeMap::new(), Vec::new());
    for root in roots {
        for table in root.sections("vip", &schema::VIP, findings) {
            let address = table.need("address", findings);
            let prefix = address.and_then(|item| address::vip(&item, findings));
            let settings = reader.read(&table, &mut places, findings);
            let (Some(address), Some(prefix)) = (address, prefix) else { continue };
            is_new(&mut seen, prefix, address.place, findings, || format!("VIP `{prefix}` has a [[vip]]"));
            if !services.vips.contains_key(&prefix) && !findings.is_incomplete() {
                let names: Vec<String> = services.vips.keys().map(short).collect();
                let hint = findings.did_you_mean(&short(&prefix), names.iter().map(String::as_str));
                findings.error(address.place, format!("no service is on VIP `{prefix}`{hint}"));
            }
            ground::refuse(&prefix, &table, &reader.with_defaults(&table), findings);
            places.vips.insert(prefix, table.place);
            places.degraded.extend(table.get("degraded").map(|item| (prefix, item.key_place)));
            dependents.extend(table.get("depends_on").map(|item| (prefix, item)));
            if let Some(vip) = vips.get_mut(&prefix) {
                *vip = ground::of_prefix(&prefix, Vip { services: std::mem::take(&mut vip.services), ..settings });
            }
        }
    }
    if let (Some(defaults), None) = (&reader.defaults, places.bind) {
        ground::refuse_delay(defaults, findings);
    }
    dependency::resolve(&dependents, configured, &mut vips, findings);
    (vips, places)
}

/// What all tables are read with.
struct Reader<'r> {
    defaults: Option<Section<'r>>,
    ways: Ways,
    guard: &'r guard::Reading,
}

impl<'r> Reader<'r> {
    /// A table, and where it says nothing, the defaults.
    fn with_defaults(&self, own: &Section<'r>) -> Section<'r> {
        match &self.defaults {
            Some(defaults) => own.based_on(defaults, &[]),
            None => *own,
        }
    }

    /// Everything but services and dependencies; what is wrong has been reported and is as if not there.
    fn read(&mut self, own: &Section<'r>, places: &mut Places, findings: &mut Findings) -> Vip {
        let table = &self.with_defaults(own);
        places.bind = places.bind.or_else(|| table.get("bind").map(|item| item.place));
        let (bind, require_address) = ground::read(table, findings);
        let via = gobgp::via(table, self.ways, findings);
        let attributes = attributes(table, findings);
        places.told_internally.note(&attributes, table);
        let policies = [VipPolicy::All, VipPolicy::Any].map(|policy| (policy.name(), policy));
        let policy = table.get("vip_policy").and_then(|item| item.choice(&policies, findings));
        let degraded_attributes = table.get("degraded").and_then(|item| {
            let table = item.section(&schema::DEGRADED, findings)?;
            if schema::DEGRADED.keys.iter().all(|key| !table.has(key)) {
                findings.error(item.place, "`degraded` is empty: the VIP would be announced as if it were healthy");
            }
            let degraded = overridden(&attributes, &table, findings);
            places.told_internally.note(&degraded, &table);
            Some(degraded)
        });
        let on_down = on_down(table, own, degraded_attributes, findings);
        let doubtful = match &on_down {
            OnDown::Degrade(attributes) if self.guard.degrades() => Some(attributes.clone()),
            _ => self.guard.doubtful(&attributes).map(Arc::new),
        };
        let [hold_up, hold_down] = ["hold_up", "hold_down"]
            .map(|key| table.get(key).and_then(|item| hold::hold(&item, findings)).unwrap_or_default());
        Vip {
            services: Vec::new(),
            policy: policy.unwrap_or_default(),
            depends_on: Vec::new(),
            ladder: ladder::rungs(table, &attributes, &mut places.told_internally, findings),
            attributes: Arc::new(attributes),
            bind,
            require_address,
            hold_up,
            hold_down,
            damping: table.get("damping").and_then(|item| hold::damping(&item, findings)),
            on_down,
            doubtful,
            via,
        }
    }
}

/// What becomes of the route of an unhealthy VIP. `own` is the table without the defaults.
fn on_down(table: &Section, own: &Section, degraded_attributes: Option<Attributes>, findings: &mut Findings) -> OnDown {
    let words = [("withdraw", OnDownWord::Withdraw), ("degrade", OnDownWord::Degrade)];
    let on_down = table.get("on_down").map(|item| item.choice(&words, findings));
    match (on_down, table.get("degraded").filter(|_| own.is_own("degraded"))) {
        (None, Some(item)) => {
            findings.error(item.key_place, "`degraded` does nothing without `on_down = \"degrade\"`");
        }
        // Said in so many words: the attributes may wait there for the day when the word changes.
        (Some(Some(OnDownWord::Withdraw)), Some(item)) => {
            findings.warning(item.key_place, "`degraded` does nothing while `on_down = \"withdraw\"`");
        }
        (Some(Some(OnDownWord::Degrade)), None) if degraded_attributes.is_none() && !table.has("degraded") => {
            let place = table.get("on_down").map_or(table.place, |item| item.place);
            findings.error(place, "`on_down = \"degrade\"` needs `degraded` with the attributes to announce then");
        }
        _ => {}
    }
    match (on_down, degraded_attributes) {
        (Some(Some(OnDownWord::Degrade)), Some(attributes)) => OnDown::Degrade(Arc::new(attributes)),
        _ => OnDown::Withdraw,
    }
}

/// As an operator writes it: without the length of a host prefix.
fn short(prefix: &Prefix) -> String {
    if *prefix == Prefix::host(prefix.address()) { prefix.address().to_string() } else { prefix.to_string() }
}
