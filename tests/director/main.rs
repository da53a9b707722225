//! `herald::Director` as another program uses it: services go in, verdicts come out.
#![expect(clippy::disallowed_methods, reason = "these tests run in real time")]

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;
use herald::Director;
use herald::driver::director::{DirectorError, Frontend, Options, Prober, Services, Use};
use herald::health::{ProbeOutcome, ProbeRequest};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a target says; those that are not in it pass.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Pass,
    Fail,
    /// Nothing, until it is another one.
    Hang,
}

/// A prober that says what the test wants.
#[derive(Default)]
struct Script {
    answers: Mutex<BTreeMap<SocketAddr, Answer>>,
    changed: Condvar,
    /// What the first run of each target was for.
    uses: Mutex<BTreeMap<SocketAddr, Vec<Use>>>,
}

impl Script {
    fn set(&self, target: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(target.parse().unwrap(), answer);
        self.changed.notify_all();
    }
}

impl Prober for Script {
    fn probe(&self, request: &ProbeRequest, uses: &[Use]) -> ProbeOutcome {
        let target = request.probe.target;
        let mut used = self.uses.lock().unwrap();
        used.entry(target).or_insert_with(|| uses.to_vec());
        drop(used);
        let answers = self.answers.lock().unwrap();
        let hangs = |answers: &mut BTreeMap<SocketAddr, Answer>| answers.get(&target) == Some(&Answer::Hang);
        let answers = self.changed.wait_while(answers, hangs).unwrap();
        let passed = answers.get(&target) != Some(&Answer::Fail);
        ProbeOutcome::new(passed, if passed { "well" } else { "ill" }, Duration::from_millis(1))
    }
}

const CHECK: &str = "[checks.up]\ntype = \"tcp\"\ninterval = \"20ms\"\ntimeout = \"1m\"\nrise = 1\nfall = 1\n";

fn service(name: &str, vip: &str, options: &str, backends: &[&str]) -> String {
    let mut text =
        format!("[[service]]\nname = \"{name}\"\nvips = [\"{vip}\"]\nport = 80\nchecks = [\"up\"]\n{options}\n");
    for backend in backends {
        let (address, more) = backend.split_once(' ').unwrap_or((backend, ""));
        text += &format!("[[service.backend]]\naddress = \"{address}\"\n{more}\n");
    }
    text
}

fn services(text: &str) -> Services {
    let check = if text.contains("\"up\"") { CHECK } else { "" };
    Services::parse(&format!("{check}{text}")).unwrap()
}

fn start(script: &Arc<Script>, text: &str) -> Director {
    let options = Options { prober: Some(script.clone()), drain_time: Duration::ZERO, ..Options::default() };
    Director::start(services(text), options).unwrap()
}

/// Looks whenever something is different, until it is so.
#[track_caller]
fn wait_for(director: &Director, what: &str, holds: impl Fn(&Director) -> bool) {
    let begun = Instant::now();
    while !holds(director) {
        assert!(begun.elapsed() < PATIENCE, "no {what}: {:#?}", director.status());
        assert!(director.wait(PATIENCE).unwrap(), "nobody says that anything is different: {what}");
    }
}

#[track_caller]
fn wait_for_vips(director: &Director, vips: &[&str]) {
    let expected: BTreeSet<_> = vips.iter().map(|vip| vip.parse().unwrap()).collect();
    wait_for(director, &format!("{vips:?}"), |director| director.healthy_vips() == expected);
}

fn backends(frontend: &Frontend) -> Vec<String> {
    frontend.backends.iter().map(|(address, weight)| format!("{address} {weight}")).collect()
}

