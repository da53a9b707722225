//! Everything around the engine, in virtual time, and what it does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald::bgp::peer::{ConnId, Event};
use herald::config::Config;
use herald::engine::drain::Target;
use herald::engine::{Engine, Input, Notice};
use herald::rng::Rng;

use crate::backend::{Pool, Report, Run, Servers};
use crate::inspect::Wrong;
use crate::link::Link;
use crate::plan::{Plan, one_in};
use crate::router::{Answer, Router};
use crate::rules::{Oracle, Rules};
use crate::wire;

/// What happens by itself, at a time.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A worker ends a run.
    RunEnds(u64),
    /// TCP comes up, or does not.
    Dialled(Arc<str>, ConnId, bool),
    /// The kernel took octets.
    Sent(Arc<str>, ConnId),
    /// Octets of a router arrive.
    Arrive(Arc<str>, ConnId),
    /// A router's answer to an OPEN.
    Confirm(Arc<str>, ConnId),
    /// A router's keepalive timer.
    Keepalive(Arc<str>, ConnId),
    /// A router connects, and whether it tries again and again.
    Call(Arc<str>, bool),
    /// That connection arrives.
    Syn(Arc<str>),
    /// A router hangs up.
    HangUp(Arc<str>, ConnId),
    /// A router reads again.
    Resume(Arc<str>, ConnId),
    /// Herald must have ended the session by now.
    Overdue(Arc<str>, ConnId),
    /// In chaos: something breaks, or heals.
    Trouble,
    /// Seized workers come back.
    GiveBack(usize),
    /// Chaos begins or ends.
    Turn,
    /// The rules look at everything.
    Inspect,
}

pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) engine: Engine,
    pub(crate) plan: Plan,
    pub(crate) config: Arc<Config>,
    pub(crate) servers: Servers,
    pub(crate) pool: Pool,
    pub(crate) oracle: Oracle,
    pub(crate) rules: Rules,
    pub(crate) routers: BTreeMap<Arc<str>, Router>,
    /// Connections that somebody made to Herald.
    pub(crate) arrivals: u64,
    pub(crate) queue: BTreeMap<(Instant, u64), Happening>,
    serial: u64,
    pub(crate) runs: BTreeMap<u64, Run>,
    pub(crate) chaos: bool,
    /// Since when nothing from outside disturbs.
    pub(crate) calm_since: Instant,
    pub(crate) starved_until: Instant,
    /// Why a peer's session may fall in this step.
    pub(crate) reloaded: BTreeMap<Arc<str>, &'static str>,
    /// What an operator drains: tables are another story then.
    pub(crate) drained: BTreeSet<Target>,
    /// Another story, with a mind of its own: what was told is kept for it.
    pub(crate) judged_elsewhere: bool,
    pub(crate) log: Vec<(Instant, Notice)>,
    /// It stops for a restart, without a word.
    pub(crate) leaving: bool,
    pub(crate) stopping: Option<Instant>,
    pub(crate) stopped: Option<Instant>,
    /// VIPs that should be down, with the backends that make them so, and since when.
    pub(crate) dead: BTreeMap<herald::prefix::Prefix, (Wrong, Instant)>,
    pub(crate) dirty: bool,
    wakes: (Instant, u64),
    trace: DefaultHasher,
    verbose: bool,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, verbose: bool) -> World {
        World::with(seed, plan.config(), plan, verbose)
    }

    pub(crate) fn with(seed: u64, config: Arc<Config>, plan: Plan, verbose: bool) -> World {
        #[expect(clippy::disallowed_methods, reason = "read once; afterwards time is arithmetic")]
        let now = Instant::now();
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut world = World {
            start: now,
            now,
            engine: Engine::new(now, seed),
            servers: if plan.well { Servers::well() } else { Servers::new(&mut rng) },
            pool: Pool::new(&config),
            rng,
            plan,
            oracle: Oracle::default(),
            rules: Rules::default(),
            routers: BTreeMap::new(),
            arrivals: 0,
            queue: BTreeMap::new(),
            serial: 0,
            runs: BTreeMap::new(),
            chaos: false,
            calm_since: now,
            starved_until: now,
            reloaded: BTreeMap::new(),
            drained: BTreeSet::new(),
            judged_elsewhere: false,
            log: Vec::new(),
            leaving: false,
            stopping: None,
            stopped: None,
            dead: BTreeMap::new(),
            dirty: false,
            wakes: (now, 0),
            trace: DefaultHasher::new(),
            verbose,
            config: config.clone(),
        };
        world.oracle.configure(now, &config);
        world.note_truth(true);
        world.meet_routers(&config);
        world.engine.handle(now, Input::Configure(config));
        world.drain();
        world.at(Duration::from_millis(500), Happening::Inspect);
        world
    }

    /// A few words for whoever replays this seed; they go into the trace too.
    pub(crate) fn tell(&mut self, words: fmt::Arguments<'_>) {
        let at = self.now - self.start;
        let line = words.to_string();
        (at, &line).hash(&mut self.trace);
        if self.verbose {
            println!("{:10.3} {line}", at.as_secs_f64());
        }
    }

    /// Two runs are the same when this is.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.trace.finish()
    }

    /// For what is too much to print.
    pub(crate) fn record(&mut self, what: impl Hash) {
        (self.now - self.start).hash(&mut self.trace);
        what.hash(&mut self.trace);
    }

    pub(crate) fn at(&mut self, after: Duration, happening: Happening) {
        self.serial += 1;
        self.queue.insert((self.now + after, self.serial), happening);
    }

    /// Within so many milliseconds.
    pub(crate) fn soon(&mut self, millis: u64, happening: Happening) {
        let after = Duration::from_micros(self.rng.below(millis * 1000));
        self.at(after, happening);
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let ends = self.now + time;
        while self.now < ends {
            self.step();
        }
    }

    /// One turn of the driver's loop: everything that is there is handed over, then a due timeout, then the outputs
    /// are carried out. Results that ride along are read by any turn, and by a timeout at the latest.
    pub(crate) fn step(&mut self) {
        let due = self.engine.poll_timeout();
        let first = self.queue.first_key_value().map(|((at, _), _)| *at);
        let next = due.into_iter().chain(first).min().expect("the rules look again and again");
        self.now = self.now.max(next);
        self.reloaded.clear();
        let mut woken = false;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let happening = entry.remove();
            woken |= self.happen(happening);
        }
        let timeout = due.is_some_and(|due| due <= self.now);
        if woken || timeout {
            self.read_mailbox();
        }
        if timeout {
            self.engine.handle(self.now, Input::Timeout);
            self.count_wake();
        }
        if woken || timeout {
            self.drain();
        }
        if timeout {
            self.rules.count("no busy loop");
            let again = self.engine.poll_timeout();
            assert!(again.is_none_or(|at| at > self.now), "a timeout was handled and is due again");
        }
        self.check();
    }

    /// How often the loop may turn: a few times per run of a check, and per second for each peer.
    fn count_wake(&mut self) {
        let window = Duration::from_secs(10);
        if self.now >= self.wakes.0 + window {
            let runs: f64 = self.config.checks.iter().map(|c| 10.0 / c.timing.fast_interval.as_secs_f64()).sum();
            let limit = 50.0 + 4.0 * runs + 60.0 * self.routers.len() as f64;
            self.rules.count("bounded wakes");
            assert!(self.wakes.1 as f64 <= limit, "{} timeouts in {window:?}, at most {limit}", self.wakes.1);
            self.wakes = (self.now, 0);
        }
        self.wakes.1 += 1;
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            self.perform(output);
        }
    }

    pub(crate) fn read_mailbox(&mut self) {
        for report in std::mem::take(&mut self.pool.mailbox) {
            match report {
                Report::Started(ticket, at) => self.engine.handle(self.now, Input::ProbeStarted(ticket, at)),
                Report::Finished(ticket, outcome, timely) => {
                    self.oracle.result(self.now, ticket, outcome.passed, timely);
                    self.engine.handle(self.now, Input::ProbeFinished(ticket, outcome));
                }
            }
        }
    }

    /// Workers take what waits.
    pub(crate) fn work(&mut self) {
        if self.pool.is_starved() {
            self.starved_until = self.now;
        }
        while let Some(run) = self.pool.take(self.now, &self.servers, &mut self.rng, self.chaos) {
            if run.stuck {
                self.oracle.doubt(self.now, run.request.ticket);
                let target = run.request.probe.target;
                self.tell(format_args!("a worker is stuck with {target}"));
            }
            let ends = run.ends - self.now;
            self.serial += 1;
            let serial = self.serial;
            self.runs.insert(serial, run);
            self.at(ends, Happening::RunEnds(serial));
        }
    }

    /// Says whether the loop is woken.
    fn happen(&mut self, happening: Happening) -> bool {
        match happening {
            Happening::RunEnds(serial) => return self.end_run(serial),
            Happening::Dialled(name, conn, up) => self.dialled(&name, conn, up),
            Happening::Sent(name, conn) => {
                if let Some(link) = self.link(&name, conn) {
                    let octets = std::mem::take(&mut link.unreported);
                    self.input(&name, conn, Event::Sent(octets));
                }
            }
            Happening::Arrive(name, conn) => self.arrive(&name, conn),
            Happening::Confirm(name, conn) => {
                if let Some(link) = self.link(&name, conn).filter(|link| link.is_alive()) {
                    link.answered = true;
                    self.say(&name, conn, &wire::message(wire::KEEPALIVE, &[]));
                }
            }
            Happening::Keepalive(name, conn) => self.keep_alive(&name, conn),
            Happening::Call(name, regular) => self.call(&name, regular),
            Happening::Syn(name) => self.syn(&name),
            Happening::HangUp(name, conn) => self.hang_up(&name, conn),
            Happening::Resume(name, conn) => {
                let now = self.now;
                if let Some(link) = self.link(&name, conn) {
                    link.start_reading(now);
                    let sips = link.sips.is_some();
                    link.sips = link.sips.and(Some(1));
                    self.pump(&name, conn);
                    if sips {
                        self.at(Duration::from_secs(1), Happening::Resume(name, conn));
                    }
                }
            }
            Happening::Overdue(name, conn) => {
                let open = self.link(&name, conn).is_some_and(|link| link.cause.is_some());
                assert!(!open, "{name}: the session should have been ended by now");
                return false;
            }
            Happening::Trouble => {
                self.trouble();
                return true;
            }
            Happening::GiveBack(workers) => {
                self.pool.give_back(workers);
                self.starved_until = self.now;
                self.work();
                return false;
            }
            Happening::Turn => {
                self.turn();
                return false;
            }
            Happening::Inspect => {
                self.inspect();
                self.at(Duration::from_secs(1), Happening::Inspect);
                return false;
            }
        }
        true
    }

    fn end_run(&mut self, serial: u64) -> bool {
        let run = self.runs.remove(&serial).expect("each run ends once");
        let prompt = self.pool.end(&run);
        if !run.stuck && self.oracle.decides(run.request.ticket, run.outcome.passed) {
            self.rules.count("a verdict wakes the loop");
            assert!(prompt, "a result that makes a verdict was to ride along: {run:?}");
        }
        self.work();
        prompt
    }

    /// Chaos and calm take turns.
    pub(crate) fn turn(&mut self) {
        self.chaos = !self.chaos;
        self.calm_since = self.now;
        self.tell(format_args!("--- {}", if self.chaos { "chaos" } else { "calm" }));
        let lasts = if self.chaos { 30 + self.rng.below(60) } else { 90 };
        self.at(Duration::from_secs(lasts), Happening::Turn);
        if self.chaos {
            self.soon(2000, Happening::Trouble);
        }
    }

    fn trouble(&mut self) {
        if !self.chaos || self.stopping.is_some() {
            return;
        }
        self.soon(3000, Happening::Trouble);
        match self.rng.below(12) {
            0..4 => {
                let (host, server) = self.servers.flip(&mut self.rng);
                self.tell(format_args!("{host} {server:?}"));
                self.note_truth(false);
            }
            4 if one_in(&mut self.rng, 2) => {
                let workers = self.pool.workers();
                self.pool.seize(workers);
                self.tell(format_args!("no worker is free"));
                let after = Duration::from_secs(5 + self.rng.below(25));
                self.at(after, Happening::GiveBack(workers));
            }
            4 => self.input_plain(Input::CheckNow),
            5 | 6 => self.reload(),
            _ => self.trouble_a_router(),
        }
    }

    pub(crate) fn input_plain(&mut self, input: Input<'_>) {
        self.read_mailbox();
        self.engine.handle(self.now, input);
    }

    pub(crate) fn input(&mut self, name: &str, conn: ConnId, event: Event<'_>) {
        let peer = self.routers[name].peer.expect("it has a connection");
        self.input_plain(Input::Peer(peer, conn, event));
    }

    /// The connection, if it is still this one.
    pub(crate) fn link(&mut self, name: &str, conn: ConnId) -> Option<&mut Link> {
        self.routers.get_mut(name)?.find(conn)
    }

    /// Lets bytes flow to a router, and the router answer.
    pub(crate) fn pump(&mut self, name: &Arc<str>, conn: ConnId) {
        let Some(router) = self.routers.get_mut(name) else { return };
        let before = self.rules.updates;
        let (taken, answers) = router.pump(conn, self.now, &mut self.rules);
        let (hold, lag) = (router.hold(), router.traits.lag);
        let Some(link) = router.find(conn) else { return };
        link.unreported += taken;
        if taken > 0 {
            self.at(Duration::ZERO, Happening::Sent(name.clone(), conn));
        }
        self.dirty |= self.rules.updates > before;
        for answer in answers {
            match answer {
                Answer::Say(bytes) => self.say(name, conn, &bytes),
                Answer::Confirm => self.soon(1 + lag, Happening::Confirm(name.clone(), conn)),
                Answer::GiveUp(loser) => self.give_up(name, loser, "another one has won", &[6, 7]),
                Answer::Refuse(words) => self.give_up(name, conn, "refuses a capability", &words),
                Answer::Established if hold.is_zero() => {}
                Answer::Established => self.at(hold / 3, Happening::Keepalive(name.clone(), conn)),
            }
        }
    }

    /// A router sends something.
    pub(crate) fn say(&mut self, name: &Arc<str>, conn: ConnId, bytes: &[u8]) {
        if let Some(link) = self.link(name, conn) {
            link.inflight.extend(bytes);
            let lag = self.routers[name].traits.lag;
            self.soon(lag, Happening::Arrive(name.clone(), conn));
        }
    }

    /// Octets arrive, cut anywhere.
    fn arrive(&mut self, name: &Arc<str>, conn: ConnId) {
        let whole = !one_in(&mut self.rng, 3);
        let cut = self.rng.bits();
        let Some(link) = self.link(name, conn) else { return };
        let all = link.inflight.len();
        let count = if whole || all == 0 { all } else { 1 + (cut % all as u64) as usize };
        let bytes: Vec<u8> = link.inflight.drain(..count).collect();
        if !bytes.is_empty() {
            self.input(name, conn, Event::Bytes(&bytes));
        }
        if count < all {
            self.soon(20, Happening::Arrive(name.clone(), conn));
        }
    }

    fn keep_alive(&mut self, name: &Arc<str>, conn: ConnId) {
        let Some(hold) = self.routers.get(name).map(Router::hold) else { return };
        if self.link(name, conn).is_some_and(|link| !link.silent) {
            self.say(name, conn, &wire::message(wire::KEEPALIVE, &[]));
            self.at(hold / 3, Happening::Keepalive(name.clone(), conn));
        }
    }
}
