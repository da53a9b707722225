//! The thread: waits for news, for orders and for the time, all at once.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::host::{Host, Outcome};
use super::kernel::{Kernel, Request};
use super::{News, Note, Report, STOPPING, Watched};
use crate::driver::clock;
use crate::driver::netlink::thread::Bell;
use crate::driver::probe::text;
use crate::engine::ground::AddressAction;

/// Enough for some hundred frames; what is large is on the heap.
const STACK: usize = 256 * 1024;
/// Between two readings of everything.
const PAUSE: Duration = Duration::from_millis(200);
/// So many actions at a time, and news in between.
const BATCH: usize = 128;

/// What the thread is told to do.
pub(super) enum Order {
    /// Watch these, and no others.
    Watch(Vec<Watched>),
    /// Do this, after everything that was ordered before.
    Act(AddressAction),
    /// Remove what is still to be removed, and end.
    Stop,
}

/// Starts it. `alive` is dropped when it ends.
pub(super) fn start(
    orders: Receiver<Order>,
    bell: Bell,
    post: impl Fn(News) + Send + 'static,
    alive: Sender<()>,
) -> io::Result<()> {
    let kernel = Kernel::open()?;
    let mut keeper =
        Keeper { kernel, orders, bell, host: Host::default(), queue: VecDeque::new(), listed: None, fault: None };
    let work = move || {
        if let Err(error) = keeper.keep(&post) {
            post(News::Broken(text::words(&error).into_owned()));
        }
        drop(alive);
    };
    std::thread::Builder::new().name("addresses".to_owned()).stack_size(STACK).spawn(work)?;
    Ok(())
}

struct Keeper {
    kernel: Kernel,
    orders: Receiver<Order>,
    bell: Bell,
    host: Host,
    queue: VecDeque<AddressAction>,
    /// When everything was last read, or could not be.
    listed: Option<Instant>,
    /// Why it could not.
    fault: Option<String>,
}

impl Keeper {
    /// Until it is told to end.
    fn keep(&mut self, post: &dyn Fn(News)) -> io::Result<()> {
        loop {
            self.wait()?;
            self.hear()?;
            self.take_stock(post)?;
            let goes_on = self.obey();
            if !goes_on {
                self.finish(post)?;
                return Ok(());
            }
            if !self.host.wants_inventory() || self.fault.is_some() {
                self.act()?;
            }
            self.tell(post);
        }
    }

    fn tell(&mut self, post: &dyn Fn(News)) {
        if let Some(report) = self.host.take_report() {
            post(News::Report(report));
        }
    }

    /// All the news there is.
    fn hear(&mut self) -> io::Result<()> {
        loop {
            let host = &mut self.host;
            let (is_all, lost) = self.kernel.hear(&mut |event| host.handle(event))?;
            if lost {
                self.host.doubt();
            }
            if is_all {
                return Ok(());
            }
        }
    }

    /// Reads everything, if need be and not too often.
    fn take_stock(&mut self, post: &dyn Fn(News)) -> io::Result<()> {
        let now = clock();
        if !self.host.wants_inventory() || self.listed.is_some_and(|at| now < at + PAUSE) {
            return Ok(());
        }
        self.listed = Some(now);
        match self.kernel.list() {
            Ok(inventory) => {
                self.host.know(inventory);
                self.fault = None;
            }
            // Something changed meanwhile: so it is read once more.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => {}
            Err(error) => {
                let fault = text::words(&error).into_owned();
                if self.fault.as_ref() != Some(&fault) {
                    post(News::Report(Report { notes: vec![Note::Unseen(fault.clone())], ..Report::default() }));
                }
                self.fault = Some(fault);
            }
        }
        self.tell(post);
        // What came while it was read.
        self.hear()
    }

