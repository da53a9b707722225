//! One VIP that comes and goes among many that stay: what a flap costs, and how long its withdrawal takes.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::process::{Process, wait};
use crate::router::Router;
use crate::web::Web;
use crate::{percentile, spread};

const FLAPPING: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const LIMIT: Duration = Duration::from_secs(60);

/// What one run gave.
struct Outcome {
    /// Beyond what the same checks cost when nothing changes.
    cpu_us_per_flap: f64,
    /// Median, from the answer that fails the check to the withdrawal at the router.
    latency_us: f64,
}

pub fn run(options: &Options) {
    let quick = options.quick;
    let sizes = options.prefixes.clone().unwrap_or(if quick { vec![100, 1000] } else { vec![1000, 100_000] });
    let rounds = options.rounds.unwrap_or(if quick { 1 } else { 5 });
    let flaps = if quick { 50 } else { 500 };
    println!(
        "\nFlap: one VIP goes and comes {flaps} times among others that stay, {rounds} rounds, sizes in turn; CPU of one \
         flap (without that of its checks), and from the answer that fails the check to the withdrawal at the router"
    );
    let mut outcomes: Vec<(u32, Vec<Outcome>)> = sizes.into_iter().map(|size| (size, Vec::new())).collect();
    for _ in 0..rounds {
        for (size, outcomes) in &mut outcomes {
            outcomes.push(measure(*size, flaps));
        }
    }
    println!("{:>10} {:>26} {:>26}", "VIPs", "CPU µs of a flap", "µs until withdrawn");
    let values = |outcomes: &[Outcome], value: fn(&Outcome) -> f64| outcomes.iter().map(value).collect::<Vec<_>>();
    let cpu = |outcome: &Outcome| outcome.cpu_us_per_flap;
    let latency = |outcome: &Outcome| outcome.latency_us;
    for (size, outcomes) in &outcomes {
        println!("{size:>10} {:>26} {:>26}", spread(&values(outcomes, cpu)), spread(&values(outcomes, latency)));
    }
    let Some(((least, few), more)) = outcomes.split_first() else { return };
    for (size, many) in more {
        let ratio = |value: fn(&Outcome) -> f64| {
            spread(&many.iter().zip(few).map(|(many, few)| value(many) / value(few)).collect::<Vec<_>>())
        };
        println!("{size} / {least}: CPU {}, latency {}", ratio(cpu), ratio(latency));
    }
}

fn measure(size: u32, flaps: usize) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let (web, router) = (Web::start(1), Router::start());
    let others: Vec<String> = (1..size).map(|index| format!("\"{}\"", crate::routes::route(index))).collect();
    let mut config = format!(
        "[daemon]\ncontrol_socket = \"{dir}/control.sock\"\nstate_file = \"{dir}/state.json\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.1\"\n\
         [[bgp.peer]]\naddress = \"127.0.0.1\"\nport = {}\npeer_as = 65000\nfamilies = [\"ipv4\"]\n\
         [[service]]\nname = \"others\"\nport = 80\nrequired = 0\nvips = [{}]\n[[service.backend]]\naddress = \"127.0.0.1\"\n",
        router.address.port(),
        others.join(","),
        dir = dir.path().display()
    );
    write!(
        config,
        "[[service]]\nname = \"flapping\"\nport = 80\nvips = [\"{FLAPPING}\"]\n\
         check = [{{ type = \"http\", path = \"/0\", interval = \"10ms\", timeout = \"10s\", rise = 1, fall = 1 }}]\n\
         [[service.backend]]\naddress = \"127.0.0.1\"\nport = {}\n",
        web.address.port()
    )
    .unwrap();
    let herald = Process::herald(dir.path(), &config);
    wait("all announced", LIMIT, || (router.held() == size as usize).then_some(()));
    let spent = || (herald.usage().cpu_seconds, web.answered());
    let before = spent();
    thread::sleep(Duration::from_secs(2));
    let quiet = spent();
    let mut latencies: Vec<Duration> = (0..flaps).map(|_| flap(&web, &router)).collect();
    let after = spent();
    latencies.sort();
    let cpu_per_check = (quiet.0 - before.0) / (quiet.1 - before.1) as f64;
    let cpu = after.0 - quiet.0 - cpu_per_check * (after.1 - quiet.1) as f64;
    Outcome { cpu_us_per_flap: cpu * 1e6 / flaps as f64, latency_us: percentile(&latencies, 0.5).as_secs_f64() * 1e6 }
}

/// Down and up again; how long the withdrawal took.
fn flap(web: &Web, router: &Router) -> Duration {
    let turned = |held: bool| -> Instant {
        web.set_healthy(0, held);
        wait("the flap", LIMIT, || router.route(FLAPPING).filter(|(now, _)| *now == held)).1
    };
    let gone = turned(false);
    let latency = gone - web.refused_at(0).expect("it was refused");
    turned(true);
    latency
}
