//! `syn`.

use super::{Fault, Run, Verdict};
use crate::config::FailureKind;

pub(super) fn run(at: &Run<'_>) -> Verdict {
    Err(Fault::new(FailureKind::Internal, format!("being built: {at:?}")))
}
