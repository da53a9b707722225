//! The state file: read once at the start, then written by a thread of its own, so that no disk keeps the event loop
//! waiting.
//!
//! It is written when something has changed, at most about once a second, to a file beside it that then takes its name:
//! whenever the daemon or the machine dies, the file is whole. In between, its time of modification says that the daemon
//! is alive, so that after a crash it can be told for how long it was away.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::atomic::{self, beside};
use super::notice::restart::Restart;
use super::{clock, wall_clock};
use crate::config::{Config, RestartTime};
use crate::engine::Engine;
use crate::engine::saved::Saved;

/// Between two writings.
const PAUSE: Duration = Duration::from_secs(1);
/// A writing that failed is tried again after this, if nothing changes before.
const AGAIN: Duration = Duration::from_secs(10);
/// How long the last writing may take before the daemon ends without it.
const LAST: Duration = Duration::from_secs(2);
/// The largest state file that is read, in bytes: some 500,000 VIPs.
const MAX_FILE: u64 = 64 << 20;

/// An engine for this configuration, that goes on from the state file when that tells of routes that routers may still
/// hold; and what to tell the operator of it.
pub(super) fn engine(now: Instant, seed: u64, config: &Config, boot_id: &str) -> (Engine, Vec<Restart>) {
    let path = &config.daemon.state_file;
    let (saved, alive) = match read(path) {
        Ok(Some((text, alive))) => match Saved::parse(&text) {
            Ok(saved) => (saved, alive),
            Err(why) => {
                let aside = beside(path, ".bad");
                let kept = fs::rename(path, &aside).is_ok().then_some(aside);
                return (Engine::new(now, seed), vec![Restart::SetAside { path: path.clone(), kept, why }]);
            }
        },
        Ok(None) => return (Engine::new(now, seed), Vec::new()),
        Err(error) => {
            let notice = Restart::Unreadable { path: path.clone(), error: error.to_string() };
            return (Engine::new(now, seed), vec![notice]);
        }
    };
    let wall = wall_clock();
    // A clock that was set back says nothing of the time that has passed: at worst a router is told too much.
    let away = wall.timestamp(now).since_epoch().saturating_sub(alive.max(saved.written.since_epoch()));
    let (mut engine, notice) = match saved.is_usable(away, boot_id, config.restart_time()) {
        Ok(()) => {
            let peers = saved.peers.iter().map(|peer| peer.name.clone()).collect();
            let notice = Restart::Resumed { away, vips: saved.vips.len(), peers };
            (Engine::resume(now, seed, saved.remembered(&wall)), notice)
        }
        Err(why) => (Engine::new(now, seed), Restart::Afresh(why)),
    };
    let is_fresh = away < config.daemon.state_max_age;
    let restored = if is_fresh { Restart::Restored { away, checks: saved.checks.len() } } else { Restart::Stale(away) };
    if is_fresh {
        engine.inform(now, &wall, &saved);
    }
    let has_verdicts = !saved.checks.is_empty() && !config.daemon.state_max_age.is_zero();
    engine.restore_drains(now, &wall, saved.drains);
    (engine, [Some(notice), has_verdicts.then_some(restored)].into_iter().flatten().collect())
}

/// The content, and when the daemon was last alive, since 1970; `None` when there is no such file.
fn read(path: &Path) -> io::Result<Option<(Vec<u8>, Duration)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let alive = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(Some((text, alive)))
}

/// What tells one boot of the machine from another; empty when the system does not say.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What the thread shall write.
struct Job {
    saved: Saved,
    /// How often the file shall show that the daemon is alive.
    beat: Option<Duration>,
}

/// The event loop's end.
pub(super) struct Keeper {
    path: PathBuf,
    boot_id: String,
    jobs: Sender<Job>,
    outcome: Receiver<Result<(), String>>,
    /// When what has changed is written.
    due: Option<Instant>,
    last: Option<Instant>,
}

