//! `hold_up`, `hold_down` and flap damping: how long a VIP that is healthy again is kept back.

use std::time::{Duration, Instant};

use super::decision::later;
use crate::config::{Damping, Hold};

/// How often a VIP has fallen, and what follows. To fall is to turn unhealthy after having been announced as healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Falls {
    /// In a row, for `hold_up`: without having been up for its `reset_after` in between.
    up: u32,
    /// The same for `hold_down`.
    down: u32,
    /// When it fell last.
    pub(super) last: Option<Instant>,
    /// Since when it is announced as healthy.
    standing_since: Option<Instant>,
    penalty: Option<Penalty>,
}

/// What is remembered of a VIP across a restart: holds and penalties go on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Since when it is healthy.
    pub healthy_since: Option<Instant>,
    /// Since when it stands announced as healthy.
    pub standing_since: Option<Instant>,
    /// When it fell last.
    pub fell: Option<Instant>,
    /// How often it has fallen in a row, for `hold_up` and for `hold_down`.
    pub falls: (u32, u32),
    /// The penalty for that, when it was that, and whether the VIP was suppressed for it.
    pub penalty: Option<(f64, Instant, bool)>,
}

/// A penalty at a time; it decays from there.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Penalty {
    value: f64,
    at: Instant,
    /// It has come above `suppress`, and not yet down to `reuse`.
    suppressed: bool,
}

impl Penalty {
    fn at(&self, now: Instant, damping: &Damping) -> f64 {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        self.value * (-age / damping.half_life.as_secs_f64()).exp2()
    }

    /// When it has decayed to `reuse`.
    fn reuse_at(&self, damping: &Damping) -> Instant {
        let halvings = (self.value / f64::from(damping.reuse)).log2().max(0.0);
        let wait = (halvings * damping.half_life.as_secs_f64()).min(damping.max_suppress.as_secs_f64());
        // Rounded up: at that time it is not above.
        later(self.at, Duration::from_secs_f64(wait) + Duration::from_millis(1))
    }
}

impl Falls {
    /// As they were before a restart.
    pub(super) fn remembered(memory: &Memory) -> Falls {
        let penalty = memory.penalty.map(|(value, at, suppressed)| Penalty { value, at, suppressed });
        let (up, down) = memory.falls;
        Falls { up, down, last: memory.fell, standing_since: memory.standing_since, penalty }
    }

    /// For a restart.
    pub(super) fn memory(&self, healthy_since: Option<Instant>) -> Memory {
        Memory {
            healthy_since,
            standing_since: self.standing_since,
            fell: self.last,
            falls: (self.up, self.down),
            penalty: self.penalty.map(|penalty| (penalty.value, penalty.at, penalty.suppressed)),
        }
    }

    /// It stands announced as healthy.
    pub(super) fn stand(&mut self, now: Instant) {
        self.standing_since.get_or_insert(now);
    }

    /// It stands so no more, for a reason that is not its health.
    pub(super) fn leave(&mut self) {
        self.standing_since = None;
    }

    /// It falls.
    pub(super) fn fall(&mut self, now: Instant, hold_up: &Hold, hold_down: &Hold, damping: Option<&Damping>) {
        let stood = self.standing_since.take().map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        let count = |falls: u32, hold: &Hold| if stood >= hold.reset_after { 1 } else { falls.saturating_add(1) };
        self.up = count(self.up, hold_up);
        self.down = count(self.down, hold_down);
        self.last = Some(now);
        if let Some(damping) = damping {
            let before = self.penalty.map_or(0.0, |penalty| penalty.at(now, damping));
            let value = (before + f64::from(damping.penalty)).min(damping.ceiling());
            let suppressed = value > f64::from(damping.suppress) || self.is_suppressed(now, damping);
            self.penalty = Some(Penalty { value, at: now, suppressed });
        }
    }

    fn is_suppressed(&self, now: Instant, damping: &Damping) -> bool {
        self.penalty.is_some_and(|penalty| penalty.suppressed && penalty.reuse_at(damping) > now)
    }

    /// Until when it is suppressed, if it is.
    pub(super) fn suppressed_until(&self, now: Instant, damping: &Damping) -> Option<Instant> {
        self.penalty.filter(|_| self.is_suppressed(now, damping)).map(|penalty| penalty.reuse_at(damping))
    }

    /// The penalty now.
    pub(super) fn penalty(&self, now: Instant, damping: &Damping) -> f64 {
        self.penalty.map_or(0.0, |penalty| penalty.at(now, damping))
    }

    /// Until when `hold_down` keeps it down, if that is not over.
    pub(super) fn down_until(&self, now: Instant, hold_down: &Hold) -> Option<Instant> {
        self.last.map(|last| later(last, hold_down.after(self.down))).filter(|until| *until > now)
    }

    /// How long `hold_up` is.
    pub(super) fn hold_up(&self, hold_up: &Hold) -> Duration {
        hold_up.after(self.up)
    }
}
