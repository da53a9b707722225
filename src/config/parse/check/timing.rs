//! When a check runs, and how many results make a verdict.

use std::time::Duration;

use crate::config::parse::findings::{Findings, quote};
use crate::config::parse::table::{Item, Section, optional};
use crate::config::{FailureKind, FailureKinds, OnStale, Timing, Window};

pub(super) const DAY: Duration = Duration::from_secs(86_400);
const SHORTEST: Duration = Duration::from_millis(10);
const MILLISECOND: Duration = Duration::from_millis(1);
/// Beyond this many results in a row nobody waits for a verdict.
const MAX_STREAK: u32 = 10_000;
/// The results that a window remembers.
const MAX_WINDOW: u8 = 64;

/// `kind` is `None` where that is wrong.
pub(super) fn timing(table: &Section, type_name: Option<&str>, findings: &mut Findings) -> Option<Timing> {
    // A file says the truth at once, and a second one says nothing new.
    let streak = if type_name == Some("file") { 1 } else { Timing::default().rise };
    let defaults = Timing { rise: streak, fall: streak, ..Timing::default() };
    let time = |key, range, findings: &mut Findings| match table.get(key) {
        None => Some(None),
        Some(item) => item.duration(range, findings).map(Some),
    };
    let interval = time("interval", SHORTEST..=DAY, findings);
    let timeout = time("timeout", MILLISECOND..=DAY, findings);
    let fast_interval = time("fast_interval", SHORTEST..=DAY, findings);
    let down_interval = time("down_interval", SHORTEST..=DAY, findings);
    let jitter = time("jitter", Duration::ZERO..=DAY, findings);
    let streak = |key, default, findings: &mut Findings| match table.get(key) {
        None => Some(default),
        Some(item) => item.integer(1..=MAX_STREAK, findings),
    };
    let rise = streak("rise", defaults.rise, findings);
    let fall = streak("fall", defaults.fall, findings);
    let window = optional(table.get("window").map(|item| window(&item, findings)));
    for key in ["rise", "fall"] {
        if let (Some(item), true) = (table.get(key), table.has("window")) {
            findings.error(item.key_place, format!("`{key}` and `window` exclude each other"));
        }
    }
    let conclusive = table.get("conclusive").map_or(Some(FailureKinds::NONE), |item| conclusive(&item, findings));
    let tripwire = table.get("tripwire").map_or(Some(false), |item| item.boolean(findings));
    let policies = [("keep", OnStale::Keep), ("fail", OnStale::Fail)];
    let on_stale = table.get("on_stale").map_or(Some(OnStale::Keep), |item| item.choice(&policies, findings));

    let interval = interval?.unwrap_or(defaults.interval);
    let timeout = timeout?.unwrap_or(defaults.timeout.min(interval));
    let fast_interval = fast_interval?.unwrap_or(interval);
    let down_interval = down_interval?.unwrap_or(interval);
    let jitter = jitter?.unwrap_or_default();
    if let (Some(item), true) = (table.get("fast_interval"), fast_interval > interval) {
        findings.error(item.place, "`fast_interval` must not be longer than `interval`");
        return None;
    }
    if let (Some(item), true) = (table.get("jitter"), jitter >= interval) {
        findings.error(item.place, "`jitter` must be shorter than `interval`");
        return None;
    }
    if let (Some(item), true) = (table.get("timeout"), timeout > interval) {
        let message = "`timeout` is longer than `interval`: a check that times out delays the next run of its own";
        findings.warning(item.place, message);
    }
    Some(Timing {
        interval,
        timeout,
        rise: rise?,
        fall: fall?,
        window: window?,
        fast_interval,
        down_interval,
        first_interval: fast_interval,
        jitter,
        conclusive: conclusive?,
        tripwire: tripwire?,
        on_stale: on_stale?,
    })
}

/// `"4 of 5"`.
fn window(item: &Item, findings: &mut Findings) -> Option<Window> {
    let text = item.string(findings)?;
    let parsed = of(text).and_then(|(passes, of)| {
        let (passes, of) = (u8::try_from(passes).ok()?, u8::try_from(of).ok()?);
        (passes <= of && of <= MAX_WINDOW).then_some(Window { passes, of })
    });
    if parsed.is_none() {
        let message = format!("`window` must be such as \"4 of 5\", of at most {MAX_WINDOW}, not {}", quote(text));
        findings.error(item.place, message);
    }
    parsed
}

/// The numbers of `"2 of 3"`; both at least 1.
pub(super) fn of(text: &str) -> Option<(u32, u32)> {
    let mut words = text.split_ascii_whitespace();
    let number = |word: Option<&str>| {
        let word = word.filter(|word| word.bytes().all(|b| b.is_ascii_digit()))?;
        word.parse::<u32>().ok().filter(|number| *number > 0)
    };
    let (some, between, all) = (number(words.next())?, words.next()?, number(words.next())?);
    (between == "of" && words.next().is_none()).then_some((some, all))
}

fn conclusive(item: &Item, findings: &mut Findings) -> Option<FailureKinds> {
    let kinds = FailureKind::ALL.map(|kind| (kind.name(), kind));
    let items = item.list(findings)?;
    let chosen: Vec<FailureKind> = items.iter().filter_map(|item| item.choice(&kinds, findings)).collect();
    let all = chosen.len() == items.len();
    all.then(|| chosen.into_iter().fold(FailureKinds::NONE, FailureKinds::with))
}
