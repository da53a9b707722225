//! `ntp`.

use super::{Fault, Run, Verdict};
use crate::config::{FailureKind, NtpProbe};

pub(super) fn run(at: &Run<'_>, probe: &NtpProbe) -> Verdict {
    Err(Fault::new(FailureKind::Internal, format!("being built: {:?}", (at, probe))))
}
