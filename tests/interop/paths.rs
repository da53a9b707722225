//! Which way checks go, and what they see on it.

use crate::harness::bird::{self, Bird};
use crate::harness::cases::{case, config, routes, wait_for};
use crate::harness::herald::Herald;
use crate::harness::lab::Lab;
use crate::harness::nginx::Nginx;
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const SERVER: [&str; 2] = ["10.98.0.11", "fd00:98::11"];
const VIP: &str = "192.0.2.1";

/// The next check is a minute away: only news of the link can be why. The checks may have come with any reload.
#[test]
fn a_link_that_goes_down_is_not_waited_for() {
    for reload in [false, true] {
        let site = Site::new();
        let neighbour = site::neighbour(false, 65000, 65001);
        let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
        let _server = site.server(0);
        let without = site::bgp(&neighbour, "");
        let text = format!(
            "{without}[checks.slow]\ntype = \"tcp\"\nport = 8080\ninterval = \"60s\"\ntimeout = \"2s\"\nrise = 1\n\
             fall = 1\n[[service]]\nname = \"web\"\nvips = [\"{VIP}\"]\nport = 80\nchecks = [\"slow\"]\n\
             [[service.backend]]\naddress = \"{}\"\n",
            SERVER[0]
        );
        let herald = Herald::start(&site.herald, if reload { &without } else { &text });
        if reload {
            herald.reload_good(&without);
            herald.reload_good(&text);
        }
        let announced = site::plain_table(&neighbour, &bird, &["192.0.2.1/32"]);
        wait::until_equal("the route", &announced, || bird.table());
        site.herald.ip(&["link", "set", "to-servers", "down"]);
        wait::until_equal("the withdrawal", &Table::new(), || bird.table());
        // Routers are told before anybody reads of it.
        let failing = "check slow of 10.98.0.11:8080 failing";
        wait::until("the words", || match herald.log() {
            log if log.contains("checking 1 target now") && log.contains(failing) => Ok(()),
            log => Err(log),
        });
    }
}

/// The address that users see, on each of two backends that have it: firewall marks lead to the one that is meant.
#[test]
fn the_vip_itself_is_checked_on_each_backend() {
    let lab = Lab::new();
    let (herald, one, two) = (lab.namespace("herald"), lab.namespace("one"), lab.namespace("two"));
    herald.link(&["10.98.1.1/24"], &one, &["10.98.1.2/24"]);
    herald.link(&["10.98.2.1/24"], &two, &["10.98.2.2/24"]);
    for (table, gateway) in [("101", "10.98.1.2"), ("102", "10.98.2.2")] {
        herald.ip(&["rule", "add", "fwmark", table, "lookup", table]);
        herald.ip(&["route", "add", "192.0.2.1/32", "via", gateway, "table", table]);
    }
    let mut servers = Vec::new();
    for namespace in [&one, &two] {
        namespace.add_address("192.0.2.1/32", "lo");
        servers.push(Nginx::start(namespace, "web", &["192.0.2.1:80"]));
    }
    let text = format!(
        "[[service]]\nname = \"web\"\nvips = [\"{VIP}\"]\nport = 80\n\
         check = [{{ type = \"http\", path = \"/healthz\", target = \"vip\", interval = \"200ms\", rise = 1, fall = 1 }}]\n\
         [[service.backend]]\naddress = \"10.98.1.2\"\nmark = 101\n\
         [[service.backend]]\naddress = \"10.98.2.2\"\nmark = 102\n"
    );
    let herald = Herald::start(&herald, &text);
    let state = |number: usize, state: &str, detail: &str| {
        wait::until(&format!("backend {number} {state}: {detail}"), || {
            let status = herald.status()?;
            let backend = &status["services"][0]["backends"][number];
            let is_right = backend["state"] == state
                && backend["checks"][0]["detail"] == detail
                && backend["checks"][0]["target"] == "192.0.2.1:80";
            if is_right { Ok(()) } else { Err(backend.to_string()) }
        });
    };
    state(0, "up", "200 OK");
    state(1, "up", "200 OK");
    // One lives, and has lost what it is for.
    servers[1].kill();
    state(1, "down", "connection refused");
    state(0, "up", "200 OK");
    servers[1].restart();
    state(1, "up", "200 OK");
    servers[0].kill();
    state(0, "down", "connection refused");
    state(1, "up", "200 OK");
}

