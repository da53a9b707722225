//! What an answer must hold.

use std::cmp::Ordering;
use std::fmt;

/// What octets of an answer must hold.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// These octets, anywhere; never empty.
    Contains(Vec<u8>),
    /// A match of this expression, anywhere.
    Regex(regex::bytes::Regex),
}

impl Pattern {
    /// Whether the octets hold it.
    pub fn is_in(&self, octets: &[u8]) -> bool {
        match self {
            Pattern::Contains(wanted) => {
                wanted.is_empty() || octets.windows(wanted.len()).any(|window| window == wanted.as_slice())
            }
            Pattern::Regex(regex) => regex.is_match(octets),
        }
    }

    fn key(&self) -> (u8, &[u8]) {
        match self {
            Pattern::Contains(octets) => (0, octets),
            Pattern::Regex(regex) => (1, regex.as_str().as_bytes()),
        }
    }
}

/// As people write it: `"text"`, `0x0a0b`, `/expression/`. It is the operator's own text.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Regex(regex) => write!(f, "/{}/", regex.as_str()),
            Pattern::Contains(octets) => match std::str::from_utf8(octets) {
                Ok(text) if !text.contains('\0') => write!(f, "\"{}\"", text.trim_end_matches(['\r', '\n'])),
                _ => {
                    f.write_str("0x")?;
                    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
                }
            },
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Pattern) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Pattern) -> Ordering {
        self.key().cmp(&other.key())
    }
}
