//! GLB's tables: read again when they change, and written when the engine wants it.

use std::time::Instant;

use super::{Mail, Reactor, Stop, WATCH, poster};
use crate::config::Config;
use crate::driver::notice::Notice;
use crate::driver::reload::{Watched, What};
use crate::driver::watch::Watch;
use crate::engine::Input;
use crate::glb::Job;

impl Reactor {
    /// From now on these tables are watched, or none.
    pub(super) fn watch(&mut self, config: &Config, watched: Option<Watched>) {
        let (origin, watch) = watched.map(|watched| (watched.origin, watched.watch)).unzip();
        self.origin = origin;
        self.set_watch(config, watch);
    }

    /// What was watched may not be where its name leads any more. What cannot be watched anew is watched as it was.
    pub(super) fn watch_again(&mut self, watch: Option<Result<Watch, String>>) {
        if self.origin.is_some() && matches!(watch, Some(Ok(_))) {
            let config = self.config.clone();
            self.set_watch(&config, watch);
        }
    }

    fn set_watch(&mut self, config: &Config, watch: Option<Result<Watch, String>>) {
        let (watch, refused) = match watch {
            Some(Ok(watch)) => (Some(watch), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let registered = self.watcher.set(self.poll.registry(), WATCH, watch);
        let fault = refused.or(registered.err().map(|error| error.to_string()));
        if let (Some(error), Some(glb)) = (fault, &config.glb) {
            self.scribe.note(Notice::NotWatched(glb.source.clone(), error));
        }
    }

    /// Reads them again if they have changed.
    pub(super) fn look_at_tables(&mut self, now: Instant) {
        if !self.watcher.is_due(now) || self.stop != Stop::No {
            return;
        }
        if let Some(glb) = &self.config.glb {
            self.scribe.note(Notice::Changed(glb.source.clone()));
        }
        self.reload_tables();
    }

    /// Reads them again, if they are watched.
    pub(super) fn reload_tables(&mut self) {
        if let (Some(origin), Some(glb)) = (self.origin.clone(), &self.config.glb) {
            let source = glb.source.clone();
            self.reload(What::Tables(origin, source));
        }
    }

    pub(super) fn write_tables(&mut self, now: Instant, job: Job) {
        let post = poster(&self.mail, &self.waker);
        if let Err(outcome) = self.writer.begin(job, move |outcome| post(Mail::Glb(outcome))) {
            self.engine.handle(now, Input::GlbDone(outcome));
        }
    }
}
