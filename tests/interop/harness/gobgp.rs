//! GoBGP.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use super::lab::Namespace;
use super::plan::Plan;
use super::process::Process;
use super::router::{Neighbour, Route, Router, Session, Table};
use super::wait;

/// One gobgpd with one neighbour.
pub(crate) struct GoBgp {
    namespace: Namespace,
    dir: PathBuf,
    /// Its address, as GoBGP calls it.
    neighbour: String,
    /// Its program and arguments.
    command: Vec<String>,
    /// What `gobgp` must be told to find it.
    target: Vec<String>,
    process: Option<Process>,
}

impl GoBgp {
    /// Writes the configuration and starts it: passive, both families, takes everything and sends nothing.
    pub(crate) fn start(namespace: &Namespace, router_id: &str, neighbour: &Neighbour) -> GoBgp {
        GoBgp::start_plan(namespace, router_id, &Plan::new(neighbour))
    }

    /// With this session.
    pub(crate) fn start_plan(namespace: &Namespace, router_id: &str, plan: &Plan) -> GoBgp {
        let dir = namespace.dir(&format!("gobgp-{}", namespace.role));
        fs::write(dir.join("gobgpd.toml"), configuration(router_id, plan)).unwrap();
        let config = dir.join("gobgpd.toml");
        let mut command = vec!["gobgpd", "-t", "toml", "-f", config.to_str().unwrap()];
        command.extend(["--api-hosts", "127.0.0.1:50051", "--pprof-disable"]);
        let command = command.into_iter().map(str::to_owned).collect();
        let (namespace, neighbour) = (namespace.clone(), address(plan));
        let mut gobgp = GoBgp { namespace, dir, neighbour, command, target: Vec::new(), process: None };
        Router::start(&mut gobgp);
        gobgp
    }

    /// As nobody, with this command, which has the paths of `etc/examples/gobgp`; those of the lab take their place.
    pub(crate) fn start_as_nobody(namespace: &Namespace, text: &str, neighbour: &str, command: &[&str]) -> GoBgp {
        const NOBODY: u32 = 65534;
        let dir = namespace.dir(&format!("gobgp-{}", namespace.role));
        let (config, socket) = (dir.join("gobgpd.toml"), dir.join("api.sock"));
        fs::write(&config, text).unwrap();
        fs::set_permissions(namespace.lab().dir(), fs::Permissions::from_mode(0o711)).unwrap();
        chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        let here = |word: &&str| {
            let word = word.replace("/etc/gobgp/gobgpd.toml", config.to_str().unwrap());
            word.replace("/run/gobgpd/api.sock", socket.to_str().unwrap())
        };
        // Another user's process does not end with the test unless asked anew.
        let nobody = ["setpriv", "--pdeathsig", "KILL", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let command = nobody.map(str::to_owned).into_iter().chain(command.iter().map(here)).collect();
        let target = vec!["--target".to_owned(), format!("unix://{}", socket.display())];
        let (namespace, neighbour) = (namespace.clone(), neighbour.to_owned());
        let mut gobgp = GoBgp { namespace, dir, neighbour, command, target, process: None };
        Router::start(&mut gobgp);
        gobgp
    }

    /// What `gobgp` says to a command.
    pub(crate) fn says(&self, arguments: &[&str]) -> String {
        let target: Vec<&str> = self.target.iter().map(String::as_str).collect();
        self.namespace.run("gobgp", &[&target[..], arguments].concat())
    }

    /// What `gobgp -j` answers.
    fn ask(&self, arguments: &[&str]) -> Result<Value, String> {
        let target: Vec<&str> = self.target.iter().map(String::as_str).collect();
        let output = self.namespace.output("gobgp", &[&target[..], &["-j"], arguments].concat());
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(format!("gobgp {arguments:?}: {stdout}{stderr}"));
        }
        serde_json::from_str(&stdout).map_err(|error| format!("gobgp {arguments:?}: {error}: {stdout}{stderr}"))
    }
}

/// How GoBGP calls the neighbour.
fn address(plan: &Plan) -> String {
    let address = plan.neighbour.address;
    plan.interface.as_ref().map_or(address.to_string(), |interface| format!("{address}%{interface}"))
}

/// A configuration with this neighbour and no other.
fn configuration(router_id: &str, plan: &Plan) -> String {
    let Neighbour { local_address, local_as, asn, .. } = &plan.neighbour;
    let zone = plan.interface.as_ref().map(|interface| format!("%{interface}")).unwrap_or_default();
    // It cannot listen on an address with a zone.
    let listen = if zone.is_empty() { local_address.to_string() } else { "::".to_owned() };
    let hold_time = plan.hold_time.unwrap_or(90);
    let passive = !plan.dials;
    let mut lines: Vec<String> =
        plan.password.iter().map(|password| format!("    auth-password = \"{password}\"")).collect();
    lines.extend(plan.lines.iter().cloned());
    lines.extend(plan.ttl_security.map(|hops| {
        format!("  [neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = {}", 256 - u16::from(hops))
    }));
    lines.extend(
        plan.multihop
            .map(|hops| format!("  [neighbors.ebgp-multihop.config]\n    enabled = true\n    multihop-ttl = {hops}")),
    );
    let family_lines = plan.family_lines.join("\n");
    let families = plan.families.iter().map(|family| {
        format!(
            "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      \
             afi-safi-name = \"{family}-unicast\"\n{family_lines}\n"
        )
    });
    format!(
        r#"[global.config]
  as = {local_as}
  router-id = "{router_id}"
  port = 179
  local-address-list = ["{listen}"]
{}
[global.apply-policy.config]
  default-import-policy = "accept-route"
  default-export-policy = "reject-route"
[[neighbors]]
  [neighbors.config]
    peer-as = {asn}
    neighbor-address = "{}"
{}
  [neighbors.transport.config]
    local-address = "{local_address}{zone}"
    passive-mode = {passive}
  [neighbors.timers.config]
    hold-time = {hold_time}
    keepalive-interval = {}
    connect-retry = 2
    idle-hold-time-after-reset = 2
{}"#,
        plan.router_lines.join("\n"),
        address(plan),
        lines.join("\n"),
        (hold_time / 3).max(1),
        families.collect::<String>()
    )
}

