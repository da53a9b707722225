//! The example of `herald::Director`: a balancer whose nftables set, or file, follows what is healthy.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::nginx::Nginx;
use crate::harness::process::Process;
use crate::harness::site::{CHECK, Site, service};
use crate::harness::wait;

struct Scene {
    site: Site,
    balancer: Process,
    services: PathBuf,
    servers: Vec<Option<Nginx>>,
}

/// Where cargo puts examples: beside the binary.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_herald")).with_file_name("examples").join("balancer");
    assert!(program.exists(), "cargo build --example balancer makes {}", program.display());
    program
}

const VIPS: &str = "\"192.0.2.1\", \"2001:db8::1\"";

/// Both servers over IPv4 and over IPv6; nginx listens there.
fn backends() -> String {
    let of = |address: &str| format!("[[service.backend]]\naddress = \"{address}\"\nport = 8080\n");
    let head = service("web", VIPS);
    let head = head.split("[[service.backend]]").next().unwrap();
    head.to_owned() + &["10.98.0.11", "10.98.0.12", "fd00:98::11", "fd00:98::12"].map(of).concat()
}

impl Scene {
    fn start(plane: &[&str]) -> Scene {
        let site = Site::new();
        let services = site.herald.dir("balancer").join("services.toml");
        fs::write(&services, CHECK.to_owned() + &backends()).unwrap();
        let servers = vec![Some(site.server(0)), Some(site.server(1))];
        let log = site.herald.dir("balancer").join("balancer.log");
        let arguments = [&[services.to_str().unwrap()], plane].concat();
        let balancer = Process::start(&site.herald, &log, program().to_str().unwrap(), &arguments);
        Scene { site, balancer, services, servers }
    }

    fn reload(&self, text: &str) {
        fs::write(&self.services, text).unwrap();
        self.balancer.signal(Signal::HUP);
    }

    /// `192.0.2.1 80 10.98.0.11 8080` for each element.
    fn set(&self, name: &str) -> Result<BTreeSet<String>, String> {
        let output = self.site.herald.output("nft", &["-j", "list", "set", "inet", "lb", name]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let list: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {output:?}"))?;
        let set = list["nftables"].as_array().unwrap().iter().find_map(|it| it.get("set")).ok_or(text.clone())?;
        let elements = set["elem"].as_array().cloned().unwrap_or_default();
        let words = |element: &Value| {
            let parts = element["concat"].as_array().cloned().unwrap_or_default();
            let part = |at: usize| parts[at].as_str().map_or_else(|| parts[at].to_string(), str::to_owned);
            assert_eq!(part(1), "tcp");
            format!("{} {} {} {}", part(0), part(2), part(3), part(4))
        };
        Ok(elements.iter().map(words).collect())
    }

    #[track_caller]
    fn wait_for_sets(&self, ipv4: &[&str], ipv6: &[&str]) {
        for (set, expected) in [("backends4", ipv4), ("backends6", ipv6)] {
            let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
            wait::until_equal(set, &expected, || self.set(set).map_err(|error| error + &self.balancer.log()));
        }
    }
}

#[test]
fn a_set_follows() {
    let mut scene = Scene::start(&["--nft", "lb"]);
    let four = ["192.0.2.1 80 10.98.0.11 8080", "192.0.2.1 80 10.98.0.12 8080"];
    let six = ["2001:db8::1 80 fd00:98::11 8080", "2001:db8::1 80 fd00:98::12 8080"];
    scene.wait_for_sets(&four, &six);
    // A server dies, and comes back.
    scene.servers[0] = None;
    scene.wait_for_sets(&four[1..], &six[1..]);
    scene.servers[0] = Some(scene.site.server(0));
    scene.wait_for_sets(&four, &six);
    // Services change: one comes, one has another port, and a text that is wrong changes nothing.
    let other = service("dns", "\"192.0.2.53\"").replace("fd00:98::12", "10.98.0.12");
    scene.reload(&(CHECK.to_owned() + &backends().replace("port     = 80\n", "port     = 443\n") + &other));
    let both = [
        "192.0.2.1 443 10.98.0.11 8080",
        "192.0.2.1 443 10.98.0.12 8080",
        "192.0.2.53 80 10.98.0.11 8080",
        "192.0.2.53 80 10.98.0.12 8080",
    ];
    let six = six.map(|element| element.replace(" 80 ", " 443 "));
    let six = six.each_ref().map(String::as_str);
    scene.wait_for_sets(&both, &six);
    scene.reload("[[service]]\nname = \"broken\"\n");
    wait::until("the error", || match scene.balancer.log() {
        log if log.contains("services.toml:1:1: ") && log.contains("nothing is changed") => Ok(()),
        log => Err(log),
    });
    scene.wait_for_sets(&both, &six);
    scene.reload(&(CHECK.to_owned() + &other));
    scene.wait_for_sets(&both[2..], &[]);
    // All die: nothing is left of the VIP.
    scene.servers.clear();
    scene.wait_for_sets(&[], &[]);
    // It ends by itself, and the set stays.
    scene.balancer.signal(Signal::TERM);
    assert_eq!(scene.balancer.wait().code(), Some(0), "{}", scene.balancer.log());
    scene.wait_for_sets(&[], &[]);
}

#[test]
fn a_file_follows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backends.txt");
    let mut scene = Scene::start(&["--file", path.to_str().unwrap()]);
    let read = || fs::read_to_string(&path).map_err(|error| error.to_string());
    let line = |vip: &str, backend: &str| format!("{vip} tcp 80 {backend} 1\n");
    let all = |backends: &[&str]| {
        let vips = ["192.0.2.1", "2001:db8::1"];
        vips.iter().flat_map(|vip| backends.iter().map(move |backend| line(vip, backend))).collect::<String>()
    };
    let everyone = ["10.98.0.11:8080", "10.98.0.12:8080", "[fd00:98::11]:8080", "[fd00:98::12]:8080"];
    wait::until_equal("the file", &all(&everyone), read);
    scene.servers[1] = None;
    wait::until_equal("the file", &all(&["10.98.0.11:8080", "[fd00:98::11]:8080"]), read);
    scene.servers.clear();
    wait::until_equal("the file", &String::new(), read);
    scene.servers = vec![Some(scene.site.server(1))];
    wait::until_equal("the file", &all(&["10.98.0.12:8080", "[fd00:98::12]:8080"]), read);
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["backends.txt"], "nothing half-written is left");
}
