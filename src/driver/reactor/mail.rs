//! What other threads have for the loop, and how it is woken.

use std::sync::Arc;

use crossbeam_channel::Sender;
use mio::Waker;
use serde_json::Value;

use super::tasks::Errand;
use crate::driver::control::{Ask, Refusal};
use crate::driver::netlink::{Suspicion, addresses};
use crate::driver::reload::{Loaded, Refused};
use crate::driver::{hook, http};
use crate::engine::data_plane_job::DataPlaneOutcome;
use crate::glb;

/// What other threads tell the loop.
pub(super) enum Mail {
    Control(Ask),
    Http(http::Ask),
    /// What was read, and whether that is GLB's tables alone.
    Loaded(bool, Result<Loaded, Refused>),
    Glb(glb::Outcome),
    /// The ways to some targets are others than they were.
    Paths(Suspicion),
    Hook(hook::News),
    /// Of addresses of VIPs.
    Addresses(addresses::News),
    DataPlane(DataPlaneOutcome),
    Written(Result<(), String>),
    /// What was to be done for a client of the control socket is done.
    Errand(usize, Errand, Result<Value, Refusal>),
}

/// Wakes the loop.
pub(super) fn waking(waker: &Arc<Waker>) -> impl Fn() + Clone + Send + Sync + 'static {
    let waker = waker.clone();
    // The eventfd of a waker can only be full of wakes.
    move || drop(waker.wake())
}

/// Puts mail into the mailbox and wakes the loop.
pub(super) fn poster(mail: &Sender<Mail>, waker: &Arc<Waker>) -> impl Fn(Mail) + Send + Sync + 'static {
    let (mail, waker) = (mail.clone(), waker.clone());
    move |letter| {
        // The loop may be gone already: then nobody needs to know.
        if mail.send(letter).is_ok() {
            let _woken = waker.wake();
        }
    }
}
