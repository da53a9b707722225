//! Hooks that fail.

use super::{Page, widest};
use crate::driver::status::HookLine;

impl Page<'_> {
    /// Not at all while all of them work.
    pub(super) fn hooks(&mut self) {
        let hooks = &self.status.hooks;
        let failing: Vec<&HookLine> = hooks.iter().filter(|hook| hook.failing).collect();
        if failing.is_empty() {
            return;
        }
        self.heading("Hooks", hooks.len() - failing.len(), hooks.len(), "working");
        let width = widest(failing.iter().map(|hook| hook.name.as_str()));
        for hook in failing {
            let age = hook.last_error_at.map(|at| self.since(at)).unwrap_or_default();
            let mut words = vec![format!("{} waiting", hook.queued), format!("{} told", hook.delivered)];
            words.extend((hook.failed > 0).then(|| format!("{} given up", hook.failed)));
            words.extend((hook.dropped > 0).then(|| format!("{} dropped", hook.dropped)));
            let error = hook.last_error.as_deref().unwrap_or_default();
            self.line(&format!("  {:<width$}  {age:>6}  {error}; {}", hook.name, words.join(", ")));
        }
    }
}
