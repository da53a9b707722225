//! Ranges of neighbours: who is in, how many, and with which password.

use crate::harness::capture::Capture;
use crate::harness::herald::Herald;
use crate::harness::lab::Namespace;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::wait;
use crate::passive::listening;

const SECRET: &str = "correct-horse";
const OTHER: &str = "battery-staple";

/// A range for two neighbours at a time.
fn range(prefix: &str, options: &str) -> String {
    let range = format!(
        "[[bgp.peer]]\nname = \"edge\"\naddress = \"{prefix}\"\nmode = \"passive\"\npeer_as = \"external\"\nlimit = 2\n\
         families = [\"ipv4\"]\n{options}\n"
    );
    listening(&site::config(&site::neighbour(false, 65000, 65001), &range))
}

/// The neighbours that ranges have now.
fn members(herald: &Herald) -> Result<Vec<String>, String> {
    let status = herald.status()?;
    let peers = status["peers"].as_array().cloned().unwrap_or_default();
    let names = peers.iter().filter_map(|peer| peer["name"].as_str().map(str::to_owned));
    Ok(names.filter(|name| name.contains('@')).collect())
}

fn a_range_takes_its_neighbours_up_to_its_limit(kind: Kind) {
    let site = Site::new();
    let _server = site.server(0);
    let direct = site::neighbour(false, 65000, 65001);
    let mut routers = Vec::new();
    for number in 1..4 {
        let (there, here) = (format!("10.97.{number}.1"), format!("10.97.{number}.2"));
        let namespace = site.lab().namespace(&format!("r{number}"));
        site.herald.link(&[&format!("{here}/24")], &namespace, &[&format!("{there}/24")]);
        let neighbour = Neighbour {
            local_address: there.parse().unwrap(),
            local_as: 65000 + number * 10,
            address: here.parse().unwrap(),
            asn: 65001,
        };
        routers.push((namespace, neighbour, there, here));
    }
    let herald = Herald::start(&site.herald, &range("10.97.0.0/16", ""));
    let start = |index: usize| {
        let (namespace, neighbour, there, _) = &routers[index];
        kind.start(namespace, there, &Plan::new(neighbour).families(&["ipv4"]).dials())
    };
    let expected = |index: usize, router: &dyn Router, med: Option<u32>| {
        let mut table = site::plain_table(&direct, router, &["192.0.2.1/32"]);
        for route in table.values_mut() {
            (route.next_hop, route.med) = (routers[index].3.clone(), med);
        }
        table
    };
    let names = || members(&herald);
    let (mut first, second) = (start(0), start(1));
    for (index, router) in [&first, &second].into_iter().enumerate() {
        wait::until_equal("the routes", &expected(index, &**router, None), || router.table());
    }
    assert_eq!(names(), Ok(vec!["edge@10.97.1.1".to_owned(), "edge@10.97.2.1".to_owned()]));

    // The third has to wait until one goes.
    let third = start(2);
    wait::until("the refusal", || {
        let log = herald.log();
        let told = log.contains("connection from 10.97.3.1 refused: peer edge has 2 neighbours, which is its limit");
        if told { Ok(()) } else { Err(log) }
    });
    assert_eq!(third.table(), Ok(Table::new()));
    let session = site::established(&*second);
    first.stop();
    wait::until_equal("the routes", &expected(2, &*third, None), || third.table());
    wait::until_equal("the members", &vec!["edge@10.97.2.1".to_owned(), "edge@10.97.3.1".to_owned()], names);

    // What may change live does, and a member that the range leaves out has to go.
    herald.reload_good(&range("10.97.0.0/16", "med = 7"));
    wait::until_equal("the routes", &expected(1, &*second, Some(7)), || second.table());
    assert_eq!(second.session(), Ok(session.clone()));
    herald.reload_good(&range("10.97.2.0/24", "med = 7"));
    wait::until_equal("the members", &vec!["edge@10.97.2.1".to_owned()], names);
    wait::until_equal("no routes", &Table::new(), || third.table());
    site::wait_for_notification(&*third, 6, 3);
    assert_eq!(second.session(), Ok(session));
}

with_routers!(up_to_the_limit, a_range_takes_its_neighbours_up_to_its_limit);

