//! `dns`.

use super::{Fault, Run, Verdict};
use crate::config::{DnsProbe, FailureKind};

pub(super) fn run(at: &Run<'_>, probe: &DnsProbe) -> Verdict {
    Err(Fault::new(FailureKind::Internal, format!("being built: {:?}", (at, probe))))
}
