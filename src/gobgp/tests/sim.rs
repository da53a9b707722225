//! Seeded: routes come and go, gobgpd restarts, stops and refuses, octets are late and cut anywhere. In the end its table is
//! what is wanted, and nobody else's route has been touched. `SIM_SEED=n` replays one, `SIM_SEEDS=n` widens; they are read
//! when this is compiled, for nothing here asks the world at run time.

use super::*;
use crate::rng::Rng;

const SEEDS: u64 = 150;

#[test]
fn in_the_end_the_table_is_what_is_wanted() {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    let seeds = match number(option_env!("SIM_SEED")) {
        Some(seed) => seed..seed + 1,
        None => 0..number(option_env!("SIM_SEEDS")).unwrap_or(SEEDS),
    };
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let result = std::panic::catch_unwind(|| story(seed));
        match result {
            Ok(more) => seen.add(&more),
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if seeds.end - seeds.start >= SEEDS {
        assert!(seen.restarts > 150 && seen.established > 200 && seen.refused > 100 && seen.timeouts > 100, "{seen:?}");
    }
}

/// How often it was what it is about.
#[derive(Debug, Default)]
struct Seen {
    restarts: u64,
    established: u64,
    refused: u64,
    timeouts: u64,
}

impl Seen {
    fn add(&mut self, more: &Seen) {
        self.restarts += more.restarts;
        self.established += more.established;
        self.refused += more.refused;
        self.timeouts += more.timeouts;
    }
}

struct World {
    lab: Lab,
    rng: Rng,
    wanted: BTreeMap<Prefix, u32>,
    telling: Telling,
    foreign: BTreeMap<server::Key, Vec<Vec<u8>>>,
    seen: Seen,
}

fn story(seed: u64) -> Seen {
    let mut rng = Rng::new(seed);
    let mut lab = Lab::idle(rng.below(2) == 0);
    lab.listens = rng.below(4) != 0;
    if rng.below(3) == 0 {
        lab.server.settings.max_concurrent_streams = Some(1 + rng.below(5) as u32);
        lab.server.settings.initial_window_size = 100 + (rng.below(70_000) << rng.below(8)) as u32;
    }
    let mut foreign = BTreeMap::new();
    for i in 0..20 {
        let (afi, nlri, own, _) = key(&numbered(i), config().identifier.get());
        foreign.insert((afi, nlri.clone(), 0, None), vec![vec![0x40, 1, 1, 0]]);
        foreign.insert((afi, nlri, own, Some("10.0.0.1".to_owned())), vec![vec![0x40, 1, 1, 2]]);
    }
    lab.server.table = foreign.clone();
    let mut world =
        World { lab, rng, wanted: BTreeMap::new(), telling: Telling::Everything, foreign, seen: Seen::default() };
    world.lab.announcer.configure(world.lab.now, Some(Arc::new(config())));
    let steps = 50 + world.rng.below(250);
    for _ in 0..steps {
        world.step();
        world.lab.outputs();
        world.watch();
    }
    world.finish();
    world.seen.established = world.lab.announcer.status().established_count;
    world.seen
}

impl World {
    fn step(&mut self) {
        let lab = &mut self.lab;
        let few = 1 + self.rng.below(20_000) as usize;
        match self.rng.below(100) {
            0..18 => lab.take_sent(few),
            18 => lab.server.holds_lists = !lab.server.holds_lists,
            19 => lab.server.send_lists(),
            20..40 => lab.deliver(few),
            40..50 => lab.dialled(),
            50..75 => self.change(),
            75..90 => self.pass(),
            90 => self.restart(),
            91 => lab.cut_quietly(),
            92 => lab.run(),
            93 => lab.server.is_stopped = !lab.server.is_stopped,
            94 => {
                let nlri = path::encode_nlri(&numbered(self.rng.below(40) as u32));
                if !lab.server.refuses.remove(&nlri) {
                    lab.server.refuses.insert(nlri);
                    self.seen.refused += 1;
                }
            }
            95 => lab.announcer.release(lab.now),
            96 => lab.listens = true,
            97 => {
                self.telling = [Telling::Everything, Telling::Graceful, Telling::Nothing][self.rng.below(3) as usize];
                lab.announcer.tell(lab.now, self.telling);
            }
            98 => {
                let next = (self.rng.below(4) != 0).then(|| self.configuration());
                self.lab.announcer.configure(self.lab.now, next);
            }
            _ => lab.server.asn = if lab.server.asn == 0 { 65000 } else { lab.server.asn },
        }
    }

    fn configuration(&mut self) -> Arc<Gobgp> {
        let mut next = config();
        next.live.attributes.local_pref = (self.rng.below(2) == 0).then_some(50);
        Arc::new(next)
    }

    fn change(&mut self) {
        let count = if self.rng.below(10) == 0 { 300 } else { 1 + self.rng.below(3) };
        for _ in 0..count {
            let prefix = numbered(self.rng.below(if count > 10 { 1000 } else { 40 }) as u32);
            if self.rng.below(3) == 0 {
                self.wanted.remove(&prefix);
                self.lab.announcer.set(prefix, None);
            } else {
                let value = self.rng.below(3) as u32;
                self.wanted.insert(prefix, value);
                self.lab.announcer.set(prefix, med(value));
            }
        }
        self.lab.announcer.flush(self.lab.now);
    }

    fn pass(&mut self) {
        let lab = &mut self.lab;
        let time = if self.rng.below(10) == 0 { 5000 } else { self.rng.below(300) };
        let end = lab.now + Duration::from_millis(time);
        while let Some(at) = lab.announcer.poll_timeout().filter(|at| *at <= end) {
            lab.now = lab.now.max(at);
            let before = lab.announcer.state();
            lab.announcer.handle_timeout(lab.now);
            self.seen.timeouts += u64::from(before > State::Connect && lab.announcer.state() == State::Idle);
            assert!(lab.announcer.poll_timeout().is_none_or(|next| next > lab.now), "a timer that spins");
            lab.outputs();
            if lab.listens && self.rng.below(2) == 0 {
                lab.dialled();
            }
        }
        lab.now = end;
    }

    fn restart(&mut self) {
        self.seen.restarts += 1;
        self.lab.server.table = self.foreign.clone();
        self.lab.server.is_v4 = self.rng.below(2) == 0;
        self.lab.server.is_stopped = false;
        self.lab.server.asn = self.rng.below(3).min(1) * 65000;
        self.lab.listens = self.rng.below(3) != 0;
        self.lab.cut_quietly();
    }

    /// What must hold at any time.
    fn watch(&self) {
        let server = &self.lab.server;
        assert_eq!(server.deleted_all, 0, "everything was withdrawn");
        for (key, attributes) in &self.foreign {
            assert_eq!(server.table.get(key), Some(attributes), "somebody else's route");
        }
        assert!(self.lab.unsent_max < 600 * 1024);
    }

    fn finish(&mut self) {
        let lab = &mut self.lab;
        lab.listens = true;
        lab.server.is_stopped = false;
        lab.server.asn = 65000;
        lab.server.refuses.clear();
        lab.server.holds_lists = false;
        lab.server.run();
        lab.server.send_lists();
        // A reload lists once more, and would mend what is wrong.
        if lab.announcer.config().is_none() || self.rng.below(3) == 0 {
            lab.announcer.configure(lab.now, Some(Arc::new(config())));
        }
        lab.run();
        if lab.announcer.config().is_none() {
            lab.announcer.configure(lab.now, Some(Arc::new(config())));
        }
        lab.announcer.release(lab.now);
        lab.announcer.tell(lab.now, Telling::Everything);
        lab.run();
        // As long as a refusal may wait, and a failure.
        lab.wait(700 * SECOND);
        self.watch();
        let lab = &mut self.lab;
        lab.check();
        let wanted: Vec<_> = self.wanted.iter().map(|(prefix, med)| (*prefix, *med)).collect();
        lab.expect(&wanted);
        lab.announcer.stop(lab.now);
        lab.run();
        lab.expect(&[]);
        assert!(lab.announcer.is_vacant());
        self.watch();
    }
}

impl Lab {
    fn cut_quietly(&mut self) {
        let conn = self.conn;
        if conn.is_some() {
            self.forget();
        }
        if let Some(conn) = conn {
            self.announcer.handle(self.now, conn, Event::Closed(Some("reset".into())));
        }
        self.outputs();
    }
}
