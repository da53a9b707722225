//! One health check of ExaBGP: what it was told, and what Herald is told in its place.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::super::draft::{Draft, Fault, Names, Place, cut, duration, header_key, list, string, written};
use super::super::program;
use super::MAX_NEIGHBORS;
use super::attributes::Ground;
use super::options::{Given, Options};
use super::vip::Announcement;

/// Beyond this nobody means each address of a network.
const MAX_VIPS: usize = 1024;
/// Seconds for a run that may take as long as it likes.
const LONGEST: f64 = 60.0;

/// A health check.
pub(super) struct Check {
    pub(super) name: String,
    pub(super) place: Place,
    /// The processes of exabgp.conf that run it, each as the neighbours know it; `None` for one that speaks to all.
    pub(super) processes: Vec<Option<String>>,
    /// Of these, those that were joined to the first.
    joined: Vec<Place>,
    /// The file that it reads.
    pub(super) config: Option<String>,
    pub(super) options: Options,
    /// In the order of their metrics. Empty when it takes whatever is on the loopback interface.
    pub(super) vips: Vec<IpNet>,
    /// Which of them, by their index, another check announces: they are left out here.
    pub(super) taken: BTreeSet<usize>,
    /// The neighbours that are told; empty when all are.
    pub(super) neighbors: Vec<IpAddr>,
    pub(super) next_hop: Option<(IpAddr, Place)>,
    interfaces: Vec<(IpNet, String)>,
}

impl Check {
    pub(super) fn new(name: &str, process: Option<&str>, place: &Place, options: Options) -> Result<Check, Fault> {
        let name = options.last("name").map_or(name, |given| &given.value).to_owned();
        let next_hop = match options.last("next-hop") {
            Some(given) => Some((address(given)?, given.place.clone())),
            None => None,
        };
        let neighbors = neighbors(&options)?;
        let mut check = Check {
            name,
            place: place.clone(),
            processes: vec![process.map(str::to_owned)],
            joined: Vec::new(),
            config: None,
            options,
            vips: Vec::new(),
            taken: BTreeSet::new(),
            neighbors,
            next_hop,
            interfaces: Vec::new(),
        };
        check.vips = check.read_vips()?;
        check.interfaces = check.read_interfaces()?;
        Ok(check)
    }

    /// Whether another one does the same, by another process.
    pub(super) fn is_same(&self, other: &Check) -> bool {
        fn told(check: &Check) -> impl Iterator<Item = (&str, &str)> {
            let given = check.options.given.iter().filter(|given| given.name != "name");
            given.map(|given| (given.name, given.value.as_str()))
        }
        told(self).eq(told(other))
            && self.options.unknown.is_empty()
            && other.options.unknown.is_empty()
            && self.processes.len() < MAX_NEIGHBORS
            && self.processes.iter().chain(&other.processes).all(Option::is_some)
            && !other.processes.iter().any(|process| self.processes.contains(process))
    }

    /// The neighbours of both are told of one.
    pub(super) fn join(&mut self, other: Check) {
        self.processes.extend(other.processes);
        self.joined.push(other.place);
    }

    fn read_vips(&self) -> Result<Vec<IpNet>, Fault> {
        let deaggregate = self.options.has("deaggregate-networks");
        let mut vips: Vec<IpNet> = Vec::new();
        for given in self.options.all("ip") {
            let network = network(&given.value)
                .ok_or_else(|| Fault::new(&given.place, "`--ip` is neither an address nor a network"))?;
            if network.trunc() != network {
                return Err(Fault::new(&given.place, format!("`--ip`: {network} has bits set beyond its length")));
            }
            let bits = network.max_prefix_len() - network.prefix_len();
            if deaggregate && bits > 0 {
                if bits > 10 {
                    return Err(Fault::new(&given.place, format!("`--ip`: {network} holds too many addresses")));
                }
                vips.extend(addresses(network));
            } else {
                vips.push(network);
            }
            if vips.len() > MAX_VIPS {
                return Err(Fault::new(&given.place, "there are too many addresses"));
            }
        }
        if !vips.is_empty() {
            let start = self.options.integer("start-ip", 0)?.rem_euclid(vips.len() as i64);
            vips.rotate_left(usize::try_from(start).unwrap_or_default());
        }
        Ok(vips)
    }

