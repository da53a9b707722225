//! What must be there before a VIP is announced: its address on this host, and the data plane that serves it.
//!
//! It goes from the ground up: the address is added, then the data plane is readied, then the route is announced; and back
//! in the opposite order, the data plane hearing of it once the withdrawal is on its way, and the address staying for a
//! while longer. What is wanted is state: whatever fails or vanishes is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::decision::later;
use crate::config::{Bind, Config, DataPlanePolicy};
use crate::prefix::Prefix;
use crate::timers::Deadlines;

/// The pause before something that failed is tried again; it doubles up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroundAction {
    /// Add this address to this interface.
    Bind(Prefix, Arc<str>),
    /// Remove it.
    Unbind(Prefix, Arc<str>),
    /// Ready the data plane for this VIP; answered by [`Announce::prepared`](super::Announce::prepared) with this number.
    Prepare(Prefix, u64),
    /// Tell the data plane that this VIP has been withdrawn; the answer is of no consequence.
    Retire(Prefix, u64),
}

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressNews {
    /// It is there, and can be used.
    Present,
    /// It is not there.
    Absent,
    /// It could not be added or removed, and why.
    Failed(String),
}

/// Why a VIP is not announced that would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroundCause {
    /// Its address is being added, or it is not known yet whether it is there.
    Address,
    /// Its address could not be added; that is tried again at this time.
    AddressFailed(Instant),
    /// Its address is not on this host.
    AddressMissing,
    /// The data plane is being readied.
    DataPlane,
    /// The data plane could not be readied; that is tried again at this time.
    DataPlaneFailed(Instant),
}

/// Whether a VIP may be announced as far as its ground goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footing {
    /// It may.
    Firm,
    /// Not yet; where it is announced already, it stays so.
    Waiting(GroundCause),
    /// It may not, not even where it is announced.
    Lost(GroundCause),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Plane {
    /// Nobody has told it anything yet.
    #[default]
    Unknown,
    /// It has been told that the VIP is not announced.
    Retired,
    /// It is being readied.
    Preparing(u64),
    Ready,
    /// It could not be readied.
    Failed,
}

#[derive(Clone, Debug, Default)]
struct Ground {
    bind: Option<Bind>,
    required: bool,
    /// There is a data plane to be readied.
    has_plane: bool,
    /// The VIP is still configured.
    is_configured: bool,
    /// The route is announced or is to be.
    wanted: bool,
    /// Whether the address is there; `None` as long as nobody knows.
    present: Option<bool>,
    /// It has been there since it was wanted: when it goes, somebody has removed it.
    was_present: bool,
    /// It is being added.
    adding: bool,
    address_error: Option<String>,
    address_retry: Option<Instant>,
    address_pause: Duration,
    unbind_at: Option<Instant>,
    plane: Plane,
    plane_error: Option<String>,
    plane_retry: Option<Instant>,
    plane_pause: Duration,
}

/// The ground of all VIPs that need any.
#[derive(Clone, Debug, Default)]
pub(super) struct Grounds {
    grounds: BTreeMap<Prefix, Ground>,
    policy: DataPlanePolicy,
    /// Of the latest run of the data plane's program.
    job: u64,
    deadlines: Deadlines<Prefix>,
    /// Addresses that are to be removed some time.
    unbinding: BTreeSet<Prefix>,
    actions: Vec<GroundAction>,
}

impl Grounds {
    /// Replaces the configuration. What is not configured any more is cleared away like what is not wanted any more; an
    /// address whose `bind` is gone stays where it is.
    pub(super) fn configure(&mut self, now: Instant, config: &Config) {
        let hook = config.hooks.data_plane.as_ref();
        self.policy = hook.map(|hook| hook.policy).unwrap_or_default();
        for ground in self.grounds.values_mut() {
            ground.is_configured = false;
        }
        for (prefix, vip) in &config.vips {
            if vip.bind.is_none() && !vip.require_address && hook.is_none() && !self.grounds.contains_key(prefix) {
                continue;
            }
            let ground = self.grounds.entry(*prefix).or_default();
            let moved = ground.bind.as_ref().zip(vip.bind.as_ref()).filter(|(old, new)| old.interface != new.interface);
            if let Some((old, _)) = moved {
                if ground.adding || ground.present == Some(true) {
                    self.actions.push(GroundAction::Unbind(*prefix, old.interface.clone()));
                }
                (ground.present, ground.was_present, ground.adding) = (None, false, false);
            }
            ground.bind.clone_from(&vip.bind);
            (ground.required, ground.has_plane, ground.is_configured) = (vip.require_address, hook.is_some(), true);
            // Somebody may have mended what failed.
            (ground.address_retry, ground.plane_retry) = (None, None);
        }
        let gone: Vec<Prefix> =
            self.grounds.iter().filter(|(_, ground)| !ground.is_configured).map(|(prefix, _)| *prefix).collect();
        gone.iter().for_each(|prefix| self.release(now, prefix));
    }