    fn wait(&mut self) -> io::Result<()> {
        let due = match (self.host.wants_inventory(), self.listed) {
            (true, Some(listed)) => Some(listed + PAUSE),
            (false, _) if self.queue.is_empty() => None,
            (true, None) | (false, _) => Some(clock()),
        };
        let timeout = due.and_then(|due| Timespec::try_from(due.saturating_duration_since(clock())).ok());
        let bell = PollFd::new(self.bell.descriptor(), PollFlags::IN);
        match poll(&mut [bell, PollFd::new(self.kernel.ear(), PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether to go on.
    fn obey(&mut self) -> bool {
        self.bell.silence();
        let mut watch = None;
        let mut goes_on = true;
        for order in self.orders.try_iter() {
            match order {
                Order::Watch(watched) => watch = Some(watched),
                Order::Act(action) => self.queue.push_back(action),
                Order::Stop => goes_on = false,
            }
        }
        if let Some(watched) = watch {
            self.host.watch(watched);
        }
        goes_on
    }

    /// Carries out some of what is queued.
    fn act(&mut self) -> io::Result<()> {
        let actions: Vec<AddressAction> = self.queue.drain(..self.queue.len().min(BATCH)).collect();
        let interfaces = self.host.interfaces();
        let request = |action: &AddressAction| match action {
            AddressAction::Add { prefix, interface } => Some(Request::Add(*prefix, *interfaces.get(&**interface)?)),
            AddressAction::Remove { prefix, interface } => {
                Some(Request::Remove(*prefix, *interfaces.get(&**interface)?))
            }
        };
        let requests: Vec<Option<Request>> = actions.iter().map(request).collect();
        let known: Vec<Request> = requests.iter().flatten().copied().collect();
        let results = if known.is_empty() { Ok(Vec::new()) } else { self.kernel.carry_out(&known) };
        if results.is_err() {
            // It is not known what was done.
            self.host.doubt();
        }
        let mut numbers = results.as_ref().map(Vec::as_slice).unwrap_or_default().iter();
        for (action, request) in actions.iter().zip(&requests) {
            let outcome = match (request, &results) {
                (None, _) => without_interface(action, self.fault.as_deref()),
                (Some(_), Ok(_)) => outcome(action, numbers.next().copied().unwrap_or(libc::EIO)),
                (Some(_), Err(error)) => Outcome::Refused(text::words(error).into_owned()),
            };
            self.host.done(action, &outcome);
        }
        self.hear()
    }

    /// Removes what is still to be removed.
    fn finish(&mut self, post: &dyn Fn(News)) -> io::Result<()> {
        let until = clock() + STOPPING;
        self.queue.retain(|action| matches!(action, AddressAction::Remove { .. }));
        while !self.queue.is_empty() && clock() < until {
            self.act()?;
        }
        self.tell(post);
        Ok(())
    }
}

/// What can be done on an interface that is not there.
fn without_interface(action: &AddressAction, fault: Option<&str>) -> Outcome {
    match (action, fault) {
        (AddressAction::Add { .. }, Some(fault)) => Outcome::Refused(fault.to_owned()),
        (AddressAction::Add { interface, .. }, None) => Outcome::Refused(format!("no such interface {interface}")),
        // It has taken its addresses with it.
        (AddressAction::Remove { .. }, _) => Outcome::Needless,
    }
}

/// What the kernel's number means.
fn outcome(action: &AddressAction, number: i32) -> Outcome {
    match (action, number) {
        (_, 0) => Outcome::Done,
        (AddressAction::Add { .. }, libc::EEXIST) => Outcome::Needless,
        (AddressAction::Remove { .. }, libc::EADDRNOTAVAIL | libc::ENODEV) => Outcome::Needless,
        (AddressAction::Add { interface, .. }, libc::ENODEV) => {
            Outcome::Refused(format!("no such interface {interface}"))
        }
        (_, libc::EPERM) => Outcome::Refused("operation not permitted".to_owned()),
        (_, number) => Outcome::Refused(text::words(&io::Error::from_raw_os_error(number)).into_owned()),
    }
}
