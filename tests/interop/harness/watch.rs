//! Everything that a router does with its routes, as it happens: a look at its table now and then would miss a gap of
//! milliseconds.

use std::path::Path;

use super::bird::{self, Bird};
use super::lab::Namespace;
use super::plan::{Kind, Plan};
use super::process::Process;
use super::router::Router;
use super::wait;

/// A running record of routes that go.
pub(crate) struct Watch {
    process: Process,
    /// What stands before the prefix in a line about a route that goes.
    mark: &'static str,
}

impl Watch {
    /// A router with this session, and the record of what it drops.
    pub(crate) fn router(kind: Kind, namespace: &Namespace, router_id: &str, plan: &Plan) -> (Box<dyn Router>, Watch) {
        match kind {
            Kind::Bird => {
                let watch = Watch::kernel(namespace);
                let kernel = |family| format!("protocol kernel {{ {family} {{ export all; import none; }}; }}\n");
                let protocols = bird::protocol(plan) + &kernel("ipv4") + &kernel("ipv6");
                (Box::new(Bird::start(namespace, router_id, &protocols)), watch)
            }
            Kind::Frr => {
                let watch = Watch::kernel(namespace);
                (kind.start(namespace, router_id, plan), watch)
            }
            Kind::GoBgp => {
                let router = kind.start(namespace, router_id, plan);
                (router, Watch::gobgp(namespace))
            }
        }
    }

    /// What a router does to its kernel's table.
    pub(crate) fn kernel(namespace: &Namespace) -> Watch {
        Watch::start(namespace, "Deleted ", "stdbuf", &["-oL", "ip", "monitor", "route"])
    }

    /// What GoBGP does to its own.
    pub(crate) fn gobgp(namespace: &Namespace) -> Watch {
        // Nobody else's route: the record is there when it has seen it go.
        const OWN: &str = "198.51.100.222/32";
        let program = ["-oL", "gobgp", "monitor", "global", "rib"];
        let watch = Watch::start(namespace, "[DELROUTE] ", "stdbuf", &program);
        wait::until("the record to begin", || {
            namespace.run("gobgp", &["global", "rib", "add", OWN, "nexthop", "192.0.2.254"]);
            namespace.run("gobgp", &["global", "rib", "del", OWN, "nexthop", "192.0.2.254"]);
            if watch.gone(OWN) > 0 { Ok(()) } else { Err(watch.process.log()) }
        });
        watch
    }

    fn start(namespace: &Namespace, mark: &'static str, program: &str, arguments: &[&str]) -> Watch {
        let log = namespace.dir("watch").join("routes.log");
        let process = Process::start(namespace, Path::new(&log), program, arguments);
        Watch { process, mark }
    }

    /// Waits until it has seen this prefix go.
    pub(crate) fn wait_for(&self, prefix: &str) {
        wait::until(&format!("{prefix} to go"), || match self.gone(prefix) {
            0 => Err(self.process.log()),
            _ => Ok(()),
        });
    }

    /// How often this prefix went.
    pub(crate) fn gone(&self, prefix: &str) -> usize {
        let prefix = prefix.trim_end_matches("/32").trim_end_matches("/128");
        let log = self.process.log();
        let gone = log.lines().filter_map(|line| line.split_once(self.mark)?.1.split_whitespace().next());
        gone.filter(|word| word.split('/').next() == Some(prefix)).count()
    }
}
