//! `gue` and `fou`. On loopback a thread takes the echo request out, and this host's own kernel answers it.
//!
//! Needs CAP_NET_RAW, as these checks do: without it every test here fails with the daemon's own words.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use herald::config::{Config, Encapsulation, ProbeKind};
use herald::driver::clock;
use herald::driver::pool::{Pool, Report};
use herald::driver::probe::Prober;
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::{LATE, PLENTY, SHORT, config, echoes, eventually, fails, millis, passes, request, run};

const GUE: ProbeKind = ProbeKind::Tunnel(Encapsulation::Gue);
const FOU: ProbeKind = ProbeKind::Tunnel(Encapsulation::Fou);

const NO_REPLY: &str = "no echo reply within 200 ms";

/// A UDP socket and what is done with each datagram, its header and the packet in it; ends when dropped.
struct Decapsulator {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Decapsulator {
    fn start(address: &str, mut take: impl FnMut(&[u8], &[u8], SocketAddr) + Send + 'static) -> Decapsulator {
        let socket = UdpSocket::bind(address).unwrap();
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
        socket.set_read_timeout(Some(millis(20))).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::SeqCst) {
                if let Ok((count, from)) = socket.recv_from(&mut buffer) {
                    let (header, inner) = buffer[..count].split_at(8);
                    take(header, inner, from);
                }
            }
        });
        Decapsulator { address, stop, thread: Some(thread) }
    }

    /// Gives the packet to this host's kernel, as a backend's would get it.
    fn honest(address: &str) -> Decapsulator {
        let domain = Domain::for_address(address.parse().unwrap());
        // What is sent by such a socket has its IP header already.
        let raw = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW))).unwrap();
        Decapsulator::start(address, move |_, inner, from| {
            raw.send_to(inner, &SocketAddr::new(from.ip(), 0).into()).unwrap();
        })
    }

    /// Answers with an echo reply of its own making, from this address (IPv4).
    fn forging(source: Ipv4Addr, mut forge: impl FnMut(&mut Vec<u8>) + Send + 'static) -> Decapsulator {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        raw.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        Decapsulator::start("127.0.0.1:0", move |_, inner, from| {
            let mut reply = inner[20..].to_vec();
            reply[0] = 0;
            forge(&mut reply);
            raw.send_to(&reply, &from.into()).unwrap();
        })
    }
}

impl Drop for Decapsulator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let failed = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!failed || thread::panicking(), "the decapsulator panicked");
    }
}

/// The kernel has judged the inner packet, and with it the checksums: what is wrong it does not answer.
#[test]
fn the_kernel_answers_what_was_carried() {
    let _few = echoes(false);
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let target = Decapsulator::honest(address);
        for kind in [GUE, FOU] {
            passes(&run(target.address, kind, PLENTY), "echo reply");
        }
    }
}

#[test]
fn a_header_for_each_kind_and_family() {
    let ipv4 = [(GUE, [1, 4, 0, 0, 0, 0, 0, 0]), (FOU, [0x20, 0, 0x08, 0, 0, 0, 0, 0])];
    let ipv6 = [(GUE, [1, 41, 0, 0, 0, 0, 0, 0]), (FOU, [0x20, 0, 0x86, 0xdd, 0, 0, 0, 0])];
    for (address, headers) in [("127.0.0.1:0", ipv4), ("[::1]:0", ipv6)] {
        let (send, seen) = mpsc::channel();
        let target = Decapsulator::start(address, move |header, inner, from| {
            send.send((header.to_vec(), inner.to_vec(), from.ip())).unwrap();
        });
        for (kind, expected) in headers {
            run(target.address, kind, millis(20));
            let (header, inner, from) = seen.recv_timeout(PLENTY).unwrap();
            assert_eq!(header, expected);
            // From us, to the target.
            let ends = match from {
                IpAddr::V4(own) => [own.octets(), own.octets()].concat(),
                IpAddr::V6(own) => [own.octets(), own.octets()].concat(),
            };
            let at = if from.is_ipv4() { 12 } else { 8 };
            assert_eq!(inner[at..at + ends.len()], ends);
        }
        assert!(seen.try_recv().is_err(), "one request a run");
    }
}

