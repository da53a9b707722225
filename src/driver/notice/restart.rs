//! What operators read of restarts and of the state file.

use std::path::PathBuf;
use std::time::Duration;

use log::Level;

use super::plural;
use crate::engine::restart::Heirs;
use crate::engine::saved::{Foreign, Unusable};

/// Of restarts and of the state file.
#[derive(Clone, Debug)]
pub(crate) enum Restart {
    /// The daemon goes on from the state file.
    Resumed {
        /// How long there was no daemon.
        away: Duration,
        /// VIPs that stood announced.
        vips: usize,
        /// Peers that had a session, by name.
        peers: Vec<String>,
    },
    /// It does not.
    Afresh(Unusable),
    /// Verdicts and holds of shortly ago count.
    Restored {
        /// How long ago.
        away: Duration,
        /// Verdicts in the file.
        checks: usize,
    },
    /// They are so old that they do not.
    Stale(Duration),
    /// What is there is no state file of ours.
    SetAside {
        /// Its name.
        path: PathBuf,
        /// The name that it has now; `None` if it could not be renamed.
        kept: Option<PathBuf>,
        /// What it is.
        why: Foreign,
    },
    /// The state file cannot be read.
    Unreadable {
        /// Its name.
        path: PathBuf,
        /// The system's word.
        error: String,
    },
    /// The state file could not be written, or can be again.
    Writing {
        /// Its name.
        path: PathBuf,
        /// The system's word, or none.
        outcome: Result<(), String>,
    },
    /// SIGUSR2 came.
    Leaving(Heirs),
}

/// Puts it into lines and says each.
pub(super) fn word(notice: &Restart, say: &mut dyn FnMut(Level, String)) {
    let (level, text) = match notice {
        Restart::Resumed { away, vips, peers } => {
            let (vips, verb) = (plural(*vips, "VIP", "VIPs"), if *vips == 1 { "was" } else { "were" });
            let peers = if peers.is_empty() { "no peer".to_owned() } else { peers.join(", ") };
            let text = format!("restarted after {}: {vips} {verb} announced, to {peers}", humantime(*away));
            (Level::Info, text + "; routers may keep them until the first verdicts are in")
        }
        Restart::Afresh(why @ (Unusable::NotWanted | Unusable::Stopped)) => {
            (Level::Debug, format!("starting afresh: {why}"))
        }
        Restart::Afresh(why) => (Level::Info, format!("starting afresh, routers may drop routes: {why}")),
        Restart::Restored { away, checks } => {
            let verdicts = plural(*checks, "verdict", "verdicts");
            (Level::Info, format!("{verdicts} of {} ago taken over, until the checks have run again", humantime(*away)))
        }
        Restart::Stale(away) => (
            Level::Info,
            format!("verdicts of {} ago are older than state_max_age: VIPs wait for new ones", humantime(*away)),
        ),
        Restart::SetAside { path, kept, why } => {
            let (path, kept) = (path.display(), kept.as_ref().map(|kept| kept.display()));
            let kept = kept.map_or("and cannot be renamed".to_owned(), |kept| format!("and is now {kept}"));
            (Level::Warn, format!("state file {path} is not used, {kept}: {why}"))
        }
        Restart::Unreadable { path, error } => {
            (Level::Warn, format!("state file {} cannot be read: {error}; starting afresh", path.display()))
        }
        Restart::Writing { path, outcome: Err(error) } => {
            let text = format!("state file {} cannot be written: {error}", path.display());
            (Level::Warn, text + "; a restart goes on from what it says, and without drains that it does not have")
        }
        Restart::Writing { path, outcome: Ok(()) } => {
            (Level::Info, format!("state file {} can be written again", path.display()))
        }
        Restart::Leaving(Heirs { keep, drop }) => {
            let kept = match (keep.as_slice(), drop.as_slice()) {
                ([], []) => "no peer has a session".to_owned(),
                ([], _) => "no peer keeps the routes".to_owned(),
                (keep, _) => format!("the routes stay with {}", keep.join(", ")),
            };
            say(Level::Info, format!("SIGUSR2: stopping for a restart, {kept}"));
            if drop.is_empty() {
                return;
            }
            let (peers, verb) = if drop.len() == 1 { ("peer", "drops") } else { ("peers", "drop") };
            let names = drop.join(", ");
            (Level::Warn, format!("{peers} {names} {verb} all routes now: graceful restart is not negotiated"))
        }
    };
    say(level, text);
}

/// To a tenth of a second.
fn humantime(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_in_words() {
        let lines = |notice: Restart| {
            let mut lines = Vec::new();
            word(&notice, &mut |level, text| lines.push(format!("{level} {text}")));
            lines
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        let leaving = |keep, drop| lines(Restart::Leaving(Heirs { keep: names(keep), drop: names(drop) }));
        assert_eq!(leaving(&[], &[]), ["INFO SIGUSR2: stopping for a restart, no peer has a session"]);
        assert_eq!(
            leaving(&["tor-a", "tor-b"], &["rr"]),
            [
                "INFO SIGUSR2: stopping for a restart, the routes stay with tor-a, tor-b",
                "WARN peer rr drops all routes now: graceful restart is not negotiated"
            ]
        );
        let resumed = Restart::Resumed { away: Duration::from_millis(1230), vips: 1, peers: vec!["tor-a".to_owned()] };
        let text = "INFO restarted after 1.2s: 1 VIP was announced, to tor-a; routers may keep them until the first \
                    verdicts are in";
        assert_eq!(lines(resumed), [text]);
        let afresh = |why| lines(Restart::Afresh(why)).remove(0);
        let text = "INFO starting afresh, routers may drop routes: the machine has been rebooted";
        assert_eq!(afresh(Unusable::Rebooted), text);
        assert_eq!(afresh(Unusable::Stopped), "DEBUG starting afresh: it had been stopped for good");
        let path = || PathBuf::from("/s");
        let aside = |kept| lines(Restart::SetAside { path: path(), kept, why: Foreign::Future(2, 1) }).remove(0);
        let text = "WARN state file /s is not used, and is now /s.bad: a later version wrote it (format 2.1)";
        assert_eq!(aside(Some("/s.bad".into())), text);
        let text = "WARN state file /s is not used, and cannot be renamed: a later version wrote it (format 2.1)";
        assert_eq!(aside(None), text);
        let text = "WARN state file /s cannot be written: no space; a restart goes on from what it says, and without drains that it does not have";
        assert_eq!(lines(Restart::Writing { path: path(), outcome: Err("no space".to_owned()) }), [text]);
    }
}
