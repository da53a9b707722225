//! Where a check goes, and how it leaves this host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::Egress;
use crate::config::parse::address;
use crate::config::parse::findings::{Findings, quote};
use crate::config::parse::table::{Item, Section, optional};
use crate::prefix::Prefix;

/// `target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// The backend's address.
    Backend,
    /// Each VIP of the service, on this backend: `mark` or `interface` sees to it that it goes there.
    Vip,
    /// This address, whatever the backend.
    Literal(IpAddr),
    /// Nothing is dialled.
    Nothing,
}

/// The keys of [`Egress`], before the family of the target is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config::parse) struct EgressKeys {
    /// At most one of each family.
    sources: Vec<IpAddr>,
    interface: Option<String>,
    mark: Option<u32>,
    dscp: Option<u8>,
}

impl EgressKeys {
    /// Of a check or a backend; `None` when a key is wrong.
    pub(in crate::config::parse) fn read(table: &Section, findings: &mut Findings) -> Option<EgressKeys> {
        let sources = table.get("source").map_or(Some(Vec::new()), |item| sources(&item, findings));
        let interface = optional(table.get("interface").map(|item| address::interface(&item, findings)));
        let mark = optional(table.get("mark").map(|item| item.integer(0..=u32::MAX, findings)));
        let dscp = optional(table.get("dscp").map(|item| item.integer(0..=63u8, findings)));
        Some(EgressKeys { sources: sources?, interface: interface?, mark: mark?, dscp: dscp? })
    }

    /// Whether it may lead to one of several hosts with an address.
    pub(super) fn leads_somewhere(&self) -> bool {
        self.mark.is_some() || self.interface.is_some()
    }

    /// For a target, with what the backend says going before what the check says.
    pub(super) fn towards(&self, target: IpAddr, backend: &EgressKeys) -> Egress {
        let of_family =
            |keys: &EgressKeys| keys.sources.iter().copied().find(|source| source.is_ipv4() == target.is_ipv4());
        Egress {
            source: of_family(backend).or_else(|| of_family(self)),
            interface: backend.interface.clone().or_else(|| self.interface.clone()),
            mark: backend.mark.or(self.mark),
            dscp: backend.dscp.or(self.dscp),
        }
    }
}

/// One address, or a list of one per family.
fn sources(item: &Item, findings: &mut Findings) -> Option<Vec<IpAddr>> {
    let mut sources: Vec<IpAddr> = Vec::new();
    for item in &item.one_or_more(findings)? {
        let source = address::host_address(item, findings)?;
        if sources.iter().any(|other| other.is_ipv4() == source.is_ipv4()) {
            findings.error(item.place, "`source` takes one address per family");
            return None;
        }
        sources.push(source);
    }
    sources.sort();
    Some(sources)
}

/// `"backend"`, `"vip"` or an address.
pub(super) fn target(item: &Item, findings: &mut Findings) -> Option<Target> {
    match item.string(findings)? {
        "backend" => Some(Target::Backend),
        "vip" => Some(Target::Vip),
        text if text.parse::<IpAddr>().is_ok() => address::host_address(item, findings).map(Target::Literal),
        text => {
            let hint = findings.did_you_mean(text, ["backend", "vip"]);
            let hint = if hint.is_empty() { "; Herald does not resolve names".to_owned() } else { hint };
            let message = format!("`target` must be \"backend\", \"vip\" or an IP address, not {}{hint}", quote(text));
            findings.error(item.place, message);
            None
        }
    }
}

/// Where a check of one backend may go.
pub(in crate::config::parse) struct Stand<'s> {
    /// The backend's.
    pub(in crate::config::parse) backend: SocketAddr,
    /// Those of its service.
    pub(in crate::config::parse) vips: &'s [Prefix],
    /// The service's.
    pub(in crate::config::parse) vip_port: u16,
    /// What the backend says.
    pub(in crate::config::parse) egress: &'s EgressKeys,
}

/// The target of what dials nothing.
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What backends say that say nothing.
static NOTHING_SAID: EgressKeys = EgressKeys { sources: Vec::new(), interface: None, mark: None, dscp: None };

impl Stand<'_> {
    /// Of a backend of which no more is known.
    pub(in crate::config::parse) fn plain(backend: SocketAddr) -> Stand<'static> {
        Stand { backend, vips: &[], vip_port: backend.port(), egress: &NOTHING_SAID }
    }

    /// The addresses to dial, and which VIPs are no single address.
    pub(super) fn targets(&self, target: Target, port: Option<u16>) -> Vec<Result<SocketAddr, Prefix>> {
        let port_or = |default| port.unwrap_or(default);
        match target {
            Target::Backend => vec![Ok(SocketAddr::new(self.backend.ip(), port_or(self.backend.port())))],
            Target::Literal(address) => vec![Ok(SocketAddr::new(address, port_or(self.backend.port())))],
            Target::Nothing => vec![Ok(NOWHERE)],
            Target::Vip => {
                let vip = |vip: &Prefix| match vip.is_host() {
                    true => Ok(SocketAddr::new(vip.address(), port_or(self.vip_port))),
                    false => Err(*vip),
                };
                self.vips.iter().map(vip).collect()
            }
        }
    }
}
