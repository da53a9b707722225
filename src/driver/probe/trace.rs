//! What a run does, step by step, for `herald probe`. Nothing is noted in a thread that nobody has asked.

use std::cell::RefCell;
use std::time::Duration;

use super::limit::Limit;

/// Of one run so many steps are noted.
const MOST: usize = 64;

thread_local! {
    static STEPS: RefCell<Option<Vec<Step>>> = const { RefCell::new(None) };
}

/// Something that a run has done.
#[derive(Debug)]
struct Step {
    at: Duration,
    what: What,
}

#[derive(Debug)]
enum What {
    /// In words.
    Words(String),
    /// Octets out.
    Sent(usize),
    /// Octets in.
    Received(usize),
}

/// Runs something in this thread and tells what was noted meanwhile: when, from the beginning of the run, and what.
pub(in crate::driver) fn traced<T>(work: impl FnOnce() -> T) -> (T, Vec<(Duration, String)>) {
    STEPS.set(Some(Vec::new()));
    let done = work();
    let steps = STEPS.take().unwrap_or_default();
    (done, steps.into_iter().map(|step| (step.at, step.what.words())).collect())
}

/// Notes this.
pub(in crate::driver) fn note(limit: Limit, words: impl FnOnce() -> String) {
    add(limit, || What::Words(words()));
}

/// Notes that so many octets went out; with those before, if nothing came between.
pub(super) fn sent(limit: Limit, count: usize) {
    add(limit, || What::Sent(count));
}

/// Notes that so many octets came in; likewise.
pub(super) fn received(limit: Limit, count: usize) {
    add(limit, || What::Received(count));
}

fn add(limit: Limit, what: impl FnOnce() -> What) {
    STEPS.with_borrow_mut(|steps| {
        let Some(steps) = steps else { return };
        let (at, what, is_full) = (limit.spent(), what(), steps.len() >= MOST);
        match (steps.last_mut(), &what) {
            (Some(Step { at: last, what: What::Sent(sum) }), What::Sent(count))
            | (Some(Step { at: last, what: What::Received(sum) }), What::Received(count)) => {
                *last = at;
                *sum += count;
            }
            _ if is_full => {}
            _ => steps.push(Step { at, what }),
        }
    });
}

impl What {
    fn words(self) -> String {
        match self {
            What::Words(words) => words,
            What::Sent(count) => format!("sent {count} octets"),
            What::Received(0) => "the other side has closed".to_owned(),
            What::Received(count) => format!("received {count} octets"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_one_way_is_one_step_and_nobody_asks_twice() {
        let limit = Limit::new(Duration::from_secs(1));
        sent(limit, 1);
        let ((), steps) = traced(|| {
            note(limit, || "connected".to_owned());
            sent(limit, 2);
            sent(limit, 3);
            received(limit, 4);
            sent(limit, 5);
        });
        received(limit, 6);
        let words: Vec<&str> = steps.iter().map(|(_, words)| &**words).collect();
        assert_eq!(words, ["connected", "sent 5 octets", "received 4 octets", "sent 5 octets"]);
        let ((), steps) = traced(|| (0..1000).for_each(|_| note(limit, || "again".to_owned())));
        assert_eq!(steps.len(), MOST);
        assert!(traced(|| ()).1.is_empty());
    }
}
