//! Reading a configuration on a thread of its own, so that no file keeps the event loop waiting.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, thread};

use super::load;
use super::notice::Subjects;
use super::probe::Prober;
use crate::config::{Config, Diagnostic, Position};

/// A configuration that can be taken as it is: everything it names has been looked at.
pub(crate) struct Loaded {
    pub(crate) config: Arc<Config>,
    pub(crate) subjects: Arc<Subjects>,
    pub(crate) prober: Arc<Prober>,
}

/// Reads and checks a configuration, and what it names.
///
/// # Errors
/// Every finding, each with its place.
pub(crate) fn load(path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    let config = Arc::new(load::load(path)?);
    let prober = Arc::new(Prober::new(&config)?);
    let subjects = Arc::new(Subjects::new(config.clone()));
    Ok(Loaded { config, subjects, prober })
}

/// Loads in the background and tells the result. Requests while one is under way become one more load after it, so that
/// what is in force in the end is what the files said after the last request.
pub(super) struct Loader {
    path: PathBuf,
    busy: bool,
    again: bool,
}

impl Loader {
    pub(super) fn new(path: PathBuf) -> Loader {
        Loader { path, busy: false, again: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to load, or notes that it must be done once more. `tell` gets the result, on another thread.
    pub(super) fn request<F>(&mut self, tell: F) -> io::Result<()>
    where
        F: FnOnce(Result<Loaded, Vec<Diagnostic>>) + Send + 'static,
    {
        if self.busy {
            self.again = true;
            return Ok(());
        }
        let path = self.path.clone();
        thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // A panic must not leave the daemon waiting for this thread for ever.
            let result = panic::catch_unwind(AssertUnwindSafe(|| load(&path)));
            tell(result.unwrap_or_else(|_| Err(vec![broken(&path, "internal error while it was read")])));
        })?;
        self.busy = true;
        Ok(())
    }

    /// The result has arrived; whether another load was asked for meanwhile.
    pub(super) fn finished(&mut self) -> bool {
        self.busy = false;
        std::mem::take(&mut self.again)
    }
}

/// A finding about the whole file.
pub(super) fn broken(path: &Path, message: &str) -> Diagnostic {
    let file = path.display().to_string().into();
    Diagnostic { position: Position { file, line: 1, column: 1 }, message: message.to_owned() }
}
