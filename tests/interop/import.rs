//! `herald import`: a router sees the same routes from Herald with the translation as from the program that was translated.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::bird::{self, Bird};
use crate::harness::herald::Herald;
use crate::harness::process::Process;
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// Two services, both up while there is no file DIR/down: one that stays with other attributes, one that is withdrawn.
const EXABGP: &str = r#"process web {
  run /usr/bin/python3 -m exabgp healthcheck --config web.conf --ip 192.0.2.80/32 --ip 192.0.2.81 --increase 3;
  encoder text;
}

process dns {
  run /usr/bin/python3 -m exabgp healthcheck --no-syslog --name dns --cmd "test ! -e DIR/down" --interval 1 \
      --fast-interval 0.2 --timeout 1 --rise 2 --fall 2 --ip 192.0.2.52/31 --deaggregate-networks --start-ip 1 \
      --withdraw-on-down --community "65000:100 no-export" \
      --extended-community "target:65000:5 origin:65000:6" --dynamic-ip-setup;
  encoder text;
}

neighbor 10.99.1.1 {
  router-id 10.99.1.2;
  local-address 10.99.1.2;
  local-as 65001;
  peer-as 65000;
  api {
    processes [ web, dns ];
  }
}
"#;

const OWN: &str = "name = web
command = test ! -e DIR/down
interval = 1
fast-interval = 0.2
timeout = 1
rise = 2
fall = 2
large-community = 65000:1:2
community = 65000:7
disabled-community = 65000:9
down-as-path = 65001 65001 65001
up-metric = 50
";

/// What the router has when all is up, and when nothing is.
fn announced(bird: &Bird, switch: &Path) -> [Table; 2] {
    // Metrics tell: those of a service that is down begin at 1000.
    let look = |what: &str, is_down: bool, routes: usize| {
        let table = wait::until(what, || {
            let table = bird.table()?;
            let told = table.values().all(|route| route.med.is_some_and(|med| (med >= 1000) == is_down));
            let is_it = told && table.len() == routes;
            if is_it { Ok(table) } else { Err(format!("{table:#?}")) }
        });
        table.0
    };
    let up = look("all routes", false, 4);
    fs::write(switch, "").unwrap();
    let down = look("the routes that stay", true, 2);
    fs::remove_file(switch).unwrap();
    [up, down]
}

#[test]
fn exabgp_and_its_translation_announce_the_same() {
    let site = Site::new();
    let dir = site.herald.dir("exabgp");
    let write = |name: &str, text: &str| {
        let text = text.replace("DIR", dir.to_str().unwrap());
        fs::write(dir.join(name), text.replace("--config web.conf", &format!("--config {}/web.conf", dir.display())))
            .unwrap();
    };
    write("exabgp.conf", EXABGP);
    write("web.conf", OWN);
    let conf = dir.join("exabgp.conf");
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));

    let arguments = ["exabgp.daemon.drop=false", "exabgp.api.cli=false", "exabgp", conf.to_str().unwrap()];
    let mut exabgp = Process::start(&site.herald, &dir.join("exabgp.log"), "env", &arguments);
    let theirs = announced(&bird, &dir.join("down"));
    exabgp.stop();
    wait::until_equal("nothing after ExaBGP", &Table::new(), || bird.table());
    site.herald.ip(&["address", "flush", "dev", "lo", "scope", "global"]);

    let import = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["import", "exabgp-healthcheck", conf.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(import.status.code(), Some(0), "{import:?}");
    let _herald = Herald::start(&site.herald, &String::from_utf8(import.stdout).unwrap());
    assert_eq!(announced(&bird, &dir.join("down")), theirs);
}
