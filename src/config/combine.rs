//! How many of a backend's checks must pass.

use std::fmt;

/// `combine`: how many of a backend's checks must pass, without the advisory ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Combine {
    /// Every one.
    #[default]
    All,
    /// So many, at least 1: `"any"` is 1.
    AtLeast(u32),
    /// So many percent, 1 to 100, rounded up.
    Percent(u8),
}

impl Combine {
    /// How many of `checks` must pass; none of none.
    pub fn of(self, checks: usize) -> usize {
        match self {
            Combine::All => checks,
            Combine::AtLeast(count) => (count as usize).min(checks),
            Combine::Percent(percent) => (checks * usize::from(percent)).div_ceil(100),
        }
    }
}

/// As people read it, of a number of checks that is told elsewhere.
impl fmt::Display for Combine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Combine::All => f.write_str("all"),
            Combine::AtLeast(1) => f.write_str("any"),
            Combine::AtLeast(count) => write!(f, "{count}"),
            Combine::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}
