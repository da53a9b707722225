//! The whole story, once with each router, in each relation, over each transport.

use std::time::Duration;

use crate::harness::herald::Herald;
use crate::harness::nginx::Nginx;
use crate::harness::plan::{Kind, Plan};
use crate::harness::router::{Neighbour, Router, Session, Table};
use crate::harness::site::{self, BACKENDS, Site};
use crate::harness::wait;

/// What the peer's configuration adds.
const PEER: &str = r#"communities = ["65000:100", "65000:1:2", "rt:65000:100", "rt:192.0.2.1:5"]"#;

const SECOND_VIPS: &str = r#""192.0.2.2", "2001:db8::2""#;

/// All parties, and what the router must hold now.
struct Story {
    neighbour: Neighbour,
    servers: Vec<Nginx>,
    router: Box<dyn Router>,
    herald: Herald,
}

fn config(neighbour: &Neighbour, med: u32, more: &str) -> String {
    let vip = format!(
        "\n[[vip]]\naddress = \"192.0.2.1\"\nmed = {med}\ncommunities = [\"no-export\"]\n\
         \n[[vip]]\naddress = \"2001:db8::1\"\nlocal_pref = 300\n"
    );
    // On an external peer it would be an error. On a VIP it is none, and must reach internal peers only.
    let local_pref = if neighbour.is_internal() { "\nlocal_pref = 200" } else { "" };
    site::config(neighbour, &format!("{PEER}{local_pref}")) + &vip + more
}

impl Story {
    fn begin(site: &Site, neighbour: Neighbour, router: Box<dyn Router>) -> Story {
        let servers = vec![site.server(0), site.server(1)];
        let herald = Herald::start(&site.herald, &config(&neighbour, 50, ""));
        Story { neighbour, servers, router, herald }
    }

    fn expected(&self, med: u32, prefixes: &[&str]) -> Table {
        let mut table = site::plain_table(&self.neighbour, &*self.router, prefixes);
        let internal = self.neighbour.is_internal();
        for (prefix, route) in &mut table {
            route.communities = vec!["65000:100".to_owned()];
            route.large_communities = vec!["65000:1:2".to_owned()];
            route.extended_communities = vec!["rt:192.0.2.1:5".to_owned(), "rt:65000:100".to_owned()];
            route.local_pref = self.router.shown_local_pref(internal.then_some(200));
            match prefix.as_str() {
                "192.0.2.1/32" => {
                    route.med = Some(med);
                    route.communities.push("65535:65281".to_owned());
                }
                "2001:db8::1/128" => route.local_pref = self.router.shown_local_pref(internal.then_some(300)),
                _ => {}
            }
        }
        table
    }

    #[track_caller]
    fn until_holds(&self, what: &str, table: &Table) -> Duration {
        wait::until_equal(what, table, || self.router.table())
    }

    #[track_caller]
    fn same_session(&self, what: &str, session: &Session) {
        assert_eq!(self.router.session().as_ref(), Ok(session), "{what} must not disturb the session");
    }

    /// One server dies, then both; one comes back.
    fn backends_come_and_go(&mut self, both: &Table) {
        site::wait_for_backends(&self.herald);
        self.servers[0].kill();
        wait::until("Herald to notice the first death", || self.herald.backend_is(BACKENDS[0], "down"));
        wait::stays("the table with one server left", Duration::from_millis(500), both, || self.router.table());

        self.servers[1].kill();
        let gone = self.until_holds("everything withdrawn", &Table::new());
        println!("both servers dead: withdrawn after {} ms", gone.as_millis());

        self.servers[1].restart();
        let back = self.until_holds("everything announced again", both);
        println!("one server back: announced after {} ms", back.as_millis());
        self.servers[0].restart();
    }

