//! The files of anycast-healthchecker (0.9): its own, and those of its checks.

mod daemon;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::draft::{Draft, Fault, Names, Place, cut, duration, header_key, list, string, written};
use super::facts::{Facts, Families};
use super::ini::{Ini, Section, Value};
use super::{File, program, words};

/// The section of the program itself.
const DAEMON: &str = "daemon";
/// The keys of a service.
const OF_SERVICE: [&str; 12] = [
    "check_cmd",
    "check_interval",
    "check_timeout",
    "check_rise",
    "check_fail",
    "check_disabled",
    "on_disabled",
    "ip_prefix",
    "interface",
    "ip_check_disabled",
    "custom_bird_reconfigure_cmd",
    "custom_bird_reconfigure_cmd_timeout",
];

/// A service, understood.
struct Service {
    name: String,
    place: Place,
    vip: IpNet,
    command: Vec<String>,
    interval: String,
    /// In seconds, and as it is written.
    timeout: (f64, String),
    rise: i64,
    fall: i64,
    /// `Some(true)`: no check, and announced all the same.
    disabled: Option<bool>,
    /// Where the address must be, unless nobody looks.
    interface: Option<String>,
    reconfigures: Option<Place>,
}

/// Translates the files, which are read in the order in which they are given.
pub(super) fn translate(files: &[File], facts: &Facts, mut draft: Draft) -> Result<Draft, Vec<Fault>> {
    let (mut ini, mut faults) = (Ini::default(), Vec::new());
    for file in files {
        faults.extend(ini.read(&file.name, &file.text));
    }
    let (mut services, mut first): (Vec<Service>, BTreeMap<IpNet, usize>) = (Vec::new(), BTreeMap::new());
    for section in ini.sections.iter().filter(|section| section.name != DAEMON) {
        let taken = |service: &Service| {
            let first = &services[*first.get(&service.vip)?];
            let message = format!("{} is the address of [{}], too ({})", service.vip, cut(&first.name), first.place);
            Some(Fault::new(&service.place, message))
        };
        match Service::read(section, &ini).and_then(|service| taken(&service).map_or(Ok(service), Err)) {
            Ok(service) => {
                first.insert(service.vip, services.len());
                services.push(service);
            }
            Err(fault) => faults.push(fault.without(&format!("[{}]", section.name))),
        }
    }
    let daemon = daemon::Daemon::read(&ini, &mut faults);
    if let (true, Some(file)) = (services.is_empty(), files.first()) {
        let message = "there is no service in these files: name those of anycast-healthchecker.d, too";
        let nothing = Fault::new(&Place { file: file.name.clone(), line: 1 }, message);
        return Err(if faults.is_empty() { vec![nothing] } else { faults });
    }
    daemon.tables(&mut draft);
    bgp(&services, facts, &mut draft);
    let mut names = Names::default();
    for service in &services {
        service.write(&mut names, &mut draft);
    }
    daemon::remarks(&ini, &mut draft);
    unknown(&ini, &mut draft);
    faults.sort_by(|one, other| one.place.cmp(&other.place));
    draft.refuse_all(&faults);
    Ok(draft)
}

/// BGP was BIRD's, on this host: so it stays unless somebody names another peer.
fn bgp(services: &[Service], facts: &Facts, draft: &mut Draft) {
    let mut families = Families::default();
    services.iter().for_each(|service| families.add(service.vip.addr()));
    facts.bgp(draft);
    if !facts.peer.is_empty() {
        return facts.peers(families, draft);
    }
    draft.blank();
    draft.comment(
        "The BIRD of this host, by BGP on loopback in place of a file that it reads again: etc/examples/bird has its half. \
         To speak to the routers without it, name them with --peer.",
    );
    draft.table("[[bgp.peer]]");
    draft.key("name", string("bird"));
    draft.key("address", string(&Ipv4Addr::LOCALHOST.to_string()));
    draft.key("source", string(&Ipv4Addr::LOCALHOST.to_string()));
    draft.key("peer_as", string("internal"));
    facts.next_hops(true, families, draft);
}

