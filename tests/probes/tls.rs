//! `https`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};

use herald::config::{
    Check, Config, Diagnostic, Egress, FileReference, FileRole, HttpProbe, Pattern, Position, Probe, ProbeKind, Timing,
    TlsProfile,
};
use herald::driver::probe::Prober;
use herald::health::ProbeOutcome;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use crate::support::{PLENTY, SHORT, Server, Talk, fails, http, millis, passes, request, run};

const NAME: &str = "www.example.net";

/// An authority of our own, in a file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    _directory: tempfile::TempDir,
    pub(crate) file: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("authority {:x?}", &key.public_key_raw()[1..9]));
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let (directory, file) = pem_file(&issuer.pem());
        Authority { issuer, _directory: directory, file }
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.der().clone(), key: key.serialize_der() }
    }
}

fn pem_file(pem: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    (directory, file)
}

/// What a server shows.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

pub(crate) fn named(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

/// What a server learned from one connection.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    sni: Option<String>,
    full_handshake: bool,
    closed_politely: bool,
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>, Mutex<Option<String>>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        *self.1.lock().unwrap() = hello.server_name().map(str::to_owned);
        Some(self.0.clone())
    }
}

/// An HTTPS server that would resume sessions, and says "ready".
fn server(identity: &Identity) -> (Server, mpsc::Receiver<Heard>) {
    let (heard, reports) = mpsc::channel();
    let shows = Arc::new(Shows(certified(identity), Mutex::default()));
    let config = server_config(shows.clone());
    let server = Server::v4(move |talk| {
        let stream = talk.stream.try_clone().unwrap();
        let tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        if let Some((full_handshake, closed_politely)) = answer(tls) {
            let _ = heard.send(Heard { sni: shows.1.lock().unwrap().take(), full_handshake, closed_politely });
        }
    });
    (server, reports)
}

/// An HTTPS server that says this, and what it reads: heads, whose content is left unread but once it has answered.
pub(crate) fn serve_https(identity: &Identity, answer: &'static str) -> (Server, mpsc::Receiver<String>) {
    use std::io::{Read, Write};
    let (heard, heads) = mpsc::channel();
    let config = server_config(Arc::new(Shows(certified(identity), Mutex::default())));
    let server = Server::v4(move |talk| {
        let stream = talk.stream.try_clone().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match tls.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let _ = heard.send(String::from_utf8(head).unwrap());
        let _ = tls.write_all(answer.as_bytes());
        let _ = tls.read(&mut [0; 4096]);
    });
    (server, heads)
}

fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(identity.key.clone().into())).unwrap();
    Arc::new(CertifiedKey::new(vec![identity.certificate.clone()], key))
}

fn server_config(shows: Arc<Shows>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(shows);
    config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
    Arc::new(config)
}

fn answer(mut tls: StreamOwned<ServerConnection, std::net::TcpStream>) -> Option<(bool, bool)> {
    use std::io::{Read, Write};
    let mut text = Vec::new();
    let mut piece = [0; 1024];
    while !text.ends_with(b"\r\n\r\n") {
        let count = tls.read(&mut piece).ok().filter(|&count| count > 0)?;
        text.extend_from_slice(&piece[..count]);
    }
    tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready").ok()?;
    // Zero is a close_notify; anything else is an error.
    let closed_politely = matches!(tls.read(&mut piece), Ok(0));
    Some((tls.conn.handshake_kind() == Some(HandshakeKind::Full), closed_politely))
}

/// Many servers end a body by closing the connection, without TLS's own farewell.
#[test]
fn a_rude_end_is_an_end() {
    let authority = Authority::new();
    let config = server_config(Arc::new(Shows(certified(&authority.issue(&named(NAME))), Mutex::default())));
    let server = Server::v4(move |talk| {
        use std::io::{Read, Write};
        let stream = talk.stream.try_clone().unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        let _ = tls.read(&mut [0; 1024]);
        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\n\r\nready");
    });
    let regex = regex::bytes::Regex::new("^ready$").unwrap();
    let probe = HttpProbe { body: Some(Pattern::Regex(regex)), ..https(Some(NAME), Some(&authority.file)) };
    passes(&get(&server, probe), "200 OK");
}

