//! Drains: what they refuse, keep and survive.

use super::*;
use crate::engine::drain::{Drain, DrainAnswer, Drains, Target};
use crate::wall::WallClock;

/// A wall clock that shows the beginning of 2026 now.
fn clock(world: &World) -> WallClock {
    WallClock::new(world.now, Duration::from_secs(1_767_225_600))
}

impl World {
    fn drain(&mut self, clock: &WallClock, target: &str, time: Option<Duration>) -> Result<DrainAnswer, String> {
        let since = clock.timestamp(self.now);
        let drain =
            Drain { reason: Some("works".to_owned()), by: None, since, until: time.map(|time| since.after(time)) };
        let answer = self.engine.drain(self.now, clock, &target.parse().unwrap(), drain);
        self.input(Input::Timeout);
        answer
    }

    fn vip_state(&self) -> VipState {
        self.engine.announce.vip(&"192.0.2.1".parse().unwrap()).unwrap().state
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
            assert!(self.engine.poll_timeout().is_none_or(|at| at > self.now), "a busy loop");
        }
        self.now = end;
    }
}

#[test]
fn texts_mean_targets_both_ways() {
    for text in [
        "all",
        "192.0.2.1/32",
        "2001:db8::/48",
        "web",
        "web/10.1.0.1:80",
        "web/[fd00::1]:80",
        "peer/tor-a",
        "peer/fe80::1%eth0",
    ] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
    assert_eq!("192.0.2.1".parse::<Target>().unwrap().to_string(), "192.0.2.1/32");
    assert_eq!("peer/10.0.0.1".parse(), Ok(Target::Peer("10.0.0.1".to_owned())));
}

#[test]
fn a_drain_ends_in_its_time_and_a_later_word_counts() {
    let mut world = World::new(config("tor", ""));
    let wall = clock(&world);
    assert_eq!(world.vip_state(), VipState::Announced);
    assert!(world.drain(&wall, "192.0.2.1", Some(60 * SECOND)).unwrap().changed);
    world.run(10 * SECOND);
    assert_eq!(world.vip_state(), VipState::Drained);
    world.run(45 * SECOND);
    // Drained again, with another end: still since the first word.
    let answer = world.drain(&wall, "192.0.2.1", Some(60 * SECOND)).unwrap();
    assert!(answer.changed && answer.text.contains("is drained already, since 2026-01-01T00:00:00"), "{answer:?}");
    world.run(59 * SECOND);
    assert_eq!(world.vip_state(), VipState::Drained);
    world.run(SECOND);
    assert_eq!(world.vip_state(), VipState::Announced);
    assert_eq!(world.engine.drains(), &Drains::default());
    assert_eq!(world.reasons.last().unwrap(), "192.0.2.1/32: all services are up");
    assert!(world.reasons.contains(&"192.0.2.1/32: drained: works".to_owned()), "{:?}", world.reasons);
}

#[test]
fn drains_survive_a_restart_as_text() {
    let mut world = World::new(config("tor", ""));
    let wall = clock(&world);
    world.drain(&wall, "web", None).unwrap();
    world.drain(&wall, "peer/tor", Some(60 * SECOND)).unwrap();
    world.drain(&wall, "web/10.1.0.1:80", Some(SECOND)).unwrap();
    let saved = serde_json::to_string(world.engine.drains()).unwrap();
    assert!(saved.contains(r#""peer/tor":{"reason":"works","#), "{saved}");

    let mut after = World::new(Arc::default());
    after.now += 10 * SECOND;
    let wall = WallClock::new(after.now, wall.timestamp(world.now).after(10 * SECOND).since_epoch());
    after.engine.restore_drains(after.now, &wall, serde_json::from_str(&saved).unwrap());
    after.input(Input::Configure(config("tor", "")));
    after.input(Input::Timeout);
    assert_eq!(after.vip_state(), VipState::Drained, "and never announced");
    let targets: Vec<String> = after.engine.drains().iter().map(|(target, _)| target.to_string()).collect();
    assert_eq!(targets, ["web", "peer/tor"], "what has ended meanwhile is left");
    assert!(after.engine.speaker.peer_named("tor").unwrap().status().drained);
    after.run(50 * SECOND);
    assert!(!after.engine.speaker.peer_named("tor").unwrap().status().drained, "by the wall clock");
}

#[test]
fn a_session_with_a_drained_peer_says_only_that_it_is_all() {
    let mut world = World::new(config("tor", ""));
    let wall = clock(&world);
    world.drain(&wall, "peer/tor", None).unwrap();
    world.establish();
    world.run(SECOND);
    let updates: Vec<_> = world.sent.iter().filter(|message| matches!(message, Message::Update(_))).collect();
    assert_eq!(updates.len(), 2, "an End-of-RIB for each family: {updates:?}");
}

#[test]
fn what_is_refused() {
    let mut world = World::new(config("tor", ""));
    let wall = clock(&world);
    assert_eq!(
        world.drain(&wall, "wbe", None).unwrap_err(),
        "there is nothing called `wbe` to drain; did you mean `web`?"
    );
    assert!(world.engine.undrain(world.now, &Target::Service("wbe".to_owned()), None).is_err());
    assert!(!world.engine.undrain(world.now, &Target::All, None).unwrap().changed);
    world.input(Input::Stop("x".to_owned()));
    assert_eq!(world.drain(&wall, "all", None).unwrap_err(), "herald is stopping");
}
