//! A neighbour of ExaBGP, and the peer that it becomes.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::super::draft::{Draft, Fault, Names, Place, list, string};
use super::super::facts::Families;
use super::attributes::asn;
use super::conf::Statement;

/// Statements that mean nothing here, and why.
const NEEDLESS: [(&str, &str); 8] = [
    ("group-updates", "routes with the same attributes always share messages"),
    ("auto-flush", "changes are always sent at once"),
    ("adj-rib-out", "what was sent is always known, and sent again when the router asks"),
    ("adj-rib-in", "what routers send is not kept"),
    ("manual-eor", "End-of-RIB is sent once first verdicts are in"),
    ("rate-limit", "routes go in as few messages as possible, and at once"),
    ("host-name", "`advertise_hostname = true` tells the router the name of this host"),
    ("domain-name", "`advertise_hostname = true` tells the router the name of this host"),
];

/// Blocks with routes of their own, or for what Herald does not do.
const ROUTES: [&str; 5] = ["static", "announce", "flow", "l2vpn", "operational"];

/// How many patterns one neighbour may have, and how large each may become.
const MAX_PATTERNS: usize = 16;
const MAX_PATTERN: usize = 1 << 16;

/// A neighbour, understood; what its templates say is in it.
#[derive(Default)]
pub(super) struct Neighbor {
    pub(super) address: String,
    pub(super) place: Option<Place>,
    /// Whether it has a block, and not just a name.
    is_configured: bool,
    description: Option<String>,
    pub(super) local_as: Option<u32>,
    /// `Some(None)`: `auto`.
    pub(super) peer_as: Option<Option<u32>>,
    pub(super) router_id: Option<Ipv4Addr>,
    local_address: Option<IpAddr>,
    interface: Option<String>,
    hold_time: Option<u16>,
    pub(super) passive: bool,
    listen: Option<u16>,
    connect: Option<u16>,
    outgoing_ttl: Option<u8>,
    incoming_ttl: Option<u8>,
    password: Option<Place>,
    base64: bool,
    families: Vec<String>,
    /// `Some(None)`: for as long as the hold time.
    graceful_restart: Option<Option<u16>>,
    extended_next_hop: bool,
    extended_messages: bool,
    version: bool,
    processes: Vec<String>,
    matches: Vec<regex::Regex>,
    needless: Vec<(Place, String)>,
    refused: Vec<(Place, String)>,
}

/// What the peers of a file are told.
pub(super) struct Told {
    /// In which they differ from the others; `None` when they get all there is.
    pub(super) accept: Option<Vec<String>>,
    pub(super) families: Families,
    /// As TOML, for a neighbour that does not say it itself.
    pub(super) peer_as: Option<String>,
    pub(super) next_hop_ipv4: Option<IpAddr>,
    pub(super) next_hop_ipv6: Option<IpAddr>,
}

impl Neighbor {
    /// One of which no more is known, and where that was said.
    pub(super) fn plain(address: IpAddr, place: Option<&Place>) -> Neighbor {
        Neighbor { address: address.to_string(), place: place.cloned(), ..Neighbor::default() }
    }

    /// Reads the statements of a `neighbor` block, those of its templates first.
    pub(super) fn read(address: &str, place: &Place, statements: &[&Statement]) -> Result<Neighbor, Fault> {
        let valid = address.parse::<IpAddr>().is_ok() || address.parse::<IpNet>().is_ok();
        if !valid {
            return Err(Fault::new(place, "`neighbor` is followed by neither an address nor a prefix").without("it"));
        }
        let mut neighbor = Neighbor {
            address: address.to_owned(),
            place: Some(place.clone()),
            is_configured: true,
            ..Neighbor::default()
        };
        for statement in statements {
            if let Err(what) = neighbor.statement(statement) {
                neighbor.refuse(statement, &what);
            }
        }
        Ok(neighbor)
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), String> {
        let key = statement.key();
        if let Some(block) = &statement.block {
            return self.block(key, block, &statement.place);
        }
        let value = statement.argument();
        let wrong = || format!("`{key}` has no such value");
        match key {
            "inherit" => {}
            "description" => self.description = Some(statement.arguments().join(" ")),
            "router-id" => self.router_id = Some(value.parse().map_err(|_| wrong())?),
            "local-as" if value == "auto" => {
                self.refuse(statement, "`local-as auto`: say --local-as; Herald has one AS of its own");
            }
            "local-as" => self.local_as = Some(asn(value).ok_or_else(wrong)?),
            "peer-as" if value == "auto" => self.peer_as = Some(None),
            "peer-as" => self.peer_as = Some(Some(asn(value).ok_or_else(wrong)?)),
            "local-address" if value == "auto" => self.local_address = None,
            "local-address" => self.local_address = Some(value.parse().map_err(|_| wrong())?),
            "source-interface" => self.interface = Some(value.to_owned()),
            "hold-time" => self.hold_time = Some(value.parse().map_err(|_| wrong())?),
            "passive" => self.passive = truth(value).ok_or_else(wrong)?,
            "listen" => self.listen = Some(value.parse().map_err(|_| wrong())?).filter(|port| *port > 0),
            "connect" => self.connect = Some(value.parse().map_err(|_| wrong())?).filter(|port| *port > 0),
            "outgoing-ttl" => self.outgoing_ttl = ttl(value).ok_or_else(wrong)?,
            "incoming-ttl" => self.incoming_ttl = ttl(value).ok_or_else(wrong)?,
            "md5-password" => self.password = Some(statement.place.clone()),
            "md5-base64" => self.base64 = value == "auto" || truth(value).ok_or_else(wrong)?,
            "md5-ip" => self.refuse(statement, "`md5-ip`: the password is that of the neighbour's address"),
            _ if NEEDLESS.iter().any(|(known, _)| *known == key) => {
                self.needless.push((statement.place.clone(), key.to_owned()));
            }
            _ => self.refuse(statement, &format!("{} is not known within neighbor", shown(key))),
        }
        Ok(())
    }

