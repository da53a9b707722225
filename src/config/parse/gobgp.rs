//! `[gobgp]`, and `via`, which says what goes there.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::attribute::overridden;
use super::export::export;
use super::findings::{Findings, Place, quote};
use super::glb::LegacyGobgp;
use super::peer::{connect_retry, next_hop_ipv4, next_hop_ipv6};
use super::schema;
use super::table::{Item, Section};
use crate::config::gobgp::parse_api_address;
use crate::config::{ApiAddress, Community, Gobgp, LargeCommunity, LiveParameters, NextHop4, NextHop6, Via};

/// Where warnings about `[gobgp]` point: `api`.
pub(super) type Places = Option<Place>;

/// The table of the main file, on top of what glb-healthcheck's own configuration says. `restarts`: [bgp] asks routers to
/// keep our routes over a restart.
pub(super) fn read(
    main: Option<&Section>,
    legacy: Option<&LegacyGobgp>,
    restarts: bool,
    findings: &mut Findings,
) -> (Option<Arc<Gobgp>>, Places) {
    let base = legacy.and_then(|legacy| read_legacy(legacy, restarts, findings));
    let table = main.and_then(|root| root.get("gobgp")).and_then(|item| item.section(&schema::GOBGP, findings));
    let Some(table) = table else {
        return base.map_or((None, None), |(base, place)| (Some(Arc::new(base)), Some(place)));
    };
    let own = match &base {
        Some(_) => table.get("api"),
        None => table.need("api", findings),
    };
    let own = own.map(|item| (item.place, api_address(&item, findings)));
    let identifier = table.get("identifier").and_then(|item| item.integer(1..=u32::MAX, findings));
    let graceful_restart = table.get("graceful_restart").and_then(|item| item.boolean(findings));
    let connect_retry = table.get("connect_retry").and_then(|item| connect_retry(&item, findings));
    let next_hop_ipv4 = table.get("next_hop_ipv4").and_then(|item| next_hop_ipv4(&item, findings));
    let next_hop_ipv6 = table.get("next_hop_ipv6").and_then(|item| next_hop_ipv6(&item, findings));
    if let (Some(NextHop6::Pair(..)), Some(item)) = (next_hop_ipv6, table.get("next_hop_ipv6")) {
        findings.error(item.place, "`next_hop_ipv6` must be one address: gobgpd takes no link-local one beside it");
    }
    let export = table.get("export").map(|item| export(&item, findings));
    let (place, base) = match (own, base) {
        (Some((place, Some(api))), Some((base, _))) => (place, Gobgp { api, ..base }),
        (Some((place, Some(api))), None) => (place, Gobgp { graceful_restart: restarts, ..Gobgp::new(api) }),
        (None, Some((base, place))) => (place, base),
        (Some((_, None)) | None, _) => return (None, None),
    };
    let live = LiveParameters {
        connect_retry: connect_retry.unwrap_or(base.live.connect_retry),
        next_hop_ipv4: next_hop_ipv4.unwrap_or(base.live.next_hop_ipv4),
        next_hop_ipv6: next_hop_ipv6.unwrap_or(base.live.next_hop_ipv6),
        attributes: overridden(&base.live.attributes, &table, findings),
        export: export.unwrap_or(base.live.export),
    };
    let gobgp = Gobgp {
        identifier: identifier.and_then(NonZeroU32::new).unwrap_or(base.identifier),
        graceful_restart: graceful_restart.unwrap_or(base.graceful_restart),
        live,
        api: base.api,
    };
    (Some(Arc::new(gobgp)), Some(place))
}

