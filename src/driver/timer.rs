//! One exact deadline for the event loop: a timerfd, as mio's own timeout counts whole milliseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Makes its token readable at the deadline.
pub(super) struct Timer {
    fd: OwnedFd,
    armed: Option<Instant>,
}

impl Timer {
    /// Unarmed.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Timer { fd, armed: None })
    }

    /// Arms, re-arms or stops the timer. A deadline in the past expires at once.
    pub(super) fn arm(&mut self, now: Instant, at: Option<Instant>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        // Zero would stop the timer instead.
        let wait = at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now).max(Duration::from_nanos(1)));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value =
            Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: wait.subsec_nanos().into() };
        let spec = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec)?;
        self.armed = at;
        Ok(())
    }

    /// Takes the expiry, so that the next one is seen.
    pub(super) fn clear(&mut self) {
        self.armed = None;
        // Nothing to read is as good: re-arming has taken the expiry back.
        let _count = rustix::io::read(&self.fd, &mut [0; 8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::clock;

    #[test]
    fn expires_not_before_its_deadline_and_again_after_it_was_armed_again() {
        let mut poll = mio::Poll::new().unwrap();
        let mut timer = Timer::new(poll.registry(), Token(7)).unwrap();
        let mut events = mio::Events::with_capacity(4);
        for wait in [Duration::from_millis(3), Duration::ZERO, Duration::from_millis(1)] {
            let at = clock() + wait;
            timer.arm(clock(), Some(at)).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
            assert_eq!(events.iter().map(mio::event::Event::token).collect::<Vec<_>>(), [Token(7)]);
            assert!(clock() >= at);
            timer.clear();
        }
        timer.arm(clock(), Some(clock() + Duration::from_millis(1))).unwrap();
        timer.arm(clock(), None).unwrap();
        poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
        assert!(events.is_empty());
    }
}
