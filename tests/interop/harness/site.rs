//! The site that most tests are about: Herald between one router and two web servers, dual-stack.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::rc::Rc;

use super::capture::Judge;
use super::herald::Herald;
use super::lab::{Lab, Namespace};
use super::nginx::Nginx;
use super::router::{Neighbour, Route, Router, Session, Table};
use super::wait;

/// The router's and Herald's addresses on the link between them.
pub(crate) const ROUTER: [&str; 2] = ["10.99.1.1", "fd00:99:1::1"];
pub(crate) const HERALD: [&str; 2] = ["10.99.1.2", "fd00:99:1::2"];
/// The servers'.
pub(crate) const SERVERS: [&str; 4] = ["10.98.0.11", "10.98.0.12", "fd00:98::11", "fd00:98::12"];

/// Three namespaces: `herald`, `router`, `servers`.
pub(crate) struct Site {
    pub(crate) herald: Namespace,
    pub(crate) router: Namespace,
    pub(crate) servers: Namespace,
    // Of everything that Herald sends, whatever the test is about.
    pub(crate) judge: Judge,
}

impl Site {
    pub(crate) fn new() -> Site {
        let lab = Lab::new();
        let (herald, router, servers) = (lab.namespace("herald"), lab.namespace("router"), lab.namespace("servers"));
        herald.link(&["10.99.1.2/24", "fd00:99:1::2/64"], &router, &["10.99.1.1/24", "fd00:99:1::1/64"]);
        let there = ["10.98.0.11/24", "10.98.0.12/24", "fd00:98::11/64", "fd00:98::12/64"];
        herald.link(&["10.98.0.1/24", "fd00:98::1/64"], &servers, &there);
        let judge = Judge::watch(&herald);
        Site { herald, router, servers, judge }
    }

    /// The lab that it is in.
    pub(crate) fn lab(&self) -> &Rc<Lab> {
        self.herald.lab()
    }

    /// A web server on port 8080 of the first or second address of both families.
    pub(crate) fn server(&self, number: usize) -> Nginx {
        let listen = [format!("{}:8080", SERVERS[number]), format!("[{}]:8080", SERVERS[number + 2])];
        Nginx::start(&self.servers, &format!("server-{number}"), &[&listen[0], &listen[1]])
    }

    /// Waits until Herald's kernel has refused who connects, and once more, while this holds.
    pub(crate) fn wait_for_drops(&self, holds: impl Fn()) {
        let before = dropped(&self.herald);
        wait::until("attempts that come to nothing", || {
            holds();
            let more = dropped(&self.herald) - before;
            if more >= 2 { Ok(()) } else { Err(format!("{more} dropped")) }
        });
    }
}

