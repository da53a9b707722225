//! The thread that words notices and logs them, so that a storm of changes costs the event loop next to nothing.

use std::thread::{self, JoinHandle};
use std::{io, mem};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use log::Level;

use super::notice::{self, Notice};

/// Batches (turns of the loop) that may wait.
const QUEUE: usize = 64;
/// Notices in a batch; further ones of one turn are only counted.
const BATCH: usize = 65_536;

/// Collects notices during a turn of the loop and hands them over at its end.
pub(crate) struct Scribe {
    queue: Sender<Vec<Notice>>,
    batch: Vec<Notice>,
    lost: u64,
    thread: JoinHandle<()>,
}

impl Scribe {
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start() -> io::Result<Scribe> {
        let (queue, batches) = bounded(QUEUE);
        let thread = thread::Builder::new()
            .name("notices".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || log_all(&batches, &mut |level, text| log::log!(target: "herald", level, "{text}")))?;
        Ok(Scribe { queue, batch: Vec::new(), lost: 0, thread })
    }

    /// Notes it for the end of the turn.
    pub(crate) fn note(&mut self, notice: Notice) {
        if self.batch.len() < BATCH {
            self.batch.push(notice);
        } else {
            self.lost += 1;
        }
    }

    /// Hands over what was noted. Never waits: what finds no room is counted, and the count told later.
    pub(crate) fn hand_over(&mut self) {
        if self.batch.is_empty() && self.lost == 0 {
            return;
        }
        if self.lost > 0 {
            self.batch.push(Notice::Lost(mem::take(&mut self.lost)));
        }
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            self.queue.try_send(mem::take(&mut self.batch))
        {
            let count = |notice: &Notice| if let Notice::Lost(count) = notice { *count } else { 1 };
            self.lost += batch.iter().map(count).sum::<u64>();
        }
    }

    /// Words what is left and ends the thread.
    pub(crate) fn finish(mut self) {
        self.hand_over();
        drop(self.queue);
        // Ends soon: logging never blocks. A panic in it has been told by the panic handler.
        let _ended = self.thread.join();
    }
}

fn log_all(batches: &Receiver<Vec<Notice>>, say: &mut dyn FnMut(Level, String)) {
    for notice in batches.iter().flatten() {
        notice::word(&notice, say);
    }
}
