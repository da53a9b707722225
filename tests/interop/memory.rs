//! What a Herald that was killed remembers, as routers see it that keep nothing of a dead session.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::harness::herald::Herald;
use crate::harness::plan::{Kind, Plan, with_routers};
use crate::harness::router::{Neighbour, Router, Table};
use crate::harness::site::{self, Site};
use crate::harness::switches::Switches;
use crate::harness::wait;

struct Scene {
    site: Site,
    neighbour: Neighbour,
    router: Box<dyn Router>,
    switches: Switches,
}

impl Scene {
    fn new(kind: Kind) -> Scene {
        let site = Site::new();
        let neighbour = site::neighbour(false, 65000, 65001);
        let router = kind.start(&site.router, "10.99.1.1", &Plan::new(&neighbour));
        let switches = Switches::new(&site);
        Scene { site, neighbour, router, switches }
    }

    fn config(&self, vips: &str) -> String {
        let service = self.switches.service("web", "\"192.0.2.1\", \"2001:db8::1\"", "", &[("a", "")]);
        site::bgp(&self.neighbour, "") + &service + vips
    }

    #[track_caller]
    fn wait(&self, what: &str, table: &Table) -> Duration {
        wait::until_equal(what, table, || self.router.table())
    }

    #[track_caller]
    fn wait_for_routes(&self) {
        site::wait_for_routes(&self.neighbour, &*self.router);
    }

    fn state(&self) -> PathBuf {
        self.site.herald.dir("herald-herald").join("state.json")
    }

    /// Until the state file says so.
    #[track_caller]
    fn wait_for_state(&self, what: &str, says: impl Fn(&Value) -> bool) {
        wait::until(what, || {
            let text = fs::read(self.state()).map_err(|error| error.to_string())?;
            let state: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            if says(&state) { Ok(()) } else { Err(state.to_string()) }
        });
    }

    /// `kill -9`, and the router has noticed.
    fn kill(&self, herald: &mut Herald) {
        herald.kill();
        self.wait("nothing", &Table::new());
    }
}

/// Passes are believed after ages: who announces before that goes by what was before.
fn slow(config: &str) -> String {
    config.replace("rise = 1,", "rise = 1000,")
}

/// The files of a set-aside state.
fn set_aside(scene: &Scene) -> usize {
    let files = fs::read_dir(scene.state().parent().unwrap()).unwrap();
    files.filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with("state.json.")).count()
}

/// The daemon was last alive so long ago.
fn set_age(scene: &Scene, seconds: u64) {
    let path = scene.state();
    let text = fs::read_to_string(&path).unwrap();
    let year = text.split("\"written\": \"").nth(1).unwrap()[..4].to_owned();
    fs::write(&path, text.replace(&format!("\"written\": \"{year}"), "\"written\": \"2001")).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    let at = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(seconds);
    file.set_modified(at).unwrap();
}

