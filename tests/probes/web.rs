//! What `http` can ask and expect besides, and the `tls` check.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use herald::config::{
    ClientIdentity, Config, Degraded, Diagnostic, FileReference, FileRole, HeaderMatch, HttpProbe, HttpVersion,
    JsonMatch, Pattern, Position, ProbeKind, StatusRange, TlsProfile, Weight,
};
use herald::driver::probe::Prober;
use herald::health::ProbeOutcome;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::support::{PLENTY, SHORT, Server, Talk, config, fails, http, passes, request, run};

fn get(server: &Server, probe: HttpProbe) -> ProbeOutcome {
    run(server.address, ProbeKind::Http(probe), PLENTY)
}

fn text(text: &str) -> Pattern {
    Pattern::Contains(text.into())
}

fn header(name: &str, value: Option<Pattern>) -> HeaderMatch {
    HeaderMatch { name: name.into(), value }
}

fn json(pointer: &str, value: &str) -> JsonMatch {
    JsonMatch { pointer: pointer.into(), value: value.into() }
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_request_has_a_version_and_content() {
    let (server, requests) = Server::hears("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let probe = HttpProbe {
        version: HttpVersion::Http10,
        method: "POST".into(),
        content: b"{\"who\":\"herald\"}".to_vec(),
        ..http()
    };
    passes(&get(&server, probe), "200 OK");
    let head = requests.recv().unwrap();
    assert!(head.starts_with("POST / HTTP/1.0\r\n") && head.contains("\r\nContent-Length: 16\r\n"), "{head}");
    // The content itself: a server that reads it all.
    let echo = Server::v4(|talk| {
        let head = talk.request();
        let mut content = [0; 4];
        talk.stream.read_exact(&mut content).unwrap();
        assert!(head.contains("Content-Length: 4"));
        talk.say(answer("200 OK", std::str::from_utf8(&content).unwrap()));
    });
    let probe = HttpProbe { method: "PUT".into(), content: b"ping".to_vec(), body: Some(text("ping")), ..http() };
    passes(&get(&echo, probe), "200 OK");
}

#[test]
fn headers_are_expected() {
    let server = Server::answers(answer("200 OK\r\nX-Ready: no\r\nX-Ready: yes\r\nServer: nginx/1.2", ""));
    let expects = |wanted| get(&server, HttpProbe { header: vec![wanted], ..http() });
    passes(&expects(header("x-ready", Some(text("yes")))), "200 OK");
    passes(&expects(header("server", None)), "200 OK");
    let regex = Pattern::Regex(regex::bytes::Regex::new("^nginx/2").unwrap());
    fails(&expects(header("server", Some(regex))), "header server is \"nginx/1.2\", expected /^nginx/2/");
    fails(&expects(header("x-none", None)), "there is no header x-none");
}

#[test]
fn json_is_looked_into() {
    let server = Server::answers(answer("200 OK", r#"{"status":"ok","queue":{"length":3,"a/b":[true,null,1.5]}}"#));
    let expects = |pointer: &str, value: &str| get(&server, HttpProbe { json: vec![json(pointer, value)], ..http() });
    for (pointer, value) in [
        ("/status", "\"ok\""),
        ("/queue/length", "3"),
        ("/queue/length", "3.0"),
        ("/queue/a~1b/0", "true"),
        ("/queue/a~1b/2", "1.5"),
    ] {
        passes(&expects(pointer, value), "200 OK");
    }
    fails(&expects("/status", "\"degraded\""), "/status is \"ok\", expected \"degraded\"");
    fails(&expects("/queue/length", "\"3\""), "/queue/length is 3, expected \"3\"");
    fails(&expects("/queue/width", "3"), "body has no /queue/width");
    let wrong = Server::answers(answer("200 OK", "<html>"));
    let outcome = get(&wrong, HttpProbe { json: vec![json("/x", "1")], ..http() });
    assert!(outcome.detail.starts_with("body is not JSON: "), "{outcome:?}");
    let long = Server::answers(answer("200 OK", &format!("[{}1]", "1,".repeat(100))));
    let outcome = get(&long, HttpProbe { json: vec![json("/0", "1")], max_body: 50, ..http() });
    fails(&outcome, "body of more than 50 bytes");
}

#[test]
fn a_digest_is_of_the_whole_body() {
    // sha256("test")
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let octets: Vec<u8> = (0..32).map(|n| u8::from_str_radix(&digest[2 * n..2 * n + 2], 16).unwrap()).collect();
    let probe = HttpProbe { digest: Some(octets.try_into().unwrap()), ..http() };
    passes(&get(&Server::answers(answer("200 OK", "test")), probe.clone()), "200 OK");
    let outcome = get(&Server::answers(answer("200 OK", "tes")), probe);
    assert!(outcome.detail.starts_with("body has SHA-256 ") && outcome.detail.ends_with(digest), "{outcome:?}");
}

#[test]
fn an_answer_may_be_degraded() {
    let degraded = Degraded {
        status: vec![StatusRange { first: 429, last: 429 }],
        header: vec![header("x-degraded", None)],
        weight: Weight::Percent(30),
    };
    let probe = || HttpProbe { degraded: Some(degraded.clone()), body: Some(text("ready")), ..http() };
    let outcome = get(&Server::answers(answer("429 Too Many Requests", "")), probe());
    passes(&outcome, "429 Too Many Requests (degraded)");
    assert_eq!(outcome.weight, Some(Weight::Percent(30)));
    let outcome = get(&Server::answers(answer("200 OK\r\nX-Degraded: 1", "ready")), probe());
    passes(&outcome, "200 OK (degraded)");
    assert_eq!(outcome.weight, Some(Weight::Percent(30)));
    // A header alone does not make good what is wrong.
    fails(&get(&Server::answers(answer("200 OK\r\nX-Degraded: 1", "")), probe()), "body does not contain \"ready\"");
    let outcome = get(&Server::answers(answer("200 OK", "ready")), probe());
    assert_eq!((outcome.passed, outcome.weight), (true, None));
    fails(&get(&Server::answers(answer("503 No", "")), probe()), "status 503 Service Unavailable, expected 200-299");
}

/// An authority, and files with what it has issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

/// A certificate and its key, in files and as they are.
struct Issued {
    certificate: PathBuf,
    key: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    secret: Vec<u8>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { issuer, directory: tempfile::tempdir().unwrap() };
        std::fs::write(authority.file(), authority.issuer.pem()).unwrap();
        authority
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// For loopback, for so many days from now.
    fn issue(&self, name: &str, days: i64) -> Issued {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), name.to_owned()]).unwrap();
        let now = std::time::UNIX_EPOCH + herald::driver::wall_clock().timestamp(herald::driver::clock()).since_epoch();
        params.not_after = (now + Duration::from_secs(days as u64 * 86_400 + 3600)).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |kind: &str| self.directory.path().join(format!("{name}-{kind}.pem"));
        std::fs::write(path("certificate"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        Issued {
            certificate: path("certificate"),
            key: path("key"),
            chain: vec![certificate.der().clone()],
            secret: key.serialize_der(),
        }
    }
}

/// A TLS server that shows this, and wants a certificate of that authority if one is given.
fn tls_server(issued: &Issued, clients: Option<&Authority>) -> Server {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap(),
            )
        }
    };
    let key = PrivateKeyDer::Pkcs8(issued.secret.clone().into());
    let config = Arc::new(builder.with_single_cert(issued.chain.clone(), key).unwrap());
    Server::v4(move |talk| {
        let stream = talk.stream.try_clone().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        let mut piece = [0; 4096];
        if tls.read(&mut piece).is_ok_and(|count| count > 0) {
            let _ = tls.write_all(answer("200 OK", "ready").as_bytes());
        }
        let _ = tls.flush();
    })
}

