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

/// Standard communities as Herald writes them, or the word that is none.
pub(super) fn communities(text: &str) -> Result<Vec<String>, String> {
    words(text).map(|word| community(word).ok_or_else(|| word.to_owned())).collect()
}

fn community(word: &str) -> Option<String> {
    let number = match word.to_ascii_lowercase().as_str() {
        "no-export" | "no_export" => 0xffff_ff01,
        "no-advertise" | "no_advertise" => 0xffff_ff02,
        "no-export-subconfed" => 0xffff_ff03,
        "nopeer" | "no-peer" => 0xffff_ff04,
        "blackhole" => 0xffff_029a,
        low => match low.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None if word.contains(':') => return word.parse::<Community>().ok().map(|community| community.to_string()),
            None => word.parse().ok()?,
        },
    };
    Some(Community(number).to_string())
}

pub(super) fn large(text: &str) -> Result<Vec<String>, String> {
    let large = |word: &str| word.parse::<LargeCommunity>().map(|it| it.to_string()).map_err(|()| word.to_owned());
    words(text).map(large).collect()
}

pub(super) fn extended(text: &str) -> Result<Vec<String>, String> {
    words(text).map(|word| extended_community(word).ok_or_else(|| word.to_owned())).collect()
}

fn extended_community(word: &str) -> Option<String> {
    let ours = match word.split_once(':') {
        Some(("target", rest)) => format!("rt:{rest}"),
        Some(("origin", rest)) => format!("soo:{rest}"),
        // Without a kind it is a target.
        Some((_, rest)) if !rest.contains(':') => format!("rt:{word}"),
        Some(_) => return None,
        None => {
            let digits = word.strip_prefix("0x").filter(|digits| digits.len() == 16 && digits.is_ascii())?;
            format!("generic:0x{}:0x{}", &digits[..8], &digits[8..])
        }
    };
    ours.parse::<ExtendedCommunity>().ok().map(|_| ours)
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
        let ours = communities("[ 65000:100, no_export nopeer 0xffff029a 4259840100 ]").unwrap();
        assert_eq!(ours, ["65000:100", "no-export", "65535:65284", "blackhole", "65000:100"]);
        assert_eq!(communities("65000:100 x:1").unwrap_err(), "x:1");
        assert_eq!(large("65000:1:2 4200000001:0:0").unwrap(), ["65000:1:2", "4200000001:0:0"]);
        assert!(large("65000:1").is_err());
        let ours = extended("target:65000:100 origin:192.0.2.1:5 65000:7 0x0002fde800000064").unwrap();
        assert_eq!(ours, ["rt:65000:100", "soo:192.0.2.1:5", "rt:65000:7", "generic:0x0002fde8:0x00000064"]);
        for word in ["redirect:65000:1", "0x12", "bandwidth:1:2", "x", "0xé002fde80000006"] {
            assert_eq!(extended(word).unwrap_err(), word);
        }
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
