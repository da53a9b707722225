//! A file of GLB's forwarding tables. Keys that are not known here are others' business.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::check::{CheckUse, Checks, Stand, http};
use super::findings::{Findings, Place, quote};
use super::json::{Object, Value};
use super::{address, is_new};
use crate::config::glb::{ForwardingTable, Slot, TableBackend};
use crate::config::{CheckRef, Encapsulation, HttpProbe, Need, ProbeKind, Protocol, StatusRange, TcpProbe, Timing};
use crate::prefix::{Prefix, PrefixError};

/// In milliseconds; for both the longest is a day.
const DEFAULT_INTERVAL: u64 = 2000;
const DEFAULT_TIMEOUT: u64 = 1000;
const DEFAULT_TRIGGER: u32 = 3;
const SHORTEST_INTERVAL: u64 = 10;
const DAY: u64 = 86_400_000;
/// As for other checks.
const MAX_TRIGGER: u64 = 10_000;
/// Until it has a verdict, a check runs so many times as often, but with at least the following pause.
const HASTE: u32 = 10;
const SHORTEST_FIRST_INTERVAL: Duration = Duration::from_millis(50);
/// Redirects that are followed, as the HTTP client of glb-healthcheck does.
const REDIRECTS: u8 = 10;

/// What a file says.
pub(super) struct Content {
    /// The text, and where in it the health of each backend belongs.
    pub(super) document: ForwardingTable,
    pub(super) tables: Vec<Table>,
}

/// One table.
pub(super) struct Table {
    /// The operator's word for it, whatever that is; or its number.
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) binds: Vec<Bind>,
    pub(super) backends: Vec<Backend>,
}

/// Where clients come.
pub(super) struct Bind {
    pub(super) place: Place,
    pub(super) vip: Prefix,
    pub(super) protocol: Protocol,
    pub(super) first_port: u16,
    /// Not below the first.
    pub(super) last_port: u16,
}

/// Who serves them.
pub(super) struct Backend {
    pub(super) address: IpAddr,
    pub(super) inactive: bool,
    pub(super) checks: Vec<CheckRef>,
}

struct Reader<'r, 'f> {
    checks: &'r mut Checks,
    findings: &'r mut Findings<'f>,
    timing: Timing,
}

/// Reads a file. What is wrong is reported, and what it is part of left out.
pub(super) fn read(text: &str, file: usize, checks: &mut Checks, findings: &mut Findings) -> Option<Content> {
    let root = Value::read(text, file, findings)?.object("the file", findings)?;
    root.refuse_twins(&["healthchecks", "tables"], findings);
    let timing = timing(&root, findings);
    let items = root.need("tables", "a forwarding table", findings)?.list("tables", findings)?;
    let mut reader = Reader { checks, findings, timing };
    let (mut tables, mut backends) = (Vec::with_capacity(items.len()), Vec::new());
    for (number, item) in items.iter().enumerate() {
        tables.extend(reader.table(number, *item, &mut backends));
    }
    Some(Content { document: ForwardingTable { text: text.into(), tables: items.len(), backends }, tables })
}

/// `healthchecks` of the file; 0 is the default, as if it were not there.
fn timing(root: &Object, findings: &mut Findings) -> Timing {
    let object = root.get("healthchecks").and_then(|value| value.object("healthchecks", findings));
    let mut number = |key: &'static str, first: u64, last: u64, default: u64| {
        let Some(value) = object.as_ref().and_then(|object| object.get(key)) else { return default };
        let given = value.integer(key, 0..=last, findings).filter(|given| *given > 0);
        if given.is_some_and(|given| given < first) {
            findings.error(value.place(), format!("`{key}` must be from {first} to {last}, or 0 for {default}"));
        }
        given.unwrap_or(default)
    };
    let interval = Duration::from_millis(number("interval_ms", SHORTEST_INTERVAL, DAY, DEFAULT_INTERVAL));
    let timeout = Duration::from_millis(number("timeout_ms", 1, DAY, DEFAULT_TIMEOUT));
    let trigger = number("trigger", 1, MAX_TRIGGER, DEFAULT_TRIGGER.into());
    let trigger = u32::try_from(trigger).unwrap_or(DEFAULT_TRIGGER);
    if let Some(object) = &object {
        object.refuse_twins(&["interval_ms", "timeout_ms", "trigger"], findings);
        if timeout > interval {
            let message =
                "`timeout_ms` is longer than `interval_ms`: a check that times out delays the next run of its own";
            findings.warning(object.get("timeout_ms").map_or(object.place, |value| value.place()), message);
        }
    }
    Timing {
        interval,
        timeout,
        rise: trigger,
        fall: trigger,
        fast_interval: interval,
        down_interval: interval,
        first_interval: (interval / HASTE).max(SHORTEST_FIRST_INTERVAL).min(interval),
        ..Timing::default()
    }
}

