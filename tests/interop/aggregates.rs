//! Covering prefixes, as the router sees them.

use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::Table;
use crate::harness::site::{self, SERVERS, Site};
use crate::harness::wait;

/// A service with one backend, on these VIPs.
fn service(name: &str, vips: &str, backend: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\nvips = [{vips}]\nport = 80\nchecks = [\"web\"]\n\
         [[service.backend]]\naddress = \"{backend}\"\nport = 8080\n"
    )
}

const AGGREGATES: &str = "[[aggregate]]\nprefix = \"192.0.2.0/24\"\nrequired = 2\nmed = 7\ncommunities = [\"65000:400\"]\n\
                          [[aggregate]]\nprefix = \"2001:db8::/48\"\nrequired = \"50%\"\n";

fn they_come_and_go_with_their_members(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let mut first = site.server(0);
    let mut second = site.server(1);
    let config = site::bgp(&neighbour, "")
        + site::CHECK
        + &service("one", r#""192.0.2.1", "2001:db8::1""#, SERVERS[0])
        + &service("two", r#""192.0.2.2", "2001:db8::2""#, SERVERS[1])
        + AGGREGATES;
    let herald = Herald::start(&site.herald, &config);
    let expected = |prefixes: &[&str]| -> Table {
        let mut table = site::plain_table(&neighbour, &*router, prefixes);
        if let Some(route) = table.get_mut("192.0.2.0/24") {
            route.med = Some(7);
            route.communities = vec!["65000:400".to_owned()];
        }
        table
    };
    let all = ["192.0.2.0/24", "192.0.2.1/32", "192.0.2.2/32", "2001:db8::/48", "2001:db8::1/128", "2001:db8::2/128"];
    wait::until_equal("all VIPs and both aggregates", &expected(&all), || router.table());
    let session = router.session();

    // One of two is too few for the /24, and half for the /48.
    second.kill();
    let half = ["192.0.2.1/32", "2001:db8::/48", "2001:db8::1/128"];
    wait::until_equal("the /48 alone", &expected(&half), || router.table());
    first.kill();
    wait::until_equal("nothing", &Table::new(), || router.table());
    let status = herald.status().unwrap();
    let line = &status["aggregates"][0];
    assert_eq!((&line["prefix"], &line["state"]), (&"192.0.2.0/24".into(), &"withdrawn".into()), "{line}");
    assert_eq!((&line["healthy"], &line["members"], &line["required"]), (&0.into(), &2.into(), &2.into()), "{line}");
    assert!(
        herald.log().contains("aggregate 192.0.2.0/24 withdrawn: 1 of 2 members healthy, 2 required (vip 192.0.2.2/32")
    );

    first.restart();
    second.restart();
    wait::until_equal("all again", &expected(&all), || router.table());
    let line = herald.status().unwrap()["aggregates"][1].clone();
    assert_eq!((&line["state"], &line["peers"]), (&"announced".into(), &serde_json::json!(["router"])), "{line}");
    // The router's filter is ours to keep: one aggregate is not for it.
    let export =
        config.replace("families      =", "export = { reject = [{ prefix = \"192.0.2.0/24\", le = 24 }] }\nfamilies =");
    herald.reload_good(&export);
    wait::until_equal("all but the /24", &expected(&all[1..]), || router.table());
    assert_eq!(router.session(), session);
}

with_routers!(with_their_members, they_come_and_go_with_their_members);
