//! What a peer's session may do beyond the plain protocol, and the confederation that we are in.

use super::attribute::asn;
use super::findings::Findings;
use super::table::{Item, Section};
use crate::config::{Asn, Capabilities, Confederation, Peer, PeerAs, Relation, Role};

/// What `advertise_version` says.
const SOFTWARE_VERSION: &str = concat!("Herald/", env!("CARGO_PKG_VERSION"));

/// The keys of a peer.
pub(super) fn capabilities(table: &Section, findings: &mut Findings) -> Capabilities {
    let mut is_set = |key| table.get(key).and_then(|item: Item| item.boolean(findings)).unwrap_or(false);
    let extended_messages = is_set("extended_messages");
    let role_strict = is_set("role_strict");
    let software_version = is_set("advertise_version").then(|| SOFTWARE_VERSION.into());
    let hostname = is_set("advertise_hostname").then(|| "".into());
    let roles = Role::ALL.map(|role| (role.name(), role));
    let role = table.get("role").and_then(|item| item.choice(&roles, findings));
    if let (Some(item), false) = (table.get("role_strict"), table.has("role")) {
        findings.error(item.key_place, "`role_strict` needs `role`");
    }
    Capabilities { extended_messages, role, role_strict, software_version, hostname }
}

/// Reports what does not go with what the peer is to us.
pub(super) fn check_relation(peer: &Peer, table: &Section, findings: &mut Findings) {
    let what = match peer.relation() {
        Relation::Internal => "this one is internal",
        Relation::Confederation => "this one is in our confederation",
        Relation::External => {
            if let Some(item) = table.get("local_pref") {
                let message = "`local_pref` is not sent to external peers (RFC 4271 §5.1.5), and this one is external: \
                               use `med`, `as_path_prepend` or `communities`";
                findings.error(item.key_place, message);
            }
            let communities = &peer.live.attributes.extended_communities;
            for community in communities.iter().filter(|community| !community.is_transitive()) {
                let Some(item) = table.get("communities") else { continue };
                let message =
                    format!("`{community}` is not transitive: it is not sent to external peers (RFC 4360 §6)");
                findings.error(item.key_place, message);
            }
            return;
        }
    };
    if let Some(item) = table.get("role") {
        findings.error(item.key_place, format!("`role` is for external peers (RFC 9234 §4), and {what}"));
    }
}

/// `confederation` and `confederation_members` of `[bgp]`. `local_as`, where it is right, is one of the members.
pub(super) fn confederation(table: &Section, local_as: Option<Asn>, findings: &mut Findings) -> Option<Confederation> {
    let members_item = table.get("confederation_members");
    let members: Vec<(Asn, Item)> = members_item
        .and_then(|item| item.list(findings))
        .unwrap_or_default()
        .into_iter()
        .filter_map(|item| Some((asn(&item, findings)?, item)))
        .collect();
    let Some(item) = table.get("confederation") else {
        if let Some(item) = members_item {
            findings.error(
                item.key_place,
                "`confederation_members` needs `confederation`, the AS that all of them are to others",
            );
        }
        return None;
    };
    let identifier = asn(&item, findings)?;
    if local_as == Some(identifier) {
        let message = format!(
            "`confederation`: {identifier} is `local_as`, too: that must be our own AS within the confederation (RFC 5065 §4)"
        );
        findings.error(item.place, message);
    }
    for (_, item) in members.iter().filter(|(member, _)| *member == identifier) {
        let message = format!("`confederation_members`: {identifier} is the confederation itself, not a member of it");
        findings.error(item.place, message);
    }
    let mut members: Vec<Asn> = members.into_iter().map(|(member, _)| member).chain(local_as).collect();
    members.sort_unstable();
    members.dedup();
    Some(Confederation { identifier, members })
}

/// Our AS as a peer sees it: its own `local_as`, else to those outside of the confederation the AS of that, else ours
/// (RFC 5065 §4).
pub(super) fn seen_as(
    own: Option<Asn>,
    common: Option<Asn>,
    peer_as: PeerAs,
    confederation: Option<&Confederation>,
) -> Option<Asn> {
    let is_outside = |whole: &&Confederation| match peer_as {
        PeerAs::Internal => false,
        PeerAs::Number(asn) => !whole.members.contains(&asn),
        PeerAs::External => true,
    };
    own.or_else(|| confederation.filter(is_outside).map(|whole| whole.identifier)).or(common)
}
