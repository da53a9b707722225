//! Many routes to one BIRD and to several, and their withdrawal: from Herald and from its peers, in turn.

mod api;
pub mod bird;
mod sender;
mod table;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::options::{Options, refuse};
use crate::process::{Process, free_port, wait};
use crate::proxy::{Counted, Gate, Proxy};
use bird::Control;
use sender::{Running, SENDERS, Start};

/// The slowest sender takes minutes to read its configuration for sixteen peers.
const LIMIT: Duration = Duration::from_secs(1200);

/// What one sender was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub prefixes: u32,
    pub peers: u8,
}

/// What telling all routes, or withdrawing them, took.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// Of all peers.
    pub counted: Counted,
}

/// What one run of one sender gave.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// CPU of the sender before its sessions were Established.
    pub cpu_before: f64,
    pub announce: Step,
    pub withdraw: Step,
    pub peak_mib: f64,
}

pub fn run(options: &Options) {
    let quick = options.quick;
    let prefixes = options.prefixes.clone().unwrap_or(if quick { vec![1000] } else { vec![10_000, 100_000] });
    let peers = options.peers.clone().unwrap_or(if quick { vec![1, 2] } else { vec![1, 4, 16] });
    let rounds = options.rounds.unwrap_or(if quick { 1 } else { 3 });
    let senders: Vec<_> = match &options.senders {
        None => SENDERS.to_vec(),
        Some(names) => names.iter().map(|name| by_name(name)).collect(),
    };
    table::print_legend(rounds);
    for prefixes in prefixes {
        for peers in &peers {
            let case = Case { prefixes, peers: *peers };
            let mut outcomes: Vec<(&str, Vec<Outcome>)> = senders.iter().map(|(name, _)| (*name, Vec::new())).collect();
            for _ in 0..rounds {
                for ((_, start), (_, outcomes)) in senders.iter().zip(&mut outcomes) {
                    outcomes.push(measure(case, *start));
                }
            }
            table::print(case, &outcomes);
        }
    }
}

fn by_name(name: &str) -> (&'static str, Start) {
    let known = SENDERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    *known.unwrap_or_else(|| refuse(&format!("--senders={name}")))
}

/// Any route; the next hop of all of them is none of them.
pub fn route(index: u32) -> Ipv4Addr {
    (0x0a80_0000 + index).into()
}

/// What sends routes is told to give them this next hop, so that all senders send the same.
pub const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The routers, each behind its proxy.
struct Receivers {
    routers: Vec<(Process, Control)>,
    proxies: Vec<Proxy>,
    gate: Arc<Gate>,
}

fn measure(case: Case, start: Start) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let addresses = |net: u8| (1..=case.peers).map(move |host| SocketAddr::from(([127, 0, net, host], port)));
    let targets: Vec<SocketAddr> = addresses(1).collect();
    let receivers = Receivers::start(dir.path(), &targets, &addresses(2).collect::<Vec<_>>());
    let mut sender = start(dir.path(), case.prefixes, &targets);
    wait("the sessions", LIMIT, || receivers.proxies.iter().all(Proxy::waits).then_some(()));
    let cpu_before = sender.process().usage().cpu_seconds;
    let announce = receivers.step(sender.as_mut(), case.prefixes, |_| receivers.gate.open());
    let withdraw = receivers.step(sender.as_mut(), 0, |sender| sender.withdraw());
    Outcome { cpu_before, announce, withdraw, peak_mib: sender.process().usage().peak_mib }
}

impl Receivers {
    fn start(dir: &Path, targets: &[SocketAddr], routers: &[SocketAddr]) -> Receivers {
        let gate = Arc::new(Gate::default());
        let proxies = targets.iter().zip(routers).map(|(target, router)| Proxy::start(*target, *router, &gate));
        let routers = routers.iter().enumerate().map(|(index, router)| {
            let config = format!(
                "router id 10.0.1.{};\nprotocol device {{}}\n\
                 protocol bgp dut {{ local {} port {} as 65000; neighbor 127.0.0.1 as 65001; multihop; passive; \
                 strict bind yes; hold time 90; ipv4 {{ import all; export none; }}; }}\n",
                index + 1,
                router.ip(),
                router.port()
            );
            bird::start(dir, &format!("receiver-{index}"), &config)
        });
        Receivers { routers: routers.collect(), proxies: proxies.collect(), gate }
    }

    /// Measures from the time that `begin` gives until every router holds `prefixes` routes.
    fn step(&self, sender: &mut dyn Running, prefixes: u32, begin: impl FnOnce(&mut dyn Running) -> Instant) -> Step {
        let (cpu_before, before) = (sender.process().usage().cpu_seconds, self.counted());
        let began = begin(sender);
        // What has passed is looked at first: a router that is asked all the time has less time for routes.
        let passed = |proxy: &Proxy| {
            let counted = proxy.counted();
            counted.announced - counted.withdrawn.min(counted.announced) == prefixes as usize
        };
        wait("the UPDATEs", LIMIT, || self.proxies.iter().all(passed).then_some(()));
        for (_, control) in &self.routers {
            wait("the routers", LIMIT, || (control.routes() == prefixes).then_some(()));
        }
        let seconds = began.elapsed().as_secs_f64();
        let cpu_seconds = sender.process().usage().cpu_seconds - cpu_before;
        let after = self.counted();
        let counted = Counted {
            octets: after.octets - before.octets,
            updates: after.updates - before.updates,
            announced: after.announced - before.announced,
            withdrawn: after.withdrawn - before.withdrawn,
        };
        Step { seconds, cpu_seconds, counted }
    }

    fn counted(&self) -> Counted {
        self.proxies.iter().map(Proxy::counted).fold(Counted::default(), |sum, one| Counted {
            octets: sum.octets + one.octets,
            updates: sum.updates + one.updates,
            announced: sum.announced + one.announced,
            withdrawn: sum.withdrawn + one.withdrawn,
        })
    }
}
