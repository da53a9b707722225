//! From the result of a check to the octets for the router, in the cores alone: what one changed result costs among many
//! that stay, and each of a thousand that change at once. CPU of this thread; time is virtual.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use herald::bgp::peer::{ConnId, Event};
use herald::config::{Config, Source, parse};
use herald::engine::{Engine, Input, Output, PeerId};
use herald::health::{ProbeOutcome, Ticket};
use herald::wall::WallClock;
use rustix::time::{ClockId, clock_gettime};

use crate::options::Options;
use crate::{percentile, spread};

/// What VIPs have besides their service.
const KINDS: [(&str, &str); 2] = [
    ("plain", ""),
    (
        "with all",
        // Everything has to be looked at, and nothing ever holds anything back.
        "[vip_defaults]\nhold_down = { initial = \"0s\", max = \"1s\" }\n\
         damping = { penalty = 1, suppress = 1000000, reuse = 750, half_life = \"1m\", max_suppress = \"24h\" }\n\
         [[vip_defaults.step]]\nbelow = \"100%\"\nmed = 200\n[[vip_defaults.step]]\nbelow = \"20%\"\nwithdraw = true\n\
         [fail_static]\nshare = \"99%\"\nminimum = 100000\n",
    ),
];
const AT_ONCE: usize = 1000;

pub fn run(options: &Options) {
    let usual = if options.quick { vec![1000, 2000] } else { vec![1000, 10_000] };
    let sizes: Vec<usize> =
        options.prefixes.as_ref().map_or(usual, |sizes| sizes.iter().map(|it| *it as usize).collect());
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 5 });
    println!(
        "\nDecide: a service on each VIP, one router; CPU µs in the cores from a check's result to the octets for the \
         router, of one that changes alone (median of 1000) and of each of {AT_ONCE} that change at once, {rounds} rounds, \
         sizes in turn; CPU ms of taking down what a restart must know; and of what the loop does for `herald diff`: a double of \
         all checks and VIPs"
    );
    println!("{:>10} {:>10} {:>24} {:>24} {:>20} {:>20}", "VIPs", "", "alone", "at once", "state", "double");
    for (kind, options) in KINDS {
        let mut outcomes: Vec<(usize, Vec<Outcome>)> = sizes.iter().map(|size| (*size, Vec::new())).collect();
        for _ in 0..rounds {
            for (size, outcomes) in &mut outcomes {
                outcomes.push(measure(*size, options));
            }
        }
        let values = |outcomes: &[Outcome], value: fn(&Outcome) -> f64| outcomes.iter().map(value).collect::<Vec<_>>();
        for (size, outcomes) in &outcomes {
            let [alone, at_once, state, double] = VALUES.map(|value| spread(&values(outcomes, value)));
            println!("{size:>10} {kind:>10} {alone:>24} {at_once:>24} {state:>20} {double:>20}");
        }
        let [(least, few), .., (most, many)] = outcomes.as_slice() else { continue };
        let ratio = |value: fn(&Outcome) -> f64| {
            spread(&many.iter().zip(few).map(|(many, few)| value(many) / value(few)).collect::<Vec<_>>())
        };
        println!("{most} / {least}: alone {}, at once {}", ratio(VALUES[0]), ratio(VALUES[1]));
    }
}

struct Outcome {
    alone_us: f64,
    at_once_us: f64,
    state_ms: f64,
    double_ms: f64,
}

const VALUES: [fn(&Outcome) -> f64; 4] = [|it| it.alone_us, |it| it.at_once_us, |it| it.state_ms, |it| it.double_ms];

fn measure(size: usize, options: &str) -> Outcome {
    let mut world = World::new(size, options);
    let mut alone: Vec<f64> = (0..500).flat_map(|round| world.change(&[round * 7919 % size])).collect();
    alone.sort_by(f64::total_cmp);
    let many: Vec<usize> = (0..AT_ONCE).map(|index| index * (size / AT_ONCE).max(1)).collect();
    let mut at_once: Vec<f64> = (0..5).flat_map(|_| world.change(&many)).map(|us| us / AT_ONCE as f64).collect();
    at_once.sort_by(f64::total_cmp);
    let clock = WallClock::new(world.now, Duration::from_secs(1_800_000_000));
    let begun = cpu();
    let saved = world.engine.saved(&clock, "boot");
    let state_ms = (cpu() - begun).as_secs_f64() * 1e3;
    assert_eq!((saved.checks.len(), saved.vips.len()), (size, size));
    let begun = cpu();
    let mut double = world.engine.double();
    let double_ms = (cpu() - begun).as_secs_f64() * 1e3;
    assert_eq!(double.foresee(world.now, &config(size, options)), []);
    Outcome { alone_us: percentile(&alone, 0.5), at_once_us: percentile(&at_once, 0.5), state_ms, double_ms }
}

