//! `icmp`.

use super::{Fault, Run, Verdict};
use crate::config::{FailureKind, IcmpProbe};

pub(super) fn run(at: &Run<'_>, probe: &IcmpProbe) -> Verdict {
    Err(Fault::new(FailureKind::Internal, format!("being built: {:?}", (at, probe))))
}
