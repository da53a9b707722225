//! What `herald status` shows, taken from the cores at one moment, in the shape of `status --json`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::aggregate::AggregateLine;
use super::drain::DrainLine;
use super::glb::GlbLine;
use crate::announce::{DrainedBy, VipCause, VipState};
use crate::bgp::peer::{Peer, PeerStatus, State};
use crate::config::{self, Backend, Config};
use crate::health::{BackendStatus, Health, ServiceState};
use crate::prefix::{Family, Prefix};
use crate::wall::{Timestamp, WallClock};

/// VIPs without a verdict that are named.
const WAITING_SHOWN: usize = 10;

/// Everything at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// In the order of their addresses.
    pub vips: Vec<VipLine>,
    /// In the order of their addresses.
    pub aggregates: Vec<AggregateLine>,
    /// In the order of the configuration.
    pub services: Vec<ServiceLine>,
    /// In the order of the configuration, and then those that came out of ranges.
    pub peers: Vec<PeerLine>,
    /// In the order of their targets.
    pub drains: Vec<DrainLine>,
    /// GLB's forwarding tables; `null` when there are none.
    pub glb: Option<GlbLine>,
    /// What End-of-RIB still waits for after a start; `null` when that is over.
    pub wait: Option<WaitLine>,
}

/// One VIP.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VipLine {
    /// With its prefix length.
    pub address: String,
    /// `announced`, `degraded`, `withdrawn`, `holding` or `drained`.
    pub state: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Why, in words.
    pub reason: String,
    /// The services on it, by name.
    pub services: Vec<String>,
    /// The peers that have been told the route, by name.
    pub peers: Vec<String>,
}

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceLine {
    /// As configured.
    pub name: String,
    /// Whether enough backends count.
    pub up: bool,
    /// `up`, `down`, `drained`, or `undecided` before the first verdicts.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
    /// Backends that count.
    pub available: usize,
    /// Backends that must count.
    pub required: usize,
    /// In the order of the configuration.
    pub backends: Vec<BackendLine>,
}

/// One backend of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendLine {
    /// Address and port.
    pub address: String,
    /// `up`, `down`, `undecided`, `drained` or `disabled`.
    pub state: String,
    /// Since when it passes or fails its checks.
    pub since: Timestamp,
    /// A backend of weight 0 does not count.
    pub weight: u32,
    /// In the order of the configuration.
    pub checks: Vec<CheckLine>,
}

/// One check of a backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckLine {
    /// Its name under `[checks]`, or its type.
    pub name: String,
    /// `passing`, `failing` or `undecided`.
    pub verdict: String,
    /// Since when; `null` while undecided.
    pub since: Option<Timestamp>,
    /// What the last run found, in words; empty before the first.
    pub detail: String,
    /// How long the last run took, in microseconds.
    pub took_us: u64,
    /// Last runs in a row that contradict the verdict.
    pub streak: u32,
}

/// One peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerLine {
    /// As configured.
    pub name: String,
    /// As configured, with its zone.
    pub address: String,
    /// The TCP port.
    pub port: u16,
    /// `active`, `passive` or `both`: which of the two connects.
    pub mode: String,
    /// Of RFC 4271 §8.2.2, in lower case.
    pub state: String,
    /// Whether an operator has drained it: it is told no routes.
    pub drained: bool,
    /// What it waits for, in words; `null` when it waits for nothing that is the router's to do.
    pub reason: Option<String>,
    /// Since when it is established, or since when it is not.
    pub since: Timestamp,
    /// Routes that the peer has been told of, by family.
    pub advertised: BTreeMap<Family, usize>,
    /// Families in use on the session.
    pub families: Vec<Family>,
    /// IPv4 routes may have an IPv6 next hop on the session (RFC 8950).
    pub extended_next_hop: bool,
    /// What the peer said of graceful restart; `null` unless it keeps our routes over a restart (RFC 4724).
    pub graceful_restart: Option<RestartLine>,
    /// Families not announced for want of a next hop.
    pub without_next_hop: Vec<Family>,
    /// Why the last session ended or the last attempt failed; `null` when all is well.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
    /// The last NOTIFICATION, received or sent, with its text (RFC 9003); kept until a session is up, whatever else fails.
    pub last_notification: Option<String>,
    /// When that was.
    pub last_notification_at: Option<Timestamp>,
    /// When the next attempt to connect is due.
    pub retry_at: Option<Timestamp>,
    /// How often the session was established.
    pub established_count: u64,
    /// Our AS.
    pub local_as: config::Asn,
    /// The AS that the peer said it is.
    pub remote_as: Option<config::Asn>,
    /// The peer's BGP Identifier.
    pub remote_id: Option<Ipv4Addr>,
    /// What the peer says that it can do, in the words of `herald listen`.
    pub capabilities: Vec<String>,
    /// What is left out of our OPEN because the peer refuses it.
    pub left_out: Vec<String>,
    /// What the peer says that it is.
    pub remote_software: Option<String>,
    /// What the peer says that it is called.
    pub remote_hostname: Option<String>,
    /// Negotiated, in seconds; 0 is none.
    pub hold_time_s: Option<u16>,
    /// Our address on the session.
    pub local_address: Option<IpAddr>,
}

