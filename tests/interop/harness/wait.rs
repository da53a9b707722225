//! Waiting for what must come, with a deadline, and watching what must not.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Between two looks: an eighth of the time waited, within these limits. A look may cost a process or two, and other
/// tests run beside this one.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// Between two looks at what must stay.
const WATCH: Duration = Duration::from_millis(40);

/// How long anything may take that has no limit of its own: long enough for a router's slowest habit (BIRD may do
/// part of its work three seconds late) on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "these tests run in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "between two looks of a poll with a deadline")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Looks until there is a value, and gives it with the time that it took. The error of the last look is in the panic.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> (T, Duration) {
    let start = now();
    loop {
        let error = match look() {
            Ok(value) => return (value, start.elapsed()),
            Err(error) => error,
        };
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}; last seen: {error}");
        pause((start.elapsed() / 8).clamp(PAUSES[0], PAUSES[1]));
    }
}

/// Looks until the value is this one, and gives the time that it took.
#[track_caller]
pub(crate) fn until_equal<T: PartialEq + Debug>(
    what: &str,
    expected: &T,
    mut look: impl FnMut() -> Result<T, String>,
) -> Duration {
    let looked = until(what, || {
        let seen = look()?;
        if seen == *expected { Ok(()) } else { Err(format!("{}\nexpected: {}", show(&seen), show(expected))) }
    });
    looked.1
}

/// Looks for so long, and the value must be this one every time.
#[track_caller]
pub(crate) fn stays<T: PartialEq + Debug>(
    what: &str,
    time: Duration,
    expected: &T,
    mut look: impl FnMut() -> Result<T, String>,
) {
    let start = now();
    while start.elapsed() < time {
        let seen = look();
        assert!(
            seen.as_ref() == Ok(expected),
            "{what} must stay for {time:?}; after {:?}: {}\nexpected: {}",
            start.elapsed(),
            show(&seen),
            show(expected)
        );
        pause(WATCH);
    }
}

/// As much as somebody reads.
fn show(value: &impl Debug) -> String {
    const LINES: usize = 200;
    let text = format!("{value:#?}");
    match text.lines().count() {
        all if all > LINES => text.lines().take(LINES).collect::<Vec<_>>().join("\n") + &format!("\n({all} lines)"),
        _ => text,
    }
}
