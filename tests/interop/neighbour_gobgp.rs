//! Herald beside a gobgpd that has the sessions with the routers: the files of `etc/examples/gobgp` as they are, between
//! the servers and an upstream router.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::harness::bird::{self, Bird};
use crate::harness::gobgp::GoBgp;
use crate::harness::herald::Herald;
use crate::harness::lab::run;
use crate::harness::nginx::Nginx;
use crate::harness::plan::Plan;
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// What the upstream router has of its own: nothing of it is for us, neither a VIP nor anything else.
const OF_UPSTREAM: [&str; 4] = ["192.0.2.77/32", "198.51.100.7/32", "2001:db8::77/128", "2001:db8:ffff::/48"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/examples/gobgp").join(name)
}

fn example(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// `text` with the block of comments that has this line taken for what it says.
fn uncommented(text: &str, line: &str) -> String {
    let is_comment = |it: &str| it.starts_with("  # ");
    let blocks: Vec<Vec<&str>> = text
        .lines()
        .collect::<Vec<_>>()
        .chunk_by(|a, b| is_comment(a) == is_comment(b))
        .map(<[&str]>::to_vec)
        .collect();
    let mut found = 0;
    let lines = blocks.into_iter().flat_map(|block| {
        let has_it = is_comment(block[0]) && block.iter().any(|it| it.trim_start_matches(['#', ' ']) == line);
        found += usize::from(has_it);
        // What begins the block in plain words stays a comment.
        let turn = move |it: &str| match it.strip_prefix("  # ").filter(|rest| has_it && rest.starts_with(['[', ' '])) {
            Some(rest) => format!("  {rest}\n"),
            None => format!("{it}\n"),
        };
        block.into_iter().map(turn).collect::<Vec<_>>()
    });
    let text = lines.collect();
    assert_eq!(found, 1, "{line}");
    text
}

/// `text` with something replaced that it has.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?}");
    text.replace(from, to)
}

