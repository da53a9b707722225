//! What of BGP's capabilities Herald does, in the place of what ExaBGP was told.

/// Those of a `capability` block; in ExaBGP 3 they are among the statements of a neighbour, too.
pub(super) const KEYS: [&str; 12] = [
    "add-path",
    "aigp",
    "asn4",
    "extended-message",
    "graceful-restart",
    "link-local-nexthop",
    "link-local-prefer",
    "multi-session",
    "nexthop",
    "operational",
    "route-refresh",
    "software-version",
];

/// What is to be said of one that changes nothing here, on or off.
pub(super) fn remark(key: &str, on: bool) -> Option<&'static str> {
    Some(match (key, on) {
        ("route-refresh", true) => "Herald always offers it, and the enhanced one",
        ("route-refresh", false) => "Herald offers it all the same, and sends its routes again when the router asks",
        ("multi-session", true) => "Herald has one session with each router, for all families",
        ("operational", true) => "Herald neither offers nor sends such messages",
        ("aigp", true) => "Herald has no AIGP, which the health check does not set either",
        ("add-path", true) => "Herald does not offer it, and keeps no routes of routers",
        ("asn4", true) => "Herald always offers AS numbers of four octets",
        ("nexthop", true) => "without a block `nexthop` ExaBGP names no families by it, so there is nothing to offer",
        ("link-local-nexthop", true) => "Herald does not offer it",
        ("link-local-prefer", true) => "Herald does not know it",
        ("multi-session" | "operational" | "aigp" | "add-path" | "link-local-nexthop" | "link-local-prefer", false) => {
            "Herald has none of it anyway"
        }
        ("extended-message", false) => "Herald offers it only with `extended_messages = true`",
        ("nexthop", false) => "Herald offers it only with `extended_next_hop = true`",
        ("software-version", false) => "Herald offers it only with `advertise_version = true`",
        _ => return None,
    })
}
