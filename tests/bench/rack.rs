//! A rack dies: half of the backends are black holes from one instant on. How late do the checks of the others start, and
//! how long does it take until all dead ones are down? In a network namespace of its own.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::percentile;
use crate::process::{Process, status, usage, wait};

const NAMESPACE: &str = "herald-bench-rack";
/// Detection takes two failures, a second apart, each of which takes a second.
const TIMING: &str = "interval = \"1s\", timeout = \"1s\", rise = 2, fall = 2";

pub fn run() {
    println!(
        "\nRack: tcp checks every second (timeout 1 s, fall 2); half of the backends are blackholed at one instant"
    );
    println!(
        "{:>9} {:>8} {:>8} {:>14} {:>14} {:>20} {:>9} {:>9} {:>10}",
        "services", "workers", "threads", "lag before", "lag after", "all dead are down", "queued", "memory", "CPU"
    );
    println!(
        "{:>9} {:>8} {:>8} {:>14} {:>14} {:>20} {:>9} {:>9} {:>10}",
        "", "", "", "p99, ms", "p99, ms", "s (median; last)", "", "MiB", "cores"
    );
    let _namespace = Namespace::new();
    for (services, workers) in [(2000, "\"auto\""), (2000, "256"), (10_000, "\"auto\""), (10_000, "1024")] {
        measure(services, workers);
    }
}

/// Where every address of 10.0.0.0/8 is our own. Gone in the end.
struct Namespace {
    _web: Process,
    _dir: tempfile::TempDir,
}

impl Namespace {
    fn new() -> Namespace {
        let _from_before =
            Command::new("ip").args(["netns", "del", NAMESPACE]).stderr(std::process::Stdio::null()).status();
        command("ip", &["netns", "add", NAMESPACE]);
        inside(&["ip", "link", "set", "lo", "up"]);
        inside(&["ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"]);
        inside(&["sysctl", "-qw", "net.core.somaxconn=65535", "net.ipv4.tcp_max_syn_backlog=65535"]);
        inside(&["nft", "add table inet rack { chain input { type filter hook input priority 0; }; }"]);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nginx.conf");
        let at = dir.path().display();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log /dev/null;\nevents {{ worker_connections 20000; }}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; server {{ listen 80 backlog=65535; return 200; }} }}\n"
        );
        fs::write(&file, config).unwrap();
        let web = Process::start("ip", &["netns", "exec", NAMESPACE, "nginx", "-c", file.to_str().unwrap()]);
        Namespace { _web: web, _dir: dir }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        command("ip", &["netns", "del", NAMESPACE]);
    }
}

fn command(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
}

fn inside(arguments: &[&str]) {
    command("ip", &[&["netns", "exec", NAMESPACE], arguments].concat());
}

/// The second half, which dies, is in 10.1.0.0/16.
fn backend(service: usize, services: usize) -> Ipv4Addr {
    let base = if service < services / 2 { 0x0a00_0100 } else { 0x0a01_0100 };
    Ipv4Addr::from(base + (service % (services / 2)) as u32)
}

fn measure(services: usize, workers: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("herald.toml"), config(dir.path(), services, workers)).unwrap();
    let herald = env!("CARGO_BIN_EXE_herald");
    let file = dir.path().join("herald.toml");
    let process =
        Process::start("ip", &["netns", "exec", NAMESPACE, herald, "run", "--config", file.to_str().unwrap()]);
    let up = |status: &Value| count(status, "up") == services;
    wait("all up", Duration::from_secs(60), || status(dir.path()).filter(up));
    let before = lag(dir.path(), 3);
    let pid = *process.family().last().unwrap();
    let cpu = usage(pid).cpu_seconds;
    let killed = SystemTime::now();
    inside(&["nft", "add rule inet rack input ip daddr 10.1.0.0/16 drop"]);
    let after = lag(dir.path(), 10);
    let used = usage(pid);
    let threads = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let threads = threads.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap().trim().to_owned();
    let last = wait("all dead ones down", Duration::from_secs(120), || {
        status(dir.path()).filter(|status| count(status, "down") == services / 2)
    });
    let mut took: Vec<f64> = backends(&last)
        .filter(|backend| backend["state"] == "down")
        .map(|backend| {
            let since = humantime::parse_rfc3339(backend["since"].as_str().unwrap()).unwrap();
            since.duration_since(killed).unwrap_or_default().as_secs_f64()
        })
        .collect();
    took.sort_by(f64::total_cmp);
    inside(&["nft", "flush chain inet rack input"]);
    println!(
        "{services:>9} {:>8} {threads:>8} {before:>14.1} {after:>14.1} {:>20} {:>9} {:>9.0} {:>10.2}",
        last["pool"]["workers"],
        format!("{:.2}; {:.2}", percentile(&took, 0.5), percentile(&took, 1.0)),
        last["pool"]["queued"].to_string(),
        used.peak_mib,
        (used.cpu_seconds - cpu) / 10.0
    );
}

fn config(dir: &Path, services: usize, workers: &str) -> String {
    let at = dir.display();
    let mut config = format!(
        "[daemon]\ncontrol_socket = \"{at}/control.sock\"\nstate_file = \"{at}/state.json\"\nworkers = {workers}\nlog = \"error\"\n"
    );
    for service in 0..services {
        let vip = Ipv4Addr::from(0xc612_0000 + service as u32);
        let address = backend(service, services);
        writeln!(
            config,
            "[[service]]\nname = \"s{service}\"\nvips = [\"{vip}\"]\nport = 80\ncheck = [{{ type = \"tcp\", {TIMING} }}]\n\
             [[service.backend]]\naddress = \"{address}\""
        )
        .unwrap();
    }
    config
}

fn backends(status: &Value) -> impl Iterator<Item = &Value> {
    status["services"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|service| service["backends"].as_array().into_iter().flatten())
}

fn count(status: &Value, state: &str) -> usize {
    backends(status).filter(|backend| backend["state"] == state).count()
}

/// How late the checks of backends that live have started, each second for so many: what 99 % are not later than, in ms.
fn lag(dir: &Path, seconds: usize) -> f64 {
    let mut lags: Vec<u64> = Vec::new();
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        let Some(status) = status(dir) else { continue };
        let alive =
            backends(&status).filter(|backend| backend["address"].as_str().is_some_and(|at| at.starts_with("10.0.")));
        lags.extend(alive.filter_map(|backend| backend["checks"][0]["lag_us"].as_u64()));
    }
    lags.sort_unstable();
    percentile(&lags, 0.99) as f64 / 1000.0
}
