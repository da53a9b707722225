//! Ctrl-C and SIGTERM, for commands that have something to end.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use crossbeam_channel::{Receiver, bounded};

/// A message for every SIGTERM or SIGINT; from here on they do not end the process.
pub(super) fn signals() -> io::Result<Receiver<()>> {
    let (mut readable, writable) = UnixStream::pair()?;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        signal_hook::low_level::pipe::register(signal, writable.try_clone()?)?;
    }
    let (sender, receiver) = bounded(2);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        loop {
            // Whatever ends the wait, an error too, must not leave a process that no signal can stop.
            let read = readable.read(&mut [0]);
            let _enough_are_waiting = sender.try_send(());
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    })?;
    Ok(receiver)
}
