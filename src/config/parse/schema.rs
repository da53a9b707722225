//! Every key that a configuration may hold, table by table, and those that only later versions know.

/// A kind of table.
#[derive(Debug)]
pub(super) struct Schema {
    /// As it is called in messages.
    pub(super) title: &'static str,
    /// Its keys.
    pub(super) keys: &'static [&'static str],
}

pub(super) static ROOT: Schema =
    Schema { title: "the file", keys: &["daemon", "bgp", "gobgp", "glb", "checks", "service", "vip", "aggregate"] };

pub(super) static DAEMON: Schema = Schema {
    title: "[daemon]",
    keys: &["control_socket", "workers", "startup_deadline", "shutdown_drain", "drain_time", "state_file", "log"],
};

pub(super) static BGP: Schema = Schema {
    title: "[bgp]",
    keys: &[
        "local_as",
        "router_id",
        "confederation",
        "confederation_members",
        "hold_time",
        "connect_retry",
        "port",
        "listen",
        "graceful_restart",
        "group",
        "peer",
    ],
};

pub(super) static GRACEFUL_RESTART: Schema = Schema { title: "[bgp.graceful_restart]", keys: &["restart_time"] };

pub(super) static PEER: Schema = Schema {
    title: "[[bgp.peer]]",
    keys: &[
        "name",
        "address",
        "group",
        "port",
        "source",
        "password_file",
        "ttl_security",
        "multihop",
        "interface",
        "peer_as",
        "local_as",
        "mode",
        "limit",
        "families",
        "next_hop_ipv4",
        "next_hop_ipv6",
        "extended_next_hop",
        "extended_messages",
        "role",
        "role_strict",
        "advertise_version",
        "advertise_hostname",
        "hold_time",
        "connect_retry",
        "graceful_restart",
        "origin",
        "med",
        "local_pref",
        "as_path_prepend",
        "communities",
        "export",
    ],
};

/// What peers of a group share: everything but [`OF_EACH_PEER`].
pub(super) static GROUP: Schema = Schema { title: "[bgp.group.NAME]", keys: PEER.keys };

/// The keys of [`PEER`] that a group cannot have.
pub(super) static OF_EACH_PEER: &[&str] = &["name", "address", "group", "limit"];

pub(super) static EXPORT: Schema = Schema { title: "`export`", keys: &["accept", "reject"] };

pub(super) static EXPORT_ENTRY: Schema = Schema { title: "a prefix in `export`", keys: &["prefix", "ge", "le"] };

pub(super) static EXPORT_RULE: Schema = Schema { title: "a rule of `export`", keys: &["accept", "reject", "ge", "le"] };

pub(super) static GOBGP: Schema = Schema {
    title: "[gobgp]",
    keys: &[
        "api",
        "identifier",
        "graceful_restart",
        "connect_retry",
        "next_hop_ipv4",
        "next_hop_ipv6",
        "origin",
        "med",
        "local_pref",
        "as_path_prepend",
        "communities",
        "export",
    ],
};

pub(super) static CHECK: Schema = Schema {
    title: "a check",
    keys: &[
        "type",
        "port",
        "interval",
        "timeout",
        "rise",
        "fall",
        "fast_interval",
        "method",
        "path",
        "host",
        "headers",
        "expect",
        "max_body",
        "verify",
        "ca_file",
        "server_name",
        "command",
    ],
};

/// The keys of [`CHECK`] that only some types have.
pub(super) static CHECK_KEYS_BY_TYPE: &[(&[&str], &[&str])] = &[
    (&["http", "https"], &["method", "path", "host", "headers", "expect", "max_body"]),
    (&["https"], &["verify", "ca_file", "server_name"]),
    (&["exec"], &["command"]),
];

pub(super) static EXPECT: Schema = Schema { title: "`expect`", keys: &["status", "body", "body_regex"] };

pub(super) static SERVICE: Schema = Schema {
    title: "[[service]]",
    keys: &["name", "vips", "protocol", "port", "required", "checks", "check", "backend"],
};

pub(super) static BACKEND: Schema =
    Schema { title: "[[service.backend]]", keys: &["address", "port", "weight", "enabled", "checks", "check"] };

pub(super) static VIP: Schema = Schema {
    title: "[[vip]]",
    keys: &[
        "address",
        "via",
        "hold_up",
        "on_down",
        "degraded",
        "origin",
        "med",
        "local_pref",
        "as_path_prepend",
        "communities",
    ],
};

pub(super) static DEGRADED: Schema =
    Schema { title: "`degraded`", keys: &["origin", "med", "local_pref", "as_path_prepend", "communities"] };

pub(super) static AGGREGATE: Schema = Schema {
    title: "[[aggregate]]",
    keys: &["prefix", "required", "members", "via", "origin", "med", "local_pref", "as_path_prepend", "communities"],
};

pub(super) static GLB: Schema = Schema {
    title: "[glb]",
    keys: &["source", "destination", "reload_command", "reload_timeout", "min_write_interval", "watch", "config"],
};

/// All of them, but for [`GROUP`], which is [`PEER`] again.
pub(super) static ALL: &[&Schema] = &[
    &ROOT,
    &DAEMON,
    &BGP,
    &GRACEFUL_RESTART,
    &PEER,
    &GOBGP,
    &EXPORT,
    &EXPORT_ENTRY,
    &EXPORT_RULE,
    &CHECK,
    &EXPECT,
    &SERVICE,
    &BACKEND,
    &VIP,
    &DEGRADED,
    &AGGREGATE,
    &GLB,
];

/// Keys that belong to the interface but to no version yet, by the title of their table. What this version does not do
/// must not look as if it did it. A feature that arrives takes its row away.
static UNSUPPORTED: &[(&str, &[&str])] = &[("[daemon]", &["http_listen"]), ("[[bgp.peer]]", &["bfd"])];

impl Schema {
    pub(super) fn is_unsupported(&self, key: &str) -> bool {
        let own_title = if self.title == GROUP.title { PEER.title } else { self.title };
        UNSUPPORTED.iter().any(|(title, keys)| *title == own_title && keys.contains(&key))
    }
}

/// The table that `key` belongs in, when it is one only.
pub(super) fn home(key: &str) -> Option<&'static Schema> {
    let mut homes = ALL.iter().filter(|schema| schema.keys.contains(&key));
    homes.next().filter(|_| homes.next().is_none()).copied()
}
