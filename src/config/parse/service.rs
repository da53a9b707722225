//! `[[service]]` and `[[service.backend]]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::check::{self, CheckUse, Checks, EgressKeys, Stand};
use super::findings::{Findings, Place, quote};
use super::table::{Item, Section, optional};
use super::{address, is_new, name, quorum, schema};
use crate::config::{Backend, Combine, Need, Protocol, Required, Service};
use crate::prefix::Prefix;

/// Where warnings about services point, and what stands on which VIP.
#[derive(Default)]
pub(super) struct Places {
    /// By index into the services; of those that a `[[service]]` makes, which are the first.
    pub(super) services: Vec<Place>,
    /// Every name.
    pub(super) names: BTreeMap<Arc<str>, Place>,
    /// What is taken already.
    pub(super) ports: BTreeMap<(Prefix, u16, Protocol), Place>,
    /// Every address that a service names, with the first place that names it. Also of services with errors.
    pub(super) vips: BTreeMap<Prefix, Place>,
    /// The same for what the valid services name: which services these are.
    pub(super) services_by_vip: BTreeMap<Prefix, Vec<usize>>,
}

pub(super) fn read(roots: &[Section], checks: &mut Checks, findings: &mut Findings) -> (Vec<Service>, Places) {
    let mut services = Vec::new();
    let mut places = Places::default();
    for root in roots {
        for table in root.sections("service", &schema::SERVICE, findings) {
            let Some(service) = read_service(&table, checks, &mut places, findings) else { continue };
            for vip in &service.vips {
                places.services_by_vip.entry(*vip).or_default().push(services.len());
            }
            places.services.push(table.place);
            services.push(service);
        }
    }
    (services, places)
}

fn read_service(table: &Section, checks: &mut Checks, places: &mut Places, findings: &mut Findings) -> Option<Service> {
    let name = table.need("name", findings).and_then(|item| {
        let name = name(&item, findings)?;
        is_new(&mut places.names, name.into(), item.place, findings, || {
            format!("service name {} is taken", quote(name))
        });
        Some(name)
    });
    let protocols = [Protocol::Tcp, Protocol::Udp].map(|p| (if p == Protocol::Tcp { "tcp" } else { "udp" }, p));
    let protocol = table.get("protocol").map_or(Some(Protocol::Tcp), |item| item.choice(&protocols, findings));
    let port = table.need("port", findings).and_then(|item| item.integer(1..=u16::MAX, findings));
    let vips = read_vips(table, port.zip(protocol), places, findings);
    let required =
        table.get("required").map_or(Some(Required::Backends(1).into()), |item| quorum::quorum(&item, findings));
    let uses = checks.read_uses(table, findings);
    let combine = table.get("combine").map_or(Some((Combine::All, None)), |item| check::combine(&item, findings));
    let ground = Ground { port, vips: vips.as_deref().unwrap_or_default(), uses: uses.as_deref(), combine };
    let backends = read_backends(table, &ground, checks, findings);
    if backends.as_ref().is_some_and(|all| !all.is_empty() && all.iter().all(|backend| backend.sorry)) {
        findings.error(table.place, "every backend is `sorry`, and there is none that they could stand in for");
    }
    let disable = optional(table.get("disable_file").map(|item| checks.disable_file(&item, findings)));
    Some(Service {
        name: name?.into(),
        vips: vips?,
        protocol: protocol?,
        port: port?,
        last_port: port?,
        required: required?,
        backends: backends?,
        disable: disable?,
    })
}

fn read_vips(
    table: &Section,
    port: Option<(u16, Protocol)>,
    places: &mut Places,
    findings: &mut Findings,
) -> Option<Vec<Prefix>> {
    let list = table.need("vips", findings)?;
    let items = list.list(findings)?;
    if items.is_empty() {
        findings.error(list.place, "`vips` must not be empty");
        return None;
    }
    let mut vips: Vec<Prefix> = Vec::with_capacity(items.len());
    let mut own = BTreeMap::new();
    for item in &items {
        let Some(vip) = address::vip(item, findings) else { continue };
        if !is_new(&mut own, vip, item.place, findings, || format!("VIP `{vip}` is listed twice")) {
            continue;
        }
        if let Some((port, protocol)) = port {
            let what = || format!("another service has {protocol} port {port} of VIP `{vip}`");
            is_new(&mut places.ports, (vip, port, protocol), item.place, findings, what);
        }
        places.vips.entry(vip).or_insert(item.place);
        vips.push(vip);
    }
    Some(vips)
}

