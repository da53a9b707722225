//! What the source does not know, from the command line: `[bgp]` where another program has the sessions.

use std::net::{IpAddr, Ipv4Addr};

use super::draft::{Draft, string};

/// Facts about BGP, for sources that have none. What a source says itself goes before.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Facts {
    /// Our AS number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) local_as: Option<u32>,
    /// Our BGP Identifier: an IPv4 address of this host
    #[arg(long, value_name = "ADDRESS")]
    pub(super) router_id: Option<Ipv4Addr>,
    /// A router; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(super) peer: Vec<IpAddr>,
    /// The AS number of the routers, or "internal" or "external"
    #[arg(long, value_name = "N", value_parser = peer_as)]
    pub(super) peer_as: Option<String>,
    /// Where IPv6 traffic for the VIPs shall go, when the sessions run over IPv4
    #[arg(long, value_name = "ADDRESS")]
    pub(super) next_hop_ipv6: Option<std::net::Ipv6Addr>,
}

fn peer_as(text: &str) -> Result<String, String> {
    match text {
        "internal" | "external" => Ok(string(text)),
        _ => match text.parse::<u32>() {
            Ok(number) if number > 0 => Ok(number.to_string()),
            _ => Err("not an AS number, \"internal\" or \"external\"".to_owned()),
        },
    }
}

/// The families of the VIPs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Families {
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
}

impl Families {
    pub(super) fn add(&mut self, address: IpAddr) {
        self.ipv4 |= address.is_ipv4();
        self.ipv6 |= address.is_ipv6();
    }
}

impl Facts {
    /// `[bgp]` itself.
    pub(super) fn bgp(&self, draft: &mut Draft) {
        draft.blank();
        draft.table("[bgp]");
        self.identity(None, None, draft);
    }

    /// Our AS and identifier, by the source or else by the command line.
    pub(super) fn identity(&self, local_as: Option<u32>, router_id: Option<Ipv4Addr>, draft: &mut Draft) {
        let local_as = local_as.or(self.local_as).map(|number| number.to_string());
        draft.fact("local_as", local_as, "65001", "our AS number");
        let router_id = router_id.or(self.router_id).map(|id| string(&id.to_string()));
        draft.fact(
            "router_id",
            router_id,
            "\"10.99.1.2\"",
            "an IPv4 address of this host that nobody else in the AS has as its identifier",
        );
    }

    /// The peers that were named, or one to fill in.
    pub(super) fn peers(&self, families: Families, draft: &mut Draft) {
        let named: Vec<Option<IpAddr>> = match self.peer.as_slice() {
            [] => vec![None],
            peers => peers.iter().copied().map(Some).collect(),
        };
        for peer in named {
            draft.blank();
            draft.table("[[bgp.peer]]");
            let address = peer.map(|address| string(&address.to_string()));
            draft.fact("address", address, "\"10.99.1.1\"", "the router's address");
            draft.fact("peer_as", self.peer_as.clone(), "65000", "the router's AS number, or \"internal\"");
            self.next_hops(peer.is_none_or(|address| address.is_ipv4()), families, draft);
        }
    }

    /// For VIPs of the family that the session does not run over.
    pub(super) fn next_hops(&self, over_ipv4: bool, families: Families, draft: &mut Draft) {
        if over_ipv4 && families.ipv6 {
            let next_hop = self.next_hop_ipv6.map(|address| string(&address.to_string()));
            draft.fact(
                "next_hop_ipv6",
                next_hop,
                "\"fd00:99:1::2\"",
                "this host's own IPv6 address towards the router",
            );
        }
        if !over_ipv4 && families.ipv4 {
            draft.fact("next_hop_ipv4", None, "\"10.99.1.2\"", "this host's own IPv4 address towards the router");
        }
    }
}
