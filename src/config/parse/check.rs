//! `[checks.NAME]`, checks written in place, and which backend uses which.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::findings::{Findings, Place, quote};
use super::http::{RegexCache, http_probe};
use super::table::{Item, Section};
use super::{daemon, name, schema};
use crate::config::{
    Check, CheckRef, Encapsulation, ExecProbe, FileReference, FileRole, Position, Probe, ProbeKind, Timing,
};

const DAY: Duration = Duration::from_secs(86_400);
/// Beyond this many results in a row nobody waits for a verdict.
const MAX_STREAK: u32 = 10_000;

/// A check without its target: what `[checks.NAME]` and `check = [{ … }]` say.
#[derive(Clone, Debug)]
pub(super) struct CheckUse {
    name: Arc<str>,
    /// Index into the shapes.
    shape: usize,
    /// The backend's unless set. A tunnel's is always set.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    kind: ProbeKind,
    timing: Timing,
}

struct Named {
    place: Place,
    /// `None` for a check whose own table is wrong.
    check: Option<CheckUse>,
    used: bool,
}

/// All checks. The same shape for the same target is one check, whoever uses it.
#[derive(Default)]
pub(super) struct Checks {
    named: BTreeMap<String, Named>,
    shapes: Vec<Arc<Shape>>,
    shape_ids: BTreeMap<Arc<Shape>, usize>,
    checks: Vec<Check>,
    check_ids: BTreeMap<(usize, SocketAddr), usize>,
    regexes: RegexCache,
    references: BTreeSet<(FileReferenceKey, Place)>,
    /// The first place that asks for a tunnel.
    tunnel: Option<Place>,
}

type FileReferenceKey = (FileRole, std::path::PathBuf);

impl Checks {
    /// Reads all `[checks.NAME]`.
    pub(super) fn read(roots: &[Section], findings: &mut Findings) -> Checks {
        let mut checks = Checks::default();
        for root in roots {
            let Some(tables) = root.get("checks").and_then(|item| item.entries(findings)) else { continue };
            for item in tables {
                if let Some(earlier) = checks.named.get(item.name) {
                    let message = format!("check name {} is taken, already at", quote(item.name));
                    findings.conflict(item.key_place, message, earlier.place);
                    continue;
                }
                let check = checks.read_check(&item, Some(item.name), findings);
                checks.named.insert(item.name.to_owned(), Named { place: item.key_place, check, used: false });
            }
        }
        checks
    }

    /// The checks that a service or a backend names in `checks` and writes in `check`; `None` when it has neither key.
    pub(super) fn read_uses(&mut self, table: &Section, findings: &mut Findings) -> Option<Vec<CheckUse>> {
        let (names, in_place) = (table.get("checks"), table.get("check"));
        if names.is_none() && in_place.is_none() {
            return None;
        }
        let mut uses = Vec::new();
        let mut listed = BTreeSet::new();
        for item in names.and_then(|item| item.list(findings)).unwrap_or_default() {
            let Some(text) = name(&item, findings) else { continue };
            if !listed.insert(text) {
                findings.error(item.place, format!("check {} is listed twice", quote(text)));
                continue;
            }
            match self.named.get_mut(text) {
                Some(named) => {
                    named.used = true;
                    uses.extend(named.check.clone());
                }
                None if findings.is_incomplete() => {}
                None => {
                    let hint = findings.did_you_mean(text, self.named.keys().map(String::as_str));
                    findings.error(item.place, format!("there is no check {}{hint}", quote(text)));
                }
            }
        }
        for item in in_place.and_then(|item| item.list(findings)).unwrap_or_default() {
            uses.extend(self.read_check(&item, None, findings));
        }
        Some(uses)
    }

    /// A check that no table of the file describes.
    pub(super) fn ready(&mut self, name: &str, kind: ProbeKind, timing: Timing, port: u16) -> CheckUse {
        CheckUse { name: name.into(), shape: self.shape(Shape { kind, timing }), port: Some(port) }
    }

