//! `[fail_static]` and `[[self_check]]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::attribute::Overlay;
use super::check::{Checks, Stand};
use super::findings::{Findings, quote};
use super::table::Section;
use super::{address, is_new, name, schema};
use crate::config::{Attributes, FailStatic, OnFailure, Population, SelfCheck};

/// `[fail_static]`, and what it does to the routes of VIPs.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) fail_static: Option<FailStatic>,
    /// It degrades; with these attributes, if it says which.
    degrade: Option<Overlay>,
}

impl Reading {
    pub(super) fn new(root: Option<&Section>, findings: &mut Findings) -> Reading {
        let table = root.and_then(|root| root.get("fail_static"));
        let Some(table) = table.and_then(|item| item.section(&schema::FAIL_STATIC, findings)) else {
            return Reading::default();
        };
        let populations = [("vips", Population::Vips), ("backends", Population::Backends)];
        let of = table.get("of").and_then(|item| item.choice(&populations, findings));
        let share = table.need("share", findings).and_then(|item| item.percent(0..=99, findings));
        let minimum = table.get("minimum").and_then(|item| item.integer(1..=u32::MAX, findings));
        let hour = Duration::from_secs(3600);
        let window = table.get("window").and_then(|item| item.duration(Duration::from_millis(100)..=hour, findings));
        let limit = table.get("limit").and_then(|item| item.duration(Duration::ZERO..=hour * 24, findings));
        let policies = [("freeze", false), ("degrade", true)];
        let degrades = table.get("policy").and_then(|item| item.choice(&policies, findings)).unwrap_or(false);
        let degraded = table.get("degraded").and_then(|item| item.section(&schema::DEGRADED, findings));
        let degraded = degraded.map(|table| Overlay::read(&table, findings));
        match (degrades, table.get("degraded")) {
            (true, None) => {
                findings
                    .error(table.place, "`policy = \"degrade\"` needs `degraded` with the attributes to announce then");
            }
            (false, Some(item)) => {
                findings.error(item.key_place, "`degraded` does nothing without `policy = \"degrade\"`");
            }
            _ => {}
        }
        let fail_static = FailStatic {
            of: of.unwrap_or(Population::Vips),
            share: share.unwrap_or(50),
            minimum: minimum.unwrap_or(2) as usize,
            window: window.unwrap_or(FailStatic::WINDOW),
            limit: limit.map_or(Some(FailStatic::LIMIT), |limit| (!limit.is_zero()).then_some(limit)),
        };
        Reading { fail_static: Some(fail_static), degrade: degraded.filter(|_| degrades) }
    }

    /// Whether routes are degraded in doubt; else they stay as they are.
    pub(super) fn degrades(&self) -> bool {
        self.degrade.is_some()
    }

    /// What a VIP is announced with while it is doubted that it is unhealthy, if that is something else than before.
    pub(super) fn doubtful(&self, healthy: &Attributes) -> Option<Attributes> {
        self.degrade.as_ref().map(|overlay| overlay.on(healthy))
    }
}

pub(super) fn self_checks(roots: &[Section], checks: &mut Checks, findings: &mut Findings) -> Vec<SelfCheck> {
    let (mut self_checks, mut names) = (Vec::new(), BTreeMap::new());
    for root in roots {
        for table in root.sections("self_check", &schema::SELF_CHECK, findings) {
            let name = table.need("name", findings).and_then(|item| {
                let name = name(&item, findings)?;
                is_new(&mut names, name, item.place, findings, || format!("self-check {} is there", quote(name)));
                Some(name)
            });
            let policies = [OnFailure::Hold, OnFailure::Withdraw].map(|policy| (policy.name(), policy));
            let on_failure = table.need("on_failure", findings).and_then(|item| item.choice(&policies, findings));
            let checks = read_checks(&table, checks, findings);
            if let (Some(name), Some(checks), Some(on_failure)) = (name, checks, on_failure) {
                self_checks.push(SelfCheck { name: name.into(), checks, on_failure });
            }
        }
    }
    self_checks
}

fn read_checks(table: &Section, checks: &mut Checks, findings: &mut Findings) -> Option<Vec<usize>> {
    let target = table.get("address").map(|item| address::host_address(&item, findings));
    let port = table.get("port").map(|item| item.integer(1..=u16::MAX, findings));
    let uses = checks.read_uses(table, findings);
    let Some(uses) = uses.filter(|uses| !uses.is_empty()) else {
        if !findings.is_incomplete() {
            findings.error(table.place, "a self-check needs `checks` or `check`");
        }
        return None;
    };
    let (target, port) = (target.map_or(Some(None), |target| target.map(Some))?, port.map_or(Some(0), |port| port)?);
    checks.refuse_without_target(&uses, (target.is_some(), port > 0), table.place, findings).then_some(())?;
    let address = SocketAddr::new(target.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()), port);
    let placed = checks.place(&uses, &Stand::plain(address), findings);
    let mut counting: Vec<usize> = placed.iter().filter(|used| !used.advisory).map(|used| used.check).collect();
    counting.sort_unstable();
    if counting.is_empty() {
        findings.error(table.place, "a self-check needs a check that counts: all of its checks are advisory");
        return None;
    }
    Some(counting)
}
