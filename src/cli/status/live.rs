//! `herald status --watch`: the page again and again, in the place of the last.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cli::terminal;

/// Shows what `page` gives, every so often, until it is interrupted or nobody reads any more. Without a terminal the pages follow
/// each other, with an empty line between them.
pub(super) fn run(every: Duration, mut page: impl FnMut() -> String) -> ExitCode {
    loop {
        let text = page();
        let shown = match terminal::size() {
            Some((_, rows)) => screen(&text, rows),
            None => format!("{text}\n"),
        };
        let mut out = io::stdout().lock();
        if out.write_all(shown.as_bytes()).and_then(|()| out.flush()).is_err() || is_gone(&out, every) {
            return ExitCode::SUCCESS;
        }
    }
}

/// Whether the reader goes away within this time.
fn is_gone(out: &impl AsFd, time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap_or_default();
    // Hangups and errors are told unasked.
    let mut reader = [PollFd::new(out, PollFlags::empty())];
    poll(&mut reader, Some(&time)).is_ok_and(|count| count > 0)
}

/// So that it takes the place of what is there, line by line: nothing flickers. What does not fit is counted.
fn screen(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The last row is for the cursor, or for how many lines are missing.
    let room = rows.saturating_sub(1).max(1);
    let mut shown = String::from("\x1b[H");
    for line in lines.iter().take(room) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(shown, "{line}\x1b[K");
    }
    shown.push_str("\x1b[J");
    if lines.len() > room {
        let _infallible = write!(shown, "... {} more lines", lines.len() - room);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_the_place_of_the_last_and_ends_with_the_screen() {
        assert_eq!(screen("one\ntwo\n", 24), "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J");
        assert_eq!(screen("one\ntwo\nthree\n", 3), "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J... 1 more lines");
    }
}
