//! Every key that a configuration may hold, table by table, and those that only later versions know.

/// A kind of table.
#[derive(Debug)]
pub(super) struct Schema {
    /// As it is called in messages.
    pub(super) title: &'static str,
    /// Its keys.
    pub(super) keys: &'static [&'static str],
}

pub(super) static ROOT: Schema = Schema {
    title: "the file",
    keys: &[
        "daemon",
        "bgp",
        "gobgp",
        "glb",
        "hooks",
        "checks",
        "service",
        "vip_defaults",
        "vip",
        "aggregate",
        "fail_static",
        "self_check",
    ],
};

pub(super) static DAEMON: Schema = Schema {
    title: "[daemon]",
    keys: &[
        "control_socket",
        "control_mode",
        "control_group",
        "control_admin_group",
        "http_listen",
        "workers",
        "exec_workers",
        "startup_deadline",
        "shutdown_drain",
        "drain_time",
        "state_file",
        "state_max_age",
        "log",
    ],
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
        "target",
        "port",
        "source",
        "interface",
        "mark",
        "dscp",
        "interval",
        "timeout",
        "rise",
        "fall",
        "window",
        "fast_interval",
        "down_interval",
        "jitter",
        "conclusive",
        "tripwire",
        "on_stale",
        "advisory",
        "method",
        "http_version",
        "path",
        "host",
        "headers",
        "body",
        "expect",
        "degraded",
        "max_body",
        "tls",
        "verify",
        "ca_file",
        "server_name",
        "client_certificate",
        "client_key",
        "min_validity",
        "proxy_protocol",
        "send",
        "send_hex",
        "steps",
        "max_reply",
        "grpc_service",
        "query",
        "query_type",
        "transport",
        "recursion",
        "rcode",
        "answer",
        "wait",
        "count",
        "max_loss",
        "size",
        "max_stratum",
        "max_offset",
        "command",
        "exit_codes",
        "degraded_weight",
        "user",
        "absent",
        "content",
        "unreachable",
        "service",
    ],
};

/// Types that open connections or send packets, which can be told how to leave this host.
const NETWORK: &[&str] = &[
    "tcp", "http", "https", "grpc", "tls", "dns", "udp", "icmp", "syn", "ntp", "smtp", "redis", "mysql", "postgres",
    "ldap", "agent", "gue", "fou",
];

/// Types that can speak TLS.
const TLS: &[&str] = &["https", "tls", "tcp", "grpc", "smtp", "redis", "ldap"];

/// All types but `alias`, which no worker runs.
const RUN: &[&str] = &[
    "tcp", "http", "https", "grpc", "tls", "dns", "udp", "icmp", "syn", "ntp", "smtp", "redis", "mysql", "postgres",
    "ldap", "agent", "gue", "fou", "exec", "file",
];

/// The keys of [`CHECK`] that only some types have.
pub(super) static CHECK_KEYS_BY_TYPE: &[(&[&str], &[&str])] = &[
    (NETWORK, &["source", "interface", "mark", "dscp"]),
    (
        RUN,
        &[
            "interval",
            "timeout",
            "rise",
            "fall",
            "window",
            "fast_interval",
            "down_interval",
            "jitter",
            "conclusive",
            "on_stale",
        ],
    ),
    (&["http", "https", "tcp"], &["tripwire"]),
    (&["http", "https"], &["method", "http_version", "headers", "body", "degraded", "max_body"]),
    (&["http", "https", "file"], &["path"]),
    (&["http", "https", "grpc", "tls"], &["host"]),
    (&["http", "https", "tcp", "udp"], &["expect"]),
    (&["tcp", "grpc", "smtp", "redis", "ldap"], &["tls"]),
    (TLS, &["verify", "ca_file", "server_name", "client_certificate", "client_key", "min_validity"]),
    (&["tcp", "smtp", "redis", "mysql", "postgres", "ldap"], &["proxy_protocol"]),
    (&["tcp"], &["steps", "max_reply"]),
    (&["tcp", "udp", "agent"], &["send"]),
    (&["tcp", "udp"], &["send_hex"]),
    (&["grpc"], &["grpc_service"]),
    (&["dns"], &["query", "query_type", "transport", "recursion", "rcode", "answer"]),
    (&["udp"], &["wait"]),
    (&["icmp"], &["count", "max_loss", "size"]),
    (&["ntp"], &["max_stratum", "max_offset"]),
    (&["exec"], &["command", "exit_codes", "degraded_weight", "user"]),
    (&["file"], &["absent", "content"]),
    (&["agent"], &["unreachable"]),
    (&["alias"], &["service"]),
];

