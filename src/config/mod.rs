//! The configuration after validation: a [`Config`] cannot hold an invalid value.
//!
//! [`parse_with`] turns the text of the files into a [`Config`] or into every error found, each with its place.
//! Reading the files, and looking at the files that they name, is the driver's work.

pub mod attributes;
pub mod bgp;
pub mod capabilities;
pub mod check;
pub mod combine;
pub mod diff;
pub mod export;
pub mod extended_community;
pub mod glb;
pub mod gobgp;
pub mod guard;
pub mod hooks;
pub mod parse;
pub mod peer;
pub mod quorum;
pub mod restart;
pub mod transport;
pub mod vip;
mod workers;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use attributes::{Asn, Attributes, Community, GracefulShutdown, LargeCommunity, Origin};
pub use bgp::{Bgp, HoldTime, NextHop4, NextHop6, PeerAs};
pub use capabilities::{Capabilities, Confederation, Relation, Role};
pub use check::{
    AgentProbe, Check, ClientIdentity, Degraded, DnsProbe, DnsTransport, Egress, Encapsulation, ExecProbe, ExitCodes,
    FailureKind, FailureKinds, FileProbe, GrpcProbe, HeaderMatch, HttpProbe, HttpVersion, IcmpProbe, JsonMatch, Need,
    NtpProbe, OnStale, Pattern, Probe, ProbeKind, ProxyHeader, Rcode, RecordType, StatusRange, Step, TcpProbe, Timing,
    TlsProfile, UdpProbe, Weight, Window,
};
pub use combine::Combine;
pub use export::{ExportFilter, ExportRule, PatternError, PrefixPattern};
pub use extended_community::ExtendedCommunity;
pub use glb::{ForwardingTable, Glb};
pub use gobgp::{ApiAddress, Gobgp};
pub use guard::{FailStatic, OnFailure, Population, SelfCheck};
pub use hooks::{
    BearerToken, DataPlaneHook, DataPlanePolicy, EventKind, Hooks, Notify, NotifyTarget, TokenFile, Url, UrlHost,
    Webhook,
};
pub use parse::{
    Texts, find_gobgp, parse, parse_attributes, parse_incomplete, parse_services, parse_with, peer_keys, wanted_files,
};
pub use peer::{LiveParameters, Mode, Peer, PeerRange, SessionParameters};
pub use quorum::{Measure, Quorum};
pub use restart::RestartTime;
pub use transport::{Password, Reach, Secret, Transport};
pub use vip::{Bind, Damping, Dependency, Hold, OnDown, Rung, RungAction, Vip, VipPolicy};
pub use workers::{MAX_EXEC_WORKERS, MAX_WORKERS, Workers};

use crate::prefix::Prefix;

/// Everything an operator can say, checked.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[daemon]`.
    pub daemon: Daemon,
    /// `[bgp]`; `None` when there is no such table: then nothing is announced anywhere.
    pub bgp: Option<Bgp>,
    /// `[gobgp]`.
    pub gobgp: Option<Arc<Gobgp>>,
    /// Every check that something uses, once each: the same probe with the same timing is one check, whoever uses it.
    pub checks: Vec<Check>,
    /// How each of these checks is known again after a restart.
    pub identities: Vec<Arc<str>>,
    /// `[[service]]`, in the order of the files, and then one for each bind of `[glb]`. Names are unique.
    pub services: Vec<Service>,
    /// Every address that a service stands on, with how it is announced (`[[vip]]`, or defaults).
    pub vips: BTreeMap<Prefix, Vip>,
    /// `[[aggregate]]`: prefixes that cover VIPs. None of them is a VIP.
    pub aggregates: BTreeMap<Prefix, Aggregate>,
    /// `[fail_static]`.
    pub fail_static: Option<FailStatic>,
    /// `[[self_check]]`, in the order of the files.
    pub self_checks: Vec<SelfCheck>,
    /// `[glb]`.
    pub glb: Option<Arc<Glb>>,
    /// `[hooks]`.
    pub hooks: Hooks,
    /// Files that the configuration names: the driver looks at them before it takes the configuration.
    pub references: Vec<FileReference>,
    /// What checks and VIPs need that the system may refuse, and the first place that asks for each: the driver looks before it takes
    /// the configuration.
    pub needs: BTreeMap<Need, Position>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Diagnostic>,
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Where `herald status` and the like connect.
    pub control_socket: PathBuf,
    /// Permissions of that socket: whoever may write to it may connect. Who is told anything is decided by their groups.
    pub control_mode: u32,
    /// Whose members may look.
    pub control_group: Arc<str>,
    /// Whose members may look and act, besides root and the user of the daemon.
    pub control_admin_group: Arc<str>,
    /// Where the status page and the metrics are served; nowhere when it is empty.
    pub http_listen: Vec<SocketAddr>,
    /// Threads for checks that talk to others.
    pub workers: Workers,
    /// Threads for those of this host: programs and files.
    pub exec_workers: Workers,
    /// How long the first announcement waits for first verdicts at most.
    pub startup_deadline: Duration,
    /// How long GRACEFUL_SHUTDOWN stands before the withdrawal at a clean stop; zero withdraws at once.
    pub shutdown_drain: Duration,
    /// The same for what an operator drains while the daemon goes on.
    pub drain_time: Duration,
    /// What is remembered across a restart.
    pub state_file: PathBuf,
    /// How old verdicts and holds may be to be gone on from after a restart; zero: none ever.
    pub state_max_age: Duration,
    /// What the daemon says on stderr, where no other level is asked for on start.
    pub log: LogLevel,
}

