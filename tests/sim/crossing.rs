//! Both sides connect at once, again and again: in the end there is always one session, on the right connection.

use std::sync::Arc;
use std::time::Duration;

use herald::bgp::peer::State;
use herald::rng::Rng;

use crate::cases::{HEAD, SECOND, service};
use crate::plan::read;
use crate::world::{Happening, World};

/// Our identifier is 10.99.1.2: one is lower, one higher, one the same, in an AS that is lower (RFC 6286 §2.3).
const ROUTERS: [(&str, [u8; 4]); 3] = [("tor", [10, 0, 0, 77]), ("high", [10, 200, 0, 7]), ("same", [10, 99, 1, 2])];
/// Within this a pair has a session again: Herald connects once a second, and a good connection may have to go first.
const AGAIN: Duration = Duration::from_secs(6);

fn config() -> String {
    let mut head = HEAD.replace("hold_time", "mode = \"both\"\nconnect_retry = \"1s\"\nhold_time");
    head = head.replace("[bgp]", "[bgp]\nlisten = [\"[::]:179\"]");
    for (name, address) in [("high", 2), ("same", 3)] {
        let rest = "peer_as = 65000\nmode = \"both\"\nconnect_retry = \"1s\"\nhold_time = \"9s\"\nnext_hop_ipv6 = \"fd00:99:1::2\"\n";
        let peer = format!("[[bgp.peer]]\nname = \"{name}\"\naddress = \"10.0.0.{address}\"\n{rest}[checks");
        head = head.replace("[checks", &peer);
    }
    head + &service("web", "[\"192.0.2.1\"]", 1, "10.1.0.1")
}

fn story(seed: u64) -> World {
    let mut rng = Rng::new(seed);
    let mut world = crate::cases::world(seed, read(config()));
    for (name, id) in ROUTERS {
        let traits = &mut world.routers.get_mut(name).expect("it is configured").traits;
        (traits.hold, traits.families, traits.refuses, traits.id) = (9, Some([true, true]), None, id);
        (traits.lag, traits.opens_first, traits.delays_open) = (20 + rng.below(200), rng.below(4) > 0, false);
    }
    for _ in 0..30 {
        world.run(AGAIN);
        for (name, _) in ROUTERS {
            let name: Arc<str> = name.into();
            let state = world.engine.peer_status(&name).map(|peer| peer.state);
            let router = &world.routers[&name];
            let link = router.link().filter(|link| link.established);
            let link = link.unwrap_or_else(|| panic!("{name} has no session: {:?}", router.links));
            world.rules.count("a pair has its session");
            assert_eq!((state, router.links.len()), (Some(State::Established), 1), "{name}: {:?}", router.links);
            let (conn, old) = (link.conn, world.now - link.since > 2 * SECOND);
            match rng.below(3) {
                0 if old => world.reset_router(&name),
                1 => {}
                _ => {
                    world.hang_up(&name, conn);
                    world.soon(1500, Happening::Call(name, false));
                }
            }
        }
        world.drain();
    }
    world
}

#[test]
fn connections_that_cross_come_to_one_session() {
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..crate::number("SIM_SEEDS").unwrap_or(8) {
        for (rule, count) in story(seed).rules.counts {
            *counts.entry(rule).or_insert(0) += count;
        }
    }
    println!("{counts:#?}");
    for rule in ["the right one survives", "one session", "back after a reset", "a pair has its session"] {
        assert!(counts.get(rule).is_some_and(|count| *count > 3), "too seldom: {rule} in {counts:?}");
    }
}
