//! Forwarding tables from the file to what is written and announced, against a model of what glb-healthcheck does.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::announce::VipState;
use crate::config::{Encapsulation, ProbeKind, Texts, parse_with};
use crate::glb;
use crate::health::ProbeOutcome;
use crate::rng::Rng;

/// A target as the file has it: kind, address, port and path.
type Target = (&'static str, String, u16, &'static str);

/// What the original knows of one table: VIPs, and of each backend whether it is inactive and its targets.
struct ModelTable {
    vips: Vec<String>,
    backends: Vec<(bool, Vec<Target>)>,
}

const CHECKS: [(&str, u16, &str); 6] = [
    ("http", 8080, "/"),
    ("http", 8080, "/ok"),
    ("tcp", 8080, ""),
    ("tcp", 22, ""),
    ("gue", 19523, ""),
    ("fou", 19522, ""),
];

/// Random tables, and their text.
fn tables(rng: &mut Rng) -> (Vec<ModelTable>, String) {
    let (mut tables, mut texts) = (Vec::new(), Vec::new());
    let mut port = 0;
    for _ in 0..1 + rng.below(4) {
        let mut table = ModelTable { vips: Vec::new(), backends: Vec::new() };
        let (mut binds, mut backends) = (Vec::new(), Vec::new());
        for _ in 0..1 + rng.below(3) {
            port += 1;
            let vip = ["192.0.2.1/32", "192.0.2.2/32", "198.51.100.0/24", "2001:db8::1/128"][rng.below(4) as usize];
            let ip = vip.trim_end_matches("/32").trim_end_matches("/128");
            binds.push(format!(r#"{{"ip":"{ip}","proto":"tcp","port":{port}}}"#));
            table.vips.push(vip.to_owned());
        }
        let octets: BTreeSet<u64> = (0..rng.below(5)).map(|_| 1 + rng.below(5)).collect();
        for octet in octets {
            let ip = format!("10.0.0.{octet}");
            let state = ["active", "active", "filling", "draining", "inactive"][rng.below(5) as usize];
            let mut targets: BTreeMap<&str, Target> = BTreeMap::new();
            for _ in 0..rng.below(4) {
                let (kind, port, path) = CHECKS[rng.below(6) as usize];
                targets.insert(kind, (kind, ip.clone(), port, path));
            }
            let checks = targets.values().map(|(kind, _, port, path)| {
                let uri = if *path == "/ok" { r#","http_uri":"/ok""# } else { "" };
                format!(r#""{kind}":{port}{uri}"#)
            });
            let checks = checks.collect::<Vec<_>>().join(",");
            let healthy = ["", r#","healthy":true"#, r#","healthy":false"#][rng.below(3) as usize];
            backends.push(format!(r#"{{"ip":"{ip}","state":"{state}","healthchecks":{{{checks}}}{healthy}}}"#));
            table.backends.push((state == "inactive", targets.into_values().collect()));
        }
        texts.push(format!(r#"{{"binds":[{}],"backends":[{}]}}"#, binds.join(","), backends.join(",\n")));
        tables.push(table);
    }
    (tables, format!(r#"{{"tables":[{}]}}"#, texts.join(",\n")))
}

fn target(request: &ProbeRequest) -> Target {
    let (kind, path) = match &request.probe.kind {
        ProbeKind::Http(http) if http.path == "/ok" => ("http", "/ok"),
        ProbeKind::Http(_) => ("http", "/"),
        ProbeKind::Tcp(_) => ("tcp", ""),
        ProbeKind::Tunnel(Encapsulation::Gue) => ("gue", ""),
        ProbeKind::Tunnel(Encapsulation::Fou) => ("fou", ""),
        _ => panic!("nothing of GLB's"),
    };
    (kind, request.probe.target.ip().to_string(), request.probe.target.port(), path)
}

/// The engine, and targets that pass or fail.
struct Scene {
    engine: Engine,
    now: Instant,
    failing: BTreeSet<Target>,
    /// What was written last.
    written: Option<String>,
}

impl Scene {
    fn new(json: &str, failing: BTreeSet<Target>) -> Scene {
        let now = crate::timers::origin();
        let mut scene = Scene { engine: Engine::new(now, 1), now, failing, written: None };
        scene.configure(json);
        scene
    }

    fn configure(&mut self, json: &str) {
        let main = Source { name: "f".into(), text: "[glb]\nsource='/t'\ndestination='/d'\n".to_owned() };
        let texts = Texts::from([("/t".into(), Ok(Source { name: "/t".into(), text: json.to_owned() }))]);
        let config = parse_with(&[main], &texts).unwrap_or_else(|errors| panic!("{errors:#?}\n{json}"));
        self.input(Input::Configure(Arc::new(config)));
    }

    fn input(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, input);
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Probe(request) => {
                    let passed = !self.failing.contains(&target(&request));
                    let outcome = ProbeOutcome::new(passed, "said", Duration::ZERO);
                    self.engine.handle(self.now, Input::ProbeStarted(request.ticket, self.now));
                    self.engine.handle(self.now, Input::ProbeFinished(request.ticket, outcome));
                }
                Output::Glb(job) => {
                    self.written = Some(job.table.render(&job.healthy));
                    let outcome = glb::Outcome { id: job.id, written: Ok(true), command: None };
                    self.engine.handle(self.now, Input::GlbDone(outcome));
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
            assert!(self.engine.poll_timeout().is_none_or(|at| at > self.now), "a timer that spins");
        }
        self.now = end;
    }

    /// In a steady state all is as the original has it.
    #[track_caller]
    fn compare(&self, tables: &[ModelTable], seed: u64) {
        let passes = |targets: &[Target]| targets.iter().all(|target| !self.failing.contains(target));
        let expected: Vec<bool> = tables
            .iter()
            .flat_map(|table| &table.backends)
            .map(|(inactive, targets)| *inactive || passes(targets))
            .collect();
        let written = self.written.as_ref().unwrap_or_else(|| panic!("seed {seed}: nothing is written"));
        let document: serde_json::Value = serde_json::from_str(written).unwrap();
        let items = |value: &serde_json::Value, key: &str| value[key].as_array().unwrap().clone();
        let backends = items(&document, "tables").into_iter().flat_map(|table| items(&table, "backends"));
        let healthy: Vec<bool> = backends.map(|backend| backend["healthy"].as_bool().unwrap()).collect();
        assert_eq!(healthy, expected, "seed {seed}: {written}");

        // Where the original has two tables of one VIP fight, Herald wants both to be up.
        let mut announced: BTreeMap<&str, bool> = BTreeMap::new();
        for table in tables {
            let up = table.backends.iter().any(|(inactive, targets)| !inactive && passes(targets));
            for vip in &table.vips {
                *announced.entry(vip).or_insert(true) &= up;
            }
        }
        for (vip, expected) in announced {
            let state = self.engine.announce.vip(&vip.parse().unwrap()).unwrap().state;
            assert_eq!(state == VipState::Announced, expected, "seed {seed}: {vip} is {state:?}: {written}");
        }
    }
}

fn some(rng: &mut Rng) -> BTreeSet<Target> {
    let all = (1..=5).flat_map(|octet| CHECKS.map(|(kind, port, path)| (kind, format!("10.0.0.{octet}"), port, path)));
    let share = rng.below(60);
    all.filter(|_| rng.below(100) < share).collect()
}

#[test]
fn tables_come_out_as_the_original_has_them() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let (model, json) = tables(&mut rng);
        let mut scene = Scene::new(&json, some(&mut rng));
        for _ in 0..3 {
            scene.run(30 * SECOND);
            scene.compare(&model, seed);
            scene.failing = some(&mut rng);
        }
        // Another text takes the place of this one while targets change.
        let (model, json) = tables(&mut rng);
        scene.configure(&json);
        scene.run(60 * SECOND);
        scene.compare(&model, seed);
    }
}