impl Router for GoBgp {
    fn start(&mut self) {
        // What one that was killed has left. In the example, systemd takes away the directory that it is in.
        let _ = fs::remove_file(self.dir.join("api.sock"));
        let words: Vec<&str> = self.command.iter().map(String::as_str).collect();
        let mut process = Process::start(&self.namespace, &self.dir.join("gobgpd.log"), words[0], &words[1..]);
        wait::until("GoBGP to know its neighbour", || {
            process.assert_running();
            self.ask(&["neighbor", &self.neighbour])
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
        let mut table = Table::new();
        for family in ["ipv4", "ipv6"] {
            let rib = self.ask(&["global", "rib", "-a", family])?;
            for (prefix, paths) in rib.as_object().ok_or_else(|| rib.to_string())? {
                let [path] = paths.as_array().map(Vec::as_slice).unwrap_or_default() else {
                    return Err(format!("not one path for {prefix}: {paths}"));
                };
                table.insert(prefix.clone(), route(path).ok_or(format!("cannot read {path}"))?);
            }
        }
        Ok(table)
    }

    fn session(&self) -> Result<Session, String> {
        const ESTABLISHED: u64 = 6;
        let neighbour = self.ask(&["neighbor", &self.neighbour])?;
        let state = &neighbour["state"];
        if state["session_state"] != ESTABLISHED {
            return Err(format!("session state {}", state["session_state"]));
        }
        let flaps = state["flops"].as_u64().unwrap_or(0);
        Ok(Session {
            since: neighbour["timers"]["state"]["uptime"]["seconds"].to_string(),
            flaps: usize::try_from(flaps).unwrap(),
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("gobgpd.log")).unwrap_or_default()
    }

    fn received_marks(&self, code: u8, subcode: u8) -> Vec<String> {
        vec!["received notification".to_owned(), format!("\"Code\":{code},"), format!("\"Subcode\":{subcode},")]
    }

    fn hold_timer_mark(&self) -> &'static str {
        "hold timer expired"
    }

    /// It shows no link-local one.
    fn next_hops(&self, prefix: &str) -> Result<Vec<String>, String> {
        let route = self.table()?.remove(prefix).ok_or(format!("no {prefix}"))?;
        Ok(vec![route.next_hop])
    }

    fn only_to_customer(&self) -> Result<Vec<String>, String> {
        unreachable!("GoBGP has no roles");
    }

    /// It has what it was sent, and asks nobody.
    fn refresh(&self) {
        unreachable!("GoBGP sends no ROUTE-REFRESH");
    }

    fn shut(&self, text: &str) {
        self.namespace.run("gobgp", &["neighbor", &self.neighbour, "shutdown", "--reason", text]);
    }

    fn unshut(&self) {
        self.namespace.run("gobgp", &["neighbor", &self.neighbour, "enable"]);
    }

    fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let is_grave = |line: &str| line.contains(r#""level":"warning""#) || line.contains(r#""level":"error""#);
        let grave = log.lines().filter(|line| is_grave(line) && !line.contains("received notification"));
        grave.map(str::to_owned).collect()
    }

    fn shown_local_pref(&self, received: Option<u32>) -> Option<u32> {
        received
    }
}

/// One path of `global rib`: attributes by their type codes.
fn route(path: &Value) -> Option<Route> {
    let attributes = path["attrs"].as_array()?;
    let find = |code: u64| attributes.iter().find(|attribute| attribute["type"] == code);
    let number = |value: &Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let next_hop = find(14).or(find(3))?["nexthop"].as_str()?.to_owned();
    let segments = list(find(2).map(|path| &path["as_paths"]));
    let asns = segments.iter().flat_map(|segment| list(Some(&segment["asns"])));
    let community = |value: &Value| number(value).map(|value| format!("{}:{}", value >> 16, value & 0xffff));
    let large =
        |value: &Value| Some(format!("{}:{}:{}", number(&value["ASN"])?, value["LocalData1"], value["LocalData2"]));
    let mut communities =
        list(find(8).map(|it| &it["communities"])).iter().map(community).collect::<Option<Vec<_>>>()?;
    let mut large_communities = list(find(32).map(|it| &it["value"])).iter().map(large).collect::<Option<Vec<_>>>()?;
    let mut extended_communities =
        list(find(16).map(|it| &it["value"])).iter().map(extended).collect::<Option<Vec<_>>>()?;
    extended_communities.sort();
    communities.sort();
    large_communities.sort();
    Some(Route {
        next_hop,
        as_path: asns.map(|asn| number(&asn)).collect::<Option<_>>()?,
        origin: ["igp", "egp", "incomplete"].get(usize::try_from(find(1)?["value"].as_u64()?).ok()?)?.to_string(),
        med: find(4).and_then(|it| number(&it["metric"])),
        local_pref: find(5).and_then(|it| number(&it["value"])),
        communities,
        large_communities,
        extended_communities,
    })
}

/// As BIRD calls them.
fn extended(community: &Value) -> Option<String> {
    let name = match community["subtype"].as_u64()? {
        2 => "rt",
        3 => "ro",
        _ => return None,
    };
    Some(format!("{name}:{}", community["value"].as_str()?))
}