impl Keeper {
    /// `tell` hears of a writing that fails, once until it fails otherwise, and of the first that succeeds after it; on
    /// the thread.
    ///
    /// # Errors
    /// When the system has no thread to spare.
    pub(super) fn start(
        path: &Path,
        boot_id: String,
        tell: impl Fn(Result<(), String>) + Send + 'static,
    ) -> io::Result<Keeper> {
        let (jobs, queue) = bounded::<Job>(1);
        let (report, outcome) = bounded(1);
        let mut file = StateFile { path: path.to_owned(), text: String::new(), error: None };
        thread::Builder::new().name("state".to_owned()).stack_size(256 * 1024).spawn(move || {
            file.keep(&queue, &tell);
            report.send(file.error.map_or(Ok(()), Err))
        })?;
        Ok(Keeper { path: path.to_owned(), boot_id, jobs, outcome, due: None, last: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Something that is saved has changed.
    pub(super) fn changed(&mut self, now: Instant) {
        self.due.get_or_insert(self.last.map_or(now, |last| now.max(last + PAUSE)));
    }

    /// When [`save`](Self::save) is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Has this written. Never waits: a disk that is slow gets what is true when it is ready.
    pub(super) fn save(&mut self, now: Instant, saved: Saved, config: &Config) {
        self.last = Some(now);
        let sent = self.jobs.try_send(Job { saved, beat: beat(config) });
        self.due = sent.is_err().then(|| now + PAUSE);
    }

    /// Has this written, and waits for it, but not for ever.
    pub(super) fn finish(self, saved: Saved) -> Result<(), String> {
        let late = |_| format!("it takes more than {LAST:?}");
        self.jobs.send_timeout(Job { saved, beat: None }, LAST).map_err(|_| late(()))?;
        drop(self.jobs);
        self.outcome.recv_timeout(LAST).map_err(|_| late(()))?
    }
}

/// So often that what it misses of the time away does not matter beside the restart time, or the age of what still counts.
fn beat(config: &Config) -> Option<Duration> {
    let ages = [config.restart_time().map(RestartTime::duration), Some(config.daemon.state_max_age)];
    let least = ages.into_iter().flatten().filter(|age| !age.is_zero()).min()?;
    Some((least / 10).clamp(Duration::from_millis(200), Duration::from_secs(5)))
}

/// The thread's end.
struct StateFile {
    path: PathBuf,
    /// What shall be in it.
    text: String,
    /// Why it is not.
    error: Option<String>,
}

impl StateFile {
    fn keep(&mut self, queue: &Receiver<Job>, tell: &dyn Fn(Result<(), String>)) {
        let mut beat = None;
        loop {
            let pause = beat.or(self.error.as_ref().map(|_| AGAIN));
            let job = match pause {
                Some(pause) => queue.recv_timeout(pause),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let written = match job {
                Ok(job) => {
                    beat = job.beat;
                    self.text = job.saved.text();
                    self.write()
                }
                // Who removes the file, or mends the disk, gets a new one.
                Err(RecvTimeoutError::Timeout) if self.error.is_some() => self.write(),
                Err(RecvTimeoutError::Timeout) => self.touch().or_else(|_| self.write()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let error = written.err().map(|error| error.to_string());
            if error != self.error {
                tell(error.clone().map_or(Ok(()), Err));
                self.error = error;
            }
        }
    }

    fn write(&self) -> io::Result<()> {
        // Nothing else is replaced: somebody may have named /dev/null.
        if fs::metadata(&self.path).is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::other("it is no regular file"));
        }
        atomic::replace(&self.path, self.text.as_bytes(), None)
    }

    fn touch(&self) -> io::Result<()> {
        let now: SystemTime = UNIX_EPOCH + wall_clock().timestamp(clock()).since_epoch();
        File::options().write(true).open(&self.path)?.set_modified(now)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;

    use crossbeam_channel::TryRecvError;

    use super::*;
    use crate::announce::{Remembered, VipState};
    use crate::config::{Source, parse};
    use crate::engine::saved::SavedRoute;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn config(path: &Path) -> Config {
        let text = format!(
            "[daemon]\nstate_file = \"{}\"\nstate_max_age = \"2s\"\n[bgp]\nlocal_as = 65001\nrouter_id = \"10.0.0.1\"\n\
             graceful_restart = {{ restart_time = \"60s\" }}\n[[bgp.peer]]\naddress = \"10.0.0.2\"\npeer_as = 65000\n",
            path.display()
        );
        parse(&[Source { name: "test".into(), text }]).unwrap()
    }

    fn saved(vips: u32) -> Saved {
        let wall = wall_clock();
        let now = wall.timestamp(clock());
        let vip = |n: u32| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + n).into();
            SavedRoute::new(address, Remembered { state: VipState::Announced, since: None }, &wall, now)
        };
        let mut saved = Saved::new(now, "boot");
        saved.vips = (0..vips).filter_map(vip).collect();
        saved
    }

    fn begin(path: &Path) -> Option<Restart> {
        engine(clock(), 1, &config(path), "boot").1.into_iter().next()
    }

    fn start(path: &Path) -> (Keeper, mpsc::Receiver<Result<(), String>>) {
        let (tell, told) = mpsc::channel();
        let tell = move |outcome| tell.send(outcome).unwrap_or_default();
        (Keeper::start(path, "boot".to_owned(), tell).unwrap(), told)
    }

    fn set_age(path: &Path, age: Duration) {
        let at = SystemTime::UNIX_EPOCH + wall_clock().timestamp(clock()).since_epoch() - age;
        File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    }

    #[test]
    fn what_is_written_is_gone_on_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        assert!(begin(&path).is_none(), "a first start");
        let (keeper, _) = start(&path);
        assert_eq!(keeper.finish(saved(3)), Ok(()));
        assert!(matches!(begin(&path), Some(Restart::Resumed { vips: 3, .. })));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing else is left");
        // For how long it was away tells the time of the file, unless what is in it is later.
        let old = fs::read_to_string(&path).unwrap();
        let year = old.split("\"written\": \"").nth(1).unwrap()[..4].to_owned();
        fs::write(&path, old.replace(&format!("\"written\": \"{year}"), "\"written\": \"2001")).unwrap();
        assert!(matches!(begin(&path), Some(Restart::Resumed { vips: 3, .. })));
        set_age(&path, Duration::from_secs(61));
        assert!(matches!(begin(&path), Some(Restart::Afresh(_))));
    }

    #[test]
    fn what_is_no_state_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let whole = saved(3).text();
        for text in ["", "{", "[1, 2]", &whole[..whole.len() / 2], &whole.replace("\"major\": 1", "\"major\": 2")] {
            fs::write(&path, text).unwrap();
            let Some(Restart::SetAside { kept: Some(kept), .. }) = begin(&path) else { panic!("{text}") };
            assert_eq!((fs::read_to_string(kept).unwrap().as_str(), path.exists()), (text, false));
        }
        for other in [b"\x7fELF\x00\xff".as_slice(), &[0xff; 100]] {
            fs::write(&path, other).unwrap();
            assert!(matches!(begin(&path), Some(Restart::SetAside { .. })));
        }
        // A directory, and what is no file at all: neither read nor replaced.
        fs::create_dir(&path).unwrap();
        assert!(matches!(begin(&path), Some(Restart::Unreadable { .. })));
        let (keeper, _) = start(&path);
        assert_eq!(keeper.finish(saved(1)), Err("it is no regular file".to_owned()));
        fs::remove_dir(&path).unwrap();
        symlink("/dev/null", &path).unwrap();
        assert!(matches!(begin(&path), Some(Restart::Unreadable { .. })));
        let (keeper, _) = start(&path);
        assert!(keeper.finish(saved(1)).is_err());
    }

    #[test]
    fn a_directory_that_is_not_there_is_told_once_and_may_come() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("herald").join("state.json");
        let (mut keeper, told) = start(&path);
        keeper.save(clock(), saved(1), &Config::default());
        let error = told.recv_timeout(PATIENCE).unwrap().unwrap_err();
        assert!(error.contains("No such file"), "{error}");
        let second = |keeper: &mut Keeper, count| {
            let deadline = clock() + PATIENCE;
            keeper.save(clock(), saved(count), &Config::default());
            while keeper.deadline().is_some() {
                assert!(clock() < deadline, "the thread takes nothing");
                thread::yield_now();
                keeper.save(clock(), saved(count), &Config::default());
            }
        };
        second(&mut keeper, 2);
        fs::create_dir(path.parent().unwrap()).unwrap();
        second(&mut keeper, 3);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(())), "the same failure is not told again");
        assert_eq!(keeper.finish(saved(4)), Ok(()));
    }

    /// Whoever dies when, the name stands for a whole document.
    #[test]
    fn at_every_moment_the_file_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let texts = [3, 3000].map(|vips| saved(vips).text());
        let file = |text: &String| StateFile { path: path.clone(), text: text.clone(), error: None };
        file(&texts[0]).write().unwrap();
        let writers = [file(&texts[0]), file(&texts[1])];
        // A hundred times, and until the reader has been there for both.
        let (go_on, seen_both) = bounded::<()>(0);
        let writer = thread::spawn(move || {
            let goes_on = |n: &usize| *n < 100 || seen_both.try_recv() == Err(TryRecvError::Empty);
            (0..).take_while(goes_on).for_each(|n| writers[n % 2].write().unwrap());
        });
        let (mut seen, mut go_on, deadline) = ([0; 2], Some(go_on), clock() + PATIENCE);
        while !writer.is_finished() {
            if clock() > deadline || seen.iter().all(|count| *count > 0) {
                drop(go_on.take());
            }
            let text = fs::read_to_string(&path).unwrap();
            seen[texts.iter().position(|whole| *whole == text).expect("a whole document")] += 1;
        }
        writer.join().unwrap();
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
        // What a writing that was cut short has left is no hindrance.
        fs::write(beside(&path, ".new"), "{").unwrap();
        file(&texts[0]).write().unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_vanishes_comes_back_and_its_time_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let (mut keeper, _told) = start(&path);
        keeper.save(clock(), saved(1), &config(&path));
        let wait = |what: &str, is: &dyn Fn() -> bool| {
            let deadline = clock() + PATIENCE;
            while !is() {
                assert!(clock() < deadline, "{what}");
                thread::yield_now();
            }
        };
        wait("written", &|| path.exists());
        let modified = || fs::metadata(&path).and_then(|it| it.modified()).ok();
        let before = modified();
        wait("touched", &|| modified() > before);
        fs::remove_file(&path).unwrap();
        wait("back", &|| path.exists());
        drop(keeper);
    }
}
