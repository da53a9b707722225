//! What is allowed but probably not meant.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::findings::{Findings, Place};
use super::passive::can_be_reached;
use super::services::Scope;
use super::{aggregate, daemon, gobgp, peer, service, vip};
use crate::config::{
    Attributes, Backend, Bgp, Config, Gobgp, MAX_WORKERS, Measure, NextHop4, NextHop6, OnDown, Peer, Relation, Service,
    Via, Workers,
};
use crate::prefix::{Family, Prefix};

/// Where the warnings point.
pub(super) struct Places {
    pub(super) daemon: daemon::Places,
    pub(super) peers: peer::Places,
    pub(super) gobgp: gobgp::Places,
    pub(super) services: service::Places,
    pub(super) vips: vip::Places,
    pub(super) aggregates: aggregate::Places,
}

pub(super) fn look(config: &Config, places: &Places, scope: Scope, findings: &mut Findings) {
    look_at_workers(config, places, findings);
    for (service, place) in config.services.iter().zip(&places.services.services) {
        look_at_service(service, *place, findings);
    }
    if config.services.is_empty() {
        let top = Place { file: 0, offset: 0 };
        findings.warning(top, "there is no [[service]]: no VIP will be announced");
    }
    if let Some((gobgp, place)) = config.gobgp.as_ref().zip(places.gobgp) {
        look_at_gobgp(gobgp, place, findings);
    }
    if scope == Scope::Daemon {
        look_at_ways(config, places, findings);
    }
    if let Some(bgp) = &config.bgp {
        look_at_peers(bgp, config, places, findings);
    }
    if config.gobgp.is_some() || config.bgp.as_ref().is_some_and(has_peers) {
        look_at_vips(config, places, findings);
    }
    look_at_bound(config, places, findings);
}

/// Whether there is anybody to announce to.
fn look_at_ways(config: &Config, places: &Places, findings: &mut Findings) {
    let top = Place { file: 0, offset: 0 };
    match &config.bgp {
        None if config.gobgp.is_none() => {
            findings.warning(top, "there is no [bgp]: nothing will be announced to anybody");
        }
        Some(bgp) if !has_peers(bgp) && config.gobgp.is_none() => {
            let place = places.peers.bgp.unwrap_or(top);
            findings.warning(place, "there is no [[bgp.peer]]: nothing will be announced to anybody");
        }
        _ => {}
    }
}

fn has_peers(bgp: &Bgp) -> bool {
    !bgp.peers.is_empty() || !bgp.ranges.is_empty()
}

/// Its API knows no password: who reaches it can do everything.
fn look_at_gobgp(gobgp: &Gobgp, place: Place, findings: &mut Findings) {
    if !gobgp::is_local(&gobgp.api) {
        let message = format!(
            "`api`: {} is not an address of this machine alone: the API of gobgpd has neither passwords nor encryption, \
             and whoever reaches it can announce anything",
            gobgp.api
        );
        findings.warning(place, message);
    }
}

fn look_at_peers(bgp: &Bgp, config: &Config, places: &Places, findings: &mut Findings) {
    if !has_peers(bgp) {
        return;
    }
    for (peer, place) in peers(bgp).zip(places.peers.peers.iter().chain(&places.peers.ranges)) {
        look_at_next_hops(peer, *place, config, findings);
        look_at_mode(peer, *place, bgp, findings);
        look_at_addresses(peer, *place, config, findings);
    }
    if let (false, false, Some(place)) =
        (bgp.listen.is_empty(), peers(bgp).any(|peer| peer.session.mode.accepts()), places.peers.bgp)
    {
        findings.warning(place, "`listen` is of no use: no peer has `mode = \"passive\"` or \"both\"");
    }
    look_at_restart(config, places, findings);
}

