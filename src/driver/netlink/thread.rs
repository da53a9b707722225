//! The thread: waits for news, for orders and for the time, all at once.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::kernel::Kernel;
use super::message::Event;
use super::suspects::Suspects;
use super::{Path, Suspicion};
use crate::driver::clock;

/// Enough for some hundred frames; what is large is on the heap.
const STACK: usize = 256 * 1024;
/// Between two readings of all links.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two turns at the news of routes: a full table comes by the thousand, and to wake up costs more than to read.
const REST: Duration = Duration::from_millis(1);

/// What the thread is told to do.
pub(super) enum Order {
    /// Watch these.
    Targets(Vec<Path>),
    /// End.
    Stop,
}

/// Wakes the thread.
#[derive(Clone)]
pub(super) struct Bell(Arc<OwnedFd>);

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        Ok(Bell(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    pub(super) fn ring(&self) {
        // It fails when it has been rung too often to count, and then it rings.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    pub(super) fn silence(&self) {
        // It fails when it does not ring.
        let _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }

    /// Readable while it rings.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }
}

/// Starts it. `alive` is dropped when it ends.
pub(super) fn start(
    orders: Receiver<Order>,
    bell: Bell,
    post: impl Fn(Suspicion) + Send + 'static,
    alive: Sender<()>,
) -> io::Result<()> {
    let kernel = Kernel::open()?;
    let mut listener =
        Listener { kernel, orders, bell, suspects: Suspects::new(clock()), relist: Some(clock()), rest: None };
    let work = move || {
        if let Err(error) = listener.listen(&post) {
            log::warn!("links and routes are no longer watched: {error}");
        }
        drop(alive);
    };
    std::thread::Builder::new().name("netlink".to_owned()).stack_size(STACK).spawn(work)?;
    Ok(())
}

struct Listener {
    kernel: Kernel,
    orders: Receiver<Order>,
    bell: Bell,
    suspects: Suspects,
    /// When all links are to be read: news of some was lost.
    relist: Option<Instant>,
    /// Until when no news of routes is read.
    rest: Option<Instant>,
}

/// What there is to read.
struct Ready {
    orders: bool,
    news: bool,
    routes: bool,
}

impl Listener {
    /// Until it is told to end.
    fn listen(&mut self, post: &dyn Fn(Suspicion)) -> io::Result<()> {
        let mut listed = None;
        loop {
            if self.relist.is_some_and(|at| at <= clock()) {
                // It may be that the kernel is busy: then later.
                let links = self.kernel.links();
                self.relist = links.is_err().then(|| clock() + PAUSE);
                if let Ok(links) = links {
                    self.suspects.handle(clock(), Event::Links(links));
                }
                listed = Some(clock());
            }
            let ready = self.wait()?;
            if ready.orders && !self.obey() {
                return Ok(());
            }
            let (suspects, now) = (&mut self.suspects, clock());
            if ready.news && self.kernel.hear_news(&mut |event| suspects.handle(now, event))? {
                self.relist.get_or_insert(listed.map_or(now, |listed| now.max(listed + PAUSE)));
            }
            if ready.routes {
                // What is lost of these is made up for by looking everybody up.
                self.kernel.hear_routes(&mut |event| suspects.handle(now, event))?;
                self.rest = Some(now + REST);
            }
            self.tell(post);
            let kernel = &mut self.kernel;
            self.suspects.work(clock(), &mut |path| kernel.find(path).ok());
            self.tell(post);
        }
    }

    fn tell(&mut self, post: &dyn Fn(Suspicion)) {
        if let Some(suspicion) = self.suspects.poll_suspicion(clock()) {
            post(suspicion);
        }
    }

    /// Whether to go on.
    fn obey(&mut self) -> bool {
        self.bell.silence();
        let mut targets = None;
        for order in self.orders.try_iter() {
            match order {
                Order::Targets(paths) => targets = Some(paths),
                Order::Stop => return false,
            }
        }
        if let Some(paths) = targets {
            self.suspects.set_targets(clock(), paths);
        }
        true
    }

    fn wait(&mut self) -> io::Result<Ready> {
        let now = clock();
        self.rest = self.rest.filter(|until| *until > now);
        let due = [self.suspects.poll_timeout(), self.relist, self.rest].into_iter().flatten().min();
        let timeout = due.and_then(|due| Timespec::try_from(due.saturating_duration_since(now)).ok());
        let [news, routes] = self.kernel.ears();
        let routes_for = if self.rest.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut watched = [
            PollFd::new(self.bell.descriptor(), PollFlags::IN),
            PollFd::new(news, PollFlags::IN),
            PollFd::new(routes, routes_for),
        ];
        let woken = match poll(&mut watched, timeout.as_ref()) {
            Err(Errno::INTR) => false,
            Ok(count) => count > 0,
            Err(error) => return Err(error.into()),
        };
        // An error, such as news that is lost, is read as well.
        let [orders, news, routes] = watched.map(|descriptor| woken && !descriptor.revents().is_empty());
        Ok(Ready { orders, news, routes })
    }
}
