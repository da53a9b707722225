//! The thread that words notices and logs them, so that a storm of changes costs the event loop next to nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use log::Level;

use super::event::Event;
use super::http::Meters;
use super::notice::{self, Notice};
use super::{clock, wall_clock};
use crate::wall::Timestamp;

/// Batches (turns of the loop) that may wait.
const QUEUE: usize = 64;
/// Notices in a batch; further ones of one turn are only counted.
const BATCH: usize = 65_536;
/// How many lines of one kind are logged within [`WINDOW`]; of more, the number is.
const LINES: u64 = 200;
/// Short enough that the number comes while the operator still wonders.
const WINDOW: Duration = Duration::from_secs(1);

/// Events of a turn that are told to listeners; further ones are counted.
const EVENTS: usize = 262_144;
/// How long [`Scribe::settle`] waits at most.
const SETTLE: Duration = Duration::from_millis(500);

/// Who is told events, on the scribe's thread.
pub(crate) type Listener = Box<dyn Fn(&Event) + Send>;

/// Collects notices during a turn of the loop and hands them over at its end.
pub(crate) struct Scribe {
    queue: Sender<Batch>,
    batch: Batch,
    lost: u64,
    /// Somebody wants events: a hook ...
    has_hooks: bool,
    /// ... or so many who watch.
    watchers: Vec<Arc<AtomicUsize>>,
    meters: Arc<Meters>,
    thread: JoinHandle<()>,
}

impl Scribe {
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(meters: Arc<Meters>) -> io::Result<Scribe> {
        let (queue, batches) = bounded(QUEUE);
        let thread = thread::Builder::new()
            .name("notices".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || log_all(&batches, &mut |level, text| log::log!(target: "herald", level, "{text}")))?;
        Ok(Scribe { queue, batch: Batch::default(), lost: 0, has_hooks: false, watchers: Vec::new(), meters, thread })
    }

    /// Who is told events from now on; `watchers` says how many others listen besides hooks.
    pub(crate) fn attach(&mut self, listeners: Vec<Listener>, watchers: Vec<Arc<AtomicUsize>>) {
        self.batch.listeners = Some(listeners);
        self.watchers = watchers;
    }

    /// Whether hooks want events.
    pub(crate) fn set_hooks(&mut self, has_hooks: bool) {
        self.has_hooks = has_hooks;
    }

    /// Waits until what was noted has been told, but not for long.
    pub(crate) fn settle(&mut self) {
        let (done, wait) = bounded(1);
        self.batch.done = Some(done);
        self.hand_over();
        let _in_time = wait.recv_timeout(SETTLE);
    }

    /// Notes it for the end of the turn.
    pub(crate) fn note(&mut self, notice: Notice) {
        if self.has_hooks || self.watchers.iter().any(|watchers| watchers.load(Ordering::Relaxed) > 0) {
            self.batch.tell(&notice);
        }
        if !self.batch.note(notice) {
            self.lost += 1;
            self.meters.lost(1);
        }
    }

    /// Hands over what was noted. Never waits: what finds no room is counted, and the count told later.
    pub(crate) fn hand_over(&mut self) {
        if self.batch.is_empty() && self.lost == 0 {
            return;
        }
        // Those have been counted.
        let told = self.lost;
        if self.lost > 0 {
            self.batch.notices.push(Notice::Lost(mem::take(&mut self.lost)));
        }
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            self.queue.try_send(mem::take(&mut self.batch))
        {
            let count = |notice: &Notice| if let Notice::Lost(count) = notice { *count } else { 1 };
            let lost = batch.notices.iter().map(count).sum::<u64>();
            self.lost += lost + batch.counted_only().map(|(_, more)| more).sum::<u64>();
            self.meters.lost(self.lost.saturating_sub(told));
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

/// What was noted in one turn. Of a kind of which there are thousands (see [`notice::kind`]) it keeps no more than could be
/// logged: a hundred thousand VIPs that are announced at once take no memory here.
#[derive(Default)]
struct Batch {
    notices: Vec<Notice>,
    /// Notices of each kind, kept or not.
    counts: BTreeMap<&'static str, u64>,
    /// For those who listen.
    events: Vec<(Timestamp, Notice)>,
    /// Who that is from now on.
    listeners: Option<Vec<Listener>>,
    /// Told when all of it has been.
    done: Option<Sender<()>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.events.is_empty() && self.listeners.is_none() && self.done.is_none()
    }

    /// What finds no room is missing: there are states enough to look at.
    fn tell(&mut self, notice: &Notice) {
        if self.events.len() < EVENTS {
            self.events.push((wall_clock().timestamp(clock()), notice.clone()));
        }
    }

    /// False when there is no room for it.
    fn note(&mut self, notice: Notice) -> bool {
        if let Some(kind) = notice::kind(&notice) {
            let count = self.counts.entry(kind).or_default();
            *count += 1;
            if *count > LINES {
                return true;
            }
        } else if self.notices.len() >= BATCH {
            return false;
        }
        self.notices.push(notice);
        true
    }

    /// Notices of each kind that were counted only.
    fn counted_only(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(kind, count)| (*kind, count.saturating_sub(LINES))).filter(|(_, more)| *more > 0)
    }
}

fn log_all(batches: &Receiver<Batch>, say: &mut dyn FnMut(Level, String)) {
    let mut storm = Storm::default();
    let mut listeners: Vec<Listener> = Vec::new();
    loop {
        let batch = match storm.ends {
            None => batches.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => batches.recv_deadline(at),
        };
        match batch {
            Ok(batch) => {
                let told = batch.notices.iter().filter(|notice| storm.lets_pass(notice));
                told.for_each(|notice| notice::word(notice, say));
                batch.counted_only().for_each(|(kind, more)| *storm.counts.entry(kind).or_default() += more);
                listeners = batch.listeners.unwrap_or(listeners);
                let events = batch.events.iter().filter_map(|(at, notice)| Event::new(*at, notice));
                events.for_each(|event| listeners.iter().for_each(|listener| listener(&event)));
                if let Some(done) = batch.done {
                    let _waited_for = done.send(());
                }
            }
            Err(RecvTimeoutError::Timeout) => storm.end(say),
            Err(RecvTimeoutError::Disconnected) => return storm.end(say),
        }
        if storm.ends.is_some_and(|at| at <= clock()) {
            storm.end(say);
        }
    }
}

/// Many changes of one kind within a short time: when a rack dies, ten thousand lines that say the same hide the one that
/// does not.
#[derive(Default)]
struct Storm {
    /// Notices of each kind in the present window.
    counts: BTreeMap<&'static str, u64>,
    /// When the window is over; `None` between windows.
    ends: Option<Instant>,
}

impl Storm {
    fn lets_pass(&mut self, notice: &Notice) -> bool {
        let Some(kind) = notice::kind(notice) else {
            return true;
        };
        self.ends.get_or_insert_with(|| clock() + WINDOW);
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        *count <= LINES
    }

