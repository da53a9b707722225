//! `[daemon]`: little of it is left to say.

use super::super::draft::{Draft, Fault, Place, string};
use super::super::ini::{Ini, Section};
use super::{DAEMON, Values, wrong};

/// Every key, with what stands in its place; an empty text where that is said elsewhere.
const KEYS: [(&str, &str); 32] = [
    ("bird_conf", BIRD),
    ("bird6_conf", BIRD),
    ("bird_variable", BIRD),
    ("bird6_variable", BIRD),
    ("bird_reconfigure_cmd", BIRD),
    ("bird6_reconfigure_cmd", BIRD),
    ("dummy_ip_prefix", BIRD),
    ("dummy_ip6_prefix", BIRD),
    ("bird_keep_changes", HISTORY),
    ("bird6_keep_changes", HISTORY),
    ("bird_changes_counter", HISTORY),
    ("bird6_changes_counter", HISTORY),
    ("purge_ip_prefixes", "routes end with their session, so that nothing is ever left over"),
    ("ipv4", FAMILIES),
    ("ipv6", FAMILIES),
    ("pidfile", "there is none: one Herald holds the control socket"),
    ("loglevel", ""),
    ("log_file", LOG),
    ("log_maxbytes", LOG),
    ("log_backups", LOG),
    ("log_server", LOG),
    ("log_server_port", LOG),
    ("log_format_journalctl", LOG),
    ("stderr_file", LOG),
    ("stderr_log_server", LOG),
    ("json_stdout", JSON),
    ("json_log_file", JSON),
    ("json_log_server", JSON),
    ("prometheus_exporter", ""),
    ("prometheus_collector_textfile_dir", METRICS),
    ("prometheus_exporter_interval", METRICS),
    ("splay_startup", "first starts of checks are spread evenly over their interval"),
];
const BIRD: &str =
    "BIRD is told by BGP: its list, the function that looks into it and its include can go (etc/examples/bird)";
const HISTORY: &str = "`herald watch` and the journal have every change, with its cause";
const FAMILIES: &str = "both families are always there";
const LOG: &str = "the log goes to stderr, and with the unit to the journal";
const JSON: &str = "`herald watch --json` has events as JSON";
const METRICS: &str = "metrics are served at /metrics, as they are at the time";

pub(super) fn is_known(key: &str) -> bool {
    KEYS.iter().any(|(known, _)| *known == key)
}

/// What of it goes on.
pub(super) struct Daemon {
    log: Option<&'static str>,
    metrics: bool,
}

impl Daemon {
    /// What cannot be understood of it is among the faults.
    pub(super) fn read(ini: &Ini, faults: &mut Vec<Fault>) -> Daemon {
        let section = ini.sections.iter().find(|section| section.name == DAEMON).cloned();
        let nowhere = || Section {
            name: DAEMON.to_owned(),
            place: Place { file: String::new(), line: 0 },
            values: Default::default(),
        };
        let section = section.unwrap_or_else(nowhere);
        let values = Values { section: &section, ini };
        let log = level(&values).map_err(|fault| faults.push(fault)).unwrap_or_default();
        let metrics = values.truth("prometheus_exporter", "false").map_err(|fault| faults.push(fault));
        Daemon { log, metrics: metrics.unwrap_or_default() }
    }

    /// `[daemon]`, if there is anything to say.
    pub(super) fn tables(&self, draft: &mut Draft) {
        // What it is without a word.
        let log = self.log.filter(|level| *level != "info");
        if log.is_none() && !self.metrics {
            return;
        }
        draft.blank();
        draft.table("[daemon]");
        if let Some(level) = log {
            draft.noted(
                "log",
                string(level),
                if level == "debug" { "tells every result; info tells every change" } else { "" },
            );
        }
        if self.metrics {
            draft.noted(
                "http_listen",
                string("127.0.0.1:9179"),
                "prometheus_exporter: now to be fetched, from /metrics",
            );
        }
    }
}

fn level(values: &Values<'_>) -> Result<Option<&'static str>, Fault> {
    let Some(value) = values.ini.get(values.section, "loglevel")? else { return Ok(None) };
    match value.text.to_ascii_lowercase().as_str() {
        "critical" | "fatal" | "error" => Ok(Some("error")),
        "warning" | "warn" => Ok(Some("warn")),
        "info" => Ok(Some("info")),
        "debug" | "notset" => Ok(Some("debug")),
        _ => Err(wrong("loglevel", &value, "a level: debug, info, warning, error or critical")),
    }
}

/// What the rest was for, and why it is not there.
pub(super) fn remarks(ini: &Ini, draft: &mut Draft) {
    let Some(section) = ini.sections.iter().find(|section| section.name == DAEMON) else { return };
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    for (key, instead) in KEYS.iter().filter(|(key, instead)| !instead.is_empty() && section.values.contains_key(*key))
    {
        match found.iter_mut().find(|(known, _)| known == instead) {
            Some((_, keys)) => keys.push((*key).to_owned()),
            None => found.push((instead, vec![(*key).to_owned()])),
        }
    }
    if found.is_empty() {
        return;
    }
    draft.blank();
    draft.comment(&format!("What [daemon] of {} says besides, and what stands in its place:", section.place));
    for (instead, keys) in found {
        draft.comment(&format!("- {}: {instead}", keys.join(", ")));
    }
}
