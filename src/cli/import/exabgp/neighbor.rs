//! A neighbour of ExaBGP.

mod peer;

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::super::draft::{Fault, Place};
use super::attributes::asn;
use super::capability;
use super::conf::Statement;
pub(super) use peer::Told;

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

/// More than there are kinds of settings.
const MAX_SETTINGS: usize = 256;
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
    md5_ip: Option<(IpAddr, Place)>,
    families: Vec<String>,
    /// `Some(None)`: for as long as the hold time.
    graceful_restart: Option<Option<u16>>,
    extended_next_hop: bool,
    /// What the capability of that name says, and where.
    next_hop_capability: Option<(bool, Place)>,
    extended_messages: bool,
    version: bool,
    /// Those that may speak to it.
    pub(super) processes: Vec<String>,
    matches: Vec<regex::Regex>,
    /// What changes nothing here, and why.
    needless: Vec<(Place, String)>,
    refused: Vec<(Place, String)>,
    /// Of what is refused, the routes of its own: they are missed even where nothing else of it is wanted.
    pub(super) routes: Vec<(Place, String)>,
}

impl Neighbor {
    /// One of which no more is known, and where that was said.
    pub(super) fn plain(address: IpAddr, place: Option<&Place>) -> Neighbor {
        Neighbor { address: address.to_string(), place: place.cloned(), ..Neighbor::default() }
    }

    /// Reads the statements of a `neighbor` block, and those of its templates, which go before them.
    pub(super) fn read(
        address: &str,
        place: &Place,
        own: &[&Statement],
        inherited: &[&Statement],
    ) -> Result<Neighbor, Fault> {
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
        for statement in own.iter().chain(inherited) {
            if let Err(what) = neighbor.statement(statement) {
                neighbor.refuse(statement, &what);
            }
        }
        neighbor.overruled(own, inherited);
        // That of the session is ExaBGP's default.
        let local = neighbor.local_address;
        if let Some((_, place)) = neighbor.md5_ip.take().filter(|(address, _)| local != Some(*address)) {
            neighbor.refused.push((place, "`md5-ip`: the password is that of the neighbour's address".to_owned()));
        }
        match neighbor.next_hop_capability.take() {
            Some((false, _)) => neighbor.extended_next_hop = false,
            Some((true, place)) if !neighbor.extended_next_hop => neighbor.remark(&place, "nexthop", true),
            _ => {}
        }
        Ok(neighbor)
    }

    /// Tells what a template says otherwise. ExaBGP (4 and 5) lets it go before the neighbour's own word.
    fn overruled(&mut self, own: &[&Statement], inherited: &[&Statement]) {
        let settings = |statements: &[&Statement]| -> Vec<Statement> {
            let inner = |statement: &Statement| match &statement.block {
                None => vec![statement.clone()],
                Some(block) if statement.key() == "capability" => block.clone(),
                Some(_) => Vec::new(),
            };
            statements
                .iter()
                .flat_map(|statement| inner(statement))
                .filter(|it| it.key() != "inherit")
                .take(MAX_SETTINGS)
                .collect()
        };
        let (own, inherited) = (settings(own), settings(inherited));
        for (index, one) in own.iter().map(|one| (0, one)).chain((1..).zip(&inherited)) {
            let later = inherited[index..].iter().rev().find(|later| later.key() == one.key());
            if let Some(later) = later.filter(|later| later.arguments() != one.arguments()) {
                let what = format!(
                    "{}: {} does not count: in ExaBGP that of the template goes before it ({}).",
                    one.place,
                    shown(one.key()),
                    later.place
                );
                self.needless.push((one.place.clone(), what));
            }
        }
    }

    /// Says why a capability changes nothing here.
    fn remark(&mut self, place: &Place, key: &str, on: bool) {
        if let Some(why) = capability::remark(key, on) {
            self.needless.push((place.clone(), format!("{place}: {key}: {why}.")));
        }
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), String> {
        let key = statement.key();
        if let Some(block) = &statement.block {
            return self.block(key, block, &statement.place);
        }
        if capability::KEYS.contains(&key) {
            return self.capability(statement);
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
            // ExaBGP 3 has no more than this by that name: what it receives is not looked at.
            "ttl-security" if value.is_empty() => self.outgoing_ttl = Some(255),
            "ttl-security" => self.outgoing_ttl = ttl(value).ok_or_else(wrong)?,
            "incoming-ttl" => self.incoming_ttl = ttl(value).ok_or_else(wrong)?,
            "md5-password" | "md5" => self.password = Some(statement.place.clone()),
            "md5-base64" => self.base64 = value == "auto" || truth(value).ok_or_else(wrong)?,
            "md5-ip" => self.md5_ip = Some((value.parse().map_err(|_| wrong())?, statement.place.clone())),
            _ => match NEEDLESS.iter().find(|(known, _)| *known == key) {
                Some((_, why)) => {
                    let place = statement.place.clone();
                    self.needless.push((place.clone(), format!("{place}: {key}: {why}.")));
                }
                None => self.refuse(statement, &format!("{} is not known within neighbor", shown(key))),
            },
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
            // For which families, if the capability is on.
            "add-path" => {}
            _ if ROUTES.contains(&key) && block.is_empty() => {}
            _ if ROUTES.contains(&key) => {
                let what = "Herald announces VIPs; a service with `required = 0` and `checks = []` is always announced";
                self.routes.push((place.clone(), format!("`{key}` and what is in it: {what}")));
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
            (family, kind) => {
                let name = if kind.is_empty() { shown(family) } else { format!("{} {}", shown(family), shown(kind)) };
                self.refuse(statement, &format!("{name} is a family that Herald does not have"));
            }
        }
    }

    fn capability(&mut self, statement: &Statement) -> Result<(), String> {
        let (key, value) = (statement.key(), statement.argument());
        let wrong = || format!("`{key}` has no such value");
        if key == "graceful-restart" {
            self.graceful_restart = match value {
                "disable" | "disabled" => None,
                // The hold time.
                "" | "0" => Some(None),
                _ => Some(Some(value.parse().map_err(|_| wrong())?)),
            };
            return Ok(());
        }
        if !capability::KEYS.contains(&key) {
            self.refuse(statement, &format!("{} is not known within capability", shown(key)));
            return Ok(());
        }
        let on = match (key, value) {
            ("add-path", "receive") => true,
            ("add-path", "send" | "send/receive" | "receive/send") => {
                self.refuse(statement, "`add-path`: there is one path for each VIP, and it has no ID");
                return Ok(());
            }
            _ => truth(value).ok_or_else(wrong)?,
        };
        match (key, on) {
            ("extended-message", _) => self.extended_messages = on,
            ("software-version", _) => self.version = on,
            ("asn4", false) => self.refuse(statement, "`asn4 disable`: AS numbers of four octets are always offered"),
            ("nexthop", true) => {
                self.next_hop_capability = Some((on, statement.place.clone()));
                return Ok(());
            }
            ("nexthop", false) => self.next_hop_capability = Some((on, statement.place.clone())),
            _ => {}
        }
        self.remark(&statement.place, key, on);
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
        let time = self.graceful_restart.map(|time| time.unwrap_or(self.hold_time.unwrap_or(180)));
        time.filter(|seconds| *seconds > 0)
    }
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
