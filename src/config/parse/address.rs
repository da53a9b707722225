//! IP addresses and prefixes, and what each use of them rules out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::findings::{Findings, quote};
use super::table::Item;
use crate::prefix::{Family, Prefix};

/// An address of one host: neither unspecified nor multicast nor broadcast nor an IPv4 address in IPv6 clothes.
pub(super) fn host_address(item: &Item, findings: &mut Findings) -> Option<IpAddr> {
    let text = item.string(findings)?;
    let Ok(address) = text.parse::<IpAddr>() else {
        let hint = if text.parse::<Prefix>().is_ok() {
            ", but a prefix"
        } else if text.contains('%') {
            ": a zone has no place here"
        } else if text.chars().any(|c| c.is_ascii_alphabetic()) && !text.contains(':') {
            "; Herald does not resolve names"
        } else {
            ""
        };
        findings.error(item.place, format!("`{}`: {} is not an IP address{hint}", item.name, quote(text)));
        return None;
    };
    match fault(address) {
        None => Some(address),
        Some(fault) => {
            findings.error(item.place, format!("`{}`: `{address}` {fault}", item.name));
            None
        }
    }
}

/// An address of one IPv4 host.
pub(super) fn host_ipv4(item: &Item, findings: &mut Findings) -> Option<Ipv4Addr> {
    match host_address(item, findings)? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => {
            findings.error(item.place, format!("`{}`: `{address}` is not an IPv4 address", item.name));
            None
        }
    }
}

/// An address of one IPv6 host.
pub(super) fn host_ipv6(item: &Item, findings: &mut Findings) -> Option<Ipv6Addr> {
    match host_address(item, findings)? {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(address) => {
            findings.error(item.place, format!("`{}`: `{address}` is not an IPv6 address", item.name));
            None
        }
    }
}

/// A peer's address, with the zone that a link-local one needs (RFC 4007 §11).
pub(super) fn peer_address(item: &Item, findings: &mut Findings) -> Option<(IpAddr, Option<String>)> {
    let text = item.string(findings)?;
    let Some((bare, zone)) = text.split_once('%') else {
        let address = host_address(item, findings)?;
        if is_link_local(address) {
            let message =
                format!("`{}`: `{address}` is link-local and needs its interface: `{address}%eth0`", item.name);
            findings.error(item.place, message);
            return None;
        }
        return Some((address, None));
    };
    let fault = match bare.parse::<IpAddr>() {
        Err(_) => Some(format!("{} is not an IP address", quote(bare))),
        Ok(address) if !is_link_local(address) => {
            Some(format!("`{address}` is not link-local and takes no zone ({})", quote(zone)))
        }
        Ok(_) if !is_interface_name(zone) => Some(format!("{} is not the name of an interface", quote(zone))),
        Ok(address) => return Some((address, Some(zone.to_owned()))),
    };
    findings.error(item.place, format!("`{}`: {}", item.name, fault.unwrap_or_default()));
    None
}

/// Where peers may come from; link-local ones with their zone, as in `fe80::/64%eth0`.
pub(super) fn prefix_of(item: &Item, findings: &mut Findings) -> Option<(Prefix, Option<String>)> {
    let text = item.string(findings)?;
    let (bare, zone) = text.split_once('%').map_or((text, None), |(bare, zone)| (bare, Some(zone)));
    let fault = match (bare.parse::<Prefix>(), zone) {
        (Err(error), _) => error.to_string(),
        (Ok(prefix), _) if prefix.address().is_multicast() => format!("`{prefix}` is a multicast prefix"),
        (Ok(prefix), None) if is_link_local(prefix.address()) => {
            format!("`{prefix}` is link-local and needs its interface: `{prefix}%eth0`")
        }
        (Ok(prefix), Some(zone)) if !is_link_local(prefix.address()) => {
            format!("`{prefix}` is not link-local and takes no zone ({})", quote(zone))
        }
        (Ok(_), Some(zone)) if !is_interface_name(zone) => {
            format!("{} is not the name of an interface", quote(zone))
        }
        (Ok(prefix), zone) => return Some((prefix, zone.map(str::to_owned))),
    };
    findings.error(item.place, format!("`{}`: {fault}", item.name));
    None
}

/// The name of an interface.
pub(super) fn interface(item: &Item, findings: &mut Findings) -> Option<String> {
    let name = item.string(findings)?;
    if !is_interface_name(name) {
        findings.error(item.place, format!("`{}`: {} is not the name of an interface", item.name, quote(name)));
        return None;
    }
    Some(name.to_owned())
}

/// IFNAMSIZ, and what Linux refuses in a name (dev_valid_name).
fn is_interface_name(name: &str) -> bool {
    let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.contains(refused)
}

/// A prefix without host bits.
pub(super) fn prefix(item: &Item, findings: &mut Findings) -> Option<Prefix> {
    let text = item.string(findings)?;
    match text.parse::<Prefix>() {
        Ok(prefix) => Some(prefix),
        Err(crate::prefix::PrefixError::Syntax(_)) => {
            let message = format!("`{}`: {} is not an IP address or prefix", item.name, quote(text));
            findings.error(item.place, message);
            None
        }
        Err(error) => {
            findings.error(item.place, format!("`{}`: {error}", item.name));
            None
        }
    }
}

/// A prefix that can be announced: no multicast, nothing link-local, and no host that is none.
pub(super) fn vip(item: &Item, findings: &mut Findings) -> Option<Prefix> {
    let prefix = prefix(item, findings)?;
    match vip_fault(&prefix) {
        None => Some(prefix),
        Some(fault) => {
            findings.error(item.place, format!("`{}`: `{prefix}` {fault}", item.name));
            None
        }
    }
}

/// Why a prefix cannot be announced.
pub(super) fn vip_fault(prefix: &Prefix) -> Option<&'static str> {
    let address = prefix.address();
    let is_host = *prefix == Prefix::host(address);
    let fault = if is_host || !address.is_unspecified() { fault(address) } else { None };
    fault.or_else(|| is_link_local(address).then_some("is link-local and cannot be announced"))
}

/// A list of `"ipv4"` and `"ipv6"`.
pub(super) fn families(item: &Item, findings: &mut Findings) -> Option<Vec<Family>> {
    let items = item.list(findings)?;
    if items.is_empty() {
        findings.error(item.place, format!("`{}` must not be empty", item.name));
        return None;
    }
    let choices = Family::ALL.map(|family| (family.name(), family));
    let mut families: Vec<Family> = items.iter().filter_map(|item| item.choice(&choices, findings)).collect();
    families.sort();
    families.dedup();
    Some(families)
}

/// Link-local unicast IPv6 (RFC 4291 §2.5.6); IPv4 has zones nowhere.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Why an address is not that of a host.
pub(super) fn fault(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("is the unspecified address"),
        _ if address.is_multicast() => Some("is a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("is the broadcast address"),
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
            Some("is an IPv4 address mapped into IPv6; write the IPv4 address")
        }
        _ => None,
    }
}
