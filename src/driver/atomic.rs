//! Replaces a file as a whole: whoever opens it, whenever, and whatever dies when, reads the old content or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Who a file belongs to, and who may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keep {
    /// `None`: whoever writes it.
    owner: Option<(u32, u32)>,
    mode: u32,
}

impl Keep {
    /// As the file there is; one that is not there is to be for all to read.
    pub(super) fn of(path: &Path) -> io::Result<Keep> {
        match fs::metadata(path) {
            Ok(there) => Ok(Keep { owner: Some((there.uid(), there.gid())), mode: there.mode() & 0o7777 }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Keep { owner: None, mode: 0o644 }),
            Err(error) => Err(error),
        }
    }
}

/// Writes a file beside `path`, and gives it that name. Without `keep` it gets the mode of any new file.
///
/// # Errors
/// The system's; then what was there is there.
pub(super) fn replace(path: &Path, content: &[u8], keep: Option<Keep>) -> io::Result<()> {
    let temporary = temporary(path);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        // What a writing that was cut short has left.
        _ => {}
    }
    let written = write(&temporary, content, keep).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        let _best_effort = fs::remove_file(&temporary);
        return Err(error);
    }
    // The new name, too, shall outlast a loss of power. Not every file system can do that for a directory.
    if let Some(directory) = path.parent() {
        let _best_effort = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

fn write(temporary: &Path, content: &[u8], keep: Option<Keep>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if keep.is_some() {
        options.mode(0o600);
    }
    let mut file = options.open(temporary)?;
    file.write_all(content)?;
    if let Some(Keep { owner, mode }) = keep {
        let now = file.metadata()?;
        if let Some((user, group)) = owner.filter(|owner| *owner != (now.uid(), now.gid())) {
            fchown(&file, Some(user), Some(group))
                .map_err(|error| io::Error::other(format!("cannot keep its owner {user}:{group}: {error}")))?;
        }
        // After the owner, whose change takes bits away.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.sync_all()
}

/// The name that the new file has until it is whole.
pub(super) fn temporary(path: &Path) -> PathBuf {
    beside(path, ".new")
}

/// `path` with something at its end.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
