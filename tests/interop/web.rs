//! What http, https and tls checks can ask besides, against nginx and `openssl s_server`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::harness::bird::{self, Bird};
use crate::harness::cases::{Case, case, config, routes, wait_for};
use crate::harness::herald::Herald;
use crate::harness::lab::Namespace;
use crate::harness::process::Process;
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const SERVER: &str = "10.98.0.11";

/// An authority of our own, by Debian's openssl.
struct Authority {
    dir: PathBuf,
}

impl Authority {
    fn new(namespace: &Namespace) -> Authority {
        let authority = Authority { dir: namespace.dir("authority") };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "365",
            "-subj",
            "/CN=authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ]);
        authority
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").current_dir(&self.dir).args(arguments).output().unwrap();
        assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
    }

    /// A certificate for a name and the server's address; `days` may lie in the past.
    fn issue(&self, name: &str, days: i32) -> (PathBuf, PathBuf) {
        let file = |kind: &str| format!("{name}.{kind}");
        fs::write(self.dir.join(file("ext")), format!("subjectAltName=DNS:{name},IP:{SERVER}\n")).unwrap();
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &file("key"),
            "-out",
            &file("csr"),
        ]);
        let (days, ext) = (days.to_string(), file("ext"));
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &file("csr"),
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            &days,
            "-extfile",
            &ext,
            "-out",
            &file("pem"),
        ]);
        (self.dir.join(file("pem")), self.dir.join(file("key")))
    }

    fn file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }
}

fn nginx(namespace: &Namespace, authority: &Authority) -> Process {
    let dir = namespace.dir("nginx");
    let (certificate, key) = authority.issue("www.example.net", 30);
    let (other, other_key) = authority.issue("other.example.net", 30);
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp: String = temp.iter().map(|kind| format!("{kind}_temp_path {}/{kind}; ", dir.display())).collect();
    let text = format!(
        r#"daemon off; master_process off; error_log {0}/error.log; pid {0}/pid; events {{}}
http {{ access_log off; {temp}
  server {{ listen {SERVER}:8080;
    location = /json {{ default_type application/json; return 200 '{{"status":"ok","queue":{{"length":0}}}}'; }}
    location = /version {{ return 200 "test"; }}
    location = /busy {{ return 429 "busy"; }}
    location = /worn {{ add_header X-Degraded yes; return 200 "ready"; }}
    location = /version-of {{ return 200 "$server_protocol $request_method $http_x_who"; }}
    location = /header {{ add_header X-Ready "yes indeed"; return 200; }}
    location / {{ return 404; }}
  }}
  server {{ listen {SERVER}:8443 ssl; server_name www.example.net; ssl_certificate {1}; ssl_certificate_key {2};
    location / {{ return 200 "www $ssl_server_name $http_host"; }} }}
  server {{ listen {SERVER}:8443 ssl; server_name other.example.net; ssl_certificate {3}; ssl_certificate_key {4};
    location / {{ return 200 "other $ssl_server_name $http_host"; }} }}
  server {{ listen {SERVER}:9443 ssl; ssl_certificate {1}; ssl_certificate_key {2};
    ssl_client_certificate {5}; ssl_verify_client on; location / {{ return 200 "$ssl_client_s_dn"; }} }}
}}
"#,
        dir.display(),
        certificate.display(),
        key.display(),
        other.display(),
        other_key.display(),
        authority.file().display(),
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let arguments = ["-e", &path(&dir.join("error.log")), "-c", &path(&file), "-p", &path(&dir)];
    let mut process = Process::start(namespace, &dir.join("log"), "nginx", &arguments);
    process.wait_for_port(8080);
    process
}

/// `openssl s_server`, which answers nothing: handshakes are what it is for.
fn s_server(namespace: &Namespace, port: u16, identity: &(PathBuf, PathBuf), more: &[&str]) -> Process {
    let (certificate, key) = (identity.0.to_str().unwrap(), identity.1.to_str().unwrap());
    let accept = format!("{SERVER}:{port}");
    let own = ["s_server", "-quiet", "-accept", &accept, "-cert", certificate, "-key", key];
    let log = namespace.dir("s_server").join("log");
    let mut process = Process::start(namespace, &log, "openssl", &[&own[..], more].concat());
    process.wait_for_port(port);
    process
}

fn http(path: &str, more: &str) -> String {
    format!("type = \"http\"\nport = 8080\npath = \"{path}\"\n{more}")
}

fn answers() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |path: &str, more: &str, up: bool, detail: &'static str| {
        cases.push(case(SERVER, &http(path, more), up, detail));
    };
    add("/json", "expect = { json = { \"/status\" = \"ok\", \"/queue/length\" = 0 } }", true, "200 OK");
    add("/json", "expect = { json = { \"/queue/length\" = 1 } }", false, "/queue/length is 0, expected 1");
    add("/version", "expect = { json = { \"/status\" = \"ok\" } }", false, "body is not JSON");
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    add("/version", &format!("expect = {{ body_sha256 = \"{digest}\" }}"), true, "200 OK");
    add("/json", &format!("expect = {{ body_sha256 = \"{digest}\" }}"), false, "body has SHA-256 ");
    add("/busy", "degraded = { status = [429] }", true, "429 Too Many Requests (degraded)");
    add("/busy", "", false, "status 429 Too Many Requests, expected 200-299");
    add("/worn", "degraded = { header = { X-Degraded = true }, weight = \"10%\" }", true, "200 OK (degraded)");
    add("/version-of", "http_version = \"1.0\"\nexpect = { body = \"HTTP/1.0 GET\" }", true, "200 OK");
    let post =
        "method = \"POST\"\nbody = \"x\"\nheaders = { X-Who = \"me\" }\nexpect = { body = \"HTTP/1.1 POST me\" }";
    add("/version-of", post, true, "200 OK");
    add("/header", "expect = { header = { X-Ready = { regex = \"^yes\" }, Server = \"nginx\" } }", true, "200 OK");
    add(
        "/header",
        "expect = { header = { X-Ready = \"no\" } }",
        false,
        "header x-ready is \"yes indeed\", expected \"no\"",
    );
    add("/header", "expect = { header = { X-Other = true } }", false, "there is no header x-other");
    cases
}

