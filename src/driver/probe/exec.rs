//! `exec`: a program whose exit status is the verdict; and the command that is run after GLB's tables are written.
//!
//! It runs in a process group of its own, and when the run is over, whichever way, the whole group is killed. The
//! program is watched through a pidfd: no SIGCHLD handler, no polling. A descendant that left the group (`setsid`) is
//! out of reach. What is left of the group is reaped by whoever is its parent then: in a container that may be us.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpgid};

use super::limit::{Limit, Over};
use super::text::{printable, timed_out, words};
use super::user::Identity;
use super::{Fault, Pass, Run, Verdict};
use crate::config::{ExecProbe, ExitCodes, FailureKind, Weight};

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

/// Runs the program to its end, or to the end of its time.
pub(super) fn run(at: &Run<'_>, probe: &ExecProbe, user: Option<Identity>) -> Verdict {
    let Run { target, limit, .. } = *at;
    let Some((program, arguments)) = probe.command.split_first() else {
        return Err(Fault::new(FailureKind::Internal, "internal error: no command"));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("HERALD_ADDRESS", target.ip().to_string())
        .env("HERALD_PORT", target.port().to_string())
        .env("HERALD_FAMILY", if target.is_ipv4() { "ipv4" } else { "ipv6" });
    if let Some(Identity { uid, gid }) = user {
        // As root, the supplementary groups go too.
        command.uid(uid).gid(gid);
    }
    let (end, mut tail) = execute(command, limit, true);
    let output = tail.several_lines();
    match end {
        Ok(status) => match judge(status, probe.exit_codes, &mut tail) {
            Ok(pass) => Ok(Pass { output, ..pass }),
            Err(fault) => Err(Fault { output, ..fault }),
        },
        Err(fault) => Err(Fault { output, ..fault }),
    }
}

/// What an exit status means.
fn judge(status: ExitStatus, codes: ExitCodes, tail: &mut Tail) -> Verdict {
    let line = if let ExitCodes::Nagios(_) = codes { tail.status_line() } else { tail.last_line() };
    let words = line.unwrap_or_else(|| describe(status));
    let weight = match (codes, status.code()) {
        (_, Some(0)) => None,
        (ExitCodes::Nagios(percent), Some(1)) => Some(Weight::Percent(percent)),
        (ExitCodes::Weight, Some(code @ 2..)) => u32::try_from(code - 2).ok().map(Weight::Absolute),
        _ => return Err(words.into()),
    };
    Ok(Pass { weight, ..words.into() })
}

/// Runs a command line to its end, or to the end of its time: then all that it has begun is killed. What it leaves behind
/// when it ends by itself is left alone. It has the daemon's own environment.
///
/// # Errors
/// Why it did not succeed, in words that end with its last ones.
pub(in crate::driver) fn shell(line: &str, timeout: Duration) -> Result<(), String> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line);
    let (end, mut tail) = execute(command, Limit::new(timeout), false);
    let last = tail.last_line().map(|last| format!(": {last}")).unwrap_or_default();
    match end {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}{last}", describe(status))),
        Err(fault) => Err(fault.words.into_owned()),
    }
}

/// How a program ended, or why that is not known, and the end of its output.
type Execution = (Result<ExitStatus, Fault>, Tail);

/// Runs a command to its end, or to the end of its time. `all` says that its whole group ends with it in any case.
fn execute(command: Command, limit: Limit, all: bool) -> Execution {
    reap_stuck();
    let program = command.get_program().to_owned();
    let (mut running, output) = match Running::start(command) {
        Ok(started) => started,
        Err(error) => {
            let words = format!("cannot run {}: {}", printable(program.as_bytes()), words(&error));
            return (Err(Fault::new(FailureKind::Internal, words)), Tail::default());
        }
    };
    let mut tail = Tail::default();
    let end = running.watch(output, &mut tail, limit);
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
            running.reap().ok_or_else(|| Fault::new(FailureKind::Internal, "cannot learn the program's exit status"))
        }
    };
    (end, tail)
}

fn describe(status: ExitStatus) -> String {
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
    /// The program with its standard input empty, and one pipe for all that it says.
    fn start(mut command: Command) -> io::Result<(Running, PipeReader)> {
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let child = command.spawn()?;
        // `command`, dropped here, holds the writing ends: kept, the pipe would never end.
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok((Running { child: Some(child), pid }, reader))
    }

    /// Reads the output until the program ends; `Ok` then, whoever still holds the pipe.
    fn watch(&self, mut output: PipeReader, tail: &mut Tail, limit: Limit) -> Result<(), Stop> {
        rustix::io::ioctl_fionbio(&output, true).map_err(|error| Stop::Io(error.into()))?;
        let pid = self.pid.ok_or_else(|| Stop::Io(io::ErrorKind::InvalidData.into()))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| Stop::Io(error.into()))?;
        let mut talking = true;
        loop {
            let slice = limit.slice()?;
            let (ended, said) = wait(&pidfd, talking.then_some(&output), slice).map_err(Stop::Io)?;
            if said && !ended {
                talking = tail.read(&mut output, PIPE).map_err(Stop::Io)?;
            }
            if ended {
                tail.read(&mut output, PIPE).map_err(Stop::Io)?;
                return Ok(());
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

/// Waits for the end of the process or for output: (ended, said something).
fn wait(pidfd: &OwnedFd, output: Option<&PipeReader>, at_most: Duration) -> io::Result<(bool, bool)> {
    let timeout = Timespec::try_from(at_most).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let process = PollFd::new(pidfd, PollFlags::IN);
    let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
    let found = match output {
        None => {
            let mut fds = [process];
            poll(&mut fds, Some(&timeout)).map(|_| (ready(&fds[0]), false))
        }
        Some(output) => {
            let mut fds = [process, PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&timeout)).map(|_| (ready(&fds[0]), ready(&fds[1])))
        }
    };
    match found {
        Err(rustix::io::Errno::INTR) => Ok((false, false)),
        found => Ok(found?),
    }
}

/// The end of the output.
#[derive(Default)]
struct Tail(VecDeque<u8>);

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
    fn status_line(&mut self) -> Option<String> {
        let kept = self.0.make_contiguous();
        let line = kept.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
        Some(printable(line.split(|&byte| byte == b'|').next().unwrap_or(line)))
    }

    /// All of it, fit for people, if it is more than one line.
    fn several_lines(&mut self) -> Option<Box<str>> {
        let kept = self.0.make_contiguous();
        let lines: Vec<String> =
            kept.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).map(printable).collect();
        (lines.len() > 1).then(|| lines.join("\n").into())
    }

    fn last_line(&mut self) -> Option<String> {
        let kept = self.0.make_contiguous();
        let line = kept.rsplit(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
        Some(printable(line))
    }
}
