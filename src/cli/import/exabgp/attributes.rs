//! Attributes in ExaBGP's words.

use super::super::draft::string;
use crate::config::{Community, ExtendedCommunity, LargeCommunity};

/// What the sessions are like, as far as the source tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ground {
    pub(super) local_as: Option<u32>,
    pub(super) internal: bool,
    pub(super) external: bool,
}

/// Words between brackets and commas.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "[](),".contains(c)).filter(|word| !word.is_empty())
}

/// Communities as Herald writes them, and the words that are none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Communities {
    pub(super) ours: Vec<String>,
    pub(super) unknown: Vec<String>,
}

fn read(text: &str, one: fn(&str) -> Option<String>) -> Communities {
    let mut communities = Communities::default();
    for word in words(text) {
        match one(word) {
            Some(ours) => communities.ours.push(ours),
            None => communities.unknown.push(word.to_owned()),
        }
    }
    communities
}

/// Standard ones.
pub(super) fn communities(text: &str) -> Communities {
    read(text, community)
}

fn community(word: &str) -> Option<String> {
    let low = word.to_ascii_lowercase();
    let number = match low.as_str() {
        // Herald has no name for it (RFC 3765).
        "nopeer" | "no-peer" => 0xffff_ff04,
        _ if low.contains(':') => return low.parse::<Community>().ok().map(|community| community.to_string()),
        _ => match low.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            // ExaBGP 5 knows `no_export`, too.
            None => match low.replace('_', "-").parse::<Community>() {
                Ok(named) => return Some(named.to_string()),
                Err(()) => low.parse().ok()?,
            },
        },
    };
    Some(Community(number).to_string())
}

pub(super) fn large(text: &str) -> Communities {
    read(text, |word| match word.parse::<LargeCommunity>() {
        Ok(large) => Some(large.to_string()),
        // All 96 bits as one number.
        Err(()) => {
            let bits = word.parse::<u128>().ok().filter(|bits| *bits < 1 << 96)?;
            let part = |shift: u32| u32::try_from(bits >> shift & u128::from(u32::MAX)).ok();
            Some(LargeCommunity(part(64)?, part(32)?, part(0)?).to_string())
        }
    })
}

pub(super) fn extended(text: &str) -> Communities {
    read(text, extended_community)
}

/// By their octets, where Herald has no form of its own for the kind.
fn extended_community(word: &str) -> Option<String> {
    let octets = |octets: u64| Some(ExtendedCommunity(octets.to_be_bytes()).to_string());
    if let Some(digits) = word.strip_prefix("0x").or(word.strip_prefix("0X")) {
        let is_whole = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        return octets(u64::from_str_radix(digits, 16).ok().filter(|_| is_whole)?);
    }
    if word == "redirect-to-nexthop" {
        return octets(0x0800 << 48);
    }
    let (kind, rest) = match word.split_once(':')? {
        (_, rest) if !rest.contains(':') => ("target", word),
        both => both,
    };
    let (first, second) = rest.split_once(':')?;
    let asn = |text: &str| text.parse::<u16>().ok().map(u64::from);
    let ours = match kind {
        "target" => format!("rt:{rest}"),
        "origin" => format!("soo:{rest}"),
        "target4" => format!("rt:{}L:{second}", first.trim_end_matches('L')),
        "origin4" => format!("soo:{}L:{second}", first.trim_end_matches('L')),
        "redirect" => return octets(0x8008 << 48 | asn(first)? << 32 | u64::from(second.parse::<u32>().ok()?)),
        // A number of octets each second, which ExaBGP takes for an integer and sends as a float.
        "bandwidth" => {
            let speed = second.parse::<u32>().ok()? as f32;
            return octets(0x4004 << 48 | asn(first)? << 32 | u64::from(speed.to_bits()));
        }
        _ => return None,
    };
    ours.parse::<ExtendedCommunity>().ok().map(|community| community.to_string())
}

/// How often our AS stands in the path beyond what the session asks for.
pub(super) fn prepend(text: &str, ground: Ground) -> Result<Option<usize>, &'static str> {
    let asns: Vec<u32> = words(text).map(asn).collect::<Option<_>>().ok_or("not a list of AS numbers")?;
    let Some(first) = asns.first() else { return Ok(None) };
    if asns.iter().any(|asn| asn != first) || ground.local_as.is_some_and(|own| own != *first) {
        return Err("holds other AS numbers than our own, which Herald does not announce");
    }
    let own = usize::from(ground.external || !ground.internal);
    Ok(Some(asns.len().saturating_sub(own)).filter(|times| *times > 0))
}