#[test]
fn no_two_runs_have_the_same_payload() {
    let (send, seen) = mpsc::channel();
    let target = Decapsulator::start("127.0.0.1:0", move |_, inner, _| send.send(inner[28..].to_vec()).unwrap());
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for _ in 0..10 {
        run(target.address, GUE, millis(5));
        payloads.push(seen.recv_timeout(PLENTY).unwrap());
    }
    assert!(payloads.iter().all(|payload| payload.len() == 38 && payload.starts_with(b"glbhc_")), "{payloads:?}");
    payloads.sort();
    payloads.dedup();
    assert_eq!(payloads.len(), 10);
}

#[test]
fn only_the_right_reply_from_the_right_address_counts() {
    let _few = echoes(false);
    let good = Decapsulator::forging(Ipv4Addr::LOCALHOST, |reply| put_checksum(reply));
    passes(&run(good.address, GUE, PLENTY), "echo reply");
    let elsewhere = Decapsulator::forging(Ipv4Addr::new(127, 0, 0, 2), |reply| put_checksum(reply));
    fails(&run(elsewhere.address, GUE, SHORT), NO_REPLY);
    // The last digit of the payload, its first letter, its length, the type, the code, the identifier.
    let forgeries: [fn(&mut Vec<u8>); 6] = [
        |reply| reply[45] ^= 1,
        |reply| reply[8] = b'h',
        |reply| reply.truncate(45),
        |reply| reply[0] = 3,
        |reply| reply[1] = 1,
        |reply| reply[5] = 1,
    ];
    for (number, forge) in forgeries.into_iter().enumerate() {
        let target = Decapsulator::forging(Ipv4Addr::LOCALHOST, move |reply| {
            forge(reply);
            put_checksum(reply);
        });
        let outcome = run(target.address, GUE, SHORT);
        assert_eq!((outcome.passed, &*outcome.detail), (false, NO_REPLY), "forgery {number}");
    }
}

fn put_checksum(message: &mut [u8]) {
    message[2..4].fill(0);
    let words = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}

/// A socket that takes nothing from us holds the port.
fn closed_port(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address).unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(SocketAddr::new(address.ip(), 1)).unwrap();
    (socket, address)
}

#[test]
fn a_closed_port_fails_at_once() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (_held, address) = closed_port(address);
        let outcome = run(address, FOU, PLENTY);
        fails(&outcome, "port unreachable: nothing there takes packets out of UDP");
        assert!(outcome.took < LATE);
    }
}

#[test]
fn silence_ends_at_the_deadline() {
    let silent = Decapsulator::start("127.0.0.1:0", |_, _, _| {});
    let outcome = run(silent.address, GUE, SHORT);
    fails(&outcome, NO_REPLY);
    assert!(outcome.took >= SHORT);
    // Longer than a slice.
    fails(&run(silent.address, GUE, SHORT * 5), "no echo reply within 1 s");
    // On time, unless the machine is busy; so one of many counts.
    assert!((0..40).any(|_| run(silent.address, GUE, millis(30)).took < millis(45)));
}

/// An answer by UDP is none, and does not keep the worker busy either.
#[test]
fn what_the_port_itself_answers_does_not_count() {
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    echo.set_read_timeout(Some(PLENTY)).unwrap();
    let address = echo.local_addr().unwrap();
    let talking = thread::spawn(move || {
        let mut buffer = [0; 2048];
        let (count, from) = echo.recv_from(&mut buffer).unwrap();
        for _ in 0..100 {
            echo.send_to(&buffer[..count], from).unwrap();
        }
        echo
    });
    let before = cpu_time();
    fails(&run(address, GUE, millis(500)), "no echo reply within 500 ms");
    let spent = cpu_time() - before;
    assert!(spent < millis(100), "{spent:?} of waiting by looking");
    drop(talking.join().unwrap());
}