/// Graceful restart with one peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestartLine {
    /// How long it was asked to keep our routes, in seconds.
    pub restart_time_s: u16,
    /// It keeps them after a NOTIFICATION too, unless that is a Hard Reset (RFC 8538).
    pub notification: bool,
    /// It had itself restarted before this session.
    pub peer_restarted: bool,
    /// How long its own restarts take, in seconds.
    pub peer_restart_time_s: u16,
}

/// The wait for first verdicts after a start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitLine {
    /// Routers may keep what was announced before a restart, until it is over (RFC 4724).
    pub after_restart: bool,
    /// When it is over, whatever is missing then.
    pub until: Option<Timestamp>,
    /// VIPs without a verdict.
    pub undecided: usize,
    /// The first of them.
    pub vips: Vec<String>,
}

/// Why a VIP is as it is, with the names and numbers that people need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The cause as the announcing core knows it.
    pub cause: VipCause,
    /// The service that it names.
    pub service: Option<ServiceReason>,
    /// What an operator drains, in words.
    pub drain: String,
}

/// A service that keeps a VIP from being announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReason {
    /// As configured.
    pub name: Arc<str>,
    /// Backends that count.
    pub available: usize,
    /// Backends that must count.
    pub required: usize,
    /// All of its backends.
    pub backends: usize,
    /// A failing check of a backend that does not count: address, check and what its last run found.
    pub failing: Option<(SocketAddr, Arc<str>, String)>,
}

impl Reason {
    /// Whether it is the same for all VIPs with this cause.
    pub(super) fn is_shared(&self) -> bool {
        !matches!(self.cause, VipCause::Draining(DrainedBy::Itself, _) | VipCause::Drained(DrainedBy::Itself))
    }
}

impl ServiceReason {
    fn new(index: usize, config: &Config, health: &Health) -> Option<ServiceReason> {
        let service = config.services.get(index)?;
        let status = health.service(index);
        let failing = service.backends.iter().flat_map(|backend| {
            let failing = |check: &&config::CheckRef| health.check(check.check).passing == Some(false);
            let check = backend.checks.iter().find(failing)?;
            let detail = health.check(check.check).last.map(|last| last.detail.into_owned()).unwrap_or_default();
            Some((backend.address, check.name.clone(), detail))
        });
        Some(ServiceReason {
            name: service.name.clone(),
            available: status.available,
            required: status.required,
            backends: service.backends.len(),
            failing: failing.into_iter().next(),
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cause, &self.service) {
            (VipCause::ServiceDown(_), Some(service)) => write!(f, "service {} is down: {service}", service.name),
            (VipCause::ServiceUndecided(_), Some(service)) => {
                write!(f, "waiting for first verdicts of service {}", service.name)
            }
            (VipCause::ServiceDown(_), None) => f.write_str("a service is down"),
            (VipCause::ServiceUndecided(_), None) => f.write_str("waiting for first verdicts"),
            (VipCause::Draining(..) | VipCause::Drained(_), _) => f.write_str(&self.drain),
            (VipCause::AllUp, _) => f.write_str("all services are up"),
            (VipCause::StartUp, _) => f.write_str("healthy; waiting for first verdicts of other VIPs"),
            (VipCause::HoldUp(_), _) => f.write_str("healthy; waiting for hold_up to pass"),
            (VipCause::Stopping, _) => f.write_str("herald is stopping"),
        }
    }
}

impl fmt::Display for ServiceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServiceReason { available, required, backends, .. } = self;
        write!(f, "{available} of {backends} backends available, {required} required")?;
        match &self.failing {
            Some((address, check, detail)) if detail.is_empty() => write!(f, " ({address} fails {check})"),
            Some((address, check, detail)) => write!(f, " ({address} fails {check}: {detail})"),
            None => Ok(()),
        }
    }
}

