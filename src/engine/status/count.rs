//! How much of a service counts, in words.

use std::fmt;

use crate::config::{Measure, Service};

/// `1 of 2 backends available, 1 required`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    measure: Measure,
    available: u64,
    of: u64,
    required: u64,
    on_sorry: bool,
}

impl Count {
    /// Of a service of which this counts and that must count; `on_sorry` tells that sorry backends have stepped in.
    pub fn new(service: &Service, available: u64, required: u64, on_sorry: bool) -> Count {
        let backends = service.backends.iter().filter(|backend| backend.sorry == on_sorry);
        let of = match service.required.measure {
            Measure::Backends => backends.count() as u64,
            Measure::Weight => backends.map(|backend| u64::from(backend.weight)).sum(),
        };
        Count { measure: service.required.measure, available, of, required, on_sorry }
    }
}

impl Count {
    /// What counts, of how much, and what must.
    pub fn numbers(&self) -> (u64, u64, u64) {
        (self.available, self.of, self.required)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { measure, available, of, required, on_sorry } = self;
        match (measure, on_sorry) {
            (Measure::Backends, false) => write!(f, "{available} of {of} backends available, {required} required"),
            (Measure::Weight, false) => write!(f, "weight {available} of {of} available, {required} required"),
            (Measure::Backends, true) => write!(f, "no backend available, {available} of {of} sorry backends stand in"),
            (Measure::Weight, true) => {
                write!(f, "no backend available, sorry backends with weight {available} of {of} stand in")
            }
        }
    }
}
