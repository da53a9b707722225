//! Who sends routes: each is started so that it knows all of them before its sessions are Established, and withdraws
//! them as its operators would.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use super::bird::{self, Control};
use super::{LIMIT, NEXT_HOP, api, route};
use crate::process::{Process, free_port, wait};
use crate::web::Web;

/// Starts a sender of so many routes to these peers, with its files in a directory.
pub type Start = fn(&Path, u32, &[SocketAddr]) -> Box<dyn Running>;

/// In the order in which they take their turns.
pub const SENDERS: [(&str, Start); 4] =
    [("herald", Herald::start), ("BIRD", Bird::start), ("GoBGP", GoBgp::start), ("ExaBGP", ExaBgp::start)];

/// A sender under way.
pub trait Running {
    fn process(&self) -> &Process;

    /// Has all routes withdrawn; gives the time from which on it could know.
    fn withdraw(&mut self) -> Instant;
}

/// One service on all VIPs, with one backend. Its failure is the withdrawal.
struct Herald {
    process: Process,
    web: Web,
}

impl Herald {
    fn start(dir: &Path, prefixes: u32, peers: &[SocketAddr]) -> Box<dyn Running> {
        let web = Web::start(1);
        let mut config = format!(
            "[daemon]\ncontrol_socket = \"{dir}/control.sock\"\nstate_file = \"{dir}/state.json\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.1\"\nhold_time = \"90s\"\n",
            dir = dir.display()
        );
        for peer in peers {
            write!(
                config,
                "[[bgp.peer]]\naddress = \"{}\"\nport = {}\npeer_as = 65000\nfamilies = [\"ipv4\"]\n\
                 next_hop_ipv4 = \"{NEXT_HOP}\"\n",
                peer.ip(),
                peer.port()
            )
            .unwrap();
        }
        let vips: Vec<String> = (0..prefixes).map(|index| format!("\"{}\"", route(index))).collect();
        write!(
            config,
            "[[service]]\nname = \"all\"\nport = 80\nvips = [{}]\n\
             check = [{{ type = \"http\", path = \"/0\", interval = \"100ms\", timeout = \"100ms\", rise = 1, fall = 1 }}]\n\
             [[service.backend]]\naddress = \"127.0.0.1\"\nport = {}\n",
            vips.join(","),
            web.address.port()
        )
        .unwrap();
        let process = Process::herald(dir, &config);
        // The second check has begun: the first has its verdict. Asking for the status would cost Herald more.
        wait("the first verdict", LIMIT, || (web.answered() >= 2).then_some(()));
        Box::new(Herald { process, web })
    }
}

impl Running for Herald {
    fn process(&self) -> &Process {
        &self.process
    }

    fn withdraw(&mut self) -> Instant {
        self.web.set_healthy(0, false);
        wait("the check that fails", LIMIT, || self.web.refused_at(0))
    }
}

/// Static routes, by the protocol that is disabled for the withdrawal.
struct Bird {
    process: Process,
    control: Control,
}

impl Bird {
    fn start(dir: &Path, prefixes: u32, peers: &[SocketAddr]) -> Box<dyn Running> {
        let mut config = "router id 10.0.0.1;\nprotocol device {}\n".to_owned();
        for (index, peer) in peers.iter().enumerate() {
            writeln!(
                config,
                "protocol bgp up{index} {{ local 127.0.0.1 as 65001; neighbor {} port {} as 65000; multihop; \
                 connect delay time 1; hold time 90; \
                 ipv4 {{ import none; export all; next hop address {NEXT_HOP}; }}; }}",
                peer.ip(),
                peer.port()
            )
            .unwrap();
        }
        config.push_str("protocol static vips { ipv4;\n");
        for index in 0..prefixes {
            writeln!(config, "route {}/32 blackhole;", route(index)).unwrap();
        }
        config.push_str("}\n");
        let (process, control) = bird::start(dir, "sender", &config);
        Box::new(Bird { process, control })
    }
}

impl Running for Bird {
    fn process(&self) -> &Process {
        &self.process
    }

    fn withdraw(&mut self) -> Instant {
        let began = Instant::now();
        let answer = self.control.ask("disable vips");
        assert!(answer.concat().contains("disabled"), "{answer:?}");
        began
    }
}

