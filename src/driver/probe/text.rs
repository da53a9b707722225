//! The words of a verdict.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use super::egress::Unsettable;
use super::limit::{Limit, Over};
use super::tls;
use super::verdict::{self, Fault};
use crate::config::FailureKind;

/// The longest text taken from a backend, in characters.
const LONGEST: usize = 200;

/// Foreign bytes, fit for a log and a terminal: one line, nothing invisible, at most 200 characters.
pub(in crate::driver) fn printable(bytes: &[u8]) -> String {
    // One character takes at most four bytes, and what is cut away needs no decoding.
    let some = bytes.get(..4 * LONGEST + 4).unwrap_or(bytes);
    let mut text = String::new();
    for (count, character) in String::from_utf8_lossy(some).trim_ascii().chars().enumerate() {
        if count == LONGEST {
            text.push('…');
            break;
        }
        match character {
            '\'' | '"' | '\\' => text.push(character),
            _ if character.is_ascii_whitespace() => text.push(' '),
            _ => text.extend(character.escape_debug()),
        }
    }
    text
}

/// "timed out after 500 ms while connecting".
pub(in crate::driver) fn timed_out(timeout: Duration, doing: &str) -> String {
    format!("timed out after {} while {doing}", duration(timeout))
}

/// "500 ms", or "2 s".
pub(super) fn duration(duration: Duration) -> String {
    let whole_seconds = duration.subsec_nanos() == 0;
    if whole_seconds { format!("{} s", duration.as_secs()) } else { format!("{} ms", duration.as_secs_f64() * 1e3) }
}

/// An error of the system, met while `doing` something.
pub(super) fn failure(error: &io::Error, limit: Limit, doing: &str) -> Fault {
    if let Some(inner) = error.get_ref() {
        match inner.downcast_ref::<Over>() {
            Some(Over::Expired) => return Fault::new(FailureKind::Timeout, timed_out(limit.timeout(), doing)),
            Some(Over::Cancelled) => return Fault::new(FailureKind::Internal, "given up: the daemon is stopping"),
            None => {}
        }
        if let Some(unsettable) = inner.downcast_ref::<Unsettable>() {
            return Fault::new(FailureKind::Internal, unsettable.to_string());
        }
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return tls::failure(tls);
        }
    }
    let words = words(error);
    let words = if doing == CONNECTING { words } else { format!("{words} while {doing}").into() };
    Fault::new(verdict::kind(error), words)
}

/// What every run but `exec` begins with; its failures need no further words.
pub(super) const CONNECTING: &str = "connecting";

/// An error of the system in plain words.
pub(in crate::driver) fn words(error: &io::Error) -> Cow<'static, str> {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "connection refused".into(),
        Some(libc::ECONNRESET) => "connection reset".into(),
        Some(libc::EPIPE) => "connection closed".into(),
        Some(libc::EHOSTUNREACH) => "no route to host".into(),
        Some(libc::ENETUNREACH) => "network is unreachable".into(),
        Some(libc::ETIMEDOUT) => "no answer from the host".into(),
        Some(libc::EADDRNOTAVAIL) => "no local address or port left to connect from".into(),
        Some(libc::EMFILE | libc::ENFILE) => "the daemon has no file descriptor left".into(),
        Some(libc::EACCES | libc::EPERM) => "not permitted".into(),
        Some(libc::ENOENT) => "no such file".into(),
        Some(libc::ENOEXEC) => "not a program (a script needs a #! line)".into(),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => "connection closed".into(),
        _ => printable(error.to_string().as_bytes()).into(),
    }
}

/// A time as one would say it.
pub(super) fn about(seconds: u64) -> String {
    let say = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match Duration::from_secs(seconds).as_secs() {
        s if s < 120 => say(s, "second"),
        s if s < 120 * 60 => say(s / 60, "minute"),
        s if s < 48 * 3600 => say(s / 3600, "hour"),
        s => say(s / 86400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_one_short_visible_line() {
        assert_eq!(printable(b"  all \"good\"\tnow\r\n"), "all \"good\" now");
        assert_eq!(printable(b"\x1b[31mred\x00\xff"), "\\u{1b}[31mred\\0\u{fffd}");
        assert_eq!(printable("a\u{202e}b\u{7f}é".as_bytes()), "a\\u{202e}b\\u{7f}é");
        let long = printable(&[b'x'; 100_000]);
        assert_eq!((long.chars().count(), long.chars().last()), (LONGEST + 1, Some('…')));
        assert_eq!(printable("ü".repeat(LONGEST).as_bytes()).chars().count(), LONGEST);
    }

    #[test]
    fn timeouts_are_told_in_the_unit_they_were_given_in() {
        assert_eq!(timed_out(Duration::from_millis(500), "connecting"), "timed out after 500 ms while connecting");
        assert_eq!(timed_out(Duration::from_secs(2), "connecting"), "timed out after 2 s while connecting");
        assert_eq!(timed_out(Duration::from_micros(1500), "x"), "timed out after 1.5 ms while x");
    }
}