    /// The checks of one backend.
    pub(super) fn place(&mut self, uses: &[CheckUse], address: IpAddr, port: u16) -> Vec<CheckRef> {
        let mut refs: Vec<CheckRef> = Vec::with_capacity(uses.len());
        for CheckUse { name, shape, port: own_port } in uses {
            let target = SocketAddr::new(address, own_port.unwrap_or(port));
            let Some(Shape { kind, timing }) = self.shapes.get(*shape).map(|shape| &**shape) else { continue };
            let checks = &mut self.checks;
            let check = *self.check_ids.entry((*shape, target)).or_insert_with(|| {
                let probe = Arc::new(Probe { target, kind: kind.clone() });
                checks.push(Check { probe, timing: *timing });
                checks.len() - 1
            });
            // Two names for one thing: one use of it says all.
            if refs.iter().all(|known| known.check != check) {
                refs.push(CheckRef { name: name.clone(), check });
            }
        }
        refs
    }

    /// A tunnel is asked for here.
    pub(super) fn note_tunnel(&mut self, place: Place) {
        self.tunnel = Some(self.tunnel.map_or(place, |first| first.min(place)));
    }

    /// Reports what nothing uses, and gives out the checks, the files that they name, and where there are tunnels.
    pub(super) fn finish(self, findings: &mut Findings) -> (Vec<Check>, Vec<FileReference>, Option<Position>) {
        for (name, named) in &self.named {
            if !named.used && !findings.is_incomplete() {
                findings.error(named.place, format!("no service or backend uses check {}", quote(name)));
            }
        }
        let mut seen = BTreeSet::new();
        let mut references: Vec<(FileReferenceKey, Place)> = self.references.into_iter().collect();
        references.retain(|(key, _)| seen.insert(key.clone()));
        references.sort_by_key(|(_, place)| *place);
        let reference = |((role, path), place)| FileReference { position: findings.position(place), path, role };
        let references = references.into_iter().map(reference).collect();
        // One that no backend uses is not run.
        let is_run = self.checks.iter().any(|check| matches!(check.probe.kind, ProbeKind::Tunnel(_)));
        let tunnel = self.tunnel.filter(|_| is_run).map(|place| findings.position(place));
        (self.checks, references, tunnel)
    }

    fn read_check(&mut self, item: &Item, own_name: Option<&str>, findings: &mut Findings) -> Option<CheckUse> {
        if own_name.is_some_and(|name| name.is_empty() || name.contains(|c: char| c == '/' || c.is_control())) {
            findings
                .error(item.key_place, "the name of a check must not be empty nor hold slashes or control characters");
        }
        let table = item.section(&schema::CHECK, findings)?;
        const TYPES: [(&str, &str); 6] =
            [("tcp", "tcp"), ("http", "http"), ("https", "https"), ("exec", "exec"), ("gue", "gue"), ("fou", "fou")];
        let type_item = table.need("type", findings);
        let type_place = type_item.as_ref().map_or(table.place, |item| item.place);
        let type_name = type_item.and_then(|item| item.choice(&TYPES, findings));
        let port = table.get("port").map(|item| item.integer(1..=u16::MAX, findings));
        let timing = timing(&table, findings);
        let type_name = type_name?;
        refuse_keys_of_other_types(&table, type_name, findings);
        let kind = match type_name {
            "tcp" => Some(ProbeKind::Tcp),
            "gue" => Some(ProbeKind::Tunnel(Encapsulation::Gue)),
            "fou" => Some(ProbeKind::Tunnel(Encapsulation::Fou)),
            "exec" => self.exec_probe(&table, findings).map(ProbeKind::Exec),
            _ => {
                let probe = http_probe(&table, type_name == "https", &mut self.regexes, findings);
                if let (Some(path), Some(file)) =
                    (probe.as_ref().and_then(|probe| probe.tls.as_ref()?.ca_file.clone()), table.get("ca_file"))
                {
                    self.references.insert(((FileRole::CertificateAuthority, path), file.place));
                }
                probe.map(ProbeKind::Http)
            }
        };
        let kind = kind?;
        let own_port = match kind {
            ProbeKind::Tunnel(encapsulation) => {
                self.note_tunnel(type_place);
                Some(encapsulation.default_port())
            }
            ProbeKind::Tcp | ProbeKind::Http(_) | ProbeKind::Exec(_) => None,
        };
        let shape = self.shape(Shape { kind, timing: timing? });
        let port = match port {
            None => own_port,
            Some(port) => Some(port?),
        };
        Some(CheckUse { name: own_name.unwrap_or(type_name).into(), shape, port })
    }

