//! Checks of type `dns`, `udp` and `ntp`, end to end: Debian's unbound and chrony, the real daemon, and the router's table.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::harness::bird::{self, Bird};
use crate::harness::cases::{Case, case, config, routes, wait_for};
use crate::harness::herald::Herald;
use crate::harness::lab::Namespace;
use crate::harness::process::Process;
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// The addresses of the first server.
const SERVER: [&str; 2] = ["10.98.0.11", "fd00:98::11"];
/// Another address of Herald's host, which the resolver does not serve.
const STRANGER: &str = "10.98.0.2";

/// Linux tells one asker of one closed port or unknown network a second, and here are many.
pub(crate) fn tell_all_errors(namespace: &Namespace) {
    namespace.run("sysctl", &["-q", "-w", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]);
}

/// A program in a directory of its own, with a configuration.
struct Server {
    process: Process,
}

impl Server {
    fn start(namespace: &Namespace, name: &str, program: &str, arguments: &[&str], config: &str) -> Server {
        let dir = namespace.dir(name);
        let file = dir.join("config");
        let pid_file: PathBuf = dir.join("pid");
        let _ = fs::remove_file(&pid_file);
        fs::write(&file, config.replace("DIR", dir.to_str().unwrap())).unwrap();
        let arguments = [arguments, &[file.to_str().unwrap()]].concat();
        let mut process = Process::start(namespace, &dir.join(format!("{name}.log")), program, &arguments);
        wait::until("its pid file, which is written once its ports are open", || {
            process.assert_running();
            fs::metadata(&pid_file).map_err(|error| error.to_string())
        });
        Server { process }
    }

    fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }
}

/// A resolver with a zone of its own, one that leads nowhere, and somebody whom it refuses.
fn unbound(namespace: &Namespace) -> Server {
    let text = format!(
        r#"server:
  chroot: ""
  username: ""
  directory: "DIR"
  pidfile: "DIR/pid"
  use-syslog: no
  interface: 10.98.0.11
  interface: fd00:98::11
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  access-control: {STRANGER}/32 refuse
  module-config: "iterator"
  do-not-query-localhost: no
  max-udp-size: 1232
  local-zone: "example.net." static
  local-data: "example.net. SOA ns.example.net. hostmaster.example.net. 7 3600 600 86400 60"
  local-data: "example.net. NS ns.example.net."
  local-data: "example.net. MX 10 mail.example.net."
  local-data: "www.example.net. A 192.0.2.10"
  local-data: "www.example.net. A 192.0.2.11"
  local-data: "www.example.net. AAAA 2001:db8::10"
  local-data: 'text.example.net. TXT "v=spf1" " -all"'
  local-data: "_sip._udp.example.net. SRV 1 2 5060 sip.example.net."
  local-data: 'example.net. CAA 0 issue "ca.example.net"'
  local-data-ptr: "192.0.2.10 www.example.net"
  {}
forward-zone:
  name: "broken.example."
  forward-addr: 127.0.0.1@9
  forward-tcp-upstream: yes
"#,
        // More than fits a datagram.
        (0..8)
            .map(|n| format!("local-data: 'big.example.net. TXT \"{n}{}\"'\n  ", "x".repeat(240)))
            .collect::<String>()
    );
    Server::start(namespace, "unbound", "unbound", &["-d", "-c"], &text)
}

fn dns(query: &str, more: &str) -> String {
    format!("type = \"dns\"\nquery = \"{query}\"\n{more}")
}