    fn end(&mut self, say: &mut dyn FnMut(Level, String)) {
        self.ends = None;
        for (kind, count) in mem::take(&mut self.counts) {
            if count > LINES {
                say(Level::Warn, format!("{} more {kind} within a second; see `herald status`", count - LINES));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::notice::Subjects;
    use crate::engine;
    use crate::health::{HealthEvent, ServiceState};

    fn service_down() -> Notice {
        let event =
            HealthEvent::Service { service: 0, state: ServiceState::Down, available: 0, required: 1, on_sorry: false };
        Notice::Engine(Arc::new(Subjects::new(Arc::default())), engine::Notice::Health(event))
    }

    fn batch(notices: impl IntoIterator<Item = Notice>) -> Batch {
        let mut batch = Batch::default();
        notices.into_iter().for_each(|notice| assert!(batch.note(notice)));
        batch
    }

    #[test]
    fn a_storm_takes_no_room_from_what_is_rare() {
        let mut scribe = Scribe::start(Arc::default()).unwrap();
        let down = service_down();
        (0..2 * BATCH).for_each(|_| scribe.note(down.clone()));
        scribe.note(Notice::CheckingNow);
        assert_eq!((scribe.batch.notices.len(), scribe.lost), (LINES as usize + 1, 0));
        assert!(matches!(scribe.batch.notices.last(), Some(Notice::CheckingNow)));
        (0..BATCH).for_each(|_| scribe.note(Notice::CheckingNow));
        assert_eq!((scribe.batch.notices.len(), scribe.lost), (BATCH, LINES + 1));
        scribe.finish();
    }

    #[test]
    fn what_finds_no_room_in_the_queue_is_counted_whether_kept_or_not() {
        let (queue, batches) = bounded(1);
        let thread = thread::spawn(|| ());
        let (has_hooks, watchers, meters) = (false, Vec::new(), Arc::default());
        let mut scribe = Scribe { queue, batch: Batch::default(), lost: 0, has_hooks, watchers, meters, thread };
        scribe.note(Notice::CheckingNow);
        scribe.hand_over();
        (0..1000).for_each(|_| scribe.note(service_down()));
        scribe.note(Notice::CheckingNow);
        scribe.hand_over();
        assert_eq!(scribe.lost, 1001);
        drop(batches);
        scribe.finish();
    }

    #[test]
    fn a_storm_is_counted_and_what_is_rare_stays_in_sight() {
        let notice = service_down();
        let (queue, batches) = bounded(QUEUE);
        queue.send(batch(vec![notice.clone(); 1000])).unwrap();
        queue.send(batch([Notice::CheckingNow])).unwrap();
        queue.send(batch(vec![notice; 234])).unwrap();
        drop(queue);
        let mut said = Vec::new();
        log_all(&batches, &mut |_, text| said.push(text));
        // Of a service that no configuration knows nothing is worded; that it was counted shows all the same.
        assert_eq!(
            said,
            ["SIGUSR1: running every check now", "1034 more services down within a second; see `herald status`"]
        );
    }
}
