//! The demo's temporary directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Removed, with what is in it, when it goes out of scope.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Only for this user.
    pub(super) fn create() -> io::Result<Directory> {
        let path = std::env::temp_dir().join(format!("herald-demo-{}", std::process::id()));
        // Fails when it is there: a directory that somebody else prepared is not ours to use.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Directory(path))
    }

    pub(super) fn config(&self) -> PathBuf {
        self.0.join("herald.toml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("herald.log")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary directory, where such things end.
        let _ = fs::remove_dir_all(&self.0);
    }
}
