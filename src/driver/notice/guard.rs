//! The fail-static guard and the self-checks.

use log::Level;

use crate::announce::GuardEvent;

/// The words are the engine's; how loud they are is this file's.
pub(super) fn line(event: GuardEvent, words: &str) -> (Level, String) {
    match event {
        GuardEvent::Began { .. } => (Level::Error, format!("guard: {words}")),
        GuardEvent::Ended { .. } => (Level::Warn, format!("guard: {words}")),
        GuardEvent::SelfCheckFailed(_) => (Level::Error, words.to_owned()),
        GuardEvent::SelfCheckPassed(_) => (Level::Info, words.to_owned()),
    }
}
