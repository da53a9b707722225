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
    let what = match (peer.relation(), table.is_own("role")) {
        (Relation::Internal, true) => "this one is internal",
        (Relation::Internal, false) => "this group has internal peers",
        (Relation::Confederation, true) => "this one is in our confederation",
        (Relation::Confederation, false) => "this group has peers in our confederation",
        (Relation::External, _) => {
            if let Some(item) = table.get("local_pref") {
                let who =
                    if table.is_own("local_pref") { "this one is external" } else { "this group has external peers" };
                let message = format!(
                    "`local_pref` is not sent to external peers (RFC 4271 §5.1.5), and {who}: \
                     use `med`, `as_path_prepend` or `communities`"
                );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SessionParameters, Source, parse};

    /// `[bgp]` with these lines, and a peer with those.
    fn text(bgp: &str, peer: &str) -> String {
        format!("[bgp]\nlocal_as = 65010\nrouter_id = '10.0.0.1'\n{bgp}\n[[bgp.peer]]\naddress = '10.0.0.2'\n{peer}\n")
    }

    fn parsed(text: &str) -> Result<Config, Vec<String>> {
        let source = Source { name: "f".into(), text: text.to_owned() };
        parse(&[source]).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn session(bgp: &str, peer: &str) -> SessionParameters {
        let config = parsed(&text(bgp, peer)).unwrap_or_else(|errors| panic!("{errors:?}"));
        config.bgp.unwrap().peers[0].session.clone()
    }

    const WHOLE: &str = "confederation = 65000\nconfederation_members = [65011, 65010, 65011]";

    #[test]
    fn errors() {
        for (bgp, peer, expected) in [
            (
                "",
                "peer_as = 1\nrole = 'costumer'",
                "f:8:8: `role` must be \"provider\" or \"rs\" or \"rs-client\" or \"customer\" or \"peer\", not `costumer`; \
                 did you mean `customer`?",
            ),
            ("", "peer_as = 1\nrole_strict = true", "f:8:1: `role_strict` needs `role`"),
            (
                "",
                "peer_as = 1\nextended_messages = 1",
                "f:8:21: `extended_messages` must be true or false, not the integer 1",
            ),
            (
                "",
                "peer_as = 65010\nrole = 'peer'",
                "f:8:1: `role` is for external peers (RFC 9234 §4), and this one is internal",
            ),
            (
                "",
                "peer_as = 'internal'\nrole = 'peer'",
                "f:8:1: `role` is for external peers (RFC 9234 §4), and this one is internal",
            ),
            (
                WHOLE,
                "peer_as = 65011\nrole = 'peer'",
                "f:9:1: `role` is for external peers (RFC 9234 §4), and this one is in our confederation",
            ),
            (
                WHOLE,
                "peer_as = 64512\nlocal_pref = 1",
                "f:9:1: `local_pref` is not sent to external peers (RFC 4271 §5.1.5), and this one is external: use `med`, \
                 `as_path_prepend` or `communities`",
            ),
            (
                WHOLE,
                "peer_as = 65000",
                "f:8:11: `peer_as`: 65000 is our own confederation: give the AS that the peer has within it",
            ),
            (
                "confederation_members = [65011]",
                "peer_as = 1",
                "f:4:1: `confederation_members` needs `confederation`, the AS that all of them are to others",
            ),
            (
                "confederation = 65010",
                "peer_as = 1",
                "f:4:17: `confederation`: 65010 is `local_as`, too: that must be our own AS within the confederation (RFC 5065 §4)",
            ),
            (
                "confederation = 65000\nconfederation_members = [65011, 65000]",
                "peer_as = 1",
                "f:5:33: `confederation_members`: 65000 is the confederation itself, not a member of it",
            ),
            (
                "confederation = 65000\nconfederation_members = [0]",
                "peer_as = 1",
                "f:5:26: `confederation_members` must be from 1 to 4294967295, not 0",
            ),
        ] {
            let text = text(bgp, peer);
            assert_eq!(parsed(&text).unwrap_err(), [expected], "in:\n{text}");
        }
    }

    #[test]
    fn values_arrive() {
        assert_eq!(session("", "peer_as = 1").capabilities, Capabilities::default());
        let all = "peer_as = 1\nextended_messages = true\nrole = 'rs-client'\nrole_strict = true\nadvertise_version = true\n\
                   advertise_hostname = true";
        let expected = Capabilities {
            extended_messages: true,
            role: Some(Role::RouteServerClient),
            role_strict: true,
            software_version: Some(SOFTWARE_VERSION.into()),
            hostname: Some("".into()),
        };
        assert_eq!(session("", all).capabilities, expected);
        // Only who asked for it says the name.
        for (peer, hostname) in [(all, Some("vm1")), ("peer_as = 1", None)] {
            let mut config = parsed(&text("", peer)).unwrap();
            config.give_hostname("vm1");
            assert_eq!(config.bgp.unwrap().peers[0].session.capabilities.hostname.as_deref(), hostname);
        }
    }

    #[test]
    fn in_a_confederation_it_depends_who_looks() {
        for (peer, seen, relation) in [
            ("peer_as = 65011\nlocal_pref = 7", 65010, Relation::Confederation),
            ("peer_as = 65010", 65010, Relation::Internal),
            ("peer_as = 'internal'", 65010, Relation::Internal),
            ("peer_as = 64512\nrole = 'customer'", 65000, Relation::External),
            ("peer_as = 'external'", 65000, Relation::External),
            ("peer_as = 64512\nlocal_as = 64999", 64999, Relation::External),
            ("peer_as = 65011\nlocal_as = 65011", 65011, Relation::Internal),
        ] {
            let session = session(WHOLE, peer);
            assert_eq!((session.local_as, session.relation()), (Asn(seen), relation), "{peer}");
            assert_eq!(session.confederation.unwrap().members, [Asn(65010), Asn(65011)]);
        }
    }

    /// What a reload of `[bgp]` costs which peer, by the keys that say so.
    #[test]
    fn a_confederation_that_grows_disturbs_only_those_that_it_concerns() {
        let more = "confederation = 65000\nconfederation_members = [65011, 65012]";
        for (before, after, peer, keys) in [
            (WHOLE, more, "peer_as = 65011", &[][..]),
            (WHOLE, more, "peer_as = 'external'", &[]),
            (WHOLE, more, "peer_as = 65012", &["local_as", "confederation_members"]),
            ("", WHOLE, "peer_as = 65011", &["confederation_members"]),
            ("", WHOLE, "peer_as = 64512", &["confederation"]),
            ("", WHOLE, "peer_as = 'internal'", &[]),
        ] {
            assert_eq!(session(before, peer).changes(&session(after, peer)), keys, "{peer}");
        }
        let plain = session("", "peer_as = 1");
        for (line, key) in [
            ("extended_messages = true", "extended_messages"),
            ("role = 'peer'", "role"),
            ("advertise_version = true", "advertise_version"),
            ("advertise_hostname = true", "advertise_hostname"),
        ] {
            assert_eq!(plain.changes(&session("", &format!("peer_as = 1\n{line}"))), [key]);
        }
    }
}
