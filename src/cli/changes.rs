//! What a reload changes, as people read it.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use super::client::AskError;
use super::terminal::{self, Mood};
use crate::config::diff::{Entry, Kind};
use crate::driver::changes::Changes;
use crate::engine::foresee::Foreseen;

/// So many lines of a section are shown to people; JSON has all.
const SHOWN: usize = 50;

pub(super) fn read(value: &Value) -> Result<Changes, AskError> {
    Changes::deserialize(value).map_err(|error| AskError::NotUnderstood(error.to_string()))
}

/// All of it. `done` says whether it has happened, or would.
pub(super) fn text(changes: &Changes, done: bool, coloured: bool, width: Option<usize>) -> String {
    let mut page = Page { text: String::new(), coloured, width };
    changes.errors.iter().for_each(|error| page.line(error));
    changes.warnings.iter().for_each(|warning| page.line(&format!("warning: {warning}")));
    if !changes.valid {
        return page.text;
    }
    let Changes { diff, announcements, .. } = changes;
    // Where nothing is different, what is kept is not worth a line each.
    let is_same = diff.is_empty() && announcements.is_empty();
    if !is_same {
        page.section("Peers", &diff.peers);
        page.section("Services", &diff.services);
        page.section("VIPs", &diff.vips);
        page.section("Aggregates", &diff.aggregates);
        page.section("Settings", &diff.settings);
        page.announcements(announcements);
    }
    page.line(&summary(changes, done));
    page.text
}

/// What it comes to, in a line.
fn summary(changes: &Changes, done: bool) -> String {
    let kept = changes.diff.peers.iter().filter(|entry| entry.change == Kind::Kept).count();
    let sessions = match (kept, changes.diff.peers.len()) {
        (_, 0) => String::new(),
        (kept, all) if kept == all => "; every session is kept".to_owned(),
        (kept, all) => format!("; {kept} of {all} sessions are kept as they are"),
    };
    let is_reset = changes.diff.peers.iter().any(|entry| entry.change == Kind::Reset);
    let reset = if is_reset {
        "; a router has none of our routes while its session is reset, unless it keeps them (graceful restart)"
    } else {
        ""
    };
    let counts = changes.diff.count();
    let gone = changes.announcements.iter().filter(|route| route.route_before.is_some() && route.route_after.is_none());
    let gone = match gone.count() {
        0 => String::new(),
        1 => "; 1 route is withdrawn".to_owned(),
        many => format!("; {many} routes are withdrawn"),
    };
    match (counts.is_empty(), done) {
        (true, true) => format!("Reloaded: nothing is different{sessions}{gone}."),
        (true, false) => format!("Nothing is different{sessions}{gone}."),
        (false, true) => format!("Reloaded: {}{sessions}{reset}{gone}.", counts.join(", ")),
        (false, false) => {
            format!("A reload means: {}{sessions}{reset}{gone}. Nothing has changed yet.", counts.join(", "))
        }
    }
}

struct Page {
    text: String,
    coloured: bool,
    width: Option<usize>,
}

impl Page {
    fn line(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.text, "{}", terminal::fold(line, self.width));
    }

    fn paint(&self, mood: Mood, text: &str) -> String {
        terminal::paint(self.coloured, mood, text)
    }

    fn section(&mut self, title: &str, entries: &[Entry]) {
        if entries.iter().all(|entry| entry.change == Kind::Kept && entry.details.is_empty()) {
            return;
        }
        self.line(&format!("{title}:"));
        let width = entries.iter().take(SHOWN).map(|entry| entry.name.chars().count()).max().unwrap_or_default();
        for entry in entries.iter().take(SHOWN) {
            let mood = match entry.change {
                Kind::Reset | Kind::Removed | Kind::NeedsRestart => Mood::Bad,
                Kind::Changed | Kind::Readvertised => Mood::Unsure,
                Kind::Added | Kind::Kept => Mood::Good,
            };
            let change = self.paint(mood, &format!("{:<13}", entry.change.name()));
            let (first, more) = match entry.details.split_first() {
                // Keys of peers are single words.
                Some(_) if title == "Peers" => (entry.details.join(", "), &[][..]),
                Some((first, more)) => (first.clone(), more),
                None => (String::new(), &[][..]),
            };
            self.line(&format!("  {:<width$}  {change}  {first}", entry.name));
            for detail in more {
                self.line(&format!("  {:<width$}  {:<13}  {detail}", "", ""));
            }
        }
        self.more(entries.len());
        self.line("");
    }

    fn announcements(&mut self, routes: &[Foreseen]) {
        if routes.is_empty() {
            return;
        }
        self.line("Announcements:");
        let mut sorted: Vec<&Foreseen> = routes.iter().collect();
        let weight = |route: &Foreseen| (route.route_before.is_none(), route.route_after.is_some());
        sorted.sort_by_key(|route| weight(route));
        let width = sorted.iter().take(SHOWN).map(|route| route.prefix.chars().count()).max().unwrap_or_default();
        for route in sorted.into_iter().take(SHOWN) {
            let (mood, what) = fate(route);
            let what = self.paint(mood, &what);
            let reason = route.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            self.line(&format!("  {:<width$}  {what}{reason}", route.prefix));
        }
        self.more(routes.len());
        self.line("");
    }

    fn more(&mut self, all: usize) {
        if all > SHOWN {
            self.line(&format!("  ... and {} more (--json has them all)", all - SHOWN));
        }
    }
}

/// What becomes of a route, in words.
fn fate(route: &Foreseen) -> (Mood, String) {
    let plain = |route: &String| if route.is_empty() { "no attributes of its own".to_owned() } else { route.clone() };
    let states = match (&route.from, &route.to) {
        (Some(from), Some(to)) if from == to => from.clone(),
        (Some(from), Some(to)) => format!("{from} -> {to}"),
        (None, Some(to)) => format!("new, {to}"),
        (Some(from), None) => format!("{from} -> removed"),
        (None, None) => String::new(),
    };
    match (&route.route_before, &route.route_after) {
        (Some(_), None) => (Mood::Bad, states),
        (None, Some(_)) => (Mood::Good, states),
        (Some(before), Some(after)) if before != after => {
            (Mood::Unsure, format!("{states}, re-advertised: {} -> {}", plain(before), plain(after)))
        }
        _ => (Mood::Unsure, states),
    }
}
