//! Why a handshake failed, in plain words.

use std::borrow::Cow;

use rustls::{AlertDescription, CertificateError};

use crate::config::FailureKind;
use crate::driver::probe::text::{about, printable};
use crate::driver::probe::verdict::Fault;

/// Names of a certificate that are told at most.
const NAMES: usize = 3;

pub(in crate::driver::probe) fn failure(error: &rustls::Error) -> Fault {
    Fault::new(FailureKind::Tls, reason(error))
}

fn reason(error: &rustls::Error) -> Cow<'static, str> {
    match error {
        rustls::Error::InvalidCertificate(fault) => certificate(fault),
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS".into(),
        rustls::Error::AlertReceived(alert) => match meant(*alert) {
            Some(meant) => format!("the server refused TLS: {meant} ({alert:?})").into(),
            None => format!("the server refused TLS: {alert:?}").into(),
        },
        rustls::Error::PeerIncompatible(_) => "the server speaks no TLS 1.2 or 1.3 that we share".into(),
        other => format!("TLS failed: {}", printable(other.to_string().as_bytes())).into(),
    }
}

fn certificate(fault: &CertificateError) -> Cow<'static, str> {
    use CertificateError as Cert;
    match fault {
        Cert::ExpiredContext { time, not_after } => {
            format!("certificate expired {} ago", about(time.as_secs().saturating_sub(not_after.as_secs()))).into()
        }
        Cert::Expired => "certificate expired".into(),
        Cert::NotValidYetContext { time, not_before } => {
            let wait = about(not_before.as_secs().saturating_sub(time.as_secs()));
            format!("certificate not valid before {wait} from now").into()
        }
        Cert::NotValidYet => "certificate not valid yet".into(),
        Cert::NotValidForNameContext { expected, presented } => {
            format!("certificate not valid for {}, {}", expected.to_str(), names(presented)).into()
        }
        Cert::NotValidForName => "certificate not valid for this name".into(),
        Cert::UnknownIssuer => "unknown certificate authority".into(),
        Cert::Revoked => "certificate revoked".into(),
        Cert::BadEncoding => "certificate is malformed".into(),
        // webpki says the same of both.
        Cert::BadSignature => {
            "certificate has a wrong signature, or a key that is too short, such as RSA of 1024 bits".into()
        }
        Cert::UnsupportedSignatureAlgorithmContext { .. }
        | Cert::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "certificate is signed in a way that is not taken, such as with SHA-1".into()
        }
        Cert::InvalidPurposeContext { .. } => printable(fault.to_string().as_bytes()).into(),
        // It is asked of the certificate itself before it is asked who has signed it.
        Cert::Other(other) if other.0.to_string().contains("CaUsedAsEndEntity") => {
            "certificate is self-signed or an authority's own, and not among those that are trusted".into()
        }
        Cert::Other(other) if other.0.to_string().contains("UnsupportedCertVersion") => {
            "certificate is of X.509 version 1, without a subjectAltName: it takes version 3".into()
        }
        other => format!("certificate not accepted: {}", printable(format!("{other:?}").as_bytes())).into(),
    }
}

/// For whom it is, as webpki presents it: `DnsName("www.example.net")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        printable(inner.trim_matches('"').as_bytes())
    };
    let names: Vec<String> = presented.iter().take(NAMES).map(bare).collect();
    match presented.len().saturating_sub(NAMES) {
        _ if names.is_empty() => "for nothing: it has no subjectAltName, and its common name does not count".to_owned(),
        0 => format!("only for {}", names.join(", ")),
        more => format!("only for {} and {more} more", names.join(", ")),
    }
}

/// What a server says with an alert (RFC 8446 §6.2), where its name alone leads nobody to the cause.
fn meant(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::ProtocolVersion => "it wants another version of TLS than 1.2 or 1.3",
        AlertDescription::HandshakeFailure => "no cipher or group is common, or it wants a client certificate",
        AlertDescription::UnrecognisedName => "it has no such name (SNI)",
        AlertDescription::CertificateRequired => "it wants a client certificate",
        AlertDescription::NoApplicationProtocol => "it does not speak the protocol that was offered (ALPN)",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => "it does not take our client certificate",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;

    #[test]
    fn for_whom_a_certificate_is() {
        let words = |presented: &[&str]| {
            let expected = ServerName::try_from("www.example.net").unwrap();
            let presented = presented.iter().map(|name| (*name).to_owned()).collect();
            reason(&CertificateError::NotValidForNameContext { expected, presented }.into()).into_owned()
        };
        let head = "certificate not valid for www.example.net";
        let none = "for nothing: it has no subjectAltName, and its common name does not count";
        assert_eq!(words(&[]), format!("{head}, {none}"));
        assert_eq!(words(&["DnsName(\"a.example\")"]), format!("{head}, only for a.example"));
        let many = ["DnsName(\"a.example\")", "IpAddress(10.0.0.1)", "x\u{1b}[31m", "d", "e"];
        assert_eq!(words(&many), format!("{head}, only for a.example, 10.0.0.1, x\\u{{1b}}[31m and 2 more"));
    }

    #[test]
    fn alerts_lead_to_the_cause() {
        let words = |alert| reason(&rustls::Error::AlertReceived(alert)).into_owned();
        let version = "the server refused TLS: it wants another version of TLS than 1.2 or 1.3 (ProtocolVersion)";
        assert_eq!(words(AlertDescription::ProtocolVersion), version);
        assert_eq!(words(AlertDescription::InternalError), "the server refused TLS: InternalError");
    }
}
