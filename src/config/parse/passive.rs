//! What peers that connect to us need: `listen`, `mode`, and addresses that are prefixes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::address::{interface, is_link_local, peer_address, prefix_of};
use super::findings::{Findings, Place, quote};
use super::is_new;
use super::table::{Item, Section};
use crate::config::peer::DEFAULT_LIMIT;
use crate::config::{Mode, Peer, PeerRange};
use crate::prefix::{Family, Prefix};

/// `address`: of one neighbour, or where any number of them may come from.
pub(super) enum Whereabouts {
    One(IpAddr, Option<String>),
    Many(Prefix, Option<String>),
    /// Whoever is at the other end of this interface.
    Link(String),
}

impl Whereabouts {
    pub(super) fn read(item: &Item, findings: &mut Findings) -> Option<Whereabouts> {
        if item.name == "interface" {
            return interface(item, findings).map(Whereabouts::Link);
        }
        match item.string(findings)?.contains('/') {
            true => prefix_of(item, findings).map(|(prefix, zone)| Whereabouts::Many(prefix, zone)),
            false => peer_address(item, findings).map(|(address, zone)| Whereabouts::One(address, zone)),
        }
    }

    /// An address of it.
    pub(super) fn address(&self) -> IpAddr {
        match self {
            Whereabouts::One(address, _) => *address,
            Whereabouts::Many(prefix, _) => prefix.address(),
            Whereabouts::Link(_) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    pub(super) fn zone(&self) -> Option<String> {
        match self {
            Whereabouts::One(_, zone) | Whereabouts::Many(_, zone) => zone.clone(),
            Whereabouts::Link(interface) => Some(interface.clone()),
        }
    }

    /// The prefix and `limit`, when there may be many; what does not go together is reported.
    pub(super) fn range(&self, table: &Section, mode: Mode, findings: &mut Findings) -> Option<(Prefix, usize)> {
        let limit = table.get("limit");
        let Whereabouts::Many(prefix, _) = self else {
            if let Some(limit) = limit {
                let what = match self {
                    Whereabouts::Link(_) => "the router at the other end of an interface is one",
                    _ => "`address` is one address, not a prefix",
                };
                findings.error(limit.key_place, format!("`limit` is for peers by range: {what}"));
            }
            return None;
        };
        let address = table.get("address")?;
        if mode != Mode::Passive {
            let message = "`address` is a prefix: such peers connect to us, and need `mode = \"passive\"`";
            findings.error(address.place, message);
        }
        if table.get("name").is_none() {
            findings.error(address.place, "`address` is a prefix: such peers need a `name`, to be called NAME@ADDRESS");
        }
        let limit = limit.and_then(|item| item.integer::<u32>(1..=65_535, findings));
        Some((*prefix, limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_LIMIT)))
    }
}

pub(super) fn mode(table: &Section, findings: &mut Findings) -> Option<Mode> {
    let Some(item) = table.get("mode") else { return Some(Mode::default()) };
    let mode = item.choice(&[Mode::Active, Mode::Passive, Mode::Both].map(|mode| (mode.name(), mode)), findings)?;
    if let (true, true, Some(interface)) = (mode.accepts(), table.has("address"), table.get("interface")) {
        let message = "`interface` needs `mode = \"active\"`: a connection that the router makes comes by whatever interface \
                       it comes by";
        findings.error(interface.key_place, message);
    }
    Some(mode)
}

/// `listen`: a list of `"ADDRESS:PORT"`.
pub(super) fn listen(item: &Item, findings: &mut Findings) -> Vec<SocketAddr> {
    let mut listen: Vec<SocketAddr> = Vec::new();
    for item in item.list(findings).unwrap_or_default() {
        let Some(text) = item.string(findings) else { continue };
        let Ok(address) = text.parse::<SocketAddr>() else {
            let hint = if text.parse::<IpAddr>().is_ok() { ": the port is missing" } else { "" };
            let message = format!("`listen`: {} is not of the form `192.0.2.1:179` or `[::]:179`{hint}", quote(text));
            findings.error(item.place, message);
            continue;
        };
        let is_mapped = matches!(address.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        let overlaps = |other: &&SocketAddr| {
            let is_any = other.ip().is_unspecified() || address.ip().is_unspecified();
            other.port() == address.port() && other.is_ipv4() == address.is_ipv4() && (is_any || **other == address)
        };
        let fault = if address.port() == 0 {
            "needs a port other than 0".to_owned()
        } else if address.ip().is_multicast() || is_mapped || is_link_local(address.ip()) {
            "is not an address of ours that a router can connect to; for link-local ones listen on `[::]`".to_owned()
        } else if let Some(other) = listen.iter().find(overlaps) {
            format!("overlaps with `{other}`")
        } else {
            listen.push(address);
            continue;
        };
        findings.error(item.place, format!("`listen`: `{address}` {fault}"));
    }
    listen
}

/// What was read so far of those that connect to us.
#[derive(Default)]
pub(super) struct Callers {
    places: BTreeMap<(IpAddr, Option<String>, Option<IpAddr>), Place>,
    ranges: BTreeMap<(Prefix, Option<String>), Place>,
    /// Where each may come from, and its password.
    passwords: Vec<(Prefix, String, Option<std::path::PathBuf>, Place)>,
}

impl Callers {
    /// One more peer: there must be no doubt whose a connection is.
    pub(super) fn add(&mut self, peer: &Peer, place: Place, findings: &mut Findings) {
        let session = &peer.session;
        if session.mode.accepts() {
            let key = (session.address, session.zone.clone(), session.source);
            let what =
                || "another peer that connects to us has this address (the port does not tell them apart)".to_owned();
            is_new(&mut self.places, key, place, findings, what);
            if session.unnumbered && session.transport.password.is_some() {
                let message = "`password_file` of a peer without `address` needs `mode = \"active\"`: the kernel must know from \
                               where a signed connection comes";
                findings.error(place, message);
            }
            self.add_password(Prefix::host(session.address), peer, place);
        }
    }

    /// One more range.
    pub(super) fn add_range(&mut self, range: &PeerRange, place: Place, findings: &mut Findings) {
        let key = (range.prefix, range.template.session.zone.clone());
        is_new(&mut self.ranges, key, place, findings, || "another peer has this prefix".to_owned());
        self.add_password(range.prefix, &range.template, place);
    }

    fn add_password(&mut self, prefix: Prefix, peer: &Peer, place: Place) {
        let file = peer.session.transport.password.as_ref().map(|password| password.file.clone());
        self.passwords.push((prefix, peer.name.to_string(), file, place));
    }

    /// Of what it listens for the kernel knows addresses only: it takes the password of the longest prefix that has one.
    pub(super) fn finish(self, findings: &mut Findings) {
        let mut by_prefix: BTreeMap<Prefix, (&str, Option<&Path>)> = BTreeMap::new();
        for (prefix, name, file, place) in &self.passwords {
            match by_prefix.get(prefix) {
                Some((other, theirs)) if *theirs != file.as_deref() => {
                    let message =
                        format!("peer `{name}` needs the same `password_file` as `{other}`, which has its address");
                    findings.error(*place, message);
                }
                _ => drop(by_prefix.insert(*prefix, (name, file.as_deref()))),
            }
        }
        for (prefix, name, _, place) in self.passwords.iter().filter(|(_, _, file, _)| file.is_none()) {
            let around = |len: &u8| by_prefix.get(&Prefix::covering(prefix.address(), *len));
            let around = (0..prefix.len()).rev().find_map(|len| around(&len).filter(|(_, file)| file.is_some()));
            if let Some((range, _)) = around {
                let message = format!(
                    "peer `{name}` lies within `{range}`, which has a `password_file`, and needs one too: the kernel \
                     asks every neighbour in there for a signature"
                );
                findings.error(*place, message);
            }
        }
    }
}

/// Whether a router can connect to one of `listen` as this peer.
pub(super) fn can_be_reached(peer: &Peer, listen: &[SocketAddr]) -> bool {
    let family = Family::of(peer.session.address);
    let suits = |at: IpAddr| at.is_unspecified() || peer.session.source.is_none_or(|source| source == at);
    listen.iter().any(|at| Family::of(at.ip()) == family && suits(at.ip()))
}