    fn block(&mut self, key: &str, block: &[Statement], place: &Place) -> Result<(), String> {
        match key {
            "family" => block.iter().for_each(|statement| self.family(statement)),
            "capability" => {
                for statement in block {
                    self.capability(statement)?;
                }
            }
            "nexthop" => {
                for statement in block {
                    match statement.words.join(" ").as_str() {
                        "ipv4 unicast ipv6" => self.extended_next_hop = true,
                        _ => self.refuse(statement, "a next hop of another family for these routes"),
                    }
                }
            }
            "api" => block.iter().for_each(|statement| self.api(statement)),
            "add-path" => self.refused.push((place.clone(), "`add-path`: there is one path for each VIP".to_owned())),
            _ if ROUTES.contains(&key) && block.is_empty() => {}
            _ if ROUTES.contains(&key) => {
                let what = "Herald announces VIPs; a service with `required = 0` and `checks = []` is always announced";
                self.refused.push((place.clone(), format!("`{key}` and what is in it: {what}")));
            }
            _ => self.refused.push((place.clone(), format!("{} is not known within neighbor", shown(key)))),
        }
        Ok(())
    }

    fn family(&mut self, statement: &Statement) {
        let both = ["ipv4", "ipv6"];
        match (statement.key(), statement.argument()) {
            ("all", _) => both.iter().for_each(|family| self.families.push((*family).to_owned())),
            (family, "unicast") if both.contains(&family) => self.families.push(family.to_owned()),
            _ => self.refuse(statement, "a family that Herald does not have"),
        }
    }

    fn capability(&mut self, statement: &Statement) -> Result<(), String> {
        let (key, value) = (statement.key(), statement.argument());
        let wrong = || format!("`{key}` has no such value");
        let on = || truth(value).ok_or_else(wrong);
        match key {
            "graceful-restart" if ["disable", "disabled"].contains(&value) => self.graceful_restart = None,
            "graceful-restart" if value.is_empty() => self.graceful_restart = Some(None),
            "graceful-restart" => {
                let seconds: u16 = value.parse().map_err(|_| wrong())?;
                self.graceful_restart = (seconds > 0).then_some(Some(seconds));
            }
            // ExaBGP has it on by default, and nobody needs it for a few routes.
            "extended-message" => self.extended_messages = on()?,
            "nexthop" => self.extended_next_hop |= on()?,
            "software-version" => self.version = on()?,
            "asn4" | "route-refresh" | "multi-session" | "operational" | "aigp" => {
                let off = !value.is_empty() && !on()?;
                if off && key == "asn4" {
                    self.refuse(statement, "`asn4 disable`: AS numbers of four octets are always offered");
                } else {
                    self.needless.push((statement.place.clone(), key.to_owned()));
                }
            }
            "add-path" => self.refuse(statement, "`add-path`: there is one path for each VIP"),
            _ => self.refuse(statement, &format!("{} is not known within capability", shown(key))),
        }
        Ok(())
    }

