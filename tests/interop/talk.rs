//! Checks that talk over TCP, against Debian's servers: each passes, and fails for the right reason.

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
const ANSWERED: &str = "answered as expected";

/// Something that listens on a port of the server.
fn start(namespace: &Namespace, name: &str, port: u16, program: &str, arguments: &[&str]) -> Process {
    let log = namespace.dir(name).join("log");
    let mut process = Process::start(namespace, &log, program, arguments);
    process.wait_for_port(port);
    process
}

fn redis(namespace: &Namespace, port: u16, more: &[&str]) -> Process {
    let dir = namespace.dir(&format!("redis-{port}"));
    let (port_text, dir) = (port.to_string(), dir.to_str().unwrap().to_owned());
    let own = ["--port", &port_text, "--bind", SERVER, "--save", "", "--protected-mode", "no", "--dir", &dir];
    start(namespace, "redis", port, "redis-server", &[&own[..], more].concat())
}

/// As its own user: the server refuses to be root.
fn postgres(namespace: &Namespace) -> Process {
    let dir = namespace.dir("postgres");
    let data = dir.join("data");
    let bin = newest("/usr/lib/postgresql");
    let as_postgres = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
    for path in [&dir, dir.parent().unwrap(), dir.parent().unwrap().parent().unwrap()] {
        namespace.run("chmod", &["a+rx", path.to_str().unwrap()]);
    }
    namespace.run("chown", &["postgres:postgres", dir.to_str().unwrap()]);
    let (initdb, server) = (bin.join("bin/initdb"), bin.join("bin/postgres"));
    let data = data.to_str().unwrap();
    let init = [initdb.to_str().unwrap(), "-D", data, "-A", "scram-sha-256", "--pwfile=/etc/hostname", "-N"];
    namespace.run("setpriv", &[&as_postgres[..], &init].concat());
    let socket = format!("unix_socket_directories={}", dir.to_str().unwrap());
    let listen = format!("listen_addresses={SERVER}");
    let run = [server.to_str().unwrap(), "-D", data, "-c", &listen, "-c", &socket, "-c", "fsync=off"];
    start(namespace, "postgres-log", 5432, "setpriv", &[&as_postgres[..], &run].concat())
}

/// The directory of the newest version.
fn newest(path: &str) -> PathBuf {
    let versions = fs::read_dir(path).unwrap().flatten().map(|entry| entry.path());
    versions.max().unwrap_or_else(|| panic!("nothing in {path}"))
}

fn mariadb(namespace: &Namespace) -> Process {
    let dir = namespace.dir("mariadb");
    let data = format!("--datadir={}", dir.join("data").display());
    namespace
        .run("mariadb-install-db", &["--no-defaults", &data, "--user=root", "--skip-test-db", "--skip-name-resolve"]);
    let (socket, pid) =
        (format!("--socket={}", dir.join("socket").display()), format!("--pid-file={}", dir.join("pid").display()));
    let bind = format!("--bind-address={SERVER}");
    let rest = ["--no-defaults", &data, "--user=root", &socket, &pid, &bind, "--port=3306", "--max-connect-errors=10"];
    start(namespace, "mariadb-log", 3306, "mariadbd", &rest)
}

fn ldap(namespace: &Namespace, port: u16, more: &str) -> Process {
    let dir = namespace.dir(&format!("slapd-{port}"));
    let text =
        format!("{more}include /etc/ldap/schema/core.schema\npidfile {0}/pid\nargsfile {0}/args\n", dir.display());
    let file = dir.join("slapd.conf");
    fs::write(&file, text).unwrap();
    let url = format!("ldap://{SERVER}:{port}/");
    start(
        namespace,
        &format!("slapd-log-{port}"),
        port,
        "slapd",
        &["-f", file.to_str().unwrap(), "-h", &url, "-d", "0"],
    )
}

fn smtp(namespace: &Namespace) -> Process {
    let listen = format!("{SERVER}:2525");
    start(namespace, "smtp", 2525, "/usr/bin/python3", &["-m", "aiosmtpd", "-n", "-l", &listen])
}

/// It believes what PROXY headers say, and tells whom it has heard of; in plain and over TLS.
fn haproxy(namespace: &Namespace) -> Process {
    let dir = namespace.dir("haproxy");
    certificate(&dir);
    let text = format!(
        "defaults\nmode http\ntimeout client 5s\ntimeout server 5s\ntimeout connect 5s\n\
         frontend plain\nbind {SERVER}:8090 accept-proxy\nbind {SERVER}:8091 accept-proxy ssl crt {}/both.pem\n\
         http-request return status 200 content-type text/plain lf-string \"you are %[src]\"\n",
        dir.display()
    );
    let file = dir.join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    start(namespace, "haproxy-log", 8090, "haproxy", &["-db", "-f", file.to_str().unwrap()])
}