/// A router behind another link than the site's, within `10.99.0.0/16` and `fd00:99::/32`.
fn second(site: &Site, ipv6: bool) -> (Namespace, Neighbour) {
    let namespace = site.lab().namespace("second");
    site.herald.link(&["10.99.2.2/24", "fd00:99:2::2/64"], &namespace, &["10.99.2.1/24", "fd00:99:2::1/64"]);
    let (there, here) = if ipv6 { ("fd00:99:2::1", "fd00:99:2::2") } else { ("10.99.2.1", "10.99.2.2") };
    let neighbour = Neighbour {
        local_address: there.parse().unwrap(),
        local_as: 65000,
        address: here.parse().unwrap(),
        asn: 65001,
    };
    (namespace, neighbour)
}

/// A range with this password, and a peer within it that has its own.
fn with_passwords(site: &Site, neighbour: &Neighbour, secret: &str) -> String {
    let own = site::secret(site, "router", OTHER);
    let file = site::secret(site, "edge", secret);
    let (prefix, family) =
        if neighbour.address.is_ipv6() { ("fd00:99::/32", "ipv6") } else { ("10.99.0.0/16", "ipv4") };
    let range = format!(
        "mode = \"passive\"\npassword_file = \"{}\"\n[[bgp.peer]]\nname = \"edge\"\naddress = \"{prefix}\"\n\
         mode = \"passive\"\npeer_as = 65000\nfamilies = [\"{family}\"]\npassword_file = \"{}\"\n",
        own.display(),
        file.display()
    );
    listening(&site::config(neighbour, &range))
}

/// The router tries and tries, and there is no session of the range.
fn stays_out(site: &Site, herald: &Herald, router: &dyn Router) {
    site.wait_for_drops(|| {
        assert_eq!(members(herald), Ok(Vec::new()));
        assert!(router.session().is_err());
    });
}

fn a_range_has_a_password(kind: Kind, ipv6: bool) {
    let site = Site::new();
    let neighbour = site::neighbour(ipv6, 65000, 65001);
    let (namespace, member) = second(&site, ipv6);
    let family = if ipv6 { "ipv6" } else { "ipv4" };
    let start = |secret: Option<&str>| {
        let plan = Plan::new(&member).families(&[family]).dials();
        kind.start(&namespace, "10.99.2.1", &Plan { password: secret.map(str::to_owned), ..plan })
    };
    let peer = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour).dials().password(OTHER));
    let mut router = start(Some(SECRET));
    let capture = Capture::start(&site.herald, "to-second");
    let _server = site.server(0);
    let herald = Herald::start(&site.herald, &with_passwords(&site, &neighbour, SECRET));
    let mut table = site::plain_table(&neighbour, &*router, &[site::VIPS[usize::from(ipv6)]]);
    table.values_mut().for_each(|route| route.next_hop = member.address.to_string());
    wait::until_equal("the routes of the member", &table, || router.table());
    // The longest prefix counts: the peer has a password of its own.
    site::wait_for_routes(&neighbour, &*peer);
    let session = site::established(&*peer);
    assert_eq!(members(&herald), Ok(vec![format!("edge@{}", member.local_address)]));
    let unsigned = capture.finish().fields("tcp.flags.reset == 0 && !tcp.options.md5", &["frame.number"]);
    assert_eq!(unsigned, Vec::<String>::new(), "unsigned segments");

    // Another one, and the same again.
    herald.reload_good(&with_passwords(&site, &neighbour, "another"));
    wait::until_equal("its end", &Vec::new(), || members(&herald));
    stays_out(&site, &herald, &*router);
    herald.reload_good(&with_passwords(&site, &neighbour, SECRET));
    wait::until_equal("the routes of the member", &table, || router.table());

    // None.
    router.kill();
    wait::until_equal("its end", &Vec::new(), || members(&herald));
    router = start(None);
    stays_out(&site, &herald, &*router);
    assert_eq!(peer.session(), Ok(session));
    assert!(!herald.log().contains(SECRET) && !herald.log().contains(OTHER));
}

with_routers!(password_over_ipv4, |kind| a_range_has_a_password(kind, false));
with_routers!(password_over_ipv6, |kind| a_range_has_a_password(kind, true));