#[test]
fn pings_and_half_open_handshakes() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server = site.server(0);
    let cases = |up: bool| {
        let mut cases = Vec::new();
        for address in SERVER {
            cases.extend([
                case(address, "type = \"icmp\"", up, "echo reply"),
                case(address, "type = \"icmp\"\ncount = 5\nsize = 1000", up, "enough echo replies"),
                case(address, "type = \"syn\"\nport = 8080", up, "SYN-ACK"),
            ]);
        }
        cases
    };
    let mut all = cases(true);
    all.extend(SERVER.map(|address| case(address, "type = \"syn\"\nport = 81", false, "connection refused")));
    let herald = Herald::start(&site.herald, &config(&neighbour, &all));
    wait_for(&herald, &all);
    wait::until_equal("the routes", &routes(&neighbour, &bird, &all), || bird.table());
    // No process of the server's has seen a connection, and none is left.
    let left = site.servers.run("ss", &["-Htan", "exclude", "listening", "sport = :8080"]);
    assert_eq!(left, "");

    site.servers.cut("to-herald");
    let mut gone = cases(false);
    let timeouts = [
        "no echo reply within 400 ms",
        "0 of 5 echo replies, 5 needed",
        "timed out after 400 ms while waiting for a SYN-ACK",
    ];
    gone.iter_mut().zip(timeouts.iter().cycle()).for_each(|(case, detail)| case.detail = detail);
    wait_for(&herald, &gone);
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    site.servers.heal();
    wait_for(&herald, &all);
}

/// Every second echo request is lost: that is too much for one check, and not for another.
#[test]
fn so_many_may_be_lost() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let rules = "chain input { type filter hook input priority 0; icmp type echo-request numgen inc mod 2 0 drop; };";
    site.servers.run("nft", &[&format!("table inet loss {{ {rules} }};")]);
    let check = |loss: &str| format!("type = \"icmp\"\ncount = 4\nmax_loss = \"{loss}\"");
    let tolerant = [case(SERVER[0], &check("50%"), true, "enough echo replies")];
    let herald = Herald::start(&site.herald, &config(&neighbour, &tolerant));
    wait_for(&herald, &tolerant);
    let strict = [case(SERVER[0], &check("25%"), false, "2 of 4 echo replies, 3 needed")];
    herald.reload_good(&config(&neighbour, &strict));
    wait_for(&herald, &strict);
}

/// Marks and DSCP, as the packets of every kind of socket have them on the wire.
#[test]
fn packets_leave_as_they_shall() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let _server = site.server(0);
    let kinds =
        ["type = \"tcp\"\nport = 8080", "type = \"syn\"\nport = 8080", "type = \"icmp\"", "type = \"udp\"\nport = 9"];
    let chain = "chain out { type filter hook output priority 0; \
                 meta mark 77 ip dscp 46 meta l4proto tcp counter; meta mark 77 ip dscp 46 meta l4proto icmp counter; \
                 meta mark 77 ip dscp 46 meta l4proto udp counter; \
                 meta mark 77 ip6 dscp 46 meta l4proto tcp counter; meta mark 77 ip6 dscp 46 meta l4proto icmpv6 counter; \
                 meta mark 77 ip6 dscp 46 meta l4proto udp counter; };";
    site.herald.run("nft", &[&format!("table inet seen {{ {chain} }};")]);
    let cases: Vec<_> = SERVER
        .into_iter()
        .flat_map(|address| kinds.map(|kind| case(address, &format!("{kind}\nmark = 77\ndscp = 46"), true, "")))
        .collect();
    let _herald = Herald::start(&site.herald, &config(&neighbour, &cases));
    wait::until("packets of every kind", || {
        let seen = site.herald.run("nft", &["list", "table", "inet", "seen"]);
        let zero = seen.lines().filter(|line| line.contains("packets 0 ")).count();
        if zero == 0 { Ok(()) } else { Err(seen) }
    });
}

/// What the system does not let us do is said before anything begins.
#[test]
fn what_checks_need_is_looked_at_first() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    site.herald.run("sysctl", &["-q", "-w", "net.ipv4.ping_group_range=1 0"]);
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    for (check, fault) in [
        ("type = \"icmp\"", "a check of type icmp needs our group in net.ipv4.ping_group_range, or CAP_NET_RAW"),
        ("type = \"syn\"", "a check of type syn needs CAP_NET_RAW"),
        ("type = \"tcp\"\nmark = 7", "`mark` needs CAP_NET_ADMIN or CAP_NET_RAW"),
        (
            "type = \"exec\"\ncommand = [\"/bin/true\"]\nuser = \"daemon\"",
            "running programs as user daemon needs CAP_SETUID and CAP_SETGID",
        ),
    ] {
        let cases = [case(SERVER[0], check, true, "")];
        let herald = Herald::new(&site.herald, &config(&neighbour, &cases));
        let (code, said) = herald.check_config_with(&nobody);
        assert!(code == Some(1) && said.contains(fault), "{said}");
    }
    // With a range that has us in it, pings need no more.
    site.herald.run("sysctl", &["-q", "-w", "net.ipv4.ping_group_range=0 65535"]);
    let cases = [case(SERVER[0], "type = \"icmp\"", true, "echo reply")];
    let mut herald = Herald::new(&site.herald, &config(&neighbour, &cases));
    herald.run_with(&["--bounding-set", "-net_raw,-net_admin"]);
    wait_for(&herald, &cases);
    herald.kill();
}
