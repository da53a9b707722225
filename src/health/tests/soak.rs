//! Random results and reloads against the rules applied from scratch to everything, after every step.

use super::*;
use crate::config::{Measure, Quorum};
use crate::rng::Rng;

/// What a target said since it is known, and what that makes, by looking at all of it again.
fn verdict(history: &[(bool, Timing)]) -> Option<bool> {
    let mut verdict = None;
    for end in 1..=history.len() {
        let (passed, timing) = history[end - 1];
        let needed = if passed { timing.rise } else { timing.fall } as usize;
        let in_a_row = history[..end].iter().rev().take_while(|(result, _)| *result == passed).count();
        if in_a_row >= needed {
            verdict = Some(passed);
        }
    }
    verdict
}

/// The oracle: names and addresses, no indexes or counts that are kept.
#[derive(Default)]
struct Oracle {
    config: Arc<Config>,
    verdicts: BTreeMap<u16, bool>,
    backends: BTreeMap<(String, SocketAddr), bool>,
    services: BTreeMap<String, ServiceState>,
}

impl Oracle {
    /// Judges everything anew.
    fn scan(&mut self, config: &Arc<Config>, presumed: bool) {
        let mut backends = BTreeMap::new();
        let mut services = BTreeMap::new();
        for service in &config.services {
            let name = service.name.to_string();
            let new_service = !self.services.contains_key(&name);
            let counted = |backends: &BTreeMap<(String, SocketAddr), bool>, backend: &Backend| {
                backend.enabled && backend.weight > 0 && backends.get(&(name.clone(), backend.address)) == Some(&true)
            };
            let weighs = service.required.measure == Measure::Weight;
            let amount = |backend: &Backend| if weighs { u64::from(backend.weight) } else { 1 };
            // What counts, may count and there is: of regular backends and of those that stand in.
            let (mut available, mut possible, mut total, mut lost) = ([0; 2], [0; 2], [0; 2], false);
            for backend in &service.backends {
                let key = (name.clone(), backend.address);
                let port = |reference: &CheckRef| config.checks[reference.check].probe.target.port();
                let verdicts: Vec<Option<bool>> =
                    backend.checks.iter().map(|reference| self.verdicts.get(&port(reference)).copied()).collect();
                let before = self.backends.get(&key).copied().unwrap_or(new_service && presumed);
                let open = !verdicts.contains(&Some(false)) && verdicts.contains(&None);
                let up = if open { before } else { !verdicts.contains(&Some(false)) };
                backends.insert(key, up);
                let eligible = backend.enabled && backend.weight > 0;
                let of = usize::from(backend.sorry);
                available[of] += if eligible && up { amount(backend) } else { 0 };
                possible[of] += if eligible && (up || open) { amount(backend) } else { 0 };
                total[of] += amount(backend);
                let earlier = self.config.services.iter().find(|earlier| earlier.name == service.name);
                let earlier = earlier.and_then(|s| s.backends.iter().find(|b| b.address == backend.address));
                lost |= eligible && !up && earlier.is_some_and(|earlier| counted(&self.backends, earlier));
            }
            let before = self.services.get(&name).copied().unwrap_or(ServiceState::Undecided);
            let is_up = before == ServiceState::Up;
            let up = service.required.up.of_total(total[0]);
            let required = if is_up { service.required.down.of_total(total[0]).min(up) } else { up };
            let sorry_required = required.min(total[1]).max(1);
            let all_gone = available[0] == 0 && (possible[0] == 0 || is_up);
            let state = match before {
                _ if available[0] >= required || (all_gone && available[1] >= sorry_required) => ServiceState::Up,
                _ if possible[0] < required && (available[0] > 0 || possible[1] < sorry_required) => ServiceState::Down,
                ServiceState::Up if lost => ServiceState::Down,
                _ => before,
            };
            services.insert(name, state);
        }
        (self.backends, self.services, self.config) = (backends, services, config.clone());
    }
}