fn https(host: Option<&str>, ca_file: Option<&PathBuf>) -> HttpProbe {
    let tls = TlsProfile { verify: true, ca_file: ca_file.cloned(), ..TlsProfile::default() };
    HttpProbe { tls: Some(tls), host: host.map(str::to_owned), ..http() }
}

fn get(server: &Server, probe: HttpProbe) -> ProbeOutcome {
    run(server.address, ProbeKind::Http(probe), PLENTY)
}

#[test]
fn a_good_certificate_of_a_private_authority_passes() {
    let authority = Authority::new();
    let (server, heard) = server(&authority.issue(&named(NAME)));
    passes(&get(&server, https(Some(NAME), Some(&authority.file))), "200 OK");
    let expected = Heard { sni: Some(NAME.into()), full_handshake: true, closed_politely: true };
    assert_eq!(heard.recv().unwrap(), expected);
    // A port in the host is for the header only.
    passes(&get(&server, https(Some(&format!("{NAME}:8443")), Some(&authority.file))), "200 OK");
    assert_eq!(heard.recv().unwrap().sni.as_deref(), Some(NAME));
}

#[test]
fn every_connection_is_a_full_handshake() {
    let authority = Authority::new();
    let (server, heard) = server(&authority.issue(&named(NAME)));
    let request = request(server.address, ProbeKind::Http(https(Some(NAME), Some(&authority.file))), PLENTY);
    let prober = Prober::new(&crate::support::config(&request)).unwrap();
    for _ in 0..3 {
        passes(&prober.run(&request), "200 OK");
        assert!(heard.recv().unwrap().full_handshake);
    }
}

#[test]
fn the_server_name_stands_in_for_the_host() {
    let authority = Authority::new();
    let (server, heard) = server(&authority.issue(&named(NAME)));
    let mut probe = https(Some("other.example"), Some(&authority.file));
    fails(&get(&server, probe.clone()), &format!("certificate not valid for other.example, only for {NAME}"));
    if let Some(tls) = &mut probe.tls {
        tls.server_name = Some(NAME.into());
    }
    passes(&get(&server, probe), "200 OK");
    assert_eq!(heard.recv().unwrap().sni.as_deref(), Some(NAME));
}

#[test]
fn without_a_host_the_address_must_be_on_the_certificate() {
    let authority = Authority::new();
    let (good, heard) = server(&authority.issue(&named("127.0.0.1")));
    passes(&get(&good, https(None, Some(&authority.file))), "200 OK");
    assert_eq!(heard.recv().unwrap().sni, None);
    let (other, _) = server(&authority.issue(&named(NAME)));
    fails(
        &get(&other, https(None, Some(&authority.file))),
        &format!("certificate not valid for 127.0.0.1, only for {NAME}"),
    );
}

#[test]
fn dates_are_judged() {
    let authority = Authority::new();
    let today = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let date = |half_days: i64| {
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs((today + half_days * 43_200) as u64)
    };
    let mut expired = named(NAME);
    (expired.not_before, expired.not_after) = (date(-30), date(-7));
    let (server_of_old, _) = server(&authority.issue(&expired));
    fails(&get(&server_of_old, https(Some(NAME), Some(&authority.file))), "certificate expired 3 days ago");
    let mut early = named(NAME);
    (early.not_before, early.not_after) = (date(7), date(30));
    let (server_of_new, _) = server(&authority.issue(&early));
    let outcome = get(&server_of_new, https(Some(NAME), Some(&authority.file)));
    fails(&outcome, "certificate not valid before 3 days from now");
}

#[test]
fn strange_authorities_are_not_trusted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (server, _) = server(&theirs.issue(&named(NAME)));
    fails(&get(&server, https(Some(NAME), Some(&ours.file))), "unknown certificate authority");
    fails(&get(&server, https(Some(NAME), None)), "unknown certificate authority");
}

