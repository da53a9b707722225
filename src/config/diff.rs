//! What is different between two configurations, for people: what a reload keeps, changes, resets, adds and removes.
//!
//! It is about what is written. What becomes of announcements depends on what is healthy, and is the engine's to tell.

mod services;
#[cfg(test)]
mod tests;
mod vips;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Config, Daemon, LiveParameters, Peer, Workers};

/// All differences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// `[[bgp.peer]]`: all of them, also those that stay as they are.
    pub peers: Vec<Entry>,
    /// `[[service]]`.
    pub services: Vec<Entry>,
    /// VIPs: which there are, and how each is announced.
    pub vips: Vec<Entry>,
    /// `[[aggregate]]`.
    pub aggregates: Vec<Entry>,
    /// Everything else, by the names of its keys or tables.
    pub settings: Vec<Entry>,
}

/// One thing that is in either configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is called.
    pub name: String,
    /// What becomes of it.
    pub change: Kind,
    /// The keys that differ, in words.
    #[serde(default)]
    pub details: Vec<String>,
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A session has to be made anew.
    Reset,
    /// It goes.
    Removed,
    /// It is new.
    Added,
    /// The session stays, and what it announces is announced again.
    Readvertised,
    /// It is another than it was.
    Changed,
    /// It takes a restart.
    NeedsRestart,
    /// It stays as it is.
    Kept,
}

impl Kind {
    /// As it is written for people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Reset => "reset",
            Kind::Removed => "removed",
            Kind::Added => "added",
            Kind::Readvertised => "re-advertised",
            Kind::Changed => "changed",
            Kind::NeedsRestart => "needs restart",
            Kind::Kept => "kept",
        }
    }
}

impl Diff {
    /// From what is in force to what is to be.
    pub fn new(before: &Config, after: &Config) -> Diff {
        Diff {
            peers: peers(before, after),
            services: services::compare(before, after),
            vips: vips::compare(before, after),
            aggregates: vips::compare_aggregates(before, after),
            settings: settings(before, after),
        }
    }

    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.count().is_empty()
    }

    /// How much of what becomes what: `2 services changed`, in the order of weight. Nothing of what is kept.
    pub fn count(&self) -> Vec<String> {
        let all = [
            ("peer", &self.peers),
            ("service", &self.services),
            ("VIP", &self.vips),
            ("aggregate", &self.aggregates),
            ("setting", &self.settings),
        ];
        let mut counts: BTreeMap<(Kind, usize), usize> = BTreeMap::new();
        for (index, (_, entries)) in all.iter().enumerate() {
            for entry in entries.iter().filter(|entry| entry.change != Kind::Kept) {
                *counts.entry((entry.change, index)).or_default() += 1;
            }
        }
        let words = |((kind, index), count): ((Kind, usize), usize)| {
            let name = all.get(index).map(|(name, _)| *name).unwrap_or_default();
            format!("{count} {name}{} {}", if count == 1 { "" } else { "s" }, kind.name())
        };
        counts.into_iter().map(words).collect()
    }
}

impl Entry {
    fn new(name: impl Display, change: Kind, details: Vec<String>) -> Entry {
        Entry { name: name.to_string(), change, details }
    }

    /// One that differs, if it does.
    fn changed(name: impl Display, details: Vec<String>) -> Option<Entry> {
        (!details.is_empty()).then(|| Entry::new(name, Kind::Changed, details))
    }
}

/// Where two maps differ: what is only in one, and what `compare` says of what is in both.
fn compare_maps<K: Ord + Display, V>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    mut compare: impl FnMut(&K, &V, &V) -> Option<Entry>,
) -> Vec<Entry> {
    let names: BTreeSet<&K> = before.keys().chain(after.keys()).collect();
    let entry = |name: &K| match (before.get(name), after.get(name)) {
        (Some(old), Some(new)) => compare(name, old, new),
        (Some(_), None) => Some(Entry::new(name, Kind::Removed, Vec::new())),
        _ => Some(Entry::new(name, Kind::Added, Vec::new())),
    };
    names.into_iter().filter_map(entry).collect()
}

/// The values of a key, where they differ.
fn values<T: PartialEq>(key: &str, before: &T, after: &T, show: impl Fn(&T) -> String) -> Option<String> {
    (before != after).then(|| format!("{key} {} -> {}", show(before), show(after)))
}

/// A key whose values are too much for one line.
fn key<T: PartialEq>(key: &str, before: &T, after: &T) -> Option<String> {
    (before != after).then(|| key.to_owned())
}

fn peers(before: &Config, after: &Config) -> Vec<Entry> {
    let named = |config: &Config| -> BTreeMap<Arc<str>, Arc<Peer>> {
        let peers = config.bgp.iter().flat_map(|bgp| &bgp.peers);
        let templates = config.bgp.iter().flat_map(|bgp| &bgp.ranges).map(|range| &range.template);
        peers.chain(templates).map(|peer| (peer.name.clone(), peer.clone())).collect()
    };
    let mut entries = compare_maps(&named(before), &named(after), |name, before, after| {
        let keys = before.session.changes(&after.session);
        let live = before.live.changes(&after.live);
        let kind = match (keys.is_empty(), before.live.same_routes(&after.live)) {
            (false, _) => Kind::Reset,
            (true, false) => Kind::Readvertised,
            (true, true) => Kind::Kept,
        };
        Some(Entry::new(name, kind, keys.into_iter().chain(live).map(str::to_owned).collect()))
    });
    // Those that matter most first.
    entries.sort_by_key(|entry| entry.change);
    entries
}

