//! The status page in Debian's Chromium: what people see, by screen and keyboard, light and dark, on a desk and on a phone.
//!
//! With `HERALD_TEST_PICTURES=DIRECTORY` pictures are kept there, for somebody to look at.

use serde_json::Value;

use crate::harness::browser::Browser;
use crate::harness::herald::Herald;
use crate::harness::nginx::Nginx;
use crate::harness::plan::{Kind, Plan};
use crate::harness::router::Router;
use crate::harness::site::{self, Site};

const ADDRESS: &str = "http://127.0.0.1:9179/";
const VIP: &str = "192.0.2.1/32";

/// Herald with two VIPs that two servers stand behind, a router, and somebody who looks.
struct Scene {
    browser: Browser,
    servers: Option<[Nginx; 2]>,
    herald: Herald,
    config: String,
    router: Box<dyn Router>,
    site: Site,
}

impl Scene {
    fn start(more: &str) -> Scene {
        let site = Site::new();
        let neighbour = site::neighbour(false, 65000, 65001);
        let router = Kind::Bird.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
        let servers = Some([site.server(0), site.server(1)]);
        let config = format!("http_listen = \"127.0.0.1:9179\"\n{}{more}", site::config(&neighbour, ""));
        let herald = Herald::start(&site.herald, &config);
        let mut browser = Browser::start(&site.herald, 1280, 900);
        browser.prefer("light");
        browser.open(ADDRESS);
        browser.wait_for("the page", "typeof byId === 'function' && byId('about').textContent.includes('VIPs')");
        let mut scene = Scene { browser, servers, herald, config, router, site };
        scene.says("about", "2 of 2 VIPs announced");
        scene
    }

    /// Waits until an element has this in its text.
    #[track_caller]
    fn says(&mut self, id: &str, text: &str) {
        self.browser.wait_for(text, &format!("byId({id:?}).textContent.includes({text:?})"));
    }

    #[track_caller]
    fn says_not(&mut self, id: &str, text: &str) {
        self.browser.wait_for(text, &format!("!byId({id:?}).textContent.includes({text:?})"));
    }

