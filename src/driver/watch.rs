//! Sees that a file has changed (inotify(7)), by watching the directories in which its name, and each link on the way to
//! it, stand: a file that another one replaces is not watched by itself.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use super::clock;
use super::load::Stamp;

/// After a change. Whoever writes a file is not always done with the first.
const PAUSE: Duration = Duration::from_millis(200);
/// Names that a file is followed through.
const MOST_NAMES: usize = 64;
/// Some hundred events.
const BUFFER: usize = 8192;

/// The names of one file.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: OwnedFd,
    /// By the number of their directory.
    names: Vec<(i32, OsString)>,
    /// It has changed before it was watched.
    missed: bool,
}

impl Watch {
    /// Watches a file that was last read when it had this stamp. May block: not for the event loop.
    ///
    /// # Errors
    /// The system's: there is a limit to what may be watched, for one.
    pub(crate) fn new(path: &Path, read: Option<Stamp>) -> io::Result<Watch> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let kinds = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        let mut names = Vec::new();
        let mut came = false;
        for (directory, name) in names_of(path) {
            // Where there is no such directory, the one above it will see it come.
            let (mut above, mut next) = (directory.as_path(), name.as_os_str());
            let number = loop {
                match (inotify::add_watch(&inotify, above, kinds), above.parent(), above.file_name()) {
                    (Err(Errno::NOENT), Some(parent), Some(last)) => (above, next) = (parent, last),
                    (number, ..) => break number?,
                }
            };
            came |= above != directory && directory.exists();
            names.push((number, next.to_owned()));
        }
        Ok(Watch { inotify, names, missed: came || Stamp::of(path) != read })
    }

    /// Takes the events that are there; whether one is about the file.
    fn take(&mut self) -> bool {
        let mut buffer = [MaybeUninit::<u8>::uninit(); BUFFER];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut found = false;
        while let Ok(event) = events.next() {
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            // Without a name: about the directory itself, or a queue that has overflowed.
            found |= match name {
                None => true,
                Some(name) => self.names.iter().any(|(directory, ours)| *directory == event.wd() && ours == name),
            };
        }
        found
    }
}

/// Each name on the way to a file, with the directory that it stands in: its own, and those of the links that it leads
/// through. Directories above these are taken as they are, as long as they are.
fn names_of(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut names = Vec::new();
    let mut directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut rest: VecDeque<OsString> = path.file_name().map(OsStr::to_owned).into_iter().collect();
    while let (Some(name), true) = (rest.pop_front(), names.len() < MOST_NAMES) {
        let full = directory.join(&name);
        names.push((directory.clone(), name));
        let Ok(target) = fs::read_link(&full) else {
            directory = full;
            continue;
        };
        let mut parts = VecDeque::new();
        if target.is_absolute() {
            directory = target.parent().unwrap_or(Path::new("/")).to_owned();
            parts.extend(target.file_name().map(OsStr::to_owned));
        } else {
            for part in target.components() {
                match part {
                    Component::Normal(name) => parts.push_back(name.to_owned()),
                    Component::ParentDir if parts.pop_back().is_none() => directory = directory.join(".."),
                    _ => {}
                }
            }
        }
        parts.append(&mut rest);
        rest = parts;
    }
    names
}

/// What the event loop has of it.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    watch: Option<Watch>,
    due: Option<Instant>,
}

impl Watcher {
    /// From now on this one, or none.
    pub(super) fn set(&mut self, registry: &Registry, token: Token, watch: Option<Watch>) -> io::Result<()> {
        self.watch = None;
        self.due = None;
        if let Some(watch) = watch {
            registry.register(&mut SourceFd(&watch.inotify.as_raw_fd()), token, Interest::READABLE)?;
            self.due = watch.missed.then(|| clock() + PAUSE);
            self.watch = Some(watch);
        }
        Ok(())
    }

    /// Its token is ready.
    pub(super) fn notify(&mut self, now: Instant) {
        if self.watch.as_mut().is_some_and(Watch::take) {
            self.due.get_or_insert(now + PAUSE);
        }
    }

    /// When [`is_due`](Self::is_due) has an answer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the file is to be read again; said once.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|at| *at <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_way_to_change_a_file_is_seen_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("one")).unwrap();
        fs::create_dir(at("two")).unwrap();
        fs::write(at("one/table"), "1").unwrap();
        fs::write(at("two/table"), "22").unwrap();
        symlink("one", at("current")).unwrap();
        symlink("current/table", at("link")).unwrap();
        let mut watch = Watch::new(&at("link"), Stamp::of(&at("link"))).unwrap();
        assert!(!watch.missed && !watch.take());
        fs::read(at("link")).unwrap();
        fs::write(at("other"), "x").unwrap();
        fs::write(at("one/table.new"), "x").unwrap();
        assert!(!watch.take(), "others");
        fs::write(at("one/table"), "3").unwrap();
        assert!(watch.take(), "written in place");
        fs::rename(at("one/table.new"), at("one/table")).unwrap();
        assert!(watch.take() && !watch.take(), "replaced");
        symlink("two", at("fresh")).unwrap();
        assert!(!watch.take());
        fs::rename(at("fresh"), at("current")).unwrap();
        assert!(watch.take(), "a link on the way");
        fs::remove_file(at("link")).unwrap();
        assert!(watch.take(), "removed");
        assert!(Watch::new(&at("two/table"), Stamp::of(&at("one/table"))).unwrap().missed);
        let names: Vec<_> = names_of(Path::new("/nowhere/x")).into_iter().collect();
        assert_eq!(names, [(PathBuf::from("/nowhere"), OsString::from("x"))]);
        symlink("loop", at("loop")).unwrap();
        assert_eq!(names_of(&at("loop")).len(), MOST_NAMES);
    }
}
