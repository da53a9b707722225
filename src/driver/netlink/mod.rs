//! Tells which targets of checks have lost their path, at once: when a link goes down, or a route becomes unreachable, goes
//! away or leads elsewhere. It is a suspicion only, and the check's is the verdict.
//!
//! A thread of its own listens to the kernel's news (rtnetlink(7)) and asks it for the way to each target, as the check's
//! sockets would have it: address, interface or VRF, firewall mark, source address, DSCP. It needs no privilege, but
//! AF_NETLINK must be allowed.
//!
//! What it cannot see is what this host's kernel does not know: a switch further on, or one port of a bridge whose other
//! ports are up. A VLAN, a bond or a VRF follows the links under it, and the kernel says so. Of a route with several next
//! hops each counts, unless the check is bound to an interface or VRF: then it is the one that the kernel would take. A host
//! without a neighbour entry (NUD_FAILED) is no sign: the kernel takes up to a minute to say so, and any check is faster.

pub mod addresses;
mod kernel;
mod message;
mod suspects;
mod thread;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use self::thread::{Bell, Order};
use crate::config::Egress;

/// A target, and how what is sent to it leaves this host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// Of the target.
    pub address: IpAddr,
    /// Of the check.
    pub egress: Egress,
}

/// Targets that may be out of reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// In order, each once; never empty. None of them was in another suspicion within the second before.
    pub paths: Vec<Path>,
    /// For people, such as `link eth1 is down` or `route to 10.1.0.0/24 is gone`; of several, the first few.
    pub cause: String,
}

/// How long [`Watcher::stop`] waits for the thread, which may be in its `post`.
const STOPPING: Duration = Duration::from_secs(1);

/// The thread, as others see it.
pub struct Watcher {
    orders: Sender<Order>,
    bell: Bell,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Watcher {
    /// Starts the thread, in the network namespace of the caller. `post` is called on it.
    ///
    /// # Errors
    /// When this process may not open such sockets (EAFNOSUPPORT), or the system has no descriptors or threads to spare.
    pub fn start(post: impl Fn(Suspicion) + Send + 'static) -> io::Result<Watcher> {
        let (orders, received) = unbounded();
        let (alive, ended) = bounded(0);
        let bell = Bell::new()?;
        thread::start(received, bell.clone(), post, alive)?;
        Ok(Watcher { orders, bell, ended })
    }

    /// From now on these are watched, and no others. Never waits: they are looked up by the thread. Equal ones count once.
    pub fn set_targets(&self, paths: Vec<Path>) {
        // Nobody is there when the thread has failed, and has said so.
        let _ = self.orders.send(Order::Targets(paths));
        self.bell.ring();
    }

    /// Ends the thread, and waits for that, but not for ever.
    pub fn stop(self) {}
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        self.bell.ring();
        // Nobody sends here: it ends in time, or with the thread.
        let _ = self.ended.recv_timeout(STOPPING);
    }
}