fn profile(authority: &Authority) -> TlsProfile {
    TlsProfile { ca_file: Some(authority.file()), ..TlsProfile::default() }
}

fn handshake(server: &Server, profile: TlsProfile) -> ProbeOutcome {
    run(server.address, ProbeKind::Tls(profile), PLENTY)
}

#[test]
fn a_handshake_tells_for_how_long_the_certificate_is_valid() {
    let authority = Authority::new();
    let server = tls_server(&authority.issue("www", 83), None);
    passes(&handshake(&server, profile(&authority)), "TLS 1.3, certificate valid for 83 days");
    let named = TlsProfile { server_name: Some("other.example.net".into()), ..profile(&authority) };
    let outcome = handshake(&server, named.clone());
    assert!(outcome.detail.starts_with("certificate not valid for other.example.net, only for "), "{outcome:?}");
    assert!(!outcome.passed);
    let any = TlsProfile { verify: false, ca_file: None, ..named };
    passes(&handshake(&server, any), "TLS 1.3, certificate valid for 83 days");
    let plain = Server::v4(|talk| {
        talk.say("HTTP/1.1 400 Bad Request\r\n\r\n");
        talk.linger();
    });
    fails(&handshake(&plain, profile(&authority)), "the server does not speak TLS");
    let silent = Server::v4(Talk::linger);
    let outcome = run(silent.address, ProbeKind::Tls(profile(&authority)), SHORT);
    fails(&outcome, "timed out after 200 ms while negotiating TLS");
}