/// Of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The cores, a router that takes everything, and a run of every check under way.
struct World {
    engine: Engine,
    now: Instant,
    runs: BTreeMap<IpAddr, Ticket>,
    peer: Option<(PeerId, ConnId)>,
    /// For the router since it was last looked at.
    octets: usize,
}

fn backend(service: usize) -> IpAddr {
    Ipv4Addr::from(0x0a00_0100 + service as u32).into()
}

fn config(size: usize, options: &str) -> Config {
    let mut text = "[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.1\"\n[[bgp.peer]]\naddress = \"127.0.0.1\"\npeer_as = 65000\n\
                    families = [\"ipv4\"]\n[checks.up]\ntype = \"tcp\"\ninterval = \"1h\"\ntimeout = \"1m\"\nrise = 1\nfall = 1\n"
        .to_owned();
    for service in 0..size {
        let vip = Ipv4Addr::from(0xc612_0000 + service as u32); // 198.18.0.0/15, for benchmarks (RFC 2544)
        let backend = backend(service);
        write!(
            text,
            "[[service]]\nname = \"s{service}\"\nvips = [\"{vip}\"]\nport = 80\nchecks = [\"up\"]\n\
             [[service.backend]]\naddress = \"{backend}\"\n"
        )
        .unwrap();
    }
    parse(&[Source { name: "herald.toml".into(), text: text + options }]).unwrap()
}

/// As RFC 4271 §4.1 has it.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16][..], &length, &[kind], body].concat()
}

impl World {
    fn new(size: usize, options: &str) -> World {
        let now = Instant::now();
        let mut world = World { engine: Engine::new(now, 1), now, runs: BTreeMap::new(), peer: None, octets: 0 };
        world.engine.handle(now, Input::Configure(config(size, options).into()));
        world.check_again();
        let everyone: Vec<usize> = (0..size).collect();
        everyone.iter().for_each(|service| world.finish(*service, true));
        world.drain();
        // Their OPEN: 4 octets of AS, IPv4.
        let open = [4, 0xfd, 0xe8, 0, 0, 10, 0, 0, 9, 16, 2, 6, 1, 4, 0, 1, 0, 1, 2, 6, 65, 4, 0, 0, 0xfd, 0xe8];
        for bytes in [message(1, &open), message(4, &[])] {
            while world.peer.is_none() {
                world.now = world.engine.poll_timeout().expect("it dials").max(world.now);
                world.engine.handle(world.now, Input::Timeout);
                world.drain();
            }
            let (peer, conn) = world.peer.expect("it has dialled");
            world.engine.handle(world.now, Input::Peer(peer, conn, Event::Bytes(&bytes)));
            world.drain();
        }
        // Room on the connection again and again, until the router has everything.
        while std::mem::take(&mut world.octets) > 0 {
            world.drain();
        }
        world.check_again();
        world
    }

    fn drain(&mut self) {
        let mut sent = 0;
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Probe(request) => {
                    self.runs.insert(request.probe.target.ip(), request.ticket);
                }
                Output::Connect(peer, conn, _) => {
                    self.peer = Some((peer, conn));
                    let [local, remote] = ["127.0.0.1:1", "127.0.0.1:179"].map(|address| address.parse().unwrap());
                    self.engine.handle(self.now, Input::Peer(peer, conn, Event::Connected { local, remote }));
                }
                Output::Send(peer, conn, bytes) => {
                    sent += bytes.len();
                    self.engine.handle(self.now, Input::Peer(peer, conn, Event::Sent(bytes.len())));
                }
                Output::Close(..) => panic!("the session is over"),
                _ => {}
            }
        }
        self.octets += sent;
    }

    fn finish(&mut self, service: usize, passed: bool) {
        let ticket = self.runs.remove(&backend(service)).expect("it runs");
        self.engine.handle(
            self.now,
            Input::ProbeFinished(ticket, ProbeOutcome::new(passed, "as measured", Duration::from_millis(1))),
        );
    }

    /// A run of every check that has none.
    fn check_again(&mut self) {
        self.engine.handle(self.now, Input::CheckNow);
        self.drain();
    }

    /// These go and come back: what each of the two cost, in µs.
    fn change(&mut self, services: &[usize]) -> [f64; 2] {
        [false, true].map(|passed| {
            self.now += Duration::from_millis(100);
            self.octets = 0;
            let begun = cpu();
            services.iter().for_each(|service| self.finish(*service, passed));
            self.drain();
            let took = cpu() - begun;
            // A prefix each, at least.
            assert!(self.octets >= services.len() * 5, "{} octets for {} routes", self.octets, services.len());
            self.check_again();
            took.as_secs_f64() * 1e6
        })
    }
}
