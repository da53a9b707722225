//! From the death of a backend's process to the withdrawal at a router: Herald with and without a tripwire, ExaBGP with its
//! health check, and anycast-healthchecker with BIRD, all with an interval of 1 s and two failures.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::percentile;
use crate::process::{Process, free_port, usage, wait};
use crate::router::Router;
use crate::routes::bird;

const VIP: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const ROUNDS: usize = 20;
/// Where BIRD must withdraw one too.
const DUMMY: &str = "198.19.255.255/32";

/// Somebody who checks the backend and announces its VIP, and the processes that takes.
struct Announcer {
    name: &'static str,
    processes: Vec<Process>,
    router: Router,
}

pub fn run() {
    println!(
        "\nCrash: kill -9 of the backend to the withdrawal at the router, {ROUNDS} times each, every second a check, fall = 2"
    );
    println!("{:<32} {:>10} {:>10} {:>10} {:>12} {:>10}", "", "median", "min", "max", "memory", "CPU");
    println!("{:<32} {:>10} {:>10} {:>10} {:>12} {:>10}", "", "ms", "ms", "ms", "MiB", "ms/s");
    let dir = tempfile::tempdir().unwrap();
    let backend = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let nginx = dir.path().join("nginx.conf");
    fs::write(&nginx, nginx_config(dir.path(), backend)).unwrap();
    // All see the same deaths.
    let mut web = start(&nginx, backend);
    let announcers: Vec<Announcer> = [
        herald("Herald, tripwire", "tripwire = true, conclusive = [\"refused\"]", dir.path(), backend),
        herald("Herald, tripwire, fall = 2", "tripwire = true, fast_interval = \"20ms\"", dir.path(), backend),
        herald("Herald, fast_interval 200 ms", "fast_interval = \"200ms\"", dir.path(), backend),
        herald("Herald", "rise = 2", dir.path(), backend),
        exabgp(dir.path(), backend),
    ]
    .into_iter()
    .chain(anycast_healthchecker(dir.path(), backend))
    .collect();
    let mut took: Vec<Vec<f64>> = vec![Vec::new(); announcers.len()];
    let begun = Instant::now();
    for round in 0..ROUNDS {
        for announcer in &announcers {
            wait(announcer.name, Duration::from_secs(60), || announcer.router.route(VIP).filter(|(held, _)| *held));
        }
        // At another point of everybody's second each time.
        std::thread::sleep(Duration::from_millis(1500 + round as u64 * 1000 / ROUNDS as u64));
        let killed = Instant::now();
        web.signal(Signal::KILL);
        for (announcer, took) in announcers.iter().zip(&mut took) {
            let gone = wait(announcer.name, Duration::from_secs(30), || {
                announcer.router.route(VIP).filter(|(held, since)| !held && *since > killed)
            });
            took.push((gone.1 - killed).as_secs_f64() * 1000.0);
        }
        drop(web);
        web = start(&nginx, backend);
    }
    let _whether_there_or_not = Command::new("ip").args(["address", "del", &format!("{VIP}/32"), "dev", "lo"]).status();
    let span = begun.elapsed().as_secs_f64();
    for (announcer, mut took) in announcers.iter().zip(took) {
        took.sort_by(f64::total_cmp);
        let used: Vec<_> = announcer.processes.iter().flat_map(Process::family).map(usage).collect();
        let memory: f64 = used.iter().map(|used| used.peak_mib).sum();
        let cpu: f64 = used.iter().map(|used| used.cpu_seconds).sum();
        println!(
            "{:<32} {:>10.1} {:>10.1} {:>10.1} {memory:>12.1} {:>10.2}",
            announcer.name,
            percentile(&took, 0.5),
            took[0],
            took[took.len() - 1],
            cpu * 1000.0 / span
        );
    }
}

fn nginx_config(dir: &Path, backend: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nerror_log /dev/null;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; \
         scgi_temp_path {dir}/s;\nserver {{ listen {backend}; location / {{ return 200 ok; }} }} }}\n"
    )
}

fn start(config: &Path, backend: SocketAddr) -> Process {
    let web = Process::start("nginx", &["-c", config.to_str().unwrap()]);
    wait("nginx", Duration::from_secs(10), || TcpStream::connect(backend).ok());
    web
}