    /// Reloads: a good one, a bad one, one that changes an attribute. None touches the session.
    fn reloads(&self, first: &Table) -> Table {
        let session = self.router.session().unwrap();
        let more = site::service("second", SECOND_VIPS);
        let all = ["192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128", "2001:db8::2/128"];

        self.herald.reload_good(&config(&self.neighbour, 50, &more));
        let four = self.expected(50, &all);
        self.until_holds("the added VIPs", &four);
        self.same_session("an added VIP", &session);
        assert!(first.iter().all(|(prefix, route)| four.get(prefix) == Some(route)));

        // The last line of the file is wrong, and so is the one before it: both are named.
        let bad = config(&self.neighbour, 70, &more) + "\n[[vip]]\naddress = \"192.0.2.2\"\nmedd = 5\nmed = \"x\"\n";
        self.herald.reload(&bad);
        // Three more are written before it.
        let lines = bad.lines().count() + 3;
        for place in [format!("herald.toml:{}:1: ", lines - 1), format!("herald.toml:{lines}:7: ")] {
            wait::until("the log to name the place of the error", || {
                let log = self.herald.log();
                if log.contains(&place) { Ok(()) } else { Err(format!("no {place:?} in\n{log}")) }
            });
        }
        wait::until_equal("status to say stale", &serde_json::json!(true), || {
            Ok(self.herald.status()?["config"]["stale"].clone())
        });
        wait::stays("the table after a bad reload", Duration::from_millis(300), &four, || self.router.table());
        self.same_session("a bad reload", &session);

        self.herald.reload_good(&config(&self.neighbour, 70, &more));
        let changed = self.expected(70, &all);
        self.until_holds("the changed MED", &changed);
        self.same_session("a changed MED", &session);
        changed
    }

    /// The router crashes, and is restarted by its operator.
    fn router_comes_and_goes(&mut self, table: &Table) {
        self.router.kill();
        self.router.start();
        let back = self.until_holds("the routes after the router crashed", table);
        println!("router killed and restarted: routes back after {} ms", back.as_millis());
        self.router.stop();
        self.router.start();
        let back = self.until_holds("the routes after the router was stopped", table);
        println!("router stopped and restarted: routes back after {} ms", back.as_millis());
    }

    /// A clean stop.
    fn end(&mut self) {
        let session = self.router.session().unwrap();
        let log_before = self.router.log().len();
        self.herald.terminate();
        self.until_holds("everything withdrawn at the stop", &Table::new());
        let status = self.herald.wait();
        assert_eq!(status.code(), Some(0), "{status}");
        let said = wait::until("the end of the session", || {
            let log = self.router.log()[log_before..].to_owned();
            let shut = self.router.received_marks(6, 2).iter().all(|mark| log.contains(mark));
            if shut { Ok(log) } else { Err(format!("no Administrative Shutdown in\n{log}")) }
        });
        assert!(self.router.session().is_err(), "after {session:?}: {}", said.0);
        self.herald.assert_nothing_left();
        assert_eq!(self.router.complaints(), Vec::<String>::new(), "the router complains");
    }
}

fn story(kind: Kind, internal: bool, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, if internal { 65001 } else { 65000 }, 65001);
    let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
    let mut story = Story::begin(&site, neighbour, router);
    let first = story.expected(50, &site::VIPS);
    story.until_holds("the first announcement", &first);
    story.backends_come_and_go(&first);
    let last = story.reloads(&first);
    story.router_comes_and_goes(&last);
    story.end();
}

#[test]
fn bird_external_over_ipv4() {
    story(Kind::Bird, false, false);
}

#[test]
fn bird_external_over_ipv6() {
    story(Kind::Bird, false, true);
}

#[test]
fn bird_internal_over_ipv4() {
    story(Kind::Bird, true, false);
}

#[test]
fn bird_internal_over_ipv6() {
    story(Kind::Bird, true, true);
}

#[test]
fn frr_external_over_ipv4() {
    story(Kind::Frr, false, false);
}

#[test]
fn frr_external_over_ipv6() {
    story(Kind::Frr, false, true);
}

#[test]
fn frr_internal_over_ipv4() {
    story(Kind::Frr, true, false);
}

#[test]
fn frr_internal_over_ipv6() {
    story(Kind::Frr, true, true);
}

#[test]
fn gobgp_external_over_ipv4() {
    story(Kind::GoBgp, false, false);
}

#[test]
fn gobgp_external_over_ipv6() {
    story(Kind::GoBgp, false, true);
}

#[test]
fn gobgp_internal_over_ipv4() {
    story(Kind::GoBgp, true, false);
}

#[test]
fn gobgp_internal_over_ipv6() {
    story(Kind::GoBgp, true, true);
}
