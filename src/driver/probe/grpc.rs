//! `grpc`.

use super::{Fault, Run, Verdict, tls};
use crate::config::{FailureKind, GrpcProbe};

pub(super) fn run(at: &Run<'_>, probe: &GrpcProbe, tls: Option<&tls::Client>) -> Verdict {
    Err(Fault::new(FailureKind::Internal, format!("being built: {:?}", (at, probe, tls))))
}
