//! `[[vip]]`: how a VIP is announced, by what state.

use std::sync::Arc;
use std::time::Duration;

use super::{Attributes, Via};
use crate::prefix::Prefix;

/// `[[vip]]`: how one VIP is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// Indexes into [`Config::services`](super::Config::services) of the services on this VIP. Never empty.
    pub services: Vec<usize>,
    /// How many of them must be up.
    pub policy: VipPolicy,
    /// What must be up besides; no circles.
    pub depends_on: Vec<Dependency>,
    /// While healthy.
    pub attributes: Arc<Attributes>,
    /// How long the VIP must have been healthy before it is announced.
    pub hold_up: Hold,
    /// How long a VIP that was announced and turned unhealthy stays unannounced at least.
    pub hold_down: Hold,
    /// Flap damping; `None` for none.
    pub damping: Option<Damping>,
    /// The rungs of the ladder, from the highest share to the lowest: no two the same.
    pub ladder: Vec<Rung>,
    /// Where its address is put before it is announced; `None`: nowhere.
    pub bind: Option<Bind>,
    /// It is announced only while its address is on this host.
    pub require_address: bool,
    /// While unhealthy.
    pub on_down: OnDown,
    /// While it is doubted that it is unhealthy, where the [guard](super::FailStatic) degrades; else the route stays as it
    /// is.
    pub doubtful: Option<Arc<Attributes>>,
    /// Who is told.
    pub via: Via,
}

impl Vip {
    /// Announced with these attributes while all of these services are up, and with nothing else to mind.
    pub fn plain(services: Vec<usize>, attributes: Arc<Attributes>, via: Via) -> Vip {
        Vip {
            services,
            policy: VipPolicy::All,
            depends_on: Vec::new(),
            attributes,
            hold_up: Hold::default(),
            hold_down: Hold::default(),
            damping: None,
            ladder: Vec::new(),
            bind: None,
            require_address: false,
            on_down: OnDown::Withdraw,
            doubtful: None,
            via,
        }
    }
}

/// `bind`: the address of a VIP on an interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// As the system calls it.
    pub interface: Arc<str>,
    /// How long the address stays after the withdrawal.
    pub delay: Duration,
}

impl Bind {
    /// `unbind_delay` where nothing else is said.
    pub const DELAY: Duration = Duration::from_secs(5);
}

/// `vip_policy`: how many of the services on a VIP must be up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VipPolicy {
    /// Every one.
    #[default]
    All,
    /// One of them.
    Any,
}

impl VipPolicy {
    /// As written in configuration.
    pub fn name(self) -> &'static str {
        match self {
            VipPolicy::All => "all",
            VipPolicy::Any => "any",
        }
    }
}

/// One of `depends_on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    /// This service must be up: an index into [`Config::services`](super::Config::services).
    Service(usize),
    /// This VIP must be announced as healthy.
    Vip(Prefix),
}

/// `hold_up` and `hold_down`: a time to wait, longer after each fall of a VIP that falls again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// At first.
    pub initial: Duration,
    /// At most: it doubles with every fall until it gets there. Not below `initial`.
    pub max: Duration,
    /// A VIP that has been announced as healthy for so long begins with `initial` again.
    pub reset_after: Duration,
}

impl Hold {
    /// Always the same.
    pub fn constant(time: Duration) -> Hold {
        Hold { initial: time, max: time, reset_after: time }
    }

    /// After so many falls in a row; none and one are the same.
    pub fn after(&self, falls: u32) -> Duration {
        let doublings = falls.saturating_sub(1).min(31);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }
}

/// `damping`: a VIP that flaps is kept back until it has been quiet for a while, by the arithmetic of RFC 2439 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damping {
    /// What every fall adds.
    pub penalty: u32,
    /// Above this a VIP is not announced.
    pub suppress: u32,
    /// It is again when the penalty has decayed to this. Below `suppress`, and not 0.
    pub reuse: u32,
    /// How long the penalty takes to become half of itself. Not zero.
    pub half_life: Duration,
    /// The longest suppression. Not zero.
    pub max_suppress: Duration,
}

impl Damping {
    /// The largest penalty there can be: that which takes `max_suppress` to decay to `reuse` (RFC 2439 §4.2).
    pub fn ceiling(&self) -> f64 {
        f64::from(self.reuse) * (self.max_suppress.as_secs_f64() / self.half_life.as_secs_f64()).min(64.0).exp2()
    }
}

impl Default for Damping {
    fn default() -> Damping {
        Damping {
            penalty: 1000,
            suppress: 2500,
            reuse: 750,
            half_life: Duration::from_secs(60),
            max_suppress: Duration::from_secs(600),
        }
    }
}

/// `[[vip.step]]`: what becomes of the route of a VIP that is up, but of which too little is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// It is for a healthy share below this, in percent (1 to 100).
    pub below: u8,
    /// What becomes of the route.
    pub action: RungAction,
}

/// What a [`Rung`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RungAction {
    /// It is announced with these attributes.
    Announce(Arc<Attributes>),
    /// It is withdrawn.
    Withdraw,
}

/// `on_down`: what an unhealthy VIP's route becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnDown {
    /// Withdrawn.
    Withdraw,
    /// Announced with these attributes instead.
    Degrade(Arc<Attributes>),
}
