//! What waits for the driver.
//!
//! A service may stand on very many VIPs: what there is to say of them when it falls waits as one run of events with
//! one reason, and becomes notices one by one, as the driver takes them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::status::Reason;
use super::{Notice, Output};
use crate::announce::VipEvent;

/// An empty queue keeps the room of so many events, and gives the rest back: storms are rare.
const ROOM_KEPT: usize = 1024;

/// First in, first out.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: VecDeque<Queued>,
    /// The events of all runs in the queue.
    vips: VecDeque<VipEvent>,
}

#[derive(Debug)]
enum Queued {
    One(Output),
    /// So many VIPs, never none, that changed for the same reason.
    Vips(usize, Arc<Reason>),
}

impl Outputs {
    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(Queued::One(output));
    }

    /// [`Notice::Vip`] of this event and what `reason` gives for it, unless that of the event before serves.
    pub(super) fn push_vip(&mut self, event: VipEvent, reason: impl FnOnce() -> Reason) {
        self.vips.push_back(event);
        match self.queue.back_mut() {
            Some(Queued::Vips(count, known)) if known.cause == event.cause && known.is_shared() => *count += 1,
            _ => self.queue.push_back(Queued::Vips(1, Arc::new(reason()))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        if let Some(Queued::Vips(count, reason)) = self.queue.front_mut()
            && *count > 1
        {
            *count -= 1;
            let reason = reason.clone();
            return self.vips.pop_front().map(|event| Output::Notice(Notice::Vip(event, reason)));
        }
        match self.queue.pop_front()? {
            Queued::One(output) => Some(output),
            Queued::Vips(_, reason) => {
                let event = self.vips.pop_front()?;
                if self.vips.is_empty() {
                    self.vips.shrink_to(ROOM_KEPT);
                }
                Some(Output::Notice(Notice::Vip(event, reason)))
            }
        }
    }
}
