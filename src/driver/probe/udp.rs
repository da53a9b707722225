//! `udp`.

use super::{Fault, Run, Verdict};
use crate::config::{FailureKind, UdpProbe};

pub(super) fn run(at: &Run<'_>, probe: &UdpProbe) -> Verdict {
    Err(Fault::new(FailureKind::Internal, format!("being built: {:?}", (at, probe))))
}
