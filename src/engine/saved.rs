//! What is remembered across a restart: the state file as a document, and whether it still tells the truth.
//!
//! A section that this version does not know is passed over, so that a newer minor version may add some; what it may not
//! leave out says so with a new major version.

mod judgement;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::drain::Drains;
use crate::announce::{Memory, Remembered, VipState};
use crate::config::RestartTime;
use crate::health::Restored;
use crate::prefix::Prefix;
use crate::wall::{Timestamp, WallClock};

pub use judgement::{SavedCheck, SavedVip};

/// How the document tells that it is one.
const FORMAT: &str = "herald-state";
/// What this version reads and writes.
const MAJOR: u32 = 1;
const MINOR: u32 = 0;

/// The document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    #[serde(flatten)]
    head: Head,
    /// When it was written.
    pub written: Timestamp,
    /// The machine's boot that it was written in: another one knows nothing of the forwarding state.
    pub boot_id: String,
    /// Everything had been withdrawn, for good: there is nothing to go on from.
    #[serde(default)]
    pub stopped: bool,
    /// VIPs that stood announced.
    #[serde(default)]
    pub vips: Vec<SavedRoute>,
    /// Aggregates that stood announced.
    #[serde(default)]
    pub aggregates: Vec<SavedRoute>,
    /// Peers that had a session.
    #[serde(default)]
    pub peers: Vec<SavedPeer>,
    /// What the checks said.
    #[serde(default, deserialize_with = "judgement::readable")]
    pub checks: Vec<SavedCheck>,
    /// What holds VIPs back, or has.
    #[serde(default, deserialize_with = "judgement::readable")]
    pub holds: Vec<SavedVip>,
    /// What operators drain: it stays drained, however long the daemon was away.
    #[serde(default)]
    pub drains: Drains,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: String,
    major: u32,
    minor: u32,
}

/// One VIP or aggregate that stood announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRoute {
    /// With its prefix length.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub address: Prefix,
    /// How.
    pub state: Standing,
    /// Since when.
    pub since: Timestamp,
}

/// How it stood announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// With its healthy attributes.
    Announced,
    /// With its degraded ones.
    Degraded,
}

/// One peer that had a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPeer {
    /// As configured.
    pub name: String,
    /// As configured, with its zone.
    pub address: String,
}

/// Why a file is not taken for what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It is no state file, or a broken one.
    Unreadable(String),
    /// A later version wrote it.
    Future(u32, u32),
}

/// Why a start does not go on from a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// No peer has graceful restart: whatever was announced is gone.
    NotWanted,
    /// The daemon had been stopped for good.
    Stopped,
    /// The machine has been rebooted.
    Rebooted,
    /// The daemon was away for longer than routers were asked to keep its routes.
    TooOld(Duration),
}

impl Saved {
    /// With no sections.
    pub fn new(written: Timestamp, boot_id: &str) -> Saved {
        let head = Head { format: FORMAT.to_owned(), major: MAJOR, minor: MINOR };
        Saved {
            head,
            written,
            boot_id: boot_id.to_owned(),
            stopped: false,
            vips: Vec::new(),
            aggregates: Vec::new(),
            peers: Vec::new(),
            checks: Vec::new(),
            holds: Vec::new(),
            drains: Drains::default(),
        }
    }

