//! `[checks.NAME]`, checks written in place, and which backend uses which.

mod alias;
mod answer;
mod dns;
mod egress;
mod exec;
pub(super) mod http;
mod material;
mod packet;
mod preset;
mod talk;
mod timing;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::findings::{Findings, Place, quote};
use super::table::{Item, Section, optional};
use super::{name, schema};
use crate::config::{
    Check, CheckRef, Combine, Egress, Encapsulation, FileReference, Need, Position, Probe, ProbeKind, Service, Timing,
};
use crate::prefix::Prefix;

use egress::Target;
use material::Material;

pub(super) use egress::{EgressKeys, Stand};

/// A check without its target: what `[checks.NAME]` and `check = [{ … }]` say.
#[derive(Clone, Debug)]
pub(super) struct CheckUse {
    name: Arc<str>,
    /// Index into the shapes.
    shape: usize,
    /// Where to, and by which way.
    target: Target,
    egress: EgressKeys,
    /// That of the target unless set. A tunnel's is always set.
    port: Option<u16>,
    advisory: bool,
    place: Place,
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
    check_ids: BTreeMap<(usize, SocketAddr, Egress), usize>,
    material: Material,
    /// The first place that asks for each.
    needs: BTreeMap<Need, Place>,
    /// Checks of the VIP itself that nothing leads to a backend, as warned of.
    lost: BTreeSet<Place>,
    /// Of checks of the VIP itself: prefixes that are no address, as reported.
    no_address: BTreeSet<(Place, Prefix)>,
    /// Which service each alias is of, and where it says so.
    aliases: Vec<(Arc<str>, Place)>,
}

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
    pub(super) fn ready(&mut self, name: &str, kind: ProbeKind, timing: Timing, port: u16, place: Place) -> CheckUse {
        CheckUse {
            name: name.into(),
            shape: self.shape(Shape { kind, timing }),
            target: Target::Backend,
            egress: EgressKeys::default(),
            port: Some(port),
            advisory: false,
            place,
        }
    }

    /// `disable_file`: the check that tells whether that file is there.
    pub(super) fn disable_file(&mut self, item: &Item, findings: &mut Findings) -> Option<usize> {
        let kind = exec::disable_file(item, findings)?;
        let timing = Timing { rise: 1, fall: 1, ..Timing::default() };
        let used = CheckUse { target: Target::Nothing, ..self.ready("disable_file", kind, timing, 0, item.place) };
        self.place(&[used], &Stand::plain(egress::NOWHERE), findings).first().map(|reference| reference.check)
    }

    /// Checks of no backend: whether what they dial is known without one.
    pub(super) fn refuse_without_target(
        &self,
        uses: &[CheckUse],
        (has_address, has_port): (bool, bool),
        place: Place,
        findings: &mut Findings,
    ) -> bool {
        let mut fine = true;
        for used in uses {
            let Some(shape) = self.shapes.get(used.shape) else { continue };
            let dials = used.target != Target::Nothing && !matches!(shape.kind, ProbeKind::Exec(_));
            let needs_address = dials && !matches!(used.target, Target::Literal(_));
            let needs_port = dials && !matches!(shape.kind, ProbeKind::Icmp(_)) && used.port.is_none();
            let missing = match (needs_address && !has_address, needs_port && !has_port) {
                _ if used.target == Target::Vip => "no `target = \"vip\"`: there is no VIP here",
                (true, _) => "an `address` to dial",
                (false, true) => "a `port` to dial",
                (false, false) => continue,
            };
            findings.error(place, format!("check {} needs {missing}", quote(&used.name)));
            fine = false;
        }
        fine
    }

    /// The checks of one backend.
    pub(super) fn place(&mut self, uses: &[CheckUse], stand: &Stand<'_>, findings: &mut Findings) -> Vec<CheckRef> {
        let mut refs: Vec<CheckRef> = Vec::with_capacity(uses.len());
        for used in uses {
            for target in stand.targets(used.target, used.port) {
                match target {
                    Ok(target) => {
                        self.warn_of_routing(used, stand.egress, findings);
                        let Some(check) = self.check(used, target, stand.egress) else { continue };
                        // Two names for one thing: one use of it says all, and one that counts goes before.
                        match refs.iter_mut().find(|known| known.check == check) {
                            Some(known) => known.advisory &= used.advisory,
                            None => refs.push(CheckRef { name: used.name.clone(), check, advisory: used.advisory }),
                        }
                    }
                    Err(vip) if self.no_address.insert((used.place, vip)) => {
                        let message =
                            format!("check {} is of the VIP itself, but `{vip}` is not one address", quote(&used.name));
                        findings.error(used.place, message);
                    }
                    Err(_) => {}
                }
            }
        }
        refs
    }

    /// Nothing leads a check of the VIP itself to this backend.
    fn warn_of_routing(&mut self, used: &CheckUse, backend: &EgressKeys, findings: &mut Findings) {
        let lost = used.target == Target::Vip && !used.egress.leads_somewhere() && !backend.leads_somewhere();
        if lost && self.lost.insert(used.place) {
            let message = format!(
                "check {} is of the VIP itself, but neither it nor a backend has `mark` or `interface`: \
                 it asks whomever routing leads to, perhaps this host",
                quote(&used.name)
            );
            findings.warning(used.place, message);
        }
    }

    /// The check of this shape for this target.
    fn check(&mut self, used: &CheckUse, target: SocketAddr, backend: &EgressKeys) -> Option<usize> {
        let Shape { kind, timing } = &**self.shapes.get(used.shape)?;
        let egress = match used.target {
            Target::Nothing => Egress::default(),
            _ => used.egress.towards(target.ip(), backend),
        };
        let next = self.checks.len();
        Some(*self.check_ids.entry((used.shape, target, egress)).or_insert_with_key(|(_, _, egress)| {
            let probe = Arc::new(Probe { target, egress: egress.clone(), kind: kind.clone() });
            self.checks.push(Check { probe, timing: *timing });
            next
        }))
    }

    /// Every alias has a service, and no service depends on itself.
    pub(super) fn look_at_aliases(
        &self,
        services: &[Service],
        names: &BTreeMap<Arc<str>, Place>,
        findings: &mut Findings,
    ) {
        alias::look(&self.aliases, &self.checks, services, names, findings);
    }

    /// This is asked for here.
    pub(super) fn note(&mut self, need: Need, place: Place) {
        let first = self.needs.entry(need).or_insert(place);
        *first = place.min(*first);
    }

    /// Reports what nothing uses, and gives out the checks, the files that they name, and what they need.
    pub(super) fn finish(self, findings: &mut Findings) -> (Vec<Check>, Vec<FileReference>, BTreeMap<Need, Position>) {
        for (name, named) in &self.named {
            if !named.used && !findings.is_incomplete() {
                findings.warning(named.place, format!("no service or backend uses check {}", quote(name)));
            }
        }
        let references = self.material.finish(findings);
        // One that no backend uses is not run.
        let is_run = |need: Need| self.checks.iter().any(|check| need.is_of(&check.probe));
        let needs = self.needs.iter().filter(|(need, _)| is_run(**need));
        let needs = needs.map(|(need, place)| (*need, findings.position(*place))).collect();
        (self.checks, references, needs)
    }

    fn read_check(&mut self, item: &Item, own_name: Option<&str>, findings: &mut Findings) -> Option<CheckUse> {
        if own_name.is_some_and(|name| name.is_empty() || name.contains(|c: char| c == '/' || c.is_control())) {
            findings
                .error(item.key_place, "the name of a check must not be empty nor hold slashes or control characters");
        }
        let table = item.section(&schema::CHECK, findings)?;
        let type_item = table.need("type", findings);
        let type_place = type_item.as_ref().map_or(table.place, |item| item.place);
        let type_name = type_item.and_then(|item| type_name(&item, findings));
        let port = optional(table.get("port").map(|item| item.integer(1..=u16::MAX, findings)));
        let target = table.get("target").map_or(Some(Target::Backend), |item| egress::target(&item, findings));
        let egress = EgressKeys::read(&table, findings);
        let timing = timing::timing(&table, type_name, findings);
        let advisory = table.get("advisory").map_or(Some(false), |item| item.boolean(findings));
        let type_name = type_name?;
        refuse_keys_of_other_types(&table, type_name, findings);
        let kind = self.kind(&table, type_name, findings)?;
        let own_port = match kind {
            ProbeKind::Tunnel(encapsulation) => {
                self.note(Need::Tunnel, type_place);
                Some(encapsulation.default_port())
            }
            ProbeKind::Icmp(_) => {
                self.note(Need::Icmp, type_place);
                None
            }
            ProbeKind::Syn => {
                self.note(Need::Syn, type_place);
                None
            }
            _ => None,
        };
        if let Some(item) = table.get("mark") {
            self.note(Need::Mark, item.place);
        }
        let target = match kind {
            ProbeKind::File(_) | ProbeKind::Alias(_) => Target::Nothing,
            _ => target?,
        };
        let shape = self.shape(Shape { kind, timing: timing? });
        Some(CheckUse {
            name: own_name.unwrap_or(type_name).into(),
            shape,
            target,
            egress: egress?,
            port: port?.or(own_port),
            advisory: advisory?,
            place: type_place,
        })
    }

    /// What a worker does.
    fn kind(&mut self, table: &Section, type_name: &'static str, findings: &mut Findings) -> Option<ProbeKind> {
        let material = &mut self.material;
        match type_name {
            "tcp" => talk::tcp(table, material, findings).map(ProbeKind::Tcp),
            "smtp" | "redis" | "mysql" | "postgres" | "ldap" => {
                talk::preset(table, type_name, material, findings).map(ProbeKind::Tcp)
            }
            "agent" => talk::agent(table, findings).map(ProbeKind::Agent),
            "http" | "https" => http::probe(table, type_name == "https", material, findings).map(ProbeKind::Http),
            "grpc" => http::grpc(table, material, findings).map(ProbeKind::Grpc),
            "tls" => tls::handshake(table, material, findings).map(ProbeKind::Tls),
            "dns" => dns::probe(table, findings).map(ProbeKind::Dns),
            "udp" => packet::udp(table, material, findings).map(ProbeKind::Udp),
            "icmp" => packet::icmp(table, findings).map(ProbeKind::Icmp),
            "ntp" => packet::ntp(table, findings).map(ProbeKind::Ntp),
            "syn" => Some(ProbeKind::Syn),
            "exec" => exec::exec(table, material, findings).map(ProbeKind::Exec),
            "file" => exec::file(table, findings).map(ProbeKind::File),
            "alias" => {
                let (service, place) = alias::service(table, findings)?;
                self.aliases.push((service.clone(), place));
                Some(ProbeKind::Alias(service))
            }
            "gue" => Some(ProbeKind::Tunnel(Encapsulation::Gue)),
            _ => Some(ProbeKind::Tunnel(Encapsulation::Fou)),
        }
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
}