#[test]
fn verdicts_come_out_with_quorum_weights_and_sorry_backends() {
    let script = Arc::new(Script::default());
    let text = service(
        "web",
        "192.0.2.1",
        "required = 2",
        &["10.0.0.1 weight = 3", "10.0.0.2", "10.0.0.3", "10.0.0.9 sorry = true"],
    ) + &service("dns", "192.0.2.53", "", &["10.0.0.4"]);
    script.set("10.0.0.3:80", Answer::Fail);
    let director = start(&script, &text);
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.53"]);
    wait_for(&director, "the sorry one", |it| it.status().unwrap().services[0].backends[3].state == "up");
    let frontends = director.frontends().unwrap();
    assert_eq!(frontends.len(), 2);
    assert_eq!((&*frontends[0].service, frontends[0].port, frontends[0].last_port), ("web", 80, 80));
    assert_eq!(backends(&frontends[0]), ["10.0.0.1:80 3", "10.0.0.2:80 1"]);
    assert_eq!(backends(&frontends[1]), ["10.0.0.4:80 1"]);
    let status = director.status().unwrap();
    assert_eq!((&*status.services[0].state, status.services[0].available), ("up", 2));
    assert_eq!(status.services[0].backends[2].checks[0].detail, "ill");
    // A prober for another data plane knows what it is for.
    let uses = script.uses.lock().unwrap()[&"10.0.0.4:80".parse().unwrap()].clone();
    assert_eq!((uses.len(), &*uses[0].service, uses[0].port), (1, "dns", 80));
    assert_eq!(uses[0].vips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.53/32"]);
    // One is too few of two.
    script.set("10.0.0.2:80", Answer::Fail);
    wait_for_vips(&director, &["192.0.2.53"]);
    assert_eq!(director.frontends().unwrap().len(), 1);
    // None at all, and the sorry one stands in.
    script.set("10.0.0.1:80", Answer::Fail);
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.53"]);
    assert_eq!(backends(&director.frontends().unwrap()[0]), ["10.0.0.9:80 1"]);
}

#[test]
fn a_new_configuration_follows_the_rules_of_a_reload() {
    let script = Arc::new(Script::default());
    let web = service("web", "192.0.2.1", "", &["10.0.0.1"]);
    let director = start(&script, &web);
    wait_for_vips(&director, &["192.0.2.1"]);
    // From here on nobody learns anything about anybody.
    for target in ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:443"] {
        script.set(target, Answer::Hang);
    }
    let more = service("web", "192.0.2.1", "", &["10.0.0.1", "10.0.0.2"])
        + &service("mail", "192.0.2.25", "", &["10.0.0.3"])
        + &service("tls", "192.0.2.1", "", &["10.0.0.4"]).replace("port = 80", "port = 443");
    director.configure(services(&more)).unwrap();
    // What was healthy stays so with a new service on it, a new VIP is not, and a new backend does not count.
    let healthy: Vec<String> = director.healthy_vips().iter().map(ToString::to_string).collect();
    assert_eq!(healthy, ["192.0.2.1/32"]);
    let status = director.status().unwrap();
    let states: Vec<&str> = status.services.iter().map(|service| &*service.state).collect();
    assert_eq!(states, ["up", "undecided", "up"]);
    assert_eq!(status.services[0].available, 1, "a new backend starts down");
    // And its own verdict then counts.
    script.set("10.0.0.4:443", Answer::Fail);
    wait_for_vips(&director, &[]);
    script.set("10.0.0.4:443", Answer::Pass);
    script.set("10.0.0.3:80", Answer::Pass);
    script.set("10.0.0.1:80", Answer::Pass);
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.25"]);
    // What is not there any more is gone when the call returns.
    director.configure(services(&web)).unwrap();
    assert_eq!(director.healthy_vips().len(), 1);
    assert_eq!(director.status().unwrap().services.len(), 1);
    script.set("10.0.0.2:80", Answer::Pass);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let faults = Services::parse(
        "[bgp]\nlocal_as = 65001\n[hooks]\n[[service]]\nname = \"a\"\nvips = [\"192.0.2.1\"]\nport = 80\nchecks = [\"no\"]\n[[service.backend]]\naddress = \"10.0.0.1\"\n",
    );
    let text = faults.unwrap_err().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "and nothing of what else [bgp] would need: {text}");
    assert!(lines[0].starts_with("services:1:2: [bgp] is the daemon's"), "{text}");
    assert!(lines[1].starts_with("services:3:2: [hooks] is the daemon's"), "{text}");
    assert!(lines[2].starts_with("services:8:11:"), "{text}");
    let bound = Services::parse_named(
        "a.toml",
        &service("a", "192.0.2.1", "", &["10.0.0.1"])
            .replace("checks = [\"up\"]", "checks = []")
            .replace("[[service.b", "[[vip]]\naddress = \"192.0.2.1\"\nbind = \"lo\"\n[[service.b"),
    );
    let bound = bound.map(drop).unwrap_err().to_string();
    assert!(bound.contains("a.toml:"), "{bound}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let real = service("web", "192.0.2.1", "", &[&format!("127.0.0.1 port = {port}")]);
    let director = Director::start(services(&real), Options::default()).unwrap();
    wait_for_vips(&director, &["192.0.2.1"]);
    // It names a file that is not there.
    let named = "[checks.safe]\ntype = \"https\"\nca_file = \"/nonexistent/ca.pem\"\n".to_owned()
        + &real.replace("\"up\"", "\"safe\"");
    match director.configure(services(&named)) {
        Err(DirectorError::Refused(faults)) => assert!(faults[0].to_string().contains("ca.pem"), "{faults:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(director.healthy_vips().len(), 1);
    // What was there is checked on, by real connections.
    drop(listener);
    wait_for_vips(&director, &[]);
    let status = director.status().unwrap();
    assert_eq!(status.services[0].backends[0].checks[0].failure.as_deref(), Some("refused"));
}

#[test]
fn the_signal_coalesces() {
    let script = Arc::new(Script::default());
    let director = start(&script, &service("web", "192.0.2.1", "", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]));
    wait_for_vips(&director, &["192.0.2.1"]);
    wait_for(&director, "all three", |it| it.status().unwrap().services[0].available == 3);
    // Many transitions, and nobody looks.
    let (tape, heard) = (director.changes().clone(), Instant::now());
    for round in 0..5 {
        let answer = if round % 2 == 0 { Answer::Fail } else { Answer::Pass };
        let up = if round % 2 == 0 { 0 } else { 3 };
        ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].iter().for_each(|target| script.set(target, answer));
        while director.status().unwrap().services[0].available != up {
            assert!(heard.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
    }
    assert_eq!(tape.try_recv(), Ok(()), "something is different");
    assert_eq!(tape.try_recv(), Err(TryRecvError::Empty), "once");
    // Nothing changes, and nothing is said.
    assert!(!director.wait(Duration::from_millis(200)).unwrap());
}

#[test]
fn drains_last_across_configurations() {
    let script = Arc::new(Script::default());
    let text =
        service("web", "192.0.2.1", "", &["10.0.0.1", "10.0.0.2"]) + &service("dns", "192.0.2.53", "", &["10.0.0.3"]);
    let director = start(&script, &text);
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.53"]);
    wait_for(&director, "both", |it| it.status().unwrap().services[0].available == 2);
    assert!(director.drain("web/10.0.0.1:80", None, Some("works")).unwrap().changed);
    assert_eq!(backends(&director.frontends().unwrap()[0]), ["10.0.0.2:80 1"], "when the call returns");
    director.drain("192.0.2.53", None, None).unwrap();
    wait_for_vips(&director, &["192.0.2.1"]);
    director.configure(services(&(text.clone() + &service("new", "192.0.2.9", "", &["10.0.0.4"])))).unwrap();
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.9"]);
    let status = director.status().unwrap();
    assert_eq!(
        status.drains.iter().map(|it| it.target.as_str()).collect::<Vec<_>>(),
        ["192.0.2.53/32", "web/10.0.0.1:80"]
    );
    assert_eq!(status.drains[1].reason.as_deref(), Some("works"));
    director.undrain("web/10.0.0.1:80").unwrap();
    director.undrain("192.0.2.53").unwrap();
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.9", "192.0.2.53"]);
    assert_eq!(director.frontends().unwrap()[0].backends.len(), 2);
    // For ever, or nearly.
    let answer = director.drain("web", Some(Duration::MAX), None).unwrap();
    assert!(answer.text.ends_with("until 9999-12-31T23:59:59.000Z"), "{}", answer.text);
    director.undrain("web").unwrap();
    // For a while, and it is over by itself.
    director.drain("web", Some(Duration::from_secs(2)), None).unwrap();
    wait_for_vips(&director, &["192.0.2.9", "192.0.2.53"]);
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.9", "192.0.2.53"]);
    director.drain("192.0.2.53", Some(Duration::from_secs(2)), None).unwrap();
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.9"]);
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.9", "192.0.2.53"]);
    match director.drain("wbe", None, None) {
        Err(DirectorError::NoSuchTarget(words)) => assert!(words.contains("`web`"), "{words}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn services_that_depend_on_others_follow_them() {
    let script = Arc::new(Script::default());
    let alias = "[checks.base]\ntype = \"alias\"\nservice = \"base\"\n";
    let text = alias.to_owned()
        + &service("base", "192.0.2.1", "", &["10.0.0.1"])
        + &service("above", "192.0.2.2", "", &["10.0.0.2"]).replace("[\"up\"]", "[\"up\", \"base\"]");
    let director = start(&script, &text);
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.2"]);
    script.set("10.0.0.1:80", Answer::Fail);
    wait_for_vips(&director, &[]);
    script.set("10.0.0.1:80", Answer::Pass);
    wait_for_vips(&director, &["192.0.2.1", "192.0.2.2"]);
}

/// Very much turns bad at once: that is doubted, and somebody has to take the traffic.
#[test]
fn what_is_doubted_stays_and_all_backends_serve() {
    let script = Arc::new(Script::default());
    let vips = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let text: String = vips.iter().map(|vip| service(vip, vip, "", &["10.0.0.1", "10.0.0.2"])).collect();
    let director = start(&script, &(text + "[fail_static]\nshare = \"50%\"\n"));
    wait_for_vips(&director, &vips);
    ["10.0.0.1:80", "10.0.0.2:80"].iter().for_each(|target| script.set(target, Answer::Fail));
    wait_for(&director, "doubt", |it| it.status().unwrap().vips.iter().all(|vip| vip.state == "frozen"));
    assert!(director.status().unwrap().guard.unwrap().active);
    let frontends = director.frontends().unwrap();
    assert_eq!(
        (frontends.len(), backends(&frontends[0])),
        (3, vec!["10.0.0.1:80 1".to_owned(), "10.0.0.2:80 1".to_owned()])
    );
    assert_eq!(director.healthy_vips().len(), 3);
}

#[test]
fn checks_run_when_they_are_asked_to() {
    let script = Arc::new(Script::default());
    let text = service("web", "192.0.2.1", "", &["10.0.0.1"]);
    let rare = Services::parse(&(CHECK.replace("20ms", "1h") + &text)).unwrap();
    let options = Options { prober: Some(script.clone()), ..Options::default() };
    let director = Director::start(rare, options).unwrap();
    director.check_now().unwrap();
    wait_for_vips(&director, &["192.0.2.1"]);
    script.set("10.0.0.1:80", Answer::Fail);
    director.check_now().unwrap();
    wait_for_vips(&director, &[]);
}
