//! A daemon that the test started, and ends by its process id.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::lab::Namespace;
use super::wait;

/// A running process; killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    // It holds the lab until the process has ended, too.
    namespace: Namespace,
}

impl Process {
    /// Starts a program in a namespace; what it prints is appended to `log`.
    ///
    /// `ip netns exec` and `setpriv` exec what follows, so the child's id is the program's. Should the test be killed,
    /// the kernel kills the program.
    pub(crate) fn start(namespace: &Namespace, log: &Path, program: &str, arguments: &[&str]) -> Process {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace.name(), "setpriv", "--pdeathsig", "KILL", program]).args(arguments);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        Process { name: program.to_owned(), child, log: log.to_owned(), namespace: namespace.clone() }
    }

    /// What it has printed, and those before it with the same log.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Fails the test when it has ended, with what it said last.
    #[track_caller]
    pub(crate) fn assert_running(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "{} has ended: {ended:?}\n{}", self.name, self.log());
    }

    /// Whether it waits for something, with nothing left to do.
    pub(crate) fn is_asleep(&self) -> Result<(), String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).map_err(|error| error.to_string())?;
        match stat.rsplit_once(") ") {
            Some((_, rest)) if rest.starts_with('S') => Ok(()),
            _ => Err(stat),
        }
    }

    /// Waits until somebody listens on a TCP port of its namespace.
    pub(crate) fn wait_for_port(&mut self, port: u16) {
        let namespace = self.namespace.clone();
        wait::until(&format!("{} to listen on port {port}", self.name), || {
            self.assert_running();
            let listeners = namespace.run("ss", &["-Hltn", &format!("sport = :{port}")]);
            if listeners.is_empty() { Err("nobody yet".to_owned()) } else { Ok(()) }
        });
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait::until(&what, || self.child.try_wait().unwrap().ok_or("it still runs".to_owned())).0
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
