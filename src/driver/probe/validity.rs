//! For how long certificates are still valid.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::text::about;

/// What remains, in seconds, of the certificate of a chain that ends first, at a time since 1970; nothing is left of one that
/// has ended. `None` when none can be read.
pub(super) fn remaining(chain: &[CertificateDer<'_>], now: Duration) -> Option<u64> {
    let end = |der: &CertificateDer<'_>| {
        let certificate = Certificate::from_der(der.as_ref()).ok()?;
        Some(certificate.tbs_certificate.validity.not_after.to_unix_duration())
    };
    let first = chain.iter().filter_map(end).min()?;
    Some(first.saturating_sub(now).as_secs())
}

/// A warning when less remains than should.
pub(super) fn warning(remaining: u64, min_validity: Duration) -> Option<String> {
    (remaining < min_validity.as_secs()).then(|| match remaining {
        0 => "certificate has expired".to_owned(),
        _ => format!("certificate expires in {}, min_validity is {}", about(remaining), about(min_validity.as_secs())),
    })
}