/// A number of backends (or what `of` calls them), or a share such as `"50%"`.
pub(super) fn required(item: &Item, of: &str, findings: &mut Findings) -> Option<Required> {
    if !item.is_string() {
        return item.integer(0..=u32::MAX, findings).map(Required::Backends);
    }
    let text = item.string(findings)?;
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let percent = digits.and_then(|digits| digits.parse::<u8>().ok()).filter(|percent| *percent <= 100);
    if percent.is_none() {
        let message =
            format!("`{}` must be a number of {of} or a share from \"0%\" to \"100%\", not {}", item.name, quote(text));
        findings.error(item.place, message);
    }
    percent.map(Required::Percent)
}

/// What backends share with their service.
struct Ground<'g> {
    port: Option<u16>,
    vips: &'g [Prefix],
    uses: Option<&'g [CheckUse]>,
    /// With the number of checks that it is said of; `None` when it is wrong.
    combine: Option<(Combine, Option<u32>)>,
}

fn read_backends(
    table: &Section,
    ground: &Ground<'_>,
    checks: &mut Checks,
    findings: &mut Findings,
) -> Option<Vec<Backend>> {
    let tables = table.sections("backend", &schema::BACKEND, findings);
    let mut backends = Vec::with_capacity(tables.len());
    let mut seen = BTreeMap::new();
    let mut valid = true;
    let mut unchecked = 0usize;
    for table in &tables {
        let own_uses = checks.read_uses(table, findings);
        let uses = own_uses.as_deref().or(ground.uses);
        let Some(backend) = read_backend(table, uses, ground, checks, findings) else {
            valid = false;
            continue;
        };
        let target = backend.address;
        valid &= is_new(&mut seen, target, table.place, findings, || format!("backend {target} is listed twice"));
        unchecked += usize::from(uses.is_none());
        backends.push(backend);
    }
    if unchecked > 0 {
        let message = "there is neither `checks` nor `check`: backends without a check always count; \
                       write `checks = []` if that is meant";
        findings.warning(table.place, message);
    }
    valid.then_some(backends)
}

fn read_backend(
    table: &Section,
    uses: Option<&[CheckUse]>,
    ground: &Ground<'_>,
    checks: &mut Checks,
    findings: &mut Findings,
) -> Option<Backend> {
    let address = table.need("address", findings).and_then(|item| backend_address(&item, findings));
    let port = table.get("port").map_or(ground.port, |item| item.integer(1..=u16::MAX, findings));
    let weight = table.get("weight").map_or(Some(1), |item| item.integer(0..=u32::MAX, findings));
    let enabled = table.get("enabled").map_or(Some(true), |item| item.boolean(findings));
    let sorry = table.get("sorry").map_or(Some(false), |item| item.boolean(findings));
    let egress = EgressKeys::read(table, findings);
    let combine = table.get("combine").map_or(ground.combine, |item| check::combine(&item, findings));
    let address = SocketAddr::new(address?, port?);
    let (egress, combine) = (egress?, combine?);
    if let Some(item) = table.get("mark") {
        checks.note(Need::Mark, item.place);
    }
    let stand = Stand { backend: address, vips: ground.vips, vip_port: ground.port?, egress: &egress };
    let checks = checks.place(uses.unwrap_or_default(), &stand, findings);
    let counting = checks.iter().filter(|check| !check.advisory).count();
    if let (_, Some(all)) = combine
        && all as usize != counting
    {
        let item = table.get("combine");
        let place = item.map_or(table.place, |item| item.place);
        let message = format!("`combine` speaks of {all} checks, but {counting} of this backend's count");
        findings.error(place, message);
        return None;
    }
    Some(Backend { address, weight: weight?, enabled: enabled?, sorry: sorry?, checks, combine: combine.0 })
}

fn backend_address(item: &Item, findings: &mut Findings) -> Option<std::net::IpAddr> {
    let address = address::host_address(item, findings)?;
    if address::is_link_local(address) {
        findings.error(
            item.place,
            format!("`address`: `{address}` is link-local; a backend needs an address with a wider scope"),
        );
        return None;
    }
    Some(address)
}
