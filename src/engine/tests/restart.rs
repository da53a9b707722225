//! Restarts: what is told when, and what the state file says meanwhile.

use std::collections::BTreeMap;

use super::*;
use crate::announce::Remembered;
use crate::bgp::update::Update;
use crate::engine::data_plane_job::DataPlaneOutcome;
use crate::engine::saved::Saved;
use crate::health::ProbeOutcome;
use crate::wall::WallClock;

/// VIPs 192.0.2.1 to .4, each with a service on backend 10.1.0.1 to .4, and a start-up deadline of 5 seconds.
fn config() -> Arc<Config> {
    let service = |n| {
        format!(
            "[[service]]\nname = \"s{n}\"\nvips = [\"192.0.2.{n}\"]\nport = 80\n\
             check = [{{ type = \"tcp\", rise = 1, fall = 1 }}]\n[[service.backend]]\naddress = \"10.1.0.{n}\"\n"
        )
    };
    let services: String = (1..=4).map(service).collect();
    let text = format!(
        "[daemon]\nshutdown_drain = \"0\"\nstartup_deadline = \"5s\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.2\"\n\
         graceful_restart = {{}}\n[[bgp.peer]]\nname = \"tor\"\naddress = \"10.0.0.1\"\npeer_as = 65000\n\
         families = [\"ipv4\"]\n{services}\
         [[vip]]\naddress = \"192.0.2.1\"\nhold_up = \"60s\"\n\
         [[vip]]\naddress = \"192.0.2.4\"\nhold_up = \"60s\"\non_down = \"degrade\"\ndegraded = {{ med = 7 }}\n"
    );
    Arc::new(config::parse(&[Source { name: "test".into(), text }]).unwrap())
}

fn vip(n: u8) -> Prefix {
    Prefix::from(std::net::Ipv4Addr::from([192, 0, 2, n]))
}

/// A daemon that announced 192.0.2.1 to .3, .4 as degraded, and .9, which is configured no more.
fn resumed() -> World {
    resumed_with(config())
}

fn resumed_with(config: Arc<Config>) -> World {
    let now = crate::timers::origin();
    let state = |n| if n == 4 { VipState::Degraded } else { VipState::Announced };
    let remembered = |n| (vip(n), Remembered { state: state(n), since: now.checked_sub(n as u32 * SECOND) });
    let remembered: BTreeMap<_, _> = [1, 2, 3, 4, 9].map(remembered).into();
    let mut world = World::begin(now, Engine::resume(now, 1, remembered), config);
    world.input(Input::CheckNow);
    world
}

/// A router that keeps routes, with or without RFC 8538.
fn helper(notification: bool) -> [Capability; 1] {
    [Capability::Other(64, vec![if notification { 0x40 } else { 0 }, 120])]
}

impl World {
    /// The check of this VIP has this result.
    fn verdict(&mut self, n: u8, passed: bool) {
        let of_vip = |request: &ProbeRequest| request.probe.target.ip() == std::net::Ipv4Addr::from([10, 1, 0, n]);
        let at = self.probes.iter().position(of_vip).expect("it is being checked");
        let ticket = self.probes.remove(at).ticket;
        self.input(Input::ProbeStarted(ticket, self.now));
        let outcome = ProbeOutcome::new(passed, "", Duration::ZERO);
        self.input(Input::ProbeFinished(ticket, outcome));
    }