/// Routes in one call of AddPathStream of its gRPC API: the fastest way in. `gobgp mrt inject` makes the same call, but ends
/// before the last several hundred routes have arrived. Withdrawn by one call too.
struct GoBgp {
    process: Process,
    api_port: String,
}

impl GoBgp {
    fn start(dir: &Path, prefixes: u32, peers: &[SocketAddr]) -> Box<dyn Running> {
        let mut config = "[global.config]\n  as = 65001\n  router-id = \"10.0.0.1\"\n  port = -1\n".to_owned();
        for peer in peers {
            write!(
                config,
                "[[neighbors]]\n  [neighbors.config]\n    peer-as = 65000\n    neighbor-address = \"{}\"\n  \
                 [neighbors.transport.config]\n    remote-port = {}\n  \
                 [neighbors.timers.config]\n    hold-time = 90\n    connect-retry = 1\n  \
                 [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      afi-safi-name = \"ipv4-unicast\"\n",
                peer.ip(),
                peer.port()
            )
            .unwrap();
        }
        let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        fs::write(file("gobgpd.toml"), config).unwrap();
        fs::write(file("routes"), api::add_path_stream(prefixes)).unwrap();
        let api_port = free_port().to_string();
        let api_host = format!("127.0.0.1:{api_port}");
        let process = Process::start(
            "gobgpd",
            &["-t", "toml", "-f", &file("gobgpd.toml"), "--api-hosts", &api_host, "--pprof-disable"],
        );
        let gobgp = GoBgp { process, api_port };
        let last = peers[peers.len() - 1].ip().to_string();
        wait("GoBGP", LIMIT, || gobgp.ask(&["neighbor", &last]).then_some(()));
        gobgp.inject(&file("routes"));
        Box::new(gobgp)
    }

    fn inject(&self, file: &str) {
        let output = Command::new("curl")
            .args(["-sS", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers"])
            .args(["-D", "-", "-o", "/dev/null", "--data-binary", &format!("@{file}")])
            .arg(format!("http://127.0.0.1:{}/apipb.GobgpApi/AddPathStream", self.api_port))
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(answer.contains("grpc-status: 0"), "{answer}{}", String::from_utf8_lossy(&output.stderr));
    }

    fn ask(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("gobgp");
        command.args(["-p", &self.api_port]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    }
}

impl Running for GoBgp {
    fn process(&self) -> &Process {
        &self.process
    }

    fn withdraw(&mut self) -> Instant {
        let began = Instant::now();
        assert!(self.ask(&["global", "rib", "del", "all", "-a", "ipv4"]), "not withdrawn");
        began
    }
}

/// Static routes of each neighbour in its configuration; withdrawn by a reload of one without them.
struct ExaBgp {
    process: Process,
    file: PathBuf,
    peers: Vec<SocketAddr>,
}

impl ExaBgp {
    fn start(dir: &Path, prefixes: u32, peers: &[SocketAddr]) -> Box<dyn Running> {
        let file = dir.join("exabgp.conf");
        fs::write(&file, ExaBgp::config(prefixes, peers)).unwrap();
        let settings = ["exabgp.daemon.drop=false", "exabgp.api.cli=false"];
        let arguments = [&settings[..], &["exabgp", file.to_str().unwrap()]].concat();
        let process = Process::start("env", &arguments);
        Box::new(ExaBgp { process, file, peers: peers.to_vec() })
    }

    fn config(prefixes: u32, peers: &[SocketAddr]) -> String {
        let mut routes = String::new();
        for index in 0..prefixes {
            writeln!(routes, "route {}/32 next-hop {NEXT_HOP};", route(index)).unwrap();
        }
        let neighbour = |peer: &SocketAddr| {
            format!(
                "neighbor {} {{\nrouter-id 10.0.0.1;\nlocal-address 127.0.0.1;\nlocal-as 65001;\npeer-as 65000;\n\
                 hold-time 90;\nconnect {};\nfamily {{ ipv4 unicast; }}\nstatic {{\n{routes}}}\n}}\n",
                peer.ip(),
                peer.port()
            )
        };
        peers.iter().map(neighbour).collect()
    }
}

impl Running for ExaBgp {
    fn process(&self) -> &Process {
        &self.process
    }

    fn withdraw(&mut self) -> Instant {
        fs::write(&self.file, ExaBgp::config(0, &self.peers)).unwrap();
        let began = Instant::now();
        self.process.signal(Signal::USR1);
        began
    }
}
