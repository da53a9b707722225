//! In the place of glb-healthcheck and its GoBGP integration: their own configuration, as it is, and what becomes of it at
//! the director's table and at the router behind gobgpd.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::bird::Bird;
use crate::harness::herald::Herald;
use crate::harness::hub::{self, ASN, Hub};
use crate::harness::nginx::Nginx;
use crate::harness::router::{Route, Router, Table};
use crate::harness::site::{HERALD, SERVERS, Site};
use crate::harness::wait;

const BINDS: [&str; 3] = ["192.0.2.1/32", "2001:db8::1/128", "198.51.100.0/24"];

struct Stage {
    servers: [Nginx; 2],
    upstream: Bird,
    herald: Herald,
    dir: PathBuf,
    _hub: Hub,
    _site: Site,
}

/// A bind on a port.
fn bind(ip: &str, port: u16) -> Value {
    json!({ "ip": ip, "proto": "tcp", "port": port })
}

/// Two backends in these states.
fn backends(states: [&str; 2]) -> Value {
    let backend = |(address, state): (&str, &str)| json!({ "ip": address, "state": state, "weight": 7, "healthchecks": { "http": 8080, "http_uri": "/healthz" } });
    SERVERS.into_iter().zip(states).map(backend).collect()
}

fn source(tables: &[(&str, Value, Value)]) -> String {
    let table = |(name, binds, backends): &(&str, Value, Value)| {
        json!({ "name": name, "hash_key": "00112233445566778899aabbccddeeff", "seed": "34567890123456789012345678901234",
                "binds": binds, "backends": backends })
    };
    let tables: Vec<_> = tables.iter().map(table).collect();
    let checks = json!({ "interval_ms": 200, "timeout_ms": 200, "trigger": 2 });
    serde_json::to_string_pretty(&json!({ "healthchecks": checks, "tables": tables })).unwrap()
}

/// The tables that most of it begins with: an address in two of them, and one of a whole network.
fn both(states: [&str; 2]) -> String {
    let web = json!([bind("192.0.2.1", 80), bind("2001:db8::1", 80)]);
    let other = json!([bind("192.0.2.1", 443), bind("198.51.100.0/24", 443)]);
    source(&[("web", web, backends(states)), ("other", other, backends(states))])
}

fn routes(prefixes: &[&str]) -> Table {
    let route = |prefix: &&str| Route {
        next_hop: HERALD[usize::from(prefix.contains(':'))].to_owned(),
        as_path: vec![ASN],
        origin: "igp".to_owned(),
        med: None,
        local_pref: Some(100),
        communities: vec!["65001:5".to_owned()],
        large_communities: Vec::new(),
        extended_communities: Vec::new(),
    };
    prefixes.iter().map(|prefix| ((*prefix).to_owned(), route(prefix))).collect()
}

impl Stage {
    fn new(source: &str) -> Stage {
        let site = Site::new();
        let servers = [site.server(0), site.server(1)];
        let hub = Hub::start(&site.herald);
        let upstream = Bird::start(&site.router, "10.99.1.1", &hub::upstream());
        let dir = site.herald.dir("glb");
        fs::write(dir.join("table.src.json"), source).unwrap();
        let conf = json!({
            "forwarding_table": { "src": dir.join("table.src.json"), "dst": dir.join("table.checked.json") },
            "reload_command": format!("echo reload >> {}/reloads", dir.display()),
            "gobgp_config": { "address": hub::API, "nexthop": HERALD[0], "nexthop_ipv6": HERALD[1],
                              "communities": ["65001:5"] },
        });
        fs::write(dir.join("healthcheck.conf"), conf.to_string()).unwrap();
        let text = format!("shutdown_drain = \"0s\"\n[glb]\nconfig = \"{}/healthcheck.conf\"\n", dir.display());
        let herald = Herald::start(&site.herald, &text);
        Stage { servers, upstream, herald, dir, _hub: hub, _site: site }
    }

