//! FRR: zebra, which tells what a next hop is worth, and bgpd.
//!
//! FRR wants a user and directories of its own all over the system. Here it has a mount namespace (`ip netns exec`
//! makes one) where root belongs to the group that it insists on and where its other files go to the lab's directory,
//! so that nothing is left of it, and it can be killed with the test that started it.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use super::lab::Namespace;
use super::plan::Plan;
use super::process::Process;
use super::router::{Neighbour, Route, Router, Session, Table};
use super::wait;

/// One FRR with one neighbour.
pub(crate) struct Frr {
    namespace: Namespace,
    dir: PathBuf,
    neighbour: Neighbour,
    /// As FRR calls the neighbour.
    peer: String,
    /// bgpd and zebra: in the order in which they end.
    processes: Option<[Process; 2]>,
}

impl Frr {
    /// Writes the configuration and starts it.
    pub(crate) fn start(namespace: &Namespace, router_id: &str, plan: &Plan) -> Frr {
        Frr::launch(namespace, &configuration(router_id, plan), plan.neighbour.clone(), called(plan))
    }

    /// With a whole configuration, as an operator has it, in which this is the neighbour that is asked about.
    pub(crate) fn start_file(namespace: &Namespace, text: &str, neighbour: &Neighbour) -> Frr {
        Frr::launch(namespace, text, neighbour.clone(), neighbour.address.to_string())
    }

    fn launch(namespace: &Namespace, text: &str, neighbour: Neighbour, peer: String) -> Frr {
        let dir = namespace.dir(&format!("frr-{}", namespace.role));
        let log = |daemon: &str| {
            format!(
                "log file {} informational\nlog timestamp precision 6\n",
                dir.join(daemon).with_extension("log").display()
            )
        };
        fs::write(dir.join("zebra.conf"), log("zebra")).unwrap();
        fs::write(dir.join("bgpd.conf"), log("bgpd") + text).unwrap();
        fs::write(dir.join("vtysh.conf"), "").unwrap();
        fs::write(dir.join("group"), group(&fs::read_to_string("/etc/group").unwrap())).unwrap();
        fs::create_dir_all(dir.join("tmp")).unwrap();
        let mut frr = Frr { namespace: namespace.clone(), dir, neighbour, peer, processes: None };
        Router::start(&mut frr);
        frr
    }

    /// What `vtysh` answers to commands of bgpd, one after the other.
    pub(crate) fn ask(&self, commands: &[&str]) -> Result<String, String> {
        let commands: Vec<&str> = commands.iter().flat_map(|command| ["-c", command]).collect();
        self.vtysh(&[&["-d", "bgpd"], &commands[..]].concat())
    }

    fn vtysh(&self, arguments: &[&str]) -> Result<String, String> {
        let dir = self.dir.to_str().unwrap();
        let place = ["--vty_socket", dir, "--config_dir", dir];
        let output = self.namespace.output("vtysh", &[&place, arguments].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(text) } else { Err(format!("vtysh {arguments:?}: {text}{error}")) }
    }

    /// One line of the neighbour's configuration more, or with `no ` less, while it runs.
    pub(crate) fn configure(&self, line: &str) {
        let (local_as, peer) = (self.neighbour.local_as, &self.peer);
        let (no, line) = line.split_at(if line.starts_with("no ") { 3 } else { 0 });
        let router = format!("router bgp {local_as}");
        self.ask(&["configure terminal", &router, &format!("{no}neighbor {peer} {line}")]).unwrap();
    }

    /// Each prefix with its path, in FRR's own words.
    fn paths(&self) -> Result<Vec<(String, Value)>, String> {
        let text = self.ask(&["show bgp ipv4 unicast json detail", "show bgp ipv6 unicast json detail"])?;
        let mut all = Vec::new();
        for rib in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let rib = rib.map_err(|error| format!("{error}: {text}"))?;
            for (prefix, entry) in rib["routes"].as_object().ok_or_else(|| text.clone())? {
                // About the prefix, and then its paths.
                let [_, path] = entry.as_array().map(Vec::as_slice).unwrap_or_default() else {
                    return Err(format!("not one path for {prefix}: {entry}"));
                };
                all.push((prefix.clone(), path.clone()));
            }
        }
        Ok(all)
    }

    fn run(&self, daemon: &str) -> Process {
        let path = |name: &str| self.dir.join(name).to_str().unwrap().to_owned();
        let script = format!(
            "mount --bind {} /etc/group && mount --bind {} /var/tmp && exec /usr/lib/frr/{daemon} \"$@\"",
            path("group"),
            path("tmp")
        );
        let (configuration, pid_file) = (path(&format!("{daemon}.conf")), path(&format!("{daemon}.pid")));
        let (dir, api) = (path(""), path("zserv.api"));
        let mut arguments =
            vec!["-c", script.as_str(), daemon, "-u", "root", "-g", "root", "-A", "127.0.0.1", "-P", "0"];
        arguments.extend(["--vty_socket", &dir, "-z", &api, "-f", &configuration, "-i", &pid_file]);
        let log = self.dir.join(format!("{daemon}-stderr.log"));
        let mut process = Process::start(&self.namespace, &log, "sh", &arguments);
        let socket = self.dir.join(format!("{daemon}.vty"));
        wait::until(&format!("{daemon} to listen"), || {
            process.assert_running();
            std::os::unix::net::UnixStream::connect(&socket).map_err(|error| error.to_string())
        });
        process
    }
}

