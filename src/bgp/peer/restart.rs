//! Graceful restart of ours (RFC 4724), as one peer sees it: what it is told of it, and how a session ends so that the
//! peer keeps our routes, or does not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::Peer;
use super::feed::Feed;
use crate::bgp::error::Notification;
use crate::bgp::restart::{GracefulRestart, Offered};
use crate::prefix::{Family, Prefix};

/// The keys, as in the configuration, without which the router would not know us again.
const IDENTITY: [&str; 7] = ["address", "port", "source", "interface", "local_as", "router_id", "peer_as"];

impl Peer {
    /// The daemon has restarted, and the peer may still hold these routes.
    pub fn resume(&mut self, kept: Arc<BTreeSet<Prefix>>) {
        self.kept = Some(kept);
    }

    /// A member of a range is forgotten with its connection, and this may be one that is back. It must not hear that our
    /// forwarding state is lost: it would drop the routes that it kept (RFC 4724 §4.2). Once routes flow End-of-RIB
    /// follows at once, so what is not true of them any more does not last.
    pub fn note_return(&mut self) {
        self.returns = true;
    }

    /// Whether the peer keeps our routes when its present session is lost.
    pub fn is_helper(&self) -> bool {
        self.restart().is_some()
    }

    /// What the next OPEN offers.
    pub(super) fn offered(&self) -> Option<Offered> {
        let restarting = self.kept.is_some();
        let restart_time = self.config.session.graceful_restart?;
        // Within one life of ours the forwarding state is as we left it. At a first start we know nothing of it.
        let preserved = restarting || self.returns || self.established_count > 0;
        Some(Offered { restart_time, restarting, preserved })
    }

    /// What both have agreed on, while there is a session.
    pub(super) fn restart(&self) -> Option<&GracefulRestart> {
        self.session()?.restart.as_ref()
    }

    /// End-of-RIB may be out: then the restart is over.
    pub(super) fn note_end_of_rib(&mut self) {
        if self.feed().is_some_and(Feed::is_complete) {
            self.kept = None;
        }
    }

    /// A session with this feed is lost. Before End-of-RIB the peer keeps what it was told on it beside what it had.
    pub(super) fn note_loss(&mut self, feed: &Feed) {
        if let Some(kept) = &mut self.kept {
            let told = Family::ALL.into_iter().flat_map(|family| feed.told().told_after(family, None));
            Arc::make_mut(kept).extend(told);
        }
    }

    /// The daemon stops for a restart: closes without a NOTIFICATION, so that the peer keeps our routes.
    pub fn leave(&mut self, now: Instant) {
        self.stopped = true;
        self.close(now, "stopped for a restart");
        self.check_invariants();
    }

    /// A reload has changed these keys, and the new ones are in force: ends the session. A router to which we will be the
    /// same as before keeps our routes meanwhile.
    pub(super) fn reset(&mut self, now: Instant, keys: &[&'static str]) {
        let why = format!("reset by reload: {} changed", keys.join(", "));
        let notification = Notification::other_configuration_change();
        let stays_known = keys.iter().all(|key| !IDENTITY.contains(key));
        let keeps = self.restart().filter(|_| stays_known && self.config.session.graceful_restart.is_some());
        match keeps {
            // RFC 8538 §3: a NOTIFICATION that is no Hard Reset is as the loss of the session.
            Some(restart) if restart.notification => self.end_attempt(now, &notification, &why),
            // RFC 4724 §4: after any NOTIFICATION the routes would be gone.
            Some(_) => self.close(now, &why),
            None => self.end_attempt(now, &self.for_good(notification), &why),
        }
    }

    /// As the peer must hear it to drop our routes at once.
    pub(super) fn for_good(&self, notification: Notification) -> Notification {
        match self.restart() {
            // RFC 8538 §3.1.
            Some(restart) if restart.notification => notification.hard_reset(),
            _ => notification,
        }
    }

    fn close(&mut self, now: Instant, why: &str) {
        for link in self.links.iter_mut().filter(|link| !link.lost) {
            link.connection.leave(why);
        }
        // What is left has no session that would be told.
        self.end_attempt(now, &Notification::other_configuration_change(), why);
    }
}