/// Services `a` to `d` with some of ten targets behind them, each probe with one timing.
fn random_config(rng: &mut Rng) -> Arc<Config> {
    let mut checks: Vec<Check> = Vec::new();
    for port in 1..=10 {
        if rng.below(5) > 0 {
            let interval = MS * (100 + 300 * rng.below(3) as u32);
            let (rise, fall) = (1 + rng.below(3) as u32, 1 + rng.below(3) as u32);
            let timing = Timing {
                interval,
                fast_interval: interval / 2,
                first_interval: interval / 2,
                timeout: 200 * MS,
                rise,
                fall,
                ..Timing::default()
            };
            let at = rng.below(checks.len() as u64 + 1) as usize;
            checks.insert(at, check(port, timing));
        }
    }
    let mut services = Vec::new();
    for name in ["a", "b", "c", "d"] {
        if rng.below(6) == 0 {
            continue;
        }
        let mut backends = Vec::new();
        for port in 80..85 {
            if rng.below(3) == 0 {
                let used: Vec<usize> = (0..checks.len()).filter(|_| rng.below(4) == 0).collect();
                let (enabled, weight) = (rng.below(8) > 0, rng.below(8).min(3) as u32);
                let sorry = rng.below(2) == 0;
                backends.push(Backend { enabled, weight, sorry, ..backend(port, &used) });
            }
        }
        let mark = |rng: &mut Rng| match rng.below(2) {
            0 => Required::Backends(rng.below(4) as u32),
            _ => Required::Percent(rng.below(101) as u8),
        };
        let (up, down) = (mark(rng), mark(rng));
        let measure = if rng.below(2) == 0 { Measure::Weight } else { Measure::Backends };
        let required = if rng.below(2) == 0 { Quorum { up, down, measure } } else { Quorum::from(up) };
        let at = rng.below(services.len() as u64 + 1) as usize;
        services.insert(at, Service { required, ..service(name, &["192.0.2.1"], up, backends) });
    }
    config(checks, services)
}

/// A change that a reload would bring: everything, or one thing.
fn changed(config: &Arc<Config>, rng: &mut Rng) -> Arc<Config> {
    let mut new = Config::clone(config);
    match rng.below(4) {
        0 => return random_config(rng),
        1 => new.services.reverse(),
        2 => {
            for service in &mut new.services {
                if !new.checks.is_empty() && rng.below(2) == 0 {
                    let used = rng.below(new.checks.len() as u64) as usize;
                    service.backends.push(backend(90 + rng.below(1000) as u16, &[used]));
                }
            }
        }
        _ => {
            for check in &mut new.checks {
                check.timing.fall = 1 + rng.below(3) as u32;
            }
        }
    }
    Arc::new(new)
}

#[derive(Default)]
struct Counters {
    verdicts: usize,
    overdue: u64,
    ups: usize,
    downs: usize,
    reloads: usize,
    shares: usize,
    on_sorry: usize,
}

fn soak(seed: u64, counters: &mut Counters) {
    let mut rng = Rng::new(seed);
    let mut now = origin();
    let (mut health, mut oracle) = (Health::new(), Oracle::default());
    let mut config = random_config(&mut rng);
    // Every result that counts, by port; runs by port, with their limit once they are known to run.
    let mut histories: BTreeMap<u16, Vec<(bool, Timing)>> = BTreeMap::new();
    let mut runs: BTreeMap<u16, (Ticket, Option<Instant>)> = BTreeMap::new();
    let mut stale: Vec<Ticket> = Vec::new();
    let mut shares: BTreeMap<String, Share> = BTreeMap::new();
    health.configure(now, config.clone(), &|_| false);
    oracle.scan(&config, false);
    follow(&mut health, &mut oracle, &config, &mut shares, counters);
    for _ in 0..600 {
        let timing =
            |port: u16, config: &Config| config.checks.iter().find(|c| c.probe.target.port() == port).unwrap().timing;
        match rng.below(60) {
            0 => {
                let announced = rng.below(2) == 0;
                config = changed(&config, &mut rng);
                health.configure(now, config.clone(), &|_| announced);
                shares.retain(|name, _| config.services.iter().any(|service| *service.name == **name));
                let known = |port: &u16| config.checks.iter().any(|check| check.probe.target.port() == *port);
                histories.retain(|port, _| known(port));
                oracle.verdicts.retain(|port, _| known(port));
                stale.extend(runs.extract_if(.., |port, _| !known(port)).map(|(_, (ticket, _))| ticket));
                oracle.scan(&config, announced);
                counters.reloads += 1;
            }
            1..=29 if !runs.is_empty() => {
                let at = rng.below(runs.len() as u64) as usize;
                let port = *runs.keys().nth(at).unwrap();
                let (ticket, limit) = runs[&port];
                match (limit, rng.below(3)) {
                    (None, 0) => {
                        health.probe_started(ticket, now);
                        runs.insert(port, (ticket, Some(now + 200 * MS + checks::GRACE)));
                    }
                    (_, 1) => {
                        let passed = rng.below(3) > 0;
                        health.probe_finished(now, ticket, outcome(passed));
                        histories.entry(port).or_default().push((passed, timing(port, &config)));
                        stale.extend(runs.remove(&port).map(|(ticket, _)| ticket));
                    }
                    _ if !stale.is_empty() => {
                        let ticket = stale[rng.below(stale.len() as u64) as usize];
                        health.probe_started(ticket, now);
                        health.probe_finished(now, ticket, outcome(rng.below(2) == 0));
                    }
                    _ => {}
                }
            }
            _ => {
                let Some(at) = health.poll_timeout() else { continue };
                now = now.max(at);
                health.handle_timeout(now);
                assert!(health.poll_timeout().is_none_or(|at| at > now), "seed {seed}: a busy loop");
                for (port, (ticket, _)) in runs.extract_if(.., |_, (_, limit)| limit.is_some_and(|at| at <= now)) {
                    histories.entry(port).or_default().push((false, timing(port, &config)));
                    stale.push(ticket);
                }
            }
        }
        while let Some(request) = health.poll_probe() {
            let port = request.probe.target.port();
            assert!(runs.insert(port, (request.ticket, None)).is_none(), "seed {seed}: two runs of one check");
            let history = histories.get(&port).map_or(&[][..], Vec::as_slice);
            let known = verdict(history);
            assert_eq!(
                request.expected,
                known.filter(|known| history.last().unwrap().0 == *known).map(Finding::plain),
                "seed {seed}"
            );
        }
        follow(&mut health, &mut oracle, &config, &mut shares, counters);
        compare(seed, &health, &oracle, &config, &histories);
        for (index, service) in config.services.iter().enumerate() {
            let told = shares.get(&*service.name).copied().unwrap_or_default();
            assert_eq!(told, health.service(index).share, "seed {seed}: {}", service.name);
        }
    }
    counters.overdue += health.schedule().overdue;
}