    /// Nothing was asked of anybody else, and nothing went wrong in the page.
    #[track_caller]
    fn assert_well(&mut self) {
        let (requests, complaints) = self.browser.account();
        let elsewhere: Vec<_> =
            requests.iter().filter(|url| !url.starts_with(ADDRESS) && !url.starts_with("data:")).collect();
        assert!(elsewhere.is_empty() && !requests.is_empty(), "{elsewhere:?}");
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

#[test]
fn what_happens_is_seen_as_it_happens() {
    let mut scene = Scene::start("");
    scene.says("peers", "established");
    scene.says("services", "200 OK");
    scene.browser.picture("light");
    let state =
        format!("document.querySelector('[data-vip=\"{VIP}\"]').closest('tr').querySelector('.pill').textContent");
    assert_eq!(scene.browser.value(&state), "announced");

    // One dies: it is seen, and the VIP stays.
    let [first, second] = scene.servers.take().unwrap();
    drop(first);
    scene.says("services", "connection refused");
    scene.says("times", "backend web/10.98.0.11:8080 down");
    assert_eq!(scene.browser.value(&state), "announced");
    // So does the other.
    drop(second);
    scene.browser.wait_for("the withdrawal", &format!("{state} === 'withdrawn'"));
    scene.says("about", "0 of 2 VIPs announced");
    scene.says("times", "vip 192.0.2.1/32 withdrawn: service web is down: 0 of 2 backends available");
    scene.browser.wait_for("the title", "document.title === '(2) Herald'");
    scene.browser.picture("light-withdrawn");
    // And they are back.
    scene.servers = Some([scene.site.server(0), scene.site.server(1)]);
    scene.browser.wait_for("the announcement", &format!("{state} === 'announced'"));
    scene.browser.wait_for("the title", "document.title === 'Herald'");
    // What is lately is in order: the withdrawal after the check that failed.
    let order = "(list => list.findIndex(it => it.includes('vip 192.0.2.1/32 withdrawn')) < list.findIndex(it => it.includes('failing after')))\
         ([...document.querySelectorAll('#times li')].map(it => it.textContent))";
    scene.browser.wait_for("the order of what was lately", order);
    let latest = "(list => list.some(it => it.includes('vip 192.0.2.1/32 announced')) && list.findIndex(it => \
         it.includes('vip 192.0.2.1/32 announced')) < list.findIndex(it => it.includes('vip 192.0.2.1/32 withdrawn')))\
         ([...document.querySelectorAll('#times li')].map(it => it.textContent))";
    scene.browser.wait_for("the announcement above the withdrawal", latest);
    // Latency has a history by now.
    let points = "document.querySelector('#services .spark polyline').getAttribute('points').split(' ').length";
    scene.browser.wait_for("a sparkline", &format!("{points} >= 3"));
    scene.assert_well();
}

#[test]
fn the_chain_of_a_vip_opens_by_mouse_and_by_keyboard() {
    let mut scene = Scene::start("");
    let is_open = "byId('why').open";
    let has_chain = "['service web', '10.98.0.11:8080', '200 OK', 'router has the route', 'next hop 10.99.1.2'].every(it => \
         byId('why-body').textContent.includes(it))";
    scene.browser.click_until(&format!("[data-vip='{VIP}']"), is_open);
    scene.browser.wait_for("the chain", has_chain);
    scene.browser.picture("light-why");
    // It follows what happens while it is open.
    let [first, second] = scene.servers.take().unwrap();
    drop((first, second));
    scene.says("why-body", "withdrawn");
    scene.says("why-body", "connection refused");
    scene.browser.click_until("#why-close", &format!("!{is_open}"));

    scene.browser.value(&format!("document.querySelector('[data-vip=\"{VIP}\"]').focus()"));
    scene.browser.press("Enter");
    scene.browser.wait_for("the chain", is_open);
    scene.says("why-body", "service web");
    scene.browser.press("Escape");
    scene.browser.wait_for("its end", &format!("!{is_open}"));
    scene.browser.wait_for("the focus where it was", &format!("document.activeElement.dataset.vip === '{VIP}'"));
    // The focus stays while the page is drawn again.
    scene.servers = Some([scene.site.server(0), scene.site.server(1)]);
    scene.says("about", "2 of 2 VIPs announced");
    assert_eq!(scene.browser.value("document.activeElement.dataset.vip"), VIP);

    scene.browser.press("/");
    assert_eq!(scene.browser.value("document.activeElement.id"), "filter");
    "2001".chars().for_each(|letter| scene.browser.press(&letter.to_string()));
    let rows = "[...document.querySelectorAll('#vips [data-vip]')].map(it => it.textContent).join()";
    assert_eq!(scene.browser.value(rows), "2001:db8::1/128");
    scene.browser.press("Escape");
    assert_eq!(scene.browser.value(rows), "192.0.2.1/32,2001:db8::1/128");
    scene.assert_well();
}

/// What an operator must not miss: drains, a stale configuration, the guard, and a daemon that is away.
#[test]
fn what_must_not_be_missed_is_in_plain_sight() {
    let mut scene = Scene::start("[fail_static]\nshare = \"10%\"\nminimum = 1\n");
    assert_eq!(scene.browser.value("byId('banners').textContent"), "");
    let (code, text) = scene.herald.says(&["drain", "192.0.2.1", "--reason", "new <b>cable</b>"]);
    assert_eq!(code, Some(0), "{text}");
    scene.says("banners", "Drained: 192.0.2.1/32 for ");
    // An operator's words are words.
    scene.says("banners", "new <b>cable</b>");
    assert_eq!(scene.browser.value("document.querySelectorAll('#banners b').length"), 0);
    assert_eq!(scene.herald.says(&["undrain", "192.0.2.1"]).0, Some(0));
    scene.says_not("banners", "Drained");

    scene.herald.reload("x = 1\n");
    scene.says("banners", "The configuration is stale");
    scene.says("banners", "unknown key `x`");
    scene.browser.picture("light-stale");
    scene.herald.reload_good(&scene.config.clone());
    scene.says_not("banners", "stale");
    scene.says("about", "2 of 2 VIPs announced");

    scene.router.kill();
    scene.says("banners", "Peer router is ");
    scene.router.start();
    scene.says_not("banners", "Peer router");
    scene.says("about", "2 of 2 VIPs announced");

    let servers = scene.servers.take();
    drop(servers);
    scene.says("banners", "GUARD:");
    scene.says("about", "2 of 2 VIPs announced, 2 frozen");
    scene.says("vips", "frozen");
    scene.browser.prefer("dark");
    scene.browser.picture("dark-guard");
    scene.assert_well();

    scene.herald.kill();
    scene.says("live", "what is shown is old");
    scene.herald.run();
    scene.browser.wait_for("it back", "byId('live').textContent === ''");
    scene.says("times", "vip 192.0.2.1/32");
    // The browser tells of connections that were refused; nothing else went wrong.
    let (_, complaints) = scene.browser.account();
    let others: Vec<_> = complaints.iter().filter(|it| !it.contains("net::ERR_")).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// WCAG 2's contrast between the text of what each selector finds first and what is behind it.
const CONTRAST: &str = "(selectors => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = it => { for (; it; it = it.parentElement) { const c = parse(getComputedStyle(it).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  return selectors.map(selector => { const it = document.querySelector(selector); if (!it) return [selector, 0];
    const [a, b] = [light(parse(getComputedStyle(it).color)), light(behind(it))].sort((x, y) => y - x);
    return [selector, (a + 0.05) / (b + 0.05)]; });
})(['h1', '#about', '.pill.good', '.pill.bad', '.pill.unsure', '.banner.unsure', '.banner.bad', '#times time', 'th', '.chip', '.note'])";

