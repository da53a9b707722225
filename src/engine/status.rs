//! What `herald status` shows, taken from the cores at one moment, in the shape of `status --json`.

mod about;
mod count;
mod guard;
mod peer;
mod service;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::aggregate::AggregateLine;
use super::drain::DrainLine;
use super::glb::GlbLine;
use crate::announce::{DrainedBy, Fault, VipCause, VipState};
use crate::bgp::peer::Peer;
use crate::config;
use crate::prefix::Prefix;
use crate::wall::{Timestamp, WallClock};

pub use count::Count;
pub use guard::{GuardLine, SelfCheckLine};
pub(super) use peer::peer_address;
pub use peer::{CallsLine, MessagesLine, PeerLine, RestartLine, peer_line};
pub(super) use service::backend_state;
pub use service::{BackendLine, CheckLine, ServiceLine, service_state};

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
    /// In the order of the configuration, then those that came out of ranges, then the gobgpd of `[gobgp]`.
    pub peers: Vec<PeerLine>,
    /// In the order of their targets.
    pub drains: Vec<DrainLine>,
    /// GLB's forwarding tables; `null` when there are none.
    pub glb: Option<GlbLine>,
    /// The fail-static guard; `null` where nothing raises a doubt.
    #[serde(default)]
    pub guard: Option<GuardLine>,
    /// In the order of the configuration.
    #[serde(default)]
    pub self_checks: Vec<SelfCheckLine>,
    /// What End-of-RIB still waits for after a start; `null` when that is over.
    pub wait: Option<WaitLine>,
    /// Whether the daemon is stopping: nothing is announced anew.
    #[serde(default)]
    pub stopping: bool,
}

/// One VIP.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VipLine {
    /// With its prefix length.
    pub address: String,
    /// `announced`, `degraded`, `withdrawn`, `holding`, `suppressed`, `frozen` or `drained`.
    pub state: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Why, in words.
    pub reason: String,
    /// When that changes by itself: the end of a hold, a suppression or a drain.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// The services on it, by name.
    pub services: Vec<String>,
    /// The peers that have been told the route, by name.
    pub peers: Vec<String>,
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
    /// What else there is to say of the cause: its share, its dependency, the doubt.
    pub about: String,
}

/// A service that keeps a VIP from being announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReason {
    /// As configured.
    pub name: Arc<str>,
    /// What counts of it.
    pub count: Count,
    /// A failing check of a backend that does not count: address, check and what its last run found.
    pub failing: Option<(SocketAddr, Arc<str>, String)>,
}

/// Why a VIP is announced, when there is no more to say.
pub const ALL_UP: &str = "all services are up";

impl Reason {
    /// Whether it is the same for all VIPs with this cause.
    pub(super) fn is_shared(&self) -> bool {
        use VipCause::{Climb, Doubted, Drained, Draining, Ground, Rung, Suppressed};
        !matches!(
            self.cause,
            Draining(DrainedBy::Itself, _)
                | Drained(DrainedBy::Itself)
                | Rung(_)
                | Climb(..)
                | Ground(_)
                | Suppressed(_)
                | Doubted(_, Fault::Rung(_))
        )
    }
}

/// What has been found at this moment, by the services' numbers: many VIPs may be of one service, which may have many checks.
pub(super) type ServiceReasons = BTreeMap<usize, Option<ServiceReason>>;

impl ServiceReason {
    fn new(index: usize, engine: &Engine) -> Option<ServiceReason> {
        let Engine { config, health, .. } = engine;
        let service = config.services.get(index)?;
        let status = health.service(index);
        let failing = service.backends.iter().flat_map(|backend| {
            let failing = |used: &&config::CheckRef| !used.advisory && health.check(used.check).passing == Some(false);
            let check = backend.checks.iter().find(failing)?;
            let probe = config.checks.get(check.check).map(|check| &*check.probe);
            let detail = service::detail(probe, &health.check(check.check));
            Some((backend.address, check.name.clone(), detail))
        });
        Some(ServiceReason {
            name: service.name.clone(),
            count: Count::new(service, status.available, status.required, status.on_sorry),
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
            (VipCause::Doubted(_, Fault::Service(_)), Some(service)) => {
                write!(f, "service {} is down: {service}; {}", service.name, self.about)
            }
            (
                VipCause::DependencyDown(_)
                | VipCause::DependencyUndecided(_)
                | VipCause::Rung(_)
                | VipCause::Climb(..)
                | VipCause::Suppressed(_)
                | VipCause::Doubted(..)
                | VipCause::Ground(_)
                | VipCause::SelfCheck(_),
                _,
            ) => f.write_str(&self.about),
            (VipCause::HoldDown(_), _) => f.write_str("healthy; it has fallen, and waits for hold_down to pass"),
            (VipCause::AllUp, _) => f.write_str(ALL_UP),
            (VipCause::StartUp, _) => f.write_str("healthy; waiting for first verdicts of other VIPs"),
            (VipCause::HoldUp(_), _) => f.write_str("healthy; waiting for hold_up to pass"),
            (VipCause::Stopping, _) => f.write_str("herald is stopping"),
        }
    }
}

impl fmt::Display for ServiceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count)?;
        match &self.failing {
            Some((address, check, detail)) if detail.is_empty() => write!(f, " ({address} fails {check})"),
            Some((address, check, detail)) => write!(f, " ({address} fails {check}: {detail})"),
            None => Ok(()),
        }
    }
}