    /// Whether this VIP may be announced, which it would be otherwise; what that takes is set going.
    pub(super) fn want(&mut self, now: Instant, prefix: &Prefix) -> Footing {
        let Some(ground) = self.grounds.get_mut(prefix) else { return Footing::Firm };
        if !ground.wanted {
            (ground.wanted, ground.was_present) = (true, ground.present == Some(true));
        }
        ground.unbind_at = None;
        self.unbinding.remove(prefix);
        let footing = match ground.address(now, prefix, &mut self.actions) {
            Footing::Firm => ground.plane(now, prefix, self.policy, &mut self.job, &mut self.actions),
            other => other,
        };
        self.deadlines.set(*prefix, ground.deadline());
        footing
    }

    /// This VIP is not to be announced: what it stood on is cleared away.
    pub(super) fn release(&mut self, now: Instant, prefix: &Prefix) {
        let Some(ground) = self.grounds.get_mut(prefix) else { return };
        if std::mem::take(&mut ground.adding) {
            // It may be there any moment.
            ground.present = None;
        }
        ground.wanted = false;
        (ground.address_retry, ground.plane_retry) = (None, None);
        if ground.has_plane && ground.plane != Plane::Retired {
            self.job += 1;
            self.actions.push(GroundAction::Retire(*prefix, self.job));
            (ground.plane, ground.plane_error) = (Plane::Retired, None);
        }
        match &ground.bind {
            Some(bind) if ground.present != Some(false) => {
                let at = *ground.unbind_at.get_or_insert(later(now, bind.delay));
                self.unbinding.insert(*prefix);
                self.deadlines.set(*prefix, Some(at));
            }
            _ => self.forget(prefix),
        }
    }

    /// Nothing is left to do for this one.
    fn forget(&mut self, prefix: &Prefix) {
        self.deadlines.set(*prefix, None);
        self.unbinding.remove(prefix);
        if self.grounds.get(prefix).is_some_and(|ground| !ground.is_configured) {
            self.grounds.remove(prefix);
        }
    }

    /// Something is known of an address. Tells whether the VIP is to be looked at again.
    pub(super) fn address_news(&mut self, now: Instant, prefix: &Prefix, news: AddressNews) -> bool {
        let Some(ground) = self.grounds.get_mut(prefix) else { return false };
        ground.adding &= news == AddressNews::Absent;
        match news {
            AddressNews::Present => {
                (ground.present, ground.was_present) = (Some(true), ground.wanted);
                (ground.address_error, ground.address_retry, ground.address_pause) = (None, None, Duration::ZERO);
            }
            AddressNews::Absent => {
                ground.present = Some(false);
                if !ground.wanted {
                    // Nothing is left to be removed.
                    ground.unbind_at = None;
                    self.forget(prefix);
                    return false;
                }
            }
            AddressNews::Failed(error) => {
                ground.address_error = Some(error);
                ground.address_pause = (ground.address_pause * 2).clamp(RETRY, RETRY_MAX);
                ground.address_retry = Some(later(now, ground.address_pause));
            }
        }
        ground.wanted || ground.present == Some(true)
    }

    /// The data plane has been readied, or not. Tells whether the VIP is to be looked at again.
    pub(super) fn prepared(&mut self, now: Instant, prefix: &Prefix, job: u64, result: Result<(), String>) -> bool {
        let Some(ground) = self.grounds.get_mut(prefix) else { return false };
        if ground.plane != Plane::Preparing(job) {
            return false;
        }
        match result {
            Ok(()) => {
                (ground.plane, ground.plane_error, ground.plane_pause) = (Plane::Ready, None, Duration::ZERO);
            }
            Err(error) => {
                (ground.plane, ground.plane_error) = (Plane::Failed, Some(error));
                ground.plane_pause = (ground.plane_pause * 2).clamp(RETRY, RETRY_MAX);
                ground.plane_retry = Some(later(now, ground.plane_pause));
            }
        }
        true
    }