/// How FRR calls the neighbour.
fn called(plan: &Plan) -> String {
    let interface = plan.interface.clone().filter(|_| plan.unnumbered);
    interface.unwrap_or_else(|| plan.neighbour.address.to_string())
}

/// `router bgp` with this neighbour and no other.
fn configuration(router_id: &str, plan: &Plan) -> String {
    let Neighbour { local_address, local_as, asn, .. } = &plan.neighbour;
    let peer = called(plan);
    let remote = if plan.unnumbered { format!("interface remote-as {asn}") } else { format!("remote-as {asn}") };
    let mut lines = vec![remote, "graceful-restart-disable".to_owned()];
    lines.push(if plan.dials { "timers connect 2" } else { "passive" }.to_owned());
    match &plan.interface {
        Some(_) if plan.unnumbered => {}
        Some(interface) => lines.push(format!("interface {interface}")),
        None => lines.push(format!("update-source {local_address}")),
    }
    lines.extend(plan.hold_time.map(|seconds| format!("timers {} {seconds}", seconds / 3)));
    lines.extend(plan.password.as_ref().map(|password| format!("password {password}")));
    lines.extend(plan.ttl_security.map(|hops| format!("ttl-security hops {hops}")));
    lines.extend(plan.multihop.map(|hops| format!("ebgp-multihop {hops}")));
    lines.extend(plan.extended_next_hop.then(|| "capability extended-nexthop".to_owned()));
    lines.extend(plan.lines.iter().cloned());
    let mut family_lines = vec!["activate".to_owned(), "route-map NONE out".to_owned()];
    family_lines.extend(plan.family_lines.iter().cloned());

    let router: String = plan.router_lines.iter().map(|line| format!(" {line}\n")).collect();
    let line = |indent: &str, line: &String| format!("{indent}neighbor {peer} {line}\n");
    let neighbour: String = lines.iter().map(|text| line(" ", text)).collect();
    let family: String = family_lines.iter().map(|text| line("  ", text)).collect();
    let families = plan.families.iter();
    let families = families.map(|name| format!(" address-family {name} unicast\n{family} exit-address-family\n"));
    format!(
        "frr defaults traditional\nhostname frr\nroute-map NONE deny 10\nexit\n\
         router bgp {local_as}\n bgp router-id {router_id}\n no bgp default ipv4-unicast\n \
         no bgp ebgp-requires-policy\n bgp log-neighbor-changes\n no bgp network import-check\n\
         {router}{neighbour}{}exit\n",
        families.collect::<String>()
    )
}

/// The system's groups, with root in the one that FRR's users must be in.
fn group(system: &str) -> String {
    let line = |line: &str| match line.rsplit_once(':') {
        Some((start, _)) if line.starts_with("frrvty:") => format!("{start}:root\n"),
        _ => format!("{line}\n"),
    };
    system.lines().map(line).collect()
}

impl Router for Frr {
    fn start(&mut self) {
        let zebra = self.run("zebra");
        let bgpd = self.run("bgpd");
        self.processes = Some([bgpd, zebra]);
        wait::until("FRR to answer", || self.ask(&["show bgp summary"]));
        let log = self.log();
        assert!(!log.contains("on config line"), "{log}");
    }

    fn kill(&mut self) {
        for mut process in self.processes.take().unwrap() {
            process.signal(Signal::KILL);
            process.wait();
        }
    }

    fn stop(&mut self) {
        for mut process in self.processes.take().unwrap() {
            process.stop();
        }
    }

    fn table(&self) -> Result<Table, String> {
        // One that is being removed is shown until somebody has done it.
        let paths = self.paths()?.into_iter().filter(|(_, path)| path["removed"] != true);
        paths.map(|(prefix, path)| Ok((prefix, route(&path).ok_or(format!("cannot read {path}"))?))).collect()
    }