impl Reader<'_, '_> {
    fn table(&mut self, number: usize, item: Value, slots: &mut Vec<TableBackend>) -> Option<Table> {
        let object = item.object("tables", self.findings)?;
        object.refuse_twins(&["name", "binds", "backends"], self.findings);
        let name = object.get("name").map(|value| value.string("name", self.findings));
        let binds = object.need("binds", "a table", self.findings).and_then(|value| value.list("binds", self.findings));
        let backends =
            object.need("backends", "a table", self.findings).and_then(|value| value.list("backends", self.findings));
        let binds = binds.unwrap_or_default().iter().filter_map(|item| self.bind(*item)).collect();
        let mut seen = BTreeMap::new();
        let mut read = Vec::new();
        for item in backends.unwrap_or_default() {
            let Some((address, backend)) = self.backend(item, slots) else { continue };
            let what = || format!("backend `{}` is in this table", backend.address);
            if is_new(&mut seen, backend.address, address, self.findings, what) {
                read.push(backend);
            }
        }
        let name = name.flatten().filter(|name| !name.trim().is_empty());
        let name = name.unwrap_or_else(|| format!("table{}", number + 1));
        Some(Table { name, place: object.place, binds, backends: read })
    }

    fn bind(&mut self, item: Value) -> Option<Bind> {
        let object = item.object("binds", self.findings)?;
        object.refuse_twins(&["ip", "proto", "port", "port_start", "port_end"], self.findings);
        let vip = object.need("ip", "a bind", self.findings).and_then(|value| self.vip(value));
        let protocol = object.need("proto", "a bind", self.findings).and_then(|value| self.protocol(value));
        let ports = self.ports(&object);
        let ((first_port, last_port), vip, protocol) = (ports?, vip?, protocol?);
        Some(Bind { place: object.place, vip, protocol, first_port, last_port })
    }

    fn vip(&mut self, value: Value) -> Option<Prefix> {
        let text = value.string("ip", self.findings)?;
        let fault = match text.parse::<Prefix>() {
            Err(PrefixError::Syntax(_)) => format!("{} is not an IP address or prefix", quote(&text)),
            Err(error) => error.to_string(),
            Ok(vip) => match address::vip_fault(&vip) {
                None => return Some(vip),
                Some(fault) => format!("`{vip}` {fault}"),
            },
        };
        self.findings.error(value.place(), format!("`ip`: {fault}"));
        None
    }

    fn protocol(&mut self, value: Value) -> Option<Protocol> {
        match value.string("proto", self.findings)?.as_str() {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            other => {
                let message = format!("`proto` must be \"tcp\" or \"udp\", not {}", quote(other));
                self.findings.error(value.place(), message);
                None
            }
        }
    }

    /// One port, or the first and last of several.
    fn ports(&mut self, object: &Object) -> Option<(u16, u16)> {
        let [single, first, last] =
            ["port", "port_start", "port_end"].map(|key| object.get(key).map(|value| (key, value)));
        match (single, first, last) {
            (Some((key, value)), None, None) => self.port(key, value).map(|port| (port, port)),
            (None, Some((first_key, first)), Some((last_key, last))) => {
                let (first, last_port) = (self.port(first_key, first), self.port(last_key, last));
                let (first, last_port) = (first?, last_port?);
                if first > last_port {
                    self.findings.error(last.place(), format!("`port_end` must not be below `port_start`, {first}"));
                    return None;
                }
                Some((first, last_port))
            }
            (Some(_), Some((key, value)), _) | (Some(_), _, Some((key, value))) => {
                self.findings.error(value.place(), format!("`port` and `{key}` exclude each other"));
                None
            }
            (None, ..) => {
                self.findings.error(object.place, "a bind needs `port`, or `port_start` and `port_end`");
                None
            }
        }
    }

    fn port(&mut self, key: &str, value: Value) -> Option<u16> {
        value.integer(key, 1..=u16::MAX.into(), self.findings).and_then(|port| u16::try_from(port).ok())
    }

