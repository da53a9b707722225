//! Health checking as a library: services with their checks go in, verdicts come out. No BGP, no files of its own.
//!
//! [`Director`] is a handle; the work is done by a thread of its own, with the same checks, the same judgement and the same
//! rules for starts and reloads as the daemon's: what it finds healthy is what the daemon would announce. What it is to check
//! is a level ([`Director::configure`]), and so is what it finds ([`Director::status`], [`Director::healthy_vips`],
//! [`Director::frontends`]); that something is different is told by [`Director::changes`]. Who wants every transition, every
//! round and every run of a check has a [`Notifier`], and who has another way to probe a [`Prober`].

mod notify;
mod rounds;
mod services;
mod work;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::config::{Diagnostic, Protocol};
use crate::health::{ProbeOutcome, ProbeRequest};
use crate::prefix::Prefix;

pub use crate::engine::drain::{DrainAnswer, Target};
pub use crate::engine::frontends::Frontend;
pub use crate::engine::status::Status;
pub use notify::{CheckRun, Notifier, Round, Subject, Transition};
pub use services::{Faults, Services};

/// How long [`Director::stop`] waits for threads that other code keeps busy.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Runs checks in the place of Herald's own.
pub trait Prober: Send + Sync + 'static {
    /// One run, in the calling thread, which is a worker's. It has [`timeout`](ProbeRequest::timeout) to return; one that
    /// does not has failed, and what it brings later is ignored. A panic is a failure of this run.
    ///
    /// `uses` are the backends that the run is for. The same check of the same backend is run once, whoever uses it; one with
    /// `target = "vip"` is another check for each VIP. A self-check is for none.
    fn probe(&self, request: &ProbeRequest, uses: &[Use]) -> ProbeOutcome;
}

/// A backend that a run is for, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The service, by its name.
    pub service: Arc<str>,
    /// The VIPs that the service is on.
    pub vips: Arc<[Prefix]>,
    /// Of the traffic to them.
    pub protocol: Protocol,
    /// Of the traffic to them; of several ports the first.
    pub port: u16,
    /// The backend.
    pub backend: SocketAddr,
}

/// How a [`Director`] works; the default is what the daemon does.
pub struct Options {
    /// Who runs checks; `None` is Herald itself, by what each check says.
    pub prober: Option<Arc<dyn Prober>>,
    /// Who is told of everything.
    pub notifier: Option<Arc<dyn Notifier>>,
    /// How many threads run checks of the network, 1 to [`MAX_WORKERS`](crate::config::MAX_WORKERS); `None` is as many as may
    /// time out at once.
    pub workers: Option<usize>,
    /// How long the first healthy VIPs wait for the first verdicts of the others at most.
    pub startup_deadline: Duration,
    /// How long a VIP that is drained stays healthy, for what is under way.
    pub drain_time: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            prober: None,
            notifier: None,
            workers: None,
            startup_deadline: Duration::from_secs(30),
            drain_time: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("prober", &self.prober.is_some())
            .field("notifier", &self.notifier.is_some())
            .field("workers", &self.workers)
            .field("startup_deadline", &self.startup_deadline)
            .field("drain_time", &self.drain_time)
            .finish()
    }
}

