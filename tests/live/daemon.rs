//! The real binary with a configuration of its own, and the backend that it checks.

use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use herald::driver::clock;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::router::PATIENCE;

/// Something that accepts connections, until it is dropped.
pub(crate) struct Backend {
    pub(crate) port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// On this port; 0 picks a free one.
    pub(crate) fn start(port: u16) -> Backend {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                drop(listener.accept());
            }
        });
        Backend { port, stop, thread: Some(thread) }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A configuration, and the daemon that runs with it once it is started.
pub(crate) struct Daemon {
    directory: TempDir,
    child: Option<Child>,
}

impl Daemon {
    pub(crate) fn new(config: &str) -> Daemon {
        let daemon = Daemon { directory: tempfile::tempdir().unwrap(), child: None };
        daemon.configure(config);
        daemon
    }

    pub(crate) fn configure(&self, config: &str) {
        let socket = self.socket();
        let text = config.replace("SOCKET", socket.to_str().unwrap()).replace("STATE", self.state().to_str().unwrap());
        // Whoever reads it meanwhile has the one or the other.
        let fresh = self.path("herald.toml.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.config()).unwrap();
    }

    /// Where its files are.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("herald.toml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// Starts it, with its log in a file.
    pub(crate) fn start(&mut self) {
        let log = File::create(self.directory.path().join("log")).unwrap();
        self.start_with(log.into());
    }

    /// Starts it as systemd does when stderr goes to the journal.
    pub(crate) fn start_in_journal(&mut self) {
        let log = File::create(self.directory.path().join("log")).unwrap();
        let metadata = log.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        self.child = Some(self.run().env("JOURNAL_STREAM", stream).stderr(log).spawn().unwrap());
    }

    pub(crate) fn start_with(&mut self, stderr: Stdio) {
        self.child = Some(self.run().stderr(stderr).spawn().unwrap());
    }

    /// `herald run`, not started yet.
    pub(crate) fn run(&self) -> Command {
        let mut command = herald();
        command.arg("run").arg("--config").arg(self.config()).stdin(Stdio::null());
        command
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.child.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    /// `herald status --json`; `None` when there is no answer.
    pub(crate) fn status(&self) -> Option<serde_json::Value> {
        let output = self.ask(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Any command to the daemon.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        herald().args(arguments).arg("--socket").arg(self.socket()).output().unwrap()
    }

    /// Waits until the status is like this.
    pub(crate) fn wait_for_status(&self, what: &str, is: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        self.wait(what, || self.status().filter(&is))
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        self.wait(text, || self.log().contains(text).then_some(()));
    }

    pub(crate) fn wait<T>(&self, what: &str, find: impl Fn() -> Option<T>) -> T {
        let deadline = clock() + PATIENCE;
        loop {
            if let Some(found) = find() {
                return found;
            }
            assert!(clock() < deadline, "no {what}; status: {:?}; log:\n{}", self.status(), self.log());
            pause();
        }
    }

    /// Waits for the end of the process.
    pub(crate) fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        let deadline = clock() + limit;
        let child = self.child.as_mut().unwrap();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(clock() < deadline, "still there after {limit:?}");
            pause();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

pub(crate) fn herald() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command.env_remove("RUST_LOG").env_remove("HERALD_SOCKET").env_remove("JOURNAL_STREAM");
    command
}

/// Between two looks at something that has no event to wait for.
fn pause() {
    thread::park_timeout(Duration::from_millis(10));
}

/// Reads to the end, on a thread: a peer that never hangs up must fail the test, not hang it.
pub(crate) fn read_to_end(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, read) = channel();
    thread::spawn(move || {
        let mut octets = Vec::new();
        let _until_it_breaks = stream.read_to_end(&mut octets);
        tell.send(octets)
    });
    read
}