/// Routers drop what they kept when the restart time is over, unless End-of-RIB has come; and that waits for the start-up.
fn look_at_restart(config: &Config, places: &Places, findings: &mut Findings) {
    let (Some(restart_time), deadline) = (config.restart_time(), config.daemon.startup_deadline) else { return };
    if deadline >= restart_time.duration() {
        let message = format!(
            "`startup_deadline` ({}) is not below `restart_time` ({}): routers may drop the routes that they keep over a \
             restart before all VIPs have their first verdicts",
            humantime::format_duration(deadline),
            humantime::format_duration(restart_time.duration()),
        );
        findings.warning(places.daemon.startup_deadline, message);
    }
}

fn look_at_workers(config: &Config, places: &Places, findings: &mut Findings) {
    let demand = config.worker_demand();
    let (workers, why) = match config.daemon.workers {
        Workers::Auto => (MAX_WORKERS, "the largest pool"),
        Workers::Fixed(count) => (count, "`workers`"),
    };
    if demand > workers {
        let covered = workers * 100 / demand;
        let message = format!(
            "{demand} workers would be busy if every check timed out at once, but {why} is {workers}: \
             it covers {covered} % of that, and beyond it checks run late"
        );
        findings.warning(places.daemon.workers, message);
    }
}

fn look_at_service(service: &Service, place: Place, findings: &mut Findings) {
    let configured = service.backends.len();
    let (able, required) = reach(service);
    let name = &service.name;
    if ["all", "peer"].contains(&&**name) || name.parse::<Prefix>().is_ok() {
        let message =
            format!("`herald drain` takes `{name}` for something else than this service: give it another name");
        findings.warning(place, message);
    }
    if configured == 0 {
        let outcome = if required == 0 { "up" } else { "down" };
        findings.warning(place, format!("service `{name}` has no backends: it is always {outcome}"));
    } else if required > able {
        let what = match service.required.measure {
            Measure::Backends => format!("{required} backends, but only {able}"),
            Measure::Weight => format!("a weight of {required}, but only {able} of it"),
        };
        findings.warning(place, format!("service `{name}` requires {what} can count: it is always down"));
    }
}

/// How much of a service can count, and how much must for it to come up, without those that stand in for others.
fn reach(service: &Service) -> (u64, u64) {
    let of = |backend: &Backend| match service.required.measure {
        Measure::Backends => 1,
        Measure::Weight => u64::from(backend.weight),
    };
    let regular = || service.backends.iter().filter(|backend| !backend.sorry);
    let able = regular().filter(|backend| backend.enabled && backend.weight > 0).map(of).sum();
    (able, service.required.up.of_total(regular().map(of).sum()))
}

/// Whether the peer is to be told of any VIP or aggregate of this family.
fn wants(peer: &Peer, family: Family, config: &Config) -> bool {
    let vips = config.vips.iter().map(|(prefix, vip)| (prefix, vip.via));
    let mut told = vips.chain(config.aggregates.iter().map(|(prefix, aggregate)| (prefix, aggregate.via)));
    told.any(|(prefix, via)| via.bgp && prefix.family() == family && may_be_told(peer, prefix))
}

fn look_at_addresses(peer: &Peer, place: Place, config: &Config, findings: &mut Findings) {
    let (name, address) = (&peer.name, peer.session.address);
    if config.vips.contains_key(&Prefix::host(address)) {
        findings.warning(place, format!("peer `{name}`: its address {address} is a VIP, too"));
    }
    // Who is told of it would send to itself: some routers drop the route, some end the session for it.
    let ipv4 = match peer.live.next_hop_ipv4 {
        NextHop4::Address(next_hop) if next_hop.is_loopback() => Some(IpAddr::V4(next_hop)),
        _ => None,
    };
    let ipv6 = match peer.live.next_hop_ipv6 {
        NextHop6::Address(next_hop) | NextHop6::Pair(next_hop, _) if next_hop.is_loopback() => {
            Some(IpAddr::V6(next_hop))
        }
        _ => None,
    };
    for next_hop in [ipv4, ipv6].into_iter().flatten().filter(|_| !address.is_loopback()) {
        let message =
            format!("peer `{name}`: the next hop {next_hop} is a loopback address, which a router does not take");
        findings.warning(place, message);
    }
}

