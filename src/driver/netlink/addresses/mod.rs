//! The addresses of VIPs on this host: added, removed, and watched for what others do to them.
//!
//! A thread of its own has the kernel do it (rtnetlink(7)), many at a time, and hears of every change. What it adds and
//! removes needs CAP_NET_ADMIN; to watch needs nothing.

mod host;
mod kernel;
mod thread;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use self::kernel::{Kernel, Request};
use self::thread::Order;
use super::thread::Bell;
use crate::announce::AddressNews;
use crate::engine::ground::AddressAction;
use crate::prefix::Prefix;

/// How long removals may take at the end.
const STOPPING: Duration = Duration::from_secs(2);
/// And the thread, which may be in its `post`.
const ENDING: Duration = Duration::from_secs(3);

/// An address that is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Of a single address. It counts whatever prefix it has on its interface.
    pub prefix: Prefix,
    /// Where it counts; `None` for anywhere.
    pub interface: Option<Arc<str>>,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Of addresses.
    Report(Report),
    /// The thread has ended for this reason.
    Broken(String),
}

/// What has become of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// For the engine, in order.
    pub news: Vec<(Prefix, AddressNews)>,
    /// For operators.
    pub notes: Vec<Note>,
}

/// Something that operators shall hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// We have added an address.
    Added {
        /// Which.
        prefix: Prefix,
        /// Where.
        interface: Arc<str>,
    },
    /// We have removed one.
    Removed {
        /// Which.
        prefix: Prefix,
        /// Where from.
        interface: Arc<str>,
    },
    /// One is gone, and not by us.
    Gone {
        /// Which.
        prefix: Prefix,
        /// Where it was, if that mattered.
        interface: Option<Arc<str>>,
    },
    /// One cannot be added or removed, or used; once until it changes.
    Refused {
        /// Which.
        prefix: Prefix,
        /// Where, if that mattered.
        interface: Option<Arc<str>>,
        /// It was to be added.
        adding: bool,
        /// Why.
        error: String,
    },
    /// The kernel does not tell what is there, and why.
    Unseen(String),
}

/// The thread, as others see it.
pub struct Addresses {
    orders: Sender<Order>,
    bell: Bell,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Addresses {
    /// Starts the thread, in the network namespace of the caller. `post` is called on it.
    ///
    /// # Errors
    /// When this process may not open such sockets (EAFNOSUPPORT), or the system has no descriptors or threads to spare.
    pub fn start(post: impl Fn(News) + Send + 'static) -> io::Result<Addresses> {
        let (orders, received) = unbounded();
        let (alive, ended) = bounded(0);
        let bell = Bell::new()?;
        thread::start(received, bell.clone(), post, alive)?;
        Ok(Addresses { orders, bell, ended })
    }

    /// From now on these are told of, and no others: each once as it is now, and then whenever it changes.
    pub fn watch(&self, watched: Vec<Watched>) {
        self.order(Order::Watch(watched));
    }

    /// Has this done, after all that was submitted before. Never waits. An address that was to be added is told of, whatever
    /// became of it, if it is watched.
    pub fn submit(&self, action: AddressAction) {
        self.order(Order::Act(action));
    }

    /// Ends the thread when what is to be removed has been removed, or after two seconds.
    pub fn stop(self) {}

    fn order(&self, order: Order) {
        // Nobody is there when the thread has failed, and has said so.
        let _ = self.orders.send(order);
        self.bell.ring();
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        self.order(Order::Stop);
        // Nobody sends here: it ends in time, or with the thread.
        let _ = self.ended.recv_timeout(ENDING);
    }
}

/// Whether the system lets us change addresses. Nothing is changed.
pub(in crate::driver) fn look() -> io::Result<()> {
    // No interface has this number, but who may not ask is told so first.
    let nowhere = Request::Remove(Prefix::host(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0);
    match Kernel::open()?.carry_out(&[nowhere])?.first() {
        Some(number) if [libc::EPERM, libc::EACCES].contains(number) => Err(io::Error::from_raw_os_error(*number)),
        _ => Ok(()),
    }
}
