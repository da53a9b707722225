//! 100,000 routes to one BIRD, from Herald and from BIRD's own static routes.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Process, Usage, free_port, wait};
use crate::proxy::{Counted, Proxy};
use crate::spread;

const ROUTES: u32 = 100_000;
const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

struct Outcome {
    /// From the first UPDATE to the table that holds all.
    held_after: Duration,
    counted: Counted,
    usage: Usage,
}

pub fn run() {
    println!("\nRoutes: {ROUTES} host routes with the same attributes to one BIRD, {ROUNDS} rounds, senders in turn");
    let (mut herald, mut bird) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        herald.push(measure(from_herald));
        bird.push(measure(from_bird));
    }
    println!(
        "{:<20} {:>22} {:>22} {:>10} {:>10} {:>22} {:>10}",
        "sender", "seconds until held", "seconds of sending", "UPDATEs", "octets", "CPU s", "peak MiB"
    );
    for (name, outcomes) in [("herald", &herald), ("BIRD static routes", &bird)] {
        let each = |value: fn(&Outcome) -> f64| outcomes.iter().map(value).collect::<Vec<_>>();
        println!(
            "{name:<20} {:>22} {:>22} {:>10} {:>10} {:>22} {:>10.1}",
            spread(&each(|o| o.held_after.as_secs_f64())),
            spread(&each(|o| sending(&o.counted).as_secs_f64())),
            outcomes[0].counted.updates,
            outcomes[0].counted.octets,
            spread(&each(|o| o.usage.cpu_seconds)),
            outcomes.iter().map(|o| o.usage.peak_mib).fold(0.0, f64::max),
        );
    }
    let ratios: Vec<f64> =
        herald.iter().zip(&bird).map(|(h, b)| h.held_after.as_secs_f64() / b.held_after.as_secs_f64()).collect();
    println!("herald / BIRD, seconds until held: {}", spread(&ratios));
}

fn sending(counted: &Counted) -> Duration {
    counted.last_update.zip(counted.first_update).map_or(Duration::ZERO, |(last, first)| last - first)
}

fn measure(sender: fn(&Path, u16) -> Process) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = format!(
        "router id 10.0.0.9;\nprotocol device {{}}\n\
         protocol bgp dut {{ local 127.0.0.1 port {port} as 65000; neighbor 127.0.0.1 as 65001; multihop; passive; \
         strict bind yes; ipv4 {{ import all; export none; }}; }}\n"
    );
    let _receiver = bird(dir.path(), "receiver", &config);
    let proxy = Proxy::start(port);
    let process = sender(dir.path(), proxy.address.port());
    let control = dir.path().join("receiver.ctl");
    wait("the first UPDATE", LIMIT, || proxy.counted().first_update);
    wait("all routes held", LIMIT, || (routes_held(&control) == ROUTES).then_some(()));
    let held = Instant::now();
    let counted = proxy.counted();
    let first = counted.first_update.expect("seen above");
    Outcome { held_after: held - first, counted, usage: process.usage() }
}

fn routes_held(control: &Path) -> u32 {
    let output = Command::new("birdc").arg("-s").arg(control).args(["show", "route", "count"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let total = text.lines().find_map(|line| line.trim().strip_prefix("Total: "));
    total.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0)
}

fn bird(dir: &Path, name: &str, config: &str) -> Process {
    let file = |suffix: &str| dir.join(format!("{name}.{suffix}")).to_str().unwrap().to_owned();
    fs::write(file("conf"), config).unwrap();
    let process = Process::start("bird", &["-f", "-c", &file("conf"), "-s", &file("ctl"), "-P", &file("pid")]);
    wait("BIRD", LIMIT, || Path::new(&file("ctl")).exists().then_some(()));
    process
}

fn route(index: u32) -> std::net::Ipv4Addr {
    (0x0a80_0000 + index).into()
}

fn from_bird(dir: &Path, port: u16) -> Process {
    let mut config = format!(
        "router id 10.0.0.1;\nprotocol device {{}}\n\
         protocol bgp up {{ local 127.0.0.2 as 65001; neighbor 127.0.0.1 port {port} as 65000; multihop; connect delay time 1; \
         ipv4 {{ import none; export all; next hop self; }}; }}\nprotocol static {{ ipv4;\n"
    );
    for index in 0..ROUTES {
        writeln!(config, "route {}/32 blackhole;", route(index)).unwrap();
    }
    config.push_str("}\n");
    bird(dir, "sender", &config)
}

fn from_herald(dir: &Path, port: u16) -> Process {
    let vips: Vec<String> = (0..ROUTES).map(|index| format!("\"{}\"", route(index))).collect();
    let config = format!(
        "[daemon]\ncontrol_socket = \"{}\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.1\"\n\
         [[bgp.peer]]\nname = \"bird\"\naddress = \"127.0.0.1\"\nport = {port}\npeer_as = 65000\nfamilies = [\"ipv4\"]\n\
         [[service]]\nname = \"all\"\nport = 80\nrequired = 0\nvips = [{}]\n[[service.backend]]\naddress = \"127.0.0.1\"\n",
        dir.join("control.sock").display(),
        vips.join(",")
    );
    Process::herald(dir, &config)
}
