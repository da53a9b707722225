//! A gobgpd beside Herald that is told its routes, and tells them to an upstream router: over IPv4 those of IPv4, over IPv6
//! those of IPv6.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use super::lab::Namespace;
use super::process::Process;
use super::site::{HERALD, ROUTER};
use super::wait;

/// Where its API listens, in its namespace.
pub(crate) const API: &str = "127.0.0.1:50051";
/// Its AS, which is Herald's, and the upstream router's.
pub(crate) const ASN: u32 = 65001;
pub(crate) const UPSTREAM_AS: u32 = 65000;

/// One gobgpd.
pub(crate) struct Hub {
    namespace: Namespace,
    dir: PathBuf,
    process: Option<Process>,
}

/// The upstream BIRD's two sessions with it.
pub(crate) fn upstream() -> String {
    let protocol = |name: &str, family: &str, index: usize| {
        format!(
            "protocol bgp {name} {{\n  local {} as {UPSTREAM_AS};\n  neighbor {} as {ASN};\n  direct;\n  strict bind yes;\n  \
             connect delay time 1; connect retry time 1; error wait time 1, 1;\n  \
             {family} {{ import all; import table off; export none; }};\n}}\n",
            ROUTER[index], HERALD[index]
        )
    };
    protocol("dut", "ipv4", 0) + &protocol("dut6", "ipv6", 1)
}

impl Hub {
    /// Writes the configuration and starts it.
    pub(crate) fn start(namespace: &Namespace) -> Hub {
        let dir = namespace.dir("hub");
        fs::write(dir.join("gobgpd.toml"), configuration()).unwrap();
        let mut hub = Hub { namespace: namespace.clone(), dir, process: None };
        hub.run();
        hub
    }

    /// Runs it; done when its API answers.
    pub(crate) fn run(&mut self) {
        // One that was killed leaves it, and the next does not start over it.
        let _there_or_not = fs::remove_file(self.socket());
        let config = self.dir.join("gobgpd.toml");
        let socket = format!("{API},unix://{}", self.socket().display());
        let arguments = ["-t", "toml", "-f", config.to_str().unwrap(), "--api-hosts", &socket, "--pprof-disable"];
        let mut process = Process::start(&self.namespace, &self.dir.join("gobgpd.log"), "gobgpd", &arguments);
        wait::until("gobgpd to answer", || {
            process.assert_running();
            self.ask(&["neighbor"])
        });
        self.process = Some(process);
    }

    /// Its API as a file.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("api.sock")
    }

    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal(Signal::KILL);
        process.wait();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// A command of its operator.
    pub(crate) fn operator(&self, arguments: &[&str]) {
        self.namespace.run("gobgp", arguments);
    }

    /// What `gobgp -j` answers.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<Value, String> {
        let output = self.namespace.output("gobgp", &[&["-j"], arguments].concat());
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(format!("gobgp {arguments:?}: {stdout}{stderr}"));
        }
        serde_json::from_str(&stdout).map_err(|error| format!("gobgp {arguments:?}: {error}: {stdout}{stderr}"))
    }
}

fn configuration() -> String {
    let neighbour = |index: usize, family: &str| {
        format!(
            r#"[[neighbors]]
  [neighbors.config]
    peer-as = {UPSTREAM_AS}
    neighbor-address = "{}"
  [neighbors.transport.config]
    local-address = "{}"
    passive-mode = true
  [neighbors.timers.config]
    hold-time = 9
    keepalive-interval = 3
    idle-hold-time-after-reset = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "{family}-unicast"
"#,
            ROUTER[index], HERALD[index]
        )
    };
    format!(
        "[global.config]\n  as = {ASN}\n  router-id = \"{}\"\n  local-address-list = [\"{}\", \"{}\"]\n{}{}",
        HERALD[0],
        HERALD[0],
        HERALD[1],
        neighbour(0, "ipv4"),
        neighbour(1, "ipv6")
    )
}
