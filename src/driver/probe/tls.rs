//! How certificates are judged: one rustls configuration per [`TlsProfile`], made when the configuration is loaded.
//!
//! Sessions are never resumed: a resumed handshake shows no certificate, and one that has expired would stay green.

mod identity;
mod reason;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

pub(super) use self::identity::Asked;
pub(super) use self::reason::failure;
use super::stream::Stream;
use super::text::{printable, words};
use super::validity;
use crate::config::{ClientIdentity, Config, Diagnostic, FileRole, Position, TlsProfile};
use crate::driver::{clock, wall_clock};

/// What a check of one profile speaks TLS with.
#[derive(Clone, Debug)]
pub(in crate::driver) struct Client {
    /// Trust.
    pub config: Arc<ClientConfig>,
    /// The name for SNI and the certificate where it is not the host.
    pub server_name: Option<String>,
}

impl Client {
    /// Whose certificate the server must show: `server_name`, or the host, or the address that was dialled.
    pub(super) fn name(&self, host: Option<&str>, target: SocketAddr) -> Result<ServerName<'static>, String> {
        match self.server_name.as_deref().or(host.map(without_port)) {
            None => Ok(ServerName::IpAddress(target.ip().into())),
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| format!("\"{}\" cannot be the name on a certificate", printable(name.as_bytes()))),
        }
    }
}

/// A `Host` header may name a port, and brackets an IPv6 address.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| if name.contains(':') { host } else { name }),
    }
}

/// One client per profile; profiles that trust and show the same share their configuration.
pub(in crate::driver) fn load<'p>(
    config: &Config,
    profiles: impl Iterator<Item = &'p TlsProfile>,
) -> Result<BTreeMap<TlsProfile, Client>, Vec<Diagnostic>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut loader = Loader { provider, trusts: BTreeMap::new(), identities: BTreeMap::new(), made: BTreeMap::new() };
    let mut clients = BTreeMap::new();
    for profile in profiles {
        if let (false, Some(config)) = (clients.contains_key(profile), loader.client(profile)) {
            clients.insert(profile.clone(), Client { config, server_name: profile.server_name.clone() });
        }
    }
    let diagnostics = loader.faults(config);
    if diagnostics.is_empty() { Ok(clients) } else { Err(diagnostics) }
}

/// Which authorities are trusted: none needed, these, or the system's.
type TrustKey = (bool, Option<PathBuf>);

/// Everything that has been loaded, and what could not be.
struct Loader {
    provider: Arc<CryptoProvider>,
    trusts: BTreeMap<TrustKey, Result<Arc<dyn ServerCertVerifier>, String>>,
    identities: BTreeMap<ClientIdentity, Result<Arc<dyn ResolvesClientCert>, identity::Fault>>,
    made: BTreeMap<(TrustKey, Option<ClientIdentity>), Arc<ClientConfig>>,
}

impl Loader {
    /// Nothing when something of it cannot be loaded.
    fn client(&mut self, profile: &TlsProfile) -> Option<Arc<ClientConfig>> {
        let trust = (profile.verify, profile.ca_file.clone().filter(|_| profile.verify));
        let provider = &self.provider;
        let verifier = self.trusts.entry(trust.clone()).or_insert_with(|| {
            Ok(match &trust {
                (false, _) => Arc::new(AcceptAny(provider.clone())),
                (true, Some(path)) => Arc::new(Trust::only(path, provider)?),
                (true, None) => Arc::new(Trust::system(provider)?),
            })
        });
        let shown = profile.identity.as_ref().map(|identity| {
            self.identities.entry(identity.clone()).or_insert_with(|| identity::load(identity, provider)).as_ref().ok()
        });
        let (verifier, shown) = match (verifier, shown) {
            (Ok(verifier), None) => (verifier.clone(), None),
            (Ok(verifier), Some(Some(shown))) => (verifier.clone(), Some(shown.clone())),
            _ => return None,
        };
        let key = (trust, profile.identity.clone());
        if let Some(known) = self.made.get(&key) {
            return Some(known.clone());
        }
        let made = client_config(provider, verifier, shown).ok()?;
        self.made.insert(key, made.clone());
        Some(made)
    }

