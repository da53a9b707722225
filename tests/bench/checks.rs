//! CPU per check, beside HAProxy and a program in Go checking the same nginx.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::process::{Process, free_port, wait};
use crate::spread;

const TARGETS: u32 = 1000;
const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(5);

pub fn run() {
    println!(
        "\nChecks: CPU µs per check of {TARGETS} targets on one nginx, {ROUNDS} rounds of {} s, in turn",
        WINDOW.as_secs()
    );
    println!(
        "{:<6} {:>8} {:>20} {:>20} {:>20} {:>20} {:>20}",
        "kind", "interval", "herald", "HAProxy", "Go net/http", "herald / HAProxy", "herald / Go"
    );
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let _nginx = nginx(dir.path(), port);
    let go = build_go(dir.path());
    for kind in ["tcp", "http"] {
        for interval_ms in [1000, 100] {
            let (mut herald, mut haproxy, mut goes) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                herald.push(from_herald(dir.path(), port, kind, interval_ms));
                haproxy.push(from_haproxy(dir.path(), port, kind, interval_ms));
                goes.extend(go.as_deref().map(|go| from_go(go, port, kind, interval_ms)));
            }
            let ratios = |theirs: &[f64]| -> Vec<f64> {
                herald.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
            };
            let show = |values: &[f64]| if values.is_empty() { "-".to_owned() } else { spread(values) };
            println!(
                "{kind:<6} {:>8} {:>20} {:>20} {:>20} {:>20} {:>20}",
                format!("{interval_ms} ms"),
                show(&herald),
                show(&haproxy),
                show(&goes),
                show(&ratios(&haproxy)),
                show(&ratios(&goes))
            );
        }
    }
}

/// Nothing where there is no Go.
fn build_go(dir: &Path) -> Option<std::path::PathBuf> {
    let program = dir.join("checker");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/checker.go");
    let built = std::process::Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(source)
        .env("GOFLAGS", "-mod=mod")
        .env("GO111MODULE", "off")
        .env("GOCACHE", dir.join("cache"))
        .status();
    built.is_ok_and(|status| status.success()).then_some(program)
}

fn from_go(program: &Path, port: u16, kind: &str, interval_ms: u32) -> f64 {
    let arguments = [kind.to_owned(), port.to_string(), interval_ms.to_string(), TARGETS.to_string()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let process = Process::start(program.to_str().unwrap(), &arguments);
    thread::sleep(Duration::from_secs(3)); // as HAProxy
    cpu_per_check(|| process.usage().cpu_seconds, interval_ms)
}

/// Different addresses are different targets; nginx listens on all of 127.0.0.0/8.
pub fn target(index: u32) -> Ipv4Addr {
    (0x7f00_0100 + index).into()
}

pub fn nginx(dir: &Path, port: u16) -> Process {
    let file = dir.join("nginx.conf");
    let config = format!(
        "daemon off; master_process off; pid {dir}/nginx.pid; error_log /dev/null;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; \
         uwsgi_temp_path {dir}; scgi_temp_path {dir}; server {{ listen 0.0.0.0:{port} backlog=8192; location / {{ return 200; }} }} }}\n",
        dir = dir.display()
    );
    fs::write(&file, config).unwrap();
    let process = Process::start("nginx", &["-c", file.to_str().unwrap(), "-p", dir.to_str().unwrap()]);
    wait("nginx", Duration::from_secs(5), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    process
}

/// CPU of the process over the window, in microseconds per check that was due in it.
fn cpu_per_check(cpu: impl Fn() -> f64, interval_ms: u32) -> f64 {
    let before = cpu();
    thread::sleep(WINDOW);
    let spent = cpu() - before;
    let checks = f64::from(TARGETS) * WINDOW.as_secs_f64() * 1000.0 / f64::from(interval_ms);
    spent * 1e6 / checks
}

fn from_herald(dir: &Path, port: u16, kind: &str, interval_ms: u32) -> f64 {
    let mut config = format!(
        "[daemon]\ncontrol_socket = \"{dir}/control.sock\"\nstate_file = \"{dir}/state.json\"\n[[service]]\nname = \"s\"\nvips = [\"192.0.2.1\"]\nport = 80\n\
         check = [{{ type = \"{kind}\", interval = \"{interval_ms}ms\", timeout = \"{interval_ms}ms\" }}]\n",
        dir = dir.display()
    );
    for index in 0..TARGETS {
        writeln!(config, "[[service.backend]]\naddress = \"{}\"\nport = {port}", target(index)).unwrap();
    }
    let process = Process::herald(dir, &config);
    wait("all backends up", Duration::from_secs(20), || {
        let status = crate::process::status(dir)?;
        (status["services"][0]["available"] == TARGETS).then_some(())
    });
    cpu_per_check(|| process.usage().cpu_seconds, interval_ms)
}

fn from_haproxy(dir: &Path, port: u16, kind: &str, interval_ms: u32) -> f64 {
    let check = if kind == "http" { "option httpchk GET /\n" } else { "" };
    let mut config = format!(
        "global\n maxconn 8192\n stats socket {dir}/haproxy.sock\n\
         defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n timeout check {interval_ms}ms\n\
         backend b\n {check} default-server check inter {interval_ms}ms\n",
        dir = dir.display()
    );
    for index in 0..TARGETS {
        writeln!(config, " server s{index} {}:{port}", target(index)).unwrap();
    }
    let file = dir.join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let process = Process::start("haproxy", &["-db", "-f", file.to_str().unwrap()]);
    thread::sleep(Duration::from_secs(3)); // started, and every server checked
    cpu_per_check(|| process.usage().cpu_seconds, interval_ms)
}
