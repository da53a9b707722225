//! `required` of a service: when it is up.

use std::fmt;

use super::Required;

/// How much must count for a service to be up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// For one that is not up.
    pub up: Required,
    /// For one that is up to stay so; not more than `up`.
    pub down: Required,
    /// What is counted. Of weight, [`Required::Backends`] is so much of it.
    pub measure: Measure,
}

/// What of backends is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// They themselves.
    Backends,
    /// Their weight: what their checks leave of it.
    Weight,
}

impl From<Required> for Quorum {
    /// Of backends, with one mark for both ways.
    fn from(required: Required) -> Quorum {
        Quorum { up: required, down: required, measure: Measure::Backends }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Measure::Backends => "backends",
            Measure::Weight => "weight",
        })
    }
}