#[test]
fn it_can_be_read_light_and_dark_on_a_desk_and_on_a_phone() {
    let mut scene = Scene::start("");
    assert_eq!(scene.herald.says(&["drain", "192.0.2.1"]).0, Some(0));
    drop(scene.servers.take());
    scene.herald.reload("x = 1\n");
    scene.says("vips", "withdrawn");
    scene.says("vips", "drained");
    scene.says("banners", "stale");
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        scene.browser.prefer(scheme);
        for ratio in scene.browser.value(CONTRAST).as_array().unwrap() {
            assert!(ratio[1].as_f64().unwrap() >= 4.5, "{scheme}: {ratio}");
        }
        backs.push(scene.browser.value("getComputedStyle(document.body).backgroundColor"));
        scene.browser.picture(scheme);
        // Nothing is wider than the screen, at any size, also with a chain open.
        for (width, height, is_phone) in [(1280, 900, false), (768, 1024, false), (390, 844, true), (320, 568, true)] {
            scene.browser.resize(width, height, is_phone);
            let fits = "document.scrollingElement.scrollWidth <= innerWidth";
            scene.browser.wait_for("a page that fits", fits);
            scene.browser.picture(&format!("{scheme}-{width}"));
            scene.browser.click_until(&format!("[data-vip='{VIP}']"), "byId('why').open");
            scene.says("why-body", "service web");
            let inside = "(box => box.left >= 0 && box.right <= innerWidth)(byId('why').getBoundingClientRect())";
            assert_eq!(scene.browser.value(&format!("{fits} && {inside}")), Value::Bool(true), "{width}");
            if is_phone {
                scene.browser.picture(&format!("{scheme}-{width}-why"));
            }
            scene.browser.press("Escape");
            scene.browser.wait_for("its end", "!byId('why').open");
        }
        scene.browser.resize(1280, 900, false);
    }
    assert_ne!(backs[0], backs[1], "light and dark are not the same");
    scene.assert_well();
}

/// Not at all where there are none; with their members.
#[test]
fn aggregates_have_a_place_of_their_own() {
    let mut scene = Scene::start("");
    assert_eq!(scene.browser.value("byId('aggregates-card').hidden"), true);
    let more = "[[aggregate]]\nprefix = \"192.0.2.0/24\"\nrequired = 1\n";
    scene.herald.reload_good(&format!("{}{more}", scene.config));
    scene.says("aggregates", "1 of 1 count, 1 required");
    scene.browser.click_until("[data-vip='192.0.2.0/24']", "byId('why').open");
    scene.says("why-body", "192.0.2.1/32 announced");
    scene.says("why-body", "router has the route");
    drop(scene.servers.take());
    scene.says("why-body", "192.0.2.1/32 withdrawn service web is down");
    scene.browser.press("Escape");
    scene.browser.wait_for("the focus back", "document.activeElement.dataset.vip === '192.0.2.0/24'");
    scene.assert_well();
}

#[test]
fn a_large_site_is_filtered() {
    let vips: Vec<String> = (0..2000).map(|n| format!("\"198.18.{}.{}\"", n / 250, n % 250)).collect();
    let mut scene = Scene::start("");
    let large = format!("{}{}", scene.config, site::service("large", &vips.join(", ")));
    scene.herald.reload_good(&large);
    scene.says("about", "2002 of 2002 VIPs announced");
    assert_eq!(scene.browser.value("document.querySelectorAll('#vips tr').length"), 200);
    scene.says("vips-more", "1802 more VIPs");
    scene.browser.press("/");
    "198.18.7.249".chars().for_each(|letter| scene.browser.press(&letter.to_string()));
    let rows = "[...document.querySelectorAll('#vips [data-vip]')].map(it => it.textContent).join()";
    scene.browser.wait_for("the one", &format!("{rows} === '198.18.7.249/32'"));
    assert_eq!(scene.browser.value("byId('vips-more').hidden"), true);
    scene.assert_well();
}
