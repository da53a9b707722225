//! What a run found.

use std::borrow::Cow;
use std::io;

use crate::config::{FailureKind, Weight};

/// Passed, or failed.
pub(super) type Verdict = Result<Pass, Fault>;

/// A run that passed.
#[derive(Debug)]
pub(super) struct Pass {
    /// What it found, in words.
    pub words: Cow<'static, str>,
    /// What the backend's weight shall be; `None` leaves it.
    pub weight: Option<Weight>,
    /// What people should know although it passed.
    pub warning: Option<String>,
    /// The backend itself has said so: no further runs are needed to believe it.
    pub is_final: bool,
    /// It says nothing at all: everything stays as it was.
    pub is_silent: bool,
    /// Of a program, when there is more than the words.
    pub output: Option<Box<str>>,
}

/// A run that failed.
#[derive(Debug)]
pub(in crate::driver) struct Fault {
    /// Why, by kind.
    pub kind: FailureKind,
    /// Why, in words.
    pub words: Cow<'static, str>,
    /// The backend itself has said so: no further runs are needed to believe it.
    pub is_final: bool,
    /// Of a program, when there is more than the words.
    pub output: Option<Box<str>>,
}

impl Fault {
    /// For a reason that is not simply the answer.
    pub(in crate::driver) fn new(kind: FailureKind, words: impl Into<Cow<'static, str>>) -> Fault {
        Fault { kind, words: words.into(), is_final: false, output: None }
    }
}

impl<T: Into<Cow<'static, str>>> From<T> for Pass {
    fn from(words: T) -> Pass {
        Pass { words: words.into(), weight: None, warning: None, is_final: false, is_silent: false, output: None }
    }
}

/// Words alone are about the answer.
impl<T: Into<Cow<'static, str>>> From<T> for Fault {
    fn from(words: T) -> Fault {
        Fault::new(FailureKind::Answer, words)
    }
}

/// What an error of the system says about the target.
pub(super) fn kind(error: &io::Error) -> FailureKind {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => FailureKind::Refused,
        Some(libc::ECONNRESET | libc::EPIPE) => FailureKind::Reset,
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN) => FailureKind::Unreachable,
        Some(libc::ETIMEDOUT) => FailureKind::Timeout,
        Some(_) => FailureKind::Internal,
        None if error.kind() == io::ErrorKind::UnexpectedEof => FailureKind::Closed,
        None => FailureKind::Answer,
    }
}
