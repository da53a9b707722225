//! What the peer has refused of our OPEN, and for how long that is remembered.
//!
//! A peer that closes the connection without a word may be one that cannot take a capability, but far more often it is
//! one that is not ready, and a session without capabilities would be without IPv6: so nothing is concluded from that.

use std::time::{Duration, Instant};

use crate::bgp::capability::Capability;
use crate::bgp::error::Notification;
use crate::bgp::fsm::Terms;
use crate::bgp::omission::Omissions;
use crate::config::SessionParameters;

/// After this long, all is offered again: the router may have been replaced.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What is left out, and what the operator knows of it.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    omissions: Omissions,
    /// When it was last refused.
    at: Option<Instant>,
    told: Omissions,
}

/// The peer refuses something that can be left out: that is worth an attempt at once.
#[derive(Debug)]
pub(super) struct Retry {
    /// All that is left out now, if it is more than the operator knows.
    pub(super) news: Option<Vec<Capability>>,
}

impl Refusals {
    /// What the next connection is made with.
    pub(super) fn terms(&mut self, now: Instant, session: &SessionParameters) -> Terms {
        if self.at.is_some_and(|at| now >= at + REMEMBERED) {
            (self.omissions, self.at) = (Omissions::default(), None);
        }
        self.next_terms(session)
    }

    /// What is left out of the next OPEN.
    pub(super) fn left_out(&self, session: &SessionParameters) -> Vec<Capability> {
        if self.omissions.is_none() { Vec::new() } else { self.next_terms(session).left_out() }
    }

    /// The same, as far as can be told without looking at the time.
    pub(super) fn next_terms(&self, session: &SessionParameters) -> Terms {
        Terms { omissions: self.omissions.clone(), ..Terms::new(session) }
    }

    /// The peer has answered an OPEN of these terms with this NOTIFICATION.
    pub(super) fn answered(&mut self, now: Instant, terms: &Terms, notification: &Notification) -> Option<Retry> {
        let mut next = terms.clone();
        if !next.leave_out(notification) {
            if notification.code == 2 {
                // What was left out did not help, or does harm: next time all of it again.
                (self.omissions, self.at) = (Omissions::default(), None);
            }
            return None;
        }
        self.omissions = next.omissions.clone();
        self.at = Some(now);
        let is_news = !self.told.cover(&self.omissions);
        if is_news {
            self.told = self.omissions.clone();
        }
        Some(Retry { news: is_news.then(|| next.left_out()) })
    }
}
