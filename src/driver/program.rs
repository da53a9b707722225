//! Programs that are run to their end, or to the end of their time: checks of type `exec`, the command of GLB's tables,
//! hooks.
//!
//! Each runs in a process group of its own, and when its time is up the whole group is killed. The program is watched
//! through a pidfd: no SIGCHLD handler, no polling. A descendant that left the group (`setsid`) is out of reach. What is
//! left of the group is reaped by whoever is its parent then: in a container that may be us.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpgid};

use super::probe::limit::{Limit, Over};
use super::probe::text::{printable, timed_out, words};
use super::probe::trace;
use super::probe::user::Identity;
use super::probe::verdict::Fault;
use crate::config::FailureKind;

/// How much of the output is kept: its end.
const KEPT: usize = 4096;
/// What a pipe holds: as much may still be in it when the program has ended.
const PIPE: usize = 64 * 1024;
/// How long a killed program may take to die before its worker turns to other work.
const DYING: Duration = Duration::from_millis(100);

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Killed programs that were stuck in the kernel when their time was up; reaped when they have died after all.
static STUCK: Mutex<Vec<Child>> = Mutex::new(Vec::new());
/// Groups whose program is reaped, but not all orphans that have come to us with its end. Until that is so, nobody else
/// can have a group's number.
static ORPHANED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A program and its arguments, with nothing in its environment but a `PATH`; `user` is who it runs as, if not as ourselves.
/// `None` without a program.
pub(super) fn command(words: &[String], user: Option<Identity>) -> Option<Command> {
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH);
    if let Some(Identity { uid, gid }) = user {
        // As root, the supplementary groups go too.
        command.uid(uid).gid(gid);
    }
    Some(command)
}

/// Runs a command line to its end, or to the end of its time: then all that it has begun is killed. What it leaves behind
/// when it ends by itself is left alone. It has the daemon's own environment.
///
/// # Errors
/// Why it did not succeed, in words that end with its last ones.
pub(super) fn shell(line: &str, timeout: Duration) -> Result<(), String> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line);
    must_succeed(command, None, Limit::new(timeout))
}

/// Runs a command that must end with exit status 0, and leaves alone what it leaves behind then. It reads `input`.
///
/// # Errors
/// Why it did not succeed, in words that end with its last ones.
pub(super) fn must_succeed(command: Command, input: Option<&[u8]>, limit: Limit) -> Result<(), String> {
    let (end, mut tail) = execute(command, input, limit, false);
    let last = tail.last_line().map(|last| format!(": {last}")).unwrap_or_default();
    match end {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}{last}", describe(status))),
        Err(fault) => Err(fault.words.into_owned()),
    }
}

/// How a program ended, or why that is not known, and the end of its output.
pub(super) type Execution = (Result<ExitStatus, Fault>, Tail);

/// Runs a command to its end, or to the end of its time. `all` says that its whole group ends with it in any case. It may
/// read `input`, and need not.
pub(super) fn execute(command: Command, input: Option<&[u8]>, limit: Limit, all: bool) -> Execution {
    reap_stuck();
    let program = command.get_program().to_owned();
    let (mut running, pipes) = match Running::start(command, input) {
        Ok(started) => started,
        Err(error) => {
            let words = format!("cannot run {}: {}", printable(program.as_bytes()), words(&error));
            return (Err(Fault::new(FailureKind::Internal, words)), Tail::default());
        }
    };
    trace::note(limit, || format!("began {}", printable(program.as_bytes())));
    let mut tail = Tail::default();
    let end = running.watch(pipes, &mut tail, limit);
    if all || end.is_err() {
        running.kill_group();
    }
    let last = tail.last_line();
    let end = match end {
        Err(Stop::Over(Over::Expired)) => {
            let timeout = timed_out(limit.timeout(), "the program ran");
            let words = last.as_ref().map_or(timeout.clone(), |line| format!("{timeout}; its last words: {line}"));
            Err(Fault::new(FailureKind::Timeout, words))
        }
        Err(Stop::Over(Over::Cancelled)) => Err(Fault::new(FailureKind::Internal, "given up: the daemon is stopping")),
        Err(Stop::Io(error)) => {
            Err(Fault::new(FailureKind::Internal, format!("cannot watch the program: {}", words(&error))))
        }
        Ok(()) => {
            trace::note(limit, || "it has ended".to_owned());
            running.reap().ok_or_else(|| Fault::new(FailureKind::Internal, "cannot learn the program's exit status"))
        }
    };
    (end, tail)
}

