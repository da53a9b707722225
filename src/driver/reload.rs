//! Reading a configuration on a thread of its own, so that no file keeps the event loop waiting.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, thread};

use super::control::Access;
use super::hook::Plan;
use super::load::{self, Audience, Configured, Origin, Stamp};
use super::notice::Subjects;
use super::probe::Prober;
use super::watch::Watch;
use crate::config::diff::Diff;
use crate::config::{Config, Diagnostic, Position, Source};

/// A configuration that can be taken as it is: everything it names has been looked at.
pub(crate) struct Loaded {
    pub(crate) config: Arc<Config>,
    /// From what was in force when it was read.
    pub(crate) diff: Diff,
    pub(crate) subjects: Arc<Subjects>,
    pub(crate) prober: Arc<Prober>,
    pub(crate) hooks: Plan,
    /// Who may use the control socket.
    pub(crate) access: Access,
    /// What to read again when GLB's tables change; `None` when nobody asked for that.
    pub(crate) watched: Option<Watched>,
}

/// GLB's tables, which are read again when they change.
pub(crate) struct Watched {
    /// What stays as it is then.
    pub(crate) origin: Arc<Origin>,
    /// Or why they cannot be watched.
    pub(crate) watch: Result<Watch, String>,
}

/// Why there is nothing to take.
pub(crate) struct Refused {
    /// Every finding, each with its place.
    pub(crate) errors: Vec<Diagnostic>,
    /// GLB's tables when they alone were read, from where their names lead by now: that may be elsewhere.
    pub(crate) watch: Option<Result<Watch, String>>,
}

impl From<Vec<Diagnostic>> for Refused {
    fn from(errors: Vec<Diagnostic>) -> Refused {
        Refused { errors, watch: None }
    }
}

/// What is read.
#[derive(Clone)]
pub(super) enum What {
    /// All files, as they are now.
    All,
    /// GLB's tables, which are here, for a configuration whose other files are these.
    Tables(Arc<Origin>, PathBuf),
}

/// Reads and checks a configuration, and what it names.
///
/// # Errors
/// Every finding, each with its place.
pub(crate) fn load(path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    take(load::read_all(path)?)
}

/// The same of texts that somebody else has read, to tell them what would come of it.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_texts(sources: Vec<Source>, audience: Audience) -> Result<Loaded, Vec<Diagnostic>> {
    load::look_at_sizes(&sources, audience)?;
    load::read_texts(sources, audience).and_then(take)
}

fn take(configured: Configured) -> Result<Loaded, Vec<Diagnostic>> {
    let Configured { config, origin, stamp } = configured;
    let watched = config.glb.as_ref().filter(|glb| glb.watch).map(|glb| {
        let watch = Watch::new(&glb.source, stamp).map_err(|error| error.to_string());
        Watched { origin, watch }
    });
    let config = Arc::new(config);
    let prober = Arc::new(Prober::new(&config)?);
    let hooks = Plan::load(&config)?;
    let subjects = Arc::new(Subjects::new(config.clone()));
    let access = Access::new(&config.daemon);
    Ok(Loaded { config, diff: Diff::default(), subjects, prober, hooks, access, watched })
}

fn load_tables(origin: &Arc<Origin>, source: &Path) -> Result<Loaded, Refused> {
    let before = Stamp::of(source);
    load::read_tables(origin).and_then(take).map_err(|errors| {
        let watch = Watch::new(source, before).map_err(|error| error.to_string());
        Refused { errors, watch: Some(watch) }
    })
}

/// Loads in the background and tells the result. Requests while one is under way become one more load after it, so that
/// what is in force in the end is what the files said after the last request.
pub(super) struct Loader {
    path: PathBuf,
    busy: bool,
    again: Option<What>,
}

impl Loader {
    pub(super) fn new(path: PathBuf) -> Loader {
        Loader { path, busy: false, again: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether one is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Begins to load, or notes that it must be done once more. `tell` gets the result, on another thread; `before` is in
    /// force until then.
    pub(super) fn request<F>(&mut self, what: What, before: Arc<Config>, tell: F) -> io::Result<()>
    where
        F: FnOnce(Result<Loaded, Refused>) + Send + 'static,
    {
        if self.busy {
            // All files include the tables.
            if !matches!(self.again, Some(What::All)) {
                self.again = Some(what);
            }
            return Ok(());
        }
        let path = self.path.clone();
        thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // A panic must not leave the daemon waiting for this thread for ever.
            let result = panic::catch_unwind(AssertUnwindSafe(|| {
                let loaded = match what {
                    What::All => load(&path).map_err(Refused::from),
                    What::Tables(origin, source) => load_tables(&origin, &source),
                };
                loaded.map(|loaded| Loaded { diff: Diff::new(&before, &loaded.config), ..loaded })
            }));
            tell(result.unwrap_or_else(|_| Err(vec![broken(&path, "internal error while it was read")].into())));
        })?;
        self.busy = true;
        Ok(())
    }

    /// The result has arrived; what was asked for meanwhile.
    pub(super) fn finished(&mut self) -> Option<What> {
        self.busy = false;
        self.again.take()
    }
}

/// A finding about the whole file.
pub(super) fn broken(path: &Path, message: &str) -> Diagnostic {
    let file = path.display().to_string().into();
    Diagnostic { position: Position { file, line: 1, column: 1 }, message: message.to_owned() }
}
