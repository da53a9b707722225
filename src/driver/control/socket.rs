//! The control socket as a file: made for whom it is for, replaced when its owner is gone, removed at the end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::access::Access;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody listens there.
    #[error("another herald is running: it answers at {}", .0.display())]
    Live(PathBuf),
    /// Something else has the name.
    #[error("{} exists and is not a socket; remove it, or set daemon.control_socket", .0.display())]
    NotASocket(PathBuf),
    /// The system's word.
    #[error("cannot create the control socket {}: {error}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// What.
        error: io::Error,
    },
}

/// A socket that we own.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    /// Device and inode: what is removed at the end must be ours.
    identity: (u64, u64),
    listener: Option<UnixListener>,
}

impl Socket {
    /// Creates the socket, and its directory when there is none.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub(crate) fn bind(path: &Path, access: &Access) -> Result<Socket, SocketError> {
        let system = |error| SocketError::System { path: path.to_owned(), error };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(system)?;
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                clear_away(path)?;
                UnixListener::bind(path).map_err(system)?
            }
            bound => bound.map_err(system)?,
        };
        listener.set_nonblocking(true).map_err(system)?;
        open_to(path, access).map_err(system)?;
        let metadata = fs::symlink_metadata(path).map_err(system)?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Socket { path: path.to_owned(), identity, listener: Some(listener) })
    }

    pub(in crate::driver) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn take_listener(&mut self) -> io::Result<UnixListener> {
        self.listener.take().ok_or_else(|| io::Error::other("the control socket is in use already"))
    }
}

impl Drop for Socket {
    /// Removes the file, unless another has taken its place.
    fn drop(&mut self) {
        let ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // A directory that has become read-only: the next start clears the file away.
            let _left_behind = fs::remove_file(&self.path);
        }
    }
}

/// Gives the socket to whom it is for. Its group matters only where others are kept out: to be of a group that we are not in
/// takes root.
///
/// # Errors
/// The system's word.
pub(super) fn open_to(path: &Path, access: &Access) -> io::Result<()> {
    let given = access.owner.map_or(Ok(()), |group| chown(path, None, Some(group)));
    let is_open = access.mode & 0o006 == 0o006 || access.mode & 0o060 == 0;
    given.or_else(|error| if is_open { Ok(()) } else { Err(error) })?;
    fs::set_permissions(path, Permissions::from_mode(access.mode))
}

/// Removes a socket file that nobody listens at.
fn clear_away(path: &Path) -> Result<(), SocketError> {
    let system = |error| SocketError::System { path: path.to_owned(), error };
    if !fs::symlink_metadata(path).map_err(system)?.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_owned()));
    }
    // Non-blocking: a daemon that is too busy to accept is alive.
    match mio::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(system),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(system(error)),
        _ => Err(SocketError::Live(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Daemon;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let access = Access::new(&Daemon { control_mode: 0o600, ..Daemon::default() });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/control.sock");
        let first = Socket::bind(&path, &access).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Socket::bind(&path, &access), Err(SocketError::Live(_))));
        let mut first = first;
        drop(first.take_listener());
        std::mem::forget(first); // the file stays, as after a crash
        let second = Socket::bind(&path, &access).unwrap();
        fs::rename(&path, directory.path().join("moved")).unwrap();
        let third = Socket::bind(&path, &access).unwrap();
        drop(second);
        assert!(path.exists(), "what another has made is left alone");
        drop(third);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path, &access), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