/// A certificate and its key in one file.
fn certificate(dir: &Path) {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"])
        .args(["-subj", "/CN=test", "-keyout", &at("key.pem"), "-out", &at("cert.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let both = [fs::read(at("cert.pem")).unwrap(), fs::read(at("key.pem")).unwrap()].concat();
    fs::write(at("both.pem"), both).unwrap();
}

fn preset(name: &str, port: u16) -> String {
    format!("type = \"{name}\"\nport = {port}")
}

fn proxied(version: &str, more: &str) -> String {
    format!(
        "type = \"tcp\"\nproxy_protocol = \"{version}\"\nsend = \"GET / HTTP/1.0\\r\\n\\r\\n\"\n\
         expect = \"you are 10.98.0.1\"\n{more}"
    )
}

fn good() -> Vec<Case> {
    vec![
        case(SERVER, &preset("redis", 6379), true, ANSWERED),
        case(SERVER, &preset("postgres", 5432), true, ANSWERED),
        case(SERVER, &preset("mysql", 3306), true, ANSWERED),
        case(SERVER, &preset("ldap", 389), true, ANSWERED),
        case(SERVER, &preset("smtp", 2525), true, ANSWERED),
        case(SERVER, &proxied("v1", "port = 8090"), true, ANSWERED),
        case(SERVER, &proxied("v2", "port = 8090"), true, ANSWERED),
        case(SERVER, &proxied("v2", "port = 8091\ntls = true\nverify = false"), true, ANSWERED),
    ]
}

/// Somebody else at their ports, and words that are not theirs.
fn wrong() -> Vec<Case> {
    vec![
        case(SERVER, &preset("redis", 6380), false, "refused: NOAUTH Authentication required"),
        case(SERVER, &preset("redis", 3306), false, "connection closed while waiting for the redis answer; it said "),
        case(SERVER, &preset("smtp", 8090), false, "timed out after 400 ms while waiting for the smtp answer"),
        case(
            SERVER,
            &preset("ldap", 390),
            false,
            "refused: result 48, inappropriateAuthentication: anonymous bind disallowed",
        ),
        case(SERVER, &preset("ldap", 6379), false, "timed out after 400 ms while waiting for the ldap answer"),
        case(
            SERVER,
            "type = \"tcp\"\nport = 6379\nsend = \"PING\\r\\n\"\nexpect = \"+PING\"",
            false,
            "timed out after 400 ms while waiting for \"+PING\"; it said \"+PONG\"",
        ),
        case(SERVER, "type = \"tcp\"\nport = 2525\ntls = true", false, "the server does not speak TLS"),
        case(
            SERVER,
            "type = \"tcp\"\nport = 8091\ntls = true\nproxy_protocol = \"v1\"",
            false,
            "certificate is self-signed or an authority's own, and not among those that are trusted",
        ),
    ]
}

#[test]
fn servers_are_greeted_as_their_clients_do() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let servers = &site.servers;
    let mut processes = vec![
        redis(servers, 6379, &[]),
        redis(servers, 6380, &["--requirepass", "secret"]),
        postgres(servers),
        mariadb(servers),
        ldap(servers, 389, ""),
        ldap(servers, 390, "disallow bind_anon\n"),
        smtp(servers),
        haproxy(servers),
    ];
    let cases: Vec<Case> = good().into_iter().chain(wrong()).collect();
    let herald = Herald::start(&site.herald, &config(&neighbour, &cases));
    wait_for(&herald, &cases);
    wait::until_equal("the routes", &routes(&neighbour, &bird, &cases), || bird.table());

    // They are there, and say nothing.
    processes.iter().for_each(|process| process.signal(Signal::STOP));
    let mut silent = good();
    for case in &mut silent {
        case.up = false;
        case.detail = "timed out after 400 ms while ";
    }
    wait_for(&herald, &silent);
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    processes.iter().for_each(|process| process.signal(Signal::CONT));
    wait_for(&herald, &cases);

    // Nobody takes what is sent.
    servers.cut("to-herald");
    silent.iter_mut().for_each(|case| case.detail = "timed out after 400 ms while connecting");
    wait_for(&herald, &silent);
    servers.heal();
    wait_for(&herald, &cases);

    for process in &mut processes {
        process.signal(Signal::KILL);
        process.wait();
    }
    silent.iter_mut().for_each(|case| case.detail = "connection refused");
    wait_for(&herald, &silent);
}

/// MariaDB blocks hosts whose connections end before a login, after as many as it is told; ours log in, and are turned down.
#[test]
fn many_checks_of_a_database_do_not_have_us_blocked() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let _database = mariadb(&site.servers);
    let data = site.servers.dir("mariadb");
    let sql = |query: &str| {
        let socket = format!("--socket={}", data.join("socket").display());
        site.servers.run("mariadb", &["--no-defaults", &socket, "-uroot", "-N", "-e", query])
    };
    // Without a user from where we are, there would be no login to be turned down.
    sql("CREATE USER 'herald'@'%' IDENTIFIED BY 'unknown to us'");
    let cases = [case(SERVER, &preset("mysql", 3306), true, ANSWERED)];
    let text = config(&neighbour, &cases).replace("interval = \"500ms\"", "interval = \"20ms\"").replace("400ms", "2s");
    let herald = Herald::start(&site.herald, &text);
    wait_for(&herald, &cases);
    let count = || {
        let said = sql("SHOW GLOBAL STATUS LIKE 'Connections'");
        said.split_whitespace().last().and_then(|count| count.parse::<u32>().ok()).ok_or(said)
    };
    let before = count().unwrap();
    wait::until("a hundred checks", || match count() {
        Ok(now) if now >= before + 100 => Ok(()),
        other => Err(format!("{other:?}, from {before}")),
    });
    wait_for(&herald, &cases);
    assert!(!herald.log().contains("failing"), "{}", herald.log());
}
