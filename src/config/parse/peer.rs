//! `[bgp]` and `[[bgp.peer]]`. What a peer does not set comes from its group, if it has one, then from `[bgp]`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::address::{families, host_address, host_ipv4, host_ipv6, interface, is_link_local};
use super::attribute::{asn, attributes};
use super::capabilities::{self, check_relation, seen_as};
use super::daemon::absolute_path;
use super::export::export;
use super::findings::{Findings, Place, quote};
use super::group::Groups;
use super::passive::{Callers, Whereabouts, listen, mode};
use super::table::{Item, Section, optional};
use super::{is_new, name, schema};
use crate::config::peer::{DEFAULT_CONNECT_RETRY, DEFAULT_HOLD_TIME, PORT};
use crate::config::{
    Asn, Bgp, Confederation, FileReference, FileRole, HoldTime, LiveParameters, NextHop4, NextHop6, Password, Peer,
    PeerAs, PeerRange, Reach, RestartTime, SessionParameters, Transport,
};
use crate::prefix::{Family, Prefix};

/// What `[bgp]` says for all peers. `None` where it is wrong or missing, which has been reported.
struct Common {
    local_as: Option<Asn>,
    confederation: Option<Confederation>,
    router_id: Option<Ipv4Addr>,
    hold_time: HoldTime,
    connect_retry: Duration,
    /// Offered to all peers that do not say otherwise.
    graceful_restart: Option<RestartTime>,
    port: u16,
    listen: Vec<SocketAddr>,
}

/// Where warnings about peers point.
#[derive(Default)]
pub(super) struct Places {
    /// `[bgp]`.
    pub(super) bgp: Option<Place>,
    /// By index into the peers.
    pub(super) peers: Vec<Place>,
    /// By index into the ranges.
    pub(super) ranges: Vec<Place>,
}

impl Places {
    /// This name is somebody else's.
    pub(super) fn refuse_name(&self, bgp: Option<&Bgp>, name: &str, findings: &mut Findings) {
        let Some(bgp) = bgp else { return };
        let peers = bgp.peers.iter().map(|peer| &peer.name).zip(&self.peers);
        let ranges = bgp.ranges.iter().map(|range| range.name()).zip(&self.ranges);
        for (_, place) in peers.chain(ranges).filter(|(peer, _)| ***peer == *name) {
            findings.error(*place, format!("peer name `{name}` is that of [{name}]: give this peer another"));
        }
    }
}

/// `[bgp]` with its peers, and the files that they name.
pub(super) fn read(roots: &[Section], findings: &mut Findings) -> (Option<Bgp>, Vec<FileReference>, Places) {
    let mut places = Places::default();
    let mut groups = Groups::default();
    let mut tables = Vec::new();
    let mut common = None;
    for (file, root) in roots.iter().enumerate() {
        let Some(table) = root.get("bgp").and_then(|item| item.section(&schema::BGP, findings)) else { continue };
        groups.read(&table, findings);
        tables.extend(table.sections("peer", &schema::PEER, findings));
        if file == 0 {
            places.bgp = Some(table.place);
            common = Some(read_common(&table, findings));
        }
    }
    let Some(common) = common else {
        if let (Some(table), false) = (tables.first(), findings.is_incomplete()) {
            findings.error(table.place, "[[bgp.peer]] needs [bgp] with `local_as` and `router_id` in the main file");
        }
        return (None, Vec::new(), places);
    };
    let (mut names, mut addresses, mut callers) = (BTreeMap::new(), BTreeMap::new(), Callers::default());
    let (mut peers, mut ranges, mut references) = (Vec::new(), Vec::new(), Vec::new());
    let mut passwords = BTreeSet::new();
    for table in tables {
        let table = groups.complete(table, findings);
        // Without an address a peer is whoever is at the other end of its interface.
        let whereabouts = if table.has("address") { None } else { table.get("interface") };
        let Some(address) = whereabouts.or_else(|| table.get("address")) else {
            findings.error(table.place, "[[bgp.peer]] needs `address`, or `interface` alone if it is unnumbered");
            continue;
        };
        let given_name = table.get("name");
        let named = given_name.unwrap_or(address);
        let is_named = match given_name {
            Some(item) => name(&item, findings),
            None => address.string(findings),
        };
        if let Some(name) = is_named {
            is_new(&mut names, name, named.place, findings, || format!("peer name {} is taken", quote(name)));
        }
        let Some((peer, range)) = read_peer(&table, &address, is_named, &common, findings) else { continue };
        // Once for a group.
        if let (Some(password), Some(item)) = (&peer.session.transport.password, table.get("password_file"))
            && passwords.insert(item.place)
        {
            let (position, path) = (findings.position(item.place), password.file.clone());
            references.push(FileReference { position, path, role: FileRole::Password });
        }
        if let Some((prefix, limit)) = range {
            let range = PeerRange { prefix, limit, template: Arc::new(peer) };
            callers.add_range(&range, address.place, findings);
            ranges.push(Arc::new(range));
            places.ranges.push(table.place);
            continue;
        }
        is_new(&mut addresses, peer.endpoint(), address.place, findings, || {
            format!("another peer has this {}", address.name)
        });
        callers.add(&peer, address.place, findings);
        peers.push(Arc::new(peer));
        places.peers.push(table.place);
    }
    groups.finish(findings);
    callers.finish(findings);
    let Common { local_as, router_id, listen, .. } = common;
    let bgp = local_as.zip(router_id).map(|(local_as, router_id)| Bgp { local_as, router_id, peers, ranges, listen });
    (bgp, references, places)
}

