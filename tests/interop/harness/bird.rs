//! BIRD 2.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::lab::Namespace;
use super::plan::Plan;
use super::process::Process;
use super::router::{Neighbour, Route, Router, Session, Table};
use super::wait;

/// One BIRD, with one session called `dut`, and whatever else its configuration says.
pub(crate) struct Bird {
    namespace: Namespace,
    dir: PathBuf,
    router_id: String,
    process: Option<Process>,
}

/// A passive session for both families that takes everything and sends nothing.
pub(crate) fn receiver(neighbour: &Neighbour) -> String {
    protocol(&Plan::new(neighbour))
}

/// A passive session with these options and families.
pub(crate) fn session(neighbour: &Neighbour, options: &str, families: &[&'static str]) -> String {
    let plan = Plan { hold_time: None, ..Plan::new(neighbour) };
    protocol(&plan.families(families).with(options))
}

/// The same, and BIRD connects.
pub(crate) fn dialling(neighbour: &Neighbour, options: &str, families: &[&'static str]) -> String {
    let plan = Plan { hold_time: None, ..Plan::new(neighbour) };
    protocol(&plan.families(families).with(options).dials())
}

/// The session as it is wanted.
pub(crate) fn protocol(plan: &Plan) -> String {
    let Neighbour { local_address, local_as, address, asn } = &plan.neighbour;
    let mut lines = vec![format!("local {local_address} as {local_as};"), format!("neighbor {address} as {asn};")];
    let reach = match plan.ttl_security.filter(|hops| *hops > 1).or(plan.multihop) {
        Some(hops) => format!("multihop {hops};"),
        None => "direct;".to_owned(),
    };
    lines.extend([reach, "strict bind yes;".to_owned()]);
    lines.push(if plan.dials { "connect delay time 1; connect retry time 2;" } else { "passive yes;" }.to_owned());
    lines.extend(["error wait time 1, 2;".to_owned(), "graceful restart off;".to_owned()]);
    lines.extend(plan.interface.as_ref().map(|interface| format!("interface \"{interface}\";")));
    lines.extend(plan.hold_time.map(|seconds| format!("hold time {seconds};")));
    lines.extend(plan.password.as_ref().map(|password| format!("password \"{password}\";")));
    lines.extend(plan.ttl_security.map(|_| "ttl security on;".to_owned()));
    lines.extend(plan.lines.iter().cloned());

    let channel = |family: &&str| {
        let mut lines = vec!["import all;".to_owned(), "import table off;".to_owned(), "export none;".to_owned()];
        lines.extend((plan.extended_next_hop && *family == "ipv4").then(|| "extended next hop on;".to_owned()));
        lines.extend(plan.family_lines.iter().cloned());
        format!("  {family} {{ {} }};\n", lines.join(" "))
    };
    let channels: String = plan.families.iter().map(channel).collect();
    format!("protocol bgp dut {{\n  {}\n{channels}}}\n", lines.join("\n  "))
}

impl Bird {
    /// Writes the configuration and starts it. `protocols` is what follows the general part.
    pub(crate) fn start(namespace: &Namespace, router_id: &str, protocols: &str) -> Bird {
        let dir = namespace.dir(&format!("bird-{}", namespace.role));
        let mut bird = Bird { namespace: namespace.clone(), dir, router_id: router_id.to_owned(), process: None };
        bird.write(protocols);
        Router::start(&mut bird);
        bird
    }

    /// With a whole configuration, as an operator has it. Its table and counters are those of its own protocols.
    pub(crate) fn start_file(namespace: &Namespace, text: &str) -> Bird {
        let dir = namespace.dir(&format!("bird-{}", namespace.role));
        let text = format!("log \"{}\" all;\n{text}", dir.join("bird.log").display());
        fs::write(dir.join("bird.conf"), text).unwrap();
        let mut bird = Bird { namespace: namespace.clone(), dir, router_id: String::new(), process: None };
        Router::start(&mut bird);
        bird
    }

    /// What it has from one of its protocols.
    pub(crate) fn table_of(&self, protocol: &str) -> Result<Table, String> {
        parse_table(&self.ask(&format!("show route all protocol {protocol}"))?)
    }

    /// Another configuration, while it runs.
    pub(crate) fn configure(&self, protocols: &str) {
        self.write(protocols);
        let answer = self.ask("configure").unwrap();
        assert!(answer.contains("Reconfigur"), "{answer}");
    }

    fn write(&self, protocols: &str) {
        let log = self.dir.join("bird.log");
        let text = format!(
            "log \"{}\" all;\nrouter id {};\n\
             timeformat protocol iso long ms;\ntimeformat route iso long ms;\ntimeformat log iso long us;\n\
             debug protocols {{ states, events }};\nprotocol device {{ scan time 10; }}\n{protocols}",
            log.display(),
            self.router_id
        );
        fs::write(self.dir.join("bird.conf"), text).unwrap();
    }

    /// What `birdc` answers to a command.
    pub(crate) fn ask(&self, command: &str) -> Result<String, String> {
        let socket = self.dir.join("bird.ctl");
        let mut arguments = vec!["-s", socket.to_str().unwrap()];
        arguments.extend(command.split(' '));
        let output = self.namespace.output("birdc", &arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(text) } else { Err(format!("birdc {command}: {text}")) }
    }

    /// A number in `show protocols all dut`: the first column of the channel's line that begins so.
    pub(crate) fn counter(&self, channel: &str, line: &str) -> Result<u64, String> {
        let text = self.ask("show protocols all dut")?;
        let (_, channel) = text.split_once(&format!("Channel {channel}\n")).ok_or("no such channel")?;
        let value = channel.lines().find_map(|text| text.trim().strip_prefix(line)?.split_whitespace().next());
        value.and_then(|value| value.parse().ok()).ok_or(format!("no number in {line}"))
    }
}

impl Router for Bird {
    fn start(&mut self) {
        let path = |name: &str| self.dir.join(name).to_str().unwrap().to_owned();
        let arguments = ["-f", "-c", &path("bird.conf"), "-s", &path("bird.ctl"), "-P", &path("bird.pid")];
        let mut process = Process::start(&self.namespace, Path::new(&path("stderr.log")), "bird", &arguments);
        wait::until("BIRD to answer", || {
            process.assert_running();
            self.ask("show status")
        });
        self.process = Some(process);
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal(Signal::KILL);
        process.wait();
    }

    fn stop(&mut self) {
        self.process.take().unwrap().stop();
    }

    fn table(&self) -> Result<Table, String> {
        parse_table(&self.ask("show route all")?)
    }

    fn session(&self) -> Result<Session, String> {
        let text = self.ask("show protocols dut")?;
        let line = text.lines().find(|line| line.starts_with("dut ")).ok_or_else(|| text.clone())?;
        if line.split_whitespace().last() != Some("Established") {
            return Err(line.to_owned());
        }
        // The time that `show protocols` gives for the same session jumps by a millisecond; the log's is fixed.
        let log = self.log();
        let established = log.lines().rfind(|line| line.ends_with("dut: BGP session established"));
        let since = established.ok_or("the log does not know the session")?.to_owned();
        Ok(Session { since, flaps: log.matches("dut: BGP session closed").count() })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("bird.log")).unwrap_or_default()
    }

    fn received_marks(&self, code: u8, subcode: u8) -> Vec<String> {
        let name = match (code, subcode) {
            (2, 2) => "Bad peer AS",
            (4, 0) => "Hold timer expired",
            (6, 2) => "Administrative shutdown",
            (6, 3) => "Peer de-configured",
            (6, 6) => "Other configuration change",
            other => panic!("what does BIRD call {other:?}?"),
        };
        vec![format!("dut: Received: {name}")]
    }

    fn hold_timer_mark(&self) -> &'static str {
        "dut: Error: Hold timer expired"
    }

    fn next_hops(&self, prefix: &str) -> Result<Vec<String>, String> {
        let text = self.ask(&format!("show route all {prefix}"))?;
        let (_, value) = text.split_once("BGP.next_hop: ").ok_or_else(|| text.clone())?;
        Ok(value.lines().next().unwrap_or_default().split_whitespace().map(str::to_owned).collect())
    }

    fn only_to_customer(&self) -> Result<Vec<String>, String> {
        let text = self.ask("show route all")?;
        Ok(text.lines().filter_map(|line| line.trim().strip_prefix("BGP.otc: ")).map(str::to_owned).collect())
    }

    fn refresh(&self) {
        self.ask("reload in dut").unwrap();
    }

    fn shut(&self, text: &str) {
        self.ask(&format!("disable dut \"{text}\"")).unwrap();
    }

    fn unshut(&self) {
        self.ask("enable dut").unwrap();
    }

    fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let remote = log.lines().filter(|line| line.contains("<RMT> dut: ") && !line.contains("Received: "));
        remote.map(str::to_owned).collect()
    }

    fn shown_local_pref(&self, received: Option<u32>) -> Option<u32> {
        received.or(Some(100))
    }
}