    fn faults(&self, config: &Config) -> Vec<Diagnostic> {
        let trusts = self.trusts.iter().filter_map(|((_, path), made)| {
            let fault = made.as_ref().err()?;
            Some(diagnose(config, (FileRole::CertificateAuthority, "ca_file"), path.as_deref(), fault))
        });
        let identities = self.identities.iter().filter_map(|(identity, made)| match made.as_ref().err()? {
            identity::Fault::Certificate(fault) => {
                let role = (FileRole::ClientCertificate, "client_certificate");
                Some(diagnose(config, role, Some(&identity.certificate), fault))
            }
            identity::Fault::Key(fault) => {
                Some(diagnose(config, (FileRole::ClientKey, "client_key"), Some(&identity.key), fault))
            }
        });
        trusts.chain(identities).flatten().collect()
    }
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    shown: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => builder.with_client_cert_resolver(shown),
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The fault at every place that names the file.
fn diagnose(config: &Config, (role, key): (FileRole, &str), path: Option<&Path>, fault: &str) -> Vec<Diagnostic> {
    let message = match path {
        Some(path) => format!("{key} \"{}\": {fault}", path.display()),
        None => fault.to_owned(),
    };
    let places = config.references.iter().filter(|named| named.role == role && Some(named.path.as_path()) == path);
    let mut found: Vec<Diagnostic> =
        places.map(|place| Diagnostic { position: place.position.clone(), message: message.clone() }).collect();
    if found.is_empty() {
        found.push(Diagnostic { position: Position { file: "tls".into(), line: 1, column: 1 }, message });
    }
    found
}

/// What a PEM file holds, which is at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = fs::read(path).map_err(|error| words(&error).into_owned())?;
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("not valid PEM: {}", printable(error.to_string().as_bytes())))?;
    if found.is_empty() {
        return Err("holds no certificate (BEGIN CERTIFICATE) in PEM form".into());
    }
    Ok(found)
}

/// Trusts a set of authorities; with a private one, also that very certificate when a server shows it as its own.
#[derive(Debug)]
struct Trust {
    webpki: Arc<WebPkiServerVerifier>,
    /// The content of `ca_file`.
    own: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn only(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Trust, String> {
        let own = certificates(path)?;
        let mut roots = RootCertStore::empty();
        for (index, certificate) in own.iter().enumerate() {
            roots.add(certificate.clone()).map_err(|_| format!("certificate {} is not a valid one", index + 1))?;
        }
        Trust::new(roots, own, provider)
    }

    fn system(provider: &Arc<CryptoProvider>) -> Result<Trust, String> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err("this system has no certificate authorities for https: install ca-certificates, \
                        or give the checks and hooks a ca_file, or checks verify = false"
                .into());
        }
        Trust::new(roots, Vec::new(), provider)
    }

    fn new(
        roots: RootCertStore,
        own: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Trust, String> {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Trust { webpki, own })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.webpki.verify_server_cert(certificate, intermediates, name, ocsp, now);
        // What `openssl req -x509` makes is marked as an authority, and webpki takes no authority for a server. Trusted
        // by name it is one all the same. By then webpki has looked at its dates, not yet at its name.
        let as_authority = judged.as_ref().is_err_and(is_authority) && self.own.contains(certificate);
        if as_authority {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether webpki's only objection is that the certificate is an authority's.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    other.0.to_string().contains("CaUsedAsEndEntity")
}

/// `verify = false`.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What people should know of the certificates that a server has shown.
pub(super) fn warning(stream: &Stream, profile: Option<&TlsProfile>) -> Option<String> {
    let min_validity = profile?.min_validity?;
    let remaining = validity::remaining(stream.session()?.peer_certificates()?, now())?;
    validity::warning(remaining, min_validity)
}

/// Since 1970, as certificates count.
pub(super) fn now() -> Duration {
    wall_clock().timestamp(clock()).since_epoch()
}