/// Such as "exit status 1".
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Why the watch ended before the program did.
enum Stop {
    Over(Over),
    Io(io::Error),
}

impl From<Over> for Stop {
    fn from(over: Over) -> Stop {
        Stop::Over(over)
    }
}

/// A program that has not been reaped: as long as that is so, nobody else can have its number or its group's.
struct Running {
    child: Option<Child>,
    pid: Option<Pid>,
}

impl Running {
    /// The program with one pipe for all that it says; its standard input is empty when there is none for it.
    fn start<'i>(mut command: Command, input: Option<&'i [u8]>) -> io::Result<(Running, Pipes<'i>)> {
        let (output, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let mut feed = None;
        if let Some(rest) = input {
            let (reader, pipe) = io::pipe()?;
            command.stdin(reader);
            feed = Some(Feed { pipe, rest });
        }
        let child = command.spawn()?;
        // `command`, dropped here, holds the other ends: kept, the pipes would never end.
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok((Running { child: Some(child), pid }, Pipes { output: Some(output), feed }))
    }

    /// Reads the output and writes the input until the program ends; `Ok` then, whoever still holds the pipes.
    fn watch(&self, mut pipes: Pipes<'_>, tail: &mut Tail, limit: Limit) -> Result<(), Stop> {
        pipes.set_nonblocking().map_err(Stop::Io)?;
        let pid = self.pid.ok_or_else(|| Stop::Io(io::ErrorKind::InvalidData.into()))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| Stop::Io(error.into()))?;
        loop {
            let slice = limit.slice()?;
            let Ready { ended, output, input } = wait(&pidfd, Some(&pipes), slice).map_err(Stop::Io)?;
            if output || ended {
                pipes.read(tail).map_err(Stop::Io)?;
            }
            if ended {
                return Ok(());
            }
            if input {
                pipes.write();
            }
        }
    }

    fn kill_group(&self) {
        if let (Some(pid), Some(_)) = (self.pid, &self.child) {
            // An empty group is no fault.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// The exit status of a program that is dead or about to be.
    fn reap(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        if !matches!(child.try_wait(), Ok(Some(_)))
            && let Some(pidfd) = self.pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        {
            let _ = wait(&pidfd, None, DYING);
        }
        match child.try_wait() {
            Ok(Some(status)) => {
                if let Some(group) = self.pid.filter(|group| has_orphans(*group)) {
                    ORPHANED.lock().unwrap_or_else(PoisonError::into_inner).push(group);
                }
                Some(status)
            }
            Ok(None) | Err(_) => {
                STUCK.lock().unwrap_or_else(PoisonError::into_inner).push(child);
                None
            }
        }
    }
}

impl Drop for Running {
    /// Nothing is left behind, also when the run panicked.
    fn drop(&mut self) {
        self.kill_group();
        self.reap();
    }
}

fn reap_stuck() {
    let mut stuck = STUCK.lock().unwrap_or_else(PoisonError::into_inner);
    stuck.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    ORPHANED.lock().unwrap_or_else(PoisonError::into_inner).retain(|group| has_orphans(*group));
}

/// Reaps the dead of a group that are our children; whether there are others that have not died yet.
fn has_orphans(group: Pid) -> bool {
    loop {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false, // none at all, which is the rule
        }
    }
}

