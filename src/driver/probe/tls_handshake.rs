//! `tls_handshake`.

use super::{Fault, Run, Verdict, tls};
use crate::config::{FailureKind, TlsProfile};

pub(super) fn run(at: &Run<'_>, probe: &TlsProfile, tls: Option<&tls::Client>) -> Verdict {
    Err(Fault::new(FailureKind::Internal, format!("being built: {:?}", (at, probe, tls))))
}