fn herald(name: &'static str, keys: &str, dir: &Path, backend: SocketAddr) -> Announcer {
    let router = Router::start();
    let dir = dir.join(name.replace(' ', "-"));
    fs::create_dir(&dir).unwrap();
    let config = format!(
        "[daemon]\ncontrol_socket = \"{dir}/control.sock\"\nstate_file = \"{dir}/state.json\"\n[bgp]\nlocal_as = 65001\n\
         router_id = \"10.0.0.1\"\n[[bgp.peer]]\nname = \"router\"\naddress = \"127.0.0.1\"\nport = {}\npeer_as = 65000\n\
         families = [\"ipv4\"]\n[[service]]\nname = \"web\"\nvips = [\"{VIP}\"]\nport = 80\n\
         check = [{{ type = \"http\", interval = \"1s\", fall = 2, {keys} }}]\n\
         [[service.backend]]\naddress = \"{}\"\nport = {}\n",
        router.address.port(),
        backend.ip(),
        backend.port(),
        dir = dir.display()
    );
    let processes = vec![Process::herald(&dir, &config)];
    Announcer { name, processes, router }
}

fn exabgp(dir: &Path, backend: SocketAddr) -> Announcer {
    let router = Router::start();
    let file = dir.join("exabgp.conf");
    let check = format!(
        "/usr/bin/python3 -m exabgp healthcheck --no-syslog --cmd 'curl -sf -m 1 -o /dev/null http://{backend}/' --interval 1 \
         --fast-interval 1 --rise 2 --fall 2 --timeout 1 --no-ip-setup --ip {VIP}/32 --next-hop 10.0.0.1 --withdraw-on-down"
    );
    let config = format!(
        "process check {{\nrun {check};\nencoder text;\n}}\nneighbor 127.0.0.1 {{\nrouter-id 10.0.0.1;\n\
         local-address 127.0.0.1;\nlocal-as 65001;\npeer-as 65000;\nconnect {};\nfamily {{ ipv4 unicast; }}\n\
         api {{ processes [ check ]; }}\n}}\n",
        router.address.port()
    );
    fs::write(&file, config).unwrap();
    let settings = ["exabgp.daemon.drop=false", "exabgp.api.cli=false", "exabgp", file.to_str().unwrap()];
    Announcer { name: "ExaBGP, its health check", processes: vec![Process::start("env", &settings)], router }
}

/// Nothing where it is not installed: Debian does not have it. `HEALTHCHECKER` names it then.
fn anycast_healthchecker(dir: &Path, backend: SocketAddr) -> Option<Announcer> {
    let program = std::env::var("HEALTHCHECKER").unwrap_or_else(|_| "anycast-healthchecker".to_owned());
    if Command::new(&program).arg("--version").output().is_err() {
        println!(
            "(anycast-healthchecker is not there: pip install anycast-healthchecker, and HEALTHCHECKER=… to name it)"
        );
        return None;
    }
    // It looks whether the address is there, whatever `ip_check_disabled` says. Taken away again at the end.
    let added = Command::new("ip").args(["address", "add", &format!("{VIP}/32"), "dev", "lo"]).status();
    assert!(added.is_ok(), "ip is not there");
    let router = Router::start();
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let prefixes = at("anycast-prefixes.conf");
    fs::write(&prefixes, format!("define ACAST_PS_ADVERTISE = [ {DUMMY} ];\n")).unwrap();
    let config = format!(
        "include \"{prefixes}\";\nrouter id 10.0.0.1;\nprotocol device {{}}\nprotocol static {{ ipv4; route {VIP}/32 blackhole; }}\n\
         protocol bgp tor {{ local 127.0.0.1 as 65001; neighbor 127.0.0.1 port {} as 65000; multihop; connect delay time 1;\n\
         ipv4 {{ import none; export where net ~ ACAST_PS_ADVERTISE; next hop address 10.0.0.1; }}; }}\n",
        router.address.port()
    );
    let (process, _control) = bird::start(dir, "anycast", &config);
    let reconfigure = format!("/usr/sbin/birdc -s {} configure", at("anycast.ctl"));
    fs::write(
        at("healthchecker.conf"),
        format!(
            "[daemon]\nbird_conf = {prefixes}\nbird_reconfigure_cmd = {reconfigure}\ndummy_ip_prefix = {DUMMY}\npidfile = {}\n\
             loglevel = critical\nlog_file = {}\nstderr_file = {}\n[DEFAULT]\ninterface = lo\n",
            at("healthchecker.pid"),
            at("healthchecker.log"),
            at("healthchecker.err")
        ),
    )
    .unwrap();
    fs::write(
        at("service.conf"),
        format!(
            "[web]\ncheck_cmd = curl -sf -m 1 -o /dev/null http://{backend}/\ncheck_interval = 1\ncheck_timeout = 1\n\
             check_rise = 2\ncheck_fail = 2\ncheck_disabled = false\non_disabled = withdraw\nip_check_disabled = true\n\
             ip_prefix = {VIP}/32\n"
        ),
    )
    .unwrap();
    let checker = Process::start(&program, &["-f", &at("healthchecker.conf"), "-F", &at("service.conf")]);
    Some(Announcer { name: "anycast-healthchecker, BIRD", processes: vec![process, checker], router })
}
