//! The recipes of `etc/examples`, as they are: their herald.toml beside the routers and servers that they ship the
//! configuration of. What counts is the router's table.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::process::Signal;

use crate::harness::bird::{self, Bird};
use crate::harness::frr::Frr;
use crate::harness::herald::Herald;
use crate::harness::lab::{Lab, Namespace};
use crate::harness::nginx::Nginx;
use crate::harness::process::Process;
use crate::harness::router::{Neighbour, Route, Router, Table};
use crate::harness::site::Site;
use crate::harness::wait;

fn recipe(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/examples").join(path)).unwrap()
}

/// A route by eBGP from AS 65001, with these communities.
fn external(next_hop: &str, communities: &[&str]) -> Route {
    Route {
        next_hop: next_hop.to_owned(),
        as_path: vec![65001],
        origin: "igp".to_owned(),
        med: None,
        local_pref: Some(100),
        communities: communities.iter().map(|it| (*it).to_owned()).collect(),
        large_communities: Vec::new(),
        extended_communities: Vec::new(),
    }
}

fn table(routes: &[(&str, Route)]) -> Table {
    routes.iter().map(|(prefix, route)| ((*prefix).to_owned(), route.clone())).collect()
}

/// One network that all are on.
struct Lan {
    lab: Rc<Lab>,
    bridge: Namespace,
}

impl Lan {
    fn new() -> Lan {
        let lab = Lab::new();
        let bridge = lab.namespace("lan");
        bridge.ip(&["link", "add", "br0", "type", "bridge", "forward_delay", "0"]);
        bridge.ip(&["link", "set", "br0", "up"]);
        Lan { lab, bridge }
    }

    fn host(&self, role: &str, addresses: &[&str]) -> Namespace {
        let host = self.lab.namespace(role);
        host.link(addresses, &self.bridge, &[]);
        self.bridge.ip(&["link", "set", &format!("to-{role}"), "master", "br0"]);
        host
    }
}

/// unbound with this configuration, and what Debian has in other files of its own.
fn unbound(namespace: &Namespace, text: &str) -> Process {
    let dir = namespace.dir("unbound");
    let (file, pid_file): (PathBuf, PathBuf) = (dir.join("unbound.conf"), dir.join("pid"));
    let _there_or_not = fs::remove_file(&pid_file);
    let own = format!(
        "server:\n  chroot: \"\"\n  username: \"\"\n  directory: \"{0}\"\n  pidfile: \"{0}/pid\"\n  use-syslog: no\n",
        dir.display()
    );
    fs::write(&file, own + text).unwrap();
    let arguments = ["-d", "-c", file.to_str().unwrap()];
    let mut process = Process::start(namespace, &dir.join("unbound.log"), "unbound", &arguments);
    wait::until("unbound to write its pid file, which it does once its ports are open", || {
        process.assert_running();
        fs::metadata(&pid_file).map_err(|error| error.to_string())
    });
    process
}

