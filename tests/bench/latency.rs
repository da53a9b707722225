//! From the end of the failing check to the UPDATE on the wire.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::percentile;
use crate::process::{Process, wait};
use crate::router::Router;
use crate::web::Web;

const ROUNDS: usize = 200;

pub fn run() {
    println!(
        "\nLatency: from the answer that fails the check to the withdrawal at the router ({ROUNDS} failures each, fall = 1)"
    );
    println!("{:>10} {:>12} {:>12} {:>12}", "services", "median", "p99", "max");
    for services in [1, 1000] {
        let mut took = measure(services);
        took.sort();
        let show = |share| format!("{} µs", percentile(&took, share).as_micros());
        println!("{services:>10} {:>12} {:>12} {:>12}", show(0.5), show(0.99), show(1.0));
    }
}

fn vip(service: usize) -> Ipv4Addr {
    Ipv4Addr::from(0xc612_0000 + service as u32) // 198.18.0.0/15, for benchmarks (RFC 2544)
}

fn measure(services: usize) -> Vec<Duration> {
    let dir = tempfile::tempdir().unwrap();
    let (web, router) = (Web::start(services), Router::start());
    // One service fails every 100 ms on average; a thousand are checked once a second each.
    let interval = if services == 1 { "50ms" } else { "1s" };
    let mut config = format!(
        "[daemon]\ncontrol_socket = \"{dir}/control.sock\"\nstate_file = \"{dir}/state.json\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.1\"\n\
         [[bgp.peer]]\nname = \"router\"\naddress = \"127.0.0.1\"\nport = {}\npeer_as = 65000\nfamilies = [\"ipv4\"]\n",
        router.address.port(),
        dir = dir.path().display()
    );
    for service in 0..services {
        write!(
            config,
            "[[service]]\nname = \"s{service}\"\nvips = [\"{}\"]\nport = 80\n\
             check = [{{ type = \"http\", path = \"/{service}\", interval = \"{interval}\", timeout = \"{interval}\", rise = 1, fall = 1 }}]\n\
             [[service.backend]]\naddress = \"127.0.0.1\"\nport = {}\n",
            vip(service),
            web.address.port()
        )
        .unwrap();
    }
    let _herald = Process::herald(dir.path(), &config);
    wait("all announced", Duration::from_secs(30), || (router.held() == services).then_some(()));
    let mut took = Vec::new();
    // Services that fail within the same second; each has its own time to be checked.
    let together = services.min(50);
    let limit = Duration::from_secs(5);
    for round in 0..ROUNDS / together {
        let failing: Vec<usize> = (0..together).map(|index| (round * together + index) * 7919 % services).collect();
        failing.iter().for_each(|service| web.set_healthy(*service, false));
        for service in &failing {
            let gone = wait("withdrawn", limit, || router.route(vip(*service)).filter(|(held, _)| !held)).1;
            took.push(gone - web.refused_at(*service).expect("it was refused"));
        }
        failing.iter().for_each(|service| web.set_healthy(*service, true));
        for service in &failing {
            wait("announced again", limit, || router.route(vip(*service)).filter(|(held, _)| *held));
        }
    }
    took
}
