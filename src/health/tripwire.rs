//! Tripwires: idle connections to targets whose end is a hint that something has happened there.
//!
//! A wire is opened once its check passes. Its end is no verdict: it runs the check at once. Backends that close idle
//! connections by habit are asked for new ones less and less often.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Ticket;
use crate::config::Probe;
use crate::timers::Deadlines;

/// How long after its end a wire is opened again at the soonest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// And at the latest.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// One that has lasted so long ends by an event or a timeout of some worth: the pause begins anew.
const LASTING: Duration = Duration::from_secs(10);

/// What the driver must do with a wire.
#[derive(Clone, Debug)]
pub enum WireAction {
    /// Connect to the probe's target, and send nothing. Answered by opened or ended, later by ended.
    Open(Ticket, Arc<Probe>),
    /// Close it; nothing more is told of it.
    Close(Ticket),
}

/// How a wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireState {
    /// Its check has not passed since there is reason to wait for that.
    Off,
    /// The connection is being made.
    Opening,
    /// It is held open.
    Open,
    /// It has ended, and is not opened again before this time.
    Resting(Instant),
}

/// A wire at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireStatus {
    /// How it is.
    pub state: WireState,
    /// How often it has ended.
    pub ended: u64,
}

#[derive(Clone, Debug)]
struct Wire {
    probe: Arc<Probe>,
    state: WireState,
    /// Of the present connection.
    ticket: Ticket,
    /// When the present connection was made.
    since: Option<Instant>,
    pause: Duration,
    ended: u64,
}

/// All wires, by the keys of their checks.
#[derive(Clone, Debug, Default)]
pub(super) struct Wires {
    wires: BTreeMap<usize, Wire>,
    rests: Deadlines<usize>,
    generation: u64,
    actions: VecDeque<WireAction>,
}

impl Wires {
    /// The checks that have one from now on. One that goes on with the same probe is left as it is.
    pub(super) fn configure(&mut self, wanted: BTreeMap<usize, Arc<Probe>>) {
        let mut before = std::mem::take(&mut self.wires);
        for (key, probe) in wanted {
            let known = before.remove(&key);
            let (kept, dropped) = match known {
                Some(wire) if wire.probe == probe => (Some(wire), None),
                other => (None, other),
            };
            self.close(dropped.as_ref());
            if kept.is_none() {
                self.rests.set(key, None);
            }
            let fresh = || Wire {
                probe: probe.clone(),
                state: WireState::Off,
                ticket: Ticket::new(key, 0),
                since: None,
                pause: FIRST_PAUSE,
                ended: 0,
            };
            self.wires.insert(key, kept.unwrap_or_else(fresh));
        }
        for (key, wire) in before {
            self.rests.set(key, None);
            self.close(Some(&wire));
        }
    }

    fn close(&mut self, wire: Option<&Wire>) {
        if let Some(Wire { ticket, state: WireState::Opening | WireState::Open, .. }) = wire {
            self.actions.push_back(WireAction::Close(*ticket));
        }
    }

    /// The check has passed: its target is there to connect to.
    pub(super) fn passed(&mut self, key: usize) {
        let Some(wire) = self.wires.get_mut(&key).filter(|wire| wire.state == WireState::Off) else { return };
        self.generation += 1;
        wire.ticket = Ticket::new(key, self.generation);
        wire.state = WireState::Opening;
        wire.since = None;
        self.actions.push_back(WireAction::Open(wire.ticket, wire.probe.clone()));
    }

    /// The connection is made.
    pub(super) fn opened(&mut self, now: Instant, ticket: Ticket) {
        if let Some(wire) = self.find(ticket) {
            wire.state = WireState::Open;
            wire.since = Some(now);
        }
    }

    /// The connection has ended, or could not be made. The key of the check that shall run, if that is news.
    pub(super) fn ended(&mut self, now: Instant, ticket: Ticket) -> Option<usize> {
        let key = ticket.check;
        let wire = self.find(ticket)?;
        wire.ended += 1;
        let lasted = wire.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let pause = if lasted >= LASTING { FIRST_PAUSE } else { wire.pause };
        wire.pause = (pause * 2).min(LONGEST_PAUSE);
        let until = now.checked_add(pause).unwrap_or(now);
        wire.state = WireState::Resting(until);
        self.rests.set(key, Some(until));
        Some(key)
    }

    /// The check has failed: that is why its wire has ended, which is no habit.
    pub(super) fn failed(&mut self, key: usize) {
        if let Some(wire) = self.wires.get_mut(&key).filter(|wire| matches!(wire.state, WireState::Resting(_))) {
            (wire.state, wire.pause) = (WireState::Off, FIRST_PAUSE);
            self.rests.set(key, None);
        }
    }

