//! What waits for the driver.
//!
//! A service may stand on very many VIPs: what there is to say of them when it falls waits as one run of events with
//! one reason, and becomes notices one by one, as the driver takes them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::status::Reason;
use super::{Notice, Output};
use crate::announce::VipEvent;

/// An empty queue keeps the room of so many, and gives the rest back: storms are rare.
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
        let first = self.queue.pop_front()?;
        if self.queue.is_empty() {
            self.queue.shrink_to(ROOM_KEPT);
        }
        match first {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::{DrainedBy, VipCause, VipState};
    use std::net::Ipv4Addr;

    fn event(index: u32, cause: VipCause) -> VipEvent {
        let vip = Ipv4Addr::from(0x0a00_0000 + index).into();
        VipEvent { vip, from: Some(VipState::Announced), to: Some(VipState::Withdrawn), cause }
    }

    /// One reason for all that share it, in the order in which things happened; and no room is kept for the next time.
    #[test]
    fn a_storm_is_one_reason_and_leaves_no_room_behind() {
        const VIPS: u32 = 10_000;
        let mut outputs = Outputs::default();
        let mut looked_up = 0;
        let mut push = |outputs: &mut Outputs, index, cause| {
            outputs.push_vip(event(index, cause), || {
                looked_up += 1;
                Reason { cause, service: None, drain: String::new(), about: String::new() }
            });
        };
        (0..VIPS).for_each(|index| push(&mut outputs, index, VipCause::ServiceDown(0)));
        outputs.push(Output::Stopped);
        push(&mut outputs, VIPS, VipCause::ServiceDown(0));
        push(&mut outputs, VIPS + 1, VipCause::ServiceDown(1));
        // What is drained itself has a reason of its own.
        push(&mut outputs, VIPS + 2, VipCause::Drained(DrainedBy::Itself));
        push(&mut outputs, VIPS + 3, VipCause::Drained(DrainedBy::Itself));
        assert_eq!((looked_up, outputs.queue.len()), (5, 6));
        let mut vips = 0;
        while let Some(output) = outputs.pop() {
            match output {
                Output::Notice(Notice::Vip(told, reason)) => {
                    assert_eq!((told, reason.cause), (event(vips, told.cause), told.cause));
                    vips += 1;
                }
                _ => assert_eq!(vips, VIPS),
            }
        }
        assert_eq!(vips, VIPS + 4);
        assert!(outputs.is_empty() && outputs.vips.capacity() <= 2 * ROOM_KEPT, "{}", outputs.vips.capacity());
    }
}
