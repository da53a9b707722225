//! What we show to a server that asks who we are.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::sign::CertifiedKey;

use crate::config::ClientIdentity;
use crate::driver::probe::text::words;

/// What is wrong, with which of the two files. The key itself is in no text.
#[derive(Debug)]
pub(super) enum Fault {
    Certificate(String),
    Key(String),
}

/// Shows one certificate to whoever asks.
#[derive(Debug)]
struct Show(Arc<CertifiedKey>);

impl ResolvesClientCert for Show {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Shows what another would, and remembers that somebody asked.
#[derive(Debug)]
pub(in crate::driver::probe) struct Asked {
    inner: Arc<dyn ResolvesClientCert>,
    asked: AtomicBool,
}

impl Asked {
    pub(in crate::driver::probe) fn new(inner: Arc<dyn ResolvesClientCert>) -> Asked {
        Asked { inner, asked: AtomicBool::new(false) }
    }

    /// Whether somebody has asked.
    pub(in crate::driver::probe) fn is_true(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// Reads both files; the key must belong to the first certificate.
pub(super) fn load(identity: &ClientIdentity, provider: &CryptoProvider) -> Result<Arc<dyn ResolvesClientCert>, Fault> {
    let chain = super::certificates(&identity.certificate).map_err(Fault::Certificate)?;
    let pem = fs::read(&identity.key).map_err(|error| Fault::Key(words(&error).into_owned()))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let encrypted = pem.windows(9).any(|window| window == b"ENCRYPTED");
        Fault::Key(match error {
            PemError::NoItemsFound if encrypted => "the key is encrypted: Herald has no passphrase for it".into(),
            PemError::NoItemsFound => "holds no private key (BEGIN PRIVATE KEY) in PEM form".into(),
            _ => "is not valid PEM".into(),
        })
    })?;
    let signer = provider.key_provider.load_private_key(key);
    let signer = signer.map_err(|_| Fault::Key("is not a key that we can sign with (RSA, ECDSA or Ed25519)".into()))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(Fault::Key(format!("does not belong to the certificate in {}", identity.certificate.display())))
        }
        Err(rustls::Error::InvalidCertificate(_)) => {
            Err(Fault::Certificate("the first certificate is not a valid one".into()))
        }
        // Where the key does not tell its public half, the server will say.
        _ => Ok(Arc::new(Show(Arc::new(certified)))),
    }
}
