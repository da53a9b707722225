//! From the text of configuration files to a [`Config`], or to every error in them.
//!
//! `table` gives typed access to the TOML tables and `findings` keeps what is wrong; `schema` lists every key.
//! Each kind of table has its file, which turns it into the validated type. Reading goes on after an error, with
//! whatever is still known.

mod address;
mod aggregate;
mod attribute;
mod capabilities;
mod check;
mod circle;
mod command;
mod daemon;
mod export;
mod findings;
mod forwarding;
mod glb;
mod gobgp;
mod group;
mod guard;
mod hooks;
mod json;
mod passive;
mod peer;
mod quorum;
mod schema;
mod service;
mod services;
mod table;
mod vip;
mod warning;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use toml::de::DeTable;

use super::gobgp::PEER_NAME;
use super::{Attributes, Config, Diagnostic, Gobgp, Need, Source};
use findings::{Findings, Place, quote};
use services::Scope;
use table::Section;

pub use glb::Texts;
pub use services::parse_services;

/// Above this size of a file, in bytes, only its first syntax error is looked for.
const RECOVERABLE: usize = 1 << 20;

/// Parses and validates the main file, which comes first, and the drop-ins, in the order given.
///
/// # Errors
/// Every error found, in the order of the files, each with its place. That a file whose text it takes to know is named
/// is one: see [`parse_with`].
pub fn parse(sources: &[Source]) -> Result<Config, Vec<Diagnostic>> {
    parse_with(sources, &Texts::new())
}

/// The same, where texts of further files are known: those of all [`wanted_files`], or why there is none.
///
/// # Errors
/// Every error found, in the order of the files, each with its place: last those in the further files.
pub fn parse_with(sources: &[Source], texts: &Texts) -> Result<Config, Vec<Diagnostic>> {
    read(sources, texts, Findings::new(sources.iter().chain(glb::Files::sources(texts))))
}

/// The files whose texts [`parse_with`] needs, as far as `texts` tell: one that is read may name another. So it is asked
/// again until all are there. Errors are not its business.
pub fn wanted_files(sources: &[Source], texts: &Texts) -> BTreeSet<PathBuf> {
    // Looking for it costs less than understanding the file.
    let Some(main) = sources.first().filter(|main| main.text.contains("glb")) else { return BTreeSet::new() };
    let mut findings = Findings::new(sources.iter().chain(glb::Files::sources(texts)));
    let table = read_toml(0, &main.text, &mut findings);
    let root = Section::new(&schema::ROOT, &table, Place { file: 0, offset: 0 }, &mut findings);
    glb::wanted(Some(&root), &glb::Files::new(texts, sources.len()), &mut findings)
}

/// `[gobgp]` alone, whatever else may be wrong with the main file: what a daemon told gobgpd must be found again, even if
/// nobody could start one with this file. `texts` as for [`parse_with`].
pub fn find_gobgp(main: &Source, texts: &Texts) -> Option<Arc<Gobgp>> {
    let mut findings = Findings::new(std::iter::once(main).chain(glb::Files::sources(texts)));
    let table = read_toml(0, &main.text, &mut findings);
    let root = Section::new(&schema::ROOT, &table, Place { file: 0, offset: 0 }, &mut findings);
    let legacy = glb::legacy_gobgp(&root, &glb::Files::new(texts, 1), &mut findings);
    gobgp::read(Some(&root), legacy.as_ref(), asks_for_restart(&root), &mut findings).0
}

/// Whether `[bgp]` asks routers to keep our routes over a restart.
fn asks_for_restart(root: &Section) -> bool {
    root.get("bgp").is_some_and(|bgp| bgp.holds("graceful_restart"))
}

/// What is wrong with these files, where others (or their content) could not be read: nothing is said about what is
/// missing, for it may be there.
pub fn parse_incomplete(sources: &[Source]) -> Vec<Diagnostic> {
    let mut findings = Findings::new(sources);
    findings.set_incomplete();
    read(sources, &Texts::new(), findings).map_or_else(|errors| errors, |_| Vec::new())
}

