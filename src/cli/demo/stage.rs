//! Everything that plays in the demo, and the narrator.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};
use rustix::process::{Pid, Signal, kill_process};

use super::NAMES;
use super::backend::Backend;
use super::directory::Directory;
use crate::bgp::receiver::{Event, Options};
use crate::cli::listen::describe;
use crate::config::Asn;
use crate::driver::clock;
use crate::driver::listen::{Listener, Report};

/// Nothing in the demo takes longer when all is well.
const LIMIT: Duration = Duration::from_secs(10);
/// How often the narrator looks whether someone pressed Ctrl-C.
const GLANCE: Duration = Duration::from_millis(50);
const VIPS: [&str; 2] = ["192.0.2.1/32", "2001:db8::1/128"];
const ROUTER_AS: u32 = 65000;
const OUR_AS: u32 = 65001;

/// Why the play ended early.
#[derive(Debug)]
pub(super) enum Scene {
    /// By Ctrl-C or SIGTERM.
    Interrupted,
    /// Something did not happen.
    Failed(String),
}

/// Backends, router, daemon.
#[derive(Debug)]
pub(super) struct Stage {
    /// When the daemon was started.
    pub(super) started: Instant,
    backends: Vec<Backend>,
    router: Listener,
    reports: Receiver<Report>,
    daemon: Daemon,
    /// Readable once a signal came.
    interrupt: UnixStream,
    /// Standard output is closed.
    unheard: Cell<bool>,
    /// Goes last: the daemon's files are in it.
    directory: Directory,
}

impl Stage {
    /// Starts everything.
    pub(super) fn set() -> io::Result<Stage> {
        let (interrupt, notify) = UnixStream::pair()?;
        interrupt.set_nonblocking(true)?;
        for signal in [libc::SIGTERM, libc::SIGINT] {
            signal_hook::low_level::pipe::register(signal, notify.try_clone()?)?;
        }
        let directory = Directory::create()?;
        let backends = NAMES.iter().map(|_| Backend::start()).collect::<io::Result<Vec<_>>>()?;
        let (sink, reports) = unbounded();
        let options = Options { local_as: Some(Asn(ROUTER_AS)), ..Options::default() };
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let router = Listener::start(anywhere, options, move |report| drop(sink.send(report)))?;
        let config = config(&directory, &backends, router.local_addr().port());
        fs::write(directory.config(), config)?;
        let started = clock();
        let daemon = Daemon::start(&directory)?;
        Ok(Stage { started, backends, router, reports, daemon, interrupt, unheard: Cell::new(false), directory })
    }

    /// One line of the story: when, who, what.
    pub(super) fn tell(&self, who: &str, what: &str) {
        let at = clock() - self.started;
        self.say(&format!("{:>3}.{:03} s  {who:<8}  {what}", at.as_secs(), at.subsec_millis()));
    }

    /// One line as it is. When nobody reads any more, the play ends at the next wait.
    fn say(&self, line: &str) {
        if writeln!(io::stdout(), "{line}").is_err() {
            self.unheard.set(true);
        }
    }

    /// What the narrator does, set off from what follows from it.
    pub(super) fn act(&self, what: &str) {
        self.say("");
        self.tell("you", what);
    }

    /// Who is on stage.
    pub(super) fn introduce(&self) {
        self.say("Two web servers, herald and a router, all real, on 127.0.0.1. Nothing leaves this machine.\n");
        let servers: Vec<_> = NAMES
            .iter()
            .zip(&self.backends)
            .map(|(name, backend)| format!("{name} on {}", backend.address()))
            .collect();
        self.tell("servers", &servers.join(", "));
        self.tell("router", &format!("AS {ROUTER_AS} on {}", self.router.local_addr()));
        let config = self.directory.config();
        self.tell("herald", &format!("AS {OUR_AS}, process {}, {}", self.daemon.0.id(), config.display()));
    }

    /// Until the router's session with the daemon is up.
    pub(super) fn await_session(&self) -> Result<(), Scene> {
        self.await_report("a BGP session", |report| matches!(report, Event::Established(_)).then_some(()))?;
        self.tell("router", &format!("session with herald (AS {OUR_AS}) is up"));
        Ok(())
    }

