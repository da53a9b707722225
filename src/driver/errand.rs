//! What an operator asks of gobgpd by hand: one connection, in the calling thread, with the deadlines of
//! [`gobgp::errand`](crate::gobgp::errand).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::clock;
use super::dial::describe;
use crate::config::{ApiAddress, Gobgp};
use crate::gobgp::errand::{Errand, Report, Task};
use crate::gobgp::{Cause, Event, Output};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest wait between two looks at the deadlines.
const SLICE: Duration = Duration::from_millis(200);

trait Stream: Read + Write {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

impl Stream for UnixStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

/// Carries out a task; blocks for as long as it takes, which is bounded.
///
/// # Errors
/// Why it came to nothing.
pub(crate) fn run(task: Task, config: &Gobgp) -> Result<Report, Cause> {
    let mut errand = Errand::new(clock(), task, config);
    let mut stream: Option<Box<dyn Stream>> = None;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some(output) = errand.poll_output() {
            match output {
                Output::Connect(_, address) => match connect(&address) {
                    Ok(opened) => {
                        stream = Some(opened);
                        errand.handle(clock(), Event::Connected);
                    }
                    Err(error) => errand.handle(clock(), Event::ConnectFailed(describe(&error))),
                },
                Output::Send(_, bytes) => send(&mut errand, stream.as_deref_mut(), &bytes),
                Output::Close(_) | Output::Notice(_) => {}
            }
        }
        if let Some(outcome) = errand.outcome() {
            return outcome.clone();
        }
        receive(&mut errand, stream.as_deref_mut(), &mut buffer);
        if errand.poll_timeout().is_some_and(|at| at <= clock()) {
            errand.handle_timeout(clock());
        }
    }
}

fn connect(address: &ApiAddress) -> io::Result<Box<dyn Stream>> {
    Ok(match address {
        ApiAddress::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, CONNECT)?;
            if stream.local_addr()? == *address {
                // gobgpd's usual port is one that the system also gives to those who connect.
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        ApiAddress::Unix(path) => Box::new(UnixStream::connect(path)?),
    })
}

fn send(errand: &mut Errand, stream: Option<&mut (dyn Stream + 'static)>, mut bytes: &[u8]) {
    let Some(stream) = stream else { return };
    while !bytes.is_empty() {
        let sent = stream.set_timeout(wait(errand)).and_then(|()| stream.write(bytes));
        match sent {
            Ok(0) => return errand.handle(clock(), Event::Closed(None)),
            Ok(count) => {
                errand.handle(clock(), Event::Sent(count));
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(error) if pauses(&error) => errand.handle_timeout(clock()),
            Err(error) => return errand.handle(clock(), Event::Closed(Some(describe(&error)))),
        }
        if errand.outcome().is_some() {
            return;
        }
    }
}

fn receive(errand: &mut Errand, stream: Option<&mut (dyn Stream + 'static)>, buffer: &mut [u8]) {
    let Some(stream) = stream else { return };
    let received = stream.set_timeout(wait(errand)).and_then(|()| stream.read(buffer));
    match received {
        Ok(0) => errand.handle(clock(), Event::Closed(None)),
        Ok(count) => errand.handle(clock(), Event::Bytes(buffer.get(..count).unwrap_or_default())),
        Err(error) if pauses(&error) => {}
        Err(error) => errand.handle(clock(), Event::Closed(Some(describe(&error)))),
    }
}

/// Until the next deadline; never zero, which sockets take for "forever".
fn wait(errand: &Errand) -> Duration {
    let now: Instant = clock();
    let left = errand.poll_timeout().map_or(SLICE, |at| at.saturating_duration_since(now));
    left.clamp(Duration::from_millis(1), SLICE)
}

fn pauses(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
