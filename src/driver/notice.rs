//! What operators read in the log, worded here and nowhere else. Each line names what changed, and why.

mod address;
mod glb;
mod gobgp;
mod guard;
mod health;
mod hooks;
pub(crate) mod restart;
pub(crate) mod workers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use crate::announce::{AggregateCause, AggregateEvent, AggregateState, VipCause, VipEvent, VipState};
use crate::bgp::peer::{self, PeerStatus, State};
use crate::config::{self, Config, Diagnostic};
use crate::discovery;
use crate::driver::hook;
use crate::driver::netlink::addresses::Note;
use crate::engine::aggregate::AggregateReason;
use crate::engine::drain::DrainNotice;
use crate::engine::{self, PeerReload, Refusal, RefusalReason, status::Reason};
use crate::prefix::Prefix;
use workers::Workers;

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
    /// Somebody wants a reload, by this.
    Reloading(String, PathBuf),
    /// A file has changed that is read again then.
    Changed(PathBuf),
    /// A file is not seen to change, and why.
    NotWatched(PathBuf, String),
    /// A new configuration is in force, and what is different about it.
    Reloaded(Arc<Config>, Vec<String>),
    /// A new configuration was refused.
    ReloadRefused(Vec<Diagnostic>),
    /// A reload changes what only a restart can.
    NeedsRestart(&'static str),
    /// SIGUSR1 came.
    CheckingNow,
    /// Of restarts and of the state file.
    Restart(restart::Restart),
    /// The first SIGTERM or SIGINT came; its name.
    Stopping(&'static str),
    /// A second one came.
    StoppingAtOnce(&'static str),
    /// The peers did not take their withdrawals in time.
    StopTimedOut,
    /// The daemon ends.
    Stopped,
    /// Nobody tells us of links and routes, and why.
    WaysUnseen(String),
    /// The ways to so many targets are others than they were, or gone.
    WayChanged {
        /// In words.
        cause: String,
        /// How many.
        targets: usize,
    },
    /// The data plane of a VIP could not be readied or freed, and why; or could again.
    DataPlane(Prefix, Option<String>),
    /// Of addresses of VIPs.
    Address(Note),
    /// Nobody sees to them, and why.
    AddressesUnseen(String),
    /// Of those who run the checks.
    Workers(Workers),
    /// Of those who are told of transitions.
    Hook(hook::News),
    /// There are too few threads to tell them, and why.
    HooksMissing(String),
    /// So many transitions they are not told at the end.
    Untold(usize),
    /// A session is up, and what its two ends have settled.
    Established(Arc<config::Peer>, Option<Box<PeerStatus>>),
    /// Routers can connect here.
    Listening(SocketAddr),
    /// They cannot, and why.
    ListenFailed(SocketAddr, String),
    /// They need not any more.
    ListenClosed(SocketAddr),
    /// The control thread cannot go on.
    ControlBroken(String),
    /// The status page is served there, or cannot be, and why.
    HttpDoor(SocketAddr, Option<String>),
    /// Nor is it any more.
    HttpBroken(String),
    /// Notices that were not worded because too many came at once.
    Lost(u64),
}

/// A configuration, and the names of its checks: what a notice's indexes mean.
#[derive(Debug)]
pub(crate) struct Subjects {
    config: Arc<Config>,
    /// By index into [`Config::checks`]: a check has no name of its own, its first user's word for it serves; and whether it
    /// is advisory.
    check_names: BTreeMap<usize, (Arc<str>, bool)>,
}

impl Subjects {
    pub(crate) fn new(config: Arc<Config>) -> Subjects {
        let backends = config.services.iter().rev().flat_map(|service| service.backends.iter().rev());
        let mut check_names: BTreeMap<usize, (Arc<str>, bool)> = BTreeMap::new();
        for used in backends.flat_map(|backend| &backend.checks) {
            // It is advisory if nobody counts it.
            let advisory = check_names.get(&used.check).is_none_or(|(_, advisory)| *advisory) && used.advisory;
            check_names.insert(used.check, (used.name.clone(), advisory));
        }
        Subjects { config, check_names }
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// `web of 10.1.0.11:8080`.
    fn check(&self, index: usize) -> Option<String> {
        let probe = &self.config.checks.get(index)?.probe;
        let (name, advisory) = self.check_names.get(&index)?;
        let of = probe.place();
        Some(format!("{name} of {of}{}", if *advisory { " (advisory)" } else { "" }))
    }
}

/// What a notice has in common with others that may come by the thousand, in words that follow a number.
pub(crate) fn kind(notice: &Notice) -> Option<&'static str> {
    let notice = match notice {
        Notice::Engine(_, notice) => notice,
        Notice::Address(note) => return address::kind(note),
        Notice::DataPlane(_, Some(_)) => return Some("runs of the data_plane hook failed"),
        Notice::DataPlane(_, None) => return Some("runs of the data_plane hook succeeded again"),
        _ => return None,
    };
    match notice {
        engine::Notice::Health(event) => Some(health::kind(event)),
        engine::Notice::Vip(event, _) => Some(match event.to {
            Some(VipState::Announced) => "VIPs announced",
            Some(VipState::Degraded) => "VIPs degraded",
            Some(VipState::Withdrawn) => "VIPs withdrawn",
            Some(VipState::Holding) => "VIPs holding",
            Some(VipState::Suppressed) => "VIPs suppressed",
            Some(VipState::Frozen) => "VIPs frozen",
            Some(VipState::Drained) => "VIPs drained",
            None => "VIPs removed",
        }),
        engine::Notice::Aggregate(event, _) => Some(match event.to {
            Some(AggregateState::Announced) => "aggregates announced",
            Some(AggregateState::Withdrawn) => "aggregates withdrawn",
            Some(AggregateState::Holding) => "aggregates holding",
            Some(AggregateState::Drained) => "aggregates drained",
            None => "aggregates removed",
        }),
        engine::Notice::Glb(crate::glb::Notice::Written { .. }) => Some("writes of forwarding tables"),
        engine::Notice::Peer(..)
        | engine::Notice::PeerReload(..)
        | engine::Notice::Refused(_)
        | engine::Notice::Gobgp(_)
        | engine::Notice::Discovery(_)
        | engine::Notice::Glb(_)
        | engine::Notice::Guard(..)
        | engine::Notice::Drain(_) => None,
    }
}

/// Puts a notice into lines and says each.
pub(crate) fn word(notice: &Notice, say: &mut dyn FnMut(Level, String)) {
    let (level, text) = match notice {
        Notice::Engine(subjects, notice) => return word_engine(subjects, notice, say),
        Notice::Restart(notice) => return restart::word(notice, say),
        Notice::Started { config, path } => (Level::Info, started(config, path)),
        Notice::Warnings(warnings) => {
            return warnings.iter().for_each(|warning| say(Level::Warn, warning.to_string()));
        }
        Notice::DataPlane(vip, Some(error)) => (Level::Warn, format!("vip {vip}: the data_plane hook failed: {error}")),
        Notice::DataPlane(vip, None) => (Level::Info, format!("vip {vip}: the data_plane hook succeeds again")),
        Notice::Reloading(by, path) => (Level::Info, format!("{by}: reloading {}", path.display())),
        Notice::Changed(path) => (Level::Info, format!("{} has changed: reading it", path.display())),
        Notice::NotWatched(path, error) => {
            (Level::Error, format!("{} cannot be watched: {error}; it is read on SIGHUP only", path.display()))
        }
        Notice::Reloaded(config, changes) => {
            let changes = if changes.is_empty() { "nothing is different".to_owned() } else { changes.join(", ") };
            (Level::Info, format!("configuration reloaded: {}; {changes}", counts(config)))
        }
        Notice::ReloadRefused(errors) => {
            errors.iter().for_each(|error| say(Level::Error, error.to_string()));
            let count = plural(errors.len(), "error", "errors");
            (Level::Error, format!("configuration not reloaded: {count}; the previous one stays in force"))
        }
        Notice::NeedsRestart(key) => (Level::Warn, format!("the change of {key} takes effect after a restart only")),
        Notice::CheckingNow => (Level::Info, "SIGUSR1: running every check now".to_owned()),
        Notice::Stopping(signal) => (Level::Info, format!("{signal}: withdrawing all routes and stopping")),
        Notice::StoppingAtOnce(signal) => (Level::Warn, format!("{signal} again: stopping at once")),
        Notice::StopTimedOut => (Level::Warn, "stopping although not everything could be sent to all peers".to_owned()),
        Notice::Workers(notice) => workers::line(notice),
        Notice::Hook(news) => hooks::line(news),
        Notice::Address(note) => address::line(note),
        Notice::AddressesUnseen(error) => address::unseen(error),
        Notice::HooksMissing(error) => hooks::missing(error),
        Notice::Untold(count) => hooks::untold(*count),
        Notice::WaysUnseen(error) => {
            (Level::Warn, format!("links and routes are not watched, and checks run at their intervals only: {error}"))
        }
        Notice::WayChanged { cause, targets } => {
            let targets = plural(*targets, "target", "targets");
            (Level::Info, format!("{cause}: checking {targets} now"))
        }
        Notice::Established(peer, status) => (Level::Info, established(peer, status.as_deref())),
        Notice::Listening(address) => (Level::Info, format!("listening on {address}")),
        Notice::ListenFailed(address, error) => {
            (Level::Error, format!("cannot listen on {address}: {error}; trying again every few seconds"))
        }
        Notice::ListenClosed(address) => (Level::Info, format!("no longer listening on {address}")),
        Notice::Stopped => (Level::Info, "stopped".to_owned()),
        Notice::HttpDoor(address, None) => (Level::Info, format!("status page and metrics: http://{address}/")),
        Notice::HttpDoor(address, Some(error)) => {
            (Level::Error, format!("cannot serve HTTP on {address}: {error}; trying again every few seconds"))
        }
        Notice::HttpBroken(error) => {
            (Level::Error, format!("HTTP server: {error}; page and metrics are not available"))
        }
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
        engine::Notice::Health(event) => health::line(subjects, event),
        engine::Notice::Vip(event, reason) => vip(event, reason),
        engine::Notice::Aggregate(event, reason) => Some(aggregate(event, reason)),
        engine::Notice::Guard(event, words) => Some(guard::line(*event, words)),
        engine::Notice::Drain(notice) => Some((Level::Info, drain(notice))),
        engine::Notice::Peer(peer, notice) => peer_line(peer, notice),
        engine::Notice::PeerReload(name, change) => Some(peer_reload(name, change)),
        engine::Notice::Refused(refusal) => Some((Level::Warn, refused(refusal))),
        engine::Notice::Gobgp(notice) => Some(gobgp::word(notice)),
        engine::Notice::Discovery(notice) => Some((Level::Warn, discovery(notice))),
        engine::Notice::Glb(notice) => Some(glb::word(notice)),
    };
    if let Some((level, text)) = line {
        say(level, text);
    }
}

fn discovery(notice: &discovery::Notice) -> String {
    match notice {
        discovery::Notice::Failed(interface, error) => {
            format!("interface {interface}: {error}; unnumbered peers on it do not find their router")
        }
        discovery::Notice::Another { interface, neighbour, ignored } => {
            format!("interface {interface}: a second router, {ignored}, advertises itself; sessions go to {neighbour}")
        }
    }
}

fn started(config: &Config, path: &Path) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("herald {version} started with {}: {}", path.display(), counts(config))
}

/// `2 VIPs, 1 service, 4 checks, 2 peers, 8 workers`.
pub(crate) fn counts(config: &Config) -> String {
    let peers = config.bgp.as_ref().map_or(0, |bgp| bgp.peers.len() + bgp.ranges.len());
    let peers = peers + usize::from(config.gobgp.is_some());
    [
        plural(config.vips.len(), "VIP", "VIPs"),
        plural(config.services.len(), "service", "services"),
        plural(config.checks.len(), "check", "checks"),
        plural(peers, "peer", "peers"),
        plural(config.worker_count(), "worker", "workers"),
    ]
    .join(", ")
}

fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn vip(event: &VipEvent, reason: &Reason) -> Option<(Level, String)> {
    let VipEvent { vip, from, to, .. } = event;
    let line = match (from, to) {
        (_, None) => (Level::Info, format!("vip {vip} removed")),
        (Some(_), Some(VipState::Announced | VipState::Degraded))
            if matches!(event.cause, VipCause::Stopping | VipCause::Draining(..)) =>
        {
            (Level::Info, format!("vip {vip} announced with GRACEFUL_SHUTDOWN: {reason}"))
        }
        (_, Some(VipState::Drained)) => (Level::Info, format!("vip {vip} not announced: {reason}")),
        (Some(VipState::Drained), Some(VipState::Withdrawn)) => {
            (Level::Info, format!("vip {vip} still not announced: {reason}"))
        }
        (_, Some(VipState::Announced)) => (Level::Info, format!("vip {vip} announced: {reason}")),
        (_, Some(VipState::Degraded)) => (Level::Warn, format!("vip {vip} announced as degraded: {reason}")),
        (_, Some(VipState::Frozen)) => (Level::Warn, format!("vip {vip} kept announced: {reason}")),
        (_, Some(VipState::Suppressed)) => (Level::Warn, format!("vip {vip} suppressed: {reason}")),
        // It is on its way back, and somebody waits for it.
        (Some(VipState::Withdrawn | VipState::Suppressed), Some(VipState::Holding)) => {
            (Level::Info, format!("vip {vip} holding: {reason}"))
        }
        // Not yet announced, and not to be announced yet: nothing has changed for its clients.
        (_, Some(VipState::Holding)) => (Level::Debug, format!("vip {vip} holding: {reason}")),
        (Some(VipState::Announced | VipState::Degraded | VipState::Frozen), Some(VipState::Withdrawn)) => {
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

/// Whatever operators write, it stays one line.
fn drain(notice: &DrainNotice) -> String {
    match notice {
        DrainNotice::Begun(target, drain) => {
            let until = drain.until.map(|until| format!(" until {until}")).unwrap_or_default();
            let reason = drain.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("drain {target}{until}{}{reason}", by(drain.by.as_ref()))
        }
        DrainNotice::Ended(target, who) => format!("undrain {target}{}", by(who.as_ref())),
        DrainNotice::Expired(target) => format!("undrain {target}: its time has passed"),
    }
}

fn by(who: Option<&String>) -> String {
    who.map(|who| format!(" by {who}")).unwrap_or_default()
}

fn aggregate(event: &AggregateEvent, reason: &AggregateReason) -> (Level, String) {
    let AggregateEvent { aggregate, from, to, cause, .. } = *event;
    match (from, to) {
        (_, None) => (Level::Info, format!("aggregate {aggregate} removed")),
        (_, Some(AggregateState::Announced)) if cause != AggregateCause::Enough => {
            (Level::Info, format!("aggregate {aggregate} announced with GRACEFUL_SHUTDOWN: {reason}"))
        }
        (_, Some(AggregateState::Drained)) => (Level::Info, format!("aggregate {aggregate} not announced: {reason}")),
        (Some(AggregateState::Drained), Some(AggregateState::Withdrawn)) => {
            (Level::Info, format!("aggregate {aggregate} still not announced: {reason}"))
        }
        (_, Some(AggregateState::Announced)) => (Level::Info, format!("aggregate {aggregate} announced: {reason}")),
        (_, Some(AggregateState::Holding)) => (Level::Debug, format!("aggregate {aggregate} holding: {reason}")),
        (Some(AggregateState::Announced), Some(AggregateState::Withdrawn)) => {
            (Level::Warn, format!("aggregate {aggregate} withdrawn: {reason}"))
        }
        (Some(AggregateState::Withdrawn), Some(AggregateState::Withdrawn)) => {
            (Level::Debug, format!("aggregate {aggregate} still withdrawn: {reason}"))
        }
        (_, Some(AggregateState::Withdrawn)) => (Level::Warn, format!("aggregate {aggregate} not announced: {reason}")),
    }
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
        peer::Notice::Waiting => (Level::Info, format!("peer {name}: waiting for the router to connect")),
        peer::Notice::NoNextHop(family) => {
            (Level::Warn, format!("peer {name}: {family} routes are not announced: no next hop; set next_hop_{family}"))
        }
        peer::Notice::FamilyNotNegotiated(family) => {
            (Level::Warn, format!("peer {name}: {family} routes are not announced: the peer did not offer this family"))
        }
        peer::Notice::LeftOut(capabilities) => {
            let names: Vec<_> = capabilities.iter().map(ToString::to_string).collect();
            (Level::Warn, format!("peer {name} refuses what we can do: trying without {}", names.join(", ")))
        }
        peer::Notice::Told { announced, withdrawn, .. } => {
            let (routes, withdrawals) =
                (plural(*announced, "route", "routes"), plural(*withdrawn, "withdrawal", "withdrawals"));
            (Level::Debug, format!("peer {name} told: {routes}, {withdrawals}"))
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
        facts.extend(status.graceful_restart.as_ref().map(|_| "graceful restart".to_owned()));
        facts.push(if families.is_empty() { "no family in common".to_owned() } else { families.join(" ") });
    }
    let name = &peer.name;
    if facts.is_empty() {
        format!("peer {name} established")
    } else {
        format!("peer {name} established ({})", facts.join(", "))
    }
}

fn refused(refusal: &Refusal) -> String {
    let Refusal { remote, reason, count } = refusal;
    let reason = match reason {
        RefusalReason::Stranger => "no peer has this address".to_owned(),
        RefusalReason::Active(name) => format!("we connect to peer {name}; set its mode to \"both\" or \"passive\""),
        RefusalReason::OtherLocal(name, source) => format!("peer {name} is to connect to {source}"),
        RefusalReason::Full(name, limit) => format!("peer {name} has {limit} neighbours, which is its limit"),
        RefusalReason::NotEstablished(name, cause) => {
            return format!("peer {name}: {remote} not established: {cause}{}", others(*count));
        }
    };
    format!("connection from {remote} refused: {reason}{}", others(*count))
}

fn others(count: u64) -> String {
    match count.saturating_sub(1) {
        0 => String::new(),
        others => format!(" ({others} more came to nothing since the last such line)"),
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::path::PathBuf;

    use super::*;
    use crate::bgp::error::Notification;
    use crate::bgp::peer::Cause;
    use crate::config::{Source, parse};
    use crate::engine::status::ServiceReason;
    use crate::health::{HealthEvent, ServiceState};
    use crate::prefix::Family;

    fn config() -> Arc<Config> {
        let text = r#"
[bgp]
local_as = 65001
router_id = "10.0.0.1"
[[bgp.peer]]
name = "tor-a"
address = "10.99.1.1"
peer_as = 65000
next_hop_ipv6 = "fd00:99:1::2"
[checks.alive]
type = "tcp"
[[service]]
name = "web"
vips = ["192.0.2.1"]
port = 80
protocol = "tcp"
checks = ["alive"]
[[service.backend]]
address = "10.1.0.11"
port = 8080
[[service.backend]]
address = "10.1.0.12"
port = 8080
"#;
        Arc::new(parse(&[Source { name: "herald.toml".into(), text: text.to_owned() }]).unwrap())
    }

    fn lines(notice: &Notice) -> Vec<String> {
        let mut lines = Vec::new();
        word(notice, &mut |level, text| lines.push(format!("{level} {text}")));
        lines
    }

    fn engine(notice: engine::Notice) -> String {
        lines(&Notice::Engine(Arc::new(Subjects::new(config())), notice)).join("\n")
    }

    #[test]
    fn health_in_words() {
        let check = |passing, streak, detail| {
            engine(engine::Notice::Health(HealthEvent::Check {
                check: 0,
                passing,
                detail: Cow::Borrowed(detail),
                streak,
            }))
        };
        assert_eq!(
            check(false, 2, "connection refused"),
            "WARN check alive of 10.1.0.11:8080 failing after 2 failures: connection refused"
        );
        assert_eq!(check(true, 1, ""), "INFO check alive of 10.1.0.11:8080 passing after 1 pass");
        let backend = |up| engine(engine::Notice::Health(HealthEvent::Backend { service: 0, backend: 1, up }));
        assert_eq!(backend(false), "WARN backend web/10.1.0.12:8080 down");
        assert_eq!(backend(true), "INFO backend web/10.1.0.12:8080 up");
        let event =
            HealthEvent::Service { service: 0, state: ServiceState::Down, available: 0, required: 1, on_sorry: false };
        let text = "WARN service web down: 0 of 2 backends available, 1 required";
        assert_eq!(engine(engine::Notice::Health(event)), text);
        // An index that means nothing is no reason to panic, nor to say something wrong.
        assert_eq!(engine(engine::Notice::Health(HealthEvent::Backend { service: 7, backend: 0, up: true })), "");
    }

    #[test]
    fn vips_in_words() {
        let vip = |from, to, cause, service| {
            let event = VipEvent { vip: "192.0.2.1".parse().unwrap(), from, to, cause };
            let reason = Reason { cause, service, drain: "drained: works".to_owned(), about: String::new() };
            engine(engine::Notice::Vip(event, Arc::new(reason)))
        };
        let announced = Some(VipState::Announced);
        assert_eq!(
            vip(Some(VipState::Holding), announced, VipCause::AllUp, None),
            "INFO vip 192.0.2.1/32 announced: all services are up"
        );
        assert_eq!(
            vip(announced, announced, VipCause::Stopping, None),
            "INFO vip 192.0.2.1/32 announced with GRACEFUL_SHUTDOWN: herald is stopping"
        );
        let two = "[[service]]\nname = 'web'\nvips = ['192.0.2.1']\nport = 80\nchecks = []\n\
                   [[service.backend]]\naddress = '10.1.0.1'\n[[service.backend]]\naddress = '10.1.0.2'\n";
        let config = crate::config::parse(&[crate::config::Source { name: "f".into(), text: two.to_owned() }]).unwrap();
        let count = crate::engine::status::Count::new(&config.services[0], 0, 1, false);
        let service = ServiceReason { name: "web".into(), count, failing: None };
        let down = VipCause::ServiceDown(0);
        let why = "service web is down: 0 of 2 backends available, 1 required";
        let withdrawn = Some(VipState::Withdrawn);
        for (from, to, text) in [
            (announced, withdrawn, "WARN vip 192.0.2.1/32 withdrawn"),
            (Some(VipState::Holding), withdrawn, "WARN vip 192.0.2.1/32 not announced"),
            (withdrawn, withdrawn, "DEBUG vip 192.0.2.1/32 still withdrawn"),
            (announced, Some(VipState::Degraded), "WARN vip 192.0.2.1/32 announced as degraded"),
        ] {
            assert_eq!(vip(from, to, down, Some(service.clone())), format!("{text}: {why}"));
        }
        assert_eq!(vip(announced, None, VipCause::AllUp, None), "INFO vip 192.0.2.1/32 removed");
        let held = VipCause::HoldUp(crate::driver::clock());
        for (from, level) in [(None, "DEBUG"), (withdrawn, "INFO"), (Some(VipState::Suppressed), "INFO")] {
            let text = vip(from, Some(VipState::Holding), held, None);
            assert_eq!(text, format!("{level} vip 192.0.2.1/32 holding: healthy; waiting for hold_up to pass"));
        }
    }

    #[test]
    fn aggregates_and_drains_in_words() {
        use crate::announce::{DrainedBy, Tally};
        let aggregate = |from, to, cause, tipped_by: Option<&str>| {
            let tally = Tally { healthy: 1, members: 2, required: 2 };
            let (prefix, tipped_by) = ("192.0.2.0/24".parse().unwrap(), tipped_by.map(|vip| vip.parse().unwrap()));
            let event = AggregateEvent { aggregate: prefix, from, to, cause, tally, tipped_by };
            let reason = AggregateReason { cause, tally, tipped_by, drain: "drained: works".to_owned() };
            engine(engine::Notice::Aggregate(event, reason))
        };
        let (announced, withdrawn) = (Some(AggregateState::Announced), Some(AggregateState::Withdrawn));
        let count = "1 of 2 members healthy, 2 required";
        assert_eq!(
            aggregate(announced, withdrawn, AggregateCause::TooFew, Some("192.0.2.1")),
            format!("WARN aggregate 192.0.2.0/24 withdrawn: {count} (vip 192.0.2.1/32 is healthy no more)")
        );
        assert_eq!(
            aggregate(withdrawn, announced, AggregateCause::Enough, Some("192.0.2.1")),
            format!("INFO aggregate 192.0.2.0/24 announced: {count} (vip 192.0.2.1/32 is announced)")
        );
        assert_eq!(
            aggregate(announced, announced, AggregateCause::MembersLeave, None),
            format!("INFO aggregate 192.0.2.0/24 announced with GRACEFUL_SHUTDOWN: {count} (others are being drained)")
        );
        assert_eq!(
            aggregate(announced, Some(AggregateState::Drained), AggregateCause::Drained(DrainedBy::Itself), None),
            "INFO aggregate 192.0.2.0/24 not announced: drained: works"
        );
        let at = crate::driver::wall_clock().timestamp(crate::driver::clock());
        let drain = |reason: Option<&str>, until| {
            let by = reason.map(|_| "alice (uid 0)".to_owned());
            let drain = engine::drain::Drain { reason: reason.map(str::to_owned), by, since: at, until };
            engine(engine::Notice::Drain(DrainNotice::Begun(engine::drain::Target::All, drain)))
        };
        assert_eq!(drain(None, None), "INFO drain all");
        assert_eq!(drain(Some("works"), Some(at)), format!("INFO drain all until {at} by alice (uid 0): works"));
        let target = engine::drain::Target::Peer("tor-a".to_owned());
        assert_eq!(engine(engine::Notice::Drain(DrainNotice::Ended(target, None))), "INFO undrain peer/tor-a");
    }

    #[test]
    fn peers_in_words() {
        let config = config();
        let tor = config.bgp.as_ref().unwrap().peers[0].clone();
        let peer = |notice| engine(engine::Notice::Peer(tor.clone(), notice));
        let state = |from, to, cause| peer(peer::Notice::State { from, to, cause });
        let hold_timer = Cause::Sent(Notification::hold_timer_expired(), "hold timer expired".to_owned());
        assert_eq!(
            state(State::Established, State::Idle, Some(hold_timer)),
            "WARN peer tor-a down: hold timer expired"
        );
        let refused = Cause::ConnectFailed("connection refused".to_owned());
        assert_eq!(
            state(State::Connect, State::Idle, Some(refused)),
            "WARN peer tor-a not established: cannot connect: connection refused"
        );
        assert_eq!(state(State::Connect, State::OpenSent, None), "DEBUG peer tor-a: connect -> opensent");
        assert_eq!(
            peer(peer::Notice::NoNextHop(Family::Ipv6)),
            "WARN peer tor-a: ipv6 routes are not announced: no next hop; set next_hop_ipv6"
        );
        assert_eq!(
            peer(peer::Notice::Synchronised(Family::Ipv4, 1)),
            "INFO peer tor-a has all ipv4 routes: 1 route announced"
        );
        let keys = vec!["hold_time", "families"];
        let reset = engine::Notice::PeerReload(tor.name.clone(), PeerReload::Reset(keys));
        assert_eq!(engine(reset), "WARN reload: peer tor-a is reset, because of hold_time, families");
        let mut status = peer::Peer::new(crate::driver::clock(), tor.clone(), 0).status();
        status.remote_as = Some(config::Asn(65000));
        status.hold_time = config::HoldTime::from_secs(9);
        status.families = Family::ALL.to_vec();
        let text = "INFO peer tor-a established (AS 65000, hold time 9s, ipv4 ipv6)";
        assert_eq!(lines(&Notice::Established(tor.clone(), Some(Box::new(status)))), [text]);
    }

    #[test]
    fn the_daemon_in_words() {
        let config = config();
        let counts = "1 VIP, 1 service, 2 checks, 1 peer, 2 workers";
        let path = PathBuf::from("/etc/herald/herald.toml");
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("INFO herald {version} started with /etc/herald/herald.toml: {counts}");
        assert_eq!(lines(&Notice::Started { config: config.clone(), path }), [text]);
        let head = format!("INFO configuration reloaded: {counts};");
        assert_eq!(lines(&Notice::Reloaded(config.clone(), Vec::new())), [format!("{head} nothing is different")]);
        let changes = vec!["1 peer reset".to_owned(), "2 services changed".to_owned()];
        assert_eq!(lines(&Notice::Reloaded(config, changes)), [format!("{head} 1 peer reset, 2 services changed")]);
        let errors = parse(&[Source { name: "f".into(), text: "x = 1".to_owned() }]).unwrap_err();
        let refused = lines(&Notice::ReloadRefused(errors));
        assert!(refused[0].starts_with("ERROR f:1:1: unknown key `x`"), "{refused:?}");
        assert!(refused.last().unwrap().ends_with("the previous one stays in force"), "{refused:?}");
        assert_eq!(lines(&Notice::Lost(2)), ["WARN 2 changes are not logged: too many at once; see `herald status`"]);
    }
}
