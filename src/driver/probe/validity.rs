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

#[cfg(test)]
mod tests {
    use super::*;

    /// What ends first is what counts, and what cannot be read says nothing.
    #[test]
    fn the_first_to_end_counts() {
        const DAY: u64 = 86_400;
        let until = |days: u64| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.not_after = (std::time::UNIX_EPOCH + Duration::from_secs(days * DAY)).into();
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let now = Duration::from_secs(20_000 * DAY);
        let (near, far) = (until(20_009), until(20_090));
        assert_eq!(remaining(&[far.clone(), near.clone()], now), Some(9 * DAY));
        assert_eq!(remaining(&[near.clone(), far.clone()], now), Some(9 * DAY));
        assert_eq!(remaining(&[until(19_000), far.clone()], now), Some(0));
        let garbage = CertificateDer::from(near.as_ref()[..40].to_vec());
        assert_eq!(remaining(&[garbage.clone(), far], now), Some(90 * DAY));
        assert_eq!(remaining(&[garbage], now), None);
        let day = Duration::from_secs(DAY);
        assert_eq!(warning(9 * DAY, day * 9), None);
        let words = "certificate expires in 9 days, min_validity is 14 days";
        assert_eq!(warning(9 * DAY, day * 14).as_deref(), Some(words));
        assert_eq!(warning(0, day).as_deref(), Some("certificate has expired"));
    }
}
