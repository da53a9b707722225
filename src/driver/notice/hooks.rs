//! What operators read of hooks.

use log::Level;

use super::plural;
use crate::driver::hook::{DropReason, News};

pub(super) fn line(news: &News) -> (Level, String) {
    match news {
        News::Failed { hook, subject, error, wait } => {
            let wait = humantime::format_duration(*wait);
            (Level::Warn, format!("hook {hook} failed for {subject}, trying again in {wait}: {error}"))
        }
        News::GivenUp { hook, subject, error, attempts, others } => {
            let others = match others {
                0 => String::new(),
                others => format!(", and {others} others before"),
            };
            let attempts = if *attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
            let text = format!(
                "hook {hook} was not told of {subject}{others}: given up after {attempts}: {error}; what else it misses \
                 is counted in `herald status`"
            );
            (Level::Error, text)
        }
        News::Recovered { hook, given_up: 0 } => (Level::Info, format!("hook {hook} works again")),
        News::Recovered { hook, given_up } => {
            (Level::Warn, format!("hook {hook} works again; it was not told of {given_up} more meanwhile"))
        }
        News::Full { hook, waiting } => {
            (Level::Error, format!("hook {hook} is too slow: {waiting} subjects wait, and the oldest are dropped"))
        }
        News::Dropped { hook, count, reason } => {
            let how = match reason {
                DropReason::Removed => "removed",
                DropReason::Changed => "changed",
            };
            (Level::Warn, format!("hook {hook} was {how}: it is not told of {} that waited", transitions(*count)))
        }
    }
}

pub(super) fn missing(error: &str) -> (Level, String) {
    (Level::Error, format!("cannot start threads for all hooks, which are late or not told at all: {error}"))
}

pub(super) fn untold(count: usize) -> (Level, String) {
    (Level::Warn, format!("stopping although hooks have not been told of {}", transitions(count)))
}

fn transitions(count: usize) -> String {
    plural(count, "transition", "transitions")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn hooks_in_words() {
        let (hook, subject, error): (std::sync::Arc<str>, _, _) =
            ("pager".into(), "vip 192.0.2.1/32".to_owned(), "exit status 1: no route".to_owned());
        let given_up = |attempts, others| News::GivenUp {
            hook: "pager".into(),
            subject: "service web".to_owned(),
            error: "status 500".to_owned(),
            attempts,
            others,
        };
        let dropped = |count, reason| News::Dropped { hook: "pager".into(), count, reason };
        for (news, expected) in [
            (
                News::Failed { hook, subject, error, wait: Duration::from_secs(2) },
                "WARN hook pager failed for vip 192.0.2.1/32, trying again in 2s: exit status 1: no route",
            ),
            (
                given_up(3, 0),
                "ERROR hook pager was not told of service web: given up after 3 attempts: status 500; what else it misses \
                 is counted in `herald status`",
            ),
            (
                given_up(1, 7),
                "ERROR hook pager was not told of service web, and 7 others before: given up after 1 attempt: status 500; \
                 what else it misses is counted in `herald status`",
            ),
            (News::Recovered { hook: "pager".into(), given_up: 0 }, "INFO hook pager works again"),
            (
                News::Recovered { hook: "pager".into(), given_up: 2 },
                "WARN hook pager works again; it was not told of 2 more meanwhile",
            ),
            (
                News::Full { hook: "pager".into(), waiting: 9 },
                "ERROR hook pager is too slow: 9 subjects wait, and the oldest are dropped",
            ),
            (
                dropped(1, DropReason::Removed),
                "WARN hook pager was removed: it is not told of 1 transition that waited",
            ),
            (
                dropped(2, DropReason::Changed),
                "WARN hook pager was changed: it is not told of 2 transitions that waited",
            ),
        ] {
            let (level, text) = line(&news);
            assert_eq!(format!("{level} {text}"), expected);
        }
        let text = "stopping although hooks have not been told of 3 transitions";
        assert_eq!(untold(3), (Level::Warn, text.to_owned()));
    }
}