pub(super) static EXPECT: Schema =
    Schema { title: "`expect`", keys: &["status", "header", "body", "body_regex", "body_sha256", "json"] };

pub(super) static DEGRADING: Schema = Schema { title: "`degraded` of a check", keys: &["status", "header", "weight"] };

pub(super) static PATTERN: Schema = Schema { title: "a pattern", keys: &["text", "hex", "regex"] };

pub(super) static STEP: Schema = Schema { title: "a step", keys: &["send", "send_hex", "expect"] };

pub(super) static SERVICE: Schema = Schema {
    title: "[[service]]",
    keys: &["name", "vips", "protocol", "port", "required", "checks", "check", "combine", "disable_file", "backend"],
};

pub(super) static BACKEND: Schema = Schema {
    title: "[[service.backend]]",
    keys: &[
        "address",
        "port",
        "weight",
        "enabled",
        "sorry",
        "checks",
        "check",
        "combine",
        "source",
        "interface",
        "mark",
        "dscp",
    ],
};

pub(super) static REQUIRED: Schema = Schema { title: "`required`", keys: &["up", "down", "weight"] };

pub(super) static REQUIRED_WEIGHT: Schema = Schema { title: "`weight` of `required`", keys: &["up", "down"] };

pub(super) static VIP: Schema = Schema {
    title: "[[vip]]",
    keys: &[
        "address",
        "depends_on",
        "bind",
        "unbind_delay",
        "require_address",
        "via",
        "vip_policy",
        "hold_up",
        "hold_down",
        "damping",
        "step",
        "on_down",
        "degraded",
        "origin",
        "med",
        "local_pref",
        "as_path_prepend",
        "communities",
    ],
};

/// What all VIPs share that do not say otherwise: the keys of [`VIP`] without those of each.
pub(super) static VIP_DEFAULTS: Schema = Schema { title: "[vip_defaults]", keys: OF_ALL_VIPS };

const OF_ALL_VIPS: &[&str] = VIP.keys.split_at(2).1;

pub(super) static HOLD: Schema = Schema { title: "`hold_up` or `hold_down`", keys: &["initial", "max", "reset_after"] };

pub(super) static DAMPING: Schema =
    Schema { title: "`damping`", keys: &["penalty", "suppress", "reuse", "half_life", "max_suppress"] };

pub(super) static STEP_OF_VIP: Schema = Schema {
    title: "[[vip.step]]",
    keys: &["below", "withdraw", "origin", "med", "local_pref", "as_path_prepend", "communities"],
};

pub(super) static DEGRADED: Schema =
    Schema { title: "`degraded`", keys: &["origin", "med", "local_pref", "as_path_prepend", "communities"] };

pub(super) static AGGREGATE: Schema = Schema {
    title: "[[aggregate]]",
    keys: &["prefix", "required", "members", "via", "origin", "med", "local_pref", "as_path_prepend", "communities"],
};

pub(super) static FAIL_STATIC: Schema =
    Schema { title: "[fail_static]", keys: &["of", "share", "minimum", "window", "policy", "degraded", "limit"] };

pub(super) static SELF_CHECK: Schema =
    Schema { title: "[[self_check]]", keys: &["name", "address", "port", "checks", "check", "on_failure"] };

pub(super) static GLB: Schema = Schema {
    title: "[glb]",
    keys: &["source", "destination", "reload_command", "reload_timeout", "min_write_interval", "watch", "config"],
};

pub(super) static HOOKS: Schema =
    Schema { title: "[hooks]", keys: &["data_plane", "data_plane_timeout", "data_plane_policy", "notify"] };

pub(super) static NOTIFY: Schema = Schema {
    title: "[[hooks.notify]]",
    keys: &["name", "command", "url", "events", "timeout", "attempts", "user", "ca_file", "bearer_token_file"],
};

/// All of them, but for [`GROUP`], which is [`PEER`] again, and [`VIP_DEFAULTS`], which is [`VIP`].
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
    &DEGRADING,
    &PATTERN,
    &STEP,
    &SERVICE,
    &BACKEND,
    &REQUIRED,
    &REQUIRED_WEIGHT,
    &VIP,
    &HOLD,
    &DAMPING,
    &STEP_OF_VIP,
    &DEGRADED,
    &AGGREGATE,
    &FAIL_STATIC,
    &SELF_CHECK,
    &GLB,
    &HOOKS,
    &NOTIFY,
];

/// Keys that belong to the interface but to no version yet, by the title of their table. What this version does not do
/// must not look as if it did it. A feature that arrives takes its row away.
static UNSUPPORTED: &[(&str, &[&str])] = &[("[[bgp.peer]]", &["bfd"])];

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