    /// Until the router holds both VIPs; a line for each.
    pub(super) fn await_announced(&self) -> Result<Vec<String>, Scene> {
        let mut missing: BTreeSet<&str> = VIPS.into();
        let mut lines = Vec::new();
        while !missing.is_empty() {
            let line = self.await_report("both VIPs announced", |event| match event {
                Event::Announce(prefix, attributes) => {
                    missing.remove(prefix.to_string().as_str());
                    Some(format!("{prefix} announced: {}", describe(attributes)))
                }
                _ => None,
            })?;
            lines.push(line);
        }
        Ok(lines)
    }

    /// Until the router has lost both VIPs; their names.
    pub(super) fn await_withdrawn(&self) -> Result<Vec<String>, Scene> {
        let mut lost = Vec::new();
        while lost.len() < VIPS.len() {
            lost.push(self.await_report("both VIPs withdrawn", |event| match event {
                Event::Withdraw(prefix) => Some(prefix.to_string()),
                _ => None,
            })?);
        }
        Ok(lost)
    }

    /// Until the daemon itself says that the backend is down.
    pub(super) fn await_backend_down(&self, backend: usize) -> Result<(), Scene> {
        let address = self.backends[backend].address().to_string();
        let deadline = clock() + LIMIT;
        while clock() < deadline {
            let log = fs::read_to_string(self.directory.log()).unwrap_or_default();
            if let Some(line) = log.lines().rev().find(|line| line.contains(&address) && line.contains("failing")) {
                let words = line.split_once(" check ").map_or(line, |(_, words)| words);
                self.tell("herald", &format!("check {words}"));
                return Ok(());
            }
            self.expect_quiet(GLANCE)?;
        }
        Err(Scene::Failed(format!("herald did not notice within {} s that {address} is dead", LIMIT.as_secs())))
    }

    /// For so long the router must hear nothing.
    pub(super) fn expect_still_announced(&self, time: Duration) -> Result<(), Scene> {
        self.expect_quiet(time)
    }

    /// The server's port refuses connections from now on.
    pub(super) fn kill(&mut self, backend: usize) {
        self.backends[backend].kill();
    }

    /// The server is back on its port.
    pub(super) fn restart(&mut self, backend: usize) -> Result<(), Scene> {
        let restarted = self.backends[backend].restart();
        restarted.map_err(|error| Scene::Failed(format!("cannot start {} again: {error}", NAMES[backend])))
    }

    /// How to look around.
    pub(super) fn invite(&self) {
        let program = std::env::current_exe().map_or_else(|_| "herald".to_owned(), |path| path.display().to_string());
        let socket = self.directory.socket();
        self.say(&format!("\n  {program} --socket {} status\n", socket.display()));
        let (config, log) = (self.directory.config(), self.directory.log());
        self.say(&format!("  configuration {}, log {}", config.display(), log.display()));
    }

    /// Plays on until Ctrl-C.
    pub(super) fn wait_for_interrupt(&self) -> Result<(), Scene> {
        loop {
            match self.next_event(GLANCE)? {
                Some(Event::Announce(prefix, attributes)) => {
                    self.tell("router", &format!("{prefix} announced: {}", describe(&attributes)));
                }
                Some(Event::Withdraw(prefix)) => self.tell("router", &format!("{prefix} withdrawn")),
                Some(Event::Closed { cause, .. }) => self.tell("router", &format!("session is over: {cause}")),
                Some(Event::Established(_) | Event::Malformed(_) | Event::EndOfRib(_)) | None => {}
            }
        }
    }

    /// A clean stop, as the router sees it.
    pub(super) fn stop_daemon(&mut self) -> Result<(), Scene> {
        self.daemon.terminate();
        for route in self.await_announced()? {
            self.tell("router", &route);
        }
        for vip in self.await_withdrawn()? {
            self.tell("router", &format!("{vip} withdrawn"));
        }
        let farewell = self.await_report("the end of the session", |event| match event {
            Event::Closed { cause, .. } => Some(cause.to_string()),
            _ => None,
        })?;
        self.tell("router", &format!("session is over: {farewell}"));
        match self.daemon.wait(LIMIT) {
            Some(0) => self.tell("herald", "exit status 0"),
            other => return Err(Scene::Failed(format!("herald did not stop cleanly: {other:?}"))),
        }
        Ok(())
    }

