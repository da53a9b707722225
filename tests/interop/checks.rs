//! Checks of every kind, end to end: from a real server to the router's table.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::nginx::Nginx;
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const TIMING: &str = "interval = \"500ms\"\ntimeout = \"500ms\"\nfall = 2\nrise = 2\nfast_interval = \"100ms\"\n";

/// One service on the IPv4 VIP with one backend at this port and this check.
fn config(neighbour: &Neighbour, check: &str, port: u16) -> String {
    let service = format!(
        "[[service]]\nname = \"one\"\nvips = [\"192.0.2.1\"]\nprotocol = \"tcp\"\nport = 443\nchecks = [\"one\"]\n\n\
         [[service.backend]]\naddress = \"10.98.0.11\"\nport = {port}\n"
    );
    format!("{}\n[checks.one]\n{check}\n{TIMING}\n{service}", site::bgp(neighbour, ""))
}

fn site_with_bird() -> (Site, Neighbour, Bird, Table) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let table = site::plain_table(&neighbour, &bird, &["192.0.2.1/32"]);
    (site, neighbour, bird, table)
}

/// A private authority, and a certificate of it for this name; `ca.pem`, `chain.pem`, `key.pem` in `dir`.
fn certificate(dir: &Path, name: &str) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    fs::write(dir.join("chain.pem"), certificate.pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn https_with_a_private_authority() {
    let (site, neighbour, bird, table) = site_with_bird();
    let (right, wrong) = (site.herald.dir("right"), site.herald.dir("wrong"));
    certificate(&right, "www.example.net");
    certificate(&wrong, "www.example.net");
    let start = || {
        let listen = ["10.98.0.11:8443"];
        Nginx::start_tls(&site.servers, "tls", &listen, &right.join("chain.pem"), &right.join("key.pem"))
    };
    let mut server = start();
    let check = |dir: &Path, host: &str| {
        let ca = dir.join("ca.pem");
        format!(
            "type = \"https\"\npath = \"/healthz\"\nhost = \"{host}\"\nca_file = \"{}\"\n\
             expect = {{ status = [\"200-299\"], body = \"ok from tls\" }}",
            ca.display()
        )
    };
    let good = config(&neighbour, &check(&right, "www.example.net"), 8443);
    let herald = Herald::start(&site.herald, &good);
    wait::until_equal("the route", &table, || bird.table());

    // Another authority, or another name: the certificate does not hold, and the VIP goes.
    for bad in [check(&wrong, "www.example.net"), check(&right, "www.example.org")] {
        herald.reload_good(&config(&neighbour, &bad, 8443));
        wait::until_equal("the withdrawal", &Table::new(), || bird.table());
        wait::until("the reason", || {
            let detail = herald.status()?["services"][0]["backends"][0]["checks"][0]["detail"].to_string();
            if detail.to_lowercase().contains("cert") { Ok(()) } else { Err(detail) }
        });
        herald.reload_good(&good);
        wait::until_equal("the route", &table, || bird.table());
    }
    server.kill();
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
}

#[test]
fn a_program_decides() {
    let (site, neighbour, bird, table) = site_with_bird();
    let flag = site.herald.dir("flag").join("healthy");
    fs::write(&flag, "").unwrap();
    let check = format!("type = \"exec\"\ncommand = [\"/usr/bin/test\", \"-e\", \"{}\"]", flag.display());
    let mut herald = Herald::start(&site.herald, &config(&neighbour, &check, 1));
    wait::until_equal("the route", &table, || bird.table());
    fs::remove_file(&flag).unwrap();
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    fs::write(&flag, "").unwrap();
    wait::until_equal("the route", &table, || bird.table());

    // A program that hangs, with a child that hangs, is a failure, and nothing of it stays.
    let hang = "type = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"sleep 600 & sleep 600\"]";
    herald.reload_good(&config(&neighbour, hang, 1));
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    herald.terminate();
    assert_eq!(herald.wait().code(), Some(0));
    herald.assert_nothing_left();
}

#[test]
fn a_server_that_hangs_is_withdrawn() {
    let (site, neighbour, bird, table) = site_with_bird();
    let server = site.server(0);
    let check = "type = \"http\"\npath = \"/healthz\"";
    let herald = Herald::start(&site.herald, &config(&neighbour, check, 8080));
    wait::until_equal("the route", &table, || bird.table());

    // The kernel still accepts connections for it: only an answer counts.
    server.freeze();
    let gone = wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    println!("server frozen: withdrawn after {} ms", gone.as_millis());
    let state = || herald.vip("192.0.2.1/32").map(|vip| vip["state"].clone());
    wait::stays("withdrawn", Duration::from_millis(300), &serde_json::json!("withdrawn"), state);
    server.thaw();
    wait::until_equal("the route", &table, || bird.table());
}

#[test]
fn a_tcp_check_needs_only_a_connection() {
    let (site, neighbour, bird, table) = site_with_bird();
    let mut server = site.server(0);
    let _herald = Herald::start(&site.herald, &config(&neighbour, "type = \"tcp\"", 8080));
    wait::until_equal("the route", &table, || bird.table());
    server.kill();
    wait::until_equal("the withdrawal", &Table::new(), || bird.table());
    server.restart();
    wait::until_equal("the route", &table, || bird.table());
}