fn read_common(table: &Section, findings: &mut Findings) -> Common {
    let hold_time = table.get("hold_time").and_then(|item| hold_time(&item, findings));
    let connect_retry = table.get("connect_retry").and_then(|item| connect_retry(&item, findings));
    let local_as = table.need("local_as", findings).and_then(|item| asn(&item, findings));
    Common {
        local_as,
        confederation: capabilities::confederation(table, local_as, findings),
        router_id: table.need("router_id", findings).and_then(|item| router_id(&item, findings)),
        hold_time: hold_time.unwrap_or(DEFAULT_HOLD_TIME),
        connect_retry: connect_retry.unwrap_or(DEFAULT_CONNECT_RETRY),
        graceful_restart: table.get("graceful_restart").map(|item| restart_time(&item, findings)),
        port: table.get("port").and_then(|item| item.integer(1..=u16::MAX, findings)).unwrap_or(PORT),
        listen: table.get("listen").map(|item| listen(&item, findings)).unwrap_or_default(),
    }
}

/// A peer, as far as its keys are right; `None` when what makes it a peer is missing. All faults are reported.
fn read_peer(
    table: &Section,
    address_item: &Item,
    name: Option<&str>,
    common: &Common,
    findings: &mut Findings,
) -> Option<(Peer, Option<(Prefix, usize)>)> {
    let mode = mode(table, findings);
    let local_as = optional(table.get("local_as").map(|item| asn(&item, findings)));
    let peer_as = table.need("peer_as", findings).and_then(|item| peer_as(&item, common, findings));
    let whereabouts = Whereabouts::read(address_item, findings);
    let unnumbered = matches!(whereabouts, Some(Whereabouts::Link(_)));
    let address = whereabouts.as_ref().map(Whereabouts::address);
    let range = whereabouts.as_ref().zip(mode).and_then(|(it, mode)| it.range(table, mode, findings));
    let port = table.get("port").map_or(Some(common.port), |item| item.integer(1..=u16::MAX, findings));
    let source = table.get("source").and_then(|item| source(&item, address, findings));
    let transport = transport(table, findings);
    let families = match table.get("families") {
        Some(item) => families(&item, findings),
        None => Some(Family::ALL.to_vec()),
    };
    let next_hop_ipv4 = table.get("next_hop_ipv4").and_then(|item| next_hop_ipv4(&item, findings));
    let next_hop_ipv6 = table.get("next_hop_ipv6").and_then(|item| next_hop_ipv6(&item, findings));
    let extended_next_hop = table.get("extended_next_hop").and_then(|item| item.boolean(findings));
    let hold_time = table.get("hold_time").and_then(|item| hold_time(&item, findings));
    let capabilities = capabilities::capabilities(table, findings);
    let connect_retry = table.get("connect_retry").and_then(|item| connect_retry(&item, findings));
    let graceful_restart = table.get("graceful_restart").and_then(|item| item.boolean(findings));
    let attributes = attributes(table, findings);
    let export = table.get("export").map(|item| export(&item, findings));
    let (peer_as, transport) = (peer_as?, transport?);
    let local_as = seen_as(local_as?, common.local_as, peer_as, common.confederation.as_ref());
    let session = SessionParameters {
        zone: whereabouts?.zone(),
        unnumbered,
        port: port?,
        source,
        mode: mode?,
        // The scope of the address says it.
        transport: Transport { interface: transport.interface.filter(|_| !unnumbered), ..transport },
        families: families?,
        // Where there are no addresses there is no other way for IPv4.
        extended_next_hop: extended_next_hop.unwrap_or(unnumbered),
        hold_time: hold_time.unwrap_or(common.hold_time),
        graceful_restart: match graceful_restart {
            Some(true) => Some(common.graceful_restart.unwrap_or(RestartTime::DEFAULT)),
            Some(false) => None,
            None => common.graceful_restart,
        },
        confederation: common.confederation.clone(),
        capabilities,
        ..SessionParameters::new(address?, peer_as, local_as?, common.router_id?)
    };
    let live = LiveParameters {
        connect_retry: connect_retry.unwrap_or(common.connect_retry),
        next_hop_ipv4: next_hop_ipv4.unwrap_or_default(),
        next_hop_ipv6: next_hop_ipv6.unwrap_or_default(),
        attributes,
        export: export.unwrap_or_default(),
    };
    let peer = Peer { name: name?.into(), session, live };
    check_relation(&peer, table, findings);
    Some((peer, range))
}