impl Engine {
    /// Looks up what `cause` means for `vip`.
    pub(super) fn reason(&self, cause: VipCause, vip: &Prefix) -> Reason {
        let service = match cause {
            VipCause::ServiceDown(service) | VipCause::ServiceUndecided(service) => {
                ServiceReason::new(service, &self.config, &self.health)
            }
            _ => None,
        };
        let drain = match cause {
            VipCause::Draining(by, _) | VipCause::Drained(by) => self.drain_reason(by, vip),
            _ => String::new(),
        };
        Reason { cause, service, drain }
    }

    /// Everything at one moment; costs O(all).
    pub fn status(&self, clock: &WallClock) -> Status {
        // A reload keeps its peers' ids; people expect the order of the file.
        let by_name: BTreeMap<_, _> = self.speaker.peers().map(|(_, peer)| (&peer.config().name, peer)).collect();
        let in_order = self.config.bgp.iter().flat_map(|bgp| &bgp.peers);
        let in_order = in_order.filter_map(|peer| by_name.get(&peer.name).copied());
        let peers: Vec<&Peer> = in_order.chain(self.speaker.members()).collect();
        Status {
            vips: self.config.vips.iter().filter_map(|(vip, entry)| self.vip_line(vip, entry, &peers, clock)).collect(),
            aggregates: self.aggregate_lines(&peers, clock),
            services: (0..self.config.services.len()).map(|index| self.service_line(index, clock)).collect(),
            peers: peers.iter().map(|peer| self.peer_line(peer, clock)).collect(),
            drains: self.drain_lines(),
            glb: self.glb_line(clock),
            wait: self.announce.wait().map(|wait| WaitLine {
                after_restart: self.announce.has_restarted(),
                until: wait.until.map(|at| clock.timestamp(at)),
                undecided: wait.undecided,
                vips: self.announce.undecided().take(WAITING_SHOWN).map(|vip| vip.to_string()).collect(),
            }),
        }
    }

    fn vip_line(&self, vip: &Prefix, entry: &config::Vip, peers: &[&Peer], clock: &WallClock) -> Option<VipLine> {
        let status = self.announce.vip(vip)?;
        let told = peers.iter().filter(|peer| peer.has_advertised(vip));
        Some(VipLine {
            address: vip.to_string(),
            state: vip_state(status.state).to_owned(),
            since: clock.timestamp(status.since),
            reason: self.reason(status.cause, vip).to_string(),
            services: entry.services.iter().map(|index| self.config.services[*index].name.to_string()).collect(),
            peers: told.map(|peer| peer.config().name.to_string()).collect(),
        })
    }

    fn service_line(&self, index: usize, clock: &WallClock) -> ServiceLine {
        let service = &self.config.services[index];
        let status = self.health.service(index);
        let backends = service.backends.iter().zip(&status.backends);
        ServiceLine {
            name: service.name.to_string(),
            up: status.state == ServiceState::Up,
            state: service_state(status.state).to_owned(),
            since: clock.timestamp(status.since),
            available: status.available,
            required: status.required,
            backends: backends.map(|(backend, status)| self.backend_line(backend, status, clock)).collect(),
        }
    }

    fn backend_line(&self, backend: &Backend, status: &BackendStatus, clock: &WallClock) -> BackendLine {
        let state = match status {
            _ if !backend.enabled => "disabled",
            BackendStatus { drained: true, .. } => "drained",
            BackendStatus { up: true, .. } => "up",
            BackendStatus { decided: false, .. } => "undecided",
            BackendStatus { .. } => "down",
        };
        BackendLine {
            address: backend.address.to_string(),
            state: state.to_owned(),
            since: clock.timestamp(status.since),
            weight: backend.weight,
            checks: backend.checks.iter().map(|check| self.check_line(check, clock)).collect(),
        }
    }

