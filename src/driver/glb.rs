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
use super::{probe, program};
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
    let command = command.map(|command| program::shell(command, job.config.reload_timeout));
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
    // Nor may it be in the way when the destination is replaced.
    if let (Ok(temporary), Ok(source)) = (fs::canonicalize(atomic::temporary(&place)), fs::canonicalize(source))
        && temporary == source
    {
        return Err(io::Error::other("the source has the name that the new file has until it is whole"));
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::sync::mpsc;

    use super::*;
    use crate::config::glb::Glb;
    use crate::config::{Texts, parse_with};
    use crate::driver::clock;

    const PATIENCE: Duration = Duration::from_secs(20);
    const TABLE: &str = r#"{"tables": [{"binds": [], "backends": [{"ip": "10.0.0.1", "state": "active"}]}]}"#;

    struct Stage(tempfile::TempDir);

    impl Stage {
        fn new() -> Stage {
            let stage = Stage(tempfile::tempdir().unwrap());
            fs::write(stage.at("src"), TABLE).unwrap();
            stage
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn job(&self, healthy: bool, command: Option<&str>) -> Job {
            let source = |text: &str| crate::config::Source { name: "t".into(), text: text.to_owned() };
            let main = source(&format!("[glb]\nsource = '{}'", self.at("src").display()));
            let texts: Texts = [(self.at("src"), Ok(source(TABLE)))].into();
            let glb = parse_with(&[main], &texts).unwrap().glb.unwrap();
            let config = Arc::new(Glb {
                destination: Some(self.at("dst")),
                reload_command: command.map(|command| command.replace("DIR", self.0.path().to_str().unwrap())),
                reload_timeout: PATIENCE,
                ..(*glb).clone()
            });
            Job { id: 7, table: config.table.clone(), config, healthy: vec![healthy], run_anyway: false }
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.at(name)).unwrap()
        }
    }

    #[test]
    fn what_is_right_is_left_alone_and_its_command_runs_when_it_must() {
        let stage = Stage::new();
        let run_with = |healthy, run_anyway| {
            run(&Job { run_anyway, ..stage.job(healthy, Some("cat DIR/dst >> DIR/seen; echo >> DIR/seen")) })
        };
        let written = |written, ran: bool| Outcome { id: 7, written: Ok(written), command: ran.then_some(Ok(())) };
        assert_eq!(run_with(true, false), written(true, true));
        assert_eq!(stage.read("dst"), TABLE.replace("\"active\"}", "\"active\", \"healthy\": true}"));
        let before = fs::metadata(stage.at("dst")).unwrap();
        assert_eq!(before.mode() & 0o777, 0o644, "whatever the umask is");
        assert_eq!(run_with(true, false), written(false, false));
        assert_eq!(run_with(true, true), written(false, true));
        assert_eq!(fs::metadata(stage.at("dst")).unwrap().ino(), before.ino());
        assert_eq!(run_with(false, false), written(true, true));
        let seen = stage.read("seen");
        let seen: Vec<bool> = seen.lines().map(|line| line.contains("true")).collect();
        assert_eq!(seen, [true, true, false], "the command sees the whole file");
        assert_eq!(fs::read_dir(stage.0.path()).unwrap().count(), 3, "nothing else is left");
    }

    #[test]
    fn owner_mode_and_links_stay() {
        let stage = Stage::new();
        fs::create_dir(stage.at("real")).unwrap();
        fs::write(stage.at("real/file"), "old").unwrap();
        fs::set_permissions(stage.at("real/file"), fs::Permissions::from_mode(0o640)).unwrap();
        // Who may not give files away keeps his own.
        let given = std::os::unix::fs::chown(stage.at("real/file"), Some(1234), Some(2345)).is_ok();
        symlink("real/file", stage.at("hop")).unwrap();
        symlink("hop", stage.at("dst")).unwrap();
        assert_eq!(run(&stage.job(true, None)).written, Ok(true));
        let metadata = fs::metadata(stage.at("real/file")).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o640);
        assert!(!given || (metadata.uid(), metadata.gid()) == (1234, 2345));
        assert!(
            stage.read("real/file").contains("healthy") && stage.at("dst").is_symlink() && stage.at("hop").is_symlink()
        );
        // A link to what is not there yet.
        fs::remove_file(stage.at("real/file")).unwrap();
        assert_eq!(run(&stage.job(true, None)).written, Ok(true));
        assert!(stage.read("real/file").contains("healthy") && stage.at("dst").is_symlink());
    }

    #[test]
    fn what_must_not_be_replaced_is_not() {
        let stage = Stage::new();
        let refused = |what: &str| {
            let outcome = run(&stage.job(true, Some("touch DIR/ran")));
            let error = outcome.written.unwrap_err();
            assert!(error.contains(what), "{error}");
            assert!(outcome.command.is_none() && !stage.at("ran").exists());
            assert_eq!(stage.read("src"), TABLE);
        };
        symlink("src", stage.at("dst")).unwrap();
        refused("the source under another name");
        fs::remove_file(stage.at("dst")).unwrap();
        symlink("dst", stage.at("dst")).unwrap();
        refused("symbolic links");
        fs::remove_file(stage.at("dst")).unwrap();
        fs::create_dir(stage.at("dst")).unwrap();
        refused("no regular file");
        fs::remove_dir(stage.at("dst")).unwrap();
        symlink("/dev/null", stage.at("dst")).unwrap();
        refused("no regular file");
        fs::remove_file(stage.at("dst")).unwrap();
        symlink("src", stage.at("dst.new")).unwrap();
        refused("until it is whole");
        fs::remove_file(stage.at("dst.new")).unwrap();
        symlink("nowhere/file", stage.at("dst")).unwrap();
        refused("No such file");
    }

    #[test]
    fn commands_that_fail_say_why_and_those_that_hang_are_killed() {
        let stage = Stage::new();
        let failed = |command: &str, timeout| {
            let mut job = stage.job(true, Some(command));
            Arc::make_mut(&mut job.config).reload_timeout = timeout;
            run(&Job { run_anyway: true, ..job }).command.unwrap().unwrap_err()
        };
        assert_eq!(failed("echo first; echo last >&2; exit 3", PATIENCE), "exit status 3: last");
        assert_eq!(failed("exit 4", PATIENCE), "exit status 4");
        assert_eq!(failed("kill -9 $$", PATIENCE), "killed by signal 9");
        let begun = clock();
        let error = failed("echo hanging; sleep 1000 & echo $! > DIR/pid; wait", Duration::from_secs(2));
        assert!(error.starts_with("timed out after 2 s") && error.contains("hanging"), "{error}");
        assert!(clock() - begun < PATIENCE);
        let child = stage.read("pid");
        let is_gone = || {
            let state = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        while !is_gone() {
            assert!(clock() - begun < PATIENCE, "the group outlives the command");
            thread::yield_now();
        }
        // What a command leaves to run when it ends is its own affair.
        assert_eq!(run(&stage.job(false, Some("sleep 1000 & echo $! > DIR/pid"))).command, Some(Ok(())));
        let child = stage.read("pid");
        assert!(fs::exists(format!("/proc/{}", child.trim())).unwrap());
        let pid = rustix::process::Pid::from_raw(child.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn a_stop_does_not_wait_for_a_command_that_hangs() {
        let stage = Stage::new();
        let (tell, told) = mpsc::channel();
        let mut writer = Writer::new();
        let begun = clock();
        writer.begin(stage.job(true, Some("sleep 1000")), move |outcome| tell.send(outcome).unwrap()).unwrap();
        writer.finish();
        assert!(clock() - begun < LAST + DYING + Duration::from_secs(8), "{:?}", clock() - begun);
        let outcome = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(outcome.command, Some(Err("given up: the daemon is stopping".to_owned())));
        assert!(stage.read("dst").contains("healthy"));
        Writer::new().finish();
    }
}
