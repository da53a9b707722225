//! `[bgp.group.NAME]`: what several peers have in common.

use std::collections::BTreeMap;

use super::findings::{Findings, Place, quote};
use super::table::Section;
use super::{is_new, schema, why_no_name};

/// All groups, by name.
#[derive(Default)]
pub(super) struct Groups<'t> {
    groups: BTreeMap<&'t str, Group<'t>>,
    places: BTreeMap<&'t str, Place>,
}

struct Group<'t> {
    table: Section<'t>,
    is_used: bool,
}

impl<'t> Groups<'t> {
    /// Adds those of one `[bgp]`.
    pub(super) fn read(&mut self, bgp: &Section<'t>, findings: &mut Findings) {
        for entry in bgp.get("group").and_then(|item| item.entries(findings)).unwrap_or_default() {
            if let Some(fault) = why_no_name(entry.name) {
                findings.error(entry.key_place, format!("the name of a group {fault}"));
            }
            let Some(table) = entry.section(&schema::GROUP, findings) else { continue };
            for key in schema::OF_EACH_PEER.iter().filter_map(|key| table.get(key)) {
                findings.error(key.key_place, format!("`{}` belongs to each peer, not to a group", key.name));
            }
            let what = || format!("group {} is there", quote(entry.name));
            if is_new(&mut self.places, entry.name, entry.key_place, findings, what) {
                self.groups.insert(entry.name, Group { table, is_used: false });
            }
        }
    }

    /// The peer's table, on top of the group's that it names.
    pub(super) fn complete(&mut self, peer: Section<'t>, findings: &mut Findings) -> Section<'t> {
        let Some(item) = peer.get("group") else { return peer };
        let Some(name) = item.string(findings) else { return peer };
        if let Some(group) = self.groups.get_mut(name) {
            group.is_used = true;
            return peer.based_on(&group.table, schema::OF_EACH_PEER);
        }
        if !findings.is_incomplete() {
            let hint = findings.did_you_mean(name, self.groups.keys().copied());
            findings.error(item.place, format!("there is no group {}{hint}", quote(name)));
        }
        peer
    }

    /// Warns of groups that no peer is in.
    pub(super) fn finish(&self, findings: &mut Findings) {
        for (name, group) in self.groups.iter().filter(|(_, group)| !group.is_used) {
            findings.warning(group.table.place, format!("no peer is in group {}", quote(name)));
        }
    }
}