    /// What the router has been told since the last look.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for message in std::mem::take(&mut self.sent) {
            match message {
                Message::Update(body) => {
                    let update = Update::decode(&body, true, true).unwrap();
                    told.extend(update.withdrawn.iter().map(|prefix| format!("-{prefix}")));
                    for (attributes, prefixes) in &update.announced {
                        let med = attributes.med.map(|med| format!(" med {med}")).unwrap_or_default();
                        told.extend(prefixes.iter().map(|prefix| format!("+{prefix}{med}")));
                    }
                    if told.is_empty() || update.withdrawn.is_empty() && update.announced.is_empty() {
                        told.push("end".to_owned());
                    }
                }
                Message::Notification(notification) => told.push(notification.to_string()),
                _ => {}
            }
        }
        told
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    fn saved(&self) -> Saved {
        self.engine.saved(&WallClock::new(self.now, 1_767_225_600 * SECOND), "boot")
    }

    /// What the state file says stands announced.
    fn standing(&self) -> String {
        let saved = self.saved();
        let line = |vip: &crate::engine::saved::SavedRoute| {
            let age = self.saved().written.since_epoch() - vip.since.since_epoch();
            format!("{} {:?} {}s", vip.address, vip.state, age.as_secs())
        };
        saved.vips.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn every_verdict_counts_at_once_and_end_of_rib_waits_for_all() {
    let mut world = resumed();
    world.establish_with(&helper(false));
    assert_eq!(world.told(), ["-192.0.2.9/32"], "what is configured no more");
    let before =
        "192.0.2.1/32 Announced 1s, 192.0.2.2/32 Announced 2s, 192.0.2.3/32 Announced 3s, 192.0.2.4/32 Degraded 4s";
    assert_eq!(world.standing(), before, "a crash now forgets nothing");
    world.verdict(1, true);
    assert_eq!(world.told(), ["+192.0.2.1/32"], "no hold_up for what was announced");
    world.verdict(2, false);
    assert_eq!(world.told(), ["-192.0.2.2/32"]);
    // Healthy, but degraded before: that it stays until its hold_up is over.
    world.verdict(4, true);
    assert_eq!(world.told(), ["+192.0.2.4/32 med 7"]);
    let wait = world.engine.status(&WallClock::new(world.now, SECOND)).wait.unwrap();
    assert_eq!((wait.after_restart, wait.undecided, &wait.vips[..]), (true, 1, &["192.0.2.3/32".to_owned()][..]));
    let standing = "192.0.2.1/32 Announced 1s, 192.0.2.3/32 Announced 3s, 192.0.2.4/32 Degraded 4s";
    assert_eq!(world.standing(), standing, "and since when they are so is not news");
    world.wait(4 * SECOND);
    assert_eq!(world.told(), [""; 0]);
    // Without a verdict at the deadline, and so not announced.
    world.wait(SECOND);
    assert_eq!(world.told(), ["-192.0.2.3/32", "end"]);
    assert!(world.engine.status(&WallClock::new(world.now, SECOND)).wait.is_none());
    world.verdict(3, true);
    assert_eq!(world.told(), ["+192.0.2.3/32"]);
}

#[test]
fn with_all_verdicts_in_time_end_of_rib_follows_the_last() {
    let mut world = resumed();
    world.establish_with(&helper(false));
    (1..=3).for_each(|n| world.verdict(n, true));
    world.told();
    world.verdict(4, false);
    assert_eq!(world.told(), ["+192.0.2.4/32 med 7", "end"]);
    // The restart is over: hold_up counts again.
    world.wait(SECOND);
    world.verdict(1, false);
    world.wait(SECOND);
    world.verdict(1, true);
    assert_eq!(world.told(), ["-192.0.2.1/32"]);
}

#[test]
fn a_reload_during_the_wait_changes_what_is_waited_for() {
    let mut world = resumed();
    world.establish_with(&helper(false));
    (1..=2).for_each(|n| world.verdict(n, true));
    world.told();
    let mut fewer = Config::clone(&config());
    fewer.services.truncate(2);
    fewer.vips.retain(|prefix, _| *prefix < vip(3));
    world.input(Input::Configure(Arc::new(fewer)));
    assert_eq!(world.told(), ["-192.0.2.3/32", "-192.0.2.4/32", "end"]);
}

/// What waits for its data plane, and is configured no more, is not waited for.
#[test]
fn end_of_rib_does_not_wait_for_what_is_removed() {
    let mut config = Config::clone(&config());
    config.hooks = hooks();
    let mut world = resumed_with(Arc::new(config.clone()));
    world.establish_with(&helper(false));
    (1..=4).for_each(|n| world.verdict(n, true));
    config.services.truncate(1);
    config.vips.retain(|prefix, _| *prefix == vip(1));
    world.input(Input::Configure(Arc::new(config)));
    assert_eq!(world.told(), ["-192.0.2.9/32", "-192.0.2.2/32", "-192.0.2.3/32", "-192.0.2.4/32"]);
    let job = world.steps.iter().find_map(|step| match step {
        ground::Step::DataPlane(job) => Some((job.id, job.vip)),
        _ => None,
    });
    let (id, of) = job.unwrap();
    assert_eq!(of, vip(1));
    world.input(Input::DataPlaneDone(DataPlaneOutcome { id, vip: of, result: Ok(()), took: SECOND }));
    assert_eq!(world.told(), ["+192.0.2.1/32", "end"]);
}

/// With a data plane.
fn hooks() -> config::Hooks {
    let text =
        "[hooks]\ndata_plane = \"/bin/lb\"\n[[service]]\nname = \"x\"\nvips = [\"192.0.2.1\"]\nport = 1\nchecks = []\n";
    config::parse(&[Source { name: "test".into(), text: text.to_owned() }]).unwrap().hooks
}

/// Routers keep the routes while the data plane is being readied, also those of VIPs that depend on such a one.
#[test]
fn end_of_rib_waits_for_the_data_plane() {
    let mut config = Config::clone(&config());
    let vips = config.vips.iter_mut().filter(|(prefix, _)| **prefix >= vip(3));
    vips.for_each(|(_, on)| on.depends_on.push(config::Dependency::Vip(vip(2))));
    config.hooks = hooks();
    for reloaded in [false, true] {
        let mut world = resumed_with(Arc::new(config.clone()));
        world.establish_with(&helper(false));
        assert_eq!(world.told(), ["-192.0.2.9/32"]);
        (1..=4).for_each(|n| world.verdict(n, true));
        assert_eq!(world.told(), [""; 0], "the data plane is not ready for any of them");
        let mut told = Vec::new();
        while told.last().is_none_or(|last| last != "end") {
            if reloaded {
                world.input(Input::Configure(Arc::new(config.clone())));
            }
            let ground::Step::DataPlane(job) = world.steps.remove(0) else { continue };
            let (id, vip) = (job.id, job.vip);
            world.input(Input::DataPlaneDone(DataPlaneOutcome { id, vip, result: Ok(()), took: SECOND }));
            told.extend(world.told());
        }
        let expected = ["+192.0.2.1/32", "+192.0.2.2/32", "+192.0.2.3/32", "+192.0.2.4/32 med 7", "end"];
        assert_eq!(told, expected);
    }
}

/// A covering prefix is decided upon when what is known of its members will do, whichever way.
#[test]
fn an_aggregate_is_told_when_it_is_known_and_kept_until_then() {
    let with = |required: u32| {
        let base = config();
        let members = base.vips.keys().copied().collect();
        let mut config = Config::clone(&base);
        let required = config::Required::Backends(required);
        let attributes = Arc::default();
        let covering = Prefix::covering(vip(0).address(), 24);
        config.aggregates.insert(covering, config::Aggregate { members, required, attributes, via: config::Via::BGP });
        Arc::new(config)
    };
    let start = |required| {
        let now = crate::timers::origin();
        let announced = Remembered { state: VipState::Announced, since: now.checked_sub(9 * SECOND) };
        let remembered = [(Prefix::covering(vip(0).address(), 24), announced)].into();
        let mut world = World::begin(now, Engine::resume(now, 1, remembered), with(required));
        world.input(Input::CheckNow);
        world.establish_with(&helper(false));
        world.told();
        world
    };
    let mut world = start(2);
    world.verdict(2, true);
    assert_eq!(world.told(), ["+192.0.2.2/32"], "one member is not enough, and others may be");
    assert_eq!((world.saved().aggregates.len(), world.saved().vips.len()), (1, 1));
    world.verdict(3, true);
    assert_eq!(world.told(), ["+192.0.2.0/24", "+192.0.2.3/32"]);
    assert_eq!(world.saved().aggregates.len(), 1);
    let mut world = start(3);
    world.verdict(2, false);
    assert_eq!(world.told(), [""; 0]);
    world.verdict(3, false);
    assert_eq!(world.told(), ["-192.0.2.0/24"], "the other two are too few");
    assert_eq!(world.saved().aggregates, []);
    // Undecided at the deadline.
    let mut world = start(1);
    world.wait(5 * SECOND);
    assert_eq!(world.told(), ["-192.0.2.0/24", "end"]);
}

#[test]
fn a_stop_for_a_restart_says_nothing_and_remembers_all() {
    let mut world = resumed();
    world.establish_with(&helper(true));
    world.verdict(1, true);
    world.told();
    assert_eq!(world.engine.heirs().keep, ["tor".into()]);
    let saved = world.saved();
    assert_eq!((saved.stopped, saved.vips.len(), saved.peers.len()), (false, 4, 1));
    world.input(Input::Leave);
    assert!(world.stopped);
    assert_eq!(world.told(), [""; 0]);
    assert!(!world.saved().stopped && world.engine.poll_timeout().is_none_or(|at| at > world.now));
    // Too late to change one's mind.
    world.input(Input::StopAtOnce("x".to_owned()));
    world.input(Input::Stop("x".to_owned()));
    assert_eq!(world.told(), [""; 0]);
}

#[test]
fn a_stop_for_good_leaves_nothing_to_go_on_from() {
    for (notification, goodbye) in [
        (false, "Cease/Administrative Shutdown: \"bye\""),
        (true, "Cease/Hard Reset (Cease/Administrative Shutdown: \"bye\")"),
    ] {
        let mut world = resumed();
        world.establish_with(&helper(notification));
        world.verdict(1, true);
        world.told();
        world.input(Input::Stop("bye".to_owned()));
        assert_eq!(world.told(), ["-192.0.2.1/32", goodbye]);
        assert!(world.stopped && world.saved().stopped);

        let mut world = resumed();
        world.establish_with(&helper(notification));
        world.verdict(1, true);
        world.told();
        world.input(Input::StopAtOnce("bye".to_owned()));
        assert_eq!(world.told(), [goodbye]);
        assert!(world.stopped && world.saved().stopped);
    }
}

/// A daemon without graceful restart: what it knows it has from the state file alone.
fn informed(saved: &Saved, away: Duration, config: Arc<Config>) -> World {
    let now = crate::timers::origin() + away;
    let clock = WallClock::new(now, saved.written.since_epoch() + away);
    let mut engine = Engine::new(now, 1);
    engine.inform(now, &clock, saved);
    World::begin(now, engine, config)
}

fn with_hold(hold: &str) -> Arc<Config> {
    let text = format!(
        "[daemon]\nstartup_deadline = \"5s\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.2\"\n\
         [[bgp.peer]]\nname = \"tor\"\naddress = \"10.0.0.1\"\npeer_as = 65000\nfamilies = [\"ipv4\"]\n\
         [[service]]\nname = \"s1\"\nvips = [\"192.0.2.1\"]\nport = 80\n\
         check = [{{ type = \"tcp\", rise = 3, fall = 2 }}]\n[[service.backend]]\naddress = \"10.1.0.1\"\n\
         [[vip]]\naddress = \"192.0.2.1\"\n{hold}\n"
    );
    Arc::new(config::parse(&[Source { name: "test".into(), text }]).unwrap())
}

impl World {
    /// The only check has this result, so many times.
    fn results(&mut self, passed: bool, times: usize) {
        for _ in 0..times {
            while self.probes.is_empty() {
                self.wait(Duration::from_millis(100));
            }
            self.verdict(1, passed);
        }
    }

    fn vip_now(&self) -> (VipState, Duration) {
        let status = self.engine.announce.vip(&vip(1)).unwrap();
        (status.state, self.now - status.since)
    }
}

#[test]
fn a_restart_announces_what_was_healthy_at_once() {
    let config = with_hold("hold_up = \"60s\"");
    let now = crate::timers::origin();
    let mut before = World::begin(now, Engine::new(now, 1), config.clone());
    before.results(true, 3);
    before.wait(61 * SECOND);
    assert_eq!(before.vip_now().0, VipState::Announced);
    let saved = before.saved();
    // What was announced is, and has been; nobody waits for `rise` or for `hold_up`.
    let after = informed(&saved, 30 * SECOND, config.clone());
    let (state, age) = after.vip_now();
    assert_eq!(state, VipState::Announced);
    assert!(age >= 30 * SECOND, "{age:?}");
    assert!(after.engine.announce.is_released());
    // It has died meanwhile: announced, then withdrawn after `fall`.
    let mut after = informed(&saved, SECOND, config.clone());
    after.results(false, 1);
    assert_eq!(after.vip_now().0, VipState::Announced);
    after.results(false, 1);
    assert_eq!(after.vip_now().0, VipState::Withdrawn);
    // Without the file everything takes its time.
    let mut fresh = World::begin(now, Engine::new(now, 1), config);
    assert_eq!(fresh.vip_now().0, VipState::Holding);
    fresh.results(true, 3);
    assert_eq!(fresh.vip_now().0, VipState::Holding, "hold_up");
}

#[test]
fn holds_and_penalties_go_on_after_a_restart() {
    let damping = "hold_down = { initial = \"10s\", max = \"80s\", reset_after = \"10m\" }\n\
                   damping = { penalty = 1000, suppress = 1500, reuse = 500, half_life = \"30s\" }";
    let config = with_hold(damping);
    let now = crate::timers::origin();
    let mut before = World::begin(now, Engine::new(now, 1), config.clone());
    before.results(true, 3);
    before.results(false, 2);
    before.results(true, 3);
    before.wait(11 * SECOND);
    assert_eq!(before.vip_now().0, VipState::Announced);
    before.results(false, 2);
    before.results(true, 3);
    assert_eq!(before.vip_now().0, VipState::Suppressed);
    let until = |world: &World| world.engine.announce.vip(&vip(1)).unwrap().cause.until().unwrap() - world.now;
    let waits = until(&before);
    let after = informed(&before.saved(), 10 * SECOND, config.clone());
    assert_eq!(after.vip_now().0, VipState::Suppressed);
    let left = until(&after);
    // The file has times to the millisecond.
    assert!(left <= waits - 9 * SECOND && left + 11 * SECOND >= waits, "{waits:?} {left:?}");
    let mut after = informed(&before.saved(), waits, config);
    after.wait(SECOND);
    assert_eq!(after.vip_now().0, VipState::Announced);
    // The third fall in a row.
    after.results(false, 2);
    let (down, _) = (after.vip_now(), after.results(true, 3));
    assert_eq!(down.0, VipState::Withdrawn);
    assert!(until(&after) > 30 * SECOND, "{:?}", until(&after));
}

#[test]
fn one_broken_entry_costs_one_verdict() {
    let config = with_hold("");
    let now = crate::timers::origin();
    let mut before = World::begin(now, Engine::new(now, 1), config.clone());
    before.results(true, 3);
    let text = before.saved().text();
    assert!(text.contains("\"checks\": [") && text.contains("\"passing\": true"), "{text}");
    let broken =
        text.replace("\"checks\": [", "\"checks\": [7, {\"check\": 1}, {\"check\": \"x\", \"passing\": \"yes\"},");
    let saved = Saved::parse(broken.as_bytes()).unwrap();
    assert_eq!((saved.checks.len(), saved.vips.len()), (1, 1));
    assert_eq!(informed(&saved, SECOND, config.clone()).vip_now().0, VipState::Announced);
    for other in ["\"checks\": 7, \"x\": [", "\"checks\": {}, \"x\": [", "\"checks\": null, \"x\": ["] {
        let saved = Saved::parse(text.replace("\"checks\": [", other).as_bytes()).unwrap();
        assert_eq!((saved.checks.len(), saved.vips.len()), (0, 1), "{other}");
    }
    // What has not happened yet has happened now.
    let future = text.replace("\"since\": \"2026", "\"since\": \"2099");
    assert_ne!(future, text);
    let world = informed(&Saved::parse(future.as_bytes()).unwrap(), SECOND, config);
    assert_eq!(world.vip_now().0, VipState::Announced);
}