fn type_name(item: &Item, findings: &mut Findings) -> Option<&'static str> {
    const TYPES: [&str; 21] = [
        "tcp", "http", "https", "grpc", "tls", "dns", "udp", "icmp", "syn", "ntp", "smtp", "redis", "mysql",
        "postgres", "ldap", "exec", "file", "agent", "alias", "gue", "fou",
    ];
    if item.is_string() && item.string(findings) == Some("bfd") {
        findings.error(item.place, "checks of type bfd are not supported by this version: it has no BFD sessions yet");
        return None;
    }
    item.choice(&TYPES.map(|name| (name, name)), findings)
}

fn refuse_keys_of_other_types(table: &Section, type_name: &str, findings: &mut Findings) {
    for (types, keys) in schema::CHECK_KEYS_BY_TYPE.iter().filter(|(types, _)| !types.contains(&type_name)) {
        for item in keys.iter().filter_map(|key| table.get(key)) {
            let message =
                format!("`{}` does not apply to a check of type {type_name}, only to {}", item.name, types.join(", "));
            findings.error(item.key_place, message);
        }
    }
}

/// `combine`, for a backend with so many checks that count. Without the key it is that of the service.
pub(super) fn combine(item: &Item, findings: &mut Findings) -> Option<(Combine, Option<u32>)> {
    let text = item.string(findings)?;
    let percent = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let found = match (text, percent, timing::of(text)) {
        ("all", ..) => Some((Combine::All, None)),
        ("any", ..) => Some((Combine::AtLeast(1), None)),
        (_, Some(percent), _) => {
            let percent = percent.parse::<u8>().ok().filter(|percent| (1..=100).contains(percent));
            percent.map(|percent| (Combine::Percent(percent), None))
        }
        (_, None, Some((some, all))) if some <= all => Some((Combine::AtLeast(some), Some(all))),
        _ => None,
    };
    if found.is_none() {
        let message = format!(
            "`combine` must be \"all\", \"any\", such as \"2 of 3\", or a share from \"1%\" to \"100%\", not {}",
            quote(text)
        );
        findings.error(item.place, message);
    }
    found
}