#[test]
fn answers_are_looked_at_closely() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let authority = Authority::new(&site.servers);
    let mut server = nginx(&site.servers, &authority);
    let cases = answers();
    let herald = Herald::start(&site.herald, &config(&neighbour, &cases));
    let states: Vec<_> =
        cases.iter().map(|case| if case.detail.contains("degraded") { "degraded" } else { "up" }).collect();
    wait::until("states and details", || {
        let status = herald.status()?;
        for (number, (case, state)) in cases.iter().zip(&states).enumerate() {
            let backend = &status["services"][number]["backends"][0];
            let detail = backend["checks"][0]["detail"].as_str().unwrap_or_default();
            let state = if case.up { *state } else { "down" };
            // One that is degraded says so even where its weight of 1 has no half.
            let is_right = backend["state"] == state && detail.starts_with(case.detail);
            if !is_right {
                return Err(format!("{}: {backend}", case.check));
            }
        }
        Ok(())
    });
    wait::until_equal("the routes", &routes(&neighbour, &bird, &cases), || bird.table());
    server.signal(Signal::STOP);
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    server.signal(Signal::CONT);
    wait::until_equal("the routes again", &routes(&neighbour, &bird, &cases), || bird.table());
    server.stop();
}

#[test]
fn certificates_are_judged_on_both_sides() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let authority = Authority::new(&site.servers);
    let _nginx = nginx(&site.servers, &authority);
    let (certificate, key) = authority.issue("herald.example.net", 30);
    let [good, soon, expired] =
        [("good", 60), ("soon", 9), ("expired", -1)].map(|(name, days)| authority.issue(name, days));
    let _servers = [
        s_server(&site.servers, 4430, &good, &[]),
        s_server(&site.servers, 4431, &soon, &[]),
        s_server(&site.servers, 4432, &expired, &[]),
        s_server(&site.servers, 4433, &good, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
        s_server(
            &site.servers,
            4434,
            &good,
            &["-Verify", "1", "-verify_return_error", "-CAfile", authority.file().to_str().unwrap()],
        ),
        s_server(&site.servers, 4435, &good, &["-tls1_2"]),
    ];
    let ours = format!("client_certificate = \"{}\"\nclient_key = \"{}\"", certificate.display(), key.display());
    let trusts = format!("ca_file = \"{}\"\n", authority.file().display());
    let tls = |port: u16, more: &str| format!("type = \"tls\"\nport = {port}\n{trusts}{more}");
    let https = |port: u16, more: &str| format!("type = \"https\"\nport = {port}\n{trusts}{more}");
    let cases = vec![
        case(SERVER, &tls(4430, ""), true, "TLS 1.3, certificate valid for 5"),
        case(SERVER, &tls(4435, ""), true, "TLS 1.2, certificate valid for 5"),
        case(
            SERVER,
            &tls(4430, "host = \"wrong.example.net\""),
            false,
            "certificate not valid for wrong.example.net, only for ",
        ),
        case(SERVER, &tls(4431, "min_validity = \"14d\""), true, "TLS 1.3, certificate valid for 8 days"),
        case(SERVER, &tls(4432, ""), false, "certificate expired"),
        case(SERVER, &tls(4433, ""), false, "the server "),
        case(SERVER, &tls(4434, ""), false, "the server refused TLS: it wants a client certificate"),
        case(SERVER, &tls(4434, &ours), true, "TLS 1.3, certificate valid for 5"),
        case(SERVER, &tls(8080, ""), false, "the server does not speak TLS"),
        case(SERVER, "type = \"tls\"\nport = 4430", false, "unknown certificate authority"),
        // The name for SNI and the Host header may differ, as they may be the same.
        case(
            SERVER,
            &https(8443, "host = \"www.example.net\"\nexpect = { body = \"www www.example.net www.\" }"),
            true,
            "200 OK",
        ),
        case(
            SERVER,
            &https(
                8443,
                "server_name = \"other.example.net\"\nhost = \"www.example.net\"\nexpect = { body = \"other.example.net www.example.net\" }",
            ),
            true,
            "200 OK",
        ),
        case(SERVER, &https(9443, ""), false, "status 400 Bad Request"),
        case(SERVER, &https(9443, &format!("{ours}\nexpect = {{ body = \"CN=herald.example.net\" }}")), true, "200 OK"),
    ];
    let herald = Herald::start(&site.herald, &config(&neighbour, &cases));
    wait_for(&herald, &cases);
    let status = herald.status().unwrap();
    let warning = &status["services"][3]["backends"][0]["checks"][0]["warning"];
    assert_eq!(warning, "certificate expires in 8 days, min_validity is 14 days");
    wait::until("a line in the log", || {
        let log = herald.log();
        if log.contains("warns: certificate expires in 8 days") { Ok(()) } else { Err(log) }
    });
}
