//! Routers that stand still, and what they must not cost: memory, and the others' time.

use std::sync::Arc;
use std::time::Duration;

use herald::rng::Rng;

use crate::backend::Server;
use crate::cases::{HEAD, SECOND, service};
use crate::plan::read;
use crate::rules::Rules;
use crate::world::{Happening, World};

/// What is wrong with the router named `bad`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ill {
    /// Keeps the session up, and reads nothing any more.
    ReadsNothing,
    /// Reads an octet a second.
    Sips,
    /// Takes the connection, and never says a word.
    Mute,
    /// Answers no SYN.
    Absent,
}

/// RFC 9687 §3.3: the greater of 8 minutes and twice the hold time.
const SEND_HOLD: u64 = 480;
/// What the change of a server takes at most to reach a router: two checks a second apart, and what is on its way.
const NEWS: Duration = Duration::from_secs(4);

fn config() -> String {
    let mut text = HEAD.to_owned();
    for (name, address) in [("bad", 2), ("other", 3)] {
        let rest = "peer_as = 65000\nhold_time = \"9s\"\nnext_hop_ipv6 = \"fd00:99:1::2\"\n";
        text.insert_str(
            text.find("[checks").expect("it has some"),
            &format!("[[bgp.peer]]\nname = \"{name}\"\naddress = \"10.0.0.{address}\"\n{rest}"),
        );
    }
    text + &service("web", "[\"192.0.2.1\"]", 1, "10.1.0.1") + &service("mail", "[\"2001:db8::1\"]", 2, "10.1.0.2")
}

impl World {
    /// Flips the servers for so long; all but `bad` hear of it in time.
    fn flap(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for (host, vip) in [("10.1.0.1", "192.0.2.1"), ("10.1.0.2", "2001:db8::1")] {
                let well = self.rng.below(2) == 0;
                self.servers.set(host, if well { Server::Answers(5) } else { Server::Refuses });
                self.note_truth(false);
                self.run(NEWS);
                for (name, router) in self.routers.iter().filter(|(name, _)| &***name != "bad") {
                    let link = router.link().filter(|link| link.established);
                    let link = link.unwrap_or_else(|| panic!("{name} has no session"));
                    let held = link.routes.contains_key(&vip.parse().unwrap());
                    self.rules.count("others are not delayed");
                    assert_eq!(held, well, "{name} and {vip}, {NEWS:?} later");
                }
            }
        }
    }

    /// From now on; says how the session must end, and after how many seconds at the earliest and at the latest.
    fn fall_ill(&mut self, ill: Ill) {
        let name: Arc<str> = "bad".into();
        let router = self.routers.get_mut(&name).expect("it is configured");
        router.traits.window = 64;
        let link = router.link_mut().expect("it is connected");
        let conn = link.conn;
        match ill {
            Ill::ReadsNothing => {
                (link.stalled, link.cause, link.expected) = (true, Some("reads nothing"), &[(8, 0)]);
                self.at(Duration::from_secs(SEND_HOLD + 20), Happening::Overdue(name, conn));
            }
            Ill::Sips => {
                link.sips = Some(1);
                link.cause = Some("sips");
                self.at(SECOND, Happening::Resume(name, conn));
            }
            Ill::Mute | Ill::Absent => {}
        }
    }
}

fn story(seed: u64, ill: Ill) -> Rules {
    let mut world = crate::cases::world(seed, read(config()));
    for router in world.routers.values_mut() {
        (router.traits.hold, router.traits.families, router.traits.refuses) = (9, Some([true, true]), None);
    }
    let bad = world.routers.get_mut("bad").expect("it is configured");
    (bad.traits.mute, bad.traits.absent) = (ill == Ill::Mute, ill == Ill::Absent);
    world.run(10 * SECOND);
    world.fall_ill(ill);
    world.flap(Duration::from_secs(SEND_HOLD - 30));
    let before = world.routers["bad"].losses;
    world.flap(100 * SECOND);
    let router = &world.routers["bad"];
    let ended = router.losses - before;
    match ill {
        // The stream stood still from its first flap on.
        Ill::ReadsNothing => {
            world.rules.count("send hold timer");
            assert_eq!((before, ended, router.last_words), (0, 1, Some((8, 0))));
        }
        // RFC 9687 §3: what moves at all is no reason to end it.
        Ill::Sips => {
            world.rules.count("a slow reader keeps its session");
            assert_eq!((before, ended), (0, 0));
        }
        // RFC 4271 §8.2.2: four minutes for an OPEN, and then again.
        Ill::Mute => {
            world.rules.count("no OPEN");
            assert_eq!((before, router.last_words), (1, Some((4, 0))));
        }
        Ill::Absent => {
            world.rules.count("no answer");
            assert!(before > 10, "{before} attempts");
        }
    }
    world.rules
}

#[test]
fn who_stands_still_costs_the_others_nothing() {
    let mut rng = Rng::new(7);
    for seed in 0..crate::number("SIM_SEEDS").unwrap_or(4) {
        let ill = [Ill::ReadsNothing, Ill::Sips, Ill::Mute, Ill::Absent][(seed % 4) as usize];
        let rules = story(seed ^ rng.bits() << 8, ill);
        assert!(rules.counts["others are not delayed"] > 200, "{ill:?}: {:?}", rules.counts);
    }
}
