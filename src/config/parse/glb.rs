//! `[glb]`: GLB's forwarding tables as services, by its own keys or by a `healthcheck.conf` as glb-healthcheck reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::check::Checks;
use super::findings::{Findings, Place, quote};
use super::forwarding::{self, Bind, Table};
use super::json::{Object, Value};
use super::table::Section;
use super::{daemon, schema, service};
use crate::config::glb::Glb;
use crate::config::{Backend, Combine, Protocol, Required, Service, Source};
use crate::prefix::Prefix;

const DEFAULT_RELOAD_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_MIN_WRITE_INTERVAL: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Each is a backend of a service: a file of some megabytes could make more of them than fit any memory.
const MAX_SERVED: usize = 1_000_000;

/// Files that others than the TOML files name and whose text matters, or why they cannot be read.
pub type Texts = BTreeMap<PathBuf, Result<Source, String>>;

/// The texts, and which file they are in places.
pub(super) struct Files<'t> {
    texts: &'t Texts,
    numbers: BTreeMap<&'t Path, usize>,
}

/// What the `gobgp_config` of a `healthcheck.conf` says; what it leaves out or empty is `None`.
#[derive(Debug, Default)]
pub(super) struct LegacyGobgp {
    /// Host and port of the API.
    pub(super) address: Option<(String, Place)>,
    /// Of IPv4 VIPs.
    pub(super) nexthop: Option<(String, Place)>,
    /// Of IPv6 VIPs.
    pub(super) nexthop_ipv6: Option<(String, Place)>,
    /// Of all VIPs.
    pub(super) communities: Vec<(String, Place)>,
}

/// What `healthcheck.conf` says, each with its place.
#[derive(Debug, Default)]
struct Legacy {
    source: Option<(PathBuf, Place)>,
    destination: Option<(PathBuf, Place)>,
    reload_command: Option<(String, Place)>,
    gobgp: Option<LegacyGobgp>,
    /// It may have meant to say a source: that has been reported.
    is_faulty: bool,
}

/// Where things go that others have begun.
pub(super) struct Ground<'g> {
    pub(super) checks: &'g mut Checks,
    pub(super) services: &'g mut Vec<Service>,
    pub(super) places: &'g mut service::Places,
}

