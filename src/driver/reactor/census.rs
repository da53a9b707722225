//! What systemd shows at a glance (`STATUS=`): how many VIPs are announced and how many sessions are up. It is counted as things
//! change, and told once a second at most.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Reactor;
use crate::announce::{VipEvent, VipState};
use crate::bgp::peer::{self, State};
use crate::engine;
use crate::engine::status::vip_state;

/// Between two words to systemd.
const PAUSE: Duration = Duration::from_secs(1);

/// What is counted.
#[derive(Debug)]
pub(super) struct Census {
    vips: BTreeMap<&'static str, usize>,
    /// Something has changed since it was told last.
    is_due: bool,
    /// Not before this.
    next: Instant,
}

impl Census {
    pub(super) fn new(now: Instant) -> Census {
        Census { vips: BTreeMap::new(), is_due: true, next: now }
    }

    /// Something that it counts, or tells, may have changed.
    pub(super) fn note(&mut self, notice: &engine::Notice) {
        match notice {
            engine::Notice::Vip(event, _) => self.count(event),
            engine::Notice::Peer(_, peer::Notice::State { from, to, .. })
                if [from, to].into_iter().any(|state| *state == State::Established) => {}
            engine::Notice::Drain(_) | engine::Notice::Guard(..) | engine::Notice::PeerReload(..) => {}
            _ => return,
        }
        self.is_due = true;
    }

    /// Something else that is told has changed.
    pub(super) fn touch(&mut self) {
        self.is_due = true;
    }

    fn count(&mut self, event: &VipEvent) {
        if let Some(count) = event.from.and_then(|state| self.vips.get_mut(vip_state(state))) {
            *count = count.saturating_sub(1);
        }
        if let Some(state) = event.to {
            *self.vips.entry(vip_state(state)).or_default() += 1;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.is_due.then_some(self.next)
    }

    /// `3 of 4 VIPs announced, 1 withdrawn`. What is degraded or frozen is announced, too.
    fn words(&self) -> String {
        let all: usize = self.vips.values().sum();
        let announced = vip_state(VipState::Announced);
        let routed = [VipState::Announced, VipState::Degraded, VipState::Frozen].map(vip_state);
        let count: usize = routed.iter().filter_map(|state| self.vips.get(state)).sum();
        let others = self.vips.iter().filter(|(state, count)| **state != announced && **count > 0);
        let others: String = others.map(|(state, count)| format!(", {count} {state}")).collect();
        format!("{count} of {all} VIP{} announced{others}", if all == 1 { "" } else { "s" })
    }
}

impl Reactor {
    /// When systemd is next told something.
    pub(super) fn census_deadline(&self) -> Option<Instant> {
        self.oversight.census.deadline().filter(|_| self.oversight.watchdog.messenger.is_heard())
    }

    /// Tells systemd what has changed, if it is time.
    pub(super) fn tell_census(&mut self, now: Instant) {
        if self.census_deadline().is_none_or(|at| at > now) {
            return;
        }
        let (up, all) = self.engine.sessions();
        let mut words = vec![self.oversight.census.words()];
        words.extend((all > 0).then(|| format!("{up} of {all} BGP session{} up", if all == 1 { "" } else { "s" })));
        words.extend(self.state.is_stale().then(|| "the configuration is stale".to_owned()));
        words.extend(self.engine.is_doubting().then(|| "the guard holds routes".to_owned()));
        match self.engine.drains().iter().count() {
            0 => {}
            1 => words.push("1 drain".to_owned()),
            many => words.push(format!("{many} drains")),
        }
        self.oversight.watchdog.messenger.status(words.join("; "));
        self.oversight.census.is_due = false;
        self.oversight.census.next = now + PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::VipCause;
    use crate::driver::clock;

    #[test]
    fn what_changes_is_counted() {
        let mut census = Census::new(clock());
        assert_eq!(census.words(), "0 of 0 VIPs announced");
        let event = |from, to| VipEvent { vip: "192.0.2.1".parse().unwrap(), from, to, cause: VipCause::AllUp };
        census.count(&event(None, Some(VipState::Holding)));
        assert_eq!(census.words(), "0 of 1 VIP announced, 1 holding");
        census.count(&event(Some(VipState::Holding), Some(VipState::Announced)));
        census.count(&event(None, Some(VipState::Withdrawn)));
        assert_eq!(census.words(), "1 of 2 VIPs announced, 1 withdrawn");
        census.count(&event(Some(VipState::Announced), Some(VipState::Frozen)));
        assert_eq!(census.words(), "1 of 2 VIPs announced, 1 frozen, 1 withdrawn");
        census.count(&event(Some(VipState::Frozen), Some(VipState::Announced)));
        census.count(&event(Some(VipState::Withdrawn), None));
        assert_eq!(census.words(), "1 of 1 VIP announced");
    }
}