    /// As it is in the file.
    pub fn text(&self) -> String {
        // Nothing in it can fail: no maps with strange keys, no numbers that JSON does not have.
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Why it is to be set aside.
    pub fn parse(text: &[u8]) -> Result<Saved, Foreign> {
        let unreadable = |error: serde_json::Error| Foreign::Unreadable(error.to_string());
        // The head first: of another version nothing else is known.
        let head: Head = serde_json::from_slice(text).map_err(unreadable)?;
        match head {
            Head { format, .. } if format != FORMAT => Err(Foreign::Unreadable(format!("its format is {format:?}"))),
            Head { major: MAJOR, .. } => serde_json::from_slice(text).map_err(unreadable),
            Head { major, minor, .. } => Err(Foreign::Future(major, minor)),
        }
    }

    /// Whether routers can still hold what it says, if the daemon was last alive `away` ago.
    ///
    /// # Errors
    /// Why not.
    pub fn is_usable(&self, away: Duration, boot_id: &str, asked: Option<RestartTime>) -> Result<(), Unusable> {
        match asked {
            None => Err(Unusable::NotWanted),
            Some(_) if self.stopped => Err(Unusable::Stopped),
            Some(_) if self.boot_id != boot_id || boot_id.is_empty() => Err(Unusable::Rebooted),
            Some(asked) if away >= asked.duration() => Err(Unusable::TooOld(away)),
            Some(_) => Ok(()),
        }
    }

    /// What the checks said, for a start at `now`.
    pub fn restored(&self, now: Instant, clock: &WallClock) -> BTreeMap<Arc<str>, Restored> {
        judgement::restored(&self.checks, now, clock)
    }

    /// What holds VIPs back, for a start at `now`.
    pub fn memories(&self, now: Instant, clock: &WallClock) -> BTreeMap<Prefix, Memory> {
        judgement::memories(&self.holds, now, clock)
    }

    /// What the engine goes on from.
    pub fn remembered(&self, clock: &WallClock) -> BTreeMap<Prefix, Remembered> {
        let remembered = |vip: &SavedRoute| {
            let state = match vip.state {
                Standing::Announced => VipState::Announced,
                Standing::Degraded => VipState::Degraded,
            };
            (vip.address, Remembered { state, since: Some(clock.instant(vip.since)) })
        };
        self.vips.iter().chain(&self.aggregates).map(remembered).collect()
    }
}

impl SavedRoute {
    /// `None` for what is not announced.
    pub fn new(address: Prefix, standing: Remembered, clock: &WallClock, now: Timestamp) -> Option<SavedRoute> {
        let state = match standing.state {
            VipState::Announced => Standing::Announced,
            VipState::Degraded => Standing::Degraded,
            VipState::Frozen => Standing::Announced,
            VipState::Withdrawn | VipState::Holding | VipState::Suppressed | VipState::Drained => return None,
        };
        Some(SavedRoute { address, state, since: standing.since.map_or(now, |since| clock.timestamp(since)) })
    }
}

fn as_text<S: serde::Serializer>(prefix: &Prefix, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(prefix)
}

fn from_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Prefix, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Foreign::Unreadable(why) => f.write_str(why),
            Foreign::Future(major, minor) => write!(f, "a later version wrote it (format {major}.{minor})"),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::NotWanted => f.write_str("no peer has graceful_restart"),
            Unusable::Stopped => f.write_str("it had been stopped for good"),
            Unusable::Rebooted => f.write_str("the machine has been rebooted"),
            Unusable::TooOld(away) => write!(f, "it was away for {}s, longer than restart_time", away.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> (WallClock, Timestamp) {
        let now = crate::timers::origin();
        let clock = WallClock::new(now, Duration::from_secs(1_767_225_600));
        (clock, clock.timestamp(now))
    }

    fn saved() -> Saved {
        let (_, now) = clock();
        let vip = |address: &str, state| SavedRoute { address: address.parse().unwrap(), state, since: now };
        Saved {
            vips: vec![vip("192.0.2.1", Standing::Announced), vip("2001:db8::1", Standing::Degraded)],
            peers: vec![SavedPeer { name: "tor-a".to_owned(), address: "fe80::1%eth0".to_owned() }],
            ..Saved::new(now, "boot")
        }
    }

    #[test]
    fn there_and_back() {
        let text = saved().text();
        assert_eq!(Saved::parse(text.as_bytes()), Ok(saved()));
        // Cut anywhere it is set aside; only the last line feed can be missed.
        for cut in 0..text.len() - 1 {
            assert!(matches!(Saved::parse(&text.as_bytes()[..cut]), Err(Foreign::Unreadable(_))), "cut at {cut}");
        }
        let (clock, now) = clock();
        let remembered = saved().remembered(&clock);
        assert_eq!(
            remembered.values().map(|vip| vip.state).collect::<Vec<_>>(),
            [VipState::Announced, VipState::Degraded]
        );
        let again = remembered.iter().filter_map(|(vip, standing)| SavedRoute::new(*vip, *standing, &clock, now));
        assert_eq!(again.collect::<Vec<_>>(), saved().vips);
    }

    #[test]
    fn other_versions_and_other_files() {
        let with = |from: &str, to: &str| Saved::parse(saved().text().replace(from, to).as_bytes());
        // A newer minor version may say more; an older one less.
        assert_eq!(with("\"vips\"", "\"others\": [{\"vip\": 1}], \"vips\"").unwrap(), saved());
        assert!(with("\"minor\": 0", "\"minor\": 7").is_ok());
        assert_eq!(with("\"peers\"", "\"others\"").unwrap().peers, []);
        assert_eq!(with("\"major\": 1", "\"major\": 2"), Err(Foreign::Future(2, 0)));
        // Whatever it is that the later version says.
        let later = br#"{"format": "herald-state", "major": 2, "minor": 1, "vips": 7}"#;
        assert_eq!(Saved::parse(later), Err(Foreign::Future(2, 1)));
        for other in ["{}", "[]", "null", "", "\u{0}", "{\"format\": \"x\", \"major\": 1, \"minor\": 0}"] {
            assert!(matches!(Saved::parse(other.as_bytes()), Err(Foreign::Unreadable(_))), "{other}");
        }
        assert!(with("192.0.2.1/32", "192.0.2.1/8").is_err());
        assert!(with("announced", "frozen").is_err());
    }

    #[test]
    fn what_is_too_old_or_of_another_life_is_not_gone_on_from() {
        let asked = RestartTime::from_secs(120);
        let second = Duration::from_secs(1);
        assert_eq!(saved().is_usable(119 * second, "boot", asked), Ok(()));
        assert_eq!(saved().is_usable(120 * second, "boot", asked), Err(Unusable::TooOld(120 * second)));
        assert_eq!(saved().is_usable(second, "another", asked), Err(Unusable::Rebooted));
        assert_eq!(saved().is_usable(second, "boot", None), Err(Unusable::NotWanted));
        assert_eq!(Saved { stopped: true, ..saved() }.is_usable(second, "boot", asked), Err(Unusable::Stopped));
    }
}