/// A BGP Identifier: any number but 0 (RFC 6286 §2.1), written as an IPv4 address.
fn router_id(item: &Item, findings: &mut Findings) -> Option<Ipv4Addr> {
    let text = item.string(findings)?;
    match text.parse::<Ipv4Addr>() {
        Ok(id) if id.is_unspecified() => findings.error(item.place, "`router_id` must not be 0.0.0.0 (RFC 6286)"),
        Ok(id) => return Some(id),
        Err(_) => {
            findings.error(item.place, format!("`router_id`: {} is not of the form of an IPv4 address", quote(text)));
        }
    }
    None
}

fn peer_as(item: &Item, common: &Common, findings: &mut Findings) -> Option<PeerAs> {
    if item.is_string() {
        return item.choice(&[("internal", PeerAs::Internal), ("external", PeerAs::External)], findings);
    }
    let number = asn(item, findings)?;
    if common.confederation.as_ref().is_some_and(|whole| whole.identifier == number) {
        let message = format!("`peer_as`: {number} is our own confederation: give the AS that the peer has within it");
        findings.error(item.place, message);
    }
    Some(PeerAs::Number(number))
}

/// RFC 4271 §4.2: 0, or at least 3 seconds.
fn hold_time(item: &Item, findings: &mut Findings) -> Option<HoldTime> {
    let time = item.duration(Duration::ZERO..=Duration::from_secs(u16::MAX.into()), findings)?;
    let seconds = u16::try_from(time.as_secs()).ok().filter(|_| time.subsec_nanos() == 0);
    let hold_time = seconds.and_then(HoldTime::from_secs);
    if hold_time.is_none() {
        findings.error(item.place, "`hold_time` must be 0s or whole seconds from 3s (RFC 4271 §4.2)");
    }
    hold_time
}