    fn read_interfaces(&self) -> Result<Vec<(IpNet, String)>, Fault> {
        let read = |given: &&Given| {
            let pair = given.value.split_once('%');
            let pair = pair.and_then(|(address, interface)| Some((network(address)?, interface.to_owned())));
            pair.ok_or_else(|| Fault::new(&given.place, "`--ip-ifname` is not of the form ADDRESS%INTERFACE"))
        };
        self.options.all("ip-ifname").iter().map(read).collect()
    }

    /// Those that are not left out, with the index that their metric goes by.
    fn own_vips(&self) -> impl Iterator<Item = (usize, &IpNet)> {
        self.vips.iter().enumerate().filter(|(index, _)| !self.taken.contains(index))
    }

    /// Whether its routes stay, with other attributes, when it fails.
    fn degrades(&self) -> bool {
        !self.options.has("withdraw-on-down")
    }

    /// Writes the check, the service, the VIPs and the programs that are to be told.
    pub(super) fn write(&self, ground: Ground, names: &mut Names, draft: &mut Draft) -> Result<(), Fault> {
        let name = names.choose(&self.name);
        draft.blank();
        draft.comment(&format!("{} of {}.", cut(&self.name), self.place));
        for place in &self.joined {
            draft.comment(&format!("{place}: the same check; here it is one, for the neighbors of both."));
        }
        for (place, what) in &self.options.unknown {
            draft.refuse(place, what);
        }
        let words = self.options.last("command").map(|given| shell(&given.value));
        let limit = self.limit()?.map_or(LONGEST, f64::from);
        let native = self.options.last("command").and_then(|given| program::of_shell(&given.value, limit));
        if let Some(words) = &words {
            self.write_check(&name, words, draft)?;
            program::remarks(&split(&words[2]), native.as_ref(), self.options.has("user"), draft);
            draft.blank();
        }
        self.write_service(&name, words.is_some(), native.as_ref().and_then(program::Native::port), draft);
        self.write_vips(ground, draft)?;
        self.write_hooks(&name, draft);
        self.remarks(draft);
        Ok(())
    }

    /// Seconds that a run may take; `None`: as long as it likes.
    fn limit(&self) -> Result<Option<u32>, Fault> {
        let timeout = self.options.integer("timeout", 5)?;
        Ok(u32::try_from(timeout).ok().filter(|timeout| *timeout > 0))
    }

    fn write_check(&self, name: &str, words: &[String], draft: &mut Draft) -> Result<(), Fault> {
        let options = &self.options;
        let interval = options.seconds("interval", 5.0)?;
        let fast = options.seconds("fast-interval", 1.0)?;
        let timeout = self.limit()?;
        draft.table(&format!("[checks.{}]", header_key(name)));
        draft.key("type", string("exec"));
        draft.key("command", list(words));
        let time = |option: &str, seconds: f64| {
            let place = options.last(option).map_or(&self.place, |given| &given.place);
            duration(seconds).ok_or_else(|| Fault::new(place, format!("`--{option}` is too long")))
        };
        if interval == 0.0 {
            let place = options.last("interval").map_or(&self.place, |given| &given.place);
            draft.refuse(place, "`--interval` 0 announces once and ends; Herald goes on checking, as if it were 5");
            draft.key("interval", "\"5s\"");
        } else {
            draft.noted("interval", time("interval", interval)?, "from start to start; ExaBGP's is from end to start");
        }
        let usual = if interval > 0.0 { interval } else { 5.0 };
        if fast < usual && fast > 0.0 {
            draft.key("fast_interval", time("fast-interval", fast)?);
        }
        match timeout {
            Some(timeout) => draft.key("timeout", time("timeout", timeout.into())?),
            None => draft.noted("timeout", time("timeout", LONGEST)?, "--timeout 0 is none; here there is always one"),
        }
        draft.key("rise", options.integer("rise", 3)?.max(1));
        draft.key("fall", options.integer("fall", 3)?.max(1));
        if let Some(user) = options.last("user") {
            draft.noted("user", string(&user.value), "needs CAP_SETUID and CAP_SETGID (see herald.service)");
        }
        Ok(())
    }