/// `65001`, or `1.1`.
pub(super) fn asn(text: &str) -> Option<u32> {
    match text.split_once('.') {
        Some((high, low)) => Some(u32::from(high.parse::<u16>().ok()?) << 16 | u32::from(low.parse::<u16>().ok()?)),
        None => text.parse().ok(),
    }
}

/// `{ key = value, … }`.
pub(super) fn inline(pairs: &[(&str, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// A list of communities as TOML.
pub(super) fn toml_list(communities: &[String]) -> String {
    let items: Vec<String> = communities.iter().map(|community| string(community)).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_in_our_words() {
        let known = |communities: Communities| {
            assert_eq!(communities.unknown, [""; 0]);
            communities.ours
        };
        let ours = known(communities("[ 65000:100, no_export nopeer 0xffff029a 4259840100 ]"));
        assert_eq!(ours, ["65000:100", "no-export", "65535:65284", "blackhole", "65000:100"]);
        // What Herald knows by name, ExaBGP or not.
        let names =
            "NO-ADVERTISE no-export-subconfed no-peer blackhole graceful-shutdown accept-own llgr-stale no-llgr";
        let ours = known(communities(names));
        assert_eq!(ours.join(" "), names.to_lowercase().replace("no-peer", "65535:65284"));
        let ours = known(large("65000:1:2 4200000001:0:0 1199038364795415822340"));
        assert_eq!(ours, ["65000:1:2", "4200000001:0:0", "65:1:4"]);
        let ours = known(extended("target:65000:100 origin:192.0.2.1:5 65000:7 0x0002fde800000064 target4:65000:7"));
        assert_eq!(ours, ["rt:65000:100", "soo:192.0.2.1:5", "rt:65000:7", "rt:65000:100", "rt:65000L:7"]);
        // Each as ExaBGP 4.2 packs it.
        let ours = known(extended("redirect:65000:1 bandwidth:65000:1000 origin4:65000L:3 redirect-to-nexthop"));
        assert_eq!(
            ours,
            ["generic:0x8008fde8:0x1", "generic:0x4004fde8:0x447a0000", "soo:65000L:3", "generic:0x8000000:0x0"]
        );
    }

    /// One that is unknown does not take the others with it.
    #[test]
    fn communities_stay_without_those_that_are_unknown() {
        let split = |communities: Communities| (communities.ours.join(" "), communities.unknown.join(" "));
        let expect = |ours: &str, unknown: &str| (ours.to_owned(), unknown.to_owned());
        assert_eq!(split(communities("65000:1 x no-export 65536:1 y:1")), expect("65000:1 no-export", "x 65536:1 y:1"));
        assert_eq!(split(large("65000:1 1:2:3 1:2:3:4")), expect("1:2:3", "65000:1 1:2:3:4"));
        assert_eq!(
            split(extended("l2info:1:2:3:4 target:1:2 0x12 0xé002fde80000006 redirect:1.2.3.4:5 x")),
            expect("rt:1:2", "l2info:1:2:3:4 0x12 0xé002fde80000006 redirect:1.2.3.4:5 x")
        );
    }

    #[test]
    fn paths_become_prependings() {
        let ground = |internal, external| Ground { local_as: Some(65001), internal, external };
        for (text, ground, expected) in [
            ("65001 65001 65001", ground(false, true), Ok(Some(2))),
            ("65001", ground(false, true), Ok(None)),
            ("65001 65001", ground(true, false), Ok(Some(2))),
            ("[ 65001, 65001 ]", Ground::default(), Ok(Some(1))),
            ("", ground(true, false), Ok(None)),
            ("0.65001 65001", ground(false, true), Ok(Some(1))),
        ] {
            assert_eq!(prepend(text, ground), expected, "{text}");
        }
        assert!(prepend("65001 65002", ground(false, true)).is_err());
        assert!(prepend("65002", ground(false, true)).is_err());
        assert!(prepend("x", Ground::default()).is_err());
    }
}