impl Engine {
    /// Looks up what `cause` means for `vip`.
    pub(super) fn reason(&self, cause: VipCause, vip: &Prefix, known: &mut ServiceReasons) -> Reason {
        let service = match cause {
            VipCause::ServiceDown(service)
            | VipCause::ServiceUndecided(service)
            | VipCause::Doubted(_, Fault::Service(service)) => {
                known.entry(service).or_insert_with(|| ServiceReason::new(service, self)).clone()
            }
            _ => None,
        };
        let drain = match cause {
            VipCause::Draining(by, _) | VipCause::Drained(by) => self.drain_reason(by, vip),
            _ => String::new(),
        };
        Reason { cause, service, drain, about: self.about(cause, vip) }
    }

    /// Everything at one moment; costs O(all).
    pub fn status(&self, clock: &WallClock) -> Status {
        // A reload keeps its peers' ids; people expect the order of the file.
        let by_name: BTreeMap<_, _> = self.speaker.peers().map(|(_, peer)| (&peer.config().name, peer)).collect();
        let in_order = self.config.bgp.iter().flat_map(|bgp| &bgp.peers);
        let in_order = in_order.filter_map(|peer| by_name.get(&peer.name).copied());
        let peers: Vec<&Peer> = in_order.chain(self.speaker.members()).collect();
        let mut known = ServiceReasons::new();
        let vips = self.config.vips.iter();
        Status {
            vips: vips.filter_map(|(vip, entry)| self.vip_line(vip, entry, &peers, &mut known, clock)).collect(),
            aggregates: self.aggregate_lines(&peers, clock),
            services: (0..self.config.services.len()).map(|index| self.service_line(index, clock)).collect(),
            peers: peers.iter().map(|peer| self.peer_line(peer, clock)).chain(self.gobgp_line(clock)).collect(),
            drains: self.drain_lines(),
            glb: self.glb_line(clock),
            guard: self.guard_line(clock),
            self_checks: self.config.self_checks.iter().map(|own| self.self_check_line(own, clock)).collect(),
            wait: self.announce.wait().map(|wait| WaitLine {
                after_restart: self.announce.has_restarted(),
                until: wait.until.map(|at| clock.timestamp(at)),
                undecided: wait.undecided,
                vips: self.announce.undecided().take(WAITING_SHOWN).map(|vip| vip.to_string()).collect(),
            }),
            stopping: self.stopping.is_some(),
        }
    }

    pub(super) fn vip_line(
        &self,
        vip: &Prefix,
        entry: &config::Vip,
        peers: &[&Peer],
        known: &mut ServiceReasons,
        clock: &WallClock,
    ) -> Option<VipLine> {
        let status = self.announce.vip(vip)?;
        Some(VipLine {
            address: vip.to_string(),
            state: vip_state(status.state).to_owned(),
            since: clock.timestamp(status.since),
            reason: match status.cause {
                VipCause::AllUp => self.all_up(entry),
                cause => self.reason(cause, vip, known).to_string(),
            },
            until: status.cause.until().map(|at| clock.timestamp(at)),
            services: entry.services.iter().map(|index| self.config.services[*index].name.to_string()).collect(),
            peers: self.told(vip, peers),
        })
    }
}

/// As `status --json` spells it.
pub fn vip_state(state: VipState) -> &'static str {
    match state {
        VipState::Announced => "announced",
        VipState::Degraded => "degraded",
        VipState::Withdrawn => "withdrawn",
        VipState::Holding => "holding",
        VipState::Suppressed => "suppressed",
        VipState::Frozen => "frozen",
        VipState::Drained => "drained",
    }
}