fn cases_of_dns() -> Vec<Case> {
    let mut cases = Vec::new();
    for address in SERVER {
        for transport in ["transport = \"udp\"\n", "transport = \"tcp\"\n"] {
            let mut add = |query: &str, more: &str, up: bool, detail: &'static str| {
                cases.push(case(address, &dns(query, &format!("{transport}{more}")), up, detail));
            };
            add("www.example.net", "answer = \"192.0.2.11\"", true, "NOERROR, 192.0.2.11 and 1 more");
            add("www.example.net", "answer = \"192.0.2.9\"", false, "answer 192.0.2.1");
            add("text.example.net", "", false, "no A record in the answer");
            add("no.example.net", "", false, "NXDOMAIN, expected NOERROR");
            add("x.broken.example", "", false, "SERVFAIL, expected NOERROR");
        }
    }
    let mut add = |query: &str, more: &str, up: bool, detail: &'static str| {
        cases.push(case(SERVER[0], &dns(query, more), up, detail));
    };
    add("no.example.net", "rcode = [\"NXDOMAIN\"]", true, "NXDOMAIN");
    add("www.example.net", &format!("source = \"{STRANGER}\""), false, "REFUSED, expected NOERROR");
    add("www.example.net", "query_type = \"AAAA\"\nanswer = \"2001:DB8::10\"", true, "NOERROR, 2001:db8::10");
    add("example.net", "query_type = \"SOA\"\nanswer = \"ns.example.net.\"", true, "NOERROR, ns.example.net hostm");
    add("example.net", "query_type = \"MX\"\nanswer = \"10 MAIL.example.net\"", true, "NOERROR, 10 mail.example.net");
    add("example.net", "query_type = \"CAA\"\nanswer = \"0 issue ca.example.net\"", true, "NOERROR, 0 issue ca.ex");
    add("www.example.net", "query_type = \"SOA\"", false, "no SOA record in the answer");
    add("text.example.net", "query_type = \"TXT\"\nanswer = \"v=spf1 -all\"", true, "NOERROR, v=spf1 -all");
    add("_sip._udp.example.net", "query_type = \"SRV\"", true, "NOERROR, 1 2 5060 sip.example.net");
    add("192.0.2.10", "query_type = \"PTR\"\nanswer = \"www.example.net\"", true, "NOERROR, www.example.net");
    add("big.example.net", "query_type = \"TXT\"", false, "truncated: no TXT record in the answer");
    add("big.example.net", "query_type = \"TXT\"\ntransport = \"tcp\"", true, "NOERROR, ");
    cases
}

#[test]
fn a_resolver_is_asked_in_every_way() {
    let site = Site::new();
    tell_all_errors(&site.servers);
    site.herald.add_address(&format!("{STRANGER}/24"), "to-servers");
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let resolver = unbound(&site.servers);
    let mut cases = cases_of_dns();
    let herald = Herald::start(&site.herald, &config(&neighbour, &cases));
    wait_for(&herald, &cases);
    wait::until_equal("the routes", &routes(&neighbour, &bird, &cases), || bird.table());

    // Nobody takes what is sent, and nobody says so.
    site.servers.cut("to-herald");
    for case in &mut cases {
        case.up = false;
        let tcp = case.check.contains("\"tcp\"");
        case.detail = if tcp {
            "timed out after 400 ms while connecting"
        } else {
            "timed out after 400 ms while waiting for the answer"
        };
    }
    wait_for(&herald, &cases);
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    site.servers.heal();
    wait_for(&herald, &cases_of_dns());

    resolver.kill();
    for case in &mut cases {
        case.detail = if case.check.contains("\"tcp\"") { "connection refused" } else { "port unreachable" };
    }
    wait_for(&herald, &cases);
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    let _resolver = unbound(&site.servers);
    wait::until_equal("the routes again", &routes(&neighbour, &bird, &cases_of_dns()), || bird.table());
}