    /// The end of the daemon's log.
    pub(super) fn log_tail(&self, lines: usize) -> Vec<String> {
        let log = fs::read_to_string(self.directory.log()).unwrap_or_default();
        let all: Vec<_> = log.lines().map(str::to_owned).collect();
        all[all.len().saturating_sub(lines)..].to_vec()
    }

    fn await_report<T>(&self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> Result<T, Scene> {
        let deadline = clock() + LIMIT;
        while clock() < deadline {
            if let Some(event) = self.next_event(GLANCE)?
                && let Some(found) = wanted(&event)
            {
                return Ok(found);
            }
        }
        Err(Scene::Failed(format!("the router did not see {what} within {} s", LIMIT.as_secs())))
    }

    /// The router must not lose a route meanwhile.
    fn expect_quiet(&self, time: Duration) -> Result<(), Scene> {
        let deadline = clock() + time;
        while let Some(left) = deadline.checked_duration_since(clock()).filter(|left| !left.is_zero()) {
            match self.next_event(left.min(GLANCE))? {
                Some(Event::Withdraw(prefix)) => {
                    return Err(Scene::Failed(format!("{prefix} was withdrawn though a server answers")));
                }
                Some(Event::Closed { cause, .. }) => return Err(Scene::Failed(format!("the session ended: {cause}"))),
                _ => {}
            }
        }
        Ok(())
    }

    fn next_event(&self, limit: Duration) -> Result<Option<Event>, Scene> {
        let mut signal = [0];
        if self.unheard.get() || matches!((&self.interrupt).read(&mut signal), Ok(1..)) {
            return Err(Scene::Interrupted);
        }
        match self.reports.recv_timeout(limit) {
            Ok(report) => Ok(Some(report.event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Scene::Failed("the router is gone".to_owned())),
        }
    }
}

/// The real daemon, a process of its own.
#[derive(Debug)]
struct Daemon(Child);

impl Daemon {
    fn start(directory: &Directory) -> io::Result<Daemon> {
        let log = File::create(directory.log())?;
        let child = Command::new(std::env::current_exe()?)
            .args(["run", "--config"])
            .arg(directory.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Daemon(child))
    }

    fn terminate(&self) {
        if let Ok(pid) = i32::try_from(self.0.id())
            && let Some(pid) = Pid::from_raw(pid)
        {
            // It may be gone already; waiting for it tells.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Its exit status, if it ends in time and by itself.
    fn wait(&mut self, limit: Duration) -> Option<i32> {
        let deadline = clock() + limit;
        while clock() < deadline {
            if let Ok(Some(status)) = self.0.try_wait() {
                return status.code();
            }
            // A wait for nothing: the child ends soon, and a signal now would only ask for what is under way.
            let _ = crossbeam_channel::after(GLANCE).recv();
        }
        None
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.terminate();
        if self.wait(Duration::from_secs(5)).is_none() {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

fn config(directory: &Directory, backends: &[Backend], router_port: u16) -> String {
    let servers: String = backends
        .iter()
        .map(|backend| {
            let address = backend.address();
            format!("\n[[service.backend]]\naddress = \"{}\"\nport    = {}\n", address.ip(), address.port())
        })
        .collect();
    format!(
        r#"[daemon]
control_socket = "{socket}"
state_file     = "{state}"
shutdown_drain = "500ms"                 # how long GRACEFUL_SHUTDOWN stands before the withdrawal

[bgp]
local_as  = {OUR_AS}
router_id = "192.0.2.254"

[[bgp.peer]]
name          = "router"
address       = "127.0.0.1"
port          = {router_port}
peer_as       = {ROUTER_AS}
next_hop_ipv6 = "2001:db8:ffff::1"       # IPv6 routes over an IPv4 session: the next hop must be said

[checks.web]
type     = "http"
path     = "/healthz"
interval = "200ms"
timeout  = "100ms"
rise     = 2
fall     = 2

[[service]]
name     = "web"
vips     = ["192.0.2.1", "2001:db8::1"]
port     = 80
required = 1
checks   = ["web"]
{servers}"#,
        socket = directory.socket().display(),
        state = directory.state().display()
    )
}
