//! The ways to targets: when one changes, the checks that take it run at once.

use super::{Mail, Reactor, poster};
use crate::config::Config;
use crate::driver::clock;
use crate::driver::netlink::{Path, Suspicion, Watcher};
use crate::driver::notice::Notice;
use crate::engine::Input;

impl Reactor {
    /// From now on the ways to these targets are watched. Nothing is lost where that cannot be: checks keep their times. Each
    /// reload tries again.
    pub(super) fn watch_ways(&mut self, config: &Config) {
        let probes = config.checks.iter().map(|check| &check.probe);
        let paths: Vec<Path> = probes
            .filter(|probe| !probe.target.ip().is_unspecified())
            .map(|probe| Path { address: probe.target.ip(), egress: probe.egress.clone() })
            .collect();
        if self.ways.is_none() && !paths.is_empty() {
            let post = poster(&self.mail, &self.waker);
            match Watcher::start(move |suspicion| post(Mail::Paths(suspicion))) {
                Ok(watcher) => self.ways = Some(watcher),
                Err(error) => self.scribe.note(Notice::WaysUnseen(error.to_string())),
            }
        }
        if let Some(ways) = &self.ways {
            ways.set_targets(paths);
        }
    }

    pub(super) fn suspect(&mut self, suspicion: Suspicion) {
        let mut addresses: Vec<_> = suspicion.paths.into_iter().map(|path| path.address).collect();
        addresses.dedup();
        self.scribe.note(Notice::WayChanged { cause: suspicion.cause, targets: addresses.len() });
        self.feed(clock(), Input::PathsChanged(addresses));
    }
}