/// `gobgp_config` of a healthcheck.conf; without an address it is off. A next hop that is not there is gobgpd's own.
fn read_legacy(legacy: &LegacyGobgp, restarts: bool, findings: &mut Findings) -> Option<(Gobgp, Place)> {
    let (address, place) = legacy.address.as_ref()?;
    let api = parse_api_address(address);
    if api.is_none() {
        findings.error(*place, format!("`address` must be as \"127.0.0.1:50051\", not {}", quote(address)));
    }
    let mut gobgp = Gobgp { graceful_restart: restarts, ..Gobgp::new(api?) };
    if let Some((text, place)) = &legacy.nexthop {
        match text.parse() {
            Ok(address) => gobgp.live.next_hop_ipv4 = NextHop4::Address(address),
            Err(_) => findings.error(*place, format!("`nexthop` must be an IPv4 address, not {}", quote(text))),
        }
    }
    if let Some((text, place)) = &legacy.nexthop_ipv6 {
        match text.parse() {
            Ok(address) => gobgp.live.next_hop_ipv6 = NextHop6::Address(address),
            Err(_) => findings.error(*place, format!("`nexthop_ipv6` must be an IPv6 address, not {}", quote(text))),
        }
    }
    for (text, place) in &legacy.communities {
        // A plain number, and what GoBGP calls GRACEFUL_SHUTDOWN, beside what a VIP takes.
        let number = text.parse::<u32>().ok().map(Community);
        let standard = number.or_else(|| text.parse().ok());
        let standard = standard.or((text == "planned-shut").then_some(Community::GRACEFUL_SHUTDOWN));
        match (standard, text.parse::<LargeCommunity>()) {
            (Some(community), _) => gobgp.live.attributes.communities.push(community),
            (None, Ok(community)) => gobgp.live.attributes.large_communities.push(community),
            (None, Err(_)) => findings.error(*place, format!("`communities`: {} is not a community", quote(text))),
        }
    }
    gobgp.live.attributes.communities.sort_unstable();
    gobgp.live.attributes.communities.dedup();
    gobgp.live.attributes.large_communities.sort_unstable();
    gobgp.live.attributes.large_communities.dedup();
    Some((gobgp, *place))
}

/// `127.0.0.1:50051` or `unix:///run/gobgpd.sock`, as gobgpd's `--api-hosts` has it.
fn api_address(item: &Item, findings: &mut Findings) -> Option<ApiAddress> {
    let text = item.string(findings)?;
    let address = parse_api_address(text);
    if address.is_none() {
        let named = text.rsplit_once(':').is_some_and(|(host, _)| host.contains(|c: char| c.is_ascii_alphabetic()));
        let hint = if named && !text.contains('/') { "; Herald does not resolve names" } else { "" };
        let message =
            format!("`api` must be as \"127.0.0.1:50051\" or \"unix:///run/gobgpd.sock\", not {}{hint}", quote(text));
        findings.error(item.place, message);
    }
    address
}

/// Whether nobody else on the network can come near it.
pub(super) fn is_local(api: &ApiAddress) -> bool {
    match api {
        ApiAddress::Unix(_) => true,
        ApiAddress::Tcp(address) => IpAddr::is_loopback(&address.ip()),
    }
}

/// What there is to announce by, and so what is meant where nothing is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    pub(super) bgp: bool,
    pub(super) gobgp: bool,
}

/// `via` of a VIP or an aggregate.
pub(super) fn via(table: &Section, ways: Ways, findings: &mut Findings) -> Via {
    let everything = Via { bgp: true, gobgp: ways.gobgp };
    let Some(item) = table.get("via") else { return everything };
    let items = item.list(findings).unwrap_or_default();
    let words = [("bgp", Via::BGP), ("gobgp", Via::GOBGP)];
    let mut via = Via { bgp: false, gobgp: false };
    for item in &items {
        let Some(word) = item.choice(&words, findings) else { return everything };
        let missing = match word {
            Via { gobgp: true, .. } if !ways.gobgp => Some("[gobgp]"),
            Via { bgp: true, .. } if !ways.bgp => Some("[bgp]"),
            _ => None,
        };
        if let (Some(missing), false) = (missing, findings.is_incomplete()) {
            findings.error(item.place, format!("`via`: there is no {missing}"));
        }
        via = Via { bgp: via.bgp | word.bgp, gobgp: via.gobgp | word.gobgp };
    }
    if items.is_empty() && item.is_list() {
        findings.error(item.place, "`via` must not be empty; a VIP that nobody shall be told of needs no service");
        return everything;
    }
    via
}