    #[track_caller]
    fn until(&self, what: &str, prefixes: &[&str]) {
        wait::until_equal(what, &routes(prefixes), || self.upstream.table());
    }

    /// What the director reads: for each table the health of its backends.
    fn health(&self) -> Result<Value, String> {
        let text = fs::read_to_string(self.dir.join("table.checked.json")).map_err(|error| error.to_string())?;
        let table: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let tables = table["tables"].as_array().ok_or(text)?;
        let of = |table: &Value| -> Value {
            table["backends"].as_array().into_iter().flatten().map(|backend| backend["healthy"].clone()).collect()
        };
        Ok(tables.iter().map(of).collect())
    }

    #[track_caller]
    fn until_written(&self, what: &str, health: &Value) {
        wait::until_equal(what, health, || self.health());
    }

    /// Another source, by SIGHUP.
    fn reload(&self, source: &str) {
        fs::write(self.dir.join("table.src.json"), source).unwrap();
        self.herald.hang_up();
    }
}

#[test]
fn what_glb_healthcheck_was_told_is_done() {
    let mut stage = Stage::new(&both(["active", "filling"]));
    stage.until("the binds", &BINDS);
    stage.until_written("all healthy", &json!([[true, true], [true, true]]));
    let text = fs::read_to_string(stage.dir.join("table.checked.json")).unwrap();
    assert!(text.contains("\"weight\": 7"), "what we do not know is kept: {text}");

    // One backend fails, and then all.
    stage.servers[0].kill();
    stage.until_written("one unhealthy", &json!([[false, true], [false, true]]));
    assert_eq!(stage.upstream.table(), Ok(routes(&BINDS)));
    stage.servers[1].kill();
    stage.until("nothing announced", &[]);
    stage.until_written("none healthy", &json!([[false, false], [false, false]]));
    stage.servers.iter_mut().for_each(Nginx::restart);
    stage.until("the binds again", &BINDS);
    stage.until_written("all healthy again", &json!([[true, true], [true, true]]));
    assert!(fs::read_to_string(stage.dir.join("reloads")).unwrap().lines().count() >= 3);

    // A bind that is taken out of one table, and of both.
    let without = |binds: Value| source(&[("web", binds, backends(["active"; 2]))]);
    stage.reload(&without(json!([bind("192.0.2.1", 80), bind("2001:db8::1", 80)])));
    stage.until("what is bound", &BINDS[..2]);
    stage.reload(&without(json!([bind("2001:db8::1", 80)])));
    stage.until("what is bound", &BINDS[1..2]);
    stage.reload(&both(["draining", "active"]));
    stage.until("all of it again", &BINDS);

    // Retired, gently: no backend is checked, none counts, and none is called unhealthy.
    stage.reload(&both(["inactive"; 2]));
    stage.until("nothing announced", &[]);
    stage.until_written("as the original writes it", &json!([[true, true], [true, true]]));
    stage.herald.terminate();
}

#[test]
fn a_broken_table_changes_nothing() {
    let stage = Stage::new(&both(["active"; 2]));
    stage.until("the binds", &BINDS);
    for (text, fault) in [
        (both(["active"; 2]).replace("\"tables\"", "\"tables"), "not valid JSON"),
        (both(["active", "retired"]), "`state` must be"),
        (both(["active"; 2]).replace("443", "70000"), "70000"),
    ] {
        stage.reload(&text);
        wait::until("status to say so", || {
            let status = stage.herald.status()?;
            let errors = status["config"]["errors"].to_string();
            let said = errors.contains("table.src.json:") && errors.contains(fault);
            if said { Ok(()) } else { Err(errors) }
        });
        assert_eq!(stage.upstream.table(), Ok(routes(&BINDS)));
    }
    stage.reload(&source(&[("web", json!([bind("192.0.2.1", 80)]), backends(["active"; 2]))]));
    stage.until("the next good one", &BINDS[..1]);
}
