//! Services, their backends and checks.

use super::{Mood, Page, widest};
use crate::engine::status::{BackendLine, ServiceLine};

impl Page<'_> {
    pub(super) fn services(&mut self) {
        let mut services: Vec<&ServiceLine> = self.status.engine.services.iter().collect();
        let troubled = |service: &ServiceLine| service.backends.iter().map(|backend| Mood::of(&backend.state)).min();
        services.sort_by_key(|service| (Mood::of(&service.state), troubled(service)));
        self.heading("Services", services.iter().filter(|service| service.up).count(), services.len(), "up");
        let width = widest(services.iter().map(|service| service.name.as_str()));
        for service in services {
            let ServiceLine { name, state, available, required, backends, since, .. } = service;
            let state = self.paint(Mood::of(state), &format!("{state:<9}"));
            let (age, of) = (self.since(*since), backends.len());
            self.line(&format!(
                "  {name:<width$}  {state}  {age:>6}  {available} of {of} available, {required} required"
            ));
            let mut backends: Vec<&BackendLine> = backends.iter().collect();
            backends.sort_by_key(|backend| Mood::of(&backend.state));
            let width = widest(backends.iter().map(|backend| backend.address.as_str()));
            for backend in backends {
                self.backend(backend, width);
            }
        }
    }

    fn backend(&mut self, backend: &BackendLine, width: usize) {
        let state = self.paint(Mood::of(&backend.state), &format!("{:<9}", backend.state));
        let mut checks: Vec<_> = backend.checks.iter().collect();
        checks.sort_by_key(|check| Mood::of(&check.verdict));
        let mut words: Vec<String> = Vec::new();
        if backend.weight == 0 {
            words.push("weight 0".to_owned());
        }
        for check in checks {
            words.push(match check.detail.as_str() {
                "" => format!("{}: {}", check.name, check.verdict),
                detail => format!("{}: {detail}", check.name),
            });
        }
        let age = self.since(backend.since);
        self.line(&format!("    {:<width$}  {state}  {age:>6}  {}", backend.address, words.join("; ")));
    }
}