    /// Lets wires be opened again whose pause is over: with the next run that passes.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.rests.expire(now) {
            if let Some(wire) = self.wires.get_mut(&key) {
                wire.state = WireState::Off;
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.rests.earliest()
    }

    pub(super) fn poll_action(&mut self) -> Option<WireAction> {
        self.actions.pop_front()
    }

    /// The wire of the check with this key, if it has one.
    pub(super) fn status(&self, key: usize) -> Option<WireStatus> {
        self.wires.get(&key).map(|wire| WireStatus { state: wire.state, ended: wire.ended })
    }

    fn find(&mut self, ticket: Ticket) -> Option<&mut Wire> {
        let open = |wire: &&mut Wire| matches!(wire.state, WireState::Opening | WireState::Open);
        self.wires.get_mut(&ticket.check).filter(|wire| wire.ticket == ticket).filter(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Egress, ProbeKind, TcpProbe};
    use crate::timers::origin;

    const SECOND: Duration = Duration::from_secs(1);

    fn probe(port: u16) -> Arc<Probe> {
        let target = std::net::SocketAddr::from(([10, 0, 0, 1], port));
        Arc::new(Probe { target, egress: Egress::default(), kind: ProbeKind::Tcp(TcpProbe::CONNECT) })
    }

    fn opens(wires: &mut Wires) -> Option<Ticket> {
        match wires.poll_action() {
            Some(WireAction::Open(ticket, _)) => Some(ticket),
            None => None,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_habit_of_closing_makes_no_storm() {
        let mut wires = Wires::default();
        wires.configure(BTreeMap::from([(3, probe(1))]));
        assert!(opens(&mut wires).is_none(), "not before the check has passed");
        let mut now = origin();
        let (mut pauses, end) = (Vec::new(), now + 3600 * SECOND);
        while now < end {
            wires.passed(3);
            wires.passed(3);
            let ticket = opens(&mut wires).unwrap();
            assert!(opens(&mut wires).is_none());
            wires.opened(now, ticket);
            now += 5 * SECOND;
            assert_eq!(wires.ended(now, ticket), Some(3));
            assert_eq!(wires.ended(now, ticket), None, "once");
            wires.passed(3);
            assert!(opens(&mut wires).is_none(), "it rests");
            let until = wires.poll_timeout().unwrap();
            pauses.push((until - now).as_secs());
            now = until;
            wires.handle_timeout(now);
        }
        assert_eq!(pauses[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(wires.status(3).map(|status| status.ended), Some(pauses.len() as u64));
        // One that had a reason is back as soon as the check passes, and the next pause is short again.
        wires.passed(3);
        let ticket = opens(&mut wires).unwrap();
        wires.ended(now, ticket);
        wires.failed(3);
        wires.passed(3);
        let ticket = opens(&mut wires).unwrap();
        wires.ended(now, ticket);
        assert_eq!(wires.poll_timeout(), Some(now + SECOND));
        now += SECOND;
        wires.handle_timeout(now);
        // One that lasts is soon back.
        wires.passed(3);
        let ticket = opens(&mut wires).unwrap();
        wires.opened(now, ticket);
        wires.ended(now + 10 * SECOND, ticket);
        assert_eq!(wires.poll_timeout(), Some(now + 11 * SECOND));
    }

    #[test]
    fn a_reload_keeps_what_goes_on() {
        let mut wires = Wires::default();
        wires.configure(BTreeMap::from([(0, probe(1)), (1, probe(2)), (2, probe(3))]));
        (0..3).for_each(|key| wires.passed(key));
        let tickets: Vec<Ticket> = std::iter::from_fn(|| opens(&mut wires)).collect();
        wires.opened(origin(), tickets[0]);
        wires.opened(origin(), tickets[1]);
        wires.configure(BTreeMap::from([(0, probe(1)), (1, probe(9))]));
        let closed: Vec<Ticket> = std::iter::from_fn(|| wires.poll_action())
            .map(|action| match action {
                WireAction::Close(ticket) => ticket,
                WireAction::Open(..) => panic!("{action:?}"),
            })
            .collect();
        assert_eq!(closed, [tickets[1], tickets[2]]);
        assert_eq!(wires.status(0).map(|status| status.state), Some(WireState::Open));
        assert_eq!(wires.status(1).map(|status| status.state), Some(WireState::Off));
        assert_eq!(wires.ended(origin(), tickets[1]), None, "what was closed is not news");
        assert_eq!(wires.ended(origin(), tickets[0]), Some(0));
    }
}
