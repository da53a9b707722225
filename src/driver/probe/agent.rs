//! `agent`.

use super::{Fault, Run, Verdict};
use crate::config::{AgentProbe, FailureKind};

pub(super) fn run(at: &Run<'_>, probe: &AgentProbe) -> Verdict {
    Err(Fault::new(FailureKind::Internal, format!("being built: {:?}", (at, probe))))
}