    fn check_line(&self, check: &config::CheckRef, clock: &WallClock) -> CheckLine {
        let status = self.health.check(check.check);
        let verdict = match status.passing {
            Some(true) => "passing",
            Some(false) => "failing",
            None => "undecided",
        };
        let took = status.last.as_ref().map(|last| last.took).unwrap_or_default();
        CheckLine {
            name: check.name.to_string(),
            verdict: verdict.to_owned(),
            since: status.since.map(|at| clock.timestamp(at)),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            detail: status.last.map(|last| last.detail.into_owned()).unwrap_or_default(),
            streak: status.streak,
        }
    }

    fn peer_line(&self, peer: &Peer, clock: &WallClock) -> PeerLine {
        let config = peer.config();
        let line = peer_line(config, peer.status(), clock);
        // Without its interface a router cannot be found.
        let interface = config.session.unnumbered_interface().filter(|_| config.session.address_is_unknown());
        match interface.and_then(|interface| Some((interface, self.discovery.error(interface)?))) {
            Some((interface, error)) => PeerLine { reason: Some(format!("interface {interface}: {error}")), ..line },
            None => line,
        }
    }
}

/// A peer with its configuration, as `status --json` shows it.
pub fn peer_line(config: &config::Peer, status: PeerStatus, clock: &WallClock) -> PeerLine {
    PeerLine {
        name: config.name.to_string(),
        address: peer_address(config),
        port: config.session.port,
        mode: config.session.mode.name().to_owned(),
        state: status.state.name().to_owned(),
        drained: status.drained,
        reason: waiting_for(config, status.state),
        since: clock.timestamp(status.since),
        advertised: Family::ALL.into_iter().zip(status.advertised).collect(),
        families: status.families,
        extended_next_hop: status.extended_next_hop,
        graceful_restart: status.graceful_restart.map(|restart| RestartLine {
            restart_time_s: config.session.graceful_restart.map_or(0, config::RestartTime::as_secs),
            notification: restart.notification,
            peer_restarted: restart.restarting,
            peer_restart_time_s: restart.restart_time,
        }),
        without_next_hop: status.without_next_hop,
        last_error: status.last_error.map(|cause| cause.to_string()),
        last_error_at: status.last_error_at.map(|at| clock.timestamp(at)),
        last_notification: status.last_notification.map(|cause| cause.to_string()),
        last_notification_at: status.last_notification_at.map(|at| clock.timestamp(at)),
        retry_at: status.retry_at.map(|at| clock.timestamp(at)),
        established_count: status.established_count,
        local_as: config.session.local_as,
        remote_as: status.remote_as,
        remote_id: status.remote_id,
        capabilities: status.capabilities.iter().map(ToString::to_string).collect(),
        left_out: status.left_out.iter().map(ToString::to_string).collect(),
        remote_software: status.remote_software,
        remote_hostname: status.remote_hostname,
        hold_time_s: status.hold_time.map(config::HoldTime::as_secs),
        local_address: status.local_address,
    }
}

fn waiting_for(config: &config::Peer, state: State) -> Option<String> {
    match (state, config.session.unnumbered_interface()) {
        (State::Idle | State::Active, Some(interface)) if config.session.address_is_unknown() => {
            Some(format!("waiting for a router to advertise itself on {interface}"))
        }
        (State::Active, _) => Some("waiting for the router to connect".to_owned()),
        _ => None,
    }
}

/// As configured, with its zone.
pub(super) fn peer_address(config: &config::Peer) -> String {
    match &config.session.zone {
        Some(interface) if config.session.address_is_unknown() => interface.clone(),
        Some(zone) => format!("{}%{zone}", config.session.address),
        None => config.session.address.to_string(),
    }
}

/// As `status --json` spells it.
pub fn vip_state(state: VipState) -> &'static str {
    match state {
        VipState::Announced => "announced",
        VipState::Degraded => "degraded",
        VipState::Withdrawn => "withdrawn",
        VipState::Holding => "holding",
        VipState::Drained => "drained",
    }
}

/// As `status --json` spells it.
pub fn service_state(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Undecided => "undecided",
        ServiceState::Up => "up",
        ServiceState::Down => "down",
        ServiceState::Drained => "drained",
    }
}
