//! The daemon under test: the real binary, a configuration file, signals, its log and its commands.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Output};

use rustix::process::Signal;
use serde_json::Value;

use super::lab::Namespace;
use super::process::Process;
use super::wait;

const BINARY: &str = env!("CARGO_BIN_EXE_herald");

/// One Herald.
pub(crate) struct Herald {
    namespace: Namespace,
    dir: PathBuf,
    process: Option<Process>,
}

impl Herald {
    /// With a configuration, but not started.
    pub(crate) fn new(namespace: &Namespace, config: &str) -> Herald {
        let dir = namespace.dir(&format!("herald-{}", namespace.role));
        let herald = Herald { namespace: namespace.clone(), dir, process: None };
        herald.write(config);
        herald
    }

    /// Running; its sessions and checks have only begun.
    pub(crate) fn start(namespace: &Namespace, config: &str) -> Herald {
        let mut herald = Herald::new(namespace, config);
        let (code, text) = herald.check_config();
        assert_eq!(code, Some(0), "check-config: {text}");
        herald.run();
        herald
    }

    /// Starts the daemon.
    pub(crate) fn run(&mut self) {
        self.run_with(&[]);
    }

    /// Starts the daemon with these privileges, in `setpriv`'s words.
    pub(crate) fn run_with(&mut self, privileges: &[&str]) {
        let config = self.dir.join("herald.toml");
        let arguments = [privileges, &[BINARY, "run", "--config", config.to_str().unwrap()]].concat();
        let mut process = Process::start(&self.namespace, &self.dir.join("herald.log"), "setpriv", &arguments);
        wait::until("Herald to answer", || {
            process.assert_running();
            self.status()
        });
        self.process = Some(process);
    }

    /// Its configuration.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.join("herald.toml")
    }

    /// Writes the file. The text goes on in the `[daemon]` table that says where the control socket and the state are.
    pub(crate) fn write(&self, config: &str) {
        let socket = self.dir.join("control.sock");
        let state = self.dir.join("state.json");
        let paths = format!("control_socket = \"{}\"\nstate_file = \"{}\"", socket.display(), state.display());
        let text = format!("[daemon]\n{paths}\n{config}");
        fs::write(self.dir.join("herald.toml"), text).unwrap();
    }

    /// Writes the file and sends SIGHUP.
    pub(crate) fn reload(&self, config: &str) {
        self.write(config);
        self.hang_up();
    }

    /// Sends SIGHUP, with the file as it is.
    pub(crate) fn hang_up(&self) {
        self.process.as_ref().unwrap().signal(Signal::HUP);
    }

    /// Writes the file, sends SIGHUP, and waits until it is in force.
    pub(crate) fn reload_good(&self, config: &str) {
        let before = self.status().unwrap()["config"]["loaded_at"].clone();
        self.reload(config);
        wait::until("the reload", || {
            let status = self.status()?;
            let config = &status["config"];
            if config["loaded_at"] != before && config["stale"] == false { Ok(()) } else { Err(config.to_string()) }
        });
    }

    /// `herald status --json`.
    pub(crate) fn status(&self) -> Result<Value, String> {
        let output = self.command(&["status", "--json", "--socket", self.dir.join("control.sock").to_str().unwrap()]);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match output.status.code() {
            Some(0 | 1) => serde_json::from_str(&stdout).map_err(|error| format!("{error}: {stdout}{stderr}")),
            code => Err(format!("herald status: exit {code:?}: {stdout}{stderr}")),
        }
    }

    /// `herald check-config`: whether it is content, and everything it says.
    pub(crate) fn check_config(&self) -> (Option<i32>, String) {
        self.check_config_with(&[])
    }

    /// The same with these privileges, in `setpriv`'s words.
    pub(crate) fn check_config_with(&self, privileges: &[&str]) -> (Option<i32>, String) {
        let config = self.dir.join("herald.toml");
        let command = [BINARY, "check-config", "--config", config.to_str().unwrap()];
        let output = self.namespace.output("setpriv", &[privileges, &command].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// A command to the daemon: its exit code, and everything it says.
    pub(crate) fn says(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let socket = self.dir.join("control.sock");
        let output = self.command(&[arguments, &["--socket", socket.to_str().unwrap()]].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// What it says when it does not start with these privileges, in `setpriv`'s words.
    pub(crate) fn failure_with(&self, privileges: &[&str]) -> String {
        let config = self.dir.join("herald.toml");
        let arguments = [privileges, &[BINARY, "run", "--config", config.to_str().unwrap()]].concat();
        let output = self.namespace.output("setpriv", &arguments);
        assert!(!output.status.success(), "it has started and ended");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What another one says that shall start beside it with this configuration, and does not.
    pub(crate) fn failure_of_another(&self, config: &str) -> String {
        let (socket, file) = (self.dir.join("another.sock"), self.dir.join("another.toml"));
        fs::write(&file, format!("[daemon]\ncontrol_socket = \"{}\"\n{config}", socket.display())).unwrap();
        let output = self.command(&["run", "--config", file.to_str().unwrap()]);
        assert!(!output.status.success(), "it has started and ended");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn command(&self, arguments: &[&str]) -> Output {
        self.namespace.output(BINARY, arguments)
    }

    /// Whether its status says that this backend (`address:port`) is up or down.
    pub(crate) fn backend_is(&self, address: &str, state: &str) -> Result<(), String> {
        let status = self.status()?;
        let services = status["services"].as_array().cloned().unwrap_or_default();
        let backends = services.iter().flat_map(|service| service["backends"].as_array().cloned().unwrap_or_default());
        let mut states = backends.filter(|it| it["address"] == address).map(|it| it["state"].clone());
        if states.all(|it| it == state) { Ok(()) } else { Err(status["services"].to_string()) }
    }

    /// What its status says of a peer.
    pub(crate) fn peer(&self, name: &str) -> Result<Value, String> {
        let status = self.status()?;
        let peers = status["peers"].as_array().cloned().unwrap_or_default();
        peers.into_iter().find(|peer| peer["name"] == name).ok_or(status.to_string())
    }

    /// What its status says of a VIP.
    pub(crate) fn vip(&self, address: &str) -> Result<Value, String> {
        let status = self.status()?;
        let vips = status["vips"].as_array().cloned().unwrap_or_default();
        vips.into_iter().find(|vip| vip["address"] == address).ok_or(status.to_string())
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.join("herald.log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal(Signal::KILL);
        process.wait();
    }

    /// SIGUSR2: a stop for a restart.
    pub(crate) fn leave(&mut self) {
        let mut process = self.process.take().unwrap();
        process.signal(Signal::USR2);
        assert_eq!(process.wait().code(), Some(0), "{}", self.log());
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        self.process.as_ref().unwrap().signal(Signal::TERM);
    }

    /// Waits for its end after [`terminate`](Self::terminate).
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.take().unwrap().wait()
    }

    /// After its end: no process, no connection, and no file that the test did not make.
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.namespace.pids(), Vec::<String>::new(), "processes left over");
        let sockets = self.namespace.run("ss", &["-Htunlx", "state", "listening", "state", "established"]);
        let ours: Vec<&str> = sockets.lines().filter(|line| line.contains(&*self.dir.to_string_lossy())).collect();
        assert!(ours.is_empty(), "sockets left over: {ours:?}");
        let tcp = self.namespace.run("ss", &["-Htan", "state", "established", "state", "listening"]);
        assert_eq!(tcp, "", "TCP connections left over");
        let files = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut files: Vec<String> = files.collect();
        files.sort();
        assert_eq!(files, ["herald.log", "herald.toml", "state.json"], "files left over");
    }
}