#[test]
fn a_self_signed_certificate_is_its_own_authority() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut params = named(NAME);
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (_directory, file) = pem_file(&certificate.pem());
        let (server, _) = server(&Identity { certificate: certificate.der().clone(), key: key.serialize_der() });
        passes(&get(&server, https(Some(NAME), Some(&file))), "200 OK");
        let other = format!("certificate not valid for other.example, only for {NAME}");
        fails(&get(&server, https(Some("other.example"), Some(&file))), &other);
        let outcome = get(&server, https(Some(NAME), Some(&Authority::new().file)));
        assert!(!outcome.passed && outcome.detail.contains("authority"), "{outcome:?}");
    }
}

#[test]
fn verification_can_be_turned_off() {
    let mut params = named("other.example");
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let (server, heard) = server(&Authority::new().issue(&params));
    let mut probe = https(Some(NAME), None);
    assert!(!get(&server, probe.clone()).passed);
    if let Some(tls) = &mut probe.tls {
        tls.verify = false;
    }
    passes(&get(&server, probe.clone()), "200 OK");
    assert_eq!(heard.recv().unwrap().sni.as_deref(), Some(NAME));
    probe.host = None;
    passes(&get(&server, probe), "200 OK");
}

#[test]
fn a_server_without_tls_is_told_so() {
    let authority = Authority::new();
    let plain = Server::v4(|talk| {
        talk.say("HTTP/1.1 400 Bad Request\r\n\r\n");
        talk.linger();
    });
    fails(&get(&plain, https(Some(NAME), Some(&authority.file))), "the server does not speak TLS");
    let closes = Server::v4(|talk| {
        use std::io::Read;
        let _ = talk.stream.read(&mut [0; 65536]);
    });
    let outcome = get(&closes, https(Some(NAME), Some(&authority.file)));
    fails(&outcome, "connection closed while negotiating TLS");
}

#[test]
fn a_stuck_handshake_ends_at_the_deadline() {
    let authority = Authority::new();
    let silent = Server::v4(Talk::linger);
    let probe = ProbeKind::Http(https(Some(NAME), Some(&authority.file)));
    let outcome = run(silent.address, probe.clone(), SHORT);
    fails(&outcome, "timed out after 200 ms while negotiating TLS");
    let dripping = Server::v4(|talk| {
        // The head of a handshake record of 16,384 bytes, and then a byte now and then.
        talk.say([22, 3, 3, 64, 0]);
        while talk.pause(millis(15)) && talk.say([0]) {}
    });
    let outcome = run(dripping.address, probe, SHORT);
    assert!(!outcome.passed);
}

#[test]
fn unusable_files_are_told_where_they_are_named() {
    let (_directory, file) = pem_file("not a certificate");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let (_other_directory, garbage) = pem_file(broken);
    let missing = PathBuf::from("/does/not/exist.pem");
    let position = |line| Position { file: "herald.toml".into(), line, column: 3 };
    let files = [file, garbage, missing];
    let target = "127.0.0.1:1".parse().unwrap();
    let check = |file| Check {
        probe: Arc::new(Probe { target, egress: Egress::default(), kind: ProbeKind::Http(https(None, Some(file))) }),
        timing: Timing::default(),
    };
    let reference = |(line, path): (usize, &PathBuf)| FileReference {
        position: position(line),
        path: path.clone(),
        role: FileRole::CertificateAuthority,
    };
    let config = Config {
        checks: files.iter().map(check).collect(),
        references: files.iter().enumerate().map(reference).collect(),
        ..Config::default()
    };
    let mut faults = Prober::new(&config).err().unwrap();
    faults.sort();
    let expect = |line: usize, text: &str| Diagnostic {
        position: position(line),
        message: format!("ca_file \"{}\": {text}", files[line].display()),
    };
    let expected = [
        expect(0, "holds no certificate (BEGIN CERTIFICATE) in PEM form"),
        expect(1, "certificate 1 is not a valid one"),
        expect(2, "no such file"),
    ];
    assert_eq!(faults, expected);
}