/// Asks a DNS server for the recipe's name, as a client in this namespace, and says whether the answer is there.
fn resolves(client: &Namespace, server: &str) -> Result<(), String> {
    const ASK: &str = "import socket, sys
server = sys.argv[1]
s = socket.socket(socket.AF_INET6 if ':' in server else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((server, 53))
name = b''.join(bytes([len(p)]) + p for p in (b'health', b'example', b'net')) + b'\\0'
s.send(b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + name + b'\\0\\1\\0\\1')
answer = s.recv(512)
assert answer[:2] == b'\\x12\\x34' and answer.endswith(bytes([192, 0, 2, 1])), answer";
    let output = client.output("python3", &["-c", ASK, server]);
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The addresses of the loopback interface that are not its own.
fn bound(namespace: &Namespace) -> Result<Vec<String>, String> {
    let text = namespace.run("ip", &["-o", "address", "show", "dev", "lo"]);
    let addresses = text.lines().filter_map(|line| line.split_whitespace().nth(3)).map(str::to_owned);
    Ok(addresses.filter(|it| !it.starts_with("127.") && it != "::1/128").collect())
}

#[test]
fn anycast_dns() {
    const ADDRESSES: [&str; 2] = ["192.0.2.53", "2001:db8::53"];
    let site = Site::new();
    let router = Bird::start_file(&site.router, &recipe("anycast-dns/bird.conf"));
    let mut resolver = unbound(&site.herald, &recipe("anycast-dns/unbound.conf"));
    let mut herald = Herald::start(&site.herald, &recipe("anycast-dns/herald.toml"));
    let both = table(&[
        ("192.0.2.53/32", external("10.99.1.2", &["65001:53"])),
        ("2001:db8::53/128", external("fd00:99:1::2", &["65001:53"])),
    ]);
    wait::until_equal("both addresses", &both, || router.table_of("resolver1"));
    for address in ADDRESSES {
        wait::until("an answer to a client behind the router", || resolves(&site.router, address));
    }

    resolver.signal(Signal::KILL);
    resolver.wait();
    let gone = wait::until_equal("nothing", &Table::new(), || router.table_of("resolver1"));
    println!("unbound killed: withdrawn after {} ms", gone.as_millis());
    wait::until_equal("no address on loopback", &Vec::new(), || bound(&site.herald));

    let resolver = unbound(&site.herald, &recipe("anycast-dns/unbound.conf"));
    wait::until_equal("both addresses again", &both, || router.table_of("resolver1"));
    assert_eq!(bound(&site.herald).unwrap().len(), 2);
    // Hanging is as bad.
    resolver.signal(Signal::STOP);
    wait::until_equal("nothing again", &Table::new(), || router.table_of("resolver1"));
    resolver.signal(Signal::CONT);
    wait::until_equal("both addresses once more", &both, || router.table_of("resolver1"));
    for address in ADDRESSES {
        wait::until("an answer to a client behind the router", || resolves(&site.router, address));
    }

    herald.terminate();
    wait::until_equal("nothing after the stop", &Table::new(), || router.table_of("resolver1"));
    assert_eq!(herald.wait().code(), Some(0));
}

/// The next hops that a kernel has for an address, in their order.
fn ways(namespace: &Namespace, address: &str) -> Result<Vec<String>, String> {
    let family = if address.contains(':') { "-6" } else { "-4" };
    let text = namespace.run("ip", &[family, "route", "show", address]);
    let mut words = text.split_whitespace();
    let mut ways = Vec::new();
    while words.any(|word| word == "via") {
        ways.extend(words.next().map(str::to_owned));
    }
    ways.sort();
    Ok(ways)
}

/// Waits until the routers' kernels spread traffic over these balancers.
#[track_caller]
fn spread(what: &str, routers: &[&Namespace], balancers: &[&str]) {
    let expected = |network: &str| balancers.iter().map(|it| format!("{network}{it}")).collect::<Vec<_>>();
    for router in routers {
        for (address, network) in [("192.0.2.80", "10.99.1."), ("2001:db8::80", "fd00:99:1::")] {
            let what = format!("{what}: {} to {address}", router.role);
            wait::until_equal(&what, &expected(network), || ways(router, address));
        }
    }
}

#[test]
fn ecmp() {
    let lan = Lan::new();
    let tor_a = lan.host("tor-a", &["10.99.1.1/24", "fd00:99:1::1/64"]);
    let tor_b = lan.host("tor-b", &["10.99.1.2/24", "fd00:99:1::2/64"]);
    let servers = lan.host("servers", &["10.98.0.11/24", "10.98.0.12/24"]);
    let first = lan.host("lb-1", &["10.99.1.11/24", "fd00:99:1::11/64", "10.98.0.1/24"]);
    let second = lan.host("lb-2", &["10.99.1.12/24", "fd00:99:1::12/64", "10.98.0.2/24"]);
    let mut web = ["10.98.0.11:8080", "10.98.0.12:8080"].map(|listen| Nginx::start(&servers, &listen[..10], &[listen]));
    let bird = Bird::start_file(&tor_a, &recipe("ecmp/bird.conf"));
    let neighbour = Neighbour {
        local_address: "10.99.1.2".parse().unwrap(),
        local_as: 65000,
        address: "10.99.1.11".parse().unwrap(),
        asn: 65001,
    };
    let frr = Frr::start_file(&tor_b, &recipe("ecmp/frr.conf"), &neighbour);
    let config = recipe("ecmp/herald.toml");
    let _first = Herald::start(&first, &config);
    let other = config.replace("\"10.99.1.11\"", "\"10.99.1.12\"");
    assert_ne!(config, other);
    let mut other = Herald::start(&second, &other);

    let routers = [&tor_a, &tor_b];
    spread("both balancers", &routers, &["11", "12"]);
    let seen = bird.ask("show route all 192.0.2.80/32").unwrap();
    assert_eq!(seen.matches("BGP.as_path: 65001\n").count(), 2, "{seen}");
    assert_eq!(seen.matches("BGP.community: (65001,80)\n").count(), 2, "{seen}");
    let seen = frr.ask(&["show bgp ipv6 unicast 2001:db8::80/128"]).unwrap();
    assert_eq!(seen.matches("Community: 65001:80\n").count(), 2, "{seen}");

    other.kill();
    spread("one balancer was killed", &routers, &["11"]);
    other.run();
    spread("it is back", &routers, &["11", "12"]);

    // One server of two is enough.
    web[0].kill();
    wait::until("the balancers to notice", || other.backend_is("10.98.0.11:8080", "down"));
    spread("one server is dead", &routers, &["11", "12"]);
    // The gateway answers, so that it is the servers' fault and not the balancers'.
    web[1].kill();
    spread("both servers are dead", &routers, &[]);
    web[0].restart();
    spread("one server is back", &routers, &["11", "12"]);
}

#[test]
fn beside_bird() {
    let site = Site::new();
    let mut web = [site.server(0), site.server(1)];
    let router = Bird::start_file(&site.router, &recipe("bird/router.conf"));
    let mut local = Bird::start_file(&site.herald, &recipe("bird/bird.conf"));
    let mut herald = Herald::start(&site.herald, &recipe("bird/herald.toml"));
    let both = table(&[
        ("192.0.2.80/32", external("10.99.1.2", &["65001:80"])),
        ("2001:db8::80/128", external("fd00:99:1::2", &["65001:80"])),
    ]);
    wait::until_equal("both VIPs upstream", &both, || router.table_of("host"));
    let inside = local.table_of("herald").unwrap();
    assert_eq!((inside.len(), inside["192.0.2.80/32"].local_pref), (2, Some(200)));
    // BIRD's part of it: BFD with the network.
    wait::until("BFD", || {
        let sessions = router.ask("show bfd sessions")?;
        if sessions.contains(" Up ") { Ok(()) } else { Err(sessions) }
    });

    web.iter_mut().for_each(Nginx::kill);
    let gone = wait::until_equal("nothing upstream", &Table::new(), || router.table_of("host"));
    println!("servers dead: withdrawn upstream after {} ms", gone.as_millis());
    web.iter_mut().for_each(Nginx::restart);
    wait::until_equal("both VIPs again", &both, || router.table_of("host"));

    herald.kill();
    wait::until_equal("nothing upstream after a crash", &Table::new(), || router.table_of("host"));
    herald.run();
    wait::until_equal("both VIPs after a crash", &both, || router.table_of("host"));
    local.stop();
    Router::start(&mut local);
    wait::until_equal("both VIPs after a restart of BIRD", &both, || router.table_of("host"));
    herald.terminate();
    wait::until_equal("nothing upstream after the stop", &Table::new(), || router.table_of("host"));
    assert_eq!(herald.wait().code(), Some(0));
}

#[test]
fn route_reflector() {
    let lan = Lan::new();
    let reflector = lan.host("reflector", &["10.99.1.1/24", "fd00:99:1::1/64"]);
    let host = lan.host("host", &["10.99.1.2/24", "fd00:99:1::2/64", "10.98.0.1/24", "fd00:98::1/64"]);
    let edge = lan.host("edge", &["10.99.1.3/24", "fd00:99:1::3/64"]);
    let servers = lan.host("servers", &["10.98.0.11/24", "fd00:98::12/64"]);
    let neighbour = |local: &str, other: &str| Neighbour {
        local_address: local.parse().unwrap(),
        local_as: 65000,
        address: other.parse().unwrap(),
        asn: 65000,
    };
    let frr = Frr::start_file(&reflector, &recipe("route-reflector/frr.conf"), &neighbour("10.99.1.1", "10.99.1.2"));
    let session = bird::dialling(&neighbour("10.99.1.3", "10.99.1.1"), "", &["ipv4", "ipv6"]);
    let edge = Bird::start(&edge, "10.99.1.3", &session);
    let mut web = Nginx::start(&servers, "web", &["10.98.0.11:8080", "[fd00:98::12]:8080"]);
    let mut herald = Herald::start(&host, &recipe("route-reflector/herald.toml"));

    let with = |local_pref: u32| {
        let route = |next_hop: &str| Route {
            as_path: Vec::new(),
            // Herald sends none; FRR says so with a number.
            med: Some(0),
            local_pref: Some(local_pref),
            ..external(next_hop, &["65000:80"])
        };
        table(&[("192.0.2.80/32", route("10.99.1.2")), ("2001:db8::80/128", route("fd00:99:1::2"))])
    };
    wait::until_equal("both VIPs behind the reflector", &with(200), || edge.table());
    let seen = edge.ask("show route all 192.0.2.80/32").unwrap();
    for words in ["BGP.originator_id: 10.99.1.2", "BGP.cluster_list: 10.99.1.1"] {
        assert!(seen.contains(words), "no {words} in {seen}");
    }
    assert_eq!(frr.complaints(), Vec::<String>::new());

    web.kill();
    wait::until_equal("both VIPs as a last resort", &with(10), || edge.table());
    web.restart();
    wait::until_equal("both VIPs again", &with(200), || edge.table());
    herald.terminate();
    wait::until_equal("nothing after the stop", &Table::new(), || edge.table());
    assert_eq!(herald.wait().code(), Some(0));
}

/// What a program on cue would do: nothing verified, two of two needed.
#[test]
fn cue() {
    let lan = Lan::new();
    let router = lan.host("router", &["10.100.200.254/24", "fd00:100:200::254/64"]);
    let host = lan.host("host", &["10.100.200.10/24", "fd00:100:200::10/64", "10.1.0.1/24"]);
    let servers = lan.host("servers", &["10.1.0.11/24", "10.1.0.12/24", "10.1.0.53/24"]);
    let dir = servers.dir("certificate");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["other.example.net".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (chain_file, key_file) = (dir.join("chain.pem"), dir.join("key.pem"));
    fs::write(&chain_file, certificate.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let _tls = Nginx::start_tls(&servers, "tls", &["10.1.0.11:443"], &chain_file, &key_file);
    let mut web = ["10.1.0.11:80", "10.1.0.12:80"].map(|listen| Nginx::start(&servers, &listen[..9], &[listen]));
    let resolver = "server:\n  interface: 10.1.0.53\n  access-control: 10.1.0.0/24 allow\n";
    let _resolver = unbound(&servers, resolver);

    let neighbour = Neighbour {
        local_address: "10.100.200.254".parse().unwrap(),
        local_as: 65000,
        address: "10.100.200.10".parse().unwrap(),
        asn: 65432,
    };
    let bird = Bird::start(&router, "10.100.200.254", &bird::receiver(&neighbour));
    let _herald = Herald::start(&host, &recipe("cue/herald.toml"));
    let route = |next_hop: &str| Route { as_path: vec![65432], med: Some(100), ..external(next_hop, &["65432:100"]) };
    let (ipv4, ipv6) = (route("10.100.200.10"), route("fd00:100:200::10"));
    let dns = [("192.0.2.53/32", ipv4.clone())];
    let all = table(&[&dns[..], &[("192.0.2.80/32", ipv4), ("2001:db8::80/128", ipv6)]].concat());
    wait::until_equal("all VIPs", &all, || bird.table());
    web[1].kill();
    wait::until_equal("that of the resolver alone", &table(&dns), || bird.table());
}
