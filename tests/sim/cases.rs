//! Single stories, each for something that a sweep once found or reaches too seldom.

use std::sync::Arc;
use std::time::Duration;

use herald::config::{Attributes, Config};
use herald::prefix::Prefix;
use herald::rng::Rng;

use crate::backend::Server;
use crate::plan::{Plan, read};
use crate::router::Router;
use crate::world::{Happening, World};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const HEAD: &str = r#"
[bgp]
local_as = 65001
router_id = "10.99.1.2"
[[bgp.peer]]
name = "tor"
address = "10.0.0.1"
peer_as = 65000
hold_time = "9s"
next_hop_ipv6 = "fd00:99:1::2"
[checks.plain]
type = "tcp"
interval = "1s"
timeout = "500ms"
"#;

pub(crate) fn service(name: &str, vips: &str, port: u16, host: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\nvips = {vips}\nport = {port}\nchecks = [\"plain\"]\n\
         [[service.backend]]\naddress = \"{host}\"\nport = 80\n"
    )
}

/// A world with every server well, at peace.
pub(crate) fn world(seed: u64, config: Arc<Config>) -> World {
    let mut world = World::with(seed, config, Plan::new(&mut Rng::new(0)), false);
    for host in crate::plan::HOSTS {
        world.servers.set(host, Server::Answers(5));
    }
    world.note_truth(true);
    while world.routers.is_empty() {
        world.step();
    }
    world
}

fn only_router(world: &mut World) -> &mut Router {
    world.routers.values_mut().next().expect("it has been dialled")
}

fn held(world: &World, vip: &str) -> Option<u32> {
    let link = world.routers.values().next()?.link()?;
    link.routes.get(&vip.parse::<Prefix>().unwrap()).map(|route| route.med.unwrap_or(0))
}

/// Seed 1186: a service that was new on a degraded VIP was presumed up. When the others recovered, the VIP was announced
/// as healthy although nothing had ever asked the new service.
#[test]
fn a_new_service_on_a_degraded_vip_proves_itself() {
    let vip = "[[vip]]\naddress = \"192.0.2.1\"\nmed = 5\non_down = \"degrade\"\ndegraded = { med = 900 }\n";
    let old = [HEAD, &service("old", "[\"192.0.2.1\"]", 1, "10.1.0.1"), vip].concat();
    let both = [old.as_str(), &service("new", "[\"192.0.2.1\"]", 2, "10.1.0.2").replace("plain", "slow")].concat();
    let both =
        both.replace("[checks.plain]", "[checks.slow]\ntype = \"tcp\"\ninterval = \"60s\"\nrise = 2\n[checks.plain]");
    let mut world = world(1, read(old));
    world.run(10 * SECOND);
    assert_eq!(held(&world, "192.0.2.1"), Some(5));
    world.servers.set("10.1.0.1", Server::Refuses);
    world.note_truth(false);
    world.run(10 * SECOND);
    assert_eq!(held(&world, "192.0.2.1"), Some(900));
    world.servers.set("10.1.0.2", Server::Refuses);
    world.reload_to(&read(both));
    world.servers.set("10.1.0.1", Server::Answers(5));
    world.note_truth(false);
    world.run(20 * SECOND);
    assert_eq!(held(&world, "192.0.2.1"), Some(900), "nothing has asked the new service yet");
}

/// RFC 9687: a router that keeps the session alive and reads nothing is given up after eight minutes.
#[test]
fn a_router_that_never_reads_is_given_up() {
    let mut world = world(1, read([HEAD, &service("web", "[\"192.0.2.1\"]", 1, "10.1.0.1")].concat()));
    only_router(&mut world).traits.hold = 9;
    only_router(&mut world).traits.window = 64;
    world.run(10 * SECOND);
    let router = only_router(&mut world);
    let name = router.config.name.clone();
    let link = router.link_mut().expect("the session is up");
    let conn = link.conn;
    link.stalled = true;
    link.cause = Some("reads nothing");
    world.at(500 * SECOND, Happening::Overdue(name.clone(), conn));
    world.run(470 * SECOND);
    assert!(world.link(&name, conn).is_some(), "given up too soon");
    world.run(60 * SECOND);
    assert!(world.link(&name, conn).is_none());
}

/// Ten thousand routes, more than one filling holds, through a narrow connection: End-of-RIB comes after all of them.
/// Then stalls, and reloads while what the last one changed is still being told: the router ends with exactly what it
/// must have, and nothing piles up meanwhile.
#[test]
fn a_crowd_of_routes_reaches_a_slow_router() {
    let text = [HEAD, &service("web", "[\"192.0.2.1\"]", 1, "10.1.0.1")].concat();
    let mut world = world(1, crowd(&text, 0));
    let router = only_router(&mut world);
    router.traits.window = 16 * 1024;
    router.traits.families = Some([true, true]);
    router.traits.hold = 9;
    world.run(5 * SECOND);
    let link = only_router(&mut world).link().expect("the session is up");
    assert_eq!((link.ends_of_rib, link.initial_routes), ([1, 1], 10_001));
    for round in 1..4 {
        world.run(Duration::from_millis(300 * round));
        let router = only_router(&mut world);
        let (name, hold) = (router.config.name.clone(), router.hold());
        let conn = router.link().expect("the session is up").conn;
        world.stall(&name, conn, hold);
        world.reload_to(&crowd(&text, round as u32));
    }
    world.run(10 * SECOND);
    let router = only_router(&mut world);
    assert!(router.is_in_step());
    let link = router.link_mut().expect("it is in step");
    assert_eq!(link.routes.len(), 10_001);
    assert_eq!(link.routes.values().filter(|route| route.med == Some(3)).count(), 5_000);
}

/// The text's configuration with 10,000 more VIPs on its first service, half of them with this MED.
fn crowd(text: &str, med: u32) -> Arc<Config> {
    let mut config = Arc::unwrap_or_clone(read(text.to_owned()));
    let mut vip = config.vips.values().next().expect("it has one").clone();
    for n in 0..10_000u32 {
        let address = match n % 8 {
            0 => std::net::Ipv4Addr::from(0x0a64_0000 + n).into(),
            _ => std::net::Ipv6Addr::from((0x2001_0db8 << 96) + u128::from(n)).into(),
        };
        if n % 4 < 2 {
            vip.attributes = Arc::new(Attributes { med: Some(med), ..Attributes::default() });
        } else {
            vip.attributes = Arc::default();
        }
        config.vips.insert(Prefix::host(address), vip.clone());
        config.services[0].vips.push(Prefix::host(address));
    }
    Arc::new(config)
}