/// gobgpd as the unit starts it.
fn gobgpd(site: &Site, config: &str) -> GoBgp {
    let unit = example("gobgpd.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).unwrap();
    for line in
        ["DynamicUser=yes", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"]
    {
        assert!(unit.lines().any(|it| it == line), "{line}");
    }
    let mut words = vec!["--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service"];
    words.extend(["--bounding-set=-all,+net_bind_service", "--no-new-privs"]);
    words.extend(command.split(' '));
    GoBgp::start_as_nobody(&site.herald, config, "127.0.0.1", &words)
}

/// A session for each family, and routes of its own that it offers to gobgpd.
fn upstream(site: &Site, asn: u32) -> Bird {
    let mut text = String::new();
    for (number, prefix) in OF_UPSTREAM.iter().enumerate() {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        text += &format!("protocol static own{number} {{ {family}; route {prefix} blackhole; }}\n");
    }
    for (ipv6, family, name) in [(false, "ipv4", "dut"), (true, "ipv6", "dut6")] {
        let plan = Plan::new(&site::neighbour(ipv6, asn, 65001)).families(&[family]).hold_time(9).dials();
        let plan = plan.with_family("export where source = RTS_STATIC;");
        text += &bird::protocol(&plan).replace("protocol bgp dut ", &format!("protocol bgp {name} "));
    }
    Bird::start(&site.router, "10.99.1.1", &text)
}

/// What the upstream router has from us.
fn learned(bird: &Bird) -> Result<Table, String> {
    let mut table = bird.table()?;
    for prefix in OF_UPSTREAM {
        table.remove(prefix).ok_or(format!("no {prefix}"))?;
    }
    Ok(table)
}

/// What the upstream router shall have: next hops that are ours on its sessions, and the communities of Herald.
fn expected(bird: &Bird, asn: u32, prefixes: &[&str]) -> Table {
    let mut table = site::plain_table(&site::neighbour(false, asn, 65001), bird, prefixes);
    for route in table.values_mut() {
        route.communities = vec!["65000:100".to_owned()];
        route.large_communities = vec!["65000:1:2".to_owned()];
    }
    table
}

/// Everything that runs.
struct Story {
    servers: [Nginx; 2],
    bird: Bird,
    gobgp: GoBgp,
    herald: Herald,
    both: Table,
}

impl Story {
    fn begin(site: &Site) -> Story {
        let servers = [site.server(0), site.server(1)];
        let bird = upstream(site, 65000);
        // Herald is there first, and waits.
        let herald = Herald::start(&site.herald, &example("herald.toml"));
        let gobgp = gobgpd(site, &example("gobgpd.toml"));
        let both = expected(&bird, 65000, &site::VIPS);
        let story = Story { servers, bird, gobgp, herald, both };
        story.until("the routes upstream", &story.both);
        story
    }

    #[track_caller]
    fn until(&self, what: &str, table: &Table) -> Duration {
        wait::until_equal(what, table, || learned(&self.bird))
    }

    /// What the router offers is refused, and nothing but VIPs goes to it, whoever says so.
    fn filters(&self) {
        for (neighbour, family, prefixes) in
            [("10.99.1.1", "ipv4", &OF_UPSTREAM[..2]), ("fd00:99:1::1", "ipv6", &OF_UPSTREAM[2..])]
        {
            wait::until("the router's offer", || {
                let offered = self.gobgp.says(&["neighbor", neighbour, "adj-in", "-a", family]);
                if prefixes.iter().all(|it| offered.contains(it)) { Ok(()) } else { Err(offered) }
            });
        }
        let held = || self.gobgp.table().map(|table| table.into_keys().collect::<Vec<_>>());
        assert_eq!(held().unwrap(), site::VIPS);

        let odd = r#""192.0.2.2", "192.0.2.128/25", "203.0.113.1", "2001:db8::2", "2001:db8:1::/64", "fd00::1""#;
        let more = site::service("more", odd);
        self.herald.reload_good(&(example("herald.toml") + &more));
        let all = ["192.0.2.1/32", "192.0.2.128/25", "192.0.2.2/32", "2001:db8:1::/64", "2001:db8::1/128"];
        let all: Vec<String> =
            all.into_iter().chain(["2001:db8::2/128", "203.0.113.1/32", "fd00::1/128"]).map(str::to_owned).collect();
        wait::until_equal("everything at gobgpd", &all, held);
        let four = expected(&self.bird, 65000, &["192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128", "2001:db8::2/128"]);
        self.until("the added VIPs", &four);
        wait::stays("the VIPs alone", Duration::from_millis(500), &four, || learned(&self.bird));
        self.herald.reload_good(&example("herald.toml"));
        self.until("the first VIPs", &self.both);
    }

    fn backends_come_and_go(&mut self) {
        self.servers.iter_mut().for_each(Nginx::kill);
        let gone = self.until("everything withdrawn", &Table::new());
        println!("both servers dead: withdrawn upstream after {} ms", gone.as_millis());
        self.servers.iter_mut().for_each(Nginx::restart);
        self.until("everything announced again", &self.both);
    }

    /// Whose end the kernel tells, not a hold timer.
    fn herald_crashes(&mut self) {
        self.herald.kill();
        let gone = self.until("everything withdrawn", &Table::new());
        println!("herald killed: withdrawn upstream after {} ms", gone.as_millis());
        assert!(gone < Duration::from_secs(6), "{gone:?}");
        self.herald.run();
        self.until("everything announced again", &self.both);
    }

    fn gobgpd_comes_and_goes(&mut self) {
        self.gobgp.kill();
        self.until("everything withdrawn", &Table::new());
        self.gobgp.start();
        let back = self.until("the routes after a crash of gobgpd", &self.both);
        println!("gobgpd killed and started: routes upstream after {} ms", back.as_millis());
        self.gobgp.stop();
        self.until("everything withdrawn", &Table::new());
        self.gobgp.start();
        self.until("the routes after a restart of gobgpd", &self.both);
    }
}

#[test]
fn the_whole_story() {
    let site = Site::new();
    let mut story = Story::begin(&site);
    story.filters();
    story.backends_come_and_go();
    story.herald_crashes();
    story.gobgpd_comes_and_goes();
    story.herald.terminate();
    story.until("everything withdrawn at the stop", &Table::new());
    assert_eq!(story.herald.wait().code(), Some(0));
}

/// A router in our own AS, with the lines of the example that are for this: the next hops are Herald's, unchanged.
#[test]
fn a_router_in_our_own_as() {
    let site = Site::new();
    let _server = site.server(0);
    let bird = upstream(&site, 65001);
    let config = changed(&example("gobgpd.toml"), "peer-as = 65000", "peer-as = 65001");
    let config = uncommented(&config, "[neighbors.route-reflector.config]");
    let _gobgp = gobgpd(&site, &config);
    let _herald = Herald::start(&site.herald, &example("herald.toml"));
    let table = expected(&bird, 65001, &site::VIPS);
    wait::until_equal("the routes upstream", &table, || learned(&bird));
}

/// The policy is for what the API injects, too; with the lines of the example that let it in, it is filtered as all else.
#[test]
fn what_the_api_injects() {
    let site = Site::new();
    let _server = site.server(0);
    let bird = upstream(&site, 65000);
    let example_text = example("gobgpd.toml");
    let mut gobgp = gobgpd(&site, &example_text);
    let _herald = Herald::start(&site.herald, &example("herald.toml"));
    let inject = |gobgp: &GoBgp| {
        for prefix in ["203.0.113.9/32", "192.0.2.9/32"] {
            gobgp.says(&["global", "rib", "add", prefix, "nexthop", "10.99.1.2"]);
        }
    };
    inject(&gobgp);
    let both = expected(&bird, 65000, &site::VIPS);
    wait::until_equal("the routes upstream", &both, || learned(&bird));
    wait::stays("the VIPs alone", Duration::from_millis(500), &both, || learned(&bird));
    gobgp.stop();
    drop(gobgp);

    let gobgp = gobgpd(&site, &uncommented(&example_text, "name = \"api\""));
    inject(&gobgp);
    let prefixes = [site::VIPS[0], site::VIPS[1], "192.0.2.9/32"];
    let mut three = expected(&bird, 65000, &prefixes);
    let injected = three.get_mut("192.0.2.9/32").unwrap();
    (injected.communities, injected.large_communities) = (Vec::new(), Vec::new());
    injected.origin = "incomplete".to_owned();
    wait::until_equal("the injected VIP, too", &three, || learned(&bird));
}

/// By hand, without systemd: the capability is the file's.
#[test]
fn setcap_is_enough_without_a_unit() {
    let site = Site::new();
    let program = site.herald.dir("bin").join("gobgpd");
    let original = run("sh", &["-c", "command -v gobgpd"]);
    fs::copy(original.trim(), &program).unwrap();
    let program = program.to_str().unwrap();
    let words = "cap_net_bind_service=+ep";
    assert!(example("README.md").contains(&format!("setcap {words} ")), "the example says so");
    run("setcap", &[words, program]);
    let command = [program, "-t", "toml", "-f", "/etc/gobgp/gobgpd.toml", "--pprof-disable"];
    let command = [&command[..], &["--api-hosts=unix:///run/gobgpd/api.sock"]].concat();
    let gobgp = GoBgp::start_as_nobody(&site.herald, &example("gobgpd.toml"), "127.0.0.1", &command);
    let herald = Herald::start(&site.herald, &example("herald.toml"));
    wait::until("the session", || gobgp.session());
    wait::until_equal("the session", &json!("established"), || Ok(herald.peer("gobgpd")?["state"].clone()));
}

#[test]
fn systemd_takes_the_unit() {
    let output = Command::new("systemd-analyze").arg("verify").arg(path("gobgpd.service")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("gobgpd.service:"), "{said}");
}
