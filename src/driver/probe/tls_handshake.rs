//! `tls`: the handshake, and the certificate.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use rustls::ProtocolVersion;

use super::socket::Socket;
use super::stream::Stream;
use super::text::about;
use super::{Fault, Pass, Run, Verdict, text, tls, validity};
use crate::config::{FailureKind, TlsProfile};

/// In TLS 1.3 a server judges what we have shown after the handshake: so long it may take to turn us away.
const SECOND_THOUGHTS: Duration = Duration::from_millis(100);

/// Shakes hands, looks at what the server has shown, and takes leave.
pub(super) fn run(at: &Run<'_>, profile: &TlsProfile, tls: Option<&tls::Client>) -> Verdict {
    let Some(client) = tls else {
        return Err(Fault::new(FailureKind::Internal, "internal error: the TLS profile was not loaded"));
    };
    let name = client.name(None, at.target)?;
    let socket = Socket::connect(at).map_err(|error| text::failure(&error, at.limit, text::CONNECTING))?;
    let asked = Arc::new(tls::Asked::new(client.config.client_auth_cert_resolver.clone()));
    let mut config = (*client.config).clone();
    config.client_auth_cert_resolver = asked.clone();
    let stream = Stream::new(socket, Some((Arc::new(config), name)));
    let mut stream = stream.map_err(|error| text::failure(&error, at.limit, "negotiating TLS"))?;
    if stream.session().and_then(|session| session.protocol_version()) == Some(ProtocolVersion::TLSv1_3)
        && asked.is_true()
    {
        stream.hurry(SECOND_THOUGHTS);
        match stream.read(&mut [0; 1]) {
            Err(error) if turned_away(&error) => return Err(text::failure(&error, at.limit, "negotiating TLS")),
            // It speaks, or waits for us, or has gone without a word about it.
            _ => {}
        }
    }
    Ok(Pass { warning: tls::warning(&stream, Some(profile)), ..words(&stream).into() })
}

fn turned_away(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>())
}

/// `TLS 1.3, certificate valid for 83 days`.
fn words(stream: &Stream) -> String {
    let session = stream.session();
    let version = match session.and_then(|session| session.protocol_version()) {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS 1.3",
    };
    let chain = session.and_then(|session| session.peer_certificates()).unwrap_or_default();
    match validity::remaining(chain, tls::now()) {
        None => version.to_owned(),
        Some(0) => format!("{version}, certificate expired"),
        Some(remaining) => format!("{version}, certificate valid for {}", about(remaining)),
    }
}