/// How many segments the kernel has dropped here for want of the right signature or TTL.
fn dropped(namespace: &Namespace) -> u64 {
    let text = namespace.run("nstat", &["-asz", "TcpExtTCPMD5*", "TcpExtTCPMinTTLDrop"]);
    text.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// The session as the router sees it, over IPv4 or IPv6.
pub(crate) fn neighbour(ipv6: bool, router_as: u32, herald_as: u32) -> Neighbour {
    let index = usize::from(ipv6);
    Neighbour {
        local_address: ROUTER[index].parse().unwrap(),
        local_as: router_as,
        address: HERALD[index].parse().unwrap(),
        asn: herald_as,
    }
}

/// The rest of `[daemon]`, `[bgp]`, and a peer for both families with next hops in both.
pub(crate) fn bgp(neighbour: &Neighbour, peer_options: &str) -> String {
    let Neighbour { local_address, local_as, asn, .. } = neighbour;
    // "self" has no meaning for the family that the session does not run over.
    let next_hop = match local_address.is_ipv4() {
        true => "next_hop_ipv4 = \"self\"\nnext_hop_ipv6 = \"fd00:99:1::2\"",
        false => "next_hop_ipv4 = \"10.99.1.2\"\nnext_hop_ipv6 = \"self\"",
    };
    format!(
        r#"shutdown_drain = "0s"

[bgp]
local_as  = {asn}
router_id = "10.99.1.2"
hold_time = "9s"

[[bgp.peer]]
name          = "router"
address       = "{local_address}"
peer_as       = {local_as}
families      = ["ipv4", "ipv6"]
{next_hop}
connect_retry = "500ms"
{peer_options}
"#
    )
}

/// The check of the web servers.
pub(crate) const CHECK: &str = r#"
[checks.web]
type          = "http"
path          = "/healthz"
interval      = "500ms"
timeout       = "500ms"
rise          = 2
fall          = 2
fast_interval = "100ms"
"#;

/// A service on these VIPs, with both servers as backends: the first over IPv4, the second over IPv6.
pub(crate) fn service(name: &str, vips: &str) -> String {
    format!(
        r#"
[[service]]
name     = "{name}"
vips     = [{vips}]
protocol = "tcp"
port     = 80
checks   = ["web"]

[[service.backend]]
address = "10.98.0.11"
port    = 8080

[[service.backend]]
address = "fd00:98::12"
port    = 8080
"#
    )
}

/// Both backends of [`service`], as the status names them.
pub(crate) const BACKENDS: [&str; 2] = ["10.98.0.11:8080", "[fd00:98::12]:8080"];

/// The configuration that most tests begin with: one IPv4 and one IPv6 VIP.
pub(crate) fn config(neighbour: &Neighbour, peer_options: &str) -> String {
    bgp(neighbour, peer_options) + CHECK + &service("web", r#""192.0.2.1", "2001:db8::1""#)
}

/// What the router must show for a VIP without attributes of its own.
pub(crate) fn plain_route(neighbour: &Neighbour, router: &dyn Router, prefix: &str) -> Route {
    let internal = neighbour.is_internal();
    Route {
        next_hop: HERALD[usize::from(prefix.contains(':'))].to_owned(),
        as_path: if internal { Vec::new() } else { vec![neighbour.asn] },
        origin: "igp".to_owned(),
        med: None,
        // RFC 4271 §5.1.5: to internal peers always, to external ones never.
        local_pref: router.shown_local_pref(internal.then_some(100)),
        communities: Vec::new(),
        large_communities: Vec::new(),
        extended_communities: Vec::new(),
    }
}

/// A table of such routes.
pub(crate) fn plain_table(neighbour: &Neighbour, router: &dyn Router, prefixes: &[&str]) -> Table {
    let route = |prefix: &&str| ((*prefix).to_owned(), plain_route(neighbour, router, prefix));
    prefixes.iter().map(route).collect()
}

/// The prefixes of [`config`].
pub(crate) const VIPS: [&str; 2] = ["192.0.2.1/32", "2001:db8::1/128"];

/// Waits until both servers count.
pub(crate) fn wait_for_backends(herald: &Herald) {
    for backend in BACKENDS {
        wait::until("both backends up", || herald.backend_is(backend, "up"));
    }
}

/// Waits for the session, and gives it.
pub(crate) fn established(router: &dyn Router) -> Session {
    wait::until("the session", || router.session()).0
}

/// Waits until the router has the routes of [`config`], with this and no other attributes.
#[track_caller]
pub(crate) fn wait_for_routes(neighbour: &Neighbour, router: &dyn Router) -> Table {
    let table = plain_table(neighbour, router, &VIPS);
    wait::until_equal("the routes", &table, || router.table());
    table
}

/// Waits until the router's log tells of this NOTIFICATION from Herald.
#[track_caller]
pub(crate) fn wait_for_notification(router: &dyn Router, code: u8, subcode: u8) {
    let marks = router.received_marks(code, subcode);
    wait::until("the NOTIFICATION in the router's log", || {
        let log = router.log();
        if marks.iter().all(|mark| log.contains(mark)) { Ok(()) } else { Err(format!("no {marks:?} in\n{log}")) }
    });
}

/// Waits until Herald's status gives a reason with all these words for why there is no session.
#[track_caller]
pub(crate) fn wait_for_reason(herald: &Herald, words: &[&str]) {
    wait::until("the reason", || {
        let peer = herald.peer("router")?;
        let reason = peer["last_notification"].as_str().unwrap_or_default();
        if words.iter().all(|word| reason.contains(word)) { Ok(()) } else { Err(peer.to_string()) }
    });
}

/// Waits until Herald's log has this.
#[track_caller]
pub(crate) fn wait_for_log(herald: &Herald, words: &str) {
    wait::until("the log", || {
        let log = herald.log();
        if log.contains(words) { Ok(()) } else { Err(format!("no {words:?} in\n{log}")) }
    });
}

/// A file with this password, for a peer or range of this name.
pub(crate) fn secret(site: &Site, name: &str, secret: &str) -> PathBuf {
    let path = site.herald.dir("secrets").join(name);
    fs::write(&path, format!("{secret}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