impl<'t> Files<'t> {
    /// Behind `first` other files.
    pub(super) fn new(texts: &'t Texts, first: usize) -> Files<'t> {
        let readable = texts.iter().filter(|(_, text)| text.is_ok()).map(|(path, _)| path.as_path());
        Files { texts, numbers: readable.enumerate().map(|(nth, path)| (path, first + nth)).collect() }
    }

    /// In the order of their numbers.
    pub(super) fn sources(texts: &'t Texts) -> impl Iterator<Item = &'t Source> {
        texts.values().filter_map(|text| text.as_ref().ok())
    }

    /// The text and number of a file that is named at `place`. Without it nobody knows what is missing elsewhere.
    fn text(&self, path: &Path, place: Place, findings: &mut Findings) -> Option<(&'t str, usize)> {
        let shown = path.display();
        match (self.texts.get(path), self.numbers.get(path)) {
            (Some(Ok(source)), Some(number)) => return Some((&source.text, *number)),
            (Some(Err(fault)), _) => findings.error(place, format!("{shown}: {fault}")),
            // Part of the configuration is missing: perhaps that is why.
            _ if findings.is_incomplete() => {}
            _ => findings.error(place, format!("{shown}: has not been read")),
        }
        findings.set_incomplete();
        None
    }
}

/// The files whose texts the main file asks for, as far as that can be told from those that are known.
pub(super) fn wanted(root: Option<&Section>, files: &Files, findings: &mut Findings) -> BTreeSet<PathBuf> {
    let table = root.and_then(|root| root.get("glb")).and_then(|item| item.section(&schema::GLB, findings));
    let Some(table) = table else { return BTreeSet::new() };
    let mut path = |key| table.get(key).and_then(|item| daemon::absolute_path(&item, findings));
    let (config, own) = (path("config"), path("source"));
    let known = config.as_ref().is_some_and(|config| files.texts.contains_key(config));
    let legacy = if known { read_legacy(&table, files, findings) } else { Legacy::default() };
    let source = own.or(legacy.source.map(|(path, _)| path));
    config.into_iter().chain(source).collect()
}

/// What a `healthcheck.conf` that is known says of gobgpd.
pub(super) fn legacy_gobgp(root: &Section, files: &Files, findings: &mut Findings) -> Option<LegacyGobgp> {
    let table = root.get("glb")?.section(&schema::GLB, findings)?;
    read_legacy(&table, files, findings).gobgp
}

/// Adds the services of the tables.
pub(super) fn read(
    root: Option<&Section>,
    files: &Files,
    ground: &mut Ground,
    findings: &mut Findings,
) -> (Option<Glb>, Option<LegacyGobgp>) {
    let table = root.and_then(|root| root.get("glb")).and_then(|item| item.section(&schema::GLB, findings));
    let Some(table) = table else { return (None, None) };
    let legacy = read_legacy(&table, files, findings);
    let mut own_path = |key| table.get(key).map(|item| (item, daemon::absolute_path(&item, findings)));
    let own = |(item, path): (super::table::Item, Option<PathBuf>)| path.map(|path| (path, item.place));
    let (own_source, own_destination) = (own_path("source"), own_path("destination"));
    let lacks_source = own_source.is_none() && legacy.source.is_none() && !legacy.is_faulty;
    if own_source.is_none() && legacy.is_faulty {
        findings.set_incomplete();
    }
    let source = own_source.map_or(legacy.source, own);
    let destination = own_destination.map_or(legacy.destination, own);
    if lacks_source && !findings.is_incomplete() {
        findings.error(table.place, "[glb] needs `source`, or `config` with a file that says it");
    }
    if let (Some((source, other)), Some((destination, place))) = (&source, &destination)
        && source == destination
    {
        findings.conflict(*place, "the destination must not be the source, which is at", *other);
    }
    let reload_command = table.get("reload_command").map_or(legacy.reload_command, |item| {
        let command = item.string(findings)?;
        sane_command(command, item.place, findings)
    });
    if let (Some((_, place)), None, false) = (&reload_command, &destination, lacks_source) {
        findings.warning(*place, "`reload_command` does nothing without a destination: no table is written");
    }
    let shortest = Duration::from_millis(1);
    let mut time = |key, range| table.get(key).and_then(|item| item.duration(range, findings));
    let reload_timeout = time("reload_timeout", shortest..=HOUR).unwrap_or(DEFAULT_RELOAD_TIMEOUT);
    let min_write_interval = time("min_write_interval", Duration::ZERO..=HOUR).unwrap_or(DEFAULT_MIN_WRITE_INTERVAL);
    let watch = table.get("watch").and_then(|item| item.boolean(findings)).unwrap_or(false);
    let content = source.as_ref().and_then(|(path, place)| {
        let (text, number) = files.text(path, *place, findings)?;
        let before = findings.count();
        let content = forwarding::read(text, number, ground.checks, findings);
        if findings.count() > before {
            // A bind that is not understood is no reason to call a [[vip]] a mistake.
            findings.set_incomplete();
        }
        content
    });
    let glb = source.zip(content).map(|((source, _), content)| {
        add_services(&content.tables, ground, findings);
        Glb {
            source,
            destination: destination.map(|(path, _)| path),
            reload_command: reload_command.map(|(command, _)| command),
            reload_timeout,
            min_write_interval,
            watch,
            table: Arc::new(content.document),
        }
    });
    (glb, legacy.gobgp)
}

fn sane_command(command: &str, place: Place, findings: &mut Findings) -> Option<(String, Place)> {
    let fault = if command.trim().is_empty() {
        "must not be empty"
    } else if command.contains('\0') {
        "must not hold a zero byte"
    } else {
        return Some((command.to_owned(), place));
    };
    findings.error(place, format!("`reload_command` {fault}"));
    None
}

/// The file that `config` names; nothing when there is none, or it cannot be read.
fn read_legacy(table: &Section, files: &Files, findings: &mut Findings) -> Legacy {
    let item = table.get("config");
    let path = item.and_then(|item| daemon::absolute_path(&item, findings).zip(Some(item.place)));
    let text = path.and_then(|(path, place)| files.text(&path, place, findings));
    let object = text.and_then(|(text, number)| Value::read(text, number, findings)?.object("the file", findings));
    let Some(object) = object else { return Legacy { is_faulty: item.is_some(), ..Legacy::default() } };
    object.refuse_twins(&["forwarding_table", "reload_command", "gobgp_config"], findings);
    let mut legacy = Legacy::default();
    let table = object.get("forwarding_table");
    legacy.is_faulty = table.is_some();
    if let Some(paths) = table.and_then(|value| value.object("forwarding_table", findings)) {
        paths.refuse_twins(&["src", "dst"], findings);
        legacy.source = legacy_path(&paths, "src", findings);
        legacy.is_faulty = legacy.source.is_none() && paths.get("src").is_some_and(|value| !value.is_empty_string());
        legacy.destination = legacy_path(&paths, "dst", findings);
    }
    legacy.reload_command = filled(&object, "reload_command", findings)
        .and_then(|(command, place)| sane_command(&command, place, findings));
    legacy.gobgp = object.get("gobgp_config").and_then(|value| value.object("gobgp_config", findings)).map(|object| {
        object.refuse_twins(&["address", "nexthop", "nexthop_ipv6", "communities"], findings);
        let mut text = |key| filled(&object, key, findings);
        let (address, nexthop, nexthop_ipv6) = (text("address"), text("nexthop"), text("nexthop_ipv6"));
        let communities = object.get("communities").and_then(|value| value.list("communities", findings));
        let community = |value: &Value| value.string("communities", findings).map(|text| (text, value.place()));
        let communities = communities.unwrap_or_default().iter().filter_map(community).collect();
        LegacyGobgp { address, nexthop, nexthop_ipv6, communities }
    });
    legacy
}

/// A text that may be left out, or empty, which is the same to glb-healthcheck.
fn filled(object: &Object, key: &str, findings: &mut Findings) -> Option<(String, Place)> {
    let value = object.get(key)?;
    value.string(key, findings).filter(|text| !text.is_empty()).map(|text| (text, value.place()))
}

fn legacy_path(object: &Object, key: &str, findings: &mut Findings) -> Option<(PathBuf, Place)> {
    let (text, place) = filled(object, key, findings)?;
    if !text.starts_with('/') || text.contains('\0') {
        findings.error(place, format!("`{key}` must be an absolute path"));
        return None;
    }
    Some((text.into(), place))
}

/// What the binds have taken so far: last ports by first port.
type Taken = BTreeMap<(Prefix, Protocol), BTreeMap<u16, (u16, Place)>>;

fn add_services(tables: &[Table], ground: &mut Ground, findings: &mut Findings) {
    let mut taken = Taken::new();
    let (mut served, mut numbers) = (0usize, BTreeMap::new());
    for table in tables {
        served = served.saturating_add(table.binds.len().saturating_mul(table.backends.len().max(1)));
        if served > MAX_SERVED {
            let message = format!("with this table there are more than {MAX_SERVED} pairs of a bind and a backend");
            findings.error(table.place, message);
            return;
        }
        let able = table.backends.iter().any(|backend| !backend.inactive);
        if !able && !table.binds.is_empty() {
            let why = if table.backends.is_empty() { "has no backends" } else { "has inactive backends only" };
            let message = format!("table {} {why}: its VIPs are not announced", quote(&table.name));
            findings.warning(table.place, message);
        }
        let label = forwarding::label(&table.name);
        for bind in &table.binds {
            look_at_ports(bind, ground.places, &mut taken, findings);
            let service = service(&label, table, bind, ground.places, &mut numbers);
            ground.places.vips.entry(bind.vip).or_insert(bind.place);
            ground.places.services_by_vip.entry(bind.vip).or_default().push(ground.services.len());
            ground.places.names.insert(service.name.clone(), bind.place);
            ground.services.push(service);
        }
    }
}

/// Two services cannot share a port. Binds can: the director has its own idea of which of them counts.
fn look_at_ports(bind: &Bind, places: &service::Places, taken: &mut Taken, findings: &mut Findings) {
    let Bind { vip, protocol, first_port, last_port, place } = bind;
    let (from, to) = ((*vip, *first_port, Protocol::Tcp), (*vip, *last_port, Protocol::Udp));
    if let Some(((_, port, _), other)) = places.ports.range(from..=to).find(|((_, _, other), _)| other == protocol) {
        let message = format!("another service has {protocol} port {port} of VIP `{vip}`, already at");
        findings.conflict(*place, message, *other);
    }
    let ports = taken.entry((*vip, *protocol)).or_default();
    if let Some((_, (last, _))) = ports.range(..=last_port).next_back()
        && last >= first_port
    {
        let message = format!("{} is bound before; its VIP needs the backends of both", spell(bind));
        findings.warning(*place, message);
    }
    let slot = ports.entry(*first_port).or_insert((*last_port, *place));
    slot.0 = slot.0.max(*last_port);
}

/// `tcp:192.0.2.1:80`, `udp:[2001:db8::_32]:5000-5999`: what tells one bind from another, without a slash.
fn spell(bind: &Bind) -> String {
    let Bind { vip, protocol, first_port, last_port, .. } = bind;
    let address = vip.address();
    let length = if *vip == Prefix::host(address) { String::new() } else { format!("_{}", vip.len()) };
    let address = if address.is_ipv4() { format!("{address}{length}") } else { format!("[{address}{length}]") };
    let ports = if first_port == last_port { first_port.to_string() } else { format!("{first_port}-{last_port}") };
    format!("{protocol}:{address}:{ports}")
}

/// `name`, or if that is taken with the next number behind it; `numbers` keeps the next of each.
fn free_name(name: String, places: &service::Places, numbers: &mut BTreeMap<String, usize>) -> String {
    let is_taken = |name: &str| places.names.contains_key(name);
    if !is_taken(&name) {
        return name;
    }
    let number = numbers.entry(name.clone()).or_insert(1);
    loop {
        *number += 1;
        let numbered = format!("{name}#{number}");
        if !is_taken(&numbered) {
            return numbered;
        }
    }
}

fn service(
    label: &str,
    table: &Table,
    bind: &Bind,
    places: &service::Places,
    numbers: &mut BTreeMap<String, usize>,
) -> Service {
    let name = free_name(format!("{label}:{}", spell(bind)), places, numbers);
    let backend = |backend: &forwarding::Backend| Backend {
        address: SocketAddr::new(backend.address, bind.first_port),
        weight: 1,
        sorry: false,
        enabled: !backend.inactive,
        checks: backend.checks.clone(),
        combine: Combine::All,
    };
    Service {
        name: name.into(),
        vips: vec![bind.vip],
        protocol: bind.protocol,
        port: bind.first_port,
        last_port: bind.last_port,
        required: Required::Backends(1).into(),
        backends: table.backends.iter().map(backend).collect(),
        disable: None,
    }
}
