//! How conclusions run downhill: from the checks to services, to VIPs, to routes.

use std::time::Instant;

use super::status::ServiceReasons;
use super::{Engine, Notice, Output};
use crate::announce::{ServiceHealth, Share};
use crate::health::{self, HealthEvent, ServiceState};

impl Engine {
    /// Lets conclusions run from the checks down to the RIB.
    pub(super) fn decide(&mut self, now: Instant) {
        self.conclude(now);
        while let Some(event) = self.announce.poll_guard_event() {
            let words = self.guard_words(event);
            self.outputs.push(Output::Notice(Notice::Guard(event, words)));
        }
        let (mut outputs, mut known) = (std::mem::take(&mut self.outputs), ServiceReasons::new());
        while let Some(event) = self.announce.poll_event() {
            self.vip_decided(event.vip, event.to);
            outputs.push_vip(event, || self.reason(event.cause, &event.vip, &mut known));
        }
        self.outputs = outputs;
        while let Some(event) = self.announce.poll_aggregate_event() {
            self.aggregate_decided(event.aggregate, event.to);
            let reason = self.aggregate_reason(event.cause, event.tally, event.tipped_by, &event.aggregate);
            self.outputs.push(Output::Notice(Notice::Aggregate(event, reason)));
        }
        while let Some((prefix, wanted)) = self.announce.poll_route() {
            self.want(prefix, wanted);
        }
    }

    /// Takes what health concludes to those who decide by it.
    fn conclude(&mut self, now: Instant) {
        loop {
            while let Some(probe) = self.health.poll_probe() {
                self.outputs.push(Output::Probe(probe));
            }
            while let Some(action) = self.health.poll_wire() {
                self.outputs.push(Output::Wire(action));
            }
            match (self.health.poll_event(), self.announce.poll_ask()) {
                (None, None) => return self.announce.settle(now),
                (event, ask) => {
                    if let Some(check) = ask {
                        self.health.ask(now, check);
                    }
                    let Some(event) = event else { continue };
                    self.judge(now, &event);
                    if !matches!(event, HealthEvent::Share { .. } | HealthEvent::Answer { .. }) {
                        self.outputs.push(Output::Notice(Notice::Health(event)));
                    }
                }
            }
        }
    }

    /// What health concludes, for those who decide by it.
    fn judge(&mut self, now: Instant, event: &HealthEvent) {
        match event {
            HealthEvent::Check { check, passing, .. } => {
                self.glb.verdict_changed(now, *check, *passing);
                self.announce.check_changed(now, *check, *passing);
            }
            HealthEvent::Backend { service, backend, up } => {
                self.announce.backend_changed(now, *service, *backend, *up);
            }
            HealthEvent::Service { service, state, .. } => {
                self.announce.service_changed(now, *service, service_health(*state));
            }
            HealthEvent::Share { service, share } => {
                self.announce.share_changed(*service, announced_share(*share));
            }
            HealthEvent::Answer { check, passed } => self.announce.check_answered(now, *check, *passed),
            HealthEvent::Weight { .. } | HealthEvent::Stale { .. } | HealthEvent::Warning { .. } => {}
        }
    }
}

pub(super) fn service_health(state: ServiceState) -> ServiceHealth {
    match state {
        ServiceState::Undecided => ServiceHealth::Undecided,
        ServiceState::Up => ServiceHealth::Up,
        ServiceState::Down => ServiceHealth::Down,
        ServiceState::Drained => ServiceHealth::Drained,
    }
}

pub(super) fn announced_share(share: health::Share) -> Share {
    Share { counting: share.counting, total: share.total }
}
