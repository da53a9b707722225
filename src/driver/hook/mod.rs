//! Hooks: programs and webhooks that are told of transitions, and the program that readies the data plane of VIPs.
//!
//! The loop offers documents and never waits; what has to be told is told by threads of their own. Of one subject (a VIP, a
//! service, …) a hook is told one thing at a time, in order, and when it is slow only the latest. What it does not take is
//! tried again, and given up in the end: a hook may miss something, but never holds anything up, and what waits for it
//! takes a bounded amount of memory.

mod crew;
mod data_plane;
mod desk;
mod document;
mod queue;
mod resolve;
mod runner;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::probe::{tls, user};
use super::status::HookLine;
use crate::config::{Config, DataPlaneHook, Diagnostic, Notify, NotifyTarget, TlsProfile};
use crate::wall::WallClock;

use crew::Crew;
use desk::Desk;
use runner::Runner;

pub use data_plane::DataPlane;
pub use document::{Document, environment};

/// Hooks as they are configured, with what it takes to reach them. Make a new one with each configuration.
#[derive(Debug)]
pub struct Plan {
    notify: Vec<Arc<Runner>>,
    data_plane: Option<Arc<DataPlaneHook>>,
}

impl Plan {
    /// Loads the certificate authorities and looks up the users that hooks name. May block: not for the event loop.
    ///
    /// # Errors
    /// Every file that cannot be used, at the place in the configuration that names it.
    pub fn load(config: &Config) -> Result<Plan, Vec<Diagnostic>> {
        let profiles = config.hooks.notify.iter().filter_map(|hook| profile(hook));
        let clients = tls::load(config, profiles)?;
        let runner = |hook: &Arc<Notify>| {
            let user = match &hook.target {
                NotifyTarget::Program { user: Some(name), .. } => user::identity(name),
                NotifyTarget::Program { user: None, .. } | NotifyTarget::Webhook(_) => Ok(None),
            };
            let tls = profile(hook).and_then(|profile| clients.get(profile).cloned());
            Arc::new(Runner { config: hook.clone(), tls, user })
        };
        let notify = config.hooks.notify.iter().map(runner).collect();
        Ok(Plan { notify, data_plane: config.hooks.data_plane.clone() })
    }

    /// For [`DataPlane::configure`].
    pub fn data_plane(&self) -> Option<Arc<DataPlaneHook>> {
        self.data_plane.clone()
    }
}

fn profile(hook: &Notify) -> Option<&TlsProfile> {
    match &hook.target {
        NotifyTarget::Webhook(webhook) => webhook.tls.as_ref(),
        NotifyTarget::Program { .. } => None,
    }
}

/// What operators shall hear of hooks. Each is said once, until it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// One did not take something, which is tried again.
    Failed {
        /// Its name.
        hook: Arc<str>,
        /// What it was about.
        subject: String,
        /// Why, in words.
        error: String,
        /// When it is tried again.
        wait: Duration,
    },
    /// One has been told something too often in vain.
    GivenUp {
        /// Its name.
        hook: Arc<str>,
        /// What it was about.
        subject: String,
        /// Why the last attempt failed, in words.
        error: String,
        /// How often it was tried.
        attempts: u32,
        /// How many others were given up before without a word.
        others: u64,
    },
    /// One takes everything again.
    Recovered {
        /// Its name.
        hook: Arc<str>,
        /// How many were given up meanwhile without a word.
        given_up: u64,
    },
    /// So much waits for one that the oldest is dropped.
    Full {
        /// Its name.
        hook: Arc<str>,
        /// How much waits.
        waiting: usize,
    },
    /// A reload has dropped what waited for one.
    Dropped {
        /// Its name.
        hook: Arc<str>,
        /// How much that was.
        count: usize,
        /// Why.
        reason: DropReason,
    },
}

/// What a reload does to a hook that has its queue dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// It is gone.
    Removed,
    /// It is another by that name.
    Changed,
}

/// Those who are told of transitions: `[[hooks.notify]]`.
pub struct Hooks {
    crew: Crew<Desk>,
}

impl Hooks {
    /// None yet, and no threads. `tell` gets what operators shall hear, mostly on another thread.
    pub fn new(tell: impl Fn(News) + Send + Sync + 'static) -> Hooks {
        Hooks { crew: Crew::new("hook", true, Desk::new(), tell) }
    }

    /// At the start and after a reload. Hooks that have not changed keep what waits for them and go on.
    ///
    /// # Errors
    /// When the system has no threads to spare; those that could be started are at work.
    pub fn configure(&self, plan: &Plan) -> io::Result<()> {
        let (workers, news) = self.crew.put(|desk| desk.configure(&plan.notify));
        news.into_iter().for_each(|news| self.crew.tell(news));
        self.crew.staff(workers)
    }

    /// Tells those who want to know; never waits, and costs O(log n) for each.
    pub fn offer(&self, document: &Document) {
        let news = self.crew.put(|desk| desk.offer(document));
        news.into_iter().for_each(|news| self.crew.tell(news));
    }

    /// [`offer`](Self::offer) for another thread.
    pub fn offerer(&self) -> impl Fn(&Document) + Send + 'static {
        self.crew.clerk(|desk, document: &Document| desk.offer(document).into_iter().collect())
    }

    /// How they are, in the order of the configuration.
    pub fn lines(&self, wall: &WallClock) -> Vec<HookLine> {
        self.crew.look(|desk| desk.lines(wall))
    }

    /// The time that [`stop`](Self::stop) allows begins now: what waits to be tried again is tried at once, for the last time.
    pub fn close(&self) {
        self.crew.close();
    }

    /// Ends within two seconds of [`close`](Self::close): what has not been begun by then is dropped, and what is under way
    /// is broken off. Returns how many those were.
    pub fn stop(self) -> usize {
        self.crew.stop()
    }
}