    fn api(&mut self, statement: &Statement) {
        let names = statement.arguments().iter().filter(|word| !["[", "]", ","].contains(&word.as_str())).cloned();
        match statement.key() {
            "processes" => self.processes.extend(names),
            "processes-match" => names.for_each(|pattern| self.pattern(&pattern, statement)),
            // What a process is told: health checks do not listen.
            "send" | "receive" | "neighbor-changes" | "negotiated" | "fsm" | "signal" => {}
            key => self.refuse(statement, &format!("{} is not known within api", shown(key))),
        }
    }

    /// Python's `re.match` is anchored at the beginning alone.
    fn pattern(&mut self, pattern: &str, statement: &Statement) {
        let compiled = regex::RegexBuilder::new(&format!("^(?:{pattern})")).size_limit(MAX_PATTERN).build();
        match compiled {
            Ok(pattern) if self.matches.len() < MAX_PATTERNS => self.matches.push(pattern),
            _ => self.refuse(statement, "`processes-match`: name the processes in `processes`"),
        }
    }

    fn refuse(&mut self, statement: &Statement, what: &str) {
        self.refused.push((statement.place.clone(), what.to_owned()));
    }

    /// Whether the process may speak to this neighbour.
    pub(super) fn listens_to(&self, process: &str) -> bool {
        self.processes.iter().any(|name| name == process) || self.matches.iter().any(|it| it.is_match(process))
    }

    pub(super) fn is_internal(&self, local_as: Option<u32>) -> Option<bool> {
        Some(self.peer_as?? == self.local_as.or(local_as)?)
    }

    /// Its own address as the identifier, if it says no other.
    pub(super) fn identifier(&self) -> Option<Ipv4Addr> {
        let address = match self.local_address {
            Some(IpAddr::V4(address)) => Some(address),
            _ => None,
        };
        self.router_id.or(address)
    }

    /// Where it may connect to us.
    pub(super) fn listens_at(&self) -> Option<String> {
        let port = self.listen.or(self.passive.then_some(179))?;
        let any = if self.address.contains(':') { "::" } else { "0.0.0.0" };
        let address = self.local_address.unwrap_or(any.parse().ok()?);
        Some(std::net::SocketAddr::new(address, port).to_string())
    }

    /// Whether this is the address that its session has at our end.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.local_address == Some(address)
    }

    /// How long its routes may stay while we are away.
    pub(super) fn restart_time(&self) -> Option<u16> {
        self.graceful_restart.map(|time| time.unwrap_or(self.hold_time.unwrap_or(180)))
    }

    /// `[[bgp.peer]]`.
    pub(super) fn write(&self, common: Option<u32>, told: &Told, names: &mut Names, draft: &mut Draft) {
        draft.blank();
        let over_ipv4 = !self.address.contains(':');
        let internal = self.is_internal(common);
        if let Some(place) = &self.place {
            draft.comment(&format!("neighbor {} of {place}.", self.address));
        }
        for (place, what) in &self.refused {
            draft.refuse(place, what);
        }
        self.needless(draft);
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
        self.session(draft);
        self.next_hops(told, over_ipv4, draft);
        if let Some(accept) = &told.accept {
            let value = format!("{{ accept = {} }}", list(accept));
            draft.noted("export", value, "of the processes that may speak to it");
        }
    }

    fn transport(&self, name: &str, draft: &mut Draft) {
        if let Some(source) = self.local_address.filter(|_| !self.address.contains('/')) {
            draft.key("source", string(&source.to_string()));
        }
        if let Some(interface) = &self.interface {
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

    fn session(&self, draft: &mut Draft) {
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
            ("graceful_restart", self.graceful_restart.is_some()),
        ] {
            if on {
                draft.key(key, true);
            }
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

    fn needless(&self, draft: &mut Draft) {
        for (place, key) in &self.needless {
            let why =
                NEEDLESS.iter().find(|(known, _)| known == key).map_or("as Herald does it anyway", |(_, why)| why);
            draft.comment(&format!("{place}: {key}: {why}."));
        }
    }
}

fn secret_file(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
    format!("/etc/herald/secrets/{}", name.chars().map(plain).collect::<String>().trim_start_matches('.'))
}

/// A name that somebody mistyped, for people; what is no name may be a secret.
fn shown(key: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if key.len() <= 40 && key.chars().all(plain) { format!("`{key}`") } else { "this".to_owned() }
}

/// Without a value it is on.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "" | "true" | "enable" | "enabled" => Some(true),
        "false" | "disable" | "disabled" => Some(false),
        _ => None,
    }
}

/// `Some(None)`: as if nothing was said.
fn ttl(text: &str) -> Option<Option<u8>> {
    match text {
        "false" | "disable" | "disabled" | "0" => Some(None),
        _ => text.parse().ok().map(Some),
    }
}