    fn write_service(&self, name: &str, is_checked: bool, port: Option<u16>, draft: &mut Draft) {
        draft.table("[[service]]");
        draft.key("name", string(name));
        let vips: Vec<String> = self.own_vips().map(|(_, vip)| written(vip)).collect();
        let known = Some(list(&vips)).filter(|_| !vips.is_empty());
        let label =
            self.options.last("label").map_or(String::new(), |label| format!(" with label lo:{}", cut(&label.value)));
        let ask = format!("what ExaBGP found on the loopback interface{label}: ip -o address show dev lo");
        draft.fact("vips", known, "[\"192.0.2.1\"]", &ask);
        let remark = if port.is_none() { "of the service, for people: ExaBGP does not know it" } else { "" };
        draft.noted("port", port.unwrap_or(80), remark);
        match is_checked {
            true => draft.key("checks", list(&[name])),
            false => draft.noted("checks", "[]", "there is no --command: always up"),
        }
        if let Some(disable) = self.options.last("disable") {
            draft.noted(
                "disable_file",
                string(&disable.value),
                "drains: GRACEFUL_SHUTDOWN, and drain_time later the withdrawal",
            );
        }
        draft.blank();
        draft.table("[[service.backend]]");
        let ipv6 = self.vips.first().is_some_and(|vip| vip.addr().is_ipv6());
        draft.noted("address", string(if ipv6 { "::1" } else { "127.0.0.1" }), "this host");
    }

    /// `[[vip]]` for each: metrics differ.
    fn write_vips(&self, ground: Ground, draft: &mut Draft) -> Result<(), Fault> {
        let announcement = Announcement::read(&self.options, &self.place, self.degrades(), ground, draft)?;
        let asked = |vip: &IpNet| {
            let address = vip.addr().to_string();
            self.options.last("command").is_some_and(|given| given.value.contains(&address))
        };
        for (index, vip) in self.own_vips() {
            let named =
                self.interfaces.iter().find(|(network, _)| network == vip).map(|(_, interface)| interface.as_str());
            let bind = if self.options.has("no-ip-setup") { None } else { Some(named.unwrap_or("lo")) };
            announcement.write(vip, index, bind, asked(vip), draft)?;
        }
        if self.vips.is_empty() {
            draft.blank();
            let start = self.options.last("start-ip").map_or(String::new(), |given| {
                format!(", beginning with number {} of them, counted from 0 (--start-ip)", cut(&given.value))
            });
            let increase = self.options.integer("increase", 1)?;
            draft.comment(&format!(
                "For each of these VIPs, with a metric that is higher by {increase} each time{start}:"
            ));
            announcement.sample(draft);
        }
        if let (Some(given), true) = (self.options.last("disable"), self.degrades()) {
            draft.blank();
            draft.comment(&format!(
                "{}: while the file is there, ExaBGP goes on announcing with metric {}; Herald drains and withdraws.",
                given.place,
                self.options.integer("disabled-metric", 500)?
            ));
        }
        Ok(())
    }