/// Python would not mind them, and somebody has meant something by them.
fn unknown(ini: &Ini, draft: &mut Draft) {
    let known = |section: Option<&str>, key: &str| match section {
        Some(DAEMON) => daemon::is_known(key),
        Some(_) => OF_SERVICE.contains(&key),
        None => OF_SERVICE.contains(&key) || daemon::is_known(key),
    };
    let of_sections = ini.sections.iter().map(|section| (Some(section.name.as_str()), &section.values));
    let mut found = Vec::new();
    for (section, values) in of_sections.chain([(None, &ini.defaults)]) {
        let odd = values.iter().filter(|(key, _)| !known(section, key) && !ini.is_used(key));
        found.extend(odd.map(|(key, value)| (value.place.clone(), key.clone())));
    }
    if found.is_empty() {
        return;
    }
    found.sort();
    draft.blank();
    for (place, key) in found {
        draft.refuse(&place, &format!("`{}` is no key of anycast-healthchecker", cut(&key)));
    }
}

/// A value, or what the program takes in its place.
struct Values<'v> {
    section: &'v Section,
    ini: &'v Ini,
}

impl Values<'_> {
    fn text(&self, key: &str, default: &str) -> Result<Value, Fault> {
        let place = self.section.place.clone();
        Ok(self.ini.get(self.section, key)?.unwrap_or(Value { text: default.to_owned(), place }))
    }

    fn need(&self, key: &str) -> Result<Value, Fault> {
        let place = &self.section.place;
        let missing = || Fault::new(place, format!("[{}] has no `{key}`", cut(&self.section.name)));
        self.ini.get(self.section, key)?.ok_or_else(missing)
    }

    fn truth(&self, key: &str, default: &str) -> Result<bool, Fault> {
        let value = self.text(key, default)?;
        words::truth(&value.text).ok_or_else(|| wrong(key, &value, "true nor false"))
    }

    /// Seconds, of which there is a text as well.
    fn time(&self, key: &str, default: &str) -> Result<(f64, String), Fault> {
        let value = self.text(key, default)?;
        let seconds = words::number(&value.text).filter(|seconds| *seconds > 0.0);
        let time = seconds.and_then(|seconds| Some((seconds, duration(seconds)?)));
        time.ok_or_else(|| wrong(key, &value, "a number of seconds"))
    }

    fn count(&self, key: &str, default: &str) -> Result<i64, Fault> {
        let value = self.text(key, default)?;
        let number = words::integer(&value.text).filter(|number| *number > 0);
        number.ok_or_else(|| wrong(key, &value, "a number from 1"))
    }
}

fn wrong(key: &str, value: &Value, what: &str) -> Fault {
    let neither = if what.contains(" nor ") { "neither" } else { "not" };
    Fault::new(&value.place, format!("`{key}` is {neither} {what}"))
}

impl Service {
    fn read(section: &Section, ini: &Ini) -> Result<Service, Fault> {
        let values = Values { section, ini };
        let prefix = values.need("ip_prefix")?;
        let vip = network(&prefix)?;
        let check = values.need("check_cmd")?;
        let command =
            words::split(&check.text).map_err(|why| Fault::new(&check.place, format!("`check_cmd`: {why}")))?;
        if command.is_empty() {
            return Err(Fault::new(&check.place, "`check_cmd` is empty"));
        }
        let command = program::with_path(command)
            .ok_or_else(|| Fault::new(&check.place, "`check_cmd`: name the program by its absolute path"))?;
        let disabled = values.truth("check_disabled", "true")?;
        let on_disabled = values.text("on_disabled", "withdraw")?;
        let advertise = match on_disabled.text.as_str() {
            "withdraw" => false,
            "advertise" => true,
            _ => return Err(wrong("on_disabled", &on_disabled, "\"withdraw\" nor \"advertise\"")),
        };
        let unchecked = values.truth("ip_check_disabled", "false")?;
        let interface = values.text("interface", "lo")?.text;
        Ok(Service {
            name: section.name.clone(),
            place: section.place.clone(),
            vip,
            command,
            interval: values.time("check_interval", "10")?.1,
            timeout: values.time("check_timeout", "2")?,
            rise: values.count("check_rise", "2")?,
            fall: values.count("check_fail", "2")?,
            disabled: disabled.then_some(advertise),
            // Nobody looks where no check is run.
            interface: Some(interface).filter(|_| !(unchecked || disabled && advertise)),
            reconfigures: values.ini.get(section, "custom_bird_reconfigure_cmd")?.map(|value| value.place),
        })
    }

