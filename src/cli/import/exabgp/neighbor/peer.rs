//! The peer that a neighbour becomes.

use std::net::{IpAddr, Ipv4Addr};

use super::super::super::draft::{Draft, Names, cut, list, string};
use super::super::super::facts::Families;
use super::Neighbor;

/// What the peers of a file are told.
pub(in super::super) struct Told {
    /// In which they differ from the others; `None` when they get all there is.
    pub(in super::super) accept: Option<Vec<String>>,
    pub(in super::super) families: Families,
    /// As TOML, for a neighbour that does not say it itself.
    pub(in super::super) peer_as: Option<String>,
    pub(in super::super) next_hop_ipv4: Option<IpAddr>,
    pub(in super::super) next_hop_ipv6: Option<IpAddr>,
    pub(in super::super) router_id: Option<Ipv4Addr>,
    /// The longest time for which some peer keeps routes.
    pub(in super::super) restart_time: Option<u16>,
}

impl Neighbor {
    /// `[[bgp.peer]]`.
    pub(in super::super) fn write(&self, common: Option<u32>, told: &Told, names: &mut Names, draft: &mut Draft) {
        draft.blank();
        let over_ipv4 = !self.address.contains(':');
        let internal = self.is_internal(common);
        if let Some(place) = &self.place {
            draft.comment(&format!("neighbor {} of {place}.", self.address));
        }
        for (place, what) in self.refused.iter().chain(&self.routes) {
            draft.refuse(place, what);
        }
        self.needless.iter().for_each(|(_, what)| draft.comment(what));
        self.other_router_id(told, draft);
        let name = names.choose(self.description.as_deref().unwrap_or(&self.address));
        self.secret(&name, draft);
        if self.outgoing_ttl.is_none() && self.incoming_ttl.is_none() && internal != Some(true) {
            draft.comment("ExaBGP sends with the system's TTL, Herald to external peers with 1: a router that is further away needs `multihop`.");
        }
        if self.is_configured && self.hold_time.is_none() {
            draft.comment(
                "ExaBGP's hold time is 180 s where none is said, Herald's 9 s with keepalives every 3 s (hold_time).",
            );
        }
        if let Some(interface) = self.interface.as_ref().filter(|_| !self.is_active()) {
            draft.comment(&format!(
                "source-interface {} is left out: a router that connects comes by whatever interface it does.",
                cut(interface)
            ));
        }
        draft.table("[[bgp.peer]]");
        draft.key("name", string(&name));
        draft.key("address", string(&self.address));
        let peer_as = match self.peer_as {
            Some(Some(number)) if internal == Some(true) && number > 0 => Some(string("internal")),
            Some(Some(number)) => Some(number.to_string()),
            // Any but ours.
            Some(None) => Some(string("external")),
            None => told.peer_as.clone(),
        };
        draft.fact("peer_as", peer_as, "65000", "the router's AS number, or \"internal\"");
        if let Some(own) = self.local_as.filter(|own| common.is_some_and(|common| common != *own)) {
            draft.key("local_as", own);
        }
        self.transport(&name, draft);
        self.session(told, draft);
        self.next_hops(told, over_ipv4, draft);
        if let Some(accept) = &told.accept {
            let value = format!("{{ accept = {} }}", list(accept));
            draft.noted("export", value, "of the processes that may speak to it");
        }
    }

    /// Whether it is we who connect, and never the router.
    fn is_active(&self) -> bool {
        !self.passive && self.listen.is_none()
    }

    fn transport(&self, name: &str, draft: &mut Draft) {
        if let Some(source) = self.local_address.filter(|_| !self.address.contains('/')) {
            draft.key("source", string(&source.to_string()));
        }
        if let Some(interface) = self.interface.as_ref().filter(|_| self.is_active()) {
            draft.key("interface", string(interface));
        }
        if let Some(port) = self.connect {
            draft.key("port", port);
        }
        if self.password.is_some() {
            draft.key("password_file", string(&secret_file(name)));
        }
        match (self.incoming_ttl, self.outgoing_ttl) {
            (Some(least), _) => draft.noted("ttl_security", 256 - u16::from(least.max(2)), "and sends with 255"),
            (None, Some(ttl)) => draft.key("multihop", ttl),
            (None, None) => {}
        }
        match (self.passive, self.listen) {
            (true, _) => draft.key("mode", string("passive")),
            (false, Some(_)) => draft.key("mode", string("both")),
            (false, None) => {}
        }
    }

    fn session(&self, told: &Told, draft: &mut Draft) {
        if let Some(seconds) = self.hold_time {
            draft.key("hold_time", format!("\"{seconds}s\""));
        }
        if !self.families.is_empty() {
            let mut families = self.families.clone();
            families.sort();
            families.dedup();
            if families.len() == 1 {
                draft.key("families", list(&families));
            }
        }
        for (key, on) in [
            ("extended_next_hop", self.extended_next_hop),
            ("extended_messages", self.extended_messages),
            ("advertise_version", self.version),
        ] {
            if on {
                draft.key(key, true);
            }
        }
        // What no peer has is off without a word.
        let Some(longest) = told.restart_time else { return };
        match self.restart_time() {
            Some(own) if own == longest => draft.key("graceful_restart", true),
            Some(own) => {
                let remark = format!("for {own} s in ExaBGP; Herald has one restart_time, in [bgp.graceful_restart]");
                draft.noted("graceful_restart", true, &remark);
            }
            None => draft.noted("graceful_restart", false, "as in ExaBGP: this router is not asked to keep routes"),
        }
    }

    fn next_hops(&self, told: &Told, over_ipv4: bool, draft: &mut Draft) {
        let speaks = |family: &str| self.families.is_empty() || self.families.iter().any(|it| it == family);
        let own = [
            ("next_hop_ipv4", "ipv4", told.families.ipv4, told.next_hop_ipv4, over_ipv4, "\"10.99.1.2\""),
            ("next_hop_ipv6", "ipv6", told.families.ipv6, told.next_hop_ipv6, !over_ipv4, "\"fd00:99:1::2\""),
        ];
        for (key, family, used, chosen, is_self, stand_in) in own {
            let by_other = family == "ipv4" && self.extended_next_hop;
            // Where the session itself has such an address, that is what ExaBGP's `self` means.
            if !used || !speaks(family) || (chosen.is_none() && (is_self || by_other)) {
                continue;
            }
            let ask = format!("this host's own address of {family}, where traffic for its VIPs shall go");
            draft.fact(key, chosen.map(|address| string(&address.to_string())), stand_in, &ask);
        }
    }

    /// The password stays where it is; how it gets where it shall be.
    fn secret(&self, name: &str, draft: &mut Draft) {
        let Some(place) = &self.password else { return };
        let encoded = if self.base64 { ", decoded from base64" } else { "" };
        draft.comment(&format!(
            "Put the md5-password of {place}{encoded} into {}, in one line, for its owner (Herald's user) alone: install -m \
             600 -o herald /dev/stdin {0}",
            secret_file(name)
        ));
    }

    fn other_router_id(&self, told: &Told, draft: &mut Draft) {
        let own = self.identifier().filter(|own| told.router_id.is_some_and(|common| common != *own));
        if let Some(own) = own {
            draft.comment(&format!(
                "ExaBGP's router-id towards it is {own}; Herald has one for all peers, router_id in [bgp]."
            ));
        }
    }
}

fn secret_file(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    format!("/etc/herald/secrets/{}", name.chars().map(plain).collect::<String>().trim_start_matches('.'))
}