/// `show route all`: a line per route, and its attributes indented below.
fn parse_table(text: &str) -> Result<Table, String> {
    let mut table = Table::new();
    let mut prefix = None;
    for line in text.lines() {
        if !line.starts_with(char::is_whitespace) {
            let word = line.split_whitespace().next().unwrap_or_default();
            prefix = word.contains('/').then(|| word.to_owned());
            if let Some(prefix) = &prefix {
                let route = Route {
                    next_hop: String::new(),
                    as_path: Vec::new(),
                    origin: String::new(),
                    med: None,
                    local_pref: None,
                    communities: Vec::new(),
                    large_communities: Vec::new(),
                    extended_communities: Vec::new(),
                };
                if table.insert(prefix.clone(), route).is_some() {
                    return Err(format!("two routes for {prefix}"));
                }
            }
        } else if let Some((name, value)) = line.trim().split_once(": ")
            && let Some(route) = prefix.as_ref().and_then(|prefix| table.get_mut(prefix))
        {
            attribute(route, name, value).ok_or(format!("cannot read {line:?}"))?;
        }
    }
    Ok(table)
}

fn attribute(route: &mut Route, name: &str, value: &str) -> Option<()> {
    match name {
        "BGP.origin" => route.origin = value.to_lowercase(),
        "BGP.as_path" => {
            // Those of its confederation are in parentheses.
            let asns = value.split(|it: char| it.is_whitespace() || "()".contains(it)).filter(|asn| !asn.is_empty());
            route.as_path = asns.map(|asn| asn.parse().ok()).collect::<Option<_>>()?;
        }
        "BGP.next_hop" => route.next_hop = value.split_whitespace().next()?.to_owned(),
        "BGP.med" => route.med = Some(value.parse().ok()?),
        "BGP.local_pref" => route.local_pref = Some(value.parse().ok()?),
        "BGP.community" => route.communities = tuples(value),
        "BGP.ext_community" => route.extended_communities = tuples(value),
        "BGP.large_community" => route.large_communities = tuples(value),
        _ => {}
    }
    Some(())
}

/// `(65000,100) (65000,200)`, or with spaces after the commas.
fn tuples(value: &str) -> Vec<String> {
    let tuple = |text: &str| text.trim().trim_start_matches('(').replace(", ", ":").replace(',', ":");
    let mut tuples: Vec<String> = value.split(')').map(tuple).filter(|text| !text.is_empty()).collect();
    tuples.sort();
    tuples
}