/// Our ends of a program's pipes, those that are still of use.
struct Pipes<'i> {
    output: Option<PipeReader>,
    feed: Option<Feed<'i>>,
}

/// What is still to be written, and whereto.
struct Feed<'i> {
    pipe: PipeWriter,
    rest: &'i [u8],
}

impl Pipes<'_> {
    fn set_nonblocking(&self) -> io::Result<()> {
        if let Some(output) = &self.output {
            rustix::io::ioctl_fionbio(output, true)?;
        }
        if let Some(feed) = &self.feed {
            rustix::io::ioctl_fionbio(&feed.pipe, true)?;
        }
        Ok(())
    }

    /// Takes what has been said.
    fn read(&mut self, tail: &mut Tail) -> io::Result<()> {
        if let Some(output) = &mut self.output
            && !tail.read(output, PIPE)?
        {
            self.output = None;
        }
        Ok(())
    }

    /// Writes what there is room for. The end of it, or a reader that wants no more, ends the pipe.
    fn write(&mut self) {
        let Some(feed) = &mut self.feed else { return };
        match feed.pipe.write(feed.rest) {
            Ok(count) => feed.rest = feed.rest.get(count..).unwrap_or_default(),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Err(_) => feed.rest = &[],
        }
        if feed.rest.is_empty() {
            self.feed = None;
        }
    }
}

/// What a wait has found.
#[derive(Clone, Copy, Default)]
struct Ready {
    /// The program is over.
    ended: bool,
    /// There is something to read.
    output: bool,
    /// There is room to write.
    input: bool,
}

/// Waits for the end of the process, for output or for room for input.
fn wait(pidfd: &OwnedFd, pipes: Option<&Pipes<'_>>, at_most: Duration) -> io::Result<Ready> {
    let timeout = Timespec::try_from(at_most).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let output = pipes.and_then(|pipes| pipes.output.as_ref()).map(AsFd::as_fd);
    let input = pipes.and_then(|pipes| pipes.feed.as_ref()).map(|feed| feed.pipe.as_fd());
    let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
    fds.extend(output.map(|output| PollFd::from_borrowed_fd(output, PollFlags::IN)));
    fds.extend(input.map(|input| PollFd::from_borrowed_fd(input, PollFlags::OUT)));
    match poll(&mut fds, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
        found => found?,
    };
    let mut found = fds.iter().map(|fd| !fd.revents().is_empty());
    let mut next = |is_there: bool| is_there && found.next().unwrap_or(false);
    Ok(Ready { ended: next(true), output: next(output.is_some()), input: next(input.is_some()) })
}

/// The end of the output.
#[derive(Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    /// Takes what is there, at most `most` bytes or so, and says whether more may come.
    fn read(&mut self, output: &mut PipeReader, most: usize) -> io::Result<bool> {
        let mut piece = [0; 8192];
        let mut taken = 0;
        while taken < most {
            match output.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    taken += count;
                    self.push(piece.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn push(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(bytes.len().saturating_sub(KEPT)..).unwrap_or_default();
        let surplus = (self.0.len() + bytes.len()).saturating_sub(KEPT);
        self.0.drain(..surplus);
        self.0.extend(bytes);
    }

    /// The first line, up to the performance data: what plugins of Nagios say.
    pub(super) fn status_line(&mut self) -> Option<String> {
        let kept = self.0.make_contiguous();
        let line = kept.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
        Some(printable(line.split(|&byte| byte == b'|').next().unwrap_or(line)))
    }

    /// All of it, fit for people, if it is more than one line.
    pub(super) fn several_lines(&mut self) -> Option<Box<str>> {
        let kept = self.0.make_contiguous();
        let lines: Vec<String> =
            kept.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).map(printable).collect();
        (lines.len() > 1).then(|| lines.join("\n").into())
    }

    /// The last line that holds anything.
    pub(super) fn last_line(&mut self) -> Option<String> {
        let kept = self.0.make_contiguous();
        let line = kept.rsplit(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
        Some(printable(line))
    }
}