impl LiveParameters {
    /// The keys that differ.
    fn changes(&self, next: &LiveParameters) -> Vec<&'static str> {
        let (our, their) = (&self.attributes, &next.attributes);
        let changes = [
            ("connect_retry", self.connect_retry != next.connect_retry),
            ("next_hop_ipv4", self.next_hop_ipv4 != next.next_hop_ipv4),
            ("next_hop_ipv6", self.next_hop_ipv6 != next.next_hop_ipv6),
            ("origin", our.origin != their.origin),
            ("med", our.med != their.med),
            ("local_pref", our.local_pref != their.local_pref),
            ("as_path_prepend", our.as_path_prepend != their.as_path_prepend),
            ("communities", our.communities != their.communities),
            ("large_communities", our.large_communities != their.large_communities),
            ("extended_communities", our.extended_communities != their.extended_communities),
            ("export", self.export != next.export),
        ];
        changes.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

fn settings(before: &Config, after: &Config) -> Vec<Entry> {
    let listen = |config: &Config| config.bgp.as_ref().map(|bgp| bgp.listen.clone()).unwrap_or_default();
    let hooks = |config: &Config| -> BTreeMap<String, _> {
        config.hooks.notify.iter().map(|hook| (format!("hooks.notify {}", hook.name), hook.clone())).collect()
    };
    let self_checks = |config: &Config| -> BTreeMap<String, _> {
        let resolved =
            |checks: &[usize]| -> Vec<_> { checks.iter().map(|check| config.checks.get(*check).cloned()).collect() };
        let all = config.self_checks.iter();
        all.map(|own| (format!("self_check {}", own.name), (own.on_failure, resolved(&own.checks)))).collect()
    };
    let mut entries = daemon(&before.daemon, &after.daemon);
    let tables = [
        ("bgp.listen", change(&listen(before), &listen(after))),
        ("fail_static", optional(&before.fail_static, &after.fail_static)),
        ("hooks.data_plane", optional(&before.hooks.data_plane, &after.hooks.data_plane)),
        ("gobgp", optional(&before.gobgp, &after.gobgp)),
        ("glb", optional(&before.glb, &after.glb)),
    ];
    entries.extend(tables.into_iter().filter_map(|(name, kind)| Some(Entry::new(name, kind?, Vec::new()))));
    entries.extend(compare_maps(&hooks(before), &hooks(after), whole));
    entries.extend(compare_maps(&self_checks(before), &self_checks(after), whole));
    entries
}

/// Of what is not looked into.
fn whole<V: PartialEq>(name: &String, before: &V, after: &V) -> Option<Entry> {
    (before != after).then(|| Entry::new(name, Kind::Changed, Vec::new()))
}

fn change<T: PartialEq>(before: &T, after: &T) -> Option<Kind> {
    (before != after).then_some(Kind::Changed)
}

fn optional<T: PartialEq>(before: &Option<T>, after: &Option<T>) -> Option<Kind> {
    match (before, after) {
        (None, None) => None,
        (None, Some(_)) => Some(Kind::Added),
        (Some(_), None) => Some(Kind::Removed),
        (Some(before), Some(after)) => change(before, after),
    }
}

fn daemon(before: &Daemon, after: &Daemon) -> Vec<Entry> {
    fn shown<T: Debug>(value: &T) -> String {
        format!("{value:?}")
    }
    let workers = |workers: &Workers| match workers {
        Workers::Auto => "auto".to_owned(),
        Workers::Fixed(count) => count.to_string(),
    };
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let addresses = |list: &Vec<std::net::SocketAddr>| {
        let words: Vec<String> = list.iter().map(ToString::to_string).collect();
        if words.is_empty() { "nowhere".to_owned() } else { words.join(" ") }
    };
    let live = [
        values("control_mode", &before.control_mode, &after.control_mode, |mode| format!("{mode:04o}")),
        values("control_group", &before.control_group, &after.control_group, ToString::to_string),
        values("control_admin_group", &before.control_admin_group, &after.control_admin_group, ToString::to_string),
        values("http_listen", &before.http_listen, &after.http_listen, addresses),
        values("workers", &before.workers, &after.workers, workers),
        values("exec_workers", &before.exec_workers, &after.exec_workers, workers),
        values("startup_deadline", &before.startup_deadline, &after.startup_deadline, shown),
        values("shutdown_drain", &before.shutdown_drain, &after.shutdown_drain, shown),
        values("drain_time", &before.drain_time, &after.drain_time, shown),
        values("state_max_age", &before.state_max_age, &after.state_max_age, shown),
        values("log", &before.log, &after.log, |level| level.name().to_owned()),
    ];
    let later = [
        values("control_socket", &before.control_socket, &after.control_socket, path),
        values("state_file", &before.state_file, &after.state_file, path),
    ];
    let live: Vec<String> = live.into_iter().flatten().collect();
    let later: Vec<String> = later.into_iter().flatten().collect();
    let needs = (!later.is_empty()).then(|| Entry::new("daemon", Kind::NeedsRestart, later));
    Entry::changed("daemon", live).into_iter().chain(needs).collect()
}
