//! What a router ends a session with, and what Herald makes of it.

use std::time::Duration;

use serde_json::json;

use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::Table;
use crate::harness::site::{self, Site};
use crate::harness::wait;

/// RFC 9003: the operator of the one sees what the operator of the other wrote.
fn an_administrative_shutdown_is_shown_with_its_text(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(true, 65000, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &site::config(&neighbour, ""));
    let table = site::wait_for_routes(&neighbour, &*router);

    router.shut("card swap");
    let why = "peer router down: peer sent Cease/Administrative Shutdown: \"card swap\"";
    site::wait_for_log(&herald, why);
    site::wait_for_reason(&herald, &["peer sent Cease/Administrative Shutdown", "card swap"]);
    // FRR takes them out a moment after it has said goodbye.
    wait::until_equal("no routes", &Table::new(), || router.table());
    wait::stays("no routes", Duration::from_secs(1), &Table::new(), || router.table());
    router.unshut();
    wait::until_equal("the routes", &table, || router.table());
}

with_routers!(administrative_shutdown, an_administrative_shutdown_is_shown_with_its_text);

/// RFC 4486 §4: Cease/Maximum Number of Prefixes Reached is understood, said, and no reason to try again at once.
fn the_prefix_limit_is_named_and_backed_off_from(kind: Kind) {
    let site = Site::new();
    let neighbour = site::neighbour(false, 65000, 65001);
    let limit = match kind {
        Kind::Bird => "import limit 2 action restart;",
        Kind::Frr => "maximum-prefix 2",
        Kind::GoBgp => "    [neighbors.afi-safis.prefix-limit.config]\n      max-prefixes = 2",
    };
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).with_family(limit));
    let _server = site.server(0);
    let good = site::config(&neighbour, "");
    let herald = Herald::start(&site.herald, &good);
    let table = site::wait_for_routes(&neighbour, &*router);

    let vips: Vec<String> = (2..6).map(|last| format!("\"192.0.2.{last}\"")).collect();
    let more = good.clone() + &site::service("more", &vips.join(", "));
    herald.reload_good(&more);
    site::wait_for_log(&herald, "peer router down: peer sent Cease/Maximum Number of Prefixes Reached");
    site::wait_for_reason(&herald, &["Maximum Number of Prefixes Reached"]);
    let ends = || herald.peer("router").map(|peer| peer["established_count"].as_u64().unwrap());
    let before = ends().unwrap();
    // With waits of 500 ms, and twice as long each time, there is no room for more.
    wait::stays("few attempts", Duration::from_secs(3), &true, || Ok(ends()? <= before + 3));

    // BIRD would try again by itself; FRR and GoBGP wait for somebody who says so.
    herald.reload_good(&good);
    router.unshut();
    wait::until_equal("the routes", &table, || router.table());
    assert_eq!(herald.peer("router").unwrap()["state"], json!("established"));
}

with_routers!(prefix_limit, the_prefix_limit_is_named_and_backed_off_from);