    fn session(&self) -> Result<Session, String> {
        let text = self.ask(&["show bgp neighbors json"])?;
        let neighbours: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let state = &neighbours[&self.peer]["bgpState"];
        if state != "Established" {
            return Err(format!("session state {state}"));
        }
        // The epoch in its JSON jumps by a second; the log's time is fixed.
        let log = self.log();
        let changes = log.lines().filter(|line| line.contains("%ADJCHANGE: "));
        let (ups, downs): (Vec<&str>, Vec<&str>) = changes.partition(|line| line.ends_with(" Up"));
        let since = (*ups.last().ok_or("the log does not know the session")?).to_owned();
        Ok(Session { since, flaps: downs.len() })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("bgpd.log")).unwrap_or_default()
    }

    fn received_marks(&self, code: u8, subcode: u8) -> Vec<String> {
        vec![format!("%NOTIFICATION: received from neighbor {} {code}/{subcode} ", self.peer)]
    }

    fn hold_timer_mark(&self) -> &'static str {
        " 4/0 (Hold Timer Expired)"
    }

    fn next_hops(&self, prefix: &str) -> Result<Vec<String>, String> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let text = self.ask(&[&format!("show bgp {family} unicast {prefix} json")])?;
        let route: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let hops = route["paths"][0]["nexthops"].as_array().ok_or_else(|| text.clone())?;
        Ok(hops.iter().filter_map(|hop| hop["ip"].as_str()).map(str::to_owned).collect())
    }

    fn only_to_customer(&self) -> Result<Vec<String>, String> {
        let marks = self.paths()?.into_iter().filter_map(|(_, path)| path.get("otc").map(Value::to_string));
        Ok(marks.collect())
    }

    fn refresh(&self) {
        for family in ["ipv4", "ipv6"] {
            self.ask(&[&format!("clear bgp {family} unicast {} soft in", self.peer)]).unwrap();
        }
    }

    fn shut(&self, text: &str) {
        self.configure(&format!("shutdown message {text}"));
    }

    fn unshut(&self) {
        self.configure("no shutdown");
        self.ask(&[&format!("clear bgp {}", self.peer)]).unwrap();
    }

    fn complaints(&self) -> Vec<String> {
        let log = self.log();
        // It ceases when it is stopped. Until zebra has told it of its interfaces it complains about many things, and
        // resets (5/0) whoever is there by then.
        let address = self.neighbour.address.to_string();
        let reset = log.contains("nexthop_set failed");
        let own = ["nexthop_set failed", "bgp_getsockname(): failed"];
        let is_grave = |line: &&str| {
            let excused = line.contains(" 6/") || reset && line.contains(" 5/0 ");
            let sent = line.contains("%NOTIFICATION: sent") && !excused;
            let error = line.contains("[EC ") && line.contains(&address);
            sent || error && !own.iter().any(|text| line.contains(text))
        };
        log.lines().filter(is_grave).map(str::to_owned).collect()
    }

    fn shown_local_pref(&self, received: Option<u32>) -> Option<u32> {
        received
    }
}

/// One path of `show bgp … json detail`.
fn route(path: &Value) -> Option<Route> {
    let number = |value: &Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let words = |value: &Value| -> Vec<String> {
        let mut words: Vec<String> =
            value["string"].as_str().unwrap_or_default().split_whitespace().map(community).collect();
        words.sort();
        words
    };
    // A path that it does not believe in is no route.
    let valid = path["valid"].as_bool()?;
    let next_hops = list(&path["nexthops"]);
    let global = next_hops.iter().find(|hop| hop["scope"] != "link-local").filter(|_| valid)?;
    let segments = list(&path["aspath"]["segments"]);
    let asns = segments.iter().flat_map(|segment| list(&segment["list"]));
    Some(Route {
        next_hop: global["ip"].as_str()?.to_owned(),
        as_path: asns.map(|asn| number(&asn)).collect::<Option<_>>()?,
        origin: path["origin"].as_str()?.to_lowercase(),
        med: number(&path["metric"]),
        local_pref: number(&path["locPrf"]),
        communities: words(&path["community"]),
        large_communities: words(&path["largeCommunity"]),
        extended_communities: words(&path["extendedCommunity"]),
    })
}

/// As BIRD calls it.
fn community(word: &str) -> String {
    match word {
        "no-export" => "65535:65281".to_owned(),
        "graceful-shutdown" => "65535:0".to_owned(),
        _ => word.replace("RT:", "rt:").replace("SoO:", "ro:"),
    }
}