/// `[bgp.graceful_restart]`.
fn restart_time(item: &Item, findings: &mut Findings) -> RestartTime {
    let table = item.section(&schema::GRACEFUL_RESTART, findings);
    let Some(item) = table.and_then(|table| table.get("restart_time")) else { return RestartTime::DEFAULT };
    let longest = Duration::from_secs(RestartTime::MAX_SECS.into());
    let Some(time) = item.duration(Duration::from_secs(1)..=longest, findings) else { return RestartTime::DEFAULT };
    let whole = RestartTime::from_secs(time.as_secs()).filter(|_| time.subsec_nanos() == 0);
    if whole.is_none() {
        findings.error(item.place, "`restart_time` must be whole seconds from 1s to 4095s (RFC 4724 §3)");
    }
    whole.unwrap_or(RestartTime::DEFAULT)
}

pub(super) fn connect_retry(item: &Item, findings: &mut Findings) -> Option<Duration> {
    item.duration(Duration::from_millis(100)..=Duration::from_secs(3600), findings)
}

fn source(item: &Item, peer: Option<IpAddr>, findings: &mut Findings) -> Option<IpAddr> {
    let source = host_address(item, findings)?;
    let Some(peer) = peer else { return Some(source) };
    if Family::of(source) != Family::of(peer) && peer.is_unspecified() {
        let message = format!("`source`: `{source}` is not of IPv6, over which sessions with unnumbered peers run");
        findings.error(item.place, message);
    } else if Family::of(source) != Family::of(peer) {
        findings.error(item.place, format!("`source`: `{source}` is not of the family of `{peer}`"));
    } else if is_link_local(source) && !is_link_local(peer) && !peer.is_unspecified() {
        findings.error(item.place, format!("`source`: `{source}` is link-local, but `{peer}` is not"));
    }
    Some(source)
}

/// What the connection is made with; `None` where that is wrong.
fn transport(table: &Section, findings: &mut Findings) -> Option<Transport> {
    let file = optional(table.get("password_file").map(|item| absolute_path(&item, findings)));
    let interface = optional(table.get("interface").map(|item| interface(&item, findings)));
    let (ttl_security, multihop) = table.rivals("ttl_security", "multihop");
    let reach = match (ttl_security, multihop) {
        (Some(ttl_security), Some(multihop)) => {
            let message = "`multihop` and `ttl_security` exclude each other: `ttl_security` says how many hops away \
                           the peer is, too";
            findings.conflict(multihop.key_place, format!("{message}; it is set at"), ttl_security.key_place);
            None
        }
        // Of 255 hops there would be nothing left to check.
        (Some(item), None) => item.integer(1..=254, findings).map(Reach::TtlSecurity),
        (None, Some(item)) => item.integer(1..=u8::MAX, findings).map(Reach::Multihop),
        (None, None) => Some(Reach::Usual),
    };
    let password = file?.map(|file| Password { file, secret: None });
    Some(Transport { password, reach: reach?, interface: interface? })
}

pub(super) fn next_hop_ipv4(item: &Item, findings: &mut Findings) -> Option<NextHop4> {
    match item.string(findings)? {
        "self" => Some(NextHop4::SelfAddress),
        _ => host_ipv4(item, findings).map(NextHop4::Address),
    }
}

/// One address, or a global and a link-local one (RFC 2545 §3).
pub(super) fn next_hop_ipv6(item: &Item, findings: &mut Findings) -> Option<NextHop6> {
    if !item.is_list() {
        return match item.string(findings)? {
            "self" => Some(NextHop6::SelfAddress),
            _ => host_ipv6(item, findings).map(NextHop6::Address),
        };
    }
    let items = item.list(findings)?;
    let [global, local] = items.as_slice() else {
        findings.error(item.place, "`next_hop_ipv6` as a list must be a global and a link-local address");
        return None;
    };
    let (global_address, local_address) = (host_ipv6(global, findings), host_ipv6(local, findings));
    let (global_address, local_address) = (global_address?, local_address?);
    if is_link_local(global_address.into()) {
        findings.error(global.place, format!("`next_hop_ipv6`: `{global_address}`, the first, must not be link-local"));
        return None;
    }
    if !is_link_local(local_address.into()) {
        findings.error(local.place, format!("`next_hop_ipv6`: `{local_address}`, the second, must be link-local"));
        return None;
    }
    Some(NextHop6::Pair(global_address, local_address))
}