/// Why a call did nothing.
#[derive(Debug, thiserror::Error)]
pub enum DirectorError {
    /// It has been stopped.
    #[error("the director has stopped")]
    Stopped,
    /// The services name files that cannot be used, or need what the system does not permit; what was checked before is
    /// checked on.
    #[error("{}", list(.0))]
    Refused(Vec<Diagnostic>),
    /// There is no such thing to drain, or no room for more drains; in words, with what was perhaps meant.
    #[error("{0}")]
    NoSuchTarget(String),
    /// The system has no thread to spare.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

fn list(faults: &[Diagnostic]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What the handle asks its thread to do.
enum Command {
    Configure(Box<work::Prepared>, Sender<()>),
    Status(Sender<Status>),
    Frontends(Sender<Vec<Frontend>>),
    Drain(Target, Option<Duration>, Option<String>, Sender<Result<DrainAnswer, String>>),
    Undrain(Target, Sender<Result<DrainAnswer, String>>),
    CheckNow,
    Stop,
}

/// What is healthy, for everybody.
type Healthy = Arc<Mutex<BTreeSet<Prefix>>>;

/// A running set of checks, and what comes of them. May be shared between threads; no call waits for a check.
///
/// ```
/// use std::net::TcpListener;
/// use std::time::Duration;
///
/// use herald::Director;
/// use herald::driver::director::{Options, Services};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A backend for this example.
/// let backend = TcpListener::bind("127.0.0.1:0")?;
/// let text = format!(
///     r#"
///     [[service]]
///     name = "web"
///     vips = ["192.0.2.1"]
///     port = 80
///     check = [{{ type = "tcp", interval = "100ms", rise = 1, fall = 1 }}]
///     [[service.backend]]
///     address = "127.0.0.1"
///     port    = {}
///     "#,
///     backend.local_addr()?.port()
/// );
/// let director = Director::start(Services::parse(&text)?, Options::default())?;
///
/// // Whenever something may be different, look.
/// while director.healthy_vips().is_empty() {
///     director.wait(Duration::from_secs(10))?;
/// }
/// let frontends = director.frontends()?;
/// assert_eq!((frontends[0].vip.to_string(), frontends[0].port), ("192.0.2.1/32".to_owned(), 80));
/// assert_eq!(frontends[0].backends, [(backend.local_addr()?, 1)]);
/// assert_eq!(director.status()?.services[0].state, "up");
///
/// // What is not there any more is not healthy either.
/// director.configure(Services::parse("")?)?;
/// assert!(director.healthy_vips().is_empty());
/// director.stop();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Director {
    commands: Sender<Command>,
    changes: Receiver<()>,
    healthy: Healthy,
    options: Options,
    /// Nothing is sent: it is disconnected when the thread has ended.
    alive: Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Director {
    /// Starts one with these services. Nothing is healthy before the first verdicts of all VIPs are in, or
    /// [`startup_deadline`](Options::startup_deadline) is over.
    ///
    /// # Errors
    /// [`Refused`](DirectorError::Refused); [`System`](DirectorError::System) when there is not a single thread to spare.
    pub fn start(services: Services, options: Options) -> Result<Director, DirectorError> {
        let prepared = work::Prepared::new(services, &options)?;
        let (commands, asked) = unbounded();
        // It coalesces: that something is different, not what.
        let (tell, changes) = bounded(1);
        let (living, alive) = bounded(0);
        let healthy = Healthy::default();
        let notifications = options.notifier.clone().map(notify::Queue::start).transpose()?;
        let work = work::Work::new(prepared, asked, tell, healthy.clone(), notifications)?;
        let thread = std::thread::Builder::new().name("director".to_owned()).spawn(move || {
            let _living = living;
            work.run();
        })?;
        Ok(Director { commands, changes, healthy, options, alive, thread: Mutex::new(Some(thread)) })
    }

    /// These are the services from now on. Those that are as they were keep their state, and so do checks and backends; a new
    /// VIP starts down, a new service on a healthy VIP starts up, a new backend starts down, and a new check on a live backend
    /// decides nothing before its own first verdict. In force when it returns.
    ///
    /// # Errors
    /// [`Refused`](DirectorError::Refused), and then nothing changes; [`Stopped`](DirectorError::Stopped).
    pub fn configure(&self, services: Services) -> Result<(), DirectorError> {
        let prepared = Box::new(work::Prepared::new(services, &self.options)?);
        self.ask(|reply| Command::Configure(prepared, reply))
    }

    /// Everything at a glance, in the shape of `herald status --json`: VIPs, services, backends, checks, drains and the guard.
    /// Costs what there is.
    ///
    /// # Errors
    /// [`Stopped`](DirectorError::Stopped).
    pub fn status(&self) -> Result<Status, DirectorError> {
        self.ask(Command::Status)
    }

    /// What a data plane has to know: where to take what comes to each healthy VIP. Costs what there is.
    ///
    /// # Errors
    /// [`Stopped`](DirectorError::Stopped).
    pub fn frontends(&self) -> Result<Vec<Frontend>, DirectorError> {
        self.ask(Command::Frontends)
    }

    /// The VIPs that the daemon would announce now, healthy, degraded or doubted. Those of the end, once it has stopped.
    pub fn healthy_vips(&self) -> BTreeSet<Prefix> {
        self.healthy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Yields after something became different, once for any number of things: look when it does. Disconnected once the
    /// director has stopped. Clones share what comes.
    pub fn changes(&self) -> &Receiver<()> {
        &self.changes
    }

    /// Waits until something is different, for so long at most, and says whether it is.
    ///
    /// # Errors
    /// [`Stopped`](DirectorError::Stopped).
    pub fn wait(&self, time: Duration) -> Result<bool, DirectorError> {
        match self.changes.recv_timeout(time) {
            Ok(()) => Ok(true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(DirectorError::Stopped),
        }
    }

    /// Takes something out of service gently, for so long or until it is undone: `all`, `192.0.2.1`, `web` or
    /// `web/10.1.0.11:8080`. A backend does not count at once; a VIP stays healthy for
    /// [`drain_time`](Options::drain_time). Lasts across [`configure`](Self::configure).
    ///
    /// # Errors
    /// [`NoSuchTarget`](DirectorError::NoSuchTarget), [`Stopped`](DirectorError::Stopped).
    pub fn drain(
        &self,
        target: &str,
        time: Option<Duration>,
        reason: Option<&str>,
    ) -> Result<DrainAnswer, DirectorError> {
        let (target, reason) = (target_of(target), reason.map(str::to_owned));
        self.ask(|reply| Command::Drain(target, time, reason, reply))?.map_err(DirectorError::NoSuchTarget)
    }

    /// Ends a drain.
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub fn undrain(&self, target: &str) -> Result<DrainAnswer, DirectorError> {
        let target = target_of(target);
        self.ask(|reply| Command::Undrain(target, reply))?.map_err(DirectorError::NoSuchTarget)
    }

    /// Runs every check as soon as possible: all but those that are at it.
    ///
    /// # Errors
    /// [`Stopped`](DirectorError::Stopped).
    pub fn check_now(&self) -> Result<(), DirectorError> {
        self.send(Command::CheckNow)
    }

    /// Ends all checks. Waits some seconds at most: a [`Prober`] or [`Notifier`] that does not return is left behind.
    pub fn stop(&self) {
        // One that has ended takes nothing, and needs nothing.
        let _ended = self.send(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        // Nothing comes but the end.
        if self.alive.recv_timeout(STOP_PATIENCE * 2) == Err(RecvTimeoutError::Disconnected) {
            let _panicked = thread.join();
        }
    }

    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, DirectorError> {
        let (reply, answer) = bounded(1);
        self.send(command(reply))?;
        answer.recv().map_err(|_| DirectorError::Stopped)
    }

    fn send(&self, command: Command) -> Result<(), DirectorError> {
        self.commands.send(command).map_err(|_| DirectorError::Stopped)
    }
}

impl Drop for Director {
    /// As [`stop`](Self::stop).
    fn drop(&mut self) {
        self.stop();
    }
}

fn target_of(text: &str) -> Target {
    match text.parse() {
        Ok(target) => target,
        Err(never) => match never {},
    }
}
