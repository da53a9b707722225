//! Services, their backends and checks.

use super::{Mood, Page, widest};
use crate::engine::status::{BackendLine, ServiceLine};

impl Page<'_> {
    pub(super) fn services(&mut self) {
        let mut services: Vec<&ServiceLine> = self.status.engine.services.iter().collect();
        let troubled = |service: &ServiceLine| service.backends.iter().map(mood).min();
        services.sort_by_key(|service| (Mood::of(&service.state), troubled(service)));
        self.heading("Services", services.iter().filter(|service| service.up).count(), services.len(), "up");
        let width = widest(services.iter().map(|service| service.name.as_str()));
        for service in services {
            let ServiceLine { name, state, backends, since, .. } = service;
            let state = self.paint(Mood::of(state), &format!("{state:<9}"));
            let age = self.since(*since);
            let disabled = service.disabled_by.as_ref().map(|file| format!("; disabled by {}", file.display()));
            let share = share(service);
            self.line(&format!("  {name:<width$}  {state}  {age:>6}  {share}{}", disabled.unwrap_or_default()));
            let mut backends: Vec<&BackendLine> = backends.iter().collect();
            backends.sort_by_key(|backend| mood(backend));
            let width = widest(backends.iter().map(|backend| backend.address.as_str()));
            for backend in backends {
                self.backend(backend, width);
            }
        }
    }

    fn backend(&mut self, backend: &BackendLine, width: usize) {
        let state = self.paint(mood(backend), &format!("{:<9}", backend.state));
        let mut checks: Vec<_> = backend.checks.iter().collect();
        checks.sort_by_key(|check| (check.advisory, Mood::of(&check.verdict)));
        let mut words: Vec<String> = Vec::new();
        words.extend(backend.sorry.then(|| "sorry".to_owned()));
        match backend.effective_weight {
            Some(left) if left != backend.weight => words.push(format!("weight {left} of {}", backend.weight)),
            _ if backend.weight == 0 => words.push("weight 0".to_owned()),
            _ => {}
        }
        if backend.combine != "all" && !backend.combine.is_empty() {
            let counting = checks.iter().filter(|check| !check.advisory).count();
            words.push(format!("{} of {counting} checks needed", backend.combine));
        }
        for check in checks {
            let said = if check.detail.is_empty() { &check.verdict } else { &check.detail };
            let advisory = if check.advisory { " (advisory)" } else { "" };
            let stale = if check.stale { ", stale" } else { "" };
            let warning = check.warning.as_ref().map(|warning| format!(" ({warning})")).unwrap_or_default();
            words.push(format!("{}{advisory}{stale}: {said}{warning}", check.name));
        }
        let age = self.since(backend.since);
        self.line(&format!("    {:<width$}  {state}  {age:>6}  {}", backend.address, words.join("; ")));
    }
}

/// How much of a service counts, in the measure of its `required`.
pub(in crate::cli) fn share(service: &ServiceLine) -> String {
    let ServiceLine { available, required, required_up, required_down, .. } = service;
    let of = service.total.unwrap_or(service.backends.len() as u64);
    let measure = if service.measure.as_deref() == Some("weight") { "weight " } else { "" };
    // Of two marks, the one that is not in force now says when it will change.
    let other = match (required_up, required_down) {
        (Some(up), Some(down)) if up != down && required == down => format!(" (to come up: {up})"),
        (Some(up), Some(down)) if up != down => format!(" (to stay up: {down})"),
        _ => String::new(),
    };
    let sorry = if service.on_sorry { "; on its sorry backends" } else { "" };
    format!("{measure}{available} of {of} available, {required} required{other}{sorry}")
}

/// One that has less than its weight serves all the same.
pub(super) fn mood(backend: &BackendLine) -> Mood {
    if backend.state == "degraded" { Mood::Unsure } else { Mood::of(&backend.state) }
}