    /// Does what is due; returns a VIP that is to be looked at again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Prefix> {
        let prefix = self.deadlines.expire(now)?;
        let Some(ground) = self.grounds.get_mut(&prefix) else { return Some(prefix) };
        if ground.wanted {
            ground.address_retry.take_if(|at| *at <= now);
            ground.plane_retry.take_if(|at| *at <= now);
        } else if let Some(bind) = ground.bind.as_ref().filter(|_| ground.unbind_at.is_some_and(|at| at <= now)) {
            self.actions.push(GroundAction::Unbind(prefix, bind.interface.clone()));
            // As good as: whoever wants it from now on has to add it again.
            (ground.unbind_at, ground.present) = (None, Some(false));
            self.forget(&prefix);
        }
        Some(prefix)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.earliest()
    }

    /// The next thing to do, in order; after the routes of the same moment.
    pub(super) fn take_actions(&mut self) -> Vec<GroundAction> {
        std::mem::take(&mut self.actions)
    }

    /// The daemon stops at once: what is ours is cleared away without a delay.
    pub(super) fn abandon(&mut self) {
        for (prefix, ground) in &mut self.grounds {
            if ground.has_plane && !matches!(ground.plane, Plane::Retired | Plane::Unknown) {
                self.job += 1;
                self.actions.push(GroundAction::Retire(*prefix, self.job));
                ground.plane = Plane::Retired;
            }
            let is_there = ground.adding || ground.present == Some(true);
            if let Some(bind) = ground.bind.as_ref().filter(|_| is_there) {
                self.actions.push(GroundAction::Unbind(*prefix, bind.interface.clone()));
                (ground.present, ground.adding) = (Some(false), false);
            }
        }
        self.unbinding.clear();
    }

    /// Whether no address waits for its removal.
    pub(super) fn is_clear(&self) -> bool {
        self.unbinding.is_empty()
    }

    /// Why something of it failed.
    pub(super) fn error(&self, prefix: &Prefix, cause: GroundCause) -> Option<&str> {
        let ground = self.grounds.get(prefix)?;
        match cause {
            GroundCause::AddressFailed(_) | GroundCause::Address => ground.address_error.as_deref(),
            GroundCause::DataPlaneFailed(_) | GroundCause::DataPlane => ground.plane_error.as_deref(),
            GroundCause::AddressMissing => None,
        }
    }
}

impl Ground {
    fn address(&mut self, now: Instant, prefix: &Prefix, actions: &mut Vec<GroundAction>) -> Footing {
        if self.bind.is_none() && !self.required || self.present == Some(true) {
            return Footing::Firm;
        }
        let removed = self.was_present && self.present == Some(false);
        match &self.bind {
            // Whoever removed it wants the VIP gone, and may bring it back.
            _ if self.required && removed => Footing::Lost(GroundCause::AddressMissing),
            None if self.present.is_none() => Footing::Waiting(GroundCause::Address),
            None => Footing::Lost(GroundCause::AddressMissing),
            Some(bind) => {
                let retry = self.address_retry.filter(|at| *at > now);
                if let Some(at) = retry {
                    let cause = GroundCause::AddressFailed(at);
                    // What was never there is not missed by a VIP that is announced: a new `bind` takes nothing away.
                    return if removed { Footing::Lost(cause) } else { Footing::Waiting(cause) };
                }
                if !self.adding {
                    self.adding = true;
                    actions.push(GroundAction::Bind(*prefix, bind.interface.clone()));
                }
                Footing::Waiting(GroundCause::Address)
            }
        }
    }

    fn plane(
        &mut self,
        now: Instant,
        prefix: &Prefix,
        policy: DataPlanePolicy,
        job: &mut u64,
        actions: &mut Vec<GroundAction>,
    ) -> Footing {
        let failed = self.plane == Plane::Failed;
        match (self.plane, self.plane_retry.filter(|at| *at > now)) {
            _ if !self.has_plane => return Footing::Firm,
            (Plane::Ready, _) => return Footing::Firm,
            (Plane::Preparing(_), _) | (Plane::Failed, Some(_)) => {}
            (Plane::Unknown | Plane::Retired | Plane::Failed, _) => {
                *job += 1;
                self.plane = Plane::Preparing(*job);
                actions.push(GroundAction::Prepare(*prefix, *job));
            }
        }
        let has_failed = failed || self.plane_error.is_some();
        match (policy, self.plane_retry) {
            (DataPlanePolicy::Announce, _) if has_failed => Footing::Firm,
            (_, Some(at)) if self.plane == Plane::Failed => Footing::Waiting(GroundCause::DataPlaneFailed(at)),
            _ => Footing::Waiting(GroundCause::DataPlane),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.address_retry, self.plane_retry, self.unbind_at].into_iter().flatten().min()
    }
}