    /// `--execute` and its like.
    fn write_hooks(&self, name: &str, draft: &mut Draft) {
        const ALL: &str = "up) STATE=UP;; down) STATE=DOWN;; drained) STATE=DISABLED;; *) exit 0;;";
        let kinds = [
            ("execute", ALL),
            ("up-execute", "up) STATE=UP;; *) exit 0;;"),
            ("down-execute", "down) STATE=DOWN;; *) exit 0;;"),
            ("disabled-execute", "drained) STATE=DISABLED;; *) exit 0;;"),
        ];
        let mut said = false;
        for (option, cases) in kinds {
            for (index, given) in self.options.all(option).into_iter().enumerate() {
                draft.blank();
                if !said {
                    draft.comment(
                        "Told of a change of the service by a shell, with STATE as ExaBGP has it. RISING and FALLING are not \
                         told, and announcements do not wait for it: what has to be done first belongs in data_plane.",
                    );
                    said = true;
                }
                draft.table("[[hooks.notify]]");
                let number = if index == 0 { String::new() } else { format!("-{}", index + 1) };
                draft.key("name", string(&format!("{name}-{option}{number}")));
                let script = format!(
                    "[ \"$HERALD_SERVICE\" = \"$0\" ] || exit 0; case $HERALD_TO in {cases} esac; export STATE\n{}",
                    given.value
                );
                draft.key("command", list(&["/bin/sh", "-c", &script, name]));
                draft.key("events", "[\"service\"]");
                draft.noted("attempts", 1, "ExaBGP does not care how it ends");
                draft.noted("timeout", "\"60s\"", "ExaBGP waits for ever");
            }
        }
    }

    /// What is said once, without a key.
    fn remarks(&self, draft: &mut Draft) {
        let all = [
            ("label", "Herald's addresses have no label"),
            ("label-exact-match", "Herald's addresses have no label"),
            ("dynamic-ip-setup", if self.degrades() { STAYS } else { GOES }),
            ("sudo", "Herald adds addresses itself, with CAP_NET_ADMIN"),
            ("group", "a check runs with the groups of its user"),
            ("path-id", "Herald has one path for each VIP, without an ID"),
            ("debounce", "routers are told of changes, and of nothing else, anyway"),
            ("pid", "there is no file: one Herald holds the control socket"),
            ("syslog-facility", LOG),
            ("no-syslog", LOG),
            ("silent", LOG),
            ("debug", "`log = \"debug\"` in [daemon]"),
            ("no-ack", "there is nobody between Herald and the routers"),
            ("help", "is nothing to be translated"),
        ];
        let mut first = true;
        for (option, instead) in all {
            let Some(given) = self.options.last(option) else { continue };
            if std::mem::take(&mut first) {
                draft.blank();
            }
            draft.comment(&format!("{}: --{option}: {instead}.", given.place));
        }
        if let Some(given) = self.options.last("config") {
            if first {
                draft.blank();
            }
            let what = match &self.config {
                Some(file) => format!("the options of {} are among these", cut(file)),
                None => "a file that is named within such a file is not read".to_owned(),
            };
            draft.comment(&format!("{}: --config: {what}.", given.place));
        }
    }
}

const GOES: &str = "`bind` does so: the address goes unbind_delay after the withdrawal";
const STAYS: &str = "the address goes while the service is down; here it stays, as the route does";
const LOG: &str = "the log goes to stderr, and with the unit to the journal";

/// What the shell runs.
fn shell(command: &str) -> Vec<String> {
    ["/bin/sh", "-c", command].map(str::to_owned).into()
}

fn split(command: &str) -> Vec<String> {
    super::super::words::split(command).unwrap_or_default()
}

fn address(given: &Given) -> Result<IpAddr, Fault> {
    let address = given.value.trim().parse();
    address.map_err(|_| Fault::new(&given.place, format!("`--{}` is not an address", given.name)))
}

/// Those that are told; `*` is all of them.
fn neighbors(options: &Options) -> Result<Vec<IpAddr>, Fault> {
    let all = options.all("neighbor");
    if all.iter().any(|given| given.value.trim() == "*") {
        return Ok(Vec::new());
    }
    all.into_iter().map(address).collect()
}

fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Every one, that of the network and the broadcast address, too.
fn addresses(network: IpNet) -> Vec<IpNet> {
    let count = 1u128 << (network.max_prefix_len() - network.prefix_len());
    let nth = |number: u128| match network.addr() {
        IpAddr::V4(first) => {
            let number = u32::try_from(number).ok()?;
            Some(IpAddr::V4(u32::from(first).checked_add(number)?.into()))
        }
        IpAddr::V6(first) => Some(IpAddr::V6(u128::from(first).checked_add(number)?.into())),
    };
    (0..count).filter_map(nth).map(IpNet::from).collect()
}
