//! Writes GLB's tables and runs the reload command, on a thread of its own: neither a disk nor a program keeps the event
//! loop waiting.

use std::fs;
use std::io::{self, ErrorKind};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{panic, thread};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::atomic::{self, Keep};
use super::probe;
use crate::glb::{Job, Outcome};

/// How long a stop waits for the job that is under way.
const LAST: Duration = Duration::from_secs(2);
/// And after that for its command to die.
const DYING: Duration = Duration::from_secs(1);
/// Links in a row that a name is followed through, as the system does.
const MOST_LINKS: usize = 40;

/// The event loop's end. Jobs are few: each has a thread for itself.
pub(super) struct Writer {
    /// Disconnected when the last job is over.
    ended: Option<Receiver<()>>,
    stopping: Arc<AtomicBool>,
}

impl Writer {
    pub(super) fn new() -> Writer {
        Writer { ended: None, stopping: Arc::default() }
    }

    /// Begins a job, of which there is no other under way; never waits. `tell` gets the outcome, on another thread.
    ///
    /// # Errors
    /// When the system has no thread to spare, with the outcome that `tell` does not get.
    pub(super) fn begin(&mut self, job: Job, tell: impl FnOnce(Outcome) + Send + 'static) -> Result<(), Outcome> {
        let failed = |id, why: String| Outcome { id, written: Err(why), command: None };
        let (id, stopping) = (job.id, self.stopping.clone());
        let (alive, ended) = bounded::<()>(0);
        let work = move || {
            probe::limit::cancel_on(stopping);
            // A panic must not leave the engine waiting for this thread for ever.
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(&job)));
            tell(outcome.unwrap_or_else(|_| failed(id, "internal error while it was written".to_owned())));
            drop(alive);
        };
        let spawned = thread::Builder::new().name("glb".to_owned()).spawn(work);
        self.ended = Some(ended);
        spawned.map(drop).map_err(|error| failed(id, format!("there is no thread to write it: {error}")))
    }

    /// Waits for the job under way, but not for ever: then its command is killed.
    pub(super) fn finish(self) {
        let Some(ended) = self.ended else { return };
        if ended.recv_timeout(LAST) == Err(RecvTimeoutError::Timeout) {
            self.stopping.store(true, Ordering::SeqCst);
            let _dead_or_not = ended.recv_timeout(DYING);
        }
    }
}

fn run(job: &Job) -> Outcome {
    let Some(destination) = &job.config.destination else {
        return Outcome { id: job.id, written: Err("there is no destination".to_owned()), command: None };
    };
    let written = write(destination, &job.config.source, job).map_err(|error| words(&error));
    let due = job.run_anyway || written == Ok(true);
    let command = job.config.reload_command.as_ref().filter(|_| written.is_ok() && due);
    let command = command.map(|command| probe::exec::shell(command, job.config.reload_timeout));
    Outcome { id: job.id, written, command }
}

/// Whether it had to be.
fn write(destination: &Path, source: &Path, job: &Job) -> io::Result<bool> {
    let place = follow(destination)?;
    // By whatever way: a table that reads what it writes has no source any more.
    if let (Ok(place), Ok(source)) = (fs::canonicalize(&place), fs::canonicalize(source))
        && place == source
    {
        return Err(io::Error::other("it is the source under another name"));
    }
    if fs::metadata(&place).is_ok_and(|there| !there.is_file()) {
        return Err(io::Error::other("it is no regular file"));
    }
    let text = job.table.render(&job.healthy);
    if is_already(&place, text.as_bytes()) {
        return Ok(false);
    }
    atomic::replace(&place, text.as_bytes(), Some(Keep::of(&place)?))?;
    Ok(true)
}

/// Where the links lead, of which the last may lead to nothing yet: they stay, and what they point to is replaced.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&place) {
            Ok(target) => place = place.parent().unwrap_or(Path::new("/")).join(target),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => return Ok(place),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many levels of symbolic links"))
}

fn is_already(path: &Path, content: &[u8]) -> bool {
    let same_size = fs::metadata(path).is_ok_and(|there| there.len() == content.len() as u64);
    same_size && fs::read(path).is_ok_and(|there| there == content)
}

/// Without the system's number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
