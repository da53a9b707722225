//! Routes through a local gobgpd: by its API, and by a session with it, in turn. And one route among many that changes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::process::{Process, free_port, status, wait};
use crate::routes::route;
use crate::spread;
use crate::web::Web;

const LIMIT: Duration = Duration::from_secs(600);
/// Changes of one route in a run.
const CHANGES: usize = 10;

/// How Herald tells gobgpd.
#[derive(Clone, Copy, Debug)]
enum Way {
    Api,
    Session,
}

/// What one run gave.
struct Outcome {
    announce: Step,
    withdraw: Step,
    /// From the answer that fails to the route that is gone, milliseconds.
    one_gone: Vec<f64>,
    calls: u64,
    peak_mib: f64,
}

struct Step {
    seconds: f64,
    herald_cpu: f64,
    gobgpd_cpu: f64,
}

pub fn run(options: &Options) {
    let quick = options.quick;
    let prefixes = options.prefixes.clone().unwrap_or(vec![if quick { 1000 } else { 10_000 }]);
    let rounds = options.rounds.unwrap_or(if quick { 1 } else { 3 });
    println!(
        "\nRoutes through a local gobgpd; rounds: {rounds}, ways in turn\n\
         held: from the first answer that passes until gobgpd has all routes; gone: from the answer that fails the check of \
         them all until it has none; both with `gobgp global rib summary`, asked all the time\n\
         one gone: from the answer that fails the check of one VIP among all until `gobgp monitor` says so\n\
         CPU in seconds, of Herald and of gobgpd (which also answers those questions); spreads: median [lowest-highest]"
    );
    for prefixes in prefixes {
        let mut outcomes = [(Way::Api, Vec::new()), (Way::Session, Vec::new())];
        for _ in 0..rounds {
            for (way, outcomes) in &mut outcomes {
                outcomes.push(measure(*way, prefixes));
            }
        }
        println!("\n{prefixes} prefixes");
        for (way, outcomes) in &outcomes {
            print(*way, outcomes);
        }
    }
}

fn print(way: Way, outcomes: &[Outcome]) {
    let each = |value: &dyn Fn(&Outcome) -> f64| spread(&outcomes.iter().map(value).collect::<Vec<_>>());
    let step = |of: fn(&Outcome) -> &Step| {
        format!(
            "{} s, CPU {} + {}",
            each(&|it| of(it).seconds),
            each(&|it| of(it).herald_cpu),
            each(&|it| of(it).gobgpd_cpu)
        )
    };
    let changes: Vec<f64> = outcomes.iter().flat_map(|outcome| outcome.one_gone.clone()).collect();
    println!("{way:?}: held {}", step(|outcome| &outcome.announce));
    println!("{way:?}: gone {}", step(|outcome| &outcome.withdraw));
    println!(
        "{way:?}: one gone {} ms; calls {}; peak {} MiB",
        spread(&changes),
        each(&|outcome| outcome.calls as f64),
        each(&|outcome| outcome.peak_mib)
    );
}

/// gobgpd with its API, and a session with Herald where there is one.
struct Hub {
    process: Process,
    api: u16,
}

impl Hub {
    fn start(dir: &Path, bgp: u16) -> Hub {
        let api = free_port();
        let config = format!(
            "[global.config]\n  as = 65001\n  router-id = \"10.0.0.9\"\n  port = {bgp}\n  local-address-list = [\"127.0.0.1\"]\n\
             [[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"127.0.0.1\"\n    peer-as = 65001\n\
             [neighbors.transport.config]\n    passive-mode = true\n"
        );
        let file = dir.join("gobgpd.toml");
        fs::write(&file, config).unwrap();
        let hosts = format!("127.0.0.1:{api}");
        let arguments = ["-t", "toml", "-f", file.to_str().unwrap(), "--api-hosts", &hosts, "--pprof-disable"];
        let hub = Hub { process: Process::start("gobgpd", &arguments), api };
        wait("gobgpd", LIMIT, || hub.routes());
        hub
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("gobgp");
        command.args(["-p", &self.api.to_string()]).args(arguments);
        command
    }

