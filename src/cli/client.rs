//! Asking the daemon, over its control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::config::Daemon;
use crate::driver::{Command, VERSION};

/// How long the daemon may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where to ask: as the user chose, or the default.
pub(super) fn socket(chosen: Option<PathBuf>) -> PathBuf {
    chosen.unwrap_or_else(|| Daemon::default().control_socket)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nobody is there.
    #[error(
        "no daemon answers at {}: {error}\nIs herald running? If it has another control_socket, name it with --socket or HERALD_SOCKET.",
        path.display()
    )]
    NotRunning {
        /// Where we asked.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// The socket is not for us.
    #[error("not allowed to use {}; be root, or of a group that may use it", .0.display())]
    Permission(PathBuf),
    /// The answer does not come, or is cut short.
    #[error("the daemon at {} does not answer: {error}", path.display())]
    NoAnswer {
        /// Where we asked.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// The answer is no answer.
    #[error("the daemon's answer is not understood: {0}; is it of another version?")]
    NotUnderstood(String),
    /// It is not for us.
    #[error("not allowed: {0}")]
    Denied(String),
    /// Another time, or another daemon, may do it.
    #[error("the daemon cannot do that: {0}")]
    Unable(String),
    /// The daemon says no.
    #[error("the daemon says: {0}")]
    Refused(String),
}

/// One request, one answer.
pub(super) fn ask(path: &Path, command: &str) -> Result<Value, AskError> {
    ask_with(path, command, Value::Null)
}

/// The same, with arguments.
pub(super) fn ask_with(path: &Path, command: &str, arguments: Value) -> Result<Value, AskError> {
    ask_for(path, command, arguments, PATIENCE)
}

/// The same, of what the daemon may take so long for.
pub(super) fn ask_for(path: &Path, command: &str, arguments: Value, patience: Duration) -> Result<Value, AskError> {
    let request = Command { command: command.to_owned(), version: VERSION, arguments };
    let line = exchange(connect(path)?, &request, patience).map_err(|error| {
        let error = match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} s", patience.as_secs()))
            }
            _ => error,
        };
        AskError::NoAnswer { path: path.to_owned(), error }
    })?;
    result(&line)
}

/// A request whose answer is the beginning of a stream of lines.
pub(super) fn open(path: &Path, command: &str) -> Result<BufReader<UnixStream>, AskError> {
    let request = Command { command: command.to_owned(), version: VERSION, arguments: Value::Null };
    let no_answer = |error| AskError::NoAnswer { path: path.to_owned(), error };
    let mut stream = BufReader::new(connect(path)?);
    let line = begin(stream.get_mut(), &request, PATIENCE).and_then(|()| {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line)?;
        whole(line)
    });
    result(&line.map_err(no_answer)?)?;
    stream.get_mut().set_read_timeout(None).map_err(no_answer)?;
    Ok(stream)
}

fn connect(path: &Path) -> Result<UnixStream, AskError> {
    UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => AskError::Permission(path.to_owned()),
        _ => AskError::NotRunning { path: path.to_owned(), error },
    })
}

fn result(line: &[u8]) -> Result<Value, AskError> {
    let mut reply: Value = serde_json::from_slice(line).map_err(|error| AskError::NotUnderstood(error.to_string()))?;
    match reply.get("ok").and_then(Value::as_bool) {
        Some(true) => Ok(reply.get_mut("result").map(Value::take).unwrap_or_default()),
        _ => {
            let error = reply.get("error").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
            Err(match reply.get("code").and_then(Value::as_str) {
                None => AskError::Refused(error),
                Some("denied") => AskError::Denied(error),
                Some(_) => AskError::Unable(error),
            })
        }
    }
}

fn begin(stream: &mut UnixStream, request: &Command, patience: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = serde_json::to_string(request)?;
    match stream.write_all(format!("{request}\n").as_bytes()) {
        // Who turns us away does so before it has heard us, and says why.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
        sent => sent,
    }
}

fn exchange(mut stream: UnixStream, request: &Command, patience: Duration) -> io::Result<Vec<u8>> {
    begin(&mut stream, request, patience)?;
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line)?;
    whole(line)
}

fn whole(line: Vec<u8>) -> io::Result<Vec<u8>> {
    if line.ends_with(b"\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
