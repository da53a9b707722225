//! Programs, files, and services that depend on others, down to the routes.

use std::fs;

use crate::harness::bird::{self, Bird};
use crate::harness::cases::{case, config, routes, wait_for};
use crate::harness::herald::Herald;
use crate::harness::nginx::Nginx;
use crate::harness::router::{Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;

const SERVER: &str = "10.98.0.11";

/// Debian's plugins of Nagios, whose first line and exit status say it all.
#[test]
fn plugins_and_users() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let mut server = site.server(0);
    let plugin = |arguments: &str| {
        format!("type = \"exec\"\nexit_codes = \"nagios\"\ncommand = [\"/usr/lib/nagios/plugins/{arguments}\"]")
    };
    let whoami =
        "type = \"exec\"\nuser = \"nobody\"\ncommand = [\"/bin/sh\", \"-c\", \"echo $(id -un) $(id -G); exit 0\"]";
    let tcp = "check_tcp\", \"-H\", \"10.98.0.11\", \"-p\", \"8080\", \"-t\", \"1";
    let mut cases = vec![
        case(SERVER, &plugin("check_dummy\", \"0\", \"all is well"), true, "OK: all is well"),
        case(SERVER, &plugin("check_dummy\", \"1\", \"so so"), true, "WARNING: so so"),
        case(SERVER, &plugin("check_dummy\", \"2\", \"broken"), false, "CRITICAL: broken"),
        case(SERVER, &plugin("check_dummy\", \"3\", \"who knows"), false, "UNKNOWN: who knows"),
        case(SERVER, &plugin(tcp), true, "TCP OK - "),
        case(SERVER, whoami, true, "nobody 65534"),
    ];
    // The weight of a backend is 1, of which one half is 1: it serves.
    let herald = Herald::start(&site.herald, &config(&neighbour, &cases));
    wait_for(&herald, &cases);
    wait::until_equal("the routes", &routes(&neighbour, &bird, &cases), || bird.table());
    server.kill();
    (cases[4].up, cases[4].detail) = (false, "connect to address 10.98.0.11 and port 8080: Connection refused");
    wait_for(&herald, &cases);
    wait::until_equal("one route less", &routes(&neighbour, &bird, &cases), || bird.table());
}

/// The knobs of those who work at night: a file that takes a backend out, one that is its weight, and one that takes a whole
/// service out, gently.
#[test]
fn files_are_knobs() {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let bird = Bird::start(&site.router, "10.99.1.1", &bird::receiver(&neighbour));
    let _server: Nginx = site.server(0);
    let dir = site.herald.dir("knobs");
    let [out, weight, disabled] = ["out", "weight", "disabled"].map(|name| dir.join(name));
    fs::write(&weight, "70\n").unwrap();
    let text = format!(
        "{}[checks.web]\ntype = \"tcp\"\nport = 8080\ninterval = \"100ms\"\nrise = 1\nfall = 1\n\
         [checks.not-out]\ntype = \"file\"\npath = \"{}\"\nabsent = true\ninterval = \"100ms\"\n\
         [checks.weight]\ntype = \"file\"\npath = \"{}\"\ncontent = \"weight\"\ninterval = \"100ms\"\n\
         [[service]]\nname = \"web\"\nvips = [\"192.0.2.1\"]\nport = 80\nchecks = [\"web\", \"not-out\", \"weight\"]\n\
         disable_file = \"{}\"\n[[service.backend]]\naddress = \"{SERVER}\"\nweight = 100\n\
         [[service]]\nname = \"shop\"\nvips = [\"192.0.2.2\"]\nport = 80\ncheck = [{{ type = \"alias\", service = \"web\" }}]\n\
         [[service.backend]]\naddress = \"{SERVER}\"\n",
        site::bgp(&neighbour, ""),
        out.display(),
        weight.display(),
        disabled.display()
    );
    // What comes first is of [daemon], which the lab begins with.
    let text = format!("drain_time = \"1s\"\n{text}");
    let herald = Herald::start(&site.herald, &text);
    let both = site::plain_table(&neighbour, &bird, &["192.0.2.1/32", "192.0.2.2/32"]);
    let backend = |what: &str, is: &dyn Fn(&serde_json::Value) -> bool| {
        wait::until(what, || {
            let status = herald.status()?;
            let backend = status["services"][0]["backends"][0].clone();
            if is(&backend) { Ok(()) } else { Err(backend.to_string()) }
        });
    };
    wait::until_equal("both routes", &both, || bird.table());
    backend("weight 70", &|backend| backend["effective_weight"] == 70 && backend["state"] == "degraded");
    fs::write(&weight, "100%").unwrap();
    backend("its whole weight", &|backend| backend["effective_weight"] == 100 && backend["state"] == "up");

    // A backend that is out takes its service with it, and the one that depends on it.
    fs::write(&out, "").unwrap();
    wait::until_equal("no route", &Table::new(), || bird.table());
    let status = herald.status().unwrap();
    let reason = status["vips"][1]["reason"].as_str().unwrap();
    assert!(reason.contains("service web is down"), "{reason}");
    fs::remove_file(&out).unwrap();
    wait::until_equal("both again", &both, || bird.table());

    // A service that is taken out of use is drained: the other, which needs it to be well, is not touched.
    fs::write(&disabled, "").unwrap();
    let other = site::plain_table(&neighbour, &bird, &["192.0.2.2/32"]);
    wait::until_equal("one route", &other, || bird.table());
    let status = herald.status().unwrap();
    assert_eq!(status["vips"][0]["state"], "drained");
    let reason = status["vips"][0]["reason"].as_str().unwrap();
    assert_eq!(reason, format!("service web is disabled: {} is there", disabled.display()));
    fs::remove_file(&disabled).unwrap();
    wait::until_equal("both at last", &both, || bird.table());
}