    fn write(&self, names: &mut Names, draft: &mut Draft) {
        let name = names.choose(&self.name);
        let native = program::native(&self.command, self.timeout.0);
        let checked = self.disabled != Some(true);
        draft.blank();
        draft.comment(&format!("[{}] of {}.", cut(&self.name), self.place));
        if checked {
            self.write_check(&name, native.as_ref(), draft);
            draft.blank();
        }
        draft.table("[[service]]");
        draft.key("name", string(&name));
        draft.key("vips", list(&[written(&self.vip)]));
        let port = native.as_ref().and_then(program::Native::port);
        let remark = if port.is_none() { "of the service, for people: the check does not need it" } else { "" };
        draft.noted("port", port.unwrap_or(80), remark);
        match checked {
            true => draft.key("checks", list(&[&name])),
            false => {
                draft.noted("required", 0, "check_disabled with on_disabled = advertise: announced, whatever happens");
                draft.key("checks", "[]");
            }
        }
        draft.blank();
        draft.table("[[service.backend]]");
        let local = if self.vip.addr().is_ipv4() { "127.0.0.1" } else { "::1" };
        draft.noted("address", string(local), "this host");
        if self.disabled == Some(false) {
            draft.noted(
                "enabled",
                false,
                "check_disabled with on_disabled = withdraw: never announced until this is true",
            );
        }
        self.write_vip(draft);
    }

    fn write_check(&self, name: &str, native: Option<&program::Native>, draft: &mut Draft) {
        draft.table(&format!("[checks.{}]", header_key(name)));
        draft.key("type", string("exec"));
        draft.key("command", list(&self.command));
        draft.key("interval", &self.interval);
        draft.key("timeout", &self.timeout.1);
        draft.key("rise", self.rise);
        draft.key("fall", self.fall);
        program::remarks(&self.command, native, false, draft);
    }

    /// What becomes of the look at the interface.
    fn write_vip(&self, draft: &mut Draft) {
        let host = self.vip.prefix_len() == self.vip.max_prefix_len();
        if let Some(place) = &self.reconfigures {
            draft.blank();
            draft.comment(&format!(
                "{place}: custom_bird_reconfigure_cmd has nothing to do any more, as BIRD is told by BGP. If it does other \
                 things as well, make it a program of [[hooks.notify]]."
            ));
        }
        let Some(interface) = &self.interface else { return };
        draft.blank();
        if !host {
            draft.comment(&format!(
                "ip_check_disabled is false, but Herald looks for single addresses only: that {} is on {} is not looked at.",
                self.vip,
                cut(interface)
            ));
            return;
        }
        draft.table("[[vip]]");
        draft.key("address", string(&written(&self.vip)));
        draft.noted(
            "require_address",
            true,
            "announced only while the address is on this host; looked at all the time",
        );
        if interface != "lo" {
            draft.comment(&format!("On any interface, not on {} alone.", cut(interface)));
        }
        if self.asks_vip() {
            draft.comment("The check asks the address itself: somebody else has to put it there, as until now.");
        } else {
            draft.sample(&format!("bind = {} # Herald puts it there itself (CAP_NET_ADMIN)", string(interface)));
        }
    }

    fn asks_vip(&self) -> bool {
        let address = self.vip.addr().to_string();
        self.command.iter().any(|word| word.contains(&address))
    }
}

/// `ipaddress.ip_network`: no bits beyond the length.
fn network(value: &Value) -> Result<IpNet, Fault> {
    let text = value.text.trim();
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(network) = network else {
        return Err(wrong("ip_prefix", value, "an address nor a prefix"));
    };
    if network.trunc() != network {
        return Err(Fault::new(&value.place, format!("`ip_prefix`: {network} has bits set beyond its length")));
    }
    Ok(network)
}