/// A route needs a next hop of its family, and the session's own address is not always one.
fn look_at_next_hops(peer: &Peer, place: Place, config: &Config, findings: &mut Findings) {
    let (name, transport) = (&peer.name, Family::of(peer.session.address));
    // Those of IPv6 do for IPv4 too, unless there is none either (RFC 8950).
    let extended = peer.session.extended_next_hop
        && (peer.session.zone.is_none() || !peer.is_internal() || peer.live.next_hop_ipv6 != NextHop6::SelfAddress);
    let is_self = peer.live.next_hop_ipv4 == NextHop4::SelfAddress;
    if is_self && transport == Family::Ipv6 && !extended && wants(peer, Family::Ipv4, config) {
        let message = format!(
            "peer `{name}`: IPv4 VIPs will not be announced to it, because the session runs over IPv6 \
             and `next_hop_ipv4` is not set to an address"
        );
        findings.warning(place, message);
    }
    let why = match (transport, peer.session.zone.is_some()) {
        (Family::Ipv4, _) => "runs over IPv4",
        (Family::Ipv6, true) if peer.is_internal() => "runs over link-local addresses",
        (Family::Ipv6, _) => return,
    };
    if peer.live.next_hop_ipv6 == NextHop6::SelfAddress && wants(peer, Family::Ipv6, config) {
        let message = format!(
            "peer `{name}`: IPv6 VIPs will not be announced to it, because the session {why} \
             and `next_hop_ipv6` is not set to an address"
        );
        findings.warning(place, message);
    }
}

/// All peers, with one for each range.
fn peers(bgp: &Bgp) -> impl Iterator<Item = &Peer> {
    bgp.peers.iter().chain(bgp.ranges.iter().map(|range| &range.template)).map(AsRef::as_ref)
}

fn look_at_mode(peer: &Peer, place: Place, bgp: &Bgp, findings: &mut Findings) {
    if peer.session.mode.accepts() && !can_be_reached(peer, &bgp.listen) {
        let (name, mode, family) = (&peer.name, peer.session.mode.name(), Family::of(peer.session.address));
        let message = format!(
            "peer `{name}` is to connect to us (`mode = \"{mode}\"`), but no address in `listen` of [bgp] is there for it: \
             it connects over {family}"
        );
        findings.warning(place, message);
    }
}

fn look_at_vips(config: &Config, places: &Places, findings: &mut Findings) {
    let is_told = |prefix: &Prefix, via: Via| {
        let by_bgp = |bgp| peers(bgp).any(|peer| may_be_told(peer, prefix));
        (via.bgp && config.bgp.as_ref().is_some_and(by_bgp))
            || (via.gobgp && config.gobgp.as_ref().is_some_and(|gobgp| gobgp.live.export.allows(prefix)))
    };
    let untold = config.vips.iter().filter(|(vip, entry)| !is_told(vip, entry.via));
    for (vip, place) in untold.filter_map(|(vip, _)| places.vips.vips.get(vip).map(|place| (vip, place))) {
        let message = format!("VIP `{vip}` will not be announced: `export` or `families` of every peer rules it out");
        findings.warning(*place, message);
    }
    let local = config.vips.keys().filter(|vip| vip.address().is_loopback());
    for (vip, place) in local.filter_map(|vip| places.vips.vips.get(vip).map(|place| (vip, place))) {
        findings.warning(*place, format!("VIP `{vip}` is of a loopback address, which routers do not take"));
    }
    let untold = config.aggregates.iter().filter(|(prefix, entry)| !is_told(prefix, entry.via));
    for (prefix, place) in
        untold.filter_map(|(prefix, _)| places.aggregates.aggregates.get(prefix).map(|place| (prefix, place)))
    {
        let message =
            format!("aggregate `{prefix}` will not be announced: `export` or `families` of every peer rules it out");
        findings.warning(*place, message);
    }
    if let Some(bgp) = config.bgp.as_ref().filter(|bgp| has_peers(bgp)) {
        look_at_degraded(bgp, config, places, findings);
    }
}

