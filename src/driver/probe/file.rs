//! `file`.

use super::{Fault, Verdict};
use crate::config::{FailureKind, FileProbe};

pub(super) fn run(probe: &FileProbe) -> Verdict {
    Err(Fault::new(FailureKind::Internal, format!("being built: {:?}", probe)))
}