/// Attributes alone, in the keys that a VIP and a peer have.
///
/// # Errors
/// Every error found, each with its place.
pub fn parse_attributes(source: &Source) -> Result<Attributes, Vec<Diagnostic>> {
    let mut findings = Findings::new(std::slice::from_ref(source));
    let table = read_toml(0, &source.text, &mut findings);
    let section = Section::new(&schema::DEGRADED, &table, Place { file: 0, offset: 0 }, &mut findings);
    let attributes = attribute::attributes(&section, &mut findings);
    findings.finish().map(|_| attributes)
}

/// Every key of a `[[bgp.peer]]`.
pub fn peer_keys() -> &'static [&'static str] {
    schema::PEER.keys
}

fn read(sources: &[Source], texts: &Texts, findings: Findings) -> Result<Config, Vec<Diagnostic>> {
    read_scope(sources, texts, findings, Scope::Daemon)
}

fn read_scope(
    sources: &[Source],
    texts: &Texts,
    mut findings: Findings,
    scope: Scope,
) -> Result<Config, Vec<Diagnostic>> {
    let mut tables: Vec<DeTable> =
        sources.iter().enumerate().map(|(file, source)| read_toml(file, &source.text, &mut findings)).collect();
    if scope == Scope::Services {
        tables.iter_mut().enumerate().for_each(|(file, table)| services::refuse_the_rest(file, table, &mut findings));
    }
    let mut roots = Vec::with_capacity(tables.len());
    for (file, table) in tables.iter().enumerate() {
        let root = Section::new(&schema::ROOT, table, Place { file, offset: 0 }, &mut findings);
        if file > 0 {
            refuse_in_drop_in(&root, &mut findings);
        }
        roots.push(root);
    }

    let (daemon, daemon_places, daemon_references) = daemon::read(roots.first(), &mut findings);
    let (bgp, mut references, peer_places) = peer::read(&roots, &mut findings);
    references.extend(daemon_references);
    let mut checks = check::Checks::read(&roots, &mut findings);
    let (mut services, mut service_places) = service::read(&roots, &mut checks, &mut findings);
    let files = glb::Files::new(texts, sources.len());
    let mut ground = glb::Ground { checks: &mut checks, services: &mut services, places: &mut service_places };
    let (glb, legacy_gobgp) = glb::read(roots.first(), &files, &mut ground, &mut findings);
    let restarts = roots.first().is_some_and(asks_for_restart);
    let (gobgp, gobgp_place) = gobgp::read(roots.first(), legacy_gobgp.as_ref(), restarts, &mut findings);
    if gobgp.is_some() {
        peer_places.refuse_name(bgp.as_ref(), PEER_NAME, &mut findings);
    }
    let ways = gobgp::Ways { bgp: bgp.is_some(), gobgp: gobgp.is_some() };
    let guard = guard::Reading::new(roots.first(), &mut findings);
    let self_checks = guard::self_checks(&roots, &mut checks, &mut findings);
    let (vips, vip_places) = vip::read(&roots, (&services, &service_places), ways, &guard, &mut findings);
    let (aggregates, aggregate_places) = aggregate::read(&roots, &vips, &service_places, ways, &mut findings);
    checks.look_at_aliases(&services, &service_places.names, &mut findings);
    let (checks, check_references, mut needs) = checks.finish(&mut findings);
    let is_bound = vips.values().any(|vip| vip.bind.is_some());
    needs.extend(vip_places.bind.filter(|_| is_bound).map(|place| (Need::Address, findings.position(place))));
    references.extend(check_references);
    let (hooks, hook_references) = hooks::read(roots.first(), &mut findings);
    references.extend(hook_references);

    let (glb, warnings) = (glb.map(Arc::new), Vec::new());
    let mut config = Config {
        daemon,
        bgp,
        gobgp,
        identities: checks.iter().map(|check| check.probe.identity()).collect(),
        checks,
        services,
        vips,
        aggregates,
        fail_static: guard.fail_static,
        self_checks,
        glb,
        hooks,
        references,
        needs,
        warnings,
    };
    match scope {
        Scope::Daemon => refuse_nothing(&roots, &mut findings),
        Scope::Services => services::refuse_addresses(&config, vip_places.bind, &mut findings),
    }
    let places = warning::Places {
        daemon: daemon_places,
        peers: peer_places,
        gobgp: gobgp_place,
        services: service_places,
        vips: vip_places,
        aggregates: aggregate_places,
    };
    warning::look(&config, &places, scope, &mut findings);
    config.warnings = findings.finish()?;
    Ok(config)
}