    fn shape(&mut self, shape: Shape) -> usize {
        if let Some(id) = self.shape_ids.get(&shape) {
            return *id;
        }
        let (shape, id) = (Arc::new(shape), self.shapes.len());
        self.shapes.push(shape.clone());
        self.shape_ids.insert(shape, id);
        id
    }

    fn exec_probe(&mut self, table: &Section, findings: &mut Findings) -> Option<ExecProbe> {
        let list = table.need("command", findings)?;
        let items = list.list(findings)?;
        let Some(program) = items.first() else {
            findings.error(list.place, "`command` must not be empty");
            return None;
        };
        let path = daemon::absolute_path(program, findings);
        let mut command = Vec::with_capacity(items.len());
        for item in &items {
            let word = item.string(findings)?;
            if word.contains('\0') {
                findings.error(item.place, "`command` must not hold a zero byte");
                return None;
            }
            command.push(word.to_owned());
        }
        self.references.insert(((FileRole::Command, path?), program.place));
        Some(ExecProbe { command })
    }
}

fn refuse_keys_of_other_types(table: &Section, type_name: &str, findings: &mut Findings) {
    for (types, keys) in schema::CHECK_KEYS_BY_TYPE.iter().filter(|(types, _)| !types.contains(&type_name)) {
        for item in keys.iter().filter_map(|key| table.get(key)) {
            let message = format!(
                "`{}` does not apply to a check of type {type_name}, only to {}",
                item.name,
                types.join(" and ")
            );
            findings.error(item.key_place, message);
        }
    }
}

fn timing(table: &Section, findings: &mut Findings) -> Option<Timing> {
    let defaults = Timing::default();
    let (shortest, millisecond) = (Duration::from_millis(10), Duration::from_millis(1));
    let time = |key, range, findings: &mut Findings| match table.get(key) {
        None => Some(None),
        Some(item) => item.duration(range, findings).map(Some),
    };
    let interval = time("interval", shortest..=DAY, findings);
    let timeout = time("timeout", millisecond..=DAY, findings);
    let fast_interval = time("fast_interval", shortest..=DAY, findings);
    let streak = |key, default, findings: &mut Findings| match table.get(key) {
        None => Some(default),
        Some(item) => item.integer(1..=MAX_STREAK, findings),
    };
    let rise = streak("rise", defaults.rise, findings);
    let fall = streak("fall", defaults.fall, findings);

    let interval = interval?.unwrap_or(defaults.interval);
    let timeout = timeout?.unwrap_or(defaults.timeout.min(interval));
    let fast_interval = fast_interval?.unwrap_or(interval);
    if let (Some(item), true) = (table.get("fast_interval"), fast_interval > interval) {
        findings.error(item.place, "`fast_interval` must not be longer than `interval`");
        return None;
    }
    if let (Some(item), true) = (table.get("timeout"), timeout > interval) {
        let message = "`timeout` is longer than `interval`: a check that times out delays the next run of its own";
        findings.warning(item.place, message);
    }
    Some(Timing { interval, timeout, rise: rise?, fall: fall?, fast_interval, first_interval: fast_interval })
}
