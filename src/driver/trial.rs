//! Running checks by hand, now: what they find is for whoever asks, and changes no verdict.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock;
use super::probe::{Prober, limit, traced};
use crate::config::{Backend, CheckRef, Config, Probe, ProbeKind, Service};
use crate::engine::drain::Target;
use crate::health::{ProbeRequest, Ticket};

/// So many checks are run at a time.
const AT_A_TIME: usize = 16;
/// So many by one request.
const MOST: usize = 1000;

/// What came of it, in the order of the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// The service.
    pub(crate) service: String,
    /// Those that were asked for.
    pub(crate) backends: Vec<BackendTrial>,
}

/// One backend.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BackendTrial {
    /// Address and port.
    pub(crate) address: String,
    /// Its checks; without one it always passes.
    pub(crate) checks: Vec<CheckTrial>,
}

/// One run of a check.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckTrial {
    /// Its name, or its type for one written in place.
    pub(crate) name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What it looks at.
    pub(crate) target: String,
    /// It reports, and does not count.
    pub(crate) advisory: bool,
    /// Whether it passed; `None` of one that is not run by itself.
    pub(crate) passed: Option<bool>,
    /// What it found, in words.
    pub(crate) detail: String,
    /// Why it failed, by kind.
    pub(crate) failure: Option<String>,
    /// What people should know although it passed.
    pub(crate) warning: Option<String>,
    /// What a program said.
    pub(crate) output: Option<String>,
    /// From its start to its end, in microseconds.
    pub(crate) took_us: u64,
    /// The time that it has, in microseconds.
    pub(crate) timeout_us: u64,
    /// What it did.
    pub(crate) steps: Vec<TrialStep>,
}

/// Something that a run has done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrialStep {
    /// From its start, in microseconds.
    pub(crate) at_us: u64,
    /// What it was.
    pub(crate) what: String,
}

/// What is to be run.
pub(crate) struct Plan {
    trial: Trial,
    jobs: VecDeque<Job>,
}

/// One run, and where its result goes.
struct Job {
    place: (usize, usize),
    probe: Arc<Probe>,
    timeout: Duration,
}

/// All checks of `SERVICE` or of `SERVICE/ADDRESS:PORT`.
///
/// # Errors
/// There is no such service or backend, or it is too much for one request.
pub(crate) fn plan(config: &Config, target: &str) -> Result<Plan, String> {
    let (name, address) = match target.trim().parse() {
        Ok(Target::Backend(name, address)) => (name, Some(address)),
        _ => (target.trim().to_owned(), None),
    };
    let service = config.services.iter().find(|service| *service.name == *name);
    let service = service.ok_or_else(|| no_such_service(config, &name))?;
    let backends = service.backends.iter().filter(|backend| address.is_none_or(|address| backend.address == address));
    let backends: Vec<&Backend> = backends.collect();
    if let (Some(address), true) = (address, backends.is_empty()) {
        return Err(format!("service {name} has no backend {address}; it has {}", addresses(service)));
    }
    let mut plan = Plan { trial: Trial { service: name.clone(), backends: Vec::new() }, jobs: VecDeque::new() };
    for (row, backend) in backends.into_iter().enumerate() {
        let checks = backend.checks.iter().enumerate();
        let checks = checks.filter_map(|(column, used)| plan.take(config, (row, column), used)).collect();
        plan.trial.backends.push(BackendTrial { address: backend.address.to_string(), checks });
    }
    match plan.jobs.len() {
        0..=MOST => Ok(plan),
        many => Err(format!("service {name} has {many} checks, more than {MOST} at once: name one of its backends")),
    }
}

impl Plan {
    fn take(&mut self, config: &Config, place: (usize, usize), used: &CheckRef) -> Option<CheckTrial> {
        let check = config.checks.get(used.check)?;
        let probe = check.probe.clone();
        let detail = match &probe.kind {
            ProbeKind::Alias(other) => format!("not run by itself: it is whether service {other} is up"),
            _ => String::new(),
        };
        let trial = CheckTrial {
            name: used.name.to_string(),
            kind: probe.kind.name().to_owned(),
            target: probe.place(),
            advisory: used.advisory,
            passed: None,
            detail,
            failure: None,
            warning: None,
            output: None,
            took_us: 0,
            timeout_us: micros(check.timing.timeout),
            steps: Vec::new(),
        };
        if probe.kind.is_run() {
            self.jobs.push_back(Job { place, probe, timeout: check.timing.timeout });
        }
        Some(trial)
    }
}

/// Runs all of it, some at a time; returns when all are done, or soon after `cancel` has turned true.
pub(crate) fn run(prober: &Prober, plan: Plan, cancel: &Arc<AtomicBool>) -> Value {
    let workers = plan.jobs.len().min(AT_A_TIME);
    let jobs = Mutex::new(plan.jobs);
    let trial = Mutex::new(plan.trial);
    let work = || {
        limit::cancel_on(cancel.clone());
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(job) = next else { return };
            let fill = run_one(prober, &job);
            let mut trial = trial.lock().unwrap_or_else(PoisonError::into_inner);
            let (row, column) = job.place;
            if let Some(check) = trial.backends.get_mut(row).and_then(|backend| backend.checks.get_mut(column)) {
                fill(check);
            }
        }
    };
    thread::scope(|scope| {
        // This thread is one of them: where the system has no other to spare, it does all the work.
        for _ in 1..workers {
            if thread::Builder::new().name("probe".to_owned()).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    // Texts and numbers: nothing that JSON does not have.
    serde_json::to_value(trial.into_inner().unwrap_or_else(PoisonError::into_inner)).unwrap_or_default()
}

/// What fills in the result.
fn run_one(prober: &Prober, job: &Job) -> impl FnOnce(&mut CheckTrial) + use<> {
    let request = ProbeRequest {
        ticket: Ticket::new(0, 0),
        probe: job.probe.clone(),
        timeout: job.timeout,
        due: clock(),
        slow: true,
        expected: None,
    };
    let (outcome, steps) = traced(|| prober.run(&request));
    move |check| {
        check.passed = Some(outcome.passed);
        check.detail = outcome.detail.into_owned();
        check.failure = outcome.failure.map(|kind| kind.name().to_owned());
        check.warning = outcome.warning.map(String::from);
        check.output = outcome.output.map(String::from);
        check.took_us = micros(outcome.took);
        check.steps = steps.into_iter().map(|(at, what)| TrialStep { at_us: micros(at), what }).collect();
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn no_such_service(config: &Config, name: &str) -> String {
    const COMPARED: usize = 20_000;
    const MOST: usize = 2;
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let names = config.services.iter().take(COMPARED).map(|service| &*service.name);
    let half = shown.split_once('/').and_then(|(service, _)| names.clone().find(|known| *known == service));
    if let Some(service) = half {
        return format!("{shown:?} is no backend: write {service}/ADDRESS:PORT, with IPv6 in brackets");
    }
    let alike = names.filter(|known| known.len().abs_diff(shown.len()) <= MOST);
    let near = alike.map(|known| (strsim::osa_distance(known, &shown), known)).min();
    let hint = near.filter(|(distance, _)| *distance <= MOST).map(|(_, known)| format!("; is it {known}?"));
    format!("there is no service {shown:?}{}", hint.unwrap_or_default())
}

fn addresses(service: &Service) -> String {
    const SHOWN: usize = 10;
    let all: Vec<String> = service.backends.iter().map(|backend| backend.address.to_string()).collect();
    let more = if all.len() > SHOWN { ", ..." } else { "" };
    format!("{}{more}", all.get(..all.len().min(SHOWN)).unwrap_or_default().join(", "))
}
