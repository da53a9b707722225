//! What systemd is told: that we are ready, that we reload or stop, how things are at a glance, and, where it wants to know (`WatchdogSec=`), that checks are
//! being completed. A daemon that turns but checks nothing is as good as dead.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use sd_notify::NotifyState;

/// For so long at least nothing need be completed before the checks are taken for stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// What may wait to be said.
const QUEUE: usize = 8;

/// When the watchdog is fed.
pub(super) struct Watchdog {
    /// How often; `None` when nobody wants that.
    every: Option<Duration>,
    next: Instant,
    pulse: Pulse,
    pub(super) messenger: Messenger,
}

/// Whether checks are being completed.
#[derive(Debug)]
struct Pulse {
    /// When one was last completed, or nothing was under way.
    last: Instant,
    is_stuck: bool,
}

/// What there is to say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// No check has been completed for so long, and some wait: the watchdog is not fed any more.
    Stuck(Duration),
    /// Checks are completed again.
    Back,
}

impl Watchdog {
    /// As the environment asks for.
    pub(super) fn new(now: Instant) -> Watchdog {
        // A third: it may be late once, and is fed in time.
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 3);
        let pulse = Pulse { last: now, is_stuck: false };
        Watchdog { every, next: now, pulse, messenger: Messenger::new() }
    }

    /// A run has come back.
    pub(super) fn completed(&mut self, now: Instant) {
        self.pulse.last = now;
    }

    /// When to look next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.every.map(|_| self.next)
    }

    /// Feeds the watchdog if it is time and there is reason to. `under_way` are runs that wait or are at work; `longest` is
    /// what a run may take.
    pub(super) fn feed(&mut self, now: Instant, under_way: usize, longest: Duration) -> Option<Beat> {
        let every = self.every.filter(|_| now >= self.next)?;
        self.next = now.checked_add(every).unwrap_or(now);
        let beat = self.pulse.look(now, under_way, longest);
        if !self.pulse.is_stuck {
            self.messenger.say(Word::Watchdog);
        }
        beat
    }
}

impl Pulse {
    fn look(&mut self, now: Instant, under_way: usize, longest: Duration) -> Option<Beat> {
        if under_way == 0 {
            self.last = now;
        }
        let silent = now.saturating_duration_since(self.last);
        let was_stuck = std::mem::replace(&mut self.is_stuck, silent > PATIENCE.max(longest * 2));
        match (was_stuck, self.is_stuck) {
            (false, true) => Some(Beat::Stuck(silent)),
            (true, false) => Some(Beat::Back),
            _ => None,
        }
    }
}

/// Says things to systemd, on a thread of its own: what systemd does not take at once must not hold up the loop.
pub(super) struct Messenger(Option<Sender<Word>>);

/// Something to say.
enum Word {
    Ready,
    Reloading,
    Stopping(Duration),
    Watchdog,
    Status(String),
}

impl Messenger {
    /// Where there is somebody to tell.
    pub(super) fn new() -> Messenger {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Messenger(None);
        }
        let (tell, told) = bounded(QUEUE);
        let deliver = move || {
            for word in told {
                // It will see that nothing comes.
                let _undelivered = match &word {
                    Word::Ready => sd_notify::notify(&[NotifyState::Ready]),
                    // From systemd 253 on it wants to know when (sd_notify(3)).
                    Word::Reloading => NotifyState::monotonic_usec_now()
                        .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
                    Word::Stopping(within) => {
                        let within = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
                        sd_notify::notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(within)])
                    }
                    Word::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
                    Word::Status(text) => sd_notify::notify(&[NotifyState::Status(text)]),
                };
            }
        };
        let thread = thread::Builder::new().name("notify".to_owned()).spawn(deliver);
        Messenger(thread.ok().map(|_| tell))
    }

    /// The first configuration is in force, and sockets are open.
    pub(super) fn ready(&self) {
        self.say(Word::Ready);
    }

    /// A reload begins; [`ready`](Self::ready) says that it is over, whatever came of it.
    pub(super) fn reloading(&self) {
        self.say(Word::Reloading);
    }

    /// What there is to see at a glance.
    pub(super) fn status(&self, text: String) {
        self.say(Word::Status(text));
    }

    /// Whether there is anybody to tell.
    pub(super) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// The end begins, and will be there within this time.
    pub(super) fn stopping(&self, within: Duration) {
        // What has been said before the end is said, too.
        const SLACK: Duration = Duration::from_secs(5);
        self.say(Word::Stopping(within + SLACK));
    }

    fn say(&self, word: Word) {
        if let Some(tell) = &self.0 {
            // One that hangs does not get more.
            let _full = tell.try_send(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timers::origin;

    #[test]
    fn only_completed_checks_are_a_pulse() {
        let (start, second) = (origin(), Duration::from_secs(1));
        let mut pulse = Pulse { last: start, is_stuck: false };
        let at = |seconds: u32| start + second * seconds;
        // Nothing to do is no fault, however long.
        assert_eq!(pulse.look(at(1000), 0, second), None);
        // Something waits, and nothing is completed.
        assert_eq!(pulse.look(at(1010), 5, second), None);
        assert_eq!(pulse.look(at(1011), 5, second), Some(Beat::Stuck(second * 11)));
        assert_eq!(pulse.look(at(1020), 5, second), None, "told once");
        pulse.last = at(1021);
        assert_eq!(pulse.look(at(1021), 5, second), Some(Beat::Back));
        // A run that may take a minute is not stuck after twenty seconds.
        assert_eq!(pulse.look(at(1041), 5, second * 60), None);
        assert_eq!(pulse.look(at(1142), 5, second * 60), Some(Beat::Stuck(second * 121)));
    }
}
