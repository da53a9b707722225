//! Peers, as `status --json` shows them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::bgp::cause::Cause;
use crate::bgp::peer::{Peer, PeerStatus, State};
use crate::bgp::tally::Counts;
use crate::config::gobgp::PEER_NAME;
use crate::config::{self, ApiAddress, Asn};
use crate::gobgp;
use crate::prefix::{Family, Prefix};
use crate::wall::{Timestamp, WallClock};

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
    /// Families of VIPs that the router did not offer: it does not get their routes.
    #[serde(default)]
    pub not_offered: Vec<Family>,
    /// Families of VIPs that are not announced for want of a next hop.
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
    /// Connections that were attempted, or taken from the router, since the peer was configured.
    #[serde(default)]
    pub connects: u64,
    /// Messages since then.
    #[serde(default)]
    pub messages: MessagesLine,
    /// Code and subcode of the NOTIFICATION that ended the last session or attempt, whoever sent it; `null` when all is well.
    #[serde(default)]
    pub last_error_code: Option<(u8, u8)>,
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
    /// Calls of gobgpd's API since the start; only of `[gobgp]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<CallsLine>,
}

/// Messages by type: `open`, `update`, `notification`, `keepalive` and `route_refresh`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MessagesLine {
    /// Handed to TCP.
    pub sent: BTreeMap<String, u64>,
    /// Whole and well-formed.
    pub received: BTreeMap<String, u64>,
}

/// Calls of gobgpd's API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallsLine {
    /// Made.
    pub made: u64,
    /// Answered with something else than OK.
    pub failed: u64,
    /// Routes that were announced by them.
    pub announced: u64,
    /// Routes that were withdrawn.
    pub withdrawn: u64,
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

impl Engine {
    /// Those who have been told this route, by name.
    pub(in crate::engine) fn told(&self, prefix: &Prefix, peers: &[&Peer]) -> Vec<String> {
        let told = peers.iter().filter(|peer| peer.has_advertised(prefix)).map(|peer| peer.config().name.to_string());
        told.chain(self.gobgp.has_advertised(prefix).then(|| PEER_NAME.to_owned())).collect()
    }

    /// Whether there are VIPs of this family: in their order IPv4 is before IPv6.
    pub(in crate::engine) fn has_routes_of(&self, family: Family) -> bool {
        let vips = &self.config.vips;
        [vips.keys().next(), vips.keys().next_back()].into_iter().flatten().any(|vip| vip.family() == family)
    }

    /// gobgpd as one more peer.
    pub(super) fn gobgp_line(&self, clock: &WallClock) -> Option<PeerLine> {
        let config = self.config.gobgp.as_ref()?;
        let status = self.gobgp.status();
        let (port, address) = match &config.api {
            ApiAddress::Tcp(address) => (address.port(), address.ip().to_string()),
            ApiAddress::Unix(_) => (0, config.api.to_string()),
        };
        // As those of a session (RFC 4271 §8.2.2), with what they stand for in words.
        let (state, reason) = match status.state {
            gobgp::State::Idle => ("idle", None),
            gobgp::State::Connect => ("connect", None),
            gobgp::State::Asking => ("opensent", Some("asking which API it serves")),
            gobgp::State::Waiting => ("openconfirm", Some("waiting for gobgpd to be configured")),
            gobgp::State::Listing => ("openconfirm", Some("asking which of our routes it has")),
            gobgp::State::Established => ("established", None),
        };
        let local_as = status.asn.or(self.config.bgp.as_ref().map(|bgp| bgp.local_as)).unwrap_or(Asn(0));
        let refused = status.first_refused.map(|(prefix, cause)| {
            format!("refuses {}, {prefix} for one: {cause}", count(status.refused, "route", "routes"))
        });
        Some(PeerLine {
            name: PEER_NAME.to_owned(),
            address,
            port,
            mode: "active".to_owned(),
            state: state.to_owned(),
            drained: status.drained,
            reason: reason.map(str::to_owned).or(refused),
            since: clock.timestamp(status.since.unwrap_or(self.now)),
            advertised: Family::ALL.into_iter().zip(status.advertised).collect(),
            families: Family::ALL.to_vec(),
            last_error: status.last_error.map(|cause| cause.to_string()),
            last_error_at: status.last_error_at.map(|at| clock.timestamp(at)),
            retry_at: status.retry_at.map(|at| clock.timestamp(at)),
            established_count: status.established_count,
            connects: 0,
            messages: MessagesLine::default(),
            last_error_code: None,
            local_as,
            remote_as: status.asn,
            remote_id: status.router_id,
            remote_software: status.api.map(|api| format!("GoBGP {api}")),
            extended_next_hop: false,
            graceful_restart: None,
            not_offered: Vec::new(),
            without_next_hop: Vec::new(),
            last_notification: None,
            last_notification_at: None,
            capabilities: Vec::new(),
            left_out: Vec::new(),
            remote_hostname: None,
            hold_time_s: None,
            local_address: None,
            calls: Some(CallsLine {
                made: status.calls.made,
                failed: status.calls.failed,
                announced: status.calls.announced,
                withdrawn: status.calls.withdrawn,
            }),
        })
    }

    pub(super) fn peer_line(&self, peer: &Peer, clock: &WallClock) -> PeerLine {
        let config = peer.config();
        let mut line = peer_line(config, peer.status(), clock);
        // What there is none of is missed by nobody.
        line.not_offered.retain(|family| self.has_routes_of(*family));
        line.without_next_hop.retain(|family| self.has_routes_of(*family));
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
        not_offered: status.not_offered,
        without_next_hop: status.without_next_hop,
        last_error: status.last_error.as_ref().map(ToString::to_string),
        last_error_at: status.last_error_at.map(|at| clock.timestamp(at)),
        last_notification: status.last_notification.map(|cause| cause.to_string()),
        last_notification_at: status.last_notification_at.map(|at| clock.timestamp(at)),
        retry_at: status.retry_at.map(|at| clock.timestamp(at)),
        established_count: status.established_count,
        connects: status.tally.connects,
        messages: MessagesLine { sent: counts(&status.tally.sent), received: counts(&status.tally.received) },
        last_error_code: status.last_error.as_ref().and_then(Cause::notification).map(|it| (it.code, it.subcode)),
        local_as: config.session.local_as,
        remote_as: status.remote_as,
        remote_id: status.remote_id,
        capabilities: status.capabilities.iter().map(ToString::to_string).collect(),
        left_out: status.left_out.iter().map(ToString::to_string).collect(),
        remote_software: status.remote_software,
        remote_hostname: status.remote_hostname,
        hold_time_s: status.hold_time.map(config::HoldTime::as_secs),
        local_address: status.local_address,
        calls: None,
    }
}

fn counts(counts: &Counts) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| (name.to_owned(), count)).collect()
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
pub(in crate::engine) fn peer_address(config: &config::Peer) -> String {
    match &config.session.zone {
        Some(interface) if config.session.address_is_unknown() => interface.clone(),
        Some(zone) => format!("{}%{zone}", config.session.address),
        None => config.session.address.to_string(),
    }
}

fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