fn killed_and_started(kind: Kind) {
    let scene = Scene::new(kind);
    let config = scene.config("");
    let mut herald = Herald::start(&scene.site.herald, &config);
    scene.wait_for_routes();
    let is_whole = |state: &Value| state["checks"][0]["passing"] == true && state["vips"][1]["state"] == "announced";
    scene.wait_for_state("the state of both", is_whole);
    herald.write(&slow(&config));
    // Fresh: what was healthy is announced at once.
    for _ in 0..2 {
        scene.kill(&mut herald);
        herald.run();
        scene.wait_for_routes();
        assert_eq!(herald.vip("192.0.2.1/32").unwrap()["state"], "announced");
    }
    // The checks confirm, or not.
    scene.switches.off("a");
    scene.wait("the withdrawal", &Table::new());
    scene.switches.on("a");
    herald.write(&config);
    herald.hang_up();
    scene.wait_for_routes();
    scene.wait_for_state("the state of both", is_whole);
    scene.kill(&mut herald);

    let whole = fs::read_to_string(scene.state()).unwrap();
    herald.write(&slow(&config));
    let cases: [(&str, usize, &dyn Fn()); 4] = [
        ("are older than state_max_age", 0, &|| set_age(&scene, 301)),
        ("is not used, and is now", 1, &|| fs::write(scene.state(), &whole[..whole.len() / 2]).unwrap()),
        ("is not used, and is now", 1, &|| fs::write(scene.state(), b"\x00\xff\x00").unwrap()),
        ("a later version wrote it", 1, &|| {
            fs::write(scene.state(), whole.replace("\"major\": 1", "\"major\": 9")).unwrap();
        }),
    ];
    for (words, aside, spoil) in cases {
        let said = herald.log().matches(words).count();
        fs::write(scene.state(), &whole).unwrap();
        spoil();
        herald.run();
        site::established(&*scene.router);
        wait::until("the warning", || match herald.log().matches(words).count() {
            count if count > said => Ok(()),
            _ => Err(format!("no {words:?} in {}", herald.log())),
        });
        wait::stays("nothing is known of anything", Duration::from_secs(1), &Table::new(), || scene.router.table());
        assert_eq!(herald.vip("192.0.2.1/32").unwrap()["state"], "holding", "{words}");
        assert!(set_aside(&scene) >= aside, "{words}: it is set aside, not lost");
        herald.kill();
        wait::until("the router to miss the session", || match scene.router.session() {
            Ok(session) => Err(format!("{session:?}")),
            Err(_) => Ok(()),
        });
    }
    // What was dead stays unannounced, too, whatever the file says of the rest.
    fs::write(scene.state(), &whole).unwrap();
    herald.run();
    scene.wait_for_routes();
}

with_routers!(state, killed_and_started, bird frr);

/// Who flapped before the crash is as suspect after it, and who waited goes on waiting.
fn suppression_outlives_a_crash(kind: Kind) {
    let scene = Scene::new(kind);
    let damping = "{ penalty = 1000, suppress = 900, reuse = 250, half_life = \"6s\", max_suppress = \"1m\" }";
    let mut herald =
        Herald::start(&scene.site.herald, &scene.config(&format!("[vip_defaults]\ndamping = {damping}\n")));
    scene.wait_for_routes();
    let begun = wait::now();
    scene.switches.off("a");
    scene.wait("the withdrawal", &Table::new());
    scene.switches.on("a");
    wait::until("the suppression", || match herald.vip("192.0.2.1/32")? {
        vip if vip["state"] == "suppressed" => Ok(()),
        vip => Err(vip.to_string()),
    });
    scene.wait_for_state("the penalty", |state| {
        state["holds"][0]["penalty"].is_object() || state["holds"][0]["penalty"].is_number()
    });
    herald.kill();
    herald.run();
    site::established(&*scene.router);
    let vip = herald.vip("192.0.2.1/32").unwrap();
    assert_eq!(vip["state"], "suppressed", "{vip}");
    scene.wait_for_routes();
    // Two half lives, and the last of them after the crash.
    assert!(begun.elapsed() >= Duration::from_secs(12), "{:?}", begun.elapsed());
}

with_routers!(suppression, suppression_outlives_a_crash, bird frr);

/// What an operator has drained stays drained.
fn a_drain_outlives_a_crash(kind: Kind) {
    let scene = Scene::new(kind);
    let mut herald = Herald::start(&scene.site.herald, &("drain_time = \"1s\"\n".to_owned() + &scene.config("")));
    scene.wait_for_routes();
    assert_eq!(herald.says(&["drain", "192.0.2.1", "--reason", "works"]).0, Some(0));
    let other = site::plain_table(&scene.neighbour, &*scene.router, &["2001:db8::1/128"]);
    scene.wait("the other VIP alone", &other);
    scene.kill(&mut herald);
    herald.run();
    scene.wait("the other VIP alone", &other);
    wait::stays("the other VIP alone", Duration::from_secs(1), &other, || scene.router.table());
    assert_eq!(herald.says(&["undrain", "192.0.2.1"]).0, Some(0));
    scene.wait_for_routes();
}

with_routers!(drain, a_drain_outlives_a_crash, bird frr);
