//! What the operator writes: a random configuration, and random edits of it. It goes through the parser as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use herald::config::{Config, Source, parse};
use herald::rng::Rng;

pub(crate) const BIG_AS: u32 = 4_200_000_001;
pub(crate) const HOSTS: [&str; 7] =
    ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "fd00:1::1", "fd00:1::2"];
const VIPS: [&str; 10] = [
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.3",
    "192.0.2.200",
    "198.51.100.0/24",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8::3",
    "2001:db8:7::/48",
    "203.0.113.5",
];
const CHECKS: [(&str, &str); 6] = [
    ("plain", r#"type = "tcp", interval = "1s", timeout = "500ms", rise = 2, fall = 2"#),
    (
        "web",
        r#"type = "http", path = "/web", interval = "2s", timeout = "1s", rise = 3, fall = 2, fast_interval = "500ms""#,
    ),
    (
        "lazy",
        r#"type = "http", path = "/lazy", interval = "5s", timeout = "2s", rise = 1, fall = 3, fast_interval = "1s""#,
    ),
    ("eager", r#"type = "tcp", port = 9000, interval = "500ms", timeout = "300ms", rise = 3, fall = 3"#),
    ("hasty", r#"type = "http", path = "/hasty", interval = "1s", timeout = "1s", rise = 1, fall = 1"#),
    ("overlong", r#"type = "http", path = "/overlong", interval = "1s", timeout = "3s", rise = 2, fall = 2"#),
];
/// Another timing for a check: an edit that makes it a new check.
const EDITED: &str =
    r#"type = "tcp", interval = "1500ms", timeout = "500ms", rise = 2, fall = 3, fast_interval = "300ms""#;
const COMMUNITIES: [&str; 7] =
    ["65000:100", "no-export", "65000:1:2", "4200000000:7:8", "65000:200", "rt:65000:100", NON_TRANSITIVE];
/// An error on an external peer.
const NON_TRANSITIVE: &str = "generic:0x43000000:0x1";
const REQUIRED: [&str; 5] = ["1", "1", "\"50%\"", "2", "0"];

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) local_as: u32,
    startup_deadline: u64,
    pub(crate) drain: u64,
    edited_check: bool,
    pub(crate) peers: Vec<PeerPlan>,
    services: Vec<ServicePlan>,
    vips: BTreeMap<&'static str, String>,
    named: u64,
    /// Every server is well to begin with.
    pub(crate) well: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct PeerPlan {
    number: u64,
    address: String,
    peer_as: u32,
    families: &'static str,
    next_hops: &'static str,
    hold_time: u64,
    messages: &'static str,
    mode: &'static str,
    attributes: String,
    export: &'static str,
}

#[derive(Clone, Debug)]
struct ServicePlan {
    number: u64,
    vips: BTreeSet<&'static str>,
    required: &'static str,
    checks: BTreeSet<&'static str>,
    backends: Vec<BackendPlan>,
}

#[derive(Clone, Debug)]
struct BackendPlan {
    host: &'static str,
    port: u64,
    weight: u64,
    enabled: bool,
    own_check: bool,
}

pub(crate) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

/// One in `n`.
pub(crate) fn one_in(rng: &mut Rng, n: u64) -> bool {
    rng.below(n) == 0
}

/// `internal`: routes may carry LOCAL_PREF.
fn attributes(rng: &mut Rng, internal: bool) -> String {
    let mut text = String::new();
    if one_in(rng, 2) {
        writeln!(text, "med = {}", rng.below(3) * 50).unwrap();
    }
    if one_in(rng, 4) && internal {
        writeln!(text, "local_pref = {}", 100 + rng.below(3)).unwrap();
    }
    if one_in(rng, 4) {
        writeln!(text, "as_path_prepend = {}", rng.below(3)).unwrap();
    }
    if one_in(rng, 5) {
        writeln!(text, "origin = \"incomplete\"").unwrap();
    }
    if one_in(rng, 2) {
        let chosen: BTreeSet<_> = (0..=rng.below(3)).map(|_| pick(rng, &COMMUNITIES)).collect();
        let chosen: Vec<_> = chosen.into_iter().filter(|text| internal || *text != NON_TRANSITIVE).collect();
        writeln!(text, "communities = {chosen:?}").unwrap();
    }
    text
}

fn vip(rng: &mut Rng) -> String {
    let mut text = attributes(rng, true);
    if one_in(rng, 4) {
        writeln!(text, "hold_up = \"{}s\"", 1 + rng.below(4)).unwrap();
    }
    if one_in(rng, 4) {
        text.push_str("on_down = \"degrade\"\ndegraded = { med = 1000, as_path_prepend = 3, communities = [\"graceful-shutdown\"] }\n");
    }
    text
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Plan {
        let mut plan = Plan {
            local_as: pick(rng, &[65001, 65001, BIG_AS]),
            startup_deadline: pick(rng, &[4, 15, 30]),
            drain: pick(rng, &[0, 0, 2]),
            edited_check: false,
            peers: Vec::new(),
            services: Vec::new(),
            vips: BTreeMap::new(),
            named: 0,
            well: false,
        };
        for _ in 0..2 + rng.below(2) {
            plan.add_peer(rng);
        }
        for _ in 0..1 + rng.below(4) {
            plan.add_service(rng);
        }
        plan
    }

    fn next_number(&mut self) -> u64 {
        self.named += 1;
        self.named
    }

    fn add_peer(&mut self, rng: &mut Rng) {
        let number = self.next_number();
        let address = if one_in(rng, 3) { format!("fd00:99::{number}") } else { format!("10.0.0.{number}") };
        let mut peer = PeerPlan {
            number,
            address,
            peer_as: pick(rng, &[65000, self.local_as, 4_200_000_009]),
            families: "",
            next_hops: "",
            hold_time: 0,
            messages: "",
            mode: "",
            attributes: String::new(),
            export: "",
        };
        peer.edit_session(rng);
        let internal = peer.peer_as == self.local_as;
        peer.edit_routes(rng, internal);
        self.peers.push(peer);
    }

    fn add_service(&mut self, rng: &mut Rng) {
        let number = self.next_number();
        let mut service = ServicePlan {
            number,
            vips: (0..=rng.below(2)).map(|_| pick(rng, &VIPS)).collect(),
            required: pick(rng, &REQUIRED),
            checks: [pick(rng, &CHECKS).0].into(),
            backends: Vec::new(),
        };
        if one_in(rng, 3) {
            service.checks.insert(pick(rng, &CHECKS).0);
        }
        for _ in 0..=1 + rng.below(2) {
            service.add_backend(rng);
        }
        for address in &service.vips {
            if one_in(rng, 2) {
                self.vips.insert(address, vip(rng));
            }
        }
        self.services.push(service);
    }

    /// Changes one thing; says what.
    pub(crate) fn edit(&mut self, rng: &mut Rng) -> &'static str {
        match rng.below(16) {
            0 => "nothing",
            1 | 2 => {
                self.vips.insert(pick(rng, &VIPS), vip(rng));
                "vip"
            }
            3 if self.services.len() < 6 => {
                self.add_service(rng);
                "add service"
            }
            4 if self.services.len() > 1 => {
                let which = rng.below(self.services.len() as u64) as usize;
                self.services.remove(which);
                "remove service"
            }
            5 => {
                self.edited_check ^= true;
                "edit check"
            }
            6..13 => {
                let which = rng.below(self.services.len() as u64) as usize;
                self.services[which].edit(rng)
            }
            _ => self.edit_peer(rng),
        }
    }

    fn edit_peer(&mut self, rng: &mut Rng) -> &'static str {
        let which = rng.below(self.peers.len() as u64) as usize;
        match rng.below(8) {
            0 if self.peers.len() < 4 => {
                self.add_peer(rng);
                "add peer"
            }
            1 if self.peers.len() > 1 => {
                self.peers.remove(which);
                "remove peer"
            }
            2 | 3 => {
                self.peers[which].edit_session(rng);
                "peer session"
            }
            _ => {
                let internal = self.peers[which].peer_as == self.local_as;
                self.peers[which].edit_routes(rng, internal);
                "peer routes"
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "[daemon]\nworkers = 16\nstartup_deadline = \"{}s\"\nshutdown_drain = \"{}s\"\n[bgp]\nlocal_as = {}\nrouter_id = \"10.99.1.2\"\nlisten = [\"[::]:179\"]\n",
            self.startup_deadline, self.drain, self.local_as
        );
        for peer in &self.peers {
            let PeerPlan {
                number,
                address,
                peer_as,
                families,
                next_hops,
                hold_time,
                messages,
                mode,
                attributes,
                export,
            } = peer;
            let peer_as = match peer_as {
                asn if *asn == self.local_as && number % 2 == 0 => "\"internal\"".to_owned(),
                65000 if number % 2 == 0 => "\"external\"".to_owned(),
                asn => asn.to_string(),
            };
            write!(
                text,
                "[[bgp.peer]]\nname = \"r{number}\"\naddress = \"{address}\"\npeer_as = {peer_as}\nfamilies = {families}\n\
                 hold_time = \"{hold_time}s\"\n{mode}{messages}{next_hops}{attributes}{export}"
            )
            .unwrap();
        }
        let used: BTreeSet<_> = self.services.iter().flat_map(|service| &service.checks).copied().collect();
        for (name, keys) in CHECKS.into_iter().filter(|(name, _)| used.contains(name)) {
            let keys = if name == "plain" && self.edited_check { EDITED } else { keys };
            writeln!(text, "[checks.{name}]\n{}", keys.replace(", ", "\n")).unwrap();
        }
        for service in &self.services {
            service.write(&mut text);
        }
        let standing: BTreeSet<_> = self.services.iter().flat_map(|service| &service.vips).copied().collect();
        for (address, keys) in self.vips.iter().filter(|(address, _)| standing.contains(*address)) {
            write!(text, "[[vip]]\naddress = \"{address}\"\n{keys}").unwrap();
        }
        for (prefix, start) in [("192.0.2.0/24", "192.0.2."), ("2001:db8::/32", "2001:db8:")] {
            if standing.iter().any(|address| address.starts_with(start)) {
                let required = REQUIRED[self.services.len() % REQUIRED.len()];
                write!(text, "[[aggregate]]\nprefix = \"{prefix}\"\nrequired = {required}\nmed = 77\n").unwrap();
            }
        }
        text
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        read(self.text())
    }
}

pub(crate) fn read(text: String) -> Arc<Config> {
    let shown = text.clone();
    match parse(&[Source { name: "herald.toml".into(), text }]) {
        Ok(config) => Arc::new(config),
        Err(errors) => {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            panic!("{}\n{shown}", errors.join("\n"))
        }
    }
}

impl PeerPlan {
    fn edit_session(&mut self, rng: &mut Rng) {
        self.hold_time = pick(rng, &[0, 3, 9, 9, 90]);
        self.mode = pick(rng, &["", "mode = \"passive\"\n", "mode = \"both\"\n", "mode = \"both\"\n"]);
        self.messages = pick(rng, &["", "extended_messages = true\n"]);
        self.families = pick(rng, &[r#"["ipv4"]"#, r#"["ipv4", "ipv6"]"#, r#"["ipv4", "ipv6"]"#, r#"["ipv6"]"#]);
    }

    fn edit_routes(&mut self, rng: &mut Rng, internal: bool) {
        self.attributes = attributes(rng, internal);
        self.next_hops = pick(
            rng,
            &[
                "",
                "next_hop_ipv4 = \"10.99.1.2\"\nnext_hop_ipv6 = \"fd00:99:1::2\"\n",
                "next_hop_ipv4 = \"10.99.1.2\"\nnext_hop_ipv6 = \"fd00:99:1::2\"\n",
                "next_hop_ipv4 = \"10.99.1.3\"\nnext_hop_ipv6 = [\"fd00:99:1::2\", \"fe80::2\"]\n",
            ],
        );
        self.export = pick(
            rng,
            &[
                "",
                "",
                "export = { accept = [\"192.0.2.0/24\", \"2001:db8::/32\"] }\n",
                "export = { reject = [\"192.0.2.128/25\"] }\n",
            ],
        );
    }
}

impl ServicePlan {
    fn add_backend(&mut self, rng: &mut Rng) {
        let (host, own_check) = (pick(rng, &HOSTS), one_in(rng, 6));
        // Few ports, so that services share checks of one target.
        let taken = |port: &u64| self.backends.iter().any(|other| (other.host, other.port) == (host, *port));
        let port = (8000..).find(|port| !taken(port)).unwrap();
        self.backends.push(BackendPlan { host, port, weight: 1, enabled: true, own_check });
    }

    fn edit(&mut self, rng: &mut Rng) -> &'static str {
        match rng.below(8) {
            0 => {
                self.vips.insert(pick(rng, &VIPS));
                "add vip to service"
            }
            1 if self.vips.len() > 1 => {
                self.vips.pop_first();
                "remove vip from service"
            }
            2 if self.backends.len() > 1 => {
                self.backends.remove(0);
                "remove backend"
            }
            3 => {
                self.checks.insert(pick(rng, &CHECKS).0);
                "add check"
            }
            4 if self.checks.len() > 1 => {
                self.checks.pop_first();
                "remove check"
            }
            5 => {
                let backend = &mut self.backends[0];
                (backend.weight, backend.enabled) = pick(rng, &[(1, true), (1, true), (0, true), (1, false)]);
                "weight"
            }
            6 if self.backends.len() < 4 => {
                self.add_backend(rng);
                "add backend"
            }
            _ => {
                self.required = pick(rng, &REQUIRED);
                "required"
            }
        }
    }

    fn write(&self, text: &mut String) {
        let ServicePlan { number, required, backends, .. } = self;
        let vips: Vec<_> = self.vips.iter().collect();
        let checks: Vec<_> = self.checks.iter().collect();
        writeln!(
            text,
            "[[service]]\nname = \"s{number}\"\nvips = {vips:?}\nport = {}\nrequired = {required}\nchecks = {checks:?}",
            1000 + number
        )
        .unwrap();
        for BackendPlan { host, port, weight, enabled, own_check } in backends {
            writeln!(
                text,
                "[[service.backend]]\naddress = \"{host}\"\nport = {port}\nweight = {weight}\nenabled = {enabled}"
            )
            .unwrap();
            if *own_check {
                writeln!(
                    text,
                    "check = [{{ type = \"http\", path = \"/own\", interval = \"800ms\", timeout = \"400ms\" }}]"
                )
                .unwrap();
            }
        }
    }
}