impl Default for Daemon {
    fn default() -> Daemon {
        Daemon {
            control_socket: PathBuf::from("/run/herald/control.sock"),
            control_mode: 0o666,
            control_group: "herald".into(),
            control_admin_group: "herald-admin".into(),
            http_listen: Vec::new(),
            workers: Workers::Auto,
            exec_workers: Workers::Auto,
            startup_deadline: Duration::from_secs(30),
            shutdown_drain: Duration::from_secs(2),
            drain_time: Duration::from_secs(10),
            state_file: PathBuf::from("/var/lib/herald/state.json"),
            state_max_age: Duration::from_secs(300),
            log: LogLevel::Info,
        }
    }
}

/// `log`: the least important messages that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what is probably wrong.
    Warn,
    /// And every transition of a VIP, service, backend, check or peer.
    Info,
    /// And the steps on the way there: the states of sessions, why a VIP stays as it is.
    Debug,
    /// And everything else.
    Trace,
}

impl LogLevel {
    /// All, the quietest first.
    pub const ALL: [LogLevel; 5] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

    /// As written in configuration.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// `[[service]]`: a port on one or more VIPs, and the backends behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique; the service's identity across reloads.
    pub name: Arc<str>,
    /// Keys of [`Config::vips`]; at least one, no duplicates.
    pub vips: Vec<Prefix>,
    /// Of the traffic to the VIP; only a label and part of the service's uniqueness.
    pub protocol: Protocol,
    /// Of the traffic to the VIP; 1 to 65535. Of several the first.
    pub port: u16,
    /// Of several ports the last; else the one there is.
    pub last_port: u16,
    /// How much of its backends must count.
    pub required: Quorum,
    /// In the order of the file; addresses are unique within the service.
    pub backends: Vec<Backend>,
    /// `disable_file`: the check, by its index into [`Config::checks`], that passes while the service is taken out of use.
    pub disable: Option<usize>,
}

/// The transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// `required`: when a service is up, or an aggregate announced. What is said of backends here goes for members, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// At least so many backends count; 0 is always up.
    Backends(u32),
    /// At least so many percent (0 to 100) of the configured backends count, rounded up.
    Percent(u8),
}

impl Required {
    /// The number of backends out of `configured` that must count.
    pub fn of(self, configured: usize) -> usize {
        usize::try_from(self.of_total(configured as u64)).unwrap_or(usize::MAX)
    }

    /// The same of any amount.
    pub fn of_total(self, total: u64) -> u64 {
        match self {
            Required::Backends(count) => u64::from(count),
            Required::Percent(percent) => total.saturating_mul(u64::from(percent)).div_ceil(100),
        }
    }
}

/// `[[service.backend]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The backend's identity within its service.
    pub address: SocketAddr,
    /// A backend of weight 0 is checked but does not count.
    pub weight: u32,
    /// A disabled backend is checked but does not count.
    pub enabled: bool,
    /// `sorry`: it counts only when no other does.
    pub sorry: bool,
    /// None at all always passes.
    pub checks: Vec<CheckRef>,
    /// How many of them must pass.
    pub combine: Combine,
}

/// A backend's use of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRef {
    /// The check's name under `[checks]`, or its type for one written in place.
    pub name: Arc<str>,
    /// Index into [`Config::checks`].
    pub check: usize,
    /// `advisory`: it runs and reports, but does not count.
    pub advisory: bool,
}

