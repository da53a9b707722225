//! The fail-static guard and the self-checks: whether to believe what the rest of the page says.

use super::{Mood, Page, widest};

impl Page<'_> {
    /// A doubt in plain sight, before everything that it puts in question; self-checks only where one does not pass.
    pub(super) fn guard(&mut self) {
        if let Some(guard) = self.status.engine.guard.as_ref().filter(|guard| guard.active) {
            let head = self.paint(Mood::Bad, "GUARD");
            let reason = guard.reason.as_deref().unwrap_or_default();
            let since = guard.since.map(|at| format!(" for {}", self.since(at))).unwrap_or_default();
            let until = guard.until.map(|at| format!(", {} more at most", self.left(at))).unwrap_or_default();
            self.line(&format!("{head}: {reason}; doubted{since}{until}: {} VIPs stay announced", guard.doubted));
        }
        let mut own: Vec<_> = self.status.engine.self_checks.iter().collect();
        own.sort_by_key(|own| Mood::of(&own.state));
        let good = own.iter().filter(|own| own.state == "passing").count();
        if good == own.len() {
            return;
        }
        self.heading("Self-checks", good, own.len(), "passing");
        let width = widest(own.iter().map(|own| own.name.as_str()));
        for own in own {
            let state = self.paint(Mood::of(&own.state), &format!("{:<9}", own.state));
            let age = own.since.map(|at| self.since(at)).unwrap_or_default();
            let means =
                if own.state == "failing" { format!(" ({} while it fails)", own.on_failure) } else { String::new() };
            self.line(&format!("  {:<width$}  {state}  {age:>6}  {}{means}", own.name, own.detail));
        }
    }
}
