//! Processes that are started, watched and ended.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A child that is killed when it goes out of scope.
pub struct Process(Child);

/// CPU seconds and memory of a process, from `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub peak_mib: f64,
}

impl Process {
    pub fn start(program: &str, arguments: &[&str]) -> Process {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Process(child)
    }

    /// Herald with this configuration in `dir`.
    pub fn herald(dir: &Path, config: &str) -> Process {
        let file = dir.join("herald.toml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(dir.join("herald.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_herald"))
            .args(["run", "--config"])
            .arg(&file)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Process(child)
    }

    /// It, and what it has started and they have.
    pub fn family(&self) -> Vec<u32> {
        let mut family = vec![self.0.id()];
        let mut known = 0;
        while known < family.len() {
            let pid = family[known];
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
            let children: Vec<String> = children.collect();
            family.extend(
                children.iter().flat_map(|text| text.split_whitespace()).filter_map(|pid| pid.parse::<u32>().ok()),
            );
            known += 1;
        }
        family
    }

    pub fn usage(&self) -> Usage {
        usage(self.0.id())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

/// Of any process by its id.
pub fn usage(pid: u32) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // Ticks are coarse, but know of threads that have ended.
    Usage { cpu_seconds: (ticks / 100.0).max(threads_cpu_seconds(pid)), peak_mib: kib / 1024.0 }
}

/// Of the threads that run now, to the nanosecond.
fn threads_cpu_seconds(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Polls until `found` gives something.
pub fn wait<T>(what: &str, limit: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `herald status --json` of the daemon that was started in `dir`.
pub fn status(dir: &Path) -> Option<serde_json::Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_herald"))
        .arg("--socket")
        .arg(dir.join("control.sock"))
        .args(["status", "--json"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

/// A port of the system's choice that is free now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