/// Applies the verdicts that were told, in their order, and holds the other events against a full scan after each.
fn follow(
    health: &mut Health,
    oracle: &mut Oracle,
    config: &Arc<Config>,
    shares: &mut BTreeMap<String, Share>,
    counters: &mut Counters,
) {
    while let Some(event) = health.poll_event() {
        match event {
            HealthEvent::Check { check, passing, .. } => {
                let before = oracle.verdicts.insert(config.checks[check].probe.target.port(), passing);
                assert_ne!(before, Some(passing));
                oracle.scan(config, false);
                counters.verdicts += 1;
            }
            HealthEvent::Backend { service, backend, up } => {
                let service = &config.services[service];
                assert_eq!(oracle.backends[&(service.name.to_string(), service.backends[backend].address)], up);
            }
            HealthEvent::Share { service, share } => {
                let told = shares.insert(config.services[service].name.to_string(), share);
                assert_ne!(told, Some(share));
                counters.shares += 1;
            }
            HealthEvent::Service { service, state, available, required, on_sorry } => {
                counters.on_sorry += usize::from(on_sorry);
                let name = &*config.services[service].name;
                assert_eq!(oracle.services[name], state);
                counters.ups += usize::from(state == ServiceState::Up);
                counters.downs += usize::from(state == ServiceState::Down);
                assert!(state != ServiceState::Down || available < required);
            }
            HealthEvent::Stale { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn compare(
    seed: u64,
    health: &Health,
    oracle: &Oracle,
    config: &Config,
    histories: &BTreeMap<u16, Vec<(bool, Timing)>>,
) {
    health.checks.check_invariants();
    for (index, check) in config.checks.iter().enumerate() {
        let history = histories.get(&check.probe.target.port()).map_or(&[][..], Vec::as_slice);
        assert_eq!(health.check(index).passing, verdict(history), "seed {seed}: {history:?}");
    }
    for (index, service) in config.services.iter().enumerate() {
        assert_eq!(health.service_state(index), oracle.services[&*service.name], "seed {seed}: {}", service.name);
        let status = health.service(index);
        let weighs = service.required.measure == Measure::Weight;
        let (mut counting, mut hoped) = ([0; 2], 0);
        for (backend, found) in service.backends.iter().zip(&status.backends) {
            let up = oracle.backends[&(service.name.to_string(), backend.address)];
            assert_eq!(found.up, up, "seed {seed}: {}/{}", service.name, backend.address);
            let amount = if weighs { u64::from(backend.weight) } else { 1 };
            let eligible = backend.enabled && backend.weight > 0;
            hoped += if eligible && !backend.sorry && !up && !found.decided { amount } else { 0 };
            if up && backend.enabled && backend.weight > 0 {
                counting[usize::from(backend.sorry)] += if weighs { u64::from(backend.weight) } else { 1 };
            }
        }
        let available = if counting[0] > 0 { counting[0] } else { counting[1] };
        assert_eq!(status.available, available, "seed {seed}: {}", service.name);
        assert_eq!(status.share.counting, counting[0] + hoped, "seed {seed}: {}", service.name);
    }
}

#[test]
fn soak_against_a_full_scan() {
    let mut counters = Counters::default();
    for seed in 0..150 {
        soak(seed, &mut counters);
    }
    let Counters { verdicts, overdue, ups, downs, reloads, shares, on_sorry } = counters;
    let all = [verdicts, overdue as usize, ups, downs, reloads, shares, on_sorry];
    assert!(all.iter().all(|n| *n > 150), "hardly tested: {all:?}");
}