    fn routes(&self) -> Option<u32> {
        let output = self.command(&["global", "rib", "summary"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Destination: ")?.split([',', ' ']).next()?.parse().ok())
    }

    /// Lines of `gobgp monitor`, with the time at which each came.
    fn monitor(&self) -> (std::process::Child, Receiver<(Instant, String)>) {
        let mut command = self.command(&["monitor", "global", "rib"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (lines, seen) = channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if lines.send((Instant::now(), line)).is_err() {
                    break;
                }
            }
        });
        (child, seen)
    }
}

fn config(dir: &Path, way: Way, prefixes: u32, hub: &Hub, bgp: u16, web: &Web) -> String {
    let dir = dir.display();
    let way = match way {
        Way::Api => format!("[gobgp]\napi = \"127.0.0.1:{}\"\n", hub.api),
        Way::Session => format!(
            "[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.1\"\n[[bgp.peer]]\naddress = \"127.0.0.1\"\nport = {bgp}\n\
             peer_as = 65001\nfamilies = [\"ipv4\"]\nnext_hop_ipv4 = \"10.0.0.1\"\n"
        ),
    };
    let service = |name: &str, path: u32, vips: &str| {
        format!(
            "[[service]]\nname = \"{name}\"\nport = 80\nvips = [{vips}]\ncheck = [{{ type = \"http\", path = \"/{path}\", \
             interval = \"100ms\", timeout = \"100ms\", rise = 1, fall = 1 }}]\n[[service.backend]]\n\
             address = \"127.0.0.1\"\nport = {}\n",
            web.address.port()
        )
    };
    let vips: Vec<String> = (1..prefixes).map(|index| format!("\"{}\"", route(index))).collect();
    format!(
        "[daemon]\ncontrol_socket = \"{dir}/control.sock\"\nstate_file = \"{dir}/state.json\"\n{way}{}{}",
        service("all", 0, &vips.join(",")),
        service("one", 1, &format!("\"{}\"", route(0)))
    )
}

fn measure(way: Way, prefixes: u32) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let bgp = free_port();
    let hub = Hub::start(dir.path(), bgp);
    let web = Web::start(2);
    (0..2).for_each(|path| web.set_healthy(path, false));
    let herald = Process::herald(dir.path(), &config(dir.path(), way, prefixes, &hub, bgp, &web));
    wait("the connection", LIMIT, || {
        let status = status(dir.path())?;
        (status["peers"][0]["state"] == "established" && status["wait"].is_null()).then_some(())
    });
    let step = |healthy: bool, expected: u32| {
        let usage = || (herald.usage().cpu_seconds, hub.process.usage().cpu_seconds);
        let (began, before) = (Instant::now(), usage());
        (0..2).for_each(|path| web.set_healthy(path, healthy));
        wait("gobgpd's table", LIMIT, || (hub.routes()? == expected).then_some(()));
        let (seconds, after) = (began.elapsed().as_secs_f64(), usage());
        Step { seconds, herald_cpu: after.0 - before.0, gobgpd_cpu: after.1 - before.1 }
    };
    let announce = step(true, prefixes);
    let one_gone = one_changes(&hub, &web);
    let calls = status(dir.path()).and_then(|status| status["peers"][0]["calls"]["made"].as_u64()).unwrap_or(0);
    let withdraw = step(false, 0);
    Outcome { announce, withdraw, one_gone, calls, peak_mib: herald.usage().peak_mib }
}

/// Milliseconds from the answer that fails to the route that is gone, again and again.
fn one_changes(hub: &Hub, web: &Web) -> Vec<f64> {
    let (mut child, seen) = hub.monitor();
    let address = route(0).to_string();
    let until = |mark: &str| loop {
        let (at, line) = seen.recv_timeout(LIMIT).expect("gobgp monitor goes on");
        if line.contains(mark) && line.contains(&address) {
            break at;
        }
    };
    let mut times = Vec::new();
    for _ in 0..CHANGES {
        web.set_healthy(1, false);
        let failed = wait("the check that fails", LIMIT, || web.refused_at(1));
        times.push(until("[DELROUTE]").saturating_duration_since(failed).as_secs_f64() * 1e3);
        web.set_healthy(1, true);
        until("[ROUTE]");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    times
}
