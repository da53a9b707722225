//! What operators read in the log, worded here and nowhere else. Each line names what changed, and why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::Level;

use crate::announce::{VipEvent, VipState};
use crate::bgp::peer::{self, PeerStatus, State};
use crate::config::{self, Config, Diagnostic};
use crate::engine::{self, PeerReload, status::Reason};
use crate::health::{HealthEvent, ServiceState};

/// Something that operators shall hear of.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// From the engine. Its indexes are those of the configuration that comes with it.
    Engine(Arc<Subjects>, engine::Notice),
    /// The daemon begins.
    Started {
        /// The configuration that it begins with.
        config: Arc<Config>,
        /// Where that was read.
        path: PathBuf,
    },
    /// Findings about a configuration that was taken all the same.
    Warnings(Vec<Diagnostic>),
    /// The pool is too small for every check to time out at once.
    PoolTooSmall {
        /// Threads.
        workers: usize,
        /// Threads that would be enough.
        demand: usize,
    },
    /// SIGHUP came.
    Reloading(PathBuf),
    /// A new configuration is in force.
    Reloaded(Arc<Config>),
    /// A new configuration was refused.
    ReloadRefused(Vec<Diagnostic>),
    /// A reload changes what only a restart can.
    NeedsRestart(&'static str),
    /// SIGUSR1 came.
    CheckingNow,
    /// SIGUSR2 came.
    NoGracefulRestart,
    /// The first SIGTERM or SIGINT came; its name.
    Stopping(&'static str),
    /// A second one came.
    StoppingAtOnce(&'static str),
    /// The peers did not take their withdrawals in time.
    StopTimedOut,
    /// The daemon ends.
    Stopped,
    /// So many workers hang in the system and cannot be ended.
    WorkersHang(usize),
    /// A larger pool was asked for than the system gives.
    WorkersMissing {
        /// Workers that there are.
        started: usize,
        /// The system's word.
        error: String,
    },
    /// A session is up, and what its two ends have settled.
    Established(Arc<config::Peer>, Option<Box<PeerStatus>>),
    /// The control thread cannot go on.
    ControlBroken(String),
    /// Notices that were not worded because too many came at once.
    Lost(u64),
}

/// A configuration, and the names of its checks: what a notice's indexes mean.
#[derive(Debug)]
pub(crate) struct Subjects {
    config: Arc<Config>,
    /// By index into [`Config::checks`]: a check has no name of its own, its first user's word for it serves.
    check_names: BTreeMap<usize, Arc<str>>,
}

impl Subjects {
    pub(crate) fn new(config: Arc<Config>) -> Subjects {
        let backends = config.services.iter().rev().flat_map(|service| service.backends.iter().rev());
        let checks = backends.flat_map(|backend| &backend.checks);
        let check_names = checks.map(|check| (check.check, check.name.clone())).collect();
        Subjects { config, check_names }
    }

    /// `web of 10.1.0.11:8080`.
    fn check(&self, index: usize) -> Option<String> {
        let target = self.config.checks.get(index)?.probe.target;
        Some(format!("{} of {target}", self.check_names.get(&index)?))
    }
}

/// Puts a notice into lines and says each.
pub(crate) fn word(notice: &Notice, say: &mut dyn FnMut(Level, String)) {
    let (level, text) = match notice {
        Notice::Engine(subjects, notice) => return word_engine(subjects, notice, say),
        Notice::Started { config, path } => (Level::Info, started(config, path)),
        Notice::Warnings(warnings) => {
            return warnings.iter().for_each(|warning| say(Level::Warn, warning.to_string()));
        }
        Notice::PoolTooSmall { workers, demand } => (Level::Warn, pool_too_small(*workers, *demand)),
        Notice::Reloading(path) => (Level::Info, format!("reloading {}", path.display())),
        Notice::Reloaded(config) => (Level::Info, format!("configuration reloaded: {}", counts(config))),
        Notice::ReloadRefused(errors) => {
            errors.iter().for_each(|error| say(Level::Error, error.to_string()));
            let count = plural(errors.len(), "error", "errors");
            (Level::Error, format!("configuration not reloaded: {count}; the previous one stays in force"))
        }
        Notice::NeedsRestart(key) => (Level::Warn, format!("the change of {key} takes effect after a restart only")),
        Notice::CheckingNow => (Level::Info, "SIGUSR1: running every check now".to_owned()),
        Notice::NoGracefulRestart => {
            let text = "SIGUSR2: graceful restart is not supported by this version; nothing was done (SIGTERM stops)";
            (Level::Warn, text.to_owned())
        }
        Notice::Stopping(signal) => (Level::Info, format!("{signal}: withdrawing all routes and stopping")),
        Notice::StoppingAtOnce(signal) => (Level::Warn, format!("{signal} again: stopping at once")),
        Notice::StopTimedOut => (Level::Warn, "stopping although not everything could be sent to all peers".to_owned()),
        Notice::WorkersHang(count) => {
            let count = plural(*count, "worker hangs", "workers hang");
            (Level::Warn, format!("{count} in the system and cannot be ended; the process ends all the same"))
        }
        Notice::WorkersMissing { started, error } => {
            let count = plural(*started, "worker", "workers");
            (Level::Warn, format!("cannot start more than {count}: {error}"))
        }
        Notice::Established(peer, status) => (Level::Info, established(peer, status.as_deref())),
        Notice::Stopped => (Level::Info, "stopped".to_owned()),
        Notice::ControlBroken(error) => (Level::Error, format!("control socket: {error}; status is not available")),
        Notice::Lost(count) => {
            let count = plural(usize::try_from(*count).unwrap_or(usize::MAX), "change is", "changes are");
            (Level::Warn, format!("{count} not logged: too many at once; see `herald status`"))
        }
    };
    say(level, text);
}

fn word_engine(subjects: &Subjects, notice: &engine::Notice, say: &mut dyn FnMut(Level, String)) {
    let line = match notice {
        engine::Notice::Health(event) => health(subjects, event),
        engine::Notice::Vip(event, reason) => vip(event, reason),
        engine::Notice::Peer(peer, notice) => peer_line(peer, notice),
        engine::Notice::PeerReload(name, change) => Some(peer_reload(name, change)),
    };
    if let Some((level, text)) = line {
        say(level, text);
    }
}

fn started(config: &Config, path: &Path) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("herald {version} started with {}: {}", path.display(), counts(config))
}

/// `2 VIPs, 1 service, 4 checks, 2 peers, 8 workers`.
pub(crate) fn counts(config: &Config) -> String {
    let peers = config.bgp.as_ref().map_or(0, |bgp| bgp.peers.len());
    [
        plural(config.vips.len(), "VIP", "VIPs"),
        plural(config.services.len(), "service", "services"),
        plural(config.checks.len(), "check", "checks"),
        plural(peers, "peer", "peers"),
        plural(config.worker_count(), "worker", "workers"),
    ]
    .join(", ")
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn pool_too_small(workers: usize, demand: usize) -> String {
    let share = workers.saturating_mul(100) / demand.max(1);
    format!(
        "{} for a worst case of {demand}: checks keep their times while up to {share} % of them time out; \
         raise daemon.workers, shorten timeouts or lengthen intervals",
        plural(workers, "worker", "workers")
    )
}

fn health(subjects: &Subjects, event: &HealthEvent) -> Option<(Level, String)> {
    let line = match event {
        HealthEvent::Check { check, passing, detail, streak } => {
            let check = subjects.check(*check)?;
            let colon = if detail.is_empty() { "" } else { ": " };
            if *passing {
                let passes = plural(*streak as usize, "pass", "passes");
                (Level::Info, format!("check {check} passing after {passes}{colon}{detail}"))
            } else {
                let failures = plural(*streak as usize, "failure", "failures");
                (Level::Warn, format!("check {check} failing after {failures}{colon}{detail}"))
            }
        }
        HealthEvent::Backend { service, backend, up } => {
            let service = subjects.config.services.get(*service)?;
            let address = service.backends.get(*backend)?.address;
            let (level, state) = if *up { (Level::Info, "up") } else { (Level::Warn, "down") };
            (level, format!("backend {}/{address} {state}", service.name))
        }
        HealthEvent::Service { service, state, available, required } => {
            let service = subjects.config.services.get(*service)?;
            let (level, state) = match state {
                ServiceState::Up => (Level::Info, "up"),
                ServiceState::Down => (Level::Warn, "down"),
                ServiceState::Undecided => (Level::Info, "undecided"),
            };
            let (name, of) = (&service.name, service.backends.len());
            let text = format!("service {name} {state}: {available} of {of} backends available, {required} required");
            (level, text)
        }
    };
    Some(line)
}

fn vip(event: &VipEvent, reason: &Reason) -> Option<(Level, String)> {
    let VipEvent { vip, from, to, .. } = event;
    let line = match (from, to) {
        (_, None) => (Level::Info, format!("vip {vip} removed")),
        (_, Some(VipState::Announced)) => (Level::Info, format!("vip {vip} announced: {reason}")),
        (_, Some(VipState::Degraded)) => (Level::Warn, format!("vip {vip} announced as degraded: {reason}")),
        // Not yet announced, and not to be announced yet: nothing has changed for its clients.
        (_, Some(VipState::Holding)) => (Level::Debug, format!("vip {vip} holding: {reason}")),
        (Some(VipState::Announced | VipState::Degraded), Some(VipState::Withdrawn)) => {
            (Level::Warn, format!("vip {vip} withdrawn: {reason}"))
        }
        // The same state for another reason.
        (Some(VipState::Withdrawn), Some(VipState::Withdrawn)) => {
            (Level::Debug, format!("vip {vip} still withdrawn: {reason}"))
        }
        (_, Some(VipState::Withdrawn)) => (Level::Warn, format!("vip {vip} not announced: {reason}")),
    };
    Some(line)
}

fn peer_line(peer: &config::Peer, notice: &peer::Notice) -> Option<(Level, String)> {
    let name = &peer.name;
    let line = match notice {
        peer::Notice::State { to: State::Established, .. } => (Level::Info, established(peer, None)),
        peer::Notice::State { from: State::Established, cause, .. } => {
            let cause = cause.as_ref().map_or_else(|| "session ended".to_owned(), ToString::to_string);
            (Level::Warn, format!("peer {name} down: {cause}"))
        }
        peer::Notice::State { cause: Some(cause), .. } => {
            (Level::Warn, format!("peer {name} not established: {cause}"))
        }
        peer::Notice::State { from, to, cause: None } => {
            (Level::Debug, format!("peer {name}: {} -> {}", from.name(), to.name()))
        }
        peer::Notice::NoNextHop(family) => {
            (Level::Warn, format!("peer {name}: {family} routes are not announced: no next hop; set next_hop_{family}"))
        }
        peer::Notice::FamilyNotNegotiated(family) => {
            (Level::Warn, format!("peer {name}: {family} routes are not announced: the peer did not offer this family"))
        }
        peer::Notice::TooLarge(prefix, count) => (
            Level::Error,
            format!(
                "peer {name}: {} ({prefix} for one) not announced: the attributes do not fit a message",
                plural(*count, "route is", "routes are")
            ),
        ),
        peer::Notice::Synchronised(family, count) => {
            let routes = plural(*count, "route", "routes");
            (Level::Info, format!("peer {name} has all {family} routes: {routes} announced"))
        }
    };
    Some(line)
}

/// `peer tor-a established (AS 65000, hold time 9s, ipv4 ipv6)`.
fn established(peer: &config::Peer, status: Option<&PeerStatus>) -> String {
    let mut facts = Vec::new();
    if let Some(status) = status {
        facts.extend(status.remote_as.map(|asn| format!("AS {asn}")));
        facts.extend(status.hold_time.map(|time| match time.as_secs() {
            0 => "no hold time".to_owned(),
            seconds => format!("hold time {seconds}s"),
        }));
        let families: Vec<_> = status.families.iter().map(|family| family.name()).collect();
        facts.push(if families.is_empty() { "no family in common".to_owned() } else { families.join(" ") });
    }
    let name = &peer.name;
    if facts.is_empty() {
        format!("peer {name} established")
    } else {
        format!("peer {name} established ({})", facts.join(", "))
    }
}

fn peer_reload(name: &str, change: &PeerReload) -> (Level, String) {
    let text = match change {
        PeerReload::Added => format!("reload: peer {name} added"),
        PeerReload::Removed => format!("reload: peer {name} removed, its session is closed"),
        PeerReload::Readvertised => {
            format!("reload: peer {name} keeps its session, changed routes are announced again")
        }
        PeerReload::Reset(keys) => format!("reload: peer {name} is reset, because of {}", keys.join(", ")),
    };
    let level = if matches!(change, PeerReload::Reset(_)) { Level::Warn } else { Level::Info };
    (level, text)
}