/// Whatever a router on the way says ends a run at once; silence does not, where no answer is expected.
#[test]
fn datagrams_and_what_the_network_says_of_them() {
    let site = Site::new();
    tell_all_errors(&site.servers);
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _resolver = unbound(&site.servers);
    // Beyond the servers there are networks that their host says something of; the last we do not know ourselves.
    let mut rules = String::from("udp dport 7000 drop;");
    for (family, prefix, gateway, reject) in [
        ("-4", "10.97.0.0/24", SERVER[0], "ip daddr 10.97.0.0/24 reject with icmp type host-unreachable;"),
        ("-4", "10.97.1.0/24", SERVER[0], "ip daddr 10.97.1.0/24 reject with icmp type admin-prohibited;"),
        ("-6", "fd00:97::/64", SERVER[1], "ip6 daddr fd00:97::/64 reject with icmpv6 type no-route;"),
        ("-6", "fd00:97:0:1::/64", SERVER[1], "ip6 daddr fd00:97:0:1::/64 reject with icmpv6 type admin-prohibited;"),
    ] {
        site.herald.ip(&[family, "route", "add", prefix, "via", gateway]);
        rules.insert_str(0, reject);
    }
    let chain = format!("chain input {{ type filter hook prerouting priority 0; {rules} }};");
    site.servers.run("nft", &[&format!("table inet talk {{ {chain} }};")]);
    site.herald.ip(&["-4", "route", "add", "unreachable", "10.97.2.0/24"]);

    // A DNS query in octets, for a service like any other; and a port that nobody is at.
    let query = "send_hex = \"1234 0100 0001 0000 0000 0000 03777777 076578616d706c65 036e6574 00 0001 0001\"\n";
    let holds = format!("type = \"udp\"\n{query}expect = {{ hex = \"c000020a\" }}");
    let lacks = format!("type = \"udp\"\n{query}expect = {{ text = \"nothing\" }}");
    let any = format!("type = \"udp\"\n{query}");
    let [closed, quiet, patient] = [
        "type = \"udp\"\nport = 7001",
        "type = \"udp\"\nport = 7000\nwait = \"100ms\"",
        "type = \"udp\"\nport = 7000\nexpect = \"x\"",
    ];
    let mut cases = Vec::new();
    for address in SERVER {
        cases.extend([
            case(address, &holds, true, "answer of 65 octets with 0xc000020a"),
            case(address, &lacks, false, "answer \""),
            case(address, &any, true, "answer of 65 octets"),
            case(address, closed, false, "port unreachable"),
            case(address, quiet, true, "no answer within 100 ms, and no error"),
            case(address, patient, false, "timed out after 400 ms while waiting for the answer"),
        ]);
    }
    for check in [quiet, patient, "type = \"dns\"\nquery = \"x\"", "type = \"ntp\""] {
        cases.extend([
            case("10.97.0.1", check, false, "no route to host"),
            case("10.97.1.1", check, false, "no route to host"),
            case("10.97.2.1", check, false, "no route to host"),
            case("fd00:97::1", check, false, "network is unreachable"),
            case("fd00:97:0:1::1", check, false, "administratively prohibited"),
        ]);
    }
    let herald = Herald::start(&site.herald, &config(&neighbour, &cases));
    wait_for(&herald, &cases);
    wait::until_equal("the routes", &routes(&neighbour, &bird, &cases), || bird.table());
}

/// A server of time at these addresses; it sets no clock.
fn chrony(namespace: &Namespace, name: &str, addresses: [&str; 2], more: &str) -> Server {
    let text = format!(
        "allow all\nbindaddress {}\nbindaddress {}\nbindcmdaddress /\ncmdport 0\npidfile DIR/pid\n{more}\n",
        addresses[0], addresses[1]
    );
    Server::start(namespace, name, "chronyd", &["-x", "-d", "-u", "root", "-f"], &text)
}

#[test]
fn clocks_are_judged() {
    const OTHER: [&str; 2] = ["10.98.0.12", "fd00:98::12"];
    let site = Site::new();
    tell_all_errors(&site.servers);
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let synchronized = chrony(&site.servers, "chrony", SERVER, "local stratum 3");
    let _other = chrony(&site.servers, "chrony-alone", OTHER, "");
    let mut cases = Vec::new();
    for (server, other) in SERVER.into_iter().zip(OTHER) {
        let ntp = |more: &str| format!("type = \"ntp\"\nport = 123\n{more}");
        cases.extend([
            case(server, &ntp(""), true, "stratum 3, offset "),
            case(server, &ntp("max_stratum = 3\nmax_offset = \"200ms\""), true, "stratum 3, offset "),
            case(server, &ntp("max_stratum = 2"), false, "stratum 3, at most 2 allowed"),
            case(other, &ntp(""), false, "not synchronized"),
        ]);
    }
    let herald = Herald::start(&site.herald, &config(&neighbour, &cases));
    wait_for(&herald, &cases);
    wait::until_equal("the routes", &routes(&neighbour, &bird, &cases), || bird.table());

    site.servers.cut("to-herald");
    let gone = |cases: &mut [Case], detail| {
        for case in cases {
            (case.up, case.detail) = (false, detail);
        }
    };
    gone(&mut cases, "timed out after 400 ms while waiting for the answer");
    wait_for(&herald, &cases);
    site.servers.heal();
    synchronized.kill();
    cases.retain(|case| SERVER.contains(&case.address));
    gone(&mut cases, "port unreachable");
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    wait::until("refusals", || {
        let status = herald.status()?;
        let services = status["services"].as_array().cloned().unwrap_or_default();
        let details = services.iter().map(|service| &service["backends"][0]["checks"][0]["detail"]);
        let refused = details.filter(|detail| *detail == "port unreachable").count();
        if refused == cases.len() { Ok(()) } else { Err(status["services"].to_string()) }
    });
}
