//! Path attributes as operators write them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::extended_community::ExtendedCommunity;

/// An autonomous system number, always 32 bits (RFC 6793).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Asn(pub u32);

impl Asn {
    /// Stands in for a number above 65535 where only 16 bits fit (RFC 6793 §4.2.2 and §9).
    pub const TRANS: u16 = 23456;

    /// The number for a 16-bit field: itself, or [`TRANS`](Self::TRANS).
    pub fn as_u16(self) -> u16 {
        u16::try_from(self.0).unwrap_or(Asn::TRANS)
    }

    /// Whether it fits 16 bits.
    pub fn is_two_octet(self) -> bool {
        self.0 <= u32::from(u16::MAX)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The ORIGIN attribute (RFC 4271 §5.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Interior to the originating AS.
    #[default]
    Igp,
    /// Learned by EGP.
    Egp,
    /// By other means.
    Incomplete,
}

impl Origin {
    /// As written in configuration and output.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Igp => "igp",
            Origin::Egp => "egp",
            Origin::Incomplete => "incomplete",
        }
    }
}

/// A community (RFC 1997).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Community(pub u32);

/// IANA's well-known communities, by the names that operators use.
const WELL_KNOWN: [(&str, u32); 8] = [
    ("graceful-shutdown", 0xffff_0000),   // RFC 8326
    ("accept-own", 0xffff_0001),          // RFC 7611
    ("llgr-stale", 0xffff_0006),          // RFC 9494
    ("no-llgr", 0xffff_0007),             // RFC 9494
    ("blackhole", 0xffff_029a),           // RFC 7999
    ("no-export", 0xffff_ff01),           // RFC 1997
    ("no-advertise", 0xffff_ff02),        // RFC 1997
    ("no-export-subconfed", 0xffff_ff03), // RFC 1997
];

impl Community {
    /// GRACEFUL_SHUTDOWN (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Community = Community(0xffff_0000);

    /// The names that [`FromStr`] takes besides `high:low`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        WELL_KNOWN.iter().map(|(name, _)| *name)
    }
}

impl FromStr for Community {
    type Err = ();

    /// `65000:100`, or a well-known name.
    fn from_str(text: &str) -> Result<Community, ()> {
        if let Some((_, value)) = WELL_KNOWN.iter().find(|(name, _)| *name == text) {
            return Ok(Community(*value));
        }
        let (high, low) = text.split_once(':').ok_or(())?;
        Ok(Community(u32::from(number::<u16>(high)?) << 16 | u32::from(number::<u16>(low)?)))
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match WELL_KNOWN.iter().find(|(_, value)| *value == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff),
        }
    }
}

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LargeCommunity(pub u32, pub u32, pub u32);

impl FromStr for LargeCommunity {
    type Err = ();

    /// `65000:1:2`.
    fn from_str(text: &str) -> Result<LargeCommunity, ()> {
        let mut parts = text.split(':').map(number::<u32>);
        let mut part = || parts.next().unwrap_or(Err(()));
        let community = LargeCommunity(part()?, part()?, part()?);
        if parts.next().is_none() { Ok(community) } else { Err(()) }
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.0, self.1, self.2)
    }
}

/// Digits only: `from_str` alone would take a plus sign.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, ()> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(());
    }
    text.parse().map_err(|_| ())
}

/// The attributes that an operator chooses for a route. `None` leaves the choice to what is less specific:
/// a VIP's word goes before a peer's.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes {
    /// ORIGIN; IGP unless set.
    pub origin: Option<Origin>,
    /// How often the local AS stands in the AS_PATH beyond the one time that eBGP asks for.
    pub as_path_prepend: Option<u8>,
    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4); absent unless set.
    pub med: Option<u32>,
    /// LOCAL_PREF (RFC 4271 §5.1.5), to iBGP peers only; 100 unless set.
    pub local_pref: Option<u32>,
    /// Sorted, without duplicates. The VIP's and the peer's are joined.
    pub communities: Vec<Community>,
    /// Sorted, without duplicates. The VIP's and the peer's are joined.
    pub large_communities: Vec<LargeCommunity>,
    /// Sorted, without duplicates. The VIP's and the peer's are joined; those that are not transitive go to iBGP peers only.
    pub extended_communities: Vec<ExtendedCommunity>,
}

impl Attributes {
    /// Whether some community is for iBGP peers only (RFC 4360 §6).
    pub fn has_non_transitive(&self) -> bool {
        self.extended_communities.iter().any(|community| !community.is_transitive())
    }
}

impl fmt::Display for Attributes {
    /// What is set, as it is written in configuration: `med 50, communities 65000:300 graceful-shutdown`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.origin.map(|origin| format!("origin {}", origin.name())));
        parts.extend(self.med.map(|med| format!("med {med}")));
        parts.extend(self.local_pref.map(|preference| format!("local_pref {preference}")));
        parts.extend(self.as_path_prepend.map(|times| format!("as_path_prepend {times}")));
        let standard = self.communities.iter().map(ToString::to_string);
        let large = self.large_communities.iter().map(ToString::to_string);
        let extended = self.extended_communities.iter().map(ToString::to_string);
        let communities: Vec<String> = standard.chain(large).chain(extended).collect();
        if !communities.is_empty() {
            parts.push(format!("communities {}", communities.join(" ")));
        }
        f.write_str(&parts.join(", "))
    }
}

/// Makes attributes say that their route will go away (RFC 8326): routes that shared theirs still do.
#[derive(Clone, Debug, Default)]
pub struct GracefulShutdown {
    known: BTreeMap<Arc<Attributes>, Arc<Attributes>>,
}

impl GracefulShutdown {
    /// RFC 8326 §4.2: with the community, and towards our own AS with the lowest LOCAL_PREF.
    pub fn on(&mut self, attributes: Arc<Attributes>) -> Arc<Attributes> {
        let add = |attributes: &Arc<Attributes>| {
            let mut more = Attributes { local_pref: Some(0), ..Attributes::clone(attributes) };
            if let Err(place) = more.communities.binary_search(&Community::GRACEFUL_SHUTDOWN) {
                more.communities.insert(place, Community::GRACEFUL_SHUTDOWN);
            }
            Arc::new(more)
        };
        self.known.entry(attributes).or_insert_with_key(add).clone()
    }

    /// Lets go of what it knows.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_both_ways() {
        for text in ["65000:100", "0:0", "no-export", "graceful-shutdown", "blackhole"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1:", "65536:1", "1:2:3", "+1:2", "1:-2", " 1:2", "no-such"] {
            assert!(text.parse::<Community>().is_err(), "{text}");
        }
        assert_eq!("65535:0".parse::<Community>(), Ok(Community::GRACEFUL_SHUTDOWN));
        assert_eq!("4294967295:1:2".parse::<LargeCommunity>().unwrap().to_string(), "4294967295:1:2");
        for text in ["1:2", "1:2:3:4", "4294967296:1:2", "1::2"] {
            assert!(text.parse::<LargeCommunity>().is_err(), "{text}");
        }
    }
}