fn refuse_nothing(roots: &[Section], findings: &mut Findings) {
    let nothing = roots.iter().all(|root| ["bgp", "gobgp", "glb", "service"].iter().all(|key| !root.has(key)));
    if nothing && !findings.is_incomplete() {
        let message = "nothing is configured: Herald needs a [[service]] with its VIPs and backends, \
                       and [bgp] with a [[bgp.peer]] to announce them to";
        findings.error(Place { file: 0, offset: 0 }, message);
    }
}

/// The tables of a file, as far as its syntax can be understood.
fn read_toml<'s>(file: usize, text: &'s str, findings: &mut Findings) -> DeTable<'s> {
    let (table, errors) = match DeTable::parse(text) {
        Ok(table) => (table, Vec::new()),
        Err(_) if text.len() <= RECOVERABLE => DeTable::parse_recoverable(text),
        Err(error) => (toml::Spanned::new(0..0, DeTable::new()), vec![error]),
    };
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = match (error.message(), text.get(span.clone())) {
            ("duplicate key", Some(key)) => format!("{} is defined twice", quote(key.trim())),
            (message, _) => message.to_owned(),
        };
        findings.syntax(file, span, message);
    }
    table.into_inner()
}

/// A drop-in adds; what is one for all stands in the main file.
fn refuse_in_drop_in(root: &Section, findings: &mut Findings) {
    const MAY: &str = "a drop-in may hold [[service]], [[vip]], [[aggregate]], [[self_check]], [[bgp.peer]], [bgp.group.NAME] and \
         [checks.NAME]";
    for item in
        ["daemon", "gobgp", "glb", "hooks", "vip_defaults", "fail_static"].iter().filter_map(|key| root.get(key))
    {
        findings.error(item.key_place, format!("[{}] belongs in the main file; {MAY}", item.name));
    }
    let Some(bgp) = root.get("bgp") else { return };
    let keys = bgp.entries(findings).unwrap_or_default();
    let misplaced =
        keys.iter().filter(|key| !["group", "peer"].contains(&key.name) && schema::BGP.keys.contains(&key.name));
    for key in misplaced {
        findings.error(key.key_place, format!("`{}` of [bgp] belongs in the main file; {MAY}", key.name));
    }
    if keys.is_empty() {
        findings.error(bgp.key_place, format!("[bgp] belongs in the main file; {MAY}"));
    }
}

/// Whether `name` is new; if not, the error says where it is already.
fn is_new<K: Ord>(
    seen: &mut BTreeMap<K, Place>,
    key: K,
    place: Place,
    findings: &mut Findings,
    what: impl FnOnce() -> String,
) -> bool {
    match seen.entry(key) {
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(place);
            true
        }
        std::collections::btree_map::Entry::Occupied(entry) => {
            findings.conflict(place, format!("{}, already at", what()), *entry.get());
            false
        }
    }
}

/// A name of the operator's choice: it shall be told apart in a line of text and in `service/address:port`.
fn name<'t>(item: &table::Item<'t>, findings: &mut Findings) -> Option<&'t str> {
    let text = item.string(findings)?;
    let Some(fault) = why_no_name(text) else { return Some(text) };
    findings.error(item.place, format!("`{}` {fault}", item.name));
    None
}

/// Why a text cannot be a name.
fn why_no_name(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("must not be empty")
    } else if text.chars().count() > 128 {
        Some("must have at most 128 characters")
    } else if text.chars().any(|c| c.is_control() || c == '/') || text.trim() != text {
        Some("must not hold slashes or control characters, nor begin or end with a space")
    } else {
        None
    }
}