/// Of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[test]
fn a_flood_of_foreign_replies_hides_nothing() {
    let _alone = echoes(true);
    let target = Decapsulator::honest("127.0.0.1:0");
    let request = request(target.address, GUE, millis(3000));
    let prober = Prober::new(&config(&request)).unwrap();
    // Each is taken before the next is given: the flood is never far ahead of the ears.
    let (begin, begun) = mpsc::sync_channel::<()>(0);
    let flood = thread::spawn(move || {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], 0)).into();
        let mut reply = [&[0; 8][..], b"glbhc_ffffffffffffffffffffffffffffffff"].concat();
        put_checksum(&mut reply);
        for () in begun {
            // No more than the system has room for while the ears have no processor: what is lost is not asked for twice.
            for _ in 0..200 {
                raw.send_to(&reply, &to).unwrap();
            }
        }
    });
    for _ in 0..100 {
        begin.send(()).unwrap();
        // A busy machine loses packets even so.
        assert!((0..3).any(|_| prober.run(&request).passed), "the reply is hidden");
    }
    drop(begin);
    flood.join().unwrap();
}

/// One pair of ears for all: no reply goes to another's run, and none is lost.
#[test]
fn two_hundred_side_by_side() {
    const RUNS: usize = 200;
    let _alone = echoes(true);
    let honest = [Decapsulator::honest("127.0.0.1:0"), Decapsulator::honest("[::1]:0")];
    let silent = Decapsulator::start("127.0.0.1:0", |_, _, _| {});
    let mut all = Config::default();
    let mut requests = Vec::new();
    for number in 0..RUNS {
        let kind = if number % 2 == 0 { GUE } else { FOU };
        let request = match number % 4 {
            0 => request(silent.address, kind, millis(1000)),
            other => request(honest[other % 2].address, kind, PLENTY),
        };
        all.checks.extend(config(&request).checks);
        requests.push(request);
    }
    let prober = Prober::new(&all).unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let count = running.clone();
    let prober = Arc::new(move |request: &_| {
        count.fetch_add(1, Ordering::SeqCst);
        prober.run(request)
    });
    let pool = Pool::start("check", RUNS, prober, || {}).unwrap();
    requests.into_iter().for_each(|request| pool.submit(request));
    let (mut passed, mut failed) = (0, 0);
    eventually("all results are there", || {
        for report in pool.drain() {
            if let Report::Finished(_, outcome) = report {
                if outcome.passed {
                    assert_eq!(outcome.detail, "echo reply");
                    passed += 1;
                } else {
                    assert_eq!(outcome.detail, "no echo reply within 1 s");
                    failed += 1;
                }
            }
        }
        passed + failed == RUNS
    });
    assert_eq!((passed, failed, running.load(Ordering::SeqCst)), (RUNS / 4 * 3, RUNS / 4, RUNS));
}

#[test]
fn a_stop_ends_what_waits() {
    let silent = Decapsulator::start("127.0.0.1:0", |_, _, _| {});
    let request = request(silent.address, GUE, PLENTY * 6);
    let stops = || {
        let prober = Prober::new(&config(&request)).unwrap();
        let pool = Pool::start("check", 1, Arc::new(move |request: &_| prober.run(request)), || {}).unwrap();
        pool.submit(request.clone());
        eventually("it waits", || pool.busy() == 1);
        let begun = clock();
        pool.stop() == 0 && begun.elapsed() <= millis(1000)
    };
    // Unless the machine is busy.
    assert!((0..3).any(|_| stops()));
}

/// A prober of a configuration without such checks does not listen; one for IPv4 only does not for IPv6.
#[test]
fn nobody_listens_without_need() {
    let prober = Prober::new(&Config::default()).unwrap();
    let (ipv4, ipv6) = (closed_port("127.0.0.1:0"), closed_port("[::1]:0"));
    let outcome = prober.run(&request(ipv4.1, GUE, SHORT));
    fails(&outcome, "internal error: nobody listens for echo replies");
    let prober = Prober::new(&config(&request(ipv4.1, GUE, SHORT))).unwrap();
    let outcome = prober.run(&request(ipv6.1, GUE, SHORT));
    assert!(outcome.detail.starts_with("internal error: nobody listens"), "{outcome:?}");
}