#[test]
fn a_certificate_that_ends_soon_warns() {
    let authority = Authority::new();
    let server = tls_server(&authority.issue("www", 9), None);
    let days = |days: u64| TlsProfile { min_validity: Some(Duration::from_secs(days * 86_400)), ..profile(&authority) };
    let warning = "certificate expires in 9 days, min_validity is 14 days";
    assert_eq!(handshake(&server, days(14)).warning.as_deref(), Some(warning));
    assert_eq!(handshake(&server, days(9)).warning, None);
    let web = HttpProbe { tls: Some(days(14)), ..http() };
    let outcome = get(&server, web);
    passes(&outcome, "200 OK");
    assert_eq!(outcome.warning.as_deref(), Some(warning));
}

#[test]
fn a_server_may_ask_who_we_are() {
    let authority = Authority::new();
    let server = tls_server(&authority.issue("www", 30), Some(&authority));
    let ours = authority.issue("herald", 30);
    let identity = ClientIdentity { certificate: ours.certificate, key: ours.key };
    let known = TlsProfile { identity: Some(identity), ..profile(&authority) };
    passes(&handshake(&server, known.clone()), "TLS 1.3, certificate valid for 30 days");
    passes(&get(&server, HttpProbe { tls: Some(known), ..http() }), "200 OK");
    // In TLS 1.3 the refusal comes after the handshake.
    fails(
        &handshake(&server, profile(&authority)),
        "the server refused TLS: it wants a client certificate (CertificateRequired)",
    );
}

/// What is wrong with what we would show is said when the configuration is loaded, where it is named, and never a secret.
#[test]
fn what_we_show_is_looked_at_before() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("one", 30), authority.issue("other", 30));
    let garbage = authority.directory.path().join("garbage.pem");
    std::fs::write(&garbage, "no PEM").unwrap();
    let encrypted = authority.directory.path().join("encrypted.pem");
    std::fs::write(&encrypted, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .unwrap();
    let missing = authority.directory.path().join("missing.pem");
    for (certificate, key, place, fault) in [
        (&one.certificate, &other.key, "key", "does not belong to the certificate in"),
        (&one.certificate, &garbage, "key", "holds no private key (BEGIN PRIVATE KEY) in PEM form"),
        (&one.certificate, &encrypted, "key", "the key is encrypted"),
        (&one.certificate, &missing, "key", "no such file"),
        (&garbage, &one.key, "certificate", "holds no certificate (BEGIN CERTIFICATE) in PEM form"),
    ] {
        let identity = ClientIdentity { certificate: certificate.clone(), key: key.clone() };
        let profile = TlsProfile { identity: Some(identity), ..profile(&authority) };
        let at = |file: &str, line| Position { file: file.into(), line, column: 1 };
        let references = vec![
            FileReference {
                position: at("certificate", 1),
                path: certificate.clone(),
                role: FileRole::ClientCertificate,
            },
            FileReference { position: at("key", 2), path: key.clone(), role: FileRole::ClientKey },
        ];
        let request = request("127.0.0.1:1".parse().unwrap(), ProbeKind::Tls(profile), PLENTY);
        let faults: Vec<Diagnostic> =
            Prober::new(&Config { references, ..config(&request) }).err().unwrap_or_else(|| panic!("{fault}"));
        assert!(faults.len() == 1 && faults[0].message.contains(fault), "{faults:?}");
        assert_eq!(&*faults[0].position.file, place);
    }
}