/// `via`: the ways by which routers hear of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// The peers of `[bgp]`.
    pub bgp: bool,
    /// The gobgpd of `[gobgp]`.
    pub gobgp: bool,
}

impl Via {
    /// Sessions of our own alone.
    pub const BGP: Via = Via { bgp: true, gobgp: false };
    /// gobgpd alone.
    pub const GOBGP: Via = Via { bgp: false, gobgp: true };
}

/// `[[aggregate]]`: a prefix that is announced while enough of the VIPs within it are healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Keys of [`Config::vips`], in order; never empty.
    pub members: Vec<Prefix>,
    /// How many members must be announced with their healthy attributes.
    pub required: Required,
    /// Of its route.
    pub attributes: Arc<Attributes>,
    /// Who is told.
    pub via: Via,
}

/// A file that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReference {
    /// Where it is named.
    pub position: Position,
    /// Which file.
    pub path: PathBuf,
    /// What it is for.
    pub role: FileRole,
}

/// What a named file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileRole {
    /// `ca_file`: PEM certificates.
    CertificateAuthority,
    /// `client_certificate`: PEM certificates, our own first.
    ClientCertificate,
    /// `client_key`: a PEM key.
    ClientKey,
    /// The first word of `command`: something that can be executed.
    Command,
    /// `user`: not a file, but who a program runs as; the path is the name.
    User,
    /// `control_group` and `control_admin_group`: not a file, but a group; the path is its name.
    Group,
    /// `password_file`: a secret, for [`Config::give_secrets`].
    Password,
    /// `bearer_token_file`: a secret, for [`Config::give_tokens`].
    BearerToken,
}

/// One finding about the configuration; displays as `FILE:LINE:COL: message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Where.
    pub position: Position,
    /// What, and what was probably meant.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.message)
    }
}

/// A place in a configuration file; displays as `FILE:LINE:COL`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// As it was named when it was opened.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The text of one configuration file.
#[derive(Clone, Debug)]
pub struct Source {
    /// As it shall appear in diagnostics.
    pub name: Arc<str>,
    /// Its content.
    pub text: String,
}

impl Config {
    /// Gives the peers with a `password_file` what is in it.
    pub fn give_secrets(&mut self, secrets: &BTreeMap<PathBuf, Secret>) {
        let Some(bgp) = &mut self.bgp else { return };
        let templates = bgp.ranges.iter_mut().map(|range| &mut Arc::make_mut(range).template);
        for peer in bgp.peers.iter_mut().chain(templates) {
            let file = peer.session.transport.password.as_ref().map(|password| password.file.clone());
            if let Some((file, secret)) = file.and_then(|file| secrets.get_key_value(&file)) {
                let password = Password { file: file.clone(), secret: Some(secret.clone()) };
                Arc::make_mut(peer).session.transport.password = Some(password);
            }
        }
    }

    /// Gives the hooks with a `bearer_token_file` what is in it.
    pub fn give_tokens(&mut self, tokens: &BTreeMap<PathBuf, BearerToken>) {
        for hook in &mut self.hooks.notify {
            if let NotifyTarget::Webhook(webhook) = &mut Arc::make_mut(hook).target
                && let Some(named) = &mut webhook.token
            {
                named.token = tokens.get(&named.file).cloned();
            }
        }
    }

    /// Gives the peers with `advertise_hostname` the name of this host.
    pub fn give_hostname(&mut self, hostname: &str) {
        for peer in self.bgp.iter_mut().flat_map(|bgp| &mut bgp.peers) {
            if peer.session.capabilities.hostname.is_some() {
                Arc::make_mut(peer).session.capabilities.hostname = Some(hostname.into());
            }
        }
    }

    /// The longest time for which the address of a VIP stays on this host after the withdrawal.
    pub fn longest_unbind_delay(&self) -> Duration {
        self.vips.values().filter_map(|vip| vip.bind.as_ref()).map(|bind| bind.delay).max().unwrap_or_default()
    }

    /// The longest time for which some router is asked to keep our routes over a restart.
    pub fn restart_time(&self) -> Option<RestartTime> {
        let peers = self.bgp.iter().flat_map(|bgp| &bgp.peers);
        let templates = self.bgp.iter().flat_map(|bgp| &bgp.ranges).map(|range| &range.template);
        peers.chain(templates).filter_map(|peer| peer.session.graceful_restart).max()
    }
}
