//! The gRPC health protocol against the library that most servers use.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::bird::{self, Bird};
use crate::harness::cases::{case, config, routes, wait_for};
use crate::harness::herald::Herald;
use crate::harness::process::Process;
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const SERVER: &str = "10.98.0.11";

#[test]
fn servers_that_are_well_and_not() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let dir = site.servers.dir("grpc");
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=health.example.net"])
        .args(["-addext", "subjectAltName=DNS:health.example.net", "-keyout", &at("key.pem"), "-out", &at("cert.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/health.py");
    let (plain, secure) = (format!("{SERVER}:50051"), format!("{SERVER}:50052"));
    let arguments = [script.to_str().unwrap(), &plain, &secure, &at("cert.pem"), &at("key.pem")];
    let mut server = Process::start(&site.servers, &dir.join("log"), "/usr/bin/python3", &arguments);
    let check = |port: u16, more: &str| format!("type = \"grpc\"\nport = {port}\n{more}");
    let tls = format!("tls = true\nca_file = \"{}\"\nhost = \"health.example.net\"", at("cert.pem"));
    let mut cases = vec![
        case(SERVER, &check(50051, ""), true, "SERVING"),
        case(SERVER, &check(50051, "grpc_service = \"web\""), true, "SERVING"),
        case(SERVER, &check(50052, &tls), true, "SERVING"),
        case(SERVER, &check(50051, "grpc_service = \"sick\""), false, "NOT_SERVING"),
        case(SERVER, &check(50051, "grpc_service = \"none\""), false, "the server does not know the service"),
        case(SERVER, &check(50052, ""), false, "connection "),
    ];
    let herald = Herald::start(&site.herald, &config(&neighbour, &cases));
    wait_for(&herald, &cases);
    wait::until_equal("the routes", &routes(&neighbour, &bird, &cases), || bird.table());
    server.signal(Signal::STOP);
    cases.truncate(3);
    for case in &mut cases {
        (case.up, case.detail) = (false, "timed out after 400 ms while ");
    }
    wait_for(&herald, &cases);
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    server.signal(Signal::KILL);
    server.wait();
    cases.iter_mut().for_each(|case| case.detail = "connection refused");
    wait_for(&herald, &cases);
}