    /// The place of its address, and the backend. Where its health goes is noted in any case.
    fn backend(&mut self, item: Value, slots: &mut Vec<TableBackend>) -> Option<(Place, Backend)> {
        let object = item.object("backends", self.findings)?;
        object.refuse_twins(&["ip", "state", "healthy", "healthchecks"], self.findings);
        let ip = object.need("ip", "a backend", self.findings);
        let address = ip.and_then(|value| self.address(value));
        let inactive = object.need("state", "a backend", self.findings).and_then(|value| self.is_inactive(value));
        let uses = self.uses(&object);
        let ((address, inactive), ip) = (address.zip(inactive)?, ip?);
        let uses = if inactive { Vec::new() } else { uses };
        let checks = self.checks.place(&uses, &Stand::plain(SocketAddr::new(address, 0)), self.findings);
        let numbers = checks.iter().map(|check| check.check).collect();
        slots.extend(slot(&object).map(|slot| TableBackend { checks: numbers, inactive, slot }));
        Some((ip.place(), Backend { address, inactive, checks }))
    }

    fn address(&mut self, value: Value) -> Option<IpAddr> {
        let text = value.string("ip", self.findings)?;
        let fault = match text.parse::<IpAddr>() {
            Err(_) => format!("{} is not an IP address", quote(&text)),
            Ok(address) => match address::fault(address) {
                None if address::is_link_local(address) => {
                    format!("`{address}` is link-local; a backend needs an address with a wider scope")
                }
                None => return Some(address),
                Some(fault) => format!("`{address}` {fault}"),
            },
        };
        self.findings.error(value.place(), format!("`ip`: {fault}"));
        None
    }

    fn is_inactive(&mut self, value: Value) -> Option<bool> {
        const STATES: [&str; 4] = ["active", "filling", "draining", "inactive"];
        let text = value.string("state", self.findings)?;
        if STATES.contains(&text.as_str()) {
            return Some(text == "inactive");
        }
        let hint = self.findings.did_you_mean(&text, STATES);
        let states = STATES.map(|state| format!("\"{state}\"")).join(" or ");
        self.findings.error(value.place(), format!("`state` must be {states}, not {}{hint}", quote(&text)));
        None
    }

    /// None at all is as good as passing.
    fn uses(&mut self, backend: &Object) -> Vec<CheckUse> {
        let object = backend.get("healthchecks").and_then(|value| value.object("healthchecks", self.findings));
        let Some(object) = object else { return Vec::new() };
        object.refuse_twins(&["http", "http_uri", "tcp", "gue", "fou"], self.findings);
        let mut uses = Vec::new();
        for key in ["http", "tcp", "gue", "fou"] {
            let Some(port) = object.get(key).and_then(|value| self.port(key, value)) else { continue };
            let kind = match key {
                "http" => self.uri(&object).map(http_kind),
                "tcp" => Some(ProbeKind::Tcp(TcpProbe::CONNECT)),
                "gue" => Some(ProbeKind::Tunnel(Encapsulation::Gue)),
                _ => Some(ProbeKind::Tunnel(Encapsulation::Fou)),
            };
            if let (Some(ProbeKind::Tunnel(_)), Some(value)) = (&kind, object.get(key)) {
                self.checks.note(Need::Tunnel, value.place());
            }
            uses.extend(kind.map(|kind| self.checks.ready(key, kind, self.timing, port, object.place)));
        }
        uses
    }

    fn uri(&mut self, object: &Object) -> Option<String> {
        let Some(value) = object.get("http_uri") else { return Some("/".to_owned()) };
        let uri = value.string("http_uri", self.findings)?;
        match http::path_fault(&uri) {
            None => Some(uri),
            Some(fault) => {
                self.findings.error(value.place(), format!("`http_uri` {fault}"));
                None
            }
        }
    }
}

/// As glb-healthcheck asks: nothing but 200 will do.
fn http_kind(path: String) -> ProbeKind {
    let status = vec![StatusRange { first: 200, last: 200 }];
    ProbeKind::Http(HttpProbe { path, status, redirects: REDIRECTS, ..HttpProbe::get() })
}

/// Where the health of a backend goes. It has members: an address and a state.
fn slot(object: &Object) -> Option<Slot> {
    if let Some(member) = object.member("healthy") {
        return Some(Slot::Value(member.value.start()..member.value.end()));
    }
    let (last, before) = match object.members.as_slice() {
        [] => return None,
        [only] => (only, object.place.offset + 1),
        // A comma follows the value, at once or after some space: ours goes behind it either way.
        [.., previous, last] => (last, last.raw_key.text_after_comma(previous.value.end())),
    };
    let space = before..last.raw_key.start();
    Some(Slot::After { end: last.value.end(), space, colon: last.raw_key.end()..last.value.start() })
}

/// A name of the file's as part of a service's name.
pub(super) fn label(name: &str) -> Arc<str> {
    /// Leaves room for the bind.
    const MOST: usize = 64;
    let tame = |c: char| if c.is_control() || c == '/' { '_' } else { c };
    name.trim().chars().take(MOST).map(tame).collect::<String>().into()
}