/// A backend that is the VIP itself answers once its address is there, and with `bind` that is once it answers.
fn look_at_bound(config: &Config, places: &Places, findings: &mut Findings) {
    let bound = config.vips.iter().filter(|(_, vip)| vip.bind.is_some() && vip.on_down == OnDown::Withdraw);
    for (prefix, vip) in bound {
        let is_itself = |backend: &&Backend| Prefix::host(backend.address.ip()) == *prefix;
        let asks_itself = |backend: &&Backend| {
            let counting = backend.checks.iter().filter(|used| !used.advisory);
            let mut probes = counting.filter_map(|used| config.checks.get(used.check)).map(|check| &check.probe);
            probes.any(|probe| Prefix::host(probe.target.ip()) == *prefix)
        };
        for service in vip.services.iter().filter_map(|index| config.services.get(*index)) {
            let mut backends = service.backends.iter().filter(is_itself).filter(asks_itself);
            if let (Some(backend), Some(place)) = (backends.next(), places.vips.vips.get(prefix)) {
                let message = format!(
                    "VIP `{prefix}` has `bind`, and service `{}` checks it at its own address {}, which is there only once the \
                     check has passed: check the server at another address, or leave out `bind`",
                    service.name, backend.address
                );
                findings.warning(*place, message);
            }
        }
    }
}

/// Whether nothing rules out that the peer is told of it.
fn may_be_told(peer: &Peer, prefix: &Prefix) -> bool {
    peer.session.families.contains(&prefix.family()) && peer.live.export.allows(prefix)
}

fn look_at_degraded(bgp: &Bgp, config: &Config, places: &Places, findings: &mut Findings) {
    for (prefix, place) in &places.vips.degraded {
        let Some(vip) = config.vips.get(prefix) else { continue };
        let OnDown::Degrade(degraded) = &vip.on_down else { continue };
        let told = peers(bgp).filter(|peer| vip.via.bgp && may_be_told(peer, prefix));
        let same: Vec<String> = told
            .filter(|peer| is_same_to(peer, &vip.attributes, degraded))
            .map(|peer| format!("`{}`", peer.name))
            .collect();
        if !same.is_empty() {
            let message = format!(
                "`degraded` changes nothing for {}: what it sets is told anyway, or is not told (`as_path_prepend` goes to \
                 external peers only, `local_pref` to internal ones)",
                same.join(", ")
            );
            findings.warning(*place, message);
        }
    }
    // What gobgpd makes of these towards its own peers is for it to know.
    if config.gobgp.is_none() && !peers(bgp).any(|peer| peer.relation().is_within()) {
        let told_internally = [&places.vips.told_internally, &places.aggregates.told_internally];
        for place in told_internally.iter().flat_map(|told| &told.local_prefs) {
            findings.warning(*place, "`local_pref` is sent to internal peers only, and no peer is internal");
        }
        for place in told_internally.iter().flat_map(|told| &told.non_transitive) {
            let message = "a community that is not transitive is sent to internal peers only, and no peer is internal";
            findings.warning(*place, message);
        }
    }
}

/// Whether a peer is told the same by two sets of attributes of a VIP: with the peer's own where the VIP's are silent, and
/// without what its relation rules out (RFC 4271 §5.1.2, §5.1.5; RFC 4360 §6).
fn is_same_to(peer: &Peer, one: &Attributes, other: &Attributes) -> bool {
    let (own, relation) = (&peer.live.attributes, peer.relation());
    let told = |vip: &Attributes| {
        let extended = vip.extended_communities.iter().chain(&own.extended_communities);
        (
            vip.origin.or(own.origin).unwrap_or_default(),
            vip.med.or(own.med),
            relation.is_within().then(|| vip.local_pref.or(own.local_pref).unwrap_or(100)),
            (relation == Relation::External).then(|| vip.as_path_prepend.or(own.as_path_prepend).unwrap_or(0)),
            vip.communities.iter().chain(&own.communities).copied().collect::<BTreeSet<_>>(),
            vip.large_communities.iter().chain(&own.large_communities).copied().collect::<BTreeSet<_>>(),
            extended
                .filter(|community| relation.is_within() || community.is_transitive())
                .copied()
                .collect::<BTreeSet<_>>(),
        )
    };
    told(one) == told(other)
}
